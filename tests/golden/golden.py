"""Numbers recorded from Darknet's C program.

A small part lies in ``data/`` beside this file. Where the whole suite lies beside the checkout, it is used instead: the
same files with more cases.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).parent / "data"
WHOLE = Path(__file__).parents[3] / "shared" / "golden" / "dev"
FOLDER = WHOLE if WHOLE.is_dir() else HERE


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
