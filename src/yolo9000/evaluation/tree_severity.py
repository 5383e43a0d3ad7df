"""How wrong, and how specific, the labels of localized objects are on a label tree."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float64, Int64

from yolo9000.evaluation.match import match
from yolo9000.evaluation.scored import Scored
from yolo9000.evaluation.tree_paths import NEARER, Lineage, check_labels
from yolo9000.evaluation.voc import (
    mean,
)
from yolo9000.taxonomy.wordtree import WordTree

__all__ = ["Localized", "Severity", "SpecificityRisk", "localize", "risk_curve", "severity"]


@dataclass(frozen=True)
class Localized:
    """Predictions that overlap an object, whatever their labels.

    Attributes:
        preds: indices of the predictions, ascending.
        gts: indices of their objects; each occurs once.
    """

    preds: Int64[np.ndarray, " m"]
    gts: Int64[np.ndarray, " m"]


@dataclass(frozen=True)
class Severity:
    """Distance of predictions from the ground truth (Bertinetto et al. 2020, "Making Better Mistakes").

    Attributes:
        mean_distance: edges in the tree between prediction and ground truth, mean over the localized objects; NaN
            without any.
        mean_mistake_distance: mean over those whose label is wrong; NaN without any.
        localized: number of localized objects, whatever their predicted labels.
        mistakes: number of those whose predicted label is not the ground truth itself.
    """

    mean_distance: float
    mean_mistake_distance: float
    localized: int
    mistakes: int


@dataclass(frozen=True)
class SpecificityRisk:
    """How specific predictions are, and how often they are wrong, as a confidence threshold decreases.

    A prediction is correct if it is the ground truth or one of its ancestors. Its specificity is the number of nodes on
    its path / the number of nodes on the longest path through it: 1 at a leaf, and at every node of a flat tree.

    Attributes:
        thresholds: descending.
        coverage: fraction of the objects with a prediction.
        specificity: mean over the predictions; NaN without any.
        risk: fraction of the predictions that are wrong; NaN without any.
    """

    thresholds: Float64[np.ndarray, " n"]
    coverage: Float64[np.ndarray, " n"]
    specificity: Float64[np.ndarray, " n"]
    risk: Float64[np.ndarray, " n"]


def localize(scored: Scored, tree: WordTree, min_iou: float = 0.5) -> Localized:
    """Match predictions with objects of any label.

    A prediction chooses, among the objects that it overlaps by ``min_iou``, the one with the highest credit, then the
    nearest in the tree, then the one with the highest IoU; an object goes to the prediction with the highest credit,
    then the nearest, then the one with the highest score. Difficult objects and crowds are ignored.

    Raises:
        ValueError: labels are not the nodes of the tree.
    """
    check_labels(scored, tree)
    lineage = Lineage.of(tree)

    def affinity(preds: Int64[np.ndarray, " p"], gts: Int64[np.ndarray, " p"]) -> Float64[np.ndarray, " p"]:
        return 1 + lineage.credit(preds, gts) - NEARER * lineage.distance(preds, gts)

    matches = match(scored, min_iou, affinity)
    preds = np.flatnonzero(matches.hits)
    return Localized(preds, matches.gts[preds])


def severity(scored: Scored, tree: WordTree, min_iou: float = 0.5) -> Severity:
    """Mean distance in the tree between localized objects, see `localize`, and their predicted labels."""
    pairs = localize(scored, tree, min_iou)
    preds, gts = scored.pred_labels[pairs.preds], scored.gt_labels[pairs.gts]
    distances = Lineage.of(tree).distance(preds, gts).astype(np.float64)
    wrong = distances > 0
    return Severity(mean(distances), mean(distances[wrong]), len(distances), int(wrong.sum()))


def risk_curve(
    pred_labels: Int64[np.ndarray, " n"],
    gt_labels: Int64[np.ndarray, " n"],
    confidence: Float[np.ndarray, " n"],
    tree: WordTree,
) -> SpecificityRisk:
    """Specificity and risk of the predictions whose confidence reaches a threshold, for every distinct confidence.

    Args:
        pred_labels: predicted node of each object; of a detector, the predictions that `localize` finds.
        gt_labels: node of each object.
        confidence: of each prediction, e.g. a detection's score.
        tree: the label tree.
    """
    order = np.argsort(-confidence, kind="stable")
    values = confidence[order].astype(np.float64)
    last_of_equals = np.flatnonzero(np.diff(values, append=-np.inf))
    count = last_of_equals + 1.0
    wrong = np.cumsum(~Lineage.of(tree).above(pred_labels, gt_labels)[order])[last_of_equals]
    specific = np.cumsum(_specificity(tree)[pred_labels][order])[last_of_equals]
    return SpecificityRisk(values[last_of_equals], count / max(1, len(pred_labels)), specific / count, wrong / count)


def _specificity(tree: WordTree) -> Float64[np.ndarray, " nodes"]:
    """Length of each node's path / length of the longest path through it."""
    deepest = tree.depths.copy()
    for node in reversed(range(len(tree))):
        parent = tree.parents[node]
        if parent >= 0:
            deepest[parent] = max(deepest[parent], deepest[node])
    return np.asarray((tree.depths + 1) / (deepest + 1))
