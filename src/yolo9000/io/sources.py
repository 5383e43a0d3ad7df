"""What a user names, turned into images: files, folders, patterns, lists, videos, cameras, URLs.

Only videos and ``.txt`` lists are recognized by their suffix; of anything else the contents decide. The network is used
for a URL that the user wrote and for nothing else: no list leads to it.
"""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

from yolo9000.errors import ConfigError, DataError
from yolo9000.io.files import check_file, one_line, open_file, reading
from yolo9000.io.images import IMAGE_SUFFIXES, MAX_FILE_BYTES, MAX_PIXELS, Source, name_of, read_image
from yolo9000.io.streams import SCHEME
from yolo9000.io.videos import VIDEO_SUFFIXES, read_frames
from yolo9000.io.web import SCHEMES
from yolo9000.types import SourceImage

__all__ = ["OnInputError", "open_sources"]

OnInputError = Callable[[DataError], None]
"""Called with the error of an input that cannot be read."""

_LIST_SUFFIX = ".txt"
_STREAM_SCHEMES = ("rtsp", "rtmp")
_CAMERA = re.compile(r"(?:camera:)?([0-9]{1,2})")  # OpenCV takes 100 and above for the number of a backend


def open_sources(
    sources: Source | Iterable[Source],
    *,
    max_pixels: int = MAX_PIXELS,
    every: int = 1,
    on_error: OnInputError | None = None,
) -> Iterator[SourceImage]:
    """All images that the sources name, in order, each decoded when it is asked for.

    In addition to what `read_image` takes, a source may be

    - a folder: the images in it, by suffix, in natural order; not the folders and hidden files in it;
    - a pattern with ``*``, ``?``, ``[ ]`` or ``**``: the images and videos that match, by suffix, in
      natural order;
    - a ``.txt`` list of images and videos: one path a line, relative to the list's folder or, where it is
      not there, to the working folder;
    - a video's file or URL, or a stream (rtsp, rtmp): its frames;
    - a camera, ``0`` or ``camera:0``: its frames.

    A file or folder that exists under the name takes precedence over a pattern and a camera. A `Path` is never a URL, a
    stream, a camera or stdin. A source without a name is called by its type and position: ``ndarray 0``.

    Args:
        sources: one source or many; none gives nothing.
        max_pixels: maximum width x height that is decoded, of images and of frames.
        every: of a video, a stream or a camera the frames 0, every, 2 x every ... are given.
        on_error: called with the error of each input that cannot be read, after which the next one is read; None
            raises it. After the last frame it is an error if an .avi, .mp4, .mov or .m4v has more frames, and if a
            stream or a camera ends.

    Raises:
        ConfigError: ``every`` is less than 1.
        DataError: an input cannot be read and ``on_error`` is None.
    """
    if every < 1:
        raise ConfigError(f"must be at least 1, got {every}", argument="every")
    many = [sources] if isinstance(sources, Source) else sources
    return _Opener(max_pixels, every, on_error).open_all(many)


@dataclass(frozen=True)
class _Opener:
    """Opens sources. Each step is a generator that may raise; `_continuing` reports what one input raised."""

    max_pixels: int
    every: int
    on_error: OnInputError | None

    def open_all(self, sources: Iterable[Source]) -> Iterator[SourceImage]:
        for index, source in enumerate(sources):
            yield from self._continuing(self._open(source, index))

    def _continuing(self, images: Iterator[SourceImage]) -> Iterator[SourceImage]:
        try:
            yield from images
            return
        except DataError as error:
            if self.on_error is None:
                raise
            message = str(error)
        self.on_error(DataError(message))  # a new one: the traceback of the old one keeps the decoder's memory alive

    def _open(self, source: Source, index: int) -> Iterator[SourceImage]:
        if isinstance(source, Path):
            yield from self._open_path(source, str(source))
        elif not isinstance(source, str) or source == "-":
            yield read_image(source, name=name_of(source, f" {index}"), max_pixels=self.max_pixels)
        elif not source:
            raise one_line("''", "the name of a source must not be empty")
        elif SCHEME.match(source):
            yield from self._open_url(source)
        elif (camera := _CAMERA.fullmatch(source)) and not os.path.lexists(source):
            yield from read_frames(int(camera[1]), source, None, self.max_pixels, self.every)
        else:
            yield from self._open_path(Path(source), source)

    def _open_url(self, url: str) -> Iterator[SourceImage]:
        with reading(url, "cannot be fetched"):
            parts = urlsplit(url)
        suffix = Path(parts.path).suffix.lower()
        if parts.scheme in _STREAM_SCHEMES:
            yield from read_frames(url, url, None, self.max_pixels, self.every)
        elif parts.scheme in SCHEMES and suffix in VIDEO_SUFFIXES:
            yield from read_frames(url, url, suffix, self.max_pixels, self.every)
        else:
            yield read_image(url, max_pixels=self.max_pixels)

    def _open_path(self, path: Path, name: str) -> Iterator[SourceImage]:
        if _is_folder(path):
            yield from self._open_files(_images_in(path, name))
        elif glob.has_magic(name) and not os.path.lexists(path):
            yield from self._open_files(_matches_of(name))
        elif path.suffix.lower() == _LIST_SUFFIX:
            yield from self._open_list(path, name)
        else:
            yield from self._open_file(path, name)

    def _open_files(self, paths: list[Path]) -> Iterator[SourceImage]:
        for path in paths:
            yield from self._continuing(self._open_file(path, str(path)))

    def _open_file(self, path: Path, name: str) -> Iterator[SourceImage]:
        suffix = path.suffix.lower()
        if suffix in VIDEO_SUFFIXES:
            check_file(path, name)
            # An absolute path, because FFmpeg takes what is before a colon for a protocol.
            yield from read_frames(str(path.absolute()), name, suffix, self.max_pixels, self.every)
        else:
            yield read_image(path, name=name, max_pixels=self.max_pixels)

    def _open_list(self, path: Path, name: str) -> Iterator[SourceImage]:
        empty = True
        with open_file(path, name, MAX_FILE_BYTES) as lines:
            for number, line in enumerate(lines, 1):
                listed = line.decode("utf-8-sig", errors="surrogateescape").strip()  # as Python names files
                if listed:
                    empty = False
                    yield from self._in_line(f"{name}:{number}")._open_listed(_find_listed(listed, path.parent))
        if empty:
            raise one_line(name, "must list images, one path a line, got an empty list")

    def _open_listed(self, file: Path) -> Iterator[SourceImage]:
        yield from self._continuing(self._open_file(file, str(file)))

    def _in_line(self, where: str) -> _Opener:
        """The same, with errors that name the line of a list."""
        on_error = self.on_error

        def report(error: DataError) -> None:
            located = one_line(where, str(error))
            if on_error is None:
                raise located
            on_error(located)

        return replace(self, on_error=report)


def _find_listed(listed: str, folder: Path) -> Path:
    beside_list = folder / listed
    return Path(listed) if os.path.lexists(listed) and not os.path.lexists(beside_list) else beside_list


def _images_in(folder: Path, name: str) -> list[Path]:
    with reading(name):
        paths = [path for path in folder.iterdir() if not path.name.startswith(".")]
    return _in_natural_order(paths, IMAGE_SUFFIXES, name)


def _matches_of(pattern: str) -> list[Path]:
    # What exists under its own name is no pattern: there may be a folder `shots[1]` in `shots[1]/*.jpg`.
    folder = next(parent for parent in Path(pattern).parents if os.path.lexists(parent))
    rest = str(Path(pattern).relative_to(folder))
    with reading(pattern, "must be a pattern"):
        # not Path.glob, whose ** matches folders only before Python 3.13
        paths = [folder / match for match in glob.iglob(rest, root_dir=folder, recursive=True)]  # noqa: PTH207
    return _in_natural_order(paths, IMAGE_SUFFIXES + VIDEO_SUFFIXES, pattern)


def _in_natural_order(paths: list[Path], suffixes: tuple[str, ...], name: str) -> list[Path]:
    kept = {path for path in paths if path.suffix.lower() in suffixes and not _is_folder(path)}
    if not kept:
        raise one_line(name, f"no file found that ends in {', '.join(suffixes)}")
    return sorted(kept, key=lambda path: ([_natural_key(part) for part in path.with_suffix("").parts], path))


def _natural_key(part: str) -> list[tuple[str, int]]:
    return [(word.casefold(), int(number or 0)) for word, number in re.findall(r"([^0-9]*)([0-9]*)", part)]


def _is_folder(path: Path) -> bool:
    return os.path.isdir(path)  # noqa: PTH112  Path.is_dir raises where it may not look
