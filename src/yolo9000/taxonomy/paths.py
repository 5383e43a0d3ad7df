"""Taxonomies that give each node with all its ancestors, as users have them.

- ``.txt``: a path a line: Google's product taxonomy (``3237 - Animals & Pet Supplies > Live Animals``), SpeciesNet's
  labels (``UUID;mammalia;carnivora;canidae;vulpes;vulpes;red fox``), or plain ``animal;dog;terrier``. Lines that begin
  with ``#`` are comments.
- ``.csv``, ``.tsv``: Darwin Core, as GBIF exports it: columns ``kingdom`` to ``species`` or ``scientificName``, and
  ``vernacularName``.

The id of a node is made from its path, since names repeat on other branches.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from yolo9000.errors import TreeError
from yolo9000.taxonomy.hierarchy import Entry, slug

__all__ = ["RANKS", "is_darwin_core", "path_entries", "rank_entries"]

RANKS = ("kingdom", "phylum", "class", "order", "family", "genus", "species")
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_NUMBERED = re.compile(r"^\d+ - ")
_SPECIESNET_FIELDS = 7  # id, class, order, family, genus, species, common name


def path_entries(lines: Iterable[str], name: object) -> list[Entry]:
    """The nodes of a list of paths, and their ancestors, each once; see this module's docstring.

    Args:
        lines: of the file.
        name: of the file, for errors.

    Raises:
        TreeError: a line has an empty part, or there are none.
    """
    entries: dict[str, Entry] = {}
    for number, line in enumerate(lines, 1):
        if line.strip() and not line.startswith("#"):
            path, synonyms = _parsed(line.strip(), f"{name}:{number}")
            _add(entries, path, synonyms, f"{name}:{number}")
    if not entries:
        raise TreeError(f"{name}: must have a path a line, e.g. animal;dog;terrier, has none")
    return list(entries.values())


def _parsed(line: str, where: str) -> tuple[list[str], tuple[str, ...]]:
    if len(fields := line.split(";")) == _SPECIESNET_FIELDS and _UUID.fullmatch(fields[0]):
        *ranks, common = (field.strip() for field in fields[1:])
        return _biological(ranks, common)
    parts = [part.strip() for part in (_NUMBERED.sub("", line, count=1).split(" > ") if " > " in line else fields)]
    if not all(parts):
        raise TreeError(f"{where}: a path must have no empty part, got {line[:80]!r}")
    return parts, ()


def is_darwin_core(header: Sequence[str]) -> bool:
    """Whether the columns of a table are ranks of Darwin Core."""
    return len(set(header) & set(RANKS)) >= 2


def rank_entries(rows: Iterable[tuple[str, Mapping[str, str | None]]]) -> Iterator[Entry]:
    """The nodes of a table of Darwin Core, from (where, row)."""
    entries: dict[str, Entry] = {}
    for where, row in rows:
        ranks = [(row.get(rank) or "").strip() for rank in RANKS]
        ranks[-1] = ranks[-1] or _without_author((row.get("scientificName") or "").strip(), ranks[-2])
        if not any(ranks):
            raise TreeError(f"{where}: must have a rank from {RANKS[0]} to {RANKS[-1]}, has none")
        path, synonyms = _biological(ranks, (row.get("vernacularName") or "").strip())
        _add(entries, path, synonyms, where)
    return iter(entries.values())


def _without_author(scientific: str, genus: str) -> str:
    """``Vulpes vulpes (Linnaeus, 1758)`` to ``Vulpes vulpes``; empty where it is no species of the genus."""
    words = scientific.split()
    return " ".join(words[:2]) if len(words) > 1 and words[0] == genus and words[1].islower() else ""


def _biological(ranks: Sequence[str], common: str) -> tuple[list[str], tuple[str, ...]]:
    """The ranks that are filled, the species with its genus; the common name as a synonym of the last."""
    *above, genus, species = ranks
    if species and genus and not species.startswith(f"{genus} "):
        species = f"{genus} {species}"
    path = [rank for rank in (*above, genus, species) if rank]
    synonyms = (common,) if common and common.lower() not in {rank.lower() for rank in path} else ()
    return (path, synonyms) if path else ([common], ())


def _add(entries: dict[str, Entry], path: Sequence[str], synonyms: tuple[str, ...], where: str) -> None:
    parent: tuple[str, ...] = ()
    for depth in range(1, len(path) + 1):
        node = slug(" ".join(path[:depth]))
        last = synonyms if depth == len(path) else ()
        known = entries.get(node, Entry(node, path[depth - 1], parent, (), "", where))
        merged = tuple(dict.fromkeys([*known.synonyms, *last]))
        entries[node] = Entry(node, known.name, known.parents, merged, known.note, known.where)
        parent = (node,)
