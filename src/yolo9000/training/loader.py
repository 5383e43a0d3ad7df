"""Images for training, prepared ahead by worker processes: the same ones whatever the number of workers is."""

from __future__ import annotations

import ctypes
import signal
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
from yolo9000.data.sampler import Stream
from yolo9000.errors import TrainingError, YoloError
from yolo9000.training.distributed import World
from yolo9000.training.recipe import Recipe

__all__ = ["Feed", "Order", "Plan", "keep_memory"]

HANGS_AFTER = 120  # seconds without a batch from the workers


@dataclass(frozen=True)
class Order:
    """One image that a batch asks for.

    Attributes:
        epoch, index: epoch and place in it; they key what is drawn for the image.
        image: number of the sample.
        size_wh: width and height of the input.
    """

    epoch: int
    index: int
    image: int
    size_wh: tuple[int, int]


@dataclass(frozen=True)
class Plan:
    """Which images each step trains, and at which size: a function of the step alone.

    Attributes:
        recipe: batch, parts of a batch, sizes.
        stream: order of the images.
        world: the processes that share each batch.
        stride: of the network in pixels: what sizes are multiples of.
    """

    recipe: Recipe
    stream: Stream
    world: World
    stride: int

    def size_wh(self, step: int) -> tuple[int, int]:
        """Width and height of the input in a step (§2 Multi-Scale Training)."""
        width, height = self.recipe.network.size_wh
        scales = self.recipe.multi_scale
        if scales is None:
            return width, height
        chosen = multi_scale_size(self.recipe.seed, step, scales.sizes, scales.every)
        return chosen, max(self.stride, round(chosen * height / width / self.stride) * self.stride)

    def part(self, step: int, part: int) -> list[Order]:
        """What this process trains in a part of a step: every n-th place of the batch, dealt to processes and parts."""
        recipe = self.recipe
        size_wh = self.size_wh(step)
        first = step * recipe.batch + self.world.rank + part * self.world.size
        places = range(first, (step + 1) * recipe.batch, self.world.size * recipe.accumulate)
        return [Order(*self.stream.image(place), size_wh) for place in places]


class Feed:
    """The parts of the batches of all steps from one on, prepared ahead.

    Attributes:
        waited: seconds that training has waited for images.
    """

    def __init__(
        self,
        plan: Plan,
        make: Callable[[Order], Example],
        names: Callable[[int], str],
        *,
        steps: range,
        workers: int,
    ) -> None:
        """Start the workers.

        Args:
            plan: which images each step trains.
            make: makes an image; runs in the workers.
            names: name of an image by its number, for errors.
            steps: to prepare.
            workers: processes; 0 prepares each batch when it is asked for.
        """
        cv2.setNumThreads(0)  # here and in the workers; where OpenCV has threads, one that is forked off waits for them
        self.waited = 0.0
        self._names = names
        self._working_on = torch.full((max(workers, 1),), NOTHING).share_memory_()
        parts = ((step, part) for step in steps for part in range(plan.recipe.accumulate))
        loader: DataLoader[_Part] = DataLoader(
            _Images(make, self._working_on),
            batch_sampler=_Lists(plan.part(*place) for place in parts),
            num_workers=workers,
            collate_fn=_as_it_is,
            pin_memory=plan.world.device.type == "cuda",
            timeout=HANGS_AFTER if workers else 0,
            worker_init_fn=_start_worker,
        )
        self._parts: Iterator[_Part] = iter(loader)

    def next(self) -> Batch:
        """The next part of a batch.

        Raises:
            YoloError: an image of it cannot be used.
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
        """End the workers now, not when memory happens to be cleared."""
        self._parts = iter(())

    @contextmanager
    def errors_named(self) -> Iterator[None]:
        """Say which images were in work when a worker died. torch notices that at any moment, by a signal.

        Raises:
            TrainingError: a worker died or hangs.
        """
        try:
            yield
        except RuntimeError as error:
            if "DataLoader" not in str(error):
                raise
            numbers = [number for number in self._working_on.tolist() if number != NOTHING]
            images = ", ".join(map(self._names, numbers)) or "none"
            raise TrainingError(
                f"a process that prepares images ended or hangs ({str(error).splitlines()[0]}); in work: {images}. "
                "Where shared memory is short (/dev/shm), workers=0 prepares images without such processes"
            ) from None


_Part = tuple[Tensor, Batch] | YoloError
NOTHING = -1


class _Lists:
    """Lists of orders, once."""

    def __init__(self, lists: Iterator[list[Order]]) -> None:
        self._lists = lists

    def __iter__(self) -> Iterator[list[Order]]:
        return self._lists


class _Images(Dataset[_Part]):
    """What the workers do."""

    def __init__(self, make: Callable[[Order], Example], working_on: Tensor) -> None:
        self._make = make
        self._working_on = working_on

    def __getitems__(self, orders: Sequence[Order]) -> _Part:
        """A part of a batch; its images as a tensor, which torch hands over in shared memory."""
        worker = get_worker_info()
        place = worker.id if worker else 0
        examples = []
        try:
            for order in orders:
                self._working_on[place] = order.image
                examples.append(self._make(order))
        except YoloError as error:
            return error
        finally:
            self._working_on[place] = NOTHING
        batch = collate(examples)
        return torch.from_numpy(batch.images), replace(batch, images=batch.images[:, :0, :0])

    def __getitem__(self, orders: Sequence[Order]) -> _Part:
        return self.__getitems__(orders)


def _as_it_is(part: Any) -> Any:
    """What torch would make a batch of is one already."""
    return part


def _start_worker(worker: int) -> None:
    """Ctrl-C is for the process that trains."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    keep_memory()


# glibc's numbers for mallopt, malloc.h
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4


def keep_memory() -> None:
    """Let this process keep large blocks that it frees, for the next batch needs them again: 15 to 30 % on Linux.

    Without it glibc gives blocks above 32 MiB back to the system, which clears them page by page when they come again.
    """
    if sys.platform != "linux":
        return
    library = ctypes.CDLL(None)
    if hasattr(library, "gnu_get_libc_version"):
        library.mallopt(_MMAP_MAX, 0)
        library.mallopt(_TRIM_THRESHOLD, 2**31 - 1)
        library.mallopt(_TOP_PAD, 2**28)
