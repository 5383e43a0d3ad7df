"""The record of one image: a line of ``detections.jsonl``, and a part of the answer of ``yolo9000 serve``.

`image_record` makes it; `ImageRecord` is its schema.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from yolo9000.types import Detections

__all__ = ["DetectionRecord", "ImageRecord", "StepRecord", "TreeDetectionRecord", "image_record"]

Box = tuple[float, float, float, float]


def image_record(
    source: str | None, detections: Detections, *, frame: int | None = None, timestamp: float | None = None
) -> dict[str, Any]:
    """The detections in one image as plain values; see `ImageRecord`.

    Args:
        source: where the image is from; None for one without a name.
        detections: in it.
        frame: 0-based index of a video's frame; None for a single image.
        timestamp: of that frame in seconds; None for a single image.
    """
    return {"source": source, "frame": frame, "timestamp": timestamp, **detections.to_dict()}


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid")


class StepRecord(_Record):
    """A node on a path down the label tree."""

    node: int = Field(description="Index of the node in the tree")
    name: str = Field(description="Display name of the node")
    conditional: float = Field(description="P(node | its parent, object)")
    probability: float = Field(description="P(node | object)")


class DetectionRecord(_Record):
    """One detection."""

    name: str = Field(description="Display name of the label")
    label: int = Field(description="Index of the class, or node of the label tree")
    score: float = Field(ge=0, le=1, description="Objectness x class probability")
    box_xyxy: Box = Field(description="Left, top, right, bottom in pixels of the upright image")


class TreeDetectionRecord(DetectionRecord):
    """One detection of a model with a label tree."""

    path: list[StepRecord] = Field(min_length=1, description="From a root to the label")
    stopped: Literal["leaf", "hier_thresh"] = Field(description="Why decoding stopped at the label")
    next_best: StepRecord | None = Field(description="The most probable child of the label; null at a leaf")
    runner_up: StepRecord | None = Field(description="The most probable sibling of the label; null without siblings")


class ImageRecord(_Record):
    """The detections in one image, highest score first."""

    source: str | None = Field(description="Name of the image's file; null where it has none")
    frame: int | None = Field(description="0-based index of a video's frame; null for a single image")
    timestamp: float | None = Field(description="Of that frame in seconds; null for a single image")
    width: int = Field(description="Of the upright image, in pixels")
    height: int = Field(description="Of the upright image, in pixels")
    detections: list[TreeDetectionRecord] | list[DetectionRecord]
