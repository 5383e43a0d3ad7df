"""What a file says of one image, in the terms that most annotation files share, and how it becomes an annotation."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from yolo9000.data.files import is_file, json_number, read_text
from yolo9000.data.image_files import check_declared_size, duplicate_image, find_image, size_of
from yolo9000.data.issues import IssueError, RawBox, make_boxes, make_issue, scaled, shown
from yolo9000.data.labels import ClassIndices, class_of_digits, image_level
from yolo9000.data.shapes import Corners, enclosing, shape_issue
from yolo9000.io.documents import JsonError, load_json
from yolo9000.types import Annotation, ImageFile, Issue, Sample

__all__ = ["Entry", "Shape", "annotations_of", "class_names_of", "read_json", "syntax_issue", "text_of", "values_in"]

_MAX_JSON_BYTES = 512 << 20


@dataclass(frozen=True)
class Shape:
    """An object as its file has it.

    Attributes:
        label: name of its class, or its index.
        where: what names it in messages.
        corners: opposite corners of an upright box, in any order; the outline of anything else.
        kind: what it is if it is not an upright box, such as ``a polygon``.
        difficult, crowd: see `BoxAnnotations`.
    """

    label: str | int
    where: str
    corners: Corners
    kind: str = ""
    difficult: bool = False
    crowd: bool = False


@dataclass
class Entry:
    """What a file says of one image.

    Attributes:
        names: of the image's file, the likeliest first, relative to the folder of images; none where it is not known.
        where: what names it in messages.
        size_wh: the width and height that the file declares.
        shapes: objects.
        labels: image-level labels, and what names them in messages.
        issues: of what could not be understood.
        boxed: whether somebody looked for objects, so that no shapes mean no objects.
        fractions: coordinates are fractions of the image's width and height, not pixels.
        exhaustive: names of the classes that are labelled exhaustively in the image; None: what the source says.
    """

    names: Sequence[str]
    where: str
    size_wh: tuple[int, int] | None = None
    shapes: list[Shape] = field(default_factory=list)
    labels: list[tuple[str, str]] = field(default_factory=list)
    issues: list[Issue] = field(default_factory=list)
    boxed: bool = True
    fractions: bool = False
    exhaustive: Sequence[str] | None = None


def annotations_of(
    entries: Iterable[Entry], folder: Path, classes: Sequence[str], *, boxes_from_shapes: bool = False
) -> Iterator[Annotation]:
    """The annotation of each entry, in their order.

    Args:
        entries: what a file says; of the second entry for an image only an issue comes.
        folder: what their images are relative to.
        classes: names whose positions are the labels.
        boxes_from_shapes: outlines are read as their enclosing boxes; otherwise each is an issue.

    Raises:
        DataError: a class is named twice.
    """
    join = _Joiner(folder, ClassIndices(classes), len(classes), boxes_from_shapes)
    for entry in entries:
        try:
            yield join.annotation(entry)
        except IssueError as error:
            yield Annotation(None, (error.issue, *entry.issues))


def class_names_of(entries: Iterable[Entry]) -> tuple[str, ...]:
    """The names of all classes in some entries, sorted."""
    names: set[str] = set()
    for entry in entries:
        names.update(shape.label for shape in entry.shapes if isinstance(shape.label, str))
        names.update(name for name, _ in entry.labels)
    return tuple(sorted(names))


def read_json(file: Path) -> Any:
    """The contents of a JSON file.

    Raises:
        IssueError: ``file-unreadable`` or ``file-syntax``.
    """
    text = read_text(file, "file-unreadable", _MAX_JSON_BYTES)
    try:
        return load_json(text)
    except JsonError as error:
        where = str(file) if error.line is None else f"{file}:{error.line}"
        raise IssueError(make_issue("file-syntax", where, f"must be JSON ({error})", "write the file again")) from None


def values_in(values: object, count: int) -> list[float] | None:
    """The numbers in a list of the given length; None for anything else."""
    if not isinstance(values, list | tuple) or len(values) != count:
        return None
    values = [number for value in values if (number := json_number(value)) is not None]
    return values if len(values) == count else None


def syntax_issue(where: str, message: str) -> Issue:
    """The issue of an object that is not written as its format asks."""
    return make_issue("label-syntax", where, message, "correct or delete the object", fixable=True)


@dataclass
class _Joiner:
    folder: Path
    indices: ClassIndices
    count: int
    boxes_from_shapes: bool
    seen: set[Path] = field(default_factory=set)

    def annotation(self, entry: Entry) -> Annotation:
        if not entry.names:
            return Annotation(None, tuple(entry.issues))
        path = self._find(entry)
        if path in self.seen:
            return Annotation(None, (duplicate_image(entry.names[0], entry.where),))
        self.seen.add(path)
        name = path.relative_to(self.folder).as_posix() if path.is_relative_to(self.folder) else path.name
        sample = Sample(name, ImageFile(path), entry.where, exhaustive=self._exhaustive(entry))
        size_wh = size_of(sample.image, entry.where)
        issues = [*entry.issues, *self._size_issues(entry, size_wh)]
        labels = self._labels(entry, issues)
        if not entry.shapes and (labels or not entry.boxed):
            return image_level(sample, labels, issues)
        rows = [row for shape in entry.shapes if (row := self._row(shape, entry, size_wh, issues)) is not None]
        boxes, box_issues = make_boxes(rows, size_wh)
        changed = Sample(
            name, sample.image, entry.where, size_wh, boxes, tuple(sorted(labels)), None, 0, sample.exhaustive
        )
        return Annotation(changed, (*issues, *box_issues))

    def _find(self, entry: Entry) -> Path:
        paths = [find_image(self.folder, name, entry.where) for name in entry.names]
        return next((path for path in paths if is_file(path)), paths[0])

    def _exhaustive(self, entry: Entry) -> tuple[int, ...] | None:
        if entry.exhaustive is None:
            return None
        known = {self.indices.of(name, entry.where) for name in entry.exhaustive if name in self.indices}
        return tuple(sorted(known))

    def _size_issues(self, entry: Entry, size_wh: tuple[int, int]) -> list[Issue]:
        if entry.size_wh is None:
            return []
        try:
            check_declared_size(entry.size_wh, size_wh, entry.where)
        except IssueError as error:
            if not error.issue.fixable and not entry.fractions:
                raise
            return [error.issue]
        return []

    def _labels(self, entry: Entry, issues: list[Issue]) -> set[int]:
        labels: set[int] = set()
        for name, where in entry.labels:
            try:
                labels.add(self._label(name, where))
            except IssueError as error:
                issues.append(error.issue)
        return labels

    def _label(self, label: str | int, where: str) -> int:
        return (
            class_of_digits(str(label), self.count, where) if isinstance(label, int) else self.indices.of(label, where)
        )

    def _row(self, shape: Shape, entry: Entry, size_wh: tuple[int, int], issues: list[Issue]) -> RawBox | None:
        try:
            if shape.kind and not self.boxes_from_shapes:
                raise IssueError(shape_issue(shape.kind, shape.where))
            label = self._label(shape.label, shape.where)
        except IssueError as error:
            issues.append(error.issue)
            return None
        left, top, right, bottom = enclosing(shape.corners) if shape.kind else _sides(shape.corners)
        written = f"left {left:g}, top {top:g}, right {right:g}, bottom {bottom:g}"
        row = RawBox(label, left, top, right, bottom, shape.where, written, shape.difficult, shape.crowd)
        return scaled(row, size_wh) if entry.fractions else row


def _sides(corners: Corners) -> tuple[float, float, float, float]:
    (left, top), (right, bottom) = corners
    return left, top, right, bottom


def text_of(value: object, where: str, what: str) -> str:
    """A value that must be text.

    Raises:
        IssueError: ``label-syntax``.
    """
    if isinstance(value, str) and value:
        return value
    raise IssueError(syntax_issue(where, f"must have {what}, has {shown(value)}"))
