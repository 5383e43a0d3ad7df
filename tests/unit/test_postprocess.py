"""Small heads whose detections can be worked out by hand.

Handy values: sigma(0) = 1/2, sigma(ln 3) = 3/4, sigma(-ln 3) = 1/4, sigma(ln 9) = 9/10.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from support.heads import paths_of

from yolo9000.architectures.head import Head
from yolo9000.inference.decode import decode, flat_scores, label_candidates
from yolo9000.inference.head_output import (
    Candidates,
    ClassLogits,
    DenseClassLogits,
    HeadOutput,
    LazyClassLogits,
    decode_boxes,
    find_candidates,
    node_scores,
    sigmoid,
    softmax,
    softmax_of_segments,
)
from yolo9000.inference.query import Query
from yolo9000.inference.settings import DetectionSettings
from yolo9000.inference.suppress import tree_nms
from yolo9000.inference.tree_decode import decode_tree
from yolo9000.taxonomy.wordtree import WordTree
from yolo9000.types import Detections, PathStep

LN2, LN3, LN9 = math.log(2), math.log(3), math.log(9)
ANCHORS = np.array([[1.0, 2.0], [3.0, 0.5]], np.float32)
NETWORK_WH = (96, 64)  # a grid of 3 x 2 cells of 32 pixels
H, W = 2, 3
NOWHERE = -20.0  # t_o of an anchor that sees nothing: sigma is 2e-9


def anchor(prior: int, row: int, column: int) -> int:
    return prior * H * W + row * W + column


def head_output(objects: dict[int, tuple[list[float], list[float]]], classes: int, priors: int = 2) -> HeadOutput:
    """A batch of one, with t and class scores at some anchors and nothing at the others."""
    boxes = np.zeros((1, priors, 5, H, W), np.float32)
    boxes[:, :, 4] = NOWHERE
    scores = np.zeros((1, priors, classes, H, W), np.float32)
    for number, (t, logits) in objects.items():
        prior, row, column = np.unravel_index(number, (priors, H, W))
        boxes[0, prior, :, row, column] = t
        scores[0, prior, :, row, column] = logits
    return HeadOutput(boxes, DenseClassLogits(scores), NETWORK_WH)


def head_of(names: tuple[str, ...], classes: str = "softmax", **rest: object) -> Head:
    return Head(ANCHORS, names, classes, resize_mode="stretch", **rest)  # type: ignore[arg-type]


#          0 animal     1 furniture
#          2 dog 3 cat  4 sofa
#          5 terrier 6 poodle
PETS = WordTree.from_parents(
    [-1, -1, 0, 0, 1, 2, 2],
    names=["animal", "furniture", "dog", "cat", "sofa", "terrier", "poodle"],
    ids=[f"n{i}" for i in range(7)],
)
PET_HEAD = head_of(PETS.names, "tree", tree=PETS)
ANIMAL, DOG, CAT, SOFA, TERRIER, POODLE = (0,), (0, 2), (0, 3), (1, 4), (0, 2, 5), (0, 2, 6)


def pet_logits(animal: float = 0.0, dog: float = 0.0, terrier: float = 0.0) -> list[float]:
    """Logits with ln of the odds at each of the three splits; the sofa has no siblings."""
    return [animal, 0, dog, 0, 0, terrier, 0]


# Functions of numbers


def test_sigmoid() -> None:
    x = np.array([0, LN3, -LN3, 1000, -1000, np.inf, -np.inf], np.float32)
    np.testing.assert_allclose(sigmoid(x), [0.5, 0.75, 0.25, 1, 0, 1, 0], rtol=1e-6)


def test_softmax() -> None:
    # exponentials 1, 2, 5 of 8; 1, 1, 6 of 8
    x = np.log(np.array([[1, 2, 5], [1, 1, 6]], np.float32))
    np.testing.assert_allclose(softmax(x), [[0.125, 0.25, 0.625], [0.125, 0.125, 0.75]], rtol=1e-6)
    np.testing.assert_allclose(softmax(x + 10_000), softmax(x), rtol=1e-2)  # no overflow


def test_softmax_of_scores_that_are_not_finite() -> None:
    x = np.array([[0, np.nan], [np.inf, 0], [-np.inf, -np.inf], [-np.inf, 3]], np.float32)
    assert softmax(x).tolist() == [[0, 0], [0, 0], [0, 0], [0, 1]]


# Boxes


def test_direct_location_prediction() -> None:
    """b_x = (sigma(t_x) + c_x) / W, b_y = (sigma(t_y) + c_y) / H, b_w = p_w e^t_w / W, b_h = p_h e^t_h / H."""
    t = np.zeros((2, 5, H, W), np.float32)
    t[0, :4, 0, 0] = 0, LN3, 0, LN2
    t[1, :4, 1, 2] = -LN3, 0, -LN2, LN3
    boxes = decode_boxes(t, np.array([anchor(0, 0, 0), anchor(1, 1, 2), anchor(1, 0, 1)]), ANCHORS)
    expected = [
        # prior 0 is 1 x 2 cells, cell (column 0, row 0): (.5 + 0)/3, (.75 + 0)/2, 1 * 1/3, 2 * 2/2
        [0.5 / 3, 0.75 / 2, 1 / 3, 2.0],
        # prior 1 is 3 x .5 cells, cell (2, 1): (.25 + 2)/3, (.5 + 1)/2, 3 * .5/3, .5 * 3/2
        [2.25 / 3, 1.5 / 2, 0.5, 0.75],
        # prior 1, cell (1, 0), all t zero: (.5 + 1)/3, (.5 + 0)/2, 3/3, .5/2
        [0.5, 0.25, 1.0, 0.25],
    ]
    np.testing.assert_allclose(boxes, expected, rtol=1e-6)


def test_no_anchors_give_no_boxes() -> None:
    boxes = decode_boxes(np.zeros((2, 5, H, W), np.float32), np.zeros(0, np.int64), ANCHORS)
    assert boxes.shape == (0, 4)
    assert boxes.dtype == np.float32


def test_anchors_are_numbered_by_prior_row_and_column() -> None:
    here = [anchor(0, 1, 0), anchor(1, 0, 2)]  # 3 and 8
    output = head_output({number: ([0, 0, 0, 0, LN3], [0, 0]) for number in here}, 2)
    candidates = find_candidates(output, 0, head_of(("a", "b")), (300, 200), 0.5)
    assert candidates.anchors.tolist() == here == [3, 8]
    np.testing.assert_allclose(candidates.objectness, [0.75, 0.75], rtol=1e-6)


def test_objectness_must_be_above_the_threshold() -> None:
    output = head_output({0: ([0, 0, 0, 0, 0], [0, 0])}, 2)  # sigma(0) is exactly .5
    assert len(find_candidates(output, 0, head_of(("a", "b")), (300, 200), 0.5).anchors) == 0
    assert len(find_candidates(output, 0, head_of(("a", "b")), (300, 200), 0.499).anchors) == 1


def test_boxes_of_a_letterboxed_image() -> None:
    """300 x 100 in 96 x 64 is 96 x 32 with 16 free rows above and below."""
    output = head_output({anchor(0, 0, 1): ([0, LN3, 0, -LN2, LN9], [0])}, 1)
    head = replace(head_of(("thing",)), resize_mode="letterbox")
    # on the network's input: centre (1.5/3, .75/2) = (48, 24) pixels, 1/3 x 1/2 of it = 32 x 32 pixels;
    # in the image 3.125 times as large: centre (150, (24 - 16) * 3.125 = 25), 100 x 100: top at -25, clipped to 0
    detections = decode(output, 0, head, (300, 100), DetectionSettings())
    np.testing.assert_allclose(detections.boxes_xyxy, [[100, 0, 200, 75]], atol=1e-4)
    assert detections.scores[0] == pytest.approx(0.9)
    assert detections.size_wh == (300, 100)


# Classes


def test_softmax_gives_a_box_every_class_above_the_threshold() -> None:
    # probabilities 5/8, 2/8, 1/8; objectness .75: scores .46875, .1875, .09375
    output = head_output({anchor(1, 1, 2): ([0, 0, 0, 0, LN3], [math.log(5), LN2, 0])}, 3)
    detections = decode(output, 0, head_of(("a", "b", "c")), (300, 200), DetectionSettings(conf_threshold=0.1))
    np.testing.assert_allclose(detections.scores, [0.46875, 0.1875], rtol=1e-6)
    assert detections.labels.tolist() == [0, 1]
    assert detections.names == ("a", "b")
    assert detections.answers == ()
    # cell (2, 1), prior 3 x .5: centre (2.5/3 * 300, 1.5/2 * 200), 300 x 50 pixels: (100, 125, 400, 175), clipped
    np.testing.assert_allclose(detections.boxes_xyxy, [[100, 125, 300, 175]] * 2, atol=1e-4)


def test_sigmoid_takes_each_class_by_itself() -> None:
    # sigma: 3/4, 1/2, 1/4; objectness .75: .5625, .375, .1875
    output = head_output({0: ([0, 0, 0, 0, LN3], [LN3, 0, -LN3])}, 3)
    detections = decode(
        output, 0, head_of(("a", "b", "c"), "sigmoid"), (300, 200), DetectionSettings(conf_threshold=0.2)
    )
    np.testing.assert_allclose(detections.scores, [0.5625, 0.375], rtol=1e-6)
    assert detections.labels.tolist() == [0, 1]


def test_flat_scores_of_no_candidates() -> None:
    output = head_output({}, 3)
    nobody = Candidates(np.zeros(0, np.int64), np.zeros(0, np.float32), np.zeros((0, 4), np.float32))
    assert flat_scores(output, 0, head_of(("a", "b", "c")), nobody).shape == (0, 3)


def test_labels_above_the_threshold_only() -> None:
    output = head_output({0: ([0, 0, 0, 0, LN3], [0, 0])}, 2)  # .75 x .5 for both
    for threshold, labels in ((0.375, []), (0.374, [0, 1])):
        detections = decode(output, 0, head_of(("a", "b")), (300, 200), DetectionSettings(conf_threshold=threshold))
        assert detections.labels.tolist() == labels


def test_keep_leaves_out_after_suppression_and_before_counting() -> None:
    objects = {
        anchor(0, 0, 0): ([0, 0, 0, 0, LN9], [0.0, 20.0]),  # b, .9
        anchor(0, 1, 2): ([0, 0, 0, 0, LN3], [20.0, 0.0]),  # a, .75
    }
    output, head = head_output(objects, 2), head_of(("a", "b"))
    only_one = DetectionSettings(max_detections=1)
    assert decode(output, 0, head, (300, 200), only_one).names == ("b",)
    assert decode(output, 0, head, (300, 200), only_one, Query(keep=np.array([True, False]))).names == ("a",)
    assert len(decode(output, 0, head, (300, 200), only_one, Query(keep=np.array([False, False])))) == 0


def test_rows_on_demand_are_a_matrix_product() -> None:
    """1 image, 2 channels on a 1 x 2 grid, 2 anchors, 3 classes."""
    features = np.array([[[[1, 2]], [[10, 20]]]], np.float32)  # cell 0 reads (1, 10), cell 1 reads (2, 20)
    weights = np.array([[[1, 0], [0, 1], [1, 1]], [[2, 0], [0, 2], [-1, 1]]], np.float32)
    biases = np.array([[0, 0, 100], [1, 2, 3]], np.float32)
    lazy = LazyClassLogits(features, weights, biases)
    assert isinstance(lazy, ClassLogits)
    # anchors 0, 1 are prior 0 in cells 0, 1; anchors 2, 3 are prior 1
    rows = lazy.rows(0, np.array([3, 0, 1]), 1, 3)
    # prior 1, cell 1: 0*2 + 2*20 + 2 = 42 and -2 + 20 + 3 = 21; prior 0, cell 0: 10, 1 + 10 + 100; cell 1: 20, 122
    assert rows.tolist() == [[42, 21], [10, 111], [20, 122]]
    assert lazy.rows(0, np.zeros(0, np.int64), 0, 3).shape == (0, 3)


def test_many_rows_are_the_same_in_one_product(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(4)
    features, weights = rng.normal(size=(2, 5, 2, 3)).astype("f4"), rng.normal(size=(2, 7, 5)).astype("f4")
    lazy = LazyClassLogits(features, weights, rng.normal(size=(2, 7)).astype("f4"))
    anchors = np.array([8, 1, 7, 2, 11])
    few = lazy.rows(1, anchors, 2, 6)
    monkeypatch.setattr("yolo9000.inference.head_output.WORTH_THREADS", 0)
    np.testing.assert_allclose(lazy.rows(1, anchors, 2, 6), few, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", [LazyClassLogits, DenseClassLogits])
def test_segments_are_rows_of_other_classes_for_each_anchor(kind: type) -> None:
    """2 images, 3 channels on a 2 x 3 grid, 2 anchors, 7 classes; anchors and classes in no order."""
    rng = np.random.default_rng(3)
    features, weights = rng.normal(size=(2, 3, 2, 3)).astype("f4"), rng.normal(size=(2, 7, 3)).astype("f4")
    biases = rng.normal(size=(2, 7)).astype("f4")
    dense = np.einsum("ncij,akc->nakij", features, weights) + biases[:, :, None, None]
    logits = LazyClassLogits(features, weights, biases) if kind is LazyClassLogits else DenseClassLogits(dense)
    anchors = np.array([8, 1, 7, 2, 11])
    items, firsts, sizes = np.array([4, 0, 1, 2, 0]), np.array([2, 0, 5, 2, 2]), np.array([3, 2, 1, 3, 3])
    segments = logits.segments(1, anchors)(items, firsts, sizes)
    rows = [
        logits.rows(1, anchors[[item]], int(first), int(first + size))[0]
        for item, first, size in zip(items, firsts, sizes, strict=True)
    ]
    np.testing.assert_allclose(segments, np.concatenate(rows), atol=1e-6)
    assert abs(segments).min() > 1e-3


def test_softmax_of_segments() -> None:
    # (0, ln 3): 1/4, 3/4; (5): 1; (0, 0, ln 2): 1/4, 1/4, 1/2; an infinite logit leaves its segment undefined
    x = np.array([0, np.log(3), 5, 0, 0, np.log(2), np.inf, 0], np.float32)
    probabilities = softmax_of_segments(x, np.array([2, 1, 3, 2]))
    np.testing.assert_allclose(probabilities, [0.25, 0.75, 1, 0.25, 0.25, 0.5, 0, 0], rtol=1e-6)


def test_rows_computed_already_are_looked_up() -> None:
    scores = np.arange(2 * 2 * 4 * H * W, dtype=np.float32).reshape(2, 2, 4, H, W)
    dense = DenseClassLogits(scores)
    assert isinstance(dense, ClassLogits)
    rows = dense.rows(1, np.array([anchor(1, 0, 2), anchor(0, 1, 1)]), 1, 4)
    assert rows.tolist() == [scores[1, 1, 1:4, 0, 2].tolist(), scores[1, 0, 1:4, 1, 1].tolist()]
    assert dense.rows(1, np.zeros(0, np.int64), 0, 4).shape == (0, 4)


# Trees


def test_answer_tells_the_whole_walk() -> None:
    # animal 9/10, dog 3/4 of it, terrier 1/2 of that: .9, .675, .3375 <= .5, so the answer is dog
    output = head_output({0: ([0, 0, 0, 0, LN3], pet_logits(LN9, LN3, 0))}, 7)
    detections = decode(output, 0, PET_HEAD, (300, 200), DetectionSettings())
    assert detections.names == ("dog",)
    assert detections.labels.tolist() == [2]
    assert detections.scores[0] == pytest.approx(0.75 * 0.675)
    (answer,) = detections.answers
    assert [(step.node, step.name) for step in answer.path] == [(0, "animal"), (2, "dog")]
    assert [step.conditional for step in answer.path] == pytest.approx([0.9, 0.75])
    assert [step.probability for step in answer.path] == pytest.approx([0.9, 0.675])
    assert answer.stopped == "hier_thresh"
    assert close(answer.next_best, PathStep(5, "terrier", 0.5, 0.3375))
    assert close(answer.runner_up, PathStep(3, "cat", 0.25, 0.225))


def test_answer_at_a_leaf() -> None:
    # furniture 3/4, sofa 1: a leaf, and nothing beside it
    output = head_output({0: ([0, 0, 0, 0, LN3], pet_logits(-LN3))}, 7)
    detections = decode(output, 0, PET_HEAD, (300, 200), DetectionSettings())
    (answer,) = detections.answers
    assert detections.names == ("sofa",)
    assert detections.scores[0] == pytest.approx(0.75 * 0.75)
    assert answer.stopped == "leaf"
    assert answer.next_best is None
    assert answer.runner_up is None


def test_root_is_accepted_however_unlikely() -> None:
    # animal 1/2 is not above .5; it is the answer nevertheless, and the walk ends there without a look further down
    output = head_output({0: ([0, 0, 0, 0, LN9], pet_logits())}, 7)
    detections = decode(output, 0, PET_HEAD, (300, 200), DetectionSettings())
    (answer,) = detections.answers
    assert detections.names == ("animal",)
    assert detections.scores[0] == pytest.approx(0.45)
    assert answer.next_best is None
    assert close(answer.runner_up, PathStep(1, "furniture", 0.5, 0.5))


def close(ours: PathStep | None, theirs: PathStep) -> bool:
    assert ours is not None
    values_agree = (ours.conditional, ours.probability) == pytest.approx((theirs.conditional, theirs.probability))
    return values_agree and (ours.node, ours.name) == (theirs.node, theirs.name)


def test_darknets_walk_stops_higher_and_scores_objectness() -> None:
    # animal, dog, terrier at .9 each: P is .9, .81, .729, and Darknet multiplies these: .9, .729, .531
    everything = pet_logits(LN9, LN9, LN9)
    output = head_output({0: ([0, 0, 0, 0, LN3], everything)}, 7)
    paper = decode(output, 0, PET_HEAD, (300, 200), DetectionSettings(hier_thresh=0.6))
    darknet = decode(output, 0, PET_HEAD, (300, 200), DetectionSettings(hier_thresh=0.6, hier_decoding="darknet"))
    assert paper.names == ("terrier",)
    assert paper.scores[0] == pytest.approx(0.75 * 0.729)
    assert darknet.names == ("dog",)
    assert darknet.scores[0] == pytest.approx(0.75)
    assert darknet.answers[0].path[-1].probability == pytest.approx(0.81)  # P(dog), whatever the walk multiplied


def test_score_on_a_tree_must_pass_the_threshold() -> None:
    # objectness .75 passes .5, but .75 x P(animal) = .75 x .5 does not; Darknet's score is .75
    output = head_output({0: ([0, 0, 0, 0, LN3], pet_logits())}, 7)
    settings = DetectionSettings(conf_threshold=0.5)
    assert len(decode(output, 0, PET_HEAD, (300, 200), settings)) == 0
    assert len(decode(output, 0, PET_HEAD, (300, 200), settings.model_copy(update={"hier_decoding": "darknet"}))) == 1


def test_each_object_has_its_own_path() -> None:
    output = head_output(
        {
            0: ([0, 0, 0, 0, LN3], pet_logits(LN9, LN9, -LN9)),  # poodle: .729
            7: ([0, 0, 0, 0, LN3], pet_logits(-LN3)),  # sofa: .75
            11: ([0, 0, 0, 0, LN3], pet_logits(LN3, -LN9)),  # cat: .675
        },
        7,
    )
    candidates = find_candidates(output, 0, PET_HEAD, (300, 200), 0.5)
    tree_paths = decode_tree(output, 0, PETS, candidates, DetectionSettings())
    assert [tree_path.nodes for tree_path in tree_paths] == [(0, 2, 6), (1, 4), (0, 3)]
    labelled = label_candidates(output, 0, PET_HEAD, candidates, DetectionSettings(conf_threshold=0.55))
    assert labelled.candidates.tolist() == [1]  # .75 x .729 = .547, .75 x .75 = .5625, .75 x .675 = .506
    assert labelled.labels.tolist() == [4]


def test_chosen_nodes_as_classes() -> None:
    # animal .9, dog .675, sofa .1 x 1, terrier .675 x .5; objectness .75; in any order, a node may stand twice
    output = head_output({0: ([0, 0, 0, 0, LN3], pet_logits(LN9, LN3, 0))}, 7)
    candidates = find_candidates(output, 0, PET_HEAD, (300, 200), 0.5)
    scores = node_scores(output, 0, PETS, candidates, np.array([5, 0, 4, 2, 5]))
    np.testing.assert_allclose(scores, [[0.253125, 0.675, 0.075, 0.50625, 0.253125]], rtol=1e-5)
    np.testing.assert_allclose(node_scores(output, 0, PETS, candidates, np.array([0])), [[0.675]], rtol=1e-5)
    query = Query(nodes=np.array([5, 2]), labels=("small dog", "any dog"))
    detections = decode(output, 0, PET_HEAD, (300, 200), DetectionSettings(conf_threshold=0.25), query)
    assert detections.names == ("any dog", "small dog")
    assert detections.labels.tolist() == [1, 0]
    assert detections.answers == ()


# One object, one path: x, y from 0 to 10 and so on, IoU worked out beside

BOX = [0, 0, 10, 10]
NEAR = [0, 0, 10, 8]  # IoU with BOX: 80 / 100
AWAY = [50, 0, 60, 10]


def stands(*objects: tuple[list[int], float, tuple[int, ...]], threshold: float = 0.45) -> list[int]:
    boxes, scores, paths = zip(*objects, strict=True)
    nodes = paths_of(paths).nodes
    return tree_nms(np.array(boxes, np.float32), np.array(scores, np.float32), nodes, threshold).tolist()


def test_terrier_hides_the_dog_it_is() -> None:
    assert stands((BOX, 0.9, DOG), (NEAR, 0.3, TERRIER)) == [1]
    assert stands((BOX, 0.9, ANIMAL), (NEAR, 0.3, TERRIER)) == [1]


def test_dog_on_a_sofa() -> None:
    assert sorted(stands((BOX, 0.9, SOFA), (NEAR, 0.8, DOG))) == [0, 1]


def test_of_two_terriers_the_better_stands() -> None:
    assert stands((BOX, 0.6, TERRIER), (NEAR, 0.7, TERRIER)) == [1]
    assert stands((BOX, 0.6, TERRIER), (NEAR, 0.6, TERRIER)) == [0]  # equal: the earlier


def test_terrier_and_poodle_on_one_dog() -> None:
    assert stands((BOX, 0.6, TERRIER), (NEAR, 0.7, POODLE)) == [1]
    assert stands((BOX, 0.7, TERRIER), (NEAR, 0.6, POODLE), (BOX, 0.9, DOG)) == [0]
    assert sorted(stands((BOX, 0.6, TERRIER), (AWAY, 0.7, POODLE))) == [0, 1]


def test_only_siblings_with_a_parent_are_one_object() -> None:
    assert sorted(stands((BOX, 0.6, (0,)), (NEAR, 0.7, (1,)))) == [0, 1]
    assert sorted(stands((BOX, 0.6, TERRIER), (NEAR, 0.7, CAT))) == [0, 1]


def test_what_does_not_overlap_stands() -> None:
    assert sorted(stands((BOX, 0.9, DOG), (AWAY, 0.3, TERRIER), (AWAY, 0.2, DOG))) == [0, 1]


def test_overlap_must_be_above_the_threshold() -> None:
    assert stands((BOX, 0.9, DOG), (NEAR, 0.3, TERRIER), threshold=0.8) == [1, 0]  # 80 / 100 is not above .8
    assert stands((BOX, 0.9, DOG), (NEAR, 0.3, TERRIER), threshold=0.79) == [1]


def test_what_fell_hides_nothing() -> None:
    """A chain: the second falls to the first, so the third, which only the second overlaps, stands."""
    first, second, third = [0, 0, 10, 10], [4, 0, 14, 10], [8, 0, 18, 10]  # neighbours: 60 / 140; ends: 20 / 180
    assert stands((first, 0.9, DOG), (second, 0.8, DOG), (third, 0.7, DOG), threshold=0.4) == [0, 2]


def test_nothing_to_suppress() -> None:
    none = tree_nms(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros((0, 3), np.int64), 0.5)
    assert none.tolist() == []


def pets_on_one_spot(suppression: str | None, decoding: str = "conditional") -> Detections:
    """A dog, a terrier and a sofa that share a box, and nothing else."""
    objects = {
        anchor(0, 1, 1): ([0, 0, 0, 0, LN9], pet_logits(5, 5, 0)),  # dog, objectness .9
        anchor(1, 1, 1): ([0, 0, 0, 0, LN3], pet_logits(5, 5, 5)),  # terrier, objectness .75
        anchor(2, 1, 1): ([0, 0, 0, 0, LN9 + 1], pet_logits(-9)),  # sofa, objectness .96
    }
    output = head_output(objects, 7, priors=3)
    head = replace(PET_HEAD, anchors_wh_cells=np.ones((3, 2), np.float32))
    return decode(output, 0, head, (300, 200), DetectionSettings(suppression=suppression, hier_decoding=decoding))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("suppression", "decoding", "names"),
    [
        (None, "conditional", ["sofa", "terrier"]),
        ("path", "conditional", ["sofa", "terrier"]),
        ("label", "conditional", ["dog", "sofa", "terrier"]),
        ("objectness", "conditional", ["sofa"]),
        (None, "darknet", ["dog", "sofa", "terrier"]),
        ("path", "darknet", ["sofa", "terrier"]),
        ("objectness", "darknet", ["sofa"]),
    ],
)
def test_kinds_of_suppression(suppression: str | None, decoding: str, names: list[str]) -> None:
    assert sorted(pets_on_one_spot(suppression, decoding).names) == names


def test_best_first() -> None:
    detections = pets_on_one_spot("label")
    assert detections.names == ("sofa", "dog", "terrier")
    assert detections.answers[1].path[-1].name == "dog"
    assert detections.scores.tolist() == sorted(detections.scores.tolist(), reverse=True)


def test_a_head_without_the_named_anchors_is_no_head() -> None:
    """The shapes in the signatures are checked while tests run; here is the proof."""
    with pytest.raises(TypeError):
        Head(np.zeros((2, 3), np.float32), ("dog",))
