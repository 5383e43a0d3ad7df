"""What a user asks of a detector: which of its labels it answers with.

There are three ways to ask:

- ``classes`` is a filter: the detector works as ever, and detections with other labels are dropped.
- ``within`` is a condition: on a tree, the objects looked for are some nodes or below them, and the probabilities are
  conditioned on that.
- ``labels`` is another set of labels: nodes of the tree at any depth, each scored with its probability.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Int64

from yolo9000.architectures.head import Head
from yolo9000.errors import ConfigError, nearest
from yolo9000.taxonomy.wordtree import WordTree

__all__ = ["Query", "Subtree", "labels_of_classes"]


@dataclass(frozen=True)
class Subtree:
    """The part of a tree below some nodes.

    Attributes:
        roots: the nodes, in nodes of the whole tree.
        tree: the part as a tree of its own, whose roots they are.
        nodes: (m,) the node of the whole tree that each node of the part is.
    """

    roots: tuple[int, ...]
    tree: WordTree
    nodes: Int64[np.ndarray, " m"]

    @classmethod
    def of(cls, tree: WordTree, roots: Sequence[int]) -> Subtree:
        """The part of a tree below some nodes, none of them below another.

        Raises:
            TreeError: there are no nodes, one is given twice or lies below another.
        """
        part, nodes = tree.subtree(roots)
        return cls(tuple(roots), part, nodes)


@dataclass(frozen=True)
class Query:
    """Which labels a detector answers with; the default is every label of its head.

    Attributes:
        keep: (k,) whether to keep detections of each label of the answer; None keeps all.
        within: the part of the tree in which objects are looked for; None for the whole tree.
        labels: names of the nodes that replace the labels of the head; None for the head's own.
        nodes: (k,) those nodes; None where ``labels`` is None.
    """

    keep: Bool[np.ndarray, " k"] | None = None
    within: Subtree | None = None
    labels: tuple[str, ...] | None = None
    nodes: Int64[np.ndarray, " k"] | None = None

    def with_classes(self, head: Head, classes: Iterable[str]) -> Query:
        """The query, filtered to some classes.

        Raises:
            ConfigError: a name is not one of the labels.
        """
        return replace(self, keep=labels_of_classes(self.names(head), self.tree(head), classes))

    def with_within(self, head: Head, names: Sequence[str]) -> Query:
        """The query, conditioned on some nodes of the tree and what is below them.

        Raises:
            ConfigError: the classes are flat.
            TreeError: a name is not that of exactly one node, or a node lies below another.
        """
        tree = _tree_of(head, "within")
        return replace(self, within=Subtree.of(tree, [tree.find(name) for name in names]))

    def with_labels(self, head: Head, names: Sequence[str]) -> Query:
        """The query, answered with some nodes of the tree in place of the head's labels.

        Raises:
            ConfigError: the classes are flat.
            TreeError: a name is not that of exactly one node.
        """
        tree = _tree_of(head, "labels")
        return replace(self, labels=tuple(names), nodes=np.array([tree.find(name) for name in names], np.int64))

    def names(self, head: Head) -> tuple[str, ...]:
        """Display name of each label of the answer."""
        return head.names if self.labels is None else self.labels

    def tree(self, head: Head) -> WordTree | None:
        """The tree that the labels of the answer are nodes of; None for flat labels."""
        return head.tree if self.labels is None else None


def labels_of_classes(names: Sequence[str], tree: WordTree | None, classes: Iterable[str]) -> Bool[np.ndarray, " k"]:
    """Which labels have one of the given names (or ids of the tree), or lie below one that does.

    Raises:
        ConfigError: no label has one of the names.
    """
    keep = np.zeros(len(names), dtype=bool)
    for wanted in classes:
        if not isinstance(wanted, str):  # users of other packages give indices
            raise ConfigError(f"must be names of classes, got {wanted!r}", argument="classes")
        labels = [label for label, name in enumerate(names) if name.casefold() == wanted.casefold()]
        if tree is not None and not labels:
            labels = [label for label, node_id in enumerate(tree.ids) if node_id == wanted]
        if not labels:
            raise ConfigError(f"the model has no class {wanted!r}{nearest(wanted, names)}", argument="classes")
        for label in labels:
            keep |= tree.below(label) if tree is not None else np.arange(len(keep)) == label
    return keep


def _tree_of(head: Head, argument: str) -> WordTree:
    if head.tree is None:
        raise ConfigError("needs a model with a label tree; this model has flat classes", argument=argument)
    return head.tree
