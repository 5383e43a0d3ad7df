"""Detectors in OpenVINO's format: a graph in ``.xml``, its weights in ``.bin``, the metadata in the ``.xml``."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from yolo9000.checkpoints.metadata import KEY, Metadata, check_digest, seal
from yolo9000.checkpoints.model import LoadedModel
from yolo9000.checkpoints.onnx import (
    CLASS_BIASES,
    CLASS_WEIGHTS,
    class_rows_of,
    exported_model,
    graph_metadata,
    to_onnx,
)
from yolo9000.errors import EngineError, WeightsError

if TYPE_CHECKING:
    import openvino as ov

__all__ = ["import_openvino", "openvino_files", "read_openvino", "without_telemetry"]

INSTALL = "pip install yolo9000[openvino]"


def import_openvino() -> Any:
    """The package ``openvino``, imported without its telemetry.

    Importing OpenVINO sends a report to Google Analytics and writes an id into the user's home, unless its telemetry
    package cannot be imported. It is hidden during the import only.

    Raises:
        ImportError: OpenVINO is not installed.
    """
    with without_telemetry():
        import openvino
    return openvino


@contextmanager
def without_telemetry() -> Iterator[None]:
    """Hide the package by which OpenVINO's packages report to Google Analytics when they are imported."""
    name = "openvino_telemetry"
    hide = name not in sys.modules
    if hide:
        sys.modules[name] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        if hide:
            del sys.modules[name]


def openvino_files(model: LoadedModel, *, half: bool = False) -> tuple[bytes, bytes]:
    """A detector as the bytes of an ``.xml`` and a ``.bin`` file: graph, class rows and metadata.

    Args:
        model: the detector.
        half: store its weights as float16.

    Raises:
        ConfigError: the model is a classifier.
        EngineError: OpenVINO is not installed.
    """
    metadata = graph_metadata(model)
    try:
        ov = import_openvino()
    except ImportError:
        raise EngineError(f"exporting to OpenVINO needs it: {INSTALL}") from None
    graph = (
        _with_class_rows(ov, model) if _is_graph(model) else ov.Core().read_model(to_onnx(model).SerializeToString())
    )
    graph.set_rt_info(metadata.model_dump_json(), [KEY])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.xml"
        ov.save_model(graph, str(path), compress_to_fp16=half)
        weights = path.with_suffix(".bin").read_bytes()
        return seal(path.read_bytes(), weights), weights


def _is_graph(model: LoadedModel) -> bool:
    return model.weights is None and not isinstance(model.graph, bytes)


def _with_class_rows(ov: Any, model: LoadedModel) -> ov.Model:
    """A graph of OpenVINO with the class rows as constant outputs."""
    graph = model.graph.clone()  # type: ignore[union-attr]
    if model.class_rows is not None:
        for name, values in ((CLASS_WEIGHTS, model.class_rows.weights), (CLASS_BIASES, model.class_rows.biases)):
            constant = ov.opset13.constant(values)
            constant.output(0).set_names({name})
            graph.add_results([ov.opset13.result(constant.output(0))])
    return graph


def read_openvino(path: str | Path) -> LoadedModel:
    """Read a detector that was exported to OpenVINO's ``.xml``.

    Raises:
        WeightsError: the files cannot be read, are damaged, or were not exported by this program.
        EngineError: OpenVINO is not installed.
    """
    path = Path(path)
    try:
        ov = import_openvino()
    except ImportError:
        raise EngineError(f"{path}: needs OpenVINO: {INSTALL}") from None
    try:
        return _parse(ov, path.read_bytes(), path.with_suffix(".bin").read_bytes())
    except OSError as error:
        raise WeightsError(f"{error.filename}: cannot be read: {error.strerror}") from None
    except WeightsError as error:
        raise WeightsError(f"{path}: {error}") from None


def _parse(ov: Any, xml: bytes, weights: bytes) -> LoadedModel:
    try:
        graph = ov.Core().read_model(xml, weights)
        text = graph.get_rt_info([KEY]).astype(str) if graph.has_rt_info([KEY]) else None
    except UnicodeDecodeError:  # of the text, or of OpenVINO's message, which quotes the file
        raise WeightsError("OpenVINO cannot read it: it has bytes that are not UTF-8") from None
    except RuntimeError as error:
        raise WeightsError(f"OpenVINO cannot read it: {' '.join(str(error).split())}") from None
    if text is None:
        raise WeightsError("not an OpenVINO file that yolo9000 exported: it has no metadata of yolo9000")
    metadata = Metadata.parse(text)
    check_digest(metadata, xml, weights)
    class_rows = class_rows_of(*(_take_result(graph, name) for name in (CLASS_WEIGHTS, CLASS_BIASES)))
    return exported_model(metadata, graph, class_rows)


def _take_result(model: ov.Model, name: str) -> np.ndarray | None:
    for result in model.get_results():
        if name in result.output(0).get_names() | result.input_value(0).get_names():
            node = result.input_value(0).get_node()
            if node.get_type_name() == "Convert":  # stored in half precision
                node = node.input_value(0).get_node()
            if node.get_type_name() != "Constant":
                raise WeightsError(f"{name} must be a constant of float32")
            values = np.array(node.data, np.float32)
            model.remove_result(result)
            return values
    return None
