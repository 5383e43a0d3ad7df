"""The same images labelled by one process, by shards and by Ray, of whose workers one is killed: the same rows?

    python benchmarks/scale.py [--images 100000] [--shards 8] [--workers 2]

Small JPEG files, one in a thousand of them damaged, are written to tar files in a temporary folder, and labelled with a
small network with random weights. Shards run as many at a time as there are workers. Halfway, the worker of Ray that
reaches an image is killed (SIGKILL) before it has said anything about its part. Prints how long each run took, start
included, and how many rows are missing, double or different from those of one process; exits with 1 if any are.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from yolo9000.architectures.layers import Architecture, Conv, MaxPool, Region
from yolo9000.architectures.surgery import initial_model
from yolo9000.bench.machine import cpu_name
from yolo9000.checkpoints.model import LoadedModel
from yolo9000.checkpoints.safetensors import write_checkpoint
from yolo9000.labeling.images import ListedImage, list_images
from yolo9000.labeling.job import LabelJob
from yolo9000.labeling.label import Labeler, LabelSettings
from yolo9000.labeling.on_ray import run_on_ray
from yolo9000.labeling.parts import Parts, Record, Shard
from yolo9000.labeling.rows import write_rows
from yolo9000.taxonomy.wordtree import WordTree

IN_A_TAR, DISTINCT, DAMAGED_EVERY = 1000, 997, 1000
TREE = WordTree.from_parents([-1, -1, 0, 0, 1, 1], ["animal", "thing", "dog", "cat", "cup", "bus"])
THRESHOLD = 0.35


def write_images(folder: Path, count: int) -> list[Path]:
    """Tar files of small smooth images; their contents repeat, their names do not."""
    folder.mkdir()
    contents = [encoded(seed) for seed in range(min(count, DISTINCT))]
    files = []
    for first in range(0, count, IN_A_TAR):
        files.append(folder / f"{first // IN_A_TAR:04d}.tar")
        with tarfile.open(files[-1], "w") as tar:
            for index in range(first, min(first + IN_A_TAR, count)):
                data = contents[index % len(contents)]
                add(tar, f"{index:07d}.jpg", data[:100] if index % DAMAGED_EVERY == DAMAGED_EVERY // 2 else data)
    return files


def encoded(seed: int) -> bytes:
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 6, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(coarse).resize((96, 64), Image.Resampling.BICUBIC).save(stream, format="JPEG")
    return stream.getvalue()


def add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))


def write_model(file: Path) -> None:
    region = Region(((1, 1), (2, 3)), len(TREE), softmax=False, tree="small.tree")
    body = (Conv(8), MaxPool(), Conv(16), MaxPool(), Conv(16), MaxPool(), Conv(24), MaxPool(), Conv(32), MaxPool())
    head = Conv(region.filters, 1, padding=0, batch_normalize=False, activation="linear")
    weights = initial_model(Architecture((*body, head, region), width=96, height=64), seed=0, objectness=0.4)
    write_checkpoint(file, LoadedModel.from_weights(weights, TREE.names, TREE))


def label(files: Iterable[Path], model: Path, out: Path, *more: str) -> None:
    options = ["--model", model, "--out", out, "--conf-threshold", str(THRESHOLD), "--hier-thresh", "0.3", *more]
    command = [sys.executable, "-m", "yolo9000", "label", *files, *options, "--to", "jsonl", "--threads", "1"]
    done = subprocess.run(command, capture_output=True, text=True)  # noqa: S603  this package, files of our own
    if done.returncode not in (0, 3):  # 3: some images are damaged
        sys.exit(f"exit code {done.returncode}: {done.stderr[-2000:]}")


def in_shards(files: list[Path], model: Path, out: Path, shards: int, workers: int) -> None:
    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(lambda index: label(files, model, out, "--shard", f"{index}/{shards}"), range(1, shards + 1)))
    label(files, model, out)


@dataclass(frozen=True)
class KilledOnce:
    """Makes labelers; the first one that reaches an image ends its process."""

    job: LabelJob
    image: str
    marker: Path

    def __call__(self) -> Labeler:
        labeler = self.job.labeler()
        record = labeler.record

        def record_or_end(image: ListedImage) -> Record:
            if image.name == self.image and not self.marker.exists():
                self.marker.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            return record(image)

        labeler.record = record_or_end  # type: ignore[method-assign]
        return labeler


def on_ray(files: list[Path], model: Path, out: Path, workers: int) -> None:
    settings = LabelSettings(THRESHOLD, hier_thresh=0.3)
    job = LabelJob([str(model)], settings, engine={"threads": 1})
    images = list_images(files)
    parts = Parts(out, images, job.fingerprint())
    marker = out / "killed"
    run_on_ray(KilledOnce(job, images[len(images) // 2].name, marker), parts, Shard(1, 1), workers=workers)
    if not marker.exists():
        sys.exit("no worker was killed")
    write_rows(parts, TREE, "jsonl", out)


@dataclass(frozen=True)
class Rows:
    """What a run wrote: how often each image, and a digest of its row."""

    counts: Counter[str]
    digests: dict[str, str]
    boxes: int
    errors: int

    @classmethod
    def read(cls, file: Path) -> Rows:
        counts: Counter[str] = Counter()
        digests, boxes, errors = {}, 0, 0
        with file.open(encoding="utf-8") as lines:
            for line in lines:
                row = json.loads(line)
                counts[row["image"]] += 1
                digests[row["image"]] = hashlib.sha256(line.encode()).hexdigest()
                boxes, errors = boxes + len(row["boxes"]), errors + ("error" in row)
        return cls(counts, digests, boxes, errors)

    def compared(self, expected: Rows) -> tuple[int, int, int]:
        """Number of images that are missing, double, different."""
        missing = len(expected.counts.keys() - self.counts.keys())
        double = sum(count > 1 for count in self.counts.values())
        different = sum(expected.digests.get(name) != digest for name, digest in self.digests.items())
        return missing, double, different


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--shards", type=int, default=8)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        files, model = write_images(folder / "images", options.images), folder / "model.safetensors"
        write_model(model)
        runs: dict[str, Callable[[Path], None]] = {
            "1 process": lambda out: label(files, model, out),
            f"{options.shards} shards": lambda out: in_shards(files, model, out, options.shards, options.workers),
            f"Ray, {options.workers} workers, 1 killed": lambda out: on_ray(files, model, out, options.workers),
        }
        print(f"{cpu_name()}; {options.images:,} images of 96 x 64\n")
        print("| run | seconds | images a second | rows | boxes | errors | missing | double | different |")
        print("|---|---|---|---|---|---|---|---|---|", flush=True)
        sys.exit(1 if any(list(wrong_rows(runs, folder, options.images))) else 0)


def wrong_rows(runs: dict[str, Callable[[Path], None]], folder: Path, images: int) -> Iterator[int]:
    """Print a line about each run; number of its rows that are not those of the first."""
    expected = None
    for index, (name, run) in enumerate(runs.items()):
        began = time.perf_counter()
        run(folder / str(index))
        taken = time.perf_counter() - began
        rows = Rows.read(folder / str(index) / "labels.jsonl")
        expected = expected or rows
        missing, double, different = rows.compared(expected)
        totals = f"{len(rows.digests):,} | {rows.boxes:,} | {rows.errors} | {missing} | {double} | {different}"
        print(f"| {name} | {taken:.0f} | {images / taken:.0f} | {totals} |", flush=True)
        yield missing + double + different + images - len(rows.digests)


if __name__ == "__main__":
    main()
