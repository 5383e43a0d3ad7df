"""Objects as Hugging Face's ``datasets`` has them: lists of boxes and of categories, or a list of both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from yolo9000.data.entries import Entry, Shape, syntax_issue, values_in
from yolo9000.data.issues import shown
from yolo9000.data.shapes import Corners

__all__ = ["BOXES", "CATEGORIES", "BoxForm", "category_of", "corners_of_box", "lists_of", "take_objects"]

BoxForm = Literal["xywh", "xyxy", "cxcywh"]
"""What the four numbers of a box are: its left top corner or its center with width and height, or two corners."""

BOXES = ("bbox", "bboxes", "boxes", "box")
CATEGORIES = ("category", "categories", "label", "labels", "category_id", "class", "classes")


def take_objects(
    objects: object, where: str, entry: Entry, form: BoxForm = "xywh", names: Sequence[str] | None = None
) -> None:
    """Add the objects of an image to what is said of it, or what is wrong with them.

    Args:
        objects: the lists, or the list.
        where: what names the image in messages.
        entry: what is said of the image.
        form: what the four numbers of a box are.
        names: what categories that are indices stand for; None leaves them as they are.
    """
    boxes, categories = lists_of(objects)
    if boxes is None or categories is None or len(categories) != len(boxes):
        entry.issues.append(syntax_issue(where, f"must have as many categories as boxes, got {shown(objects)}"))
        return
    for index, (box, category) in enumerate(zip(boxes, categories, strict=True)):
        here = f"{where}: object {index}"
        sides = values_in(box, 4)
        label = category_of(category, names)
        if sides is None or label is None:
            message = f"must be four numbers and a category, got {shown((box, category))}"
            entry.issues.append(syntax_issue(here, message))
        else:
            entry.shapes.append(Shape(label, here, corners_of_box(sides, form)))


def category_of(category: object, names: Sequence[str] | None) -> str | int | None:
    """The name of a category, or its index where there are no names; None for what is neither."""
    if isinstance(category, str):
        return category
    if type(category) is not int or category < 0:
        return None
    if names is None:
        return category
    return names[category] if category < len(names) else None


def lists_of(objects: object) -> tuple[list[Any] | None, list[Any] | None]:
    """The boxes and the categories of some objects; None for what is no list."""
    if isinstance(objects, list) and all(isinstance(one, Mapping) for one in objects):
        return [_one_of(one, BOXES) for one in objects], [_one_of(one, CATEGORIES) for one in objects]
    if not isinstance(objects, Mapping):
        return None, None
    boxes, categories = _one_of(objects, BOXES), _one_of(objects, CATEGORIES)
    return boxes if isinstance(boxes, list) else None, categories if isinstance(categories, list) else None


def _one_of(record: Mapping[str, Any], keys: Sequence[str]) -> Any:
    return next((record[key] for key in keys if record.get(key) is not None), None)


def corners_of_box(sides: Sequence[float], form: BoxForm) -> Corners:
    """Two corners of the box that four numbers give."""
    a, b, c, d = sides
    if form == "xyxy":
        return [(a, b), (c, d)]
    left, top = (a, b) if form == "xywh" else (a - c / 2, b - d / 2)
    return [(left, top), (left + c, top + d)]
