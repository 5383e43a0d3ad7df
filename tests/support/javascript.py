"""The page's modules, run by Node.js, which tests of them skip without."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

import yolo9000.serve

PAGE = Path(yolo9000.serve.__file__).parent / "page"
NODE = shutil.which("node")

# Reads a line of JSON, calls the function with it and writes a line of JSON.
LOOP = """
const readline = (await import("node:readline")).createInterface({ input: process.stdin });
for await (const line of readline) process.stdout.write(JSON.stringify(answer(JSON.parse(line))) + "\\n");
"""


class Script:
    """A function in JavaScript that a process of Node.js answers with."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def __call__(self, **values: Any) -> Any:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps(values, default=_plain) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())


@contextmanager
def script(source: str) -> Iterator[Script]:
    """Run a module that defines ``answer(value)``; it imports the page's modules as the page does, ``./walk.js``."""
    assert NODE is not None
    command = [NODE, "--input-type=module", "--eval", _linked(source) + LOOP]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1) as process:
        yield Script(process)
        assert process.stdin
        process.stdin.close()


def _linked(source: str) -> str:
    """A module whose imports are ``data:`` URLs, since Node.js would take the files for CommonJS."""
    for path in PAGE.glob("*.js"):
        if f'"./{path.name}"' in source:
            module = base64.b64encode(_linked(path.read_text("utf-8")).encode()).decode()
            source = source.replace(f'"./{path.name}"', f'"data:text/javascript;base64,{module}"')
    return source


def _plain(value: object) -> object:
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else vars(value)
