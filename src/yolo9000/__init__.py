"""Detect thousands of kinds of things in images: the whole system of *YOLO9000: Better, Faster, Stronger*.

>>> from yolo9000 import Detector
>>> detector = Detector.load("yolov2-voc.cfg")
>>> for prediction in detector.predict("photos/"):
...     print(prediction.detections.names)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from yolo9000.inference.detector import Detector, Prediction
    from yolo9000.types import Detections, SourceImage

__version__ = "0.1.0"
__all__ = ["Detections", "Detector", "Prediction", "SourceImage", "__version__"]

_HOMES = {
    "Detector": "yolo9000.inference.detector",
    "Prediction": "yolo9000.inference.detector",
    "Detections": "yolo9000.types",
    "SourceImage": "yolo9000.types",
}


def __getattr__(name: str) -> Any:
    """Import the public names when they are asked for, so that ``import yolo9000`` costs nothing."""
    if name not in _HOMES:
        raise AttributeError(f"module 'yolo9000' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
