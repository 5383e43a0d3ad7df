"""Writes annotated images, and the frames of a video as a video that lasts as long as its source."""

from __future__ import annotations

import io
import logging
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from yolo9000.errors import DataError, needs_extra
from yolo9000.io.containers import count_shown_frames, missing_bytes
from yolo9000.io.files import write_atomically, writing
from yolo9000.io.naming import OutputNames
from yolo9000.types import SourceImage

if TYPE_CHECKING:
    import cv2

__all__ = ["CropWriter", "ImageWriter"]

_log = logging.getLogger(__name__)

_JPEG_QUALITY = 92
_FRAMES_PER_SECOND = 25.0  # of a stream that does not say
_LONGEST_GAP_SECONDS = 10.0  # that is filled; a stream may have been away for hours


class ImageWriter:
    """Writes annotated images as ``<stem>.jpg`` and the frames of a video as one ``<stem>.mp4``; a context manager.

    A file appears when it is whole; until then a video is ``<stem>.part.mp4``.

    Args:
        folder: made when it is not there.
        names: gives the stems; share those of a `ResultWriter` so that files about one image are named alike.
        every: distance of the frames of a video that are written; it keeps its speed.

    Raises:
        DataError: the folder or a file cannot be written.
    """

    def __init__(self, folder: Path, names: OutputNames, *, every: int = 1) -> None:
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._names = names
        self._every = every
        self._video: _Video | None = None

    def write(self, image: SourceImage, drawn: UInt8[np.ndarray, "h w 3"]) -> Path:
        """Write one image, or add one frame to its video.

        Args:
            image: what it was drawn on: gives the name.
            drawn: RGB, of the same size. Frames of another size than the first are fitted into that of the video.

        Returns:
            The file.

        Raises:
            DataError: it cannot be written.
        """
        stem = self._names.stem(image.name, image.frame)
        if image.frame is None:
            path = self._folder / f"{stem}.jpg"
            with writing(path):
                write_atomically(path, _jpeg(drawn))
            return path
        path = self._folder / f"{stem.rpartition('_')[0]}.mp4"
        self._video_for(path, image).add(image, drawn)
        return path

    def _video_for(self, path: Path, image: SourceImage) -> _Video:
        if self._video is None or self._video.path != path or image.frame == 0:
            self.close()
            self._video = _Video(path, image, self._every)
        return self._video

    def close(self) -> None:
        """Finish the video that is being written, if any; closing again does nothing.

        Raises:
            DataError: the video is not whole, e.g. because the disk is full.
        """
        video, self._video = self._video, None
        if video is not None:
            video.close()

    def __enter__(self) -> ImageWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class CropWriter:
    """Writes the parts of images in the boxes as ``<class>/<stem>-<number>.jpg``.

    Args:
        folder: made with the first crop.
        names: gives the stems; share those of a `ResultWriter` so that files about one image are named alike.
    """

    def __init__(self, folder: Path, names: OutputNames) -> None:
        self._folder = folder
        self._names = names
        self._classes = OutputNames()

    def write(self, image: SourceImage, classes: Sequence[str], crops: Sequence[UInt8[np.ndarray, "_ _ 3"]]) -> None:
        """Write the crops of one image.

        Args:
            image: gives the stem.
            classes: of each crop.
            crops: RGB.

        Raises:
            DataError: a file cannot be written.
        """
        stem = self._names.stem(image.name, image.frame)
        for number, (name, crop) in enumerate(zip(classes, crops, strict=True), 1):
            path = self._folder / self._classes.own(name) / f"{stem}-{number}.jpg"
            with writing(path):
                path.parent.mkdir(parents=True, exist_ok=True)
                write_atomically(path, _jpeg(crop))


def _jpeg(pixels: UInt8[np.ndarray, "h w 3"]) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, format="JPEG", quality=_JPEG_QUALITY)
    return stream.getvalue()


class _Video:
    """A video of constant rate that is being written. Where frames are further apart, the last one is repeated."""

    def __init__(self, path: Path, image: SourceImage, every: int) -> None:
        self.path = path
        self._part = path.with_name(f"{path.stem}.part{path.suffix}")
        self._rate = (image.frames_per_second or _FRAMES_PER_SECOND) / every
        self._size_wh = image.size_wh
        self._start = image.timestamp or 0.0
        self._count = 0
        self._last: np.ndarray | None = None
        self._has_bars = False
        self._writer = self._opened()

    def _opened(self) -> cv2.VideoWriter:
        with needs_extra("video", "writing videos"):
            import cv2

        writer = cv2.VideoWriter(str(self._part), cv2.VideoWriter.fourcc(*"mp4v"), self._rate, self._size_wh)
        if not writer.isOpened():
            raise DataError(f"{self.path}: cannot be written: OpenCV cannot encode video there")
        return writer

    def add(self, image: SourceImage, drawn: UInt8[np.ndarray, "h w 3"]) -> None:
        due = self._due(image.timestamp)
        while self._last is not None and self._count < due:
            self._append(self._last)
        self._last = self._fitted(drawn[:, :, ::-1])  # OpenCV's order is blue, green, red
        self._append(self._last)

    def _due(self, timestamp: float | None) -> int:
        """The index of a frame of this time; after a long gap that of the next one, with the gap left out."""
        if timestamp is None:
            return self._count
        elapsed = timestamp - self._start
        gap = elapsed - self._count / self._rate
        if gap > _LONGEST_GAP_SECONDS:
            self._start += gap
            return self._count
        return round(elapsed * self._rate)

    def _fitted(self, bgr: np.ndarray) -> np.ndarray:
        """The frame in the size of the first, between black bars where its proportions are others."""
        import cv2

        height, width = bgr.shape[:2]
        if (width, height) == self._size_wh:
            return np.ascontiguousarray(bgr)
        if not self._has_bars:
            self._has_bars = True
            sizes = (width, height, *self._size_wh)
            _log.warning("%s: frames of %d x %d are fitted into the %d x %d of the first", self.path, *sizes)
        scale = min(self._size_wh[0] / width, self._size_wh[1] / height)
        inner_wh = max(1, round(scale * width)), max(1, round(scale * height))
        left, top = (self._size_wh[0] - inner_wh[0]) // 2, (self._size_wh[1] - inner_wh[1]) // 2
        frame = np.zeros((*self._size_wh[::-1], 3), np.uint8)
        frame[top : top + inner_wh[1], left : left + inner_wh[0]] = cv2.resize(bgr, inner_wh)
        return frame

    def _append(self, bgr: np.ndarray) -> None:
        self._writer.write(bgr)
        self._count += 1

    def close(self) -> None:
        self._writer.release()
        with writing(self.path):
            with self._part.open("rb") as stream:
                whole = missing_bytes(stream) == 0 and count_shown_frames(stream) == self._count
            if not whole:  # OpenCV does not say what went wrong
                self._part.unlink()
                raise OSError("the video is incomplete; is the disk full?")
            self._part.replace(self.path)
