"""Frames of video files, of videos on the web, of live streams and of cameras, decoded by OpenCV's FFmpeg."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import UInt8

from yolo9000.errors import DataError, needs_extra
from yolo9000.io.containers import count_shown_frames, missing_bytes
from yolo9000.io.files import check_file, one_line, reading
from yolo9000.io.frame_sizes import Segment, SizeChanges
from yolo9000.io.images import TEXT, check_pixels, contents_of
from yolo9000.types import SourceImage

if TYPE_CHECKING:
    import cv2

__all__ = ["VIDEO_HEAD_BYTES", "VIDEO_SUFFIXES", "is_video", "read_live", "read_video"]

VIDEO_SUFFIXES = (
    *(".mp4", ".m4v", ".mov", ".3gp", ".3g2", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".vob"),
    *(".ts", ".mts", ".m2ts", ".wmv", ".asf", ".flv", ".ogv"),
)
VIDEO_HEAD_BYTES = 256
_SIGNATURE = re.compile(
    rb"....(?:ftyp|moov|mdat|wide|skip|free)"  # MP4 and MOV
    rb"|RIFF....AVI |\x1a\x45\xdf\xa3|FLV\x01|OggS|\x00\x00\x01[\xba\xb3]|\x30\x26\xb2\x75\x8e\x66\xcf\x11"
    rb"|\x47.{187}\x47|.{4}\x47.{191}\x47",  # MPEG-TS, without and with time codes
    re.DOTALL,
)

# Of other containers than AVI and MP4 OpenCV estimates the number of frames as duration x rate, which is far off where
# the rate varies, as in recordings of a screen.
_COUNTED = (".avi", ".mp4", ".mov", ".m4v")
_TRIES = 1000  # to decode a next frame, before a video is taken for ended
_HIGHEST_RATE = 240.0  # what is above is the unit of the time stamps
_WAITS = (1, 2, 4, 8, 16, 30, 30, 30)  # seconds before each attempt to open a stream again

_log = logging.getLogger(__name__)


def is_video(head: bytes) -> bool:
    """Whether a file with these first `VIDEO_HEAD_BYTES` bytes is a video."""
    return _SIGNATURE.match(head) is not None


def read_video(source: Path | str, name: str, max_pixels: int, every: int) -> Iterator[SourceImage]:
    """Frames 0, every, 2 x every ... of a video, in a file each in its own size. What cannot be decoded is passed over.

    Args:
        source: the path of a file, a URL, or a pipe as FFmpeg names it.
        name: what the frames and the errors about them are called.
        max_pixels: maximum width x height.
        every: distance of the frames.

    Raises:
        DataError: it cannot be opened; after the last frame, if there are frames that could not be decoded.
    """
    missing, shown = _looked_into(source, name) if isinstance(source, Path) else (0, None)
    with _opened(source, name, max_pixels, missing) as capture:
        rate = _rate(capture)
        frames = failed = 0
        for decoded in _decoded(source, capture, name, max_pixels):
            frames, failed = decoded.number, decoded.failed
            if frames % every == 1 % every:
                yield SourceImage(name, decoded.rgb(), frames - 1, rate, decoded.seconds)
        if shown is None and str(source).partition("?")[0].lower().endswith(_COUNTED):
            shown = _frame_count(capture)
        _check_end(frames, failed, shown, missing, name)


def _looked_into(path: Path, name: str) -> tuple[int, int | None]:
    """How many bytes a file lacks, and how many frames it shows if it says so."""
    check_file(path, name)
    with reading(name), path.open("rb") as stream:
        head = stream.read(VIDEO_HEAD_BYTES)
        if TEXT.fullmatch(head):  # a playlist, which may lead elsewhere
            raise one_line(name, f"cannot be opened as a video: got {contents_of(head)}")
        return missing_bytes(stream), count_shown_frames(stream)


def _check_end(frames: int, failed: int, expected: int | None, missing: int, name: str) -> None:
    kind = "damaged" if failed and not missing else "truncated"
    if frames == 0:
        raise one_line(name, f"{kind} video: no frame can be decoded")
    if expected is not None and frames < expected:
        raise one_line(name, f"{kind} video: must have {expected} frames, got {frames}")
    if missing:
        raise one_line(name, f"{kind} video: the last {missing:,} bytes are missing")
    if failed and expected is None:
        raise one_line(name, f"{kind} video: {failed} times no frame could be decoded")


def read_live(target: int | str, name: str, max_pixels: int, every: int) -> Iterator[SourceImage]:
    """Frames 0, every, 2 x every ... of a camera (its index) or a stream (its URL), with the time of their arrival.

    Where it breaks, it is opened again, after waits that double up to 30 seconds; a warning is logged.

    Raises:
        DataError: it cannot be opened, or not again within two minutes.
    """
    frames, start, waits = 0, 0.0, iter(_WAITS)
    while True:
        try:
            with _opened(target, name, max_pixels) as capture:
                while capture.grab():
                    start = start or time.monotonic()
                    if frames % every == 0:
                        yield SourceImage(name, _rgb(capture), frames, None, time.monotonic() - start)
                    frames, waits = frames + 1, iter(_WAITS)
        except DataError:
            if frames == 0:
                raise
        wait = next(waits, None)
        if wait is None:
            raise one_line(name, f"the stream ended after {frames} frames and cannot be opened again")
        _log.warning("%s: the stream broke after %d frames; opening it again in %g s", name, frames, wait)
        time.sleep(wait)


@contextmanager
def _opened(target: Path | str | int, name: str, max_pixels: int, missing: int = 0) -> Iterator[cv2.VideoCapture]:
    with needs_extra("video", "reading videos"):
        import cv2

    with reading(name, "cannot be read as a video"):
        capture = _capture(target)
        try:
            if not capture.isOpened():
                cut = f"truncated video: the last {missing:,} bytes are missing, the index among them"
                raise one_line(name, cut if missing else "cannot be opened as a video, a stream or a camera")
            size = int(capture.get(cv2.CAP_PROP_FRAME_WIDTH)), int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT))
            check_pixels(size, name, max_pixels)
            yield capture
        finally:
            capture.release()


def _capture(target: Path | str | int) -> cv2.VideoCapture:
    import cv2

    if isinstance(target, int):
        return cv2.VideoCapture(target, cv2.CAP_ANY)
    # An absolute path, because FFmpeg takes what is before a colon for a protocol.
    return cv2.VideoCapture(str(target.absolute()) if isinstance(target, Path) else target, cv2.CAP_FFMPEG)


@dataclass(frozen=True)
class _Decoded:
    """A frame that was moved to: its number from 1, how many attempts failed before it, when it is shown."""

    number: int
    failed: int
    seconds: float
    rgb: Callable[[], UInt8[np.ndarray, "h w 3"]]


def _decoded(source: Path | str, capture: cv2.VideoCapture, name: str, max_pixels: int) -> Iterator[_Decoded]:
    """Move to frame after frame; those from a change of the size on are opened as videos of their own."""
    changes = SizeChanges(source, capture) if isinstance(source, Path) else None
    rate, turns = _rate(capture), _quarter_turns(capture)
    last = _Decoded(0, 0, -1.0, partial(_rgb, capture))
    for number, failed in _grabs(capture, _never if changes is None else changes.come_before):
        last = _Decoded(number, failed, _seconds(_milliseconds(capture) / 1000, last.seconds, rate), last.rgb)
        yield last
    for segment in () if changes is None else changes.segments():
        with _opened(segment.file, name, max_pixels) as own:
            for decoded in _decoded_segment(own, segment, last, rate, turns):
                yield decoded
                last = decoded


def _decoded_segment(
    capture: cv2.VideoCapture, segment: Segment, before: _Decoded, rate: float | None, turns: int
) -> Iterator[_Decoded]:
    """Move to the frames of a segment, which are numbered on from the one before it."""
    seconds, times, rgb = before.seconds, iter(segment.seconds), partial(_rgb, capture, turns)
    for number, failed in islice(_grabs(capture, _never), segment.before, None):
        seconds = _seconds(next(times, 0.0), seconds, rate)
        yield _Decoded(before.number + number - segment.before, before.failed + failed, seconds, rgb)


def _never(_: int) -> bool:
    return False


def _grabs(capture: cv2.VideoCapture, is_end: Callable[[int], bool]) -> Iterator[tuple[int, int]]:
    """Move to frame after frame: how many were there, and how many attempts between them failed.

    Args:
        capture: the video.
        is_end: whether to stop before a frame, given its index.
    """
    frames = failed = in_row = 0
    while in_row < _TRIES and not is_end(frames + failed + in_row):
        if capture.grab():
            frames, failed, in_row = frames + 1, failed + in_row, 0
            yield frames, failed
        else:
            in_row += 1


def _quarter_turns(capture: cv2.VideoCapture) -> int:
    """How often frames are turned clockwise to be upright; OpenCV does it where the file says so."""
    import cv2

    return int(capture.get(cv2.CAP_PROP_ORIENTATION_META)) // 90


def _rate(capture: cv2.VideoCapture) -> float | None:
    import cv2

    rate = capture.get(cv2.CAP_PROP_FPS)
    return rate if 0 < rate <= _HIGHEST_RATE else None


def _frame_count(capture: cv2.VideoCapture) -> int:
    import cv2

    return int(capture.get(cv2.CAP_PROP_FRAME_COUNT))


def _milliseconds(capture: cv2.VideoCapture) -> float:
    import cv2

    return capture.get(cv2.CAP_PROP_POS_MSEC)


def _seconds(stamp: float, last: float, rate: float | None) -> float:
    """When the frame is shown; from the rate where it has no time stamp, as the last ones of MPEG-PS do."""
    return stamp if stamp > last else last + (1 / rate if rate else 0.0)


def _rgb(capture: cv2.VideoCapture, turns: int = 0) -> UInt8[np.ndarray, "h w 3"]:
    import cv2

    rgb = cv2.cvtColor(capture.retrieve()[1], cv2.COLOR_BGR2RGB)
    return np.ascontiguousarray(np.rot90(rgb, -turns)) if turns else rgb
