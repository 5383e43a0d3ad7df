"""Non-maximum suppression of labelled boxes: by label, by path of the label tree, or by objectness.

Darknet: src/box.c do_nms_sort, do_nms_obj.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float32, Int64

from yolo9000.boxes import cxcywh_to_xyxy, nms, suppress
from yolo9000.inference.head_output import Candidates
from yolo9000.inference.settings import DetectionSettings
from yolo9000.taxonomy.wordtree import TreePaths

__all__ = ["LabelledBoxes", "remaining", "tree_nms"]

NO_NODE = -1


@dataclass(frozen=True)
class LabelledBoxes:
    """Candidates with one label each; a candidate may occur several times with different labels.

    Attributes:
        candidates: index of each among the candidates.
        labels: class, or node of the tree.
        scores: above the confidence threshold.
        paths: on a tree the path to each label; None for flat classes.
    """

    candidates: Int64[np.ndarray, " d"]
    labels: Int64[np.ndarray, " d"]
    scores: Float32[np.ndarray, " d"]
    paths: TreePaths | None = None


def remaining(candidates: Candidates, labelled: LabelledBoxes, settings: DetectionSettings) -> Int64[np.ndarray, " r"]:
    """Indices of the labelled boxes that no other one suppresses; see `DetectionSettings.suppression`."""
    all_boxes = cxcywh_to_xyxy(candidates.boxes_cxcywh)
    boxes = all_boxes[labelled.candidates]
    by_path = labelled.paths is not None and settings.hier_decoding == "conditional"
    match settings.suppression or ("path" if by_path else "label"):
        case "objectness":
            best = nms(all_boxes, candidates.objectness, settings.nms_iou)
            return np.flatnonzero(np.isin(labelled.candidates, best))
        case "path" if labelled.paths is not None:
            return tree_nms(boxes, labelled.scores, labelled.paths.nodes, settings.nms_iou)
        case _:
            kept = nms(boxes, labelled.scores, settings.nms_iou, labelled.labels)
            return kept[np.argsort(labelled.labels[kept], kind="stable")]


def tree_nms(
    boxes_xyxy: Float[np.ndarray, "d 4"],
    scores: Float[np.ndarray, " d"],
    paths: Int64[np.ndarray, "d depth"],
    threshold: float,
) -> Int64[np.ndarray, " kept"]:
    """Suppression on a tree: of one object, the deepest label on a path is kept.

    Of two overlapping boxes one is dropped if its label lies on the other's path, or if both have one parent (a moped
    and a scooter): the less deep one, or at one depth the one with the lower score. Other boxes whose paths diverge (a
    dog on a sofa) are both kept; so are those of different roots. On a tree of one level this is suppression within
    each class.

    Args:
        boxes_xyxy: the boxes.
        scores: their scores.
        paths: nodes from the root to each box's label; -1 after it.
        threshold: IoU above which boxes overlap.

    Returns:
        Indices of the boxes that are kept, deepest labels first.
    """
    depths = (paths != NO_NODE).sum(axis=1)
    every = np.arange(len(paths))
    labels = paths[every, depths - 1]
    parents = np.where(depths > 1, paths[every, depths - 2], NO_NODE)

    def one_object(first: Int64[np.ndarray, " p"], others: Int64[np.ndarray, " p"]) -> Bool[np.ndarray, " p"]:
        on_path = paths[first, depths[others] - 1] == labels[others]
        siblings = (parents[first] == parents[others]) & (parents[others] != NO_NODE)
        return np.asarray(on_path | siblings)

    order = np.lexsort((-scores, -depths))
    return suppress(boxes_xyxy, order, threshold, groups=paths[:, 0], same=one_object)
