"""Tracks: motion, assignment, ids over time, labels by all evidence."""

from __future__ import annotations

import itertools
import sys

import numpy as np
import pytest
from support.clips import EXACT, NO_MISSES, TREE, clip
from support.small_tree import ANIMAL, DOG, HOUND, TERRIER, answer
from support.small_tree import TREE as SMALL_TREE

from yolo9000.errors import ConfigError, EngineError
from yolo9000.inference.evidence import Evidence, objectness_of
from yolo9000.inference.settings import DetectionSettings
from yolo9000.tracking.appearance import appearance, similarity
from yolo9000.tracking.association import assign, observations
from yolo9000.tracking.motion import FRAME_SECONDS, Motion
from yolo9000.tracking.settings import TrackingSettings
from yolo9000.tracking.tracker import Tracker
from yolo9000.types import Detections, PathStep, TreeAnswer

SETTINGS = DetectionSettings(hier_thresh=0.5)
SIZE_WH = (200, 120)


def flat(*rows: tuple[tuple[float, float, float, float], float, int]) -> Detections:
    """Detections with flat labels, from (box, score, label)."""
    return Detections(
        np.array([box for box, _, _ in rows], np.float32).reshape(-1, 4),
        np.array([score for _, score, _ in rows], np.float32),
        np.array([label for _, _, label in rows], np.int64),
        tuple(str(label) for _, _, label in rows),
        SIZE_WH,
    )


def on_tree(*answers: TreeAnswer, objectness: float = 0.8, box: tuple[float, ...] = (10, 20, 50, 60)) -> Detections:
    """Detections that lie on one another, from answers."""
    return Detections(
        np.array([box] * len(answers), np.float32).reshape(-1, 4),
        np.array([objectness * one.path[-1].probability for one in answers], np.float32),
        np.array([one.path[-1].node for one in answers], np.int64),
        tuple(one.path[-1].name for one in answers),
        SIZE_WH,
        answers,
    )


def leaf_answer(leaf: int, other: int, probability: float, of_other: float) -> TreeAnswer:
    """Animal .9, dog .9, then a leaf, with a sibling as the runner-up."""
    base = answer((ANIMAL, 0.9), (DOG, 0.9), (leaf, probability))
    return TreeAnswer(base.path, "leaf", None, PathStep(other, SMALL_TREE.names[other], 0.4, of_other))


def test_evidence_adds_up_at_the_ancestor() -> None:
    evidence = Evidence(SMALL_TREE, SETTINGS)
    evidence.add(on_tree(leaf_answer(TERRIER, HOUND, 0.55, 0.3)), 0)
    assert evidence.label()[0] == TERRIER
    evidence.add(on_tree(leaf_answer(HOUND, TERRIER, 0.6, 0.25)), 0)
    label, probability, tree_answer = evidence.label()
    # terrier (.55 + .25) / 2 = .4, hound (.3 + .6) / 2 = .45: neither passes .5; dog (.9 + .9) / 2 = .9 does
    assert label == DOG
    assert probability == pytest.approx(0.9)
    assert tree_answer is not None
    assert tree_answer.next_best is not None
    assert tree_answer.next_best.node == HOUND
    assert tree_answer.next_best.probability == pytest.approx(0.45)


def test_evidence_counts_in_proportion_to_objectness() -> None:
    evidence = Evidence(SMALL_TREE, SETTINGS)
    evidence.add(on_tree(leaf_answer(TERRIER, HOUND, 0.8, 0.1), objectness=0.9), 0)
    evidence.add(on_tree(leaf_answer(HOUND, TERRIER, 0.6, 0.25), objectness=0.1), 0)
    # terrier (.9 x .8 + .1 x .25) / 1 = .745
    assert evidence.label()[:2] == (TERRIER, pytest.approx(0.745))


def test_no_node_has_more_evidence_than_its_parent() -> None:
    evidence = Evidence(TREE, SETTINGS)
    for frame in clip(3, frames=12):
        for i in range(len(frame.detections)):
            evidence.add(frame.detections, i)
            sums = np.array([evidence.probability(node) for node in range(len(TREE))])
            children = TREE.parents >= 0
            assert (sums[children] <= sums[TREE.parents[children]] + 1e-9).all()


def test_evidence_of_flat_labels_is_a_vote_by_score() -> None:
    evidence = Evidence(None, SETTINGS)
    for score, label in ((0.5, 3), (0.3, 4), (0.4, 4)):
        evidence.add(flat(((0, 0, 9, 9), score, label)), 0)
    assert evidence.label()[:2] == (4, pytest.approx(0.7 / 1.2))


def test_objectness_is_the_score_without_the_label() -> None:
    detections = on_tree(answer((ANIMAL, 0.9), (DOG, 0.6)), objectness=0.7)
    assert objectness_of(detections, 0, SETTINGS) == pytest.approx(0.7)
    darknet = DetectionSettings(hier_decoding="darknet")
    assert objectness_of(detections, 0, darknet) == pytest.approx(0.42)  # there the score is the objectness


def test_motion_is_a_kalman_filter_of_constant_velocity() -> None:
    """The textbook filter with matrices, of one coordinate, as the oracle."""
    motion = Motion(np.array([10.0, 30.0, 50.0, 50.0]))  # 40 x 20 around (30, 40)
    width = 40.0
    mean, covariance = np.array([30.0, 0.0]), np.diag([(2 * width / 20) ** 2, (10 * width / 160) ** 2])
    for step, center in zip((1.0, 2.5, 1.0), (33.0, 41.0, 44.5), strict=True):
        move = np.array([[1, step], [0, 1]])
        mean, covariance = move @ mean, move @ covariance @ move.T
        covariance += step * np.diag([(width / 20) ** 2, (width / 160) ** 2])
        motion.predict(step * FRAME_SECONDS)
        gain = covariance[:, 0] / (covariance[0, 0] + (width / 20) ** 2)
        mean, covariance = mean + gain * (center - mean[0]), covariance - np.outer(gain, covariance[0])
        motion.update(np.array([center - 20, 30, center + 20, 50]))
        assert motion.position[0] == pytest.approx(mean[0])
        assert motion.velocity[0] == pytest.approx(mean[1])
    assert motion.position[1:] == pytest.approx([40, 40, 20])


def test_a_lost_object_goes_on_and_keeps_its_size() -> None:
    motion = Motion(np.array([0.0, 0.0, 20.0, 10.0]))
    for x in (4.0, 8.0, 12.0, 16.0):
        motion.predict(FRAME_SECONDS)
        motion.update(np.array([x, 0, x + 20 + x / 4, 10]))
    width = motion.position[2]
    before = motion.position[0]
    motion.predict(3 * FRAME_SECONDS, resizes=False)
    assert motion.position[2] == pytest.approx(width)
    assert motion.position[0] > before + 6


@pytest.mark.parametrize("seed", range(5))
def test_assignments_are_optimal(seed: int) -> None:
    """All assignments tried, where one without a partner counts half of what is lost by it."""
    similarities = np.random.default_rng(seed).random((3, 4))
    pairs = assign(similarities, 0.0)
    best = max(sum(similarities[i, p[i]] for i in range(3)) for p in itertools.permutations(range(4), 3))
    assert sum(similarities[pair] for pair in pairs) == pytest.approx(best)
    assert all(similarities[pair] >= 0.5 for pair in assign(similarities, 0.5))


def test_nothing_is_assigned_to_nothing() -> None:
    assert assign(np.zeros((0, 3)), 0.1) == []


def test_detections_on_one_another_are_one_object_below_one_root() -> None:
    seen = observations(on_tree(answer((ANIMAL, 0.9), (TERRIER, 0.6)), answer((ANIMAL, 0.9), (HOUND, 0.5))), SETTINGS)
    assert [set(one.indices) for one in seen] == [{0, 1}]
    seen = observations(on_tree(answer((ANIMAL, 0.9), (DOG, 0.6)), answer((1, 0.9), (5, 0.5))), SETTINGS)
    assert [len(one.indices) for one in seen] == [1, 1]  # a dog in a cup
    seen = observations(flat(((10, 10, 50, 30), 0.4, 1), ((10, 10, 50, 31), 0.9, 2)), SETTINGS)
    assert [one.indices for one in seen] == [(1, 0)]


def walk(
    tracker: Tracker, boxes: list[tuple[float, float, float, float] | None], score: float = 0.9
) -> list[list[int]]:
    """The ids in each frame of a clip of one object, None where it is not detected."""
    frames = [flat(*([] if box is None else [(box, score, 0)])) for box in boxes]
    return [[track.id for track in tracker.update(frame, i * FRAME_SECONDS)] for i, frame in enumerate(frames)]


def moving(count: int, start: float = 10.0) -> list[tuple[float, float, float, float] | None]:
    return [(start + 3 * i, 20.0, start + 3 * i + 40, 50.0) for i in range(count)]


def test_an_object_is_a_track_from_its_second_frame_and_through_a_gap() -> None:
    boxes = moving(20)
    boxes[8:14] = [None] * 6
    assert walk(Tracker(None), boxes) == [[], *[[1]] * 7, *[[]] * 6, *[[1]] * 6]


def test_faint_detections_continue_a_track_and_begin_none() -> None:
    tracker = Tracker(None)
    assert walk(tracker, moving(6), score=0.2) == [[]] * 6
    frames = [
        flat((box, score, 0)) for box, score in zip(moving(6), (0.9, 0.9, 0.2, 0.2, 0.2, 0.9), strict=True) if box
    ]
    ids = [[track.id for track in tracker.update(frame, 9 + i * FRAME_SECONDS)] for i, frame in enumerate(frames)]
    assert ids == [[], [1], [1], [1], [1], [1]]


def test_an_object_that_was_lost_for_too_long_is_a_new_one() -> None:
    settings = TrackingSettings(max_lost=5 * FRAME_SECONDS, max_away=4 * FRAME_SECONDS)
    boxes: list = [*moving(4), *[None] * 12, *moving(4, start=20)]
    tracker = Tracker(None, settings)
    ids = walk(tracker, boxes)
    assert ids[-1] == [2]
    assert [track.id for track in tracker.ended()] == [1]
    assert tracker.ended() == []
    assert [track.id for track in tracker.close()] == [2]


@pytest.mark.parametrize(("color", "expected"), [((200, 30, 30), 1), ((30, 30, 200), 2)])
def test_what_returns_and_looks_the_same_has_its_id_again(color: tuple[int, int, int], expected: int) -> None:
    """A red object leaves for two seconds; at the same side comes a red one, or a blue one."""
    tracker = Tracker(None)
    box = (150.0, 30.0, 190.0, 70.0)
    seen = []
    for i in range(80):
        pixels = np.full((120, 200, 3), 128, np.uint8)
        visible = i < 8 or i >= 68
        if visible:
            pixels[30:70, 150:190] = (200, 30, 30) if i < 8 else color
        detections = flat(*([(box, 0.9, 0)] if visible else []))
        seen.append([track.id for track in tracker.update(detections, i * FRAME_SECONDS, pixels)])
    assert seen[7] == [1]
    assert seen[-1] == [expected]
    assert len(tracker.close()) == expected


def test_the_appearance_is_the_colors_inside() -> None:
    image = np.full((40, 60, 3), (255, 0, 0), np.uint8)
    image[:, 30:] = (0, 0, 255)
    red, blue = appearance(image, np.array([0.0, 0, 28, 40])), appearance(image, np.array([32.0, 0, 60, 40]))
    both = appearance(image, np.array([0.0, 0, 60, 40]))
    assert red.sum() == pytest.approx(1)
    assert similarity(red, red) == pytest.approx(1)
    assert similarity(red, blue) == 0
    assert similarity(red, both) == pytest.approx(np.sqrt(0.5), abs=0.02)
    outside = appearance(image, np.array([-30.0, -20, -5, -3]))  # a box that is not in the image
    assert outside.sum() == pytest.approx(1)


def test_time_must_rise() -> None:
    tracker = Tracker(None)
    tracker.update(flat(), 1.0)
    with pytest.raises(ValueError, match="must rise"):
        tracker.update(flat(), 1.0)


def test_exact_detections_give_exact_tracks() -> None:
    """Without bars and noise every object in view has one id, and its own leaf."""
    tracker, owner, labels = Tracker(TREE), {}, {}
    for frame in clip(5, frames=60, objects=3, bars=0, noise=EXACT):
        gt = {
            tuple(box): (number, label)
            for box, number, label in zip(frame.boxes_xyxy.astype(np.float32), frame.ids, frame.labels, strict=True)
        }
        for track in tracker.update(frame.detections, frame.seconds, frame.pixels):
            number, labels[track.id] = gt[tuple(track.box_xyxy.astype(np.float32))]
            assert owner.setdefault(track.id, number) == number
            assert track.label == labels[track.id]
    assert len(owner) >= 3


def test_labels_change_less_than_a_fifth_as_often_as_frame_by_frame() -> None:
    from support.tracking_scores import follow

    changes = np.array([follow(list(clip(seed, frames=45, noise=NO_MISSES)))[1:] for seed in range(2)]).sum(axis=0)
    assert changes[1] > 80
    assert changes[0] <= changes[1] / 5


def test_wrong_settings_name_the_argument() -> None:
    with pytest.raises(ConfigError, match=r"min_frames: must be at least 1, got 0"):
        TrackingSettings.checked(min_frames=0)
    with pytest.raises(ConfigError, match="max_age: unknown key"):
        TrackingSettings.checked(max_age=3)


def test_without_its_libraries_tracking_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lap", None)
    with pytest.raises(EngineError, match=r'tracking needs an extra: pip install "yolo9000\[track\]"'):
        Tracker(None)
