"""What a service counts and measures, for Prometheus."""

from __future__ import annotations

from functools import partial
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

__all__ = ["Metrics"]

SECONDS = (0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
SIZES = (1, 2, 4, 8)


class Metrics:
    """The metrics of one service, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        counter: Any
        histogram: Any
        gauge: Any
        counter, histogram, gauge = (partial(kind, registry=self.registry) for kind in (Counter, Histogram, Gauge))
        self._requests = counter("yolo9000_requests", "Requests answered.", ("route", "status"))
        about = "From the first byte of a request to its answer."
        self._request_seconds = histogram("yolo9000_request_seconds", about, ("route",), buckets=SECONDS)
        self.images = counter("yolo9000_images", "Images answered with detections.", ("model",))
        self.in_service = gauge("yolo9000_images_in_service", "Images admitted and not yet answered.")
        self._batch_size = histogram("yolo9000_batch_size", "Images run at a time.", ("model",), buckets=SIZES)
        about = "Time of the network for a batch."
        self._inference_seconds = histogram("yolo9000_inference_seconds", about, ("model",), buckets=SECONDS)
        self.reloads = counter("yolo9000_reloads", "Models loaded again.", ("model", "result"))

    def answered(self, route: str, status: int, seconds: float) -> None:
        """Count a request."""
        self._requests.labels(route, status).inc()
        self._request_seconds.labels(route).observe(seconds)

    def ran_batch(self, model: str, size: int, seconds: float) -> None:
        """Count a batch."""
        self._batch_size.labels(model).observe(size)
        self._inference_seconds.labels(model).observe(seconds)

    def text(self) -> bytes:
        """All metrics in Prometheus's text format."""
        return generate_latest(self.registry)
