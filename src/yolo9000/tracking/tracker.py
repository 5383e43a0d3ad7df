"""Gives the objects of a video their ids, frame by frame.

The association is ByteTrack's (Zhang et al., 2022): confident detections continue tracks or begin them, faint ones only
continue tracks that are being seen. It knows the tree and the time: boxes whose labels lie on other branches are less
alike, and frames may come at any distance. Objects that come back get their ids back where they look the same.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float, Float32, UInt8

from yolo9000.boxes import iou
from yolo9000.inference.evidence import Evidence
from yolo9000.inference.query import Query
from yolo9000.inference.settings import DetectionSettings
from yolo9000.taxonomy.wordtree import WordTree
from yolo9000.tracking.appearance import appearance, similarity
from yolo9000.tracking.association import Observation, assign, check_installed, observations
from yolo9000.tracking.motion import Motion
from yolo9000.tracking.settings import TrackingSettings
from yolo9000.types import Detections, TreeAnswer

__all__ = ["Track", "Tracker"]

LABEL_WEIGHT = 0.3  # how much of the similarity of a track and a detection is that of their labels
FAINT_IOU = 0.4  # minimum IoU of a faint detection with a track
LOOKS_SAME = 0.75  # minimum similarity of the appearance of an object that returns
NEAR_SIZES = 1.5  # distance, in diagonals of its box, at which an object may return
MAX_SCALE = 2.0  # ratio of its sizes
OLD_APPEARANCE = 0.9  # weight of the former appearance at each new frame
CHANGES = 32  # changes of its label that a track remembers


@dataclass(eq=False)
class Track:
    """One object over time.

    Attributes:
        motion: where it is, as a filter estimates it.
        evidence: for its label.
        box_xyxy: where it was last detected, in pixels.
        objectness: of that detection.
        began: time of its first detection, in seconds.
        seen: time of its last detection.
        id: unique in a video, from 1; 0 as long as it was not detected in enough frames.
        frames: number of frames in which it was detected.
        label: its label by all evidence: class, or node of the tree.
        probability: of that label.
        answer: on a tree why; None for flat labels.
        changes: time and label whenever its label changed, the latest ones.
        appearance: what it looks like; None without pixels.
    """

    motion: Motion
    evidence: Evidence
    box_xyxy: Float[np.ndarray, " 4"]
    objectness: float
    began: float
    seen: float
    id: int = 0
    frames: int = 0
    label: int = -1
    probability: float = 0.0
    answer: TreeAnswer | None = None
    changes: deque[tuple[float, int]] = field(default_factory=lambda: deque(maxlen=CHANGES))
    appearance: Float32[np.ndarray, " bins"] | None = None

    @property
    def score(self) -> float:
        """Objectness x probability of the label."""
        return self.objectness * self.probability

    def observe(self, seen: Observation, seconds: float, pixels: UInt8[np.ndarray, "h w 3"] | None) -> None:
        """Take in a detection."""
        if self.frames:
            self.motion.update(seen.box_xyxy)
        self.box_xyxy, self.objectness, self.seen = seen.box_xyxy, seen.objectness, seconds
        self.frames += 1
        for i in seen.indices:
            self.evidence.add(seen.detections, i, 1 / len(seen.indices))
        self.decide(seconds)
        if pixels is not None:
            looks = appearance(pixels, seen.box_xyxy)
            old = looks if self.appearance is None else self.appearance
            self.appearance = OLD_APPEARANCE * old + (1 - OLD_APPEARANCE) * looks

    def resume(self, later: Track) -> None:
        """Go on with what a later track of the same object has."""
        self.motion, self.box_xyxy, self.objectness = later.motion, later.box_xyxy, later.objectness
        self.appearance, self.seen, self.frames = later.appearance, later.seen, self.frames + later.frames
        self.evidence.merge(later.evidence)
        self.decide(later.seen)

    def decide(self, seconds: float) -> None:
        """Find the label by all evidence."""
        label, self.probability, self.answer = self.evidence.label()
        if label != self.label:
            self.label = label
            self.changes.append((seconds, label))


class Tracker:
    """Follows the objects of one video.

    Attributes:
        tracks: the objects that are being followed, also those that are lost for the moment.

    Args:
        tree: of the detector's labels; None for flat labels.
        settings: what counts as a track.
        detection: the settings that the detections were made with; ``hier_thresh`` also decides the labels of tracks.
        query: which labels the detector answers with.

    Raises:
        EngineError: the extra ``track`` is not installed.
    """

    def __init__(
        self,
        tree: WordTree | None,
        settings: TrackingSettings | None = None,
        *,
        detection: DetectionSettings | None = None,
        query: Query | None = None,
    ) -> None:
        check_installed()
        self.tracks: list[Track] = []
        self._tree = tree
        self._query = query
        self._settings = settings or TrackingSettings()
        self._detection = detection or DetectionSettings()
        self._away: list[Track] = []
        self._ended: list[Track] = []
        self._ids = 0
        self._seconds: float | None = None

    def update(
        self, detections: Detections, seconds: float, pixels: UInt8[np.ndarray, "h w 3"] | None = None
    ) -> list[Track]:
        """The tracks that are seen in the next frame, by id.

        Args:
            detections: in the frame, also faint ones.
            seconds: time of the frame, later than the last one.
            pixels: RGB, to know objects again that return; None to give them new ids.
        """
        self._predict(seconds)
        seen = observations(detections, self._detection)
        strong = [one for one in seen if one.objectness >= self._settings.start_score]
        faint = [one for one in seen if one.objectness < self._settings.start_score]
        confirmed = [track for track in self.tracks if track.id]
        followed = [track for track in confirmed if track.seen == self._seconds]
        pairs, strong = self._match(strong, confirmed, self._settings.min_iou)
        matched = {id(track) for track, _ in pairs}
        more, _ = self._match(faint, [track for track in followed if id(track) not in matched], FAINT_IOU)
        new, strong = self._match(strong, [track for track in self.tracks if not track.id], self._settings.min_iou)
        pairs += more + new + [(self._begin(one, seconds), one) for one in strong]
        for track, one in pairs:
            track.observe(one, seconds, pixels)
        self._confirm([track for track, _ in pairs])
        self._forget(seconds)
        self._seconds = seconds
        return sorted((track for track in self.tracks if track.id and track.seen == seconds), key=lambda t: t.id)

    def ended(self) -> list[Track]:
        """The tracks that ended since the last call: objects that left and did not return."""
        ended, self._ended = self._ended, []
        return ended

    def close(self) -> list[Track]:
        """End all tracks; those that had not been returned by `ended`."""
        self._ended += [track for track in (*self._away, *self.tracks) if track.id]
        self._away, self.tracks = [], []
        return self.ended()

    def _predict(self, seconds: float) -> None:
        if self._seconds is None:
            return
        if seconds <= self._seconds:
            raise ValueError(f"seconds must rise from frame to frame, got {seconds} after {self._seconds}")
        for track in (*self.tracks, *self._away):
            track.motion.predict(seconds - self._seconds, resizes=track.seen == self._seconds)

    def _match(
        self, seen: Sequence[Observation], tracks: Sequence[Track], min_similarity: float
    ) -> tuple[list[tuple[Track, Observation]], list[Observation]]:
        """The tracks that some observations continue, and the observations that continue none."""
        if not seen or not tracks:
            return [], list(seen)
        predicted = np.stack([track.motion.box_xyxy() for track in tracks])
        overlaps = iou(predicted[:, None], np.stack([one.box_xyxy for one in seen])[None])
        agreements = np.array([[_agreement(track, one) for one in seen] for track in tracks])
        similarities = overlaps * (1 - LABEL_WEIGHT + LABEL_WEIGHT * agreements)
        pairs = assign(similarities, min_similarity * (1 - LABEL_WEIGHT))
        taken = {column for _, column in pairs}
        left = [one for column, one in enumerate(seen) if column not in taken]
        return [(tracks[row], seen[column]) for row, column in pairs], left

    def _begin(self, seen: Observation, seconds: float) -> Track:
        evidence = Evidence(self._tree, self._detection, self._query)
        track = Track(Motion(seen.box_xyxy), evidence, seen.box_xyxy, seen.objectness, seconds, seconds)
        self.tracks.append(track)
        return track

    def _confirm(self, tracks: Sequence[Track]) -> None:
        """Give ids to the tracks that have been seen often enough."""
        for track in tracks:
            if not track.id and track.frames >= self._settings.min_frames:
                former = self._former(track)
                if former is None:
                    self._ids += 1
                    track.id = self._ids
                else:
                    self._resume(track, former)

    def _former(self, track: Track) -> Track | None:
        """The track of an object that was away and that a new track goes on with; None if there is none."""
        alike = [
            (similarity(track.appearance, former.appearance), former)
            for former in self._away
            if track.appearance is not None and former.appearance is not None and _may_be_again(track, former)
        ]
        best = max(alike, key=lambda pair: pair[0], default=None)
        return best[1] if best is not None and best[0] >= LOOKS_SAME else None

    def _resume(self, track: Track, former: Track) -> None:
        """Go on with the former track in place of the new one."""
        self._away.remove(former)
        self.tracks[self.tracks.index(track)] = former
        former.resume(track)

    def _forget(self, seconds: float) -> None:
        kept = []
        for track in self.tracks:
            if track.seen == seconds or (track.id and seconds - track.seen <= self._settings.max_lost):
                kept.append(track)
            elif track.id:
                self._away.append(track)
        self.tracks = kept
        longest = self._settings.max_lost + self._settings.max_away
        self._ended += [track for track in self._away if seconds - track.seen > longest]
        self._away = [track for track in self._away if seconds - track.seen <= longest]


def _agreement(track: Track, seen: Observation) -> float:
    """How far a track's label and that of a detection agree, 0 to 1: at the depth to which both are known."""
    i = seen.indices[0]
    if track.answer is None or not seen.detections.answers:
        return track.evidence.probability(int(seen.detections.labels[i]))
    path = seen.detections.answers[i].path
    node = path[min(len(path), len(track.answer.path)) - 1].node
    return track.evidence.probability(node)


def _may_be_again(track: Track, former: Track) -> bool:
    """Whether a new track may be an object that was away: of one root, of like size, and where it could be."""
    if track.answer is not None and former.answer is not None:
        related = track.answer.path[0].node == former.answer.path[0].node
    else:
        related = track.label == former.label
    sizes, old_sizes = _sizes(track.box_xyxy), _sizes(former.box_xyxy)
    scales = np.maximum(sizes, 1) / np.maximum(old_sizes, 1)
    near = NEAR_SIZES * float(np.hypot(*np.maximum(sizes, old_sizes)))
    centers = [_center(former.box_xyxy), former.motion.position[:2]]
    distance = min(float(np.hypot(*(_center(track.box_xyxy) - center))) for center in centers)
    return related and bool((np.maximum(scales, 1 / scales) <= MAX_SCALE).all()) and distance <= near


def _center(box_xyxy: Float[np.ndarray, " 4"]) -> Float[np.ndarray, " 2"]:
    return np.asarray((box_xyxy[:2] + box_xyxy[2:]) / 2)


def _sizes(box_xyxy: Float[np.ndarray, " 4"]) -> Float[np.ndarray, " 2"]:
    return np.asarray(box_xyxy[2:] - box_xyxy[:2])
