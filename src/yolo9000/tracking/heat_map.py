"""Where objects were, and for how long, as an image."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from jaxtyping import Float32, UInt8

from yolo9000.tracking.tracker import Track

__all__ = ["HeatMap"]

CELL = 8  # pixels
OPACITY = 0.65


class HeatMap:
    """Adds up the time that each part of the image was covered by a track.

    Attributes:
        seconds: (rows, columns) of cells of 8 x 8 pixels.

    Args:
        size_wh: width and height of the frames in pixels.
    """

    def __init__(self, size_wh: tuple[int, int]) -> None:
        width, height = size_wh
        self.seconds: Float32[np.ndarray, "rows columns"] = np.zeros(
            (-(-height // CELL), -(-width // CELL)), np.float32
        )

    def update(self, tracks: Iterable[Track], seconds: float) -> None:
        """Add a frame.

        Args:
            tracks: that are seen in it.
            seconds: how long it lasts.
        """
        rows, columns = self.seconds.shape
        for track in tracks:
            left, top = np.floor(track.box_xyxy[:2] / CELL).astype(int)
            right, bottom = np.ceil(track.box_xyxy[2:] / CELL).astype(int)
            self.seconds[max(top, 0) : min(bottom, rows), max(left, 0) : min(right, columns)] += seconds

    def draw(self, image: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "h w 3"]:
        """The map over an image, RGB: from blue to red by the time, clear where nothing was."""
        import cv2

        height, width = image.shape[:2]
        smooth = cv2.GaussianBlur(cv2.resize(self.seconds, (width, height)), (0, 0), CELL)
        fraction = np.clip(smooth / max(float(smooth.max()), 1e-9), 0, 1)
        colors = cv2.applyColorMap((255 * fraction).astype(np.uint8), cv2.COLORMAP_TURBO)[:, :, ::-1]
        opacity = OPACITY * np.sqrt(fraction)[:, :, None]
        return np.asarray(np.rint(image * (1 - opacity) + colors * opacity), np.uint8)
