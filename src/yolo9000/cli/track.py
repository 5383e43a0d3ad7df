"""The command that follows objects through videos."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from yolo9000.checkpoints.bundled import BUNDLED
from yolo9000.choices import PointOf
from yolo9000.cli.options import (
    DETECTION,
    ENGINE,
    MODEL,
    TRACKING,
    LabelsOption,
    Options,
    WithinOption,
    with_labels,
    with_options,
)
from yolo9000.cli.terminal import Failures, say, say_lines
from yolo9000.io.files import locked_folder
from yolo9000.io.naming import next_run_folder

if TYPE_CHECKING:
    from collections.abc import Iterator

    from yolo9000.inference.detector import Detector
    from yolo9000.io.live_view import LiveView
    from yolo9000.tracking.run import TrackedFrame
    from yolo9000.tracking.scene import Scenes

__all__ = ["track"]


@with_options(model_options=MODEL, engine_options=ENGINE, detection_options=DETECTION, tracking_options=TRACKING)
def track(
    sources: Annotated[
        list[str],
        typer.Argument(
            help="Videos, cameras, streams; folders and 'glob*patterns' of images are taken for one video.",
            show_default=False,
        ),
    ],
    model_options: Options,
    engine_options: Options,
    detection_options: Options,
    tracking_options: Options,
    model: Annotated[
        str, typer.Option("--model", "-m", help="A .safetensors, .cfg, .onnx or .xml file, or the name of a model.")
    ] = BUNDLED,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Folder to write to [runs/track, runs/track-2, ...].", show_default=False),
    ] = None,
    save: Annotated[bool, typer.Option(help="Write annotated videos.")] = True,
    formats: Annotated[
        list[str] | None,
        typer.Option("--format", "-f", help="Files of tracks: jsonl, csv, mot; may be repeated [jsonl]."),
    ] = None,
    classes: Annotated[
        list[str] | None,
        typer.Option(
            help="Follow only this class (on a tree, this node and its descendants); may be repeated.",
            show_default=False,
        ),
    ] = None,
    within: WithinOption = None,
    labels: LabelsOption = None,
    line: Annotated[
        list[str] | None,
        typer.Option(help="Count what crosses x1,y1,x2,y2 or NAME=x1,y1,x2,y2; may be repeated.", show_default=False),
    ] = None,
    zone: Annotated[
        Path | None,
        typer.Option(help="Count what is in zones: a .yaml file of NAME: [[x, y], ...].", show_default=False),
    ] = None,
    point: Annotated[PointOf, typer.Option(help="Which point of a box crosses lines and is in zones.")] = "center",
    heat_map: Annotated[bool, typer.Option("--heat-map", help="Write an image of where objects were.")] = False,
    every: Annotated[int, typer.Option(help="Take each n-th frame.")] = 1,
    fps: Annotated[float, typer.Option(help="Frames per second of images.")] = 30.0,
    max_pixels: Annotated[int, typer.Option(help="Refuse larger frames before decoding them.", min=1)] = 64_000_000,
    part_minutes: Annotated[
        float | None, typer.Option(help="Begin new files after this time, in folders 000000, ...", show_default=False)
    ] = None,
    keep_parts: Annotated[
        int | None, typer.Option(help="Delete all but the latest of these folders.", show_default=False)
    ] = None,
    show: Annotated[bool, typer.Option("--show", help="Show the annotated frames in the browser.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only.")] = False,
) -> None:
    """Follow objects through videos, count them, and write their tracks."""
    from yolo9000.tracking.output import Parts, TrackWriter
    from yolo9000.tracking.regions import parse_lines, read_zones
    from yolo9000.tracking.run import track as track_frames
    from yolo9000.tracking.scene import Scenes
    from yolo9000.tracking.settings import TrackingSettings

    settings, parts = TrackingSettings.checked(**tracking_options), Parts(part_minutes, keep_parts)
    lines, zones = parse_lines(line or ()), read_zones(zone) if zone else []
    detector = _detector(model, model_options | engine_options | detection_options, classes, within, labels)
    folder, failures = out or next_run_folder(Path("runs/track")), Failures()
    frames = track_frames(
        detector, sources, settings=settings, every=every, fps=fps, max_pixels=max_pixels, on_error=failures
    )
    tree = detector.query.tree(detector.head)
    scenes = Scenes(detector.names, tree, folder, lines=lines, zones=zones, point=point, heat_map=heat_map)
    files: Options = {"video": save, "events": bool(lines or zones), "parts": parts, "every": every}
    with ExitStack() as stack:
        stack.enter_context(locked_folder(folder))
        writer = stack.enter_context(TrackWriter(folder, formats or ["jsonl"], detector.names, **files))
        stack.callback(scenes.save)
        screen = _screen(stack) if show else None
        for frame in frames:
            events = scenes.update(frame)
            drawn = scenes.draw(frame) if save or show else None
            writer.write(frame, drawn, events)
            if screen and drawn is not None:
                screen.show(drawn)
            if not quiet:
                say(_line(frame))
    if not quiet:
        say_lines(_summary(scenes))
        say(f"Results in {folder.resolve()}")
    failures.exit()


def _detector(
    model: str, options: Options, classes: list[str] | None, within: str | None, labels: Path | None
) -> Detector:
    from yolo9000.inference.detector import Detector
    from yolo9000.tracking.run import MIN_SCORE

    options.setdefault("conf_threshold", MIN_SCORE)
    detector = with_labels(Detector.load(model, **options), labels)
    if within is not None:
        detector = detector.within([name.strip() for name in within.split(",")])
    if classes:
        detector = detector.with_query(detector.query.with_classes(detector.head, classes))
    return detector


def _screen(stack: ExitStack) -> LiveView:
    """A view of the frames, opened in the browser."""
    import webbrowser

    from yolo9000.io.live_view import LiveView

    view = stack.enter_context(LiveView())
    say(f"Live view at {view.url}")
    webbrowser.open(view.url)
    return view


def _line(frame: TrackedFrame) -> str:
    what = ", ".join(f"#{number} {name}" for number, name in zip(frame.ids, frame.detections.names, strict=True))
    return (
        f"{frame.image.name} frame {frame.image.frame} at {frame.seconds:.2f} s: {what or 'nothing'} "
        f"({frame.frame_seconds * 1e3:.1f} ms)"
    )


def _summary(scenes: Scenes) -> Iterator[str]:
    """The counts of each source in words."""
    for source, counter in scenes.counters.items():
        yield f"{source}:"
        yield from (f"  {text}" for text in counter.lines_of_text())
