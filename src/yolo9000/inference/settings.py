"""Settings, one model a section; a part of the program receives its own section."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from yolo9000.errors import ConfigError, describe_errors

__all__ = ["DetectionSettings"]


class DetectionSettings(BaseModel):
    """What counts as a detection.

    Attributes:
        threshold: score above which a detection is given.
        nms: IoU above which two boxes of one class (on a tree: of one path) are taken for one object.
        hier_thresh: on a tree, how probable a node must be for the answer to be that specific (§4).
        walk: ``conditional`` is the paper's walk, with score = objectness x P(node) and tree-aware suppression;
            ``darknet`` is the released program's, which stops much nearer to the top, with score = objectness.
        suppression: which boxes can be one object: those with one ``label``, those whose labels lie on one ``path`` of
            the tree, or all of them (``objectness``: the box with the best objectness stays). None takes ``path``
            for the paper's walk down a tree, else ``label``.
        max_detections: how many are given for one image, best first.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    threshold: float = Field(default=0.25, ge=0, lt=1)
    nms: float = Field(default=0.45, ge=0, le=1)
    hier_thresh: float = Field(default=0.5, ge=0, lt=1)
    walk: Literal["conditional", "darknet"] = "conditional"
    suppression: Literal["label", "path", "objectness"] | None = None
    max_detections: int = Field(default=300, ge=1)

    @classmethod
    def checked(cls, **values: object) -> DetectionSettings:
        """Make settings from values of a user.

        Raises:
            ConfigError: a value is out of its range, or its name is unknown.
        """
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise ConfigError(f"--{describe_errors(error, options=True)}") from None
