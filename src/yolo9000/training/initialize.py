"""The network of a recipe and its initial weights."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from yolo9000.architectures import surgery
from yolo9000.architectures.layers import Architecture
from yolo9000.architectures.surgery import class_count, scale_width
from yolo9000.architectures.weights import Model
from yolo9000.checkpoints.load import load_architecture, load_weights
from yolo9000.errors import ConfigError, WeightsError
from yolo9000.training.recipe import NetworkSettings

__all__ = ["named_architecture", "transfer"]


def named_architecture(settings: NetworkSettings) -> Architecture:
    """The network that a recipe names, at the recipe's width and size, with the head that it is defined with.

    Raises:
        ConfigError: there is no such network, or it cannot have that size.
    """
    architecture = load_architecture(settings.name, argument="network.name")
    width, height = settings.size_wh
    return replace(scale_width(architecture, settings.width), width=width, height=height)


def transfer(start: str, fresh: Model) -> tuple[Model, str]:
    """Initial weights from a file, where its layers fit.

    Args:
        start: a ``.safetensors`` checkpoint, or Darknet weights, whole or partial.
        fresh: the network with weights that are initialised from scratch.

    Returns:
        The network, and a sentence that says which layers were transferred.

    Raises:
        WeightsError: the file cannot be read, or fits no layer.
    """
    try:
        source = load_weights(start, fresh.architecture)
        same = class_count(source.architecture) == class_count(fresh.architecture)
        result = surgery.transfer(source, fresh, np.arange(class_count(source.architecture)) if same else None)
    except ConfigError as error:
        raise WeightsError(f"{start}: {error}") from None
    total = sum(parameters is not None for parameters in fresh.parameters)
    how = f"{result.convolutions} of {total} convolutions transferred from {start}, the others initialised from scratch"
    return result.model, how
