"""Detections as other programs want them."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from yolo9000.io.records import DetectionRecord, ImageRecord, TreeDetectionRecord, image_record
from yolo9000.types import BoxAnnotations, Detections, PathStep, TreeAnswer


def two() -> Detections:
    answers = tuple(
        TreeAnswer(
            (PathStep(0, "animal", 0.5, 0.5), PathStep(2, name, 0.5, 0.25)),
            "leaf",
            None,
            PathStep(3, "cat", 0.25, 0.125),
        )
        for name in ("dog", "fox")
    )
    return Detections(
        boxes_xyxy=np.array([[10, 20, 40, 60], [0, 5, 90, 50]], np.float32),
        scores=np.array([0.75, 0.5], np.float32),
        labels=np.array([2, 5], np.int64),
        names=("dog", "fox"),
        size_wh=(100, 80),
        answers=answers,
    )


def test_json() -> None:
    record = two().to_dict()
    assert (record["width"], record["height"]) == (100, 80)
    first = record["detections"][0]
    assert first["box_xyxy"] == [10.0, 20.0, 40.0, 60.0]
    assert first["path"][1] == {"node": 2, "name": "dog", "conditional": 0.5, "probability": 0.25}
    assert (first["stopped"], first["next_best"]) == ("leaf", None)
    assert first["runner_up"]["name"] == "cat"
    assert json.loads(json.dumps(record)) == record


def test_coco_has_width_and_height() -> None:
    first, second = two().to_coco(7, {2: 18, 5: 90})
    # 40 - 10 = 30 wide, 60 - 20 = 40 high
    assert first == {"image_id": 7, "category_id": 18, "bbox": [10.0, 20.0, 30.0, 40.0], "score": 0.75}
    assert (second["category_id"], two().to_coco("a")[1]["category_id"]) == (90, 5)


def test_supervision(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("supervision")
    module.Detections = SimpleNamespace  # takes any arguments, as the real one does with these four
    monkeypatch.setitem(sys.modules, "supervision", module)
    theirs = two().to_supervision()
    np.testing.assert_array_equal(theirs.xyxy, two().boxes_xyxy)
    np.testing.assert_array_equal(theirs.confidence, [0.75, 0.5])
    np.testing.assert_array_equal(theirs.class_id, [2, 5])
    assert theirs.data["class_name"].tolist() == ["dog", "fox"]


def test_json_and_select() -> None:
    assert json.loads(json.dumps(two().to_dict())) == two().to_dict()
    chosen = two().select([1])
    assert (chosen.names, chosen.labels.tolist(), len(chosen.answers)) == (("fox",), [5], 1)


def test_masks_slices_and_indices_select() -> None:
    detections = two()
    assert detections[detections.scores > 0.6].names == ("dog",)
    assert detections[1:].labels.tolist() == [5]
    assert detections[-1].names == ("fox",)
    assert detections[np.array([1, 0])].names == ("fox", "dog")
    assert [one.names[0] for one in detections] == ["dog", "fox"]
    assert len(detections[np.zeros(2, bool)]) == 0
    with pytest.raises(IndexError):
        detections[2]


def test_the_short_form_counts_labels() -> None:
    assert repr(two()) == "Detections(2 in 100x80: 1 dog, 1 fox)"
    assert repr(two()[:0]) == "Detections(0 in 100x80)"


def test_json_text() -> None:
    assert json.loads(two().to_json(indent=1)) == two().to_dict()


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_data_frames_have_a_row_for_each_detection(library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fake: Any = ModuleType(library)
    fake.DataFrame = dict
    monkeypatch.setitem(sys.modules, library, fake)
    monkeypatch.setattr("yolo9000.types.find_spec", lambda name: name if name == library else None)
    assert two().to_dataframe() == {
        "name": ["dog", "fox"], "label": [2, 5], "score": [0.75, 0.5], "left": [10.0, 0.0], "top": [20.0, 5.0],
        "right": [40.0, 90.0], "bottom": [60.0, 50.0], "path": ["animal > dog", "animal > fox"],
    }  # fmt: skip
    assert two()[:0].to_dataframe()["left"] == []
    monkeypatch.setattr("yolo9000.types.find_spec", lambda name: None)
    with pytest.raises(ImportError, match="needs pandas or polars"):
        two().to_dataframe()


def test_lengths_must_agree() -> None:
    detections = two()
    with pytest.raises(ValueError, match="2 boxes need as many scores, labels and names, got 2, 2 and 1"):
        Detections(
            detections.boxes_xyxy, detections.scores, detections.labels, detections.names[:1], detections.size_wh
        )
    with pytest.raises(ValueError, match="2 boxes need as many answers, got 1"):
        Detections(
            detections.boxes_xyxy,
            detections.scores,
            detections.labels,
            detections.names,
            detections.size_wh,
            detections.answers[:1],
        )


def test_plain_gt() -> None:
    gt = BoxAnnotations.plain(np.array([[1, 2, 4, 8], [0, 0, 10, 3]], np.float32), np.array([1, 0], np.int64))
    assert gt.areas.tolist() == [18.0, 30.0]  # 3 x 6 and 10 x 3
    assert not gt.difficult.any()
    chosen = gt.select(np.array([False, True]))
    assert (len(chosen), chosen.labels.tolist()) == (1, [0])


@pytest.mark.parametrize("with_tree", [True, False])
def test_the_schema_of_records_describes_them(with_tree: bool) -> None:
    detections = two() if with_tree else replace(two(), answers=())
    record = image_record("a/b.jpg", detections, frame=3, timestamp=0.12)
    assert ImageRecord.model_validate(record).model_dump(mode="json") == json.loads(json.dumps(record))
    kind = TreeDetectionRecord if with_tree else DetectionRecord
    assert [type(one) for one in ImageRecord.model_validate(record).detections] == [kind, kind]


def test_the_schema_of_records_refuses_other_keys() -> None:
    record = image_record(None, two())
    record["detections"][0]["hue"] = "red"
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        ImageRecord.model_validate(record)
