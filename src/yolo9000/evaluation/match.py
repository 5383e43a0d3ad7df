"""Which detection found which truth, at one IoU.

The rule is that of VOC's development kit (VOCevaldet.m): every detection chooses the truth of its class and image
with the highest IoU; of the detections that choose one truth, the one with the highest score takes it and the others
are false positives, even where another truth would be free. A detection that chooses a difficult truth does not
count, nor does a false positive that lies in a crowd (COCO's rule: the part of its own area that is in the crowd's
box must reach the threshold).

VOC's boxes have inclusive edges, so that its kit adds 1 to every width and height. Boxes here have exclusive far
edges, with VOC's already converted; the IoU without the 1 is then the kit's, to the last bit, in 64 bits.
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
"""How gladly detections with some labels take truths with others: (labels found, labels of truths). 0: never."""


@dataclass(frozen=True)
class Matches:
    """What became of every detection.

    Attributes:
        gts: place of the truth that it found; -1 where it found none.
        ignored: whether it counts neither as found nor as a false positive.
    """

    gts: Int64[np.ndarray, " d"]
    ignored: Bool[np.ndarray, " d"]

    @property
    def hits(self) -> Bool[np.ndarray, " d"]:
        """Which detections found a truth."""
        return self.gts >= 0


@dataclass(frozen=True)
class _Pairs:
    """Detections and truths that overlap enough."""

    found: Int64[np.ndarray, " p"]
    gts: Int64[np.ndarray, " p"]
    overlaps: Float64[np.ndarray, " p"]
    affinities: Float64[np.ndarray, " p"]

    def at(self, places: Int64[np.ndarray, " q"]) -> _Pairs:
        return _Pairs(self.found[places], self.gts[places], self.overlaps[places], self.affinities[places])


def match(scored: Scored, min_iou: float = 0.5, affinity: Affinity | None = None) -> Matches:
    """Match detections with truths.

    Args:
        scored: truth and detections.
        min_iou: IoU from which a detection has found a truth (inclusive, as in VOC's kit and COCO's).
        affinity: None matches equal labels, VOC's rule. Else labels may differ: a detection chooses the truth of the
            highest affinity, then of the highest IoU; a truth is taken by the detection of the highest affinity, then
            of the highest score.

    Raises:
        ValueError: a threshold outside (0, 1].
    """
    if not 0 < min_iou <= 1:
        raise ValueError(f"min_iou must be above 0 and at most 1, got {min_iou}")
    choices = _choose(_overlapping(scored, ~scored.gt_crowd, iou, min_iou, affinity))
    taken = _take(choices, scored)
    in_crowds = _overlapping(scored, scored.gt_crowd, _fraction_inside, min_iou, affinity)
    gts = np.full(len(scored.pred_labels), -1, np.int64)
    gts[taken.found] = taken.gts
    ignored = np.zeros(len(gts), bool)
    ignored[choices.found[scored.gt_difficult[choices.gts]]] = True
    ignored[in_crowds.found] = True
    ignored[taken.found] = False
    return Matches(gts, ignored)


def prefer_same_label(
    pred_labels: Int64[np.ndarray, " p"], gt_labels: Int64[np.ndarray, " p"]
) -> Float64[np.ndarray, " p"]:
    """An affinity: any label may take any truth, one with the same label rather than another."""
    return np.where(pred_labels == gt_labels, 2.0, 1.0)


def join(
    left_keys: Int64[np.ndarray, " n"], right_keys: Int64[np.ndarray, " m"]
) -> Iterator[tuple[Int64[np.ndarray, " p"], Int64[np.ndarray, " p"]]]:
    """Places of every left and every right that have one key, about a million pairs at a time.

    Left places rise, and right places rise for each left one.
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
    least: float,
    affinity: Affinity | None,
) -> _Pairs:
    """All pairs of a detection and one of the given truths that overlap by at least so much and may be matched."""
    places = np.flatnonzero(which)
    gt_keys, pred_keys = scored.gt_images[places], scored.pred_images
    if affinity is None:
        gt_keys = gt_keys * scored.classes + scored.gt_labels[places]
        pred_keys = pred_keys * scored.classes + scored.pred_labels
    gt_boxes, pred_boxes = scored.gt_boxes_xyxy.astype(np.float64), scored.pred_boxes_xyxy.astype(np.float64)
    kept = [_Pairs(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0), np.empty(0))]
    for found, nth in join(pred_keys, gt_keys):
        gts = places[nth]
        overlaps = overlap(pred_boxes[found], gt_boxes[gts])
        enough = overlaps >= least
        found, gts, overlaps = found[enough], gts[enough], overlaps[enough]
        affinities = (
            np.ones(len(found)) if affinity is None else affinity(scored.pred_labels[found], scored.gt_labels[gts])
        )
        kept.append(_Pairs(found, gts, overlaps, affinities).at(np.flatnonzero(affinities > 0)))
    return _Pairs(*(np.concatenate(columns) for columns in zip(*(vars(pairs).values() for pairs in kept), strict=True)))


@np.errstate(invalid="ignore")
def _fraction_inside(
    boxes_xyxy: Float64[np.ndarray, "p 4"], others_xyxy: Float64[np.ndarray, "p 4"]
) -> Float64[np.ndarray, " p"]:
    """The part of each box's area that lies in the other one (COCO: maskApi.c bbIou for crowds); NaN without area."""
    left_top = np.maximum(boxes_xyxy[:, :2], others_xyxy[:, :2])
    right_bottom = np.minimum(boxes_xyxy[:, 2:], others_xyxy[:, 2:])
    inside = np.maximum(right_bottom - left_top, 0).prod(axis=1)
    return np.asarray(inside / (boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]).prod(axis=1))


def _choose(pairs: _Pairs) -> _Pairs:
    """For every detection the truth that suits it best; of equals the earlier truth."""
    order = np.lexsort((pairs.gts, -pairs.overlaps, -pairs.affinities, pairs.found))
    return pairs.at(order[_first_of_each(pairs.found[order])])


def _take(choices: _Pairs, scored: Scored) -> _Pairs:
    """For every truth that must be found the detection, of those that chose it, that takes it."""
    choices = choices.at(np.flatnonzero(~scored.gt_difficult[choices.gts]))
    order = np.lexsort((choices.found, -scored.pred_scores[choices.found], -choices.affinities, choices.gts))
    return choices.at(order[_first_of_each(choices.gts[order])])


def _first_of_each(sorted_values: Int64[np.ndarray, " n"]) -> Bool[np.ndarray, " n"]:
    return np.diff(sorted_values, prepend=-1) > 0
