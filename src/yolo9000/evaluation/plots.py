"""Plots of metrics, as PNG files in memory. Needs ``matplotlib``, whose global state is left unchanged."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float64, Int64

from yolo9000.evaluation.calibration import Reliability
from yolo9000.evaluation.curves import F1Curve
from yolo9000.evaluation.figures import Axes, Figure, PercentFormatter, PowerNorm
from yolo9000.evaluation.tree_severity import SpecificityRisk
from yolo9000.evaluation.voc import PrecisionRecall, average_precision, best_precision

__all__ = ["plot_confusion", "plot_f1", "plot_precision_recall", "plot_reliability", "plot_specificity_risk"]

INK, FAINT, GREY, BLUE, ORANGE = "#222222", "#d3d8e0", "#8a93a3", "#1f5fbf", "#d1662b"
MANY_CURVES = 10  # above this only the three best and the three worst curves are named
CLASSES_WITH_COUNTS = 25  # maximum number of classes for which a confusion matrix shows its counts
NAMED_CLASSES = 120  # maximum number of classes for which the rows of a confusion matrix are named
POINTS = 4000  # maximum number of points of a curve
DOTS = 200  # maximum number of points that are marked
INCHES_PER_LETTER = 0.0085  # and point of the font


def plot_precision_recall(by_label: Mapping[int, PrecisionRecall], names: Sequence[str]) -> bytes:
    """Best precision at each recall or a higher one, a line for each class and one for their mean; AP beside the names.

    Args:
        by_label: a curve for each label.
        names: name of each label.
    """
    figure, axes = _square("recall", "precision")
    ap = {label: average_precision(curve) for label, curve in by_label.items()}
    best_first = sorted(ap, key=lambda label: -ap[label])
    many = len(ap) > MANY_CURVES
    named = [*best_first[:3], *best_first[-3:]] if many else best_first
    for label in best_first[3:-3] if many else ():
        axes.plot(*_envelope(by_label[label]), color=FAINT, lw=0.8, drawstyle="steps-pre")
    for label in named:
        name = f"{names[label]}  {ap[label]:.3f}"
        axes.plot(*_envelope(by_label[label]), lw=1.4, drawstyle="steps-pre", label=name)
    if ap:
        levels = np.linspace(0, 1, 501)
        mean = np.mean([best_precision(curve, levels) for curve in by_label.values()], axis=0)
        reached = levels[mean > 0]
        name = f"mean of {len(ap)}  {np.mean(list(ap.values())):.3f}"
        axes.plot(reached, mean[mean > 0], lw=2.6, color=INK, label=name)
        _legend(axes, "AP, best and worst" if many else "AP")
    return _png(figure)


def plot_f1(curve: F1Curve) -> bytes:
    """Precision, recall and F1 against the threshold, the best threshold marked."""
    figure, axes = _square("score threshold", "fraction")
    thin = _thin(len(curve.thresholds))
    for values, name, color in (
        (curve.f1, "F1", BLUE),
        (curve.recall, "recall", ORANGE),
        (curve.precision, "precision", GREY),
    ):
        axes.plot(curve.thresholds[thin], values[thin], label=name, color=color, lw=2.4 if name == "F1" else 1.4)
    if len(curve.thresholds):
        best = (curve.best_threshold, curve.best_f1)
        axes.plot(*best, "o", color=BLUE, ms=7, mec="white", zorder=4)
        axes.axvline(best[0], color=BLUE, lw=0.8, ls=":")
        _legend(axes, f"best F1 {best[1]:.3f} at {best[0]:.3f}")
    return _png(figure)


def plot_confusion(matrix: Int64[np.ndarray, "k k"], names: Sequence[str]) -> bytes:
    """A confusion matrix; colors are fractions of each row on a square-root scale, so that rare confusions are visible.

    Args:
        matrix: counts, ground truth by row, prediction by column, background last.
        names: name of each class, without the background.
    """
    size = len(matrix)
    labels = [*names, "background"] if size <= NAMED_CLASSES else []
    font = float(np.clip(520 / size, 6.5, 10))
    cell = max(0.19, min(1.0, 4.4 / size)) if labels else 10 / size
    text = max(map(len, labels), default=0) * font * INCHES_PER_LETTER
    upright = text > 0.9 * cell
    below = text if upright else 0.2
    figure = Figure(figsize=(size * cell + text + 1.6, size * cell + below + 0.6), layout="constrained")
    axes = figure.add_subplot()
    fractions = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    image = axes.imshow(fractions, cmap="Blues", norm=PowerNorm(0.5, 0, 1), interpolation="nearest")
    axes.set_xticks(range(len(labels)), labels, rotation=90 if upright else 0, fontsize=font)
    axes.set_yticks(range(len(labels)), labels, fontsize=font)
    axes.tick_params(length=0)
    axes.set_xlabel("prediction", fontsize=11)
    axes.set_ylabel("ground truth", fontsize=11)
    _draw_grid(axes, size)
    if size <= CLASSES_WITH_COUNTS + 1:
        _write_counts(axes, matrix, fractions, font)
    bar = figure.colorbar(image, ax=axes, shrink=0.7, aspect=30, pad=0.02, format=PercentFormatter(1, decimals=0))
    bar.set_ticks([0, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 1])
    bar.set_label("fraction of the row")
    bar.outline.set_visible(False)
    return _png(figure)


def plot_reliability(groups: Mapping[str, Reliability]) -> bytes:
    """Accuracy against confidence, a panel for each group (e.g. ``depth_2``), above the predictions per bin."""
    columns = min(3, max(1, len(groups)))
    rows = max(1, -(-len(groups) // columns))
    figure = Figure(figsize=(0.4 + 3.7 * columns, 0.3 + 4.3 * rows), layout="constrained")
    panels = figure.subplots(2 * rows, columns, squeeze=False, gridspec_kw={"height_ratios": [4, 1] * rows})
    for axes in panels.flat:
        axes.set_visible(False)
    for index, (name, bins) in enumerate(groups.items()):
        row, column = divmod(index, columns)
        _draw_reliability(panels[2 * row, column], panels[2 * row + 1, column], name.replace("_", " "), bins)
    return _png(figure)


def plot_specificity_risk(curves: Mapping[str, SpecificityRisk]) -> bytes:
    """Specificity against the fraction of wrong predictions, a line for each named curve."""
    figure, axes = _square("risk: fraction of wrong predictions", "specificity: depth of predictions, 1 at leaves")
    highest = 0.0
    for name, curve in curves.items():
        thin = _thin(len(curve.risk))
        marker = "o" if len(thin) <= DOTS else None
        axes.plot(curve.risk[thin], curve.specificity[thin], marker=marker, ms=2.5, lw=1.6, label=name)
        highest = max(highest, float(np.nanmax(curve.risk, initial=0)))
    axes.set_xlim(0, max(0.02, 1.05 * highest))
    axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=None))
    if curves:
        _legend(axes, None)
    return _png(figure)


def _draw_reliability(upper: Axes, lower: Axes, name: str, bins: Reliability) -> None:
    widths = np.diff(bins.edges)
    filled = bins.counts > 0
    left, width = bins.edges[:-1][filled], widths[filled]
    confidence, accuracy = bins.confidence[filled], bins.accuracy[filled]
    upper.bar(left, accuracy, width, align="edge", color=BLUE, alpha=0.75, ec="white", lw=0.6, label="accuracy")
    upper.vlines(confidence, accuracy, confidence, color=ORANGE, lw=2, label="gap to mean confidence")
    upper.plot([0, 1], [0, 1], color=INK, lw=1, ls="--")
    upper.set(xlim=(0, 1), ylim=(0, 1), ylabel="accuracy")
    upper.set_title(f"{name}:  ECE {bins.ece:.3f}  MCE {bins.mce:.3f}", fontsize=10)
    upper.tick_params(labelbottom=False)
    upper.legend(frameon=False, fontsize=8, loc="upper left")
    lower.bar(left, bins.counts[filled], width, align="edge", color=FAINT, ec="white", lw=0.6)
    lower.set(xlim=(0, 1), xlabel=f"confidence  ({bins.counts.sum():,} predictions)", ylabel="count")
    for axes in (upper, lower):
        axes.set_visible(True)
        _style(axes)


def _draw_grid(axes: Axes, size: int) -> None:
    """White lines between cells, dark ones before the background."""
    between = np.arange(0.5, size - 1)
    axes.hlines(between, -0.5, size - 0.5, color="white", lw=0.4)
    axes.vlines(between, -0.5, size - 0.5, color="white", lw=0.4)
    axes.axhline(size - 1.5, color=INK, lw=0.8)
    axes.axvline(size - 1.5, color=INK, lw=0.8)


def _write_counts(
    axes: Axes, matrix: Int64[np.ndarray, "k k"], fractions: Float64[np.ndarray, "k k"], font: float
) -> None:
    for (row, column), count in np.ndenumerate(matrix):
        if count:
            color = "white" if fractions[row, column] > 0.25 else INK
            axes.text(column, row, f"{count:,}", ha="center", va="center", color=color, fontsize=font * 0.85)


def _envelope(curve: PrecisionRecall) -> tuple[Float64[np.ndarray, " m"], Float64[np.ndarray, " m"]]:
    """Recalls up to the highest, and the best precision at each recall or a higher one."""
    thin = _thin(len(curve.recall))
    recall = np.concatenate([[0.0], curve.recall[thin]])
    return recall, best_precision(curve, recall)


def _thin(count: int) -> Int64[np.ndarray, " m"]:
    """Indices of at most `POINTS` of ``count`` points, including the first and the last."""
    return np.unique(np.linspace(0, max(0, count - 1), min(count, POINTS)).astype(np.int64))


def _square(x: str, y: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(7.4, 5.6), layout="constrained")
    axes = figure.add_subplot()
    axes.set(xlim=(0, 1), ylim=(0, 1.02), xlabel=x, ylabel=y)
    _style(axes)
    return figure, axes


def _style(axes: Axes) -> None:
    axes.grid(color="#e8ebf0", lw=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _legend(axes: Axes, title: str | None) -> None:
    legend = axes.legend(title=title, frameon=False, fontsize=9, loc="center left", bbox_to_anchor=(1.0, 0.5))
    legend.get_title().set_fontsize(10)


def _png(figure: Figure) -> bytes:
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=130, bbox_inches="tight", pad_inches=0.12)
    return file.getvalue()
