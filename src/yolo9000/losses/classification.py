"""The class loss: cross-entropy over all classes, or on a tree over every sibling group on the label's path (§4).

A soft label is a distribution over the classes or nodes instead of one of them, e.g. what another model said of the
object (distillation). Its loss is the mean loss of its labels: the probability of a node counts for its whole path.

Paper: §4 Hierarchical classification. Darknet: src/tree.c, src/region_layer.c delta_region_class.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from yolo9000.taxonomy.wordtree import WordTree

__all__ = ["SiblingGroups", "class_loss", "class_probabilities", "group_losses", "label_distribution"]

PAD = -1


@dataclass(frozen=True)
class SiblingGroups:
    """A label tree as tensors.

    Attributes:
        groups: sibling group of each node.
        count: number of groups.
        paths: the nodes on the path from the root to each node; padded with -1.
        members: the nodes of each group; padded with -1.
        leaves: which nodes have no children.
        parents: parent of each node; -1 for roots.
        levels: the nodes of each depth below the roots.
    """

    groups: Int64[Tensor, " k"]
    count: int
    paths: Int64[Tensor, "k depth"]
    members: Int64[Tensor, "g size"]
    leaves: Bool[Tensor, " k"]
    parents: Int64[Tensor, " k"]
    levels: tuple[Tensor, ...]

    @classmethod
    def of(cls, tree: WordTree, device: torch.device | str = "cpu") -> SiblingGroups:
        """The groups of a tree, on a device."""
        members = [
            np.arange(offset, offset + size) for offset, size in zip(tree.group_offsets, tree.group_sizes, strict=True)
        ]
        return cls(
            groups=torch.from_numpy(tree.groups).to(device),
            count=len(members),
            paths=_padded([np.array(tree.path(node)) for node in range(len(tree))]).to(device),
            members=_padded(members).to(device),
            leaves=torch.from_numpy(tree.leaves).to(device),
            parents=torch.from_numpy(tree.parents).to(device),
            levels=tuple(
                torch.from_numpy(np.flatnonzero(tree.depths == depth)).to(device)
                for depth in range(1, int(tree.depths.max()) + 1)
            ),
        )

    def probabilities(self, logits: Float[Tensor, "m k"]) -> Float[Tensor, "m k"]:
        """P(node) of every node: the product of the softmax in every sibling group on its path."""
        absolute = self._log_conditionals(logits).exp().clone()  # the gradient of exp needs its result unchanged
        for level in self.levels:
            absolute[:, level] *= absolute[:, self.parents[level]]
        return absolute

    def _log_conditionals(self, logits: Float[Tensor, "m k"]) -> Float[Tensor, "m k"]:
        """Log P(node | its parent) of every node: the log softmax of its sibling group."""
        groups = self.groups.expand_as(logits)
        size = (len(logits), self.count)
        highest = logits.new_full(size, float("-inf")).scatter_reduce(1, groups, logits.detach(), "amax")
        shifted = logits - highest.gather(1, groups)
        totals = logits.new_zeros(size).scatter_add(1, groups, shifted.exp())
        return shifted - totals.log().gather(1, groups)

    def path_losses(
        self, logits: Float[Tensor, "m k"], labels: Int64[Tensor, " m"]
    ) -> tuple[Float[Tensor, "m depth"], Int64[Tensor, "m depth"]]:
        """The cross-entropy of each sibling group on the labels' paths, and which groups those are.

        Shorter paths are padded with losses of 0 and the group -1.
        """
        path = self.paths[labels]
        on_path = path >= 0
        groups = self.groups[path.clamp(min=0)]
        members = self.members[groups]
        rows = torch.arange(len(labels), device=logits.device)[:, None, None]
        scores = logits[rows, members.clamp(min=0)].masked_fill(members < 0, float("-inf"))
        own = logits.gather(1, path.clamp(min=0))
        return torch.where(on_path, scores.logsumexp(-1) - own, 0), groups.masked_fill(~on_path, PAD)

    def soft_losses(
        self, logits: Float[Tensor, "m k"], distribution: Float[Tensor, "m k"]
    ) -> tuple[Float[Tensor, "m g"], Int64[Tensor, "m g"]]:
        """As `path_losses`, for distributions over nodes: all groups that some probability lies in or below."""
        mass = distribution.clone()
        for level in reversed(self.levels):
            mass.index_add_(1, self.parents[level], mass[:, level])
        groups = self.groups.expand_as(mass)
        losses = mass.new_zeros(len(mass), self.count).scatter_add(1, groups, -mass * self._log_conditionals(logits))
        reached = mass.new_zeros(losses.shape).scatter_add(1, groups, mass) > 0
        return losses, torch.arange(self.count, device=mass.device).expand_as(losses).masked_fill(~reached, PAD)


def class_loss(
    logits: Float[Tensor, "m k"],
    labels: Int64[Tensor, " m"],
    tree: SiblingGroups | None = None,
    soft: Float[Tensor, "m k"] | None = None,
) -> Float[Tensor, " m"]:
    """The loss of each row of scores: -log P(label), or its mean over a soft label.

    On a tree the label may be any node; nodes below it and groups off its path get no gradient.

    Args:
        logits: scores of the classes, or of the nodes of the tree.
        labels: class or node of each row.
        tree: its sibling groups; None for flat classes.
        soft: soft labels: the probabilities of all classes or nodes, with sum 1, in place of the label; zeros in rows
            without one. None: there are none.
    """
    return group_losses(logits, labels, tree, soft)[0].sum(1)


def group_losses(
    logits: Float[Tensor, "m k"],
    labels: Int64[Tensor, " m"],
    tree: SiblingGroups | None,
    soft: Float[Tensor, "m k"] | None = None,
) -> tuple[Float[Tensor, "m depth"], Int64[Tensor, "m depth"]]:
    """The terms of `class_loss`: the loss of every softmax on the label's path, and the index of that softmax.

    Flat classes have one softmax, index 0. See `SiblingGroups.path_losses`.
    """
    if soft is not None:
        distribution = label_distribution(labels, soft)
        if tree is not None:
            return tree.soft_losses(logits, distribution)
        return -(distribution * logits.log_softmax(-1)).sum(1, keepdim=True), torch.zeros_like(labels)[:, None]
    if tree is None:
        return F.cross_entropy(logits, labels, reduction="none")[:, None], torch.zeros_like(labels)[:, None]
    return tree.path_losses(logits, labels)


def label_distribution(labels: Int64[Tensor, " m"], soft: Float[Tensor, "m k"]) -> Float[Tensor, "m k"]:
    """The soft label of each row; where it has none, all probability on its label."""
    has = soft.any(dim=1, keepdim=True)
    return torch.where(has, soft, F.one_hot(labels, soft.shape[1]).to(soft))


def class_probabilities(logits: Float[Tensor, "m k"], tree: SiblingGroups | None = None) -> Float[Tensor, "m k"]:
    """The probability of every class; on a tree of every node."""
    return logits.softmax(-1) if tree is None else tree.probabilities(logits)


def _padded(rows: list[np.ndarray]) -> Tensor:
    """Rows of different lengths as one array, padded with -1."""
    padded = np.full((len(rows), max(map(len, rows))), PAD, np.int64)
    for index, row in enumerate(rows):
        padded[index, : len(row)] = row
    return torch.from_numpy(padded)
