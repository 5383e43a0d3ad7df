"""Which detections are which objects: duplicates in one frame, and the best assignment to tracks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from yolo9000.boxes import iou
from yolo9000.errors import needs_extra
from yolo9000.inference.evidence import objectness_of, related
from yolo9000.inference.settings import DetectionSettings
from yolo9000.types import Detections

__all__ = ["Observation", "assign", "check_installed", "observations"]

SAME_IOU = 0.8  # of two detections in one frame that are one object, a terrier and a hound of two anchors


@dataclass(frozen=True)
class Observation:
    """One object in one frame.

    Attributes:
        detections: all detections of the frame.
        indices: of those that are this object, best first.
        objectness: of the best.
        box_xyxy: of the best.
    """

    detections: Detections
    indices: tuple[int, ...]
    objectness: float
    box_xyxy: Float[np.ndarray, " 4"]


def observations(detections: Detections, settings: DetectionSettings) -> list[Observation]:
    """The objects among the detections of a frame, those that lie on one another and may be one object made one."""
    boxes = detections.boxes_xyxy.astype(np.float64)
    overlapping = iou(boxes[:, None], boxes[None]) > SAME_IOU
    scores = [objectness_of(detections, i, settings) for i in range(len(detections))]
    left = sorted(range(len(detections)), key=lambda i: -scores[i])
    objects = []
    while left:
        first = left[0]
        same = [i for i in left if i == first or (overlapping[first, i] and _may_be_one(detections, first, i))]
        left = [i for i in left if i not in same]
        objects.append(Observation(detections, tuple(same), scores[first], boxes[first]))
    return objects


def _may_be_one(detections: Detections, i: int, j: int) -> bool:
    return not detections.answers or related(detections, i, detections, j)


def assign(similarities: Float[np.ndarray, "n m"], min_similarity: float) -> list[tuple[int, int]]:
    """Pairs of rows and columns with the highest total similarity, none below the minimum (Jonker and Volgenant)."""
    import lap

    if not similarities.size:
        return []
    columns = lap.lapjv(1 - similarities, extend_cost=True, cost_limit=1 - min_similarity, return_cost=False)[0]
    return [(row, int(column)) for row, column in enumerate(columns) if column >= 0]


def check_installed() -> None:
    """Check that what tracking needs is installed.

    Raises:
        EngineError: it is not.
    """
    with needs_extra("track", "tracking"):
        import cv2  # noqa: F401
        import lap  # noqa: F401
