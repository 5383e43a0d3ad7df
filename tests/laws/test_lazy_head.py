"""Class scores on demand equal those computed in full, and every tree path agrees with its probabilities."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.heads import HeadCase, HeadRecipe, detection_settings, heads

from yolo9000.inference.decode import decode, label_candidates
from yolo9000.inference.head_output import find_candidates
from yolo9000.inference.query import Query
from yolo9000.inference.settings import DetectionSettings
from yolo9000.types import Detections, TreeAnswer

DECODINGS = ("conditional", "darknet")
SUPPRESSIONS = ("label", "path", "objectness", None)
CLOSE = 1e-6


def assert_identical(ours: Detections, theirs: Detections) -> None:
    np.testing.assert_array_equal(ours.boxes_xyxy, theirs.boxes_xyxy)
    np.testing.assert_array_equal(ours.scores, theirs.scores)
    np.testing.assert_array_equal(ours.labels, theirs.labels)
    assert ours.names == theirs.names
    assert ours.size_wh == theirs.size_wh
    assert ours.answers == theirs.answers


@settings(deadline=None, max_examples=10)
@given(recipe=heads(), chosen=detection_settings())
def test_on_demand_equals_in_full(recipe: HeadRecipe, chosen: DetectionSettings) -> None:
    case = recipe.make()
    for image, decoding, suppression in product(range(recipe.images), DECODINGS, SUPPRESSIONS):
        how = chosen.model_copy(update={"hier_decoding": decoding, "suppression": suppression})
        lazy = decode(case.lazy, image, case.head, case.image_wh, how)
        dense = decode(case.dense, image, case.head, case.image_wh, how)
        assert_identical(lazy, dense)


@settings(deadline=None, max_examples=60)
@given(recipe=heads("tree"), chosen=detection_settings(), data=st.data())
def test_chosen_nodes_on_demand_equal_in_full(
    recipe: HeadRecipe, chosen: DetectionSettings, data: st.DataObject
) -> None:
    """A coarser set of classes: chosen nodes of the tree, in any order, some of them twice."""
    case = recipe.make()
    nodes = data.draw(st.lists(st.integers(0, len(case.head.names) - 1), min_size=1, max_size=8))
    query = Query(nodes=np.array(nodes, np.int64), labels=tuple(f"class {i}" for i in range(len(nodes))))
    lazy = decode(case.lazy, 0, case.head, case.image_wh, chosen, query)
    assert_identical(lazy, decode(case.dense, 0, case.head, case.image_wh, chosen, query))
    assert lazy.answers == ()


# Each detection stands for one anchor: nothing is suppressed at IoU 1 and nothing cut off.
EVERY = {"nms_iou": 1.0, "suppression": "objectness", "max_detections": 100_000}


@settings(deadline=None, max_examples=100)
@given(recipe=heads("tree", images=st.just(1)), chosen=detection_settings(**EVERY))
def test_answers_are_what_the_full_arrays_say(recipe: HeadRecipe, chosen: DetectionSettings) -> None:
    case = recipe.make()
    tree = case.head.tree
    assert tree is not None
    detections = decode(case.lazy, 0, case.head, case.image_wh, chosen)
    candidates = find_candidates(case.lazy, 0, case.head, case.image_wh, chosen.conf_threshold)
    labelled = label_candidates(case.lazy, 0, case.head, candidates, chosen)
    best_first = labelled.candidates[np.argsort(-labelled.scores, kind="stable")]
    assert len(detections) == len(detections.answers) == len(best_first)
    conditionals = tree.softmax(case.logits[0, candidates.anchors[best_first]])
    absolute = tree.probabilities(conditionals)
    for i, answer in enumerate(detections.answers):
        check_answer(case, answer, conditionals[i], absolute[i], chosen)
        objectness = float(candidates.objectness[best_first[i]])
        fraction = answer.path[-1].probability if chosen.hier_decoding == "conditional" else 1.0
        assert detections.scores[i] == pytest.approx(objectness * fraction, rel=1e-5)
        assert detections.labels[i] == answer.path[-1].node
        assert detections.names[i] == answer.path[-1].name


def check_answer(
    case: HeadCase, answer: TreeAnswer, conditionals: np.ndarray, absolute: np.ndarray, chosen: DetectionSettings
) -> None:
    tree = case.head.tree
    assert tree is not None
    nodes = [step.node for step in answer.path]
    label = nodes[-1]
    assert tuple(nodes) == tree.path(label)
    beside = [step for step in (answer.next_best, answer.runner_up) if step is not None]
    for step in (*answer.path, *beside):
        assert step.name == tree.names[step.node]
        assert step.conditional == pytest.approx(conditionals[step.node], abs=CLOSE)
        assert step.probability == pytest.approx(absolute[step.node], abs=CLOSE)
    assert answer.path[-1].probability == pytest.approx(np.prod([step.conditional for step in answer.path]), rel=1e-12)

    for node in nodes:  # at every split the likeliest
        siblings = np.flatnonzero(tree.parents == tree.parents[node])
        assert conditionals[node] >= conditionals[siblings].max() - CLOSE
    for position in range(1, len(nodes)):  # and likely enough, but for the root
        assert weight(absolute[nodes[: position + 1]], chosen) > chosen.hier_thresh - CLOSE

    children = np.flatnonzero(tree.parents == label)
    if len(children) == 0:
        assert answer.stopped == "leaf"
        assert answer.next_best is None
    else:
        assert answer.stopped == "hier_thresh"
        assert answer.next_best is not None or weight(absolute[nodes], chosen) <= chosen.hier_thresh + CLOSE
    if answer.next_best is not None:
        assert answer.next_best.node in children
        assert answer.next_best.conditional == pytest.approx(conditionals[children].max(), abs=CLOSE)
        assert weight(absolute[[*nodes, answer.next_best.node]], chosen) <= chosen.hier_thresh + CLOSE

    others = [node for node in np.flatnonzero(tree.parents == tree.parents[label]) if node != label]
    if others:
        assert answer.runner_up is not None
        assert answer.runner_up.node in others
        assert answer.runner_up.conditional == pytest.approx(conditionals[others].max(), abs=CLOSE)
    else:
        assert answer.runner_up is None


def weight(absolute_of_path: np.ndarray, chosen: DetectionSettings) -> float:
    """What is compared with ``hier_thresh``: P(node), or the product of P over the path as Darknet takes it."""
    return float(absolute_of_path[-1] if chosen.hier_decoding == "conditional" else np.prod(absolute_of_path))


@settings(deadline=None, max_examples=60)
@given(recipe=heads("tree", images=st.just(1)), chosen=detection_settings(**EVERY))
def test_chosen_nodes_get_their_probability(recipe: HeadRecipe, chosen: DetectionSettings) -> None:
    """All nodes of the tree as classes: objectness x P(node) of every node."""
    case = recipe.make()
    tree = case.head.tree
    assert tree is not None
    query = Query(nodes=np.arange(len(tree)), labels=tree.names)
    candidates = find_candidates(case.lazy, 0, case.head, case.image_wh, 0.0)
    every = chosen.model_copy(update={"conf_threshold": 0.0})
    everything = label_candidates(case.lazy, 0, case.head, candidates, every, query)
    absolute = tree.probabilities(tree.softmax(case.logits[0, candidates.anchors]))
    theirs = candidates.objectness[:, None] * absolute
    ours = np.zeros_like(theirs)
    ours[everything.candidates, everything.labels] = everything.scores
    np.testing.assert_allclose(ours, theirs, atol=CLOSE)
