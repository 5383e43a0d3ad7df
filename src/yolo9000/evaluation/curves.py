"""F1 against the confidence threshold, and the confusion matrix."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Float64, Int64

from yolo9000.evaluation.match import match, prefer_same_label
from yolo9000.evaluation.scored import Scored

__all__ = ["F1Curve", "confusion_matrix", "f1_curve"]


@dataclass(frozen=True)
class F1Curve:
    """Precision, recall and their harmonic mean at every distinct confidence threshold.

    Attributes:
        thresholds: distinct scores, descending; predictions with that score or a higher one count.
        precision: fraction of them that are true positives.
        recall: fraction of the objects that are matched; NaN without objects.
        f1: 2 x true positives / (predictions + objects).
    """

    thresholds: Float32[np.ndarray, " n"]
    precision: Float64[np.ndarray, " n"]
    recall: Float64[np.ndarray, " n"]
    f1: Float64[np.ndarray, " n"]

    @property
    def best_f1(self) -> float:
        """The highest F1; NaN without predictions."""
        return float(self.f1.max()) if len(self.f1) else float("nan")

    @property
    def best_threshold(self) -> float:
        """The highest threshold that reaches it; NaN without predictions."""
        return float(self.thresholds[self.f1.argmax()]) if len(self.f1) else float("nan")


def f1_curve(scored: Scored, min_iou: float = 0.5, label: int | None = None) -> F1Curve:
    """F1 against the threshold, of one class or of all classes together (None).

    Predictions are matched by VOC's rule, see `match`; a lower threshold never takes an object away from a prediction,
    so one matching serves all thresholds.
    """
    matches = match(scored, min_iou)
    counts = ~matches.ignored
    gt_by_class = scored.gt_by_class
    gts = int(gt_by_class.sum() if label is None else gt_by_class[label])
    if label is not None:
        counts &= scored.pred_labels == label
    order = np.argsort(-scored.pred_scores[counts], kind="stable")
    scores = scored.pred_scores[counts][order]
    last_of_equals = np.flatnonzero(np.diff(scores, append=-np.inf))
    hits = np.cumsum(matches.hits[counts][order])[last_of_equals].astype(np.float64)
    count = last_of_equals + 1.0
    recall = hits / gts if gts else np.full(len(hits), np.nan)
    return F1Curve(scores[last_of_equals], hits / count, recall, 2 * hits / (count + gts))


def confusion_matrix(
    scored: Scored, min_iou: float = 0.5, min_score: float = 0.25
) -> Int64[np.ndarray, "{scored.classes}+1 {scored.classes}+1"]:
    """How often each class (row) is predicted as each class (column); the last row and column are the background.

    Predictions with at least ``min_score`` are matched with objects of any class: each chooses, among the objects that
    it overlaps by ``min_iou``, one of its own class before others, then the one with the highest IoU; an object goes to
    a prediction of its own class before others, then to the one with the highest score. So the diagonal counts the true
    positives of plain AP at that threshold and IoU. The last row counts predictions without a match (duplicates among
    them), the last column objects without a match. Difficult objects and crowds, and predictions that match only those,
    are ignored.

    Many YOLO programs use IoU .45 here; the default is .5 so that it goes with AP50.
    """
    kept = scored.select_pred(scored.pred_scores >= min_score)
    matches = match(kept, min_iou, prefer_same_label)
    background = scored.classes
    rows = np.append(kept.gt_labels, background)[matches.gts]  # -1, no match, reads the background
    counts = ~matches.ignored
    missed = kept.gt_counts.copy()
    missed[matches.gts[matches.hits]] = False
    rows = np.concatenate([rows[counts], kept.gt_labels[missed]])
    columns = np.concatenate([kept.pred_labels[counts], np.full(int(missed.sum()), background)])
    size = scored.classes + 1
    return np.bincount(rows * size + columns, minlength=size * size).reshape(size, size)
