"""One XML file of PASCAL VOC: its objects read into boxes, and written.

VOC counts pixels from 1 and a box's last pixel belongs to it, see `yolo9000.data.formats.voc`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

from yolo9000.data.files import to_number, whole_side
from yolo9000.data.image_files import check_declared_size
from yolo9000.data.issues import IssueError, RawBox, make_issue, shown
from yolo9000.data.labels import ClassIndices
from yolo9000.data.writing import boxes_to_write, size_to_write
from yolo9000.data.xml_files import read_xml
from yolo9000.types import Issue, Sample

__all__ = ["annotation_tree", "object_names", "parse_annotation", "read_object", "size_issues"]

_SIDES = ("xmin", "ymin", "xmax", "ymax")
_MARKS = {"0": False, "1": True, "false": False, "true": True, "0.0": False, "1.0": True, "": False}
_THINNEST = 1.01  # pixels; a narrower box would be written inverted


def parse_annotation(path: Path) -> ElementTree.Element:
    """The root element of an XML file of VOC; errors as of `read_xml`."""
    return read_xml(path, "annotation", "label-unreadable")


def size_issues(tree: ElementTree.Element, size_wh: tuple[int, int], where: str) -> list[Issue]:
    """The issue of a declared size that is none; nothing where it is right or not declared.

    Raises:
        IssueError: ``size-wrong``: another size is declared.
    """
    if tree.find("size") is None:
        return []
    sides = [to_number(tree.findtext(f"size/{side}", "").strip()) for side in ("width", "height")]
    width, height = (0 if side is None else whole_side(side) for side in sides)
    try:
        check_declared_size((width, height), size_wh, where)
    except IssueError as error:
        if not error.issue.fixable:
            raise
        return [error.issue]
    return []


def read_object(element: ElementTree.Element, where: str, indices: ClassIndices, issues: list[Issue]) -> RawBox:
    """An object with its box; marks that are not 0 or 1 are added to the issues.

    Raises:
        IssueError: ``class-unknown`` or ``label-syntax``.
    """
    label = indices.of(element.findtext("name", "").strip(), where)
    xmin, ymin, xmax, ymax = (_side(element, side, where) for side in _SIDES)
    left, right = _without_last(xmin, xmax)
    top, bottom = _without_last(ymin, ymax)
    difficult = element.findtext("difficult", "0").strip()
    if difficult.lower() not in _MARKS:
        message = f"difficult must be 0 or 1, got {shown(difficult)}"
        issues.append(make_issue("label-syntax", where, message, "correct it; 0 is taken", fixable=True))
    written = f"xmin {xmin:g}, ymin {ymin:g}, xmax {xmax:g}, ymax {ymax:g}"
    return RawBox(label, left, top, right, bottom, where, written, difficult=_MARKS.get(difficult.lower(), False))


def _side(element: ElementTree.Element, side: str, where: str) -> float:
    text = element.findtext(f"bndbox/{side}", "").strip()
    value = to_number(text)
    if value is None:
        message = f"must have a bndbox whose {side} is a number, got {shown(text)}"
        raise IssueError(make_issue("label-syntax", where, message, "correct or delete the object", fixable=True))
    return value


def _without_last(first: float, last: float) -> tuple[float, float]:
    """Edges from 0, the far one exclusive, of the first and last pixel, from 1."""
    if last <= first:  # left as it is, or a box that ends where it begins would be one pixel wide
        return first, last
    begin = first - 1
    return (0.0 if -1 <= begin < 0 else begin), last


def object_names(path: Path) -> set[str]:
    """The names of the objects of a file; none of one that cannot be read."""
    try:
        return {
            name
            for element in parse_annotation(path).iterfind("object")
            if (name := element.findtext("name", "").strip())
        }
    except IssueError:
        return set()


def annotation_tree(sample: Sample, file_name: str, classes: Sequence[str]) -> ElementTree.Element:
    """The XML of a sample, all of whose boxes are more than a pixel wide and high."""
    boxes = boxes_to_write(sample, "VOC")
    width, height = size_to_write(sample)
    tree = ElementTree.Element("annotation")
    _add(tree, "filename", file_name)
    size = ElementTree.SubElement(tree, "size")
    for name, value in zip(("width", "height", "depth"), (width, height, 3), strict=True):
        _add(size, name, str(value))
    for sides, label, ignored in zip(boxes.boxes_xyxy, boxes.labels, boxes.difficult | boxes.crowd, strict=True):
        element = ElementTree.SubElement(tree, "object")
        _add(element, "name", classes[label])
        _add(element, "difficult", str(int(ignored)))
        left, top, right, bottom = sides.tolist()
        left, right = _thick_enough(left, right, width)
        top, bottom = _thick_enough(top, bottom, height)
        box = ElementTree.SubElement(element, "bndbox")
        for name, side in zip(_SIDES, (left + 1, top + 1, right, bottom), strict=True):
            _add(box, name, str(int(side)) if side.is_integer() else repr(side))
    return tree


def _thick_enough(first: float, last: float, length: int) -> tuple[float, float]:
    """Two edges more than a pixel apart, inside the image where it is long enough."""
    if last - first > 1 or length < _THINNEST:
        return first, last
    begin = min(max((first + last - _THINNEST) / 2, 0.0), length - _THINNEST)
    return begin, begin + _THINNEST


def _add(parent: ElementTree.Element, tag: str, text: str) -> None:
    ElementTree.SubElement(parent, tag).text = text
