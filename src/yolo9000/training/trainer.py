"""A network in training: its weights, what the optimizer remembers, and how far it has come."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils import clip_grad_norm_, convert_conv2d_weight_memory_format, get_total_norm
from torch.optim import SGD, AdamW, Optimizer
from torch.optim.swa_utils import AveragedModel

from yolo9000.architectures.torch import Network
from yolo9000.architectures.weights import Model
from yolo9000.data.batching import Batch
from yolo9000.training.distributed import synchronise_batch_norm
from yolo9000.training.loader import Feed, Plan
from yolo9000.training.recipe import OptimizerSettings, Recipe
from yolo9000.training.schedule import lr
from yolo9000.training.tasks.base import Losses, PseudoBox, Task

__all__ = ["Progress", "Training"]


@dataclass(frozen=True)
class Progress:
    """What a step came to.

    Attributes:
        step: its number, 1 for the first.
        epoch: how often all images have been seen after it.
        rate: the learning rate.
        losses: the loss as ``total`` and each part of it: means over the batch's images.
        gradient_norm: of the batch's gradient, before it is clipped.
        size_wh: width and height of the input.
        batches: what this process trained in it.
        pseudo: which boxes the images with image-level labels among those taught.
    """

    step: int
    epoch: float
    rate: float
    losses: dict[str, float]
    gradient_norm: float
    size_wh: tuple[int, int]
    batches: tuple[Batch, ...]
    pseudo: tuple[PseudoBox, ...]


class Training:
    """What the training loop moves forward.

    Attributes:
        task: what is learnt.
        recipe: how.
        plan: which images each step trains.
        network: the weights.
        step: steps done.
        total_steps: steps to do.
        precision: what convolutions are computed in; weights are float32.
    """

    def __init__(self, task: Task, recipe: Recipe, plan: Plan, model: Model, precision: torch.dtype) -> None:
        self.task = task
        self.recipe = recipe
        self.plan = plan
        self.precision = precision
        self.step = 0
        self.total_steps = -(-round(recipe.epochs * len(task.samples)) // recipe.batch)
        self.network = _prepared(Network(task.architecture), model, recipe, plan)
        self._trained = plan.world.fraction(self.network)
        if recipe.compile:
            self._trained.compile()
        self._optimizer = make_optimizer(self.network, recipe.optimizer)
        self._average = running_mean(self.network, recipe.average) if recipe.average else None

    @property
    def epoch(self) -> float:
        """How often all images have been seen."""
        return self.step * self.recipe.batch / len(self.task.samples)

    @property
    def scored(self) -> Network:
        """The network that is scored and kept: the running mean, if there is one."""
        if self._average is None:
            return self.network
        network = self._average.module
        assert isinstance(network, Network)  # noqa: S101  for the type checker: it is a copy of one
        return network

    def set_rate(self) -> None:
        """Set the learning rate of the coming step."""
        rate = lr(self.recipe.optimizer, self.step + 1, self.total_steps, self.recipe.epochs)
        for group in self._optimizer.param_groups:
            group["lr"] = rate

    def backward(self, feed: Feed) -> Progress:
        """The loss of the coming step's batch and its gradient, part by part."""
        self._optimizer.zero_grad()
        sums: dict[str, Tensor] = {}
        batches: list[Batch] = []
        pseudo: list[PseudoBox] = []
        for part in range(self.recipe.accumulate):
            batch = feed.next()
            batches.append(batch)
            with self._gradients_apart(last=part == self.recipe.accumulate - 1):
                losses = self._backward_part(batch)
            for name, value in {"total": losses.total.detach(), **losses.parts}.items():
                sums[name] = sums.get(name, 0) + value
            pseudo += losses.pseudo
        return Progress(
            step=self.step + 1,
            epoch=(self.step + 1) * self.recipe.batch / len(self.task.samples),
            rate=self._optimizer.param_groups[0]["lr"],
            losses=self._means(sums),
            gradient_norm=self._gradient_norm(),
            size_wh=batches[0].size_wh,
            batches=tuple(batches),
            pseudo=tuple(pseudo),
        )

    def _backward_part(self, batch: Batch) -> Losses:
        """The gradient of a part of the batch, added to what is there; its loss."""
        device = self.plan.world.device
        images = torch.from_numpy(batch.images).to(device, non_blocking=True).permute(0, 3, 1, 2).float().div_(255)
        with torch.autocast(device.type, self.precision, enabled=self.precision != torch.float32):
            (raw,) = self._trained(images)
        images_seen = (self.step + 1) * self.recipe.batch
        losses = self.task.loss(raw, batch, images_seen)
        # The mean over the batch; a mean over the processes is taken of it, hence their number.
        (losses.total * (self.plan.world.size / self.recipe.batch)).backward()
        return losses

    def _gradients_apart(self, *, last: bool) -> AbstractContextManager[None]:
        """Processes exchange gradients once a step, after the last part of the batch."""
        if isinstance(self._trained, DistributedDataParallel) and not last:
            return self._trained.no_sync()
        return nullcontext()

    def _means(self, sums: dict[str, Tensor]) -> dict[str, float]:
        values = self.plan.world.sum(torch.stack([value.float() for value in sums.values()]))
        return dict(zip(sums, (values / self.recipe.batch).tolist(), strict=True))

    def _gradient_norm(self) -> float:
        """The norm of the gradient, which is clipped where the recipe says so."""
        limit = self.recipe.optimizer.grad_clip
        if limit is not None:
            return float(clip_grad_norm_(self.network.parameters(), limit))
        return float(get_total_norm([p.grad for p in self.network.parameters() if p.grad is not None]))

    def update(self) -> None:
        """Move the weights along the gradient."""
        self._optimizer.step()
        if self._average is not None:
            self._average.update_parameters(self.network)
        self.step += 1

    def tensors(self) -> dict[str, Tensor]:
        """All that changes in training, but the step."""
        return {
            **_with_prefix("network.", self.network.state_dict()),
            **_with_prefix("optimizer.", dict(_memory_of(self._optimizer))),
            **(_with_prefix("average.", self._average.state_dict()) if self._average is not None else {}),
        }

    def restore(self, step: int, tensors: dict[str, Tensor]) -> None:
        """Go back to what `tensors` gave after so many steps."""
        self.step = step
        self.network.load_state_dict(_without_prefix("network.", tensors))
        _remember(self._optimizer, _without_prefix("optimizer.", tensors))
        if self._average is not None:
            self._average.load_state_dict(_without_prefix("average.", tensors))


def _prepared(network: Network, model: Model, recipe: Recipe, plan: Plan) -> Network:
    network.load(model)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = recipe.batch_norm_momentum
    if recipe.synchronise and plan.world.size > 1:
        synchronise_batch_norm(network)
    network.to(plan.world.device)
    return convert_conv2d_weight_memory_format(network, torch.channels_last).train()


def make_optimizer(network: nn.Module, settings: OptimizerSettings) -> Optimizer:
    """The optimizer; only kernels decay. Darknet: src/convolutional_layer.c update_convolutional_layer."""
    kernels = [p for p in network.parameters() if p.dim() > 1]
    others = [p for p in network.parameters() if p.dim() <= 1]
    groups = [{"params": kernels, "weight_decay": settings.decay}, {"params": others, "weight_decay": 0.0}]
    if settings.kind == "sgd":
        return SGD(groups, lr=settings.lr, momentum=settings.momentum)
    return AdamW(groups, lr=settings.lr, betas=(settings.momentum, 0.999))


def running_mean(network: Network, factor: float) -> AveragedModel:
    """A running mean of the network: mean = factor x mean + (1 - factor) x weights, batch norm's statistics included.

    At the beginning the factor is smaller, (1 + n) / (10 + n) after n steps, so that the first weights are soon
    forgotten.
    """

    @torch.no_grad()
    def follow(means: Sequence[Tensor], values: Sequence[Tensor], count: Tensor | int) -> None:
        fraction = 1 - min(factor, (1 + int(count)) / (10 + int(count)))
        for mean, value in zip(means, values, strict=True):
            if mean.is_floating_point():
                mean.lerp_(value, fraction)
            else:
                mean.copy_(value)

    return AveragedModel(network, multi_avg_fn=follow, use_buffers=True)


def _memory_of(optimizer: Optimizer) -> Iterator[tuple[str, Tensor]]:
    """What the optimizer remembers of each weight, by the weight's place and the name of the memory."""
    for place, memory in optimizer.state_dict()["state"].items():
        for name, value in memory.items():
            if value is not None:
                yield f"{place}.{name}", value


def _remember(optimizer: Optimizer, tensors: dict[str, Tensor]) -> None:
    """The inverse of `_memory_of`."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        place, name = key.split(".", 1)
        state.setdefault(int(place), {})[name] = value
    optimizer.load_state_dict(optimizer.state_dict() | {"state": state})


def _with_prefix(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {prefix + name: value for name, value in tensors.items()}


def _without_prefix(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
