"""SIGTERM and SIGHUP end a command as Ctrl-C does: files are finished, then the exit code says which signal it was."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["Stopped", "stop_signals_raised"]

REPEATED_SECONDS = 10.0  # ``timeout`` and others send a signal to the process and again to its group


class Stopped(SystemExit):
    """A signal asked the command to stop.

    Attributes:
        name: of the signal.
        exit_code: 128 and the number of the signal.
    """

    def __init__(self, number: int) -> None:
        self.name = signal.Signals(number).name
        self.exit_code = 128 + number
        super().__init__(self.exit_code)


@contextmanager
def stop_signals_raised() -> Iterator[None]:
    """Raise `Stopped` at SIGTERM and SIGHUP, unless they are ignored, as ``nohup`` lets SIGHUP be.

    The same signal again soon after is not raised, so that what the first one ends can be finished.
    """
    raised = 0.0

    def stop(number: int, _: FrameType | None) -> None:
        nonlocal raised
        if not raised or time.monotonic() - raised > REPEATED_SECONDS:
            raised = time.monotonic()
            raise Stopped(number)

    signals = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    before = {number: signal.getsignal(number) for number in signals}
    changed = {number: handler for number, handler in before.items() if handler is signal.SIG_DFL}
    for number in changed:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number, handler in changed.items():
            signal.signal(number, handler)
