"""A detector takes images as Python programs hold them, or says what to do instead."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from support.resized import motion_jpeg

from yolo9000.errors import ConfigError, DataError
from yolo9000.io.inputs import check_pixels_array, inputs_of, one_input
from yolo9000.io.sources import open_sources

PIXELS = np.random.default_rng(3).integers(0, 256, (5, 7, 3), dtype=np.uint8)


def encoded() -> bytes:
    stream = io.BytesIO()
    Image.fromarray(PIXELS).save(stream, format="PNG")
    return stream.getvalue()


class Upload(io.BytesIO):
    """What web frameworks hand over: a file with a name."""

    name = "up.png"


def test_all_forms_of_an_image_are_the_same_pixels(tmp_path: Path) -> None:
    file = tmp_path / "a.png"
    file.write_bytes(encoded())
    rgba = np.dstack([PIXELS, np.full((5, 7), 9, np.uint8)])
    forms: list[Any] = [
        PIXELS, rgba, Image.fromarray(PIXELS), file, str(file), encoded(), bytearray(encoded()), memoryview(encoded()),
        io.BytesIO(encoded()), Upload(encoded()),
    ]  # fmt: skip
    for form in forms:
        np.testing.assert_array_equal(one_input(form).pixels, PIXELS)
    with file.open("rb") as stream:
        np.testing.assert_array_equal(one_input(stream).pixels, PIXELS)
    assert one_input(Upload(encoded())).name == "up.png"
    assert one_input(PIXELS, 3).name == "image 3"


def test_a_tensor_has_its_channels_first() -> None:
    torch = pytest.importorskip("torch")
    tensor = torch.from_numpy(PIXELS.transpose(2, 0, 1).copy())
    np.testing.assert_array_equal(one_input(tensor).pixels, PIXELS)
    batch = inputs_of(torch.stack([tensor, tensor.flip(2)]))
    assert batch is not None
    np.testing.assert_array_equal(one_input(batch[1]).pixels, PIXELS[:, ::-1])
    with pytest.raises(DataError, match=r"image 0: a tensor must have the shape \(3, h, w\), .* got \(5, 7, 3\)"):
        one_input(torch.from_numpy(PIXELS))
    with pytest.raises(DataError, match=r"must be uint8, .* got float32: give .*\* 255"):
        one_input(tensor / 255)


def test_bgr_is_opencvs_order() -> None:
    bgra = np.dstack([PIXELS[:, :, ::-1], np.full((5, 7), 9, np.uint8)])
    np.testing.assert_array_equal(one_input(PIXELS[:, :, ::-1], color="bgr").pixels, PIXELS)
    np.testing.assert_array_equal(one_input(bgra, color="bgr").pixels, PIXELS)
    for grey in (PIXELS[:, :, 0], PIXELS[:, :, :1]):
        np.testing.assert_array_equal(one_input(grey, color="bgr").pixels, np.repeat(PIXELS[:, :, :1], 3, axis=2))
    with pytest.raises(ConfigError, match="must be rgb or bgr, got 'brg'"):
        getattr(one_input, "__wrapped__", one_input)(PIXELS, color="brg")  # tests check types before


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (PIXELS.astype(np.float32), r"must be uint8, RGB in 0..255, got float32: give image.astype\(np.uint8\)"),
        (PIXELS.astype(np.int64), "must be uint8, RGB in 0..255, got int64$"),
        (PIXELS.transpose(2, 0, 1), r"must be \(h, w, 3\), got \(3, 5, 7\): give image.transpose\(1, 2, 0\)"),
        (PIXELS[:0], r"got \(0, 7, 3\)"),
        (None, "must be an image, a path, bytes, an open file or an array, got NoneType"),
        (7, "got int"),
        (io.StringIO("x"), "must be a file opened in binary mode"),
        (b"", "must be a JPEG"),
        (b"\x89PNG\r\n\x1a\n", "truncated or damaged PNG"),
    ],
)
def test_what_is_no_image_is_refused(image: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        one_input(image)


def test_one_image_is_distinguished_from_several(tmp_path: Path) -> None:
    for one in (PIXELS, Image.fromarray(PIXELS), "a.png", tmp_path, b"x", io.BytesIO(b"x"), bytearray(b"x"), None):
        assert inputs_of(one) is None
    assert inputs_of([PIXELS]) is not None
    assert len(list(inputs_of(image for image in (PIXELS, PIXELS)) or ())) == 2
    assert len(list(inputs_of(np.stack([PIXELS] * 3)) or ())) == 3
    assert inputs_of([]) == []


def test_sources_are_all_forms_of_an_image(tmp_path: Path) -> None:
    """What `Detector.predict` reads; an error is that of one source among others."""
    torch = pytest.importorskip("torch")
    (tmp_path / "a.png").write_bytes(encoded())
    tensor = torch.from_numpy(PIXELS).permute(2, 0, 1)
    rgb: list[Any] = [Upload(encoded()), io.BytesIO(encoded()), bytearray(encoded()), memoryview(encoded()), tensor]
    with (tmp_path / "a.png").open("rb") as file:
        images = list(open_sources([file, str(tmp_path / "a.png"), PIXELS, *rgb]))
    assert [image.name for image in images[3:]] == [
        "up.png", "BytesIO 4", "bytearray 5", "memoryview 6", "Tensor 7",
    ]  # fmt: skip
    for image in images:
        np.testing.assert_array_equal(image.pixels, PIXELS)
    for one in rgb[2:]:
        np.testing.assert_array_equal(next(open_sources(one)).pixels, PIXELS)
    for batch in (np.stack([PIXELS, PIXELS]), tensor[None]):
        for image in open_sources(batch):
            np.testing.assert_array_equal(image.pixels, PIXELS)
    np.testing.assert_array_equal(next(open_sources(PIXELS[:, :, ::-1], color="bgr")).pixels, PIXELS)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (PIXELS / 255, "ndarray 1: must be uint8, RGB in 0..255, got float64: give"),
        (None, "NoneType 1: must be an image, a path, bytes, an open file or an array, got NoneType"),
        (True, "bool 1: must be an image"),
        (io.BytesIO(), r"BytesIO 1: has no bytes from where it is: call seek\(0\) first"),
        (100, "100: a camera's number must be in 0..99"),
        (np.int64(-1), "-1: a camera's number must be in 0..99"),
    ],
)
def test_a_source_that_is_none_is_passed_over(source: Any, message: str) -> None:
    errors: list[DataError] = []
    unchecked = getattr(open_sources, "__wrapped__", open_sources)  # tests check types before
    images = list(unchecked([PIXELS, source, PIXELS], on_error=errors.append))
    assert len(images) == 2
    (error,) = errors
    assert re.match(message, str(error))


def test_a_video_in_memory_is_a_video() -> None:
    frames = [(96, 64, 60), (96, 64, 120)]
    images = list(open_sources(io.BytesIO(motion_jpeg(frames))))
    assert [(image.name, image.frame, image.size_wh) for image in images] == [
        ("BytesIO 0", 0, (96, 64)), ("BytesIO 0", 1, (96, 64)),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "image", [PIXELS.astype(np.float32), PIXELS[:, :, 0], np.dstack([PIXELS, PIXELS]), PIXELS[:, :0], [[1, 2]]]
)
def test_the_network_never_sees_what_is_no_image(image: Any) -> None:
    with pytest.raises(DataError, match="an image must be a uint8 array"):
        check_pixels_array(image)
    check_pixels_array(PIXELS)


def test_portable_pixmaps_are_read() -> None:
    color = b"P6\n# made by hand\n7 5\n255\n" + PIXELS.tobytes()
    np.testing.assert_array_equal(one_input(color).pixels, PIXELS)
    grey = b"P5 7 5 255\n" + PIXELS[:, :, 0].tobytes()
    np.testing.assert_array_equal(one_input(grey).pixels, np.repeat(PIXELS[:, :, :1], 3, 2))
    wide = b"P5 3 1 65535\n" + b"\0\0" + b"\x80\x80" + b"\xff\xff"  # 16 bits: 128 * 257 is 0x8080
    assert one_input(wide).pixels[0, :, 0].tolist() == [0, 128, 255]
