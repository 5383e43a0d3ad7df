"""From the numbers of the last layer to detections. NumPy on one thread; class scores only where they can matter.

A detector's last layer gives for each anchor of each cell t_x, t_y, t_w, t_h, t_o and a score for every class. Boxes
are decoded only where the objectness passes the threshold, and classes are scored only for those boxes: all of them
under a flat head, on a tree only the sibling groups that the walk down visits. With the 9,418 nodes of YOLO9000 that
is nearly nothing of the whole.

Anchors of one image are numbered a * H * W + row * W + column throughout, as Darknet's are.

Paper: §2 Direct location prediction; §4. Darknet: src/region_layer.c get_region_detections.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float, Float32, Int64

from yolo9000.boxes import clip, cxcywh_to_xyxy, nms, suppress
from yolo9000.inference.preprocess import ResizeMode, boxes_to_image
from yolo9000.inference.settings import DetectionSettings
from yolo9000.taxonomy.wordtree import TreePath, WordTree
from yolo9000.types import Detections, PathStep, TreeAnswer

__all__ = [
    "Candidates",
    "ClassLogits",
    "DenseClassLogits",
    "HeadOutput",
    "HeadSpec",
    "Labelled",
    "LazyClassLogits",
    "decode_boxes",
    "decode_tree",
    "decode_within",
    "find_candidates",
    "flat_scores",
    "label_candidates",
    "node_scores",
    "postprocess",
    "sigmoid",
    "softmax",
    "standing",
    "tree_nms",
]


@dataclass(frozen=True)
class HeadSpec:
    """What a detector's numbers mean.

    Attributes:
        anchors_wh_cells: (A, 2) width and height of each anchor in cells.
        names: display name of each class, or of each node of the tree.
        classes: how class scores become probabilities: ``softmax`` over all, ``sigmoid`` each, or by the ``tree``.
        tree: the label tree where ``classes`` is ``tree``, else None.
        resize_mode: how images are fitted to the network's input.
        nodes: nodes of the tree that are scored as flat classes in its stead, one for each name; None walks the tree.
        hier_thresh: how probable a node must be for an answer to be that specific, unless the user says another;
            None: nothing was calibrated.
        within: nodes of the tree that objects must be, or lie below: probabilities are conditioned on that; None: any.
    """

    anchors_wh_cells: Float32[np.ndarray, "a 2"]
    names: tuple[str, ...]
    classes: Literal["softmax", "sigmoid", "tree"] = "softmax"
    tree: WordTree | None = None
    resize_mode: ResizeMode = "letterbox"
    nodes: Int64[np.ndarray, " k"] | None = None
    hier_thresh: float | None = None
    within: tuple[int, ...] | None = None

    @property
    def class_count(self) -> int:
        """Class scores that the network gives for each anchor."""
        return len(self.names) if self.tree is None else len(self.tree)


@runtime_checkable
class ClassLogits(Protocol):
    """Class scores of the anchors of a batch, before softmax."""

    def rows(
        self, image: int, anchors: Int64[np.ndarray, " m"], first: int, last: int
    ) -> Float32[np.ndarray, "m size"]:
        """Scores of the classes ``first`` to ``last - 1`` for some anchors of one image of the batch."""
        ...


@dataclass(frozen=True)
class DenseClassLogits:
    """Class scores that the network has computed already, (N, A, K, H, W)."""

    scores: Float32[np.ndarray, "n a k h w"]

    def rows(
        self, image: int, anchors: Int64[np.ndarray, " m"], first: int, last: int
    ) -> Float32[np.ndarray, "m size"]:
        """See `ClassLogits.rows`."""
        _, a, k, h, w = self.scores.shape
        prior, cell = np.divmod(anchors, h * w)
        return np.asarray(self.scores[image].reshape(a, k, h * w)[prior, first:last, cell])


@dataclass(frozen=True)
class LazyClassLogits:
    """Class scores computed when asked for, from what the last convolution reads.

    Attributes:
        features: (N, C, H, W), the input of the last 1x1 convolution.
        weights: (A, K, C), its rows for the classes.
        biases: (A, K).
    """

    features: Float32[np.ndarray, "n c h w"]
    weights: Float32[np.ndarray, "a k c"]
    biases: Float32[np.ndarray, "a k"]

    def rows(
        self, image: int, anchors: Int64[np.ndarray, " m"], first: int, last: int
    ) -> Float32[np.ndarray, "m size"]:
        """See `ClassLogits.rows`."""
        _, c, h, w = self.features.shape
        prior, cell = np.divmod(anchors, h * w)
        features = self.features[image].reshape(c, h * w).T
        out = np.empty((len(anchors), last - first), np.float32)
        for a in np.unique(prior):
            of_prior = prior == a
            out[of_prior] = features[cell[of_prior]] @ self.weights[a, first:last].T + self.biases[a, first:last]
        return out


@dataclass(frozen=True)
class HeadOutput:
    """Numbers of a batch as they leave the network.

    Attributes:
        boxes: (N, A, 5, H, W): t_x, t_y, t_w, t_h, t_o.
        class_logits: scores of the classes, there or on demand.
        network_wh: width and height in pixels of the input that gave them.
    """

    boxes: Float32[np.ndarray, "n a 5 h w"]
    class_logits: ClassLogits
    network_wh: tuple[int, int]


@dataclass(frozen=True)
class Candidates:
    """Anchors of one image whose objectness passes.

    Attributes:
        anchors: their numbers, rising.
        objectness: sigma(t_o).
        boxes_cxcywh: centre, width, height as fractions of the image, not clipped to it.
    """

    anchors: Int64[np.ndarray, " m"]
    objectness: Float32[np.ndarray, " m"]
    boxes_cxcywh: Float32[np.ndarray, "m 4"]


@dataclass(frozen=True)
class Labelled:
    """Candidates with a label each; one candidate may stand here several times, with different labels.

    Attributes:
        candidates: place of each among the candidates.
        labels: class, or node of the tree.
        scores: above the threshold.
        descents: how the walk down the tree came to each label; empty for flat classes.
    """

    candidates: Int64[np.ndarray, " d"]
    labels: Int64[np.ndarray, " d"]
    scores: Float32[np.ndarray, " d"]
    descents: Sequence[TreePath]


def sigmoid(x: Float32[np.ndarray, "*shape"]) -> Float32[np.ndarray, "*shape"]:
    """1 / (1 + exp(-x)), without overflow."""
    with np.errstate(over="ignore"):
        return np.asarray(1 / (1 + np.exp(-x)), np.float32)


def softmax(x: Float32[np.ndarray, "*shape"]) -> Float32[np.ndarray, "*shape"]:
    """Softmax along the last axis; zeros where scores that are not finite leave it without a meaning."""
    with np.errstate(invalid="ignore"):
        exponentials = np.exp(x - x.max(axis=-1, keepdims=True))
    probabilities = exponentials / exponentials.sum(axis=-1, keepdims=True)
    probabilities[np.isnan(probabilities)] = 0
    return np.asarray(probabilities)


def decode_boxes(
    t: Float32[np.ndarray, "a 5 h w"],
    anchors: Int64[np.ndarray, " m"],
    anchors_wh_cells: Float32[np.ndarray, "a 2"],
) -> Float32[np.ndarray, "m 4"]:
    """Direct location prediction for some anchors of one image.

    b_x = (sigma(t_x) + c_x) / W, b_y = (sigma(t_y) + c_y) / H, b_w = p_w exp(t_w) / W, b_h = p_h exp(t_h) / H.

    Returns:
        Centre, width, height as fractions of the network's input.

    Paper: §2 Direct location prediction. Darknet: src/region_layer.c get_region_box.
    """
    a, _, h, w = t.shape
    prior, cell = np.divmod(anchors, h * w)
    row, column = np.divmod(cell, w)
    tx, ty, tw, th = t.reshape(a, 5, h * w)[prior, :4, cell].T
    with np.errstate(over="ignore"):
        boxes = [
            (column + sigmoid(tx)) / w,
            (row + sigmoid(ty)) / h,
            np.exp(tw) * anchors_wh_cells[prior, 0] / w,
            np.exp(th) * anchors_wh_cells[prior, 1] / h,
        ]
    return np.stack(boxes, axis=1).astype(np.float32)


def find_candidates(
    output: HeadOutput, image: int, spec: HeadSpec, image_wh: tuple[int, int], threshold: float
) -> Candidates:
    """The anchors of one image of the batch whose objectness is above the threshold, with their boxes.

    Anchors whose t is NaN have no box and are left out.
    """
    t = output.boxes[image]
    objectness = sigmoid(t[:, 4].reshape(-1))
    passing = (objectness > threshold) & ~np.isnan(t[:, :4]).any(axis=1).reshape(-1)
    anchors = np.flatnonzero(passing).astype(np.int64)
    boxes = decode_boxes(t, anchors, spec.anchors_wh_cells)
    boxes = boxes_to_image(boxes, output.network_wh, image_wh, spec.resize_mode)
    return Candidates(anchors, objectness[anchors], boxes)


def flat_scores(output: HeadOutput, image: int, spec: HeadSpec, candidates: Candidates) -> Float32[np.ndarray, "m k"]:
    """Objectness x class probability of every class, or chosen node of the tree, for every candidate."""
    if spec.tree is not None and spec.nodes is not None:
        return node_scores(output, image, spec.tree, candidates, spec.nodes)
    logits = output.class_logits.rows(image, candidates.anchors, 0, len(spec.names))
    probabilities = softmax(logits) if spec.classes == "softmax" else sigmoid(logits)
    return np.asarray(candidates.objectness[:, None] * probabilities)


def node_scores(
    output: HeadOutput, image: int, tree: WordTree, candidates: Candidates, nodes: Int64[np.ndarray, " k"]
) -> Float32[np.ndarray, "m k"]:
    """Objectness x P(node) of chosen nodes of a tree for every candidate: a coarser or foreign set of classes.

    Darknet: src/region_layer.c get_region_detections with ``map``.
    """
    conditionals = _conditionals(output.class_logits, image, tree, candidates)
    everyone = np.arange(len(candidates.anchors))
    of_group: dict[int, Float32[np.ndarray, "m size"]] = {}
    scores = np.repeat(candidates.objectness[:, None], len(nodes), axis=1)
    for column, node in enumerate(nodes):
        for step in tree.path(int(node)):
            group = int(tree.groups[step])
            if group not in of_group:
                of_group[group] = conditionals(everyone, group)
            scores[:, column] *= of_group[group][:, step - tree.group_offsets[group]]
    return scores


def decode_within(
    output: HeadOutput,
    image: int,
    tree: WordTree,
    roots: tuple[int, ...],
    candidates: Candidates,
    settings: DetectionSettings,
) -> tuple[Float32[np.ndarray, " m"], list[TreePath]]:
    """Walk every candidate down the part of the tree that is asked for: P(node | the object is one of those asked for).

    Args:
        output: numbers of the batch.
        image: which image of it.
        tree: the whole tree.
        roots: the nodes that are asked for.
        candidates: the boxes.
        settings: when a walk stops.

    Returns:
        The objectness of each candidate times the probability that it is one of those asked for; and the descents,
        which begin at one of the tops, in nodes of the whole tree.
    """
    part, nodes = tree.subtree(roots)
    asked = node_scores(output, image, tree, candidates, nodes[: len(roots)])
    objectness = asked.sum(axis=1)
    with np.errstate(invalid="ignore"):
        fractions = np.nan_to_num(asked / objectness[:, None])
    whole = _conditionals(output.class_logits, image, tree, candidates)

    def conditionals(items: Int64[np.ndarray, " m"], group: int) -> Float32[np.ndarray, "m size"]:
        return fractions[items] if group == 0 else whole(items, int(tree.groups[nodes[part.group_offsets[group]]]))

    found = part.decode(conditionals, len(candidates.anchors), settings.hier_thresh, settings.hier_decoding)
    return objectness, [_in_whole_tree(descent, nodes) for descent in found]


def _in_whole_tree(descent: TreePath, nodes: Int64[np.ndarray, " m"]) -> TreePath:
    def moved(choice: tuple[int, float] | None) -> tuple[int, float] | None:
        return None if choice is None else (int(nodes[choice[0]]), choice[1])

    path = tuple(int(nodes[node]) for node in descent.nodes)
    return TreePath(path, descent.conditionals, moved(descent.refused), moved(descent.runner_up))


def decode_tree(
    output: HeadOutput, image: int, tree: WordTree, candidates: Candidates, settings: DetectionSettings
) -> list[TreePath]:
    """Walk every candidate down the tree, scoring only the sibling groups on its way."""
    conditionals = _conditionals(output.class_logits, image, tree, candidates)
    return tree.decode(conditionals, len(candidates.anchors), settings.hier_thresh, settings.hier_decoding)


def _conditionals(
    logits: ClassLogits, image: int, tree: WordTree, candidates: Candidates
) -> Callable[[Int64[np.ndarray, " m"], int], Float32[np.ndarray, "m size"]]:
    """Conditional probabilities of one sibling group for some of the candidates, computed when asked for."""

    def conditionals(items: Int64[np.ndarray, " m"], group: int) -> Float32[np.ndarray, "m size"]:
        first = int(tree.group_offsets[group])
        last = first + int(tree.group_sizes[group])
        return softmax(logits.rows(image, candidates.anchors[items], first, last))

    return conditionals


@np.errstate(over="ignore", invalid="ignore")  # boxes may be huge, up to infinite, before they are clipped
def postprocess(
    output: HeadOutput,
    image: int,
    spec: HeadSpec,
    image_wh: tuple[int, int],
    settings: DetectionSettings,
    keep: Bool[np.ndarray, " k"] | None = None,
) -> Detections:
    """The detections in one image of the batch.

    Args:
        output: numbers of the batch.
        image: which image of it.
        spec: what the numbers mean.
        image_wh: width and height of the image.
        settings: thresholds.
        keep: which labels to give; None for all. Suppression goes first, so what is left out may have hidden a box.
    """
    candidates = find_candidates(output, image, spec, image_wh, settings.conf_threshold)
    found = label_candidates(output, image, spec, candidates, settings)
    stand = standing(candidates, found, settings)
    if keep is not None:
        stand = stand[keep[found.labels[stand]]]
    stand = stand[np.argsort(-found.scores[stand], kind="stable")][: settings.max_detections]
    boxes = candidates.boxes_cxcywh[found.candidates[stand]] * np.array([*image_wh, *image_wh], np.float32)
    answers = (_answer(spec.tree, found.descents[i]) for i in stand) if spec.tree and found.descents else ()
    return Detections(
        boxes_xyxy=clip(cxcywh_to_xyxy(boxes), image_wh),
        scores=found.scores[stand],
        labels=found.labels[stand],
        names=tuple(spec.names[label] for label in found.labels[stand]),
        size_wh=image_wh,
        answers=tuple(answers),
    )


def label_candidates(
    output: HeadOutput, image: int, spec: HeadSpec, candidates: Candidates, settings: DetectionSettings
) -> Labelled:
    """Give candidates their labels and scores, and leave out what does not pass the threshold.

    Under a flat head a candidate gets every class whose score passes; on a tree the one node where its walk ends.
    """
    if spec.tree is not None and spec.nodes is None:
        return _label_by_tree(output, image, spec.tree, spec.within, candidates, settings)
    scores = flat_scores(output, image, spec, candidates)
    places, labels = np.nonzero(scores > settings.conf_threshold)
    return Labelled(places, labels, scores[places, labels], ())


def _label_by_tree(
    output: HeadOutput,
    image: int,
    tree: WordTree,
    within: tuple[int, ...] | None,
    candidates: Candidates,
    settings: DetectionSettings,
) -> Labelled:
    if within is None:
        scores, descents = candidates.objectness, decode_tree(output, image, tree, candidates, settings)
    else:
        scores, descents = decode_within(output, image, tree, within, candidates, settings)
    labels = np.array([descent.nodes[-1] for descent in descents], np.int64)
    if settings.hier_decoding == "conditional":
        scores = scores * np.array([np.prod(descent.conditionals) for descent in descents], np.float32)
    passing = np.flatnonzero(scores > settings.conf_threshold)
    return Labelled(passing, labels[passing], scores[passing], [descents[i] for i in passing])


def standing(candidates: Candidates, found: Labelled, settings: DetectionSettings) -> Int64[np.ndarray, " kept"]:
    """Places among the labelled of those that no other suppresses; see `DetectionSettings.suppression`."""
    boxes_of_candidates = cxcywh_to_xyxy(candidates.boxes_cxcywh)
    boxes = boxes_of_candidates[found.candidates]
    by_path = found.descents and settings.hier_decoding == "conditional"
    match settings.suppression or ("path" if by_path else "label"):
        case "objectness":
            best = nms(boxes_of_candidates, candidates.objectness, settings.nms_iou)
            return np.flatnonzero(np.isin(found.candidates, best))
        case "path" if found.descents:
            return tree_nms(boxes, found.scores, [descent.nodes for descent in found.descents], settings.nms_iou)
        case _:
            groups = (np.flatnonzero(found.labels == label) for label in np.unique(found.labels))
            kept = [group[nms(boxes[group], found.scores[group], settings.nms_iou)] for group in groups]
            return np.concatenate(kept) if kept else np.zeros(0, np.int64)


def tree_nms(
    boxes_xyxy: Float[np.ndarray, "d 4"],
    scores: Float[np.ndarray, " d"],
    paths: Sequence[tuple[int, ...]],
    threshold: float,
) -> Int64[np.ndarray, " kept"]:
    """Suppression on a tree: one object, one path, and the deepest label on it stays.

    Of two boxes that overlap, one yields if its label lies on the other's path: to the deeper label, or between equal
    labels to the better score. Boxes whose paths part (a dog on a sofa) both stand. On a tree of one level this is
    suppression within each class.

    Args:
        boxes_xyxy: the boxes.
        scores: their scores.
        paths: nodes from the top to each box's label.
        threshold: IoU above which boxes overlap.

    Returns:
        Places of the boxes that stand, deepest labels first.
    """
    depths = np.array([len(path) for path in paths], np.int64)
    labels = np.array([path[-1] for path in paths], np.int64)
    order = np.lexsort((-scores, -depths))

    def on_path(place: int, others: Int64[np.ndarray, " m"]) -> Bool[np.ndarray, " m"]:
        return np.isin(labels[others], paths[place])

    return suppress(boxes_xyxy, order, threshold, on_path)


def _answer(tree: WordTree, descent: TreePath) -> TreeAnswer:
    """The walk in the words of the answer: names, and probabilities multiplied up."""
    absolute = np.cumprod(descent.conditionals)
    path = tuple(
        _step(tree, node, conditional, probability)
        for node, conditional, probability in zip(descent.nodes, descent.conditionals, absolute, strict=True)
    )
    above = path[-2].probability if len(path) > 1 else 1.0
    return TreeAnswer(
        path=path,
        stopped="leaf" if tree.leaves[descent.nodes[-1]] else "hier_thresh",
        next_best=_beside(tree, descent.refused, path[-1].probability),
        runner_up=_beside(tree, descent.runner_up, above),
    )


def _beside(tree: WordTree, choice: tuple[int, float] | None, above: float) -> PathStep | None:
    return None if choice is None else _step(tree, choice[0], choice[1], above * choice[1])


def _step(tree: WordTree, node: int, conditional: float, probability: float) -> PathStep:
    return PathStep(node, tree.names[node], float(conditional), float(probability))
