"""Random trees and random heads for the laws of post-processing.

Strategies draw plain numbers, and a test makes the objects from them: the checks of shapes that run inside this
package's functions use `random`, which Hypothesis does not allow inside a strategy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from hypothesis import strategies as st

from yolo9000.architectures.head import Head
from yolo9000.inference.head_output import DenseClassLogits, HeadOutput, LazyClassLogits
from yolo9000.inference.settings import DetectionSettings
from yolo9000.taxonomy.wordtree import TreePaths, WordTree
from yolo9000.types import ResizeMode

CELL = 32  # pixels of the network's input that a cell spans


@st.composite
def parents_of_trees(draw: st.DrawFn, nodes: st.SearchStrategy[int]) -> list[int]:
    """Trees with parents before children and siblings side by side, of every shape between flat and a chain."""
    count = draw(nodes)
    shape = draw(st.sampled_from(["flat", "chain", "deep", "bushy", "any"]))
    largest = {"flat": count, "chain": 1, "deep": 3, "bushy": 6, "any": count}[shape]
    sizes = st.integers(1, largest)
    parents = [-1] * (count if shape == "flat" else min(count, draw(sizes)))
    childless = list(range(len(parents)))
    while len(parents) < count:
        at = draw(st.integers(0, len(childless) - 1)) if shape in ("bushy", "any") else len(childless) - 1
        size = min(draw(sizes), count - len(parents))
        children = range(len(parents), len(parents) + size)
        parents += [childless.pop(at)] * size
        childless += children
    return parents


def tree_of(parents: list[int]) -> WordTree:
    return WordTree.from_parents(parents, names=[f"name {i % 7}" for i in range(len(parents))])


def paths_of(nodes: Sequence[Sequence[int]]) -> TreePaths:
    """Paths through the given nodes, each with half the probability of its parent; nothing was refused."""
    count, depth = len(nodes), max(map(len, nodes), default=1)
    rows = np.array([[*path, *[-1] * (depth - len(path))] for path in nodes], np.int64).reshape(count, depth)
    none, zeros = np.full(count, -1), np.zeros(count)
    return TreePaths(rows, np.where(rows < 0, 1, 0.5), none, zeros, none, zeros)


@dataclass(frozen=True)
class HeadCase:
    """A head's output twice, with class scores on demand and computed in full, and all that goes with it."""

    lazy: HeadOutput
    dense: HeadOutput
    head: Head
    image_wh: tuple[int, int]

    @property
    def logits(self) -> np.ndarray:
        """(N, anchors, K), anchors numbered as in `Candidates`."""
        assert isinstance(self.dense.class_logits, DenseClassLogits)
        scores = self.dense.class_logits.logits
        n, _, k = scores.shape[:3]
        return scores.transpose(0, 1, 3, 4, 2).reshape(n, -1, k)


@dataclass(frozen=True)
class HeadRecipe:
    """What a random head is made from."""

    kind: Literal["softmax", "sigmoid", "tree"]
    parents: list[int]
    images: int
    anchors: int
    channels: int
    grid_hw: tuple[int, int]
    steps: int
    resize_mode: ResizeMode
    image_wh: tuple[int, int]
    seed: int

    def make(self) -> HeadCase:
        rng = np.random.default_rng(self.seed)
        n, a, c, k = self.images, self.anchors, self.channels, len(self.parents)
        h, w = self.grid_hw
        features = dyadic(rng, (n, c, h, w), 4)
        weights, biases = dyadic(rng, (a, k, c), self.steps), dyadic(rng, (a, k), 4)
        logits = np.einsum("nchw,akc->nakhw", features, weights) + biases[None, :, :, None, None]
        boxes = rng.normal(0, 1.5, (n, a, 5, h, w)).astype(np.float32)
        network_wh = (CELL * w, CELL * h)
        tree = tree_of(self.parents) if self.kind == "tree" else None
        names = tree.names if tree else tuple(f"class {i}" for i in range(k))
        anchors_wh = rng.uniform(0.2, 3.0, (a, 2)).astype(np.float32)
        return HeadCase(
            lazy=HeadOutput(boxes, LazyClassLogits(features, weights, biases), network_wh),
            dense=HeadOutput(boxes, DenseClassLogits(logits), network_wh),
            head=Head(anchors_wh, names, self.kind, tree, self.resize_mode),
            image_wh=self.image_wh,
        )


def dyadic(rng: np.random.Generator, shape: tuple[int, ...], steps: int) -> np.ndarray:
    """Numbers up to 8 / steps in size, multiples of 1 / steps, a power of two: sums of a few products are exact."""
    return (rng.integers(-8, 9, shape) / steps).astype(np.float32)


def grids() -> st.SearchStrategy[tuple[int, int]]:
    """Height and width in cells, never equal."""
    return st.tuples(st.integers(1, 4), st.integers(1, 5)).filter(lambda size: size[0] != size[1])


def image_sizes(max_side: int = 400) -> st.SearchStrategy[tuple[int, int]]:
    return st.tuples(st.integers(1, max_side), st.integers(1, max_side))


def heads(
    *kinds: Literal["softmax", "sigmoid", "tree"],
    images: st.SearchStrategy[int] = st.integers(1, 2),  # noqa: B008  strategies are values
    parents: st.SearchStrategy[list[int]] = parents_of_trees(st.integers(1, 40)),  # noqa: B008
) -> st.SearchStrategy[HeadRecipe]:
    return st.builds(
        HeadRecipe,
        kind=st.sampled_from(kinds or ("softmax", "sigmoid", "tree")),
        parents=parents,
        images=images,
        anchors=st.integers(1, 4),
        channels=st.integers(1, 6),
        grid_hw=grids(),
        steps=st.sampled_from([2, 8, 32]),
        resize_mode=st.sampled_from(["letterbox", "stretch"]),
        image_wh=image_sizes(),
        seed=st.integers(0, 2**32 - 1),
    )


def detection_settings(**fixed: object) -> st.SearchStrategy[DetectionSettings]:
    """Settings of every kind, but for the fixed ones."""
    choices: dict[str, st.SearchStrategy] = {
        "conf_threshold": st.sampled_from([0.0, 0.05, 0.25, 0.5]),
        "nms_iou": st.sampled_from([0.0, 0.25, 0.45, 1.0]),
        "hier_thresh": st.sampled_from([0.0, 0.1, 0.5, 0.9]),
        "hier_decoding": st.sampled_from(["conditional", "darknet"]),
        "suppression": st.sampled_from(["label", "path", "objectness", None]),
        "max_detections": st.sampled_from([1, 5, 300]),
    }
    return st.builds(DetectionSettings, **(choices | {key: st.just(value) for key, value in fixed.items()}))
