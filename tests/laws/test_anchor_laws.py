"""What holds for the clusters of any boxes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from yolo9000.adapt.anchors import MAX_ITERATIONS, average_iou, cluster, recall, size_iou

DISTANCES = ("iou", "euclidean")


@st.composite
def random_boxes(draw: st.DrawFn, max_count: int = 300) -> np.ndarray:
    """Sizes as in images: many small ones, few large ones, some of them several times."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    spread = draw(st.sampled_from([0.2, 0.8, 1.5]))
    boxes = np.exp(rng.normal((1.5, 2.0), spread, (draw(st.integers(12, max_count)), 2)))
    return np.concatenate([boxes, boxes[: len(boxes) // 4]])


def odd_boxes() -> st.SearchStrategy[np.ndarray]:
    """Any sizes at all: extreme, equal, or nearly."""
    side = st.sampled_from([1e-70, 0.125, 1.0, 1 + 1e-12, 3.0, 7.5, 1e70]) | st.floats(1e-3, 1e3)
    return st.lists(st.tuples(side, side), min_size=1, max_size=30).map(np.array)


def nearest(boxes: np.ndarray, anchors: np.ndarray, distance: str) -> np.ndarray:
    if distance == "iou":
        return (1 - size_iou(boxes, anchors)).argmin(axis=1)
    return np.linalg.norm(boxes[:, None] - anchors, axis=2).argmin(axis=1)


@settings(deadline=None, max_examples=60)
@given(boxes=random_boxes(), k=st.integers(1, 8), distance=st.sampled_from(DISTANCES))
def test_every_anchor_is_the_mean_of_the_boxes_nearest_to_it(boxes: np.ndarray, k: int, distance: str) -> None:
    """Where k-means ends, if it does not cycle; no box was skipped that should have been reassigned."""
    clusters = cluster(boxes, k, distance=distance, restarts=1)
    assume(clusters.iterations < MAX_ITERATIONS)
    labels = nearest(boxes, clusters.anchors_wh, distance)
    means = [boxes[labels == label].mean(axis=0) for label in range(k)]
    np.testing.assert_allclose(clusters.anchors_wh, means, rtol=1e-9)
    assert clusters.counts.tolist() == np.bincount(labels, minlength=k).tolist()


@settings(deadline=None, max_examples=30)
@given(boxes=random_boxes(), k=st.integers(1, 6), distance=st.sampled_from(DISTANCES), seed=st.integers(0, 9))
def test_the_order_of_the_boxes_does_not_matter(boxes: np.ndarray, k: int, distance: str, seed: int) -> None:
    shuffled = np.random.default_rng(seed).permutation(boxes)
    one = cluster(boxes, k, distance=distance, restarts=2, seed=seed)
    for other in (shuffled, boxes[::-1], boxes):
        same = cluster(other, k, distance=distance, restarts=2, seed=seed)
        np.testing.assert_array_equal(same.anchors_wh, one.anchors_wh)
        np.testing.assert_array_equal(same.counts, one.counts)
        assert (same.average_iou, same.iterations) == (one.average_iou, one.iterations)


@settings(deadline=None, max_examples=30)
@given(boxes=random_boxes(), k=st.integers(1, 6), distance=st.sampled_from(DISTANCES), exponent=st.integers(-40, 40))
def test_anchors_scale_with_the_boxes(boxes: np.ndarray, k: int, distance: str, exponent: int) -> None:
    scale = 2.0**exponent
    one, scaled = (cluster(sizes, k, distance=distance, restarts=2) for sizes in (boxes, boxes * scale))
    np.testing.assert_array_equal(scaled.anchors_wh, one.anchors_wh * scale)
    assert scaled.average_iou == one.average_iou


@settings(deadline=None, max_examples=20)
@given(boxes=random_boxes(), k=st.integers(1, 5), distance=st.sampled_from(DISTANCES))
def test_turned_anchors_fit_turned_boxes_as_well(boxes: np.ndarray, k: int, distance: str) -> None:
    clusters = cluster(boxes, k, distance=distance, restarts=1)
    turned, anchors = boxes[:, ::-1], clusters.anchors_wh[:, ::-1]
    assert average_iou(turned, anchors) == pytest.approx(clusters.average_iou, rel=1e-12)
    assert recall(turned, anchors, 0.4) == recall(boxes, clusters.anchors_wh, 0.4)


@settings(deadline=None, max_examples=10)
@given(boxes=random_boxes(max_count=150))
def test_more_anchors_fit_no_worse(boxes: np.ndarray) -> None:
    averages = [cluster(boxes, k, restarts=10).average_iou for k in range(1, 7)]
    assert (np.diff(averages) > -0.005).all()


@settings(deadline=None, max_examples=30)
@given(boxes=random_boxes(), k=st.integers(2, 8), distance=st.sampled_from(DISTANCES))
def test_more_restarts_give_no_worse_clusters(boxes: np.ndarray, k: int, distance: str) -> None:
    few, many = (cluster(boxes, k, distance=distance, restarts=restarts).anchors_wh for restarts in (1, 6))
    if distance == "iou":
        assert average_iou(boxes, many) >= average_iou(boxes, few) - 1e-12
    else:
        assert squared_error(boxes, many) <= squared_error(boxes, few) * (1 + 1e-12)


def squared_error(boxes: np.ndarray, anchors: np.ndarray) -> float:
    return float(((boxes[:, None] - anchors) ** 2).sum(axis=2).min(axis=1).sum())


@settings(deadline=None, max_examples=10)
@given(seed=st.integers(0, 2**32), k=st.integers(3, 7))
def test_iou_fits_better_than_euclidean(seed: int, k: int) -> None:
    """On boxes as spread as those of images: the reason for the distance in §2."""
    boxes = np.exp(np.random.default_rng(seed).normal((4.5, 4.8), 0.9, (300, 2)))
    iou, euclidean = (cluster(boxes, k, distance=distance).average_iou for distance in DISTANCES)
    assert iou > euclidean


@settings(deadline=None, max_examples=80)
@given(boxes=odd_boxes(), distance=st.sampled_from(DISTANCES), data=st.data())
def test_odd_boxes(boxes: np.ndarray, distance: str, data: st.DataObject) -> None:
    k = data.draw(st.integers(1, len(np.unique(boxes, axis=0))))
    clusters = cluster(boxes, k, distance=distance, restarts=2)
    assert clusters.anchors_wh.shape == (k, 2)
    assert np.isfinite(clusters.anchors_wh).all()
    assert (clusters.anchors_wh > 0).all()
    assert (np.diff(clusters.anchors_wh.prod(axis=1)) >= 0).all()
    assert clusters.counts.sum() == len(boxes)
    assert clusters.average_iou == pytest.approx(average_iou(boxes, clusters.anchors_wh), rel=1e-9)
    assert 0 < clusters.average_iou <= 1 + 1e-12


@settings(deadline=None, max_examples=30)
@given(boxes=random_boxes(max_count=60), k=st.integers(1, 9))
def test_boxes_one_by_one_are_boxes_all_at_once(boxes: np.ndarray, k: int) -> None:
    anchors = boxes[:k]
    best = [max(float(size_iou(box[None], anchor[None])[0, 0]) for anchor in anchors) for box in boxes]
    assert average_iou(boxes, anchors) == pytest.approx(np.mean(best))
    assert recall(boxes, anchors, 0.5) == pytest.approx(np.mean(np.array(best) >= 0.5))
