"""The order of the images in training: one endless sequence, the same for every number of processes and after a resume.

Position p of the sequence belongs to epoch p // n of n images. A batch takes the next positions, whatever their epochs;
so every batch is full, and every position is trained on exactly once.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from jaxtyping import Float64, Int64

from yolo9000.data.augment import Purpose, keyed
from yolo9000.data.batching import epoch_order
from yolo9000.types import Sample

__all__ = ["ImageSampler", "balanced_weights", "joint_weights", "repeat_weights", "weighted_order"]


class ImageSampler:
    """The order of the images.

    Attributes:
        seed: of the run.
        count: number of images, and of the positions of an epoch.
        weights: relative frequency of each image; None: each once an epoch.
    """

    def __init__(self, seed: int, count: int, weights: Float64[np.ndarray, " n"] | None = None) -> None:
        self.seed = seed
        self.count = count
        self.weights = weights
        self._order = lru_cache(maxsize=2)(self._epoch)

    def sample(self, position: int) -> tuple[int, int, int]:
        """Epoch, index in the epoch, and index of the image at a position of the sequence."""
        epoch, index = divmod(position, self.count)
        return epoch, index, int(self._order(epoch)[index])

    def _epoch(self, epoch: int) -> Int64[np.ndarray, " n"]:
        if self.weights is None:
            return epoch_order(self.seed, epoch, self.count)
        return weighted_order(self.seed, epoch, self.weights)


def weighted_order(seed: int, epoch: int, weights: Float64[np.ndarray, " n"]) -> Int64[np.ndarray, " n"]:
    """A random order of n positions for n images, in which images are repeated by their weights.

    An image with an expected count of 2.3 comes 2 or 3 times in an epoch, 2.3 times on average over the epochs
    (systematic sampling); with equal weights each comes once.

    Args:
        seed: of the run.
        epoch: 0-based.
        weights: relative frequency of each image; above 0.
    """
    count = len(weights)
    rng = keyed(seed, Purpose.SAMPLE, epoch)
    # [0, count) is divided into an interval for each image, as long as its expected count; marks are 1 apart.
    ends = np.cumsum(weights) / weights.sum() * count
    images = np.searchsorted(ends, np.arange(count) + rng.random(), side="right")
    return np.asarray(np.minimum(images, count - 1)[epoch_order(seed, epoch, count)], np.int64)


def balanced_weights(samples: Sequence[Sample], classes: int) -> Float64[np.ndarray, " n"]:
    """Weights that show all classes equally often: the mean over an image's classes of 1 / number of the class' images.

    Images without any class have the mean weight.
    """
    held = [_classes(sample) for sample in samples]
    counts = np.bincount(np.concatenate([np.empty(0, np.int64), *held]), minlength=classes)
    weights = np.array([(1 / counts[labels]).mean() if len(labels) else np.nan for labels in held])
    return np.where(np.isnan(weights), np.nanmean(weights) if np.isfinite(weights).any() else 1.0, weights)


def repeat_weights(samples: Sequence[Sample], classes: int, below: float) -> Float64[np.ndarray, " n"]:
    """Weights by the repeat factor: max(1, sqrt(below / f)) of the rarest class in an image.

    f is the fraction of the images that show the class. (Gupta, Dollar, Girshick: LVIS, 2019, appendix.)
    """
    held = [_classes(sample) for sample in samples]
    counts = np.bincount(np.concatenate([np.empty(0, np.int64), *held]), minlength=classes)
    factors = np.maximum(1.0, np.sqrt(below * len(samples) / np.maximum(counts, 1)))
    return np.array([factors[labels].max() if len(labels) else 1.0 for labels in held])


def joint_weights(
    samples: Sequence[Sample], ratio: float, weights: Float64[np.ndarray, " n"] | None = None
) -> Float64[np.ndarray, " n"]:
    """Weights that give a ratio of images with image-level labels to images with boxes.

    Paper: §4 Joint training: COCO is oversampled so that ImageNet is only larger by 4 to 1.

    Args:
        samples: of both kinds.
        ratio: images with image-level labels for each image with boxes; above 0.
        weights: of the images, whose proportions are kept within each kind; None: equal.

    Raises:
        ValueError: one of the kinds is missing.
    """
    boxed = np.array([sample.boxes is not None for sample in samples])
    if boxed.all() or not boxed.any():
        raise ValueError("joint_weights: samples must have images with boxes and images without, got only one kind")
    before = np.ones(len(samples)) if weights is None else weights
    factor = ratio * before[boxed].sum() / before[~boxed].sum()
    return np.where(boxed, before, factor * before)


def _classes(sample: Sample) -> Int64[np.ndarray, " m"]:
    """The annotated classes of an image, each once."""
    boxed = np.empty(0, np.int64) if sample.boxes is None else sample.boxes.labels
    return np.unique(np.concatenate([boxed, np.array(sample.image_labels, np.int64)]))
