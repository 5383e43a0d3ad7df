"""IDF1 and HOTA on generated clips are at least those of the package ``trackers`` on the same detections."""

from __future__ import annotations

import json

import numpy as np
import pytest
from support.clips import clip
from support.paths import ROOT
from support.tracking_scores import follow, follow_with_library, scores_of

RECORDED = json.loads((ROOT / "tests" / "golden" / "data" / "tracks.json").read_text())["trackers 2.6.1"]
FRAMES = 100
SLACK = 0.005  # of one clip: a single detection


@pytest.mark.parametrize(
    "seeds", [range(4, 6), pytest.param(range(len(RECORDED)), marks=pytest.mark.battery)], ids=["some", "all"]
)
def test_tracks_are_as_good_as_those_of_the_library(seeds: range) -> None:
    scores, changes = [], []
    for seed in seeds:
        frames = list(clip(seed, frames=FRAMES))
        tracks, *counts = follow(frames)
        scores.append(scores_of(frames, tracks))
        changes.append(counts)
    for key in ("idf1", "hota"):
        ours = np.array([getattr(one, key) for one in scores])
        theirs = np.array([RECORDED[seed][key] for seed in seeds])
        assert ours.mean() >= theirs.mean()
        assert (ours >= theirs - SLACK).all()
    by_evidence, by_frame = np.sum(changes, axis=0)
    assert by_evidence <= by_frame / 5


def test_the_record_is_that_of_the_library() -> None:
    pytest.importorskip("trackers")
    frames = list(clip(2, frames=FRAMES))
    ours = scores_of(frames, follow_with_library(frames))
    assert vars(ours) == pytest.approx(RECORDED[2], abs=1e-6)
