"""The network of a recipe, and its initial weights: from scratch or transferred from another model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from yolo9000.architectures.layers import Architecture, Region
from yolo9000.architectures.surgery import common_layers, hand_on, last_conv, scale_width
from yolo9000.architectures.weights import ConvParameters, Model
from yolo9000.checkpoints.darknet.weights import read_weights
from yolo9000.checkpoints.load import is_model, load_architecture, load_model
from yolo9000.checkpoints.model import LoadedModel
from yolo9000.errors import ConfigError, WeightsError
from yolo9000.taxonomy.wordtree import WordTree
from yolo9000.training.recipe import START, NetworkSettings, Recipe

__all__ = ["Initial", "known_classes", "named_architecture", "resolve_start", "transfer"]

SHOWN = 5  # names in a message


def resolve_start(recipe: Recipe) -> Recipe:
    """The recipe with the size and the resize mode of the model that it starts from, where it takes over the network.

    Raises:
        ConfigError: the recipe takes over the network of a start that has none.
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
    return recipe.model_copy(update={"network": network.model_copy(update=fields)})


def named_architecture(settings: NetworkSettings, start: str | None = None) -> Architecture:
    """The network that a recipe names, at the recipe's width and size, with the head that it is defined with.

    Args:
        settings: of the network; the name ``start`` is the network of the model to start from.
        start: that model.

    Raises:
        ConfigError: there is no such network, or it cannot have that size.
    """
    if settings.name == START and start is not None:
        architecture = load_model(start).trained_weights.architecture
    else:
        architecture = load_architecture(settings.name, argument="network.name")
    width, height = settings.size_wh
    return replace(scale_width(architecture, settings.width), width=width, height=height)


@dataclass(frozen=True)
class Initial:
    """What a training starts with.

    Attributes:
        model: the network with its initial weights.
        transferred: number of layers from the first on whose weights were transferred.
        origin: where the weights come from, for people.
    """

    model: Model
    transferred: int
    origin: str


def transfer(start: str, fresh: Model, names: Sequence[str], tree: WordTree | None) -> Initial:
    """Initial weights from a model or a weights file, where its layers fit.

    Layers are transferred from the first on, as long as both networks have the same. Of the last convolution, the rows
    of boxes and objectness are transferred if the anchors are the same, and the rows of the classes that the start
    knows: by id, name or synonym, never by position.

    Args:
        start: a model, the name of the bundled model, or Darknet weights, whole or partial.
        fresh: the network with weights that are initialised from scratch.
        names: of its classes, or of all nodes of its tree.
        tree: its label tree.

    Raises:
        WeightsError: the file cannot be read, or fits no layer.
    """
    try:
        if not is_model(start):
            return _common(start, _weights_before_the_last(start, fresh.architecture), fresh)
        loaded = load_model(start)
        initial = _common(start, loaded.trained_weights, fresh)
    except ConfigError as error:
        raise WeightsError(f"{start}: {error}") from None
    return _with_known_classes(initial, loaded, names, tree)


def _weights_before_the_last(path: str, architecture: Architecture) -> Model:
    """The weights in a Darknet file up to the last convolution, whose classes the file does not name."""
    before = replace(architecture, rows=architecture.rows[: last_conv(architecture)])
    return read_weights(path, before, partial=True, prefix=True)[1]


def _common(start: str, given: Model, fresh: Model) -> Initial:
    """The layers that both networks have, but for the last convolution, whose filters depend on the classes."""
    before = last_conv(fresh.architecture)
    model, convolutions = hand_on(given, fresh, before)
    total = sum(parameters is not None for parameters in fresh.parameters)
    layers = common_layers(given.architecture, fresh.architecture, before)
    return Initial(model, layers, f"{convolutions} of {total} convolutions transferred from {start}")


def _with_known_classes(initial: Initial, start: LoadedModel, names: Sequence[str], tree: WordTree | None) -> Initial:
    """The initial weights with the rows of the last convolution that the start has."""
    last, old_last = last_conv(initial.model.architecture), last_conv(start.trained_weights.architecture)
    old, new = start.trained_weights.parameters[old_last], initial.model.parameters[last]
    fits = old is not None and new is not None and old.weights.shape[1:] == new.weights.shape[1:]
    if initial.transferred < last or not fits:
        return initial
    assert old is not None and new is not None  # noqa: S101, PT018  checked by `fits`
    known = known_classes(names, tree, start)
    head, old_head = initial.model.architecture.head, start.trained_weights.architecture.head
    boxes = (
        isinstance(head, Region) and isinstance(old_head, Region) and head.anchors_wh_cells == old_head.anchors_wh_cells
    )
    if not (known or boxes):
        return initial
    rows = _class_rows(old, new, known, len(start.names), len(names), boxes=boxes)
    parameters = (*initial.model.parameters[:last], rows, *initial.model.parameters[last + 1 :])
    shown = ", ".join(names[new] for new in list(known)[:SHOWN]) + (", ..." if len(known) > SHOWN else "")
    parts = (["boxes and objectness"] if boxes else []) + (
        [f"{len(known)} of {len(names)} classes ({shown})"] if known else []
    )
    origin = f"{initial.origin}, and {' and '.join(parts)}" if parts else initial.origin
    return replace(initial, model=replace(initial.model, parameters=parameters), origin=origin)


def known_classes(names: Sequence[str], tree: WordTree | None, start: LoadedModel) -> dict[int, int]:
    """The classes that a model knows, as its labels: by id, name or synonym, where only one has it.

    Args:
        names: of the classes, or of all nodes of the tree.
        tree: their label tree.
        start: the model.
    """
    by_key: dict[str, set[int]] = {}
    for label, name in enumerate(start.names):
        by_key.setdefault(name.casefold(), set()).add(label)
    if start.tree is not None:
        for label, synonyms in enumerate(start.tree.synonyms or ()):
            for name in synonyms:
                by_key.setdefault(name.casefold(), {label})
        by_key |= {identifier: {label} for label, identifier in enumerate(start.tree.ids)}
    known = {}
    for label, name in enumerate(names):
        keys = [name.casefold(), name] if tree is None else [tree.ids[label], name.casefold()]
        found = next((by_key[key] for key in keys if len(by_key.get(key, ())) == 1), None)
        if found is not None:
            known[label] = next(iter(found))
    return known


def _class_rows(
    old: ConvParameters, new: ConvParameters, known: dict[int, int], old_count: int, count: int, *, boxes: bool
) -> ConvParameters:
    """The last convolution: rows of known classes and of boxes from the old one, zeros for the other classes."""
    weights, biases = _by_anchor(new.weights, count), _by_anchor(new.biases, count)
    old_weights, old_biases = _by_anchor(old.weights, old_count), _by_anchor(old.biases, old_count)
    first = weights.shape[1] - count
    if boxes:
        weights[:, :first], biases[:, :first] = old_weights[:, :first], old_biases[:, :first]
    weights[:, first:], biases[:, first:] = 0, 0
    old_first = old_weights.shape[1] - old_count
    for label, old_label in known.items():
        same = len(weights) == len(old_weights)
        row, bias = old_weights[:, old_first + old_label], old_biases[:, old_first + old_label]
        weights[:, first + label], biases[:, first + label] = (row, bias) if same else (row.mean(0), bias.mean(0))
    return ConvParameters(weights.reshape(new.weights.shape), biases.reshape(new.biases.shape), new.batch_norm)


def _by_anchor(values: np.ndarray, classes: int) -> np.ndarray:
    """A copy of the filters as (anchor, box and class rows, ...): a classifier has one anchor and no box rows."""
    filters = len(values)
    anchors = 1 if filters == classes else filters // (5 + classes)
    return values.reshape(anchors, filters // anchors, *values.shape[1:]).copy()
