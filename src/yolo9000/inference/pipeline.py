"""Work on several items at once, results in order: reading, computing and whatever the caller does overlap."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

__all__ = ["in_parallel"]

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_parallel(items: Iterator[Item], work: Callable[[Item], Result], workers: int) -> Iterator[Result]:
    """The results of some work, in the order of the items.

    Items are taken on the caller's thread, while the workers compute; at most one more than there are workers are in
    memory. An error of an item, or of its work, is raised when all results before it were given.

    Args:
        items: read as results are asked for.
        work: called in other threads.
        workers: number of threads.
    """
    with ThreadPoolExecutor(workers) as pool:
        pending: deque[Future[Result]] = deque()
        error: Exception | None = None
        while True:
            try:
                item = next(items)
            except StopIteration:
                break
            except Exception as raised:
                error = raised
                break
            pending.append(pool.submit(work, item))
            if len(pending) > workers:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
        if error is not None:
            raise error
