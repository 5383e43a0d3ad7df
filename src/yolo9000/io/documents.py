"""YAML, TOML, JSON and CSV of unknown origin, parsed within limits.

The parsers raise their own errors, and others that they do not catch: on deep nesting, on numbers of thousands of
digits, on dates that are none. YAML's aliases let a few hundred bytes stand for gigabytes. Of a key that is there twice
they take the last value, silently. Here all of that is an error of the package, which names the file.
"""

from __future__ import annotations

import csv
import io
import json
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import yaml

from yolo9000.errors import DataError, YoloError

__all__ = [
    "MAX_DEPTH",
    "JsonError",
    "LimitedLoader",
    "load_json",
    "parse_csv",
    "parse_json",
    "parse_toml",
    "parse_yaml",
]

MAX_DEPTH = 64  # of lists and mappings in each other
LONGEST_REASON = 200  # characters


class LimitedLoader(yaml.SafeLoader):
    """YAML's plain types, nested at most `MAX_DEPTH` deep, each key once, without aliases; dates stay text."""

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """A node within the limits.

        Raises:
            yaml.MarkedYAMLError: it is outside of them.
        """
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]
        if self.check_event(yaml.AliasEvent):
            raise yaml.MarkedYAMLError(None, None, f"must have no aliases (*{event.anchor})", event.start_mark)
        if self._depth > MAX_DEPTH:
            raise yaml.MarkedYAMLError(None, None, f"must be nested at most {MAX_DEPTH} deep", event.start_mark)
        self._depth += 1
        try:
            return super().compose_node(parent, index)
        finally:
            self._depth -= 1

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        """A mapping that has each key once.

        Raises:
            yaml.MarkedYAMLError: it has one twice.
        """
        seen = set()
        for key, _ in node.value if isinstance(node, yaml.MappingNode) else ():
            if (key.tag, str(key.value)) in seen:
                raise yaml.MarkedYAMLError(
                    None, None, f"must have each key once, has {key.value!r} twice", key.start_mark
                )
            seen.add((key.tag, str(key.value)))
        return super().construct_mapping(node, deep)


LimitedLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def parse_yaml(text: str, name: object, error: type[YoloError] = DataError) -> Any:
    """What a YAML text says: mappings, lists, text, numbers, booleans, null.

    Args:
        text: of one document.
        name: of the file, for errors.
        error: class of the error.

    Raises:
        YoloError: of the given class: the text is not YAML, has aliases or a key twice, or is nested too deeply.

    Example:
        >>> parse_yaml("names: [cat, 2024-13-45]", "set.yaml")
        {'names': ['cat', '2024-13-45']}
    """
    with _one_error("YAML", name, error):
        loader = LimitedLoader(text)
        try:
            return loader.get_single_data()
        finally:
            loader.dispose()


def parse_toml(text: str, name: object, error: type[YoloError] = DataError) -> dict[str, Any]:
    """What a TOML text says; see `parse_yaml`."""
    with _one_error("TOML", name, error):
        return tomllib.loads(text)


def parse_csv(text: str, name: object, error: type[YoloError] = DataError) -> list[list[str]]:
    r"""The cells of each line of a CSV text; see `parse_yaml`.

    Example:
        >>> parse_csv('image,note\na.jpg,"left, dark"\n', "notes.csv")
        [['image', 'note'], ['a.jpg', 'left, dark']]
    """
    with _one_error("CSV", name, error):
        return list(csv.reader(io.StringIO(text, newline="")))


def parse_json(text: str | bytes, name: object, error: type[YoloError] = DataError) -> Any:
    """What a JSON text says; see `parse_yaml`."""
    try:
        return load_json(text)
    except JsonError as problem:
        where = "" if problem.line is None else f"line {problem.line}: "
        raise error(f"{name}: must be JSON: {where}{_short(problem)}") from None


class JsonError(ValueError):
    """What is wrong with a JSON text.

    Attributes:
        line: where; None where that is not known.
    """

    def __init__(self, message: object, line: int | None = None) -> None:
        super().__init__(message)
        self.line = line


def load_json(text: str | bytes) -> Any:
    """What a JSON text says, for readers that have their own kind of error.

    Raises:
        JsonError: it is not JSON, has a key twice, is nested too deeply, or has a number of too many digits.
    """
    try:
        return json.loads(text, object_pairs_hook=_each_once)
    except JsonError:
        raise
    except json.JSONDecodeError as problem:
        raise JsonError(problem.msg.lower(), problem.lineno) from None
    except UnicodeDecodeError:
        raise JsonError("it must be UTF-8 text") from None
    except (RecursionError, MemoryError):
        raise JsonError("it is nested too deeply, or too large") from None
    except ValueError:  # Python's limit on digits
        raise JsonError("a number has too many digits") from None


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in made if keys.count(key) > 1)
        raise JsonError(f"an object must have each key once, has {twice!r} twice")
    return made


@contextmanager
def _one_error(language: str, name: object, error: type[YoloError]) -> Iterator[None]:
    try:
        yield
    except RecursionError:
        raise error(f"{name}: must be {language} that is not nested so deeply") from None
    except MemoryError:
        raise error(f"{name}: must be {language} that fits in memory") from None
    except yaml.MarkedYAMLError as problem:
        mark = problem.problem_mark or problem.context_mark
        where = "" if mark is None else f"line {mark.line + 1}: "
        reason = _short(problem.problem or problem.context or problem)
        raise error(f"{name}: must be {language}: {where}{reason}") from None
    except Exception as problem:  # whatever a parser raises on bytes that are none of its language
        raise error(f"{name}: must be {language}: {_short(problem)}") from None


def _short(problem: object) -> str:
    text = " ".join(str(problem).split())
    return text if len(text) <= LONGEST_REASON else f"{text[:LONGEST_REASON]}..."
