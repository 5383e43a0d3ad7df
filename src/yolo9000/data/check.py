"""Look at a whole data set: every issue of its annotations and images, and what it holds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float32, UInt64

from yolo9000.data.dataset import DataSet, Split
from yolo9000.data.decoding import Decoded, decode_each, unreadable
from yolo9000.data.duplicates import find_near_duplicates
from yolo9000.data.images import pixel_limit
from yolo9000.data.suspicious import Seen, warnings_of
from yolo9000.errors import DataError
from yolo9000.io.images import MAX_PIXELS
from yolo9000.types import Issue, Sample

__all__ = ["CheckResult", "SplitCheck", "check_splits"]

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
        seen: what warnings are made from.
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
    seen: Seen = field(default_factory=Seen)


@dataclass(frozen=True)
class CheckResult:
    """What a data set holds and what is wrong with it.

    Attributes:
        name: of the data set.
        classes: names.
        splits: what each split holds.
        near_duplicates: issues: images that stand in two splits.
        warnings: what is probably wrong; see `suspicious`.
    """

    name: str
    classes: tuple[str, ...]
    splits: Mapping[Split, SplitCheck]
    near_duplicates: tuple[Issue, ...] = ()
    warnings: tuple[Issue, ...] = ()

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
            "warnings": [vars(issue) for issue in self.warnings],
        }


def check_splits(data_sets: Mapping[Split, DataSet], max_pixels: int = MAX_PIXELS) -> CheckResult:
    """Read every annotation and decode every image of some splits of a data set.

    Args:
        data_sets: the splits by name; at least one.
        max_pixels: larger images are an issue and are not decoded.

    Raises:
        DataError: a file cannot be understood as a whole.
    """
    with pixel_limit(max_pixels):
        splits = {name: _check_split(data_set, max_pixels) for name, data_set in data_sets.items()}
    first = next(iter(data_sets.values()))
    warnings = warnings_of(data_sets, {name: split.seen for name, split in splits.items()})
    return CheckResult(first.name, first.classes, splits, tuple(_between_splits(splits)), tuple(warnings))


def _check_split(data_set: DataSet, max_pixels: int) -> SplitCheck:
    split_check = SplitCheck()
    for annotation, outcome in decode_each(data_set.annotations(), lambda annotation: annotation.sample, max_pixels):
        split_check.issues += annotation.issues
        split_check.seen.add(annotation, len(data_set.classes))
        if annotation.sample is None or outcome is None:
            continue
        if isinstance(outcome, DataError):
            split_check.issues.append(unreadable(annotation.sample, outcome))
        else:
            _count(split_check, annotation.sample, outcome)
    return split_check


def _count(split_check: SplitCheck, sample: Sample, decoded: Decoded) -> None:
    split_check.images += 1
    split_check.labelled += bool(sample.image_labels)
    split_check.labels_of.update(sample.image_labels)
    split_check.names.append(sample.name)
    split_check.hashes.append(decoded.hash)
    if sample.boxes is not None:
        split_check.boxed += 1
        split_check.boxes_of.update(sample.boxes.labels.tolist())
        sides = sample.boxes.boxes_xyxy[:, 2:] - sample.boxes.boxes_xyxy[:, :2]
        split_check.sizes_wh.append(sides / np.array(decoded.size_wh, np.float32))
    _keep_spread(split_check.shown, sample, split_check.images)


def _keep_spread(shown: list[Sample], sample: Sample, count: int) -> None:
    """Keep samples spread evenly over however many come: each time the list is twice too long, every other one goes."""
    step = 1
    while count // step > 2 * SHOWN:
        step *= 2
    if count % step == 0:
        shown.append(sample)
    if len(shown) > 2 * SHOWN:
        del shown[::2]


def _between_splits(splits: Mapping[Split, SplitCheck]) -> Iterator[Issue]:
    names = list(splits)
    for i, one in enumerate(names):
        for other in names[i + 1 :]:
            a, b = splits[one], splits[other]
            for left, right in find_near_duplicates(a.hashes, b.hashes):
                message = f"must not stand in two splits, but {a.names[left]} in {one} is all but the same image"
                yield Issue("image-in-two-splits", f"{other}: {b.names[right]}", message, "remove it from one of them")
