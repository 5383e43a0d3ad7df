"""Bilinear resizing as Darknet does it.

Darknet: src/image.c resize_image.
"""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import Float32, UInt8

__all__ = ["GREY", "Pixels", "resize"]

Pixels = UInt8[np.ndarray, "h w 3"] | Float32[np.ndarray, "h w 3"]
GREY = 0.5
"""What fills the part of a network's input that no image covers, in [0, 1]."""
BAND_VALUES = 12_000_000  # values converted to float32 at a time, so that a large image needs little memory


def resize(image: Pixels, size_wh: tuple[int, int]) -> Float32[np.ndarray, "h2 w2 3"]:
    """Resize bilinearly so that the corner pixels of both images coincide, as Darknet does.

    Args:
        image: 8 bits, or float32 in [0, 1].
        size_wh: new width and height.

    Returns:
        float32 in [0, 1].
    """
    new_width, new_height = size_wh
    height, width = image.shape[:2]
    step_x, start_x = _sampling(width, new_width)
    step_y, start_y = _sampling(height, new_height)
    out = np.empty((new_height, new_width, 3), np.float32)
    rows_at_once = max(1, int(BAND_VALUES / (3 * width * max(step_y, 1e-9))))
    for first in range(0, new_height, rows_at_once):
        last = min(first + rows_at_once, new_height)
        top = int(start_y + first * step_y)
        bottom = min(height, int(start_y + (last - 1) * step_y) + 2)
        to_source = np.array([[step_x, 0, start_x], [0, step_y, start_y + first * step_y - top]])
        cv2.warpAffine(
            image[top:bottom].astype(np.float32),
            to_source,
            (new_width, last - first),
            dst=out[first:last],
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REPLICATE,
        )
    if image.dtype == np.uint8:
        out *= np.float32(1 / 255)
    out[-1] *= _last_row_fraction(height, new_height)
    return out


def _sampling(length: int, new_length: int) -> tuple[float, float]:
    """Step between samples and position of the first; a single sample is the last pixel, as in Darknet's loop."""
    return ((length - 1) / (new_length - 1), 0.0) if new_length > 1 else (0.0, float(length - 1))


def _last_row_fraction(height: int, new_height: int) -> np.float32:
    """Weight of the last row: 1, or nearly 0 where float32 rounds its position to just below the last pixel.

    Darknet's loop gives the last row no second neighbor, so at some sizes rounding leaves it black. Networks were
    trained and tested that way, so this function reproduces it.
    """
    if new_height == 1:
        return np.float32(1)
    position = np.float32(new_height - 1) * (np.float32(height - 1) / np.float32(new_height - 1))
    return np.float32(1 - (position - np.floor(position)))
