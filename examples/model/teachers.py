"""What the two pretrained networks say together of a box: the soft labels that the class rows are fitted to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from make_start import BRANCH, FIRST, SMALL_SCALE, reduced_rows
from torch import Tensor
from yolox import LEVELS, YoloxNano

from yolo9000.architectures.weights import Model
from yolo9000.losses.classification import SiblingGroups
from yolo9000.taxonomy.wordtree import WordTree

MIN_MASS = 0.3  # of the classifier's probability that must lie at a label or below, for it to say more
ALONE = (1.0, 0.5, 0.1)  # by level, what counts of YOLOX-Nano's probability of a class that the classifier denies
# Classes of COCO of which ImageNet shows unusual kinds only: of horses the sorrel
UNUSUAL = ("bed", "bicycle", "chair", "cow", "horse", "motorcycle", "sheep")
NONE = -1  # no label


@dataclass(frozen=True)
class Teachers:
    """YOLOX-Nano's and EfficientNet-Lite0's last rows over the head's channels.

    Attributes:
        groups: the label tree.
        below: of each node, which are that node or lie below it.
        known: node of each of COCO's classes.
        unusual: whether each of COCO's classes is one of `UNUSUAL`.
        leaves: node of each of the classifier's classes.
        yolox: rows and biases of YOLOX-Nano's classes, by level.
        rows, biases: of the classifier's classes.
    """

    groups: SiblingGroups
    below: Tensor
    known: Tensor
    unusual: Tensor
    leaves: Tensor
    yolox: list[tuple[Tensor, Tensor]]
    rows: Tensor
    biases: Tensor

    @classmethod
    def of(
        cls, yolox: YoloxNano, classifier: Model, tree: WordTree, coco: Sequence[str], ids: Sequence[str]
    ) -> Teachers:
        """The rows out of both networks.

        Args:
            yolox: YOLOX-Nano.
            classifier: EfficientNet-Lite0.
            tree: the label tree.
            coco: names of COCO's classes, in order.
            ids: WordNet ids of the classifier's classes, in order.
        """
        last = [yolox.last("cls", level) for level in range(LEVELS)]
        return cls(
            SiblingGroups.of(tree),
            torch.from_numpy(np.stack([tree.below(node) for node in range(len(tree))])).float(),
            torch.tensor([tree.find(name) for name in coco]),
            torch.tensor([name in UNUSUAL for name in coco]),
            torch.tensor([tree.ids.index(one) for one in ids]),
            [(torch.from_numpy(one.weights[:, :, 0, 0]), torch.from_numpy(one.biases)) for one in last],
            torch.from_numpy(reduced_rows(classifier)[1]),
            torch.from_numpy(next(one for one in reversed(classifier.parameters) if one is not None).biases),
        )

    def distribution(self, x: Tensor, anchors: Tensor, labels: Tensor) -> Tensor:
        """Probabilities over the nodes, (M, K), with sum 1.

        A box with a label is of it. One without is of each class of COCO with YOLOX-Nano's probability, which counts
        less where the class is one of the classifier's too but denied by it (`ALONE`); else it is what
        EfficientNet-Lite0 says. Below a node of which a box is, it is what EfficientNet-Lite0 says of what lies below,
        if its probability for that is `MIN_MASS`; else the probability stays at the node. Of a class that is `UNUSUAL`
        YOLOX-Nano alone decides, and all kinds below it are as likely.

        Args:
            x: channels of the head, (M, C).
            anchors: level of each, (M,).
            labels: node of each; `NONE` without.
        """
        p = self._classifier(x)
        below = p.clone()  # the classifier's probability of each node with what lies below it
        for level in reversed(self.groups.levels):
            below.index_add_(1, self.groups.parents[level], below[:, level])
        known = below[:, self.known]
        has = labels != NONE
        coco = self._coco(x, anchors, known) * ~has[:, None]
        rest = (1 - coco.sum(1)) * ~has
        heard = (known > MIN_MASS) & ~self.unusual
        factors = torch.where(heard, coco / known.clamp(min=MIN_MASS), 0)
        result = p * (rest[:, None] + factors @ self.below[self.known])
        result += (coco * self.unusual) @ self._kinds()
        result[:, self.known] += torch.where(heard | self.unusual, 0, coco)
        result[has] = self._labelled(p[has], below[has], labels[has])
        return result

    def certainty(self, x: Tensor) -> Tensor:
        """The classifier's highest probability, (M,)."""
        return self._classifier(x).amax(1)

    def _classifier(self, x: Tensor) -> Tensor:
        features = x[:, FIRST["classifier"] : FIRST["outside"]]
        p = x.new_zeros(len(x), len(self.below))
        p[:, self.leaves] = (features @ self.rows.T + self.biases).softmax(1)
        return p

    def _coco(self, x: Tensor, anchors: Tensor, classifier: Tensor) -> Tensor:
        """Probabilities of COCO's classes; together at most 1. ``classifier`` is its probability of each."""
        p = x.new_zeros(len(x), len(self.known))
        for level, (rows, biases) in enumerate(self.yolox):
            own = torch.nonzero(anchors == level)[:, 0]
            first, scale = FIRST[f"cls{level}"], SMALL_SCALE if level == 0 else 1.0
            p[own] = (x[own, first : first + BRANCH] @ rows.T / scale + biases).sigmoid()
        both = self.below[self.known][:, self.leaves].any(1)
        agreed = (classifier / MIN_MASS).clamp(max=1).where(both & ~self.unusual, 1)
        p *= agreed.maximum(torch.tensor(ALONE)[anchors][:, None])
        return p / p.sum(1, keepdim=True).clamp(min=1)

    def _kinds(self) -> Tensor:
        """Equal probabilities of the leaves at or below each of COCO's classes, (80, K)."""
        kinds = self.below[self.known] * self.groups.leaves
        return kinds / kinds.sum(1, keepdim=True)

    def _labelled(self, p: Tensor, below: Tensor, labels: Tensor) -> Tensor:
        mass = below.gather(1, labels[:, None])
        said = p * self.below[labels] / mass.clamp(min=MIN_MASS)
        return torch.where(mass > MIN_MASS, said, torch.nn.functional.one_hot(labels, p.shape[1]).to(p))
