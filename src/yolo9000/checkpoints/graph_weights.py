"""The weights in the graph of an exported file, as layers again."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
from onnx import numpy_helper

from yolo9000.architectures.layers import Architecture, Conv, Region
from yolo9000.architectures.weights import ClassRows, ConvParameters, Model, check_parameters
from yolo9000.checkpoints.darknet.cfg import parse_cfg
from yolo9000.errors import WeightsError

__all__ = ["graph_weights"]


def graph_weights(graph: bytes, cfg: str, class_rows: ClassRows | None) -> Model:
    """The layers and weights that a graph was built from; batch norm stays folded into them.

    Args:
        graph: an ONNX graph of this program.
        cfg: its architecture.
        class_rows: the class half of its last layer, if it is kept apart.

    Raises:
        ConfigError: the architecture is invalid.
        WeightsError: the graph does not match it.
    """
    architecture = parse_cfg(cfg, name="network.cfg")
    arrays = {
        tensor.name: numpy_helper.to_array(tensor) for tensor in onnx.load_model_from_string(graph).graph.initializer
    }
    try:
        parameters = tuple(
            ConvParameters(arrays[f"layer{i}.weights"], arrays[f"layer{i}.biases"]) if isinstance(row, Conv) else None
            for i, row in enumerate(architecture.layers)
        )
    except KeyError as error:
        raise WeightsError(f"the graph has no {error.args[0]}, which its architecture needs") from None
    model = Model(architecture, parameters)
    joined = model if class_rows is None else _joined(model, class_rows)
    check_parameters(joined)
    return joined


def _joined(model: Model, rows: ClassRows) -> Model:
    """The model with its class rows in the last layer again: the inverse of `split_head`."""
    last = _last_conv(model.architecture)
    boxes = model.parameters[last]
    assert boxes is not None and isinstance(model.architecture.head, Region)  # noqa: S101, PT018  only detectors have class rows
    anchors, classes, channels = rows.weights.shape
    weights = np.concatenate([boxes.weights.reshape(anchors, 5, channels), rows.weights], axis=1)
    biases = np.concatenate([boxes.biases.reshape(anchors, 5), rows.biases], axis=1)
    whole = ConvParameters(weights.reshape(anchors * (5 + classes), channels, 1, 1), biases.reshape(-1))
    return replace(model, parameters=(*model.parameters[:last], whole, *model.parameters[last + 1 :]))


def _last_conv(architecture: Architecture) -> int:
    return max(i for i, row in enumerate(architecture.layers) if isinstance(row, Conv))
