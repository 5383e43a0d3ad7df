"""COCO: one JSON file with lists of images, annotations and categories, and a folder of images.

The file is read element by element, its lists in any order, and of each object only numbers are kept: a file of 450 MB,
as that of COCO's train2017, needs about 250 MB of memory.

COCO's own 80 categories have the ids 1 to 90, with gaps. Classes here are numbered 0, 1, 2 ... in the order of the
categories' ids, which makes of COCO's the usual 80.
"""

from __future__ import annotations

import json
import math
import shutil
import tempfile
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, NamedTuple, NoReturn

import numpy as np
from jaxtyping import Float64

from yolo9000.data.formats import (
    ClassIndices,
    boxes_to_write,
    check_declared_size,
    duplicate_image,
    is_file,
    json_number,
    path_inside,
    size_of,
    size_to_write,
    writing,
)
from yolo9000.data.issues import IssueError, RawBox, make_boxes, make_issue, shown
from yolo9000.errors import DataError
from yolo9000.taxonomy.class_names import COCO, COCO_CATEGORY_IDS
from yolo9000.types import Annotation, ImageFile, Issue, Sample

__all__ = ["category_ids", "coco_classes", "read_coco", "write_coco"]

_CHUNK = 1 << 20  # characters read at a time
_LARGEST_VALUE = 64 << 20  # characters of one element; far above any real one
_LISTS = ("images", "annotations", "categories")
_MAX_ID = 1 << 53  # ids stand among floats, which hold whole numbers up to here
_DARKNET_NAMES = {
    "airplane": "aeroplane",
    "couch": "sofa",
    "dining table": "diningtable",
    "motorcycle": "motorbike",
    "potted plant": "pottedplant",
    "tv": "tvmonitor",
}
"""What Darknet's ``coco.names`` calls six of COCO's categories."""


def read_coco(json_file: Path, images_folder: Path, classes: Sequence[str] | None = None) -> Iterator[Annotation]:
    """The images of a COCO data set in the order of the file, those without objects among them.

    First come the issues that belong to no image. Of an object ``bbox``, ``category_id``, ``area`` and ``iscrowd``
    are read, and ``ignore``, which converters write for VOC's difficult ones.

    Args:
        json_file: ``instances_*.json``.
        images_folder: what ``file_name`` is relative to.
        classes: names whose places are the labels, COCO's own or those of Darknet's ``coco.names``; None takes
            `coco_classes`.

    Raises:
        DataError: the file cannot be read or understood, lacks one of its lists, or has a category that cannot be used
            or is there twice; a class is named twice.
    """
    contents = _read_contents(json_file)
    names = _names_by_id(contents.categories)
    reader = _Reader(images_folder, contents, ClassIndices(names if classes is None else classes))
    yield from reader.read_loose()
    for image in contents.images:
        yield reader.read(image)


def coco_classes(json_file: Path) -> tuple[str, ...]:
    """The names of the categories in the order of their ids.

    Raises:
        DataError: the file cannot be read or understood, or has a category that cannot be used or is there twice.
    """
    return _names_by_id(_read_categories(json_file))


def category_ids(json_file: Path, classes: Sequence[str] | None = None) -> dict[int, int]:
    """From label to the category id of the file, as its results must have it.

    Args:
        json_file: ``instances_*.json``.
        classes: as for `read_coco`; those that the file does not know are left out.

    Raises:
        DataError: as of `coco_classes`; a class is named twice.
    """
    categories = _read_categories(json_file)
    numbers = ClassIndices(_names_by_id(categories) if classes is None else classes)
    known = ((category, _name_among(numbers, name)) for category, name in sorted(categories.items()))
    return {numbers.of(name, str(json_file)): category for category, name in known if name in numbers}


def write_coco(file: Path, samples: Iterable[Sample], classes: Sequence[str]) -> None:
    """Write a data set as COCO; images stay where they are, ``file_name`` is the sample's name.

    Images keep their ids; without one they get the next number that is free. The categories of COCO's 80 classes, by
    its names or Darknet's, get COCO's ids, 1 to 90; others 1, 2, 3 ... Difficult boxes are marked ``ignore``.

    Args:
        file: where to; written whole or not at all.
        samples: all with boxes.
        classes: the names of the labels.

    Raises:
        DataError: a sample without boxes, an image whose size is not known and cannot be read, an id that is there
            twice, or the file cannot be written.
    """
    part = file.with_name(file.name + ".part")
    with writing(file):
        try:
            with (
                part.open("w", encoding="utf-8") as out,
                tempfile.TemporaryFile("w+", encoding="utf-8", dir=file.parent) as objects,
            ):
                _write_all(out, objects, samples, classes)
            part.replace(file)
        finally:
            part.unlink(missing_ok=True)


# --- What the file holds. ---


class _Image(NamedTuple):
    place: int
    id: int
    file_name: str
    size_wh: tuple[int, int] | None


class _Object(NamedTuple):
    """A row of numbers; what is not there is NaN."""

    place: float
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
class _Contents:
    """What was read; `issues` by the id of their image, None where they have none."""

    file: Path
    images: list[_Image] = field(default_factory=list)
    objects: array[float] = field(default_factory=lambda: array("d"))
    categories: dict[int, str] = field(default_factory=dict)
    issues: dict[int | None, list[Issue]] = field(default_factory=dict)

    def add_issue(self, issue: Issue, image_id: int | None = None) -> None:
        self.issues.setdefault(image_id, []).append(issue)


def _read_contents(file: Path) -> _Contents:
    contents = _Contents(file)
    image_ids: set[int] = set()
    for key, place, element in _elements(file):
        where = f"{file}: {key}[{place}]"
        if key == "categories":
            _take_category(element, where, contents.categories)
        elif key == "images":
            _take_image(element, place, where, contents, image_ids)
        else:
            _take_object(element, place, where, contents)
    _check_object_ids(contents)
    return contents


def _read_categories(file: Path) -> dict[int, str]:
    categories: dict[int, str] = {}
    for key, place, element in _elements(file):
        if key == "categories":
            _take_category(element, f"{file}: {key}[{place}]", categories)
    return categories


def _names_by_id(categories: dict[int, str]) -> tuple[str, ...]:
    return tuple(categories[category] for category in sorted(categories))


def _name_among(numbers: ClassIndices, name: str) -> str:
    return name if name in numbers else _DARKNET_NAMES.get(name, name)


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


def _take_image(element: object, place: int, where: str, contents: _Contents, ids: set[int]) -> None:
    image_id, file_name = _whole(element, "id"), _get(element, "file_name")
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
            declared = _whole(element, "width") or 0, _whole(element, "height") or 0
        contents.images.append(_Image(place, image_id, file_name, declared))


def _take_object(element: object, place: int, where: str, contents: _Contents) -> None:
    image_id = _whole(element, "image_id")
    try:
        contents.objects.extend(_object_of(element, place, where, image_id, contents))
    except IssueError as error:
        contents.add_issue(error.issue, image_id)


def _object_of(element: object, place: int, where: str, image_id: int | None, contents: _Contents) -> _Object:
    category = _whole(element, "category_id")
    if image_id is None or category is None:
        message = f"must be an object with whole numbers as image_id and category_id, got {shown(element)}"
        raise IssueError(make_issue("label-syntax", where, message, "correct or delete the object", fixable=True))
    box = _get(element, "bbox")
    sides = [json_number(value) for value in box] if isinstance(box, list) else []
    if len(sides) != 4 or None in sides:
        message = f"bbox must be [left, top, width, height] in numbers, got {shown(box)}"
        raise IssueError(make_issue("label-syntax", where, message, "correct or delete the object", fixable=True))
    left, top, width, height = (side for side in sides if side is not None)
    marks = [_mark(element, key, where, image_id, contents) for key in ("iscrowd", "ignore")]
    area = _area(element, where, image_id, contents)
    own_id = _whole(element, "id")
    return _Object(
        place, math.nan if own_id is None else own_id, image_id, category, left, top, width, height, area, *marks
    )


def _mark(element: object, key: str, where: str, image_id: int, contents: _Contents) -> int:
    value = _get(element, key)
    if value is None or (type(value) is int and value in (0, 1)):
        return value or 0
    message = f"{key} must be 0 or 1, got {shown(value)}"
    contents.add_issue(make_issue("label-syntax", where, message, "correct it; 0 is taken", fixable=True), image_id)
    return 0


def _area(element: object, where: str, image_id: int, contents: _Contents) -> float:
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


def _check_object_ids(contents: _Contents) -> None:
    rows = _rows_of(contents)
    order = np.argsort(rows[:, 1], kind="stable")
    ids = rows[order, 1]
    for place in order[1:][ids[1:] == ids[:-1]]:  # no NaN equals another
        row = _Object(*rows[place].tolist())
        message = f"an object's id must be there once, {row.id:.0f} was there before"
        where = f"{contents.file}: annotations[{row.place:.0f}]"
        issue = make_issue("id-duplicate", where, message, "give one of the two another id", fixable=True)
        contents.add_issue(issue, int(row.image_id))


def _rows_of(contents: _Contents) -> Float64[np.ndarray, "n 11"]:
    return np.frombuffer(contents.objects, np.float64).reshape(-1, len(_Object._fields))


def _get(element: object, key: str) -> object:
    return element.get(key) if isinstance(element, dict) else None


def _whole(element: object, key: str) -> int | None:
    value = _get(element, key)
    return value if type(value) is int and abs(value) <= _MAX_ID else None  # not bool, which is an int


# --- Images with their objects. ---


class _Reader:
    """Joins images with their objects."""

    def __init__(self, folder: Path, contents: _Contents, numbers: ClassIndices) -> None:
        self._folder = folder
        self._contents = contents
        self._numbers = numbers
        self._paths: set[Path] = set()
        rows = _rows_of(contents)
        self._rows = rows[np.argsort(rows[:, 2], kind="stable")]
        self._image_ids = self._rows[:, 2]

    def read_loose(self) -> Iterator[Annotation]:
        """The issues of no image, and the objects of images that are not there."""
        known = {image.id for image in self._contents.images}
        for image_id, issues in self._contents.issues.items():
            if image_id not in known:
                yield from (Annotation(None, (issue,)) for issue in issues)
        for row in self._rows[~np.isin(self._image_ids, list(known))]:
            item = _Object(*row.tolist())
            where = f"{self._contents.file}: annotations[{item.place:.0f}]"
            message = f"image_id must be that of an image, got {item.image_id:.0f}"
            suggestion = "delete the object, or add its image"
            yield Annotation(None, (make_issue("id-unknown", where, message, suggestion, fixable=True),))

    def read(self, image: _Image) -> Annotation:
        """One image with its objects."""
        where = f"{self._contents.file}: images[{image.place}]"
        issues = list(self._contents.issues.get(image.id, []))
        try:
            file = ImageFile(path_inside(self._folder, image.file_name, where))
            size_wh = self._size(image, file, where, issues)
        except IssueError as error:
            return Annotation(None, (error.issue, *issues))
        if file.path in self._paths:
            return Annotation(None, (duplicate_image(image.file_name, where), *issues))
        self._paths.add(file.path)
        boxes, box_issues = make_boxes(self._raw_boxes(image.id, issues), size_wh)
        sample = Sample(image.file_name, file, where, size_wh, boxes, image_id=image.id)
        return Annotation(sample, (*issues, *box_issues))

    def _size(self, image: _Image, file: ImageFile, where: str, issues: list[Issue]) -> tuple[int, int]:
        size_wh = size_of(file, where)
        if image.size_wh is not None:
            try:
                check_declared_size(image.size_wh, size_wh, where)
            except IssueError as error:
                if not error.issue.fixable:
                    raise
                issues.append(error.issue)
        return size_wh

    def _raw_boxes(self, image_id: int, issues: list[Issue]) -> list[RawBox]:
        first, last = np.searchsorted(self._image_ids, [image_id, image_id + 1])
        raw = []
        for row in self._rows[first:last].tolist():
            try:
                raw.append(self._raw_box(_Object(*row)))
            except IssueError as error:
                issues.append(error.issue)
        return raw

    def _raw_box(self, item: _Object) -> RawBox:
        where = f"{self._contents.file}: annotations[{item.place:.0f}]"
        name = self._contents.categories.get(int(item.category_id))
        if name is None:
            message = f"category_id must be that of a category, got {item.category_id:.0f}"
            suggestion = "correct it, or add the category"
            raise IssueError(make_issue("class-unknown", where, message, suggestion, fixable=True))
        return RawBox(
            self._numbers.of(_name_among(self._numbers, name), where),
            item.left,
            item.top,
            item.left + item.width,
            item.top + item.height,
            where,
            f"bbox [{item.left:g}, {item.top:g}, {item.width:g}, {item.height:g}]",
            difficult=item.difficult == 1,
            crowd=item.crowd == 1,
            area=None if math.isnan(item.area) else item.area,
        )


# --- JSON, element by element. ---


def _elements(file: Path) -> Iterator[tuple[str, int, Any]]:
    """The elements of the lists, as (list, place, element)."""
    suggestion = "write the file again as COCO JSON"
    if not is_file(file):
        raise IssueError(make_issue("file-unreadable", file, "must be a file that can be read", "correct the path"))
    try:
        with file.open(encoding="utf-8-sig") as stream:
            yield from _walk(_JsonText(stream, file))
    except OSError as error:
        message = f"must be a file that can be read: {error.strerror}"
        raise IssueError(make_issue("file-unreadable", file, message, "correct its permissions")) from None
    except UnicodeDecodeError:
        raise IssueError(
            make_issue("file-unreadable", file, "must be UTF-8 text, holds other bytes", suggestion)
        ) from None


def _walk(text: _JsonText) -> Iterator[tuple[str, int, Any]]:
    seen = set()
    text.take("{", f"an object with the lists {', '.join(_LISTS)}")
    while text.peek() != "}":
        key = text.value() if text.peek() == '"' else text.fail("a name")
        text.take(":", "a colon")
        if key in seen:
            text.fail(f"{shown(key)} once")
        seen.add(key)
        if key in _LISTS:
            yield from ((key, place, element) for place, element in enumerate(_walk_list(text, key)))
        else:
            text.value()
        if text.peek() != "}":
            text.take(",", "a comma or a closing brace")
            if text.peek() == "}":
                text.fail("a name after the comma")
    text.take("}", "a closing brace")
    if missing := [key for key in _LISTS if key not in seen]:
        text.fail(f"the lists {', '.join(_LISTS)}, {', '.join(missing)} missing;")
    if text.peek():
        text.fail("nothing after the object")


def _walk_list(text: _JsonText, key: str) -> Iterator[Any]:
    text.take("[", f"a list of {key}")
    while text.peek() != "]":
        yield text.value()
        if text.peek() != "]":
            text.take(",", "a comma or a closing bracket")
            if text.peek() == "]":
                text.fail("an element after the comma")
    text.take("]", "a closing bracket")


class _JsonText:
    """Takes JSON values from a stream, holding no more than the value that is being taken and one chunk."""

    def __init__(self, stream: IO[str], file: Path) -> None:
        self._stream = stream
        self._file = file
        self._decoder = json.JSONDecoder()
        self._buffer = ""
        self._place = 0
        self._line = 1  # of the buffer's begin
        self._ended = False

    def peek(self) -> str:
        """The next character that is not blank; nothing at the end."""
        while True:
            while self._place < len(self._buffer):
                if self._buffer[self._place] not in " \t\n\r":
                    return self._buffer[self._place]
                self._place += 1
            if self._ended:
                return ""
            self._read(_CHUNK)

    def take(self, character: str, wanted: str) -> None:
        """Go on behind a character.

        Raises:
            IssueError: another one comes.
        """
        if self.peek() != character:
            self.fail(wanted)
        self._place += 1

    def value(self) -> Any:
        """The next value.

        Raises:
            IssueError: what comes is none.
        """
        self.peek()
        wanted = _CHUNK
        while True:
            try:
                value, end = self._decoder.raw_decode(self._buffer, self._place)
                if self._ended or end < len(self._buffer):  # else it may be a number that goes on
                    self._place = end
                    return value
            except json.JSONDecodeError as error:
                if self._ended or len(self._buffer) - self._place > _LARGEST_VALUE:
                    self._place = error.pos
                    self.fail(f"JSON ({error.msg.lower()})")
            except (RecursionError, ValueError):  # Python's limits on depth and on digits
                self.fail("JSON that is neither nested so deeply nor has such long numbers")
            self._read(wanted)
            wanted *= 2

    def fail(self, wanted: str) -> NoReturn:
        """Raise the issue of what stands here."""
        line = self._line + self._buffer.count("\n", 0, self._place)
        came = shown(self._buffer[self._place : self._place + 20]) if self.peek() else "the end"
        message = f"must hold {wanted}, got {came}"
        raise IssueError(
            make_issue("file-syntax", f"{self._file}:{line}", message, "write the file again as COCO JSON")
        )

    def _read(self, characters: int) -> None:
        chunk = self._stream.read(characters)
        self._ended = not chunk
        self._line += self._buffer.count("\n", 0, self._place)
        self._buffer = self._buffer[self._place :] + chunk
        self._place = 0


# --- Writing. ---


def _write_all(out: IO[str], objects: IO[str], samples: Iterable[Sample], classes: Sequence[str]) -> None:
    """Images go out at once; objects wait in a file of their own until the images are through."""
    ids = _ids_to_write(classes)
    used: set[int] = set()
    next_id, object_id = 1, 0
    out.write('{"images": [')
    for sample in samples:
        while sample.image_id is None and next_id in used:
            next_id += 1
        image_id = next_id if sample.image_id is None else sample.image_id
        if image_id in used:
            raise DataError(f"{sample.where}: must have an image id of its own, {image_id} was there before")
        width, height = size_to_write(sample)
        image = {"id": image_id, "file_name": sample.name, "width": width, "height": height}
        out.write((",\n" if used else "\n") + json.dumps(image))
        used.add(image_id)
        for record in _objects_to_write(sample, image_id, ids):
            object_id += 1
            objects.write((",\n" if object_id > 1 else "\n") + json.dumps({"id": object_id} | record))
    out.write('\n],\n"annotations": [')
    objects.seek(0)
    shutil.copyfileobj(objects, out)
    categories = [{"id": ids[label], "name": name} for label, name in enumerate(classes)]
    out.write(f'\n],\n"categories": {json.dumps(categories)}}}\n')


def _ids_to_write(classes: Sequence[str]) -> dict[int, int]:
    if tuple(_DARKNET_NAMES.get(name, name) for name in classes) == COCO:
        return COCO_CATEGORY_IDS
    return {label: label + 1 for label in range(len(classes))}


def _objects_to_write(sample: Sample, image_id: int, ids: dict[int, int]) -> Iterator[dict[str, Any]]:
    boxes = boxes_to_write(sample, "COCO")
    for place, (left, top, right, bottom) in enumerate(boxes.boxes_xyxy.tolist()):
        record = {
            "image_id": image_id,
            "category_id": ids[int(boxes.labels[place])],
            "bbox": [left, top, right - left, bottom - top],
            "area": float(boxes.areas[place]),
            "iscrowd": int(boxes.crowd[place]),
        }
        yield record | {"ignore": 1} if boxes.difficult[place] else record
