"""The course of training as images: PNG files in memory."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Float64
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from yolo9000.errors import ConfigError, TrainingError
from yolo9000.training.logging import RunFolder

__all__ = ["Best", "best_scores", "plot_run", "plot_scores"]

Against = Literal["epoch", "minutes"]
FAINT = "#d3d8e0"
NOT_A_LOSS = {"kind", "step", "epoch", "seconds", "rate", "gradient norm", "width", "height", "images"}
NOT_A_SCORE = {"kind", "step", "epoch", "seconds", "best_f1_threshold"}
SCORES_SHOWN = ("map50", "map", "top1", "top5")
POINTS = 50  # of a curve, at most; each is the mean of the steps around it


def plot_run(folder: RunFolder) -> bytes:
    """Losses, scores, learning rate and speed of a run against epochs.

    Raises:
        TrainingError: the run has not done a step yet; its log is damaged.
    """
    steps, scores = folder.lines("step"), folder.lines("scores")
    if not steps:
        raise TrainingError(f"{folder.path}: must have done a step, or there is nothing to draw")
    figure = Figure(figsize=(11, 7), dpi=110, layout="constrained")
    (losses, of_scores), (rate, speed) = figure.subplots(2, 2)
    epochs = _thinned(_known(steps, "epoch"))
    for name in [name for name in steps[0] if name not in NOT_A_LOSS]:
        losses.plot(epochs, _thinned(_known(steps, name)), lw=2.2 if name == "total" else 1.2, label=name)
    losses.set_yscale("log")
    _finish(losses, "loss an image")
    for name in SCORES_SHOWN:
        if scores and name in scores[0]:
            of_scores.plot(_known(scores, "epoch"), _known(scores, name), "o-", ms=3, label=name)
    _from_zero(of_scores)
    _finish(of_scores, "scores on the validation split")
    rate.plot(_known(steps, "epoch"), _known(steps, "rate"))
    _from_zero(rate)
    _finish(rate, "learning rate")
    seconds = np.diff(_known(steps, "seconds"), prepend=0.0)
    speed.plot(epochs, _thinned(_known(steps, "images")) / _thinned(seconds))
    _from_zero(speed)
    _finish(speed, "images/s, scoring included")
    return _png(figure)


def plot_scores(runs: Mapping[str, RunFolder], score: str, against: Against = "epoch") -> bytes:
    """One score of several runs in one image, with the best of each beside its name.

    Args:
        runs: what to call each, and its folder.
        score: such as ``map50`` or ``top1``.
        against: epochs, or minutes of training.

    Raises:
        ConfigError: a run has no such score.
        TrainingError: the log of a run is damaged.
    """
    figure = Figure(figsize=(7.5, 4.8), dpi=110, layout="constrained")
    axes = figure.subplots()
    for (name, folder), best in zip(runs.items(), best_scores(runs, score).values(), strict=True):
        lines = folder.lines("scores")
        places = _known(lines, "epoch") if against == "epoch" else _known(lines, "seconds") / 60
        axes.plot(places, _known(lines, score), "o-", ms=3.5, label=f"{name}  {best.value:.3f}")
    _from_zero(axes)
    _finish(axes, score, against)
    return _png(figure)


@dataclass(frozen=True)
class Best:
    """The highest value of a score in a run, and when it was reached; NaN where the score was never known."""

    value: float
    epoch: float
    minutes: float


def best_scores(runs: Mapping[str, RunFolder], score: str) -> dict[str, Best]:
    """The best of each run; see `plot_scores`."""
    found = {}
    for name, folder in runs.items():
        lines = folder.lines("scores")
        if not lines or score not in lines[0]:
            known = sorted(set(lines[0]) - NOT_A_SCORE) if lines else ["none"]
            raise ConfigError(f"{folder.path}: must have the score {score!r}; there: {', '.join(known)}")
        best = max(lines, key=lambda line: -math.inf if line[score] is None else line[score])
        value = math.nan if best[score] is None else best[score]
        found[name] = Best(value, best["epoch"], best["seconds"] / 60)
    return found


def _known(lines: Sequence[Mapping[str, Any]], name: str) -> Float64[np.ndarray, " n"]:
    """The values of all lines under a name; NaN for null."""
    return np.array([math.nan if line[name] is None else line[name] for line in lines], np.float64)


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
