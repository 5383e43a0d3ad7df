"""The images of samples: files, and stretches of tar files that are read without unpacking."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from yolo9000.errors import DataError
from yolo9000.io.files import replacing, write_atomically
from yolo9000.io.images import MAX_PIXELS, read_image, read_size
from yolo9000.types import ImageFile, SourceImage

__all__ = ["copy_image", "image_size", "load_image", "pixel_limit", "read_image_file"]

_pixel_limit: ContextVar[int] = ContextVar("_pixel_limit", default=MAX_PIXELS)
_MAX_BYTES = 1 << 30  # of an image in a tar file, as `read_picture` has it for a file


def read_image_file(image: ImageFile) -> bytes | Path:
    """What `read_image` can decode: the file's path or, for an image in a tar file, its bytes.

    Raises:
        DataError: the tar file cannot be read, or ends before the image does; the image is longer than 1 GiB.
    """
    if image.offset is None or image.length is None:
        return image.path
    if image.length > _MAX_BYTES:
        raise DataError(f"{image.path}: must hold images of at most {_MAX_BYTES:,} bytes, has {image.length:,}")
    try:
        with image.path.open("rb") as tar:
            tar.seek(image.offset)
            data = tar.read(image.length)
    except OSError as error:
        raise DataError(f"{image.path}: cannot be read: {error.strerror}") from None
    if len(data) < image.length:
        stretch = f"{image.length:,} bytes at {image.offset:,}"
        raise DataError(f"{image.path}: must hold an image of {stretch}, holds {len(data):,} there")
    return data


def load_image(image: ImageFile, name: str, max_pixels: int = MAX_PIXELS) -> SourceImage:
    """The decoded image, upright, 8-bit RGB.

    Args:
        image: where its pixels are.
        name: what it and the errors about it are called.
        max_pixels: the largest width x height that is decoded.

    Raises:
        DataError: it is not a whole image, is too large, or cannot be read.
    """
    return read_image(read_image_file(image), name=name, max_pixels=max_pixels)


def image_size(image: ImageFile, name: str) -> tuple[int, int]:
    """Width and height of the image as `load_image` would give it, from its header.

    Raises:
        DataError: it is not an image by its header, or cannot be read.
    """
    return read_size(read_image_file(image), name=name, max_pixels=_pixel_limit.get())


@contextmanager
def pixel_limit(max_pixels: int) -> Iterator[None]:
    """While it lasts, images of up to that number of pixels are accepted by `image_size`, instead of `MAX_PIXELS`."""
    token = _pixel_limit.set(max_pixels)
    try:
        yield
    finally:
        _pixel_limit.reset(token)


def copy_image(image: ImageFile, to: Path) -> None:
    """Copy the encoded image as it is.

    Raises:
        OSError: it cannot be written.
        DataError: it cannot be read from its tar file.
    """
    source = read_image_file(image)
    if not isinstance(source, Path):
        write_atomically(to, source)
        return
    with replacing(to) as part:
        shutil.copyfile(source, part)
