"""Class labels as files write them, names or indices, turned into class indices."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import TypeVar

from yolo9000.data.issues import IssueError, make_issue, shown
from yolo9000.errors import nearest
from yolo9000.types import Annotation, Issue, Sample

__all__ = ["ClassIndices", "add_labels", "class_of_digits", "image_level"]

Label = TypeVar("Label")

_MAX_HINTS = 100  # with thousands of classes the nearest one takes long to find


class ClassIndices:
    """From the name of a class to its number, which is its place among the classes."""

    def __init__(self, classes: Sequence[str], where: object = "classes") -> None:
        """Number the classes.

        Args:
            classes: their names.
            where: where they are named, for the error.

        Raises:
            IssueError: ``class-duplicate``.
        """
        self._indices: dict[str, int] = {}
        self._hints: dict[str, str] = {}
        for number, name in enumerate(classes):
            first = self._indices.setdefault(name, number)
            if first != number:
                message = f"a class must be named once, {shown(name)} is class {first} and class {number}"
                raise IssueError(make_issue("class-duplicate", where, message, "rename or remove one of the two"))

    def __contains__(self, name: str) -> bool:
        return name in self._indices

    def of(self, name: str, where: str) -> int:
        """The number of a class.

        Raises:
            IssueError: ``class-unknown``.
        """
        number = self._indices.get(name)
        if number is None:
            message = f"must be one of the {len(self._indices)} classes, got {shown(name)}{self._hint(name)}"
            suggestion = "correct the label, or add it to the classes"
            raise IssueError(make_issue("class-unknown", where, message, suggestion, fixable=True))
        return number

    def _hint(self, name: str) -> str:
        if name not in self._hints and len(self._hints) < _MAX_HINTS:
            self._hints[name] = nearest(name, self._indices)
        return self._hints.get(name, "")


def class_of_digits(text: str, count: int, where: str) -> int:
    """The number of a class that is written as a number.

    Raises:
        IssueError: ``label-syntax`` for what is not digits, ``class-unknown`` for a number that is too large.
    """
    if not (text.isascii() and text.isdigit()):
        message = f"a class must be a whole number, 0 to {count - 1}, got {shown(text)}"
        raise IssueError(make_issue("label-syntax", where, message, "correct the line", fixable=True))
    digits = text.lstrip("0") or "0"
    if len(digits) > len(str(count)) or int(digits) >= count:
        message = f"must be one of the {count} classes, 0 to {count - 1}, got {shown(text)}"
        suggestion = "correct the number, or name more classes; numbers begin at 0"
        raise IssueError(make_issue("class-unknown", where, message, suggestion, fixable=True))
    return int(digits)


def add_labels(
    labels: set[int], named: Iterable[tuple[Label, str]], number_of: Callable[[Label, str], int]
) -> list[Issue]:
    """Add image-level labels, each with what names it.

    Args:
        labels: those that are there; each may be there once.
        named: the labels as they are written, and where.
        number_of: the number of a class that is written so; it may raise a `IssueError`.

    Returns:
        The issues of those that were not added.
    """
    issues = []
    for name, where in named:
        try:
            label = number_of(name, where)
        except IssueError as error:
            issues.append(error.issue)
            continue
        if label in labels:
            message = f"an image must have a class once, {shown(name)} was there before"
            issues.append(make_issue("label-duplicate", where, message, "delete it", fixable=True))
        labels.add(label)
    return issues


def image_level(sample: Sample, labels: Iterable[int], issues: Iterable[Issue]) -> Annotation:
    """The sample with image-level labels alone; without any nothing is known of it, and its issues cannot be fixed."""
    if not (known := tuple(sorted(labels))):
        return Annotation(None, tuple(replace(issue, fixable=False) for issue in issues))
    return Annotation(replace(sample, image_labels=known), tuple(issues))
