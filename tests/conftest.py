"""Unit and golden tests check the shapes that signatures promise; no test touches the network beyond this machine."""

from __future__ import annotations

import os
import signal
import socket

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported; tests of several cores run beside each other

import jaxtyping
import pytest
from hypothesis import settings

import yolo9000.cli.app  # noqa: F401  before the checks, which do not understand how Typer calls commands

jaxtyping.install_import_hook("yolo9000", "beartype.beartype")
CHECKED = ("unit", "golden")  # the checks take two thirds of the time of laws, with their many examples

# A shell starts what runs in its background deaf to Ctrl-C, nohup what it runs deaf to SIGHUP, and so are the programs
# that tests start and stop.
signal.signal(signal.SIGINT, signal.default_int_handler)
if hasattr(signal, "SIGHUP"):  # not on Windows
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

# No time limit on an example, since machines may be busy; the same examples every time where a run decides on a change.
settings.register_profile("steady", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("steady")

LOOPBACK = ("127.", "::1", "localhost")


def pytest_runtest_setup(item: pytest.Item) -> None:
    checked = item.path.parent.name in CHECKED or "YOLO9000_BATTERY" in os.environ
    jaxtyping.config.update("jaxtyping_disable", not checked)
    if os.name == "nt" and item.get_closest_marker("posix"):
        pytest.skip("uses pipes, symbolic links or signals of POSIX")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("YOLO9000_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture(autouse=True)
def _only_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: object) -> None:
        host = address[0] if isinstance(address, tuple) else "localhost"
        assert str(host).startswith(LOOPBACK), f"a test must not connect to {host}"
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", guarded)
