"""A small data set of drawn images, in VOC's form: red and blue rectangles on grey."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

CLASSES = ("blue", "red")
COLORS = {"blue": (20, 40, 220), "red": (210, 30, 20)}
SIZE_WH = (90, 60)


Box = tuple[str, tuple[int, int, int, int]]
Boxes = Callable[[int], list[Box]]


def boxes_of(number: int) -> list[Box]:
    """Names and (left, top, right, bottom) of image ``number``: 0 to 2 rectangles, far edges exclusive."""
    left, top = 3 + 5 * (number % 7), 4 + 3 * (number % 5)
    boxes = [("red", (left, top, left + 20, top + 12)), ("blue", (left + 30, top + 10, left + 42, top + 30))]
    return boxes[: number % 3]


def write_voc_set(folder: Path, train: int = 9, val: int = 5, boxes: Boxes = boxes_of) -> Path:
    """Write the data set; images 0 to train - 1 are for training, the others for validation."""
    for part in ("Annotations", "JPEGImages", "ImageSets/Main"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    for number in range(train + val):
        _write_image(folder, number, boxes(number))
    for split, indices in {"train": range(train), "val": range(train, train + val)}.items():
        names = "".join(f"p{number:02}\n" for number in indices)
        (folder / "ImageSets" / "Main" / f"{split}.txt").write_text(names)
    return folder


def _write_image(folder: Path, number: int, boxes: list[Box]) -> None:
    width, height = SIZE_WH
    pixels = np.random.default_rng(number).integers(90, 150, (height, width, 3), dtype=np.uint8)
    objects = ""
    for name, (left, top, right, bottom) in boxes:
        pixels[top:bottom, left:right] = COLORS[name]
        sides = zip(("xmin", "ymin", "xmax", "ymax"), (left + 1, top + 1, right, bottom), strict=True)
        box = "".join(f"<{side}>{value}</{side}>" for side, value in sides)
        objects += f"<object><name>{name}</name><difficult>0</difficult><bndbox>{box}</bndbox></object>"
    Image.fromarray(pixels).save(folder / "JPEGImages" / f"p{number:02}.png")
    size = f"<size><width>{width}</width><height>{height}</height><depth>3</depth></size>"
    text = f"<annotation><filename>p{number:02}.png</filename>{size}{objects}</annotation>"
    (folder / "Annotations" / f"p{number:02}.xml").write_text(text)
