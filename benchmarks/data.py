"""How long a large data set takes to open, to list for training and to check, and how much memory: COCO JSON.

    python benchmarks/data.py [--images 120000] [--boxes 900000] [--step open|list|check]

Makes the JSON and small images (hard links to 64 files, 64 x 48 pixels) in a temporary folder. Each step runs in a
process of its own. Prints wall and CPU seconds, which other programs disturb less, and the largest memory of that
process and of those that it starts to decode images: the sum of their proportional set sizes, in which memory that
several share counts once. Linux only.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from datetime import date
from pathlib import Path

import numpy as np
from PIL import Image

from yolo9000.data.check import check_splits
from yolo9000.data.dataset import open_data, open_splits

CLASSES = 80
SIZE_WH = (64, 48)
LINKED = 64


def make(folder: Path, images: int, boxes: int) -> Path:
    """A COCO data set as downloaded: annotations/instances_train2017.json and train2017/."""
    rng = np.random.default_rng(0)
    linked = folder / "train2017"
    (folder / "annotations").mkdir(parents=True)
    linked.mkdir()
    for i in range(min(LINKED, images)):
        pixels = rng.integers(0, 255, (SIZE_WH[1], SIZE_WH[0], 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{i}.jpg", quality=80)
    for i in range(images):
        os.link(folder / f"{i % LINKED}.jpg", linked / f"{i:012}.jpg")
    left_top = rng.uniform(0, 40, (boxes, 2)).round(2)
    sizes = rng.uniform(2, 8, (boxes, 2)).round(2)
    of_image = np.sort(rng.integers(0, images, boxes))
    labels = rng.integers(1, CLASSES + 1, boxes)
    with (folder / "annotations" / "instances_train2017.json").open("w") as out:
        records = (
            {"id": i + 1, "file_name": f"{i:012}.jpg", "width": SIZE_WH[0], "height": SIZE_WH[1]} for i in range(images)
        )
        out.write('{"info": {}, "licenses": [], "images": [' + ",\n".join(map(json.dumps, records)))
        out.write('],\n"annotations": [')
        for i in range(boxes):
            (x, y), (w, h) = left_top[i].tolist(), sizes[i].tolist()
            record = {"id": i, "image_id": int(of_image[i]) + 1, "category_id": int(labels[i]), "bbox": [x, y, w, h]}
            record |= {"area": round(w * h, 2), "iscrowd": 0, "segmentation": [[x, y, x + w, y, x + w, y + h]]}
            out.write((",\n" if i else "\n") + json.dumps(record))
        categories = [{"id": i, "name": f"class {i}", "supercategory": ""} for i in range(1, CLASSES + 1)]
        out.write(f'],\n"categories": {json.dumps(categories)}}}')
    return folder


def run_step(step: str, folder: Path) -> str:
    """Run one step; what it gave."""
    if step == "open":
        return f"{len(open_data(folder).classes)} classes"
    if step == "list":
        samples = list(open_data(folder).samples())
        return f"{len(samples):,} images, {sum(len(sample.boxes or ()) for sample in samples):,} boxes"
    result = check_splits(open_splits(folder))
    return f"{result.splits['train'].images:,} images, {len(result.issues())} issues"


def measured(command: list[str]) -> tuple[str, str]:
    """What a command prints, and the largest memory of it and of the processes that it starts, in MiB."""
    largest = 0
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603  this file
        while process.poll() is None:
            largest = max(largest, sum(map(proportional_kib, [process.pid, *children(process.pid)])))
            time.sleep(2)
        assert process.stdout is not None
        printed = process.stdout.read().strip()
    if process.returncode:
        sys.exit(process.returncode)
    return printed, f"{largest / 1024:.0f}"


def children(process: int) -> list[int]:
    """The processes that a process has started; none if it has just ended."""
    with suppress(OSError):
        return [
            int(child) for of in Path(f"/proc/{process}/task").glob("*/children") for child in of.read_text().split()
        ]
    return []


def proportional_kib(process: int) -> int:
    """The proportional set size of a process; 0 if it has just ended."""
    with suppress(OSError):
        for line in Path(f"/proc/{process}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1])
    return 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=120_000)
    parser.add_argument("--boxes", type=int, default=900_000)
    parser.add_argument("--step", choices=("open", "list", "check"))
    parser.add_argument("--folder", type=Path)
    arguments = parser.parse_args()
    if arguments.step and arguments.folder:
        wall, cpu = time.perf_counter(), time.process_time()
        outcome = run_step(arguments.step, arguments.folder)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        others = resource.getrusage(resource.RUSAGE_CHILDREN)
        print(f"{wall:.1f} | {cpu + others.ru_utime + others.ru_stime:.1f} | {outcome}")
        return
    print(f"{date.today()}, {platform.machine()}, {os.cpu_count()} CPUs, Python {platform.python_version()}")
    with tempfile.TemporaryDirectory() as temporary:
        folder = make(Path(temporary) / "set", arguments.images, arguments.boxes)
        size = (folder / "annotations" / "instances_train2017.json").stat().st_size
        what = f"{arguments.images:,} images, {arguments.boxes:,} boxes, {size / 1e6:.0f} MB JSON"
        print(f"\n| {what} | s | CPU s | | MiB |\n|---|---|---|---|---|", flush=True)
        for step in (arguments.step,) if arguments.step else ("open", "list", "check"):
            command = [sys.executable, __file__, "--step", step, "--folder", str(folder)]
            print(f"| {step} | {' | '.join(measured(command))} |", flush=True)


if __name__ == "__main__":
    main()
