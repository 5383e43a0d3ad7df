"""How many clicks do the order and the boxes of `yolo9000 review` save? An annotator who answers from the ground truth.

    python benchmarks/annotate.py DATA [--val test] [--size 416] [--batch 8] [--steps 200] [--seeds 3]

DATA is a data set with boxes. A detector, the bundled model with its last layer trained again, learns from the images
that are labelled so far; then the next batch is labelled, as `review` ranks the other images with that detector (the
first batch with the bundled model), or in random order. By hand an image costs a click, and each of its boxes one more.
Where the detector's boxes are corrected, as `review` writes them, a click is for the image, for each box that is wrong
(no object, another label, an IoU below 0.7) and for each object that has none. Boxes are shown from the score on that
would have cost the fewest clicks in the batch before; the first two batches are labelled by hand. Prints how many
clicks it takes to 90 % of the mAP50 of a training on all images, on the split of ``--val``.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from last_layer import Image, LastLayer, Whitening, read_images

from yolo9000 import Detector
from yolo9000.bench.machine import cpu_name
from yolo9000.boxes import iou
from yolo9000.data.dataset import open_data
from yolo9000.labeling.review import MIN_SCORE, choose
from yolo9000.labeling.teachers import tree_of
from yolo9000.taxonomy.wordtree import WordTree
from yolo9000.types import BoxAnnotations, Detections

GOAL = 0.9
SHOWN_FROM = (*np.arange(0.25, 1, 0.05).tolist(), 1.0)  # scores; 1 shows no box
LEFT_AS_IT_IS, OF_THE_OBJECT = 0.7, 0.5  # IoU with the object

Order = Callable[[Sequence[Detections], WordTree, int], list[int]]
"""Called with the detections in images that are not labelled, the tree of their labels, and how many to choose."""


def reviewed(shown: Sequence[Detections], tree: WordTree, count: int) -> list[int]:
    return [choice.index for choice in choose([record(one, tree) for one in shown], tree, count)]


def record(detections: Detections, tree: WordTree) -> dict[str, Any]:
    """Detections as `yolo9000 label` keeps them."""
    pairs = zip(detections.labels.tolist(), detections.scores.tolist(), strict=True)
    return {"boxes": [{"id": tree.ids[label], "score": score} for label, score in pairs]}


def at_random(seed: int) -> Order:
    rng = np.random.default_rng(seed)
    return lambda shown, tree, count: rng.permutation(len(shown))[:count].tolist()


def clicks_by_hand(images: Iterable[Image]) -> int:
    return sum(1 + len(image.gt) for image in images)


def clicks_to_correct(gt: BoxAnnotations, proposed: Detections, shown_from: float) -> int:
    """Clicks for an image in which a detector's boxes from a score on are corrected.

    The boxes are looked at by falling score; each is about the object, of those left, that it overlaps most.
    """
    objects = list(range(len(gt)))
    wrong = 0
    for box, label, score in zip(proposed.boxes_xyxy, proposed.labels, proposed.scores, strict=True):
        if score < shown_from:
            continue
        overlaps = iou(box[None], gt.boxes_xyxy[objects])
        best = int(overlaps.argmax()) if len(objects) else -1
        if best < 0 or overlaps[best] < OF_THE_OBJECT:
            wrong += 1
            continue
        wrong += int(overlaps[best] < LEFT_AS_IT_IS or label != gt.labels[objects[best]])
        del objects[best]
    return 1 + wrong + len(objects)


class Simulation:
    """The annotator, and the detector that learns.

    Args:
        detector: the bundled model.
        layer: what learns.
        train: the images to label.
        val: what its mAP50 is measured on.
        options: of the command.
    """

    def __init__(
        self,
        detector: Detector,
        layer: LastLayer,
        train: Sequence[Image],
        val: Sequence[Image],
        options: argparse.Namespace,
    ) -> None:
        self._trees = tree_of(detector.head), tree_of(layer.head)
        self._layer, self._train, self._val, self._options = layer, train, val, options

    def score(self, images: Sequence[Image], seed: int) -> float:
        """The mAP50 of a training on some images."""
        self._layer.train(images, self._options.steps, seed)
        return self._layer.map50(self._val)

    def curve(self, order: Order, corrects: bool, seed: int) -> Iterator[tuple[int, float]]:
        """Clicks and mAP50 after each batch."""
        left, labelled, clicks, shown_from = list(self._train), [], 0, 1.0
        shown, tree = [image.shown for image in left], self._trees[0]
        while left:
            chosen = order(shown, tree, self._options.batch)
            batch = [left[index] for index in chosen]
            if corrects and labelled:
                costs = {
                    score: sum(clicks_to_correct(left[index].gt, shown[index], score) for index in chosen)
                    for score in SHOWN_FROM
                }
                clicks += costs[shown_from]
                shown_from = min(costs, key=lambda score: costs[score])
            else:
                clicks += clicks_by_hand(batch)
            labelled += batch
            left = [image for index, image in enumerate(left) if index not in set(chosen)]
            yield clicks, self.score(labelled, seed)
            shown, tree = list(self._layer.detect(left, MIN_SCORE)), self._trees[1]

    def clicks_to(self, goal: float, order: Order, corrects: bool, seed: int) -> float:
        """Clicks until the goal is reached, interpolated within the batch that reaches it."""
        before = (0, 0.0)
        for now in self.curve(order, corrects, seed):
            if now[1] >= goal:
                return before[0] + (now[0] - before[0]) * (goal - before[1]) / (now[1] - before[1])
            before = now
        return float(before[0])


def prepared(options: argparse.Namespace) -> tuple[Detector, LastLayer, list[Image], list[Image]]:
    detector = Detector.load(size_wh=(options.size, options.size), threads=1)
    data = open_data(options.data, "train")
    train = list(read_images(detector, data, MIN_SCORE))
    whitening = Whitening(train)
    val = [whitening.apply(image) for image in read_images(detector, open_data(options.data, options.val), MIN_SCORE)]
    return detector, LastLayer(detector, data.classes, whitening), [whitening.apply(image) for image in train], val


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--val", choices=["val", "test"], default="val")
    for name, default in (("size", 416), ("batch", 8), ("steps", 200), ("seeds", 3)):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    torch.set_num_threads(1)
    detector, layer, train, val = prepared(options)
    simulation = Simulation(detector, layer, train, val, options)
    full = [simulation.score(train, seed) for seed in range(options.seeds)]
    goal = GOAL * float(np.mean(full))
    print(f"{cpu_name()}; {options.data.name}: {len(train):,} images, {clicks_by_hand(train):,} clicks to label all;")
    print(f"mAP50 with all of them {np.mean(full):.3f}, the goal is {goal:.3f}\n")
    print("| order | boxes | " + " | ".join(f"seed {seed}" for seed in range(options.seeds)) + " | mean |")
    print("|---|---|" + "---|" * (options.seeds + 1), flush=True)
    orders: dict[str, Callable[[int], Order]] = {"random": at_random, "review": lambda seed: reviewed}
    for corrects in (False, True):
        for name, order in orders.items():
            values = [simulation.clicks_to(goal, order(seed), corrects, seed) for seed in range(options.seeds)]
            columns = [name, "corrected" if corrects else "drawn"]
            columns += [f"{value:.0f}" for value in [*values, float(np.mean(values))]]
            print("| " + " | ".join(columns) + " |", flush=True)


if __name__ == "__main__":
    main()
