"""Score predictions against ground truth: all metrics of one data set."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float64, Int64

from yolo9000.errors import DataError
from yolo9000.evaluation.calibration import Reliability, path_steps, reliability, reliability_by_depth
from yolo9000.evaluation.curves import F1Curve, confusion_matrix, f1_curve
from yolo9000.evaluation.label_only import split
from yolo9000.evaluation.match import match
from yolo9000.evaluation.metric_names import AP_BY_SIZE
from yolo9000.evaluation.scored import Scored, collect
from yolo9000.evaluation.tree_ap import ap_by_depth, credited_ap
from yolo9000.evaluation.tree_severity import SpecificityRisk, localize, risk_curve, severity
from yolo9000.evaluation.voc import ApByClass, PrecisionRecall, precision_recall, voc_ap
from yolo9000.taxonomy.wordtree import WordTree
from yolo9000.types import Detections, Sample

__all__ = ["Evaluation", "Mistake", "evaluate"]

MAX_CONFUSED = 200  # classes; a larger confusion matrix is not readable
MISTAKES_SHOWN = 12


@dataclass(frozen=True)
class Mistake:
    """An image with many errors.

    Attributes:
        sample: the image and its ground truth.
        detections: the predictions at the best threshold.
        wrong: number of false positives.
        missed: number of objects without a matching prediction.
    """

    sample: Sample
    detections: Detections
    wrong: int
    missed: int


@dataclass(frozen=True)
class Evaluation:
    """All metrics of predictions on a data set.

    Attributes:
        name: of the data set.
        classes: class names; on a tree the names of all its nodes.
        images: number of images.
        metrics: by key (see `metric_names`); NaN without ground truth.
        ap: AP at IoU .5 (VOC, area) of every class; NaN without ground truth.
        ap_coco: AP over IoU .5 to .95 of every class: of all objects, and of small, medium and large ones.
        gts: number of objects of each class that count.
        curves: precision and recall of every class with ground truth.
        f1: F1 against the confidence threshold, all classes together.
        confusion: ground truth (rows) against predictions (columns) at the best threshold, the background last; None
            above 200 classes.
        calibration: reliability of the scores (``all``), on a tree also of the nodes at each depth (``depth_0``, ...).
        risk: on a tree, specificity against risk.
        by_depth: on a tree, mAP at each depth.
        mistakes: the images with the most errors.
        tree: the label tree; None for flat classes.
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
    tree: WordTree | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain values for ``json``; metrics without ground truth are null."""
        return {
            "name": self.name,
            "images": self.images,
            "metrics": {key: _or_none(value) for key, value in self.metrics.items()},
            "by_depth": {str(depth): _or_none(value) for depth, value in self.by_depth.items()},
            "classes": [
                {
                    "name": self.classes[label],
                    "gts": int(self.gts[label]),
                    "ap50": _or_none(self.ap[label]),
                    **{key: _or_none(value) for key, value in zip(AP_BY_SIZE, self.ap_coco[label], strict=True)},
                }
                for label in np.flatnonzero(self.gts)
            ],
            "ece": {name: _or_none(bins.ece) for name, bins in self.calibration.items()},
        }


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


def evaluate(
    name: str,
    pairs: Iterable[tuple[Sample, Detections]],
    classes: Sequence[str],
    *,
    tree: WordTree | None = None,
    only_labels: Sequence[int] = (),
) -> Evaluation:
    """Score predictions against the ground truth of their images.

    Args:
        name: of the data set.
        pairs: every image with boxes, and its predictions down to low scores.
        classes: names of the classes, or of all nodes of the tree.
        tree: the label tree if labels are its nodes.
        only_labels: classes that had no boxes in training, scored separately from those that had (§4).

    Raises:
        DataError: there is no image with boxes.
        EngineError: the extra ``val`` is not installed.
    """
    from yolo9000.evaluation.coco import coco_scores  # here, because it needs an extra that reports do without

    samples, preds, gts = [], [], []
    for sample, detections in pairs:
        if sample.boxes is not None:
            samples.append(sample)
            preds.append(detections)
            gts.append(sample.boxes)
    if not samples:
        raise DataError(f"{name}: must have images with boxes to score predictions against, has none")
    scored = collect(zip(gts, preds, strict=True), len(classes))
    area, coco, f1 = voc_ap(scored), coco_scores(scored), f1_curve(scored)
    threshold = 0.0 if math.isnan(f1.best_threshold) else f1.best_threshold
    return Evaluation(
        name=name,
        classes=tuple(classes),
        images=len(samples),
        metrics={
            "map50": area.mean,
            "map50_11pt": voc_ap(scored, method="eleven_point").mean,
            **coco.metrics,
            "best_f1": f1.best_f1,
            "best_f1_threshold": f1.best_threshold,
            **_label_only_metrics(scored, area, only_labels),
            **({} if tree is None else _tree_metrics(scored, tree)),
        },
        ap=area.values,
        ap_coco=coco.by_class_and_size,
        gts=scored.gt_by_class,
        curves=precision_recall(scored),
        f1=f1,
        confusion=confusion_matrix(scored, min_score=threshold) if len(classes) <= MAX_CONFUSED else None,
        calibration={"all": _score_reliability(scored)} | ({} if tree is None else _reliability(scored, tree, preds)),
        risk=None if tree is None else _risk(scored, tree),
        by_depth={} if tree is None else {depth: ap.mean for depth, ap in enumerate(ap_by_depth(scored, tree))},
        mistakes=tuple(_worst(samples, preds, scored, threshold)),
        tree=tree,
    )


def _label_only_metrics(scored: Scored, ap: ApByClass, only_labels: Sequence[int]) -> dict[str, float]:
    if not only_labels:
        return {}
    boxed = set(np.flatnonzero(scored.gt_by_class).tolist()) - set(only_labels)
    means = split(ap, boxed, only_labels)
    return {"map50_boxed": means.had_boxes, "map50_label_only": means.only_labels}


def _tree_metrics(scored: Scored, tree: WordTree) -> dict[str, float]:
    distances = severity(scored, tree)
    return {
        "map50_partial_credit": credited_ap(scored, tree).mean,
        "mean_distance": distances.mean_distance,
        "mean_mistake_distance": distances.mean_mistake_distance,
    }


def _score_reliability(scored: Scored) -> Reliability:
    """Whether predictions with score s match an object of their label in a fraction s of cases."""
    matches = match(scored)
    counts = ~matches.ignored
    return reliability(scored.pred_scores[counts], matches.hits[counts])


def _risk(scored: Scored, tree: WordTree) -> SpecificityRisk:
    pairs = localize(scored, tree)
    gts = scored.gt_labels[pairs.gts]
    return risk_curve(scored.pred_labels[pairs.preds], gts, scored.pred_scores[pairs.preds], tree)


def _reliability(scored: Scored, tree: WordTree, preds: Sequence[Detections]) -> dict[str, Reliability]:
    """Reliability of the nodes at each depth, of the predictions that came with their paths."""
    answers = [answer for detections in preds for answer in detections.answers or [None] * len(detections)]
    pairs = localize(scored, tree)
    known = [(answers[pred], gt) for pred, gt in zip(pairs.preds, pairs.gts, strict=True)]
    paths = [(answer, gt) for answer, gt in known if answer is not None]
    gts = scored.gt_labels[np.array([gt for _, gt in paths], np.int64)]
    steps = path_steps([answer for answer, _ in paths], gts, tree)
    return {f"depth_{depth}": bins for depth, bins in reliability_by_depth(steps).items()}


def _worst(
    samples: Sequence[Sample], preds: Sequence[Detections], scored: Scored, threshold: float
) -> Iterator[Mistake]:
    """The images with the most false positives and missed objects at a threshold."""
    kept = scored.select_pred(scored.pred_scores >= threshold)
    matches = match(kept)
    wrong = np.bincount(kept.pred_images[~matches.hits & ~matches.ignored], minlength=kept.images)
    missing = kept.gt_counts.copy()
    missing[matches.gts[matches.hits]] = False
    missed = np.bincount(kept.gt_images[missing], minlength=kept.images)
    for image in np.argsort(-(wrong + missed), kind="stable")[:MISTAKES_SHOWN]:
        if wrong[image] + missed[image]:
            shown = preds[image].select(np.flatnonzero(preds[image].scores >= threshold))
            yield Mistake(samples[image], shown, int(wrong[image]), int(missed[image]))
