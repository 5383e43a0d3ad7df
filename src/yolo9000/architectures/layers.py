"""A network as a table of layer rows: the one description that ``.cfg`` files, torch and ONNX all share.

A row describes a layer; an `Architecture` is a sequence of rows and answers what follows from them alone: the shape of
every layer's output, the number of parameters, the number of operations.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import lcm, prod
from typing import Literal

from yolo9000.errors import ConfigError

__all__ = [
    "ACTIVATIONS",
    "LEAKY_SLOPE",
    "Activation",
    "Architecture",
    "AvgPool",
    "BatchNormForm",
    "Conv",
    "Cost",
    "Dropout",
    "Layer",
    "MaxPool",
    "Region",
    "Reorg",
    "ReorgOrder",
    "Route",
    "Schedule",
    "Shape",
    "Shortcut",
    "Softmax",
    "Upsample",
    "layer_name",
    "layer_sources",
    "route_sources",
]

Activation = Literal["leaky", "linear", "logistic", "relu", "relu6", "swish"]
ACTIVATIONS: tuple[Activation, ...] = ("leaky", "linear", "logistic", "relu", "relu6", "swish")
ReorgOrder = Literal["darknet", "space_to_depth"]
BatchNormForm = Literal["eps_inside_sqrt", "eps_outside_sqrt"]
LEAKY_SLOPE = 0.1  # of the activation ``leaky``. Darknet: src/activations.h leaky_activate
Shape = tuple[int, int, int]
"""Channels, height, width."""


@dataclass(frozen=True)
class Conv:
    """Convolution, then batch norm if any, then bias, then activation.

    Attributes:
        filters: output channels.
        size: side of the square kernel.
        stride: step of the kernel, both ways.
        padding: zeros on each of the four sides.
        batch_normalize: whether the layer has batch norm (§2: every one but the last).
        activation: ``leaky`` is x for x > 0, else 0.1 x; ``relu6`` is min(max(x, 0), 6); ``swish`` (SiLU) is
            x sigmoid(x).
        groups: the channels are split into this many equal parts, and so are the filters; each part of the filters
            reads its own part of the channels. As many groups as channels: a depthwise convolution.
        end_padding: further rows and columns of zeros at the bottom and the right. TensorFlow's padding "SAME" of an
            even map at stride 2 is ``padding=0, end_padding=1`` for a 3x3 kernel and ``1, 1`` for 5x5.
    """

    filters: int
    size: int = 3
    stride: int = 1
    padding: int = 1
    batch_normalize: bool = True
    activation: Activation = "leaky"
    groups: int = 1
    end_padding: int = 0

    def kernel_shape(self, channels: int) -> tuple[int, int, int, int]:
        """Shape of the kernels that read so many channels: (output, input channels of its group, row, column)."""
        return self.filters, channels // self.groups, self.size, self.size

    def is_depthwise(self, channels: int) -> bool:
        """Whether each filter reads one channel of its own."""
        return self.groups == self.filters == channels


@dataclass(frozen=True)
class MaxPool:
    """Maximum over windows; what lies outside the map counts as minus infinity.

    Attributes:
        size: side of the square window.
        stride: step of the window, both ways.
        padding: rows and columns added **in total**, not per side; ``padding // 2`` of them left and top.
            Darknet's default is ``size - 1``, so that 2/2 rounds up and 2/1 keeps the size.
    """

    size: int = 2
    stride: int = 2
    padding: int = 1


@dataclass(frozen=True)
class AvgPool:
    """Mean over the whole map: (C, H, W) becomes (C, 1, 1)."""


@dataclass(frozen=True)
class Route:
    """Channels of earlier layers, concatenated in the listed order.

    Attributes:
        layers: index of each source row; negative counts back from this row.
    """

    layers: tuple[int, ...]


@dataclass(frozen=True)
class Shortcut:
    """Residual addition: the output of the layer before plus that of an earlier layer, then the activation.

    Both must have the same shape. (Darknet also adds maps of different shapes, in the part that they share.)

    Attributes:
        layer: index of the earlier layer; negative counts back from this one.
        activation: as of `Conv`.
    """

    layer: int
    activation: Activation = "linear"


@dataclass(frozen=True)
class Upsample:
    """Enlarges the map: each cell becomes stride x stride cells of the same value."""

    stride: int = 2


@dataclass(frozen=True)
class Reorg:
    """Passthrough: (C, H, W) becomes (C s^2, H/s, W/s) (§2 Fine-Grained Features).

    Attributes:
        stride: s.
        order: ``space_to_depth`` stacks each s x s block of neighbours, as the paper says it. ``darknet`` is what the
            C program computes, and what every released set of weights was trained with; no permutation of weights
            turns one into the other.
    """

    stride: int = 2
    order: ReorgOrder = "darknet"


@dataclass(frozen=True)
class Dropout:
    """Drops values with the given probability in training; nothing otherwise."""

    probability: float = 0.5


@dataclass(frozen=True)
class Softmax:
    """End of a classifier: softmax over all classes, over equal parts of them, or over each sibling group of a tree.

    Attributes:
        groups: number of equal parts.
        tree: file of the label tree, as the ``.cfg`` names it; None for flat classes.
        temperature: what the logits are divided by.
    """

    groups: int = 1
    tree: str | None = None
    temperature: float = 1.0


@dataclass(frozen=True)
class Cost:
    """Darknet's training cost after a classifier; plays no part in inference."""

    type: str = "sse"


@dataclass(frozen=True)
class Region:
    """End of a detector: per anchor t_x, t_y, t_w, t_h, t_o and a score for each class. Defaults are Darknet's.

    Attributes:
        anchors_wh_cells: (width, height) of each anchor in cells of the output grid (§2 Dimension Clusters).
        classes: number of classes, or of nodes of the tree.
        softmax: softmax over the classes; a sigmoid each otherwise.
        tree: file of the label tree, as the ``.cfg`` names it; None for flat classes.
        map: file that gives the tree node of each class of the boxed data.
        training: Darknet's training options, by name, as the ``.cfg`` states them; not used here.
    """

    anchors_wh_cells: tuple[tuple[float, float], ...] = ((0.5, 0.5),)
    classes: int = 20
    softmax: bool = False
    tree: str | None = None
    map: str | None = None
    training: tuple[tuple[str, float | bool], ...] = ()

    @property
    def filters(self) -> int:
        """Channels that the layer before must give: A (5 + K)."""
        return len(self.anchors_wh_cells) * (5 + self.classes)


Layer = Conv | MaxPool | AvgPool | Route | Shortcut | Upsample | Reorg | Dropout | Softmax | Cost | Region


@dataclass(frozen=True)
class Schedule:
    """The training half of a ``.cfg``'s ``[net]`` section; None where the file says nothing. Not used in inference."""

    batch: int | None = None
    subdivisions: int | None = None
    momentum: float | None = None
    decay: float | None = None
    angle: float | None = None
    aspect: float | None = None
    saturation: float | None = None
    exposure: float | None = None
    hue: float | None = None
    min_crop: int | None = None
    max_crop: int | None = None
    random: int | None = None
    learning_rate: float | None = None
    burn_in: int | None = None
    max_batches: int | None = None
    policy: str | None = None
    power: float | None = None
    steps: tuple[int, ...] | None = None
    scales: tuple[float, ...] | None = None
    step: int | None = None
    scale: float | None = None
    gamma: float | None = None


@dataclass(frozen=True)
class Architecture:
    """A whole network: its input and its rows.

    Attributes:
        rows: the layers in order; row i reads row i-1, or the input.
        width: of the input in pixels.
        height: of the input in pixels.
        channels: of the input.
        batch_norm: where epsilon is added: ``eps_inside_sqrt`` is (x-m)/sqrt(v+1e-5), torch's, cuDNN's and Darknet's on
            a GPU since March 2017; ``eps_outside_sqrt`` is (x-m)/(sqrt(v)+1e-6), Darknet's before, and on a CPU.
        schedule: how Darknet would train it.
    """

    rows: tuple[Layer, ...]
    width: int = 416
    height: int = 416
    channels: int = 3
    batch_norm: BatchNormForm = "eps_inside_sqrt"
    schedule: Schedule = field(default=Schedule())

    @property
    def head(self) -> Region | Softmax | None:
        """The row that gives the numbers their meaning; None for a network without one."""
        return next((row for row in reversed(self.rows) if isinstance(row, Region | Softmax)), None)

    @property
    def body(self) -> tuple[Layer, ...]:
        """The rows that compute: all before the head."""
        ends = (i for i, row in enumerate(self.rows) if isinstance(row, Region | Softmax | Cost))
        return self.rows[: next(ends, len(self.rows))]

    def shapes(self, width: int | None = None, height: int | None = None) -> list[Shape]:
        """(channels, height, width) of every row's output, for an input of the given size or else the table's own.

        Raises:
            ConfigError: a layer does not fit what comes before it.
        """
        self._check_end()
        shapes: list[Shape] = []
        shape = (self.channels, height or self.height, width or self.width)
        for index, row in enumerate(self.rows):
            try:
                shape = _output_shape(index, row, shape, shapes)
            except ConfigError as error:
                raise ConfigError(f"layer {index} ({layer_name(row)}): {error}") from None
            shapes.append(shape)
        return shapes

    def _check_end(self) -> None:
        end = len(self.body)
        for index, row in enumerate(self.rows[end + 1 :], end + 1):
            if not isinstance(row, Cost):
                head = layer_name(self.rows[end])
                raise ConfigError(
                    f"layer {index} ({layer_name(row)}): must stand before the {head}, which ends the network"
                )

    def parameter_counts(self) -> list[int]:
        """Numbers that each row stores: kernels, biases and batch norm's scales, means and variances."""
        channels = self.input_channels()
        return [
            prod(row.kernel_shape(channels[i])) + row.filters * (4 if row.batch_normalize else 1)
            if isinstance(row, Conv)
            else 0
            for i, row in enumerate(self.rows)
        ]

    def operations(self, width: int | None = None, height: int | None = None) -> list[int]:
        """Operations of each row: 2 x multiply-adds of convolutions, the paper's count (Darknet-19 at 224: 5.58 G)."""
        shapes = self.shapes(width, height)
        channels = self.input_channels()
        return [
            2 * prod(row.kernel_shape(channels[i])) * shapes[i][1] * shapes[i][2] if isinstance(row, Conv) else 0
            for i, row in enumerate(self.rows)
        ]

    def input_channels(self) -> list[int]:
        """Channels that each row reads from the row before it."""
        return [self.channels, *(shape[0] for shape in self.shapes()[:-1])]

    def stride(self) -> int:
        """Pixels of the input that a cell of the last map spans (32, §2).

        Raises:
            ConfigError: an upsampling makes cells that are no whole number of pixels.
        """
        return self._strides()[-1]

    def size_multiple(self) -> int:
        """What width and height of the input must be multiples of: `stride`, or more where maps are upsampled.

        Raises:
            ConfigError: see `stride`.
        """
        return lcm(*self._strides())

    def _strides(self) -> list[int]:
        strides: list[int] = []
        stride = 1
        for index, row in enumerate(self.body):
            match row:
                case Conv() | MaxPool() | Reorg():
                    stride *= row.stride
                case Upsample():
                    if stride % row.stride:
                        raise ConfigError(
                            f"layer {index} ({layer_name(row)}): needs cells of a multiple of {row.stride} pixels, "
                            f"got {stride}"
                        )
                    stride //= row.stride
                case Route():
                    stride = strides[route_sources(index, row)[0]]
                case _:
                    pass
            strides.append(stride)
        return strides or [1]


def layer_name(row: Layer) -> str:
    """What Darknet calls the layer, with its size where it has one: ``convolutional 3x3, 125 filters``.

    Convolutions with groups are called ``depthwise`` where each filter is a group of its own, else ``grouped``.
    """
    match row:
        case Conv():
            kind = "convolutional" if row.groups == 1 else "depthwise" if row.groups == row.filters else "grouped"
            return f"{kind} {row.size}x{row.size}, {row.filters} filters"
        case MaxPool():
            return f"maxpool {row.size}x{row.size}/{row.stride}"
        case Route():
            return "route " + ", ".join(map(str, row.layers))
        case Shortcut():
            return f"shortcut {row.layer}"
        case Upsample():
            return f"upsample x{row.stride}"
        case Reorg():
            return f"reorg /{row.stride}"
        case _:
            return type(row).__name__.lower()


def route_sources(index: int, row: Route) -> tuple[int, ...]:
    """Absolute row numbers that the route at ``index`` reads.

    Raises:
        ConfigError: one of them is not before the route.
    """
    return tuple(_source(index, layer) for layer in row.layers)


def layer_sources(index: int, row: Layer) -> tuple[int, ...]:
    """Absolute numbers of the earlier layers that the layer at ``index`` names; () for all but routes and shortcuts.

    Raises:
        ConfigError: one of them is not before the layer.
    """
    match row:
        case Route():
            return route_sources(index, row)
        case Shortcut():
            return (_source(index, row.layer),)
        case _:
            return ()


def _source(index: int, layer: int) -> int:
    source = layer if layer >= 0 else index + layer
    if not 0 <= source < index:
        raise ConfigError(f"must read from layers 0 to {index - 1}, got {layer}")
    return source


def _output_shape(index: int, row: Layer, shape: Shape, before: Sequence[Shape]) -> Shape:
    channels, height, width = shape
    match row:
        case Conv():
            _check_groups(row, channels)
            return row.filters, _conv_length(row, height), _conv_length(row, width)
        case MaxPool():
            return channels, _pool_length(row, height), _pool_length(row, width)
        case AvgPool():
            return channels, 1, 1
        case Route():
            return _route_shape([before[i] for i in route_sources(index, row)])
        case Shortcut():
            return _shortcut_shape(shape, before[_source(index, row.layer)])
        case Upsample():
            return channels, height * row.stride, width * row.stride
        case Reorg():
            return _reorg_shape(row, shape)
        case Region():
            if channels != row.filters:
                raise ConfigError(
                    f"{len(row.anchors_wh_cells)} anchors x (5 + {row.classes} classes) need {row.filters} filters "
                    f"in the layer before, got {channels}"
                )
            return shape
        case Softmax() | Cost() | Dropout():
            return shape


def _check_groups(row: Conv, channels: int) -> None:
    if channels % row.groups or row.filters % row.groups:
        raise ConfigError(
            f"groups must divide channels and filters, got {row.groups} groups, {channels} channels, "
            f"{row.filters} filters"
        )


def _conv_length(row: Conv, length: int) -> int:
    out = (length + 2 * row.padding + row.end_padding - row.size) // row.stride + 1
    return _positive(out, length)


def _pool_length(row: MaxPool, length: int) -> int:
    return _positive((length + row.padding - row.size) // row.stride + 1, length)


def _positive(out: int, length: int) -> int:
    if out < 1:
        raise ConfigError(f"leaves nothing of a side of {length} cells: the network's input is too small")
    return out


def _route_shape(shapes: Sequence[Shape]) -> Shape:
    if len({shape[1:] for shape in shapes}) > 1:
        maps = ", ".join(f"{width}x{height}" for _, height, width in shapes)
        raise ConfigError(f"must join maps of one size, got {maps}")
    return sum(shape[0] for shape in shapes), shapes[0][1], shapes[0][2]


def _shortcut_shape(shape: Shape, other: Shape) -> Shape:
    if shape != other:
        maps = " and ".join(f"{width}x{height}x{channels}" for channels, height, width in (shape, other))
        raise ConfigError(f"must add two maps of the same shape, got {maps}")
    return shape


def _reorg_shape(row: Reorg, shape: Shape) -> Shape:
    channels, height, width = shape
    s = row.stride
    if height % s or width % s:
        raise ConfigError(f"needs width and height that are multiples of {s}, got {width}x{height}")
    if row.order == "darknet" and channels % s**2:
        raise ConfigError(f"needs channels that are a multiple of {s**2}, got {channels}")
    return channels * s**2, height // s, width // s
