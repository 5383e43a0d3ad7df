"""Annotations that a model finds unlikely: wrong labels, boxes that are missing, misplaced or of nothing.

The model must not have been trained on the images: it would have learnt their errors. Cross-fitting gives such a model
for every image: train on one part, check the other, and the reverse.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Float, Float32

from yolo9000.boxes import iou
from yolo9000.data.dataset import DataSet, OnError
from yolo9000.evaluation.runner import detect_samples
from yolo9000.inference.detector import Detector
from yolo9000.labeling.teachers import tree_of
from yolo9000.taxonomy.wordtree import WordTree
from yolo9000.types import BoxAnnotations, Detections, Sample

__all__ = ["Suspect", "divergence", "find_suspects", "ranked", "suspects_in"]

SAME_OBJECT = 0.5
"""IoU from which a prediction is about an annotated object."""
NEAR = 0.1
"""IoU from which a prediction of its class shows where a misplaced box should be."""
UNSEEN_WEIGHT = 0.2
"""Of a box in which the model detects nothing: models miss many objects."""

USUAL_CONFUSION = 1 / 200
"""Fraction of the boxes of a label from which a contradiction is a usual one."""

Kind = Literal["label", "box", "unseen", "missing"]


@dataclass(frozen=True)
class Suspect:
    """An annotation to look at.

    Attributes:
        suspicion: 0 to 1, the higher the more likely an error.
        kind: ``label``: the model is sure of a label on another branch. ``box``: it detects the object beside the box.
            ``unseen``: it detects nothing there. ``missing``: it is sure of an object that has no box.
        image: the sample's name.
        where: the annotation's file.
        box_xyxy: of the annotation; for ``missing`` of the prediction.
        label: the annotation's label; None for ``missing``.
        predicted: the model's label; None for ``unseen``.
        score: of the prediction.
    """

    suspicion: float
    kind: Kind
    image: str
    where: str
    box_xyxy: tuple[float, float, float, float]
    label: str | None
    predicted: str | None
    score: float

    def __str__(self) -> str:
        """One line."""
        sides = ", ".join(f"{side:.0f}" for side in self.box_xyxy)
        what = {
            "label": f"labelled {self.label}, looks like {self.predicted}",
            "box": f"{self.label}: the model sees it beside the box",
            "unseen": f"{self.label}: the model sees nothing there",
            "missing": f"{self.predicted} without a box",
        }[self.kind]
        return f"{self.suspicion:.2f} {self.image} [{sides}]: {what}"

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {**vars(self), "box_xyxy": list(self.box_xyxy)}


def find_suspects(detector: Detector, data_set: DataSet, *, on_error: OnError = "error") -> list[Suspect]:
    """The annotations of a data set that a model finds unlikely, the most suspicious first.

    Args:
        detector: trained on other images.
        data_set: with boxes; its classes are matched with the model's by name, on a tree also by id.
        on_error: what to do with invalid annotations.

    Raises:
        ConfigError: the model does not have a class of the data set.
        DataError: an annotation is invalid, or an image cannot be read.
    """
    tree = tree_of(detector.head)
    suspects: list[Suspect] = []
    boxes: Counter[str] = Counter()
    for sample, detections in detect_samples(detector, data_set, on_error=on_error):
        if sample.boxes is not None:
            suspects += suspects_in(sample, sample.boxes, detections, tree)
            boxes.update(tree.names[label] for label in sample.boxes.labels)
    return ranked(suspects, boxes)


def ranked(suspects: Sequence[Suspect], boxes: Mapping[str, int]) -> list[Suspect]:
    """The most suspicious first. A label that the model often contradicts in the same way becomes less suspicious.

    Such a confusion says more about the model, or about what the annotators agreed on, than about one box. Where the
    others of its kind add up to one in 200 boxes of the label, a suspicion is halved.

    Args:
        suspects: of all images.
        boxes: number of boxes of each label.
    """
    alike: defaultdict[tuple[str | None, str | None], float] = defaultdict(float)
    for suspect in suspects:
        if suspect.kind == "label":
            alike[suspect.label, suspect.predicted] += suspect.suspicion

    def weighed(suspect: Suspect) -> Suspect:
        if suspect.kind != "label":
            return suspect
        usual = max(1.0, USUAL_CONFUSION * boxes[suspect.label or ""])
        others = alike[suspect.label, suspect.predicted] - suspect.suspicion
        return replace(suspect, suspicion=suspect.suspicion * usual / (usual + others))

    return sorted(map(weighed, suspects), key=lambda suspect: -suspect.suspicion)


def suspects_in(sample: Sample, boxes: BoxAnnotations, detections: Detections, tree: WordTree) -> list[Suspect]:
    """The annotations of one image that predictions find unlikely.

    Args:
        sample: the image.
        boxes: its annotations, with nodes of the tree as labels.
        detections: the predictions, down to low scores, with labels from the tree too.
        tree: the label tree; for flat classes one of roots alone.
    """
    return list(_Image(sample, boxes, detections, tree).suspects())


def divergence(tree: WordTree, first: int, second: int) -> float:
    """How early two nodes part: 1 with different roots, 0 on one path.

    Example:
        >>> tree = WordTree.from_parents([-1, -1, 0, 0, 2], ["animal", "vehicle", "dog", "cat", "terrier"])
        >>> divergence(tree, 4, 1), divergence(tree, 4, 3), divergence(tree, 4, 2)
        (1.0, 0.5, 0.0)
    """
    paths = tree.path(first), tree.path(second)
    shared = sum(a == b for a, b in zip(*paths, strict=False))
    return 1 - shared / min(map(len, paths))


class _Image:
    """One image: its annotations beside the predictions."""

    def __init__(self, sample: Sample, boxes: BoxAnnotations, detections: Detections, tree: WordTree) -> None:
        self._sample = sample
        self._boxes = boxes
        self._detections = detections
        self._tree = tree
        pairs = iou(boxes.boxes_xyxy[:, None].astype(np.float64), detections.boxes_xyxy.astype(np.float64))
        self._iou: Float[np.ndarray, "n d"] = np.nan_to_num(pairs)
        self._apart: Float[np.ndarray, "n d"] = np.array(
            [[divergence(tree, int(own), int(other)) for other in detections.labels] for own in boxes.labels]
        ).reshape(self._iou.shape)
        self._explained = ((self._iou >= SAME_OBJECT) & (self._apart == 0)).any(axis=0)

    def suspects(self) -> Iterator[Suspect]:
        for index in np.flatnonzero(~(self._boxes.difficult | self._boxes.crowd)):
            if (suspect := self._annotated(int(index))) is not None:
                yield suspect
        covered = (self._iou >= NEAR).any(axis=0) | self._in_crowd()
        for index in np.flatnonzero(~covered):
            score = float(self._detections.scores[index])
            yield self._suspect(score, "missing", self._detections.boxes_xyxy[index], None, int(index))

    def _in_crowd(self) -> Bool[np.ndarray, " d"]:
        """Which predictions lie for the most part in a box that holds many objects."""
        crowds = self._boxes.boxes_xyxy[self._boxes.crowd]
        boxes = self._detections.boxes_xyxy[:, None]
        sides = np.minimum(boxes[..., 2:], crowds[:, 2:]) - np.maximum(boxes[..., :2], crowds[:, :2])
        inside = np.clip(sides, 0, None).prod(axis=-1)
        areas = (self._detections.boxes_xyxy[:, 2:] - self._detections.boxes_xyxy[:, :2]).prod(axis=-1)
        return np.asarray((inside > 0.5 * areas[:, None]).any(axis=1))

    def _annotated(self, index: int) -> Suspect | None:
        """An annotation, unless a prediction on its box agrees with certainty."""
        box, label = self._boxes.boxes_xyxy[index], int(self._boxes.labels[index])
        apart = self._apart[index]
        on_it = (self._iou[index] >= SAME_OBJECT) & ((apart == 0) | ~self._explained)  # a rider is no horse
        scores = self._detections.scores.astype(np.float64)
        agreement = float((scores * (on_it & (apart == 0))).max(initial=0))
        against = scores * apart * on_it
        if on_it.any() and against.max() > 0:
            best = int(against.argmax())
            return self._suspect(float(against[best]) * (1 - agreement), "label", box, label, best)
        if on_it.any():
            return None
        beside = scores * (apart == 0) * (self._iou[index] >= NEAR) * (1 - self._iou[index])
        if beside.max(initial=0) > 0:
            best = int(beside.argmax())
            return self._suspect(float(beside[best]), "box", box, label, best)
        return self._suspect(UNSEEN_WEIGHT, "unseen", box, label, None)

    def _suspect(
        self, suspicion: float, kind: Kind, box: Float32[np.ndarray, " 4"], label: int | None, best: int | None
    ) -> Suspect:
        left, top, right, bottom = box.tolist()
        return Suspect(
            suspicion,
            kind,
            self._sample.name,
            self._sample.where,
            (left, top, right, bottom),
            None if label is None else self._tree.names[label],
            None if best is None else self._detections.names[best],
            0.0 if best is None else float(self._detections.scores[best]),
        )
