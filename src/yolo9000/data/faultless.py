"""Boxes of a whole data set checked at once: image by image, checking is a large part of the time of listing it."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64

from yolo9000.types import BoxAnnotations

__all__ = ["FaultlessBoxes"]


class FaultlessBoxes:
    """What `yolo9000.data.issues.make_boxes` gives for images whose boxes have no issue, in a fraction of the time.

    Args:
        images: of each box the number of its image; ascending, numbers may be left out.
        sides: left, top, right and bottom, in pixels of the image, the far edges exclusive.
        labels: class index; negative for what is no class.
        difficult: see `BoxAnnotations`.
        crowd: see `BoxAnnotations`.
        areas: in square pixels; NaN takes that of the box.
    """

    def __init__(
        self,
        images: Int64[np.ndarray, " n"],
        sides: Float64[np.ndarray, "n 4"],
        labels: Int64[np.ndarray, " n"],
        difficult: Bool[np.ndarray, " n"],
        crowd: Bool[np.ndarray, " n"],
        areas: Float64[np.ndarray, " n"],
    ) -> None:
        with np.errstate(over="ignore", invalid="ignore"):  # what becomes of such sides is no usable box
            boxes = sides.astype(np.float32)
            left, top, right, bottom = boxes.astype(np.float64).T
            areas = np.where(np.isnan(areas), (right - left) * (bottom - top), areas)
            self._all = BoxAnnotations(boxes, labels, difficult, crowd, areas.astype(np.float32))
            usable = (labels >= 0) & (right > left) & (bottom > top) & (sides[:, :2].min(1) >= 0) & (areas >= 0)
        known, first = np.unique(images, return_index=True)
        self._position_of = {image: position for position, image in enumerate(known.tolist())}
        self._starts = [*first.tolist(), len(images)]
        self._usable = np.logical_and.reduceat(usable & ~_repeated(images, labels, boxes), first).tolist()
        self._right, self._bottom, self._area = (
            np.maximum.reduceat(values, first).tolist() for values in (sides[:, 2], sides[:, 3], areas)
        )

    def of(self, image: int, size_wh: tuple[int, int]) -> BoxAnnotations | None:
        """The boxes of an image; None if there are none, or one may have an issue or sticks out of it.

        Args:
            image: its number.
            size_wh: width and height in pixels.
        """
        position = self._position_of.get(image)
        if position is None or not self._usable[position]:
            return None
        right, bottom, (width, height) = self._right[position], self._bottom[position], size_wh
        if max(right, bottom) <= 1:  # perhaps fractions
            return None
        if not (right <= width and bottom <= height and self._area[position] <= width * height):
            return None
        own, every = slice(self._starts[position], self._starts[position + 1]), self._all
        return BoxAnnotations(
            every.boxes_xyxy[own], every.labels[own], every.difficult[own], every.crowd[own], every.areas[own]
        )


def _repeated(
    images: Int64[np.ndarray, " n"], labels: Int64[np.ndarray, " n"], boxes: Float32[np.ndarray, "n 4"]
) -> Bool[np.ndarray, " n"]:
    """Which boxes are there with the same label in the same image before or after."""
    order = np.lexsort((*boxes.T, labels, images))
    images, labels, boxes = images[order], labels[order], boxes[order]
    same = (images[1:] == images[:-1]) & (labels[1:] == labels[:-1]) & (boxes[1:] == boxes[:-1]).all(axis=1)
    repeated = np.zeros(len(images), np.bool_)
    repeated[order[1:]] = same
    return repeated
