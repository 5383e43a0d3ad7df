"""Laws of the augmentation: images and boxes go together, and the key alone decides what is drawn."""

from __future__ import annotations

import colorsys
import hashlib
import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from yolo9000.boxes import iou
from yolo9000.data.augment import (
    AugmentSettings,
    ClassifierAugmentSettings,
    Placement,
    augment,
    augment_classifier,
    augment_or_mosaic,
    distort,
    draw_color,
    draw_cover,
    draw_crop,
    draw_jitter,
    draw_rotation,
    draws,
    mosaic,
    move_boxes,
)
from yolo9000.data.batching import epoch_order, multi_scale_size
from yolo9000.types import BoxAnnotations

SEEDS = st.integers(0, 2**40)
SIDES = st.integers(1, 900)
PLACEMENTS = ("random_crop", "letterbox_jitter")
COLORS = np.array([[250, 0, 0], [0, 250, 0], [0, 0, 250], [250, 250, 0]], np.uint8)  # one for each label
COLORED = 60  # levels between a pixel's channels: more than grey, black and their edges have


def painted(seed: int, label: int = 0, wh: tuple[int, int] = (300, 200)) -> tuple[np.ndarray, BoxAnnotations]:
    """A rectangle in a color on mottled grey."""
    rng, (width, height) = np.random.default_rng(seed), wh
    image = np.repeat(rng.integers(60, 200, (height, width, 1), dtype=np.uint8), 3, axis=2)
    box_width, box_height = rng.integers((80, 60), (width // 2, height // 2 + 20))
    left, top = rng.integers((0, 0), (width - box_width, height - box_height))
    image[top : top + box_height, left : left + box_width] = COLORS[label]
    box = np.array([[left, top, left + box_width, top + box_height]], np.float32)
    return image, BoxAnnotations.plain(box, np.array([label], np.int64))


def seen(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The box around the pixels of a mask."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], np.float32)


def colored(image: np.ndarray) -> np.ndarray:
    return np.ptp(image, axis=2) > COLORED


# Images and boxes


@pytest.mark.parametrize("upside_down", [False, True])
@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("placement", PLACEMENTS)
def test_boxes_go_with_their_images(placement: str, flip: bool, upside_down: bool) -> None:
    chosen = AugmentSettings(placement=placement, flip=flip, upside_down=upside_down, min_visible=0)
    count = 0
    for index in range(60):
        image, boxes = augment(*painted(index), chosen, (192, 160), draws(1, 0, index))
        assert boxes is not None
        for box in boxes.boxes_xyxy:
            assert iou(box, seen(image, colored(image))) > 0.8
            count += 1
    assert count > 50


def test_flips_happen_to_half() -> None:
    image = np.full((200, 300, 3), 90, np.uint8)
    gt = BoxAnnotations.plain(np.array([[20, 40, 120, 90]], np.float32), np.array([0]))
    lefts = []
    for index in range(200):
        _, boxes = augment(image, gt, AugmentSettings(jitter=0.05), (96, 64), draws(2, 0, index))
        assert boxes is not None
        lefts.append(boxes.boxes_xyxy[0, 0] < 96 / 3)
    assert 70 < sum(lefts) < 130


def test_half_are_upside_down_where_that_is_wanted() -> None:
    image = np.full((200, 300, 3), 90, np.uint8)
    gt = BoxAnnotations.plain(np.array([[20, 10, 120, 60]], np.float32), np.array([0]))
    in_upper_half = {False: 0, True: 0}
    for wanted in in_upper_half:
        for index in range(200):
            chosen = AugmentSettings(jitter=0.05, upside_down=wanted)
            _, boxes = augment(image, gt, chosen, (96, 64), draws(2, 0, index))
            assert boxes is not None
            in_upper_half[wanted] += int(boxes.boxes_xyxy[0, 1] < 64 / 2)
    assert in_upper_half[False] == 200
    assert 70 < in_upper_half[True] < 130


def test_boxes_go_with_their_images_in_a_mosaic() -> None:
    chosen, count = AugmentSettings(hue=0, min_visible=0.3), 0
    marks = (COLORS > 100).tolist()

    def load(number: int) -> tuple[np.ndarray, BoxAnnotations]:
        return painted(number, next(labels), (200 + 7 * number, 180))

    for index in range(40):
        labels = iter((1, 2, 3))
        image, boxes = mosaic(*painted(index), chosen, (256, 224), draws(1, 0, index), load, 20)
        middle = (image.max(axis=2).astype(int) + image.min(axis=2)) // 2
        for box, label in zip(boxes.boxes_xyxy, boxes.labels, strict=True):
            mask = colored(image) & ((image > middle[..., None]) == marks[label]).all(axis=2)
            assert iou(box, seen(image, mask)) > 0.8
            count += 1
    assert count > 100


@settings(deadline=None, max_examples=60)
@given(
    seed=SEEDS,
    image_wh=st.tuples(SIDES, SIDES),
    size_wh=st.tuples(st.integers(8, 608), st.integers(8, 608)),
    jitter=st.floats(0, 0.49),
    mirrored=st.booleans(),
)
def test_crop_is_darknets_correction(
    seed: int, image_wh: tuple[int, int], size_wh: tuple[int, int], jitter: float, mirrored: bool
) -> None:
    """Darknet's fractions: divided by the scale, less the shift, mirrored in 1, clipped to 0..1."""
    placement = draw_crop(image_wh, size_wh, jitter, draws(seed, 0, 0))
    (left, top, width, height), rng = placement.source_ltwh, np.random.default_rng(seed)
    image, size = np.array(image_wh * 2), np.array(size_wh * 2)
    fractions = np.sort(rng.random((5, 2, 2)), axis=1).reshape(5, 4)
    scales = np.array([width / image_wh[0], height / image_wh[1]] * 2)
    shifts = np.array([left / image_wh[0], top / image_wh[1]] * 2) / scales
    expected = fractions / scales - shifts
    if mirrored:
        placement = placement.mirror(size_wh[0])
        expected[:, [0, 2]] = 1 - expected[:, [2, 0]]
    expected = np.clip(expected, 0, 1)
    keep = (expected[:, 2:] - expected[:, :2] >= 0.0011).all(axis=1)
    boxes = BoxAnnotations.plain((fractions * image).astype(np.float32)[keep], np.flatnonzero(keep))
    ours = move_boxes(boxes, placement, size_wh, 0.0)
    assert ours.labels.tolist() == boxes.labels.tolist()
    np.testing.assert_allclose(ours.boxes_xyxy, (expected * size)[keep], atol=2e-3)
    sides = ours.boxes_xyxy[:, 2:] - ours.boxes_xyxy[:, :2]
    np.testing.assert_allclose(ours.areas, sides.prod(axis=1), rtol=2e-2, atol=1e-2)


@settings(deadline=None, max_examples=60)
@given(seed=SEEDS, image_wh=st.tuples(SIDES, SIDES), size_wh=st.tuples(st.integers(8, 608), st.integers(8, 608)))
def test_what_is_drawn_lies_within_bounds(seed: int, image_wh: tuple[int, int], size_wh: tuple[int, int]) -> None:
    (width, height), jitter = image_wh, 0.2
    cut = draw_crop(image_wh, size_wh, jitter, draws(seed, 0, 0))
    left, top, cut_width, cut_height = cut.source_ltwh
    assert cut.target_ltwh == (0, 0, *size_wh)
    assert max(abs(left), abs(width - left - cut_width)) <= jitter * width
    assert max(abs(top), abs(height - top - cut_height)) <= jitter * height

    for placement, outer, inner, aspect in (
        (draw_jitter(image_wh, size_wh, jitter, draws(seed, 0, 1)), size_wh, "target_ltwh", width / height),
        (
            draw_cover(image_wh, size_wh, jitter, draws(seed, 0, 2)),
            image_wh,
            "source_ltwh",
            size_wh[0] / size_wh[1],
        ),
    ):
        left, top, inner_width, inner_height = getattr(placement, inner)
        assert 0 <= left <= outer[0] - inner_width
        assert 0 <= top <= outer[1] - inner_height
        assert inner_width == outer[0] or inner_height == outer[1]
        if min(inner_width, inner_height) > 1:  # else one pixel may be more than its share
            assert (inner_width + 1) / inner_height >= aspect * 0.8 / 1.2
            assert inner_width / (inner_height + 1) <= aspect * 1.2 / 0.8


def test_draws_fill_their_bounds() -> None:
    lefts, fractions = [], []
    for index in range(400):
        lefts.append(draw_crop((300, 200), (64, 32), 0.2, draws(0, 0, index)).source_ltwh[0])
        _, _, width, height = draw_jitter((300, 200), (416, 352), 0.2, draws(0, 0, index)).target_ltwh
        fractions.append(width / height)
    assert -60 <= min(lefts) < -50
    assert 50 < max(lefts) <= 60
    assert abs(np.mean(lefts)) < 6  # 60 / sqrt(3 * 400) = 1.7
    assert 1 <= min(fractions) < 1.15
    assert 1.9 < max(fractions) <= 2.26


@pytest.mark.parametrize("limit", [1.5, 0.75])
def test_colors_fill_their_bounds(limit: float) -> None:
    chosen = AugmentSettings(hue=0.1, saturation=limit, exposure=limit)
    drawn = np.array([draw_color(chosen, draws(0, 0, index)) for index in range(1000)])
    hues, largest = drawn[:, 0], max(limit, 1 / limit)
    assert -0.1 <= hues.min() < -0.098
    assert 0.098 < hues.max() <= 0.1
    assert abs(hues.mean()) < 0.01
    for factors in drawn[:, 1:].T:
        assert 1 / largest <= factors.min() < 1 / largest + 0.02
        assert largest - 0.02 < factors.max() <= largest
        assert 400 < (factors > 1).sum() < 600
        # Uniform between 1 and the limit, or the inverse of that: undone, the mean is half way
        back = np.where((factors > 1) == (limit > 1), factors, 1 / factors)
        assert back.mean() == pytest.approx((1 + limit) / 2, abs=0.02)
    assert abs(np.corrcoef(drawn.T) - np.eye(3)).max() < 0.12


def test_rotations_fill_their_bounds() -> None:
    chosen = ClassifierAugmentSettings(min_crop=128, max_crop=448)
    drawn = [draw_rotation((300, 200), (128, 96), chosen, draws(0, 0, index)) for index in range(1000)]
    degrees = np.degrees([rotation.radians for rotation in drawn])
    assert -7 <= degrees.min() < -6.9
    assert 6.9 < degrees.max() <= 7
    aspects = np.array([rotation.aspect for rotation in drawn])
    assert 0.75 <= aspects.min() < 0.76
    assert 1.32 < aspects.max() <= 1 / 0.75
    # the image's shorter side is 200, narrower images are no lower: 300 * .75 = 225
    lengths = np.array([rotation.scale for rotation in drawn]) * 200
    assert lengths.min() == pytest.approx(128, abs=1)
    assert lengths.max() == pytest.approx(448, abs=1)


def test_classifier_sees_the_image() -> None:
    """Whatever is drawn, at least the middle of the input shows the image, and not the black beyond it."""
    image = np.full((200, 300, 3), 200, np.uint8)
    for index in range(60):
        out = augment_classifier(image, ClassifierAugmentSettings(min_crop=150), (128, 96), draws(0, 0, index))
        assert out.shape == (96, 128, 3)
        assert (out > 100).mean() > 0.8


# Colors


def darknets_colors(image: np.ndarray, hue: float, saturation: float, exposure: float) -> np.ndarray:
    """Pixel by pixel through HSV, with Python's own formulas, which are Darknet's."""
    out = np.empty(image.shape)
    for pixel in np.ndindex(image.shape[:2]):
        h, s, v = colorsys.rgb_to_hsv(*(float(x) for x in image[pixel]))
        out[pixel] = colorsys.hsv_to_rgb((h + hue) % 1, s * saturation, v * exposure) if s else [v * exposure] * 3
    return np.clip(out, 0, 1)


@settings(deadline=None, max_examples=60)
@given(seed=SEEDS, hue=st.floats(-0.5, 0.5), saturation=st.floats(0.3, 3), exposure=st.floats(0.3, 3))
def test_distort_is_hsv(seed: int, hue: float, saturation: float, exposure: float) -> None:
    rng = np.random.default_rng(seed)
    levels = rng.choice(np.array([0, 1, 60, 61, 128, 200, 254, 255], np.uint8), (9, 7, 3))
    levels[4:] = rng.integers(0, 256, (5, 7, 3))
    image = (levels / 255).astype(np.float32)
    expected = darknets_colors(image, hue, saturation, exposure)
    np.testing.assert_allclose(distort(image, hue, saturation, exposure), expected, atol=1e-5)
    tolerance = (1 + exposure * saturation) / 2 + 0.01
    np.testing.assert_allclose(distort(levels, hue, saturation, exposure), 255 * expected, atol=tolerance)


# Keys


def digest(seed: int, epoch: int, index: int) -> str:
    """Of all that this key makes: each kind of augmentation."""
    hashed = hashlib.sha256()
    for values in (
        AugmentSettings(),
        AugmentSettings(placement="letterbox_jitter"),
        AugmentSettings(mosaic=0.5),
    ):
        image, boxes = augment_or_mosaic(*painted(3), values, (96, 64), draws(seed, epoch, index), painted, 9)
        assert boxes is not None
        hashed.update(image.tobytes() + boxes.boxes_xyxy.tobytes())
    classified = augment_classifier(painted(3)[0], ClassifierAugmentSettings(), (64, 48), draws(seed, epoch, index))
    hashed.update(classified.tobytes())
    return hashed.hexdigest()


def test_order_of_the_work_changes_nothing() -> None:
    forwards = [digest(5, 1, index) for index in range(12)]
    assert [digest(5, 1, index) for index in reversed(range(12))] == forwards[::-1]
    assert len(set(forwards)) == 12


def test_another_process_makes_the_same() -> None:
    here = os.path.dirname(__file__)  # noqa: PTH120
    program = f"import sys; sys.path[:0] = {[here, *sys.path]!r}\n"
    program += "from test_augment_laws import digest\nprint(digest(5, 1, 2), digest(5, 1, 0))"
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert answer.stdout.split() == [digest(5, 1, 2), digest(5, 1, 0)]


def test_other_keys_make_others() -> None:
    keys = [(0, 0, 0), (0, 0, 1), (0, 1, 0), (1, 0, 0), (0, 0, 2**31), (2**32, 0, 0), (2**32 + 1, 0, 0)]
    assert len({digest(*key) for key in keys}) == len(keys)


def test_augmentation_leaves_its_input_alone() -> None:
    image, gt = painted(1)
    copies = image.copy(), gt.boxes_xyxy.copy()
    for index in range(8):
        augment_or_mosaic(image, gt, AugmentSettings(mosaic=0.5), (96, 64), draws(0, 0, index), painted, 9)
        augment_classifier(image, ClassifierAugmentSettings(), (64, 48), draws(0, 0, index))
    np.testing.assert_array_equal(image, copies[0])
    np.testing.assert_array_equal(gt.boxes_xyxy, copies[1])


# Order


@settings(deadline=None, max_examples=50)
@given(seed=SEEDS, epoch=st.integers(0, 1000), count=st.integers(0, 200), shards=st.integers(1, 9))
def test_shards_deal_out_one_order(seed: int, epoch: int, count: int, shards: int) -> None:
    whole = epoch_order(seed, epoch, count)
    assert sorted(whole.tolist()) == list(range(count))
    parts = [epoch_order(seed, epoch, count, shard, shards) for shard in range(shards)]
    dealt = np.full(count, -1)
    for shard, part in enumerate(parts):
        dealt[shard + shards * np.arange(len(part))] = part
    np.testing.assert_array_equal(dealt, whole)
    lengths = [len(part) for part in parts]
    assert max(lengths) - min(lengths) <= 1


def test_orders_differ_and_every_image_may_come_first() -> None:
    orders = {tuple(epoch_order(seed, epoch, 20).tolist()) for seed in range(20) for epoch in range(20)}
    assert len(orders) == 400
    assert {order[0] for order in orders} == set(range(20))


@settings(deadline=None, max_examples=50)
@given(
    seed=SEEDS,
    batch=st.integers(0, 10**6),
    sizes=st.lists(st.integers(1, 50), min_size=1, max_size=12),
    every=st.integers(1, 20),
)
def test_size_is_the_same_for_so_many_batches(seed: int, batch: int, sizes: list[int], every: int) -> None:
    sides = [32 * size for size in sizes]
    first = batch - batch % every
    drawn = {multi_scale_size(seed, number, sides, every) for number in range(first, first + every)}
    assert len(drawn) == 1
    assert drawn <= set(sides)


def test_whole_window_keeps_every_box() -> None:
    boxes = painted(4)[1]
    kept = move_boxes(boxes, Placement((0, 0, 300, 200), (0, 0, 300, 200)), (300, 200), 1.0)
    np.testing.assert_array_equal(kept.boxes_xyxy, boxes.boxes_xyxy)
    np.testing.assert_array_equal(kept.areas, boxes.areas)
