"""The models of a service: loaded, run in batches, and loaded again without a request noticing."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Mapping
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np

from yolo9000.errors import ConfigError, YoloError
from yolo9000.inference.detector import Detector, head_output
from yolo9000.inference.head_output import HeadOutput
from yolo9000.inference.query import Query
from yolo9000.serve.batching import Batcher
from yolo9000.serve.describe import fingerprint, model_record, tree_record
from yolo9000.serve.metrics import Metrics
from yolo9000.serve.problems import Refused
from yolo9000.serve.schemas import DetectQuery, Limits, ModelDescription
from yolo9000.serve.settings import ServeSettings

__all__ = ["Models", "ServedModel", "name_models"]

QUERIES = 64  # that are remembered: on a large tree one takes longer to prepare than a small network to run

log = logging.getLogger("yolo9000.serve")


def name_models(models: list[str]) -> dict[str, str]:
    """Names of models and what to load: ``NAME=MODEL``, or a model that is called by its file's name.

    Raises:
        ConfigError: two models have one name.
    """
    named: dict[str, str] = {}
    for text in models:
        name, equals, model = text.partition("=")
        if not equals:
            name, model = Path(text).stem if Path(text).suffix else text, text
        if not name or not model or name in named:
            raise ConfigError(f"must be models with names of their own (NAME=MODEL), got {text!r}", argument="models")
        named[name] = model
    return named


class ServedModel:
    """One model of a service.

    Attributes:
        name: what requests call it.
        detector: the model, loaded.
        batcher: what runs it.
    """

    def __init__(self, name: str, detector: Detector, settings: ServeSettings, metrics: Metrics) -> None:
        self.name = name
        self.detector = detector
        self._settings = settings
        for size in _batch_sizes(settings.max_batch):
            detector.warm_up(size)
        self.batcher = Batcher(
            self._run,
            max_batch=settings.max_batch,
            max_wait=settings.max_wait_ms / 1000,
            observe=lambda size, seconds: metrics.ran_batch(name, size, seconds),
        )
        self._query = lru_cache(QUERIES)(self._make_query)

    def _run(self, images: np.ndarray) -> HeadOutput:
        detector = self.detector
        return head_output(detector.model, detector.engine.run(images), detector.network_wh)

    def asked(self, query: DetectQuery) -> Detector:
        """The detector with the settings and the labels that a request asks for.

        Raises:
            YoloError: a label or a setting is wrong.
        """
        detector = self.detector.with_query(self._query(tuple(query.within), tuple(query.classes)))
        given = query.settings()
        return detector.with_settings(**given) if given else detector

    def _make_query(self, within: tuple[str, ...], classes: tuple[str, ...]) -> Query:
        head, query = self.detector.head, self.detector.query
        query = query.with_within(head, within) if within else query
        return query.with_classes(head, classes) if classes else query

    def description(self, names: list[str]) -> ModelDescription:
        """What the model is and how it is set.

        Args:
            names: of all models of the service.
        """
        detector, limits = self.detector, {name: getattr(self._settings, name) for name in Limits.model_fields}
        record = model_record(detector.model, self.name, detector.settings)
        return ModelDescription(**record | {"network_wh": detector.network_wh, "models": names, "limits": limits})

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the labels."""
        return fingerprint(self.detector.head)

    @cached_property
    def label_tree(self) -> bytes:
        """The JSON of a `LabelTree`."""
        return json.dumps(tree_record(self.detector.model, self.name), ensure_ascii=False).encode()


def _batch_sizes(max_batch: int) -> list[int]:
    """The powers of two up to a size."""
    return [1 << power for power in range(max_batch.bit_length())]


class Models:
    """The models of a service, by name.

    Args:
        sources: what to load for each name; the first is the default.
        load: loads a detector.
        settings: of the service.
        metrics: of the service.

    Raises:
        YoloError: a model cannot be loaded.
    """

    def __init__(
        self, sources: Mapping[str, str], load: Callable[[str], Detector], settings: ServeSettings, metrics: Metrics
    ) -> None:
        self._sources = sources
        self._load = load
        self._settings = settings
        self._metrics = metrics
        self._served = {name: self._serve(name) for name in sources}

    def _serve(self, name: str) -> ServedModel:
        return ServedModel(name, self._load(self._sources[name]), self._settings, self._metrics)

    @property
    def names(self) -> list[str]:
        """Names of the models, the default first."""
        return list(self._served)

    def get(self, name: str | None) -> ServedModel:
        """A model by its name; the first one for None.

        Raises:
            Refused: 404, no model has that name.
        """
        name = self.names[0] if name is None else name
        if name not in self._served:
            raise Refused(404, f"must be one of {', '.join(self.names)}, got {name!r}", argument="model")
        return self._served[name]

    async def reload(self) -> None:
        """Load every model again. Requests go on; those that have begun are answered by the model they began with.

        A model that cannot be loaded stays as it is, and the log says why.
        """
        for name in self.names:
            try:
                loaded = await asyncio.to_thread(self._serve, name)
            except YoloError as error:
                self._metrics.reloads.labels(name, "failed").inc()
                log.error("reload failed", extra={"model": name, "detail": str(error)})
                continue
            # On the event loop, as is the choice of a request's model: no request can choose one that is closed.
            replaced, self._served[name] = self._served[name], loaded
            replaced.batcher.close()
            self._metrics.reloads.labels(name, "done").inc()
            log.info("reloaded", extra={"model": name})

    def close(self) -> None:
        """Stop when every image that was queued has been run."""
        for served in self._served.values():
            served.batcher.close(wait=True)
