"""The nodes listed for a box are enough to decode the tree without the network, whatever the threshold."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.heads import HeadCase, HeadRecipe, heads

from yolo9000.inference.head_output import Candidates, class_probabilities, find_candidates
from yolo9000.inference.probable_nodes import NodeProbabilities, probable_nodes
from yolo9000.inference.settings import DetectionSettings
from yolo9000.inference.tree_decode import decode_tree
from yolo9000.taxonomy.wordtree import TreePath, WordTree

MIN_PROBABILITY = 0.05


def candidates_of(case: HeadCase) -> Candidates:
    return find_candidates(case.dense, 0, case.head, case.image_wh, 0.1)


def decoded(listed: NodeProbabilities, tree: WordTree, hier_thresh: float) -> TreePath:
    """Hierarchical decoding from the listed nodes alone, as a client does it."""
    of_parent: dict[int, list[tuple[float, int]]] = {}
    for node, conditional in zip(listed.nodes.tolist(), listed.conditionals.tolist(), strict=True):
        of_parent.setdefault(int(tree.parents[node]), []).append((-conditional, node))
    nodes: list[int] = []
    conditionals: list[float] = []
    absolute, refused, runner_up = 1.0, None, None
    while siblings := sorted(of_parent.get(nodes[-1] if nodes else -1, [])):
        conditional, node = -siblings[0][0], siblings[0][1]
        likely = absolute * conditional > hier_thresh
        if nodes and not likely:
            refused = (node, conditional)
            break
        absolute *= conditional
        nodes.append(node)
        conditionals.append(conditional)
        runner_up = (siblings[1][1], -siblings[1][0]) if len(siblings) > 1 else None
        if not likely:
            break
    return TreePath(tuple(nodes), tuple(conditionals), refused, runner_up)


@settings(max_examples=25)
@given(recipe=heads("tree"), hier_thresh=st.sampled_from([0.0, 0.02, 0.1, 0.36, 0.5, 0.9]))
def test_the_listed_nodes_decode_as_the_whole_tree_does(recipe: HeadRecipe, hier_thresh: float) -> None:
    case = recipe.make()
    tree, candidates = case.head.tree, candidates_of(case)
    assert tree is not None
    listed = probable_nodes(case.lazy, 0, case.head, candidates, MIN_PROBABILITY)
    paths = decode_tree(case.dense, 0, tree, candidates, DetectionSettings(hier_thresh=hier_thresh))
    assert [decoded(one, tree, hier_thresh) for one in listed] == list(paths)


@settings(max_examples=25)
@given(recipe=heads("tree"))
def test_every_probable_node_is_listed_with_its_ancestors(recipe: HeadRecipe) -> None:
    case = recipe.make()
    tree, candidates = case.head.tree, candidates_of(case)
    assert tree is not None
    conditionals = tree.softmax(case.logits[0][candidates.anchors])
    absolute = tree.probabilities(conditionals)
    for i, listed in enumerate(probable_nodes(case.dense, 0, case.head, candidates, MIN_PROBABILITY)):
        nodes = listed.nodes
        np.testing.assert_array_equal(nodes, np.unique(nodes))
        np.testing.assert_allclose(listed.conditionals, conditionals[i, nodes], atol=1e-6)
        assert set(np.flatnonzero(absolute[i] >= MIN_PROBABILITY + 1e-6)) <= set(nodes.tolist())
        assert {int(tree.parents[node]) for node in nodes} - {-1} <= set(nodes.tolist())
        surplus = [node for node in nodes if absolute[i, node] < MIN_PROBABILITY - 1e-6]
        assert len(surplus) <= 2 * (int(tree.depths.max()) + 1)  # the greedy path and its second best siblings


@pytest.mark.parametrize("kind", ["softmax", "sigmoid"])
def test_of_flat_classes_those_that_reach_the_minimum_are_listed(kind: str) -> None:
    case = HeadRecipe(kind, [-1] * 9, 1, 2, 3, (2, 3), 2, "stretch", (31, 17), 5).make()
    candidates = candidates_of(case)
    probabilities = class_probabilities(case.dense, 0, case.head, candidates)
    listed = probable_nodes(case.lazy, 0, case.head, candidates, MIN_PROBABILITY)
    assert len(listed) == len(probabilities) > 0
    for one, row in zip(listed, probabilities, strict=True):
        np.testing.assert_array_equal(one.nodes, np.flatnonzero(row >= MIN_PROBABILITY))
        np.testing.assert_array_equal(one.conditionals, row[one.nodes])


def test_no_candidates() -> None:
    case = HeadRecipe("tree", [-1, -1, 0, 0], 1, 1, 2, (1, 2), 2, "stretch", (31, 17), 5).make()
    nothing = find_candidates(case.dense, 0, case.head, case.image_wh, 0.999999)
    assert probable_nodes(case.dense, 0, case.head, nothing, MIN_PROBABILITY) == []
