"""Accuracy of classifiers, flat and on a label tree."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Float64, Int64

from yolo9000.evaluation.tree import deepest_kept
from yolo9000.taxonomy.wordtree import WordTree

__all__ = ["accuracy_by_depth", "roll_up_scores", "top_k_accuracy"]


def top_k_accuracy(scores: Float[np.ndarray, "n k"], labels: Int64[np.ndarray, " n"], k: int = 1) -> float:
    """Share of images whose class is among the k with the highest scores; NaN without images.

    Of equal scores the class with the lower number comes first, as with ``argmax``. Where there are at most k classes
    the share is 1.

    Raises:
        ValueError: a label that is no class, or a score that is NaN.
    """
    if len(labels) and not (labels.min() >= 0 and labels.max() < scores.shape[1]):
        raise ValueError(f"labels must be 0 to {scores.shape[1] - 1}, got {labels.min()} to {labels.max()}")
    if np.isnan(scores).any():
        raise ValueError("scores must be numbers, got NaN")
    if not len(labels):
        return float("nan")
    own = np.take_along_axis(scores, labels[:, None], axis=1)
    earlier = np.arange(scores.shape[1]) < labels[:, None]
    before = ((scores > own) | ((scores == own) & earlier)).sum(axis=1)
    return float((before < k).mean())


def roll_up_scores(
    scores: Float[np.ndarray, "n k"], nodes: Int64[np.ndarray, " k"], tree: WordTree, kept: Bool[np.ndarray, " nodes"]
) -> tuple[Float64[np.ndarray, "n c"], Int64[np.ndarray, " c"]]:
    """Probabilities of coarser classes: sums over the fine classes at or below each.

    Args:
        scores: probabilities of classes that exclude each other.
        nodes: node of the tree that each of those classes is.
        tree: the label tree.
        kept: nodes that may be answers; a class goes to its deepest ancestor among them, or stays itself.

    Returns:
        Probabilities, and the node that each column stands for, rising.
    """
    coarse, column = np.unique(deepest_kept(tree, kept)[nodes], return_inverse=True)
    belongs = column[:, None] == np.arange(len(coarse))
    return scores.astype(np.float64) @ belongs, coarse


def accuracy_by_depth(
    answers: Int64[np.ndarray, " n"], gts: Int64[np.ndarray, " n"], tree: WordTree
) -> Float64[np.ndarray, " depths"]:
    """Share of answers that are right where only the first nodes of each path count: depth 0, then 0 and 1, ...

    Both the answer and the truth are replaced by their ancestor at that depth; nodes that are not as deep stay as they
    are. There is one number for every depth of the tree. The last is plain accuracy, and never above those before it.
    """
    if not len(answers):
        return np.full(int(tree.depths.max()) + 1, np.nan)
    fractions = []
    for depth in range(int(tree.depths.max()) + 1):
        rolled = deepest_kept(tree, tree.depths <= depth)
        fractions.append(float((rolled[answers] == rolled[gts]).mean()))
    return np.array(fractions)
