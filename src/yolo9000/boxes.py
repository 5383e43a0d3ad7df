"""Boxes: IoU and non-maximum suppression. Order x, y; NumPy.

Darknet: src/box.c box_iou, do_nms_sort, do_nms_obj.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Float, Int64

__all__ = ["clip", "cxcywh_to_xyxy", "iou", "nms", "suppress"]

BOXES_AT_ONCE = 128


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
    left, top, right, bottom = np.ascontiguousarray(np.moveaxis(boxes_xyxy, -1, 0))
    left2, top2, right2, bottom2 = np.ascontiguousarray(np.moveaxis(others_xyxy, -1, 0))
    width = np.maximum(np.minimum(right, right2) - np.maximum(left, left2), 0)
    intersection = width * np.maximum(np.minimum(bottom, bottom2) - np.maximum(top, top2), 0)
    areas, areas2 = (right - left) * (bottom - top), (right2 - left2) * (bottom2 - top2)
    return np.asarray(intersection / (areas + areas2 - intersection))


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
    same: Callable[[Int64[np.ndarray, " m"], Int64[np.ndarray, " n"]], Bool[np.ndarray, "m n"]] | None = None,
) -> Int64[np.ndarray, " kept"]:
    """Greedy suppression in a given order, some boxes at a time.

    Args:
        boxes_xyxy: the boxes.
        order: indices of the boxes, by falling precedence.
        threshold: IoU above which two boxes count as one object.
        same: a function of the indices of some boxes and of others after them: which pairs may be the same object; None
            for all.

    Returns:
        Indices of the boxes that are kept, in the given order.
    """

    def drops(first: Int64[np.ndarray, " m"], others: Int64[np.ndarray, " n"]) -> Bool[np.ndarray, "m n"]:
        overlapping = iou(boxes_xyxy[first, None], boxes_xyxy[others]) > threshold
        return overlapping if same is None else overlapping & same(first, others)

    kept = [np.zeros(0, np.int64)]
    while len(order):
        first, order = order[:BOXES_AT_ONCE], order[BOXES_AT_ONCE:]
        kept.append(first[_not_dropped(drops(first, first))])
        if len(order):
            order = order[~drops(kept[-1], order).any(axis=0)]
    return np.concatenate(kept)


def _not_dropped(drops: Bool[np.ndarray, "n n"]) -> Bool[np.ndarray, " n"]:
    """Which boxes are kept where box i, if it is kept, drops box j > i.

    The first k are right after k steps; mostly two or three steps suffice.
    """
    dropping, dropped = np.nonzero(drops)
    later = dropped > dropping
    dropping, dropped = dropping[later], dropped[later]
    kept = np.ones(len(drops), bool)
    while True:
        again = np.ones(len(drops), bool)
        again[dropped[kept[dropping]]] = False
        if (again == kept).all():
            return kept
        kept = again
