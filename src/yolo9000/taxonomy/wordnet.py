"""WordNet's nouns: what is a kind of what. The table comes with the package (see ``WORDNET-LICENSE.txt``).

It holds all 82,115 noun synsets of WordNet 3.0, whose numbers are ImageNet's ids: ``n02084071`` is dog. Made by
``scripts/wordnet_table.py``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.resources import files

import numpy as np
from jaxtyping import Int32, UInt8, UInt32

from yolo9000.errors import TreeError

__all__ = ["TOPICS", "WordNet", "is_synset_id", "singular_forms", "wordnet"]

# WordNet's files of noun synsets by subject, lexnames(5WN); the table holds their numbers, from 3 on
TOPICS = (
    *("top", "act", "animal", "artifact", "attribute", "body", "cognition", "communication", "event", "feeling"),
    *("food", "group", "location", "motive", "object", "person", "phenomenon", "plant", "possession", "process"),
    *("quantity", "relation", "shape", "state", "substance", "time"),
)
FIRST_TOPIC = 3


def is_synset_id(text: str) -> bool:
    """Whether the text has the form of a noun synset's id: ``n`` and eight digits."""
    return re.fullmatch(r"n\d{8}", text) is not None


@dataclass(frozen=True)
class WordNet:
    """The noun synsets and their hypernyms.

    Synsets are named by their ids. Entry i of every array is synset i, by rising id.

    Attributes:
        offsets: the number in each id.
        topics: subject of each, numbered as in WordNet; see `topic`.
        hypernym_indices: the hypernyms of all synsets, one after the other.
        hypernym_counts: how many each has.
        name_lines: the names of each, most usual first, parted by tabs; a line each.
        ranks: of all names in a row, which sense of the name the synset is: 1 is the most frequent.
    """

    offsets: UInt32[np.ndarray, " n"]
    topics: UInt8[np.ndarray, " n"]
    hypernym_indices: Int32[np.ndarray, " h"]
    hypernym_counts: UInt8[np.ndarray, " n"]
    name_lines: tuple[str, ...]
    ranks: UInt8[np.ndarray, " m"]

    def __len__(self) -> int:
        return len(self.offsets)

    def __contains__(self, synset: object) -> bool:
        return synset in self._places

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def names(self, synset: str) -> tuple[str, ...]:
        """All names of a synset, the most usual first; ``("dog", "domestic dog", "Canis familiaris")``.

        Raises:
            TreeError: there is no such synset.
        """
        return tuple(self.name_lines[self._place(synset)].split("\t"))

    def topic(self, synset: str) -> str:
        """The subject that WordNet files a synset under, one of `TOPICS`.

        Raises:
            TreeError: there is no such synset.
        """
        return TOPICS[int(self.topics[self._place(synset)]) - FIRST_TOPIC]

    def hypernyms(self, synset: str) -> tuple[str, ...]:
        """What a synset is a kind, or an instance, of: none for ``n00001740`` (entity), more than one for some 2,200.

        Raises:
            TreeError: there is no such synset.
        """
        place = self._place(synset)
        end = int(self._hypernym_ends[place])
        places = self.hypernym_indices[end - int(self.hypernym_counts[place]) : end]
        return tuple(self._ids[place] for place in places.tolist())

    def senses(self, name: str) -> tuple[str, ...]:
        """The synsets that a name stands for, the most frequent sense first; none for an unknown name.

        Upper and lower case are the same, and so are blanks, hyphens and underscores.
        """
        return tuple(synset for _, synset in sorted(self._by_name.get(_plain(name), ())))

    @cached_property
    def _ids(self) -> tuple[str, ...]:
        return tuple(f"n{offset:08}" for offset in self.offsets.tolist())

    @cached_property
    def _places(self) -> dict[str, int]:
        return {synset: place for place, synset in enumerate(self._ids)}

    @cached_property
    def _hypernym_ends(self) -> np.ndarray:
        return np.cumsum(self.hypernym_counts, dtype=np.int64)

    @cached_property
    def _by_name(self) -> dict[str, list[tuple[int, str]]]:
        found: dict[str, list[tuple[int, str]]] = {}
        ranks = iter(self.ranks.tolist())
        for synset, line in zip(self, self.name_lines, strict=True):
            for name in line.split("\t"):
                found.setdefault(_plain(name), []).append((next(ranks), synset))
        return found

    def _place(self, synset: str) -> int:
        place = self._places.get(synset)
        if place is None:
            raise TreeError(f"{synset!r} must be the id of a noun synset of WordNet 3.0, such as n02084071")
        return place


def _plain(name: str) -> str:
    return " ".join(re.split(r"[\s_\-]+", name.lower().strip()))


def singular_forms(name: str) -> Iterator[str]:
    """What a name may be the plural of, likeliest first: carrots, cherries, potatoes, skis. WordNet: morphy(7WN)."""
    for ending, instead in (("ies", "y"), ("ves", "fe"), ("ves", "f"), ("men", "man"), ("s", ""), ("es", "")):
        if name.lower().endswith(ending) and len(name) > len(ending) + 1:
            yield name[: -len(ending)] + instead


@cache
def wordnet() -> WordNet:
    """WordNet 3.0, read once."""
    with (files("yolo9000.taxonomy") / "wordnet.npz").open("rb") as stream, np.load(stream) as table:
        return WordNet(
            offsets=table["offsets"],
            topics=table["topics"],
            hypernym_indices=table["hypernyms"],
            hypernym_counts=table["hypernym_counts"],
            name_lines=tuple(table["names"].tobytes().decode().split("\n")),
            ranks=table["ranks"],
        )
