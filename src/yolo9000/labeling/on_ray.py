"""Labels made by the workers of a Ray cluster, with Ray Data; where there is none, of one on this machine.

Each worker loads the models once. It gets the images of a part and returns their records; this process alone writes
parts, so that the workers need no folder in common, and no part is written twice. What a worker that ended was working
on is given to another.
"""

from __future__ import annotations

import json
import logging
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from yolo9000.errors import EngineError, needs_extra
from yolo9000.io.cores import available_cores
from yolo9000.labeling.images import ListedImage
from yolo9000.labeling.label import Labeler, Report
from yolo9000.labeling.parts import Parts, Record, Shard

with needs_extra("ray", "labelling on Ray"):
    import ray
    from ray.data import ActorPoolStrategy, DataContext, Dataset, from_items

__all__ = ["run_on_ray"]

MAX_ATTEMPTS = 4
"""How many workers may end over a part: an image that ends every worker must not keep the cluster busy for ever."""

Row = dict[str, Any]


def run_on_ray(
    make_labeler: Callable[[], Labeler],
    parts: Parts,
    shard: Shard,
    *,
    workers: int | None = None,
    cores_per_worker: int = 1,
    gpus_per_worker: int = 0,
    report: Report | None = None,
) -> list[Counter[str]]:
    """Make the missing parts of a shard with the workers of a cluster; the records are those of `Labeler.run`.

    The cluster is the one that the program is connected to, else that of the environment variable ``RAY_ADDRESS``, else
    one on this machine, which ends with this call.

    Args:
        make_labeler: called once in each worker; must be picklable, and find its files on every machine.
        parts: of the images, which every machine must find at the paths and URLs that the list has.
        shard: which of the parts.
        workers: number of workers; None for as many as the cluster has cores for.
        cores_per_worker: that Ray reserves for each.
        gpus_per_worker: likewise.
        report: called after each part with the number of images done and the number to do.

    Returns:
        For each teacher the number of boxes left out of each class that the first one does not have.

    Raises:
        EngineError: some parts could not be made, since all workers that tried have ended.
    """
    missing = parts.missing(shard)
    total, done = parts.count_images(missing), 0
    unknown: list[Counter[str]] = []
    if not missing:
        return unknown
    reserved = {"num_cpus": cores_per_worker, "num_gpus": gpus_per_worker}
    with _cluster(workers, cores_per_worker):
        for row in filter(_is_made, _labelled(make_labeler, parts, missing, workers, reserved).iter_rows()):
            parts.write(row["part"], json.loads(row["records"]))
            _add(unknown, json.loads(row["unknown"]))
            done += len(parts.images(row["part"]))
            if report:
                report(done, total)
    if left := parts.missing(shard):
        first = f"the first of which begins with {parts.images(left[0])[0].name}"
        message = f"{len(left)} of {len(missing)} parts could not be made: {MAX_ATTEMPTS} workers ended over each"
        raise EngineError(f"{message}, {first}; the same command tries again")
    return unknown


def _labelled(
    make_labeler: Callable[[], Labeler],
    parts: Parts,
    missing: list[int],
    workers: int | None,
    reserved: Mapping[str, int],
) -> Dataset:
    """A row for each part that is missing, made while they are gone through."""
    DataContext.get_current().enable_progress_bars = False
    rows = [{"part": part, "images": json.dumps(parts.images(part))} for part in missing]
    room = int(ray.cluster_resources().get("CPU", 1)) // reserved["num_cpus"]
    size = min(workers or max(1, room), len(rows))
    return from_items(rows, override_num_blocks=len(rows)).map(
        _PartLabeler,
        fn_constructor_args=(make_labeler, ray.remote(_Attempts).options(num_cpus=0).remote()),
        compute=ActorPoolStrategy(size=size),
        **reserved,
    )


class _Attempts:
    """Counts how often each part was begun; an actor of its own, since it must live on when a worker ends."""

    def __init__(self) -> None:
        self._counts: Counter[int] = Counter()

    def add(self, part: int) -> int:
        self._counts[part] += 1
        return self._counts[part]


class _PartLabeler:
    """Labels the images of one part after the other, in a worker."""

    def __init__(self, make_labeler: Callable[[], Labeler], attempts: Any) -> None:
        self._labeler = make_labeler()
        self._attempts = attempts

    def __call__(self, row: Row) -> Row:
        if ray.get(self._attempts.add.remote(row["part"])) > MAX_ATTEMPTS:
            return {"part": row["part"], "records": "", "unknown": "[]"}
        for teacher in self._labeler.teachers:
            teacher.unknown.clear()
        records: list[Record] = [self._labeler.record(ListedImage(*image)) for image in json.loads(row["images"])]
        unknown = [teacher.unknown for teacher in self._labeler.teachers]
        return {"part": row["part"], "records": json.dumps(records), "unknown": json.dumps(unknown)}


def _is_made(row: Row) -> bool:
    return bool(row["records"])


def _add(totals: list[Counter[str]], counts: list[dict[str, int]]) -> None:
    totals.extend(Counter() for _ in counts[len(totals) :])
    for total, more in zip(totals, counts, strict=True):
        total.update(more)


@contextmanager
def _cluster(workers: int | None, cores_per_worker: int) -> Iterator[None]:
    """Connected to a cluster."""
    if ray.is_initialized():
        yield
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # Ray would send statistics over the network
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    cores = (
        {}
        if "RAY_ADDRESS" in os.environ
        else {"num_cpus": workers * cores_per_worker if workers else available_cores()}
    )
    ray.init(include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR, **cores)
    try:
        yield
    finally:
        ray.shutdown()
