"""Windows, placements, flips and colors of images of a few pixels, and batches."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from pydantic import ValidationError

from yolo9000.data.augment import (
    AugmentSettings,
    ClassifierAugmentSettings,
    Placement,
    Purpose,
    Rotation,
    augment,
    augment_classifier,
    augment_or_mosaic,
    crop,
    distort,
    draw_cover,
    draw_crop,
    draw_jitter,
    draw_rotation,
    draws,
    keyed,
    mosaic,
    move_boxes,
    paste,
    rotate_crop,
)
from yolo9000.data.batching import SIZES, Batch, Example, collate, epoch_order, multi_scale_size
from yolo9000.types import BoxAnnotations

PLAIN = AugmentSettings(jitter=0, hue=0, saturation=1, exposure=1, flip=False, min_visible=0)


class Script(np.random.Generator):
    """Gives the values that a test writes down."""

    def __init__(self, *values: float) -> None:
        super().__init__(np.random.PCG64(0))
        self.values: Iterator[float] = iter(values)

    def random(self, *_: object, **__: object) -> float:
        return float(next(self.values))


def row(*values: int, dtype: type = np.uint8) -> np.ndarray:
    """An image of one row, grey."""
    return np.repeat(np.array([values], dtype)[:, :, None], 3, axis=2)


def grey(*shape_hw: int) -> np.ndarray:
    return np.full((*shape_hw, 3), 90, np.uint8)


def gt(*boxes: tuple[float, float, float, float]) -> BoxAnnotations:
    boxes_xyxy = np.array(boxes, np.float32).reshape(-1, 4)
    return BoxAnnotations.plain(boxes_xyxy, np.arange(len(boxes), dtype=np.int64))


def color(*rgb: float) -> np.ndarray:
    return np.array([[rgb, rgb]], np.uint8)


def distorted(*rgb: int, hue: float = 0.0, saturation: float = 1.0, exposure: float = 1.0) -> list[int]:
    """One color, which 8 bits and floats must agree on."""
    ours = distort(color(*rgb), hue, saturation, exposure)[0, 1].tolist()
    floats = distort((color(*rgb) / 255).astype(np.float32), hue, saturation, exposure)[0, 1] * 255
    np.testing.assert_allclose(ours, floats, atol=1.01)
    return ours


# Boxes


def test_crop_moves_boxes() -> None:
    # A window 80 x 72 of an image, from (10, -6), to 160 x 96: scales 2 and 4/3.
    # (20, 9, 50, 30): 2 * (20 - 10) = 20, 4/3 * (9 + 6) = 20, 2 * 40 = 80, 4/3 * 36 = 48; area 630 * 8/3 = 1680.
    # (0, 0, 30, 30): 2 * -10 = -20, cut at 0; 8; 40; 48. 40 of its 60 columns are left: area 900 * 8/3 * 2/3 = 1600.
    placement = Placement((10, -6, 80, 72), (0, 0, 160, 96))
    placed = move_boxes(gt((20, 9, 50, 30), (0, 0, 30, 30)), placement, (160, 96), 0.0)
    np.testing.assert_allclose(placed.boxes_xyxy, [[20, 20, 80, 48], [0, 8, 40, 48]], atol=1e-4)
    np.testing.assert_allclose(placed.areas, [1680, 1600], rtol=1e-5)
    # mirrored on 160: 160 - 80 = 80, 160 - 20 = 140; 160 - 40 = 120, 160
    placed = move_boxes(gt((20, 9, 50, 30), (0, 0, 30, 30)), placement.mirror(160), (160, 96), 0.0)
    np.testing.assert_allclose(placed.boxes_xyxy, [[80, 20, 140, 48], [120, 8, 160, 48]], atol=1e-4)


def test_placement_moves_boxes() -> None:
    # 50 x 20 to 100 x 60 at (7, 12) of 128 x 96: scales 2 and 3. 2 * 10 + 7 = 27, 3 * 5 + 12 = 27, 47, 57.
    placement = Placement((0, 0, 50, 20), (7, 12, 100, 60))
    placed = move_boxes(gt((10, 5, 20, 15)), placement, (128, 96), 1.0)
    np.testing.assert_allclose(placed.boxes_xyxy, [[27, 27, 47, 57]], atol=1e-4)
    # mirrored, the target begins at 128 - 107 = 21; the box at 128 - 47 = 81
    assert placement.mirror(128).target_ltwh == (21, 12, 100, 60)
    placed = move_boxes(gt((10, 5, 20, 15)), placement.mirror(128), (128, 96), 1.0)
    np.testing.assert_allclose(placed.boxes_xyxy, [[81, 27, 101, 57]], atol=1e-4)
    assert placement.mirror(128).mirror(128) == placement


def test_target_beyond_the_input_cuts_boxes() -> None:
    # 50 x 40 at (-7, -4) of 32 x 24, scale 1: (0, 0, 10, 10) shows 3 x 6 of 10 x 10, (45, 0, 50, 9) nothing
    placed = move_boxes(gt((0, 0, 10, 10), (45, 0, 50, 9)), Placement((0, 0, 50, 40), (-7, -4, 50, 40)), (32, 24), 0.0)
    np.testing.assert_allclose(placed.boxes_xyxy, [[0, 0, 3, 6]], atol=1e-5)
    assert placed.areas == pytest.approx([18])


@pytest.mark.parametrize(("min_visible", "left"), [(0.0, [0, 1, 2]), (0.25, [0, 1, 2]), (0.26, [0, 1]), (0.6, [0])])
def test_boxes_mostly_cut_away_go(min_visible: float, left: list[int]) -> None:
    # The window begins at x = 10: of the widths 20, 20, 8 are left 20, 10, 2; shares 1, 1/2, 1/4
    boxes = gt((12, 3, 32, 9), (0, 3, 20, 9), (4, 3, 12, 9))
    placed = move_boxes(boxes, Placement((10, 0, 40, 30), (0, 0, 80, 60)), (80, 60), min_visible)
    assert placed.labels.tolist() == left


def test_tiny_boxes_go() -> None:
    # .001 of 400 x 300 is .4 x .3
    boxes = gt((10, 10, 10.39, 50), (10, 10, 10.41, 50), (10, 10, 50, 10.29), (10, 10, 50, 10.31), (7, 7, 7, 9))
    placed = move_boxes(boxes, Placement((0, 0, 400, 300), (0, 0, 400, 300)), (400, 300), 0.0)
    assert placed.labels.tolist() == [1, 3]


def test_marks_stay_with_their_boxes() -> None:
    boxes = BoxAnnotations(
        np.array([[0, 0, 5, 5], [90, 0, 95, 5], [10, 10, 20, 30]], np.float32),
        np.array([4, 5, 6]),
        np.array([True, False, False]),
        np.array([False, False, True]),
        np.array([20, 20, 80], np.float32),
    )
    placed = move_boxes(boxes, Placement((0, 0, 60, 40), (0, 0, 30, 40)), (30, 40), 0.1)
    assert placed.labels.tolist() == [4, 6]
    assert placed.difficult.tolist() == [True, False]
    assert placed.crowd.tolist() == [False, True]
    assert placed.areas.tolist() == [10, 40]  # an outline's area halves as its box does


# Pixels


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_crop_takes_the_window(dtype: type) -> None:
    image = row(0, 40, 80, 120, dtype=dtype)
    # 2 pixels to 4: samples at -1/4, 1/4, 3/4, 5/4 of the window, its edges repeated
    out = crop(image, Placement((1, 0, 2, 1), (0, 0, 4, 1)), (4, 1))
    assert out[0, :, 1].tolist() == [40, 50, 70, 80]
    # beyond the image its edge pixels repeat: 2 to the left, 1 above, 1 to the right
    out = crop(image, Placement((-2, -1, 7, 2), (0, 0, 7, 2)), (7, 2))
    assert out[:, :, 0].tolist() == [[0, 0, 0, 40, 80, 120, 120]] * 2
    out = crop(image, Placement((-2, -1, 7, 2), (0, 0, 7, 2), mirrored=True), (7, 2))
    assert out[:, :, 2].tolist() == [[120, 120, 80, 40, 0, 0, 0]] * 2


def test_placement_on_grey() -> None:
    # 4 pixels to 2: samples at 0 and 2; to the left of column 1 and beyond column 3 all stays grey
    out = paste(row(10, 40, 80, 120), Placement((0, 0, 4, 1), (1, 1, 2, 1)), (4, 3))
    assert out[:, :, 0].tolist() == [[128] * 4, [128, 10, 80, 128], [128] * 4]
    out = paste(row(10, 40, 80, 120), Placement((0, 0, 4, 1), (1, 1, 2, 1)).mirror(4), (4, 3))
    assert out[1, :, 0].tolist() == [128, 80, 10, 128]
    floats = paste(row(0, 1, dtype=np.float32), Placement((0, 0, 2, 1), (1, 0, 2, 1)), (4, 1))
    assert floats[0, :, 0].tolist() == [0.5, 0, 1, 0.5]


def test_placement_fades_where_it_enlarges() -> None:
    # 2 pixels to 4: samples at 0, 1/2, 1, 3/2, of which the last is half way out to black
    out = paste(row(100, 200), Placement((0, 0, 2, 1), (0, 0, 4, 1)), (4, 1))
    assert out[0, :, 0].tolist() == [100, 150, 200, 100]


def test_rotate_crop_cuts_out_the_middle() -> None:
    image = np.zeros((3, 6, 3), np.uint8)
    image[..., 0], image[..., 1] = 10 * np.arange(6), 20 * np.arange(3)[:, None]
    # 4 x 3 of 6 x 3, not turned or scaled: column 6/2 - 4/2 = 1 comes first; shifted by (1, -1) column 2, row -1
    out = rotate_crop(image, Rotation(0.0, 1.0, (0.0, 0.0), 1.0), (4, 3))
    assert out[1].tolist() == [[10, 20, 0], [20, 20, 0], [30, 20, 0], [40, 20, 0]]
    out = rotate_crop(image, Rotation(0.0, 1.0, (1.0, -1.0), 1.0), (4, 3))
    assert out[0].max() == 0  # above the image all is black
    assert out[2, :, 0].tolist() == [20, 30, 40, 50]
    out = rotate_crop(image, Rotation(0.0, 1.0, (1.0, -1.0), 1.0), (4, 3), mirrored=True)
    assert out[2, :, 0].tolist() == [50, 40, 30, 20]
    # a quarter turn: one step right on the input is one down on the image
    out = rotate_crop(image, Rotation(np.pi / 2, 1.0, (0.0, 0.0), 1.0), (3, 6))
    assert np.diff(out[2, :, 1].astype(int)).tolist()[:1] == [20]
    # twice as narrow: the input's columns are two of the image's apart
    out = rotate_crop(image, Rotation(0.0, 1.0, (0.0, 0.0), 2.0), (3, 3))
    assert out[1, :, 0].tolist() == [0, 20, 40]


# Colors


def test_exposure_scales_and_clips() -> None:
    assert distorted(200, 100, 50, exposure=0.5) == [100, 50, 25]
    assert distorted(200, 100, 50, exposure=1.5) == [255, 150, 75]


def test_saturation_moves_away_from_the_largest() -> None:
    # x becomes s x + (1 - s) 200
    assert distorted(200, 100, 50, saturation=0.5) == [200, 150, 125]
    assert distorted(200, 100, 150, saturation=1.5) == [200, 50, 125]
    # HSV's saturation passes 1 here: 3 * 100 - 400 is cut off at 0, and the other is 3 * 150 - 400 all the same
    assert distorted(200, 100, 150, saturation=3.0) == [200, 0, 50]


def test_white_comes_back() -> None:
    # twice as bright and 1.5 times as saturated: 2 * (1.5 * 100 - .5 * 200) = 100, though 2 * 200 is above white
    assert distorted(200, 100, 200, saturation=1.5, exposure=2.0) == [255, 100, 255]


def test_hue_goes_around() -> None:
    # sixths of a turn: red, yellow, green, cyan, blue, magenta
    circle = [[255, 0, 0], [255, 255, 0], [0, 255, 0], [0, 255, 255], [0, 0, 255], [255, 0, 255]]
    for start in range(6):
        for step in range(-3, 4):
            assert distorted(*circle[start], hue=step / 6) == circle[(start + step) % 6]


def test_hue_moves_one_channel_at_a_time() -> None:
    # Between red and yellow, spread 150. A tenth of a turn is .6 of a sixth: green rises by 90.
    assert distorted(200, 100, 50, hue=0.1) == [200, 190, 50]
    # A whole sixth: green rises by the 100 that are missing, then red falls by the other 50.
    assert distorted(200, 100, 50, hue=1 / 6) == [150, 200, 50]
    # The other way: green falls by 50, then blue rises by 40.
    assert distorted(200, 100, 50, hue=-0.1) == [200, 50, 90]


def test_grey_has_no_hue_and_no_saturation() -> None:
    assert distorted(77, 77, 77, hue=0.3, saturation=1.5) == [77, 77, 77]
    assert distorted(0, 0, 0, hue=0.1, saturation=1.5, exposure=1.5) == [0, 0, 0]


def test_nothing_changes_nothing() -> None:
    image = np.random.default_rng(0).integers(0, 256, (7, 5, 3), dtype=np.uint8)
    before = image.copy()
    np.testing.assert_array_equal(distort(image, 0.0, 1.0, 1.0), image)
    np.testing.assert_array_equal(image, before)


# What is drawn


def test_drawn_crop() -> None:
    # 300 x 200, jitter .2: edges move by -60..60 and -40..40. 0 -> -60, .5 -> 0, .25 -> -20, .999 -> 39 (39.92 cut off)
    placement = draw_crop((300, 200), (160, 96), 0.2, Script(0, 0.5, 0.25, 0.999))
    assert placement == Placement((-60, -20, 300 + 60, 200 + 20 - 39), (0, 0, 160, 96))


def test_drawn_placement() -> None:
    # 300 x 200, as drawn 300 x 200: aspect 1.5 on 416 x 352, 416 wide and 416 / 1.5 = 277.3 high; a third of 75 down
    placement = draw_jitter((300, 200), (416, 352), 0.2, Script(0.5, 0.5, 0.9, 1 / 3))
    assert placement == Placement((0, 0, 300, 200), (0, 25, 416, 277))
    # .8 * 300 by 1.2 * 200 less a hair: aspect 1, on 416 x 352 352 high; half of the 64 to the right
    placement = draw_jitter((300, 200), (416, 352), 0.2, Script(0, 1 - 1e-12, 0.5, 0.9))
    assert placement == Placement((0, 0, 300, 200), (32, 0, 352, 352))


def test_drawn_cover() -> None:
    # 100 x 50 asks of 300 x 200 for an aspect of 2: 300 x 150, half of 50 down
    placement = draw_cover((300, 200), (100, 50), 0.2, Script(0.5, 0.5, 0.3, 0.5))
    assert placement == Placement((0, 25, 300, 150), (0, 0, 100, 50))


def test_drawn_rotation() -> None:
    settings = ClassifierAugmentSettings(min_crop=100, max_crop=199)
    # aspect 1 - .25 * .4 = .9, not inverted; length 100 + int(100 * .5) = 150; shorter side min(200, 300 * .9) = 200,
    # scale .75; angle -7 + 14 * .75 = 3.5; to the sides (300 * .75 / .9 - 96) / 2 = 77, half of it; up (150 - 64) / 2
    drawn = draw_rotation((300, 200), (96, 64), settings, Script(0.4, 0.1, 0.5, 0.75, 0.75, 0))
    assert drawn.aspect == pytest.approx(0.9)
    assert drawn.scale == pytest.approx(0.75)
    assert np.degrees(drawn.radians) == pytest.approx(3.5)
    assert drawn.shift_xy == pytest.approx((38.5, -43))
    # upright, the shorter side is 200 * .9 = 180: Darknet multiplies here though it then divides by the aspect
    drawn = draw_rotation((200, 300), (96, 64), settings, Script(0.4, 0.1, 0.5, 0.75, 0.75, 0))
    assert drawn.scale == pytest.approx(150 / 180)


@pytest.mark.parametrize("placement", ["random_crop", "letterbox_jitter"])
@pytest.mark.parametrize("shape_hw", [(1, 1), (1, 500), (500, 1), (2, 3), (700, 9)])
def test_tiny_and_thin_images(placement: str, shape_hw: tuple[int, int]) -> None:
    settings = AugmentSettings(placement=placement, jitter=0.49)
    height, width = shape_hw
    for index in range(30):
        image, boxes = augment(grey(*shape_hw), gt((0, 0, width, height)), settings, (64, 32), draws(0, 0, index))
        assert image.shape == (32, 64, 3)
        assert boxes is not None
        assert len(boxes) <= 1
        cut = augment_classifier(grey(*shape_hw), ClassifierAugmentSettings(), (64, 32), draws(0, 0, index))
        assert cut.shape == (32, 64, 3)


def test_thin_image_keeps_a_pixel() -> None:
    # 1 x 500 on 64 x 32 would be 32 / 500 of a pixel wide
    image, boxes = augment(
        row(*[250] * 500).transpose(1, 0, 2).copy(),
        gt((0, 100, 1, 300)),
        PLAIN.model_copy(update={"placement": "letterbox_jitter"}),
        (64, 32),
        draws(0, 0, 0),
    )
    assert (image[:, :, 0] == 250).sum(axis=1).tolist() == [1] * 32
    assert boxes is not None
    left = int(np.flatnonzero(image[0, :, 0] == 250)[0])
    # 100 / 500 * 32 = 6.4, 300 / 500 * 32 = 19.2
    np.testing.assert_allclose(boxes.boxes_xyxy, [[left, 6.4, left + 1, 19.2]], atol=1e-4)


def test_nothing_drawn_changes_nothing() -> None:
    image = np.random.default_rng(0).integers(0, 256, (32, 64, 3), dtype=np.uint8)
    boxes = gt((3, 4, 30, 20), (0, 0, 64, 32))
    for settings in (PLAIN, PLAIN.model_copy(update={"placement": "letterbox_jitter"})):
        changed, moved = augment(image, boxes, settings, (64, 32), draws(0, 0, 0))
        np.testing.assert_array_equal(changed, image)
        assert moved is not None
        np.testing.assert_array_equal(moved.boxes_xyxy, boxes.boxes_xyxy)


@pytest.mark.parametrize("placement", ["random_crop", "letterbox_jitter"])
def test_no_boxes_and_no_gt_are_two_things(placement: str) -> None:
    settings = AugmentSettings(placement=placement)
    assert augment(grey(20, 30), None, settings, (64, 32), draws(0, 0, 0))[1] is None
    boxes = augment(grey(20, 30), gt(), settings, (64, 32), draws(0, 0, 0))[1]
    assert boxes is not None
    assert boxes.boxes_xyxy.shape == (0, 4)
    assert boxes.boxes_xyxy.dtype == np.float32
    assert boxes.labels.dtype == np.int64


# Mosaic


def test_mosaic_has_four_quarters() -> None:
    # x: 20 + int(61 * .5) = 50 of 100; y: 12 + int(37 * .25) = 21 of 60. Images 4 * .9 = 3, 0 and 2 of 4.
    # Every image covers its quarter: two numbers for the aspect, two for the position, no flip; colors take five more.
    part = [0.5, 0.5, 0.5, 0.5, 0.5, 0, 0, 0, 0]
    rng = Script(0.5, 0.25, 0.9, 0.1, 0.5, *part * 4)
    whole = gt((0, 0, 40, 30))
    levels = (40, 120, 160, 200)

    def load(number: int) -> tuple[np.ndarray, BoxAnnotations]:
        return row(levels[number])[[0] * 30][:, [0] * 40], whole

    image, boxes = mosaic(np.full((30, 40, 3), 10, np.uint8), whole, PLAIN, (100, 60), rng, load, 4)
    assert np.unique(image[:21, :50]).tolist() == [10]
    assert np.unique(image[:21, 50:]).tolist() == [200]
    assert np.unique(image[21:, :50]).tolist() == [40]
    assert np.unique(image[21:, 50:]).tolist() == [160]
    expected = [[0, 0, 50, 21], [50, 0, 100, 21], [0, 21, 50, 60], [50, 21, 100, 60]]
    np.testing.assert_allclose(boxes.boxes_xyxy, expected, atol=1e-4)


def test_mosaic_needs_gt() -> None:
    with pytest.raises(ValueError, match="must have boxes or an empty list of them"):
        mosaic(grey(30, 40), gt(), PLAIN, (64, 32), draws(0, 0, 0), lambda _: (grey(9, 8), None), 5)


def test_mosaic_only_as_often_as_wanted() -> None:
    def load(number: int) -> tuple[np.ndarray, BoxAnnotations]:
        asked.append(number)
        return grey(30, 40), gt()

    for probability, boxes, min_count, max_count in (
        (0, gt(), 0, 0),
        (1, gt(), 40, 40),
        (1, None, 0, 0),
        (0.5, gt(), 8, 32),
    ):
        settings, asked = AugmentSettings(mosaic=probability), []
        for index in range(40):
            _, augmented = augment_or_mosaic(grey(30, 40), boxes, settings, (64, 32), draws(0, 0, index), load, 7)
            assert (augmented is None) == (boxes is None)
        assert min_count <= len(asked) / 3 <= max_count
        assert set(asked) <= set(range(7))


# Settings


@pytest.mark.parametrize(
    "values",
    [
        {"jitter": 0.5},
        {"jitter": -0.1},
        {"hue": 0.6},
        {"saturation": 0},
        {"exposure": float("inf")},
        {"mosaic": 2},
        {"min_visible": -1},
        {"placement": "crop"},
        {"jiter": 0.1},
    ],
)
def test_settings_out_of_range(values: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        AugmentSettings.model_validate(values)


def test_classifier_crops_must_rise() -> None:
    with pytest.raises(ValidationError, match=r"max_crop must be at least min_crop \(300\), got 200"):
        ClassifierAugmentSettings(min_crop=300, max_crop=200)


# Random numbers and order


def test_draws_of_a_key_never_change() -> None:
    """Recorded with NumPy 2.4. Where a NumPy gives others, runs are no longer those of their seeds."""
    assert draws(7, 1, 2).random() == 0.7436396991292016
    assert keyed(0, Purpose.SIZE, 3).random() == 0.8513067923347305
    assert epoch_order(5, 0, 9).tolist() == [3, 2, 4, 7, 6, 1, 0, 5, 8]
    assert [multi_scale_size(5, batch) for batch in range(0, 60, 10)] == [448, 448, 320, 480, 544, 480]


def test_keys_do_not_run_into_each_other() -> None:
    # a list of words, filled up with zeros, would take 2^32 + 1 for 1, 1 and no epoch for epoch 0
    seeds, small = (0, 1, 2, 2**32, 2**32 + 1, 2**64 + 1), range(3)
    keys = [(seed, purpose, a, b) for seed in seeds for purpose in Purpose for a in small for b in small]
    keys += [(seed, purpose, a) for seed in seeds for purpose in Purpose for a in small]
    assert len({keyed(*key).random() for key in keys}) == len(keys)


def test_sizes_of_batches() -> None:
    assert SIZES == (320, 352, 384, 416, 448, 480, 512, 544, 576, 608)
    sizes = [multi_scale_size(3, batch) for batch in range(2000)]
    assert set(sizes) == set(SIZES)
    tens = np.array(sizes).reshape(-1, 10)
    assert (tens == tens[:, :1]).all()
    assert (np.diff(tens[:, 0]) != 0).mean() > 0.8  # one in ten is drawn twice running
    counts = np.unique(tens[:, 0], return_counts=True)[1]
    assert counts.min() > 5  # of 20 expected
    assert [multi_scale_size(4, batch) for batch in range(2000)] != sizes
    assert {multi_scale_size(3, batch, (64, 96), every=1) for batch in range(20)} == {64, 96}


@pytest.mark.parametrize("shard", [-1, 3, 4])
def test_no_such_shard(shard: int) -> None:
    with pytest.raises(ValueError, match=rf"shard must be in 0\.\.2, got {shard}"):
        epoch_order(0, 0, 10, shard, 3)


# Batches


def example(index: int, shape_hw: tuple[int, int] = (4, 6), boxes: BoxAnnotations | None = None) -> Example:
    return Example(np.full((*shape_hw, 3), index, np.uint8), boxes, (index,), f"image {index}", 10 * index)


def test_collate() -> None:
    batch = collate([example(2, boxes=gt((1, 1, 2, 2))), example(1)])
    assert batch.images.shape == (2, 4, 6, 3)
    assert batch.images.flags.c_contiguous
    assert batch.images[:, 0, 0, 0].tolist() == [2, 1]
    assert batch.size_wh == (6, 4)
    assert len(batch) == 2
    assert batch.boxes[0] is not None
    assert batch.boxes[1] is None
    assert batch.image_labels == ((2,), (1,))
    assert batch.names == ("image 2", "image 1")
    assert batch.indices == (20, 10)
    assert batch.exhaustive == (None, None)


def test_collate_refuses() -> None:
    with pytest.raises(ValueError, match=r"one or more images of one size, got \[\]"):
        collate([])
    with pytest.raises(ValueError, match=r"of one size, got \[\(4, 6, 3\), \(6, 4, 3\)\]"):
        collate([example(0), example(1, (6, 4))])


def test_batch_of_uneven_parts() -> None:
    with pytest.raises(ValueError, match="one entry for each image"):
        Batch(np.zeros((2, 4, 6, 3), np.uint8), (None,), ((),), ("a",), (0,), (None,), (-1,))
