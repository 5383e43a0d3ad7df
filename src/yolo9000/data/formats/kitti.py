"""KITTI's object benchmark: a text file for each image, ``label_2/000000.txt`` for ``image_2/000000.png``.

A line is the type, truncation, occlusion, angle, left, top, right and bottom in pixels, and values in 3D that are not
read.
``DontCare`` marks regions in which objects were not labelled; they are read as difficult objects of a class of this
name, or are left out with ``leave_out``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, Literal

from yolo9000.data.entries import Entry, Shape, annotations_of, class_names_of, syntax_issue
from yolo9000.data.files import is_file, read_text, to_number, walk_files
from yolo9000.data.format import Recognition, SourceSettings
from yolo9000.data.image_files import is_image
from yolo9000.data.issues import IssueError, make_issue, shown
from yolo9000.data.listing import Listing, join
from yolo9000.data.split_names import UNDIVIDED, by_split
from yolo9000.types import Annotation, Issue

__all__ = ["NAME", "TITLE", "Source", "class_names", "read", "sniff", "write"]

NAME: Final = "kitti"
TITLE: Final = "KITTI"
write = None

DONT_CARE = "DontCare"
_COLUMNS = (15, 16)  # without and with a score
_LABELS = ("label_2", "label", "labels")
_IMAGES = ("image_2", "images", "image")


class Source(SourceSettings):
    """A folder of KITTI.

    Attributes:
        labels: the folder of the text files, relative to ``path``.
        images: the folder of the images, relative to ``path``.
    """

    format: Literal["kitti"] = NAME
    labels: str = "label_2"
    images: str = "image_2"


def sniff(listing: Listing) -> Recognition | None:
    """Text files of 15 columns beside a folder of images, in the folder or in split folders."""
    if listing.file is not None:
        return None
    positions = {name: source for name in ["", *listing.folders()[:20]] if (source := _source_in(listing, name))}
    if not positions:
        return None
    divided = {split: positions[name] for split, name in by_split(name for name in positions if name).items()}
    chosen = {UNDIVIDED: positions[""]} if "" in positions else divided if len(divided) > 1 else {}
    chosen = chosen or {UNDIVIDED: next(iter(positions.values()))}
    sources = {split: [source] for split, source in chosen.items()}
    counts = {split or "images": listing.image_count(_joined(one, "images")) for split, one in chosen.items()}
    used = frozenset([*(one["path"] for one in chosen.values()), chosen[next(iter(chosen))]["labels"], *_IMAGES])
    return Recognition(
        0.9, TITLE, f"{_joined(next(iter(chosen.values())), 'labels')}: lines of 15 columns", sources, counts, used=used
    )


def _joined(source: dict[str, str], key: str) -> str:
    return source[key] if source["path"] == "." else join(source["path"], source[key])


def _source_in(listing: Listing, folder: str) -> dict[str, str] | None:
    labels = listing.folder_called(*_LABELS, within=folder)
    images = listing.folder_called(*_IMAGES, within=folder)
    if labels is None or images is None:
        return None
    lines = [line for name in listing.files(labels, ".txt")[:5] for line in listing.first_lines(join(labels, name), 1)]
    if not lines or not all(_is_line(line) for line in lines):
        return None
    prefix = f"{folder}/" if folder else ""
    return {
        "format": NAME,
        "path": folder or ".",
        "labels": labels.removeprefix(prefix),
        "images": images.removeprefix(prefix),
    }


def _is_line(line: str) -> bool:
    parts = line.split()
    return (
        len(parts) in _COLUMNS
        and to_number(parts[0]) is None
        and all(to_number(part) is not None for part in parts[1:])
    )


def class_names(root: Path, source: Source) -> Sequence[str]:
    """The types of all objects, sorted."""
    return class_names_of(_entries(root / source.path / source.labels, root / source.path / source.images))


def read(root: Path, source: Source, classes: Sequence[str]) -> Iterator[Annotation]:
    """Every image in the order of the names; one without a text file is an issue."""
    folder = root / source.path
    entries = _entries(folder / source.labels, folder / source.images)
    yield from annotations_of(entries, folder / source.images, classes, boxes_from_shapes=source.boxes_from_shapes)


def _entries(labels: Path, images: Path) -> Iterator[Entry]:
    used = set()
    for item in walk_files(images):
        if isinstance(item, Issue):
            yield Entry((), item.where, issues=[item])
        elif is_image(item):
            file = labels / item.relative_to(images).with_suffix(".txt")
            used.add(file)
            yield _entry(file, item, images)
    for item in walk_files(labels):
        if isinstance(item, Path) and item.suffix.lower() == ".txt" and item not in used:
            message = "a label file must have an image, there is none"
            issue = make_issue("label-orphan", item, message, "put the image back, or delete the file", fixable=True)
            yield Entry((), str(item), issues=[issue])


def _entry(file: Path, image: Path, images: Path) -> Entry:
    if not is_file(file):
        message = f"an image must have a label file, there is no {file}"
        suggestion = "label the image; an empty file says that it has no object"
        return Entry((), str(image), issues=[make_issue("label-missing", image, message, suggestion)])
    entry = Entry((image.relative_to(images).as_posix(),), str(file))
    try:
        lines = read_text(file, "label-unreadable").split("\n")
    except IssueError as error:
        return Entry((), str(file), issues=[error.issue])
    for number, line in enumerate(lines, 1):
        if line.strip():
            _take_line(line, f"{file}:{number}", entry)
    return entry


def _take_line(line: str, where: str, entry: Entry) -> None:
    parts = line.split()
    sides = [to_number(part) for part in parts[4:8]]
    left, top, right, bottom = sides if len(sides) == 4 else [None] * 4
    if len(parts) not in _COLUMNS or left is None or top is None or right is None or bottom is None:
        entry.issues.append(syntax_issue(where, f"must be 15 columns with 4 sides, got {shown(line.strip())}"))
        return
    entry.shapes.append(Shape(parts[0], where, [(left, top), (right, bottom)], difficult=parts[0] == DONT_CARE))
