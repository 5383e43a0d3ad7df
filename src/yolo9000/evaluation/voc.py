"""PASCAL VOC's average precision: the development kit's area (2010 and later) and its eleven points (2007).

Kit: VOCevaldet.m (matching, precision, recall), VOCap.m (area). Difficult truths are left out, see `matching`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float32, Float64, Int64

from yolo9000.evaluation.match import match
from yolo9000.evaluation.scored import Scored

__all__ = [
    "ApByClass",
    "ApMethod",
    "PrecisionRecall",
    "average_precision",
    "average_precisions",
    "best_precision",
    "curves",
    "mean",
    "precision_recall",
    "voc_ap",
]

ApMethod = Literal["area", "eleven_point"]
"""``area`` under the curve, VOC 2010 and later; ``eleven_point``, VOC 2007: the mean over recalls 0, .1, ... 1."""

ELEVEN_RECALLS = np.arange(11) / 10


@dataclass(frozen=True)
class PrecisionRecall:
    """What a class's detections reach, the threshold lowered past one after the other.

    Attributes:
        thresholds: scores of the detections, falling.
        precision: of the detections so far, the share that found a truth.
        recall: of the truths, the share that has been found so far.
    """

    thresholds: Float32[np.ndarray, " n"]
    precision: Float64[np.ndarray, " n"]
    recall: Float64[np.ndarray, " n"]


@dataclass(frozen=True)
class ApByClass:
    """Average precision of every class.

    Attributes:
        values: in 0 to 1; NaN for classes that have no truths (that must be found).
    """

    values: Float64[np.ndarray, " classes"]

    @property
    def mean(self) -> float:
        """MAP: the mean over the classes that have truths."""
        return mean(self.values)


def voc_ap(scored: Scored, min_iou: float = 0.5, method: ApMethod = "area") -> ApByClass:
    """VOC's AP of every class, at one IoU."""
    return average_precisions(precision_recall(scored, min_iou), scored.classes, method)


def precision_recall(scored: Scored, min_iou: float = 0.5) -> dict[int, PrecisionRecall]:
    """The curve of every class that has truths, by label."""
    matches = match(scored, min_iou)
    counts = ~matches.ignored
    gains = matches.hits[counts].astype(np.float64)
    return curves(scored.pred_labels[counts], scored.pred_scores[counts], gains, scored.gt_by_class)


def curves(
    labels: Int64[np.ndarray, " n"],
    scores: Float32[np.ndarray, " n"],
    gains: Float64[np.ndarray, " n"],
    gt_by_class: Int64[np.ndarray, " classes"],
    parts: Float64[np.ndarray, " n"] | None = None,
) -> dict[int, PrecisionRecall]:
    """Curves from what each detection is worth.

    Args:
        labels: class in which each detection counts.
        scores: its score; of equal scores the earlier comes first.
        gains: 1 where it found a truth, 0 where not, between them where it is half right.
        gt_by_class: how many truths each class has; one without gets no curve.
        parts: how much of a detection counts in that class; None: all of it.

    Kit: VOCevaldet.m, rec=tp/npos and prec=tp./(fp+tp).
    """
    order = np.lexsort((-scores, labels))
    labels, scores, gains = labels[order], scores[order], gains[order]
    parts = np.ones(len(order)) if parts is None else parts[order]
    by_label = {}
    for label in np.flatnonzero(gt_by_class):
        mine = slice(*np.searchsorted(labels, [label, label + 1]))
        gained = np.cumsum(gains[mine])
        precision = gained / np.cumsum(parts[mine])
        by_label[int(label)] = PrecisionRecall(scores[mine], precision, gained / gt_by_class[label])
    return by_label


def average_precisions(by_label: dict[int, PrecisionRecall], classes: int, method: ApMethod = "area") -> ApByClass:
    """AP of every curve; NaN for the classes that have none."""
    values = np.full(classes, np.nan)
    for label, curve in by_label.items():
        values[label] = average_precision(curve, method)
    return ApByClass(values)


def average_precision(curve: PrecisionRecall, method: ApMethod = "area") -> float:
    """AP of one curve; 0 where nothing was detected."""
    return _area(curve) if method == "area" else _eleven_point(curve)


def best_precision(curve: PrecisionRecall, recalls: Float64[np.ndarray, " m"]) -> Float64[np.ndarray, " m"]:
    """The best precision at each of some recalls or a higher one; 0 beyond the highest that is reached."""
    best = np.append(_envelope(curve.precision), 0.0)
    return np.asarray(best[np.searchsorted(curve.recall, recalls)])


def _area(curve: PrecisionRecall) -> float:
    """Area under the best precision at each recall or a higher one. Kit: VOCap.m."""
    steps = np.diff(curve.recall, prepend=0)
    return float(np.sum(steps * _envelope(curve.precision)))


def _eleven_point(curve: PrecisionRecall) -> float:
    """Mean over eleven recalls of the best precision at that recall or a higher one. Kit of 2007: VOCevaldet.m.

    The recalls are exact tenths. MATLAB's ``0:.1:1``, which the kit walks, holds 0.30000000000000004 for 0.3, so that
    it takes a recall of exactly 3/10 for less; how others round it differs from program to program.
    """
    return float(best_precision(curve, ELEVEN_RECALLS).sum() / 11)


def _envelope(precision: Float64[np.ndarray, " n"]) -> Float64[np.ndarray, " n"]:
    return np.asarray(np.maximum.accumulate(precision[::-1])[::-1])


def mean(values: Float64[np.ndarray, ...]) -> float:
    """Mean of those that are not NaN; NaN where all are."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")
