"""What is probably wrong with a data set although every file can be understood: warnings, which stop nothing.

========================= ============================================================================================
``image-unused``          an image in the folders of the data set that no split has
``box-tiny``              boxes that are less than a pixel wide or high
``class-unused``          classes without any object or image-level label
``class-numbered``        class names that begin with their own number
``class-shifted``         the first class alone has no object: do the labels count from 1?
========================= ============================================================================================
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Int64

from yolo9000.data.dataset import DataSet
from yolo9000.data.files import walk_files
from yolo9000.data.format import NumberedSettings, Split
from yolo9000.data.image_files import is_image
from yolo9000.data.issues import make_issue
from yolo9000.types import Annotation, Issue

__all__ = ["Seen", "warnings_of"]

_NAMED = 5  # of many like things, in a message
_NUMBERED = re.compile(r"\s*(\d{1,9})\s*[:.)\-\s]\s*\S")


@dataclass
class Seen:
    """What a reading of one split saw, as far as warnings need it.

    Attributes:
        files: the image files that it used.
        texts: what its issues say.
        lost: number of records with issues that no image came from.
        counts: objects and image-level labels of each class.
        tiny: number of boxes below a pixel.
        first_tiny: where the first of them is.
    """

    files: set[Path] = field(default_factory=set)
    texts: list[str] = field(default_factory=list)
    lost: int = 0
    counts: Int64[np.ndarray, " k"] = field(default_factory=lambda: np.zeros(0, np.int64))
    tiny: int = 0
    first_tiny: str = ""

    def add(self, annotation: Annotation, classes: int) -> None:
        """Look at an annotation."""
        self.texts += [f"{issue.where} {issue.message}" for issue in annotation.issues]
        sample = annotation.sample
        if sample is None:
            self.lost += 1
            return
        self.files.add(sample.image.path)
        if not len(self.counts):
            self.counts = np.zeros(classes, np.int64)
        for label in sample.image_labels:
            self.counts[label] += 1
        if sample.boxes is not None and len(sample.boxes):
            self.counts += np.bincount(sample.boxes.labels, minlength=classes)
            sides = sample.boxes.boxes_xyxy[:, 2:] - sample.boxes.boxes_xyxy[:, :2]
            if sides.min() < 1:
                self.first_tiny = self.first_tiny or sample.where
                self.tiny += int((sides.min(axis=1) < 1).sum())


def warnings_of(data_sets: Mapping[Split, DataSet], seen: Mapping[Split, Seen]) -> list[Issue]:
    """The warnings about some splits of a data set, all of which were read.

    Args:
        data_sets: the splits.
        seen: what was seen of each.
    """
    first = next(iter(data_sets.values()))
    counts = np.zeros(len(first.classes), np.int64)
    for one in seen.values():
        counts += one.counts if len(one.counts) else 0
    return [
        *_unused_images(data_sets, seen),
        *_tiny_boxes(seen),
        *_unused_classes(first, counts),
        *_numbered_classes(first),
    ]


def _unused_images(data_sets: Mapping[Split, DataSet], seen: Mapping[Split, Seen]) -> Iterator[Issue]:
    used = {path for one in seen.values() for path in one.files}
    folders = {path.parent for path in used}
    folders |= {folder for data in data_sets.values() for folder in data.image_folders()}
    there = _images_in(folders)
    reported = "\n".join(text for one in seen.values() for text in one.texts)
    unused = [path for path in sorted(there - used) if path.name not in reported and f"{path.stem}." not in reported]
    if unused:
        name = next(iter(data_sets.values())).name
        lost = sum(one.lost for one in seen.values())
        why = f", or are those of the {lost:,} records that cannot be used" if lost else ""
        message = f"{len(unused):,} images are in no split{why}: {_some([path.name for path in unused])}"
        yield make_issue("image-unused", name, message, "label them, or move them elsewhere")


def _images_in(folders: Iterable[Path]) -> set[Path]:
    """The images in some folders and below, of which some may be within others: none is walked twice."""
    images: set[Path] = set()
    walked: set[Path] = set()
    for folder in sorted(folders):
        if folder not in walked:
            here = {item for item in walk_files(folder) if isinstance(item, Path) and is_image(item)}
            images |= here
            walked |= {image.parent for image in here}
    return images


def _tiny_boxes(seen: Mapping[Split, Seen]) -> Iterator[Issue]:
    for split, one in seen.items():
        if one.tiny:
            message = f"{one.tiny:,} boxes in {split} are less than a pixel wide or high"
            yield make_issue("box-tiny", one.first_tiny, message, "look at them: are they slips, or in another unit?")


def _unused_classes(data: DataSet, counts: Int64[np.ndarray, " k"]) -> Iterator[Issue]:
    unused = [name for name, count in zip(data.classes, counts, strict=True) if not count]
    if not unused or not counts.any():
        return
    indexed = any(isinstance(source, NumberedSettings) for source in data.sources)
    if indexed and len(counts) > 2 and not counts[0] and counts[1:].all():
        message = f"the first class, {data.classes[0]!r}, has no object, and every other class has"
        yield make_issue("class-shifted", data.name, message, "do the labels count from 1? They must count from 0")
    message = f"{len(unused):,} of {len(counts):,} classes have no object: {_some(unused)}"
    yield make_issue("class-unused", data.name, message, "leave them out of the classes, or label some")


def _numbered_classes(data: DataSet) -> Iterator[Issue]:
    matches = [_NUMBERED.match(name) for name in data.classes]
    if all(match is not None and int(match[1]) in (i, i + 1) for i, match in enumerate(matches)):
        message = f"class names begin with their own number: {_some(data.classes)}"
        yield make_issue("class-numbered", data.name, message, "take the numbers out of the list of names")


def _some(names: list[str] | tuple[str, ...]) -> str:
    return ", ".join(names[:_NAMED]) + (" ..." if len(names) > _NAMED else "")
