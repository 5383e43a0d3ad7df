"""PASCAL VOC: an XML file for each image, and lists of the images of each split.

::

    root/Annotations/000017.xml     root/JPEGImages/000017.jpg      root/ImageSets/Main/train.txt

VOC numbers pixels from 1 and a box's last pixel belongs to it: xmin 1, xmax 500 is the whole width of an image of 500.
Source: the development kit of PASCAL VOC 2012, section 3.4 and VOCevaldet.m, whose areas are xmax - xmin + 1 wide.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from xml.etree import ElementTree

from yolo9000.data.formats import (
    ClassIndices,
    boxes_to_write,
    check_declared_size,
    duplicate_image,
    is_file,
    is_note,
    numbered_lines,
    path_inside,
    read_text,
    size_of,
    size_to_write,
    to_number,
    unknown_file,
    walk_files,
    walk_images,
    writing,
)
from yolo9000.data.images import copy_image
from yolo9000.data.issues import IssueError, RawBox, make_boxes, make_issue, shown
from yolo9000.errors import DataError
from yolo9000.io.files import write_atomically
from yolo9000.io.sources import IMAGE_SUFFIXES
from yolo9000.io.writers import OutputNames
from yolo9000.types import Annotation, ImageFile, Issue, Sample

__all__ = ["read_voc", "voc_classes", "write_voc"]

_DECLARATION = re.compile(r"<!\s*(?:DOCTYPE|ENTITY)", re.IGNORECASE)
_SIDES = ("xmin", "ymin", "xmax", "ymax")
_LISTED = re.compile(r"(\S+)(?:\s+(?:-1|0|1))?")  # an image and, in a list of one class, whether it is there


def read_voc(root: Path, names_file: Path | None, classes: Sequence[str]) -> Iterator[Annotation]:
    """The images of a VOC data set, in the order of the list or of their names.

    The image of ``Annotations/000017.xml`` is ``JPEGImages/000017`` with any suffix of images or, where there is
    none, the one that the XML names. An xmin or ymin of 0, which labelling tools write, is taken for 1. A box whose
    first and last pixel are the same along a side is empty, although the development kit would make it 1 wide.

    Args:
        root: the folder that holds ``Annotations`` and ``JPEGImages``.
        names_file: a list of ``ImageSets``: the names of images without suffix, one a line; in a list of one class
            followed by -1, 0 or 1, which changes nothing. None reads all annotations.
        classes: their names; their places are the labels.

    Raises:
        DataError: a folder or the list cannot be read, or a class is named twice.
    """
    numbers = ClassIndices(classes)
    images: set[Path | None] = set()
    for where, item in _annotations(root, names_file):
        annotation = Annotation(None, (item,)) if isinstance(item, Issue) else _read_one(root, item, where, numbers)
        if annotation.sample is not None and annotation.sample.image.path in images:
            annotation = Annotation(None, (duplicate_image(annotation.sample.name, where),))
        if annotation.sample is not None:
            images.add(annotation.sample.image.path)
        elif isinstance(item, Path):
            images.add(_image_of(root, item))
        yield annotation
    if names_file is None:
        yield from _images_without_annotation(root, images)


def voc_classes(root: Path, names_file: Path | None) -> tuple[str, ...]:
    """The names of all objects, sorted; from files that can be read, of the others `read_voc` tells.

    Args:
        root: the folder that holds ``Annotations``.
        names_file: a list of ``ImageSets``; None takes all annotations.

    Raises:
        DataError: the folder or the list cannot be read, or no object has a name.
    """
    names: set[str] = set()
    for _, item in _annotations(root, names_file):
        if isinstance(item, Path):
            names |= _object_names(item)
    if not names:
        message = "must hold objects with names, holds none"
        raise IssueError(make_issue("file-syntax", root, message, "check that the annotations are VOC's"))
    return tuple(sorted(names))


def write_voc(folder: Path, samples: Iterable[Sample], classes: Sequence[str], split: str) -> None:
    """Write a data set as VOC: images (copied), annotations and ``ImageSets/Main/<split>.txt``.

    VOC knows no crowds; they become difficult, which also makes that neither finding nor missing them counts.

    Args:
        folder: where to; other splits may be there already.
        samples: all with boxes.
        classes: the names of the labels.
        split: name of the list, such as ``train``.

    Raises:
        DataError: a sample without boxes, an image that cannot be read, an annotation that is there already, or a
            file that cannot be written.
    """
    names = OutputNames()
    stems = []
    with writing(folder):
        for part in ("Annotations", "JPEGImages", "ImageSets/Main"):
            (folder / part).mkdir(parents=True, exist_ok=True)
        for sample in samples:
            stem = names.stem(sample.name, None)
            _write_one(folder, stem, sample, classes)
            stems.append(stem)
        write_atomically(folder / "ImageSets" / "Main" / f"{split}.txt", "".join(f"{stem}\n" for stem in stems))


# --- Which annotations. ---


def _annotations(root: Path, names_file: Path | None) -> Iterator[tuple[str, Path | Issue]]:
    """The annotations, each with what names it."""
    folder = root / "Annotations"
    if not folder.is_dir():
        suggestion = "name the folder that holds Annotations and JPEGImages"
        raise IssueError(make_issue("file-unreadable", folder, "must be a folder with XML files, is none", suggestion))
    if names_file is not None:
        yield from _listed(folder, names_file)
        return
    for item in walk_files(folder):
        if isinstance(item, Issue):
            yield item.where, item
        elif item.suffix.lower() == ".xml":
            yield str(item), item
        elif not is_note(item):
            yield str(item), unknown_file(item, "an annotation, .xml,")


def _listed(folder: Path, names_file: Path) -> Iterator[tuple[str, Path | Issue]]:
    for number, line in numbered_lines(names_file):
        where = f"{names_file}:{number}"
        if not line.strip():
            continue
        match = _LISTED.fullmatch(line.strip())
        if match is None:
            message = f"must be the name of an image, and -1, 0 or 1 in a list of one class, got {shown(line)}"
            yield where, make_issue("label-syntax", where, message, "correct the line")
            continue
        try:
            yield where, path_inside(folder, f"{match[1]}.xml", where)
        except IssueError as error:
            yield where, error.issue


def _missing(annotation: Path, where: str) -> Issue:
    message = f"an image must have an annotation, there is no {annotation}"
    return make_issue("label-missing", where, message, "annotate the image, or take it from the list")


def _images_without_annotation(root: Path, used: set[Path | None]) -> Iterator[Annotation]:
    for item in walk_images(root / "JPEGImages"):
        if isinstance(item, Issue):
            yield Annotation(None, (item,))
        elif item not in used:
            stem = item.relative_to(root / "JPEGImages").with_suffix(".xml")
            yield Annotation(None, (_missing(root / "Annotations" / stem, str(item)),))


def _image_of(root: Path, annotation: Path) -> Path | None:
    """The image with the name of the annotation."""
    stem = root / "JPEGImages" / annotation.relative_to(root / "Annotations").with_suffix("")
    suffixes = chain(IMAGE_SUFFIXES, (suffix.upper() for suffix in IMAGE_SUFFIXES))
    paths = (stem.with_name(stem.name + suffix) for suffix in suffixes)
    return next((path for path in paths if is_file(path)), None)


# --- One annotation. ---


def _read_one(root: Path, path: Path, named_in: str, numbers: ClassIndices) -> Annotation:
    if not is_file(path):
        return Annotation(None, (_missing(path, named_in),))
    where = str(path)
    issues: list[Issue] = []
    try:
        tree = _parse(path)
        image = ImageFile(_image_of(root, path) or _named_image(root, tree, where))
        size_wh = size_of(image, where, missing="label-orphan")
        issues += _check_size(tree, size_wh, where)
    except IssueError as error:
        return Annotation(None, (error.issue,))
    rows = []
    for number, element in enumerate(tree.iterfind("object"), 1):
        try:
            rows.append(_read_object(element, f"{where}: object {number}", numbers, issues))
        except IssueError as error:
            issues.append(error.issue)
    boxes, box_issues = make_boxes(rows, size_wh)
    name = image.path.relative_to(root / "JPEGImages").as_posix()
    return Annotation(Sample(name, image, where, size_wh, boxes), (*issues, *box_issues))


def _parse(path: Path) -> ElementTree.Element:
    text = read_text(path, "label-unreadable")
    if _DECLARATION.search(text):  # before parsing: entities can grow without bound, or name other files
        suggestion = "remove the document type and the entities"
        raise IssueError(make_issue("xml-entity", path, "must be XML without <!DOCTYPE and <!ENTITY", suggestion))
    suggestion = "mend the file, or annotate the image again"
    try:
        tree = ElementTree.fromstring(text)  # noqa: S314  without entities and of bounded length
    except ElementTree.ParseError as error:
        where = f"{path}:{error.position[0]}"
        message = f"must be XML: {str(error).partition(':')[0]}"
        raise IssueError(make_issue("label-syntax", where, message, suggestion)) from None
    if tree.tag != "annotation":
        message = f"must hold an <annotation>, holds {shown(tree.tag)}"
        raise IssueError(make_issue("label-syntax", path, message, suggestion))
    return tree


def _named_image(root: Path, tree: ElementTree.Element, where: str) -> Path:
    """The image that the annotation names; labelling tools write a whole path of their own machine."""
    named = tree.findtext("filename", "").strip().replace("\\", "/").rpartition("/")[2]
    if not named:
        message = f"its image must be in {root / 'JPEGImages'}, is not there"
        raise IssueError(make_issue("label-orphan", where, message, "put it there, or delete the annotation"))
    return path_inside(root / "JPEGImages", named, where)


def _check_size(tree: ElementTree.Element, size_wh: tuple[int, int], where: str) -> list[Issue]:
    if tree.find("size") is None:
        return []
    sides = [to_number(tree.findtext(f"size/{side}", "").strip()) for side in ("width", "height")]
    width, height = (int(side) if side is not None and abs(side) < 1e9 else 0 for side in sides)
    try:
        check_declared_size((width, height), size_wh, where)
    except IssueError as error:
        if not error.issue.fixable:
            raise
        return [error.issue]
    return []


def _read_object(element: ElementTree.Element, where: str, numbers: ClassIndices, issues: list[Issue]) -> RawBox:
    label = numbers.of(element.findtext("name", "").strip(), where)
    xmin, ymin, xmax, ymax = (_side(element, side, where) for side in _SIDES)
    left, right = _without_last(xmin, xmax)
    top, bottom = _without_last(ymin, ymax)
    difficult = element.findtext("difficult", "0").strip()
    if difficult not in ("0", "1"):
        message = f"difficult must be 0 or 1, got {shown(difficult)}"
        issues.append(make_issue("label-syntax", where, message, "correct it; 0 is taken", fixable=True))
    written = f"xmin {xmin:g}, ymin {ymin:g}, xmax {xmax:g}, ymax {ymax:g}"
    return RawBox(label, left, top, right, bottom, where, written, difficult=difficult == "1")


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


def _object_names(path: Path) -> set[str]:
    try:
        return {name for element in _parse(path).iterfind("object") if (name := element.findtext("name", "").strip())}
    except IssueError:
        return set()


# --- Writing. ---


def _write_one(folder: Path, stem: str, sample: Sample, classes: Sequence[str]) -> None:
    annotation = folder / "Annotations" / f"{stem}.xml"
    if annotation.exists():
        raise DataError(f"{annotation}: must not be there already; write to an empty folder")
    file_name = stem + Path(sample.name).suffix.lower()
    copy_image(sample.image, folder / "JPEGImages" / file_name)
    tree = _tree_of(sample, file_name, classes)
    ElementTree.indent(tree)
    write_atomically(annotation, ElementTree.tostring(tree, encoding="unicode") + "\n")


def _tree_of(sample: Sample, file_name: str, classes: Sequence[str]) -> ElementTree.Element:
    boxes = boxes_to_write(sample, "VOC")
    tree = ElementTree.Element("annotation")
    _add(tree, "filename", file_name)
    size = ElementTree.SubElement(tree, "size")
    for name, value in zip(("width", "height", "depth"), (*size_to_write(sample), 3), strict=True):
        _add(size, name, str(value))
    for sides, label, ignored in zip(boxes.boxes_xyxy, boxes.labels, boxes.difficult | boxes.crowd, strict=True):
        element = ElementTree.SubElement(tree, "object")
        _add(element, "name", classes[label])
        _add(element, "difficult", str(int(ignored)))
        left, top, right, bottom = sides.tolist()
        box = ElementTree.SubElement(element, "bndbox")
        for name, side in zip(_SIDES, (left + 1, top + 1, right, bottom), strict=True):
            _add(box, name, str(int(side)) if side.is_integer() else repr(side))
    return tree


def _add(parent: ElementTree.Element, tag: str, text: str) -> None:
    ElementTree.SubElement(parent, tag).text = text
