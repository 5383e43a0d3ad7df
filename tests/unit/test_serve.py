"""The service's application: what it answers, what it refuses, and what it says of itself."""

from __future__ import annotations

import hashlib
import json
import logging
import re
import socket
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError
from support.serving import LOW, InProcess, encoded, load_small
from support.small_models import TREE

from yolo9000.errors import ConfigError
from yolo9000.inference.detector import Detector
from yolo9000.io.images import read_image
from yolo9000.io.records import image_record
from yolo9000.serve.logs import JsonFormatter, request_id_of
from yolo9000.serve.models import name_models
from yolo9000.serve.schemas import EXAMPLE_ANSWER, DetectAnswer, DetectQuery, LabelTree, ModelDescription
from yolo9000.serve.server import listen
from yolo9000.serve.settings import ServeSettings


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InProcess]:
    with InProcess(tmp_path_factory.mktemp("models"), max_images=3, max_pixels=20_000, max_bytes=60_000) as service:
        yield service


@pytest.fixture(scope="module")
def detector(running: InProcess) -> Detector:
    return load_small(running.models["tree"])


def alone(detector: Detector, data: bytes, source: str | None = None) -> dict:
    """The record of an image without a service."""
    (detections,) = detector.detect([read_image(data).pixels])
    return image_record(source, detections)


def assert_close(answer: dict, record: dict) -> None:
    """Equal, scores and boxes up to the rounding of another order of additions."""
    assert list(answer) == list(record)
    for key, value in record.items():
        if isinstance(value, dict):
            assert_close(answer[key], value)
        elif isinstance(value, list):
            assert len(answer[key]) == len(value)
            for one, other in zip(answer[key], value, strict=True):
                assert_close({"": one}, {"": other})
        elif isinstance(value, float):
            assert answer[key] == pytest.approx(value, abs=1e-4, rel=1e-4)
        else:
            assert answer[key] == value


def test_one_image(running: InProcess, detector: Detector) -> None:
    response = running.request("POST", "/v1/detect", content=encoded(1, (90, 60), "JPEG"))
    assert response.status_code == 200
    answer = response.json()
    assert (answer["version"], answer["model"], len(answer["images"])) == (1, "tree", 1)
    assert_close(answer["images"][0], alone(detector, encoded(1, (90, 60), "JPEG")))
    assert answer["images"][0]["detections"]
    assert DetectAnswer.model_validate(answer)


def test_several_images_in_their_order_with_their_names(running: InProcess, detector: Detector) -> None:
    sent = [(f"{seed} ü.png", encoded(seed, (40 + 30 * seed, 50))) for seed in range(3)]
    response = running.request("POST", "/v1/detect", files=[("any", file) for file in sent])
    records = response.json()["images"]
    assert len(records) == 3
    for record, (name, data) in zip(records, sent, strict=True):
        assert_close(record, alone(detector, data, name))


def test_requests_at_once_are_answered_as_alone(running: InProcess, detector: Detector) -> None:
    images = [encoded(seed, (60, 40 + seed)) for seed in range(12)]
    answers = running.requests([("POST", "/v1/detect", {"content": data}) for data in images])
    for answer, data in zip(answers, images, strict=True):
        assert_close(answer.json()["images"][0], alone(detector, data))


def test_settings_of_a_request_are_its_own(running: InProcess, detector: Detector) -> None:
    data = encoded(2)
    asked = {"conf_threshold": 0.05, "hier_thresh": 0.9, "max_detections": 2, "hier_decoding": "darknet"}
    within = {"within": ["dog", "n6"], "conf_threshold": LOW}
    answers = running.requests(
        [("POST", "/v1/detect", {"content": data, "params": params}) for params in (asked, within, {})]
    )
    detectors = [detector.with_settings(**asked), detector.within(["dog", "n6"]), detector]
    for answer, chosen in zip(answers, detectors, strict=True):
        assert_close(answer.json()["images"][0], alone(chosen, data))


def test_classes_filter(running: InProcess, detector: Detector) -> None:
    for name, below in (("dog", {2, 4, 5}), ("n1", {1, 6})):
        for seed in range(3):
            params = {"classes": name, "hier_thresh": 0.1}
            answer = running.request("POST", "/v1/detect", content=encoded(seed), params=params).json()
            assert {one["label"] for one in answer["images"][0]["detections"]} <= below


def test_another_model(running: InProcess) -> None:
    response = running.request("POST", "/v1/detect?model=flat&candidates=0.05", content=encoded(3))
    answer = response.json()
    assert answer["model"] == "flat"
    assert_close(
        {"a": answer["images"][0]["detections"]},
        {"a": alone(load_small(running.models["flat"]), encoded(3))["detections"]},
    )
    for candidate in answer["images"][0]["candidates"]:
        assert sum(probability for _, probability in candidate["nodes"]) == pytest.approx(1, abs=0.05)  # a softmax


def test_candidates_hold_every_detection(running: InProcess) -> None:
    response = running.request("POST", "/v1/detect", content=encoded(4), params={"candidates": LOW, "hier_thresh": 0.1})
    (image,) = DetectAnswer.model_validate(response.json()).images
    assert image.candidates
    assert image.detections
    for detection in image.detections:
        clipped = [np.clip(one.box_xyxy, 0, [90, 60, 90, 60]) for one in image.candidates]
        same = [i for i, box in enumerate(clipped) if np.abs(box - detection.box_xyxy).max() < 2e-3]
        listed = [dict(image.candidates[i].nodes) for i in same]
        path = [(step.node, pytest.approx(step.conditional, abs=2e-6)) for step in detection.path]
        assert any(all(nodes.get(node) == conditional for node, conditional in path) for nodes in listed)


def test_model_and_tree(running: InProcess) -> None:
    model = ModelDescription.model_validate(running.request("GET", "/v1/model").json())
    assert (model.name, model.models, model.kind, model.labels) == ("tree", ["tree", "flat"], "tree", 7)
    assert (model.network_wh, model.limits.max_images, model.settings.conf_threshold) == ((72, 48), 3, LOW)
    response = running.request("GET", "/v1/tree")
    tree = LabelTree.model_validate(response.json())
    assert (tree.ids, tree.names, tree.parents) == (list(TREE.ids), list(TREE.names), TREE.parents.tolist())
    again = running.request("GET", "/v1/tree", headers={"If-None-Match": response.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    flat = running.request("GET", "/v1/tree?model=flat").json()
    assert (flat["kind"], flat["parents"], flat["names"][1]) == ("softmax", [-1] * 5, "dog")
    assert running.request("GET", "/v1/model?model=flat").json()["fingerprint"] == (
        hashlib.sha256(b"cup\ndog\ncat\nkite\nbus").hexdigest()
    )


REFUSED = [
    ({"content": b""}, "", 400, "must have an image"),
    ({"content": b"hello"}, "", 422, ", HEIC image, got text"),
    ({"json": {"url": "http://127.0.0.1/a.png"}}, "", 422, "image 0: must be a JPEG"),
    ({"content": encoded(1)[:100]}, "", 422, "image 0: truncated or damaged PNG"),
    ({"content": encoded(1, (200, 101))}, "", 422, "at most 20,000 pixels"),
    ({"content": bytes(60_001)}, "", 413, "at most 60,000 bytes"),
    ({"content": b"a", "headers": {"Content-Type": "multipart/form-data"}}, "", 400, "must name its boundary"),
    ({"content": b"a", "headers": {"Content-Type": "multipart/form-data; boundary=b"}}, "", 400, "well formed"),
    (
        {"content": b"--b\r\n\r\nGIF", "headers": {"Content-Type": "multipart/form-data; boundary=b"}},
        "",
        400,
        "end with",
    ),
    ({"files": [("a", encoded(1, (30, 20)))] * 4}, "", 413, "at most 3 images"),
    ({"files": [("a", ("a.png", encoded(1))), ("b", ("b.png", b"GIF89a"))]}, "", 422, "b.png: truncated"),
    ({"content": encoded(1)}, "?hier_thresh=1", 422, "hier_thresh: must be less than 1, got '1'"),
    ({"content": encoded(1)}, "?conf_threshold=0", 422, "conf_threshold: must be at least 0.01, got '0'"),
    ({"content": encoded(1)}, "?conf=0.5", 422, "conf: unknown parameter (did you mean 'conf_threshold'?)"),
    ({"content": encoded(1)}, "?within=horse", 422, "'horse' must be the id or name of a node"),
    ({"content": encoded(1)}, "?within=dog&model=flat", 422, "within: needs a model with a label tree"),
    ({"content": encoded(1)}, "?classes=dgo", 422, "classes: the model has no class 'dgo' (did you mean 'dog'?)"),
    ({"content": encoded(1)}, "?model=cat", 404, "must be one of tree, flat, got 'cat'"),
]


@pytest.mark.parametrize(("sent", "query", "status", "detail"), REFUSED)
def test_what_cannot_be_answered_is_refused_in_one_line(
    running: InProcess, sent: dict, query: str, status: int, detail: str
) -> None:
    response = running.request("POST", f"/v1/detect{query}", **sent)
    problem = response.json()
    assert (response.status_code, problem["status"]) == (status, status), problem
    assert response.headers["content-type"] == "application/problem+json"
    assert detail in problem["detail"]
    assert "\n" not in problem["detail"]
    assert problem["request_id"] == response.headers["x-request-id"]
    of_image = re.match(r"image (\d)|b.png()", problem["detail"])
    assert problem["image"] == (int(of_image[1] or 1) if of_image else None)


def test_the_page(running: InProcess) -> None:
    for path, kind in (("/", "text/html"), ("/walk.js", "text/javascript"), ("/design.css", "text/css")):
        response = running.request("GET", path)
        assert (response.status_code, response.headers["content-type"].partition(";")[0]) == (200, kind)
        assert "default-src 'self'" in response.headers["content-security-policy"]
    for path in ("/../app.py", "/%2e%2e/app.py", "/..%2fapp.py", "//etc/passwd", "/app.py"):
        assert running.request("GET", path).status_code == 404


def test_other_paths_and_methods(running: InProcess) -> None:
    for method, path, status in (("DELETE", "/v1/detect", 405), ("POST", "/v1/tree", 405), ("GET", "/v1/nothing", 404)):
        response = running.request(method, path)
        assert (response.status_code, response.json()["status"]) == (status, status)


def test_a_full_queue_answers_503(tmp_path: Path) -> None:
    with InProcess(tmp_path, queue_size=2, max_images=4) as service:
        several = {"files": [("a", encoded(1, (30, 20)))] * 3}
        response = service.request("POST", "/v1/detect", **several)
        assert response.status_code == 503
        assert int(response.headers["retry-after"]) >= 1
        many = service.requests([("POST", "/v1/detect", {"content": encoded(1)})] * 12)
        statuses = [response.status_code for response in many]
        assert set(statuses) == {200, 503}
        assert statuses.count(200) >= 2
        assert service.request("POST", "/v1/detect", content=encoded(1)).status_code == 200


def test_a_full_buffer_answers_503(tmp_path: Path) -> None:
    with InProcess(tmp_path, buffer_bytes=100) as service:
        assert service.request("POST", "/v1/detect", content=encoded(1)).status_code == 503
        assert service.request("POST", "/v1/detect", content=b"hello").status_code == 422  # nothing is held any more


def test_token(tmp_path: Path) -> None:
    with InProcess(tmp_path, token="s3cret-ü") as service:
        for path in ("/v1/model", "/v1/tree", "/metrics"):
            wrong = ["", "Bearer", "Bearer s3cret", "Basic s3cret-ü", "Bearer s3cret-üx"]
            for header in wrong:
                response = service.request("GET", path, headers={"Authorization": header.encode()})
                assert (response.status_code, response.headers["www-authenticate"]) == (401, "Bearer")
            right = {"Authorization": "Bearer s3cret-ü".encode()}
            assert service.request("GET", path, headers=right).status_code == 200
        assert service.request("POST", "/v1/detect", content=encoded(1)).status_code == 401
        assert service.request("GET", "/healthz").status_code == 200
        assert service.request("GET", "/readyz").status_code == 200


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("LocalHost", 200),
        ("localhost:8000", 200),
        ("127.0.0.1:1", 200),
        ("[::1]:80", 200),
        ("evil.example", 400),
        ("", 400),
    ],
)
def test_on_a_loopback_address_other_hosts_are_refused(running: InProcess, host: str, status: int) -> None:
    assert running.request("GET", "/healthz", headers={"Host": host}).status_code == status


def test_elsewhere_any_host_is_accepted() -> None:
    assert ServeSettings(host="0.0.0.0").accepted_hosts == ()
    assert ServeSettings(host="0.0.0.0", allowed_hosts=["A.example"]).accepted_hosts == ("a.example",)
    assert ServeSettings().accepted_hosts == ("127.0.0.1", "::1", "localhost")


def test_cors_is_off_unless_it_is_asked_for(running: InProcess, tmp_path: Path) -> None:
    origin = {"Origin": "https://a.example", "Access-Control-Request-Method": "POST"}
    assert "access-control-allow-origin" not in running.request("GET", "/v1/model", headers=origin).headers
    assert running.request("OPTIONS", "/v1/detect", headers=origin).status_code == 405
    with InProcess(tmp_path, cors_origins=["https://a.example"]) as service:
        response = service.request("OPTIONS", "/v1/detect", headers=origin)
        assert (response.status_code, response.headers["access-control-allow-origin"]) == (200, "https://a.example")
        other = service.request("GET", "/v1/model", headers={"Origin": "https://b.example"})
        assert "access-control-allow-origin" not in other.headers


def test_metrics(running: InProcess) -> None:
    def value(name: str) -> float:
        lines = running.request("GET", "/metrics").text.splitlines()
        return next((float(line.rpartition(" ")[2]) for line in lines if line.startswith(f"{name} ")), 0.0)

    images, bad = 'yolo9000_images_total{model="flat"}', 'yolo9000_requests_total{route="/v1/detect",status="422"}'
    before = value(images), value(bad)
    running.request("POST", "/v1/detect?model=flat", files=[("a", encoded(1, (30, 20)))] * 2)
    running.request("POST", "/v1/detect?model=flat", content=b"hello")
    assert (value(images), value(bad)) == (before[0] + 2, before[1] + 1)
    assert value("yolo9000_images_in_service") == 0
    assert value('yolo9000_batch_size_sum{model="flat"}') >= 2


def test_readiness_ends_when_it_drains(tmp_path: Path) -> None:
    with InProcess(tmp_path) as service:
        assert service.request("GET", "/readyz").json() == {"status": "ready"}
        service.service.gate.draining = True
        response = service.request("GET", "/readyz")
        assert (response.status_code, response.headers["connection"]) == (503, "close")
        assert service.request("GET", "/healthz").status_code == 200
        assert service.request("POST", "/v1/detect", content=encoded(1)).status_code == 200


def test_what_went_wrong_inside_is_logged_and_not_answered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with InProcess(tmp_path) as service:

        def fail(_: object) -> None:
            raise RuntimeError("a secret")

        monkeypatch.setattr(service.service.models.get("tree").detector.engine, "run", fail)
        response = service.request("POST", "/v1/detect", content=encoded(1), headers={"X-Request-ID": "abc-1"})
        assert response.status_code == 500
        assert response.json()["detail"] == "internal error; the log has more"
        assert response.headers["x-request-id"] == "abc-1"
        assert "a secret" in caplog.text
        assert service.request("POST", "/v1/detect?model=flat", content=encoded(1)).status_code == 200


def test_logs_are_json_with_the_request(running: InProcess, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "yolo9000.serve"):
        running.request("POST", "/v1/detect?classes=dog", content=encoded(1), headers={"X-Request-ID": "abc-2"})
    line = json.loads(JsonFormatter().format(caplog.records[-1]))
    assert (line["event"], line["request_id"], line["status"]) == ("request", "abc-2", 200)
    assert (line["method"], line["path"], line["model"], line["images"]) == ("POST", "/v1/detect", "tree", 1)
    assert line["bytes"] == len(encoded(1))


def test_request_ids_are_taken_only_if_plain() -> None:
    assert request_id_of("a.B-3_") == "a.B-3_"
    for sent in (None, "", "a b", "a\n", "x" * 65, "ü"):
        assert request_id_of(sent) != sent
        assert len(request_id_of(sent)) == 16


def test_openapi_describes_what_is_answered(running: InProcess) -> None:
    document = running.request("GET", "/openapi.json").json()
    detect = document["paths"]["/v1/detect"]["post"]
    assert {parameter["name"] for parameter in detect["parameters"]} == set(DetectQuery.model_fields)
    content = detect["responses"]["200"]["content"]["application/json"]
    assert content["schema"] == {"$ref": "#/components/schemas/DetectAnswer"}
    assert content["example"] == EXAMPLE_ANSWER
    assert DetectAnswer.model_validate(EXAMPLE_ANSWER)
    assert set(detect["requestBody"]["content"]) == {"image/*", "application/octet-stream", "multipart/form-data"}
    problems = [answer["content"] for status, answer in detect["responses"].items() if status[0] != "2"]
    assert all(content["application/problem+json"]["schema"]["$ref"].endswith("/Problem") for content in problems)
    score = document["components"]["schemas"]["DetectionRecord"]["properties"]["score"]
    assert (score["minimum"], score["maximum"]) == (0, 1)


def test_names_of_models() -> None:
    assert name_models(["a/b.onnx", "cats=c/d.cfg", "yolo9000-small"]) == {
        "b": "a/b.onnx",
        "cats": "c/d.cfg",
        "yolo9000-small": "yolo9000-small",
    }
    for wrong in (["a/x.onnx", "b/x.onnx"], ["=a.onnx"], ["a="]):
        with pytest.raises(ConfigError, match="models: must be models with names of their own"):
            name_models(wrong)


@pytest.mark.parametrize("wrong", [{"port": 70000}, {"max_batch": 16}, {"max_wait_ms": -1}, {"hue": 1}])
def test_settings_have_ranges(wrong: dict) -> None:
    with pytest.raises(ValidationError):
        ServeSettings(**wrong)


def test_connections_do_not_wait_for_acknowledgements() -> None:
    with listen("127.0.0.1", 0) as listening, socket.create_connection(listening.getsockname()):
        connection, _ = listening.accept()
        with connection:
            assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
