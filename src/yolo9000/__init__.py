"""Real-time object detection that backs off to a parent class when it is unsure: YOLOv2, YOLO9000 and joint training.

    from yolo9000 import Detector

    detector = Detector.load()
    for prediction in detector.predict("photos/"):
        print(prediction.image.name, prediction.detections.names)

The names in ``__all__`` are the public interface, and what their documentation describes. Everything else may change
between versions.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from yolo9000.checkpoints.load import load_model
    from yolo9000.checkpoints.model import LoadedModel
    from yolo9000.data.dataset import DataSet
    from yolo9000.data.dataset import open_data as open_dataset
    from yolo9000.errors import (
        ConfigError,
        DataError,
        EngineError,
        TrainingError,
        TreeError,
        WeightsError,
        YoloError,
    )
    from yolo9000.evaluation.evaluate import Evaluation, evaluate
    from yolo9000.inference.classifier import Classifier
    from yolo9000.inference.detector import Detector
    from yolo9000.inference.prediction import Prediction
    from yolo9000.inference.settings import DetectionSettings
    from yolo9000.taxonomy.wordtree import WordTree
    from yolo9000.tracking.run import TrackedFrame, track
    from yolo9000.tracking.settings import TrackingSettings
    from yolo9000.tracking.tracker import Track, Tracker
    from yolo9000.training.trainer import Outcome, train
    from yolo9000.types import Detections, PathStep, SourceImage, TreeAnswer

__version__ = "0.1.0"
__all__ = [
    "Classifier",
    "ConfigError",
    "DataError",
    "DataSet",
    "DetectionSettings",
    "Detections",
    "Detector",
    "EngineError",
    "Evaluation",
    "LoadedModel",
    "Outcome",
    "PathStep",
    "Prediction",
    "SourceImage",
    "Track",
    "TrackedFrame",
    "Tracker",
    "TrackingSettings",
    "TrainingError",
    "TreeAnswer",
    "TreeError",
    "WeightsError",
    "WordTree",
    "YoloError",
    "__version__",
    "evaluate",
    "load_model",
    "open_dataset",
    "track",
    "train",
]

_MODULES = {
    "Classifier": "inference.classifier",
    "ConfigError": "errors",
    "DataError": "errors",
    "DataSet": "data.dataset",
    "DetectionSettings": "inference.settings",
    "Detections": "types",
    "Detector": "inference.detector",
    "EngineError": "errors",
    "Evaluation": "evaluation.evaluate",
    "LoadedModel": "checkpoints.model",
    "Outcome": "training.trainer",
    "PathStep": "types",
    "Prediction": "inference.prediction",
    "SourceImage": "types",
    "Track": "tracking.tracker",
    "TrackedFrame": "tracking.run",
    "Tracker": "tracking.tracker",
    "TrackingSettings": "tracking.settings",
    "TrainingError": "errors",
    "TreeAnswer": "types",
    "TreeError": "errors",
    "WeightsError": "errors",
    "WordTree": "taxonomy.wordtree",
    "YoloError": "errors",
    "evaluate": "evaluation.evaluate",
    "load_model": "checkpoints.load",
    "open_dataset": "data.dataset",
    "track": "tracking.run",
    "train": "training.trainer",
}
_RENAMED = {"open_dataset": "open_data"}
_OTHER_NAMES = {"YOLO": "Detector.load(model)", "load": "Detector.load(model)"}
"""Of other packages, and what they are called here."""


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that ``import yolo9000`` costs nothing."""
    if name in _OTHER_NAMES:
        raise ImportError(f"yolo9000 has no {name}: use {_OTHER_NAMES[name]}")
    if name not in _MODULES:
        raise AttributeError(f"module 'yolo9000' has no attribute {name!r}")
    value = getattr(import_module(f"yolo9000.{_MODULES[name]}"), _RENAMED.get(name, name))
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
