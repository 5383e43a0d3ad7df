"""Batches for training, prepared ahead by worker processes: the same ones for every number of workers."""

from __future__ import annotations

import ctypes
import multiprocessing
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import cv2
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, get_worker_info

from yolo9000.data.batching import Batch, Example, collate, multi_scale_size
from yolo9000.data.sampler import ImageSampler
from yolo9000.errors import TrainingError, YoloError
from yolo9000.training.distributed import World
from yolo9000.training.recipe import MultiScaleSettings
from yolo9000.training.signals import ignore_stop_signals, stop_signals_blocked

__all__ = ["BatchLoader", "BatchPlan", "SampleRequest", "keep_memory"]

HANGS_AFTER = 120  # seconds without a batch from the workers


@dataclass(frozen=True)
class SampleRequest:
    """One image of a batch.

    Attributes:
        epoch, index: epoch and position in it; the random numbers of the image follow from them.
        image: index of the sample.
        size_wh: width and height of the input.
    """

    epoch: int
    index: int
    image: int
    size_wh: tuple[int, int]


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
    """

    sampler: ImageSampler
    batch: int
    accumulate: int
    size_wh: tuple[int, int]
    multi_scale: MultiScaleSettings | None
    stride: int
    world: World

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
        return [SampleRequest(*self.sampler.sample(position), size_wh) for position in positions]


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
        steps: range,
        workers: int,
    ) -> None:
        """Start the workers.

        Args:
            plan: the images of each step.
            make: makes an image; runs in the workers.
            names: name of an image by its index, for errors.
            steps: to prepare.
            workers: processes; 0 prepares each batch when it is asked for.
        """
        cv2.setNumThreads(0)  # a forked process would wait for OpenCV's threads, which are not forked with it
        self.waited = 0.0
        self._names = names
        self._in_progress = torch.full((max(workers, 1),), NOTHING).share_memory_()
        parts = ((step, part) for step in steps for part in range(plan.accumulate))
        loader: DataLoader[_Part] = DataLoader(
            _Images(make, self._in_progress),
            batch_sampler=_Once(plan.requests(*part) for part in parts),
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

    def next(self) -> Batch:
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
        images, rest = part
        batch: Batch = replace(rest, images=images.numpy())
        return batch

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


_Part = tuple[Tensor, Batch] | YoloError
NOTHING = -1


class _Once:
    """An iterator as the batch sampler that a `DataLoader` wants."""

    def __init__(self, requests: Iterator[list[SampleRequest]]) -> None:
        self._requests = requests

    def __iter__(self) -> Iterator[list[SampleRequest]]:
        return self._requests


class _Images(Dataset[_Part]):
    """What the workers compute."""

    def __init__(self, make: Callable[[SampleRequest], Example], in_progress: Tensor) -> None:
        self._make = make
        self._in_progress = in_progress

    def __getitems__(self, requests: Sequence[SampleRequest]) -> _Part:
        """A part of a batch; its images as a tensor, which torch passes on in shared memory."""
        worker = get_worker_info()
        slot = worker.id if worker else 0
        examples = []
        try:
            for request in requests:
                self._in_progress[slot] = request.image
                examples.append(self._make(request))
        except YoloError as error:
            return error
        finally:
            self._in_progress[slot] = NOTHING
        batch = collate(examples)
        return torch.from_numpy(batch.images), replace(batch, images=batch.images[:, :0, :0])

    def __getitem__(self, requests: Sequence[SampleRequest]) -> _Part:
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
