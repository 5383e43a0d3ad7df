"""Files from web addresses: http and https only, of a known or limited size, resumed where they were interrupted."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse, InvalidURL
from pathlib import Path
from ssl import SSLError
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

from yolo9000.errors import DataError
from yolo9000.io.digits import whole_number
from yolo9000.io.documents import load_json
from yolo9000.io.files import without_password

if TYPE_CHECKING:
    from email.message import Message
    from urllib.request import OpenerDirector

__all__ = ["SCHEMES", "Pace", "Progress", "download", "kept_digest", "sha256_of", "web_opener"]

SCHEMES = ("http", "https")
TIMEOUT = 60.0  # seconds without a byte
CHUNK = 1 << 20
GRACE_SECONDS = 60.0  # before the pace counts
MIN_BYTES_PER_SECOND = 1024
HTML_STARTS = (b"<!doctype", b"<html")
Progress = Callable[[int, int | None], None]
"""Called with the bytes that are there and all bytes, None where the server does not say."""


class Pace:
    """Ends transfers that would not end by themselves: a server that sends a byte now and then."""

    def __init__(self) -> None:
        self._start = time.monotonic()

    def check(self, size: int) -> None:
        """Check the number of bytes that have come so far.

        Raises:
            TimeoutError: on average fewer than 1,024 a second came, after the first minute.
        """
        seconds = time.monotonic() - self._start
        if seconds > GRACE_SECONDS and size < MIN_BYTES_PER_SECOND * seconds:
            raise TimeoutError(f"only {size:,} bytes came in {seconds:.0f} seconds")


def web_opener() -> OpenerDirector:
    """An opener that knows http and https, and follows redirects only to these, never from https to http.

    Unlike urllib's own opener it does not know ``file:``, ``ftp:`` and ``data:``.
    """
    from urllib import error, request  # here, because they take long to import

    class Redirects(request.HTTPRedirectHandler):
        def redirect_request(
            self, req: request.Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
        ) -> request.Request | None:
            old, new = urlsplit(req.full_url).scheme, urlsplit(newurl).scheme
            if new not in SCHEMES or (old, new) == ("https", "http"):
                raise error.URLError(f"must not redirect from {old}: to {new}:")
            return super().redirect_request(req, fp, code, msg, headers, newurl)

    opener = request.OpenerDirector()
    proxies = {scheme: proxy for scheme, proxy in request.getproxies().items() if scheme in SCHEMES}
    handlers: tuple[request.BaseHandler, ...] = (
        request.ProxyHandler(proxies),
        request.HTTPHandler(),
        request.HTTPSHandler(),
        Redirects(),
        request.HTTPErrorProcessor(),
        request.HTTPDefaultErrorHandler(),
        request.UnknownHandler(),
    )
    for handler in handlers:
        opener.add_handler(handler)
    return opener


def download(
    url: str,
    path: Path,
    *,
    sizes: Collection[int] | None = None,
    max_bytes: int,
    check: Callable[[Path], object] = lambda part: None,
    progress: Progress = lambda done, total: None,
) -> str:
    """Download a file, whole or not at all.

    Bytes are collected in ``PATH.part``. It is kept when the connection breaks, and the next call with the same address
    asks only for the rest, unless the file has changed on the server. The digest is kept in ``PATH.sha256``.

    Args:
        url: http or https.
        path: the file to write; what is there is replaced.
        sizes: the numbers of bytes that the file may have; None for any up to ``max_bytes``.
        max_bytes: the most bytes to accept.
        check: called with the complete file before ``path`` is written; raises an error to reject it.
        progress: called as bytes arrive.

    Returns:
        The SHA-256 of the file in hexadecimal.

    Raises:
        DataError: the address cannot be used, the connection broke, or the server sent something else.
        OSError: the file cannot be written.
    """
    part = _Part(path)
    try:
        with _errors_of(url, part), _open(url, part) as response:
            _receive(response, part, url, _Limits(sizes, max_bytes), progress)
    except DataError as error:
        raise DataError(without_password(str(error))) from None
    try:
        check(part.file)
    except Exception:
        part.discard()
        raise
    return part.complete()


def kept_digest(path: Path) -> str | None:
    """The SHA-256 that `download` kept of a file; None if there is none."""
    file = _beside(path, ".sha256")
    return file.read_text(encoding="utf-8").split(maxsplit=1)[0] if file.is_file() else None


def sha256_of(path: Path) -> str:
    """SHA-256 of a file in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@dataclass(frozen=True)
class _Limits:
    sizes: Collection[int] | None
    max_bytes: int

    def check(self, size: int, url: str) -> None:
        """Check the size of the whole file."""
        if self.sizes is not None and size not in self.sizes:
            expected = " or ".join(f"{expected:,}" for expected in sorted(self.sizes))
            raise DataError(f"{url}: must be a file of {expected} bytes, got one of {size:,}")
        if size > self.max_bytes:
            raise DataError(f"{url}: must be a file of at most {self.max_bytes:,} bytes, got one of {size:,}")

    @property
    def largest(self) -> int:
        return self.max_bytes if self.sizes is None else min(self.max_bytes, max(self.sizes))


class _Part:
    """The file that a download is collected in, and what is known of where it comes from.

    Attributes:
        path: what the file becomes.
        file: the bytes so far.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.file = _beside(path, ".part")
        self._origin = _beside(path, ".part.json")

    @property
    def size(self) -> int:
        return self.file.stat().st_size if self.file.is_file() else 0

    def validator(self, url: str) -> str | None:
        """What the server called the version of the bytes so far; None if they come from elsewhere or are unknown."""
        try:
            origin = load_json(self._origin.read_text(encoding="utf-8"))
            return str(origin["validator"]) if origin["url"] == without_password(url) else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def begin(self, url: str, validator: str | None) -> None:
        """Start over, with bytes of this version."""
        self.discard()
        if validator is not None:
            self._origin.write_text(
                json.dumps({"url": without_password(url), "validator": validator}), encoding="utf-8"
            )

    def discard(self) -> None:
        self.file.unlink(missing_ok=True)
        self._origin.unlink(missing_ok=True)

    def complete(self) -> str:
        digest = sha256_of(self.file)
        _beside(self.path, ".sha256").write_text(f"{digest}  {self.path.name}\n", encoding="utf-8")
        self.file.replace(self.path)
        self._origin.unlink(missing_ok=True)
        return digest


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


@contextmanager
def _errors_of(url: str, part: _Part) -> Iterator[None]:
    """Errors of the connection, as one line each."""
    from urllib import error

    try:
        yield
    except error.HTTPError as refused:
        refused.close()  # it holds the connection
        raise DataError(f"{url}: cannot be downloaded: the server answers {refused.code} {refused.reason}") from None
    except error.URLError as failed:
        raise DataError(f"{url}: cannot be downloaded: {failed.reason}") from None
    except (ValueError, InvalidURL) as wrong:  # an address that urllib cannot take apart
        raise DataError(f"{url}: must be an http:// or https:// address: {wrong}") from None
    except (HTTPException, ConnectionError, TimeoutError, SSLError) as broken:
        then = "continues there" if part.validator(url) else "starts again"
        raise DataError(
            f"{url}: the connection broke after {part.size:,} bytes ({str(broken) or type(broken).__name__}); "
            f"the next download {then}"
        ) from None


@contextmanager
def _open(url: str, part: _Part) -> Iterator[HTTPResponse]:
    from urllib import error, request

    if urlsplit(url).scheme not in SCHEMES:
        raise ValueError(f"the scheme is {urlsplit(url).scheme!r}")
    validator = part.validator(url) if part.size else None
    headers = {"User-Agent": "yolo9000", "Accept-Encoding": "identity"}
    if validator is not None:
        headers |= {"Range": f"bytes={part.size}-", "If-Range": validator}
    try:
        opened = web_opener().open(request.Request(url, headers=headers), timeout=TIMEOUT)  # noqa: S310
    except error.HTTPError as refused:
        if refused.code != 416:
            raise
        refused.close()  # there is no rest: the part is not of this file
        part.discard()
        with _open(url, part) as response:
            yield response
        return
    with opened as response:
        yield cast(HTTPResponse, response)


def _receive(response: HTTPResponse, part: _Part, url: str, limits: _Limits, progress: Progress) -> None:
    headers = response.headers
    if headers.get_content_type() == "text/html":
        raise DataError(f"{url}: must be a file, got a web page (HTML)")
    if headers.get("Content-Encoding", "identity") != "identity":
        raise DataError(f"{url}: must be sent as it is, got the encoding {headers['Content-Encoding']}")
    total = _total(response, part, url)
    if total is not None:
        limits.check(total, url)
    if response.status != 206:
        part.begin(url, _validator(headers))
    _append(response, part, url, limits, total, progress)
    if total is not None and part.size < total:
        raise ConnectionError(f"{total - part.size:,} bytes are missing")
    limits.check(part.size, url)


def _total(response: HTTPResponse, part: _Part, url: str) -> int | None:
    """Size of the whole file as the server says it."""
    if response.status != 206:
        length = response.headers.get("Content-Length")
        return None if length is None else whole_number(length)
    answer = response.headers.get("Content-Range", "")
    unit, _, rest = answer.partition(" ")
    span, _, size = rest.partition("/")
    total = whole_number(size)
    if unit != "bytes" or total is None or span != f"{part.size}-{total - 1}":
        raise DataError(f"{url}: must continue after byte {part.size:,}, got Content-Range {answer!r}")
    return total


def _validator(headers: Message) -> str | None:
    """The name of the version that a server sends, as If-Range takes it: a strong ETag, else the time of change."""
    tag = headers.get("ETag", "")
    return tag if tag.startswith('"') else headers.get("Last-Modified")


def _append(
    response: HTTPResponse, part: _Part, url: str, limits: _Limits, total: int | None, progress: Progress
) -> None:
    size = begun = part.size
    pace = Pace()
    with part.file.open("ab") as stream:
        progress(size, total)
        while chunk := response.read1(CHUNK):
            if size == 0 and chunk.lstrip()[:9].lower().startswith(HTML_STARTS):
                raise DataError(f"{url}: must be a file, got a web page (HTML)")
            size += len(chunk)
            if size > limits.largest:
                raise DataError(f"{url}: must be a file of at most {limits.largest:,} bytes, got more")
            stream.write(chunk)
            progress(size, total)
            pace.check(size - begun)
        stream.flush()
        os.fsync(stream.fileno())
