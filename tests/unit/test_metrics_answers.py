"""Accuracy and calibration of answers by hand."""

from __future__ import annotations

import numpy as np
import pytest
from support.small_tree import CAT, CUP, DOG, HOUND, TERRIER, TREE, answer, nodes

from yolo9000.evaluation.calibration import path_steps, reliability, reliability_by_depth
from yolo9000.evaluation.classification import accuracy_by_depth, top_k_accuracy

# --- accuracy


def test_top_k() -> None:
    scores = np.array([[0.1, 0.5, 0.4], [0.6, 0.3, 0.1], [0.2, 0.3, 0.5], [0.3, 0.3, 0.4]])
    labels = nodes(2, 0, 0, 1)
    # ranks of the true classes: second, first, third, third (its equal, class 0, comes first)
    assert [top_k_accuracy(scores, labels, k) for k in (1, 2, 3, 5)] == [1 / 4, 2 / 4, 1, 1]


def test_top_1_is_argmax_where_scores_are_equal() -> None:
    scores = np.full((3, 4), 0.25)
    assert top_k_accuracy(scores, nodes(0, 1, 3)) == pytest.approx(1 / 3)
    assert top_k_accuracy(scores, nodes(0, 1, 3), 2) == pytest.approx(2 / 3)


def test_top_k_refuses_what_has_no_meaning() -> None:
    assert np.isnan(top_k_accuracy(np.empty((0, 5)), nodes()))
    with pytest.raises(ValueError, match="labels must be 0 to 2, got 1 to 3"):
        top_k_accuracy(np.zeros((2, 3)), nodes(1, 3))
    with pytest.raises(ValueError, match="scores must be numbers, got NaN"):
        top_k_accuracy(np.full((1, 3), np.nan), nodes(1))


def test_accuracy_by_depth() -> None:
    answers, gts = nodes(HOUND, CAT, CUP, DOG), nodes(TERRIER, DOG, CUP, TERRIER)
    # depth 0: all; depth 1: not the cat; depth 2: only the cup
    assert accuracy_by_depth(answers, gts, TREE).tolist() == [1, 3 / 4, 1 / 4]
    assert np.isnan(accuracy_by_depth(nodes(), nodes(), TREE)).tolist() == [True] * 3


# --- calibration


def test_reliability_by_hand() -> None:
    confidence = np.array([0.1, 0.2, 0.3, 0.9, 0.8, 0.7])
    correct = np.array([False, True, False, True, True, False])
    bins = reliability(confidence, correct, bins=2)
    assert bins.edges.tolist() == [0, 0.5, 1]
    assert bins.counts.tolist() == [3, 3]
    assert bins.confidence.tolist() == pytest.approx([0.2, 0.8])
    assert bins.accuracy.tolist() == pytest.approx([1 / 3, 2 / 3])
    # gaps 1/3 - .2 = 2/15 and .8 - 2/3 = 2/15
    assert (bins.ece, bins.mce) == pytest.approx((2 / 15, 2 / 15))


def test_bins_hold_their_upper_edge() -> None:
    bins = reliability(np.array([0.0, 0.25, 0.5, 0.75, 1.0]), np.ones(5, bool), bins=4)
    assert bins.counts.tolist() == [2, 1, 1, 1]


def test_empty_bins() -> None:
    bins = reliability(np.array([0.9, 1.0]), np.array([True, False]), bins=4)
    assert bins.counts.tolist() == [0, 0, 0, 2]
    assert np.isnan(bins.accuracy).tolist() == [True, True, True, False]
    # only the last bin has answers: .95 against 1/2
    assert (bins.ece, bins.mce) == pytest.approx((0.45, 0.45))


def test_bins_of_equal_count_do_not_part_equals() -> None:
    confidence = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
    assert reliability(confidence, np.ones(6, bool), 3, "count").counts.tolist() == [2, 2, 2]
    equal = np.array([0.1, 0.5, 0.5, 0.5, 0.5, 0.9])
    bins = reliability(equal, np.ones(6, bool), 3, "count")
    assert (bins.edges.tolist(), bins.counts.tolist()) == ([0, 0.5, 1], [5, 1])


def test_bins_of_equal_count_of_the_surest() -> None:
    bins = reliability(np.ones(4), np.array([True, True, True, False]), 2, "count")
    assert (bins.edges.tolist(), bins.counts.tolist()) == ([0, 1], [4])
    assert bins.ece == 0.25


@pytest.mark.parametrize("scheme", ["width", "count"])
def test_calibration_of_nothing(scheme: str) -> None:
    bins = reliability(np.empty(0), np.empty(0, bool), 3, scheme)  # type: ignore[arg-type]
    assert bins.counts.sum() == 0
    assert np.isnan([bins.ece, bins.mce]).all()


def test_calibration_refuses_what_has_no_meaning() -> None:
    with pytest.raises(ValueError, match=r"confidences must be in \[0, 1\], got 0.5 to 1.5"):
        reliability(np.array([0.5, 1.5]), np.ones(2, bool))
    with pytest.raises(ValueError, match="confidences must be"):
        reliability(np.array([np.nan]), np.ones(1, bool))
    with pytest.raises(ValueError, match="bins must be at least 1, got 0"):
        reliability(np.array([0.5]), np.ones(1, bool), bins=0)


def test_steps_of_paths() -> None:
    answers = [
        answer((0, 0.9), (DOG, 0.6), (TERRIER, 0.3)),  # a hound: animal and dog are right
        answer((0, 0.8), (DOG, 0.5), (TERRIER, 0.4)),  # a dog: whether it is a terrier nobody knows
        answer((1, 0.7)),  # a cup: thing is right
        answer((1, 0.5), (CUP, 0.25)),  # a cat: all wrong
    ]
    steps = path_steps(answers, nodes(HOUND, DOG, CUP, CAT), TREE)
    assert steps.confidence.tolist() == [0.9, 0.6, 0.3, 0.8, 0.5, 0.7, 0.5, 0.25]
    assert steps.depths.tolist() == [0, 1, 2, 0, 1, 0, 0, 1]
    assert steps.correct.tolist() == [True, True, False, True, True, True, False, False]
    by_depth = reliability_by_depth(steps, bins=1)
    # depth 0: three of four right at .725; depth 1: two of three at .45; depth 2: none of one at .3
    assert list(by_depth) == [0, 1, 2]
    assert [bins.ece for bins in by_depth.values()] == pytest.approx([0.025, 2 / 3 - 0.45, 0.3])
