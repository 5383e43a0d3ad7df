"""Weighted box fusion of the answers of several models, over one label tree.

Boxes of different models that overlap, and of which one label lies on the path of the other, are one object. Its box is
their mean, weighted by score; its label is the deepest node that is probable enough on average.

Source: Solovyev et al., Weighted Boxes Fusion (2019), for flat labels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from yolo9000.boxes import iou
from yolo9000.taxonomy.wordtree import WordTree

__all__ = ["Box", "FusedBox", "fuse"]


@dataclass(frozen=True)
class Box:
    """What one model says about one object.

    Attributes:
        box_xyxy: in pixels of the image.
        objectness: of the object, whatever its label; score = objectness x P(label).
        probabilities: P(node), given an object, of the nodes that the model considered: those on the path to its
            answer, and the most probable node below.
        label: its answer, a node of the tree.
        model: position of the model.
    """

    box_xyxy: tuple[float, float, float, float]
    objectness: float
    probabilities: Mapping[int, float]
    label: int
    model: int = 0

    @property
    def score(self) -> float:
        """The score of its answer."""
        return self.objectness * self.probabilities[self.label]


@dataclass(frozen=True)
class FusedBox:
    """What the models say together.

    Attributes:
        box_xyxy: in pixels of the image.
        label: a node of the tree.
        score: objectness x P(label), the mean over all models; one that did not find the object counts as 0.
        models: number of models that found it.
    """

    box_xyxy: tuple[float, float, float, float]
    label: int
    score: float
    models: int


def fuse(
    boxes: Sequence[Box], tree: WordTree, *, models: int, iou_threshold: float = 0.55, hier_thresh: float = 0.5
) -> list[FusedBox]:
    """Join the boxes of several models in one image; those of one model are returned as they are.

    Args:
        boxes: of all models.
        tree: whose nodes the labels are; for flat classes a tree of roots alone.
        models: number of models.
        iou_threshold: IoU above which two boxes can be one object.
        hier_thresh: minimum mean probability of a node to be the label.

    Returns:
        The objects, highest score first.

    Example:
        >>> tree = WordTree.from_parents([-1, 0, 0], ["animal", "dog", "cat"])
        >>> surely = Box((0, 0, 10, 10), 1.0, {0: 1.0, 1: 0.9}, 1, model=0)
        >>> perhaps = Box((0, 0, 10, 20), 1.0, {0: 1.0}, 0, model=1)
        >>> fuse([surely, perhaps], tree, models=2, iou_threshold=0.4, hier_thresh=0.4)[0].label
        1
    """
    groups: list[list[Box]] = []
    for box in sorted(boxes, key=lambda box: (-box.score, box.model, box.box_xyxy)):
        group = _group_of(box, groups, tree, iou_threshold)
        if group is None:
            groups.append([box])
        else:
            group.append(box)
    fused = [_fused(group, tree, models, hier_thresh) for group in groups]
    return sorted(fused, key=lambda one: -one.score)


def _group_of(box: Box, groups: list[list[Box]], tree: WordTree, iou_threshold: float) -> list[Box] | None:
    """The group whose mean box overlaps most, of those that have no box of the same model and a label on one path."""
    best, best_iou = None, iou_threshold
    for group in groups:
        if any(other.model == box.model or not _on_one_path(tree, other.label, box.label) for other in group):
            continue
        overlap = float(iou(np.array(box.box_xyxy), np.array(_mean_box(group))))
        if overlap > best_iou:
            best, best_iou = group, overlap
    return best


def _on_one_path(tree: WordTree, first: int, second: int) -> bool:
    return first in tree.path(second) or second in tree.path(first)


def _mean_box(group: Sequence[Box]) -> tuple[float, float, float, float]:
    weights = np.array([box.score for box in group])
    left, top, right, bottom = np.average([box.box_xyxy for box in group], axis=0, weights=weights + 1e-12).tolist()
    return left, top, right, bottom


def _fused(group: Sequence[Box], tree: WordTree, models: int, hier_thresh: float) -> FusedBox:
    if len(group) == 1:
        [box] = group
        return FusedBox(box.box_xyxy, box.label, box.score / models, 1)
    total = sum(box.objectness for box in group) + 1e-12
    mean = {
        node: sum(box.objectness * box.probabilities.get(node, 0.0) for box in group) / total
        for node in {node for box in group for node in box.probabilities}
    }
    sure = [node for node, probability in mean.items() if probability >= hier_thresh]
    label = max(sure or [max(mean, key=lambda node: mean[node])], key=lambda node: (tree.depths[node], mean[node]))
    return FusedBox(_mean_box(group), int(label), total / models * mean[label], len(group))
