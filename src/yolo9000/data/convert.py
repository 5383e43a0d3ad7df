"""Write a data set in another format."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from yolo9000.data.dataset import DataSet, OnError, Split
from yolo9000.data.formats import FORMATS, WRITABLE
from yolo9000.data.ledger import Ledger
from yolo9000.errors import ConfigError
from yolo9000.io.naming import OutputNames
from yolo9000.types import Sample

__all__ = ["convert"]


def convert(
    data_set: DataSet,
    to: str,
    folder: Path,
    split: Split,
    *,
    on_error: OnError = "error",
    copy: bool = True,
    names: OutputNames | None = None,
    ledger: Ledger | None = None,
) -> int:
    """Write one split of a data set in another format.

    Args:
        data_set: the split.
        to: the format, one of `yolo9000.data.formats.WRITABLE`.
        folder: where to.
        split: what the split is called there.
        on_error: what to do with faulty annotations.
        copy: put the images into the folder too; else they are referred to.
        names: the names of files that other splits have in the folder.
        ledger: counts what is left out and changed.

    Returns:
        Number of images written.

    Raises:
        ConfigError: the format cannot be written.
        DataError: see `DataSet.samples` and the writers.
    """
    write = FORMATS[to].write if to in WRITABLE else None
    if write is None:
        raise ConfigError(f"to must be one of {', '.join(WRITABLE)}, got {to!r}")
    counted = _Counted(data_set.samples(on_error, ledger))
    write(folder, counted, data_set.classes, split, copy=copy, names=names)
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
