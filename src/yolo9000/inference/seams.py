"""Makes one of the boxes of one object that is seen in several overlapping pieces of an image.

A box that ends where its piece ends is *cut* there. Two boxes of different pieces are one object if they agree where
both pieces could see it: a box that is cut is compared with the other one within its own piece. The sides of the
object come from the boxes that are not cut there. Its label is the deepest one if all lie on one path of the tree, else
that of all evidence: a dog and a terrier on a seam are a terrier, a terrier and a hound are a dog.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float

from yolo9000.boxes import iou
from yolo9000.inference.detector import Detector
from yolo9000.inference.evidence import Evidence, objectness_of, related
from yolo9000.types import Detections, TreeAnswer

__all__ = ["Piece", "join_pieces"]

CUT_OF_PIECE = 0.02  # a side nearer than this to the piece's, as a fraction of its length, is cut there
CERTAIN_IOU = 0.7  # where boxes agree that well, one of them cut, they are one object whatever their labels
INSIDE = 0.75  # fraction of a cut box that lies in a box of the same kind, of which it is a part

_Member = tuple[int, int]
"""Index of a piece, and of a detection in it."""


@dataclass(frozen=True)
class Piece:
    """A part of an image and the detections in it.

    Attributes:
        region_xyxy: the part, in pixels of the image.
        detections: in it, with boxes in pixels of the image.
        pixel: width of a pixel that the network saw, in pixels of the image.
    """

    region_xyxy: Float[np.ndarray, " 4"]
    detections: Detections
    pixel: float

    @classmethod
    def of(cls, region: tuple[int, int, int, int], detections: Detections, scale_xy: Float[np.ndarray, " 2"]) -> Piece:
        """A piece from detections in its own pixels, which are ``scale_xy`` times as large as those of the image."""
        left, top, right, bottom = region
        boxes = detections.boxes_xyxy * np.tile(scale_xy, 2) + np.array([left, top, left, top])
        moved = replace(detections, boxes_xyxy=boxes.astype(np.float32))
        return cls(np.array([left, top, right, bottom], np.float64), moved, float(scale_xy.max()))

    def cut_sides(self, size_wh: tuple[int, int]) -> Bool[np.ndarray, "n 4"]:
        """Which sides of the boxes end where the piece ends and the image of a given size goes on."""
        inside = self.region_xyxy != np.array([0, 0, *size_wh])
        tolerance = CUT_OF_PIECE * np.tile(self.region_xyxy[2:] - self.region_xyxy[:2], 2)
        return np.asarray((np.abs(self.detections.boxes_xyxy - self.region_xyxy) <= tolerance) & inside)


def join_pieces(pieces: Sequence[Piece], size_wh: tuple[int, int], detector: Detector) -> Detections:
    """The detections in an image from those in its pieces, highest score first.

    Args:
        pieces: overlapping parts of the image.
        size_wh: width and height of the image in pixels.
        detector: that made them: gives the tree and the settings.
    """
    cut = [piece.cut_sides(size_wh) for piece in pieces]
    groups = _Groups()
    for i, piece in enumerate(pieces):
        for k in range(len(piece.detections)):
            groups.add((i, k))
    for i, j in _overlapping(pieces):
        for k, m in _same_objects(pieces[i], pieces[j], cut[i], cut[j], detector.settings.nms_iou):
            groups.join((i, k), (j, m))
    objects = [_joined(members, pieces, cut, detector) for members in groups]
    objects.sort(key=lambda one: -one[1])
    labels = np.array([label for _, _, label, _ in objects], np.int64)
    return Detections(
        boxes_xyxy=np.array([box for box, _, _, _ in objects], np.float32).reshape(-1, 4),
        scores=np.array([score for _, score, _, _ in objects], np.float32),
        labels=labels,
        names=tuple(detector.names[label] for label in labels),
        size_wh=size_wh,
        answers=tuple(answer for _, _, _, answer in objects if answer is not None),
    )


class _Groups:
    """Which members belong together (a forest of disjoint sets)."""

    def __init__(self) -> None:
        self._parents: dict[_Member, _Member] = {}

    def add(self, member: _Member) -> None:
        self._parents[member] = member

    def join(self, one: _Member, other: _Member) -> None:
        self._parents[self._root(one)] = self._root(other)

    def _root(self, member: _Member) -> _Member:
        while self._parents[member] != member:
            self._parents[member] = member = self._parents[self._parents[member]]
        return member

    def __iter__(self) -> Iterator[list[_Member]]:
        groups: dict[_Member, list[_Member]] = {}
        for member in self._parents:
            groups.setdefault(self._root(member), []).append(member)
        return iter(groups.values())


def _overlapping(pieces: Sequence[Piece]) -> Iterator[tuple[int, int]]:
    """Pairs of pieces that share a part of the image and both have detections."""
    filled = [i for i, piece in enumerate(pieces) if len(piece.detections)]
    regions = np.array([pieces[i].region_xyxy for i in filled]).reshape(-1, 4)
    for at, i in enumerate(filled):
        others = regions[at + 1 :]
        shared = np.minimum(regions[at, 2:], others[:, 2:]) > np.maximum(regions[at, :2], others[:, :2])
        yield from ((i, filled[at + 1 + k]) for k in np.flatnonzero(shared.all(axis=1)))


def _same_objects(
    one: Piece, other: Piece, cut: Bool[np.ndarray, "n 4"], cut_other: Bool[np.ndarray, "m 4"], min_iou: float
) -> Iterator[tuple[int, int]]:
    """Pairs of detections of two pieces that are one object; each is in one pair at most, the most alike first."""
    is_cut, other_is_cut = np.asarray(cut.any(axis=1)), np.asarray(cut_other.any(axis=1))
    boxes, others = (piece.detections.boxes_xyxy.astype(np.float64) for piece in (one, other))
    ours = np.where(other_is_cut[None, :, None], _within(boxes, other.region_xyxy)[:, None], boxes[:, None])
    theirs = np.where(is_cut[:, None, None], _within(others, one.region_xyxy)[None], others[None])
    alike = np.nan_to_num(iou(ours, theirs))
    inside = np.maximum(is_cut[:, None] * _part_inside(ours, theirs), other_is_cut * _part_inside(theirs, ours))
    any_cut = np.logical_or.outer(is_cut, other_is_cut)
    taken: tuple[set[int], set[int]] = (set(), set())
    likeness = np.maximum(alike, np.where(inside >= INSIDE, min_iou + 1e-6, 0))
    for at in np.argsort(-likeness, axis=None):
        k, m = divmod(int(at), likeness.shape[1])
        if likeness[k, m] <= min_iou:
            return
        certain = any_cut[k, m] and alike[k, m] >= CERTAIN_IOU
        if k in taken[0] or m in taken[1] or not (certain or related(one.detections, k, other.detections, m)):
            continue
        taken[0].add(k)
        taken[1].add(m)
        yield k, m


def _within(boxes_xyxy: Float[np.ndarray, "n 4"], region_xyxy: Float[np.ndarray, " 4"]) -> Float[np.ndarray, "n 4"]:
    low, high = np.tile(region_xyxy[:2], 2), np.tile(region_xyxy[2:], 2)
    return np.asarray(np.clip(boxes_xyxy, low, high))


def _part_inside(boxes: Float[np.ndarray, "n m 4"], others: Float[np.ndarray, "n m 4"]) -> Float[np.ndarray, "n m"]:
    """The fraction of each box that lies in the other."""
    shared = np.minimum(boxes[..., 2:], others[..., 2:]) - np.maximum(boxes[..., :2], others[..., :2])
    area = np.maximum((boxes[..., 2:] - boxes[..., :2]).prod(axis=-1), 1e-9)
    return np.asarray(np.maximum(shared, 0).prod(axis=-1) / area)


def _joined(
    members: Sequence[_Member], pieces: Sequence[Piece], cut: Sequence[Bool[np.ndarray, "_ 4"]], detector: Detector
) -> tuple[Float[np.ndarray, " 4"], float, int, TreeAnswer | None]:
    """Box, score, label and path of one object."""
    boxes = np.array([pieces[i].detections.boxes_xyxy[k] for i, k in members], np.float64)
    is_cut = np.array([cut[i][k] for i, k in members])
    objectness = [objectness_of(pieces[i].detections, k, detector.settings) for i, k in members]
    finest_first = np.lexsort((-np.array(objectness), np.array([pieces[i].pixel for i, _ in members])))
    box = _sides(boxes[finest_first], is_cut[finest_first])
    if len(members) == 1:
        ((i, k),) = members
        one = pieces[i].detections
        return box, float(one.scores[k]), int(one.labels[k]), one.answers[k] if one.answers else None
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    label, probability, answer = _label(members, pieces, areas / max(areas.max(), 1e-9), detector)
    return box, max(objectness) * (probability if answer else 1.0), label, answer


def _sides(boxes_xyxy: Float[np.ndarray, "n 4"], cut: Bool[np.ndarray, "n 4"]) -> Float[np.ndarray, " 4"]:
    """Each side from the first box that is not cut there; where all are, the outermost."""
    outermost = np.concatenate([boxes_xyxy[:, :2].min(axis=0), boxes_xyxy[:, 2:].max(axis=0)])
    return np.where(cut.all(axis=0), outermost, boxes_xyxy[cut.argmin(axis=0), np.arange(4)])


def _label(
    members: Sequence[_Member], pieces: Sequence[Piece], weights: Float[np.ndarray, " n"], detector: Detector
) -> tuple[int, float, TreeAnswer | None]:
    """Label, probability and path of one object: the deepest label if all lie on one path, else by all evidence."""
    answers = [pieces[i].detections.answers[k] for i, k in members if pieces[i].detections.answers]
    if answers:
        deepest = max(answers, key=lambda one: (len(one.path), one.path[-1].probability))
        nodes = {step.node for step in deepest.path}
        if all(one.path[-1].node in nodes for one in answers):
            return deepest.path[-1].node, deepest.path[-1].probability, deepest
    evidence = Evidence(detector.query.tree(detector.head), detector.settings, detector.query)
    for (i, k), weight in zip(members, weights, strict=True):
        evidence.add(pieces[i].detections, k, float(weight))
    return evidence.label()
