"""VGG Image Annotator (VIA), versions 1 and 2: regions as JSON or as CSV, or a project that was saved.

A line of the CSV is a region, or an image without any; it has the shape and the attributes as JSON.

Source: robots.ox.ac.uk/~vgg/software/via, export of annotations.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import chain, repeat
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar, Final, Literal

from yolo9000.data.entries import Entry, Shape, annotations_of, class_names_of, read_json, syntax_issue, values_in
from yolo9000.data.files import csv_cells, numbered_lines
from yolo9000.data.format import Recognition, SourceSettings
from yolo9000.data.image_folders import NAMES_TRIED, folder_of_images
from yolo9000.data.issues import IssueError, make_issue, shown
from yolo9000.data.listing import Listing
from yolo9000.data.shapes import Corners
from yolo9000.data.split_names import UNDIVIDED, split_of
from yolo9000.io.documents import JsonError, load_json
from yolo9000.types import Annotation

__all__ = ["NAME", "TITLE", "Source", "class_names", "read", "sniff", "write"]

NAME: Final = "via"
TITLE: Final = "VGG Image Annotator (VIA)"
write = None

_PROJECT = "_via_img_metadata"
_COLUMNS = {"region_count", "region_shape_attributes", "region_attributes"}
_USUAL = ("class", "label", "name", "type", "category", "object")


class Source(SourceSettings):
    """A JSON or CSV file of VIA.

    Attributes:
        images: folder of the images, relative to the data-set file.
        attribute: the region attribute that is the class; None: the only one that there is.
    """

    FILES: ClassVar[tuple[str, ...]] = ("path", "images")
    format: Literal["via"] = NAME
    images: str
    attribute: str | None = None


def sniff(listing: Listing) -> Recognition | None:
    """JSON files with ``_via_img_metadata`` or with ``filename`` and ``regions``; else CSV files of regions."""
    sources: dict[str, list[dict[str, Any]]] = {}
    counts: dict[str, int | None] = {}
    matches = [name for name in listing.documents(".json")[:20] if _is_via(listing, name)]
    matches = matches or [name for name in listing.documents(".csv")[:20] if _is_table(listing, name)]
    for file in matches:
        path = PurePosixPath(file)
        records = _records(listing.root / file)
        names = [str(record.get("filename")) for record in records[:NAMES_TRIED]]
        split = UNDIVIDED if listing.file else split_of(path.stem) or split_of(path.parent.name) or UNDIVIDED
        entry = {"format": NAME, "path": file, "images": folder_of_images(listing, file, names)[0]}
        sources.setdefault(split, []).append(entry)
        counts[split or "images"] = (counts.get(split or "images") or 0) + len(records)
    if not matches:
        return None
    used = frozenset([*matches, *(source["images"] for some in sources.values() for source in some)])
    return Recognition(0.95, TITLE, f"{', '.join(matches)}: images with regions", sources, counts, used=used)


def _is_via(listing: Listing, file: str) -> bool:
    peek = listing.json(file)
    if _PROJECT in peek.keys:
        return True
    first = next(iter(peek.value.values()), None) if isinstance(peek.value, dict) else None
    return isinstance(first, dict) and {"filename", "regions"} <= set(first)


def _is_table(listing: Listing, file: str) -> bool:
    return set((listing.first_lines(file, 1) or [""])[0].split(",")) >= _COLUMNS


def _records(file: Path) -> list[dict[str, Any]]:
    return _rows(file) if file.suffix.lower() == ".csv" else _json_records(file)


def _json_records(file: Path) -> list[dict[str, Any]]:
    value = read_json(file)
    images = value.get(_PROJECT, value) if isinstance(value, dict) else None
    if not isinstance(images, dict):
        raise IssueError(make_issue("file-syntax", file, "must be an object of images", "export it from VIA again"))
    return [record for record in images.values() if isinstance(record, dict) and "regions" in record]


def _rows(file: Path) -> list[dict[str, Any]]:
    """The images of a CSV file, as a JSON file has them."""
    lines = numbered_lines(file)
    header = [name.lstrip("#").strip() for name in csv_cells(next(lines, (1, ""))[1])]
    if not set(header) >= {"filename", *_COLUMNS}:
        message = f"must have the columns filename, {', '.join(sorted(_COLUMNS))}, has {shown(header)}"
        raise IssueError(make_issue("file-syntax", f"{file}:1", message, "export it from VIA again"))
    records: dict[str, dict[str, Any]] = {}
    for _, line in lines:
        if line.strip():
            row = dict(zip(header, chain(csv_cells(line), repeat("")), strict=False))
            regions = records.setdefault(row["filename"], {"filename": row["filename"], "regions": []})["regions"]
            if row["region_count"] != "0":
                regions.append(
                    {
                        "shape_attributes": _json_of(row["region_shape_attributes"]),
                        "region_attributes": _json_of(row["region_attributes"]),
                    }
                )
    return list(records.values())


def _json_of(text: str) -> Any:
    try:
        return load_json(text)
    except JsonError:
        return None


def class_names(root: Path, source: Source) -> Sequence[str]:
    """The values of the attribute that is the class, sorted."""
    return class_names_of(_entries(root / source.path, source.attribute))


def read(root: Path, source: Source, classes: Sequence[str]) -> Iterator[Annotation]:
    """Every image, in the order of the file; one without regions has no objects."""
    entries = _entries(root / source.path, source.attribute)
    yield from annotations_of(entries, root / source.images, classes, boxes_from_shapes=source.boxes_from_shapes)


def _entries(file: Path, attribute: str | None) -> Iterator[Entry]:
    records = _records(file)
    attribute = attribute or _attribute_of(records, file)
    for index, record in enumerate(records):
        where = f"{file}: image {index}"
        entry = Entry((str(record.get("filename") or ""),), where)
        for number, region in enumerate(_regions(record)):
            _take_region(region, attribute, f"{where}: region {number}", entry)
        yield entry


def _regions(record: dict[str, Any]) -> list[Any]:
    regions = record["regions"]
    return list(regions.values()) if isinstance(regions, dict) else regions if isinstance(regions, list) else []


def _attribute_of(records: Sequence[dict[str, Any]], file: Path) -> str:
    """The attribute that is the class: the only one, or the one of the usual names."""
    counts: Counter[str] = Counter()
    for record in records:
        for region in _regions(record):
            attributes = region.get("region_attributes") if isinstance(region, dict) else None
            counts.update(list(attributes) if isinstance(attributes, dict) else ())
    usual = [name for name in counts if name.lower() in _USUAL]
    if len(counts) > 1 and len(usual) != 1:
        some = ", ".join(counts)
        message = f"must have one region attribute for the class, has {some}"
        raise IssueError(make_issue("file-syntax", file, message, "name it as attribute in a data-set file"))
    return next(iter(usual), None) or next(iter(counts), "class")


def _take_region(region: Any, attribute: str, where: str, entry: Entry) -> None:
    shape = region.get("shape_attributes") if isinstance(region, dict) else None
    attributes = region.get("region_attributes") if isinstance(region, dict) else None
    label = attributes.get(attribute) if isinstance(attributes, dict) else None
    if isinstance(label, dict) and len(label) == 1:  # a checkbox: {"cat": true}
        label = next(iter(label))
    corners, kind = _corners(shape) if isinstance(shape, dict) else (None, "")
    if corners is None or not isinstance(label, str) or not label.strip():
        entry.issues.append(
            syntax_issue(where, f"must have a shape and the attribute {attribute}, got {shown(region)}")
        )
        return
    entry.shapes.append(Shape(label.strip(), where, corners, kind))


def _corners(shape: dict[str, Any]) -> tuple[Corners | None, str]:
    """The corners, and what the shape is if it is not an upright box."""
    name = str(shape.get("name"))
    if name == "rect":
        sides = values_in([shape.get(key) for key in ("x", "y", "width", "height")], 4)
        return (None if sides is None else [(sides[0], sides[1]), (sides[0] + sides[2], sides[1] + sides[3])]), ""
    if name in ("circle", "ellipse"):
        rx, ry = shape.get("rx", shape.get("r")), shape.get("ry", shape.get("r"))
        values = values_in([shape.get("cx"), shape.get("cy"), rx, ry], 4)
        kind = f"a {name}" if name == "circle" else f"an {name}"
        if values is None:
            return None, kind
        x, y, a, b = values
        return [(x - a, y - b), (x + a, y + b)], kind
    xs, ys = shape.get("all_points_x"), shape.get("all_points_y")
    count = len(xs) if isinstance(xs, list) else 0
    columns = [column for values in (xs, ys) if (column := values_in(values, count))]
    if len(columns) < 2:
        return None, ""
    return list(zip(columns[0], columns[1], strict=True)), f"a {name}"
