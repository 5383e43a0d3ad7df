"""The YAML file of a YOLO data set, as Ultralytics' programs and Roboflow's and CVAT's exports have it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import NoReturn

import yaml

from yolo9000.data.files import is_file, is_folder, read_text
from yolo9000.data.format import SPLITS, Split
from yolo9000.data.issues import IssueError, make_issue, shown
from yolo9000.data.labels import ClassIndices
from yolo9000.data.split_names import split_of
from yolo9000.io.documents import LimitedLoader

__all__ = ["YoloYaml", "read_yolo_yaml"]

_MAX_YAML_BYTES = 1_000_000
_TEXT = "tag:yaml.org,2002:str"
_NOTHING = "tag:yaml.org,2002:null"
_WHOLE = "tag:yaml.org,2002:int"


@dataclass(frozen=True)
class YoloYaml:
    """What the YAML of a YOLO data set says.

    Attributes:
        names: of the classes.
        splits: of each split that is there its folders and lists.
        keypoints: whether its label files have keypoints behind the boxes.
    """

    names: tuple[str, ...]
    splits: dict[Split, tuple[Path, ...]]
    keypoints: bool = False


def read_yolo_yaml(file: Path) -> YoloYaml:
    """The usual YAML of a YOLO data set: ``path``, ``train``, ``val``, ``test``, ``names`` and ``nc``.

    ``valid`` and other words for a split are known too. Nothing else in it is looked at, and nothing is ever executed
    or fetched. A path that leads nowhere, because it is another machine's or begins with ``..`` as in Roboflow's
    exports, is looked for by its end, below the file's folder.

    Args:
        file: of at most 1 MB. ``path`` is relative to its folder, the splits to ``path``.

    Raises:
        DataError: the file cannot be read or is not YAML; a name is not text or is there twice; ``names`` has gaps, or
            ``nc`` is not their number; a split leads nowhere or is there twice, or there is none.
    """
    entries = _entries_of(_compose(file), file)
    names = _names_in(entries, file)
    folder = file.parent / (_text_of(entries["path"], file) if _given(entries, "path") else "")
    splits: dict[Split, tuple[Path, ...]] = {}
    for key, node in entries.items():
        split = split_of(key) if key.isalpha() else None
        paths = _paths_in(node, folder, file) if split else ()
        if split in splits and paths:
            _fail(file, node.start_mark, f"must name the split {split} once, names it again as {shown(key)}")
        if split and paths:
            splits[split] = paths
    if not splits:
        _fail(file, None, f"must name {', '.join(SPLITS)} or some of them, names none")
    return YoloYaml(names, {split: splits[split] for split in SPLITS if split in splits}, "kpt_shape" in entries)


# --- YAML. Nodes, not values: they know their lines, and whether `no` was meant as text. ---


def _compose(file: Path) -> yaml.Node | None:
    text = read_text(file, "file-unreadable", _MAX_YAML_BYTES)
    try:
        node: yaml.Node | None = yaml.compose(text, Loader=LimitedLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        _fail(file, mark, f"must be YAML: {error.problem or error.context}")
    except Exception as error:  # the parser lets others through, as for "\\UFFFFFFFF" and for very deep nesting
        _fail(file, None, f"must be YAML: {error}")
    return node


def _entries_of(node: yaml.Node | None, file: Path) -> dict[str, yaml.Node]:
    if not isinstance(node, yaml.MappingNode):
        _fail(file, None, f"must be keys and values, such as {', '.join(SPLITS)} and names")
    entries: dict[str, yaml.Node] = {}
    for key, value in node.value:
        if not isinstance(key, yaml.ScalarNode):
            continue
        if key.value in entries:
            _fail(file, key.start_mark, f"must have {shown(key.value)} once")
        entries[key.value] = value
    return entries


def _names_in(entries: dict[str, yaml.Node], file: Path) -> tuple[str, ...]:
    node = entries.get("names")
    if isinstance(node, yaml.SequenceNode):
        names = tuple(_text_of(value, file) for value in node.value)
    elif isinstance(node, yaml.MappingNode):
        names = _numbered_names(node, file)
    else:
        _fail(file, node.start_mark if node else None, "must have names, a list or a number and a name a line")
    ClassIndices(names, file)
    count = entries.get("nc")
    if count is not None and count.value != str(len(names)):
        _fail(file, count.start_mark, f"nc must be {len(names)}, the number of names, is {shown(count.value)}")
    return names


def _numbered_names(node: yaml.MappingNode, file: Path) -> tuple[str, ...]:
    names: dict[int, str] = {}
    for key, value in node.value:
        if key.tag != _WHOLE or not re.fullmatch("[0-9]{1,9}", key.value) or int(key.value) in names:
            _fail(file, key.start_mark, f"must be the number of a class, each once, got {shown(key.value)}")
        names[int(key.value)] = _text_of(value, file)
    if sorted(names) != list(range(len(names))):
        _fail(file, node.start_mark, f"the numbers of names must be 0 to {len(names) - 1} without gaps")
    return tuple(names[number] for number in range(len(names)))


def _given(entries: dict[str, yaml.Node], key: str) -> bool:
    return key in entries and entries[key].tag != _NOTHING


def _paths_in(node: yaml.Node, folder: Path, file: Path) -> tuple[Path, ...]:
    if node.tag == _NOTHING:
        return ()
    nodes = node.value if isinstance(node, yaml.SequenceNode) else [node]
    return tuple(_path_in(entry, folder, file) for entry in nodes)


def _path_in(node: yaml.Node, folder: Path, file: Path) -> Path:
    written = _text_of(node, file)
    plain = written.replace("\\", "/")
    matches = next((path for path in _locations(plain, folder, file.parent) if is_file(path) or is_folder(path)), None)
    if matches is None:
        hint = " (a path of another machine?)" if PurePosixPath(plain).is_absolute() or ":" in plain else ""
        message = f"must name a folder or a list that is there, {folder / plain} is not{hint}"
        _fail(file, node.start_mark, message)
    return matches


def _locations(written: str, folder: Path, beside: Path) -> Iterator[Path]:
    """Where a path may lead: as it stands, then by shorter and shorter ends of it."""
    yield folder / written
    yield beside / written
    parts = [part for part in PurePosixPath(written).parts if part not in ("..", ".", "/")]
    for start in range(len(parts)):
        yield beside.joinpath(*parts[start:])


def _text_of(node: yaml.Node, file: Path) -> str:
    if node.tag != _TEXT or not node.value.strip() or not node.value.isprintable():
        got = shown(node.value if isinstance(node, yaml.ScalarNode) else node.tag)
        _fail(
            file, node.start_mark, f'must be text, in quotes where YAML takes it for something else ("no"), got {got}'
        )
    return str(node.value)


def _fail(file: Path, mark: yaml.Mark | None, message: str) -> NoReturn:
    where = f"{file}:{mark.line + 1}" if mark else str(file)
    raise IssueError(make_issue("file-syntax", where, message, "correct the file"))
