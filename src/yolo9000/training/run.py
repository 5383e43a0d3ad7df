"""A training run from its beginning, or from where it was left, to its end."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float64

from yolo9000.architectures.weights import Model
from yolo9000.data.dataset import open_data, splits_of
from yolo9000.data.sampler import Stream, balanced_weights, joint_weights, repeat_weights
from yolo9000.errors import ConfigError, TrainingError
from yolo9000.inference.engines import available_cores
from yolo9000.inference.engines.torch import has_bfloat16
from yolo9000.training.checkpoint import latest_state
from yolo9000.training.distributed import World
from yolo9000.training.initialize import initial_weights
from yolo9000.training.loader import Feed, Plan, keep_memory
from yolo9000.training.logging import RunFolder, data_fingerprint
from yolo9000.training.loop import train
from yolo9000.training.monitor import Run, Tell
from yolo9000.training.recipe import DetectRecipe, Recipe, recipe_of
from yolo9000.training.tasks.base import Task
from yolo9000.training.tasks.classification import ClassifierTraining
from yolo9000.training.tasks.detection import DetectorTraining
from yolo9000.training.trainer import Training
from yolo9000.types import Sample

__all__ = ["Outcome", "make_plan", "prepare_task", "resume_run", "start_run"]

MAX_WORKERS = 8


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Attributes:
        folder: what it left.
        step, total_steps: how far it came.
        signal: what it was asked to stop by; None: nothing.
        scores: of the best weights; empty where there is no validation split.
        waited: share of the time that training waited for images.
        images_per_second: over all processes.
    """

    folder: Path
    step: int
    total_steps: int
    signal: int | None
    scores: dict[str, float]
    waited: float
    images_per_second: float


def start_run(
    recipe: Recipe, folder: Path, world: World, *, threads: int | None, arguments: Sequence[str], tell: Tell
) -> Outcome:
    """Train by a recipe from the beginning.

    Args:
        recipe: how.
        folder: what the run leaves goes here; must not hold a run yet.
        world: the processes that train together.
        threads: CPU threads of this process; None: its share of the cores.
        arguments: of the command line, for the record.
        tell: called with each line for the user.

    Raises:
        YoloError: the recipe, the data or the folder cannot be used; training failed.
    """
    threads = threads or max(1, available_cores() // world.size)
    task = prepare_task(recipe, world)
    model, origin = initial_weights(recipe, task.architecture)
    tell(f"{len(task.samples):,} images, {len(task.names):,} classes; {origin}")
    training = make_training(task, recipe, world, model, threads)
    run_folder = RunFolder(folder)
    if world.first:
        run_folder.start(
            {
                "recipe": recipe.model_dump(mode="json"),
                "arguments": list(arguments),
                "seed": recipe.seed,
                "threads": threads,
                "processes": world.size,
                "device": str(world.device),
                "data": data_fingerprint(task.samples),
                "tree": tree_fingerprint(task),
                "steps": training.total_steps,
                "start": origin,
            }
        )
    world.wait()
    return finish(Run(training, run_folder, threads, tell), tell)


def resume_run(folder: Path, world: World, *, tell: Tell) -> Outcome:
    """Go on with a run that ended early.

    Raises:
        YoloError: there is no run, its data have changed, or its checkpoints are damaged; training failed.
    """
    run_folder = RunFolder(folder)
    facts = run_folder.facts()
    recipe = recipe_of(facts["recipe"], str(folder / "run.json"))
    task = prepare_task(recipe, world)
    if tree_fingerprint(task) != facts.get("tree"):
        raise TrainingError(f"{folder}: the label tree must be the one that the run began with; it has changed")
    if data_fingerprint(task.samples) != facts["data"]:
        raise TrainingError(f"{folder}: the data must be those that the run began with; {recipe.data} has changed")
    model, _ = initial_weights(recipe, task.architecture)
    training = make_training(task, recipe, world, model, facts["threads"])
    run = Run(training, run_folder, facts["threads"], tell)
    run.restore(latest_state(run_folder.checkpoints))
    return finish(run, tell)


def tree_fingerprint(task: Task) -> str | None:
    """What the network depends on of the label tree; None for flat classes."""
    return None if task.tree is None else task.tree.fingerprint


def prepare_task(recipe: Recipe, world: World) -> Task:
    """Open the data and make the network.

    Raises:
        YoloError: one of them cannot be used.
    """
    data = open_data(recipe.data, "train")
    validation = open_data(recipe.data, "val") if "val" in splits_of(recipe.data) else None
    if isinstance(recipe, DetectRecipe):
        return DetectorTraining.prepare(recipe, data, validation, world.device)
    return ClassifierTraining.prepare(recipe, data, validation, world.device)


def make_training(task: Task, recipe: Recipe, world: World, model: Model, threads: int) -> Training:
    """A training at its beginning.

    Raises:
        ConfigError: the batch cannot be shared, or the device does not compute in the precision.
    """
    fractions = world.size * recipe.accumulate
    if recipe.batch % fractions:
        raise ConfigError(
            f"batch must be a multiple of {fractions} (processes {world.size} x accumulate {recipe.accumulate}), "
            f"got {recipe.batch}"
        )
    check_sizes(recipe, task.architecture.size_multiple())
    torch.set_num_threads(threads)
    keep_memory()
    return Training(task, recipe, make_plan(task, recipe, world), model, chosen_precision(recipe, world.device))


def make_plan(task: Task, recipe: Recipe, world: World) -> Plan:
    """Which images each step trains."""
    weights = image_weights(recipe, task.samples, len(task.names))
    return Plan(recipe, Stream(recipe.seed, len(task.samples), weights), world, task.architecture.size_multiple())


def check_sizes(recipe: Recipe, stride: int) -> None:
    """Check that the sizes of the input are multiples of the network's stride.

    Raises:
        ConfigError: one is not.
    """
    sizes: dict[str, tuple[int, ...]] = {"network.size": recipe.network.size_wh}
    if recipe.multi_scale is not None:
        sizes["multi_scale.sizes"] = tuple(recipe.multi_scale.sizes)
    for name, lengths in sizes.items():
        if any(length % stride for length in lengths):
            raise ConfigError(f"{name} must be multiples of {stride}, got {', '.join(map(str, lengths))}")


def image_weights(recipe: Recipe, samples: Sequence[Sample], classes: int) -> Float64[np.ndarray, " n"] | None:
    """How often each image comes in relation to the others; None: each once an epoch."""
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


def chosen_precision(recipe: Recipe, device: torch.device) -> torch.dtype:
    """What convolutions are computed in.

    Raises:
        ConfigError: the recipe wants bfloat16 and the device has none.
    """
    if recipe.precision == "bfloat16" and not has_bfloat16(device):
        raise ConfigError(f"precision=bfloat16: the device {device} cannot compute in bfloat16")
    wanted = recipe.precision != "float32" and has_bfloat16(device)
    return torch.bfloat16 if wanted else torch.float32


def finish(run: Run, tell: Tell) -> Outcome:
    """Train to the end, or until a signal asks to stop."""
    training, world = run.training, run.training.plan.world
    first, began = training.step, time.perf_counter()
    if first == training.total_steps:
        tell(f"{run.folder.path}: is finished: all {first:,} steps are done")
        return _outcome(run, 0, 0.0, 1.0)
    feed = Feed(
        training.plan,
        training.task.example,
        lambda number: training.task.samples[number].where,
        steps=range(first, training.total_steps),
        workers=worker_count(training.recipe, world),
    )
    with closing(feed), run.signals_noted(), run.shown(feed):
        train(training, feed, run)
    run.save()
    if training.step == training.total_steps:
        run.write_last()
    return _outcome(run, training.step - first, feed.waited, time.perf_counter() - began)


def _outcome(run: Run, steps: int, waited: float, seconds: float) -> Outcome:
    training = run.training
    return Outcome(
        folder=run.folder.path,
        step=training.step,
        total_steps=training.total_steps,
        signal=run.signal,
        scores=run.best,
        waited=waited / seconds,
        images_per_second=steps * training.recipe.batch / seconds,
    )


def worker_count(recipe: Recipe, world: World) -> int:
    """Processes that prepare images for this one."""
    if recipe.workers is not None:
        return recipe.workers
    return max(1, min(MAX_WORKERS, available_cores() // world.size))
