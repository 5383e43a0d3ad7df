"""The training options of a Darknet ``.cfg`` as a recipe.

Darknet: src/parser.c parse_net_options, parse_region; src/network.c get_current_rate; examples/detector.c
train_detector. What the file does not state has Darknet's default, which is often not this package's.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from yolo9000.architectures.layers import Architecture, Region, Schedule
from yolo9000.checkpoints.darknet.cfg import read_cfg
from yolo9000.data.dataset import OnError, open_data
from yolo9000.errors import ConfigError

__all__ = ["cfg_recipe", "cfg_values"]

_log = logging.getLogger(__name__)

MAX_CHANGES = 10_000  # of the learning rate, for policy=step
LOSS = {"object_scale": 1.0, "noobject_scale": 1.0, "class_scale": 1.0, "coord_scale": 1.0, "thresh": 0.5}
LOSS_RULES = ("rescore", "bias_match")


def cfg_recipe(cfg: str | Path, data: str | Path, on_error: OnError = "error") -> dict[str, Any]:
    """The recipe that a ``.cfg`` states for a data set, as plain values for `recipe_of`.

    Darknet counts batches where recipes count epochs, so the training images are counted.

    Args:
        cfg: the file; its ``[net]`` must give ``max_batches``.
        data: the data set, such as Darknet's ``.data``.
        on_error: which images count; see `DataSet.samples`.

    Raises:
        ConfigError: the file cannot be read, or has a learning-rate policy that recipes lack.
        DataError: the data cannot be read.
    """
    images = sum(1 for _ in open_data(data, "train").samples(on_error))
    return cfg_values(read_cfg(cfg), str(cfg), images) | {"data": str(data)}


def cfg_values(architecture: Architecture, name: str, images: int) -> dict[str, Any]:
    """`cfg_recipe` but for the data set.

    Args:
        architecture: that the file describes.
        name: of the file.
        images: number of training images.
    """
    schedule, head = architecture.schedule, architecture.head
    batch = schedule.batch or 1
    if not schedule.max_batches:
        raise ConfigError(f"{name}: [net] must give max_batches to train by it")
    if batch == 1:
        _log.warning("%s: batch=1 is for testing; the batch is set by batch=64", name)
    values: dict[str, Any] = {
        "batch": batch,
        "accumulate": schedule.subdivisions or 1,
        "epochs": schedule.max_batches * batch / images,
        "network": {"name": name, "size": [architecture.width, architecture.height]},
        "optimizer": _optimizer(schedule, name, images / batch),
        "augment": _color(schedule),
    }
    if not isinstance(head, Region):
        crops = {key: getattr(schedule, key) or architecture.width for key in ("min_crop", "max_crop")}
        turned = {"angle": schedule.angle or 0.0, "aspect": schedule.aspect or 1.0}
        return values | {"task": "classify", "augment": values["augment"] | crops | turned}
    training = dict(head.training)
    values["augment"]["jitter"] = training.get("jitter", 0.2)
    values["network"] |= {"anchors": "architecture", "fit": architecture.resize_mode or "letterbox"}
    values["loss"] = {key: training.get(key, default) for key, default in LOSS.items()}
    values["loss"] |= {key: bool(training.get(key, False)) for key in LOSS_RULES}
    return values | {"task": "detect", "multi_scale": {} if training.get("random") else None}


def _color(schedule: Schedule) -> dict[str, float]:
    wanted = {"hue": schedule.hue, "saturation": schedule.saturation, "exposure": schedule.exposure}
    unchanged = {"hue": 0.0, "saturation": 1.0, "exposure": 1.0}
    return unchanged | {key: value for key, value in wanted.items() if value is not None}


def _optimizer(schedule: Schedule, name: str, batches_per_epoch: float) -> dict[str, Any]:
    power = 4.0 if schedule.power is None else schedule.power  # of the burn-in and of policy=poly alike
    values = {
        "name": "sgd",
        "lr": 0.001 if schedule.learning_rate is None else schedule.learning_rate,
        "momentum": 0.9 if schedule.momentum is None else schedule.momentum,
        "weight_decay": 0.0001 if schedule.decay is None else schedule.decay,
        "burn_in": schedule.burn_in or 0,
        "burn_in_power": power,
    }
    match schedule.policy or "constant":
        case "constant":
            return values | {"policy": "constant"}
        case "poly":
            return values | {"policy": "poly", "power": power}
        case "exp":
            return values | {"policy": "exp", "gamma": 1.0 if schedule.gamma is None else schedule.gamma}
        case "steps":
            at, scales = schedule.steps or (), schedule.scales or ()
        case "step":
            at, scales = _equal_steps(schedule, name)
        case other:
            raise ConfigError(f"{name}: [net] policy must be constant, step, steps, exp or poly to train, got {other}")
    if len(at) != len(scales):
        raise ConfigError(f"{name}: [net] steps and scales must be as many, got {len(at)} and {len(scales)}")
    return values | {
        "policy": "steps",
        "steps": [max(0, batch) / batches_per_epoch for batch in at],  # -1: from the beginning
        "scales": list(scales),
    }


def _equal_steps(schedule: Schedule, name: str) -> tuple[tuple[int, ...], tuple[float, ...]]:
    every, total = schedule.step or 1, schedule.max_batches or 0
    if every < 1 or total // every > MAX_CHANGES:
        raise ConfigError(f"{name}: [net] step must be at least {max(1, total // MAX_CHANGES)}, got {every}")
    at = tuple(range(every, total + 1, every))
    return at, (1.0 if schedule.scale is None else schedule.scale,) * len(at)
