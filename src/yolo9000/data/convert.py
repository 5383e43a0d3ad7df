"""Write a data set in another format."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path, PurePath
from typing import Literal

from yolo9000.data.dataset import DataSet, OnError, Split
from yolo9000.data.formats.coco import write_coco
from yolo9000.data.formats.voc import write_voc
from yolo9000.data.formats.yolo import write_darknet
from yolo9000.data.images import copy_image
from yolo9000.errors import DataError
from yolo9000.io.writers import OutputNames
from yolo9000.types import Sample

__all__ = ["convert"]


def convert(
    data_set: DataSet,
    to: Literal["voc", "coco", "darknet"],
    folder: Path,
    split: Split,
    *,
    on_error: OnError = "error",
    copy: bool = True,
) -> int:
    """Write one split of a data set in another format.

    Args:
        data_set: the split.
        to: the format: ``voc`` (always with its images), ``coco`` (``annotations/<split>.json``) or ``darknet``.
        folder: where to.
        split: what the split is called there.
        on_error: what to do with faulty annotations.
        copy: put the images into ``images`` too; else they are referred to.

    Returns:
        Number of images written.

    Raises:
        DataError: see `DataSet.samples` and the writers.
    """
    counted = _Counted(data_set.samples(on_error))
    match to:
        case "voc":
            write_voc(folder, counted, data_set.classes, split)
        case "coco":
            (folder / "annotations").mkdir(parents=True, exist_ok=True)
            samples = _copying(counted, folder / "images") if copy else counted
            write_coco(folder / "annotations" / f"{split}.json", samples, data_set.classes)
        case "darknet":
            write_darknet(folder, counted, data_set.classes, split, copy=copy)
    return counted.count


class _Counted:
    """Passes samples on and counts them."""

    def __init__(self, samples: Iterator[Sample]) -> None:
        self.count = 0
        self._samples = samples

    def __iter__(self) -> Iterator[Sample]:
        for sample in self._samples:
            self.count += 1
            yield sample


def _copying(samples: _Counted, folder: Path) -> Iterator[Sample]:
    """Copy each image to its name below the folder as it passes; images named by whole paths get short names."""
    names = OutputNames()
    for sample in samples:
        path = PurePath(sample.name)
        name = (
            f"{names.stem(sample.name, None)}{path.suffix}" if path.is_absolute() or ".." in path.parts else sample.name
        )
        target = folder / name
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            copy_image(sample.image, target)
        except OSError as error:
            raise DataError(f"{target}: cannot be written: {error.strerror}") from None
        yield replace(sample, name=name)
