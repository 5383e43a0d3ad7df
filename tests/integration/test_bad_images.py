"""Images that are broken, odd or hostile: each gives one line of error, quickly, and the good ones still come."""

import io
import os
import signal
import socket
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from support.opened import opened

from yolo9000.errors import DataError
from yolo9000.io.images import Source, read_image
from yolo9000.types import SourceImage

pytestmark = pytest.mark.posix  # pipes, devices, links, and an alarm around every test

ROWS, COLUMNS = np.mgrid[0:40, 0:60].astype(np.uint8)
PIXELS = np.dstack([ROWS * 6, COLUMNS * 4, ROWS ^ COLUMNS])


def encoded(kind: str, pixels: np.ndarray = PIXELS, **options: object) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, kind, **options)
    return stream.getvalue()


JPEG, PNG, GIF, WEBP, BMP, TIFF = (encoded(kind) for kind in ("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF"))
WEBP_LOSSLESS = encoded("WEBP", lossless=True)
LZW_TIFF = encoded("TIFF", compression="tiff_lzw")
NOISE = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
NOISE_PNG = encoded("PNG", NOISE)  # does not shrink, so that no offset leaves all pixels whole
PROGRESSIVE = encoded("JPEG", progressive=True)


def png(width: int, height: int, *, depth: int = 8, color: int = 2, pixels: bytes = b"") -> bytes:
    """A PNG by hand, whose header may promise what it likes."""
    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(pixels)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )


def gif(width: int, height: int, frame_wh: tuple[int, int], *, disposal: int = 0) -> bytes:
    """A GIF by hand of one frame, whose pixels are missing."""
    screen = b"GIF89a" + struct.pack("<HH", width, height) + b"\x80\0\0" + b"\0\0\0\xff\xff\xff"
    control = b"!\xf9\4" + bytes([disposal << 2, 0, 0, 0]) + b"\0"
    return screen + control + b"," + struct.pack("<HHHH", 0, 0, *frame_wh) + b"\0" + b"\2\2\x4c\1\0;"


def webp(width: int, height: int) -> bytes:
    """A lossless WebP whose header claims another size: 14 bits each of width - 1 and height - 1."""
    data = bytearray(WEBP_LOSSLESS)
    (bits,) = struct.unpack_from("<I", data, 21)
    struct.pack_into("<I", data, 21, bits >> 28 << 28 | (height - 1) << 14 | width - 1)
    return bytes(data)


def patched(data: bytes, offset: int, patch: bytes) -> bytes:
    return data[:offset] + patch + data[offset + len(patch) :]


def patched_jpeg_size(width: int, height: int) -> bytes:
    return patched(JPEG, JPEG.index(b"\xff\xc0") + 5, struct.pack(">HH", height, width))


def patched_tiff_width(width: int) -> bytes:
    return patched(TIFF, TIFF.index(struct.pack("<HHI", 256, 3, 1)) + 8, struct.pack("<I", width))


def cut_at_20_offsets(name: str, data: bytes) -> dict[str, bytes]:
    return {f"{name}-cut-{part}-of-21": data[: len(data) * part // 21] for part in range(1, 21)}


BAD_BYTES: dict[str, bytes] = {
    **cut_at_20_offsets("jpeg", JPEG),
    **cut_at_20_offsets("png", NOISE_PNG),
    "jpeg-start-only": b"\xff\xd8\xff",
    "jpeg-progressive-cut": PROGRESSIVE[: len(PROGRESSIVE) // 2],
    "jpeg-header-and-end-only": JPEG[: JPEG.index(b"\xff\xda")] + b"\xff\xd9",
    "jpeg-of-no-width": patched_jpeg_size(0, 40),
    "jpeg-bomb": patched_jpeg_size(65500, 65500),
    "png-signature-only": PNG[:8],
    "png-bomb": png(20000, 20000),
    "png-largest-bomb": png(2**31 - 1, 2**31 - 1),
    "png-of-no-width": png(0, 2),
    "png-of-no-pixels": png(3, 2),
    "png-of-too-few-pixels": png(3, 2, pixels=b"\0" * 15),
    "png-of-depth-3": png(3, 2, depth=3, pixels=b"\0" * 20),
    "png-of-color-type-5": png(3, 2, color=5, pixels=b"\0" * 20),
    "png-palette-without-one": png(3, 2, color=3)[:33],
    "png-bad-checksum": patched(PNG, 29, b"\0\0\0\0"),
    "png-bad-deflate": patched(PNG, PNG.index(b"IDAT") + 4, b"\xff" * 8),
    "png-with-line-ends-changed": PNG.replace(b"\r\n", b"\n"),
    "png-without-header": PNG[:8] + PNG[33:],
    "gif-cut": GIF[: len(GIF) // 2],
    "gif-signature-only": GIF[:6],
    "gif-without-frame": GIF[:13] + b";",
    "gif-screen-bomb": gif(65535, 65535, (65535, 65535), disposal=2),
    "gif-frame-bomb": gif(20, 10, (60000, 60000), disposal=2),
    "gif-of-no-pixels": gif(3, 2, (3, 2)),
    "webp-cut": WEBP[: len(WEBP) // 2],
    "webp-header-only": WEBP[:12],
    "webp-bomb": webp(16383, 16383),
    "webp-of-other-size": webp(600, 400),
    "bmp-cut": BMP[: len(BMP) // 2],
    "bmp-header-only": BMP[:14],
    "bmp-bomb": patched(BMP, 18, struct.pack("<ii", 100_000, 100_000)),
    "bmp-of-negative-width": patched(BMP, 18, struct.pack("<i", -60)),
    "bmp-of-3-bits": patched(BMP, 28, struct.pack("<H", 3)),
    "bmp-that-is-text": b"BMW is a maker of cars",
    "tiff-cut": TIFF[: len(TIFF) // 2],
    "tiff-header-only": TIFF[:8],
    "tiff-lzw-cut": LZW_TIFF[: len(LZW_TIFF) // 2],
    "tiff-directory-elsewhere": patched(TIFF, 4, b"\xff\xff\xff\x7f"),
    "tiff-directory-in-a-circle": b"II*\0\x08\0\0\0\0\0\x08\0\0\0",
    "empty": b"",
    "one-byte": b"\xff",
    "zeros": bytes(5000),
    "text": b"this is no image\n",
    "text-utf8": "ceci n’est pas une image".encode(),
    "html": b"<!DOCTYPE html><html></html>",
    "svg": b'<svg xmlns="http://www.w3.org/2000/svg"/>',
    "postscript": b"%!PS-Adobe-3.0 EPSF-3.0\n",
    "pdf": b"%PDF-1.7\n",
    "zip": b"PK\x03\x04" + bytes(60),
    "gzip": zlib.compress(PNG, wbits=31),
    "heic": b"\0\0\0\x18ftypheic" + bytes(60),
    "avif": b"\0\0\0\x18ftypavif" + bytes(60),
    "mp4": b"\0\0\0\x18ftypisom" + bytes(60),
    "photoshop": b"8BPS\0\1" + bytes(60),
    "portable-pixmap-cut": b"P6 2 1 255\n12345",
    "portable-pixmap-in-text": b"P3 2 1 255\n1 2 3 4 5 6",
    "icon": b"\0\0\1\0\1\0" + bytes(60),
    "pickle": b"\x80\x04\x95" + bytes(20),
}


def a_pipe(folder: Path) -> Path:
    os.mkfifo(folder / "pipe.jpg")
    return folder / "pipe.jpg"


def a_video_pipe(folder: Path) -> Path:
    os.mkfifo(folder / "pipe.mp4")
    return folder / "pipe.mp4"


def a_list_pipe(folder: Path) -> Path:
    os.mkfifo(folder / "pipe.txt")
    return folder / "pipe.txt"


def a_socket(folder: Path) -> Path:
    before = Path.cwd()
    with socket.socket(socket.AF_UNIX) as end:
        os.chdir(folder)  # a socket's path may have no more than 107 characters
        try:
            end.bind("socket.jpg")
        finally:
            os.chdir(before)
    return folder / "socket.jpg"


def a_link_to_itself(folder: Path) -> Path:
    (folder / "loop.jpg").symlink_to("loop.jpg")
    return folder / "loop.jpg"


def a_link_to_nothing(folder: Path) -> Path:
    (folder / "link.jpg").symlink_to("gone.jpg")
    return folder / "link.jpg"


def a_file_of_more_than_1_gib(folder: Path) -> Path:
    with (folder / "huge.jpg").open("wb") as file:
        file.truncate(2**30 + 1)  # a hole: takes no room on the disk
    return folder / "huge.jpg"


def a_folder_without_images(folder: Path) -> Path:
    (folder / "folder.jpg").mkdir()
    return folder / "folder.jpg"


def a_video_of_nothing(folder: Path) -> Path:
    (folder / "clip.avi").write_bytes(b"RIFF\0\0\0\0AVI " + bytes(100))
    return folder / "clip.avi"


def a_file_taken_for_a_folder(folder: Path) -> Path:
    (folder / "a.png").write_bytes(PNG)
    return folder / "a.png" / "b.png"


BAD_SOURCES: dict[str, Callable[[Path], Source]] = {
    "pipe": a_pipe,
    "video-pipe": a_video_pipe,
    "list-pipe": a_list_pipe,
    "socket": a_socket,
    "device": lambda _: "/dev/null",
    "endless-device": lambda _: "/dev/zero",
    "link-to-itself": a_link_to_itself,
    "link-to-nothing": a_link_to_nothing,
    "huge-file": a_file_of_more_than_1_gib,
    "folder": a_folder_without_images,
    "video-of-nothing": a_video_of_nothing,
    "file-taken-for-a-folder": a_file_taken_for_a_folder,
    "missing": lambda folder: folder / "none.jpg",
    "missing-folder": lambda folder: folder / "none" / "a.jpg",
    "name-too-long": lambda folder: folder / ("x" * 300),
    "name-with-zero-byte": lambda _: "a\0b.jpg",
    "name-not-utf8": lambda _: "caf\udce9.jpg",
    "empty-name": lambda _: "",
    "blank-name": lambda _: "  ",
    "pattern-without-match": lambda folder: f"{folder}/*.jpg",
    "unfinished-pattern": lambda _: "[",
    "file-scheme": lambda _: "file:///etc/hostname",
    "broken-address": lambda _: "http://[",
    "floats": lambda _: PIXELS.astype(np.float32) / 255,
    "channels-first": lambda _: PIXELS.transpose(2, 0, 1),
    "pillow-floats": lambda _: Image.new("F", (3, 2)),
}

EVERY_BAD = [*BAD_BYTES, *BAD_SOURCES]


def make(case: str, folder: Path) -> Source:
    """The bad source, in a folder of its own; bytes become a file with a name that lies."""
    folder = folder / f"{EVERY_BAD.index(case):03}"
    folder.mkdir()
    if case in BAD_SOURCES:
        return BAD_SOURCES[case](folder)
    (folder / "image.jpg").write_bytes(BAD_BYTES[case])
    return folder / "image.jpg"


@pytest.fixture(autouse=True)
def alarm() -> Iterator[None]:
    """Nothing here may wait: not for a pipe's writer, and not in a decoder."""

    def ring(*_: object) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(15)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def check_error(error: SourceImage | DataError) -> None:
    assert isinstance(error, DataError), error
    text = str(error)
    assert text.isprintable()
    assert ": " in text
    assert len(text) < 700
    assert error.__traceback__ is error.__context__ is error.__cause__ is None


def test_there_are_enough_cases():
    assert len(EVERY_BAD) >= 60


@pytest.mark.parametrize("case", EVERY_BAD)
def test_each_bad_source_gives_one_error(tmp_path, case):
    (item,) = opened(make(case, tmp_path))
    check_error(item)


@pytest.mark.parametrize("case", [case for case in BAD_BYTES if case != "empty"])
def test_bad_bytes_give_the_same_error_as_a_bad_file(tmp_path, case):
    with pytest.raises(DataError) as from_bytes:
        read_image(BAD_BYTES[case], name="it")
    with pytest.raises(DataError) as from_file:
        read_image(make(case, tmp_path), name="it")
    assert str(from_bytes.value) == str(from_file.value)
    assert str(from_bytes.value).startswith(("it: must be", "it: truncated or damaged", "it: empty"))


def test_all_bad_sources_and_then_a_good_one(tmp_path):
    open_files = len(list(Path("/proc/self/fd").iterdir())) if sys.platform == "linux" else 0
    good = tmp_path / "good.png"
    good.write_bytes(PNG)
    *errors, image = opened([*(make(case, tmp_path) for case in EVERY_BAD), good])
    assert len(errors) == len(EVERY_BAD)
    for error in errors:
        check_error(error)
    assert isinstance(image, SourceImage)
    np.testing.assert_array_equal(image.pixels, PIXELS)
    if sys.platform == "linux":
        assert len(list(Path("/proc/self/fd").iterdir())) == open_files


def test_the_same_from_a_folder_a_pattern_and_a_list(tmp_path):
    for number, (case, data) in enumerate(BAD_BYTES.items()):
        (tmp_path / f"{number} {case}.jpg").write_bytes(data)
    (tmp_path / "999.png").write_bytes(PNG)
    (tmp_path / "list.txt").write_text("\n".join(path.name for path in sorted(tmp_path.iterdir())))
    for source in (tmp_path, f"{tmp_path}/*.*g", tmp_path / "list.txt"):
        *errors, image = opened(source)
        assert len(errors) == len(BAD_BYTES)
        for error in errors:
            check_error(error)
        assert isinstance(image, SourceImage)
        np.testing.assert_array_equal(image.pixels, PIXELS)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_files_and_folders_that_may_not_be_read(tmp_path):
    (tmp_path / "closed").mkdir()
    (tmp_path / "closed" / "a.png").write_bytes(PNG)
    (tmp_path / "b.png").write_bytes(PNG)
    (tmp_path / "closed").chmod(0)
    (tmp_path / "b.png").chmod(0)
    try:
        for source in (tmp_path / "closed", tmp_path / "closed" / "a.png", tmp_path / "b.png"):
            (error,) = opened(source)
            check_error(error)
            assert "Permission denied" in str(error)
    finally:
        (tmp_path / "closed").chmod(0o700)


BOMBS = ["png-bomb", "png-largest-bomb", "jpeg-bomb", "gif-screen-bomb", "webp-bomb", "bmp-bomb"]


@pytest.mark.parametrize("case", BOMBS)
def test_bombs_are_recognized_by_their_header(case):
    with pytest.raises(DataError, match=r"must be at most 64,000,000 pixels \(`max_pixels`\), got \d+ x \d+ = "):
        read_image(BAD_BYTES[case])


@pytest.mark.skipif(sys.platform != "linux", reason="counts memory as Linux does")
def test_bombs_take_little_memory(tmp_path):
    paths = [make(case, tmp_path) for case in [*BOMBS, "gif-frame-bomb"]]
    program = """
import resource, sys
from yolo9000.io.sources import open_sources
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for image in open_sources(sys.argv[1:], on_error=print):
    print(image)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    result = subprocess.run([sys.executable, "-c", program, *paths], capture_output=True, text=True, check=True)
    assert result.stderr == ""
    *errors, kib = result.stdout.splitlines()
    assert len(errors) == len(paths)
    assert int(kib) < 20 * 1024


@pytest.mark.parametrize(
    "data",
    [
        PNG + b"trailing",
        BMP + b"trailing",
        WEBP_LOSSLESS + b"trailing",
        patched(PNG, 33, b"\xff\xff\xff\xff"),
        PNG[:-12],
        PNG[:33] + b"\0\0\0\4noNe\1\2\3\4" + struct.pack(">I", zlib.crc32(b"noNe\1\2\3\4")) + PNG[33:],
        TIFF + bytes(1000),
    ],
    ids=["png-tail", "bmp-tail", "webp-tail", "png-chunk-of-4-gib", "png-no-end", "png-unknown-chunk", "tiff-tail"],
)
def test_odd_images_whose_pixels_are_whole(data):
    np.testing.assert_array_equal(read_image(data).pixels, PIXELS)


@pytest.mark.parametrize(
    ("case", "content"),
    [
        ("mp4", "an MP4 or MOV video"),
        ("photoshop", "a Photoshop image"),
        ("pdf", "a PDF"),
        ("zip", "a zip archive"),
        ("gzip", "gzip data"),
        ("html", "text that begins '<!DOCTYPE html><html></html>'"),
        ("text-utf8", "text that begins 'ceci n’est pas une image'"),
        ("zeros", "bytes that begin 00 00 00 00 00 00 00 00"),
    ],
)
def test_the_error_says_what_the_bytes_are(case, content):
    with pytest.raises(DataError) as error:
        read_image(BAD_BYTES[case])
    assert str(error.value) == f"bytes: must be a JPEG, PNG, BMP, WebP, TIFF, GIF, PNM, AVIF, HEIC image, got {content}"


@pytest.mark.parametrize(
    ("case", "problem"),
    [
        ("pipe", "must be a file, got a pipe"),
        ("video-pipe", "must be a file, got a pipe"),
        ("list-pipe", "must be a file, got a pipe"),
        ("socket", "must be a file, got a socket"),
        ("device", "must be a file, got a device"),
        ("link-to-itself", "symbolic links"),
        ("link-to-nothing", "file not found: a link to gone.jpg, which does not exist"),
        ("huge-file", "must be at most 1,073,741,824 bytes long, got 1,073,741,825"),
        ("missing", "file not found"),
        ("file-taken-for-a-folder", "Not a directory"),
        ("empty", "empty file"),
        ("floats", "must be uint8, RGB in 0..255, got float32"),
        ("channels-first", "must be (h, w, 3), got (3, 40, 60)"),
    ],
)
def test_the_error_says_what_is_wrong(tmp_path, case, problem):
    (error,) = opened(make(case, tmp_path))
    assert problem in str(error)


# --- damage at random: an error or an image, and nothing else ---

FUZZED = {
    "jpeg": JPEG,
    "jpeg-progressive-exif": encoded(
        "JPEG", progressive=True, exif=b"Exif\0\0II*\0\x08\0\0\0\1\0\x12\1\3\0\1\0\0\0\6\0"
    ),
    "png": PNG,
    "gif": GIF,
    "webp": WEBP,
    "tiff": LZW_TIFF,
    "bmp": BMP,
    "ppm": encoded("PPM"),
}
DAMAGE = st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=12)


@pytest.mark.parametrize("kind", FUZZED)
@settings(max_examples=120, deadline=None)
@given(damage=DAMAGE, at_head=st.booleans(), kept=st.one_of(st.just(1.0), st.floats(0, 1)))
def test_damaged_bytes_raise_data_errors_only(kind, damage, at_head, kept):
    data = bytearray(FUZZED[kind])
    reach = min(200, len(data)) if at_head else len(data)  # headers have the most ways to go wrong
    for position, value in damage:
        data[int(position * reach)] = value
    (item,) = opened(bytes(data[: int(kept * len(data))]), max_pixels=1_000_000)
    if isinstance(item, DataError):
        check_error(item)
    else:
        assert item.pixels.dtype == np.uint8
        assert item.pixels.ndim == 3
        assert item.pixels.shape[2] == 3
