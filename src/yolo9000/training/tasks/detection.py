"""Training a detector: its images, loss and metrics."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Int64, UInt8
from torch import Tensor

from yolo9000.adapt.anchors import cluster, to_cells
from yolo9000.architectures.layers import Architecture, Region
from yolo9000.architectures.surgery import with_classes
from yolo9000.architectures.torch import SplitHead
from yolo9000.architectures.weights import Model
from yolo9000.checkpoints.model import LoadedModel
from yolo9000.data.augment import augment_or_mosaic, draws
from yolo9000.data.batching import Batch, Example
from yolo9000.data.dataset import DataSet
from yolo9000.data.images import load_image
from yolo9000.errors import ConfigError, DataError
from yolo9000.evaluation.evaluate import evaluate
from yolo9000.evaluation.labels import gt_labels, labels_among
from yolo9000.evaluation.runner import detect_samples
from yolo9000.inference.detector import Detector
from yolo9000.inference.engines import Precision, start_engine
from yolo9000.losses.assign import Targets, assign
from yolo9000.losses.classification import SiblingGroups
from yolo9000.losses.region import LossParts, region_loss
from yolo9000.taxonomy.wordtree import WordTree
from yolo9000.training.initialize import named_architecture
from yolo9000.training.loader import SampleRequest
from yolo9000.training.recipe import DetectorNetworkSettings, DetectRecipe
from yolo9000.training.tasks.base import Losses, PseudoBox, Scores, listed_samples, soft_tensor
from yolo9000.training.visualize import Marks, draw_batch, draw_validation
from yolo9000.types import BoxAnnotations, Sample

__all__ = ["DetectorTraining", "clustered_anchors"]

_log = logging.getLogger(__name__)

SHOWN = 8  # number of validation images that are drawn


@dataclass(frozen=True)
class DetectorTraining:
    """A detector in training.

    Attributes:
        recipe: how it is trained.
        data: the training split.
        validation: the validation split; None: there is none.
        samples: the training images, with boxes or with image-level labels, with the network's labels.
        architecture: the network.
        device: that the loss is computed on.
    """

    recipe: DetectRecipe
    data: DataSet
    validation: DataSet | None
    samples: Sequence[Sample]
    architecture: Architecture
    device: torch.device

    best = "map50"

    @classmethod
    def prepare(
        cls, recipe: DetectRecipe, data: DataSet, validation: DataSet | None, device: torch.device
    ) -> DetectorTraining:
        """Read the data and define the network for its classes.

        Raises:
            DataError: the data have an issue, or no image with boxes.
            ConfigError: the network is no detector, or cannot have the size.
        """
        architecture = named_architecture(recipe.network, recipe.start)
        if not isinstance(architecture.head, Region):
            raise ConfigError(f"network.name: {recipe.network.name} must be a detector, which ends in [region]")
        anchors = _anchors(recipe.network, data, recipe, architecture.stride())
        tree = data.tree
        architecture = with_classes(
            architecture, len(tree or data.classes), anchors=anchors, tree=None if tree is None else TREE_FILE
        )
        architecture.shapes()
        labels = labels_among(tree.names if tree else data.classes, tree, data)
        samples = [
            _with_labels(sample, labels, tree)
            for sample in listed_samples(data, recipe.on_error)
            if sample.boxes is not None or (sample.image_labels and recipe.joint.ratio != 0)
        ]
        if all(sample.boxes is None for sample in samples):
            raise DataError(f"{data.name}: must have images with boxes to train a detector, has none")
        if recipe.joint.ratio and all(sample.boxes is not None for sample in samples):
            raise DataError(f"{data.name}: joint.ratio needs images with image-level labels and no boxes, has none")
        return cls(recipe, data, validation, samples, architecture, device)

    @property
    def tree(self) -> WordTree | None:
        """The label tree; None for flat classes."""
        return self.data.tree

    @property
    def names(self) -> tuple[str, ...]:
        """Of the classes, or of all nodes of the tree."""
        return self.data.tree.names if self.data.tree else self.data.classes

    @property
    def head(self) -> Region:
        """The network's last layer."""
        head = self.architecture.head
        assert isinstance(head, Region)  # noqa: S101  `prepare` checks it
        return head

    @cached_property
    def groups(self) -> SiblingGroups | None:
        """The tree's sibling groups, on the device."""
        return None if self.data.tree is None else SiblingGroups.of(self.data.tree, self.device)

    def exhaustive_in(self, samples: Iterable[Sample]) -> Bool[np.ndarray, " k"] | None:
        """The labels that are labelled exhaustively in all of some images, on a tree with all below; None: all."""
        classes = np.asarray(np.stack([self.data.exhaustive_in(sample) for sample in samples]).all(axis=0))
        if classes.all():
            return None
        return classes if self._below is None else np.asarray(self._below[classes].any(axis=0))

    @cached_property
    def _below(self) -> Bool[np.ndarray, "c k"] | None:
        """The nodes at and below each class of the data set; None for flat classes."""
        tree = self.data.tree
        if tree is None:
            return None
        return np.stack([tree.below(int(label)) for label in labels_among(tree.names, tree, self.data)])

    def example(self, request: SampleRequest) -> Example:
        """The augmented image of a request.

        Raises:
            DataError: the image cannot be read.
        """
        sample, used = self.samples[request.image], [request.image]
        image, boxes = self._load(request.image)

        def another(index: int) -> tuple[np.ndarray, BoxAnnotations | None]:
            used.append(self._of_source[sample.source][index])
            return self._load(used[-1])

        rng = draws(self.recipe.seed, *request.random_key)
        augmented, augmented_boxes = augment_or_mosaic(
            image,
            boxes,
            self.recipe.augment,
            request.size_wh,
            rng,
            another,
            len(self._of_source.get(sample.source, ())),
        )
        exhaustive = self.exhaustive_in(self.samples[index] for index in used)
        labels = sample.image_labels
        return Example(augmented, augmented_boxes, labels, sample.name, request.index, exhaustive, sample.soft)

    @cached_property
    def _of_source(self) -> dict[int, list[int]]:
        """Indices of the boxed images of each source, which a mosaic may combine."""
        images: dict[int, list[int]] = {}
        for index, sample in enumerate(self.samples):
            if sample.boxes is not None:
                images.setdefault(sample.source, []).append(index)
        return images

    def _load(self, image: int) -> tuple[np.ndarray, BoxAnnotations | None]:
        sample = self.samples[image]
        boxes = sample.boxes and sample.boxes.select(~(sample.boxes.difficult | sample.boxes.crowd))
        return load_image(sample.image, sample.name).pixels, boxes

    def loss(self, raw: Tensor | SplitHead, batch: Batch, images_seen: int, progress: float) -> Losses:
        """The region loss, summed over the images.

        Args:
            raw: the network's output, (N, A (5 + K), H, W), or with its class half split off.
            batch: the images.
            images_seen: number of images seen in training, including this batch.
            progress: fraction of the training that is done after this batch.
        """
        parts = region_loss(
            raw,
            self._targets_of(batch),
            self.head,
            self.recipe.loss.at(progress),
            tree=self.groups,
            warm_up=images_seen < self.recipe.loss.warm_up_images,
            exhaustive=self._exhaustive_of(batch),
            image_labels=image_labels_of(batch, self.head.classes, self.device),
            policy=self.recipe.joint.pseudo_boxes,
            image_soft=soft_tensor(self.data.soft_labels, batch.soft, self.head.classes, self.device),
        )
        return Losses(parts.total(), _named(parts), _pseudo_boxes(parts, batch))

    def _targets_of(self, batch: Batch) -> Targets:
        indices = [index for boxes in batch.boxes if boxes is not None for index in boxes.soft.tolist()]
        soft = soft_tensor(self.data.soft_labels, indices, self.head.classes, self.device)
        return replace(targets_of(batch, self.device), soft=soft)

    def _exhaustive_of(self, batch: Batch) -> Tensor | None:
        if all(labels is None for labels in batch.exhaustive):
            return None
        every = np.ones(self.head.classes, bool)
        rows = [every if labels is None else labels for labels in batch.exhaustive]
        return torch.from_numpy(np.stack(rows)).to(self.device)

    def evaluate(self, model: LoadedModel, precision: Precision, threads: int) -> Scores:
        """Metrics of a model on the validation split, and some of its images with predictions.

        On a tree the predictions are the classes of the data set whatever their probability, since early in training
        they would hardly go below the root. Classes without boxes in training have metrics of their own (§4).
        """
        assert self.validation is not None  # noqa: S101  the loop checks
        engine = start_engine("torch", model, device=str(self.device), precision=precision, threads=threads)
        detector = Detector(model, engine)
        if self.tree is not None:
            detector = detector.with_labels(self.validation.classes)
        pairs = list(detect_samples(detector, self.validation, on_error=self.recipe.on_error))
        evaluation = evaluate(self.validation.name, pairs, detector.names, only_labels=self._label_only(detector))
        return Scores(evaluation.metrics, draw_validation(pairs[:SHOWN], detector.names, evaluation.f1.best_threshold))

    def _label_only(self, detector: Detector) -> list[int]:
        """The detector's labels that no box of the training images has, if there are image-level labels."""
        assert self.validation is not None  # noqa: S101  the loop checks
        boxes = [sample.boxes.labels for sample in self.samples if sample.boxes is not None]
        if len(boxes) == len(self.samples):
            return []
        labels = labels_among(self.names, self.tree, self.validation)
        answers = gt_labels(detector, self.validation)
        return [int(label) for label in answers[~np.isin(labels, np.concatenate(boxes))]]

    def checkpoint(self, model: Model, trained: dict[str, Any]) -> LoadedModel:
        """The detector with all that is needed to use it."""
        return LoadedModel.from_weights(
            model, self.names, self.data.tree, resize_mode=self.recipe.network.fit, trained=trained
        )

    def draw(self, batch: Batch) -> UInt8[np.ndarray, "h w 3"]:
        """The images of a batch with their boxes, and the cells and anchors that learn them."""
        return draw_batch(batch, self.names, self._marks(batch))

    def _marks(self, batch: Batch) -> Marks:
        width, height = batch.size_wh
        stride = self.architecture.stride()
        gts = targets_of(batch, torch.device("cpu"))
        grid_hw = (height // stride, width // stride)
        anchors = torch.tensor(self.head.anchors_wh_cells)
        learnt = assign(gts, anchors / torch.tensor([grid_hw[1], grid_hw[0]]), grid_hw)
        corners = torch.stack([learnt.columns, learnt.rows], dim=1) * stride
        middles, halves = corners + stride / 2, anchors[learnt.anchors] * stride / 2
        return Marks(
            gts.images.numpy(),
            torch.cat([corners, corners + stride], dim=1).float().numpy(),
            torch.cat([middles - halves, middles + halves], dim=1).float().numpy(),
        )


TREE_FILE = "labels.tree"  # what a .cfg of the network would call its tree


def _with_labels(sample: Sample, labels: Int64[np.ndarray, " k"], tree: WordTree | None) -> Sample:
    """The sample with the network's labels instead of the data set's.

    Of image-level labels on one path, e.g. "dog" and "animal", only the lowest is kept.
    """
    boxes = sample.boxes and replace(sample.boxes, labels=labels[sample.boxes.labels])
    image_labels = {int(labels[label]) for label in sample.image_labels}
    above = {node for label in image_labels for node in tree.path(label)[:-1]} if tree else set()
    return replace(sample, boxes=boxes, image_labels=tuple(sorted(image_labels - above)))


def image_labels_of(batch: Batch, classes: int, device: torch.device) -> Bool[Tensor, "n k"]:
    """The classes of each image that has image-level labels instead of boxes; none for the other images."""
    known = torch.zeros((len(batch.boxes), classes), dtype=torch.bool)
    for image, (boxes, labels) in enumerate(zip(batch.boxes, batch.image_labels, strict=True)):
        if boxes is None:
            known[image, list(labels)] = True
    return known.to(device)


def _pseudo_boxes(parts: LossParts, batch: Batch) -> tuple[PseudoBox, ...]:
    """The boxes that were trained on image-level labels."""
    chosen = parts.image_level
    if chosen is None:
        return ()
    width, height = batch.size_wh
    cx, cy, w, h = (chosen.boxes_cxcywh.cpu().double() * torch.tensor([width, height] * 2)).T
    corners = torch.stack([cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2], dim=1).tolist()
    columns = (chosen.images, chosen.labels, chosen.probability, chosen.objectness)
    return tuple(
        PseudoBox(
            image=batch.names[image],
            index=batch.indices[image],
            label=label,
            box_xyxy=(left, top, right, bottom),
            size_wh=batch.size_wh,
            probability=probability,
            objectness=objectness,
        )
        for (left, top, right, bottom), image, label, probability, objectness in zip(
            corners, *(column.tolist() for column in columns), strict=True
        )
    )


def targets_of(batch: Batch, device: torch.device) -> Targets:
    """The boxes of a batch as the loss takes them: fractions of the input."""
    width, height = batch.size_wh
    boxes = [gt.boxes_xyxy if gt is not None else np.empty((0, 4), np.float32) for gt in batch.boxes]
    labels = [gt.labels if gt is not None else np.empty(0, np.int64) for gt in batch.boxes]
    xyxy = np.concatenate(boxes) / np.array([width, height, width, height], np.float32)
    cxcywh = np.concatenate([(xyxy[:, :2] + xyxy[:, 2:]) / 2, xyxy[:, 2:] - xyxy[:, :2]], axis=1)
    image = np.repeat(np.arange(len(boxes)), [len(part) for part in boxes])
    return Targets(
        torch.from_numpy(image).to(device),
        torch.from_numpy(cxcywh).to(device),
        torch.from_numpy(np.concatenate(labels)).to(device),
    )


def _anchors(
    settings: DetectorNetworkSettings, data: DataSet, recipe: DetectRecipe, stride: int
) -> tuple[tuple[float, float], ...] | None:
    """The anchors that the recipe asks for; None: those of the architecture."""
    match settings.anchors:
        case "architecture":
            return None
        case "clusters":
            return clustered_anchors(settings, data, recipe, stride)
        case anchors:
            return tuple(anchors)


def clustered_anchors(
    settings: DetectorNetworkSettings, data: DataSet, recipe: DetectRecipe, stride: int
) -> tuple[tuple[float, float], ...]:
    """Anchors for the boxes of a data set, in cells of ``stride`` pixels of the input (§2 Dimension Clusters).

    Raises:
        DataError: it has no box.
    """
    sizes_wh, images_wh = data.box_sizes(recipe.on_error)
    in_cells = to_cells(sizes_wh, settings.size_wh, images_wh=images_wh, resize_mode=settings.fit, stride=stride)
    different = len(np.unique(in_cells, axis=0))
    if different < settings.clusters:
        message = "%s: %d anchors instead of network.clusters=%d, as the boxes have no more different sizes"
        _log.warning(message, data.name, different, settings.clusters)
    clusters = cluster(in_cells, min(settings.clusters, different), seed=recipe.seed)
    return tuple((float(w), float(h)) for w, h in np.round(clusters.anchors_wh, 6))


def _named(parts: LossParts) -> dict[str, Tensor]:
    return {
        "coordinates": parts.coordinates.detach(),
        "objectness": parts.objectness.detach(),
        "no_objectness": parts.no_objectness.detach(),
        "classes": parts.classes.detach(),
    }
