"""Supervisely: a project with ``meta.json`` and folders of data sets, each with ``ann/`` and ``img/``.

Source: developer.supervisely.com, Supervisely annotation format.
"""

from __future__ import annotations

import base64
import io
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from PIL import Image

from yolo9000.data.entries import Entry, Shape, annotations_of, read_json, syntax_issue, values_in
from yolo9000.data.files import is_file, walk_files, whole_side
from yolo9000.data.format import Recognition, SourceSettings
from yolo9000.data.image_files import is_image
from yolo9000.data.issues import IssueError, make_issue, shown
from yolo9000.data.listing import Listing, join
from yolo9000.data.shapes import Corners
from yolo9000.data.split_names import UNDIVIDED, by_split
from yolo9000.io.images import MAX_PIXELS
from yolo9000.types import Annotation, Issue

__all__ = ["NAME", "TITLE", "Source", "class_names", "read", "sniff", "write"]

NAME: Final = "supervisely"
TITLE: Final = "Supervisely project"
write = None

_MAX_MASK_BYTES = 64 << 20


class Source(SourceSettings):
    """A data set of a project: a folder with ``ann`` and ``img``; the classes are in ``meta.json`` above it."""

    format: Literal["supervisely"] = NAME


def sniff(listing: Listing) -> Recognition | None:
    """``meta.json`` with classes beside folders with ``ann/`` and ``img/``."""
    if listing.file is not None or "classes" not in listing.json("meta.json").keys:
        return None
    folders = [name for name in listing.folders() if {"ann", "img"} <= set(listing.folders(name))]
    if not folders:
        return None
    divided = by_split(folders)
    sources = {split: [{"format": NAME, "path": name}] for split, name in divided.items()}
    if len(divided) < 2:
        sources = {UNDIVIDED: [{"format": NAME, "path": name} for name in folders]}
    counts = {name: listing.image_count(join(name, "img")) for name in folders}
    reason = f"meta.json and {', '.join(f'{name}/ann' for name in folders[:3])}"
    return Recognition(0.95, TITLE, reason, sources, counts, used=frozenset(["meta.json", *folders]))


def class_names(root: Path, source: Source) -> Sequence[str]:
    """The titles of the project's classes and the names of its tags, in their order."""
    file = next(
        (path for above in (root / source.path, (root / source.path).parent) if is_file(path := above / "meta.json")),
        None,
    )
    meta = read_json(file) if file is not None else {}
    titles = [item.get("title") for item in _list(meta, "classes")]
    tags = [tag for entry in _entries(root / source.path) for tag, _ in entry.labels]
    return tuple(dict.fromkeys(name for name in [*titles, *sorted(tags)] if isinstance(name, str)))


def _list(record: Any, key: str) -> list[dict[str, Any]]:
    values = record.get(key) if isinstance(record, dict) else None
    return [value for value in values if isinstance(value, dict)] if isinstance(values, list) else []


def read(root: Path, source: Source, classes: Sequence[str]) -> Iterator[Annotation]:
    """Every annotation file, then an issue for each image without one; tags of images are image-level labels."""
    folder = root / source.path
    yield from annotations_of(_entries(folder), folder / "img", classes, boxes_from_shapes=source.boxes_from_shapes)


def _entries(folder: Path) -> Iterator[Entry]:
    annotated = set()
    for item in walk_files(folder / "ann"):
        if isinstance(item, Issue):
            yield Entry((), item.where, issues=[item])
        elif item.suffix.lower() == ".json":
            annotated.add(item.name.removesuffix(".json"))
            try:
                yield _entry(item)
            except IssueError as error:
                yield Entry((), str(item), issues=[error.issue])
    for item in walk_files(folder / "img"):
        if isinstance(item, Path) and is_image(item) and item.name not in annotated:
            message = f"an image must have an annotation, there is no ann/{item.name}.json"
            issue = make_issue("label-missing", item, message, "annotate the image, or move it elsewhere")
            yield Entry((), str(item), issues=[issue])


def _entry(file: Path) -> Entry:
    record = read_json(file)
    if not isinstance(record, dict) or not isinstance(record.get("objects"), list):
        raise IssueError(
            make_issue("label-syntax", file, "must be an object with a list of objects", "export it again")
        )
    size = record["size"] if isinstance(record.get("size"), dict) else {}
    values = values_in([size.get("width"), size.get("height")], 2)
    declared = None if values is None else (whole_side(values[0]), whole_side(values[1]))
    entry = Entry((file.name.removesuffix(".json"),), str(file), declared)
    entry.labels += [
        (str(tag["name"]), str(file)) for tag in _list(record, "tags") if tag.get("value") is None and "name" in tag
    ]
    for index, item in enumerate(record["objects"]):
        _take_object(item, f"{file}: object {index}", entry)
    entry.boxed = not entry.labels
    return entry


def _take_object(item: Any, where: str, entry: Entry) -> None:
    title = item.get("classTitle") if isinstance(item, dict) else None
    corners, kind = _corners(item) if isinstance(item, dict) else (None, "")
    if corners is None or not isinstance(title, str):
        entry.issues.append(syntax_issue(where, f"must have a classTitle and points, got {shown(item)}"))
        return
    entry.shapes.append(Shape(title, where, corners, kind))


def _corners(item: dict[str, Any]) -> tuple[Corners | None, str]:
    """The corners, and what the object is if it is not an upright box."""
    kind = str(item.get("geometryType"))
    if kind == "bitmap":
        return _of_bitmap(item.get("bitmap")), "a bitmap"
    points = item.get("points")
    exterior = points.get("exterior") if isinstance(points, dict) else None
    pairs = [values_in(point, 2) for point in exterior] if isinstance(exterior, list) else []
    corners = [(pair[0], pair[1]) for pair in pairs if pair is not None]
    if not corners or len(corners) != len(pairs):
        return None, ""
    return corners, "" if kind == "rectangle" and len(corners) == 2 else f"a {kind}"


def _of_bitmap(bitmap: Any) -> Corners | None:
    """The sides of a mask: a PNG, deflated and in base 64, at a place in the image."""
    origin = values_in(bitmap.get("origin"), 2) if isinstance(bitmap, dict) else None
    try:
        packed = base64.b64decode(bitmap["data"], validate=True)
        png = zlib.decompressobj().decompress(packed, _MAX_MASK_BYTES)
    except (TypeError, KeyError, ValueError, zlib.error):
        return None
    mask = _pixels_of(png) if png and origin else None
    if mask is None or origin is None:
        return None
    ys, xs = np.nonzero(mask if mask.ndim == 2 else mask.any(axis=2))
    if not len(xs):
        return None
    left, top = origin
    return [(left + float(xs.min()), top + float(ys.min())), (left + float(xs.max()) + 1, top + float(ys.max()) + 1)]


def _pixels_of(png: bytes) -> np.ndarray | None:
    try:
        with Image.open(io.BytesIO(png), formats=["PNG"]) as image:
            return np.asarray(image) if image.width * image.height <= MAX_PIXELS else None
    except Exception:  # whatever Pillow raises on damaged files
        return None
