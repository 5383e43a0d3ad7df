"""The course of training as pictures: PNG files in memory."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from yolo9000.errors import ConfigError
from yolo9000.train.run_folder import RunFolder

__all__ = ["plot_run", "plot_scores"]

Against = Literal["epoch", "minutes"]
FAINT = "#d3d8e0"
NOT_A_LOSS = {"kind", "step", "epoch", "seconds", "rate", "gradient norm", "width", "height", "pictures"}
NOT_A_SCORE = {"kind", "step", "epoch", "seconds", "at threshold"}
SCORES_SHOWN = ("mAP50", "AP50", "AP", "top-1", "top-5")
SMOOTHED_OVER = 50  # at most so many points of a loss are drawn; each is the mean of the steps between


def plot_run(folder: RunFolder) -> bytes:
    """Losses, scores, learning rate and speed of a run against epochs."""
    figure = Figure(figsize=(11, 7), dpi=110, layout="constrained")
    steps, scores = folder.lines("step"), folder.lines("scores")
    (losses, of_scores), (rate, speed) = figure.subplots(2, 2)
    epochs = _smooth([line["epoch"] for line in steps])
    for name in [name for name in steps[0] if name not in NOT_A_LOSS]:
        losses.plot(epochs, _smooth([line[name] for line in steps]), lw=2.2 if name == "total" else 1.2, label=name)
    _finish(losses, "loss a picture", log=True)
    for name in SCORES_SHOWN:
        if scores and name in scores[0]:
            of_scores.plot([line["epoch"] for line in scores], _known(scores, name), "o-", ms=3, label=name)
    _finish(of_scores, "scores on the validation split")
    rate.plot([line["epoch"] for line in steps], [line["rate"] for line in steps])
    _finish(rate, "learning rate")
    speed.plot(epochs, _smooth(_pictures_per_second(steps)))
    _finish(speed, "pictures/s, scoring included")
    return _png(figure)


def plot_scores(runs: Mapping[str, RunFolder], score: str, against: Against = "epoch") -> bytes:
    """One score of several runs in one picture.

    Args:
        runs: what to call each, and its folder.
        score: such as ``mAP50`` or ``top-1``.
        against: epochs, or minutes of training.

    Raises:
        ConfigError: a run has no such score.
    """
    figure = Figure(figsize=(7.5, 4.8), dpi=110, layout="constrained")
    axes = figure.subplots()
    for name, folder in runs.items():
        lines = folder.lines("scores")
        if not lines or score not in lines[0]:
            known = sorted(set(lines[0]) - NOT_A_SCORE) if lines else ["none"]
            raise ConfigError(f"{folder.path}: must have the score {score!r}; there: {', '.join(known)}")
        places = [line["epoch"] if against == "epoch" else line["seconds"] / 60 for line in lines]
        values = _known(lines, score)
        axes.plot(places, values, "o-", ms=3.5, label=f"{name}  {values[-1]:.3f}")
    _finish(axes, score, against)
    return _png(figure)


def _known(lines: Sequence[Mapping[str, Any]], name: str) -> list[float]:
    return [float("nan") if line[name] is None else line[name] for line in lines]


def _pictures_per_second(steps: Sequence[Mapping[str, Any]]) -> list[float]:
    seconds = np.diff([line["seconds"] for line in steps], prepend=0.0)
    return [line["pictures"] / max(time, 1e-9) for line, time in zip(steps, seconds, strict=True)]


def _smooth(values: Sequence[float]) -> list[float]:
    return [float(np.mean(part)) for part in np.array_split(values, min(SMOOTHED_OVER, len(values)))]


def _finish(axes: Axes, title: str, xlabel: str = "epoch", *, log: bool = False) -> None:
    axes.set_title(title, fontsize=10, loc="left")
    axes.set_xlabel(xlabel)
    if log:
        axes.set_yscale("log")
    axes.grid(color=FAINT, lw=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    if axes.get_legend_handles_labels()[1]:
        axes.legend(frameon=False, fontsize=8)


def _png(figure: Figure) -> bytes:
    stream = io.BytesIO()
    figure.savefig(stream, format="png")
    return stream.getvalue()
