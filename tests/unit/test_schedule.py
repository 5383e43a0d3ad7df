"""The learning rate: the paper's by arithmetic, and Darknet's as its C program gave it."""

from __future__ import annotations

import math

import pytest

from yolo9000.training.recipe import OptimizerSettings
from yolo9000.training.schedule import lr


def test_burn_in_rises_with_the_fourth_power() -> None:
    settings = OptimizerSettings(lr=0.001, burn_in=1000)
    assert lr(settings, 500, 0.25, 2.5) == pytest.approx(0.001 / 16)  # (1/2)^4
    assert lr(settings, 1, 0.0005, 0.005) == pytest.approx(1e-15)
    assert lr(settings, 1000, 0.5, 5.0) == 0.001


def test_steps_fall_at_their_epochs() -> None:
    settings = OptimizerSettings(lr=0.001, steps=[60, 90], scales=[0.1, 0.1])
    # 160 epochs of 100 steps: epoch 60 begins with step 6000
    rates = [lr(settings, step, step / 16_000, step / 100) for step in (1, 5_999, 6_000, 8_999, 9_000, 16_000)]
    assert rates == pytest.approx([1e-3, 1e-3, 1e-4, 1e-4, 1e-5, 1e-5])


def test_poly_falls_to_nothing() -> None:
    settings = OptimizerSettings(lr=0.1, policy="poly", power=4)
    assert lr(settings, 500, 0.5, 3.5) == pytest.approx(0.1 / 16)
    assert lr(settings, 1000, 1.0, 7.0) == 0


def test_cosine_is_half_a_turn() -> None:
    settings = OptimizerSettings(lr=0.2, policy="cosine")
    # 1/3 of the way: (1 + cos 60 degrees) / 2 = 3/4
    assert lr(settings, 10, 1 / 3, 0.3) == pytest.approx(0.15)
    assert lr(settings, 30, 1.0, 1.0) == pytest.approx(0, abs=1e-17)


def test_constant_stays() -> None:
    assert {lr(OptimizerSettings(policy="constant"), step, step / 9, 1.0) for step in range(1, 10)} == {1e-3}


@pytest.mark.parametrize("policy", ["constant", "poly", "steps", "cosine"])
def test_rates_never_rise_after_the_burn_in(policy: str) -> None:
    settings = OptimizerSettings.model_validate({"policy": policy, "steps": [1, 2], "scales": [0.5, 0.5], "burn_in": 5})
    rates = [lr(settings, step, step / 40, 3 * step / 40) for step in range(1, 41)]
    assert rates[:4] == sorted(rates[:4])
    assert rates[4:] == sorted(rates[4:], reverse=True)
    assert all(map(math.isfinite, rates))
