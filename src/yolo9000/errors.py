"""The errors that a user's input can cause, and the exit code that each one ends a command with.

Every message is one line and says what must hold, what came, and where, for example
``yolov2.weights: layer 30 (convolutional) needs 1,740,500 bytes, 12 are left``.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import ValidationError

LONGEST_VALUE = 80  # of a value that an error quotes

EXIT_OK = 0
EXIT_INTERNAL = 1
EXIT_USAGE = 2
EXIT_SOME_INPUTS_FAILED = 3
EXIT_DATA_INVALID = 4
EXIT_INTERRUPTED = 130


class YoloError(Exception):
    """Anything that the user can mend; the command line prints it in one line and exits with 2."""


class ConfigError(YoloError):
    """A setting, an option or a network description (``.cfg``) that cannot be used."""


class DataError(YoloError):
    """An image, a video, a label file or a data set that cannot be read."""


class WeightsError(YoloError):
    """A weights file that does not fit the network, or holds numbers that are not finite."""


class TreeError(YoloError):
    """A label tree that is not a tree, or is not written as the format asks."""


class EngineError(YoloError):
    """An engine that is not installed, or cannot do what was asked of it."""


class TrainingError(YoloError):
    """A training that cannot begin, go on, or be resumed."""


def describe_errors(error: ValidationError, *, options: bool = False) -> str:
    """One line that names each wrong setting, what must hold and what came.

    Args:
        error: what pydantic found.
        options: the settings are options of the command line, which have dashes.
    """
    parts = []
    for item in error.errors():
        place = ".".join(str(part) for part in item["loc"])
        place = place.replace("_", "-") if options else place
        problem = f"{item['msg'][0].lower()}{item['msg'][1:]}"
        came = "" if item["type"] == "missing" or not place else f", got {_shortened(item['input'])}"
        parts.append(f"{place}: {problem}{came}" if place else problem)
    return "; ".join(parts)


def _shortened(value: object) -> str:
    text = repr(value)
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}..."


def nearest(word: str, words: Iterable[str]) -> str:
    """`` (did you mean 'X'?)`` if one of the words is close to the given one, else an empty string.

    >>> nearest("cta", ["cat", "dog"])
    " (did you mean 'cat'?)"
    """
    close = get_close_matches(word, list(words), n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""
