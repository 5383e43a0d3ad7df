"""Where the checkout is, and the development data beside it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SHARED = ROOT.parent / "shared"
BATTERY = "YOLO9000_BATTERY" in os.environ


def shared(*parts: str) -> Path:
    """A file of the development data beside the checkout, for `make battery`; else the test skips."""
    if not BATTERY:
        pytest.skip("development data are for `make battery`")
    path = SHARED.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"development data are not here: shared/{'/'.join(parts)}")
    return path
