"""Folders of pictures: the folder is the class, which gives image-level labels and no boxes.

``root/<class>/...`` holds the pictures of a class, directly or in folders below. The folders are called as the classes
are, which may be WordNet ids.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from yolo9000.data.formats import ClassNumbers, check_there, entries_of, is_folder, is_note, is_picture, walk_pictures
from yolo9000.data.issues import FaultError, make_fault
from yolo9000.types import Annotation, Fault, PictureFile, Sample

__all__ = ["folder_classes", "read_folder"]


def read_folder(root: Path, classes: Sequence[str]) -> Iterator[Annotation]:
    """The pictures of each class in the order of their names. All pictures of a folder that is no class are one fault.

    Args:
        root: the folder that holds a folder for each class.
        classes: their names; their places are the labels.

    Raises:
        DataError: the folder cannot be read, or a class is named twice.
    """
    numbers = ClassNumbers(classes)
    for path, _ in entries_of(root):
        if is_folder(path):
            yield from _read_class(root, path, numbers)
        elif is_picture(path) or not is_note(path):
            message, advice = "must be in the folder of its class", "move it into one, or elsewhere"
            yield Annotation(None, (make_fault("label-missing", path, message, advice),))


def folder_classes(root: Path) -> tuple[str, ...]:
    """The names of the folders, sorted.

    Raises:
        DataError: the folder cannot be read, or holds no folders.
    """
    names = tuple(path.name for path, _ in entries_of(root) if is_folder(path))
    if not names:
        message = "must hold a folder with pictures for each class, holds none"
        raise FaultError(make_fault("file-syntax", root, message, "name the folder that holds the classes' folders"))
    return names


def _read_class(root: Path, folder: Path, numbers: ClassNumbers) -> Iterator[Annotation]:
    try:
        label = numbers.of(folder.name, str(folder))
    except FaultError as error:
        yield Annotation(None, (replace(error.fault, fixable=False),))
        return
    empty = True
    for item in walk_pictures(folder):
        empty = False
        yield Annotation(None, (item,)) if isinstance(item, Fault) else _read_one(root, item, label)
    if empty:
        message, advice = "must hold pictures of its class, holds none", "add pictures, or delete the folder"
        yield Annotation(None, (make_fault("class-empty", folder, message, advice, fixable=True),))


def _read_one(root: Path, path: Path, label: int) -> Annotation:
    picture, where = PictureFile(path), str(path)
    try:
        check_there(picture, where)
    except FaultError as error:
        return Annotation(None, (error.fault,))
    return Annotation(Sample(path.relative_to(root).as_posix(), picture, where, image_labels=(label,)))
