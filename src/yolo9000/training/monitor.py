"""The log, evaluations, checkpoints and signals of a training."""

from __future__ import annotations

import json
import logging
import math
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image
from rich.console import Console

from yolo9000.checkpoints.model import LoadedModel
from yolo9000.checkpoints.safetensors import write_checkpoint
from yolo9000.errors import TrainingError
from yolo9000.inference.engines import Precision
from yolo9000.training.checkpoint import TrainingState, save_state
from yolo9000.training.clock import Clock
from yolo9000.training.learner import Learner, StepResult
from yolo9000.training.loader import BatchLoader
from yolo9000.training.logging import RunFolder
from yolo9000.training.progress import ProgressLine
from yolo9000.training.report import write_report
from yolo9000.training.signals import STOP_SIGNALS

__all__ = ["Monitor", "Notify"]

_log = logging.getLogger(__name__)

Notify = Callable[[str], None]
BATCHES_DRAWN = 3  # at the start of a run
SECONDS_BETWEEN_REPORTS = 30  # drawing the curves takes one


class Monitor:
    """The log, evaluations, checkpoints and signals of a training.

    Attributes:
        learner: what is trained.
        folder: of the run.
        notify: called with each message for the user.
        best: metrics of the best weights so far.
        start: metric of the weights that training starts with, if they know any of the classes.
        signal: number of the signal that asked the run to stop; None: none has.
        unwritten: what is only to be looked at and could not be written ("the log", "the images", "the report"), and
            why, with its file.
    """

    def __init__(self, learner: Learner, folder: RunFolder, threads: int, notify: Notify, clock: Clock) -> None:
        self.learner = learner
        self.folder = folder
        self.notify = _unfailing(notify)
        self.best: dict[str, float] = {}
        self.start: float | None = None
        self.clock = clock
        self.signal: int | None = None
        self.unwritten: dict[str, str] = {}
        self._world = learner.world
        self._threads = threads
        self._saved_step = -1
        self._without_improvement = 0
        self._shown: tuple[ProgressLine, BatchLoader] | None = None
        self._drawing: UInt8[np.ndarray, "h w 3"] | None = None
        self._reported = time.perf_counter()

    def next_progress(self) -> float:
        """The fraction of the training that is done after the next step."""
        total = self.learner.total_steps
        return self.clock.progress if total is None else (self.learner.step + 1) / total

    def is_finished(self) -> bool:
        """Whether all steps are done, the time is over, or the metrics have not improved for too long."""
        learner = self.learner
        done = self.clock.progress >= 1 if learner.total_steps is None else learner.step == learner.total_steps
        patience = learner.recipe.patience
        return done or (patience is not None and self._without_improvement >= patience)

    def check_finite(self, result: StepResult) -> None:
        """Check the loss and its gradient before the weights are updated.

        Raises:
            TrainingError: one is not finite; the batch is written out.
        """
        if all(map(math.isfinite, [*result.losses.values(), result.grad_norm])):
            return
        folder = self.folder.path / "issues" / f"step-{result.step:08}-rank-{self._world.rank}"
        write_issue(folder, result)
        losses = ", ".join(f"{name} {value:g}" for name, value in result.losses.items())
        raise TrainingError(
            f"step {result.step}: the loss and its gradient must be finite, got {losses}, grad_norm "
            f"{result.grad_norm:g}; the batch is in {folder}. A lower optimizer.lr, a longer "
            "optimizer.burn_in or an optimizer.grad_clip may help"
        )

    def log(self, result: StepResult) -> None:
        """Write a line of the log and show the progress."""
        self.clock.take()
        with self._tolerated("the log"):
            self.folder.log_pseudo_boxes(self._world.rank, result.step, result.pseudo_boxes)
        if not self._world.first:
            return
        with self._tolerated("the log"):
            self.folder.log_step(result.step, self._log_values(result))
        with suppress(OSError, ValueError):  # a terminal that is gone, a full disk, a closed output
            self._show(result)

    def _log_values(self, result: StepResult) -> dict[str, Any]:
        width, height = result.size_wh
        return {
            "epoch": result.epoch,
            "seconds": self.clock.elapsed(),
            "lr": result.lr,
            "losses": result.losses,
            "grad_norm": result.grad_norm,
            "images": self.learner.recipe.batch,
            "width": width,
            "height": height,
        }

    def _show(self, result: StepResult) -> None:
        if self._shown is not None:
            line, loader = self._shown
            device = self._world.device
            gpu_bytes = torch.cuda.memory_allocated(device) if device.type == "cuda" else None
            if self.learner.total_steps is None:
                line.total_steps = max(result.step, round(result.step / max(self.clock.progress, 1e-6)))
            line.step_done(result.step, result.epoch, result.losses, loader.waited, gpu_bytes)

    @contextmanager
    def shown(self, loader: BatchLoader) -> Iterator[None]:
        """Show the progress of training, in the first of the processes."""
        if not self._world.first:
            yield
            return
        learner = self.learner
        with ProgressLine(Console(), learner.step, learner.total_steps or 0, learner.recipe.batch) as line:
            self._shown = (line, loader)
            try:
                yield
            finally:
                self._shown = None

    def evaluation_is_due(self) -> bool:
        """Whether the weights are to be evaluated now."""
        return self.learner.task.validation is not None and self._epochs_passed()

    def checkpoint_is_due(self) -> bool:
        """Whether a checkpoint is to be written now."""
        every = self.learner.recipe.checkpoint_every
        return self._epochs_passed() or (every is not None and self.learner.step % every == 0)

    def _epochs_passed(self) -> bool:
        """Whether the last step passed an epoch or a time at which an evaluation is due, or is the last of all."""
        learner = self.learner
        if learner.total_steps is None:
            return self.clock.is_due
        fraction = learner.recipe.batch / (len(learner.task.samples) * learner.recipe.evaluate_every)
        return learner.step == learner.total_steps or int(learner.step * fraction) > int((learner.step - 1) * fraction)

    def evaluate(self) -> None:
        """Evaluate the weights, and save them if they are the best; `report` shows it."""
        if self._world.first:
            with self.clock.evaluation():
                self._evaluate()
        stale = torch.tensor(float(self._without_improvement if self._world.first else 0), device=self._world.device)
        self._without_improvement = int(self._world.sum(stale))

    def _evaluate(self) -> None:
        learner, task = self.learner, self.learner.task
        checkpoint = self._checkpoint()
        scores = task.evaluate(checkpoint, self._precision, self._threads)
        torch.set_num_threads(self._threads)
        with self._tolerated("the log"):
            self.folder.log_metrics(learner.step, learner.epoch, self.clock.elapsed(), scores.metrics)
        self._drawing = scores.image
        new, old = scores.metrics[task.best], _known(self.best.get(task.best))
        improved = _known(new) >= old
        self._without_improvement = 0 if improved and new > old else self._without_improvement + 1
        if improved:
            self.best = {"epoch": learner.epoch, **scores.metrics}
            write_checkpoint(self.folder.path / "best.safetensors", checkpoint)
        when = f"epoch {learner.epoch:.4g}" if learner.step else "before training"
        self.notify(f"{when}: {task.best} {new:.4f} (best {self.best.get(task.best, new):.4f})")

    def evaluate_start(self) -> None:
        """Evaluate the weights that training starts with: what it must surpass."""
        self.evaluate()
        score = self.best.get(self.learner.task.best, math.nan)
        self.start = score if math.isfinite(score) else None
        self._without_improvement = 0

    def report(self, result: StepResult) -> None:
        """Draw the first batches; after an evaluation its images, and a report if the last is some time ago.

        What fails is a warning.
        """
        if not self._world.first:
            return
        step = self.learner.step
        with self._tolerated("the images"):
            if step <= BATCHES_DRAWN:
                self._save_image(self.learner.task.draw(result.batches[0]), f"batch-{step:06}")
            if self.evaluation_is_due() and self._drawing is not None:
                self._save_image(self._drawing, f"validation-{step:06}")
        if self.evaluation_is_due():
            self._drawing = None
            self._write_report(drawn=time.perf_counter() - self._reported >= SECONDS_BETWEEN_REPORTS)

    def _write_report(self, *, drawn: bool) -> None:
        """Write the results and, if it is to be drawn, the report, from all that was logged so far."""
        self.unwritten.pop("the report", None)
        with self._tolerated("the report"):
            self.folder.write_results()
            if drawn:
                write_report(self.folder, self.learner.task.best)
                self._reported = time.perf_counter()

    @contextmanager
    def _tolerated(self, what: str) -> Iterator[None]:
        """Training goes on without what is only to be looked at; why it cannot be written is said once, and kept."""
        try:
            yield
        except Exception as error:  # whatever matplotlib, Pillow or a disk raise
            reason = (
                f"{error.filename}: {error.strerror}" if isinstance(error, OSError) and error.filename else str(error)
            )
            if what not in self.unwritten:
                _log.warning("%s cannot be written, training goes on: %s", what, reason)
            self.unwritten[what] = reason

    def _save_image(self, image: UInt8[np.ndarray, "h w 3"], name: str) -> None:
        Image.fromarray(image).save(self.folder.images / f"{name}.jpg", quality=90)

    def save(self) -> None:
        """Write a checkpoint of this step, if there is none yet.

        Raises:
            TrainingError: it cannot be written; the previous one is untouched.
        """
        if self._saved_step == self.learner.step:
            return
        if self._world.first:
            state = {
                "seconds": self.clock.elapsed(),
                "start": self.start,
                "best": {k: v for k, v in self.best.items() if math.isfinite(v)},
                "without_improvement": self._without_improvement,
            }
            save_state(self.folder.checkpoints, TrainingState(self.learner.step, self.learner.tensors(), state))
        self._saved_step = self.learner.step
        self._world.wait()

    def restore(self, state: TrainingState | None) -> None:
        """Return to a checkpoint, and rewind the log to it; None: to the beginning."""
        step = 0
        if state is not None:
            step = self._saved_step = state.step
            self.learner.restore(step, state.tensors)
            self.best = dict(state.state["best"])
            self.start = state.state.get("start")
            self._without_improvement = state.state["without_improvement"]
            self.clock.set(state.state["seconds"])
        if self._world.first:
            self.folder.rewind(-1 if state is None else step)
        total = self.learner.total_steps
        self.notify(f"resuming after step {step:,}" + ("" if total is None else f" of {total:,}"))
        self._world.wait()

    def asked_to_stop(self) -> bool:
        """Whether a signal asked any of the processes to stop."""
        return self._world.any(self.signal is not None)

    @contextmanager
    def signals_caught(self) -> Iterator[None]:
        """Let SIGINT (Ctrl-C), SIGTERM and SIGHUP end the run after the current step.

        A second Ctrl-C ends it at once. A second SIGTERM does not: ``timeout`` and others send it to the process and
        again to its group. SIGHUP is ignored where it was, as ``nohup`` does it.
        """

        def catch(number: int, _: FrameType | None) -> None:
            if self.signal is None:
                self.signal = number
                again = "; Ctrl-C again: at once" if number == signal.SIGINT else ""
                self.notify(f"{signal.Signals(number).name}: stopping after this step{again}")
            elif number == signal.SIGINT:
                raise KeyboardInterrupt

        before = {number: signal.signal(number, catch) for number in STOP_SIGNALS if not _is_ignored(number)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    @property
    def _precision(self) -> Precision:
        return "bfloat16" if self.learner.precision is torch.bfloat16 else "float32"

    def _checkpoint(self) -> LoadedModel:
        learner = self.learner
        trained = {
            "step": learner.step,
            "epoch": learner.epoch,
            "recipe": learner.recipe.model_dump(mode="json"),
        }
        return learner.task.checkpoint(learner.evaluated_network.to_model(), trained)

    def close(self) -> None:
        """Save where training ended, write the report and, at its end, the last weights beside the best."""
        self.save()
        somewhere = self._world.any(bool(self.unwritten))
        if not self._world.first:
            self.unwritten.clear()  # the first process tells of it
            return
        if somewhere and not self.unwritten:
            self.unwritten["the log"] = "see the warning of another process"
        if self.is_finished():
            write_checkpoint(self.folder.path / "last.safetensors", self._checkpoint())
        self._write_report(drawn=True)


def _is_ignored(number: int) -> bool:
    """Whether a signal stays ignored: SIGHUP alone, since shells start what runs in the background deaf to Ctrl-C."""
    return number not in (signal.SIGINT, signal.SIGTERM) and signal.getsignal(number) is signal.SIG_IGN


def _known(metric: float | None) -> float:
    """A metric to compare; what is undefined is less than any."""
    return metric if metric is not None and math.isfinite(metric) else -math.inf


def _unfailing(notify: Notify) -> Notify:
    """Messages may have nowhere to go: the terminal is gone, the output is closed, its disk is full."""

    def tell(message: str) -> None:
        with suppress(OSError, ValueError, RuntimeError):  # RuntimeError: a signal came while a message was written
            notify(message)

    return tell


def write_issue(folder: Path, result: StepResult) -> None:
    """Write the batches of a failed step: the images as the network saw them, with their annotations."""
    folder.mkdir(parents=True, exist_ok=True)
    known: list[dict[str, Any]] = []
    for part, batch in enumerate(result.batches):
        for index, (image, boxes) in enumerate(zip(batch.images, batch.boxes, strict=True)):
            file = f"{part}-{index}.png"
            Image.fromarray(image).save(folder / file)
            known.append(
                {
                    "file": file,
                    "name": batch.names[index],
                    "boxes_xyxy": [] if boxes is None else boxes.boxes_xyxy.tolist(),
                    "labels": [] if boxes is None else boxes.labels.tolist(),
                    "image_labels": list(batch.image_labels[index]),
                }
            )
    losses = {name: repr(value) for name, value in result.losses.items()}
    (folder / "batch.json").write_text(json.dumps({"losses": losses, "images": known}, indent=1) + "\n")
