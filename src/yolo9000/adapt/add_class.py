"""Add a class to a detector from a folder of images without boxes; all other classes stay as they are.

Only the softmax of the new class and its siblings changes: its rows of the last layer get one more, and all of them are
fitted to images of the new class and of the siblings. The rows of every other sibling group keep their weights, so
their probabilities stay the same to the bit. A flat softmax cannot guarantee that.

The rows are fitted to the output of the frozen network for the best boxes of each image: logistic regression with a
penalty on the distance from the old rows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Float64, Int64, UInt8

from yolo9000.adapt.calibrate import readable_image
from yolo9000.architectures.layers import Conv, Region
from yolo9000.architectures.surgery import with_classes
from yolo9000.architectures.weights import ConvParameters, Model
from yolo9000.checkpoints.model import LoadedModel
from yolo9000.data.dataset import DataSet, OnError
from yolo9000.errors import ConfigError, DataError, TreeError
from yolo9000.evaluation.labels import labels_among
from yolo9000.inference.detector import Detector, ImageHead
from yolo9000.inference.head_output import LazyClassLogits, node_scores, softmax
from yolo9000.taxonomy.hierarchy import slug
from yolo9000.taxonomy.wordtree import WordTree

__all__ = ["AddedClass", "Evidence", "add_class", "evidence_of", "fit_rows", "sibling_images", "with_new_child"]

Pixels = UInt8[np.ndarray, "_ _ 3"]
BATCH = 8
MAX_IMAGES = 200  # of each sibling
STEPS = 500  # of the fit
PENALTY = 1e-3  # on the squared distance from the old rows, in addition to a mean cross-entropy


@dataclass(frozen=True)
class Evidence:
    """The output of the network for images of one class: for each anchor the cell that most likely holds an object.

    Attributes:
        features: input of the last layer there, for each image and anchor.
        weights: the score of each box; sums to 1 for each image.
    """

    features: Float32[np.ndarray, "n a c"]
    weights: Float64[np.ndarray, "n a"]


@dataclass(frozen=True)
class AddedClass:
    """A model with a new class.

    Attributes:
        model: the model.
        node: index of the new node.
        recall: fraction of the new class's images that get it among its siblings.
        before, after: the same of each sibling that has images, without and with the new class.
    """

    model: LoadedModel
    node: int
    recall: float
    before: dict[str, float]
    after: dict[str, float]


def add_class(
    model: LoadedModel,
    detector: Detector,
    under: int,
    name: str,
    images: Iterable[Pixels],
    siblings: Iterable[tuple[int, Pixels]],
) -> AddedClass:
    """Add a class below a node of a model's tree.

    Args:
        model: with weights and a label tree.
        detector: the same model, in an engine, with its class rows kept apart (`LoadedModel.with_lazy_classes`).
        under: the parent of the new node.
        name: of the new class.
        images: images that show it; read a batch at a time.
        siblings: images that show a child of ``under``, each with that child; read a batch at a time.

    Raises:
        ConfigError: the classes are flat.
        TreeError: the node has no children, or one with that name.
        DataError: there are no images of the new class, or of no sibling.
    """
    if model.tree is None:
        raise ConfigError("a class can be added to a model with a label tree; the classes of this one are flat")
    tree, node = with_new_child(model.tree, under, name)
    old = np.array(model.tree.children(under), np.int64)
    evidence = [*_evidence_of_siblings(detector, under, old, siblings), evidence_of(detector, under, images)]
    with_images = [index for index, one in enumerate(evidence[:-1]) if len(one.weights)]
    if not len(evidence[-1].weights):
        raise DataError(f"there must be images of the new class {name!r}")
    if not with_images:
        raise DataError(f"there must be images of another child of {model.tree.names[under]!r}, to compare with")
    weights = model.trained_weights
    before = _group_rows(weights, old)
    after = fit_rows(evidence, *before)
    names = [model.tree.names[child] for child in old]
    changed = _with_rows(weights, tree, node, old, after)
    added = [*model.trained.get("added", []), tree.ids[node]]
    return AddedClass(
        model=model.changed(weights=changed, names=tree.names, tree=tree, trained={"added": added}),
        node=node,
        recall=_recall(evidence[-1], len(old), after),
        before={names[index]: _recall(evidence[index], index, before) for index in with_images},
        after={names[index]: _recall(evidence[index], index, after) for index in with_images},
    )


def sibling_images(
    data_set: DataSet,
    tree: WordTree,
    under: int,
    on_error: OnError = "error",
    on_unreadable: Callable[[DataError], None] | None = None,
) -> Iterator[tuple[int, Pixels]]:
    """Images of a data set that show one child of a node, or what is below it, and no other child; with that child.

    Args:
        data_set: the images; of each child at most `MAX_IMAGES` are read.
        tree: the label tree.
        under: the node.
        on_error: what to do with issues in annotations.
        on_unreadable: called with the error of each image that cannot be read; None raises it.

    Raises:
        ConfigError: a class of the data set is not that of exactly one node.
        DataError: an image cannot be read and ``on_unreadable`` is None.
    """
    labels = labels_among(tree.names, tree, data_set)
    child_of = {node: child for child in tree.children(under) for node in np.flatnonzero(tree.below(child)).tolist()}
    counts: Counter[int] = Counter()
    for sample in data_set.samples(on_error):
        boxed = () if sample.boxes is None else sample.boxes.labels.tolist()
        nodes = [int(labels[label]) for label in (*sample.image_labels, *boxed)]
        shown = {child_of[node] for node in nodes if node in child_of}
        if len(shown) == 1 and counts[child := next(iter(shown))] < MAX_IMAGES:
            for image in readable_image(sample, on_unreadable):
                counts[child] += 1
                yield child, image


def with_new_child(tree: WordTree, under: int, name: str) -> tuple[WordTree, int]:
    """The tree with a new node after the children of another; the indices of later nodes grow by 1.

    Raises:
        TreeError: the node has no children (a softmax over one class says nothing), or one with that name.
    """
    children = tree.children(under)
    if not children:
        raise TreeError(f"{tree.names[under]!r} must have children already: a lone class has nothing to compare with")
    if any(tree.names[child].lower() == name.lower() for child in children):
        raise TreeError(f"{tree.names[under]!r} has a child {name!r} already")
    node, node_id, number = children.stop, slug(name), 1
    while node_id in tree.index_by_id:
        number += 1
        node_id = f"{slug(name)}-{number}"
    parents = np.insert(tree.parents + (tree.parents >= node), node, under)
    synonyms = [*tree.synonyms[:node], (), *tree.synonyms[node:]] if tree.synonyms else ()
    notes = [*tree.notes[:node], "", *tree.notes[node:]] if tree.notes else ()
    names, ids = ([*values[:node], new, *values[node:]] for values, new in ((tree.names, name), (tree.ids, node_id)))
    return WordTree.from_parents(parents.tolist(), names, ids, synonyms, notes), node


def evidence_of(detector: Detector, under: int, images: Iterable[Pixels]) -> Evidence:
    """Of each image and anchor the box that scores best for a node: objectness x P(node)."""
    return _stacked(detector, [_best_cells(detector, under, one) for one in _heads(detector, images)])


def _evidence_of_siblings(
    detector: Detector, under: int, children: Int64[np.ndarray, " g"], images: Iterable[tuple[int, Pixels]]
) -> list[Evidence]:
    """The evidence of each child."""
    of_child: dict[int, list[_Cells]] = {child: [] for child in children.tolist()}
    for child, one in detector.heads_of(images, batch=BATCH, min_objectness=-1.0):
        of_child[child].append(_best_cells(detector, under, one))
    return [_stacked(detector, cells) for cells in of_child.values()]


def _heads(detector: Detector, images: Iterable[Pixels]) -> Iterator[ImageHead]:
    return detector.heads(images, batch=BATCH, min_objectness=-1.0)


_Cells = tuple[Float32[np.ndarray, "a c"], Float64[np.ndarray, " a"]]


def _best_cells(detector: Detector, under: int, one: ImageHead) -> _Cells:
    """For each anchor the features of the cell with the best score, and that score divided by their sum."""
    tree, logits = detector.head.tree, one.output.class_logits
    assert tree is not None and isinstance(logits, LazyClassLogits)  # noqa: S101, PT018  see `add_class`
    anchors, _, channels = logits.weights.shape
    scores = node_scores(one.output, one.index, tree, one.candidates, np.array([under], np.int64))[:, 0]
    by_cell = logits.features[one.index].reshape(channels, -1)
    priors, cells = np.divmod(one.candidates.anchors, by_cell.shape[1])
    features, weights = np.zeros((anchors, channels), np.float32), np.zeros(anchors)
    for anchor in range(anchors):
        of_anchor = np.flatnonzero(priors == anchor)
        if len(of_anchor):
            best = of_anchor[scores[of_anchor].argmax()]
            features[anchor], weights[anchor] = by_cell[:, cells[best]], scores[best]
    return features, weights / weights.sum() if weights.sum() > 0 else weights


def _stacked(detector: Detector, cells: Sequence[_Cells]) -> Evidence:
    class_rows = detector.model.class_rows
    assert class_rows is not None  # noqa: S101  see `add_class`
    anchors, _, channels = class_rows.weights.shape
    if not cells:
        return Evidence(np.zeros((0, anchors, channels), np.float32), np.zeros((0, anchors)))
    return Evidence(np.stack([features for features, _ in cells]), np.stack([weights for _, weights in cells]))


Rows = tuple[Float64[np.ndarray, "a rows c"], Float64[np.ndarray, "a rows"]]


def fit_rows(
    evidence: Sequence[Evidence], weights: Float64[np.ndarray, "a g c"], biases: Float64[np.ndarray, "a g"]
) -> Rows:
    """Class rows for a sibling group with one more class, by logistic regression for each anchor.

    Args:
        evidence: of each old class, in order, and of the new one; may be of no images. Every class has equal weight.
        weights: of the old rows of each anchor.
        biases: of the old rows of each anchor.

    Returns:
        The rows with the new class after the old ones; it is initialised as their mean.
    """
    start_w = np.concatenate([weights, weights.mean(axis=1, keepdims=True)], axis=1)
    start_b = np.concatenate([biases, biases.mean(axis=1, keepdims=True)], axis=1)
    fitted = [_fit_anchor(evidence, anchor, start_w[anchor], start_b[anchor]) for anchor in range(len(weights))]
    return np.stack([rows for rows, _ in fitted]), np.stack([shifts for _, shifts in fitted])


def _fit_anchor(
    evidence: Sequence[Evidence], anchor: int, start_w: Float64[np.ndarray, "g c"], start_b: Float64[np.ndarray, " g"]
) -> tuple[Float64[np.ndarray, "g c"], Float64[np.ndarray, " g"]]:
    features = np.concatenate([one.features[:, anchor] for one in evidence]).astype(np.float64)
    true = np.repeat(np.arange(len(evidence)), [len(one.weights) for one in evidence])
    counts = np.concatenate(
        [one.weights[:, anchor] / max(one.weights[:, anchor].sum(), 1e-12) for one in evidence]
    ) / max(1, sum(len(one.weights) > 0 for one in evidence))
    inputs = np.column_stack([features, np.ones(len(features))])
    start = np.column_stack([start_w, start_b])
    rows, ahead, momentum = start.copy(), start.copy(), 1.0
    curvature = 0.5 * float((counts[:, None] * inputs**2).sum()) + PENALTY
    for _ in range(STEPS):  # Nesterov's accelerated descent; the loss is convex
        errors = softmax(inputs @ ahead.T)
        errors[np.arange(len(true)), true] -= 1
        gradient = (errors * counts[:, None]).T @ inputs + PENALTY * (ahead - start)
        stepped = ahead - gradient / curvature
        next_momentum = (1 + np.sqrt(1 + 4 * momentum**2)) / 2
        ahead = stepped + (momentum - 1) / next_momentum * (stepped - rows)
        rows, momentum = stepped, next_momentum
    return rows[:, :-1], rows[:, -1]


def _recall(one: Evidence, true: int, rows: Rows) -> float:
    """The fraction of images whose boxes, weighted by their scores, give most probability to the true class."""
    weights, biases = rows
    logits = np.einsum("nac,agc->nag", one.features.astype(np.float64), weights) + biases
    probabilities = (softmax(logits) * one.weights[:, :, None]).sum(axis=1)
    return float((probabilities.argmax(axis=1) == true).mean())


def _last_conv(weights: Model) -> tuple[int, ConvParameters, Region]:
    """Index and parameters of the last convolution, and the head after it."""
    last = max(i for i, layer in enumerate(weights.architecture.body) if isinstance(layer, Conv))
    parameters, head = weights.parameters[last], weights.architecture.head
    assert parameters is not None and isinstance(head, Region)  # noqa: S101, PT018  true of a detector
    return last, parameters, head


def _group_rows(weights: Model, nodes: Int64[np.ndarray, " g"]) -> Rows:
    _, parameters, head = _last_conv(weights)
    anchors = len(head.anchors_wh_cells)
    kernels = parameters.weights.reshape(anchors, -1, parameters.weights.shape[1])[:, 5 + nodes]
    return kernels.astype(np.float64), parameters.biases.reshape(anchors, -1)[:, 5 + nodes].astype(np.float64)


def _with_rows(weights: Model, tree: WordTree, node: int, old: Int64[np.ndarray, " g"], rows: Rows) -> Model:
    """The weights for the new tree; all rows but those of the sibling group are unchanged."""
    last, parameters, head = _last_conv(weights)
    anchors, channels = len(head.anchors_wh_cells), parameters.weights.shape[1]
    group = 5 + np.array([*old, node], np.int64)
    kernels = np.insert(parameters.weights.reshape(anchors, -1, channels), 5 + node, 0, axis=1)
    biases = np.insert(parameters.biases.reshape(anchors, -1), 5 + node, 0, axis=1)
    kernels[:, group], biases[:, group] = rows[0].astype(np.float32), rows[1].astype(np.float32)
    architecture = with_classes(weights.architecture, len(tree), anchors=head.anchors_wh_cells, tree=head.tree)
    changed = ConvParameters(kernels.reshape(-1, channels, 1, 1), biases.reshape(-1))
    return Model(architecture, (*weights.parameters[:last], changed, *weights.parameters[last + 1 :]))
