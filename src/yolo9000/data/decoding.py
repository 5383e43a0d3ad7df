"""Every image of a data set decoded once, in their order: by several processes where there are many."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from itertools import chain, islice
from multiprocessing import connection, get_context, parent_process
from typing import NamedTuple, TypeVar

import numpy as np
from jaxtyping import UInt64
from PIL import Image

from yolo9000.data.images import read_image_file
from yolo9000.errors import DataError
from yolo9000.io.cores import available_cores
from yolo9000.io.images import MAX_PIXELS, read_upright
from yolo9000.types import ImageFile, Issue, Sample

__all__ = ["Decoded", "decode_each", "image_hash", "unreadable"]

HASH_SIDE = 16

_AT_ONCE = 128  # images that a process gets
_MAX_WORKERS = 8  # each may hold the largest image

Item = TypeVar("Item")
_Task = tuple[ImageFile, str]


class Decoded(NamedTuple):
    """What is kept of a decoded image: its hash, see `image_hash`, and its width and height."""

    hash: UInt64[np.ndarray, " 4"]
    size_wh: tuple[int, int]


def decode_each(
    items: Iterable[Item], sample_of: Callable[[Item], Sample | None], max_pixels: int = MAX_PIXELS
) -> Iterator[tuple[Item, Decoded | DataError | None]]:
    """Each item with what its image gave: an error where it cannot be decoded, None where it has no sample.

    Args:
        items: are taken while earlier images are being decoded.
        sample_of: the sample of an item, if it has one.
        max_pixels: the largest width x height that is decoded.

    Raises:
        DataError: a process that decodes images has ended.
    """
    batches = iter(partial(_take, iter(items), _AT_ONCE), [])
    decode = partial(_decode_all, max_pixels=max_pixels)
    first = next(batches, [])
    if len(first) < _AT_ONCE:
        yield from zip(first, decode([_task(sample_of(item)) for item in first]), strict=True)
        return
    yield from _in_workers(chain([first], batches), sample_of, decode)


def _take(items: Iterator[Item], count: int) -> list[Item]:
    return list(islice(items, count))


def _task(sample: Sample | None) -> _Task | None:
    return None if sample is None else (sample.image, sample.name)


def _decode_all(tasks: list[_Task | None], max_pixels: int) -> list[Decoded | DataError | None]:
    return [None if task is None else _decode(*task, max_pixels) for task in tasks]


def _decode(image: ImageFile, name: str, max_pixels: int) -> Decoded | DataError:
    try:
        decoded = read_upright(read_image_file(image), name, max_pixels)
    except DataError as error:
        return error
    return Decoded(image_hash(decoded), decoded.size)


def image_hash(image: Image.Image) -> UInt64[np.ndarray, " 4"]:
    """256 bits that hardly change when an image is resized or saved again: is each cell brighter than the next?"""
    cells = np.asarray(image.convert("L").resize((HASH_SIDE + 1, HASH_SIDE), Image.Resampling.BOX))
    bits = np.packbits(cells[:, :-1] > cells[:, 1:])
    return bits.view(np.uint64)


def unreadable(sample: Sample, error: DataError) -> Issue:
    """The issue of an image that cannot be decoded."""
    message = str(error).removeprefix(f"{sample.name}: ")
    return Issue("image-unreadable", sample.name, message, "replace the image, or remove it and its annotation")


# --- Processes. ---


def _in_workers(
    batches: Iterable[list[Item]],
    sample_of: Callable[[Item], Sample | None],
    decode: Callable[[list[_Task | None]], list[Decoded | DataError | None]],
) -> Iterator[tuple[Item, Decoded | DataError | None]]:
    workers = max(2, min(_MAX_WORKERS, available_cores()))
    waiting: deque[tuple[list[Item], Future[list[Decoded | DataError | None]]]] = deque()
    pool = _pool(workers)
    try:
        for batch in batches:
            waiting.append((batch, pool.submit(decode, [_task(sample_of(item)) for item in batch])))
            if len(waiting) > 2 * workers:
                yield from _result(*waiting.popleft())
        while waiting:
            yield from _result(*waiting.popleft())
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _result(
    batch: list[Item], future: Future[list[Decoded | DataError | None]]
) -> Iterator[tuple[Item, Decoded | DataError | None]]:
    try:
        yield from zip(batch, future.result(), strict=True)
    except BrokenProcessPool:
        raise DataError("a process that decodes images has ended: was it killed, is the memory full?") from None


def _pool(workers: int) -> Executor:
    """Processes where they can be forked, which needs nothing of the program that calls; else threads."""
    if sys.platform != "linux":
        return ThreadPoolExecutor(workers)
    return ProcessPoolExecutor(workers, get_context("fork"), _start_worker)


def _start_worker() -> None:
    """Leave signals to the process that forked this one, and end when it has ended, however it did."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)
