"""Folders of images: the folder is the class, which gives image-level labels and no boxes.

``root/<class>/...`` holds the images of a class, directly or in folders below. The folders are called as the classes
are, which may be WordNet ids.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path, PurePath
from typing import Final, Literal

from yolo9000.data.files import entries_of, is_folder, is_note, is_note_name
from yolo9000.data.format import Recognition, SourceSettings, Split
from yolo9000.data.image_files import check_there, is_image, walk_images
from yolo9000.data.issues import IssueError, make_issue, shown
from yolo9000.data.label_files import put_image
from yolo9000.data.labels import ClassIndices
from yolo9000.data.listing import Listing, join
from yolo9000.data.split_names import UNDIVIDED, split_of
from yolo9000.data.writing import writing
from yolo9000.errors import DataError
from yolo9000.io.naming import OutputNames
from yolo9000.types import Annotation, ImageFile, Issue, Sample

__all__ = ["NAME", "TITLE", "Source", "class_names", "folder_classes", "read", "read_folder", "sniff", "write"]

NAME: Final = "folder"
TITLE = "class folders"

_PARTS_OF_OTHERS = re.compile(
    r"images?|imgs?|ann|labels?|label_\d|image_\d|annotations?|jpegimages|imagesets|segmentation\w*|masks?|data|meta|"
    r"training|testing|photos|images|all|obj_train_data|calib|velodyne|.*20\d\d"
)
"""Names of folders that are parts of other layouts, in lower case."""
_CLASSES_TRIED = 8


class Source(SourceSettings):
    """A folder for each class: image-level labels."""

    format: Literal["folder"] = NAME


# --- Recognizing. ---


def sniff(listing: Listing) -> Recognition | None:
    """Two or more folders of images that are not named as parts of another layout, perhaps below split folders."""
    if listing.file is not None or listing.images() or _has_annotations(listing, ""):
        return None
    splits: dict[str, str] = {
        split: name for split, name in listing.split_folders().items() if _class_folders(listing, name)
    }
    folders = splits or {UNDIVIDED: ""}
    names = {split: _class_folders(listing, folder) for split, folder in folders.items()}
    classes = {name for matches in names.values() for name in matches}
    if len(classes) < 2:
        return None
    sources = {split: [{"format": NAME, "path": folder or "."}] for split, folder in folders.items()}
    counts = {folder or "images": listing.image_count(folder) for folder in folders.values()}
    some = ", ".join(sorted(classes)[:3]) + (" ..." if len(classes) > 3 else "")
    used = frozenset(splits.values()) if splits else frozenset(classes)
    return Recognition(0.5, f"{len(classes)} {TITLE}", f"folders of images: {some}", sources, counts, used=used)


def _class_folders(listing: Listing, folder: str) -> list[str]:
    """The names of the class folders in a folder; none where it does not look like class folders."""
    names = listing.folders(folder)
    if not names or listing.images(folder) or _has_annotations(listing, folder):
        return []
    if any(_PARTS_OF_OTHERS.fullmatch(name.lower()) or split_of(name) == name.lower() for name in names):
        return []
    tried = names[:: max(1, len(names) // _CLASSES_TRIED)]
    looks = [_looks_like_class(listing, join(folder, name)) for name in tried]
    return names if any(looks) and all(look is not False for look in looks) else []


def _looks_like_class(listing: Listing, folder: str) -> bool | None:
    """Whether a folder holds images and nothing that describes them; None for one that holds nothing."""
    if _has_annotations(listing, folder):
        return False
    if listing.has_images(folder, depth=2):
        return True
    return None if not listing.files(folder) and not listing.folders(folder) else False


def _has_annotations(listing: Listing, folder: str) -> bool:
    described = listing.files(folder, ".json", ".xml", ".jsonl", ".parquet", ".txt", ".csv", ".tsv")
    return any(not is_note_name(name) for name in described)


# --- Reading. ---


def class_names(root: Path, source: Source) -> Sequence[str]:
    """The folders' names, sorted."""
    return folder_classes(root / source.path)


def read(root: Path, source: Source, classes: Sequence[str]) -> Iterator[Annotation]:
    """See `read_folder`."""
    yield from read_folder(root / source.path, classes)


def read_folder(root: Path, classes: Sequence[str]) -> Iterator[Annotation]:
    """The images of each class in the order of their names. All images of a folder that is no class are one issue.

    Args:
        root: the folder that holds a folder for each class.
        classes: their names; their places are the labels.

    Raises:
        DataError: the folder cannot be read, or a class is named twice.
    """
    indices = ClassIndices(classes)
    for path, _ in entries_of(root):
        if is_folder(path):
            yield from _read_class(root, path, indices)
        elif is_image(path) or not is_note(path):
            message, suggestion = "must be in the folder of its class", "move it into one, or elsewhere"
            yield Annotation(None, (make_issue("label-missing", path, message, suggestion),))


def folder_classes(root: Path) -> tuple[str, ...]:
    """The names of the folders, sorted.

    Raises:
        DataError: the folder cannot be read, or holds no folders.
    """
    names = tuple(path.name for path, _ in entries_of(root) if is_folder(path))
    if not names:
        message = "must hold a folder with images for each class, holds none"
        raise IssueError(make_issue("file-syntax", root, message, "name the folder that holds the classes' folders"))
    return names


def _read_class(root: Path, folder: Path, indices: ClassIndices) -> Iterator[Annotation]:
    try:
        label = indices.of(folder.name, str(folder))
    except IssueError as error:
        yield Annotation(None, (replace(error.issue, fixable=False),))
        return
    empty = True
    for item in walk_images(folder):
        empty = False
        yield Annotation(None, (item,)) if isinstance(item, Issue) else _read_one(root, item, label)
    if empty:
        message, suggestion = "must hold images of its class, holds none", "add images, or delete the folder"
        yield Annotation(None, (make_issue("class-empty", folder, message, suggestion, fixable=True),))


def _read_one(root: Path, path: Path, label: int) -> Annotation:
    image, where = ImageFile(path), str(path)
    try:
        check_there(image, where)
    except IssueError as error:
        return Annotation(None, (error.issue,))
    return Annotation(Sample(path.relative_to(root).as_posix(), image, where, image_labels=(label,)))


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
    """Write each image into ``<split>/<class>``.

    Args:
        folder: where to; other splits may be there already.
        samples: each with one image-level label and no boxes.
        classes: the names of the labels, which become names of folders.
        split: what the samples are for.
        copy: copy the images rather than link to them; those in tar files are always copied.
        names: not needed: each split has its own folder.

    Raises:
        DataError: a sample with boxes or without exactly one label; a class whose name cannot be a folder's; an image
            that cannot be read or written.
    """
    stems = [OutputNames() for _ in classes]
    if bad := [name for name in classes if PurePath(name).name != name or name.startswith(".")]:
        raise DataError(f"{folder}: names of classes must be names of folders, got {shown(bad[0])}")
    with writing(folder):
        for sample in samples:
            if sample.boxes is not None or len(sample.image_labels) != 1:
                raise DataError(f"{sample.where}: must have one image-level label and no boxes for a class folder")
            label = sample.image_labels[0]
            target = folder / split / classes[label]
            target.mkdir(parents=True, exist_ok=True)
            stem = stems[label].stem(sample.name, None)
            put_image(sample.image, target / (stem + PurePath(sample.name).suffix.lower()), copy)
