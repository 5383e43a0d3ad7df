"""A tree of eight nodes, and answers on it.

animal 0            thing 1
dog 2  cat 3  bird 4    cup 5
terrier 6  hound 7
"""

from __future__ import annotations

import numpy as np

from yolo9000.taxonomy.wordtree import WordTree
from yolo9000.types import PathStep, TreeAnswer

NAMES = ("animal", "thing", "dog", "cat", "bird", "cup", "terrier", "hound")
ANIMAL, THING, DOG, CAT, BIRD, CUP, TERRIER, HOUND = range(8)
TREE = WordTree.from_parents([-1, -1, 0, 0, 0, 1, 2, 2], NAMES)


def nodes(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def answer(*steps: tuple[int, float]) -> TreeAnswer:
    """From (node, P(node)), root first; the fields that these tests ignore are arbitrary."""
    path = tuple(PathStep(node, NAMES[node], 0.5, probability) for node, probability in steps)
    return TreeAnswer(path, "leaf", None, None)
