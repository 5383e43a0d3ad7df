"""Images that may be animations: animated GIF, PNG, WebP and AVIF give their frames, as videos do."""

from __future__ import annotations

import io
from collections.abc import Iterator
from itertools import count
from pathlib import Path

from PIL import ImageFile

from yolo9000.io.images import decoded, open_encoded, open_image
from yolo9000.types import SourceImage

__all__ = ["read_images"]

_ANIMATED_FORMATS = ("GIF", "PNG", "WEBP", "AVIF")  # as Pillow calls them; the pages of a TIFF are no frames
_DEFAULT_MILLISECONDS = 100  # of a frame without a duration, as in browsers


def read_images(source: str | Path | bytes, name: str, max_pixels: int, every: int) -> Iterator[SourceImage]:
    """The image in a source of `read_image`; of an animation the frames 0, every, 2 x every ...

    Raises:
        DataError: see `read_image`; after the frames that could be decoded.
    """
    with open_encoded(source, name) as stream, open_image(stream, name, max_pixels) as image:
        if image.format in _ANIMATED_FORMATS and getattr(image, "is_animated", False):
            yield from _frames(image, stream, name, max_pixels, every)
        else:
            yield SourceImage(name, decoded(image, stream, name, max_pixels))


def _frames(
    image: ImageFile.ImageFile, stream: io.BytesIO | io.BufferedReader, name: str, max_pixels: int, every: int
) -> Iterator[SourceImage]:
    milliseconds, rate = 0, None
    for index in count():
        try:
            image.seek(index)
        except EOFError:
            return
        pixels = decoded(image, stream, name, max_pixels)
        duration = int(image.info.get("duration", 0)) or _DEFAULT_MILLISECONDS
        rate = rate or 1000 / duration
        if index % every == 0:
            yield SourceImage(name, pixels, index, rate, milliseconds / 1000)
        milliseconds += duration
