"""Laws of the loss, and its gradient against Darknet's way: written down box after box, later writes over earlier ones."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from heads import grids, parents_of_trees, tree_of
from hypothesis import given, settings
from hypothesis import strategies as st

from yolo9000.boxes import cxcywh_to_xyxy, iou
from yolo9000.labels.wordtree import WordTree
from yolo9000.loss.assign import Truths
from yolo9000.loss.hierarchy import SiblingGroups, class_loss, class_probabilities
from yolo9000.loss.region import LossParts, WeakObjectness, region_loss
from yolo9000.network.rows import Region

NEVER = 2.0  # no IoU is above it: no box is left alone


@dataclass(frozen=True)
class Case:
    """A head's numbers in float64, the objects of each picture, and all that the loss asks for."""

    raw: np.ndarray
    objects: list[np.ndarray]  # per picture rows of centre x, y, width, height, label
    image_labels: np.ndarray
    exhaustive: np.ndarray | None
    head: Region
    tree: WordTree | None
    warm_up: bool
    weak: WeakObjectness

    def loss(self, raw: torch.Tensor | None = None) -> LossParts:
        raw = torch.tensor(self.raw) if raw is None else raw
        return region_loss(
            raw,
            truths_of(self.objects),
            self.head,
            tree=None if self.tree is None else SiblingGroups.of(self.tree),
            warm_up=self.warm_up,
            exhaustive=None if self.exhaustive is None else torch.tensor(self.exhaustive),
            image_labels=torch.tensor(self.image_labels),
            weak=self.weak,
        )

    def gradient(self) -> np.ndarray:
        raw = torch.tensor(self.raw, requires_grad=True)
        self.loss(raw).total().backward()
        assert raw.grad is not None
        return raw.grad.numpy()

    def picture(self, image: int) -> Case:
        one = slice(image, image + 1)
        exhaustive = None if self.exhaustive is None else self.exhaustive[one]
        return replace(
            self,
            raw=self.raw[one],
            objects=self.objects[one],
            image_labels=self.image_labels[one],
            exhaustive=exhaustive,
        )


def truths_of(objects: list[np.ndarray]) -> Truths:
    rows = torch.tensor(np.concatenate(objects))
    images = np.repeat(np.arange(len(objects)), [len(rows) for rows in objects])
    return Truths(torch.tensor(images), rows[:, :4], rows[:, 4].long())


@dataclass(frozen=True)
class Recipe:
    """What a random case is made from; see `heads`."""

    seed: int
    images: int
    grid_hw: tuple[int, int]
    anchors: int
    parents: list[int]
    is_tree: bool
    most_objects: int
    some_image_level: bool
    some_exhaustive: bool
    warm_up: bool
    weak: WeakObjectness
    rescore: bool
    bias_match: bool
    thresh: float

    def make(self) -> Case:
        rng = np.random.default_rng(self.seed)
        n, (h, w), a, k = self.images, self.grid_hw, self.anchors, len(self.parents)
        image_level = rng.random(n) < 0.5 if self.some_image_level else np.zeros(n, dtype=bool)
        return Case(
            raw=rng.normal(0, 1, (n, a * (5 + k), h, w)),
            objects=[some_objects(rng, 0 if weak else rng.integers(self.most_objects + 1), k) for weak in image_level],
            image_labels=np.where(image_level, rng.integers(k, size=n), -1),
            exhaustive=rng.random((n, k)) < 0.5 if self.some_exhaustive else None,
            head=Region(
                anchors_wh_cells=tuple((float(x), float(y)) for x, y in rng.uniform(0.3, 3, (a, 2))),
                classes=k,
                softmax=True,
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
            weak=self.weak,
        )


def some_objects(rng: np.random.Generator, count: int, classes: int) -> np.ndarray:
    """Boxes of all sizes, from a thousandth of the picture to more than all of it, some with their centre on its edge."""
    centres = rng.random((count, 2))
    centres[rng.random((count, 2)) < 0.1] = np.nextafter(1, 0)
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
        "most_objects": st.sampled_from([0, 1, 4, 30]),  # 30 on so few cells share places
        "some_image_level": st.booleans(),
        "some_exhaustive": st.just(False),
        "warm_up": st.booleans(),
        "weak": st.sampled_from(["paper", "release", "head", "class_only"]),
        "rescore": st.booleans(),
        "bias_match": st.booleans(),
        "thresh": st.sampled_from([0.2, 0.6, NEVER]),
    }
    return st.builds(Recipe, **(choices | {key: st.just(value) for key, value in fixed.items()}))


@settings(max_examples=60)
@given(cases())
def test_gradient_is_what_darknet_writes_down(recipe: Recipe) -> None:
    case = recipe.make()
    expected = np.stack([written_deltas(case.picture(image)) for image in range(recipe.images)])
    np.testing.assert_allclose(-case.gradient().reshape(expected.shape), expected, atol=1e-10)


def written_deltas(case: Case) -> np.ndarray:
    """Minus the gradient of one picture's loss, (A, 5 + K, H, W), as src/region_layer.c forward_region_layer makes it."""
    h, w = case.raw.shape[2:]
    head = case.head
    anchors = np.array(head.anchors_wh_cells)
    raw = case.raw.reshape(len(anchors), 5 + head.classes, h, w)
    act = raw.copy()
    act[:, [0, 1, 4]] = 1 / (1 + np.exp(-raw[:, [0, 1, 4]]))
    delta = np.zeros_like(raw)

    def box_at(a: int, j: int, i: int) -> np.ndarray:
        x, y, tw, th = act[a, :4, j, i]
        return np.array([(i + x) / w, (j + y) / h, np.exp(tw) * anchors[a, 0] / w, np.exp(th) * anchors[a, 1] / h])

    def write_class(a: int, j: int, i: int, label: int) -> None:
        for group, node in groups_on_path(case, label):
            scores = raw[a, 5:, j, i][group]
            shares = np.exp(scores) / np.exp(scores).sum()
            delta[a, 5 + group, j, i] = head.class_scale * ((group == node) - shares)

    if case.image_labels[0] >= 0:
        label = int(case.image_labels[0])
        answers = {
            place: act[place[0], 4, place[1], place[2]]
            * path_probability(case, raw[place[0], 5:, place[1], place[2]], label)
            for place in np.ndindex(len(anchors), h, w)
        }
        a, j, i = max(answers, key=lambda place: answers[place])
        write_class(a, j, i, label)
        if case.weak in ("release", "head"):
            delta[:, 4] = -head.noobject_scale * act[:, 4]
            delta[a, 4, j, i] = 0
        if case.weak in ("paper", "release") and act[a, 4, j, i] < 0.3:
            delta[a, 4, j, i] = head.object_scale * (0.3 - act[a, 4, j, i])
    else:
        for a, j, i in np.ndindex(len(anchors), h, w):
            best = max([0, *(overlap(box_at(a, j, i), truth[:4]) for truth in case.objects[0])])
            delta[a, 4, j, i] = 0 if best > head.thresh else -head.noobject_scale * act[a, 4, j, i]
            if case.warm_up:
                delta[a, :4, j, i] = 0.01 * (np.array([0.5, 0.5, 0, 0]) - act[a, :4, j, i])
        for x, y, tw, th, label in case.objects[0]:
            i, j = min(int(x * w), w - 1), min(int(y * h), h - 1)
            best, a = -1.0, 0
            for n in range(len(anchors)):
                size = anchors[n] / (w, h) if head.bias_match else box_at(n, j, i)[2:]
                alike = overlap(np.array([0, 0, *size]), np.array([0, 0, tw, th]))
                if alike > best:
                    best, a = alike, n
            target = np.array([x * w - i, y * h - j, np.log(tw * w / anchors[a, 0]), np.log(th * h / anchors[a, 1])])
            delta[a, :4, j, i] = head.coord_scale * (2 - tw * th) * (target - act[a, :4, j, i])
            wanted = overlap(box_at(a, j, i), np.array([x, y, tw, th])) if head.rescore else 1
            delta[a, 4, j, i] = head.object_scale * (wanted - act[a, 4, j, i])
            write_class(a, j, i, int(label))
    delta[:, [0, 1, 4]] *= act[:, [0, 1, 4]] * (1 - act[:, [0, 1, 4]])
    return delta


def overlap(a_cxcywh: np.ndarray, b_cxcywh: np.ndarray) -> float:
    a, b = cxcywh_to_xyxy(np.stack([a_cxcywh, b_cxcywh]))
    return float(iou(a, b))


def groups_on_path(case: Case, label: int) -> list[tuple[np.ndarray, int]]:
    """The classes of each softmax that a label teaches, and the one that is right."""
    if case.tree is None:
        return [(np.arange(case.head.classes), label)]
    return [(np.flatnonzero(case.tree.groups == case.tree.groups[node]), node) for node in case.tree.path(label)]


def path_probability(case: Case, scores: np.ndarray, label: int) -> float:
    shares = [np.exp(scores[node]) / np.exp(scores[group]).sum() for group, node in groups_on_path(case, label)]
    return float(np.prod(shares))


@settings(max_examples=15)
@given(cases(rescore=False, bias_match=True, thresh=NEVER, grid_hw=(2, 1), most_objects=4))
def test_gradient_is_the_slope(recipe: Recipe) -> None:
    # Nothing that is constant to the gradient moves here: no IoU is a target, a bound or a choice
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
    # No target and no share of classes depends on objectness
    case = recipe.make()
    objectness = np.zeros(case.raw.shape, dtype=bool)
    objectness[:, 4 :: 5 + case.head.classes] = True

    def total(changed: torch.Tensor) -> torch.Tensor:
        return case.loss(torch.tensor(case.raw).masked_scatter(torch.tensor(objectness), changed)).total()

    values = torch.tensor(case.raw[objectness], requires_grad=True)
    assert torch.autograd.gradcheck(total, values, atol=1e-6, rtol=1e-5, fast_mode=True)


@settings(max_examples=30)
@given(cases(some_exhaustive=True))
def test_batch_is_the_sum_of_its_pictures(recipe: Recipe) -> None:
    case = recipe.make()
    singles = [case.picture(image) for image in range(recipe.images)]
    np.testing.assert_allclose(
        parts(case.loss()), np.sum([parts(single.loss()) for single in singles], axis=0), atol=1e-9
    )
    np.testing.assert_allclose(case.gradient(), np.concatenate([single.gradient() for single in singles]), atol=1e-12)


@settings(max_examples=30)
@given(cases(most_objects=4, grid_hw=(4, 5), some_exhaustive=True))
def test_order_of_objects_that_share_no_place_is_nothing(recipe: Recipe) -> None:
    case = recipe.make()
    apart = replace(case, objects=[one_of_each_cell(rows, recipe.grid_hw) for rows in case.objects])
    turned = replace(apart, objects=[rows[::-1].copy() for rows in apart.objects])
    np.testing.assert_allclose(apart.gradient(), turned.gradient(), atol=1e-12)


def one_of_each_cell(rows: np.ndarray, grid_hw: tuple[int, int]) -> np.ndarray:
    h, w = grid_hw
    cells = np.floor(rows[:, :2] * (w, h)) @ (1, w)
    return rows[np.unique(cells, return_index=True)[1]]


@settings(max_examples=20)
@given(cases(some_exhaustive=True))
def test_exhaustive_of_all_is_as_if_nothing_were_said_and_of_none_ends_the_push(recipe: Recipe) -> None:
    case = recipe.make()
    assert case.exhaustive is not None
    unsaid = replace(case, exhaustive=None)
    everything = replace(case, exhaustive=np.ones_like(case.exhaustive))
    nothing = replace(case, exhaustive=np.zeros_like(case.exhaustive), weak="class_only")
    np.testing.assert_array_equal(everything.gradient(), unsaid.gradient())
    assert parts(everything.loss()) == parts(unsaid.loss())
    assert parts(nothing.loss())[2] == 0
    assert 0 <= parts(case.loss())[2] <= parts(unsaid.loss())[2] + 1e-9
    assert parts(case.loss())[:2] == parts(unsaid.loss())[:2]
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


def parts(loss: LossParts) -> list[float]:
    return [float(part) for part in (loss.coordinates, loss.objectness, loss.no_objectness, loss.classes)]
