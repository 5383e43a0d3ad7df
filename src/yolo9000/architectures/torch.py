"""An `Architecture` as a torch module. Maps are (N, C, H, W)."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor, nn

from yolo9000.architectures.layers import (
    GREY_OF_RGB,
    LEAKY_SLOPE,
    Activation,
    Architecture,
    AvgPool,
    Conv,
    Dropout,
    Layer,
    MaxPool,
    Region,
    Reorg,
    ReorgOrder,
    Route,
    Shortcut,
    Upsample,
    layer_name,
)
from yolo9000.architectures.weights import BatchNorm, ConvParameters, Model, has_splittable_head
from yolo9000.errors import ConfigError

__all__ = [
    "BATCH_NORM_MOMENTUM",
    "ConvLayer",
    "MaxPoolLayer",
    "Network",
    "ReorgLayer",
    "RouteLayer",
    "ShortcutLayer",
    "SplitHead",
    "SplitNetwork",
    "activate",
    "darknet_reorg",
    "space_to_depth",
]

BATCH_NORM_MOMENTUM = 0.01  # rolling = .99 rolling + .01 batch. Darknet: src/batchnorm_layer.c


@dataclass(frozen=True)
class SplitHead:
    """Raw output of a detector with class logits computed on demand.

    Attributes:
        boxes: t_x, t_y, t_w, t_h, t_o of every anchor of every cell.
        features: input of the last convolution.
        weights: rows of the last convolution that give class logits, by anchor.
        biases: of those rows.
    """

    boxes: Float[Tensor, "n a 5 h w"]
    features: Float[Tensor, "n c h w"]
    weights: Float[Tensor, "a k c"]
    biases: Float[Tensor, "a k"]

    def class_logits(
        self,
        images: Int64[Tensor, " m"],
        anchors: Int64[Tensor, " m"],
        rows: Int64[Tensor, " m"],
        columns: Int64[Tensor, " m"],
    ) -> Float[Tensor, "m k"]:
        """Class logits of single anchors, in float32.

        Args:
            images: index in the batch.
            anchors: index of the anchor.
            rows: of the cell.
            columns: of the cell.
        """
        features = self.features[images, :, rows, columns].float()
        logits = features.new_empty((len(images), self.weights.shape[1]))
        for anchor in range(len(self.weights)):
            chosen = (anchors == anchor).nonzero().flatten()
            of_anchor = F.linear(features[chosen], self.weights[anchor].float(), self.biases[anchor].float())
            logits = logits.index_copy(0, chosen, of_anchor)
        return logits

    def all_class_logits(self, images: Int64[Tensor, " m"] | None = None) -> Float[Tensor, "m a k h w"]:
        """Class logits of every anchor of every cell, in float32.

        Args:
            images: indices in the batch; None for all.
        """
        features = (self.features if images is None else self.features[images]).float()
        weights = self.weights.flatten(0, 1)[:, :, None, None].float()
        logits: Tensor = F.conv2d(features, weights, self.biases.flatten().float())
        return logits.reshape(len(features), *self.biases.shape, *features.shape[2:])


def grey_of(images: Tensor) -> Tensor:
    """(N, 1, H, W): grey of RGB, (N, 3, H, W), for a network of one channel."""
    return (images * images.new_tensor(GREY_OF_RGB).view(1, 3, 1, 1)).sum(1, keepdim=True)


class Network(nn.Module):
    """The body of an architecture: all layers before the head.

    Attributes:
        architecture: the description.
        layers: one module for each layer of the body.

    Raises:
        ConfigError: the architecture has batch norm of the form ``eps_outside_sqrt``, which torch does not have: fold
            it first.

    Example:
        >>> from yolo9000.architectures.zoo import tiny_yolov2
        >>> network = Network(tiny_yolov2())
        >>> (raw,) = network(torch.zeros(1, 3, 64, 96))
        >>> raw.shape
        torch.Size([1, 425, 2, 3])
    """

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        if architecture.batch_norm != "eps_inside_sqrt" and any(
            isinstance(layer, Conv) and layer.batch_normalize for layer in architecture.layers
        ):
            raise ConfigError(
                f"batch norm of the form {architecture.batch_norm!r} must be folded before torch can run it"
            )
        self.architecture = architecture
        channels = architecture.input_channels()
        self.layers = nn.ModuleList(_module(layer, channels[i]) for i, layer in enumerate(architecture.body))
        self._inputs = architecture.inputs()
        self._frozen: frozenset[int] = frozenset()

    def forward(
        self,
        images: Tensor | None,
        taps: tuple[int, ...] = (-1,),
        given: Mapping[int, Tensor] | None = None,
    ) -> tuple[Tensor, ...]:
        """Compute the outputs of some layers, running only the layers that they need.

        Args:
            images: (N, 3, H, W), RGB in [0, 1]; H and W multiples of `Architecture.size_multiple`. May be None if
                everything that is needed is given.
            taps: indices of the layers whose outputs are wanted; negative ones count from the end of the body.
            given: outputs that are known, by index; their layers are not run.

        Returns:
            The output of each tap, (N, C, h, w).

        Raises:
            ConfigError: a layer that must run reads the images, and there are none.
        """
        if images is not None and self.architecture.channels == 1 and images.shape[1] == 3:
            images = grey_of(images)
        known = dict(given or {})
        wanted = tuple(tap % len(self.layers) for tap in taps)
        for index, unused in _plan(self._inputs, wanted, frozenset(known)):
            sources = self._inputs[index]
            known[index] = self._run(index, [images if source < 0 else known[source] for source in sources])
            for source in unused:
                del known[source]
        return tuple(known[index] for index in wanted)

    def _run(self, index: int, inputs: list[Tensor | None]) -> Tensor:
        if any(x is None for x in inputs):
            raise ConfigError(f"layer {index} ({layer_name(self.architecture.layers[index])}): needs images, got None")
        out: Tensor = self.layers[index](*inputs)
        return out

    def split(self, images: Tensor | None, given: Mapping[int, Tensor] | None = None) -> SplitHead:
        """Run a detector, with the class half of its last convolution left to be computed on demand.

        Its weights are views of the last convolution's, so that gradients arrive there.

        Args:
            images: see `forward`.
            given: see `forward`.

        Raises:
            ConfigError: the network is not a detector that ends in a linear 1x1 convolution without batch norm.
        """
        head, last = self.architecture.head, self.layers[-1]
        if not (isinstance(head, Region) and isinstance(last, ConvLayer) and has_splittable_head(self.architecture)):
            raise ConfigError("class logits can be split off only if a linear 1x1 convolution comes before [region]")
        if len(self.layers) == 1:
            raise ConfigError("class logits can be split off only from a network of more than one layer")
        (features,) = self(images, (-2,), given)
        assert last.conv.bias is not None  # noqa: S101  for the type checker: a layer without batch norm has a bias
        weights = last.conv.weight.unflatten(0, (len(head.anchors_wh_cells), -1)).flatten(2)
        biases = last.conv.bias.unflatten(0, (len(head.anchors_wh_cells), -1))
        boxes = F.conv2d(features, weights[:, :5].flatten(0, 1)[:, :, None, None], biases[:, :5].flatten())
        return SplitHead(boxes.unflatten(1, (-1, 5)), features, weights[:, 5:], biases[:, 5:])

    def freeze(self, frozen: Collection[int]) -> None:
        """Stop some layers from learning: no gradients, and batch norm and dropout as in inference, from now on.

        Args:
            frozen: their indices; all others learn.
        """
        self._frozen = frozenset(frozen)
        for index, layer in enumerate(self.layers):
            layer.requires_grad_(index not in self._frozen)
        self.train(self.training)

    def train(self, mode: bool = True) -> Network:
        """Set training or inference mode; frozen layers stay in inference mode."""
        super().train(mode)
        for index in self._frozen:
            self.layers[index].eval()
        return self

    @torch.no_grad()
    def load(self, model: Model) -> None:
        """Copy a model's parameters into the layers; convolutions that it has none for keep theirs.

        Raises:
            ConfigError: the model has other layers, input channels or form of batch norm.
        """
        if any(
            getattr(model.architecture, part) != getattr(self.architecture, part)
            for part in ("body", "channels", "batch_norm")
        ):
            raise ConfigError("the model's layers, input channels and form of batch norm must be the network's")
        for layer, parameters in zip(self.layers, model.parameters, strict=False):
            if isinstance(layer, ConvLayer) and parameters is not None:
                _load_conv(layer, parameters)

    @torch.no_grad()
    def to_model(self) -> Model:
        """The network's parameters as NumPy arrays, copied."""
        parameters = [_save_conv(layer) if isinstance(layer, ConvLayer) else None for layer in self.layers]
        rest = [None] * (len(self.architecture.layers) - len(parameters))
        return Model(self.architecture, (*parameters, *rest))


def _plan(
    inputs: tuple[tuple[int, ...], ...], wanted: tuple[int, ...], given: frozenset[int]
) -> tuple[tuple[int, tuple[int, ...]], ...]:
    """The layers that must run, in order, each with the outputs that no later one reads."""
    needed: set[int] = set()
    pending = [index for index in wanted if index not in given]
    while pending:
        index = pending.pop()
        if index not in needed:
            needed.add(index)
            pending += [source for source in inputs[index] if source >= 0 and source not in given]
    last_use = {source: index for index in sorted(needed) for source in inputs[index]}
    freed = set(last_use) - set(wanted) - {-1}
    return tuple(
        (index, tuple(sorted(source for source in freed if last_use[source] == index))) for index in sorted(needed)
    )


def _module(layer: Layer, channels: int) -> nn.Module:
    match layer:
        case Conv():
            return ConvLayer(layer, channels)
        case MaxPool():
            return MaxPoolLayer(layer)
        case Route():
            return RouteLayer()
        case Shortcut():
            return ShortcutLayer(layer)
        case Upsample():
            return nn.Upsample(scale_factor=layer.stride, mode="nearest")
        case Reorg():
            return ReorgLayer(layer.stride, layer.order)
        case AvgPool():
            return nn.AdaptiveAvgPool2d(1)
        case Dropout():
            return nn.Dropout(layer.probability)
        case _:
            raise TypeError(f"{layer_name(layer)} is a head, not part of a body")


class SplitNetwork(nn.Module):
    """A detector whose forward pass is `Network.split`, for what wraps the forward pass: data parallelism, compilation.

    Attributes:
        network: the detector; the parameters are its own.
    """

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor | None, given: Mapping[int, Tensor] | None = None) -> SplitHead:
        """See `Network.split`."""
        return self.network.split(images, given)


class ConvLayer(nn.Module):
    """Convolution, batch norm, activation (§2 Batch Normalization); see `Conv`.

    With batch norm the bias is batch norm's shift, as in Darknet; without, the convolution's own.
    """

    def __init__(self, layer: Conv, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(
            *(channels, layer.filters, layer.size, layer.stride, layer.padding),
            groups=layer.groups,
            bias=not layer.batch_normalize,
        )
        self.norm = (
            nn.BatchNorm2d(layer.filters, eps=1e-5, momentum=BATCH_NORM_MOMENTUM) if layer.batch_normalize else None
        )
        self.activation = layer.activation
        self.slow_in_bfloat16 = layer.groups == channels > 1 and (layer.stride > 1 or layer.size > 3)
        self.end_padding = layer.end_padding
        if layer.end_padding:  # torch's own padding is the same on both sides
            self.conv.padding = (0, 0)
        self.pads = (layer.padding, layer.padding + layer.end_padding) * 2

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, filters, H', W')."""
        x = self._convolve(F.pad(x, self.pads) if self.end_padding else x)
        if self.norm is not None:
            x = self.norm(x)
        return activate(x, self.activation)

    def _convolve(self, x: Tensor) -> Tensor:
        """The convolution; on CPUs the gradient of some depthwise ones takes 2 to 8 times as long in bfloat16."""
        autocast = x.device.type == "cpu" and torch.is_autocast_enabled("cpu")
        if not (self.slow_in_bfloat16 and autocast and torch.is_grad_enabled()):
            convolved: Tensor = self.conv(x)
            return convolved
        with torch.autocast("cpu", enabled=False):
            in_float32: Tensor = self.conv(x.float())
        return in_float32.to(x.dtype)


def activate(x: Tensor, activation: Activation) -> Tensor:
    """Darknet's activation of that name; may write into x."""
    match activation:
        case "leaky":
            return F.leaky_relu(x, LEAKY_SLOPE, inplace=True)
        case "relu":
            return F.relu(x, inplace=True)
        case "relu6":
            return F.relu6(x, inplace=True)
        case "swish":
            return F.silu(x)
        case "logistic":
            return torch.sigmoid(x)
        case "linear":
            return x


class MaxPoolLayer(nn.Module):
    """Max pooling with Darknet's one-sided padding; see `MaxPool`."""

    def __init__(self, layer: MaxPool) -> None:
        super().__init__()
        self.size, self.stride, self.padding = layer.size, layer.stride, layer.padding

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C, H', W')."""
        if self.size == self.stride and self.padding == self.size - 1 == 1:
            return F.max_pool2d(x, self.size, self.stride, ceil_mode=True)  # the same, without a padded copy of x
        before = self.padding // 2
        after = self.padding - before
        padded = F.pad(x, (before, after, before, after), value=float("-inf"))
        return F.max_pool2d(padded, self.size, self.stride)


class RouteLayer(nn.Module):
    """Channels of earlier layers, concatenated; see `Route`."""

    def forward(self, *maps: Tensor) -> Tensor:
        """Maps (N, C_i, H, W) to (N, sum of C_i, H, W)."""
        return maps[0] if len(maps) == 1 else torch.cat(maps, dim=1)


class ShortcutLayer(nn.Module):
    """Residual addition, then the activation; see `Shortcut`."""

    def __init__(self, layer: Shortcut) -> None:
        super().__init__()
        self.activation = layer.activation

    def forward(self, x: Tensor, earlier: Tensor) -> Tensor:
        """Two maps (N, C, H, W) to their sum."""
        return activate(x + earlier, self.activation)


class ReorgLayer(nn.Module):
    """The passthrough's change of shape, (C, H, W) to (C s^2, H/s, W/s); see `Reorg`."""

    def __init__(self, stride: int, order: ReorgOrder) -> None:
        super().__init__()
        self.stride = stride
        self.order = order

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C s^2, H/s, W/s)."""
        return darknet_reorg(x, self.stride) if self.order == "darknet" else space_to_depth(x, self.stride)


def darknet_reorg(x: Tensor, s: int) -> Tensor:
    """Darknet's reorg, which reads the map as if it were C / s^2 channels of (H s) x (W s).

    Darknet: src/blas.c reorg_cpu, called with ``forward = 0``.
    """
    n, c, h, w = x.shape
    x = x.reshape(n, c // s**2, h, s, w, s).permute(0, 3, 5, 1, 2, 4)
    return x.reshape(n, c * s**2, h // s, w // s)


def space_to_depth(x: Tensor, s: int) -> Tensor:
    """Each s x s block of cells becomes s^2 groups of C channels, row by row (§2 passthrough)."""
    n, c, h, w = x.shape
    x = x.reshape(n, c, h // s, s, w // s, s).permute(0, 3, 5, 1, 2, 4)
    return x.reshape(n, c * s**2, h // s, w // s)


def _load_conv(layer: ConvLayer, parameters: ConvParameters) -> None:
    layer.conv.weight.copy_(_tensor(parameters.weights))
    if layer.norm is None or parameters.batch_norm is None:
        assert layer.conv.bias is not None  # noqa: S101  for the type checker: a layer without batch norm has a bias
        layer.conv.bias.copy_(_tensor(parameters.biases))
        return
    assert layer.norm.running_mean is not None and layer.norm.running_var is not None  # noqa: S101, PT018
    layer.norm.bias.copy_(_tensor(parameters.biases))
    layer.norm.weight.copy_(_tensor(parameters.batch_norm.scales))
    layer.norm.running_mean.copy_(_tensor(parameters.batch_norm.rolling_mean))
    layer.norm.running_var.copy_(_tensor(parameters.batch_norm.rolling_variance))


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
