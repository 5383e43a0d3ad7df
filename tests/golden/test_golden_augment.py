"""The pieces of the augmentation that need no random numbers, against Darknet's numbers.

Of float32 they are to be the same; the image of 8 bits is rounded on the way in, by at most half a level, and out.
"""

from __future__ import annotations

import numpy as np
import pytest
from support.golden import arrays, assert_close, parameters

from yolo9000.data.augment import Placement, Rotation, distort, paste, rotate_crop

if "aug_src" not in arrays("preproc"):
    pytest.skip("the small copy of the recorded numbers has none of the augmentation", allow_module_level=True)

CLOSE = 1e-5
LEVELS = 2 / 255


def recorded(key: str) -> np.ndarray:
    return np.ascontiguousarray(arrays("preproc")[f"aug_{key}"].transpose(1, 2, 0))


def source() -> np.ndarray:
    return recorded("src")


def rounded(image: np.ndarray) -> np.ndarray:
    return np.round(255 * image).astype(np.uint8)


def as_float(image: np.ndarray) -> np.ndarray:
    return image.astype(np.float32) / 255


@pytest.mark.parametrize("number", range(3))
def test_distort(number: int) -> None:
    hue, saturation, exposure = parameters("preproc")["aug"]["distort"][number]
    theirs = recorded(f"distort{number}")
    assert_close(distort(source(), hue, saturation, exposure), theirs, CLOSE)
    ours = distort(rounded(source()), hue, saturation, exposure)
    assert ours.dtype == np.uint8
    same_input = distort(as_float(rounded(source())), hue, saturation, exposure)
    assert_close(as_float(ours), same_input, LEVELS)
    assert np.abs(as_float(ours) - theirs).mean() < 0.6 / 255


def test_flip() -> None:
    height, width = source().shape[:2]
    whole = Placement((0, 0, width, height), (0, 0, width, height))
    assert_close(paste(source(), whole.mirror(width), (width, height)), recorded("flip"), CLOSE)
    assert_close(paste(source(), whole, (width, height)), source(), CLOSE)
    ours = paste(rounded(source()), whole.mirror(width), (width, height))
    np.testing.assert_array_equal(ours, rounded(recorded("flip")))


@pytest.mark.parametrize("number", range(2))
def test_placement(number: int) -> None:
    width, height, left, top, *canvas = parameters("preproc")["aug"]["place"][number]
    size_wh = (canvas[0], canvas[1])
    image_height, image_width = source().shape[:2]
    placement = Placement((0, 0, image_width, image_height), (left, top, width, height))
    theirs = recorded(f"place{number}")
    assert_close(paste(source(), placement, size_wh), theirs, CLOSE)
    assert_close(paste(source(), placement.mirror(size_wh[0]), size_wh), theirs[:, ::-1], CLOSE)
    assert_close(as_float(paste(rounded(source()), placement, size_wh)), theirs, LEVELS)


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("number", range(2))
def test_rotate_crop(number: int, mirrored: bool) -> None:
    radians, scale, width, height, dx, dy, aspect = parameters("preproc")["aug"]["rotate_crop"][number]
    rotation, size_wh = Rotation(radians, scale, (dx, dy), aspect), (int(width), int(height))
    theirs = recorded(f"rotate_crop{number}")[:, :: -1 if mirrored else 1]
    assert_close(rotate_crop(source(), rotation, size_wh, mirrored), theirs, CLOSE)
    assert_close(as_float(rotate_crop(rounded(source()), rotation, size_wh, mirrored)), theirs, LEVELS)
