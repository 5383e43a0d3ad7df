"""Curves of training runs, as PNG files in memory."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float64

from yolo9000.choices import Against
from yolo9000.errors import ConfigError, TrainingError
from yolo9000.evaluation.figures import Axes, Figure
from yolo9000.training.logging import RunFolder

__all__ = ["Best", "best_scores", "plot_run", "plot_scores"]

FAINT = "#d3d8e0"
SCORES_SHOWN = ("map50", "map", "top1", "top5")
POINTS = 50  # of a curve, at most; each is the mean of the steps around it


def plot_run(folder: RunFolder) -> bytes:
    """Losses, scores, learning rate and speed of a run against epochs.

    Raises:
        TrainingError: the run has no steps yet.
    """
    steps, evaluations = folder.lines("step"), folder.lines("metrics")
    if not steps:
        raise TrainingError(f"{folder.path}: has no steps to draw yet")
    figure = Figure(figsize=(11, 7), dpi=110, layout="constrained")
    (losses, of_scores), (rate, speed) = figure.subplots(2, 2)
    epochs = _thinned(_known(steps, "epoch"))
    for name in steps[0]["losses"]:
        values = _thinned(_known([line["losses"] for line in steps], name))
        losses.plot(epochs, values, lw=2.2 if name == "total" else 1.2, label=name)
    losses.set_yscale("log")
    _finish(losses, "loss per image")
    for name in SCORES_SHOWN:
        if evaluations and name in evaluations[0]["metrics"]:
            of_scores.plot(_known(evaluations, "epoch"), _metric(evaluations, name), "o-", ms=3, label=name)
    _from_zero(of_scores)
    _finish(of_scores, "metrics on the validation split")
    rate.plot(_known(steps, "epoch"), _known(steps, "lr"))
    _from_zero(rate)
    _finish(rate, "learning rate")
    seconds = np.diff(_known(steps, "seconds"), prepend=0.0)
    speed.plot(epochs, _thinned(_known(steps, "images")) / _thinned(seconds))
    _from_zero(speed)
    _finish(speed, "images/s, including evaluation")
    return _png(figure)


def plot_scores(runs: Mapping[str, RunFolder], score: str, against: Against = "epoch") -> bytes:
    """One metric of several runs in one figure, with the best value of each beside its name.

    Args:
        runs: name and folder of each.
        score: name of the metric.
        against: epochs, or minutes of training.

    Raises:
        ConfigError: a run has no such metric.
    """
    figure = Figure(figsize=(7.5, 4.8), dpi=110, layout="constrained")
    axes = figure.subplots()
    for (name, folder), best in zip(runs.items(), best_scores(runs, score).values(), strict=True):
        lines = folder.lines("metrics")
        x = _known(lines, "epoch") if against == "epoch" else _known(lines, "seconds") / 60
        axes.plot(x, _metric(lines, score), "o-", ms=3.5, label=f"{name}  {best.value:.3f}")
    _from_zero(axes)
    _finish(axes, score, against)
    return _png(figure)


@dataclass(frozen=True)
class Best:
    """The highest value of a metric in a run, and when it was reached; NaN if the metric was never defined."""

    value: float
    epoch: float
    minutes: float


def best_scores(runs: Mapping[str, RunFolder], score: str) -> dict[str, Best]:
    """The best of each run; see `plot_scores`."""
    best = {}
    for name, folder in runs.items():
        lines = folder.lines("metrics")
        if not lines or score not in lines[0]["metrics"]:
            known = sorted(lines[0]["metrics"]) if lines else ["none"]
            raise ConfigError(f"{folder.path}: has no metric {score!r}; it has {', '.join(known)}")
        values = _metric(lines, score)
        index = int(np.where(np.isnan(values), -math.inf, values).argmax())
        best[name] = Best(float(values[index]), lines[index]["epoch"], lines[index]["seconds"] / 60)
    return best


def _metric(lines: Sequence[Mapping[str, Any]], name: str) -> Float64[np.ndarray, " n"]:
    return _known([line["metrics"] for line in lines], name)


def _known(lines: Sequence[Mapping[str, Any]], name: str) -> Float64[np.ndarray, " n"]:
    """The values of all lines under a name; NaN for null and where it is missing."""
    return np.array([math.nan if line.get(name) is None else line[name] for line in lines], np.float64)


def _thinned(values: Float64[np.ndarray, " n"]) -> Float64[np.ndarray, " m"]:
    """At most `POINTS` values, each the mean of its neighbourhood."""
    return np.array([part.mean() for part in np.array_split(values, min(POINTS, len(values)))])


def _from_zero(axes: Axes) -> None:
    axes.set_ylim(0, max(1.05 * axes.dataLim.y1, 1e-9))


def _finish(axes: Axes, title: str, xlabel: str = "epoch") -> None:
    axes.set_title(title, fontsize=10, loc="left")
    axes.set(xlabel=xlabel, xlim=(0, None))
    axes.grid(color=FAINT, lw=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    if axes.get_legend_handles_labels()[1]:
        axes.legend(frameon=False, fontsize=8)


def _png(figure: Figure) -> bytes:
    stream = io.BytesIO()
    figure.savefig(stream, format="png")
    return stream.getvalue()
