"""Darknet's ``.data`` files: which lists, names, maps and trees belong to a data set.

Darknet: src/option_list.c read_data_cfg.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from yolo9000.errors import DataError
from yolo9000.io.files import find_beside, read_lines

__all__ = ["DataFile", "read_data"]


@dataclass(frozen=True)
class DataFile:
    """A ``.data`` file.

    Attributes:
        path: its location; files that it names are searched around it.
        options: its keys and values, as written.
    """

    path: Path
    options: dict[str, str] = field(default_factory=dict)

    def file(self, key: str) -> Path | None:
        """The file that a key names, or None if the key is missing.

        Raises:
            DataError: file not found.
        """
        value = self.options.get(key)
        return find_beside(self.path, value, DataError) if value else None


def read_data(path: str | Path) -> DataFile:
    """Read a ``.data`` file: ``key = value`` lines; ``#`` and ``;`` begin comments; the first of a repeated key counts.

    Raises:
        DataError: the file cannot be read, or a line is not ``key = value``.
    """
    options: dict[str, str] = {}
    for number, line in enumerate(read_lines(path), 1):
        text = line.strip()
        if not text or text[0] in "#;":
            continue
        key, equals, value = text.partition("=")
        if not equals or not key.strip():
            raise DataError(f"{path}:{number}: must be key = value, got {text[:80]!r}")
        options.setdefault(key.strip(), value.strip())
    return DataFile(Path(path), options)
