"""Runs the network on the images of all clients together, a batch at a time, in a thread of its own.

A batch is what is waiting when the network becomes free. It waits for more only while images are known to be on the
way, that is, being decoded, and never longer than a bound: a single client waits for nobody. The sizes of batches are
powers of two, because an engine prepares for each size once.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, InvalidStateError
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from threading import Condition, Thread

import numpy as np
from jaxtyping import Float32

from yolo9000.inference.head_output import HeadOutput

__all__ = ["BatchedOutput", "Batcher"]


@dataclass(frozen=True)
class BatchedOutput:
    """The output of the network for one image.

    Attributes:
        output: of the batch that the image was in.
        index: of the image in the batch.
    """

    output: HeadOutput
    index: int


@dataclass(frozen=True)
class _Waiting:
    image: Float32[np.ndarray, "3 h w"]
    future: Future[BatchedOutput] = field(default_factory=Future)


class Batcher:
    """A queue of images in front of a network.

    Args:
        run: the network: from a batch (n, 3, h, w) to its output.
        max_batch: maximum number of images in a batch.
        max_wait: seconds that a batch waits for images on the way.
        observe: called with the size and the seconds of each batch that was run.
    """

    def __init__(
        self,
        run: Callable[[np.ndarray], HeadOutput],
        *,
        max_batch: int,
        max_wait: float,
        observe: Callable[[int, float], None] = lambda size, seconds: None,
    ) -> None:
        self._run = run
        self._max_batch = max_batch
        self._max_wait = max_wait
        self._observe = observe
        self._queue: deque[_Waiting] = deque()
        self._expected = 0
        self._closing = False
        self._changed = Condition()
        self._thread = Thread(target=self._work, name="inference", daemon=True)
        self._thread.start()

    @contextmanager
    def expecting(self, count: int) -> Iterator[Callable[[], None]]:
        """Say that some images are on the way. The batcher does not stop before they have come, or the context ends.

        Yields:
            A function to call when one has been submitted, or will not come.
        """
        left = count
        self._expect(count)

        def arrived() -> None:
            nonlocal left
            left -= 1
            self._expect(-1)

        try:
            yield arrived
        finally:
            self._expect(-left)

    def submit(self, image: Float32[np.ndarray, "3 h w"]) -> Future[BatchedOutput]:
        """Queue an image; it leaves the queue if its future is cancelled."""
        waiting = _Waiting(image)
        with self._changed:
            self._queue.append(waiting)
            self._changed.notify()
        return waiting.future

    def close(self, *, wait: bool = False) -> None:
        """Stop as soon as no image is queued or expected.

        Args:
            wait: return only then.
        """
        with self._changed:
            self._closing = True
            self._changed.notify()
        if wait:
            self._thread.join()

    def _expect(self, change: int) -> None:
        with self._changed:
            self._expected += change
            self._changed.notify()

    def _work(self) -> None:
        while batch := self._take():
            self._answer(batch)

    def _take(self) -> list[_Waiting]:
        """The next batch; empty when closed."""
        with self._changed:
            while True:
                self._changed.wait_for(lambda: self._queue or (self._closing and not self._expected))
                if not self._queue:
                    return []
                self._wait_for_more()
                self._queue = deque(waiting for waiting in self._queue if not waiting.future.cancelled())
                if self._queue:
                    return [self._queue.popleft() for _ in range(self._size())]

    def _wait_for_more(self) -> None:
        until = time.monotonic() + self._max_wait
        while self._expected and len(self._queue) < self._max_batch and (left := until - time.monotonic()) > 0:
            self._changed.wait(left)

    def _size(self) -> int:
        """The largest power of two that the queue can fill."""
        return 1 << (min(len(self._queue), self._max_batch).bit_length() - 1)

    def _answer(self, batch: list[_Waiting]) -> None:
        start = time.perf_counter()
        try:
            output = self._run(np.stack([waiting.image for waiting in batch]))
        except Exception as error:  # whatever an engine raises belongs to these requests, not to the thread
            for waiting in batch:
                with suppress(InvalidStateError):
                    waiting.future.set_exception(error)
            return
        self._observe(len(batch), time.perf_counter() - start)
        for index, waiting in enumerate(batch):
            with suppress(InvalidStateError):  # cancelled in the meantime
                waiting.future.set_result(BatchedOutput(output, index))
