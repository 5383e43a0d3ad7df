"""The paths that hierarchical decoding takes down a label tree, of many objects at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import overload

import numpy as np
from jaxtyping import Bool, Float, Float64, Int64

from yolo9000.choices import DecodingRule

__all__ = ["Choices", "Decodings", "TreePath", "TreePaths"]

NONE = -1


@dataclass(frozen=True)
class TreePath:
    """The path that hierarchical decoding took for one object.

    Attributes:
        nodes: the path, from a root to the predicted node.
        conditionals: P(node | parent) of each node of the path.
        refused: the most probable child of the predicted node and its conditional probability; None at a leaf, and
            where the root itself did not reach the threshold.
        runner_up: the most probable sibling of the predicted node and its conditional probability; None if it has no
            siblings.
    """

    nodes: tuple[int, ...]
    conditionals: tuple[float, ...]
    refused: tuple[int, float] | None
    runner_up: tuple[int, float] | None


@dataclass(frozen=True, eq=False)
class TreePaths(Sequence[TreePath]):
    """The paths of some objects, in arrays; as a sequence a `TreePath` of each.

    Attributes:
        nodes: of each path, from a root to the predicted node; -1 after its end.
        conditionals: P(node | parent) of each node; 1 after the end.
        refused_nodes: the most probable child of each predicted node; -1 where `TreePath.refused` is None.
        refused_conditionals: its conditional probability.
        runner_up_nodes: the most probable sibling of each predicted node; -1 if it has no siblings.
        runner_up_conditionals: its conditional probability.
    """

    nodes: Int64[np.ndarray, "m depth"]
    conditionals: Float64[np.ndarray, "m depth"]
    refused_nodes: Int64[np.ndarray, " m"]
    refused_conditionals: Float64[np.ndarray, " m"]
    runner_up_nodes: Int64[np.ndarray, " m"]
    runner_up_conditionals: Float64[np.ndarray, " m"]

    def __len__(self) -> int:
        return len(self.nodes)

    @overload
    def __getitem__(self, index: int) -> TreePath: ...

    @overload
    def __getitem__(self, index: slice) -> TreePaths: ...

    def __getitem__(self, index: int | slice) -> TreePath | TreePaths:
        if isinstance(index, slice):
            return self.select(np.arange(len(self))[index])
        length = int(self.lengths[index])
        return TreePath(
            tuple(self.nodes[index, :length].tolist()),
            tuple(self.conditionals[index, :length].tolist()),
            _choice(self.refused_nodes[index], self.refused_conditionals[index]),
            _choice(self.runner_up_nodes[index], self.runner_up_conditionals[index]),
        )

    @cached_property
    def lengths(self) -> Int64[np.ndarray, " m"]:
        """Number of nodes of each path."""
        return np.asarray((self.nodes != NONE).sum(axis=1))

    @property
    def labels(self) -> Int64[np.ndarray, " m"]:
        """The predicted node of each."""
        return np.asarray(self.nodes[np.arange(len(self)), self.lengths - 1])

    @property
    def probabilities(self) -> Float64[np.ndarray, " m"]:
        """The absolute probability of each predicted node: the product of the conditionals."""
        return np.asarray(self.conditionals.prod(axis=1))

    def select(self, indices: Int64[np.ndarray, " k"]) -> TreePaths:
        """The paths at the given indices, in the given order."""
        return TreePaths(
            self.nodes[indices],
            self.conditionals[indices],
            self.refused_nodes[indices],
            self.refused_conditionals[indices],
            self.runner_up_nodes[indices],
            self.runner_up_conditionals[indices],
        )

    def renumbered(self, nodes: Int64[np.ndarray, " n"]) -> TreePaths:
        """The same paths in another tree; ``nodes`` has its node for each node of this one."""
        nodes = np.append(nodes, NONE)
        return TreePaths(
            nodes[self.nodes],
            self.conditionals,
            nodes[self.refused_nodes],
            self.refused_conditionals,
            nodes[self.runner_up_nodes],
            self.runner_up_conditionals,
        )


def _choice(node: np.int64, conditional: np.float64) -> tuple[int, float] | None:
    return None if node == NONE else (int(node), float(conditional))


@dataclass(frozen=True)
class Choices:
    """The most probable node of a sibling group for each of some objects, and the second; -1 where there is none."""

    nodes: Int64[np.ndarray, " m"]
    conditionals: Float[np.ndarray, " m"]
    second_nodes: Int64[np.ndarray, " m"]
    second_conditionals: Float[np.ndarray, " m"]

    @classmethod
    def of(
        cls,
        conditionals: Float[np.ndarray, " sizes_of_groups"],
        first_nodes: Int64[np.ndarray, " m"],
        sizes: Int64[np.ndarray, " m"],
    ) -> Choices:
        """Choices from the conditional probabilities of a group for each object, in one row; of equal ones the first.

        Args:
            conditionals: of one group after the other.
            first_nodes: first node of each group.
            sizes: number of nodes of each group.
        """
        inside = np.arange(sizes.max()) < sizes[:, None]
        by_group = np.full(inside.shape, -1, conditionals.dtype)
        by_group[inside] = conditionals
        each, best = np.arange(len(sizes)), by_group.argmax(axis=1)
        of_best = by_group[each, best]
        by_group[each, best] = -1
        second = by_group.argmax(axis=1)
        second_nodes = np.where(sizes > 1, first_nodes + second, NONE)
        return cls(first_nodes + best, of_best, second_nodes, by_group[each, second])

    @classmethod
    def joined(cls, parts: Sequence[Choices]) -> Choices:
        """One after the other."""
        return cls(*(np.concatenate(column) for column in zip(*(vars(part).values() for part in parts), strict=True)))


class Decodings:
    """Hierarchical decoding of some objects, in progress: one level of the tree after the other."""

    def __init__(self, count: int) -> None:
        self._objects: list[Int64[np.ndarray, " m"]] = []
        self._choices: list[Choices] = []
        self._entered: list[Bool[np.ndarray, " m"]] = []
        self._absolute, self._weights = np.ones(count), np.ones(count)

    def step(
        self, objects: Int64[np.ndarray, " m"], choices: Choices, threshold: float, rule: DecodingRule
    ) -> Bool[np.ndarray, " m"]:
        """Enter the best node of a sibling group if it is probable enough; returns which objects go on below it."""
        self._absolute[objects] *= choices.conditionals
        self._weights[objects] *= choices.conditionals if rule == "conditional" else self._absolute[objects]
        likely = np.asarray(self._weights[objects] > threshold)
        self._entered.append(likely if self._objects else np.ones_like(likely))
        self._objects.append(objects)
        self._choices.append(choices)
        return likely

    def paths(self) -> TreePaths:
        """The paths so far."""
        count, levels = len(self._absolute), len(self._objects)
        level = np.repeat(np.arange(levels), np.array([len(objects) for objects in self._objects], np.int64))
        objects = np.concatenate([np.zeros(0, np.int64), *self._objects])
        entered = np.concatenate([np.zeros(0, bool), *self._entered])
        choices = Choices.joined([NO_CHOICES, *self._choices])
        inside, outside = objects[entered], objects[~entered]
        return TreePaths(
            _filled((count, max(levels, 1)), NONE, (inside, level[entered]), choices.nodes[entered]),
            _filled((count, max(levels, 1)), 1.0, (inside, level[entered]), choices.conditionals[entered]),
            _filled((count,), NONE, (outside,), choices.nodes[~entered]),
            _filled((count,), 0.0, (outside,), choices.conditionals[~entered]),
            _filled((count,), NONE, (inside,), choices.second_nodes[entered]),  # of several levels the last one counts
            _filled((count,), 0.0, (inside,), choices.second_conditionals[entered]),
        )


NO_CHOICES = Choices(np.zeros(0, np.int64), np.zeros(0), np.zeros(0, np.int64), np.zeros(0))


def _filled(shape: tuple[int, ...], other: int | float, at: tuple[np.ndarray, ...], values: np.ndarray) -> np.ndarray:
    """An array with values at some indices, and another value elsewhere."""
    array = np.full(shape, other)
    array[at] = values
    return array
