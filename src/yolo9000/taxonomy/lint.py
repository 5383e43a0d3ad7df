"""Likely mistakes in label trees that are formally valid.

Each finding has a code, the nodes that it concerns, and its consequence.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass
from typing import Literal

import numpy as np

from yolo9000.taxonomy.wordnet import WordNet, plain_name, singular_forms
from yolo9000.taxonomy.wordtree import WordTree

__all__ = ["Code", "Finding", "lint"]

Code = Literal["split-siblings", "single-child", "duplicate-name", "label-above-label", "ambiguous-sense"]
FEW = 3  # nodes that a message names


@dataclass(frozen=True)
class Finding:
    """A likely mistake.

    Attributes:
        code: its kind.
        nodes: the nodes that it concerns.
        message: what was found, and its consequence.
    """

    code: Code
    nodes: tuple[int, ...]
    message: str

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"


def lint(tree: WordTree, labels: Mapping[str, int] | None = None, wordnet: WordNet | None = None) -> list[Finding]:
    """All likely mistakes in a tree. `WordTree` itself refuses a parent after its child and a repeated id.

    Args:
        tree: the tree; siblings need not be contiguous.
        labels: node of each class name of the data sets; None skips the checks of labels.
        wordnet: compares labels with WordNet's senses; None compares them with the tree's names only.
    """
    return [
        *_split_siblings(tree),
        *_single_children(tree),
        *_duplicate_names(tree),
        *_labels_above(tree, set((labels or {}).values())),
        *_ambiguous_senses(tree, labels or {}, wordnet),
    ]


def _split_siblings(tree: WordTree) -> Iterator[Finding]:
    starts = tree.group_offsets
    for parent in np.unique(tree.parents):
        runs = starts[tree.parents[starts] == parent]
        if len(runs) > 1:
            yield Finding(
                "split-siblings",
                tuple(runs.tolist()),
                f"the children of {_called(tree, int(parent))} are in {len(runs)} runs, each with its own softmax; "
                f"the runs begin at {', '.join(_called(tree, int(node)) for node in runs[:FEW])}",
            )


def _single_children(tree: WordTree) -> Iterator[Finding]:
    for node in tree.group_offsets[tree.group_sizes == 1].tolist():
        parent = int(tree.parents[node])
        yield Finding(
            "single-child",
            (node,),
            f"{_called(tree, node)} is the only child of {_called(tree, parent)}: given that, its probability is 1",
        )


def _duplicate_names(tree: WordTree) -> Iterator[Finding]:
    of_name: dict[str, list[int]] = {}
    for node, name in enumerate(tree.names):
        of_name.setdefault(plain_name(name), []).append(node)
    for nodes in of_name.values():
        if len(nodes) > 1:
            ids = ", ".join(tree.ids[node] for node in nodes[:FEW]) + (", ..." if len(nodes) > FEW else "")
            yield Finding(
                "duplicate-name",
                tuple(nodes),
                f"{tree.names[nodes[0]]!r} is the name of {len(nodes)} nodes ({ids}): predictions cannot tell which",
            )


def _labels_above(tree: WordTree, labels: Set[int]) -> Iterator[Finding]:
    for node in sorted(labels):
        ancestors = [step for step in tree.path(node)[:-1] if step in labels]
        if ancestors:
            names = ", ".join(_called(tree, step) for step in ancestors)
            yield Finding(
                "label-above-label",
                (node, *ancestors),
                f"{_called(tree, node)} and {names} are labels, and the first is a kind of the others: its boxes train "
                "those too, and they are not mutually exclusive",
            )


def _ambiguous_senses(tree: WordTree, labels: Mapping[str, int], wordnet: WordNet | None) -> Iterator[Finding]:
    """Labels whose node does not have their name, or is not the most frequent sense of it."""
    for label, node in labels.items():
        node_id = tree.ids[node]
        known = wordnet is not None and node_id in wordnet
        names = [node_id, tree.names[node], *(tree.synonyms[node] if tree.synonyms else ())]
        names += wordnet.names(node_id) if wordnet is not None and known else ()
        readings = {plain_name(label), plain_name(label).replace(" ", ""), *map(plain_name, singular_forms(label))}
        if not readings & {form for name in names for form in (plain_name(name), plain_name(name).replace(" ", ""))}:
            yield Finding(
                "ambiguous-sense",
                (node,),
                f"the node of label {label!r} is {_called(tree, node)}, which does not have this name",
            )
            continue
        senses = wordnet.senses(label) if wordnet is not None and known else ()
        if wordnet is not None and senses and senses[0] != node_id and node_id in senses:
            yield Finding(
                "ambiguous-sense",
                (node,),
                f"the node of label {label!r} is {_called(tree, node)}, {wordnet.topic(node_id)}; the most frequent "
                f"sense is {senses[0]}, {wordnet.topic(senses[0])}",
            )


def _called(tree: WordTree, node: int) -> str:
    return "the root" if node < 0 else f"{tree.names[node]!r} ({tree.ids[node]})"
