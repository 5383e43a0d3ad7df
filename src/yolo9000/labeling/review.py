"""Which images to label next: those whose labels would teach a detector most.

An image is worth labelling where the detector is unsure (of an object, or of its label) and where it shows something
that no image chosen before shows. Images are chosen one after the other by the product of the two for each click that
they are expected to take.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from yolo9000.errors import ConfigError
from yolo9000.io.documents import parse_csv
from yolo9000.io.files import read_text
from yolo9000.taxonomy.wordtree import WordTree

__all__ = ["MIN_SCORE", "Choice", "choices_csv", "choose", "excluded_names", "expected_clicks", "uncertainty"]

MIN_SCORE = 0.05
"""Boxes below this are noise."""
NOTHING_SEEN = 0.25
"""Expected errors in an image without any box: it is empty, or shows what the detector does not know."""


@dataclass(frozen=True)
class Choice:
    """An image to label.

    Attributes:
        index: its position among the images.
        uncertainty: 0 or more; see `uncertainty`.
        novelty: 0 to 1: how much its predictions differ from those of the most similar image chosen before.
    """

    index: int
    uncertainty: float
    novelty: float


def uncertainty(boxes: Sequence[Mapping[str, Any]]) -> float:
    """How unsure a detector is of an image: of how many of its boxes it is wrong on average.

    The sum over the boxes of min(score, 1 - score). The score is objectness x P(label), so doubt about the object and
    about its label both count. A sum, since an image with many objects teaches more.

    Example:
        >>> uncertainty([{"score": 0.5}, {"score": 0.95}])
        0.55
    """
    if not boxes:
        return NOTHING_SEEN
    scores = [float(box["score"]) for box in boxes]
    return round(sum(min(score, 1 - score) for score in scores), 9)


def expected_clicks(boxes: Sequence[Mapping[str, Any]]) -> float:
    """How many clicks an image takes on average: one for itself, and one for each of its objects.

    Example:
        >>> expected_clicks([{"score": 0.5}, {"score": 0.75}])
        2.25
    """
    return 1.0 + sum(float(box["score"]) for box in boxes)


def choose(records: Sequence[Mapping[str, Any]], tree: WordTree, count: int) -> list[Choice]:
    """Choose images to label, the most useful first.

    Args:
        records: of each image its ``boxes``, with ``id`` of the node and ``score``; those without ``boxes`` could not
            be read and are not chosen.
        tree: whose nodes the labels are.
        count: number of images; fewer are chosen where there are fewer.
    """
    readable = [index for index, record in enumerate(records) if "boxes" in record]
    if not readable:
        return []
    seen = np.stack([_shown(records[index]["boxes"], tree) for index in readable])
    unsure = np.array([uncertainty(records[index]["boxes"]) for index in readable])
    useful = unsure / [expected_clicks(records[index]["boxes"]) for index in readable]
    novelty = np.ones(len(readable))
    left = np.ones(len(readable), bool)
    choices: list[Choice] = []
    while len(choices) < min(count, len(readable)):
        # A small part of the sum keeps an order among images that show nothing new.
        value = np.where(left, useful * (novelty + 1e-3), -1)
        best = int(value.argmax())
        choices.append(Choice(readable[best], float(unsure[best]), float(novelty[best])))
        left[best] = False
        novelty = np.minimum(novelty, 1 - _similarity(seen, seen[best]))
    return choices


def _shown(boxes: Sequence[Mapping[str, Any]], tree: WordTree) -> Float[np.ndarray, " n"]:
    """What an image shows: the highest score of each node, of its own boxes or of those below it."""
    shown = np.zeros(len(tree))
    for box in boxes:
        path = list(tree.path(tree.index_by_id[box["id"]]))
        shown[path] = np.maximum(shown[path], box["score"])
    return shown


def _similarity(seen: Float[np.ndarray, "m n"], other: Float[np.ndarray, " n"]) -> Float[np.ndarray, " m"]:
    """Weighted Jaccard similarity: the common part of what two images show; 1 where neither shows anything."""
    common, either = np.minimum(seen, other).sum(axis=1), np.maximum(seen, other).sum(axis=1)
    return np.asarray(np.divide(common, either, out=np.ones(len(seen)), where=either > 0))


def choices_csv(names: Sequence[str], choices: Sequence[Choice]) -> str:
    """The names of the chosen images and why they were chosen, as CSV."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["image", "uncertainty", "novelty"])
    for name, choice in zip(names, choices, strict=True):
        writer.writerow([name, f"{choice.uncertainty:.4f}", f"{choice.novelty:.4f}"])
    return text.getvalue()


def excluded_names(files: Iterable[Path]) -> set[str]:
    """The images of earlier batches, from their ``choices.csv``.

    Raises:
        ConfigError: a file is not one.
    """
    names: set[str] = set()
    for file in files:
        rows = parse_csv(read_text(file, ConfigError), file, ConfigError)
        if not rows or rows[0][:1] != ["image"]:
            raise ConfigError(f"{file}: must be a choices.csv, whose first column is image", argument="exclude")
        names |= {row[0] for row in rows[1:] if row}
    return names
