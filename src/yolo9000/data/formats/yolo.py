"""Darknet's and YOLO's text labels: a file for each image with a line for each object.

A line is ``class centre-x centre-y width height``, all but the class as fractions of the image, as in
``0 0.5 0.5 0.25 0.1``. Where both centres are 0, as in ``0 0 0 0 0``, the image holds the class somewhere: an
image-level label. An empty file says that there is no object.

The labels of ``images/train/a.jpg`` are in ``labels/train/a.txt``, of ``JPEGImages/a.jpg`` in ``labels/a.txt``, or in
``a.txt`` beside the image.

Darknet: src/data.c fill_truth_detection, correct_boxes; src/utils.c find_replace; scripts/voc_label.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal, NamedTuple, NoReturn

import yaml

from yolo9000.data.data_file import read_data
from yolo9000.data.formats import (
    ClassIndices,
    add_labels,
    check_there,
    class_of_digits,
    duplicate_image,
    image_level,
    is_file,
    is_folder,
    is_image,
    numbered_lines,
    read_text,
    size_of,
    size_to_write,
    to_number,
    walk_files,
    walk_images,
    writing,
)
from yolo9000.data.images import copy_image
from yolo9000.data.issues import IssueError, RawBox, make_boxes, make_issue, shown
from yolo9000.errors import DataError
from yolo9000.io.files import write_atomically
from yolo9000.io.writers import OutputNames
from yolo9000.taxonomy.files import read_names
from yolo9000.types import Annotation, ImageFile, Issue, Sample

__all__ = [
    "LabelLines",
    "make_gt",
    "parse_label_lines",
    "read_darknet",
    "read_darknet_data",
    "read_yolo_yaml",
    "write_darknet",
]

Split = Literal["train", "val", "test"]

SPLITS: tuple[Split, ...] = ("train", "val", "test")
_DATA_KEYS: dict[Split, str] = {"train": "train", "val": "valid", "test": "test"}
_IMAGE_FOLDERS = ("images", "JPEGImages")
_LABEL_FOLDER = "labels"
_CLASSES_FILE = "classes.txt"  # which labelling tools put among the labels
_MAX_YAML_BYTES = 1_000_000
_TEXT = "tag:yaml.org,2002:str"
_NOTHING = "tag:yaml.org,2002:null"
_WHOLE = "tag:yaml.org,2002:int"


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


def read_darknet(images: Iterable[Path], classes: Sequence[str]) -> Iterator[Annotation]:
    """The images with their label files.

    An image without label file is an issue: nobody said that it is empty. A label file without image is one where a
    folder is read. `size_wh` is known only where there are boxes.

    Args:
        images: images; folders, whose images are read, those in folders below too; and lists, which are all
            files that are no images by their suffix: a path a line, relative to the list or to the working folder.
        classes: their names; their places are the labels.

    Raises:
        DataError: a folder or a list cannot be read.
    """
    seen: set[Path] = set()
    label_files: set[Path | None] = set()
    for source in images:
        for where, item in _images_of(source):
            if isinstance(item, Issue):
                yield Annotation(None, (item,))
            elif item in seen:
                yield Annotation(None, (duplicate_image(str(item), where),))
            else:
                seen.add(item)
                label_file = _label_file_of(item)
                label_files.add(label_file)
                yield _read_one(item, label_file, where, len(classes))
        if is_folder(source):
            yield from (Annotation(None, (issue,)) for issue in _orphans(source, label_files))


def parse_label_lines(text: str, where: str, count: int) -> LabelLines:
    """The lines of a label file.

    Args:
        text: the contents of the file.
        where: its name, for the issues.
        count: number of classes.
    """
    rows: list[RawBox] = []
    labels: set[int] = set()
    issues: list[Issue] = []
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            _parse_line(line, f"{where}:{number}", count, rows, labels, issues)
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
    rows = [
        row._replace(left=row.left * width, top=row.top * height, right=row.right * width, bottom=row.bottom * height)
        for row in lines.rows
    ]
    boxes, issues = make_boxes(rows, (width, height))
    return Annotation(
        replace(sample, size_wh=size_wh, boxes=boxes, image_labels=lines.image_labels), (*lines.issues, *issues)
    )


def read_yolo_yaml(file: Path) -> tuple[tuple[str, ...], dict[str, tuple[Path, ...]]]:
    """The usual YAML of a YOLO data set: ``path``, ``train``, ``val``, ``test``, ``names`` and ``nc``.

    Nothing else in it is looked at, and nothing is ever executed or fetched.

    Args:
        file: of at most 1 MB. ``path`` is relative to its folder, the splits to ``path``.

    Returns:
        The names of the classes; and of each split that is there the folders and lists, for `read_darknet`.

    Raises:
        DataError: the file cannot be read or is not YAML; a name is not text or is there twice; ``names`` has gaps, or
            ``nc`` is not their number; a split leads nowhere, or there is none.
    """
    entries = _entries_of(_compose(file), file)
    names = _names_in(entries, file)
    folder = file.parent / (_text_of(entries["path"], file) if "path" in entries else "")
    splits: dict[str, tuple[Path, ...]] = {}
    for split in SPLITS:
        if split in entries and (paths := _paths_in(entries[split], folder, file)):
            splits[split] = paths
    if not splits:
        _fail(file, None, f"must name {', '.join(SPLITS)} or some of them, names none")
    return names, splits


def read_darknet_data(file: Path) -> tuple[tuple[str, ...], dict[str, tuple[Path, ...]]]:
    """Darknet's ``.data``: ``classes``, ``names`` or ``labels``, ``train``, ``valid``, ``test``.

    The classes are named by ``labels`` where it is there: in Darknet's 9k ``names`` are not unique.

    Args:
        file: the files that it names are looked for around it.

    Returns:
        As `read_yolo_yaml`.

    Raises:
        DataError: a file cannot be read or is not there; a name is there twice; ``classes`` is not their number; there
            is no split.
    """
    data = read_data(file)
    names_file = data.file("labels") or data.file("names")
    if names_file is None:
        _fail(file, None, "must have names = and a file, has none")
    names = read_names(names_file)
    ClassIndices(names, names_file)
    if data.options.get("classes", str(len(names))) != str(len(names)):
        _fail(file, None, f"classes must be {len(names)}, the number of names, is {shown(data.options['classes'])}")
    splits: dict[str, tuple[Path, ...]] = {}
    for split, key in _DATA_KEYS.items():
        if (path := data.file(key)) is not None:
            splits[split] = (path,)
    if not splits:
        _fail(file, None, f"must have {', '.join(_DATA_KEYS.values())} or some of them, has none")
    return names, splits


def write_darknet(
    folder: Path, samples: Iterable[Sample], classes: Sequence[str], split: Split = "train", *, copy: bool = False
) -> None:
    """Write a data set as Darknet and YOLO programs read it.

    That is ``images/``, ``labels/``, ``<split>.txt``, ``classes.names``, ``dataset.data`` and ``dataset.yaml``, the
    last two with all splits that have been written to the folder. Difficult boxes and crowds are left out, as Darknet's
    own scripts do. Programs that take relative paths for the working folder's must be started in the folder.

    Args:
        folder: where to; other splits may be there already.
        samples: with boxes, image-level labels or both.
        classes: the names of the labels.
        split: what the samples are for.
        copy: copy the images rather than link to them; those in tar files are always copied.

    Raises:
        DataError: a sample of which nothing is known, an image whose size cannot be read, a label file that is there
            already, a name that is not one line, or a file that cannot be written.
    """
    names = OutputNames()
    lines = []
    with writing(folder):
        for part in ("images", _LABEL_FOLDER):
            (folder / part).mkdir(parents=True, exist_ok=True)
        for sample in samples:
            stem = names.stem(sample.name, None)
            image = folder / "images" / (stem + Path(sample.name).suffix.lower())
            _write_labels(folder / _LABEL_FOLDER / f"{stem}.txt", sample)
            _put_image(sample.image, image, copy)
            lines.append(f"./images/{image.name}\n")
        write_atomically(folder / f"{split}.txt", "".join(lines))
        _write_description(folder, classes)


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
    beside_list = folder / listed
    return Path(listed) if is_file(Path(listed)) and not is_file(beside_list) else beside_list


def _read_one(image: Path, label_file: Path | None, where: str, count: int) -> Annotation:
    try:
        check_there(ImageFile(image), where)
        if label_file is None:
            raise IssueError(_missing(image, where))
        lines = parse_label_lines(read_text(label_file, "label-unreadable"), str(label_file), count)
        return make_gt(lines, Sample(str(image), ImageFile(image), str(label_file)))
    except IssueError as error:
        return Annotation(None, (error.issue,))


def _missing(image: Path, where: str) -> Issue:
    places = " or ".join(str(path) for path in _label_places(image))
    message = f"an image must have a label file, there is no {places}"
    return make_issue("label-missing", where, message, "label the image; an empty file says that it has no object")


def _label_file_of(image: Path) -> Path | None:
    return next((path for path in _label_places(image) if is_file(path)), None)


def _label_places(image: Path) -> list[Path]:
    """Where the labels of an image may be, in the order in which they are looked for."""
    beside = image.with_suffix(".txt")
    as_darknet = str(beside)
    for name in _IMAGE_FOLDERS:  # Darknet replaces the first such letters, wherever they stand
        as_darknet = as_darknet.replace(name, _LABEL_FOLDER, 1)
    return list(dict.fromkeys([_label_folder_of(beside), Path(as_darknet), beside]))


def _label_folder_of(path: Path) -> Path:
    """The path with its last part that is a folder of images replaced by that of the labels."""
    parts = list(path.parts)
    for place in reversed(range(len(parts))):
        if parts[place] in _IMAGE_FOLDERS:
            parts[place] = _LABEL_FOLDER
            break
    return Path(*parts)


def _orphans(folder: Path, used: set[Path | None]) -> Iterator[Issue]:
    """The label files of a folder that belong to none of its images."""
    label_folder = _label_folder_of(folder)
    below = {path.parent for path in used if path is not None and path.is_relative_to(folder)}
    folders = [label_folder] if label_folder != folder else sorted(below)
    for path in folders:
        for item in walk_files(path) if is_folder(path) else ():
            if isinstance(item, Issue):
                yield item
            elif item.suffix.lower() == ".txt" and item not in used and item.name != _CLASSES_FILE:
                suggestion = "put the image back, or delete the file"
                issue = make_issue("label-orphan", item, "a label file must have an image, there is none", suggestion)
                yield replace(issue, fixable=True)


# --- Lines. ---


def _parse_line(line: str, where: str, count: int, rows: list[RawBox], labels: set[int], issues: list[Issue]) -> None:
    parts = line.split()
    if len(parts) != 5:
        message = f"must be a class and 4 numbers, got {len(parts)} columns: {shown(line.strip())}"
        suggestion = "leave out scores; turn outlines into boxes" if len(parts) > 5 else "correct or delete the line"
        raise IssueError(make_issue("label-syntax", where, message, suggestion, fixable=True))
    label = class_of_digits(parts[0], count, where)
    numbers = [number for part in parts[1:] if (number := to_number(part)) is not None]
    if len(numbers) != 4:
        message = f"must be a class and 4 numbers, got {shown(line.strip())}"
        raise IssueError(make_issue("label-syntax", where, message, "correct or delete the line", fixable=True))
    x, y, width, height = numbers
    if x == 0 and y == 0:
        issues += add_labels(labels, [(label, where)], lambda number, _: number)
    else:
        written = f"centre {x:g} {y:g}, size {width:g} {height:g} of the image"
        sides = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
        rows.append(RawBox(label, *sides, where, written))


# --- YAML. Nodes, not values: they know their lines, and whether `no` was meant as text. ---


def _compose(file: Path) -> yaml.Node | None:
    text = read_text(file, "file-unreadable", _MAX_YAML_BYTES)
    try:
        node: yaml.Node | None = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        _fail(file, mark, f"must be YAML: {error.problem or error.context}")
    except Exception as error:  # the parser lets others through, as for "\\UFFFFFFFF" and for very deep nesting
        _fail(file, None, f"must be YAML: {error}")
    return node


def _entries_of(node: yaml.Node | None, file: Path) -> dict[str, yaml.Node]:
    if not isinstance(node, yaml.MappingNode):
        _fail(file, None, f"must be keys and values, such as {', '.join(SPLITS)} and names")
    entries: dict[str, yaml.Node] = {}
    for key, value in node.value:
        if not isinstance(key, yaml.ScalarNode):
            continue
        if key.value in entries:
            _fail(file, key.start_mark, f"must have {shown(key.value)} once")
        entries[key.value] = value
    return entries


def _names_in(entries: dict[str, yaml.Node], file: Path) -> tuple[str, ...]:
    node = entries.get("names")
    if isinstance(node, yaml.SequenceNode):
        names = tuple(_text_of(value, file) for value in node.value)
    elif isinstance(node, yaml.MappingNode):
        names = _numbered_names(node, file)
    else:
        _fail(file, node.start_mark if node else None, "must have names, a list or a number and a name a line")
    ClassIndices(names, file)
    count = entries.get("nc")
    if count is not None and count.value != str(len(names)):
        _fail(file, count.start_mark, f"nc must be {len(names)}, the number of names, is {shown(count.value)}")
    return names


def _numbered_names(node: yaml.MappingNode, file: Path) -> tuple[str, ...]:
    names: dict[int, str] = {}
    for key, value in node.value:
        if key.tag != _WHOLE or not re.fullmatch("[0-9]{1,9}", key.value) or int(key.value) in names:
            _fail(file, key.start_mark, f"must be the number of a class, each once, got {shown(key.value)}")
        names[int(key.value)] = _text_of(value, file)
    if sorted(names) != list(range(len(names))):
        _fail(file, node.start_mark, f"the numbers of names must be 0 to {len(names) - 1} without gaps")
    return tuple(names[number] for number in range(len(names)))


def _paths_in(node: yaml.Node, folder: Path, file: Path) -> tuple[Path, ...]:
    if node.tag == _NOTHING:
        return ()
    nodes = node.value if isinstance(node, yaml.SequenceNode) else [node]
    paths = []
    for entry in nodes:
        path = folder / _text_of(entry, file)
        if not (is_file(path) or is_folder(path)):
            _fail(file, entry.start_mark, f"must name a folder or a list that is there, {path} is not")
        paths.append(path)
    return tuple(paths)


def _text_of(node: yaml.Node, file: Path) -> str:
    if node.tag != _TEXT or not node.value.strip() or not node.value.isprintable():
        got = shown(node.value if isinstance(node, yaml.ScalarNode) else node.tag)
        _fail(
            file, node.start_mark, f'must be text, in quotes where YAML takes it for something else ("no"), got {got}'
        )
    return str(node.value)


def _fail(file: Path, mark: yaml.Mark | None, message: str) -> NoReturn:
    where = f"{file}:{mark.line + 1}" if mark else str(file)
    raise IssueError(make_issue("file-syntax", where, message, "correct the file"))


# --- Writing. ---


def _write_labels(file: Path, sample: Sample) -> None:
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


def _put_image(image: ImageFile, to: Path, copy: bool) -> None:
    if copy or image.offset is not None:
        copy_image(image, to)
    else:
        to.symlink_to(image.path.resolve())


def _write_description(folder: Path, classes: Sequence[str]) -> None:
    if bad := [name for name in classes if not name.strip() or not name.isprintable()]:
        raise DataError(f"{folder}: names of classes must be one line each, got {shown(bad[0])}")
    data: dict[str, object] = {"classes": len(classes), "names": "classes.names"}
    description: dict[str, object] = {}
    for split in SPLITS:
        if is_file(folder / f"{split}.txt"):
            data[_DATA_KEYS[split]] = description[split] = f"{split}.txt"
    description["names"] = dict(enumerate(classes))
    write_atomically(folder / "classes.names", "".join(f"{name}\n" for name in classes))
    write_atomically(folder / "dataset.data", "".join(f"{key} = {value}\n" for key, value in data.items()))
    text = yaml.safe_dump(description, sort_keys=False, allow_unicode=True)
    write_atomically(folder / "dataset.yaml", text)
