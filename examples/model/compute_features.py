"""Run the frozen layers of a detector over images once, and keep what the trained layers read.

    python compute_features.py CHECKPOINT IMAGES BOXES.jsonl CACHE NAME [--draws 2] [--seed 0] [--plain]

IMAGES is the folder that the files of the table lie in. Each draw mirrors, scales, moves and colors an image at random;
``--plain`` fits it as detection does (letterbox). Goes on where it was stopped, 256 images at a time.
"""

from __future__ import annotations

import argparse
import json
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from feature_cache import taps
from make_start import SIZE

from yolo9000.checkpoints.model import LoadedModel
from yolo9000.checkpoints.safetensors import read_checkpoint
from yolo9000.training.features import frozen_engine

SHARD = 256
GREY = 127  # what letterboxing fills up with
SCALES = (0.45, 1.8)  # of the longer side against the input
ASPECT, HUE, SATURATION, EXPOSURE = 0.15, 8.0, 0.4, 0.4


def frozen_layers(model: LoadedModel) -> Callable[[np.ndarray], list[np.ndarray]]:
    """The frozen layers as a function of an image of the input's size, BGR: the taps' outputs, each (C, h, w)."""
    assert model.weights is not None
    engine = frozen_engine("openvino", model.weights, taps(model), "float32", threads=1)

    def outputs(image: np.ndarray) -> list[np.ndarray]:
        x = np.ascontiguousarray(image[:, :, ::-1].transpose(2, 0, 1)[None], np.float32) / 255
        return [one[0] for one in engine.run(x)]

    return outputs


def jitter(image: np.ndarray, rng: np.random.Generator | None) -> tuple[np.ndarray, dict[str, Any]]:
    """The image at the input's size, and how it lies there; ``rng`` None fits it as detection does."""
    flip = rng is not None and bool(rng.random() < 0.5)
    image = image[:, ::-1] if flip else image
    height, width = image.shape[:2]
    scale = np.full(2, SIZE / max(height, width))
    if rng is not None:
        stretch = np.exp(rng.uniform(-ASPECT, ASPECT))
        scale *= np.exp(rng.uniform(*np.log(SCALES))) * np.array([stretch, 1 / stretch])
    room = SIZE - np.array([width, height]) * scale
    offset = room / 2 if rng is None else rng.uniform(np.minimum(0, room), np.maximum(0, room))
    placed = {"scale": scale.tolist(), "offset": offset.tolist(), "flip": flip, "wh": [width, height]}
    return _warp(np.ascontiguousarray(image), scale, offset), placed


def _warp(image: np.ndarray, scale: np.ndarray, offset: np.ndarray) -> np.ndarray:
    if (shrink := int(1 / scale.max())) > 1:  # average first: the warp below reads four pixels only
        height, width = image.shape[:2]
        image = cv2.resize(image, (width // shrink, height // shrink), interpolation=cv2.INTER_AREA)
        scale = scale * np.array([width, height]) / image.shape[1::-1]
    offset = offset + (scale - 1) / 2  # OpenCV counts from the centres of pixels
    matrix = np.array([[scale[0], 0, offset[0]], [0, scale[1], offset[1]]], np.float32)
    return cv2.warpAffine(image, matrix, (SIZE, SIZE), borderMode=cv2.BORDER_CONSTANT, borderValue=(GREY,) * 3)


def color(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The image with another hue, saturation and exposure; what is grey around it stays so."""
    hsv = cv2.cvtColor(image, cv2.COLOR_BGR2HSV).astype(np.float32)
    hsv[..., 0] = (hsv[..., 0] + rng.uniform(-HUE, HUE)) % 180
    hsv[..., 1] *= np.exp(rng.uniform(-SATURATION, SATURATION))
    hsv[..., 2] *= np.exp(rng.uniform(-EXPOSURE, EXPOSURE))
    colored = cv2.cvtColor(hsv.clip(0, 255).astype(np.uint8), cv2.COLOR_HSV2BGR)
    return np.where((image == GREY).all(2, keepdims=True), image, colored)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("checkpoint", "images", "boxes", "cache"):
        parser.add_argument(name, type=Path)
    parser.add_argument("name")
    parser.add_argument("--draws", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--plain", action="store_true")
    options = parser.parse_args()
    frozen = frozen_layers(read_checkpoint(options.checkpoint))
    files = [json.loads(line)["file"] for line in options.boxes.read_text().splitlines()]
    jobs = [(file, draw) for draw in range(options.draws) for file in files]
    options.cache.mkdir(parents=True, exist_ok=True)
    for start in range(0, len(jobs), SHARD):
        listing = options.cache / f"{options.name}-{start // SHARD:03d}.json"
        if not listing.exists():
            _write_shard(listing, frozen, options, jobs[start : start + SHARD])
            print(listing.name, f"{min(start + SHARD, len(jobs)):,} of {len(jobs):,}", flush=True)


def _write_shard(
    listing: Path,
    frozen: Callable[[np.ndarray], list[np.ndarray]],
    options: argparse.Namespace,
    jobs: list[tuple[str, int]],
) -> None:
    maps, entries = [], []
    for file, draw in jobs:
        rng = None if options.plain else np.random.default_rng([options.seed, draw, zlib.crc32(file.encode())])
        image, placed = jitter(cv2.imread(str(options.images / file)), rng)
        maps.append([one.astype(np.float16) for one in frozen(image if rng is None else color(image, rng))])
        entries.append({"file": file, **placed})
    for tap, arrays in enumerate(zip(*maps, strict=True)):
        np.save(listing.with_suffix(f".{tap}.npy"), np.stack(arrays))
    new = listing.with_suffix(".new")  # the listing is written last, and stands for a whole shard
    new.write_text(json.dumps(entries))
    new.rename(listing)


if __name__ == "__main__":
    main()
