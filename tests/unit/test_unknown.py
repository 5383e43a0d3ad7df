"""Answers for kinds that a model never learnt."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from support.small_models import TREE

from yolo9000.data.dataset import DataSet
from yolo9000.errors import ConfigError
from yolo9000.evaluation import unknown as module
from yolo9000.evaluation.unknown import Kind, answers_of, outcome, read_unknown, unknown_outcomes
from yolo9000.inference.classifier import Classifier
from yolo9000.inference.detector import Detector, ImageHead
from yolo9000.inference.settings import DetectionSettings
from yolo9000.types import BoxAnnotations, Detections, ImageFile, Sample

ANIMAL, THING, DOG, CAT, TERRIER, POODLE, BUS = range(7)
COLLIE = Kind((ANIMAL, DOG), None)


@pytest.mark.parametrize(
    ("answer", "how"),
    [(DOG, "ancestor"), (ANIMAL, "ancestor"), (POODLE, "wrong_leaf"), (CAT, "wrong_leaf"), (THING, "wrong_node")],
)
def test_an_answer_is_right_on_the_path_and_wrong_beside_it(answer: int, how: str) -> None:
    assert outcome(TREE, COLLIE, answer) == how
    assert outcome(TREE, COLLIE, None) == "missed"
    assert outcome(TREE, Kind((ANIMAL, DOG), POODLE), POODLE) == "itself"
    assert outcome(TREE, Kind((ANIMAL,), DOG), POODLE) == "itself"


def test_decoding_goes_down_as_far_as_each_threshold_allows() -> None:
    #                  animal thing  dog  cat  terrier poodle bus
    probabilities = np.array([0.9, 0.1, 0.8, 0.1, 0.45, 0.35, 0.1])
    assert answers_of(TREE, probabilities, [0.4, 0.5, 0.85, 0.95]) == [TERRIER, DOG, ANIMAL, ANIMAL]


def test_the_list_names_a_class_and_the_node_above_it(tmp_path: Path) -> None:
    file = tmp_path / "unknown.csv"
    file.write_text("collie, dog\n\nn5\n")
    assert read_unknown(file, TREE) == {"collie": COLLIE, "n5": Kind((ANIMAL, DOG), POODLE)}


@pytest.mark.parametrize("line", ["a,b,c", "collie,", "collie,wolf"])
def test_a_wrong_line_is_named(line: str, tmp_path: Path) -> None:
    file = tmp_path / "unknown.csv"
    file.write_text(f"collie,dog\n{line}\n")
    with pytest.raises(ConfigError, match=r"unknown\.csv:2: "):
        read_unknown(file, TREE)


class Samples(DataSet):
    """A data set of some samples."""

    classes = ("bus", "collie")
    name = "set"

    def __init__(self, items: list[Sample]) -> None:
        self.__dict__["items"] = items

    def samples(self, on_error: str = "error", ledger: object = None) -> Iterator[Sample]:  # type: ignore[override]
        return iter(self.__dict__["items"])


def data(tmp_path: Path, *items: dict[str, object]) -> DataSet:
    path = tmp_path / "a.png"
    Image.new("RGB", (40, 30)).save(path)
    samples = [Sample("a.png", ImageFile(path), "a", (40, 30), **item) for item in items]  # type: ignore[arg-type]
    return Samples(samples)


BOXES = np.array([[0, 0, 20, 20], [20, 0, 40, 30], [0, 22, 20, 30]], np.float32)


HEAD = ImageHead.__new__(ImageHead)


class Stub(Detector):
    """A detector whose detections depend on the threshold alone: specific below .5, a wrong leaf below .3."""

    def __init__(self) -> None:
        self.head = SimpleNamespace(tree=TREE)  # type: ignore[assignment]
        self.settings = DetectionSettings(conf_threshold=0.25)

    def heads(self, images: object, *, batch: int = 1, min_objectness: float = 0) -> Iterator[ImageHead]:
        assert min_objectness == 0.25
        return iter([HEAD])


def decoded(detector: object, head: ImageHead, hier_thresh: float) -> Detections:
    labels = [POODLE if hier_thresh < 0.3 else DOG, THING] if hier_thresh < 0.5 else [ANIMAL, BUS]
    boxes = BOXES[:2] + np.float32(0.5)
    names = tuple(TREE.names[label] for label in labels)
    return Detections(boxes, np.array([0.9, 0.8], np.float32), np.array(labels, np.int64), names, (40, 30))


@pytest.fixture
def detector(monkeypatch: pytest.MonkeyPatch) -> Detector:
    monkeypatch.setattr(module, "_decoded", decoded)
    return Stub()


def run(model: Detector | Classifier, data_set: DataSet) -> list[tuple[dict[str, int], float]]:
    got = unknown_outcomes(model, data_set, {"collie": COLLIE}, thresholds=[0.2, 0.4, 0.6])
    return [(dict(one.counts), one.specificity) for one in got]


def test_each_box_gets_the_answer_that_lies_on_it(tmp_path: Path, detector: Detector) -> None:
    """Three collies: the first is a poodle, a dog or an animal; the second never right; the third missed."""
    labels = np.ones(3, np.int64)
    with_bus = (np.concatenate([BOXES, BOXES[:1]]), np.array([1, 1, 1, 0], np.int64))
    for boxes in (BoxAnnotations.plain(BOXES, labels), BoxAnnotations.plain(*with_bus)):
        assert run(detector, data(tmp_path, {"boxes": boxes})) == [
            ({"wrong_leaf": 1, "wrong_node": 1, "missed": 1}, 0.0),
            ({"ancestor": 1, "wrong_node": 1, "missed": 1}, pytest.approx(2 / 3)),
            ({"ancestor": 1, "wrong_leaf": 1, "missed": 1}, pytest.approx(1 / 3)),
        ]


def test_an_image_gets_the_answer_of_the_best_detection(tmp_path: Path, detector: Detector) -> None:
    counts = [counts for counts, _ in run(detector, data(tmp_path, {"image_labels": (1,)}, {"image_labels": (0,)}))]
    assert counts == [{"wrong_leaf": 1}, {"ancestor": 1}, {"ancestor": 1}]


def test_a_classifier_is_asked_for_the_whole_image(tmp_path: Path) -> None:
    logits = np.log([0.9, 0.1, 0.9, 0.1, 0.5, 0.5, 1.0]).astype(np.float32)

    class Constant:
        name, precision = "constant", "float32"

        def parallel(self, workers: int) -> Constant:
            return self

        def run(self, images: np.ndarray) -> tuple[np.ndarray, ...]:
            return (np.tile(logits[:, None, None], (len(images), 1, 1, 1)),)

    classifier = Classifier(Constant(), TREE.names, TREE, (32, 32))
    got = run(classifier, data(tmp_path, {"image_labels": (1,)}))
    assert [counts for counts, _ in got] == [{"wrong_leaf": 1}, {"wrong_leaf": 1}, {"ancestor": 1}]  # P(terrier) = .405


def test_what_cannot_be_asked_is_refused(tmp_path: Path, detector: Detector) -> None:
    with pytest.raises(ConfigError, match=r"^unknown: must be classes of set, got 'wolf'"):
        unknown_outcomes(detector, data(tmp_path), {"wolf": COLLIE})
    with pytest.raises(ConfigError, match=r"set: no object has one of the classes"):
        unknown_outcomes(detector, data(tmp_path, {"image_labels": (0,)}), {"collie": COLLIE})
