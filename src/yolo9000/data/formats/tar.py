"""Tar files of images and labels, read in place: of each image only where it begins is taken, nothing is unpacked.

What is known of an image is found in the first of these places that has it:

- the rows of a table of boxes beside the tar file, which call images by their names in it;
- a member of the same name but for its suffix, as in WebDataset's shards:

  - ``.txt``: Darknet's lines, ``class centre-x centre-y width height``, see `darknet`;
  - ``.json``: ``{"boxes": [[left, top, right, bottom], ...], "labels": [...]}`` in pixels, and perhaps ``"difficult"``,
    a list of 0 and 1; or ``{"labels": [...]}`` alone, which are image-level labels. Labels are names or numbers of
    classes. Other keys are not looked at;
  - ``.cls``: image-level labels, one a line, names or numbers of classes;

- the first folder of its name, which is its class: an image-level label.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, ClassVar, Final, Literal, NamedTuple

from yolo9000.data.files import MAX_LABEL_BYTES, NOTE_NAMES, decode_text, is_file, is_hidden, is_note, json_number
from yolo9000.data.format import Recognition, SourceSettings
from yolo9000.data.formats.csv import ListColumns, RowGroup, gt_of_group, label_names, read_groups
from yolo9000.data.image_files import duplicate_image, is_image, size_of, unknown_file
from yolo9000.data.images import read_image_file
from yolo9000.data.issues import IssueError, RawBox, make_boxes, make_issue, shown
from yolo9000.data.label_files import make_gt, parse_label_lines
from yolo9000.data.labels import ClassIndices, add_labels, class_of_digits, image_level
from yolo9000.data.listing import Listing
from yolo9000.data.split_names import UNDIVIDED, split_of
from yolo9000.errors import ConfigError, DataError
from yolo9000.io.documents import JsonError, load_json
from yolo9000.io.images import IMAGE_SUFFIXES
from yolo9000.types import Annotation, ImageFile, Issue, Sample

__all__ = ["BOX_COLUMNS", "NAME", "TITLE", "Source", "class_names", "read", "read_tar", "sniff", "write"]

NAME: Final = "tar"
TITLE = "tar shard"
write = None

BOX_COLUMNS = ListColumns("image", ("wnid",), ("x1", "y1", "x2", "y2"), inclusive=True)
"""The columns of a table of boxes, unless others are named."""

_CHUNK = 1 << 20
_MAX_CLASSES = 1_000_000
_DESCRIPTIONS = ("classes.txt", "notes.json", "meta.json", "_classes.csv")
_DESCRIBING = (".data", ".names", ".labels", ".yaml", ".yml", ".xml", ".jsonl", ".parquet")
_LABEL_SUFFIXES = (".txt", ".json", ".cls")
_COMPRESSED = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "Zstandard"}


class Source(SourceSettings):
    """A tar file, read without unpacking.

    Attributes:
        boxes: a TSV of boxes for its images, relative to the data-set file.
    """

    FILES: ClassVar[tuple[str, ...]] = ("path", "boxes")
    format: Literal["tar"] = NAME
    boxes: str | None = None


# --- Recognizing. ---


def sniff(listing: Listing) -> Recognition | None:
    """Tar files in which images have members of the same name that label them, as WebDataset has it."""
    files = listing.files("", ".tar") if listing.file is None else listing.documents(".tar")
    if not files or not _is_shard(listing.root / files[0]):
        return None
    shards = {name: split_of(name) or UNDIVIDED for name in files}
    sources: dict[str, list[dict[str, str]]] = {}
    for name, split in shards.items() if listing.file is None else [(files[0], UNDIVIDED)]:
        sources.setdefault(split, []).append({"format": NAME, "path": name})
    if len(sources) > 1 and UNDIVIDED in sources:
        return None
    reason = f"{files[0]}: images with .txt, .json or .cls members of the same names"
    return Recognition(0.9, TITLE, reason, sources, used=frozenset(files))


def _is_shard(tar_file: Path) -> bool:
    """Whether the members are images with labels of shards beside them, and no other layout that was packed."""
    try:
        index = _index(tar_file)
    except IssueError:
        return False
    if index.described:
        return False
    for name, labels in index.labels.items():
        if any(f"{name}{suffix}" in index.images for suffix in IMAGE_SUFFIXES):
            return ".json" not in labels or _is_label(tar_file, labels[".json"])
    return False


def _is_label(tar_file: Path, member: _Stretch) -> bool:
    try:
        return bool(_json_of(_text_of(tar_file, member), member.name))
    except IssueError:
        return False


# --- Reading. ---


def class_names(root: Path, source: Source) -> Sequence[str]:
    """The names in the table of boxes; else those in ``.json`` and ``.cls`` members and of class folders, sorted.

    Raises:
        ConfigError: labels are indices.
    """
    if source.boxes is not None:
        return tuple(sorted(label_names(root / source.boxes, BOX_COLUMNS)))
    return _names_in(root / source.path)


def _names_in(tar_file: Path) -> tuple[str, ...]:
    index = _index(tar_file)
    names: set[str] = set()
    for member in index.images.values():
        path = PurePosixPath(member.name)
        labels = index.labels.get(str(path.with_suffix("")), {})
        if not labels and len(path.parts) > 1:
            names.add(path.parts[0])
        for suffix in labels.keys() - {".txt"}:
            names.update(_names_of(tar_file, labels[suffix], suffix))
        if ".txt" in labels or any(name.isdigit() for name in names):
            raise ConfigError(f"{tar_file}: its labels are indices: a data-set file must name its classes")
    return tuple(sorted(names))


def _names_of(tar_file: Path, member: _Stretch, suffix: str) -> list[str]:
    try:
        text = _text_of(tar_file, member)
        labels = _json_of(text, member.name)["labels"] if suffix == ".json" else text.split("\n")
    except IssueError:
        return []
    return [str(label).strip() for label in labels if str(label).strip()]


def read(root: Path, source: Source, classes: Sequence[str]) -> Iterator[Annotation]:
    """See `read_tar`."""
    yield from read_tar(root / source.path, root / source.boxes if source.boxes else None, classes)


def read_tar(
    tar_file: Path, boxes_tsv: Path | None, classes: Sequence[str], columns: ListColumns = BOX_COLUMNS
) -> Iterator[Annotation]:
    """The images of a tar file in its order, each with the stretch of the file that holds it.

    First come the issues of the tar file and of the table, last those of labels without an image.

    Args:
        tar_file: not compressed.
        boxes_tsv: a table of boxes, see `lists`; None where there is none.
        classes: their names; their places are the labels.
        columns: what the columns of the table are.

    Raises:
        DataError: a file cannot be read, is compressed or no tar file; the table has not the columns; a class is named
            twice.
    """
    reader = _Reader(tar_file, ClassIndices(classes), len(classes))
    if boxes_tsv is not None:
        reader.add_groups(read_groups(boxes_tsv, classes, columns))
    yield from reader.read()


# --- What the tar file holds. ---


class _Stretch(NamedTuple):
    """Where a member's contents are."""

    name: str
    offset: int
    length: int


@dataclass
class _Index:
    """The members that can be used, and the issues of the others.

    Attributes:
        images: by their names.
        labels: by their names without suffix, then by suffix.
        issues: of the other members.
        described: whether a member describes a data set, as ``data.yaml`` does.
    """

    images: dict[str, _Stretch] = field(default_factory=dict)
    labels: dict[str, dict[str, _Stretch]] = field(default_factory=dict)
    issues: list[Issue] = field(default_factory=list)
    described: bool = False

    def add(self, member: tarfile.TarInfo, tar_file: Path) -> None:
        """Take a member by what it is, or its issue."""
        path = PurePosixPath(member.name)
        where = f"{tar_file}: {member.name}"
        self.described |= path.name.lower() in _DESCRIPTIONS or path.suffix.lower() in _DESCRIBING
        if member.name.startswith("/") or ".." in path.parts:
            message = f"a member must have a name that stays in its folder, has {shown(member.name)}"
            self.issues.append(make_issue("path-outside", where, message, "write the tar file again"))
        elif member.isdir() or any(is_hidden(part) for part in path.parts):
            return
        elif not member.isreg() or member.issparse():
            message = "a member must be a plain file, is a link, a device or a sparse file"
            self.issues.append(make_issue("tar-member", where, message, "write the tar file again (tar --dereference)"))
        elif is_image(path):
            self._add_image(_Stretch(str(path), member.offset_data, member.size), where)
        elif path.suffix.lower() in _LABEL_SUFFIXES and path.stem.lower() not in NOTE_NAMES:
            self._add_label(path, _Stretch(str(path), member.offset_data, member.size), where)
        elif not is_note(path):
            self.issues.append(unknown_file(where, "an image or a label"))

    def _add_image(self, stretch: _Stretch, where: str) -> None:
        if stretch.name in self.images:
            self.issues.append(duplicate_image(stretch.name, where))
        else:
            self.images[stretch.name] = stretch

    def _add_label(self, path: PurePosixPath, stretch: _Stretch, where: str) -> None:
        labels = self.labels.setdefault(str(path.with_suffix("")), {})
        if path.suffix.lower() in labels:
            message = "a label must be there once, was there before"
            self.issues.append(make_issue("label-duplicate", where, message, "delete one of the two", fixable=True))
        else:
            labels[path.suffix.lower()] = stretch


def _index(tar_file: Path) -> _Index:
    if not is_file(tar_file):
        message = "must be a file that can be read"
        raise IssueError(make_issue("file-unreadable", tar_file, message, "correct the path"))
    try:
        with tar_file.open("rb") as stream:
            _check_uncompressed(stream, tar_file)
            return _read_members(stream, tar_file)
    except OSError as error:
        message = f"must be a file that can be read: {error.strerror}"
        raise IssueError(make_issue("file-unreadable", tar_file, message, "correct its permissions")) from None


def _check_uncompressed(stream: BinaryIO, tar_file: Path) -> None:
    head = stream.read(8)
    stream.seek(0)
    for magic, kind in _COMPRESSED.items():
        if head.startswith(magic):
            message = f"must be a tar file that can be read in place, is compressed by {kind}"
            raise IssueError(make_issue("tar-compressed", tar_file, message, "decompress it first, without unpacking"))


def _read_members(stream: BinaryIO, tar_file: Path) -> _Index:
    """Go from header to header; after damage the members before it are kept."""
    index = _Index()
    size = stream.seek(0, io.SEEK_END)
    stream.seek(0)
    members = _walk(stream, size)
    end = 0
    while True:
        try:
            member, end = next(members, (None, end))
        except Exception as error:  # tarfile raises whatever comes up
            if end == 0:
                message = f"must be a tar file: {error}"
                raise IssueError(make_issue("file-syntax", tar_file, message, "write it again")) from None
            index.issues.append(_damaged(tar_file, end, str(error)))
            return index
        if member is None:
            index.issues += _check_end(stream, end, size, tar_file)
            return index
        index.add(member, tar_file)


def _walk(stream: BinaryIO, size: int) -> Iterator[tuple[tarfile.TarInfo, int]]:
    """The members of a file of the given size, each with the offset at which the next header should be."""
    tar = tarfile.TarFile(fileobj=stream)
    end = 0
    while (member := tar.next()) is not None:
        tar.members.clear()  # type: ignore[attr-defined]  # which would hold them all; typeshed has it not
        cut = member.isreg() and not member.issparse() and not 0 <= member.size <= size - member.offset_data
        if cut or tar.offset <= end:  # going back would lead round and round
            raise tarfile.ReadError("a member reaches beyond the end of the file")
        end = tar.offset
        yield member, end


def _check_end(stream: BinaryIO, end: int, size: int, tar_file: Path) -> list[Issue]:
    """Behind the last member come zeros, and nothing else; tarfile stops at anything that is not a header."""
    if end >= size:
        return [replace(_damaged(tar_file, end, "the mark of its end is missing"), fixable=True)]
    stream.seek(end)
    if any(stream.read(tarfile.BLOCKSIZE)):
        return [_damaged(tar_file, end, "what comes is no header")]
    while chunk := stream.read(_CHUNK):
        if chunk.count(0) < len(chunk):
            return [_damaged(tar_file, end, "it goes on after its end; were tar files joined?")]
    return []


def _damaged(tar_file: Path, position: int, what: str) -> Issue:
    message = f"must be a whole tar file; at byte {position:,}: {what}"
    return make_issue("tar-damaged", tar_file, message, "write or download it again")


# --- Images with what is known of them. ---


class _Reader:
    """Joins the images of a tar file with the rows and members that say what is in them."""

    def __init__(self, tar_file: Path, indices: ClassIndices, count: int) -> None:
        self._tar_file = tar_file
        self._indices = indices
        self._count = count
        self._groups: dict[str, RowGroup] = {}
        self._issues: list[Issue] = []

    def add_groups(self, groups: Iterable[RowGroup]) -> None:
        """Take the rows of a table."""
        for group in groups:
            name = str(PurePosixPath(group.image))
            if not group.image:
                self._issues += group.issues
            elif name in self._groups:
                self._issues.append(duplicate_image(group.image, group.where))
            else:
                self._groups[name] = group

    def read(self) -> Iterator[Annotation]:
        """All images and issues."""
        index = _index(self._tar_file)
        yield from (Annotation(None, (issue,)) for issue in (*index.issues, *self._issues))
        stems = set()
        for stretch in index.images.values():
            stem = str(PurePosixPath(stretch.name).with_suffix(""))
            stems.add(stem)
            yield self._read_one(stretch, self._groups.pop(stretch.name, None), index.labels.get(stem, {}))
        for group in self._groups.values():
            message = f"its image {shown(group.image)} must be in {self._tar_file}, is not"
            yield Annotation(None, (make_issue("image-missing", group.where, message, "correct or delete the row"),))
        for stem, labels in index.labels.items():
            if stem not in stems:
                yield from (Annotation(None, (self._orphan(label),)) for label in labels.values())

    def _orphan(self, label: _Stretch) -> Issue:
        where, message = f"{self._tar_file}: {label.name}", "a label must have an image of the same name, has none"
        return make_issue("label-orphan", where, message, "add the image, or delete the label", fixable=True)

    def _read_one(self, stretch: _Stretch, group: RowGroup | None, labels: dict[str, _Stretch]) -> Annotation:
        where = f"{self._tar_file}: {stretch.name}"
        sample = Sample(stretch.name, ImageFile(self._tar_file, stretch.offset, stretch.length), where)
        issues: list[Issue] = []
        if (group is not None) + len(labels) > 1:
            message = "an image must have one label, has several: the first of a table, .txt, .json and .cls is taken"
            issues.append(make_issue("label-duplicate", where, message, "delete the others", fixable=True))
        try:
            annotation = self._gt_of(sample, group, labels)
        except IssueError as error:
            annotation = Annotation(None, (replace(error.issue, fixable=False), *(group.issues if group else ())))
        return replace(annotation, issues=(*issues, *annotation.issues))

    def _gt_of(self, sample: Sample, group: RowGroup | None, labels: dict[str, _Stretch]) -> Annotation:
        if group is not None:
            return gt_of_group(group, replace(sample, where=group.where))
        if not labels:
            return self._by_folder(sample)
        suffix = next(suffix for suffix in _LABEL_SUFFIXES if suffix in labels)
        text = _text_of(self._tar_file, labels[suffix])
        sample = replace(sample, where=f"{self._tar_file}: {labels[suffix].name}")
        if suffix == ".txt":
            return make_gt(parse_label_lines(text, sample.where, self._count), sample)
        if suffix == ".json":
            return self._by_json(text, sample)
        lines = enumerate(text.splitlines(), 1)
        named = [(line.strip(), f"{sample.where}:{number}") for number, line in lines if line.strip()]
        return self._image_level(named, sample)

    def _by_folder(self, sample: Sample) -> Annotation:
        parts = PurePosixPath(sample.name).parts
        if len(parts) < 2:
            message = "an image must be in the folder of its class, or have a label, has neither"
            raise IssueError(make_issue("label-missing", sample.where, message, "label it, or put it in a folder"))
        return image_level(sample, [self._indices.of(parts[0], sample.where)], [])

    def _by_json(self, text: str, sample: Sample) -> Annotation:
        record = _json_of(text, sample.where)
        boxes, labels = record.get("boxes"), record["labels"]
        if boxes is None:
            named = [(label, f"{sample.where}: labels[{position}]") for position, label in enumerate(labels)]
            return self._image_level(named, sample)
        rows, issues = [], []
        for position, (sides, label, difficult) in enumerate(zip(boxes, labels, record["difficult"], strict=True)):
            try:
                rows.append(self._raw_box(sides, label, difficult, f"{sample.where}: boxes[{position}]"))
            except IssueError as error:
                issues.append(error.issue)
        size_wh = size_of(sample.image, sample.where)
        gt, box_issues = make_boxes(rows, size_wh)
        return Annotation(replace(sample, size_wh=size_wh, boxes=gt), (*issues, *box_issues))

    def _raw_box(self, sides: object, label: object, difficult: object, where: str) -> RawBox:
        indices = [json_number(side) for side in sides] if isinstance(sides, list) else []
        known = [number for number in indices if number is not None]
        if not len(indices) == len(known) == 4 or difficult not in (0, 1):
            message = f"must be [left, top, right, bottom], and 0 or 1 if difficult, got {shown((sides, difficult))}"
            raise IssueError(make_issue("label-syntax", where, message, "correct or delete the box", fixable=True))
        left, top, right, bottom = known
        written = f"[{left:g}, {top:g}, {right:g}, {bottom:g}]"
        return RawBox(self._class_of(label, where), left, top, right, bottom, where, written, difficult=bool(difficult))

    def _image_level(self, named: Iterable[tuple[object, str]], sample: Sample) -> Annotation:
        """The sample with labels, each with what names it."""
        labels: set[int] = set()
        issues = add_labels(labels, named, self._class_of)
        if not labels and not issues:
            issues.append(make_issue("label-syntax", sample.where, "must name a class, names none", "name its class"))
        return image_level(sample, labels, issues)

    def _class_of(self, label: object, where: str) -> int:
        """The number of a class that is written as its name or its number."""
        if isinstance(label, str) and (label in self._indices or not label.isdigit()):
            return self._indices.of(label, where)
        if isinstance(label, str) or (type(label) is int and 0 <= label < _MAX_CLASSES):
            return class_of_digits(str(label), self._count, where)
        message = f"must be the name or the number of a class, got {shown(label)}"
        raise IssueError(make_issue("label-syntax", where, message, "correct the label", fixable=True))


def _text_of(tar_file: Path, label: _Stretch) -> str:
    where = f"{tar_file}: {label.name}"
    first_bytes = ImageFile(tar_file, label.offset, min(label.length, MAX_LABEL_BYTES + 1))
    try:
        data = read_image_file(first_bytes)
    except DataError as error:
        raise IssueError(make_issue("label-unreadable", where, str(error), "write the tar file again")) from None
    return decode_text(bytes(data), where, "label-unreadable")


def _json_of(text: str, where: str) -> dict[str, Any]:
    """The object with its lists, which are of the same length."""
    suggestion = "correct the label"
    try:
        record = load_json(text)
    except JsonError as error:
        line = where if error.line is None else f"{where}:{error.line}"
        raise IssueError(make_issue("label-syntax", line, f"must be JSON ({error})", suggestion)) from None
    if isinstance(record, dict) and isinstance(record.get("labels"), list):
        count = len(record["labels"])
        record.setdefault("difficult", [0] * count)
        lists = [record["difficult"], record["labels"] if record.get("boxes") is None else record["boxes"]]
        if all(isinstance(values, list) and len(values) == count for values in lists):
            return record
    message = 'must be {"boxes": [[left, top, right, bottom], ...], "labels": [...]} or {"labels": [...]}'
    raise IssueError(make_issue("label-syntax", where, message, suggestion))
