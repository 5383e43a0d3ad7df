"""Is-a relations: WordNet's, with the user's own entries on top."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace

from yolo9000.errors import TreeError
from yolo9000.taxonomy.wordnet import WordNet, is_synset_id, plain_name

__all__ = ["Entry", "Hierarchy", "slug"]

PHYSICAL = "n00001930"  # physical entity


@dataclass(frozen=True)
class Entry:
    """A node of a parent table.

    Attributes:
        id: unique; made from the name if the table has no id.
        name: display name.
        parents: names or ids of its parents; empty for a root.
        synonyms: other names.
        note: a comment.
        where: file and line, for errors.
    """

    id: str
    name: str
    parents: tuple[str, ...] = ()
    synonyms: tuple[str, ...] = ()
    note: str = ""
    where: str = ""


def slug(name: str) -> str:
    """An id made from a name: ``oat-drink``. One word, as ``.tree`` files need, never in the form of a synset id."""
    word = re.sub(r"[^\w.]+", "-", name.lower().strip()).strip("-") or "node"
    return f"{word}-" if is_synset_id(word) else word


@dataclass
class Hierarchy:
    """WordNet with a user's entries on top.

    Attributes:
        wordnet: None if only the user's entries count.
        entries: by id.
        meanings: the node of each name that entries use as a parent and that is not an entry itself.
    """

    wordnet: WordNet | None
    entries: dict[str, Entry] = field(default_factory=dict)
    meanings: dict[str, str] = field(default_factory=dict)
    _by_name: dict[str, str] = field(default_factory=dict)

    def add(self, entry: Entry) -> None:
        """Add an entry, or more parents to an existing one.

        Raises:
            TreeError: the id already belongs to another name.
        """
        known = self.entries.get(entry.id)
        if known is not None and plain_name(known.name) != plain_name(entry.name):
            raise TreeError(
                f"{entry.where}: the id {entry.id!r} must have one name, got {known.name!r} and {entry.name!r}"
            )
        if known is not None:
            entry = replace(
                known,
                parents=tuple(dict.fromkeys([*known.parents, *entry.parents])),
                synonyms=tuple(dict.fromkeys([*known.synonyms, *entry.synonyms])),
                note=known.note or entry.note,
            )
        self.entries[entry.id] = entry
        for name in (entry.name, *entry.synonyms):
            self._by_name.setdefault(plain_name(name), entry.id)

    def copy(self) -> Hierarchy:
        """A copy; adding to it leaves this one unchanged."""
        return Hierarchy(self.wordnet, dict(self.entries), dict(self.meanings), dict(self._by_name))

    def __contains__(self, node: object) -> bool:
        return node in self.entries or (self.wordnet is not None and node in self.wordnet)

    def find_entry(self, name: str) -> str | None:
        """The id of the user's entry with that id, name or synonym; None if there is none."""
        return name if name in self.entries else self._by_name.get(plain_name(name))

    def name(self, node: str) -> str:
        """The display name of a node."""
        if node in self.entries:
            return self.entries[node].name
        assert self.wordnet is not None  # noqa: S101  a node is an entry or a synset
        return self.wordnet.names(node)[0]

    def synonyms(self, node: str) -> tuple[str, ...]:
        """Other names of a node."""
        if node in self.entries:
            return self.entries[node].synonyms
        return () if self.wordnet is None else self.wordnet.names(node)[1:]

    def topic(self, node: str) -> str | None:
        """WordNet's topic of a node, e.g. ``food``; None for a user's entry."""
        return None if node in self.entries or self.wordnet is None else self.wordnet.topic(node)

    def note(self, node: str) -> str:
        """The user's note on a node."""
        return self.entries[node].note if node in self.entries else ""

    def parents(self, node: str) -> tuple[str, ...]:
        """The direct parents of a node."""
        if node not in self.entries:
            return () if self.wordnet is None else self.wordnet.hypernyms(node)
        return tuple(dict.fromkeys(self._parent(name) for name in self.entries[node].parents))

    def parent_names(self) -> set[str]:
        """Names that entries use as parents and that are neither entries nor ids: they must be matched with nodes."""
        named = {name for entry in self.entries.values() for name in entry.parents}
        return {name for name in named if self.find_entry(name) is None and name not in self}

    def _parent(self, name: str) -> str:
        return self.find_entry(name) or self.meanings.get(name, name)

    def is_physical(self, node: str) -> bool:
        """Whether a synset is a physical entity, and so can be visible."""
        return PHYSICAL in self.ancestors(node)

    def ancestors(self, node: str) -> dict[str, None]:
        """The node and all its ancestors, nearest first.

        Raises:
            TreeError: the relations have a cycle through the node.
        """
        ancestors = {node: None}
        level = [node]
        while level:
            level = [parent for child in level for parent in self.parents(child)]
            if node in level:
                raise TreeError(f"{self.entries[node].where}: {self.name(node)!r} must not be its own ancestor")
            level = [parent for parent in dict.fromkeys(level) if parent not in ancestors]
            ancestors |= dict.fromkeys(level)
        return ancestors
