"""Small files and folders of a data set, read with an issue for whatever is wrong with them."""

from __future__ import annotations

import csv
import math
import os
from collections.abc import Iterator
from pathlib import Path, PurePath
from typing import NamedTuple
from urllib.parse import SplitResult, urlsplit

from yolo9000.data.issues import IssueError, make_issue, shown
from yolo9000.types import Issue

__all__ = [
    "MAX_LABEL_BYTES",
    "NOTE_NAMES",
    "csv_cells",
    "decode_text",
    "entries_of",
    "is_file",
    "is_folder",
    "is_hidden",
    "is_note",
    "is_note_name",
    "json_number",
    "names_in",
    "numbered_lines",
    "path_inside",
    "read_text",
    "to_number",
    "url_parts",
    "walk_files",
    "whole_side",
]

MAX_LABEL_BYTES = 16 << 20  # of what is said of one image
NOTE_NAMES = ("readme", "license", "licence", "copying")

_MAX_LINE_BYTES = 1 << 20
_LONGEST_SIDE = 1e9
_NOTE_SUFFIXES = (
    ".txt",
    ".names",
    ".labels",
    ".data",
    ".csv",
    ".tsv",
    ".md",
    ".xml",
    ".json",
    ".yaml",
    ".yml",
    ".html",
    ".log",
)
_FOREIGN_NAMES = {
    "thumbs.db",
    "ehthumbs.db",
    "desktop.ini",
    "picasa.ini",
    "__macosx",
    "@eadir",
    "#recycle",
    "$recycle.bin",
    "system volume information",
}
"""What file managers and network drives leave behind."""
_FOREIGN_SUFFIXES = (".xmp", ".npy", ".cache", ".identifier", ".tmp", ".bak", ".lnk")
"""Side files of photo programs, caches of other trainers' images, marks of downloads."""


def is_file(path: Path) -> bool:
    """Whether the path leads to a regular file; no for a path that cannot be one."""
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name that is too long, a folder that may not be entered
        return False


def is_folder(path: Path) -> bool:
    """Whether the path leads to a folder; no for a path that cannot be one."""
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False


def path_inside(folder: Path, name: str, where: str) -> Path:
    """The path of a file that a data set names, which must not lead out of its folder.

    Raises:
        IssueError: ``path-outside``.
    """
    path = folder / name
    if ".." in Path(name).parts or not path.is_relative_to(folder) or path == folder:
        message = f"must name a file in {folder}, got {shown(name)}"
        raise IssueError(make_issue("path-outside", where, message, "name it relative to that folder, without .."))
    return path


def read_text(path: Path, code: str, max_bytes: int = MAX_LABEL_BYTES) -> str:
    """The text of a small file.

    Raises:
        IssueError: of the given code.
    """
    suggestion = "correct the file, or write it again as UTF-8 text"
    if not is_file(path):
        raise IssueError(make_issue(code, path, "must be a file that can be read", suggestion))
    try:
        with path.open("rb") as stream:
            data = stream.read(max_bytes + 1)
    except OSError as error:
        raise IssueError(
            make_issue(code, path, f"must be a file that can be read: {error.strerror}", suggestion)
        ) from None
    return decode_text(data, path, code, max_bytes)


def decode_text(data: bytes, where: object, code: str, max_bytes: int = MAX_LABEL_BYTES, first_line: int = 1) -> str:
    """The text that the bytes of a small file, or of some lines of a file, are.

    Raises:
        IssueError: of the given code: they are too many, or not UTF-8 text.
    """
    suggestion = "correct the file, or write it again as UTF-8 text"
    if len(data) > max_bytes:
        raise IssueError(make_issue(code, where, f"must be at most {max_bytes:,} bytes long, is longer", suggestion))
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = first_line + data.count(b"\n", 0, error.start)
        raise IssueError(
            make_issue(code, f"{where}:{line}", "must be UTF-8 text, holds other bytes", suggestion)
        ) from None
    if "\0" in text:
        line = first_line + text.count("\n", 0, text.index("\0"))
        raise IssueError(make_issue(code, f"{where}:{line}", "must be UTF-8 text, holds a zero byte", suggestion))
    return text


def numbered_lines(path: Path) -> Iterator[tuple[int, str]]:
    """The lines of a text file of any length with their numbers, from 1, without line ends.

    Raises:
        IssueError: ``file-unreadable``.
    """
    if not is_file(path):
        message = "must be a file that can be read"
        raise IssueError(make_issue("file-unreadable", path, message, "correct the path"))
    try:
        with path.open("rb") as stream:
            number = 0
            while line := stream.readline(_MAX_LINE_BYTES + 1):
                number += 1
                text = decode_text(line, path, "file-unreadable", _MAX_LINE_BYTES, number)
                yield number, text.removesuffix("\n").removesuffix("\r")
    except OSError as error:
        message = f"must be a file that can be read: {error.strerror}"
        raise IssueError(make_issue("file-unreadable", path, message, "correct its permissions")) from None


def csv_cells(line: str, delimiter: str = ",") -> list[str]:
    """The cells of a line of CSV, at least one; one that is badly quoted is a single cell."""
    try:
        return next(csv.reader([line], delimiter=delimiter), []) or [line]
    except csv.Error:
        return [line]


class Named(NamedTuple):
    """What a folder holds under a name: a folder, a link, or a file."""

    name: str
    is_folder: bool
    is_link: bool


def names_in(folder: Path) -> list[Named]:
    """What a folder holds, in the order of the names, without hidden files.

    Raises:
        IssueError: ``file-unreadable``.
    """
    try:
        with os.scandir(folder) as entries:
            named = [Named(entry.name, entry.is_dir(follow_symlinks=False), entry.is_symlink()) for entry in entries]
    except OSError as error:
        message = f"must be a folder that can be read: {error.strerror}"
        suggestion = "correct its path or its permissions"
        raise IssueError(make_issue("file-unreadable", folder, message, suggestion)) from None
    return sorted(one for one in named if not is_hidden(one.name))


def entries_of(folder: Path) -> list[tuple[Path, bool]]:
    """The paths of `names_in`, with whether they are folders and no links; errors as of it."""
    return [(folder / one.name, one.is_folder) for one in names_in(folder)]


def is_hidden(name: str) -> bool:
    """Whether a file or folder belongs to a file manager, a photo program or a cache, and not to the data."""
    lower = name.lower()
    return lower.startswith(".") or lower in _FOREIGN_NAMES or lower.endswith(_FOREIGN_SUFFIXES)


def walk_files(folder: Path) -> Iterator[Path | Issue]:
    """All files in a folder and in those below, in the order of their names, without hidden ones.

    A link to a folder comes as a file: following it could lead round and round.

    Returns:
        Paths; an issue ``file-unreadable`` in the place of a folder that cannot be read.
    """
    waiting = [(folder, True)]
    while waiting:
        path, is_dir = waiting.pop()
        if not is_dir:
            yield path
            continue
        try:
            waiting += reversed(entries_of(path))
        except IssueError as error:
            yield error.issue


def is_note_name(name: str) -> bool:
    """Whether a file tells people about the data by its name, such as ``README.dataset.txt``."""
    return name.lower().split(".")[0] in (*NOTE_NAMES, "notes", "notice", "changelog")


def is_note(path: PurePath) -> bool:
    """Whether a file is text beside the data by its name, such as ``README`` or ``classes.csv``."""
    return path.suffix.lower() in _NOTE_SUFFIXES or path.stem.lower() in NOTE_NAMES


def to_number(text: str) -> float | None:
    """The number that a text is, ``nan`` and ``inf`` among them; None where it is none."""
    if not text.isascii() or "_" in text:  # which Python takes
        return None
    try:
        return float(text)
    except ValueError:
        return None


def url_parts(address: str) -> SplitResult | None:
    """The parts of a URL or of a path; None for what is neither, such as a host of brackets that is no IP address."""
    try:
        return urlsplit(address)
    except ValueError:
        return None


def whole_side(value: float) -> int:
    """A declared width or height in whole pixels; 0 for what is none, such as infinity."""
    return int(value) if abs(value) < _LONGEST_SIDE else 0


def json_number(value: object) -> float | None:
    """The number that a value of JSON is, infinite where it is too large for a float; None where it is none."""
    if type(value) is float:
        return value
    if type(value) is not int:  # nor is a bool a number
        return None
    try:
        return float(value)
    except OverflowError:
        return math.inf
