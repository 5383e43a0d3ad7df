"""Open Images: CSV files of boxes in fractions of the image, and of image-level labels that people verified.

``<split>-annotations-bbox.csv`` has ImageID, LabelName, XMin, XMax, YMin, YMax; images are called ``<ImageID>.jpg``.
Group boxes (IsGroupOf) are read as crowds. Labels with confidence 0 were looked for and not found: where a file of
image-level labels is read too, these classes, and no others, are labelled exhaustively in an image. Confidences between
are a machine's: see ``min_confidence``. The hierarchy beside them is a tree: `yolo9000.taxonomy.openimages`.

Source: storage.googleapis.com/openimages, Open Images V7, data formats.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar, Final, Literal

from pydantic import Field

from yolo9000.data.entries import Entry, Shape, annotations_of, class_names_of, syntax_issue
from yolo9000.data.files import csv_cells, numbered_lines, to_number
from yolo9000.data.format import Recognition, SourceSettings
from yolo9000.data.image_folders import NAMES_TRIED, folder_of_images
from yolo9000.data.issues import IssueError, make_issue, shown
from yolo9000.data.listing import Listing
from yolo9000.data.split_names import UNDIVIDED, split_of
from yolo9000.taxonomy.openimages import read_class_descriptions
from yolo9000.types import Annotation

__all__ = ["NAME", "TITLE", "Source", "class_names", "read", "sniff", "write"]

NAME: Final = "openimages"
TITLE: Final = "Open Images CSV"
write = None

_BOXES = {"ImageID", "LabelName", "XMin", "XMax", "YMin", "YMax"}
_LABELS = {"ImageID", "LabelName", "Confidence"}
_SUFFIXES = (".jpg", ".png", ".jpeg")


class Source(SourceSettings):
    """A CSV file of boxes, or of image-level labels alone, of Open Images.

    Attributes:
        images: folder of the images, relative to the data-set file.
        labels: a CSV file of image-level labels, relative to the data-set file.
        min_confidence: from which confidence on an image-level label counts as one; 1: those that people verified.
        names: a CSV file of LabelName and display name, relative to the data-set file; None: classes are LabelNames.
    """

    FILES: ClassVar[tuple[str, ...]] = ("path", "images", "labels", "names")
    format: Literal["openimages"] = NAME
    images: str
    labels: str | None = None
    min_confidence: float = Field(1.0, gt=0, le=1)
    names: str | None = None


def sniff(listing: Listing) -> Recognition | None:
    """CSV files with the columns of boxes, else of image-level labels; beside them those that belong to them."""
    tables = listing.documents(".csv")[:40]
    boxes = [name for name in tables if _columns(listing, name) >= _BOXES]
    files = boxes or [name for name in tables if _holds_labels(listing, name)]
    if not files:
        return None
    others = tables if listing.file is None else Listing(listing.root).files("", ".csv")
    sources: dict[str, list[dict[str, Any]]] = {}
    for file in files if boxes else _best_labels(files):
        split = UNDIVIDED if listing.file else split_of(PurePosixPath(file).stem) or UNDIVIDED
        sources.setdefault(split, []).append(_source_of(listing, file, others))
    used = {part for some in sources.values() for one in some for part in one.values()}
    used |= {*others, *(name for name in listing.files("", ".json") if "hierarchy" in name)}
    counts: dict[str, int | None] = {split or "images": None for split in sources}
    columns = "ImageID, LabelName, XMin ..." if boxes else "ImageID, LabelName, Confidence"
    reason = f"{', '.join(files)}: {columns}"
    used |= {first for name in used for first in PurePosixPath(name).parts[:1]}
    return Recognition(0.95, TITLE, reason, sources, counts, used=frozenset(used))


def _columns(listing: Listing, file: str) -> set[str]:
    return set((listing.first_lines(file, 1) or [""])[0].split(","))


def _holds_labels(listing: Listing, file: str) -> bool:
    columns = _columns(listing, file)
    return columns >= _LABELS and not columns >= _BOXES


def _source_of(listing: Listing, file: str, others: Sequence[str]) -> dict[str, Any]:
    stem = PurePosixPath(file).stem
    beside = Listing(listing.root)
    entry = {"format": NAME, "path": file, "images": _folder_of(listing, file)}
    own = [name for name in others if split_of(PurePosixPath(name).stem) == split_of(stem)]
    labels = [name for name in own if name != file and _holds_labels(beside, name)]
    if labels and not _holds_labels(beside, file):
        entry["labels"] = _best_labels(labels)[0]
    if names := [name for name in others if "class-descriptions" in name]:
        entry["names"] = _best_names(names, entry.get("labels", file))
    return entry


def _folder_of(listing: Listing, file: str) -> str:
    """The folder of the images, whichever suffix they have."""
    stem = PurePosixPath(file).stem
    word = next((word for word in stem.split("-") if split_of(word)), stem.split("-")[0])
    ids = [line.split(",")[0] for line in listing.first_lines(file, NAMES_TRIED + 1)[1:]]
    names = list(zip(*map(_file_names, ids), strict=False)) or [()]
    return max((folder_of_images(listing, file, some, word) for some in names), key=lambda pair: pair[1])[0]


def _best_labels(files: Sequence[str]) -> list[str]:
    """Of each split the labels that people verified, those of the classes with boxes first."""
    best: dict[str | None, str] = {}
    for file in sorted(files, key=lambda file: ("machine" in file, "boxable" not in file, file)):
        best.setdefault(split_of(PurePosixPath(file).stem), file)
    return list(best.values())


def _best_names(files: Sequence[str], labels: str) -> str:
    """The names of the classes with boxes, unless the labels are those of all classes."""
    every = "imagelabels" in labels and "boxable" not in labels
    return min(files, key=lambda file: (("boxable" in file) == every, file))


def _file_names(image_id: str) -> list[str]:
    has_suffix = PurePosixPath(image_id).suffix.lower() in _SUFFIXES
    return [image_id] if has_suffix else [f"{image_id}{suffix}" for suffix in _SUFFIXES]


def class_names(root: Path, source: Source) -> Sequence[str]:
    """The display names in the order of their file; else the LabelNames of the boxes, sorted."""
    if source.names is not None:
        return tuple(dict.fromkeys(read_class_descriptions(root / source.names).values()))
    return class_names_of(_entries(root, source))


def read(root: Path, source: Source, classes: Sequence[str]) -> Iterator[Annotation]:
    """Every image that has boxes or, where they are given, image-level labels."""
    yield from annotations_of(_entries(root, source), root / source.images, classes)


def _entries(root: Path, source: Source) -> Iterator[Entry]:
    shown_as = read_class_descriptions(root / source.names) if source.names else {}
    entries: dict[str, Entry] = {}
    if _holds_labels(Listing(root), source.path):
        _take_labels(root / source.path, source.min_confidence, entries, shown_as)
    else:
        _take_boxes(root / source.path, entries, shown_as)
    if source.labels is not None:
        _take_labels(root / source.labels, source.min_confidence, entries, shown_as)
    yield from entries.values()


def _take_boxes(file: Path, entries: dict[str, Entry], shown_as: dict[str, str]) -> None:
    for where, row in _rows(file, _BOXES):
        entry = entries.setdefault(row["ImageID"], Entry(_file_names(row["ImageID"]), where, fractions=True))
        _take_box(row, where, entry, shown_as)


def _take_box(row: dict[str, str], where: str, entry: Entry, shown_as: dict[str, str]) -> None:
    sides = [to_number(row[key]) for key in ("XMin", "YMin", "XMax", "YMax")]
    left, top, right, bottom = sides
    if left is None or top is None or right is None or bottom is None:
        entry.issues.append(syntax_issue(where, f"must have four sides in numbers, got {shown(list(row.values()))}"))
        return
    label = shown_as.get(row["LabelName"], row["LabelName"])
    crowd = row.get("IsGroupOf") == "1"
    entry.shapes.append(Shape(label, where, [(left, top), (right, bottom)], crowd=crowd))


def _take_labels(file: Path, min_confidence: float, entries: dict[str, Entry], shown_as: dict[str, str]) -> None:
    """Image-level labels: those of enough confidence are there, those with 0 are not, of others nothing is known."""
    known: dict[str, list[str]] = {}
    unverified = 0
    for where, row in _rows(file, _LABELS):
        name = shown_as.get(row["LabelName"], row["LabelName"])
        image, confidence = row["ImageID"], to_number(row["Confidence"])
        if confidence is None or not (confidence == 0 or min_confidence <= confidence <= 1):
            unverified += 1
            continue
        entry = entries.setdefault(image, Entry(_file_names(image), where, boxed=False, fractions=True))
        known.setdefault(image, []).append(name)
        if confidence:
            entry.labels.append((name, where))
    if unverified and not known:
        message = f"must have labels with confidence 0, or {min_confidence:g} and more; all {unverified:,} are between"
        raise IssueError(make_issue("file-syntax", file, message, "give a min_confidence in a data-set file"))
    for image, names in known.items():
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
            row = dict(zip(header, cells, strict=False))
            yield f"{file}:{number}: {row['ImageID']}", row
