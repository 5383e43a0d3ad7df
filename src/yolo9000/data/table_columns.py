"""What the columns of a table are by the names in its header and by its first rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from yolo9000.data.files import csv_cells, to_number
from yolo9000.data.image_files import is_image
from yolo9000.data.image_folders import folder_of_images
from yolo9000.data.listing import Listing
from yolo9000.data.split_names import UNDIVIDED, split_of

__all__ = ["sniff_table", "sources_by_split"]

_IMAGE = ("filename", "file_name", "image", "image_path", "imagepath", "path", "file", "img", "image_id", "imageid")
_LABEL = ("class", "label", "class_name", "classname", "category", "labelname", "name", "wnid", "species")
_CORNERS = (
    ("xmin", "ymin", "xmax", "ymax"),
    ("x_min", "y_min", "x_max", "y_max"),
    ("x1", "y1", "x2", "y2"),
    ("left", "top", "right", "bottom"),
)
_SIZES = (("x", "y", "width", "height"), ("x", "y", "w", "h"), ("left", "top", "width", "height"))
_ROWS_TRIED = 50


def sniff_table(listing: Listing, file: str) -> dict[str, Any] | None:
    """The source that a table is, as a data-set file has it; None where its columns are not known."""
    tab = PurePosixPath(file).suffix.lower() == ".tsv"
    rows = [csv_cells(line, "\t" if tab else ",") for line in listing.first_lines(file, _ROWS_TRIED) if line.strip()]
    if not rows:
        return None
    header = [cell.strip() for cell in rows[0]]
    columns = _by_header(header, rows[1:]) if not _is_data(header) else _retinanet(rows)
    if columns is None:
        return None
    first = header.index(columns["image"]) if isinstance(columns["image"], str) else columns["image"]
    names = [
        row[first].strip() for row in (rows if isinstance(columns["image"], int) else rows[1:]) if len(row) > first
    ]
    folder, hits = folder_of_images(listing, file, names)
    if not hits:
        columns, folder, hits = _with_suffix(listing, file, names, columns)
    if not hits and "box" not in columns:
        return None
    return {"format": "list", "path": file, "images": folder, "columns": columns}


def sources_by_split(
    matches: Mapping[str, dict[str, Any]], *, undivided: bool
) -> dict[str, list[dict[str, Any]]] | None:
    """The tables of each split by their names or their folders'; None where only some are of a split."""
    sources: dict[str, list[dict[str, Any]]] = {}
    for file, source in matches.items():
        path = PurePosixPath(file)
        split = UNDIVIDED if undivided else split_of(path.stem) or split_of(path.parent.name) or UNDIVIDED
        sources.setdefault(split, []).append(source)
    if len(sources) > 1 and UNDIVIDED in sources:
        del sources[UNDIVIDED]
    return sources if all(len(files) == 1 for files in sources.values()) else None


def _by_header(header: Sequence[str], rows: Sequence[Sequence[str]]) -> dict[str, Any] | None:
    there = {name.lower(): name for name in header}
    image = next((there[name] for name in _IMAGE if name in there), None)
    label = next((there[name] for name in _LABEL if name in there and there[name] != image), None)
    if image is None or label is None:
        return None
    for sets, sizes in ((_CORNERS, False), (_SIZES, True)):
        for names in sets:
            if all(name in there for name in names):
                box = [there[name] for name in names]
                columns: dict[str, Any] = {"image": image, "labels": [label], "box": box}
                columns |= {"sizes": True} if sizes else {}
                return columns | ({"fractions": True} if _are_fractions(header, rows, box) else {})
    return {"image": image, "labels": [label]} if len(header) <= 3 else None


def _are_fractions(header: Sequence[str], rows: Sequence[Sequence[str]], box: Sequence[str]) -> bool:
    """Whether all sides lie within 0 and 1, and not all of them are whole numbers."""
    indices = [header.index(name) for name in box]
    cells = [row[index].strip() for row in rows for index in indices if len(row) > index]
    values = [value for cell in cells if (value := to_number(cell)) is not None]
    return bool(values) and all(0 <= value <= 1 for value in values) and any(value % 1 for value in values)


def _is_data(row: Sequence[str]) -> bool:
    return any(is_image(PurePosixPath(cell.strip())) for cell in row)


def _retinanet(rows: Sequence[Sequence[str]]) -> dict[str, Any] | None:
    """keras-retinanet: ``path,x1,y1,x2,y2,class`` without a header; a path alone has no objects."""
    for row in rows:
        sides = [cell.strip() for cell in row[1:5]]
        if len(row) != 6 or any(cell and to_number(cell) is None for cell in sides):
            return None
    return {"image": 0, "labels": [5], "box": [1, 2, 3, 4]}


def _with_suffix(
    listing: Listing, file: str, names: Sequence[str], columns: dict[str, Any]
) -> tuple[dict[str, Any], str, int]:
    """The columns where the names of images lack their suffix."""
    for suffix in (".jpg", ".png", ".jpeg", ".JPG"):
        folder, hits = folder_of_images(listing, file, [f"{name}{suffix}" for name in names])
        if hits:
            return columns | {"suffix": suffix}, folder, hits
    return columns, folder_of_images(listing, file, names)[0], 0
