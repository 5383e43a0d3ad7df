"""Which node a label means: an id, an entry of the user's parent table, or a name with one or more senses in WordNet.

No ambiguity is resolved silently: every match says how it was made and which other senses there are. Overrides are a
small CSV file of labels and ids.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from yolo9000.errors import TreeError
from yolo9000.taxonomy.hierarchy import Entry, Hierarchy, slug
from yolo9000.taxonomy.wordnet import WordNet, is_synset_id, singular_forms

__all__ = ["How", "Sense", "new_entry", "read_overrides", "senses_of"]

How = Literal["id", "override", "table", "name", "spelling", "plural", "new-child", "unmatched"]
"""How a label was matched: by id; by an override; with an entry of a parent table; by its name in WordNet; the same
with its words joined or split, or as a plural; as a new child of what its last words mean; or not at all."""
SHORTEST_WORD = 5  # letters of the last word within a compound: tvmonitor -> monitor, but not oatghurt -> hurt


@dataclass(frozen=True)
class Sense:
    """One possible meaning of a label.

    Attributes:
        node: id of a synset or an entry.
        how: how it was matched.
        rank: of the sense; 1 is the most frequent or the only one.
        parent: parent of a new node; None for a root and for existing nodes.
    """

    node: str
    how: How
    rank: int = 1
    parent: str | None = None

    @property
    def reliable(self) -> bool:
        """Whether it needs no review if it is the only sense."""
        return self.how in ("id", "override", "table", "name", "plural", "spelling")


def senses_of(label: str, hierarchy: Hierarchy, overrides: Mapping[str, str]) -> tuple[Sense, ...]:
    """All possible meanings of a label: physical things before others, then the most frequent sense first.

    Raises:
        TreeError: the label is a synset id that WordNet does not have, or its override names no node.
    """
    if label in overrides:
        return (_overridden(label, overrides[label], hierarchy),)
    entry = hierarchy.find_entry(label)
    if entry is not None:
        return (Sense(entry, "table"),)
    if is_synset_id(label):
        if label not in hierarchy:
            raise TreeError(f"the label {label!r} must be the id of a noun synset of WordNet 3.0 or of a parent table")
        return (Sense(label, "id"),)
    return _by_name(label, hierarchy) or _by_ending(label, hierarchy) or (Sense(slug(label), "unmatched"),)


def _overridden(label: str, node: str, hierarchy: Hierarchy) -> Sense:
    entry = hierarchy.find_entry(node)
    if entry is None and node not in hierarchy:
        raise TreeError(f"the override of {label!r}, {node!r}, must be the id of a synset or of a parent table")
    return Sense(entry or node, "override")


def _by_name(label: str, hierarchy: Hierarchy) -> tuple[Sense, ...]:
    if hierarchy.wordnet is None:
        return ()
    for how, name in _readings(label, hierarchy.wordnet):
        nodes = _physical_first(hierarchy.wordnet.senses(name), hierarchy)
        if nodes:
            return tuple(Sense(node, how, rank) for rank, node in enumerate(nodes, 1))
    return ()


def _by_ending(label: str, hierarchy: Hierarchy) -> tuple[Sense, ...]:
    for ending in _endings(label):
        entry = hierarchy.find_entry(ending)
        if entry is not None:
            return (Sense(slug(label), "new-child", 1, entry),)
        if hierarchy.wordnet is None:
            continue
        for name in (ending, *singular_forms(ending)):
            nodes = _physical_first(hierarchy.wordnet.senses(name), hierarchy)
            if nodes:
                return tuple(Sense(slug(label), "new-child", rank, node) for rank, node in enumerate(nodes, 1))
    return ()


def _physical_first(senses: Sequence[str], hierarchy: Hierarchy) -> list[str]:
    """The physical senses if there are any, else all."""
    return [sense for sense in senses if hierarchy.is_physical(sense)] or list(senses)


def _readings(label: str, wordnet: WordNet) -> Iterator[tuple[How, str]]:
    """How a label may be spelled in WordNet: as it is, in the singular, with its words joined (wineglass) or split."""
    yield "name", label
    for singular in singular_forms(label):
        yield "plural", singular
    words = label.replace("-", " ").replace("_", " ").split()
    if len(words) > 1:
        yield "spelling", "".join(words)
    else:
        for at in range(len(label) - 2, 2, -1):
            if wordnet.senses(f"{label[:at]} {label[at:]}"):
                yield "spelling", f"{label[:at]} {label[at:]}"


def _endings(label: str) -> Iterator[str]:
    """What a label may be a kind of: its last words, longest first; for a single word its endings, longest first."""
    words = label.replace("-", " ").replace("_", " ").split()
    for first in range(1, len(words)):
        yield " ".join(words[first:])
    if len(words) == 1:
        for at in range(2, len(label) - SHORTEST_WORD + 1):
            yield label[at:]


def new_entry(label: str, sense: Sense) -> Entry:
    """The entry for a label that gets a new node."""
    parents = () if sense.parent is None else (sense.parent,)
    return Entry(sense.node, label, parents, where=f"the label {label!r}")


def read_overrides(path: str | Path) -> dict[str, str]:
    """Overrides of labels: a CSV file with the columns ``label`` and ``id``; other columns are ignored.

    Raises:
        TreeError: the file cannot be read, or a line is invalid.
    """
    path = Path(path)
    overrides: dict[str, str] = {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            rows = csv.DictReader(stream)
            if not {"label", "id"} <= set(rows.fieldnames or ()):
                raise TreeError(
                    f"{path}:1: the header must have label and id, got {','.join(rows.fieldnames or ())[:80]!r}"
                )
            for row in rows:
                label, node = ((row[key] or "").strip() for key in ("label", "id"))
                if not label or not node:
                    raise TreeError(f"{path}:{rows.line_num}: must have a label and an id")
                if overrides.setdefault(label, node) != node:
                    raise TreeError(
                        f"{path}:{rows.line_num}: {label!r} must have one id, got {overrides[label]} and {node}"
                    )
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise TreeError(f"{path}: cannot be read: {error}") from None
    return overrides
