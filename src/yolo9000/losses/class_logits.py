"""Class logits of a detector in training: dense, as the network gave them, or computed where the loss reads them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from jaxtyping import Float, Int64
from torch import Tensor

__all__ = ["ClassLogits", "DenseClassLogits", "logits_of_boxes", "logits_of_image"]


@runtime_checkable
class ClassLogits(Protocol):
    """What the loss asks of class logits; `yolo9000.architectures.torch.SplitHead` computes them on demand."""

    def class_logits(
        self,
        images: Int64[Tensor, " m"],
        anchors: Int64[Tensor, " m"],
        rows: Int64[Tensor, " m"],
        columns: Int64[Tensor, " m"],
    ) -> Float[Tensor, "m k"]:
        """Logits of single anchors of single cells."""
        ...

    def all_class_logits(self, images: Int64[Tensor, " m"] | None = None) -> Float[Tensor, "m a k h w"]:
        """Logits of all anchors of all cells of some images; None for all images."""
        ...


@dataclass(frozen=True)
class DenseClassLogits:
    """Logits that the network has computed for every anchor of every cell."""

    logits: Float[Tensor, "n a k h w"]

    def class_logits(
        self,
        images: Int64[Tensor, " m"],
        anchors: Int64[Tensor, " m"],
        rows: Int64[Tensor, " m"],
        columns: Int64[Tensor, " m"],
    ) -> Float[Tensor, "m k"]:
        """See `ClassLogits.class_logits`."""
        return self.logits[images, anchors, :, rows, columns]

    def all_class_logits(self, images: Int64[Tensor, " m"] | None = None) -> Float[Tensor, "m a k h w"]:
        """See `ClassLogits.all_class_logits`."""
        return self.logits if images is None else self.logits[images]


def logits_of_image(logits: ClassLogits, image: int, like: Tensor) -> Float[Tensor, "b k"]:
    """Logits of all boxes of an image, in the order anchor * H * W + row * W + column.

    Args:
        logits: of the batch.
        image: index in the batch.
        like: any tensor of the batch's device.
    """
    of_image: Tensor = logits.all_class_logits(like.new_tensor([image]).long())[0]
    return of_image.permute(0, 2, 3, 1).flatten(0, 2)


def logits_of_boxes(
    logits: ClassLogits, images: Int64[Tensor, " m"], boxes: Int64[Tensor, " m"], grid_hw: tuple[int, int]
) -> Float[Tensor, "m k"]:
    """Logits of single boxes.

    Args:
        logits: of the batch.
        images: index of each box's image.
        boxes: anchor * H * W + row * W + column.
        grid_hw: H and W.
    """
    height, width = grid_hw
    anchors, cells = boxes // (height * width), boxes % (height * width)
    return logits.class_logits(images, anchors, cells // width, cells % width)
