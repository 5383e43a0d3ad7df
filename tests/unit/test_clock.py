"""The clock of a training, by a time that the test sets."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from yolo9000.training import clock
from yolo9000.training.clock import Clock
from yolo9000.training.distributed import World

WORLD = World(0, 1, torch.device("cpu"))


class Time:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(clock, "time", SimpleNamespace(perf_counter=lambda: self.now))


def evaluate(time: Time, watch: Clock, seconds: float) -> None:
    with watch.evaluation():
        time.now += seconds


def test_evaluations_are_due_at_quarters_and_the_last_one_ends_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    time = Time(monkeypatch)
    watch = Clock(2.0, WORLD)  # 120 s
    due = []
    while watch.progress < 1:
        time.now += 1
        watch.take()
        if watch.is_due:
            due.append(watch.elapsed())
            evaluate(time, watch, 4)
    # At 1/4 of 120 s; from then on 4 s are kept for the last one: at 1/2, 3/4 and all of 116 s
    assert due == [30, 58, 87, 116]
    assert watch.elapsed() == 120


def test_evaluations_that_take_long_are_left_out_but_for_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    time = Time(monkeypatch)
    watch = Clock(1.0, WORLD)  # 60 s, of which evaluations may take 12 before the last
    due = []
    while watch.progress < 1:
        time.now += 1
        watch.take()
        if watch.is_due:
            due.append(watch.elapsed())
            evaluate(time, watch, 8)  # two would take 16
    assert due == [15, 52]
    assert watch.elapsed() == 60


def test_it_goes_on_from_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    time = Time(monkeypatch)
    watch = Clock(1.0, WORLD)
    time.now += 500  # reading the data again does not count
    watch.set(45.0)
    assert watch.progress == 0.75
    time.now += 15
    watch.take()
    assert (watch.progress, watch.is_due) == (1.0, True)


def test_without_a_limit_it_only_measures(monkeypatch: pytest.MonkeyPatch) -> None:
    time = Time(monkeypatch)
    watch = Clock(None, WORLD)
    time.now += 7
    watch.take()
    assert (watch.elapsed(), watch.progress, watch.is_due) == (7, 0, False)
