"""Tables made from tables: narrower, at another size, for other classes; and what one network hands on to another."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from yolo9000.architectures.layers import Architecture, Conv, Layer, Region, Softmax
from yolo9000.architectures.weights import BatchNorm, ConvParameters, Model
from yolo9000.errors import ConfigError

__all__ = ["common_layers", "hand_on", "initial_model", "last_conv", "scale_width", "with_classes"]

FILTER_MULTIPLE = 8  # what CPUs compute at once


def scale_width(architecture: Architecture, width: float) -> Architecture:
    """The table with the filters of every layer but the last times ``width``, to the nearest multiple of 8.

    Depthwise convolutions keep one filter for each channel that they read.
    """
    if width == 1:
        return architecture
    last, channels = last_conv(architecture), architecture.input_channels()
    narrowed = replace(architecture, rows=())
    for i, row in enumerate(architecture.rows):
        if isinstance(row, Conv) and i != last:
            depthwise = row.is_depthwise(channels[i])
            filters = _output_channels(narrowed) if depthwise else _scaled(row.filters, width)
            row = replace(row, filters=filters, groups=filters if depthwise else row.groups)
        narrowed = replace(narrowed, rows=(*narrowed.rows, row))
    return narrowed


def with_classes(
    architecture: Architecture,
    classes: int,
    *,
    anchors: tuple[tuple[float, float], ...] | None = None,
    tree: str | None = None,
) -> Architecture:
    """The table with its head and the convolution before it made for so many classes.

    Args:
        architecture: a classifier or a detector.
        classes: number of classes, or of nodes of the tree.
        anchors: of a detector, widths and heights in cells; None keeps the table's.
        tree: file of the label tree; None for flat classes.

    Raises:
        ConfigError: the table has no head.
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
    rows: list[Layer] = list(architecture.rows)
    rows[last_conv(architecture)] = replace(_conv(architecture, last_conv(architecture)), filters=filters)
    rows[len(architecture.body)] = head
    return replace(architecture, rows=tuple(rows))


def initial_model(architecture: Architecture, seed: int, objectness: float = 0.5) -> Model:
    """Numbers to begin training with: kernels normally distributed with variance 2 / (inputs of a filter), no biases.

    Darknet: src/convolutional_layer.c make_convolutional_layer; there rolling variances begin at 0, here at 1, which
    makes no difference after the first few hundred batches.

    Args:
        architecture: the network.
        seed: of the numbers.
        objectness: of all boxes of a detector before it has learnt anything: a bias in its last layer. Darknet's is
            .5, that is no bias. Nearly all boxes hold nothing: from .5 they all fall at once and far below the few that
            do, where squared error on the sigmoid has next to no slope. (Focal loss, Lin et al. 2017, §3.3.)
    """
    rng = np.random.default_rng(seed)
    channels = architecture.input_channels()
    parameters = [
        _initial_conv(row, channels[i], rng) if isinstance(row, Conv) else None
        for i, row in enumerate(architecture.rows)
    ]
    last = parameters[last_conv(architecture)]
    if isinstance(architecture.head, Region) and last is not None:
        of_anchors = last.biases.reshape(len(architecture.head.anchors_wh_cells), -1)
        of_anchors[:, 4] = np.log(objectness / (1 - objectness))
    return Model(architecture, tuple(parameters))


def hand_on(given: Model, to: Model, limit: int | None = None) -> tuple[Model, int]:
    """The second model with the numbers of the first, from the first layer on as far as both are the same.

    Of a classifier a detector takes all but the last layer (§3 Training for detection: "we remove the last
    convolutional layer").

    Args:
        given: what is taken from.
        to: what is to be trained.
        limit: number of layers that may be transferred; None: all.

    Returns:
        The model, and how many convolutions it was given.

    Raises:
        ConfigError: not even the first convolution is the same.
    """
    same = common_layers(given.architecture, to.architecture, limit)
    parameters = tuple(
        given.parameters[i] if i < same and given.parameters[i] is not None else own
        for i, own in enumerate(to.parameters)
    )
    taken = sum(numbers is not None for numbers in given.parameters[:same])
    if not taken:
        raise ConfigError("has no layer in common with the network, from the first on")
    return Model(to.architecture, parameters), taken


def common_layers(a: Architecture, b: Architecture, limit: int | None = None) -> int:
    """Number of layers from the first on that two networks have in common, at most ``limit``."""
    pairs = zip(a.body[:limit], b.body[:limit], a.input_channels(), b.input_channels(), strict=False)
    different = (i for i, (row_a, row_b, in_a, in_b) in enumerate(pairs) if row_a != row_b or in_a != in_b)
    shorter = min(len(a.body[:limit]), len(b.body[:limit]))
    return next(different, shorter)


def _output_channels(architecture: Architecture) -> int:
    return architecture.shapes()[-1][0] if architecture.rows else architecture.channels


def _scaled(filters: int, width: float) -> int:
    return max(FILTER_MULTIPLE, round(filters * width / FILTER_MULTIPLE) * FILTER_MULTIPLE)


def last_conv(architecture: Architecture) -> int:
    """Index of the last convolution."""
    return max(i for i, row in enumerate(architecture.body) if isinstance(row, Conv))


def _conv(architecture: Architecture, index: int) -> Conv:
    row = architecture.rows[index]
    assert isinstance(row, Conv)  # noqa: S101  for the type checker
    return row


def _initial_conv(row: Conv, channels: int, rng: np.random.Generator) -> ConvParameters:
    shape = row.kernel_shape(channels)
    if row.is_depthwise(channels) and row.size == 1:  # scales its channels: begins as the identity
        weights = np.ones(shape, np.float32)
    else:
        weights = rng.standard_normal(shape, dtype=np.float32) * np.float32(np.sqrt(2 / np.prod(shape[1:])))
    zeros = np.zeros(row.filters, np.float32)
    norm = BatchNorm(zeros + 1, zeros, zeros + 1) if row.batch_normalize else None
    return ConvParameters(weights, zeros.copy(), norm)
