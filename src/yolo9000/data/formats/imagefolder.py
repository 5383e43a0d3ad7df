"""Hugging Face's ``imagefolder``: ``metadata.jsonl`` or ``metadata.csv`` beside the images.

A line has ``file_name`` and either ``objects``, with ``bbox`` as left, top, width and height in pixels and
``categories``, or ``label``, an image-level label. Classes are names or, where they are indices, those of ``names``.

Source: huggingface.co/docs/datasets, Create an image dataset.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar, Final, Literal

from yolo9000.data.entries import Entry, annotations_of, class_names_of, syntax_issue
from yolo9000.data.files import csv_cells, is_file, numbered_lines
from yolo9000.data.format import NumberedSettings, Recognition
from yolo9000.data.huggingface import take_objects
from yolo9000.data.issues import IssueError, make_issue, shown
from yolo9000.data.listing import Listing, join
from yolo9000.data.split_names import UNDIVIDED
from yolo9000.io.documents import JsonError, load_json
from yolo9000.taxonomy.files import read_names
from yolo9000.types import Annotation

__all__ = ["NAME", "TITLE", "Source", "class_names", "read", "sniff", "write"]

NAME: Final = "imagefolder"
TITLE: Final = "Hugging Face imagefolder"
write = None

_FILES = ("metadata.jsonl", "metadata.csv")
_NAMES_FILES = ("classes.txt", "labels.txt")


class Source(NumberedSettings):
    """A folder of images with ``metadata.jsonl`` or ``metadata.csv``."""

    FILES: ClassVar[tuple[str, ...]] = ("path", "names")
    format: Literal["imagefolder"] = NAME


def sniff(listing: Listing) -> Recognition | None:
    """A metadata file with ``file_name`` and objects or labels, in the folder or in split folders."""
    if listing.file is not None:
        return None
    splits = {split: folder for split, folder in listing.split_folders().items() if _metadata(listing, folder)}
    folders = splits or ({UNDIVIDED: ""} if _metadata(listing, "") else {})
    if not folders:
        return None
    names = next((name for name in _NAMES_FILES if name in listing.files()), None)
    entry: dict[str, Any] = {"format": NAME} | ({"names": names} if names else {})
    sources = {split: [entry | {"path": folder or "."}] for split, folder in folders.items()}
    counts = {folder or "images": listing.image_count(folder) for folder in folders.values()}
    used = frozenset([*folders.values(), names or "", *_FILES, *(listing.folders() if "" in folders.values() else ())])
    reason = join(next(iter(folders.values())), _metadata(listing, next(iter(folders.values()))) or "")
    return Recognition(0.9, TITLE, f"{reason} with file_name and objects or labels", sources, counts, used=used)


def _metadata(listing: Listing, folder: str) -> str | None:
    name = next((name for name in _FILES if name in listing.files(folder)), None)
    first = (listing.first_lines(join(folder, name), 1) or [""])[0] if name else ""
    return name if "file_name" in first and any(word in first for word in ("objects", "label", "categor")) else None


def class_names(root: Path, source: Source) -> Sequence[str]:
    """The given names; else those in the metadata, sorted; none where these are indices."""
    if source.names is not None:
        return read_names(root / source.names) if isinstance(source.names, str) else source.names
    return class_names_of(_entries(root / source.path))


def read(root: Path, source: Source, classes: Sequence[str]) -> Iterator[Annotation]:
    """Every line, in the order of the file."""
    folder = root / source.path
    yield from annotations_of(_entries(folder), folder, classes)


def _entries(folder: Path) -> Iterator[Entry]:
    file = next((folder / name for name in _FILES if is_file(folder / name)), None)
    if file is None:
        message = f"must have {' or '.join(_FILES)}, has neither"
        raise IssueError(make_issue("file-unreadable", folder, message, "correct the path"))
    for where, record in _records(file):
        yield _entry(record, where)


def _records(file: Path) -> Iterator[tuple[str, Any]]:
    if file.suffix == ".csv":
        lines = numbered_lines(file)
        header = csv_cells(next(lines, (0, ""))[1])
        for number, line in lines:
            if line.strip():
                yield f"{file}:{number}", dict(zip(header, csv_cells(line), strict=False))
        return
    for number, line in numbered_lines(file):
        if line.strip():
            yield f"{file}:{number}", _json_of(line)


def _json_of(line: str) -> Any:
    try:
        return load_json(line)
    except JsonError:
        return None


def _entry(record: Any, where: str) -> Entry:
    if not isinstance(record, dict) or not isinstance(record.get("file_name"), str):
        return Entry((), where, issues=[syntax_issue(where, "must be JSON with a file_name")])
    entry = Entry((record["file_name"],), where)
    objects = record.get("objects")
    if isinstance(objects, dict):
        take_objects(objects, where, entry)
    elif isinstance(record.get("label"), str):
        entry.labels.append((record["label"], where))
        entry.boxed = False
    else:
        entry.boxed = False
        entry.issues.append(syntax_issue(where, f"must have objects or a label in words, got {shown(record)}"))
    return entry
