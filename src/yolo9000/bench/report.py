"""What `yolo9000 bench` shows and writes: tables, JSON and a plot."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any

from yolo9000.bench.measure import Measured

__all__ = ["Bench", "plot_of"]

COLUMNS = ("median ms", "p90 ms", "images/s", "of GEMM peak", "first s", "load s", "peak MB", "difference")


@dataclass(frozen=True)
class Bench:
    """All that one run measured.

    Attributes:
        model: its file or name.
        machine: the CPU.
        rounds: of measuring.
        peaks: see `gemm_peaks`.
        start_times: see `start_times`.
        operations: of the network on one image, by size; None where they are not known.
        groups: subjects that did the same work.
    """

    model: str
    machine: str
    rounds: int
    peaks: dict[str, float]
    start_times: dict[str, float]
    operations: dict[tuple[int, int], int | None]
    groups: list[list[Measured]]

    def lines(self) -> list[str]:
        """Tables in Markdown."""
        lines = [f"{self.machine}; {self.rounds} rounds; {date.today()}"]
        lines += [f"GEMM 2048 x 2048, {name}: {peak / 1e9:.0f} GFLOP/s" for name, peak in self.peaks.items()]
        lines += [f"{name}: {seconds:.2f} s" for name, seconds in self.start_times.items()]
        for group in self.groups:
            lines += ["", *self._table(group)]
        return lines

    def _table(self, group: Sequence[Measured]) -> list[str]:
        subject = group[0].subject
        width, height = subject.size_wh
        count = self.operations.get(subject.size_wh)
        title = f"{self.model} at {width}x{height}, batch {subject.batch}" + (f", {count / 1e9:.2f} G" if count else "")
        rows = [f"| {one.subject.name} | {' | '.join(self._cells(one))} |" for one in group if not one.problem]
        problems = [f"{one.subject.name}: not measured: {one.problem}" for one in group if one.problem]
        return [f"| {title} | {' | '.join(COLUMNS)} |", "|---" * (len(COLUMNS) + 1) + "|", *rows, *problems]

    def _cells(self, one: Measured) -> list[str]:
        fraction = self._peak_fraction(one)
        return [
            f"{one.median_ms:.1f}",
            f"{one.p90_ms:.1f}",
            f"{one.images_per_s:.1f}",
            "" if fraction is None else f"{fraction:.0%}",
            f"{one.first_s:.2f}",
            f"{one.load_s:.2f}",
            "" if one.peak_mb is None else f"{one.peak_mb:.0f}",
            "" if one.difference is None else f"{one.difference:.1e}",
        ]

    def _peak_fraction(self, one: Measured) -> float | None:
        """Operations a second of our networks, as a fraction of the GEMM's in the same precision."""
        count, peak = self.operations.get(one.subject.size_wh), self.peaks.get(one.subject.precision)
        if one.subject.peer is not None or one.subject.scope != "network" or not count or not peak:
            return None
        return count * one.images_per_s / peak

    def to_json(self) -> dict[str, Any]:
        """Plain values for ``json``."""
        plain = {name: value for name, value in vars(self).items() if name not in ("groups", "operations")}
        sizes = {f"{width}x{height}": count for (width, height), count in self.operations.items()}
        groups = [[asdict(one) for one in group] for group in self.groups]
        return {**plain, "date": str(date.today()), "operations": sizes, "groups": groups}


def plot_of(bench: Bench) -> bytes:
    """The median and p90 of each subject, a panel for each size and batch, as PNG.

    Raises:
        EngineError: matplotlib is not installed.
    """
    from yolo9000.evaluation.figures import Figure

    groups = [[one for one in group if not one.problem] for group in bench.groups]
    groups = [group for group in groups if group]
    heights = [0.6 + 0.32 * len(group) for group in groups]
    figure = Figure(figsize=(9, sum(heights) + 0.6), layout="constrained")
    panels = figure.subplots(len(groups), 1, squeeze=False, height_ratios=heights)[:, 0]
    for axes, group in zip(panels, groups, strict=True):
        subject = group[0].subject
        names = [one.subject.name for one in group]
        above = [one.p90_ms - one.median_ms for one in group]
        axes.barh(names, [one.median_ms for one in group], xerr=[[0] * len(group), above], color="#4477aa")
        axes.invert_yaxis()
        axes.set_title(
            f"{bench.model} at {subject.size_wh[0]}x{subject.size_wh[1]}, batch {subject.batch}", fontsize=10
        )
        axes.set_xlabel("ms a batch: median, and the line up to p90")
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=110)
    return stream.getvalue()
