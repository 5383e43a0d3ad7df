"""What watches over a training: the log, scores, checkpoints, and signals that ask it to stop."""

from __future__ import annotations

import json
import math
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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
from yolo9000.training.loader import Feed
from yolo9000.training.logging import RunFolder
from yolo9000.training.progress import ProgressLine
from yolo9000.training.report import write_report
from yolo9000.training.trainer import Progress, Training

__all__ = ["Run", "Tell"]

Tell = Callable[[str], None]
BATCHES_DRAWN = 3  # at the start of a run


class Run:
    """What watches over a training: the log, scores, checkpoints, signals.

    Attributes:
        training: what is trained.
        folder: what the run leaves.
        best: the scores of the best weights so far.
        signal: number of the signal that asked the run to stop; None: none has.
    """

    def __init__(self, training: Training, folder: RunFolder, threads: int, tell: Tell) -> None:
        self.training = training
        self.folder = folder
        self.best: dict[str, float] = {}
        self._world = training.plan.world
        self._threads = threads
        self._tell = tell
        self._seconds = 0.0
        self._since = time.perf_counter()
        self._saved_step = -1
        self._live: tuple[ProgressLine, Feed] | None = None
        self.signal: int | None = None

    def check(self, progress: Progress) -> None:
        """Look whether the loss and its gradient are numbers, before any weight follows them.

        Raises:
            TrainingError: they are not; the batch is written out.
        """
        numbers = [*progress.losses.values(), progress.gradient_norm]
        if all(map(math.isfinite, numbers)):
            return
        folder = self.folder.path / "issues" / f"step-{progress.step:08}-rank-{self._world.rank}"
        write_issue(folder, progress)
        parts = ", ".join(f"{name} {value:g}" for name, value in progress.losses.items())
        raise TrainingError(
            f"step {progress.step}: the loss and its gradient must be finite, got {parts}, gradient "
            f"{progress.gradient_norm:g}; the batch is in {folder}. A lower optimizer.lr, a longer "
            "optimizer.burn_in or an optimizer.grad_clip may help"
        )

    def log(self, progress: Progress) -> None:
        """Write a line of the log; draw the first batches."""
        self.folder.log_pseudo_boxes(self._world.rank, progress.step, progress.pseudo)
        if not self._world.first:
            return
        width, height = progress.size_wh
        values = {
            "epoch": progress.epoch,
            "seconds": self._elapsed(),
            "rate": progress.rate,
            **progress.losses,
            "gradient norm": progress.gradient_norm,
            "images": self.training.recipe.batch,
            "width": width,
            "height": height,
        }
        self.folder.log("step", progress.step, values)
        self._show(progress)
        if progress.step <= BATCHES_DRAWN:
            self._keep_image(self.training.task.draw(progress.batches[0]), f"batch-{progress.step:06}")

    def _show(self, progress: Progress) -> None:
        if self._live is not None:
            live, feed = self._live
            device = self._world.device
            gpu_bytes = torch.cuda.memory_allocated(device) if device.type == "cuda" else None
            live.step_done(progress.step, progress.epoch, progress.losses, feed.waited, gpu_bytes)

    @contextmanager
    def shown(self, feed: Feed) -> Iterator[None]:
        """Show how training goes on, in the first of the processes."""
        if not self._world.first:
            yield
            return
        training = self.training
        with ProgressLine(Console(), training.step, training.total_steps, training.recipe.batch) as live:
            self._live = (live, feed)
            try:
                yield
            finally:
                self._live = None

    def scores_are_due(self) -> bool:
        """Whether the weights are to be scored now."""
        return self.training.task.validation is not None and self._epochs_passed()

    def checkpoint_is_due(self) -> bool:
        """Whether a checkpoint is to be written now."""
        every = self.training.recipe.checkpoint_every
        return self._epochs_passed() or (every is not None and self.training.step % every == 0)

    def _epochs_passed(self) -> bool:
        """Whether the last step passed an epoch at which scores are wanted, or is the last of all."""
        training = self.training
        fraction = training.recipe.batch / (len(training.task.samples) * training.recipe.evaluate_every)
        return training.step == training.total_steps or int(training.step * fraction) > int(
            (training.step - 1) * fraction
        )

    def score(self) -> None:
        """Score the weights, and keep them if they are the best."""
        if self._world.first:
            self._score()
        self._world.wait()

    def _score(self) -> None:
        training, task = self.training, self.training.task
        file = self._file()
        scores = task.score(file, self._precision, self._threads)
        torch.set_num_threads(self._threads)
        self.folder.log(
            "scores", training.step, {"epoch": training.epoch, "seconds": self._elapsed(), **scores.numbers}
        )
        if scores.image is not None:
            self._keep_image(scores.image, f"validation-{training.step:06}")
        new, old = scores.numbers[task.best], self.best.get(task.best, -math.inf)
        if (new if math.isfinite(new) else -math.inf) >= old:
            self.best = {"epoch": training.epoch, **scores.numbers}
            write_checkpoint(self.folder.path / "best.safetensors", file)
        self.folder.write_results()
        write_report(self.folder, task.best)
        self._tell(f"epoch {training.epoch:.4g}: {task.best} {new:.4f} (best {self.best.get(task.best, new):.4f})")

    def _keep_image(self, image: UInt8[np.ndarray, "h w 3"], name: str) -> None:
        Image.fromarray(image).save(self.folder.images / f"{name}.jpg", quality=90)

    def save(self) -> None:
        """Write a checkpoint of this step, if there is none yet.

        Raises:
            TrainingError: it cannot be written; the one before it is untouched.
        """
        if self._saved_step == self.training.step:
            return
        if self._world.first:
            state = {"seconds": self._elapsed(), "best": {k: v for k, v in self.best.items() if math.isfinite(v)}}
            save_state(self.folder.checkpoints, TrainingState(self.training.step, self.training.tensors(), state))
        self._saved_step = self.training.step
        self._world.wait()

    def restore(self, checkpoint: TrainingState | None) -> None:
        """Go back to a checkpoint, and the log with it; None: to the beginning."""
        step = 0
        if checkpoint is not None:
            step = self._saved_step = checkpoint.step
            self.training.restore(step, checkpoint.tensors)
            self.best = dict(checkpoint.state["best"])
            self._seconds = checkpoint.state["seconds"]
        if self._world.first:
            self.folder.rewind(step)
        self._tell(f"going on after step {step:,} of {self.training.total_steps:,}")
        self._world.wait()

    def asked_to_stop(self) -> bool:
        """Whether a signal asked any of the processes to stop."""
        return self._world.any(self.signal is not None)

    @contextmanager
    def signals_noted(self) -> Iterator[None]:
        """SIGINT (Ctrl-C) and SIGTERM end the run after the step that is under way; a second one at once."""

        def note(number: int, _: FrameType | None) -> None:
            if self.signal is not None:
                raise KeyboardInterrupt
            self.signal = number
            self._tell(f"{signal.Signals(number).name}: saving after this step; once more ends at once")

        before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _elapsed(self) -> float:
        """Seconds that the run has trained, those before it was resumed included."""
        return self._seconds + time.perf_counter() - self._since

    @property
    def _precision(self) -> Precision:
        return "bfloat16" if self.training.precision is torch.bfloat16 else "float32"

    def _file(self) -> LoadedModel:
        training = self.training
        trained = {
            "step": training.step,
            "epoch": training.epoch,
            "recipe": training.recipe.model_dump(mode="json"),
        }
        return training.task.file(training.scored.to_model(), trained)

    def write_last(self) -> None:
        """Keep the last weights, beside the best, and the report of a run that was never scored."""
        if self._world.first:
            write_checkpoint(self.folder.path / "last.safetensors", self._file())
            write_report(self.folder, self.training.task.best)


def write_issue(folder: Path, progress: Progress) -> None:
    """Write out the batches of a step that failed: images as the network saw them, and what is known of each."""
    folder.mkdir(parents=True, exist_ok=True)
    known: list[dict[str, Any]] = []
    for part, batch in enumerate(progress.batches):
        for place, (image, boxes) in enumerate(zip(batch.images, batch.boxes, strict=True)):
            file = f"{part}-{place}.png"
            Image.fromarray(image).save(folder / file)
            known.append(
                {
                    "file": file,
                    "name": batch.names[place],
                    "boxes_xyxy": [] if boxes is None else boxes.boxes_xyxy.tolist(),
                    "labels": [] if boxes is None else boxes.labels.tolist(),
                    "image_labels": list(batch.image_labels[place]),
                }
            )
    losses = {name: repr(value) for name, value in progress.losses.items()}
    (folder / "batch.json").write_text(json.dumps({"losses": losses, "images": known}, indent=1) + "\n")
