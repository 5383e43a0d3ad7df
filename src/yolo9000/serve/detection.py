"""From the images of a request to the answer: decoding beside inference, inference beside that of other requests."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float32

from yolo9000.boxes import cxcywh_to_xyxy
from yolo9000.errors import DataError
from yolo9000.inference.decode import decode
from yolo9000.inference.detector import Detector
from yolo9000.inference.head_output import find_candidates
from yolo9000.inference.preprocess import fit
from yolo9000.inference.probable_nodes import probable_nodes
from yolo9000.io.cores import available_cores
from yolo9000.io.images import read_image
from yolo9000.io.records import image_record
from yolo9000.serve.batching import BatchedOutput, Batcher
from yolo9000.serve.describe import VERSION
from yolo9000.serve.metrics import Metrics
from yolo9000.serve.models import Models
from yolo9000.serve.problems import Refused
from yolo9000.serve.schemas import MIN_NODE_PROBABILITY, DetectQuery
from yolo9000.serve.settings import ServeSettings
from yolo9000.serve.uploads import Upload

__all__ = ["Detection"]

LARGEST = 1e7  # pixels: JSON has no infinity


@dataclass(frozen=True)
class _Prepared:
    """An image as the network takes it, and its size."""

    input: Float32[np.ndarray, "3 h w"]
    size_wh: tuple[int, int]


class Detection:
    """Answers requests for detections."""

    def __init__(self, models: Models, settings: ServeSettings, metrics: Metrics) -> None:
        self._models = models
        self._settings = settings
        self._metrics = metrics
        self._in_service = 0
        # Two pools: images that have been run do not wait behind those that still have to be decoded.
        self._preparing = ThreadPoolExecutor(available_cores(), "decoding")
        self._finishing = ThreadPoolExecutor(available_cores(), "answering")

    @property
    def is_full(self) -> bool:
        """Whether no image can be admitted."""
        return self._in_service >= self._settings.queue_size

    async def answer(self, uploads: Sequence[Upload], query: DetectQuery) -> bytes:
        """The JSON of a `DetectAnswer`.

        Raises:
            Refused: an image cannot be read; the queue is full; it takes too long.
            YoloError: a label or a setting is wrong.
        """
        served = self._models.get(query.model)  # nothing is awaited until it expects the images; see `Models.reload`
        with self._admitted(len(uploads)), served.batcher.expecting(len(uploads)) as arrived:
            detector = served.asked(query)
            steps = _Steps(served.batcher, detector, query.candidates, self._settings.max_pixels)
            try:
                async with asyncio.timeout(self._settings.answer_seconds):
                    records = await self._records(steps, uploads, arrived)
            except TimeoutError:
                raise Refused.busy("the service is too slow at the moment") from None
        self._metrics.images.labels(served.name).inc(len(records))
        answer = {"version": VERSION, "model": served.name, "images": records}
        return json.dumps(answer, separators=(",", ":")).encode()

    @contextmanager
    def _admitted(self, count: int) -> Iterator[None]:
        if self._in_service + count > self._settings.queue_size:
            raise Refused.busy(f"the service has {self._in_service} images to answer already")
        self._count(count)
        try:
            yield
        finally:
            self._count(-count)

    def _count(self, change: int) -> None:
        self._in_service += change
        self._metrics.in_service.set(self._in_service)

    async def _records(
        self, steps: _Steps, uploads: Sequence[Upload], arrived: Callable[[], None]
    ) -> list[dict[str, Any]]:
        work = [self._record(steps, index, upload, arrived) for index, upload in enumerate(uploads)]
        records: list[dict[str, Any]] = []
        for result in await asyncio.gather(*work, return_exceptions=True):
            if isinstance(result, BaseException):
                raise result
            records.append(result)
        return records

    async def _record(self, steps: _Steps, index: int, upload: Upload, arrived: Callable[[], None]) -> dict[str, Any]:
        """One image's way through the service."""
        loop = asyncio.get_running_loop()
        try:
            prepared = await loop.run_in_executor(self._preparing, steps.prepare, index, upload)
            output = steps.batcher.submit(prepared.input)
        finally:
            arrived()
        batched = await asyncio.wrap_future(output)
        return await loop.run_in_executor(self._finishing, steps.record, upload.name, prepared.size_wh, batched)

    def close(self) -> None:
        """Stop the threads."""
        for pool in (self._preparing, self._finishing):
            pool.shutdown(cancel_futures=True)


@dataclass(frozen=True)
class _Steps:
    """What is done with each image of a request, apart from running the network.

    Attributes:
        batcher: what runs the network.
        detector: with the settings of the request.
        min_objectness: of the candidates to list; None for no list.
        max_pixels: maximum width x height.
    """

    batcher: Batcher
    detector: Detector
    min_objectness: float | None
    max_pixels: int

    def prepare(self, index: int, upload: Upload) -> _Prepared:
        name = upload.name or f"image {index}"
        try:
            image = read_image(upload.data, name=name, max_pixels=self.max_pixels)
        except DataError as error:
            raise Refused(422, str(error), image=index) from None
        detector = self.detector
        return _Prepared(fit([image.pixels], detector.network_wh, detector.head.resize_mode)[0], image.size_wh)

    def record(self, name: str | None, size_wh: tuple[int, int], batched: BatchedOutput) -> dict[str, Any]:
        detector = self.detector
        detections = decode(batched.output, batched.index, detector.head, size_wh, detector.settings, detector.query)
        record = image_record(name, detections)
        if self.min_objectness is not None:
            record["candidates"] = _candidates(detector, size_wh, batched, self.min_objectness)
        return record


@np.errstate(over="ignore", invalid="ignore")
def _candidates(
    detector: Detector, size_wh: tuple[int, int], batched: BatchedOutput, min_objectness: float
) -> list[dict[str, Any]]:
    """The `CandidateRecord` of each box whose objectness is above a minimum."""
    head = detector.head
    candidates = find_candidates(batched.output, batched.index, head, size_wh, min_objectness)
    pixels = cxcywh_to_xyxy(candidates.boxes_cxcywh * np.array([*size_wh, *size_wh], np.float32))
    boxes = np.clip(pixels.astype(np.float64), -LARGEST, LARGEST).round(3).tolist()
    objectness = candidates.objectness.astype(np.float64).round(6).tolist()
    listed = probable_nodes(batched.output, batched.index, head, candidates, MIN_NODE_PROBABILITY)
    return [
        {
            "box_xyxy": box,
            "objectness": score,
            "nodes": list(zip(one.nodes.tolist(), one.conditionals.astype(np.float64).round(6).tolist(), strict=True)),
        }
        for box, score, one in zip(boxes, objectness, listed, strict=True)
    ]
