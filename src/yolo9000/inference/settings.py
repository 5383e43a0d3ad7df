"""Settings, one model a section; a part of the program receives its own section."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from yolo9000.errors import ConfigError, nearest, wrong_values

__all__ = ["DetectionSettings"]

# What other detectors and their users call the settings; only messages use it.
_OTHER_NAMES = {
    "conf_threshold": ("conf", "conf_thres", "conf_thresh", "confidence", "thresh", "threshold", "score_threshold"),
    "nms_iou": ("iou", "iou_thres", "iou_threshold", "nms", "nms_thresh", "nms_threshold"),
    "max_detections": ("max_det", "topk"),
}


class DetectionSettings(BaseModel):
    """What counts as a detection.

    Attributes:
        conf_threshold: minimum score of a detection.
        nms_iou: IoU above which two boxes of one class (on a tree: of one path) count as one object.
        hier_thresh: on a tree, minimum probability of a node for the answer to be that specific (§4).
        hier_decoding: ``conditional`` is the paper's hierarchical decoding, with score = objectness x P(node) and
            tree-aware suppression; ``darknet`` is that of Darknet, which stops much nearer the root, with
            score = objectness.
        suppression: which boxes can be one object: those with one ``label``, those whose labels lie on one ``path`` of
            the tree, or all of them (``objectness``: the box with the highest objectness is kept). None means ``path``
            for the paper's decoding of a tree, else ``label``.
        max_detections: maximum number of detections of an image, highest score first.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    conf_threshold: float = Field(default=0.25, ge=0, lt=1)
    nms_iou: float = Field(default=0.45, ge=0, le=1)
    hier_thresh: float = Field(default=0.5, ge=0, lt=1)
    hier_decoding: Literal["conditional", "darknet"] = "conditional"
    suppression: Literal["label", "path", "objectness"] | None = None
    max_detections: int = Field(default=300, ge=1)

    @classmethod
    def checked(cls, **values: object) -> DetectionSettings:
        """Make settings from values of a user.

        Raises:
            ConfigError: a value is out of its range, or its name is unknown.
        """
        for name in values:
            if name not in cls.model_fields:
                raise ConfigError(f"unknown setting {name!r}{_suggestion(name)}")
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            argument, problem = wrong_values(error)[0]
            raise ConfigError(problem, argument=argument) from None


def _suggestion(name: str) -> str:
    meant = next((ours for ours, others in _OTHER_NAMES.items() if name in others), name)
    return nearest(meant, DetectionSettings.model_fields)
