"""Training from the first step to the last: the loop, and what starts and resumes a run.

A step is a function of the weights, the optimizer's state and the number of the step: its images, their size, how they
are augmented and the learning rate all follow from the number. So a run that was interrupted at any moment continues
from its last checkpoint exactly as it would have.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float64

from yolo9000.architectures.surgery import initial_model
from yolo9000.data.sampler import ImageSampler, balanced_weights, joint_weights, repeat_weights
from yolo9000.errors import ConfigError
from yolo9000.inference.engines.torch import has_bfloat16
from yolo9000.io.cores import available_cores
from yolo9000.io.files import locked_folder
from yolo9000.io.naming import next_run_folder
from yolo9000.training.checkpoint import latest_state
from yolo9000.training.clock import Clock
from yolo9000.training.darknet_recipe import cfg_recipe
from yolo9000.training.distributed import World, join_world
from yolo9000.training.initialize import Initial, check_multiples, resolve_start, transfer
from yolo9000.training.learner import Learner
from yolo9000.training.loader import BatchLoader, BatchPlan, keep_memory
from yolo9000.training.logging import RunFolder
from yolo9000.training.monitor import Monitor, Notify
from yolo9000.training.recipe import DetectRecipe, Recipe, merged, read_recipe, recipe_of
from yolo9000.training.resume import check_data, check_start, data_facts, prolonged, resumed_recipe
from yolo9000.training.splits import TrainingData, open_training_data
from yolo9000.training.tasks.base import Task
from yolo9000.training.tasks.classification import ClassifierTraining
from yolo9000.training.tasks.detection import DetectorTraining
from yolo9000.types import Sample

__all__ = ["Outcome", "fit", "make_plan", "prepare_task", "resume_run", "start_run", "train"]

_log = logging.getLogger(__name__)

MAX_WORKERS = 8
RUNS = Path("runs/train")


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Attributes:
        folder: the folder of the run.
        step, total_steps: steps done, and steps of the whole training; None if it ends after a time.
        signal: the signal that stopped the run; None: none did.
        scores: metrics of the best weights; empty without a validation split.
        best_metric: the one by which they are chosen.
        start: that metric of the weights that training started with; None if they know none of the classes.
        waited: fraction of the time that training waited for images.
        images_per_second: over all processes.
        unwritten: what is only to be looked at and could not be written ("the log", "the images", "the report"), and
            why; empty if all is there. The weights are, and resuming the run writes the report again.
    """

    folder: Path
    step: int
    total_steps: int | None
    signal: int | None
    scores: dict[str, float]
    best_metric: str
    start: float | None
    waited: float
    images_per_second: float
    unwritten: Mapping[str, str]

    @property
    def best(self) -> Path:
        """The checkpoint to use: the best on the validation split, or the last one without such a split."""
        return self.folder / ("best.safetensors" if self.scores else "last.safetensors")


def train(
    data: str | Path | None = None,
    *,
    recipe: str | Path | None = None,
    from_cfg: str | Path | None = None,
    out: str | Path | None = None,
    resume: str | Path | None = None,
    device: str = "auto",
    threads: int | None = None,
    notify: Notify = _log.info,
    **settings: Any,
) -> Outcome:
    """Train a classifier or a detector: what ``yolo9000 train`` does.

    Args:
        data: the data set; None: the recipe's.
        recipe: a TOML file, or the name of a recipe of the package; None: ``fine-tune``.
        from_cfg: a Darknet ``.cfg`` whose training options are the recipe.
        out: folder of the run, which must not hold one yet; None: ``runs/train`` or the next free name.
        resume: folder of a run to continue with its own recipe. May be given with it: `data`, ``start`` and
            ``network={"name": ...}`` where they now are, more ``epochs`` or ``minutes``, ``patience``, ``workers``.
        device: ``auto`` (a GPU if there is one), ``cpu``, ``cuda``, ``cuda:1``.
        threads: CPU threads of this process; None: its part of the cores.
        notify: called with each message for the user; by default they are logged.
        settings: override the recipe's: ``epochs=20``, ``optimizer={"lr": 0.01}``.

    Returns:
        Where the checkpoints are and how good the best is.

    Raises:
        YoloError: the recipe, the data or the folder cannot be used; training failed.

    Example:
        >>> import yolo9000.training
        >>> outcome = yolo9000.training.train("fruit", epochs=20)  # doctest: +SKIP
        >>> outcome.best, outcome.scores["map50"]  # doctest: +SKIP
        (PosixPath('runs/train/best.safetensors'), 0.86)
    """
    overrides = settings if data is None else settings | {"data": str(data)}
    if resume is not None and any(given is not None for given in (recipe, from_cfg, out, threads)):
        raise ConfigError("resume continues a run with its own recipe, folder and threads: give no others")
    with join_world(device) as world:
        if resume is not None:
            with _locked(Path(resume), world):
                return resume_run(Path(resume), world, changes=overrides, notify=notify)
        chosen = resolve_start(_chosen_recipe(recipe, from_cfg, overrides))
        folder = next_run_folder(RUNS) if out is None else Path(out)
        with _locked(folder, world):
            return start_run(chosen, folder, world, threads=threads, notify=notify)


def _locked(folder: Path, world: World) -> AbstractContextManager[None]:
    """No two runs write into a folder; of the processes of one, the first locks it."""
    return locked_folder(folder) if world.first else nullcontext()


def _chosen_recipe(recipe: str | Path | None, cfg: str | Path | None, overrides: Mapping[str, Any]) -> Recipe:
    if cfg is None:
        return read_recipe("fine-tune" if recipe is None else recipe, overrides)
    if recipe is not None or "data" not in overrides:
        raise ConfigError("from_cfg is a recipe: it needs data, and no other recipe")
    values = cfg_recipe(cfg, overrides["data"], overrides.get("on_error", "error"))
    return recipe_of(merged(values, overrides), str(cfg))


def start_run(recipe: Recipe, folder: Path, world: World, *, threads: int | None, notify: Notify) -> Outcome:
    """Train by a recipe from the beginning.

    Args:
        recipe: how the network is trained.
        folder: of the run; must not hold one yet.
        world: the processes that train together.
        threads: CPU threads of this process; None: its part of the cores.
        notify: called with each message for the user.

    Raises:
        YoloError: the recipe, the data or the folder cannot be used; training failed.
    """
    clock = Clock(recipe.minutes, world)
    threads = threads or max(1, available_cores() // world.size)
    data = open_training_data(recipe)
    task = prepare_task(recipe, data, world)
    initial = initial_weights(recipe, task)
    notify(f"{len(task.samples):,} images, {len(task.names):,} classes; {initial.origin}")
    run_folder = RunFolder(folder)
    learner = make_learner(task, recipe, world, initial, threads, run_folder.features)
    if learner.frozen:
        notify(f"{len(learner.frozen)} of {len(task.architecture.body)} layers are frozen")
    if world.first:
        run_folder.start(
            {
                "recipe": recipe.model_dump(mode="json"),
                "seed": recipe.seed,
                "threads": threads,
                "processes": world.size,
                "device": str(world.device),
                **data_facts(task, recipe),
                "steps": learner.total_steps,
                "start": initial.origin,
                "transferred": initial.transferred,
                "folder": str(Path.cwd()),
            }
        )
        data.write_issues(folder)
    for line in data.lines(folder):
        notify(line)
    world.wait()
    monitor = Monitor(learner, run_folder, threads, notify, clock)
    return finish_run(monitor, initial)


def resume_run(
    folder: Path, world: World, *, changes: Mapping[str, Any] | None = None, notify: Notify = _log.info
) -> Outcome:
    """Continue a run that ended early, or prolong one.

    Args:
        folder: of the run.
        world: the processes that train together.
        changes: settings that replace the run's: see `yolo9000.training.resume.resumed_recipe`.
        notify: called with each message for the user.

    Raises:
        YoloError: there is no run, its data have changed, a setting may not change, or its checkpoints are damaged;
            training failed.
    """
    run_folder = RunFolder(folder)
    facts = run_folder.facts()
    began = recipe_of(facts["recipe"], str(folder / "run.json"))
    recipe = resumed_recipe(facts, changes or {}, str(folder / "run.json"))
    clock = Clock(recipe.minutes, world)
    task = prepare_task(recipe, open_training_data(recipe), world)
    check_data(facts, task, recipe, folder)
    initial = initial_weights(recipe, task)
    check_start(facts, initial.transferred, recipe, folder)
    learner = make_learner(task, recipe, world, initial, facts["threads"], run_folder.features)
    monitor = Monitor(learner, run_folder, facts["threads"], notify, clock)
    monitor.restore(latest_state(run_folder.checkpoints))
    if line := prolonged(began, learner):
        notify(line)
    if world.first and recipe != began:
        changed = {"recipe": recipe.model_dump(mode="json"), "steps": learner.total_steps, "folder": str(Path.cwd())}
        run_folder.write_facts(facts | changed)
    return finish_run(monitor, initial)


def fit(learner: Learner, loader: BatchLoader, monitor: Monitor) -> None:
    """The training loop: from the learner's step to the last one, or until the run is asked to stop.

    Args:
        learner: the network and its optimizer.
        loader: batches, from the learner's step on.
        monitor: writes the log, metrics and checkpoints.

    Raises:
        TrainingError: the loss or its gradient is not finite; a worker process died or hangs.
        DataError: an image cannot be read.
    """
    with loader.errors_named():
        while not monitor.is_finished() and not monitor.asked_to_stop():
            learner.prepare_step(monitor.next_progress())
            result = learner.backward(loader)
            monitor.check_finite(result)
            learner.update()
            monitor.log(result)
            if monitor.evaluation_is_due():
                monitor.evaluate()
            if monitor.checkpoint_is_due():
                monitor.save()
            monitor.report(result)


def finish_run(monitor: Monitor, initial: Initial) -> Outcome:
    """Train to the end, or until a signal asks to stop; weights that know classes are evaluated before."""
    learner = monitor.learner
    if learner.step == 0 and initial.classes and learner.task.validation is not None:
        monitor.evaluate_start()
    first, started = learner.step, time.perf_counter()
    if monitor.is_finished():
        monitor.notify(f"{monitor.folder.path}: is finished after {first:,} steps; more epochs or minutes prolong it")
        monitor.close()  # it may have been killed after its last training state
        return _outcome(monitor, 0, 0.0, 1.0)
    loader = BatchLoader(
        make_plan(learner.task, learner.recipe, learner.world),
        learner.task.example,
        lambda index: learner.task.samples[index].where,
        steps=count(first) if learner.total_steps is None else range(first, learner.total_steps),
        workers=worker_count(learner.recipe.workers, learner.world),
        **({} if learner.features is None else {"is_cached": learner.features.plan.is_cached}),
    )
    with monitor.signals_caught():
        with closing(loader), monitor.shown(loader):
            fit(learner, loader, monitor)
        monitor.close()
    if learner.features is not None:
        learner.features.close()
    return _outcome(monitor, learner.step - first, loader.waited, time.perf_counter() - started)


def _outcome(monitor: Monitor, steps: int, waited: float, seconds: float) -> Outcome:
    learner = monitor.learner
    return Outcome(
        folder=monitor.folder.path,
        step=learner.step,
        total_steps=learner.total_steps,
        signal=monitor.signal,
        scores=monitor.best,
        best_metric=learner.task.best,
        start=monitor.start,
        waited=waited / seconds,
        images_per_second=steps * learner.recipe.batch / seconds,
        unwritten=dict(monitor.unwritten),
    )


def prepare_task(recipe: Recipe, data: TrainingData, world: World) -> Task:
    """Define the network for the data.

    Raises:
        YoloError: the data or the network cannot be used.
    """
    if isinstance(recipe, DetectRecipe):
        return DetectorTraining.prepare(recipe, data.train, data.validation, world.device)
    return ClassifierTraining.prepare(recipe, data.train, data.validation, world.device)


def initial_weights(recipe: Recipe, task: Task) -> Initial:
    """The initial weights.

    Raises:
        WeightsError: the file to start from cannot be read, or fits no layer.
    """
    objectness = recipe.network.initial_objectness if isinstance(recipe, DetectRecipe) else 0.5
    fresh = initial_model(task.architecture, recipe.seed, objectness)
    if recipe.start is None:
        return Initial(fresh, 0, 0, "initialised from scratch")
    return transfer(recipe.start, fresh, task.names, task.tree)


def make_learner(
    task: Task, recipe: Recipe, world: World, initial: Initial, threads: int, feature_folder: Path
) -> Learner:
    """A learner before its first step.

    Raises:
        ConfigError: the batch cannot be divided, or the device does not compute in the precision.
    """
    parts = world.size * recipe.accumulate
    if recipe.batch % parts:
        raise ConfigError(
            f"batch must be a multiple of {parts} (processes {world.size} x accumulate {recipe.accumulate}), "
            f"got {recipe.batch}"
        )
    check_multi_scale(recipe, task.architecture.size_multiple())
    torch.set_num_threads(threads)
    keep_memory()
    precision = chosen_precision(recipe.precision, world.device)
    return Learner(task, recipe, world, initial, precision, feature_folder)


def make_plan(task: Task, recipe: Recipe, world: World) -> BatchPlan:
    """The images of each step."""
    weights = image_weights(recipe, task.samples, len(task.names))
    return BatchPlan(
        sampler=ImageSampler(recipe.seed, len(task.samples), weights),
        batch=recipe.batch,
        accumulate=recipe.accumulate,
        size_wh=recipe.network.size_wh,
        multi_scale=recipe.multi_scale,
        stride=task.architecture.size_multiple(),
        world=world,
        draws=None if recipe.features is None else recipe.features.draws,
    )


def check_multi_scale(recipe: Recipe, multiple: int) -> None:
    """Check that the sizes of multi-scale training are multiples of what the network needs.

    Raises:
        ConfigError: one is not.
    """
    if recipe.multi_scale is not None:
        check_multiples("multi_scale.sizes", recipe.multi_scale.sizes, multiple)


def image_weights(recipe: Recipe, samples: Sequence[Sample], classes: int) -> Float64[np.ndarray, " n"] | None:
    """Relative frequency of each image; None: each once an epoch."""
    weights: Float64[np.ndarray, " n"] | None = None
    match recipe.sampling:
        case "balanced":
            weights = balanced_weights(samples, classes)
        case "repeat":
            weights = repeat_weights(samples, classes, recipe.repeat_below)
        case "uniform":
            pass
    if isinstance(recipe, DetectRecipe) and recipe.joint.ratio:
        return joint_weights(samples, recipe.joint.ratio, weights)
    return weights


def chosen_precision(wanted: str, device: torch.device) -> torch.dtype:
    """The type that convolutions are computed in.

    Raises:
        ConfigError: bfloat16 is wanted and the device has none.
    """
    if wanted == "bfloat16" and not has_bfloat16(device):
        raise ConfigError(f"precision=bfloat16: the device {device} cannot compute in bfloat16")
    return torch.bfloat16 if wanted != "float32" and has_bfloat16(device) else torch.float32


def worker_count(wanted: int | None, world: World) -> int:
    """Number of worker processes of this process."""
    return max(1, min(MAX_WORKERS, available_cores() // world.size)) if wanted is None else wanted
