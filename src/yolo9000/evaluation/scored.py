"""Ground truth and predictions of a data set as flat arrays: what every metric of boxes is computed from."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float32, Int64

from yolo9000.types import BoxAnnotations, Detections

__all__ = ["Scored", "collect"]


@dataclass(frozen=True)
class Scored:
    """Ground truth and predictions of all images of a data set.

    Boxes are (left, top, right, bottom) in pixels of their image, the far edges exclusive: width = right - left.

    Attributes:
        classes: number of classes, or of nodes of the label tree; labels are below it.
        sizes_wh: width and height of each image.
        gt_images: image index of each object.
        gt_boxes_xyxy: box of each object.
        gt_labels: class or node of each object.
        gt_difficult: VOC's flag: neither detecting nor missing the object counts.
        gt_crowd: COCO's flag: the box has many objects; predictions in it do not count.
        gt_areas: square pixels that decide COCO's small, medium, large.
        pred_images: image index of each prediction.
        pred_boxes_xyxy: its box.
        pred_scores: its score; of equal scores the earlier prediction comes first.
        pred_labels: its class, on a tree its node.

    Raises:
        ValueError: arrays of different lengths, a label or image index out of range, a value that is not finite, a box
            with right < left or bottom < top.
    """

    classes: int
    sizes_wh: Int64[np.ndarray, "images 2"]
    gt_images: Int64[np.ndarray, " t"]
    gt_boxes_xyxy: Float32[np.ndarray, "t 4"]
    gt_labels: Int64[np.ndarray, " t"]
    gt_difficult: Bool[np.ndarray, " t"]
    gt_crowd: Bool[np.ndarray, " t"]
    gt_areas: Float32[np.ndarray, " t"]
    pred_images: Int64[np.ndarray, " d"]
    pred_boxes_xyxy: Float32[np.ndarray, "d 4"]
    pred_scores: Float32[np.ndarray, " d"]
    pred_labels: Int64[np.ndarray, " d"]

    def __post_init__(self) -> None:
        self._check_lengths("gt_")
        self._check_lengths("pred_")
        for side in ("gt_", "pred_"):
            _check_range(f"{side}images", getattr(self, f"{side}images"), self.images)
            _check_range(f"{side}labels", getattr(self, f"{side}labels"), self.classes)
            _check_boxes(f"{side}boxes_xyxy", getattr(self, f"{side}boxes_xyxy"))
        for name in ("gt_areas", "pred_scores"):
            if not np.isfinite(getattr(self, name)).all():
                raise ValueError(f"Scored: {name} must be finite")

    def _check_lengths(self, side: str) -> None:
        lengths = {name: len(values) for name, values in vars(self).items() if name.startswith(side)}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"Scored: lengths must be equal, got {lengths}")

    @property
    def images(self) -> int:
        """Number of images."""
        return len(self.sizes_wh)

    @property
    def gt_counts(self) -> Bool[np.ndarray, " t"]:
        """Which objects count: those that are neither difficult nor crowds."""
        return np.asarray(~(self.gt_difficult | self.gt_crowd))

    @property
    def gt_by_class(self) -> Int64[np.ndarray, " classes"]:
        """Number of objects of each class that count."""
        return np.bincount(self.gt_labels[self.gt_counts], minlength=self.classes)

    def select_pred(self, keep: Bool[np.ndarray, " d"] | Int64[np.ndarray, " kept"]) -> Scored:
        """The same ground truth with some of the predictions, given as a mask or as indices."""
        return replace(
            self,
            pred_images=self.pred_images[keep],
            pred_boxes_xyxy=self.pred_boxes_xyxy[keep],
            pred_scores=self.pred_scores[keep],
            pred_labels=self.pred_labels[keep],
        )


def collect(pairs: Iterable[tuple[BoxAnnotations, Detections]], classes: int) -> Scored:
    """Concatenate the ground truth and the predictions of images.

    Args:
        pairs: ground truth and predictions of each image; both may be empty.
        classes: number of classes, or of nodes of the label tree.

    Raises:
        ValueError: see `Scored`.
    """
    gts, preds = [], []
    for gt, detections in pairs:
        gts.append(gt)
        preds.append(detections)
    return Scored(
        classes=classes,
        sizes_wh=np.array([d.size_wh for d in preds], np.int64).reshape(-1, 2),
        gt_images=_image_of_each([len(t) for t in gts]),
        gt_boxes_xyxy=np.concatenate([np.empty((0, 4), np.float32), *(t.boxes_xyxy for t in gts)]),
        gt_labels=np.concatenate([np.empty(0, np.int64), *(t.labels for t in gts)]),
        gt_difficult=np.concatenate([np.empty(0, bool), *(t.difficult for t in gts)]),
        gt_crowd=np.concatenate([np.empty(0, bool), *(t.crowd for t in gts)]),
        gt_areas=np.concatenate([np.empty(0, np.float32), *(t.areas for t in gts)]),
        pred_images=_image_of_each([len(d) for d in preds]),
        pred_boxes_xyxy=np.concatenate([np.empty((0, 4), np.float32), *(d.boxes_xyxy for d in preds)]),
        pred_scores=np.concatenate([np.empty(0, np.float32), *(d.scores for d in preds)]),
        pred_labels=np.concatenate([np.empty(0, np.int64), *(d.labels for d in preds)]),
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
