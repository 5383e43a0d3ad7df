"""Back-off with a promise: the threshold by arithmetic, the promise by simulation, temperatures by what made them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from support.small_data import boxes_of, write_voc_set
from support.small_models import ANCHORS, TREE, random_model, small_architecture

from yolo9000.adapt.calibrate import (
    LocatedObject,
    calibrate,
    critical_probability,
    find_back_off,
    locate_objects,
    risk_threshold,
    with_temperatures,
)
from yolo9000.architectures.layers import Conv
from yolo9000.checkpoints.model import LoadedModel
from yolo9000.checkpoints.safetensors import read_checkpoint, write_checkpoint
from yolo9000.cli.app import run
from yolo9000.data.dataset import DataSet, Ledger, OnError, open_data
from yolo9000.errors import ConfigError
from yolo9000.inference.detector import Detector
from yolo9000.taxonomy.wordtree import WordTree
from yolo9000.types import BoxAnnotations, ImageFile, Sample

# animal(0) thing(1); dog(2) cat(3) under animal; terrier(4) poodle(5) under dog; bus(6) under thing
PLAIN = (1.0, 1.0, 1.0)


def logits(**odds: float) -> np.ndarray:
    """Scores that make each named node as many times as likely as its siblings."""
    return np.array([math.log(odds.get(name, 1.0)) for name in TREE.names])


class TestCriticalProbability:
    def test_a_walk_that_ends_at_the_gt_is_always_right(self) -> None:
        one = LocatedObject(logits(animal=9, dog=4, terrier=3), TREE.find("terrier"))
        assert critical_probability(one, TREE, PLAIN) == 0

    def test_a_wrong_leaf_must_not_be_reached(self) -> None:
        # P(animal) = .9, P(dog) = .9 x .8 = .72, P(terrier) = .72 x .75 = .54; a poodle is right as a dog
        one = LocatedObject(logits(animal=9, dog=4, terrier=3), TREE.find("poodle"))
        assert critical_probability(one, TREE, PLAIN) == pytest.approx(0.54)
        cat = LocatedObject(one.logits, TREE.find("cat"))
        assert critical_probability(cat, TREE, PLAIN) == pytest.approx(0.72)

    def test_a_wrong_top_cannot_be_helped(self) -> None:
        assert critical_probability(LocatedObject(logits(animal=9), TREE.find("bus")), TREE, PLAIN) == math.inf

    def test_below_a_coarse_gt_nothing_is_wrong(self) -> None:
        assert critical_probability(LocatedObject(logits(animal=9, dog=4), TREE.find("animal")), TREE, PLAIN) == 0

    def test_temperatures_count_at_their_depth(self) -> None:
        # At temperature 2 odds of 9 are odds of 3: P(animal) = .75, P(dog) = .75 x .8
        cat = LocatedObject(logits(animal=9, dog=4), TREE.find("cat"))
        assert critical_probability(cat, TREE, (2.0, 1.0, 1.0)) == pytest.approx(0.6)


class TestPromise:
    def test_by_arithmetic(self) -> None:
        critical = np.array([0.9, 0.5, 0.2, *[0.0] * 16])  # 19 objects
        # One more than k of 20 may be wrong: .1 x 20 - 1 = 1 object stays wrong, the next must not
        assert risk_threshold(critical, 0.1) == 0.5
        assert risk_threshold(critical, 0.05) == 0.9
        assert risk_threshold(critical, 0.2) == 0.0
        assert risk_threshold(critical, 0.9) == 0.0

    def test_too_few_objects(self) -> None:
        with pytest.raises(ConfigError, match=r"needs 19 objects or more .* got 18"):
            risk_threshold(np.zeros(18), 0.05)

    def test_top_nodes_that_are_wrong_too_often(self) -> None:
        with pytest.raises(ConfigError, match=r"cannot be guaranteed: even the root node is wrong for 10\.0%"):
            risk_threshold(np.array([math.inf] * 4 + [0.3] * 36), 0.05)

    @pytest.mark.parametrize(("count", "max_error"), [(30, 0.1), (60, 0.05), (25, 0.3)])
    def test_it_is_kept_for_the_next_object(self, count: int, max_error: float) -> None:
        rng = np.random.default_rng(7)
        critical = rng.beta(0.4, 1.2, (4000, count + 1)) * (rng.random((4000, count + 1)) < 0.6)
        wrong = np.array([row[-1] > risk_threshold(row[:-1], max_error) for row in critical])
        slack = 3 * math.sqrt(max_error / len(wrong))
        assert wrong.mean() <= max_error + slack
        assert wrong.mean() >= max_error - 1 / (count + 1) - slack  # and is not kept by answering nothing

    @given(st.lists(st.floats(0, 1), min_size=20, max_size=60), st.floats(0.05, 0.9), st.floats(0.05, 0.9))
    def test_a_smaller_error_asks_for_more(self, critical: list[float], one: float, other: float) -> None:
        values = np.array(critical)
        assert risk_threshold(values, min(one, other)) >= risk_threshold(values, max(one, other))


def drawn_objects(tree: WordTree, count: int, temperatures: Sequence[float], seed: int) -> list[LocatedObject]:
    """Objects whose labels follow the scores at the given temperatures: a model that is over- or under-confident."""
    rng = np.random.default_rng(seed)
    objects = []
    for _ in range(count):
        scores = rng.normal(0, 3, len(tree))
        node, children, depth = -1, tree.children(-1), 0
        while children:
            odds = np.exp(scores[children.start : children.stop] / temperatures[depth])
            node = children.start + int(rng.choice(len(children), p=odds / odds.sum()))
            children, depth = tree.children(node), depth + 1
        objects.append(LocatedObject(scores, node))
    return objects


def test_temperatures_and_promise_hold_on_objects_that_were_not_seen() -> None:
    tree = WordTree.from_parents([-1, -1, 0, 0, 0, 1, 1, 2, 2, 3, 3])
    true = (0.8, 2.0, 3.0)
    back_off = find_back_off(drawn_objects(tree, 1000, true, seed=1), tree, 0.2)
    np.testing.assert_allclose(back_off.temperatures, true, rtol=0.25)
    fresh = drawn_objects(tree, 1000, true, seed=2)
    critical = np.array([critical_probability(one, tree, back_off.temperatures) for one in fresh])
    assert (critical > back_off.hier_thresh).mean() == pytest.approx(0.2, abs=0.05)


def test_temperatures_and_threshold_come_from_different_halves() -> None:
    """The guarantee needs objects that the temperatures were not fitted to: even ones are fitted, odd ones tested."""
    tree = WordTree.from_parents([-1, -1, 0, 0])
    sure = LocatedObject(np.array([2.0, 0.0, 1.0, 0.0]), 2)
    unsure = LocatedObject(np.array([0.5, 0.0, 0.0, 3.0]), 2)  # a wrong leaf, and sure of it
    back_off = find_back_off([one for _ in range(40) for one in (sure, unsure)], tree, 0.2)
    other = find_back_off([one for _ in range(40) for one in (sure, sure)], tree, 0.2)
    assert back_off.temperatures == other.temperatures == pytest.approx((0.05, 0.05), rel=1e-6)  # as sharp as allowed
    assert other.hier_thresh == 0
    # odds e^(.5 / .05) and e^(3 / .05): P(leaf) = 1 / (1 + e^-10) x 1 / (1 + e^-60)
    assert back_off.hier_thresh == pytest.approx(1 / (1 + math.exp(-10)))


def test_what_is_not_shown_does_not_count() -> None:
    """Half of the tested objects are wrong at the root, with objectness .2 x P(root) = .2 at most: below .25."""
    tree = WordTree.from_parents([-1, -1, 0, 0])
    right = LocatedObject(np.array([9.0, 0.0, 9.0, 0.0]), 2, objectness=0.9)
    wrong = LocatedObject(np.array([9.0, 0.0, 9.0, 0.0]), 1, objectness=0.2)
    objects = [one for _ in range(40) for one in (right, right, right, wrong)]
    with pytest.raises(ConfigError, match=r"even the root node is wrong for 50\.0%"):
        find_back_off(objects, tree, 0.1)
    assert find_back_off(objects, tree, 0.1, min_score=0.25).hier_thresh == 0


class Boxes:
    """An engine with one box of objectness .99 at the middle of each given cell (row, column), 8 x 8 pixels."""

    name, precision = "boxes", "float32"

    def parallel(self, workers: int) -> Boxes:
        return self

    def __init__(self, cells: Sequence[tuple[int, int]]) -> None:
        self.cells = cells

    def run(self, images: np.ndarray) -> tuple[np.ndarray, ...]:
        out = np.full((len(images), 3, 12, 6, 9), -8.0, np.float32)
        for row, column in self.cells:
            side = [-math.log(side) for side in ANCHORS[0]]
            out[:, 0, :5, row, column] = [0, 0, *side, 5.0]
        return (out.reshape(len(images), 36, 6, 9),)


class OneImage(DataSet):
    """A data set of one image of 72 x 48 with the given boxes."""

    def samples(self, on_error: OnError = "error", ledger: Ledger | None = None) -> Iterator[Sample]:
        path = self.root / "a.png"
        Image.fromarray(np.zeros((48, 72, 3), np.uint8)).save(path)
        yield Sample("a.png", ImageFile(path), "a.png", (72, 48), boxes=BOXES)


SQUARES = [(row, column) for row in (1, 4) for column in (1, 3, 5)]
BOXES = BoxAnnotations(
    np.array([[8 * c, 8 * r, 8 * c + 8, 8 * r + 8] for r, c in SQUARES], np.float32),
    np.array([0, 1, 0, 1, 0, 1]),
    difficult=np.array([0, 1, 0, 0, 0, 0], bool),
    crowd=np.array([0, 0, 1, 0, 0, 0], bool),
    areas=np.full(6, 64, np.float32),
)


@pytest.mark.parametrize(
    ("cells", "labels"),
    [
        (SQUARES, [0, 1, 0, 1]),  # neither the difficult box nor the crowd
        ([(1, 1), (1, 1)], [0]),
        ([(4, 1)], [1]),
        ([(2, 7)], []),
    ],
)
def test_which_objects_are_located(tmp_path: Path, cells: list[tuple[int, int]], labels: list[int]) -> None:
    model = LoadedModel.from_weights(random_model(small_architecture(7, tree="labels.tree")), TREE.names, TREE)
    detector = Detector(model.with_lazy_classes(False), Boxes(cells))
    data_set = OneImage("one", tmp_path, ("terrier", "bus"), ())
    located = list(locate_objects(detector, TREE, data_set))
    nodes = [TREE.find(data_set.classes[label]) for label in labels]
    assert [one.gt for one in located] == nodes


def test_a_gt_box_is_matched_once(tmp_path: Path) -> None:
    """Two boxes on one object, IoU 1 with it but kept by NMS at IoU 1: the second finds nothing."""
    model = LoadedModel.from_weights(random_model(small_architecture(7, tree="labels.tree")), TREE.names, TREE)

    class Twice(Boxes):
        def run(self, images: np.ndarray) -> tuple[np.ndarray, ...]:
            out = super().run(images)[0].reshape(-1, 3, 12, 6, 9)
            out[:, 1] = out[:, 0]
            for side, axis in zip(ANCHORS[1], (2, 3), strict=True):
                out[:, 1, axis, 1, 1] = -math.log(side)
            return (out.reshape(len(images), 36, 6, 9),)

    detector = Detector(model.with_lazy_classes(False), Twice([(1, 1)])).with_settings(nms_iou=1.0)
    located = list(locate_objects(detector, TREE, OneImage("one", tmp_path, ("terrier", "bus"), ())))
    assert [one.gt for one in located] == [TREE.find("terrier")]


def test_the_last_layer_is_divided_by_the_temperatures() -> None:
    table = small_architecture(len(TREE), tree="small.tree")
    model = random_model(table)
    changed = with_temperatures(model, TREE, (2.0, 4.0, 0.5))
    last = max(i for i, row in enumerate(table.body) if isinstance(row, Conv))
    before, after = model.parameters[last], changed.parameters[last]
    assert before is not None
    assert after is not None
    divisors = [1, 1, 1, 1, 1, *(2.0, 2.0, 4.0, 4.0, 0.5, 0.5, 4.0)] * 3  # boxes, then nodes by depth; 3 anchors
    np.testing.assert_allclose(after.biases, before.biases / divisors, rtol=1e-6)
    np.testing.assert_allclose(after.weights[:, :, 0, 0].T, before.weights[:, :, 0, 0].T / divisors, rtol=1e-6)
    assert all(a is b for i, (a, b) in enumerate(zip(model.parameters, changed.parameters, strict=True)) if i != last)


class Planted:
    """An engine that puts a box on every rectangle of the small data set, and gives it the given scores."""

    name, precision = "planted", "float32"

    def parallel(self, workers: int) -> Planted:
        return self

    def __init__(self, scores: Sequence[dict[str, np.ndarray]]) -> None:
        self.scores = iter(scores)
        self.image = 9  # the first of the validation split

    def run(self, images: np.ndarray) -> tuple[np.ndarray, ...]:
        return (np.concatenate([self.run_one() for _ in images]),)

    def run_one(self) -> np.ndarray:
        out = np.full((1, 3, 12, 6, 9), -8.0, np.float32)  # 3 anchors, 5 + 7, cells of 8 pixels at 72 x 48
        scores = next(self.scores)
        for name, box in boxes_of(self.image):
            left, top, right, bottom = (0.1 * side for side in box)  # pixels x .8 / 8: cells
            column, row = int((left + right) / 2), int((top + bottom) / 2)
            dx, dy = (left + right) / 2 - column, (top + bottom) / 2 - row
            wh = np.log([(right - left) / ANCHORS[0][0], (bottom - top) / ANCHORS[0][1]])
            logit = [math.log(d / (1 - d)) for d in np.clip((dx, dy), 0.01, 0.99)]
            out[0, 0, :, row, column] = [*logit, *wh, 5.0, *scores[name]]
        self.image += 1
        return out.reshape(1, 36, 6, 9)


def test_a_model_is_calibrated_on_the_objects_that_it_finds(tmp_path: Path) -> None:
    count = 60
    write_voc_set(tmp_path / "shapes", train=9, val=count)
    file = tmp_path / "data.yaml"
    source = "{format: voc, path: shapes, list: ImageSets/Main/val.txt, map: {red: terrier, blue: bus}}"
    file.write_text(f"classes: [terrier, bus]\nval:\n  - {source}\n")
    rng = np.random.default_rng(3)
    # Every fourth terrier looks like a poodle, with P = .9 x .8 x .6; buses are sure
    terrier = [logits(animal=9, dog=4, **{"poodle" if rng.random() < 0.25 else "terrier": 1.5}) for _ in range(count)]
    engine = Planted([{"red": scores, "blue": logits(thing=99)} for scores in terrier])
    model = LoadedModel.from_weights(random_model(small_architecture(7, tree="labels.tree")), TREE.names, TREE)
    detector = Detector(model.with_lazy_classes(False), engine)
    changed, report = calibrate(model, detector, open_data(file, "val"), max_error=0.1)
    assert report.objects == sum(len(boxes_of(number)) for number in range(9, 9 + count))
    wrong = np.mean([scores[TREE.find("poodle")] > 0 for scores in terrier])
    assert 0.1 < wrong < 0.4
    assert report.error_before == 0  # at .5 it stops at dog: .72, and .43 for the breed
    assert report.error <= 0.1
    assert changed.detector_head.hier_thresh == report.back_off.hier_thresh
    assert changed.trained["calibration"]["max_error"] == 0.1
    write_checkpoint(tmp_path / "calibrated.safetensors", changed)
    assert run(["export", str(tmp_path / "calibrated.safetensors"), "--out", str(tmp_path / "calibrated.onnx")]) == 0
    for name in ("calibrated.safetensors", "calibrated.onnx"):
        used = Detector.load(tmp_path / name, engine="onnxruntime")
        assert used.settings.hier_thresh == changed.detector_head.hier_thresh
        assert Detector.load(tmp_path / name, hier_thresh=0.25).settings.hier_thresh == 0.25


class TestCommand:
    @pytest.fixture
    def model(self, tmp_path: Path) -> Path:
        path = tmp_path / "model.safetensors"
        write_checkpoint(
            path, LoadedModel.from_weights(random_model(small_architecture(7, tree="labels.tree")), TREE.names, TREE)
        )
        return path

    def test_a_calibrated_model_answers_as_it_was_calibrated(self, model: Path) -> None:
        file = read_checkpoint(model)
        write_checkpoint(model, file.changed(hier_thresh=0.375))
        assert Detector.load(str(model)).settings.hier_thresh == 0.375
        assert Detector.load(str(model), hier_thresh=0.1).settings.hier_thresh == 0.1
        assert run(["export", str(model), "--out", str(model.with_suffix(".onnx"))]) == 0
        assert Detector.load(str(model.with_suffix(".onnx"))).settings.hier_thresh == 0.375

    def test_too_few_objects_are_an_error_and_nothing_is_written(
        self, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        write_voc_set(tmp_path / "shapes")
        (tmp_path / "data.yaml").write_text(
            "classes: [dog, bus]\nval:\n  - {format: voc, path: shapes, map: {red: dog, blue: bus}}\n"
        )
        assert run(["calibrate", str(model), str(tmp_path / "data.yaml"), "--max-error", "0.01"]) == 2
        assert "an error of at most 0.01 needs 99 objects or more" in capsys.readouterr().err
        assert not (tmp_path / "model-calibrated.safetensors").exists()

    def test_an_impossible_error_is_refused(self, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert run(["calibrate", str(model), "nowhere", "--max-error", "0"]) == 2
        assert "--max-error: must be above 0 and below 1" in capsys.readouterr().err
