"""Requests made of valid ones by chance: whatever is sent, the service answers 2xx, 4xx or 503."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from support.paths import BATTERY
from support.serving import InProcess, encoded

from yolo9000.serve.problems import Problem
from yolo9000.serve.schemas import DetectAnswer, DetectQuery

REQUESTS = 20_000 if BATTERY else 240
AT_ONCE = 40
KINDS = ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP")
IMAGES = [encoded(seed, (30 + 7 * seed, 40), kind) for seed, kind in enumerate(KINDS)]
PATHS = (
    "/v1/model",
    "/v1/tree",
    "/healthz",
    "/readyz",
    "/metrics",
    "/openapi.json",
    "/",
    "/walk.js",
    "/v1/detect/",
    "/v1",
)
WORDS = (
    "dog",
    "n6",
    "animal",
    "horse",
    "",
    "conditional",
    "darknet",
    "label",
    "path",
    "tree",
    "flat",
    "ü\u202e\x00",
    "9" * 400,
)
VALUES = ("0.5", "0.01", "1", "0", "-1", "1e-9", "1e400", "nan", "inf", "0x1", "1_0", "300", " 7", "true", "[]")
TYPES = (
    "image/png",
    "application/json",
    "",
    "multipart/form-data",
    "multipart/form-data; boundary=XX",
    "text/\xfc; a=b; boundary=",
)


def request_by(dice: random.Random) -> tuple[str, str, dict[str, Any]]:
    """A request."""
    headers = {"Content-Type": dice.choice(TYPES).encode("latin-1")} if dice.random() < 0.3 else {}
    if dice.random() < 0.1:
        headers[
            dice.choice(["X-Request-ID", "Authorization", "Content-Length", "Expect", "If-None-Match", "Range"])
        ] = dice.choice(["*", "Bearer \xfc", "-1", "x" * 3000, "bytes=0-", "9999999999"]).encode("latin-1")
    given: dict[str, Any] = {"params": parameters_by(dice), "headers": headers}
    if dice.random() < 0.1:
        return dice.choice(["GET", "PUT", "HEAD", "OPTIONS"]), dice.choice(PATHS), given
    if dice.random() < 0.3 and "Content-Type" not in headers:
        given["files"] = [(dice.choice(WORDS), (dice.choice(WORDS), body_by(dice))) for _ in range(dice.randrange(5))]
    else:
        given["content"] = form_by(dice) if dice.random() < 0.3 else body_by(dice)
    return "POST", "/v1/detect", given


def parameters_by(dice: random.Random) -> list[tuple[str, str]]:
    names = [*DetectQuery.model_fields, "conf", "model.name", ""]
    count = dice.choice([0, 0, 0, 1, 2, 5])
    return [(dice.choice(names), dice.choice(dice.choice([WORDS, VALUES]))) for _ in range(count)]


def flipped(data: bytearray, dice: random.Random) -> None:
    for _ in range(dice.choice([1, 5, 50])):
        data[dice.randrange(len(data))] = dice.randrange(256)


def cut(data: bytearray, dice: random.Random) -> None:
    start = dice.randrange(len(data))
    del data[start : start + dice.choice([1, 10, len(data)])]


def doubled(data: bytearray, dice: random.Random) -> None:
    data += data[dice.randrange(len(data)) :]


CHANGES: tuple[Callable[[bytearray, random.Random], None], ...] = (flipped, cut, doubled)


def body_by(dice: random.Random) -> bytes:
    """An image, more or less."""
    data = bytearray(dice.choice(IMAGES))
    for _ in range(dice.choice([0, 1, 2])):
        if data:
            dice.choice(CHANGES)(data, dice)
    return bytes(data) * (20 if dice.random() < 0.01 else 1)


def form_by(dice: random.Random) -> bytes:
    """A form of an image, more or less."""
    head = b'--XX\r\nContent-Disposition: form-data; name="a"; filename="b"\r\n\r\n'
    data = bytearray(head + dice.choice(IMAGES) + b"\r\n--XX--\r\n")
    if dice.random() < 0.7:
        dice.choice(CHANGES)(data, dice)
    return bytes(data)


def test_no_request_makes_it_fail(tmp_path: Path) -> None:
    dice = random.Random(5)  # noqa: S311
    statuses: Counter[int] = Counter()
    with InProcess(tmp_path, max_bytes=100_000, max_images=3, max_pixels=20_000, queue_size=30) as service:
        for _ in range(REQUESTS // AT_ONCE):
            several = [request_by(dice) for _ in range(AT_ONCE)]
            for request, answer in zip(several, service.requests(several), strict=True):
                assert 200 <= answer.status_code < 500 or answer.status_code == 503, (request, answer.text)
                statuses[answer.status_code] += 1
                if answer.headers.get("content-type") == "application/problem+json" and answer.content:
                    assert "\n" not in Problem.model_validate_json(answer.content).detail
                elif request[1] == "/v1/detect" and answer.status_code == 200:
                    assert DetectAnswer.model_validate_json(answer.content).images
    assert {200, 400, 404, 422} <= set(statuses)
