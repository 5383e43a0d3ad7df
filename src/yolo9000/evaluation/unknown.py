"""What a model with a label tree answers for objects of kinds that it never learnt.

A flat classifier must give one of its classes, a wrong one. A tree can stop at an ancestor: "dog" for a breed that it
does not know. Each object is answered at a right ancestor, at the kind itself, at a wrong inner node, at a wrong leaf,
or missed; over all `hier_thresh` that is a curve of risk against specificity.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float

from yolo9000.boxes import iou
from yolo9000.data.dataset import DataSet, OnError
from yolo9000.data.images import load_image
from yolo9000.errors import ConfigError, TreeError
from yolo9000.inference.classifier import Classifier
from yolo9000.inference.decode import decode_candidates
from yolo9000.inference.detector import Detector, ImageHead
from yolo9000.io.documents import parse_csv
from yolo9000.io.files import read_text
from yolo9000.taxonomy.wordtree import WordTree
from yolo9000.types import Detections, Sample

__all__ = ["OUTCOMES", "THRESHOLDS", "Kind", "Outcomes", "answers_of", "outcome", "read_unknown", "unknown_outcomes"]

THRESHOLDS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
MIN_IOU = 0.5
Outcome = Literal["itself", "ancestor", "wrong_node", "wrong_leaf", "missed"]
OUTCOMES: tuple[Outcome, ...] = ("itself", "ancestor", "wrong_node", "wrong_leaf", "missed")


@dataclass(frozen=True)
class Kind:
    """A class of a data set on a model's tree.

    Attributes:
        ancestors: from a root to its parent.
        node: its own node; None where the tree does not have it.
    """

    ancestors: tuple[int, ...]
    node: int | None

    @property
    def depth(self) -> int:
        """Number of nodes on the path to it, itself included."""
        return len(self.ancestors) + 1


@dataclass(frozen=True)
class Outcomes:
    """The answers at one threshold.

    Attributes:
        hier_thresh: the threshold.
        counts: number of objects with each outcome.
        specificity: mean depth of the right answers, as a fraction of the depth of the kind; 1 is the kind itself.
    """

    hier_thresh: float
    counts: Mapping[Outcome, int]
    specificity: float

    @property
    def fractions(self) -> dict[Outcome, float]:
        """The fraction of the objects with each outcome."""
        total = max(sum(self.counts.values()), 1)
        return {name: self.counts.get(name, 0) / total for name in OUTCOMES}


def read_unknown(file: Path, tree: WordTree) -> dict[str, Kind]:
    """Read which classes a model never learnt: CSV, a class of the data set a line, and the node above it.

    Where the node above is not given, the class must be a node of the tree itself, one that nothing was learnt for.

    Raises:
        ConfigError: a line is empty or too long, or names no node of the tree.
    """
    kinds: dict[str, Kind] = {}
    for number, row in enumerate(parse_csv(read_text(file, ConfigError), file, ConfigError), 1):
        fields = [field.strip() for field in row]
        if not any(fields):
            continue
        if len(fields) > 2 or not all(fields):
            raise ConfigError(f"{file}:{number}: must be a class, or a class and the node above it, got {row}")
        try:
            node = tree.find(fields[-1])
        except TreeError as error:
            raise ConfigError(f"{file}:{number}: {error}") from None
        path = tree.path(node)
        kinds[fields[0]] = Kind(path, None) if len(fields) == 2 else Kind(path[:-1], node)
    return kinds


def outcome(tree: WordTree, kind: Kind, answer: int | None) -> Outcome:
    """Whether an answer is right for a kind, and how; what lies below the kind counts as the kind itself."""
    if answer is None:
        return "missed"
    if kind.node is not None and kind.node in tree.path(answer):
        return "itself"
    if answer in kind.ancestors:
        return "ancestor"
    return "wrong_leaf" if tree.leaves[answer] else "wrong_node"


def unknown_outcomes(
    model: Detector | Classifier,
    data_set: DataSet,
    unknown: Mapping[str, Kind],
    *,
    thresholds: Sequence[float] = THRESHOLDS,
    on_error: OnError = "error",
) -> list[Outcomes]:
    """The outcomes of all objects of the unknown classes, at each threshold.

    A boxed object gets the answer of the best detection with an IoU of at least .5; an image with an image-level label
    that of the best detection of all.

    Args:
        model: with a tree; a detector's own confidence threshold decides what is missed.
        data_set: boxes, image-level labels or both.
        unknown: the classes; see `read_unknown`.
        thresholds: values of `hier_thresh`.
        on_error: what to do with invalid annotations.

    Raises:
        ConfigError: the model has no tree; a class is not one of the data set's; no object has any of the classes.
    """
    tree = _tree_of(model)
    if strange := sorted(set(unknown) - set(data_set.classes)):
        raise ConfigError(f"must be classes of {data_set.name}, got {strange[0]!r}", argument="unknown")
    kinds = {label: unknown[name] for label, name in enumerate(data_set.classes) if name in unknown}
    tallies = [_Tally(tree) for _ in thresholds]
    for sample in data_set.samples(on_error):
        wanted = [kinds[label] for label in _labels_of(sample) if label in kinds]
        if wanted:
            for tally, answers in zip(tallies, _answers(model, sample, kinds, thresholds), strict=True):
                tally.add(wanted, answers)
    if not tallies[0].counts:
        raise ConfigError(f"{data_set.name}: no object has one of the classes", argument="unknown")
    return [tally.outcomes(threshold) for tally, threshold in zip(tallies, thresholds, strict=True)]


def answers_of(tree: WordTree, probabilities: Float[np.ndarray, " k"], thresholds: Sequence[float]) -> list[int]:
    """Where hierarchical decoding ends at each threshold, from the absolute probabilities of all nodes."""
    path, children = [], tree.children(-1)
    while children:
        path.append(children[int(probabilities[children.start : children.stop].argmax())])
        children = tree.children(path[-1])
    return [max((n for n in path if probabilities[n] > threshold), default=path[0]) for threshold in thresholds]


class _Tally:
    """Counts outcomes at one threshold."""

    def __init__(self, tree: WordTree) -> None:
        self.counts: Counter[Outcome] = Counter()
        self._tree = tree
        self._depths: list[float] = []

    def add(self, kinds: Sequence[Kind], answers: Sequence[int | None]) -> None:
        for kind, answer in zip(kinds, answers, strict=True):
            how = outcome(self._tree, kind, answer)
            self.counts[how] += 1
            if answer is not None and how in ("itself", "ancestor"):
                self._depths.append(min((int(self._tree.depths[answer]) + 1) / kind.depth, 1.0))

    def outcomes(self, threshold: float) -> Outcomes:
        return Outcomes(threshold, dict(self.counts), float(np.mean(self._depths)) if self._depths else 0.0)


def _tree_of(model: Detector | Classifier) -> WordTree:
    tree = model.tree if isinstance(model, Classifier) else model.head.tree
    if tree is None:
        raise ConfigError("needs a model with a label tree; this model has flat classes", argument="unknown")
    return tree


def _labels_of(sample: Sample) -> Sequence[int]:
    return sample.image_labels if sample.boxes is None else sample.boxes.labels.tolist()


def _answers(
    model: Detector | Classifier, sample: Sample, kinds: Mapping[int, Kind], thresholds: Sequence[float]
) -> Iterator[list[int | None]]:
    """For each threshold the answer for each object of an unknown class."""
    pixels = load_image(sample.image, sample.name).pixels
    count = sum(label in kinds for label in _labels_of(sample))
    if isinstance(model, Classifier):
        for answer in answers_of(_tree_of(model), model.probabilities([pixels])[0], thresholds):
            yield [answer] * count
        return
    [head] = model.heads([pixels], min_objectness=model.settings.conf_threshold)
    for threshold in thresholds:
        detections = _decoded(model, head, threshold)
        if sample.boxes is None:
            yield [int(detections.labels[0]) if len(detections) else None] * count
        else:
            boxes = (
                box
                for box, label in zip(sample.boxes.boxes_xyxy, sample.boxes.labels.tolist(), strict=True)
                if label in kinds
            )
            yield [_answer_at(box, detections) for box in boxes]


def _decoded(detector: Detector, head: ImageHead, hier_thresh: float) -> Detections:
    settings = detector.with_settings(hier_thresh=hier_thresh).settings
    return decode_candidates(head.output, head.index, detector.head, head.size_wh, head.candidates, settings)


def _answer_at(box: Float[np.ndarray, " 4"], detections: Detections) -> int | None:
    """The label of the first, that is best, detection that lies on a box."""
    on_it = np.flatnonzero(iou(box, detections.boxes_xyxy) >= MIN_IOU)
    return int(detections.labels[on_it[0]]) if len(on_it) else None
