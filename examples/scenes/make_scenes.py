"""Make a detection data set out of small labelled images: scenes of 2 x 2 to 3 x 3 of them on a canvas.

    python make_scenes.py DATA scenes/ --train 6000 --val 800

DATA holds ``train.tar`` and ``val.tar`` with images ``CLASS/NAME`` and, beside them, ``train_boxes.tsv`` and
``val_boxes.tsv`` with the columns image, wnid, x1, y1, x2, y2 (corners, both inclusive): tiny-imagenet in this form.

Half of the classes are *boxed*, the other half *label-only*: the ids are sorted by their SHA-256, and the first half is
boxed. Written are

    boxed/        scenes of boxed classes, with boxes: boxed.json (COCO)
    labelled/     scenes of label-only classes: labels.tsv with the image-level labels of each, and labelled.json with
                  the boxes that joint training must not see
    val/          scenes of all classes, with boxes: val.json
    boxes.yaml    training with boxes of the boxed classes only
    joint.yaml    the same, and the image-level labels of the others
    all.yaml      boxes of all classes on the same images: the ceiling
    tree.yaml     the WordTree over all classes; boxed.names, label-only.names and classes.names
    depth-0.names ...   coarser classes: the nodes at that depth, and the classes above it

Every scene follows from the seed and its own number. The images of val come from val.tar alone.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from yolo9000.data.augment import Purpose, keyed
from yolo9000.taxonomy.build import build_tree
from yolo9000.taxonomy.files import write_tree
from yolo9000.taxonomy.hierarchy import Hierarchy
from yolo9000.taxonomy.wordnet import wordnet
from yolo9000.taxonomy.wordtree import WordTree

CANVAS_WH = (256, 192)
GREY = 127
MIN_FRACTION = 0.7  # of its cell's shorter side that an image is wide and high


@dataclass(frozen=True)
class Tile:
    """A small image, its class, and the box in it: left, top, right, bottom in pixels, the far edges exclusive."""

    pixels: np.ndarray
    label: str
    box: tuple[float, float, float, float]


@dataclass(frozen=True)
class Scene:
    pixels: np.ndarray
    labels: list[str]
    boxes: list[tuple[float, float, float, float]]


def read_tiles(folder: Path, split: str) -> dict[str, list[Tile]]:
    """All images of a split by class, in the order of the table of boxes."""
    with tarfile.open(folder / f"{split}.tar") as tar:
        data = {member.name: tar.extractfile(member).read() for member in tar if member.isfile()}  # type: ignore[union-attr]
    tiles: dict[str, list[Tile]] = {}
    header, *rows = (folder / f"{split}_boxes.tsv").read_text().splitlines()
    assert header.split("\t") == ["image", "wnid", "x1", "y1", "x2", "y2"], header
    for row in rows:
        name, label, *corners = row.split("\t")
        image = np.asarray(Image.open(io.BytesIO(data[name])).convert("RGB"))
        left, top, right, bottom = map(int, corners)
        tiles.setdefault(label, []).append(Tile(image, label, (left, top, right + 1, bottom + 1)))
    return tiles


def halves(ids: Sequence[str]) -> tuple[list[str], list[str]]:
    """The boxed classes and the label-only ones."""
    order = sorted(ids, key=lambda wnid: hashlib.sha256(wnid.encode()).hexdigest())
    return order[: len(order) // 2], order[len(order) // 2 :]


def any_of(items: Sequence, rng: np.random.Generator) -> object:  # type: ignore[type-arg]
    return items[int(len(items) * rng.random())]


def any_tile(tiles: dict[str, list[Tile]], classes: Sequence[str], rng: np.random.Generator) -> Tile:
    tile = any_of(tiles[str(any_of(classes, rng))], rng)
    assert isinstance(tile, Tile)
    return tile


def paste(tile: Tile, canvas: np.ndarray, left: int, top: int, size: int) -> tuple[float, float, float, float]:
    """Paste an image onto the canvas, `size` pixels wide and high; returns the box of its object."""
    small = Image.fromarray(tile.pixels).resize((size, size), Image.Resampling.BILINEAR)
    canvas[top : top + size, left : left + size] = np.asarray(small)
    return box_at(tile, left, top, size)


def box_at(tile: Tile, left: int, top: int, size: int) -> tuple[float, float, float, float]:
    """The box of an image's object where the image lies so on a canvas: left, top, right, bottom in pixels."""
    scale = size / tile.pixels.shape[1]
    x1, y1, x2, y2 = (value * scale for value in tile.box)
    return left + x1, top + y1, left + x2, top + y2


def make_scene(tiles: dict[str, list[Tile]], classes: Sequence[str], rng: np.random.Generator) -> Scene:
    """Images of some classes in the cells of a grid, each somewhere in its cell."""
    side = 2 + int(2 * rng.random())
    width, height = CANVAS_WH
    canvas = np.full((height, width, 3), GREY, np.uint8)
    labels, boxes = [], []
    rng.random()  # not used: so that scenes stay those of docs/results.md
    for row in range(side):
        for column in range(side):
            tile = any_tile(tiles, classes, rng)
            cell_w, cell_h = width // side, height // side
            size = int(min(cell_w, cell_h) * (MIN_FRACTION + (1 - MIN_FRACTION) * rng.random()))
            left = column * cell_w + int((cell_w - size + 1) * rng.random())
            top = row * cell_h + int((cell_h - size + 1) * rng.random())
            labels.append(tile.label)
            boxes.append(paste(tile, canvas, left, top, size))
    return Scene(canvas, labels, boxes)


def scenes(tiles: dict[str, list[Tile]], classes: Sequence[str], count: int, seed: int, part: int) -> Iterator[Scene]:
    for number in range(count):
        yield make_scene(tiles, classes, keyed(seed, Purpose.SAMPLE, part, number))


def write_scenes(scenes: Iterator[Scene], folder: Path, classes: Sequence[str], coco: Path) -> list[tuple[str, str]]:
    """Write the images, and their boxes as COCO; the labels of each image, by its name."""
    folder.mkdir(parents=True)
    ids = {name: number for number, name in enumerate(classes, 1)}
    images, annotations, named = [], [], []
    for number, scene in enumerate(scenes):
        name = f"{number:06}.jpg"
        Image.fromarray(scene.pixels).save(folder / name, quality=92)
        height, width = scene.pixels.shape[:2]
        images.append({"id": number, "file_name": name, "width": width, "height": height})
        named += [(name, label) for label in sorted(set(scene.labels))]
        for label, (left, top, right, bottom) in zip(scene.labels, scene.boxes, strict=True):
            box = [round(value, 2) for value in (left, top, right - left, bottom - top)]
            annotation = {"id": len(annotations), "image_id": number, "category_id": ids[label], "bbox": box}
            annotations.append({**annotation, "area": round(box[2] * box[3], 2), "iscrowd": 0})
    categories = [{"id": number, "name": name} for name, number in ids.items()]
    coco.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))
    return named


def nodes_at(tree: WordTree, depth: int) -> list[str]:
    """The tree cut at a depth: together they hold every class once."""
    return [
        tree.ids[i] for i in range(len(tree)) if tree.depths[i] == depth or (tree.leaves[i] and tree.depths[i] < depth)
    ]


def data_file(classes: Sequence[str], train: Sequence[str]) -> str:
    lines = ["tree: tree.yaml", f"classes: [{', '.join(classes)}]", "train:", *(f"  - {source}" for source in train)]
    return "\n".join([*lines, "val:", "  - {format: coco, path: val.json, images: val}", ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--train", type=int, default=6000, help="scenes of either half [6000]")
    parser.add_argument("--val", type=int, default=800, help="scenes [800]")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    out: Path = options.out
    out.mkdir(parents=True)
    train, val = (read_tiles(options.data, split) for split in ("train", "val"))
    classes = sorted(train)
    boxed, label_only = halves(classes)
    write_scenes(scenes(train, boxed, options.train, options.seed, 0), out / "boxed", boxed, out / "boxed.json")
    labelled = scenes(train, label_only, options.train, options.seed, 3)
    named = write_scenes(labelled, out / "labelled", label_only, out / "labelled.json")
    (out / "labels.tsv").write_text("image\twnid\n" + "".join(f"{name}\t{label}\n" for name, label in named))
    write_scenes(scenes(val, classes, options.val, options.seed, 2), out / "val", classes, out / "val.json")
    tree = build_tree(classes, Hierarchy(wordnet())).tree
    write_tree(out / "tree.yaml", tree)
    coarser = {f"depth-{depth}": nodes_at(tree, depth) for depth in range(int(tree.depths.max()))}
    for name, ids in {"boxed": boxed, "label-only": label_only, "classes": classes, **coarser}.items():
        (out / f"{name}.names").write_text("".join(f"{wnid}\n" for wnid in ids))
    boxes = "{format: coco, path: boxed.json, images: boxed, exhaustive: all}"
    labels = "{format: list, path: labels.tsv, images: labelled, columns: {image: image, labels: [wnid]}}"
    the_others = "{format: coco, path: labelled.json, images: labelled, exhaustive: all}"
    variants = {"boxes": [boxes], "joint": [boxes, labels], "all": [boxes, the_others]}
    for name, sources in variants.items():
        (out / f"{name}.yaml").write_text(data_file(classes, sources))
    print(f"{2 * options.train:,} scenes to train, {options.val:,} to validate; a tree of {len(tree)} nodes")


if __name__ == "__main__":
    main()
