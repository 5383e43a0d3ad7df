"""COCO's average precision and recall, computed by the package ``faster-coco-eval``; the values are pycocotools'.

(Precision can differ in the last of 53 bits: pycocotools adds 2^-52 to what it divides by.)

Source: cocoeval.py of the COCO API, COCOeval.evaluateImg, accumulate and summarize. Boxes are 32-bit floats, as
everywhere in this program: the decimals of an annotation file are rounded to them before.

COCO has no difficult boxes. They are passed to the evaluator with an area outside every range of sizes, as the
evaluator itself treats such boxes: missing one does not count, nor does the prediction that matches it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64

from yolo9000.errors import needs_extra
from yolo9000.evaluation.scored import Scored
from yolo9000.evaluation.voc import ApByClass, mean

with needs_extra("val", "COCO's average precision"):
    from faster_coco_eval import COCO, COCOeval_faster

__all__ = ["SIZES", "CocoScores", "coco_scores"]

SIZES = ("all", "small", "medium", "large")
"""COCO's ranges of area: everything, below 32^2 square pixels, to 96^2, above."""

MAX_DETECTIONS = (1, 10, 100)
AT_50, AT_75 = 0, 5
OUTSIDE_EVERY_SIZE = -1.0
CELLS_AT_ONCE = 2_000_000  # images x classes: the evaluator makes an entry for each


@dataclass(frozen=True)
class CocoScores:
    """The results of cocoeval's ``accumulate`` and ``summarize``; NaN instead of -1 without ground truth.

    Attributes:
        precisions: by IoU (.5, .55, ... .95), recall (0, .01, ... 1), class, and `SIZES`; at most 100 predictions per
            image and class.
        recalls: by IoU, class, `SIZES` and the maximum number of predictions (1, 10, 100).
    """

    precisions: Float64[np.ndarray, "10 101 classes 4"]
    recalls: Float64[np.ndarray, "10 classes 4 3"]

    @property
    def metrics(self) -> dict[str, float]:
        """The twelve metrics by key (see `metric_names`), in cocoeval's order."""
        everything = SIZES.index("all")
        ap = {
            "map": mean(self.precisions[..., everything]),
            "map50_coco": mean(self.precisions[AT_50, ..., everything]),
            "map75": mean(self.precisions[AT_75, ..., everything]),
        }
        ap |= {f"map_{size}": mean(self.precisions[..., index]) for index, size in enumerate(SIZES) if size != "all"}
        ar = {f"ar{limit}": mean(self.recalls[..., everything, index]) for index, limit in enumerate(MAX_DETECTIONS)}
        ar |= {f"ar_{size}": mean(self.recalls[..., index, -1]) for index, size in enumerate(SIZES) if size != "all"}
        return ap | ar

    @property
    def by_class(self) -> ApByClass:
        """AP of every class, mean over IoUs .5 to .95."""
        return ApByClass(self.by_class_and_size[:, SIZES.index("all")])

    @property
    def by_class_and_size(self) -> Float64[np.ndarray, "classes 4"]:
        """AP of every class, mean over IoUs .5 to .95, for each of `SIZES`."""
        return np.asarray(self.precisions.mean(axis=(0, 1)))


def coco_scores(scored: Scored) -> CocoScores:
    """COCO's precisions and recalls of every class."""
    precisions = np.full((10, 101, scored.classes, len(SIZES)), np.nan)
    recalls = np.full((10, scored.classes, len(SIZES), len(MAX_DETECTIONS)), np.nan)
    for classes in _batches(scored):
        of_batch = _accumulate(scored, classes)
        precisions[:, :, classes] = _nan_for_absent(of_batch["precision"][..., -1])
        recalls[:, classes] = _nan_for_absent(of_batch["recall"])
    return CocoScores(precisions, recalls)


def _batches(scored: Scored) -> Iterator[Int64[np.ndarray, " k"]]:
    """Classes with ground truth, in batches that keep the evaluator's table of images and classes small."""
    classes = np.unique(scored.gt_labels)
    at_once = max(1, CELLS_AT_ONCE // max(1, scored.images))
    for begin in range(0, len(classes), at_once):
        yield classes[begin : begin + at_once]


def _accumulate(scored: Scored, classes: Int64[np.ndarray, " k"]) -> dict[str, Any]:
    """Let cocoeval match and accumulate some classes."""
    images = [{"id": image, "width": int(w), "height": int(h)} for image, (w, h) in enumerate(scored.sizes_wh)]
    head = {"images": images, "categories": [{"id": int(label)} for label in classes]}
    gt = COCO(head | {"annotations": _gt_records(scored, np.isin(scored.gt_labels, classes))})
    preds = COCO(head | {"annotations": _pred_records(scored, np.isin(scored.pred_labels, classes))})
    evaluator = COCOeval_faster(gt, preds, "bbox", print_function=_say_nothing)
    evaluator.evaluate()
    evaluator.accumulate()
    return dict(evaluator.eval)


def _gt_records(scored: Scored, which: Bool[np.ndarray, " t"]) -> list[dict[str, Any]]:
    areas = np.where(scored.gt_difficult, OUTSIDE_EVERY_SIZE, scored.gt_areas.astype(np.float64))
    columns = (
        scored.gt_images[which].tolist(),
        scored.gt_labels[which].tolist(),
        _left_top_width_height(scored.gt_boxes_xyxy[which]).tolist(),
        areas[which].tolist(),
        scored.gt_crowd[which].astype(int).tolist(),
    )
    return [
        {"id": number, "image_id": image, "category_id": label, "bbox": box, "area": area, "iscrowd": crowd}
        for number, (image, label, box, area, crowd) in enumerate(zip(*columns, strict=True), start=1)
    ]


def _pred_records(scored: Scored, which: Bool[np.ndarray, " d"]) -> list[dict[str, Any]]:
    boxes = _left_top_width_height(scored.pred_boxes_xyxy[which])
    columns = (
        scored.pred_images[which].tolist(),
        scored.pred_labels[which].tolist(),
        boxes.tolist(),
        (boxes[:, 2] * boxes[:, 3]).tolist(),
        scored.pred_scores[which].tolist(),
    )
    return [
        {"id": number, "image_id": image, "category_id": label, "bbox": box, "area": area, "score": score, "iscrowd": 0}
        for number, (image, label, box, area, score) in enumerate(zip(*columns, strict=True), start=1)
    ]


def _left_top_width_height(boxes_xyxy: Float32[np.ndarray, "n 4"]) -> Float64[np.ndarray, "n 4"]:
    boxes = boxes_xyxy.astype(np.float64)
    return np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)


def _nan_for_absent(values: Float64[np.ndarray, ...]) -> Float64[np.ndarray, ...]:
    return np.where(values < 0, np.nan, values)


def _say_nothing(*_: object) -> None:
    """Discard what the evaluator would print."""
