"""The Label Studio backend and the CVAT function of the examples, in front of a real service in this process."""

from __future__ import annotations

import asyncio
import base64
import importlib.util
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import httpx
import pytest
from support.paths import ROOT
from support.serving import LOW, InProcess, encoded
from support.small_models import TREE

from yolo9000.checkpoints.load import load_model

EXAMPLES = ROOT / "examples"
SIZE_WH = (90, 60)
STUDIO = "http://studio.example"
CONFIG = """<View><Image name="photo" value="$photo"/><Choices name="c" toName="photo"><Choice value="x"/></Choices>
<RectangleLabels name="kind" toName="photo">{}</RectangleLabels></View>"""


def load(file: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"example_{Path(file).stem}", EXAMPLES / file)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InProcess]:
    with InProcess(tmp_path_factory.mktemp("models")) as running:
        yield running


@pytest.fixture(scope="module")
def detections(service: InProcess) -> list[dict[str, Any]]:
    answer = service.request("POST", "/v1/detect", content=encoded(3, SIZE_WH)).json()
    boxes: list[dict[str, Any]] = answer["images"][0]["detections"]
    assert len({step["name"] for box in boxes for step in box["path"]}) > 2
    return boxes


class LabelStudio:
    """What the backend gets images from; remembers the tokens that were sent."""

    def __init__(self) -> None:
        self.tokens: dict[str, str | None] = {}

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.tokens[request.url.host] = request.headers.get("Authorization")
        if request.url.path == "/data/upload/1/a.png":
            return httpx.Response(200, content=encoded(3, SIZE_WH))
        if request.url.path == "/elsewhere.png":
            return httpx.Response(302, headers={"Location": "https://other.example/b.png"})
        return (
            httpx.Response(200, content=b"not an image") if request.url.path.endswith(".txt") else httpx.Response(404)
        )


def asked(app: Any, studio: LabelStudio, *requests: tuple[str, str, Any]) -> list[httpx.Response]:
    """The backend's answers, before an ASGI service."""

    async def answers() -> list[httpx.Response]:
        module = load("label-studio/backend.py")
        service = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost")
        images = httpx.AsyncClient(transport=httpx.MockTransport(studio))
        backend = module.make_app(module.Backend(service, images, STUDIO, "secret"))
        async with httpx.AsyncClient(transport=httpx.ASGITransport(backend), base_url="http://localhost") as client:
            return [await client.request(method, url, json=body) for method, url, body in requests]

    return asyncio.run(answers())


def predict(app: Any, labels: list[str], *images: str, studio: LabelStudio | None = None) -> httpx.Response:
    config = CONFIG.format("".join(f'<Label value="{label}"/>' for label in labels))
    tasks = [{"id": number, "data": {"photo": image}} for number, image in enumerate(images)]
    body = {"tasks": tasks, "project": "1.1700000000", "label_config": config, "params": {"login": None}}
    [answer] = asked(app, studio or LabelStudio(), ("POST", "/predict", body))
    return answer


def test_label_studio_gets_the_name_of_the_model_and_that_the_backend_runs(service: InProcess) -> None:
    setup = {"project": "1.1700000000", "schema": CONFIG, "hostname": STUDIO, "access_token": "secret"}
    health, version = asked(service.service.app, LabelStudio(), ("GET", "/health", None), ("POST", "/setup", setup))
    assert (health.json()["status"], version.json()) == ("UP", {"model_version": "tree"})


def test_label_studio_gets_rectangles_in_percent(service: InProcess, detections: list[dict[str, Any]]) -> None:
    """The labels are all nodes, so that each box keeps its own: pixels of 90 x 60 are 1.11 and 1.67 percent."""
    answer = predict(service.service.app, list(TREE.names), "/data/upload/1/a.png").json()
    assert answer["model_version"] == "tree"
    [prediction] = answer["results"]
    assert prediction["model_version"] == "tree"
    assert prediction["score"] == pytest.approx(sum(box["score"] for box in detections) / len(detections))
    for result, box in zip(prediction["result"], detections, strict=True):
        value, (left, top, right, bottom) = result["value"], box["box_xyxy"]
        assert (result["from_name"], result["to_name"], result["type"]) == ("kind", "photo", "rectanglelabels")
        assert (result["original_width"], result["original_height"]) == SIZE_WH
        assert (value["rectanglelabels"], result["score"]) == ([box["name"]], box["score"])
        corners = [value["x"], value["y"], value["x"] + value["width"], value["y"] + value["height"]]
        assert corners == pytest.approx([left / 0.9, top / 0.6, right / 0.9, bottom / 0.6])


def test_label_studio_gets_the_deepest_label_that_the_project_has(
    service: InProcess, detections: list[dict[str, Any]]
) -> None:
    kinds = [box["path"][1]["name"] for box in detections if len(box["path"]) > 1]
    answer = predict(service.service.app, kinds[:1], "/data/upload/1/a.png").json()
    labels = [result["value"]["rectanglelabels"] for result in answer["results"][0]["result"]]
    assert labels == [[kind] for kind in kinds if kind == kinds[0]]
    assert len(labels) < len(detections)


def test_an_image_that_cannot_be_had_takes_nothing_from_the_others(service: InProcess) -> None:
    answer = predict(
        service.service.app, list(TREE.names), "/gone.png", "/note.txt", "http://[", "/data/upload/1/a.png"
    )
    assert [bool(one["result"]) for one in answer.json()["results"]] == [False, False, False, True]


def test_the_token_of_label_studio_goes_nowhere_else(service: InProcess) -> None:
    studio = LabelStudio()
    addresses = ["/elsewhere.png", "https://third.example/c.png", f"{STUDIO}.evil.example/d.png"]
    predict(service.service.app, list(TREE.names), *addresses, studio=studio)
    evil = {"studio.example": "Token secret", "other.example": None, "third.example": None}
    assert {host: studio.tokens[host] for host in evil} == evil
    assert set(studio.tokens.values()) == {"Token secret", None}


@pytest.mark.parametrize("config", ["<View/>", "<View>", "<!DOCTYPE v [<!ENTITY a 'b'>]><View>&a;</View>"])
def test_a_labeling_interface_without_rectangles_is_refused(service: InProcess, config: str) -> None:
    [answer] = asked(service.service.app, LabelStudio(), ("POST", "/predict", {"tasks": [], "label_config": config}))
    assert answer.status_code == 400
    assert "label_config" in answer.json()["detail"]


def test_a_service_that_is_busy_is_an_error_and_not_an_image_without_boxes() -> None:
    async def busy(scope: Any, receive: Any, send: Any) -> None:
        status = 200 if scope["path"] == "/v1/model" else 503
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": b'{"name": "tree", "detail": "queue is full"}'})

    answer = predict(busy, list(TREE.names), "/data/upload/1/a.png")
    assert (answer.status_code, "503" in answer.json()["detail"]) == (502, True)


def respond(body: str, content_type: str, status_code: int) -> SimpleNamespace:
    return SimpleNamespace(body=body, content_type=content_type, status_code=status_code)


def cvat(function: ModuleType, service: InProcess, labels: set[str], **body: Any) -> SimpleNamespace:
    """What the function answers to CVAT."""

    def to_service(request: httpx.Request) -> httpx.Response:
        answer = service.request("POST", str(request.url), content=request.content)
        return httpx.Response(answer.status_code, content=answer.content)

    client = httpx.Client(transport=httpx.MockTransport(to_service), base_url="http://localhost")
    logger = SimpleNamespace(error=lambda text: None)
    user_data = SimpleNamespace(labels=labels, service=client)
    context = SimpleNamespace(user_data=user_data, logger=logger, Response=respond)
    answer: SimpleNamespace = function.handler(context, SimpleNamespace(body=body))
    return answer


def test_cvat_gets_rectangles_in_pixels(service: InProcess, detections: list[dict[str, Any]]) -> None:
    function, image = load("cvat/main.py"), base64.b64encode(encoded(3, SIZE_WH)).decode()
    answer = cvat(function, service, set(TREE.names), image=image, threshold=LOW)
    assert (answer.status_code, answer.content_type) == (200, "application/json")
    shapes = json.loads(answer.body)
    assert [shape["label"] for shape in shapes] == [box["name"] for box in detections]
    assert [shape["points"] for shape in shapes] == [box["box_xyxy"] for box in detections]
    assert [float(shape["confidence"]) for shape in shapes] == [box["score"] for box in detections]
    assert {shape["type"] for shape in shapes} == {"rectangle"}


def test_the_threshold_of_cvat_is_the_minimum_score(service: InProcess, detections: list[dict[str, Any]]) -> None:
    function, image = load("cvat/main.py"), base64.b64encode(encoded(3, SIZE_WH)).decode()
    middle = sorted(box["score"] for box in detections)[len(detections) // 2]
    shapes = json.loads(cvat(function, service, set(TREE.names), image=image, threshold=middle).body)
    assert 0 < len(shapes) < len(detections)
    assert min(float(shape["confidence"]) for shape in shapes) >= middle


def test_the_reason_why_an_image_cannot_be_read_reaches_cvat(service: InProcess) -> None:
    answer = cvat(load("cvat/main.py"), service, set(TREE.names), image=base64.b64encode(b"not an image").decode())
    assert answer.status_code == 422
    assert "detail" in answer.body


def test_the_function_starts_from_its_file_and_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its labels are names of the bundled model's tree."""
    monkeypatch.setenv("YOLO9000_URL", "http://172.17.0.1:8000")
    monkeypatch.setenv("YOLO9000_TOKEN", "secret")
    context = SimpleNamespace(user_data=SimpleNamespace())
    load("cvat/main.py").init_context(context)
    tree = load_model("yolo9000-small").detector_head.tree
    assert tree is not None
    assert {len(tree.nodes_named(label)) for label in context.user_data.labels} == {1}
    with context.user_data.service as client:
        assert (str(client.base_url), client.headers["Authorization"]) == ("http://172.17.0.1:8000", "Bearer secret")
