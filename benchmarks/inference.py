"""How fast each engine runs each network, beside PyTorch as most tools call it.

    python benchmarks/inference.py [--rounds 15] [--networks tiny-yolov2-voc yolov2-voc yolo9000]

Random weights, one image at a time. Every engine takes its turn in every round: a noisy machine is noisy for all.
Prints a table with the median of each, and its ratio to plain PyTorch (float32, NCHW, batch norm not folded).
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from collections.abc import Callable
from datetime import date

import numpy as np
import torch

from yolo9000.architectures.layers import Architecture, Conv, Region
from yolo9000.architectures.torch import Network
from yolo9000.architectures.weights import BatchNorm, ConvParameters, Model
from yolo9000.architectures.zoo import BUILT_IN
from yolo9000.checkpoints.model import LoadedModel
from yolo9000.inference.decode import decode
from yolo9000.inference.detector import head_output
from yolo9000.inference.engines import available_cores, start_engine
from yolo9000.inference.settings import DetectionSettings
from yolo9000.taxonomy.wordtree import WordTree

CHILDREN = 5  # of each node of the stand-in tree: 9,418 nodes with 1,884 sibling groups, where 9k.tree has 1,846
SURE = -3.0  # bias of t_o: of random boxes about one in thirty passes


def random_model(architecture: Architecture) -> Model:
    rng = np.random.default_rng(0)
    channels = architecture.input_channels()
    parameters: list[ConvParameters | None] = []
    for index, row in enumerate(architecture.layers):
        parameters.append(random_conv(row, channels[index], architecture, rng) if isinstance(row, Conv) else None)
    return Model(architecture, tuple(parameters))


def random_conv(row: Conv, channels: int, architecture: Architecture, rng: np.random.Generator) -> ConvParameters:
    shape = (row.filters, channels, row.size, row.size)
    weights = rng.standard_normal(shape, np.float32) * np.float32(np.sqrt(2 / (row.size**2 * channels)))
    biases = np.zeros(row.filters, np.float32)
    if row.batch_normalize:
        ones, zeros = np.ones(row.filters, np.float32), np.zeros(row.filters, np.float32)
        return ConvParameters(weights, biases, BatchNorm(ones, zeros, ones))
    if isinstance(architecture.head, Region):
        biases.reshape(len(architecture.head.anchors_wh_cells), -1)[:, 4] = SURE
    return ConvParameters(weights, biases)


def loaded_model(weights: Model, head: Region) -> LoadedModel:
    names = tuple(map(str, range(head.classes)))
    if head.tree is None:
        return LoadedModel.from_weights(weights, names)
    parents = [-1 if node < CHILDREN else node // CHILDREN - 1 for node in range(head.classes)]
    return LoadedModel.from_weights(weights, names, WordTree.from_parents(parents))


def end_to_end(model: Model, lazy: bool, engine: str, precision: str, images: np.ndarray) -> Callable[[], object]:
    """From the fitted image to detections."""
    architecture, head = model.architecture, model.architecture.head
    assert isinstance(head, Region)
    wh = (architecture.width, architecture.height)
    loaded = loaded_model(model, head).with_lazy_classes(lazy)
    started = start_engine(engine, loaded, precision=precision)
    settings = DetectionSettings(conf_threshold=0.1, hier_thresh=0.0)
    return lambda: decode(head_output(loaded, started.run(images), wh), 0, loaded.detector_head, wh, settings)


def plain_torch(model: Model, images: np.ndarray) -> Callable[[], object]:
    network = Network(model.architecture).eval()
    network.load(model)
    batch = torch.from_numpy(images)

    @torch.inference_mode()
    def run() -> object:
        return network(batch)

    return run


def contenders(architecture: Architecture) -> dict[str, Callable[[], object]]:
    model = random_model(architecture)
    images = np.random.default_rng(1).random((1, 3, architecture.height, architecture.width), np.float32)
    wide = isinstance(architecture.head, Region) and architecture.head.tree is not None
    heads = {"lazy head": True, "dense head": False} if wide else {"": False}
    runs: dict[str, Callable[[], object]] = {"PyTorch plain, network only": plain_torch(model, images)}
    for engine, precisions in {
        "torch": ("float32", "bfloat16"),
        "onnxruntime": ("float32",),
        "openvino": ("float32", "bfloat16"),
    }.items():
        for precision in precisions:
            for label, lazy in heads.items():
                name = " ".join(word for word in (engine, precision, label) if word)
                runs[name] = end_to_end(model, lazy, engine, precision, images)
    return runs


def measure(runs: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(rounds + 2):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            if number >= 2:  # the first two rounds warm up
                times[name].append(1e3 * (time.perf_counter() - start))
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--networks", nargs="*", default=["tiny-yolov2-voc", "yolov2-voc", "yolo9000"])
    arguments = parser.parse_args()
    torch.set_num_threads(available_cores())
    print(f"{date.today()}, {platform.machine()}, {available_cores()} cores, {arguments.rounds} rounds, batch 1\n")
    for network in arguments.networks:
        architecture = BUILT_IN[network]()
        times = measure(contenders(architecture), arguments.rounds)
        base = times["PyTorch plain, network only"]
        print(f"| {network} at {architecture.width} x {architecture.height} | median ms | min ms | speed-up |")
        print("|---|---|---|---|")
        for name, values in times.items():
            ratio = statistics.median(b / v for b, v in zip(base, values, strict=True))
            print(f"| {name} | {statistics.median(values):.1f} | {min(values):.1f} | {ratio:.1f} |")
        print()


if __name__ == "__main__":
    main()
