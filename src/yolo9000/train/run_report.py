"""The report of a run: one HTML file."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from yolo9000.atomic import write_atomically
from yolo9000.report import Page, PageFigure, Section, write_page
from yolo9000.train.curves import plot_run
from yolo9000.train.run_folder import RunFolder

__all__ = ["write_report"]

CURVES_WIDTH, PICTURE_WIDTH = 1040, 1040  # pixels


def write_report(folder: RunFolder, best: str) -> None:
    """Write ``curves.png`` and ``report.html``.

    Args:
        folder: of the run; it must have been scored at least once.
        best: the score that says which weights are the best.
    """
    curves = plot_run(folder)
    write_atomically(folder.path / "curves.png", curves)
    sections = [
        _scores(folder, best),
        Section("Course", figures=[PageFigure("per epoch", "image/png", curves, CURVES_WIDTH)]),
        _pictures("Validation", "Truth left, answers right.", sorted(folder.pictures.glob("validation-*.jpg"))[-1:]),
        _pictures(
            "First batches",
            "As the network sees them. Filled: the cells that learn an object; thin white: their anchors.",
            sorted(folder.pictures.glob("batch-*.jpg")),
        ),
        _settings(folder.facts()),
    ]
    write_page(Page(f"Training: {folder.path.name}", sections), folder.path / "report.html")


def _scores(folder: RunFolder, best: str) -> Section:
    lines = folder.lines("scores")
    names = [name for name in lines[0] if name not in ("kind", "step", "seconds")]
    top = max(lines, key=lambda line: -math.inf if line[best] is None else line[best])
    rows = [[_shown(line[name]) for name in names] for line in lines]
    text = f"Best {best}: {_shown(top[best])} after {top['epoch']:.4g} epochs, in best.safetensors."
    return Section("Scores", text, names, rows)


def _pictures(heading: str, text: str, files: list[Path]) -> Section:
    figures = [PageFigure(file.stem, "image/jpeg", file.read_bytes(), PICTURE_WIDTH) for file in files]
    return Section(heading, text if figures else "None.", figures=figures)


def _settings(facts: dict[str, Any]) -> Section:
    flat = {name: value for name, value in facts.items() if not isinstance(value, dict)}
    rows = [*_flattened("", facts["recipe"]), *_flattened("", flat), *_flattened("versions.", facts["versions"])]
    return Section("Settings", columns=("setting", "value"), rows=rows)


def _flattened(prefix: str, values: dict[str, Any]) -> list[tuple[str, str]]:
    rows = []
    for name, value in values.items():
        if isinstance(value, dict):
            rows += _flattened(f"{prefix}{name}.", value)
        else:
            rows.append((prefix + name, str(value)))
    return rows


def _shown(value: float | None) -> float | str:
    return "none" if value is None else round(value, 4)
