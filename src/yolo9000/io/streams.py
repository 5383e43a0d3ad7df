"""Bytes of a URL that the user wrote and of standard input: held in memory whole, or passed on as they come."""

from __future__ import annotations

import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from io import BufferedReader
from pathlib import Path
from threading import Thread
from typing import cast

from yolo9000.io.digits import whole_number
from yolo9000.io.files import one_line, reading
from yolo9000.io.web import Pace, web_opener

__all__ = ["SCHEME", "fetch", "in_temporary_file", "peek_stdin", "piped_stdin", "read_stdin"]

SCHEME = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)

_MAX_BYTES = 256 << 20
_CHUNK = 1 << 16
_TIMEOUT_SECONDS = 30


def read_stdin(name: str) -> bytes:
    """All of standard input, at most 256 MiB.

    Raises:
        DataError: it is closed, cannot be read or is longer.
    """
    with reading(name):
        return _read_all(sys.stdin.buffer.read, name)


def peek_stdin(name: str, length: int) -> bytes:
    """The first bytes of standard input, which stay there; at most ``length``, and none of what cannot be peeked at.

    Raises:
        DataError: it is closed or cannot be read.
    """
    with reading(name):
        peek = getattr(sys.stdin.buffer, "peek", None)
        return bytes(peek(length)[:length]) if peek else b""


@contextmanager
def piped_stdin() -> Iterator[str]:
    """The address, for FFmpeg, of a pipe that gives all of standard input, what was peeked at included."""
    buffered = cast("BufferedReader", sys.stdin.buffer).read1()
    output, entrance = os.pipe()
    # The descriptor and not the buffer, whose lock a thread that waits for input would hold at the end of the process.
    Thread(target=_copy, args=(buffered, sys.stdin.fileno(), entrance), daemon=True).start()
    try:
        yield f"pipe:{output}"
    finally:
        os.close(output)


def _copy(first: bytes, descriptor: int, entrance: int) -> None:
    with suppress(BrokenPipeError), os.fdopen(entrance, "wb", buffering=0) as pipe:
        while first:
            written = pipe.write(first)
            first = first[written:] or os.read(descriptor, _CHUNK)


@contextmanager
def in_temporary_file(data: bytes) -> Iterator[Path]:
    """A file with these bytes, which is removed in the end."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "video"
        path.write_bytes(data)
        yield path


def fetch(url: str, name: str) -> bytes:
    """What a URL (http or https) gives, at most 256 MiB.

    Raises:
        DataError: it cannot be fetched, has another scheme, is longer, or shorter than the server says, or comes too
            slowly.
    """
    from urllib.error import HTTPError  # here, because it takes long to import

    opener = web_opener()
    with reading(name, "cannot be fetched over http or https"):
        try:
            with opener.open(url, timeout=_TIMEOUT_SECONDS) as response:
                data = _read_all(response.read1, name, Pace())
            _check_length(data, response.headers.get("Content-Length"), name)
            return data
        except HTTPError as refused:
            refused.close()  # it holds the connection
            raise


def _check_length(data: bytes, promised: str | None, name: str) -> None:
    length = None if promised is None else whole_number(promised)
    if length is not None and len(data) != length:
        raise one_line(name, f"must be {length:,} bytes long as the server says, got {len(data):,}")


def _read_all(read: Callable[[int], bytes], name: str, pace: Pace | None = None) -> bytes:
    parts, size = [], 0
    while part := read(_CHUNK):
        size += len(part)
        if size > _MAX_BYTES:
            raise one_line(name, f"must be at most {_MAX_BYTES:,} bytes long")
        if pace:
            pace.check(size)
        parts.append(part)
    return b"".join(parts)
