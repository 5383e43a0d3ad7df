"""Parquet files of Hugging Face: the forms that objects, boxes, categories and images have in them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.layouts import ALL, CLASSES, LAYOUTS, encoded, objects_of, parquet_rows, put, put_parquet

from yolo9000.data.dataset import DataSet, open_data
from yolo9000.data.issues import IssueError
from yolo9000.data.parquet_files import columns_of, opened, rows_of
from yolo9000.data.recognize import recognize
from yolo9000.errors import EngineError

pytest.importorskip("pyarrow")


def boxes_of(data: DataSet) -> list[list[tuple[object, ...]]]:
    got = []
    for sample in data.samples():
        assert sample.boxes is not None
        boxes = np.round(sample.boxes.boxes_xyxy.astype(float), 2).tolist()
        got.append([(data.classes[i], *box) for i, box in zip(sample.boxes.labels, boxes, strict=True)])
    return got


EXPECTED = [[tuple(o) for o in objects_of(n)] for n in ALL]


def as_xywh(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        row["objects"]["bbox"] = [[a, b, c - a, d - b] for a, b, c, d in row["objects"]["bbox"]]


def as_fractions(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        row["objects"]["bbox"] = [[a / 48, b / 36, c / 48, d / 36] for a, b, c, d in row["objects"]["bbox"]]


def as_records(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        boxes, categories = row["objects"].values()
        row["objects"] = [{"bbox": box, "category": label} for box, label in zip(boxes, categories, strict=True)]


def as_columns(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        boxes, categories = row.pop("objects").values()
        row |= {"bboxes": boxes, "labels": [CLASSES[label] for label in categories]}


def without_size(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        del row["width"], row["height"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ([], "left, top, right, bottom"),
        ([as_xywh], "left, top, width, height"),
        ([as_xywh, without_size], "left, top, width, height"),
        ([as_fractions], "left, top, right, bottom as fractions"),
        ([as_records], "left, top, right, bottom"),
        ([as_columns, without_size], "left, top, right, bottom"),
    ],
)
def test_the_forms_of_boxes_and_of_objects(changes: list[Any], said: str, tmp_path: Path) -> None:
    rows = parquet_rows(ALL)
    for change in changes:
        change(rows)
    put_parquet(tmp_path / "a.parquet", rows)
    assert recognize(tmp_path).description == f"Hugging Face Parquet (boxes: {said}): images 6"
    assert boxes_of(open_data(tmp_path)) == EXPECTED


def test_what_a_data_set_file_says_counts(tmp_path: Path) -> None:
    rows = parquet_rows(ALL)
    for row in rows:
        row["objects"]["bbox"] = [[(a + c) / 2, (b + d) / 2, c - a, d - b] for a, b, c, d in row["objects"]["bbox"]]
    put_parquet(tmp_path / "a.parquet", rows, names=None)
    described = "train: [{format: parquet, path: a.parquet, boxes: cxcywh%s}]\n"
    put(tmp_path / "a.yaml", described % ", names: [bolt, gear, nut]")
    assert boxes_of(open_data(tmp_path / "a.yaml")) == EXPECTED
    put(tmp_path / "b.yaml", described % "")
    with pytest.raises(IssueError, match="must name its classes, has indices alone"):
        open_data(tmp_path / "b.yaml")


def test_a_label_is_an_image_level_label(tmp_path: Path) -> None:
    put_parquet(
        tmp_path / "train.parquet", [{"image": {"bytes": encoded(n), "path": None}, "label": n} for n in (2, 0)]
    )
    put_parquet(tmp_path / "test.parquet", [{"image": {"bytes": encoded(5), "path": None}, "label": 7}])
    samples = list(open_data(tmp_path).samples())
    assert [(sample.name, sample.image_labels) for sample in samples] == [("0.png", (2,)), ("1.png", (0,))]
    (wrong,) = open_data(tmp_path, "test").annotations()
    assert (wrong.sample, [issue.code for issue in wrong.issues]) == (None, ["label-syntax"])


def test_what_is_wrong_with_a_row_is_an_issue_of_it(tmp_path: Path) -> None:
    rows = parquet_rows(ALL)
    rows[1]["image"] = {"bytes": None, "path": None}
    rows[2]["image"]["path"] = "part 0.png"  # there before: both are read
    rows[3]["objects"]["category"][0] = 9
    rows[4]["objects"] = {"bbox": [], "category": []}
    rows[5]["image"] = {"bytes": None, "path": "gone.png"}
    put_parquet(tmp_path / "a.parquet", rows)
    annotations = list(open_data(tmp_path).annotations())
    assert [[issue.code for issue in annotation.issues] for annotation in annotations] == [
        [], ["image-missing"], [], ["label-syntax"], [], ["image-missing"],
    ]  # fmt: skip
    names = [one.sample.name for one in annotations if one.sample is not None]
    assert names == ["part 0.png", "2-part 0.png", "part 3.png", "part 4.png"]


def test_a_damaged_file_is_an_error_and_leaves_nothing_behind(tmp_path: Path) -> None:
    put_parquet(tmp_path / "a.parquet", parquet_rows(ALL))
    data = (tmp_path / "a.parquet").read_bytes()
    (tmp_path / "a.parquet").write_bytes(data[:-40])
    with pytest.raises(IssueError, match="file-unreadable: must be a whole Parquet file"):
        open_data(tmp_path)


def test_without_the_extra_it_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    LAYOUTS["parquet"].write(tmp_path)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    monkeypatch.setattr("yolo9000.data.formats.parquet.find_spec", lambda name: None)
    with pytest.raises(EngineError, match=r'reading Parquet needs an extra: pip install "yolo9000\[parquet\]"'):
        open_data(tmp_path)


def test_a_table_without_images_is_not_taken_for_a_data_set(tmp_path: Path) -> None:
    put_parquet(tmp_path / "a.parquet", [{"text": "nut", "label": 1}])
    with opened(tmp_path / "a.parquet") as file:
        assert columns_of(file) is None
        assert list(rows_of(file, ["label"])) == [{"label": 1}]


def test_boxes_of_either_form_are_refused_until_the_user_says(tmp_path: Path) -> None:
    put_parquet(tmp_path / "a.parquet", parquet_rows([0]))  # (2, 3, 14, 12) in 48 x 36
    with pytest.raises(IssueError, match="boxes could be left, top, width, height or left, top, right, bottom"):
        open_data(tmp_path)
    put(tmp_path / "a.yaml", "train: [{format: parquet, path: a.parquet, boxes: xyxy}]\n")
    assert boxes_of(open_data(tmp_path / "a.yaml")) == EXPECTED[:1]
