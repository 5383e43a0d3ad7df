"""The errors that user input can cause, and the exit code that each one ends a command with.

Every message is one line: where, what must hold, what was got, and what to do, for example
``yolov2.weights: layer 30 (convolutional) needs 1,740,500 bytes, 12 are left``. An error about an argument names it as
Python does (``conf_threshold: must be less than 1, got 1.5``), and other arguments that a message mentions stand in
backquotes; the command line replaces both with its options.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from difflib import get_close_matches
from numbers import Integral
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import ValidationError
    from pydantic_core import ErrorDetails

LONGEST_VALUE = 80  # of a value that an error quotes
LONGEST_MESSAGE = 1_500

EXIT_OK = 0
EXIT_INTERNAL = 1
EXIT_USAGE = 2
EXIT_SOME_FAILED = 3
EXIT_DATA_INVALID = 4
EXIT_INTERRUPTED = 130


class YoloError(Exception):
    """Any error that the user can fix; the command line prints it in one line and exits with 2.

    Attributes:
        argument: name of the argument or setting whose value is wrong; None where the error is about something else.
    """

    def __init__(self, message: object = "", *, argument: str | None = None) -> None:
        super().__init__(_one_line(str(message)))
        self.argument = argument

    def __str__(self) -> str:
        message = super().__str__()
        return message if self.argument is None else f"{self.argument}: {message}"


def _one_line(message: str) -> str:
    """The message without line breaks; of one that quotes something endless, the beginning and the end."""
    line = " ".join(message.splitlines())
    half = LONGEST_MESSAGE // 2
    return line if len(line) <= LONGEST_MESSAGE else f"{line[:half]} ... {line[-half:]}"


class ConfigError(YoloError):
    """A setting, an option or a network description (``.cfg``) that cannot be used."""


class DataError(YoloError):
    """An image, a video, a label file or a data set that cannot be read, or an output that cannot be written."""


class WeightsError(YoloError):
    """A weights file that does not fit the network, or has values that are not finite."""


class TreeError(YoloError):
    """A label tree that is not a tree, or is not written as the format requires."""


class EngineError(YoloError):
    """An engine or another optional package that is not installed, or cannot do what was asked of it."""


class TrainingError(YoloError):
    """A training that cannot start, continue or be resumed."""


def check_count(value: object, argument: str) -> None:
    """Check the value of an argument that counts something.

    Raises:
        ConfigError: it is not an integer of at least 1.

    Example:
        >>> check_count("2", "batch")
        Traceback (most recent call last):
        yolo9000.errors.ConfigError: batch: must be an integer, got '2'
    """
    if not isinstance(value, Integral):
        raise ConfigError(f"must be an integer, got {value!r}", argument=argument)
    if value < 1:
        raise ConfigError(f"must be at least 1, got {value}", argument=argument)


@contextmanager
def needs_extra(extra: str, purpose: str) -> Iterator[None]:
    """Around imports of optional packages: where one is missing, one line says how to install it.

    Args:
        extra: that brings the packages.
        purpose: what needs them.

    Raises:
        EngineError: a package is not installed.

    Example:
        >>> with needs_extra("video", "reading videos"):
        ...     import opencv_of_the_future
        Traceback (most recent call last):
        yolo9000.errors.EngineError: reading videos needs an extra: pip install "yolo9000[video]" (No module named ...
    """
    try:
        yield
    except ImportError as error:
        if (error.name or "").startswith("yolo9000"):
            raise
        raise EngineError(f'{purpose} needs an extra: pip install "yolo9000[{extra}]" ({error})') from None


_PYDANTIC_PHRASES = (
    (r"^Value error, ", ""),
    (r"^Assertion failed, ", ""),
    (r"^Field required$", "is missing"),
    (r"^Extra inputs are not permitted$", "unknown key"),
    (r"^Input should (not )?be (?:a |an )?(?:valid )?", r"must \1be "),
    (r"^Input should ", "must "),
    (r"^must be dictionary or instance of \w+$", "must be a section of keys"),
    (r"^must be tuple$", "must be a list"),
    (r"^must be greater than or equal to ", "must be at least "),
    (r"^must be less than or equal to ", "must be at most "),
    (r", (?:unable to parse|got a number with).*$", ""),
)
_ARTICLES = {"string": "a string", "integer": "an integer", "number": "a number", "boolean": "true or false"}


_UNION_MEMBER = re.compile(
    r"(?:constrained|function|is)-[\w-]+|(?:tuple|list|dict|set|literal)\[.*\]|int|float|str|bool"
)
"""How pydantic calls the types that a value may have, which are no part of its name."""


def describe_errors(error: ValidationError) -> str:
    """One line that names each wrong value, what must hold and what was got.

    Args:
        error: as pydantic raises it.
    """
    return "; ".join(f"{location}: {problem}" if location else problem for location, problem in wrong_values(error))


def wrong_values(error: ValidationError) -> list[tuple[str, str]]:
    """Location (``anchors.2.width``) and problem of each wrong value that pydantic found."""
    return [
        (".".join(str(part) for part in item["loc"] if not _UNION_MEMBER.fullmatch(str(part))), _problem(item))
        for item in error.errors()
    ]


def _problem(item: ErrorDetails) -> str:
    message = item["msg"]
    for pattern, phrase in _PYDANTIC_PHRASES:
        message = re.sub(pattern, phrase, message)
    for word, phrase in _ARTICLES.items():
        message = re.sub(rf"^must be {word}$", f"must be {phrase}", message)
    message = message[:1].lower() + message[1:]
    got = "" if item["type"] == "missing" or not item["loc"] else f", got {_shortened(item['input'])}"
    return message + got


def _shortened(value: object) -> str:
    text = repr(value)
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}..."


def no_attribute(owner: str, name: str, ours: Mapping[str, str]) -> str:
    """Message of an `AttributeError`, with this package's word for a name that other packages use.

    >>> no_attribute("Detections", "xyxy", {"xyxy": "boxes_xyxy"})
    "Detections has no attribute 'xyxy': use boxes_xyxy"
    """
    return f"{owner} has no attribute {name!r}" + (f": use {ours[name]}" if name in ours else "")


def nearest(word: str, words: Iterable[str]) -> str:
    """`` (did you mean 'X'?)`` if one of the words is close to the given one, else an empty string.

    >>> nearest("cta", ["cat", "dog"])
    " (did you mean 'cat'?)"
    """
    close = get_close_matches(word, list(words), n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""
