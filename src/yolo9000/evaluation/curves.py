"""What threshold to choose, and which classes are taken for which."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Float64, Int64

from yolo9000.evaluation.match import match, prefer_same_label
from yolo9000.evaluation.scored import Scored

__all__ = ["F1Curve", "confusion_matrix", "f1_curve"]


@dataclass(frozen=True)
class F1Curve:
    """Precision, recall and their harmonic mean at every threshold that changes anything.

    Attributes:
        thresholds: distinct scores, falling; at each, the detections with that score or a higher one are given.
        precision: of those, the share that found a truth.
        recall: of the truths, the share that was found; NaN without truths.
        f1: 2 x found / (given + truths).
    """

    thresholds: Float32[np.ndarray, " n"]
    precision: Float64[np.ndarray, " n"]
    recall: Float64[np.ndarray, " n"]
    f1: Float64[np.ndarray, " n"]

    @property
    def best_f1(self) -> float:
        """The highest F1; NaN where nothing was detected."""
        return float(self.f1.max()) if len(self.f1) else float("nan")

    @property
    def best_threshold(self) -> float:
        """The highest threshold that reaches it; NaN where nothing was detected."""
        return float(self.thresholds[self.f1.argmax()]) if len(self.f1) else float("nan")


def f1_curve(scored: Scored, min_iou: float = 0.5, label: int | None = None) -> F1Curve:
    """F1 against threshold, of one class or of all their detections and truths together (None).

    What finds what is decided by VOC's rule, see `matching`; a lower threshold never takes a truth away from a
    detection, so that one matching serves all thresholds.
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
    given = last_of_equals + 1.0
    recall = hits / gts if gts else np.full(len(hits), np.nan)
    return F1Curve(scores[last_of_equals], hits / given, recall, 2 * hits / (given + gts))


def confusion_matrix(
    scored: Scored, min_iou: float = 0.5, min_score: float = 0.25
) -> Int64[np.ndarray, "{scored.classes}+1 {scored.classes}+1"]:
    """How often each class (row) was taken for each class (column); the last row and column are the background.

    Detections with at least ``min_score`` are matched with truths of any class: each chooses, of the truths that it
    overlaps by ``min_iou``, one of its own class before others, then the one of the highest IoU; a truth goes to a
    detection of its own class before others, then to the one with the highest score. So the diagonal counts what
    plain AP counts as found at that threshold and IoU. The last row counts detections that found nothing (second ones
    of an object among them), the last column truths that nothing found. Difficult truths and crowds, and detections
    that found only those, are left out.

    YOLO programs often draw this at IoU .45; .5 is the default here so that it goes with AP50.
    """
    given = scored.select_pred(scored.pred_scores >= min_score)
    matches = match(given, min_iou, prefer_same_label)
    background = scored.classes
    rows = np.append(given.gt_labels, background)[matches.gts]  # -1, no truth, reads the background
    counts = ~matches.ignored
    missed = given.gt_counts.copy()
    missed[matches.gts[matches.hits]] = False
    rows = np.concatenate([rows[counts], given.gt_labels[missed]])
    columns = np.concatenate([given.pred_labels[counts], np.full(int(missed.sum()), background)])
    size = scored.classes + 1
    return np.bincount(rows * size + columns, minlength=size * size).reshape(size, size)
