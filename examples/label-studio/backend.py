"""A machine learning backend of Label Studio that asks `yolo9000 serve`.

    uvicorn --factory backend:app --port 9090

The environment: ``YOLO9000_URL`` and ``YOLO9000_TOKEN`` of the service, ``LABEL_STUDIO_URL`` and
``LABEL_STUDIO_API_KEY`` of Label Studio. A box gets the most specific label of its path down the tree that the project
has; a box without any is left out.

Source: labelstud.io, Write your own ML backend; Import pre-annotated data: rectangles in percent of the image.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean
from typing import Any
from urllib.parse import urljoin
from xml.etree import ElementTree

import httpx
from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import JSONResponse

_log = logging.getLogger("uvicorn.error")


@dataclass(frozen=True)
class Control:
    """The rectangles of a labeling configuration.

    Attributes:
        name: of the control.
        image: of the image that it is for.
        key: of the image's address in the data of a task.
        labels: that a rectangle can have.
    """

    name: str
    image: str
    key: str
    labels: frozenset[str]

    @classmethod
    def of(cls, label_config: str) -> Control:
        """The first ``RectangleLabels`` of a configuration.

        Raises:
            HTTPException: it has none on an image.
        """
        root = _parsed(label_config)
        images = {image.get("name"): image for image in root.iter("Image")}
        for control in root.iter("RectangleLabels"):
            if (image := images.get(control.get("toName"))) is not None:
                labels = frozenset(label.get("value", "") for label in control.iter("Label"))
                return cls(control.get("name", ""), image.get("name", ""), image.get("value", "").lstrip("$"), labels)
        raise HTTPException(400, "label_config: must have RectangleLabels on an Image")


def _parsed(label_config: str) -> ElementTree.Element:
    if "<!DOCTYPE" in label_config:  # entities could make it huge
        raise HTTPException(400, "label_config: must have no document type")
    try:
        return ElementTree.fromstring(label_config)  # noqa: S314
    except ElementTree.ParseError as error:
        raise HTTPException(400, f"label_config: must be XML: {error}") from error


@dataclass(frozen=True)
class Backend:
    """Who is asked.

    Attributes:
        service: client of ``yolo9000 serve``.
        images: client that gets the images of tasks.
        label_studio: address of Label Studio, to which those of its own images are relative.
        key: token of Label Studio, which nobody else gets; may be empty.
    """

    service: httpx.AsyncClient
    images: httpx.AsyncClient
    label_studio: str
    key: str = ""

    async def version(self) -> str:
        """The name of the service's model."""
        answer = await self.service.get("/v1/model")
        return str(answer.raise_for_status().json()["name"])

    async def prediction(self, task: Mapping[str, Any], control: Control) -> dict[str, Any]:
        """The boxes of a task; none, and a line in the log, where its image cannot be had or read."""
        try:
            image = await self._image(task["data"][control.key])
        except (KeyError, ValueError, httpx.HTTPError, httpx.InvalidURL) as error:
            return _nothing(task, repr(error))
        answer = await self.service.post("/v1/detect", content=image)
        if answer.status_code in (413, 422):
            return _nothing(task, answer.json()["detail"])
        record = answer.raise_for_status().json()["images"][0]
        results = [result for box in record["detections"] if (result := rectangle(box, record, control)) is not None]
        return {"result": results, "score": fmean(result["score"] for result in results) if results else 0.0}

    async def _image(self, address: str) -> bytes:
        url = urljoin(self.label_studio, address)
        own = self.key and url.startswith(self.label_studio.rstrip("/") + "/")
        headers = {"Authorization": f"Token {self.key}"} if own else {}
        answer = await self.images.get(url, headers=headers, follow_redirects=True)
        return answer.raise_for_status().content


def _nothing(task: Mapping[str, Any], reason: str) -> dict[str, Any]:
    _log.warning("task %s: %s", task.get("id"), reason)
    return {"result": [], "score": 0.0}


def rectangle(box: Mapping[str, Any], image: Mapping[str, Any], control: Control) -> dict[str, Any] | None:
    """A detection as a result of Label Studio; None if the project has no label on its path."""
    names = [step["name"] for step in box.get("path", [box])]
    label = next((name for name in reversed(names) if name in control.labels), None)
    if label is None:
        return None
    w, h = image["width"], image["height"]
    left, top, right, bottom = box["box_xyxy"]
    value = {"x": 100 * left / w, "y": 100 * top / h, "width": 100 * (right - left) / w}
    value |= {"height": 100 * (bottom - top) / h, "rotation": 0, "rectanglelabels": [label]}
    result = {"type": "rectanglelabels", "from_name": control.name, "to_name": control.image, "value": value}
    return result | {"original_width": w, "original_height": h, "image_rotation": 0, "score": box["score"]}


def make_app(backend: Backend) -> FastAPI:
    """The three routes that Label Studio asks for predictions; where the service fails they answer 502."""
    app = FastAPI(title="yolo9000 for Label Studio")

    @app.get("/health")
    async def health() -> dict[str, str]:
        return {"status": "UP", "model_class": "yolo9000"}

    @app.post("/setup")
    async def setup() -> dict[str, str]:
        return {"model_version": await backend.version()}

    @app.post("/predict")
    async def predict(request: Request) -> dict[str, Any]:
        asked = await request.json()
        control, version = Control.of(asked["label_config"]), await backend.version()
        predictions = [await backend.prediction(task, control) for task in asked["tasks"]]
        return {"results": [one | {"model_version": version} for one in predictions], "model_version": version}

    @app.exception_handler(httpx.HTTPError)
    async def bad_gateway(_: Request, error: httpx.HTTPError) -> JSONResponse:
        return JSONResponse({"detail": f"yolo9000 serve: {error}"}, 502)

    return app


def app() -> FastAPI:
    """The application with the addresses and tokens of the environment."""
    token = os.environ.get("YOLO9000_TOKEN")
    service = httpx.AsyncClient(
        base_url=os.environ.get("YOLO9000_URL", "http://127.0.0.1:8000"),
        headers={"Authorization": f"Bearer {token}"} if token else {},
        timeout=60,
    )
    label_studio = os.environ.get("LABEL_STUDIO_URL", "http://127.0.0.1:8080")
    return make_app(
        Backend(service, httpx.AsyncClient(timeout=60), label_studio, os.environ.get("LABEL_STUDIO_API_KEY", ""))
    )
