"""The loss by hand: every expected number is worked out beside the assertion.

Most heads here have 3 anchors, 5 classes and a grid of 2 x 3 cells, and numbers that are all 0: every box then lies in
the middle of its cell, has the size of its anchor, objectness 1/2, and gives each class 1/5.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from yolo9000.architectures.layers import Region
from yolo9000.losses.assign import Assignment, Targets, assign, best_ious, box_iou, last_of_each, size_iou
from yolo9000.losses.classification import SiblingGroups, class_loss, class_probabilities
from yolo9000.losses.region import LossParts, PseudoBoxPolicy, region_loss
from yolo9000.losses.settings import LossSettings
from yolo9000.taxonomy.wordtree import WordTree

A, K, H, W = 3, 5, 2, 3
ANCHORS = ((1.0, 1.0), (2.0, 1.0), (1.0, 2.0))  # in cells
ANCHORS_WH = torch.tensor(ANCHORS) / torch.tensor([W, H])
TX, TY, TW, TH, TO = range(5)
NEVER = 1.0  # no IoU is above it: no box is left alone
BELOW_ONE = float(np.nextafter(np.float32(1), np.float32(0)))

# Groups: [0, 1] at the top, [2, 3] under 0, [4] under 2
TREE = WordTree.from_parents([-1, -1, 0, 0, 2])
GROUPS = SiblingGroups.of(TREE)


def targets_of(*objects: tuple[int, float, float, float, float, int]) -> Targets:
    """From (image, centre x, centre y, width, height, label)."""
    return Targets(
        torch.tensor([image for image, *_ in objects], dtype=torch.int64),
        torch.tensor([box for _, *box, _ in objects]).reshape(-1, 4),
        torch.tensor([label for *_, label in objects], dtype=torch.int64),
    )


HEAD = Region(anchors_wh_cells=ANCHORS, classes=K, softmax=True)


def loss(**options: Any) -> LossSettings:
    return LossSettings(**({"object_scale": 1.0, "rescore": False, "thresh": 0.5} | options))


def zeros(images: int = 1, anchors: int = A, grid_hw: tuple[int, int] = (H, W)) -> torch.Tensor:
    return torch.zeros(images, anchors * (5 + K), *grid_hw)


def at(image: int, anchor: int, entry: int, row: int, column: int) -> tuple[int, int, int, int]:
    """Where a head's number stands; entries from 5 on are classes."""
    return image, anchor * (5 + K) + entry, row, column


def logit(p: float) -> float:
    return math.log(p / (1 - p))


def parts_of(parts: LossParts) -> list[float]:
    return [float(part) for part in (parts.coordinates, parts.objectness, parts.no_objectness, parts.classes)]


def cells_of(assignment: Assignment) -> list[tuple[int, int, int]]:
    """(anchor, row, column) of each object."""
    return list(zip(assignment.anchors.tolist(), assignment.rows.tolist(), assignment.columns.tolist(), strict=True))


class TestAssign:
    @pytest.mark.parametrize(
        ("box", "cell"),
        [
            ((0.5, 0.75, 0.6, 0.5), (1, 1, 1)),  # x 1.5 and y 1.5 cells; 1.8 x 1 cells: most like 2 x 1
            ((0.3, 0.1, 0.3, 0.9), (2, 0, 0)),  # x 0.9 and y 0.2 cells; 0.9 x 1.8 cells: most like 1 x 2
            ((1 / 3, 0.5, 0.3, 0.5), (0, 1, 1)),  # on the lines between cells: the cell behind them
            ((BELOW_ONE, BELOW_ONE, 1e-6, 1e-6), (0, 1, 2)),  # most like the smallest anchor, however small
            ((1.0, 1.0, 1e-6, 1e-6), (0, 1, 2)),  # rounded up: the last cell
            ((0.0, 0.0, 1.0, 1.0), (1, 0, 0)),  # 3 x 2 cells: 2 of 6 covered by anchors 1 and 2, the first wins
        ],
    )
    def test_cell_and_anchor(self, box: tuple[float, ...], cell: tuple[int, int, int]) -> None:
        assert cells_of(assign(targets_of((0, *box, 0)), ANCHORS_WH, (H, W))) == [cell]

    def test_predicted_sizes_of_the_same_image_and_cell_may_be_compared_instead(self) -> None:
        predicted = ANCHORS_WH[None, :, :, None, None].repeat(2, 1, 1, H, W)
        predicted[1, 2, :, 0, 1] = torch.tensor([0.6, 0.4])
        targets = targets_of((0, 0.5, 0.1, 0.6, 0.4, 0), (1, 0.5, 0.1, 0.6, 0.4, 0), (1, 0.5, 0.6, 0.6, 0.4, 0))
        assert cells_of(assign(targets, ANCHORS_WH, (H, W), predicted)) == [(1, 0, 1), (2, 0, 1), (1, 1, 1)]

    def test_indices_count_images_anchors_rows_and_columns(self) -> None:
        targets = targets_of((0, 0.5, 0.1, 0.3, 0.4, 0), (1, 0.9, 0.9, 0.3, 1.0, 0))
        # (0, 0, 0, 1) and (1, 2, 1, 2) in an array of 2 x 3 x 2 x 3
        assert assign(targets, ANCHORS_WH, (H, W)).indices.tolist() == [1, 18 + 12 + 3 + 2]

    def test_last_of_each(self) -> None:
        given = torch.tensor([7, -2, 7, 3, -2, 7])
        assert last_of_each(given).tolist() == [False, False, False, True, True, True]


class TestIou:
    def test_boxes(self) -> None:
        # 2 x 4 at (0, 0), against: itself; 2 x 4 one to the right: 4 / 12; beside it; without area
        box = torch.tensor([0.0, 0.0, 2.0, 4.0])
        others = torch.tensor([[0.0, 0, 2, 4], [1, 0, 2, 4], [2, 0, 2, 4], [0, 0, 0, 0]])
        assert box_iou(box, others).tolist() == pytest.approx([1, 1 / 3, 0, 0])

    def test_sizes(self) -> None:
        # 2 x 4 against itself; 4 x 2: 4 / 12; 1 x 1: 1 / 8; 0 x 0
        others = torch.tensor([[2.0, 4], [4, 2], [1, 1], [0, 0]])
        assert size_iou(torch.tensor([2.0, 4.0]), others).tolist() == pytest.approx([1, 1 / 3, 1 / 8, 0])

    def test_boxes_without_or_with_endless_area_are_like_none(self) -> None:
        nothing, endless = torch.zeros(4), torch.tensor([0.5, 0.5, math.inf, 1.0])
        assert box_iou(nothing, nothing) == size_iou(nothing[2:], nothing[2:]) == 0
        assert box_iou(endless, torch.tensor([0.5, 0.5, 0.2, 0.3])) == 0

    def test_best_is_among_the_objects_of_the_own_image(self) -> None:
        boxes = torch.tensor([[0.5, 0.5, 0.2, 0.4], [0.5, 0.5, 0.4, 0.4]]).expand(3, 2, 4)
        targets = targets_of((0, 0.5, 0.5, 0.2, 0.2, 0), (0, 0.5, 0.5, 0.4, 0.2, 0), (2, 0.5, 0.5, 0.2, 0.4, 0))
        # Image 0: 4/8 and 4/12; 4/16 and 8/16. Image 1 has none. Image 2: 1 and 8/16.
        assert best_ious(boxes, targets).numpy() == pytest.approx(np.array([[0.5, 0.5], [0, 0], [1, 0.5]]))


class TestParts:
    # Centre 1.75 cells right and 0.25 down: column 1, row 0. Size 1.5 x 1 cells: IoU with the anchors 1/1.5, 1.5/2 and
    # 1/2.5, so anchor 1 learns it.
    OBJECT = (0, 1.75 / W, 0.25 / H, 1.5 / W, 1 / H, 3)
    AREA = 1.5 / W * 1 / H
    # The predicted box: 2 x 1 cells in the cell's middle, (1.5, 0.5), from 0.5 to 2.5 and from 0 to 1; the object
    # reaches from 1 to 2.5 and from -0.25 to 0.75. Common 1.5 x 0.75 = 1.125 of 2 + 1.5 - 1.125.
    IOU = 1.125 / 2.375

    @pytest.mark.parametrize(("rescore", "target"), [(True, IOU), (False, 1.0)])
    def test_one_object(self, rescore: bool, target: float) -> None:
        settings = loss(
            rescore=rescore, coord_scale=3.0, object_scale=5.0, noobject_scale=0.5, class_scale=2.0, thresh=NEVER
        )
        parts = region_loss(zeros(), targets_of(self.OBJECT), HEAD, settings)
        coordinates = 3 / 2 * (2 - self.AREA) * ((0.5 - 0.75) ** 2 + (0.5 - 0.25) ** 2 + math.log(1.5 / 2) ** 2)
        expected = [
            coordinates,
            5 / 2 * (0.5 - target) ** 2,
            0.5 / 2 * (A * H * W - 1) * 0.5**2,
            2 * math.log(5),
        ]
        assert parts_of(parts) == pytest.approx(expected, rel=1e-5)
        assert float(parts.total()) == pytest.approx(sum(expected))

    def test_gradient_of_one_object(self) -> None:
        raw = zeros(2).requires_grad_()
        region_loss(raw, targets_of(self.OBJECT), HEAD, loss(object_scale=5.0, thresh=NEVER)).total().backward()
        assert raw.grad is not None
        gradient = raw.grad[0, 10:20, 0, 1]  # anchor 1 of 10 numbers each
        scale = 2 - self.AREA
        boxes = [scale * (0.5 - 0.75) / 4, scale * (0.5 - 0.25) / 4, scale * -math.log(1.5 / 2), 0]
        classes = [0.2, 0.2, 0.2, 0.2 - 1, 0.2]
        # The sigmoid's slope at 0 is 1/4
        assert gradient.tolist() == pytest.approx([*boxes, 5 * (0.5 - 1) / 4, *classes])
        raw.grad[0, 10:20, 0, 1] = 0
        # All others, those of the image without objects as well, learn objectness 0 and nothing else
        rest = raw.grad.reshape(2, A, 5 + K, H, W)
        assert rest[:, :, [TX, TY, TW, TH, *range(5, 5 + K)]].count_nonzero() == 0
        assert sorted(set(rest[:, :, TO].flatten().tolist())) == [0, 0.5 / 4]
        assert (rest[:, :, TO] == 0).sum() == 1

    def test_statistics_are_sums_over_objects(self) -> None:
        raw = zeros(2)
        raw[at(1, 0, 5 + 4, 1, 2)] = math.log(4)  # class 4 gets 4 / 8 there
        raw[at(1, 0, TO, 1, 2)] = logit(0.75)
        # In image 1 an object in the middle of cell (1, 2) with the very size of anchor 0
        targets = targets_of(self.OBJECT, (1, 2.5 / W, 1.5 / H, 1 / W, 1 / H, 4))
        seen = region_loss(raw, targets, HEAD, loss()).statistics
        assert seen.objects == 2
        assert float(seen.iou) == pytest.approx(self.IOU + 1)
        assert float(seen.probability) == pytest.approx(0.2 + 0.5)
        assert float(seen.objectness) == pytest.approx(0.5 + 0.75)
        assert int(seen.recall) == 1  # 1.125 / 2.375 is below 1/2
        assert seen.boxes == 2 * A * H * W
        assert float(seen.all_objectness) == pytest.approx(35 * 0.5 + 0.75)

    def test_without_any_object(self) -> None:
        parts = region_loss(zeros(2), targets_of(), HEAD, loss(noobject_scale=0.5, rescore=True))
        assert parts_of(parts) == [0, 0, 0.5 / 2 * 2 * A * H * W / 4, 0]
        assert parts.statistics.objects == 0
        assert parts.image_level is None

    def test_boxes_are_left_alone_above_the_threshold_not_at_it(self) -> None:
        # On 2 x 4 cells anchor 0 fits the object of 1 x 1 cells; anchor 1, of 2 x 1 cells, overlaps it by 1/2 exactly,
        # as does anchor 2. All are in the middle of cell (1, 2); the other cells' boxes overlap less.
        targets = targets_of((0, 2.5 / 4, 1.5 / 2, 1 / 4, 1 / 2, 0))
        counts = []
        for thresh in (0.4999, 0.5):
            parts = region_loss(zeros(grid_hw=(2, 4)), targets, HEAD, loss(thresh=thresh))
            counts.append(float(parts.no_objectness) / (0.5 * 0.25))
        assert counts == [A * 2 * 4 - 3, A * 2 * 4 - 1]

    def test_the_last_of_two_objects_at_one_anchor_is_learnt(self) -> None:
        first = (0, 1.2 / W, 0.9 / H, 1.9 / W, 0.8 / H, 1)
        settings = loss(rescore=True, thresh=NEVER)
        both, last = (
            region_loss(zeros(), targets_of(*some), HEAD, settings) for some in ([first, self.OBJECT], [self.OBJECT])
        )
        assert parts_of(both) == parts_of(last)
        assert both.statistics.objects == 2

    def test_warm_up(self) -> None:
        raw = zeros(2)
        raw[:, TW] = 2.0  # anchor 0 of all cells
        raw[at(1, 2, TX, 1, 0)] = logit(0.9)
        settings = loss(thresh=0.0)
        targets = targets_of(self.OBJECT)
        before, after = (
            float(region_loss(raw, targets, HEAD, settings, warm_up=on).coordinates) for on in (False, True)
        )
        # The box that learns the object is one of anchor 1, and learns that alone
        assert after - before == pytest.approx(0.01 / 2 * (2 * H * W * 2.0**2 + (0.9 - 0.5) ** 2), rel=1e-5)

    def test_warm_up_spares_the_box_that_learns_an_object(self) -> None:
        raw = zeros()
        raw[at(0, 1, TW, 0, 1)] = 2.0
        before, after = (
            region_loss(raw, targets_of(self.OBJECT), HEAD, loss(), warm_up=on).coordinates for on in (False, True)
        )
        assert before == after

    def test_half_precision_is_computed_in_single(self) -> None:
        raw = torch.randn(zeros(2).shape, generator=torch.Generator().manual_seed(4)).bfloat16()
        targets, settings = targets_of(self.OBJECT), loss(rescore=True)
        parts = region_loss(raw, targets, HEAD, settings)
        assert parts.total().dtype == torch.float32
        assert parts_of(parts) == parts_of(region_loss(raw.float(), targets, HEAD, settings))


class TestImageLevel:
    """Images of which only the class is known: 1 and 2 of the batch; 0 has a box."""

    LABELS = torch.tensor([[0, 0, 0, 0, 0], [0, 0, 0, 1, 0], [0, 1, 0, 0, 0]], dtype=torch.bool)
    OBJECTNESS = 0.2  # of the box that answers best in image 1

    def raw(self) -> torch.Tensor:
        raw = zeros(3)
        # Image 1: all objectness 0.1, classes even but for two boxes. The first gives class 3 5/9 and has objectness
        # 0.1, the second 1/3 and 0.2: 0.0556 < 0.0667, against 0.02 elsewhere.
        raw[1, TO :: 5 + K] = logit(0.1)
        raw[at(1, 0, 5 + 3, 0, 1)] = math.log(5)
        raw[at(1, 2, 5 + 3, 1, 2)] = math.log(2)
        raw[at(1, 2, TO, 1, 2)] = logit(self.OBJECTNESS)
        return raw

    def loss(self, policy: PseudoBoxPolicy, raw: torch.Tensor | None = None) -> LossParts:
        settings = loss(object_scale=5.0, noobject_scale=0.5, class_scale=2.0, thresh=NEVER)
        raw = self.raw() if raw is None else raw
        return region_loss(
            raw, targets_of(TestParts.OBJECT), HEAD, settings, image_labels=self.LABELS, policy=policy, warm_up=True
        )

    def test_which_box_learns(self) -> None:
        image_level = self.loss("paper").image_level
        assert image_level is not None
        assert image_level.images.tolist() == [1, 2]
        assert image_level.labels.tolist() == [3, 1]
        assert image_level.boxes.tolist() == [2 * H * W + 1 * W + 2, 0]  # in image 2 all are equal, and the first wins
        assert image_level.probability.tolist() == pytest.approx([2 / 6, 1 / 5])
        assert image_level.objectness.tolist() == pytest.approx([self.OBJECTNESS, 0.5])

    @pytest.mark.parametrize("policy", ["paper", "negatives", "darknet-2017-01", "darknet-2017-07", "class-only"])
    def test_parts(self, policy: PseudoBoxPolicy) -> None:
        alone = region_loss(
            zeros(),
            targets_of(TestParts.OBJECT),
            HEAD,
            loss(object_scale=5.0, noobject_scale=0.5, class_scale=2.0, thresh=NEVER),
        )
        added = np.subtract(parts_of(self.loss(policy)), parts_of(alone))
        up = 5 / 2 * (self.OBJECTNESS - 0.3) ** 2  # the box of image 2 is above .3
        down = 0.5 / 2 * 17 * (0.1**2 + 0.5**2)
        expected = {
            "paper": (up, 0),
            "negatives": (up, 0),
            "darknet-2017-01": (up, down),
            "darknet-2017-07": (0, down),
            "class-only": (0, 0),
        }[policy]
        classes = math.log(6 / 2) + math.log(5)
        if policy == "negatives":
            # The first box of image 1 gives its label 5/9; its 16 others and the 17 of image 2 give theirs 1/5
            classes += 0.1 * (math.log(9 / 5) + 16 * math.log(5)) + 0.5 * 17 * math.log(5)
        assert added == pytest.approx([0, *expected, 2 * classes], abs=1e-5)

    def test_images_without_boxes_do_not_count_as_empty(self) -> None:
        seen = self.loss("paper").statistics
        assert seen.objects == 1
        assert seen.boxes == A * H * W

    @pytest.mark.parametrize("policy", ["paper", "class-only"])
    def test_other_boxes_learn_nothing(self, policy: PseudoBoxPolicy) -> None:
        raw = self.raw().requires_grad_()
        self.loss(policy, raw).total().backward()
        assert raw.grad is not None
        gradient = raw.grad.reshape(3, A, 5 + K, H, W)[1].movedim(1, -1)
        own = gradient[2, 1, 2].clone()
        assert own[:4].tolist() == [0, 0, 0, 0]
        assert float(own[TO]) == pytest.approx(5 * (0.2 - 0.3) * 0.2 * 0.8 if policy == "paper" else 0)
        assert own[5:].tolist() == pytest.approx([2 / 6, 2 / 6, 2 / 6, 2 * (2 / 6 - 1), 2 / 6])
        gradient[2, 1, 2] = 0
        assert gradient.count_nonzero() == 0

    def test_class_along_the_path_of_a_tree(self) -> None:
        labels = torch.arange(K)[None] == 4
        parts = region_loss(zeros(), targets_of(), HEAD, loss(), tree=GROUPS, image_labels=labels, policy="class-only")
        # Node 4 is the one child of 2, one of two under 0, one of two at the top
        assert parts_of(parts) == pytest.approx([0, 0, 0, math.log(2 * 2)])
        assert parts.image_level is not None
        assert parts.image_level.probability.tolist() == pytest.approx([1 / 4])


class TestSeveralImageLabels:
    """One image that shows classes 1 and 3."""

    LABELS = torch.isin(torch.arange(K), torch.tensor([1, 3]))[None]

    def loss(self, raw: torch.Tensor, **options: Any) -> LossParts:
        return region_loss(raw, targets_of(), HEAD, loss(thresh=NEVER), image_labels=self.LABELS, **options)

    def chosen(self, raw: torch.Tensor) -> dict[int, int]:
        image_level = self.loss(raw).image_level
        assert image_level is not None
        assert image_level.images.tolist() == [0, 0]
        return dict(zip(image_level.labels.tolist(), image_level.boxes.tolist(), strict=True))

    def test_each_teaches_its_own_best_box(self) -> None:
        raw = zeros()
        raw[at(0, 0, 5 + 3, 1, 1)] = 2
        raw[at(0, 2, 5 + 1, 0, 2)] = 1
        assert self.chosen(raw) == {3: 0 * H * W + 1 * W + 1, 1: 2 * H * W + 0 * W + 2}

    def test_a_box_learns_the_label_that_it_answers_best_for(self) -> None:
        raw = zeros()
        raw[at(0, 0, 5 + 3, 1, 1)] = 2  # the best box of both, and better for class 3
        raw[at(0, 0, 5 + 1, 1, 1)] = 1.5
        raw[at(0, 0, 5 + 1, 0, 2)] = 0.1
        assert self.chosen(raw) == {3: 0 * H * W + 1 * W + 1, 1: 0 * H * W + 0 * W + 2}

    def test_a_box_on_the_same_object_is_not_another(self) -> None:
        raw = zeros()
        raw[at(0, 0, 5 + 3, 1, 1)] = 3
        raw[at(0, 1, 5 + 1, 1, 1)] = 2
        raw[at(0, 1, TW, 1, 1)] = 0.1  # 2 e^0.1 x 1 cells: IoU 0.45 with the 1 x 1 in their middle
        assert self.chosen(raw) == {3: 0 * H * W + 1 * W + 1, 1: 1 * H * W + 1 * W + 1}
        raw[at(0, 1, TW, 1, 1)] = -0.1  # 0.55
        assert self.chosen(raw) == {3: 0 * H * W + 1 * W + 1, 1: 0}

    def test_more_labels_than_boxes(self) -> None:
        head = replace(HEAD, anchors_wh_cells=((1.0, 1.0),))
        labels = torch.ones((1, K), dtype=torch.bool)
        image_level = region_loss(zeros(1, 1, (1, 2)), targets_of(), head, loss(), image_labels=labels).image_level
        assert image_level is not None
        assert sorted(image_level.boxes.tolist()) == [0, 0, 0, 1, 1]

    @pytest.mark.parametrize(
        ("tree", "exhaustive", "left"),
        [
            (None, [0, 1, 2, 3, 4], 2 / 5),
            (None, [1, 2, 3, 4], 3 / 5),  # 0 may be there, unlabelled
            (None, [1, 3], 1),
            (GROUPS, [0, 1, 2, 3, 4], 3 / 4),  # the leaves are 1, 3 and 4; 4 is 1/4
            (GROUPS, [0, 1, 2, 3], 1),
        ],
    )
    def test_what_the_labels_rule_out(self, tree: SiblingGroups | None, exhaustive: list[int], left: float) -> None:
        known = torch.isin(torch.arange(K), torch.tensor(exhaustive))[None]
        paper, ruled = (
            self.loss(zeros(), policy=policy, exhaustive=known, tree=tree) for policy in ("paper", "negatives")
        )
        others = A * H * W - 2
        assert parts_of(ruled)[3] - parts_of(paper)[3] == pytest.approx(-0.5 * others * math.log(left), abs=1e-5)

    def test_a_label_above_rules_out_nothing_below(self) -> None:
        above = torch.arange(K)[None] == 0
        parts = region_loss(zeros(), targets_of(), HEAD, loss(), tree=GROUPS, image_labels=above, policy="negatives")
        # The chosen box learns 0 of 0 and 1; leaves 3 and 4 are below 0, leaf 1 is ruled out
        assert parts_of(parts)[3] == pytest.approx(math.log(2) + 0.5 * (A * H * W - 1) * math.log(2), abs=1e-5)

    def test_ruling_out_classes_trains_no_objectness(self) -> None:
        raw = zeros().requires_grad_()
        self.loss(raw, policy="negatives").total().backward()
        assert raw.grad is not None
        chosen = list(self.chosen(zeros()).values())
        to = raw.grad.reshape(A, 5 + K, H * W)[:, TO].flatten()
        others = torch.ones(len(to), dtype=torch.bool)
        others[chosen] = False
        assert not bool(to[others].any())
        assert bool(raw.grad.reshape(A, 5 + K, H * W)[:, 5:].any())

    def test_boxes_that_are_taken_for_nothing_have_no_part(self) -> None:
        raw = zeros()
        raw[:, TO :: 5 + K] = logit(0.04)
        assert parts_of(self.loss(raw, policy="negatives")) == parts_of(self.loss(raw, policy="paper"))

    def test_what_is_ruled_out_for_certain_still_has_a_loss(self) -> None:
        raw = zeros().requires_grad_()
        with torch.no_grad():
            raw[:, 5 :: 5 + K] = 200  # class 0: the others have a probability of 0 in float32
        total = self.loss(raw, policy="negatives").total()
        total.backward()
        assert math.isfinite(float(total.detach()))
        assert raw.grad is not None
        assert bool(raw.grad.isfinite().all())


class TestExhaustive:
    """Zeros give each of the 5 classes 1/5, and each node of the tree 1/2, 1/2, 1/4, 1/4, 1/4."""

    @pytest.mark.parametrize(
        ("marked", "tree", "fraction"),
        [
            ([1, 3], None, 2 / 5),
            ([], None, 0),
            ([0, 1, 2, 3, 4], None, 1),
            ([1], GROUPS, 1 / 2),
            ([0, 2, 3, 4], GROUPS, 1 / 2),  # all at and below node 0: leaves 3 and 4
            ([2, 4], GROUPS, 1 / 4),
            ([0, 1, 2, 3, 4], GROUPS, 1),
        ],
    )
    def test_push_is_by_the_fraction_of_classes_labelled(
        self, marked: Sequence[int], tree: SiblingGroups | None, fraction: float
    ) -> None:
        exhaustive = torch.ones(2, K, dtype=torch.bool)
        exhaustive[1] = torch.isin(torch.arange(K), torch.tensor(marked))
        targets = targets_of((1, *TestParts.OBJECT[1:]))
        whole, part = (
            region_loss(zeros(2), targets, HEAD, loss(thresh=NEVER), tree=tree, exhaustive=given)
            for given in (None, exhaustive)
        )
        pushes = [1 / 2 / 4 * (18 + fraction * 17)]
        assert parts_of(part)[2:3] == pytest.approx(pushes)
        assert parts_of(part)[:2] + parts_of(part)[3:] == parts_of(whole)[:2] + parts_of(whole)[3:]

    def test_fraction_is_that_of_each_box(self) -> None:
        raw = zeros()
        raw[at(0, 2, 5 + 1, 1, 0)] = math.log(6)  # class 1 gets 6 / 10 there
        exhaustive = torch.tensor([[False, True, False, False, False]])
        parts = region_loss(raw, targets_of(), HEAD, loss(), exhaustive=exhaustive)
        assert float(parts.no_objectness) == pytest.approx(1 / 2 / 4 * (17 * 0.2 + 0.6))

    def test_fraction_teaches_classes_nothing(self) -> None:
        raw = zeros().requires_grad_()
        exhaustive = torch.tensor([[False, True, True, False, False]])
        region_loss(raw, targets_of(), HEAD, loss(), exhaustive=exhaustive).total().backward()
        assert raw.grad is not None
        gradient = raw.grad.reshape(A, 5 + K, H, W)
        assert gradient[:, 5:].count_nonzero() == 0
        assert gradient[:, TO].flatten().tolist() == pytest.approx([0.4 * 0.5 / 4] * (A * H * W))


class TestClassLoss:
    def test_flat(self) -> None:
        # exp of the scores: 1, 2, 1 and 3, 1, 4
        logits = torch.tensor([[1.0, 2, 1], [3, 1, 4]]).log()
        assert class_loss(logits, torch.tensor([1, 0])).tolist() == pytest.approx([-math.log(2 / 4), -math.log(3 / 8)])

    @pytest.mark.parametrize(
        ("label", "probability"),
        [(0, 3 / 4), (1, 1 / 4), (2, 3 / 4 * 2 / 7), (3, 3 / 4 * 5 / 7), (4, 3 / 4 * 2 / 7)],
    )
    def test_tree(self, label: int, probability: float) -> None:
        logits = torch.tensor([[3.0, 1, 2, 5, 9]]).log()
        assert float(class_loss(logits, torch.tensor([label]), GROUPS)) == pytest.approx(-math.log(probability))
        assert float(class_probabilities(logits, GROUPS)[0, label]) == pytest.approx(probability)

    @pytest.mark.parametrize(
        ("label", "gradient"),
        [
            (0, [3 / 4 - 1, 1 / 4, 0, 0, 0]),  # nothing below the label
            (1, [3 / 4, 1 / 4 - 1, 0, 0, 0]),  # nothing off its path
            (3, [3 / 4 - 1, 1 / 4, 2 / 7, 5 / 7 - 1, 0]),
            (4, [3 / 4 - 1, 1 / 4, 2 / 7 - 1, 5 / 7, 0]),  # an only child is always certain
        ],
    )
    def test_gradient_on_a_tree(self, label: int, gradient: list[float]) -> None:
        logits = torch.tensor([[3.0, 1, 2, 5, 9]]).log().requires_grad_()
        class_loss(logits, torch.tensor([label]), GROUPS).sum().backward()
        assert logits.grad is not None
        assert logits.grad[0].tolist() == pytest.approx(gradient, abs=1e-7)

    def test_soft_label(self) -> None:
        # P of the classes: 1/4, 2/4, 1/4
        logits = torch.tensor([[1.0, 2, 1]]).log()
        soft = torch.tensor([[0.25, 0.75, 0]])
        expected = -(0.25 * math.log(1 / 4) + 0.75 * math.log(2 / 4))
        assert float(class_loss(logits, torch.tensor([2]), soft=soft)) == pytest.approx(expected)

    def test_soft_label_on_a_tree(self) -> None:
        # .5 at node 0, .2 at its child 3, .3 at node 1: the root group has .7 and .3, the group of 2 and 3 only .2
        logits = torch.tensor([[3.0, 1, 2, 5, 9]]).log().requires_grad_()
        soft = torch.tensor([[0.5, 0.3, 0, 0.2, 0]])
        loss = class_loss(logits, torch.tensor([4]), GROUPS, soft)
        expected = -(0.7 * math.log(3 / 4) + 0.3 * math.log(1 / 4) + 0.2 * math.log(5 / 7))
        assert loss.item() == pytest.approx(expected)
        loss.sum().backward()
        assert logits.grad is not None
        # In each softmax P times the probability that it has in all, less what stands at each node
        gradient = [3 / 4 - 0.7, 1 / 4 - 0.3, 0.2 * 2 / 7, 0.2 * (5 / 7 - 1), 0]
        assert logits.grad[0].tolist() == pytest.approx(gradient, abs=1e-7)

    @pytest.mark.parametrize("tree", [None, GROUPS])
    def test_rows_without_a_soft_label_keep_their_label(self, tree: SiblingGroups | None) -> None:
        logits = torch.tensor([[3.0, 1, 2, 5, 9], [1, 4, 2, 3, 1]]).log()
        labels = torch.tensor([3, 1])
        soft = torch.tensor([[0.0, 0, 0, 0, 0], [0.5, 0.5, 0, 0, 0]])
        losses = class_loss(logits, labels, tree, soft)
        assert float(losses[0]) == pytest.approx(float(class_loss(logits, labels, tree)[0]))
        assert float(losses[1]) != pytest.approx(float(class_loss(logits, labels, tree)[1]))

    @pytest.mark.parametrize("tree", [None, GROUPS])
    def test_large_scores(self, tree: SiblingGroups | None) -> None:
        logits = torch.tensor([[2000.0, -2000, 2000, -2000, 2000]])
        assert float(class_loss(logits, torch.tensor([1]), tree)) == pytest.approx(4000, rel=1e-3)
        assert class_probabilities(logits, tree).isfinite().all()

    def test_no_rows(self) -> None:
        assert class_loss(torch.zeros(0, K), torch.zeros(0, dtype=torch.int64), GROUPS).shape == (0,)


class TestObjectsOnATree:
    """One anchor, so that places are cells; zeros, so that a group of n costs ln n."""

    # Groups: [0, 1] at the top, [2] under 1, [3, 4] under 0
    GROUPS = SiblingGroups.of(WordTree.from_parents([-1, -1, 1, 0, 0]))

    def classes(self, *objects: tuple[float, int]) -> float:
        targets = targets_of(*((0, x / W, 0.5 / H, 0.3, 0.4, label) for x, label in objects))
        head = replace(HEAD, anchors_wh_cells=((1.0, 1.0),))
        return float(region_loss(zeros(anchors=1), targets, head, loss(), tree=self.GROUPS).classes)

    def test_neighbours_learn_each_their_path(self) -> None:
        # 3 and 4: a group of 2 roots and another; 1: the roots. Groups are distinguished by the indices of
        # boxes, which are neighbours here: the last group of one and the first of the next must not be taken for one.
        assert self.classes((0.5, 4), (1.5, 1)) == pytest.approx(math.log(4) + math.log(2))
        assert self.classes((0.5, 1), (1.5, 3)) == pytest.approx(math.log(2) + math.log(4))
        assert self.classes((1.5, 3), (2.5, 1), (0.5, 1)) == pytest.approx(math.log(4) + 2 * math.log(2))

    def test_groups_that_only_an_earlier_object_teaches_stay_taught(self) -> None:
        # At one place. 4 teaches the top and the group under 0; then 1 teaches the top, or 3 both.
        assert self.classes((0.5, 4), (0.5, 1)) == pytest.approx(math.log(4))
        assert self.classes((0.5, 4), (0.5, 3)) == pytest.approx(math.log(4))
        assert self.classes((0.5, 1), (0.5, 1)) == pytest.approx(math.log(2))
