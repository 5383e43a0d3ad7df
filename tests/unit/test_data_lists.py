"""Tables of image-level labels and of boxes, with and without a header."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from support.paths import shared

from yolo9000.data.formats.csv import ListColumns, read_class_table, read_list
from yolo9000.errors import ConfigError, DataError
from yolo9000.types import Annotation, ImageFile

CLASSES = ("cat", "dog", "ant")
LABELS = ListColumns(0, (1,))
MANY = ListColumns(0, (1,), rest=True)
INDEXED = ListColumns(0, (1,), indices=True)
BOXES = ListColumns("image", ("label",), ("x1", "y1", "x2", "y2"), difficult="difficult")
HEADER = "image,label,x1,y1,x2,y2,difficult\n"


@pytest.fixture(scope="module")
def images(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("lists")
    (folder / "deep").mkdir()
    for name in ("a.png", "b.png", "deep/c, d.png"):
        Image.new("RGB", (30, 20)).save(folder / name)
    (folder / "e.png").write_bytes(b"no image")
    return folder


def read(images: Path, text: str | bytes, columns: ListColumns, name: str = "list.csv") -> list[Annotation]:
    (images / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return list(read_list(images / name, images, CLASSES, columns))


def issues(annotations: list[Annotation]) -> list[tuple[str, str]]:
    """Code and line."""
    return [(issue.code, issue.where.rpartition(":")[2]) for item in annotations for issue in item.issues]


# --- image-level labels ---


def test_labels_without_a_header(images):
    annotations = read(images, 'a.png, dog\r\n\n"deep/c, d.png","cat"\n', LABELS)
    assert issues(annotations) == []
    first, second = (annotation.sample for annotation in annotations)
    assert (first.name, first.image_labels, first.boxes) == ("a.png", (1,), None)
    assert first.image == ImageFile(images / "a.png")
    assert first.where == f"{images}/list.csv:1"
    assert (second.name, second.image_labels, second.where) == ("deep/c, d.png", (0,), f"{images}/list.csv:3")


def test_labels_by_the_names_of_columns_and_tabs(images):
    text = 'class\tnote\tpath\ndog\t"x\ta.png\ncat\t\tdeep/c, d.png\n'
    annotations = read(images, text, ListColumns("path", ("class",)), "list.tsv")
    assert issues(annotations) == []
    assert [annotation.sample.image_labels for annotation in annotations] == [(1,), (0,)]


def test_labels_by_number_and_in_several_columns(images):
    annotations = read(images, "a.png,2,1\nb.png,0,0\n", ListColumns(0, (1, 2), indices=True))
    assert [annotation.sample.image_labels for annotation in annotations] == [(1, 2), (0,)]
    assert issues(annotations) == [("label-duplicate", "2")]


def test_rows_with_any_number_of_labels(images):
    annotations = read(images, "a.png,ant,cat,dog\nb.png,dog,,\n", MANY)
    assert issues(annotations) == []
    assert [annotation.sample.image_labels for annotation in annotations] == [(0, 1, 2), (1,)]


def test_rows_of_one_image_are_joined(images):
    annotations = read(images, "a.png,dog\na.png,cat\nb.png,ant\n", LABELS)
    assert issues(annotations) == []
    assert [annotation.sample.image_labels for annotation in annotations] == [(0, 1), (2,)]


@pytest.mark.parametrize(
    ("row", "code", "message"),
    [
        ("b.png,dogs", "class-unknown", "must be one of the 3 classes, got 'dogs' (did you mean 'dog'?)"),
        ("b.png,", "class-unknown", "must be one of the 3 classes, got ''"),
        ("b.png", "label-syntax", "must have 2 columns, as the first row, has 1"),
        ("b.png,dog,cat", "label-syntax", "must have 2 columns, as the first row, has 3"),
        (",dog", "label-syntax", "must name an image, names none"),
        ('"b.png,dog', "label-syntax", "must be cells between commas: unexpected end of data"),
        ('"b.png"x,dog', "label-syntax", "must be cells between commas: ',' expected after '\"'"),
        ("../b.png,dog", "path-outside", "must name a file in"),
        ("/b.png,dog", "path-outside", "must name a file in"),
        (".,dog", "path-outside", "must name a file in"),
        ("gone.png,dog", "image-missing", "gone.png must be there, is not"),
        ("deep,dog", "image-missing", "deep must be there, is not"),
        ("x" * 5000 + ",dog", "image-missing", "must be there, is not"),
    ],
)
def test_rows_of_labels_that_cannot_be_used(images, row, code, message):
    annotations = read(images, f"a.png,dog\n{row}\n", LABELS)
    assert [annotation.sample is None for annotation in annotations] == [False, True]
    (issue,) = annotations[1].issues
    assert (issue.code, issue.where) == (code, f"{images}/list.csv:2")
    assert message in issue.message


def test_one_of_several_labels_is_unknown(images):
    (annotation,) = read(images, "a.png,dog,bee\n", MANY)
    assert annotation.sample.image_labels == (1,)
    assert [(issue.code, issue.fixable) for issue in annotation.issues] == [("class-unknown", True)]
    (annotation,) = read(images, "a.png,wasp,bee\n", MANY)
    assert annotation.sample is None
    assert [(issue.code, issue.fixable) for issue in annotation.issues] == [("class-unknown", False)] * 2


def test_values_that_are_none(images):
    annotations = read(images, "a.png,3\nb.png,dog\n", INDEXED)
    assert issues(annotations) == [("class-unknown", "1"), ("label-syntax", "2")]


def test_rows_of_a_image_that_stand_apart_are_joined(images):
    annotations = read(images, "a.png,dog\nb.png,dog\na.png,cat\na.png,ant\n", LABELS)
    assert issues(annotations) == []
    assert [annotation.sample.image_labels for annotation in annotations] == [(0, 1, 2), (1,)]


# --- boxes ---


def test_boxes(images):
    rows = "a.png,dog,1,2,5.5,6,0\na.png,cat,0,0,30,20,1\nb.png,,,,,,\n"
    annotations = read(images, HEADER + rows, BOXES)
    assert issues(annotations) == []
    first, second = (annotation.sample for annotation in annotations)
    np.testing.assert_array_equal(first.boxes.boxes_xyxy, [[1, 2, 5.5, 6], [0, 0, 30, 20]])
    assert (first.boxes.labels.tolist(), first.boxes.difficult.tolist()) == ([1, 0], [False, True])
    assert (first.size_wh, first.where) == ((30, 20), f"{images}/list.csv:2")
    assert len(second.boxes) == 0


def test_the_last_pixel_inside(images):
    columns = ListColumns(0, (5,), (1, 2, 3, 4), inclusive=True)
    (annotation,) = read(images, "a.png\t0\t0\t29\t19\tdog\na.png\t3\t4\t3\t4\tdog\n", columns, "list.tsv")
    assert annotation.issues == ()
    np.testing.assert_array_equal(annotation.sample.boxes.boxes_xyxy, [[0, 0, 30, 20], [3, 4, 4, 5]])


@pytest.mark.parametrize(
    ("row", "code", "message"),
    [
        ("a.png,dog,1,2,3,,0", "label-syntax", "a box must be 4 numbers and 0 or 1, got ['1', '2', '3', '', '0']"),
        ("a.png,dog,1,2,3,x,0", "label-syntax", "a box must be 4 numbers and 0 or 1"),
        ("a.png,dog,1,2,3,4,2", "label-syntax", "a box must be 4 numbers and 0 or 1"),
        ("a.png,dog,1,2,3,4,", "label-syntax", "a box must be 4 numbers and 0 or 1"),
        ("a.png,dog,1,2,3,4", "label-syntax", "must have 7 columns, as the first row, has 6"),
        ("a.png,dog,,,,,", "label-syntax", "a box must be 4 numbers and 0 or 1"),
        ("a.png,,1,2,3,4,0", "class-unknown", "must be one of the 3 classes, got ''"),
        ("a.png,bee,1,2,3,4,0", "class-unknown", "must be one of the 3 classes, got 'bee'"),
        ("a.png,dog,1,nan,3,4,0", "box-nan", "got 1, nan, 3, 4"),
        ("a.png,dog,5,2,3,4,0", "box-inverted", "got 5, 2, 3, 4"),
        ("a.png,dog,3,2,3,4,0", "box-empty", "got 3, 2, 3, 4"),
        ("a.png,dog,31,2,33,4,0", "box-outside", "wholly outside: 31, 2, 33, 4"),
        ("a.png,ant,2,2,4,4,0", "box-duplicate", "must be there once"),
    ],
)
def test_rows_of_boxes_that_cannot_be_used(images, row, code, message):
    (annotation,) = read(images, f"{HEADER}a.png,ant,2,2,4,4,0\n{row}\n", BOXES)
    (issue,) = annotation.issues
    assert (issue.code, issue.where, issue.fixable) == (code, f"{images}/list.csv:3", True)
    assert message in issue.message
    assert annotation.sample.boxes.labels.tolist() == [2]


def test_a_box_list_without_the_column_difficult(images):
    columns = ListColumns(0, (1,), (2, 3, 4, 5))
    (annotation,) = read(images, "a.png,dog,1,2,3,4\na.png,dog,1,2,3,x\n", columns)
    assert len(annotation.sample.boxes) == 1
    assert annotation.issues[0].message == "a box must be 4 numbers, got ['1', '2', '3', 'x']"


def test_boxes_of_images_that_cannot_be_read(images):
    annotations = read(images, HEADER + "e.png,dog,1,2,3,4,0\ngone.png,dog,1,2,3,4,0\n", BOXES)
    assert issues(annotations) == [("image-unreadable", "2"), ("image-missing", "3")]


# --- tables that cannot be read ---


@pytest.mark.parametrize(
    ("text", "columns", "message"),
    [
        ("", LABELS, "list.csv: file-syntax: must hold rows, is empty"),
        ("\n \n", LABELS, "list.csv: file-syntax: must hold rows, is empty"),
        ("a.png\n", LABELS, "list.csv:1: file-syntax: must have one column 1, has the columns ['a.png']"),
        ("a.png,dog\n", ListColumns(0, (-1,)), "must have one column -1"),
        ("image,label\n", BOXES, "must have one column 'x1', has the columns ['image', 'label']"),
        ("a,b,b\n", ListColumns("a", ("b",)), "must have one column 'b', has the columns ['a', 'b', 'b']"),
        ('"a.png,dog\n', LABELS, "list.csv:1: label-syntax: must be cells between commas"),
        (b"a.png,dog\n\xff,dog\n", LABELS, "list.csv:2: file-unreadable: must be UTF-8 text"),
        (b"a.png,dog\n\0,dog\n", LABELS, "list.csv:2: file-unreadable: must be UTF-8 text"),
    ],
)
def test_tables_that_cannot_be_understood(images, text, columns, message):
    with pytest.raises(DataError) as error:
        read(images, text, columns)
    assert message in str(error.value)


def test_a_header_alone_is_a_table_without_images(images):
    assert read(images, HEADER, BOXES) == []


@pytest.mark.parametrize(
    "columns",
    [
        {"image": 0, "labels": ("a",)},
        {"image": "a", "labels": ()},
        {"image": 0, "labels": (1, 2), "box": (3, 4, 5, 6)},
        {"image": 0, "labels": (1,), "box": (3, 4, 5, 6), "rest": True},
        {"image": 0, "labels": (1,), "difficult": "difficult"},
    ],
)
def test_columns_that_make_no_sense(columns):
    with pytest.raises(ConfigError):
        ListColumns(**columns)


# --- tables of classes ---


def test_a_table_of_classes(tmp_path):
    (tmp_path / "c.csv").write_text("name,id,coarse,coarse id\nb,1,x,0\na,0,x,0\nc,2,y,1\n")
    assert read_class_table(tmp_path / "c.csv", "id", "name") == ("a", "b", "c")
    assert read_class_table(tmp_path / "c.csv", "coarse id", "coarse") == ("x", "y")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0,a\n0,b\n", "c.csv:2: class-duplicate: class 0 must have one name, got 'b', had 'a'"),
        ("0,a\n1,\n", "c.csv:2: class-duplicate: class 1 must have one name, got ''"),
        ("0,a\n1,a\n", "c.csv: class-duplicate: a class must be named once, 'a' is class 0 and class 1"),
        ("0,a\n2,b\n", "c.csv: file-syntax: the numbers of classes must be 0 to 1 without gaps"),
        ("0,a\nx,b\n", "c.csv:2: label-syntax: a class must be a whole number"),
        ("0,a\n1\n", "c.csv:2: label-syntax: must have 2 columns"),
        ("", "c.csv: file-syntax: must hold rows"),
    ],
)
def test_tables_of_classes_that_cannot_be_used(tmp_path, text, message):
    (tmp_path / "c.csv").write_text(text)
    with pytest.raises(DataError) as error:
        read_class_table(tmp_path / "c.csv", 0, 1)
    assert message in str(error.value)


# --- damage at random ---

CELLS = st.sampled_from(
    ["a.png", "b.png", "gone.png", "dog", "cat", "bee", "", "1", "7", "nan", "-3", '"', '"x"', "../a"]
)
ROWS = st.lists(CELLS, max_size=8).map(",".join) | st.text(max_size=9).filter(lambda text: "\n" not in text)


@settings(max_examples=300, deadline=None)
@given(rows=st.lists(ROWS, max_size=6), boxed=st.booleans())
def test_every_row_is_used_or_reported(images, rows, boxed):
    first = HEADER if boxed else "a.png,ant\n"
    text = (first + "\n".join(rows)).encode("utf-8", "surrogatepass")
    try:
        annotations = read(images, text, BOXES if boxed else LABELS)
    except DataError as error:
        message = str(error)
    else:
        message = ""
    if message:
        assert "file-unreadable" in message
        return
    seen = set()
    for annotation in annotations:
        assert annotation.sample is not None or annotation.issues
        if annotation.sample is not None:
            assert annotation.sample.name not in seen
            seen.add(annotation.sample.name)
    samples = [annotation.sample for annotation in annotations if annotation.sample]
    boxes = sum(len(sample.boxes) for sample in samples if sample.boxes is not None)
    labels = sum(len(sample.image_labels) for sample in samples)
    empty = sum(row.strip(" ,") in ("a.png", "b.png") for row in rows)
    lost = [annotation for annotation in annotations if annotation.sample is None]
    if not lost:
        assert boxes + labels + len(issues(annotations)) + empty >= sum(bool(row.strip()) for row in rows)


# --- real data ---


def test_real_data_without_a_header():
    root = shared("data", "groceries-labels")
    fine = read_class_table(root / "classes.csv", "Class ID (int)", "Class Name (str)")
    coarse = read_class_table(root / "classes.csv", "Coarse Class ID (int)", "Coarse Class Name (str)")
    assert (len(fine), fine[0], fine[80]) == (81, "Golden-Delicious", "Zucchini")
    assert len(coarse) == 43
    for split, count in [("train", 2640), ("val", 296)]:
        for column, classes in [(1, fine), (2, coarse)]:
            columns = ListColumns(0, (column,), indices=True)
            annotations = list(read_list(root / f"{split}.txt", root, classes, columns))
            assert issues(annotations) == []
            assert len(annotations) == count
            named = annotations[-1].sample
            assert classes[named.image_labels[0]] in named.name
