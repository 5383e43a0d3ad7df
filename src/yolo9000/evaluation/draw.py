"""Draw ground truth on images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from yolo9000.types import BoxAnnotations, Detections, Sample

__all__ = ["gt_as_detections"]


def gt_as_detections(sample: Sample, classes: Sequence[str], size_wh: tuple[int, int]) -> Detections:
    """Ground truth in the form that `io.draw.annotate` draws."""
    gt = sample.boxes or BoxAnnotations.plain(np.empty((0, 4), np.float32), np.empty(0, np.int64))
    return Detections(
        boxes_xyxy=gt.boxes_xyxy,
        scores=np.ones(len(gt), np.float32),
        labels=gt.labels,
        names=tuple(classes[label] for label in gt.labels),
        size_wh=size_wh,
    )
