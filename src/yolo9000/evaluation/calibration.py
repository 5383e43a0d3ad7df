"""Calibration: whether answers with confidence p are right in a share p of the cases.

Source: Guo et al. 2017, "On Calibration of Modern Neural Networks", section 2 (reliability diagram, ECE, MCE).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Float64, Int64

from yolo9000.evaluation.tree import Lineage
from yolo9000.taxonomy.wordtree import WordTree
from yolo9000.types import TreeAnswer

__all__ = ["BinScheme", "PathSteps", "Reliability", "brier", "path_steps", "reliability", "reliability_by_depth"]

BinScheme = Literal["width", "count"]
"""``width``: bins of equal width; ``count``: bins of equally many answers, equal confidences never parted."""


@dataclass(frozen=True)
class Reliability:
    """Answers in bins by their confidence.

    Attributes:
        edges: confidences between the bins; a bin holds what is above its lower edge, up to its upper one. The first
            holds its lower edge too.
        counts: answers in each bin.
        confidence: their mean confidence; NaN in an empty bin.
        accuracy: the share of them that is right; NaN in an empty bin.
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
        """Expected calibration error: the mean gap, each bin weighing as much as it has answers; NaN without any."""
        total = self.counts.sum()
        return float((self.counts * self.gaps).sum() / total) if total else float("nan")

    @property
    def mce(self) -> float:
        """Maximum calibration error: the largest gap; NaN without answers."""
        return float(self.gaps.max()) if self.counts.sum() else float("nan")


@dataclass(frozen=True)
class PathSteps:
    """The nodes on the way to every answer, each as an answer of its own.

    Attributes:
        confidence: P(node | object), the product of the conditionals down to it.
        correct: whether the node is the truth or lies above it.
        depths: depth of the node.
    """

    confidence: Float64[np.ndarray, " s"]
    correct: Bool[np.ndarray, " s"]
    depths: Int64[np.ndarray, " s"]


def reliability(
    confidence: Float[np.ndarray, " n"], correct: Bool[np.ndarray, " n"], bins: int = 15, scheme: BinScheme = "width"
) -> Reliability:
    """Sort answers into bins by confidence.

    Args:
        confidence: in [0, 1].
        correct: whether each answer is right.
        bins: how many; equal confidences can leave ``count`` with fewer.
        scheme: what the bins have in common.

    Raises:
        ValueError: a confidence outside [0, 1], or no bin.
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
    """0, the highest confidence of each n/bins answers, 1."""
    rising = np.sort(confidence)
    last = np.arange(1, bins) * len(rising) // bins - 1
    return np.unique(np.concatenate([[0.0], rising[last[last >= 0]], [1.0]]))


def brier(confidence: Float[np.ndarray, " n"], correct: Bool[np.ndarray, " n"]) -> float:
    """Brier score: mean of (confidence - right)^2, right being 1 or 0; NaN without answers.

    Raises:
        ValueError: a confidence outside [0, 1].
    """
    _check(confidence)
    return float(np.mean((confidence.astype(np.float64) - correct) ** 2)) if len(confidence) else float("nan")


def reliability_by_depth(steps: PathSteps, bins: int = 15, scheme: BinScheme = "width") -> dict[int, Reliability]:
    """Reliability of the nodes at each depth that occurs."""
    at = {int(depth): steps.depths == depth for depth in np.unique(steps.depths)}
    return {depth: reliability(steps.confidence[here], steps.correct[here], bins, scheme) for depth, here in at.items()}


def path_steps(answers: Sequence[TreeAnswer], gts: Int64[np.ndarray, " n"], tree: WordTree) -> PathSteps:
    """Take the paths of answers apart.

    Steps below the truth are left out: whether they are right is not known.

    Args:
        answers: how each object came to its label.
        gts: node that each object really is.
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
