from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ImageDraw

from yolo9000.io.draw import annotate, label_color, text_color
from yolo9000.types import Detections, PathStep, TreeAnswer

GREY = 128


def blank(width: int, height: int) -> np.ndarray:
    return np.full((height, width, 3), GREY, np.uint8)


def detections_of(size_wh, boxes, names=None, scores=None, labels=None, paths=()) -> Detections:
    n = len(boxes)
    return Detections(
        boxes_xyxy=np.array(boxes, np.float32).reshape(n, 4),
        scores=np.array([0.9] * n if scores is None else scores, np.float32),
        labels=np.array(range(n) if labels is None else labels, np.int64),
        names=("dog",) * n if names is None else tuple(names),
        size_wh=size_wh,
        answers=tuple(
            TreeAnswer(tuple(PathStep(i, name, 0.9, 0.9) for i, name in enumerate(path)), "leaf", None, None)
            for path in paths
        ),
    )


def tag_of(name: str, score: float, label: int, path: tuple[str, ...] = ()) -> np.ndarray:
    """The pixels of a whole tag, cut out of an image in which it has room above its box."""
    width, height, box_top = 400, 200, 100
    paths = [path] if path else []
    drawn = annotate(
        blank(width, height), detections_of((width, height), [[0, box_top, 9, 150]], [name], [score], [label], paths)
    )
    rows, columns = np.nonzero((drawn[:box_top] != GREY).any(axis=2))
    return drawn[rows.min() : rows.max() + 1, : columns.max() + 1]


def assert_tag_at(drawn: np.ndarray, tag: np.ndarray, left: int, top: int) -> None:
    height, width = tag.shape[:2]
    np.testing.assert_array_equal(drawn[top : top + height, left : left + width], tag)


def contrast(one, other) -> float:
    """WCAG 2.2, the definitions of contrast ratio and relative luminance."""

    def luminance(color):
        c = np.array(color) / 255
        return np.dot([0.2126, 0.7152, 0.0722], np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4))

    dark, light = sorted([luminance(one), luminance(other)])
    return (light + 0.05) / (dark + 0.05)


@pytest.fixture
def written(monkeypatch) -> list[str]:
    """The lines of text in the order in which they are drawn."""
    texts: list[str] = []
    draw_text = ImageDraw.ImageDraw.text

    def text(self, xy, text, *args, **kwargs):
        texts.append(text)
        draw_text(self, xy, text, *args, **kwargs)

    monkeypatch.setattr(ImageDraw.ImageDraw, "text", text)
    return texts


def test_the_given_image_is_not_changed_and_not_shared():
    image = blank(300, 200)
    drawn = annotate(image, detections_of((300, 200), [[20, 60, 200, 150]]))
    assert (image == GREY).all()
    assert (drawn != GREY).any()
    assert not np.shares_memory(image, drawn)
    assert (drawn.shape, drawn.dtype) == ((200, 300, 3), np.uint8)


def test_a_read_only_image_can_be_drawn_on_and_the_new_one_can_be_written_to():
    image = blank(300, 200)
    image.setflags(write=False)
    assert annotate(image, detections_of((300, 200), [[20, 60, 200, 150]])).flags.writeable


def test_no_detections_give_an_equal_copy():
    image = np.random.default_rng(0).integers(0, 256, (40, 70, 3), np.uint8)
    drawn = annotate(image, detections_of((70, 40), []))
    np.testing.assert_array_equal(drawn, image)
    assert not np.shares_memory(image, drawn)


def test_detections_of_another_image_are_refused():
    with pytest.raises(ValueError, match="image of 300 x 200 got detections of one of"):
        annotate(blank(300, 200), detections_of((200, 300), []))


def test_the_outline_covers_the_outermost_pixels_of_the_box():
    # 300 x 200: text of 11 pixels (the smallest), so a line of round(0.19 x 11) = 2 and a seam of 1.
    # The box covers, wholly or partly, the pixels 40..140 across and 60..150 down.
    drawn = annotate(blank(300, 200), detections_of((300, 200), [[40.2, 60.0, 141.0, 150.7]], labels=[3]))
    line, seam = label_color(3), text_color(label_color(3))
    for x, color in [(39, GREY), (40, line), (41, line), (42, seam), (43, GREY)]:
        assert (drawn[100, x] == color).all()
    for x, color in [(141, GREY), (140, line), (139, line), (138, seam), (137, GREY)]:
        assert (drawn[100, x] == color).all()
    for y, color in [(151, GREY), (150, line), (149, line), (148, seam), (147, GREY)]:
        assert (drawn[y, 120] == color).all()
    assert (drawn[60, 40:141] == line).all()
    assert (drawn[59, 135:] == GREY).all()  # right of the tag


def test_lines_grow_with_the_image():
    # 2000 x 1500: text of round(0.027 x sqrt(2000 x 1500)) = 47 pixels, so a line of round(0.19 x 47) = 9.
    drawn = annotate(blank(2000, 1500), detections_of((2000, 1500), [[300, 400, 1500, 1200]]))
    assert (drawn[800, 300:309] == label_color(0)).all()
    assert (drawn[800, 309] == text_color(label_color(0))).all()


@pytest.mark.parametrize(
    "box",
    [
        [50, 60, 51, 61],
        [50, 60, 53, 90],
        [50, 60, 80, 62],
        [50, 60, 50, 60],
        [50, 60, 50, 90],
        [50, 60, 80, 60],
    ],
)
def test_the_outline_of_a_small_or_empty_box_stays_on_it(box):
    drawn = annotate(blank(300, 200), detections_of((300, 200), [box]))
    left, top, right, bottom = box
    assert (drawn[top, left] == label_color(0)).all()
    below_the_tag = drawn[top:]
    changed = np.argwhere((below_the_tag != GREY).any(axis=2))
    assert changed.min(axis=0).tolist() == [0, left]
    assert changed.max(axis=0).tolist() == [max(bottom - top, 1) - 1, left + max(right - left, 1) - 1]


@pytest.mark.parametrize(
    ("box", "across", "down"),
    [
        ([0, 90, 60, 150], "left", "above"),
        ([240, 90, 300, 150], "right", "above"),
        ([297, 90, 300, 150], "right", "above"),
        ([300, 90, 300, 150], "right", "above"),
        ([100, 150, 200, 200], "box", "above"),
        ([100, 200, 200, 200], "box", "above"),
        ([100, 0, 200, 90], "box", "inside"),
        ([100, 5, 200, 90], "box", "inside"),
        ([0, 0, 60, 90], "left", "inside"),
        ([280, 0, 300, 2], "right", "inside"),
        ([0, 0, 300, 200], "left", "inside"),
    ],
)
def test_the_tag_is_whole_and_inside_the_image(box, across, down):
    tag = tag_of("traffic light", 0.9, 5)
    height, width = tag.shape[:2]
    left = {"left": 0, "box": box[0], "right": 300 - width}[across]
    # A box without height at y = 200 covers the last row of pixels, 199.
    top = {"above": min(box[1], 199) - height, "inside": box[1]}[down]
    drawn = annotate(blank(300, 200), detections_of((300, 200), [box], ["traffic light"], labels=[5]))
    assert_tag_at(drawn, tag, left, top)


def test_the_tag_has_black_or_white_text_on_the_color_of_the_box():
    for label in (1, 6):
        tag = tag_of("dog", 0.9, label)
        assert (tag[0] == label_color(label)).all()
        text = np.abs(tag.astype(int) - text_color(label_color(label))).max(axis=2)
        assert text.min() < 64  # strokes of small letters are thinner than a pixel


def test_a_second_tag_makes_room_for_the_better_one():
    box = [100, 90, 200, 150]
    better, worse = tag_of("dog", 0.9, 2), tag_of("horse", 0.5, 7)
    detections = detections_of((300, 200), [box, box], ["horse", "dog"], [0.5, 0.9], [7, 2])
    drawn = annotate(blank(300, 200), detections)
    assert_tag_at(drawn, better, 100, 90 - len(better))
    assert_tag_at(drawn, worse, 100, 90)  # just below the better one, inside the box


def test_a_tag_between_two_better_ones_moves_to_the_nearer_side():
    height = len(tag_of("dog", 0.9, 0))
    # The tag of the second box, just above its top at 100, would reach 3 rows into the tag of the first.
    boxes = [[100, 100 - height + 3, 140, 180], [100, 100, 160, 190]]
    drawn = annotate(blank(300, 200), detections_of((300, 200), boxes, scores=[0.9, 0.8], labels=[0, 1]))
    assert_tag_at(drawn, tag_of("dog", 0.9, 0), 100, 100 - 2 * height + 3)
    assert_tag_at(drawn, tag_of("dog", 0.8, 1), 100, 100 - height + 3)


def test_tags_of_one_position_stand_below_each_other_while_they_touch_their_box():
    # A tag of one line is 17 rows high, so at a box of 70 rows at the image's top the tops 0, 17, 34, 51
    # and 68 are within reach; the sixth tag would cover another one everywhere and takes its first choice, 0.
    scores = [0.9, 0.8, 0.7, 0.6, 0.5, 0.4]
    tags = [tag_of("dog", score, label) for label, score in enumerate(scores)]
    assert {len(tag) for tag in tags} == {17}
    drawn = annotate(blank(300, 200), detections_of((300, 200), [[100, 0, 200, 70]] * 6, scores=scores))
    for tag, top in zip(tags[:5], [0, 17, 34, 51, 68], strict=True):
        assert_tag_at(drawn, tag, 100, top)


def test_better_detections_lie_on_top_in_any_order():
    box = [50, 60, 250, 180]
    detections = detections_of((300, 200), [box, box, box], scores=[0.5, 0.9, 0.7], labels=[1, 2, 3])
    drawn = annotate(blank(300, 200), detections)
    assert (drawn[179, 50:250] == label_color(2)).all()
    np.testing.assert_array_equal(drawn, annotate(blank(300, 200), detections.select([2, 0, 1])))


def test_colors_are_the_same_in_every_run():
    # Hue 0 with saturation 0.8: the lowest channels are (1 - 0.8) x 255 = 51.
    assert label_color(0) == (255, 51, 51)
    # Hue 0.618034 x 6 = 3.708: blue is full, red lowest, green (1 - 0.8 x 0.708) x 255 = 110.5...
    assert label_color(1) == (51, 111, 255)


def test_colors_of_many_labels_differ():
    assert len({label_color(label) for label in range(80)}) == 80
    neighbours = [np.subtract(label_color(label), label_color(label + 1)) for label in range(9418)]
    assert np.abs(neighbours).max(axis=1).min() > 100


def test_text_is_readable_on_every_color():
    worst = min(contrast(label_color(n), text_color(label_color(n))) for n in range(9418))
    assert worst >= 4.5


@given(st.tuples(*[st.integers(0, 255)] * 3))
def test_text_has_the_better_of_both_contrasts(color):
    black, white = (0, 0, 0), (255, 255, 255)
    best = max(contrast(color, black), contrast(color, white))
    assert contrast(color, text_color(color)) == pytest.approx(best)


def test_a_tree_detection_shows_its_path(written):
    detections = detections_of((600, 400), [[50, 100, 400, 300]], scores=[0.874], paths=[("animal", "mammal", "dog")])
    annotate(blank(600, 400), detections)
    assert written == ["dog 0.87", "animal > mammal > dog"]


def test_the_path_can_be_left_out(written):
    detections = detections_of((600, 400), [[50, 100, 400, 300]], paths=[("animal", "mammal", "dog")])
    annotate(blank(600, 400), detections, show_path=False)
    assert written == ["dog 0.90"]


def test_a_path_of_one_step_is_not_written_twice(written):
    annotate(blank(600, 400), detections_of((600, 400), [[50, 100, 400, 300]], paths=[("dog",)]))
    assert written == ["dog 0.90"]


def test_a_long_path_keeps_the_last_ancestors(written):
    path = (*(f"ancestor {n}" for n in range(30)), "mammal", "dog")
    tag = tag_of("dog", 0.9, 0, path)
    assert written[1].startswith("… > ancestor ")
    assert written[1].endswith(" > ancestor 29 > mammal > dog")
    # On a narrow box up to half of sqrt(400 x 200) = 283 pixels, and a pad of 3 on each side.
    assert 100 < tag.shape[1] <= 141 + 2 * 3


def test_a_path_stays_inside_a_thin_image(written):
    # Half of sqrt(100 x 2000) = 447 pixels would be more than the drawn has; the text is of 12 pixels, the pad of 3.
    path = ("living thing", "organism", "animal", "dog")
    drawn = annotate(blank(100, 2000), detections_of((100, 2000), [[50, 500, 60, 600]], paths=[path]))
    assert written == ["dog 0.90", "… > animal > dog"]
    tag_rows = drawn[:500]
    assert (tag_rows != GREY).any(axis=2).sum(axis=1).max() < 100


def test_a_path_has_the_width_of_a_wide_box(written):
    path = (*(f"ancestor {n}" for n in range(30)), "mammal", "dog")
    annotate(blank(600, 400), detections_of((600, 400), [[0, 100, 500, 300], [0, 200, 600, 300]], paths=[path, path]))
    worse_and_narrower, better_and_wider = sorted([written[1], written[3]], key=len)
    assert better_and_wider.endswith(worse_and_narrower.removeprefix("…"))
    assert len(better_and_wider) > len(worse_and_narrower)


def test_on_a_thumbnail_a_path_without_room_is_left_out(written):
    path = ("physical entity", "domestic animal", "Tibetan mastiff")
    annotate(blank(120, 80), detections_of((120, 80), [[10, 40, 60, 70]], paths=[path]))
    assert written == ["dog 0.90"]


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("café", "cafe 0.90"),
        ("犬", "? 0.90"),
        ("犬 dog", "? dog 0.90"),
        ("two\nlines\tand tabs", "two lines and tabs 0.90"),
        ("\u202edog\u0000", "?dog? 0.90"),
        ("\udcff", "? 0.90"),
        ("", " 0.90"),
    ],
)
def test_characters_without_a_glyph_are_replaced(written, name, shown):
    annotate(blank(300, 200), detections_of((300, 200), [[50, 60, 250, 180]], [name]))
    assert written == [shown]


def test_a_long_name_is_cut_and_keeps_its_score(written):
    drawn = annotate(blank(300, 200), detections_of((300, 200), [[200, 60, 250, 180]], ["abcdefgh " * 1000]))
    (text,) = written
    assert text.startswith("abcdefgh abcdefgh ")
    assert text.endswith("… 0.90")
    tag = tag_of(text.removesuffix(" 0.90"), 0.9, 0)
    assert 280 < tag.shape[1] <= 300
    assert_tag_at(drawn, tag, 300 - tag.shape[1], 60 - tag.shape[0])


@pytest.mark.parametrize("size", [(1, 1), (1, 50), (50, 1), (3, 2)])
def test_tiny_images(size):
    width, height = size
    drawn = annotate(blank(*size), detections_of(size, [[0, 0, width, height]], paths=[("animal", "dog")]))
    assert drawn.shape == (height, width, 3)
    assert (drawn != GREY).any()


@st.composite
def sizes_and_detections(draw):
    width, height = draw(st.integers(1, 60)), draw(st.integers(61, 120))
    x, y = st.floats(0, width, width=32), st.floats(0, height, width=32)
    boxes = draw(st.lists(st.tuples(x, y, x, y), max_size=6))

    def for_each_box(values):
        return draw(st.lists(values, min_size=len(boxes), max_size=len(boxes)))

    return {
        "size_wh": (width, height),
        "boxes": [[min(a, c), min(b, d), max(a, c), max(b, d)] for a, b, c, d in boxes],
        "names": for_each_box(st.text()),
        "scores": for_each_box(st.floats(2**-20, 1, width=32)),
        "labels": for_each_box(st.integers(0, 2**40)),
        "paths": for_each_box(st.lists(st.text(), min_size=1)) if draw(st.booleans()) else (),
    }


@settings(deadline=None)
@given(sizes_and_detections())
def test_any_boxes_and_names_can_be_drawn(values):
    detections = detections_of(**values)
    image = blank(*detections.size_wh)
    drawn = annotate(image, detections)
    assert (drawn.shape, drawn.dtype) == (image.shape, np.uint8)
    assert (image == GREY).all()


def test_gt_has_no_scores(written: list[str]) -> None:
    annotate(blank(200, 120), detections_of((200, 120), [[20, 40, 90, 100]], names=["dog"]), show_score=False)
    assert written == ["dog"]
