"""Training in one process or in several.

``torchrun`` starts the processes and describes them in the environment; without it there is one.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.distributed_c10d import PrefixStore, Store
from torch.distributed.rendezvous import rendezvous
from torch.nn.parallel import DistributedDataParallel

from yolo9000.errors import ConfigError

__all__ = ["SyncBatchNorm", "World", "join_world", "restarts", "sync_batch_norm"]

TIMEOUT = timedelta(minutes=30)  # the longest evaluation, which the first process does alone


@dataclass(frozen=True)
class World:
    """The processes that train together.

    Attributes:
        rank: of this process; rank 0 writes files and evaluates.
        size: number of processes.
        device: of this process.
    """

    rank: int
    size: int
    device: torch.device

    @property
    def first(self) -> bool:
        """Whether this is rank 0, which writes files."""
        return self.rank == 0

    def parallel(self, network: nn.Module) -> nn.Module:
        """The network for training in all processes: gradients are averaged over the processes."""
        if self.size == 1:
            return network
        devices = [self.device] if self.device.type == "cuda" else None
        return DistributedDataParallel(network, device_ids=devices)

    def sum(self, values: Tensor) -> Tensor:
        """The sum over the processes."""
        if self.size > 1:
            dist.all_reduce(values)
        return values

    def any(self, flag: bool) -> bool:
        """Whether the flag is set in any process."""
        return bool(self.sum(torch.tensor(float(flag), device=self.device)) > 0) if self.size > 1 else flag

    def wait(self) -> None:
        """Wait for all processes."""
        if self.size > 1:
            dist.barrier()


@contextmanager
def join_world(device: str) -> Iterator[World]:
    """Join the other processes, if ``torchrun`` started any: over NCCL on GPUs, gloo on CPUs.

    Args:
        device: ``auto`` (a GPU if there is one), ``cpu``, ``cuda``, ``cuda:1``.

    Raises:
        ConfigError: the device is not available.
    """
    size, rank, local = (int(os.environ.get(name, default)) for name, default in _ENVIRONMENT)
    world = World(rank, size, _device(device, local if size > 1 else None))
    if size > 1:
        backend = "nccl" if world.device.type == "cuda" else "gloo"
        dist.init_process_group(backend, store=_store(), rank=rank, world_size=size, timeout=TIMEOUT)
    try:
        yield world
    finally:
        if size > 1:
            dist.destroy_process_group()


def _store() -> Store:
    """Where the processes tell each other their addresses: one for each start.

    ``torchrun`` keeps the addresses of processes that have ended, which those that it starts again would try.
    """
    store, _, _ = next(rendezvous("env://", timeout=TIMEOUT))
    return PrefixStore(f"restart_{restarts()}", store)


def restarts() -> int:
    """How often ``torchrun`` has started the processes again, since one of them had ended."""
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"))


_ENVIRONMENT = (("WORLD_SIZE", "1"), ("RANK", "0"), ("LOCAL_RANK", "0"))


def _device(name: str, local_rank: int | None) -> torch.device:
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ConfigError(f"must be auto, cpu, cuda or cuda:N, got {name!r}", argument="device") from None
    if device.type == "cpu":
        return device
    if device.type != "cuda" or not torch.cuda.is_available():
        raise ConfigError(f"{name!r} is not available: torch finds no such device", argument="device")
    index = local_rank if device.index is None else device.index
    device = torch.device("cuda", index or 0)
    if (device.index or 0) >= torch.cuda.device_count():
        raise ConfigError(f"must be below cuda:{torch.cuda.device_count()}, got {name!r}", argument="device")
    torch.cuda.set_device(device)
    return device


def sync_batch_norm(network: nn.Module) -> None:
    """Let every batch norm of the network see the images of all processes."""
    for module in network.modules():
        for name, child in module.named_children():
            if isinstance(child, nn.BatchNorm2d):
                setattr(module, name, SyncBatchNorm.like(child))


class SyncBatchNorm(nn.BatchNorm2d):
    """Batch norm whose mean and variance are those of the images of all processes.

    torch's own works on GPUs only. All processes must have batches of one size.
    """

    @classmethod
    def like(cls, norm: nn.BatchNorm2d) -> SyncBatchNorm:
        """One with the parameters and statistics of another."""
        new = cls(norm.num_features, norm.eps, norm.momentum)
        new.load_state_dict(norm.state_dict())
        return new

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W), of the same type."""
        if not self.training:
            return super().forward(x)
        mean, variance, count = _statistics(x.float())
        self._remember(mean.detach(), variance.detach(), count)
        factor = self.weight * torch.rsqrt(variance + self.eps)
        shift = self.bias - mean * factor
        return (x * factor[:, None, None] + shift[:, None, None]).to(x.dtype)

    @torch.no_grad()
    def _remember(self, mean: Tensor, variance: Tensor, count: int) -> None:
        assert self.running_mean is not None and self.running_var is not None  # noqa: S101, PT018  for the type checker
        self.running_mean.lerp_(mean, self.momentum or 0.0)
        self.running_var.lerp_(variance * count / (count - 1), self.momentum or 0.0)


def _statistics(x: Tensor) -> tuple[Tensor, Tensor, int]:
    """Mean and biased variance of each channel over all processes, and the number of values."""
    world = dist.get_world_size()
    mean = _mean_over_processes(x.mean((0, 2, 3)))
    variance = _mean_over_processes((x - mean[:, None, None]).square().mean((0, 2, 3)))
    return mean, variance, world * x.numel() // x.shape[1]


def _mean_over_processes(values: Tensor) -> Tensor:
    mean: Tensor = _Mean.apply(values)  # type: ignore[no-untyped-call]
    return mean


class _Mean(torch.autograd.Function):
    """The mean over the processes; the gradient of each is the mean of the gradients of all."""

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, values: Tensor) -> Tensor:
        """The mean over the processes."""
        values = values.clone()
        dist.all_reduce(values)
        return values / dist.get_world_size()

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, *gradients: Tensor) -> Tensor:
        """The mean of the gradients over the processes."""
        gradient = gradients[0].clone()
        dist.all_reduce(gradient)
        return gradient / dist.get_world_size()
