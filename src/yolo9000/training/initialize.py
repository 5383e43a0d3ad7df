"""The network of a recipe, and its initial weights: from scratch or transferred from another model."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil, floor, log, prod

import numpy as np
from jaxtyping import Int64

from yolo9000.architectures import surgery
from yolo9000.architectures.layers import Architecture, Region
from yolo9000.architectures.surgery import scale_width
from yolo9000.architectures.weights import Model
from yolo9000.architectures.zoo import BUILT_IN
from yolo9000.checkpoints.load import cfg_of, is_model, load_architecture, load_model, load_weights
from yolo9000.checkpoints.model import LoadedModel
from yolo9000.data.dataset import open_data
from yolo9000.data.images import image_size
from yolo9000.errors import ConfigError, WeightsError
from yolo9000.taxonomy.wordtree import WordTree
from yolo9000.training.recipe import START, DetectorNetworkSettings, NetworkSettings, Recipe

__all__ = [
    "Initial",
    "check_multiples",
    "known_classes",
    "named_architecture",
    "resolve_start",
    "size_for_images",
    "transfer",
]

_log = logging.getLogger(__name__)

SHOWN = 5  # names in a message
MAX_ENLARGED = 4 / 3
MAX_ASPECT = 3.0  # of an input; beyond it most images would be small on it after all


def resolve_start(recipe: Recipe) -> Recipe:
    """The recipe with the size and the resize mode of the model that it starts from, where it takes over the network.

    Raises:
        ConfigError: the recipe takes over the network of a start that has none.
        DataError: the data are asked for the proportions of their images, and cannot be read.
    """
    network = recipe.network
    if network.name != START:
        return recipe
    if recipe.start is None or not is_model(recipe.start):
        raise ConfigError(f"network.name={START} needs start=MODEL, got start={recipe.start}")
    model = load_model(recipe.start)
    own = {"size": model.network_wh, "fit": None if model.head is None else model.head.resize_mode}
    missing = {key: value for key, value in own.items() if key not in network.model_fields_set and value is not None}
    fields = {key: value for key, value in missing.items() if key in type(network).model_fields}
    if isinstance(network, DetectorNetworkSettings) and network.aspect == "data" and "size" in fields:
        multiple = model.trained_weights.architecture.size_multiple()
        fields["size"] = size_for_images(model.network_wh, usual_size(recipe), multiple)
    return recipe.model_copy(update={"network": network.model_copy(update=fields)})


def usual_size(recipe: Recipe) -> tuple[float, float]:
    """Width and height of the training images: the medians of areas and proportions, which few odd ones do not move.

    Raises:
        DataError: the data cannot be read.
    """
    samples = open_data(recipe.data, "train").samples(recipe.on_error)
    sizes_wh = [sample.size_wh or image_size(sample.image, sample.name) for sample in samples]
    area, aspect = np.median([(width * height, width / height) for width, height in sizes_wh], axis=0).tolist()
    return (area * aspect) ** 0.5, (area / aspect) ** 0.5


def size_for_images(network_wh: tuple[int, int], image_wh: tuple[float, float], multiple: int) -> tuple[int, int]:
    """An input for images of a size: one that shows them with about as many pixels as the network has.

    Of the sizes around the wanted one, it is that which comes nearest to it and leaves least of the input empty. Small
    images are enlarged by `MAX_ENLARGED` at most: more takes time and shows nothing more.

    >>> size_for_images((416, 416), (640, 480), 32)
    (480, 384)
    >>> size_for_images((416, 416), (224, 224), 32)
    (288, 288)
    """
    image_pixels = image_wh[0] * image_wh[1]
    pixels = min(network_wh[0] * network_wh[1], MAX_ENLARGED**2 * image_pixels)
    aspect = min(max(image_wh[0] / image_wh[1], 1 / MAX_ASPECT), MAX_ASPECT)
    wanted = (pixels * aspect) ** 0.5, (pixels / aspect) ** 0.5

    def cost(size_wh: tuple[int, int]) -> float:
        shown = min(side / length for side, length in zip(size_wh, wanted, strict=True)) ** 2  # of the wanted pixels
        empty = prod(size_wh) / (shown * pixels)
        return abs(log(shown)) + log(empty)

    widths, heights = ({max(1, floor(side / multiple)), ceil(side / multiple)} for side in wanted)
    return min(((w * multiple, h * multiple) for w in sorted(widths) for h in sorted(heights)), key=cost)


def named_architecture(settings: NetworkSettings, start: str | None = None) -> Architecture:
    """The network that a recipe names, at the recipe's size, with the head that it is defined with.

    Built-in networks have the recipe's width; a ``.cfg`` and the model to start from are taken as they are.

    Args:
        settings: of the network; the name ``start`` is the network of the model to start from.
        start: that model.

    Raises:
        ConfigError: no architecture has that name, or it cannot have that size.
    """
    if settings.name == START and start is not None:
        architecture = load_model(start).trained_weights.architecture
    else:
        architecture = load_architecture(settings.name, argument="network.name")
    width, height = settings.size_wh
    check_multiples("network.size", settings.size_wh, architecture.size_multiple())
    if settings.name in BUILT_IN:
        architecture = scale_width(architecture, settings.width)
    elif settings.width != 1:
        _log.warning("network.width is of built-in networks: %s is taken as it is", settings.name)
    return replace(architecture, width=width, height=height)


def check_multiples(key: str, lengths: Sequence[int], multiple: int) -> None:
    """Check lengths of the input against `Architecture.size_multiple`.

    Raises:
        ConfigError: one is no multiple; with the key of the recipe, and the nearest that are.
    """
    for length in lengths:
        if length % multiple:
            lower = length // multiple * multiple
            nearest = " or ".join(str(near) for near in (lower, lower + multiple) if near)
            raise ConfigError(f"{key} must be multiples of {multiple}, got {length} (nearest: {nearest})")


@dataclass(frozen=True)
class Initial:
    """What a training starts with.

    Attributes:
        model: the network with its initial weights.
        transferred: number of layers from the first on whose weights were transferred.
        classes: number of classes that they know.
        origin: where the weights come from, for people.
    """

    model: Model
    transferred: int
    classes: int
    origin: str


def transfer(start: str, fresh: Model, names: Sequence[str], tree: WordTree | None) -> Initial:
    """Initial weights from a model or a weights file, where its layers fit.

    Layers are transferred from the first on, as long as both networks have the same. Of the last convolution, the rows
    of the boxes are transferred, and of the classes that the start knows: by id, name or synonym, never by position.
    Other classes start from zero. See `yolo9000.architectures.surgery.transfer`.

    Args:
        start: a model, the name of the bundled model, or Darknet weights, whole or partial.
        fresh: the network with weights that are initialised from scratch.
        names: of its classes, or of all nodes of its tree.
        tree: its label tree.

    Raises:
        WeightsError: the file cannot be read, or fits no layer.
    """
    loaded = _named_model(start)
    try:
        source = load_weights(start, fresh.architecture) if loaded is None else loaded.trained_weights
        known = None if loaded is None else known_classes(names, tree, loaded)
        result = surgery.transfer(source, fresh, known)
    except ConfigError as error:
        raise WeightsError(f"{start}: {error}") from None
    total = sum(parameters is not None for parameters in fresh.parameters)
    layers = f"{result.convolutions} of {total} convolutions transferred from {start}"
    taken = [] if known is None else [names[label] for label in np.flatnonzero(known >= 0).tolist()][: result.classes]
    shown = ", ".join(taken[:SHOWN]) + (", ..." if len(taken) > SHOWN else "")
    classes = f", and {len(taken)} of {len(names)} classes: {shown}" if taken else ""
    return Initial(result.model, result.layers, len(taken), layers + classes)


def _named_model(start: str) -> LoadedModel | None:
    """The model to start from, if it names its classes; not Darknet's classifiers and partial weights."""
    cfg = cfg_of(start)
    if cfg is not None:
        return load_model(cfg) if isinstance(load_architecture(cfg).head, Region) else None
    return load_model(start) if is_model(start) else None


def known_classes(names: Sequence[str], tree: WordTree | None, start: LoadedModel) -> Int64[np.ndarray, " k"]:
    """The label of each class in a model, by id, name or synonym; -1 where it has none, or several.

    Args:
        names: of the classes, or of all nodes of the tree.
        tree: their label tree.
        start: the model.
    """
    by_name: dict[str, set[int]] = {}
    for label, name in enumerate(start.names):
        by_name.setdefault(name.casefold(), set()).add(label)
    synonyms = () if start.tree is None else start.tree.synonyms
    for label, others in enumerate(synonyms or ()):
        for name in others:
            by_name.setdefault(name.casefold(), {label})
    ids = {} if start.tree is None else {identifier: {label} for label, identifier in enumerate(start.tree.ids)}
    known = np.full(len(names), -1)
    for label, name in enumerate(names):
        identifier = name if tree is None else tree.ids[label]
        matches = ids.get(identifier) or by_name.get(name.casefold(), set())
        if len(matches) == 1:
            known[label] = next(iter(matches))
    return known
