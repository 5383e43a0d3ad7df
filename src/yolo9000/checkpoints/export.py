"""Write a model in another format: ONNX, OpenVINO, or Darknet's own files."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from yolo9000.architectures.layers import Architecture, Region
from yolo9000.architectures.surgery import to_darknet_layers
from yolo9000.architectures.weights import WeightsDtype
from yolo9000.checkpoints.darknet.cfg import write_cfg
from yolo9000.checkpoints.darknet.weights import write_weights
from yolo9000.checkpoints.model import LoadedModel
from yolo9000.checkpoints.onnx import onnx_file
from yolo9000.checkpoints.openvino import openvino_files
from yolo9000.checkpoints.postprocess import Thresholds, with_postprocess
from yolo9000.choices import ExportFormat
from yolo9000.errors import ConfigError, DataError
from yolo9000.io.files import write_atomically
from yolo9000.taxonomy.files import write_tree

__all__ = [
    "SUFFIXES",
    "ExportFormat",
    "export_darknet",
    "export_onnx",
    "export_openvino",
    "export_with_postprocess",
    "refuse_to_overwrite",
]

SUFFIXES: dict[ExportFormat, str] = {"onnx": ".onnx", "openvino": ".xml", "darknet": ".cfg", "page": ".html"}


def export_onnx(model: LoadedModel, path: Path, *, dtype: WeightsDtype = "float32") -> list[Path]:
    """Write an ``.onnx`` file for any number of images of any size; names, anchors and tree are in its metadata.

    The outputs are ``head`` (N, A (5 + K), H, W), or where class rows are kept apart ``boxes`` (N, A 5, H, W),
    ``features`` (N, C, H, W) and the constants ``class_weights`` (A, K, C) and ``class_biases`` (A, K).

    Args:
        model: the detector.
        path: the file.
        dtype: how its weights are stored; inference is in float32.

    Returns:
        The files that were written.

    Raises:
        ConfigError: the model is a classifier.
        EngineError: the model is an OpenVINO file.
        WeightsError: a weight is out of the range of float16.
        DataError: the file cannot be written.
    """
    return _write([(path, onnx_file(model, dtype=dtype))])


def export_with_postprocess(model: LoadedModel, path: Path, thresholds: Thresholds) -> list[Path]:
    """Write an ``.onnx`` file that gives final boxes, scores and labels; see `with_postprocess`.

    It is for other programs: it cannot be loaded as a model again.

    Returns:
        The files that were written.

    Raises:
        ConfigError: the model is a classifier.
        EngineError: see `with_postprocess`.
        DataError: the file cannot be written.
    """
    return _write([(path, with_postprocess(model, thresholds))])


def export_openvino(model: LoadedModel, path: Path, *, dtype: WeightsDtype = "float32") -> list[Path]:
    """Write OpenVINO's ``.xml`` and ``.bin``; outputs, metadata and arguments are those of `export_onnx`.

    Returns:
        The files that were written.

    Raises:
        ConfigError: the model is a classifier, or ``dtype`` is ``int8``.
        EngineError: OpenVINO is not installed.
        DataError: a file cannot be written.
    """
    if dtype == "int8":
        raise ConfigError(
            "int8 is for ONNX files; OpenVINO files take float32 or float16, or `precision` int8", argument="dtype"
        )
    xml, weights = openvino_files(model, half=dtype == "float16")
    return _write([(path, xml), (path.with_suffix(".bin"), weights)])


def export_darknet(model: LoadedModel, path: Path) -> list[Path]:
    """Write ``.cfg``, ``.weights`` and ``.names``, and ``.tree`` where there is one, with the same stem.

    Layers that Darknet lacks are written as convolutions that compute the same; see `to_darknet_layers`.

    Args:
        model: the model. The weights of a ``.cfg`` come out byte for byte. If it stretches images, AlexeyAB's fork does
            so too (``letter_box=0``); Darknet itself can only letterbox.
        path: the new ``.cfg``.

    Returns:
        The files that were written.

    Raises:
        ConfigError: the model is an exported file without its weights, or has something that Darknet does not.
        DataError: a file cannot be written.
    """
    darknet = to_darknet_layers(model.trained_weights)
    architecture = _with_letter_box(darknet.architecture, model)
    trees: list[Path] = []
    tree = model.tree if isinstance(architecture.head, Region) else None
    if tree is not None:
        trees.append(path.with_suffix(".tree"))
        architecture = _naming_tree(architecture, trees[0].name)
    cfg = write_cfg(architecture)  # before any file is written, since it may refuse the architecture
    if tree is not None:
        write_tree(trees[0], tree)
    weights = path.with_suffix(".weights")
    write_weights(weights, darknet, model.darknet_header)
    names = "".join(f"{name}\n" for name in model.names)
    return [*_write([(path, cfg)]), weights, *_write([(path.with_suffix(".names"), names)]), *trees]


def _with_letter_box(architecture: Architecture, model: LoadedModel) -> Architecture:
    """With how images are fitted, unless it is what a ``.cfg`` that says nothing means."""
    mode = None if model.head is None else model.head.resize_mode
    if mode == (architecture.resize_mode or "letterbox"):
        return architecture
    return replace(architecture, schedule=replace(architecture.schedule, letter_box=int(mode == "letterbox")))


def _naming_tree(architecture: Architecture, tree: str) -> Architecture:
    layers = (replace(layer, tree=tree) if isinstance(layer, Region) else layer for layer in architecture.layers)
    return replace(architecture, layers=tuple(layers))


def _write(files: Iterable[tuple[Path, bytes | str]]) -> list[Path]:
    written = []
    for path, data in files:
        try:
            write_atomically(path, data)
        except OSError as error:
            raise DataError(f"{path}: cannot be written: {error.strerror}") from None
        written.append(path)
    return written


def refuse_to_overwrite(path: Path) -> None:
    """Raise where exporting would replace a file.

    Raises:
        ConfigError: the file exists.
    """
    if path.exists():
        raise ConfigError(f"{path}: already exists: choose another `out`, or `overwrite`")
