"""Videos as they are: trimmed, damaged, cut, of variable rate, in every container, animated images, standard input."""

import io
import itertools
import logging
import os
import struct
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from PIL import Image
from support.mp4 import change_boxes, edit_list, sample_durations
from support.opened import opened
from support.resized import h264, motion_jpeg

from yolo9000.errors import DataError
from yolo9000.io import images
from yolo9000.io.containers import count_shown_frames, missing_bytes
from yolo9000.io.image_writer import ImageWriter
from yolo9000.io.naming import OutputNames
from yolo9000.io.videos import read_video
from yolo9000.types import SourceImage

RATE = 10.0


def write_video(path: Path, frames: int = 9, four_cc: str = "mp4v", *, noise: bool = False) -> Path:
    """Frame number n is 20 n bright in red; with noise it has many bytes, so that damage hits them."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*four_cc), RATE, (64, 48))
    assert writer.isOpened()
    rng = np.random.default_rng(0)
    for number in range(frames):
        pixels = np.full((48, 64, 3), (0, 100, 20 * number % 256), np.uint8)
        writer.write(rng.integers(0, 255, (48, 64, 3), dtype=np.uint8) if noise else pixels)
    writer.release()
    return path


def reds(images: list[SourceImage]) -> list[int]:
    """The number of each frame of `write_video`, by its red."""
    return [round(int(image.pixels[len(image.pixels) // 2, 3, 0]) / 20) for image in images]


def messages(items: list[object]) -> list[str]:
    return [str(item) for item in items if isinstance(item, DataError)]


# --- containers ---


def test_a_trimmed_video_shows_what_its_edit_list_keeps(tmp_path: Path) -> None:
    """Frames 3 to 6 of 9. OpenCV writes 1,000 units a second for the movie; a frame of the media has 1,024 units."""
    data = write_video(tmp_path / "whole.mp4").read_bytes()
    path = tmp_path / "trimmed.mp4"
    path.write_bytes(change_boxes(data, {b"elst": edit_list(3 * 1024, 400)}))
    with path.open("rb") as stream:
        assert count_shown_frames(stream) == 4
    images = list(opened(path))
    assert reds(images) == [3, 4, 5, 6]
    assert [image.timestamp for image in images] == pytest.approx([0, 0.1, 0.2, 0.3])


def test_a_damaged_stretch_is_passed_over_and_reported(tmp_path: Path) -> None:
    path = write_video(tmp_path / "clip.mp4", 30, noise=True)
    data = bytearray(path.read_bytes())
    start = data.index(b"mdat")
    length = len(data) - start
    data[start + length // 3 : start + length // 2] = bytes(length // 2 - length // 3)
    path.write_bytes(data)
    *images, error = opened(path)
    assert 20 <= len(images) < 30
    assert images[-1].timestamp > 2.5
    assert str(error) == f"{path}: damaged video: must have 30 frames, got {len(images)}"


def test_a_video_cut_short_is_truncated_whatever_its_container(tmp_path: Path) -> None:
    path = write_video(tmp_path / "clip.mkv", 30, "MJPG", noise=True)
    data = path.read_bytes()
    assert missing_bytes(io.BytesIO(data)) == 0
    path.write_bytes(data[:-5000])
    *images, error = opened(path)
    assert 10 < len(images) < 30
    assert str(error) == f"{path}: truncated video: the last 5,000 bytes are missing"


def test_an_mp4_cut_before_its_index_says_what_is_missing(tmp_path: Path) -> None:
    path = write_video(tmp_path / "clip.mp4", 30, noise=True)
    data = path.read_bytes()
    assert data.index(b"moov") > data.index(b"mdat")
    path.write_bytes(data[: data.index(b"moov") - 5000])
    (error,) = opened(path)
    assert str(error) == f"{path}: truncated video: the last 4,996 bytes are missing, the index among them"


def test_bytes_that_an_mp4_lacks() -> None:
    """A file type box of 16 bytes, then one of frames that says 100 bytes, of which 20 are there."""
    begin = b"\0\0\0\x10ftypisom\0\0\0\0"
    assert missing_bytes(io.BytesIO(begin + b"\0\0\0\x64mdat" + bytes(12))) == 80
    assert missing_bytes(io.BytesIO(begin + b"\0\0\0\x14mdat" + bytes(12))) == 0
    assert missing_bytes(io.BytesIO(begin + b"\0\0\0\0mdat" + bytes(12))) == 0  # up to the end
    assert missing_bytes(io.BytesIO(begin + b"\0\0\0\x14mdat" + bytes(12) + b"\0\0\0\x64moof")) == 92
    assert missing_bytes(io.BytesIO(begin + b"\0\0\0\x14mdat" + bytes(12) + b"junk" * 9)) == 0
    assert missing_bytes(io.BytesIO(b"\0\0\0\x64abcd")) == 0


@pytest.mark.parametrize("damage", [4, 5, 6])
def test_a_damaged_index_is_no_index(tmp_path: Path, damage: int) -> None:
    """Whatever the bytes of an index are, looking into it ends."""
    data = bytearray(write_video(tmp_path / "clip.mp4").read_bytes())
    rng = np.random.default_rng(damage)
    for position in rng.integers(data.index(b"moov"), len(data), 40):
        data[position] = rng.integers(256)
    count = count_shown_frames(io.BytesIO(bytes(data)))
    assert count is None or count >= 0


@pytest.mark.parametrize(
    ("suffix", "four_cc"),
    [
        ("ts", "MPG2"),
        ("mts", "MPG2"),
        ("m2ts", "MPG2"),
        ("wmv", "WMV2"),
        ("flv", "FLV1"),
        ("3gp", "mp4v"),
        ("mpg", "MPG2"),
    ],
)
def test_containers(tmp_path: Path, suffix: str, four_cc: str) -> None:
    (path := tmp_path / "clip").mkdir()
    written = write_video(path / f"a.{'ts' if suffix in ('mts', 'm2ts') else suffix}", four_cc=four_cc)
    images = list(opened(written.rename(path / f"clip.{suffix}")))
    assert reds(images) == list(range(9))
    assert [image.timestamp for image in images] == pytest.approx([n / RATE for n in range(9)])


def test_a_video_without_a_suffix(tmp_path: Path) -> None:
    path = write_video(tmp_path / "clip.mp4").rename(tmp_path / "clip")
    assert reds(list(opened(path))) == list(range(9))


def test_time_stamps_of_a_variable_rate(tmp_path: Path) -> None:
    data = write_video(tmp_path / "clip.mp4", 5).read_bytes()
    units = [1024, 4096, 512, 2048, 1024]  # 10,240 a second
    (tmp_path / "variable.mp4").write_bytes(
        change_boxes(data, {b"stts": sample_durations(units), b"elst": edit_list(0, 850)})
    )
    images = list(opened(tmp_path / "variable.mp4"))
    expected = [sum(units[:n]) / 10240 for n in range(5)]
    assert [image.timestamp for image in images] == pytest.approx(expected, abs=1e-3)
    assert [image.timestamp for image in opened(tmp_path / "variable.mp4", every=2)] == pytest.approx(
        expected[::2], abs=1e-3
    )


# --- standard input ---


@pytest.mark.parametrize(("suffix", "four_cc"), [("ts", "MPG2"), ("mp4", "mp4v"), ("mkv", "MJPG")])
def test_a_video_on_standard_input(tmp_path: Path, monkeypatch, suffix: str, four_cc: str) -> None:
    """From a pipe, longer than the pipe's buffer; MP4 and AVI, whose index may be at the end, are read whole before."""
    data = write_video(tmp_path / f"clip.{suffix}", 9, four_cc, noise=True).read_bytes()
    expected = [image.pixels for image in opened(tmp_path / f"clip.{suffix}")]
    output, entrance = os.pipe()
    writer = threading.Thread(target=write_slowly, args=(entrance, data))
    writer.start()
    with os.fdopen(output, "rb") as stdin:
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=stdin, fileno=stdin.fileno))
        frames = list(opened("-"))
        writer.join()
    assert {image.name for image in frames} == {"stdin"}
    np.testing.assert_array_equal([image.pixels for image in frames], expected)


def write_slowly(descriptor: int, data: bytes) -> None:
    with os.fdopen(descriptor, "wb", buffering=0) as pipe:
        for start in range(0, len(data), 5000):
            pipe.write(data[start : start + 5000])


# --- animated images ---


@pytest.mark.parametrize(("suffix", "options"), [("gif", {}), ("webp", {"lossless": True}), ("png", {})])
def test_an_animated_image_is_a_video(tmp_path: Path, suffix: str, options: dict[str, object]) -> None:
    frames = [Image.new("RGB", (6, 4), (20 * number, 100, 0)) for number in range(4)]
    path = tmp_path / f"moving.{suffix}"
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=[50, 200, 100, 100], **options)
    images = list(opened(path))
    assert reds(images) == [0, 1, 2, 3]
    assert [image.frame for image in images] == [0, 1, 2, 3]
    assert [image.timestamp for image in images] == pytest.approx([0, 0.05, 0.25, 0.35])
    assert images[0].frames_per_second == pytest.approx(20)
    assert reds(list(opened(path, every=3))) == [0, 3]


def test_one_frame_is_an_image(tmp_path: Path) -> None:
    Image.new("RGB", (6, 4)).save(tmp_path / "still.gif")
    (image,) = opened(tmp_path / "still.gif")
    assert (image.frame, image.timestamp) == (None, None)


def test_a_truncated_animation_gives_what_is_there_and_an_error(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    frames = [Image.fromarray(rng.integers(0, 255, (40, 60, 3), dtype=np.uint8)) for _ in range(4)]
    path = tmp_path / "moving.webp"
    frames[0].save(path, save_all=True, append_images=frames[1:], lossless=True)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 3 // 4])
    *images, error = opened(path)
    assert len(images) < 4
    assert "truncated or damaged WebP" in str(error)


# --- what is written ---


def frames_of(path: Path) -> list[int]:
    """The number of each frame, by its red."""
    return reds(list(opened(path)))


def written(tmp_path: Path, times: list[float | int], rate: float | None, every: int = 1) -> Path:
    with ImageWriter(tmp_path / "out", OutputNames(), every=every) as writer:
        for number, timestamp in enumerate(times):
            pixels = np.full((48, 64, 3), (20 * number, 100, 0), np.uint8)
            path = writer.write(SourceImage("a/walk.ts", pixels, number * every, rate, float(timestamp)), pixels)
    return path


def test_the_annotated_video_lasts_as_long_as_its_source(tmp_path: Path) -> None:
    """10 frames a second; the third frame comes at 0.5 s, which is the sixth frame of the output."""
    path = written(tmp_path, [0, 0.1, 0.5, 0.6], 10.0)
    assert frames_of(path) == [0, 1, 1, 1, 1, 2, 3]
    assert list((tmp_path / "out").iterdir()) == [path]


def test_no_frame_is_left_out_where_frames_come_faster_than_the_rate(tmp_path: Path) -> None:
    assert frames_of(written(tmp_path, [0, 0.01, 0.02, 0.3], 10.0)) == [0, 1, 2, 3]


def test_every_second_frame_keeps_the_speed(tmp_path: Path) -> None:
    """5 frames a second of a video of 10 a second."""
    path = written(tmp_path, [0, 0.2, 0.4], 10.0, every=2)
    assert frames_of(path) == [0, 1, 2]
    assert next(opened(path)).frames_per_second == pytest.approx(5)


def test_hours_without_a_stream_are_left_out(tmp_path: Path) -> None:
    assert frames_of(written(tmp_path, [0, 0.04, 7200, 7200.04], None)) == [0, 1, 2, 3]


def test_frames_of_another_size_fit_the_video_between_bars(tmp_path: Path, caplog) -> None:
    """48 x 64 in 64 x 48: 36 columns of it, and 14 black ones at each side."""
    with caplog.at_level(logging.WARNING, "yolo9000"), ImageWriter(tmp_path, OutputNames()) as writer:
        for number, shape in enumerate([(48, 64, 3), (64, 48, 3), (64, 48, 3)]):
            pixels = np.full(shape, 100, np.uint8)
            path = writer.write(SourceImage("walk.avi", pixels, number, 10.0, number / 10), pixels)
    first, *others = opened(path)
    assert [image.size_wh for image in (first, *others)] == [(64, 48)] * 3
    assert abs(first.pixels[24, [2, 32, 61]].astype(int) - 100).max() < 12
    for image in others:
        assert image.pixels[24, [2, 11, 52, 61]].max() < 25
        assert abs(image.pixels[24, [17, 32, 46]].astype(int) - 100).max() < 25
    (record,) = caplog.records
    assert record.getMessage() == f"{path}: frames of 48 x 64 are fitted into the 64 x 48 of the first"


# --- changes of the size ---

RESIZED = [*[(96, 64, 60)] * 3, *[(160, 64, 120)] * 4, *[(64, 128, 200)] * 2, (96, 64, 90)]


def seen_in(path: Path) -> list[tuple[int, int, int]]:
    """The size of each frame of a video, and its brightness to tens."""
    frames = list(opened(path))
    assert [frame.frame for frame in frames] == list(range(len(frames)))
    assert all(a.timestamp < b.timestamp for a, b in itertools.pairwise(frames))
    return [(*frame.size_wh, round(float(frame.pixels.mean()), -1)) for frame in frames]


def test_each_frame_of_motion_jpeg_has_its_own_size(tmp_path: Path) -> None:
    path = tmp_path / "resized.avi"
    path.write_bytes(motion_jpeg(RESIZED))
    assert seen_in(path) == RESIZED
    assert [image.timestamp for image in opened(path)] == pytest.approx([number / 10 for number in range(10)])
    assert [image.frame for image in opened(path, every=4)] == [0, 4, 8]


def test_each_frame_of_h264_has_its_own_size(tmp_path: Path) -> None:
    """In television's range: 16 is black, 235 is white. OpenCV scales all to the size of a later frame."""
    path = tmp_path / "resized.ts"
    path.write_bytes(h264(RESIZED))
    brightness = {60: 50, 120: 120, 200: 210, 90: 90}  # (60 - 16) / 219 x 255 = 51; 121; 214; 86
    frames = list(read_video(path, "resized", 20_000, 1))
    assert [frame.size_wh for frame in frames] == [frame[:2] for frame in RESIZED]
    assert [round(float(frame.pixels.mean()), -1) for frame in frames] == [brightness[frame[2]] for frame in RESIZED]


@pytest.mark.parametrize("sizes", [[(96, 64, 90)] * 20, [(96, 64, 90), *[(96, 64, 120)] * 5]])
def test_h264_of_one_size_ends_with_its_last_frame(tmp_path: Path, sizes: list[tuple[int, int, int]]) -> None:
    path = tmp_path / "call.ts"
    path.write_bytes(h264(sizes))
    frames = list(read_video(path, "call", 20_000, 1))
    assert [frame.frame for frame in frames] == list(range(len(sizes)))
    assert {frame.size_wh for frame in frames} == {(96, 64)}


def test_frames_that_become_too_large_are_an_error(tmp_path: Path) -> None:
    path = tmp_path / "resized.avi"
    path.write_bytes(motion_jpeg(RESIZED))
    *frames, error = opened(path, max_pixels=10_000)
    assert [image.size_wh for image in frames] == [(96, 64)] * 3
    assert str(error) == f"{path}: must be at most 10,000 pixels (`max_pixels`), got 160 x 64 = 10,240 pixels"


@pytest.mark.parametrize(("four_cc", "suffix"), [("MPG2", ".ts"), ("mpg2", ".mpg")])
def test_no_frame_is_lost_where_the_size_changes(tmp_path: Path, four_cc: str, suffix: str) -> None:
    """The decoder holds one frame of MPEG-2 back, since frames are stored out of order, and drops it at the change."""
    path = tmp_path / f"joined{suffix}"
    path.write_bytes(b"".join(clip(tmp_path, four_cc, suffix, *size) for size in [(96, 64, 50), (160, 64, 120)]))
    sizes = [(*size_wh, 50) for size_wh in [(96, 64)] * 5] + [(*size_wh, 120) for size_wh in [(160, 64)] * 5]
    assert seen_in(path) == sizes


@pytest.mark.parametrize("four_cc", ["VP80", "VP90"])
def test_frames_of_calls_have_their_own_size(tmp_path: Path, four_cc: str) -> None:
    """Packets of two WebM videos in one IVF file."""
    packets = [packet for size in [(64, 128, 50), (96, 64, 120)] for packet in packets_of(tmp_path, four_cc, *size)]
    head = struct.pack("<4sHH4sHHIII4x", b"DKIF", 0, 32, four_cc.encode(), 64, 128, 25, 1, len(packets))
    body = [struct.pack("<IQ", len(packet), number) + packet for number, packet in enumerate(packets)]
    path = tmp_path / "call.ivf"
    path.write_bytes(head + b"".join(body))
    frames = list(read_video(path, "call", 10_000, 1))
    assert [frame.size_wh for frame in frames] == [(64, 128)] * 5 + [(96, 64)] * 5
    assert [frame.timestamp for frame in frames] == pytest.approx([number / 25 for number in range(10)])


def clip(folder: Path, four_cc: str, suffix: str, width: int, height: int, brightness: int) -> bytes:
    path = folder / f"clip-{width}{suffix}"
    code = cv2.VideoWriter.fourcc(*four_cc)
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, code, 25, (width, height))
    assert writer.isOpened()
    for _ in range(5):
        writer.write(np.full((height, width, 3), brightness, np.uint8))
    writer.release()
    return path.read_bytes()


def packets_of(folder: Path, four_cc: str, *size: int) -> list[bytes]:
    clip(folder, four_cc, ".webm", *size)
    packets = [cv2.CAP_PROP_FORMAT, -1]
    capture = cv2.VideoCapture(str(folder / f"clip-{size[0]}.webm"), cv2.CAP_FFMPEG, packets)
    return [capture.retrieve()[1].tobytes() for _ in iter(capture.grab, False)]


FULL = """
import resource, sys
import numpy as np
from pathlib import Path
from yolo9000.io.image_writer import ImageWriter
from yolo9000.io.naming import OutputNames
from yolo9000.types import SourceImage
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
rng = np.random.default_rng(0)
with ImageWriter(Path(sys.argv[1]), OutputNames()) as writer:
    for number in range(200):
        pixels = rng.integers(0, 255, (48, 64, 3), dtype=np.uint8)
        writer.write(SourceImage("walk.avi", pixels, number, 10.0, number / 10), pixels)
"""


@pytest.mark.posix
@pytest.mark.parametrize("limit", [300, 30_000])
def test_a_video_that_the_disk_cannot_hold_is_an_error(tmp_path: Path, limit: int) -> None:
    """A limit on the size of files stands for a full disk; the whole video has some 200,000 bytes."""
    (tmp_path / "walk.mp4").write_bytes(b"of an earlier run")
    done = subprocess.run([sys.executable, "-c", FULL, str(tmp_path), str(limit)], capture_output=True, text=True)
    assert done.returncode == 1
    assert f"{tmp_path / 'walk.mp4'}: cannot be written" in done.stderr
    assert (tmp_path / "walk.mp4").read_bytes() == b"of an earlier run"
    assert list(tmp_path.iterdir()) == [tmp_path / "walk.mp4"]


# --- folders ---


def make_phone_folder(folder: Path) -> None:
    """What a phone leaves: photographs in several suffixes, videos, a folder, a hidden file."""
    for number, name in enumerate(["1.jpg", "2.jfif", "sub/3.JPG", "sub/deep/5.png", ".hidden/9.png"]):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        kind = "PNG" if name.endswith("png") else "JPEG"
        Image.new("RGB", (6, 4), (20 * number, 100, 0)).save(folder / name, kind)
    write_video(folder / "4.mp4", 2)
    for name in ("notes.txt", "README", ".hidden.jpg"):
        (folder / name).touch()


def test_what_a_folder_has_besides_images_is_counted(tmp_path: Path, caplog) -> None:
    make_phone_folder(tmp_path)
    with caplog.at_level(logging.WARNING, "yolo9000"):
        assert [Path(image.name).name for image in opened(tmp_path)] == ["1.jpg", "2.jfif"]
    (record,) = caplog.records
    said = record.getMessage()
    assert said.startswith(f"{tmp_path}: not read: ")
    assert all(word in said for word in ("1 folder", "1 .mp4", "1 .txt", "1 without suffix", "`recursive`"))
    assert "hidden" not in said


def test_a_folder_with_all_below_it(tmp_path: Path, caplog) -> None:
    make_phone_folder(tmp_path)
    names = [Path(image.name).name for image in opened(tmp_path, recursive=True)]
    assert list(dict.fromkeys(names)) == ["1.jpg", "2.jfif", "4.mp4", "3.JPG", "5.png"]
    assert names.count("4.mp4") == 2
    assert not caplog.records


def test_a_folder_of_images_alone_says_nothing(tmp_path: Path, caplog) -> None:
    Image.new("RGB", (6, 4)).save(tmp_path / "1.png")
    assert len(list(opened(tmp_path))) == 1
    assert not caplog.records


def test_avif(tmp_path: Path) -> None:
    Image.new("RGB", (60, 40), (200, 100, 50)).save(tmp_path / "1.avif", quality=95)
    (image,) = opened(tmp_path)
    assert image.size_wh == (60, 40)
    assert np.abs(image.pixels[20, 30].astype(int) - (200, 100, 50)).max() <= 5
    assert messages(list(opened(tmp_path, max_pixels=2399))) == [
        f"{tmp_path / '1.avif'}: must be at most 2,399 pixels (`max_pixels`), got 60 x 40 = 2,400 pixels"
    ]


HEIC = Path(__file__).parents[1] / "support" / "turned.heic"
"""64 x 48, the left half red, turned by 90 degrees clockwise by the file: 48 x 64, the upper half red."""


def test_heic() -> None:
    pytest.importorskip("pi_heif")
    (image,) = opened(HEIC)
    assert image.size_wh == (48, 64)
    assert image.pixels[8, 24, 0] > 200 > 60 > image.pixels[56, 24, 0]


def test_heic_names_its_extra(monkeypatch) -> None:
    monkeypatch.setattr(images, "find_spec", lambda name: None)
    (error,) = messages(list(opened(HEIC)))
    assert error == f"{HEIC}: HEIC images need the extra heif: pip install 'yolo9000[heif]'"


def test_lists_of_suffixes_do_not_overlap() -> None:
    from yolo9000.io.images import IMAGE_SUFFIXES
    from yolo9000.io.videos import VIDEO_SUFFIXES

    assert not set(IMAGE_SUFFIXES) & set(VIDEO_SUFFIXES)
    assert all(suffix == suffix.lower() for suffix in itertools.chain(IMAGE_SUFFIXES, VIDEO_SUFFIXES))
