"""The WordTree: the labels of all data sets in one tree, with a softmax over each group of siblings.

Paper: §4 Hierarchical classification. Darknet: src/tree.c.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float, Int64

from yolo9000.choices import DecodingRule
from yolo9000.errors import TreeError, nearest
from yolo9000.taxonomy.class_names import index_names
from yolo9000.taxonomy.tree_paths import Choices, Decodings, TreePath, TreePaths

__all__ = ["DecodingRule", "TreePath", "TreePaths", "WordTree"]


@dataclass(frozen=True)
class WordTree:
    """A label tree. Immutable.

    Nodes are numbered in file order, parents before their children. Adjacent nodes with the same parent form a *sibling
    group*; group 0 holds the roots.

    Attributes:
        parents: parent of each node, -1 for a root.
        names: display name of each node; not unique (585 names of Darknet's ``9k.names`` belong to several nodes).
        ids: id of each node, e.g. ``n02084071``; unique.
        synonyms: other names of each node; empty if no node has any.
        notes: a comment on each node; empty if no node has one.

    Raises:
        TreeError: a parent does not precede its child; an id is missing or repeated.

    Example:
        >>> tree = WordTree.from_parents([-1, 0, 0], ["animal", "dog", "cat"])
        >>> tree.find("cat"), tree.path_names(2)
        (2, 'animal > cat')
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
        """Make a tree; names default to the ids, ids to the node indices."""
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
            repeated, count = Counter(self.ids).most_common(1)[0]
            raise TreeError(f"ids must be unique, got {repeated!r} {count} times")

    def _check_parents(self) -> None:
        wrong = np.flatnonzero((self.parents < -1) | (self.parents >= np.arange(len(self))))
        if len(wrong):
            node = int(wrong[0])
            raise TreeError(
                f"node {node} ({self.ids[node]}): its parent must be -1 or a node before it, got {self.parents[node]}"
            )

    def check_groups_contiguous(self) -> None:
        """Check that the children of every node are contiguous.

        A tree that fails keeps Darknet's meaning: each run of siblings has its own softmax, and hierarchical decoding
        reaches only the last run.

        Raises:
            TreeError: names the first node that is separated from its siblings.
        """
        starts = self.group_offsets
        of_group = self.parents[starts]
        _, first = np.unique(of_group, return_index=True)
        again = np.setdiff1d(np.arange(len(starts)), first)
        if len(again):
            node = int(starts[again[0]])
            raise TreeError(
                f"node {node} ({self.ids[node]}): the children of a node must be contiguous, "
                f"but parent {of_group[again[0]]} has other children before it"
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
        """Sibling group of each node's children; -1 for a leaf."""
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
        """Number of edges from the root to each node; 0 for a root."""
        depths = np.zeros(len(self), dtype=np.int64)
        for offset, size in zip(self.group_offsets, self.group_sizes, strict=True):
            parent = self.parents[offset]
            depths[offset : offset + size] = depths[parent] + 1 if parent >= 0 else 0
        return depths

    @cached_property
    def _levels(self) -> list[Int64[np.ndarray, " m"]]:
        """The nodes at depth 1, 2, ..."""
        return [np.flatnonzero(self.depths == depth) for depth in range(1, int(self.depths.max()) + 1)]

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the ids and parents, in order: what a network trained on the tree depends on."""
        lines = "".join(f"{node_id}\t{parent}\n" for node_id, parent in zip(self.ids, self.parents, strict=True))
        return hashlib.sha256(lines.encode()).hexdigest()

    @cached_property
    def index_by_id(self) -> Mapping[str, int]:
        """The node of each id."""
        return {node_id: node for node, node_id in enumerate(self.ids)}

    @cached_property
    def index_by_name(self) -> Mapping[str, tuple[int, ...]]:
        """The nodes of each display name, spelled as in `names`."""
        return index_names(self.names)

    @cached_property
    def _index_by_lower_name(self) -> Mapping[str, tuple[int, ...]]:
        return index_names(name.lower() for name in self.names)

    @cached_property
    def _index_by_lower_synonym(self) -> Mapping[str, tuple[int, ...]]:
        nodes: dict[str, dict[int, None]] = {}
        for node, names in enumerate(self.synonyms):
            for name in names:
                nodes.setdefault(name.lower(), {})[node] = None
        return {name: tuple(several) for name, several in nodes.items()}

    def children(self, node: int) -> range:
        """The children of a node; empty for a leaf. -1 gives the roots."""
        group = 0 if node < 0 else int(self.child_groups[node])
        if group < 0:
            return range(0)
        offset = int(self.group_offsets[group])
        return range(offset, offset + int(self.group_sizes[group]))

    def path(self, node: int) -> tuple[int, ...]:
        """The nodes from the root down to the given one, inclusive."""
        path = []
        while node >= 0:
            path.append(node)
            node = int(self.parents[node])
        return tuple(reversed(path))

    def nodes_named(self, name: str) -> tuple[int, ...]:
        """The nodes with that display name or, if there are none, with that synonym. Case does not matter."""
        name = name.lower()
        return self._index_by_lower_name.get(name) or self._index_by_lower_synonym.get(name, ())

    def find(self, text: str) -> int:
        """The node with that id or, if there is none, with that name or synonym.

        Raises:
            TreeError: no node has it, or several nodes have it as a name.
        """
        if text in self.index_by_id:
            return self.index_by_id[text]
        nodes = self.nodes_named(text)
        if not nodes:
            raise TreeError(f"{text!r} must be the id or name of a node{nearest(text, self.names)}")
        if len(nodes) > 1:
            ids = ", ".join(f"{self.ids[node]} ({self.path_names(node)})" for node in nodes)
            raise TreeError(f"{text!r} is the name of {len(nodes)} nodes; use an id instead: {ids}")
        return nodes[0]

    def path_names(self, node: int) -> str:
        """The names on the path from the root, for display: ``animal > dog > terrier``."""
        return " > ".join(self.names[step] for step in self.path(node))

    def subtree(self, roots: Sequence[int]) -> tuple[WordTree, Int64[np.ndarray, " m"]]:
        """The tree of some nodes and everything below them; these nodes become its roots.

        Args:
            roots: nodes, none of them below another.

        Returns:
            The tree, and for each of its nodes the node of this tree.

        Raises:
            TreeError: ``roots`` is empty, or names a node twice or together with one of its ancestors.
        """
        self._check_roots(roots)
        inside = self._at_or_below(np.asarray(roots, np.int64))
        inside[list(roots)] = False
        nodes = np.array([*sorted(roots), *np.flatnonzero(inside)], np.int64)
        position = np.full(len(self) + 1, -1, np.int64)  # the last entry stands for parent -1
        position[nodes] = np.arange(len(nodes))
        parents = position[self.parents[nodes]]
        parents[: len(roots)] = -1
        return WordTree.from_parents(
            parents.tolist(),
            [self.names[node] for node in nodes],
            [self.ids[node] for node in nodes],
            [self.synonyms[node] for node in nodes] if self.synonyms else (),
            [self.notes[node] for node in nodes] if self.notes else (),
        ), nodes

    def _check_roots(self, roots: Sequence[int]) -> None:
        if not roots:
            raise TreeError("a subtree needs at least one node")
        counts = Counter(roots)
        for node in roots:
            overlapping = [step for step in self.path(node) if counts[step] > (step == node)]
            if overlapping:
                raise TreeError(
                    f"{self.names[node]!r} must not be the same as, or below, {self.names[overlapping[0]]!r}, "
                    "another node of the list"
                )

    def below(self, node: int) -> Bool[np.ndarray, " n"]:
        """Which nodes are the given one or lie below it."""
        return self._at_or_below(np.array([node]))

    def _at_or_below(self, roots: Int64[np.ndarray, " m"]) -> Bool[np.ndarray, " n"]:
        inside = np.zeros(len(self), dtype=bool)
        inside[roots] = True
        for level in self._levels:
            inside[level] |= inside[self.parents[level]]
        return inside

    def softmax(self, logits: Float[np.ndarray, "*batch n"]) -> Float[np.ndarray, "*batch n"]:
        """Conditional probabilities P(node | parent): a softmax over every sibling group."""
        highest = np.maximum.reduceat(logits, self.group_offsets, axis=-1)
        exponentials = np.exp(logits - highest[..., self.groups])
        totals = np.add.reduceat(exponentials, self.group_offsets, axis=-1)
        return np.asarray(exponentials / totals[..., self.groups])

    def probabilities(self, conditionals: Float[np.ndarray, "*batch n"]) -> Float[np.ndarray, "*batch n"]:
        """Absolute probabilities P(node): the product of P(node | parent) along the path (§4)."""
        absolute = conditionals.copy()
        for level in self._levels:
            absolute[..., level] *= absolute[..., self.parents[level]]
        return absolute

    def decode(
        self,
        conditionals_of: Callable[
            [Int64[np.ndarray, " m"], Int64[np.ndarray, " m"]], Float[np.ndarray, " sizes_of_groups"]
        ],
        count: int,
        hier_thresh: float,
        rule: DecodingRule = "conditional",
    ) -> TreePaths:
        """Hierarchical decoding: go to the most probable child as long as the path stays probable enough (§4).

        Only the sibling groups on the path are evaluated. The most probable root is accepted whatever its probability.

        Args:
            conditionals_of: called with objects and a sibling group for each; returns the conditional probabilities of
                these groups, one group after the other.
            count: number of objects.
            hier_thresh: a node is entered if the probability of its path is above this.
            rule: how that probability is computed; see `DecodingRule`.

        Returns:
            One path for each object.

        Darknet: src/tree.c hierarchy_top_prediction.
        """
        decodings = Decodings(count)
        objects, groups = np.arange(count), np.zeros(count, np.int64)
        while len(objects):
            conditionals = conditionals_of(objects, groups)
            choices = Choices.of(conditionals, self.group_offsets[groups], self.group_sizes[groups])
            entered = decodings.step(objects, choices, hier_thresh, rule)
            below = self.child_groups[choices.nodes]
            on = entered & (below >= 0)
            objects, groups = objects[on], below[on]
        return decodings.paths()
