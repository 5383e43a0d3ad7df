"""COCO: ids with gaps, crowds, areas; files read piece by piece; and pycocotools as the judge of both directions."""

import contextlib
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pycocotools import coco as official_coco
from support.paths import shared

from yolo9000.data import json_stream as coco
from yolo9000.data.formats.coco import category_ids, coco_classes, read_coco, write_coco
from yolo9000.data.label_files import read_label_files
from yolo9000.errors import DataError
from yolo9000.taxonomy.class_names import COCO, COCO_CATEGORY_IDS
from yolo9000.types import Annotation, BoxAnnotations, ImageFile, Sample

GOOD: dict[str, Any] = {
    "info": {"year": 2017, "note": [1.5e3, None, {"a": "]}"}]},
    "images": [
        {"id": 7, "file_name": "a.png", "width": 30, "height": 20},
        {"id": 3, "file_name": "deep/b.png", "width": 30, "height": 20},
        {"id": 9, "file_name": "c.png"},
    ],
    "annotations": [
        {"id": 1, "image_id": 3, "category_id": 18, "bbox": [1, 2, 3.5, 4], "area": 5.5, "iscrowd": 0},
        {"id": 2, "image_id": 7, "category_id": 1, "bbox": [0, 0, 30, 20], "area": 600, "iscrowd": 1},
        {"id": 3, "image_id": 3, "category_id": 1, "bbox": [5, 6, 7, 8], "segmentation": [[5, 6, 12, 6, 12, 14]]},
        {"id": 4, "image_id": 3, "category_id": 1, "bbox": [0, 0, 2, 2], "ignore": 1},
    ],
    "categories": [{"id": 18, "name": "dog", "supercategory": "animal"}, {"id": 1, "name": "person"}],
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("coco")
    (folder / "deep").mkdir()
    for name in ("a.png", "deep/b.png", "c.png"):
        Image.new("RGB", (30, 20)).save(folder / name)
    return folder


def read(folder: Path, record: object, classes: tuple[str, ...] | None = None) -> list[Annotation]:
    file = folder / "gt.json"
    file.write_text(record if isinstance(record, str) else json.dumps(record))
    return list(read_coco(file, folder, classes))


def changed(part: str, position: int, **values: object) -> dict[str, Any]:
    """GOOD with some values of one element changed; those that are `...` deleted."""
    record = json.loads(json.dumps(GOOD))
    record[part][position] |= values
    record[part][position] = {key: value for key, value in record[part][position].items() if value is not ...}
    return record


def codes(annotations: list[Annotation]) -> list[str]:
    return [issue.code for annotation in annotations for issue in annotation.issues]


def only_issue(annotations: list[Annotation]):
    (issue,) = [issue for annotation in annotations for issue in annotation.issues]
    assert issue.where.startswith(str(annotations[0].sample.image.path.parent) if annotations[0].sample else "/")
    return issue


def test_images_in_the_order_of_the_file(folder):
    annotations = read(folder, GOOD)
    assert codes(annotations) == []
    a, b, c = (annotation.sample for annotation in annotations)
    assert [(sample.name, sample.image_id) for sample in (a, b, c)] == [("a.png", 7), ("deep/b.png", 3), ("c.png", 9)]
    assert all(sample.size_wh == (30, 20) for sample in (a, b, c))
    assert b.image == ImageFile(folder / "deep" / "b.png")
    assert a.where == f"{folder}/gt.json: images[0]"
    np.testing.assert_array_equal(a.boxes.boxes_xyxy, [[0, 0, 30, 20]])
    assert (a.boxes.labels.tolist(), a.boxes.crowd.tolist(), a.boxes.areas.tolist()) == ([0], [True], [600])
    np.testing.assert_array_equal(b.boxes.boxes_xyxy, [[1, 2, 4.5, 6], [5, 6, 12, 14], [0, 0, 2, 2]])
    assert b.boxes.labels.tolist() == [1, 0, 0]
    assert b.boxes.areas.tolist() == [5.5, 56, 4]  # as the file has it, else 7 x 8 and 2 x 2
    assert b.boxes.difficult.tolist() == [False, False, True]
    assert b.boxes.crowd.tolist() == [False, False, False]
    assert c.boxes is not None
    assert len(c.boxes) == 0


def test_classes_are_in_the_order_of_their_ids(folder):
    read(folder, GOOD)
    file = folder / "gt.json"
    assert coco_classes(file) == ("person", "dog")
    assert category_ids(file) == {0: 1, 1: 18}
    assert category_ids(file, ("cat", "dog")) == {1: 18}


def test_classes_of_the_user(folder):
    annotations = read(folder, GOOD, ("dog",))
    assert annotations[1].sample.boxes.labels.tolist() == [0]
    assert codes(annotations) == ["class-unknown"] * 3


def test_the_80_classes_have_90_ids_and_darknet_calls_six_of_them_otherwise(folder):
    assert list(COCO_CATEGORY_IDS.values())[:12] == [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 13]
    names = {"motorbike": "motorcycle", "aeroplane": "airplane", "sofa": "couch", "tvmonitor": "tv"}
    names |= {"pottedplant": "potted plant", "diningtable": "dining table"}
    official = [{"id": COCO_CATEGORY_IDS[label], "name": names.get(name, name)} for label, name in enumerate(COCO)]
    record = GOOD | {"categories": official[::-1]}
    record["annotations"] = [GOOD["annotations"][0] | {"category_id": identity} for identity in (4, 90)]
    record["annotations"][1] |= {"id": 2, "bbox": [1, 1, 2, 2]}
    annotations = read(folder, record, COCO)
    assert codes(annotations) == []
    assert annotations[1].sample.boxes.labels.tolist() == [COCO.index("motorbike"), 79]
    assert category_ids(folder / "gt.json", COCO) == COCO_CATEGORY_IDS == category_ids(folder / "gt.json")
    out = folder / "out.json"
    for classes in (COCO, coco_classes(folder / "gt.json")):
        write_coco(out, [annotations[1].sample], classes)
        written = json.loads(out.read_text())
        assert [category["id"] for category in written["categories"]] == list(COCO_CATEGORY_IDS.values())
        assert [category["name"] for category in written["categories"]] == list(classes)
        assert [record["category_id"] for record in written["annotations"]] == [4, 90]


# --- issues ---


@pytest.mark.parametrize(
    ("values", "code", "message"),
    [
        ({"bbox": ...}, "label-syntax", "bbox must be [left, top, width, height] in numbers, got None"),
        ({"bbox": [1, 2, 3]}, "label-syntax", "bbox must be [left, top, width, height] in numbers, got [1, 2, 3]"),
        ({"bbox": [1, 2, "3", 4]}, "label-syntax", "got [1, 2, '3', 4]"),
        ({"bbox": [1, 2, True, 4]}, "label-syntax", "got [1, 2, True, 4]"),
        ({"bbox": [1, float("nan"), 3, 4]}, "box-nan", "a box must have finite sides, got bbox [1, nan, 3, 4]"),
        ({"bbox": [1, 2, 1e308, 10**400]}, "box-nan", "got bbox [1, 2, 1e+308, inf]"),
        ({"bbox": [1, 2, -3, 4]}, "box-inverted", "got bbox [1, 2, -3, 4]"),
        ({"bbox": [1, 2, 0, 4]}, "box-empty", "got bbox [1, 2, 0, 4]"),
        ({"bbox": [31, 2, 3, 4]}, "box-outside", "is wholly outside: bbox [31, 2, 3, 4]"),
        ({"category_id": 2}, "class-unknown", "category_id must be that of a category, got 2"),
        ({"category_id": "1"}, "label-syntax", "must be an object with whole numbers as image_id and category_id"),
        ({"category_id": ...}, "label-syntax", "must be an object with whole numbers as image_id and category_id"),
        ({"image_id": 1.5}, "label-syntax", "must be an object with whole numbers as image_id and category_id"),
        ({"image_id": 1 << 60}, "label-syntax", "must be an object with whole numbers as image_id and category_id"),
        ({"image_id": 4}, "id-unknown", "image_id must be that of an image, got 4"),
    ],
)
def test_objects_that_are_left_out(folder, values, code, message):
    annotations = read(folder, changed("annotations", 0, **values))
    issue = only_issue(annotations)
    assert (issue.code, issue.where) == (code, f"{folder}/gt.json: annotations[0]")
    assert message in issue.message
    assert issue.fixable
    by_name = {annotation.sample.name: annotation.sample for annotation in annotations if annotation.sample}
    assert len(by_name) == 3
    assert by_name["deep/b.png"].boxes.labels.tolist() == [0, 0]


@pytest.mark.parametrize(
    ("values", "code", "message", "kept"),
    [
        ({"iscrowd": 2}, "label-syntax", "iscrowd must be 0 or 1, got 2", [1, 2, 4.5, 6]),
        ({"iscrowd": "0"}, "label-syntax", "iscrowd must be 0 or 1, got '0'", [1, 2, 4.5, 6]),
        ({"ignore": "no"}, "label-syntax", "ignore must be 0 or 1, got 'no'", [1, 2, 4.5, 6]),
        ({"area": "5"}, "label-syntax", "area must be a number, got '5'", [1, 2, 4.5, 6]),
        ({"area": -3}, "area-wrong", "an area must be 0 to that of the image, 600, got -3", [1, 2, 4.5, 6]),
        ({"area": float("nan")}, "area-wrong", "an area must be 0 to that of the image, 600", [1, 2, 4.5, 6]),
        ({"bbox": [1, 2, 99, 4]}, "box-outside", "is partly outside: bbox [1, 2, 99, 4]", [1, 2, 30, 6]),
        ({"id": 3}, "id-duplicate", "an object's id must be there once, 3 was there before", [1, 2, 4.5, 6]),
    ],
)
def test_objects_that_are_fixed(folder, values, code, message, kept):
    annotations = read(folder, changed("annotations", 0, **values))
    issue = only_issue(annotations)
    assert (issue.code, issue.fixable) == (code, True)
    assert message in issue.message
    boxes = annotations[1].sample.boxes
    assert boxes.boxes_xyxy[0].tolist() == kept
    assert not boxes.crowd[0]
    assert len(boxes) == 3
    if "area" in values:
        assert boxes.areas[0] == 14  # 3.5 x 4


def test_objects_without_id_are_no_issue(folder):
    assert codes(read(folder, changed("annotations", 0, id=...))) == []


@pytest.mark.parametrize(
    ("values", "code", "message"),
    [
        ({"id": "7"}, "label-syntax", "must be an image with a whole number as id and a file_name"),
        ({"id": None}, "label-syntax", "must be an image with a whole number as id and a file_name"),
        ({"file_name": 5}, "label-syntax", "must be an image with a whole number as id and a file_name"),
        ({"id": 3}, "id-duplicate", "an image's id must be there once, 3 was there before"),
        ({"file_name": "../a.png"}, "path-outside", "must name a file in"),
        ({"file_name": "/etc/passwd"}, "path-outside", "must name a file in"),
        ({"file_name": ""}, "path-outside", "must name a file in"),
        ({"file_name": "gone.png"}, "image-missing", "must be there, is not"),
        ({"file_name": "a\x00.png"}, "image-missing", "a\\x00.png must be there, is not"),
        ({"file_name": "\ud800"}, "image-missing", "\\ud800 must be there, is not"),
        ({"file_name": "x" * 5000}, "image-missing", "must be there, is not"),
        ({"file_name": "gt.json"}, "image-unreadable", "must be a JPEG"),
        ({"file_name": "deep/../a.png"}, "path-outside", "must name a file in"),
        ({"file_name": "./deep/b.png"}, "image-duplicate", "'./deep/b.png' was there before"),
        ({"width": 20, "height": 30}, "size-wrong", "30 x 20, declares 20 x 30"),
        ({"width": 60, "height": 40}, "size-wrong", "30 x 20, declares 60 x 40"),
    ],
)
def test_images_that_cannot_be_used(folder, values, code, message):
    annotations = read(folder, changed("images", 2, **values))
    issue = only_issue(annotations)
    assert issue.code == code
    assert issue.where.startswith(f"{folder}/gt.json: images[2]")
    assert message in issue.message
    assert not issue.fixable or code == "image-duplicate"
    assert sum(annotation.sample is not None for annotation in annotations) == 2


@pytest.mark.parametrize("values", [{"width": 0, "height": 0}, {"width": "30"}, {"width": None, "height": 20.0}])
def test_images_without_a_size_are_measured(folder, values):
    annotations = read(folder, changed("images", 2, **values))
    issue = only_issue(annotations)
    assert (issue.code, issue.fixable) == ("size-wrong", True)
    assert annotations[2].sample.size_wh == (30, 20)


def test_an_absolute_name_inside_the_folder(folder):
    annotations = read(folder, changed("images", 2, file_name=str(folder / "c.png")))
    assert codes(annotations) == []


def test_objects_of_an_image_that_is_left_out_are_reported(folder):
    annotations = read(folder, changed("images", 1, id="x"))
    assert codes(annotations) == ["label-syntax", "id-unknown", "id-unknown", "id-unknown"]


@pytest.mark.parametrize(
    ("values", "code", "message"),
    [
        ({"id": "18"}, "file-syntax", r"categories\[0\].*must be a category with a whole number as id and a name"),
        ({"name": ""}, "file-syntax", r"categories\[0\].*must be a category with a whole number as id and a name"),
        ({"name": 5}, "file-syntax", r"categories\[0\].*must be a category with a whole number as id and a name"),
        ({"id": 1}, "id-duplicate", r"categories\[1\].*a category's id must be there once, 1 was there before"),
        ({"name": "person"}, "class-duplicate", r"categories\[1\].*must be named once, 'person' was there before"),
    ],
)
def test_categories_that_cannot_be_used(folder, values, code, message):
    with pytest.raises(DataError, match=message) as error:
        read(folder, changed("categories", 0, **values))
    assert code in str(error.value)
    with pytest.raises(DataError, match=message):
        coco_classes(folder / "gt.json")


# --- JSON, piece by piece ---


@pytest.mark.parametrize("chunk", [1, 2, 3, 7, 64, 1 << 20])
@pytest.mark.parametrize("indent", [None, 2])
def test_any_size_of_pieces_gives_the_same(folder, monkeypatch, chunk, indent):
    expected = read(folder, GOOD)
    monkeypatch.setattr(coco, "_CHUNK", chunk)
    annotations = read(folder, json.dumps(dict(reversed(GOOD.items())), indent=indent))
    assert [annotation.sample.name for annotation in annotations] == [item.sample.name for item in expected]
    for item, other in zip(annotations, expected, strict=True):
        np.testing.assert_array_equal(item.sample.boxes.boxes_xyxy, other.sample.boxes.boxes_xyxy)


@pytest.mark.parametrize("chunk", [1, 5, 1 << 20])
@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("", 1, "must hold an object with the lists images, annotations, categories, got the end"),
        ("[]", 1, "must hold an object with the lists images, annotations, categories, got '[]'"),
        ("{", 1, "must hold a name, got the end"),
        ("{}", 1, "the lists images, annotations, categories, images, annotations, categories missing"),
        ('{"images": [], "annotations": []}', 1, "categories missing"),
        ('{"images": {}}', 1, "must hold a list of images, got '{}}'"),
        ('{"images": [],\n"images": []}', 2, "must hold 'images' once"),
        ('{"images": [],}', 1, "must hold a name after the comma"),
        ('{"images": [1,]}', 1, "must hold an element after the comma"),
        ('{"images": [1 2]}', 1, "must hold a comma or a closing bracket, got '2]}'"),
        ('{"images": [] "x": 1}', 1, "must hold a comma or a closing brace"),
        ('{"images" []}', 1, "must hold a colon"),
        ("{5: 1}", 1, "must hold a name, got '5: 1}'"),
        ('{"info":\n\nwhat}', 3, "must hold JSON (expecting value), got 'what}'"),
        ('{"info": "cut', 1, "must hold JSON (unterminated string starting at)"),
        ('{"images": [{"id": 1', 1, "must hold JSON"),
        ('{"images": [' + "[" * 200000, 1, "must hold JSON that is neither nested so deeply"),
        ('{"images": [' + "1" * 5000 + "]}", 1, "nor has such long numbers"),
        ('{"images": [], "annotations": [], "categories": []} x', 1, "must hold nothing after the object, got 'x'"),
    ],
)
def test_files_that_cannot_be_understood(folder, monkeypatch, chunk, text, line, message):
    if chunk < 5 and len(text) > 1000:
        chunk = 500
    monkeypatch.setattr(coco, "_CHUNK", chunk)
    with pytest.raises(DataError) as error:
        read(folder, text)
    assert str(error.value).startswith(f"{folder}/gt.json:{line}: file-syntax: ")
    assert message.partition(", got")[0] in str(error.value)
    assert "\n" not in str(error.value)


def test_an_element_without_end_is_not_read_to_the_end_of_the_file(folder, monkeypatch):
    monkeypatch.setattr(coco, "_CHUNK", 10)
    monkeypatch.setattr(coco, "_LARGEST_VALUE", 200)
    with pytest.raises(DataError, match=r"must hold JSON .*, got '[1, ]+"):
        read(folder, '{"images": [{"a": [' + "1, " * 10**5)
    assert codes(read(folder, GOOD)) == []


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(DataError, match="file-unreadable: must be a file that can be read"):
        coco_classes(tmp_path)
    (tmp_path / "a.json").write_bytes(b'{"images": ["\xff')
    with pytest.raises(DataError, match="file-unreadable: must be UTF-8 text, holds other bytes"):
        coco_classes(tmp_path / "a.json")


def test_a_byte_order_mark(folder):
    assert codes(read(folder, "\ufeff" + json.dumps(GOOD))) == []


# --- writing ---


def test_what_is_written_is_read_and_what_pycocotools_reads(folder):
    samples = [annotation.sample for annotation in read(folder, GOOD)]
    out = folder / "out.json"
    write_coco(out, iter(samples), ("person", "dog"))
    assert sorted(path.name for path in folder.iterdir() if "part" in path.name or "tmp" in path.name) == []
    again = list(read_coco(out, folder))
    assert codes(again) == []
    for new, old in zip((annotation.sample for annotation in again), samples, strict=True):
        assert (new.name, new.image_id, new.size_wh) == (old.name, old.image_id, old.size_wh)
        for key, value in vars(old.boxes).items():
            np.testing.assert_array_equal(getattr(new.boxes, key), value, err_msg=key)
    with contextlib.redirect_stdout(io.StringIO()):
        official = official_coco.COCO(str(out))
    assert official.getCatIds() == [1, 2]
    assert [official.anns[number]["bbox"] for number in (1, 2)] == [[0, 0, 30, 20], [1, 2, 3.5, 4]]
    assert len(official.getAnnIds(imgIds=[3], iscrowd=False)) == 3
    assert len(official.getAnnIds(imgIds=[7], iscrowd=True)) == 1


def sample_of(folder: Path, name: str, image_id: int | None = None, **values: object) -> Sample:
    boxes = BoxAnnotations.plain(np.array([[1, 2, 3, 4]], np.float32), np.array([0]))
    return Sample(name, ImageFile(folder / "a.png"), name, image_id=image_id, **({"boxes": boxes} | values))


def test_images_without_id_get_one_that_is_free(folder):
    out = folder / "out.json"
    write_coco(out, [sample_of(folder, name, number) for name, number in [("a", 2), ("b", None), ("c", None)]], ("x",))
    record = json.loads(out.read_text())
    assert [image["id"] for image in record["images"]] == [2, 1, 3]
    assert [item["image_id"] for item in record["annotations"]] == [2, 1, 3]
    assert record["images"][0] == {"id": 2, "file_name": "a", "width": 30, "height": 20}


@pytest.mark.parametrize("samples", [[], ["no boxes"]])
def test_a_data_set_without_images_or_objects(folder, samples):
    nothing = BoxAnnotations.plain(np.zeros((0, 4), np.float32), np.zeros(0, np.int64))
    out = folder / "out.json"
    write_coco(out, [sample_of(folder, "a.png", boxes=nothing) for _ in samples], ("x", "y"))
    annotations = list(read_coco(out, folder))
    assert [len(annotation.sample.boxes) for annotation in annotations] == [0] * len(samples)
    assert coco_classes(out) == ("x", "y")


def test_what_cannot_be_written(folder):
    out = folder / "new.json"
    with pytest.raises(DataError, match="an image id of its own, 5 was there before"):
        write_coco(out, [sample_of(folder, "a", 5), sample_of(folder, "b", 5)], ("x",))
    with pytest.raises(DataError, match="must have boxes to be written as COCO"):
        write_coco(out, [sample_of(folder, "a", boxes=None)], ("x",))
    with pytest.raises(DataError, match=r"cannot be written: No such file"):
        write_coco(folder / "none" / "new.json", [], ("x",))
    assert not out.exists()
    assert not out.with_name("new.json.part").exists()


# --- damage at random ---

TEXT = json.dumps(GOOD)
TOKENS = [*'{}[],:"-0 ', "NaN", "1e999", "null", "true", "18", '"id"', "\\ud800", "9" * 30]


@settings(max_examples=400, deadline=None)
@given(st.lists(st.tuples(st.integers(0, len(TEXT)), st.integers(0, 6), st.sampled_from(TOKENS)), max_size=4))
def test_damaged_files_are_reported(folder, edits):
    text = TEXT
    for position, length, token in edits:
        text = text[:position] + token + text[position + length :]
    annotations, message = [], None
    try:
        annotations = read(folder, text)
    except DataError as error:
        message = str(error)
    if message is not None:
        assert "\n" not in message
        assert ": file-syntax: " in message or "-duplicate: " in message
        return
    record = json.loads(text)
    samples = [annotation.sample for annotation in annotations if annotation.sample]
    issues = [issue for annotation in annotations for issue in annotation.issues]
    assert len(samples) <= len(record["images"]) <= len(samples) + len(issues)
    boxes = sum(len(sample.boxes) for sample in samples)
    lost = [issue for issue in issues if issue.code.startswith(("image", "size", "path"))]
    assert boxes <= len(record["annotations"]) <= boxes + len(issues) + 3 * len(lost)


VALUES = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3) | st.lists(st.floats(), max_size=5)
)
KEYS = st.sampled_from(["id", "image_id", "category_id", "bbox", "area", "iscrowd", "ignore", "file_name", "width"])
ELEMENTS = VALUES | st.dictionaries(KEYS, VALUES | st.integers(0, 20), max_size=7)


@settings(max_examples=200, deadline=None)
@given(images=st.lists(ELEMENTS, max_size=3), objects=st.lists(ELEMENTS, max_size=4))
def test_every_strange_image_and_object_is_reported(folder, images, objects):
    record = GOOD | {"images": GOOD["images"] + images, "annotations": GOOD["annotations"] + objects}
    annotations = read(folder, record)
    samples = [annotation.sample for annotation in annotations if annotation.sample]
    issues = [issue for annotation in annotations for issue in annotation.issues]
    assert [sample.name for sample in samples] == ["a.png", "deep/b.png", "c.png"]
    by_element = {issue.where.partition(": ")[2] for issue in issues}
    assert {f"images[{3 + number}]" for number in range(len(images))} <= by_element
    boxes = sum(len(sample.boxes) for sample in samples)
    assert boxes + len(issues) >= 4 + len(images) + len(objects)


# --- real data ---


def test_real_data_by_way_of_darknet(tmp_path):
    root = shared("data", "coco128")
    classes = (root / "classes.txt").read_text().split("\n")[:80]
    samples = [item.sample for item in read_label_files([root / "images" / "train2017"], classes) if item.sample]
    write_coco(tmp_path / "gt.json", samples, classes)
    annotations = list(read_coco(tmp_path / "gt.json", root))
    assert codes(annotations) == []
    assert sum(len(annotation.sample.boxes) for annotation in annotations) == 929
    for new, old in zip(annotations, samples, strict=True):
        np.testing.assert_array_equal(new.sample.boxes.boxes_xyxy, old.boxes.boxes_xyxy)
        np.testing.assert_array_equal(new.sample.boxes.labels, old.boxes.labels)
