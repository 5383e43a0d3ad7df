"""Darknet's small text files: ``.names`` and ``.labels``, ``.map``, ``.data``, ``.tree``.

Darknet: src/option_list.c read_data_cfg, src/data.c get_labels, src/utils.c read_map, src/tree.c read_tree.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Int64

from yolo9000.errors import DataError, TreeError, YoloError
from yolo9000.io.files import write_atomically
from yolo9000.taxonomy.wordtree import WordTree

__all__ = [
    "DataFile",
    "find_beside",
    "read_data",
    "read_lines",
    "read_map",
    "read_names",
    "read_tree",
    "write_tree",
]

MAX_BYTES = 64_000_000  # far above any real list; keeps a wrong file from filling the memory


@dataclass(frozen=True)
class DataFile:
    """A ``.data`` file.

    Attributes:
        path: where it stands; the files that it names are looked for around it.
        options: its keys and values as they stand.
    """

    path: Path
    options: dict[str, str] = field(default_factory=dict)

    def file(self, key: str) -> Path | None:
        """The file that a key names, or None where the key is missing.

        Raises:
            DataError: the file is not there.
        """
        value = self.options.get(key)
        return find_beside(self.path, value, DataError) if value else None


def read_lines(path: str | Path, error: type[YoloError] = DataError) -> list[str]:
    """The lines of a text file, without line ends and without empty lines at its end.

    Raises:
        YoloError: of the given kind: the file cannot be read, is too large or is not text.
    """
    path = Path(path)
    try:
        if path.stat().st_size > MAX_BYTES:
            raise error(f"{path}: must be a text file of at most {MAX_BYTES:,} bytes, got {path.stat().st_size:,}")
        text = path.read_text(encoding="utf-8-sig")
    except OSError as reason:
        raise error(f"{path}: cannot be read: {reason.strerror}") from None
    except UnicodeDecodeError:
        raise error(f"{path}: must be a text file, but holds bytes that are not text") from None
    if "\0" in text:
        raise error(f"{path}: must be a text file, but holds a zero byte")
    return text.rstrip().splitlines() if text.strip() else []


def find_beside(origin: Path, name: str, error: type[YoloError]) -> Path:
    """Find a file that another file names, as in ``tree=data/9k.tree``.

    Darknet looks from the folder it is started in. Here first the folder of the naming file, then the folder above it
    (``cfg/`` and ``data/`` lie side by side in Darknet), then the working folder, last the bare name beside it.

    Raises:
        YoloError: of the given kind, with the places that were tried.
    """
    folder = origin.resolve().parent
    places = [folder / name, folder.parent / name, Path(name), folder / Path(name).name]
    for place in places:
        if _is_file(place):
            return place
    tried = ", ".join(dict.fromkeys(str(place.parent) for place in places))
    raise error(f"{origin}: names the file {name[:80]!r}, which is not there (looked in {tried})")


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name that is too long, a folder that may not be entered
        return False


def read_names(path: str | Path) -> tuple[str, ...]:
    """Names or labels, one a line.

    Raises:
        DataError: the file cannot be read, has no names, or an empty line between them.
    """
    lines = [line.strip() for line in read_lines(path)]
    if not lines:
        raise DataError(f"{path}: must hold a name a line, got an empty file")
    if "" in lines:
        raise DataError(f"{path}:{lines.index('') + 1}: must hold a name, got an empty line")
    return tuple(lines)


def read_map(path: str | Path, nodes: int | None = None) -> Int64[np.ndarray, " k"]:
    """The tree node of each class: one number a line.

    Args:
        path: the file.
        nodes: number of nodes of the tree that the numbers point into.

    Raises:
        DataError: the file cannot be read, or a line is not the number of a node.
    """
    numbers = []
    for line, text in enumerate(read_lines(path), 1):
        number = int(text) if re.fullmatch(r"\s*\d{1,9}\s*", text) else -1
        if number < 0 or (nodes is not None and number >= nodes):
            numbered = "0 or more" if nodes is None else f"0 to {nodes - 1}"
            raise DataError(f"{path}:{line}: must be the number of a node, {numbered}, got {text.strip()[:80]!r}")
        numbers.append(number)
    if not numbers:
        raise DataError(f"{path}: must hold the number of a node a line, got an empty file")
    return np.asarray(numbers, np.int64)


def read_data(path: str | Path) -> DataFile:
    """Read a ``.data`` file: ``key = value`` lines, ``#`` and ``;`` begin comments; of a repeated key the first counts.

    Raises:
        DataError: the file cannot be read, or a line is not ``key = value``.
    """
    options: dict[str, str] = {}
    for number, line in enumerate(read_lines(path), 1):
        text = line.strip()
        if not text or text[0] in "#;":
            continue
        key, equals, value = text.partition("=")
        if not equals or not key.strip():
            raise DataError(f"{path}:{number}: must be key = value, got {text[:80]!r}")
        options.setdefault(key.strip(), value.strip())
    return DataFile(Path(path), options)


def read_tree(path: str | Path, names: Sequence[str] | None = None) -> WordTree:
    """Read a ``.tree`` file: on each line the id of a node and the line number, from 0, of its parent; -1 at the top.

    Args:
        path: the file.
        names: display name of each node; None takes the ids.

    Raises:
        TreeError: the file cannot be read, or is not a tree with parents before children and siblings side by side.
    """
    ids, parents = [], []
    for number, line in enumerate(read_lines(path, TreeError), 1):
        parts = line.split()
        if len(parts) != 2 or not re.fullmatch(r"-?\d{1,9}", parts[1]):
            raise TreeError(f"{path}:{number}: must be a node's id and its parent's number, got {line.strip()[:80]!r}")
        ids.append(parts[0])
        parents.append(int(parts[1]))
    if names is not None and len(names) != len(ids):
        raise TreeError(f"{path}: {len(ids)} nodes need as many names, got {len(names)}")
    try:
        tree = WordTree.from_parents(parents, names, ids)
        tree.check_groups_contiguous()
    except TreeError as error:
        raise TreeError(f"{path}: {error}") from None
    return tree


def write_tree(path: str | Path, tree: WordTree) -> None:
    """Write a ``.tree`` file; what `read_tree` read comes out as it was, but for blanks.

    Raises:
        TreeError: an id that is empty or has blanks in it; the file cannot be written.
    """
    for node, node_id in enumerate(tree.ids):
        if node_id.split() != [node_id]:
            raise TreeError(f"{path}: node {node}: its id must be one word to stand in a .tree, got {node_id[:80]!r}")
    text = "".join(f"{node_id} {parent}\n" for node_id, parent in zip(tree.ids, tree.parents, strict=True))
    try:
        write_atomically(Path(path), text)
    except OSError as error:
        raise TreeError(f"{path}: cannot be written: {error.strerror}") from None
