"""Every kind of source, with the exact pixels that must come out of it."""

import io
import os
import struct
import sys
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count, islice
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile
from support.opened import opened

from yolo9000.errors import ConfigError, DataError
from yolo9000.io import streams, videos
from yolo9000.io.images import read_image, read_size
from yolo9000.io.sources import open_sources
from yolo9000.types import SourceImage

# 3 wide, 2 high, no two pixels alike
PIXELS = np.array(
    [[[255, 0, 0], [0, 255, 0], [0, 0, 255]], [[255, 255, 0], [10, 20, 30], [200, 100, 50]]], dtype=np.uint8
)
LOSSLESS = {"WEBP": {"lossless": True}}


def encoded(image: Image.Image | np.ndarray, kind: str = "PNG", **options: object) -> bytes:
    if isinstance(image, np.ndarray):
        image = Image.fromarray(image)
    stream = io.BytesIO()
    image.save(stream, kind, **(LOSSLESS.get(kind, {}) | options))
    return stream.getvalue()


def plain(value: int) -> np.ndarray:
    """An image, 3 x 2, identified by its grey."""
    return np.full((2, 3, 3), value, np.uint8)


def save(path: Path, value: int = 0, kind: str = "PNG") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encoded(plain(value), kind))
    return path


def greys(items: Iterator[SourceImage | DataError]) -> list[int]:
    """The grey of each plain image; fails on an error."""
    return [int(item.pixels[0, 0, 0]) for item in items]


def only_error(items: Iterator[SourceImage | DataError]) -> str:
    (item,) = items
    assert isinstance(item, DataError), item
    assert "\n" not in str(item)
    return str(item)


# --- one image: formats ---


@pytest.mark.parametrize("kind", ["PNG", "BMP", "WEBP", "TIFF"])
def test_lossless_formats_give_every_pixel(kind):
    image = read_image(encoded(PIXELS, kind))
    assert image.pixels.dtype == np.uint8
    assert image.pixels.flags.c_contiguous
    assert image.pixels.flags.writeable
    np.testing.assert_array_equal(image.pixels, PIXELS)
    assert image.size_wh == (3, 2)
    assert image.frame is None
    assert image.frames_per_second is None


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP", "WEBP", "TIFF", "GIF"])
def test_the_smallest_image(kind):
    np.testing.assert_array_equal(read_image(encoded(np.zeros((1, 1, 3), np.uint8), kind)).pixels, [[[0, 0, 0]]])


def test_jpeg_is_what_opencv_reads():
    rows, columns = np.mgrid[0:48, 0:64].astype(np.uint8)
    jpeg = encoded(np.dstack([rows * 5, columns * 4, rows + columns]), "JPEG", quality=95)
    expected = cv2.cvtColor(cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    ours = read_image(jpeg).pixels
    assert ours.shape == (48, 64, 3)
    assert np.abs(ours.astype(int) - expected).max() <= 3


def test_contents_decide_and_not_the_suffix(tmp_path):
    path = tmp_path / "photo.jpg"
    path.write_bytes(encoded(PIXELS, "PNG"))
    np.testing.assert_array_equal(read_image(path).pixels, PIXELS)
    (tmp_path / "photo").write_bytes(encoded(PIXELS, "BMP"))
    np.testing.assert_array_equal(read_image(str(tmp_path / "photo")).pixels, PIXELS)


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "TIFF", "PNG"])
def test_of_many_frames_the_first(kind):
    first, second = Image.fromarray(plain(255)), Image.fromarray(plain(0))
    many = encoded(first, kind, save_all=True, append_images=[second])
    assert len(many) > len(encoded(first, kind))
    np.testing.assert_array_equal(read_image(many).pixels, plain(255))


def test_of_an_mpo_the_first_image():
    first, second = (Image.fromarray(np.full((16, 24, 3), grey, np.uint8)) for grey in (200, 30))
    mpo = encoded(first, "MPO", save_all=True, append_images=[second])
    np.testing.assert_array_equal(read_image(mpo).pixels, np.full((16, 24, 3), 200))


# --- one image: modes ---

KS = np.array([[0, 1, 77], [128, 254, 255]])
AS_RGB = np.repeat(KS[:, :, None], 3, axis=2)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_16_bit_grey_is_scaled_and_not_clipped(kind):
    np.testing.assert_array_equal(read_image(encoded((KS * 257).astype(np.uint16), kind)).pixels, AS_RGB)


def test_16_bit_grey_of_the_other_byte_order():
    image = Image.fromarray((KS * 257).astype(">u2"))
    assert image.mode == "I;16B"
    np.testing.assert_array_equal(read_image(encoded(image, "TIFF")).pixels, AS_RGB)
    np.testing.assert_array_equal(read_image(image).pixels, AS_RGB)


def test_16_bit_grey_is_rounded():
    # 128 / 257 = 0.498, 129 / 257 = 0.502, 65406 / 257 = 254.498, 65407 / 257 = 254.502
    values = np.array([[128, 129, 65406, 65407]], dtype=np.uint16)
    np.testing.assert_array_equal(read_image(encoded(values)).pixels[:, :, 0], [[0, 1, 254, 255]])


def test_16_bit_color():
    ok, png = cv2.imencode(".png", (PIXELS[:, :, ::-1].astype(np.uint16) * 257))
    assert ok
    np.testing.assert_array_equal(read_image(png.tobytes()).pixels, PIXELS)


def test_32_bit_grey_is_taken_for_16_bits_or_refused():
    np.testing.assert_array_equal(read_image(encoded((KS * 257).astype(np.int32), "TIFF")).pixels, AS_RGB)
    for wrong in (-1, 65536):
        values = np.array([[0, wrong, 5]], dtype=np.int32)
        with pytest.raises(DataError, match=r"0\.\.65535"):
            read_image(encoded(values, "TIFF"))


def test_floats_are_refused():
    with pytest.raises(DataError, match="integers of 8 or 16 bits"):
        read_image(encoded(np.zeros((2, 3), np.float32), "TIFF"))


def test_cmyk():
    # R = (255 - C) (255 - K) / 255, and so on: cyan off and magenta, yellow full is red
    image = Image.new("CMYK", (3, 2), (0, 255, 255, 0))
    image.putpixel((2, 1), (0, 0, 0, 128))
    expected = np.full((2, 3, 3), [255, 0, 0])
    expected[1, 2] = 127
    np.testing.assert_array_equal(read_image(encoded(image, "TIFF")).pixels, expected)
    jpeg = read_image(encoded(Image.new("CMYK", (16, 8), (0, 255, 255, 0)), "JPEG", quality=100)).pixels
    assert np.abs(jpeg.astype(int) - [255, 0, 0]).max() <= 2


def palette_image(mode: str = "P") -> Image.Image:
    image = Image.new(mode, (3, 2))
    image.putpalette([1, 2, 3, 40, 50, 60, 250, 0, 128])
    for x, y, index in [(0, 0, 0), (1, 0, 1), (2, 0, 2), (0, 1, 2), (1, 1, 1), (2, 1, 0)]:
        image.putpixel((x, y), index if mode == "P" else (index, 9))
    return image


OF_PALETTE = [[[1, 2, 3], [40, 50, 60], [250, 0, 128]], [[250, 0, 128], [40, 50, 60], [1, 2, 3]]]


@pytest.mark.parametrize("kind", ["PNG", "GIF", "BMP", "TIFF"])
def test_palette(kind):
    np.testing.assert_array_equal(read_image(encoded(palette_image(), kind)).pixels, OF_PALETTE)


@pytest.mark.parametrize(
    ("kind", "transparency"), [("PNG", 1), ("GIF", 1), ("PNG", bytes([0, 100, 200]))], ids=["png", "gif", "png-many"]
)
def test_transparent_palette_keeps_its_colors(kind, transparency):
    np.testing.assert_array_equal(
        read_image(encoded(palette_image(), kind, transparency=transparency)).pixels, OF_PALETTE
    )


def test_palette_with_alpha():
    np.testing.assert_array_equal(read_image(palette_image("PA")).pixels, OF_PALETTE)


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
def test_alpha_is_dropped_and_not_blended(kind):
    image = Image.fromarray(PIXELS).convert("RGBA")
    image.putalpha(1)
    np.testing.assert_array_equal(read_image(encoded(image, kind, exact=True)).pixels, PIXELS)


def test_grey_with_alpha():
    image = Image.merge("LA", [Image.fromarray(KS.astype(np.uint8)), Image.new("L", (3, 2), 7)])
    np.testing.assert_array_equal(read_image(encoded(image)).pixels, AS_RGB)


@pytest.mark.parametrize(("mode", "transparent"), [("L", 77), ("RGB", (0, 255, 0)), ("1", 255)])
def test_a_transparent_color_stays(mode, transparent):
    image = Image.fromarray(PIXELS).convert(mode)
    expected = np.array(image.convert("RGB"))
    np.testing.assert_array_equal(read_image(encoded(image, transparency=transparent)).pixels, expected)


def test_one_bit_and_grey():
    bits = np.array([[True, False, True], [False, False, True]])
    expected = np.repeat(bits[:, :, None] * 255, 3, axis=2)
    np.testing.assert_array_equal(read_image(encoded(Image.fromarray(bits))).pixels, expected)
    np.testing.assert_array_equal(read_image(encoded(KS.astype(np.uint8))).pixels, AS_RGB)


def test_ycbcr():
    image = Image.new("YCbCr", (3, 2), (100, 128, 128))  # no color: R = G = B = Y
    np.testing.assert_array_equal(read_image(image).pixels, plain(100))


# --- one image: turns ---

# Stored is ABC over DEF; what each orientation of EXIF must show, row by row.
TURNED = {
    1: "ABC DEF",
    2: "CBA FED",
    3: "FED CBA",
    4: "DEF ABC",
    5: "AD BE CF",
    6: "DA EB FC",
    7: "FC EB DA",
    8: "CF BE AD",
}
COLORS = dict(zip("ABCDEF", PIXELS.reshape(6, 3), strict=True))


def exif_of(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[274] = orientation
    return exif


def turned(orientation: int) -> np.ndarray:
    return np.array([[COLORS[letter] for letter in row] for row in TURNED[orientation].split()])


@pytest.mark.parametrize("orientation", TURNED)
@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
def test_exif_turns_are_applied(kind, orientation):
    data = encoded(PIXELS, kind, exif=exif_of(orientation))
    np.testing.assert_array_equal(read_image(data).pixels, turned(orientation))


@pytest.mark.parametrize("orientation", TURNED)
def test_exif_turns_of_compressed_tiff(orientation):
    data = encoded(PIXELS, "TIFF", compression="tiff_lzw", tiffinfo={274: orientation})
    np.testing.assert_array_equal(read_image(data).pixels, turned(orientation))


@pytest.mark.parametrize("orientation", TURNED)
def test_exif_turns_of_jpeg(orientation):
    blocks = PIXELS.repeat(16, axis=0).repeat(16, axis=1)
    jpeg = encoded(blocks, "JPEG", quality=100, subsampling=0, exif=exif_of(orientation))
    centres = read_image(jpeg).pixels[8::16, 8::16].astype(int)
    assert centres.shape == turned(orientation).shape
    assert np.abs(centres - turned(orientation)).max() <= 3


def test_exif_turns_16_bits_and_a_loaded_pillow_image():
    values = np.array([[1, 2, 3], [4, 5, 6]], dtype=np.uint16) * 257
    np.testing.assert_array_equal(
        read_image(encoded(values, exif=exif_of(6))).pixels[:, :, 0], [[4, 1], [5, 2], [6, 3]]
    )
    with Image.open(io.BytesIO(encoded(PIXELS, exif=exif_of(6)))) as image:
        np.testing.assert_array_equal(read_image(image).pixels, turned(6))
        assert image.size == (3, 2)  # the user's own image is left as it was


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")  # Pillow says so
@pytest.mark.parametrize("exif", [b"Exif\0\0garbage", b"Exif\0\0II*\0\x08\0\0\0\xff\xff", exif_of(9).tobytes()])
def test_exif_that_makes_no_sense_does_no_harm(exif):
    jpeg = encoded(np.full((16, 24, 3), 90, np.uint8), "JPEG", exif=exif)
    np.testing.assert_array_equal(read_image(jpeg).pixels, np.full((16, 24, 3), 90))


# --- one image: arrays, Pillow images, names ---


def test_arrays():
    np.testing.assert_array_equal(read_image(PIXELS).pixels, PIXELS)
    np.testing.assert_array_equal(read_image(PIXELS[:, ::-1]).pixels, PIXELS[:, ::-1])
    np.testing.assert_array_equal(read_image(KS.astype(np.uint8)).pixels, AS_RGB)
    rgba = np.dstack([PIXELS, np.zeros((2, 3), np.uint8)])
    np.testing.assert_array_equal(read_image(rgba).pixels, PIXELS)
    assert read_image(rgba).pixels.flags.c_contiguous


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64, np.uint16, bool])
def test_arrays_of_other_dtypes_are_refused(dtype):
    with pytest.raises(DataError, match=rf"uint8 array, RGB in 0\.\.255, got {np.dtype(dtype)}"):
        read_image(np.zeros((2, 3, 3), dtype))


@pytest.mark.parametrize("shape", [(3,), (2, 3, 1), (2, 3, 2), (3, 20, 30), (1, 2, 3, 3), (0, 3, 3), (2, 0), ()])
def test_arrays_of_other_shapes_are_refused(shape):
    with pytest.raises(DataError, match="shape"):
        read_image(np.zeros(shape, np.uint8))


def test_pillow_images_of_any_mode():
    image = Image.fromarray(PIXELS)
    np.testing.assert_array_equal(read_image(image).pixels, PIXELS)
    np.testing.assert_array_equal(read_image(image.convert("RGBA")).pixels, PIXELS)
    with pytest.raises(DataError, match="Pillow cannot load"):
        read_image(Image.new("La", (3, 2)))


def test_names(tmp_path, monkeypatch):
    path = save(tmp_path / "a.png")
    assert read_image(path).name == str(path)
    assert read_image(path, name="mine").name == "mine"
    assert read_image(PIXELS).name == "ndarray"
    assert read_image(path.read_bytes()).name == "bytes"
    with Image.open(path) as image:
        assert read_image(image).name == str(path)
    monkeypatch.chdir(tmp_path)
    assert [item.name for item in opened(["a.png", PIXELS, path.read_bytes()])] == [
        "a.png",
        "ndarray 1",
        "bytes 2",
    ]
    with pytest.raises(DataError, match=r"^mine: "):
        read_image(b"no image", name="mine")


# --- one image: the limit on pixels ---


def test_the_limit_on_pixels_is_exact():
    for source in (encoded(PIXELS), encoded(PIXELS, "GIF"), Image.fromarray(PIXELS)):
        assert read_image(source, max_pixels=6).size_wh == (3, 2)
        with pytest.raises(DataError, match=r"at most 5 pixels \(`max_pixels`\), got 3 x 2 = 6 pixels"):
            read_image(source, max_pixels=5)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP", "WEBP", "TIFF", "GIF"])
def test_pillows_own_limit_does_not_stand_in_the_way(monkeypatch, kind):
    data = encoded(PIXELS, kind)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 2)
    with pytest.raises(DataError, match="max_pixels"):
        read_image(data, max_pixels=1)
    assert Image.MAX_IMAGE_PIXELS == 2
    assert read_image(data, max_pixels=6).size_wh == (3, 2)
    assert Image.MAX_IMAGE_PIXELS == 6


def test_pillows_guards_stay_on():
    before = Image.MAX_IMAGE_PIXELS
    assert before is not None
    read_image(encoded(PIXELS))
    assert before == Image.MAX_IMAGE_PIXELS
    assert not ImageFile.LOAD_TRUNCATED_IMAGES


# --- files that are none ---


def test_a_missing_file_names_the_nearest(tmp_path):
    save(tmp_path / "Holiday_01.JPG")
    assert "did you mean Holiday_01.JPG?" in only_error(opened(tmp_path / "holiday_1.jpg"))
    assert "did you mean" not in only_error(opened(tmp_path / "zzz"))
    assert f"no folder {tmp_path / 'none'}" in only_error(opened(tmp_path / "none" / "a.jpg"))


def test_a_missing_file_in_a_folder_that_may_not_be_listed(tmp_path, monkeypatch):
    def refuse(_: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "iterdir", refuse)
    path = tmp_path / "a.png"
    assert only_error(opened(path)) == f"{path}: file not found"


def test_text_named_jpg_says_what_the_bytes_are(tmp_path):
    path = tmp_path / "notes.jpg"
    path.write_text("Dear diary,\ntoday")
    with pytest.raises(DataError, match=r"got text that begins 'Dear diary,\\ntoday'$"):
        read_image(path)


def test_a_file_that_may_not_be_read(tmp_path, monkeypatch):
    path = save(tmp_path / "a.png")

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))  # chmod does not stop root

    monkeypatch.setattr(Path, "open", refuse)
    assert only_error(opened(path)) == f"{path}: cannot be read: Permission denied"


def test_errors_are_one_printable_line(tmp_path):
    error = only_error(opened(str(tmp_path / "a\nb\x1b\udcff.jpg")))
    assert r"a\nb\x1b\udcff.jpg: file not found" in error
    error.encode()
    assert len(only_error(opened("x" * 10_000_000))) < 700


def test_errors_keep_no_memory_alive():
    (error,) = opened(encoded(PIXELS)[:60])
    assert isinstance(error, DataError)
    assert error.__traceback__ is error.__context__ is error.__cause__ is None


# --- many sources ---


def test_one_source_or_many():
    png = encoded(PIXELS)
    for one in (png, PIXELS, Image.fromarray(PIXELS)):
        assert [item.size_wh for item in opened(one)] == [(3, 2)]
    assert [item.size_wh for item in opened((png, PIXELS))] == [(3, 2), (3, 2)]
    assert list(opened([])) == []


def test_an_error_is_a_value_and_the_others_follow():
    items = list(opened([plain(1), b"bad", plain(2), plain(0).astype(float), plain(3)]))
    assert [isinstance(item, DataError) for item in items] == [False, True, False, True, False]
    assert greys(iter(items[::2])) == [1, 2, 3]


def test_without_a_callback_an_error_is_raised(tmp_path):
    (tmp_path / "list.txt").write_text("gone.png\n")
    images = open_sources([plain(1), b"bad", plain(2)])
    assert next(images).pixels[0, 0, 0] == 1
    with pytest.raises(DataError, match="bytes 1: must be a JPEG"):
        next(images)
    with pytest.raises(DataError, match=r"list\.txt:1: .*gone\.png: file not found"):
        list(open_sources(tmp_path / "list.txt"))


def test_sources_are_taken_one_by_one():
    endless = (plain(number) for number in count())
    assert greys(islice(opened(endless), 3)) == [0, 1, 2]


def test_nothing_is_decoded_before_it_is_asked_for(tmp_path):
    save(tmp_path / "1.png", 10)
    later = save(tmp_path / "2.png", 20)
    items = opened(tmp_path)
    assert greys(islice(items, 1)) == [10]
    save(later, 99)
    assert greys(items) == [99]


@pytest.mark.parametrize("every", [0, -1])
def test_every_must_be_positive(every):
    with pytest.raises(ConfigError, match=f"got {every}"):
        opened([], every=every)


# --- folders ---


def test_a_folder_in_natural_order(tmp_path):
    for grey, name in enumerate(["img1.jpg", "IMG2.JPEG", "img10.png", "img10b.webp", "z.tif", "z1.tiff", "z2.bmp"]):
        save(tmp_path / name, grey)
    save(tmp_path / ".hidden.jpg")
    save(tmp_path / "folder.jpg" / "inner.jpg")
    (tmp_path / "notes.txt").write_text("no image")
    assert greys(opened(tmp_path)) == [0, 1, 2, 3, 4, 5, 6]
    assert next(opened(str(tmp_path))).name == str(tmp_path / "img1.jpg")


def test_a_folder_without_images_says_what_was_looked_for(tmp_path):
    assert only_error(opened(tmp_path)) == f"{tmp_path}: no image found in this folder"
    (tmp_path / "clip.mp4").touch()
    assert only_error(opened(tmp_path)).startswith(f"{tmp_path}: no image found in this folder: 1 .mp4 (`recursive` ")


def test_the_working_folder_and_the_empty_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save(tmp_path / "a.png", 5)
    (image,) = opened(".")
    assert image.name == "a.png"
    assert "empty" in only_error(opened(""))


@pytest.mark.posix
def test_one_bad_file_in_a_folder(tmp_path):
    save(tmp_path / "1.png", 1)
    (tmp_path / "2.png").write_bytes(b"bad")
    (tmp_path / "3.png").symlink_to(tmp_path / "gone.png")
    save(tmp_path / "4.png", 4)
    first, bad, gone, last = opened(tmp_path)
    assert greys(iter([first, last])) == [1, 4]
    assert str(bad).startswith(str(tmp_path / "2.png"))
    assert str(gone).endswith(f"file not found: a link to {tmp_path / 'gone.png'}, which does not exist")


# --- patterns ---


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*.png", [1, 2, 10]),
        ("pic?.png", [1, 2]),
        ("pic[13].png", [1]),
        ("pic*", [1, 2, 10]),
        ("**", [1, 2, 10, 30]),
        ("**/*.png", [1, 2, 10, 30]),
        ("s*/*/pic3.png", [30]),
    ],
)
def test_patterns(tmp_path, monkeypatch, pattern, expected):
    for name, grey in [("pic1", 1), ("pic2", 2), ("pic10", 10), ("sub/deep/pic3", 30), (".pic4", 40)]:
        save(tmp_path / f"{name}.png", grey)
    (tmp_path / "pic1.txt").write_text("a label, no list")
    (tmp_path / "pic5.png").mkdir()
    assert greys(opened(str(tmp_path / pattern))) == expected
    assert greys(opened(tmp_path / pattern)) == expected
    monkeypatch.chdir(tmp_path)
    assert greys(opened(pattern)) == expected
    assert not next(opened(pattern)).name.startswith(".")


def test_a_pattern_that_matches_nothing(tmp_path):
    save(tmp_path / "a.png")
    assert only_error(opened(str(tmp_path / "*.jpg"))).startswith(f"{tmp_path}/*.jpg: no file found that ends in")
    assert "no file found that ends in" in only_error(opened(str(tmp_path / "none" / "*.jpg")))


def test_names_that_look_like_patterns_still_open(tmp_path):
    save(tmp_path / "a[1].png", 1)
    save(tmp_path / "a1.png", 2)
    save(tmp_path / "what?.png", 3)
    save(tmp_path / "shots [x]" / "b.png", 4)
    assert greys(opened(str(tmp_path / "a[1].png"))) == [1]
    assert greys(opened(str(tmp_path / "what?.png"))) == [3]
    assert greys(opened(tmp_path / "shots [x]")) == [4]
    assert greys(opened(str(tmp_path / "shots [x]" / "*.png"))) == [4]


# --- lists ---


def test_a_list(tmp_path, monkeypatch):
    here = tmp_path / "here"
    save(tmp_path / "there" / "a.png", 1)
    save(tmp_path / "there" / "sub" / "b c.png", 2)
    save(here / "c.png", 3)
    save(here / "a.png", 99)  # the list's own folder comes first
    absolute = save(tmp_path / "d.png", 4)
    list_file = tmp_path / "there" / "list.txt"
    list_file.write_bytes(f"\ufeffa.png\r\n\n  \nsub/b c.png\nc.png\n{absolute}".encode())
    monkeypatch.chdir(here)
    items = list(opened(str(list_file)))
    assert greys(iter(items)) == [1, 2, 3, 4]
    assert [item.name for item in items] == [
        str(tmp_path / "there" / "a.png"),
        str(tmp_path / "there" / "sub" / "b c.png"),
        "c.png",
        str(absolute),
    ]


def test_bad_lines_are_named_and_passed_over(tmp_path):
    save(tmp_path / "good.png", 7)
    save(tmp_path / "folder" / "inner.png")
    (tmp_path / "other.txt").write_text("good.png\n")
    list_file = tmp_path / "list.txt"
    lines = ["good.png", "", "goood.png", "other.txt", "folder", "http://127.0.0.1:9/a.png", "\0", "good.png"]
    list_file.write_text("\n".join(lines))
    items = list(opened(list_file))
    assert greys(iter([items[0], items[-1]])) == [7, 7]
    errors = [str(item) for item in items[1:-1]]
    assert [error.split(": ")[0] for error in errors] == [f"{list_file}:{line}" for line in (3, 4, 5, 6, 7)]
    assert "did you mean good.png?" in errors[0]
    assert "got text that begins 'good.png" in errors[1]
    assert "got a folder" in errors[2]
    assert "file not found" in errors[3]  # a list does not lead to the network


def test_a_listed_name_that_is_not_utf8(tmp_path):
    name = os.fsdecode(b"caf\xe9.png")
    save(tmp_path / name, 8)
    (tmp_path / "list.txt").write_bytes(b"caf\xe9.png\n")
    assert greys(opened(tmp_path / "list.txt")) == [8]


def test_an_empty_list(tmp_path):
    list_file = tmp_path / "list.TXT"
    list_file.write_text("\n  \n")
    assert only_error(opened(list_file)) == f"{list_file}: must list images, one path a line, got an empty list"


# --- videos ---


def write_video(path: Path, frames: int = 9, four_cc: str = "MJPG") -> Path:
    """Frame number n is 20 n bright in red and 0 in blue."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*four_cc), 12.5, (64, 48))
    assert writer.isOpened()
    for number in range(frames):
        writer.write(np.full((48, 64, 3), (0, 100, 20 * number), np.uint8))
    writer.release()
    return path


@pytest.mark.parametrize(("suffix", "four_cc"), [("avi", "MJPG"), ("mp4", "mp4v"), ("mkv", "MJPG"), ("MOV", "mp4v")])
def test_a_video_gives_its_frames(tmp_path, suffix, four_cc):
    path = write_video(tmp_path / f"clip.{suffix}", four_cc=four_cc)
    images = list(opened(path))
    assert [image.frame for image in images] == list(range(9))
    assert {image.name for image in images} == {str(path)}
    assert {image.frames_per_second for image in images} == {12.5}
    for number, image in enumerate(images):
        assert image.pixels.shape == (48, 64, 3)
        assert np.abs(image.pixels[24, 32].astype(int) - (20 * number, 100, 0)).max() <= 12


def test_every_nth_frame(tmp_path):
    path = write_video(tmp_path / "clip.avi")
    images = list(opened([path, plain(7)], every=4))
    assert [image.frame for image in images] == [0, 4, 8, None]
    assert abs(int(images[1].pixels[24, 32, 0]) - 80) <= 12


def test_a_video_cut_short_gives_what_is_there_and_an_error(tmp_path):
    path = write_video(tmp_path / "clip.avi", frames=30)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 3 // 4])
    *images, error = opened(path, every=2)
    assert 2 < len(images) < 15
    assert [image.frame for image in images] == list(range(0, 2 * len(images), 2))
    decoded = images[-1].frame + 1
    assert str(error) in {f"{path}: truncated video: must have 30 frames, got {n}" for n in (decoded, decoded + 1)}


def test_a_video_that_cannot_be_opened(tmp_path):
    path = tmp_path / "clip.mp4"
    path.write_bytes(b"no video" * 1000)
    assert only_error(opened(path)).startswith(f"{path}: cannot be opened as a video")
    assert "file not found" in only_error(opened(tmp_path / "none.mp4"))
    (tmp_path / "empty.avi").touch()
    assert "empty file" in only_error(opened(tmp_path / "empty.avi"))


def test_the_frames_of_a_video_are_held_to_the_limit(tmp_path):
    path = write_video(tmp_path / "clip.avi")
    assert "64 x 48 = 3,072 pixels" in only_error(opened(path, max_pixels=3071))


def test_videos_in_lists_and_patterns_and_under_odd_names(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_video(Path("clip.avi"), frames=2).rename("http:clip#1.avi")  # FFmpeg must take it for no protocol
    Path("list.txt").write_text("http:clip#1.avi\n")
    for source in ("http:clip#1.avi", "list.txt", "*.avi"):
        assert [image.frame for image in opened(source)] == [0, 1]


class FakeCapture:
    """A camera of 64 x 48 that gives three frames and breaks."""

    opened: list["FakeCapture"] = []  # noqa: RUF012

    def __init__(self, target: int | str, backend: int) -> None:
        self.target, self.backend = target, backend
        self.left, self.released = 3, False
        FakeCapture.opened.append(self)

    def isOpened(self) -> bool:
        return True

    def get(self, what: int) -> float:
        return {cv2.CAP_PROP_FRAME_WIDTH: 64.0, cv2.CAP_PROP_FRAME_HEIGHT: 48.0, cv2.CAP_PROP_FPS: 0.0}.get(what, -1.0)

    def grab(self) -> bool:
        self.left -= 1
        return self.left >= 0

    def retrieve(self) -> tuple[bool, np.ndarray]:
        return True, np.full((48, 64, 3), (1, 2, 3), np.uint8)

    def release(self) -> None:
        self.released = True


@pytest.fixture
def captures(monkeypatch) -> list[FakeCapture]:
    monkeypatch.setattr(cv2, "VideoCapture", FakeCapture)
    monkeypatch.setattr(FakeCapture, "opened", [])
    return FakeCapture.opened


@pytest.mark.parametrize(
    ("source", "target"),
    [("0", 0), ("12", 12), ("camera:3", 3), ("rtsp://host/x.mp4", "rtsp://host/x.mp4"), ("rtmp://h/x", "rtmp://h/x")],
)
def test_cameras_and_streams_are_opened_again_where_they_break(tmp_path, monkeypatch, captures, caplog, source, target):
    """Each connection gives three frames; after the second none is to be had."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(videos, "_WAITS", (0.01, 0.02))
    monkeypatch.setattr(FakeCapture, "isOpened", lambda self: len(FakeCapture.opened) <= 2)
    *images, error = opened(source, every=2)
    assert {capture.target for capture in captures} == {target}
    assert [image.frame for image in images] == [0, 2, 4]
    times = [image.timestamp for image in images]
    assert times == sorted(times)
    assert {image.frames_per_second for image in images} == {None}
    assert tuple(images[0].pixels[0, 0]) == (3, 2, 1)
    assert str(error) == f"{source}: the stream ended after 6 frames and cannot be opened again"
    assert len(captures) == 4  # the second wait comes after the third attempt
    assert all(capture.released for capture in captures)
    assert "opening it again in 0.01 s" in caplog.text


def test_a_stream_that_is_not_there_is_not_waited_for(captures, monkeypatch):
    monkeypatch.setattr(FakeCapture, "isOpened", lambda self: False)
    assert only_error(opened("rtsp://host/x")).startswith("rtsp://host/x: cannot be opened")
    assert len(captures) == 1


def test_a_camera_is_given_back_when_nobody_asks_for_more(tmp_path, monkeypatch, captures):
    monkeypatch.chdir(tmp_path)
    images = opened("0")
    next(images)
    assert not captures[0].released
    images.close()
    assert captures[0].released


def test_what_exists_wins_over_a_camera(tmp_path, monkeypatch, captures):
    monkeypatch.chdir(tmp_path)
    save(tmp_path / "0", 5)
    save(tmp_path / "camera:1" / "a.png", 6)
    assert greys(opened(["0", "camera:1"])) == [5, 6]
    assert "file not found" in only_error(opened(Path("2")))  # a Path is never a camera
    assert captures == []


def test_an_error_inside_opencv(tmp_path, monkeypatch, captures):
    def fail(_: FakeCapture) -> None:
        raise cv2.error("out of memory\nsomewhere")

    monkeypatch.setattr(FakeCapture, "retrieve", fail)
    monkeypatch.chdir(tmp_path)
    assert only_error(opened("0")).startswith("0: cannot be read as a video: out of memory")
    assert captures[0].released


# --- URLs ---


@pytest.fixture
def server(tmp_path, monkeypatch) -> Iterator[Callable[[str, tuple[int, dict[str, str], bytes]], str]]:
    """Serves prepared answers on this machine: ``url = server("/path", (status, headers, body))``."""
    answers: dict[str, tuple[int, dict[str, str], bytes]] = {}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, headers, body = answers[self.path]
            self.send_response(status)
            for header, value in ({"Content-Length": str(len(body))} | headers).items():
                self.send_header(header, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    for variable in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(variable, raising=False)
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()

        def serve(path: str, answer: tuple[int, dict[str, str], bytes]) -> str:
            answers[path] = answer
            return f"http://127.0.0.1:{http.server_port}{path}"

        yield serve
        http.shutdown()
        thread.join()


def test_a_image_from_a_url(server):
    url = server("/a.png?size=3", (200, {}, encoded(PIXELS)))
    (image,) = opened(url)
    assert image.name == url
    np.testing.assert_array_equal(image.pixels, PIXELS)
    np.testing.assert_array_equal(read_image(url).pixels, PIXELS)


def test_a_video_from_a_url(server, tmp_path):
    url = server("/clip.avi?key=1", (200, {}, write_video(tmp_path / "clip.avi").read_bytes()))
    assert [image.frame for image in opened(url, every=3)] == [0, 3, 6]


def test_a_redirect_to_http_is_followed(server):
    target = server("/a.png", (200, {}, encoded(PIXELS)))
    url = server("/moved", (302, {"Location": target}, b""))
    np.testing.assert_array_equal(read_image(url).pixels, PIXELS)


@pytest.mark.parametrize("scheme", ["file", "ftp", "data"])
def test_a_redirect_to_elsewhere_is_refused(server, tmp_path, scheme):
    path = save(tmp_path / "a.png")
    target = {"file": path.as_uri(), "ftp": "ftp://127.0.0.1:9/a.png", "data": "data:image/png;base64,AA"}[scheme]
    url = server("/moved", (302, {"Location": target}, b""))
    error = only_error(opened(url))
    assert error.startswith(f"{url}: cannot be fetched over http or https: ")
    assert "not allowed" in error or "must not redirect" in error


def test_answers_that_are_no_image(server):
    assert "HTTP Error 404" in only_error(opened(server("/none.png", (404, {}, b"not here"))))
    with pytest.raises(DataError) as error:
        read_image(server("/none.png", (404, {}, b"not here")))
    assert error.value.__cause__.closed  # the connection is given back
    page = server("/a.png", (200, {}, b"<!DOCTYPE html><html>"))
    assert "got text that begins '<!DOCTYPE html>" in only_error(opened(page))
    assert "got no bytes" in only_error(opened(server("/empty.png", (200, {}, b""))))
    cut = server("/cut.png", (200, {}, encoded(PIXELS)[:50]))
    assert "truncated or damaged PNG" in only_error(opened(cut))
    loop = server("/loop", (302, {"Location": "/loop"}, b""))
    assert "HTTP Error 302" in only_error(opened(loop))


def test_a_url_that_gives_too_much(server, monkeypatch):
    png = encoded(PIXELS)
    monkeypatch.setattr(streams, "_MAX_BYTES", len(png))
    url = server("/a.png", (200, {}, png))
    assert read_image(url).size_wh == (3, 2)
    monkeypatch.setattr(streams, "_MAX_BYTES", len(png) - 1)
    assert only_error(opened(url)) == f"{url}: must be at most {len(png) - 1} bytes long"


def test_a_url_that_nobody_answers():
    assert "Connection refused" in only_error(opened("http://127.0.0.1:9/a.png"))
    assert "cannot be opened as a video" in only_error(opened("http://127.0.0.1:9/a.mp4"))


@pytest.mark.parametrize(
    "playlist",
    ["#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{}\n#EXT-X-ENDLIST\n", "ffconcat version 1.0\nfile {}\n"],
    ids=["hls", "concat"],
)
def test_a_playlist_named_like_a_video_does_not_lead_to_the_network(server, tmp_path, playlist):
    url = server("/clip.avi", (200, {}, write_video(tmp_path / "clip.avi").read_bytes()))
    (tmp_path / "list.mp4").write_text(playlist.format(url))
    assert "cannot be opened as a video" in only_error(opened(tmp_path / "list.mp4"))


@pytest.mark.parametrize(
    "url", ["file:///etc/hostname", "ftp://127.0.0.1/a.png", "gopher://x", "data://x", "s3://b/a.png"]
)
def test_other_schemes_are_refused(url):
    assert only_error(opened(url)).startswith(f"{url}: cannot be fetched over http or https")
    with pytest.raises(DataError, match="cannot be fetched over http or https"):
        read_image(url)


@pytest.mark.parametrize("url", ["http://", "http://[bad/a.png", "http://a b/", "http://127.0.0.1:x/", "https://\0"])
def test_addresses_that_are_none(url):
    assert "cannot be fetched" in only_error(opened(url))


# --- stdin ---


def test_stdin(monkeypatch):
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(encoded(PIXELS))))
    (image,) = opened("-")
    assert image.name == "stdin"
    np.testing.assert_array_equal(image.pixels, PIXELS)
    with pytest.raises(DataError, match=r"stdin: must be a .* got no bytes"):
        read_image("-")


def test_stdin_that_is_too_long_or_closed(monkeypatch):
    monkeypatch.setattr(streams, "_MAX_BYTES", 10)
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(encoded(PIXELS))))
    assert "stdin: must be at most 10 bytes" in only_error(opened("-"))
    monkeypatch.setattr(sys, "stdin", None)
    assert only_error(opened("-")).startswith("stdin: cannot be read")


# --- the size alone ---


@pytest.mark.parametrize("orientation", [None, *TURNED])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF"])
def test_the_size_is_that_of_the_turned_image(tmp_path, kind, orientation):
    kept = orientation is not None and kind not in ("BMP", "GIF")  # which hold no EXIF
    data = encoded(PIXELS, kind, **({"exif": exif_of(orientation)} if kept else {}))
    expected = (2, 3) if kept and orientation >= 5 else (3, 2)
    path = tmp_path / "image"
    path.write_bytes(data)
    assert read_size(data) == read_size(path) == read_size(str(path)) == read_image(data).size_wh == expected


def with_png_chunk(kind: bytes, data: bytes, *, behind_pixels: bool) -> bytes:
    png = encoded(PIXELS)
    chunk = struct.pack(">I4s", len(data), kind) + data + struct.pack(">I", zlib.crc32(kind + data))
    position = png.index(b"IEND" if behind_pixels else b"IDAT") - 4
    return png[:position] + chunk + png[position:]


XMP = b'XML:com.adobe.xmp\0\0\0\0\0<x tiff:Orientation="6"/>'
RAW_PROFILE = b"Raw profile type exif\0\nexif\n26\n" + exif_of(6).tobytes().hex().encode() + b"\n"


@pytest.mark.parametrize("behind_pixels", [False, True])
@pytest.mark.parametrize(
    ("kind", "data"), [(b"eXIf", exif_of(6).tobytes()[6:]), (b"iTXt", XMP), (b"tEXt", RAW_PROFILE)]
)
def test_the_size_of_a_png_that_is_turned_in_any_way(kind, data, behind_pixels):
    png = with_png_chunk(kind, data, behind_pixels=behind_pixels)
    assert read_size(png) == read_image(png).size_wh == (2, 3)


def test_the_size_needs_no_pixels():
    png = encoded(np.random.default_rng(0).integers(0, 255, (200, 300, 3), dtype=np.uint8))
    assert read_size(png[:100]) == (300, 200)
    with pytest.raises(DataError, match="truncated or damaged PNG"):
        read_image(png[:100])


def test_the_size_of_a_image_with_damaged_exif_is_not_turned():
    jpeg = encoded(PIXELS, "JPEG", exif=b"Exif\0\0garbage")
    assert read_size(jpeg) == (3, 2)


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        (b"", "got no bytes"),
        (b"no image", "got text"),
        (encoded(PIXELS)[:20], "truncated or damaged PNG"),
        ("-", "file not found"),
        ("http://127.0.0.1/a.png", "file not found"),
    ],
)
def test_the_size_of_what_is_no_image(source, problem):
    with pytest.raises(DataError, match=problem):
        read_size(source)


def test_the_size_is_limited_and_the_error_named():
    with pytest.raises(DataError, match=r"^mine: must be at most 5 pixels \(`max_pixels`\), got 3 x 2 = 6 pixels$"):
        read_size(encoded(PIXELS), name="mine", max_pixels=5)
    assert read_size(encoded(PIXELS), max_pixels=6) == (3, 2)


@pytest.mark.posix
def test_the_size_of_files_that_are_none(tmp_path):
    with pytest.raises(DataError, match="got a folder"):
        read_size(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DataError, match="got a pipe"):
        read_size(tmp_path / "pipe")


DAMAGE = st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=5)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF"])
@settings(max_examples=60, deadline=None)
@given(damage=DAMAGE)
def test_the_size_of_a_damaged_image_is_that_of_its_pixels_if_they_can_be_read(kind, damage):
    kept = {} if kind in ("BMP", "GIF") else {"exif": exif_of(6)}
    data = bytearray(encoded(PIXELS, kind, **kept))
    for position, value in damage:
        data[position % len(data)] = value
    size_wh = None
    with suppress(DataError):
        size_wh = read_size(bytes(data), max_pixels=10_000)
    with suppress(DataError):
        assert read_image(bytes(data), max_pixels=10_000).size_wh == size_wh
