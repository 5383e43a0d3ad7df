"""Look at a whole data set: every issue of its annotations and images, and what it holds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
from jaxtyping import Float32, UInt8, UInt64

from yolo9000.data.dataset import DataSet, Split
from yolo9000.data.images import load_image
from yolo9000.errors import DataError
from yolo9000.io.images import MAX_PIXELS
from yolo9000.types import Issue, Sample

__all__ = ["CheckResult", "SplitCheck", "check_splits", "find_near_duplicates", "image_hash"]

HASH_SIDE = 16
HASH_BITS_APART = 8  # of 256: images saved again or resized differ in less, different ones in about half
SHOWN = 12  # images kept for a report


@dataclass
class SplitCheck:
    """What one split holds.

    Attributes:
        images: images that could be read, with usable annotations.
        boxed: how many of them carry boxes (none drawn in them counts: the image is known to be empty).
        labelled: how many carry image-level labels.
        boxes_of: boxes of each class.
        labels_of: image-level labels of each class.
        issues: everything that is wrong.
        sizes_wh: width and height of every box, as fractions of its image.
        shown: some samples, spread over the split, for a report.
        hashes: for near-duplicates: one row of 256 bits for each image.
        names: of the images, in the hashes' order.
    """

    images: int = 0
    boxed: int = 0
    labelled: int = 0
    boxes_of: Counter[int] = field(default_factory=Counter)
    labels_of: Counter[int] = field(default_factory=Counter)
    issues: list[Issue] = field(default_factory=list)
    sizes_wh: list[Float32[np.ndarray, "n 2"]] = field(default_factory=list)
    shown: list[Sample] = field(default_factory=list)
    hashes: list[UInt64[np.ndarray, " 4"]] = field(default_factory=list)
    names: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class CheckResult:
    """What a data set holds and what is wrong with it.

    Attributes:
        name: of the data set.
        classes: names.
        splits: what each split holds.
        near_duplicates: issues: images that stand in two splits.
    """

    name: str
    classes: tuple[str, ...]
    splits: Mapping[Split, SplitCheck]
    near_duplicates: tuple[Issue, ...] = ()

    def issues(self) -> list[Issue]:
        """All issues, split by split, then those between splits."""
        return [*(issue for split in self.splits.values() for issue in split.issues), *self.near_duplicates]

    def to_json(self) -> dict[str, Any]:
        """Plain values for ``json``."""
        return {
            "name": self.name,
            "classes": list(self.classes),
            "splits": {
                name: {
                    "images": split.images,
                    "boxed": split.boxed,
                    "labelled": split.labelled,
                    "boxes": {self.classes[label]: count for label, count in sorted(split.boxes_of.items())},
                    "labels": {self.classes[label]: count for label, count in sorted(split.labels_of.items())},
                }
                for name, split in self.splits.items()
            },
            "issues": [vars(issue) for issue in self.issues()],
        }


def check_splits(data_sets: Mapping[Split, DataSet], max_pixels: int = MAX_PIXELS) -> CheckResult:
    """Read every annotation and decode every image of some splits of a data set.

    Args:
        data_sets: the splits by name; at least one.
        max_pixels: larger images are an issue and are not decoded.

    Raises:
        DataError: a file cannot be understood as a whole.
    """
    splits = {name: _check_split(data_set, max_pixels) for name, data_set in data_sets.items()}
    first = next(iter(data_sets.values()))
    return CheckResult(first.name, first.classes, splits, tuple(_between_splits(splits)))


def _check_split(data_set: DataSet, max_pixels: int) -> SplitCheck:
    found = SplitCheck()
    for annotation in data_set.annotations():
        found.issues += annotation.issues
        if annotation.sample is not None:
            try:
                image = load_image(annotation.sample.image, annotation.sample.name, max_pixels).pixels
            except DataError as error:
                found.issues.append(_unreadable(annotation.sample, error))
                continue
            _count(found, annotation.sample, image)
    return found


def _unreadable(sample: Sample, error: DataError) -> Issue:
    message = str(error).removeprefix(f"{sample.name}: ")
    return Issue("image-unreadable", sample.name, message, "replace the image, or remove it and its annotation")


def _count(found: SplitCheck, sample: Sample, image: UInt8[np.ndarray, "h w 3"]) -> None:
    height, width = image.shape[:2]
    found.images += 1
    found.labelled += bool(sample.image_labels)
    found.labels_of.update(sample.image_labels)
    found.names.append(sample.name)
    found.hashes.append(image_hash(image))
    if sample.boxes is not None:
        found.boxed += 1
        found.boxes_of.update(sample.boxes.labels.tolist())
        sides = sample.boxes.boxes_xyxy[:, 2:] - sample.boxes.boxes_xyxy[:, :2]
        found.sizes_wh.append(sides / np.array([width, height], np.float32))
    _keep_spread(found.shown, sample, found.images)


def _keep_spread(shown: list[Sample], sample: Sample, count: int) -> None:
    """Keep samples spread evenly over however many come: each time the list is twice too long, every other one goes."""
    step = 1
    while count // step > 2 * SHOWN:
        step *= 2
    if count % step == 0:
        shown.append(sample)
    if len(shown) > 2 * SHOWN:
        del shown[::2]


def image_hash(image: UInt8[np.ndarray, "h w 3"]) -> UInt64[np.ndarray, " 4"]:
    """256 bits that hardly change when an image is resized or saved again: is each cell brighter than the next?"""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    cells = cv2.resize(grey, (HASH_SIDE + 1, HASH_SIDE), interpolation=cv2.INTER_AREA)
    bits = np.packbits(cells[:, :-1] > cells[:, 1:])
    return bits.view(np.uint64)


def _between_splits(splits: Mapping[Split, SplitCheck]) -> Iterator[Issue]:
    names = list(splits)
    for i, one in enumerate(names):
        for other in names[i + 1 :]:
            a, b = splits[one], splits[other]
            for left, right in find_near_duplicates(a.hashes, b.hashes):
                message = f"must not stand in two splits, but {a.names[left]} in {one} is all but the same image"
                yield Issue("image-in-two-splits", f"{other}: {b.names[right]}", message, "remove it from one of them")


def find_near_duplicates(
    one: list[UInt64[np.ndarray, " 4"]], other: list[UInt64[np.ndarray, " 4"]]
) -> Iterator[tuple[int, int]]:
    """Places in the two lists whose hashes differ in at most `HASH_BITS_APART` bits.

    Hashes with few bits set (plain images: a wall, the sky) say too little and are left out.
    """
    if not one or not other:
        return
    left, right = np.stack(one), np.stack(other)
    telling = np.bitwise_count(right).sum(axis=1) > 4 * HASH_BITS_APART
    for place, bits in enumerate(left):
        apart = np.bitwise_count(right ^ bits).sum(axis=1)
        for match in np.flatnonzero((apart <= HASH_BITS_APART) & telling):
            yield place, int(match)
