"""The interface of the training loop to a classifier or a detector."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from yolo9000.architectures.layers import Architecture
from yolo9000.architectures.torch import SplitHead
from yolo9000.architectures.weights import Model
from yolo9000.checkpoints.model import LoadedModel
from yolo9000.data.batching import Batch, Example
from yolo9000.data.dataset import DataSet, OnError
from yolo9000.data.images import image_size
from yolo9000.data.soft_labels import SoftLabels
from yolo9000.inference.engines import Precision
from yolo9000.taxonomy.wordtree import WordTree
from yolo9000.training.loader import SampleRequest
from yolo9000.types import Sample

__all__ = ["Losses", "PseudoBox", "Scores", "Task", "listed_samples", "soft_tensor"]


@dataclass(frozen=True)
class Losses:
    """The loss of some images.

    Attributes:
        total: to differentiate: the sum over the images.
        terms: of the total, detached, each a sum over the images too.
        pseudo_boxes: the box that was trained on each image-level label.
    """

    total: Tensor
    terms: dict[str, Tensor]
    pseudo_boxes: tuple[PseudoBox, ...] = ()


@dataclass(frozen=True)
class PseudoBox:
    """The box that was trained on an image-level label (§4).

    Attributes:
        image: its name.
        index: its position in the order of the epoch.
        label: class, or node of the tree.
        box_xyxy: the box in pixels of the input.
        size_wh: width and height of the input.
        probability: of the label given the box, on a tree of the whole path.
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
    """Metrics of a network on the validation split.

    Attributes:
        metrics: by name; NaN where the data do not define one.
        image: of a detector, some of the images with ground truth and predictions.
    """

    metrics: dict[str, float]
    image: UInt8[np.ndarray, "h w 3"] | None = None


@runtime_checkable
class Task(Protocol):
    """A network in training: a classifier or a detector."""

    @property
    def samples(self) -> Sequence[Sample]:
        """The training images, their labels those of the network."""
        ...

    @property
    def data(self) -> DataSet:
        """The training split."""
        ...

    @property
    def validation(self) -> DataSet | None:
        """The validation split; None: there is none."""
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
        """The metric by which the best weights are chosen."""
        ...

    def example(self, request: SampleRequest) -> Example:
        """The augmented image of a request."""
        ...

    def loss(self, raw: Tensor | SplitHead, batch: Batch, images_seen: int, progress: float) -> Losses:
        """The loss of the network's output for a batch."""
        ...

    def evaluate(self, model: LoadedModel, precision: Precision, threads: int) -> Scores:
        """Metrics of a model on the validation split."""
        ...

    def checkpoint(self, model: Model, trained: dict[str, Any]) -> LoadedModel:
        """The model with all that is needed to use it."""
        ...

    def draw(self, batch: Batch) -> UInt8[np.ndarray, "h w 3"]:
        """An image that shows a batch."""
        ...


def soft_tensor(
    labels: SoftLabels, indices: Sequence[int], classes: int, device: torch.device
) -> Float[Tensor, "m k"] | None:
    """The probabilities of some soft labels as the loss takes them; see `SoftLabels.dense`."""
    probabilities = labels.dense(indices, classes)
    return None if probabilities is None else torch.from_numpy(probabilities).to(device)


def listed_samples(data: DataSet, on_error: OnError) -> list[Sample]:
    """All images of a data set; the header of each is checked, unless reading the annotations did.

    Raises:
        DataError: an annotation has an issue, or a file is not an image.
    """
    samples = list(data.samples(on_error))
    for sample in samples:
        if sample.size_wh is None:
            image_size(sample.image, sample.name)
    return samples
