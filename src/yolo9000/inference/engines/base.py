"""What every engine is: a class that loads a model and runs its network."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float32

from yolo9000.checkpoints.model import LoadedModel
from yolo9000.choices import Precision

__all__ = ["Engine", "EngineClass", "Precision", "available_cores"]


@runtime_checkable
class Engine(Protocol):
    """Runs one network.

    Attributes:
        name: of the engine.
        precision: what it computes in: ``float32``, ``bfloat16``, or ``int8`` for a quantized file.
    """

    name: str
    precision: str

    def parallel(self, workers: int) -> Engine:
        """The same network, run by several threads at once: throughput, where one call at a time is latency.

        Args:
            workers: number of threads that will call `run`; each call computes on its thread's part of the cores.
        """
        ...

    def run(self, images: Float32[np.ndarray, "n 3 h w"]) -> tuple[Float32[np.ndarray, "n _ gh gw"], ...]:
        """The network's outputs for a batch.

        Args:
            images: RGB in [0, 1]; H and W multiples of the network's stride.

        Returns:
            (head,), or (boxes, features) where the class rows are kept apart; see `checkpoints.model`. New arrays,
            which later calls do not change.
        """
        ...


class EngineClass(Protocol):
    """How an engine is made."""

    def __call__(self, model: LoadedModel, device: str, precision: Precision, threads: int) -> Engine:
        """Load a model.

        Args:
            model: the model.
            device: ``cpu`` and whatever else the engine knows.
            precision: what to compute in, ``float32`` or ``bfloat16``.
            threads: number of CPU threads.

        Raises:
            EngineError: the engine cannot run such a model, or has no such device or precision.
        """
        ...


CGROUP_QUOTAS = (("cpu.max",), ("cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us"))  # of version 2, and 1


def available_cores(cgroup: Path = Path("/sys/fs/cgroup")) -> int:
    """Number of CPU cores that this process may use: by its affinity, and by the quota of its container.

    Args:
        cgroup: where Linux shows the quota.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min([cores, *(max(1, math.ceil(quota)) for quota in _quotas(cgroup))])


def _quotas(cgroup: Path) -> Iterator[float]:
    for files in CGROUP_QUOTAS:
        with suppress(OSError, ValueError):  # no such file; or ``max``, which is no limit
            quota, period = (float(word) for file in files for word in (cgroup / file).read_text().split())
            if quota > 0:  # version 1 says -1 where there is no limit
                yield quota / period
