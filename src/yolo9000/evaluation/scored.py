"""Truth and detections of a data set side by side, as flat arrays: what every score of boxes is computed from."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float32, Int64

from yolo9000.types import BoxTruth, Detections

__all__ = ["Scored", "collect"]


@dataclass(frozen=True)
class Scored:
    """What is in the pictures of a data set, and what was found in them.

    Boxes are (left, top, right, bottom) in pixels of their picture, the far edges exclusive: width = right - left.

    Attributes:
        classes: number of classes, or of nodes of the label tree; labels are below it.
        sizes_wh: width and height of each picture.
        truth_images: place of the picture that each truth is in.
        truth_boxes_xyxy: where it is.
        truth_labels: class or node of each truth.
        truth_difficult: VOC's mark: neither finding nor missing it counts.
        truth_crowd: COCO's mark: the box holds many objects, detections in it do not count.
        truth_areas: square pixels that decide COCO's small, medium, large.
        found_images: place of the picture that each detection is in.
        found_boxes_xyxy: where it is.
        found_scores: its score; of equal scores the earlier detection comes first.
        found_labels: its class, or on a tree the node that was answered.

    Raises:
        ValueError: arrays of different lengths, a label or picture out of range, a number that is not finite, a box
            whose far edge is before the near one.
    """

    classes: int
    sizes_wh: Int64[np.ndarray, "images 2"]
    truth_images: Int64[np.ndarray, " t"]
    truth_boxes_xyxy: Float32[np.ndarray, "t 4"]
    truth_labels: Int64[np.ndarray, " t"]
    truth_difficult: Bool[np.ndarray, " t"]
    truth_crowd: Bool[np.ndarray, " t"]
    truth_areas: Float32[np.ndarray, " t"]
    found_images: Int64[np.ndarray, " d"]
    found_boxes_xyxy: Float32[np.ndarray, "d 4"]
    found_scores: Float32[np.ndarray, " d"]
    found_labels: Int64[np.ndarray, " d"]

    def __post_init__(self) -> None:
        self._check_lengths("truth_")
        self._check_lengths("found_")
        for side in ("truth_", "found_"):
            _check_range(f"{side}images", getattr(self, f"{side}images"), self.images)
            _check_range(f"{side}labels", getattr(self, f"{side}labels"), self.classes)
            _check_boxes(f"{side}boxes_xyxy", getattr(self, f"{side}boxes_xyxy"))
        for name in ("truth_areas", "found_scores"):
            if not np.isfinite(getattr(self, name)).all():
                raise ValueError(f"Scored: {name} must be finite")

    def _check_lengths(self, side: str) -> None:
        lengths = {name: len(values) for name, values in vars(self).items() if name.startswith(side)}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"Scored: these must be as many, got {lengths}")

    @property
    def images(self) -> int:
        """Number of pictures."""
        return len(self.sizes_wh)

    @property
    def truth_counts(self) -> Bool[np.ndarray, " t"]:
        """Which truths must be found: those that are neither difficult nor crowds."""
        return np.asarray(~(self.truth_difficult | self.truth_crowd))

    @property
    def truths_by_class(self) -> Int64[np.ndarray, " classes"]:
        """How many truths of each class must be found."""
        return np.bincount(self.truth_labels[self.truth_counts], minlength=self.classes)

    def select_found(self, keep: Bool[np.ndarray, " d"] | Int64[np.ndarray, " kept"]) -> Scored:
        """The same truth with some of the detections, given as a mask or as places."""
        return replace(
            self,
            found_images=self.found_images[keep],
            found_boxes_xyxy=self.found_boxes_xyxy[keep],
            found_scores=self.found_scores[keep],
            found_labels=self.found_labels[keep],
        )


def collect(pairs: Iterable[tuple[BoxTruth, Detections]], classes: int) -> Scored:
    """Put the truth and the detections of pictures, one pair for each picture, side by side.

    Args:
        pairs: what is in each picture and what was found there; a picture without either is still a picture.
        classes: number of classes, or of nodes of the label tree.

    Raises:
        ValueError: see `Scored`.
    """
    truths, found = [], []
    for truth, detections in pairs:
        truths.append(truth)
        found.append(detections)
    return Scored(
        classes=classes,
        sizes_wh=np.array([d.size_wh for d in found], np.int64).reshape(-1, 2),
        truth_images=_image_of_each([len(t) for t in truths]),
        truth_boxes_xyxy=np.concatenate([np.empty((0, 4), np.float32), *(t.boxes_xyxy for t in truths)]),
        truth_labels=np.concatenate([np.empty(0, np.int64), *(t.labels for t in truths)]),
        truth_difficult=np.concatenate([np.empty(0, bool), *(t.difficult for t in truths)]),
        truth_crowd=np.concatenate([np.empty(0, bool), *(t.crowd for t in truths)]),
        truth_areas=np.concatenate([np.empty(0, np.float32), *(t.areas for t in truths)]),
        found_images=_image_of_each([len(d) for d in found]),
        found_boxes_xyxy=np.concatenate([np.empty((0, 4), np.float32), *(d.boxes_xyxy for d in found)]),
        found_scores=np.concatenate([np.empty(0, np.float32), *(d.scores for d in found)]),
        found_labels=np.concatenate([np.empty(0, np.int64), *(d.labels for d in found)]),
    )


def _image_of_each(counts: list[int]) -> Int64[np.ndarray, " n"]:
    return np.repeat(np.arange(len(counts)), np.array(counts, np.int64))


def _check_range(name: str, values: Int64[np.ndarray, " n"], limit: int) -> None:
    wrong = np.flatnonzero((values < 0) | (values >= limit))
    if len(wrong):
        raise ValueError(f"Scored: {name} must be 0 to {limit - 1}, got {values[wrong[0]]}")


def _check_boxes(name: str, boxes_xyxy: Float32[np.ndarray, "n 4"]) -> None:
    wrong = ~np.isfinite(boxes_xyxy).all(axis=1) | (boxes_xyxy[:, 2:] < boxes_xyxy[:, :2]).any(axis=1)
    if wrong.any():
        raise ValueError(
            f"Scored: {name} must be finite, with right >= left and bottom >= top, "
            f"got {boxes_xyxy[wrong.argmax()].tolist()}"
        )
