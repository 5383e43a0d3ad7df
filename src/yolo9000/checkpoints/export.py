"""Write a detector in another format: ONNX, OpenVINO, or Darknet's own files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal

from yolo9000.architectures.darknet_form import in_darknet_layers
from yolo9000.architectures.layers import Region
from yolo9000.architectures.weights import Model
from yolo9000.checkpoints.darknet.cfg import read_cfg, write_cfg
from yolo9000.checkpoints.darknet.detector import weights_file
from yolo9000.checkpoints.darknet.weights import Header, read_weights, write_weights
from yolo9000.checkpoints.onnx import KEY, PreparedDetector, WeightsDtype, to_metadata, to_onnx
from yolo9000.checkpoints.safetensors import read_checkpoint
from yolo9000.errors import ConfigError, DataError, EngineError
from yolo9000.inference.decode import HeadSpec
from yolo9000.io.files import write_atomically
from yolo9000.taxonomy.files import write_tree

__all__ = ["SUFFIXES", "ExportFormat", "export_darknet", "export_onnx", "export_openvino"]

ExportFormat = Literal["onnx", "openvino", "darknet"]
SUFFIXES: dict[ExportFormat, str] = {"onnx": ".onnx", "openvino": ".xml", "darknet": ".cfg"}


def export_onnx(detector: PreparedDetector, path: Path, *, dtype: WeightsDtype = "float32") -> list[Path]:
    """Write an ``.onnx`` file for any number of images of any size; names, anchors and tree are in its metadata.

    The outputs are ``head`` (N, A (5 + K), H, W), or for a split head ``boxes`` (N, A 5, H, W), ``features``
    (N, C, H, W) and the constants ``class_weights`` (A, K, C) and ``class_biases`` (A, K).

    Args:
        detector: what is written.
        path: the file.
        dtype: how its weights are stored; they are computed with in float32.

    Returns:
        The files that were written.

    Raises:
        EngineError: the detector was itself read from an exported file.
        WeightsError: half precision cannot hold a number.
        DataError: the file cannot be written.
    """
    try:
        write_atomically(path, to_onnx(detector, dtype=dtype).SerializeToString())
    except OSError as error:
        raise DataError(f"{path}: cannot be written: {error.strerror}") from None
    return [path]


def export_openvino(detector: PreparedDetector, path: Path, *, dtype: WeightsDtype = "float32") -> list[Path]:
    """Write OpenVINO's ``.xml`` and ``.bin``; inputs, outputs, metadata and arguments are those of `export_onnx`.

    Returns:
        The files that were written.

    Raises:
        ConfigError: the numbers were to be stored in 8 bits.
        EngineError: OpenVINO is not installed, or the detector was itself read from an exported file.
        DataError: the files cannot be written.
    """
    if dtype == "int8":
        raise ConfigError("int8 is for ONNX files; OpenVINO files take float32 or float16", argument="dtype")
    try:
        import openvino as ov
    except ImportError:
        raise EngineError("exporting to OpenVINO needs it: pip install yolo9000[openvino]") from None
    import io

    model = ov.Core().read_model(io.BytesIO(to_onnx(detector).SerializeToString()))
    model.set_rt_info(to_metadata(detector), [KEY])
    try:
        ov.save_model(model, str(path), compress_to_fp16=dtype == "float16")
    except RuntimeError as error:
        raise DataError(f"{path}: cannot be written: {' '.join(str(error).split())}") from None
    return [path, path.with_suffix(".bin")]


def export_darknet(source: str | Path, weights: Path | None, spec: HeadSpec, path: Path) -> list[Path]:
    """Write ``.cfg``, ``.weights`` and ``.names``, and ``.tree`` where there is one, all beside ``path``.

    Layers that Darknet lacks are written as convolutions that compute the same; see `in_darknet_layers`.

    Args:
        source: the network: a ``.cfg``, or a ``.safetensors`` model.
        weights: the numbers of a ``.cfg``; None takes the file beside it. They come out byte for byte as they were.
        spec: names and tree.
        path: the new ``.cfg``.

    Returns:
        The files that were written.

    Raises:
        ConfigError, WeightsError: the model cannot be read, or a ``.cfg`` cannot say it.
        DataError: a file cannot be written.
    """
    header, model = _read_numbers(Path(source), weights)
    model = in_darknet_layers(model)
    architecture = model.architecture
    files = [path, path.with_suffix(".weights"), path.with_suffix(".names")]
    if spec.tree is not None and isinstance(architecture.head, Region):
        files.append(path.with_suffix(".tree"))
        head = replace(architecture.head, tree=files[-1].name)
        architecture = replace(
            architecture, rows=tuple(head if row is architecture.head else row for row in architecture.rows)
        )
        write_tree(files[-1], spec.tree)
    cfg = write_cfg(architecture)
    write_weights(files[1], model, header)
    for file, text in ((files[0], cfg), (files[2], "".join(f"{name}\n" for name in spec.names))):
        try:
            write_atomically(file, text)
        except OSError as error:
            raise DataError(f"{file}: cannot be written: {error.strerror}") from None
    return files


def _read_numbers(source: Path, weights: Path | None) -> tuple[Header | None, Model]:
    match source.suffix:
        case ".cfg":
            return read_weights(weights_file(source, weights), read_cfg(source))
        case ".safetensors":
            return None, read_checkpoint(source).model
        case _:
            raise ConfigError(f"{source}: cannot be written as Darknet files: exports have batch norm folded in")


def refuse_to_overwrite(path: Path) -> None:
    """Raise where exporting would replace a file.

    Raises:
        ConfigError: the file is there.
    """
    if path.exists():
        raise ConfigError(f"{path}: already exists: choose another `out`, or `overwrite`")
