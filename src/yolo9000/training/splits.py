"""The splits of a data set that a run trains and validates on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path

from yolo9000.data.dataset import DataSet, Ledger, OnError, Split, open_data, splits_of
from yolo9000.data.duplicates import survey
from yolo9000.data.splitting import hold_out
from yolo9000.training.recipe import Recipe

__all__ = ["TrainingData", "open_training_data"]


@dataclass(frozen=True)
class TrainingData:
    """The data of a run.

    Attributes:
        train: the training split.
        validation: the validation split; None: there is none.
        held_out: number of images that were held out of the training split for validation.
        ledgers: what was left out of each split, or changed.
        limited: number of images of the validation split, if not all are used.
    """

    train: DataSet
    validation: DataSet | None
    held_out: int = 0
    ledgers: dict[Split, Ledger] = field(default_factory=dict)
    limited: int = 0

    def lines(self, folder: Path) -> Iterator[str]:
        """What to tell the user about it, once `write_issues` wrote the full lists into the folder."""
        for split, ledger in self.ledgers.items():
            yield from ledger.lines(split)
            if ledger:
                yield f"{split}: all {len(ledger.issues):,} issues in {_issue_file(folder, split)}"
        if self.held_out:
            yield f"the data have no split val: {self.held_out:,} images are held out for validation"
        if self.limited and self.validation is not None:
            used = len(self.validation.kept or ())
            yield f"{used:,} of the {self.limited:,} images for validation are used (validation_images)"

    def write_issues(self, folder: Path) -> None:
        """Write the issues of each split that has any.

        Raises:
            OSError: a file cannot be written.
        """
        for split, ledger in self.ledgers.items():
            if ledger:
                ledger.write(_issue_file(folder, split))


def _issue_file(folder: Path, split: Split) -> Path:
    return folder / f"left-out-{split}.jsonl"


def open_training_data(recipe: Recipe) -> TrainingData:
    """Open the data of a recipe; where issues are no errors, all images are decoded once to leave unreadable ones out.

    Raises:
        YoloError: the data cannot be read, or have an issue.
    """
    data = _all_training_data(recipe)
    return data if recipe.validation_images is None else _limited(data, recipe.validation_images, recipe.on_error)


def _limited(data: TrainingData, count: int, on_error: OnError) -> TrainingData:
    """The data with at most that number of images for validation: the first by SHA-256 of their names."""
    samples = [] if data.validation is None else list(data.validation.samples(on_error))
    if data.validation is None or len(samples) <= count:
        return data
    chosen = sorted(samples, key=lambda sample: sha256(sample.name.encode("utf-8", "surrogateescape")).digest())
    return replace(data, validation=data.validation.only(chosen[:count]), limited=len(samples))


def _all_training_data(recipe: Recipe) -> TrainingData:
    train, ledgers = open_data(recipe.data, "train"), {}
    if "val" not in splits_of(recipe.data) and recipe.hold_out is not None:
        return _held_out(train, recipe, recipe.hold_out)
    splits: dict[Split, DataSet] = {"train": train}
    if "val" in splits_of(recipe.data):
        splits["val"] = open_data(recipe.data, "val")
    if recipe.on_error != "error":
        ledgers = {split: Ledger() for split in splits}
        splits = {
            split: data.only(survey(data, recipe.on_error, ledgers[split]).samples) for split, data in splits.items()
        }
    return TrainingData(splits["train"], splits.get("val"), 0, ledgers)


def _held_out(data: DataSet, recipe: Recipe, fraction: float) -> TrainingData:
    """The data set without some of its images, and those images as a validation split."""
    ledger = Ledger()
    images = survey(data, recipe.on_error, ledger)
    held_out = hold_out(images, fraction, classes=len(data.classes))
    parts = [[s for s, held in zip(images.samples, held_out, strict=True) if held == side] for side in (False, True)]
    validation = replace(data.only(parts[1]), name=f"{data.name} (held out)")
    return TrainingData(data.only(parts[0]), validation, len(parts[1]), {"train": ledger})
