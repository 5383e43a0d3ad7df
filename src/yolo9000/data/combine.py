"""Several data sets as one, over one label tree.

Every source keeps its own names and gets a map to the nodes of the tree. A box says "nothing else is here" only for the
classes that its own data set labels: no image is a negative for a class that nobody looked for in it.

Paper: §4 Dataset combination with WordTree.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any, Literal

import numpy as np
import yaml

from yolo9000.data.dataset import DataSet, Split
from yolo9000.data.format import SourceSettings
from yolo9000.errors import ConfigError, DataError
from yolo9000.io.files import write_atomically
from yolo9000.taxonomy.build import BuiltTree, Match, build_tree
from yolo9000.taxonomy.files import write_tree
from yolo9000.taxonomy.hierarchy import Hierarchy
from yolo9000.taxonomy.wordtree import WordTree

__all__ = ["Combined", "Relation", "combine", "relations_of", "write_combined"]

Kind = Literal["same name", "synonyms", "kind of", "conflict"]
"""How a label of one data set stands to one of another: the same name for the same node; other names for one node; the
first is a kind of the second; the same name, but what else is in the two sets speaks for different meanings."""


@dataclass(frozen=True)
class Relation:
    """How a label of one data set stands to one of another.

    Attributes:
        kind: see `Kind`.
        first, second: data set and label.
        detail: node or meanings, for people.
    """

    kind: Kind
    first: tuple[str, str]
    second: tuple[str, str]
    detail: str

    def __str__(self) -> str:
        (one, label), (other, its) = self.first, self.second
        return f"{self.kind}: {label} ({one}) and {its} ({other}): {self.detail}"


@dataclass(frozen=True)
class Combined:
    """Data sets as one.

    Attributes:
        built: the tree over all their labels, and how it came about.
        sets: the data sets by name, each with its splits.
        relations: how their labels stand to each other.
    """

    built: BuiltTree
    sets: Mapping[str, Mapping[Split, DataSet]]
    relations: tuple[Relation, ...]

    @property
    def ambiguous(self) -> tuple[Match, ...]:
        """Labels that somebody should look at."""
        return tuple(match for match in self.built.matches if match.ambiguous)


def combine(
    sets: Mapping[str, Mapping[Split, DataSet]],
    hierarchy: Hierarchy,
    *,
    overrides: Mapping[str, str] | None = None,
) -> Combined:
    """Combine data sets over one tree.

    Args:
        sets: the data sets by name, each with its splits.
        hierarchy: what is a kind of what; see `build_tree`.
        overrides: node of labels that the user decided on.

    Raises:
        ConfigError: a data set has a tree of its own.
        TreeError: see `build_tree`.
    """
    for name, splits in sets.items():
        if any(data.tree is not None for data in splits.values()):
            raise ConfigError(f"{name}: has a tree of its own and cannot be combined; give its hierarchy as `parents`")
    labels = {name: classes_of(splits) for name, splits in sets.items()}
    alone = {name: build_tree(classes, hierarchy, overrides=overrides).nodes for name, classes in labels.items()}
    built = build_tree([label for classes in labels.values() for label in classes], hierarchy, overrides=overrides)
    return Combined(built, sets, tuple(relations_of(labels, built, alone)))


def classes_of(splits: Mapping[Split, DataSet]) -> list[str]:
    """The classes of all splits of a data set, each once."""
    return list(dict.fromkeys(name for data in splits.values() for name in data.classes))


def relations_of(
    labels: Mapping[str, Sequence[str]], built: BuiltTree, alone: Mapping[str, Mapping[str, str]]
) -> Iterator[Relation]:
    """How the labels of every two data sets stand to each other.

    Args:
        labels: of each data set.
        built: the tree over all of them.
        alone: for each data set the node that each label has where the other sets do not speak.
    """
    tree = built.tree
    nodes = {label: tree.index_by_id[node_id] for label, node_id in built.nodes.items()}
    for one, other in combinations(labels, 2):
        for label in labels[one]:
            if label in alone[other] and alone[one][label] != alone[other][label]:
                meanings = f"alone {alone[one][label]}, {alone[other][label]}"
                yield Relation("conflict", (one, label), (other, label), meanings)
        yield from _at_or_below(one, other, labels, nodes, tree)
        yield from (matches for matches in _at_or_below(other, one, labels, nodes, tree) if matches.kind == "kind of")


def _at_or_below(
    one: str, other: str, labels: Mapping[str, Sequence[str]], nodes: Mapping[str, int], tree: WordTree
) -> Iterator[Relation]:
    """Labels of one data set that stand where labels of the other do, or below them."""
    standing: dict[int, list[str]] = {}
    for its in labels[other]:
        standing.setdefault(nodes[its], []).append(its)
    for label in labels[one]:
        node = nodes[label]
        for above in tree.path(node):
            for its in standing.get(above, ()):
                same: Kind = "same name" if label == its else "synonyms"
                yield Relation(same if above == node else "kind of", (one, label), (other, its), tree.path_names(node))


def write_combined(combined: Combined, out: Path) -> list[Path]:
    """Write the data-set file, its tree and a report beside it; the files.

    Raises:
        DataError: one cannot be written.
    """
    tree_file, report = (out.with_name(f"{out.stem}-{what}") for what in ("tree.yaml", "report.txt"))
    write_tree(tree_file, combined.built.tree)
    try:
        write_atomically(
            out, yaml.safe_dump(_data_set_file(combined, out, tree_file), sort_keys=False, allow_unicode=True)
        )
        write_atomically(report, "".join(f"{line}\n" for line in _report(combined)))
    except OSError as error:
        raise DataError(f"{out}: cannot be written: {error.strerror}") from None
    return [out, tree_file, report]


def _data_set_file(combined: Combined, out: Path, tree_file: Path) -> dict[str, Any]:
    nodes = combined.built.nodes
    labels = [label for splits in combined.sets.values() for label in classes_of(splits)]
    contents: dict[str, Any] = {
        "tree": tree_file.name,
        "classes": list(dict.fromkeys(nodes[label] for label in labels)),
    }
    for splits in combined.sets.values():
        for split, data in splits.items():
            contents.setdefault(split, []).extend(
                _moved(position, data, nodes, out.parent) for position in range(len(data.sources))
            )
    return contents


def _moved(position: int, data: DataSet, nodes: Mapping[str, str], folder: Path) -> dict[str, Any]:
    """A source, by its place, as it stands in the combined file: paths from there, names mapped to nodes."""
    source = data.sources[position]
    entry = data.source_entry(position, folder)
    # A map may name classes that no image has
    entry["map"] = {own: nodes[name] for own, name in _own_names(source, data).items() if name in nodes}
    if source.exhaustive != "none":
        known = data.exhaustive(position)
        entry["exhaustive"] = list(dict.fromkeys(nodes[data.classes[i]] for i in np.flatnonzero(known)))
    return entry


def _own_names(source: SourceSettings, data: DataSet) -> dict[str, str]:
    """The names that a source uses, and the data set's class of each."""
    plain = {name: name for name in data.classes if name not in source.map and name not in source.left_out}
    return plain | dict(source.map)


def _report(combined: Combined) -> Iterator[str]:
    tree = combined.built.tree
    for name, splits in combined.sets.items():
        yield f"{name}: {', '.join(f'{len(data.classes)} classes in {split}' for split, data in splits.items())}"
    yield f"one tree of {len(tree)} nodes over {len(combined.built.nodes)} labels"
    yield ""
    yield f"Labels of different data sets that have to do with each other: {len(combined.relations)}"
    yield from map(str, combined.relations)
    yield ""
    yield f"Labels to look at: {len(combined.ambiguous)}"
    for match in combined.ambiguous:
        others = ", ".join(sense.node for sense in match.others) or "none"
        node = combined.built.nodes[match.label]
        yield f"{match.label}: {node} by {match.sense.how}, {tree.path_names(tree.index_by_id[node])}; others: {others}"
