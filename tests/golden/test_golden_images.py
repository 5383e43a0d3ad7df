"""Letterbox, resize and crop against Darknet's numbers."""

from __future__ import annotations

import numpy as np
import pytest
from support.golden import FOLDER, arrays, assert_close

from yolo9000.inference.preprocess import center_crop, letterbox
from yolo9000.io.images import read_image
from yolo9000.io.resample import resize

PNGS = ("rgb", "gray", "rgba", "thin", "photo")
SIZED = [key for key in arrays("preproc") if key.split("_")[0] in PNGS and key.split("_")[1] in ("letterbox", "resize")]


@pytest.mark.parametrize("name", [name for name in PNGS if f"{name}_load" in arrays("preproc")])
def test_load(name: str) -> None:
    ours = read_image(FOLDER / "images" / f"{name}.png").pixels
    np.testing.assert_array_equal(ours.transpose(2, 0, 1), arrays("preproc")[f"{name}_load"])


@pytest.mark.parametrize("key", [key for key in SIZED if "x" in key])
def test_letterbox_and_resize(key: str) -> None:
    name, how, size = key.split("_")
    image = read_image(FOLDER / "images" / f"{name}.png").pixels
    width, height = map(int, size.split("x"))
    ours = {"letterbox": letterbox, "resize": resize}[how](image, (width, height))
    assert_close(ours.transpose(2, 0, 1), arrays("preproc")[key], 5e-6)


def test_classifier_crops() -> None:
    image, golden = read_image(FOLDER / "images" / "photo.png").pixels, arrays("preproc")
    assert_close(center_crop(image, (24, 24)).transpose(2, 0, 1), golden["photo_center_crop"], 5e-6)


def test_darknets_black_last_row() -> None:
    """90 rows to 20: 19 * (89 / 19) in float32 is just below 89, and the last row is left all but black."""
    image = np.full((90, 7, 3), 255, np.uint8)
    rows = resize(image, (5, 20))[:, 2, 1]
    assert rows[:-1].min() == 1.0
    assert rows[-1] < 1e-4
    assert resize(image, (5, 30))[-1].min() == 1.0  # 29 * (89 / 29) is 89 exactly
