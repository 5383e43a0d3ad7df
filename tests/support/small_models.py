"""Small networks with random numbers, as values and as Darknet's files."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from yolo9000.architectures.layers import Architecture, Conv, MaxPool, Region, Reorg, Route
from yolo9000.architectures.weights import BatchNorm, ConvParameters, Model
from yolo9000.checkpoints.darknet.cfg import write_cfg
from yolo9000.checkpoints.darknet.weights import write_weights
from yolo9000.checkpoints.model import LoadedModel
from yolo9000.taxonomy.files import write_tree
from yolo9000.taxonomy.wordtree import WordTree

ANCHORS = ((0.8, 1.1), (2.5, 1.7), (3.1, 3.9))
FLAT_NAMES = ("cup", "dog", "cat", "kite", "bus")
# animal(0) thing(1); dog(2) cat(3) under animal; terrier(4) poodle(5) under dog; bus(6) under thing
TREE = WordTree.from_parents(
    [-1, -1, 0, 0, 2, 2, 1],
    names=["animal", "thing", "dog", "cat", "terrier", "poodle", "bus"],
    ids=["n0", "n1", "n2", "n3", "n4", "n5", "n6"],
)


def small_architecture(classes: int, *, tree: str | None = None, passthrough: bool = True) -> Architecture:
    """A detector of stride 8 at 72 x 48, with a passthrough."""
    region = Region(ANCHORS, classes, softmax=tree is None, tree=tree)
    head = Conv(region.filters, 1, padding=0, batch_normalize=False, activation="linear")
    body = [Conv(8), MaxPool(), Conv(12), MaxPool(), Conv(16), MaxPool(), Conv(20)]
    if passthrough:
        body += [Route((4,)), Conv(4, 1, padding=0), Reorg(2), Route((-1, -4))]
    return Architecture((*body, Conv(24), head, region), width=72, height=48)


def random_model(architecture: Architecture, seed: int = 0) -> Model:
    """The table with random numbers whose outputs stay near 1 in every layer, batch norm included."""
    rng = np.random.default_rng(seed)
    channels = architecture.input_channels()
    parameters = [
        random_conv(row, channels[i], rng) if isinstance(row, Conv) else None
        for i, row in enumerate(architecture.layers)
    ]
    return Model(architecture, tuple(parameters))


def loaded(weights: Model) -> LoadedModel:
    """A model whose classes are named by their indices."""
    architecture = weights.architecture
    classes = architecture.head.classes if isinstance(architecture.head, Region) else architecture.shapes()[-1][0]
    return LoadedModel.from_weights(weights, tuple(map(str, range(classes))))


def random_conv(row: Conv, channels: int, rng: np.random.Generator) -> ConvParameters:
    def normal(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape).astype(np.float32)

    shape = row.kernel_shape(channels)
    weights = normal(*shape) * np.float32(np.sqrt(2 / np.prod(shape[1:])))
    batch_norm = None
    if row.batch_normalize:
        scales, variances = (rng.uniform(0.5, 1.5, row.filters).astype(np.float32) for _ in range(2))
        batch_norm = BatchNorm(scales, 0.1 * normal(row.filters), variances)
    return ConvParameters(weights, 0.1 * normal(row.filters), batch_norm)


def write_flat(folder: Path, seed: int = 0, *, name: str = "flat", names: tuple[str, ...] = FLAT_NAMES) -> Path:
    """A flat detector's ``.cfg``, ``.weights`` and ``.names``; the path of the cfg."""
    return _write(folder / f"{name}.cfg", random_model(small_architecture(len(names)), seed), names)


def write_tree_model(folder: Path, seed: int = 0, *, name: str = "tree", tree: str = "small.tree") -> Path:
    """A tree detector's ``.cfg``, ``.weights``, ``.names`` and ``.tree``; the path of the cfg."""
    write_tree(folder / tree, TREE)
    return _write(folder / f"{name}.cfg", random_model(small_architecture(len(TREE), tree=tree), seed), TREE.names)


def _write(cfg: Path, model: Model, names: tuple[str, ...]) -> Path:
    cfg.write_text(write_cfg(model.architecture))
    write_weights(cfg.with_suffix(".weights"), model)
    cfg.with_suffix(".names").write_text("".join(f"{name}\n" for name in names))
    return cfg
