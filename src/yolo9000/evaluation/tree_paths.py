"""Paths of a label tree as arrays, for questions about many nodes at once.

The path of a node has the nodes from the root down to it, inclusive; paths under different roots share nothing.

* credit of a prediction: the number of nodes that its path shares with the ground truth's path / the length of the
latter.
  1 for the ground truth itself and for nodes below it, less for an ancestor or a relative, 0 if nothing is shared.
* distance of a prediction: edges between it and the ground truth through their deepest common node; nodes under
different
  roots meet in a virtual root above all. On a flat tree 0 for the correct class, 2 for any other.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int64

from yolo9000.evaluation.scored import Scored
from yolo9000.taxonomy.wordtree import WordTree

__all__ = ["NEARER", "Lineage", "check_labels", "deepest_kept"]

# Of two objects with equal credit the nearer is preferred; credits differ by more than all distances times this.
NEARER = 1e-9


@dataclass(frozen=True)
class Lineage:
    """The paths of all nodes of a tree.

    Attributes:
        paths: for every node its ancestors from the root down, itself last; padded with -1.
        lengths: number of nodes on each path.
    """

    paths: Int64[np.ndarray, "nodes depths"]
    lengths: Int64[np.ndarray, " nodes"]

    @classmethod
    def of(cls, tree: WordTree) -> Lineage:
        """Compute the paths of a tree."""
        paths = np.full((len(tree), int(tree.depths.max()) + 1), -1, np.int64)
        ancestor = np.arange(len(tree))
        for depth in reversed(range(paths.shape[1])):
            reaching = np.flatnonzero(tree.depths >= depth)
            paths[reaching, depth] = ancestor[reaching]
            ancestor[reaching] = tree.parents[ancestor[reaching]]
        return cls(paths, tree.depths + 1)

    def shared(self, nodes: Int64[np.ndarray, " p"], others: Int64[np.ndarray, " p"]) -> Int64[np.ndarray, " p"]:
        """Number of nodes that two paths have in common: the depth of their deepest common node, counted from 1."""
        count = np.zeros(len(nodes), np.int64)
        for column in self.paths.T:
            count += (column[nodes] == column[others]) & (column[nodes] >= 0)
        return count

    def above(self, nodes: Int64[np.ndarray, " p"], others: Int64[np.ndarray, " p"]) -> Bool[np.ndarray, " p"]:
        """Whether each node is the other one or its ancestor."""
        return np.asarray(self.shared(nodes, others) == self.lengths[nodes])

    def credit(self, pred: Int64[np.ndarray, " p"], gts: Int64[np.ndarray, " p"]) -> Float64[np.ndarray, " p"]:
        """Credit of predictions, 0 to 1: the fraction of the ground truth's path that they share."""
        return np.asarray(self.shared(pred, gts) / self.lengths[gts])

    def distance(self, pred: Int64[np.ndarray, " p"], gts: Int64[np.ndarray, " p"]) -> Int64[np.ndarray, " p"]:
        """Edges from a prediction up to the deepest common node and down to the ground truth."""
        return np.asarray(self.lengths[pred] + self.lengths[gts] - 2 * self.shared(pred, gts))


def check_labels(scored: Scored, tree: WordTree) -> None:
    """Check that labels are nodes of the tree.

    Raises:
        ValueError: the numbers of labels and nodes differ.
    """
    if scored.classes != len(tree):
        raise ValueError(f"labels must be the {len(tree)} nodes of the tree, got {scored.classes} labels")


def deepest_kept(tree: WordTree, kept: Bool[np.ndarray, " nodes"]) -> Int64[np.ndarray, " nodes"]:
    """For every node the deepest kept node on its path; a node without any is its own target."""
    lineage = Lineage.of(tree)
    target = np.arange(len(tree))
    for column in lineage.paths.T:
        reached = (column >= 0) & kept[column]
        target[reached] = column[reached]
    return target
