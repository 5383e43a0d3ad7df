"""What the training loop asks of a classifier or a detector in training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import UInt8
from torch import Tensor

from yolo9000.architectures.layers import Architecture
from yolo9000.architectures.weights import Model
from yolo9000.checkpoints.model import LoadedModel
from yolo9000.data.batching import Batch, Example
from yolo9000.data.dataset import DataSet, OnError
from yolo9000.data.images import image_size
from yolo9000.inference.engines import Precision
from yolo9000.taxonomy.wordtree import WordTree
from yolo9000.training.loader import Order
from yolo9000.types import Sample

__all__ = ["Losses", "PseudoBox", "Scores", "Task", "listed_samples"]


@dataclass(frozen=True)
class Losses:
    """The loss of some images.

    Attributes:
        total: what gradients are of: the sum over the images.
        parts: what it is made of, detached, each a sum over the images too.
        pseudo: which box each image-level label taught.
    """

    total: Tensor
    parts: dict[str, Tensor]
    pseudo: tuple[PseudoBox, ...] = ()


@dataclass(frozen=True)
class PseudoBox:
    """The box that an image-level label of an image taught (§4).

    Attributes:
        image: its name.
        index: its place in the order of the epoch.
        label: class, or node of the tree.
        box_xyxy: the box in pixels of the input.
        size_wh: width and height of the input.
        probability: that the box gave to the label, on a tree to the whole path.
        objectness: of the box.
    """

    image: str
    index: int
    label: int
    box_xyxy: tuple[float, float, float, float]
    size_wh: tuple[int, int]
    probability: float
    objectness: float


@dataclass(frozen=True)
class Scores:
    """How good a network is on the validation split.

    Attributes:
        numbers: the scores by name; NaN where the data say nothing.
        image: of a detector, some of the images with their truth and what was found.
    """

    numbers: dict[str, float]
    image: UInt8[np.ndarray, "h w 3"] | None = None


@runtime_checkable
class Task(Protocol):
    """A network in training: a classifier or a detector."""

    @property
    def samples(self) -> Sequence[Sample]:
        """The training images, their labels those of the network."""
        ...

    @property
    def validation(self) -> DataSet | None:
        """What the network is scored on; None: nothing."""
        ...

    @property
    def architecture(self) -> Architecture:
        """The network."""
        ...

    @property
    def names(self) -> tuple[str, ...]:
        """Of the classes, or of all nodes of the tree."""
        ...

    @property
    def tree(self) -> WordTree | None:
        """The label tree; None for flat classes."""
        ...

    @property
    def best(self) -> str:
        """The score that says which weights are the best."""
        ...

    def example(self, order: Order) -> Example:
        """An image as the network is to see it."""
        ...

    def loss(self, raw: Tensor, batch: Batch, images_seen: int) -> Losses:
        """The loss of what the network gave for a batch."""
        ...

    def score(self, file: LoadedModel, precision: Precision, threads: int) -> Scores:
        """The scores of a model on the validation split."""
        ...

    def file(self, model: Model, trained: dict[str, Any]) -> LoadedModel:
        """The model with all that is needed to use it."""
        ...

    def draw(self, batch: Batch) -> UInt8[np.ndarray, "h w 3"]:
        """A batch for the eye."""
        ...


def listed_samples(data: DataSet, on_error: OnError) -> list[Sample]:
    """All images of a data set, after a look at the header of each that was not looked at before.

    Raises:
        DataError: an annotation has an issue, or an image is none.
    """
    samples = list(data.samples(on_error))
    for sample in samples:
        if sample.size_wh is None:
            image_size(sample.image, sample.name)
    return samples
