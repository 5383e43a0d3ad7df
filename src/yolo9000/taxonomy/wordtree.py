"""The WordTree: labels of all data sets in one tree, with a softmax in each group of siblings.

Paper: §4 Hierarchical classification. Darknet: src/tree.c.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int64

from yolo9000.errors import TreeError, nearest

__all__ = ["DecodingRule", "TreePath", "WordTree"]

DecodingRule = Literal["conditional", "darknet"]
"""How the walk down the tree weighs a path: ``conditional`` multiplies conditional probabilities, as the paper does;
``darknet`` multiplies absolute ones, as the released program does, and stops much higher up."""


@dataclass(frozen=True)
class TreePath:
    """Where one object came to rest on its way down the tree.

    Attributes:
        nodes: the path, from a top node to the answer.
        conditionals: P(node | parent) of each node of the path.
        refused: the best child of the answer and its conditional probability; None at a leaf, and where a top node was
            itself too unlikely to look below it.
        runner_up: the likeliest sibling of the answer and its conditional probability; None where it has none.
    """

    nodes: tuple[int, ...]
    conditionals: tuple[float, ...]
    refused: tuple[int, float] | None
    runner_up: tuple[int, float] | None


@dataclass(frozen=True)
class WordTree:
    """A label tree.

    Nodes are numbered in file order, parents before their children. Neighbours with one parent are a *sibling group*;
    group 0 holds the top nodes.

    Attributes:
        parents: parent of each node, -1 for a top node.
        names: display name of each node; not unique (585 names of Darknet's ``9k.names`` stand for several nodes).
        ids: id of each node, such as ``n02084071``; unique.
        synonyms: other names of each node; empty where none of the nodes has any.
        notes: what somebody wanted to say about each node; empty where nobody did.

    Raises:
        TreeError: a parent that is not before its child; a missing or repeated id.
    """

    parents: Int64[np.ndarray, " n"]
    names: tuple[str, ...]
    ids: tuple[str, ...]
    synonyms: tuple[tuple[str, ...], ...] = ()
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self._check_lengths()
        self._check_parents()

    @classmethod
    def from_parents(
        cls,
        parents: Sequence[int],
        names: Sequence[str] | None = None,
        ids: Sequence[str] | None = None,
        synonyms: Sequence[tuple[str, ...]] = (),
        notes: Sequence[str] = (),
    ) -> WordTree:
        """Make a tree; names default to the ids, ids to the node numbers."""
        ids = tuple(ids if ids is not None else map(str, range(len(parents))))
        names = tuple(names if names is not None else ids)
        kept_synonyms = tuple(synonyms) if any(synonyms) else ()
        kept_notes = tuple(notes) if any(notes) else ()
        return cls(np.asarray(parents, dtype=np.int64).reshape(-1), names, ids, kept_synonyms, kept_notes)

    def _check_lengths(self) -> None:
        if not len(self):
            raise TreeError("a tree must have at least one node")
        if not len(self) == len(self.names) == len(self.ids):
            raise TreeError(f"{len(self)} nodes need as many names and ids, got {len(self.names)} and {len(self.ids)}")
        for what, values in (("synonyms", self.synonyms), ("notes", self.notes)):
            if values and len(values) != len(self):
                raise TreeError(f"{len(self)} nodes need as many {what} or none, got {len(values)}")
        if len(set(self.ids)) < len(self):
            repeated = next(node_id for node_id in self.ids if self.ids.count(node_id) > 1)
            raise TreeError(f"ids must be unique, {repeated!r} stands {self.ids.count(repeated)} times")

    def _check_parents(self) -> None:
        wrong = np.flatnonzero((self.parents < -1) | (self.parents >= np.arange(len(self))))
        if len(wrong):
            node = int(wrong[0])
            raise TreeError(
                f"node {node} ({self.ids[node]}): its parent must be -1 or a node before it, got {self.parents[node]}"
            )

    def check_groups_contiguous(self) -> None:
        """Check that the children of every node stand side by side.

        A tree that fails still has Darknet's meaning: each run of siblings is a softmax of its own, and a walk finds
        only the last run.

        Raises:
            TreeError: the first node that stands apart from its siblings.
        """
        starts = self.group_offsets
        of_group = self.parents[starts]
        _, first = np.unique(of_group, return_index=True)
        again = np.setdiff1d(np.arange(len(starts)), first)
        if len(again):
            node = int(starts[again[0]])
            raise TreeError(
                f"node {node} ({self.ids[node]}): children of one parent must stand side by side, "
                f"but its parent {of_group[again[0]]} has others further up"
            )

    def __len__(self) -> int:
        return len(self.parents)

    @cached_property
    def group_offsets(self) -> Int64[np.ndarray, " g"]:
        """First node of each sibling group."""
        return np.flatnonzero(np.diff(self.parents, prepend=-2)).astype(np.int64)

    @cached_property
    def group_sizes(self) -> Int64[np.ndarray, " g"]:
        """Number of nodes in each sibling group."""
        return np.diff(self.group_offsets, append=len(self))

    @cached_property
    def groups(self) -> Int64[np.ndarray, " n"]:
        """Sibling group that each node belongs to."""
        return np.repeat(np.arange(len(self.group_offsets)), self.group_sizes)

    @cached_property
    def child_groups(self) -> Int64[np.ndarray, " n"]:
        """Sibling group that each node's children make; -1 for a leaf."""
        child = np.full(len(self), -1, dtype=np.int64)
        parents = self.parents[self.group_offsets]
        child[parents[parents >= 0]] = np.flatnonzero(parents >= 0)
        return child

    @cached_property
    def leaves(self) -> Bool[np.ndarray, " n"]:
        """Whether each node has no children."""
        return self.child_groups < 0

    @cached_property
    def depths(self) -> Int64[np.ndarray, " n"]:
        """Steps from the top to each node; 0 for top nodes."""
        depths = np.zeros(len(self), dtype=np.int64)
        for offset, size in zip(self.group_offsets, self.group_sizes, strict=True):
            parent = self.parents[offset]
            depths[offset : offset + size] = depths[parent] + 1 if parent >= 0 else 0
        return depths

    @cached_property
    def _levels(self) -> list[Int64[np.ndarray, " m"]]:
        """Nodes of each depth below the top."""
        return [np.flatnonzero(self.depths == depth) for depth in range(1, int(self.depths.max()) + 1)]

    @cached_property
    def fingerprint(self) -> str:
        """A SHA-256 of what a network that was trained on the tree depends on: ids and parents, in their order."""
        lines = "".join(f"{node_id}\t{parent}\n" for node_id, parent in zip(self.ids, self.parents, strict=True))
        return hashlib.sha256(lines.encode()).hexdigest()

    def children(self, node: int) -> range:
        """The nodes below a node, one level down; none for a leaf. -1 gives the top nodes."""
        group = 0 if node < 0 else int(self.child_groups[node])
        if group < 0:
            return range(0)
        offset = int(self.group_offsets[group])
        return range(offset, offset + int(self.group_sizes[group]))

    def path(self, node: int) -> tuple[int, ...]:
        """The nodes from the top down to the given one, itself included."""
        path = []
        while node >= 0:
            path.append(node)
            node = int(self.parents[node])
        return tuple(reversed(path))

    def named(self, name: str) -> list[int]:
        """The nodes that have a name, as it stands, else as a synonym; upper and lower case are the same."""
        wanted = name.lower()
        found = [node for node, known in enumerate(self.names) if known.lower() == wanted]
        if found or not self.synonyms:
            return found
        return [node for node, known in enumerate(self.synonyms) if wanted in map(str.lower, known)]

    def find(self, text: str) -> int:
        """The node of that id, else of that name or synonym.

        Raises:
            TreeError: there is none, or more than one.
        """
        if text in self.ids:
            return self.ids.index(text)
        found = self.named(text)
        if not found:
            raise TreeError(f"{text!r} must be the id or name of a node{nearest(text, self.names)}")
        if len(found) > 1:
            ids = ", ".join(f"{self.ids[node]} ({self.way(node)})" for node in found)
            raise TreeError(f"{text!r} is the name of {len(found)} nodes; say which by its id: {ids}")
        return found[0]

    def way(self, node: int) -> str:
        """The names on the path from the top, for people: ``animal > dog > terrier``."""
        return " > ".join(self.names[step] for step in self.path(node))

    def subtree(self, roots: Sequence[int]) -> tuple[WordTree, Int64[np.ndarray, " m"]]:
        """The tree of some nodes and all below them, as if nothing else were: they are its top nodes.

        Args:
            roots: nodes, none of them below another.

        Returns:
            The tree, and the node of this one that each of its nodes is.

        Raises:
            TreeError: there are none, one is named twice or lies below another.
        """
        if not roots:
            raise TreeError("a subtree needs at least one node")
        for node in roots:
            above = [step for step in self.path(node)[:-1] if step in set(roots)]
            if above or list(roots).count(node) > 1:
                other = self.names[above[0] if above else node]
                raise TreeError(
                    f"{self.names[node]!r} must not be the same as, or a kind of, {other!r}, named beside it"
                )
        inside = np.any([self.below(node) for node in roots], axis=0)
        inside[list(roots)] = False
        nodes = np.array([*sorted(roots), *np.flatnonzero(inside)], np.int64)
        place = {int(node): number for number, node in enumerate(nodes)}
        kept = [int(node) for node in nodes]
        parents = [-1 if node in set(roots) else place[int(self.parents[node])] for node in kept]
        return WordTree.from_parents(
            parents, [self.names[node] for node in kept], [self.ids[node] for node in kept]
        ), nodes

    def below(self, node: int) -> Bool[np.ndarray, " n"]:
        """Which nodes are the given one or lie below it."""
        inside = np.zeros(len(self), dtype=bool)
        inside[node] = True
        for level in self._levels:
            inside[level] |= inside[self.parents[level]]
        return inside

    def softmax(self, logits: Float[np.ndarray, "*batch n"]) -> Float[np.ndarray, "*batch n"]:
        """Conditional probabilities P(node | parent): a softmax in every sibling group."""
        highest = np.maximum.reduceat(logits, self.group_offsets, axis=-1)
        exponentials = np.exp(logits - highest[..., self.groups])
        totals = np.add.reduceat(exponentials, self.group_offsets, axis=-1)
        return np.asarray(exponentials / totals[..., self.groups])

    def probabilities(
        self, conditionals: Float[np.ndarray, "*batch n"], *, only_leaves: bool = False
    ) -> Float[np.ndarray, "*batch n"]:
        """Absolute probabilities P(node): the product of conditionals from the top down (§4).

        Args:
            conditionals: P(node | parent).
            only_leaves: give inner nodes 0, so that what remains is a distribution over leaves.
        """
        absolute = conditionals.copy()
        for level in self._levels:
            absolute[..., level] *= absolute[..., self.parents[level]]
        if only_leaves:
            absolute[..., ~self.leaves] = 0
        return absolute

    def decode(
        self,
        conditionals_of: Callable[[Int64[np.ndarray, " m"], int], Float[np.ndarray, "m size"]],
        count: int,
        hier_thresh: float,
        rule: DecodingRule = "conditional",
    ) -> list[TreePath]:
        """Walk objects down the tree, at every split to the likeliest child, until that would be too unlikely (§4).

        Only the sibling groups on the way are looked at. A top node is accepted whatever its probability: there is
        nothing above it to answer with.

        Args:
            conditionals_of: (objects, group) gives the group's conditional probabilities for those objects.
            count: number of objects.
            hier_thresh: a node is entered if the probability of the path to it is above this.
            rule: what that probability is; see `DecodingRule`.

        Returns:
            One descent for each object.

        Darknet: src/tree.c hierarchy_top_prediction.
        """
        walks = [_Walk() for _ in range(count)]
        level = {0: list(range(count))} if count else {}
        while level:
            level_below: dict[int, list[int]] = {}
            for group, objects in level.items():
                offset = int(self.group_offsets[group])
                conditionals = conditionals_of(np.asarray(objects, dtype=np.int64), group)
                best = conditionals.argmax(axis=1)
                for row, item in enumerate(objects):
                    entered = walks[item].offer(offset, conditionals[row], int(best[row]), hier_thresh, rule)
                    below = int(self.child_groups[offset + best[row]]) if entered else -1
                    if below >= 0:
                        level_below.setdefault(below, []).append(item)
            level = level_below
        return [walk.finish() for walk in walks]


class _Walk:
    """One object on its way down."""

    def __init__(self) -> None:
        self.nodes: list[int] = []
        self.conditionals: list[float] = []
        self.absolute = 1.0
        self.weight = 1.0
        self.refused: tuple[int, float] | None = None
        self.runner_up: tuple[int, float] | None = None

    def offer(
        self, offset: int, conditionals: Float[np.ndarray, " size"], best: int, least: float, rule: DecodingRule
    ) -> bool:
        """Enter the best node of a sibling group, or refuse it and stop; whether it was entered and counts."""
        conditional = float(conditionals[best])
        absolute = self.absolute * conditional
        weight = self.weight * (conditional if rule == "conditional" else absolute)
        likely = weight > least
        if not likely and self.nodes:
            self.refused = (offset + best, conditional)
            return False
        self.nodes.append(offset + best)
        self.conditionals.append(conditional)
        self.absolute, self.weight = absolute, weight
        self.runner_up = _second(offset, conditionals, best)
        return likely

    def finish(self) -> TreePath:
        return TreePath(tuple(self.nodes), tuple(self.conditionals), self.refused, self.runner_up)


def _second(offset: int, conditionals: Float[np.ndarray, " size"], best: int) -> tuple[int, float] | None:
    if len(conditionals) < 2:
        return None
    others = conditionals.copy()
    others[best] = -1
    second = int(others.argmax())
    return offset + second, float(others[second])
