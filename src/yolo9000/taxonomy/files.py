"""Label trees and label lists as files: Darknet's ``.tree``, ``.names`` and ``.map``, and trees in YAML.

A tree in YAML is a parent table (`yolo9000.taxonomy.readers`) in the order of the nodes; parents are ids::

    - {id: n00015388, name: animal}
    - {id: n02084071, name: dog, parent: n00015388, synonyms: [domestic dog], note: all breeds}

Darknet: src/data.c get_labels, src/utils.c read_map, src/tree.c read_tree.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from jaxtyping import Int64

from yolo9000.errors import DataError, TreeError
from yolo9000.io.files import read_lines, write_atomically
from yolo9000.taxonomy.build import build_tree
from yolo9000.taxonomy.hierarchy import Hierarchy
from yolo9000.taxonomy.readers import read_parent_table
from yolo9000.taxonomy.wordtree import WordTree

__all__ = ["read_darknet_tree", "read_map", "read_names", "read_tree", "write_tree"]

YAML_SUFFIXES = (".yaml", ".yml")


def read_names(path: str | Path) -> tuple[str, ...]:
    """Names or labels, one per line.

    Raises:
        DataError: the file cannot be read, has no names, or has an empty line between them.
    """
    lines = [line.strip() for line in read_lines(path)]
    if not lines:
        raise DataError(f"{path}: must have one name per line, got an empty file")
    if "" in lines:
        raise DataError(f"{path}:{lines.index('') + 1}: must be a name, got an empty line")
    return tuple(lines)


def read_map(path: str | Path, nodes: int | None = None) -> Int64[np.ndarray, " k"]:
    """The tree node of each class: one index per line.

    Args:
        path: the file.
        nodes: number of nodes of the tree; None allows any index.

    Raises:
        DataError: the file cannot be read, or a line is not the index of a node.
    """
    allowed = "0 or more" if nodes is None else f"0 to {nodes - 1}"
    indices = []
    for number, line in enumerate(read_lines(path), 1):
        index = int(line) if re.fullmatch(r"\s*\d{1,9}\s*", line) else -1
        if index < 0 or (nodes is not None and index >= nodes):
            raise DataError(f"{path}:{number}: must be the index of a node, {allowed}, got {line.strip()[:80]!r}")
        indices.append(index)
    if not indices:
        raise DataError(f"{path}: must have one node index per line, got an empty file")
    return np.asarray(indices, np.int64)


def read_tree(path: str | Path, names: Sequence[str] | None = None) -> WordTree:
    """Read a label tree: ``.tree``, ``.yaml``, or the hierarchy of Open Images (``.json``).

    Args:
        path: the file.
        names: display name of each node, which a ``.tree`` does not have; None takes those of the file, else the ids.

    Raises:
        TreeError: the file cannot be read, or is not a tree with parents before children and siblings contiguous.
    """
    path = Path(path)
    if path.suffix == ".tree":
        return read_darknet_tree(path, names)
    if path.suffix not in (*YAML_SUFFIXES, ".json"):
        raise TreeError(f"{path}: must be a label tree: a .tree or .yaml file, or the .json of Open Images")
    tree = _read_hierarchy(path) if path.suffix == ".json" else _read_yaml_tree(path)
    if names is None:
        return tree
    _check_names(path, len(tree), names)
    return WordTree.from_parents(tree.parents.tolist(), names, tree.ids, tree.synonyms, tree.notes)


def read_darknet_tree(path: str | Path, names: Sequence[str] | None = None) -> WordTree:
    """Read a tree in Darknet's format, whatever its suffix: on each line the id of a node and the index of its parent.

    Indices are line numbers from 0; a root has -1. See `read_tree` for the arguments.

    Raises:
        TreeError: the file cannot be read, or is not a tree with parents before children and siblings contiguous.
    """
    ids, parents = [], []
    for number, line in enumerate(read_lines(path, TreeError), 1):
        parts = line.split()
        if len(parts) != 2 or not re.fullmatch(r"-?\d{1,9}", parts[1]):
            raise TreeError(
                f"{path}:{number}: must be a node's id and the index of its parent, got {line.strip()[:80]!r}"
            )
        ids.append(parts[0])
        parents.append(int(parts[1]))
    if names is not None:
        _check_names(path, len(ids), names)
    return _checked_tree(path, lambda: WordTree.from_parents(parents, names, ids))


def _check_names(path: str | Path, nodes: int, names: Sequence[str]) -> None:
    if len(names) != nodes:
        raise TreeError(f"{path}: {nodes} nodes need as many names, got {len(names)}")


def _read_hierarchy(path: Path) -> WordTree:
    """All nodes of a parent table as a tree; one with several parents gets the path that `build_tree` chooses."""
    hierarchy = Hierarchy(None)
    for entry in read_parent_table(path):
        hierarchy.add(entry)
    return build_tree(hierarchy.entries, hierarchy, keep="all").tree


def _read_yaml_tree(path: Path) -> WordTree:
    entries = read_parent_table(path)
    indices: dict[str, int] = {}
    parents = []
    for index, entry in enumerate(entries):
        parent = entry.parents[0] if entry.parents else None
        if parent is not None and parent not in indices:
            raise TreeError(f"{entry.where}: its parent {parent!r} must be the id of an entry before it")
        if entry.id in indices:
            raise TreeError(f"{entry.where}: its id {entry.id!r} must be unique")
        parents.append(-1 if parent is None else indices[parent])
        indices[entry.id] = index
    return _checked_tree(
        path,
        lambda: WordTree.from_parents(
            parents,
            [entry.name for entry in entries],
            [entry.id for entry in entries],
            [entry.synonyms for entry in entries],
            [entry.note for entry in entries],
        ),
    )


def _checked_tree(path: str | Path, make: Callable[[], WordTree]) -> WordTree:
    try:
        tree = make()
        tree.check_groups_contiguous()
    except TreeError as error:
        raise TreeError(f"{path}: {error}") from None
    return tree


def write_tree(path: str | Path, tree: WordTree) -> None:
    """Write a tree, ``.tree`` (ids and parents only) or ``.yaml``; `read_tree` reads the same tree back.

    Raises:
        TreeError: the file cannot be written, or the format cannot hold an id.
    """
    path = Path(path)
    if path.suffix == ".tree":
        text = _darknet_tree(path, tree)
    elif path.suffix in YAML_SUFFIXES:
        text = _yaml_tree(tree)
    else:
        raise TreeError(f"{path}: must be written as .tree or .yaml")
    try:
        write_atomically(path, text)
    except OSError as error:
        raise TreeError(f"{path}: cannot be written: {error.strerror}") from None


def _darknet_tree(path: Path, tree: WordTree) -> str:
    for node, node_id in enumerate(tree.ids):
        if node_id.split() != [node_id]:
            raise TreeError(f"{path}: node {node}: an id in a .tree file must be one word, got {node_id[:80]!r}")
    return "".join(f"{node_id} {parent}\n" for node_id, parent in zip(tree.ids, tree.parents, strict=True))


def _yaml_tree(tree: WordTree) -> str:
    text = yaml.dump(
        [_entry(tree, node) for node in range(len(tree))],
        Dumper=getattr(yaml, "CSafeDumper", yaml.SafeDumper),
        sort_keys=False,
        allow_unicode=True,
        default_flow_style=None,
        width=200,
    )
    return str(text)


def _entry(tree: WordTree, node: int) -> dict[str, Any]:
    entry: dict[str, Any] = {"id": tree.ids[node], "name": tree.names[node]}
    if tree.parents[node] >= 0:
        entry["parent"] = tree.ids[tree.parents[node]]
    if tree.synonyms and tree.synonyms[node]:
        entry["synonyms"] = list(tree.synonyms[node])
    if tree.notes and tree.notes[node]:
        entry["note"] = tree.notes[node]
    return entry
