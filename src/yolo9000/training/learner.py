"""A network in training: its weights, its optimizer, and how far it has come."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils import clip_grad_norm_, convert_conv2d_weight_memory_format

from yolo9000.architectures.layers import Architecture
from yolo9000.architectures.torch import Network, SplitNetwork
from yolo9000.architectures.weights import Model, has_wide_head
from yolo9000.data.batching import Batch, batch_of
from yolo9000.errors import ConfigError
from yolo9000.io.memory import available_memory
from yolo9000.training.distributed import World, sync_batch_norm
from yolo9000.training.features import FeatureCache
from yolo9000.training.initialize import Initial
from yolo9000.training.loader import BatchLoader
from yolo9000.training.optimizer import (
    make_optimizer,
    moving_average,
    optimizer_tensors,
    restore_optimizer,
    set_lr,
)
from yolo9000.training.recipe import FeatureSettings, Recipe
from yolo9000.training.schedule import lr
from yolo9000.training.tasks.base import Losses, PseudoBox, Task

__all__ = ["Learner", "StepResult", "total_steps"]


@dataclass(frozen=True)
class StepResult:
    """The losses and the gradient of one step.

    Attributes:
        step: number of the step, from 1.
        epoch: passes over the images after it.
        lr: the learning rate.
        losses: ``total`` and each of its terms: means over the images of the batch.
        grad_norm: norm of the gradient before clipping.
        size_wh: width and height of the input.
        batches: the parts of the batch that this process trained on.
        pseudo_boxes: which boxes were trained on the image-level labels.
    """

    step: int
    epoch: float
    lr: float
    losses: dict[str, float]
    grad_norm: float
    size_wh: tuple[int, int]
    batches: tuple[Batch, ...]
    pseudo_boxes: tuple[PseudoBox, ...]


class Learner:
    """The network and its optimizer, one step after the other.

    Attributes:
        task: classification or detection.
        recipe: how the network is trained.
        world: the processes that train together.
        network: the weights.
        step: number of steps done.
        total_steps: number of steps of the whole training; None: it ends after a time.
        precision: type that convolutions are computed in; weights are float32.
        frozen: indices of the layers that are not trained.
        features: cache of what the frozen layers compute; None: they compute it each time.
    """

    def __init__(
        self,
        task: Task,
        recipe: Recipe,
        world: World,
        initial: Initial,
        precision: torch.dtype,
        feature_folder: Path | None = None,
    ) -> None:
        """Prepare the first step.

        Args:
            task: classification or detection.
            recipe: how the network is trained.
            world: the processes that train together.
            initial: the initial weights.
            precision: type that convolutions are computed in.
            feature_folder: for a cache of features on disk.

        Raises:
            ConfigError: layers that have not been transferred are to be frozen.
        """
        self.task = task
        self.recipe = recipe
        self.world = world
        self.precision = precision
        self.step = 0
        self._lr = self._progress = 0.0
        self.total_steps = total_steps(recipe, len(task.samples))
        self.frozen = frozen_layers(recipe.freeze, task.architecture, initial.transferred)
        self.network = _on_device(Network(task.architecture), initial.model, recipe, world)
        self.network.freeze(self.frozen)
        self._splits_head = has_wide_head(task.architecture)
        self._parallel = world.parallel(SplitNetwork(self.network) if self._splits_head else self.network)
        if recipe.compile:
            self._parallel.compile()
        self._optimizer = make_optimizer(list(self.network.layers), recipe.optimizer, initial.transferred)
        self._average = moving_average(self.network, recipe.ema_decay) if recipe.ema_decay else None

        self.features = (
            None if recipe.features is None or not self.frozen else self._feature_cache(recipe.features, feature_folder)
        )

    def _feature_cache(self, settings: FeatureSettings, folder: Path | None) -> FeatureCache:
        return FeatureCache(
            self.network,
            self.frozen,
            precision=self.precision,
            device=self.world.device,
            threads=torch.get_num_threads(),
            max_bytes=max_cache_bytes(settings),
            folder=folder if settings.on_disk else None,
        )

    @property
    def epoch(self) -> float:
        """Passes over the images so far."""
        return self._epoch_of(self.step)

    @property
    def evaluated_network(self) -> Network:
        """The network that is evaluated and saved: the moving average, if there is one."""
        if self._average is None:
            return self.network
        network = self._average.module
        assert isinstance(network, Network)  # noqa: S101  for the type checker: it is a copy of one
        return network

    def prepare_step(self, progress: float) -> None:
        """Set the learning rate and the weights of the loss of the next step.

        Args:
            progress: fraction of the training that is done after it.
        """
        self._progress = progress
        self._lr = lr(self.recipe.optimizer, self.step + 1, progress, self._epoch_of(self.step + 1))
        set_lr(self._optimizer, self._lr)

    def backward(self, loader: BatchLoader) -> StepResult:
        """Compute the loss of the next step's batch and its gradient, clipped, part by part."""
        self._optimizer.zero_grad()
        sums: dict[str, Tensor] = {}
        batches: list[Batch] = []
        pseudo_boxes: list[PseudoBox] = []
        for part in range(self.recipe.accumulate):
            batch, features = self._next(loader)
            batches.append(batch)
            with self._without_exchange(last=part == self.recipe.accumulate - 1):
                losses = self._backward_part(batch, features)
            for name, value in {"total": losses.total.detach(), **losses.terms}.items():
                sums[name] = sums.get(name, 0) + value
            pseudo_boxes += losses.pseudo_boxes
        return StepResult(
            step=self.step + 1,
            epoch=self._epoch_of(self.step + 1),
            lr=self._lr,
            losses=self._means(sums),
            grad_norm=self._clip_gradients(),
            size_wh=batches[0].size_wh,
            batches=tuple(batches),
            pseudo_boxes=tuple(pseudo_boxes),
        )

    def update(self) -> None:
        """Update the weights and their moving average."""
        self._optimizer.step()
        if self._average is not None:
            self._average.update_parameters(self.network)
        self.step += 1

    def tensors(self) -> dict[str, Tensor]:
        """All that training changes, but the step."""
        return {
            **_with_prefix("network.", self.network.state_dict()),
            **_with_prefix("optimizer.", dict(optimizer_tensors(self._optimizer))),
            **(_with_prefix("average.", self._average.state_dict()) if self._average is not None else {}),
        }

    def restore(self, step: int, tensors: dict[str, Tensor]) -> None:
        """Return to the state that `tensors` gave after a step."""
        self.step = step
        self.network.load_state_dict(_without_prefix("network.", tensors))
        restore_optimizer(self._optimizer, _without_prefix("optimizer.", tensors))
        if self._average is not None:
            self._average.load_state_dict(_without_prefix("average.", tensors))

    def _epoch_of(self, step: int) -> float:
        return step * self.recipe.batch / len(self.task.samples)

    def _next(self, loader: BatchLoader) -> tuple[Batch, dict[int, Tensor]]:
        """The next part of the batch, and the outputs of the frozen layers if they are cached."""
        part = loader.next()
        if self.features is None:
            return batch_of(part.images, part.examples), {}
        return self.features.complete(part)

    def _backward_part(self, batch: Batch, features: dict[int, Tensor]) -> Losses:
        """Add the gradient of a part of the batch, and return its loss."""
        device = self.world.device
        with torch.autocast(device.type, self.precision, enabled=self.precision != torch.float32):
            output = self._parallel(None if features else self._pixels(batch), given=features)
        losses = self.task.loss(
            output if self._splits_head else output[0],
            batch,
            images_seen=(self.step + 1) * self.recipe.batch,
            progress=self._progress,
        )
        # The mean over the batch; gradients are averaged over the processes afterwards, hence their number.
        (losses.total * (self.world.size / self.recipe.batch)).backward()
        return losses

    def _pixels(self, batch: Batch) -> Tensor:
        images = torch.from_numpy(batch.images).to(self.world.device, non_blocking=True)
        return images.permute(0, 3, 1, 2).float().div_(255)

    def _without_exchange(self, *, last: bool) -> AbstractContextManager[None]:
        """Processes exchange gradients once a step, after the last part of the batch."""
        if isinstance(self._parallel, DistributedDataParallel) and not last:
            return self._parallel.no_sync()
        return nullcontext()

    def _means(self, sums: dict[str, Tensor]) -> dict[str, float]:
        values = self.world.sum(torch.stack([value.float() for value in sums.values()]))
        return dict(zip(sums, (values / self.recipe.batch).tolist(), strict=True))

    def _clip_gradients(self) -> float:
        """Clip the gradient to the recipe's largest norm, and return the norm before."""
        limit = self.recipe.optimizer.grad_clip
        return float(clip_grad_norm_(self.network.parameters(), torch.inf if limit is None else limit))


def max_cache_bytes(settings: FeatureSettings) -> int:
    """The largest size of a cache of features; see `FeatureSettings`."""
    if settings.max_gib is not None:
        return round(settings.max_gib * 2**30)
    available = available_memory()
    return 2**30 if available is None else available // 4


def total_steps(recipe: Recipe, images: int) -> int | None:
    """Number of steps of a training on that number of images; None: it ends after a time."""
    return -(-round(recipe.epochs * images) // recipe.batch) if recipe.minutes is None else None


def frozen_layers(
    freeze: int | list[tuple[int, int]] | str | None, architecture: Architecture, transferred: int
) -> frozenset[int]:
    """The indices of the frozen layers.

    Args:
        freeze: see `Recipe`.
        architecture: the network.
        transferred: number of layers whose weights were transferred.

    Raises:
        ConfigError: the network has fewer layers, or some of them would be frozen as they were drawn at random.
    """
    layers = len(architecture.body)
    match freeze:
        case None:
            return frozenset()
        case str():
            return frozenset(range(transferred))
        case list():
            frozen = frozenset(index for first, last in freeze for index in range(first, last + 1))
        case _:
            frozen = frozenset(range(layers + freeze if freeze < 0 else freeze))
    count = max(frozen, default=-1) + 1
    if count >= layers or (isinstance(freeze, int) and freeze < -layers):
        raise ConfigError(f"freeze must be less than the network's {layers} layers, got {freeze}")
    if count > transferred:
        raise ConfigError(
            f"freeze must be at most the {transferred} layers whose weights were transferred from start, got {count}"
        )
    return frozen


def _on_device(network: Network, model: Model, recipe: Recipe, world: World) -> Network:
    network.load(model)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = recipe.batch_norm_momentum
    if recipe.sync_bn and world.size > 1:
        sync_batch_norm(network)
    network.to(world.device)
    return convert_conv2d_weight_memory_format(network, torch.channels_last).train()


def _with_prefix(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {prefix + name: value for name, value in tensors.items()}


def _without_prefix(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
