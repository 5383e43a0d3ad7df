"""Receives the images of a request into memory, within the limits of a service; nothing is written to a disk."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import Request

from yolo9000.io.digits import whole_number
from yolo9000.serve.problems import Refused
from yolo9000.serve.settings import ServeSettings

__all__ = ["Buffer", "Upload", "receive_body", "uploads_in"]

STEPS = ("part_begin", "part_data", "part_end", "header_begin", "header_field", "header_value", "header_end", "end")
"""What the parser of multipart/form-data calls."""


@dataclass(frozen=True)
class Upload:
    """One image as it was sent.

    Attributes:
        name: of its file; None where none was sent.
        data: the encoded image.
    """

    name: str | None
    data: bytes


class Buffer:
    """Counts the bytes of all requests in the service, so that together they stay within a limit."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._held = 0

    @contextmanager
    def holding(self) -> Iterator[_Held]:
        """Count what one request adds, until the context ends."""
        held = _Held(self)
        try:
            yield held
        finally:
            self._held -= held.count

    def add(self, count: int) -> None:
        """Count some bytes.

        Raises:
            Refused: 503, the limit is reached.
        """
        if self._held + count > self._limit:
            raise Refused.busy("the service is receiving too much at the moment")
        self._held += count


@dataclass
class _Held:
    """What one request holds of a buffer."""

    buffer: Buffer
    count: int = 0

    def add(self, count: int) -> None:
        """Count some bytes.

        Raises:
            Refused: 503, the buffer is full.
        """
        self.buffer.add(count)
        self.count += count


async def receive_body(request: Request, settings: ServeSettings, held: _Held) -> bytes:
    """The body of a request.

    Raises:
        Refused: it is too large, too slow, or the service holds too much.
        ClientDisconnect: the client has gone.
    """
    try:
        async with asyncio.timeout(settings.receive_seconds):
            return await _received(request, settings.max_bytes, held)
    except TimeoutError:
        message = f"a request must arrive within {settings.receive_seconds:g} seconds"
        raise Refused(408, message, headers={"Connection": "close"}) from None


async def _received(request: Request, max_bytes: int, held: _Held) -> bytes:
    if _declared_length(request) > max_bytes:
        raise Refused.too_large(max_bytes)
    body = bytearray()
    async for chunk in request.stream():
        if len(body) + len(chunk) > max_bytes:
            raise Refused.too_large(max_bytes)
        held.add(len(chunk))
        body += chunk
    return bytes(body)


def _declared_length(request: Request) -> int:
    return whole_number(request.headers.get("content-length", "0")) or 0


def uploads_in(body: bytes, content_type: str, max_images: int) -> list[Upload]:
    """The images in a body: the parts of ``multipart/form-data``, or the body itself.

    Raises:
        Refused: there is no image, there are too many, or the parts cannot be separated.
    """
    kind, options = parse_options_header(content_type)
    if not kind.startswith(b"multipart/"):
        uploads = [Upload(None, body)] if body else []
    elif boundary := options.get(b"boundary"):
        uploads = _Parts(max_images).read(body, boundary)
    else:
        raise Refused(400, "multipart/form-data must name its boundary")
    if not uploads:
        raise Refused(400, "a request must have an image: its bytes as the body, or multipart/form-data")
    return uploads


@dataclass
class _Parts:
    """The parts of multipart/form-data while they are read."""

    max_images: int
    uploads: list[Upload] = field(default_factory=list)
    ended: bool = False
    _name: str | None = None
    _data: bytearray = field(default_factory=bytearray)
    _header: bytearray = field(default_factory=bytearray)
    _value: bytearray = field(default_factory=bytearray)

    def read(self, body: bytes, boundary: bytes) -> list[Upload]:
        try:
            parser = MultipartParser(boundary, {f"on_{step}": getattr(self, f"_{step}") for step in STEPS})  # type: ignore[arg-type]
            parser.write(body)
        except FormParserError as error:
            raise Refused(400, f"multipart/form-data must be well formed: {error}") from None
        if not self.ended:
            raise Refused(400, "multipart/form-data must end with its boundary; the request is truncated")
        return self.uploads

    def _part_begin(self) -> None:
        if len(self.uploads) == self.max_images:
            raise Refused(413, f"a request must have at most {self.max_images} images")
        self._name, self._data = None, bytearray()

    def _header_begin(self) -> None:
        self._header, self._value = bytearray(), bytearray()

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header_end(self) -> None:
        if self._header.lower() == b"content-disposition":
            _, options = parse_options_header(bytes(self._value))
            name = options.get(b"filename")
            self._name = name.decode("utf-8", "replace") if name else None

    def _part_data(self, data: bytes, start: int, end: int) -> None:
        self._data += memoryview(data)[start:end]

    def _part_end(self) -> None:
        self.uploads.append(Upload(self._name, bytes(self._data)))

    def _end(self) -> None:
        self.ended = True
