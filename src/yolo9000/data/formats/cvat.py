"""CVAT for images 1.1: one XML file with all images, and a folder of the images.

Source: docs.cvat.ai, XML annotation format, version 1.1.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from math import isfinite
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar, Final, Literal
from xml.etree import ElementTree

from yolo9000.data.entries import Entry, Shape, annotations_of, class_names_of, syntax_issue
from yolo9000.data.files import to_number, whole_side
from yolo9000.data.format import Recognition, SourceSettings, Split
from yolo9000.data.image_folders import NAMES_TRIED, folder_of_images
from yolo9000.data.issues import IssueError, make_issue, shown
from yolo9000.data.listing import Listing
from yolo9000.data.shapes import Corners, rotated
from yolo9000.data.split_names import UNDIVIDED, split_of
from yolo9000.data.writing import boxes_to_write, copied, size_to_write, writing
from yolo9000.data.xml_files import element_name, iter_elements
from yolo9000.errors import DataError
from yolo9000.io.files import write_atomically
from yolo9000.io.naming import OutputNames
from yolo9000.types import Annotation, BoxAnnotations, Sample

__all__ = ["NAME", "TITLE", "Source", "class_names", "read", "sniff", "write"]

NAME: Final = "cvat"
TITLE: Final = "CVAT for images XML"

_ROOT = "annotations"
_MARKS = ("difficult", "crowd")
_FILE = "annotations.xml"


class Source(SourceSettings):
    """An XML file of CVAT.

    Attributes:
        images: folder of the images, relative to the data-set file.
    """

    FILES: ClassVar[tuple[str, ...]] = ("path", "images")
    format: Literal["cvat"] = NAME
    images: str


def sniff(listing: Listing) -> Recognition | None:
    """XML files whose first element is ``annotations`` and that have images; splits by folders or names of files."""
    matches = [name for name in listing.documents(".xml")[:20] if element_name(listing.head(name)) == _ROOT]
    if not matches:
        return None
    sources: dict[str, list[dict[str, Any]]] = {}
    counts: dict[str, int | None] = {}
    for file in matches:
        path = PurePosixPath(file)
        split = UNDIVIDED if listing.file else split_of(path.parent.name) or split_of(path.stem) or UNDIVIDED
        names = _image_names(listing.root / file)
        folder, _ = folder_of_images(listing, file, names[:NAMES_TRIED])
        sources.setdefault(split, []).append({"format": NAME, "path": file, "images": folder})
        counts[split or "images"] = (counts.get(split or "images") or 0) + len(names)
    used = frozenset([*matches, *(source["images"] for some in sources.values() for source in some), "images"])
    return Recognition(0.95, TITLE, f"{', '.join(matches)}: <annotations> with images", sources, counts, used=used)


def _image_names(file: Path) -> list[str]:
    try:
        return [element.get("name", "") for element in iter_elements(file, _ROOT, ("image",))]
    except IssueError:
        return []


def class_names(root: Path, source: Source) -> Sequence[str]:
    """The labels of the task, in its order, without the parts of skeletons; else those that images have, sorted."""
    for element in iter_elements(root / source.path, _ROOT, ("labels",)):
        labels = [label for label in element.iterfind("label") if label.find("parent") is None]
        return tuple(dict.fromkeys(name for label in labels if (name := label.findtext("name", ""))))
    return class_names_of(_entries(root / source.path))


def read(root: Path, source: Source, classes: Sequence[str]) -> Iterator[Annotation]:
    """Every image, in the order of the file."""
    entries = _entries(root / source.path)
    yield from annotations_of(entries, root / source.images, classes, boxes_from_shapes=source.boxes_from_shapes)


def _entries(file: Path) -> Iterator[Entry]:
    for element in iter_elements(file, _ROOT, ("image", "track")):
        if element.tag == "track":
            message = "must hold images, holds tracks of a video"
            suggestion = "export the task as CVAT for images 1.1"
            raise IssueError(make_issue("file-syntax", file, message, suggestion))
        yield _entry(element, file)


def _entry(image: ElementTree.Element, file: Path) -> Entry:
    name = image.get("name", "")
    where = f"{file}: image {image.get('id', name)}"
    size = [to_number(image.get(side, "")) for side in ("width", "height")]
    entry = Entry((name,), where, None if None in size else (whole_side(size[0] or 0), whole_side(size[1] or 0)))
    for index, element in enumerate(image):
        here = f"{where}: {element.tag} {index}"
        if element.tag == "tag":
            entry.labels.append((element.get("label", ""), here))
            continue
        corners, kind = _corners(element)
        if corners is None:
            entry.issues.append(
                syntax_issue(here, f"must have the coordinates of its shape, has {shown(element.attrib)}")
            )
        else:
            marks = {
                one.get("name"): (one.text or "").strip().lower() in ("1", "true")
                for one in element.iterfind("attribute")
            }
            flags = [marks.get(mark, False) for mark in _MARKS]
            entry.shapes.append(Shape(element.get("label", ""), here, corners, kind, *flags))
    return entry


def _corners(element: ElementTree.Element) -> tuple[Corners | None, str]:
    """The corners of a shape, and what it is if it is not an upright box."""
    match element.tag:
        case "box":
            return _of_box(element)
        case "mask":
            left, top, width, height = (to_number(element.get(key, "")) for key in ("left", "top", "width", "height"))
            if left is None or top is None or width is None or height is None:
                return None, ""
            return [(left, top), (left + width, top + height)], "a mask"
        case "ellipse":
            x, y, rx, ry = (to_number(element.get(key, "")) for key in ("cx", "cy", "rx", "ry"))
            if x is None or y is None or rx is None or ry is None:
                return None, ""
            return [(x - rx, y - ry), (x + rx, y + ry)], "an ellipse"
        case _:
            return _points(element.get("points", "")), f"a {element.tag}"


def _of_box(element: ElementTree.Element) -> tuple[Corners | None, str]:
    left, top, right, bottom = (to_number(element.get(key, "")) for key in ("xtl", "ytl", "xbr", "ybr"))
    degrees = to_number(element.get("rotation", "0"))
    if left is None or top is None or right is None or bottom is None or degrees is None or not isfinite(degrees):
        return None, ""
    if degrees == 0:
        return [(left, top), (right, bottom)], ""
    corners = [(left, top), (right, top), (right, bottom), (left, bottom)]
    return rotated(corners, ((left + right) / 2, (top + bottom) / 2), degrees), "a rotated box"


def _points(text: str) -> Corners | None:
    pairs = [[to_number(value) for value in pair.split(",")] for pair in text.split(";") if pair]
    points = [(pair[0], pair[1]) for pair in pairs if len(pair) == 2 and pair[0] is not None and pair[1] is not None]
    return points if points and len(points) == len(pairs) else None


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
    """Write ``<split>/annotations.xml``, as CVAT imports it, and the images into ``<split>/images``.

    Difficult boxes and crowds have the attributes ``difficult`` and ``crowd``; image-level labels are tags.

    Args:
        folder: where to; other splits may be there already.
        samples: with boxes, image-level labels or both.
        classes: the names of the labels.
        split: what the samples are for.
        copy: copy the images; otherwise they are named by their whole paths.
        names: not needed: each split has its own folder.

    Raises:
        DataError: a sample of which nothing is known; an image or a file that cannot be read or written.
    """
    if bad := [name for name in classes if not name.isprintable()]:
        raise DataError(f"{folder}: names of classes must be printable to be written as XML, got {shown(bad[0])}")
    tree = ElementTree.Element(_ROOT)
    ElementTree.SubElement(tree, "version").text = "1.1"
    labels = ElementTree.SubElement(ElementTree.SubElement(ElementTree.SubElement(tree, "meta"), "task"), "labels")
    for name in classes:
        ElementTree.SubElement(ElementTree.SubElement(labels, "label"), "name").text = name
    position = folder / split
    with writing(position):
        position.mkdir(parents=True, exist_ok=True)
        for index, sample in enumerate(copied(samples, position / "images" if copy else None)):
            tree.append(_image_element(index, sample, classes))
        ElementTree.indent(tree)
        write_atomically(position / _FILE, ElementTree.tostring(tree, encoding="utf-8", xml_declaration=True))


def _image_element(index: int, sample: Sample, classes: Sequence[str]) -> ElementTree.Element:
    width, height = size_to_write(sample)
    attributes = {"id": str(index), "name": sample.name, "width": str(width), "height": str(height)}
    image = ElementTree.Element("image", attributes)
    for label in sample.image_labels:
        ElementTree.SubElement(image, "tag", {"label": classes[label], "source": "file"})
    if sample.boxes is not None or not sample.image_labels:
        image.extend(_box_elements(boxes_to_write(sample, TITLE), classes))
    return image


def _box_elements(boxes: BoxAnnotations, classes: Sequence[str]) -> Iterator[ElementTree.Element]:
    for i, sides in enumerate(boxes.boxes_xyxy.tolist()):
        attributes = {"label": classes[boxes.labels[i]], "source": "file", "occluded": "0"}
        attributes |= dict(zip(("xtl", "ytl", "xbr", "ybr"), map(repr, sides), strict=True)) | {"z_order": "0"}
        box = ElementTree.Element("box", attributes)
        for mark, flags in zip(_MARKS, (boxes.difficult, boxes.crowd), strict=True):
            if flags[i]:
                ElementTree.SubElement(box, "attribute", {"name": mark}).text = "true"
        yield box
