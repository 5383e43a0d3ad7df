"""What labelling very many images takes, by arithmetic."""

from __future__ import annotations

import sys

import pytest
from support.paths import ROOT


def test_costs_are_those_of_one_image_times_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [str(ROOT / "benchmarks"), *sys.path])
    from cost import Measured, cost

    all_ = cost(Measured(0.08, 0.01, 50_000, 600), images=6.4e6, classes=1000, days=2)
    assert all_.core_hours == pytest.approx(160)  # 6.4e6 x .09 s = 576,000 s
    assert all_.cores == pytest.approx(160 / 48)
    assert all_.read_bytes_per_second == pytest.approx(6.4e6 * 50_000 / 172_800)
    assert all_.row_bytes == pytest.approx(3.84e9)
    assert all_.parts == 100_000
    assert all_.head_bytes == 4 * 3 * 1000 * 1025  # 3 anchors, 1024 channels and a bias
