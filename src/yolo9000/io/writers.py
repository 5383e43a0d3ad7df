"""Writes the detections of many images to files, image by image, never holding more than one."""

from __future__ import annotations

import csv
import json
import logging
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, runtime_checkable
from urllib.parse import quote

import numpy as np

from yolo9000.errors import ConfigError, nearest
from yolo9000.io.files import write_atomically, writing
from yolo9000.io.naming import OutputNames
from yolo9000.io.records import image_record
from yolo9000.io.windows import ToLonLat
from yolo9000.types import Detections

__all__ = ["FORMATS", "ResultWriter", "Stream", "TextFile", "check_formats"]

FORMATS = ("jsonl", "coco", "csv", "darknet", "voc", "html", "geojson")
_log = logging.getLogger(__name__)

_CSV_HEADER = (
    *("source", "frame", "timestamp", "name", "label", "score"),
    *("left", "top", "right", "bottom", "path"),
)


@runtime_checkable  # for the type checks in test runs
class Stream(Protocol):
    """An open stream of text, e.g. standard output."""

    @property
    def encoding(self) -> str:
        """Name of its encoding."""
        ...

    def write(self, text: str, /) -> int:
        """Add text."""
        ...

    def flush(self) -> None:
        """Pass on what was added."""
        ...


class ResultWriter:
    """Writes detections to files of one folder, in one or more formats; a context manager.

    - ``jsonl``: ``detections.jsonl``, for each image a line, an `ImageRecord`;
    - ``coco``: ``coco_results.json``, one array of COCO results. It appears, always whole, when the writer is
      closed, also when an exception closes it; until then the results are in ``coco_results.json.part``. The
      image id is the number at the end of the image's stem (``COCO_val2014_000000000042`` gives 42, ``17``
      gives 17; Darknet: detector.c get_coco_image_id), otherwise the stem; for a frame ``stem/frame``;
    - ``csv``: ``detections.csv``, a line for each detection, with a header; pixels; path joined with `` > ``;
    - ``darknet``: ``labels/<stem>.txt`` for each image, a line ``label cx cy w h`` for each detection, centre and
      size relative to the image's (0..1); ``scores/<stem>.txt`` the scores of the lines; ``classes.txt`` the names of
      the labels. With the images in ``images/`` that is a data set;
    - ``voc``: ``results/comp4_det_test_<class>.txt`` for the VOC devkit, a line ``stem score xmin ymin xmax ymax`` for
      each detection of the class, pixels counted from 1, the last one belonging to the box. Darknet's ``detector
      valid`` writes the same files, its far sides one pixel further;
    - ``html``: ``index.html``, each image as an `ImageWriter` wrote it beside the page, with a table of what was
      found and on a tree the way to it, with the probability of each step; of a video the video alone. It appears as
      ``coco_results.json`` does;
    - ``geojson``: ``detections.geojson``, of images that say where they lie on the earth (GeoTIFF).

    Stems are those of `OutputNames`. Files of an earlier run with the same names are replaced.

    Attributes:
        names: the stems that were given, for other files about the same images.

    Args:
        folder: made if a format needs it and it does not exist.
        formats: some of `FORMATS`.
        category_ids: for ``coco``, from label to COCO category id; None keeps the label.
        class_names: for ``darknet``, the name of each label; none writes no file of names.
        with_images: whether an `ImageWriter` writes the annotated images into the folder, which ``html`` shows.
        targets: for ``jsonl`` and ``csv``, further files, or streams, which stay open.

    Raises:
        ConfigError: a format is unknown; ``html`` is asked for without the images.
        DataError: the folder or a file cannot be written.
    """

    def __init__(
        self,
        folder: Path,
        formats: Sequence[str],
        category_ids: Mapping[int, int] | None = None,
        *,
        class_names: Sequence[str] = (),
        with_images: bool = False,
        targets: Mapping[str, Path | Stream] | None = None,
    ) -> None:
        check_formats(formats, with_images=with_images)
        self.names = OutputNames()
        self._sinks: list[_Sink] = []
        with ExitStack() as opened:
            for sink in _open_sinks(folder, formats, category_ids, class_names, targets or {}):
                opened.callback(sink.close)
                self._sinks.append(sink)
            self._open_sinks = opened.pop_all()

    def write(
        self,
        image_name: str,
        frame: int | None,
        detections: Detections,
        timestamp: float | None = None,
        to_lonlat: ToLonLat | None = None,
    ) -> None:
        """Add the detections, 0 or more, of one image or one frame to every file.

        Args:
            image_name: where the image or the video is from: a path, a URL, ``stdin``.
            frame: 0-based number of the frame; None for a single image.
            detections: what was found in it.
            timestamp: of the frame, in seconds; None for a single image.
            to_lonlat: where the image's pixels lie on the earth; None where that is not known.

        Raises:
            ConfigError: a label has no COCO category id.
            DataError: a file cannot be written.
        """
        if not self._sinks:
            return
        result = _Result(image_name, frame, timestamp, self.names.stem(image_name, frame), detections, to_lonlat)
        for sink in self._sinks:
            sink.write(result)

    def close(self) -> None:
        """Finish all files; closing again does nothing.

        Raises:
            DataError: a file cannot be written.
        """
        self._open_sinks.close()

    def __enter__(self) -> ResultWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@dataclass(frozen=True)
class _Result:
    source: str
    frame: int | None
    timestamp: float | None
    stem: str
    detections: Detections
    to_lonlat: ToLonLat | None


@runtime_checkable  # for the type checks in test runs
class _Sink(Protocol):
    """The files of one format."""

    def write(self, result: _Result) -> None: ...

    def close(self) -> None: ...


def check_formats(formats: Sequence[str], *, with_images: bool) -> None:
    """Raise a `ConfigError` where a format is unknown, or ``html`` is asked for without the images."""
    for name in formats:
        if name not in FORMATS:
            message = f"must be one of {', '.join(FORMATS)}, got {name!r}{nearest(name.lower(), FORMATS)}"
            raise ConfigError(message, argument="formats")
    if "html" in formats and not with_images:
        raise ConfigError("html shows the annotated images, which are not written", argument="formats")


def _open_sinks(
    folder: Path,
    formats: Sequence[str],
    category_ids: Mapping[int, int] | None,
    class_names: Sequence[str],
    targets: Mapping[str, Path | Stream],
) -> Iterator[_Sink]:
    for name in dict.fromkeys(formats):
        yield _open_sink(name, folder, category_ids, class_names)
    for name, target in targets.items():
        yield _JsonLines(target) if name == "jsonl" else _Csv(target)


def _open_sink(name: str, folder: Path, category_ids: Mapping[int, int] | None, class_names: Sequence[str]) -> _Sink:
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    match name:
        case "jsonl":
            return _JsonLines(folder / "detections.jsonl")
        case "coco":
            return _CocoResults(folder / "coco_results.json", category_ids)
        case "csv":
            return _Csv(folder / "detections.csv")
        case "voc":
            return _VocResults(folder / "results")
        case "html":
            return _HtmlPage(folder / "index.html")
        case "geojson":
            return _GeoJson(folder / "detections.geojson")
        case _:
            return _DarknetLabels(folder, class_names)


class TextFile:
    """Text in a file, or in a stream that stays open. A killed process leaves all that was written."""

    def __init__(self, target: Path | Stream) -> None:
        self._name = str(target) if isinstance(target, Path) else "standard output"
        with ExitStack() as opened, writing(self._name):
            self._file = (
                opened.enter_context(target.open("w", encoding="utf-8", newline=""))
                if isinstance(target, Path)
                else target
            )
            self._opened = opened.pop_all()

    def write(self, text: str) -> None:
        """Add text.

        Raises:
            DataError: it cannot be written.
        """
        # A file name that is not UTF-8, or not of the stream's encoding, must not end the run.
        encoding = self._file.encoding or "utf-8"
        with writing(self._name):
            self._file.write(text.encode(encoding, "backslashreplace").decode(encoding))
            self._file.flush()

    def close(self) -> None:
        """Finish the file; a stream stays open."""
        with writing(self._name):
            self._opened.close()


class _JsonLines:
    def __init__(self, target: Path | Stream) -> None:
        self._text = TextFile(target)

    def write(self, result: _Result) -> None:
        record = image_record(result.source, result.detections, frame=result.frame, timestamp=result.timestamp)
        self._text.write(json.dumps(record) + "\n")

    def close(self) -> None:
        self._text.close()


class _JsonArray:
    """A JSON file that is an array of records, or ends with one; it appears, whole, when it is closed."""

    def __init__(self, path: Path, before: str = "[", after: str = "]") -> None:
        self._path, self._after = path, after
        self._part = path.with_name(path.name + ".part")
        self._separator = "\n"
        with writing(self._part):
            self._file = self._part.open("w", encoding="ascii", newline="\n")
            self._file.write(before)

    def add(self, records: Iterable[dict[str, Any]]) -> None:
        for record in records:
            with writing(self._part):
                self._file.write(self._separator + json.dumps(record))
            self._separator = ",\n"

    def close(self) -> None:
        with writing(self._path):
            with self._file:
                self._file.write(f"\n{self._after}\n")
            self._part.replace(self._path)


class _CocoResults:
    def __init__(self, path: Path, category_ids: Mapping[int, int] | None) -> None:
        self._file = _JsonArray(path)
        self._category_ids = None if category_ids is None else dict(category_ids)

    def write(self, result: _Result) -> None:
        try:
            records = result.detections.to_coco(_coco_image_id(result.stem, result.frame), self._category_ids)
        except KeyError as error:
            raise ConfigError(f"{result.source}: label {error} has no COCO category id") from error
        self._file.add(records)

    def close(self) -> None:
        self._file.close()


class _GeoJson:
    """Features of RFC 7946: each box as a polygon in longitude and latitude."""

    def __init__(self, path: Path) -> None:
        self._file = _JsonArray(path, '{"type": "FeatureCollection", "features": [', "]}")
        self._path = path

    def write(self, result: _Result) -> None:
        if result.to_lonlat is None:
            _log.warning("%s: does not say where it lies on the earth: not in %s", result.source, self._path)
            return
        records = result.detections.to_dict()["detections"]
        corners = [_corners(*record["box_xyxy"]) for record in records]
        lonlat = result.to_lonlat(np.array(corners, np.float64).reshape(-1, 2)).reshape(-1, 5, 2)
        self._file.add(
            {
                "type": "Feature",
                "geometry": {"type": "Polygon", "coordinates": [ring.round(8).tolist()]},
                "properties": {"source": result.source, **record},
            }
            for ring, record in zip(lonlat, records, strict=True)
        )

    def close(self) -> None:
        self._file.close()


def _corners(left: float, top: float, right: float, bottom: float) -> list[tuple[float, float]]:
    """The corners of a box, closed; counterclockwise where north is up."""
    return [(left, bottom), (right, bottom), (right, top), (left, top), (left, bottom)]


def _coco_image_id(stem: str, frame: int | None) -> int | str:
    if frame is not None:
        return f"{stem.rpartition('_')[0]}/{frame}"
    number = re.fullmatch(r"(?:.*_)?([0-9]{1,18})", stem)
    return int(number[1]) if number else stem


class _Csv:
    def __init__(self, target: Path | Stream) -> None:
        self._text = TextFile(target)
        self._rows = csv.writer(self._text, lineterminator="\n")
        with ExitStack() as failing:
            failing.callback(self._text.close)
            self._rows.writerow(_CSV_HEADER)
            failing.pop_all()

    def write(self, result: _Result) -> None:
        self._rows.writerows(_csv_rows(result))

    def close(self) -> None:
        self._text.close()


def _csv_rows(result: _Result) -> Iterator[list[object]]:
    detections = result.detections
    for i, name in enumerate(detections.names):
        # str() of a float32 is its shortest exact decimal: 0.87, not 0.8700000047683716.
        columns = [str(value) for value in (detections.scores[i], *detections.boxes_xyxy[i])]
        path = " > ".join(step.name for step in detections.answers[i].path) if detections.answers else ""
        position = [_text_cell(result.source), result.frame, result.timestamp]
        yield [*position, _text_cell(name), detections.labels[i], *columns, _text_cell(path)]


def _text_cell(text: str) -> str:
    """The text, with an apostrophe before what a spreadsheet would take for a formula."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text


class _DarknetLabels:
    def __init__(self, folder: Path, class_names: Sequence[str]) -> None:
        self._labels, self._scores = folder / "labels", folder / "scores"
        for made in (self._labels, self._scores):
            with writing(made):
                made.mkdir(exist_ok=True)
        if class_names:
            with writing(folder / "classes.txt"):
                write_atomically(folder / "classes.txt", "".join(f"{name}\n" for name in _unique_names(class_names)))

    def write(self, result: _Result) -> None:
        scores = "".join(f"{score:.6f}\n" for score in result.detections.scores.tolist())
        for folder, text in (
            (self._labels, "".join(_darknet_lines(result.detections))),
            (self._scores, scores),
        ):
            path = folder / f"{result.stem}.txt"
            with writing(path):
                write_atomically(path, text)

    def close(self) -> None:
        """Every file is closed as soon as it is written."""


def _unique_names(names: Sequence[str]) -> Iterator[str]:
    """The names in one line each; one that repeats, as in a tree, has its label behind it."""
    lines = [" ".join(name.split()) for name in names]
    counts = Counter(lines)
    yield from (f"{line} {label}" if counts[line] > 1 else line for label, line in enumerate(lines))


def _darknet_lines(detections: Detections) -> Iterator[str]:
    width, height = detections.size_wh
    for label, box in zip(detections.labels.tolist(), detections.boxes_xyxy.tolist(), strict=True):
        left, top, right, bottom = box
        cx, cy = (left + right) / 2 / width, (top + bottom) / 2 / height
        w, h = (right - left) / width, (bottom - top) / height
        yield f"{label} {cx:.6f} {cy:.6f} {w:.6f} {h:.6f}\n"


class _VocResults:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._paths: dict[str, Path] = {}
        self._stems = OutputNames()
        with writing(folder):
            folder.mkdir(exist_ok=True)

    def write(self, result: _Result) -> None:
        detections = result.detections
        for name in dict.fromkeys(detections.names):
            begun = name in self._paths
            path = self._paths.setdefault(name, self._folder / f"comp4_det_test_{self._stems.own(name)}.txt")
            lines = "".join(
                _voc_line(result.stem, detections, i) for i in range(len(detections)) if detections.names[i] == name
            )
            # Opened each time, since there may be more classes than a process may have files open.
            with writing(path), path.open("a" if begun else "w", encoding="utf-8") as file:
                file.write(lines)

    def close(self) -> None:
        """Every file is closed as soon as it is written."""


def _voc_line(stem: str, detections: Detections, i: int) -> str:
    left, top, right, bottom = detections.boxes_xyxy[i].tolist()
    return f"{stem} {detections.scores[i]:f} {left + 1:f} {top + 1:f} {right:f} {bottom:f}\n"


class _HtmlPage:
    def __init__(self, path: Path) -> None:
        from yolo9000.io.pages import template

        self._path = path
        self._part = path.with_name(path.name + ".part")
        self._video = ""
        self._parts = template("detections.html").module
        with writing(path):
            self._file = self._part.open("w", encoding="utf-8", errors="backslashreplace", newline="\n")
        self._add("head")

    def _add(self, part: str, *values: object) -> None:
        with writing(self._path):
            self._file.write(getattr(self._parts, part)(*values))
            self._file.flush()

    def write(self, result: _Result) -> None:
        if result.frame is None:
            self._add("image", result.source, quote(f"{result.stem}.jpg"), list(_html_rows(result.detections)))
        elif self._video != result.source:
            self._video = result.source
            self._add("video", result.source, quote(f"{result.stem.rpartition('_')[0]}.mp4"))

    def close(self) -> None:
        self._add("foot")
        with writing(self._path):
            self._file.close()
            self._part.replace(self._path)


def _html_rows(detections: Detections) -> Iterator[dict[str, str]]:
    for i, name in enumerate(detections.names):
        steps = detections.answers[i].path if detections.answers else ()
        path = " > ".join(f"{step.name} {step.conditional:.2f}" for step in steps)
        yield {"score": f"{detections.scores[i]:.2f}", "name": name, "path": path}
