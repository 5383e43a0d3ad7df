"""Laws of the loss, and its gradient against Darknet's way: box after box, later writes over earlier ones."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from support.heads import grids, parents_of_trees, tree_of

from yolo9000.architectures.layers import Region
from yolo9000.boxes import cxcywh_to_xyxy, iou
from yolo9000.losses.assign import Targets
from yolo9000.losses.classification import SiblingGroups, class_loss, class_probabilities
from yolo9000.losses.region import LossParts, PseudoBoxPolicy, region_loss
from yolo9000.losses.settings import LossSettings
from yolo9000.taxonomy.wordtree import WordTree

NEVER = 1.0  # no IoU is above it: no box is left alone


@dataclass(frozen=True)
class Case:
    """A head's numbers in float64, the objects of each image, and all that the loss asks for."""

    raw: np.ndarray
    objects: list[np.ndarray]  # per image rows of centre x, y, width, height, label
    image_labels: np.ndarray
    exhaustive: np.ndarray | None
    head: Region
    settings: LossSettings
    tree: WordTree | None
    warm_up: bool
    policy: PseudoBoxPolicy

    def loss(
        self,
        raw: torch.Tensor | None = None,
        soft: torch.Tensor | None = None,
        image_soft: torch.Tensor | None = None,
    ) -> LossParts:
        raw = torch.tensor(self.raw) if raw is None else raw
        return region_loss(
            raw,
            replace(targets_of(self.objects), soft=soft),
            self.head,
            self.settings,
            tree=None if self.tree is None else SiblingGroups.of(self.tree),
            warm_up=self.warm_up,
            exhaustive=None if self.exhaustive is None else torch.tensor(self.exhaustive),
            image_labels=torch.tensor(self.image_labels),
            policy=self.policy,
            image_soft=image_soft,
        )

    def gradient(self) -> np.ndarray:
        raw = torch.tensor(self.raw, requires_grad=True)
        self.loss(raw).total().backward()
        assert raw.grad is not None
        return raw.grad.numpy()

    def only(self, image: int) -> Case:
        one = slice(image, image + 1)
        exhaustive = None if self.exhaustive is None else self.exhaustive[one]
        return replace(
            self,
            raw=self.raw[one],
            objects=self.objects[one],
            image_labels=self.image_labels[one],
            exhaustive=exhaustive,
        )


def targets_of(objects: list[np.ndarray]) -> Targets:
    rows = torch.tensor(np.concatenate(objects))
    images = np.repeat(np.arange(len(objects)), [len(rows) for rows in objects])
    return Targets(torch.tensor(images), rows[:, :4], rows[:, 4].long())


@dataclass(frozen=True)
class Recipe:
    """What a random case is made from; see `heads`."""

    seed: int
    images: int
    grid_hw: tuple[int, int]
    anchors: int
    parents: list[int]
    is_tree: bool
    max_objects: int
    some_image_level: bool
    some_exhaustive: bool
    warm_up: bool
    policy: PseudoBoxPolicy
    rescore: bool
    bias_match: bool
    thresh: float

    def make(self) -> Case:
        rng = np.random.default_rng(self.seed)
        n, (h, w), a, k = self.images, self.grid_hw, self.anchors, len(self.parents)
        image_level = rng.random(n) < 0.5 if self.some_image_level else np.zeros(n, dtype=bool)
        return Case(
            raw=rng.normal(0, 1, (n, a * (5 + k), h, w)),
            objects=[
                some_objects(rng, 0 if pseudo else rng.integers(self.max_objects + 1), k) for pseudo in image_level
            ],
            image_labels=image_level[:, None] & some_labels(rng, n, k),
            exhaustive=rng.random((n, k)) < 0.5 if self.some_exhaustive else None,
            head=Region(
                anchors_wh_cells=tuple((float(x), float(y)) for x, y in rng.uniform(0.3, 3, (a, 2))),
                classes=k,
                softmax=True,
            ),
            settings=LossSettings(
                rescore=self.rescore,
                object_scale=5.0,
                noobject_scale=0.75,
                class_scale=1.5,
                coord_scale=2.0,
                thresh=self.thresh,
                bias_match=self.bias_match,
            ),
            tree=tree_of(self.parents) if self.is_tree else None,
            warm_up=self.warm_up,
            policy=self.policy,
        )


def some_labels(rng: np.random.Generator, images: int, classes: int) -> np.ndarray:
    """One to three classes of each image, as (images, classes)."""
    known = np.zeros((images, classes), dtype=bool)
    for row in known:
        row[rng.integers(classes, size=rng.integers(1, 4))] = True
    return known


def some_objects(rng: np.random.Generator, count: int, classes: int) -> np.ndarray:
    """Boxes from a thousandth of the image to more than all of it, some with their centre on its edge."""
    centres = rng.random((count, 2))
    centres[rng.random((count, 2)) < 0.1] = 1
    centres[rng.random((count, 2)) < 0.1] = 0
    sizes = np.exp(rng.uniform(np.log(0.001), np.log(1.5), (count, 2)))
    return np.column_stack([centres, sizes, rng.integers(classes, size=count)])


def cases(**fixed: Any) -> st.SearchStrategy[Recipe]:
    choices: dict[str, st.SearchStrategy] = {
        "seed": st.integers(0, 2**32 - 1),
        "images": st.integers(1, 3),
        "grid_hw": grids(),
        "anchors": st.integers(1, 4),
        "parents": parents_of_trees(st.integers(1, 12)),
        "is_tree": st.booleans(),
        "max_objects": st.sampled_from([0, 1, 4, 30]),  # 30 on so few cells share anchors
        "some_image_level": st.booleans(),
        "some_exhaustive": st.just(False),
        "warm_up": st.booleans(),
        "policy": st.sampled_from(["paper", "negatives", "darknet-2017-01", "darknet-2017-07", "class-only"]),
        "rescore": st.booleans(),
        "bias_match": st.booleans(),
        "thresh": st.sampled_from([0.2, 0.6, NEVER]),
    }
    return st.builds(Recipe, **(choices | {key: st.just(value) for key, value in fixed.items()}))


@settings(max_examples=60)
@given(cases())
def test_gradient_is_what_darknet_writes_down(recipe: Recipe) -> None:
    case = recipe.make()
    expected = np.stack([Written(case.only(image)).deltas() for image in range(recipe.images)])
    np.testing.assert_allclose(-case.gradient().reshape(expected.shape), expected, atol=1e-10)


class Written:
    """Minus the gradient of one image's loss, as src/region_layer.c forward_region_layer makes it."""

    def __init__(self, case: Case) -> None:
        self.case, self.head = case, case.head
        self.anchors = np.array(case.head.anchors_wh_cells)
        self.h, self.w = case.raw.shape[2:]
        self.raw = case.raw.reshape(len(self.anchors), 5 + case.head.classes, self.h, self.w)
        self.active = self.raw.copy()
        self.active[:, [0, 1, 4]] = 1 / (1 + np.exp(-self.raw[:, [0, 1, 4]]))
        self.delta = np.zeros_like(self.raw)

    def deltas(self) -> np.ndarray:
        """(A, 5 + K, H, W)."""
        labels = np.flatnonzero(self.case.image_labels[0]).tolist()
        if labels:
            self.write_image_level(labels)
        else:
            for cell_anchor in self.cell_anchors():
                self.write_free(cell_anchor)
            for row in self.case.objects[0]:
                self.write_object(row[:4], int(row[4]))
        self.delta[:, [0, 1, 4]] *= self.active[:, [0, 1, 4]] * (1 - self.active[:, [0, 1, 4]])
        return self.delta

    def cell_anchors(self) -> list[tuple[int, ...]]:
        return list(np.ndindex(len(self.anchors), self.h, self.w))

    def at(self, cell_anchor: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
        """All values of a box, and where their deltas are written."""
        a, j, i = cell_anchor
        return self.active[a, :, j, i], self.delta[a, :, j, i]

    def box(self, cell_anchor: tuple[int, ...]) -> np.ndarray:
        a, j, i = cell_anchor
        x, y, tw, th = self.at(cell_anchor)[0][:4]
        anchor_w, anchor_h = self.anchors[a]
        cells = np.array([i + x, j + y, np.exp(tw) * anchor_w, np.exp(th) * anchor_h])
        return cells / (self.w, self.h, self.w, self.h)

    def write_free(self, cell_anchor: tuple[int, ...]) -> None:
        own, delta = self.at(cell_anchor)
        best = max([0, *(overlap(self.box(cell_anchor), row[:4]) for row in self.case.objects[0])])
        delta[4] = 0 if best > self.case.settings.thresh else -self.case.settings.noobject_scale * own[4]
        if self.case.warm_up:
            delta[:4] = 0.01 * (np.array([0.5, 0.5, 0, 0]) - own[:4])

    def write_object(self, box: np.ndarray, label: int) -> None:
        x, y, w, h = box
        i, j = min(int(x * self.w), self.w - 1), min(int(y * self.h), self.h - 1)
        best, a = -1.0, 0
        for n, anchor in enumerate(self.anchors):
            size = anchor / (self.w, self.h) if self.case.settings.bias_match else self.box((n, j, i))[2:]
            alike = overlap(np.array([0, 0, *size]), np.array([0, 0, w, h]))
            if alike > best:
                best, a = alike, n
        own, delta = self.at((a, j, i))
        logs = np.log(np.array([w * self.w, h * self.h]) / self.anchors[a])
        target = np.array([x * self.w - i, y * self.h - j, *logs])
        delta[:4] = self.case.settings.coord_scale * (2 - w * h) * (target - own[:4])
        delta[4] = self.case.settings.object_scale * (
            (overlap(self.box((a, j, i)), box) if self.case.settings.rescore else 1) - own[4]
        )
        self.write_class((a, j, i), label)

    def write_class(self, cell_anchor: tuple[int, ...], label: int) -> None:
        own, delta = self.at(cell_anchor)
        for group, node in groups_on_path(self.case, label):
            fractions = np.exp(own[5 + group]) / np.exp(own[5 + group]).sum()
            delta[5 + group] = self.case.settings.class_scale * ((group == node) - fractions)

    def write_image_level(self, labels: list[int]) -> None:
        chosen = self.chosen_cell_anchors(labels)
        for cell_anchor in self.cell_anchors():
            own, delta = self.at(cell_anchor)
            if self.case.policy in ("darknet-2017-01", "darknet-2017-07"):
                delta[4] = -self.case.settings.noobject_scale * own[4]
            if self.case.policy == "negatives" and cell_anchor not in chosen.values() and own[4] > 0.05:
                delta[5:] = own[4] * self.case.settings.class_scale * self.pull(own[5:], labels)
        for label, cell_anchor in chosen.items():
            own, delta = self.at(cell_anchor)
            before = delta[5:].copy()
            delta[5:] = 0
            self.write_class(cell_anchor, label)
            delta[5:] += before  # of another label, where there are more labels than boxes
            delta[4] = 0
            if self.case.policy in ("paper", "negatives", "darknet-2017-01") and own[4] < 0.3:
                delta[4] = self.case.settings.object_scale * (0.3 - own[4])

    def chosen_cell_anchors(self, labels: list[int]) -> dict[int, tuple[int, ...]]:
        """Labels choose in the order of their best answers, of the boxes that are another object than those chosen."""
        answers = {
            (cell_anchor, label): self.at(cell_anchor)[0][4]
            * path_probability(self.case, self.at(cell_anchor)[0][5:], label)
            for cell_anchor in self.cell_anchors()
            for label in labels
        }
        chosen: dict[int, tuple[int, ...]] = {}
        while len(chosen) < len(labels):
            open_to = [(cell_anchor, label) for cell_anchor, label in answers if label not in chosen]
            # Where no box is left that is another object, those count that fewest labels have taken
            best = max(open_to, key=lambda pair: (-self.takers(pair[0], chosen.values()), answers[pair]))
            chosen[best[1]] = best[0]
        return chosen

    def takers(self, cell_anchor: tuple[int, ...], chosen: Iterable[tuple[int, ...]]) -> int:
        return sum(overlap(self.box(cell_anchor), self.box(other)) > 0.5 for other in chosen)

    def pull(self, scores: np.ndarray, labels: list[int]) -> np.ndarray:
        """The slope of log P(classes that the labels leave open): of each the class's own, by its fraction."""
        tree, known = self.case.tree, np.ones(len(scores), bool)
        if self.case.exhaustive is not None:
            known = self.case.exhaustive[0]
        leaves = range(len(scores)) if tree is None else np.flatnonzero(tree.leaves).tolist()
        paths = {leaf: {leaf} if tree is None else set(tree.path(leaf)) for leaf in leaves}
        open_to = [leaf for leaf in leaves if paths[leaf] & set(labels) or not known[leaf]]
        fractions = np.array([path_probability(self.case, scores, leaf) for leaf in open_to])
        slope = np.zeros(len(scores))
        for leaf, fraction in zip(open_to, fractions / fractions.sum(), strict=True):
            for group, node in groups_on_path(self.case, leaf):
                slope[group] += fraction * ((group == node) - np.exp(scores[group]) / np.exp(scores[group]).sum())
        return slope


def overlap(a_cxcywh: np.ndarray, b_cxcywh: np.ndarray) -> float:
    a, b = cxcywh_to_xyxy(np.stack([a_cxcywh, b_cxcywh]))
    return float(iou(a, b))


def groups_on_path(case: Case, label: int) -> list[tuple[np.ndarray, int]]:
    """The classes of each softmax that a label teaches, and the one that is right."""
    if case.tree is None:
        return [(np.arange(case.head.classes), label)]
    return [(np.flatnonzero(case.tree.groups == case.tree.groups[node]), node) for node in case.tree.path(label)]


def path_probability(case: Case, scores: np.ndarray, label: int) -> float:
    fractions = [np.exp(scores[node]) / np.exp(scores[group]).sum() for group, node in groups_on_path(case, label)]
    return float(np.prod(fractions))


@settings(max_examples=15)
@given(cases(rescore=False, bias_match=True, thresh=NEVER, grid_hw=(2, 1), max_objects=4))
def test_gradient_is_the_slope(recipe: Recipe) -> None:
    # Nothing that is constant to the gradient moves here: no IoU is a target or a choice, no objectness a weight
    assume(recipe.policy != "negatives")
    case = recipe.make()
    assert torch.autograd.gradcheck(
        lambda raw: case.loss(raw).total(),
        torch.tensor(case.raw, requires_grad=True),
        atol=1e-6,
        rtol=1e-5,
        fast_mode=True,
    )


@settings(max_examples=15)
@given(cases(some_exhaustive=True, grid_hw=(2, 3)))
def test_gradient_of_objectness_is_the_slope(recipe: Recipe) -> None:
    # No target and no fraction of classes depends on objectness, but the weight of what a label rules out does
    assume(recipe.policy != "negatives")
    case = recipe.make()
    objectness = np.zeros(case.raw.shape, dtype=bool)
    objectness[:, 4 :: 5 + case.head.classes] = True

    def total(changed: torch.Tensor) -> torch.Tensor:
        return case.loss(torch.tensor(case.raw).masked_scatter(torch.tensor(objectness), changed)).total()

    values = torch.tensor(case.raw[objectness], requires_grad=True)
    assert torch.autograd.gradcheck(total, values, atol=1e-6, rtol=1e-5, fast_mode=True)


@settings(max_examples=30)
@given(cases(some_exhaustive=True))
def test_batch_is_the_sum_of_its_images(recipe: Recipe) -> None:
    case = recipe.make()
    singles = [case.only(image) for image in range(recipe.images)]
    np.testing.assert_allclose(
        parts(case.loss()), np.sum([parts(single.loss()) for single in singles], axis=0), atol=1e-9
    )
    np.testing.assert_allclose(case.gradient(), np.concatenate([single.gradient() for single in singles]), atol=1e-12)


@settings(max_examples=30)
@given(cases(max_objects=4, grid_hw=(4, 5), some_exhaustive=True))
def test_order_of_objects_at_different_anchors_does_not_matter(recipe: Recipe) -> None:
    case = recipe.make()
    apart = replace(case, objects=[one_of_each_cell(rows, recipe.grid_hw) for rows in case.objects])
    turned = replace(apart, objects=[rows[::-1].copy() for rows in apart.objects])
    np.testing.assert_allclose(apart.gradient(), turned.gradient(), atol=1e-12)


def one_of_each_cell(rows: np.ndarray, grid_hw: tuple[int, int]) -> np.ndarray:
    h, w = grid_hw
    cells = np.minimum(np.floor(rows[:, :2] * (w, h)), (w - 1, h - 1)) @ (1, w)  # a centre may be rounded to 1
    return rows[np.unique(cells, return_index=True)[1]]


@settings(max_examples=20)
@given(cases(some_exhaustive=True))
def test_exhaustive_of_all_is_as_if_nothing_were_said_and_of_none_ends_the_push(recipe: Recipe) -> None:
    case = recipe.make()
    assert case.exhaustive is not None
    unsaid = replace(case, exhaustive=None)
    everything = replace(case, exhaustive=np.ones_like(case.exhaustive))
    nothing = replace(case, exhaustive=np.zeros_like(case.exhaustive), policy="class-only")
    np.testing.assert_array_equal(everything.gradient(), unsaid.gradient())
    assert parts(everything.loss()) == parts(unsaid.loss())
    assert parts(nothing.loss())[2] == 0
    assert 0 <= parts(case.loss())[2] <= parts(unsaid.loss())[2] + 1e-9
    assert parts(case.loss())[:2] == parts(unsaid.loss())[:2]
    if recipe.policy == "negatives":  # fewer classes are ruled out
        assert parts(case.loss())[3] <= parts(unsaid.loss())[3] + 1e-9
    else:
        assert parts(case.loss())[3] == parts(unsaid.loss())[3]


@settings(max_examples=30)
@given(parents_of_trees(st.integers(1, 40)), st.integers(0, 2**32 - 1), st.integers(0, 4))
def test_class_probabilities_and_losses_are_the_trees(parents: list[int], seed: int, rows: int) -> None:
    rng = np.random.default_rng(seed)
    tree = tree_of(parents)
    logits = rng.normal(0, 3, (rows, len(tree)))
    labels = rng.integers(len(tree), size=rows)
    groups = SiblingGroups.of(tree)
    expected = tree.probabilities(tree.softmax(logits))
    np.testing.assert_allclose(class_probabilities(torch.tensor(logits), groups).numpy(), expected, atol=1e-12)
    losses = class_loss(torch.tensor(logits), torch.tensor(labels), groups)
    np.testing.assert_allclose(losses.numpy(), -np.log(expected[np.arange(rows), labels]), atol=1e-9)


@settings(max_examples=30)
@given(parents_of_trees(st.integers(1, 40)), st.integers(0, 2**32 - 1), st.booleans())
def test_the_loss_of_a_soft_label_is_the_mean_loss_of_its_labels(parents: list[int], seed: int, flat: bool) -> None:
    """So a one-hot one is the label itself, at any depth."""
    rng = np.random.default_rng(seed)
    groups = None if flat else SiblingGroups.of(tree_of(parents))
    classes = len(parents)
    logits = torch.tensor(rng.normal(0, 3, (1, classes))).repeat(classes, 1)
    every = torch.arange(classes)
    losses = class_loss(logits, every, groups)
    one_hot = torch.eye(classes, dtype=torch.float64)
    torch.testing.assert_close(class_loss(logits, every.flip(0), groups, one_hot), losses)
    soft = torch.tensor(rng.dirichlet(np.full(classes, 0.3))).reshape(1, -1)
    mean = class_loss(logits[:1], every[:1], groups, soft)
    torch.testing.assert_close(mean, soft @ losses)


@settings(max_examples=30)
@given(cases(), st.integers(0, 2**32 - 1))
def test_one_hot_soft_labels_of_boxes_and_images_change_nothing(recipe: Recipe, seed: int) -> None:
    case = recipe.make()
    classes = case.head.classes
    targets = targets_of(case.objects)
    soft = torch.nn.functional.one_hot(targets.labels, classes).double()
    soft[np.random.default_rng(seed).random(len(soft)) < 0.3] = 0  # some boxes have none
    of_images = torch.tensor(case.image_labels).double()
    of_images[of_images.sum(1) != 1] = 0  # an image has one label, or no soft one
    for part, same in zip(parts(case.loss()), parts(case.loss(soft=soft, image_soft=of_images)), strict=True):
        assert part == pytest.approx(same, rel=1e-9, abs=1e-9)


def parts(loss: LossParts) -> list[float]:
    return [float(part) for part in (loss.coordinates, loss.objectness, loss.no_objectness, loss.classes)]
