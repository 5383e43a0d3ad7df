"""Training a classifier: its images, loss and metrics (§3 Training for classification)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from yolo9000.architectures.layers import Architecture, Softmax
from yolo9000.architectures.surgery import with_classes
from yolo9000.architectures.torch import SplitHead
from yolo9000.architectures.weights import Model
from yolo9000.checkpoints.model import LoadedModel
from yolo9000.data.augment import augment_classifier, draws
from yolo9000.data.batching import Batch, Example
from yolo9000.data.dataset import DataSet
from yolo9000.data.images import load_image
from yolo9000.errors import ConfigError
from yolo9000.evaluation.labels import labels_among
from yolo9000.evaluation.runner import classification_scores, image_label
from yolo9000.inference.classifier import Classifier
from yolo9000.inference.engines import Precision
from yolo9000.losses.classification import SiblingGroups, class_loss
from yolo9000.taxonomy.wordtree import WordTree
from yolo9000.training.initialize import named_architecture
from yolo9000.training.loader import SampleRequest
from yolo9000.training.recipe import ClassifyRecipe
from yolo9000.training.tasks.base import Losses, Scores, listed_samples, soft_tensor
from yolo9000.training.visualize import draw_batch
from yolo9000.types import Sample

__all__ = ["ClassifierTraining"]


@dataclass(frozen=True)
class ClassifierTraining:
    """A classifier in training.

    Attributes:
        recipe: how it is trained.
        data: the training split.
        validation: the validation split; None: there is none.
        samples: the training images, each with one image-level label, as the network numbers it.
        architecture: the network.
        device: that the loss is computed on.
    """

    recipe: ClassifyRecipe
    data: DataSet
    validation: DataSet | None
    samples: Sequence[Sample]
    architecture: Architecture
    device: torch.device

    best = "top1"

    @classmethod
    def prepare(
        cls, recipe: ClassifyRecipe, data: DataSet, validation: DataSet | None, device: torch.device
    ) -> ClassifierTraining:
        """Read the data and define the network for its classes.

        Raises:
            DataError: the data have an issue, or an image without exactly one class.
            ConfigError: the network is no classifier, or cannot have the size.
        """
        architecture = named_architecture(recipe.network, recipe.start)
        if not isinstance(architecture.head, Softmax):
            raise ConfigError(f"network.name: {recipe.network.name} must be a classifier, which ends in [softmax]")
        tree = data.tree
        architecture = with_classes(architecture, len(tree or data.classes), tree=None if tree is None else TREE_FILE)
        architecture.shapes()
        labels = labels_among(tree.names if tree else data.classes, tree, data)
        samples = [
            replace(sample, boxes=None, image_labels=(int(labels[image_label(sample)]),))
            for sample in listed_samples(data, recipe.on_error)
        ]
        return cls(recipe, data, validation, samples, architecture, device)

    @property
    def tree(self) -> WordTree | None:
        """The label tree; None for flat classes."""
        return self.data.tree

    @property
    def names(self) -> tuple[str, ...]:
        """Of the classes, or of all nodes of the tree."""
        return self.data.tree.names if self.data.tree else self.data.classes

    @cached_property
    def groups(self) -> SiblingGroups | None:
        """The tree's sibling groups, on the device."""
        return None if self.data.tree is None else SiblingGroups.of(self.data.tree, self.device)

    def example(self, request: SampleRequest) -> Example:
        """The augmented image of a request.

        Raises:
            DataError: the image cannot be read.
        """
        sample = self.samples[request.image]
        image = load_image(sample.image, sample.name).pixels
        rng = draws(self.recipe.seed, *request.random_key)
        image = augment_classifier(image, self.recipe.augment, request.size_wh, rng)
        return Example(image, None, sample.image_labels, sample.name, request.index, None, sample.soft)

    def loss(self, raw: Tensor | SplitHead, batch: Batch, images_seen: int, progress: float) -> Losses:
        """Cross-entropy, on a tree of every sibling group on the label's path; summed over the images.

        Args:
            raw: the network's output, (N, K, 1, 1).
            batch: the images.
            images_seen: not used.
            progress: not used.
        """
        assert isinstance(raw, Tensor)  # noqa: S101  only detectors have a head to split
        labels = torch.tensor([labels[0] for labels in batch.image_labels], device=self.device)
        soft = soft_tensor(self.data.soft_labels, batch.soft, len(self.names), self.device)
        total = class_loss(raw.flatten(1).float(), labels, self.groups, soft).sum()
        return Losses(total, {"classes": total.detach()})

    def evaluate(self, model: LoadedModel, precision: Precision, threads: int) -> Scores:
        """Top-1 and Top-5 on the validation split."""
        assert self.validation is not None  # noqa: S101  the loop checks
        classifier = Classifier.load(
            model, engine="torch", device=str(self.device), precision=precision, threads=threads
        )
        return Scores(classification_scores(classifier, self.validation, on_error=self.recipe.on_error))

    def checkpoint(self, model: Model, trained: dict[str, Any]) -> LoadedModel:
        """The classifier with all that is needed to use it."""
        return LoadedModel.from_weights(model, self.names, self.data.tree, trained=trained)

    def draw(self, batch: Batch) -> UInt8[np.ndarray, "h w 3"]:
        """The images of a batch with their labels."""
        return draw_batch(batch, self.names)


TREE_FILE = "labels.tree"  # what a .cfg of the network would call its tree
