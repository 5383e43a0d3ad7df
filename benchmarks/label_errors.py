"""Does `yolo9000 data check --model` rank planted label errors first?

    python benchmarks/label_errors.py DATA [--size W H] [--errors 0.05] [--folds 5] [--passes 8000] [--seed 0]

One box in twenty of DATA's split ``train`` gets another class, is moved by 70 % of its size, or is deleted, a third
each. Each fold is checked by a detector, the bundled model fine-tuned as `yolo9000 train` does, that has learnt from
the other folds, errors included. Prints how many of the most suspicious annotations are planted errors. Errors that the
data had before count against it.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from fine_tuned import Given, fine_tuned, fine_tuning

from yolo9000.bench.machine import cpu_name
from yolo9000.boxes import iou
from yolo9000.data.dataset import DataSet, open_data
from yolo9000.evaluation.runner import detect_samples
from yolo9000.io.cores import available_cores
from yolo9000.labeling.suspects import Suspect, ranked, suspects_in
from yolo9000.labeling.teachers import tree_of
from yolo9000.types import BoxAnnotations, Sample

Kind = Literal["class", "moved", "deleted"]
MOVED, MIN_SIDE, SAME = 0.7, 4, 0.5
SHOWN = (25, 50, 100, 200)


@dataclass(frozen=True)
class Planted:
    """An image with planted errors.

    Attributes:
        sample: with annotations that are wrong in part.
        errors: kind of each error, its box before and after.
    """

    sample: Sample
    errors: list[tuple[Kind, np.ndarray, np.ndarray]]

    def error_at(self, suspect: Suspect) -> Kind | None:
        """The planted error that an annotation to look at is about, if it is about one."""
        box = np.array(suspect.box_xyxy)
        matches = (kind for kind, *boxes in self.errors if max(iou(box, other) for other in boxes) >= SAME)
        return next(matches, None)


def plant(sample: Sample, classes: int, fraction: float, rng: np.random.Generator) -> Planted:
    assert sample.boxes is not None and sample.size_wh is not None  # noqa: PT018
    boxes, labels = sample.boxes.boxes_xyxy.copy(), sample.boxes.labels.copy()
    kept, errors = np.ones(len(labels), bool), []
    for index in np.flatnonzero(rng.random(len(labels)) < fraction):
        kind: Kind = rng.choice(get_args(Kind))
        before = boxes[index].astype(np.float64)
        if kind == "class":
            labels[index] = (labels[index] + rng.integers(1, classes)) % classes
        elif kind == "moved":
            boxes[index] = moved(before, sample.size_wh, rng)
        kept[index] = kind != "deleted"
        errors.append((kind, before, boxes[index].astype(np.float64)))
    return Planted(replace(sample, boxes=BoxAnnotations.plain(boxes[kept], labels[kept])), errors)


def moved(box_xyxy: np.ndarray, size_wh: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """The box moved in a random direction, inside the image."""
    sides = box_xyxy[2:] - box_xyxy[:2]
    while True:
        angle = rng.uniform(0, 2 * np.pi)
        corner = box_xyxy[:2] + MOVED * sides * [np.cos(angle), np.sin(angle)]
        clipped = np.concatenate([corner, corner + sides]).clip(0, [*size_wh, *size_wh])
        if (clipped[2:] - clipped[:2]).min() >= min(MIN_SIDE, sides.min()):
            return clipped


def cross_fitted(data: DataSet, samples: Sequence[Sample], options: argparse.Namespace) -> Iterator[Suspect]:
    """The annotations of each fold that a model of the other folds finds unlikely."""
    recipe = fine_tuning(options.data, options.size)
    folds = np.random.default_rng(options.seed).permutation(len(samples)) % options.folds
    for fold in range(options.folds):
        others = [samples[i] for i in np.flatnonzero(folds != fold)]
        detector = fine_tuned(recipe, data, others, options.passes, options.seed, available_cores())
        checked = Given.of(data, (samples[i] for i in np.flatnonzero(folds == fold)))
        for sample, detections in detect_samples(detector, checked):
            assert sample.boxes is not None
            yield from suspects_in(sample, sample.boxes, detections, tree_of(detector.head))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--size", type=int, nargs=2)
    parser.add_argument("--errors", type=float, default=0.05)
    for name, default in (("folds", 5), ("passes", 8000), ("seed", 0)):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    data, rng = open_data(options.data, "train"), np.random.default_rng(options.seed)
    samples = [sample for sample in data.samples("fix") if sample.boxes]
    planted = [plant(sample, len(data.classes), options.errors, rng) for sample in samples]
    boxes = Counter(data.classes[label] for one in planted for label in annotated(one).labels)
    suspects = ranked(list(cross_fitted(data, [one.sample for one in planted], options)), boxes)
    report(options.data.name, planted, suspects[: max(SHOWN)])


def annotated(planted: Planted) -> BoxAnnotations:
    assert planted.sample.boxes is not None
    return planted.sample.boxes


def report(name: str, planted: Sequence[Planted], suspects: Sequence[Suspect]) -> None:
    kinds = Counter(kind for one in planted for kind, *_ in one.errors)
    total = sum(len(annotated(one)) for one in planted) + kinds["deleted"]
    print(f"{cpu_name()}; {name}: {total:,} boxes, planted: {', '.join(f'{n} {kind}' for kind, n in kinds.items())}\n")
    by_name = {one.sample.name: one for one in planted}
    matches = [by_name[suspect.image].error_at(suspect) for suspect in suspects]
    print(f"| the first | planted errors | precision | {' | '.join(get_args(Kind))} |")
    print("|---|" + "---|" * (2 + len(get_args(Kind))))
    for count in SHOWN:
        of = Counter(matches[:count])
        hits = count - of[None]
        each = " | ".join(str(of[kind]) for kind in get_args(Kind))
        print(f"| {count} | {hits} | {hits / count:.2f} | {each} |")


if __name__ == "__main__":
    main()
