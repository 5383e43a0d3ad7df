"""The data-set file: which sources make up each split of a data set.

It is YAML::

    classes: [apple, pear, milk]          # or a file, one a line; left out: what the sources hold
    tree: labels.tree                     # optional
    train:
      - {format: voc, path: fruit, list: ImageSets/Main/train.txt}
      - {format: folder, path: shelf/train, map: {golden-delicious: apple}, exhaustive: none}
      - {path: export.zip}                # no format: recognized, and its split of the same name is taken
    val:
      - {format: voc, path: fruit, list: ImageSets/Main/val.txt}

Paths are relative to the file. It holds no code and no addresses, and nothing outside it changes what it means.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from yolo9000.data.format import SPLITS, SourceSettings, Split
from yolo9000.data.formats import FORMATS
from yolo9000.data.listing import Listing
from yolo9000.data.recognize import Recognized, recognize
from yolo9000.data.split_names import UNDIVIDED
from yolo9000.errors import ConfigError, DataError, describe_errors, nearest
from yolo9000.io.documents import parse_yaml
from yolo9000.io.files import read_lines

__all__ = ["AutoSource", "DataSetFile", "Described", "Source", "read_description"]


class AutoSource(SourceSettings):
    """A source whose format is recognized.

    Attributes:
        split: the split of what is there that is taken; None: the one that the source stands in, or all of what is not
            divided.
    """

    format: Literal["auto"] = "auto"
    split: Split | None = None


if TYPE_CHECKING:
    Source = SourceSettings
else:
    Source = Annotated[Union[(AutoSource, *(one.Source for one in FORMATS.values()))], Field(discriminator="format")]


class DataSetFile(BaseModel):
    """A data-set file; see the top of this module.

    Attributes:
        classes: names in order, or a file with one a line; None takes what the sources hold.
        tree: a ``.tree`` or ``.yaml`` file whose ids or names the classes are.
        train, val, test: the sources of each split.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    classes: list[str] | str | None = None
    tree: str | None = None
    train: list[Source] = Field(default_factory=list)
    val: list[Source] = Field(default_factory=list)
    test: list[Source] = Field(default_factory=list)


@dataclass(frozen=True)
class Described:
    """What a path leads to, as a data-set file says it.

    Attributes:
        root: folder that paths are relative to.
        classes: names in order, or a file with one a line; None: what the sources hold.
        tree: file of the label tree.
        sources: of each split; under ``""`` those of what is not divided.
        description: what was recognized, one line for people; nothing for a data-set file.
    """

    root: Path
    classes: Sequence[str] | str | None = None
    tree: str | None = None
    sources: Mapping[str, Sequence[SourceSettings]] = field(default_factory=dict)
    description: str = ""

    @property
    def splits(self) -> list[Split]:
        """The splits that are there; ``train`` alone where nothing is divided."""
        return [split for split in SPLITS if self.sources.get(split)] or ["train"] * bool(self.sources)

    def all_sources(self) -> Iterator[SourceSettings]:
        """The sources of all splits."""
        for sources in self.sources.values():
            yield from sources


def read_description(path: str | Path) -> Described:
    """What a path leads to: a data-set file as it stands, anything else as it is recognized.

    Args:
        path: a file, a folder or an archive; ``FORMAT:PATH`` says what it is.

    Raises:
        ConfigError: a data-set file is wrong.
        DataError: a file cannot be read, or nothing is recognized.
    """
    format_name, path = _split_format(str(path))
    if not path.exists():
        raise DataError(f"{path}: file or folder not found{_near(path)}")
    if format_name is None:
        file = path if path.is_file() else _file_within(path)
        contents = _data_set_contents(file) if file is not None else None
        if file is not None and contents is not None:
            return _of_file(file, contents)
    return _of_recognized(recognize(path, format_name))


def _split_format(text: str) -> tuple[str | None, Path]:
    name, colon, rest = text.partition(":")
    if colon and name in FORMATS and not Path(text).exists():
        return name, Path(rest)
    return None, Path(text)


def _near(path: Path) -> str:
    names = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
    return nearest(path.name, names[:2000])


def _file_within(folder: Path) -> Path | None:
    """The data-set file that a folder is described by: the one YAML file in it that is one."""
    recognized = [
        folder / name for name in Listing(folder).files("", ".yaml", ".yml")[:20] if name.startswith("dataset")
    ]
    return recognized[0] if len(recognized) == 1 else None


def _data_set_contents(file: Path) -> dict[str, Any] | None:
    """The contents of a data-set file; None for a file that is something else."""
    if file.suffix.lower() not in (".yaml", ".yml"):
        return None
    text = "\n".join(read_lines(file))
    contents = parse_yaml(text, file, ConfigError)
    if not isinstance(contents, dict):
        raise ConfigError(f"{file}: must be YAML with keys such as classes, train, val")
    return None if "names" in contents else contents


def _of_file(file: Path, contents: dict[str, Any]) -> Described:
    for split in SPLITS:
        for source in contents.get(split) or () if isinstance(contents.get(split), list) else ():
            if isinstance(source, dict):
                source.setdefault("format", "auto")
    try:
        read = DataSetFile.model_validate(contents)
    except ValidationError as error:
        raise ConfigError(f"{file}: {describe_errors(error)}") from None
    sources: dict[str, list[SourceSettings]] = {
        split: _expanded(getattr(read, split), file.parent, split) for split in SPLITS if getattr(read, split)
    }
    return Described(file.parent, read.classes, read.tree, sources)


def _expanded(sources: Sequence[SourceSettings], root: Path, split: Split) -> list[SourceSettings]:
    recognized: list[SourceSettings] = []
    for source in sources:
        recognized += _recognized_sources(source, root, split) if isinstance(source, AutoSource) else [source]
    return recognized


def _recognized_sources(source: AutoSource, root: Path, split: Split) -> Iterator[SourceSettings]:
    """The sources that one stands for whose format is recognized, with its own keys."""
    described = read_description(root / source.path)
    wanted = source.split or split
    chosen = described.sources.get(wanted) or (described.sources.get(UNDIVIDED) if source.split is None else None)
    if not chosen:
        raise ConfigError(f"{root / source.path}: has no split {wanted!r}; there: {', '.join(described.splits)}")
    own = {key: getattr(source, key) for key in source.model_fields_set - {"format", "path", "split"}}
    for one in chosen:
        files = {key: getattr(one, key) for key in one.FILES}
        moved = {key: str(described.root / value) for key, value in files.items() if isinstance(value, str)}
        yield one.model_copy(update=moved | own)


def _of_recognized(recognized: Recognized) -> Described:
    sources = {
        split: [FORMATS[entry["format"]].Source.model_validate(entry) for entry in entries]
        for split, entries in recognized.recognition.sources.items()
    }
    return Described(recognized.root, recognized.recognition.classes, None, sources, recognized.description)
