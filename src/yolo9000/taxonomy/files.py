"""Label trees as files: Darknet's ``.tree``, and our own YAML with names, synonyms and notes.

The YAML is a table of parents (`yolo9000.taxonomy.hierarchy`) in the order of the nodes, and parents are ids::

    - {id: n00015388, name: animal}
    - {id: n02084071, name: dog, parent: n00015388, synonyms: [domestic dog], note: all breeds}
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from yolo9000.errors import TreeError
from yolo9000.io.files import write_atomically
from yolo9000.taxonomy.darknet_files import read_tree, write_tree
from yolo9000.taxonomy.hierarchy import read_parent_table
from yolo9000.taxonomy.wordtree import WordTree

__all__ = ["read_tree_file", "write_tree_file"]


def read_tree_file(path: str | Path, names: Sequence[str] | None = None) -> WordTree:
    """Read a tree, ``.tree`` or ``.yaml``.

    Args:
        path: the file.
        names: display name of each node, which a ``.tree`` does not hold; None takes what is in the file, else the ids.

    Raises:
        TreeError: the file cannot be read, or is no tree with parents before children and siblings side by side.
    """
    path = Path(path)
    if path.suffix == ".tree":
        return read_tree(path, names)
    if path.suffix not in (".yaml", ".yml"):
        raise TreeError(f"{path}: must be a label tree: a .tree or .yaml file")
    tree = _read_yaml(path)
    if names is None:
        return tree
    if len(names) != len(tree):
        raise TreeError(f"{path}: {len(tree)} nodes need as many names, got {len(names)}")
    return WordTree.from_parents(tree.parents.tolist(), names, tree.ids, tree.synonyms, tree.notes)


def _read_yaml(path: Path) -> WordTree:
    entries = read_parent_table(path)
    place: dict[str, int] = {}
    parents = []
    for number, entry in enumerate(entries):
        above = entry.parents[0] if entry.parents else None
        if above is not None and above not in place:
            raise TreeError(f"{entry.where}: its parent {above!r} must be the id of an entry before it")
        if entry.id in place:
            raise TreeError(f"{entry.where}: its id {entry.id!r} must stand once")
        parents.append(-1 if above is None else place[above])
        place[entry.id] = number
    try:
        tree = WordTree.from_parents(
            parents,
            [entry.name for entry in entries],
            [entry.id for entry in entries],
            [entry.synonyms for entry in entries],
            [entry.note for entry in entries],
        )
        tree.check_groups_contiguous()
    except TreeError as error:
        raise TreeError(f"{path}: {error}") from None
    return tree


def write_tree_file(path: str | Path, tree: WordTree) -> None:
    """Write a tree, ``.tree`` (ids and parents only) or ``.yaml``; what `read_tree_file` read comes out as it was.

    Raises:
        TreeError: the file cannot be written, or an id cannot stand in it.
    """
    path = Path(path)
    if path.suffix == ".tree":
        write_tree(path, tree)
        return
    if path.suffix not in (".yaml", ".yml"):
        raise TreeError(f"{path}: must be written as .tree or .yaml")
    text = yaml.dump(
        [_entry(tree, node) for node in range(len(tree))],
        Dumper=getattr(yaml, "CSafeDumper", yaml.SafeDumper),
        sort_keys=False,
        allow_unicode=True,
        default_flow_style=None,
        width=200,
    )
    try:
        write_atomically(path, text)
    except OSError as error:
        raise TreeError(f"{path}: cannot be written: {error.strerror}") from None


def _entry(tree: WordTree, node: int) -> dict[str, Any]:
    entry: dict[str, Any] = {"id": tree.ids[node], "name": tree.names[node]}
    if tree.parents[node] >= 0:
        entry["parent"] = tree.ids[tree.parents[node]]
    if tree.synonyms and tree.synonyms[node]:
        entry["synonyms"] = list(tree.synonyms[node])
    if tree.notes and tree.notes[node]:
        entry["note"] = tree.notes[node]
    return entry
