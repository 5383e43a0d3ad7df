"""Start `yolo9000 train` in a process of its own, wait for it, and read its log."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path


def command(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "yolo9000", "train", *map(str, arguments)]


def start(*arguments: str | Path, new_session: bool = False, **variables: str) -> subprocess.Popen[str]:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)} | variables
    return subprocess.Popen(
        command(*arguments),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        start_new_session=new_session,
    )


def finish(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate()
    return process.returncode, out, err


def log_of(folder: Path) -> list[dict[str, object]]:
    """The log, but for what no two runs share: times."""
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key not in TIMES} for line in lines]


TIMES = {"seconds"}


def wait_for_log(process: subprocess.Popen[str], folder: Path, lines: int) -> bool:
    """Wait until the log of a run has that number of lines, or its process ended; which of the two."""
    log = folder / "metrics.jsonl"
    while process.poll() is None:
        if log.exists() and log.read_bytes().count(b"\n") >= lines:
            return True
        time.sleep(0.01)
    return False
