"""Put small images into photographs, so that a photograph as such is no sign of what is in it.

    python mix_photographs.py DATA data/

In data/all.yaml nearly all sharp photographs are of packaged food: a network that learns of them alone calls whatever
it sees in a photograph packaged food. Here photographs of packaged food, fruit and coco128 are the ground on which
images of tiny-imagenet lie, half of them with soft edges; the objects of both are boxed. The photographs are
brought down to what those images are, see make_small.py. Written are mixed-*/ with mixed-*.json, mixed.yaml:
data/small.yaml with them, and more.yaml: mixed.yaml with tiny-imagenet's images as they are.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import yaml
from make_data import SIZES_WH, Square, any_square, changed, hidden  # first: it says where make_scenes is
from make_scenes import Scene, Tile, any_tile, box_at, read_tiles, write_scenes
from make_small import any_reduced

from yolo9000.data.augment import AugmentSettings, Purpose, augment, keyed
from yolo9000.data.dataset import DataSet, open_data
from yolo9000.data.images import load_image
from yolo9000.types import Sample

FRACTIONS = {"coco128": 0.6, "groceries-boxes": 0.35, "fruit": 0.05}  # of the scenes on photographs of each source
GROUND = AugmentSettings(jitter=0.25, min_visible=0.3)
TRIED = 8  # images on a photograph
HIDDEN_OBJECT = 0.4  # of its area that an image may hide of an object in the photograph
HIDDEN_IMAGE = 0.2  # of its area that an image may hide of another
SOFT = 0.12  # of its side over which an image's edge fades


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--scenes", type=int, default=20000, help="[20000]")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    tiles = read_tiles(options.data / "tiny-imagenet", "train")
    combined = open_data(options.out / "all.yaml", "train")
    file = yaml.safe_load((options.out / "small.yaml").read_text())
    for part, (name, fraction) in enumerate(FRACTIONS.items()):
        (place,) = (place for place, source in enumerate(combined.sources) if name in Path(source.path).parts)
        found = mixed_scenes(tiles, combined, place, round(fraction * options.scenes), options.seed, part)
        folder = options.out / f"mixed-{name}"
        write_scenes(found, folder, combined.classes, options.out / f"mixed-{name}.json")
        known = [*file["train"][place].get("exhaustive", []), *sorted(tiles)]
        entry = {"format": "coco", "path": f"mixed-{name}.json", "images": folder.name}
        file["train"].append(entry | {"exhaustive": list(dict.fromkeys(known))})
    (options.out / "mixed.yaml").write_text(yaml.safe_dump(file, sort_keys=False))
    singles = {"format": "coco", "path": "singles.json", "images": "singles"}
    file["train"].append(singles | {"exhaustive": file["train"][0]["exhaustive"]})
    (options.out / "more.yaml").write_text(yaml.safe_dump(file, sort_keys=False))


def mixed_scenes(
    tiles: dict[str, list[Tile]], combined: DataSet, place: int, count: int, seed: int, part: int
) -> Iterator[Scene]:
    alone = replace(combined, sources=(combined.sources[place],))
    photographs = [sample for sample in alone.samples("fix") if sample.boxes is not None]
    for number in range(count):
        rng = keyed(seed, Purpose.SAMPLE, 9, part, number)
        yield mixed_scene(photographs[int(len(photographs) * rng.random())], combined.classes, tiles, rng)


def mixed_scene(
    sample: Sample, classes: Sequence[str], tiles: dict[str, list[Tile]], rng: np.random.Generator
) -> Scene:
    """A photograph, changed, with some images on it that hide little of its objects and of each other."""
    size_wh = SIZES_WH[int(len(SIZES_WH) * rng.random())]
    image, gt = augment(load_image(sample.image, sample.name).pixels, sample.boxes, GROUND, size_wh, rng)
    assert gt is not None
    canvas = as_small(image, rng)
    labels = [classes[label] for label in gt.labels]
    boxes: list[tuple[float, float, float, float]] = [tuple(box) for box in gt.boxes_xyxy.tolist()]
    places: list[Square] = []
    for _ in range(int((TRIED + 1) * rng.random())):
        tile = changed(any_tile(tiles, sorted(tiles), rng), rng)
        square = any_square(size_wh, rng)
        if any(hidden(square, other) > HIDDEN_IMAGE for other in places):
            continue
        if any(fraction_of_box(square, box) > HIDDEN_OBJECT for box in gt.boxes_xyxy.tolist()):
            continue
        places.append(square)
        labels.append(tile.label)
        boxes.append(paste_softly(tile, canvas, square, SOFT if rng.random() < 0.5 else 0))
    return Scene(canvas, labels, boxes)


def as_small(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The image as if it had been small, and made larger."""
    height, width = image.shape[:2]
    return cv2.resize(any_reduced(image, rng), (width, height), interpolation=cv2.INTER_LINEAR)


def fraction_of_box(square: Square, box: Sequence[float]) -> float:
    """The share of a box that a square hides."""
    left, top, size = square
    across = max(0.0, min(left + size, box[2]) - max(left, box[0]))
    down = max(0.0, min(top + size, box[3]) - max(top, box[1]))
    return across * down / max(1e-6, (box[2] - box[0]) * (box[3] - box[1]))


def paste_softly(tile: Tile, canvas: np.ndarray, square: Square, soft: float) -> tuple[float, float, float, float]:
    """Put an image on the canvas, its edges faded over a share of its side; the box of its object there."""
    left, top, size = square
    image = cv2.resize(tile.pixels, (size, size), interpolation=cv2.INTER_AREA if size < 64 else cv2.INTER_LINEAR)
    ground = canvas[top : top + size, left : left + size]
    ramp = np.minimum(np.arange(size) + 0.5, size - np.arange(size) - 0.5) / max(soft * size, 0.5)
    mask = np.clip(np.minimum(ramp[:, None], ramp[None]), 0, 1)[..., None]
    ground[:] = np.rint(mask * image + (1 - mask) * ground).astype(np.uint8)
    return box_at(tile, left, top, size)


if __name__ == "__main__":
    main()
