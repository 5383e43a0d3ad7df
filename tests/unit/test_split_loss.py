"""The region loss of class logits on demand is that of dense ones, with the same gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import get_args

import pytest

torch = pytest.importorskip("torch")

from yolo9000.architectures.layers import Region  # noqa: E402
from yolo9000.architectures.torch import SplitHead  # noqa: E402
from yolo9000.losses.assign import Targets  # noqa: E402
from yolo9000.losses.classification import SiblingGroups  # noqa: E402
from yolo9000.losses.region import LossParts, PseudoBoxPolicy, region_loss  # noqa: E402
from yolo9000.losses.settings import LossSettings  # noqa: E402
from yolo9000.taxonomy.wordtree import WordTree  # noqa: E402

N, A, K, C, H, W = 3, 2, 5, 4, 3, 4
HEAD = Region(((1.0, 2.0), (3.0, 1.5)), K, softmax=True)
TREE = SiblingGroups.of(WordTree.from_parents([-1, -1, 0, 0, 2]))
# Two objects learn the same box, on other sibling groups of the tree; image 2 has labels instead of boxes
TARGETS = Targets(
    torch.tensor([0, 0, 0, 1]),
    torch.tensor([[0.3, 0.4, 0.2, 0.5], [0.31, 0.41, 0.2, 0.5], [0.8, 0.9, 0.5, 0.4], [0.1, 0.1, 0.7, 0.6]]),
    torch.tensor([3, 1, 4, 0]),
)
LABELS = torch.tensor([[False] * K, [False] * K, [True, False, False, False, True]])
EXHAUSTIVE = torch.tensor([[True] * K, [True, False, True, False, True], [True, True, False, True, True]])


def parameters() -> list[torch.Tensor]:
    """Features, and the kernel and biases of the last convolution."""
    generator = torch.Generator().manual_seed(5)
    shapes = ((N, C, H, W), (A, 5 + K, C), (A, 5 + K))
    return [torch.randn(shape, generator=generator).requires_grad_() for shape in shapes]


def dense(features: torch.Tensor, weights: torch.Tensor, biases: torch.Tensor) -> torch.Tensor:
    return torch.conv2d(features, weights.flatten(0, 1)[:, :, None, None], biases.flatten())


def split(features: torch.Tensor, weights: torch.Tensor, biases: torch.Tensor) -> SplitHead:
    boxes = torch.conv2d(features, weights[:, :5].flatten(0, 1)[:, :, None, None], biases[:, :5].flatten())
    return SplitHead(boxes.unflatten(1, (A, 5)), features, weights[:, 5:], biases[:, 5:])


def loss_and_gradients(head: Callable[..., torch.Tensor | SplitHead], **options: object) -> tuple[LossParts, list]:
    leaves = parameters()
    parts = region_loss(head(*leaves), TARGETS, HEAD, LossSettings(), **options)  # type: ignore[arg-type]
    parts.total().backward()
    return parts, [leaf.grad for leaf in leaves]


def assert_same(**options: object) -> None:
    (ours, gradients), (theirs, expected) = loss_and_gradients(split, **options), loss_and_gradients(dense, **options)
    for name in ("coordinates", "objectness", "no_objectness", "classes"):
        torch.testing.assert_close(getattr(ours, name), getattr(theirs, name), msg=name)
    assert ours.classes > 0
    for gradient, other in zip(gradients, expected, strict=True):
        torch.testing.assert_close(gradient, other, atol=1e-4, rtol=1e-4)
    for name in ("iou", "probability", "recall", "all_objectness"):
        torch.testing.assert_close(getattr(ours.statistics, name), getattr(theirs.statistics, name), msg=name)
    assert (ours.image_level is None) == (theirs.image_level is None)
    if ours.image_level is not None and theirs.image_level is not None:
        assert torch.equal(ours.image_level.boxes, theirs.image_level.boxes)
        torch.testing.assert_close(ours.image_level.probability, theirs.image_level.probability)


@pytest.mark.parametrize("tree", [None, TREE], ids=["flat", "tree"])
@pytest.mark.parametrize("exhaustive", [None, EXHAUSTIVE], ids=["all", "some"])
@pytest.mark.parametrize("warm_up", [False, True])
def test_boxed_images(tree: SiblingGroups | None, exhaustive: torch.Tensor | None, warm_up: bool) -> None:
    assert_same(tree=tree, exhaustive=exhaustive, warm_up=warm_up)


@pytest.mark.parametrize("tree", [None, TREE], ids=["flat", "tree"])
@pytest.mark.parametrize("policy", get_args(PseudoBoxPolicy))
def test_images_with_labels(tree: SiblingGroups | None, policy: PseudoBoxPolicy) -> None:
    assert_same(tree=tree, policy=policy, image_labels=LABELS, exhaustive=EXHAUSTIVE)


def test_only_boxes_that_learn_classes_compute_them(monkeypatch: pytest.MonkeyPatch) -> None:
    counts: list[int] = []

    def counted(self: SplitHead, images: torch.Tensor, *rest: torch.Tensor) -> torch.Tensor:
        counts.append(len(images))
        return torch.zeros(len(images), K)

    monkeypatch.setattr(SplitHead, "class_logits", counted)
    monkeypatch.setattr(SplitHead, "all_class_logits", lambda *_: pytest.fail("all logits were computed"))
    region_loss(split(*parameters()), TARGETS, HEAD, LossSettings())
    assert counts == [len(TARGETS)]
