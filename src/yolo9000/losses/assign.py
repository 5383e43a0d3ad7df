"""Assign objects to anchors of cells.

Paper: not stated. Darknet: src/region_layer.c forward_region_layer.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

__all__ = ["Assignment", "Targets", "assign", "best_ious", "box_iou", "last_of_each", "size_iou"]


@dataclass(frozen=True)
class Targets:
    """The boxed objects of a batch.

    Attributes:
        images: index of each object's image in the batch, in ascending order.
        boxes_cxcywh: centre, width and height as fractions of the input; the centre in [0, 1], sizes above 0.
        labels: class, or node of the tree.
        soft: soft labels: see `yolo9000.losses.classification.class_loss`.
    """

    images: Int64[Tensor, " t"]
    boxes_cxcywh: Float[Tensor, "t 4"]
    labels: Int64[Tensor, " t"]
    soft: Float[Tensor, "t k"] | None = None

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Assignment:
    """The anchors that the objects of a batch are assigned to.

    Attributes:
        anchors, rows, columns: anchor and cell of each object.
        indices: image, anchor and cell as one index, which no two anchors of the batch share.
    """

    anchors: Int64[Tensor, " t"]
    rows: Int64[Tensor, " t"]
    columns: Int64[Tensor, " t"]
    indices: Int64[Tensor, " t"]


def assign(
    targets: Targets,
    anchors_wh: Float[Tensor, "a 2"],
    grid_hw: tuple[int, int],
    predicted_wh: Float[Tensor, "n a 2 h w"] | None = None,
) -> Assignment:
    """Assign each object to the cell that its centre lies in, and there to the anchor of the most similar shape.

    Shapes are compared by IoU at a common centre; ties go to the first anchor.

    Args:
        targets: the objects.
        anchors_wh: widths and heights of the anchors as fractions of the input.
        grid_hw: rows and columns of cells.
        predicted_wh: sizes of the predicted boxes to compare instead of the anchors (``bias_match=0``).
    """
    height, width = grid_hw
    x, y, *_ = targets.boxes_cxcywh.unbind(-1)
    # A centre that was rounded onto the far edge belongs to the last cell
    columns = (x * width).long().clamp(0, width - 1)
    rows = (y * height).long().clamp(0, height - 1)
    candidates = anchors_wh.expand(len(targets), -1, -1)
    if predicted_wh is not None:
        candidates = predicted_wh[targets.images, :, :, rows, columns]
    anchors = size_iou(targets.boxes_cxcywh[:, None, 2:], candidates).argmax(dim=1)
    indices = ((targets.images * len(anchors_wh) + anchors) * height + rows) * width + columns
    return Assignment(anchors, rows, columns, indices)


def last_of_each(values: Int64[Tensor, " m"]) -> Bool[Tensor, " m"]:
    """Which entries are the last with their value."""
    _, groups = values.unique(return_inverse=True)
    order = torch.arange(len(values), device=values.device)
    last = torch.zeros_like(order).scatter_reduce(0, groups, order, "amax", include_self=False)
    return last[groups] == order


def best_ious(boxes_cxcywh: Float[Tensor, "n b 4"], targets: Targets) -> Float[Tensor, "n b"]:
    """The greatest IoU of each predicted box with an object of its image; 0 where there is none."""
    images = targets.images
    counts = torch.bincount(images, minlength=len(boxes_cxcywh))
    max_count = int(counts.max())
    if not max_count:
        return boxes_cxcywh.new_zeros(boxes_cxcywh.shape[:2])
    # The objects of each image side by side, padded with boxes without area, which overlap nothing
    padded = boxes_cxcywh.new_zeros((len(boxes_cxcywh), max_count, 4))
    in_image = torch.arange(len(targets), device=images.device) - (counts.cumsum(0) - counts)[images]
    padded[images, in_image] = targets.boxes_cxcywh.to(padded.dtype)
    return box_iou(boxes_cxcywh[:, :, None], padded[:, None]).amax(dim=-1)


def box_iou(a_cxcywh: Float[Tensor, "*#shape 4"], b_cxcywh: Float[Tensor, "*#shape 4"]) -> Float[Tensor, "*shape"]:
    """IoU of boxes given by centre and size; 0 for boxes without area."""
    (a_xy, a_wh), (b_xy, b_wh) = a_cxcywh.split(2, dim=-1), b_cxcywh.split(2, dim=-1)
    near = torch.maximum(a_xy - a_wh / 2, b_xy - b_wh / 2)
    far = torch.minimum(a_xy + a_wh / 2, b_xy + b_wh / 2)
    common = (far - near).clamp(min=0).prod(-1)
    return torch.nan_to_num(common / (a_wh.prod(-1) + b_wh.prod(-1) - common), 0.0)


def size_iou(a_wh: Float[Tensor, "*#shape 2"], b_wh: Float[Tensor, "*#shape 2"]) -> Float[Tensor, "*shape"]:
    """IoU of boxes that share a centre; 0 for boxes without area."""
    common = torch.minimum(a_wh, b_wh).prod(-1)
    return (common / (a_wh.prod(-1) + b_wh.prod(-1) - common)).nan_to_num(0.0)
