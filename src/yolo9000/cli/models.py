"""The commands about model files: describe one, export one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from yolo9000.checkpoints.bundled import BUNDLED
from yolo9000.choices import ExportFormat, ExportPrecision, OnError, WeightsDtype
from yolo9000.cli.options import DETECTION, MODEL, OnErrorOption, Options, parse_size, with_options
from yolo9000.cli.terminal import say, say_note
from yolo9000.errors import ConfigError

if TYPE_CHECKING:
    from yolo9000.architectures.layers import Architecture
    from yolo9000.checkpoints.model import LoadedModel

__all__ = ["export", "info"]

DtypeOption = Annotated[
    WeightsDtype | None,
    typer.Option(
        help="How weights are stored: float32, float16 (half the size), or int8 (a quarter; onnx and page only) "
        "[float32; int8 for a page].",
        show_default=False,
    ),
]
RuntimeOption = Annotated[Path, typer.Option(help="For a page: the folder or .tgz of the npm package onnxruntime-web.")]
SampleOption = Annotated[
    list[Path] | None,
    typer.Option(help="For a page: an image that it offers to try; may be repeated.", show_default=False),
]


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
        typer.Option(help="Count operations at this input size, e.g. 416 or 608x352.", show_default=False),
    ] = None,
) -> None:
    """Print a network's layers, shapes, parameters and operations."""
    from yolo9000.checkpoints.load import load_model, names_architecture

    size_wh = parse_size(size) if size else None
    if (architecture := names_architecture(model)) is not None:
        _print_architecture(architecture, size_wh)
        return
    loaded = load_model(model)
    if loaded.weights is not None:
        _print_architecture(loaded.weights.architecture, size_wh)
    else:
        _print_exported(loaded)
    _print_names(loaded.names)
    for name, value in loaded.trained.items():
        say(f"{name}: {value:g}" if isinstance(value, float) else f"{name}: {value}")


def _print_architecture(architecture: Architecture, size_wh: tuple[int, int] | None) -> None:
    from yolo9000.architectures.layers import Region, layer_name

    width, height = size_wh or (architecture.width, architecture.height)
    shapes, operations = architecture.shapes(width, height), architecture.operations(width, height)
    counts = architecture.parameter_counts()
    say(f"{'layer':>5}  {'kind':<32} {'output':>16} {'parameters':>12} {'G operations':>13}")
    for i, layer in enumerate(architecture.layers):
        c, h, w = shapes[i]
        cost = f"{counts[i]:>12,} {operations[i] / 1e9:>13.3f}" if counts[i] else ""
        say(f"{i:>5}  {layer_name(layer):<32} {f'{w}x{h}x{c}':>16} {cost}".rstrip())
    say(
        f"input {width}x{height}x{architecture.channels}; {sum(counts):,} parameters; "
        f"{sum(operations) / 1e9:.2f} G operations (2 x multiply-adds of convolutions)"
    )
    if isinstance(architecture.head, Region):
        tree = f", tree {architecture.head.tree}" if architecture.head.tree else ""
        anchors = "  ".join(f"{w:g} x {h:g}" for w, h in architecture.head.anchors_wh_cells)
        say(f"{architecture.head.classes} classes{tree}; anchors in cells: {anchors}")


def _print_exported(model: LoadedModel) -> None:
    head, (width, height) = model.detector_head, model.network_wh
    kind = f"tree of {len(head.tree)} nodes" if head.tree else f"{len(head.names)} classes ({head.classes})"
    scores = "computed on demand" if model.class_rows else "computed for every anchor"
    say(f"input {width}x{height}, any multiple of {model.stride}; {head.resize_mode}")
    say(f"{kind}; class scores {scores}")
    say("anchors in cells: " + "  ".join(f"{w:g} x {h:g}" for w, h in head.anchors_wh_cells))


def _print_names(names: tuple[str, ...]) -> None:
    say("names: " + ", ".join(names[:12]) + (", ..." if len(names) > 12 else ""))


@with_options(
    model_options=MODEL.without("size_wh"),
    thresholds=DETECTION.only("conf_threshold", "nms_iou", "hier_thresh", "max_detections"),
)
def export(
    model: Annotated[
        str,
        typer.Argument(help=f"A .safetensors, .cfg or .onnx file, or {BUNDLED}.", show_default=False),
    ],
    model_options: Options,
    thresholds: Options,
    to: Annotated[ExportFormat, typer.Option(help="What to write.")] = "onnx",
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            help="File to write [the model's name in the working folder, with the new suffix].",
            show_default=False,
        ),
    ] = None,
    head: Annotated[
        Literal["auto", "dense", "lazy"],
        typer.Option(
            help="Class scores for every anchor (dense), or apart and on demand (lazy); auto: lazy for many classes."
        ),
    ] = "auto",
    dtype: DtypeOption = None,
    runtime: RuntimeOption = Path("node_modules/onnxruntime-web"),
    sample: SampleOption = None,
    precision: Annotated[
        ExportPrecision,
        typer.Option(help="What it is to be computed in; int8 and bfloat16 need --calibrate and get a receipt."),
    ] = "float32",
    calibrate: Annotated[
        str | None,
        typer.Option(
            metavar="DATA", help="Data set with boxes: one part calibrates, another measures.", show_default=False
        ),
    ] = None,
    postprocess: Annotated[
        bool,
        typer.Option(
            "--with-postprocess", help="ONNX for other programs: final boxes, scores and labels, with these thresholds."
        ),
    ] = False,
    max_drop: Annotated[float, typer.Option(help="Points of mAP50 that another precision may lose.")] = 1.0,
    on_error: OnErrorOption = "error",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace existing files.")] = False,
) -> None:
    """Write a model as an ONNX, OpenVINO or Darknet file, or as a page that runs it in a browser, without a server."""
    from yolo9000.checkpoints import export as exporting
    from yolo9000.checkpoints.load import load_model

    if dtype not in (None, "float32") and to == "darknet":
        raise ConfigError(f"{dtype} is for ONNX and OpenVINO files; Darknet's weights are float32", argument="dtype")
    loaded = load_model(model, **model_options).with_lazy_classes({"auto": None, "dense": False, "lazy": True}[head])
    path = (
        _exported(out, exporting.SUFFIXES[to], to)
        if out
        else Path(Path(model).name).with_suffix(exporting.SUFFIXES[to])
    )
    if not overwrite:
        exporting.refuse_to_overwrite(path)
    if precision != "float32":
        loaded = _in_precision(precision, loaded, to, calibrate, max_drop, on_error)
    if thresholds and not postprocess:
        raise ConfigError("can be used only with --with-postprocess", argument=next(iter(thresholds)))
    match to:
        case "onnx" if postprocess:
            files = _export_with_postprocess(loaded, path, thresholds)
        case _ if postprocess:
            raise ConfigError(f"must be onnx with --with-postprocess, got {to}", argument="to")
        case "onnx":
            files = exporting.export_onnx(loaded, path, dtype=dtype or "float32")
        case "openvino":
            files = exporting.export_openvino(loaded, path, dtype=dtype or "float32")
        case "darknet":
            files = exporting.export_darknet(loaded, path)
            if loaded.head is not None and loaded.head.resize_mode == "stretch":
                say_note("images are stretched (letter_box=0): AlexeyAB's Darknet does so, the original cannot")
        case "page":
            from yolo9000.serve.one_file import export_page

            given: Options = {"runtime": runtime, "dtype": dtype or "int8", "samples": sample or ()}
            files = export_page(loaded, path, name=Path(model).stem, **given)
    for file in files:
        say(f"{file} ({file.stat().st_size / 1e6:.1f} MB)")


def _exported(out: Path, suffix: str, to: str) -> Path:
    """The file to write: a missing suffix is added, another one is an error."""
    if out.suffix not in ("", suffix):
        raise ConfigError(f"must end in {suffix} for {to}, got {out.name!r}", argument="out")
    return out.with_suffix(suffix)


def _export_with_postprocess(model: LoadedModel, path: Path, thresholds: Options) -> list[Path]:
    from yolo9000.checkpoints.export import export_with_postprocess
    from yolo9000.checkpoints.postprocess import Thresholds
    from yolo9000.inference.settings import DetectionSettings

    calibrated = model.detector_head.hier_thresh
    if calibrated is not None:
        thresholds = {"hier_thresh": calibrated} | thresholds
    settings = DetectionSettings.checked(**thresholds)
    return export_with_postprocess(
        model,
        path,
        Thresholds(settings.conf_threshold, settings.nms_iou, settings.hier_thresh, settings.max_detections),
    )


def _in_precision(
    precision: ExportPrecision,
    model: LoadedModel,
    to: ExportFormat,
    data: str | None,
    max_drop: float,
    on_error: OnError,
) -> LoadedModel:
    from yolo9000.adapt.quantize import calibration_set, compute_in

    if to not in ("onnx", "openvino"):
        raise ConfigError(f"{precision} is for ONNX and OpenVINO files, not for {to}", argument="precision")
    if data is None:
        raise ConfigError(f"{precision} needs a data set to calibrate and measure with", argument="calibrate")
    images = calibration_set(data, on_error)
    return compute_in(precision, model, to, images, max_drop=max_drop, on_error=on_error, say=say)
