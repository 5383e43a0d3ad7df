"""Batches for training, prepared ahead by worker processes: the same ones for every number of workers."""

from __future__ import annotations

import ctypes
import multiprocessing
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, get_worker_info

from yolo9000.data.batching import Example, multi_scale_size
from yolo9000.data.sampler import ImageSampler
from yolo9000.errors import TrainingError, YoloError
from yolo9000.training.distributed import World
from yolo9000.training.recipe import MultiScaleSettings
from yolo9000.training.signals import ignore_stop_signals, stop_signals_blocked

__all__ = ["BatchLoader", "BatchPlan", "LoadedPart", "SampleRequest", "keep_memory"]

HANGS_AFTER = 120  # seconds without a batch from the workers


@dataclass(frozen=True)
class SampleRequest:
    """One image of a batch.

    Attributes:
        epoch, index: epoch and position in it.
        image: index of the sample.
        size_wh: width and height of the input.
        draw: number of the augmentation, where each image has only some; None: a new one each time.
    """

    epoch: int
    index: int
    image: int
    size_wh: tuple[int, int]
    draw: int | None = None

    @property
    def random_key(self) -> tuple[int, int]:
        """What the random numbers of the image follow from, besides the seed."""
        return (self.epoch, self.index) if self.draw is None else (self.draw, self.image)


@dataclass(frozen=True)
class BatchPlan:
    """The images of each step and the size of the input: a function of the step alone.

    Attributes:
        sampler: order of the images.
        batch: images of a step, over all processes.
        accumulate: parts that a batch is computed in.
        size_wh: width and height of the input.
        multi_scale: the sizes to choose from instead; None: always `size_wh`.
        stride: sizes are multiples of it, in pixels.
        world: the processes that share each batch.
        draws: number of different augmentations of each image; None: no limit.
    """

    sampler: ImageSampler
    batch: int
    accumulate: int
    size_wh: tuple[int, int]
    multi_scale: MultiScaleSettings | None
    stride: int
    world: World
    draws: int | None = None

    def size_of(self, step: int) -> tuple[int, int]:
        """Width and height of the input in a step (§2 Multi-Scale Training)."""
        width, height = self.size_wh
        if self.multi_scale is None:
            return width, height
        chosen = multi_scale_size(self.sampler.seed, step, self.multi_scale.sizes, self.multi_scale.every)
        return chosen, max(self.stride, round(chosen * height / width / self.stride) * self.stride)

    def requests(self, step: int, part: int) -> list[SampleRequest]:
        """The images of one process in a part of a step: every n-th of the batch, dealt to processes and parts."""
        size_wh = self.size_of(step)
        first = step * self.batch + self.world.rank + part * self.world.size
        positions = range(first, (step + 1) * self.batch, self.world.size * self.accumulate)
        return [self.request(position, size_wh) for position in positions]

    def request(self, position: int, size_wh: tuple[int, int]) -> SampleRequest:
        """The image at a position of the sequence, at a size of the input."""
        epoch, index, image = self.sampler.sample(position)
        return SampleRequest(epoch, index, image, size_wh, None if self.draws is None else epoch % self.draws)


@dataclass(frozen=True)
class LoadedPart:
    """A part of a batch.

    Attributes:
        requests: of its images.
        images: of those that are not cached.
        examples: their annotations, without the images.
    """

    requests: tuple[SampleRequest, ...]
    images: UInt8[np.ndarray, "n h w 3"]
    examples: tuple[Example, ...]


class BatchLoader:
    """The batches of consecutive steps, part by part, prepared ahead by worker processes.

    Attributes:
        waited: seconds that training has waited for images.
    """

    def __init__(
        self,
        plan: BatchPlan,
        make: Callable[[SampleRequest], Example],
        names: Callable[[int], str],
        *,
        steps: Iterable[int],
        workers: int,
        is_cached: Callable[[SampleRequest], bool] = lambda request: False,
    ) -> None:
        """Start the workers.

        Args:
            plan: the images of each step.
            make: makes an image; runs in the workers.
            names: name of an image by its index, for errors.
            steps: to prepare.
            workers: processes; 0 prepares each batch when it is asked for.
            is_cached: whether the image of a request is not needed; asked once for each, in their order.
        """
        cv2.setNumThreads(0)  # a forked process would wait for OpenCV's threads, which are not forked with it
        self.waited = 0.0
        self._names = names
        self._is_cached = is_cached
        self._in_progress = torch.full((max(workers, 1),), NOTHING).share_memory_()
        parts = ((step, part) for step in steps for part in range(plan.accumulate))
        loader: DataLoader[_Part] = DataLoader(
            _Images(make, self._in_progress),
            batch_sampler=_Once(self._marked(plan.requests(*part)) for part in parts),
            num_workers=workers,
            collate_fn=_unchanged,
            pin_memory=plan.world.device.type == "cuda",
            timeout=HANGS_AFTER if workers else 0,
            worker_init_fn=_start_worker,
        )
        others = set(multiprocessing.active_children())
        with stop_signals_blocked():
            self._parts: Iterator[_Part] = iter(loader)
        self._workers = set(multiprocessing.active_children()) - others

    def _marked(self, requests: Sequence[SampleRequest]) -> list[tuple[SampleRequest, bool]]:
        return [(request, not self._is_cached(request)) for request in requests]

    def next(self) -> LoadedPart:
        """The next part of a batch.

        Raises:
            YoloError: one of its images cannot be used.
            TrainingError: a worker died or hangs.
        """
        started = time.perf_counter()
        part = next(self._parts)
        self.waited += time.perf_counter() - started
        if isinstance(part, YoloError):
            raise part
        images, loaded = part
        return replace(loaded, images=images.numpy())

    def close(self) -> None:
        """End the workers now instead of when the garbage is collected; one that hangs, too."""
        self._parts = iter(())
        for worker in self._workers:
            worker.kill()  # SIGTERM, which torch sends, is ignored
            worker.join()

    @contextmanager
    def errors_named(self) -> Iterator[None]:
        """Name the images that were being prepared when a worker died. torch may notice at any moment, by a signal.

        Raises:
            TrainingError: a worker died or hangs.
        """
        try:
            yield
        except RuntimeError as error:
            if "DataLoader" not in str(error):
                raise
            indices = [index for index in self._in_progress.tolist() if index != NOTHING]
            images = ", ".join(map(self._names, indices)) or "none"
            raise TrainingError(
                f"a worker process ended or hangs ({str(error).splitlines()[0]}) while it prepared: {images}. "
                "If shared memory (/dev/shm) is short, set workers=0"
            ) from None


_Part = tuple[Tensor, LoadedPart] | YoloError
_Marked = list[tuple[SampleRequest, bool]]
NOTHING = -1


class _Once:
    """An iterator as the batch sampler that a `DataLoader` wants."""

    def __init__(self, requests: Iterator[_Marked]) -> None:
        self._requests = requests

    def __iter__(self) -> Iterator[_Marked]:
        return self._requests


class _Images(Dataset[_Part]):
    """What the workers compute."""

    def __init__(self, make: Callable[[SampleRequest], Example], in_progress: Tensor) -> None:
        self._make = make
        self._in_progress = in_progress

    def __getitems__(self, requests: _Marked) -> _Part:
        """A part of a batch; its images as a tensor, which torch passes on in shared memory."""
        worker = get_worker_info()
        slot = worker.id if worker else 0
        examples = []
        try:
            for request, needed in requests:
                if needed:
                    self._in_progress[slot] = request.image
                    examples.append(self._make(request))
        except YoloError as error:
            return error
        finally:
            self._in_progress[slot] = NOTHING
        images = np.stack([example.image for example in examples]) if examples else np.empty((0, 0, 0, 3), np.uint8)
        without = tuple(replace(example, image=example.image[:0, :0]) for example in examples)
        part = LoadedPart(tuple(request for request, _ in requests), images[:, :0, :0], without)
        return torch.from_numpy(images), part

    def __getitem__(self, requests: _Marked) -> _Part:
        return self.__getitems__(requests)


def _unchanged(part: Any) -> Any:
    """The batch, which needs no collating."""
    return part


def _start_worker(worker: int) -> None:
    ignore_stop_signals()
    keep_memory()


# glibc's parameters of mallopt, malloc.h
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4


def keep_memory() -> None:
    """Keep large freed blocks of memory in this process, since the next batch needs them: 15 to 30 % faster on Linux.

    By default glibc returns blocks above 32 MiB to the system, which has to clear their pages each time.
    """
    if sys.platform != "linux":
        return
    library = ctypes.CDLL(None)
    if hasattr(library, "gnu_get_libc_version"):
        library.mallopt(_MMAP_MAX, 0)
        library.mallopt(_TRIM_THRESHOLD, 2**31 - 1)
        library.mallopt(_TOP_PAD, 2**28)
