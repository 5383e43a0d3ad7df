"""Darknet: a ``.data`` file that names lists of images, with a label file for each image, see `label_files`.

Darknet: src/option_list.c read_data_cfg; src/data.c; Yolo_mark, CVAT's YOLO 1.1 and Roboflow's Darknet export.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import ClassVar, Final, Literal, NoReturn

import yaml

from yolo9000.data.data_file import read_data
from yolo9000.data.files import is_file
from yolo9000.data.format import SPLITS, NumberedSettings, Recognition, Split
from yolo9000.data.issues import IssueError, make_issue, shown
from yolo9000.data.label_files import LABEL_FOLDER, LabelOptions, put_image, read_label_files, write_label_file
from yolo9000.data.labels import ClassIndices
from yolo9000.data.listing import Listing
from yolo9000.data.writing import writing
from yolo9000.errors import DataError
from yolo9000.io.files import write_atomically
from yolo9000.io.naming import OutputNames
from yolo9000.taxonomy.files import read_names
from yolo9000.types import Annotation, Sample

__all__ = [
    "NAME",
    "TITLE",
    "Source",
    "class_names",
    "read",
    "read_darknet_data",
    "sniff",
    "write",
    "write_darknet",
]

NAME: Final = "darknet"
TITLE = "Darknet"

_DATA_KEYS: dict[Split, str] = {"train": "train", "val": "valid", "test": "test"}


class Source(NumberedSettings):
    """Images with label files: a folder, or a list with a path a line.

    Attributes:
        keypoints: behind the box of each line stand keypoints, which are not read.
        missing_is_empty: an image without a label file has no objects.
    """

    FILES: ClassVar[tuple[str, ...]] = ("path", "names")
    format: Literal["darknet"] = NAME
    keypoints: bool = False
    missing_is_empty: bool = False


def sniff(listing: Listing) -> Recognition | None:
    """A ``.data`` file that names lists and classes."""
    files = listing.files("", ".data") if listing.file is None else listing.documents(".data")
    for name in files:
        lines = [line.partition("=")[0].strip() for line in listing.first_lines(name)]
        if {"names", "labels"} & set(lines) and {"train", "valid", "test"} & set(lines):
            return _recognition(listing, name)
    return None


def _recognition(listing: Listing, name: str) -> Recognition:
    classes, splits = read_darknet_data(listing.root / name)
    sources: dict[str, list[dict[str, object]]] = {
        split: [{"format": NAME, "path": _path_from(listing.root, path), "names": list(classes)}]
        for split, path in splits.items()
    }
    counts: dict[str, int | None] = {
        split: len([line for line in _lines(path) if line.strip()]) for split, path in splits.items()
    }
    used = frozenset([name, *(path.name for path in splits.values()), "images", LABEL_FOLDER, *listing.folders()])
    yaml_too = bool(listing.files("", ".yaml", ".yml")) and listing.file is None
    confidence = 0.7 if yaml_too else 0.95
    return Recognition(confidence, TITLE, f"{name} names lists and classes", sources, counts, classes, used)


def _lines(path: Path) -> list[str]:
    try:
        text = path.read_text(encoding="utf-8-sig", errors="replace")
        return [line for line in text.splitlines() if line.strip()]
    except OSError:
        return []


def _path_from(root: Path, path: Path) -> str:
    path, root = path.absolute(), root.absolute()
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)


def class_names(root: Path, source: Source) -> Sequence[str]:
    """The given names."""
    return read_names(root / source.names) if isinstance(source.names, str) else source.names or ()


def read(root: Path, source: Source, classes: Sequence[str]) -> Iterator[Annotation]:
    """See `read_label_files`."""
    options = LabelOptions(source.boxes_from_shapes, source.keypoints, source.missing_is_empty)
    yield from read_label_files([root / source.path], classes, options)


def read_darknet_data(file: Path) -> tuple[tuple[str, ...], dict[Split, Path]]:
    """Darknet's ``.data``: ``classes``, ``names`` or ``labels``, ``train``, ``valid``, ``test``.

    The classes are named by ``labels`` where it is there: in Darknet's 9k ``names`` are not unique.

    Args:
        file: the files that it names are looked for around it.

    Returns:
        The names of the classes, and of each split that is there its list.

    Raises:
        DataError: a file cannot be read or is not there; a name is there twice; ``classes`` is not their number; there
            is no split.
    """
    data = read_data(file)
    names_file = data.file("labels") or data.file("names")
    if names_file is None:
        _fail(file, "must have names = and a file, has none")
    names = read_names(names_file)
    ClassIndices(names, names_file)
    if data.options.get("classes", str(len(names))) != str(len(names)):
        _fail(file, f"classes must be {len(names)}, the number of names, is {shown(data.options['classes'])}")
    splits: dict[Split, Path] = {}
    for split, key in _DATA_KEYS.items():
        if (path := data.file(key)) is not None:
            splits[split] = path
    if not splits:
        _fail(file, f"must have {', '.join(_DATA_KEYS.values())} or some of them, has none")
    return names, splits


def _fail(file: Path, message: str) -> NoReturn:
    raise IssueError(make_issue("file-syntax", file, message, "correct the file"))


# --- Writing. ---


def write_darknet(
    folder: Path,
    samples: Iterable[Sample],
    classes: Sequence[str],
    split: Split = "train",
    *,
    copy: bool = False,
    names: OutputNames | None = None,
) -> None:
    """Write a data set as Darknet and YOLO programs read it.

    That is ``images/``, ``labels/``, ``<split>.txt``, ``classes.names``, ``dataset.data`` and ``dataset.yaml``, the
    last two with all splits that have been written to the folder. Difficult boxes and crowds are left out, as Darknet's
    own scripts do. Programs that take relative paths for the working folder's must be started in the folder.

    Args:
        folder: where to; other splits may be there already.
        samples: with boxes, image-level labels or both.
        classes: the names of the labels.
        split: what the samples are for.
        copy: copy the images rather than link to them; those in tar files are always copied.
        names: of the files that other splits have; None: there are no others of the same names.

    Raises:
        DataError: a sample of which nothing is known, an image whose size cannot be read, a label file that is there
            already, a name that is not one line, or a file that cannot be written.
    """
    names = names or OutputNames()
    _check_names(folder, classes)
    lines = []
    with writing(folder):
        for part in ("images", LABEL_FOLDER):
            (folder / part).mkdir(parents=True, exist_ok=True)
        for sample in samples:
            stem = names.stem(f"{split}/{sample.name}", None)
            image = folder / "images" / (stem + Path(sample.name).suffix.lower())
            write_label_file(folder / LABEL_FOLDER / f"{stem}.txt", sample)
            put_image(sample.image, image, copy)
            lines.append(f"./images/{image.name}\n")
        write_atomically(folder / f"{split}.txt", "".join(lines))
        _write_description(folder, classes)


write = write_darknet


def _check_names(folder: Path, classes: Sequence[str]) -> None:
    if bad := [name for name in classes if name != name.strip() or not name or not name.isprintable()]:
        message = "names of classes must be one line each, without blanks at their ends"
        raise DataError(f"{folder}: {message}, got {shown(bad[0])}; rename it with map in a data-set file")


def _write_description(folder: Path, classes: Sequence[str]) -> None:
    data: dict[str, object] = {"classes": len(classes), "names": "classes.names"}
    description: dict[str, object] = {}
    for split in SPLITS:
        if is_file(folder / f"{split}.txt"):
            data[_DATA_KEYS[split]] = description[split] = f"{split}.txt"
    description["names"] = dict(enumerate(classes))
    write_atomically(folder / "classes.names", "".join(f"{name}\n" for name in classes))
    write_atomically(folder / "dataset.data", "".join(f"{key} = {value}\n" for key, value in data.items()))
    text = yaml.safe_dump(description, sort_keys=False, allow_unicode=True)
    write_atomically(folder / "dataset.yaml", text)
