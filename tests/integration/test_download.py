"""The command `yolo9000 download` against a server on this machine."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.small_models import random_model, small_architecture
from support.web_server import Resource, WebServer, web_server

from yolo9000.checkpoints.darknet import released
from yolo9000.checkpoints.darknet.released import RELEASED, Released
from yolo9000.checkpoints.darknet.weights import write_weights
from yolo9000.cli.app import run
from yolo9000.errors import EXIT_OK, EXIT_USAGE

SMALL = Released("small", small_architecture(20), "small.weights")


@pytest.fixture(autouse=True)
def _in_a_cache_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(released.platformdirs, "user_cache_path", lambda name, appauthor: tmp_path / "cache")
    monkeypatch.setitem(RELEASED, "small", SMALL)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def mirror(tmp_path: Path) -> Iterator[WebServer]:
    write_weights(tmp_path / "w", random_model(SMALL.architecture, 1))
    with web_server(weights=Resource((tmp_path / "w").read_bytes())) as server:
        yield server


def test_size_and_source_are_named_then_the_model_is_used_by_name(
    mirror: WebServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = mirror.resources["weights"].data
    assert run(["download", "small", "--url", mirror.url + "weights"]) == EXIT_OK
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        mirror.url + "weights",
        f"{len(data) / 1e6:.1f} MB to {tmp_path / 'cache'}",
        f"SHA-256 {hashlib.sha256(data).hexdigest()}  small.weights",
        "Use it as -m small",
    ]
    Image.fromarray(np.zeros((48, 72, 3), np.uint8)).save("a.png")
    assert run(["predict", "a.png", "-m", "small", "-o", "out", "--engine", "onnxruntime", "--threads", "1"]) == EXIT_OK


def test_a_cut_connection_is_one_line_and_resumed(mirror: WebServer, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["download", "small", "--url", mirror.url + "weights", "--dir", "models"]
    mirror.resources["weights"].cut = 1000
    assert run(arguments) == EXIT_USAGE
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 1
    assert "weights: the connection broke after 1,000 bytes" in errors[0]
    mirror.resources["weights"].cut = None
    assert run(arguments) == EXIT_OK
    assert capsys.readouterr().out.endswith(f"Use it as -m {Path('models', 'small.cfg')}\n")
    assert mirror.asked[-1].range == "bytes=1000-"


def test_a_web_page_is_one_line(mirror: WebServer, capsys: pytest.CaptureFixture[str]) -> None:
    mirror.resources["weights"] = Resource(b"<html>", kind="text/html")
    assert run(["download", "small", "--url", mirror.url + "weights"]) == EXIT_USAGE
    assert capsys.readouterr().err == (f"yolo9000: error: {mirror.url}weights: must be a file, got a web page (HTML)\n")


def test_without_a_name_the_models_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["download"]) == EXIT_OK
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["yolo9000", "195.2", "MB", "https://pjreddie.com/media/files/yolo9000.weights"]
    assert [line.split()[0] for line in lines] == list(RELEASED)


def test_nothing_is_downloaded_that_was_not_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    Image.fromarray(np.zeros((48, 72, 3), np.uint8)).save("a.png")
    assert run(["predict", "a.png", "-m", "yolov2", "-o", "out"]) == EXIT_USAGE
    assert "yolov2: must be downloaded first: yolo9000 download yolov2" in capsys.readouterr().err
    assert not Path("cache").exists()
