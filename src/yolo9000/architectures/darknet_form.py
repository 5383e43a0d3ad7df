"""A model in the layers that Darknet has, so that a ``.cfg`` can say it: the same function of the same images."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from yolo9000.architectures.layers import Conv, Layer, Reorg
from yolo9000.architectures.weights import ConvParameters, Model

__all__ = ["in_darknet_layers"]


def in_darknet_layers(model: Model) -> Model:
    """The model with every layer that Darknet lacks replaced by one that it has; layers keep their indices.

    A reorg in ``space_to_depth`` order becomes a convolution whose kernels hold a single 1. A convolution with
    ``end_padding`` gets a larger kernel that begins with rows and columns of zeros, and more padding on all sides.

    Args:
        model: with or without batch norm; convolutions without parameters stay without.
    """
    channels = model.architecture.input_channels()
    layers = zip(model.architecture.rows, model.parameters, channels, strict=True)
    replaced = [_replaced(row, parameters, count) for row, parameters, count in layers]
    rows, parameters = zip(*replaced, strict=True)
    return Model(replace(model.architecture, rows=rows), parameters)


def _replaced(row: Layer, parameters: ConvParameters | None, channels: int) -> tuple[Layer, ConvParameters | None]:
    match row:
        case Reorg(order="space_to_depth"):
            return _reorg_as_convolution(row.stride, channels)
        case Conv() if row.end_padding:
            return _padded_alike(row, parameters)
        case _:
            return row, parameters


def _reorg_as_convolution(stride: int, channels: int) -> tuple[Conv, ConvParameters]:
    """Filter (r s + q) C + c reads channel c at row r, column q of each s x s block."""
    filters = channels * stride**2
    weights = np.zeros((stride, stride, channels, channels, stride, stride), np.float32)
    r, q, c = np.indices((stride, stride, channels))
    weights[r, q, c, c, r, q] = 1
    row = Conv(filters, stride, stride, padding=0, batch_normalize=False, activation="linear")
    return row, ConvParameters(weights.reshape(row.kernel_shape(channels)), np.zeros(filters, np.float32))


def _padded_alike(row: Conv, parameters: ConvParameters | None) -> tuple[Conv, ConvParameters | None]:
    more = row.end_padding
    row = replace(row, size=row.size + more, padding=row.padding + more, end_padding=0)
    if parameters is None:
        return row, None
    weights = np.pad(parameters.weights, ((0, 0), (0, 0), (more, 0), (more, 0)))
    return row, replace(parameters, weights=weights)
