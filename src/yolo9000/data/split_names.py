"""What people call the splits of a data set: ``valid``, ``val2017``, ``Train``, ``trainval`` ..."""

from __future__ import annotations

import re
from collections.abc import Iterable

from yolo9000.data.format import Split

__all__ = ["UNDIVIDED", "by_split", "split_of"]

UNDIVIDED = ""
"""Stands for the split of what is not divided."""

_WORDS: dict[str, Split] = {
    "train": "train",
    "training": "train",
    "trainval": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "validate": "val",
    "dev": "val",
    "eval": "val",
    "minival": "val",
    "test": "test",
    "testing": "test",
}
_WORD = re.compile(r"[a-z]+")


def split_of(name: str) -> Split | None:
    """The split that the name of a folder or a file stands for, by the first word that says so; None: none.

    >>> split_of("instances_val2017"), split_of("Valid"), split_of("images")
    ('val', 'val', None)
    """
    words = _WORD.findall(name.lower())
    return next((_WORDS[word] for word in words if word in _WORDS), None)


def by_split(names: Iterable[str]) -> dict[str, str]:
    """The name that stands for each split; of several, such as ``train`` and ``trainval``, the plainest.

    ``trainval`` is left out where its two halves are both there.
    """
    names_of: dict[str, str] = {}
    for name in sorted(names, key=_plainness):
        split = split_of(name)
        if split is not None:
            names_of.setdefault(split, name)
    return {split: names_of[split] for split in ("train", "val", "test") if split in names_of}


def _plainness(name: str) -> tuple[bool, int, str]:
    return "trainval" in name.lower(), len(name), name
