"""Boxes: IoU and non-maximum suppression. Order x, y; NumPy.

Darknet: src/box.c box_iou, do_nms_sort, do_nms_obj.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Float, Int64

__all__ = ["clip", "cxcywh_to_xyxy", "iou", "nms", "suppress"]


def cxcywh_to_xyxy(boxes_cxcywh: Float[np.ndarray, "n 4"]) -> Float[np.ndarray, "n 4"]:
    """(center x, center y, width, height) to (left, top, right, bottom)."""
    centers, halves = boxes_cxcywh[:, :2], boxes_cxcywh[:, 2:] / 2
    return np.concatenate([centers - halves, centers + halves], axis=1)


def clip(boxes_xyxy: Float[np.ndarray, "n 4"], size_wh: tuple[int, int]) -> Float[np.ndarray, "n 4"]:
    """The part of each box that lies in an image of the given size."""
    limits = np.array([*size_wh, *size_wh], boxes_xyxy.dtype)
    return np.asarray(np.clip(boxes_xyxy, 0, limits))


@np.errstate(over="ignore", invalid="ignore")
def iou(boxes_xyxy: Float[np.ndarray, "*n 4"], others_xyxy: Float[np.ndarray, "*m 4"]) -> Float[np.ndarray, ...]:
    """Intersection over union, with NumPy's broadcasting over all axes but the last.

    Two boxes without area (0/0) or of infinite area give NaN, which is above no threshold.
    """
    left_top = np.maximum(boxes_xyxy[..., :2], others_xyxy[..., :2])
    right_bottom = np.minimum(boxes_xyxy[..., 2:], others_xyxy[..., 2:])
    width_height = np.maximum(right_bottom - left_top, 0)
    intersection = width_height[..., 0] * width_height[..., 1]
    return np.asarray(intersection / (_area(boxes_xyxy) + _area(others_xyxy) - intersection))


def _area(boxes_xyxy: Float[np.ndarray, "*n 4"]) -> Float[np.ndarray, "*n"]:
    return np.asarray((boxes_xyxy[..., 2] - boxes_xyxy[..., 0]) * (boxes_xyxy[..., 3] - boxes_xyxy[..., 1]))


def nms(
    boxes_xyxy: Float[np.ndarray, "n 4"], scores: Float[np.ndarray, " n"], threshold: float
) -> Int64[np.ndarray, " kept"]:
    """Greedy non-maximum suppression: a box is dropped if its IoU with a better one that is kept exceeds a limit.

    Returns:
        Indices of the boxes that are kept, best first; of equal scores the earlier box is the better one.
    """
    order = np.argsort(-scores, kind="stable")
    return suppress(boxes_xyxy, order, threshold)


def suppress(
    boxes_xyxy: Float[np.ndarray, "n 4"],
    order: Int64[np.ndarray, " n"],
    threshold: float,
    same: Callable[[int, Int64[np.ndarray, " m"]], Bool[np.ndarray, " m"]] | None = None,
) -> Int64[np.ndarray, " kept"]:
    """Greedy suppression in a given order.

    Args:
        boxes_xyxy: the boxes.
        order: indices of the boxes, by falling precedence.
        threshold: IoU above which two boxes count as one object.
        same: a function of an index and other indices: which of the others may be the same object; None for all.

    Returns:
        Indices of the boxes that are kept, in the given order.
    """
    kept = []
    while len(order):
        first, order = int(order[0]), order[1:]
        kept.append(first)
        dropped = iou(boxes_xyxy[first], boxes_xyxy[order]) > threshold
        if same is not None:
            dropped &= same(first, order)
        order = order[~dropped]
    return np.asarray(kept, dtype=np.int64)
