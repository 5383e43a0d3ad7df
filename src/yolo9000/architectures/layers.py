"""The description of a network that ``.cfg`` files, torch and ONNX all share: a sequence of layers.

An `Architecture` answers what follows from its layers alone: the shape of every output, the number of parameters and of
operations, which outputs stay fixed while some layers are frozen.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from math import lcm, prod
from typing import Literal

from yolo9000.choices import BatchNormForm, ResizeMode
from yolo9000.errors import ConfigError

__all__ = [
    "ACTIVATIONS",
    "GREY_OF_RGB",
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
LEAKY_SLOPE = 0.1  # of the activation ``leaky``. Darknet: src/activations.h leaky_activate
GREY_OF_RGB = (77 / 256, 150 / 256, 29 / 256)  # Darknet: src/stb_image.h stbi__compute_y, which rounds down
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
        batch_normalize: whether the layer has batch norm (§2: all but the last have).
        activation: ``leaky`` is x for x > 0, else 0.1 x; ``relu6`` is min(max(x, 0), 6); ``swish`` (SiLU) is
            x sigmoid(x).
        groups: number of equal parts into which channels and filters are split; each part of the filters reads the
            corresponding part of the channels. With as many groups as channels, a depthwise convolution.
        end_padding: additional rows and columns of zeros at the bottom and right. TensorFlow's "SAME" padding of an
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
        """Shape of the kernels for an input of ``channels``: (output, input channels of its group, row, column)."""
        return self.filters, channels // self.groups, self.size, self.size

    def is_depthwise(self, channels: int) -> bool:
        """Whether each filter reads exactly one channel."""
        return self.groups == self.filters == channels


@dataclass(frozen=True)
class MaxPool:
    """Maximum over windows; values outside the map count as minus infinity.

    Attributes:
        size: side of the square window.
        stride: step of the window, both ways.
        padding: rows and columns added **in total**, not per side; ``padding // 2`` of them left and top.
            Darknet's default is ``size - 1``: 2x2/2 rounds up, 2x2/1 keeps the size.
    """

    size: int = 2
    stride: int = 2
    padding: int = 1


@dataclass(frozen=True)
class AvgPool:
    """Mean over the whole map: (C, H, W) becomes (C, 1, 1)."""


@dataclass(frozen=True)
class Route:
    """Concatenation of the channels of earlier layers, in the given order.

    Attributes:
        sources: index of each layer to read; negative counts back from this layer.
    """

    sources: tuple[int, ...]


@dataclass(frozen=True)
class Shortcut:
    """Residual addition: the output of the previous layer plus that of an earlier one, then the activation.

    Both must have the same shape. (Darknet also adds maps of different shapes, over the part they have in common.)

    Attributes:
        source: index of the earlier layer; negative counts back from this one.
        activation: see `Conv`.
    """

    source: int
    activation: Activation = "linear"


@dataclass(frozen=True)
class Upsample:
    """Nearest-neighbor enlargement: each cell becomes stride x stride cells of the same value."""

    stride: int = 2


@dataclass(frozen=True)
class Reorg:
    """Passthrough: (C, H, W) becomes (C s^2, H/s, W/s) (§2 Fine-Grained Features).

    Attributes:
        stride: s.
        order: ``space_to_depth`` stacks each s x s block of neighbors, as in the paper. ``darknet`` is what the C
            program computes and what all released weights were trained with; no permutation of weights turns one into
            the other.
    """

    stride: int = 2
    order: ReorgOrder = "darknet"


@dataclass(frozen=True)
class Dropout:
    """Drops values with the given probability in training; the identity otherwise."""

    probability: float = 0.5


@dataclass(frozen=True)
class Softmax:
    """Head of a classifier: softmax over all classes, over equal parts of them, or over each sibling group of a tree.

    Attributes:
        groups: number of equal parts.
        tree: file of the label tree, as named in the ``.cfg``; None for flat classes.
        temperature: divisor of the logits.
    """

    groups: int = 1
    tree: str | None = None
    temperature: float = 1.0


@dataclass(frozen=True)
class Cost:
    """Darknet's training cost after a classifier; not used in inference."""

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
        """Channels that the previous layer must give: A (5 + K)."""
        return len(self.anchors_wh_cells) * (5 + self.classes)


Layer = Conv | MaxPool | AvgPool | Route | Shortcut | Upsample | Reorg | Dropout | Softmax | Cost | Region


@dataclass(frozen=True)
class Schedule:
    """Training options of a ``.cfg``'s ``[net]`` section; None for those not given.

    Attributes:
        letter_box: of AlexeyAB's fork: how training fitted images, which inference must do alike; see
            `Architecture.resize_mode`. The other options are not used in inference.
    """

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
    letter_box: int | None = None


@dataclass(frozen=True)
class Architecture:
    """A network: its input and its layers.

    Attributes:
        layers: in order; layer i reads layer i-1, or the input, unless it names others.
        width: of the input in pixels.
        height: of the input in pixels.
        channels: of the input: 3, or 1 for a network that makes grey of RGB images first (`GREY_OF_RGB`).
        batch_norm: where epsilon is added: ``eps_inside_sqrt`` is (x-m)/sqrt(v+1e-5), as in torch, cuDNN and Darknet on
            GPUs since March 2017; ``eps_outside_sqrt`` is (x-m)/(sqrt(v)+1e-6), as in Darknet before that and on CPUs.
        schedule: Darknet's training options.
    """

    layers: tuple[Layer, ...]
    width: int = 416
    height: int = 416
    channels: int = 3
    batch_norm: BatchNormForm = "eps_inside_sqrt"
    schedule: Schedule = field(default=Schedule())

    @property
    def resize_mode(self) -> ResizeMode | None:
        """How training fitted images, if ``letter_box`` says so."""
        letter_box = self.schedule.letter_box
        return None if letter_box is None else "letterbox" if letter_box else "stretch"

    @property
    def head(self) -> Region | Softmax | None:
        """The layer that defines what the outputs mean; None for a network without one."""
        return next((layer for layer in reversed(self.layers) if isinstance(layer, Region | Softmax)), None)

    @property
    def body(self) -> tuple[Layer, ...]:
        """The layers that compute: all before the head."""
        ends = (i for i, layer in enumerate(self.layers) if isinstance(layer, Region | Softmax | Cost))
        return self.layers[: next(ends, len(self.layers))]

    def shapes(self, width: int | None = None, height: int | None = None) -> list[Shape]:
        """(channels, height, width) of every layer's output, for an input of the given or the network's own size.

        Raises:
            ConfigError: a layer does not fit its input.
        """
        self._check_end()
        shapes: list[Shape] = []
        shape = (self.channels, height or self.height, width or self.width)
        for index, layer in enumerate(self.layers):
            try:
                shape = _output_shape(index, layer, shape, shapes)
            except ConfigError as error:
                raise ConfigError(f"layer {index} ({layer_name(layer)}): {error}") from None
            shapes.append(shape)
        return shapes

    def _check_end(self) -> None:
        end = len(self.body)
        for index, layer in enumerate(self.layers[end + 1 :], end + 1):
            if not isinstance(layer, Cost):
                head = layer_name(self.layers[end])
                raise ConfigError(
                    f"layer {index} ({layer_name(layer)}): must come before the {head}, which ends the network"
                )

    def parameter_counts(self) -> list[int]:
        """Number of parameters of each layer: kernels, biases and batch norm's scales, means and variances."""
        channels = self.input_channels()
        return [
            prod(layer.kernel_shape(channels[i])) + layer.filters * (4 if layer.batch_normalize else 1)
            if isinstance(layer, Conv)
            else 0
            for i, layer in enumerate(self.layers)
        ]

    def operations(self, width: int | None = None, height: int | None = None) -> list[int]:
        """Operations of each layer: 2 x multiply-adds of convolutions, the paper's count (Darknet-19: 5.58 G)."""
        shapes = self.shapes(width, height)
        channels = self.input_channels()
        return [
            2 * prod(layer.kernel_shape(channels[i])) * shapes[i][1] * shapes[i][2] if isinstance(layer, Conv) else 0
            for i, layer in enumerate(self.layers)
        ]

    def input_channels(self) -> list[int]:
        """Channels of each layer's input, the output of the previous layer."""
        return [self.channels, *(shape[0] for shape in self.shapes()[:-1])]

    def inputs(self) -> tuple[tuple[int, ...], ...]:
        """Indices of the layers that each layer of the body reads; -1 is the network's input.

        Raises:
            ConfigError: a layer reads one that is not before it.
        """
        return tuple(_inputs(index, layer) for index, layer in enumerate(self.body))

    def fixed(self, frozen: Collection[int]) -> tuple[int, ...]:
        """Layers of the body whose outputs depend on the image alone while some layers do not learn.

        Args:
            frozen: indices of the convolutions that do not learn, and of dropouts that are off.
        """
        fixed = {-1}
        for index, (layer, sources) in enumerate(zip(self.body, self.inputs(), strict=True)):
            learns = isinstance(layer, Conv | Dropout) and index not in frozen
            if not learns and fixed.issuperset(sources):
                fixed.add(index)
        return tuple(sorted(fixed - {-1}))

    def cached_taps(self, frozen: Collection[int]) -> tuple[int, ...]:
        """Layers whose outputs a feature cache must hold: the `fixed` ones that others read.

        Args:
            frozen: see `fixed`.
        """
        fixed, inputs = set(self.fixed(frozen)), self.inputs()
        read = {source for index, sources in enumerate(inputs) if index not in fixed for source in sources}
        return tuple(sorted({self._origin(index) for index in fixed & read}))

    def _origin(self, index: int) -> int:
        """The layer whose output a layer passes on unchanged: itself, unless it is a route from a single layer."""
        while isinstance(self.layers[index], Route) and len(sources := self.inputs()[index]) == 1 and sources[0] >= 0:
            (index,) = sources
        return index

    def stride(self) -> int:
        """Pixels of the input per cell of the last map (32, §2).

        Raises:
            ConfigError: an upsampling would make cells of a fraction of a pixel.
        """
        return self._strides()[-1]

    def size_multiple(self) -> int:
        """What width and height of the input must be multiples of: `stride`, or more if maps are upsampled.

        Raises:
            ConfigError: see `stride`.
        """
        return lcm(*self._strides())

    def _strides(self) -> list[int]:
        strides: list[int] = []
        stride = 1
        for index, layer in enumerate(self.body):
            match layer:
                case Conv() | MaxPool() | Reorg():
                    stride *= layer.stride
                case Upsample():
                    if stride % layer.stride:
                        raise ConfigError(
                            f"layer {index} ({layer_name(layer)}): must read cells of a multiple of "
                            f"{layer.stride} pixels, got {stride}"
                        )
                    stride //= layer.stride
                case Route():
                    stride = strides[route_sources(index, layer)[0]]
                case _:
                    pass
            strides.append(stride)
        return strides or [1]


def layer_name(layer: Layer) -> str:
    """Darknet's name of the layer, with its size if it has one, e.g. ``convolutional 3x3, 125 filters``.

    Convolutions with groups are called ``depthwise`` if each filter is a group, else ``grouped``.
    """
    match layer:
        case Conv():
            kind = "convolutional" if layer.groups == 1 else "depthwise" if layer.groups == layer.filters else "grouped"
            return f"{kind} {layer.size}x{layer.size}, {layer.filters} filters"
        case MaxPool():
            return f"maxpool {layer.size}x{layer.size}/{layer.stride}"
        case Route():
            return "route " + ", ".join(map(str, layer.sources))
        case Shortcut():
            return f"shortcut {layer.source}"
        case Upsample():
            return f"upsample x{layer.stride}"
        case Reorg():
            return f"reorg /{layer.stride}"
        case _:
            return type(layer).__name__.lower()


def _inputs(index: int, layer: Layer) -> tuple[int, ...]:
    earlier = layer_sources(index, layer)
    return earlier if isinstance(layer, Route) else (index - 1, *earlier)


def route_sources(index: int, layer: Route) -> tuple[int, ...]:
    """Indices of the layers that the route at ``index`` reads.

    Raises:
        ConfigError: one of them is not before the route.
    """
    return tuple(_source(index, source) for source in layer.sources)


def layer_sources(index: int, layer: Layer) -> tuple[int, ...]:
    """Indices of the earlier layers that the layer at ``index`` names; () for all but routes and shortcuts.

    Raises:
        ConfigError: one of them is not before the layer.
    """
    match layer:
        case Route():
            return route_sources(index, layer)
        case Shortcut():
            return (_source(index, layer.source),)
        case _:
            return ()


def _source(index: int, layer: int) -> int:
    source = layer if layer >= 0 else index + layer
    if not 0 <= source < index:
        raise ConfigError(f"must read from layers 0 to {index - 1}, got {layer}")
    return source


def _output_shape(index: int, layer: Layer, shape: Shape, before: Sequence[Shape]) -> Shape:
    channels, height, width = shape
    match layer:
        case Conv():
            _check_groups(layer, channels)
            return layer.filters, _conv_length(layer, height), _conv_length(layer, width)
        case MaxPool():
            return channels, _pool_length(layer, height), _pool_length(layer, width)
        case AvgPool():
            return channels, 1, 1
        case Route():
            return _route_shape([before[i] for i in route_sources(index, layer)])
        case Shortcut():
            return _shortcut_shape(shape, before[_source(index, layer.source)])
        case Upsample():
            return channels, height * layer.stride, width * layer.stride
        case Reorg():
            return _reorg_shape(layer, shape)
        case Region():
            if channels != layer.filters:
                raise ConfigError(
                    f"{len(layer.anchors_wh_cells)} anchors x (5 + {layer.classes} classes) need {layer.filters} "
                    f"filters in the previous layer, got {channels}"
                )
            return shape
        case Softmax() | Cost() | Dropout():
            return shape


def _check_groups(layer: Conv, channels: int) -> None:
    if channels % layer.groups or layer.filters % layer.groups:
        raise ConfigError(
            f"groups must divide channels and filters, got {layer.groups} groups, {channels} channels, "
            f"{layer.filters} filters"
        )


def _conv_length(layer: Conv, length: int) -> int:
    out = (length + 2 * layer.padding + layer.end_padding - layer.size) // layer.stride + 1
    return _positive(out, length)


def _pool_length(layer: MaxPool, length: int) -> int:
    return _positive((length + layer.padding - layer.size) // layer.stride + 1, length)


def _positive(out: int, length: int) -> int:
    if out < 1:
        raise ConfigError(f"output of a side of {length} cells would be empty: the network's input is too small")
    return out


def _route_shape(shapes: Sequence[Shape]) -> Shape:
    if len({shape[1:] for shape in shapes}) > 1:
        maps = ", ".join(f"{width}x{height}" for _, height, width in shapes)
        raise ConfigError(f"must join maps of the same size, got {maps}")
    return sum(shape[0] for shape in shapes), shapes[0][1], shapes[0][2]


def _shortcut_shape(shape: Shape, other: Shape) -> Shape:
    if shape != other:
        maps = " and ".join(f"{width}x{height}x{channels}" for channels, height, width in (shape, other))
        raise ConfigError(f"must add two maps of the same shape, got {maps}")
    return shape


def _reorg_shape(layer: Reorg, shape: Shape) -> Shape:
    channels, height, width = shape
    s = layer.stride
    if height % s or width % s:
        raise ConfigError(f"width and height must be multiples of {s}, got {width}x{height}")
    if layer.order == "darknet" and channels % s**2:
        raise ConfigError(f"channels must be a multiple of {s**2}, got {channels}")
    return channels * s**2, height // s, width // s
