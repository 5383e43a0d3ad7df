"""The command ``yolo9000``. Nothing heavy is imported before a command needs it."""

from __future__ import annotations

import os
import sys
import traceback
import warnings
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from typer.exceptions import TyperException

from yolo9000 import __version__
from yolo9000.checkpoints.bundled import BUNDLED
from yolo9000.cli.data import anchors, data_app, val
from yolo9000.cli.download import download
from yolo9000.cli.options import (
    BatchNormOption,
    ConfThresholdOption,
    DataOption,
    DeviceOption,
    EngineOption,
    HierThreshOption,
    LabelsOption,
    NamesOption,
    NmsIouOption,
    OnErrorOption,
    PrecisionOption,
    ResizeModeOption,
    SplitOption,
    ThreadsOption,
    TreeOption,
    WeightsOption,
    WithinOption,
    given_only,
    next_run,
    parse_size,
    with_labels,
)
from yolo9000.cli.terminal import Failures, printable, say_error, spelled
from yolo9000.cli.train import curves, pseudo_boxes, train
from yolo9000.cli.tree import tree_app
from yolo9000.errors import (
    EXIT_INTERNAL,
    EXIT_INTERRUPTED,
    EXIT_OK,
    EXIT_SOME_INPUTS_FAILED,
    EXIT_USAGE,
    ConfigError,
    YoloError,
)

if TYPE_CHECKING:
    from rich.console import Console

    from yolo9000.architectures.layers import Architecture
    from yolo9000.checkpoints.model import LoadedModel
    from yolo9000.inference.detector import Prediction

app = typer.Typer(
    name="yolo9000",
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Detect thousands of kinds of things in images.",
    epilog="Exit codes: 0 all well, 2 wrong usage or model, 3 some inputs failed, 4 data has issues, 1 internal error, "
    "130 interrupted. --debug anywhere shows where an error came from.",
)

data_app.command("pseudo-boxes")(pseudo_boxes)
app.add_typer(data_app, name="data")
app.add_typer(tree_app, name="tree")
app.command()(anchors)
app.command()(val)
app.command()(train)
app.command()(download)
app.command()(curves)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"yolo9000 {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


@app.command()
def predict(
    sources: Annotated[
        list[str],
        typer.Argument(
            help="Images, folders, 'glob*patterns', lists (.txt), videos, camera numbers, URLs; - is standard input.",
            show_default=False,
        ),
    ],
    model: Annotated[
        str, typer.Option("--model", "-m", help="A .safetensors, .cfg, .onnx or .xml file, or the model that ships.")
    ] = BUNDLED,
    weights: WeightsOption = None,
    names: NamesOption = None,
    tree: TreeOption = None,
    data: DataOption = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", help="Folder for what is written [runs/predict, runs/predict-2, ...].", show_default=False
        ),
    ] = None,
    save: Annotated[bool, typer.Option(help="Write annotated images and videos.")] = True,
    formats: Annotated[
        list[str] | None,
        typer.Option(
            "--format",
            "-f",
            help="Also write jsonl, coco, csv, darknet or voc files, or an html page; may be repeated.",
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
    conf_threshold: ConfThresholdOption = 0.25,
    nms_iou: NmsIouOption = 0.45,
    hier_thresh: HierThreshOption = None,
    hier_decoding: Annotated[
        Literal["conditional", "darknet"],
        typer.Option(help="On a tree: the paper's hierarchical decoding, or that of Darknet."),
    ] = "conditional",
    suppression: Annotated[
        Literal["label", "path", "objectness"] | None,
        typer.Option(
            help="Boxes that can be one object: of one label, on one path, or any [path on a tree].",
            show_default=False,
        ),
    ] = None,
    max_detections: Annotated[int, typer.Option(help="Most detections an image.")] = 300,
    size: Annotated[
        str | None, typer.Option(help="Network input, such as 416 or 608x352 [the model's].", show_default=False)
    ] = None,
    batch: Annotated[int, typer.Option(help="Images run at a time.")] = 1,
    every: Annotated[int, typer.Option(help="Of a video take each n-th frame.")] = 1,
    engine: EngineOption = "auto",
    device: DeviceOption = "cpu",
    precision: PrecisionOption = "float32",
    threads: ThreadsOption = None,
    resize_mode: ResizeModeOption = "letterbox",
    batch_norm: BatchNormOption = "eps_inside_sqrt",
    max_pixels: Annotated[int, typer.Option(help="Refuse larger images before decoding them.")] = 64_000_000,
) -> None:
    """Detect in images and videos."""
    from yolo9000.inference.detector import Detector

    detector = Detector.load(
        model,
        weights=weights,
        names=names,
        tree=tree,
        data=data,
        engine=engine,
        device=device,
        precision=precision,
        threads=threads,
        size_wh=parse_size(size) if size else None,
        resize_mode=resize_mode,
        batch_norm=batch_norm,
        conf_threshold=conf_threshold,
        nms_iou=nms_iou,
        **given_only(hier_thresh=hier_thresh),
        hier_decoding=hier_decoding,
        suppression=suppression,
        max_detections=max_detections,
    )
    detector = with_labels(detector, labels)
    if within is not None:
        detector = detector.within([name.strip() for name in within.split(",")])
    from rich.console import Console

    from yolo9000.io.naming import OutputNames
    from yolo9000.io.writers import ImageWriter, ResultWriter
    from yolo9000.taxonomy.class_names import COCO, COCO_CATEGORY_IDS

    report = _Report(Console())
    found = detector.predict(
        sources, batch=batch, classes=classes or (), every=every, max_pixels=max_pixels, on_error=report.failed
    )
    folder = (out or next_run(Path("runs/predict"))) if save or formats else None
    category_ids = COCO_CATEGORY_IDS if detector.names == COCO else None
    with ExitStack() as stack:
        stack.enter_context(report)
        writer = (
            stack.enter_context(ResultWriter(folder, formats or (), category_ids, with_images=save))
            if folder and formats
            else None
        )
        names_given = writer.names if writer else OutputNames()
        drawer = stack.enter_context(ImageWriter(folder, names_given)) if folder and save else None
        for prediction in found:
            if writer:
                writer.write(prediction.image.name, prediction.image.frame, prediction.detections)
            if drawer:
                drawer.write(prediction.image, prediction.draw())
            report.done(prediction)
    report.summary(folder, detector)
    if report.failures:
        raise typer.Exit(EXIT_SOME_INPUTS_FAILED)


class _Report:
    """What ``predict`` tells while it works: a line an image, and on a terminal a moving count below them."""

    def __init__(self, console: Console) -> None:
        from rich.progress import MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        self.failures = 0
        self._images = 0
        self._objects = 0
        self._seconds = 0.0
        self._console = console
        columns = (SpinnerColumn(), MofNCompleteColumn(), TextColumn("images"), TimeElapsedColumn())
        self._bar = Progress(*columns, console=console, transient=True) if console.is_terminal else None
        self._task = self._bar.add_task("", total=None) if self._bar else None

    def __enter__(self) -> _Report:
        if self._bar:
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar:
            self._bar.stop()

    def _print(self, line: str) -> None:
        if self._bar:
            self._console.print(line, markup=False, highlight=False, soft_wrap=True)
        else:
            print(line, flush=True)

    def done(self, prediction: Prediction) -> None:
        image, detections = prediction.image, prediction.detections
        name = image.name if image.frame is None else f"{image.name} frame {image.frame}"
        width, height = image.size_wh
        counts = Counter(detections.names)
        what = ", ".join(label if n == 1 else f"{n} x {label}" for label, n in counts.items()) or "nothing"
        self._print(f"{printable(name)} {width}x{height}: {what} ({prediction.seconds * 1e3:.1f} ms)")
        self._images += 1
        self._objects += len(detections)
        self._seconds += prediction.seconds
        if self._bar and self._task is not None:
            self._bar.advance(self._task)

    def failed(self, error: YoloError) -> None:
        self.failures += 1
        if self._bar:
            self._bar.stop()
        say_error(spelled(error))
        if self._bar:
            self._bar.start()

    def summary(self, folder: Path | None, detector: object) -> None:
        from yolo9000.inference.detector import Detector

        assert isinstance(detector, Detector)  # noqa: S101
        mean = 1e3 * self._seconds / max(self._images, 1)
        width, height = detector.network_wh
        failed = f", {self.failures} failed" if self.failures else ""
        self._print(
            f"{_count(self._objects, 'object')} in {_count(self._images, 'image')}{failed}; "
            f"{mean:.1f} ms an image at {width}x{height} with {detector.engine.name}"
        )
        if folder is not None:
            self._print(f"Results in {folder.resolve()}")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


@app.command()
def info(
    model: Annotated[
        str,
        typer.Argument(
            help=f"A .safetensors, .cfg, .onnx or .xml file, {BUNDLED}, or the name of a built-in network.",
            show_default=False,
        ),
    ],
    size: Annotated[
        str | None,
        typer.Option(help="Count operations at this input size, such as 416 or 608x352.", show_default=False),
    ] = None,
) -> None:
    """Print a network's layers, shapes, parameters and operations."""
    from yolo9000.checkpoints.load import load_model, names_architecture

    size_wh = parse_size(size) if size else None
    if (architecture := names_architecture(model)) is not None:
        _print_table(architecture, size_wh)
        return
    loaded = load_model(model)
    if loaded.weights is not None:
        _print_table(loaded.weights.architecture, size_wh)
    else:
        _print_exported(loaded)
    _print_names(loaded.names)
    for name, value in loaded.trained.items():
        print(f"{name}: {value:g}" if isinstance(value, float) else f"{name}: {value}")


def _print_table(architecture: Architecture, size_wh: tuple[int, int] | None) -> None:
    from yolo9000.architectures.layers import Region, layer_name

    width, height = size_wh or (architecture.width, architecture.height)
    shapes, operations = architecture.shapes(width, height), architecture.operations(width, height)
    counts = architecture.parameter_counts()
    print(f"{'layer':>5}  {'kind':<32} {'output':>16} {'parameters':>12} {'G operations':>13}")
    for i, row in enumerate(architecture.layers):
        c, h, w = shapes[i]
        numbers = f"{counts[i]:>12,} {operations[i] / 1e9:>13.3f}" if counts[i] else ""
        print(f"{i:>5}  {layer_name(row):<32} {f'{w}x{h}x{c}':>16} {numbers}".rstrip())
    print(
        f"input {width}x{height}x{architecture.channels}; {sum(counts):,} parameters; "
        f"{sum(operations) / 1e9:.2f} G operations (2 x multiply-adds of convolutions)"
    )
    if isinstance(architecture.head, Region):
        tree = f", tree {architecture.head.tree}" if architecture.head.tree else ""
        anchors = "  ".join(f"{w:g} x {h:g}" for w, h in architecture.head.anchors_wh_cells)
        print(f"{architecture.head.classes} classes{tree}; anchors in cells: {anchors}")


def _print_exported(model: LoadedModel) -> None:
    head, (width, height) = model.detector_head, model.network_wh
    kind = f"tree of {len(head.tree)} nodes" if head.tree else f"{len(head.names)} classes ({head.classes})"
    scores = "computed on demand" if model.class_rows else "computed for every anchor"
    print(f"input {width}x{height}, any multiple of {model.stride}; {head.resize_mode}")
    print(f"{kind}; class scores {scores}")
    print("anchors in cells: " + "  ".join(f"{w:g} x {h:g}" for w, h in head.anchors_wh_cells))


def _print_names(names: tuple[str, ...]) -> None:
    print("names: " + ", ".join(names[:12]) + (", ..." if len(names) > 12 else ""))


@app.command()
def calibrate(
    model: Annotated[str, typer.Argument(help="A .safetensors file with a label tree.", show_default=False)],
    data: Annotated[str, typer.Argument(help="Images with boxes that it was not trained on.", show_default=False)],
    max_error: Annotated[float, typer.Option(help="Share of the answers that may be wrong.")] = 0.05,
    split: SplitOption = "val",
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="File to write [MODEL-calibrated.safetensors].", show_default=False),
    ] = None,
    on_error: OnErrorOption = "error",
    engine: EngineOption = "auto",
    threads: ThreadsOption = None,
) -> None:
    """Make a model answer with the most specific node that is wrong at most as often as you say (§4)."""
    from yolo9000.adapt.calibrate import calibrate as calibrate_model
    from yolo9000.checkpoints.load import load_model
    from yolo9000.checkpoints.safetensors import write_checkpoint
    from yolo9000.data.dataset import open_data
    from yolo9000.inference.detector import Detector

    if not 0 < max_error < 1:
        raise ConfigError(f"must be above 0 and below 1, got {max_error:g}", argument="max_error")
    path = Path(model)
    loaded = load_model(model)
    detector, report = Detector.load(loaded, engine=engine, threads=threads), Failures()
    changed, found = calibrate_model(
        loaded,
        detector,
        open_data(data, split),
        max_error=max_error,
        on_error=on_error,
        on_unreadable=report,
    )
    target = out or path.with_name(f"{path.stem}-calibrated.safetensors")
    write_checkpoint(target, changed)
    temperatures = ", ".join(f"{value:.2f}" for value in found.back_off.temperatures)
    print(f"{found.objects:,} objects; temperatures by depth {temperatures}")
    print(f"least probability of an answer {found.back_off.hier_thresh:.4f}")
    print(f"wrong answers {found.error:.2%} (before {found.error_before:.2%})")
    print(f"mean depth of answers {found.depth:.2f} (before {found.depth_before:.2f})")
    print(f"Written: {target}")
    report.exit()


@app.command()
def export(
    model: Annotated[str, typer.Argument(help="A .safetensors or .cfg file.", show_default=False)],
    to: Annotated[Literal["onnx", "openvino", "darknet"], typer.Option(help="What to write.")] = "onnx",
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", help="File to write [the model's name here, with the new suffix].", show_default=False
        ),
    ] = None,
    weights: WeightsOption = None,
    names: NamesOption = None,
    tree: TreeOption = None,
    data: DataOption = None,
    head: Annotated[
        Literal["auto", "dense", "lazy"],
        typer.Option(
            help="Class scores for every anchor (dense), or apart and on demand (lazy); auto: lazy for many classes."
        ),
    ] = "auto",
    dtype: Annotated[
        Literal["float32", "float16", "int8"],
        typer.Option(help="How weights are stored: float16 halves the file, int8 (onnx only) quarters it."),
    ] = "float32",
    resize_mode: ResizeModeOption = "letterbox",
    batch_norm: BatchNormOption = "eps_inside_sqrt",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files that are there.")] = False,
) -> None:
    """Write a trained model, or a .cfg and .weights, as ONNX, OpenVINO or Darknet files."""
    from yolo9000.checkpoints.export import SUFFIXES, export_darknet, export_onnx, export_openvino, refuse_to_overwrite
    from yolo9000.checkpoints.load import load_model

    if dtype != "float32" and to == "darknet":
        raise ConfigError(f"{dtype} is for ONNX and OpenVINO files; Darknet's weights are float32", argument="dtype")
    loaded = load_model(
        model,
        weights=weights,
        names=names,
        tree=tree,
        data=data,
        batch_norm=batch_norm,
        resize_mode=resize_mode,
    ).with_lazy_classes({"auto": None, "dense": False, "lazy": True}[head])
    path = (out or Path(Path(model).name)).with_suffix(SUFFIXES[to])
    if not overwrite:
        refuse_to_overwrite(path)
    match to:
        case "onnx":
            files = export_onnx(loaded, path, dtype=dtype)
        case "openvino":
            files = export_openvino(loaded, path, dtype=dtype)
        case "darknet":
            files = export_darknet(loaded, path)
    for file in files:
        print(f"{file} ({file.stat().st_size / 1e6:.1f} MB)")


def main() -> None:
    """Run the command; the process ends with one of the exit codes of `yolo9000.errors`."""
    _quiet_decoders()
    arguments = sys.argv[1:]
    debug = "--debug" in arguments
    sys.exit(run([argument for argument in arguments if argument != "--debug"], debug=debug))


def _quiet_decoders() -> None:
    """Damaged input is reported once, in our words: keep Pillow and OpenCV from printing beside them."""
    warnings.filterwarnings("ignore", module="PIL")
    os.environ.setdefault("OPENCV_LOG_LEVEL", "OFF")
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")


def run(arguments: list[str], *, debug: bool = False) -> int:
    """Run the command with the given arguments; its exit code. Errors are printed, one line each."""
    try:
        code = app(arguments or ["--help"], prog_name="yolo9000", standalone_mode=False)
    except TyperException as error:
        return _say(f"{error.format_message().rstrip('.')} (see yolo9000 --help)", EXIT_USAGE, debug)
    except YoloError as error:
        return _say(spelled(error), EXIT_USAGE, debug)
    except OSError as error:  # a disk that is full, a folder that may not be written: whoever runs this can mend it
        return _say(f"{error.filename or 'a file'}: {error.strerror or error}", EXIT_USAGE, debug)
    except SystemExit:  # Typer's way to end where whoever read our output has gone
        return EXIT_INTERRUPTED
    except Exception as error:
        return _say(f"internal error: {type(error).__name__}: {error} (--debug shows where)", EXIT_INTERNAL, debug)
    if not arguments:
        return EXIT_USAGE
    if code == EXIT_INTERRUPTED:  # Typer turns Ctrl-C into this
        return _say("interrupted", EXIT_INTERRUPTED, debug=False)
    return code if isinstance(code, int) else EXIT_OK


def _say(message: str, code: int, debug: bool) -> int:
    if debug:
        traceback.print_exc()
    say_error(message)
    return code
