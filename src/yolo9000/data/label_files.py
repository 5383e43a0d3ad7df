"""Darknet's and YOLO's text labels: a file for each image with a line for each object.

A line is ``class centre-x centre-y width height``, all but the class as fractions of the image, as in
``0 0.5 0.5 0.25 0.1``. Where all four are 0, as in ``0 0 0 0 0``, the image holds the class somewhere: an
image-level label. An empty file says that there is no object.

The labels of ``images/train/a.jpg`` are in ``labels/train/a.txt``, of ``JPEGImages/a.jpg`` in ``labels/a.txt``, or in
``a.txt`` beside the image.

Darknet: src/data.c fill_truth_detection, correct_boxes; src/utils.c find_replace; scripts/voc_label.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from yolo9000.data.files import is_file, is_folder, numbered_lines, read_text, to_number, walk_files
from yolo9000.data.image_files import (
    check_there,
    duplicate_image,
    is_image,
    same_spelling,
    size_of,
    walk_images,
)
from yolo9000.data.images import copy_image
from yolo9000.data.issues import IssueError, RawBox, make_boxes, make_issue, scaled, shown
from yolo9000.data.labels import add_labels, class_of_digits, image_level
from yolo9000.data.shapes import enclosing, shape_issue
from yolo9000.data.writing import size_to_write
from yolo9000.errors import DataError
from yolo9000.io.files import write_atomically
from yolo9000.types import Annotation, ImageFile, Issue, Sample

__all__ = [
    "LABEL_FOLDER",
    "LabelLines",
    "LabelOptions",
    "make_gt",
    "parse_label_lines",
    "put_image",
    "read_label_files",
    "write_label_file",
]

LABEL_FOLDER = "labels"
_IMAGE_FOLDERS = ("images", "JPEGImages")
_CLASSES_FILES = ("classes.txt", "predefined_classes.txt")  # which labelling tools put among the labels
_POSE_COLUMNS = 5


@dataclass(frozen=True)
class LabelOptions:
    """What label files mean where their lines do not say.

    Attributes:
        boxes_from_shapes: the outlines of polygons and rotated boxes are read as their enclosing boxes; otherwise each
            is an issue.
        keypoints: behind the box stand keypoints, which are not read.
        missing_is_empty: an image without a label file has no objects; otherwise it is an issue.
    """

    boxes_from_shapes: bool = False
    keypoints: bool = False
    missing_is_empty: bool = False


class LabelLines(NamedTuple):
    """What the lines of a label file say.

    Attributes:
        rows: the boxes in fractions of the image.
        image_labels: the classes that are in the image, without boxes.
        issues: the lines that cannot be used.
    """

    rows: list[RawBox]
    image_labels: tuple[int, ...]
    issues: list[Issue]


def read_label_files(
    images: Iterable[Path], classes: Sequence[str], options: LabelOptions = LabelOptions()
) -> Iterator[Annotation]:
    """The images with their label files.

    An image without label file is an issue: nobody said that it is empty. A label file without image is one where a
    folder is read. `size_wh` is known only where there are boxes.

    Args:
        images: images; folders, whose images are read, those in folders below too; and lists, which are all
            files that are no images by their suffix: a path a line, relative to the list or to the working folder.
        classes: their names; their places are the labels.
        options: what label files mean.

    Raises:
        DataError: a folder or a list cannot be read.
    """
    seen: set[Path] = set()
    label_files: dict[Path, Path] = {}
    for source in images:
        for where, item in _images_of(source):
            if isinstance(item, Issue):
                yield Annotation(None, (item,))
            elif item in seen:
                yield Annotation(None, (duplicate_image(str(item), where),))
            else:
                seen.add(item)
                label_file = _label_file_of(item)
                first = label_files.setdefault(label_file, item) if label_file else item
                shared = first if first != item else None
                yield _read_one(item, label_file, shared, where, len(classes), options)
        if is_folder(source):
            yield from (Annotation(None, (issue,)) for issue in _orphans(source, set(label_files)))


def parse_label_lines(text: str, where: str, count: int, options: LabelOptions = LabelOptions()) -> LabelLines:
    """The lines of a label file.

    Args:
        text: the contents of the file.
        where: its name, for the issues.
        count: number of classes.
        options: what the lines mean.
    """
    rows: list[RawBox] = []
    labels: set[int] = set()
    issues: list[Issue] = []
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            _parse_line(line, f"{where}:{number}", count, options, rows, labels, issues)
        except IssueError as error:
            issues.append(error.issue)
    return LabelLines(rows, tuple(sorted(labels)), issues)


def make_gt(lines: LabelLines, sample: Sample) -> Annotation:
    """The sample with what its label file says.

    Args:
        lines: the lines of the file.
        sample: the image.

    Returns:
        It has no boxes, rather than none of them, where there are image-level labels alone.

    Raises:
        IssueError: there are boxes, and the image's size cannot be read.
    """
    if lines.image_labels and not lines.rows:
        return image_level(sample, lines.image_labels, lines.issues)
    size_wh = size_of(sample.image, sample.where) if lines.rows else None  # images without boxes stay unopened
    width, height = size_wh or (1, 1)
    rows = [scaled(row, (width, height)) for row in lines.rows]
    boxes, issues = make_boxes(rows, (width, height))
    return Annotation(
        replace(sample, size_wh=size_wh, boxes=boxes, image_labels=lines.image_labels), (*lines.issues, *issues)
    )


# --- Images and their label files. ---


def _images_of(source: Path) -> Iterator[tuple[str, Path | Issue]]:
    """The images that a path stands for, each with what names it."""
    if is_folder(source):
        for item in walk_images(source):
            yield str(item), item
    elif is_image(source):
        yield str(source), source
    else:
        for number, line in numbered_lines(source):
            if line.strip():
                yield f"{source}:{number}", _find_listed(line.strip(), source.parent)


def _find_listed(listed: str, folder: Path) -> Path:
    """The image that a list names: beside the list, above it, in the working folder, or at the end of its path.

    Lists come from other machines, and from programs that look from the folder that they were started in.
    """
    plain = listed.replace("\\", "/") if "\\" in listed and not is_file(folder / listed) else listed
    for path in (folder / plain, folder.parent / plain, Path(plain)):
        if is_file(path):
            return path
    return _match_by_end(plain, folder) or folder / plain


def _match_by_end(listed: str, folder: Path) -> Path | None:
    """The file at the longest end of a path that is there below one of two folders."""
    parts = [part for part in PurePosixPath(listed).parts if part not in ("..", ".", "/")]
    ends = ["/".join(parts[start:]) for start in range(len(parts))]
    paths = (above / end for end in ends for above in (folder, folder.parent))
    return next((path for path in paths if is_file(path)), None)


def _read_one(
    image: Path, label_file: Path | None, shared: Path | None, where: str, count: int, options: LabelOptions
) -> Annotation:
    sample = Sample(str(image), ImageFile(image), str(label_file or image))
    try:
        check_there(sample.image, where)
        if label_file is None and options.missing_is_empty:
            return make_gt(LabelLines([], (), []), sample)
        if label_file is None:
            raise IssueError(_missing(image, where))
        if shared is not None:
            raise IssueError(_shared(image, label_file, shared))
        text = read_text(label_file, "label-unreadable")
        return make_gt(parse_label_lines(text, str(label_file), count, options), sample)
    except IssueError as error:
        return Annotation(None, (error.issue,))


def _missing(image: Path, where: str) -> Issue:
    positions = " or ".join(str(path) for path in _label_locations(image))
    message = f"an image must have a label file, there is no {positions}"
    suggestion = "label the image; an empty file says that it has no object (missing_is_empty: a missing one, too)"
    return make_issue("label-missing", where, message, suggestion)


def _shared(image: Path, label_file: Path, first: Path) -> Issue:
    message = f"a label file must belong to one image, {label_file} belongs to {first.name} too"
    return make_issue("label-duplicate", image, message, "rename one of the two images, and give it its own labels")


def _label_file_of(image: Path) -> Path | None:
    positions = _label_locations(image)
    twins = (twin for path in positions if (twin := same_spelling(path)) is not None)
    return next((path for path in positions if is_file(path)), None) or next(twins, None)


def _label_locations(image: Path) -> list[Path]:
    """Where the labels of an image may be, in the order in which they are looked for."""
    if not image.name:  # a list that names the root
        return []
    beside = image.with_suffix(".txt")
    as_darknet = str(beside)
    for name in _IMAGE_FOLDERS:  # Darknet replaces the first such letters, wherever they stand
        as_darknet = as_darknet.replace(name, LABEL_FOLDER, 1)
    return list(dict.fromkeys([_label_folder_of(beside), Path(as_darknet), beside]))


def _label_folder_of(path: Path) -> Path:
    """The path with its last part that is a folder of images replaced by that of the labels."""
    parts = list(path.parts)
    for position in reversed(range(len(parts))):
        if parts[position] in _IMAGE_FOLDERS:
            parts[position] = LABEL_FOLDER
            break
    return Path(*parts)


def _orphans(folder: Path, used: set[Path]) -> Iterator[Issue]:
    """The label files of a folder that belong to none of its images."""
    label_folder = _label_folder_of(folder)
    below = {path.parent for path in used if path.is_relative_to(folder)}
    folders = [label_folder] if label_folder != folder else sorted(below)
    for path in folders:
        for item in walk_files(path) if is_folder(path) else ():
            if isinstance(item, Issue):
                yield item
            elif item.suffix.lower() == ".txt" and item not in used and item.name not in _CLASSES_FILES:
                suggestion = "put the image back, or delete the file"
                issue = make_issue("label-orphan", item, "a label file must have an image, there is none", suggestion)
                yield replace(issue, fixable=True)


# --- Lines. ---


def _parse_line(
    line: str,
    where: str,
    count: int,
    options: LabelOptions,
    rows: list[RawBox],
    labels: set[int],
    issues: list[Issue],
) -> None:
    parts = line.split()
    if options.keypoints:
        parts = parts[:_POSE_COLUMNS]
    if len(parts) != 5 and not _is_outline(parts):
        message = f"must be a class and 4 numbers, got {len(parts)} columns: {shown(line.strip())}"
        suggestion = "leave out scores; turn outlines into boxes" if len(parts) > 5 else "correct or delete the line"
        raise IssueError(make_issue("label-syntax", where, message, suggestion, fixable=True))
    label = class_of_digits(parts[0], count, where)
    values = [number for part in parts[1:] if (number := to_number(part)) is not None]
    if len(values) != len(parts) - 1:
        message = f"must be a class and 4 numbers, got {shown(line.strip())}"
        raise IssueError(make_issue("label-syntax", where, message, "correct or delete the line", fixable=True))
    if not any(values) and len(values) == 4:
        issues += add_labels(labels, [(label, where)], lambda number, _: number)
        return
    rows.append(_box_of(label, values, where, options))


def _is_outline(parts: Sequence[str]) -> bool:
    """Whether a line is a class and at least three corners."""
    return len(parts) >= 7 and len(parts) % 2 == 1


def _box_of(label: int, values: Sequence[float], where: str, options: LabelOptions) -> RawBox:
    """A box in fractions of the image."""
    if len(values) > 4:
        if not options.boxes_from_shapes:
            raise IssueError(shape_issue(f"an outline of {len(values) // 2} corners, or a box with keypoints", where))
        sides = enclosing(list(zip(values[::2], values[1::2], strict=True)))
        return RawBox(label, *sides, where, f"an outline from {sides[0]:g}, {sides[1]:g} to {sides[2]:g}, {sides[3]:g}")
    x, y, width, height = values
    if x == y == 0:
        message = f"the center of a box must lie inside the image, is 0 0 with size {width:g} {height:g}"
        suggestion = "write the center, not the left top corner; an image-level label has four zeros"
        raise IssueError(make_issue("label-syntax", where, message, suggestion, fixable=True))
    unit = "of the image" if max(values) <= 2 else "of the image: pixels? they must be fractions"
    written = f"centre {x:g} {y:g}, size {width:g} {height:g} {unit}"
    return RawBox(label, x - width / 2, y - height / 2, x + width / 2, y + height / 2, where, written)


# --- Writing. ---


def write_label_file(file: Path, sample: Sample) -> None:
    """Write the label file of a sample; difficult boxes and crowds are left out, as Darknet's own scripts do.

    Raises:
        DataError: it is there already; nothing is known of the sample; its size cannot be read.
        OSError: the file cannot be written.
    """
    if file.exists():
        raise DataError(f"{file}: must not be there already; write to an empty folder")
    lines = [f"{label} 0 0 0 0\n" for label in sample.image_labels]
    if sample.boxes is None and not lines:
        raise DataError(f"{sample.where}: must have boxes or image-level labels to be written, has neither")
    if sample.boxes is not None and len(sample.boxes):
        width, height = size_to_write(sample)
        kept = ~(sample.boxes.difficult | sample.boxes.crowd)
        for label, sides in zip(sample.boxes.labels[kept], sample.boxes.boxes_xyxy[kept].tolist(), strict=True):
            left, top, right, bottom = sides
            centre = f"{(left + right) / 2 / width:.9g} {(top + bottom) / 2 / height:.9g}"
            lines.append(f"{label} {centre} {(right - left) / width:.9g} {(bottom - top) / height:.9g}\n")
    write_atomically(file, "".join(lines))


def put_image(image: ImageFile, to: Path, copy: bool) -> None:
    """Copy an image, or link to it where it is a file of its own.

    Raises:
        DataError: it cannot be read.
        OSError: it cannot be written.
    """
    if copy or image.offset is not None:
        copy_image(image, to)
    else:
        to.symlink_to(image.path.resolve())
