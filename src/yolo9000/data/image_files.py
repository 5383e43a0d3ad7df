"""The image files of a data set: found, and their sizes compared with what annotations declare."""

from __future__ import annotations

import os
import posixpath
import re
import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePath, PurePosixPath
from urllib.parse import unquote

from yolo9000.data.files import is_file, is_note, path_inside, walk_files
from yolo9000.data.images import image_size
from yolo9000.data.issues import IssueError, make_issue, shown
from yolo9000.errors import DataError
from yolo9000.io.images import IMAGE_SUFFIXES
from yolo9000.types import ImageFile, Issue

__all__ = [
    "check_declared_size",
    "check_there",
    "duplicate_image",
    "find_image",
    "hits_in",
    "is_image",
    "is_image_name",
    "same_spelling",
    "size_of",
    "unknown_file",
    "walk_images",
]


def is_image(path: PurePath) -> bool:
    """Whether a file is an image by its suffix."""
    return is_image_name(path.name)


def is_image_name(name: str) -> bool:
    """Whether a file of this name is an image by its suffix."""
    return posixpath.splitext(name)[1].lower() in IMAGE_SUFFIXES


def walk_images(folder: Path) -> Iterator[Path | Issue]:
    """The images among `walk_files`; what is neither an image nor a note comes as an issue ``file-unknown``."""
    for item in walk_files(folder):
        if isinstance(item, Issue) or is_image(item):
            yield item
        elif not is_note(item):
            yield unknown_file(item, "an image")


def unknown_file(where: object, kinds: str) -> Issue:
    """The issue of a file that is not of the kinds that its folder is for."""
    suggestion = f"images end in {', '.join(IMAGE_SUFFIXES)}; convert it, or move it elsewhere"
    return make_issue("file-unknown", where, f"must be {kinds} by its suffix", suggestion, fixable=True)


def size_of(image: ImageFile, where: str, missing: str = "image-missing") -> tuple[int, int]:
    """Width and height of an image by its header.

    Args:
        image: where it is.
        where: what names it, for the issue.
        missing: code of the issue where it is not there.

    Raises:
        IssueError: of that code, or ``image-unreadable``.
    """
    try:
        return image_size(image, str(image.path) if image.offset is None else where)
    except DataError as error:
        check_there(image, where, missing)
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


# --- Images by the names that files give them. ---

_UNUSUAL = re.compile(r"\.\.|^[/\\]|:")
"""Parts of names that may lead out of a folder."""


def find_image(folder: Path, name: str, where: str) -> Path:
    """The image file in a folder that a file names.

    A name that is not there as it stands is also tried with the slashes of Windows, with the escapes of a URL, in the
    other form of Unicode, and by its last part alone.

    Raises:
        IssueError: ``path-outside``: the name leads out of the folder.
    """
    written = os.path.join(folder, name)  # noqa: PTH118  several times as fast as paths, for every image of a data set
    if name and not _UNUSUAL.search(name) and os.path.isfile(written):  # noqa: PTH113
        return Path(written)
    for variant in _variants(name):
        if is_file(folder / variant):
            return folder / variant
    return path_inside(folder, name, where)


def hits_in(folder: Path, names: Iterable[str]) -> int:
    """How many of some names `find_image` would find in a folder, below their whole names."""
    return sum(bool(name) and is_file(folder / name.replace("\\", "/")) for name in names)


def same_spelling(path: Path) -> Path | None:
    """A file beside a path whose name differs in case or in the form of Unicode alone; None if there is not one."""
    wanted = _folded(path.name)
    try:
        matches = [other for other in path.parent.iterdir() if _folded(other.name) == wanted]
    except OSError:
        return None
    return matches[0] if len(matches) == 1 else None


def _variants(name: str) -> Iterator[str]:
    plain = unquote(name.replace("\\", "/"))
    path = PurePosixPath(plain)
    if path.is_absolute() or ".." in path.parts or ":" in plain:
        return
    for variant in (str(path), path.name):
        if variant and variant != ".":
            yield variant
            yield unicodedata.normalize("NFC", variant)
            yield unicodedata.normalize("NFD", variant)


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()
