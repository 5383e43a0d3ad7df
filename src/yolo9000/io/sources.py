"""What a user names, turned into images: files, folders, patterns, lists, videos, cameras, URLs.

The contents of a file decide what it is, not its name; only videos and ``.txt`` lists are told by their
suffix. The network is used for a URL that the user wrote and for nothing else: no list leads to it.
"""

from __future__ import annotations

import difflib
import glob
import io
import math
import os
import re
import stat
import struct
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

import numpy as np
from jaxtyping import UInt8
from PIL import (
    BmpImagePlugin,
    ExifTags,
    GifImagePlugin,
    Image,
    ImageFile,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from yolo9000.errors import ConfigError, DataError
from yolo9000.types import SourceImage

__all__ = ["IMAGE_SUFFIXES", "MAX_PIXELS", "Source", "open_sources", "read_image", "read_size"]

Source = str | Path | bytes | np.ndarray | Image.Image

MAX_PIXELS = 64_000_000
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".gif")

_MAX_FILE_BYTES = 1 << 30  # of an image's file or a list; a video may be larger
_MAX_STREAM_BYTES = 256 << 20  # of a URL or of stdin, which are held in memory whole
_FETCH_SECONDS = 30
_NAMES_TO_COMPARE = 2000  # the nearest name is a kindness, not worth reading a folder of a million names for
_LONGEST_MESSAGE = 600

# These containers write down how many frames they hold. For the others OpenCV guesses, duration x rate, and
# is far off where the rate varies, as in recordings of a screen; so only these are held to their number.
_COUNTED_VIDEO_SUFFIXES = (".avi", ".mp4", ".mov", ".m4v")
_VIDEO_SUFFIXES = (*_COUNTED_VIDEO_SUFFIXES, ".mkv", ".webm", ".mpg", ".mpeg")
_LIST_SUFFIX = ".txt"

_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)
_WEB_SCHEMES = ("http", "https")
_STREAM_SCHEMES = ("rtsp", "rtmp")
_CAMERA = re.compile(r"(?:camera:)?([0-9]{1,2})")  # OpenCV takes 100 and above for the number of a backend

# The formats' own classes and not Image.open, which would warn of Pillow's limit on pixels, or refuse, before
# the size can be looked at here. To lift that limit, which is the whole process's, would disarm it for everyone.
_FORMATS: dict[str, tuple[re.Pattern[bytes], Callable[[IO[bytes]], ImageFile.ImageFile]]] = {
    "JPEG": (re.compile(rb"\xff\xd8\xff"), JpegImagePlugin.JpegImageFile),  # also MPO's first
    "PNG": (re.compile(rb"\x89PNG\r\n\x1a\n"), PngImagePlugin.PngImageFile),
    "BMP": (re.compile(rb"BM"), BmpImagePlugin.BmpImageFile),
    "WebP": (re.compile(rb"RIFF....WEBP", re.DOTALL), WebPImagePlugin.WebPImageFile),
    "TIFF": (re.compile(rb"II[*+]\0|MM\0[*+]"), TiffImagePlugin.TiffImageFile),
    "GIF": (re.compile(rb"GIF8[79]a"), GifImagePlugin.GifImageFile),
}
_FOREIGN_FORMATS = {
    "a HEIC image": re.compile(rb"....ftyp(?:hei[cmsx]|hevc|mif1|msf1)", re.DOTALL),
    "an AVIF image": re.compile(rb"....ftypavi[fs]", re.DOTALL),
    "a JPEG 2000 image": re.compile(rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51"),
    "a JPEG XL image": re.compile(rb"\0\0\0\x0cJXL |\xff\x0a"),
    "a Photoshop image": re.compile(rb"8BPS"),
    "an MP4 or MOV video": re.compile(rb"....ftyp", re.DOTALL),
    "an AVI video": re.compile(rb"RIFF....AVI ", re.DOTALL),
    "a Matroska or WebM video": re.compile(rb"\x1a\x45\xdf\xa3"),
    "a PDF": re.compile(rb"%PDF"),
    "a zip archive": re.compile(rb"PK\x03\x04"),
    "gzip data": re.compile(rb"\x1f\x8b"),
}
_TEXT = re.compile(rb"[\t\n\f\r\x20-\xff]+")
_HEAD_BYTES = 64

_NO_FILES = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device (a camera is named camera:0)",
    stat.S_IFBLK: "a device",
}

# EXIF's orientation (tag 274) and the turn that sets such an image upright
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_TURNS_ON_SIDE = (
    Image.Transpose.TRANSPOSE,
    Image.Transpose.ROTATE_270,
    Image.Transpose.TRANSVERSE,
    Image.Transpose.ROTATE_90,
)
_PNG_SIGNATURE_BYTES = 8
_PNG_TEXTS = (b"eXIf", b"iTXt", b"tEXt", b"zTXt")


def read_image(source: Source, *, name: str | None = None, max_pixels: int = MAX_PIXELS) -> SourceImage:
    """One image as 8-bit RGB, upright.

    Grey of 16 bits is scaled to 8 by 1/257 and rounded. Alpha is dropped and nothing is blended, as the
    original Darknet has it. Of an animation, or of a file of many pages, the first image is read. An EXIF
    turn is applied.

    Args:
        source: the path of a file of at most 1 GiB; a URL (http, https) or ``-`` for stdin, of at most 256 MiB;
            the bytes of an encoded image (JPEG, PNG, BMP, WebP, TIFF or GIF); a Pillow image; or a uint8
            array, (h, w, 3) RGB, (h, w, 4) RGBA or (h, w) grey, whose memory the image may share. A `Path` is
            never a URL or stdin.
        name: what the image and the errors about it are called; None takes it from the source.
        max_pixels: the largest width x height that is decoded, looked at before decoding; not for arrays.

    Raises:
        DataError: the source is not such an image, is not whole, is too large, or cannot be read.
    """
    called = _name_of(source) if name is None else name
    _let_pillow_decode(max_pixels)
    if isinstance(source, np.ndarray):
        image = _rgb_of_array(source, called)
    elif isinstance(source, Image.Image):
        with _any_error_as_data_error(called, "must be an image that Pillow can load"):
            image = _rgb_of_image(source, called, max_pixels)
    else:
        with _open_encoded(source, called) as stream:
            image = _decode(stream, called, max_pixels)
    return SourceImage(called, image)


def read_size(source: str | Path | bytes, *, name: str | None = None, max_pixels: int = MAX_PIXELS) -> tuple[int, int]:
    """Width and height that `read_image` would give, an EXIF turn applied, from the header alone.

    Args:
        source: the path of a file of at most 1 GiB, never a URL or stdin; or the bytes of an encoded image.
        name: what the errors call it; None takes it from the source.
        max_pixels: the largest width x height that is accepted.

    Raises:
        DataError: the source is not an image by its header, is too large, or cannot be read. Whether the pixels are
            whole is not looked at.
    """
    called = _name_of(source) if name is None else name
    _let_pillow_decode(max_pixels)
    with (
        io.BytesIO(source) if isinstance(source, bytes) else _open_regular_file(Path(source), called) as stream,
        _open_image(stream, called, max_pixels) as image,
    ):
        width, height = image.size
        return (height, width) if _lies_on_side(image, stream) else (width, height)


def open_sources(
    sources: Source | Iterable[Source], *, max_pixels: int = MAX_PIXELS, every: int = 1
) -> Iterator[SourceImage | DataError]:
    """All images that the sources name, in order, each decoded when it is asked for.

    Besides what `read_image` takes, a source may be

    - a folder: the images in it, by suffix, in natural order; not the folders and hidden files in it;
    - a pattern with ``*``, ``?``, ``[ ]`` or ``**``: the images and videos that match, by suffix, in
      natural order;
    - a ``.txt`` list of images and videos: one path a line, relative to the list's folder or, where it is
      not there, to the working folder;
    - a video's file or URL, or a stream (rtsp, rtmp): its frames;
    - a camera, ``0`` or ``camera:0``: its frames.

    What exists under the name wins over a pattern and a camera. A `Path` is never a URL, a stream, a camera
    or stdin. What has no name is called by its type and place: ``ndarray 0``.

    Args:
        sources: one source or many; none gives nothing.
        max_pixels: the largest width x height that is decoded, of images and of frames.
        every: of a video, a stream or a camera the frames 0, every, 2 x every ... are given.

    Returns:
        Images; and in the place of each input that cannot be read a `DataError`, not raised. After the last
        frame comes one if an .avi, .mp4, .mov or .m4v promised more frames, and if a stream or camera ends.

    Raises:
        ConfigError: `every` is less than 1.
    """
    if every < 1:
        raise ConfigError(f"must be at least 1, got {every}", argument="every")
    return _open_all(sources, max_pixels, every)


# --- Many sources. Each step is a generator that may raise; one place makes a value of what it raised. ---


def _open_all(sources: Source | Iterable[Source], max_pixels: int, every: int) -> Iterator[SourceImage | DataError]:
    many = [sources] if isinstance(sources, Source) else sources
    for place, source in enumerate(many):
        yield from _errors_as_values(_open_one(source, place, max_pixels, every))


def _errors_as_values(images: Iterator[SourceImage | DataError]) -> Iterator[SourceImage | DataError]:
    try:
        yield from images
        return
    except DataError as error:
        message = str(error)
    yield DataError(message)  # a new one: the traceback of the old one keeps the decoder's memory alive


def _open_one(source: Source, place: int, max_pixels: int, every: int) -> Iterator[SourceImage | DataError]:
    if isinstance(source, Path):
        yield from _open_path(source, str(source), max_pixels, every)
    elif not isinstance(source, str) or source == "-":
        yield read_image(source, name=_name_of(source, f" {place}"), max_pixels=max_pixels)
    elif not source:
        raise _data_error("''", "a source must have a name, this one is empty")
    elif _SCHEME.match(source):
        yield from _open_url(source, max_pixels, every)
    elif (camera := _CAMERA.fullmatch(source)) and not os.path.lexists(source):
        yield from _frames(int(camera[1]), source, None, max_pixels, every)
    else:
        yield from _open_path(Path(source), source, max_pixels, every)


def _open_url(url: str, max_pixels: int, every: int) -> Iterator[SourceImage]:
    with _any_error_as_data_error(url, "must be a web address"):
        parts = urlsplit(url)
    suffix = Path(parts.path).suffix.lower()
    if parts.scheme in _STREAM_SCHEMES:
        yield from _frames(url, url, None, max_pixels, every)
    elif parts.scheme in _WEB_SCHEMES and suffix in _VIDEO_SUFFIXES:
        yield from _frames(url, url, suffix, max_pixels, every)
    else:
        yield read_image(url, max_pixels=max_pixels)


def _open_path(path: Path, name: str, max_pixels: int, every: int) -> Iterator[SourceImage | DataError]:
    if _is_folder(path):
        yield from _open_files(_images_in(path, name), max_pixels, every)
    elif glob.has_magic(name) and not os.path.lexists(path):
        yield from _open_files(_matches_of(name), max_pixels, every)
    elif path.suffix.lower() == _LIST_SUFFIX:
        yield from _open_list(path, name, max_pixels, every)
    else:
        yield from _open_file(path, name, max_pixels, every)


def _open_files(paths: list[Path], max_pixels: int, every: int) -> Iterator[SourceImage | DataError]:
    for path in paths:
        yield from _errors_as_values(_open_file(path, str(path), max_pixels, every))


def _open_file(path: Path, name: str, max_pixels: int, every: int) -> Iterator[SourceImage]:
    suffix = path.suffix.lower()
    if suffix in _VIDEO_SUFFIXES:
        _check_file(path, name)
        # An absolute path, because FFmpeg takes what stands before a colon for a protocol.
        yield from _frames(str(path.absolute()), name, suffix, max_pixels, every)
    else:
        yield read_image(path, name=name, max_pixels=max_pixels)


def _open_list(path: Path, name: str, max_pixels: int, every: int) -> Iterator[SourceImage | DataError]:
    none_listed = True
    with _open_regular_file(path, name) as lines:
        for number, line in enumerate(lines, 1):
            listed = line.decode("utf-8-sig", errors="surrogateescape").strip()  # as Python names files
            if not listed:
                continue
            none_listed = False
            file = _find_listed(listed, path.parent)
            for item in _errors_as_values(_open_file(file, str(file), max_pixels, every)):
                yield _data_error(f"{name}:{number}", str(item)) if isinstance(item, DataError) else item
    if none_listed:
        raise _data_error(name, "must list images, one path a line, and lists none")


def _find_listed(listed: str, folder: Path) -> Path:
    beside_list = folder / listed
    return Path(listed) if os.path.lexists(listed) and not os.path.lexists(beside_list) else beside_list


def _images_in(folder: Path, name: str) -> list[Path]:
    with _any_error_as_data_error(name, "must be a folder that can be read"):
        paths = [path for path in folder.iterdir() if not path.name.startswith(".")]
    return _in_natural_order(paths, IMAGE_SUFFIXES, name)


def _matches_of(pattern: str) -> list[Path]:
    # What exists under its own name is no pattern: there may be a folder `shots[1]` in `shots[1]/*.jpg`.
    folder = next(parent for parent in Path(pattern).parents if os.path.lexists(parent))
    rest = str(Path(pattern).relative_to(folder))
    with _any_error_as_data_error(pattern, "must be a pattern"):
        # not Path.glob, whose ** matches folders only before Python 3.13
        paths = [folder / match for match in glob.iglob(rest, root_dir=folder, recursive=True)]  # noqa: PTH207
    return _in_natural_order(paths, IMAGE_SUFFIXES + _VIDEO_SUFFIXES, pattern)


def _in_natural_order(paths: list[Path], suffixes: tuple[str, ...], name: str) -> list[Path]:
    kept = {path for path in paths if path.suffix.lower() in suffixes and not _is_folder(path)}
    if not kept:
        raise _data_error(name, f"must lead to files that end in {', '.join(suffixes)}; there is none")
    return sorted(kept, key=lambda path: ([_natural_key(part) for part in path.with_suffix("").parts], path))


def _natural_key(part: str) -> list[tuple[str, int]]:
    return [(word.casefold(), int(number or 0)) for word, number in re.findall(r"([^0-9]*)([0-9]*)", part)]


def _is_folder(path: Path) -> bool:
    return os.path.isdir(path)  # noqa: PTH112  Path.is_dir raises where it may not look


# --- Videos, cameras and streams. ---


def _frames(target: str | int, name: str, container: str | None, max_pixels: int, every: int) -> Iterator[SourceImage]:
    """Frames of what OpenCV can open; `container` is a video's suffix, None for a camera or stream."""
    import cv2  # here, because images do without it

    with _any_error_as_data_error(name, "must be a video that OpenCV can read"):
        capture = cv2.VideoCapture(target, cv2.CAP_ANY if isinstance(target, int) else cv2.CAP_FFMPEG)
        try:
            if not capture.isOpened():
                raise _data_error(name, "must be a video, a stream or a camera that can be opened")
            size = int(capture.get(cv2.CAP_PROP_FRAME_WIDTH)), int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT))
            _check_size(size, name, max_pixels)
            rate = capture.get(cv2.CAP_PROP_FPS)
            came = 0
            while capture.grab():
                if came % every == 0:
                    image = cv2.cvtColor(capture.retrieve()[1], cv2.COLOR_BGR2RGB)
                    yield SourceImage(name, image, came, rate if math.isfinite(rate) and rate > 0 else None)
                came += 1
            _check_end(came, int(capture.get(cv2.CAP_PROP_FRAME_COUNT)), name, container)
        finally:
            capture.release()


def _check_end(came: int, promised: int, name: str, container: str | None) -> None:
    if container is None:
        raise _data_error(name, f"must go on giving frames, ended after {came}")
    if came == 0:
        raise _data_error(name, "must hold frames that can be decoded, holds none")
    if container in _COUNTED_VIDEO_SUFFIXES and came < promised:
        raise _data_error(name, f"must hold {promised} frames, is cut short: {came} came")


# --- One encoded image. ---


def _open_encoded(source: str | Path | bytes, name: str) -> io.BytesIO | io.BufferedReader:
    if isinstance(source, bytes):
        return io.BytesIO(source)
    if source == "-":
        return io.BytesIO(_read_stdin(name))
    if isinstance(source, str) and _SCHEME.match(source):
        return io.BytesIO(_fetch(source, name))
    return _open_regular_file(Path(source), name)


def _read_stdin(name: str) -> bytes:
    with _any_error_as_data_error(name, "must be open"):
        return _read_all(sys.stdin.buffer.read, name)


def _fetch(url: str, name: str) -> bytes:
    from urllib import error, request  # here, because they take long to import

    # Not build_opener, whose openers also know file:, ftp: and data:, and follow a redirect to ftp:.
    opener = request.OpenerDirector()
    proxies = {scheme: proxy for scheme, proxy in request.getproxies().items() if scheme in _WEB_SCHEMES}
    for handler in (
        request.ProxyHandler(proxies),
        request.HTTPHandler(),
        request.HTTPSHandler(),
        request.HTTPRedirectHandler(),
        request.HTTPErrorProcessor(),
        request.HTTPDefaultErrorHandler(),
        request.UnknownHandler(),
    ):
        opener.add_handler(handler)
    with _any_error_as_data_error(name, "must be an http:// or https:// address that gives an image"):
        try:
            with opener.open(url, timeout=_FETCH_SECONDS) as response:
                return _read_all(response.read, name)
        except error.HTTPError as refused:
            refused.close()  # it holds the connection
            raise


def _read_all(read: Callable[[int], bytes], name: str) -> bytes:
    data = read(_MAX_STREAM_BYTES + 1)
    if len(data) > _MAX_STREAM_BYTES:
        raise _data_error(name, f"must be at most {_MAX_STREAM_BYTES:,} bytes long, is longer")
    return data


def _open_regular_file(path: Path, name: str) -> io.BufferedReader:
    _check_file(path, name, _MAX_FILE_BYTES)
    with _any_error_as_data_error(name, "must be a file that can be read"):
        return path.open("rb")


def _check_file(path: Path, name: str, max_bytes: int | None = None) -> None:
    try:
        status = path.stat()
    except FileNotFoundError:
        raise _data_error(name, f"must exist; {_why_missing(path)}") from None
    except (OSError, ValueError) as error:
        raise _data_error(name, f"must be a file that can be read: {_reason(error)}") from error
    if not stat.S_ISREG(status.st_mode):  # to open a pipe would wait for a writer
        raise _data_error(name, f"must be a file, is {_NO_FILES.get(stat.S_IFMT(status.st_mode), 'none')}")
    if status.st_size == 0:
        raise _data_error(name, "must hold something, is empty")
    if max_bytes is not None and status.st_size > max_bytes:
        raise _data_error(name, f"must be at most {max_bytes:,} bytes long, is {status.st_size:,}")


def _why_missing(path: Path) -> str:
    with suppress(OSError):
        if path.is_symlink():
            return f"it is a link to {path.readlink()}, which does not"
        if not path.parent.is_dir():
            return f"there is no folder {path.parent}"
        others = islice(path.parent.iterdir(), _NAMES_TO_COMPARE)
        names = {other.name.casefold(): other.name for other in others}
        if near := difflib.get_close_matches(path.name.casefold(), names, n=1):
            return f"there is no such file, did you mean {names[near[0]]}?"
    return "there is no such file"


def _decode(stream: io.BytesIO | io.BufferedReader, name: str, max_pixels: int) -> UInt8[np.ndarray, "h w 3"]:
    with _open_image(stream, name, max_pixels) as image:
        return _rgb_of_image(image, name, max_pixels)


@contextmanager
def _open_image(stream: io.BytesIO | io.BufferedReader, name: str, max_pixels: int) -> Iterator[ImageFile.ImageFile]:
    """The image with its header read; an error while it is open is one about the image."""
    head = stream.read(_HEAD_BYTES)
    stream.seek(0)
    kind = next((kind for kind, (signature, _) in _FORMATS.items() if signature.match(head)), None)
    if kind is None:
        raise _data_error(name, f"must hold a {', '.join(_FORMATS)} image, holds {_contents(head)}")
    _, image_class = _FORMATS[kind]
    with _any_error_as_data_error(name, f"must hold a whole {kind} image"):
        if kind == "GIF":  # Pillow may fill a whole frame while it opens one
            _check_size(struct.unpack("<HH", head[6:10]), name, max_pixels)
        with image_class(stream) as image:
            _check_size(image.size, name, max_pixels)
            yield image


def _contents(head: bytes) -> str:
    for what, signature in _FOREIGN_FORMATS.items():
        if signature.match(head):
            return what
    if not head:
        return "nothing"
    if _TEXT.fullmatch(head):
        return f"text that begins {head[:40].decode('utf-8', 'replace')!r}"
    return f"bytes that begin {head[:8].hex(' ')}"


# --- Pixels. ---


def _check_size(size_wh: tuple[int, int], name: str, max_pixels: int) -> None:
    width, height = size_wh
    if width * height > max_pixels:
        pixels = f"{width} x {height} = {width * height:,} pixels"
        raise _data_error(name, f"must have at most {max_pixels:,} pixels (`max_pixels`), has {pixels}")


def _rgb_of_array(array: np.ndarray, name: str) -> UInt8[np.ndarray, "h w 3"]:
    if array.dtype != np.uint8:
        raise _data_error(name, f"must be an array of uint8, RGB in 0..255, is of {array.dtype}")
    if array.ndim == 2:
        array = np.repeat(array[:, :, None], 3, axis=2)
    if array.ndim != 3 or array.shape[2] not in (3, 4) or array.size == 0:
        raise _data_error(name, f"must have the shape (h, w, 3), (h, w, 4) or (h, w), has {array.shape}")
    return np.ascontiguousarray(array[:, :, :3])


def _rgb_of_image(image: Image.Image, name: str, max_pixels: int) -> UInt8[np.ndarray, "h w 3"]:
    _check_size(image.size, name, max_pixels)
    image.load()
    turn = _turn_of(image)
    rgb = _to_rgb(image, name)
    if turn is not None:
        rgb = rgb.transpose(turn)
    return np.array(rgb)  # not asarray, which gives memory that cannot be written, and torch warns of it


def _let_pillow_decode(max_pixels: int) -> None:
    """Raise Pillow's limit to ours where ours is higher: it stands in the way of large TIFFs and GIFs.

    It is the whole process's. It is not put back, since another thread may rely on it by then.
    """
    if Image.MAX_IMAGE_PIXELS is not None and max_pixels > Image.MAX_IMAGE_PIXELS:
        Image.MAX_IMAGE_PIXELS = max_pixels


def _turn_of(image: Image.Image, *, decode: bool = True) -> Image.Transpose | None:
    """The turn that EXIF asks for; not exif_transpose, which fails where it cannot write the EXIF again.

    Args:
        image: any image.
        decode: whether a PNG may be decoded to look for EXIF behind its pixels, as its own getexif does.
    """
    try:
        exif = image.getexif() if decode else Image.Image.getexif(image)
        return _TURNS.get(exif.get(ExifTags.Base.Orientation, 1))
    except Exception:  # Pillow may raise anything; EXIF that cannot be read does no harm to the pixels
        return None


def _lies_on_side(image: ImageFile.ImageFile, stream: io.BytesIO | io.BufferedReader) -> bool:
    """Whether EXIF asks for a turn that swaps the width and height that the image has before it is decoded."""
    if isinstance(image, TiffImagePlugin.TiffImageFile):  # Pillow has swapped them
        return False
    png = isinstance(image, PngImagePlugin.PngImageFile)
    return _turn_of(image, decode=png and _has_text_after_pixels(stream)) in _TURNS_ON_SIDE


def _has_text_after_pixels(stream: io.BytesIO | io.BufferedReader) -> bool:
    stream.seek(_PNG_SIGNATURE_BYTES)
    pixels_came = False
    while len(head := stream.read(8)) == 8:
        length, kind = struct.unpack(">I4s", head)
        pixels_came = pixels_came or kind == b"IDAT"
        if pixels_came and kind in _PNG_TEXTS:
            return True
        stream.seek(length + 4, io.SEEK_CUR)  # a checksum of 4 bytes comes after the data
    return False


def _to_rgb(image: Image.Image, name: str) -> Image.Image:
    if image.mode == "RGB":
        return image
    if image.mode == "F":
        raise _data_error(name, "must hold whole numbers of 8 or 16 bits, holds floats")
    if image.mode.startswith("I"):  # I;16, I;16B and the like, or I
        image = _scale_16_bits_to_8(image, name)
    elif "transparency" in image.info:
        image = image.copy()
        del image.info["transparency"]  # Pillow would warn that RGB cannot keep it
    return image.convert("RGB")


def _scale_16_bits_to_8(image: Image.Image, name: str) -> Image.Image:
    values = np.asarray(image)
    low, high = values.min(), values.max()
    if low < 0 or high > 65535:
        raise _data_error(name, f"must hold grey in 0..65535, holds {low}..{high}")
    return Image.fromarray(((values.astype(np.uint32) + 128) // 257).astype(np.uint8))


# --- Names and errors. ---


def _name_of(source: Source, place: str = "") -> str:
    if isinstance(source, str | Path):
        return "stdin" if source == "-" else str(source)
    file = getattr(source, "filename", None)  # a Pillow image or a memory map knows where it came from
    return os.fsdecode(file) if file else f"{type(source).__name__}{place}"


@contextmanager
def _any_error_as_data_error(name: str, must: str) -> Iterator[None]:
    """Pillow, OpenCV and urllib raise whatever comes up inside; the user gets one line about the input."""
    try:
        yield
    except DataError:
        raise
    except Exception as error:
        raise _data_error(name, f"{must}: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__


def _data_error(name: str, problem: str) -> DataError:
    """One line that any terminal can print, whatever stands in the names of files."""
    message = f"{name}: {problem}"
    if len(message) > _LONGEST_MESSAGE:
        message = f"{message[: _LONGEST_MESSAGE // 2]} ... {message[-_LONGEST_MESSAGE // 2 :]}"
    return DataError("".join(c if c.isprintable() else repr(c)[1:-1] for c in message))
