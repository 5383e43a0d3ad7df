"""Divide a data set into training, validation and test images, so that like images stay together."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from jaxtyping import Bool, Float64, Int64

from yolo9000.data.dataset import DataSet, Split
from yolo9000.data.duplicates import Survey, group_images
from yolo9000.errors import ConfigError, DataError
from yolo9000.io.files import write_atomically
from yolo9000.types import Sample

__all__ = ["hold_out", "split_survey", "write_subsets"]


def hold_out(
    surveyed: Survey, fraction: float, *, group_by: str | None = None, classes: int = 0
) -> Bool[np.ndarray, " n"]:
    """Which images to keep out of training, for validation.

    The choice follows from the images' pixels alone: the same images give the same choice, in whatever order and under
    whatever names they come, unless names say that images belong together. Near duplicates and neighbors in a video
    are never divided.

    Args:
        surveyed: the images.
        fraction: of the images, 0 to 1, as nearly as groups allow; at least one image on each side.
        group_by: see `group_images`.
        classes: number of classes whose frequencies are to be alike on both sides; 0 leaves them to chance.

    Returns:
        One entry for each sample.

    Raises:
        ConfigError: the fraction is not between 0 and 1, or the pattern is not a regular expression.
        DataError: all images belong together.
    """
    splits = split_survey(surveyed, {"val": fraction}, group_by=group_by, classes=classes)
    return np.array([split == "val" for split in splits], np.bool_)


def split_survey(
    surveyed: Survey, fractions: Mapping[Split, float], *, group_by: str | None = None, classes: int = 0
) -> list[Split]:
    """The split of each image; what no other split takes is ``train``.

    Args:
        surveyed: the images.
        fractions: of the images for each split but ``train``; their sum is below 1.
        group_by: see `group_images`.
        classes: see `hold_out`.

    Raises:
        ConfigError, DataError: see `hold_out`.
    """
    if any(not 0 < fraction < 1 for fraction in fractions.values()) or sum(fractions.values()) >= 1:
        raise ConfigError(f"the fractions of splits must be above 0 and below 1 together, got {dict(fractions)}")
    if group_by is not None:
        _check_pattern(group_by)
    groups = group_images([sample.name for sample in surveyed.samples], surveyed.hashes, group_by)
    if len(groups) <= len(fractions):
        raise DataError(
            f"{len(surveyed.samples)} images in {len(groups)} groups of like images cannot be divided into "
            f"{len(fractions) + 1} splits"
        )
    groups.sort(key=lambda group: _key(group, surveyed))
    splits: list[Split] = ["train"] * len(surveyed.samples)
    counts = class_counts(surveyed.samples, classes)
    for split, fraction in fractions.items():
        left = [group for group in groups if splits[group[0]] == "train"]
        for group in _chosen(left, fraction * len(surveyed.samples), counts, fraction, spare=1):
            for index in group:
                splits[index] = split
    return splits


def _check_pattern(pattern: str) -> None:
    try:
        re.compile(pattern)
    except re.error as error:
        raise ConfigError(f"must be a regular expression, got {pattern!r}: {error}", argument="group_by") from None


def _key(group: Sequence[int], surveyed: Survey) -> bytes:
    """A random number that follows from the pixels of a group; the name decides only between images that look alike."""
    contents = sorted(surveyed.hashes[index].tobytes() for index in group)
    name = min(surveyed.samples[index].name for index in group)
    return hashlib.sha256(b"".join(contents)).digest() + name.encode("utf-8", "surrogateescape")


def class_counts(samples: Sequence[Sample], classes: int) -> Int64[np.ndarray, "n k"]:
    """How many objects and image-level labels of each class each sample has."""
    counts = np.zeros((len(samples), classes), np.int64)
    for index, sample in enumerate(samples) if classes else ():
        np.add.at(counts[index], list(sample.image_labels), 1)
        if sample.boxes is not None:
            np.add.at(counts[index], sample.boxes.labels, 1)
    return counts


def _chosen(
    groups: Sequence[list[int]], wanted: float, counts: Int64[np.ndarray, "n k"], fraction: float, *, spare: int
) -> list[list[int]]:
    """Groups with about the wanted number of images together, at least one, leaving some groups over."""
    chosen: list[list[int]] = []
    size = 0
    missing = counts.sum(axis=0) * fraction
    waiting = list(groups)
    while len(waiting) > spare and (not chosen or size < wanted):
        index = _best(waiting, counts, missing)
        group = waiting.pop(index)
        if chosen and size + len(group) - wanted > wanted - size:
            continue  # it would overshoot by more than is missing
        chosen.append(group)
        size += len(group)
        missing = missing - counts[group].sum(axis=0)
    return chosen


def _best(waiting: Sequence[list[int]], counts: Int64[np.ndarray, "n k"], missing: Float64[np.ndarray, " k"]) -> int:
    """The group that fills most of what is missing of the rarest classes; the first where classes do not count."""
    if not len(missing) or not (missing > 0).any():
        return 0
    total = counts.sum(axis=0)
    rarest = min(np.flatnonzero(missing > 0), key=lambda label: total[label])
    having = [i for i, group in enumerate(waiting) if counts[group, rarest].any()]
    return having[0] if having else 0


def write_subsets(
    data_set: DataSet,
    parts: Mapping[Split, Sequence[Sample]],
    out: Path,
    *,
    of: Mapping[Split, DataSet] | None = None,
) -> list[Path]:
    """Write a data-set file whose splits are parts of a data set, and beside it the lists of their images.

    Args:
        data_set: the data set.
        parts: the samples of each split.
        out: the file, ``.yaml``.
        of: the data set that each split's samples are of, where these are several.

    Returns:
        The files.

    Raises:
        DataError: a file cannot be written; two images have one name.
    """
    contents: dict[str, Any] = {"classes": list(data_set.classes)}
    files: dict[Path, str] = {}
    for split, samples in parts.items():
        data = of[split] if of else data_set
        for index in range(len(data.sources)):
            names = [sample.name for sample in samples if sample.source == index]
            if not names:
                continue
            file = out.with_name(f"{out.stem}-{split}{f'-{index}' if len(data.sources) > 1 else ''}.txt")
            files[file] = "".join(f"{_listed(name)}\n" for name in names)
            contents.setdefault(split, []).append(data.source_entry(index, out.parent) | {"only": file.name})
    files[out] = yaml.safe_dump(contents, sort_keys=False, allow_unicode=True)
    for file, text in files.items():
        try:
            write_atomically(file, text)
        except OSError as error:
            raise DataError(f"{file}: cannot be written: {error.strerror}") from None
    return [out, *(file for file in files if file != out)]


def _listed(name: str) -> str:
    if name != name.strip() or not name.isprintable():
        raise DataError(f"{name!r}: must be a name that a line can hold")
    return name
