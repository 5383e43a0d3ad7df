"""The recorded label trees."""

from __future__ import annotations

from support.golden import FOLDER, parameters
from yolo9000.taxonomy.files import read_tree
from yolo9000.taxonomy.wordtree import WordTree

TREES = parameters("tree")


def tree_of(name: str) -> WordTree:
    if name != "split":
        return read_tree(FOLDER / TREES[name]["file"])
    lines = (FOLDER / TREES[name]["file"]).read_text().split("\n")
    pairs = [line.split() for line in lines if line]
    return WordTree.from_parents([int(parent) for _, parent in pairs], ids=[node for node, _ in pairs])
