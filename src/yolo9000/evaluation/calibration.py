"""Calibration: whether predictions with confidence p are correct in a fraction p of cases.

Source: Guo et al. 2017, "On Calibration of Modern Neural Networks", section 2 (reliability diagram, ECE, MCE).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Float64, Int64

from yolo9000.evaluation.tree_paths import Lineage
from yolo9000.taxonomy.wordtree import WordTree
from yolo9000.types import TreeAnswer

__all__ = ["BinScheme", "PathSteps", "Reliability", "path_steps", "reliability", "reliability_by_depth"]

BinScheme = Literal["width", "count"]
"""``width``: bins of equal width; ``count``: bins with equal numbers of predictions; equal confidences share a bin."""


@dataclass(frozen=True)
class Reliability:
    """Predictions in bins by their confidence.

    Attributes:
        edges: confidences between the bins; a bin excludes its lower edge and includes its upper one. The first
            includes both.
        counts: number of predictions in each bin.
        confidence: their mean confidence; NaN in an empty bin.
        accuracy: the fraction of them that is correct; NaN in an empty bin.
    """

    edges: Float64[np.ndarray, " edges"]
    counts: Int64[np.ndarray, " bins"]
    confidence: Float64[np.ndarray, " bins"]
    accuracy: Float64[np.ndarray, " bins"]

    @property
    def gaps(self) -> Float64[np.ndarray, " bins"]:
        """|accuracy - confidence| of each bin; 0 in an empty one."""
        return np.asarray(np.nan_to_num(np.abs(self.accuracy - self.confidence)))

    @property
    def ece(self) -> float:
        """Expected calibration error: mean gap, weighted by the counts; NaN without predictions."""
        total = self.counts.sum()
        return float((self.counts * self.gaps).sum() / total) if total else float("nan")

    @property
    def mce(self) -> float:
        """Maximum calibration error: the largest gap; NaN without predictions."""
        return float(self.gaps.max()) if self.counts.sum() else float("nan")


@dataclass(frozen=True)
class PathSteps:
    """The nodes on the paths of predictions, each as a prediction of its own.

    Attributes:
        confidence: P(node | object), the product of the conditionals down to it.
        correct: whether the node is the ground truth or one of its ancestors.
        depths: depth of the node.
    """

    confidence: Float64[np.ndarray, " s"]
    correct: Bool[np.ndarray, " s"]
    depths: Int64[np.ndarray, " s"]


def reliability(
    confidence: Float[np.ndarray, " n"], correct: Bool[np.ndarray, " n"], bins: int = 15, scheme: BinScheme = "width"
) -> Reliability:
    """Sort predictions into bins by confidence.

    Args:
        confidence: in [0, 1].
        correct: whether each prediction is correct.
        bins: number of bins; equal confidences can leave ``count`` with fewer.
        scheme: see `BinScheme`.

    Raises:
        ValueError: a confidence is outside [0, 1], or ``bins`` is below 1.
    """
    _check(confidence)
    if bins < 1:
        raise ValueError(f"bins must be at least 1, got {bins}")
    values = confidence.astype(np.float64)
    edges = np.linspace(0, 1, bins + 1) if scheme == "width" else _edges_by_count(values, bins)
    bin_of = np.maximum(np.searchsorted(edges, values, side="left") - 1, 0)
    counts = np.bincount(bin_of, minlength=len(edges) - 1)
    with np.errstate(invalid="ignore"):
        mean_confidence = np.bincount(bin_of, values, minlength=len(counts)) / counts
        accuracy = np.bincount(bin_of, correct, minlength=len(counts)) / counts
    return Reliability(edges, counts, mean_confidence, accuracy)


def _edges_by_count(confidence: Float64[np.ndarray, " n"], bins: int) -> Float64[np.ndarray, " edges"]:
    """0, the highest confidence of each n/bins predictions, 1."""
    rising = np.sort(confidence)
    last = np.arange(1, bins) * len(rising) // bins - 1
    return np.unique(np.concatenate([[0.0], rising[last[last >= 0]], [1.0]]))


def reliability_by_depth(steps: PathSteps, bins: int = 15, scheme: BinScheme = "width") -> dict[int, Reliability]:
    """Reliability of the nodes at each depth."""
    at = {int(depth): steps.depths == depth for depth in np.unique(steps.depths)}
    return {depth: reliability(steps.confidence[here], steps.correct[here], bins, scheme) for depth, here in at.items()}


def path_steps(answers: Sequence[TreeAnswer], gts: Int64[np.ndarray, " n"], tree: WordTree) -> PathSteps:
    """The steps of the paths of predictions.

    Steps below the ground truth are left out: whether they are correct is not known.

    Args:
        answers: path of the prediction for each object.
        gts: node of each object.
        tree: the label tree.
    """
    steps = [step for answer in answers for step in answer.path]
    nodes = np.array([step.node for step in steps], np.int64)
    gt_of_each = np.repeat(gts, np.array([len(answer.path) for answer in answers], np.int64))
    confidence = np.array([step.probability for step in steps], np.float64)
    lineage = Lineage.of(tree)
    known = ~lineage.above(gt_of_each, nodes) | (nodes == gt_of_each)
    correct = lineage.above(nodes, gt_of_each)
    return PathSteps(confidence[known], correct[known], tree.depths[nodes[known]])


def _check(confidence: Float[np.ndarray, " n"]) -> None:
    if len(confidence) and not (confidence.min() >= 0 and confidence.max() <= 1):
        raise ValueError(f"confidences must be in [0, 1], got {confidence.min()} to {confidence.max()}")
