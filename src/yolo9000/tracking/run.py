"""From sources to tracks: detects in each frame and follows the objects."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from yolo9000.errors import ConfigError
from yolo9000.inference.detector import Detector
from yolo9000.io.draw import annotate
from yolo9000.io.images import MAX_PIXELS
from yolo9000.io.inputs import AnySource
from yolo9000.io.records import image_record
from yolo9000.io.sources import OnInputError, open_sources
from yolo9000.tracking.settings import TrackingSettings
from yolo9000.tracking.tracker import Track, Tracker
from yolo9000.types import Detections, SourceImage

__all__ = ["MIN_SCORE", "TrackedFrame", "track"]

MIN_SCORE = 0.1  # minimum score of a detection that continues a track
FRAMES_PER_SECOND = 30.0  # of images and videos that do not say


@dataclass(frozen=True)
class TrackedFrame:
    """One frame and the objects in it.

    Attributes:
        image: the frame; an image of a folder has the folder's name, its number and the rate.
        seconds: its time, from the beginning of its video or stream.
        tracks: the objects that are seen, by id. They change with the next frame.
        detections: the same as detections: with the box in this frame, and the label and score by all evidence.
        ids: of these.
        ended: tracks that ended since the last frame: objects that left and did not return.
        frame_seconds: of detecting and tracking in this frame; reading is not counted.
    """

    image: SourceImage
    seconds: float
    tracks: tuple[Track, ...]
    detections: Detections
    ids: tuple[int, ...]
    ended: tuple[Track, ...]
    frame_seconds: float

    def to_dict(self) -> dict[str, Any]:
        """The record of the frame, a line of ``tracks.jsonl``; see `yolo9000.io.records.ImageRecord`.

        Each detection also has its ``id``; ``since`` is when the track began, and ``changes`` are the times at which
        its label changed, with the label.
        """
        image = self.image
        record = image_record(image.name, self.detections, frame=image.frame, timestamp=self.seconds)
        for one, track in zip(record["detections"], self.tracks, strict=True):
            one |= {"id": track.id, "since": track.began, "changes": [list(change) for change in track.changes]}
        return record

    def draw(self, *, show_path: bool = True) -> UInt8[np.ndarray, "h w 3"]:
        """The frame with boxes, ids and labels; each track keeps its color."""
        names = tuple(f"#{number} {name}" for number, name in zip(self.ids, self.detections.names, strict=True))
        labels = np.array(self.ids, np.int64)  # give the colors
        return annotate(self.image.pixels, replace(self.detections, names=names, labels=labels), show_path=show_path)


def track(
    detector: Detector,
    sources: AnySource | Iterable[AnySource],
    *,
    settings: TrackingSettings | None = None,
    every: int = 1,
    fps: float = FRAMES_PER_SECOND,
    max_pixels: int = MAX_PIXELS,
    on_error: OnInputError | None = None,
) -> Iterator[TrackedFrame]:
    """Follow the objects in videos, cameras or streams, frame by frame, as they are requested.

    The images of a folder, a pattern or a list are taken for the frames of one video. Each source has its own ids.

    Args:
        detector: also sees weak objects where its confidence threshold is low; 0.1 suits.
        sources: see `yolo9000.io.sources.open_sources`.
        settings: what counts as a track.
        every: take each n-th frame.
        fps: frames per second of images, and of videos that do not say.
        max_pixels: refuse larger frames before they are decoded.
        on_error: called with the error of each input that cannot be read; None raises it.

    Raises:
        DataError: an input cannot be read and ``on_error`` is None.
        ConfigError: an argument is wrong.
        EngineError: the extra ``track`` is not installed.

    Example:
        >>> import numpy as np
        >>> from yolo9000 import Detector, track
        >>> frames = [np.zeros((240, 320, 3), np.uint8)] * 3
        >>> for frame in track(Detector.load(conf_threshold=0.1), frames):
        ...     print(f"{frame.seconds:.2f}", frame.ids)
        0.00 ()
        0.03 ()
        0.07 ()
    """
    if not 0 < fps < 10_000:
        raise ConfigError(f"must be more than 0, got {fps}", argument="fps")
    tracker, source = _tracker(detector, settings), None
    for image in _as_videos(open_sources(sources, max_pixels=max_pixels, every=every, on_error=on_error), fps):
        ended: list[Track] = []
        if image.name != source:
            ended, source, last = tracker.close(), image.name, -1.0
            tracker = _tracker(detector, settings)
        start, last = time.perf_counter(), _seconds(image, last, fps)
        (detections,) = detector.detect([image.pixels])
        tracks = tracker.update(detections, last, image.pixels)
        yield TrackedFrame(
            image,
            last,
            tuple(tracks),
            _as_detections(tracks, detector.names, image.size_wh),
            tuple(one.id for one in tracks),
            (*ended, *tracker.ended()),
            time.perf_counter() - start,
        )


def _tracker(detector: Detector, settings: TrackingSettings | None) -> Tracker:
    tree = detector.query.tree(detector.head)
    return Tracker(tree, settings, detection=detector.settings, query=detector.query)


def _as_videos(images: Iterable[SourceImage], fps: float) -> Iterator[SourceImage]:
    """The frames of videos, and images of one folder that follow one another as the frames of one video.

    Frames of a video whose size changes are scaled to the first size, in which its lines and zones are given.
    """
    count, folder = 0, None
    first: SourceImage | None = None
    for image in images:
        if image.frame is not None:
            first = first if first is not None and first.name == image.name and image.frame else image
            yield _scaled(image, first.size_wh)
            continue
        parent = str(Path(image.name).parent)
        count, folder = (count + 1 if parent == folder else 0), parent
        yield replace(
            image, name=folder if folder != "." else "images", frame=count, frames_per_second=fps, timestamp=count / fps
        )


def _scaled(image: SourceImage, size_wh: tuple[int, int]) -> SourceImage:
    if image.size_wh == size_wh:
        return image
    return replace(image, pixels=np.asarray(Image.fromarray(image.pixels).resize(size_wh)))


def _seconds(image: SourceImage, last: float, fps: float) -> float:
    """The time of a frame: as its video says, and later than the last one."""
    by_number = (image.frame or 0) / (image.frames_per_second or fps)
    seconds = by_number if image.timestamp is None else image.timestamp
    return seconds if seconds > last else last + 1 / fps


def _as_detections(tracks: list[Track], names: tuple[str, ...], size_wh: tuple[int, int]) -> Detections:
    answers = tuple(track.answer for track in tracks if track.answer is not None)
    return Detections(
        boxes_xyxy=np.array([track.box_xyxy for track in tracks], np.float32).reshape(-1, 4),
        scores=np.array([track.score for track in tracks], np.float32),
        labels=np.array([track.label for track in tracks], np.int64),
        names=tuple(names[track.label] for track in tracks),
        size_wh=size_wh,
        answers=answers,
    )
