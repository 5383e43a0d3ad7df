"""Names of output files and folders: one stem for each image or video of a run, safe on every file system."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from itertools import chain, count
from pathlib import Path, PurePath
from urllib.parse import unquote

from yolo9000.io.files import writing

__all__ = ["OutputNames", "file_name", "make_run_folder", "next_run_folder"]

_URL = re.compile(r"[a-z][a-z0-9+.-]*://(?:[^/?#]*@)?([^?#]*)", re.IGNORECASE)
"""A URL; the group is its host and path, without a password and a query."""
_NOT_IN_FILE_NAMES = re.compile(r'[<>:"/\\|?*\x00-\x1f\x7f\ud800-\udfff]')
"""What some file system refuses; the surrogates stand for bytes of a name that was not UTF-8."""
_STEM_BYTES = 200  # file systems allow 255, and frame number, suffix and extension come after it
_FRAME_STEM = re.compile(r"(.*)_[0-9]{6,}")


class OutputNames:
    """Gives every image, and every video, of one run its own stem for the names of output files.

    Remembers the name of each source (not of each frame), so that the same one gets the same stem again.
    """

    def __init__(self) -> None:
        self._stems: dict[tuple[str, bool], str] = {}
        self._images: set[str] = set()
        self._videos: set[str] = set()
        self._numbered_images: set[str] = set()
        self._next_suffixes: dict[str, Iterator[int]] = {}

    def stem(self, image_name: str, frame: int | None) -> str:
        """A file name without extension, such as ``dog``, or ``walk_000012`` for frame 12 of ``walk.mp4``.

        It is the source's own stem where that can be a file name and is still free (compared without case,
        for file systems that ignore it); a later ``other/dog.jpg`` becomes ``dog-2``.

        Args:
            image_name: where the image or the video is from: a path, a URL, ``stdin``.
            frame: 0-based number of the frame; None for a single image.
        """
        key = (image_name, frame is None)
        if key not in self._stems:
            self._stems[key] = self._claim(_source_stem(image_name), is_image=frame is None)
        return self._stems[key] if frame is None else f"{self._stems[key]}_{frame:06d}"

    def own(self, name: str) -> str:
        """A file name without extension for something that is no image, e.g. a class; another name gets another."""
        key = (name, True)
        if key not in self._stems:
            self._stems[key] = self._claim(file_name(name), is_image=True)
        return self._stems[key]

    def _claim(self, wanted: str, *, is_image: bool) -> str:
        """The wanted stem, or the first free one of ``wanted-2``, ``wanted-3`` ..., which is then taken."""
        stem = wanted
        while not self._is_free(stem.casefold(), is_image):
            stem = f"{wanted}-{next(self._next_suffixes.setdefault(wanted.casefold(), count(2)))}"
        (self._images if is_image else self._videos).add(stem.casefold())
        if is_image:
            self._numbered_images.add(_video_of_frame(stem.casefold()))
        return stem

    def _is_free(self, stem: str, is_image: bool) -> bool:
        # The image walk_000012.jpg and frame 12 of walk.mp4 must not get the same name either.
        if is_image:
            return stem not in self._images and _video_of_frame(stem) not in self._videos
        return stem not in self._videos and stem not in self._numbered_images


def _source_stem(image_name: str) -> str:
    """The last part of a path or URL without extension, in characters that file systems take; never empty."""
    url = _URL.match(image_name)
    path = unquote(url[1]) if url else image_name
    stem = file_name(PurePath(path).stem)
    return stem.encode()[:_STEM_BYTES].decode(errors="ignore").strip(" .") or "image"


def _video_of_frame(stem: str) -> str:
    """``walk`` for ``walk_000012``; empty for a stem that no frame could have."""
    match = _FRAME_STEM.fullmatch(stem)
    return match[1] if match else ""


def file_name(name: str) -> str:
    """The name with ``_`` for each character that some file system refuses."""
    return _NOT_IN_FILE_NAMES.sub("_", name)


def next_run_folder(folder: Path) -> Path:
    """The folder, or the first of ``folder-2``, ``folder-3``, ... that does not exist yet."""
    numbered = (folder.with_name(f"{folder.name}-{number}") for number in count(2))
    return next(candidate for candidate in chain([folder], numbered) if not candidate.exists())


def make_run_folder(folder: Path) -> Path:
    """Make `next_run_folder`; of several processes each gets its own.

    Raises:
        DataError: it cannot be made.
    """
    while True:
        candidate = next_run_folder(folder)
        with suppress(FileExistsError), writing(candidate):
            candidate.mkdir(parents=True)
            return candidate
