"""Batches: their images, their order and their sizes. NumPy only.

Order and sizes are functions of the seed and of the position in training, without a state: a resumed run continues as
it would have, and several processes see the same images in the same order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int64, UInt8

from yolo9000.data.augment import Purpose, keyed
from yolo9000.types import NO_SOFT_LABEL, BoxAnnotations

__all__ = ["SIZES", "Batch", "Example", "batch_of", "blank_images", "collate", "epoch_order", "multi_scale_size"]

SIZES = tuple(range(320, 608 + 1, 32))  # pixels; Paper: §2 Multi-Scale Training


@dataclass(frozen=True)
class Example:
    """One augmented image with its annotations.

    Attributes:
        image: RGB, 8 bits, at the size of the batch.
        boxes: in pixels of `image`; None for images without box annotations.
        image_labels: classes of the image as a whole.
        name: of the image within its data set.
        index: position in the order of the whole epoch.
        exhaustive: which of the network's labels are labelled exhaustively in the image; None: all.
        soft: index of the soft label of the image in its data set; -1: none.
    """

    image: UInt8[np.ndarray, "h w 3"]
    boxes: BoxAnnotations | None
    image_labels: tuple[int, ...]
    name: str
    index: int
    exhaustive: Bool[np.ndarray, " k"] | None = None
    soft: int = NO_SOFT_LABEL


@dataclass(frozen=True)
class Batch:
    """Images of one size with their annotations; entry i of every attribute belongs to image i.

    Attributes:
        images: RGB, 8 bits, contiguous.
        boxes: in pixels of the images; None for images without box annotations.
        image_labels: classes of an image as a whole.
        names: of the images within their data sets.
        indices: positions in the order of the whole epoch.
        exhaustive: which labels are labelled exhaustively in an image; None: all.
        soft: indices of the soft labels of the images in their data set; -1: none.
    """

    images: UInt8[np.ndarray, "n h w 3"]
    boxes: tuple[BoxAnnotations | None, ...]
    image_labels: tuple[tuple[int, ...], ...]
    names: tuple[str, ...]
    indices: tuple[int, ...]
    exhaustive: tuple[Bool[np.ndarray, " k"] | None, ...]
    soft: tuple[int, ...]

    def __post_init__(self) -> None:
        lengths = {name: len(values) for name, values in vars(self).items()}
        if len(set(lengths.values())) != 1:
            raise ValueError(f"Batch: all attributes must have one entry for each image, got {lengths}")

    def __len__(self) -> int:
        return len(self.images)

    @property
    def size_wh(self) -> tuple[int, int]:
        """Width and height of the images in pixels."""
        _, height, width, _ = self.images.shape
        return width, height


def blank_images(count: int, size_wh: tuple[int, int]) -> UInt8[np.ndarray, "n h w 3"]:
    """Grey images that take no memory, in place of those that are not needed."""
    width, height = size_wh
    return np.broadcast_to(np.uint8(128), (count, height, width, 3))


def collate(examples: Sequence[Example]) -> Batch:
    """The examples as one batch, in their order.

    Raises:
        ValueError: there are none, or their sizes differ.
    """
    shapes = {example.image.shape for example in examples}
    if len(shapes) != 1:
        raise ValueError(f"a batch must have one or more images of one size, got {sorted(shapes)}")
    return batch_of(np.stack([example.image for example in examples]), examples)


def batch_of(images: UInt8[np.ndarray, "n h w 3"], examples: Sequence[Example]) -> Batch:
    """The images as a batch, with the annotations of the examples."""
    return Batch(
        images=images,
        boxes=tuple(example.boxes for example in examples),
        image_labels=tuple(example.image_labels for example in examples),
        names=tuple(example.name for example in examples),
        indices=tuple(example.index for example in examples),
        exhaustive=tuple(example.exhaustive for example in examples),
        soft=tuple(example.soft for example in examples),
    )


def epoch_order(seed: int, epoch: int, count: int, shard: int = 0, shards: int = 1) -> Int64[np.ndarray, " n"]:
    """A random order of the images, or one process's part of it.

    Image i of a part is image ``shard + i * shards`` of the whole epoch, which is the index that `draws` takes. So
    equal batches of all processes make up the batch of a single one. The lengths of the parts differ by one where
    `shards` does not divide `count`.

    Darknet draws each image at random instead, with repetition and without epochs: src/data.c get_random_paths.

    Args:
        seed: of the run.
        epoch: 0-based.
        count: number of images.
        shard: index of the process, 0 .. shards - 1.
        shards: number of processes.

    Returns:
        Indices of images, 0 .. count - 1.

    Raises:
        ValueError: the index is not that of a shard.
    """
    if not 0 <= shard < shards:
        raise ValueError(f"shard must be in 0..{shards - 1}, got {shard}")
    # Sorting by random keys, because NumPy does not promise that `permutation` stays the same; see `keyed`.
    order = np.argsort(keyed(seed, Purpose.ORDER, epoch).random(count), kind="stable")
    return order[shard::shards].astype(np.int64)


def multi_scale_size(seed: int, batch_number: int, sizes: Sequence[int] = SIZES, every: int = 10) -> int:
    """The side of the network's input for a batch, in pixels.

    Paper: §2 Multi-Scale Training: "every 10 batches our network randomly chooses a new image dimension size". It may
    choose the same one again. Darknet: examples/detector.c train_detector, where the last 200 batches are all at 608;
    here the schedule decides.

    Args:
        seed: of the run.
        batch_number: 0-based, counted from the beginning of training, not of the epoch.
        sizes: to choose from; all equally likely.
        every: number of batches that share a size.
    """
    drawn = keyed(seed, Purpose.SIZE, batch_number // every).random()
    return sizes[int(len(sizes) * drawn)]
