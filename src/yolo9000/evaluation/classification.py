"""Accuracy of classifiers, flat and on a label tree."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Float64, Int64

from yolo9000.evaluation.tree_paths import deepest_kept
from yolo9000.taxonomy.wordtree import WordTree

__all__ = ["accuracy_by_depth", "top_k_accuracy"]


def top_k_accuracy(scores: Float[np.ndarray, "n k"], labels: Int64[np.ndarray, " n"], k: int = 1) -> float:
    """Fraction of images whose class is among the k highest scored; NaN without images.

    Of equal scores the class with the lower index comes first, as with ``argmax``. With at most k classes the result is
    1.

    Raises:
        ValueError: a label is not a class, or a score is NaN.
    """
    if len(labels) and not (labels.min() >= 0 and labels.max() < scores.shape[1]):
        raise ValueError(f"labels must be 0 to {scores.shape[1] - 1}, got {labels.min()} to {labels.max()}")
    if np.isnan(scores).any():
        raise ValueError("scores must be numbers, got NaN")
    if not len(labels):
        return float("nan")
    of_class = np.take_along_axis(scores, labels[:, None], axis=1)
    earlier = np.arange(scores.shape[1]) < labels[:, None]
    before = ((scores > of_class) | ((scores == of_class) & earlier)).sum(axis=1)
    return float((before < k).mean())


def accuracy_by_depth(
    preds: Int64[np.ndarray, " n"], gts: Int64[np.ndarray, " n"], tree: WordTree
) -> Float64[np.ndarray, " depths"]:
    """Fraction of predictions that are correct with all labels cut at depth 0, 1, ... of the tree.

    Both prediction and ground truth are replaced by their ancestor at that depth; nodes above that depth stay. One
    value for every depth of the tree; the last is plain accuracy and never above those before it.
    """
    if not len(preds):
        return np.full(int(tree.depths.max()) + 1, np.nan)
    fractions = []
    for depth in range(int(tree.depths.max()) + 1):
        cut = deepest_kept(tree, tree.depths <= depth)
        fractions.append(float((cut[preds] == cut[gts]).mean()))
    return np.array(fractions)
