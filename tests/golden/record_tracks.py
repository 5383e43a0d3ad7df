"""Record the scores of the package ``trackers`` (Apache-2.0) on generated clips, and print ours beside them.

    pip install --no-deps trackers supervision scipy pydeprecate tqdm requests defusedxml
    python tests/golden/record_tracks.py

Not installed with the test requirements, because it brings a second OpenCV and SciPy.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from support.clips import clip
from support.tracking_scores import Scores, follow, follow_with_library, scores_of

CLIPS, FRAMES = 20, 100
FILE = Path(__file__).parent / "data" / "tracks.json"


def main() -> None:
    recorded: list[dict[str, float]] = []
    ours: list[Scores] = []
    changes = []
    for seed in range(CLIPS):
        frames = list(clip(seed, frames=FRAMES))
        recorded.append(vars(scores_of(frames, follow_with_library(frames))))
        tracks, *counts = follow(frames)
        ours.append(scores_of(frames, tracks))
        changes.append(counts)
    FILE.write_text(json.dumps({"trackers 2.6.1": recorded}, indent=1) + "\n")
    for key in ("idf1", "hota"):
        means = [np.mean([one[key] for one in recorded]), np.mean([getattr(one, key) for one in ours])]
        print(f"{key}: trackers {means[0]:.4f}, ours {means[1]:.4f}")
    print("changes of labels: {} by all evidence, {} frame by frame".format(*np.sum(changes, axis=0)))


if __name__ == "__main__":
    main()
