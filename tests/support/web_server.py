"""A web server on this machine with prepared answers; it records the requests."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

__all__ = ["Asked", "Resource", "WebServer", "web_server"]


@dataclass
class Resource:
    """What a path answers.

    Attributes:
        data: its bytes.
        etag: name of its version; None sends none.
        kind: content type.
        ranges: whether parts are served; else the whole is sent, whatever is asked.
        cut: bytes of an answer after which the connection closes; None: never.
        length: whether the length is said before.
        status: code of an answer without contents; 301 goes to `location`.
        location: where to instead.
        headers: further ones.
    """

    data: bytes = b""
    etag: str | None = '"1"'
    kind: str = "application/octet-stream"
    ranges: bool = True
    cut: int | None = None
    length: bool = True
    status: int = 200
    location: str = ""
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Asked:
    """A request: its path, and the range asked for if any."""

    path: str
    range: str | None


@dataclass
class WebServer:
    """A running server: its address with a / at the end, what it answers by path, what it was asked."""

    url: str
    resources: dict[str, Resource]
    asked: list[Asked]


@contextmanager
def web_server(**resources: Resource) -> Iterator[WebServer]:
    """Serve until the block ends; resources can be changed meanwhile."""
    server = WebServer("", resources, [])

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            name, asked = self.path[1:], self.headers["Range"]
            server.asked.append(Asked(name, asked))
            resource = server.resources.get(name)
            if resource is None or resource.status != 200:
                self.refuse(resource)
            else:
                self.answer(resource, asked)

        def refuse(self, resource: Resource | None) -> None:
            self.send_response(404 if resource is None else resource.status)
            if resource is not None and resource.location:
                self.send_header("Location", resource.location)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def answer(self, resource: Resource, asked: str | None) -> None:
            first, total = 0, len(resource.data)
            match = re.fullmatch(r"bytes=(\d+)-", asked or "")
            if match and resource.ranges and self.headers["If-Range"] == resource.etag:
                first = int(match[1])
                if first >= total:
                    return self.refuse(Resource(status=416))
            self.send_response(206 if first else 200)
            if first and "Content-Range" not in resource.headers:
                self.send_header("Content-Range", f"bytes {first}-{total - 1}/{total}")
            if resource.length:
                self.send_header("Content-Length", str(total - first))
            if resource.etag is not None:
                self.send_header("ETag", resource.etag)
            self.send_header("Content-Type", resource.kind)
            for name, value in resource.headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(resource.data[first:][: resource.cut])
            return None

        def log_message(self, *_: object) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.url = f"http://127.0.0.1:{http.server_port}/"
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        http.shutdown()
        thread.join()
        http.server_close()
