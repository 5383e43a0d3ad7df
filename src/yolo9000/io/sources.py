"""What a user names, turned into images: files, folders, patterns, lists, videos, cameras, URLs.

Only ``.txt`` lists are recognized by their suffix, and so are videos; of anything else the contents decide. The network
is used for a URL that the user wrote and for nothing else: no list leads to it.
"""

from __future__ import annotations

import glob
import logging
import os
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from yolo9000.errors import ConfigError, DataError
from yolo9000.io.animations import read_images
from yolo9000.io.files import one_line, open_file, reading, without_password
from yolo9000.io.images import IMAGE_SUFFIXES, MAX_FILE_BYTES, MAX_PIXELS, name_of, read_image
from yolo9000.io.inputs import AnySource, Color, check_color, inputs_of, source_of
from yolo9000.io.streams import SCHEME, in_temporary_file, peek_stdin, piped_stdin, read_stdin
from yolo9000.io.videos import VIDEO_HEAD_BYTES, VIDEO_SUFFIXES, is_video, read_live, read_video
from yolo9000.io.web import SCHEMES
from yolo9000.io.windows import open_windowed
from yolo9000.types import SourceImage

__all__ = ["OnInputError", "open_sources"]

OnInputError = Callable[[DataError], None]
"""Called with the error of an input that cannot be read."""

_LIST_SUFFIX = ".txt"
_STREAM_SCHEMES = ("rtsp", "rtsps", "rtmp", "rtmps", "srt", "udp", "tcp")
_SEEKING_VIDEO = re.compile(rb"....(?:ftyp|moov|mdat|wide|skip|free)|RIFF....AVI ", re.DOTALL)
"""Videos whose index may be behind the frames."""
_log = logging.getLogger(__name__)
_CAMERA = re.compile(r"(?:camera:)?([0-9]{1,2})")
_LAST_CAMERA = 99  # OpenCV takes what is above for the number of a backend


def open_sources(
    sources: AnySource | Iterable[AnySource],
    *,
    color: Color = "rgb",
    max_pixels: int = MAX_PIXELS,
    every: int = 1,
    recursive: bool = False,
    by_windows: bool = False,
    on_error: OnInputError | None = None,
) -> Iterator[SourceImage]:
    """All images that the sources name, in order, each decoded when it is asked for.

    In addition to the images of `yolo9000.io.inputs`, a source may be

    - a folder: the images in it, by suffix, in natural order; what else is in it, hidden files aside, is counted in a
      logged warning;
    - a pattern with ``*``, ``?``, ``[ ]`` or ``**``: the images and videos that match, by suffix, in
      natural order;
    - a ``.txt`` list of images and videos: one path a line, relative to the list's folder or, where it is
      not there, to the working folder;
    - a video's file, bytes or URL, also on stdin, or an animated GIF, PNG, WebP or AVIF: its frames;
    - a stream (rtsp, rtmp, srt, udp, tcp) or a camera, ``0``, ``"0"`` or ``"camera:0"``: its frames; where it
      breaks it is opened again, and a warning is logged.

    A file or folder that exists under the name takes precedence over a pattern and a camera. A `Path` is never a URL, a
    stream, a camera or stdin. A source without a name is called by its type and position: ``ndarray 0``.

    Args:
        sources: one source or many; none gives nothing.
        color: order of the channels of arrays and tensors: ``rgb`` or ``bgr``.
        max_pixels: maximum width x height that is decoded, of images and of frames.
        every: of a video, a stream or a camera the frames 0, every, 2 x every ... are given.
        recursive: whether a folder gives all images and videos below it.
        by_windows: whether files with more pixels, and GeoTIFF, are given as a `WindowedImage`.
        on_error: called with the error of each input that cannot be read, after which the next one is read; None
            raises it. After the last frame it is an error if frames of a video are missing or damaged, and if a
            stream or a camera cannot be opened again for two minutes.

    Raises:
        ConfigError: ``every`` is less than 1, or ``color`` neither ``rgb`` nor ``bgr``.
        DataError: an input cannot be read and ``on_error`` is None.
    """
    if every < 1:
        raise ConfigError(f"must be at least 1, got {every}", argument="every")
    check_color(color)
    several = inputs_of(sources)
    many: Iterable[Any] = [sources] if several is None else several
    return _Opener(color, max_pixels, every, recursive, by_windows, on_error).open_all(many)


@dataclass(frozen=True)
class _Opener:
    """Opens sources. Each step is a generator that may raise; `_continuing` reports what one input raised."""

    color: Color
    max_pixels: int
    every: int
    recursive: bool
    by_windows: bool
    on_error: OnInputError | None

    def open_all(self, sources: Iterable[Any]) -> Iterator[SourceImage]:
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

    def _open(self, source: Any, index: int) -> Iterator[SourceImage]:
        """The images of a source of any type: what is none is an error of this source."""
        if isinstance(source, Path):
            yield from self._open_path(source, str(source))
        elif isinstance(source, str):
            yield from self._open_named(source)
        elif isinstance(source, int | np.integer) and not isinstance(source, bool):
            yield from self._open_camera(int(source), str(source))
        else:
            yield from self._open_in_memory(source, name_of(source, f" {index}"))

    def _open_in_memory(self, image: Any, unnamed: str) -> Iterator[SourceImage]:
        source, name = source_of(image, unnamed, self.color)
        if isinstance(source, bytes):
            yield from self._open_bytes(source, name or unnamed)
        else:
            yield read_image(source, name=name or unnamed, max_pixels=self.max_pixels)

    def _open_camera(self, number: int, name: str) -> Iterator[SourceImage]:
        if not 0 <= number <= _LAST_CAMERA:
            raise one_line(name, f"a camera's number must be in 0..{_LAST_CAMERA}")
        yield from read_live(number, name, self.max_pixels, self.every)

    def _open_named(self, source: str) -> Iterator[SourceImage]:
        if source == "-":
            yield from self._open_stdin(name_of(source))
        elif not source:
            raise one_line("''", "the name of a source must not be empty")
        elif SCHEME.match(source):
            yield from self._open_url(source)
        elif (camera := _CAMERA.fullmatch(source)) and not os.path.lexists(source):
            yield from self._open_camera(int(camera[1]), source)
        else:
            yield from self._open_path(Path(source), source)

    def _open_url(self, url: str) -> Iterator[SourceImage]:
        name = without_password(url)
        with reading(name, "cannot be fetched"):
            parts = urlsplit(url)
        suffix = Path(parts.path).suffix.lower()
        if parts.scheme in _STREAM_SCHEMES:
            yield from read_live(url, name, self.max_pixels, self.every)
        elif parts.scheme in SCHEMES and suffix in VIDEO_SUFFIXES:
            yield from read_video(url, name, self.max_pixels, self.every)
        else:
            yield from read_images(url, name, self.max_pixels, self.every)

    def _open_stdin(self, name: str) -> Iterator[SourceImage]:
        head = peek_stdin(name, VIDEO_HEAD_BYTES)
        if is_video(head) and not _SEEKING_VIDEO.match(head):
            with piped_stdin() as pipe:
                yield from read_video(pipe, name, self.max_pixels, self.every)
        else:
            yield from self._open_bytes(read_stdin(name), name)

    def _open_bytes(self, data: bytes, name: str) -> Iterator[SourceImage]:
        if is_video(data[:VIDEO_HEAD_BYTES]):
            with in_temporary_file(data) as path:
                yield from read_video(path, name, self.max_pixels, self.every)
        else:
            yield from read_images(data, name, self.max_pixels, self.every)

    def _open_path(self, path: Path, name: str) -> Iterator[SourceImage]:
        if _is_folder(path):
            yield from self._open_files(_files_below(path, name) if self.recursive else _images_in(path, name))
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
        if _is_video_file(path, name):
            yield from read_video(path, name, self.max_pixels, self.every)
        elif self.by_windows and (windowed := open_windowed(path, name, self.max_pixels)):
            with windowed:
                yield windowed
        else:
            yield from read_images(path, name, self.max_pixels, self.every)

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


def _is_video_file(path: Path, name: str) -> bool:
    """Whether a file is a video: by its suffix, or without one that is known by its first bytes."""
    if (suffix := path.suffix.lower()) in VIDEO_SUFFIXES + IMAGE_SUFFIXES:
        return suffix in VIDEO_SUFFIXES
    with open_file(path, name, sys.maxsize) as stream, reading(name):
        return is_video(stream.read(VIDEO_HEAD_BYTES))


def _images_in(folder: Path, name: str) -> list[Path]:
    with reading(name):
        paths = [path for path in folder.iterdir() if not path.name.startswith(".")]
    passed_over = [path for path in paths if path.suffix.lower() not in IMAGE_SUFFIXES or _is_folder(path)]
    if len(passed_over) == len(paths):
        raise one_line(name, f"no image found in this folder{_counted(passed_over)}")
    if passed_over:
        _log.warning("%s: not read%s", name, _counted(passed_over))
    return _in_natural_order(paths, IMAGE_SUFFIXES, name)


def _counted(paths: list[Path]) -> str:
    """What a folder has besides images: `` : 2 .mp4, 1 folder (`recursive` reads images and videos below)``."""
    kinds = Counter("folder" if _is_folder(path) else path.suffix.lower() or "without suffix" for path in paths)
    counts = ", ".join(f"{count} {kind}{'s' * (kind == 'folder' and count > 1)}" for kind, count in kinds.most_common())
    readable = any(kind == "folder" or kind in VIDEO_SUFFIXES for kind in kinds)
    return f": {counts}{' (`recursive` reads the videos and folders too)' if readable else ''}" if kinds else ""


def _files_below(folder: Path, name: str) -> list[Path]:
    with reading(name):
        paths = [path for path in folder.rglob("*") if not _is_hidden(path.relative_to(folder))]
    return _in_natural_order(paths, IMAGE_SUFFIXES + VIDEO_SUFFIXES, name)


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


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
