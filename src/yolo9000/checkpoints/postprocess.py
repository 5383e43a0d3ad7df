"""A detector as an ONNX graph that gives final boxes, scores and labels, with standard operators of opset 17 only.

Flat heads: decoding, softmax or sigmoid, and the operator NonMaxSuppression, label by label. Trees: hierarchical
decoding level by level, and the suppression along paths of `inference.suppress`. Class logits are computed only for
boxes whose objectness passes. The thresholds are constants of the graph.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
import onnx
from jaxtyping import Int64
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from yolo9000.architectures.head import Head
from yolo9000.architectures.weights import ClassRows
from yolo9000.checkpoints.model import LoadedModel
from yolo9000.errors import EngineError
from yolo9000.taxonomy.wordtree import WordTree

__all__ = ["OUTPUTS", "Thresholds", "with_postprocess"]

OUTPUTS = ("boxes_xyxy", "scores", "labels", "images_of_boxes")
"""(M, 4) pixels of the network's input, (M,), (M,) and (M,): index in the batch; highest score first."""
SUPPRESSION_STEPS = 32  # box i is right after as many steps as boxes drop each other in a chain that ends at i
INT32_MAX, INT64_MAX = np.iinfo(np.int32).max, np.iinfo(np.int64).max
FAR_BELOW = -1e30  # a logit of no class


@dataclass(frozen=True)
class Thresholds:
    """What counts as a detection; see `inference.settings.DetectionSettings`.

    Attributes:
        conf_threshold, nms_iou, hier_thresh, max_detections: the same.
    """

    conf_threshold: float = 0.25
    nms_iou: float = 0.45
    hier_thresh: float = 0.5
    max_detections: int = 300


def with_postprocess(model: LoadedModel, thresholds: Thresholds) -> bytes:
    """A detector as the bytes of an ``.onnx`` file whose outputs are `OUTPUTS`; its input is that of `build_onnx`.

    Names of the labels, the way to fit images and the thresholds are in its metadata, as JSON.

    Args:
        model: the detector; a flat head is computed for every anchor.
        thresholds: constants of the graph.

    Raises:
        ConfigError: the model is a classifier.
        EngineError: the model is an OpenVINO file, or its flat classes are kept apart in a file.
    """
    head = model.detector_head
    dense = model if head.tree is not None or model.weights is None else model.with_lazy_classes(False)
    if head.tree is None and dense.class_rows is not None:
        raise EngineError("a flat head with classes kept apart has no graph to decode: must be dense", argument="head")
    proto = onnx.load_model_from_string(dense.onnx_bytes())
    graph = _Nodes()
    t = _split_anchors(graph, proto.graph.output[0].name, len(head.anchors_wh_cells))
    boxes, objectness = _decoded(graph, t, proto.graph.output[0].name, head, model.stride)
    if head.tree is None:
        selected = _flat(graph, t, boxes, objectness, head, thresholds)
    else:
        rows = dense.class_rows
        logits = partial(_lazy_logits, graph, rows) if rows else partial(_dense_logits, graph, t)
        selected = _tree(graph, boxes, objectness, logits, head, thresholds)
    _finish(graph, selected, proto.graph.output[0].name, model.stride, thresholds)
    graph.append_to(proto)
    about = {"names": head.names, "resize_mode": head.resize_mode, "input_wh": model.network_wh, **asdict(thresholds)}
    helper.set_model_props(proto, {key: json.dumps(value) for key, value in about.items()})
    return bytes(proto.SerializeToString())


class _Nodes:
    """Nodes and constants with names of their own."""

    def __init__(self) -> None:
        self._nodes: list[NodeProto] = []
        self._constants: list[TensorProto] = []

    def __call__(self, kind: str, *inputs: str | np.ndarray | float, out: str = "", **attributes: Any) -> str:
        """Add a node; arrays and floats become constants. The name of its output."""
        name = out or f"post{len(self._nodes)}.{kind}"
        names = [self.named(given) for given in inputs]
        self._nodes.append(helper.make_node(kind, names, [name], name=f"post{len(self._nodes)}", **attributes))
        return name

    def named(self, given: str | np.ndarray | float) -> str:
        """The name of a value; arrays and floats become constants."""
        if isinstance(given, str):
            return given
        values = np.asarray(given)
        values = values.astype(np.float32) if values.dtype == np.float64 else values
        self._constants.append(numpy_helper.from_array(values, f"post.constant{len(self._constants)}"))
        return self._constants[-1].name

    def cast(self, x: str, to: int) -> str:
        return self("Cast", x, to=to)

    def reshape(self, x: str, *shape: int) -> str:
        return self("Reshape", x, np.array(shape))

    def gather(self, x: str | np.ndarray, indices: str | int, axis: int = 0) -> str:
        return self("Gather", x, np.array(indices) if isinstance(indices, int) else indices, axis=axis)

    def unsqueeze(self, x: str, *axes: int) -> str:
        return self("Unsqueeze", x, np.array(axes))

    def column(self, x: str, index: int) -> str:
        return self.gather(x, index, axis=1)

    def indices_where(self, mask: str) -> str:
        """(M, rank) indices of the true entries."""
        return self("Transpose", self("NonZero", mask), perm=[1, 0])

    def append_to(self, proto: ModelProto) -> None:
        proto.graph.node.extend(self._nodes)
        proto.graph.initializer.extend(self._constants)
        del proto.graph.output[:]
        kinds = (TensorProto.FLOAT, TensorProto.FLOAT, TensorProto.INT64, TensorProto.INT64)
        for name, kind in zip(OUTPUTS, kinds, strict=True):
            shape: list[str | int | None] = ["detections", 4] if name == OUTPUTS[0] else ["detections"]
            proto.graph.output.append(helper.make_tensor_value_info(name, kind, shape))


@dataclass(frozen=True)
class _Selected:
    """Names of what is left after suppression: boxes (M, 4), scores, labels and index in the batch (M,)."""

    boxes: str
    scores: str
    labels: str
    images: str


def _split_anchors(graph: _Nodes, raw: str, anchors: int) -> str:
    """The head's output as (N, A, 5 + K or 5, H W)."""
    shape = graph("Shape", raw)
    per_anchor = graph("Div", graph("Slice", shape, np.array([1]), np.array([2])), np.array([anchors]))
    return graph("Reshape", raw, graph("Concat", np.array([0, anchors]), per_anchor, np.array([-1]), axis=0))


def _decoded(graph: _Nodes, t: str, raw: str, head: Head, stride: int) -> tuple[str, str]:
    """Boxes (N, A, H W, 4) in pixels of the network's input, not clipped to it, and objectness (N, A, H W)."""
    tx, ty, tw, th, to = (graph.gather(t, index, axis=2) for index in range(5))
    height, width = (graph.gather(graph("Shape", raw), index) for index in (2, 3))
    cells = graph("Range", np.array(0), graph("Mul", height, width), np.array(1))
    row = graph("Div", cells, width)
    column = graph("Sub", cells, graph("Mul", row, width))
    anchors = head.anchors_wh_cells[:, :, None] * np.float32(stride)  # (A, 2, 1)
    sides = []
    for center, cell, size, anchor in ((tx, column, tw, anchors[:, 0]), (ty, row, th, anchors[:, 1])):
        middle = graph("Add", graph("Sigmoid", center), graph.cast(cell, TensorProto.FLOAT))
        middle = graph("Mul", middle, float(stride))
        half = graph("Mul", graph("Exp", size), anchor / 2)
        sides.append((graph("Sub", middle, half), graph("Add", middle, half)))
    (left, right), (top, bottom) = sides
    corners = (graph.unsqueeze(side, 3) for side in (left, top, right, bottom))
    return graph("Concat", *corners, axis=3), graph("Sigmoid", to)


def _flat(graph: _Nodes, t: str, boxes: str, objectness: str, head: Head, thresholds: Thresholds) -> _Selected:
    """Every label of a box whose score passes, suppressed label by label."""
    logits = graph("Slice", t, np.array([5]), np.array([INT64_MAX]), np.array([2]))
    classes = graph("Softmax", logits, axis=2) if head.classes == "softmax" else graph("Sigmoid", logits)
    scores = graph("Mul", classes, graph.unsqueeze(objectness, 2))
    by_class = graph.reshape(graph("Transpose", scores, perm=[0, 2, 1, 3]), 0, len(head.names), -1)
    all_boxes = graph.reshape(boxes, 0, -1, 4)
    limits = (np.array([INT32_MAX]), np.array([thresholds.nms_iou]), np.array([thresholds.conf_threshold]))
    kept = graph("NonMaxSuppression", all_boxes, by_class, *limits)  # (M, 3): image, label, box
    image_and_box = graph.gather(kept, graph.named(np.array([0, 2])), axis=1)
    return _Selected(
        graph("GatherND", all_boxes, image_and_box),
        graph("GatherND", by_class, kept),
        graph.column(kept, 1),
        graph.column(kept, 0),
    )


def _finish(graph: _Nodes, selected: _Selected, raw: str, stride: int, thresholds: Thresholds) -> None:
    """The outputs: boxes clipped to the input, at most the maximum number an image, highest score first."""
    count = graph("Shape", selected.scores)
    batch = graph.gather(graph("Shape", raw), graph.named(np.array([0])))
    limit = graph("Min", count, graph("Mul", batch, np.array([thresholds.max_detections])))
    graph._nodes.append(helper.make_node("TopK", [selected.scores, limit], [OUTPUTS[1], "post.order"], axis=0))
    limits = graph("Mul", graph.gather(graph("Shape", raw), graph.named(np.array([3, 2, 3, 2]))), np.array(stride))
    inside = graph("Min", graph("Max", selected.boxes, 0.0), graph.cast(limits, TensorProto.FLOAT))
    for values, name in ((inside, OUTPUTS[0]), (selected.labels, OUTPUTS[2]), (selected.images, OUTPUTS[3])):
        graph("Gather", values, "post.order", out=name, axis=0)


# Trees


LogitsOf = Callable[[int, str], str]
"""Called with an anchor and the (M, 2) indices of images and cells; gives (M, K) class logits."""


def _dense_logits(graph: _Nodes, t: str, anchor: int, where: str) -> str:
    of_anchor = graph("Slice", graph.column(t, anchor), np.array([5]), np.array([INT64_MAX]), np.array([1]))
    return graph("GatherND", graph("Transpose", of_anchor, perm=[0, 2, 1]), where)


def _lazy_logits(graph: _Nodes, rows: ClassRows, anchor: int, where: str) -> str:
    cells_last = graph("Transpose", graph.reshape("features", 0, rows.weights.shape[2], -1), perm=[0, 2, 1])
    features = graph("GatherND", cells_last, where)
    return graph("Gemm", features, rows.weights[anchor], rows.biases[anchor], transB=1)


def _tree(
    graph: _Nodes, boxes: str, objectness: str, logits_of: LogitsOf, head: Head, thresholds: Thresholds
) -> _Selected:
    """The label where each box's path ends, and suppression along paths."""
    tree = head.tree
    assert tree is not None  # noqa: S101  of the caller
    parts = []
    for anchor in range(len(head.anchors_wh_cells)):
        of_anchor = graph.column(objectness, anchor)
        where = graph.indices_where(graph("Greater", of_anchor, thresholds.conf_threshold))
        of_boxes = graph("GatherND", graph.column(boxes, anchor), where)
        parts.append((of_boxes, graph("GatherND", of_anchor, where), logits_of(anchor, where), graph.column(where, 0)))
    corners, objects, logits, images = (graph("Concat", *part, axis=0) for part in zip(*parts, strict=True))
    labels, probabilities = _walk(graph, logits, tree, thresholds.hier_thresh)
    scores = graph("Mul", objects, probabilities)
    passing = graph.indices_where(graph("Greater", scores, thresholds.conf_threshold))
    selected = _Selected(*(graph("GatherND", values, passing) for values in (corners, scores, labels, images)))
    kept = graph.indices_where(_kept(graph, selected, tree, thresholds.nms_iou))
    return _Selected(*(graph("GatherND", values, kept) for values in vars(selected).values()))


def _walk(graph: _Nodes, logits: str, tree: WordTree, hier_thresh: float) -> tuple[str, str]:
    """Hierarchical decoding, a level at a time: the node where each path ends, and its probability."""
    first, size = _children(tree)
    probability = node = alive = ""
    for depth in range(int(tree.depths.max()) + 1):
        widest = int(tree.group_sizes[tree.depths[tree.group_offsets] == depth].max())
        begin = graph("Where", alive, graph.gather(first, node), np.array(0)) if depth else np.array([0])
        count = graph("Where", alive, graph.gather(size, node), np.array(1)) if depth else tree.group_sizes[:1]
        columns = graph("Add", graph.unsqueeze(graph.named(begin), 1), np.arange(widest))
        columns = graph("Min", columns, np.array(len(tree) - 1))
        if not depth:
            rows = graph("Slice", graph("Shape", logits), np.array([0]), np.array([1]))
            columns = graph("Expand", columns, graph("Concat", rows, np.array([widest]), axis=0))
        inside = graph("Less", graph.named(np.arange(widest)), graph.unsqueeze(graph.named(count), 1))
        siblings = graph("Where", inside, graph("GatherElements", logits, columns, axis=1), FAR_BELOW)
        conditionals = graph("Softmax", siblings, axis=1)
        best = graph("Add", graph.named(begin), graph("ArgMax", conditionals, axis=1, keepdims=0))
        below = graph("ReduceMax", conditionals, axes=[1], keepdims=0)
        below = graph("Mul", probability, below) if depth else below
        likely = graph("Greater", below, hier_thresh)
        entered = graph("And", alive, likely) if depth else ""
        node = graph("Where", entered, best, node) if depth else best
        probability = graph("Where", entered, below, probability) if depth else below
        alive = graph("And", entered or likely, graph("Greater", graph.gather(size, node), np.array(0)))
    return node, probability


def _children(tree: WordTree) -> tuple[Int64[np.ndarray, " n"], Int64[np.ndarray, " n"]]:
    """First child and number of children of each node."""
    groups = tree.child_groups
    inner = groups >= 0
    return np.where(inner, tree.group_offsets[groups], 0), np.where(inner, tree.group_sizes[groups], 0)


def _kept(graph: _Nodes, selected: _Selected, tree: WordTree, nms_iou: float) -> str:
    """Which boxes no other drops: (M,). Box i may drop j if it comes first and their labels can be of one object."""
    one_object = graph("Or", _on_path(graph, selected.labels, tree), _are_siblings(graph, selected.labels, tree))
    drops = graph("And", _comes_first(graph, selected, tree), one_object)
    drops = graph("And", drops, graph("Greater", _iou(graph, selected.boxes), nms_iou))
    drops = graph("And", drops, graph("Equal", *_both(graph, selected.images)))
    as_floats = graph.cast(drops, TensorProto.FLOAT)
    kept = graph.cast(graph("GreaterOrEqual", selected.scores, 0.0), TensorProto.FLOAT)  # all, to begin with
    for _ in range(SUPPRESSION_STEPS):
        dropped = graph("ReduceMax", graph("Mul", as_floats, graph.unsqueeze(kept, 1)), axes=[0], keepdims=0)
        kept = graph("Sub", 1.0, dropped)
    return graph("Greater", kept, 0.5)


def _comes_first(graph: _Nodes, selected: _Selected, tree: WordTree) -> str:
    """(M, M): box i before j, deeper labels first, then higher scores, then as they come."""
    depths = _both(graph, graph.gather(tree.depths, selected.labels))
    scores = _both(graph, selected.scores)
    count = graph("Squeeze", graph("Shape", selected.scores), np.array([0]))
    indices = _both(graph, graph("Range", np.array(0), count, np.array(1)))
    same_score = graph("And", graph("Equal", *scores), graph("Less", *indices))
    same_depth = graph("And", graph("Equal", *depths), graph("Or", graph("Greater", *scores), same_score))
    return graph("Or", graph("Greater", *depths), same_depth)


def _on_path(graph: _Nodes, labels: str, tree: WordTree) -> str:
    """(M, M): whether j's label is on the path to i's."""
    paths = np.full((len(tree), int(tree.depths.max()) + 1), -1, np.int64)
    for node in range(len(tree)):
        path = tree.path(node)
        paths[node, : len(path)] = path
    steps = graph.unsqueeze(graph.gather(paths, labels), 1)  # (M, 1, depths)
    equal = graph("Equal", steps, graph.unsqueeze(labels, 0, 2))
    selected = graph("ReduceMax", graph.cast(equal, TensorProto.FLOAT), axes=[2], keepdims=0)
    return graph("Greater", selected, 0.5)


def _are_siblings(graph: _Nodes, labels: str, tree: WordTree) -> str:
    """(M, M): whether both labels have one parent."""
    parents = graph.gather(tree.parents, labels)
    has_parent = graph("GreaterOrEqual", graph.unsqueeze(parents, 1), np.array(0))
    return graph("And", has_parent, graph("Equal", *_both(graph, parents)))


def _iou(graph: _Nodes, boxes: str) -> str:
    """(M, M)."""
    left, top, right, bottom = (graph.column(boxes, index) for index in range(4))
    lengths = []
    for low, high in ((left, right), (top, bottom)):
        shorter = graph("Sub", graph("Min", *_both(graph, high)), graph("Max", *_both(graph, low)))
        lengths.append(graph("Max", shorter, 0.0))
    common = graph("Mul", *lengths)
    areas = graph("Mul", graph("Sub", right, left), graph("Sub", bottom, top))
    return graph("Div", common, graph("Sub", graph("Add", *_both(graph, areas)), common))


def _both(graph: _Nodes, values: str) -> tuple[str, str]:
    """Values (M,) as a column and as a row."""
    return graph.unsqueeze(values, 1), graph.unsqueeze(values, 0)
