"""The class loss of a box with a label and a soft label: the label's path, then what a classifier says below it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from yolo9000.losses.classification import SiblingGroups
from yolo9000.taxonomy.wordtree import WordTree

MIN_MASS = 0.3  # of the classifier's probability that must lie at the label or below, for it to be listened to


class SoftLabels:
    """What ``soft_labels.py`` has written.

    Args:
        paths: its files.
        tree: the tree.
        ids: WordNet ids of the classifier's classes in order.
    """

    def __init__(self, paths: Sequence[Path], tree: WordTree, ids: list[str]) -> None:
        self.tree = tree
        self.leaves = torch.tensor([tree.ids.index(one) for one in ids])
        stored = [np.load(path) for path in paths]
        self.keys = {key: i for i, key in enumerate(key for one in stored for key in one["key"].tolist())}
        self.p = np.concatenate([np.zeros((0, len(ids)), np.float16), *(one["p"] for one in stored)])
        self.groups = SiblingGroups.of(tree)
        self.below = torch.from_numpy(np.stack([tree.below(node) for node in range(len(tree))])).float()
        self.below.fill_diagonal_(0)

    def find(self, file: str, box: int) -> int:
        """Number of a box's soft label; -1 for none."""
        return self.keys.get(f"{file}#{box}", -1)

    def loss(self, logits: Tensor, labels: Tensor, soft: Tensor) -> Tensor:
        """-log P(label), plus the cross-entropy with the classifier of every split below the label, (M,).

        A split counts by the probability that the classifier gives to what lies above it, given the label.

        Args:
            logits: scores of all nodes, (M, K).
            labels: node of each box, (M,).
            soft: number of each soft label; -1 for none.
        """
        losses = self.groups.path_losses(logits, labels)[0].sum(1)
        has = torch.nonzero(soft >= 0)[:, 0]
        if not len(has):
            return losses
        p = self._node_probabilities(soft[has])
        own = labels[has]
        mass = p.gather(1, own[:, None])
        weight = p * self.below[own] / mass.clamp(min=1e-6) * (mass > MIN_MASS)
        return losses.index_add(0, has, -(weight * self._log_conditionals(logits[has])).sum(1))

    def _node_probabilities(self, soft: Tensor) -> Tensor:
        return self._summed(torch.from_numpy(self.p[soft.numpy()].astype(np.float32)), self.leaves)

    def _summed(self, classes: Tensor, nodes: Tensor) -> Tensor:
        """Probabilities of all nodes from those of some, which become those of the nodes above as well."""
        p = torch.zeros(len(classes), len(self.tree))
        p[:, nodes] = classes
        for level in reversed(self.groups.levels):
            p.index_add_(1, self.groups.parents[level], p[:, level])
        return p

    def _log_conditionals(self, logits: Tensor) -> Tensor:
        groups = self.groups.groups.expand_as(logits)
        highest = logits.detach().amax(1, keepdim=True)
        totals = logits.new_zeros(len(logits), self.groups.count).scatter_add(1, groups, (logits - highest).exp())
        return logits - highest - totals.clamp(min=1e-30).log().gather(1, groups)
