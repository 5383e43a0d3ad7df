"""What commands print: one line at a time, safe for every terminal, pipe and file.

Every line goes through `say` or `say_error`. Control characters in names are replaced, so that no file name can steer
the terminal; so is what the encoding of the output lacks (``ascii`` of the C locale, ``cp1252`` on Windows).
"""

from __future__ import annotations

import logging
import re
import sys
from typing import TYPE_CHECKING, TextIO

import typer

from yolo9000.errors import EXIT_SOME_FAILED, DataError, YoloError

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "Failures",
    "option",
    "printable",
    "say",
    "say_error",
    "say_lines",
    "say_note",
    "show_log",
    "spelled",
    "with_options_named",
]

# Options that are not spelled like the argument of the library.
_OPTIONS = {"formats": "--format", "size_wh": "--size", "sources": "SOURCES"}
_MENTIONED = re.compile(
    r"`(max_drop|max_pixels|on_error|out|overwrite|parents|part_minutes|precision|recursive|resume|weights)`"
)


def say(line: str) -> None:
    """Print one line to standard output; nothing where it is closed.

    Raises:
        DataError: standard output cannot be written, e.g. to a full disk.
        BrokenPipeError: whoever read the output has stopped.
    """
    _print(line, sys.stdout, "standard output")


def say_lines(lines: Iterable[str]) -> None:
    """Print lines to standard output."""
    for line in lines:
        say(line)


def say_note(line: str) -> None:
    """Print one line that is not a result to standard error."""
    _print(line, sys.stderr, "standard error")


def say_error(message: str) -> None:
    """Print one line about an error to standard error."""
    _print(f"yolo9000: error: {message}", sys.stderr, "standard error")


class _LogLines(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        say_note(f"yolo9000: {record.levelname.lower()}: {with_options_named(record.getMessage())}")


def show_log(level: int = logging.WARNING) -> None:
    """Print what the library logs, from a level on, one line each to standard error."""
    logger = logging.getLogger("yolo9000")
    logger.handlers = [handler for handler in logger.handlers if not isinstance(handler, _LogLines)]
    logger.addHandler(_LogLines(level))


def _print(line: str, stream: TextIO | None, name: str) -> None:
    if stream is None:  # closed before the process began, or a program without a console
        return
    try:
        print(printable(line, stream), file=stream, flush=True)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise DataError(f"{name}: cannot be written: {error.strerror or error}") from None


class Failures:
    """Errors of single inputs: each is printed, and the command goes on.

    Attributes:
        count: how many there were.
    """

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, error: YoloError) -> None:
        """Print an error and count it."""
        self.count += 1
        say_error(spelled(error))

    def exit(self) -> None:
        """End the command with `EXIT_SOME_FAILED` if there were any."""
        if self.count:
            raise typer.Exit(EXIT_SOME_FAILED)


def printable(text: str, stream: TextIO | None = None) -> str:
    """The text without control characters and without characters that the stream cannot encode."""
    stream = stream or sys.stdout
    encoding = (stream.encoding if stream else None) or "utf-8"
    plain = "".join(c if c.isprintable() else " " for c in text)
    return plain.encode(encoding, "replace").decode(encoding, "replace")


def spelled(error: YoloError) -> str:
    """The error's message with options where the library names arguments."""
    message = with_options_named(str(error))
    if error.argument is None:
        return message
    return option(error.argument) + message.removeprefix(error.argument)


def with_options_named(message: str) -> str:
    """A message of the library with options for the arguments that it mentions in backquotes."""
    return _MENTIONED.sub(lambda match: option(match[1]), message)


def option(argument: str) -> str:
    """The option for an argument of the library: ``--conf-threshold`` for ``conf_threshold``."""
    return _OPTIONS.get(argument, f"--{argument.replace('_', '-')}")
