"""A function of CVAT that asks `yolo9000 serve`: CVAT sends one image, and gets rectangles.

A box gets the most specific label of its path down the tree that ``function.yaml`` has; a box without any is left out.

Source: docs.cvat.ai, Serverless tutorial; nuclio.io, Python runtime.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import httpx
import yaml


def init_context(context: Any) -> None:
    """What nuclio calls once in each worker."""
    context.user_data.labels = read_labels(Path(__file__).with_name("function.yaml"))
    token = os.environ.get("YOLO9000_TOKEN")
    context.user_data.service = httpx.Client(
        base_url=os.environ["YOLO9000_URL"], headers={"Authorization": f"Bearer {token}"} if token else {}, timeout=25
    )


def read_labels(file: Path) -> set[str]:
    """The names of the labels that CVAT offers."""
    function = yaml.safe_load(file.read_text(encoding="utf-8"))
    return {label["name"] for label in json.loads(function["metadata"]["annotations"]["spec"])}


def handler(context: Any, event: Any) -> Any:
    """What nuclio calls for each image: ``image`` in base64, and perhaps a ``threshold`` of the score."""
    threshold = event.body.get("threshold")
    parameters = {} if threshold is None else {"conf_threshold": max(float(threshold), 0.01)}
    image = base64.b64decode(event.body["image"])
    answer = context.user_data.service.post("/v1/detect", content=image, params=parameters)
    if answer.is_error:
        context.logger.error(answer.text)
        return context.Response(answer.text, content_type="text/plain", status_code=answer.status_code)
    shapes = rectangles(answer.json()["images"][0]["detections"], context.user_data.labels)
    return context.Response(json.dumps(shapes), content_type="application/json", status_code=200)


def rectangles(detections: list[Mapping[str, Any]], labels: Collection[str]) -> list[dict[str, Any]]:
    """Detections as shapes of CVAT, in pixels."""
    shapes = []
    for box in detections:
        names = [step["name"] for step in box.get("path", [box])]
        label = next((name for name in reversed(names) if name in labels), None)
        if label is not None:
            shape = {"confidence": str(box["score"]), "label": label, "points": box["box_xyxy"], "type": "rectangle"}
            shapes.append(shape)
    return shapes
