"""Boxes, IoU and suppression with numbers that can be checked in the head."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from yolo9000.boxes import clip, cxcywh_to_xyxy, iou, nms, suppress


def boxes(*corners: list[float]) -> np.ndarray:
    return np.array(corners, np.float32).reshape(-1, 4)


def test_corners() -> None:
    # centre (10, 20), 4 x 6: 10 -+ 2, 20 -+ 3
    assert cxcywh_to_xyxy(boxes([10, 20, 4, 6], [0, 0, 0, 0])).tolist() == [[8, 17, 12, 23], [0, 0, 0, 0]]
    assert cxcywh_to_xyxy(boxes()).shape == (0, 4)


def test_clip() -> None:
    inside = clip(boxes([-5, 10, 40, 500], [310, 210, 320, 220], [-np.inf, 1, np.inf, 2]), (300, 200))
    assert inside.tolist() == [[0, 10, 40, 200], [300, 200, 300, 200], [0, 1, 300, 2]]
    assert inside.dtype == np.float32
    assert clip(boxes(), (300, 200)).shape == (0, 4)


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        ([0, 0, 4, 2], 1.0),
        ([2, 0, 6, 2], 4 / 12),  # 2 x 2 in common, 8 + 8 - 4
        ([1, 1, 3, 2], 2 / 8),  # inside: 2 of 8
        ([3, 1, 5, 5], 1 / 15),  # 1 x 1 in common, 8 + 8 - 1
        ([4, 0, 8, 2], 0.0),  # touching
        ([5, 5, 6, 6], 0.0),  # apart both ways
        ([1, 1, 1, 2], 0.0),  # no area, inside
    ],
)
def test_iou(other: list[float], expected: float) -> None:
    one = boxes([0, 0, 4, 2])
    assert iou(one, boxes(other))[0] == pytest.approx(expected)
    assert iou(boxes(other), one)[0] == pytest.approx(expected)


def test_iou_of_every_pair() -> None:
    ones, others = boxes([0, 0, 4, 2], [2, 0, 6, 2]), boxes([0, 0, 4, 2], [2, 0, 6, 2], [9, 9, 10, 10])
    np.testing.assert_allclose(iou(ones[:, None], others), [[1, 1 / 3, 0], [1 / 3, 1, 0]], rtol=1e-6)
    assert iou(ones[:, None], boxes()).shape == (2, 0)


def test_boxes_without_area_or_without_end_have_no_iou() -> None:
    point, everything = boxes([3, 3, 3, 3]), boxes([-np.inf, -np.inf, np.inf, np.inf])
    huge = boxes([-3e38, -3e38, 3e38, 3e38])  # its area overflows
    for box in (point, everything, huge):
        assert np.isnan(iou(box, box)).all()
    assert iou(point, boxes([0, 0, 4, 5]))[0] == 0


def test_nms_takes_the_best_first() -> None:
    # 0 and 1: 80/100; 2 is elsewhere; 3 overlaps 1 by 64/80 and 0 by 64/100
    four = boxes([0, 0, 10, 10], [0, 0, 10, 8], [50, 0, 60, 5], [0, 0, 8, 8])
    scores = np.array([0.3, 0.9, 0.5, 0.4], np.float32)
    assert nms(four, scores, 0.45).tolist() == [1, 2]
    assert nms(four, scores, 0.7).tolist() == [1, 2]  # 3 falls to 1, 0 falls to 1
    assert nms(four, scores, 0.8).tolist() == [1, 2, 3, 0]  # 80/100 and 64/80 are not above .8


def test_nms_of_equal_scores_keeps_the_earlier() -> None:
    same = boxes([0, 0, 10, 10], [0, 0, 10, 9], [0, 0, 10, 10])
    assert nms(same, np.full(3, 0.5, np.float32), 0.5).tolist() == [0]


def test_nms_of_points_keeps_them_all() -> None:
    points = boxes([3, 3, 3, 3], [3, 3, 3, 3], [0, 0, 5, 6])
    assert nms(points, np.array([0.1, 0.2, 0.3], np.float32), 0.0).tolist() == [2, 1, 0]


def test_nms_of_nothing() -> None:
    none = nms(boxes(), np.zeros(0, np.float32), 0.5)
    assert none.tolist() == []
    assert none.dtype == np.int64


def random_boxes(count: int, rng: np.random.Generator) -> np.ndarray:
    """Clusters, some boxes twice, and others infinite, without area, far away or not a number."""
    centers = rng.normal(0, 3, (8, 2))[rng.integers(0, 8, count)] + rng.normal(0, 0.4, (count, 2))
    sides = np.exp(rng.normal(-1, 0.6, (count, 2)))
    many = np.concatenate([centers - sides, centers + 0.8 * sides], axis=1).astype(np.float32)
    many[: count // 4] = many[count // 4 : 2 * (count // 4)]
    for odd in (np.inf, [-np.inf, -np.inf, np.inf, np.inf], [1, 2, 1, 2], [1e20, 0, 2e20, 1e20], np.nan):
        many[rng.integers(0, count, 1 + count // 50)] = odd
    return many


def greedy(many: np.ndarray, scores: np.ndarray, threshold: float, groups: np.ndarray) -> list[int]:
    drops = (iou(many[:, None], many) > threshold) & (groups[:, None] == groups)
    kept, dropped = [], np.zeros(len(many), bool)
    for index in np.argsort(-scores, kind="stable").tolist():
        if not dropped[index]:
            kept.append(index)
            dropped |= drops[index]
    return kept


@pytest.mark.parametrize(
    ("count", "labels", "threshold"),
    [(90, 3, 0.5), (700, 1, 0.3), (2500, 1, 0.45), (1300, 5, 0.6), (1300, 2, 0.9), (600, 100, 0.2), (400, 1, 0.0)],
)
def test_nms_of_many_boxes_is_the_greedy_loop(count: int, labels: int, threshold: float) -> None:
    """More boxes than are looked at together; chains in which a box is kept since what would drop it is dropped."""
    rng = np.random.default_rng(count)
    many, groups = random_boxes(count, rng), rng.integers(0, labels, count)
    scores = rng.integers(0, count // 2, count).astype(np.float32)  # many are equal
    expected = greedy(many, scores, threshold, groups)
    assert nms(many, scores, threshold, groups).tolist() == expected
    assert 5 < len(expected) < 0.99 * count


def test_nms_looks_only_at_boxes_that_may_overlap() -> None:
    """Of 3,000 boxes, 4.5 million pairs, fewer than 1 % may overlap; nothing of the size of all pairs is made."""
    rng = np.random.default_rng(0)
    corners = rng.uniform(0, 1, (3000, 2))
    many = np.concatenate([corners, corners + rng.uniform(0.02, 0.1, (3000, 2))], axis=1).astype(np.float32)
    tracemalloc.start()
    nms(many, rng.random(3000, np.float32), 0.45)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4_500_000


def test_suppress_in_a_given_order_and_only_what_may_be_the_same() -> None:
    four = boxes([0, 0, 10, 10], [0, 0, 10, 9], [0, 0, 10, 8], [0, 0, 9, 10])
    order = np.array([2, 0, 1, 3])
    assert suppress(four, order, 0.5).tolist() == [2]
    parity = suppress(four, order, 0.5, same=lambda first, others: others % 2 == first % 2)
    assert parity.tolist() == [2, 1]  # 0 falls to 2, 3 falls to 1
