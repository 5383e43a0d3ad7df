"""Who labels: detectors, and COCO results files of models that are none of ours. All answer in nodes of one tree."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

from yolo9000.architectures.head import Head
from yolo9000.data.coco_contents import read_contents
from yolo9000.errors import DataError
from yolo9000.evaluation.coco_results import read_results
from yolo9000.inference.detector import Detector
from yolo9000.labeling.fuse import Box
from yolo9000.taxonomy.wordtree import WordTree
from yolo9000.types import Detections, SourceImage

__all__ = ["DetectorTeacher", "ResultsTeacher", "Teacher", "tree_of"]


@runtime_checkable
class Teacher(Protocol):
    """A source of boxes.

    Attributes:
        name: for messages.
        unknown: number of boxes left out for each class that the common tree does not have.
    """

    name: str
    unknown: Counter[str]

    def boxes(self, image: SourceImage, position: int) -> list[Box]:
        """The boxes in an image, as the boxes of the model at that position."""


def tree_of(head: Head) -> WordTree:
    """The tree of a detector; for flat classes one of roots alone."""
    return head.tree or WordTree.from_parents([-1] * len(head.names), head.names, _own_ids(head.names))


def _own_ids(names: Sequence[str]) -> list[str]:
    counts = Counter(names)
    return [name if counts[name] == 1 else f"{name} {index}" for index, name in enumerate(names)]


class DetectorTeacher:
    """A detector as a teacher. A class that the common tree lacks counts as its nearest ancestor that it has."""

    def __init__(self, name: str, detector: Detector, tree: WordTree) -> None:
        self.name = name
        self.unknown: Counter[str] = Counter()
        self._detector = detector
        self._tree = tree
        own = tree_of(detector.head)
        self._nodes = {node: _node_in(tree, own.ids[node], own.names[node]) for node in range(len(own))}

    def boxes(self, image: SourceImage, position: int) -> list[Box]:
        """See `Teacher.boxes`."""
        [detections] = self._detector.detect([image.pixels])
        made = (self._box(detections, index, position) for index in range(len(detections)))
        return [box for box in made if box is not None]

    def _box(self, detections: Detections, index: int, position: int) -> Box | None:
        score = float(detections.scores[index])
        steps = [(int(detections.labels[index]), 1.0)]
        if detections.answers:
            answer = detections.answers[index]
            steps = [(step.node, step.probability) for step in answer.path]
        known = [(node, probability) for own, probability in steps if (node := self._nodes[own]) is not None]
        if not known:
            self.unknown[detections.names[index]] += 1
            return None
        objectness = score / max(steps[-1][1], 1e-9)
        probabilities = _with_ancestors(self._tree, known)
        if detections.answers and (below := detections.answers[index].next_best):
            node = self._nodes[below.node]
            if node is not None and len(known) == len(steps):
                probabilities[node] = below.probability
        return Box(_corners(detections, index), objectness, probabilities, known[-1][0], position)


class ResultsTeacher:
    """A COCO results file as a teacher."""

    def __init__(self, results: Path, images: Path, tree: WordTree) -> None:
        """Read the results.

        Args:
            results: the results.
            images: the COCO file with the images and categories that their ids stand for.
            tree: the common tree.

        Raises:
            DataError: a file cannot be read, or an id of a result is not in the COCO file.
        """
        self.name = str(results)
        self.unknown: Counter[str] = Counter()
        self._tree = tree
        contents = read_contents(images)
        files = {image.id: image.file_name for image in contents.images}
        self._results: dict[str, list[tuple[str, tuple[float, float, float, float], float]]] = {}
        for index, record in enumerate(read_results(results)):
            for key, known in (("image_id", files), ("category_id", contents.categories)):
                if record[key] not in known:
                    raise DataError(f"{results}: result {index}: {key} {record[key]!r} must be one of {images}")
            x, y, width, height = record["bbox"]
            corners = (float(x), float(y), float(x + width), float(y + height))
            one = (contents.categories[record["category_id"]], corners, float(record["score"]))
            self._results.setdefault(Path(files[record["image_id"]]).name, []).append(one)

    def boxes(self, image: SourceImage, position: int) -> list[Box]:
        """See `Teacher.boxes`; results belong to images of the same file name."""
        boxes = []
        for name, corners, score in self._results.get(Path(image.name).name, []):
            node = _node_in(self._tree, name, name)
            if node is None:
                self.unknown[name] += 1
            else:
                boxes.append(Box(corners, score, _with_ancestors(self._tree, [(node, 1.0)]), node, position))
        return boxes


def _node_in(tree: WordTree, node_id: str, name: str) -> int | None:
    """The node with that id, else the only one with that name."""
    if node_id in tree.index_by_id:
        return tree.index_by_id[node_id]
    nodes = tree.nodes_named(name)
    return nodes[0] if len(nodes) == 1 else None


def _with_ancestors(tree: WordTree, steps: Iterable[tuple[int, float]]) -> dict[int, float]:
    """Probabilities of some nodes and their ancestors, each at least as probable as what is below it."""
    probabilities: dict[int, float] = {}
    for node, probability in steps:
        for step in tree.path(node):
            probabilities[step] = max(probabilities.get(step, 0.0), probability)
    return probabilities


def _corners(detections: Detections, index: int) -> tuple[float, float, float, float]:
    left, top, right, bottom = detections.boxes_xyxy[index].tolist()
    return left, top, right, bottom
