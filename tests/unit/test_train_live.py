"""The progress of a training: plain lines now and then, or a moving one with lines above it."""

from __future__ import annotations

import io
import re
import threading
from pathlib import Path

import pytest
from rich.console import Console

from yolo9000.training import progress as module
from yolo9000.training.progress import ProgressLine


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(autouse=True)
def _no_system(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Memory depends on the machine."""
    monkeypatch.setattr(module, "STATM", tmp_path / "not there")


def train(live: ProgressLine, clock: Clock, first: int, count: int, seconds: float, waited: float = 0.0) -> None:
    for done in range(1, count + 1):
        clock.now += seconds
        live.step_done(first + done, (first + done) / 10, {"total": 3.0 + done % 2, "classes": 1.0}, waited * done)


def test_not_on_a_terminal_a_line_comes_every_thirty_seconds() -> None:
    out, clock = io.StringIO(), Clock()
    with ProgressLine(Console(file=out), 100, 400, 8, clock) as live:
        train(live, clock, first=100, count=14, seconds=5.0, waited=1.0)  # 70 s
    # After 6 and 12 steps. Losses 4 3 4 3 4 3: mean 3.5; 8 / 5 images/s; 1 s of 5 waiting; 294 and 288 steps x 5 s
    assert out.getvalue().splitlines() == [
        "step 106 of 400, epoch 10.60, loss 3.50 = classes 1.00, 1.6 images/s, 20% waiting, 0:24:30 left",
        "step 112 of 400, epoch 11.20, loss 3.50 = classes 1.00, 1.6 images/s, 20% waiting, 0:24:00 left",
    ]


def test_speed_is_that_of_the_last_fifty_steps() -> None:
    out, clock = io.StringIO(), Clock()
    with ProgressLine(Console(file=out), 0, 200, 200, clock) as live:
        train(live, clock, first=0, count=100, seconds=0.1)
        train(live, clock, first=100, count=50, seconds=1.0)
    # A line at 30 s: 100 steps took 10 s, 20 more 20 s; the last 50: 30 x 0.1 s + 20 x 1 s = 23 s -> 10,000 / 23; but
    # 80 steps are left at 30 s / 120. At 60 s: 150 steps; 200 images a second, 50 steps at 60 / 150.
    lines = out.getvalue().splitlines()
    assert [line.split(", ")[0] for line in lines] == ["step 120 of 200", "step 150 of 200"]
    assert "434.8 images/s" in lines[0]
    assert "0:00:20 left" in lines[0]
    assert "200.0 images/s" in lines[1]
    assert "0:00:20 left" in lines[1]


def test_on_a_terminal_the_line_moves_below_messages() -> None:
    out, clock = io.StringIO(), Clock()
    console = Console(file=out, force_terminal=True, width=200, color_system=None, legacy_windows=False)
    with ProgressLine(console, 0, 40, 4, clock) as live:
        train(live, clock, first=0, count=3, seconds=1.0)
        live.write("epoch 1: [map50] 0.5")
        train(live, clock, first=3, count=1, seconds=1.0)
    text = out.getvalue()
    assert "epoch 1: [map50] 0.5\n" in text
    assert "step 4 of 40" in text
    assert text.index("epoch 1:") < text.rindex("step 4 of 40")


def test_memory_is_shown_where_it_is_known(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    statm = tmp_path / "statm"
    statm.write_text("900000 393216 7 1 0 5 0\n")  # the second: 393,216 pages of 4,096 bytes = 1.5 GiB
    monkeypatch.setattr(module, "STATM", statm)
    monkeypatch.setattr(module.os, "sysconf", lambda name: 4096)
    out, clock = io.StringIO(), Clock()
    live = ProgressLine(Console(file=out, width=500), 0, 2, 4, clock)
    clock.now += 31
    live.step_done(1, 0.5, {"total": 1.0, "classes": 1.0}, 0.0, gpu_bytes=5 * 2**29)
    assert out.getvalue().strip().endswith("memory 1.5 GiB, GPU 2.5 GiB")


def test_the_moving_line_needs_no_thread_and_is_not_drawn_at_every_step() -> None:
    # Workers are forked beside it: a thread could hold a lock then.
    before = threading.active_count()
    out, clock = io.StringIO(), Clock()
    with ProgressLine(Console(file=out, force_terminal=True, width=200, color_system=None), 0, 4000, 4, clock) as live:
        assert threading.active_count() == before
        train(live, clock, first=0, count=99, seconds=0.0625)  # 6.2 s; drawn every eighth step, at 8, 16, ..., 96
    drawn = set(re.findall(r"step (\d+) of 4,000", out.getvalue()))
    assert drawn == {str(step) for step in range(8, 99, 8)}
