"""PASCAL VOC's average precision: the development kit's area (2010 and later) and its eleven points (2007).

Kit: VOCevaldet.m (matching, precision, recall), VOCap.m (area). Difficult objects are ignored, see `match`.
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
    """Precision and recall of one class, as the threshold decreases past each of its predictions.

    Attributes:
        thresholds: scores of the predictions, descending.
        precision: fraction of the predictions down to each score that are true positives.
        recall: fraction of the objects matched by them.
    """

    thresholds: Float32[np.ndarray, " n"]
    precision: Float64[np.ndarray, " n"]
    recall: Float64[np.ndarray, " n"]


@dataclass(frozen=True)
class ApByClass:
    """Average precision of every class.

    Attributes:
        values: in 0 to 1; NaN for classes without objects that count.
    """

    values: Float64[np.ndarray, " classes"]

    @property
    def mean(self) -> float:
        """MAP: the mean over the classes with ground truth."""
        return mean(self.values)


def voc_ap(scored: Scored, min_iou: float = 0.5, method: ApMethod = "area") -> ApByClass:
    """VOC's AP of every class, at one IoU."""
    return average_precisions(precision_recall(scored, min_iou), scored.classes, method)


def precision_recall(scored: Scored, min_iou: float = 0.5) -> dict[int, PrecisionRecall]:
    """The curve of every class with ground truth, by label."""
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
    """Curves from the gain of each prediction.

    Args:
        labels: class in which each prediction counts.
        scores: its score; of equal scores the earlier prediction comes first.
        gains: 1 for a true positive, 0 for a false positive, between them for partial credit.
        gt_by_class: number of objects of each class; a class without objects gets no curve.
        parts: fraction of each prediction that counts in that class; None counts all of it.

    Kit: VOCevaldet.m, rec=tp/npos and prec=tp./(fp+tp).
    """
    order = np.lexsort((-scores, labels))
    labels, scores, gains = labels[order], scores[order], gains[order]
    parts = np.ones(len(order)) if parts is None else parts[order]
    by_label = {}
    for label in np.flatnonzero(gt_by_class):
        of_label = slice(*np.searchsorted(labels, [label, label + 1]))
        gained = np.cumsum(gains[of_label])
        precision = gained / np.cumsum(parts[of_label])
        by_label[int(label)] = PrecisionRecall(scores[of_label], precision, gained / gt_by_class[label])
    return by_label


def average_precisions(by_label: dict[int, PrecisionRecall], classes: int, method: ApMethod = "area") -> ApByClass:
    """AP of every curve; NaN for classes without a curve."""
    values = np.full(classes, np.nan)
    for label, curve in by_label.items():
        values[label] = average_precision(curve, method)
    return ApByClass(values)


def average_precision(curve: PrecisionRecall, method: ApMethod = "area") -> float:
    """AP of one curve; 0 without predictions."""
    return _area(curve) if method == "area" else _eleven_point(curve)


def best_precision(curve: PrecisionRecall, recalls: Float64[np.ndarray, " m"]) -> Float64[np.ndarray, " m"]:
    """The best precision at each recall or a higher one; 0 above the highest recall that is reached."""
    best = np.append(_envelope(curve.precision), 0.0)
    return np.asarray(best[np.searchsorted(curve.recall, recalls)])


def _area(curve: PrecisionRecall) -> float:
    """Area under the best precision at each recall or a higher one. Kit: VOCap.m."""
    steps = np.diff(curve.recall, prepend=0)
    return float(np.sum(steps * _envelope(curve.precision)))


def _eleven_point(curve: PrecisionRecall) -> float:
    """Mean over eleven recalls of the best precision at that recall or a higher one. Kit of 2007: VOCevaldet.m.

    The recalls are exact tenths. MATLAB's ``0:.1:1``, which the kit uses, has 0.30000000000000004 for 0.3, so a recall
    of exactly 3/10 does not reach it; other programs round it in different ways.
    """
    return float(best_precision(curve, ELEVEN_RECALLS).sum() / 11)


def _envelope(precision: Float64[np.ndarray, " n"]) -> Float64[np.ndarray, " n"]:
    return np.asarray(np.maximum.accumulate(precision[::-1])[::-1])


def mean(values: Float64[np.ndarray, ...]) -> float:
    """Mean of the values that are not NaN; NaN if there are none."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")
