"""The arrays that a detector's network returns, and the boxes and class probabilities in them. NumPy on one thread.

The last layer gives t_x, t_y, t_w, t_h, t_o and a logit for every class for each anchor of each cell. Boxes are decoded
only where the objectness passes a threshold, and class probabilities are computed only for those boxes.

The anchors of one image have the indices a * H * W + row * W + column throughout, as in Darknet.

Paper: §2 Direct location prediction. Darknet: src/region_layer.c get_region_detections.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Float32, Int64

from yolo9000.architectures.head import Head
from yolo9000.inference.preprocess import boxes_to_image
from yolo9000.taxonomy.wordtree import WordTree

__all__ = [
    "Candidates",
    "ClassLogits",
    "Conditionals",
    "DenseClassLogits",
    "HeadOutput",
    "LazyClassLogits",
    "Segments",
    "class_probabilities",
    "class_scores",
    "conditionals_of",
    "decode_boxes",
    "find_candidates",
    "node_scores",
    "ranges",
    "sigmoid",
    "softmax",
    "softmax_of_segments",
]

WORTH_THREADS = 3 * 10**8  # multiplications that take `vecdot` some 40 ms

Segments = Callable[
    [Int64[np.ndarray, " n"], Int64[np.ndarray, " n"], Int64[np.ndarray, " n"]], Float32[np.ndarray, " sizes"]
]
"""Called with indices of the anchors, and for each the first class and their number; returns all logits in one row."""


Conditionals = Callable[[Int64[np.ndarray, " m"], Int64[np.ndarray, " m"]], Float32[np.ndarray, " sizes_of_groups"]]
"""Called with candidates and a sibling group for each; returns the groups' conditional probabilities in one row."""


@runtime_checkable
class ClassLogits(Protocol):
    """Class logits of the anchors of a batch."""

    def rows(
        self, image: int, anchors: Int64[np.ndarray, " m"], first: int, last: int
    ) -> Float32[np.ndarray, "m size"]:
        """Logits of the classes ``first`` to ``last - 1`` for some anchors of one image of the batch."""
        ...

    def segments(self, image: int, anchors: Int64[np.ndarray, " m"]) -> Segments:
        """Logits of other classes for each of some anchors of one image: what hierarchical decoding asks for."""
        ...


@dataclass(frozen=True)
class DenseClassLogits:
    """Class logits that the network has already computed.

    Attributes:
        logits: (N, A, K, H, W).
    """

    logits: Float32[np.ndarray, "n a k h w"]

    def rows(
        self, image: int, anchors: Int64[np.ndarray, " m"], first: int, last: int
    ) -> Float32[np.ndarray, "m size"]:
        """See `ClassLogits.rows`."""
        _, a, k, h, w = self.logits.shape
        prior, cell = np.divmod(anchors, h * w)
        return np.asarray(self.logits[image].reshape(a, k, h * w)[prior, first:last, cell])

    def segments(self, image: int, anchors: Int64[np.ndarray, " m"]) -> Segments:
        """See `ClassLogits.segments`."""
        _, a, k, h, w = self.logits.shape
        prior, cell = np.divmod(anchors, h * w)
        logits = self.logits[image].reshape(a, k, h * w)

        def of(items: np.ndarray, firsts: np.ndarray, sizes: np.ndarray) -> np.ndarray:
            each = np.repeat(items, sizes)
            return np.asarray(logits[prior[each], ranges(firsts, sizes), cell[each]])

        return of


@dataclass(frozen=True)
class LazyClassLogits:
    """Class logits computed on demand from the input of the last convolution.

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
        features = self.features[image].reshape(c, h * w).T[cell]
        out = np.empty((len(anchors), last - first), np.float32)
        for a in np.unique(prior):
            of_prior = prior == a
            out[of_prior] = _products(features[of_prior], self.weights[a, first:last]) + self.biases[a, first:last]
        return out

    def segments(self, image: int, anchors: Int64[np.ndarray, " m"]) -> Segments:
        """See `ClassLogits.segments`."""
        _, c, h, w = self.features.shape
        prior, cell = np.divmod(anchors, h * w)
        features = list(np.ascontiguousarray(self.features[image].reshape(c, h * w).take(cell, axis=1).T))
        weights = list(self.weights)

        def of(items: np.ndarray, firsts: np.ndarray, sizes: np.ndarray) -> np.ndarray:
            asked = zip(items.tolist(), prior[items].tolist(), firsts.tolist(), (firsts + sizes).tolist(), strict=True)
            products = [np.vecdot(features[item], weights[a][first:last]) for item, a, first, last in asked]
            biases = self.biases[np.repeat(prior[items], sizes), ranges(firsts, sizes)]
            return np.asarray(np.concatenate(products) + biases)

        return of


def _products(x: Float32[np.ndarray, "m c"], rows: Float32[np.ndarray, "k c"]) -> Float32[np.ndarray, "m k"]:
    """The dot product of each pair.

    A matrix product wakes the threads of BLAS, which then spin and slow down the next inference by more than most
    products take; `vecdot` has no threads.
    """
    if x.size * len(rows) > WORTH_THREADS:
        return np.asarray(x @ rows.T)
    return np.asarray(np.vecdot(x[:, None], rows))


@dataclass(frozen=True)
class HeadOutput:
    """The output of the network for a batch.

    Attributes:
        boxes: (N, A, 5, H, W): t_x, t_y, t_w, t_h, t_o.
        class_logits: logits of the classes, computed or on demand.
        network_wh: width and height in pixels of the network's input.
    """

    boxes: Float32[np.ndarray, "n a 5 h w"]
    class_logits: ClassLogits
    network_wh: tuple[int, int]


@dataclass(frozen=True)
class Candidates:
    """The anchors of one image whose objectness passes a threshold.

    Attributes:
        anchors: their indices, ascending.
        objectness: sigma(t_o).
        boxes_cxcywh: center, width, height as fractions of the image, not clipped to it.
    """

    anchors: Int64[np.ndarray, " m"]
    objectness: Float32[np.ndarray, " m"]
    boxes_cxcywh: Float32[np.ndarray, "m 4"]


def ranges(firsts: Int64[np.ndarray, " m"], sizes: Int64[np.ndarray, " m"]) -> Int64[np.ndarray, " sizes"]:
    """The integers ``first`` to ``first + size - 1`` of each pair, in one row."""
    starts = np.cumsum(sizes) - sizes
    return np.asarray(np.arange(int(sizes.sum())) + np.repeat(firsts - starts, sizes))


def sigmoid(x: Float32[np.ndarray, "*shape"]) -> Float32[np.ndarray, "*shape"]:
    """1 / (1 + exp(-x)), without overflow."""
    with np.errstate(over="ignore"):
        return np.asarray(1 / (1 + np.exp(-x)), np.float32)


def softmax(x: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
    """Softmax along the last axis; zeros where logits that are not finite leave it undefined."""
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
        Center, width, height as fractions of the network's input.

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
    output: HeadOutput, image: int, head: Head, image_wh: tuple[int, int], min_objectness: float
) -> Candidates:
    """The anchors of one image of the batch whose objectness is above a threshold, with their boxes.

    Anchors with a NaN among t_x to t_h have no box and are left out.
    """
    t = output.boxes[image]
    objectness = sigmoid(t[:, 4].reshape(-1))
    passing = (objectness > min_objectness) & ~np.isnan(t[:, :4]).any(axis=1).reshape(-1)
    anchors = np.flatnonzero(passing).astype(np.int64)
    boxes = decode_boxes(t, anchors, head.anchors_wh_cells)
    boxes = boxes_to_image(boxes, output.network_wh, image_wh, head.resize_mode)
    return Candidates(anchors, objectness[anchors], boxes)


def class_scores(output: HeadOutput, image: int, head: Head, candidates: Candidates) -> Float32[np.ndarray, "m k"]:
    """Objectness x class probability of every class of a flat head, for every candidate."""
    return np.asarray(candidates.objectness[:, None] * class_probabilities(output, image, head, candidates))


def class_probabilities(
    output: HeadOutput, image: int, head: Head, candidates: Candidates
) -> Float32[np.ndarray, "m k"]:
    """Probability of every class of a flat head, given an object, for every candidate."""
    logits = output.class_logits.rows(image, candidates.anchors, 0, len(head.names))
    return np.asarray(softmax(logits) if head.classes == "softmax" else sigmoid(logits))


def node_scores(
    output: HeadOutput, image: int, tree: WordTree, candidates: Candidates, nodes: Int64[np.ndarray, " k"]
) -> Float32[np.ndarray, "m k"]:
    """Objectness x P(node) of some nodes of a tree, for every candidate.

    Darknet: src/region_layer.c get_region_detections with ``map``.
    """
    paths = [tree.path(int(node)) for node in nodes]
    groups = {int(tree.groups[step]) for path in paths for step in path}
    if 2 * tree.group_sizes[list(groups)].sum() > len(tree):  # one product for most of the tree
        probabilities = _tree_probabilities(output.class_logits.rows(image, candidates.anchors, 0, len(tree)), tree)
        return np.asarray(candidates.objectness[:, None] * probabilities[:, nodes])
    of_group: dict[int, Float32[np.ndarray, "m size"]] = {}
    for group in groups:
        first, size = int(tree.group_offsets[group]), int(tree.group_sizes[group])
        of_group[group] = softmax(output.class_logits.rows(image, candidates.anchors, first, first + size))
    scores = np.repeat(candidates.objectness[:, None], len(nodes), axis=1)
    for column, path in enumerate(paths):
        for step in path:
            group = int(tree.groups[step])
            scores[:, column] *= of_group[group][:, step - int(tree.group_offsets[group])]
    return scores


def _tree_probabilities(logits: Float32[np.ndarray, "m k"], tree: WordTree) -> Float32[np.ndarray, "m k"]:
    """P(node) of all nodes; as `softmax`, zeros where logits that are not finite leave it undefined."""
    with np.errstate(invalid="ignore"):
        conditionals = tree.softmax(logits)
    conditionals[np.isnan(conditionals)] = 0
    return tree.probabilities(conditionals)


def conditionals_of(logits: ClassLogits, image: int, tree: WordTree, candidates: Candidates) -> Conditionals:
    """A function of some candidates and a sibling group for each: their conditional probabilities, on demand."""
    segments = logits.segments(image, candidates.anchors)

    def conditionals(items: Int64[np.ndarray, " m"], groups: Int64[np.ndarray, " m"]) -> np.ndarray:
        sizes = tree.group_sizes[groups]
        return softmax_of_segments(segments(items, tree.group_offsets[groups], sizes), sizes)

    return conditionals


def softmax_of_segments(
    x: Float32[np.ndarray, " sizes"], sizes: Int64[np.ndarray, " m"]
) -> Float32[np.ndarray, " sizes"]:
    """Softmax of each segment of a row; as `softmax`."""
    starts = np.cumsum(sizes) - sizes
    with np.errstate(invalid="ignore"):
        exponentials = np.exp(x - np.repeat(np.maximum.reduceat(x, starts), sizes))
        probabilities = exponentials / np.repeat(np.add.reduceat(exponentials, starts), sizes)
    probabilities[np.isnan(probabilities)] = 0
    return np.asarray(probabilities)
