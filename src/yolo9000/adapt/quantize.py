"""A detector in another precision than float32, with a receipt of what that costs.

int8: post-training quantization. The ranges of activations come from one part of a data set, the receipt from another.
If the receipt is too bad, the layers where the error grows most are tried in float32, worst first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float32, Float64, UInt8

from yolo9000.adapt.quantized_graphs import Graph, conv_names, layer_outputs, quantized_onnx, quantized_openvino
from yolo9000.boxes import iou
from yolo9000.checkpoints.model import LoadedModel
from yolo9000.checkpoints.openvino import import_openvino
from yolo9000.checkpoints.receipt import Receipt, with_receipt
from yolo9000.choices import ExportPrecision
from yolo9000.data.dataset import DataSet, OnError, open_data, splits_of
from yolo9000.data.duplicates import survey
from yolo9000.data.images import load_image
from yolo9000.data.splitting import hold_out
from yolo9000.errors import ConfigError
from yolo9000.evaluation.evaluate import Evaluation, evaluate
from yolo9000.evaluation.runner import detect_samples
from yolo9000.inference.detector import Detector
from yolo9000.inference.engines import EngineName
from yolo9000.inference.preprocess import fit
from yolo9000.types import Detections, Sample

__all__ = ["CalibrationSet", "calibration_set", "compute_in", "fraction_changed", "quantized", "unfit"]

HELD_OUT = 0.3
MAX_IMAGES = 300  # for the ranges of activations
FEW_IMAGES = 32
COST_IMAGES = 4  # that the layers' errors are measured on
MAX_FLOAT_LAYERS = 0.25  # of all layers: with more in float32, int8 is not worth its name
COLOR = 2.0  # mean difference of an image's channels, of 255, below which it is gray

_ENGINES: dict[str, EngineName] = {"openvino": "openvino", "onnx": "onnxruntime"}


@dataclass(frozen=True)
class CalibrationSet:
    """A data set in two parts.

    Attributes:
        samples: whose images give the ranges of activations.
        held_out: what the receipt is measured on.
        classes: names of the data set's classes.
    """

    samples: list[Sample]
    held_out: DataSet
    classes: tuple[str, ...]


def calibration_set(path: str, on_error: OnError = "error") -> CalibrationSet:
    """The splits ``train`` and ``val`` of a data set, or two parts of one that is not divided.

    Raises:
        ConfigError, DataError: see `open_data`, `hold_out`.
    """
    if {"train", "val"} <= set(splits_of(path)):
        samples, held_out = list(open_data(path, "train").samples(on_error)), open_data(path, "val")
    else:
        whole = open_data(path)
        surveyed = survey(whole, on_error)
        out = hold_out(surveyed, HELD_OUT)
        samples = [sample for sample, is_out in zip(surveyed.samples, out, strict=True) if not is_out]
        held_out = whole.only(sample for sample, is_out in zip(surveyed.samples, out, strict=True) if is_out)
    chosen = np.unique(np.linspace(0, len(samples) - 1, min(len(samples), MAX_IMAGES)).astype(int))
    return CalibrationSet([samples[index] for index in chosen], held_out, held_out.classes)


def compute_in(
    precision: ExportPrecision,
    model: LoadedModel,
    form: str,
    images: CalibrationSet,
    *,
    max_drop: float = 1.0,
    on_error: OnError = "error",
    say: Callable[[str], None] = lambda line: None,
) -> LoadedModel:
    """A detector in another precision, with its receipt.

    Args:
        precision: ``int8``, or ``bfloat16``, which leaves the weights as they are and only adds the receipt.
        model: the detector, not quantized.
        form: ``openvino`` or ``onnx``: what it will be written as.
        images: for the ranges of activations and for the receipt.
        max_drop: points of mAP50 that may be lost.
        on_error: what to do with issues in annotations.
        say: called with a line for each attempt.

    Raises:
        ConfigError: more is lost; the layers that cost most are named.
        EngineError: what quantizes is not installed, or the CPU has no bfloat16.
    """
    engine = "openvino" if precision == "bfloat16" else _ENGINES[form]
    detector = Detector.load(model, engine=engine, precision="float32")
    notes = unfit(detector, images)
    before = _answers(detector, images, on_error)

    def receipt_of(other: Detector, layers: Sequence[str] = ()) -> Receipt:
        receipt = replace(_receipt(before, _answers(other, images, on_error), notes), float_layers=tuple(layers))
        for line in receipt.lines(precision):
            say(line)
        return receipt

    if precision == "bfloat16":
        receipt = receipt_of(Detector.load(model, engine=engine, precision="bfloat16"))
        if receipt.drop > max_drop:
            raise ConfigError(_refusal(precision, receipt, max_drop), argument="max_drop")
        return with_receipt(model, precision, receipt)
    worst: list[str] = []
    for quantized, layers in _attempts(model, form, _inputs(detector, images), worst):
        receipt = receipt_of(Detector.load(quantized, engine=engine, precision="float32"), layers)
        if receipt.drop <= max_drop:
            return with_receipt(quantized, precision, receipt)
    costly = f"; the layers that cost most: {', '.join(worst[:3])}" if worst else ""
    raise ConfigError(_refusal(precision, receipt, max_drop) + costly, argument="max_drop")


def _refusal(precision: str, receipt: Receipt, max_drop: float) -> str:
    return f"must be at least the points of mAP50 that {precision} loses, {receipt.drop:.2f}, got {max_drop:g}"


# Attempts


def _attempts(
    model: LoadedModel, form: str, inputs: list[Float32[np.ndarray, "1 3 h w"]], worst: list[str]
) -> Iterator[tuple[LoadedModel, list[str]]]:
    """The model in int8 with the last layer in float32; then with more and more of the layers that cost most.

    Args:
        model: in float32.
        form: see `compute_in`.
        inputs: of the network.
        worst: gets the layers by falling cost, when they have been compared.
    """
    network = model.onnx_bytes()
    names = conv_names(network)
    float_layers, count = names[-1:], 1
    while True:
        made = quantized(model, form, inputs, float_layers)
        yield made, float_layers
        if not worst:
            assert made.graph is not None  # noqa: S101  for the type checker
            costs = _costs(network, made.graph, names[:-1], inputs[:COST_IMAGES])
            worst += [names[index] for index in np.argsort(-costs)]
        if count > MAX_FLOAT_LAYERS * len(names):
            return
        float_layers = [*names[-1:], *worst[:count]]
        count *= 2


def quantized(
    model: LoadedModel, form: str, inputs: Sequence[Float32[np.ndarray, "1 3 h w"]], float_layers: Sequence[str]
) -> LoadedModel:
    """The model in int8, without a receipt.

    Args:
        model: in float32.
        form: ``openvino`` or ``onnx``.
        inputs: of the network, for the ranges of activations.
        float_layers: convolutions that stay in float32; class rows that are kept apart do anyway.

    Raises:
        EngineError: what quantizes is not installed.
    """
    quantize = quantized_openvino if form == "openvino" else quantized_onnx
    graph = quantize(model.onnx_bytes(), inputs, float_layers)
    return replace(model, weights=None, graph=graph, graph_class_rows=model.class_rows, graph_cfg=None)


def _costs(
    network: bytes, quantized: Graph, names: list[str], inputs: list[Float32[np.ndarray, "1 3 h w"]]
) -> Float64[np.ndarray, " n"]:
    """How much the relative error of each layer's output exceeds that of the layer before it."""
    exact: Graph = network if isinstance(quantized, bytes) else import_openvino().Core().read_model(network)
    errors = np.zeros(len(names))
    pairs = zip(layer_outputs(exact, names, inputs), layer_outputs(quantized, names, inputs), strict=True)
    for ours, theirs in pairs:
        errors += [np.sqrt(np.mean((a - b) ** 2) / np.mean(a**2)) for a, b in zip(ours, theirs, strict=True)]
    return np.asarray(np.diff(errors, prepend=0.0))


def _inputs(detector: Detector, images: CalibrationSet) -> list[Float32[np.ndarray, "1 3 h w"]]:
    return [fit([pixels], detector.network_wh, detector.head.resize_mode) for pixels in _pixels(images.samples)]


def _pixels(samples: Sequence[Sample]) -> Iterator[UInt8[np.ndarray, "_ _ 3"]]:
    return (load_image(sample.image, sample.name).pixels for sample in samples)


# The receipt


@dataclass(frozen=True)
class _Answers:
    """What a detector answers on the held-out images: all down to low scores, and those that a user sees."""

    evaluation: Evaluation
    seen: list[Detections]


def _answers(detector: Detector, images: CalibrationSet, on_error: OnError) -> _Answers:
    """Answers with the classes of the data: on a tree, those nodes."""
    asked = detector if detector.head.tree is None else detector.with_labels(images.classes)
    pairs = list(detect_samples(asked, images.held_out, on_error=on_error))
    evaluation = evaluate(images.held_out.name, pairs, asked.names)
    threshold = detector.settings.conf_threshold
    return _Answers(evaluation, [detections[detections.scores > threshold] for _, detections in pairs])


def _receipt(before: _Answers, after: _Answers, notes: tuple[str, ...]) -> Receipt:
    ours, theirs = before.evaluation, after.evaluation
    return Receipt(
        data=ours.name,
        images=ours.images,
        map50_before=ours.metrics["map50"],
        map50=theirs.metrics["map50"],
        ece_before=ours.calibration["all"].ece,
        ece=theirs.calibration["all"].ece,
        changed=fraction_changed(before.seen, after.seen),
        notes=notes,
    )


def fraction_changed(before: Sequence[Detections], after: Sequence[Detections], min_iou: float = 0.5) -> float:
    """The fraction of the answers of either that the other does not give: same label, enough IoU; 0 without any."""
    missing = total = 0
    for ours, theirs in zip(before, after, strict=True):
        overlaps = iou(ours.boxes_xyxy[:, None], theirs.boxes_xyxy[None])
        same = (ours.labels[:, None] == theirs.labels) & (overlaps >= min_iou)
        missing += int((~same.any(axis=1)).sum() + (~same.any(axis=0)).sum())
        total += len(ours) + len(theirs)
    return missing / total if total else 0.0


# Unfit images


def unfit(detector: Detector, images: CalibrationSet) -> tuple[str, ...]:
    """What does not fit about the calibration images: too few, gray, of one class, or nothing is detected in them."""
    samples, count = images.samples, len(images.samples)
    gray = seen = 0
    for pixels in _pixels(samples):
        gray += bool(np.ptp(pixels.astype(np.int16), axis=2).mean() < COLOR)
        seen += bool(detector.detect([pixels])[0])
    labels = {label for sample in samples for label in (*_boxed(sample), *sample.image_labels)}
    notes = [
        (count < FEW_IMAGES, f"only {count} calibration images: the ranges of activations may be too small"),
        (gray > count / 2, f"{gray} of {count} calibration images are gray"),
        (
            len(labels) == 1 < len(detector.names),
            f"all objects in the calibration images are of one class of the model's {len(detector.names)}",
        ),
        (
            seen < count / 4,
            f"the model detects something in {seen} of {count} calibration images only: are they of the kind it was "
            "trained on?",
        ),
    ]
    return tuple(note for applies, note in notes if applies)


def _boxed(sample: Sample) -> list[int]:
    return [] if sample.boxes is None else np.unique(sample.boxes.labels).tolist()
