"""YOLOX-Nano's ONNX file (Ge et al. 2021; Apache-2.0) as rows of a table."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import onnx
from onnx import NodeProto, numpy_helper

from yolo9000.architectures.layers import Conv, Layer, MaxPool, Route, Shortcut, Upsample
from yolo9000.architectures.weights import ConvParameters
from yolo9000.errors import WeightsError

SHA256 = "695e750a5d5754bb5a8d5325643b59282191a7e7a564e435a415fd3c578eab14"
BRANCH_CONVOLUTIONS = 4  # between the stem of a level and its last convolutions
LEVELS = 3  # strides 8, 16, 32


@dataclass
class Rows:
    """A table that grows row by row.

    Attributes:
        rows: the rows.
        parameters: of each row, None for rows without.
    """

    rows: list[Layer] = field(default_factory=list)
    parameters: list[ConvParameters | None] = field(default_factory=list)

    def add(self, row: Layer, params: ConvParameters | None = None, source: int | None = None) -> int:
        """Append a row that reads row ``source``, by a route where that is not the row before; its index."""
        if source is not None and source != len(self.rows) - 1:
            self.add(Route((source,)))
        self.rows.append(row)
        self.parameters.append(params)
        return len(self.rows) - 1


@dataclass
class YoloxNano:
    """The graph of the file.

    Raises:
        WeightsError: the file is not the one that `SHA256` names.
    """

    path: Path

    def __post_init__(self) -> None:
        data = self.path.read_bytes()
        if (digest := hashlib.sha256(data).hexdigest()) != SHA256:
            raise WeightsError(f"{self.path}: must be YOLOX-Nano at 416, SHA-256 {SHA256}, got {digest}")
        graph = onnx.load_from_string(data).graph
        self._values = {one.name: numpy_helper.to_array(one) for one in graph.initializer}
        self._nodes = {node.output[0]: node for node in graph.node}
        self._order = {name: position for position, name in enumerate(self._nodes)}

    def last(self, part: str, level: int) -> ConvParameters:
        """Numbers of a last convolution: ``cls``, ``reg`` or ``obj`` of level 0, 1 or 2."""
        return self._params(self._last(part, level))

    def branch(self, part: str, level: int) -> str:
        """What the last convolution reads."""
        return str(self._last(part, level).input[0])

    def stem(self, level: int) -> str:
        """What both branches of a level read."""
        name = self.branch("cls", level)
        for _ in range(BRANCH_CONVOLUTIONS):
            name = self._convolution(name).input[0]
        return name

    def add_to(self, table: Rows, wanted: Sequence[str], made: dict[str, int]) -> None:
        """Append the rows that give some of the graph's values.

        Args:
            table: what is appended to.
            wanted: names of the values.
            made: row of each value that is in the table; the new ones are added.
        """
        needed: set[str] = set()
        queue = list(wanted)
        while queue:
            if (name := queue.pop()) not in made and name not in needed:
                needed.add(name)
                queue += self._inputs(name)
        for name in sorted(needed, key=self._order.__getitem__):
            made[name] = self._add(table, name, made)

    def _add(self, table: Rows, name: str, made: dict[str, int]) -> int:
        node = self._nodes[name]
        sources = [made[one] for one in self._inputs(name)]
        match node.op_type:
            case "Mul" | "Conv":
                return self._add_convolution(
                    table, self._convolution(name), "swish" if node.op_type == "Mul" else "linear", sources[0]
                )
            case "Concat":
                return table.add(Route(tuple(sources)))
            case "Add":
                before = sources.index(len(table.rows) - 1)
                return table.add(Shortcut(sources[1 - before]))
            case "MaxPool":
                size = _attribute(node, "kernel_shape")[0]
                return table.add(MaxPool(size, 1, size - 1), source=sources[0])
            case "Resize":
                return table.add(Upsample(2), source=sources[0])
        raise WeightsError(f"{self.path}: {name}: no row computes {node.op_type}")

    def _add_convolution(self, table: Rows, node: NodeProto, activation: str, source: int) -> int:
        params = self._params(node)
        row = Conv(
            params.weights.shape[0],
            params.weights.shape[2],
            _attribute(node, "strides")[0],
            _attribute(node, "pads")[0],
            batch_normalize=False,
            activation=activation,  # type: ignore[arg-type]
            groups=_attribute(node, "group")[0],
        )
        if self._is_focus(node.input[0]):
            row, params = replace(row, size=6, stride=2, padding=2), _without_focus(params)
        return table.add(row, params, source)

    def _inputs(self, name: str) -> list[str]:
        """Values that a value is computed of, in the graph of rows: an activation is part of its convolution."""
        node = self._nodes[name]
        if node.op_type in ("Mul", "Conv"):
            source = self._convolution(name).input[0]
            return ["images"] if self._is_focus(source) else [source]
        return [one for one in node.input if one in self._nodes]

    def _is_focus(self, name: str) -> bool:
        node = self._nodes[name]
        return node.op_type == "Concat" and self._nodes[node.input[0]].op_type == "Slice"

    def _convolution(self, name: str) -> NodeProto:
        node = self._nodes[name]
        return self._nodes[node.input[0]] if node.op_type == "Mul" else node

    def _last(self, part: str, level: int) -> NodeProto:
        weights = f"head.{part}_preds.{level}.weight"
        return next(node for node in self._nodes.values() if weights in node.input)

    def _params(self, node: NodeProto) -> ConvParameters:
        return ConvParameters(*(np.array(self._values[one], np.float32) for one in node.input[1:3]))


def _without_focus(params: ConvParameters) -> ConvParameters:
    """The 3x3 convolution over 2x2 blocks of pixels (BGR, 0 to 255) as one of 6x6 and stride 2 over RGB in [0, 1]."""
    filters = params.weights.shape[0]
    weights = np.zeros((filters, 3, 6, 6), np.float32)
    for block, (y, x) in enumerate(((0, 0), (1, 0), (0, 1), (1, 1))):
        weights[:, :, y::2, x::2] = params.weights[:, 3 * block : 3 * block + 3]
    return ConvParameters(np.ascontiguousarray(weights[:, ::-1]) * 255, params.biases)


def _attribute(node: NodeProto, name: str) -> list[int]:
    value = next(one for one in node.attribute if one.name == name)
    return list(value.ints) or [value.i]
