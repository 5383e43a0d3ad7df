"""Annotations that a model finds unlikely, by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from yolo9000.labeling.suspects import Suspect, ranked, suspects_in
from yolo9000.taxonomy.wordtree import WordTree
from yolo9000.types import BoxAnnotations, Detections, ImageFile, Sample

TREE = WordTree.from_parents([-1, -1, 0, 0, 2, 2], ["animal", "vehicle", "dog", "cat", "terrier", "collie"])
ANIMAL, VEHICLE, DOG, CAT, TERRIER, COLLIE = range(6)
BOX = (10.0, 10.0, 110.0, 60.0)


def suspects(
    annotated: list[tuple[tuple[float, ...], int]], predicted: list[tuple[tuple[float, ...], int, float]], **flags: bool
) -> list[Suspect]:
    boxes = np.array([box for box, _ in annotated], np.float32).reshape(-1, 4)
    marks = {name: np.full(len(boxes), flags.get(name, False)) for name in ("difficult", "crowd")}
    labels = np.array([label for _, label in annotated], np.int64)
    gt = BoxAnnotations(boxes, labels, **marks, areas=np.ones(len(boxes), np.float32))
    detections = Detections(
        np.array([box for box, _, _ in predicted], np.float32).reshape(-1, 4),
        np.array([score for _, _, score in predicted], np.float32),
        np.array([label for _, label, _ in predicted], np.int64),
        tuple(TREE.names[label] for _, label, _ in predicted),
        (200, 100),
    )
    sample = Sample("a.png", ImageFile(Path("a.png")), "a.xml", (200, 100), gt)
    return suspects_in(sample, gt, detections, TREE)


@pytest.mark.parametrize(("predicted", "apart"), [(VEHICLE, 1.0), (CAT, 1 / 2), (COLLIE, 1 / 3)])
def test_a_label_is_the_more_suspicious_the_earlier_the_branch(predicted: int, apart: float) -> None:
    """From terrier: another root 1, another child of animal 1 - 1/2, another breed 1 - 2/3."""
    [one] = suspects([(BOX, TERRIER)], [(BOX, predicted, 0.9)])
    assert (one.kind, one.label, one.predicted) == ("label", "terrier", TREE.names[predicted])
    assert one.suspicion == pytest.approx(0.9 * apart, rel=1e-5)
    assert str(one).endswith(f"a.png [10, 10, 110, 60]: labelled terrier, looks like {TREE.names[predicted]}")


def test_agreement_takes_suspicion_away() -> None:
    [one] = suspects([(BOX, TERRIER)], [(BOX, VEHICLE, 0.9), (BOX, DOG, 0.8)])
    assert one.suspicion == pytest.approx(0.9 * (1 - 0.8), rel=1e-5)
    assert suspects([(BOX, TERRIER)], [(BOX, ANIMAL, 0.3)]) == []


def test_a_box_beside_the_object_differs_from_one_of_nothing() -> None:
    shifted = (70.0, 10.0, 170.0, 60.0)  # IoU 40 / 160
    [one] = suspects([(shifted, DOG)], [(BOX, TERRIER, 0.8)])
    assert (one.kind, one.box_xyxy) == ("box", shifted)
    assert one.suspicion == pytest.approx(0.8 * 0.75, rel=1e-5)
    [nothing] = suspects([(BOX, DOG)], [])
    assert (nothing.kind, nothing.suspicion, nothing.predicted) == ("unseen", 0.2, None)


def test_an_object_without_a_box_is_as_suspicious_as_it_is_sure() -> None:
    far = (120.0, 10.0, 190.0, 90.0)
    [one] = suspects([(BOX, DOG)], [(BOX, DOG, 0.9), (far, CAT, 0.7)])
    assert (one.kind, one.label, one.predicted, one.box_xyxy) == ("missing", None, "cat", far)
    assert one.suspicion == pytest.approx(0.7)


@pytest.mark.parametrize("flag", ["difficult", "crowd"])
def test_difficult_objects_and_crowds_are_passed_over(flag: str) -> None:
    assert suspects([(BOX, DOG)], [(BOX, VEHICLE, 0.9)], **{flag: True}) == []


def test_a_prediction_that_another_annotation_explains_speaks_against_nothing() -> None:
    rider, horse = (10.0, 10.0, 110.0, 60.0), (10.0, 15.0, 110.0, 65.0)  # IoU 45 / 55
    [one] = suspects([(rider, DOG), (horse, VEHICLE)], [(horse, VEHICLE, 0.9)])
    assert (one.kind, one.label) == ("unseen", "dog")


def test_an_object_in_a_crowd_is_not_missing() -> None:
    inside, outside = (20.0, 20.0, 30.0, 30.0), (104.0, 20.0, 130.0, 30.0)  # of the second 6 of 26 columns
    got = suspects([(BOX, DOG)], [(inside, DOG, 0.9), (outside, DOG, 0.8)], crowd=True)
    assert [(one.kind, one.box_xyxy) for one in got] == [("missing", outside)]


def contradicted(label: str, predicted: str, suspicion: float) -> Suspect:
    return Suspect(suspicion, "label", "a.png", "a.xml", BOX, label, predicted, suspicion)


def test_a_usual_confusion_is_less_suspicious_than_a_rare_one() -> None:
    """Of 400 collies 2 are usual; four at .5 have 1.5 beside each, so that .5 x 2 / 3.5 is left."""
    missing = Suspect(0.3, "missing", "a.png", "a.xml", BOX, None, "cat", 0.3)
    suspects = [*[contradicted("collie", "cat", 0.5)] * 4, missing, contradicted("collie", "vehicle", 0.4)]
    got = ranked(suspects, {"collie": 400})
    assert [(one.kind, one.predicted) for one in got[:2]] == [("label", "vehicle"), ("missing", "cat")]
    assert [one.suspicion for one in got] == pytest.approx([0.4, 0.3, *[0.5 * 2 / 3.5] * 4])


def test_of_few_boxes_a_confusion_becomes_usual_at_one() -> None:
    got = ranked([contradicted("collie", "cat", 0.8), contradicted("collie", "cat", 0.6)], {"collie": 10})
    assert [one.suspicion for one in got] == pytest.approx([0.8 / 1.6, 0.6 / 1.8])
