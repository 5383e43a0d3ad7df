"""Evidence for the label of one object from several detections of it: frames of a track, tiles of an image.

Each detection gives probabilities to the nodes that its decoding looked at: those of its path, the child that it
refused and the runner-up. Their weighted means are decoded like the output of a network. A node's evidence is at most
its parent's, so that a terrier in one frame and a hound in the next are a dog.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from functools import partial

import numpy as np
from jaxtyping import Float, Int64

from yolo9000.inference.query import Query
from yolo9000.inference.settings import DetectionSettings
from yolo9000.inference.tree_decode import tree_answers
from yolo9000.taxonomy.wordtree import WordTree
from yolo9000.types import Detections, PathStep, TreeAnswer

__all__ = ["Evidence", "objectness_of", "related"]


class Evidence:
    """What is known about the label of one object.

    Attributes:
        weight: sum of the weights of what was added.

    Args:
        tree: the label tree; None for flat labels.
        query: which part of the tree the detections are in.
        settings: when decoding stops.
    """

    def __init__(self, tree: WordTree | None, settings: DetectionSettings, query: Query | None = None) -> None:
        self.weight = 0.0
        self._tree = tree
        self._settings = settings
        self._part = query.within if query else None
        self._sums: defaultdict[int, float] = defaultdict(float)

    def add(self, detections: Detections, i: int, weight: float = 1.0) -> None:
        """Add one of some detections; it counts in proportion to its objectness and the weight."""
        weight *= objectness_of(detections, i, self._settings)
        self.weight += weight
        for node, probability in _probabilities(detections, i).items():
            self._sums[node] += weight * probability

    def merge(self, other: Evidence) -> None:
        """Add all that another one has."""
        self.weight += other.weight
        for node, total in other._sums.items():
            self._sums[node] += total

    def probability(self, label: int) -> float:
        """The weighted mean probability of a label."""
        return self._sums[label] / self.weight if label in self._sums and self.weight else 0.0

    def label(self) -> tuple[int, float, TreeAnswer | None]:
        """The label, its probability and on a tree its path: the deepest node whose probability is high enough."""
        if self._tree is None:
            best = max(self._sums, key=lambda label: (self._sums[label], -label))
            return best, self.probability(best), None
        answer = self._decode(self._tree)
        return answer.path[-1].node, answer.path[-1].probability, answer

    def _decode(self, tree: WordTree) -> TreeAnswer:
        part = self._part.tree if self._part else tree
        nodes = self._part.nodes if self._part else np.arange(len(tree))
        conditionals = partial(self._conditionals, part, nodes)
        paths = part.decode(conditionals, 1, self._settings.hier_thresh, self._settings.hier_decoding)
        return tree_answers(tree, paths.renumbered(nodes))[0]

    def _conditionals(
        self,
        part: WordTree,
        nodes: Int64[np.ndarray, " n"],
        _: Int64[np.ndarray, " 1"],
        groups: Int64[np.ndarray, " 1"],
    ) -> Float[np.ndarray, " size"]:
        """The mean probabilities of a sibling group given their parent."""
        first, size = int(part.group_offsets[groups[0]]), int(part.group_sizes[groups[0]])
        parent = int(part.parents[first])
        above = self._sums[int(nodes[parent])] if parent >= 0 else self.weight
        sums = [self._sums.get(int(node), 0.0) for node in nodes[first : first + size]]
        return np.array(sums) / (above or 1.0)


def objectness_of(detections: Detections, i: int, settings: DetectionSettings) -> float:
    """The objectness of a detection: its score without the probability of its label; of flat labels the score."""
    score = float(detections.scores[i])
    if not detections.answers or settings.hier_decoding == "darknet":
        return score
    return min(score / max(detections.answers[i].path[-1].probability, 1e-6), 1.0)


def related(detections: Detections, i: int, others: Detections, j: int) -> bool:
    """Whether two detections may be one object by their labels: on a tree those below one root, else equal ones."""
    if detections.answers and others.answers:
        return detections.answers[i].path[0].node == others.answers[j].path[0].node
    return bool(detections.labels[i] == others.labels[j])


def _probabilities(detections: Detections, i: int) -> dict[int, float]:
    if not detections.answers:
        return {int(detections.labels[i]): 1.0}
    answer = detections.answers[i]
    return {step.node: step.probability for step in (*_besides(answer), *answer.path)}


def _besides(answer: TreeAnswer) -> Iterable[PathStep]:
    return (step for step in (answer.next_best, answer.runner_up) if step is not None)
