"""Labels in parts: each part is one file, written whole or not at all, the same whoever writes it.

The list of images is cut into parts of equal length, by position alone. So any number of processes on any number of
machines that share a folder can each write some of the parts; a process that was killed leaves whole parts and none
half-written, and a part that is there is not made again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from yolo9000 import __version__
from yolo9000.errors import ConfigError, DataError
from yolo9000.io.digits import whole_number
from yolo9000.io.documents import parse_json
from yolo9000.io.files import read_text, write_atomically
from yolo9000.labeling.images import ListedImage

__all__ = ["PART_LENGTH", "Parts", "Record", "Shard", "file_digest"]

PART_LENGTH = 64
"""Number of images in a part."""

Record = dict[str, Any]
"""What a part holds about an image: its name, ``width``, ``height`` and ``boxes``, or an ``error``."""


def file_digest(path: str) -> str:
    """SHA-256 of a file; of what is no file, such as the bundled model's name, the version of this package."""
    if not Path(path).is_file():
        return __version__
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class Shard:
    """One of several equal divisions of the parts: every ``count``-th, from the ``index``-th.

    Example:
        >>> [part for part in range(7) if part in Shard.parse("2/3")]
        [1, 4]
    """

    def __init__(self, index: int, count: int) -> None:
        self.index = index
        self.count = count

    @classmethod
    def parse(cls, text: str) -> Shard:
        """``2/8`` is the second of eight.

        Raises:
            ConfigError: it is not of that form, or not between 1 and the number of shards.
        """
        first, _, second = text.partition("/")
        index, count = whole_number(first) or 0, whole_number(second) or 0
        if not 1 <= index <= count:
            raise ConfigError(f"must be i/n with 1 <= i <= n, got {text!r}", argument="shard")
        return cls(index, count)

    def __contains__(self, part: int) -> bool:
        return part % self.count == self.index - 1


class Parts:
    """The parts of a list of images, in the folder ``parts``.

    Args:
        folder: of all outputs; made if needed.
        images: all images, in their order.
        settings: what the labels depend on besides the images. A folder holds labels made with one set of settings.

    Raises:
        ConfigError: the folder holds labels of other images or made with other settings.
    """

    def __init__(self, folder: Path, images: Sequence[ListedImage], settings: Mapping[str, Any]) -> None:
        self._folder = folder / "parts"
        self._images = images
        self._folder.mkdir(parents=True, exist_ok=True)
        names = hashlib.sha256("\n".join(image.name for image in images).encode("utf-8", "surrogateescape"))
        _claim(folder / "settings.json", {"images": len(images), "names_sha256": names.hexdigest(), **settings})

    def __len__(self) -> int:
        return -(-len(self._images) // PART_LENGTH)

    def missing(self, shard: Shard) -> list[int]:
        """The parts of a shard that are not there yet."""
        return [part for part in range(len(self)) if part in shard and not self._file(part).exists()]

    def images(self, part: int) -> Sequence[ListedImage]:
        """The images of a part."""
        return self._images[part * PART_LENGTH : (part + 1) * PART_LENGTH]

    def count_images(self, parts: Iterable[int]) -> int:
        """Number of images in some parts."""
        return sum(len(self.images(part)) for part in parts)

    def write(self, part: int, records: Iterable[Record]) -> None:
        """Write the records of a part."""
        lines = "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)
        write_atomically(self._file(part), lines)

    def __iter__(self) -> Iterator[tuple[ListedImage, Record]]:
        """All images with their records, in order.

        Raises:
            DataError: a part is missing or damaged.
        """
        return self.of(Shard(1, 1))

    def of(self, shard: Shard) -> Iterator[tuple[ListedImage, Record]]:
        """The images of a shard with their records, in order.

        Raises:
            DataError: a part is missing or damaged.
        """
        for part in filter(shard.__contains__, range(len(self))):
            file, images = self._file(part), self.images(part)
            lines = read_text(file).splitlines()
            if len(lines) != len(images):
                raise DataError(f"{file}: must have {len(images)} lines, got {len(lines)}; delete it and label again")
            for number, (image, line) in enumerate(zip(images, lines, strict=True), 1):
                yield image, _checked(parse_json(line, f"{file}:{number}"), f"{file}:{number}", image.name)

    def _file(self, part: int) -> Path:
        return self._folder / f"{part:07d}.jsonl"


def _checked(record: Any, where: str, name: str) -> Record:
    if not isinstance(record, dict) or record.get("image") != name:
        raise DataError(f"{where}: must be the labels of {name}; delete the file and label again")
    return record


def _claim(file: Path, settings: Mapping[str, Any]) -> None:
    """Write the settings, or compare them with those that are there."""
    if not file.exists():
        write_atomically(file, json.dumps(settings, indent=1) + "\n")
    there = parse_json(read_text(file), file)
    wanted = json.loads(json.dumps(settings))
    if not isinstance(there, dict) or there != wanted:
        keys = [key for key in wanted if not isinstance(there, dict) or there.get(key) != wanted[key]]
        message = f"{file.parent} holds labels of other images or settings ({', '.join(keys)}); choose another folder"
        raise ConfigError(message, argument="out")
