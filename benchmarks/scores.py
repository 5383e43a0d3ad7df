"""How fast scores are computed, beside pycocotools.

    python benchmarks/scores.py [--images 5000] [--detections 100] [--classes 80] [--rounds 3] [--without-pycocotools]

Random objects and detections, half of the detections near an object. Every round times each program once, so that a
noisy machine affects all alike. Prints a table with the median of each. It fails unless both COCO programs agree.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import platform
import statistics
import time
from collections.abc import Callable
from datetime import date
from typing import Any

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from yolo9000.evaluation.coco import coco_scores
from yolo9000.evaluation.curves import confusion_matrix, f1_curve
from yolo9000.evaluation.scored import Scored
from yolo9000.evaluation.tree_ap import ap_by_depth, credited_ap
from yolo9000.evaluation.tree_severity import severity
from yolo9000.evaluation.voc import voc_ap
from yolo9000.taxonomy.wordtree import WordTree

GTS = 7  # in an image, on average, as in COCO's val2017
WIDTH, HEIGHT = 640, 480
CHILDREN = 4  # of each inner node of the stand-in tree


def random_boxes(count: int, rng: np.random.Generator) -> np.ndarray:
    sides = np.exp(rng.uniform(np.log(12), np.log(300), (count, 2)))
    left_top = rng.random((count, 2)) * np.maximum([WIDTH, HEIGHT] - sides, 1)
    return np.concatenate([left_top, left_top + sides], axis=1)


def random_scored(images: int, detections_per_image: int, classes: int, rng: np.random.Generator) -> Scored:
    gts, detections = images * GTS, images * detections_per_image
    gt_images = np.sort(rng.integers(0, images, gts))
    gt_boxes = random_boxes(gts, rng)
    gt_labels = rng.integers(0, classes, gts)
    near = rng.integers(0, gts, detections)
    is_near = rng.random(detections) < 0.5
    sides = np.tile(gt_boxes[near, 2:] - gt_boxes[near, :2], 2)
    near_boxes = gt_boxes[near] + rng.normal(0, 0.08, (detections, 4)) * sides
    boxes = np.where(is_near[:, None], near_boxes, random_boxes(detections, rng))
    boxes[:, 2:] = np.maximum(boxes[:, 2:], boxes[:, :2] + 1)
    right_label = is_near & (rng.random(detections) < 0.8)
    sides = gt_boxes[:, 2:] - gt_boxes[:, :2]
    return Scored(
        classes=classes,
        sizes_wh=np.tile(np.array([WIDTH, HEIGHT], np.int64), (images, 1)),
        gt_images=gt_images,
        gt_boxes_xyxy=gt_boxes.astype(np.float32),
        gt_labels=gt_labels,
        gt_difficult=np.zeros(gts, bool),
        gt_crowd=rng.random(gts) < 0.01,
        gt_areas=(sides[:, 0] * sides[:, 1] * 0.7).astype(np.float32),
        pred_images=np.where(is_near, gt_images[near], rng.integers(0, images, detections)),
        pred_boxes_xyxy=boxes.astype(np.float32),
        pred_scores=rng.random(detections).astype(np.float32),
        pred_labels=np.where(right_label, gt_labels[near], rng.integers(0, classes, detections)),
    )


def tree_with(nodes: int) -> WordTree:
    return WordTree.from_parents([-1] + [(node - 1) // CHILDREN for node in range(1, nodes)])


def coco_files(scored: Scored) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    def boxes(values: np.ndarray) -> list[list[float]]:
        values = values.astype(np.float64)
        return np.concatenate([values[:, :2], values[:, 2:] - values[:, :2]], axis=1).tolist()

    columns = (
        scored.gt_images.tolist(),
        scored.gt_labels.tolist(),
        boxes(scored.gt_boxes_xyxy),
        scored.gt_areas.tolist(),
        scored.gt_crowd.astype(int).tolist(),
    )
    gt = {
        "images": [{"id": image} for image in range(scored.images)],
        "categories": [{"id": label} for label in range(scored.classes)],
        "annotations": [
            {"id": number, "image_id": image, "category_id": label, "bbox": box, "area": area, "iscrowd": crowd}
            for number, (image, label, box, area, crowd) in enumerate(zip(*columns, strict=True), start=1)
        ],
    }
    columns = (
        scored.pred_images.tolist(),
        scored.pred_labels.tolist(),
        boxes(scored.pred_boxes_xyxy),
        scored.pred_scores.tolist(),
    )
    detections = [
        {"image_id": image, "category_id": label, "bbox": box, "score": score}
        for image, label, box, score in zip(*columns, strict=True)
    ]
    return gt, detections


def pycocotools_metrics(scored: Scored) -> list[float]:
    with contextlib.redirect_stdout(io.StringIO()):
        gt_file, pred_file = coco_files(scored)
        gt = COCO()
        gt.dataset = gt_file
        gt.createIndex()
        evaluator = COCOeval(gt, gt.loadRes(pred_file), "bbox")
        evaluator.evaluate()
        evaluator.accumulate()
        evaluator.summarize()
    return list(evaluator.stats)


def main() -> None:
    parser = argparse.ArgumentParser(description="Time the scores beside pycocotools.")
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--detections", type=int, default=100, help="detections in an image, on average")
    parser.add_argument("--classes", type=int, default=80)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--without-pycocotools", action="store_true", help="which takes most of the time")
    options = parser.parse_args()
    scored = random_scored(options.images, options.detections, options.classes, np.random.default_rng(0))
    tree = tree_with(options.classes)
    contenders: dict[str, Callable[[], object]] = {
        "VOC AP (area) at .5": lambda: voc_ap(scored).mean,
        "F1 curve": lambda: f1_curve(scored).best_f1,
        "confusion matrix": lambda: confusion_matrix(scored),
        f"AP at {int(tree.depths.max()) + 1} depths": lambda: ap_by_depth(scored, tree),
        "credited AP": lambda: credited_ap(scored, tree).mean,
        "mistake severity": lambda: severity(scored, tree),
        "COCO, 12 metrics": lambda: list(coco_scores(scored).metrics.values()),
    }
    if not options.without_pycocotools:
        contenders["pycocotools, 12 metrics"] = lambda: pycocotools_metrics(scored)
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    answers: dict[str, Any] = {}
    for _ in range(options.rounds):
        for name, contender in contenders.items():
            start = time.perf_counter()
            answers[name] = contender()
            seconds[name].append(time.perf_counter() - start)
    if not options.without_pycocotools:
        np.testing.assert_allclose(answers["COCO, 12 metrics"], answers["pycocotools, 12 metrics"], rtol=0, atol=1e-12)
    print_table(seconds, scored)


def print_table(seconds: dict[str, list[float]], scored: Scored) -> None:
    print(
        f"\n{date.today()}, {platform.processor() or platform.machine()}, Python {platform.python_version()}, "
        f"NumPy {np.__version__}: {scored.images:,} images, {len(scored.gt_labels):,} objects, "
        f"{len(scored.pred_labels):,} detections, {scored.classes} classes\n"
    )
    print("| score | seconds, median |\n|---|---|")
    for name, taken in seconds.items():
        print(f"| {name} | {statistics.median(taken):.2f} |")


if __name__ == "__main__":
    main()
