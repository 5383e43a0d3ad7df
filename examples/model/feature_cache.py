"""Cached outputs of a detector's frozen layers, and what is known of their images.

The frozen layers are all before ``first_trained`` in the checkpoint's metadata. The outputs that later layers read are
computed once for each image and draw of augmentation by ``compute_features.py`` and kept in half precision:
``NAME-000.json`` says which image each is and where it lies in the input, ``NAME-000.0.npy`` and so on hold the maps.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from make_start import SIZE
from torch import Tensor

from yolo9000.checkpoints.model import LoadedModel


def taps(model: LoadedModel) -> tuple[int, ...]:
    """The frozen layers that trained layers read, in order."""
    assert model.weights is not None
    return model.weights.architecture.cached_taps(range(int(model.trained["first_trained"])))


@dataclass(frozen=True)
class Placed:
    """An image in the input.

    Attributes:
        file: the image's name in the table of boxes.
        wh: width and height of the image in pixels.
        scale, offset: input = image * scale + offset, x and y.
        flip: whether the image was mirrored before.
    """

    file: str
    wh: tuple[int, int]
    scale: tuple[float, float]
    offset: tuple[float, float]
    flip: bool

    def boxes(self, boxes_xyxy: Sequence[Sequence[float]]) -> tuple[np.ndarray, np.ndarray]:
        """Boxes (fractions of the image) in pixels of the input, clipped to it; and the fraction of each inside."""
        boxes = np.asarray(boxes_xyxy, np.float64).reshape(-1, 4) * [*self.wh, *self.wh]
        if self.flip:
            boxes[:, [0, 2]] = self.wh[0] - boxes[:, [2, 0]]
        boxes = boxes * [*self.scale, *self.scale] + [*self.offset, *self.offset]
        inside = boxes.clip(0, SIZE)
        return inside, _areas(inside) / np.maximum(_areas(boxes), 1e-9)


def _areas(boxes: np.ndarray) -> np.ndarray:
    return np.asarray((boxes[:, 2:] - boxes[:, :2]).clip(0).prod(1))


class Features:
    """Cached maps and where their images lie.

    Args:
        folder: of the cache.
        names: which of its parts.
        taps: the layers whose outputs are cached.
    """

    def __init__(self, folder: Path, names: Sequence[str], taps: Sequence[int]) -> None:
        self.taps = tuple(taps)
        self.shards: list[list[np.ndarray]] = []
        self.index: list[tuple[int, int]] = []
        self.placed: list[Placed] = []
        for name in names:
            for listing in sorted(folder.glob(f"{name}-[0-9][0-9][0-9].json")):
                entries = [Placed(**entry) for entry in json.loads(listing.read_text())]
                arrays = [
                    np.load(listing.with_suffix(f".{position}.npy"), mmap_mode="r") for position in range(len(taps))
                ]
                self.index += [(len(self.shards), i) for i in range(len(entries))]
                self.placed += entries
                self.shards.append(arrays)

    def __len__(self) -> int:
        return len(self.index)

    def maps(self, images: Sequence[int]) -> dict[int, Tensor]:
        """The taps' outputs, each (N, C, h, w), for some of the images, by layer."""
        positions = [self.index[number] for number in images]
        arrays = [np.stack([self.shards[shard][tap][i] for shard, i in positions]) for tap in range(len(self.taps))]
        return {layer: torch.from_numpy(array).float() for layer, array in zip(self.taps, arrays, strict=True)}


@dataclass(frozen=True)
class Labels:
    """What is known of an image.

    Attributes:
        boxes_xyxy: as fractions of the image.
        nodes: node of each box.
        image_node: node of an image-level label without a box; None without.
    """

    boxes_xyxy: np.ndarray
    nodes: tuple[int, ...]
    image_node: int | None


def read_labels(paths: Sequence[Path], ids: Sequence[str]) -> dict[str, Labels]:
    """What the tables say of each file; ``label_table.py`` describes their lines."""
    position = {one: i for i, one in enumerate(ids)}
    labels = {}
    for path in paths:
        for line in path.read_text().splitlines():
            entry = json.loads(line)
            boxes = np.array([box[:4] for box in entry["boxes"]], np.float64).reshape(-1, 4)
            nodes = tuple(position[box[4]] for box in entry["boxes"])
            image_node = position[entry["label"]] if "label" in entry else None
            labels[entry["file"]] = Labels(boxes, nodes, image_node)
    return labels
