"""Counts of what crosses lines and is in zones, at every node of the tree, and heat maps."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from support.clips import NO_MISSES, SIZE_WH, TREE, Noise, clip

from yolo9000.errors import ConfigError
from yolo9000.inference.evidence import Evidence
from yolo9000.inference.settings import DetectionSettings
from yolo9000.tracking.counting import Counts, TrackCounter
from yolo9000.tracking.draw import Trails, draw_regions
from yolo9000.tracking.heat_map import HeatMap
from yolo9000.tracking.motion import Motion
from yolo9000.tracking.regions import Line, Zone, parse_line, parse_lines, read_zones
from yolo9000.tracking.tracker import Track, Tracker

NAMES = TREE.names
VEHICLE, CAR, BUS, SEDAN, TAXI, DOG = (NAMES.index(n) for n in ("vehicle", "car", "bus", "sedan", "taxi", "dog"))
SURE = Noise(position=0.01, misses=0, false_boxes=0, logits=0.8, certainty=4)
GATE = Line("gate", (100.0, 0.0), (100.0, 80.0))  # seen from its start, downwards, its left is at larger x
DOOR = Zone("door", ((40.0, 10.0), (80.0, 10.0), (80.0, 70.0), (40.0, 70.0)))


def a_track(label: int, number: int = 1, seconds: float = 0.0) -> Track:
    box = np.array([0.0, 0, 20, 20])
    evidence = Evidence(None, DetectionSettings())
    return Track(Motion(box), evidence, box, 0.9, seconds, seconds, id=number, label=label)


def move(counter: TrackCounter, track: Track, *centers: tuple[float, float], start: float = 0.0) -> list[str]:
    """What happens while a track is at some points, one a second."""
    what = []
    for i, (x, y) in enumerate(centers):
        track.box_xyxy, track.seen = np.array([x - 10, y - 10, x + 10, y + 10]), start + i
        what += [f"{event.where} {event.what}" for event in counter.update([track], start + i)]
    return what


def labels(counts: Counts) -> dict[str, int]:
    return {row["name"]: row["count"] for row in counts.rows(NAMES, TREE)}


def test_a_crossing_has_a_direction() -> None:
    counter = TrackCounter(NAMES, TREE, [GATE])
    track = a_track(CAR)
    assert move(counter, track, (130, 40), (110, 40), (90, 40), (60, 40)) == ["gate in"]
    assert move(counter, track, (95, 40), (105, 40), (130, 40), start=9.0) == ["gate out"]
    counts = counter.counts()["gate"]
    assert labels(counts["in"]) == labels(counts["out"]) == {"vehicle": 1, "car": 1}


@pytest.mark.parametrize(
    "centers",
    [
        [(130, 40), (101, 40), (99, 40), (101, 40), (130, 40)],  # trembles on the line: within a tenth of its 20 pixels
        [(130, 120), (70, 120)],  # passes behind the line's end
        [(130, 40), (110, 40)],  # does not reach it
    ],
)
def test_what_is_no_crossing(centers: list[tuple[float, float]]) -> None:
    assert move(TrackCounter(NAMES, TREE, [GATE]), a_track(CAR), *centers) == []


def test_an_object_that_is_hidden_while_it_crosses_counts() -> None:
    assert move(TrackCounter(NAMES, TREE, [GATE]), a_track(CAR), (150, 40), (50, 35)) == ["gate in"]


def test_zones_are_entered_and_left_and_time_adds_up() -> None:
    counter = TrackCounter(NAMES, TREE, zones=[DOOR])
    track = a_track(TAXI)
    points = [(20, 40), (39, 40), (60, 40), (61, 40), (79, 40), (81, 40), (100, 40)]
    assert move(counter, track, *points) == ["door enter", "door leave"]
    assert move(counter, track, (60, 40), (60, 45), start=10.0) == ["door enter"]
    counts = counter.counts()["door"]
    # inside from 2 s to 6 s (at 79 and 81 it is on the edge, within the margin of 2), and from 10 s to 11 s
    (row,) = (row for row in counts["entered"].rows(NAMES, TREE) if row["name"] == "taxi")
    assert (row["count"], row["mean_seconds"], row["max_seconds"]) == (1, 5, 5)
    assert labels(counts["inside"]) == {"vehicle": 1, "car": 1, "taxi": 1}
    events = counter.update([], 20.0, ended=[track])
    assert [(event.what, event.seconds) for event in events] == [("leave", 11)]
    assert labels(counter.counts()["door"]["inside"]) == {}
    assert labels(counter.counts()["door"]["entered"]) == {"vehicle": 1, "car": 1, "taxi": 1}


def test_counts_agree_up_the_tree_and_are_written_in_words() -> None:
    counter = TrackCounter(NAMES, TREE, [GATE])
    for number, label in enumerate([TAXI, TAXI, SEDAN, CAR, BUS, DOG]):
        move(counter, a_track(label, number), (130, 40), (70, 40))
    assert (
        "gate in: 5 x vehicle (4 x car (2 x taxi, 1 x sedan), 1 x bus), 1 x animal (1 x dog)" in counter.lines_of_text()
    )
    assert "gate out: nothing" in counter.lines_of_text()


def test_the_label_at_the_end_counts_and_not_the_one_at_the_line() -> None:
    counter = TrackCounter(NAMES, TREE, [GATE])
    track = a_track(CAR)
    move(counter, track, (130, 40), (70, 40))
    track.label = TAXI
    counter.update([], 5.0, ended=[track])
    assert labels(counter.counts()["gate"]["in"]) == {"vehicle": 1, "car": 1, "taxi": 1}


def test_ended_tracks_are_not_kept() -> None:
    counter = TrackCounter(NAMES, TREE, [GATE], [DOOR])
    for number in range(50):
        track = a_track(CAR, number)
        move(counter, track, (130, 40), (70, 40))
        counter.update([], 3.0, ended=[track])
    assert not counter._states
    assert labels(counter.counts()["objects"]["all"]) == {"vehicle": 50, "car": 50}


def test_flat_labels_are_counted() -> None:
    counter = TrackCounter(("cup", "dog"), None, [GATE])
    move(counter, a_track(1), (130, 40), (70, 40))
    assert counter.lines_of_text() == ["objects: 1 x dog", "gate in: 1 x dog", "gate out: nothing"]
    assert counter.to_dict()["gate"]["in"] == [{"label": 1, "name": "dog", "path": ["dog"], "count": 1}]


@pytest.mark.parametrize(
    ("seed", "noise", "nodes"),
    [(40, NO_MISSES, ("animal", "vehicle")), (41, SURE, NAMES), (42, SURE, NAMES)],
)
def test_counts_are_exact_on_clips_without_misses(seed: int, noise: Noise, nodes: tuple[str, ...]) -> None:
    """At every node where the labels are clear, else at the roots: objects, and crossings of a line in the middle."""
    line = Line("middle", (SIZE_WH[0] / 2, 0.0), (SIZE_WH[0] / 2, float(SIZE_WH[1])))
    tracker, pred, gt = Tracker(TREE), TrackCounter(NAMES, TREE, [line]), TrackCounter(NAMES, TREE, [line])
    objects: dict[int, Track] = {}
    for frame in clip(seed, frames=60, objects=3, bars=0, noise=noise):
        pred.update(tracker.update(frame.detections, frame.seconds, frame.pixels), frame.seconds, tracker.ended())
        for number, box, label in zip(frame.ids, frame.boxes_xyxy, frame.labels, strict=True):
            one = objects.setdefault(int(number), a_track(int(label), int(number), frame.seconds))
            one.box_xyxy, one.seen = box, frame.seconds
            gt.update([one], frame.seconds)
    for where, what in (("objects", "all"), ("middle", "in"), ("middle", "out")):
        counted, wanted = (labels(counter.counts()[where][what]) for counter in (pred, gt))
        assert [counted.get(name, 0) for name in nodes] == [wanted.get(name, 0) for name in nodes]


def test_lines_and_zones_as_users_write_them(tmp_path: Path) -> None:
    assert parse_lines(["1,2,3.5,4", "gate=0,0,0,9", "5,5,6,6"]) == [
        Line("line", (1.0, 2.0), (3.5, 4.0)),
        Line("gate", (0.0, 0.0), (0.0, 9.0)),
        Line("line-3", (5.0, 5.0), (6.0, 6.0)),
    ]
    path = tmp_path / "zones.yaml"
    path.write_text("door: [[1, 2], [3, 4], [5, 7.5]]\n")
    assert read_zones(path) == [Zone("door", ((1.0, 2.0), (3.0, 4.0), (5.0, 7.5)))]


@pytest.mark.parametrize("text", ["1,2,3", "1,2,3,x", "gate=1,2,1,2", "1,2,nan,4", ""])
def test_what_is_no_line(text: str) -> None:
    with pytest.raises(ConfigError, match="line: must be x1,y1,x2,y2"):
        parse_line(text, "line")


@pytest.mark.parametrize(
    "text", ["[1, 2]", "{}", "door: [[1, 2], [3, 4]]", "door: [[1, 2], [3, 4], [5, x]]", "door: 3"]
)
def test_what_are_no_zones(text: str, tmp_path: Path) -> None:
    path = tmp_path / "zones.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"zones\.yaml: .*must be"):
        read_zones(path)


def test_names_must_differ() -> None:
    with pytest.raises(ConfigError, match="must have different names, got 'gate' twice"):
        TrackCounter(NAMES, TREE, [GATE], [Zone("gate", DOOR.corners_xy)])


def test_the_heat_map_adds_up_time_where_objects_are() -> None:
    heat = HeatMap((70, 41))  # 9 x 6 cells of 8 pixels
    assert heat.seconds.shape == (6, 9)
    track = a_track(CAR)
    track.box_xyxy = np.array([8.0, 16, 23, 24])
    heat.update([track], 0.5)
    heat.update([track], 0.25)
    assert heat.seconds.sum() == pytest.approx(0.75 * 2)  # columns 1 and 2 of row 2
    assert heat.seconds[2, 1:3] == pytest.approx([0.75, 0.75])
    image = np.full((41, 70, 3), 100, np.uint8)
    drawn = heat.draw(image)
    assert drawn.shape == image.shape
    assert np.abs(drawn[20, 16].astype(int) - 100).max() > 60
    assert (drawn[-1, -1] == 100).all()


def test_trails_show_the_last_two_seconds() -> None:
    trails, track = Trails(), a_track(CAR)
    image = np.zeros((60, 300, 3), np.uint8)
    for i in range(31):
        image[:] = 0
        track.box_xyxy = np.array([10.0 * i - 5, 25, 10.0 * i + 5, 35])
        trails.draw(image, [track], i / 10)
    lit = np.flatnonzero(image[30].any(axis=1))
    assert math.isclose(lit.min(), 100, abs_tol=3)  # where it was at 1.0 s
    trails.draw(image := np.zeros_like(image), [], 30.0)
    assert not image.any()
    assert not trails._points


def test_regions_are_drawn_with_their_counts() -> None:
    image = np.full((120, 200, 3), 90, np.uint8)
    before = image.copy()
    draw_regions(image, [GATE], [DOOR], {"gate": {"in": 3}, "door": {"entered": 1}})
    assert (image[75, 100] > 200).all()
    assert (image[10, 45] > 200).all()
    assert (image[100:, :60] == before[100:, :60]).all()
