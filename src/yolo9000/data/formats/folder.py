"""Folders of images: the folder is the class, which gives image-level labels and no boxes.

``root/<class>/...`` holds the images of a class, directly or in folders below. The folders are called as the classes
are, which may be WordNet ids.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from yolo9000.data.formats import ClassIndices, check_there, entries_of, is_folder, is_image, is_note, walk_images
from yolo9000.data.issues import IssueError, make_issue
from yolo9000.types import Annotation, ImageFile, Issue, Sample

__all__ = ["folder_classes", "read_folder"]


def read_folder(root: Path, classes: Sequence[str]) -> Iterator[Annotation]:
    """The images of each class in the order of their names. All images of a folder that is no class are one issue.

    Args:
        root: the folder that holds a folder for each class.
        classes: their names; their places are the labels.

    Raises:
        DataError: the folder cannot be read, or a class is named twice.
    """
    numbers = ClassIndices(classes)
    for path, _ in entries_of(root):
        if is_folder(path):
            yield from _read_class(root, path, numbers)
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


def _read_class(root: Path, folder: Path, numbers: ClassIndices) -> Iterator[Annotation]:
    try:
        label = numbers.of(folder.name, str(folder))
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
