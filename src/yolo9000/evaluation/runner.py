"""Score a detector on a data set, or detections that any program wrote."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Float64, Int64

from yolo9000.data.dataset import DataSet, OnError
from yolo9000.data.images import image_size, load_image
from yolo9000.errors import ConfigError, DataError
from yolo9000.evaluation.calibration import Reliability, path_steps, reliability, reliability_by_depth
from yolo9000.evaluation.classification import accuracy_by_depth, top_k_accuracy
from yolo9000.evaluation.coco import coco_scores
from yolo9000.evaluation.curves import F1Curve, confusion_matrix, f1_curve
from yolo9000.evaluation.match import match
from yolo9000.evaluation.metric_names import AP_BY_SIZE
from yolo9000.evaluation.scored import Scored, collect
from yolo9000.evaluation.tree import (
    SpecificityRisk,
    ap_by_depth,
    credited_ap,
    localise,
    risk_curve,
    severity,
    split,
)
from yolo9000.evaluation.voc import PrecisionRecall, precision_recall, voc_ap
from yolo9000.inference.classifier import Classifier
from yolo9000.inference.detector import Detector
from yolo9000.taxonomy.wordtree import WordTree
from yolo9000.types import BoxAnnotations, Detections, Sample

__all__ = [
    "Evaluation",
    "Mistake",
    "category_ids_of",
    "classification_scores",
    "detect_samples",
    "evaluate",
    "gt_labels",
    "image_label",
    "image_level_scores",
    "labels_among",
    "read_coco_results",
]

MIN_SCORE = 0.005  # Darknet: examples/detector.c validate_detector; lower scores hardly change an AP
BATCH = 8
CLASSIFIER_BATCH = 64
MISTAKES_SHOWN = 12


@dataclass(frozen=True)
class Mistake:
    """An image in which much went wrong.

    Attributes:
        sample: the image and its truth.
        detections: what was found in it at the best threshold.
        wrong: detections that found nothing.
        missed: truths that nothing found.
    """

    sample: Sample
    detections: Detections
    wrong: int
    missed: int


@dataclass(frozen=True)
class Evaluation:
    """Scores of detections on a data set.

    Attributes:
        name: of the data set.
        classes: names; on a tree of all its nodes.
        images: images.
        metrics: by key (see `metric_names`); NaN where there is no ground truth.
        ap: AP at IoU .5 (VOC, area) of every class; NaN without truths.
        ap_coco: AP over IoUs .5 to .95 of every class: of objects of all sizes, of small, medium and large ones.
        gts: objects of each class that must be found.
        curves: precision and recall of every class with truths.
        f1: F1 against threshold, of all classes together.
        confusion: truth (rows) against answer at the best threshold, last the background; None above 200 classes.
        calibration: reliability of the scores, on a tree of the nodes at each depth.
        risk: on a tree, specificity against risk.
        by_depth: on a tree, mAP at each depth.
        mistakes: the worst images.
    """

    name: str
    classes: tuple[str, ...]
    images: int
    metrics: dict[str, float]
    ap: Float64[np.ndarray, " k"]
    ap_coco: Float64[np.ndarray, "k 4"]
    gts: Int64[np.ndarray, " k"]
    curves: dict[int, PrecisionRecall]
    f1: F1Curve
    confusion: Int64[np.ndarray, "n n"] | None
    calibration: dict[str, Reliability]
    risk: SpecificityRisk | None
    by_depth: dict[int, float]
    mistakes: tuple[Mistake, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain values for ``json``; what has no truth is null."""
        return {
            "name": self.name,
            "images": self.images,
            "metrics": {key: _known(value) for key, value in self.metrics.items()},
            "by_depth": {str(depth): _known(value) for depth, value in self.by_depth.items()},
            "classes": [
                {
                    "name": self.classes[label],
                    "gts": int(self.gts[label]),
                    "ap50": _known(self.ap[label]),
                    **{name: _known(value) for name, value in zip(AP_BY_SIZE, self.ap_coco[label], strict=True)},
                }
                for label in np.flatnonzero(self.gts)
            ],
            "ece": {name: _known(bins.ece) for name, bins in self.calibration.items()},
        }


def _known(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


MAX_CONFUSED = 200  # classes; a larger confusion matrix says nothing to the eye


def evaluate(
    name: str,
    pairs: Iterable[tuple[Sample, Detections]],
    classes: Sequence[str],
    *,
    tree: WordTree | None = None,
    only_labels: Sequence[int] = (),
) -> Evaluation:
    """Score detections against the truth of their images.

    Args:
        name: of the data set.
        pairs: every image with boxes, and what was found in it down to low scores.
        classes: names of the classes, or of all nodes of the tree.
        tree: the label tree where labels are its nodes.
        only_labels: classes that had no boxes in training, to be scored apart from those that had (§4).

    Raises:
        DataError: there is no image with boxes.
    """
    samples, found, gts = [], [], []
    for sample, detections in pairs:
        if sample.boxes is not None:
            samples.append(sample)
            found.append(detections)
            gts.append(sample.boxes)
    if not samples:
        raise DataError(f"{name}: must have images with boxes to score detections against, has none")
    scored = collect(zip(gts, found, strict=True), len(classes))
    area, coco = voc_ap(scored), coco_scores(scored)
    f1 = f1_curve(scored)
    metrics = {
        "map50": area.mean,
        "map50_11pt": voc_ap(scored, method="eleven_point").mean,
        **coco.metrics,
        "best_f1": f1.best_f1,
        "best_f1_threshold": f1.best_threshold,
    }
    if only_labels:
        apart = split(area, set(np.flatnonzero(scored.gt_by_class).tolist()) - set(only_labels), only_labels)
        metrics |= {"map50_boxed": apart.had_boxes, "map50_label_only": apart.only_labels}
    threshold = 0.0 if math.isnan(f1.best_threshold) else f1.best_threshold
    by_depth: dict[int, float] = {}
    risk, calibration = None, {"all": _score_reliability(scored)}
    if tree is not None:
        by_depth = {depth: ap.mean for depth, ap in enumerate(ap_by_depth(scored, tree))}
        metrics |= _tree_metrics(scored, tree)
        risk, calibration = _tree_answers(scored, tree, found, calibration)
    return Evaluation(
        name=name,
        classes=tuple(classes),
        images=len(samples),
        metrics=metrics,
        ap=area.values,
        ap_coco=coco.by_class_and_size,
        gts=scored.gt_by_class,
        curves=precision_recall(scored),
        f1=f1,
        confusion=confusion_matrix(scored, min_score=threshold) if len(classes) <= MAX_CONFUSED else None,
        calibration=calibration,
        risk=risk,
        by_depth=by_depth,
        mistakes=tuple(_worst(samples, found, scored, threshold)),
    )


def _tree_metrics(scored: Scored, tree: WordTree) -> dict[str, float]:
    how_wrong = severity(scored, tree)
    return {
        "map50_partial_credit": credited_ap(scored, tree).mean,
        "mean_distance": how_wrong.mean_distance,
        "mean_mistake_distance": how_wrong.mean_distance_of_mistakes,
    }


def _score_reliability(scored: Scored) -> Reliability:
    """Do detections with score s find an object of their label in a share s of cases?"""
    matches = match(scored)
    counts = ~matches.ignored
    return reliability(scored.pred_scores[counts], matches.hits[counts])


def _tree_answers(
    scored: Scored, tree: WordTree, found: Sequence[Detections], calibration: dict[str, Reliability]
) -> tuple[SpecificityRisk, dict[str, Reliability]]:
    pairs = localise(scored, tree)
    gts = scored.gt_labels[pairs.gts]
    risk = risk_curve(scored.pred_labels[pairs.found], gts, scored.pred_scores[pairs.found], tree)
    answers = [answer for detections in found for answer in detections.answers]
    if len(answers) == len(scored.pred_labels):
        steps = path_steps([answers[i] for i in pairs.found], gts, tree)
        calibration = calibration | {f"depth_{d}": bins for d, bins in reliability_by_depth(steps).items()}
    return risk, calibration


def _worst(
    samples: Sequence[Sample], found: Sequence[Detections], scored: Scored, threshold: float
) -> Iterator[Mistake]:
    """The images with the most wrong detections and missed truths at a threshold."""
    given = scored.select_pred(scored.pred_scores >= threshold)
    matches = match(given)
    wrong = np.bincount(given.pred_images[~matches.hits & ~matches.ignored], minlength=given.images)
    missing = given.gt_counts.copy()
    missing[matches.gts[matches.hits]] = False
    missed = np.bincount(given.gt_images[missing], minlength=given.images)
    for place in np.argsort(-(wrong + missed), kind="stable")[:MISTAKES_SHOWN]:
        if wrong[place] + missed[place]:
            kept = found[place].select(np.flatnonzero(found[place].scores >= threshold))
            yield Mistake(samples[place], kept, int(wrong[place]), int(missed[place]))


def detect_samples(
    detector: Detector, data_set: DataSet, *, on_error: OnError = "error", batch: int = BATCH
) -> Iterator[tuple[Sample, Detections]]:
    """Run a detector over the boxed images of a data set.

    Labels of both come out as the model's: classes of the data set are matched with the model's by name, on a tree also
    by id. Classes of the model that the data set does not have are left out: their truth is not known.

    Args:
        detector: its threshold is replaced by a low one.
        data_set: boxes in pixels.
        on_error: what to do with faulty annotations.
        batch: images run at a time.

    Raises:
        ConfigError: a class of the data set is none of the model's, or several of a tree's nodes bear its name.
        DataError: see `DataSet.samples`; an image cannot be read.
    """
    low = detector.with_settings(conf_threshold=MIN_SCORE)
    numbers = gt_labels(detector, data_set)
    if detector.head.tree is None:
        low = low.keeping(np.isin(np.arange(len(detector.names)), numbers))
    group: list[Sample] = []
    for sample in data_set.samples(on_error):
        if sample.boxes is not None:
            boxes = sample.boxes.select(numbers[sample.boxes.labels] != NOT_AT_LEVEL)
            group.append(replace(sample, boxes=replace(boxes, labels=numbers[boxes.labels])))
        if len(group) == batch:
            yield from _detect_group(low, group)
            group = []
    yield from _detect_group(low, group)


def _detect_group(detector: Detector, group: list[Sample]) -> Iterator[tuple[Sample, Detections]]:
    images = [load_image(sample.image, sample.name).pixels for sample in group]
    yield from zip(group, detector.detect(images), strict=True)


def category_ids_of(detector: Detector, data_set: DataSet) -> dict[int, int] | None:
    """The category id of each of the model's labels for a results file; None on a tree: nodes stay as they are."""
    if detector.head.tree is not None:
        return None
    numbers = labels_among(detector.names, None, data_set)
    return {int(numbers[label]): category for label, category in data_set.category_ids().items()}


NOT_AT_LEVEL = -1


def gt_labels(detector: Detector, data_set: DataSet) -> Int64[np.ndarray, " k"]:
    """What a detector calls each class of a data set: see `labels_among`.

    A detector that answers with chosen nodes of its tree calls a class by the nearest of them at or above it; -1 where
    there is none.

    Raises:
        ConfigError: see `labels_among`.
    """
    tree, chosen = detector.head.tree, detector.query.nodes
    if tree is None or chosen is None:
        return labels_among(detector.names, tree, data_set)
    place = {int(node): number for number, node in enumerate(chosen)}
    nodes = labels_among(tree.names, tree, data_set)
    paths = (reversed(tree.path(int(node))) for node in nodes)
    return np.array([next((place[step] for step in path if step in place), NOT_AT_LEVEL) for path in paths], np.int64)


def labels_among(names: Sequence[str], tree: WordTree | None, data_set: DataSet) -> Int64[np.ndarray, " k"]:
    """The label of each class of a data set among a model's: by name, on a tree also by id.

    Args:
        names: the model's labels; on a tree of all its nodes.
        tree: its tree.
        data_set: whose classes are looked for.

    Raises:
        ConfigError: a class of the data set is none of the model's, or several of a tree's nodes bear its name.
    """
    labels = []
    for name in data_set.classes:
        bearing = [label for label, known in enumerate(names) if known == name]
        if tree is not None and name in tree.ids:
            bearing = [tree.ids.index(name)]
        if len(bearing) != 1:
            how_many = f"{len(bearing)} of them bear it: name its id" if bearing else "none has it"
            raise ConfigError(
                f"{data_set.name}: class {name!r} must be one of the model's {len(names)} labels, {how_many}"
            )
        labels.append(bearing[0])
    return np.array(labels, np.int64)


def image_label(sample: Sample) -> int:
    """The one class that an image shows, by its image-level label or else by its boxes.

    Raises:
        DataError: it has no class, or several.
    """
    boxed = () if sample.boxes is None else np.unique(sample.boxes.labels).tolist()
    labels = sample.image_labels or boxed
    if len(labels) != 1:
        raise DataError(f"{sample.where}: a classifier's image must have one class, got {len(labels)}")
    return int(labels[0])


def classification_scores(
    classifier: Classifier, data_set: DataSet, *, on_error: OnError = "error"
) -> dict[str, float]:
    """Top-1 and Top-5 of a classifier among the classes of a data set; on a tree also Top-1 at each depth.

    Args:
        classifier: scores images.
        data_set: images of one class each.
        on_error: what to do with faulty annotations.

    Raises:
        ConfigError: see `labels_among`.
        DataError: an image does not have one class, or cannot be read; there is no image.
    """
    nodes = labels_among(classifier.names, classifier.tree, data_set)
    samples = list(data_set.samples(on_error))
    if not samples:
        raise DataError(f"{data_set.name}: must have images to score a classifier on, has none")
    gts = np.array([image_label(sample) for sample in samples], np.int64)
    scores = _in_groups(samples, lambda images: classifier.probabilities(images)[:, nodes])
    return _label_accuracies(scores, gts, nodes, classifier.tree)


def image_level_scores(detector: Detector, data_set: DataSet, *, on_error: OnError = "error") -> dict[str, float]:
    """How often a detector's best box names the image-level label of an image without boxes; empty without any.

    A class scores what the best box gives it, objectness x class probability; then it is as with a classifier.

    Raises:
        ConfigError: see `labels_among`.
        DataError: an image cannot be read.
    """
    labels = gt_labels(detector, data_set)
    samples = [
        sample for sample in data_set.samples(on_error) if sample.boxes is None and len(sample.image_labels) == 1
    ]
    samples = [sample for sample in samples if labels[sample.image_labels[0]] != NOT_AT_LEVEL]
    if not samples:
        return {}
    known, places = np.unique(labels[labels != NOT_AT_LEVEL], return_inverse=True)
    place_of = dict(zip(labels[labels != NOT_AT_LEVEL].tolist(), places.tolist(), strict=True))
    gts = np.array([place_of[int(labels[sample.image_labels[0]])] for sample in samples], np.int64)
    scores = _in_groups(samples, lambda images: detector.best_scores(images, known))
    return _label_accuracies(scores, gts, known, detector.query.tree(detector.head))


def _in_groups(
    samples: Sequence[Sample], score: Callable[[list[np.ndarray]], Float[np.ndarray, "_ k"]]
) -> Float[np.ndarray, "n k"]:
    groups = (samples[start : start + CLASSIFIER_BATCH] for start in range(0, len(samples), CLASSIFIER_BATCH))
    return np.concatenate(
        [score([load_image(sample.image, sample.name).pixels for sample in group]) for group in groups]
    )


def _label_accuracies(
    scores: Float[np.ndarray, "n k"],
    gts: Int64[np.ndarray, " n"],
    nodes: Int64[np.ndarray, " k"],
    tree: WordTree | None,
) -> dict[str, float]:
    """Top-1 and Top-5, on a tree also Top-1 at each depth; column i is the label ``nodes[i]``."""
    metrics = {"top1": top_k_accuracy(scores, gts), "top5": top_k_accuracy(scores, gts, 5)}
    if tree is not None:
        by_depth = accuracy_by_depth(nodes[scores.argmax(axis=1)], nodes[gts], tree)
        metrics |= {f"top1_depth_{depth}": float(fraction) for depth, fraction in enumerate(by_depth)}
    return metrics


def read_coco_results(
    file: Path, data_set: DataSet, on_error: OnError = "error"
) -> Iterator[tuple[Sample, Detections]]:
    """Pair the images of a data set with the detections of a COCO results file.

    Images are found by image id, else by the stem of their file or the number that ends it; categories by
    `DataSet.category_ids`.

    Raises:
        DataError: the file is not COCO results, or names images or categories that the data set does not have.
    """
    records = _read_results(file)
    ids = {category: label for label, category in data_set.category_ids().items()}
    by_image: dict[int | str, list[dict[str, Any]]] = {}
    for place, record in enumerate(records):
        if record["category_id"] not in ids:
            raise DataError(f"{file}: result {place}: category_id {record['category_id']} is not one of the classes")
        by_image.setdefault(record["image_id"], []).append(record)
    for sample in data_set.samples(on_error):
        if sample.boxes is None:
            continue
        mine = [record for key in _keys_of(sample) for record in by_image.pop(key, ())]
        size = sample.size_wh or image_size(sample.image, sample.name)
        yield sample, _detections_of(mine, ids, data_set.classes, size)
    if by_image:
        raise DataError(f"{file}: image_id {next(iter(by_image))!r} is no image of {data_set.name}")


def _read_results(file: Path) -> list[dict[str, Any]]:
    try:
        records = json.loads(file.read_bytes())
    except OSError as error:
        raise DataError(f"{file}: cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise DataError(f"{file}: must be JSON: {error}") from None
    if not isinstance(records, list):
        raise DataError(f"{file}: must be a list of results")
    for place, record in enumerate(records):
        problem = _problem_of(record)
        if problem:
            raise DataError(f"{file}: result {place}: {problem}")
    return records


def _problem_of(record: object) -> str | None:
    if not isinstance(record, dict):
        return "must be an object"
    if not isinstance(record.get("image_id"), int | str):
        return f"image_id must be a number or a name, got {record.get('image_id')!r}"
    if type(record.get("category_id")) is not int:
        return f"category_id must be a whole number, got {record.get('category_id')!r}"
    box = record.get("bbox")
    if not isinstance(box, list) or len(box) != 4 or not all(_is_number(side) for side in box):
        return f"bbox must be [left, top, width, height], got {str(box)[:80]}"
    if box[2] < 0 or box[3] < 0:
        return f"bbox must have a width and height that are not negative, got {box}"
    if not _is_number(record.get("score")):
        return f"score must be a number, got {record.get('score')!r}"
    return None


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _keys_of(sample: Sample) -> list[int | str]:
    """What a results file may call the image."""
    stem = Path(sample.name).stem
    number = stem.rpartition("_")[2]
    keys: list[int | str] = [sample.name, stem] if sample.image_id is None else [sample.image_id, sample.name, stem]
    return [*keys, int(number)] if number.isdecimal() and sample.image_id is None else keys


def _detections_of(
    records: Sequence[dict[str, Any]], ids: dict[int, int], classes: Sequence[str], size_wh: tuple[int, int]
) -> Detections:
    boxes = np.array([record["bbox"] for record in records], np.float64).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    labels = np.array([ids[record["category_id"]] for record in records], np.int64)
    scores = np.array([record["score"] for record in records], np.float32)
    order = np.argsort(-scores, kind="stable")
    return Detections(
        boxes_xyxy=boxes.astype(np.float32)[order],
        scores=scores[order],
        labels=labels[order],
        names=tuple(classes[label] for label in labels[order]),
        size_wh=size_wh,
    )


def gt_as_detections(sample: Sample, classes: Sequence[str], size_wh: tuple[int, int]) -> Detections:
    """The truth in the form that `draw.annotate` draws."""
    gt = sample.boxes or BoxAnnotations.plain(np.empty((0, 4), np.float32), np.empty(0, np.int64))
    return Detections(
        boxes_xyxy=gt.boxes_xyxy,
        scores=np.ones(len(gt), np.float32),
        labels=gt.labels,
        names=tuple(classes[label] for label in gt.labels),
        size_wh=size_wh,
    )
