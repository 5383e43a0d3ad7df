"""Generated clips: sprites on paths that pass each other, go behind bars, leave and return, with what a detector sees.

Nothing is detected here: detections are made from the boxes that are known, with noise in position, score and label as
a network has it, misses and false ones. Labels are made by decoding random conditionals on a tree of 14 nodes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from yolo9000.inference.tree_decode import tree_answers
from yolo9000.taxonomy.wordtree import WordTree
from yolo9000.types import Detections

SIZE_WH = (384, 224)
SECONDS = 1 / 30
NAMES = (
    "animal",
    "vehicle",
    "dog",
    "cat",
    "bird",
    "car",
    "bus",
    "bicycle",
    "terrier",
    "hound",
    "sedan",
    "taxi",
    "duck",
    "gull",
)
TREE = WordTree.from_parents([-1, -1, 0, 0, 0, 1, 1, 1, 2, 2, 5, 5, 4, 4], NAMES)
LEAVES = tuple(int(node) for node in np.flatnonzero(TREE.leaves))
HIER_THRESH = 0.5


@dataclass(frozen=True)
class Noise:
    """How good the detector is: standard deviations relative to a box, and fractions of objects and frames."""

    position: float = 0.03
    misses: float = 0.06
    false_boxes: float = 0.15
    logits: float = 1.3
    certainty: float = 2.2


EXACT = Noise(position=0.0, misses=0.0, false_boxes=0.0, logits=0.0, certainty=6.0)
NO_MISSES = Noise(misses=0.0, false_boxes=0.0)


@dataclass(frozen=True)
class Frame:
    """One frame: its pixels, the objects that can be seen in it, and what a detector says."""

    seconds: float
    pixels: np.ndarray
    ids: np.ndarray
    boxes_xyxy: np.ndarray
    labels: np.ndarray
    detections: Detections


@dataclass(frozen=True)
class Sprite:
    """An object: where it is at each frame, its size, color and label."""

    centers: np.ndarray
    size: np.ndarray
    color: np.ndarray
    label: int


def clip(seed: int, *, frames: int = 120, objects: int = 6, bars: int = 1, noise: Noise = Noise()) -> Iterator[Frame]:
    """The frames of one clip; the same for the same seed."""
    rng = np.random.default_rng(seed)
    sprites = [_sprite(rng, frames, number) for number in range(objects)]
    covers = [_bar(rng) for _ in range(bars)]
    ground = rng.integers(90, 130, (*SIZE_WH[::-1], 3)).astype(np.uint8)
    for frame in range(frames):
        yield _frame(rng, frame, sprites, covers, ground.copy(), noise)


def _sprite(rng: np.random.Generator, frames: int, number: int) -> Sprite:
    width, height = SIZE_WH
    size = rng.uniform((24, 20), (56, 44))
    start = np.array([rng.uniform(0.05, 0.95) * width, rng.uniform(0.15, 0.85) * height])
    speed = rng.uniform(0.8, 2.6) * rng.choice([-1, 1])
    time = np.arange(frames)
    x = start[0] + speed * time
    if rng.random() < 0.35:  # leaves at a side, and comes back there after a while
        x = np.abs(x + size[0]) - size[0] if speed < 0 else width + size[0] - np.abs(width + size[0] - x)
    y = start[1] + rng.uniform(2, 18) * np.sin(time / rng.uniform(12, 30) + rng.uniform(0, 6))
    hue = (number * 0.618) % 1
    color = np.array([127 + 120 * np.cos(2 * np.pi * (hue + shift / 3)) for shift in range(3)])
    return Sprite(np.stack([x, y], axis=1), size, color, int(rng.choice(LEAVES)))


def _bar(rng: np.random.Generator) -> np.ndarray:
    left = rng.uniform(0.2, 0.8) * SIZE_WH[0]
    return np.array([left, 0, left + rng.uniform(14, 26), SIZE_WH[1]])


def _frame(
    rng: np.random.Generator,
    frame: int,
    sprites: list[Sprite],
    covers: list[np.ndarray],
    pixels: np.ndarray,
    noise: Noise,
) -> Frame:
    boxes = [_clipped(np.concatenate([s.centers[frame] - s.size / 2, s.centers[frame] + s.size / 2])) for s in sprites]
    owners = np.full(SIZE_WH[::-1], -1)
    for i, (left, top, right, bottom) in enumerate(np.round(boxes).astype(int)):
        owners[top:bottom, left:right] = i
        pixels[top:bottom, left:right] = sprites[i].color
        pixels[top : (top + bottom) // 2, left:right] = 0.7 * sprites[i].color
    for left, top, right, bottom in np.round(covers).astype(int):
        owners[top:bottom, left:right] = -1
        pixels[top:bottom, left:right] = 60
    areas = [max(float((s.size).prod()), 1.0) for s in sprites]
    visible = np.array([(owners == i).sum() / area for i, area in enumerate(areas)])
    seen = np.flatnonzero(visible > 0.25)
    detections = _detections(rng, [boxes[i] for i in seen], visible[seen], [sprites[i].label for i in seen], noise)
    labels = np.array([sprites[i].label for i in seen], np.int64)
    kept = np.array([boxes[i] for i in seen]).reshape(-1, 4)
    return Frame(frame * SECONDS, pixels, seen + 1, kept, labels, detections)


def _clipped(box: np.ndarray) -> np.ndarray:
    return np.clip(box, 0, np.tile(SIZE_WH, 2))


def _detections(
    rng: np.random.Generator, boxes: list[np.ndarray], visible: np.ndarray, labels: list[int], noise: Noise
) -> Detections:
    rows = []
    for box, part, label in zip(boxes, visible, labels, strict=True):
        missed = rng.random() < noise.misses + (0.4 if part < 0.45 and noise.misses else 0)
        jitter = rng.normal(0, noise.position, 4) * np.tile(box[2:] - box[:2], 2)
        objectness = float(np.clip(0.35 + 0.6 * part + rng.normal(0, 2 * noise.position), 0.05, 0.99))
        answer = _answer(rng, label, noise)
        if not missed:
            rows.append((_clipped(box + jitter), objectness, answer))
    for _ in range(rng.poisson(noise.false_boxes)):
        corner = rng.uniform((0, 0), np.array(SIZE_WH) - 30)
        box = np.concatenate([corner, corner + rng.uniform(15, 30, 2)])
        rows.append((box, float(rng.uniform(0.1, 0.45)), _answer(rng, int(rng.choice(LEAVES)), noise)))
    scores = np.array([objectness * answer.path[-1].probability for _, objectness, answer in rows], np.float32)
    return Detections(
        boxes_xyxy=np.array([box for box, _, _ in rows], np.float32).reshape(-1, 4),
        scores=scores,
        labels=np.array([answer.path[-1].node for _, _, answer in rows], np.int64),
        names=tuple(answer.path[-1].name for _, _, answer in rows),
        size_wh=SIZE_WH,
        answers=tuple(answer for _, _, answer in rows),
    )


def _answer(rng: np.random.Generator, label: int, noise: Noise):
    """What decoding answers where the network's logits are those of the label, with noise."""
    logits = rng.normal(0, noise.logits, len(TREE))
    logits[list(TREE.path(label))] += noise.certainty
    conditionals = TREE.softmax(logits)

    def of_groups(_: np.ndarray, groups: np.ndarray) -> np.ndarray:
        return conditionals[TREE.groups == groups[0]]

    return tree_answers(TREE, TREE.decode(of_groups, 1, HIER_THRESH))[0]
