"""Images of batches and of validation: what is drawn lies where it must, in the image that it belongs to."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from yolo9000.data.batching import Batch
from yolo9000.io.draw import label_color
from yolo9000.training.visualize import GAP, GREY, MAX_DETECTIONS, TILE, WIDE_GAP, Marks, draw_batch, draw_validation
from yolo9000.types import BoxAnnotations, Detections, ImageFile, Sample

NAMES = ("ant", "bee", "cow", "dog", "eel")
WIDTH, HEIGHT = 210, 120  # of the images: drawn at twice their size, 420 x 240
PAPER = 120  # the grey of the images
TALL = TILE * HEIGHT // WIDTH


def gt(*boxes: tuple[float, ...], labels: tuple[int, ...]) -> BoxAnnotations:
    return BoxAnnotations.plain(np.array(boxes, np.float32).reshape(-1, 4), np.array(labels, np.int64))


def batch_of(
    boxes: list[BoxAnnotations | None], labels: list[tuple[int, ...]] | None = None, paper: int = PAPER
) -> Batch:
    count = len(boxes)
    return Batch(
        images=np.full((count, HEIGHT, WIDTH, 3), paper, np.uint8),
        boxes=tuple(boxes),
        image_labels=tuple(labels or [()] * count),
        names=tuple(f"p{i}" for i in range(count)),
        indices=tuple(range(count)),
        exhaustive=(None,) * count,
        soft=(-1,) * count,
    )


def marks_of(*marks: tuple[int, tuple[float, ...], tuple[float, ...]]) -> Marks:
    images, cells, anchors = zip(*marks, strict=True)
    return Marks(np.array(images, np.int64), np.array(cells, np.float32), np.array(anchors, np.float32))


def tile(canvas: np.ndarray, column: int, row: int) -> np.ndarray:
    left, top = column * (TILE + GAP), row * (TALL + GAP)
    return canvas[top : top + TALL, left : left + TILE]


def touched(image: np.ndarray, paper: int = PAPER) -> tuple[int, int, int, int] | None:
    """Left, top, right, bottom (exclusive) of all that is drawn on the paper."""
    rows, columns = np.nonzero((image != paper).any(axis=2))
    return (int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1) if len(rows) else None


@pytest.mark.parametrize(
    ("count", "columns", "rows"), [(1, 1, 1), (3, 3, 1), (4, 4, 1), (5, 4, 2), (16, 4, 4), (19, 4, 4)]
)
def test_a_batch_is_a_grid_of_no_more_than_sixteen(count: int, columns: int, rows: int) -> None:
    canvas = draw_batch(batch_of([None] * count), NAMES)
    assert canvas.shape == (rows * (TALL + GAP) - GAP, columns * (TILE + GAP) - GAP, 3)
    assert (tile(canvas, columns - 1, 0) == PAPER).all()
    if columns > 1:
        assert (canvas[:TALL, TILE : TILE + GAP] == GREY).all()
    if count == 5:
        assert (canvas[TALL:, TILE:] == GREY).all()


def test_boxes_are_drawn_in_their_own_image_in_the_color_of_their_class() -> None:
    canvas = draw_batch(batch_of([None, gt((30, 40, 90, 100), labels=(3,)), gt(labels=())]), NAMES)
    assert touched(tile(canvas, 0, 0)) is None
    assert touched(tile(canvas, 2, 0)) is None
    drawn = tile(canvas, 1, 0)
    rows, columns = np.nonzero((drawn == label_color(3)).all(axis=2))
    # Twice (30, 40, 90, 100) is (60, 80, 180, 200); the name stands above, from the left edge on.
    assert (columns.min(), columns.max(), rows.max()) == (60, 179, 199)
    assert (drawn[80:200, 60] == label_color(3)).all()
    assert 50 < rows.min() < 80


def test_marks_lie_on_the_cell_and_the_anchor_of_their_image() -> None:
    # The cell in column 2, row 1 at a stride of 32, and an anchor of 84 x 30 pixels around its middle (80, 48).
    marks = marks_of((1, (64, 32, 96, 64), (38, 33, 122, 63)))
    canvas = draw_batch(batch_of([None, None]), NAMES, marks)
    assert touched(tile(canvas, 0, 0)) is None
    drawn = tile(canvas, 1, 0)
    # Twice as large, and closed at the far edges: cell (128, 64)..(192, 128), anchor (76, 66)..(244, 126)
    assert touched(drawn) == (76, 64, 245, 129)
    assert (drawn[80:110, 140:180] == PAPER // 2 + 127).all()
    assert (drawn[64, 128:193] == 0).all()
    edge = drawn[66, 76:128]  # dashes
    assert {0, 255} == set(np.unique(edge))
    assert 0.3 < (edge == 255).mean() < 0.7


@pytest.mark.parametrize("paper", [0, PAPER, 255])
def test_marks_are_seen_on_any_image(paper: int) -> None:
    marks = marks_of((0, (64, 32, 96, 64), (38, 33, 122, 63)))
    drawn = draw_batch(batch_of([None], paper=paper), NAMES, marks).astype(int)
    differs = np.abs(drawn - paper).max(axis=2) > 80
    assert differs[64:129, 128:193].mean() > 0.05  # at least the outline of the cell
    assert differs[66, 76:128].mean() > 0.3  # dashes of one color at least
    assert differs[126, 76:128].mean() > 0.3
    assert differs[66:127, 76].mean() > 0.3
    assert differs[66:127, 244].mean() > 0.3


def test_anchors_that_leave_the_image_are_cut_off_there() -> None:
    # Cell at the left top, anchor far out on three sides; its lower edge at twice 100 is the only one to be seen.
    marks = marks_of((0, (0, 0, 32, 32), (-400, -68, 432, 100)))
    drawn = draw_batch(batch_of([None]), NAMES, marks)
    assert set(np.unique(drawn[200])) == {0, 255}
    drawn[200] = PAPER
    assert touched(drawn) == (0, 0, 65, 65)


def test_names_stand_over_marks() -> None:
    box = gt((30, 40, 90, 100), labels=(3,))
    plain = draw_batch(batch_of([box]), NAMES)
    name = (plain[60:80] == label_color(3)).all(axis=2)
    marked = draw_batch(batch_of([box]), NAMES, marks_of((0, (32, 0, 96, 64), (-10, -10, 300, 300))))
    assert name.sum() > 200
    assert (marked[60:80][name] == label_color(3)).all()


def test_labels_without_boxes_are_written_below() -> None:
    canvas = draw_batch(batch_of([None, None], [(), (1, 4)]), NAMES)
    assert touched(tile(canvas, 0, 0)) is None
    where = touched(tile(canvas, 1, 0))
    assert where is not None
    assert where[1] > TALL - 30
    assert where[0] < 10


@pytest.fixture
def sample(tmp_path: Path) -> Sample:
    """An image of 210 x 120 with one object."""
    Image.fromarray(np.full((HEIGHT, WIDTH, 3), PAPER, np.uint8)).save(tmp_path / "p.png")
    return Sample("p", ImageFile(tmp_path / "p.png"), "p.xml", None, gt((30, 40, 90, 100), labels=(3,)))


def detections_of(scores: list[float], label: int = 1) -> Detections:
    count = len(scores)
    boxes = np.array([[6 * i, 60, 6 * i + 5, 70] for i in range(count)], np.float32).reshape(-1, 4)
    labels = np.full(count, label, np.int64)
    return Detections(boxes, np.array(scores, np.float32), labels, (NAMES[label],) * count, (WIDTH, HEIGHT))


def test_gt_is_drawn_left_of_the_predictions(sample: Sample) -> None:
    canvas = draw_validation([(sample, detections_of([0.9, 0.5, 0.2]))], NAMES, 0.5)
    assert canvas.shape == (TALL, 2 * TILE + GAP, 3)
    left, right = tile(canvas, 0, 0), tile(canvas, 1, 0)
    assert color_fraction(left, 3) > 0.003
    assert color_fraction(left, 1) == 0
    assert color_fraction(right, 3) == 0
    assert color_fraction(right, 1) > 0.003
    alone = tile(draw_validation([(sample, detections_of([0.9, 0.5]))], NAMES, 0.0), 1, 0)
    np.testing.assert_array_equal(right, alone)  # 0.5 is kept, 0.2 is not


def color_fraction(image: np.ndarray, label: int) -> float:
    return float((np.abs(image.astype(int) - label_color(label)).max(axis=2) < 12).mean())


def test_without_a_threshold_nothing_is_drawn(sample: Sample) -> None:
    canvas = draw_validation([(sample, detections_of([0.9]))], NAMES, float("nan"))
    assert touched(tile(canvas, 1, 0)) is None


def test_of_hundreds_of_detections_the_best_are_drawn(sample: Sample) -> None:
    scores = np.linspace(0.9, 0.5, MAX_DETECTIONS + 5).tolist()
    many = draw_validation([(sample, detections_of(scores))], NAMES, 0.1)
    np.testing.assert_array_equal(many, draw_validation([(sample, detections_of(scores[:MAX_DETECTIONS]))], NAMES, 0.1))


def test_pairs_stand_apart(sample: Sample) -> None:
    canvas = draw_validation([(sample, detections_of([]))] * 3, NAMES, 0.5)
    pair = 2 * TILE + GAP
    assert canvas.shape == (2 * TALL + WIDE_GAP, 2 * pair + WIDE_GAP, 3)
    assert (canvas[:, pair : pair + WIDE_GAP] == GREY).all()
    assert (canvas[TALL + WIDE_GAP :, pair:] == GREY).all()
