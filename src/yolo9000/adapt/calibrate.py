"""Risk-controlled back-off: how probable a node must be, so that answers are wrong at most as often as allowed.

First the softmax of every sibling group is calibrated with a temperature for each depth of the tree, on one half of
the objects (Guo et al. 2017, "On Calibration of Modern Neural Networks"). Then, on the other half, the minimum
probability of a node is set by conformal risk control (Angelopoulos et al. 2022): for one more object like those, the
probability of a wrong answer is at most the allowed error. An answer is wrong if it is neither the true node, nor above
it, nor below it; moving up the tree can only make it right.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float64, Int64, UInt8

from yolo9000.architectures.layers import Conv, Region
from yolo9000.architectures.weights import Model
from yolo9000.boxes import clip, cxcywh_to_xyxy, iou, nms
from yolo9000.checkpoints.model import LoadedModel
from yolo9000.data.dataset import DataSet, OnError
from yolo9000.data.images import load_image
from yolo9000.errors import ConfigError, DataError
from yolo9000.evaluation.labels import gt_labels
from yolo9000.inference.detector import Detector, ImageHead
from yolo9000.inference.head_output import softmax
from yolo9000.taxonomy.wordtree import TreePath, WordTree
from yolo9000.types import Sample

__all__ = [
    "BackOff",
    "Calibration",
    "LocatedObject",
    "calibrate",
    "critical_probability",
    "find_back_off",
    "risk_threshold",
    "with_temperatures",
]

MIN_OBJECTNESS = 0.05
MIN_IOU = 0.5
BATCH = 8
MIN_TEMPERATURE, MAX_TEMPERATURE = 0.05, 20.0


@dataclass(frozen=True)
class LocatedObject:
    """An annotated object that the detector puts a box on.

    Attributes:
        logits: class logits of all nodes.
        gt: the true node.
        objectness: of the box.
    """

    logits: Float64[np.ndarray, " nodes"]
    gt: int
    objectness: float = 1.0


@dataclass(frozen=True)
class BackOff:
    """When decoding stops on its way down the tree.

    Attributes:
        temperatures: of the sibling groups at each depth, from the root.
        hier_thresh: minimum probability of a node that is answered with.
    """

    temperatures: tuple[float, ...]
    hier_thresh: float


@dataclass(frozen=True)
class Calibration:
    """The outcome of a calibration.

    Attributes:
        back_off: the new rule.
        objects: number of objects that it is based on.
        error: fraction of wrong answers among them with the new rule.
        error_before: the same without temperatures at ``hier_thresh`` .5.
        depth, depth_before: mean depth of those answers.
    """

    back_off: BackOff
    objects: int
    error: float
    error_before: float
    depth: float
    depth_before: float


def calibrate(
    model: LoadedModel,
    detector: Detector,
    data_set: DataSet,
    *,
    max_error: float = 0.05,
    min_score: float = 0.0,
    on_error: OnError = "error",
    on_unreadable: Callable[[DataError], None] | None = None,
) -> tuple[LoadedModel, Calibration]:
    """Calibrate a model on images with boxes that it was not trained on.

    Args:
        model: with weights and a label tree.
        detector: the same model, in an engine.
        data_set: the images.
        max_error: allowed fraction of wrong answers.
        min_score: what is promised holds for boxes of which objectness x P(root node) is at least this.
        on_error: what to do with issues in annotations.
        on_unreadable: called with the error of each image that cannot be read; None raises it.

    Returns:
        The model with its last layer divided by the temperatures and the new ``hier_thresh``; and the outcome.

    Raises:
        ConfigError: the classes are flat; there are too few objects, or even root nodes are wrong too often.
        DataError: an image cannot be read and ``on_unreadable`` is None.
    """
    tree = model.tree
    if tree is None:
        raise ConfigError("calibration needs a model with a label tree; the classes of this one are flat")
    objects = list(locate_objects(detector, tree, data_set, on_error, on_unreadable))
    back_off = find_back_off(objects, tree, max_error, min_score)
    objects = [one for one in objects if _is_shown(one, tree, back_off.temperatures, min_score)]
    before = BackOff((1.0,) * len(back_off.temperatures), 0.5)
    (error_before, depth_before), (error, depth) = (
        _rates(_answers(objects, tree, rule), tree) for rule in (before, back_off)
    )
    calibration = Calibration(back_off, len(objects), error, error_before, depth, depth_before)
    known = {
        "max_error": max_error,
        "min_score": min_score,
        "data": data_set.name,
        "temperatures": list(back_off.temperatures),
    }
    calibrated = model.changed(
        weights=with_temperatures(model.trained_weights, tree, back_off.temperatures),
        hier_thresh=back_off.hier_thresh,
        trained={"calibration": known},
    )
    return calibrated, calibration


def locate_objects(
    detector: Detector,
    tree: WordTree,
    data_set: DataSet,
    on_error: OnError = "error",
    on_unreadable: Callable[[DataError], None] | None = None,
) -> Iterator[LocatedObject]:
    """The objects of a data set that the detector puts a box on, whatever label it gives them, in the data's order.

    Boxes that are difficult or crowds are left out.
    """
    labels = gt_labels(detector, data_set)
    boxed = ((sample, sample.boxes) for sample in data_set.samples(on_error) if sample.boxes is not None)
    images = ((boxes, image) for sample, boxes in boxed for image in readable_image(sample, on_unreadable))
    for annotated, one in detector.heads_of(images, batch=BATCH, min_objectness=MIN_OBJECTNESS):
        gts = annotated.select(~(annotated.difficult | annotated.crowd))
        for candidate, gt in _matches(one, gts.boxes_xyxy, detector.settings.nms_iou):
            objectness = float(one.candidates.objectness[candidate])
            yield LocatedObject(_logits(one, candidate, len(tree)), int(labels[gts.labels[gt]]), objectness)


def readable_image(
    sample: Sample, on_unreadable: Callable[[DataError], None] | None
) -> Iterator[UInt8[np.ndarray, "_ _ 3"]]:
    """The image of a sample; nothing where it cannot be read.

    Raises:
        DataError: it cannot be read and ``on_unreadable`` is None.
    """
    try:
        image = load_image(sample.image, sample.name).pixels
    except DataError as error:
        if on_unreadable is None:
            raise
        on_unreadable(error)
    else:
        yield image


def _matches(one: ImageHead, gts_xyxy: np.ndarray, nms_iou: float) -> Iterator[tuple[int, int]]:
    """Candidates left by NMS, highest objectness first, each with the free ground truth of highest IoU."""
    size = np.array([*one.size_wh, *one.size_wh], np.float32)
    boxes_xyxy = clip(cxcywh_to_xyxy(one.candidates.boxes_cxcywh) * size, one.size_wh)
    free = np.ones(len(gts_xyxy), dtype=bool)
    for candidate in nms(boxes_xyxy, one.candidates.objectness, nms_iou):
        if not free.any():
            return
        overlaps = np.where(free, iou(boxes_xyxy[candidate], gts_xyxy), 0)
        best = int(overlaps.argmax())
        if overlaps[best] >= MIN_IOU:
            free[best] = False
            yield int(candidate), best


def _logits(one: ImageHead, candidate: int, nodes: int) -> Float64[np.ndarray, " nodes"]:
    anchor = one.candidates.anchors[candidate : candidate + 1]
    return np.asarray(one.output.class_logits.rows(one.index, anchor, 0, nodes)[0], np.float64)


def find_back_off(
    objects: Sequence[LocatedObject], tree: WordTree, max_error: float, min_score: float = 0.0
) -> BackOff:
    """Temperatures from every other object, ``hier_thresh`` from the rest: the guarantee needs separate objects.

    Args:
        objects: of images that the model was not trained on.
        tree: the label tree.
        max_error: allowed fraction of wrong answers.
        min_score: the guarantee holds for objects whose objectness x P(root node) is at least this; others count
            for the temperatures only.

    Raises:
        ConfigError: see `risk_threshold`.
    """
    depths = int(tree.depths.max()) + 1
    temperatures = tuple(_best_temperature(*_groups_at(objects[0::2], tree, depth)) for depth in range(depths))
    shown = (one for one in objects[1::2] if _is_shown(one, tree, temperatures, min_score))
    critical = [critical_probability(one, tree, temperatures) for one in shown]
    return BackOff(temperatures, risk_threshold(np.array(critical, np.float64), max_error))


def _groups_at(
    objects: Sequence[LocatedObject], tree: WordTree, depth: int
) -> tuple[Float64[np.ndarray, "m size"], Int64[np.ndarray, " m"]]:
    """Logits of the sibling group at a depth of each object's true path, padded with -inf; index of the true node."""
    groups, true = [], []
    for one in objects:
        path = tree.path(one.gt)
        if len(path) > depth:
            siblings = tree.children(int(tree.parents[path[depth]]))
            groups.append(one.logits[siblings.start : siblings.stop])
            true.append(path[depth] - siblings.start)
    padded = np.full((len(groups), max(map(len, groups), default=1)), -np.inf)
    for row, group in enumerate(groups):
        padded[row, : len(group)] = group
    return padded, np.array(true, np.int64)


def _best_temperature(logits: Float64[np.ndarray, "m size"], true: Int64[np.ndarray, " m"]) -> float:
    """The temperature of minimum cross-entropy, which is convex in its inverse; 1 without objects or siblings."""
    if not len(true) or logits.shape[1] < 2:
        return 1.0

    def loss(sharpness: float) -> float:
        scaled = logits * sharpness
        maximum = scaled.max(axis=1)
        totals = np.log(np.exp(scaled - maximum[:, None]).sum(axis=1)) + maximum
        return float((totals - scaled[np.arange(len(true)), true]).mean())

    low, high = 1 / MAX_TEMPERATURE, 1 / MIN_TEMPERATURE
    for _ in range(60):  # ternary search, to 1e-10 of the initial interval
        left, right = low + (high - low) / 3, high - (high - low) / 3
        low, high = (low, right) if loss(left) < loss(right) else (left, high)
    return 2 / (low + high)


def _path(one: LocatedObject, tree: WordTree, temperatures: Sequence[float], hier_thresh: float = 0.0) -> TreePath:
    """The path of an object down the tree with calibrated probabilities."""

    def conditionals(_: Int64[np.ndarray, " 1"], groups: Int64[np.ndarray, " 1"]) -> Float64[np.ndarray, " size"]:
        first, size = int(tree.group_offsets[groups[0]]), int(tree.group_sizes[groups[0]])
        return np.asarray(softmax(one.logits[first : first + size] / temperatures[int(tree.depths[first])]))

    return tree.decode(conditionals, 1, hier_thresh)[0]


def _is_shown(one: LocatedObject, tree: WordTree, temperatures: Sequence[float], min_score: float) -> bool:
    """Whether objectness x P(root node) is at least a score."""
    return one.objectness * _path(one, tree, temperatures).conditionals[0] >= min_score


def critical_probability(one: LocatedObject, tree: WordTree, temperatures: Sequence[float]) -> float:
    """The least ``hier_thresh`` with which the answer for an object is right; 0 if any is, inf if none is."""
    path = _path(one, tree, temperatures)
    right = _right(path.nodes, one.gt, tree)
    if right.all():
        return 0.0
    first_wrong = int((~right).argmax())
    return math.inf if first_wrong == 0 else float(np.cumprod(path.conditionals)[first_wrong])


def _right(nodes: Sequence[int], gt: int, tree: WordTree) -> Bool[np.ndarray, " nodes"]:
    path = tree.path(gt)
    return np.array([node in path or gt in tree.path(node) for node in nodes])


def risk_threshold(critical: Float64[np.ndarray, " n"], max_error: float) -> float:
    """The least threshold with which the expected fraction of wrong answers is at most the allowed one.

    With n objects, k of which stay wrong, the bound for the next one is (k + 1) / (n + 1).

    Args:
        critical: see `critical_probability`.
        max_error: the allowed fraction of wrong answers.

    Raises:
        ConfigError: there are too few objects, or too many are wrong at the root.
    """
    count = len(critical)
    allowed = math.floor(max_error * (count + 1) - 1 + 1e-9)
    if allowed < 0:
        raise ConfigError(
            f"an error of at most {max_error:g} needs {math.ceil(1 / max_error) - 1} objects or more "
            f"in the second half of those that are located, got {count}"
        )
    descending = np.sort(critical)[::-1]
    threshold = float(descending[allowed]) if allowed < count else 0.0
    if math.isinf(threshold):
        wrong = float(np.isinf(critical).mean())
        raise ConfigError(
            f"an error of at most {max_error:g} cannot be guaranteed: even the root node is wrong for {wrong:.1%}"
        )
    return min(threshold, float(np.nextafter(1, 0)))


def _answers(objects: Sequence[LocatedObject], tree: WordTree, back_off: BackOff) -> list[tuple[int, int]]:
    """For each object the node that is answered with, and the true node."""
    paths = (_path(one, tree, back_off.temperatures, back_off.hier_thresh) for one in objects)
    return [(path.nodes[-1], one.gt) for path, one in zip(paths, objects, strict=True)]


def _rates(answers: Sequence[tuple[int, int]], tree: WordTree) -> tuple[float, float]:
    """The fraction of wrong answers, and the mean depth."""
    wrong = [not _right([node], gt, tree)[0] for node, gt in answers]
    return float(np.mean(wrong)), float(np.mean([tree.depths[node] for node, _ in answers]))


def with_temperatures(weights: Model, tree: WordTree, temperatures: Sequence[float]) -> Model:
    """The weights with the class rows of the last layer divided by the temperature of their depth."""
    architecture = weights.architecture
    last = max(i for i, layer in enumerate(architecture.body) if isinstance(layer, Conv))
    parameters = weights.parameters[last]
    assert isinstance(architecture.head, Region) and parameters is not None  # noqa: S101, PT018  true of a detector
    anchors = len(architecture.head.anchors_wh_cells)
    divisors = np.tile(np.concatenate([np.ones(5), np.array(temperatures)[tree.depths]]), anchors).astype(np.float32)
    scaled = replace(
        parameters,
        weights=parameters.weights / divisors[:, None, None, None],
        biases=parameters.biases / divisors,
    )
    return replace(weights, parameters=(*weights.parameters[:last], scaled, *weights.parameters[last + 1 :]))
