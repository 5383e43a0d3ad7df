"""The time of a training: how much has passed and, of one that ends after a time, when to evaluate and when to stop."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from yolo9000.training.distributed import World

__all__ = ["Clock"]

EVALUATIONS = 4  # at equal parts of the time
EVALUATING = 0.2  # fraction of the time that evaluations may take before the last one


class Clock:
    """The time of a training.

    Attributes:
        progress: fraction of the time that is over, less what the last evaluation will take; 0 without a limit.
        is_due: whether an evaluation is due since the time was last taken.
    """

    def __init__(self, minutes: float | None, world: World) -> None:
        """Start the clock.

        Args:
            minutes: time to train for, evaluations included; None: no limit.
            world: the processes that train together; all go by the clock of the first.
        """
        self.progress = 0.0
        self.is_due = False
        self._limit = None if minutes is None else 60 * minutes
        self._world = world
        self._started = time.perf_counter()
        self._evaluation = self._evaluations = 0.0

    def elapsed(self) -> float:
        """Seconds since the start, including those before the run was resumed."""
        return time.perf_counter() - self._started

    def set(self, elapsed: float) -> None:
        """Go on from a time."""
        self._started = time.perf_counter() - elapsed
        self.take()

    def take(self) -> None:
        """Take the time: the same in all processes."""
        if self._limit is None:
            return
        before, left = self.progress, self._limit - self._evaluation
        passed = self.elapsed() / left if left > 0 else 1.0
        shared = torch.tensor(passed if self._world.first else 0.0, device=self._world.device)
        self.progress = max(before, min(1.0, float(self._world.sum(shared))))
        self.is_due = int(EVALUATIONS * self.progress) > int(EVALUATIONS * before) and self._can_evaluate()

    def _can_evaluate(self) -> bool:
        """Whether the time allows another evaluation, if this is not the last one; asked by the first process."""
        assert self._limit is not None  # noqa: S101  `take` checks
        affordable = self._evaluations + self._evaluation <= EVALUATING * self._limit
        return self._world.any(self._world.first and affordable) or self.progress >= 1

    @contextmanager
    def evaluation(self) -> Iterator[None]:
        """Count the time of an evaluation."""
        before = self.elapsed()
        yield
        self._evaluation = self.elapsed() - before
        self._evaluations += self._evaluation
