"""What every request passes before and after it is answered: id, host, token, log, metrics."""

from __future__ import annotations

import hmac
import logging
import time
from dataclasses import dataclass, field
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from yolo9000.serve.logs import request_id_of
from yolo9000.serve.metrics import Metrics
from yolo9000.serve.problems import ProblemResponse, Refused

__all__ = ["Gate"]

PROTECTED = ("/v1/", "/metrics")
"""Paths that need the token; the page and the probes do not."""
PAGE_POLICY = (
    "default-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:; style-src 'self' 'unsafe-inline'; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": PAGE_POLICY,
}

log = logging.getLogger("yolo9000.serve")


@dataclass
class Gate:
    """Middleware of ASGI around the whole application.

    Attributes:
        app: the application.
        metrics: of the service.
        token: that requests must bear; None for none.
        hosts: accepted values of the header Host; empty for any.
        draining: whether the service is about to stop, so that clients should connect elsewhere.
    """

    app: ASGIApp
    metrics: Metrics
    token: str | None = None
    hosts: tuple[str, ...] = ()
    draining: bool = field(default=False)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request = _Request(self, scope, send)
        try:
            self._check(scope)
            await self.app(scope, receive, request.send)
        except Refused as refused:
            await ProblemResponse(refused, request.id)(scope, receive, request.send)
        except Exception:  # the application has answered 500 already
            log.exception("internal error", extra={"request_id": request.id})
        finally:
            request.finish()

    def _check(self, scope: Scope) -> None:
        headers = Headers(scope=scope)
        if self.hosts and _host_name(headers.get("host", "")) not in self.hosts:
            raise Refused(400, "the header Host must be one of " + ", ".join(self.hosts))
        if self.token is not None and scope["path"].startswith(PROTECTED) and not self._bears_token(headers):
            raise Refused(
                401, "must have the header Authorization: Bearer TOKEN", headers={"WWW-Authenticate": "Bearer"}
            )

    def _bears_token(self, headers: Headers) -> bool:
        scheme, _, token = headers.get("authorization", "").partition(" ")
        sent = token.strip().encode("latin-1")  # as headers are decoded
        return scheme.lower() == "bearer" and hmac.compare_digest(sent, (self.token or "").encode())


class _Request:
    """One request: adds headers to its answer, then logs and counts it."""

    def __init__(self, gate: Gate, scope: Scope, send: Send) -> None:
        self._gate = gate
        self._scope = scope
        self._send = send
        self._start = time.perf_counter()
        self.id = request_id_of(Headers(scope=scope).get("x-request-id"))
        self.status: int | None = None
        scope.setdefault("state", {})["request_id"] = self.id

    async def send(self, message: Message) -> None:
        """Pass on a message of the answer."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            headers["X-Request-ID"] = self.id
            for name, value in HEADERS.items():
                headers.setdefault(name, value)
            if self._gate.draining:
                headers["Connection"] = "close"
        await self._send(message)

    def finish(self) -> None:
        """Log and count the request; the status 499 says that the client went before it was answered."""
        seconds = time.perf_counter() - self._start
        status = self.status or 499
        route = getattr(self._scope.get("route"), "path", "page")
        self._gate.metrics.answered(route, status, seconds)
        client = self._scope.get("client")
        about: dict[str, Any] = {
            "request_id": self.id,
            "client": client[0] if client else None,
            "method": self._scope["method"],
            "path": self._scope["path"],
            "status": status,
            "milliseconds": round(1000 * seconds, 1),
        }
        log.info("request", extra=about | self._scope["state"].get("logged", {}))


def _host_name(host: str) -> str:
    """The header Host without its port, in lower case."""
    host = host.lower()
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.rpartition(":")[0] or host
