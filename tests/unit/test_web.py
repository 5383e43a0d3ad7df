"""Downloads from a server on this machine: whole, resumed, refused."""

from __future__ import annotations

import hashlib
import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.error import URLError

import pytest
from support.web_server import Asked, Resource, WebServer, web_server

from yolo9000.errors import DataError
from yolo9000.io import web
from yolo9000.io.images import name_of, read_image
from yolo9000.io.sources import open_sources
from yolo9000.io.web import download, kept_digest, sha256_of, web_opener

DATA = bytes(range(256)) * 20  # 5,120 bytes
DIGEST = hashlib.sha256(DATA).hexdigest()


@pytest.fixture
def server() -> Iterator[WebServer]:
    with web_server(file=Resource(DATA)) as running:
        yield running


def get(server: WebServer, path: Path, name: str = "file", **keywords: object) -> str:
    keywords = {"sizes": {len(DATA), len(DATA) + 4}, "max_bytes": 10_000} | keywords
    return download(server.url + name, path, **keywords)  # type: ignore[arg-type]


def left_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_and_its_digest(server: WebServer, tmp_path: Path) -> None:
    path = tmp_path / "w"
    path.write_bytes(b"old")
    assert get(server, path) == DIGEST == sha256_of(path)
    assert path.read_bytes() == DATA
    assert left_in(tmp_path) == ["w", "w.sha256"]
    assert (tmp_path / "w.sha256").read_text() == f"{DIGEST}  w\n"
    assert kept_digest(path) == DIGEST
    assert kept_digest(tmp_path / "other") is None
    assert server.asked == [Asked("file", None)]


def test_progress(server: WebServer, tmp_path: Path) -> None:
    calls: list[tuple[int, int | None]] = []
    get(server, tmp_path / "w", progress=lambda done, total: calls.append((done, total)))
    assert calls[0] == (0, 5120)
    assert calls[-1] == (5120, 5120)
    assert calls == sorted(calls)


def test_a_cut_connection_is_resumed(server: WebServer, tmp_path: Path) -> None:
    path = tmp_path / "w"
    path.write_bytes(b"old")
    server.resources["file"].cut = 2000
    with pytest.raises(DataError, match=r"/file: the connection broke after 2,000 bytes \(3,120 bytes are missing\)"):
        get(server, path)
    assert path.read_bytes() == b"old"
    with pytest.raises(DataError, match=r"after 4,000 bytes .*; the next download continues there$"):
        get(server, path)
    server.resources["file"].cut = None
    calls: list[int] = []
    assert get(server, path, progress=lambda done, total: calls.append(done)) == DIGEST
    assert path.read_bytes() == DATA
    assert [asked.range for asked in server.asked] == [None, "bytes=2000-", "bytes=4000-"]
    assert calls[0] == 4000
    assert left_in(tmp_path) == ["w", "w.sha256"]


@pytest.mark.parametrize("change", ["version", "address", "ranges"])
def test_another_version_is_not_joined_to_the_first(change: str, server: WebServer, tmp_path: Path) -> None:
    """What is there of another version, of another address, or what the server cannot continue, is read again."""
    path = tmp_path / "w"
    server.resources["file"] = Resource(b"\xff" * len(DATA), cut=2000)
    with pytest.raises(DataError, match="connection broke"):
        get(server, path)
    server.resources |= {"file": Resource(DATA, etag='"2"' if change == "version" else '"1"'), "mirror": Resource(DATA)}
    server.resources["file"].ranges = change != "ranges"
    assert get(server, path, "mirror" if change == "address" else "file") == DIGEST
    assert server.asked[-1].range == (None if change == "address" else "bytes=2000-")


def test_without_a_version_a_download_starts_again(server: WebServer, tmp_path: Path) -> None:
    server.resources["file"] = Resource(DATA, etag=None, cut=2000)
    with pytest.raises(DataError, match="the next download starts again"):
        get(server, tmp_path / "w")
    server.resources["file"].cut = None
    assert get(server, tmp_path / "w") == DIGEST
    assert [asked.range for asked in server.asked] == [None, None]


def test_an_etag_that_is_not_strong_does_not_join_bytes(server: WebServer, tmp_path: Path) -> None:
    server.resources["file"] = Resource(DATA, etag='W/"1"', cut=2000)
    with pytest.raises(DataError, match="the next download starts again"):
        get(server, tmp_path / "w")


def test_a_time_of_change_is_a_version(server: WebServer, tmp_path: Path) -> None:
    when = "Thu, 05 Oct 2017 10:00:00 GMT"
    server.resources["file"] = Resource(DATA, etag=None, cut=2000, headers={"Last-Modified": when})
    with pytest.raises(DataError, match="the next download continues there"):
        get(server, tmp_path / "w")
    server.resources["file"] = Resource(DATA, etag=when)
    assert get(server, tmp_path / "w") == DIGEST
    assert server.asked[-1].range == "bytes=2000-"


def test_a_complete_part_that_was_not_renamed(server: WebServer, tmp_path: Path) -> None:
    """It was stopped after the last byte: the server has no rest, and sends all again."""

    def stop(part: Path) -> None:
        part.with_name("saved").write_bytes(part.read_bytes())
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        get(server, tmp_path / "w", check=stop)
    assert left_in(tmp_path) == ["saved", "w.part", "w.part.json"]
    assert get(server, tmp_path / "w") == DIGEST
    assert [asked.range for asked in server.asked] == [None, "bytes=5120-", None]


def test_a_damaged_note_of_the_origin_starts_again(server: WebServer, tmp_path: Path) -> None:
    (tmp_path / "w.part").write_bytes(b"x" * 100)
    for text in ("", "[]", '{"url": 1}', "\x00"):
        (tmp_path / "w.part.json").write_text(text)
        assert get(server, tmp_path / "w") == DIGEST
        (tmp_path / "w.part").write_bytes(b"x" * 100)
    assert {asked.range for asked in server.asked} == {None}


@pytest.mark.parametrize("length", [True, False])
@pytest.mark.parametrize(
    ("size", "message"),
    [
        (5119, "must be a file of 5,120 or 5,124 bytes, got one of 5,119$"),
        (5122, "must be a file of 5,120 or 5,124 bytes, got one of 5,122$"),
        (
            5125,
            "must be a file of (5,120 or 5,124 bytes, got one of 5,125|at most 5,124 bytes, got more)$",
        ),
    ],
)
def test_sizes_are_exact(size: int, message: str, length: bool, server: WebServer, tmp_path: Path) -> None:
    server.resources["file"] = Resource(bytes(size), length=length)
    with pytest.raises(DataError, match=message):
        get(server, tmp_path / "w")
    assert not (tmp_path / "w").exists()
    if length:
        assert left_in(tmp_path) == []  # refused before a byte was read


def test_either_size_is_taken(server: WebServer, tmp_path: Path) -> None:
    server.resources["file"] = Resource(bytes(5124), length=False)
    get(server, tmp_path / "w")
    assert (tmp_path / "w").read_bytes() == bytes(5124)


@pytest.mark.parametrize("length", [True, False])
def test_files_of_unknown_size_are_limited(length: bool, server: WebServer, tmp_path: Path) -> None:
    server.resources["file"].length = length
    assert get(server, tmp_path / "w", sizes=None, max_bytes=5120) == DIGEST
    with pytest.raises(DataError, match="must be a file of at most 5,119 bytes, got"):
        get(server, tmp_path / "v", sizes=None, max_bytes=5119)


@pytest.mark.parametrize("kind", ["text/html", "text/html; charset=utf-8", "application/octet-stream"])
@pytest.mark.parametrize("page", [b"<!DOCTYPE html><p>moved", b"\n  <HTML lang=en>"])
def test_a_web_page_is_not_a_file(page: bytes, kind: str, server: WebServer, tmp_path: Path) -> None:
    server.resources["file"] = Resource(page.ljust(5120), kind=kind)
    with pytest.raises(DataError, match=r"/file: must be a file, got a web page \(HTML\)$"):
        get(server, tmp_path / "w")
    assert not (tmp_path / "w").exists()


def test_a_check_that_fails_leaves_nothing(server: WebServer, tmp_path: Path) -> None:
    def check(part: Path) -> None:
        assert part.read_bytes() == DATA
        raise DataError("not what was wanted")

    with pytest.raises(DataError, match="not what was wanted"):
        get(server, tmp_path / "w", check=check)
    assert left_in(tmp_path) == []


def test_redirects_stay_on_the_web(server: WebServer, tmp_path: Path) -> None:
    server.resources |= {
        "moved": Resource(status=301, location="/file"),
        "local": Resource(status=302, location=(tmp_path / "secret").as_uri()),
        "ftp": Resource(status=307, location="ftp://127.0.0.1/file"),
        "loop": Resource(status=302, location="/loop"),
    }
    assert get(server, tmp_path / "w", "moved") == DIGEST
    for name, message in (("local", "not allowed"), ("ftp", "http: to ftp:"), ("loop", "infinite loop")):
        with pytest.raises(DataError, match=f"/{name}: cannot be downloaded: .*{message}"):
            get(server, tmp_path / "v", name)


def test_redirects_do_not_leave_https() -> None:
    from urllib.request import Request

    (redirects,) = [handler for handler in web_opener().handlers if type(handler).__name__ == "Redirects"]
    asked = Request("https://127.0.0.1/file")
    with pytest.raises(URLError, match="must not redirect from https: to http:"):
        redirects.redirect_request(asked, None, 302, "Found", {}, "http://127.0.0.1/file")
    assert redirects.redirect_request(asked, None, 302, "Found", {}, "https://127.0.0.1/other") is not None


def test_compressed_answers_are_refused(server: WebServer, tmp_path: Path) -> None:
    server.resources["file"].headers = {"Content-Encoding": "gzip"}
    with pytest.raises(DataError, match="must be sent as it is, got the encoding gzip"):
        get(server, tmp_path / "w")


@pytest.mark.parametrize(
    "answer", ["bytes 0-5119/5120", "bytes 2000-3000/5120", "bytes 2000-5119/*", "", "lines 1-2/3"]
)
def test_a_wrong_range_is_refused(answer: str, server: WebServer, tmp_path: Path) -> None:
    server.resources["file"].cut = 2000
    with pytest.raises(DataError, match="connection broke"):
        get(server, tmp_path / "w")
    server.resources["file"] = Resource(DATA, headers={"Content-Range": answer})
    with pytest.raises(DataError, match="must continue after byte 2,000, got Content-Range"):
        get(server, tmp_path / "w")
    assert (tmp_path / "w.part").stat().st_size == 2000


def test_refusals_of_the_server(server: WebServer, tmp_path: Path) -> None:
    server.resources["gone"] = Resource(status=410)
    with pytest.raises(DataError, match=r"/none: cannot be downloaded: the server answers 404 Not Found$"):
        get(server, tmp_path / "w", "none")
    with pytest.raises(DataError, match=r"/gone: cannot be downloaded: the server answers 410 Gone$"):
        get(server, tmp_path / "w", "gone")


def test_a_server_that_is_not_there(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        with pytest.raises(DataError, match=r"/file: cannot be downloaded: \[Errno"):
            download(f"http://127.0.0.1:{taken.getsockname()[1]}/file", tmp_path / "w", max_bytes=1)


@pytest.mark.parametrize(
    "url", ["file:///etc/hosts", "ftp://h/f", "data:,x", "folder/f", "http//h", "", "http://[::", "http://h /"]
)
def test_other_addresses_are_refused(url: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="must be an http:// or https:// address"):
        download(url, tmp_path / "w", max_bytes=1)


def test_a_server_that_sends_a_byte_now_and_then_is_given_up(
    server: WebServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No network is fast enough here: what is sent comes in less than a second."""
    monkeypatch.setattr(web, "GRACE_SECONDS", 0)
    monkeypatch.setattr(web, "MIN_BYTES_PER_SECOND", 10**12)
    with pytest.raises(
        DataError, match=r"/file: the connection broke after [0-9,]+ bytes \(only 5,120 bytes came in 0 s"
    ):
        get(server, tmp_path / "w")
    with pytest.raises(DataError, match=r"/file: cannot be fetched .*: only 5,120 bytes came in 0 seconds"):
        read_image(server.url + "file")


def test_an_image_that_is_shorter_than_the_server_says(server: WebServer) -> None:
    server.resources["file"].cut = 2000
    with pytest.raises(DataError, match=r"/file: must be 5,120 bytes long as the server says, got 2,000$"):
        read_image(server.url + "file")


@pytest.mark.parametrize(
    "url", ["http://me:secret@127.0.0.1:9/a.png", "rtsp://me:secret@127.0.0.1:9/1", "http://secret@127.0.0.1:x/"]
)
def test_passwords_are_in_no_message_and_no_name(url: str, tmp_path: Path) -> None:
    messages = []
    assert list(open_sources(url, on_error=lambda error: messages.append(str(error)))) == []
    with pytest.raises(DataError) as error:
        download(url, tmp_path / "w", max_bytes=10)
    for text in (*messages, str(error.value), name_of(url)):
        assert "://" in text
        assert "secret" not in text
    assert len(messages) == 1


def test_a_password_is_not_kept_beside_a_part(server: WebServer, tmp_path: Path) -> None:
    part = web._Part(tmp_path / "w")
    part.begin("http://me:secret@h/file", '"1"')
    part.file.write_bytes(b"12")
    assert "secret" not in (tmp_path / "w.part.json").read_text()
    assert part.validator("http://me:secret@h/file") == '"1"'
