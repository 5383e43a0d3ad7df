"""IDF1, HOTA and label changes of tracks on generated clips, of our tracker and of Roboflow's ByteTrack."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import motrics
import numpy as np

from support.clips import TREE, Frame
from yolo9000.inference.evidence import objectness_of
from yolo9000.inference.settings import DetectionSettings
from yolo9000.tracking.settings import TrackingSettings
from yolo9000.tracking.tracker import Tracker

START_SCORE = 0.4  # of both

Boxes = list[tuple[list[int], np.ndarray]]
"""Ids and boxes of each frame."""


@dataclass(frozen=True)
class Scores:
    """Of one clip."""

    idf1: float
    hota: float


def follow(frames: Sequence[Frame], *, pixels: bool = True) -> tuple[Boxes, int, int]:
    """Our tracks, and how often the label of a track changed: by all evidence, and frame by frame."""
    tracker = Tracker(TREE, TrackingSettings(start_score=START_SCORE))
    boxes, changes, changes_by_frame = [], 0, 0
    last: dict[int, int] = {}
    for frame in frames:
        tracks = tracker.update(frame.detections, frame.seconds, frame.pixels if pixels else None)
        boxes.append(([track.id for track in tracks], _stacked([track.box_xyxy for track in tracks])))
        labels = {tuple(box): label for box, label in _labels(frame)}
        for track in tracks:
            label = labels[tuple(track.box_xyxy)]
            changes_by_frame += last.get(track.id, label) != label
            last[track.id] = label
    for track in tracker.close():
        changes += len(track.changes) - 1
    return boxes, changes, changes_by_frame


def _labels(frame: Frame) -> list[tuple[np.ndarray, int]]:
    boxes = frame.detections.boxes_xyxy.astype(np.float64)
    return list(zip(boxes, frame.detections.labels.tolist(), strict=True))


def follow_with_library(frames: Sequence[Frame]) -> Boxes:
    """The tracks of the package ``trackers`` on the same detections."""
    import supervision
    from trackers import ByteTrackTracker

    tracker = ByteTrackTracker(track_activation_threshold=START_SCORE, high_conf_det_threshold=START_SCORE)
    boxes = []
    for frame in frames:
        detections, settings = frame.detections, DetectionSettings()
        scores = [objectness_of(detections, i, settings) for i in range(len(detections))]
        given = supervision.Detections(
            xyxy=detections.boxes_xyxy, confidence=np.array(scores, np.float32), class_id=detections.labels
        )
        tracked = tracker.update(given)
        kept = np.flatnonzero(tracked.tracker_id >= 0)
        boxes.append(([int(i) + 1 for i in tracked.tracker_id[kept]], _stacked(list(tracked.xyxy[kept]))))
    return boxes


def scores_of(frames: Sequence[Frame], tracks: Boxes) -> Scores:
    gt = motrics.Frames([frame.ids.tolist() for frame in frames], [_stacked(list(f.boxes_xyxy)) for f in frames])
    result = motrics.evaluate(gt, motrics.Frames([ids for ids, _ in tracks], [boxes for _, boxes in tracks]))
    return Scores(float(result.identity.idf1), float(np.mean(result.hota.hota)))


def _stacked(boxes: list[np.ndarray]) -> np.ndarray:
    return np.array(boxes, np.float64).reshape(-1, 4)
