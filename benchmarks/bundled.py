"""How soon the bundled model is ready, and how many images a second it looks at.

    python benchmarks/bundled.py [--images 200] [--starts 5]

Every start is a process of its own. Loading is timed from after the imports to a detector that has warmed up; images
are noise of 640 x 480 in memory, one at a time, from pixels to detections.
"""

from __future__ import annotations

import argparse
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from statistics import median

import numpy as np

from yolo9000 import Detector
from yolo9000.checkpoints.bundled import BUNDLED, bundled_file
from yolo9000.inference.engines import choose_engine


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--starts", type=int, default=5)
    options = parser.parse_args()
    print(f"{BUNDLED}: {bundled_file().stat().st_size / 1e6:.1f} MB\n")
    print("| engine | ready after s, median | ms an image, median | images/s |\n|---|---|---|---|")
    for engine in ("openvino", "onnxruntime"):
        pool = ProcessPoolExecutor(1, mp_context=get_context("spawn"), max_tasks_per_child=1)
        with pool:
            runs = list(pool.map(start, [engine] * options.starts, [options.images] * options.starts))
        load, image = (median(values) for values in zip(*runs, strict=True))
        print(f"| {engine} | {load:.2f} | {1e3 * image:.1f} | {1 / image:.0f} |")


def start(engine: str, count: int) -> tuple[float, float]:
    """Seconds until the detector is ready, and the median of what an image takes."""
    choose_engine(engine)  # imports it, and says so where it is not installed
    started = time.perf_counter()
    detector = Detector.load(engine=engine)
    load = time.perf_counter() - started
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (480, 640, 3), dtype=np.uint8) for _ in range(16)]
    seconds = []
    for number in range(count):
        started = time.perf_counter()
        detector.detect([images[number % 16]])
        seconds.append(time.perf_counter() - started)
    return load, median(seconds)


if __name__ == "__main__":
    main()
