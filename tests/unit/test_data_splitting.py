"""Splits by content, near duplicates, and the numbers of a data set."""

from __future__ import annotations

import itertools
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from yolo9000.data.decoding import image_hash
from yolo9000.data.duplicates import Survey, duplicates_in, group_images, near_pairs, without_duplicates
from yolo9000.data.splitting import hold_out, split_survey
from yolo9000.data.stats import SplitStats, drift_between
from yolo9000.errors import ConfigError, DataError
from yolo9000.types import BoxAnnotations, ImageFile, Sample


def noise(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 255, (48, 64, 3), dtype=np.uint8)


def sample_of(name: str, labels: tuple[int, ...] = (0,), path: Path = Path("x.png")) -> Sample:
    sides = [[4 * i, 2, 4 * i + 3, 9] for i in range(len(labels))]
    boxes = BoxAnnotations.plain(np.array(sides, np.float32).reshape(-1, 4), np.array(labels, np.int64))
    return Sample(name, ImageFile(path), name, (64, 48), boxes)


def survey_of(names: list[str], seeds: list[int], labels: list[tuple[int, ...]] | None = None) -> Survey:
    labels = labels or [(0,)] * len(names)
    samples = [sample_of(name, some) for name, some in zip(names, labels, strict=True)]
    return Survey(samples, [image_hash(Image.fromarray(noise(seed))) for seed in seeds])


def test_near_pairs_are_all_pairs_within_eight_bits() -> None:
    rng = np.random.default_rng(0)
    base = rng.integers(0, 2, (6, 256), dtype=np.uint8)
    rows = [*base]
    for distance in (1, 7, 8, 9, 20):
        changed = base[0].copy()
        changed[rng.choice(256, distance, replace=False)] ^= 1
        rows.append(changed)
    hashes = [np.packbits(row).view(np.uint64) for row in rows]
    plain = {(a, b) for a, b in itertools.combinations(range(len(rows)), 2) if int((rows[a] != rows[b]).sum()) <= 8}
    assert set(near_pairs(hashes)) == plain
    assert {(0, 6), (0, 7), (0, 8)} <= plain
    assert not plain & {(0, 9), (0, 10)}
    assert list(near_pairs([])) == []


def test_groups_are_near_duplicates_neighbors_and_what_a_pattern_says() -> None:
    a, b = noise(1), noise(2)
    next_frame = a.copy()
    next_frame[:18, :24] = 255 - next_frame[:18, :24]  # a corner has changed
    names = ["walk_0001.png", "walk_0002.png", "other.png", "again.png", "walk_0007.png"]
    images = [a, next_frame, b, b // 2, noise(3)]
    hashes = [image_hash(Image.fromarray(image)) for image in images]
    apart = int(np.bitwise_count(hashes[0] ^ hashes[1]).sum())
    assert 8 < apart <= 40  # no near duplicates, but neighbors
    assert group_images(names, hashes) == [[0, 1], [2, 3], [4]]
    assert group_images(names, hashes, r"^(walk|other)_") == [[0, 1, 4], [2, 3]]
    assert group_images(["a", "walk_0002.png", *names[2:]], hashes) == [[0], [1], [2, 3], [4]]


def test_the_split_follows_from_the_pixels_alone() -> None:
    names, seeds = [f"p{i}x.png" for i in range(20)], list(range(20))
    first = hold_out(survey_of(names, seeds), 0.25)
    assert first.sum() == 5
    order = np.random.default_rng(5).permutation(20)
    again = hold_out(survey_of([f"other{i}x.png" for i in order], [seeds[i] for i in order]), 0.25)
    assert (again == first[order]).all()


def test_like_images_are_never_divided() -> None:
    seeds = [i // 4 for i in range(40)]  # ten images, each four times
    mask = hold_out(survey_of([f"q{i}x.png" for i in range(40)], seeds), 0.2)
    assert mask.sum() == 8
    assert all(len(set(mask[i : i + 4].tolist())) == 1 for i in range(0, 40, 4))


def test_three_splits_and_stratification() -> None:
    labels: list[tuple[int, ...]] = [(0,)] * 80 + [(0, 1)] * 20
    got = survey_of([f"r{i}x.png" for i in range(100)], list(range(100)), labels)
    splits = split_survey(got, {"val": 0.2, "test": 0.1}, classes=2)
    assert Counter(splits) == {"train": 70, "val": 20, "test": 10}
    rare = Counter(split for split, some in zip(splits, labels, strict=True) if 1 in some)
    assert rare["val"] == 4  # a fifth of 20
    assert rare["test"] == 2


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.1, float("nan")])
def test_fractions_must_leave_both_sides(fraction: float) -> None:
    with pytest.raises(ConfigError, match="must be above 0 and below 1"):
        hold_out(survey_of(["ax", "bx"], [1, 2]), fraction)


def test_what_cannot_be_divided() -> None:
    with pytest.raises(DataError, match="3 images in 1 groups of like images cannot be divided into 2 splits"):
        hold_out(survey_of(["ax", "bx", "cx"], [1, 1, 1]), 0.5)
    with pytest.raises(ConfigError, match="group_by: must be a regular expression"):
        hold_out(survey_of(["ax", "bx"], [1, 2]), 0.5, group_by="(")
    assert hold_out(survey_of(["ax", "bx"], [1, 2]), 0.01).sum() == 1


def test_duplicates_are_kept_where_they_are_scored(tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2), ("d", 3)):
        Image.fromarray(noise(seed)).save(tmp_path / f"{name}.png")
    Image.fromarray(noise(2)).save(tmp_path / "e.jpg", quality=95)

    def survey(*names: str) -> Survey:
        samples = [sample_of(name, path=tmp_path / name) for name in names]
        images = [Image.open(tmp_path / name).convert("RGB") for name in names]
        return Survey(samples, [image_hash(image) for image in images])

    surveys = {"train": survey("a.png", "c.png", "d.png"), "val": survey("b.png", "e.jpg")}
    got = duplicates_in(surveys)
    assert [str(one) for one in got] == [
        "train: a.png is the same as val: b.png",
        "train: c.png is nearly the same as val: e.jpg",
    ]
    kept = without_duplicates(surveys, got)
    assert {split: [sample.name for sample in samples] for split, samples in kept.items()} == {
        "train": ["d.png"],
        "val": ["b.png", "e.jpg"],
    }


def test_values_of_a_split_and_drift() -> None:
    one, other = SplitStats(), SplitStats()
    for name in ("a", "b"):
        one.add(sample_of(name, (0, 0, 1)))
    one.add(sample_of("c", ()))
    other.add(sample_of("d", (1, 1)))
    record = one.to_json(("nut", "bolt"))
    assert (record["images"], record["boxes"], record["empty"]) == (3, 6, 1)
    assert record["classes"] == {
        "nut": {"boxes": 4, "images": 2, "image_labels": 0},
        "bolt": {"boxes": 2, "images": 2, "image_labels": 0},
    }
    assert record["boxes_per_image"] == {"0": 1, "3": 2}
    assert record["image_sizes"] == {"64x48": 3}
    # every box is 3 x 7: sqrt(21) = 4.5826, sqrt(21 / 3072) = 0.0827, 3 / 7 = 0.4286
    assert record["quantiles"]["side_px"] == [4.5826] * 5
    assert record["quantiles"]["side_fraction"] == [0.0827] * 5
    assert record["quantiles"]["aspect"] == [0.4286] * 5
    drift = drift_between({"train": one, "val": other})["train", "val"]
    # (|4/6 - 0| + |2/6 - 1|) / 2 = 2/3; all boxes are alike
    assert (round(drift.classes, 6), drift.sizes, drift.aspects) == (0.666667, 0, 0)
