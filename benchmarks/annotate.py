"""How many clicks do the order and the boxes of `yolo9000 review` save? An annotator who answers from the ground truth.

    python benchmarks/annotate.py DATA [--val test] [--size W H] [--batch 4] [--passes 1000] [--seeds 1] [--pool 600]

DATA is a data set with boxes. A detector, the bundled model fine-tuned as `yolo9000 train` does, learns from the images
that are labelled so far; then the next batch is labelled, as `review` ranks the other images with that detector (the
first batch with the bundled model), or in random order. By hand an image costs a click, and each of its boxes one more.
Where the detector's boxes are corrected, as `review` writes them, a click is for the image, for each box that is wrong
(no object, another label, an IoU below 0.7) and for each object that has none. Boxes are shown from the score on that
would have cost the fewest clicks in the batch before; the first two batches are labelled by hand. Prints how many
clicks it takes to 90 % of the mAP50 of a training on all images (of a random pool, if there are many), on the split of
``--val``.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from fine_tuned import fine_tuned, fine_tuning

from yolo9000 import Detector
from yolo9000.bench.machine import cpu_name
from yolo9000.boxes import iou
from yolo9000.data.dataset import open_data
from yolo9000.data.images import load_image
from yolo9000.evaluation.evaluate import evaluate
from yolo9000.evaluation.runner import detect_samples
from yolo9000.io.cores import available_cores
from yolo9000.labeling.review import MIN_SCORE, choose
from yolo9000.labeling.teachers import tree_of
from yolo9000.taxonomy.wordtree import WordTree
from yolo9000.types import BoxAnnotations, Detections, Sample

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


def annotated(sample: Sample) -> BoxAnnotations:
    """The boxes that an annotator draws."""
    assert sample.boxes is not None
    return sample.boxes.select(~(sample.boxes.difficult | sample.boxes.crowd))


def clicks_by_hand(samples: Iterable[Sample]) -> int:
    return sum(1 + len(annotated(sample)) for sample in samples)


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
        options: of the command.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self._recipe = fine_tuning(options.data, options.size)
        self._data, self._val = (open_data(options.data, split) for split in ("train", options.val))
        samples = [sample for sample in self._data.samples("fix") if sample.boxes]
        chosen = np.random.default_rng(0).permutation(len(samples))[: options.pool]
        self.pool = [samples[index] for index in sorted(chosen)]

    def trained(self, samples: Sequence[Sample], seed: int) -> Detector:
        """The detector that has learnt from some images."""
        return fine_tuned(self._recipe, self._data, samples, self._options.passes, seed, self._options.threads)

    def score(self, detector: Detector) -> float:
        """Its mAP50."""
        pairs = list(detect_samples(detector, self._val, on_error="fix"))
        return evaluate(self._val.name, pairs, detector.names).metrics["map50"]

    def shown(self, detector: Detector, samples: Sequence[Sample]) -> list[Detections]:
        """What it detects in some images, down to low scores."""
        sensitive = detector.with_settings(conf_threshold=MIN_SCORE)
        return [sensitive.detect([load_image(sample.image, sample.name).pixels])[0] for sample in samples]

    def curve(self, order: Order, corrects: bool, seed: int) -> Iterator[tuple[int, float]]:
        """Clicks and mAP50 after each batch."""
        left, labelled, clicks, shown_from = list(self.pool), [], 0, 1.0
        detector = Detector.load(size_wh=self._recipe.network.size_wh, threads=self._options.threads)
        while left:
            shown = self.shown(detector, left)
            chosen = order(shown, tree_of(detector.head), self._options.batch)
            batch = [left[index] for index in chosen]
            if corrects and labelled:
                costs = {
                    score: sum(clicks_to_correct(annotated(left[index]), shown[index], score) for index in chosen)
                    for score in SHOWN_FROM
                }
                clicks += costs[shown_from]
                shown_from = min(costs, key=lambda score: costs[score])
            else:
                clicks += clicks_by_hand(batch)
            labelled += batch
            left = [sample for index, sample in enumerate(left) if index not in set(chosen)]
            detector = self.trained(labelled, seed)
            yield clicks, self.score(detector)

    def clicks_to(self, goal: float, order: Order, corrects: bool, seed: int) -> float:
        """Clicks until the goal is reached, interpolated within the batch that reaches it."""
        before = (0, 0.0)
        for now in self.curve(order, corrects, seed):
            logging.getLogger(__name__).info("%d clicks: %.3f", *now)
            if now[1] >= goal:
                return before[0] + (now[0] - before[0]) * (goal - before[1]) / (now[1] - before[1])
            before = now
        return float(before[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--val", choices=["val", "test"], default="val")
    parser.add_argument("--size", type=int, nargs=2)
    for name, default in (("batch", 4), ("passes", 1000), ("seeds", 1), ("pool", 600), ("threads", available_cores())):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--log", action="store_true", help="each point of each curve")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO if options.log else logging.WARNING, format="%(message)s")
    simulation = Simulation(options)
    full = [simulation.score(simulation.trained(simulation.pool, seed)) for seed in range(options.seeds)]
    goal = GOAL * float(np.mean(full))
    clicks = clicks_by_hand(simulation.pool)
    print(f"{cpu_name()}; {options.data.name}: {len(simulation.pool):,} images, {clicks:,} clicks to label all;")
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
