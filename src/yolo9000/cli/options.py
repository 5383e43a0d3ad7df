"""Options that several commands share, and groups of options made from the settings of the library."""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from yolo9000.choices import OnError, Split
from yolo9000.errors import ConfigError
from yolo9000.io.digits import whole_number

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydantic import BaseModel

    from yolo9000.inference.detector import Detector
    from yolo9000.taxonomy.hierarchy import Hierarchy

__all__ = [
    "DETECTION",
    "ENGINE",
    "MODEL",
    "SERVE",
    "TILES",
    "TRACKING",
    "LabelsOption",
    "OnErrorOption",
    "Options",
    "OverridesOption",
    "ParentsOption",
    "SplitOption",
    "WithinOption",
    "WordNetOption",
    "parse_size",
    "read_hierarchy",
    "refuse_settings",
    "with_labels",
    "with_options",
]

WithinOption = Annotated[
    str | None,
    typer.Option(
        help="On a tree: condition on these nodes and look for nothing else, e.g. vehicle,dog.", show_default=False
    ),
]
LabelsOption = Annotated[
    Path | None,
    typer.Option(help="On a tree: answer with these nodes instead; a file of names or ids.", show_default=False),
]
ParentsOption = Annotated[
    list[Path] | None,
    typer.Option(
        help="Your own table of parents: .csv, .yaml, .txt (paths), Open Images' .json or SKOS; may be repeated.",
        show_default=False,
    ),
]
OverridesOption = Annotated[
    Path | None,
    typer.Option(help="CSV of labels and the ids that they mean, which take precedence.", show_default=False),
]
WordNetOption = Annotated[bool, typer.Option("--wordnet/--no-wordnet", help="Look labels up in WordNet.")]
SplitOption = Annotated[Split, typer.Option(help="Which split.")]
OnErrorOption = Annotated[
    OnError, typer.Option(help="At an issue of an annotation: stop, leave its image out, or fix what can be fixed.")
]

Options = dict[str, Any]
"""The options of a group that were given, by the name of the setting."""

_SPELLED = {
    "conf_threshold": ("--conf-threshold", "--conf", "-c"),
    "nms_iou": ("--nms-iou", "--iou"),
    "size_wh": ("--size", "--imgsz"),
}


@dataclass(frozen=True)
class OptionGroup:
    """Options made from a settings model: one for each setting, with its type, its description and its default.

    Attributes:
        module: of the model.
        name: of the model.
        names: of the settings that are options; None for all.
        left_out: names of settings that are not.
    """

    module: str
    name: str
    names: tuple[str, ...] | None = None
    left_out: tuple[str, ...] = ()

    @cached_property
    def settings(self) -> type[BaseModel]:
        """The model, imported when a command needs its options: the list of commands needs none."""
        return cast("type[BaseModel]", getattr(import_module(f"yolo9000.{self.module}"), self.name))

    def only(self, *names: str) -> OptionGroup:
        """The group with these settings alone."""
        return OptionGroup(self.module, self.name, names)

    def without(self, *names: str) -> OptionGroup:
        """The group without these settings."""
        return OptionGroup(self.module, self.name, self.names, names)

    def _names(self) -> tuple[str, ...]:
        names = self.settings.model_fields if self.names is None else self.names
        return tuple(name for name in names if name not in self.left_out)

    def parameters(self) -> list[inspect.Parameter]:
        """A parameter for each option, as Typer reads them from a command; None where it was not given."""
        return [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=self._annotation(name))
            for name in self._names()
        ]

    def _annotation(self, name: str) -> Any:
        field = self.settings.model_fields[name]
        text = str(field.description)
        default = "" if field.default is None or "[" in text else f" [{field.default}]"
        option = typer.Option(*_SPELLED.get(name, ()), help=f"{text}{default}.", show_default=False)
        kind = str if name == "size_wh" else field.annotation
        return Annotated[kind | None, option]  # type: ignore[operator]

    def take(self, values: dict[str, Any]) -> Options:
        """Remove the group's options from those of a command; those that were given."""
        given = {name: value for name in self._names() if (value := values.pop(name)) is not None}
        return {name: _PARSERS[name](value) if name in _PARSERS else value for name, value in given.items()}


def _engine(name: str) -> str:
    from yolo9000.inference.engines import choose_engine

    return choose_engine(name)


def parse_size(text: str) -> tuple[int, int]:
    """``416`` or ``608x352`` to width and height.

    Raises:
        ConfigError: it is neither.
    """
    sides = [whole_number(part) or 0 for part in text.lower().split("x")]
    if len(sides) > 2 or 0 in sides:
        raise ConfigError(f"must be an integer or WIDTHxHEIGHT, got {text!r}", argument="size_wh")
    return sides[0], sides[-1]


_PARSERS: dict[str, Callable[[str], Any]] = {"size_wh": parse_size, "engine": _engine}
MODEL = OptionGroup("inference.settings", "ModelSettings")
ENGINE = OptionGroup("inference.settings", "EngineSettings")
DETECTION = OptionGroup("inference.settings", "DetectionSettings")
TILES = OptionGroup("inference.tile_settings", "TileSettings")
SERVE = OptionGroup("serve.settings", "ServeSettings")
TRACKING = OptionGroup("tracking.settings", "TrackingSettings")


def refuse_settings(words: Sequence[str], command: Callable[..., None]) -> None:
    """Raise a `ConfigError` where a source is written like a setting, ``conf=0.3``, and no file is called so."""
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not key.isidentifier() or os.path.lexists(word):
            continue
        options = {
            spelling for parameter in inspect.signature(command).parameters for spelling in _spellings(parameter)
        }
        if key in ("source", "sources"):
            raise ConfigError(f"{word}: sources are written alone: {value}")
        option = f"--{key.replace('_', '-')}"
        way = f"options are written {option} {value}" if option in options else "unknown option"
        raise ConfigError(f"{word}: {way} (see yolo9000 predict --help)")


def _spellings(parameter: str) -> tuple[str, ...]:
    return _SPELLED.get(parameter, (f"--{parameter.replace('_', '-')}",))


def with_options(**groups: OptionGroup) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command groups of options.

    Args:
        groups: for parameters of the command, which get the options of the group that were given.
    """
    return lambda command: _WithOptions(command, groups)


class _WithOptions:
    """A command with groups of options, which are made when its signature is asked for."""

    def __init__(self, command: Callable[..., None], groups: dict[str, OptionGroup]) -> None:
        functools.update_wrapper(self, command)
        self._command = command
        self._groups = groups

    def __call__(self, **values: Any) -> None:
        self._command(**{name: group.take(values) for name, group in self._groups.items()}, **values)

    @property
    def __signature__(self) -> inspect.Signature:
        signature = inspect.signature(self._command, eval_str=True)
        own = [parameter for name, parameter in signature.parameters.items() if name not in self._groups]
        added = [parameter for group in self._groups.values() for parameter in group.parameters()]
        return signature.replace(parameters=own + added)


def with_labels(detector: Detector, file: Path | None) -> Detector:
    """The detector, answering with the nodes that a file names, if one is given."""
    from yolo9000.taxonomy.files import read_names

    return detector if file is None else detector.with_labels(read_names(file))


def read_hierarchy(tables: Sequence[Path], with_wordnet: bool) -> Hierarchy:
    """WordNet, if it is wanted, with the user's tables over it."""
    from yolo9000.taxonomy.hierarchy import Hierarchy
    from yolo9000.taxonomy.readers import read_parent_table
    from yolo9000.taxonomy.wordnet import wordnet

    hierarchy = Hierarchy(wordnet() if with_wordnet else None)
    for table in tables:
        for entry in read_parent_table(table):
            hierarchy.add(entry)
    return hierarchy
