"""Commands in processes that start at once: forks of a process that has imported all that they need.

As a program it reads requests from standard input, a line each: ``{"run": [...], "cwd": ..., "log": ...}`` is answered
with the id of the process, ``{"wait": id}`` with its exit code, ``{"size": bytes, "of": folder}`` gives a tmpfs a size.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any


class Forked:
    """Starts commands in processes of their own, each the first of its group."""

    def __init__(self, prefix: Sequence[str] = ()) -> None:
        """Start the process that is forked.

        Args:
            prefix: what runs it, such as ``unshare``.
        """
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen(
            [*prefix, sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
        )

    def _ask(self, **request: Any) -> int:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(request).encode() + b"\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())

    def start(self, words: Iterable[str | Path], cwd: Path, log: Path) -> int:
        """Start a command; the id of its process. What it prints goes to the log."""
        return self._ask(run=list(map(str, words)), cwd=str(cwd), log=str(log))

    def wait(self, process: int) -> int:
        """The exit code of a process; that of a signal is negative."""
        return self._ask(wait=process)

    def run(self, words: Iterable[str | Path], cwd: Path, log: Path) -> int:
        """Run a command to its end."""
        return self.wait(self.start(words, cwd, log))

    def resize(self, folder: Path, size: int) -> None:
        """Give the tmpfs at a folder that many bytes, a multiple of 4,096."""
        assert self._ask(size=size, of=str(folder)) == 0

    def close(self) -> None:
        """End it."""
        self.process.communicate()


def _serve() -> None:
    import cv2  # noqa: F401
    import matplotlib.pyplot  # noqa: F401
    import onnxruntime  # noqa: F401

    import yolo9000.checkpoints.export
    import yolo9000.cli.app
    import yolo9000.evaluation.report
    import yolo9000.inference.detector
    import yolo9000.tracking.run
    import yolo9000.training  # noqa: F401

    for line in sys.stdin:
        request = json.loads(line)
        print(_answer(request), flush=True)


def _answer(request: dict[str, Any]) -> int:
    if "wait" in request:
        return os.waitstatus_to_exitcode(os.waitpid(request["wait"], 0)[1])
    if "size" in request:
        resize = ["mount", "-o", f"remount,size={request['size']}", request["of"]]
        return subprocess.run(resize, check=False).returncode
    process = os.fork()
    if process:
        with suppress(OSError):  # it did so itself, or has ended
            os.setpgid(process, process)
        return process
    try:
        _become(request)
    finally:
        os._exit(70)


def _become(request: dict[str, Any]) -> None:
    from yolo9000.cli.app import main

    os.setpgid(0, 0)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.chdir(request["cwd"])
    log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for target, source in ((0, os.open(os.devnull, os.O_RDONLY)), (1, log), (2, log)):
        os.dup2(source, target)
    sys.argv = ["yolo9000", *request["run"]]
    try:
        main()
    except SystemExit as error:
        sys.stdout.flush()
        os._exit(error.code if isinstance(error.code, int) else 1)


if __name__ == "__main__":
    _serve()
