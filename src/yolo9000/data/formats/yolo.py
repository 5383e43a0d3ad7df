"""YOLO: images with label files, in folders that a ``data.yaml`` or their own names tell apart, see `label_files`.

Ultralytics' layout and the exports that follow it (Roboflow, CVAT, Label Studio); labelImg's text files.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar, Final, Literal

import yaml

from yolo9000.data.files import to_number
from yolo9000.data.format import SPLITS, NumberedSettings, Recognition, Split
from yolo9000.data.image_files import is_image
from yolo9000.data.issues import IssueError, shown
from yolo9000.data.label_files import LABEL_FOLDER, LabelOptions, put_image, read_label_files, write_label_file
from yolo9000.data.labels import ClassIndices
from yolo9000.data.listing import Listing, join
from yolo9000.data.split_names import UNDIVIDED, by_split
from yolo9000.data.writing import writing
from yolo9000.data.yolo_yaml import read_yolo_yaml
from yolo9000.errors import DataError
from yolo9000.io.files import write_atomically
from yolo9000.io.naming import OutputNames
from yolo9000.taxonomy.files import read_names
from yolo9000.types import Annotation, Sample

__all__ = ["NAME", "TITLE", "Source", "class_names", "read", "sniff", "write"]

NAME: Final = "yolo"
TITLE = "YOLO"

_NAMES_FILES = ("classes.txt", "obj.names", "classes.names", "_darknet.labels", "predefined_classes.txt")
_NOT_LABELS = {*_NAMES_FILES, "train.txt", "val.txt", "valid.txt", "test.txt"}
_IMAGE_FOLDERS = ("images", "JPEGImages")
_LABELS_TRIED = 5
_YAML_FILE = "data.yaml"


class Source(NumberedSettings):
    """Images with label files: a folder, or a list with a path a line.

    Attributes:
        keypoints: behind the box of each line stand keypoints, which are not read.
        missing_is_empty: an image without a label file has no objects.
    """

    FILES: ClassVar[tuple[str, ...]] = ("path", "names")
    format: Literal["yolo"] = NAME
    keypoints: bool = False
    missing_is_empty: bool = False


# --- Recognizing. ---


def sniff(listing: Listing) -> Recognition | None:
    """A ``.yaml`` with names and splits, or label files in ``labels/`` or beside the images."""
    if listing.file is not None:
        return _by_yaml(listing, listing.file) if listing.documents(".yaml", ".yml") else None
    yamls = sorted(
        listing.files("", ".yaml", ".yml"), key=lambda name: (name not in (_YAML_FILE, "dataset.yaml"), name)
    )
    for name in yamls:
        matches = _by_yaml(listing, name)
        if matches is not None:
            return matches
    return _by_folders(listing)


def _by_yaml(listing: Listing, name: str) -> Recognition | None:
    lines = listing.head(name).decode("utf-8-sig", "replace").splitlines()
    keys = {line.partition(":")[0].strip("\"' ") for line in lines if line and not line[0].isspace()}
    if "names" not in keys:
        return None
    try:
        matches = read_yolo_yaml(listing.root / name)
    except IssueError:
        if listing.file is not None or not (layout := _by_folders(listing)):
            raise
        return layout
    sources: dict[str, list[dict[str, Any]]] = {}
    counts: dict[str, int | None] = {}
    for split, paths in matches.splits.items():
        relative = [_path_from(listing.root, path) for path in paths]
        entry = {"format": NAME, "names": list(matches.names)} | ({"keypoints": True} if matches.keypoints else {})
        sources[split] = [entry | {"path": path} for path in relative]
        counts[split] = sum(_count(listing.root / path) for path in relative)
    used = frozenset(
        [
            name,
            LABEL_FOLDER,
            *_IMAGE_FOLDERS,
            *(first for some in sources.values() for one in some for first in PurePosixPath(one["path"]).parts[:1]),
        ]
    )
    return Recognition(0.95, TITLE, f"{name} names classes and splits", sources, counts, matches.names, used)


def _count(path: Path) -> int:
    if path.is_dir():
        return Listing(path).image_count()
    return 1 if is_image(path) else Listing(path.parent).line_count(path.name)


def _path_from(root: Path, path: Path) -> str:
    path, root = path.absolute(), root.absolute()
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)


def _by_folders(listing: Listing) -> Recognition | None:
    folders = _folders_by_split(listing)
    if not folders:
        return None
    names = _names_file(listing, folders.values())
    classes: tuple[str, ...] | None = None
    if names is not None:
        classes = read_names(listing.root / names)
        ClassIndices(classes, listing.root / names)
    entry: dict[str, Any] = {"format": NAME} | ({"names": names} if names else {})
    sources = {split: [entry | {"path": folder or "."}] for split, folder in folders.items()}
    counts = {
        PurePosixPath(folder).parent.name or folder if folder.endswith("images") else PurePosixPath(folder).name: (
            listing.image_count(folder)
        )
        for folder in folders.values()
    }
    beside = all(_label_folder(folder) == folder for folder in folders.values())
    where = "beside the images" if beside else f"in {_label_folder(next(iter(folders.values())))}/"
    used = {part for folder in folders.values() for part in (*PurePosixPath(folder).parts[:1], LABEL_FOLDER)}
    used |= {names or ""} | (set(listing.files()) if beside else set())
    title = "YOLO label files"
    confidence = 0.6 if listing.files("", ".data") else 0.85
    return Recognition(confidence, title, f"label files {where}", sources, counts, classes, frozenset(used))


def _folders_by_split(listing: Listing) -> dict[str, str]:
    """The folder of images of each split, or of the whole under ``""``; each has label files."""
    images = listing.folder_called(*_IMAGE_FOLDERS)
    if images is not None:
        divided = {split: join(images, name) for split, name in by_split(listing.folders(images)).items()}
        matches = {split: folder for split, folder in divided.items() if _has_labels(listing, folder)}
        lists = by_split(name.removesuffix(".txt") for name in listing.files("", ".txt"))
        if matches:
            return dict(matches)
        if _has_labels(listing, images):
            return {split: f"{name}.txt" for split, name in lists.items()} or {UNDIVIDED: images}
    matches = {}
    for split, folder in listing.split_folders().items():
        below = listing.folder_called(*_IMAGE_FOLDERS, within=folder) or folder
        if _has_labels(listing, below):
            matches[split] = below
    if matches:
        return dict(matches)
    return {UNDIVIDED: ""} if listing.images() and _has_labels(listing, "") else {}


def _label_folder(images: str) -> str:
    parts = list(PurePosixPath(images).parts)
    for index in reversed(range(len(parts))):
        if parts[index] in _IMAGE_FOLDERS:
            parts[index] = LABEL_FOLDER
            return "/".join(parts)
    return images


def _has_labels(listing: Listing, images: str) -> bool:
    """Whether the label files of a folder of images look like ones, or are all empty."""
    folder = _label_folder(images)
    labels = [name for name in _some_texts(listing, folder, 3) if PurePosixPath(name).name.lower() not in _NOT_LABELS]
    if folder == images:  # where other texts may be
        stems = {PurePosixPath(name).stem for name in listing.images(images)}
        labels = [name for name in labels if PurePosixPath(name).stem in stems]
    firsts = [lines[0] for name in labels[:_LABELS_TRIED] if (lines := listing.first_lines(name, 1))]
    return bool(labels) and all(_is_label_line(line) for line in firsts)


def _some_texts(listing: Listing, folder: str, depth: int) -> list[str]:
    matches = [join(folder, name) for name in listing.files(folder, ".txt")[:200]]
    for name in listing.folders(folder)[:10] if depth and not matches else ():
        matches += _some_texts(listing, join(folder, name), depth - 1)
    return matches


def _is_label_line(line: str) -> bool:
    """Whether a line may be a label, even a wrong one: at least a class and four numbers."""
    parts = line.replace(",", ".").split()
    return len(parts) >= 5 and all(to_number(part) is not None for part in parts[1:5])


def _names_file(listing: Listing, folders: Iterable[str]) -> str | None:
    positions = ["", LABEL_FOLDER, "data"]
    for folder in folders:
        positions += [_label_folder(folder), folder, str(PurePosixPath(folder).parent)]
    for position in dict.fromkeys("" if position == "." else position for position in positions):
        there = listing.files(position)
        others = [name for name in there if name.endswith(".names")]
        matches = next((name for name in (*_NAMES_FILES, *others) if name in there), None)
        if matches:
            return join(position, matches)
    return None


# --- Reading. ---


def class_names(root: Path, source: Source) -> Sequence[str]:
    """The given names."""
    return read_names(root / source.names) if isinstance(source.names, str) else source.names or ()


def read(root: Path, source: Source, classes: Sequence[str]) -> Iterator[Annotation]:
    """See `read_label_files`."""
    options = LabelOptions(source.boxes_from_shapes, source.keypoints, source.missing_is_empty)
    yield from read_label_files([root / source.path], classes, options)


# --- Writing. ---


def write(
    folder: Path,
    samples: Iterable[Sample],
    classes: Sequence[str],
    split: Split,
    *,
    copy: bool = True,
    names: OutputNames | None = None,
) -> None:
    """Write ``images/<split>``, ``labels/<split>`` and ``data.yaml`` with all splits that have been written.

    Difficult boxes and crowds are left out.

    Args:
        folder: where to; other splits may be there already.
        samples: with boxes, image-level labels or both.
        classes: the names of the labels.
        split: what the samples are for.
        copy: copy the images rather than link to them; those in tar files are always copied.
        names: not needed: each split has its own folder.

    Raises:
        DataError: a sample of which nothing is known, an image that cannot be read, a label file that is there
            already, a class name that YAML cannot hold, or a file that cannot be written.
    """
    stems = OutputNames()
    if bad := [name for name in classes if not name.strip() or not name.isprintable()]:
        raise DataError(f"{folder}: names of classes must be printable, got {shown(bad[0])}")
    images, labels = folder / "images" / split, folder / LABEL_FOLDER / split
    with writing(folder):
        images.mkdir(parents=True, exist_ok=True)
        labels.mkdir(parents=True, exist_ok=True)
        for sample in samples:
            stem = stems.stem(sample.name, None)
            write_label_file(labels / f"{stem}.txt", sample)
            put_image(sample.image, images / (stem + Path(sample.name).suffix.lower()), copy)
        write_atomically(folder / _YAML_FILE, _yaml_of(folder, classes))


def _yaml_of(folder: Path, classes: Sequence[str]) -> str:
    entries: dict[str, object] = {split: f"images/{split}" for split in SPLITS if (folder / "images" / split).is_dir()}
    entries |= {"nc": len(classes), "names": dict(enumerate(classes))}
    return yaml.safe_dump(entries, sort_keys=False, allow_unicode=True)
