"""WordNet's nouns and their hypernyms. The table is bundled with the package (see ``WORDNET-LICENSE.txt``).

It has all 82,115 noun synsets of WordNet 3.0, whose offsets are ImageNet's ids: ``n02084071`` is dog. Made by
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

__all__ = ["TOPICS", "WordNet", "is_synset_id", "plain_name", "singular_forms", "wordnet"]

# WordNet's lexicographer files of nouns, lexnames(5WN); the table has their numbers, from 3 on
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

    Synsets are identified by their ids. Element i of an array belongs to synset i, in ascending order of ids.

    Attributes:
        offsets: the number in each id.
        topics: topic of each, numbered as in WordNet; see `topic`.
        hypernym_indices: the hypernyms of all synsets, concatenated.
        hypernym_counts: number of hypernyms of each.
        name_lines: the names of each, most common first, separated by tabs.
        ranks: for all names, concatenated, which sense of the name the synset is; 1 is the most frequent.
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
        return synset in self._indices

    def __iter__(self) -> Iterator[str]:
        return iter(self._indices)

    def names(self, synset: str) -> tuple[str, ...]:
        """All names of a synset, the most common first; ``("dog", "domestic dog", "Canis familiaris")``.

        Raises:
            TreeError: no synset has this id.
        """
        return tuple(self.name_lines[self._index(synset)].split("\t"))

    def topic(self, synset: str) -> str:
        """The lexicographer file of a synset, one of `TOPICS`.

        Raises:
            TreeError: no synset has this id.
        """
        return TOPICS[int(self.topics[self._index(synset)]) - FIRST_TOPIC]

    def hypernyms(self, synset: str) -> tuple[str, ...]:
        """The synsets that a synset is a kind or instance of: none for ``n00001740`` (entity), several for about 2,200.

        Raises:
            TreeError: no synset has this id.
        """
        index = self._index(synset)
        end = int(self._hypernym_ends[index])
        hypernyms = self.hypernym_indices[end - int(self.hypernym_counts[index]) : end]
        return tuple(self._ids[hypernym] for hypernym in hypernyms.tolist())

    def senses(self, name: str) -> tuple[str, ...]:
        """The synsets of a name, the most frequent sense first; empty for an unknown name.

        Case, spaces, hyphens and underscores do not matter.
        """
        return tuple(synset for _, synset in sorted(self._by_name.get(plain_name(name), ())))

    @cached_property
    def _ids(self) -> tuple[str, ...]:
        return tuple(f"n{offset:08}" for offset in self.offsets.tolist())

    @cached_property
    def _indices(self) -> dict[str, int]:
        return {synset: index for index, synset in enumerate(self._ids)}

    @cached_property
    def _hypernym_ends(self) -> np.ndarray:
        return np.cumsum(self.hypernym_counts, dtype=np.int64)

    @cached_property
    def _by_name(self) -> dict[str, list[tuple[int, str]]]:
        synsets: dict[str, list[tuple[int, str]]] = {}
        ranks = iter(self.ranks.tolist())
        for synset, line in zip(self, self.name_lines, strict=True):
            for name in line.split("\t"):
                synsets.setdefault(plain_name(name), []).append((next(ranks), synset))
        return synsets

    def _index(self, synset: str) -> int:
        index = self._indices.get(synset)
        if index is None:
            raise TreeError(f"{synset!r} must be the id of a noun synset of WordNet 3.0, e.g. n02084071")
        return index


def plain_name(name: str) -> str:
    """A name without differences in case, spaces, hyphens and underscores."""
    return " ".join(re.split(r"[\s_\-]+", name.lower().strip()))


def singular_forms(name: str) -> Iterator[str]:
    """What a name may be the plural of, most likely first: carrots, cherries, potatoes, skis. WordNet: morphy(7WN)."""
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
