"""PASCAL VOC: an XML file for each image, and lists of the images of each split.

::

    root/Annotations/000017.xml     root/JPEGImages/000017.jpg      root/ImageSets/Main/train.txt

Other programs write the same XML into ``annotations/`` with ``images/``, or beside the images.

VOC counts pixels from 1 and a box's last pixel belongs to it: xmin 1, xmax 500 is the whole width of an image of 500.
Source: the development kit of PASCAL VOC 2012, section 3.4 and VOCevaldet.m, whose areas are xmax - xmin + 1 wide.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Final, Literal, NamedTuple
from xml.etree import ElementTree

from yolo9000.data.files import is_file, is_note, numbered_lines, path_inside, walk_files
from yolo9000.data.format import Recognition, SourceSettings, Split
from yolo9000.data.image_files import (
    duplicate_image,
    find_image,
    is_image,
    same_spelling,
    size_of,
    unknown_file,
    walk_images,
)
from yolo9000.data.images import copy_image
from yolo9000.data.issues import IssueError, make_boxes, make_issue, shown
from yolo9000.data.labels import ClassIndices
from yolo9000.data.listing import Listing, join
from yolo9000.data.split_names import UNDIVIDED, by_split
from yolo9000.data.voc_xml import annotation_tree, object_names, parse_annotation, read_object, size_issues
from yolo9000.data.writing import writing
from yolo9000.data.xml_files import element_name
from yolo9000.errors import ConfigError, DataError
from yolo9000.io.files import write_atomically
from yolo9000.io.images import IMAGE_SUFFIXES
from yolo9000.io.naming import OutputNames
from yolo9000.types import Annotation, ImageFile, Issue, Sample

__all__ = ["NAME", "TITLE", "Source", "class_names", "read", "read_voc", "sniff", "voc_classes", "write", "write_voc"]

NAME: Final = "voc"
TITLE = "PASCAL VOC"

_LISTED = re.compile(r"(.+?)(?:\s+(?:-1|0|1))?")  # an image and, in a list of one class, whether it is there
_ANNOTATION_FOLDERS = ("Annotations", "Annotation", "xmls", "xml", "labels")
_IMAGE_FOLDERS = ("JPEGImages", "images", "image", "img", "imgs", "Data")
_LIST_FOLDERS = ("ImageSets/Main", "ImageSets", "ImageSets/DET")


class Source(SourceSettings):
    """A folder of PASCAL VOC.

    Attributes:
        list: the file of image names to take, relative to ``path``; None takes all annotations.
        annotations: the folder of the XML files, relative to ``path``.
        images: the folder of the images, relative to ``path``; they are called as their XML files are.
    """

    format: Literal["voc"] = NAME
    list: str | None = None
    annotations: str = "Annotations"
    images: str = "JPEGImages"


# --- Recognizing. ---


def sniff(listing: Listing) -> Recognition | None:
    """VOC's own layout; XML files in another folder or beside the images; splits as lists or folders; VOCdevkit."""
    if listing.file is not None:
        return None
    return _sniff_one(listing) or _sniff_split_folders(listing) or _sniff_years(listing)


def _sniff_one(listing: Listing, folder: str = "") -> Recognition | None:
    source = _source_in(listing, folder)
    if source is None:
        return None
    lists = _lists_in(listing, folder)
    divided = _split_annotations(listing, source)
    sources: dict[str, list[dict[str, str]]] = {split: [source | {"list": file}] for split, file in lists.items()}
    sources = divided or sources or {UNDIVIDED: [source]}
    counts = {split: _count(listing, matches[0]) for split, matches in sources.items()}
    beside = source["annotations"] == source["images"]
    where = "beside the images" if beside else f"in {join(folder, source['annotations'])}/"
    title = "VOC XML beside the images" if beside else TITLE
    used = {source["annotations"], source["images"], "ImageSets"} if not beside else set(listing.files())
    used |= {path.split("/")[0] for path in used}
    return Recognition(0.85, title, f"XML annotations {where}", sources, counts, used=frozenset(used))


def _sniff_split_folders(listing: Listing) -> Recognition | None:
    folders = listing.split_folders()
    matches = {split: source for split, folder in folders.items() if (source := _source_in(listing, folder))}
    if not matches:
        return None
    sources = {split: [source] for split, source in matches.items()}
    counts = {folders[split]: _count(listing, source) for split, source in matches.items()}
    reason = f"XML annotations in {', '.join(f'{folders[split]}/' for split in matches)}"
    return Recognition(0.85, "VOC XML in split folders", reason, sources, counts, used=frozenset(folders.values()))


def _sniff_years(listing: Listing) -> Recognition | None:
    """``VOCdevkit``, whose folders are data sets with the same splits."""
    matches = {name: one for name in listing.folders()[:50] if (one := _sniff_one(listing, name))}
    if not matches or (len(matches) > 1 and not all(name.lower().startswith("voc") for name in matches)):
        return None
    sources: dict[str, list[dict[str, str]]] = {}
    for one in matches.values():
        for split, parts in one.sources.items():
            sources.setdefault(split, []).extend(map(dict, parts))
    if len(sources) > 1 and UNDIVIDED in sources:
        return None
    counts = {split: sum(one.counts.get(split) or 0 for one in matches.values()) for split in sources}
    reason = f"XML annotations in {', '.join(f'{name}/Annotations/' for name in matches)}"
    return Recognition(0.85, f"{TITLE} ({', '.join(matches)})", reason, sources, counts, used=frozenset(matches))


def _source_in(listing: Listing, folder: str) -> dict[str, str] | None:
    """The source that a folder is, without its list."""
    for name in _ANNOTATION_FOLDERS:
        within = listing.folder_called(name, within=folder)
        if within and _holds_annotations(listing, within):
            return _with_images(listing, folder, within)
    if _holds_annotations(listing, folder, depth=0) and listing.images(folder):
        return {"format": NAME, "path": folder or ".", "annotations": ".", "images": "."}
    return None


def _with_images(listing: Listing, folder: str, annotations: str) -> dict[str, str] | None:
    images = listing.folder_called(*_IMAGE_FOLDERS, within=folder)
    if images is None and listing.images(annotations):
        images = annotations
    if images is None:
        images = folder if listing.images(folder) else join(folder, "JPEGImages")
    prefix = f"{folder}/" if folder else ""
    source = {"format": NAME, "path": folder or "."}
    source["annotations"] = annotations.removeprefix(prefix)
    source["images"] = images.removeprefix(prefix) if images != folder else "."
    return _without_shared_folder(listing, folder, source)


def _without_shared_folder(listing: Listing, folder: str, source: dict[str, str]) -> dict[str, str]:
    """ImageNet has ``Annotations/DET/train`` and ``Data/DET/train``: the first part below belongs to both."""
    below = [listing.folders(join(folder, source[key])) for key in ("annotations", "images")]
    files = listing.files(join(folder, source["annotations"]), ".xml")
    if not files and len(below[0]) == 1 and below[0] == below[1] and not by_split(below[0]):
        return source | {key: f"{source[key]}/{below[0][0]}" for key in ("annotations", "images")}
    return source


def _holds_annotations(listing: Listing, folder: str, depth: int = 3) -> bool:
    for name in listing.files(folder, ".xml")[:3]:
        if element_name(listing.head(join(folder, name), 4096)) == "annotation":
            return True
    return depth > 0 and any(
        _holds_annotations(listing, join(folder, name), depth - 1) for name in listing.folders(folder)[:10]
    )


def _lists_in(listing: Listing, folder: str) -> dict[str, str]:
    for lists in _LIST_FOLDERS:
        names = [name.removesuffix(".txt") for name in listing.files(join(folder, lists), ".txt")]
        matches = by_split(name for name in names if "_" not in name)
        if matches:
            return {split: f"{lists}/{name}.txt" for split, name in matches.items()}
    return {}


def _split_annotations(listing: Listing, source: dict[str, str]) -> dict[str, list[dict[str, str]]]:
    """The splits that are folders among the annotations and among the images."""
    if source["annotations"] == source["images"]:
        return {}
    path = "" if source["path"] == "." else source["path"]
    annotations = by_split(listing.folders(join(path, source["annotations"])))
    images = by_split(listing.folders(join(path, source["images"])))
    return {
        split: [
            source
            | {
                "annotations": f"{source['annotations']}/{name}",
                "images": f"{source['images']}/{images.get(split, name)}",
            }
        ]
        for split, name in annotations.items()
    }


def _count(listing: Listing, source: dict[str, str]) -> int | None:
    path = "" if source["path"] == "." else source["path"]
    if "list" in source:
        return listing.line_count(join(path, source["list"]))
    return listing.image_count(path if source["images"] == "." else join(path, source["images"]))


# --- Reading. ---


def class_names(root: Path, source: Source) -> Sequence[str]:
    """The names that stand in the annotations, sorted."""
    folder = root / source.path
    return voc_classes(folder, _list_of(folder, source), annotations=source.annotations)


def read(root: Path, source: Source, classes: Sequence[str]) -> Iterator[Annotation]:
    """See `read_voc`."""
    folder = root / source.path
    names_file = _list_of(folder, source)
    yield from read_voc(folder, names_file, classes, annotations=source.annotations, images=source.images)


def _list_of(folder: Path, source: Source) -> Path | None:
    return folder / source.list if source.list else None


def read_voc(
    root: Path,
    names_file: Path | None,
    classes: Sequence[str],
    *,
    annotations: str = "Annotations",
    images: str = "JPEGImages",
) -> Iterator[Annotation]:
    """The images of a VOC data set, in the order of the list or of their names.

    The image of ``Annotations/000017.xml`` is ``JPEGImages/000017`` with any suffix of images or, where there is
    none, the one that the XML names. An xmin or ymin of 0, which labelling tools write, is taken for 1. A box whose
    first and last pixel are the same along a side is empty, although the development kit would make it 1 wide.

    Args:
        root: the folder of both.
        names_file: a list of ``ImageSets``: the names of images without suffix, one a line; in a list of one class
            followed by -1, 0 or 1, which changes nothing. None reads all annotations.
        classes: their names; their places are the labels.
        annotations: the folder of the XML files, relative to the root.
        images: the folder of the images, relative to the root.

    Raises:
        DataError: a folder or the list cannot be read, or a class is named twice.
    """
    folders = _Folders(root / annotations, root / images)
    indices = ClassIndices(classes)
    seen: set[Path | None] = set()
    for where, item in _annotations(folders, names_file):
        annotation = Annotation(None, (item,)) if isinstance(item, Issue) else _read_one(folders, item, where, indices)
        if annotation.sample is not None and annotation.sample.image.path in seen:
            annotation = Annotation(None, (duplicate_image(annotation.sample.name, where),))
        if annotation.sample is not None:
            seen.add(annotation.sample.image.path)
        elif isinstance(item, Path):
            seen.add(_image_of(folders, item))
        yield annotation
    if names_file is None:
        yield from _images_without_annotation(folders, seen)


def voc_classes(root: Path, names_file: Path | None, *, annotations: str = "Annotations") -> tuple[str, ...]:
    """The names of all objects, sorted; from files that can be read, of the others `read_voc` tells.

    Args:
        root: the folder that holds the annotations.
        names_file: a list of ``ImageSets``; None takes all annotations.
        annotations: as for `read_voc`.

    Raises:
        DataError: the folder or the list cannot be read.
    """
    folders = _Folders(root / annotations, root)
    paths = [item for _, item in _annotations(folders, names_file) if isinstance(item, Path)]
    return tuple(sorted({name for path in paths for name in object_names(path)}))


class _Folders(NamedTuple):
    annotations: Path
    images: Path


# --- Which annotations. ---


def _annotations(folders: _Folders, names_file: Path | None) -> Iterator[tuple[str, Path | Issue]]:
    """The annotations, each with what names it."""
    if not folders.annotations.is_dir():
        suggestion = "name the folder that holds the XML files and the images"
        message = "must be a folder with XML files, is none"
        raise IssueError(make_issue("file-unreadable", folders.annotations, message, suggestion))
    if names_file is not None:
        yield from _listed(folders.annotations, names_file)
        return
    for item in walk_files(folders.annotations):
        if isinstance(item, Issue):
            yield item.where, item
        elif item.suffix.lower() == ".xml":
            yield str(item), item
        elif not is_note(item) and not (folders.annotations == folders.images and is_image(item)):
            yield str(item), unknown_file(item, "an annotation, .xml,")


def _listed(folder: Path, names_file: Path) -> Iterator[tuple[str, Path | Issue]]:
    for number, line in numbered_lines(names_file):
        where = f"{names_file}:{number}"
        name = line.strip()
        if not name or name.startswith("#"):
            continue
        try:
            yield where, _annotation_called(folder, name, where)
        except IssueError as error:
            yield where, error.issue


def _annotation_called(folder: Path, name: str, where: str) -> Path:
    """The XML file that a line names: an image's name, perhaps with its suffix, perhaps with a mark behind it."""
    match = _LISTED.fullmatch(name)
    if match is None or not name.isprintable():
        message = f"must be the name of an image, and -1, 0 or 1 in a list of one class, got {shown(name)}"
        raise IssueError(make_issue("label-syntax", where, message, "correct the line"))
    names = [name, match[1]]
    names += [str(Path(one).with_suffix("")) for one in names if is_image(Path(one))]
    paths = [path_inside(folder, f"{one}.xml", where) for one in names]
    return next((path for path in paths if is_file(path)), paths[-1])


def _missing(annotation: Path, where: str) -> Issue:
    twin = same_spelling(annotation)
    hint = f"; {twin.name} differs in case or in its form of Unicode" if twin else ""
    message = f"an image must have an annotation, there is no {annotation}{hint}"
    return make_issue("label-missing", where, message, "annotate the image, or take it from the list")


def _images_without_annotation(folders: _Folders, seen: set[Path | None]) -> Iterator[Annotation]:
    beside = folders.annotations == folders.images
    for item in walk_files(folders.images) if beside else walk_images(folders.images):
        if isinstance(item, Issue):
            yield Annotation(None, (item,))
        elif item not in seen and is_image(item):
            annotation = folders.annotations / item.relative_to(folders.images).with_suffix(".xml")
            issue = _shared(annotation, item) if is_file(annotation) else _missing(annotation, str(item))
            yield Annotation(None, (issue,))


def _shared(annotation: Path, image: Path) -> Issue:
    message = f"an annotation must belong to one image, {annotation} belongs to another one of the same name"
    return make_issue("label-duplicate", image, message, "rename one of the two images, and give it its own annotation")


def _image_of(folders: _Folders, annotation: Path) -> Path | None:
    """The image with the name of the annotation."""
    stem = folders.images / annotation.relative_to(folders.annotations).with_suffix("")
    suffixes = chain(IMAGE_SUFFIXES, (suffix.upper() for suffix in IMAGE_SUFFIXES))
    paths = (stem.with_name(stem.name + suffix) for suffix in suffixes)
    return next((path for path in paths if is_file(path)), None)


# --- One annotation. ---


def _read_one(folders: _Folders, path: Path, named_in: str, indices: ClassIndices) -> Annotation:
    if not is_file(path):
        return Annotation(None, (_missing(path, named_in),))
    where = str(path)
    issues: list[Issue] = []
    try:
        tree = parse_annotation(path)
        image = ImageFile(_image_of(folders, path) or _named_image(folders.images, tree, where))
        size_wh = size_of(image, where, missing="label-orphan")
        issues += size_issues(tree, size_wh, where)
    except IssueError as error:
        return Annotation(None, (error.issue,))
    rows = []
    for number, element in enumerate(tree.iterfind("object"), 1):
        try:
            rows.append(read_object(element, f"{where}: object {number}", indices, issues))
        except IssueError as error:
            issues.append(error.issue)
    try:
        boxes, box_issues = make_boxes(rows, size_wh)
    except IssueError as error:
        return Annotation(None, (error.issue, *issues))
    name = image.path.relative_to(folders.images).as_posix()
    return Annotation(Sample(name, image, where, size_wh, boxes), (*issues, *box_issues))


def _named_image(folder: Path, tree: ElementTree.Element, where: str) -> Path:
    """The image that the annotation names; labelling tools write a whole path of their own machine."""
    named = tree.findtext("filename", "").strip().replace("\\", "/").rpartition("/")[2]
    if not named:
        message = f"its image must be in {folder}, is not there"
        raise IssueError(make_issue("label-orphan", where, message, "put it there, or delete the annotation"))
    return find_image(folder, named, where)


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
    """See `write_voc`.

    Raises:
        ConfigError: the images shall not be copied; VOC has them beside its annotations.
        DataError: see `write_voc`.
    """
    if not copy:
        raise ConfigError(f"{TITLE} has its images in a folder beside the annotations: they must be copied")
    write_voc(folder, samples, classes, split, names=names)


def write_voc(
    folder: Path, samples: Iterable[Sample], classes: Sequence[str], split: str, *, names: OutputNames | None = None
) -> None:
    """Write a data set as VOC: images (copied), annotations and ``ImageSets/Main/<split>.txt``.

    VOC knows no crowds; they become difficult, which also makes that neither finding nor missing them counts. It cannot
    say that a box is at most one pixel wide: such a box is written 1.01 pixels wide, around the same center.

    Args:
        folder: where to; other splits may be there already.
        samples: all with boxes.
        classes: the names of the labels.
        split: name of the list, such as ``train``.
        names: of the files that other splits have; None: there are no others of the same names.

    Raises:
        DataError: a sample without boxes, an image that cannot be read, an annotation that is there already, a class
            that XML cannot name, or a file that cannot be written.
    """
    names = names or OutputNames()
    _check_names(folder, classes)
    stems = []
    with writing(folder):
        for part in ("Annotations", "JPEGImages", "ImageSets/Main"):
            (folder / part).mkdir(parents=True, exist_ok=True)
        for sample in samples:
            stem = names.stem(f"{split}/{sample.name}", None)
            _write_one(folder, stem, sample, classes)
            stems.append(stem)
        write_atomically(folder / "ImageSets" / "Main" / f"{split}.txt", "".join(f"{stem}\n" for stem in stems))


def _check_names(folder: Path, classes: Sequence[str]) -> None:
    if bad := [name for name in classes if name != name.strip() or not name.isprintable()]:
        message = "VOC's class names must begin and end with a letter and be printable"
        raise DataError(f"{folder}: {message}, got {shown(bad[0])}; rename it with map in a data-set file")


def _write_one(folder: Path, stem: str, sample: Sample, classes: Sequence[str]) -> None:
    annotation = folder / "Annotations" / f"{stem}.xml"
    if annotation.exists():
        raise DataError(f"{annotation}: must not be there already; write to an empty folder")
    file_name = stem + Path(sample.name).suffix.lower()
    copy_image(sample.image, folder / "JPEGImages" / file_name)
    tree = annotation_tree(sample, file_name, classes)
    ElementTree.indent(tree)
    write_atomically(annotation, ElementTree.tostring(tree, encoding="unicode") + "\n")
