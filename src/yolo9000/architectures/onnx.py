"""A model as an ONNX graph, built from its layers and NumPy weights without torch and without tracing.

The graph's input is ``images`` (N, 3, H, W), float32 RGB in [0, 1]; N, H and W are dynamic throughout.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from yolo9000.architectures.layers import (
    GREY_OF_RGB,
    LEAKY_SLOPE,
    Activation,
    AvgPool,
    Conv,
    Dropout,
    Layer,
    MaxPool,
    Reorg,
    Route,
    Shortcut,
    Upsample,
    layer_name,
    layer_sources,
)
from yolo9000.architectures.weights import Model
from yolo9000.errors import WeightsError

__all__ = ["INPUT", "build_onnx"]

INPUT = "images"
OPSET = 17  # supported by all recent runtimes; nothing newer is needed
IR_VERSION = 8


def build_onnx(model: Model, outputs: Sequence[tuple[str, int]]) -> ModelProto:
    """Build the graph of a model's body.

    Args:
        model: with batch norm folded, and parameters for every convolution.
        outputs: name and layer index of each output; -1 is the last layer of the body.

    Raises:
        WeightsError: a convolution has batch norm or no parameters.
    """
    graph = _Graph()
    body, channels = model.architecture.body, model.architecture.channels
    if channels == 1:
        graph.add_grey()
    names: list[str] = []
    for index, layer in enumerate(body):
        names.append(graph.add_layer(index, layer, names, model))
    shapes = model.architecture.shapes()
    infos = []
    for name, tap in outputs:
        source = tap % len(body)
        graph.nodes.append(helper.make_node("Identity", [names[source]], [name]))
        infos.append(_free_map(name, shapes[source][0]))
    proto = helper.make_graph(
        graph.nodes,
        "yolo9000",
        [_free_map(INPUT, 3 if channels == 1 else channels, "height", "width")],
        infos,
        graph.initializers,
    )
    return helper.make_model(proto, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)


def _free_map(name: str, channels: int, height: str | None = None, width: str | None = None) -> ValueInfoProto:
    dims: list[str | int | None] = ["batch", channels, height or f"{name}_height", width or f"{name}_width"]
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, dims)


class _Graph:
    """Nodes and constants, collected layer by layer."""

    def __init__(self) -> None:
        self.nodes: list[NodeProto] = []
        self.initializers: list[TensorProto] = []
        self.input = INPUT

    def add_grey(self) -> None:
        """Let the first layer read grey made of RGB."""
        weights = self.constant("grey.weights", np.array(GREY_OF_RGB, np.float32).reshape(1, 3, 1, 1))
        axis = self.constant("grey.axis", np.array([1], np.int64))
        self.input = self.add("ReduceSum", [self.add("Mul", [INPUT, weights], "grey.parts"), axis], "grey", keepdims=1)

    def add(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(kind, inputs, [output], name=output, **attributes))
        return output

    def constant(self, name: str, values: np.ndarray) -> str:
        self.initializers.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def add_layer(self, index: int, layer: Layer, before: Sequence[str], model: Model) -> str:
        """Add the nodes of a layer; returns the name of its output."""
        x = before[-1] if before else self.input
        name = f"layer{index}"
        match layer:
            case Conv():
                return self._conv(name, index, layer, x, model)
            case MaxPool():
                begin = layer.padding // 2
                end = layer.padding - begin
                sizes = {"kernel_shape": [layer.size] * 2, "strides": [layer.stride] * 2}
                return self.add("MaxPool", [x], name, pads=[begin, begin, end, end], **sizes)
            case Route():
                return self.add("Concat", [before[i] for i in layer_sources(index, layer)], name, axis=1)
            case Shortcut():
                return self._shortcut(name, layer, x, before[layer_sources(index, layer)[0]])
            case Upsample():
                return self._upsample(name, layer, x)
            case Reorg():
                return self._reorg(name, layer, x, model.architecture.shapes()[index][0] // layer.stride**2)
            case AvgPool():
                return self.add("GlobalAveragePool", [x], name)
            case Dropout():
                return x
            case _:
                raise TypeError(f"{layer_name(layer)} is a head, not part of a body")

    def _conv(self, name: str, index: int, layer: Conv, x: str, model: Model) -> str:
        parameters = model.parameters[index]
        if parameters is None or parameters.batch_norm is not None:
            raise WeightsError(
                f"layer {index} ({layer_name(layer)}): must have weights, with batch norm folded into them"
            )
        weights = self.constant(f"{name}.weights", parameters.weights)
        biases = self.constant(f"{name}.biases", parameters.biases)
        end = layer.padding + layer.end_padding
        sizes = {"kernel_shape": [layer.size] * 2, "strides": [layer.stride] * 2, "group": layer.groups}
        sizes |= {"pads": [layer.padding, layer.padding, end, end]}
        out = name if layer.activation == "linear" else f"{name}.conv"
        return self._activate(name, self.add("Conv", [x, weights, biases], out, **sizes), layer.activation)

    def _activate(self, name: str, x: str, activation: Activation) -> str:
        """Add an activation under the layer's name; ``linear`` adds nothing."""
        match activation:
            case "linear":
                return x
            case "leaky":
                return self.add("LeakyRelu", [x], name, alpha=LEAKY_SLOPE)
            case "relu":
                return self.add("Relu", [x], name)
            case "relu6":
                limits = [self.constant(f"{name}.{limit}", np.array(limit, np.float32)) for limit in (0, 6)]
                return self.add("Clip", [x, *limits], name)
            case "logistic":
                return self.add("Sigmoid", [x], name)
            case "swish":
                return self.add("Mul", [x, self.add("Sigmoid", [x], f"{name}.sigmoid")], name)

    def _shortcut(self, name: str, layer: Shortcut, x: str, earlier: str) -> str:
        out = name if layer.activation == "linear" else f"{name}.sum"
        return self._activate(name, self.add("Add", [x, earlier], out), layer.activation)

    def _upsample(self, name: str, layer: Upsample, x: str) -> str:
        scales = self.constant(f"{name}.scales", np.array([1, 1, layer.stride, layer.stride], np.float32))
        rule = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
        return self.add("Resize", [x, "", scales], name, **rule)

    def _reorg(self, name: str, layer: Reorg, x: str, channels: int) -> str:
        s = layer.stride
        if layer.order == "space_to_depth":
            return self.add("SpaceToDepth", [x], name, blocksize=s)
        # As `torch.darknet_reorg`: (N, C/s^2, H, s, W, s), where 0 keeps a dimension and -1 is the remaining one, W.
        split = self.constant(f"{name}.split", np.array([0, channels // s**2, 0, s, -1, s], np.int64))
        x6 = self.add("Reshape", [x, split], f"{name}.six")
        turned = self.add("Transpose", [x6], f"{name}.turned", perm=[0, 3, 5, 1, 2, 4])
        shape = self.add("Shape", [x], f"{name}.shape")
        times = self.constant(f"{name}.times", np.array([1, s * s, 1, 1], np.int64))
        over = self.constant(f"{name}.over", np.array([1, 1, s, s], np.int64))
        more = self.add("Mul", [shape, times], f"{name}.more")
        new_shape = self.add("Div", [more, over], f"{name}.new_shape")
        return self.add("Reshape", [turned, new_shape], name)
