"""What changed between two versions of a label tree."""

from __future__ import annotations

from dataclasses import dataclass

from yolo9000.taxonomy.wordtree import WordTree

__all__ = ["TreeDiff", "tree_diff"]


@dataclass(frozen=True)
class TreeDiff:
    """Ids of the nodes that changed, in the order of the new tree; removed ones in the order of the old tree.

    Attributes:
        added, removed: only in the new tree, only in the old tree.
        moved: have another parent.
        renamed: have another name.
        regrouped: parents whose set of children changed: their class weights cannot be reused.
        reordered: whether nodes of both trees have other indices: class weights must be reordered.
    """

    added: tuple[str, ...]
    removed: tuple[str, ...]
    moved: tuple[str, ...]
    renamed: tuple[str, ...]
    regrouped: tuple[str, ...]
    reordered: bool

    def __bool__(self) -> bool:
        return any(vars(self).values())


def tree_diff(old: WordTree, new: WordTree) -> TreeDiff:
    """Compare two trees by the ids of their nodes; among the regrouped parents ``""`` stands for the roots."""
    before, after = _parents(old), _parents(new)
    common = [node for node in new.ids if node in before]
    names = dict(zip(old.ids, old.names, strict=True)), dict(zip(new.ids, new.names, strict=True))
    children = _children(old), _children(new)
    parents = dict.fromkeys([*children[0], *children[1]])
    return TreeDiff(
        added=tuple(node for node in new.ids if node not in before),
        removed=tuple(node for node in old.ids if node not in after),
        moved=tuple(node for node in common if before[node] != after[node]),
        renamed=tuple(node for node in common if names[0][node] != names[1][node]),
        regrouped=tuple(parent for parent in parents if children[0].get(parent) != children[1].get(parent)),
        reordered=any(old.index_by_id.get(node, index) != index for index, node in enumerate(new.ids)),
    )


def _parents(tree: WordTree) -> dict[str, str]:
    """The id of each node's parent; ``""`` for a root."""
    parents = ("" if parent < 0 else tree.ids[parent] for parent in tree.parents)
    return dict(zip(tree.ids, parents, strict=True))


def _children(tree: WordTree) -> dict[str, set[str]]:
    children: dict[str, set[str]] = {}
    for node, parent in _parents(tree).items():
        children.setdefault(parent, set()).add(node)
    return children
