"""How time and memory grow with classes, boxes, image size, batch and threads.

    python benchmarks/growth.py [--out docs/images] [--quick]

Trees are synthetic, five children to a node; networks have random weights; one value is the median of some repetitions
after one that warms up. Prints tables, and draws a panel for each in ``growth.png``.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from yolo9000 import Detector
from yolo9000.architectures.head import Head
from yolo9000.bench.machine import cpu_name
from yolo9000.evaluation.figures import Figure
from yolo9000.inference.decode import decode
from yolo9000.inference.head_output import Candidates, HeadOutput, LazyClassLogits
from yolo9000.inference.settings import DetectionSettings
from yolo9000.inference.suppress import LabelledBoxes, remaining
from yolo9000.io.cores import available_cores
from yolo9000.taxonomy.wordtree import WordTree

CHILDREN, ANCHORS, CHANNELS, GRID_HW = 5, 3, 1024, (17, 17)
SETTINGS = DetectionSettings(conf_threshold=0.001, hier_thresh=0.0)  # down to the leaves: the most there is to do
Growth = list[tuple[float, float]]


def seconds(run: Callable[[], object], repetitions: int = 9) -> float:
    values = []
    for _ in range(repetitions + 1):
        began = time.perf_counter()
        run()
        values.append(time.perf_counter() - began)
    return statistics.median(values[1:])


def tree_of(classes: int) -> WordTree:
    return WordTree.from_parents([-1 if node < CHILDREN else node // CHILDREN - 1 for node in range(classes)])


def post_processing(classes: int, boxes: int) -> float:
    """Milliseconds from the network's output to detections."""
    rng = np.random.default_rng(0)
    height, width = GRID_HW
    t = rng.normal(size=(1, ANCHORS, 5, height, width)).astype(np.float32)
    objectness = np.full(ANCHORS * height * width, -12, np.float32)
    objectness[rng.permutation(len(objectness))[:boxes]] = rng.normal(1, 0.5, boxes)
    t[0, :, 4] = objectness.reshape(ANCHORS, height, width)
    features = np.maximum(rng.normal(size=(1, CHANNELS, height, width)), 0).astype(np.float32)
    weights = 0.1 * rng.standard_normal((ANCHORS, classes, CHANNELS), np.float32)
    logits = LazyClassLogits(features, weights, np.zeros((ANCHORS, classes), np.float32))
    tree = tree_of(classes)
    head = Head(np.full((ANCHORS, 2), 2, np.float32), tree.names, "tree", tree)
    output = HeadOutput(t, logits, (32 * width, 32 * height))
    return 1e3 * seconds(lambda: decode(output, 0, head, (640, 480), SETTINGS))


def suppression(boxes: int, labels: int) -> float:
    """Milliseconds of suppression within each label, or across all where there is one."""
    rng = np.random.default_rng(0)
    centers, sizes = rng.uniform(0, 1, (boxes, 2)), rng.uniform(0.02, 0.2, (boxes, 2))
    cxcywh = np.concatenate([centers, sizes], axis=1).astype(np.float32)
    scores = rng.random(boxes).astype(np.float32)
    candidates = Candidates(np.arange(boxes), scores, cxcywh)
    labelled = LabelledBoxes(np.arange(boxes), rng.integers(0, labels, boxes), scores)
    return 1e3 * seconds(lambda: remaining(candidates, labelled, DetectionSettings()))


def detection(size: int = 384, batch: int = 1, threads: int | None = None) -> float:
    """Milliseconds an image with the bundled model."""
    detector = Detector.load(size_wh=(size, size), threads=threads)
    images = [np.random.default_rng(i).integers(0, 256, (480, 640, 3), dtype=np.uint8) for i in range(batch)]
    return 1e3 * seconds(lambda: detector.detect(images)) / batch


def training(classes: int) -> tuple[float, float]:
    """Seconds of a step of 8 images at 416, and the process's peak memory in MB; run in a process of its own."""
    import torch

    from yolo9000.architectures.surgery import initial_model, with_classes
    from yolo9000.architectures.torch import Network, SplitNetwork
    from yolo9000.architectures.zoo import BUILT_IN
    from yolo9000.inference.engines.torch import has_bfloat16
    from yolo9000.losses.classification import SiblingGroups
    from yolo9000.losses.region import region_loss
    from yolo9000.losses.settings import LossSettings
    from yolo9000.training.loader import keep_memory
    from yolo9000.training.tasks.detection import targets_of
    from yolo9000.types import BoxAnnotations

    keep_memory()
    torch.set_num_threads(available_cores())
    architecture = with_classes(BUILT_IN["tiny-yolov2"](), classes)
    network = Network(architecture)
    network.load(initial_model(architecture, seed=0, objectness=0.05))
    network = network.to(memory_format=torch.channels_last).train()
    split, groups = SplitNetwork(network), SiblingGroups.of(tree_of(classes), torch.device("cpu"))
    batch = random_batch(classes)
    targets = targets_of(batch, torch.device("cpu"))
    images = torch.from_numpy(batch.images).permute(0, 3, 1, 2).float().div_(255)
    assert isinstance(batch.boxes[0], BoxAnnotations)

    def step() -> None:
        network.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=has_bfloat16(torch.device("cpu"))):
            raw = split(images.contiguous(memory_format=torch.channels_last))
        region_loss(raw, targets, architecture.head, LossSettings(), tree=groups).total().backward()

    taken = seconds(step, 5)
    return taken, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def random_batch(classes: int, count: int = 8, size: int = 416, boxes: int = 5):
    from yolo9000.data.batching import Batch
    from yolo9000.types import NO_SOFT_LABEL, BoxAnnotations

    rng = np.random.default_rng(0)
    corners = rng.uniform(0, 0.6 * size, (count, boxes, 2)).astype(np.float32)
    sides = rng.uniform(0.05 * size, 0.4 * size, (count, boxes, 2)).astype(np.float32)
    annotated = tuple(
        BoxAnnotations.plain(np.concatenate([corner, corner + side], axis=1), rng.integers(0, classes, boxes))
        for corner, side in zip(corners, sides, strict=True)
    )
    images = rng.integers(0, 256, (count, size, size, 3), dtype=np.uint8)
    indices = tuple(range(count))
    nothing = tuple(() for _ in indices)
    names = tuple(map(str, indices))
    return Batch(images, annotated, nothing, names, indices, exhaustive=(None,) * count, soft=(NO_SOFT_LABEL,) * count)


def in_own_process(classes: int) -> tuple[float, float]:
    command = [sys.executable, __file__, "--training", str(classes)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603
    step, memory = map(float, done.stdout.split())
    return step, memory


def growths(quick: bool) -> dict[str, dict[str, Growth]]:
    """Panels by title: lines by name, of (x, y)."""
    classes = [80, 1_000, 9_418] if quick else [80, 300, 1_000, 3_000, 9_418, 30_000, 100_000]
    boxes = [10, 100] if quick else [1, 10, 30, 100, 300, 800]
    trained = [80, 9_418] if quick else [80, 1_000, 9_418, 30_000]
    steps = {count: in_own_process(count) for count in trained}
    cores = range(1, available_cores() + 1)
    return {
        "post-processing, ms, by classes": {
            f"{count} boxes": [(k, post_processing(k, count)) for k in classes] for count in (30, 100)
        },
        "post-processing, ms, by boxes": {"9,418 classes": [(n, post_processing(9_418, n)) for n in boxes]},
        "suppression, ms, by boxes": {
            f"{labels} labels": [(n, suppression(n, labels)) for n in (100, 1_000, 3_000, 10_000)] for labels in (1, 80)
        },
        "class rows, MB, by classes": {"float32": [(k, ANCHORS * k * CHANNELS * 4 / 2**20) for k in classes]},
        "bundled model, ms an image, by size": {"batch 1": [(s, detection(size=s)) for s in (192, 288, 384, 480, 576)]},
        "bundled model, ms an image, by batch": {"384": [(b, detection(batch=b)) for b in (1, 2, 4, 8)]},
        "bundled model, ms an image, by threads": {"384": [(t, detection(threads=t)) for t in cores]},
        "training step, s, by classes": {"tiny-yolov2": [(k, steps[k][0]) for k in trained]},
        "training, peak MB, by classes": {"tiny-yolov2": [(k, steps[k][1]) for k in trained]},
    }


def draw(panels: dict[str, dict[str, Growth]], file: Path) -> None:
    figure = Figure(figsize=(12, 10), layout="constrained")
    for axes, (title, lines) in zip(figure.subplots(3, 3).ravel(), panels.items(), strict=True):
        for name, points in lines.items():
            axes.plot(*zip(*points, strict=True), marker="o", markersize=3, label=name)
        axes.set_title(title, fontsize=9)
        if max(x for points in lines.values() for x, _ in points) > 1_000:
            axes.set_xscale("log")
        axes.set_ylim(bottom=0)
        axes.legend(fontsize=7)
    figure.savefig(file, dpi=100)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("docs/images"))
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--training", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.training:
        print(*training(options.training))
        return
    print(cpu_name())
    panels = growths(options.quick)
    print("\n| cost | at each size: its value |\n|---|---|")
    for title, lines in panels.items():
        for name, points in lines.items():
            print(f"| {title}: {name} | {', '.join(f'{x:g}: {y:.3g}' for x, y in points)} |")
    options.out.mkdir(parents=True, exist_ok=True)
    draw(panels, options.out / "growth.png")


if __name__ == "__main__":
    main()
