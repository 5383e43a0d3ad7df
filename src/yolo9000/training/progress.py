"""The progress of a training: a line that is updated on a terminal, otherwise a line every 30 seconds."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Column

__all__ = ["ProgressLine"]

EVERY, UPDATE_EVERY = 30.0, 0.5  # seconds between plain lines; between updates on a terminal
RECENT = 50  # number of steps that losses and speed are averaged over
STATM = Path("/proc/self/statm")  # Linux


@dataclass(frozen=True)
class _Step:
    """The time after a step, seconds waited for images until then, and its losses."""

    clock: float
    waited: float
    losses: Mapping[str, float]


class ProgressLine:
    """The progress of a training; a context, in which lines are written with `write`.

    Speed, waiting and losses are means over the last 50 steps; the remaining time follows from all steps of this
    process, including evaluations.
    """

    def __init__(
        self, console: Console, step: int, total_steps: int, batch: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Start the clock.

        Args:
            console: to write to.
            step: steps that a resumed run has done before.
            total_steps: of the whole training.
            batch: images a step.
            clock: in seconds, from any origin.
        """
        self._console = console
        self._first, self.total_steps, self._batch = step, total_steps, batch
        self._clock = clock
        self._began = self._shown_at = clock()
        self._recent = deque([_Step(self._began, 0.0, {})], maxlen=RECENT + 1)
        line = TextColumn("{task.description}", markup=False, table_column=Column(overflow="fold"))
        columns = (BarColumn(bar_width=20), line)
        # Without rich's thread that refreshes the line: processes that are forked beside threads may hang.
        bar = Progress(*columns, console=console, transient=True, auto_refresh=False)
        self._bar = bar if console.is_terminal else None
        self._every = UPDATE_EVERY if self._bar else EVERY
        self._task = self._bar.add_task("", total=total_steps, completed=step) if self._bar else None

    def __enter__(self) -> ProgressLine:
        if self._bar:
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar:
            self._bar.stop()

    def write(self, line: str) -> None:
        """Write a line above the progress line."""
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)

    def step_done(
        self, step: int, epoch: float, losses: Mapping[str, float], waited: float, gpu_bytes: int | None = None
    ) -> None:
        """Show how far training has come.

        Args:
            step: steps done.
            epoch: passes over the images.
            losses: ``total`` and its terms.
            waited: seconds that this process has waited for images.
            gpu_bytes: memory in use on the GPU; None: no GPU.
        """
        now = self._clock()
        self._recent.append(_Step(now, waited, losses))
        if now - self._shown_at < self._every:
            return
        self._shown_at = now
        line = self._line(step, epoch, gpu_bytes)
        if self._bar and self._task is not None:
            self._bar.update(self._task, completed=step, total=self.total_steps, description=line, refresh=True)
        else:
            self.write(line)

    def _line(self, step: int, epoch: float, gpu_bytes: int | None) -> str:
        seconds = max(self._recent[-1].clock - self._recent[0].clock, 1e-9)
        waited = self._recent[-1].waited - self._recent[0].waited
        pace = (self._recent[-1].clock - self._began) / (step - self._first)
        memory = {"memory": _resident_bytes(), "GPU": gpu_bytes}
        return ", ".join(
            [
                f"step {step:,} of {self.total_steps:,}",
                f"epoch {epoch:.2f}",
                f"loss {self._losses()}",
                f"{(len(self._recent) - 1) * self._batch / seconds:.1f} images/s",
                f"{waited / seconds:.0%} waiting",
                f"{timedelta(seconds=round(pace * (self.total_steps - step)))} left",
                *(f"{name} {size / 2**30:.1f} GiB" for name, size in memory.items() if size is not None),
            ]
        )

    def _losses(self) -> str:
        done = [step.losses for step in self._recent if step.losses]
        means = {name: sum(losses[name] for losses in done) / len(done) for name in done[-1]}
        parts = " + ".join(f"{name} {value:.2f}" for name, value in means.items() if name != "total")
        return f"{means['total']:.2f} = {parts}"


def _resident_bytes() -> int | None:
    """Memory of this process; None where the system does not report it."""
    try:
        return int(STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return None
