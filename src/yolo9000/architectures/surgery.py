"""Architectures and models made from others: other widths and classes, initialization, transfer, conversion."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float32, Int64

from yolo9000.architectures.layers import Architecture, Conv, Layer, Region, Reorg, Softmax
from yolo9000.architectures.weights import BatchNorm, ConvParameters, Model
from yolo9000.errors import ConfigError

__all__ = [
    "Transfer",
    "class_count",
    "initial_model",
    "scale_width",
    "to_darknet_layers",
    "transfer",
    "with_classes",
]

FILTER_MULTIPLE = 8  # the number of float32 values that a CPU computes at once


@dataclass(frozen=True)
class Transfer:
    """A model that was initialized from another one.

    Attributes:
        model: the result.
        convolutions: number of convolutions taken over whole.
        classes: number of classes whose rows of the last convolution were taken over.
        layers: number of layers, from the first on, that both networks have.
    """

    model: Model
    convolutions: int
    classes: int
    layers: int


def scale_width(architecture: Architecture, width: float) -> Architecture:
    """The architecture with the filters of all layers but the last times ``width``, to the nearest multiple of 8.

    Depthwise convolutions keep one filter per input channel.
    """
    if width == 1:
        return architecture
    last, channels = _last_conv(architecture), architecture.input_channels()
    scaled = replace(architecture, layers=())
    for i, layer in enumerate(architecture.layers):
        if isinstance(layer, Conv) and i != last:
            depthwise = layer.is_depthwise(channels[i])
            filters = _output_channels(scaled) if depthwise else _scaled(layer.filters, width)
            layer = replace(layer, filters=filters, groups=filters if depthwise else layer.groups)
        scaled = replace(scaled, layers=(*scaled.layers, layer))
    return scaled


def with_classes(
    architecture: Architecture,
    classes: int,
    *,
    anchors: tuple[tuple[float, float], ...] | None = None,
    tree: str | None = None,
) -> Architecture:
    """The architecture with its head and the convolution before it changed to another number of classes.

    Args:
        architecture: a classifier or a detector.
        classes: number of classes, or of nodes of the tree.
        anchors: of a detector, widths and heights in cells; None keeps the architecture's.
        tree: file of the label tree; None for flat classes.

    Raises:
        ConfigError: the architecture has no head.
    """
    head = architecture.head
    match head:
        case Region():
            kept = anchors or head.anchors_wh_cells
            head = replace(head, classes=classes, anchors_wh_cells=kept, tree=tree, map=None, softmax=True)
            filters = head.filters
        case Softmax():
            head, filters = replace(head, tree=tree), classes
        case None:
            raise ConfigError("the network must end in [region] or [softmax]")
    layers: list[Layer] = list(architecture.layers)
    layers[_last_conv(architecture)] = replace(_conv(architecture, _last_conv(architecture)), filters=filters)
    layers[len(architecture.body)] = head
    return replace(architecture, layers=tuple(layers))


def initial_model(architecture: Architecture, seed: int, objectness: float = 0.5) -> Model:
    """The architecture with random weights: kernels normally distributed with variance 2 / (inputs of a filter).

    Biases are 0. Darknet: src/convolutional_layer.c make_convolutional_layer; rolling variances start at 0 there and at
    1 here, which makes no difference after the first few hundred batches.

    Args:
        architecture: the network.
        seed: of the random numbers.
        objectness: initial objectness of all boxes of a detector, set by a bias of the last layer. Darknet's is .5 (no
            bias). Since nearly all boxes contain no object, they then all drop at once and far below the few that do,
            where squared error on the sigmoid has hardly any slope. (Focal loss, Lin et al. 2017, §3.3.)
    """
    rng = np.random.default_rng(seed)
    channels = architecture.input_channels()
    parameters = [
        _initial_conv(layer, channels[i], rng) if isinstance(layer, Conv) else None
        for i, layer in enumerate(architecture.layers)
    ]
    last = parameters[_last_conv(architecture)]
    if isinstance(architecture.head, Region) and last is not None:
        by_anchor = last.biases.reshape(len(architecture.head.anchors_wh_cells), -1)
        by_anchor[:, 4] = np.log(objectness / (1 - objectness))
    return Model(architecture, tuple(parameters))


def transfer(source: Model, target: Model, classes: Int64[np.ndarray, " k"] | None = None) -> Transfer:
    """Initialize a model from another one: all layers from the first on, as far as both have the same.

    From a classifier, a detector takes all but the last layer (§3 Training for detection: "we remove the last
    convolutional layer"). The last convolution is never taken by position: box rows of a detector are, anchor by
    anchor, and the rows of classes as ``classes`` says. Each anchor takes the rows of the source's anchor of the most
    similar shape, with biases of t_w and t_h that keep the predicted sizes.

    Args:
        source: the model to take parameters from.
        target: the model to initialize; what is not taken keeps its parameters.
        classes: for each class of the target the index of the class in the source whose row it takes, or -1 to start
            from zero; None: no class is known to be the same.

    Raises:
        ConfigError: not even the first convolution is the same; or ``classes`` is of the wrong length or range.
    """
    last = _last_conv(target.architecture)
    limit = len(target.architecture.body) if target.architecture.head is None else last
    same = min(_same_layers(source.architecture, target.architecture), limit)
    parameters = list(target.parameters)
    for i in range(same):
        parameters[i] = source.parameters[i] or parameters[i]
    convolutions = sum(given is not None for given in source.parameters[:same])
    taken = 0
    if same == last and target.architecture.head is not None:
        chosen = _checked_classes(classes, source, target)
        if transferred := _transfer_last(source, target, last, chosen):
            parameters[last] = transferred
            taken = int((chosen >= 0).sum())
            convolutions += taken == len(chosen)
    if not convolutions:
        raise ConfigError("shares no layer with the network, counting from the first")
    return Transfer(Model(target.architecture, tuple(parameters)), convolutions, taken, same)


def _same_layers(a: Architecture, b: Architecture) -> int:
    """Number of layers of the bodies, from the first on, that are the same and read as many channels."""
    pairs = zip(a.body, a.input_channels(), b.body, b.input_channels(), strict=False)
    different = (i for i, (one, ones, two, twos) in enumerate(pairs) if (one, ones) != (two, twos))
    return next(different, min(len(a.body), len(b.body)))


def _checked_classes(classes: Int64[np.ndarray, " k"] | None, source: Model, target: Model) -> Int64[np.ndarray, " k"]:
    ours, theirs = class_count(target.architecture), class_count(source.architecture)
    if classes is None:
        return np.full(ours, -1)
    if len(classes) != ours or classes.min() < -1 or classes.max() >= theirs:
        raise ConfigError(
            f"classes must be {ours} indices from -1 to {theirs - 1}, got {len(classes)} from {classes.min()} to "
            f"{classes.max()}"
        )
    return classes


def _transfer_last(source: Model, target: Model, last: int, classes: Int64[np.ndarray, " k"]) -> ConvParameters | None:
    """The target's last convolution with the source's rows; None if the two do not differ in filters alone."""
    old, given, own = source.architecture.layers[last], source.parameters[last], target.parameters[last]
    new = _conv(target.architecture, last)
    heads = source.architecture.head, target.architecture.head
    if given is None or own is None or not isinstance(old, Conv) or type(heads[0]) is not type(heads[1]):
        return None
    if replace(old, filters=new.filters) != new or given.weights.shape[1:] != own.weights.shape[1:] or own.batch_norm:
        return None
    rows, biases = given.weights.reshape(old.filters, -1), given.biases
    if isinstance(heads[0], Region) and isinstance(heads[1], Region):
        rows, biases = _transfer_anchors(rows, biases, heads[0], heads[1], classes)
    else:
        rows, biases = _chosen(rows, classes), _chosen(biases, classes)
    return ConvParameters(rows.reshape(own.weights.shape), biases.reshape(own.biases.shape))


def _transfer_anchors(
    rows: Float32[np.ndarray, "f c"],
    biases: Float32[np.ndarray, " f"],
    old: Region,
    new: Region,
    classes: Int64[np.ndarray, " k"],
) -> tuple[Float32[np.ndarray, "a k5 c"], Float32[np.ndarray, "a k5"]]:
    old_wh, new_wh = np.array(old.anchors_wh_cells), np.array(new.anchors_wh_cells)
    nearest = _size_iou(new_wh[:, None], old_wh).argmax(axis=1)
    rows = rows.reshape(len(old_wh), 5 + old.classes, -1)[nearest]
    biases = biases.reshape(len(old_wh), 5 + old.classes)[nearest]
    boxes = biases[:, :5].copy()
    boxes[:, 2:4] += np.log(old_wh[nearest] / new_wh)
    of_classes = np.moveaxis(_chosen(np.moveaxis(rows[:, 5:], 1, 0), classes), 0, 1)
    bias_of_classes = _chosen(biases[:, 5:].T, classes).T
    return np.concatenate([rows[:, :5], of_classes], axis=1), np.concatenate([boxes, bias_of_classes], axis=1)


def _chosen(rows: Float32[np.ndarray, "f ..."], indices: Int64[np.ndarray, " k"]) -> Float32[np.ndarray, "k ..."]:
    """Rows by index; zeros for -1."""
    chosen: np.ndarray = rows[indices]
    chosen[indices < 0] = 0
    return chosen


def _size_iou(a_wh: np.ndarray, b_wh: np.ndarray) -> np.ndarray:
    common = np.minimum(a_wh, b_wh).prod(axis=-1)
    return np.asarray(common / (a_wh.prod(axis=-1) + b_wh.prod(axis=-1) - common))


def class_count(architecture: Architecture) -> int:
    """Number of classes of a classifier or a detector, or of nodes of its tree."""
    head = architecture.head
    return head.classes if isinstance(head, Region) else _conv(architecture, _last_conv(architecture)).filters


def to_darknet_layers(model: Model) -> Model:
    """The same function in layers that Darknet has, so that a ``.cfg`` can describe it; layers keep their indices.

    A reorg in ``space_to_depth`` order becomes a convolution whose kernels contain a single 1. A convolution with
    ``end_padding`` gets a larger kernel that begins with rows and columns of zeros, and more padding on all sides.

    Args:
        model: with or without batch norm; convolutions without parameters stay without.
    """
    layers = zip(model.architecture.layers, model.parameters, model.architecture.input_channels(), strict=True)
    converted = [_to_darknet_layer(layer, parameters, channels) for layer, parameters, channels in layers]
    new_layers, parameters = zip(*converted, strict=True)
    return Model(replace(model.architecture, layers=new_layers), parameters)


def _to_darknet_layer(
    layer: Layer, parameters: ConvParameters | None, channels: int
) -> tuple[Layer, ConvParameters | None]:
    match layer:
        case Reorg(order="space_to_depth"):
            return _reorg_as_convolution(layer.stride, channels)
        case Conv() if layer.end_padding:
            return _padded_alike(layer, parameters)
        case _:
            return layer, parameters


def _reorg_as_convolution(stride: int, channels: int) -> tuple[Conv, ConvParameters]:
    """Filter (r s + q) C + c reads channel c at row r, column q of each s x s block."""
    filters = channels * stride**2
    weights = np.zeros((stride, stride, channels, channels, stride, stride), np.float32)
    r, q, c = np.indices((stride, stride, channels))
    weights[r, q, c, c, r, q] = 1
    layer = Conv(filters, stride, stride, padding=0, batch_normalize=False, activation="linear")
    return layer, ConvParameters(weights.reshape(layer.kernel_shape(channels)), np.zeros(filters, np.float32))


def _padded_alike(layer: Conv, parameters: ConvParameters | None) -> tuple[Conv, ConvParameters | None]:
    more = layer.end_padding
    layer = replace(layer, size=layer.size + more, padding=layer.padding + more, end_padding=0)
    if parameters is None:
        return layer, None
    weights = np.pad(parameters.weights, ((0, 0), (0, 0), (more, 0), (more, 0)))
    return layer, replace(parameters, weights=weights)


def _output_channels(architecture: Architecture) -> int:
    return architecture.shapes()[-1][0] if architecture.layers else architecture.channels


def _scaled(filters: int, width: float) -> int:
    return max(FILTER_MULTIPLE, round(filters * width / FILTER_MULTIPLE) * FILTER_MULTIPLE)


def _last_conv(architecture: Architecture) -> int:
    return max(i for i, layer in enumerate(architecture.body) if isinstance(layer, Conv))


def _conv(architecture: Architecture, index: int) -> Conv:
    layer = architecture.layers[index]
    assert isinstance(layer, Conv)  # noqa: S101  for the type checker
    return layer


def _initial_conv(layer: Conv, channels: int, rng: np.random.Generator) -> ConvParameters:
    shape = layer.kernel_shape(channels)
    if layer.is_depthwise(channels) and layer.size == 1:  # scales its channels: starts as the identity
        weights = np.ones(shape, np.float32)
    else:
        weights = rng.standard_normal(shape, dtype=np.float32) * np.float32(np.sqrt(2 / np.prod(shape[1:])))
    zeros = np.zeros(layer.filters, np.float32)
    norm = BatchNorm(zeros + 1, zeros, zeros + 1) if layer.batch_normalize else None
    return ConvParameters(weights, zeros.copy(), norm)
