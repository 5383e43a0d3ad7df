"""Parquet files of Hugging Face with images and objects, or with images and a label; see `yolo9000.data.parquet_files`.

What the four numbers of a box are is not part of the features: of the forms in use, the one is taken in which the first
boxes lie in their images, and is said. A data-set file says it by ``boxes`` and ``fractions``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from itertools import islice
from math import inf
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar, Final, Literal

from yolo9000.data.entries import Entry, annotations_of, class_names_of, syntax_issue, values_in
from yolo9000.data.format import Recognition, SourceSettings
from yolo9000.data.huggingface import BoxForm, category_of, corners_of_box, lists_of, take_objects
from yolo9000.data.issues import IssueError, make_issue, shown
from yolo9000.data.listing import Listing
from yolo9000.data.parquet_files import (
    MAGIC,
    Columns,
    columns_of,
    image_bytes,
    image_names,
    not_images,
    opened,
    rows_of,
    unpacked_images,
)
from yolo9000.data.split_names import UNDIVIDED, split_of
from yolo9000.errors import DataError
from yolo9000.io.images import read_size
from yolo9000.taxonomy.files import read_names
from yolo9000.types import Annotation

__all__ = ["NAME", "TITLE", "Source", "class_names", "read", "sniff", "write"]

NAME: Final = "parquet"
TITLE: Final = "Hugging Face Parquet"
write = None

_FILES_TRIED = 8
_ROWS_TRIED = 32
_FORMS: dict[BoxForm, str] = {"xywh": "left, top, width, height", "xyxy": "left, top, right, bottom"}


class Source(SourceSettings):
    """A Parquet file.

    Attributes:
        names: what categories that are indices stand for: a list, or a file with one a line; None: what the features
            of the file say.
        boxes: what the four numbers of a box are.
        fractions: they are fractions of the image's width and height, not pixels.
    """

    FILES: ClassVar[tuple[str, ...]] = ("path", "names")
    format: Literal["parquet"] = NAME
    names: list[str] | str | None = None
    boxes: BoxForm = "xywh"
    fractions: bool = False

    @property
    def knows_classes(self) -> bool:
        """Whether `names` is given."""
        return self.names is not None


# --- Recognizing. ---


def sniff(listing: Listing) -> Recognition | None:
    """Parquet files with images and objects or labels, of splits by the names of the files or of their folders."""
    files = [name for name in listing.documents(".parquet") if listing.head(name, len(MAGIC)) == MAGIC]
    if not files:
        return None
    if find_spec("pyarrow") is None:
        return _recognition(listing, files, {"format": NAME}, dict.fromkeys(files), "", 0.5)
    with opened(listing.root / files[0]) as first:
        columns = columns_of(first)
    if columns is None:
        return None
    settings, said = _box_settings([listing.root / file for file in files[:_FILES_TRIED]], columns)
    counts = {file: _row_count(listing.root / file) for file in files}
    return _recognition(listing, files, {"format": NAME, **settings}, counts, said, 0.9)


def _recognition(
    listing: Listing, files: Sequence[str], entry: dict[str, Any], counts: dict[str, Any], said: str, confidence: float
) -> Recognition:
    sources: dict[str, list[dict[str, Any]]] = {}
    totals: dict[str, int | None] = {}
    for file in files:
        split = UNDIVIDED if listing.file else _split_of_file(file)
        sources.setdefault(split, []).append(entry | {"path": file})
        totals[split or "images"] = (totals.get(split or "images") or 0) + counts[file] if counts[file] else None
    used = frozenset(PurePosixPath(file).parts[0] for file in files)
    reason = f"{', '.join(files[:3])}: Parquet with images"
    return Recognition(confidence, f"{TITLE}{said}", reason, sources, totals, used=used)


def _split_of_file(file: str) -> str:
    path = PurePosixPath(file)
    return split_of(path.stem) or split_of(path.parent.name) or UNDIVIDED


def _row_count(path: Path) -> int:
    with opened(path) as file:
        return int(file.metadata.num_rows)


def _box_settings(paths: Sequence[Path], columns: Columns) -> tuple[dict[str, Any], str]:
    """The form of the boxes in the first rows as a data-set file has it, and for people.

    Raises:
        IssueError: ``file-syntax``: they could be of two forms.
    """
    boxes = [one for path in paths for one in _first_boxes(path, columns)] if columns.label is None else []
    if not boxes:
        return {}, ""
    sides = [side for box, _ in boxes for side in box]
    fractions = all(0 <= side <= 1 for side in sides) and any(side % 1 for side in sides)
    placed = [(box, (1.0, 1.0) if fractions else size) for box, size in boxes]
    fitting = {form: sum(_lies_in(box, form, size) for box, size in placed) for form in _FORMS}
    if fitting["xywh"] == fitting["xyxy"]:
        message = f"boxes could be {' or '.join(_FORMS.values())}, such as {shown(boxes[0][0])}"
        suggestion = "say boxes: xywh or boxes: xyxy in a data-set file"
        raise IssueError(make_issue("file-syntax", paths[0], message, suggestion))
    form = max(_FORMS, key=lambda one: fitting[one])
    unit = " as fractions" if fractions else ""
    return {"boxes": form, "fractions": fractions}, f" (boxes: {_FORMS[form]}{unit})"


def _first_boxes(path: Path, columns: Columns) -> Iterator[tuple[list[float], tuple[float, float]]]:
    """The boxes of the first rows, each with the size of its image."""
    wanted = columns.described if columns.sized else [*columns.described, columns.image]
    with opened(path) as file:
        for row in islice(rows_of(file, wanted), _ROWS_TRIED):
            size = _size_in(row, columns)
            boxes = lists_of(_objects_in(row, columns))[0] or []
            yield from ((sides, size) for box in boxes if (sides := values_in(box, 4)) is not None)


def _size_in(row: dict[str, Any], columns: Columns) -> tuple[float, float]:
    """Width and height of the image of a row; infinite where they are not known."""
    size = values_in([row.get("width"), row.get("height")], 2)
    if size is not None:
        return size[0], size[1]
    try:
        width, height = read_size(image_bytes(row.get(columns.image)))
    except DataError:
        return inf, inf
    return float(width), float(height)


def _lies_in(box: Sequence[float], form: BoxForm, size: tuple[float, float]) -> bool:
    (left, top), (right, bottom) = corners_of_box(box, form)
    return left < right <= size[0] * 1.01 and top < bottom <= size[1] * 1.01


# --- Reading. ---


def class_names(root: Path, source: Source) -> Sequence[str]:
    """The given names, else those in the features, else those of the categories that are text, sorted."""
    path = root / source.path
    with opened(path) as file:
        columns = _columns_of(file, path)
        names = _names(root, source, columns)
        return names or _names_in_rows(file, path, columns, source)


def _names_in_rows(file: Any, path: Path, columns: Columns, source: Source) -> tuple[str, ...]:
    entries = [_entry(row, "", str(path), columns, None, source) for row in _described(file, columns)]
    names = class_names_of(entries)
    if not names and any(entry.shapes for entry in entries):
        message = "must name its classes, has indices alone"
        raise IssueError(make_issue("file-syntax", path, message, "give names in a data-set file"))
    return names


def read(root: Path, source: Source, classes: Sequence[str]) -> Iterator[Annotation]:
    """Every row, in order."""
    path = root / source.path
    folder = unpacked_images(path)
    yield from annotations_of(_entries(root, source, folder), folder, classes)


def _entries(root: Path, source: Source, folder: Path) -> Iterator[Entry]:
    path = root / source.path
    images = image_names(folder)
    with opened(path) as file:
        columns = _columns_of(file, path)
        names = _names(root, source, columns)
        for number, row in enumerate(_described(file, columns)):
            yield _entry(row, images[number], f"{path}: row {number}", columns, names, source)


def _columns_of(file: Any, path: Path) -> Columns:
    columns = columns_of(file)
    if columns is None:
        raise not_images(path)
    return columns


def _names(root: Path, source: Source, columns: Columns) -> Sequence[str]:
    if source.names is None:
        return columns.names
    return read_names(root / source.names) if isinstance(source.names, str) else source.names


def _described(file: Any, columns: Columns) -> Iterator[dict[str, Any]]:
    return rows_of(file, columns.described)


def _entry(
    row: dict[str, Any], image: str, where: str, columns: Columns, names: Sequence[str] | None, source: Source
) -> Entry:
    entry = Entry((image,) if image else (), where, fractions=source.fractions)
    if not image:
        entry.issues.append(make_issue("image-missing", where, "a row must have an image, has none", "leave it out"))
    if columns.label is None:
        take_objects(_objects_in(row, columns), where, entry, source.boxes, names)
        return entry
    label = category_of(row[columns.label], names)
    if isinstance(label, str):
        entry.labels.append((label, where))
    else:
        entry.issues.append(syntax_issue(where, f"must have a label of the {len(names or ())} named, got {shown(row)}"))
    entry.boxed = False
    return entry


def _objects_in(row: dict[str, Any], columns: Columns) -> Any:
    if columns.objects is not None:
        return row[columns.objects]
    return {name: row[name] for name in (columns.boxes, columns.categories) if name is not None}
