"""Which image comes when."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from yolo9000.data.batching import epoch_order
from yolo9000.data.sampler import ImageSampler, balanced_weights, joint_weights, repeat_weights, weighted_order
from yolo9000.types import BoxAnnotations, ImageFile, Sample


def sample(*labels: int, boxed: bool = True) -> Sample:
    boxes = BoxAnnotations.plain(
        np.tile(np.array([[0, 0, 3, 2]], np.float32), (len(labels), 1)), np.array(labels, np.int64)
    )
    image = ImageFile(Path("a.jpg"))
    return Sample("a", image, "a", None, boxes) if boxed else Sample("a", image, "a", None, None, labels)


def test_a_stream_shows_each_image_once_an_epoch_and_goes_over_its_end() -> None:
    sampler = ImageSampler(seed=3, count=7)
    indices = [sampler.sample(position) for position in range(5, 16)]
    assert [(epoch, index) for epoch, index, _ in indices] == [
        (0, 5),
        (0, 6),
        *((1, i) for i in range(7)),
        (2, 0),
        (2, 1),
    ]
    assert [image for epoch, _, image in indices if epoch == 1] == epoch_order(3, 1, 7).tolist()
    assert {image for epoch, _, image in indices if epoch == 1} == set(range(7))


def test_a_stream_can_be_entered_anywhere() -> None:
    forward = [ImageSampler(5, 4, np.array([1.0, 2, 3, 4])).sample(position) for position in range(12)]
    sampler = ImageSampler(5, 4, np.array([1.0, 2, 3, 4]))
    assert [sampler.sample(position) for position in reversed(range(12))] == forward[::-1]


def test_equal_weights_show_each_image_once() -> None:
    assert sorted(weighted_order(1, 2, np.full(9, 0.3)).tolist()) == list(range(9))


@given(st.lists(st.floats(0.01, 100), min_size=1, max_size=30), st.integers(0, 1000))
def test_a_image_comes_as_often_as_its_weight_says_to_within_one(weights: list[float], seed: int) -> None:
    order = weighted_order(seed, 0, np.array(weights))
    assert len(order) == len(weights)
    counts = np.bincount(order, minlength=len(weights))
    fractions = np.array(weights) / sum(weights) * len(weights)
    assert (np.abs(counts - fractions) < 1 + 1e-9).all()


def test_weighted_images_are_shuffled_again_each_epoch() -> None:
    weights = np.repeat([1.0, 3.0], 40)  # 40 images of one kind, then 40 of another that come three times as often
    first, second = (weighted_order(4, epoch, weights) for epoch in (0, 1))
    assert first.tolist() != second.tolist()
    for order in (first, second):
        kinds = "".join("ab"[int(image >= 40)] for image in order)
        assert max(map(len, kinds.replace("b", " ").split())) < 8  # unshuffled: 20 and 60 in a row
        assert max(map(len, kinds.replace("a", " ").split())) < 30


def test_over_many_epochs_weights_are_met_in_the_mean() -> None:
    weights = np.array([1.0, 1.0, 2.5, 5.5])  # of 4 images an epoch: 0.4, 0.4, 1.0, 2.2
    counts = Counter(int(image) for epoch in range(2000) for image in weighted_order(0, epoch, weights))
    assert [counts[i] / 2000 for i in range(4)] == pytest.approx([0.4, 0.4, 1.0, 2.2], abs=0.03)


def test_balanced_weights_show_classes_as_often() -> None:
    samples = [sample(0), sample(0), sample(0), sample(1, boxed=False)]
    weights = balanced_weights(samples, 3)
    assert weights.tolist() == pytest.approx([1 / 3, 1 / 3, 1 / 3, 1])
    # An image of both weighs the mean, one of none what an image weighs in the mean: (1/2 + (1/2 + 1)/2) / 2
    assert balanced_weights([sample(0), sample(0, 1), sample()], 2).tolist() == pytest.approx([0.5, 0.75, 0.625])
    assert balanced_weights([sample(), sample()], 2).tolist() == [1, 1]


def test_repeat_weights_are_lvis_factors() -> None:
    # Class 0 is in 4 of 5 images, class 1 in 1 of 5: max(1, sqrt(.8 / .8)) = 1 and sqrt(.8 / .2) = 2
    samples = [sample(0), sample(0, 0), sample(0), sample(0, 1), sample()]
    assert repeat_weights(samples, 2, 0.8).tolist() == pytest.approx([1, 1, 1, 2, 1])


def test_image_level_images_come_in_the_stated_ratio() -> None:
    samples = [sample(0), sample(1), *(sample(number, boxed=False) for number in range(6))]
    weights = joint_weights(samples, 4.0)
    # 2 boxed images of weight 1 each, so that 6 labelled ones share 8
    np.testing.assert_allclose(weights, [1, 1, *[8 / 6] * 6])
    sampler = ImageSampler(3, len(samples), weights)
    seen = Counter(sampler.sample(position)[2] < 2 for position in range(8 * 500))
    assert seen[True] == pytest.approx(8 * 500 / 5, rel=0.05)


def test_within_either_kind_weights_stay_as_they_were() -> None:
    samples = [sample(0), sample(1), sample(0, boxed=False), sample(1, boxed=False)]
    weights = joint_weights(samples, 2.0, np.array([1.0, 3.0, 5.0, 10.0]))
    np.testing.assert_allclose(weights, [1, 3, 8 * 5 / 15, 8 * 10 / 15])  # 2 x (1 + 3), shared 1 to 2


@pytest.mark.parametrize("kind", ["boxed", "labelled"])
def test_a_ratio_of_one_kind_is_refused(kind: str) -> None:
    samples = [sample(0, boxed=kind == "boxed")] * 2
    with pytest.raises(ValueError, match="samples must have images with boxes and images without"):
        joint_weights(samples, 1.0)
