"""A new class from a folder of images without boxes, which leaves all others alone.

Only the softmax of the new class and its siblings changes: its rows of the last layer get one more, and all of them are
fitted to images of the new class and of the siblings. The rows of every other sibling group stay the same numbers, so
that what they give stays the same to the bit. A flat softmax cannot promise that.

The rows are fitted to what the frozen network gives for the best boxes of each image: logistic regression, held to
where the old rows were.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float32, Float64, Int64, UInt8

from yolo9000.architectures.layers import Conv, Region
from yolo9000.architectures.surgery import with_classes
from yolo9000.architectures.weights import ConvParameters, Model
from yolo9000.checkpoints.safetensors import Checkpoint
from yolo9000.data.dataset import DataSet, OnError
from yolo9000.data.images import load_image
from yolo9000.errors import ConfigError, DataError, TreeError
from yolo9000.evaluation.labels import labels_among
from yolo9000.inference.decode import LazyClassLogits, find_candidates, node_scores
from yolo9000.inference.detector import Detector
from yolo9000.inference.preprocess import fit
from yolo9000.taxonomy.hierarchy import slug
from yolo9000.taxonomy.wordtree import WordTree

__all__ = ["Added", "Evidence", "add_class", "evidence_of", "fit_rows", "sibling_images", "with_new_child"]

Images = Sequence[UInt8[np.ndarray, "_ _ 3"]]
MAX_IMAGES = 200  # of each sibling
STEPS = 500  # of the fit
HOLD = 1e-3  # how strongly rows are held to where they were, beside a mean cross-entropy


@dataclass(frozen=True)
class Evidence:
    """What the network gives for images of one class: for each anchor the cell that most likely holds an object.

    Attributes:
        features: what the last layer reads there, for each image and anchor.
        weights: how much each counts: the score of its box; sums to 1 for each image.
    """

    features: Float32[np.ndarray, "n a c"]
    weights: Float64[np.ndarray, "n a"]


@dataclass(frozen=True)
class Added:
    """A model with a new class.

    Attributes:
        file: the model.
        node: number of the new node.
        recall: share of the new class' images that are given to it among its siblings.
        before, after: the same of each old sibling that has images, without and with the new class.
    """

    file: Checkpoint
    node: int
    recall: float
    before: dict[str, float]
    after: dict[str, float]


def add_class(
    file: Checkpoint, detector: Detector, under: int, name: str, images: Images, siblings: Mapping[int, Images]
) -> Added:
    """Add a class below a node of a model's tree.

    Args:
        file: the model.
        detector: the same, in an engine, with its class rows apart (``split=True``).
        under: the node that the new one is a kind of.
        name: of the new class.
        images: images that show it.
        siblings: images that show the old children of `under`, by node: what the new one must be told from.

    Raises:
        ConfigError: the classes are flat.
        TreeError: the node has no children, or one of that name.
        DataError: there are no images of the new class, or of no sibling.
    """
    if file.tree is None:
        raise ConfigError("a class can be added to a model with a label tree; the classes of this one are flat")
    tree, node = with_new_child(file.tree, under, name)
    old = np.array(file.tree.children(under), np.int64)
    shown = {int(child): siblings.get(int(child), ()) for child in old}
    if not images or not any(map(len, shown.values())):
        what = f"the new class {name!r}" if not images else f"a child of {file.tree.names[under]!r}, to be told from it"
        raise DataError(f"there must be images of {what}")
    evidence = [evidence_of(detector, under, group) for group in (*shown.values(), images)]
    before = _group_rows(file.model, old)
    after = fit_rows(evidence, *before)
    names = [file.tree.names[child] for child in old]
    known = [place for place, one in enumerate(evidence[:-1]) if len(one.weights)]
    return Added(
        file=_with_rows(file, tree, node, old, after),
        node=node,
        recall=_recall(evidence[-1], len(old), after),
        before={names[place]: _recall(evidence[place], place, before) for place in known},
        after={names[place]: _recall(evidence[place], place, after) for place in known},
    )


def sibling_images(data_set: DataSet, tree: WordTree, under: int, on_error: OnError = "error") -> dict[int, Images]:
    """Images of a data set for each child of a node: those that show it, or what is below it, and no other child.

    Raises:
        ConfigError: a class of the data set is not, or not only, one node's.
        DataError: an image cannot be read.
    """
    labels = labels_among(tree.names, tree, data_set)
    children = list(tree.children(under))
    child_of = {node: child for child in children for node in np.flatnonzero(tree.below(child)).tolist()}
    found: dict[int, list[UInt8[np.ndarray, "_ _ 3"]]] = {child: [] for child in children}
    for sample in data_set.samples(on_error):
        boxed = () if sample.boxes is None else sample.boxes.labels.tolist()
        nodes = [int(labels[label]) for label in (*sample.image_labels, *boxed)]
        shown = {child_of[node] for node in nodes if node in child_of}
        if len(shown) == 1:
            kept = found[next(iter(shown))]
            if len(kept) < MAX_IMAGES:
                kept.append(load_image(sample.image, sample.name).pixels)
    return dict(found)


def with_new_child(tree: WordTree, under: int, name: str) -> tuple[WordTree, int]:
    """The tree with a new node behind the children of another; nodes behind it have the next number each.

    Raises:
        TreeError: the node has no children (a softmax over one class says nothing), or one of that name.
    """
    children = tree.children(under)
    if not children:
        raise TreeError(f"{tree.names[under]!r} must have children already: a lone class has nothing to be told from")
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


def evidence_of(detector: Detector, under: int, images: Images) -> Evidence:
    """Of each image and anchor the box that scores best for a node: objectness x P(node)."""
    spec = detector.prepared.spec
    assert spec.tree is not None and detector.prepared.class_rows is not None  # noqa: S101, PT018  see `add_class`
    anchors, _, channels = detector.prepared.class_rows.weights.shape
    features = np.zeros((len(images), anchors, channels), np.float32)
    weights = np.zeros((len(images), anchors))
    for place, image in enumerate(images):
        arrays = detector.engine.run(fit(image, detector.network_wh, spec.resize_mode)[None])
        output = detector.prepared.head_output(arrays, detector.network_wh)
        assert isinstance(output.class_logits, LazyClassLogits)  # noqa: S101
        boxes = find_candidates(output, 0, spec, (image.shape[1], image.shape[0]), -1.0)
        scores = node_scores(output, 0, spec.tree, boxes, np.array([under], np.int64))[:, 0]
        cells = output.class_logits.features.shape[2] * output.class_logits.features.shape[3]
        by_cell = output.class_logits.features[0].reshape(channels, cells)
        for anchor in range(anchors):
            own = np.flatnonzero(boxes.anchors // cells == anchor)
            if len(own):
                best = own[scores[own].argmax()]
                features[place, anchor] = by_cell[:, boxes.anchors[best] % cells]
                weights[place, anchor] = scores[best]
    totals = weights.sum(axis=1, keepdims=True)
    return Evidence(features, np.divide(weights, totals, out=np.zeros_like(weights), where=totals > 0))


Layers = tuple[Float64[np.ndarray, "a rows c"], Float64[np.ndarray, "a rows"]]


def fit_rows(
    evidence: Sequence[Evidence], weights: Float64[np.ndarray, "a g c"], biases: Float64[np.ndarray, "a g"]
) -> Layers:
    """Rows for a sibling group with one class more, by logistic regression for each anchor.

    Args:
        evidence: of each old class, in order, and of the new one; may be of no images. Every class counts the same.
        weights: the old rows of each anchor.
        biases: the same.

    Returns:
        The rows with the new class behind the old ones; it begins as their mean.
    """
    start_w = np.concatenate([weights, weights.mean(axis=1, keepdims=True)], axis=1)
    start_b = np.concatenate([biases, biases.mean(axis=1, keepdims=True)], axis=1)
    fitted = [_fit_anchor(evidence, anchor, start_w[anchor], start_b[anchor]) for anchor in range(len(weights))]
    return np.stack([rows for rows, _ in fitted]), np.stack([shifts for _, shifts in fitted])


def _fit_anchor(
    evidence: Sequence[Evidence], anchor: int, start_w: Float64[np.ndarray, "g c"], start_b: Float64[np.ndarray, " g"]
) -> tuple[Float64[np.ndarray, "g c"], Float64[np.ndarray, " g"]]:
    features = np.concatenate([one.features[:, anchor] for one in evidence]).astype(np.float64)
    own = np.repeat(np.arange(len(evidence)), [len(one.weights) for one in evidence])
    counts = np.concatenate(
        [one.weights[:, anchor] / max(one.weights[:, anchor].sum(), 1e-12) for one in evidence]
    ) / max(1, sum(len(one.weights) > 0 for one in evidence))
    known = np.column_stack([features, np.ones(len(features))])
    start = np.column_stack([start_w, start_b])
    rows, ahead, momentum = start.copy(), start.copy(), 1.0
    curvature = 0.5 * float((counts[:, None] * known**2).sum()) + HOLD
    for _ in range(STEPS):  # Nesterov's accelerated descent; the loss is convex
        logits = known @ ahead.T
        fractions = np.exp(logits - logits.max(axis=1, keepdims=True))
        fractions /= fractions.sum(axis=1, keepdims=True)
        fractions[np.arange(len(own)), own] -= 1
        gradient = (fractions * counts[:, None]).T @ known + HOLD * (ahead - start)
        following = ahead - gradient / curvature
        faster = (1 + np.sqrt(1 + 4 * momentum**2)) / 2
        ahead = following + (momentum - 1) / faster * (following - rows)
        rows, momentum = following, faster
    return rows[:, :-1], rows[:, -1]


def _recall(one: Evidence, own: int, rows: Layers) -> float:
    """The share of images whose boxes, each as it counts, give most to their own class."""
    weights, biases = rows
    logits = np.einsum("nac,agc->nag", one.features.astype(np.float64), weights) + biases
    fractions = np.exp(logits - logits.max(axis=2, keepdims=True))
    fractions /= fractions.sum(axis=2, keepdims=True)
    return float(((fractions * one.weights[:, :, None]).sum(axis=1).argmax(axis=1) == own).mean())


def _last_conv(model: Model) -> tuple[int, ConvParameters, int]:
    """Place and numbers of the last convolution, and the number of anchors."""
    last = max(i for i, row in enumerate(model.architecture.body) if isinstance(row, Conv))
    numbers, head = model.parameters[last], model.architecture.head
    assert numbers is not None and isinstance(head, Region)  # noqa: S101, PT018  a detector's model file has both
    return last, numbers, len(head.anchors_wh_cells)


def _group_rows(model: Model, nodes: Int64[np.ndarray, " g"]) -> Layers:
    _, numbers, anchors = _last_conv(model)
    weights = numbers.weights.reshape(anchors, -1, numbers.weights.shape[1])[:, 5 + nodes]
    return weights.astype(np.float64), numbers.biases.reshape(anchors, -1)[:, 5 + nodes].astype(np.float64)


def _with_rows(file: Checkpoint, tree: WordTree, node: int, old: Int64[np.ndarray, " g"], rows: Layers) -> Checkpoint:
    """The model with the new tree; all rows but those of the group are the same numbers as before."""
    last, numbers, anchors = _last_conv(file.model)
    group = 5 + np.array([*old, node], np.int64)
    channels = numbers.weights.shape[1]
    weights = np.insert(numbers.weights.reshape(anchors, -1, channels), 5 + node, 0, axis=1)
    biases = np.insert(numbers.biases.reshape(anchors, -1), 5 + node, 0, axis=1)
    weights[:, group], biases[:, group] = rows[0].astype(np.float32), rows[1].astype(np.float32)
    head = file.model.architecture.head
    assert isinstance(head, Region)  # noqa: S101  a detector's
    architecture = with_classes(file.model.architecture, len(tree), anchors=head.anchors_wh_cells, tree=head.tree)
    changed = ConvParameters(weights.reshape(-1, channels, 1, 1), biases.reshape(-1))
    parameters = (*file.model.parameters[:last], changed, *file.model.parameters[last + 1 :])
    trained = {**file.trained, "added": [*file.trained.get("added", []), tree.ids[node]]}
    return replace(file, model=Model(architecture, parameters), names=tree.names, tree=tree, trained=trained)
