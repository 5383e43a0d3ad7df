"""Put YOLOX-Nano and EfficientNet-Lite0 side by side into one untrained detector over the label tree.

    python make_start.py yolox_nano.onnx efficientnet-lite0.safetensors tree.yaml coco.names OUT.safetensors

The first file is YOLOX-Nano as ONNX (`yolox.SHA256`), the second what ``examples/backbones`` makes, ``coco.names`` the
names of COCO's 80 classes in the order of COCO. Both networks read the same image. YOLOX-Nano keeps its
trunk, its neck and the branches of its three levels; its last convolutions become the box and class rows of the three
anchors of one ``[region]`` layer at stride 16. What each anchor takes over:

- 220 pixels: the level of stride 32, interpolated, as neighboring cells see one object at positions that differ by one.
- 80 pixels: the level of stride 16 as it is.
- 28 pixels: the level of stride 8, the mean of the four cells in one of stride 16.

YOLOX finds an object also from cells that its centre does not lie in; a ``[region]`` layer can only place the centre in
the cell. Hidden channels tell how far outside of the cell the centre lies, and lower the objectness there.

EfficientNet-Lite0 has learned from images of 224 pixels, and names what is much larger less well: it reads the image at
two thirds of its size, which its first convolution computes (`_at_two_thirds`). Its class rows, reduced to 512
channels, become those of ImageNet's classes; they read the mean over a window of 5x5 cells of 48 pixels. A node above
them begins with the mean of what is below it.

Nothing is trained here; ``fit_classes.py`` fits the class rows. What comes first in the table is what both networks
computed before; from the row that the metadata call ``first_trained`` on it is what is trained.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
from yolox import LEVELS, SHA256, Rows, YoloxNano

from yolo9000.architectures.layers import Architecture, AvgPool, Conv, Layer, Region, Reorg, Route, Upsample
from yolo9000.architectures.weights import ConvParameters, Model, fold_batch_norm
from yolo9000.checkpoints.model import LoadedModel
from yolo9000.checkpoints.safetensors import read_checkpoint, write_checkpoint
from yolo9000.errors import YoloError
from yolo9000.taxonomy.files import read_tree
from yolo9000.taxonomy.wordtree import WordTree

SIZE = 384  # of the input, pixels
ANCHORS = ((1.75, 1.75), (5.0, 5.0), (13.75, 13.75))  # cells of 16 pixels
STRIDES = (8, 16, 32)
BRANCH = 64  # channels of a branch of YOLOX-Nano
SMALL = 128  # channels of the level of stride 8 in the head
CLASSIFIER = 512  # channels of EfficientNet-Lite0 in the head
SMALL_SCALE = 4.0  # swish(4 x) / 4 is nearly x above zero
STEEPNESS = 5.0  # sigmoid(5 (x - 1/2)) is nearly x between 0 and 1
OUTSIDE = (4.0, 2.0, 1.0)  # what the objectness' logit loses by level for each cell that the centre lies outside
WINDOW = 5  # cells of stride 48: side of the square over which class features are averaged
TWO_THIRDS = np.array([[2, 1, 0, 0, 0], [0, 1, 2, 0, 0], [0, 0, 0, 2, 1]], np.float32) / 3  # from five pixels to three

# Where the head's channels come from, and where they begin. "outside" is computed of all before it.
FIRST = {"reg1": 0, "cls1": 64, "reg2": 128, "cls2": 192, "reg0": 256, "cls0": 320, "classifier": 384, "outside": 896}
SIDES = 4  # of a cell


def checkpoint(yolox: YoloxNano, classifier: LoadedModel, tree: WordTree, coco: list[str]) -> LoadedModel:
    """The untrained detector."""
    table = Rows()
    image = table.add(_plain(3, groups=3), ConvParameters(np.ones((3, 1, 1, 1), np.float32), np.zeros(3, np.float32)))
    made = {"images": image}
    yolox.add_to(table, [yolox.stem(level) for level in range(LEVELS)], made)
    last = _add_classifier(table, fold_batch_norm(classifier.weights), image)
    first_trained = len(table.rows)
    _add_head(table, yolox, made, classifier.weights, last)
    region = Region(ANCHORS, len(tree), softmax=True, tree="labels.tree")
    table.add(_plain(region.filters), _last_rows(yolox, classifier, tree, coco))
    table.add(region)
    model = Model(Architecture(tuple(table.rows), SIZE, SIZE), tuple(table.parameters))
    trained = {"yolox_nano_sha256": SHA256, "classifier": dict(classifier.trained), "first_trained": first_trained}
    return LoadedModel.from_weights(model, tree.names, tree, trained=trained)


def _plain(filters: int, size: int = 1, groups: int = 1, activation: str = "linear") -> Conv:
    return Conv(filters, size, 1, size // 2, False, activation, groups)  # type: ignore[arg-type]


def _add_classifier(table: Rows, model: Model, image: int) -> int:
    """EfficientNet-Lite0 up to the convolution that widens to 1,280 channels, at two thirds of the image's size."""
    end = next(i for i, row in enumerate(model.architecture.layers) if isinstance(row, AvgPool)) - 1
    normalize, stem, *others = zip(model.architecture.layers[:end], model.parameters[:end], strict=True)
    last = image
    for row, params in (normalize, _at_two_thirds(*stem), *others):
        last = table.add(row, params, last)
    return last


def _at_two_thirds(row: Layer, params: ConvParameters | None) -> tuple[Conv, ConvParameters]:
    """A 3x3 convolution of stride 2 after the image is made smaller, by the mean of areas: one of 5x5 and stride 3.

    Three pixels of the smaller image cover five of the image, and its steps of two are steps of three.
    """
    assert isinstance(row, Conv)
    assert params is not None
    weights = np.einsum("oikl,ky,lx->oiyx", params.weights, TWO_THIRDS, TWO_THIRDS).astype(np.float32)
    return replace(row, size=5, stride=3, end_padding=2), replace(params, weights=weights)


def _add_head(table: Rows, yolox: YoloxNano, made: dict[str, int], classifier: Model, last: int) -> None:
    """Everything between the two networks and the last convolution: joins the channels that `FIRST` lists."""
    parts = [(part, level) for level in range(LEVELS) for part in ("reg", "cls")]
    yolox.add_to(table, [yolox.branch(part, level) for part, level in parts], made)
    branches = {f"{part}{level}": made[yolox.branch(part, level)] for part, level in parts}
    table.add(Route((branches["reg0"], branches["cls0"])))
    table.add(Reorg(2, "space_to_depth"))
    small = table.add(_plain(SMALL, activation="swish"), _mean_of_four(2 * BRANCH))
    table.add(Route((branches["reg2"], branches["cls2"])))
    table.add(Upsample(2))
    large = table.add(_plain(2 * BRANCH, 3, 2 * BRANCH), _between_repeated(2 * BRANCH))
    features = _add_class_features(table, fold_batch_norm(classifier), last)
    seen = table.add(Route((branches["reg1"], branches["cls1"], large, small, features)))
    outside = table.add(_plain(LEVELS * SIDES, activation="relu"), _outside(yolox))
    table.add(Route((seen, outside)))


def _add_class_features(table: Rows, classifier: Model, last: int) -> int:
    rows = list(zip(classifier.architecture.layers, classifier.parameters, strict=True))
    widest = next(i for i, (row, _) in enumerate(rows) if isinstance(row, AvgPool)) - 1
    table.add(*rows[widest], last)
    basis, _ = reduced_rows(classifier)
    table.add(_plain(CLASSIFIER), ConvParameters(basis[:, :, None, None], np.zeros(CLASSIFIER, np.float32)))
    mean = np.full((CLASSIFIER, 1, WINDOW, WINDOW), WINDOW**-2, np.float32)
    table.add(_plain(CLASSIFIER, WINDOW, CLASSIFIER), ConvParameters(mean, np.zeros(CLASSIFIER, np.float32)))
    return table.add(Upsample(3))


def reduced_rows(classifier: Model) -> tuple[np.ndarray, np.ndarray]:
    """The class rows' best approximation of fewer channels: (512, 1280) to reduce features, (1000, 512) of classes.

    What all classes have in common does not change a softmax, and is left out.
    """
    weights = next(one for one in reversed(classifier.parameters) if one is not None).weights[:, :, 0, 0]
    left, strength, right = np.linalg.svd(weights - weights.mean(0), full_matrices=False)
    return right[:CLASSIFIER], left[:, :CLASSIFIER] * strength[:CLASSIFIER]


def _between_repeated(channels: int) -> ConvParameters:
    """After an upsampling that repeats every cell: what linear interpolation would have given."""
    weights = np.outer((1, 2, 1), (1, 2, 1)).astype(np.float32) / 16
    return ConvParameters(np.tile(weights, (channels, 1, 1, 1)), np.zeros(channels, np.float32))


def _outside(yolox: YoloxNano) -> ConvParameters:
    """For each level, how many cells the centre lies right of, below, left of and above the cell that sees it."""
    weights = np.zeros((LEVELS, SIDES, FIRST["outside"]), np.float32)
    biases = np.zeros((LEVELS, SIDES), np.float32)
    for level in range(LEVELS):
        channels, rows, offsets = _centers(yolox, level)
        weights[level, :2, channels], biases[level, :2] = rows, offsets - 1
        weights[level, 2:, channels], biases[level, 2:] = -rows, -offsets
    return ConvParameters(weights.reshape(-1, FIRST["outside"], 1, 1), biases.reshape(-1))


def _centers(yolox: YoloxNano, level: int) -> tuple[slice, np.ndarray, np.ndarray]:
    """Channels, rows (2, C) and biases that give the centre of a box, x and y in cells from the corner of its cell.

    YOLOX counts from the corner of its own cell, x = (column + t) stride.
    """
    box, cells = yolox.last("reg", level), STRIDES[level] / 16
    first, scale = FIRST[f"reg{level}"], SMALL_SCALE if level == 0 else 1.0
    rows = cells * box.weights[:2, :, 0, 0] / scale
    return slice(first, first + BRANCH), rows, cells * (box.biases[:2] - 0.5) + 0.5


def _mean_of_four(channels: int) -> ConvParameters:
    """The mean over each 2x2 block, times `SMALL_SCALE`, of what a reorg has stacked."""
    weights = np.tile(np.eye(channels, dtype=np.float32), 4) * SMALL_SCALE / 4
    return ConvParameters(weights[:, :, None, None], np.zeros(channels, np.float32))


def _last_rows(yolox: YoloxNano, classifier: LoadedModel, tree: WordTree, coco: list[str]) -> ConvParameters:
    channels = FIRST["outside"] + LEVELS * SIDES
    weights = np.zeros((len(ANCHORS), 5 + len(tree), channels), np.float32)
    biases = np.zeros((len(ANCHORS), 5 + len(tree)), np.float32)
    nodes = [tree.find(name) for name in coco]
    for level in range(LEVELS):
        _take_over(yolox, level, nodes, weights[level], biases[level])
    _take_classes(classifier, tree, weights, biases)
    _begin_inner(tree, nodes, weights, biases)
    return ConvParameters(weights.reshape(-1, channels, 1, 1), biases.reshape(-1))


def _take_over(yolox: YoloxNano, level: int, nodes: list[int], weights: np.ndarray, biases: np.ndarray) -> None:
    """Write the rows of an anchor, (5 + K, C), from the last convolutions of its level.

    YOLOX has w = stride exp(t), where the region layer has x = (column + sigmoid(t)) 16, w = 16 anchor exp(t).
    """
    scale = SMALL_SCALE if level == 0 else 1.0
    cells = STRIDES[level] / 16
    boxes, centers, offsets = _centers(yolox, level)
    classes = slice(FIRST[f"cls{level}"], FIRST[f"cls{level}"] + BRANCH)
    box, objectness, names = (yolox.last(part, level) for part in ("reg", "obj", "cls"))
    weights[:2, boxes] = STEEPNESS * centers
    biases[:2] = STEEPNESS * (offsets - 0.5)
    weights[2:4, boxes] = box.weights[2:, :, 0, 0] / scale
    biases[2:4] = box.biases[2:] + np.log(cells / np.array(ANCHORS[level]))
    weights[4, boxes] = objectness.weights[0, :, 0, 0] / scale
    biases[4] = objectness.biases[0]
    outside = FIRST["outside"] + SIDES * level
    weights[4, outside : outside + SIDES] = -OUTSIDE[level]
    for number, node in enumerate(nodes):
        weights[5 + node, classes] = names.weights[number, :, 0, 0] / scale
        biases[5 + node] = names.biases[number]


def _take_classes(classifier: LoadedModel, tree: WordTree, weights: np.ndarray, biases: np.ndarray) -> None:
    """Write the class rows of ImageNet's classes for all anchors."""
    assert classifier.tree is not None
    _, rows = reduced_rows(classifier.weights)
    params = next(one for one in reversed(classifier.weights.parameters) if one is not None)
    nodes = [5 + tree.ids.index(synset) for synset in classifier.tree.ids]
    weights[:, nodes, FIRST["classifier"] : FIRST["outside"]] = rows
    biases[:, nodes] = params.biases


def _begin_inner(tree: WordTree, known: list[int], weights: np.ndarray, biases: np.ndarray) -> None:
    """Begin the rows of nodes above others, but for those that are known: the mean of the rows below them."""
    below = np.stack([tree.below(node) for node in range(len(tree))])
    has = np.flatnonzero((below.sum(1) > 1) & ~np.isin(np.arange(len(tree)), known))
    leaves = below[has] & (below.sum(1) == 1)
    mean = leaves / leaves.sum(1, keepdims=True)
    weights[:, 5 + has] = mean @ weights[:, 5:]
    biases[:, 5 + has] = biases[:, 5:] @ mean.T


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("yolox", "classifier", "tree", "names", "out"):
        parser.add_argument(name, type=Path)
    options = parser.parse_args()
    try:
        coco = [name for name in options.names.read_text(encoding="utf-8").split("\n") if name]
        file = checkpoint(YoloxNano(options.yolox), read_checkpoint(options.classifier), read_tree(options.tree), coco)
        write_checkpoint(options.out, file)
    except (YoloError, OSError) as error:
        sys.exit(str(error))
    print(f"{options.out}: {len(file.weights.architecture.layers)} layers, {len(file.names):,} nodes")


if __name__ == "__main__":
    main()
