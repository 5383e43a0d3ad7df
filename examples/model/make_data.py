"""Prepare the data of the model that ships: scenes, data-set files, and where groceries stand in WordNet.

    python make_data.py DATA data/

DATA holds

    tiny-imagenet/      see ../scenes/make_scenes.py
    groceries-labels/   see ../groceries/make_groceries.py
    groceries-boxes/    VOC, boxes of packaged food; its "cake" comes in a box, and is called "boxed cake" here
    fruit/, coco128/    VOC and YOLO

Written are, each with the classes that it has,

    scenes/, val/, test/    scenes of tiny-imagenet's images, with boxes, and scenes.yaml; val/ and test/ are grids of
                        every other image of val.tar: one to calibrate on, the other to test
    singles/, singles-val/, singles-test/    the same images as they are, with boxes; calibrate.yaml: val/ and
                        singles-val/
    images.yaml       its images as they are, with image-level labels alone, for the classifier
    labels.yaml         groceries, with image-level labels
    packages.yaml       packaged food, with boxes
    parents.csv         what groceries are a kind of: edible fruit, vegetables, packaged food, and food above them

for `yolo9000 data combine`. Of four scenes one is a grid of ../scenes, two have images of many sizes anywhere, and
one is an image as it is.
"""

from __future__ import annotations

import argparse
import csv
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from yolo9000.data.augment import AugmentSettings, Purpose, augment, keyed
from yolo9000.data.dataset import open_data
from yolo9000.taxonomy.hierarchy import slug
from yolo9000.taxonomy.wordnet import WordNet, singular_forms, wordnet
from yolo9000.types import BoxAnnotations

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "scenes"))
from make_scenes import Scene, Tile, any_tile, paste, read_tiles, scenes, write_scenes

FOOD, FRUIT, VEGETABLES = "n00021265", "n07705931", "n07707451"
DEVICE, SIGNBOARD = "n03183080", "n04217882"  # WordNet has traffic lights and stop signs for messages, no objects
PACKAGES = "packaged-food"
DEPARTMENTS = {"Fruit": FRUIT, "Vegetables": VEGETABLES, "Packages": PACKAGES}
SIZES_WH = ((256, 192), (192, 256), (256, 256), (320, 224), (224, 320))
SMALLEST, LARGEST = 48, 256  # sides of images in pixels
MOST = 24  # images tried in a scene; those that would hide another are left out
RENAMED = {"Pepper": "bell pepper"}
TILES = AugmentSettings(jitter=0.25, min_visible=0.5)
MOST_COMMON = 0.1  # of its area that an image may hide of another


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--scenes", type=int, default=40000, help="to train [40000]")
    parser.add_argument("--val", type=int, default=800, help="scenes to calibrate on, and as many to test [800]")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    data, out = options.data, options.out
    out.mkdir(parents=True)
    train, val = (read_tiles(data / "tiny-imagenet", split) for split in ("train", "val"))
    classes = sorted(train)
    write_scenes(some_scenes(train, options.scenes, options.seed), out / "scenes", classes, out / "scenes.json")
    for part, name in enumerate(("val", "test")):
        held_out = {label: tiles[part::2] for label, tiles in val.items()}
        found = scenes(held_out, classes, options.val, options.seed, 7 + part)
        write_scenes(found, out / name, classes, out / f"{name}.json")
        write_singles(held_out, out / f"singles-{name}")
    write_singles(train, out / "singles")
    near = os.path.relpath(data.resolve(), out.resolve())
    write_data_files(near, out, classes)
    write_groceries(data, out)
    print(
        f"{options.scenes:,} scenes to train, {options.val:,} to calibrate, {options.val:,} to test, "
        f"of {len(classes)} classes"
    )


def some_scenes(tiles: dict[str, list[Tile]], count: int, seed: int) -> Iterator[Scene]:
    classes = sorted(tiles)
    grids, loose = count // 4, count // 2
    yield from scenes(tiles, classes, grids, seed, 4)
    for number in range(loose):
        yield loose_scene(tiles, classes, keyed(seed, Purpose.SAMPLE, 5, number))
    for number in range(count - grids - loose):
        tile = any_tile(tiles, classes, keyed(seed, Purpose.SAMPLE, 6, number))
        yield Scene(tile.pixels, [tile.label], [tile.box])


def write_singles(tiles: dict[str, list[Tile]], folder: Path) -> None:
    """Every image as it is, with its box, in the folder; what is where in a .json file beside it."""
    classes = sorted(tiles)
    singles = (Scene(tile.pixels, [tile.label], [tile.box]) for label in classes for tile in tiles[label])
    write_scenes(singles, folder, classes, folder.with_suffix(".json"))


def changed(tile: Tile, rng: np.random.Generator) -> Tile:
    """The image with its edges moved, perhaps mirrored, its colors changed: the same one is in many scenes."""
    side = len(tile.pixels)
    gt = BoxAnnotations.plain(np.array([tile.box], np.float32), np.zeros(1, np.int64))
    image, found = augment(tile.pixels, gt, TILES, (side, side), rng)
    assert found is not None
    return Tile(image, tile.label, tuple(found.boxes_xyxy[0].tolist())) if len(found) else tile


def loose_scene(tiles: dict[str, list[Tile]], classes: Sequence[str], rng: np.random.Generator) -> Scene:
    """Images of many sizes anywhere on a ground of one color, that hide next to nothing of each other."""
    width, height = SIZES_WH[int(len(SIZES_WH) * rng.random())]
    canvas = np.empty((height, width, 3), np.uint8)
    canvas[:] = (255 * rng.random(3)).astype(np.uint8)
    places: list[Square] = []
    labels, boxes = [], []
    for _ in range(1 + int(MOST * rng.random())):
        tile = changed(any_tile(tiles, classes, rng), rng)
        square = any_square((width, height), rng)
        if any(hidden(square, other) > MOST_COMMON for other in places):
            continue
        places.append(square)
        labels.append(tile.label)
        boxes.append(paste(tile, canvas, *square))
    return Scene(canvas, labels, boxes)


Square = tuple[int, int, int]
"""Left, top and side in pixels."""


def any_square(size_wh: tuple[int, int], rng: np.random.Generator) -> Square:
    """A square anywhere on a canvas; small ones are as likely as large ones."""
    size = min(int(SMALLEST * (LARGEST / SMALLEST) ** rng.random()), *size_wh)
    left, top = (int((side - size + 1) * rng.random()) for side in size_wh)
    return left, top, size


def hidden(one: Square, other: Square) -> float:
    """The larger share that two squares hide of each other."""
    (left, top, size), (its_left, its_top, its_size) = one, other
    across = max(0, min(left + size, its_left + its_size) - max(left, its_left))
    down = max(0, min(top + size, its_top + its_size) - max(top, its_top))
    return across * down / min(size, its_size) ** 2


def write_data_files(data: str, out: Path, classes: Sequence[str]) -> None:
    def coco(name: str) -> str:
        return f"{{format: coco, path: {name}.json, images: {name}}}"

    def tar(split: str) -> str:
        return f"{{format: tar, path: {data}/tiny-imagenet/{split}.tar}}"

    def labelled(split: str) -> str:
        folder = f"{data}/groceries-labels"
        columns = "{image: 0, labels: [1], indices: true}"
        return f"{{format: list, path: {folder}/{split}.txt, images: {folder}, columns: {columns}}}"

    def packages(split: str) -> str:
        only = f"list: ImageSets/Main/{split}.txt, map: {{cake: boxed cake}}"
        return f"{{format: voc, path: {data}/groceries-boxes, {only}}}"

    files = {
        "scenes": [coco("scenes"), coco("val"), f"{coco('test')}, {coco('singles-test')}"],
        "images": [tar("train"), tar("val")],
        "labels": [labelled("train"), labelled("val")],
        "packages": [packages("train"), packages("val")],
    }
    for name, sources in files.items():
        own = [] if name in ("labels", "packages") else [f"classes: [{', '.join(classes)}]"]
        splits = zip(("train", "val", "test"), sources, strict=False)
        lines = [*own, *(f"{split}: [{source}]" for split, source in splits)]
        (out / f"{name}.yaml").write_text("\n".join(lines) + "\n")
    (out / "calibrate.yaml").write_text(
        f"classes: [{', '.join(classes)}]\nval: [{coco('val')}, {coco('singles-val')}]\n"
    )


def write_groceries(data: Path, out: Path) -> None:
    """Name the classes of groceries, and write what they and packaged food are kinds of."""
    with (data / "groceries-labels" / "classes.csv").open() as file:
        rows = sorted(csv.DictReader(file), key=lambda row: int(row["Class ID (int)"]))
    labels = out / "labels.yaml"
    labels.write_text(f"classes: [{', '.join(row['Class Name (str)'] for row in rows)}]\n{labels.read_text()}")
    nouns = wordnet()
    entries = {
        "food": (FOOD, ""),
        "solid food": ("n07555863", FOOD),
        "edible fruit": (FRUIT, FOOD),
        "vegetable": (VEGETABLES, FOOD),
        "packaged food": (PACKAGES, FOOD),
        "traffic light": ("n06874185", DEVICE),
        "stop sign": ("stop-sign", SIGNBOARD),
    }
    for row in rows:
        department = DEPARTMENTS[Path(row["Iconic Image Path (str)"]).parts[2]]
        coarse = RENAMED.get(row["Coarse Class Name (str)"], readable(row["Coarse Class Name (str)"]))
        entries.setdefault(coarse, (meaning(coarse, department, nouns) or slug(coarse), department))
        fine = readable(row["Class Name (str)"])
        entries.setdefault(fine, (slug(fine), entries[coarse][0]))
    for name in open_data(out / "packages.yaml", "train").classes:
        entries.setdefault(name, (slug(name), PACKAGES))
    with (out / "parents.csv").open("w", newline="") as file:
        architecture = csv.writer(file)
        architecture.writerow(["name", "id", "parent", "synonyms"])
        for name, (own, parent) in entries.items():
            synonyms = nouns.names(own) if own in nouns else ()
            architecture.writerow([name, own, parent, ";".join(it for it in synonyms if it != name)])


def readable(name: str) -> str:
    return name.replace("-", " ").lower()


def meaning(name: str, department: str, nouns: WordNet) -> str | None:
    """The synset of a fruit or vegetable, so that it is the same node as what other label sets call by its id."""
    for form in (name, *singular_forms(name)):
        for synset in nouns.senses(form):
            if department in above(synset, nouns):
                return synset
    return None


def above(synset: str, nouns: WordNet) -> set[str]:
    parents = nouns.hypernyms(synset)
    return {*parents, *(node for parent in parents for node in above(parent, nouns))}


if __name__ == "__main__":
    main()
