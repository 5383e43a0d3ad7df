"""Make the table of WordNet's noun synsets that comes with the package.

    apt-get download wordnet-base && dpkg -x wordnet-base_*.deb wordnet
    python scripts/wordnet_table.py wordnet/usr/share/wordnet src/yolo9000/labels/wordnet.npz

The two files that are read are described in WordNet's manual, wndb(5WN).
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

HYPERNYMS = ("@", "@i")  # kind of, and instance of


@dataclass(frozen=True)
class Synset:
    offset: int
    topic: int
    names: list[str]
    hypernyms: list[int]


def read_synsets(path: Path) -> Iterator[Synset]:
    """``data.noun``: offset, lexicographer file, type, count of words (hex), words with lex_id, pointers, | gloss."""
    for line in path.read_text(encoding="ascii").splitlines():
        if line.startswith("  "):  # the licence
            continue
        fields = line.split(" ")
        words = int(fields[3], 16)
        names = [name.replace("_", " ") for name in fields[4 : 4 + 2 * words : 2]]
        first = 4 + 2 * words
        pointers = fields[first + 1 : first + 1 + 4 * int(fields[first])]
        kinds, offsets, types = pointers[0::4], pointers[1::4], pointers[2::4]
        hypernyms = [
            int(offset)
            for kind, offset, of_type in zip(kinds, offsets, types, strict=True)
            if kind in HYPERNYMS and of_type == "n"
        ]
        yield Synset(int(fields[0]), int(fields[1]), names, hypernyms)


def read_ranks(path: Path) -> dict[tuple[str, int], int]:
    """``index.noun``: for each word its synsets, the most frequent sense first; the rank of each, from 1."""
    ranks = {}
    for line in path.read_text(encoding="ascii").splitlines():
        if line.startswith("  "):
            continue
        fields = line.split()
        for rank, offset in enumerate(fields[-int(fields[2]) :], 1):
            ranks[fields[0].replace("_", " "), int(offset)] = rank
    return ranks


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wordnet", type=Path, help="folder of data.noun and index.noun")
    parser.add_argument("out", type=Path)
    options = parser.parse_args()
    synsets = sorted(read_synsets(options.wordnet / "data.noun"), key=lambda synset: synset.offset)
    ranks = read_ranks(options.wordnet / "index.noun")
    index = {synset.offset: number for number, synset in enumerate(synsets)}
    np.savez_compressed(
        options.out,
        offsets=np.array([synset.offset for synset in synsets], np.uint32),
        topics=np.array([synset.topic for synset in synsets], np.uint8),
        hypernyms=np.array([index[offset] for synset in synsets for offset in synset.hypernyms], np.int32),
        hypernym_counts=np.array([len(synset.hypernyms) for synset in synsets], np.uint8),
        names=np.frombuffer("\n".join("\t".join(synset.names) for synset in synsets).encode(), np.uint8),
        ranks=np.array([ranks[name.lower(), synset.offset] for synset in synsets for name in synset.names], np.uint8),
    )
    print(f"{len(synsets):,} synsets, {options.out.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
