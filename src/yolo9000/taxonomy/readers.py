"""Parent tables: the user's own is-a relations, as CSV, YAML or SKOS.

For example::

    name,parent,id,synonyms,note          # CSV; all columns but `name` may be missing or empty
    Granny Smith,apple
    oat drink,milk,oat-drink,oat milk;havredryck,"not a dairy product"

    - {name: Granny Smith, parent: apple}                      # YAML
    - {name: oat drink, parent: milk, synonyms: [oat milk]}

A parent is the name or id of another entry, or the id of a WordNet synset. An entry may be repeated, each time with
another parent.
Taxonomies with all ancestors on a line (Google's products, SpeciesNet, Darwin Core) are read by `taxonomy.paths`,
the hierarchy of Open Images (JSON) by `taxonomy.openimages`.
SKOS is read as Turtle, N-Triples or RDF/XML: ``skos:broader`` (or ``narrower``), ``prefLabel``, ``altLabel``, ``note``.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yolo9000.errors import TreeError
from yolo9000.io.documents import parse_yaml
from yolo9000.io.files import read_text
from yolo9000.taxonomy.hierarchy import Entry, slug
from yolo9000.taxonomy.openimages import hierarchy_entries
from yolo9000.taxonomy.paths import is_darwin_core, path_entries, rank_entries

if TYPE_CHECKING:
    from rdflib import Graph

__all__ = ["read_parent_table"]

COLUMNS = ("name", "parent", "id", "synonyms", "note")
SKOS = "http://www.w3.org/2004/02/skos/core#"
SKOS_FORMATS = {".ttl": "turtle", ".nt": "nt", ".rdf": "xml", ".xml": "xml"}
EXAMPLE = "{name: Granny Smith, parent: apple}"


def read_parent_table(path: str | Path) -> list[Entry]:
    """Read a parent table; this module's docstring describes the formats.

    Raises:
        TreeError: the file cannot be read or is invalid; names the line or entry.
    """
    path = Path(path)
    if path.suffix in SKOS_FORMATS:
        return _read_skos(path)
    text = read_text(path, TreeError)
    match path.suffix:
        case ".txt":
            return path_entries(text.splitlines(), path)
        case ".csv" | ".tsv":
            return list(_read_rows(path, text))
        case ".yaml" | ".yml":
            return list(_read_yaml(path, text))
        case ".json":
            return hierarchy_entries(text, path)
        case _:
            suffixes = ", ".join([".csv", ".tsv", ".yaml", ".txt", ".json", *SKOS_FORMATS])
            raise TreeError(f"{path}: must be a parent table ({suffixes})")


def _read_rows(path: Path, text: str) -> Iterable[Entry]:
    rows = csv.DictReader(io.StringIO(text, newline=""), delimiter="\t" if path.suffix == ".tsv" else ",")
    header = [name.strip() for name in rows.fieldnames or ()]
    if not is_darwin_core(header) and ("name" not in header or set(header) - set(COLUMNS)):
        raise TreeError(
            f"{path}:1: the header must have name and may have {', '.join(COLUMNS[1:])}, got {', '.join(header)[:80]!r}"
        )
    rows.fieldnames = header
    try:
        if is_darwin_core(header):
            yield from rank_entries((f"{path}:{rows.line_num}", row) for row in rows)
            return
        for row in rows:
            where = f"{path}:{rows.line_num}"
            if None in row or None in row.values():
                raise TreeError(f"{where}: must have {len(header)} fields, like the header")
            synonyms = [word.strip() for word in row.get("synonyms", "").split(";")]
            yield _entry({**row, "synonyms": [word for word in synonyms if word]}, where)
    except csv.Error as error:
        raise TreeError(f"{path}:{rows.line_num}: must be CSV: {error}") from None


def _read_yaml(path: Path, text: str) -> Iterable[Entry]:
    contents = parse_yaml(text, path, TreeError)
    if not isinstance(contents, list):
        raise TreeError(f"{path}: must be a list of entries, e.g. {EXAMPLE}")
    for number, item in enumerate(contents, 1):
        if not isinstance(item, dict):
            raise TreeError(f"{path}: entry {number}: must be a mapping, e.g. {EXAMPLE}")
        yield _entry(item, f"{path}: entry {number}")


def _entry(fields: Mapping[str, Any], where: str) -> Entry:
    if set(fields) - set(COLUMNS):
        raise TreeError(f"{where}: keys must be {', '.join(COLUMNS)}, got {', '.join(map(str, fields))[:80]!r}")
    texts = {key: fields.get(key) or "" for key in ("name", "parent", "id", "note")}
    synonyms = fields.get("synonyms") or []
    for key, value in (*texts.items(), *(("synonyms", word) for word in _as_list(synonyms))):
        if not isinstance(value, str):
            raise TreeError(f"{where}: {key} must be text (quote yes, no and numbers in YAML), got {value!r}")
    name, parent, entry_id, note = (value.strip() for value in texts.values())
    if not name:
        raise TreeError(f"{where}: name must not be empty")
    if entry_id.split() != [entry_id] and entry_id:
        raise TreeError(f"{where}: id must be one word, got {entry_id[:80]!r}")
    return Entry(entry_id or slug(name), name, (parent,) if parent else (), tuple(_as_list(synonyms)), note, where)


def _as_list(value: object) -> Sequence[Any]:
    return value if isinstance(value, list) else [value]


def _read_skos(path: Path) -> list[Entry]:
    graph = _parse_skos(path)
    concepts, broader = _concepts(graph)
    if not concepts:
        raise TreeError(f"{path}: must have skos:Concept or skos:broader, has neither")
    ids = {concept: slug(re.split(r"[/#:]", concept.rstrip("/#"))[-1]) for concept in sorted(concepts)}
    parents: dict[str, list[str]] = {concept: [] for concept in ids}
    for child, parent in sorted(broader):
        parents[child].append(ids[parent])
    return [
        Entry(
            ids[concept],
            next(iter(_texts(graph, concept, "prefLabel")), ids[concept]),
            tuple(parents[concept]),
            tuple(_texts(graph, concept, "altLabel")),
            " ".join(_texts(graph, concept, "note")),
            f"{path}: {concept}",
        )
        for concept in ids
    ]


def _parse_skos(path: Path) -> Graph:
    try:
        from rdflib import Graph
    except ImportError:
        raise TreeError(f'{path}: SKOS needs rdflib: pip install "yolo9000[skos]"') from None
    text = read_text(path, TreeError)
    graph = Graph()
    try:
        graph.parse(data=text, format=SKOS_FORMATS[path.suffix])
    except Exception as error:  # rdflib's parsers raise whatever their parts raise
        raise TreeError(f"{path}: must be {SKOS_FORMATS[path.suffix]}: {' '.join(str(error).split())[:200]}") from None
    return graph


def _concepts(graph: Graph) -> tuple[set[str], set[tuple[str, str]]]:
    """All concepts, and their (child, parent) pairs."""
    from rdflib import URIRef
    from rdflib.namespace import RDF

    concepts = {str(node) for node in graph.subjects(RDF.type, URIRef(SKOS + "Concept"))}
    broader = {(str(child), str(parent)) for child, parent in graph.subject_objects(URIRef(SKOS + "broader"))}
    broader |= {(str(child), str(parent)) for parent, child in graph.subject_objects(URIRef(SKOS + "narrower"))}
    return concepts | {node for pair in broader for node in pair}, broader


def _texts(graph: Graph, concept: str, term: str) -> list[str]:
    from rdflib import URIRef

    return sorted(str(value) for value in graph.objects(URIRef(concept), URIRef(SKOS + term)))
