"""WIDER FACE: a text file with, for each image, its path, the number of faces, and a line for each face.

A line is left, top, width and height in pixels, then blur, expression, illumination, invalid, occlusion and pose.
Faces that are marked invalid are read as difficult. An image without faces has 0 and one line of zeros.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar, Final, Literal

from yolo9000.data.entries import Entry, Shape, annotations_of, syntax_issue
from yolo9000.data.files import numbered_lines, to_number
from yolo9000.data.format import Recognition, SourceSettings
from yolo9000.data.image_files import is_image
from yolo9000.data.image_folders import NAMES_TRIED, folder_of_images
from yolo9000.data.issues import shown
from yolo9000.data.listing import Listing
from yolo9000.data.split_names import UNDIVIDED, split_of
from yolo9000.io.digits import whole_number
from yolo9000.types import Annotation

__all__ = ["NAME", "TITLE", "Source", "class_names", "read", "sniff", "write"]

NAME: Final = "widerface"
TITLE: Final = "WIDER FACE"
write = None

CLASS = "face"
_COLUMNS = 10
_INVALID = 7


class Source(SourceSettings):
    """A text file of WIDER FACE.

    Attributes:
        images: folder of the images, relative to the data-set file.
    """

    FILES: ClassVar[tuple[str, ...]] = ("path", "images")
    format: Literal["widerface"] = NAME
    images: str


def sniff(listing: Listing) -> Recognition | None:
    """Text files that begin with a path of an image, a number, and a line of ten numbers."""
    matches = {name: names for name in listing.documents(".txt")[:40] if (names := _names_in(listing, name))}
    sources: dict[str, list[dict[str, Any]]] = {}
    for file, names in matches.items():
        split = UNDIVIDED if listing.file else split_of(PurePosixPath(file).stem) or UNDIVIDED
        stem = f"WIDER_{split}/images"
        folder, _ = folder_of_images(listing, file, names, stem)
        sources.setdefault(split, []).append({"format": NAME, "path": file, "images": folder})
    if not matches:
        return None
    used = frozenset([*matches, *(source["images"] for some in sources.values() for source in some)])
    counts: dict[str, int | None] = {split or "images": None for split in sources}
    return Recognition(
        0.95, TITLE, f"{', '.join(matches)}: paths, counts and lines of faces", sources, counts, used=used
    )


def _names_in(listing: Listing, file: str) -> list[str]:
    lines = listing.first_lines(file, 400)
    if len(lines) < 3 or not is_image(PurePosixPath(lines[0])) or not lines[1].isdigit():
        return []
    if len(lines[2].split()) != _COLUMNS:
        return []
    return [line for line in lines if is_image(PurePosixPath(line))][:NAMES_TRIED]


def class_names(root: Path, source: Source) -> Sequence[str]:
    """The one class."""
    return (CLASS,)


def read(root: Path, source: Source, classes: Sequence[str]) -> Iterator[Annotation]:
    """Every image, in the order of the file."""
    yield from annotations_of(_entries(root / source.path), root / source.images, classes)


def _entries(file: Path) -> Iterator[Entry]:
    entry: Entry | None = None
    announced: int | None = None
    for number, line in numbered_lines(file):
        where, text = f"{file}:{number}", line.strip()
        if not text:
            continue
        if is_image(PurePosixPath(text)):
            if entry is not None:
                yield _checked(entry, announced)
            entry, announced = Entry((text,), where), None
        elif entry is None:
            yield Entry((), where, issues=[syntax_issue(where, f"must be the path of an image, got {shown(text)}")])
        elif announced is None and (count := whole_number(text)) is not None:
            announced = count
        else:
            _take_line(text, where, entry, announced)
    if entry is not None:
        yield _checked(entry, announced)


def _checked(entry: Entry, announced: int | None) -> Entry:
    """The entry, with an issue where it has not as many faces as it says."""
    count = len(entry.shapes) + len(entry.issues)
    if announced != count:
        entry.issues.append(syntax_issue(entry.where, f"must have as many lines as it says, {announced}, has {count}"))
    return entry


def _take_line(text: str, where: str, entry: Entry, announced: int | None) -> None:
    values = [number for part in text.split() if (number := to_number(part)) is not None]
    if len(values) != _COLUMNS or len(text.split()) != _COLUMNS:
        entry.issues.append(syntax_issue(where, f"must be ten numbers, got {shown(text)}"))
    elif announced or any(values[:4]):
        left, top, width, height = values[:4]
        corners = [(left, top), (left + width, top + height)]
        entry.shapes.append(Shape(CLASS, where, corners, difficult=values[_INVALID] == 1))
