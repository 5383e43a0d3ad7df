"""Hierarchical decoding: from class logits to the most specific node of a label tree that is probable enough (§4).

Only the sibling groups on a candidate's path are scored. Of YOLO9000's 9,418 nodes that is a small fraction.
"""

from __future__ import annotations

from itertools import accumulate
from operator import mul

import numpy as np
from jaxtyping import Float32, Int64

from yolo9000.inference.head_output import Candidates, HeadOutput, conditionals_of, node_scores
from yolo9000.inference.query import Subtree
from yolo9000.inference.settings import DetectionSettings
from yolo9000.taxonomy.wordtree import TreePath, WordTree
from yolo9000.types import PathStep, TreeAnswer

__all__ = ["decode_tree", "decode_within", "in_whole_tree", "tree_answer"]


def decode_tree(
    output: HeadOutput, image: int, tree: WordTree, candidates: Candidates, settings: DetectionSettings
) -> list[TreePath]:
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
) -> tuple[Float32[np.ndarray, " m"], list[TreePath]]:
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
    return objectness, [in_whole_tree(path, nodes) for path in paths]


def in_whole_tree(path: TreePath, nodes: Int64[np.ndarray, " m"]) -> TreePath:
    """A path in a part of a tree in nodes of the whole tree, which ``nodes`` has for each node of the part."""
    steps = tuple(int(nodes[node]) for node in path.nodes)
    return TreePath(steps, path.conditionals, _renumbered(path.refused, nodes), _renumbered(path.runner_up, nodes))


def _renumbered(choice: tuple[int, float] | None, nodes: Int64[np.ndarray, " m"]) -> tuple[int, float] | None:
    return None if choice is None else (int(nodes[choice[0]]), choice[1])


def tree_answer(tree: WordTree, path: TreePath) -> TreeAnswer:
    """A path with the names of its nodes and their absolute probabilities."""
    absolute = accumulate(path.conditionals, mul)
    steps = tuple(
        _step(tree, node, conditional, probability)
        for node, conditional, probability in zip(path.nodes, path.conditionals, absolute, strict=True)
    )
    above = steps[-2].probability if len(steps) > 1 else 1.0
    return TreeAnswer(
        path=steps,
        stopped="leaf" if tree.leaves[path.nodes[-1]] else "hier_thresh",
        next_best=_step_below(tree, path.refused, steps[-1].probability),
        runner_up=_step_below(tree, path.runner_up, above),
    )


def _step_below(tree: WordTree, choice: tuple[int, float] | None, above: float) -> PathStep | None:
    return None if choice is None else _step(tree, choice[0], choice[1], above * choice[1])


def _step(tree: WordTree, node: int, conditional: float, probability: float) -> PathStep:
    return PathStep(node, tree.names[node], conditional, probability)
