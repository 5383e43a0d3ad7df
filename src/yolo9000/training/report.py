"""The report of a run: one HTML file."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from yolo9000.evaluation.metric_names import metric_label
from yolo9000.io.files import write_atomically
from yolo9000.io.pages import Page, PageFigure, Section, write_page
from yolo9000.training.curves import SCORES_SHOWN, plot_run
from yolo9000.training.logging import RunFolder

__all__ = ["write_report"]

WIDTH = 1040  # pixels that an image is shown at
VALIDATION_TEXT = "Left: ground truth. Right: predictions at the threshold of the best F1, at most 30 for an image."
BATCH_TEXT = "As the network sees them. Bright squares: cells that are assigned an object; dashed: their anchors."


def write_report(folder: RunFolder, best: str) -> None:
    """Write ``curves.png`` and ``report.html``.

    Args:
        folder: of the run.
        best: the metric by which the best weights are chosen.

    Raises:
        TrainingError: the run has no steps yet; ``run.json`` is damaged.
        DataError: the report cannot be written.
    """
    curves = plot_run(folder)
    write_atomically(folder.path / "curves.png", curves)
    facts, lines = folder.facts(), folder.lines("metrics")
    sections = [
        *([_scores(lines, best)] if lines else []),
        Section("Course", figures=[PageFigure("against epochs", "image/png", curves, WIDTH)]),
        *_images("Validation", VALIDATION_TEXT, sorted(folder.images.glob("validation-*.jpg"))[-1:]),
        *_images("First batches", BATCH_TEXT, sorted(folder.images.glob("batch-*.jpg"))),
        *([_course(lines)] if lines else []),
        _settings(facts),
    ]
    path = folder.path.resolve()
    page = Page(f"Training: {path.name}", sections, str(path), _headlines(lines, best) if lines else ())
    write_page(page, folder.path / "report.html")


def _headlines(lines: Sequence[Mapping[str, Any]], best: str) -> list[tuple[str, str]]:
    last = lines[-1]
    value = _best(lines, best)["metrics"].get(best)
    times = [("epochs", f"{last['epoch']:.4g}"), ("minutes", f"{last['seconds'] / 60:,.1f}")]
    return times if value is None else [(f"best {metric_label(best)}", f"{value:.3f}"), *times]


def _best(lines: Sequence[Mapping[str, Any]], best: str) -> Mapping[str, Any]:
    """The line of the best weights, of equal ones the latest."""
    return max(lines, key=lambda line: (_sortable(line["metrics"].get(best)), line["step"]))


def _scores(lines: Sequence[Mapping[str, Any]], best: str) -> Section:
    """The metrics of the best weights and of the last."""
    highest, last = _best(lines, best), lines[-1]
    rows = [(name, _shown(highest["metrics"].get(name)), _shown(value)) for name, value in last["metrics"].items()]
    columns = ("metric", f"best, after {highest['epoch']:.4g} epochs", f"latest, after {last['epoch']:.4g} epochs")
    return Section(
        "Scores", f"On the validation split; the best weights are those of the highest {best}.", columns, rows
    )


def _course(lines: Sequence[Mapping[str, Any]]) -> Section:
    names = [name for name in SCORES_SHOWN if name in lines[0]["metrics"]]
    rows = [
        (
            *(line["step"], round(line["epoch"], 2), round(line["seconds"] / 60, 1)),
            *(_shown(line["metrics"].get(name)) for name in names),
        )
        for line in lines
    ]
    text = "All scores and the mean losses are in results.csv, every step is in metrics.jsonl."
    return Section("Scores in the course of training", text, ("step", "epoch", "minutes", *names), rows)


def _images(heading: str, text: str, files: Sequence[Path]) -> list[Section]:
    """A section of images; none where there are none."""
    figures = [PageFigure(file.stem, "image/jpeg", file.read_bytes(), WIDTH) for file in files]
    return [Section(heading, text, figures=figures)] if figures else []


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


def _sortable(value: float | None) -> float:
    return -math.inf if value is None else value


def _shown(value: float | None) -> float | str:
    return "none" if value is None else round(value, 4)
