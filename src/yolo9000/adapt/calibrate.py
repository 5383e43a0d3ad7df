"""Back-off with a promise: how sure a node must be, so that answers are wrong as rarely as was asked.

First every sibling group's softmax is brought to honest probabilities by a temperature for each depth of the tree, on
one half of the objects (Guo et al. 2017, "On Calibration of Modern Neural Networks"). Then, on the other half, the
least probability that a node must have is set by conformal risk control (Angelopoulos et al. 2022): for one more object
like those, the chance of a wrong answer is at most what was asked for. An answer is wrong if it is neither the truth,
nor above it, nor below it; as it moves up it can only become right.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float64, Int64

from yolo9000.architectures.layers import Conv, Region
from yolo9000.architectures.weights import Model
from yolo9000.boxes import clip, cxcywh_to_xyxy, iou, nms
from yolo9000.checkpoints.safetensors import Checkpoint
from yolo9000.data.dataset import DataSet, OnError
from yolo9000.data.images import load_image
from yolo9000.errors import ConfigError
from yolo9000.evaluation.labels import gt_labels
from yolo9000.inference.decode import Candidates, HeadOutput, find_candidates
from yolo9000.inference.detector import Detector
from yolo9000.inference.preprocess import fit
from yolo9000.taxonomy.wordtree import WordTree

__all__ = ["BackOff", "Calibration", "FoundObject", "calibrate", "critical_probability", "find_back_off", "promised"]

MIN_OBJECTNESS = 0.05
MIN_IOU = 0.5
TEMPERATURES = (0.05, 20.0)  # least and greatest that are tried


@dataclass(frozen=True)
class FoundObject:
    """An object that a box was found for.

    Attributes:
        logits: scores of all nodes, before any softmax.
        gt: the node that it is.
    """

    logits: Float64[np.ndarray, " nodes"]
    gt: int


@dataclass(frozen=True)
class BackOff:
    """When a walk down the tree stops.

    Attributes:
        temperatures: of the sibling groups at each depth, from the top.
        hier_thresh: how probable a node must be to be answered with.
    """

    temperatures: tuple[float, ...]
    hier_thresh: float


@dataclass(frozen=True)
class Calibration:
    """What a calibration found.

    Attributes:
        back_off: when walks stop from now on.
        objects: how many it rests on.
        error: share of wrong answers among them with the new back-off.
        error_before: the same with the model as it was, at a least probability of .5.
        depth, depth_before: mean depth of those answers.
    """

    back_off: BackOff
    objects: int
    error: float
    error_before: float
    depth: float
    depth_before: float


def calibrate(
    file: Checkpoint, detector: Detector, data_set: DataSet, *, max_error: float = 0.05, on_error: OnError = "error"
) -> tuple[Checkpoint, Calibration]:
    """Calibrate a model on images with boxes that it was not trained on.

    Args:
        file: the model.
        detector: the same, in an engine.
        data_set: the images.
        max_error: share of answers that may be wrong.
        on_error: what to do with faulty annotations.

    Returns:
        The model with its last layer divided by the temperatures, and the least probability beside it; what was found.

    Raises:
        ConfigError: the classes are flat; the objects are too few, or even top nodes are wrong too often.
        DataError: an image cannot be read.
    """
    tree = file.tree
    if tree is None:
        raise ConfigError("calibrate needs a model with a label tree; the classes of this one are flat")
    found = list(find_objects(detector, tree, data_set, on_error))
    back_off = find_back_off(found, tree, max_error)
    as_it_was = BackOff((1.0,) * len(back_off.temperatures), 0.5)
    (error_before, depth_before), (error, depth) = (
        _rates(_answers(found, tree, rule), tree) for rule in (as_it_was, back_off)
    )
    calibration = Calibration(back_off, len(found), error, error_before, depth, depth_before)
    changed = replace(file, model=with_temperatures(file.model, tree, back_off.temperatures))
    known = {"max_error": max_error, "data": data_set.name, "temperatures": list(back_off.temperatures)}
    trained = {**file.trained, "calibration": known}
    return replace(changed, hier_thresh=back_off.hier_thresh, trained=trained), calibration


def find_objects(detector: Detector, tree: WordTree, data_set: DataSet, on_error: OnError) -> Iterator[FoundObject]:
    """The objects of a data set that the detector puts a box on, whatever it calls them, in the order of the data."""
    labels = gt_labels(detector.prepared.spec, data_set)
    for sample in data_set.samples(on_error):
        if sample.boxes is None:
            continue
        image = load_image(sample.image, sample.name).pixels
        spec, size_wh = detector.prepared.spec, (image.shape[1], image.shape[0])
        arrays = detector.engine.run(fit(image, detector.network_wh, spec.resize_mode)[None])
        output = detector.prepared.head_output(arrays, detector.network_wh)
        candidates = find_candidates(output, 0, spec, size_wh, MIN_OBJECTNESS)
        boxes = clip(cxcywh_to_xyxy(candidates.boxes_cxcywh) * np.array([*size_wh, *size_wh], np.float32), size_wh)
        plain = sample.boxes.select(~(sample.boxes.difficult | sample.boxes.crowd))
        for place, gt in _matches(boxes, candidates, plain.boxes_xyxy, detector.settings.nms_iou):
            yield FoundObject(_logits(output, candidates, place, len(tree)), int(labels[plain.labels[gt]]))


def _matches(
    boxes_xyxy: np.ndarray, candidates: Candidates, gts_xyxy: np.ndarray, overlap: float
) -> Iterator[tuple[int, int]]:
    """Boxes that stand, best objectness first, each with the truth that it overlaps most; a truth once."""
    free = np.ones(len(gts_xyxy), dtype=bool)
    for place in nms(boxes_xyxy, candidates.objectness, overlap):
        if not free.any():
            return
        overlaps = np.where(free, iou(boxes_xyxy[place], gts_xyxy), 0)
        best = int(overlaps.argmax())
        if overlaps[best] >= MIN_IOU:
            free[best] = False
            yield int(place), best


def _logits(output: HeadOutput, candidates: Candidates, place: int, nodes: int) -> Float64[np.ndarray, " nodes"]:
    rows = output.class_logits.rows(0, candidates.anchors[place : place + 1], 0, nodes)
    return np.asarray(rows[0], np.float64)


def find_back_off(found: Sequence[FoundObject], tree: WordTree, max_error: float) -> BackOff:
    """Temperatures from every other object, the least probability from those between.

    Raises:
        ConfigError: see `promised`.
    """
    temperatures = tuple(_best_temperature(*_groups_at(found[0::2], tree, depth)) for depth in range(_depths(tree)))
    rest = found[1::2]
    critical = [critical_probability(one, tree, temperatures) for one in rest]
    return BackOff(temperatures, promised(np.array(critical, np.float64), max_error))


def _depths(tree: WordTree) -> int:
    return int(tree.depths.max()) + 1


def _groups_at(
    found: Sequence[FoundObject], tree: WordTree, depth: int
) -> tuple[Float64[np.ndarray, "m size"], Int64[np.ndarray, " m"]]:
    """Scores of the sibling group at a depth of each object's true path, filled up with -inf; which is the true one."""
    rows, own = [], []
    for one in found:
        path = tree.path(one.gt)
        if len(path) > depth:
            siblings = tree.children(int(tree.parents[path[depth]]))
            rows.append(one.logits[siblings.start : siblings.stop])
            own.append(path[depth] - siblings.start)
    filled = np.full((len(rows), max(map(len, rows), default=1)), -np.inf)
    for place, row in enumerate(rows):
        filled[place, : len(row)] = row
    return filled, np.array(own, np.int64)


def _best_temperature(logits: Float64[np.ndarray, "m size"], own: Int64[np.ndarray, " m"]) -> float:
    """The temperature with the least cross-entropy, which is convex in its inverse; 1 without objects or siblings."""
    if not len(own) or logits.shape[1] < 2:
        return 1.0

    def loss(sharpness: float) -> float:
        scaled = logits * sharpness
        highest = scaled.max(axis=1)
        totals = np.log(np.exp(scaled - highest[:, None]).sum(axis=1)) + highest
        return float((totals - scaled[np.arange(len(own)), own]).mean())

    low, high = 1 / TEMPERATURES[1], 1 / TEMPERATURES[0]
    for _ in range(60):  # a third less each time: to 1e-10 of where it began
        left, right = low + (high - low) / 3, high - (high - low) / 3
        low, high = (low, right) if loss(left) < loss(right) else (left, high)
    return 2 / (low + high)


def _walk(
    one: FoundObject, tree: WordTree, temperatures: Sequence[float]
) -> tuple[list[int], Float64[np.ndarray, " steps"]]:
    """The walk down to a leaf, and P(node | object) of each step."""
    nodes: list[int] = []
    probabilities: list[float] = []
    children = tree.children(-1)
    while children:
        scores = one.logits[children.start : children.stop] / temperatures[len(nodes)]
        fractions = np.exp(scores - scores.max())
        best = int(fractions.argmax())
        above = probabilities[-1] if probabilities else 1.0
        nodes.append(children.start + best)
        probabilities.append(above * float(fractions[best] / fractions.sum()))
        children = tree.children(nodes[-1])
    return nodes, np.array(probabilities)


def critical_probability(one: FoundObject, tree: WordTree, temperatures: Sequence[float]) -> float:
    """The least ``hier_thresh`` with which the answer for an object is right; 0: any, inf: none."""
    nodes, probabilities = _walk(one, tree, temperatures)
    right = _right(nodes, one.gt, tree)
    if right.all():
        return 0.0
    first_wrong = int((~right).argmax())
    return math.inf if first_wrong == 0 else float(probabilities[first_wrong])


def _right(nodes: Sequence[int], gt: int, tree: WordTree) -> np.ndarray:
    path = tree.path(gt)
    return np.array([node in path or gt in tree.path(node) for node in nodes])


def promised(critical: Float64[np.ndarray, " n"], max_error: float) -> float:
    """The least threshold with which the expected share of wrong answers is at most the asked one.

    With n objects, k of which stay wrong, the bound for the next one is (k + 1) / (n + 1).

    Args:
        critical: see `critical_probability`.
        max_error: the share that may be wrong.

    Raises:
        ConfigError: there are too few objects, or too many are wrong at the top.
    """
    count = len(critical)
    allowed = math.floor(max_error * (count + 1) - 1 + 1e-9)
    if allowed < 0:
        raise ConfigError(
            f"an error of at most {max_error:g} needs {math.ceil(1 / max_error) - 1} objects or more "
            f"in the second half of those that are found, got {count}"
        )
    falling = np.sort(critical)[::-1]
    threshold = float(falling[allowed]) if allowed < count else 0.0
    if math.isinf(threshold):
        wrong = float(np.isinf(critical).mean())
        raise ConfigError(
            f"an error of at most {max_error:g} cannot be promised: even the top node is wrong for {wrong:.1%}"
        )
    return min(threshold, float(np.nextafter(1, 0)))


def _answers(found: Sequence[FoundObject], tree: WordTree, back_off: BackOff) -> list[tuple[int, int]]:
    """For each object the node that is answered with, and its truth."""
    answers = []
    for one in found:
        nodes, probabilities = _walk(one, tree, back_off.temperatures)
        deepest = max(0, int((probabilities > back_off.hier_thresh).sum()) - 1)
        answers.append((nodes[deepest], one.gt))
    return answers


def _rates(answers: Sequence[tuple[int, int]], tree: WordTree) -> tuple[float, float]:
    """The share of wrong answers, and the mean depth."""
    wrong = [not _right([node], gt, tree)[0] for node, gt in answers]
    return float(np.mean(wrong)), float(np.mean([tree.depths[node] for node, _ in answers]))


def with_temperatures(model: Model, tree: WordTree, temperatures: Sequence[float]) -> Model:
    """The model with the class rows of its last layer divided by the temperature of their depth."""
    architecture = model.architecture
    last = max(i for i, row in enumerate(architecture.body) if isinstance(row, Conv))
    numbers = model.parameters[last]
    assert isinstance(architecture.head, Region) and numbers is not None  # noqa: S101, PT018  a detector's model file has both
    anchors = len(architecture.head.anchors_wh_cells)
    divisors = np.concatenate([np.ones(5), np.array(temperatures)[tree.depths]])
    rows = np.tile(divisors, anchors).astype(np.float32)
    scaled = replace(numbers, weights=numbers.weights / rows[:, None, None, None], biases=numbers.biases / rows)
    return replace(model, parameters=(*model.parameters[:last], scaled, *model.parameters[last + 1 :]))
