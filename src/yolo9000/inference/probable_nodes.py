"""The part of a label tree that any hierarchical decoding of a box can reach, for programs that decode it themselves.

The thresholds may then change without the network being run again.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float32, Int64

from yolo9000.architectures.head import Head
from yolo9000.inference.head_output import Candidates, Conditionals, HeadOutput, class_probabilities, conditionals_of
from yolo9000.taxonomy.wordtree import WordTree

__all__ = ["NodeProbabilities", "probable_nodes"]


@dataclass(frozen=True)
class NodeProbabilities:
    """Some nodes of a tree, or classes, and their conditional probabilities for one box.

    Attributes:
        nodes: ascending.
        conditionals: P(node | its parent, object); for flat classes P(class | object).
    """

    nodes: Int64[np.ndarray, " m"]
    conditionals: Float32[np.ndarray, " m"]


def probable_nodes(
    output: HeadOutput, image: int, head: Head, candidates: Candidates, minimum: float
) -> list[NodeProbabilities]:
    """For each candidate the nodes that hierarchical decoding with any ``hier_thresh`` looks at.

    These are the nodes whose absolute probability reaches a minimum; the greedy path from the most probable root to a
    leaf, whatever its probability; and the second most probable sibling of each of its nodes. The ancestors of a node
    are always among them. Of flat classes they are those whose probability reaches the minimum.

    Args:
        output: the network's output for a batch.
        image: index of the image in the batch.
        head: what the output means.
        candidates: the boxes.
        minimum: of an absolute probability.
    """
    if head.tree is None:
        probabilities = class_probabilities(output, image, head, candidates)
        return [_listed(row, np.flatnonzero(row >= minimum)) for row in probabilities]
    return _Search(output, image, head.tree, candidates, minimum).run()


def _listed(row: Float32[np.ndarray, " k"], classes: Int64[np.ndarray, " m"]) -> NodeProbabilities:
    return NodeProbabilities(classes, row[classes])


@dataclass(frozen=True)
class _Part:
    """Some candidates that have reached a sibling group.

    Attributes:
        items: the candidates.
        above: absolute probability of the group's parent for each.
        greedy: whether the parent is on the candidate's greedy path.
    """

    items: Int64[np.ndarray, " m"]
    above: Float32[np.ndarray, " m"]
    greedy: Bool[np.ndarray, " m"]


@dataclass
class _Search:
    """The search of a tree for all candidates of an image, a level at a time."""

    output: HeadOutput
    image: int
    tree: WordTree
    candidates: Candidates
    minimum: float
    columns: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = field(default_factory=list)

    def run(self) -> list[NodeProbabilities]:
        count = len(self.candidates.anchors)
        everyone = _Part(np.arange(count), np.ones(count, np.float32), np.ones(count, bool))
        level = {0: [everyone]} if count else {}
        while level:
            level_below: dict[int, list[_Part]] = {}
            for group, parts in level.items():
                for below, part in self._search(group, _joined(parts)):
                    level_below.setdefault(below, []).append(part)
            level = level_below
        return self._by_candidate(count)

    def _search(self, group: int, part: _Part) -> list[tuple[int, _Part]]:
        """List the nodes of a sibling group; the groups to go on with."""
        conditionals = self.conditionals(part.items, np.full(len(part.items), group)).reshape(len(part.items), -1)
        absolute = part.above[:, None] * conditionals
        best, second = _best_two(conditionals, part.greedy)
        entered = (absolute >= self.minimum) | best
        rows, columns = np.nonzero(entered | second)
        offset = int(self.tree.group_offsets[group])
        self.columns.append((part.items[rows], columns + offset, conditionals[rows, columns]))
        return [
            (below, _Part(part.items[mask], absolute[mask, column], best[mask, column]))
            for column in np.flatnonzero(entered.any(axis=0))
            if (below := int(self.tree.child_groups[offset + column])) >= 0
            for mask in [entered[:, column]]
        ]

    @cached_property
    def conditionals(self) -> Conditionals:
        """See `conditionals_of`."""
        return conditionals_of(self.output.class_logits, self.image, self.tree, self.candidates)

    def _by_candidate(self, count: int) -> list[NodeProbabilities]:
        if not self.columns:
            return []
        items, nodes, conditionals = (np.concatenate(column) for column in zip(*self.columns, strict=True))
        order = np.lexsort((nodes, items))
        starts = np.searchsorted(items[order], np.arange(1, count))
        split = (np.split(values[order], starts) for values in (nodes, conditionals))
        return [NodeProbabilities(*pair) for pair in zip(*split, strict=True)]


def _joined(parts: list[_Part]) -> _Part:
    if len(parts) == 1:
        return parts[0]
    columns = zip(*((part.items, part.above, part.greedy) for part in parts), strict=True)
    return _Part(*(np.concatenate(column) for column in columns))


def _best_two(
    conditionals: Float32[np.ndarray, "m size"], greedy: Bool[np.ndarray, " m"]
) -> tuple[Bool[np.ndarray, "m size"], Bool[np.ndarray, "m size"]]:
    """Where the most probable node of each greedy row is, and the second most probable."""
    rows = np.flatnonzero(greedy)
    best, second = np.zeros_like(conditionals, bool), np.zeros_like(conditionals, bool)
    best[rows, conditionals[rows].argmax(axis=1)] = True
    if conditionals.shape[1] > 1:
        second[rows, np.where(best[rows], -1, conditionals[rows]).argmax(axis=1)] = True
    return best, second
