"""Dimension clusters on boxes whose IoUs can be worked out by hand, and on Table 1's own boxes."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.paths import shared

from yolo9000.adapt.anchors import (
    _Assignment,
    _Boxes,
    anchor_forms,
    average_iou,
    cfg_line,
    cluster,
    elbow,
    format_report,
    recall,
    report,
    size_iou,
    to_cells,
)
from yolo9000.architectures.zoo import VOC_ANCHORS
from yolo9000.errors import ConfigError, DataError


def sizes(*pairs: tuple[float, float]) -> np.ndarray:
    return np.array(pairs, np.float64).reshape(-1, 2)


def blobs(*centres: tuple[float, float], each: int = 40) -> np.ndarray:
    """Boxes around some sizes, within 3 % of them."""
    rng = np.random.default_rng(0)
    return np.concatenate([np.array(centre) * rng.uniform(0.97, 1.03, (each, 2)) for centre in centres])


TALL, WIDE, LARGE = (2.0, 6.0), (9.0, 3.0), (30.0, 40.0)


def test_iou_of_sizes() -> None:
    ious = size_iou(sizes((4, 2), (1, 8)), sizes((4, 2), (2, 4), (1, 1)))
    expected = [
        [1, 4 / 12, 1 / 8],  # 2 x 2 in common of 8 + 8 - 4; 1 of 8
        [2 / 14, 4 / 12, 1 / 8],  # 1 x 2 of 8 + 8 - 2; 1 x 4 of 8 + 8 - 4; 1 of 8
    ]
    np.testing.assert_allclose(ious, expected, rtol=1e-15)
    assert size_iou(sizes(), sizes((1, 2))).shape == (0, 1)
    assert size_iou(sizes((4, 2)).astype(np.float32), sizes((4, 2)).astype(np.float32)).dtype == np.float32


def test_average_iou_and_recall_take_the_closest() -> None:
    boxes, anchors = sizes((4, 2), (1, 8), (1, 1)), sizes((4, 2), (2, 4))
    # the best of each: 1, 4/12, and 1/8 with either
    assert average_iou(boxes, anchors) == pytest.approx((1 + 1 / 3 + 1 / 8) / 3)
    assert recall(boxes, anchors, 0.3) == pytest.approx(2 / 3)
    assert recall(boxes, anchors, 1.0) == pytest.approx(1 / 3)  # at least, not above
    assert recall(boxes, anchors, 0.125) == 1.0


def test_average_iou_of_many_boxes_needs_little_memory() -> None:
    boxes = np.random.default_rng(0).uniform(1, 50, (200_000, 2))
    anchors = boxes[:24]
    tracemalloc.start()
    average_iou(boxes, anchors)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 200_000 * 24 * 8 / 2  # half of one IoU for every pair


@pytest.mark.parametrize("distance", ["iou", "euclidean"])
def test_separate_clusters_are_recovered(distance: str) -> None:
    clusters = cluster(blobs(WIDE, TALL, LARGE), 3, distance=distance)
    np.testing.assert_allclose(clusters.anchors_wh, [TALL, WIDE, LARGE], rtol=0.01)  # smallest area first
    assert clusters.counts.tolist() == [40, 40, 40]
    assert clusters.average_iou > 0.95
    assert clusters.iterations >= 1


@pytest.mark.parametrize("distance", ["iou", "euclidean"])
def test_one_cluster_is_the_mean(distance: str) -> None:
    clusters = cluster(sizes((2, 6), (4, 3), (6, 3)), 1, distance=distance)
    assert clusters.anchors_wh.tolist() == [[4, 4]]
    assert clusters.counts.tolist() == [3]
    # 2x4 of 12+16-8, 4x3 of 16, 4x3 of 18+16-12
    assert clusters.average_iou == pytest.approx((8 / 20 + 12 / 16 + 12 / 22) / 3)


@pytest.mark.parametrize("distance", ["iou", "euclidean"])
def test_as_many_clusters_as_sizes_fit_exactly(distance: str) -> None:
    boxes = sizes((5, 1), (1, 5), (3, 4), (1, 5), (7, 2), (1, 5))
    clusters = cluster(boxes, 4, distance=distance)
    assert clusters.average_iou == pytest.approx(1, abs=1e-12)
    np.testing.assert_allclose(clusters.anchors_wh, [[1, 5], [5, 1], [3, 4], [7, 2]], rtol=1e-12)  # 1x5 before 5x1
    assert clusters.counts.tolist() == [3, 1, 1, 1]


def test_repeated_boxes_weigh_as_often_as_they_come() -> None:
    # {2x6 three times, 4x6 once} and the far 90x10: the mean of the first is (3*2 + 4) / 4
    clusters = cluster(sizes((2, 6), (90, 10), (2, 6), (4, 6), (2, 6)), 2)
    assert clusters.anchors_wh.tolist() == [[2.5, 6], [90, 10]]
    assert clusters.counts.tolist() == [4, 1]


def test_a_cluster_without_boxes_restarts_at_the_farthest_box() -> None:
    # Of two equal centroids the first gets every box. IoU with 2 x 4: 1, 8/12, 8/24, 8/20.
    boxes, twice = _Boxes.of(sizes((2, 4), (3, 4), (6, 4), (5, 4))), sizes((2, 4), (2, 4))
    assignment = _Assignment(boxes, 2, "iou")
    assert assignment.renew(twice, 0.0)
    assert assignment.counts().tolist() == [4, 0]
    assert assignment.means(twice).tolist() == [[4, 4], [6, 4]]


def test_no_cluster_ends_without_boxes() -> None:
    boxes = np.random.default_rng(3).integers(1, 8, (200, 2)).astype(np.float64)
    for distance in ("iou", "euclidean"):
        assert (cluster(boxes, 20, distance=distance, restarts=5).counts > 0).all()


@pytest.mark.parametrize("distance", ["iou", "euclidean"])
def test_first_centroids_are_far_apart(distance: str) -> None:
    """One run finds all of six sizes; it would rarely, if the first centroids were any six boxes."""
    boxes = blobs((2, 6), (6, 2), (5, 15), (15, 5), (14, 40), (40, 14))
    counts = [cluster(boxes, 6, distance=distance, restarts=1, seed=seed).counts.tolist() for seed in range(20)]
    assert counts.count([40] * 6) >= 15


def test_sizes_that_only_rounding_tells_apart() -> None:
    clusters = cluster(sizes((1, 3), (1, np.nextafter(3, 4)), (np.nextafter(1, 2), 3)), 3)
    np.testing.assert_allclose(clusters.anchors_wh, [[1, 3]] * 3)
    assert clusters.counts.sum() == 3


def test_more_boxes_than_the_restarts_see() -> None:
    clusters = cluster(blobs(WIDE, TALL, LARGE, each=15_000), 3, restarts=2)
    assert clusters.counts.tolist() == [15_000] * 3
    np.testing.assert_allclose(clusters.anchors_wh, [TALL, WIDE, LARGE], rtol=0.001)


@pytest.mark.parametrize(
    ("boxes", "k", "restarts", "error", "message"),
    [
        (sizes((1, 2), (2, 1), (1, 2)), 3, 1, ConfigError, "different box sizes, 2, got 3"),
        (sizes((1, 2)), 0, 1, ConfigError, "at least 1, got 0 and 1"),
        (sizes((1, 2)), 1, 0, ConfigError, "at least 1, got 1 and 0"),
        (sizes(), 1, 1, DataError, "at least one box, got none"),
        (sizes((1, 2), (0, 3)), 1, 1, DataError, "box 1: .* got 0 x 3"),
        (sizes((1, 2), (4, -3)), 1, 1, DataError, "box 1: .* got 4 x -3"),
        (sizes((np.nan, 2), (0, 3)), 1, 1, DataError, "box 0: .* got nan x 2"),
        (sizes((1, np.inf)), 1, 1, DataError, "box 0: .* got 1 x inf"),
        (sizes((1e-200, 1)), 1, 1, DataError, "box 0: .* got 1e-200 x 1"),
    ],
)
def test_what_cannot_be_clustered(
    boxes: np.ndarray, k: int, restarts: int, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        cluster(boxes, k, restarts=restarts)


def test_average_iou_refuses_what_has_none() -> None:
    with pytest.raises(DataError, match="at least one anchor"):
        average_iou(sizes((1, 2)), sizes())
    with pytest.raises(DataError, match=r"anchor 0: .* got 0 x 2"):
        recall(sizes((1, 2)), sizes((0, 2)), 0.5)
    with pytest.raises(DataError, match="box 0"):
        average_iou(sizes((-1, 2)), sizes((1, 2)))


def test_elbow_is_farthest_above_the_line_between_the_ends() -> None:
    # the line rises by .1 a k: .3 .4 .5 .7; above it 0 .1 .15 0
    assert elbow([1, 2, 3, 5], [0.3, 0.5, 0.65, 0.7]) == 3
    assert elbow([2, 4, 8], [0.5, 0.5, 0.5]) == 2
    assert elbow([7], [0.6]) == 7


def test_report_covers_every_k_and_size() -> None:
    boxes = blobs((0.5, 1.5), (2.0, 1.0), (9.0, 4.0), each=10)  # cells: .75 < 1 <= 2 < 9 <= 36
    result = report(boxes, [3, 1, 3], defaults={"one": sizes((2, 1))}, restarts=3)
    assert [row.k for row in result.rows] == [1, 3]
    row = result.row(3)
    assert row.iou.average_iou == cluster(boxes, 3, restarts=3).average_iou
    assert row.euclidean.average_iou == cluster(boxes, 3, distance="euclidean", restarts=3).average_iou
    assert {name: cover.boxes for name, cover in row.coverage.items()} == {
        "all": 30,
        "small": 10,
        "medium": 10,
        "large": 10,
    }
    assert row.coverage["all"].average_iou == pytest.approx(row.iou.average_iou)
    assert row.coverage["all"].recall_50 == row.coverage["all"].recall_75 == 1
    (other,) = result.defaults
    assert other.name == "one"
    assert other.coverage["medium"].recall_75 == 1
    assert other.coverage["large"].recall_50 == other.coverage["small"].recall_50 == 0
    assert other.coverage["all"].recall_75 == pytest.approx(1 / 3)
    with pytest.raises(ConfigError, match="k must be one of 1, 3, got 2"):
        result.row(2)
    with pytest.raises(ConfigError, match="at least one k"):
        report(boxes, [])


def test_recall_counts_boxes_that_are_just_met() -> None:
    # IoU with 4 x 4: 12/16, 8/16, 7.5/16
    (row,) = report(sizes((4, 3), (2, 4), (2.5, 3)), [1], defaults={"mine": sizes((4, 4))}).defaults
    assert row.coverage["all"].recall_75 == pytest.approx(1 / 3)
    assert row.coverage["all"].recall_50 == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("unit", "boxes"),
    [
        ("pixels", sizes((31, 33), (32, 32), (95, 97), (96, 96))),  # 1023, 1024, 9215, 9216
        ("cells", sizes((31 / 32, 33 / 32), (1, 1), (95 / 32, 97 / 32), (3, 3))),
    ],
)
def test_small_medium_and_large_are_coco_s(unit: str, boxes: np.ndarray) -> None:
    coverage = report(boxes, [1], unit=unit).row(1).coverage
    assert [coverage[name].boxes for name in ("small", "medium", "large")] == [1, 2, 1]


def test_sizes_without_boxes_are_left_out() -> None:
    coverage = report(sizes((8, 4), (9, 7)), [1], unit="pixels").row(1).coverage
    assert list(coverage) == ["all", "small"]


def test_report_as_text() -> None:
    text = format_report(report(sizes((1, 3), (4, 4), (9, 3)), [1, 2, 3], defaults={"mine": sizes((4, 4))}))
    lines = text.splitlines()
    assert lines[0] == "3 boxes: 1 medium, 2 large"  # 3, 16 and 27 cells
    assert lines[3].split() == ["k", "IoU", "Euclidean", "at", ".5", "at", ".75", "medium", "large"]
    assert len(lines) == 4 + 3 + 1
    assert lines[6].split() == ["3", *["100.0"] * 6]
    # with 4 x 4: 3/16, 1 and 12/31
    assert lines[7].split() == ["1", "52.5", "33.3", "33.3", "0.0", "50.0", "mine"]
    assert sum(line.endswith("elbow") for line in lines) == 1
    assert "elbow" not in format_report(report(sizes((1, 3), (4, 4)), [1]))


def test_cells() -> None:
    boxes = sizes((100, 50), (30, 200))
    # 500 x 375 into 416 x 320: .832 and .8533; 200 x 400: 2.08 and .8
    images = np.array([[500, 375], [200, 400]])
    letterboxed = to_cells(boxes, (416, 320), images_wh=images)
    np.testing.assert_allclose(letterboxed, [[83.2 / 32, 41.6 / 32], [24 / 32, 160 / 32]])
    stretched = to_cells(boxes, (416, 320), images_wh=images, resize_mode="stretch")
    np.testing.assert_allclose(stretched, [[83.2 / 32, 50 * 320 / 375 / 32], [62.4 / 32, 160 / 32]])
    alike = to_cells(boxes, (416, 320), images_wh=images[:1], stride=16)
    np.testing.assert_allclose(alike, boxes * 0.832 / 16)
    np.testing.assert_allclose(to_cells(sizes((0.5, 0.25)), (416, 320)), [[6.5, 2.5]])
    with pytest.raises(DataError, match="image 0"):
        to_cells(boxes, (416, 320), images_wh=np.array([[0, 375]]))


def test_anchors_in_print() -> None:
    anchors = np.array(VOC_ANCHORS)
    # Darknet's cfg/yolov2-voc.cfg, digit for digit
    line = "anchors = 1.3221, 1.73145, 3.19275, 4.00944, 5.05587, 8.09892, 9.47112, 4.84053, 11.2364, 10.0071"
    assert cfg_line(anchors) == line
    forms = anchor_forms(anchors[:2]).splitlines()
    assert forms[0] == "cells:  1.32 x 1.73  3.19 x 4.01"
    assert forms[1] == "pixels: 42 x 55  102 x 128"
    assert forms[2] == "anchors = 1.3221, 1.73145, 3.19275, 4.00944"


@pytest.mark.parametrize(("ks", "k"), [([1, 2, 3], None), ([3], 3), ([1, 2], 2)])
def test_plot(ks: list[int], k: int | None, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    from yolo9000.adapt.anchor_plot import plot_report

    result = report(blobs(TALL, WIDE, LARGE), ks, unit="pixels", defaults={"mine": sizes(WIDE, TALL)}, restarts=1)
    plot_report(result, tmp_path / "anchors.png", k=k)
    with Image.open(tmp_path / "anchors.png") as image:
        assert image.format == "PNG"
        assert image.size == (1440, 624)
        assert len(image.convert("RGB").getcolors(1 << 20)) > 20
    with pytest.raises(ConfigError, match="got 9"):
        plot_report(result, tmp_path / "none.png", k=9)


def test_table_1() -> None:
    with np.load(shared("data", "voc-boxes", "box_sizes.npz")) as boxes:
        pixels = boxes["voc07_trainval_nondifficult_pixels"]
    euclidean = 100 * cluster(pixels, 5, distance="euclidean").average_iou
    five, nine = (100 * cluster(pixels, k).average_iou for k in (5, 9))
    assert euclidean == pytest.approx(58.8, abs=0.5)  # the paper has 58.7
    assert five == pytest.approx(61.1, abs=0.2)  # 61.0
    assert nine == pytest.approx(67.7, abs=0.5)  # 67.2
    assert euclidean < five < nine
    sides, roots = np.array([128, 256, 512]), np.sqrt([0.5, 1, 2])
    hand = np.array([(side / root, side * root) for side in sides for root in roots])
    # At 1.6, which brings VOC's usual 500 x 375 to the shorter side of 600 that Faster R-CNN works at.
    by_hand = 100 * average_iou(pixels * np.float32(1.6), hand)
    assert by_hand == pytest.approx(60.9, abs=0.5)
    assert euclidean < by_hand < nine


def test_many_boxes_are_clustered_by_their_different_sizes() -> None:
    rng = np.random.default_rng(0)
    boxes = np.exp(rng.normal((4.5, 4.8), (0.9, 0.8), (850_000, 2)))
    assert cluster(boxes, 5).counts.sum() == len(boxes)


def test_first_centroids_are_drawn_by_squared_distance() -> None:
    # Nearly always the first centroid is one of the 1,000 boxes of height 10. The chances of the second, by squared
    # distance: 5 x 16^2 for height 26, 20 x 4^2 for height 14, so 4 to 1; by distance they would be 1 to 1. Both starts
    # stay: 14 is nearer to 10 than to 26, and nearer to (20 x 14 + 5 x 26) / 25 = 16.4 than to 10.
    boxes = sizes(*[(10, 10)] * 1000, *[(10, 14)] * 20, *[(10, 26)] * 5)
    results = [cluster(boxes, 2, distance="euclidean", restarts=1, seed=seed) for seed in range(200)]
    counts = [sorted(result.counts.tolist()) for result in results]
    assert all(pair in ([5, 1020], [25, 1000]) for pair in counts)
    assert 0.7 < np.mean([pair == [5, 1020] for pair in counts]) < 0.9
