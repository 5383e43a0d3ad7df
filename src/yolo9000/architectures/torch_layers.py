"""The layer kinds in torch. One module for each kind of row; shapes are (N, C, H, W)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from yolo9000.architectures.layers import LEAKY_SLOPE, Activation, Conv, MaxPool, ReorgOrder, Shortcut

__all__ = [
    "BATCH_NORM_MOMENTUM",
    "ConvLayer",
    "MaxPoolLayer",
    "ReorgLayer",
    "RouteLayer",
    "ShortcutLayer",
    "darknet_reorg",
    "space_to_depth",
]

BATCH_NORM_MOMENTUM = 0.01  # rolling = .99 rolling + .01 batch. Darknet: src/batchnorm_layer.c


class ConvLayer(nn.Module):
    """Convolution, batch norm, activation (§2 Batch Normalization); see `Conv`.

    With batch norm the bias is batch norm's shift, as in Darknet; without, the convolution's own.
    """

    def __init__(self, row: Conv, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(
            *(channels, row.filters, row.size, row.stride, row.padding),
            groups=row.groups,
            bias=not row.batch_normalize,
        )
        self.norm = nn.BatchNorm2d(row.filters, eps=1e-5, momentum=BATCH_NORM_MOMENTUM) if row.batch_normalize else None
        self.activation = row.activation
        self.end_padding = row.end_padding
        if row.end_padding:  # torch's own padding is the same on both sides
            self.conv.padding = (0, 0)
        self.pads = (row.padding, row.padding + row.end_padding) * 2

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, filters, H', W')."""
        x = self.conv(F.pad(x, self.pads) if self.end_padding else x)
        if self.norm is not None:
            x = self.norm(x)
        return activate(x, self.activation)


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

    def __init__(self, row: MaxPool) -> None:
        super().__init__()
        self.row = row

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C, H', W')."""
        row = self.row
        if row.size == row.stride and row.padding == row.size - 1 == 1:
            return F.max_pool2d(x, row.size, row.stride, ceil_mode=True)  # the same, without copying x to pad it
        before = row.padding // 2
        after = row.padding - before
        return F.max_pool2d(F.pad(x, (before, after, before, after), value=float("-inf")), row.size, row.stride)


class RouteLayer(nn.Module):
    """Channels of earlier layers, concatenated; see `Route`."""

    def forward(self, x: Tensor, *maps: Tensor) -> Tensor:
        """Maps (N, C_i, H, W) to (N, sum of C_i, H, W); x, the layer before, is not read."""
        return maps[0] if len(maps) == 1 else torch.cat(maps, dim=1)


class ShortcutLayer(nn.Module):
    """Residual addition, then the activation; see `Shortcut`."""

    def __init__(self, row: Shortcut) -> None:
        super().__init__()
        self.activation = row.activation

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
    """What Darknet's reorg computes: it reads the map as if it were C / s^2 channels of (H s) x (W s).

    Darknet: src/blas.c reorg_cpu, called with ``forward = 0``.
    """
    n, c, h, w = x.shape
    x = x.reshape(n, c // s**2, h, s, w, s).permute(0, 3, 5, 1, 2, 4)
    return x.reshape(n, c * s**2, h // s, w // s)


def space_to_depth(x: Tensor, s: int) -> Tensor:
    """Each s x s block of pixels becomes s^2 groups of C channels, row by row (§2 passthrough)."""
    n, c, h, w = x.shape
    x = x.reshape(n, c, h // s, s, w // s, s).permute(0, 3, 5, 1, 2, 4)
    return x.reshape(n, c * s**2, h // s, w // s)
