"""A table of rows, run in torch."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from yolo9000.architectures.layers import (
    Architecture,
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
from yolo9000.architectures.torch_layers import ConvLayer, MaxPoolLayer, ReorgLayer, RouteLayer, ShortcutLayer
from yolo9000.architectures.weights import BatchNorm, ConvParameters, Model
from yolo9000.errors import ConfigError

__all__ = ["Network"]


class Network(nn.Module):
    """The body of a table: everything up to the head's raw numbers.

    Attributes:
        architecture: the network.
        layers: one module for each row of the body.

    Raises:
        ConfigError: the table has batch norm in the form ``eps_outside_sqrt``, which torch has not: fold it first.
    """

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        if architecture.batch_norm != "eps_inside_sqrt" and any(
            isinstance(row, Conv) and row.batch_normalize for row in architecture.rows
        ):
            raise ConfigError(
                f"batch norm of the form {architecture.batch_norm!r} must be folded before torch can run it"
            )
        self.architecture = architecture
        channels = architecture.input_channels()
        self.layers = nn.ModuleList(_layer(row, channels[i]) for i, row in enumerate(architecture.body))
        self._sources = [layer_sources(i, row) for i, row in enumerate(architecture.body)]
        self._read_later = {source for sources in self._sources for source in sources}

    def forward(
        self, images: Tensor | None, taps: tuple[int, ...] = (-1,), known: Mapping[int, Tensor] | None = None
    ) -> tuple[Tensor, ...]:
        """Run the network.

        Args:
            images: (N, 3, H, W), RGB in [0, 1]; H and W multiples of the table's stride.
            taps: rows of the body whose outputs are wanted; -1 is the last.
            known: outputs of some rows, by index: the network starts after the last of them instead of at the images.

        Returns:
            The output of each tap, (N, C, h, w).
        """
        wanted = [tap % len(self.layers) for tap in taps]
        kept: dict[int, Tensor] = dict(known or {})
        first = max(kept, default=-1) + 1
        x = kept[first - 1] if first else images
        for index in range(first, max(wanted) + 1):
            x = self.layers[index](x, *(kept[i] for i in self._sources[index]))
            if index in self._read_later or index in wanted:
                kept[index] = x
        return tuple(kept[index] for index in wanted)

    def boundary(self, count: int) -> tuple[int, ...]:
        """The first ``count`` rows' outputs that the rows after them read: what `forward` must know to start there."""
        read = {source for sources in self._sources[count:] for source in sources if source < count}
        return tuple(sorted(read | {count - 1}))

    @torch.no_grad()
    def load(self, model: Model) -> None:
        """Copy a model's numbers into the layers; convolutions for which it has none keep theirs.

        Raises:
            ConfigError: the model's rows, input channels or form of batch norm are not this network's.
        """
        if any(
            getattr(model.architecture, part) != getattr(self.architecture, part)
            for part in ("body", "channels", "batch_norm")
        ):
            raise ConfigError("the model's rows, input channels and form of batch norm must be the network's")
        for layer, numbers in zip(self.layers, model.parameters, strict=False):
            if isinstance(layer, ConvLayer) and numbers is not None:
                _load_conv(layer, numbers)

    @torch.no_grad()
    def to_model(self) -> Model:
        """The network's numbers as NumPy arrays, copied."""
        numbers = [_save_conv(layer) if isinstance(layer, ConvLayer) else None for layer in self.layers]
        rest = [None] * (len(self.architecture.rows) - len(numbers))
        return Model(self.architecture, (*numbers, *rest))


def _layer(row: Layer, channels: int) -> nn.Module:
    match row:
        case Conv():
            return ConvLayer(row, channels)
        case MaxPool():
            return MaxPoolLayer(row)
        case Route():
            return RouteLayer()
        case Shortcut():
            return ShortcutLayer(row)
        case Upsample():
            return nn.Upsample(scale_factor=row.stride, mode="nearest")
        case Reorg():
            return ReorgLayer(row.stride, row.order)
        case AvgPool():
            return nn.AdaptiveAvgPool2d(1)
        case Dropout():
            return nn.Dropout(row.probability)
        case _:
            raise TypeError(f"{layer_name(row)} is a head, not part of a body")


def _load_conv(layer: ConvLayer, numbers: ConvParameters) -> None:
    layer.conv.weight.copy_(_tensor(numbers.weights))
    if layer.norm is None or numbers.batch_norm is None:
        assert layer.conv.bias is not None  # noqa: S101  for the type checker: a row without batch norm has a bias
        layer.conv.bias.copy_(_tensor(numbers.biases))
        return
    assert layer.norm.running_mean is not None and layer.norm.running_var is not None  # noqa: S101, PT018
    layer.norm.bias.copy_(_tensor(numbers.biases))
    layer.norm.weight.copy_(_tensor(numbers.batch_norm.scales))
    layer.norm.running_mean.copy_(_tensor(numbers.batch_norm.rolling_mean))
    layer.norm.running_var.copy_(_tensor(numbers.batch_norm.rolling_variance))


def _save_conv(layer: ConvLayer) -> ConvParameters:
    weights = _array(layer.conv.weight)
    if layer.norm is None:
        return ConvParameters(weights, _array(layer.conv.bias))
    norm = layer.norm
    batch_norm = BatchNorm(_array(norm.weight), _array(norm.running_mean), _array(norm.running_var))
    return ConvParameters(weights, _array(norm.bias), batch_norm)


def _tensor(array: np.ndarray) -> Tensor:
    return torch.from_numpy(np.array(array, np.float32))


def _array(tensor: Tensor | None) -> np.ndarray:
    assert tensor is not None  # noqa: S101  for the type checker
    return np.array(tensor.detach().float().cpu().numpy(), np.float32, order="C")
