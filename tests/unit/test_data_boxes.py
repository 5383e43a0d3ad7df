"""Which boxes can be used, what is reported of the others, and the images that samples point to."""

import io
import math
import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from yolo9000.data.images import copy_image, image_size, load_image, read_image_file
from yolo9000.data.issues import IssueError, RawBox, make_boxes, make_issue, one_line, shown
from yolo9000.errors import DataError
from yolo9000.types import ImageFile

SIZE = (30, 20)


def raw(left: float, top: float, right: float, bottom: float, label: int = 2, **marks: object) -> RawBox:
    return RawBox(label, left, top, right, bottom, "a.txt:1", f"{left:g} {top:g} {right:g} {bottom:g}", **marks)


def only_issue(*rows: RawBox):
    boxes, (issue,) = make_boxes(rows, SIZE)
    return boxes, issue


def test_good_boxes_come_out_as_they_are():
    rows = [raw(0, 0, 30, 20), raw(1.5, 2, 4, 6, label=0, difficult=True), raw(5, 5, 9, 7, crowd=True, area=3)]
    boxes, issues = make_boxes(rows, SIZE)
    assert issues == []
    np.testing.assert_array_equal(boxes.boxes_xyxy, [[0, 0, 30, 20], [1.5, 2, 4, 6], [5, 5, 9, 7]])
    assert boxes.boxes_xyxy.dtype == np.float32
    assert boxes.labels.tolist() == [2, 0, 2]
    assert boxes.difficult.tolist() == [False, True, False]
    assert boxes.crowd.tolist() == [False, False, True]
    assert boxes.areas.tolist() == [600, 10, 3]  # 30 x 20, 2.5 x 4, and that of the outline


def test_no_boxes():
    boxes, issues = make_boxes([], SIZE)
    assert len(boxes) == 0
    assert boxes.boxes_xyxy.shape == (0, 4)
    assert issues == []


@pytest.mark.parametrize(
    ("row", "code", "message"),
    [
        (raw(1, math.nan, 3, 4), "box-nan", "a box must have finite sides, got 1 nan 3 4"),
        (raw(1, 2, math.inf, 4), "box-nan", "a box must have finite sides, got 1 2 inf 4"),
        (raw(9, 2, 3, 4), "box-inverted", "a box must end right of and below its begin, got 9 2 3 4"),
        (raw(1, 9, 3, 4), "box-inverted", "a box must end right of and below its begin, got 1 9 3 4"),
        (raw(3, 2, 3, 4), "box-empty", "a box must have a width and a height, got 3 2 3 4"),
        (raw(1, 4, 3, 4), "box-empty", "a box must have a width and a height, got 1 4 3 4"),
        (raw(5, 5, 5, 5), "box-empty", "a box must have a width and a height, got 5 5 5 5"),
        (raw(9, 5, 9 + 1e-9, 8), "box-empty", "a box must have a width and a height, got 9 5 9 8"),
        (raw(30, 2, 33, 4), "box-outside", "a box must lie in its image, 30 x 20, is wholly outside: 30 2 33 4"),
        (raw(-9, 2, 0, 4), "box-outside", "a box must lie in its image, 30 x 20, is wholly outside: -9 2 0 4"),
        (raw(1, 20.1, 3, 44), "box-outside", "a box must lie in its image, 30 x 20, is wholly outside: 1 20.1 3 44"),
        (raw(1, -4, 3, -1), "box-outside", "a box must lie in its image, 30 x 20, is wholly outside: 1 -4 3 -1"),
    ],
)
def test_boxes_that_are_left_out(row, code, message):
    boxes, issue = only_issue(row)
    assert len(boxes) == 0
    assert (issue.code, issue.where, issue.message) == (code, "a.txt:1", message)
    assert issue.suggestion
    assert issue.fixable


@pytest.mark.parametrize(
    ("row", "clipped"),
    [
        (raw(-1, 2, 3, 4), [0, 2, 3, 4]),
        (raw(1, 2, 31, 4), [1, 2, 30, 4]),
        (raw(1, 2, 3, 20.75), [1, 2, 3, 20]),
        (raw(-1e300, -5, 1e308, 1e300), [0, 0, 30, 20]),
    ],
)
def test_boxes_that_stick_out_are_clipped(row, clipped):
    boxes, issue = only_issue(row)
    np.testing.assert_array_equal(boxes.boxes_xyxy, [clipped])
    assert boxes.areas[0] == (clipped[2] - clipped[0]) * (clipped[3] - clipped[1])
    assert issue.code == "box-outside"
    assert "partly outside" in issue.message


def test_half_a_pixel_is_rounding():
    boxes, issues = make_boxes([raw(-0.5, -0.5, 30.5, 20.5)], SIZE)
    assert issues == []
    np.testing.assert_array_equal(boxes.boxes_xyxy, [[0, 0, 30, 20]])


def test_a_box_that_is_there_twice():
    again = raw(1, 2, 3, 4)._replace(where="a.txt:7")
    boxes, issue = only_issue(raw(1, 2, 3, 4), raw(1, 2, 3, 4, label=1), again, raw(1, 2, 3, 5))
    assert boxes.labels.tolist() == [2, 1, 2]
    assert str(issue) == "a.txt:7: box-duplicate: must be there once, is the same as a.txt:1"


def test_a_box_that_is_clipped_to_another():
    boxes, issues = make_boxes([raw(20, 2, 30, 4), raw(20, 2, 40, 4)], SIZE)
    assert len(boxes) == 1
    assert [issue.code for issue in issues] == ["box-outside", "box-duplicate"]


@pytest.mark.parametrize("area", [-1.0, 601.0, math.nan, math.inf])
def test_an_area_that_cannot_be(area):
    boxes, issue = only_issue(raw(1, 2, 3, 6, area=area))
    assert issue.code == "area-wrong"
    assert issue.message == f"an area must be 0 to that of the image, 600, got {area:g}"
    assert boxes.areas.tolist() == [8]  # 2 x 4


def test_the_smallest_and_the_largest_area():
    boxes, issues = make_boxes([raw(1, 2, 3, 6, area=0), raw(0, 0, 30, 20, area=600)], SIZE)
    assert boxes.areas.tolist() == [0, 600]
    assert issues == []


def test_boxes_within_the_first_pixel_are_fractions():
    rows = [raw(0.1, 0.2, 0.5, 0.9), raw(0, 0, 1, 1)]
    with pytest.raises(IssueError, match="box-fractions: boxes must be in pixels, all 2 lie within the first one"):
        make_boxes(rows, SIZE)
    boxes, issues = make_boxes([*rows, raw(1, 1, 3, 4)], SIZE)
    assert (len(boxes), issues) == (3, [])
    boxes, issues = make_boxes([raw(0, 0, 1, 1)], SIZE)  # a pixel, in whole numbers
    assert (len(boxes), issues) == (1, [])


@pytest.mark.parametrize(
    ("rows", "hint"),
    [
        # 30 x 20: [20, 10, 9 + 20, 9 + 10] fits, [20, 10, 29 + 20, 19 + 10] does not
        ([raw(20, 10, 49, 29), raw(1, 1, 11, 6)], "are the last two numbers the right and bottom side"),
        ([raw(2, 21, 12, 29), raw(1, 1, 19, 15)], "an image of 20 x 30: were width and height swapped?"),
        ([raw(25, 1, 90, 90), raw(1, 1, 19, 15)], "correct it; if many boxes are outside"),
    ],
)
def test_what_would_bring_boxes_inside_is_suggested(rows, hint):
    _, issues = make_boxes(rows, SIZE)
    assert {issue.code for issue in issues} == {"box-outside"}
    assert all(hint in issue.suggestion for issue in issues)


ANY = st.floats(width=64) | st.sampled_from([0.0, -0.5, 30.0, 30.5, 20.0, 1e-45, 5e-324, 1e308])
NEAR = st.floats(-5, 35)
ROWS = st.builds(raw, *[ANY | NEAR] * 4, label=st.integers(0, 1), area=st.none() | ANY)


@given(st.lists(ROWS, max_size=12))
def test_what_comes_out_can_be_used_and_nothing_is_lost(rows):
    try:
        boxes, issues = make_boxes(rows, SIZE)
    except IssueError:
        assert all(0 <= side <= 1 for row in rows for side in (row.left, row.top, row.right, row.bottom))
        return
    lost = [issue for issue in issues if "partly" not in issue.message and issue.code != "area-wrong"]
    assert len(boxes) + len(lost) == len(rows)
    assert all(issue.fixable for issue in issues)
    left, top, right, bottom = boxes.boxes_xyxy.T
    assert ((left >= 0) & (top >= 0) & (right <= 30) & (bottom <= 20)).all()
    assert ((right > left) & (bottom > top)).all()
    assert ((boxes.areas >= 0) & (boxes.areas <= 600)).all()
    if len(boxes) and boxes.boxes_xyxy.max() <= 1:
        return  # what is left of them looks like fractions
    again, no_issues = make_boxes(
        [raw(*sides, label=int(label)) for sides, label in zip(boxes.boxes_xyxy.tolist(), boxes.labels, strict=True)],
        SIZE,
    )
    assert no_issues == []
    np.testing.assert_array_equal(again.boxes_xyxy, boxes.boxes_xyxy)


# --- how issues are reported ---


def test_a_issue_is_one_line_that_can_be_printed():
    issue = make_issue("box-nan", "a\nb", "c\x1b[31m\ud800", "d\r", fixable=True)
    assert (issue.where, issue.message, issue.suggestion) == ("a\\nb", "c\\x1b[31m\\ud800", "d\\r")
    assert one_line("x" * 600) == "x" * 250 + " ... " + "x" * 250
    assert shown("y" * 100) == "'" + "y" * 79 + "..."
    assert shown(None) == "None"


def test_a_issue_as_an_error():
    error = IssueError(make_issue("box-nan", "a.txt:1", "must be", "delete it"))
    assert isinstance(error, DataError)
    assert str(error) == "a.txt:1: box-nan: must be (delete it)"
    again = pickle.loads(pickle.dumps(error))  # noqa: S301  as a worker process sends it
    assert again.issue == error.issue


# --- images ---


def png(width: int, height: int) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (width, height), (1, 2, 3)).save(stream, "PNG")
    return stream.getvalue()


def test_a_image_of_its_own_and_one_in_a_tar(tmp_path: Path):
    (tmp_path / "a.png").write_bytes(png(3, 2))
    (tmp_path / "b.tar").write_bytes(b"x" * 512 + png(5, 4) + b"y" * 9)
    own = ImageFile(tmp_path / "a.png")
    inside = ImageFile(tmp_path / "b.tar", 512, len(png(5, 4)))
    assert read_image_file(own) == tmp_path / "a.png"
    assert read_image_file(inside) == png(5, 4)
    assert (image_size(own, "a"), image_size(inside, "b")) == ((3, 2), (5, 4))
    image = load_image(inside, "b.tar: b.png")
    assert image.name == "b.tar: b.png"
    np.testing.assert_array_equal(image.pixels, np.full((4, 5, 3), [1, 2, 3]))
    for number, file in enumerate([own, inside]):
        copy_image(file, tmp_path / f"{number}.png")
    assert (tmp_path / "0.png").read_bytes() == png(3, 2)
    assert (tmp_path / "1.png").read_bytes() == png(5, 4)


def test_images_that_cannot_be_read(tmp_path: Path):
    tar = tmp_path / "a.tar"
    tar.write_bytes(b"x" * 100)
    with pytest.raises(DataError, match=r"an image of 50 bytes at 60, holds 40 there"):
        read_image_file(ImageFile(tar, 60, 50))
    with pytest.raises(DataError, match=r"at most 1,073,741,824 bytes, has 2,147,483,648"):
        read_image_file(ImageFile(tar, 0, 1 << 31))
    with pytest.raises(DataError, match=r"gone\.tar: cannot be read: No such file"):
        read_image_file(ImageFile(tmp_path / "gone.tar", 0, 5))
    with pytest.raises(DataError, match=r"^mine: must be a JPEG"):
        load_image(ImageFile(tar, 0, 50), "mine")
    (tmp_path / "a.png").write_bytes(png(3, 2))
    with pytest.raises(DataError, match=r"at most 5 pixels"):
        load_image(ImageFile(tmp_path / "a.png"), "a", max_pixels=5)
