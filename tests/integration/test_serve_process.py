"""``yolo9000 serve`` as a process: its clients, slow and absent ones, signals, and what it leaves behind."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import pytest
from support.paths import ROOT
from support.serving import encoded, served
from support.small_models import write_flat, write_tree_model

from yolo9000.cli.app import run
from yolo9000.errors import EXIT_USAGE
from yolo9000.serve.schemas import DetectAnswer

pytestmark = pytest.mark.posix
DOCUMENT = (ROOT / "docs" / "serve.md").read_text(encoding="utf-8")
ADDRESS = "http://127.0.0.1:8000"
LOW = ("--conf", "0.02", "--hier-thresh", "0.3")


def example(language: str) -> str:
    """The first example in a language that asks the service."""
    blocks = re.findall(rf"```{language}\n(.*?)```", DOCUMENT, re.DOTALL)
    return next(block for block in blocks if ADDRESS in block)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """The address of a service, and the folder that it runs in, where it may write nothing but its log."""
    models, folder = tmp_path_factory.mktemp("models"), tmp_path_factory.mktemp("service")
    arguments = (str(write_tree_model(models)), *LOW, "--receive-seconds", "1", "--max-connections", "20")
    with served(*arguments, folder=folder, TMPDIR=str(folder)) as (_, url):
        yield url, folder


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for name, size in (("photo.jpg", (90, 60)), ("other.jpg", (50, 70))):
        (tmp_path / name).write_bytes(encoded(size[0], size, "JPEG"))
    return tmp_path


def output_of(command: list[str], folder: Path) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_curl_as_documented(service: tuple[str, Path], photos: Path) -> None:
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    commands = example("sh").replace(ADDRESS, service[0]).splitlines()
    answers = [output_of(["curl", "--silent", *shlex.split(command)[1:]], photos) for command in commands]
    parsed = [DetectAnswer.model_validate_json(answer) for answer in answers]
    assert [[image.source for image in answer.images] for answer in parsed] == [[None], ["photo.jpg", "other.jpg"]]
    assert parsed[0].images[0].detections


def test_python_as_documented(service: tuple[str, Path], photos: Path) -> None:
    program = example("python").replace(ADDRESS, service[0])
    assert "('" in output_of([sys.executable, "-c", program], photos)


def test_javascript_as_documented(service: tuple[str, Path], photos: Path) -> None:
    if shutil.which("node") is None:
        pytest.skip("Node.js is not installed")
    (photos / "client.mjs").write_text(example("js").replace(ADDRESS, service[0]))
    assert re.search(r"\[ '\w+', 0\.\d+ \]", output_of(["node", "client.mjs"], photos))


def connected(url: str) -> socket.socket:
    host, port = url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=60)


def received(connection: socket.socket) -> bytes:
    """Everything until the other side closes."""
    data = b""
    try:
        while part := connection.recv(65536):
            data += part
    except ConnectionResetError:
        pass
    return data


def test_who_sends_too_slowly_gets_408(service: tuple[str, Path]) -> None:
    with connected(service[0]) as connection:
        connection.sendall(b"POST /v1/detect HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\nGIF89a")
        answer = received(connection)
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"must arrive within 1 seconds" in answer


@pytest.mark.parametrize("sent", [b"", b"POST /v1/det", b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: y"])
def test_who_sends_no_request_is_cut_off(service: tuple[str, Path], sent: bytes) -> None:
    with connected(service[0]) as connection:
        connection.sendall(sent)
        assert received(connection) == b""


def test_what_follows_a_refused_request_is_read_for_a_while_only(service: tuple[str, Path]) -> None:
    with connected(service[0]) as connection:
        connection.sendall(b"POST /v1/detect HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999\r\n\r\n")
        answer = connection.recv(65536)
        with suppress(OSError):  # whatever a closed connection raises
            while True:
                connection.sendall(bytes(100))
                time.sleep(0.02)
    assert answer.startswith(b"HTTP/1.1 413 ")


def test_what_is_no_http_is_refused(service: tuple[str, Path]) -> None:
    for sent in (b"hello\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00", b"G" * 100_000):
        with connected(service[0]) as connection:
            connection.sendall(sent)
            assert received(connection)[:12] in (b"HTTP/1.1 400", b"")


def test_too_many_connections_are_answered_503(service: tuple[str, Path]) -> None:
    many = [connected(service[0]) for _ in range(25)]
    answers = [received(connection) for connection in many]  # 20 of them say nothing, and are cut off
    assert sum(answer.startswith(b"HTTP/1.1 503 ") for answer in answers) >= 5
    assert all(b"Retry-After" in answer for answer in answers if answer)
    for connection in many:
        connection.close()
    assert httpx.get(f"{service[0]}/healthz").status_code == 200


def test_who_goes_away_is_not_waited_for(service: tuple[str, Path]) -> None:
    url, folder = service
    head = "POST /v1/detect HTTP/1.1\r\nHost: localhost\r\nX-Request-ID: gone-{}\r\nContent-Length: {}\r\n\r\n"
    for i in range(6):
        with connected(url) as connection:
            connection.sendall(head.format(i, len(encoded(1))).encode() + encoded(1)[: 10_000 if i % 2 else 50])
    assert httpx.post(f"{url}/v1/detect", content=encoded(1)).status_code == 200
    until = time.monotonic() + 60
    while (count := len(re.findall(r'"gone-\d"', (folder / "service.log").read_text()))) < 6:
        assert time.monotonic() < until, count
        time.sleep(0.05)
    lines = [json.loads(line) for line in (folder / "service.log").read_text().splitlines()]
    assert {line["status"] for line in lines if line.get("request_id", "").startswith("gone")} <= {200, 499}


def test_every_line_of_the_log_is_json(service: tuple[str, Path]) -> None:
    url, folder = service
    headers = {"Content-Type": "multipart/form-data; boundary=XX", "X-Request-ID": "malformed"}
    assert httpx.post(f"{url}/v1/detect", content=b"no form", headers=headers).status_code == 400
    with connected(url) as connection:
        connection.sendall(b"no HTTP\r\n\r\n")
        received(connection)
    while "malformed" not in (text := (folder / "service.log").read_text()):
        time.sleep(0.02)
    assert all({"time", "level", "event"} <= set(json.loads(line)) for line in text.splitlines())


def test_nothing_is_written(service: tuple[str, Path]) -> None:
    """Neither beside the log nor into the folder of temporary files, as many readers of forms do with large parts."""
    url, folder = service
    large = encoded(1, (1600, 900), "BMP")
    assert len(large) > 4_000_000
    statuses = [httpx.post(f"{url}/v1/detect", files=[("a", large)] * 2).status_code for _ in range(3)]
    assert statuses == [200] * 3
    assert [path.name for path in folder.iterdir()] == ["service.log"]


class Clients:
    """Clients that ask one request after the other, until they have to stop or to connect elsewhere."""

    def __init__(self, url: str, count: int) -> None:
        self.statuses: list[int] = []
        self.failures: list[Exception] = []
        self._url = url
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(i,)) for i in range(count)]

    def __enter__(self) -> Clients:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _ask(self, seed: int) -> None:
        with httpx.Client(timeout=60) as client:
            while not self._stop.is_set():
                try:
                    answer = client.post(f"{self._url}/v1/detect", content=encoded(seed))
                except httpx.HTTPError as error:
                    self.failures.append(error)
                    return
                self.statuses.append(answer.status_code)
                if answer.headers.get("connection") == "close":
                    return

    def wait_for(self, count: int) -> None:
        """Wait for that many further answers."""
        until = len(self.statuses) + count
        while len(self.statuses) < until and not self.failures:
            time.sleep(0.01)


def test_sigterm_loses_no_request(tmp_path: Path) -> None:
    model = str(write_tree_model(tmp_path))
    with served(model, folder=tmp_path) as (process, url), Clients(url, 6) as clients:
        clients.wait_for(20)
        process.send_signal(signal.SIGTERM)
        assert process.wait(120) == 0
    assert clients.failures == []
    assert set(clients.statuses) == {200}


def names_of(url: str) -> list[str]:
    return httpx.get(f"{url}/v1/tree").json()["names"]


def test_sighup_loads_the_models_again_and_drops_no_request(tmp_path: Path) -> None:
    model = write_flat(tmp_path)
    with served(str(model), folder=tmp_path) as (process, url), Clients(url, 4) as clients:
        clients.wait_for(8)
        (tmp_path / "flat.names").write_text("cup\ndog\ncat\nkite\nlorry\n")
        process.send_signal(signal.SIGHUP)
        while names_of(url)[-1] != "lorry":
            clients.wait_for(1)
            assert not clients.failures
        clients.wait_for(8)
        model.with_suffix(".weights").write_bytes(b"damaged")
        process.send_signal(signal.SIGHUP)
        while "reload failed" not in (tmp_path / "service.log").read_text():
            clients.wait_for(1)
            assert not clients.failures
        clients.wait_for(8)
        assert names_of(url)[-1] == "lorry"
    assert clients.failures == []
    assert set(clients.statuses) == {200}


@pytest.mark.battery
def test_sigkill_leaves_nothing(tmp_path: Path) -> None:
    model = str(write_tree_model(tmp_path))
    before = {path.name for path in tmp_path.iterdir()} | {"service.log"}
    with served(model, folder=tmp_path, TMPDIR=str(tmp_path)) as (process, url):
        with Clients(url, 4) as clients:
            clients.wait_for(6)
            process.kill()
            process.wait(60)
        assert {path.name for path in tmp_path.iterdir()} == before
        with socket.create_server(("127.0.0.1", int(url.rpartition(":")[2]))):
            pass  # the port is free


def test_what_keeps_it_from_starting_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("yolo9000.serve.server.ignore_reloads", lambda: None)  # of this process
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        starts = {
            f"--port: cannot listen at 127.0.0.1 port {port}: Address already in use": ["--port", port],
            "--models: must be models with names of their own": ["--port", "0", "a/x.onnx", "b/x.onnx"],
            "a.onnx: ": ["--port", "0", "a.onnx"],
            "the token must not be empty": ["--port", "0", "--token-file", "empty"],
            "--max-batch: must be at most 8, got 9": ["--max-batch", "9"],
        }
        (tmp_path / "empty").write_text(" \n")
        for line, arguments in starts.items():
            assert run(["serve", *arguments]) == EXIT_USAGE
            err = capsys.readouterr().err
            assert err.startswith(f"yolo9000: error: {line}")
            assert err.count("\n") == 1


def test_the_load_test_in_small(tmp_path: Path) -> None:
    model = write_tree_model(tmp_path)
    (tmp_path / "images").mkdir()
    for seed in range(6):
        (tmp_path / "images" / f"{seed}.jpg").write_bytes(encoded(seed, (90 + seed, 60), "JPEG"))
    command = [sys.executable, str(ROOT / "benchmarks" / "serve.py"), "images", "--model", str(model)]
    command += ["--clients", "5", "--requests", "60", "--junk", "0.4", "--json", "report.json"]
    output_of([*command, "--serve", "--engine", "onnxruntime", *LOW], tmp_path)
    report = json.loads((tmp_path / "report.json").read_text())
    load = report["5 clients"]
    assert (load["requests"], load["wrong_statuses"], load["unequal_answers"]) == (60, 0, 0)
    assert len({status.rpartition(" ")[0] for status in load["statuses"]}) >= 5  # kinds of requests
    assert report["exit"] == 0
