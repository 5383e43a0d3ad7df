"""Mean AP of classes with boxes in training and of classes with image-level labels only (§4)."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from yolo9000.evaluation.voc import (
    ApByClass,
    mean,
)

__all__ = ["Split", "split"]


@dataclass(frozen=True)
class Split:
    """Mean AP of the classes that had boxes in training and of those that had only labels (paper: 44 and 156).

    Attributes:
        had_boxes: mAP of the former; NaN if none of them has ground truth.
        only_labels: mAP of the latter.
        had_boxes_classes: number of the former with ground truth.
        only_labels_classes: number of the latter with ground truth.
    """

    had_boxes: float
    only_labels: float
    had_boxes_classes: int
    only_labels_classes: int


def split(ap: ApByClass, had_boxes: Collection[int], only_labels: Collection[int]) -> Split:
    """Mean AP of two sets of classes. Paper: §4, evaluation on ImageNet's detection task.

    Raises:
        ValueError: a class is in both sets.
    """
    both = sorted(set(had_boxes) & set(only_labels))
    if both:
        raise ValueError(f"a class must have had boxes or only labels, got {both[0]} in both sets")
    boxed, label_only = ap.values[sorted(set(had_boxes))], ap.values[sorted(set(only_labels))]
    counts = (int((~np.isnan(values)).sum()) for values in (boxed, label_only))
    return Split(mean(boxed), mean(label_only), *counts)
