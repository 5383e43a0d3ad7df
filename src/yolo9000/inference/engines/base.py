"""What every engine is: a class that loads a model and runs its network."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float32

from yolo9000.checkpoints.model import LoadedModel
from yolo9000.choices import Precision

__all__ = ["Engine", "EngineClass", "Precision"]


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
