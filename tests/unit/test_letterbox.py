"""Fitting images of a few pixels, and carrying boxes back."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from yolo9000.inference.preprocess import (
    boxes_to_image,
    center_crop,
    fit,
    letterbox,
    letterbox_size,
    stretch,
)
from yolo9000.io.resample import resize


def row(*values: float) -> np.ndarray:
    """An image of one row; red is as given, green half of it, blue nothing."""
    red = np.array([values], np.float32)
    return np.stack([red, red / 2, red * 0], axis=-1)


def ramp(width: int, height: int, dtype: type = np.uint8) -> np.ndarray:
    """Red rises to the right, green downwards: any bilinear sample of it identifies its position."""
    y, x = np.mgrid[:height, :width]
    return np.stack([10 * x, 20 * y, np.full_like(x, 255)], axis=-1).astype(dtype)


def noise(width: int, height: int) -> np.ndarray:
    return np.random.default_rng(width * 1000 + height).integers(0, 256, (height, width, 3), dtype=np.uint8)


# Resize: the corner pixels of both images coincide


def test_enlarged_row() -> None:
    # 3 pixels to 5: samples at 0, .5, 1, 1.5, 2
    out = resize(row(0, 1, 0.25), (5, 1))
    assert out[0, :, 0].tolist() == [0, 0.5, 1, 0.625, 0.25]
    assert out[0, :, 1].tolist() == [0, 0.25, 0.5, 0.3125, 0.125]
    assert out[0, :, 2].tolist() == [0] * 5


def test_reduced_row() -> None:
    # 5 pixels to 3: samples at 0, 2, 4; what lies between is not looked at. 5 to 2: the ends
    assert resize(row(0.5, 1, 0, 1, 0.25), (3, 1))[0, :, 0].tolist() == [0.5, 0, 0.25]
    assert resize(row(0.5, 1, 0, 1, 0.25), (2, 1))[0, :, 0].tolist() == [0.5, 0.25]


def test_both_directions_at_once() -> None:
    # 3 x 2 to 5 x 3: columns every half pixel, rows every half pixel
    out = resize(ramp(3, 2), (5, 3)) * 255
    np.testing.assert_allclose(out[..., 0], [[0, 5, 10, 15, 20]] * 3, atol=1e-4)
    np.testing.assert_allclose(out[..., 1], np.repeat([[0], [10], [20]], 5, axis=1), atol=1e-4)
    np.testing.assert_allclose(out[..., 2], 255, atol=1e-4)


def test_four_neighbours() -> None:
    # the middle of a 2 x 2 image is the mean of its pixels: (1 + 2 + 3 + 6) / 4 eighths
    image = np.repeat(np.array([[1, 2], [3, 6]], np.float32)[..., None] / 8, 3, axis=-1)
    np.testing.assert_allclose(resize(image, (3, 3))[1, 1], [3 / 8] * 3, rtol=1e-6)


@pytest.mark.parametrize("size_wh", [(7, 5), (5, 7), (1, 4), (4, 1)])
def test_same_size_is_the_same_image(size_wh: tuple[int, int]) -> None:
    image = noise(*size_wh)
    np.testing.assert_allclose(resize(image, size_wh), image / np.float32(255), atol=1e-6)


def test_single_samples_take_the_last_pixel() -> None:
    """As Darknet's loop does."""
    image = noise(4, 3)
    np.testing.assert_allclose(resize(image, (1, 1))[0, 0] * 255, image[2, 3], atol=1e-4)
    np.testing.assert_allclose(resize(image, (1, 3))[:, 0] * 255, image[:, 3], atol=1e-4)
    np.testing.assert_allclose(resize(image, (4, 1))[0] * 255, image[2], atol=1e-4)


def test_one_pixel_fills_everything() -> None:
    out = resize(np.array([[[255, 51, 0]]], np.uint8), (5, 3))
    np.testing.assert_allclose(out, np.broadcast_to(np.array([1, 0.2, 0], np.float32), (3, 5, 3)), atol=1e-6)


@pytest.mark.parametrize(("image_wh", "size_wh"), [((31, 17), (50, 9)), ((17, 31), (6, 64)), ((2, 90), (5, 33))])
def test_bytes_and_fractions_are_the_same_image(image_wh: tuple[int, int], size_wh: tuple[int, int]) -> None:
    image = noise(*image_wh)
    before = image.copy()
    fractions = image.astype(np.float32) / np.float32(255)
    out = resize(image, size_wh)
    np.testing.assert_allclose(out, resize(fractions, size_wh), atol=1e-6)
    assert out.dtype == np.float32
    assert 0 <= out.min() <= out.max() <= 1 + 1e-6
    np.testing.assert_array_equal(image, before)


def test_views_of_a_image_are_read_right() -> None:
    """Every other pixel of a larger image, right to left: no copy in between."""
    image = noise(20, 14)
    view = image[::2, ::-2]
    np.testing.assert_array_equal(resize(view, (7, 5)), resize(view.copy(), (7, 5)))


# Of large images only the pixels that are sampled are read


@pytest.mark.parametrize(
    ("image_wh", "size_wh"),
    [((83, 331), (40, 64)), ((331, 83), (64, 40)), ((20, 300), (33, 97)), ((50, 1), (32, 9)), ((7, 90), (5, 1))],
)
def test_samples_are_the_bilinear_ones(image_wh: tuple[int, int], size_wh: tuple[int, int]) -> None:
    """Against the formula in float64: near sample x of n lies x (W - 1) / (n - 1); a single one is the last pixel."""
    image = noise(*image_wh).astype(np.float64) / 255

    def along(axis: int, length: int, count: int) -> np.ndarray:
        positions = np.linspace(0, length - 1, count) if count > 1 else np.array([length - 1.0])
        first = np.minimum(np.floor(positions).astype(int), length - 1)
        weight = (positions - first).reshape(-1, *[1] * (2 - axis))
        after = np.minimum(first + 1, length - 1)
        return np.take(image, first, axis) * (1 - weight) + np.take(image, after, axis) * weight

    image = along(0, image_wh[1], size_wh[1])
    image = along(1, image_wh[0], size_wh[0])
    np.testing.assert_allclose(resize(noise(*image_wh), size_wh), image, atol=2e-5)


def test_a_large_image_takes_little_memory() -> None:
    """Of 900 rows 128 are read: 128 x 4,800 bytes, and (128 + 64) x 288 values of float32, some at a time."""
    image = noise(1600, 900)
    tracemalloc.start()
    letterbox(image, (96, 64))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2_000_000


def test_images_of_very_long_sides() -> None:
    """Some libraries refuse sides of 32,767 pixels and more."""
    wide = np.zeros((2, 70_000, 3), np.uint8)
    wide[:, 35_000:] = 255
    half_white = np.repeat([0, 0, 0, 0, 1, 1, 1, 1], 3).reshape(8, 3)
    np.testing.assert_allclose(resize(wide, (8, 6)), np.broadcast_to(half_white, (6, 8, 3)), atol=1e-6)
    tall = wide.swapaxes(0, 1)
    np.testing.assert_allclose(resize(tall, (6, 8)), np.broadcast_to(half_white[:, None], (8, 6, 3)), atol=1e-6)


# Letterbox: x, y in pixels of a network of 96 x 64


@pytest.mark.parametrize(
    ("image_wh", "size_wh", "left_top"),
    [
        ((300, 100), (96, 32), (0, 16)),  # wide: 100 * 96 / 300 = 32
        ((50, 200), (16, 64), (40, 0)),  # tall: 50 * 64 / 200 = 16
        ((150, 100), (96, 64), (0, 0)),  # the network's own proportions
        ((300, 97), (96, 31), (0, 16)),  # 97 * 96 / 300 = 31.04; of 33 free rows 16 above and 17 below
        ((1, 1), (64, 64), (16, 0)),
        ((1000, 1), (96, 1), (0, 31)),  # .096 of a row is one row
        ((1, 1000), (1, 64), (47, 0)),
        ((96, 64), (96, 64), (0, 0)),
    ],
)
def test_letterbox_geometry(image_wh: tuple[int, int], size_wh: tuple[int, int], left_top: tuple[int, int]) -> None:
    assert letterbox_size(image_wh, (96, 64)) == size_wh
    image = noise(*image_wh) // 2  # up to 127, so that no pixel is the grey of the canvas, 127.5
    canvas = letterbox(image, (96, 64))
    assert canvas.shape == (64, 96, 3)
    assert canvas.dtype == np.float32
    (width, height), (left, top) = size_wh, left_top
    inside = canvas[top : top + height, left : left + width]
    np.testing.assert_array_equal(inside, resize(image, size_wh))
    canvas[top : top + height, left : left + width] = 0.5
    assert (canvas == 0.5).all()


def test_stretch_fills_everything() -> None:
    image = noise(30, 7)
    np.testing.assert_array_equal(stretch(image, (96, 64)), resize(image, (96, 64)))


@pytest.mark.parametrize(("how", "fitted"), [("letterbox", letterbox), ("stretch", stretch)])
def test_fit_puts_the_channels_in_front(how, fitted) -> None:
    image = noise(30, 7)
    (out,) = fit([image], (96, 64), how)
    assert out.shape == (3, 64, 96)
    assert out.flags.c_contiguous
    np.testing.assert_array_equal(out, fitted(image, (96, 64)).transpose(2, 0, 1))


def test_resize_mode_is_letterbox_by_default() -> None:
    image = noise(30, 7)
    np.testing.assert_array_equal(fit([image], (96, 64)), fit([image], (96, 64), "letterbox"))


# Boxes back


def test_boxes_back_from_a_letterbox() -> None:
    # 300 x 100 lies in rows 16 to 48 of 64: y' = (y - 1/4) / (1/2), heights double
    network = np.array([[0.5, 0.5, 0.25, 0.25], [0.1, 0.25, 1, 0.5], [0.1, 0.75, 0, 0]], np.float32)
    expected = [[0.5, 0.5, 0.25, 0.5], [0.1, 0, 1, 1], [0.1, 1, 0, 0]]
    np.testing.assert_allclose(boxes_to_image(network, (96, 64), (300, 100)), expected, atol=1e-6)
    # 50 x 200 lies in columns 40 to 56 of 96: x' = (x - 5/12) * 6, widths 6 times
    network = np.array([[40 / 96, 0.3, 1 / 12, 0.2], [0.5, 0.3, 1 / 6, 0.2]], np.float32)
    expected = [[0, 0.3, 0.5, 0.2], [0.5, 0.3, 1, 0.2]]
    np.testing.assert_allclose(boxes_to_image(network, (96, 64), (50, 200)), expected, atol=1e-6)


def test_half_pixels_of_the_border() -> None:
    """300 x 97 is 31 rows high: Darknet reckons with 16.5 rows above, though it leaves 16."""
    network = np.array([[0.5, 16.5 / 64, 0.1, 31 / 64]], np.float32)
    np.testing.assert_allclose(boxes_to_image(network, (96, 64), (300, 97)), [[0.5, 0, 0.1, 1]], atol=1e-6)


def test_no_boxes_back() -> None:
    none = np.zeros((0, 4), np.float32)
    assert boxes_to_image(none, (96, 64), (300, 97)).shape == (0, 4)
    assert boxes_to_image(none, (96, 64), (300, 97), "stretch").shape == (0, 4)


# What classifiers read


def test_center_crop() -> None:
    # 7 x 3: columns 2 to 4; 3 x 8: rows 2 to 4
    image = ramp(7, 3)
    np.testing.assert_allclose(center_crop(image, (3, 3)) * 255, image[:, 2:5], atol=1e-4)
    image = ramp(3, 8)
    np.testing.assert_allclose(center_crop(image, (3, 3)) * 255, image[2:5], atol=1e-4)
    assert center_crop(image, (9, 5)).shape == (5, 9, 3)
