"""The region loss: what YOLOv2 and YOLO9000 minimise.

With s the logistic function and sums over all anchors of all cells of all images::

    coordinates    1/2 coord_scale (2 - w h) [(s(t_x) - T_x)^2 + (s(t_y) - T_y)^2 + (t_w - T_w)^2 + (t_h - T_h)^2]
    objectness     1/2 object_scale (s(t_o) - T_o)^2     of anchors that learn an object; T_o is the IoU, or 1
    no objectness  1/2 noobject_scale s(t_o)^2           of all others, unless they overlap an object more than `thresh`
    classes        class_scale x cross-entropy           of anchors that learn an object

Targets are constants. It is a sum over images: training divides it by their number.

Paper: §2 says what objectness and boxes mean, §4 what image-level labels teach; the formula is Darknet's:
src/region_layer.c forward_region_layer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from yolo9000.architectures.layers import Region
from yolo9000.architectures.torch import SplitHead
from yolo9000.losses.assign import Assignment, Targets, assign, best_ious, box_iou, last_of_each
from yolo9000.losses.class_logits import ClassLogits, DenseClassLogits, logits_of_boxes, logits_of_image
from yolo9000.losses.classification import SiblingGroups, class_loss, class_probabilities, group_losses
from yolo9000.losses.settings import LossSettings

__all__ = ["ImageLevel", "LossParts", "PseudoBoxPolicy", "Statistics", "region_loss"]

WARM_UP_SCALE = 0.01  # Darknet: src/region_layer.c, ``seen`` < 12800
ASSUMED_IOU = 0.3  # §4: "the predicted box overlaps what would be the ground truth label by at least .3 IOU"
SAME_OBJECT = 0.5  # IoU above which two boxes do not learn two labels
TAKEN = 2  # more than any score, so that boxes which nobody has taken come first
MIN_OBJECTNESS = 0.05  # below it a box has too little weight to be worth its time in ``negatives``
PseudoBoxPolicy = Literal["paper", "negatives", "darknet-2017-01", "darknet-2017-07", "class-only"]
"""What an image with image-level labels trains besides the classes of its best boxes.

- ``paper``: the box that is trained on a label has its objectness raised to .3 if it is below (§4).
- ``negatives``: as ``paper``, and all other boxes learn, weighted by their objectness, that they are none of the
  classes that the image's labels rule out: those that its source labels exhaustively, other than what is at, above or
  below the labels.
- ``darknet-2017-01``: as ``paper``, and the objectness of all other boxes is trained towards 0 (Darknet, January 2017).
- ``darknet-2017-07``: the objectness of all but those boxes is trained towards 0 (Darknet since July 2017).
- ``class-only``: nothing.
"""


@dataclass(frozen=True)
class Statistics:
    """How the boxes that learn objects do, before this step; sums over objects, so that batches can be added.

    Attributes:
        objects: how many.
        iou: of the predicted box with its object.
        probability: that the box gives to its object's class, on a tree of the whole path.
        objectness: of those boxes.
        recall: how many of them overlap their object by more than .5.
        all_objectness: sum over all boxes of the images with boxes.
        boxes: how many those are.
    """

    objects: int
    iou: Tensor
    probability: Tensor
    objectness: Tensor
    recall: Tensor
    all_objectness: Tensor
    boxes: int


@dataclass(frozen=True)
class ImageLevel:
    """Which box each image with an image-level label taught.

    Attributes:
        images: index of the image in the batch.
        labels: of it; there may be several of an image.
        boxes: the box, as anchor * H * W + row * W + column.
        boxes_cxcywh: its centre, width and height as fractions of the input.
        probability: that it gives to the class, on a tree to the whole path.
        objectness: of the box.
    """

    images: Int64[Tensor, " m"]
    labels: Int64[Tensor, " m"]
    boxes: Int64[Tensor, " m"]
    boxes_cxcywh: Float[Tensor, "m 4"]
    probability: Float[Tensor, " m"]
    objectness: Float[Tensor, " m"]


@dataclass(frozen=True)
class LossParts:
    """The loss by parts, each a sum over the batch, and what else was seen.

    Attributes:
        coordinates, objectness, no_objectness, classes: see the top of this module.
        statistics: of the boxed objects.
        image_level: of the images with image-level labels; None where there are none.
    """

    coordinates: Tensor
    objectness: Tensor
    no_objectness: Tensor
    classes: Tensor
    statistics: Statistics
    image_level: ImageLevel | None

    def total(self) -> Tensor:
        """The loss."""
        return self.coordinates + self.objectness + self.no_objectness + self.classes


@dataclass(frozen=True)
class _Head:
    """The raw predictions by anchor and cell, with xy and objectness after the sigmoid, and the decoded boxes."""

    xy: Float[Tensor, "n a 2 h w"]
    wh: Float[Tensor, "n a 2 h w"]
    objectness: Float[Tensor, "n a h w"]
    logits: ClassLogits
    anchors_wh: Float[Tensor, "a 2"]
    boxes_cxcywh: Float[Tensor, "n a 4 h w"]


def region_loss(
    raw: Float[Tensor, "n c h w"] | SplitHead,
    targets: Targets,
    head: Region,
    settings: LossSettings,
    *,
    tree: SiblingGroups | None = None,
    warm_up: bool = False,
    exhaustive: Bool[Tensor, "n k"] | None = None,
    image_labels: Bool[Tensor, "n k"] | None = None,
    policy: PseudoBoxPolicy = "paper",
) -> LossParts:
    """The loss of what a detector's last convolution gave.

    Args:
        raw: c = A (5 + K): t_x, t_y, t_w, t_h, t_o and class logits of each anchor; or these five, with class logits
            on demand, which are then computed for the boxes that learn classes alone (and for all boxes of images with
            image-level labels, or whose source does not label all classes exhaustively). Computed in float32 at least.
        targets: the boxed objects; none in images with an image-level label.
        head: anchors and classes. Its classes, or each sibling group, are taken for a softmax.
        settings: weights and rules.
        tree: the sibling groups where classes are nodes of a tree.
        warm_up: all boxes also learn their cell's middle and their anchor's size, a little. Darknet: for the first
            12,800 images.
        exhaustive: which classes each image's source labels exhaustively, on a tree with all nodes below them. A box
            is pushed to "no object" only by the fraction of its class probability that lies on those (on a tree, on
            the leaves among them), a constant: what may be an object that nobody labelled is left alone. None: all.
            Not in Darknet.
        image_labels: the classes known to be in each image that has image-level labels instead of boxes; none of the
            others'.
        policy: what those teach besides the classes of their best boxes.

    Returns:
        The loss by parts; minus the gradient of its total by `raw` is what Darknet calls ``delta``, carried back to the
        layer before.
    """
    t = _read_head(raw, head)
    weakly = None if image_labels is None or not bool(image_labels.any()) else image_labels
    boxed = t.objectness.new_ones(len(t.objectness), dtype=torch.bool) if weakly is None else ~weakly.any(dim=1)
    assignment = assign(targets, t.anchors_wh, _grid(t), None if settings.bias_match else _predicted_wh(t))
    learnt = _Learnt.of(t, targets, assignment)
    free = boxed[:, None, None, None] & ~learnt.taken
    coordinates = learnt.coordinate_loss(settings)
    if warm_up:
        coordinates = coordinates + _warm_up_loss(t, free)
    no_objectness = _no_object_loss(t, targets, settings, free, _fraction(t, exhaustive, tree))
    objectness, classes = learnt.objectness_loss(settings), learnt.class_loss(settings, tree)
    image_level = None
    if weakly is not None:
        image_level, up, down, of_classes = _image_level_loss(t, weakly, settings, tree, policy, exhaustive)
        objectness, no_objectness, classes = objectness + up, no_objectness + down, classes + of_classes
    statistics = learnt.statistics(t, tree, boxed)
    return LossParts(coordinates, objectness, no_objectness, classes, statistics, image_level)


def _grid(t: _Head) -> tuple[int, int]:
    return t.objectness.shape[2], t.objectness.shape[3]


def _predicted_wh(t: _Head) -> Tensor:
    return t.boxes_cxcywh[:, :, 2:]


def _read_head(raw: Float[Tensor, "n c h w"] | SplitHead, head: Region) -> _Head:
    """Split the raw predictions, and decode the boxes (§2 Direct location prediction)."""
    t, logits = _split(raw, head)
    h, w = t.shape[3:]
    txy, twh, to = t.split((2, 2, 1), dim=2)
    xy = txy.sigmoid()
    grid_wh = t.new_tensor((w, h))
    anchors_wh = t.new_tensor(head.anchors_wh_cells) / grid_wh
    with torch.no_grad():
        corners = torch.stack(torch.meshgrid(*(torch.arange(side, device=t.device) for side in (w, h)), indexing="xy"))
        centres = (xy + corners) / grid_wh[:, None, None]
        boxes = torch.cat([centres, twh.exp() * anchors_wh[:, :, None, None]], dim=2)
    return _Head(xy, twh, to.squeeze(2).sigmoid(), logits, anchors_wh, boxes)


def _split(raw: Float[Tensor, "n c h w"] | SplitHead, head: Region) -> tuple[Float[Tensor, "n a 5 h w"], ClassLogits]:
    if isinstance(raw, SplitHead):
        return _single_precision(raw.boxes), raw
    n, _, h, w = raw.shape
    t = _single_precision(raw).reshape(n, len(head.anchors_wh_cells), 5 + head.classes, h, w)
    return t[:, :, :5], DenseClassLogits(t[:, :, 5:])


def _single_precision(t: Tensor) -> Tensor:
    return t.float() if t.dtype in (torch.bfloat16, torch.float16) else t


def _no_object_loss(
    t: _Head,
    targets: Targets,
    settings: LossSettings,
    free: Bool[Tensor, "n a h w"],
    fraction: Float[Tensor, "n a h w"] | None,
) -> Tensor:
    """All boxes that learn nothing and overlap no object much are pushed to no object."""
    boxes = t.boxes_cxcywh.permute(0, 1, 3, 4, 2)
    overlap = best_ious(boxes.reshape(len(boxes), -1, 4), targets).reshape(free.shape)
    squares = t.objectness.square() if fraction is None else t.objectness.square() * fraction
    return settings.noobject_scale / 2 * squares[free & (overlap <= settings.thresh)].sum()


@torch.no_grad()
def _fraction(
    t: _Head, exhaustive: Bool[Tensor, "n k"] | None, tree: SiblingGroups | None
) -> Float[Tensor, "n a h w"] | None:
    """The fraction of each box's class probability on classes that its image's source labels exhaustively."""
    if exhaustive is None:
        return None
    fraction = torch.ones_like(t.objectness)
    for image in torch.nonzero(~exhaustive.all(dim=1)).flatten().tolist():
        probabilities = class_probabilities(logits_of_image(t.logits, image, t.objectness), tree)
        counted = exhaustive[image] if tree is None else exhaustive[image] & tree.leaves
        fraction[image] = probabilities[:, counted].sum(dim=1).reshape(fraction[image].shape)
    return fraction


def _warm_up_loss(t: _Head, free: Bool[Tensor, "n a h w"]) -> Tensor:
    """Boxes that learn no object learn the middle of their cell and the size of their anchor."""
    squares = (t.xy - 0.5).square().sum(dim=2) + t.wh.square().sum(dim=2)
    return WARM_UP_SCALE / 2 * squares[free].sum()


@dataclass(frozen=True)
class _Learnt:
    """The boxes that learn objects, one entry for each object.

    Of several objects at one anchor the last one stands: it is what the box learns. On a tree that holds for each
    sibling group, so that groups on the path of an earlier object alone learn that one.
    """

    xy: Float[Tensor, "t 2"]
    wh: Float[Tensor, "t 2"]
    objectness: Float[Tensor, " t"]
    logits: Float[Tensor, "t k"]
    target_xy: Float[Tensor, "t 2"]
    target_wh: Float[Tensor, "t 2"]
    areas: Float[Tensor, " t"]
    ious: Float[Tensor, " t"]
    labels: Int64[Tensor, " t"]
    indices: Int64[Tensor, " t"]
    stands: Bool[Tensor, " t"]
    taken: Bool[Tensor, "n a h w"]

    @classmethod
    def of(cls, t: _Head, targets: Targets, assignment: Assignment) -> _Learnt:
        at = (targets.images, assignment.anchors, slice(None), assignment.rows, assignment.columns)
        at_anchor = (targets.images, assignment.anchors, assignment.rows, assignment.columns)
        h, w = t.objectness.shape[2:]
        boxes = targets.boxes_cxcywh.to(t.xy.dtype)
        cells = torch.stack([assignment.columns, assignment.rows], dim=1)
        taken = torch.zeros_like(t.objectness, dtype=torch.bool)
        taken[at_anchor] = True
        return cls(
            xy=t.xy[at],
            wh=t.wh[at],
            objectness=t.objectness[at_anchor],
            logits=t.logits.class_logits(*at_anchor),
            target_xy=boxes[:, :2] * boxes.new_tensor((w, h)) - cells,
            target_wh=(boxes[:, 2:] / t.anchors_wh[assignment.anchors]).log(),
            areas=boxes[:, 2:].prod(dim=1),
            ious=box_iou(t.boxes_cxcywh[at], boxes),
            labels=targets.labels,
            indices=assignment.indices,
            stands=last_of_each(assignment.indices),
            taken=taken,
        )

    def coordinate_loss(self, settings: LossSettings) -> Tensor:
        squares = (self.xy - self.target_xy).square().sum(dim=1) + (self.wh - self.target_wh).square().sum(dim=1)
        return settings.coord_scale / 2 * ((2 - self.areas) * squares)[self.stands].sum()

    def objectness_loss(self, settings: LossSettings) -> Tensor:
        targets = self.ious if settings.rescore else torch.ones_like(self.ious)
        return settings.object_scale / 2 * (self.objectness - targets).square()[self.stands].sum()

    def class_loss(self, settings: LossSettings, tree: SiblingGroups | None) -> Tensor:
        losses, groups = group_losses(self.logits, self.labels, tree)
        taught = groups >= 0
        softmaxes = self.indices[:, None] * (1 if tree is None else tree.count) + groups
        return settings.class_scale * losses[taught][last_of_each(softmaxes[taught])].sum()

    @torch.no_grad()
    def statistics(self, t: _Head, tree: SiblingGroups | None, boxed: Bool[Tensor, " n"]) -> Statistics:
        of_boxed = t.objectness[boxed]
        return Statistics(
            objects=len(self.labels),
            iou=self.ious.sum(),
            probability=(-class_loss(self.logits, self.labels, tree)).exp().sum(),
            objectness=self.objectness.sum(),
            recall=(self.ious > 0.5).sum(),
            all_objectness=of_boxed.sum(),
            boxes=of_boxed.numel(),
        )


def _image_level_loss(
    t: _Head,
    image_labels: Bool[Tensor, "n k"],
    settings: LossSettings,
    tree: SiblingGroups | None,
    policy: PseudoBoxPolicy,
    exhaustive: Bool[Tensor, "n k"] | None,
) -> tuple[ImageLevel, Tensor, Tensor, Tensor]:
    """What images without boxes teach: for each label the box that answers best for it learns it (§4)."""
    objectness, boxes = t.objectness.flatten(1), t.boxes_cxcywh.permute(0, 1, 3, 4, 2).flatten(1, 3)
    seen = _best_boxes(objectness, boxes, t.logits, image_labels, tree)
    chosen = torch.zeros_like(objectness, dtype=torch.bool)
    chosen[seen.images, seen.boxes] = True
    others = image_labels.any(dim=1)[:, None] & ~chosen
    logits = logits_of_boxes(t.logits, seen.images, seen.boxes, _grid(t))
    classes = settings.class_scale * class_loss(logits, seen.labels, tree).sum()
    up = down = objectness.new_zeros(())
    if policy in ("paper", "negatives", "darknet-2017-01"):
        own = objectness[chosen]
        up = settings.object_scale / 2 * (own - ASSUMED_IOU).square()[own < ASSUMED_IOU].sum()
    if policy in ("darknet-2017-01", "darknet-2017-07"):
        down = settings.noobject_scale / 2 * objectness[others].square().sum()
    if policy == "negatives":
        taught = others & (objectness > MIN_OBJECTNESS)
        open_to = _not_ruled_out(image_labels, tree, exhaustive).repeat_interleave(taught.sum(dim=1), dim=0)
        images, boxes_taught = taught.nonzero().unbind(1)
        logits = logits_of_boxes(t.logits, images, boxes_taught, _grid(t))
        classes = classes + settings.class_scale * _rule_out_loss(objectness[taught], logits, open_to, tree)
    return seen, up, down, classes


@torch.no_grad()
def _best_boxes(
    objectness: Float[Tensor, "n b"],
    boxes_cxcywh: Float[Tensor, "n b 4"],
    logits: ClassLogits,
    image_labels: Bool[Tensor, "n k"],
    tree: SiblingGroups | None,
) -> ImageLevel:
    """The boxes whose objectness times probability of a label of their image is greatest."""
    chosen: list[tuple[Tensor, ...]] = []
    for image in image_labels.any(dim=1).nonzero().flatten().tolist():
        labels = image_labels[image].nonzero().flatten()
        probabilities = class_probabilities(logits_of_image(logits, image, objectness), tree)[:, labels]
        own = _one_for_each(objectness[image][:, None] * probabilities, boxes_cxcywh[image])
        probability = probabilities[own, torch.arange(len(labels), device=own.device)]
        batch_index = torch.full_like(labels, image)
        chosen.append((batch_index, labels, own, boxes_cxcywh[image, own], probability, objectness[image, own]))
    return ImageLevel(*map(torch.cat, zip(*chosen, strict=True)))


def _one_for_each(scores: Float[Tensor, "b l"], boxes_cxcywh: Float[Tensor, "b 4"]) -> Int64[Tensor, " l"]:
    """A box for each label: labels choose in the order of their best score, among boxes that no other has chosen.

    What overlaps a chosen box by more than `SAME_OBJECT` is the same object, and is not free either.
    """
    scores = scores.clone()
    chosen = scores.new_full((scores.shape[1],), -1, dtype=torch.int64)
    for _ in range(len(chosen)):
        box, label = divmod(int(scores.argmax()), len(chosen))
        chosen[label] = box
        scores[box_iou(boxes_cxcywh, boxes_cxcywh[box]) > SAME_OBJECT] -= TAKEN
        scores[:, label] = -torch.inf
    return chosen


def _not_ruled_out(
    image_labels: Bool[Tensor, "n k"], tree: SiblingGroups | None, exhaustive: Bool[Tensor, "n k"] | None
) -> Bool[Tensor, "n k"]:
    """The classes, or leaves of the tree, at or below an image's labels, and those that its source may leave out."""
    known = torch.ones_like(image_labels) if exhaustive is None else exhaustive
    if tree is None:
        return image_labels | ~known
    at_or_below = (image_labels[:, tree.paths.clamp(min=0)] & (tree.paths >= 0)).any(dim=2)
    return tree.leaves & (at_or_below | ~known)


def _rule_out_loss(
    objectness: Float[Tensor, " m"],
    logits: Float[Tensor, "m k"],
    open_to: Bool[Tensor, "m k"],
    tree: SiblingGroups | None,
) -> Tensor:
    """-log P(what is not ruled out) of each box, weighted by its objectness, which is a constant here."""
    probability = (class_probabilities(logits, tree) * open_to).sum(dim=1)
    return -(objectness.detach() * probability.clamp(min=torch.finfo(probability.dtype).tiny).log()).sum()
