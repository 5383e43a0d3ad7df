"""How many training images one core makes a second: from a JPEG's bytes to a batch, and where the time goes.

    python benchmarks/augment.py [--rounds 15] [--batch 16] [--size 416]

JPEGs of 640 x 480 pixels and about 100 kB are made from smooth noise and shapes. Every contender makes one batch in
every round: a noisy machine is noisy for all. Prints tables of medians, and what the decoders do with files that are
damaged. One thread; the images per second are those of the CPU's time, which other programs disturb less.

glibc gives freed memory back to the kernel and fetches it again for the next image, page by page. What it costs shows
in a second run with MALLOC_TRIM_THRESHOLD_=1073741824 MALLOC_MMAP_THRESHOLD_=33554432 in the environment.
"""

from __future__ import annotations

import argparse
import io
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import date
from functools import partial
from itertools import count

import cv2
import numpy as np
from PIL import Image

from yolo9000.data.augment import (
    AugmentSettings,
    augment,
    augment_or_mosaic,
    crop,
    distort,
    draw_color,
    draw_crop,
    draw_jitter,
    draws,
    paste,
)
from yolo9000.data.batching import Example, collate
from yolo9000.io.images import read_image
from yolo9000.types import BoxAnnotations

WIDTH, HEIGHT = 640, 480
QUALITY = 90
IMAGES = 64  # more than the caches hold
DAMAGED = 200
HEADER = 700  # bytes: a JPEG of this kind has its tables there, the rest are pixels

Decode = Callable[[bytes], np.ndarray]
Make = Callable[[bytes, int], np.ndarray]


def noise_image(rng: np.random.Generator) -> np.ndarray:
    """Smooth noise of several sizes, with shapes upon it."""
    pixels = np.full((HEIGHT, WIDTH, 3), 128, np.float32)
    for blur, strength in ((40, 1500), (8, 400), (1, 33)):
        noise = rng.standard_normal((HEIGHT, WIDTH, 3)).astype(np.float32)
        pixels += strength * cv2.GaussianBlur(noise, (0, 0), blur)
    for _ in range(8):
        x, y, width, height = (int(v) for v in rng.integers((0, 0, 30, 30), (WIDTH - 30, HEIGHT - 30, 200, 200)))
        color = tuple(float(v) for v in rng.integers(-80, 80, 3))
        pixels[y : y + height, x : x + width] += color
    return np.clip(pixels, 0, 255).astype(np.uint8)


def encode(image: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "JPEG", quality=QUALITY)
    return stream.getvalue()


# --- Decoders. ---


def decode_opencv(data: bytes) -> np.ndarray:
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
    if image is None:
        raise OSError("OpenCV cannot decode it")
    return image


def decode_pillow(data: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image)


def decode_ours(data: bytes) -> np.ndarray:
    return read_image(data).pixels


# --- Pipelines. ---


def ours(decode: Decode, settings: AugmentSettings, files: list[bytes], size: int) -> Make:
    gt = BoxAnnotations.plain(np.array([[30, 40, 300, 400], [200, 100, 620, 220]], np.float32), np.array([1, 2]))

    def load(number: int) -> tuple[np.ndarray, BoxAnnotations]:
        return decode(files[number]), gt

    def make(data: bytes, index: int) -> np.ndarray:
        rng = draws(0, 0, index)
        return augment_or_mosaic(decode(data), gt, settings, (size, size), rng, load, len(files))[0]

    return make


def plain_pillow(settings: AugmentSettings, size: int) -> Make:
    """The same steps as most programs write them: crop, resize, flip, and HSV by lookup tables."""

    def make(data: bytes, index: int) -> np.ndarray:
        rng = draws(0, 0, index)
        left, top, width, height = draw_crop((WIDTH, HEIGHT), (size, size), settings.jitter, rng).source_ltwh
        image = Image.open(io.BytesIO(data)).crop((left, top, left + width, top + height))
        image = image.resize((size, size), Image.Resampling.BILINEAR)
        if rng.random() < 0.5:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        hue, saturation, exposure = draw_color(settings, rng)
        tables = [(v + 256 * hue) % 256 for v in range(256)]
        tables += [min(255, v * saturation) for v in range(256)] + [min(255, v * exposure) for v in range(256)]
        return np.asarray(image.convert("HSV").point([int(v) for v in tables]).convert("RGB"))

    return make


def opencv_hsv(image: np.ndarray, hue: float, saturation: float, exposure: float) -> np.ndarray:
    """The usual way with OpenCV, HSV of 8 bits and lookup tables: not Darknet's colors; see `distort`."""
    levels = np.arange(256)
    tables = [(levels + 256 * hue) % 256, np.minimum(255, levels * saturation), np.minimum(255, levels * exposure)]
    table = np.stack(tables, axis=-1)[None].astype(np.uint8)
    return cv2.cvtColor(cv2.LUT(cv2.cvtColor(image, cv2.COLOR_RGB2HSV_FULL), table), cv2.COLOR_HSV2RGB_FULL)


def batch_of(make: Make, files: list[bytes], batch: int) -> Callable[[], object]:
    indices = count()

    def run() -> object:
        chosen = [next(indices) for _ in range(batch)]
        return collate([Example(make(files[i % len(files)], i), None, (), str(i), i) for i in chosen])

    return run


def one_by_one(make: Make, files: list[bytes], batch: int) -> Callable[[], object]:
    indices = count()

    def run() -> object:
        for index in [next(indices) for _ in range(batch)]:
            make(files[index % len(files)], index)
        return None

    return run


def pipelines(files: list[bytes], size: int) -> dict[str, Make]:
    crop, placed = AugmentSettings(), AugmentSettings(placement="letterbox_jitter")
    return {
        "Pillow all the way": plain_pillow(crop, size),
        "OpenCV decodes, random_crop": ours(decode_opencv, crop, files, size),
        "OpenCV decodes, letterbox_jitter": ours(decode_opencv, placed, files, size),
        "OpenCV decodes, mosaic (4 images each)": ours(decode_opencv, AugmentSettings(mosaic=1), files, size),
        "Pillow decodes, random_crop": ours(decode_pillow, crop, files, size),
        "Pillow decodes, letterbox_jitter": ours(decode_pillow, placed, files, size),
        "read_picture decodes, random_crop": ours(decode_ours, crop, files, size),
    }


def parts(files: list[bytes], size: int) -> dict[str, Make]:
    images, small = [decode_opencv(data) for data in files], (size, size)
    cropped = [cv2.resize(image, small) for image in images]
    settings = AugmentSettings()

    def of(sources: list[np.ndarray], step: Callable[[np.ndarray, np.random.Generator], np.ndarray]) -> Make:
        return lambda _, index: step(sources[index % len(sources)], draws(0, 0, index))

    def cut(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return crop(image, draw_crop((WIDTH, HEIGHT), small, settings.jitter, rng).mirror(size), small)

    def put(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return paste(image, draw_jitter((WIDTH, HEIGHT), small, settings.jitter, rng).mirror(size), small)

    return {
        "decode: OpenCV": lambda data, _: decode_opencv(data),
        "decode: Pillow": lambda data, _: decode_pillow(data),
        "decode: read_picture": lambda data, _: decode_ours(data),
        "augment, random_crop": of(images, lambda image, rng: augment(image, None, settings, small, rng)[0]),
        "crop, resize and flip of random_crop": of(images, cut),
        "affine map of letterbox_jitter": of(images, put),
        "colors": of(cropped, lambda image, rng: distort(image, *draw_color(settings, rng))),
        "instead: colors by OpenCV's HSV": of(cropped, lambda i, rng: opencv_hsv(i, *draw_color(settings, rng))),
    }


# --- Measuring. ---


def measure(runs: dict[str, Callable[[], object]], rounds: int) -> dict[str, tuple[list[float], list[float]]]:
    """Milliseconds of every round, of the wall clock and of the CPU."""
    times: dict[str, tuple[list[float], list[float]]] = {name: ([], []) for name in runs}
    for number in range(rounds + 2):
        for name, run in runs.items():
            wall, cpu = time.perf_counter(), time.process_time()
            run()
            if number >= 2:  # the first two rounds warm up
                times[name][0].append(1e3 * (time.perf_counter() - wall))
                times[name][1].append(1e3 * (time.process_time() - cpu))
    return times


def print_table(title: str, times: dict[str, tuple[list[float], list[float]]], batch: int) -> None:
    print(f"| {title} | ms an image | of the CPU | images/s a core | times the first |")
    print("|---|---|---|---|---|")
    base = next(iter(times.values()))[1]
    for name, (wall, cpu) in times.items():
        ratio = statistics.median(b / p for b, p in zip(base, cpu, strict=True))
        mine = statistics.median(cpu) / batch
        print(f"| {name} | {statistics.median(wall) / batch:.2f} | {mine:.2f} | {1e3 / mine:.0f} | {ratio:.1f} |")
    print()


# --- Damaged files. ---


def cut_short(data: bytes, position: int) -> bytes:
    return data[:position]


def one_byte_wrong(data: bytes, position: int) -> bytes:
    return data[:position] + bytes([data[position] ^ 0x55]) + data[position + 1 :]


def verdict(decode: Decode, data: bytes, whole: np.ndarray) -> str:
    try:
        image = decode(data)
    except Exception:
        return "refused"
    return "unharmed" if np.array_equal(image, whole) else "wrong"


def print_damages(data: bytes) -> None:
    print(f"| {DAMAGED} damaged JPEGs | refused | decoded to wrong pixels | unharmed |")
    print("|---|---|---|---|")
    whole = decode_opencv(data)
    for damage in (cut_short, one_byte_wrong):
        positions = [int(v) for v in np.random.default_rng(1).integers(HEADER, len(data) - 2, DAMAGED)]
        for name, decode in {"OpenCV": decode_opencv, "Pillow": decode_pillow}.items():
            verdicts = [verdict(decode, damage(data, position), whole) for position in positions]
            counts = " | ".join(str(verdicts.count(kind)) for kind in ("refused", "wrong", "unharmed"))
            print(f"| {damage.__name__.replace('_', ' ')}: {name} | {counts} |")


def without_complaints(run: Callable[[], None]) -> None:
    """libjpeg writes a line about every damaged file past Python, which this keeps off the screen."""
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as away:
        os.dup2(away.fileno(), 2)
        try:
            run()
        finally:
            os.dup2(kept, 2)
            os.close(kept)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--size", type=int, default=416)
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    rng = np.random.default_rng(0)
    files = [encode(noise_image(rng)) for _ in range(IMAGES)]
    kilobytes = statistics.mean(len(data) for data in files) / 1e3
    load = f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
    print(f"{date.today()}, {platform.machine()}, {load}, OpenCV {cv2.__version__}, {arguments.rounds} rounds")
    print(f"JPEGs of {WIDTH} x {HEIGHT}, {kilobytes:.0f} kB, to batches of {arguments.batch} at {arguments.size}\n")
    for title, makes, run in (("JPEG to batch", pipelines, batch_of), ("parts, no batch", parts, one_by_one)):
        runs = {name: run(make, files, arguments.batch) for name, make in makes(files, arguments.size).items()}
        print_table(title, measure(runs, arguments.rounds), arguments.batch)
    without_complaints(partial(print_damages, files[0]))


if __name__ == "__main__":
    main()
