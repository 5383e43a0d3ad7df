"""The model that comes with the package; how it was trained and what it can do: docs/model-card.md."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

__all__ = ["BUNDLED", "bundled_file"]

BUNDLED = "yolo9000-small"
"""Its name, wherever a model file can be named."""


def bundled_file() -> Path:
    """The file of the model."""
    return Path(str(files(__name__) / f"{BUNDLED}.onnx"))
