"""What an object looks like, in a few numbers: the histogram of its colors, by which it is known when it returns."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Float32, UInt8

__all__ = ["appearance", "similarity"]

HUES, SATURATIONS = 12, 4
GREY_BELOW = 40  # of 255: saturation or value below which a hue means nothing
LEVELS = 8
INSIDE = 0.7  # fraction of the box's width and height that is looked at: less of what is around the object


def appearance(image: UInt8[np.ndarray, "h w 3"], box_xyxy: Float[np.ndarray, " 4"]) -> Float32[np.ndarray, " bins"]:
    """The histogram of hue and saturation, and of brightness where there is no hue, inside a box; its sum is 1.

    Args:
        image: RGB.
        box_xyxy: pixels of the image.
    """
    import cv2

    height, width = image.shape[:2]
    center, half = (box_xyxy[:2] + box_xyxy[2:]) / 2, INSIDE * (box_xyxy[2:] - box_xyxy[:2]) / 2
    left, top = np.clip(np.floor(center - half), 0, (width - 1, height - 1)).astype(int)
    right, bottom = np.clip(np.ceil(center + half), (left + 1, top + 1), (width, height)).astype(int)
    hsv = cv2.cvtColor(np.ascontiguousarray(image[top:bottom, left:right]), cv2.COLOR_RGB2HSV)
    return _histogram(hsv.reshape(-1, 3).astype(np.int64))


def _histogram(hsv: np.ndarray) -> Float32[np.ndarray, " bins"]:
    hue, saturation, value = hsv.T
    grey = np.minimum(saturation, value) < GREY_BELOW
    bins = np.where(
        grey,
        HUES * SATURATIONS + value * LEVELS // 256,
        hue * HUES // 180 * SATURATIONS + saturation * SATURATIONS // 256,
    )
    counts = np.bincount(bins, minlength=HUES * SATURATIONS + LEVELS)
    return np.asarray(counts / max(counts.sum(), 1), np.float32)


def similarity(one: Float32[np.ndarray, " bins"], other: Float32[np.ndarray, " bins"]) -> float:
    """How alike two histograms are, 0 to 1: the Bhattacharyya coefficient."""
    return float(np.sqrt(one * other).sum())
