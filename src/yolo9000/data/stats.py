"""What a data set holds, in numbers: images, boxes, classes, sizes, and how far its splits differ."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import numpy as np
from jaxtyping import Float32, Float64

from yolo9000.data.dataset import DataSet, OnError, Split
from yolo9000.data.images import image_size
from yolo9000.data.ledger import Ledger
from yolo9000.types import Sample

__all__ = ["QUANTILES", "Drift", "SplitStats", "drift_between", "stats_of"]

Values = Float32[np.ndarray, "_"]
"""One number for each box of an image."""
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


@dataclass
class SplitStats:
    """What one split holds.

    Attributes:
        images: their number.
        labelled: images with image-level labels.
        empty: images that somebody looked at and found no object in.
        boxes_of, images_of, labels_of: by class index, boxes, images with boxes, image-level labels.
        boxes_per_image: how many images have each number of boxes.
        image_sizes: how many images have a width and height.
        sides: square root of each box's area in pixels.
        fractions: square root of the fraction of its image that each box covers.
        aspects: width / height of each box.
    """

    images: int = 0
    labelled: int = 0
    empty: int = 0
    boxes_of: Counter[int] = field(default_factory=Counter)
    images_of: Counter[int] = field(default_factory=Counter)
    labels_of: Counter[int] = field(default_factory=Counter)
    boxes_per_image: Counter[int] = field(default_factory=Counter)
    image_sizes: Counter[tuple[int, int]] = field(default_factory=Counter)
    sides: list[Values] = field(default_factory=list)
    fractions: list[Values] = field(default_factory=list)
    aspects: list[Values] = field(default_factory=list)

    def add(self, sample: Sample) -> None:
        """Count a sample, whose size is read from its header where the annotation did not need it.

        Raises:
            DataError: that header cannot be read.
        """
        size_wh = sample.size_wh or image_size(sample.image, sample.name)
        self.images += 1
        self.labelled += bool(sample.image_labels)
        self.labels_of.update(sample.image_labels)
        self.image_sizes[size_wh] += 1
        if sample.boxes is None:
            return
        count = len(sample.boxes)
        self.empty += count == 0
        self.boxes_per_image[count] += 1
        self.boxes_of.update(sample.boxes.labels.tolist())
        self.images_of.update(set(sample.boxes.labels.tolist()))
        if count:
            width, height = (sample.boxes.boxes_xyxy[:, 2:] - sample.boxes.boxes_xyxy[:, :2]).T
            self.sides.append(np.sqrt(width * height))
            self.fractions.append(np.sqrt(width * height / np.float32(size_wh[0] * size_wh[1])))
            self.aspects.append(width / height)

    def quantiles(self) -> dict[str, list[float]]:
        """The `QUANTILES` of boxes' sides, fractions and aspects; nothing where there are no boxes."""
        values = {"side_px": self.sides, "side_fraction": self.fractions, "aspect": self.aspects}
        return {name: _quantiles(np.concatenate(parts)) for name, parts in values.items() if parts}

    def to_json(self, classes: Sequence[str]) -> dict[str, Any]:
        """Plain values for ``json``."""
        by_class = {
            name: {"boxes": self.boxes_of[i], "images": self.images_of[i], "image_labels": self.labels_of[i]}
            for i, name in enumerate(classes)
        }
        return {
            "images": self.images,
            "labelled": self.labelled,
            "empty": self.empty,
            "boxes": self.boxes_of.total(),
            "classes": by_class,
            "boxes_per_image": {str(count): images for count, images in sorted(self.boxes_per_image.items())},
            "image_sizes": {f"{w}x{h}": images for (w, h), images in self.image_sizes.most_common()},
            "quantiles": {"of": list(QUANTILES)} | self.quantiles(),
        }


@dataclass(frozen=True)
class Drift:
    """How far two splits differ, 0 (not at all) to 1 (in everything).

    Attributes:
        classes: total variation between the frequencies of classes.
        sizes: the largest difference between the distributions of `SplitStats.fractions` (Kolmogorov-Smirnov).
        aspects: the same of `SplitStats.aspects`.
    """

    classes: float
    sizes: float
    aspects: float


def stats_of(
    data_sets: Mapping[Split, DataSet], on_error: OnError = "error", ledgers: Mapping[Split, Ledger] | None = None
) -> dict[Split, SplitStats]:
    """The numbers of some splits; pixels are not decoded.

    Args:
        data_sets: the splits.
        on_error: what to do with images whose annotations have issues.
        ledgers: count what is left out and changed.

    Raises:
        DataError: see `DataSet.samples`.
    """
    counted: dict[Split, SplitStats] = {}
    for split, data_set in data_sets.items():
        counted[split] = SplitStats()
        for sample in data_set.samples(on_error, ledgers[split] if ledgers else None):
            counted[split].add(sample)
    return counted


def drift_between(stats: Mapping[Split, SplitStats]) -> dict[tuple[Split, Split], Drift]:
    """The drift between every two splits."""
    return {(one, other): _drift(stats[one], stats[other]) for one, other in combinations(stats, 2)}


def _drift(one: SplitStats, other: SplitStats) -> Drift:
    frequencies = [stats.boxes_of + stats.labels_of for stats in (one, other)]
    return Drift(
        _total_variation(*frequencies),
        _largest_gap(one.fractions, other.fractions),
        _largest_gap(one.aspects, other.aspects),
    )


def _total_variation(one: Counter[int], other: Counter[int]) -> float:
    """Half the sum of the differences of two distributions.

    >>> _total_variation(Counter({0: 3, 1: 1}), Counter({0: 1, 1: 1}))
    0.25
    """
    totals = one.total(), other.total()
    if not all(totals):
        return float(any(totals))
    return sum(abs(one[key] / totals[0] - other[key] / totals[1]) for key in {*one, *other}) / 2


def _largest_gap(one: Sequence[Values], other: Sequence[Values]) -> float:
    """The largest difference of two empirical distributions; 0 where one of them is empty."""
    if not one or not other:
        return 0.0
    a, b = np.sort(np.concatenate(one)), np.sort(np.concatenate(other))
    points = np.concatenate([a, b])
    below: Float64[np.ndarray, " p"] = np.searchsorted(a, points, side="right") / len(a)
    return float(np.abs(below - np.searchsorted(b, points, side="right") / len(b)).max())


def _quantiles(values: Float32[np.ndarray, " b"]) -> list[float]:
    return [round(float(value), 4) for value in np.quantile(values, QUANTILES)]
