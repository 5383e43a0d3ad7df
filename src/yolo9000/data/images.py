"""The pictures of samples: files, and stretches of tar files that are read without unpacking."""

from __future__ import annotations

import shutil
from pathlib import Path

from yolo9000.errors import DataError
from yolo9000.io.sources import MAX_PIXELS, read_picture, read_size
from yolo9000.types import Picture, PictureFile

__all__ = ["copy_picture", "load_picture", "picture_size", "read_picture_file"]

_MAX_BYTES = 1 << 30  # of a picture in a tar file, as `read_picture` has it for a file


def read_picture_file(picture: PictureFile) -> bytes | Path:
    """What `read_picture` can decode: the file's path or, for a picture in a tar file, its bytes.

    Raises:
        DataError: the tar file cannot be read, or ends before the picture does; the picture is longer than 1 GiB.
    """
    if picture.offset is None or picture.length is None:
        return picture.path
    if picture.length > _MAX_BYTES:
        raise DataError(f"{picture.path}: must hold pictures of at most {_MAX_BYTES:,} bytes, has {picture.length:,}")
    try:
        with picture.path.open("rb") as tar:
            tar.seek(picture.offset)
            data = tar.read(picture.length)
    except OSError as error:
        raise DataError(f"{picture.path}: cannot be read: {error.strerror}") from None
    if len(data) < picture.length:
        place = f"{picture.length:,} bytes at {picture.offset:,}"
        raise DataError(f"{picture.path}: must hold a picture of {place}, holds {len(data):,} there")
    return data


def load_picture(picture: PictureFile, name: str, max_pixels: int = MAX_PIXELS) -> Picture:
    """The decoded picture, upright, 8-bit RGB.

    Args:
        picture: where its pixels are.
        name: what it and the errors about it are called.
        max_pixels: the largest width x height that is decoded.

    Raises:
        DataError: it is not a whole picture, is too large, or cannot be read.
    """
    return read_picture(read_picture_file(picture), name=name, max_pixels=max_pixels)


def picture_size(picture: PictureFile, name: str) -> tuple[int, int]:
    """Width and height of the picture as `load_picture` would give it, from its header.

    Raises:
        DataError: it is not a picture by its header, or cannot be read.
    """
    return read_size(read_picture_file(picture), name=name)


def copy_picture(picture: PictureFile, to: Path) -> None:
    """Copy the encoded picture as it is.

    Raises:
        OSError: it cannot be written.
        DataError: it cannot be read from its tar file.
    """
    source = read_picture_file(picture)
    if isinstance(source, Path):
        shutil.copyfile(source, to)
    else:
        to.write_bytes(source)
