"""Bytes that are held in memory whole: of a URL that the user wrote, or of standard input."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable

from yolo9000.io.files import one_line, reading
from yolo9000.io.web import web_opener

__all__ = ["SCHEME", "fetch", "read_stdin"]

SCHEME = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)

_MAX_BYTES = 256 << 20
_TIMEOUT_SECONDS = 30


def read_stdin(name: str) -> bytes:
    """All of standard input, at most 256 MiB.

    Raises:
        DataError: it is closed, cannot be read or is longer.
    """
    with reading(name):
        return _read_all(sys.stdin.buffer.read, name)


def fetch(url: str, name: str) -> bytes:
    """What a URL (http or https) gives, at most 256 MiB.

    Raises:
        DataError: it cannot be fetched, has another scheme, or is longer.
    """
    from urllib.error import HTTPError  # here, because it takes long to import

    opener = web_opener()
    with reading(name, "cannot be fetched over http or https"):
        try:
            with opener.open(url, timeout=_TIMEOUT_SECONDS) as response:
                return _read_all(response.read, name)
        except HTTPError as refused:
            refused.close()  # it holds the connection
            raise


def _read_all(read: Callable[[int], bytes], name: str) -> bytes:
    data = read(_MAX_BYTES + 1)
    if len(data) > _MAX_BYTES:
        raise one_line(name, f"must be at most {_MAX_BYTES:,} bytes long")
    return data
