"""The optimizer and the moving average of the weights, with states that can be saved and restored."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.optim import SGD, AdamW, Optimizer
from torch.optim.swa_utils import AveragedModel

from yolo9000.training.recipe import OptimizerSettings

__all__ = ["make_optimizer", "moving_average", "optimizer_tensors", "restore_optimizer", "set_lr"]


LR_FACTOR = "lr_factor"


def make_optimizer(layers: Sequence[nn.Module], settings: OptimizerSettings, transferred: int = 0) -> Optimizer:
    """The optimizer; weight decay applies to kernels only. Darknet: src/convolutional_layer.c.

    Args:
        layers: of the network; parameters that need no gradient are left out.
        settings: of the optimizer.
        transferred: number of layers from the first on whose learning rate is multiplied by ``transferred_lr``.
    """
    groups = [
        {"params": parameters, "weight_decay": decay, LR_FACTOR: factor}
        for part, factor in ((layers[:transferred], settings.transferred_lr), (layers[transferred:], 1.0))
        for parameters, decay in _by_decay(part, settings.weight_decay)
        if parameters
    ]
    if settings.name == "sgd":
        return SGD(groups, lr=settings.lr, momentum=settings.momentum)
    return AdamW(groups, lr=settings.lr, betas=(settings.momentum, 0.999), fused=True)


def _by_decay(layers: Sequence[nn.Module], decay: float) -> tuple[tuple[list[nn.Parameter], float], ...]:
    trained = [p for layer in layers for p in layer.parameters() if p.requires_grad]
    return ([p for p in trained if p.dim() > 1], decay), ([p for p in trained if p.dim() <= 1], 0.0)


def set_lr(optimizer: Optimizer, lr: float) -> None:
    """Set the learning rate, times the factor of each group of parameters."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group[LR_FACTOR]


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
    """The inverse of `optimizer_tensors`, in place.

    A fused optimizer reads a parameter and its state in the order of memory, so both must lie in it alike.
    """
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        index, key = name.split(".", 1)
        parameter = parameters[int(index)]
        alike = torch.empty_like(parameter).copy_(value) if value.shape == parameter.shape else value
        state.setdefault(int(index), {})[key] = alike
    optimizer.load_state_dict(optimizer.state_dict() | {"state": state})
