"""Scores on a label tree by hand.

animal 0            thing 1          paths: terrier = animal, dog, terrier
dog 2  cat 3  bird 4    cup 5        credit of cat for terrier: 1 of 3 nodes; of dog: 2 of 3; of cup: none
terrier 6  hound 7
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from support.scored import NOWHERE, A, B, C, GtBox, PredictedBox, scored_of
from support.small_tree import ANIMAL, BIRD, CAT, CUP, DOG, HOUND, TERRIER, TREE, nodes

from yolo9000.evaluation.label_only import split
from yolo9000.evaluation.scored import Scored
from yolo9000.evaluation.tree_ap import ap_by_depth, credited_ap, credited_precision_recall, cut_at_depths
from yolo9000.evaluation.tree_paths import Lineage, deepest_kept
from yolo9000.evaluation.tree_severity import localize, risk_curve, severity
from yolo9000.evaluation.voc import ApByClass, voc_ap
from yolo9000.taxonomy.wordtree import WordTree


def scored_tree(gts: list[GtBox], preds: list[PredictedBox]) -> Scored:
    return scored_of(gts, preds, classes=len(TREE))


def at_depth(depth: int, gts: list[GtBox], preds: list[PredictedBox]) -> Scored:
    return list(cut_at_depths(scored_tree(gts, preds), TREE))[depth]


# --- paths


def test_lineage() -> None:
    lineage = Lineage.of(TREE)
    assert lineage.paths.tolist() == [
        [0, -1, -1],
        [1, -1, -1],
        [0, 2, -1],
        [0, 3, -1],
        [0, 4, -1],
        [1, 5, -1],
        [0, 2, 6],
        [0, 2, 7],
    ]
    assert lineage.lengths.tolist() == [1, 1, 2, 2, 2, 2, 3, 3]


def test_credit_and_distance() -> None:
    lineage = Lineage.of(TREE)
    answers = nodes(TERRIER, DOG, ANIMAL, HOUND, CAT, CUP)
    terriers = np.full(6, TERRIER)
    # nodes shared with animal-dog-terrier, of 3
    assert lineage.credit(answers, terriers).tolist() == [1, 2 / 3, 1 / 3, 2 / 3, 1 / 3, 0]
    # hound-dog-terrier: 2; cat-animal-dog-terrier: 3; cup-thing-root-animal-dog-terrier: 5
    assert lineage.distance(answers, terriers).tolist() == [0, 1, 2, 2, 3, 5]
    # the ground truth is a dog: a terrier is right as far as is known, and 1 edge away
    assert lineage.credit(nodes(TERRIER), nodes(DOG)).tolist() == [1]
    assert lineage.distance(nodes(TERRIER), nodes(DOG)).tolist() == [1]
    assert lineage.above(nodes(DOG, TERRIER, DOG, CAT), nodes(TERRIER, DOG, DOG, DOG)).tolist() == [
        True,
        False,
        True,
        False,
    ]


def test_siblings_need_not_stand_side_by_side() -> None:
    # 0 and 1 at the top; 2, 3 under 1; 4 under 3; 5 under 0; 6 under 1
    lineage = Lineage.of(WordTree.from_parents([-1, -1, 1, 1, 3, 0, 1]))
    assert lineage.paths.tolist() == [
        [0, -1, -1],
        [1, -1, -1],
        [1, 2, -1],
        [1, 3, -1],
        [1, 3, 4],
        [0, 5, -1],
        [1, 6, -1],
    ]


@pytest.mark.parametrize(
    "score", [ap_by_depth, credited_ap, severity, lambda scored, tree: next(cut_at_depths(scored, tree))]
)
def test_labels_must_be_nodes(score: Callable[[Scored, WordTree], object]) -> None:
    with pytest.raises(ValueError, match="labels must be the 8 nodes of the tree, got 2 labels"):
        score(scored_of([(0, A)], [(0, A, 0.9)]), TREE)


# --- rolling up


def test_deepest_kept() -> None:
    assert deepest_kept(TREE, TREE.depths <= 0).tolist() == [0, 1, 0, 0, 0, 1, 0, 0]
    assert deepest_kept(TREE, TREE.depths <= 1).tolist() == [0, 1, 2, 3, 4, 5, 2, 2]
    kept = np.zeros(8, bool)
    kept[[DOG, HOUND]] = True
    assert deepest_kept(TREE, kept).tolist() == [0, 1, 2, 3, 4, 5, 2, 7]


def test_ap_by_depth() -> None:
    gts: list[GtBox] = [(TERRIER, A), (CAT, B)]
    preds = [(HOUND, A, 0.9), (CAT, B, 0.8), (CUP, C, 0.7)]
    depths = ap_by_depth(scored_tree(gts, preds), TREE)
    assert len(depths) == 3
    # depth 0: two animals, both matched, and a false thing, which has no objects
    np.testing.assert_array_equal(depths[0].values, [1] + [np.nan] * 7)
    # depth 1: dog and cat, both matched
    np.testing.assert_array_equal(depths[1].values, [np.nan, np.nan, 1, 1] + [np.nan] * 4)
    # depth 2: the terrier is called a hound
    np.testing.assert_array_equal(depths[2].values, [np.nan] * 3 + [1, np.nan, np.nan, 0, np.nan])
    assert [depth.mean for depth in depths] == [1, 1, 1 / 2]


def test_answers_that_are_not_as_deep_stay() -> None:
    depths = ap_by_depth(scored_tree([(TERRIER, A)], [(ANIMAL, A, 0.9)]), TREE)
    # an animal at depth 0; at depth 1 the ground truth is a dog and the answer still an animal
    assert [depth.mean for depth in depths] == [1, 0, 0]


def test_two_labels_of_one_object_become_one() -> None:
    # A terrier and, one column aside (39/41 of overlap), a hound, which becomes a second dog and falls.
    aside = (1, 0, 41, 20)
    preds = [(TERRIER, A, 0.6), (HOUND, aside, 0.9), (HOUND, B, 0.3)]
    dogs = at_depth(1, [(TERRIER, A)], preds)
    assert dogs.gt_labels.tolist() == [DOG]
    assert dogs.pred_labels.tolist() == [DOG, DOG]
    assert dogs.pred_scores.tolist() == np.float32([0.9, 0.3]).tolist()
    # two of one label before are not ours to judge
    twice = [(TERRIER, A, 0.6), (TERRIER, aside, 0.9)]
    assert len(at_depth(1, [], twice).pred_labels) == 2


def test_what_has_fallen_takes_no_other_with_it() -> None:
    # terrier, hound, terrier, each 10 columns right of the one before: neighbours overlap by 30/50, the ends by 20/60
    preds = [(TERRIER, (0, 0, 40, 20), 0.9), (HOUND, (10, 0, 50, 20), 0.8), (CAT, (20, 0, 60, 20), 0.7)]
    animals = at_depth(0, [], preds)
    assert animals.pred_scores.tolist() == np.float32([0.9, 0.7]).tolist()


# --- credit


def test_hit_is_worth_the_shared_part_of_the_path() -> None:
    # one ground truth: precision 2/3 at recall 2/3, area 4/9; eleven points: 0 ... .6 at 2/3
    scored = scored_tree([(TERRIER, A)], [(HOUND, A, 0.9)])
    assert credited_ap(scored, TREE).values[TERRIER] == pytest.approx(4 / 9)
    assert credited_ap(scored, TREE, method="eleven_point").values[TERRIER] == pytest.approx(7 * 2 / 3 / 11)
    assert voc_ap(scored).values[TERRIER] == 0
    assert np.isnan(credited_ap(scored, TREE).values[HOUND])


def test_answers_above_and_below_the_gt() -> None:
    assert credited_ap(scored_tree([(TERRIER, A)], [(ANIMAL, A, 0.9)]), TREE).mean == pytest.approx(1 / 9)
    assert credited_ap(scored_tree([(DOG, A)], [(TERRIER, A, 0.9)]), TREE).mean == 1
    assert credited_ap(scored_tree([(TERRIER, A)], [(CUP, A, 0.9)]), TREE).mean == 0


def precisions(gts: list[GtBox], preds: list[PredictedBox]) -> dict[int, list[float]]:
    curves = credited_precision_recall(scored_tree(gts, preds), TREE)
    return {label: curve.precision.tolist() for label, curve in curves.items()}


def test_false_positive_counts_in_the_class_at_or_above_its_label() -> None:
    right = [(TERRIER, A, 0.8), (DOG, B, 0.7), (ANIMAL, C, 0.6)]
    gts: list[GtBox] = [(TERRIER, A), (DOG, B), (ANIMAL, C)]
    # its own class has objects
    assert precisions(gts, [(TERRIER, NOWHERE, 0.9), *right]) == {TERRIER: [0, 1 / 2], DOG: [1], ANIMAL: [1]}
    # a hound is a dog; a cat is an animal
    assert precisions(gts, [(HOUND, NOWHERE, 0.9), *right]) == {TERRIER: [1], DOG: [0, 1 / 2], ANIMAL: [1]}
    assert precisions(gts, [(CAT, NOWHERE, 0.9), *right]) == {TERRIER: [1], DOG: [1], ANIMAL: [0, 1 / 2]}
    # a cup is nothing that has objects
    assert precisions(gts, [(CUP, NOWHERE, 0.9), *right]) == {TERRIER: [1], DOG: [1], ANIMAL: [1]}


def test_false_positive_above_all_classes_is_shared_by_those_below() -> None:
    right = [(TERRIER, A, 0.8), (HOUND, B, 0.7), (CAT, C, 0.6)]
    gts: list[GtBox] = [(TERRIER, A), (HOUND, B), (CAT, C)]
    # half a terrier and half a hound; a third of each
    assert precisions(gts, [(DOG, NOWHERE, 0.9), *right]) == {
        TERRIER: [0, 1 / 1.5],
        HOUND: [0, 1 / 1.5],
        CAT: [1],
    }
    shared = precisions(gts, [(ANIMAL, NOWHERE, 0.9), *right])
    assert [shared[label] for label in (TERRIER, HOUND, CAT)] == [pytest.approx([0, 1 / (1 + 1 / 3)])] * 3


def test_gt_goes_to_the_answer_with_more_credit() -> None:
    # The hound has the higher score, but the terrier is right; the hound then is false, in a class without objects.
    scored = scored_tree([(TERRIER, A)], [(HOUND, A, 0.9), (TERRIER, A, 0.2)])
    curve = credited_precision_recall(scored, TREE)[TERRIER]
    assert curve.precision.tolist() == [1]
    assert curve.thresholds.tolist() == np.float32([0.2]).tolist()


def test_answer_goes_to_the_nearer_of_two_gts_of_equal_credit() -> None:
    # A terrier has full credit for both; the dog's box fits better (1 against 30/50), the terrier is nearer.
    scored = scored_tree([(DOG, A), (TERRIER, (10, 0, 50, 20))], [(TERRIER, A, 0.9)])
    np.testing.assert_array_equal(credited_ap(scored, TREE).values[[DOG, TERRIER]], [0, 1])


def test_credit_leaves_out_difficult_gts() -> None:
    scored = scored_tree([(TERRIER, A, "difficult"), (TERRIER, B)], [(HOUND, A, 0.9), (TERRIER, B, 0.8)])
    assert credited_ap(scored, TREE).values[TERRIER] == 1


# --- how wrong labels are


def test_severity() -> None:
    gts: list[GtBox] = [(TERRIER, A), (CAT, B), (CUP, C)]
    preds = [(HOUND, A, 0.9), (CAT, B, 0.8), (BIRD, NOWHERE, 0.7), (DOG, A, 0.1)]
    # The terrier goes to the dog (1 edge) rather than to the hound (2; both have credit 2/3), the cat is right,
    # the cup is not matched, and the bird matches nothing.
    result = severity(scored_tree(gts, preds), TREE)
    assert (result.localized, result.mistakes) == (2, 1)
    assert result.mean_distance == 1 / 2
    assert result.mean_mistake_distance == 1
    pairs = localize(scored_tree(gts, preds), TREE)
    assert (pairs.preds.tolist(), pairs.gts.tolist()) == ([1, 3], [1, 0])


def test_severity_across_the_roots() -> None:
    result = severity(scored_tree([(TERRIER, A)], [(CUP, A, 0.9)]), TREE)
    assert (result.mean_distance, result.localized) == (5, 1)


def test_severity_of_nothing() -> None:
    result = severity(scored_tree([(TERRIER, A)], []), TREE)
    assert (result.localized, result.mistakes) == (0, 0)
    assert np.isnan([result.mean_distance, result.mean_mistake_distance]).all()


# --- specificity against risk


def test_risk_curve() -> None:
    answers, gts = nodes(TERRIER, DOG, CUP, HOUND), nodes(TERRIER, TERRIER, CAT, DOG)
    curve = risk_curve(answers, gts, np.array([0.5, 0.9, 0.7, 0.7]), TREE)
    # by falling score: dog for a terrier, right, specificity 2/3; then together cup for a cat, wrong, leaf, and hound
    # for what is known to be a dog, not to be a hound, wrong by the rule, leaf; then terrier, right, leaf
    assert curve.thresholds.tolist() == [0.9, 0.7, 0.5]
    assert curve.coverage.tolist() == [1 / 4, 3 / 4, 1]
    assert curve.specificity.tolist() == pytest.approx([2 / 3, (2 / 3 + 2) / 3, (2 / 3 + 3) / 4])
    assert curve.risk.tolist() == pytest.approx([0, 2 / 3, 1 / 2])


def test_curves_of_nothing() -> None:
    assert len(risk_curve(nodes(), nodes(), np.empty(0), TREE).risk) == 0


# --- classes with boxes and classes with labels


def test_split() -> None:
    ap = ApByClass(np.array([0.5, 0.25, np.nan, 0.75, np.nan]))
    result = split(ap, had_boxes=[0, 2], only_labels={1, 3})
    assert (result.had_boxes, result.only_labels) == (0.5, 0.5)
    assert (result.had_boxes_classes, result.only_labels_classes) == (1, 2)
    assert np.isnan(split(ap, had_boxes=[], only_labels=[4]).only_labels)
    with pytest.raises(ValueError, match="got 3 in both sets"):
        split(ap, had_boxes=[0, 3], only_labels=[3])
