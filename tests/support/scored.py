"""Ground truth and predictions by hand. Boxes are 40 x 20 pixels and 100 apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from yolo9000.evaluation.scored import Scored, collect
from yolo9000.types import BoxAnnotations, Detections

Box = tuple[float, float, float, float]
GtBox = tuple[int, Box] | tuple[int, Box, str]
PredictedBox = tuple[int, Box, float]
IMAGE_WH = (500, 300)
A: Box = (0, 0, 40, 20)
B: Box = (100, 0, 140, 20)
C: Box = (200, 0, 240, 20)
NOWHERE: Box = (300, 200, 340, 220)


def image(gts: Sequence[GtBox], predictions: Sequence[PredictedBox]) -> tuple[BoxAnnotations, Detections]:
    boxes = np.array([gt[1] for gt in gts], np.float32).reshape(-1, 4)
    labels = np.array([gt[0] for gt in gts], np.int64)
    marks = [gt[2] if len(gt) > 2 else "" for gt in gts]
    gt = replace(
        BoxAnnotations.plain(boxes, labels),
        difficult=np.array([mark == "difficult" for mark in marks], bool),
        crowd=np.array([mark == "crowd" for mark in marks], bool),
    )
    detections = Detections(
        boxes_xyxy=np.array([box for _, box, _ in predictions], np.float32).reshape(-1, 4),
        scores=np.array([score for *_, score in predictions], np.float32),
        labels=np.array([label for label, *_ in predictions], np.int64),
        names=tuple(str(label) for label, *_ in predictions),
        size_wh=IMAGE_WH,
    )
    return gt, detections


def scored_of(gts: Sequence[GtBox], predictions: Sequence[PredictedBox], classes: int = 2) -> Scored:
    return collect([image(gts, predictions)], classes)
