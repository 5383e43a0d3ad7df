"""Runs a service: Uvicorn, with deadlines for slow clients, a drain before it stops, and SIGHUP to load models."""

from __future__ import annotations

import asyncio
import signal
import socket
from functools import partial
from types import FrameType
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from yolo9000.errors import ConfigError
from yolo9000.serve.app import Service
from yolo9000.serve.logs import LOGGING
from yolo9000.serve.settings import ServeSettings

__all__ = ["ignore_reloads", "listen", "run"]

SEND_SECONDS = 30.0  # to take an answer
BACKLOG = 2048
BUSY = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens.

    Raises:
        ConfigError: the address is not this machine's, or the port is taken.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listening = socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise ConfigError(f"cannot listen at {host} port {port}: {error.strerror or error}", argument="port") from None
    # Connections inherit it. asyncio sets it only where the socket names its protocol; without it the end of each
    # answer waits for the client's delayed acknowledgement, 40 ms.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listening


def ignore_reloads() -> None:
    """Let SIGHUP do nothing until the service runs, where it would end the process while models are loaded."""
    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, signal.SIG_IGN)


def run(service: Service, settings: ServeSettings, listening: socket.socket) -> None:
    """Answer requests until SIGTERM or SIGINT; what has been received by then is answered."""
    config = uvicorn.Config(
        service.app,
        http=partial(_Protocol, settings),  # type: ignore[arg-type]
        ws="none",
        lifespan="on",
        log_config=LOGGING,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=round(settings.receive_seconds + settings.answer_seconds),
    )
    # Uvicorn raises the signal again when it has stopped: then it means nothing more.
    before = {number: signal.signal(number, _ignore) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        _Server(config, service, settings.drain_seconds).run([listening])
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _ignore(number: int, frame: FrameType | None) -> None:
    pass


class _Server(uvicorn.Server):
    """Uvicorn's server that drains before it stops."""

    def __init__(self, config: uvicorn.Config, service: Service, drain_seconds: float) -> None:
        super().__init__(config)
        self._service = service
        self._drain_seconds = drain_seconds
        self._reloading: set[asyncio.Task[None]] = set()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if hasattr(signal, "SIGHUP"):
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._reload)

    def _reload(self) -> None:
        task = asyncio.ensure_future(self._service.models.reload())
        self._reloading.add(task)
        task.add_done_callback(self._reloading.discard)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if sig == signal.SIGINT:
            self._drain_seconds = 0.0  # someone at a keyboard
        super().handle_exit(sig, frame)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        # Clients on connections that are kept open learn from their next answer to connect elsewhere, and whoever
        # looks at /readyz sends nothing more. To close the socket at once would lose what is just arriving.
        self._service.gate.draining = True
        await asyncio.sleep(self._drain_seconds)
        await super().shutdown(sockets)


class _Protocol(H11Protocol):
    """One connection: HTTP/1.1 with deadlines for its client."""

    def __init__(self, settings: ServeSettings, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._settings = settings
        self._late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > self._settings.max_connections:
            transport.write(BUSY)
            transport.close()
        self._expect_head()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.cycle is None or self.cycle.response_complete:
            self._expect_head()
        else:
            self._forget_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget_head()
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.transport.is_closing():
            self._abort_later()

    def timeout_keep_alive_handler(self) -> None:
        super().timeout_keep_alive_handler()
        self._abort_later()

    def _expect_head(self) -> None:
        """Close the connection unless a request begins in time; what follows a refused request counts as nothing."""
        if self._late is None:
            self._late = self.loop.call_later(self._settings.receive_seconds, self.transport.abort)

    def _forget_head(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _abort_later(self) -> None:
        """A closed connection would otherwise wait for ever for a client that does not read."""
        self.loop.call_later(SEND_SECONDS, self.transport.abort)
