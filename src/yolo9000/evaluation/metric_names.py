"""The keys of all metrics, as they appear in JSON, CSV and TensorBoard, and the labels that people read instead."""

from __future__ import annotations

import re

__all__ = ["AP_BY_SIZE", "METRIC_LABELS", "metric_label"]

METRIC_LABELS = {
    "map50": "mAP50",
    "map50_11pt": "mAP50 (11 points)",
    "map": "mAP50-95",
    "map50_coco": "mAP50 (COCO)",
    "map75": "mAP75",
    "map_small": "mAP50-95, small",
    "map_medium": "mAP50-95, medium",
    "map_large": "mAP50-95, large",
    "ar1": "AR, 1 detection",
    "ar10": "AR, 10 detections",
    "ar100": "AR, 100 detections",
    "ar_small": "AR, small",
    "ar_medium": "AR, medium",
    "ar_large": "AR, large",
    "best_f1": "best F1",
    "best_f1_threshold": "threshold of the best F1",
    "map50_boxed": "mAP50, classes with boxes",
    "map50_label_only": "mAP50, label-only classes",
    "map50_partial_credit": "mAP50 with partial credit",
    "mean_distance": "mean distance",
    "mean_mistake_distance": "mean distance of mistakes",
    "top1": "top-1 accuracy",
    "top5": "top-5 accuracy",
    "ece": "ECE",
}
"""The label of each metric; see docs/metrics.md. A key that ends in ``_depth_2`` is cut at that depth of a tree."""

AP_BY_SIZE = ("ap", "ap_small", "ap_medium", "ap_large")
"""The keys of one class's COCO AP: all objects, then by COCO's ranges of area."""


def metric_label(key: str) -> str:
    """What people read instead of a metric's key; the key itself where there is no label.

    >>> metric_label("map50_depth_2")
    'mAP50 at depth 2'
    """
    base, depth = re.fullmatch(r"(.*?)(?:_depth_(\d+))?", key, re.DOTALL).groups()  # type: ignore[union-attr]
    label = METRIC_LABELS.get(base, base)
    return label if depth is None else f"{label} at depth {depth}"
