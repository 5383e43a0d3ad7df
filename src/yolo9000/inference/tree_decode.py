"""Hierarchical decoding: from class logits to the most specific node of a label tree that is probable enough (§4).

Only the sibling groups on a candidate's path are scored. Of YOLO9000's 9,418 nodes that is a small fraction.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from itertools import pairwise
from typing import Any, TypeVar, cast

import numpy as np
from jaxtyping import Float32, Float64, Int64

from yolo9000.inference.head_output import Candidates, HeadOutput, conditionals_of, node_scores
from yolo9000.inference.query import Subtree
from yolo9000.inference.settings import DetectionSettings
from yolo9000.taxonomy.wordtree import TreePaths, WordTree
from yolo9000.types import PathStep, TreeAnswer

__all__ = ["decode_tree", "decode_within", "tree_answers"]

T = TypeVar("T")


def decode_tree(
    output: HeadOutput, image: int, tree: WordTree, candidates: Candidates, settings: DetectionSettings
) -> TreePaths:
    """The path of every candidate down the tree."""
    conditionals = conditionals_of(output.class_logits, image, tree, candidates)
    return tree.decode(conditionals, len(candidates.anchors), settings.hier_thresh, settings.hier_decoding)


def decode_within(
    output: HeadOutput,
    image: int,
    tree: WordTree,
    within: Subtree,
    candidates: Candidates,
    settings: DetectionSettings,
) -> tuple[Float32[np.ndarray, " m"], TreePaths]:
    """The path of every candidate down a part of the tree, with P(node | the object lies in that part).

    Args:
        output: the network's output for a batch.
        image: index of the image in the batch.
        tree: the whole tree.
        within: the part of it.
        candidates: the boxes.
        settings: when decoding stops.

    Returns:
        The objectness of each candidate times the probability that it lies in the part; and the paths, which begin at
        a root of the part, in nodes of the whole tree.
    """
    of_roots = node_scores(output, image, tree, candidates, within.nodes[: len(within.roots)])
    objectness = of_roots.sum(axis=1)
    with np.errstate(invalid="ignore"):
        fractions = np.nan_to_num(of_roots / objectness[:, None])
    conditionals_in_tree = conditionals_of(output.class_logits, image, tree, candidates)
    part, nodes = within.tree, within.nodes

    def conditionals(items: Int64[np.ndarray, " m"], groups: Int64[np.ndarray, " m"]) -> np.ndarray:
        if groups[0] == 0:  # the roots of the part, at which all paths begin
            return np.asarray(fractions[items].ravel())
        return conditionals_in_tree(items, tree.groups[nodes[part.group_offsets[groups]]])

    paths = part.decode(conditionals, len(candidates.anchors), settings.hier_thresh, settings.hier_decoding)
    return objectness, paths.renumbered(nodes)


def tree_answers(tree: WordTree, paths: TreePaths) -> tuple[TreeAnswer, ...]:
    """Paths with the names of their nodes and their absolute probabilities."""
    absolute = np.cumprod(paths.conditionals, axis=1)
    inside = paths.nodes >= 0
    steps = _steps(tree, paths.nodes[inside], paths.conditionals[inside], absolute[inside])
    ends = np.cumsum(paths.lengths).tolist()
    above = np.insert(absolute, 0, 1, axis=1)[np.arange(len(paths)), paths.lengths - 1]
    next_best = _steps(
        tree, paths.refused_nodes, paths.refused_conditionals, paths.probabilities * paths.refused_conditionals
    )
    runners_up = _steps(tree, paths.runner_up_nodes, paths.runner_up_conditionals, above * paths.runner_up_conditionals)
    return tuple(
        _tuples(
            TreeAnswer,
            (tuple(steps[begin:end]) for begin, end in pairwise([0, *ends])),
            np.where(tree.leaves[paths.labels], "leaf", "hier_thresh").tolist(),
            (step if step.node >= 0 else None for step in next_best),
            (step if step.node >= 0 else None for step in runners_up),
        )
    )


def _steps(
    tree: WordTree,
    nodes: Int64[np.ndarray, " m"],
    conditionals: Float64[np.ndarray, " m"],
    probabilities: Float64[np.ndarray, " m"],
) -> list[PathStep]:
    listed = nodes.tolist()
    return _tuples(
        PathStep, listed, [tree.names[node] for node in listed], conditionals.tolist(), probabilities.tolist()
    )


def _tuples(kind: type[T], *columns: Iterable[object]) -> list[T]:
    """Named tuples of some kind, twice as fast as by calling it."""
    return list(map(partial(tuple.__new__, cast("Any", kind)), zip(*columns, strict=True)))
