"""What the output of a detector's last layer means."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float32

from yolo9000.taxonomy.wordtree import WordTree
from yolo9000.types import ResizeMode

__all__ = ["ClassActivation", "Head"]

ClassActivation = Literal["softmax", "sigmoid", "tree"]
"""How class logits become probabilities: a softmax over all classes, a sigmoid each, a softmax per sibling group."""


@dataclass(frozen=True)
class Head:
    """The head of a detector: its anchors, its classes, and how images are fitted to its input.

    Attributes:
        anchors_wh_cells: (A, 2) width and height of each anchor in cells.
        names: display name of each class, or of each node of the tree.
        classes: how class logits become probabilities.
        tree: the label tree where ``classes`` is ``tree``, else None.
        resize_mode: how images are fitted to the network's input.
        hier_thresh: minimum probability of a node for an answer to be that specific, unless the user sets another;
            None if the model was not calibrated.
    """

    anchors_wh_cells: Float32[np.ndarray, "a 2"]
    names: tuple[str, ...]
    classes: ClassActivation = "softmax"
    tree: WordTree | None = None
    resize_mode: ResizeMode = "letterbox"
    hier_thresh: float | None = None

    @property
    def class_count(self) -> int:
        """Number of class logits for each anchor."""
        return len(self.names) if self.tree is None else len(self.tree)
