"""Fit the class rows of a detector on cached features: convex, as all before them stays as it is.

    python fit_classes.py START yolox_nano.onnx efficientnet-lite0.safetensors coco.names CACHE OUT
        --tables FOLDER --parts NAME ...

At boxes of all images the rows learn what both networks say together (``teachers.py``). Each labelled box is seen at
its centre and at two other cells near it, by the anchor most like it and by the next one if that is much like it; an
image-level label at the three boxes that are most likely to be of it, as in joint training (section 4 of the paper).
One image in twenty is not fitted to, and says how well the rows generalise.
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Iterator

import numpy as np
import torch
from feature_cache import Features, Labels, Placed
from fitting import Start, minimize, parser
from make_start import SIZE
from teachers import NONE, Teachers
from torch import Tensor
from yolox import YoloxNano

from yolo9000.architectures.layers import Region
from yolo9000.architectures.torch import Network, SplitHead
from yolo9000.checkpoints.safetensors import read_checkpoint, write_checkpoint
from yolo9000.losses.classification import SiblingGroups, class_loss

MIN_INSIDE, MIN_SIDE = 0.5, 8  # of a box: fraction in the input, pixels
NEXT_ANCHOR = 0.2  # IoU with the shape of the second most similar anchor
IMAGE_LEVEL, CANDIDATES = 3, 100  # boxes that learn an image-level label, of that number with the highest objectness
SAMPLED = 24  # boxes of an image that learn what the networks say
FLOOR = 0.02  # added to what they are chosen by
HELD_OUT = 20  # one image in that number
NEARBY = 0.2  # how far from the centre other cells are, against the box
BATCH = 256
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
    network: Network, features: Features, labels: dict[str, Labels], teachers: Teachers
) -> Iterator[tuple[Tensor, int, int, int]]:
    """Feature vector in half precision, anchor, node (`NONE` without label) and number of the image, for each box."""
    rng, chance = np.random.default_rng(0), torch.Generator().manual_seed(0)
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
            matched = [
                *_boxed(placed, labels[placed.file], anchors, head.boxes.shape[3], rng),
                *_image_level(head, i, labels[placed.file], teachers),
                *_sampled(head, i, teachers, chance),
            ]
            for anchor, row, column, node in matched:
                yield head.features[i, :, row, column].half(), anchor, node, index_of[placed.file]


def _boxed(
    placed: Placed, labels: Labels, anchors: np.ndarray, grid: int, rng: np.random.Generator
) -> Iterator[tuple[int, int, int, int]]:
    """Anchor, row, column and node of all positions of an image's labelled boxes."""
    boxes, inside = placed.boxes(labels.boxes_xyxy)
    for node, box, fraction in zip(labels.nodes, boxes, inside, strict=True):
        if fraction > MIN_INSIDE and (box[2:] - box[:2]).min() > MIN_SIDE:
            for position in positions(box, anchors, grid, rng):
                yield *position, node


def _image_level(
    head: SplitHead, image: int, labels: Labels, teachers: Teachers
) -> Iterator[tuple[int, int, int, int]]:
    """The same of an image-level label: the boxes that are most likely to be of it."""
    if labels.image_node is not None:
        for position in itertools.islice(likeliest(head, image, labels.image_node, teachers.groups), IMAGE_LEVEL):
            yield *position, labels.image_node


def likeliest(head: SplitHead, image: int, node: int, groups: SiblingGroups) -> Iterator[tuple[int, int, int]]:
    """Anchor, row and column of an image's most certain boxes by falling objectness x P(node)."""
    objectness = head.boxes[image, :, 4].sigmoid()
    top = objectness.flatten().topk(CANDIDATES).indices
    anchors, rows, columns = torch.unravel_index(top, objectness.shape)
    logits = head.class_logits(torch.full_like(top, image), anchors, rows, columns)
    scores = objectness.flatten()[top] * groups.probabilities(logits)[:, node]
    for position in scores.argsort(descending=True):
        yield int(anchors[position]), int(rows[position]), int(columns[position])


def _sampled(
    head: SplitHead, image: int, teachers: Teachers, chance: torch.Generator
) -> Iterator[tuple[int, int, int, int]]:
    """The same of boxes without a label: mostly likely objects of which the classifier is sure."""
    objectness = head.boxes[image, :, 4].sigmoid()
    likely = (objectness.flatten().sqrt() + FLOOR).multinomial(CANDIDATES, generator=chance)
    anchors, rows, columns = torch.unravel_index(likely, objectness.shape)
    sure = teachers.certainty(head.features[image, :, rows, columns].T)
    for position in (sure + FLOOR).multinomial(SAMPLED, generator=chance):
        yield int(anchors[position]), int(rows[position]), int(columns[position]), NONE


class ClassRows:
    """The class rows while they are fitted.

    Args:
        head: where they come from, and where `write` puts them.
        teachers: what they learn.
    """

    def __init__(self, head: SplitHead, teachers: Teachers) -> None:
        self.head, self.teachers = head, teachers
        self.weights, self.biases = (one.detach().clone().requires_grad_() for one in (head.weights, head.biases))
        self.start = self.weights.detach().clone()

    def losses(self, x: Tensor, anchors: Tensor, nodes: Tensor) -> Tensor:
        """The class loss of each vector, (M,)."""
        soft = self.teachers.distribution(x, anchors, nodes)
        return class_loss(self.logits(x, anchors), nodes.clamp(min=0), self.teachers.groups, soft)

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

    @torch.no_grad()
    def write(self) -> None:
        """Put the rows back."""
        self.head.weights.copy_(self.weights)
        self.head.biases.copy_(self.biases)


def fit(rows: ClassRows, vectors: Tensor, columns: Tensor, options: argparse.Namespace) -> None:
    """Train the class rows.

    Args:
        rows: what is trained.
        vectors: of labelled positions.
        columns: their anchors, nodes and images, (3, M).
        options: epochs, rates.
    """
    anchors, nodes, images = columns
    held_out = images % HELD_OUT == 0
    train, test = (torch.nonzero(which)[:, 0] for which in (~held_out, held_out))
    counts = torch.bincount(nodes.clamp(min=0))[nodes]
    weight = torch.where(nodes == NONE, 1, (counts / COUNT).pow(-0.5).clamp(MIN_WEIGHT, MAX_WEIGHT))
    started = time.monotonic()

    def losses(batch: Tensor) -> tuple[Tensor, Tensor]:
        each = rows.losses(vectors[batch].float(), anchors[batch], nodes[batch])
        return (each * weight[batch]).mean() + options.decay * rows.moved(), each.sum()

    def report(epoch: int, loss: float) -> None:
        with torch.inference_mode():
            parts = [rows.losses(vectors[t].float(), anchors[t], nodes[t]) for t in test.split(BATCH)]
        text = f"epoch {epoch}: loss {loss:.3f}, held out {torch.cat(parts).mean():.3f}"
        print(f"{text}, {time.monotonic() - started:.0f} s", flush=True)

    optimizer = torch.optim.Adam([rows.weights, rows.biases], lr=options.lr)
    minimize(optimizer, train, BATCH, options.epochs, losses, report)


def main() -> None:
    files = ("start", "yolox", "classifier", "names", "cache", "out")
    options = parser(__doc__, files, lr=2e-3, decay=3e-4).parse_args()
    start = Start.of(options)
    assert start.model.tree is not None
    coco = [name for name in options.names.read_text().split("\n") if name]
    classifier = read_checkpoint(options.classifier)
    assert classifier.weights is not None
    assert classifier.tree is not None
    teachers = Teachers.of(YoloxNano(options.yolox), classifier.weights, start.model.tree, coco, classifier.tree.ids)
    gathered = list(gather(start.network, start.features, start.labels, teachers))
    print(f"{len(gathered):,} boxes of {len(start.features):,} images", flush=True)
    vectors, *columns = zip(*gathered, strict=True)
    rows = ClassRows(start.network.split(None, start.features.maps([0])), teachers)
    fit(rows, torch.stack(vectors), torch.tensor(columns), options)
    rows.write()
    write_checkpoint(options.out, start.model.changed(weights=start.network.to_model()))


if __name__ == "__main__":
    main()
