"""Average precision of detectors whose labels form a tree (§4): at every depth, and with partial credit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float64, Int64

from yolo9000.boxes import iou
from yolo9000.evaluation.match import Affinity, join, match
from yolo9000.evaluation.scored import Scored
from yolo9000.evaluation.tree_paths import NEARER, Lineage, check_labels, deepest_kept
from yolo9000.evaluation.voc import (
    ApByClass,
    ApMethod,
    PrecisionRecall,
    average_precisions,
    curves,
    voc_ap,
)
from yolo9000.taxonomy.wordtree import WordTree

__all__ = ["ap_by_depth", "credited_ap", "credited_precision_recall", "cut_at_depths"]


def ap_by_depth(
    scored: Scored,
    tree: WordTree,
    min_iou: float = 0.5,
    method: ApMethod = "area",
    duplicate_iou: float = 0.45,
) -> list[ApByClass]:
    """VOC's AP of every class at depth 0, 1, ... of the tree; see `cut_at_depths`. The last depth is plain AP."""
    return [voc_ap(cut, min_iou, method) for cut in cut_at_depths(scored, tree, duplicate_iou)]


def cut_at_depths(scored: Scored, tree: WordTree, duplicate_iou: float = 0.45) -> Iterator[Scored]:
    """Ground truth and predictions with all labels cut at depth 0, 1, ... of the tree.

    At depth d a node below depth d is replaced by its ancestor at depth d; other nodes stay.

    A detector that gave one object two labels may now repeat itself. Of two predictions in one image whose labels were
    different and have become the same, the one with the lower score is dropped if their IoU is above ``duplicate_iou``;
    a dropped prediction suppresses no other. Pairs that had the same label before are left to the detector's own
    suppression.

    The score stays that of the original prediction, objectness x P(node), which is below objectness x P(ancestor).
    """
    check_labels(scored, tree)
    better, worse = _double_predictions(scored, duplicate_iou)
    for depth in range(int(tree.depths.max()) + 1):
        yield _relabelled(scored, deepest_kept(tree, tree.depths <= depth), better, worse)


def _double_predictions(scored: Scored, iou_above: float) -> tuple[Int64[np.ndarray, " p"], Int64[np.ndarray, " p"]]:
    """Pairs of predictions in one image, the higher score first, that overlap and have different labels."""
    order = np.argsort(-scored.pred_scores, kind="stable")
    images, labels, boxes = scored.pred_images[order], scored.pred_labels[order], scored.pred_boxes_xyxy[order]
    better, worse = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for first, second in join(images, images):
        differ = (first < second) & (labels[first] != labels[second])
        first, second = first[differ], second[differ]
        overlap = iou(boxes[first], boxes[second]) > iou_above
        better.append(first[overlap])
        worse.append(second[overlap])
    return order[np.concatenate(better)], order[np.concatenate(worse)]


def _relabelled(
    scored: Scored,
    target: Int64[np.ndarray, " nodes"],
    better: Int64[np.ndarray, " p"],
    worse: Int64[np.ndarray, " p"],
) -> Scored:
    """Replace every label, and drop the lower scored of two overlapping predictions whose labels have become equal."""
    labels = target[scored.pred_labels]
    cut = replace(scored, gt_labels=target[scored.gt_labels], pred_labels=labels)
    same = labels[better] == labels[worse]
    return cut.select_pred(_suppress(len(labels), better[same], worse[same]))


def _suppress(count: int, better: Int64[np.ndarray, " p"], worse: Int64[np.ndarray, " p"]) -> Bool[np.ndarray, " d"]:
    """Greedy suppression in all images at once: a prediction that no kept prediction suppresses is kept."""
    kept = np.ones(count, bool)
    while len(better):
        challenged = np.zeros(count, bool)
        challenged[worse] = True
        kept[worse[~challenged[better]]] = False
        undecided = kept[better] & kept[worse]
        better, worse = better[undecided], worse[undecided]
    return kept


def credited_ap(scored: Scored, tree: WordTree, min_iou: float = 0.5, method: ApMethod = "area") -> ApByClass:
    """AP in which a match counts for its credit; see `credited_precision_recall`."""
    by_label = credited_precision_recall(scored, tree, min_iou)
    return average_precisions(by_label, scored.classes, method)


def credited_precision_recall(scored: Scored, tree: WordTree, min_iou: float = 0.5) -> dict[int, PrecisionRecall]:
    """Precision and recall of every class with ground truth, a match credited by the deepest common node.

    A prediction chooses, among the objects that it overlaps by ``min_iou`` and has credit for, the one with the highest
    credit, then the nearest in the tree, then the one with the highest IoU. An object goes to the prediction that chose
    it with the highest credit, then the nearest, then the one with the highest score: whatever plain AP counts as a
    true positive is matched here with credit 1.

    A matched prediction counts in the object's class, where it adds its credit to the true positives and 1 to the
    predictions. Any other is a false positive in the deepest class with ground truth at or above its label: a false
    "terrier" is a false "dog" if that is the class. Without one, the classes below its label share it
    equally: a false "dog" is half a false "terrier" and half a false "hound". If there is none of these either, it
    counts nowhere, as in plain AP. So precision is credit / predictions, recall credit / objects.

    Raises:
        ValueError: labels are not the nodes of the tree.
    """
    check_labels(scored, tree)
    lineage = Lineage.of(tree)
    matches = match(scored, min_iou, _credit_affinity(lineage))
    gt_by_class = scored.gt_by_class
    hits = np.flatnonzero(matches.hits)
    hit_classes = scored.gt_labels[matches.gts[hits]]
    credit = lineage.credit(scored.pred_labels[hits], hit_classes)
    false = np.flatnonzero(~matches.hits & ~matches.ignored)
    entries = _join_entries(
        _Entries(hits, hit_classes, credit, np.ones(len(hits))),
        *_false_positives(false, scored.pred_labels, gt_by_class > 0, tree, lineage),
    )
    scores = scored.pred_scores[entries.preds]
    return curves(entries.classes, scores, entries.gains, gt_by_class, entries.parts)


@dataclass(frozen=True)
class _Entries:
    """What each prediction counts for, and in which class; a prediction may be divided among classes."""

    preds: Int64[np.ndarray, " e"]
    classes: Int64[np.ndarray, " e"]
    gains: Float64[np.ndarray, " e"]
    parts: Float64[np.ndarray, " e"]


def _join_entries(*several: _Entries) -> _Entries:
    """All entries, in the order of the predictions."""
    columns = [np.concatenate(values) for values in zip(*(vars(entries).values() for entries in several), strict=True)]
    order = np.argsort(columns[0], kind="stable")
    return _Entries(*(values[order] for values in columns))


def _credit_affinity(lineage: Lineage) -> Affinity:
    def affinity(preds: Int64[np.ndarray, " p"], gts: Int64[np.ndarray, " p"]) -> Float64[np.ndarray, " p"]:
        credit = lineage.credit(preds, gts)
        return np.where(credit > 0, credit - NEARER * lineage.distance(preds, gts), 0)

    return affinity


def _false_positives(
    false: Int64[np.ndarray, " f"],
    pred_labels: Int64[np.ndarray, " d"],
    has_gt: Bool[np.ndarray, " nodes"],
    tree: WordTree,
    lineage: Lineage,
) -> tuple[_Entries, _Entries]:
    """False positives in the class at or above their label; the others divided among the classes below it."""
    target = deepest_kept(tree, has_gt)[pred_labels[false]]
    above = has_gt[target]
    whole = _Entries(false[above], target[above], np.zeros(above.sum()), np.ones(above.sum()))
    others = false[~above]
    classes = np.flatnonzero(has_gt)
    index, depth = np.nonzero(np.isin(lineage.paths[classes], pred_labels[others]))
    labels = lineage.paths[classes[index], depth]
    parts = 1 / np.bincount(labels, minlength=len(tree))[labels]
    pairs = list(join(pred_labels[others], labels))
    left = np.concatenate([np.empty(0, np.int64), *(pair[0] for pair in pairs)])
    right = np.concatenate([np.empty(0, np.int64), *(pair[1] for pair in pairs)])
    return whole, _Entries(others[left], classes[index[right]], np.zeros(len(left)), parts[right])
