"""The names in a folder, as far as they are asked for: what formats look at to recognize a data set."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from yolo9000.data.files import is_folder, names_in
from yolo9000.data.image_files import is_image_name
from yolo9000.data.issues import IssueError
from yolo9000.data.split_names import by_split

__all__ = ["JsonPeek", "Listing"]

_HEAD_BYTES = 1 << 16
_WHOLE_BYTES = 4 << 20  # of a JSON file that is looked at whole; of a larger one, its two ends
_KEYS = re.compile(rb'"(\w+)"\s*:')


@dataclass(frozen=True)
class JsonPeek:
    """A JSON file at a glance.

    Attributes:
        value: its contents; None for a large file, or one that is not JSON.
        keys: of the object that it is, or of the first element of the list that it is. Of a large file all keys in its
            first and last bytes.
        is_list: whether it is a list.
    """

    value: Any = None
    keys: frozenset[str] = frozenset()
    is_list: bool = False


@dataclass
class Listing:
    """A folder, or one file in it that the user pointed at.

    Attributes:
        root: the folder.
        file: name of the file; None: the whole folder.
    """

    root: Path
    file: str | None = None
    _entries: dict[str, tuple[list[str], list[str]]] = field(default_factory=dict, repr=False)
    _peeks: dict[str, JsonPeek] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, path: Path) -> Listing:
        """The listing of what a path leads to."""
        return cls(path) if path.is_dir() else cls(path.parent, path.name)

    def files(self, folder: str = "", *suffixes: str) -> list[str]:
        """The files in a folder, hidden ones left out, by name; those of some suffixes, in lower case, where given."""
        names = self._read(folder)[0]
        return [name for name in names if not suffixes or name.lower().endswith(suffixes)]

    def folders(self, folder: str = "") -> list[str]:
        """The folders in a folder, by name."""
        return self._read(folder)[1]

    def images(self, folder: str = "") -> list[str]:
        """The image files in a folder, by name."""
        return [name for name in self._read(folder)[0] if is_image_name(name)]

    def image_count(self, folder: str = "", depth: int = 4) -> int:
        """Number of the images in a folder and in those below."""
        below = self.folders(folder) if depth else []
        return len(self.images(folder)) + sum(self.image_count(join(folder, name), depth - 1) for name in below)

    def has_images(self, folder: str = "", depth: int = 4) -> bool:
        """Whether there is an image in a folder or below."""
        if self.images(folder):
            return True
        return depth > 0 and any(self.has_images(join(folder, name), depth - 1) for name in self.folders(folder))

    def folder_called(self, *names: str, within: str = "") -> str | None:
        """The first of some folders that is there, whatever its case."""
        there = {name.lower(): name for name in self.folders(within)}
        return next((join(within, there[name.lower()]) for name in names if name.lower() in there), None)

    def split_folders(self, folder: str = "") -> dict[str, str]:
        """The folders in a folder that are named after splits."""
        return {split: join(folder, name) for split, name in by_split(self.folders(folder)).items()}

    def documents(self, *suffixes: str, depth: int = 2) -> list[str]:
        """The files of some suffixes in the folder and below, or the file that was pointed at."""
        if self.file is not None:
            return [self.file] if self.file.lower().endswith(suffixes) else []
        return list(self._documents("", suffixes, depth))

    def head(self, file: str, count: int = _HEAD_BYTES) -> bytes:
        """The first bytes of a file; none of one that cannot be read."""
        try:
            with (self.root / file).open("rb") as stream:
                return stream.read(count)
        except OSError:
            return b""

    def first_lines(self, file: str, count: int = 20) -> list[str]:
        """The first lines of a text file without those that are blank."""
        text = self.head(file).decode("utf-8-sig", "replace")
        return [line.strip() for line in text.splitlines() if line.strip()][:count]

    def line_count(self, file: str) -> int:
        """Number of the lines of a list, of any length, that are neither blank nor comments."""
        try:
            with (self.root / file).open("rb") as stream:
                return sum(not line.isspace() and not line.startswith(b"#") for line in stream)
        except OSError:
            return 0

    def json(self, file: str) -> JsonPeek:
        """A JSON file at a glance."""
        if file not in self._peeks:
            self._peeks[file] = self._peek(file)
        return self._peeks[file]

    def _read(self, folder: str) -> tuple[list[str], list[str]]:
        if folder not in self._entries:
            self._entries[folder] = self._scan(folder)
        return self._entries[folder]

    def _scan(self, folder: str) -> tuple[list[str], list[str]]:
        try:
            there = names_in(self.root / folder)
        except IssueError:
            return [], []
        linked = {one.name for one in there if one.is_link and is_folder(self.root / folder / one.name)}
        folders = {one.name for one in there if one.is_folder} | linked
        return [one.name for one in there if one.name not in folders], sorted(folders)

    def _documents(self, folder: str, suffixes: Sequence[str], depth: int) -> Iterator[str]:
        yield from (join(folder, name) for name in self.files(folder, *suffixes))
        for name in self.folders(folder) if depth else ():
            yield from self._documents(join(folder, name), suffixes, depth - 1)

    def _peek(self, file: str) -> JsonPeek:
        path = self.root / file
        try:
            size = path.stat().st_size
            with path.open("rb") as stream:
                if size <= _WHOLE_BYTES:
                    return _peek_of(json.loads(stream.read().decode("utf-8-sig")))
                head = stream.read(_HEAD_BYTES)
                stream.seek(-_HEAD_BYTES, 2)
                ends = head + stream.read()
        except (OSError, ValueError, RecursionError):
            return JsonPeek()
        keys = frozenset(key.decode() for key in _KEYS.findall(ends))
        return JsonPeek(None, keys, head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"["))


def _peek_of(value: Any) -> JsonPeek:
    first = value[0] if isinstance(value, list) and value else value
    keys = frozenset(map(str, first)) if isinstance(first, dict) else frozenset()
    return JsonPeek(value, keys, isinstance(value, list))


def join(folder: str, name: str) -> str:
    """A name in a folder, both relative to the root."""
    return f"{folder}/{name}" if folder else name
