"""How many clicks do the order and the boxes of `yolo9000 review` save? An annotator who answers from the ground truth.

    python benchmarks/annotate.py DATA [--val test] [--size W H] [--images 1000] [--batch 8] [--passes 1500] [--seeds 2]

DATA is a data set with boxes. The bundled model is fine-tuned as `yolo9000 train` does on the images that are labelled
so far; then the next batch is labelled, as `review` ranks the other images with the best detector so far (first the
bundled model), or in random order. By hand an image costs a click, and each of its boxes one more. Where the detector's
boxes are corrected, as `review` writes them, a click is for the image, for each box that is wrong (no object, another
label, an IoU below 0.7) and for each object that has none. Boxes are shown from the score on that would have cost the
fewest clicks in the batch before, at first from 0.5; a detector that does not know the classes shows none. Prints how
many clicks it takes to 90 % of the mAP50 of a training on all images, on the split of ``--val``.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from fine_tuned import Given, fine_tuned, fine_tuning

from yolo9000 import Detector
from yolo9000.bench.machine import cpu_name
from yolo9000.boxes import iou
from yolo9000.data.dataset import open_data
from yolo9000.data.images import load_image
from yolo9000.errors import TreeError
from yolo9000.evaluation.evaluate import evaluate
from yolo9000.evaluation.runner import detect_samples
from yolo9000.io.cores import available_cores
from yolo9000.labeling.review import MIN_SCORE, choose
from yolo9000.labeling.teachers import tree_of
from yolo9000.taxonomy.wordtree import WordTree
from yolo9000.types import BoxAnnotations, Detections, Sample

GOAL = 0.9
SHOWN_FROM = tuple(percent / 100 for percent in range(25, 105, 5))  # scores; 1 shows no box
FIRST_SHOWN_FROM = 0.5
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


def gt(sample: Sample) -> BoxAnnotations:
    """The boxes that count."""
    assert sample.boxes is not None
    return sample.boxes.select(~(sample.boxes.difficult | sample.boxes.crowd))


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


@dataclass(frozen=True)
class Progress:
    """After a batch.

    Attributes:
        clicks: so far, where all boxes are drawn, and where those of the detector are corrected.
        map50: of the best detector so far.
    """

    clicks: tuple[int, int]
    map50: float


class Simulation:
    """The annotator, and the detector that learns.

    Args:
        options: of the command.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self._recipe = fine_tuning(options.data, options.size)
        self._data = open_data(options.data, "train")
        samples = [sample for sample in self._data.samples("fix") if sample.boxes]
        order = np.random.default_rng(0).permutation(len(samples))[: options.images]
        self.samples = [samples[index] for index in order]
        val = open_data(options.data, options.val)
        self._val = Given.of(val, [sample for sample in val.samples("fix") if sample.boxes])
        self._classes = WordTree.from_parents([-1] * len(self._data.classes), self._data.classes, self._data.classes)
        bundled = Detector.load(size_wh=tuple(options.size) if options.size else None)
        try:
            self._start, self._tree, self._shows = bundled.with_labels(self._data.classes), self._classes, True
        except TreeError:  # it does not know all classes
            self._start, self._tree, self._shows = bundled, tree_of(bundled.head), False
        self._start_map50 = self._map50(self._start) if self._shows else 0.0

    def trained(self, samples: Sequence[Sample], seed: int) -> tuple[Detector, float]:
        """A detector that has learnt from some samples, and its mAP50."""
        detector = fine_tuned(self._recipe, self._data, samples, self._options.passes, seed, available_cores())
        return detector, self._map50(detector)

    def _map50(self, detector: Detector) -> float:
        pairs = detect_samples(detector, self._val)
        return float(evaluate("val", pairs, detector.names).metrics["map50"])

    def curve(self, order: Order, seed: int) -> Iterator[Progress]:
        """Clicks and mAP50 after each batch."""
        left, labelled = list(self.samples), []
        drawn = corrected = 0
        best, map50, tree, shows = self._start, self._start_map50, self._tree, self._shows
        shown_from = FIRST_SHOWN_FROM
        while left:
            proposed = detected(best, left)
            chosen = order(proposed, tree, self._options.batch)
            costs = {
                score: sum(clicks_to_correct(gt(left[i]), proposed[i], score if shows else 1.0) for i in chosen)
                for score in SHOWN_FROM
            }
            drawn += sum(1 + len(gt(left[i])) for i in chosen)
            corrected += costs[shown_from]
            if shows:
                shown_from = min(costs, key=lambda score: costs[score])
            labelled += [left[i] for i in chosen]
            left = [sample for i, sample in enumerate(left) if i not in set(chosen)]
            now, score = self.trained(labelled, seed)
            if score > map50:
                best, map50, tree, shows = now, score, self._classes, True
            yield Progress((drawn, corrected), map50)


def detected(detector: Detector, samples: Sequence[Sample]) -> list[Detections]:
    """What a detector would propose, down to the scores that `review` looks at."""
    low = detector.with_settings(conf_threshold=MIN_SCORE)
    return [low.detect([load_image(sample.image, sample.name).pixels])[0] for sample in samples]


def clicks_to(goal: float, curve: Iterable[Progress]) -> tuple[float, ...]:
    """Clicks until the goal is reached, boxes drawn and corrected, interpolated within the batch that reaches it."""
    before = Progress((0, 0), 0.0)
    for now in curve:
        if now.map50 >= goal:
            part = (goal - before.map50) / (now.map50 - before.map50)
            return tuple(was + part * (then - was) for was, then in zip(before.clicks, now.clicks, strict=True))
        before = now
    return before.clicks


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--val", choices=["val", "test"], default="val")
    parser.add_argument("--size", type=int, nargs=2)
    for name, default in (("images", 1000), ("batch", 8), ("passes", 1500), ("seeds", 2)):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    simulation = Simulation(options)
    samples, seeds = simulation.samples, range(options.seeds)
    full = [simulation.trained(samples, seed)[1] for seed in seeds]
    goal = GOAL * float(np.mean(full))
    clicks = sum(1 + len(gt(sample)) for sample in samples)
    print(f"{cpu_name()}; {options.data.name}: {len(samples):,} images, {clicks:,} clicks to label all;")
    print(f"mAP50 with all of them {np.mean(full):.3f}, the goal is {goal:.3f}\n")
    print("| order | boxes | " + " | ".join(f"seed {seed}" for seed in seeds) + " | mean |")
    print("|---|---|" + "---|" * (options.seeds + 1), flush=True)
    for name, order in (("random", at_random), ("review", lambda seed: reviewed)):
        each = [clicks_to(goal, simulation.curve(order(seed), seed)) for seed in seeds]
        for boxes, values in zip(("drawn", "corrected"), zip(*each, strict=True), strict=True):
            columns = [name, boxes, *(f"{value:.0f}" for value in (*values, float(np.mean(values))))]
            print("| " + " | ".join(columns) + " |", flush=True)


if __name__ == "__main__":
    main()
