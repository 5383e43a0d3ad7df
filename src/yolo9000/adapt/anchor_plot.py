"""A report on anchors as a PNG, after Figure 2 of the paper. Requires matplotlib.

Paper: §2 Dimension Clusters, Figure 2.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jaxtyping import Float64

from yolo9000.adapt.anchors import AnchorReport, Clusters, Unit
from yolo9000.evaluation.figures import Axes, Figure, MaxNLocator, PercentFormatter, Rectangle, colormaps

__all__ = ["plot_report"]

_INCHES, _DOTS_PER_INCH = (12.0, 5.2), 120
_IOU, _EUCLIDEAN, _DEFAULT = "tab:blue", "tab:orange", "tab:green"
_MARGIN = 0.02  # of average IoU above and below the curves
_UNIT_NAMES: dict[Unit, str] = {"cells": "cells", "pixels": "pixels"}


def plot_report(report: AnchorReport, path: str | Path, *, k: int | None = None) -> None:
    """Write a PNG: on the left average IoU against k with the elbow marked, on the right anchors as boxes.

    Args:
        report: what to draw.
        path: file to write; an existing one is replaced.
        k: number of anchors to draw as boxes; None: the elbow.

    Raises:
        ConfigError: the report has no such k.
    """
    row = report.row(report.elbow if k is None else k)
    figure = Figure(figsize=_INCHES, layout="constrained")
    curves, boxes = figure.subplots(1, 2, width_ratios=(1.25, 1))
    _draw_curves(curves, report)
    _draw_boxes(boxes, row.iou, report.unit)
    figure.savefig(path, format="png", dpi=_DOTS_PER_INCH)


def _draw_curves(axes: Axes, report: AnchorReport) -> None:
    ks = [row.k for row in report.rows]
    axes.plot(ks, [row.iou.average_iou for row in report.rows], "o-", color=_IOU, label="clusters under 1 − IoU")
    euclidean = [row.euclidean.average_iou for row in report.rows]
    axes.plot(ks, euclidean, "s--", color=_EUCLIDEAN, markersize=4, label="clusters under Euclidean distance")
    if len(ks) > 1:
        _mark_elbow(axes, report)
    for index, row in enumerate(report.defaults):
        count, height = len(row.anchors_wh), row.coverage["all"].average_iou
        marker = "x+*dv"[index % 5]
        axes.plot(count, height, marker, color=_DEFAULT, markersize=9, label=f"{row.name}: {100 * height:.1f} %")
    axes.set(title=f"Fit of {report.rows[0].coverage['all'].boxes:,} boxes", xlabel="anchors", ylabel="average IoU")
    counts = ks + [len(row.anchors_wh) for row in report.defaults]
    low, high = axes.get_ylim()
    axes.set(xlim=(min(counts) - 0.5, max(counts) + 0.5), ylim=(low - _MARGIN, high + _MARGIN))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=16, min_n_ticks=1))
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0, symbol=" %"))
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right")


def _mark_elbow(axes: Axes, report: AnchorReport) -> None:
    height = report.row(report.elbow).iou.average_iou
    label = f"elbow: {report.elbow} anchors, {100 * height:.1f} %"
    axes.plot(report.elbow, height, "o", color="none", markeredgecolor="black", markersize=14, label=label)
    axes.axvline(report.elbow, color="black", linewidth=0.8, linestyle=":", zorder=0)


def _draw_boxes(axes: Axes, clusters: Clusters, unit: Unit) -> None:
    anchors = clusters.anchors_wh
    fractions = clusters.counts / clusters.counts.sum()
    colors = colormaps["viridis"](np.linspace(0, 0.9, len(anchors)))
    for (width, height), fraction, color in zip(anchors, fractions, colors, strict=True):
        label = f"{_side(width)} × {_side(height)}  ({100 * fraction:.0f} %)"
        corner = (-width / 2, -height / 2)
        axes.add_patch(Rectangle(corner, width, height, fill=False, edgecolor=color, linewidth=2.5, label=label))
    _frame(axes, anchors)
    axes.set(title=f"{len(anchors)} anchors under 1 − IoU", xlabel=f"{_UNIT_NAMES[unit]} from the centre")
    axes.legend(loc="center left", bbox_to_anchor=(1.02, 0.5), title="width × height\n(fraction of boxes)")


def _frame(axes: Axes, anchors_wh: Float64[np.ndarray, "k 2"]) -> None:
    half = 0.55 * anchors_wh.max(axis=0)
    axes.set(xlim=(-half[0], half[0]), ylim=(-half[1], half[1]), aspect="equal")
    axes.grid(alpha=0.3)


def _side(length: float) -> str:
    """Three significant digits; at least all digits before the point."""
    return f"{length:.0f}" if length >= 100 else f"{length:#.3g}"
