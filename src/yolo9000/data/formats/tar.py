"""Tar files of pictures and labels, read in place: of each picture only where it begins is taken, nothing is unpacked.

What is known of a picture is found in the first of these places that has it:

- the rows of a table of boxes beside the tar file, which call pictures by their names in it;
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
import json
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, NamedTuple

from yolo9000.data.formats import (
    MAX_LABEL_BYTES,
    NOTE_NAMES,
    ClassNumbers,
    add_labels,
    class_of_digits,
    decode_text,
    duplicate_picture,
    image_level,
    is_file,
    is_hidden,
    is_note,
    is_picture,
    json_number,
    size_of,
    unknown_file,
)
from yolo9000.data.formats.csv import ListColumns, RowGroup, read_groups, truth_of_group
from yolo9000.data.formats.yolo import make_truth, parse_label_lines
from yolo9000.data.images import read_picture_file
from yolo9000.data.issues import FaultError, RawBox, make_boxes, make_fault, shown
from yolo9000.errors import DataError
from yolo9000.types import Annotation, Fault, PictureFile, Sample

__all__ = ["BOX_COLUMNS", "read_tar"]

BOX_COLUMNS = ListColumns("image", ("wnid",), ("x1", "y1", "x2", "y2"), inclusive=True)
"""The columns of a table of boxes, unless others are named."""

_CHUNK = 1 << 20
_MOST_CLASSES = 1_000_000
_LABEL_SUFFIXES = (".txt", ".json", ".cls")
_COMPRESSED = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "Zstandard"}


def read_tar(
    tar_file: Path, boxes_tsv: Path | None, classes: Sequence[str], columns: ListColumns = BOX_COLUMNS
) -> Iterator[Annotation]:
    """The pictures of a tar file in its order, each with the stretch of the file that holds it.

    First come the faults of the tar file and of the table, last those of labels without a picture.

    Args:
        tar_file: not compressed.
        boxes_tsv: a table of boxes, see `lists`; None where there is none.
        classes: their names; their places are the labels.
        columns: what the columns of the table are.

    Raises:
        DataError: a file cannot be read, is compressed or no tar file; the table has not the columns; a class is named
            twice.
    """
    reader = _Reader(tar_file, ClassNumbers(classes), len(classes))
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
    """The members that can be used, and the faults of the others; `labels` by their names without suffix."""

    pictures: dict[str, _Stretch] = field(default_factory=dict)
    labels: dict[str, dict[str, _Stretch]] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)

    def add(self, member: tarfile.TarInfo, tar_file: Path) -> None:
        """Take a member by what it is, or its fault."""
        path = PurePosixPath(member.name)
        where = f"{tar_file}: {member.name}"
        if member.name.startswith("/") or ".." in path.parts:
            message = f"a member must have a name that stays in its folder, has {shown(member.name)}"
            self.faults.append(make_fault("path-outside", where, message, "write the tar file anew"))
        elif member.isdir() or any(is_hidden(part) for part in path.parts):
            return
        elif not member.isreg() or member.issparse():
            message = "a member must be a plain file, is a link, a device or a sparse file"
            self.faults.append(make_fault("tar-member", where, message, "write the tar file anew (tar --dereference)"))
        elif is_picture(path):
            self._add_picture(_Stretch(str(path), member.offset_data, member.size), where)
        elif path.suffix.lower() in _LABEL_SUFFIXES and path.stem.lower() not in NOTE_NAMES:
            self._add_label(path, _Stretch(str(path), member.offset_data, member.size), where)
        elif not is_note(path):
            self.faults.append(unknown_file(where, "a picture or a label"))

    def _add_picture(self, stretch: _Stretch, where: str) -> None:
        if stretch.name in self.pictures:
            self.faults.append(duplicate_picture(stretch.name, where))
        else:
            self.pictures[stretch.name] = stretch

    def _add_label(self, path: PurePosixPath, stretch: _Stretch, where: str) -> None:
        labels = self.labels.setdefault(str(path.with_suffix("")), {})
        if path.suffix.lower() in labels:
            message = "a label must be there once, was there before"
            self.faults.append(make_fault("label-duplicate", where, message, "delete one of the two", fixable=True))
        else:
            labels[path.suffix.lower()] = stretch


def _index(tar_file: Path) -> _Index:
    if not is_file(tar_file):
        message = "must be a file that can be read"
        raise FaultError(make_fault("file-unreadable", tar_file, message, "correct the path"))
    try:
        with tar_file.open("rb") as stream:
            _check_uncompressed(stream, tar_file)
            return _read_members(stream, tar_file)
    except OSError as error:
        message = f"must be a file that can be read: {error.strerror}"
        raise FaultError(make_fault("file-unreadable", tar_file, message, "correct its permissions")) from None


def _check_uncompressed(stream: BinaryIO, tar_file: Path) -> None:
    head = stream.read(8)
    stream.seek(0)
    for magic, kind in _COMPRESSED.items():
        if head.startswith(magic):
            message = f"must be a tar file that can be read in place, is compressed by {kind}"
            raise FaultError(make_fault("tar-compressed", tar_file, message, "decompress it first, without unpacking"))


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
                raise FaultError(make_fault("file-syntax", tar_file, message, "write it anew")) from None
            index.faults.append(_damaged(tar_file, end, str(error)))
            return index
        if member is None:
            index.faults += _check_end(stream, end, size, tar_file)
            return index
        index.add(member, tar_file)


def _walk(stream: BinaryIO, size: int) -> Iterator[tuple[tarfile.TarInfo, int]]:
    """The members of a file of so many bytes, each with the place where the next header should be."""
    tar = tarfile.TarFile(fileobj=stream)
    end = 0
    while (member := tar.next()) is not None:
        tar.members.clear()  # type: ignore[attr-defined]  # which would hold them all; typeshed has it not
        cut = member.isreg() and not member.issparse() and not 0 <= member.size <= size - member.offset_data
        if cut or tar.offset <= end:  # going back would lead round and round
            raise tarfile.ReadError("a member reaches beyond the end of the file")
        end = tar.offset
        yield member, end


def _check_end(stream: BinaryIO, end: int, size: int, tar_file: Path) -> list[Fault]:
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


def _damaged(tar_file: Path, place: int, what: str) -> Fault:
    message = f"must be a whole tar file; at byte {place:,}: {what}"
    return make_fault("tar-damaged", tar_file, message, "write or download it anew")


# --- Pictures with what is known of them. ---


class _Reader:
    """Joins the pictures of a tar file with the rows and members that say what is in them."""

    def __init__(self, tar_file: Path, numbers: ClassNumbers, count: int) -> None:
        self._tar_file = tar_file
        self._numbers = numbers
        self._count = count
        self._groups: dict[str, RowGroup] = {}
        self._faults: list[Fault] = []

    def add_groups(self, groups: Iterable[RowGroup]) -> None:
        """Take the rows of a table."""
        for group in groups:
            name = str(PurePosixPath(group.picture))
            if not group.picture:
                self._faults += group.faults
            elif group.repeated or name in self._groups:
                self._faults.append(duplicate_picture(group.picture, group.where))
            else:
                self._groups[name] = group

    def read(self) -> Iterator[Annotation]:
        """All pictures and faults."""
        index = _index(self._tar_file)
        yield from (Annotation(None, (fault,)) for fault in (*index.faults, *self._faults))
        stems = set()
        for stretch in index.pictures.values():
            stem = str(PurePosixPath(stretch.name).with_suffix(""))
            stems.add(stem)
            yield self._read_one(stretch, self._groups.pop(stretch.name, None), index.labels.get(stem, {}))
        for group in self._groups.values():
            message = f"its picture {shown(group.picture)} must be in {self._tar_file}, is not"
            yield Annotation(None, (make_fault("picture-missing", group.where, message, "correct or delete the row"),))
        for stem, labels in index.labels.items():
            if stem not in stems:
                yield from (Annotation(None, (self._orphan(label),)) for label in labels.values())

    def _orphan(self, label: _Stretch) -> Fault:
        where, message = f"{self._tar_file}: {label.name}", "a label must have a picture of the same name, has none"
        return make_fault("label-orphan", where, message, "add the picture, or delete the label", fixable=True)

    def _read_one(self, stretch: _Stretch, group: RowGroup | None, labels: dict[str, _Stretch]) -> Annotation:
        where = f"{self._tar_file}: {stretch.name}"
        sample = Sample(stretch.name, PictureFile(self._tar_file, stretch.offset, stretch.length), where)
        faults: list[Fault] = []
        if (group is not None) + len(labels) > 1:
            message = "a picture must have one label, has several: the first of a table, .txt, .json and .cls is taken"
            faults.append(make_fault("label-duplicate", where, message, "delete the others", fixable=True))
        try:
            annotation = self._truth_of(sample, group, labels)
        except FaultError as error:
            annotation = Annotation(None, (replace(error.fault, fixable=False), *(group.faults if group else ())))
        return replace(annotation, faults=(*faults, *annotation.faults))

    def _truth_of(self, sample: Sample, group: RowGroup | None, labels: dict[str, _Stretch]) -> Annotation:
        if group is not None:
            return truth_of_group(group, replace(sample, where=group.where))
        if not labels:
            return self._by_folder(sample)
        suffix = next(suffix for suffix in _LABEL_SUFFIXES if suffix in labels)
        text = self._text_of(labels[suffix])
        sample = replace(sample, where=f"{self._tar_file}: {labels[suffix].name}")
        if suffix == ".txt":
            return make_truth(parse_label_lines(text, sample.where, self._count), sample)
        if suffix == ".json":
            return self._by_json(text, sample)
        lines = enumerate(text.splitlines(), 1)
        named = [(line.strip(), f"{sample.where}:{number}") for number, line in lines if line.strip()]
        return self._image_level(named, sample)

    def _text_of(self, label: _Stretch) -> str:
        where = f"{self._tar_file}: {label.name}"
        first_bytes = PictureFile(self._tar_file, label.offset, min(label.length, MAX_LABEL_BYTES + 1))
        try:
            data = read_picture_file(first_bytes)
        except DataError as error:
            raise FaultError(make_fault("label-unreadable", where, str(error), "write the tar file anew")) from None
        return decode_text(bytes(data), where, "label-unreadable")

    def _by_folder(self, sample: Sample) -> Annotation:
        parts = PurePosixPath(sample.name).parts
        if len(parts) < 2:
            message = "a picture must be in the folder of its class, or have a label, has neither"
            raise FaultError(make_fault("label-missing", sample.where, message, "label it, or put it in a folder"))
        return image_level(sample, [self._numbers.of(parts[0], sample.where)], [])

    def _by_json(self, text: str, sample: Sample) -> Annotation:
        record = _json_of(text, sample.where)
        boxes, labels = record.get("boxes"), record["labels"]
        if boxes is None:
            named = [(label, f"{sample.where}: labels[{place}]") for place, label in enumerate(labels)]
            return self._image_level(named, sample)
        rows, faults = [], []
        for place, (sides, label, difficult) in enumerate(zip(boxes, labels, record["difficult"], strict=True)):
            try:
                rows.append(self._raw_box(sides, label, difficult, f"{sample.where}: boxes[{place}]"))
            except FaultError as error:
                faults.append(error.fault)
        size_wh = size_of(sample.picture, sample.where)
        truth, box_faults = make_boxes(rows, size_wh)
        return Annotation(replace(sample, size_wh=size_wh, boxes=truth), (*faults, *box_faults))

    def _raw_box(self, sides: object, label: object, difficult: object, where: str) -> RawBox:
        numbers = [json_number(side) for side in sides] if isinstance(sides, list) else []
        known = [number for number in numbers if number is not None]
        if not len(numbers) == len(known) == 4 or difficult not in (0, 1):
            message = f"must be [left, top, right, bottom], and 0 or 1 if difficult, got {shown((sides, difficult))}"
            raise FaultError(make_fault("label-syntax", where, message, "correct or delete the box", fixable=True))
        left, top, right, bottom = known
        written = f"[{left:g}, {top:g}, {right:g}, {bottom:g}]"
        return RawBox(self._class_of(label, where), left, top, right, bottom, where, written, difficult=bool(difficult))

    def _image_level(self, named: Iterable[tuple[object, str]], sample: Sample) -> Annotation:
        """The sample with labels, each with what names it."""
        labels: set[int] = set()
        faults = add_labels(labels, named, self._class_of)
        if not labels and not faults:
            faults.append(make_fault("label-syntax", sample.where, "must name a class, names none", "name its class"))
        return image_level(sample, labels, faults)

    def _class_of(self, label: object, where: str) -> int:
        """The number of a class that is written as its name or its number."""
        if isinstance(label, str) and (label in self._numbers or not label.isdigit()):
            return self._numbers.of(label, where)
        if isinstance(label, str) or (type(label) is int and 0 <= label < _MOST_CLASSES):
            return class_of_digits(str(label), self._count, where)
        message = f"must be the name or the number of a class, got {shown(label)}"
        raise FaultError(make_fault("label-syntax", where, message, "correct the label", fixable=True))


def _json_of(text: str, where: str) -> dict[str, Any]:
    """The object with its lists, which are of the same length."""
    advice = "correct the label"
    try:
        record = json.loads(text)
    except json.JSONDecodeError as error:
        message = f"must be JSON ({error.msg.lower()})"
        raise FaultError(make_fault("label-syntax", f"{where}:{error.lineno}", message, advice)) from None
    except (ValueError, RecursionError):  # Python's limits on digits and on depth
        message = "must be JSON that is neither nested so deeply nor has such long numbers"
        raise FaultError(make_fault("label-syntax", where, message, advice)) from None
    if isinstance(record, dict) and isinstance(record.get("labels"), list):
        count = len(record["labels"])
        record.setdefault("difficult", [0] * count)
        lists = [record["difficult"], record["labels"] if record.get("boxes") is None else record["boxes"]]
        if all(isinstance(values, list) and len(values) == count for values in lists):
            return record
    message = 'must be {"boxes": [[left, top, right, bottom], ...], "labels": [...]} or {"labels": [...]}'
    raise FaultError(make_fault("label-syntax", where, message, advice))
