"""Does `yolo9000 data check --model` rank planted label errors first?

    python benchmarks/label_errors.py DATA [--size 416] [--errors 0.05] [--folds 5] [--steps 1000] [--seed 0]

One box in twenty of DATA's split ``train`` gets another class, is moved by 70 % of its size, or is deleted, a third
each. Each fold is checked by a detector, the bundled model with its last layer trained again, that has learnt from the
other folds, errors included. Prints how many of the most suspicious annotations are planted errors. Errors that the
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
import torch
from last_layer import Image, LastLayer, Whitening, read_images

from yolo9000 import Detector
from yolo9000.bench.machine import cpu_name
from yolo9000.boxes import iou
from yolo9000.data.dataset import open_data
from yolo9000.evaluation.runner import MIN_SCORE
from yolo9000.labeling.suspects import Suspect, ranked, suspects_in
from yolo9000.labeling.teachers import tree_of
from yolo9000.types import BoxAnnotations, ImageFile, Sample

Kind = Literal["class", "moved", "deleted"]
MOVED, MIN_SIDE, SAME = 0.7, 4, 0.5
SHOWN = (25, 50, 100, 200)


@dataclass(frozen=True)
class Planted:
    """An image with planted errors.

    Attributes:
        image: with annotations that are wrong in part.
        errors: kind of each error, its box before and after.
    """

    image: Image
    errors: list[tuple[Kind, np.ndarray, np.ndarray]]

    def error_at(self, suspect: Suspect) -> Kind | None:
        """The planted error that an annotation to look at is about, if it is about one."""
        box = np.array(suspect.box_xyxy)
        matches = (kind for kind, *boxes in self.errors if max(iou(box, other) for other in boxes) >= SAME)
        return next(matches, None)


def plant(image: Image, classes: int, fraction: float, rng: np.random.Generator) -> Planted:
    boxes, labels = image.gt.boxes_xyxy.copy(), image.gt.labels.copy()
    kept, errors = np.ones(len(labels), bool), []
    for index in np.flatnonzero(rng.random(len(labels)) < fraction):
        kind: Kind = rng.choice(get_args(Kind))
        before = boxes[index].astype(np.float64)
        if kind == "class":
            labels[index] = (labels[index] + rng.integers(1, classes)) % classes
        elif kind == "moved":
            boxes[index] = moved(before, image.size_wh, rng)
        kept[index] = kind != "deleted"
        errors.append((kind, before, boxes[index].astype(np.float64)))
    return Planted(replace(image, gt=BoxAnnotations.plain(boxes[kept], labels[kept])), errors)


def moved(box_xyxy: np.ndarray, size_wh: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """The box moved in a random direction, inside the image."""
    sides = box_xyxy[2:] - box_xyxy[:2]
    while True:
        angle = rng.uniform(0, 2 * np.pi)
        corner = box_xyxy[:2] + MOVED * sides * [np.cos(angle), np.sin(angle)]
        clipped = np.concatenate([corner, corner + sides]).clip(0, [*size_wh, *size_wh])
        if (clipped[2:] - clipped[:2]).min() >= min(MIN_SIDE, sides.min()):
            return clipped


def cross_fitted(layer: LastLayer, images: Sequence[Image], options: argparse.Namespace) -> Iterator[Suspect]:
    """The annotations of each fold that a model of the other folds finds unlikely; `image` is an index."""
    folds = np.random.default_rng(options.seed).permutation(len(images)) % options.folds
    tree = tree_of(layer.head)
    for fold in range(options.folds):
        layer.train([images[i] for i in np.flatnonzero(folds != fold)], options.steps, options.seed)
        own = np.flatnonzero(folds == fold)
        for index, detections in zip(own, layer.detect([images[i] for i in own], MIN_SCORE), strict=True):
            image = images[index]
            sample = Sample(str(index), ImageFile(Path(image.name)), image.name, image.size_wh, image.gt)
            yield from suspects_in(sample, image.gt, detections, tree)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--errors", type=float, default=0.05)
    for name, default in (("size", 416), ("folds", 5), ("steps", 1000), ("seed", 0)):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    torch.set_num_threads(1)
    detector = Detector.load(size_wh=(options.size, options.size), threads=1)
    data = open_data(options.data, "train")
    images = list(read_images(detector, data, MIN_SCORE))
    whitening, rng = Whitening(images), np.random.default_rng(options.seed)
    planted = [plant(whitening.apply(image), len(data.classes), options.errors, rng) for image in images]
    layer = LastLayer(detector, data.classes, whitening)
    boxes = Counter(data.classes[label] for one in planted for label in one.image.gt.labels)
    suspects = ranked(list(cross_fitted(layer, [one.image for one in planted], options)), boxes)
    report(options.data.name, planted, suspects[: max(SHOWN)])


def report(name: str, planted: Sequence[Planted], suspects: Sequence[Suspect]) -> None:
    kinds = Counter(kind for one in planted for kind, *_ in one.errors)
    total = sum(len(one.image.gt) for one in planted) + kinds["deleted"]
    print(f"{cpu_name()}; {name}: {total:,} boxes, planted: {', '.join(f'{n} {kind}' for kind, n in kinds.items())}\n")
    matches = [planted[int(suspect.image)].error_at(suspect) for suspect in suspects]
    print(f"| the first | planted errors | precision | {' | '.join(get_args(Kind))} |")
    print("|---|" + "---|" * (2 + len(get_args(Kind))))
    for count in SHOWN:
        of = Counter(matches[:count])
        hits = count - of[None]
        each = " | ".join(str(of[kind]) for kind in get_args(Kind))
        print(f"| {count} | {hits} | {hits / count:.2f} | {each} |")


if __name__ == "__main__":
    main()
