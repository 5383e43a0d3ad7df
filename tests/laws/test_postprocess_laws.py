"""Laws of the way from head output to detections, against oracles written plainly here."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from support.heads import (
    HeadCase,
    HeadRecipe,
    detection_settings,
    heads,
    image_sizes,
    parents_of_trees,
    paths_of,
    tree_of,
)

from yolo9000.boxes import cxcywh_to_xyxy, iou, nms
from yolo9000.inference.decode import decode, flat_scores
from yolo9000.inference.head_output import Candidates, DenseClassLogits, HeadOutput, find_candidates
from yolo9000.inference.preprocess import boxes_to_image, letterbox_size
from yolo9000.inference.query import Query
from yolo9000.inference.settings import DetectionSettings
from yolo9000.inference.suppress import LabelledBoxes, remaining, tree_nms
from yolo9000.inference.tree_decode import decode_tree
from yolo9000.types import Detections

CLOSE = 1e-5
UNLIMITED = 100_000


def assert_identical(ours: Detections, theirs: Detections) -> None:
    np.testing.assert_array_equal(ours.boxes_xyxy, theirs.boxes_xyxy)
    np.testing.assert_array_equal(ours.scores, theirs.scores)
    np.testing.assert_array_equal(ours.labels, theirs.labels)
    assert (ours.names, ours.size_wh, ours.answers) == (theirs.names, theirs.size_wh, theirs.answers)


def scores_of(output: HeadOutput) -> np.ndarray:
    assert isinstance(output.class_logits, DenseClassLogits)
    return output.class_logits.logits


@settings(deadline=None, max_examples=40)
@given(recipe=heads(images=st.integers(2, 4)), chosen=detection_settings())
def test_one_by_one_is_the_batch(recipe: HeadRecipe, chosen: DetectionSettings) -> None:
    case = recipe.make()
    for image in range(recipe.images):
        alone = slice(image, image + 1)
        scores = DenseClassLogits(scores_of(case.dense)[alone])
        single = HeadOutput(case.dense.boxes[alone], scores, case.dense.network_wh)
        ours = decode(single, 0, case.head, case.image_wh, chosen)
        assert_identical(ours, decode(case.dense, image, case.head, case.image_wh, chosen))


@settings(deadline=None, max_examples=40)
@given(recipe=heads(), chosen=detection_settings(conf_threshold=0.25), few_nodes=st.booleans())
def test_nothing_gives_nothing(recipe: HeadRecipe, chosen: DetectionSettings, few_nodes: bool) -> None:
    case = recipe.make()
    boxes = case.dense.boxes.copy()
    boxes[:, :, 4] = -2  # sigma(-2) = 0.12
    one_node = Query(nodes=np.zeros(1, np.int64), labels=("root",))
    query = one_node if few_nodes and case.head.tree is not None else Query()
    detections = decode(replace(case.lazy, boxes=boxes), 0, case.head, case.image_wh, chosen, query)
    assert len(detections) == 0
    assert detections.boxes_xyxy.shape == (0, 4)
    assert (detections.names, detections.answers, detections.size_wh) == ((), (), case.image_wh)
    assert detections.to_dict()["detections"] == detections.to_coco(7) == []


@settings(deadline=None, max_examples=60)
@given(recipe=heads(images=st.just(1)), chosen=detection_settings())
def test_detections_are_sound(recipe: HeadRecipe, chosen: DetectionSettings) -> None:
    case = recipe.make()
    detections = decode(case.dense, 0, case.head, case.image_wh, chosen)
    left, top, right, bottom = detections.boxes_xyxy.T
    width, height = case.image_wh
    assert ((left >= 0) & (left <= right) & (right <= width)).all()
    assert ((top >= 0) & (top <= bottom) & (bottom <= height)).all()
    assert (np.diff(detections.scores) <= 0).all()
    assert ((detections.scores > chosen.conf_threshold) & (detections.scores <= 1)).all()
    assert len(detections) <= chosen.max_detections
    assert detections.names == tuple(case.head.names[label] for label in detections.labels)
    assert len(detections.answers) == (len(detections) if case.head.tree else 0)
    unlimited = decode(case.dense, 0, case.head, case.image_wh, chosen.model_copy(update={"max_detections": UNLIMITED}))
    assert_identical(detections, unlimited.select(range(min(len(unlimited), chosen.max_detections))))


@settings(deadline=None, max_examples=60)
@given(recipe=heads(images=st.just(1)), chosen=detection_settings(), data=st.data())
def test_keep_is_choosing_afterwards(recipe: HeadRecipe, chosen: DetectionSettings, data: st.DataObject) -> None:
    case = recipe.make()
    count = len(case.head.names)
    keep = np.array(data.draw(st.lists(st.booleans(), min_size=count, max_size=count)))
    every = decode(case.dense, 0, case.head, case.image_wh, chosen.model_copy(update={"max_detections": UNLIMITED}))
    afterwards = every.select(np.flatnonzero(keep[every.labels])[: chosen.max_detections])
    assert_identical(decode(case.dense, 0, case.head, case.image_wh, chosen, Query(keep=keep)), afterwards)


WILD = [0.0, -0.0, 1.0, -3.0, 87.0, -87.0, 88.7, 89.0, 300.0, 1e30, -1e30, 3e38, -3e38, np.inf, -np.inf, np.nan]


@pytest.mark.parametrize("lazy", [False, True], ids=["dense", "lazy"])
@settings(deadline=None, max_examples=80)
@given(recipe=heads(images=st.just(1)), chosen=detection_settings(), wild_scores=st.booleans())
def test_wild_values_never_raise(lazy: bool, recipe: HeadRecipe, chosen: DetectionSettings, wild_scores: bool) -> None:
    """Warnings are errors in the test run, so that this also says: no warning of NumPy's."""
    case = recipe.make()
    rng = np.random.default_rng(recipe.seed)
    boxes = rng.choice(WILD, case.dense.boxes.shape).astype(np.float32)
    output = replace(case.lazy if lazy else case.dense, boxes=boxes)
    if wild_scores:
        rows = output.class_logits
        field = "features" if lazy else "logits"
        wild = rng.choice(WILD, getattr(rows, field).shape).astype(np.float32)
        output = replace(output, class_logits=replace(rows, **{field: wild}))  # type: ignore[type-var]
    detections = decode(output, 0, case.head, case.image_wh, chosen)
    left, top, right, bottom = detections.boxes_xyxy.T
    width, height = case.image_wh
    assert ((left >= 0) & (left <= right) & (right <= width)).all()
    assert ((top >= 0) & (top <= bottom) & (bottom <= height)).all()
    assert ((detections.scores > chosen.conf_threshold) & (detections.scores <= 1)).all()
    for answer in detections.answers:
        beside = [step for step in (answer.next_best, answer.runner_up) if step]
        assert all(0 <= step.probability <= 1 + CLOSE for step in (*answer.path, *beside))


# A tree of one level against flat classes, computed one number at a time


@dataclass(frozen=True)
class Oracle:
    """What one anchor gives: its box in pixels of the image, not clipped, and its best class."""

    box_xyxy: tuple[float, float, float, float]
    label: int
    score: float


def logistic(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def oracle_of_anchors(case: HeadCase, threshold: float) -> list[Oracle]:
    """The formulas of §2, for images that are stretched, each class a softmax over all."""
    t, scores = case.dense.boxes[0], scores_of(case.dense)[0]
    prior_count, _, height, width = t.shape
    image_width, image_height = case.image_wh
    anchors = []
    for prior in range(prior_count):
        for row in range(height):
            for column in range(width):
                tx, ty, tw, th, to = (float(v) for v in t[prior, :, row, column])
                logits = [float(v) for v in scores[prior, :, row, column]]
                exponentials = [math.exp(v - max(logits)) for v in logits]
                label = exponentials.index(max(exponentials))
                score = logistic(to) * exponentials[label] / sum(exponentials)
                x = (column + logistic(tx)) / width * image_width
                y = (row + logistic(ty)) / height * image_height
                w = float(case.head.anchors_wh_cells[prior, 0]) * math.exp(tw) / width * image_width
                h = float(case.head.anchors_wh_cells[prior, 1]) * math.exp(th) / height * image_height
                if score > threshold:
                    anchors.append(Oracle((x - w / 2, y - h / 2, x + w / 2, y + h / 2), label, score))
    return anchors


def plain_iou(a: tuple, b: tuple) -> float | Fraction:
    """Intersection over union of two boxes of Python numbers; 0 where both have no area."""
    width = max(0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0, min(a[3], b[3]) - max(a[1], b[1]))
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - width * height
    return width * height / union if union else 0


def oracle_of_detections(anchors: list[Oracle], overlap: float) -> list[Oracle]:
    """Suppression within each class: from the best down, what overlaps one that stands falls."""
    stand: list[Oracle] = []
    for one in sorted(anchors, key=lambda one: -one.score):
        if all(other.label != one.label or plain_iou(other.box_xyxy, one.box_xyxy) <= overlap for other in stand):
            stand.append(one)
    return stand


def is_clear(case: HeadCase, threshold: float, overlap: float) -> bool:
    """Whether no comparison is so close that float32 could decide it the other way."""
    anchors = oracle_of_anchors(case, 0.0)
    scores = sorted(one.score for one in anchors)
    overlaps = [plain_iou(a.box_xyxy, b.box_xyxy) for a in anchors for b in anchors if a is not b]
    gaps = [abs(score - threshold) for score in scores] + [abs(value - overlap) for value in overlaps]
    gaps += [b - a for a, b in pairwise(scores)]
    return min(gaps, default=1.0) > CLOSE


@settings(deadline=None, max_examples=60)
@given(recipe=heads("tree", images=st.just(1), parents=st.integers(1, 12).map(lambda count: [-1] * count)))
def test_a_tree_of_one_level_is_flat_classes(recipe: HeadRecipe) -> None:
    threshold, overlap = 0.1, 0.35
    case = replace(recipe, resize_mode="stretch").make()
    assume(is_clear(case, threshold, overlap))
    detections = decode(
        case.dense,
        0,
        case.head,
        case.image_wh,
        DetectionSettings(conf_threshold=threshold, nms_iou=overlap, max_detections=999),
    )
    theirs = oracle_of_detections(oracle_of_anchors(case, threshold), overlap)
    assert detections.labels.tolist() == [one.label for one in theirs]
    np.testing.assert_allclose(detections.scores, [one.score for one in theirs], rtol=CLOSE)
    size = np.array([*case.image_wh, *case.image_wh])
    boxes = np.array([one.box_xyxy for one in theirs]).reshape(-1, 4).clip(0, size)
    np.testing.assert_allclose(detections.boxes_xyxy, boxes, atol=1e-4 * size.max())


@settings(deadline=None, max_examples=40)
@given(
    recipe=heads("tree", images=st.just(1), parents=st.integers(1, 40).map(lambda count: [-1] * count)),
    chosen=detection_settings(hier_decoding="conditional"),
)
def test_a_tree_of_one_level_scores_as_softmax(recipe: HeadRecipe, chosen: DetectionSettings) -> None:
    case = recipe.make()
    assert case.head.tree is not None
    candidates = find_candidates(case.dense, 0, case.head, case.image_wh, chosen.conf_threshold)
    flat = flat_scores(case.dense, 0, replace(case.head, classes="softmax", tree=None), candidates)
    tree_paths = decode_tree(case.dense, 0, case.head.tree, candidates, chosen)
    assert [tree_path.nodes for tree_path in tree_paths] == [(int(label),) for label in flat.argmax(axis=1)]
    ours = candidates.objectness * np.array([tree_path.conditionals[0] for tree_path in tree_paths], np.float32)
    np.testing.assert_allclose(ours, flat.max(axis=1), rtol=1e-6)  # sums in another order


# Suppression


@dataclass(frozen=True)
class Scene:
    """Labelled boxes at whole numbers, so that exact IoU can be had; few scores, so that many are equal."""

    corners: list[tuple[int, int, int, int]]
    objectness: list[int]
    parents: list[int]
    seed: int

    def candidates(self) -> Candidates:
        corners = np.array(self.corners, np.float32).reshape(-1, 4)
        boxes = np.concatenate([(corners[:, :2] + corners[:, 2:]) / 2, corners[:, 2:] - corners[:, :2]], axis=1)
        return Candidates(np.arange(len(corners)), np.array(self.objectness, np.float32) / 8, boxes)

    def labelled(self, *, flat: bool) -> LabelledBoxes:
        """Each box with one label of a tree; as flat classes some with several labels and some with none."""
        rng = np.random.default_rng(self.seed)
        tree, count = tree_of(self.parents), len(self.corners)
        each = rng.integers(0, 3, count).clip(max=len(tree)) if flat else np.ones(count, np.int64)
        candidates = np.repeat(np.arange(count), each)
        labels = np.array([label for n in each for label in rng.permutation(len(tree))[:n]], np.int64)
        scores = (rng.integers(1, 5, len(labels)) / 4).astype(np.float32)
        paths = None if flat else paths_of([tree.path(label) for label in labels.tolist()])
        return LabelledBoxes(candidates, labels, scores, paths)


@st.composite
def scenes(draw: st.DrawFn) -> Scene:
    count = draw(st.integers(0, 14))
    side = st.tuples(st.integers(0, 6), st.integers(0, 5))  # from, and how long: 0 is no area
    pairs = draw(st.lists(st.tuples(side, side), min_size=count, max_size=count))
    return Scene(
        corners=[(x, y, x + w, y + h) for (x, w), (y, h) in pairs],
        objectness=draw(st.lists(st.integers(1, 7), min_size=count, max_size=count)),
        parents=draw(parents_of_trees(st.integers(1, 9))),
        seed=draw(st.integers(0, 2**32 - 1)),
    )


def plain_suppression(
    boxes: list[tuple[int, int, int, int]],
    order: list[int],
    overlap: float,
    same: Callable[[int, int], bool],
) -> set[int]:
    """From the first down: a box falls if it can be one object with one that stands and overlaps it by more."""
    stand: list[int] = []
    for index in order:
        exact = [tuple(map(Fraction, boxes[i])) for i in (*stand, index)]
        if not any(
            same(other, index) and plain_iou(box, exact[-1]) > Fraction(overlap)
            for other, box in zip(stand, exact, strict=False)
        ):
            stand.append(index)
    return set(stand)


OVERLAPS = st.sampled_from([0.0, 0.125, 0.25, 0.5, 0.75, 1.0])


@settings(deadline=None, max_examples=150)
@given(scene=scenes(), overlap=OVERLAPS, flat=st.booleans(), decoding=st.sampled_from(["conditional", "darknet"]))
def test_suppression_within_labels(scene: Scene, overlap: float, flat: bool, decoding: str) -> None:
    candidates, labelled = scene.candidates(), scene.labelled(flat=flat)
    how = DetectionSettings(nms_iou=overlap, suppression="label", hier_decoding=decoding)
    boxes = [scene.corners[index] for index in labelled.candidates]
    order = sorted(range(len(boxes)), key=lambda i: -labelled.scores[i])
    theirs = plain_suppression(boxes, order, overlap, lambda a, b: labelled.labels[a] == labelled.labels[b])
    stand = remaining(candidates, labelled, how).tolist()
    assert len(stand) == len(set(stand))
    assert set(stand) == theirs
    if flat or decoding == "darknet":  # then it is what is done where nothing is asked for
        assert remaining(candidates, labelled, how.model_copy(update={"suppression": None})).tolist() == stand
    if flat:  # flat classes have no paths
        assert remaining(candidates, labelled, how.model_copy(update={"suppression": "path"})).tolist() == stand


@settings(deadline=None, max_examples=150)
@given(scene=scenes(), overlap=OVERLAPS)
def test_suppression_along_paths_and_among_siblings(scene: Scene, overlap: float) -> None:
    candidates, labelled, tree = scene.candidates(), scene.labelled(flat=False), tree_of(scene.parents)
    how = DetectionSettings(nms_iou=overlap, suppression="path")
    depths = [len(tree.path(int(label))) for label in labelled.labels]
    order = sorted(range(len(depths)), key=lambda i: (-depths[i], -labelled.scores[i]))

    def one_object(a: int, b: int) -> bool:
        la, lb = int(labelled.labels[a]), int(labelled.labels[b])
        siblings = scene.parents[la] == scene.parents[lb] >= 0
        return la in tree.path(lb) or lb in tree.path(la) or siblings

    stand = remaining(candidates, labelled, how).tolist()
    assert stand == [index for index in order if index in plain_suppression(scene.corners, order, overlap, one_object)]
    assert remaining(candidates, labelled, how.model_copy(update={"suppression": None})).tolist() == stand

    again = [stand[i] for i in tree_nms(*tree_nms_arguments(scene, labelled, stand), overlap)]
    assert again == stand


def tree_nms_arguments(scene: Scene, labelled: LabelledBoxes, indices: list[int]) -> tuple:
    boxes = np.array([scene.corners[labelled.candidates[i]] for i in indices], np.float32).reshape(-1, 4)
    assert labelled.paths is not None
    return boxes, labelled.scores[indices], labelled.paths.nodes[indices]


@settings(deadline=None, max_examples=150)
@given(scene=scenes(), overlap=OVERLAPS, flat=st.booleans())
def test_suppression_by_objectness(scene: Scene, overlap: float, flat: bool) -> None:
    """The best box stays with all its labels; the rest go with all theirs."""
    candidates, labelled = scene.candidates(), scene.labelled(flat=flat)
    order = sorted(range(len(scene.corners)), key=lambda i: -scene.objectness[i])
    best = plain_suppression(scene.corners, order, overlap, lambda a, b: True)
    stand = remaining(candidates, labelled, DetectionSettings(nms_iou=overlap, suppression="objectness"))
    assert stand.tolist() == [i for i, index in enumerate(labelled.candidates) if index in best]


@settings(deadline=None, max_examples=100)
@given(scene=scenes(), overlap=OVERLAPS)
def test_nms_of_what_stands_changes_nothing(scene: Scene, overlap: float) -> None:
    boxes = np.array(scene.corners, np.float32).reshape(-1, 4)
    scores = np.array(scene.objectness, np.float32)
    kept = nms(boxes, scores, overlap)
    assert (np.diff(scores[kept]) <= 0).all()
    np.testing.assert_array_equal(kept[nms(boxes[kept], scores[kept], overlap)], kept)


@settings(deadline=None, max_examples=100)
@given(
    scene=scenes(),
    overlap=st.floats(0, 1),
    scale=st.sampled_from([2.0**-12, 0.5, 2.0, 2.0**20]),
    shift=st.tuples(st.integers(-1000, 1000), st.integers(-1000, 1000)),
)
def test_nms_does_not_depend_on_position_and_size(
    scene: Scene, overlap: float, scale: float, shift: tuple[int, int]
) -> None:
    """Powers of two and whole numbers change no digit of a float32, so the equality is exact."""
    boxes = np.array(scene.corners, np.float32).reshape(-1, 4)
    scores = np.array(scene.objectness, np.float32)
    moved = boxes * np.float32(scale) + np.float32(scale) * np.array([*shift, *shift], np.float32)
    np.testing.assert_array_equal(nms(moved, scores, overlap), nms(boxes, scores, overlap))
    np.testing.assert_array_equal(iou(moved[:, None], moved), iou(boxes[:, None], boxes))


# Boxes back to the image


@settings(deadline=None)
@given(
    image_wh=image_sizes(3000),
    cells_wh=st.tuples(st.integers(1, 20), st.integers(1, 20)).filter(lambda wh: wh[0] != wh[1]),
    box=st.tuples(*[st.floats(0, 1, width=32)] * 4),
)
def test_boxes_come_back_from_where_letterbox_put_them(
    image_wh: tuple[int, int], cells_wh: tuple[int, int], box: tuple[float, float, float, float]
) -> None:
    """`letterbox` leaves a whole number of pixels left and top, the way back takes half of what is free."""
    network_wh = (32 * cells_wh[0], 32 * cells_wh[1])
    sizes = letterbox_size(image_wh, network_wh)
    assert all(1 <= size <= side for size, side in zip(sizes, network_wh, strict=True))
    assert any(size == side for size, side in zip(sizes, network_wh, strict=True))
    centres, lengths = np.array(box[:2]), np.array(box[2:])
    border = np.array([(side - size) // 2 for size, side in zip(sizes, network_wh, strict=True)])
    placed = np.concatenate([border + centres * sizes, lengths * sizes]) / np.array([*network_wh, *network_wh])
    back = boxes_to_image(placed[None].astype(np.float32), network_wh, image_wh, "letterbox")[0]
    pixels_off = np.abs(back[:2] - centres) * sizes
    assert (pixels_off <= 0.5 + 1e-3).all()
    np.testing.assert_allclose(back[2:], lengths, rtol=1e-5, atol=1e-6)
    even = [(side - size) % 2 == 0 for size, side in zip(sizes, network_wh, strict=True)]
    assert (pixels_off[even] <= 1e-3).all()


@settings(deadline=None)
@given(image_wh=image_sizes(3000), box=st.tuples(*[st.floats(-2, 2, width=32)] * 4))
def test_stretched_boxes_stay_as_they_are(image_wh: tuple[int, int], box: tuple[float, ...]) -> None:
    boxes = np.array([box], np.float32)
    back = boxes_to_image(boxes, (64, 96), image_wh, "stretch")
    np.testing.assert_array_equal(back, boxes)
    assert back is not boxes


@settings(deadline=None)
@given(box=st.tuples(*[st.integers(-4000, 4000).map(lambda n: n / 4)] * 4))
def test_corners_are_half_a_side_from_the_centre(box: tuple[float, float, float, float]) -> None:
    x, y, width, height = box
    corners = cxcywh_to_xyxy(np.array([box]))[0]
    assert corners.tolist() == [x - width / 2, y - height / 2, x + width / 2, y + height / 2]
