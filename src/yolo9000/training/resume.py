"""What a run is resumed with: its own data, wherever they now are, and more time if that is asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

from yolo9000.errors import ConfigError, TrainingError
from yolo9000.training.learner import Learner, total_steps
from yolo9000.training.logging import data_fingerprint
from yolo9000.training.recipe import Recipe, merged, recipe_of, resolve_paths
from yolo9000.training.schedule import lr
from yolo9000.training.tasks.base import Task

__all__ = ["check_data", "check_start", "data_facts", "prolonged", "resumed_recipe"]

CHANGEABLE = ("data", "start", "network.name", "epochs", "minutes", "patience", "workers")


def resumed_recipe(facts: Mapping[str, Any], changes: Mapping[str, Any], name: str) -> Recipe:
    """The recipe of a run, with paths as the run began with them and with what is changed.

    Args:
        facts: of the run; see `RunFolder.facts`.
        changes: settings, as `read_recipe` takes them: where files now are, more epochs or minutes, workers.
        name: of the file with the facts, for errors.

    Raises:
        ConfigError: a setting is not one that may change, or the training would be shorter.
    """
    for key in _dotted_keys(changes):
        if key not in CHANGEABLE:
            raise ConfigError(
                f"{key}: a run is resumed with its own; {', '.join(CHANGEABLE)} may be given. To train on with "
                "another, begin a run with start=RUN/last.safetensors"
            )
    values = deepcopy(facts["recipe"])
    if Path(facts.get("folder", "")) != Path.cwd():
        resolve_paths(values, Path(facts.get("folder", "")))
    began, recipe = recipe_of(values, name), recipe_of(merged(values, changes), name)
    _check_length(began, recipe, changes)
    return recipe


def _dotted_keys(settings: Mapping[str, Any], before: str = "") -> Iterator[str]:
    for key, value in settings.items():
        if isinstance(value, Mapping):
            yield from _dotted_keys(value, f"{before}{key}.")
        else:
            yield before + key


def _check_length(began: Recipe, recipe: Recipe, changes: Mapping[str, Any]) -> None:
    """Check that a run that ends after epochs gets more of them, and one that ends after a time more minutes."""
    length, other = ("epochs", "minutes") if began.minutes is None else ("minutes", "epochs")
    before, after = getattr(began, length), getattr(recipe, length)
    if other in changes:
        raise ConfigError(f"{other}: the run ends after {before:g} {length}; give {length} to prolong it")
    if after is None or after < before:
        raise ConfigError(f"{length} must be at least the {before:g} that the run has, got {after}")


def data_facts(task: Task, recipe: Recipe) -> dict[str, Any]:
    """What a run remembers of its data, to know them again.

    Raises:
        DataError: an annotation of the validation split has an issue.
        OSError: an image is not there.
    """
    validation = None if task.validation is None else list(task.validation.samples(recipe.on_error))
    return {
        "data": data_fingerprint(task.samples, task.data.soft_labels),
        "images": len(task.samples),
        "validation": None if validation is None else data_fingerprint(validation),
        "tree": None if task.tree is None else task.tree.fingerprint,
    }


def check_data(facts: Mapping[str, Any], task: Task, recipe: Recipe, folder: Path) -> None:
    """Check that the data are those that a run began with.

    Raises:
        TrainingError: they are not: which part of them.
    """
    now = data_facts(task, recipe)
    count = "" if now["images"] == facts.get("images") else f": {now['images']:,} images, not {facts.get('images')}"
    for key, what in {"tree": "label tree", "data": "training images", "validation": "validation images"}.items():
        if now[key] != facts.get(key, now[key]):
            raise TrainingError(f"{folder}: the {what} must be as when the run began; {recipe.data} differs{count}")


def check_start(facts: Mapping[str, Any], transferred: int, recipe: Recipe, folder: Path) -> None:
    """Check that as many layers are transferred as when the run began, since it decides which are frozen.

    Raises:
        TrainingError: they are not.
    """
    if transferred != facts.get("transferred", transferred):
        raise TrainingError(
            f"{folder}: start must be the model that the run began with, of which {facts['transferred']} layers fit; "
            f"of {recipe.start} {transferred} do"
        )


def prolonged(began: Recipe, learner: Learner) -> str:
    """One line on the new length of a run and its learning rate; nothing if it is as long as before.

    Args:
        began: the recipe that the run had.
        learner: at the step that the run is resumed at.
    """
    recipe, step, total = learner.recipe, learner.step, learner.total_steps
    if recipe.minutes != began.minutes:
        return f"prolonged from {began.minutes:g} to {recipe.minutes:g} minutes: the learning rate follows the new time"
    if recipe.epochs == began.epochs or total is None:
        return ""
    before = _lr(learner, step, total_steps(began, len(learner.task.samples)) or total)
    after = _lr(learner, min(step + 1, total), total)
    return (
        f"prolonged from {began.epochs:g} to {recipe.epochs:g} epochs: the learning rate goes on at {after:.3g} "
        f"after {before:.3g}"
    )


def _lr(learner: Learner, step: int, steps: int) -> float:
    epoch = step * learner.recipe.batch / len(learner.task.samples)
    return lr(learner.recipe.optimizer, step, step / steps, epoch)
