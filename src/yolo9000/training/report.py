"""The report of a run: one HTML file."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from yolo9000.evaluation.report import Page, PageFigure, Section, write_page
from yolo9000.io.files import write_atomically
from yolo9000.training.curves import SCORES_SHOWN, plot_run
from yolo9000.training.logging import RunFolder

__all__ = ["write_report"]

WIDTH = 1040  # pixels that an image is shown at
VALIDATION_TEXT = "Truth left; right the answers at the threshold of the best F1, at most 30 in an image."
BATCH_TEXT = "As the network sees them. Bright squares: cells that learn an object; dashed: the anchors that do."
WHEN = {"kind", "step", "epoch", "seconds"}


def write_report(folder: RunFolder, best: str) -> None:
    """Write ``curves.png`` and ``report.html``.

    Args:
        folder: of the run.
        best: the score that says which weights are the best.

    Raises:
        TrainingError: the run has not done a step yet; ``run.json`` or the log is damaged.
        DataError: the report cannot be written.
    """
    curves = plot_run(folder)
    write_atomically(folder.path / "curves.png", curves)
    facts, lines = folder.facts(), folder.lines("scores")
    sections = [
        *([_scores(lines, best)] if lines else []),
        Section("Course", figures=[PageFigure("against epochs", "image/png", curves, WIDTH)]),
        *([_course(lines)] if lines else []),
        *_images("Validation", VALIDATION_TEXT, sorted(folder.images.glob("validation-*.jpg"))[-1:]),
        *_images("First batches", BATCH_TEXT, sorted(folder.images.glob("batch-*.jpg"))),
        _commands(folder.path, facts["recipe"]),
        _settings(facts),
    ]
    write_page(Page(f"Training: {folder.path.resolve().name}", sections), folder.path / "report.html")


def _scores(lines: Sequence[Mapping[str, Any]], best: str) -> Section:
    """The scores of the weights that are kept: the best ones, of equals the latest, and the last."""
    top = max(lines, key=lambda line: (-math.inf if line[best] is None else line[best], line["step"]))
    last = lines[-1]
    rows = [(name, _shown(top[name]), _shown(last[name])) for name in last if name not in WHEN]
    columns = ("score", f"best, after {top['epoch']:.4g} epochs", f"latest, after {last['epoch']:.4g} epochs")
    return Section(
        "Scores", f"On the validation split; the best weights are those of the highest {best}.", columns, rows
    )


def _course(lines: Sequence[Mapping[str, Any]]) -> Section:
    names = [name for name in SCORES_SHOWN if name in lines[0]]
    rows = [
        (line["step"], round(line["epoch"], 2), round(line["seconds"] / 60, 1), *(_shown(line[name]) for name in names))
        for line in lines
    ]
    text = "All scores and the mean losses are in results.csv, every step is in metrics.jsonl."
    return Section("Scores in the course of training", text, ("step", "epoch", "minutes", *names), rows)


def _images(heading: str, text: str, files: Sequence[Path]) -> list[Section]:
    """A section of images; none where there are none."""
    figures = [PageFigure(file.stem, "image/jpeg", file.read_bytes(), WIDTH) for file in files]
    return [Section(heading, text, figures=figures)] if figures else []


def _commands(path: Path, recipe: Mapping[str, Any]) -> Section:
    run, weights, data = (shlex.quote(str(part)) for part in (path, path / "best.safetensors", recipe["data"]))
    rows = [("go on, if it ended early", f"yolo9000 train --resume {run}")]
    if recipe["task"] == "detect":
        rows.append(("use it", f"yolo9000 predict --model {weights} PICTURE"))
    rows += [("score it", f"yolo9000 val {weights} {data}"), ("look at it", f"yolo9000 info {weights}")]
    return Section("What to do with it", columns=("to", "command"), rows=rows)


def _settings(facts: Mapping[str, Any]) -> Section:
    return Section("Settings", columns=("setting", "value"), rows=_flattened("", facts))


def _flattened(prefix: str, values: Mapping[str, Any]) -> list[tuple[str, str]]:
    rows = []
    for name, value in values.items():
        if isinstance(value, dict):
            rows += _flattened(f"{prefix}{name}.", value)
        else:
            rows.append((prefix + name, str(value)))
    return rows


def _shown(value: float | None) -> float | str:
    return "none" if value is None else round(value, 4)
