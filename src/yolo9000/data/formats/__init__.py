"""Formats of data sets, each read into the same records, and written where other programs read them.

A reader is a generator of `Annotation`: a sample, what was wrong with it, or both. What is wrong with one image never
ends the reading; a file that cannot be understood as a whole raises an `IssueError`, which is a `DataError`. An issue
can be fixed where the sample that comes with it can be used, the bad objects fixed or left out, or where leaving out
the record loses no image. Images are opened as far as their header where boxes must fit into them, and `size_wh` is
then the size found there; pixels are not decoded.

The codes of issues:

========================= ============================================================================================
``box-nan``               a side of a box is not a finite number
``box-inverted``          a box ends before it begins
``box-empty``             a box has no width or no height
``box-outside``           a box lies partly (clipped) or wholly (left out) outside its image
``box-duplicate``         the same box with the same label twice
``area-wrong``            an area that the image has no room for
``class-unknown``         a label that is not one of the classes
``class-duplicate``       a class that is named twice
``class-empty``           a class's folder without images
``label-syntax``          an object, a line or a record that is not what its format asks for
``label-missing``         an image without a label file
``label-orphan``          a label file without an image
``label-duplicate``       a label, or an image's label file, that is there twice
``label-unreadable``      a label file that cannot be read, is no text, or is too large
``image-missing``       an image that a list or a label names is not there
``image-unreadable``    an image whose header cannot be read
``image-duplicate``     an image that is there twice
``size-wrong``            a declared width and height that are not those of the image
``id-duplicate``          an id that is there twice
``id-unknown``            an id that stands for nothing
``path-outside``          a name that leads out of the data set's folder
``file-unknown``          a file that is neither an image nor a label file
``file-unreadable``       a file or a folder that cannot be read
``file-syntax``           a file that cannot be understood as a whole
``xml-entity``            XML with a document type or entities, which can be used to attack
``tar-compressed``        a tar file that must be unpacked to be read
``tar-damaged``           a tar file that ends early, or goes on after its end
``tar-member``            a link, a device or a sparse file in a tar file
========================= ============================================================================================
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path, PurePath
from typing import TypeVar

from yolo9000.data.images import image_size
from yolo9000.data.issues import IssueError, make_issue, shown
from yolo9000.errors import DataError, nearest
from yolo9000.io.sources import IMAGE_SUFFIXES
from yolo9000.types import Annotation, BoxAnnotations, ImageFile, Issue, Sample

__all__ = [
    "MAX_LABEL_BYTES",
    "NOTE_NAMES",
    "ClassIndices",
    "add_labels",
    "boxes_to_write",
    "check_declared_size",
    "check_there",
    "class_of_digits",
    "decode_text",
    "duplicate_image",
    "entries_of",
    "image_level",
    "is_file",
    "is_folder",
    "is_hidden",
    "is_image",
    "is_note",
    "json_number",
    "numbered_lines",
    "path_inside",
    "read_text",
    "size_of",
    "size_to_write",
    "to_number",
    "unknown_file",
    "walk_files",
    "walk_images",
    "writing",
]

MAX_LABEL_BYTES = 16 << 20  # of what is said of one image
NOTE_NAMES = ("readme", "license", "licence", "copying")

Label = TypeVar("Label")

_MAX_LINE_BYTES = 1 << 20
_MAX_HINTS = 100  # the nearest class is a kindness; with thousands of classes it takes long to find
_NOTE_SUFFIXES = (".txt", ".csv", ".tsv", ".md", ".xml", ".json", ".yaml", ".yml", ".html", ".log")
_FOREIGN_NAMES = {"thumbs.db", "desktop.ini", "__macosx"}  # what file managers leave behind


class ClassIndices:
    """From the name of a class to its number, which is its place among the classes."""

    def __init__(self, classes: Sequence[str], where: object = "classes") -> None:
        """Number the classes.

        Args:
            classes: their names.
            where: where they are named, for the error.

        Raises:
            IssueError: ``class-duplicate``.
        """
        self._numbers: dict[str, int] = {}
        self._hints: dict[str, str] = {}
        for number, name in enumerate(classes):
            first = self._numbers.setdefault(name, number)
            if first != number:
                message = f"a class must be named once, {shown(name)} is class {first} and class {number}"
                raise IssueError(make_issue("class-duplicate", where, message, "rename or remove one of the two"))

    def __contains__(self, name: str) -> bool:
        return name in self._numbers

    def of(self, name: str, where: str) -> int:
        """The number of a class.

        Raises:
            IssueError: ``class-unknown``.
        """
        number = self._numbers.get(name)
        if number is None:
            message = f"must be one of the {len(self._numbers)} classes, got {shown(name)}{self._hint(name)}"
            suggestion = "correct the label, or add it to the classes"
            raise IssueError(make_issue("class-unknown", where, message, suggestion, fixable=True))
        return number

    def _hint(self, name: str) -> str:
        if name not in self._hints and len(self._hints) < _MAX_HINTS:
            self._hints[name] = nearest(name, self._numbers)
        return self._hints.get(name, "")


def class_of_digits(text: str, count: int, where: str) -> int:
    """The number of a class that is written as a number.

    Raises:
        IssueError: ``label-syntax`` for what is not digits, ``class-unknown`` for a number that is too large.
    """
    if not (text.isascii() and text.isdigit()):
        message = f"a class must be a whole number, 0 to {count - 1}, got {shown(text)}"
        raise IssueError(make_issue("label-syntax", where, message, "correct the line", fixable=True))
    digits = text.lstrip("0") or "0"
    if len(digits) > len(str(count)) or int(digits) >= count:
        message = f"must be one of the {count} classes, 0 to {count - 1}, got {shown(text)}"
        suggestion = "correct the number, or name more classes; numbers begin at 0"
        raise IssueError(make_issue("class-unknown", where, message, suggestion, fixable=True))
    return int(digits)


def add_labels(
    labels: set[int], named: Iterable[tuple[Label, str]], number_of: Callable[[Label, str], int]
) -> list[Issue]:
    """Add image-level labels, each with what names it.

    Args:
        labels: those that are there; each may be there once.
        named: the labels as they are written, and where.
        number_of: the number of a class that is written so; it may raise a `IssueError`.

    Returns:
        The issues of those that were not added.
    """
    issues = []
    for name, where in named:
        try:
            label = number_of(name, where)
        except IssueError as error:
            issues.append(error.issue)
            continue
        if label in labels:
            message = f"an image must have a class once, {shown(name)} was there before"
            issues.append(make_issue("label-duplicate", where, message, "delete it", fixable=True))
        labels.add(label)
    return issues


def to_number(text: str) -> float | None:
    """The number that a text is, ``nan`` and ``inf`` among them; None where it is none."""
    if not text.isascii() or "_" in text:  # which Python takes
        return None
    try:
        return float(text)
    except ValueError:
        return None


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


# --- Files. ---


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


def is_image(path: PurePath) -> bool:
    """Whether a file is an image by its suffix."""
    return path.suffix.lower() in IMAGE_SUFFIXES


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
    suggestion = "mend the file, or write it again as UTF-8 text"
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
    suggestion = "mend the file, or write it again as UTF-8 text"
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


def entries_of(folder: Path) -> list[tuple[Path, bool]]:
    """What a folder holds, in the order of the names, without hidden files; with whether it is a folder and no link.

    Raises:
        IssueError: ``file-unreadable``.
    """
    try:
        with os.scandir(folder) as entries:
            found = sorted((entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries)
    except OSError as error:
        message = f"must be a folder that can be read: {error.strerror}"
        suggestion = "correct its path or its permissions"
        raise IssueError(make_issue("file-unreadable", folder, message, suggestion)) from None
    return [(folder / name, is_dir) for name, is_dir in found if not is_hidden(name)]


def is_hidden(name: str) -> bool:
    """Whether a file is one that file managers keep to themselves."""
    return name.startswith(".") or name.lower() in _FOREIGN_NAMES


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


def walk_images(folder: Path) -> Iterator[Path | Issue]:
    """The images among `walk_files`; what is neither an image nor a note comes as an issue ``file-unknown``."""
    for item in walk_files(folder):
        if isinstance(item, Issue) or is_image(item):
            yield item
        elif not is_note(item):
            yield unknown_file(item, "an image")


def is_note(path: PurePath) -> bool:
    """Whether a file is text beside the data by its name, such as ``README`` or ``classes.csv``."""
    return path.suffix.lower() in _NOTE_SUFFIXES or path.stem.lower() in NOTE_NAMES


def unknown_file(where: object, kinds: str) -> Issue:
    """The issue of a file that is not of the kinds that its folder is for."""
    suggestion = f"images end in {', '.join(IMAGE_SUFFIXES)}; convert it, or move it elsewhere"
    return make_issue("file-unknown", where, f"must be {kinds} by its suffix", suggestion, fixable=True)


# --- Images. ---


def size_of(image: ImageFile, where: str, missing: str = "image-missing") -> tuple[int, int]:
    """Width and height of an image by its header.

    Args:
        image: where it is.
        where: what names it, for the issue.
        missing: code of the issue where it is not there.

    Raises:
        IssueError: of that code, or ``image-unreadable``.
    """
    check_there(image, where, missing)
    try:
        return image_size(image, str(image.path) if image.offset is None else where)
    except DataError as error:
        message = f"its image must be one that can be read: {error}"
        raise IssueError(make_issue("image-unreadable", where, message, "replace the image")) from None


def check_there(image: ImageFile, where: str, missing: str = "image-missing") -> None:
    """Check that an image is a file.

    Raises:
        IssueError: of the given code.
    """
    if image.offset is None and not is_file(image.path):
        message = f"its image {image.path} must be there, is not"
        raise IssueError(make_issue(missing, where, message, "put it there, or delete what is said of it"))


def check_declared_size(declared: tuple[int, int], size_wh: tuple[int, int], where: str) -> None:
    """Check that an annotator saw the image in the size that it has.

    Raises:
        IssueError: ``size-wrong``; one that can be fixed where the declared size is no size at all, such as 0 x 0: else
            the boxes were perhaps drawn on another image.
    """
    if declared == size_wh:
        return
    width, height = size_wh
    message = f"must declare the size of its image, {width} x {height}, declares {declared[0]} x {declared[1]}"
    no_size = min(declared) <= 0
    if no_size:
        suggestion = "correct the size"
    elif declared == (height, width):
        suggestion = "the image is perhaps turned by EXIF: turn its pixels, and check the boxes"
    else:
        suggestion = "scale the boxes to the image, or take the image that they were drawn on"
    raise IssueError(make_issue("size-wrong", where, message, suggestion, fixable=no_size))


def duplicate_image(name: str, where: str) -> Issue:
    """The issue of an image that was there before."""
    message = f"an image must be there once, {shown(name)} was there before"
    return make_issue("image-duplicate", where, message, "put all that is said of it in one place", fixable=True)


def image_level(sample: Sample, labels: Iterable[int], issues: Iterable[Issue]) -> Annotation:
    """The sample with image-level labels alone; without any nothing is known of it, and its issues cannot be fixed."""
    if not (known := tuple(sorted(labels))):
        return Annotation(None, tuple(replace(issue, fixable=False) for issue in issues))
    return Annotation(replace(sample, image_labels=known), tuple(issues))


# --- Writing. ---


def boxes_to_write(sample: Sample, kind: str) -> BoxAnnotations:
    """The boxes of a sample.

    Raises:
        DataError: nobody drew any; a format for boxes would say that there is no object.
    """
    if sample.boxes is None:
        raise DataError(f"{sample.where}: must have boxes to be written as {kind}, has image-level labels only")
    return sample.boxes


def size_to_write(sample: Sample) -> tuple[int, int]:
    """Width and height of a sample's image.

    Raises:
        IssueError: the sample does not say, and the image cannot be read.
    """
    return sample.size_wh or size_of(sample.image, sample.where)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """What goes wrong in writing is told as an error about the path."""
    try:
        yield
    except OSError as error:
        raise DataError(f"{error.filename or path}: cannot be written: {error.strerror}") from None
