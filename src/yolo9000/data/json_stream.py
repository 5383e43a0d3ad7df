"""JSON files with long lists, read element by element: a file of any length needs the memory of one element."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, NoReturn

from yolo9000.data.files import is_file
from yolo9000.data.issues import IssueError, make_issue, shown

__all__ = ["list_elements", "list_stretches"]

_CHUNK = 1 << 18  # characters read at a time
_LOOKED_AT = 3  # characters behind a value, which may be a number that goes on: 1|e+5
_SHOWN = 20  # characters in an error
_LARGEST_VALUE = 64 << 20  # characters of one element; far above any real one


def list_elements(file: Path, lists: Sequence[str], kind: str) -> Iterator[tuple[str, int, Any]]:
    """The elements of some lists of the object that a file holds, as (list, index, element): see `list_stretches`."""
    for key, first, elements in list_stretches(file, lists, kind):
        yield from ((key, index, element) for index, element in enumerate(elements, first))


def list_stretches(file: Path, lists: Sequence[str], kind: str) -> Iterator[tuple[str, int, list[Any]]]:
    """The elements of some lists of the object that a file holds, as (list, index of the first, elements).

    Args:
        file: UTF-8 text.
        lists: keys of the object, all of which must be there once, in any order; other keys are passed over.
        kind: what the file is, for the suggestion of an issue.

    Raises:
        IssueError: ``file-unreadable`` or, with its line, ``file-syntax``.
    """
    suggestion = f"write the file again as {kind}"
    if not is_file(file):
        raise IssueError(make_issue("file-unreadable", file, "must be a file that can be read", "correct the path"))
    try:
        with file.open(encoding="utf-8-sig") as stream:
            yield from _walk(_JsonText(stream, file, suggestion), lists)
    except OSError as error:
        message = f"must be a file that can be read: {error.strerror}"
        raise IssueError(make_issue("file-unreadable", file, message, "correct its permissions")) from None
    except UnicodeDecodeError:
        raise IssueError(
            make_issue("file-unreadable", file, "must be UTF-8 text, holds other bytes", suggestion)
        ) from None


def _walk(text: _JsonText, lists: Sequence[str]) -> Iterator[tuple[str, int, list[Any]]]:
    seen = set()
    text.take("{", f"an object with the lists {', '.join(lists)}")
    while text.peek() != "}":
        key = text.value() if text.peek() == '"' else text.fail("a name")
        text.take(":", "a colon")
        if key in seen:
            text.fail(f"{shown(key)} once")
        seen.add(key)
        if key in lists:
            yield from _walk_list(text, key)
        else:
            text.value()
        if text.peek() != "}":
            text.take(",", "a comma or a closing brace")
            if text.peek() == "}":
                text.fail("a name after the comma")
    text.take("}", "a closing brace")
    if missing := [key for key in lists if key not in seen]:
        text.fail(f"the lists {', '.join(lists)}, {', '.join(missing)} missing;")
    if text.peek():
        text.fail("nothing after the object")


def _walk_list(text: _JsonText, key: str) -> Iterator[tuple[str, int, list[Any]]]:
    text.take("[", f"a list of {key}")
    index = 0
    while text.peek() != "]":
        elements = text.values()
        yield key, index, elements
        index += len(elements)
        if text.peek() != "]":
            text.take(",", "a comma or a closing bracket")
            if text.peek() == "]":
                text.fail("an element after the comma")
    text.take("]", "a closing bracket")


class _JsonText:
    """Takes JSON values from a stream, holding no more than the value that is being taken and one chunk."""

    def __init__(self, stream: IO[str], file: Path, suggestion: str) -> None:
        self._stream = stream
        self._suggestion = suggestion
        self._file = file
        self._decoder = json.JSONDecoder()
        self._buffer = ""
        self._position = 0
        self._line = 1  # of the buffer's begin
        self._ended = False
        self._stretch = 0  # up to here the buffer may hold nothing but values of one list; 0: it was tried

    def peek(self) -> str:
        """The next character that is not blank; nothing at the end."""
        while True:
            while self._position < len(self._buffer):
                if self._buffer[self._position] not in " \t\n\r":
                    return self._buffer[self._position]
                self._position += 1
            if self._ended:
                return ""
            self._read(_CHUNK)

    def take(self, character: str, wanted: str) -> None:
        """Go on behind a character.

        Raises:
            IssueError: another one comes.
        """
        if self.peek() != character:
            self.fail(wanted)
        self._position += 1

    def values(self) -> list[Any]:
        """The next values of a list: all that end in the buffer, at once, which is much faster; or one.

        Raises:
            IssueError: what comes is none.
        """
        self.peek()
        start, end, self._stretch = self._position, self._stretch, 0
        if end > start:
            with suppress(RecursionError, ValueError):  # the list ends before, there ends no value of it, or no JSON
                values: list[Any] = json.loads(f"[{self._buffer[start:end]}]")
                self._position = end
                return values
        return [self.value()]

    def value(self) -> Any:
        """The next value.

        Raises:
            IssueError: what comes is none.
        """
        self.peek()
        wanted = _CHUNK
        while True:
            try:
                value, end = self._decoder.raw_decode(self._buffer, self._position)
                if self._ended or end + _LOOKED_AT <= len(self._buffer):
                    self._position = end
                    return value
            except json.JSONDecodeError as error:
                if self._ended or len(self._buffer) - self._position > _LARGEST_VALUE:
                    self._position = error.pos
                    self.fail(f"JSON ({error.msg.lower()})")
            except (RecursionError, ValueError):  # Python's limits on depth and on digits
                self.fail("JSON that is neither nested so deeply nor has such long numbers")
            self._read(wanted)
            wanted *= 2

    def fail(self, wanted: str) -> NoReturn:
        """Raise the issue of what stands here."""
        if len(self._buffer) < self._position + _SHOWN:
            self._read(_CHUNK)
        line = self._line + self._buffer.count("\n", 0, self._position)
        text = shown(self._buffer[self._position : self._position + _SHOWN]) if self.peek() else "the end"
        message = f"must hold {wanted}, got {text}"
        raise IssueError(make_issue("file-syntax", f"{self._file}:{line}", message, self._suggestion))

    def _read(self, characters: int) -> None:
        chunk = self._stream.read(characters)
        self._ended = not chunk
        self._line += self._buffer.count("\n", 0, self._position)
        self._buffer = self._buffer[self._position :] + chunk
        self._position = 0
        self._stretch = self._buffer.rfind("},") + 1
