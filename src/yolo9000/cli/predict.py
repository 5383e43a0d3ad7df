"""The command that detects in images and videos."""

from __future__ import annotations

import logging
import sys
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from yolo9000.checkpoints.bundled import BUNDLED
from yolo9000.cli.options import (
    DETECTION,
    ENGINE,
    MODEL,
    TILES,
    LabelsOption,
    Options,
    WithinOption,
    refuse_settings,
    with_labels,
    with_options,
)
from yolo9000.cli.results import Results, Wanted, targets_of
from yolo9000.cli.terminal import Failures, printable, say, say_note, show_log

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Any

    from rich.progress import Progress

    from yolo9000.errors import YoloError
    from yolo9000.inference.detector import Detector, Prediction

__all__ = ["predict"]


TargetOption = Annotated[
    str | None, typer.Option(help="Also write to this file; - is standard output.", show_default=False)
]


@with_options(model_options=MODEL, engine_options=ENGINE, detection_options=DETECTION, tile_options=TILES)
def predict(
    sources: Annotated[
        list[str],
        typer.Argument(
            help="Images, folders, 'glob*patterns', lists (.txt), videos, camera numbers, URLs; - is standard input.",
            show_default=False,
        ),
    ],
    model_options: Options,
    engine_options: Options,
    detection_options: Options,
    tile_options: Options,
    model: Annotated[
        str, typer.Option("--model", "-m", help="A .safetensors, .cfg, .onnx or .xml file, or the name of a model.")
    ] = BUNDLED,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", help="Folder for what is written [runs/predict, runs/predict-2, ...].", show_default=False
        ),
    ] = None,
    save: Annotated[bool, typer.Option(help="Write annotated images and videos.")] = True,
    crops: Annotated[
        bool, typer.Option("--crops", help="Write the part of the image in each box, a folder a class.")
    ] = False,
    show: Annotated[
        bool, typer.Option("--show", help="Open annotated images, not videos, in the system's viewer.")
    ] = False,
    formats: Annotated[
        list[str] | None,
        typer.Option(
            "--format",
            "-f",
            help="Also write jsonl, coco, csv, darknet, voc or geojson files, or an html page; may be repeated.",
            show_default=False,
        ),
    ] = None,
    classes: Annotated[
        list[str] | None,
        typer.Option(
            help="Keep only this class (on a tree, this node and its descendants); may be repeated.",
            show_default=False,
        ),
    ] = None,
    within: WithinOption = None,
    labels: LabelsOption = None,
    batch: Annotated[int, typer.Option(help="Number of images run at a time.")] = 1,
    workers: Annotated[
        int | None,
        typer.Option(help="Batches computed at once [1; of many images: one per core].", show_default=False),
    ] = None,
    every: Annotated[int, typer.Option(help="Of a video take each n-th frame.")] = 1,
    recursive: Annotated[bool, typer.Option("--recursive", help="Of a folder all images and videos below it.")] = False,
    max_pixels: Annotated[int, typer.Option(help="Refuse larger images before decoding them.", min=1)] = 64_000_000,
    json: TargetOption = None,
    csv: TargetOption = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only.")] = False,
) -> None:
    """Detect in images and videos."""
    from yolo9000.inference.detector import Detector

    refuse_settings(sources, predict)
    if quiet:
        show_log(logging.ERROR)
    detector = with_labels(Detector.load(model, **model_options, **engine_options, **detection_options), labels)
    if within is not None:
        detector = detector.within([name.strip() for name in within.split(",")])
    with ExitStack() as stack:
        report = stack.enter_context(_Report(say_note if "-" in (json, csv) else say, quiet))
        reading: Options = {"batch": batch, "every": every, "recursive": recursive, "max_pixels": max_pixels}
        predictions = _predictions(
            detector, sources, classes or (), workers, tile_options, on_error=report.failed, **reading
        )
        wanted = Wanted(out, formats or [], targets_of(json, csv), save, crops, show, every)
        results = stack.enter_context(Results(wanted, detector))
        for prediction in predictions:
            results.write(prediction, report.failed)
            report.done(prediction)
    report.summary(results.folder, detector)
    report.failures.exit()


def _predictions(
    detector: Detector,
    sources: list[str],
    classes: Sequence[str],
    workers: int | None,
    tile_options: Options,
    **reading: Any,
) -> Iterator[Prediction]:
    """The predictions in all images, by tiles if that was asked for."""
    if not tile_options:
        return detector.predict(sources, classes=classes, workers=workers, **reading)
    from yolo9000.inference.tile_settings import TileSettings
    from yolo9000.inference.tiles import predict_by_tiles

    if classes:
        detector = detector.with_query(detector.query.with_classes(detector.head, classes))
    return predict_by_tiles(detector, sources, TileSettings.checked(**tile_options), **reading)


class _Report:
    """What ``predict`` prints: one line per image, and on a terminal a count below them."""

    def __init__(self, say: Callable[[str], None], quiet: bool) -> None:
        self.failures = Failures()
        self._say = say
        self._quiet = quiet
        self._images = 0
        self._objects = 0
        self._seconds = 0.0
        self._bar = None if quiet or say is say_note else _progress()

    def __enter__(self) -> _Report:
        if self._bar:
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar:
            self._bar.stop()

    def _print(self, line: str) -> None:
        if self._bar:
            self._bar.console.print(printable(line), markup=False, highlight=False, soft_wrap=True)
        elif not self._quiet:
            self._say(line)

    def done(self, prediction: Prediction) -> None:
        self._print(_line(prediction))
        self._images += 1
        self._objects += len(prediction.detections)
        self._seconds += prediction.seconds
        if self._bar:
            self._bar.advance(self._bar.task_ids[0])

    def failed(self, error: YoloError) -> None:
        if self._bar:
            self._bar.stop()
        self.failures(error)
        if self._bar:
            self._bar.start()

    def summary(self, folder: Path | None, detector: Detector) -> None:
        mean = 1e3 * self._seconds / max(self._images, 1)
        width, height = detector.network_wh
        failed = f", {self.failures.count} failed" if self.failures.count else ""
        self._print(
            f"{_count(self._objects, 'object')} in {_count(self._images, 'image')}{failed}; "
            f"{mean:.1f} ms an image at {width}x{height} with {detector.engine.name} in {detector.engine.precision}"
        )
        if folder is not None:
            self._print(f"Results in {folder.resolve()}")


def _progress() -> Progress | None:
    """A spinner and a count of images; None where the output is not a terminal."""
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    if sys.stdout is None or not (console := Console()).is_terminal:
        return None
    columns = (SpinnerColumn(), MofNCompleteColumn(), TextColumn("images"), TimeElapsedColumn())
    bar = Progress(*columns, console=console, transient=True)
    bar.add_task("", total=None)
    return bar


def _line(prediction: Prediction) -> str:
    image, counts = prediction.image, Counter(prediction.detections.names)
    name = image.name if image.frame is None else f"{image.name} frame {image.frame}"
    width, height = prediction.detections.size_wh
    what = ", ".join(label if n == 1 else f"{n} x {label}" for label, n in counts.items()) or "nothing"
    return f"{name} {width}x{height}: {what} ({prediction.seconds * 1e3:.1f} ms)"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
