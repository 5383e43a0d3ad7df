"""Bilinear resizing as Darknet does it.

Darknet: src/image.c resize_image.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Int64, UInt8

__all__ = ["GREY", "Pixels", "resize"]

Pixels = UInt8[np.ndarray, "h w 3"] | Float32[np.ndarray, "h w 3"]
GREY = 0.5
"""What fills the part of a network's input that no image covers, in [0, 1]."""
STRIP = 16  # rows


def resize(
    image: Pixels, size_wh: tuple[int, int], out: Float32[np.ndarray, "h2 w2 3"] | None = None
) -> Float32[np.ndarray, "h2 w2 3"]:
    """Resize bilinearly so that the corner pixels of both images coincide, as Darknet does.

    Only the rows that are sampled are read, so a large image takes little more time than a small one.

    Args:
        image: 8 bits, or float32 in [0, 1].
        size_wh: new width and height.
        out: where to write; None for a new array.

    Returns:
        float32 in [0, 1].
    """
    new_width, new_height = size_wh
    height, width = image.shape[:2]
    columns = _Samples.of(width, new_width, ends_whole=True).for_channels(3)
    rows = _Samples.of(height, new_height, ends_whole=False)
    values = image.reshape(height, 3 * width)
    unit = np.float32(255 if image.dtype == np.uint8 else 1)
    result = np.empty((new_height, new_width, 3), np.float32) if out is None else out
    for start in range(0, new_height, STRIP):  # so few that the arrays between stay in the cache
        strip = slice(start, start + STRIP)
        tall = values[rows.first[strip]] * (rows.of_first[strip, None] / unit)
        tall += values[rows.second[strip]] * (rows.of_second[strip, None] / unit)
        wide = tall.take(columns.first, axis=1) * columns.of_first
        wide += tall.take(columns.second, axis=1) * columns.of_second
        result[strip] = wide.reshape(-1, new_width, 3)
    return result


@dataclass(frozen=True)
class _Samples:
    """Along one side: the two neighbors of each sample, and their weights."""

    first: Int64[np.ndarray, " n"]
    second: Int64[np.ndarray, " n"]
    of_first: Float32[np.ndarray, " n"]
    of_second: Float32[np.ndarray, " n"]

    @classmethod
    def of(cls, length: int, new_length: int, *, ends_whole: bool) -> _Samples:
        """Darknet's positions, in float32. A single sample is the last pixel.

        Darknet's loop makes the last column the last pixel, and gives the last row no second neighbor: at some sizes
        float32 rounds its position to just below the last pixel, and the row comes out nearly black. Networks were
        trained and tested that way.

        Args:
            length: pixels of the image.
            new_length: number of samples.
            ends_whole: as for columns; else as for rows.
        """
        if new_length == 1 or length == 1:
            last, weight = np.full(new_length, length - 1), np.ones(new_length, np.float32)
            return cls(last, last, weight, 1 - weight)
        positions = np.arange(new_length, dtype=np.float32) * (np.float32(length - 1) / np.float32(new_length - 1))
        first = np.minimum(positions.astype(np.int64), length - 1)
        of_second = positions - first.astype(np.float32)
        of_first = 1 - of_second
        of_second[-1] = 0
        if ends_whole:
            first[-1], of_first[-1] = length - 1, 1
        return cls(first, np.minimum(first + 1, length - 1), of_first, of_second)

    def for_channels(self, channels: int) -> _Samples:
        """The samples of pixels whose channels lie beside each other."""
        each = np.arange(channels)
        first, second = ((channels * index[:, None] + each).ravel() for index in (self.first, self.second))
        return _Samples(first, second, self.of_first.repeat(channels), self.of_second.repeat(channels))
