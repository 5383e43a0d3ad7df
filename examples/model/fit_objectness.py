"""Let the objectness see what YOLOX-Nano has no class for: it also reads what EfficientNet-Lite0 sees.

    python fit_objectness.py START CACHE OUT --tables FOLDER --parts NAME ...

The box of an image-level label is the likeliest of it, as in joint training (section 4 of the paper). The objectness of
the boxes that are about the same, seen from cells near its centre, becomes their IoU with it; that of all others stays
what it was, on images without such a label as well. Only the objectness rows over the classifier's channels learn.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import torch
from feature_cache import Features, Labels
from fit_classes import likeliest
from fitting import Start, minimize, parser
from make_start import FIRST
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from yolo9000.architectures.layers import Region
from yolo9000.architectures.torch import ConvLayer, Network, SplitHead
from yolo9000.checkpoints.safetensors import write_checkpoint
from yolo9000.losses.classification import SiblingGroups

SAME, RAISED = 0.5, 0.95  # IoU of boxes that are about the same, and the objectness of the box itself
NEAR = 1.6  # cells from the centre of the box
SEEN_ABOVE = 0.02  # objectness above which every cell is learned from
OTHERS = 48  # of the other cells, that many of an image
BATCH = 1024
SEEN = slice(FIRST["classifier"], FIRST["outside"])
Vectors = tuple[Tensor, Tensor, Tensor, Tensor, Tensor]
"""Channels in half precision, anchor, logit of the objectness before, objectness to learn, weight."""


def boxes_xyxy(head: SplitHead, image: int, anchors: Tensor) -> Tensor:
    """Corners of every box of an image in cells, (A, H, W, 4)."""
    t = head.boxes[image]
    height, width = t.shape[2:]
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    center = torch.stack([t[:, 0].sigmoid() + columns, t[:, 1].sigmoid() + rows], -1)
    half = t[:, 2:4].movedim(1, -1).exp() * anchors[:, None, None] / 2
    return torch.cat([center - half, center + half], -1)


def iou(boxes: Tensor, box: Tensor) -> Tensor:
    """IoU of boxes (..., 4) with one."""
    common = (torch.minimum(boxes[..., 2:], box[2:]) - torch.maximum(boxes[..., :2], box[:2])).clamp(min=0).prod(-1)
    areas = [(one[..., 2:] - one[..., :2]).prod(-1) for one in (boxes, box)]
    return common / (areas[0] + areas[1] - common)


def targets(head: SplitHead, image: int, labels: Labels, groups: SiblingGroups, anchors: Tensor) -> Tensor:
    """The objectness of every box of an image, (A, H, W): what it was, or higher."""
    objectness = head.boxes[image, :, 4].sigmoid()
    if labels.image_node is None:
        return objectness
    boxes = boxes_xyxy(head, image, anchors)
    box = boxes[next(likeliest(head, image, labels.image_node, groups))]
    center = (box[:2] + box[2:]) / 2
    cells = torch.stack(torch.meshgrid(*map(torch.arange, objectness.shape[1:]), indexing="ij"), -1).flip(-1) + 0.5
    overlap = iou(boxes, box) * ((cells - center).abs().amax(-1) < NEAR)
    return torch.where(overlap > SAME, torch.maximum(objectness, overlap * RAISED), objectness)


@torch.inference_mode()
def gather(network: Network, features: Features, labels: dict[str, Labels], groups: SiblingGroups) -> Iterator[Vectors]:
    """What is learned from each image."""
    region = network.architecture.head
    assert isinstance(region, Region)
    anchors = torch.tensor(region.anchors_wh_cells)
    chance = torch.Generator().manual_seed(0)
    known = [i for i, placed in enumerate(features.placed) if _is_learned(labels.get(placed.file))]
    for start in range(0, len(known), 16):
        chosen = known[start : start + 16]
        head = network.split(None, features.maps(chosen))
        for image, number in enumerate(chosen):
            target = targets(head, image, labels[features.placed[number].file], groups, anchors)
            yield sampled(head, image, target, chance)


def _is_learned(labels: Labels | None) -> bool:
    """Images of which nothing is known may show objects that should be found, and are left out."""
    return labels is not None and (labels.image_node is not None or len(labels.nodes) > 0)


def sampled(head: SplitHead, image: int, target: Tensor, chance: torch.Generator) -> Vectors:
    """All boxes of an image that may be objects, and some of the others, which weigh as much as all of them."""
    flat = target.flatten()
    sure = torch.nonzero(flat > SEEN_ABOVE)[:, 0]
    others = torch.nonzero(flat <= SEEN_ABOVE)[:, 0]
    some = others[torch.randperm(len(others), generator=chance)[:OTHERS]]
    weight = torch.cat([torch.ones(len(sure)), torch.full((len(some),), len(others) / max(len(some), 1))])
    chosen = torch.cat([sure, some])
    anchors, rows, columns = torch.unravel_index(chosen, target.shape)
    before = head.boxes[image, anchors, 4, rows, columns]
    return head.features[image, SEEN, rows, columns].T.half(), anchors, before, flat[chosen], weight


def fit(learned: Vectors, anchors: int, options: argparse.Namespace) -> tuple[Tensor, Tensor]:
    """What is added to the objectness rows, (A, C), and to their biases."""
    seen, own, before, target, weight = learned
    rows = torch.zeros(anchors, seen.shape[1], requires_grad=True)
    biases = torch.zeros(anchors, requires_grad=True)
    optimizer = torch.optim.AdamW([rows, biases], lr=options.lr, weight_decay=options.decay)

    def losses(batch: Tensor) -> tuple[Tensor, Tensor]:
        logits = before[batch] + (seen[batch].float() * rows[own[batch]]).sum(1) + biases[own[batch]]
        loss = binary_cross_entropy_with_logits(logits, target[batch], weight[batch])
        return loss, loss * len(batch)

    def report(epoch: int, loss: float) -> None:
        print(f"epoch {epoch}: loss {loss:.4f}", flush=True)

    minimize(optimizer, torch.arange(len(target)), BATCH, options.epochs, losses, report)
    return rows.detach(), biases.detach()


@torch.no_grad()
def add_rows(network: Network, rows: Tensor, biases: Tensor) -> None:
    """Add to the objectness rows of a network's last layer."""
    *_, last = (layer.conv for layer in network.layers if isinstance(layer, ConvLayer))
    assert last.bias is not None
    objectness = torch.arange(len(rows)) * (last.out_channels // len(rows)) + 4
    last.weight[objectness, SEEN, 0, 0] += rows
    last.bias[objectness] += biases


def main() -> None:
    options = parser(__doc__, ("start", "cache", "out"), lr=2e-3, decay=1e-2).parse_args()
    start = Start.of(options)
    assert start.model.tree is not None
    groups = SiblingGroups.of(start.model.tree)
    parts = list(zip(*gather(start.network, start.features, start.labels, groups), strict=True))
    learned = tuple(torch.cat(part) for part in parts)
    print(f"{len(learned[0]):,} boxes of {len(parts[0]):,} images", flush=True)
    region = start.network.architecture.head
    assert isinstance(region, Region)
    add_rows(start.network, *fit(learned, len(region.anchors_wh_cells), options))
    write_checkpoint(options.out, start.model.changed(weights=start.network.to_model()))


if __name__ == "__main__":
    main()
