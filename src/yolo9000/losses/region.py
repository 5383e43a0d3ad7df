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
SAME_OBJECT = 0.5  # IoU above which two boxes are not trained on two labels
TAKEN = 2  # more than any score, so that boxes which are not taken come first
MIN_OBJECTNESS = 0.05  # boxes below it weigh too little in ``negatives`` to be worth computing
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
    """Statistics of the boxes that are assigned objects; sums over objects, so that batches can be added.

    Attributes:
        objects: number of objects.
        iou: of the predicted box with its object.
        probability: of the object's class given the box, on a tree of the whole path.
        objectness: of those boxes.
        recall: number of them with an IoU above .5.
        all_objectness: sum over all boxes of the images with boxes.
        boxes: number of these.
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
    """The box that is trained on each image-level label.

    Attributes:
        images: index of the image in the batch.
        labels: of the image, which may have several.
        boxes: index of the box: anchor * H * W + row * W + column.
        boxes_cxcywh: its centre, width and height as fractions of the input.
        probability: of the label given the box, on a tree of the whole path.
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
    """The terms of the loss, each a sum over the batch, and statistics.

    Attributes:
        coordinates, objectness, no_objectness, classes: see the top of this module.
        statistics: of the boxed objects.
        image_level: of the images with image-level labels; None if there are none.
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
class _HeadOutput:
    """The network's output by meaning, and the boxes that it predicts."""

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
    image_soft: Float[Tensor, "n k"] | None = None,
) -> LossParts:
    """The loss of the output of a detector's last convolution.

    Args:
        raw: c = A (5 + K): t_x, t_y, t_w, t_h, t_o and class logits of each anchor; or these five, with class logits
            on demand, which are then computed for the boxes that learn classes alone (and for all boxes of images with
            image-level labels, or whose source does not label all classes exhaustively). Computed in float32 at least.
        targets: the boxed objects; none in images with an image-level label.
        head: anchors and classes. Its classes, or each sibling group, are taken for a softmax.
        settings: weights and rules.
        tree: the sibling groups if classes are nodes of a tree.
        warm_up: also pull all boxes towards the middle of their cell and the size of their anchor, a little. Darknet:
            for the first 12,800 images.
        exhaustive: classes that each image's source labels exhaustively, on a tree with all nodes below them. A box is
            trained towards "no object" only by the fraction of its class probability on those (on a tree, on the leaves
            among them), since others may be objects that nobody labelled. The fraction is a constant. None: all. Not in
            Darknet.
        image_labels: classes of each image that has image-level labels instead of boxes; none for the other images.
        policy: what those train besides the classes of their best boxes.
        image_soft: soft labels of images with an image-level label: what their best boxes are trained on in its place;
            see `yolo9000.losses.classification.class_loss`.

    Returns:
        The terms of the loss; minus the gradient of its total with respect to `raw` is Darknet's ``delta``.
    """
    head_output = _read_head(raw, head)
    labelled = None if image_labels is None or not bool(image_labels.any()) else image_labels
    boxed = (
        head_output.objectness.new_ones(len(head_output.objectness), dtype=torch.bool)
        if labelled is None
        else ~labelled.any(dim=1)
    )
    assignment = assign(
        targets, head_output.anchors_wh, _grid(head_output), None if settings.bias_match else _predicted_wh(head_output)
    )
    assigned = _Assigned.of(head_output, targets, assignment)
    free = boxed[:, None, None, None] & ~assigned.taken
    coordinates = assigned.coordinate_loss(settings)
    if warm_up:
        coordinates = coordinates + _warm_up_loss(head_output, free)
    no_objectness = _no_object_loss(
        head_output, targets, settings, free, _exhaustive_fraction(head_output, exhaustive, tree)
    )
    objectness, classes = assigned.objectness_loss(settings), assigned.class_loss(settings, tree)
    image_level = None
    if labelled is not None:
        image_level_loss = _image_level_loss(head_output, labelled, settings, tree, policy, exhaustive, image_soft)
        objectness = objectness + image_level_loss.objectness
        no_objectness = no_objectness + image_level_loss.no_objectness
        classes = classes + image_level_loss.classes
        image_level = image_level_loss.boxes
    statistics = assigned.statistics(head_output, tree, boxed)
    return LossParts(coordinates, objectness, no_objectness, classes, statistics, image_level)


def _grid(head_output: _HeadOutput) -> tuple[int, int]:
    return head_output.objectness.shape[2], head_output.objectness.shape[3]


def _predicted_wh(head_output: _HeadOutput) -> Tensor:
    return head_output.boxes_cxcywh[:, :, 2:]


def _read_head(raw: Float[Tensor, "n c h w"] | SplitHead, head: Region) -> _HeadOutput:
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
    return _HeadOutput(xy, twh, to.squeeze(2).sigmoid(), logits, anchors_wh, boxes)


def _split(raw: Float[Tensor, "n c h w"] | SplitHead, head: Region) -> tuple[Float[Tensor, "n a 5 h w"], ClassLogits]:
    if isinstance(raw, SplitHead):
        return _single_precision(raw.boxes), raw
    n, _, h, w = raw.shape
    t = _single_precision(raw).reshape(n, len(head.anchors_wh_cells), 5 + head.classes, h, w)
    return t[:, :, :5], DenseClassLogits(t[:, :, 5:])


def _single_precision(t: Tensor) -> Tensor:
    return t.float() if t.dtype in (torch.bfloat16, torch.float16) else t


def _no_object_loss(
    head_output: _HeadOutput,
    targets: Targets,
    settings: LossSettings,
    free: Bool[Tensor, "n a h w"],
    fraction: Float[Tensor, "n a h w"] | None,
) -> Tensor:
    """The objectness of boxes that are assigned no object and overlap none much is trained towards 0."""
    boxes = head_output.boxes_cxcywh.permute(0, 1, 3, 4, 2)
    overlap = best_ious(boxes.reshape(len(boxes), -1, 4), targets).reshape(free.shape)
    squares = head_output.objectness.square() if fraction is None else head_output.objectness.square() * fraction
    return settings.noobject_scale / 2 * squares[free & (overlap <= settings.thresh)].sum()


@torch.no_grad()
def _exhaustive_fraction(
    head_output: _HeadOutput, exhaustive: Bool[Tensor, "n k"] | None, tree: SiblingGroups | None
) -> Float[Tensor, "n a h w"] | None:
    """The fraction of each box's class probability on the classes that its image's source labels exhaustively."""
    if exhaustive is None:
        return None
    fraction = torch.ones_like(head_output.objectness)
    for image in torch.nonzero(~exhaustive.all(dim=1)).flatten().tolist():
        probabilities = class_probabilities(logits_of_image(head_output.logits, image, head_output.objectness), tree)
        counted = exhaustive[image] if tree is None else exhaustive[image] & tree.leaves
        fraction[image] = probabilities[:, counted].sum(dim=1).reshape(fraction[image].shape)
    return fraction


def _warm_up_loss(head_output: _HeadOutput, free: Bool[Tensor, "n a h w"]) -> Tensor:
    """Boxes without an object are trained towards the middle of their cell and the size of their anchor."""
    squares = (head_output.xy - 0.5).square().sum(dim=2) + head_output.wh.square().sum(dim=2)
    return WARM_UP_SCALE / 2 * squares[free].sum()


@dataclass(frozen=True)
class _Assigned:
    """The boxes that are assigned objects, one entry for each object.

    Of several objects at one position the last one is the target. On a tree this holds for each sibling group, so that
    groups that are only on the path of an earlier object are trained on that one.
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
    soft: Float[Tensor, "t k"] | None
    indices: Int64[Tensor, " t"]
    is_target: Bool[Tensor, " t"]
    taken: Bool[Tensor, "n a h w"]

    @classmethod
    def of(cls, head_output: _HeadOutput, targets: Targets, assignment: Assignment) -> _Assigned:
        maps = (targets.images, assignment.anchors, slice(None), assignment.rows, assignment.columns)
        cells_of = (targets.images, assignment.anchors, assignment.rows, assignment.columns)
        h, w = head_output.objectness.shape[2:]
        boxes = targets.boxes_cxcywh.to(head_output.xy.dtype)
        cells = torch.stack([assignment.columns, assignment.rows], dim=1)
        taken = torch.zeros_like(head_output.objectness, dtype=torch.bool)
        taken[cells_of] = True
        return cls(
            xy=head_output.xy[maps],
            wh=head_output.wh[maps],
            objectness=head_output.objectness[cells_of],
            logits=head_output.logits.class_logits(*cells_of),
            target_xy=boxes[:, :2] * boxes.new_tensor((w, h)) - cells,
            target_wh=(boxes[:, 2:] / head_output.anchors_wh[assignment.anchors]).log(),
            areas=boxes[:, 2:].prod(dim=1),
            ious=box_iou(head_output.boxes_cxcywh[maps], boxes),
            labels=targets.labels,
            soft=targets.soft,
            indices=assignment.indices,
            is_target=last_of_each(assignment.indices),
            taken=taken,
        )

    def coordinate_loss(self, settings: LossSettings) -> Tensor:
        squares = (self.xy - self.target_xy).square().sum(dim=1) + (self.wh - self.target_wh).square().sum(dim=1)
        return settings.coord_scale / 2 * ((2 - self.areas) * squares)[self.is_target].sum()

    def objectness_loss(self, settings: LossSettings) -> Tensor:
        targets = self.ious if settings.rescore else torch.ones_like(self.ious)
        return settings.object_scale / 2 * (self.objectness - targets).square()[self.is_target].sum()

    def class_loss(self, settings: LossSettings, tree: SiblingGroups | None) -> Tensor:
        losses, groups = group_losses(self.logits, self.labels, tree, self.soft)
        on_path = groups >= 0
        softmaxes = self.indices[:, None] * (1 if tree is None else tree.count) + groups
        return settings.class_scale * losses[on_path][last_of_each(softmaxes[on_path])].sum()

    @torch.no_grad()
    def statistics(self, head_output: _HeadOutput, tree: SiblingGroups | None, boxed: Bool[Tensor, " n"]) -> Statistics:
        of_boxed = head_output.objectness[boxed]
        return Statistics(
            objects=len(self.labels),
            iou=self.ious.sum(),
            probability=(-class_loss(self.logits, self.labels, tree)).exp().sum(),
            objectness=self.objectness.sum(),
            recall=(self.ious > 0.5).sum(),
            all_objectness=of_boxed.sum(),
            boxes=of_boxed.numel(),
        )


@dataclass(frozen=True)
class _ImageLevelLoss:
    """The terms of the loss of images with image-level labels, and the boxes that are trained on the labels."""

    boxes: ImageLevel
    objectness: Tensor
    no_objectness: Tensor
    classes: Tensor


def _image_level_loss(
    head_output: _HeadOutput,
    image_labels: Bool[Tensor, "n k"],
    settings: LossSettings,
    tree: SiblingGroups | None,
    policy: PseudoBoxPolicy,
    exhaustive: Bool[Tensor, "n k"] | None,
    soft: Float[Tensor, "n k"] | None,
) -> _ImageLevelLoss:
    """The loss of images without boxes: for each label, the box that predicts it best is trained on it (§4)."""
    objectness, boxes = head_output.objectness.flatten(1), head_output.boxes_cxcywh.permute(0, 1, 3, 4, 2).flatten(1, 3)
    best = _best_boxes(objectness, boxes, head_output.logits, image_labels, tree)
    chosen = torch.zeros_like(objectness, dtype=torch.bool)
    chosen[best.images, best.boxes] = True
    others = image_labels.any(dim=1)[:, None] & ~chosen
    logits = logits_of_boxes(head_output.logits, best.images, best.boxes, _grid(head_output))
    soft_of_best = None if soft is None else soft[best.images]
    classes = settings.class_scale * class_loss(logits, best.labels, tree, soft_of_best).sum()
    raised = lowered = objectness.new_zeros(())
    if policy in ("paper", "negatives", "darknet-2017-01"):
        own = objectness[chosen]
        raised = settings.object_scale / 2 * (own - ASSUMED_IOU).square()[own < ASSUMED_IOU].sum()
    if policy in ("darknet-2017-01", "darknet-2017-07"):
        lowered = settings.noobject_scale / 2 * objectness[others].square().sum()
    if policy == "negatives":
        counted = others & (objectness > MIN_OBJECTNESS)
        open_to = _not_ruled_out(image_labels, tree, exhaustive).repeat_interleave(counted.sum(dim=1), dim=0)
        images, counted_boxes = counted.nonzero().unbind(1)
        logits = logits_of_boxes(head_output.logits, images, counted_boxes, _grid(head_output))
        classes = classes + settings.class_scale * _rule_out_loss(objectness[counted], logits, open_to, tree)
    return _ImageLevelLoss(best, raised, lowered, classes)


@torch.no_grad()
def _best_boxes(
    objectness: Float[Tensor, "n b"],
    boxes_cxcywh: Float[Tensor, "n b 4"],
    logits: ClassLogits,
    image_labels: Bool[Tensor, "n k"],
    tree: SiblingGroups | None,
) -> ImageLevel:
    """The boxes with the highest objectness x probability of a label of their image."""
    chosen: list[tuple[Tensor, ...]] = []
    for image in image_labels.any(dim=1).nonzero().flatten().tolist():
        labels = image_labels[image].nonzero().flatten()
        probabilities = class_probabilities(logits_of_image(logits, image, objectness), tree)[:, labels]
        best = _one_for_each(objectness[image][:, None] * probabilities, boxes_cxcywh[image])
        probability = probabilities[best, torch.arange(len(labels), device=best.device)]
        images = torch.full_like(labels, image)
        chosen.append((images, labels, best, boxes_cxcywh[image, best], probability, objectness[image, best]))
    return ImageLevel(*map(torch.cat, zip(*chosen, strict=True)))


def _one_for_each(scores: Float[Tensor, "b l"], boxes_cxcywh: Float[Tensor, "b 4"]) -> Int64[Tensor, " l"]:
    """A box for each label: labels choose in the order of their best score, among boxes that none has chosen yet.

    Boxes that overlap a chosen one by more than `SAME_OBJECT` are the same object and cannot be chosen either.
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
