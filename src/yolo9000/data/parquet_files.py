"""Parquet files as Hugging Face's ``datasets`` writes them: what their columns are, their rows, and their images.

The features stand as JSON in the schema, names of classes among them. Images are bytes in a column; they are written
once as files into the cache, as archives are unpacked, so that any of them can be read without the rows around it.
Rows come in small batches: memory does not grow with the file.

Source: huggingface.co/docs/datasets, Dataset features and Object detection.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from yolo9000.data.archive import check_space, unpacked_once
from yolo9000.data.files import is_hidden
from yolo9000.data.huggingface import BOXES, CATEGORIES
from yolo9000.data.image_files import is_image
from yolo9000.data.issues import IssueError, make_issue
from yolo9000.errors import needs_extra
from yolo9000.io.documents import JsonError, load_json

if TYPE_CHECKING:
    from pyarrow.parquet import ParquetFile

__all__ = [
    "MAGIC",
    "Columns",
    "columns_of",
    "image_bytes",
    "image_names",
    "is_image_type",
    "not_images",
    "opened",
    "rows_of",
    "unpacked_images",
]

MAGIC = b"PAR1"
_OBJECTS = ("objects", "annotations", "object")
_SIZE = ("width", "height")
_NAMES = "names.json"
_BATCH = 16
_BUFFER = 1 << 20
_SUFFIXES = {b"\x89PNG": ".png", b"RIFF": ".webp", b"GIF8": ".gif", b"II*\0": ".tif", b"MM\0*": ".tif"}


@dataclass(frozen=True)
class Columns:
    """The columns of a Parquet file that matter.

    Attributes:
        image: that of the images.
        objects: that of the objects of an image; None where the boxes are columns of their own, or there are none.
        boxes, categories: of objects, without ``objects``; None where there are none.
        label: that of the image-level label; None where there are objects.
        sized: whether there are ``width`` and ``height``.
        names: the classes that indices stand for, as the features have them; none where they do not say.
    """

    image: str
    objects: str | None
    boxes: str | None
    categories: str | None
    label: str | None
    sized: bool
    names: tuple[str, ...]

    @property
    def described(self) -> list[str]:
        """All but the images."""
        named = (self.objects, self.boxes, self.categories, self.label, *(_SIZE if self.sized else ()))
        return [name for name in named if name is not None]


@contextmanager
def opened(path: Path) -> Iterator[ParquetFile]:
    """A Parquet file.

    Raises:
        EngineError: the extra ``parquet`` is not installed.
        IssueError: ``file-unreadable``: it is damaged, or becomes so while it is read.
    """
    with needs_extra("parquet", "reading Parquet"):
        from pyarrow import ArrowException
        from pyarrow.parquet import ParquetFile
    # The last two are of names that are not UTF-8 and of dates out of range.
    damage = (ArrowException, OSError, ValueError, OverflowError)
    try:
        with ParquetFile(path, buffer_size=_BUFFER, pre_buffer=False) as file:
            yield file
    except damage as error:
        message = f"must be a whole Parquet file: {' '.join(str(error).split())[:200]}"
        raise IssueError(make_issue("file-unreadable", path, message, "download or write it again")) from None


def columns_of(file: ParquetFile) -> Columns | None:
    """What the columns are by their names and types; None where there are no images with objects or labels."""
    schema = file.schema_arrow
    image = next((field.name for field in schema if is_image_type(field.type)), None)
    objects = next((name for name in _OBJECTS if name in schema.names), None)
    boxes = next((name for name in BOXES if name in schema.names), None)
    label = next((name for name in CATEGORIES if name in schema.names), None)
    if image is None or (objects is None and label is None):
        return None
    flat = objects is None and boxes is not None
    return Columns(
        image,
        objects,
        boxes if flat else None,
        label if flat else None,
        label if objects is None and not flat else None,
        set(_SIZE) <= set(schema.names),
        _names_in(_features(schema.metadata or {})),
    )


def is_image_type(kind: Any) -> bool:
    """Whether a column of a type of Arrow holds bytes, alone or beside a path."""
    from pyarrow import types

    if types.is_struct(kind):
        return any(field.name == "bytes" and is_image_type(field.type) for field in kind)
    return bool(types.is_binary(kind) or types.is_large_binary(kind))


def _features(metadata: dict[bytes, bytes]) -> Any:
    try:
        return load_json(metadata.get(b"huggingface", b"{}"))["info"]["features"]
    except (JsonError, KeyError, TypeError):
        return {}


def _names_in(features: Any) -> tuple[str, ...]:
    """The names of the first feature that is a ``ClassLabel`` and is called as categories are."""
    for key, feature in features.items() if isinstance(features, dict) else ():
        inner = feature.get("feature", feature) if isinstance(feature, dict) else feature
        names = inner.get("names") if isinstance(inner, dict) else None
        if key in CATEGORIES and isinstance(names, list) and all(isinstance(name, str) for name in names):
            return tuple(names)
        if names := _names_in(inner[0] if isinstance(inner, list) and inner else inner):
            return names
    return ()


def rows_of(file: ParquetFile, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
    """The rows with some of the columns, in order.

    Raises:
        ValueError: the file lacks one of them, as one of several files may.
    """
    for batch in file.iter_batches(_BATCH, columns=list(columns)):
        if missing := [name for name in columns if name not in batch.schema.names]:
            raise ValueError(f"has no column {missing[0]!r}")
        yield from batch.to_pylist()


# --- Images. ---


def unpacked_images(path: Path) -> Path:
    """The folder in the cache with the images of a Parquet file, written unless that was done before.

    Raises:
        DataError: the file cannot be read; the disk is full.
    """
    return unpacked_once(path, "parquet", _write_images)


def image_names(folder: Path) -> list[str]:
    """The name of each row's image in the folder that `unpacked_images` gives; empty for a row without."""
    names: list[str] = json.loads((folder / _NAMES).read_text(encoding="utf-8"))
    return names


def _write_images(folder: Path, path: Path) -> None:
    names: list[str] = []
    taken: set[str] = set()
    with opened(path) as file:
        columns = columns_of(file)
        if columns is None:
            raise not_images(path)
        for number, row in enumerate(rows_of(file, [columns.image])):
            data, written = _image_in(row[columns.image])
            names.append(_free_name(written, number, data, taken) if data else written)
            if data:
                check_space(folder, len(data), path)
                (folder / names[-1]).write_bytes(data)
    (folder / _NAMES).write_text(json.dumps(names), encoding="utf-8")


def not_images(path: Path) -> IssueError:
    """The issue of a Parquet file of other columns."""
    message = "must have a column of images, and one of objects or labels"
    return IssueError(make_issue("file-syntax", path, message, "check that it is the right file"))


def image_bytes(value: Any) -> bytes:
    """The bytes of the image that a cell holds; none where it holds none."""
    return _image_in(value)[0]


def _image_in(value: Any) -> tuple[bytes, str]:
    """The bytes of an image, and the name that it has."""
    if isinstance(value, bytes):
        return value, ""
    data, path = (value.get("bytes"), value.get("path")) if isinstance(value, dict) else (None, None)
    name = PurePosixPath(path.replace("\\", "/")).name if isinstance(path, str) else ""
    return (data if isinstance(data, bytes) else b""), name


def _free_name(written: str, number: int, data: bytes, taken: set[str]) -> str:
    """The name that an image has, with the number of its row where that is no name or is there already."""
    suffix = _SUFFIXES.get(data[:4], ".jpg")
    usable = is_image(PurePosixPath(written)) and not is_hidden(written) and len(written.encode()) < 200
    name = written if usable else f"{number}{suffix}"
    while name.casefold() in taken:
        name = f"{number}-{name}"
    taken.add(name.casefold())
    return name
