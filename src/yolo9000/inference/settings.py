"""Settings, one model a section; a part of the program receives its own section."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from yolo9000.choices import BatchNormForm, DecodingRule, Precision, ResizeMode, Suppression
from yolo9000.errors import ConfigError, nearest, wrong_values

__all__ = ["DetectionSettings", "EngineSettings", "ModelSettings", "suggest_setting"]

# What other detectors and their users call the settings; only messages use it.
_OTHER_NAMES = {
    "conf_threshold": ("conf", "conf_thres", "conf_thresh", "confidence", "thresh", "threshold", "score_threshold"),
    "nms_iou": ("iou", "iou_thres", "iou_threshold", "nms", "nms_thresh", "nms_threshold"),
    "max_detections": ("max_det", "topk"),
}
_ELSEWHERE = {
    "imgsz": "Detector.load(size_wh=(width, height))",
    "size": "Detector.load(size_wh=(width, height))",
    "device": "Detector.load(device=...)",
    "half": "Detector.load(precision='bfloat16')",
    "stream": "predict, which gives one image at a time",
    "vid_stride": "every",
    "save": "prediction.save(path)",
    "show": "prediction.show()",
    "verbose": "the logger yolo9000",
    "agnostic_nms": "suppression='objectness'",
}


class ModelSettings(BaseModel):
    """Which files a model is in, and how its images were fitted; all but ``size_wh`` are for a ``.cfg``.

    The arguments of `load_model` and `Detector.load`, which document them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    weights: Path | None = Field(default=None, description="Darknet's .weights [beside the .cfg]")
    names: Path | None = Field(default=None, description="Display names, one a line [.names beside the .cfg]")
    tree: Path | None = Field(default=None, description="Label tree [the one that the .cfg names]")
    data: Path | None = Field(default=None, description="Darknet's .data, for the names")
    size_wh: tuple[int, int] | None = Field(
        default=None, description="Input of the network, e.g. 416 or 608x352 [the model's]"
    )
    resize_mode: ResizeMode | None = Field(
        default=None,
        description="How a .cfg's training fitted images; Darknet until March 2017 and AlexeyAB's fork: stretch "
        "[its letter_box, or letterbox]",
    )
    batch_norm: BatchNormForm = Field(
        default="eps_inside_sqrt", description="Where a .cfg's training had epsilon; Darknet until March 2017: outside"
    )


class EngineSettings(BaseModel):
    """What runs a model. The arguments of `Detector.load`, which documents them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    engine: str = Field(
        default="auto", description="openvino, onnxruntime, torch, or the first of these that is installed"
    )
    device: str = Field(default="cpu", description="cpu, cuda, cuda:1; for OpenVINO also gpu")
    precision: Precision = Field(
        default="auto", description="bfloat16 is faster where the CPU has it; auto: if the model's receipt allows it"
    )
    threads: int | None = Field(default=None, description="CPU threads [one per core]")


class DetectionSettings(BaseModel):
    """What counts as a detection.

    Attributes:
        conf_threshold: minimum score of a detection.
        nms_iou: IoU above which two boxes of one class (on a tree: of one path, or of one parent) count as one
            object.
        hier_thresh: on a tree, minimum probability of a node for the answer to be that specific (§4).
        hier_decoding: ``conditional`` is the paper's hierarchical decoding, with score = objectness x P(node) and
            tree-aware suppression; ``darknet`` is that of Darknet, which stops much nearer the root, with
            score = objectness.
        suppression: which boxes can be one object: those with one ``label``, those whose labels lie on one ``path`` of
            the tree or have one parent, or all of them (``objectness``: the box with the highest objectness is kept).
            None means ``path`` for the paper's decoding of a tree, else ``label``.
        max_detections: maximum number of detections of an image, highest score first.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    conf_threshold: float = Field(default=0.25, ge=0, lt=1, description="Minimum score of a detection")
    nms_iou: float = Field(default=0.45, ge=0, le=1, description="IoU above which two boxes count as one object")
    hier_thresh: float = Field(
        default=0.5,
        ge=0,
        lt=1,
        description="On a tree: minimum probability of the answer; lower is more specific [the model's, else 0.5]",
    )
    hier_decoding: DecodingRule = Field(
        default="conditional", description="On a tree: the paper's hierarchical decoding, or Darknet's"
    )
    suppression: Suppression | None = Field(
        default=None, description="Which boxes can be one object: of one label, on one path of the tree, or any"
    )
    max_detections: int = Field(default=300, ge=1, description="Maximum number of detections of an image")

    @classmethod
    def checked(cls, **values: object) -> DetectionSettings:
        """Make settings from values of a user.

        Raises:
            ConfigError: a value is out of its range, or its name is unknown.
        """
        for name in values:
            if name not in cls.model_fields:
                raise ConfigError(f"unknown setting {name!r}{suggest_setting(name)}")
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            argument, problem = wrong_values(error)[0]
            raise ConfigError(problem, argument=argument) from None


def suggest_setting(name: str) -> str:
    """`` (did you mean 'conf_threshold'?)`` for another name of a setting of detection, else an empty string."""
    if name in _ELSEWHERE:
        return f": use {_ELSEWHERE[name]}"
    meant = next((ours for ours, others in _OTHER_NAMES.items() if name in others), name)
    return nearest(meant, DetectionSettings.model_fields)
