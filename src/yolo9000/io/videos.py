"""Frames of videos, streams and cameras."""

from __future__ import annotations

import math
from collections.abc import Iterator

from yolo9000.errors import needs_extra
from yolo9000.io.files import one_line, reading
from yolo9000.io.images import check_pixels
from yolo9000.types import SourceImage

__all__ = ["VIDEO_SUFFIXES", "read_frames"]

# These containers store how many frames they hold. For the others OpenCV estimates duration x rate, which is far off
# where the rate varies, as in recordings of a screen; so only these are held to their number.
_COUNTED_SUFFIXES = (".avi", ".mp4", ".mov", ".m4v")
VIDEO_SUFFIXES = (*_COUNTED_SUFFIXES, ".mkv", ".webm", ".mpg", ".mpeg")


def read_frames(
    target: str | int, name: str, container: str | None, max_pixels: int, every: int
) -> Iterator[SourceImage]:
    """Frames 0, every, 2 x every ... of what OpenCV can open.

    Args:
        target: a path, a URL or the index of a camera.
        name: what the frames and the errors about them are called.
        container: suffix of a video; None for a camera or a stream.
        max_pixels: maximum width x height.
        every: distance of the frames.

    Raises:
        DataError: it cannot be opened; after the last frame, if a container has more frames than could be decoded, and
            if a stream or a camera ends.
    """
    with needs_extra("video", "reading videos"):  # images do not need it
        import cv2

    with reading(name, "cannot be read as a video"):
        capture = cv2.VideoCapture(target, cv2.CAP_ANY if isinstance(target, int) else cv2.CAP_FFMPEG)
        try:
            if not capture.isOpened():
                raise one_line(name, "cannot be opened as a video, a stream or a camera")
            size = int(capture.get(cv2.CAP_PROP_FRAME_WIDTH)), int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT))
            check_pixels(size, name, max_pixels)
            rate = capture.get(cv2.CAP_PROP_FPS)
            frames = 0
            while capture.grab():
                if frames % every == 0:
                    image = cv2.cvtColor(capture.retrieve()[1], cv2.COLOR_BGR2RGB)
                    yield SourceImage(name, image, frames, rate if math.isfinite(rate) and rate > 0 else None)
                frames += 1
            _check_end(frames, int(capture.get(cv2.CAP_PROP_FRAME_COUNT)), name, container)
        finally:
            capture.release()


def _check_end(frames: int, expected: int, name: str, container: str | None) -> None:
    if container is None:
        raise one_line(name, f"the stream ended after {frames} frames")
    if frames == 0:
        raise one_line(name, "truncated video: no frame can be decoded")
    if container in _COUNTED_SUFFIXES and frames < expected:
        raise one_line(name, f"truncated video: must have {expected} frames, got {frames}")
