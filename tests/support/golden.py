"""Numbers recorded from Darknet's C program.

`make test` uses the small part in ``tests/golden/data``, wherever it runs; `make battery` uses the whole suite where
the development data lie beside the checkout: the same files with more cases.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from support.paths import BATTERY, SHARED

HERE = Path(__file__).parents[1] / "golden" / "data"
WHOLE = SHARED / "golden" / "dev"
FOLDER = WHOLE if BATTERY and WHOLE.is_dir() else HERE


@cache
def arrays(name: str) -> dict[str, np.ndarray]:
    with np.load(FOLDER / f"{name}.npz") as file:
        return dict(file)


@cache
def parameters(name: str) -> Any:
    return json.loads((FOLDER / f"{name}.json").read_text())


def assert_close(ours: np.ndarray, theirs: np.ndarray, absolute: float, relative: float = 0.0) -> None:
    assert ours.shape == theirs.shape
    np.testing.assert_allclose(ours, theirs, rtol=relative, atol=absolute)


def suppression(kind: str) -> str:
    return {"do_nms_sort": "label", "do_nms_obj": "objectness", "none": "label"}[kind]
