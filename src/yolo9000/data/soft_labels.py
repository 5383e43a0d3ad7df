"""Soft labels: how probable each class or node is for a box or an image, e.g. what another model said of it.

A source of a data-set file names a JSON Lines file with a line for each image that has some: one distribution for each
box, in the order of its annotation and null for a box without, or one for an image with an image-level label::

    {"image": "a.jpg", "boxes": [{"beagle": 0.7, "dog": 0.3}, null]}
    {"image": "shelf/b.jpg", "probabilities": {"apple": 0.9, "pear": 0.1}}

Probabilities add up to 1. On a tree they may stand at any node: what is certainly a dog, and no more, is {"dog": 1}.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Float32
from pydantic import BaseModel, ConfigDict, NonNegativeFloat, ValidationError, model_validator

from yolo9000.errors import DataError, YoloError, describe_errors
from yolo9000.io.documents import parse_json
from yolo9000.io.files import read_lines
from yolo9000.types import NO_SOFT_LABEL, Sample

__all__ = ["SoftLabels", "SoftRow", "read_soft_labels"]

TOLERANCE = 1e-3  # of a sum of probabilities
SoftRow = tuple[tuple[int, float], ...]
"""The classes or nodes of a soft label, each with its probability."""


class _Line(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    image: str
    boxes: list[dict[str, NonNegativeFloat] | None] | None = None
    probabilities: dict[str, NonNegativeFloat] | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> _Line:
        if (self.boxes is None) == (self.probabilities is None):
            raise ValueError("must have either boxes or probabilities")
        return self


@dataclass(frozen=True)
class _ImageRows:
    where: str
    boxes: tuple[int, ...] | None
    image: int


@dataclass(frozen=True)
class SoftLabels:
    """The soft labels of one source or of several.

    Attributes:
        rows: each soft label.
        images: indices of the soft labels of an image and its boxes, by source and name of the image.
    """

    rows: tuple[SoftRow, ...] = ()
    images: Mapping[tuple[int, str], _ImageRows] = field(default_factory=dict)

    @cached_property
    def fingerprint(self) -> str:
        """A hash of all soft labels."""
        images = [(key, known.boxes, known.image) for key, known in sorted(self.images.items())]
        return hashlib.sha256(repr((self.rows, images)).encode()).hexdigest()

    def attach(self, sample: Sample, source: int) -> Sample:
        """The sample with the indices of its soft labels.

        Args:
            sample: as its format reads it.
            source: its index.

        Raises:
            DataError: it has another number of boxes, or not one image-level label.
        """
        known = self.images.get((source, sample.name))
        if known is None:
            return sample
        if known.boxes is None:
            if sample.boxes is not None or len(sample.image_labels) != 1:
                boxes = "no" if sample.boxes is None else len(sample.boxes)
                raise DataError(
                    f"{known.where}: probabilities are for an image with one image-level label and without boxes, "
                    f"{sample.name} has {len(sample.image_labels)} and {boxes}; give boxes a list"
                )
            return replace(sample, soft=known.image)
        count = 0 if sample.boxes is None else len(sample.boxes)
        if sample.boxes is None or count != len(known.boxes):
            raise DataError(
                f"{known.where}: must have an entry for each of the {count} boxes of {sample.name}, got "
                f"{len(known.boxes)}; use null for a box without"
            )
        return replace(sample, boxes=replace(sample.boxes, soft=np.array(known.boxes, np.int64)))

    def dense(self, indices: Sequence[int], classes: int) -> Float32[np.ndarray, "m k"] | None:
        """The probabilities of all classes or nodes for some soft labels; zeros for -1; None if all are -1.

        Args:
            indices: of the soft labels.
            classes: number of classes or nodes.
        """
        if all(index == NO_SOFT_LABEL for index in indices):
            return None
        probabilities = np.zeros((len(indices), classes), np.float32)
        for row, index in zip(probabilities, indices, strict=True):
            for label, probability in self.rows[index] if index != NO_SOFT_LABEL else ():
                row[label] += probability
        return probabilities


def read_soft_labels(files: Mapping[int, Path], number_of: Callable[[int, str], int]) -> SoftLabels:
    """Read files of soft labels.

    Args:
        files: of the sources, by their index.
        number_of: the class or node of a name in a source; it may raise a `YoloError`.

    Raises:
        DataError: a file cannot be read or understood, a name is not known, probabilities do not add up to 1, or an
            image has two lines.
    """
    rows: list[SoftRow] = []
    images: dict[tuple[int, str], _ImageRows] = {}

    def add(given: Mapping[str, float] | None, where: str, source: int) -> int:
        if given is None:
            return NO_SOFT_LABEL
        rows.append(_row(given, where, lambda name: number_of(source, name)))
        return len(rows) - 1

    for source, file in files.items():
        for number, text in enumerate(read_lines(file), 1):
            if not text.strip():
                continue
            where = f"{file}:{number}"
            line = _line(text, where)
            if (source, line.image) in images:
                raise DataError(f"{where}: {line.image} must have one line, was on {images[source, line.image].where}")
            boxes = None if line.boxes is None else tuple(add(one, where, source) for one in line.boxes)
            images[source, line.image] = _ImageRows(where, boxes, add(line.probabilities, where, source))
    return SoftLabels(tuple(rows), images)


def _line(text: str, where: str) -> _Line:
    try:
        return _Line.model_validate(parse_json(text, where))
    except ValidationError as error:
        raise DataError(f"{where}: {describe_errors(error)}") from None


def _row(given: Mapping[str, float], where: str, number_of: Callable[[str], int]) -> SoftRow:
    total = math.fsum(given.values())
    if abs(total - 1) > TOLERANCE:
        raise DataError(f"{where}: probabilities must add up to 1, got {total:g}; the rest may stand at a parent node")
    try:
        return tuple((number_of(name), probability / total) for name, probability in given.items() if probability)
    except YoloError as error:
        raise DataError(f"{where}: {error}") from None
