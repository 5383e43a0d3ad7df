"""Dimension clusters: anchors from the boxes of a data set by k-means with the distance 1 - IoU. NumPy only.

Boxes and anchors are compared at a common centre, so only widths and heights matter. Sizes may be in any unit (cells of
a network, pixels, fractions of the image); anchors are returned in the unit of the sizes.

1 - IoU obeys the triangle inequality (it is the Jaccard distance), so each iteration reassigns only boxes whose nearest
centroid can have changed since they were last assigned; the result is that of plain k-means.

Paper: §2 Dimension Clusters, Table 1, Figure 2.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, Float64, Int64, Num

from yolo9000.errors import ConfigError, DataError

__all__ = [
    "AnchorReport",
    "AnchorRow",
    "Clusters",
    "Coverage",
    "DefaultRow",
    "anchor_forms",
    "average_iou",
    "cfg_line",
    "cluster",
    "elbow",
    "format_report",
    "recall",
    "report",
    "size_iou",
    "to_cells",
]

Distance = Literal["iou", "euclidean"]
Unit = Literal["cells", "pixels"]

STRIDE = 32  # pixels of the network's input in a cell (§2)
COCO_AREAS = {"small": 0.0, "medium": 32.0**2, "large": 96.0**2}  # minimum square pixels of COCO's three sizes

_RESTARTS = 10
MAX_ITERATIONS = 1000  # k-means with means under 1 - IoU may cycle; real data needed at most a few hundred
_SAMPLE = 1 << 14  # sizes that restarts run on; if there are more, only the best run continues on all
_BLOCK = 1 << 14  # sizes processed at a time, so that intermediate arrays stay in the CPU's cache
_MIN_SIDE = 1e-75  # between it and its inverse, areas and their ratios are finite
_ROUNDING = 1e-9  # far above the rounding error of a distance, far below any relevant distance


@dataclass(frozen=True)
class Clusters:
    """The result of k-means.

    Attributes:
        anchors_wh: (k, 2) the centroids, in ascending order of area.
        average_iou: mean over the boxes of the IoU with the closest anchor, for either distance.
        counts: number of boxes in each cluster.
        iterations: number of iterations of the best run.
    """

    anchors_wh: Float64[np.ndarray, "k 2"]
    average_iou: float
    counts: Int64[np.ndarray, " k"]
    iterations: int


@dataclass(frozen=True)
class Coverage:
    """How well anchors fit boxes before a network moves them.

    Attributes:
        boxes: number of boxes.
        average_iou: mean IoU with the closest anchor.
        recall_50: fraction of the boxes whose IoU with some anchor is at least .5.
        recall_75: the same at .75.
    """

    boxes: int
    average_iou: float
    recall_50: float
    recall_75: float


@dataclass(frozen=True)
class AnchorRow:
    """One k of a report.

    Attributes:
        k: number of anchors.
        iou: clusters under 1 - IoU.
        euclidean: clusters under the Euclidean distance, for comparison.
        coverage: of the clusters under 1 - IoU, for ``all``, ``small``, ``medium`` and ``large`` boxes; sizes without
            boxes are omitted.
    """

    k: int
    iou: Clusters
    euclidean: Clusters
    coverage: Mapping[str, Coverage]


@dataclass(frozen=True)
class DefaultRow:
    """Given anchors, e.g. Darknet's, on the same boxes.

    Attributes:
        name: their name.
        anchors_wh: (k, 2) in the unit of the report.
        coverage: as in `AnchorRow`.
    """

    name: str
    anchors_wh: Float64[np.ndarray, "k 2"]
    coverage: Mapping[str, Coverage]


@dataclass(frozen=True)
class AnchorReport:
    """Anchors for every k (Figure 2), compared with given anchors on the same boxes.

    Attributes:
        unit: of all sizes and anchors.
        rows: one for each k, in ascending order.
        elbow: the k that `elbow` selects from the average IoU of the clusters under 1 - IoU.
        defaults: the given anchors.
    """

    unit: Unit
    rows: tuple[AnchorRow, ...]
    elbow: int
    defaults: tuple[DefaultRow, ...]

    def row(self, k: int) -> AnchorRow:
        """The row of one k.

        Raises:
            ConfigError: the report has no such row.
        """
        for row in self.rows:
            if row.k == k:
                return row
        raise ConfigError(f"k must be one of {', '.join(str(row.k) for row in self.rows)}, got {k}")


def size_iou(sizes_wh: Float[np.ndarray, "n 2"], centroids_wh: Float[np.ndarray, "k 2"]) -> Float[np.ndarray, "n k"]:
    """IoU of every box with every centroid, at a common centre.

    Sizes must be positive. Paper: §2 Dimension Clusters, the IOU in d(box, centroid) = 1 - IOU(box, centroid).
    """
    common = np.minimum(sizes_wh[:, None], centroids_wh[None])
    intersection = common[..., 0] * common[..., 1]
    union = (sizes_wh[:, 0] * sizes_wh[:, 1])[:, None] + centroids_wh[:, 0] * centroids_wh[:, 1] - intersection
    return np.asarray(intersection / union)


def average_iou(sizes_wh: Float[np.ndarray, "n 2"], centroids_wh: Float[np.ndarray, "k 2"]) -> float:
    """Mean over the boxes of the IoU with the closest centroid: the last column of Table 1.

    Raises:
        DataError: there is no box, or a box or a centroid is not finite and positive.
    """
    return float(_best_iou(sizes_wh, centroids_wh).mean())


def recall(sizes_wh: Float[np.ndarray, "n 2"], centroids_wh: Float[np.ndarray, "k 2"], iou: float) -> float:
    """Fraction of the boxes whose IoU with some centroid is at least the given one.

    Raises:
        DataError: there is no box, or a box or a centroid is not finite and positive.
    """
    return float((_best_iou(sizes_wh, centroids_wh) >= iou).mean())


def _best_iou(sizes_wh: Float[np.ndarray, "n 2"], centroids_wh: Float[np.ndarray, "k 2"]) -> Float64[np.ndarray, " n"]:
    sizes, centroids = _checked(sizes_wh, "box"), _checked(centroids_wh, "anchor")
    return np.concatenate([size_iou(sizes[part], centroids).max(axis=1) for part in _blocks(len(sizes))])


def _blocks(count: int) -> Iterator[slice]:
    return (slice(start, start + _BLOCK) for start in range(0, count, _BLOCK))


def _checked(sizes_wh: Float[np.ndarray, "n 2"], what: str) -> Float64[np.ndarray, "n 2"]:
    """The sizes in float64; checks that there is at least one and that all are positive and finite."""
    sizes = np.asarray(sizes_wh, np.float64)
    if not len(sizes):
        raise DataError(f"there must be at least one {what}, got none")
    good = ((sizes >= _MIN_SIDE) & (sizes <= 1 / _MIN_SIDE)).all(axis=1)
    if not good.all():
        first = int(np.argmin(good))
        width, height = sizes[first]
        raise DataError(
            f"{what} {first}: width and height must be positive numbers "
            f"({_MIN_SIDE:g} to {1 / _MIN_SIDE:g}), got {width:g} x {height:g}"
        )
    return sizes


def cluster(
    sizes_wh: Float[np.ndarray, "n 2"],
    k: int,
    *,
    distance: Distance = "iou",
    restarts: int = _RESTARTS,
    seed: int = 0,
) -> Clusters:
    """Cluster the widths and heights of boxes by k-means; the best of several restarts.

    The paper leaves details open. Here a centroid is the mean of its boxes, which reproduces Table 1 on VOC 2007 (61.1
    and 67.7 for k = 5 and 9; the median gives 62.2 and 69.0, the paper has 61.0 and 67.2); the first centroids are
    drawn as in k-means++, by squared distance; a run ends when no box changes its cluster, or after 1,000 iterations,
    since means do not minimize 1 - IoU and may cycle; an empty cluster is moved to the box that is farthest from its
    centroid. If there are more than 16,384 distinct sizes, restarts run on a sample
    of that many, and the best one continues on all.

    Args:
        sizes_wh: the boxes; their order does not matter.
        k: number of anchors.
        distance: ``iou`` for 1 - IoU, or ``euclidean``, which the paper found worse.
        restarts: number of runs; the one with the smallest sum of distances (squared if Euclidean) is returned.
        seed: of the random draws; equal seeds give equal anchors.

    Raises:
        ConfigError: k or restarts is less than 1, or there are fewer distinct sizes than k.
        DataError: there is no box, or one is not finite and positive.

    Paper: §2 Dimension Clusters.
    """
    if k < 1 or restarts < 1:
        raise ConfigError(f"k and restarts must be at least 1, got {k} and {restarts}")
    sizes = _checked(sizes_wh, "box")
    scale = 2.0 ** np.frexp(sizes.max())[1]  # a power of two, so that scaling is exact
    boxes = _Boxes.of(sizes / scale)
    if len(boxes) < k:
        raise ConfigError(f"k must be at most the number of different box sizes, {len(boxes)}, got {k}")
    run = _best_run(boxes, k, distance, restarts, np.random.default_rng(seed))
    anchors = run.centroids_wh * scale
    order = np.lexsort((anchors[:, 0], anchors[:, 0] * anchors[:, 1]))
    average = float((boxes.weights * _best_iou(boxes.sides.T * scale, anchors)).sum() / len(sizes))
    return Clusters(anchors[order], average, run.counts[order], run.iterations)


@dataclass(frozen=True)
class _Boxes:
    """Distinct sizes, sorted by width and height, and the number of boxes of each; independent of the boxes' order."""

    sides: Float64[np.ndarray, "2 n"]
    weights: Float64[np.ndarray, " n"]

    def __len__(self) -> int:
        return len(self.weights)

    @classmethod
    def of(cls, sizes_wh: Float64[np.ndarray, "n 2"]) -> _Boxes:
        # As complex numbers, which NumPy sorts by both parts, much faster than rows.
        different, counts = np.unique(sizes_wh[:, 0] + 1j * sizes_wh[:, 1], return_counts=True)
        return cls(np.stack([different.real, different.imag]), counts.astype(np.float64))

    def take(self, indices: Int64[np.ndarray, " m"]) -> _Boxes:
        return _Boxes(self.sides[:, indices], self.weights[indices])


def _distances(
    sides: Float64[np.ndarray, "2 n"], others: Float64[np.ndarray, "2 m"], distance: Distance
) -> Float64[np.ndarray, " n"]:
    """Distance of each box from the other box at its index, or from the only other box."""
    if distance == "euclidean":
        return np.asarray(np.sqrt((sides[0] - others[0]) ** 2 + (sides[1] - others[1]) ** 2))
    intersection = np.minimum(sides[0], others[0]) * np.minimum(sides[1], others[1])
    return np.asarray(1 - intersection / (sides[0] * sides[1] + others[0] * others[1] - intersection))


@dataclass(frozen=True)
class _Run:
    centroids_wh: Float64[np.ndarray, "k 2"]
    counts: Int64[np.ndarray, " k"]
    cost: float
    iterations: int


def _best_run(boxes: _Boxes, k: int, distance: Distance, restarts: int, rng: np.random.Generator) -> _Run:
    few = _sample(boxes, max(_SAMPLE, k), rng)
    runs = (_run(few, _first_centroids(few, k, distance, rng), distance) for _ in range(restarts))
    best = min(runs, key=lambda run: run.cost)
    return best if few is boxes else _run(boxes, best.centroids_wh, distance)


def _sample(boxes: _Boxes, count: int, rng: np.random.Generator) -> _Boxes:
    if len(boxes) <= count:
        return boxes
    return boxes.take(rng.choice(len(boxes), count, replace=False))


def _first_centroids(boxes: _Boxes, k: int, distance: Distance, rng: np.random.Generator) -> Float64[np.ndarray, "k 2"]:
    """k-means++: boxes drawn with probabilities proportional to their squared distance from those drawn before."""
    indices = [_draw(boxes.weights, rng)]
    nearest = np.full(len(boxes), np.inf)
    for _ in range(1, k):
        nearest = np.minimum(nearest, _distances(boxes.sides, boxes.sides[:, indices[-1:]], distance))
        chances = boxes.weights * nearest**2
        indices.append(_draw(chances if chances.any() else boxes.weights, rng))
    return boxes.sides[:, indices].T


def _draw(chances: Float64[np.ndarray, " n"], rng: np.random.Generator) -> int:
    """An index, drawn with a probability proportional to its entry."""
    steps = np.cumsum(chances)
    return int(np.searchsorted(steps, rng.random() * steps[-1], side="right"))


def _run(boxes: _Boxes, centroids_wh: Float64[np.ndarray, "k 2"], distance: Distance) -> _Run:
    """k-means from given centroids until no box changes its cluster."""
    assignment = _Assignment(boxes, len(centroids_wh), distance)
    moved = 0.0  # sum over all iterations of the largest move of a centroid
    iterations = 0
    while assignment.renew(centroids_wh, moved) and iterations < MAX_ITERATIONS:
        iterations += 1
        before, centroids_wh = centroids_wh, assignment.means(centroids_wh)
        moved += float(_distances(before.T, centroids_wh.T, distance).max())
    own = assignment.own_distances(centroids_wh)
    cost = float((boxes.weights * (own if distance == "iou" else own**2)).sum())
    return _Run(centroids_wh, assignment.counts(), cost, iterations)


class _Assignment:
    """The cluster of each box, and how far the centroids must move before it can change.

    A box keeps its cluster until the centroids have moved by half of its margin, the difference between its distances
    from the second nearest and the nearest centroid: by the triangle inequality neither changes by more than the move.
    """

    def __init__(self, boxes: _Boxes, k: int, distance: Distance) -> None:
        self._boxes = boxes
        self._weighted_sides = boxes.sides * boxes.weights
        self._k = k
        self._distance = distance
        self._labels = np.full(len(boxes), -1)  # in no cluster yet
        self._due = np.full(len(boxes), -np.inf)  # value of `moved` at which the box is reassigned

    def renew(self, centroids_wh: Float64[np.ndarray, "k 2"], moved: float) -> bool:
        """Assign every box to its nearest centroid; returns whether any changed."""
        stale = np.flatnonzero(self._due <= moved)
        changes = [self._renew_block(stale[block], centroids_wh, moved) for block in _blocks(len(stale))]
        return any(changes)

    def _renew_block(
        self, indices: Int64[np.ndarray, " m"], centroids_wh: Float64[np.ndarray, "k 2"], moved: float
    ) -> bool:
        labels, margins = _nearest(self._boxes.take(indices), centroids_wh, self._distance)
        self._due[indices] = moved + margins / 2 - _ROUNDING
        changed = bool((labels != self._labels[indices]).any())
        self._labels[indices] = labels
        return changed

    def means(self, centroids_wh: Float64[np.ndarray, "k 2"]) -> Float64[np.ndarray, "k 2"]:
        """The mean of each cluster; for empty clusters the boxes that are farthest from their centroids."""
        counts = self.counts()
        sums = [np.bincount(self._labels, sides, self._k) for sides in self._weighted_sides]
        means = np.stack(sums, axis=1) / np.maximum(counts, 1)[:, None]
        empty = np.flatnonzero(counts == 0)
        if len(empty):
            farthest = np.argsort(-self.own_distances(centroids_wh), kind="stable")[: len(empty)]
            means[empty] = self._boxes.sides[:, farthest].T
        return np.asarray(means)

    def own_distances(self, centroids_wh: Float64[np.ndarray, "k 2"]) -> Float64[np.ndarray, " n"]:
        """Distance of every box from the centroid of its cluster."""
        return _distances(self._boxes.sides, centroids_wh.T[:, self._labels], self._distance)

    def counts(self) -> Int64[np.ndarray, " k"]:
        return np.bincount(self._labels, self._boxes.weights, self._k).astype(np.int64)


def _nearest(
    boxes: _Boxes, centroids_wh: Float64[np.ndarray, "k 2"], distance: Distance
) -> tuple[Int64[np.ndarray, " n"], Float64[np.ndarray, " n"]]:
    """For each box its nearest centroid (of equally near ones the first), and how much farther the second is."""
    labels = np.zeros(len(boxes), np.int64)
    nearest = _distances(boxes.sides, centroids_wh.T[:, :1], distance)
    second = np.full(len(boxes), np.inf)
    for label in range(1, len(centroids_wh)):
        other = _distances(boxes.sides, centroids_wh.T[:, label : label + 1], distance)
        labels[other < nearest] = label
        second = np.minimum(second, np.maximum(nearest, other))
        nearest = np.minimum(nearest, other)
    return labels, second - nearest


def report(
    sizes_wh: Float[np.ndarray, "n 2"],
    ks: Iterable[int],
    *,
    unit: Unit = "cells",
    defaults: Mapping[str, Float[np.ndarray, "_ 2"]] | None = None,
    restarts: int = _RESTARTS,
    seed: int = 0,
) -> AnchorReport:
    """Cluster with every k, under 1 - IoU and under the Euclidean distance, and evaluate how well the anchors fit.

    Small, medium and large are defined as in COCO: below 32 x 32 pixels, below 96 x 96, and the rest; pixels are those
    of the image if the unit is pixels, of the network's input if it is cells.

    Args:
        sizes_wh: the boxes.
        ks: numbers of anchors, in any order.
        unit: of the sizes.
        defaults: anchors to compare with, by name, in the same unit.
        restarts: as in `cluster`.
        seed: as in `cluster`.

    Raises:
        ConfigError: there is no k, one is less than 1, or one is greater than the number of distinct sizes.
        DataError: there is no box, or a box or a default anchor is not finite and positive.

    Paper: §2 Dimension Clusters, Table 1, Figure 2.
    """
    counts = sorted(set(ks))
    if not counts:
        raise ConfigError("there must be at least one k, got none")
    areas = _checked(sizes_wh, "box").prod(axis=1) * (STRIDE * STRIDE if unit == "cells" else 1)
    rows = []
    for k in counts:
        iou = cluster(sizes_wh, k, distance="iou", restarts=restarts, seed=seed)
        euclidean = cluster(sizes_wh, k, distance="euclidean", restarts=restarts, seed=seed)
        rows.append(AnchorRow(k, iou, euclidean, _coverage(sizes_wh, iou.anchors_wh, areas)))
    others = tuple(
        DefaultRow(name, np.asarray(anchors, np.float64), _coverage(sizes_wh, anchors, areas))
        for name, anchors in (defaults or {}).items()
    )
    return AnchorReport(unit, tuple(rows), elbow(counts, [row.iou.average_iou for row in rows]), others)


def _coverage(
    sizes_wh: Float[np.ndarray, "n 2"], anchors_wh: Float[np.ndarray, "k 2"], areas: Float64[np.ndarray, " n"]
) -> dict[str, Coverage]:
    best = _best_iou(sizes_wh, anchors_wh)
    bins = np.digitize(areas, list(COCO_AREAS.values())) - 1
    by_size = {name: best[bins == index] for index, name in enumerate(COCO_AREAS)}
    return {name: _cover(ious) for name, ious in {"all": best, **by_size}.items() if len(ious)}


def _cover(ious: Float64[np.ndarray, " n"]) -> Coverage:
    return Coverage(len(ious), float(ious.mean()), float((ious >= 0.5).mean()), float((ious >= 0.75).mean()))


def elbow(ks: Sequence[int], mean_ious: Sequence[float]) -> int:
    """The k at which the curve of average IoU is highest above the straight line between its ends (Kneedle).

    Of several such k the smallest. It depends on the ends: the paper chose 5 by eye, "a good tradeoff between model
    complexity and high recall"; on VOC 2007 and k = 1 to 15 this rule gives 4, with 5 a close second.

    Args:
        ks: at least one, in ascending order.
        mean_ious: one for each k.
    """
    line = np.interp(ks, [ks[0], ks[-1]], [mean_ious[0], mean_ious[-1]])
    return ks[int(np.argmax(np.asarray(mean_ious) - line))]


def to_cells(
    sizes_wh: Float[np.ndarray, "n 2"],
    network_wh: tuple[int, int],
    *,
    images_wh: Num[np.ndarray, "#n 2"] | None = None,
    resize_mode: Literal["letterbox", "stretch"] = "letterbox",
    stride: int = STRIDE,
) -> Float64[np.ndarray, "n 2"]:
    """Sizes of boxes or anchors in cells of a network.

    Args:
        sizes_wh: fractions of the image, or, with ``images_wh``, pixels of it.
        network_wh: width and height of the network's input in pixels.
        images_wh: width and height of each size's image, or one row for all; None: the sizes are fractions of images
            that are stretched to the input.
        resize_mode: how images in pixels are resized to the input: at one scale, or each side at its own.
        stride: pixels of the input in a cell.

    Raises:
        DataError: a size or an image is not finite and positive.
    """
    scale = np.array([network_wh], np.float64)
    if images_wh is not None:
        scale = scale / _checked(np.asarray(images_wh, np.float64), "image")
        if resize_mode == "letterbox":
            scale = scale.min(axis=1, keepdims=True)
    return np.asarray(_checked(sizes_wh, "box") * scale / stride)


def cfg_line(anchors_wh_cells: Float[np.ndarray, "k 2"]) -> str:
    """The line of a ``.cfg``'s region section: ``anchors = 1.3221, 1.73145, 3.19275, ...``.

    Six digits, as in Darknet's files. Darknet: cfg/yolov2-voc.cfg.
    """
    return "anchors = " + ", ".join(f"{side:g}" for side in anchors_wh_cells.ravel())


def anchor_forms(anchors_wh_cells: Float[np.ndarray, "k 2"], *, stride: int = STRIDE) -> str:
    """Three lines: the anchors in cells, in pixels of the network's input, and as the line of a ``.cfg``."""
    cells = "  ".join(f"{width:.2f} x {height:.2f}" for width, height in anchors_wh_cells)
    pixels = "  ".join(f"{width:.0f} x {height:.0f}" for width, height in anchors_wh_cells * stride)
    return f"cells:  {cells}\npixels: {pixels}\n{cfg_line(anchors_wh_cells)}"


def format_report(report: AnchorReport) -> str:
    """The report as text: a line for each k, with the elbow marked, then the given anchors."""
    everything = report.rows[0].coverage
    names = [name for name in COCO_AREAS if name in everything]
    counts = ", ".join(f"{everything[name].boxes:,} {name}" for name in names)
    by_size = "".join(f"{name:>8}" for name in names)
    lines = [
        f"{everything['all'].boxes:,} boxes: {counts}",
        "",
        f"{'':>3}  {'average IoU, %':>15}  {'recall, %':>12}  recall at .5 by size, %",
        f"{'k':>3}  {'IoU':>5} {'Euclidean':>9}  {'at .5':>5} {'at .75':>6}  {by_size}".rstrip(),
    ]
    for row in report.rows:
        mark = "  elbow" if row.k == report.elbow and len(report.rows) > 1 else ""
        lines.append(_format_row(row.k, row.coverage, f"{100 * row.euclidean.average_iou:.1f}", names) + mark)
    lines += [_format_row(len(row.anchors_wh), row.coverage, "", names) + f"  {row.name}" for row in report.defaults]
    return "\n".join(lines)


def _format_row(k: int, coverage: Mapping[str, Coverage], euclidean: str, names: Sequence[str]) -> str:
    every = coverage["all"]
    by_size = "".join(f"{100 * coverage[name].recall_50:>8.1f}" for name in names)
    recalls = f"{100 * every.recall_50:>5.1f} {100 * every.recall_75:>6.1f}"
    return f"{k:>3}  {100 * every.average_iou:>5.1f} {euclidean:>9}  {recalls}  {by_size}"
