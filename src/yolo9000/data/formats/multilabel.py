"""Tables with a column of 0 and 1 for each class, as Roboflow exports multi-label sets: image-level labels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar, Final, Literal

from yolo9000.data.entries import Entry, annotations_of, syntax_issue
from yolo9000.data.files import csv_cells, numbered_lines
from yolo9000.data.format import Recognition, SourceSettings
from yolo9000.data.issues import IssueError, make_issue, shown
from yolo9000.data.listing import Listing, join
from yolo9000.data.split_names import UNDIVIDED
from yolo9000.types import Annotation

__all__ = ["NAME", "TITLE", "Source", "class_names", "read", "sniff", "write"]

NAME: Final = "multilabel"
TITLE: Final = "multi-label table"
write = None

_FILE = "_classes.csv"
_IMAGE = ("filename", "file_name", "image")


class Source(SourceSettings):
    """A CSV file whose first column is the image's name and whose others are classes, 0 or 1.

    Attributes:
        images: folder of the images, relative to the data-set file.
    """

    FILES: ClassVar[tuple[str, ...]] = ("path", "images")
    format: Literal["multilabel"] = NAME
    images: str


def sniff(listing: Listing) -> Recognition | None:
    """``_classes.csv`` in the folder or in split folders; any such table that is pointed at."""
    splits = {split: folder for split, folder in listing.split_folders().items() if _FILE in listing.files(folder)}
    if listing.file is not None:
        files = {UNDIVIDED: listing.file} if listing.documents(".csv") else {}
    elif splits:
        files = {split: join(folder, _FILE) for split, folder in splits.items()}
    else:
        files = {UNDIVIDED: _FILE} if _FILE in listing.files() else {}
    if not files or not all(_is_table(listing, file) for file in files.values()):
        return None
    sources = {
        split: [{"format": NAME, "path": file, "images": str(Path(file).parent.as_posix())}]
        for split, file in files.items()
    }
    counts = {splits.get(split, "images"): listing.image_count(splits.get(split, "")) for split in files}
    used = frozenset([*splits.values(), *files.values()])
    return Recognition(
        0.9, TITLE, f"{', '.join(files.values())}: a column of 0 and 1 for each class", sources, counts, used=used
    )


def _is_table(listing: Listing, file: str) -> bool:
    lines = [csv_cells(line) for line in listing.first_lines(file, 5)]
    if len(lines) < 2 or lines[0][0].strip().lower() not in _IMAGE or len(lines[0]) < 2:
        return False
    return all({cell.strip() for cell in row[1:]} <= {"0", "1"} and len(row) == len(lines[0]) for row in lines[1:])


def class_names(root: Path, source: Source) -> Sequence[str]:
    """The names of the columns, in their order."""
    return _header(root / source.path)[1:]


def read(root: Path, source: Source, classes: Sequence[str]) -> Iterator[Annotation]:
    """Every row, in the order of the file; one without a 1 is an issue."""
    yield from annotations_of(_entries(root / source.path), root / source.images, classes)


def _header(file: Path) -> list[str]:
    for _, line in numbered_lines(file):
        return [cell.strip() for cell in csv_cells(line)]
    raise IssueError(make_issue("file-syntax", file, "must have a header, is empty", "check that it is the right file"))


def _entries(file: Path) -> Iterator[Entry]:
    header = _header(file)
    for number, line in numbered_lines(file):
        if number == 1 or not line.strip():
            continue
        where, cells = f"{file}:{number}", [cell.strip() for cell in csv_cells(line)]
        entry = Entry((cells[0],), where, boxed=False)
        if len(cells) != len(header) or set(cells[1:]) - {"0", "1"}:
            entry.issues.append(
                syntax_issue(where, f"must be a name and {len(header) - 1} of 0 and 1, got {shown(line)}")
            )
        else:
            entry.labels = [(name, where) for name, cell in zip(header[1:], cells[1:], strict=True) if cell == "1"]
            if not entry.labels:
                entry.issues.append(syntax_issue(where, "must have a 1 in a column, has none"))
        yield entry
