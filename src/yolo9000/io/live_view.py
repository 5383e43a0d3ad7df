"""Shows images while they are made: in the browser of this machine, since the core's OpenCV has no windows."""

from __future__ import annotations

import io
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType

import numpy as np
from jaxtyping import UInt8
from PIL import Image

__all__ = ["LiveView"]

BOUNDARY = "frame"
JPEG_QUALITY = 80
PAGE = (
    b'<!doctype html><html lang="en"><meta charset="utf-8"><title>yolo9000</title>'
    b"<style>body{margin:0;background:#111;display:grid;place-items:center;min-height:100vh}"
    b"img{max-width:100vw;max-height:100vh}</style>"
    b'<img src="/stream" alt="what the detector sees now"></html>'
)


class LiveView:
    """Serves the latest image as a stream of JPEG files, to programs on this machine only; a context manager.

    Attributes:
        url: of the page.
    """

    def __init__(self) -> None:
        self._fresh = threading.Condition()
        self._jpeg = b""
        self._number = 0
        self._closed = False
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/"

    def __enter__(self) -> LiveView:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._fresh:
            self._closed = True
            self._fresh.notify_all()
        self._server.shutdown()
        self._server.server_close()

    def show(self, image: UInt8[np.ndarray, "h w 3"]) -> None:
        """Show an image, RGB, in place of the last one."""
        stream = io.BytesIO()
        Image.fromarray(image).save(stream, format="JPEG", quality=JPEG_QUALITY)
        with self._fresh:
            self._jpeg, self._number = stream.getvalue(), self._number + 1
            self._fresh.notify_all()

    def wait(self, number: int) -> tuple[int, bytes] | None:
        """The number and the JPEG of an image later than a number; None when the view is closed."""
        with self._fresh:
            self._fresh.wait_for(lambda: self._closed or self._number > number)
            return None if self._closed else (self._number, self._jpeg)


def _handler(view: LiveView) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == "/stream":
                self._stream()
            elif self.path == "/":
                self._answer("text/html; charset=utf-8")
                self.wfile.write(PAGE)
            else:
                self.send_error(HTTPStatus.NOT_FOUND)

        def _answer(self, kind: str) -> None:
            self.send_response(HTTPStatus.OK)
            self.send_header("Content-Type", kind)
            self.send_header("Cache-Control", "no-store")
            self.end_headers()

        def _stream(self) -> None:
            self._answer(f"multipart/x-mixed-replace; boundary={BOUNDARY}")
            number = 0
            try:
                while (fresh := view.wait(number)) is not None:
                    number, jpeg = fresh
                    head = f"--{BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
                    self.wfile.write(head.encode() + jpeg + b"\r\n")
            except OSError:  # the page was closed
                return

        def log_message(self, format: str, *args: object) -> None:
            """Requests are not printed."""

    return Handler
