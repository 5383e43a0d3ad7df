"""The last layer of the bundled model, trained in seconds: the layers before it run once over all images.

What the last layer reads is whitened and reduced to its principal components, so that a few hundred steps are enough.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from yolo9000 import Detector
from yolo9000.architectures.head import Head
from yolo9000.architectures.layers import Conv, Region
from yolo9000.architectures.surgery import initial_model, transfer, with_classes
from yolo9000.data.dataset import DataSet
from yolo9000.data.images import load_image
from yolo9000.evaluation.scored import collect
from yolo9000.evaluation.voc import voc_ap
from yolo9000.inference.decode import decode_candidates
from yolo9000.inference.head_output import DenseClassLogits, HeadOutput, LazyClassLogits, find_candidates
from yolo9000.inference.preprocess import letterbox_size
from yolo9000.inference.settings import DetectionSettings
from yolo9000.losses.assign import Targets
from yolo9000.losses.region import region_loss
from yolo9000.losses.settings import LossSettings
from yolo9000.types import BoxAnnotations, Detections

COMPONENTS = 96
KEPT = 12  # the last channels, which are kept as they are: a first estimate of the boxes
CELLS, FITTED_TO = 100, 300  # of each image, and images, that the components are computed from
BATCH, LR, WEIGHT_DECAY = 8, 0.01, 0.01
LOSS = LossSettings(noobject_scale=0.5)


@dataclass(frozen=True)
class Image:
    """An image as the last layer sees it.

    Attributes:
        name: of its sample.
        features: (C, h, w).
        gt: the boxes that count, in pixels.
        size_wh: width and height in pixels.
        shown: what the bundled model detects.
    """

    name: str
    features: np.ndarray
    gt: BoxAnnotations
    size_wh: tuple[int, int]
    shown: Detections


def read_images(detector: Detector, data: DataSet, min_score: float) -> Iterator[Image]:
    """The images of a data set after the layers before the last one; features in half precision."""
    samples = ((sample, load_image(sample.image, sample.name).pixels) for sample in data.samples("fix") if sample.boxes)
    settings = detector.settings.model_copy(update={"conf_threshold": min_score})
    for sample, head in detector.heads_of(samples, batch=8, min_objectness=min_score):
        logits, boxes = head.output.class_logits, sample.boxes
        assert isinstance(logits, LazyClassLogits), "needs a model whose class rows are kept apart"
        assert boxes is not None
        shown = decode_candidates(head.output, head.index, detector.head, head.size_wh, head.candidates, settings)
        features = logits.features[head.index].astype(np.float16)
        gt = boxes.select(~(boxes.difficult | boxes.crowd))
        yield Image(sample.name, features, gt, head.size_wh, shown)


class Whitening:
    """Features as principal components of unit variance, but for the last channels, which are standardised.

    Args:
        images: that the components are computed from.
    """

    def __init__(self, images: Sequence[Image]) -> None:
        rng = np.random.default_rng(0)
        some = [images[index] for index in rng.permutation(len(images))[:FITTED_TO]]
        cells = np.concatenate([rng.permutation(_cells(image))[:CELLS] for image in some])
        self._mean, self._scale = cells.mean(0), cells.std(0) + 1e-3
        variances, axes = np.linalg.eigh(np.cov(((cells - self._mean) / self._scale)[:, :-KEPT].T))
        axes, deviations = axes[:, -COMPONENTS:], np.sqrt(variances[-COMPONENTS:])
        self._into, self._back = (axes / deviations).astype(np.float32), (axes * deviations).astype(np.float32)

    def apply(self, image: Image) -> Image:
        cells = (_cells(image) - self._mean) / self._scale
        reduced = np.concatenate([cells[:, :-KEPT] @ self._into, cells[:, -KEPT:]], axis=1)
        return replace(image, features=reduced.T.reshape(-1, *image.features.shape[1:]))

    def rows(self, weights: np.ndarray, biases: np.ndarray) -> tuple[Tensor, Tensor]:
        """Rows of the last layer, (filters, C, 1, 1), for what they are then applied to."""
        scaled = weights.reshape(len(weights), -1) * self._scale
        reduced = np.concatenate([scaled[:, :-KEPT] @ self._back, scaled[:, -KEPT:]], axis=1)
        moved = biases + weights.reshape(len(weights), -1) @ self._mean
        return torch.from_numpy(reduced.astype(np.float32))[:, :, None, None], torch.from_numpy(moved)


def _cells(image: Image) -> np.ndarray:
    return image.features.reshape(len(image.features), -1).T.astype(np.float32)


class LastLayer:
    """The last layer for the classes of a data set, trained from the bundled model's box rows.

    Args:
        detector: the bundled model.
        classes: of the data set.
        whitening: of the features of the images that it is trained on.
    """

    def __init__(self, detector: Detector, classes: Sequence[str], whitening: Whitening) -> None:
        source = detector.model.trained_weights
        architecture = with_classes(source.architecture, len(classes))
        assert isinstance(architecture.head, Region)
        self._region, self._network_wh = architecture.head, detector.network_wh
        self.head = Head(np.array(self._region.anchors_wh_cells, np.float32), tuple(classes))
        last = max(i for i, layer in enumerate(architecture.body) if isinstance(layer, Conv))
        parameters = transfer(source, initial_model(architecture, seed=0)).model.parameters[last]
        assert parameters is not None
        self._start = whitening.rows(parameters.weights, parameters.biases)
        self._weights, self._biases = self._start

    def train(self, images: Sequence[Image], steps: int, seed: int) -> None:
        """Train from the start on some images."""
        generator = torch.Generator().manual_seed(seed)
        self._weights, self._biases = (rows.clone().requires_grad_() for rows in self._start)
        optimizer = torch.optim.AdamW([self._weights, self._biases], lr=LR, weight_decay=WEIGHT_DECAY)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        for _ in range(steps):
            batch = [images[index] for index in torch.randint(len(images), (BATCH,), generator=generator).tolist()]
            loss = region_loss(self._raw(batch), self._targets(batch), self._region, LOSS).total() / BATCH
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()

    def _raw(self, images: Sequence[Image]) -> Tensor:
        features = torch.from_numpy(np.stack([image.features for image in images])).float()
        return torch.nn.functional.conv2d(features, self._weights, self._biases)

    def _targets(self, images: Sequence[Image]) -> Targets:
        index = np.repeat(np.arange(len(images)), [len(image.gt) for image in images])
        boxes = np.concatenate([in_input(image, self._network_wh) for image in images])
        labels = np.concatenate([image.gt.labels for image in images])
        return Targets(torch.from_numpy(index), torch.from_numpy(boxes), torch.from_numpy(labels))

    @torch.no_grad()
    def detect(self, images: Sequence[Image], min_score: float) -> Iterator[Detections]:
        """The detections in each image."""
        settings = DetectionSettings(conf_threshold=min_score)
        for first in range(0, len(images), BATCH):
            batch = images[first : first + BATCH]
            raw = self._raw(batch).numpy()
            t = raw.reshape(len(batch), len(self.head.anchors_wh_cells), -1, *raw.shape[2:])
            output = HeadOutput(t[:, :, :5], DenseClassLogits(t[:, :, 5:]), self._network_wh)
            for index, image in enumerate(batch):
                candidates = find_candidates(output, index, self.head, image.size_wh, min_score)
                yield decode_candidates(output, index, self.head, image.size_wh, candidates, settings)

    def map50(self, images: Sequence[Image]) -> float:
        """VOC's mAP at IoU .5."""
        pairs = zip([image.gt for image in images], self.detect(images, 0.005), strict=True)
        return voc_ap(collect(pairs, len(self.head.names))).mean


def in_input(image: Image, network_wh: tuple[int, int]) -> np.ndarray:
    """The boxes of an image as center, width, height in fractions of the letterboxed input."""
    network, scaled = np.array(network_wh), np.array(letterbox_size(image.size_wh, network_wh))
    corners = image.gt.boxes_xyxy / np.array([*image.size_wh] * 2)
    centers, sizes = (corners[:, :2] + corners[:, 2:]) / 2, corners[:, 2:] - corners[:, :2]
    inside = centers * scaled / network + (network - scaled) / 2 / network
    return np.concatenate([inside, sizes * scaled / network], axis=1).astype(np.float32)
