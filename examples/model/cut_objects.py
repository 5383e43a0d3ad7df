"""Cut objects out of photographs, so that the classifier learns what is boxed in them, too.

    python cut_objects.py data/

Every box of packaged food, fruit and coco128 becomes an image with an image-level label: the square around it, with a
little of what is beside it. Written are objects/ and objects-val/, with a folder for each class, and objects.yaml, for
the classifier: tiny-imagenet's images, groceries-labels and those, on the tree of data/all.yaml. All are as small as
tiny-imagenet's, see make_small.py.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import yaml
from make_small import reduced

from yolo9000.data.dataset import open_data
from yolo9000.data.images import load_image

MARGIN = 0.1  # of an object's longer side that is taken around it, half of it on either side
SMALLEST = 24  # longer sides of objects in pixels that are worth while
LARGEST = 64  # sides of images that are written, as of tiny-imagenet's


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    options = parser.parse_args()
    out = options.out
    file, images = (yaml.safe_load((out / name).read_text()) for name in ("small.yaml", "images.yaml"))
    counts = {}
    for split, folder in (("train", "objects"), ("val", "objects-val")):
        counts[split] = cut_objects(out / "all.yaml", split, out / folder)
        labels = file[split][1]  # after the scenes
        file[split] = [*images[split], labels, {"format": "folder", "path": folder}]
    del file["test"]
    (out / "objects.yaml").write_text(yaml.safe_dump(file, sort_keys=False))
    print(f"{counts['train']:,} objects to train, {counts['val']:,} to validate")


def cut_objects(path: Path, split: str, folder: Path) -> int:
    """Write the objects in the photographs of a split, whose first source has none but scenes; how many there were."""
    data = open_data(path, split)
    count = 0
    for sample in replace(data, sources=data.sources[1:]).samples("fix"):
        if sample.boxes is None:
            continue
        image = load_image(sample.image, sample.name).pixels
        for box, label in zip(sample.boxes.boxes_xyxy, sample.boxes.labels, strict=True):
            if max(box[2] - box[0], box[3] - box[1]) < SMALLEST:
                continue
            into = folder / data.classes[label]
            into.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(into / f"{count:06}.png"), reduced(square_around(image, box), LARGEST)[..., ::-1])
            count += 1
    return count


def square_around(image: np.ndarray, box_xyxy: np.ndarray) -> np.ndarray:
    """The square around a box (pixels) with a margin, moved into the image, and cut where it is larger than that."""
    height, width = image.shape[:2]
    side = round(float(max(box_xyxy[2] - box_xyxy[0], box_xyxy[3] - box_xyxy[1])) * (1 + MARGIN))
    left, top = (
        max(0, min(round(float(middle) - side / 2), length - side))
        for middle, length in (((box_xyxy[0] + box_xyxy[2]) / 2, width), ((box_xyxy[1] + box_xyxy[3]) / 2, height))
    )
    return image[top : top + side, left : left + side]


if __name__ == "__main__":
    main()
