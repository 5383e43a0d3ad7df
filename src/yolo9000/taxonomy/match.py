"""Which node a label means: an id, an entry of the user's table, or a name that WordNet may know in many senses.

Nothing is settled silently: every match says how it was found, and which other senses there are. What the user
settles stands in a small CSV file of names and ids.
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

__all__ = ["How", "Sense", "read_overrides", "senses_of"]

How = Literal["id", "settled", "table", "name", "spelling", "plural", "kind", "nowhere"]
"""How a label was matched: by its id; by the user's word; with an entry of a table; by name in WordNet, as it stands,
with its words joined or parted, or as a plural; as a new kind of what its last words mean; or not at all."""
SHORTEST_WORD = 5  # letters of the last word of a name whose words are joined: tvmonitor, but not the hurt of oatghurt


@dataclass(frozen=True)
class Sense:
    """One meaning that a label may have.

    Attributes:
        node: a synset, or an entry.
        how: it was found.
        rank: of the sense, 1 the most frequent, or the only one.
        parent: where the node is new: what it is a kind of; None at the top.
    """

    node: str
    how: How
    rank: int = 1
    parent: str | None = None

    @property
    def sure(self) -> bool:
        """Whether nobody need look at it, were it the only one."""
        return self.how in ("id", "settled", "table", "name", "plural", "spelling")


def senses_of(label: str, hierarchy: Hierarchy, overrides: Mapping[str, str]) -> tuple[Sense, ...]:
    """All meanings that a label may have; senses that can be seen before others, then the most frequent first.

    Raises:
        TreeError: it is an id that WordNet does not have, or the settled one is nowhere.
    """
    if label in overrides:
        return (_overridden(label, overrides[label], hierarchy),)
    own = hierarchy.own(label)
    if own is not None:
        return (Sense(own, "table"),)
    if is_synset_id(label):
        if label not in hierarchy:
            raise TreeError(f"the label {label!r} must be the id of a noun synset of WordNet 3.0, or stand in a table")
        return (Sense(label, "id"),)
    if hierarchy.wordnet is not None:
        for how, name in _readings(label, hierarchy.wordnet):
            found = _physical_first(hierarchy.wordnet.senses(name), hierarchy)
            if found:
                return tuple(Sense(node, how, rank) for rank, node in enumerate(found, 1))
    for ending in _endings(label):
        own = hierarchy.own(ending)
        if own is not None:
            return (Sense(slug(label), "kind", 1, own),)
        if hierarchy.wordnet is None:
            continue
        for name in (ending, *singular_forms(ending)):
            found = _physical_first(hierarchy.wordnet.senses(name), hierarchy)
            if found:
                return tuple(Sense(slug(label), "kind", rank, node) for rank, node in enumerate(found, 1))
    return (Sense(slug(label), "nowhere"),)


def _overridden(label: str, node: str, hierarchy: Hierarchy) -> Sense:
    own = hierarchy.own(node)
    if own is None and node not in hierarchy:
        raise TreeError(f"the label {label!r} is settled as {node!r}, which must be a synset's id or in a table")
    return Sense(own or node, "settled")


def _physical_first(senses: Sequence[str], hierarchy: Hierarchy) -> list[str]:
    """Senses that can be seen, if there are any, else all."""
    return [sense for sense in senses if hierarchy.is_physical(sense)] or list(senses)


def _readings(label: str, wordnet: WordNet) -> Iterator[tuple[How, str]]:
    """How a label may stand in WordNet: as it is, as a plural, with its words joined (wineglass) or parted."""
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
    """What a label may be a kind of: its last words, longest first; of one word its longest end that is one."""
    words = label.replace("-", " ").replace("_", " ").split()
    for first in range(1, len(words)):
        yield " ".join(words[first:])
    if len(words) == 1:
        for at in range(2, len(label) - SHORTEST_WORD + 1):
            yield label[at:]


def new_entry(label: str, sense: Sense) -> Entry:
    """The entry for a label that gets a node of its own."""
    parents = () if sense.parent is None else (sense.parent,)
    return Entry(sense.node, label, parents, where=f"the label {label!r}")


def read_overrides(path: str | Path) -> dict[str, str]:
    """The user's word on labels: a CSV file with the columns ``label`` and ``id``; others are for the eye.

    Raises:
        TreeError: the file cannot be read, or a line is wrong.
    """
    path = Path(path)
    overrides: dict[str, str] = {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            rows = csv.DictReader(stream)
            if not {"label", "id"} <= set(rows.fieldnames or ()):
                raise TreeError(
                    f"{path}:1: must be a header with label and id, got {','.join(rows.fieldnames or ())[:80]!r}"
                )
            for row in rows:
                label, node = ((row[key] or "").strip() for key in ("label", "id"))
                if not label or not node:
                    raise TreeError(f"{path}:{rows.line_num}: must have a label and an id")
                if overrides.setdefault(label, node) != node:
                    raise TreeError(
                        f"{path}:{rows.line_num}: {label!r} must be settled once, got {overrides[label]} and {node}"
                    )
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise TreeError(f"{path}: cannot be read: {error}") from None
    return overrides
