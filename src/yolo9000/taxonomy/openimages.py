"""The hierarchy of Open Images, ``bbox_labels_600_hierarchy.json``, and the names of its classes.

Nodes are LabelNames such as ``/m/0jbk``, nested as each other's ``Subcategory``; a node may be below several others.
Parts (``Part``: the wheel of a car) are nodes, but no kinds of what they are parts of. The outermost node, Entity, is
what everything is, and is left out: its probability would always be 1.

Source: storage.googleapis.com/openimages, Open Images V7, hierarchy and class descriptions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from yolo9000.errors import DataError, TreeError
from yolo9000.io.documents import parse_csv, parse_json
from yolo9000.io.files import read_text
from yolo9000.taxonomy.hierarchy import Entry

__all__ = ["hierarchy_entries", "read_class_descriptions"]

_BELOW = ("Subcategory", "Part")


def hierarchy_entries(text: str, path: Path) -> list[Entry]:
    """The nodes of a hierarchy, each once, with all their parents.

    Args:
        text: contents of the file.
        path: of the file; names are taken from the ``class-descriptions`` beside it, else nodes are called by their
            LabelNames.

    Raises:
        TreeError: the file is not such a hierarchy.
    """
    root = parse_json(text, path, TreeError)
    names = _names_beside(path)
    parents: dict[str, list[str]] = {}
    for node, parent in _relations(root, path):
        above = parents.setdefault(node, [])
        if parent is not None and parent not in above:
            above.append(parent)
    if not parents:
        raise TreeError(f"{path}: must have a LabelName with Subcategory, as the hierarchy of Open Images has")
    return [
        Entry(node, names.get(node, node), tuple(above), (), "", f"{path}: {node}") for node, above in parents.items()
    ]


def read_class_descriptions(path: str | Path) -> dict[str, str]:
    """The display name of each LabelName.

    Raises:
        DataError: the file cannot be read, is not CSV or names nothing.
    """
    rows = [row for row in parse_csv(read_text(path), path) if len(row) >= 2 and row[0] != "LabelName"]
    if not rows:
        raise DataError(f"{path}: must have a LabelName and a display name in each line, has none")
    return {row[0].strip(): row[1].strip() for row in rows}


def _names_beside(path: Path) -> Mapping[str, str]:
    """The names in the class descriptions in the same folder, those of the classes with boxes first."""
    files = sorted(path.parent.glob("*class-descriptions*.csv"), key=lambda file: ("boxable" not in file.name, file))
    return read_class_descriptions(files[0]) if files else {}


def _relations(root: Any, path: Path) -> Iterator[tuple[str, str | None]]:
    """Each node with each of its parents, None for one without, level by level."""
    level: list[tuple[Any, str | None]] = [(child, None) for _, child in _children(root, path)]
    while level:
        following: list[tuple[Any, str | None]] = []
        for node, parent in level:
            name = _name_of(node, path)
            yield name, parent
            following += [(child, name if key == "Subcategory" else None) for key, child in _children(node, path)]
        level = following


def _children(node: Any, path: Path) -> Iterator[tuple[str, Any]]:
    for key in _BELOW:
        below = node.get(key, []) if isinstance(node, dict) else []
        if not isinstance(below, list):
            raise TreeError(f"{path}: {key} must be a list of nodes, got {str(below)[:80]!r}")
        yield from ((key, child) for child in below)


def _name_of(node: Any, path: Path) -> str:
    name = node.get("LabelName") if isinstance(node, dict) else None
    if not isinstance(name, str) or name.split() != [name]:
        raise TreeError(f"{path}: a node must have a LabelName of one word, got {str(node)[:80]!r}")
    return name
