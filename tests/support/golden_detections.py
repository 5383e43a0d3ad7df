"""Recorded detections, compared before and after suppression."""

from __future__ import annotations

import numpy as np

from support.golden import assert_close
from yolo9000.architectures.head import Head
from yolo9000.boxes import cxcywh_to_xyxy, nms
from yolo9000.inference.decode import label_candidates
from yolo9000.inference.head_output import HeadOutput, decode_boxes, find_candidates, sigmoid
from yolo9000.inference.preprocess import boxes_to_image
from yolo9000.inference.query import Query
from yolo9000.inference.settings import DetectionSettings
from yolo9000.inference.suppress import remaining

EVERY_LABEL = Query()


def compare_detections(
    output: HeadOutput,
    head: Head,
    settings: DetectionSettings,
    image_wh: tuple[int, int],
    relative: bool,
    golden: dict[str, np.ndarray],
    prefix: str,
    tolerance: float,
    query: Query = EVERY_LABEL,
) -> None:
    """Compare boxes of all anchors, objectness, and the class probabilities that are left after suppression."""
    t = output.boxes[0]
    every = np.arange(t.shape[0] * t.shape[2] * t.shape[3])
    boxes = decode_boxes(t, every, head.anchors_wh_cells)
    boxes = boxes_to_image(boxes, output.network_wh, image_wh, head.resize_mode)
    if not relative:
        boxes = boxes * np.array([*image_wh, *image_wh], np.float32)
    objectness = sigmoid(t[:, 4].reshape(-1))
    passing = objectness > settings.conf_threshold
    assert_close(boxes[passing], golden[f"{prefix}_boxes"][passing], 1e-4, 1e-4)

    candidates = find_candidates(output, 0, head, image_wh, settings.conf_threshold)
    np.testing.assert_array_equal(candidates.anchors, np.flatnonzero(passing))
    if settings.suppression == "objectness":  # the C program then zeroes the objectness of what it suppresses
        kept = nms(cxcywh_to_xyxy(candidates.boxes_cxcywh), candidates.objectness, settings.nms_iou)
        passing = np.isin(every, candidates.anchors[kept])
    assert_close(np.where(passing, objectness, 0), golden[f"{prefix}_obj"], tolerance)
    labelled = label_candidates(output, 0, head, candidates, settings, query)
    stand = remaining(candidates, labelled, settings)
    ours = np.zeros((len(every), len(query.names(head))), np.float32)
    ours[candidates.anchors[labelled.candidates[stand]], labelled.labels[stand]] = labelled.scores[stand]
    theirs = probabilities(golden, prefix, ours.shape)
    np.testing.assert_array_equal(ours > 0, theirs > 0)
    assert_close(ours, theirs, tolerance)


def probabilities(golden: dict[str, np.ndarray], prefix: str, shape: tuple[int, int]) -> np.ndarray:
    if f"{prefix}_probs" in golden:
        return golden[f"{prefix}_probs"][:, : shape[1]]
    dense = np.zeros(shape, np.float32)
    rows, classes = golden[f"{prefix}_probs_nz"].T
    dense[rows, classes] = golden[f"{prefix}_probs_val"]
    return dense
