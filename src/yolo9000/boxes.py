"""Boxes: IoU and non-maximum suppression. Order x, y; NumPy.

Darknet: src/box.c box_iou, do_nms_sort, do_nms_obj.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float, Int64, UInt8, UInt64

__all__ = ["clip", "cxcywh_to_xyxy", "iou", "nms", "suppress"]

FIRST_BOXES = 128
BOXES_AT_ONCE = 1024
PAIRS_WITHOUT_INDEX = 1 << 14
BINS = 64

Pairs = tuple[Int64[np.ndarray, " p"], Int64[np.ndarray, " p"]]
"""Indices of two boxes each."""


def cxcywh_to_xyxy(boxes_cxcywh: Float[np.ndarray, "n 4"]) -> Float[np.ndarray, "n 4"]:
    """(center x, center y, width, height) to (left, top, right, bottom)."""
    centers, halves = boxes_cxcywh[:, :2], boxes_cxcywh[:, 2:] / 2
    return np.concatenate([centers - halves, centers + halves], axis=1)


def clip(boxes_xyxy: Float[np.ndarray, "n 4"], size_wh: tuple[int, int]) -> Float[np.ndarray, "n 4"]:
    """The part of each box that lies in an image of the given size."""
    limits = np.array([*size_wh, *size_wh], boxes_xyxy.dtype)
    return np.asarray(np.clip(boxes_xyxy, 0, limits))


@np.errstate(over="ignore", invalid="ignore")
def iou(boxes_xyxy: Float[np.ndarray, "*n 4"], others_xyxy: Float[np.ndarray, "*m 4"]) -> Float[np.ndarray, ...]:
    """Intersection over union, with NumPy's broadcasting over all axes but the last.

    Two boxes without area (0/0) or of infinite area give NaN, which is above no threshold.
    """
    left, top, right, bottom = np.ascontiguousarray(np.moveaxis(boxes_xyxy, -1, 0))
    left2, top2, right2, bottom2 = np.ascontiguousarray(np.moveaxis(others_xyxy, -1, 0))
    width = np.maximum(np.minimum(right, right2) - np.maximum(left, left2), 0)
    intersection = width * np.maximum(np.minimum(bottom, bottom2) - np.maximum(top, top2), 0)
    areas, areas2 = (right - left) * (bottom - top), (right2 - left2) * (bottom2 - top2)
    return np.asarray(intersection / (areas + areas2 - intersection))


def nms(
    boxes_xyxy: Float[np.ndarray, "n 4"],
    scores: Float[np.ndarray, " n"],
    threshold: float,
    groups: Int64[np.ndarray, " n"] | None = None,
) -> Int64[np.ndarray, " kept"]:
    """Greedy non-maximum suppression: a box is dropped if its IoU with a better one that is kept exceeds a limit.

    Args:
        boxes_xyxy: the boxes.
        scores: the higher, the better; of equal scores the earlier box is the better one.
        threshold: the limit.
        groups: only boxes of one group suppress each other; None: all do.

    Returns:
        Indices of the boxes that are kept, best first.
    """
    order = np.argsort(-scores, kind="stable")
    return suppress(boxes_xyxy, order, threshold, groups)


def suppress(
    boxes_xyxy: Float[np.ndarray, "n 4"],
    order: Int64[np.ndarray, " n"],
    threshold: float,
    groups: Int64[np.ndarray, " n"] | None = None,
    same: Callable[[Int64[np.ndarray, " p"], Int64[np.ndarray, " p"]], Bool[np.ndarray, " p"]] | None = None,
) -> Int64[np.ndarray, " kept"]:
    """Greedy suppression in a given order, some boxes at a time.

    Args:
        boxes_xyxy: the boxes.
        order: indices of the boxes, by falling precedence.
        threshold: IoU above which two boxes count as one object.
        groups: only boxes of one group may be the same object; None: all.
        same: a function of pairs of boxes of one group, the one with precedence first: which may be the same object;
            None: all.

    Returns:
        Indices of the boxes that are kept, in the given order.
    """
    all_groups = np.zeros(len(order), np.int64) if groups is None else groups[order]
    by_group = np.argsort(all_groups, kind="stable")
    boxes, group = order[by_group], all_groups[by_group]
    overlaps = _Overlaps(boxes_xyxy[boxes], group, threshold)

    def drops(first: Int64[np.ndarray, " m"], others: Int64[np.ndarray, " n"]) -> Pairs:
        better, worse = overlaps.pairs(first, others)
        if same is None:
            return better, worse
        one_object = same(boxes[better], boxes[worse])
        return better[one_object], worse[one_object]

    kept = np.ones(len(order), bool)
    remaining = np.arange(len(order))
    at_once = FIRST_BOXES
    while len(remaining):
        count = _block(group[remaining], at_once)
        first, remaining = remaining[:count], remaining[count:]
        _drop_dropped(kept, *drops(first, first))
        others = remaining[: np.searchsorted(group[remaining], group[first[-1]], "right")]
        if len(others):
            kept[drops(first[kept[first]], others)[1]] = False
            remaining = remaining[kept[remaining]]
        at_once = min(2 * at_once, BOXES_AT_ONCE)
    return order[np.sort(by_group[kept])]


def _block(group: Int64[np.ndarray, " n"], maximum: int) -> int:
    """How many of the first boxes to take at a time: whole groups, or a part of one that is larger."""
    if len(group) <= maximum:
        return len(group)
    return int(np.searchsorted(group[:maximum], group[maximum])) or maximum


def _drop_dropped(
    kept: Bool[np.ndarray, " n"], better: Int64[np.ndarray, " p"], worse: Int64[np.ndarray, " p"]
) -> None:
    """Mark which boxes are kept where the better box of a pair, if it is kept, drops the worse one.

    The first k are right after k steps; mostly two or three steps suffice.
    """
    dropped = worse
    while True:
        kept[worse] = True
        kept[dropped] = False
        again = worse[kept[better]]
        if len(again) == len(dropped) and (again == dropped).all():
            return
        dropped = again


@dataclass(frozen=True)
class _Overlaps:
    """Which of some boxes overlap.

    The IoU of two boxes is computed only where bitmaps do not rule out that it exceeds the threshold. IoU > t implies
    that the intersection is wider than t times the width of either box, higher than t times its height, and larger than
    t times its area. So a box sets limits to the coordinates and the areas of those that overlap it. For each
    coordinate there are bitmaps of the boxes below some values; for a box, those of the next higher values are
    intersected.

    Attributes:
        boxes_xyxy: the boxes.
        groups: group of each.
        threshold: IoU above which two boxes overlap.
    """

    boxes_xyxy: Float[np.ndarray, "n 4"]
    groups: Int64[np.ndarray, " n"]
    threshold: float

    def pairs(self, first: Int64[np.ndarray, " k"], others: Int64[np.ndarray, " m"]) -> Pairs:
        """Pairs of one of the first boxes and one of the others after it, both ascending, that overlap in one group."""
        if len(first) * len(others) <= PAIRS_WITHOUT_INDEX:
            row, column = np.nonzero(iou(self.boxes_xyxy[first, None], self.boxes_xyxy[others]) > self.threshold)
            return self._in_one_group(first[row], others[column])
        one, other = self._in_one_group(*self._candidates(first, others))
        boxes = self.boxes_xyxy
        overlapping = iou(boxes.take(one, axis=0), boxes.take(other, axis=0)) > self.threshold
        return one[overlapping], other[overlapping]

    def _in_one_group(self, first: Int64[np.ndarray, " q"], others: Int64[np.ndarray, " q"]) -> Pairs:
        wanted = (first < others) & (self.groups[first] == self.groups[others])
        return first[wanted], others[wanted]

    def _candidates(self, first: Int64[np.ndarray, " k"], others: Int64[np.ndarray, " m"]) -> Pairs:
        begin, end = int(others[0]) // 64, int(others[-1]) // 64 + 1
        wanted = np.zeros((1, len(self.boxes_xyxy)), bool)
        wanted[0, others] = True
        bits = np.repeat(_bitmaps(wanted)[:, begin:end], len(first), axis=0)
        for bitmaps, limits in self._bitmaps_and_limits:
            bits &= bitmaps[limits[first], begin:end]
        row, column = _set_bits(bits)
        return first[row], 64 * begin + column

    @cached_property
    def _bitmaps_and_limits(self) -> list[tuple[UInt64[np.ndarray, "q words"], Int64[np.ndarray, " n"]]]:
        """For each condition the bitmaps, and the index of that of each box."""
        finite = np.isfinite(iou(self.boxes_xyxy, self.boxes_xyxy))  # the IoU of the others is NaN
        left, top, right, bottom = np.where(finite, self.boxes_xyxy.T, 0).astype(np.float64)
        width, height = right - left, bottom - top
        fraction = self.threshold * (1 - 1e-5)  # IoU is rounded
        x, y, area = fraction * width, fraction * height, width * height
        below = [
            (left, right - x),
            (-right, -left - x),
            (top, bottom - y),
            (-bottom, -top - y),
            (-area, -fraction * area),
            (fraction * area, area),
        ]
        return [_below_limits(values, limits) for values, limits in below]


def _below_limits(
    values: Float[np.ndarray, " n"], limits: Float[np.ndarray, " n"]
) -> tuple[UInt64[np.ndarray, "q words"], Int64[np.ndarray, " n"]]:
    """Bitmaps of the values below bounds, and for each limit the index of one that has all values below it."""
    sample = np.sort(values[:: 1 + len(values) // 1024])
    lower, upper = sample[len(sample) // 4], sample[-1 - len(sample) // 4]
    reach = 1.5 * (upper - lower)
    low, high = max(sample[0], lower - reach), min(sample[-1], upper + reach)  # outliers are in the first or last bin

    def bins(of: Float[np.ndarray, " n"]) -> Int64[np.ndarray, " n"]:
        scaled = (of - low) * (BINS / max(high - low, 1e-30))
        return np.asarray(np.fmax(np.fmin(scaled, BINS), 0).astype(np.int64))

    return _bitmaps(bins(values).astype(np.uint8) <= np.arange(BINS + 1, dtype=np.uint8)[:, None]), bins(limits)


def _bitmaps(rows: Bool[np.ndarray, "k n"]) -> UInt64[np.ndarray, "k words"]:
    """Each row in words of 64 bits, the first value in the lowest bit."""
    padded: UInt8[np.ndarray, "k bytes"] = np.zeros((len(rows), 8 * -(-rows.shape[1] // 64)), np.uint8)
    packed = np.packbits(rows, axis=1, bitorder="little")
    padded[:, : packed.shape[1]] = packed
    return padded.view("<u8")


def _set_bits(bitmaps: UInt64[np.ndarray, "k words"]) -> Pairs:
    """Row and column of each bit that is set."""
    words = bitmaps.ravel()
    index = np.flatnonzero(words)
    words = words[index]
    positions = [np.zeros(0, np.int64)]
    while len(index):
        lowest = words & -words
        positions.append(64 * index + np.bitwise_count(lowest - np.uint64(1)))
        words ^= lowest
        more = words != 0
        index, words = index[more], words[more]
    row, column = np.divmod(np.concatenate(positions), max(64 * bitmaps.shape[1], 1))
    return row, column
