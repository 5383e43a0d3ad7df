"""Write the table of boxes and labels of the photographs: YOLOX-Nano's boxes, and each image's own label.

    python teach.py yolox_nano.onnx IMAGES tree.yaml coco.names OUT.jsonl [--take samples=1000 catdog=900 ...]

IMAGES is what ``photographs.py`` has written. Boxes that score .38 or more are labels; of two classes on one box the
more certain; those from .1 on are ignored areas. Where the label of
the image lies at the class of a box or below, as a breed below "dog", the box is of that label; where no box is of its
kind, it stays an image-level label. Goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import csv
import json
import random
from pathlib import Path

import cv2
import numpy as np
from label_table import nodes_by_name, plain

from yolo9000.boxes import cxcywh_to_xyxy, nms
from yolo9000.taxonomy.files import read_tree
from yolo9000.taxonomy.wordtree import WordTree

SIZE, GREY = 416, 114
STRIDES = (8, 16, 32)
MIN, IGNORED, LABEL = 0.05, 0.1, 0.38  # scores
SAME = 0.55  # IoU of boxes at one position
GARMENTS = {
    "Longsleeve": "shirt",
    "Polo": "shirt",
    "Top": "shirt",
    "Blouse": "shirt",
    "Shoes": "shoe",
    "Outwear": "coat or sweater",
    "Blazer": "coat or sweater",
    "Hoodie": "coat or sweater",
    "Undershirt": "clothing",
    "Body": "clothing",
}
Box = tuple[int, float, np.ndarray]
"""Class of COCO, score, corners as fractions of the image."""


class Teacher:
    """YOLOX-Nano as its file has it, on one thread.

    Args:
        path: the file.
    """

    def __init__(self, path: Path) -> None:
        import openvino as ov

        self.compiled = ov.Core().compile_model(
            str(path), "CPU", {"INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": "f32"}
        )
        cells = [np.indices((SIZE // s, SIZE // s))[::-1].reshape(2, -1).T for s in STRIDES]
        self.cells = np.concatenate(cells)
        self.strides = np.repeat(STRIDES, [len(one) for one in cells])[:, None]

    def __call__(self, image: np.ndarray) -> list[Box]:
        """Boxes of an image, BGR, highest score first."""
        height, width = image.shape[:2]
        scale = SIZE / max(height, width)
        canvas = np.full((SIZE, SIZE, 3), GREY, np.uint8)
        small = cv2.resize(image, (round(width * scale), round(height * scale)))
        canvas[: small.shape[0], : small.shape[1]] = small
        out = self.compiled([canvas.transpose(2, 0, 1)[None].astype(np.float32)])[0][0]
        centers, sizes = (out[:, :2] + self.cells) * self.strides, np.exp(out[:, 2:4]) * self.strides
        boxes = (
            cxcywh_to_xyxy(np.concatenate([centers, sizes], 1).astype(np.float32))
            / scale
            / [width, height, width, height]
        )
        scores = out[:, 4:5] * out[:, 5:]
        pred: list[Box] = []
        for label in np.flatnonzero(scores.max(0) > MIN).tolist():
            own = np.flatnonzero(scores[:, label] > MIN)
            kept = own[nms(boxes[own].astype(np.float32), scores[own, label].astype(np.float32), 0.5)]
            pred += [(label, float(scores[i, label]), boxes[i].clip(0, 1)) for i in kept]
        return sorted(pred, key=lambda one: -one[1])


def iou(a: np.ndarray, b: np.ndarray) -> float:
    """IoU of two boxes by their corners."""
    common = (np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])).clip(0).prod()
    return float(common / ((a[2:] - a[:2]).prod() + (b[2:] - b[:2]).prod() - common + 1e-12))


class Nodes:
    """The nodes of the tree that the sources' labels mean."""

    def __init__(self, tree: WordTree, coco: list[str]) -> None:
        self.tree, self.by_name = tree, nodes_by_name(tree)
        self.coco = [tree.ids[tree.find(name)] for name in coco]

    def find(self, source: str, label: str) -> str | None:
        """Id of the node of an image's label; None without label."""
        if not label:
            return None
        if source in ("samples", "imagenette"):
            return label
        if source == "clothing":
            return self.by_name[plain(GARMENTS.get(label, label))]
        kind, _, breed = label.partition("/")
        return self.by_name.get(plain(breed), self.by_name[kind])

    def path(self, node: str) -> list[str]:
        """Ids from the top down to a node."""
        return [self.tree.ids[step] for step in self.tree.path(self.tree.ids.index(node))]


def line(file: str, pred: list[Box], node: str | None, nodes: Nodes) -> dict[str, object]:
    """The table's entry of an image."""
    path = [] if node is None else nodes.path(node)
    sure: list[Box] = []
    for one in pred:  # highest score first: of two classes at one position the first counts
        if one[1] >= LABEL and all(iou(one[2], other[2]) < SAME for other in sure):
            sure.append(one)
    boxes = [[*box.round(4).tolist(), nodes.coco[label], round(score, 3)] for label, score, box in sure]
    ignored = [box.round(4).tolist() for _, score, box in pred if IGNORED <= score < LABEL]
    own = [box for box in boxes if box[4] in path]
    for box in own if len(own) <= 2 else ():
        box[4] = node
    entry: dict[str, object] = {"file": file, "boxes": boxes, "ignored": ignored}
    return entry if node is None or own else {**entry, "label": node}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("yolox", "images", "tree", "names", "out"):
        parser.add_argument(name, type=Path)
    parser.add_argument(
        "--take", nargs="*", default=[], metavar="SOURCE=COUNT", help="how many of a source; default all"
    )
    options = parser.parse_args()
    teacher = Teacher(options.yolox)
    nodes = Nodes(read_tree(options.tree), options.names.read_text().split("\n")[:80])
    limits = {pair.partition("=")[0]: int(pair.partition("=")[2]) for pair in options.take}
    done = {json.loads(one)["file"] for one in options.out.read_text().splitlines()} if options.out.exists() else set()
    with options.out.open("a") as stream:
        for table in sorted(options.images.glob("*.csv")):
            rows = list(csv.reader(table.read_text().splitlines()))
            random.Random(0).shuffle(rows)  # noqa: S311  not for secrets
            for file, label in rows[: limits.get(table.stem, len(rows))]:
                if file not in done:
                    pred = teacher(cv2.imread(str(options.images / file)))
                    stream.write(json.dumps(line(file, pred, nodes.find(table.stem, label), nodes)) + "\n")
                    stream.flush()


if __name__ == "__main__":
    main()
