"""What is a kind of what: WordNet, and over it what the user says.

A user's own table of parents is a CSV file, YAML, or SKOS::

    name,parent,id,synonyms,note          # CSV; all but `name` may be left out or empty
    Granny Smith,apple
    oat drink,milk,oat-drink,oat milk;havredryck,"not a dairy product"

    - {name: Granny Smith, parent: apple}                      # YAML
    - {name: oat drink, parent: milk, synonyms: [oat milk]}

Parents are names or ids of other entries, or of WordNet's synsets. An entry may stand several times, each time with
another parent.
SKOS is read as Turtle, N-Triples or RDF/XML: ``skos:broader`` (or ``narrower``), ``prefLabel``, ``altLabel``, ``note``.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from yolo9000.errors import TreeError
from yolo9000.taxonomy.wordnet import WordNet, is_synset_id

__all__ = ["Entry", "Hierarchy", "plain_name", "read_parent_table", "slug"]

MAX_BYTES = 64_000_000
COLUMNS = ("name", "parent", "id", "synonyms", "note")
SKOS = "http://www.w3.org/2004/02/skos/core#"
SKOS_FORMATS = {".ttl": "turtle", ".nt": "nt", ".rdf": "xml", ".xml": "xml"}


@dataclass(frozen=True)
class Entry:
    """A node that a user's table names.

    Attributes:
        id: unique; where the table gives none, made of the name.
        name: to show.
        parents: names or ids of what it is a kind of; none for a top node.
        synonyms: other names.
        note: anything.
        where: it stands, for errors.
    """

    id: str
    name: str
    parents: tuple[str, ...] = ()
    synonyms: tuple[str, ...] = ()
    note: str = ""
    where: str = ""


def plain_name(name: str) -> str:
    """A name without what does not tell names apart: case, blanks, hyphens, underscores."""
    return " ".join(re.split(r"[\s_\-]+", name.lower().strip()))


def slug(name: str) -> str:
    """An id made of a name: ``oat-drink``. One word, as a ``.tree`` wants it, and never like a synset's id."""
    word = re.sub(r"[^\w.]+", "-", name.lower().strip()).strip("-") or "node"
    return f"{word}-" if is_synset_id(word) else word


@dataclass
class Hierarchy:
    """WordNet with a user's entries over it.

    Attributes:
        wordnet: None where only the user's entries count.
        entries: by id.
        meanings: node of each name that entries call their parent and that is no entry itself.
    """

    wordnet: WordNet | None
    entries: dict[str, Entry] = field(default_factory=dict)
    meanings: dict[str, str] = field(default_factory=dict)
    _by_name: dict[str, str] = field(default_factory=dict)

    def add(self, entry: Entry) -> None:
        """Add an entry, or parents to one that is there.

        Raises:
            TreeError: the id stands for another name already.
        """
        there = self.entries.get(entry.id)
        if there is not None and plain_name(there.name) != plain_name(entry.name):
            raise TreeError(
                f"{entry.where}: the id {entry.id!r} must stand for one name, got {there.name!r} and {entry.name!r}"
            )
        if there is not None:
            entry = replace(
                there,
                parents=tuple(dict.fromkeys([*there.parents, *entry.parents])),
                synonyms=tuple(dict.fromkeys([*there.synonyms, *entry.synonyms])),
                note=there.note or entry.note,
            )
        self.entries[entry.id] = entry
        for name in (entry.name, *entry.synonyms):
            self._by_name.setdefault(plain_name(name), entry.id)

    def copy(self) -> Hierarchy:
        """One that can be added to without changing this one."""
        return Hierarchy(self.wordnet, dict(self.entries), dict(self.meanings), dict(self._by_name))

    def __contains__(self, node: object) -> bool:
        return node in self.entries or (self.wordnet is not None and node in self.wordnet)

    def own(self, name: str) -> str | None:
        """The user's entry of that id, name or synonym; None where there is none."""
        return name if name in self.entries else self._by_name.get(plain_name(name))

    def name(self, node: str) -> str:
        """What to show for a node."""
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
        """The subject that WordNet files a node under; None for a user's entry."""
        return None if node in self.entries or self.wordnet is None else self.wordnet.topic(node)

    def note(self, node: str) -> str:
        """What a user's table says about a node."""
        return self.entries[node].note if node in self.entries else ""

    def parents(self, node: str) -> tuple[str, ...]:
        """The nodes that a node is a kind of."""
        if node not in self.entries:
            return () if self.wordnet is None else self.wordnet.hypernyms(node)
        return tuple(dict.fromkeys(self._parent(name) for name in self.entries[node].parents))

    def parent_names(self) -> set[str]:
        """Names that entries call their parent and that are neither entries nor ids: what they mean must be settled."""
        named = {name for entry in self.entries.values() for name in entry.parents}
        return {name for name in named if self.own(name) is None and name not in self}

    def _parent(self, name: str) -> str:
        return self.own(name) or self.meanings.get(name, name)

    def is_physical(self, node: str) -> bool:
        """Whether a synset is a kind of physical entity, and so can be seen."""
        return PHYSICAL in self.above(node)

    def above(self, node: str) -> dict[str, None]:
        """The node and all that it is a kind of, nearest first.

        Raises:
            TreeError: it is a kind of itself.
        """
        found = {node: None}
        level = [node]
        while level:
            level = [parent for child in level for parent in self.parents(child)]
            if node in level:
                raise TreeError(f"{self.entries[node].where}: {self.name(node)!r} must not be a kind of itself")
            level = [parent for parent in dict.fromkeys(level) if parent not in found]
            found |= dict.fromkeys(level)
        return found


PHYSICAL = "n00001930"  # physical entity


def read_parent_table(path: str | Path) -> list[Entry]:
    """Read a user's own table of parents; see the top of this module.

    Raises:
        TreeError: the file cannot be read or is wrong: line or entry, what must hold and what came.
    """
    path = Path(path)
    if path.suffix in SKOS_FORMATS:
        return _read_skos(path)
    text = _read_text(path)
    match path.suffix:
        case ".csv" | ".tsv":
            return list(_read_rows(path, text))
        case ".yaml" | ".yml":
            return list(_read_yaml(path, text))
        case _:
            suffixes = ", ".join([".csv", ".tsv", ".yaml", *SKOS_FORMATS])
            raise TreeError(f"{path}: must be a table of parents ({suffixes})")


def _read_text(path: Path) -> str:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise TreeError(f"{path}: must have at most {MAX_BYTES:,} bytes, has {path.stat().st_size:,}")
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise TreeError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise TreeError(f"{path}: must be text in UTF-8") from None


def _read_rows(path: Path, text: str) -> Iterable[Entry]:
    rows = csv.DictReader(io.StringIO(text, newline=""), delimiter="\t" if path.suffix == ".tsv" else ",")
    header = [name.strip() for name in rows.fieldnames or ()]
    if "name" not in header or set(header) - set(COLUMNS):
        raise TreeError(
            f"{path}:1: must be a header with name, and of {', '.join(COLUMNS)}, got {', '.join(header)[:80]!r}"
        )
    rows.fieldnames = header
    try:
        for row in rows:
            where = f"{path}:{rows.line_num}"
            if None in row or None in row.values():
                raise TreeError(f"{where}: must have {len(header)} fields, as the header has")
            synonyms = [word.strip() for word in row.get("synonyms", "").split(";")]
            yield _entry({**row, "synonyms": [word for word in synonyms if word]}, where)
    except csv.Error as error:
        raise TreeError(f"{path}:{rows.line_num}: must be CSV: {error}") from None


def _read_yaml(path: Path, text: str) -> Iterable[Entry]:
    try:
        contents = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise TreeError(f"{path}: must be YAML: {' '.join(str(error).split())}") from None
    if not isinstance(contents, list):
        raise TreeError(f"{path}: must be a list of entries such as {{name: Granny Smith, parent: apple}}")
    for number, row in enumerate(contents, 1):
        if not isinstance(row, dict):
            raise TreeError(f"{path}: entry {number}: must be an entry such as {{name: Granny Smith, parent: apple}}")
        yield _entry(row, f"{path}: entry {number}")


def _entry(row: Mapping[str, Any], where: str) -> Entry:
    if set(row) - set(COLUMNS):
        raise TreeError(f"{where}: must have keys of {', '.join(COLUMNS)}, got {', '.join(map(str, row))[:80]!r}")
    texts = {key: row.get(key) or "" for key in ("name", "parent", "id", "note")}
    synonyms = row.get("synonyms") or []
    for key, value in (*texts.items(), *(("synonyms", word) for word in _as_list(synonyms))):
        if not isinstance(value, str):
            raise TreeError(f"{where}: {key} must be text (in YAML put yes, no and numbers in quotes), got {value!r}")
    name, parent, entry_id, note = (value.strip() for value in texts.values())
    if not name:
        raise TreeError(f"{where}: name must not be empty")
    if entry_id.split() != [entry_id] and entry_id:
        raise TreeError(f"{where}: id must be one word, got {entry_id[:80]!r}")
    return Entry(entry_id or slug(name), name, (parent,) if parent else (), tuple(_as_list(synonyms)), note, where)


def _as_list(value: object) -> Sequence[Any]:
    return value if isinstance(value, list) else [value]


def _read_skos(path: Path) -> list[Entry]:
    try:
        from rdflib import Graph, URIRef
        from rdflib.namespace import RDF
    except ImportError:
        raise TreeError(f'{path}: SKOS needs rdflib: pip install "yolo9000[skos]"') from None
    text = _read_text(path)
    graph = Graph()
    try:
        graph.parse(data=text, format=SKOS_FORMATS[path.suffix])
    except Exception as error:  # rdflib's parsers raise whatever their parts raise
        raise TreeError(f"{path}: must be {SKOS_FORMATS[path.suffix]}: {' '.join(str(error).split())[:200]}") from None
    term = {name: URIRef(SKOS + name) for name in ("Concept", "broader", "narrower", "prefLabel", "altLabel", "note")}
    concepts = {str(node) for node in graph.subjects(RDF.type, term["Concept"])}
    broader = {(str(child), str(parent)) for child, parent in graph.subject_objects(term["broader"])}
    broader |= {(str(child), str(parent)) for parent, child in graph.subject_objects(term["narrower"])}
    concepts |= {node for pair in broader for node in pair}
    if not concepts:
        raise TreeError(f"{path}: must hold skos:Concept or skos:broader, holds none")
    ids = {concept: slug(re.split(r"[/#:]", concept.rstrip("/#"))[-1]) for concept in sorted(concepts)}

    def texts(concept: str, name: str) -> list[str]:
        return sorted(str(value) for value in graph.objects(URIRef(concept), term[name]))

    return [
        Entry(
            ids[concept],
            next(iter(texts(concept, "prefLabel")), ids[concept]),
            tuple(ids[parent] for child, parent in sorted(broader) if child == concept),
            tuple(texts(concept, "altLabel")),
            " ".join(texts(concept, "note")),
            f"{path}: {concept}",
        )
        for concept in sorted(concepts)
    ]
