"""Matching of predictions with ground truth at one IoU.

The rule is that of VOC's development kit (VOCevaldet.m): every prediction chooses the object of its class and image
with the highest IoU; of the predictions that choose one object, the one with the highest score takes it and the others
are false positives, even if another object is free. A prediction that chooses a difficult object does not count, nor
does a false positive in a crowd (COCO's rule: the fraction of its own area inside the crowd's box must reach the
threshold).

VOC's boxes have inclusive edges, so its kit adds 1 to every width and height. Boxes here have exclusive far edges, with
VOC's already converted; the IoU without the 1 is then the kit's, to the last bit, in 64 bits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int64

from yolo9000.boxes import iou
from yolo9000.evaluation.scored import Scored

__all__ = ["Affinity", "Matches", "join", "match", "prefer_same_label"]

PAIRS_AT_ONCE = 1 << 20

Affinity = Callable[[Int64[np.ndarray, " p"], Int64[np.ndarray, " p"]], Float64[np.ndarray, " p"]]
"""Preference for matching: called with (predicted labels, ground-truth labels); 0 never matches."""


@dataclass(frozen=True)
class Matches:
    """The match of every prediction.

    Attributes:
        gts: index of the matched object; -1 without a match.
        ignored: whether the prediction counts neither as a true nor as a false positive.
    """

    gts: Int64[np.ndarray, " d"]
    ignored: Bool[np.ndarray, " d"]

    @property
    def hits(self) -> Bool[np.ndarray, " d"]:
        """Which predictions are matched."""
        return self.gts >= 0


@dataclass(frozen=True)
class _Pairs:
    """Predictions and objects that overlap enough."""

    preds: Int64[np.ndarray, " p"]
    gts: Int64[np.ndarray, " p"]
    overlaps: Float64[np.ndarray, " p"]
    affinities: Float64[np.ndarray, " p"]

    def at(self, indices: Int64[np.ndarray, " q"]) -> _Pairs:
        return _Pairs(self.preds[indices], self.gts[indices], self.overlaps[indices], self.affinities[indices])


def match(scored: Scored, min_iou: float = 0.5, affinity: Affinity | None = None) -> Matches:
    """Match predictions with ground truth.

    Args:
        scored: ground truth and predictions.
        min_iou: minimum IoU of a match (inclusive, as in VOC's and COCO's kits).
        affinity: None matches equal labels, VOC's rule. Otherwise labels may differ: a prediction chooses the object
            with the highest affinity, then the highest IoU; an object goes to the prediction with the highest affinity,
            then the highest score.

    Raises:
        ValueError: a threshold outside (0, 1].
    """
    if not 0 < min_iou <= 1:
        raise ValueError(f"min_iou must be above 0 and at most 1, got {min_iou}")
    choices = _choose(_overlapping(scored, ~scored.gt_crowd, iou, min_iou, affinity))
    taken = _take(choices, scored)
    in_crowds = _overlapping(scored, scored.gt_crowd, _fraction_inside, min_iou, affinity)
    gts = np.full(len(scored.pred_labels), -1, np.int64)
    gts[taken.preds] = taken.gts
    ignored = np.zeros(len(gts), bool)
    ignored[choices.preds[scored.gt_difficult[choices.gts]]] = True
    ignored[in_crowds.preds] = True
    ignored[taken.preds] = False
    return Matches(gts, ignored)


def prefer_same_label(
    pred_labels: Int64[np.ndarray, " p"], gt_labels: Int64[np.ndarray, " p"]
) -> Float64[np.ndarray, " p"]:
    """An affinity: any labels may match, equal labels are preferred."""
    return np.where(pred_labels == gt_labels, 2.0, 1.0)


def join(
    left_keys: Int64[np.ndarray, " n"], right_keys: Int64[np.ndarray, " m"]
) -> Iterator[tuple[Int64[np.ndarray, " p"], Int64[np.ndarray, " p"]]]:
    """Indices of all pairs of left and right with equal keys, about a million pairs at a time.

    Left indices ascend, and for each left index the right indices ascend.
    """
    by_key = np.argsort(right_keys, kind="stable")
    sorted_keys = right_keys[by_key]
    first = np.searchsorted(sorted_keys, left_keys, "left")
    counts = np.searchsorted(sorted_keys, left_keys, "right") - first
    ends = np.cumsum(counts)
    starts = ends - counts
    begin = 0
    while begin < len(left_keys):
        end = max(begin + 1, int(np.searchsorted(ends, starts[begin] + PAIRS_AT_ONCE, "right")))
        block = slice(begin, end)
        left = np.repeat(np.arange(begin, end), counts[block])
        nth = starts[begin] + np.arange(len(left)) - starts[left]
        yield left, by_key[first[left] + nth]
        begin = end


def _overlapping(
    scored: Scored,
    which: Bool[np.ndarray, " t"],
    overlap: Callable[..., Float64[np.ndarray, " p"]],
    min_overlap: float,
    affinity: Affinity | None,
) -> _Pairs:
    """All pairs of a prediction and one of the given objects that overlap by at least ``min_overlap`` and may match."""
    objects = np.flatnonzero(which)
    gt_keys, pred_keys = scored.gt_images[objects], scored.pred_images
    if affinity is None:
        gt_keys = gt_keys * scored.classes + scored.gt_labels[objects]
        pred_keys = pred_keys * scored.classes + scored.pred_labels
    gt_boxes, pred_boxes = scored.gt_boxes_xyxy.astype(np.float64), scored.pred_boxes_xyxy.astype(np.float64)
    kept = [_Pairs(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0), np.empty(0))]
    for preds, nth in join(pred_keys, gt_keys):
        gts = objects[nth]
        overlaps = overlap(pred_boxes[preds], gt_boxes[gts])
        enough = overlaps >= min_overlap
        preds, gts, overlaps = preds[enough], gts[enough], overlaps[enough]
        affinities = (
            np.ones(len(preds)) if affinity is None else affinity(scored.pred_labels[preds], scored.gt_labels[gts])
        )
        kept.append(_Pairs(preds, gts, overlaps, affinities).at(np.flatnonzero(affinities > 0)))
    return _Pairs(*(np.concatenate(columns) for columns in zip(*(vars(pairs).values() for pairs in kept), strict=True)))


@np.errstate(invalid="ignore")
def _fraction_inside(
    boxes_xyxy: Float64[np.ndarray, "p 4"], others_xyxy: Float64[np.ndarray, "p 4"]
) -> Float64[np.ndarray, " p"]:
    """The fraction of each box's area inside the other box (COCO: maskApi.c bbIou for crowds); NaN without area."""
    left_top = np.maximum(boxes_xyxy[:, :2], others_xyxy[:, :2])
    right_bottom = np.minimum(boxes_xyxy[:, 2:], others_xyxy[:, 2:])
    inside = np.maximum(right_bottom - left_top, 0).prod(axis=1)
    return np.asarray(inside / (boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]).prod(axis=1))


def _choose(pairs: _Pairs) -> _Pairs:
    """The best object of every prediction; of equals the earlier object."""
    order = np.lexsort((pairs.gts, -pairs.overlaps, -pairs.affinities, pairs.preds))
    return pairs.at(order[_first_of_each(pairs.preds[order])])


def _take(choices: _Pairs, scored: Scored) -> _Pairs:
    """The best prediction of every object that counts, among those that chose it."""
    choices = choices.at(np.flatnonzero(~scored.gt_difficult[choices.gts]))
    order = np.lexsort((choices.preds, -scored.pred_scores[choices.preds], -choices.affinities, choices.gts))
    return choices.at(order[_first_of_each(choices.gts[order])])


def _first_of_each(sorted_values: Int64[np.ndarray, " n"]) -> Bool[np.ndarray, " n"]:
    return np.diff(sorted_values, prepend=-1) > 0
