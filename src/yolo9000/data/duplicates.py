"""Images that are the same or nearly so: saved again, resized, or the next frame of a video."""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path, PurePosixPath

import numpy as np
from jaxtyping import Int64, UInt64

from yolo9000.data.dataset import DataSet, OnError, Split
from yolo9000.data.decoding import Decoded, decode_each, unreadable
from yolo9000.data.images import read_image_file
from yolo9000.data.ledger import Ledger
from yolo9000.errors import DataError
from yolo9000.types import Sample

__all__ = [
    "NEAR_BITS",
    "Duplicate",
    "Survey",
    "duplicates_in",
    "find_near_duplicates",
    "group_images",
    "near_pairs",
    "survey",
    "without_duplicates",
]

NEAR_BITS = 8  # of 256: images saved again or resized differ in fewer, different ones in about half
NEIGHBOR_BITS = 40  # of 256: frames of a video that follow each other
_BANDS = NEAR_BITS + 1  # hashes that differ in so few bits are the same in one of the bands
_FRAME = re.compile(r"(.*?)(\d{1,18})$")


@dataclass
class Survey:
    """The images of a data set, each decoded once.

    Attributes:
        samples: those that could be decoded.
        hashes: of their pixels, see `image_hash`.
    """

    samples: list[Sample] = field(default_factory=list)
    hashes: list[UInt64[np.ndarray, " 4"]] = field(default_factory=list)


def survey(data_set: DataSet, on_error: OnError = "error", ledger: Ledger | None = None) -> Survey:
    """Decode every image of a data set once.

    Args:
        data_set: one split.
        on_error: ``error`` stops at the first issue; otherwise images that cannot be decoded are left out, too.
        ledger: counts what is left out and changed.

    Raises:
        DataError: see `DataSet.samples`; an image cannot be decoded and ``on_error`` is ``error``; no image is left.
    """
    ledger = Ledger() if ledger is None else ledger
    surveyed = Survey()
    for sample, outcome in decode_each(data_set.samples(on_error, ledger), lambda sample: sample):
        if isinstance(outcome, Decoded):
            surveyed.samples.append(sample)
            surveyed.hashes.append(outcome.hash)
        elif isinstance(outcome, DataError):
            if on_error == "error":
                raise outcome
            ledger.leave_out(unreadable(sample, outcome))
    if ledger and not surveyed.samples:
        raise DataError(f"{data_set.name}: nothing is left: {'; '.join(ledger.lines())}; the first: {ledger.issues[0]}")
    return surveyed


@dataclass(frozen=True)
class Duplicate:
    """An image that is the same as an earlier one, or nearly so.

    Attributes:
        split, index: of the image.
        of_split, of_index: of the earlier one.
        exact: whether their files are the same to the byte.
        text: one line for people.
    """

    split: Split
    index: int
    of_split: Split
    of_index: int
    exact: bool
    text: str

    def __str__(self) -> str:
        return self.text


_KEPT_FIRST: tuple[Split, ...] = ("test", "val", "train")
"""Of images in several splits that in the first of these is kept: scores must not change by what training has."""


def duplicates_in(surveys: Mapping[Split, Survey]) -> list[Duplicate]:
    """The images that are the same as an earlier one, or nearly so; test comes before val, val before train.

    Exact ones have the same encoded bytes; of near ones the hashes differ in at most `NEAR_BITS` bits.
    """
    positions = [(split, i) for split in _KEPT_FIRST if split in surveys for i in range(len(surveys[split].samples))]
    hashes = [surveys[split].hashes[i] for split, i in positions]
    firsts: dict[int, tuple[int, bool]] = {}
    for later, first in _same_bytes([surveys[split].samples[i] for split, i in positions]).items():
        firsts[later] = first, True
    for first, later in near_pairs(hashes):
        firsts.setdefault(later, (first, False))
    return [
        _duplicate(surveys, positions[later], positions[first], exact)
        for later, (first, exact) in sorted(firsts.items())
    ]


def _same_bytes(samples: Sequence[Sample]) -> dict[int, int]:
    """From each image to the first one with the same bytes."""
    seen: dict[bytes, int] = {}
    same: dict[int, int] = {}
    for index, sample in enumerate(samples):
        source = read_image_file(sample.image)
        data = source.read_bytes() if isinstance(source, Path) else source
        first = seen.setdefault(hashlib.sha256(data).digest(), index)
        if first != index:
            same[index] = first
    return same


def _duplicate(
    surveys: Mapping[Split, Survey], position: tuple[Split, int], first: tuple[Split, int], exact: bool
) -> Duplicate:
    (split, index), (of_split, of_index) = position, first
    name, other = surveys[split].samples[index].name, surveys[of_split].samples[of_index].name
    how = "the same as" if exact else "nearly the same as"
    return Duplicate(split, index, of_split, of_index, exact, f"{split}: {name} is {how} {of_split}: {other}")


def without_duplicates(surveys: Mapping[Split, Survey], duplicates: Iterable[Duplicate]) -> dict[Split, list[Sample]]:
    """The samples of each split without those that are duplicates."""
    gone = {(one.split, one.index) for one in duplicates}
    return {
        split: [sample for i, sample in enumerate(surveyed.samples) if (split, i) not in gone]
        for split, surveyed in surveys.items()
    }


def find_near_duplicates(
    one: Sequence[UInt64[np.ndarray, " 4"]], other: Sequence[UInt64[np.ndarray, " 4"]]
) -> Iterator[tuple[int, int]]:
    """Positions in two lists whose hashes differ in at most `NEAR_BITS` bits, in the order of the first list."""
    count = len(one)
    pairs = [(a, b - count) for a, b in near_pairs([*one, *other]) if a < count <= b]
    yield from sorted(pairs)


def near_pairs(hashes: Sequence[UInt64[np.ndarray, " 4"]]) -> Iterator[tuple[int, int]]:
    """Positions of hashes that differ in at most `NEAR_BITS` bits, the smaller first, each pair once.

    Hashes with few bits set (plain images: a wall, the sky) say too little and are left out. Hashes that near are the
    same in at least one of `NEAR_BITS` + 1 bands of bits, so only those that share a band are compared.
    """
    if not len(hashes):
        return
    stacked = np.stack(hashes)
    telling = np.flatnonzero(np.bitwise_count(stacked).sum(axis=1) > 4 * NEAR_BITS)
    bits = np.unpackbits(stacked.view(np.uint8), axis=1)
    seen: set[tuple[int, int]] = set()
    for band in np.array_split(np.arange(bits.shape[1]), _BANDS):
        buckets: dict[bytes, list[int]] = defaultdict(list)
        for index, key in zip(telling.tolist(), map(bytes, np.packbits(bits[telling][:, band], axis=1)), strict=True):
            buckets[key].append(index)
        for members in buckets.values():
            seen.update(_near_among(np.array(members), stacked))
    yield from sorted(seen)


def _near_among(members: Int64[np.ndarray, " m"], hashes: UInt64[np.ndarray, "n 4"]) -> Iterator[tuple[int, int]]:
    for position, index in enumerate(members[:-1]):
        rest = members[position + 1 :]
        apart = np.bitwise_count(hashes[rest] ^ hashes[index]).sum(axis=1)
        yield from ((int(index), int(match)) for match in rest[apart <= NEAR_BITS])


def group_images(
    names: Sequence[str], hashes: Sequence[UInt64[np.ndarray, " 4"]], group_by: str | None = None
) -> list[list[int]]:
    """Images that belong together, as positions: near duplicates, neighbors in a video, and what a pattern says.

    Neighbors are images whose names differ in the number at their end alone, by one step in their order, and which
    look alike.

    Args:
        names: of the images.
        hashes: of the images.
        group_by: regular expression; images whose names have the same first match (its first group, if it has one)
            belong together.

    Returns:
        The groups in the order of their first members.
    """
    parents = list(range(len(names)))
    for a, b in near_pairs(hashes):
        _join(parents, a, b)
    for a, b in _neighbors(names):
        if np.bitwise_count(hashes[a] ^ hashes[b]).sum() <= NEIGHBOR_BITS:
            _join(parents, a, b)
    if group_by is not None:
        for members in _matched(names, re.compile(group_by)).values():
            for member in members[1:]:
                _join(parents, members[0], member)
    groups: dict[int, list[int]] = {}
    for index in range(len(names)):
        groups.setdefault(_root(parents, index), []).append(index)
    return list(groups.values())


def _matched(names: Sequence[str], pattern: re.Pattern[str]) -> dict[str, list[int]]:
    groups: dict[str, list[int]] = defaultdict(list)
    for index, name in enumerate(names):
        match = pattern.search(name)
        if match is not None:
            groups[match[1] if pattern.groups else match[0]].append(index)
    return groups


def _neighbors(names: Sequence[str]) -> Iterator[tuple[int, int]]:
    videos: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for index, name in enumerate(names):
        path = PurePosixPath(name)
        match = _FRAME.match(str(path.with_suffix("")))
        if match is not None:
            videos[match[1]].append((int(match[2]), index))
    for frames in videos.values():
        frames.sort()
        yield from ((a, b) for (_, a), (_, b) in pairwise(frames))


def _root(parents: list[int], index: int) -> int:
    while parents[index] != index:
        parents[index] = parents[parents[index]]
        index = parents[index]
    return index


def _join(parents: list[int], a: int, b: int) -> None:
    a, b = sorted((_root(parents, a), _root(parents, b)))
    parents[b] = a
