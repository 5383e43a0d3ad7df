"""Fit the class rows of a detector to labelled boxes on cached features: convex, as all before them stays as it is.

    python fit_classes.py START CACHE OUT --tables FOLDER --parts NAME ... --soft SOFT.npz ... --ids imagenet.txt

Each box is seen at its centre and at two other cells near it, by the anchor most like it and by the next one if that is
much like it; an image-level label at the three boxes that are most likely to be of it, as in joint training (section 4
of the paper). One image in twenty is not fitted to, and says how well the rows generalise. Rows stay near where they
start: at first those of COCO's classes are YOLOX-Nano's, those of ImageNet's EfficientNet-Lite0's.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from distill import SoftLabels
from feature_cache import SIZE, Features, Labels, Placed, read_labels, taps
from torch import Tensor

from yolo9000.architectures.layers import Region
from yolo9000.architectures.torch import Network, SplitHead
from yolo9000.checkpoints.safetensors import read_checkpoint, write_checkpoint

MIN_INSIDE, MIN_SIDE = 0.5, 8  # of a box: fraction in the input, pixels
NEXT_ANCHOR = 0.2  # IoU with the shape of the second most similar anchor
IMAGE_LEVEL, CANDIDATES = 3, 100  # boxes that learn an image-level label, of that number with the highest objectness
HELD_OUT = 20  # one image in that number
NEARBY = 0.2  # how far from the centre other cells are, against the box
BATCH = 256
DROPOUT = 0.2
COUNT, MIN_WEIGHT, MAX_WEIGHT = 20, 0.15, 1.5  # a label with n boxes weighs (n / 20)^-1/2 within these


def positions(box: np.ndarray, anchors: np.ndarray, grid: int, rng: np.random.Generator) -> set[tuple[int, int, int]]:
    """(anchor, row, column) at which a box in pixels of the input is seen."""
    wh, center = box[2:] - box[:2], (box[:2] + box[2:]) / 2
    common = np.minimum(anchors, wh).prod(1)
    iou = common / (anchors.prod(1) + wh.prod() - common)
    best, *others = np.argsort(-iou).tolist()

    def cell(point: np.ndarray) -> tuple[int, int]:
        column, row = (point * grid / SIZE).astype(int).clip(0, grid - 1)
        return int(row), int(column)

    matched = {(best, *cell(center))}
    matched |= {(best, *cell(center + rng.uniform(-NEARBY, NEARBY, 2) * wh)) for _ in range(2)}
    return matched | {(other, *cell(center)) for other in others[:1] if iou[other] > NEXT_ANCHOR}


@torch.inference_mode()
def gather(
    network: Network, features: Features, labels: dict[str, Labels], soft: SoftLabels, rng: np.random.Generator
) -> Iterator[tuple[Tensor, int, int, int, int]]:
    """Feature vector in half precision, anchor, node, number of the soft label and of the image, for each position."""
    known = [i for i, placed in enumerate(features.placed) if placed.file in labels]
    index_of = {file: number for number, file in enumerate(labels)}
    region = network.architecture.head
    assert isinstance(region, Region)
    anchors = np.array(region.anchors_wh_cells) * 16
    for start in range(0, len(known), 16):
        chosen = known[start : start + 16]
        head = network.split(None, features.maps(chosen))
        for i, image in enumerate(chosen):
            placed = features.placed[image]
            known_of = labels[placed.file]
            matched = [
                *_boxed(placed, known_of, anchors, head.boxes.shape[3], soft, rng),
                *_image_level(head, i, known_of, soft),
            ]
            for anchor, row, column, node, key in matched:
                yield head.features[i, :, row, column].half(), anchor, node, key, index_of[placed.file]


def _boxed(
    placed: Placed, labels: Labels, anchors: np.ndarray, grid: int, soft: SoftLabels, rng: np.random.Generator
) -> Iterator[tuple[int, int, int, int, int]]:
    """Anchor, row, column, node and number of the soft label of all positions of an image's boxes."""
    boxes, inside = placed.boxes(labels.boxes_xyxy)
    for i, (box, fraction) in enumerate(zip(boxes, inside, strict=True)):
        if fraction > MIN_INSIDE and (box[2:] - box[:2]).min() > MIN_SIDE:
            for position in positions(box, anchors, grid, rng):
                yield *position, labels.nodes[i], soft.find(placed.file, i)


def _image_level(
    head: SplitHead, image: int, labels: Labels, soft: SoftLabels
) -> Iterator[tuple[int, int, int, int, int]]:
    """The same of an image-level label: where objectness x P(label) is greatest among the most certain boxes."""
    if labels.image_node is None:
        return
    objectness = head.boxes[image, :, 4].sigmoid()
    top = objectness.flatten().topk(CANDIDATES).indices
    anchors, rows, columns = torch.unravel_index(top, objectness.shape)
    logits = head.class_logits(torch.full_like(top, image), anchors, rows, columns)
    scores = objectness.flatten()[top] * soft.groups.probabilities(logits)[:, labels.image_node]
    for position in scores.topk(IMAGE_LEVEL).indices:
        yield int(anchors[position]), int(rows[position]), int(columns[position]), labels.image_node, -1


class ClassRows:
    """The class rows while they are fitted.

    Args:
        head: where they come from.
        soft: the class loss.
    """

    def __init__(self, head: SplitHead, soft: SoftLabels) -> None:
        self.weights, self.biases = (one.detach().clone().requires_grad_() for one in (head.weights, head.biases))
        self.start = self.weights.detach().clone()
        self.soft = soft

    def losses(self, x: Tensor, anchors: Tensor, nodes: Tensor, keys: Tensor) -> Tensor:
        """The loss of each vector, (M,)."""
        return self.soft.loss(self.logits(x, anchors), nodes, keys)

    def logits(self, x: Tensor, anchors: Tensor) -> Tensor:
        """Scores of all nodes, (M, K)."""
        logits = x.new_zeros(len(x), self.biases.shape[1])
        for anchor in range(len(self.weights)):
            own = torch.nonzero(anchors == anchor)[:, 0]
            logits = logits.index_add(0, own, x[own] @ self.weights[anchor].T + self.biases[anchor])
        return logits

    def moved(self) -> Tensor:
        """How far the rows are from where they started, squared."""
        return ((self.weights - self.start) ** 2).sum()


def fit(rows: ClassRows, vectors: Tensor, columns: Tensor, options: argparse.Namespace) -> None:
    """Train the class rows.

    Args:
        rows: what is trained.
        vectors: of labelled positions.
        columns: their anchors, nodes, soft labels and images, (4, M).
        options: epochs, rates.
    """
    anchors, nodes, keys, images = columns
    held_out = images % HELD_OUT == 0
    train, test = (torch.nonzero(which)[:, 0] for which in (~held_out, held_out))
    weight = (torch.bincount(nodes)[nodes] / COUNT).pow(-0.5).clamp(MIN_WEIGHT, MAX_WEIGHT)
    optimizer = torch.optim.Adam([rows.weights, rows.biases], lr=options.lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, options.epochs * -(-len(train) // BATCH))
    started = time.monotonic()
    for epoch in range(options.epochs):
        total = 0.0
        for batch in train[torch.randperm(len(train))].split(BATCH):
            x = torch.nn.functional.dropout(vectors[batch].float(), DROPOUT)
            losses = rows.losses(x, anchors[batch], nodes[batch], keys[batch])
            loss = (losses * weight[batch]).mean() + options.decay * rows.moved()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += float(losses.detach().sum())
        with torch.inference_mode():
            parts = [rows.losses(vectors[t].float(), anchors[t], nodes[t], keys[t]) for t in test.split(BATCH)]
        text = f"epoch {epoch + 1}: loss {total / len(train):.3f}, held out {torch.cat(parts).mean():.3f}"
        print(f"{text}, {time.monotonic() - started:.0f} s", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("start", "cache", "out"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--tables", type=Path, required=True, help="folder of the tables")
    parser.add_argument("--parts", nargs="+", required=True, help="names of tables and of their cached features")
    parser.add_argument("--soft", type=Path, nargs="*", default=[])
    parser.add_argument("--ids", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--decay", type=float, default=3e-3)
    options = parser.parse_args()
    torch.manual_seed(0)
    model = read_checkpoint(options.start)
    assert model.weights is not None
    assert model.tree is not None
    network = Network(model.weights.architecture)
    network.load(model.weights)
    features = Features(options.cache, options.parts, taps(model))
    soft = SoftLabels(options.soft, model.tree, sorted(options.ids.read_text().split()))
    labels = read_labels([options.tables / f"{part}.jsonl" for part in options.parts], model.tree.ids)
    gathered = list(gather(network, features, labels, soft, np.random.default_rng(0)))
    print(f"{len(gathered):,} positions of boxes in {len(features):,} images", flush=True)
    vectors, *columns = zip(*gathered, strict=True)
    head = network.split(None, features.maps([0]))
    rows = ClassRows(head, soft)
    fit(rows, torch.stack(vectors), torch.tensor(columns), options)
    with torch.no_grad():
        head.weights.copy_(rows.weights)
        head.biases.copy_(rows.biases)
    write_checkpoint(options.out, model.changed(weights=network.to_model()))


if __name__ == "__main__":
    main()
