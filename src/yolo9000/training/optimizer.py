"""The optimizer and the moving average of the weights, with states that can be saved and restored."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.optim import SGD, AdamW, Optimizer
from torch.optim.swa_utils import AveragedModel

from yolo9000.training.recipe import OptimizerSettings

__all__ = ["make_optimizer", "moving_average", "optimizer_tensors", "restore_optimizer"]


def make_optimizer(network: nn.Module, settings: OptimizerSettings) -> Optimizer:
    """The optimizer; weight decay applies to kernels only. Darknet: src/convolutional_layer.c."""
    kernels = [p for p in network.parameters() if p.dim() > 1]
    others = [p for p in network.parameters() if p.dim() <= 1]
    groups = [{"params": kernels, "weight_decay": settings.weight_decay}, {"params": others, "weight_decay": 0.0}]
    if settings.name == "sgd":
        return SGD(groups, lr=settings.lr, momentum=settings.momentum)
    return AdamW(groups, lr=settings.lr, betas=(settings.momentum, 0.999))


def moving_average(network: nn.Module, decay: float) -> AveragedModel:
    """The exponential moving average of weights and batch norm statistics: decay x average + (1 - decay) x weights.

    In the first steps the decay is smaller, (1 + n) / (10 + n) after n steps, so that the initial weights are soon
    forgotten.
    """

    @torch.no_grad()
    def update(averages: Sequence[Tensor], values: Sequence[Tensor], steps: Tensor | int) -> None:
        weight = 1 - min(decay, (1 + int(steps)) / (10 + int(steps)))
        for average, value in zip(averages, values, strict=True):
            if average.is_floating_point():
                average.lerp_(value, weight)
            else:
                average.copy_(value)

    return AveragedModel(network, multi_avg_fn=update, use_buffers=True)


def optimizer_tensors(optimizer: Optimizer) -> Iterator[tuple[str, Tensor]]:
    """The optimizer's state by name: the index of the parameter and the key of the value, ``3.exp_avg``."""
    for index, state in optimizer.state_dict()["state"].items():
        for key, value in state.items():
            if value is not None:
                yield f"{index}.{key}", value


def restore_optimizer(optimizer: Optimizer, tensors: dict[str, Tensor]) -> None:
    """The inverse of `optimizer_tensors`."""
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        index, key = name.split(".", 1)
        state.setdefault(int(index), {})[key] = value
    optimizer.load_state_dict(optimizer.state_dict() | {"state": state})
