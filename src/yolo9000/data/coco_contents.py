"""What a COCO JSON file holds, read element by element; of each object only numbers are kept."""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float64

from yolo9000.data.files import json_number, to_number, url_parts
from yolo9000.data.issues import IssueError, make_issue, shown
from yolo9000.data.json_stream import list_stretches
from yolo9000.data.shapes import enclosing_xywh, shape_issue
from yolo9000.types import Issue

__all__ = [
    "LISTS",
    "CocoContents",
    "CocoImage",
    "CocoObject",
    "image_name",
    "names_by_id",
    "read_categories",
    "read_contents",
    "rows_of",
]

LISTS = ("images", "annotations", "categories")
_MAX_ID = 1 << 53  # ids stand among floats, which hold whole numbers up to here


class CocoImage(NamedTuple):
    """An image; LVIS also says which categories were looked for and not found, and which not looked for everywhere."""

    position: int
    id: int
    file_name: str
    size_wh: tuple[int, int] | None
    negative: tuple[int, ...] = ()
    not_exhaustive: tuple[int, ...] | None = None


class CocoObject(NamedTuple):
    """A row of numbers; what is not there is NaN."""

    position: float
    id: float
    image_id: float
    category_id: float
    left: float
    top: float
    width: float
    height: float
    area: float
    crowd: float
    difficult: float


@dataclass
class CocoContents:
    """What was read; `issues` by the id of their image, None where they have none."""

    file: Path
    boxes_from_shapes: bool = False
    images: list[CocoImage] = field(default_factory=list)
    objects: array[float] = field(default_factory=lambda: array("d"))
    categories: dict[int, str] = field(default_factory=dict)
    issues: dict[int | None, list[Issue]] = field(default_factory=dict)

    def add_issue(self, issue: Issue, image_id: int | None = None) -> None:
        """Keep an issue with its image."""
        self.issues.setdefault(image_id, []).append(issue)


def read_contents(file: Path, *, boxes_from_shapes: bool = False) -> CocoContents:
    """All that a file holds.

    Args:
        file: COCO JSON.
        boxes_from_shapes: an object without ``bbox`` gets that of its ``segmentation``.

    Raises:
        DataError: the file cannot be read or understood, lacks one of its lists, or has a category that cannot be used
            or is there twice.
    """
    contents = CocoContents(file, boxes_from_shapes)
    image_ids: set[int] = set()
    for key, first, elements in list_stretches(file, LISTS, "COCO JSON"):
        for position, element in enumerate(elements, first):
            if key == "categories":
                _take_category(element, _where(file, key, position), contents.categories)
            elif key == "images":
                _take_image(element, position, contents, image_ids)
            elif usual := _usual_object(element, position):
                contents.objects.extend(usual)
            else:
                _take_object(element, position, contents)
    _check_object_ids(contents)
    return contents


def read_categories(file: Path) -> dict[int, str]:
    """The names of the categories by id; errors as of `read_contents`."""
    categories: dict[int, str] = {}
    for key, first, elements in list_stretches(file, LISTS, "COCO JSON"):
        if key == "categories":
            for position, element in enumerate(elements, first):
                _take_category(element, _where(file, key, position), categories)
    return categories


def _where(file: Path, key: str, position: int) -> str:
    return f"{file}: {key}[{position}]"


def names_by_id(categories: dict[int, str]) -> tuple[str, ...]:
    """The names in the order of their ids."""
    return tuple(categories[category] for category in sorted(categories))


def _take_category(element: object, where: str, categories: dict[int, str]) -> None:
    category, name = _whole(element, "id"), _get(element, "name")
    if category is None or not isinstance(name, str) or not name.strip():
        message = f"must be a category with a whole number as id and a name, got {shown(element)}"
        raise IssueError(make_issue("file-syntax", where, message, "correct the category"))
    if category in categories:
        message = f"a category's id must be there once, {category} was there before"
        raise IssueError(make_issue("id-duplicate", where, message, "number the categories again"))
    if name in categories.values():
        message = f"a category must be named once, {shown(name)} was there before"
        raise IssueError(make_issue("class-duplicate", where, message, "rename or merge the two"))
    categories[category] = name


def _take_image(element: object, position: int, contents: CocoContents, ids: set[int]) -> None:
    where = _where(contents.file, "images", position)
    image_id, file_name = _whole(element, "id"), image_name(element)
    if image_id is None or not isinstance(file_name, str):
        message = f"must be an image with a whole number as id and a file_name, got {shown(element)}"
        contents.add_issue(make_issue("label-syntax", where, message, "correct or delete the image"))
    elif image_id in ids:
        message = f"an image's id must be there once, {image_id} was there before"
        contents.add_issue(make_issue("id-duplicate", where, message, "give one of the two another id"))
    else:
        ids.add(image_id)
        declared = None
        if not (_get(element, "width") is None and _get(element, "height") is None):
            declared = _side(element, "width"), _side(element, "height")
        federated = _ids_in(element, "neg_category_ids"), _ids_in(element, "not_exhaustive_category_ids")
        contents.images.append(CocoImage(position, image_id, file_name, declared, federated[0] or (), federated[1]))


def image_name(element: object) -> str | None:
    """The name of an image's file; LVIS has the last two parts of its address instead."""
    file_name, url = _get(element, "file_name"), _get(element, "coco_url")
    if file_name is None and isinstance(url, str):
        parts = url_parts(url)
        return None if parts is None else "/".join(PurePosixPath(parts.path).parts[-2:])
    return file_name if isinstance(file_name, str) else None


def _ids_in(element: object, key: str) -> tuple[int, ...] | None:
    value = _get(element, key)
    return tuple(item for item in value if type(item) is int) if isinstance(value, list) else None


def _side(element: object, key: str) -> int:
    """A declared width or height; 0 for what is no whole number, not even as text."""
    value = _get(element, key)
    number = to_number(value) if isinstance(value, str) else json_number(value)
    return int(number) if number is not None and abs(number) < _MAX_ID and number == int(number) else 0


def _usual_object(element: Any, position: int) -> array[float] | None:
    """The row of an object as nearly all are, in a fraction of the time; None for one that `_take_object` takes."""
    if type(element) is not dict:
        return None
    get: Callable[..., Any] = element.get
    ids, marks = (get("id"), get("image_id"), get("category_id")), (get("iscrowd", 0), get("ignore", 0))
    box, area = get("bbox"), get("area", 0.0)
    if not (type(box) is list and len(box) == 4 and {*map(type, ids), *map(type, marks)} == _WHOLE):
        return None
    if not (_NUMERIC.issuperset(map(type, [*box, area])) and abs(area) < math.inf):
        return None
    if max(ids) > _MAX_ID or min(ids) < -_MAX_ID or not _MARKS.issuperset(marks):
        return None
    try:
        return array("d", (position, *ids, *box, area if "area" in element else math.nan, *marks))
    except OverflowError:
        return None


_WHOLE = {int}
_NUMERIC = frozenset({int, float})
_MARKS = frozenset({0, 1})


def _take_object(element: object, position: int, contents: CocoContents) -> None:
    image_id, where = _whole(element, "image_id"), _where(contents.file, "annotations", position)
    try:
        contents.objects.extend(_object_of(element, position, where, image_id, contents))
    except IssueError as error:
        contents.add_issue(error.issue, image_id)


def _object_of(element: object, position: int, where: str, image_id: int | None, contents: CocoContents) -> CocoObject:
    category = _whole(element, "category_id")
    if image_id is None or category is None:
        message = f"must be an object with whole numbers as image_id and category_id, got {shown(element)}"
        raise IssueError(make_issue("label-syntax", where, message, "correct or delete the object", fixable=True))
    box = _get(element, "bbox")
    outline = [] if box else _outline(_get(element, "segmentation"))
    if outline and contents.boxes_from_shapes:
        box = enclosing_xywh(outline)
    sides = [json_number(value) for value in box] if isinstance(box, list) else []
    if len(sides) != 4 or None in sides:
        if outline:
            raise IssueError(shape_issue("a segmentation without bbox", where))
        message = f"bbox must be [left, top, width, height] in numbers, got {shown(box)}"
        raise IssueError(make_issue("label-syntax", where, message, "correct or delete the object", fixable=True))
    left, top, width, height = (side for side in sides if side is not None)
    marks = [_mark(element, key, where, image_id, contents) for key in ("iscrowd", "ignore")]
    area = _area(element, where, image_id, contents)
    own_id = _whole(element, "id")
    return CocoObject(
        position, math.nan if own_id is None else own_id, image_id, category, left, top, width, height, area, *marks
    )


def _mark(element: object, key: str, where: str, image_id: int, contents: CocoContents) -> int:
    value = _get(element, key)
    if value is None or (isinstance(value, int | float) and value in (0, 1)):
        return int(value or 0)
    message = f"{key} must be 0 or 1, got {shown(value)}"
    contents.add_issue(make_issue("label-syntax", where, message, "correct it; 0 is taken", fixable=True), image_id)
    return 0


def _area(element: object, where: str, image_id: int, contents: CocoContents) -> float:
    value = _get(element, "area")
    if value is None:
        return math.nan
    area = json_number(value)
    if area is None:
        message = f"area must be a number, got {shown(value)}"
        issue = make_issue("label-syntax", where, message, "correct it; that of the box is taken", fixable=True)
        contents.add_issue(issue, image_id)
        return math.nan
    return math.inf if math.isnan(area) else area  # which is no area either, and not the sign of none


def _check_object_ids(contents: CocoContents) -> None:
    rows = rows_of(contents)
    order = np.argsort(rows[:, 1], kind="stable")
    ids = rows[order, 1]
    for position in order[1:][ids[1:] == ids[:-1]]:  # no NaN equals another
        row = CocoObject(*rows[position].tolist())
        message = f"an object's id must be there once, {row.id:.0f} was there before"
        where = _where(contents.file, "annotations", int(row.position))
        issue = make_issue("id-duplicate", where, message, "give one of the two another id", fixable=True)
        contents.add_issue(issue, int(row.image_id))


def rows_of(contents: CocoContents) -> Float64[np.ndarray, "n 11"]:
    """The objects as a table; a row is a `CocoObject`."""
    return np.frombuffer(contents.objects, np.float64).reshape(-1, len(CocoObject._fields))


def _get(element: object, key: str) -> object:
    return element.get(key) if isinstance(element, dict) else None


def _whole(element: object, key: str) -> int | None:
    value = _get(element, key)
    if type(value) is float and abs(value) <= _MAX_ID and value.is_integer():  # as pandas writes them
        return int(value)
    return value if type(value) is int and abs(value) <= _MAX_ID else None  # not bool, which is an int


def _outline(segmentation: object) -> list[tuple[float, float]]:
    """The corners of polygons; none for a mask."""
    polygons = segmentation if isinstance(segmentation, list) else []
    values = [[json_number(value) for value in polygon] for polygon in polygons if isinstance(polygon, list)]
    if not all(polygon and len(polygon) % 2 == 0 and None not in polygon for polygon in values):
        return []
    flat = [value for polygon in values for value in polygon if value is not None]
    return list(zip(flat[::2], flat[1::2], strict=True))
