"""How much a folder of photographs costs beyond the network: decoding, fitting, post-processing and writing overlap.

    python benchmarks/folder.py [--model yolo9000-small] [--images 200] [--rounds 3]

JPEG files of 640 x 480 are written to a temporary folder. Each takes its turn in every round; one value is the
median over the rounds.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from yolo9000 import Detector
from yolo9000.bench.machine import cpu_name
from yolo9000.checkpoints.bundled import BUNDLED
from yolo9000.inference.pipeline import in_parallel
from yolo9000.io.cores import available_cores


def write_photographs(folder: Path, count: int) -> None:
    """Smooth random images: noise would make JPEG files three times as large as photographs are."""
    rng = np.random.default_rng(0)
    for index in range(count):
        coarse = Image.fromarray(rng.integers(0, 256, (30, 40, 3), dtype=np.uint8))
        coarse.resize((640, 480), Image.Resampling.BICUBIC).save(folder / f"{index}.jpg", quality=90)


def runs_of(detector: Detector, folder: Path, count: int) -> dict[str, Callable[[], object]]:
    width, height = detector.network_wh
    fitted = np.random.default_rng(1).random((1, 3, height, width), np.float32)
    cores = available_cores()
    engine, parallel = detector.engine, detector.engine.parallel(cores)
    return {
        "network, one image at a time": lambda: [engine.run(fitted) for _ in range(count)],
        f"network, {cores} at a time": lambda: list(in_parallel(iter([fitted] * count), parallel.run, cores)),
        "folder, one image at a time": lambda: list(detector.predict(folder, workers=1)),
        f"folder, {cores} at a time": lambda: list(detector.predict(folder, workers=cores)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=BUNDLED)
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        write_photographs(Path(folder), options.images)
        detector = Detector.load(options.model)
        runs = runs_of(detector, Path(folder), options.images)
        taken: dict[str, list[float]] = {name: [] for name in runs}
        for _ in range(options.rounds):
            for name, run in runs.items():
                began = time.perf_counter()
                run()
                taken[name].append(1e3 * (time.perf_counter() - began) / options.images)
    print(
        f"{cpu_name()}; {detector!r}, {detector.engine.precision}; {options.images} images, {options.rounds} rounds\n"
    )
    print("| 640 x 480 JPEG | ms an image | to the network alone, one at a time |\n|---|---|---|")
    base = statistics.median(taken["network, one image at a time"])
    for name, values in taken.items():
        print(f"| {name} | {statistics.median(values):.1f} | {statistics.median(values) / base:.2f} |")


if __name__ == "__main__":
    main()
