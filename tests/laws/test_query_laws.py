"""Laws of asking for a part of the tree, and for a level of it."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from support.heads import HeadRecipe, heads, parents_of_trees, tree_of

from yolo9000.errors import TreeError
from yolo9000.inference.decode import decode
from yolo9000.inference.head_output import find_candidates, node_scores
from yolo9000.inference.query import Query, Subtree
from yolo9000.inference.settings import DetectionSettings
from yolo9000.inference.tree_decode import decode_tree, decode_within

EVERYTHING = DetectionSettings(conf_threshold=0.0, hier_thresh=0.0)


def parts_of(tree_size: int, parents: list[int], data: st.DataObject) -> tuple[int, ...]:
    """Some nodes, none of them below another."""
    tree = tree_of(parents)
    chosen: list[int] = []
    for node in data.draw(st.permutations(range(tree_size)))[: data.draw(st.integers(1, 5))]:
        if not any(tree.below(node)[other] or tree.below(other)[node] for other in chosen):
            chosen.append(node)
    return tuple(chosen)


@settings(deadline=None, max_examples=60)
@given(recipe=heads("tree", images=st.just(1)), data=st.data())
def test_a_part_has_the_whole_trees_probabilities_over_its_own(recipe: HeadRecipe, data: st.DataObject) -> None:
    case = recipe.make()
    tree = case.head.tree
    assert tree is not None
    roots = parts_of(len(tree), recipe.parents, data)
    candidates = find_candidates(case.lazy, 0, case.head, case.image_wh, 0.0)
    objectness, paths = decode_within(case.lazy, 0, tree, Subtree.of(tree, roots), candidates, EVERYTHING)
    of_all = node_scores(case.dense, 0, tree, candidates, np.arange(len(tree)))  # objectness x P(node)
    inside = of_all[:, sorted(roots)].sum(axis=1)
    np.testing.assert_allclose(objectness, inside, rtol=1e-4)
    for row, path in enumerate(paths):
        assert path.nodes[0] in roots
        assert tree.path(path.nodes[-1])[-len(path.nodes) :] == path.nodes
        assert tree.leaves[path.nodes[-1]]  # nothing is too unlikely here
        ours = objectness[row] * math.prod(path.conditionals)
        assert ours == pytest.approx(of_all[row, path.nodes[-1]], rel=1e-3, abs=1e-7)
        best_top = max(roots, key=lambda node, row=row: of_all[row, node])
        assert of_all[row, path.nodes[0]] == pytest.approx(of_all[row, best_top], rel=1e-4)


@settings(deadline=None, max_examples=40)
@given(recipe=heads("tree", images=st.just(1)))
def test_asking_for_all_top_nodes_asks_for_the_tree(recipe: HeadRecipe) -> None:
    case = recipe.make()
    tree = case.head.tree
    assert tree is not None
    candidates = find_candidates(case.dense, 0, case.head, case.image_wh, 0.0)
    plain = decode_tree(case.dense, 0, tree, candidates, EVERYTHING)
    every_root = Subtree.of(tree, tuple(tree.children(-1)))
    objectness, paths = decode_within(case.dense, 0, tree, every_root, candidates, EVERYTHING)
    np.testing.assert_allclose(objectness, candidates.objectness, rtol=1e-5)
    for ours, theirs in zip(paths, plain, strict=True):
        np.testing.assert_allclose(ours.conditionals, theirs.conditionals, rtol=1e-4)


@settings(deadline=None, max_examples=40)
@given(recipe=heads("tree", images=st.just(1)), data=st.data())
def test_the_scores_of_a_level_that_divides_the_tree_sum_to_objectness(recipe: HeadRecipe, data: st.DataObject) -> None:
    case = recipe.make()
    tree = case.head.tree
    assert tree is not None
    depth = data.draw(st.integers(0, int(tree.depths.max())))
    level = np.flatnonzero((tree.depths == depth) | ((tree.depths < depth) & tree.leaves))
    candidates = find_candidates(case.lazy, 0, case.head, case.image_wh, 0.0)
    scores = node_scores(case.lazy, 0, tree, candidates, level)
    np.testing.assert_allclose(scores.sum(axis=1), candidates.objectness, rtol=1e-4)


@settings(deadline=None, max_examples=40)
@given(recipe=heads("tree", images=st.just(1)), data=st.data())
def test_a_detection_within_a_part_lies_there_and_its_path_begins_there(
    recipe: HeadRecipe, data: st.DataObject
) -> None:
    case = recipe.make()
    tree = case.head.tree
    assert tree is not None
    roots = parts_of(len(tree), recipe.parents, data)
    query = Query(within=Subtree.of(tree, roots))
    detections = decode(case.dense, 0, case.head, case.image_wh, DetectionSettings(conf_threshold=0.01), query)
    assume(len(detections))
    for label, name, answer in zip(detections.labels, detections.names, detections.answers, strict=True):
        assert any(tree.below(top)[label] for top in roots)
        assert name == tree.names[label]
        assert answer.path[0].node in roots
        assert answer.path[-1].node == label


@given(parents=parents_of_trees(st.integers(1, 30)), data=st.data())
def test_a_subtree_has_the_nodes_below_and_their_parents(parents: list[int], data: st.DataObject) -> None:
    tree = tree_of(parents)
    roots = parts_of(len(tree), parents, data)
    part, nodes = tree.subtree(roots)
    part.check_groups_contiguous()
    assert set(nodes.tolist()) == set(np.flatnonzero(np.any([tree.below(top) for top in roots], axis=0)).tolist())
    assert [tree.ids[node] for node in nodes] == list(part.ids)
    for number, node in enumerate(nodes.tolist()):
        parent = int(part.parents[number])
        assert (int(nodes[parent]) if parent >= 0 else -1) == (-1 if node in roots else tree.parents[node])


def test_a_part_below_another_is_refused() -> None:
    tree = tree_of([-1, -1, 0, 0])
    for roots in ((0, 2), (2, 0), (1, 1), ()):
        with pytest.raises(TreeError):
            tree.subtree(roots)
