"""Measure subjects: each in a process of its own, one step of each in every round.

A noisy machine is then noisy for all, memory is that of one subject, and no library's waiting threads slow another's.
"""

from __future__ import annotations

import multiprocessing
import os
import statistics
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from yolo9000.bench.subjects import Subject, start
from yolo9000.errors import YoloError

__all__ = ["Measured", "measure"]

STEPS_A_ROUND = 3  # in a row, as users do: what one step leaves behind slows the next


@dataclass
class Measured:
    """What was measured of one subject.

    Attributes:
        subject: the subject.
        problem: why it could not be measured; then nothing else is known.
        load_s: from the imports to a model that is ready.
        first_s: the first step.
        steps_s: each further step.
        peak_mb: the most memory that its process had.
        difference: largest difference of an anchor's objectness from that of the first subject; None if shapes differ.
    """

    subject: Subject
    problem: str = ""
    load_s: float = 0.0
    first_s: float = 0.0
    steps_s: list[float] = field(default_factory=list)
    peak_mb: float | None = None
    difference: float | None = None

    @property
    def median_ms(self) -> float:
        """Of a batch."""
        return 1e3 * statistics.median(self.steps_s)

    @property
    def p90_ms(self) -> float:
        """Of a batch."""
        return 1e3 * float(np.quantile(self.steps_s, 0.9))

    @property
    def images_per_s(self) -> float:
        """At the median."""
        return 1e3 * self.subject.batch / self.median_ms


def measure(subjects: Sequence[Subject], rounds: int) -> list[Measured]:
    """Measure subjects that do the same work. One that fails is reported, and the others are measured.

    Args:
        subjects: the first is the one that the others' results are compared with.
        rounds: of `STEPS_A_ROUND` steps each.
    """
    with ExitStack() as stack:
        workers = [stack.enter_context(_Worker(subject)) for subject in subjects]
        for _ in range(rounds):
            for worker in workers:
                worker.step()
        objectness = [worker.finish() for worker in workers]
    reference = next((values for values in objectness if values is not None), None)
    for worker, values in zip(workers, objectness, strict=True):
        if values is not None and reference is not None and values.shape == reference.shape:
            worker.measured.difference = float(np.abs(values - reference).max())
    return [worker.measured for worker in workers]


class _Worker:
    """A process that runs one subject."""

    def __init__(self, subject: Subject) -> None:
        self.measured = Measured(subject)
        context = multiprocessing.get_context("spawn")
        self._connection, there = context.Pipe()
        self._process = context.Process(target=_serve, args=(subject, there), daemon=True)
        self._process.start()
        there.close()
        self._take(self._receive())

    def __enter__(self) -> _Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()
        self._process.join()

    def _take(self, values: dict[str, Any]) -> None:
        for name, value in values.items():
            setattr(self.measured, name, value)

    def _receive(self) -> Any:
        try:
            return self._connection.recv()
        except EOFError:
            self._process.join()
            return {"problem": f"its process ended with {self._process.exitcode}"}

    def step(self) -> None:
        if not self.measured.problem:
            self._connection.send("step")
            answer = self._receive()
            if isinstance(answer, dict):
                self._take(answer)
            else:
                self.measured.steps_s += answer

    def finish(self) -> np.ndarray | None:
        if self.measured.problem:
            return None
        self._connection.send("finish")
        answer = self._receive()
        objectness: np.ndarray | None = answer.pop("objectness", None)
        self._take(answer)
        return objectness


def _serve(subject: Subject, connection: Connection) -> None:
    """Start a subject, and run steps whenever asked."""
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # Darknet prints its layers, which are no part of the tables
    try:
        began = time.perf_counter()
        running = start(subject)
        load_s = time.perf_counter() - began
        connection.send({"load_s": load_s, "first_s": _seconds_of(running.step)})
        while (request := connection.recv()) == "step":
            connection.send([_seconds_of(running.step) for _ in range(STEPS_A_ROUND)])
        if request == "finish":
            connection.send({"peak_mb": _peak_mb(), "objectness": running.objectness()})
    except EOFError:  # the other side has ended
        pass
    except (YoloError, ImportError) as error:
        connection.send({"problem": str(error)})
    except Exception as error:  # a peer may raise anything
        connection.send({"problem": f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"})


def _seconds_of(step: Any) -> float:
    began = time.perf_counter()
    step()
    return time.perf_counter() - began


def _peak_mb() -> float | None:
    if sys.platform == "linux":  # there `getrusage` begins with the memory of the process that started this one
        status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
        return int(status["VmHWM"].split()[0]) / 2**10
    if sys.platform == "win32":
        return None
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)
