"""Generated taxonomies: planted mistakes are reported, and edits leave the weights of all other nodes as they were."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from support.small_models import random_model, small_architecture

from yolo9000.architectures.layers import Region
from yolo9000.architectures.surgery import transfer
from yolo9000.taxonomy.lint import lint
from yolo9000.taxonomy.wordtree import WordTree


def generated(rng: np.random.Generator) -> WordTree:
    """A tree of two to four children a node, without mistakes; siblings are contiguous."""
    parents, level = [-1, -1], [0, 1]
    for _ in range(2):
        below: list[int] = []
        for node in level:
            if rng.random() < 0.7:
                children = range(len(parents), len(parents) + int(rng.integers(2, 5)))
                parents += [node] * len(children)
                below += children
        level = below
    if len(parents) == 2:
        parents += [0, 0, 0]
    return WordTree.from_parents(
        parents, [f"thing {i}" for i in range(len(parents))], [f"t{i}" for i in range(len(parents))]
    )


def with_nodes(tree: WordTree, parents: list[int]) -> WordTree:
    """The tree with leaves more, at its end."""
    new = [f"new {i}" for i in range(len(parents))]
    return WordTree.from_parents([*tree.parents.tolist(), *parents], [*tree.names, *new], [*tree.ids, *new])


@pytest.mark.parametrize("seed", range(30))
def test_planted_mistakes_are_reported(seed: int) -> None:
    rng = np.random.default_rng(seed)
    tree = generated(rng)
    assert lint(tree) == []
    leaves = np.flatnonzero(tree.leaves)
    lonely, again = (int(node) for node in rng.permutation(leaves)[:2])
    last = len(tree)
    planted = with_nodes(tree, [lonely, -1])  # an only child; roots in two runs
    planted = replace(planted, names=(*planted.names[:again], f"Thing_{lonely}", *planted.names[again + 1 :]))
    above = int(tree.parents[again])
    labels = (
        {planted.names[again]: again, planted.names[above]: above, "sofa": lonely} if above >= 0 else {"sofa": lonely}
    )
    reported = {(finding.code, finding.nodes) for finding in lint(planted, labels)}
    expected = {
        ("single-child", (last,)),
        ("single-child", (last + 1,)),  # a run of one
        ("split-siblings", (0, last + 1)),
        ("duplicate-name", tuple(sorted((again, lonely)))),
        ("ambiguous-sense", (lonely,)),
    }
    if above >= 0:
        expected.add(("label-above-label", (again, above)))
    assert expected <= reported


def edited(tree: WordTree, rng: np.random.Generator) -> WordTree:
    """The tree with a leaf removed, one moved to another node, one renamed, and two added, in an order of its own."""
    removed, moved, renamed = (int(node) for node in rng.permutation(np.flatnonzero(tree.leaves))[:3])
    parent_of = {
        tree.ids[node]: tree.ids[p] if (p := int(tree.parents[node])) >= 0 else "" for node in range(len(tree))
    }
    del parent_of[tree.ids[removed]]
    inner = [tree.ids[node] for node in np.flatnonzero(~tree.leaves)]
    parent_of[tree.ids[moved]] = inner[0]
    parent_of |= {"new 0": inner[-1], "new 1": inner[-1]}
    order: list[str] = []
    level = [""]
    while level:
        level = [
            child for parent in level for child in rng.permutation([c for c, p in parent_of.items() if p == parent])
        ]
        order += level
    names = [("renamed" if key == tree.ids[renamed] else key) for key in order]
    return WordTree.from_parents([order.index(parent_of[key]) if parent_of[key] else -1 for key in order], names, order)


@pytest.mark.parametrize("seed", range(10))
def test_an_edit_leaves_the_weights_of_all_other_nodes_as_they_were(seed: int) -> None:
    rng = np.random.default_rng(seed)
    old = generated(rng)
    new = edited(old, rng)
    source = random_model(small_architecture(len(old), tree="a.tree"), seed)
    target = random_model(small_architecture(len(new), tree="b.tree"), seed + 100)
    classes = np.array([old.index_by_id.get(key, -1) for key in new.ids])
    migrated = transfer(source, target, classes).model
    head = source.architecture.head
    assert isinstance(head, Region)
    anchors = len(head.anchors_wh_cells)
    (before, after), kept = (model.parameters[-2] for model in (source, migrated)), classes >= 0
    assert before is not None
    assert after is not None
    for name in ("weights", "biases"):
        was = getattr(before, name).reshape(anchors, 5 + len(old), -1)
        now = getattr(after, name).reshape(anchors, 5 + len(new), -1)
        assert now[:, :5].tobytes() == was[:, :5].tobytes()
        assert now[:, 5:][:, kept].tobytes() == was[:, 5:][:, classes[kept]].tobytes()
        assert not now[:, 5:][:, ~kept].any()
    assert kept.sum() == len(old) - 1
    for one, other in zip(source.parameters[:-2], migrated.parameters[:-2], strict=True):
        assert (one is None) == (other is None)
        assert one is None or one.weights.tobytes() == other.weights.tobytes()  # type: ignore[union-attr]
