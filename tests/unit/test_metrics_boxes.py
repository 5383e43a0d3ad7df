"""Scores of boxes by hand. Boxes are 40 x 20 pixels and 100 apart unless a case says otherwise."""

from __future__ import annotations

from dataclasses import replace

import jaxtyping
import numpy as np
import pytest
from support.scored import NOWHERE, A, B, Box, C, GtBox, image, scored_of

from yolo9000.evaluation import match as matching
from yolo9000.evaluation.coco import coco_scores
from yolo9000.evaluation.curves import confusion_matrix, f1_curve
from yolo9000.evaluation.match import join, match, prefer_same_label
from yolo9000.evaluation.scored import Scored, collect
from yolo9000.evaluation.voc import ApMethod, precision_recall, voc_ap


def ap(scored: Scored, label: int = 0, method: ApMethod = "area") -> float:
    return float(voc_ap(scored, method=method).values[label])


# --- putting things side by side


def test_collect_keeps_order_and_images() -> None:
    scored = collect(
        [
            image([(1, A), (0, B, "difficult")], []),
            image([], []),
            image([(2, C, "crowd")], [(2, C, 0.5), (0, A, 0.75)]),
        ],
        classes=3,
    )
    assert scored.images == 3
    assert scored.sizes_wh.tolist() == [[500, 300]] * 3
    assert scored.gt_images.tolist() == [0, 0, 2]
    assert scored.gt_labels.tolist() == [1, 0, 2]
    assert scored.gt_boxes_xyxy.tolist() == [list(map(float, box)) for box in (A, B, C)]
    assert scored.gt_counts.tolist() == [True, False, False]
    assert scored.gt_areas.tolist() == [800.0] * 3
    assert scored.gt_by_class.tolist() == [0, 1, 0]
    assert scored.pred_images.tolist() == [2, 2]
    assert scored.pred_scores.tolist() == [0.5, 0.75]
    assert scored.select_pred(np.array([False, True])).pred_labels.tolist() == [0]


def test_collect_of_nothing() -> None:
    scored = collect([], classes=3)
    assert (scored.images, len(scored.gt_labels), len(scored.pred_labels)) == (0, 0, 0)
    assert np.isnan(voc_ap(scored).values).tolist() == [True] * 3
    assert np.isnan(voc_ap(scored).mean)
    assert all(np.isnan(list(coco_scores(scored).metrics.values())))
    assert confusion_matrix(scored).tolist() == [[0] * 4] * 4


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"gt_labels": np.array([2])}, "gt_labels must be 0 to 1, got 2"),
        ({"pred_labels": np.array([-1])}, "pred_labels must be 0 to 1, got -1"),
        ({"pred_images": np.array([1])}, "pred_images must be 0 to 0, got 1"),
        ({"pred_scores": np.array([np.nan], np.float32)}, "pred_scores must be finite"),
        ({"gt_areas": np.array([np.inf], np.float32)}, "gt_areas must be finite"),
        ({"pred_boxes_xyxy": np.array([[9, 0, 8, 5]], np.float32)}, "right >= left and bottom >= top, got"),
        ({"gt_boxes_xyxy": np.array([[0, 0, np.inf, 5]], np.float32)}, "gt_boxes_xyxy must be finite"),
    ],
)
def test_what_does_not_fit_together_is_refused(changes: dict[str, np.ndarray], message: str) -> None:
    scored = scored_of([(0, A)], [(0, A, 0.5)])
    with pytest.raises(ValueError, match=message):
        replace(scored, **changes)


def test_lengths_are_checked_without_the_checks_of_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    scored = scored_of([(0, A)], [(0, A, 0.5)])
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    with pytest.raises(ValueError, match=r"lengths must be equal, got \{'pred_images': 1, .*'pred_scores': 2"):
        replace(scored, pred_scores=np.ones(2, np.float32))


# --- which prediction matches which object


def test_iou_of_exactly_the_threshold_is_enough() -> None:
    # half of A: intersection 20 x 20 = 400, union 40 x 20 = 800; one column less: 380 / 800
    scored = scored_of([(0, A), (0, B)], [(0, (0, 0, 20, 20), 0.9), (0, (100, 0, 119, 20), 0.8)])
    assert match(scored).gts.tolist() == [0, -1]


def test_exclusive_edges_give_the_iou_of_vocs_inclusive_ones() -> None:
    # The kit: pixels 1-3 x 1-2 and 2-4 x 1-2: widths 3 + 3, common 2, heights 2: IoU = 4 / (6 + 6 - 4) = .5.
    scored = scored_of([(0, (1 - 1, 1 - 1, 3, 2))], [(0, (2 - 1, 1 - 1, 4, 2), 0.9)])
    assert match(scored, 0.5).hits.tolist() == [True]


def test_second_detection_of_a_gt_is_false_even_where_another_gt_is_free() -> None:
    # Objects overlap; both detections lie on the first: IoU 1 with it, 30 x 20 / (50 x 20) = .6 with the other.
    scored = scored_of([(0, A), (0, (10, 0, 50, 20))], [(0, A, 0.7), (0, A, 0.9)])
    assert match(scored).gts.tolist() == [-1, 0]
    assert match(scored).ignored.tolist() == [False, False]


def test_of_two_gts_in_one_position_the_earlier_is_chosen() -> None:
    first_difficult = match(scored_of([(0, A, "difficult"), (0, A)], [(0, A, 0.9)]))
    assert (first_difficult.gts.tolist(), first_difficult.ignored.tolist()) == ([-1], [True])
    assert match(scored_of([(0, A), (0, A, "difficult")], [(0, A, 0.9)])).gts.tolist() == [0]


def test_classes_and_images_do_not_mix() -> None:
    scored = collect([image([(0, A)], [(1, A, 0.9)]), image([(1, B)], [(0, A, 0.8)])], classes=2)
    assert match(scored).gts.tolist() == [-1, -1]


def test_difficult_gt_counts_neither_way_however_often_it_is_matched() -> None:
    scored = scored_of([(0, A, "difficult"), (0, B)], [(0, A, 0.9), (0, A, 0.8), (0, B, 0.7)])
    matches = match(scored)
    assert matches.gts.tolist() == [-1, -1, 1]
    assert matches.ignored.tolist() == [True, True, False]
    assert ap(scored) == 1
    # the same without the mark: precision 1, 1/2, 2/3 at recall 1/2, 1/2, 1
    assert ap(scored_of([(0, A), (0, B)], [(0, A, 0.9), (0, A, 0.8), (0, B, 0.7)])) == pytest.approx(5 / 6)


def test_false_positives_in_a_crowd_do_not_count() -> None:
    crowd: Box = (0, 0, 200, 100)
    preds = [
        (0, (20, 10, 60, 30), 0.9),  # inside the crowd; IoU with it only 800 / 20,000
        (0, A, 0.8),  # inside too, but it finds a ground truth of its own
        (0, A, 0.7),  # a second one of that ground truth, in the crowd
        (0, (190, 0, 230, 20), 0.6),  # a quarter of it is inside: false
        (1, (20, 10, 60, 30), 0.5),  # another class: false
    ]
    matches = match(scored_of([(0, crowd, "crowd"), (0, A)], preds))
    assert matches.gts.tolist() == [-1, 1, -1, -1, -1]
    assert matches.ignored.tolist() == [True, False, True, False, False]


def test_boxes_without_area_find_nothing() -> None:
    flat: Box = (10, 5, 10, 25)
    scored = scored_of([(0, flat), (0, A, "crowd")], [(0, flat, 0.9)])
    assert (match(scored).hits.any(), match(scored).ignored.any()) == (False, False)


def test_any_label_own_label_first() -> None:
    # The detection of class 1 overlaps the ground truth of class 0 better, 1 against .6, but takes its own.
    scored = scored_of([(0, A), (1, (10, 0, 50, 20))], [(1, A, 0.9), (1, B, 0.8)])
    assert match(scored, 0.5, prefer_same_label).gts.tolist() == [1, -1]
    # A ground truth goes to its own class, though the other detection has the higher score.
    scored = scored_of([(0, A)], [(1, A, 0.9), (0, A, 0.3)])
    assert match(scored, 0.5, prefer_same_label).gts.tolist() == [-1, 0]


@pytest.mark.parametrize("min_iou", [0.0, -0.5, 1.5])
def test_threshold_must_be_a_fraction(min_iou: float) -> None:
    with pytest.raises(ValueError, match=r"min_iou must be above 0 and at most 1, got"):
        match(scored_of([], []), min_iou)


@pytest.mark.parametrize("at_once", [1, 2, 5, 1000])
def test_join_gives_every_pair_in_blocks(at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matching, "PAIRS_AT_ONCE", at_once)
    left, right = np.array([7, 3, 9, 3, 5]), np.array([3, 5, 3, 7, 3, 8])
    pairs = [pair for block in join(left, right) for pair in zip(*(side.tolist() for side in block), strict=True)]
    assert pairs == [(0, 3), (1, 0), (1, 2), (1, 4), (3, 0), (3, 2), (3, 4), (4, 1)]


# --- average precision

TWO_OF_THREE = [(0, A, 0.9), (0, NOWHERE, 0.8), (0, B, 0.7)]  # true, false, true positive


def test_three_detections() -> None:
    scored = scored_of([(0, A), (0, B)], TWO_OF_THREE)
    curve = precision_recall(scored)[0]
    assert curve.precision.tolist() == [1, 1 / 2, 2 / 3]
    assert curve.recall.tolist() == [1 / 2, 1 / 2, 1]
    assert curve.thresholds.tolist() == np.float32([0.9, 0.8, 0.7]).tolist()
    # area: recall 0 to 1/2 at precision 1, 1/2 to 1 at 2/3
    assert ap(scored) == pytest.approx(1 / 2 * 1 + 1 / 2 * 2 / 3)
    # eleven points: 0, .1 ... .5 at 1, and .6 ... 1 at 2/3
    assert ap(scored, method="eleven_point") == pytest.approx((6 * 1 + 5 * 2 / 3) / 11)


def test_a_gt_that_is_never_matched_limits_recall() -> None:
    scored = scored_of([(0, A), (0, B), (0, C)], TWO_OF_THREE)
    # recall 1/3, 1/3, 2/3
    assert ap(scored) == pytest.approx(1 / 3 * 1 + 1 / 3 * 2 / 3)
    # 0, .1, .2, .3 at 1; .4, .5, .6 at 2/3; .7 ... 1 are not reached
    assert ap(scored, method="eleven_point") == pytest.approx((4 * 1 + 3 * 2 / 3) / 11)


def test_recall_of_exactly_three_tenths_reaches_the_level() -> None:
    ten = [(0, (0.0, 25.0 * i, 40.0, 25.0 * i + 20)) for i in range(10)]
    scored = scored_of(ten, [(0, box, 0.9) for _, box in ten[:3]])
    # levels 0, .1, .2, .3 at precision 1
    assert ap(scored, method="eleven_point") == pytest.approx(4 / 11)


def test_detections_of_equal_score_count_in_their_order() -> None:
    hit, miss = (0, A, 0.5), (0, NOWHERE, 0.5)
    assert ap(scored_of([(0, A)], [hit, miss])) == 1
    assert ap(scored_of([(0, A)], [miss, hit])) == 1 / 2


def test_mean_is_over_classes_that_have_gts() -> None:
    scored = scored_of([(0, A), (2, B), (3, C, "difficult")], [(0, A, 0.9), (1, B, 0.8), (3, C, 0.7)], classes=4)
    result = voc_ap(scored)
    np.testing.assert_array_equal(result.values, [1, np.nan, 0, np.nan])
    assert result.mean == 1 / 2
    assert sorted(precision_recall(scored)) == [0, 2]


# --- COCO


def test_coco_metrics_by_hand() -> None:
    # 62 of 100 columns: IoU .62, enough for .5, .55 and .6 of the ten; area 4,000: medium
    scored = scored_of([(0, (0, 0, 100, 40))], [(0, (0, 0, 62, 40), 0.9), (1, A, 0.8)])
    metrics = coco_scores(scored).metrics
    expected = {
        "map": 0.3,
        "map50_coco": 1,
        "map75": 0,
        "map_small": np.nan,
        "map_medium": 0.3,
        "map_large": np.nan,
        "ar1": 0.3,
        "ar10": 0.3,
        "ar100": 0.3,
        "ar_small": np.nan,
        "ar_medium": 0.3,
        "ar_large": np.nan,
    }
    assert list(metrics) == list(expected)
    assert metrics == pytest.approx(expected, nan_ok=True)
    scores = coco_scores(scored)
    np.testing.assert_allclose(scores.by_class.values, [0.3, np.nan])
    np.testing.assert_allclose(scores.by_class_and_size, [[0.3, np.nan, 0.3, np.nan], [np.nan] * 4])


def test_coco_size_is_that_of_the_outline() -> None:
    scored = scored_of([(0, (0, 0, 100, 40))], [(0, (0, 0, 100, 40), 0.9)])
    metrics = coco_scores(replace(scored, gt_areas=np.array([900], np.float32))).metrics
    assert metrics["map_small"] == 1  # 900 < 32 x 32, though the box has 4,000
    assert np.isnan(metrics["map_medium"])


def test_coco_leaves_out_difficult_gts() -> None:
    preds = [(0, A, 0.9), (0, B, 0.8)]
    assert coco_scores(scored_of([(0, A, "difficult"), (0, B)], preds)).metrics["map"] == 1
    # without the detection of the difficult one nothing changes; with no mark it would be missed
    assert coco_scores(scored_of([(0, A, "difficult"), (0, B)], preds[1:])).metrics["map"] == 1
    # recall 1/2 reaches 51 of the 101 levels
    assert coco_scores(scored_of([(0, A), (0, B)], preds[1:])).metrics["map"] == pytest.approx(51 / 101)


def test_coco_leaves_out_what_lies_in_crowds() -> None:
    crowd: GtBox = (0, (0, 0, 90, 60), "crowd")
    preds = [(0, (5, 5, 45, 25), 0.9), (0, (40, 30, 80, 50), 0.8), (0, B, 0.7)]
    assert coco_scores(scored_of([crowd, (0, B)], preds)).metrics["map"] == 1


def test_coco_in_batches_of_classes(monkeypatch: pytest.MonkeyPatch) -> None:
    images = [image([(0, A), (2, B)], [(0, A, 0.9), (2, A, 0.7)]), image([(1, C)], [(1, C, 0.6), (0, C, 0.8)])]
    scored = collect(images, classes=3)
    whole = coco_scores(scored)
    monkeypatch.setattr("yolo9000.evaluation.coco.CELLS_AT_ONCE", 1)
    apart = coco_scores(scored)
    np.testing.assert_array_equal(whole.precisions, apart.precisions)
    np.testing.assert_array_equal(whole.recalls, apart.recalls)


def test_coco_says_nothing(capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"):
        coco_scores(scored_of([(0, A)], [(0, A, 0.9)]))
    assert capfd.readouterr() == ("", "")
    assert not caplog.messages


# --- F1 and confusion


def test_f1_at_every_threshold() -> None:
    curve = f1_curve(scored_of([(0, A), (0, B)], TWO_OF_THREE))
    # 2 x true positives / (predictions + objects): 2 x 1 / (1 + 2), 2 x 1 / (2 + 2), 2 x 2 / (3 + 2)
    assert curve.f1.tolist() == pytest.approx([2 / 3, 1 / 2, 4 / 5])
    assert curve.precision.tolist() == pytest.approx([1, 1 / 2, 2 / 3])
    assert curve.recall.tolist() == pytest.approx([1 / 2, 1 / 2, 1])
    assert (curve.best_f1, curve.best_threshold) == pytest.approx((4 / 5, 0.7))


def test_f1_pools_classes_or_takes_one() -> None:
    scored = scored_of([(0, A), (1, B)], [(0, A, 0.9), (1, NOWHERE, 0.8), (0, C, 0.5)])
    # all: given 1, 2, 3 of 2 objects, one matched; class 0: given 1, 2 of 1 object; class 1: one given, none matched
    assert f1_curve(scored).f1.tolist() == pytest.approx([2 / 3, 2 / 4, 2 / 5])
    assert f1_curve(scored, label=0).f1.tolist() == pytest.approx([2 / 2, 2 / 3])
    assert f1_curve(scored, label=1).f1.tolist() == [0]


def test_f1_takes_equal_scores_together() -> None:
    curve = f1_curve(scored_of([(0, A)], [(0, NOWHERE, 0.5), (0, A, 0.5)]))
    assert curve.thresholds.tolist() == [0.5]
    assert curve.f1.tolist() == pytest.approx([2 * 1 / (2 + 1)])


def test_f1_without_detections_or_gts() -> None:
    no_predictions = f1_curve(scored_of([(0, A)], []))
    assert len(no_predictions.f1) == 0
    assert np.isnan([no_predictions.best_f1, no_predictions.best_threshold]).all()
    nothing_there = f1_curve(scored_of([(0, A, "difficult")], [(0, B, 0.5)]))
    assert nothing_there.f1.tolist() == [0]
    assert np.isnan(nothing_there.recall).all()


def test_confusion_by_hand() -> None:
    gts: list[GtBox] = [(0, A), (0, B), (1, C), (2, (0, 100, 40, 120), "difficult")]
    preds = [
        (0, A, 0.9),  # right
        (0, A, 0.8),  # second one of it: background taken for 0
        (2, B, 0.7),  # 0 taken for 2
        (1, NOWHERE, 0.6),  # background taken for 1
        (2, (0, 100, 40, 120), 0.5),  # difficult: left out
        (1, C, 0.2),  # below the threshold: the ground truth is missed
    ]
    assert confusion_matrix(scored_of(gts, preds, classes=3)).tolist() == [
        [1, 0, 1, 0],
        [0, 0, 0, 1],
        [0, 0, 0, 0],
        [1, 1, 0, 0],
    ]
    assert confusion_matrix(scored_of(gts, preds, classes=3), min_score=0.1)[1].tolist() == [0, 1, 0, 0]


def test_confusion_without_gts_or_detections() -> None:
    assert confusion_matrix(scored_of([], [(1, A, 0.9)])).tolist() == [[0, 0, 0], [0, 0, 0], [0, 1, 0]]
    assert confusion_matrix(scored_of([(1, A)], [])).tolist() == [[0, 0, 0], [0, 0, 1], [0, 0, 0]]


def test_confusion_at_another_iou() -> None:
    # 19 of 40 columns: IoU .475
    scored = scored_of([(0, A)], [(0, (0, 0, 19, 20), 0.9)])
    assert confusion_matrix(scored)[0].tolist() == [0, 0, 1]
    assert confusion_matrix(scored, min_iou=0.45)[0].tolist() == [1, 0, 0]
