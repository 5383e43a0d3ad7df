"""What all writers of data sets share."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path, PurePath

from yolo9000.data.image_files import size_of
from yolo9000.data.images import copy_image
from yolo9000.errors import DataError
from yolo9000.io.naming import OutputNames
from yolo9000.types import BoxAnnotations, Sample

__all__ = ["boxes_to_write", "copied", "size_to_write", "writing"]


def boxes_to_write(sample: Sample, kind: str) -> BoxAnnotations:
    """The boxes of a sample.

    Raises:
        DataError: nobody drew any; a format for boxes would say that there is no object.
    """
    if sample.boxes is None:
        raise DataError(f"{sample.where}: must have boxes to be written as {kind}, has image-level labels only")
    return sample.boxes


def size_to_write(sample: Sample) -> tuple[int, int]:
    """Width and height of a sample's image.

    Raises:
        IssueError: the sample does not say, and the image cannot be read.
    """
    return sample.size_wh or size_of(sample.image, sample.where)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """What goes wrong in writing is reported as an error about the path."""
    try:
        yield
    except OSError as error:
        raise DataError(f"{error.filename or path}: cannot be written: {error.strerror}") from None


def copied(samples: Iterable[Sample], folder: Path | None, *, flat: bool = False) -> Iterator[Sample]:
    """The samples, each with its image copied into a folder under its own name as it passes.

    Images that are named by whole paths get short names. Without a folder nothing is copied, and the samples are named
    by the whole paths of their images.

    Args:
        samples: all with images that can be read.
        folder: where to; None copies nothing.
        flat: put all images into the folder itself, each under a stem of its own.

    Raises:
        DataError: an image cannot be read or written, or is in a tar file and is not to be copied.
    """
    names = OutputNames()
    for sample in samples:
        if folder is None:
            yield replace(sample, name=_path_of(sample))
            continue
        path = PurePath(sample.name)
        short = flat or path.is_absolute() or ".." in path.parts
        name = f"{names.stem(sample.name, None)}{path.suffix}" if short else sample.name
        with writing(folder / name):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            copy_image(sample.image, folder / name)
        yield replace(sample, name=name)


def _path_of(sample: Sample) -> str:
    if sample.image.offset is not None:
        raise DataError(f"{sample.where}: its image is in a tar file: it must be copied")
    return str(sample.image.path.absolute())
