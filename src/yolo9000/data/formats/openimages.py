"""Open Images: CSV files of boxes in fractions of the image, and of image-level labels that people verified.

``<split>-annotations-bbox.csv`` has ImageID, LabelName, XMin, XMax, YMin, YMax; images are called ``<ImageID>.jpg``.
Group boxes (IsGroupOf) are read as crowds. Labels with confidence 0 were looked for and not found: where a file of
image-level labels is read too, the verified classes, and no others, are labelled exhaustively in an image.

Source: storage.googleapis.com/openimages, Open Images V7, data formats.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar, Final, Literal

from yolo9000.data.entries import Entry, Shape, annotations_of, class_names_of, syntax_issue
from yolo9000.data.files import csv_cells, numbered_lines, to_number
from yolo9000.data.format import Recognition, SourceSettings
from yolo9000.data.image_folders import NAMES_TRIED, folder_of_images
from yolo9000.data.issues import IssueError, make_issue, shown
from yolo9000.data.listing import Listing
from yolo9000.data.split_names import UNDIVIDED, split_of
from yolo9000.types import Annotation

__all__ = ["NAME", "TITLE", "Source", "class_names", "read", "sniff", "write"]

NAME: Final = "openimages"
TITLE: Final = "Open Images CSV"
write = None

_BOXES = {"ImageID", "LabelName", "XMin", "XMax", "YMin", "YMax"}
_LABELS = {"ImageID", "LabelName", "Confidence"}
_SUFFIXES = (".jpg", ".png", ".jpeg")


class Source(SourceSettings):
    """A CSV file of boxes of Open Images.

    Attributes:
        images: folder of the images, relative to the data-set file.
        labels: a CSV file of image-level labels, relative to the data-set file.
        names: a CSV file of LabelName and display name, relative to the data-set file; None: classes are LabelNames.
    """

    FILES: ClassVar[tuple[str, ...]] = ("path", "images", "labels", "names")
    format: Literal["openimages"] = NAME
    images: str
    labels: str | None = None
    names: str | None = None


def sniff(listing: Listing) -> Recognition | None:
    """CSV files with the columns of boxes; beside them those of image-level labels and of class descriptions."""
    tables = listing.documents(".csv")[:40]
    headers = {name: set((listing.first_lines(name, 1) or [""])[0].split(",")) for name in tables}
    boxes = [name for name, header in headers.items() if header >= _BOXES]
    if not boxes:
        return None
    beside = Listing(listing.root)
    others = beside.files("", ".csv") if listing.file else tables
    names = next((name for name in others if "class-descriptions" in name), None)
    sources: dict[str, list[dict[str, Any]]] = {}
    for file in boxes:
        stem = PurePosixPath(file).stem
        split = UNDIVIDED if listing.file else split_of(stem) or UNDIVIDED
        ids = [line.split(",")[0] for line in listing.first_lines(file, NAMES_TRIED + 1)[1:]]
        folder, _ = folder_of_images(listing, file, [_file_names(name)[0] for name in ids], stem.split("-")[0])
        labels = next((name for name in others if _is_labels_of(beside, name, stem.split("-")[0])), None)
        entry = {"format": NAME, "path": file, "images": folder}
        entry |= ({"names": names} if names else {}) | ({"labels": labels} if labels else {})
        sources.setdefault(split, []).append(entry)
    used = frozenset([*(part for some in sources.values() for one in some for part in one.values()), *others])
    counts: dict[str, int | None] = {split or "images": None for split in sources}
    return Recognition(0.95, TITLE, f"{', '.join(boxes)}: ImageID, LabelName, XMin ...", sources, counts, used=used)


def _is_labels_of(listing: Listing, file: str, prefix: str) -> bool:
    header = set((listing.first_lines(file, 1) or [""])[0].split(","))
    return PurePosixPath(file).name.startswith(prefix) and header >= _LABELS and not header >= _BOXES


def _file_names(image_id: str) -> list[str]:
    has_suffix = PurePosixPath(image_id).suffix.lower() in _SUFFIXES
    return [image_id] if has_suffix else [f"{image_id}{suffix}" for suffix in _SUFFIXES]


def class_names(root: Path, source: Source) -> Sequence[str]:
    """The display names in the order of their file; else the LabelNames of the boxes, sorted."""
    if source.names is not None:
        return tuple(dict.fromkeys(_display_names(root / source.names).values()))
    return class_names_of(_entries(root, source))


def read(root: Path, source: Source, classes: Sequence[str]) -> Iterator[Annotation]:
    """Every image that has boxes or, where they are given, image-level labels."""
    yield from annotations_of(_entries(root, source), root / source.images, classes)


def _entries(root: Path, source: Source) -> Iterator[Entry]:
    shown_as = _display_names(root / source.names) if source.names else {}
    entries: dict[str, Entry] = {}
    for where, row in _rows(root / source.path, _BOXES):
        entry = entries.setdefault(row["ImageID"], Entry(_file_names(row["ImageID"]), where, fractions=True))
        _take_box(row, where, entry, shown_as)
    if source.labels is not None:
        _take_labels(root / source.labels, entries, shown_as)
    yield from entries.values()


def _take_box(row: dict[str, str], where: str, entry: Entry, shown_as: dict[str, str]) -> None:
    sides = [to_number(row[key]) for key in ("XMin", "YMin", "XMax", "YMax")]
    left, top, right, bottom = sides
    if left is None or top is None or right is None or bottom is None:
        entry.issues.append(syntax_issue(where, f"must have four sides in numbers, got {shown(list(row.values()))}"))
        return
    label = shown_as.get(row["LabelName"], row["LabelName"])
    crowd = row.get("IsGroupOf") == "1"
    entry.shapes.append(Shape(label, where, [(left, top), (right, bottom)], crowd=crowd))


def _take_labels(file: Path, entries: dict[str, Entry], shown_as: dict[str, str]) -> None:
    """Image-level labels: those with confidence 1 are there, those with 0 are not, others were not verified."""
    verified: dict[str, list[str]] = {}
    for where, row in _rows(file, _LABELS):
        name = shown_as.get(row["LabelName"], row["LabelName"])
        image, confidence = row["ImageID"], to_number(row["Confidence"])
        if confidence not in (0, 1):
            continue
        entry = entries.get(image)
        if entry is None:
            entry = entries[image] = Entry(_file_names(image), where, boxed=False, fractions=True)
        verified.setdefault(image, []).append(name)
        if confidence == 1:
            entry.labels.append((name, where))
    for image, names in verified.items():
        entries[image].exhaustive = list(dict.fromkeys(names))


def _rows(file: Path, wanted: set[str]) -> Iterator[tuple[str, dict[str, str]]]:
    lines = numbered_lines(file)
    number, header_line = next(lines, (1, ""))
    header = header_line.strip().split(",")
    if not wanted <= set(header):
        message = f"must have the columns {', '.join(sorted(wanted))}, has {shown(header_line)}"
        raise IssueError(make_issue("file-syntax", f"{file}:{number}", message, "check that it is the right file"))
    for number, line in lines:
        if line.strip():
            cells = chain(csv_cells(line), [""] * len(header))
            yield f"{file}:{number}", dict(zip(header, cells, strict=False))


def _display_names(file: Path) -> dict[str, str]:
    rows = (csv_cells(line) for _, line in numbered_lines(file) if line.strip())
    return {row[0]: row[1] for row in rows if len(row) >= 2 and row[0] != "LabelName"}
