"""Bring photographs down to what tiny-imagenet's images are: small, and JPEG.

    python make_small.py data/

Images of 64 x 64 that are shown larger are blurred, and their JPEG blocks show. Where all others are sharp, that is
what a network learns: sharp is food, blocks are animals and things; and then all in a photograph is food. Written are
small/ with copies of all photographs to train on, and small.yaml: data/all.yaml with those in their place. Images to
validate and to test stay as they are.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import yaml
from make_data import write_scenes  # first: it says where make_scenes is
from make_scenes import Scene

from yolo9000.data.augment import Purpose, keyed
from yolo9000.data.dataset import DataSet, open_data
from yolo9000.data.images import load_image

LEAST, MOST = 64, 128  # pixels of the longer side of a copy
QUALITY = 75  # of tiny-imagenet's JPEG files


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    combined = open_data(options.out / "all.yaml", "train")
    file = yaml.safe_load((options.out / "all.yaml").read_text())
    for place, entry in enumerate(file["train"]):
        if place == 0:  # the scenes
            continue
        alone = replace(combined, sources=(combined.sources[place],))
        folder = options.out / "small" / str(place)
        if entry["format"] == "list":
            write_labelled(alone, folder, options.seed, place)
            small = {"format": "folder", "path": f"small/{place}"}
        else:
            write_scenes(
                small_scenes(alone, options.seed, place), folder, combined.classes, folder.with_suffix(".json")
            )
            small = {"format": "coco", "path": f"small/{place}.json", "images": f"small/{place}"}
        file["train"][place] = small | {"exhaustive": entry["exhaustive"]}
    (options.out / "small.yaml").write_text(yaml.safe_dump(file, sort_keys=False))


def small_scenes(data: DataSet, seed: int, place: int) -> Iterator[Scene]:
    """Small copies of the images with boxes, and the boxes in their pixels."""
    for number, sample in enumerate(data.samples("fix")):
        if sample.boxes is None:
            continue
        image = load_image(sample.image, sample.name).pixels
        small = any_reduced(image, keyed(seed, Purpose.SAMPLE, 10, place, number))
        across, down = small.shape[1] / image.shape[1], small.shape[0] / image.shape[0]
        boxes = (sample.boxes.boxes_xyxy * np.array([across, down, across, down])).tolist()
        labels = [data.classes[label] for label in sample.boxes.labels]
        yield Scene(small, labels, [(left, top, right, bottom) for left, top, right, bottom in boxes])


def write_labelled(data: DataSet, folder: Path, seed: int, place: int) -> None:
    """Write small copies of the images, which have one image-level label each, into a folder for each class."""
    for number, sample in enumerate(data.samples("fix")):
        image = load_image(sample.image, sample.name).pixels
        image = any_reduced(image, keyed(seed, Purpose.SAMPLE, 10, place, number))
        (label,) = sample.image_labels
        into = folder / data.classes[label]
        into.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(into / f"{number:06}.png"), image[..., ::-1])


def any_reduced(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The image as small as any of tiny-imagenet's kind: its longer side from ``LEAST`` to ``MOST`` pixels."""
    return reduced(image, round(LEAST * (MOST / LEAST) ** rng.random()))


def reduced(image: np.ndarray, longest: int) -> np.ndarray:
    """The image (H, W, 3; RGB) with so many pixels along its longer side at most, as JPEG leaves it."""
    height, width = image.shape[:2]
    scale = min(1.0, longest / max(height, width))
    size_wh = (max(1, round(scale * width)), max(1, round(scale * height)))
    small = cv2.resize(image, size_wh, interpolation=cv2.INTER_AREA)
    _, written = cv2.imencode(".jpg", small[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    return cv2.imdecode(written, cv2.IMREAD_COLOR)[..., ::-1]


if __name__ == "__main__":
    main()
