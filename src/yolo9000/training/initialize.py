"""What training begins with: the network's table and its first numbers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from yolo9000.architectures.layers import Architecture
from yolo9000.architectures.surgery import class_count, initial_model, scale_width, transfer
from yolo9000.architectures.weights import Model
from yolo9000.checkpoints.load import load_architecture, load_weights
from yolo9000.errors import ConfigError, WeightsError
from yolo9000.training.recipe import DetectRecipe, NetworkSettings, Recipe

__all__ = ["initial_weights", "named_architecture"]


def named_architecture(settings: NetworkSettings) -> Architecture:
    """The network that a recipe names, at the width and size that it says; its head is still the one of the table.

    Raises:
        ConfigError: there is no such network, or it cannot have that size.
    """
    architecture = load_architecture(settings.name, argument="network.name")
    width, height = settings.size_wh
    return replace(scale_width(architecture, settings.width), width=width, height=height)


def initial_weights(recipe: Recipe, architecture: Architecture) -> tuple[Model, str]:
    """The network's first numbers, and where they come from in words.

    Args:
        recipe: names what to begin from, and the seed of what is drawn.
        architecture: the network, with its final head.

    Raises:
        WeightsError: a file cannot be read, or fits no layer.
        ConfigError: the same, of one of our model files.
    """
    objectness = recipe.network.initial_objectness if isinstance(recipe, DetectRecipe) else 0.5
    fresh = initial_model(architecture, recipe.seed, objectness)
    if recipe.start is None:
        return fresh, "all layers from nothing"
    try:
        source = load_weights(recipe.start, architecture)
        same = class_count(source.architecture) == class_count(architecture)
        transferred = transfer(source, fresh, np.arange(class_count(architecture)) if same else None)
    except ConfigError as error:
        raise WeightsError(f"{recipe.start}: {error}") from None
    total = sum(numbers is not None for numbers in fresh.parameters)
    return (
        transferred.model,
        f"{transferred.convolutions} of {total} convolutions from {recipe.start}, the others from nothing",
    )
