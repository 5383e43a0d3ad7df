"""One image, decoded: from a file, bytes, a URL, an array or a Pillow image to upright 8-bit RGB.

The contents of a file decide its format, not its name.
"""

from __future__ import annotations

import io
import os
import re
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any

import numpy as np
from jaxtyping import UInt8
from PIL import (
    AvifImagePlugin,
    BmpImagePlugin,
    ExifTags,
    GifImagePlugin,
    Image,
    ImageFile,
    JpegImagePlugin,
    PngImagePlugin,
    PpmImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from yolo9000.io.files import one_line, open_file, reading, without_password
from yolo9000.io.jpeg_header import HEAD_BYTES, plain_jpeg_size
from yolo9000.io.streams import SCHEME, fetch, read_stdin
from yolo9000.types import SourceImage

__all__ = [
    "IMAGE_SUFFIXES",
    "MAX_FILE_BYTES",
    "MAX_PIXELS",
    "TEXT",
    "Source",
    "check_pixels",
    "contents_of",
    "decoded",
    "name_of",
    "open_encoded",
    "open_image",
    "read_image",
    "read_size",
    "read_upright",
]

Source = str | Path | bytes | np.ndarray | Image.Image

MAX_PIXELS = 64_000_000
MAX_SCANS = 100  # of a progressive JPEG; encoders write about ten
_SCAN_MARKER = b"\xff\xda"
MAX_FILE_BYTES = 1 << 30  # of an image's file or a list; a video may be larger
IMAGE_SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".webp", ".tif", ".tiff", ".gif"),
    *(".avif", ".heic", ".heif", ".ppm", ".pgm", ".pbm"),
)


def _open_heif(stream: Any) -> ImageFile.ImageFile:
    from pi_heif import HeifImageFile

    return HeifImageFile(stream)  # type: ignore[no-any-return]


# The formats' own classes and not Image.open, which would warn of Pillow's limit on pixels, or refuse, before
# the size can be looked at here. To lift that limit, which is the whole process's, would disarm it for everyone.
_FORMATS: dict[str, tuple[re.Pattern[bytes], Callable[[IO[bytes]], ImageFile.ImageFile]]] = {
    "JPEG": (re.compile(rb"\xff\xd8\xff"), JpegImagePlugin.JpegImageFile),  # also MPO's first
    "PNG": (re.compile(rb"\x89PNG\r\n\x1a\n"), PngImagePlugin.PngImageFile),
    "BMP": (re.compile(rb"BM"), BmpImagePlugin.BmpImageFile),
    "WebP": (re.compile(rb"RIFF....WEBP", re.DOTALL), WebPImagePlugin.WebPImageFile),
    "TIFF": (re.compile(rb"II[*+]\0|MM\0[*+]"), TiffImagePlugin.TiffImageFile),
    "GIF": (re.compile(rb"GIF8[79]a"), GifImagePlugin.GifImageFile),
    "PNM": (re.compile(rb"P[456]\s"), PpmImagePlugin.PpmImageFile),
    "AVIF": (
        re.compile(rb"....ftyp(?:avi[fs]|(?:mif1|msf1).{4}(?:....)*?avif)", re.DOTALL),
        AvifImagePlugin.AvifImageFile,
    ),
    "HEIC": (re.compile(rb"....ftyp(?:hei[cmsx]|hev[cmsx]|mif1|msf1)", re.DOTALL), _open_heif),
}
_FOREIGN_FORMATS = {
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
TEXT = re.compile(rb"[\t\n\f\r\x20-\xff]+")
_HEAD_BYTES = 64

# EXIF's orientation (tag 274) and the transpose that makes such an image upright
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

    16-bit gray is scaled to 8 bits by 1/257 and rounded. Alpha is dropped without blending, as Darknet does. Of an
    animation, or of a file with several pages, the first image is read. The orientation that EXIF gives is applied.

    Args:
        source: the path of a file of at most 1 GiB; a URL (http, https) or ``-`` for stdin, of at most 256 MiB;
            the bytes of an encoded image (JPEG, PNG, BMP, WebP, TIFF, GIF, binary PNM, AVIF, or HEIC with the extra
            ``heif``); a Pillow image; or a uint8 array, (h, w, 3) RGB, (h, w, 4) RGBA or (h, w) grey, whose memory the
            image may share. A `Path` is never a URL or stdin.
        name: what the image and the errors about it are called; None takes it from the source.
        max_pixels: the largest width x height that is decoded, looked at before decoding; not for arrays.

    Raises:
        DataError: the source is not such an image, is not whole, is too large, or cannot be read.
    """
    called = name_of(source) if name is None else name
    if isinstance(source, np.ndarray):
        image = _rgb_of_array(source, called)
    elif isinstance(source, Image.Image):
        _let_pillow_decode(max_pixels)
        with reading(called, "Pillow cannot load the image"):
            image = np.array(_loaded(source, called, max_pixels))
    else:
        with open_encoded(source, called) as stream, open_image(stream, called, max_pixels) as encoded:
            image = decoded(encoded, stream, called, max_pixels)
    return SourceImage(called, image)


def read_upright(source: str | Path | bytes, name: str, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """What `read_image` gives of an encoded image as a Pillow image, which saves two copies of its pixels."""
    with open_encoded(source, name) as stream, open_image(stream, name, max_pixels) as encoded:
        return _upright(encoded, stream, name, max_pixels)


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
    called = name_of(source) if name is None else name
    with io.BytesIO(source) if isinstance(source, bytes) else open_file(Path(source), called, MAX_FILE_BYTES) as stream:
        return _size_in(stream, called, max_pixels)


def _size_in(stream: io.BytesIO | io.BufferedReader, name: str, max_pixels: int) -> tuple[int, int]:
    if size := plain_jpeg_size(stream.read(HEAD_BYTES)):
        check_pixels(size, name, max_pixels)
        return size
    stream.seek(0)
    with open_image(stream, name, max_pixels) as image:
        width, height = image.size
        return (height, width) if _lies_on_side(image, stream) else (width, height)


def open_encoded(source: str | Path | bytes, name: str) -> io.BytesIO | io.BufferedReader:
    """The bytes of an encoded image: in memory, of a file, of a URL or of standard input (``-``)."""
    if isinstance(source, bytes):
        return io.BytesIO(source)
    if source == "-":
        return io.BytesIO(read_stdin(name))
    if isinstance(source, str) and SCHEME.match(source):
        return io.BytesIO(fetch(source, name))
    return open_file(Path(source), name, MAX_FILE_BYTES)


def decoded(
    image: ImageFile.ImageFile, stream: io.BytesIO | io.BufferedReader, name: str, max_pixels: int
) -> UInt8[np.ndarray, "h w 3"]:
    """The pixels of an image that `open_image` opened on a stream, or of the frame that it is at."""
    # not asarray, which gives memory that cannot be written, and torch warns of it
    return np.array(_upright(image, stream, name, max_pixels))


def _upright(
    image: ImageFile.ImageFile, stream: io.BytesIO | io.BufferedReader, name: str, max_pixels: int
) -> Image.Image:
    if image.info.get("progressive"):
        _check_scans(stream, name)
    return _loaded(image, name, max_pixels)


def _check_scans(stream: io.BytesIO | io.BufferedReader, name: str) -> None:
    """Refuse a progressive JPEG of very many scans: each takes the time of a whole image, and may hold no bytes."""
    position = stream.tell()
    stream.seek(0)
    scans = stream.read().count(_SCAN_MARKER)  # in coded data 0xFF is followed by 0 or by the number of a restart
    stream.seek(position)
    if scans > MAX_SCANS:
        raise one_line(name, f"must be a JPEG of at most {MAX_SCANS} scans, got {scans}")


@contextmanager
def open_image(stream: io.BytesIO | io.BufferedReader, name: str, max_pixels: int) -> Iterator[ImageFile.ImageFile]:
    """The image with its header read; an error while it is open is one about the image."""
    _let_pillow_decode(max_pixels)
    head = stream.read(_HEAD_BYTES)
    stream.seek(0)
    kind = next((kind for kind, (signature, _) in _FORMATS.items() if signature.match(head)), None)
    if kind is None:
        raise one_line(name, f"must be a {', '.join(_FORMATS)} image, got {contents_of(head)}")
    if kind == "HEIC" and find_spec("pi_heif") is None:
        raise one_line(name, "HEIC images need the extra heif: pip install 'yolo9000[heif]'")
    _, image_class = _FORMATS[kind]
    with reading(name, f"truncated or damaged {kind}"):
        if kind == "GIF":  # Pillow may fill a whole frame while it opens one
            check_pixels(struct.unpack("<HH", head[6:10]), name, max_pixels)
        with image_class(stream) as image:
            check_pixels(image.size, name, max_pixels)
            yield image


def contents_of(head: bytes) -> str:
    """What a file is by its first bytes, for messages."""
    for what, signature in _FOREIGN_FORMATS.items():
        if signature.match(head):
            return what
    if not head:
        return "no bytes"
    if TEXT.fullmatch(head):
        return f"text that begins {head[:40].decode('utf-8', 'replace')!r}"
    return f"bytes that begin {head[:8].hex(' ')}"


def check_pixels(size_wh: tuple[int, int], name: str, max_pixels: int) -> None:
    """Raise a `DataError` where an image or a frame has more pixels than allowed."""
    width, height = size_wh
    if width * height > max_pixels:
        pixels = f"{width} x {height} = {width * height:,} pixels"
        raise one_line(name, f"must be at most {max_pixels:,} pixels (`max_pixels`), got {pixels}")


def _rgb_of_array(array: np.ndarray, name: str) -> UInt8[np.ndarray, "h w 3"]:
    if array.dtype != np.uint8:
        raise one_line(name, f"must be a uint8 array, RGB in 0..255, got {array.dtype}")
    if array.ndim == 2:
        array = np.repeat(array[:, :, None], 3, axis=2)
    if array.ndim != 3 or array.shape[2] not in (3, 4) or array.size == 0:
        raise one_line(name, f"must have the shape (h, w, 3), (h, w, 4) or (h, w), got {array.shape}")
    return np.ascontiguousarray(array[:, :, :3])


def _loaded(image: Image.Image, name: str, max_pixels: int) -> Image.Image:
    check_pixels(image.size, name, max_pixels)
    image.load()
    turn = _turn_of(image)
    rgb = _to_rgb(image, name)
    return rgb if turn is None else rgb.transpose(turn)


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
    after_pixels = False
    while len(head := stream.read(8)) == 8:
        length, kind = struct.unpack(">I4s", head)
        after_pixels = after_pixels or kind == b"IDAT"
        if after_pixels and kind in _PNG_TEXTS:
            return True
        stream.seek(length + 4, io.SEEK_CUR)  # a checksum of 4 bytes comes after the data
    return False


def _to_rgb(image: Image.Image, name: str) -> Image.Image:
    if image.mode == "RGB":
        return image
    if image.mode == "F":
        raise one_line(name, "must have integers of 8 or 16 bits, got floats")
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
        raise one_line(name, f"must have gray values in 0..65535, got {low}..{high}")
    return Image.fromarray(((values.astype(np.uint32) + 128) // 257).astype(np.uint8))


def name_of(source: object, suffix: str = "") -> str:
    """What an image from a source is called; one without a name is called by its type, with a suffix."""
    if isinstance(source, str | Path):
        return "stdin" if source == "-" else without_password(str(source))
    file = getattr(source, "filename", None)  # a Pillow image or a memory map knows where it came from
    return os.fsdecode(file) if file else f"{type(source).__name__}{suffix}"
