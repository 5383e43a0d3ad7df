"""The JSON of the service: what it is asked and what it answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, create_model

from yolo9000.choices import ResizeMode
from yolo9000.inference.settings import DetectionSettings
from yolo9000.io.records import Box, ImageRecord
from yolo9000.serve.describe import VERSION

__all__ = [
    "EXAMPLE_ANSWER",
    "MIN_CONFIDENCE",
    "MIN_NODE_PROBABILITY",
    "CandidateRecord",
    "DetectAnswer",
    "DetectQuery",
    "ImageAnswer",
    "LabelTree",
    "Limits",
    "ModelDescription",
    "OwnQuery",
]

MIN_NODE_PROBABILITY = 0.01
"""Minimum absolute probability of the nodes that are listed for a candidate."""
MIN_CONFIDENCE = 0.01
"""Lowest confidence threshold of a request: lower ones take long and mean nothing."""


class OwnQuery(BaseModel):
    """The parameters of a request that are not settings of detection."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str | None = Field(default=None, description="Name of the model; the first one if left out")
    within: list[str] = Field(
        default=[], description="On a tree: condition on these nodes and look for nothing else; may be repeated"
    )
    classes: list[str] = Field(
        default=[], description="Keep only these classes, on a tree with everything below them; may be repeated"
    )
    candidates: float | None = Field(
        default=None,
        ge=MIN_CONFIDENCE,
        lt=1,
        description="Also list every box whose objectness is above this, with the probabilities of its nodes",
    )

    def settings(self) -> dict[str, Any]:
        """The settings of detection that were given."""
        given = self.model_dump(exclude_none=True)
        return {name: value for name, value in given.items() if name not in OwnQuery.model_fields}


def _optional(name: str, setting: Any) -> tuple[Any, Any]:
    limits = [*setting.metadata, *([Field(ge=MIN_CONFIDENCE)] if name == "conf_threshold" else [])]
    kind: Any = Annotated[(setting.annotation, *limits)] if limits else setting.annotation
    return kind | None, Field(default=None, description=setting.description)


if TYPE_CHECKING:
    DetectQuery = OwnQuery
else:
    DetectQuery = create_model(
        "DetectQuery",
        __base__=OwnQuery,
        **{name: _optional(name, setting) for name, setting in DetectionSettings.model_fields.items()},
    )
"""The parameters of ``POST /v1/detect``: the settings of detection, each of which may be left out, and `OwnQuery`'s."""


class CandidateRecord(BaseModel):
    """A box before the label tree is decoded and before suppression."""

    model_config = ConfigDict(extra="forbid")

    box_xyxy: Box = Field(description="Left, top, right, bottom in pixels, not clipped to the image")
    objectness: float = Field(ge=0, le=1)
    nodes: list[tuple[int, float]] = Field(
        description="[node, P(node | its parent)] of each node whose absolute probability is at least "
        f"{MIN_NODE_PROBABILITY}, of the path of most probable children to a leaf, and of their second most probable "
        "siblings; of flat classes [class, probability]"
    )


class ImageAnswer(ImageRecord):
    """The detections in one image."""

    candidates: list[CandidateRecord] | None = Field(default=None, description="Only when asked for")


class DetectAnswer(BaseModel):
    """The detections in each image of a request, in its order."""

    model_config = ConfigDict(extra="forbid")

    version: Literal[1] = VERSION
    model: str = Field(description="Name of the model that answered")
    images: list[ImageAnswer]


class LabelTree(BaseModel):
    """The labels of a model; an index is a node, and a ``label`` of detections."""

    version: Literal[1] = VERSION
    model: str
    kind: Literal["tree", "softmax", "sigmoid"] = Field(description="softmax, sigmoid: flat classes")
    ids: list[str]
    names: list[str]
    parents: list[int] = Field(description="-1 for a root; parents precede children, siblings are contiguous")
    synonyms: list[list[str]]


class Limits(BaseModel):
    """What a request may be."""

    max_bytes: int
    max_pixels: int
    max_images: int


class ModelDescription(BaseModel):
    """A model and how it is set."""

    version: Literal[1] = VERSION
    name: str
    models: list[str] = Field(description="Names of all models of the service, the default first")
    kind: Literal["tree", "softmax", "sigmoid"]
    labels: int = Field(description="Number of classes or nodes")
    network_wh: tuple[int, int]
    resize_mode: ResizeMode
    fingerprint: str = Field(description="SHA-256 of the label tree or the names")
    settings: DetectionSettings
    limits: Limits
    yolo9000: str = Field(description="Version of the package")


_ANIMAL = {"node": 3, "name": "animal", "conditional": 0.98, "probability": 0.98}
_CAT = {"node": 17, "name": "cat", "conditional": 0.95, "probability": 0.931}
_TABBY = {"node": 95, "name": "tabby", "conditional": 0.42, "probability": 0.391}
_DOG = {"node": 18, "name": "dog", "conditional": 0.04, "probability": 0.0392}
EXAMPLE_ANSWER: dict[str, Any] = {
    "version": VERSION,
    "model": "yolo9000-small",
    "images": [
        {
            "source": "cat.jpg",
            "frame": None,
            "timestamp": None,
            "width": 640,
            "height": 480,
            "detections": [
                {
                    "name": "cat",
                    "label": 17,
                    "score": 0.87,
                    "box_xyxy": [10.25, 20.5, 300.0, 400.75],
                    "path": [_ANIMAL, _CAT],
                    "stopped": "hier_thresh",
                    "next_best": _TABBY,
                    "runner_up": _DOG,
                }
            ],
        }
    ],
}
