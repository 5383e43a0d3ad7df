"""What training begins with: the network's table and its first numbers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from yolo9000.architectures.layers import Architecture
from yolo9000.architectures.surgery import hand_on, initial_model, scale_width
from yolo9000.architectures.weights import Model
from yolo9000.architectures.zoo import BUILT_IN
from yolo9000.checkpoints.darknet.cfg import read_cfg
from yolo9000.checkpoints.darknet.weights import read_weights
from yolo9000.checkpoints.safetensors import read_checkpoint
from yolo9000.errors import ConfigError, WeightsError, nearest
from yolo9000.training.recipe import DetectRecipe, NetworkSettings, Recipe

__all__ = ["initial_weights", "named_architecture"]


def named_architecture(settings: NetworkSettings) -> Architecture:
    """The network that a recipe names, at the width and size that it says; its head is still the one of the table.

    Raises:
        ConfigError: there is no such network, or it cannot have that size.
    """
    name = settings.name
    if name in BUILT_IN:
        architecture = BUILT_IN[name]()
    elif Path(name).suffix == ".cfg":
        architecture = read_cfg(name)
    else:
        raise ConfigError(
            f"network.name must be a .cfg file or one of {', '.join(BUILT_IN)}, got {name!r}{nearest(name, BUILT_IN)}"
        )
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
        if Path(recipe.start).suffix == ".safetensors":
            model, taken = hand_on(read_checkpoint(recipe.start).model, fresh)
        else:
            _, given = read_weights(recipe.start, architecture, partial=True)
            model, taken = hand_on(given, fresh)
    except ConfigError as error:
        raise WeightsError(f"{recipe.start}: {error}") from None
    total = sum(numbers is not None for numbers in fresh.parameters)
    return model, f"{taken} of {total} convolutions from {recipe.start}, the others from nothing"
