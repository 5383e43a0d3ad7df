"""The learning rate of every step.

Paper: §3. Darknet: src/network.c get_current_rate.
"""

from __future__ import annotations

import math

from yolo9000.training.recipe import OptimizerSettings

__all__ = ["lr"]


def lr(settings: OptimizerSettings, step: int, progress: float, epoch: float) -> float:
    """The learning rate of a step.

    Args:
        settings: the schedule.
        step: 1-based: Darknet counts a batch before it computes its learning rate.
        progress: fraction of the training that is done after the step, in [0, 1].
        epoch: passes over the images after the step.
    """
    if step < settings.burn_in:
        return settings.lr * float((step / settings.burn_in) ** settings.burn_in_power)
    return settings.lr * _factor(settings, step, progress, epoch)


def _factor(settings: OptimizerSettings, step: int, progress: float, epoch: float) -> float:
    match settings.policy:
        case "constant":
            return 1.0
        case "poly":
            return float((1 - progress) ** settings.power)
        case "cosine":
            return (1 + math.cos(math.pi * progress)) / 2
        case "exp":
            return float(settings.gamma**step)
        case "steps":
            passed = (scale for at, scale in zip(settings.steps, settings.scales, strict=True) if epoch >= at)
            return math.prod(passed, start=1.0)
