"""Run a detector or a classifier over a data set and score it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Float, Int64

from yolo9000.data.dataset import DataSet, OnError
from yolo9000.data.images import load_image
from yolo9000.errors import DataError, check_count
from yolo9000.evaluation.classification import accuracy_by_depth, top_k_accuracy
from yolo9000.evaluation.labels import NOT_AT_LEVEL, gt_labels, labels_among
from yolo9000.inference.classifier import Classifier
from yolo9000.inference.detector import Detector
from yolo9000.taxonomy.wordtree import WordTree
from yolo9000.types import Detections, Sample

__all__ = [
    "classification_scores",
    "detect_samples",
    "image_label",
    "image_level_scores",
]

MIN_SCORE = 0.005  # Darknet: examples/detector.c validate_detector; lower scores hardly change an AP
BATCH = 8
CLASSIFIER_BATCH = 64


def detect_samples(
    detector: Detector, data_set: DataSet, *, on_error: OnError = "error", batch: int = BATCH
) -> Iterator[tuple[Sample, Detections]]:
    """Run a detector over the boxed images of a data set.

    Ground truth and predictions have the model's labels: classes of the data set are matched with the model's by name,
    on a tree also by id. The model's other classes are left out: nothing is known about their objects.

    Args:
        detector: its confidence threshold is replaced by .005.
        data_set: boxes in pixels.
        on_error: what to do with invalid annotations.
        batch: number of images run at a time.

    Yields:
        The sample, and the predictions on its image.

    Raises:
        ConfigError: ``batch`` is below 1; see `labels_among`.
        DataError: see `DataSet.samples`; an image cannot be read.
    """
    check_count(batch, "batch")
    low = detector.with_settings(conf_threshold=MIN_SCORE)
    labels = gt_labels(detector, data_set)
    if detector.head.tree is None:
        low = low.keeping(np.isin(np.arange(len(detector.names)), labels))
    group: list[Sample] = []
    for sample in data_set.samples(on_error):
        if sample.boxes is not None:
            boxes = sample.boxes.select(labels[sample.boxes.labels] != NOT_AT_LEVEL)
            group.append(replace(sample, boxes=replace(boxes, labels=labels[boxes.labels])))
        if len(group) == batch:
            yield from _detect_group(low, group)
            group = []
    yield from _detect_group(low, group)


def _detect_group(detector: Detector, group: list[Sample]) -> Iterator[tuple[Sample, Detections]]:
    images = [load_image(sample.image, sample.name).pixels for sample in group]
    yield from zip(group, detector.detect(images), strict=True)


def image_label(sample: Sample) -> int:
    """The class of an image, by its image-level label or else by its boxes.

    Raises:
        DataError: the image has no class, or several.
    """
    boxed = () if sample.boxes is None else np.unique(sample.boxes.labels).tolist()
    labels = sample.image_labels or boxed
    if len(labels) != 1:
        raise DataError(f"{sample.where}: an image for a classifier must have one class, got {len(labels)}")
    return int(labels[0])


def classification_scores(
    classifier: Classifier, data_set: DataSet, *, on_error: OnError = "error"
) -> dict[str, float]:
    """Top-1 and top-5 accuracy of a classifier on the classes of a data set; on a tree also top-1 at each depth.

    Args:
        classifier: the classifier.
        data_set: images of one class each.
        on_error: what to do with invalid annotations.

    Returns:
        Metrics by key; see `metric_names`.

    Raises:
        ConfigError: see `labels_among`.
        DataError: an image does not have one class, or cannot be read; there is no image.
    """
    nodes = labels_among(classifier.names, classifier.tree, data_set)
    samples = list(data_set.samples(on_error))
    if not samples:
        raise DataError(f"{data_set.name}: must have images to score a classifier on, has none")
    gts = np.array([image_label(sample) for sample in samples], np.int64)
    scores = _in_batches(samples, lambda images: classifier.probabilities(images)[:, nodes])
    return _label_accuracies(scores, gts, nodes, classifier.tree)


def image_level_scores(detector: Detector, data_set: DataSet, *, on_error: OnError = "error") -> dict[str, float]:
    """Accuracy of a detector's best box on images that have an image-level label and no boxes.

    The score of a class is the highest objectness x class probability of all boxes; the metrics are those of a
    classifier.

    Returns:
        Metrics by key; empty if there are no such images.

    Raises:
        ConfigError: see `labels_among`.
        DataError: an image cannot be read.
    """
    labels = gt_labels(detector, data_set)
    samples = [
        sample for sample in data_set.samples(on_error) if sample.boxes is None and len(sample.image_labels) == 1
    ]
    samples = [sample for sample in samples if labels[sample.image_labels[0]] != NOT_AT_LEVEL]
    if not samples:
        return {}
    known = np.unique(labels[labels != NOT_AT_LEVEL])  # several classes may have one label
    gts = np.searchsorted(known, [labels[sample.image_labels[0]] for sample in samples])
    scores = _in_batches(samples, lambda images: detector.best_scores(images, known))
    return _label_accuracies(scores, gts, known, detector.query.tree(detector.head))


def _in_batches(
    samples: Sequence[Sample], score: Callable[[list[np.ndarray]], Float[np.ndarray, "_ k"]]
) -> Float[np.ndarray, "n k"]:
    batches = (samples[start : start + CLASSIFIER_BATCH] for start in range(0, len(samples), CLASSIFIER_BATCH))
    return np.concatenate(
        [score([load_image(sample.image, sample.name).pixels for sample in part]) for part in batches]
    )


def _label_accuracies(
    scores: Float[np.ndarray, "n k"],
    gts: Int64[np.ndarray, " n"],
    nodes: Int64[np.ndarray, " k"],
    tree: WordTree | None,
) -> dict[str, float]:
    """Top-1 and top-5, on a tree also top-1 at each depth; column i is the label ``nodes[i]``."""
    metrics = {"top1": top_k_accuracy(scores, gts), "top5": top_k_accuracy(scores, gts, 5)}
    if tree is not None:
        by_depth = accuracy_by_depth(nodes[scores.argmax(axis=1)], nodes[gts], tree)
        metrics |= {f"top1_depth_{depth}": float(fraction) for depth, fraction in enumerate(by_depth)}
    return metrics
