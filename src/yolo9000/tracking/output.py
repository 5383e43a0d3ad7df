"""Writes tracks to files, frame by frame: videos, JSON lines, CSV, MOT Challenge's format, and events.

- ``tracks.jsonl``: for each frame a line, `TrackedFrame.to_dict`;
- ``tracks.csv``: for each object in each frame a line, with a header;
- ``mot/<stem>.txt``: ``frame,id,left,top,width,height,score,-1,-1,-1`` with frames counted from 1 and pixels from 0;
- ``events.jsonl``: a line whenever a track crosses a line, or enters or leaves a zone;
- ``<stem>.mp4``: the annotated video.

A run of days is cut into parts of equal length, each in a folder of its own (``000000``, ``000001``, ...) and whole as
soon as the next begins; of these only the latest are kept where that is asked for.
"""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import numpy as np
from jaxtyping import UInt8

from yolo9000.errors import ConfigError, nearest
from yolo9000.io.files import writing
from yolo9000.io.image_writer import ImageWriter
from yolo9000.io.naming import OutputNames
from yolo9000.io.writers import TextFile
from yolo9000.tracking.counting import Event
from yolo9000.tracking.run import TrackedFrame

__all__ = ["TRACK_FORMATS", "Parts", "TrackWriter"]

TRACK_FORMATS = ("jsonl", "csv", "mot")
CSV_HEADER = (
    *("source", "frame", "timestamp", "id", "name", "label", "score"),
    *("left", "top", "right", "bottom", "path"),
)


@dataclass(frozen=True)
class Parts:
    """How a long run is cut into parts.

    Attributes:
        minutes: length of a part; None for one part.
        keep: number of parts that are kept, the latest ones; None for all.
    """

    minutes: float | None = None
    keep: int | None = None

    def __post_init__(self) -> None:
        if self.minutes is not None and not self.minutes > 0:
            raise ConfigError(f"must be more than 0, got {self.minutes}", argument="part_minutes")
        if self.keep is not None and (self.keep < 1 or self.minutes is None):
            raise ConfigError("must be at least 1, and goes with `part_minutes`", argument="keep_parts")


class TrackWriter:
    """Writes tracks to files of a folder; a context manager. See this module's docstring.

    Args:
        folder: made when something is written.
        formats: some of `TRACK_FORMATS`.
        names: display name of each label.
        video: whether annotated videos are written.
        events: whether ``events.jsonl`` is written.
        parts: how a long run is cut.
        every: distance of the frames.

    Raises:
        ConfigError: a format is unknown.
    """

    def __init__(
        self,
        folder: Path,
        formats: Sequence[str],
        names: Sequence[str],
        *,
        video: bool = True,
        events: bool = False,
        parts: Parts | None = None,
        every: int = 1,
    ) -> None:
        for name in formats:
            if name not in TRACK_FORMATS:
                problem = f"must be one of {', '.join(TRACK_FORMATS)}, got {name!r}{nearest(name, TRACK_FORMATS)}"
                raise ConfigError(problem, argument="formats")
        self._folder, self._formats, self._video, self._events = folder, formats, video, events
        self._names, self._parts, self._every = names, parts or Parts(), every
        self._written: list[Path] = []
        self._number = 0
        self._key: tuple[str, int] | None = None
        self._part: _Part | None = None

    def write(self, frame: TrackedFrame, drawn: UInt8[np.ndarray, "h w 3"] | None, events: Sequence[Event]) -> None:
        """Add a frame.

        Args:
            frame: its tracks.
            drawn: the annotated frame; None where videos are not written.
            events: what happened in it.

        Raises:
            DataError: a file cannot be written.
        """
        lines = [_event_line(frame, event, self._names) for event in events]
        self._part_for(frame).write(frame, drawn, lines)

    def _part_for(self, frame: TrackedFrame) -> _Part:
        minutes = self._parts.minutes
        key = None if minutes is None else (frame.image.name, int(frame.seconds / (60 * minutes)))
        if self._part is None or key != self._key:
            self.close()
            folder = self._folder if key is None else self._folder / f"{self._number:06}"
            self._part = _Part(folder, self._formats, self._video, self._events, self._every)
            self._key, self._number = key, self._number + 1
            self._written.append(folder)
            self._drop_old()
        return self._part

    def _drop_old(self) -> None:
        while self._parts.keep is not None and len(self._written) > self._parts.keep:
            with writing(self._written[0]):
                shutil.rmtree(self._written.pop(0))

    def close(self) -> None:
        """Finish the files; closing again does nothing.

        Raises:
            DataError: a file cannot be written.
        """
        part, self._part = self._part, None
        if part is not None:
            part.close()

    def __enter__(self) -> TrackWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Part:
    """The files of one part of a run."""

    def __init__(self, folder: Path, formats: Sequence[str], video: bool, events: bool, every: int) -> None:
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._names = OutputNames()
        self._mot: dict[str, TextFile] = {}
        self._has_mot = "mot" in formats
        with ExitStack() as opened:
            self._jsonl = _opened(opened, folder / "tracks.jsonl") if "jsonl" in formats else None
            self._csv = _opened(opened, folder / "tracks.csv") if "csv" in formats else None
            self._events = _opened(opened, folder / "events.jsonl") if events else None
            self._images = opened.enter_context(ImageWriter(folder, self._names, every=every)) if video else None
            self._opened = opened.pop_all()
        if self._csv is not None:
            csv.writer(self._csv, lineterminator="\n").writerow(CSV_HEADER)

    def write(self, frame: TrackedFrame, drawn: UInt8[np.ndarray, "h w 3"] | None, events: Sequence[str]) -> None:
        if self._jsonl is not None:
            self._jsonl.write(json.dumps(frame.to_dict()) + "\n")
        if self._csv is not None:
            csv.writer(self._csv, lineterminator="\n").writerows(_csv_rows(frame))
        if self._has_mot:
            self._mot_file(frame).write("".join(_mot_lines(frame)))
        if self._events is not None:
            self._events.write("".join(events))
        if self._images is not None and drawn is not None:
            self._images.write(frame.image, drawn)

    def _mot_file(self, frame: TrackedFrame) -> TextFile:
        stem = self._names.stem(frame.image.name, frame.image.frame).rpartition("_")[0]
        if stem not in self._mot:
            with writing(self._folder / "mot"):
                (self._folder / "mot").mkdir(exist_ok=True)
            self._mot[stem] = _opened(self._opened, self._folder / "mot" / f"{stem}.txt")
        return self._mot[stem]

    def close(self) -> None:
        self._opened.close()


def _opened(stack: ExitStack, path: Path) -> TextFile:
    file = TextFile(path)
    stack.callback(file.close)
    return file


def _csv_rows(frame: TrackedFrame) -> list[list[object]]:
    detections = frame.detections
    rows: list[list[object]] = []
    for i, number in enumerate(frame.ids):
        columns = [str(value) for value in (detections.scores[i], *detections.boxes_xyxy[i])]
        path = " > ".join(step.name for step in detections.answers[i].path) if detections.answers else ""
        begin = [frame.image.name, frame.image.frame, f"{frame.seconds:.3f}", number, detections.names[i]]
        rows.append([*begin, detections.labels[i], *columns, path])
    return rows


def _mot_lines(frame: TrackedFrame) -> list[str]:
    boxes = frame.detections.boxes_xyxy
    sizes = boxes[:, 2:] - boxes[:, :2]
    return [
        f"{(frame.image.frame or 0) + 1},{number},{left:.2f},{top:.2f},{width:.2f},{height:.2f},{score:.4f},-1,-1,-1\n"
        for number, (left, top), (width, height), score in zip(
            frame.ids, boxes[:, :2].tolist(), sizes.tolist(), frame.detections.scores.tolist(), strict=True
        )
    ]


def _event_line(frame: TrackedFrame, event: Event, names: Sequence[str]) -> str:
    record = {"source": frame.image.name, "timestamp": event.seconds, "id": event.track.id, "label": event.track.label}
    return json.dumps(record | {"name": names[event.track.label], "where": event.where, "what": event.what}) + "\n"
