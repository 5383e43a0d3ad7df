"""Run the bundled model over images with image-level labels once, and keep what its last layer reads.

    python features.py DATA FEATURES.npz [--split train] [--size 288] [--per-class 60]

DATA is any data set with one image-level label an image. Features are the mean and the maximum over the image of the
channels that the class rows are multiplied with. FEATURES.npz holds ``features`` (n, 2 x channels), ``labels`` (n,) and
``classes``.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from yolo9000 import Detector
from yolo9000.data.dataset import DataSet, open_data
from yolo9000.data.images import load_image
from yolo9000.inference.head_output import LazyClassLogits
from yolo9000.types import Sample


def some_of_each_class(data: DataSet, per_class: int) -> Iterator[tuple[Sample, int]]:
    counts: Counter[int] = Counter()
    for sample in data.samples("fix"):
        if len(sample.image_labels) == 1 and counts[sample.image_labels[0]] < per_class:
            counts[sample.image_labels[0]] += 1
            yield sample, sample.image_labels[0]


def features_of(detector: Detector, pixels: np.ndarray) -> np.ndarray:
    [head] = detector.heads([pixels], min_objectness=1)
    logits = head.output.class_logits
    assert isinstance(logits, LazyClassLogits), "needs a model whose class rows are kept apart"
    channels = logits.features[head.index].reshape(logits.features.shape[1], -1)
    return np.concatenate([channels.mean(1), channels.max(1)]).astype(np.float16)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--split", choices=["train", "val"], default="train")
    parser.add_argument("--size", type=int, default=288)
    parser.add_argument("--per-class", type=int, default=60)
    options = parser.parse_args()
    detector = Detector.load(size_wh=(options.size, options.size))
    data = open_data(options.data, options.split)
    items = [
        (features_of(detector, load_image(sample.image, sample.name).pixels), label)
        for sample, label in some_of_each_class(data, options.per_class)
    ]
    features, labels = zip(*items, strict=True)
    np.savez(options.out, features=np.stack(features), labels=np.array(labels), classes=np.array(data.classes))
    print(f"{len(labels)} images of {len(set(labels))} classes, {features[0].size} features each")


if __name__ == "__main__":
    main()
