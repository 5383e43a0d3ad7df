"""How many images a second the training loop trains, beside the same network in plain PyTorch.

    python benchmarks/training.py [--network tiny-yolov2] [--batch 16] [--rounds 9] [--device cpu]

Forward, loss, backward and the optimizer's step; images are in memory. Each contender runs in a process of its own,
since how memory is kept is a matter of the process, and each takes its turn in every round: a noisy machine is noisy
for all.

    plain          float32, NCHW, as most tools train on a CPU
    channels last  float32, channels last
    ours           what the training loop does: bfloat16, channels last, memory kept
    compiled       the same through torch.compile (the recipe's compile=true); needs a C++ compiler
"""

from __future__ import annotations

import argparse
import multiprocessing
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from multiprocessing.connection import Connection

import numpy as np
import torch

from yolo9000.architectures.layers import Region
from yolo9000.architectures.surgery import initial_model, with_classes
from yolo9000.architectures.torch import Network
from yolo9000.architectures.zoo import BUILT_IN
from yolo9000.data.batching import Batch
from yolo9000.io.cores import available_cores
from yolo9000.losses.region import region_loss
from yolo9000.losses.settings import LossSettings
from yolo9000.training.loader import keep_memory
from yolo9000.training.optimizer import make_optimizer
from yolo9000.training.recipe import OptimizerSettings
from yolo9000.training.tasks.detection import targets_of
from yolo9000.types import NO_SOFT_LABEL, BoxAnnotations

BOXES = 5  # of an image
CONTENDERS = ("plain", "channels last", "ours", "compiled")


@dataclass(frozen=True)
class Setting:
    network: str
    batch: int
    size: int
    device: str
    threads: int


def random_batch(setting: Setting, classes: int) -> Batch:
    rng = np.random.default_rng(0)
    size, count = setting.size, setting.batch
    corners = rng.uniform(0, 0.6 * size, (count, BOXES, 2)).astype(np.float32)
    sides = rng.uniform(0.05 * size, 0.4 * size, (count, BOXES, 2)).astype(np.float32)
    boxes = [
        BoxAnnotations.plain(np.concatenate([corner, corner + side], axis=1), rng.integers(0, classes, BOXES))
        for corner, side in zip(corners, sides, strict=True)
    ]
    images = rng.integers(0, 256, (count, size, size, 3), dtype=np.uint8)
    nothing = tuple(() for _ in boxes)
    indices = tuple(range(count))
    names = tuple(map(str, indices))
    soft = (NO_SOFT_LABEL,) * count
    return Batch(images, tuple(boxes), nothing, names, indices, exhaustive=(None,) * count, soft=soft)


def trainer(contender: str, setting: Setting) -> Callable[[], None]:
    """One step of training, to be called again and again."""
    device = torch.device(setting.device)
    torch.set_num_threads(setting.threads)
    architecture = with_classes(BUILT_IN[setting.network](), 20)
    head = architecture.head
    assert isinstance(head, Region)
    layout = torch.contiguous_format if contender == "plain" else torch.channels_last
    network = Network(architecture)
    network.load(initial_model(architecture, seed=0))
    network = network.to(device, memory_format=layout).train()
    optimizer = make_optimizer(list(network.layers), OptimizerSettings(lr=1e-5))
    ours = contender in ("ours", "compiled")
    if ours:
        keep_memory()
    if contender == "compiled":
        network.compile()
    batch = random_batch(setting, head.classes)

    def step() -> None:
        optimizer.zero_grad()
        images = torch.from_numpy(batch.images).to(device).permute(0, 3, 1, 2).float().div_(255)
        with torch.autocast(device.type, torch.bfloat16, enabled=ours):
            (raw,) = network(images.contiguous(memory_format=layout))
        (region_loss(raw, targets_of(batch, device), head, LossSettings()).total() / setting.batch).backward()
        optimizer.step()
        if device.type == "cuda":
            torch.cuda.synchronize()

    return step


def serve(contender: str, setting: Setting, steps: Connection) -> None:
    """Run a step whenever asked; answer with its seconds."""
    step = trainer(contender, setting)
    step()
    while steps.recv():
        began = time.perf_counter()
        step()
        steps.send(time.perf_counter() - began)


def measure(setting: Setting, rounds: int) -> dict[str, list[float]]:
    context = multiprocessing.get_context("spawn")
    connections = {}
    for contender in CONTENDERS:
        here, there = context.Pipe()
        context.Process(target=serve, args=(contender, setting, there), daemon=True).start()
        connections[contender] = here
    seconds: dict[str, list[float]] = {contender: [] for contender in CONTENDERS}
    for _ in range(rounds + 1):
        for contender, connection in connections.items():
            connection.send(True)
            seconds[contender].append(connection.recv())
    for connection in connections.values():
        connection.send(False)
    return {contender: values[1:] for contender, values in seconds.items()}  # the first round warms up


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", default="tiny-yolov2", choices=list(BUILT_IN))
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--size", type=int, default=416)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=available_cores())
    options = parser.parse_args()
    setting = Setting(options.network, options.batch, options.size, options.device, options.threads)
    seconds = measure(setting, options.rounds)
    print(
        f"{options.network} at {options.size}, batch {options.batch}, {options.device}, {options.threads} threads; "
        f"{platform.processor() or platform.machine()}, torch {torch.__version__}, {date.today()}"
    )
    plain = statistics.median(seconds["plain"])
    print(f"| {options.network} | images/s (median) | best | times plain PyTorch |\n|---|---|---|---|")
    for contender, values in seconds.items():
        median = statistics.median(values)
        row = f"{setting.batch / median:.1f} | {setting.batch / min(values):.1f} | {plain / median:.1f}"
        print(f"| {contender} | {row} |")


if __name__ == "__main__":
    main()
