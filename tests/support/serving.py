"""A service of small models, in this process and in one of its own; images to send to it."""

from __future__ import annotations

import asyncio
import io
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from PIL import Image

from support.small_models import write_flat, write_tree_model
from yolo9000.inference.detector import Detector
from yolo9000.serve.app import Service
from yolo9000.serve.metrics import Metrics
from yolo9000.serve.models import Models
from yolo9000.serve.settings import ServeSettings

LOW = 0.02  # a confidence threshold at which networks with random weights detect something


def encoded(seed: int, size_wh: tuple[int, int] = (90, 60), kind: str = "PNG") -> bytes:
    """An image of random blocks as a file."""
    rng = np.random.default_rng(seed)
    blocks = rng.integers(0, 256, (6, 9, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(blocks).resize(size_wh, Image.Resampling.NEAREST).save(stream, format=kind)
    return stream.getvalue()


def load_small(cfg: str) -> Detector:
    return Detector.load(cfg, engine="onnxruntime", threads=1, conf_threshold=LOW, hier_thresh=0.3)


class InProcess:
    """A service whose application is called without a network; a context manager.

    Attributes:
        service: the service.
        models: the files of its models by name.
    """

    def __init__(self, folder: Path, *, token: str | None = None, **settings: Any) -> None:
        self.models = {"tree": str(write_tree_model(folder)), "flat": str(write_flat(folder))}
        chosen = ServeSettings(**settings)
        metrics = Metrics()
        self.service = Service(Models(self.models, load_small, chosen, metrics), chosen, metrics, token=token)

    def __enter__(self) -> InProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self.service.close()

    def request(self, method: str, url: str, **arguments: Any) -> httpx.Response:
        """The answer to one request."""
        (answer,) = self.requests([(method, url, arguments)])
        return answer

    def requests(self, several: list[tuple[str, str, dict[str, Any]]]) -> list[httpx.Response]:
        """The answers to requests that are made at once."""

        async def answers() -> list[httpx.Response]:
            transport = httpx.ASGITransport(self.service.app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
                return await asyncio.gather(*(client.request(m, url, **given) for m, url, given in several))

        return asyncio.run(answers())


@contextmanager
def served(*arguments: str, folder: Path, **environment: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """``yolo9000 serve`` in a process of its own, and its address; killed at the end if it still runs."""
    command = [sys.executable, "-m", "yolo9000", "serve", "--port", "0", "--engine", "onnxruntime", *arguments]
    with (folder / "service.log").open("w") as log:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=log, text=True, cwd=folder, env=os.environ | environment
        )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        match = re.search(r"http://\S+", line)
        assert match, (line, (folder / "service.log").read_text())
        yield process, match[0]
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
        process.communicate()
