"""Tables in text files: a row for each image with its labels, or a row for each box.

Columns are separated by tabs in a file that ends in ``.tsv``, by commas in any other, where cells may stand in double
quotes. A row is one line. Columns are named by the header, or numbered from 0 where there is none.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import ClassVar, Final, Literal, NamedTuple

from yolo9000.data.files import is_note_name, numbered_lines, to_number
from yolo9000.data.format import NumberedSettings, Recognition
from yolo9000.data.image_files import check_there, find_image, size_of
from yolo9000.data.issues import IssueError, RawBox, make_boxes, make_issue, scaled, shown
from yolo9000.data.labels import ClassIndices, add_labels, class_of_digits, image_level
from yolo9000.data.listing import Listing
from yolo9000.data.table_columns import sniff_table, sources_by_split
from yolo9000.errors import ConfigError
from yolo9000.taxonomy.files import read_names
from yolo9000.types import Annotation, ImageFile, Issue, Sample

__all__ = [
    "NAME",
    "TITLE",
    "ListColumns",
    "RowGroup",
    "Source",
    "class_names",
    "gt_of_group",
    "read",
    "read_class_table",
    "read_groups",
    "read_list",
    "sniff",
    "write",
]

NAME: Final = "list"
TITLE = "CSV table"
write = None

Column = str | int

_MAX_CLASSES = 1_000_000


@dataclass(frozen=True)
class ListColumns:
    """What the columns of a table are, by the names in its header or by their places from 0.

    Attributes:
        image: path of the image.
        labels: its classes; one column where there are boxes.
        box: left, top, right and bottom in pixels, from 0; None for image-level labels.
        difficult: 0 or 1; None where nothing is.
        rest: all columns after those are labels too, and a row may have any number of them; not with boxes.
        indices: classes are written as numbers, from 0, not as names.
        inclusive: the right and bottom pixel belongs to the box, so that it is right - left + 1 wide.
        fractions: the sides of boxes are fractions of the image's width and height, not pixels.
        sizes: the last two of ``box`` are its width and height.
        suffix: what the names of images lack at their end, such as ``.jpg``.

    Raises:
        ConfigError: some columns are named and others numbered; boxes without exactly one column of labels.
    """

    image: Column
    labels: tuple[Column, ...]
    box: tuple[Column, Column, Column, Column] | None = None
    difficult: Column | None = None
    rest: bool = False
    indices: bool = False
    inclusive: bool = False
    fractions: bool = False
    sizes: bool = False
    suffix: str = ""

    def __post_init__(self) -> None:
        if len({type(column) for column in self.all()}) != 1:
            raise ConfigError(f"columns must be all named or all numbered, got {list(self.all())}")
        if not self.labels or (self.box is not None and (len(self.labels) != 1 or self.rest)):
            raise ConfigError(f"a list must have a column of labels, and one alone with boxes, got {list(self.labels)}")

    def all(self) -> tuple[Column, ...]:
        """All columns that are read."""
        return (self.image, *self.labels, *(self.box or ()), *(() if self.difficult is None else (self.difficult,)))


@dataclass
class RowGroup:
    """The rows of one image.

    Attributes:
        image: its path as the table has it; nothing where a row has none.
        where: the table and the first row's line.
        fractions: the boxes are in fractions of the image.
        boxes: in pixels of the image.
        labels: image-level labels.
        issues: of the rows that cannot be used.
    """

    image: str
    where: str
    fractions: bool = False
    boxes: list[RawBox] = field(default_factory=list)
    labels: set[int] = field(default_factory=set)
    issues: list[Issue] = field(default_factory=list)


class Source(NumberedSettings):
    """A CSV or TSV file of labels or boxes.

    Attributes:
        images: folder of the images, relative to the data-set file.
        columns: what the columns are.
    """

    FILES: ClassVar[tuple[str, ...]] = ("path", "images", "names")
    format: Literal["list"] = NAME
    images: str
    columns: ListColumns

    @property
    def by_index(self) -> bool:
        """Whether its labels are indices into the classes of the data set."""
        return self.columns.indices and self.names is None


class _Row(NamedTuple):
    """A row's cells of the columns that were asked for, and those behind the last of them."""

    where: str
    cells: list[str]
    rest: list[str]
    problem: Issue | None


def sniff(listing: Listing) -> Recognition | None:
    """Tables whose header has the usual names for image, class and sides of a box, or keras-retinanet's six columns."""
    matches = {name: source for name in _tables(listing) if (source := sniff_table(listing, name))}
    if not matches:
        return None
    sources = sources_by_split(matches, undivided=listing.file is not None)
    if sources is None:
        return None
    some = ", ".join(matches)
    used = frozenset([*matches, *(one["images"] for one in matches.values())])
    counts = {name: None for name in sources if name}
    return Recognition(0.65, TITLE, f"{some}: columns of images, classes and boxes", sources, counts, used=used)


def _tables(listing: Listing) -> list[str]:
    return [name for name in listing.documents(".csv", ".tsv") if not is_note_name(PurePosixPath(name).name)][:40]


# --- Reading. ---


def class_names(root: Path, source: Source) -> Sequence[str]:
    """The given names; else those that stand in the table."""
    if source.names is not None:
        return read_names(root / source.names) if isinstance(source.names, str) else source.names
    if source.columns.indices:
        return ()
    return tuple(sorted(label_names(root / source.path, source.columns)))


def read(root: Path, source: Source, classes: Sequence[str]) -> Iterator[Annotation]:
    """See `read_list`."""
    yield from read_list(root / source.path, root / source.images, classes, source.columns)


def label_names(file: Path, columns: ListColumns) -> set[str]:
    """The names of classes in a table; from rows that can be read, of the others `read_list` tells."""
    count = 1 + len(columns.labels)
    rows = (row for row in _rows(file, columns.all(), ragged=columns.rest) if row.problem is None)
    cells = (cell for row in rows for cell in (*row.cells[1:count], *(row.rest if columns.rest else ())))
    return {cell for cell in cells if cell}


def read_list(file: Path, images_folder: Path, classes: Sequence[str], columns: ListColumns) -> Iterator[Annotation]:
    """The images of a table, in its order.

    The rows of one image may stand apart. With boxes, a row that has nothing but an image says that there is no
    object in it.

    Args:
        file: with tabs where it ends in ``.tsv``, else with commas.
        images_folder: what the paths of images are relative to.
        classes: their names; their places are the labels.
        columns: what the columns are.

    Raises:
        DataError: the file cannot be read, has no rows or not the columns; a class is named twice.
    """
    for group in read_groups(file, classes, columns):
        yield _annotation_of(group, images_folder, columns.box is not None)


def read_groups(file: Path, classes: Sequence[str], columns: ListColumns) -> Iterator[RowGroup]:
    """The rows of each image together.

    Args:
        file: as for `read_list`.
        classes: as for `read_list`.
        columns: as for `read_list`.

    Raises:
        DataError: as of `read_list`.
    """
    indices, count = ClassIndices(classes), len(classes)
    groups: dict[str, RowGroup] = {}
    for row in _rows(file, columns.all(), ragged=columns.rest):
        name = row.cells[0]
        group = groups.get(name)
        if group is None:
            group = RowGroup(f"{name}{columns.suffix}" if name else "", row.where, columns.fractions)
            groups[name or row.where] = group
        _take_row(row, columns, indices, count, group)
    yield from groups.values()


def read_class_table(file: Path, number: Column, name: Column) -> tuple[str, ...]:
    """The names of classes from a table that has their numbers; a class may have several rows.

    Args:
        file: with tabs where it ends in ``.tsv``, else with commas.
        number: column of the number, from 0.
        name: column of the name.

    Raises:
        DataError: the file cannot be read; a number has two names or is missing, or a name has two numbers.
    """
    names: dict[int, str] = {}
    for row in _rows(file, (number, name)):
        if row.problem is not None:
            raise IssueError(row.problem)
        digits, text = row.cells
        position = class_of_digits(digits, _MAX_CLASSES, row.where)
        if not text or names.setdefault(position, text) != text:
            message = f"class {position} must have one name, got {shown(text)}, had {shown(names.get(position, ''))}"
            raise IssueError(make_issue("class-duplicate", row.where, message, "correct the row"))
    if sorted(names) != list(range(len(names))):
        message = f"the numbers of classes must be 0 to {len(names) - 1} without gaps"
        raise IssueError(make_issue("file-syntax", file, message, "number the classes again"))
    classes = tuple(names[position] for position in range(len(names)))
    ClassIndices(classes, file)
    return classes


# --- Rows. ---


def _rows(file: Path, columns: Sequence[Column], *, ragged: bool = False) -> Iterator[_Row]:
    """The rows of a table; `ragged` ones may have any number of cells."""
    positions: list[int] = []
    width = 0
    for number, line in numbered_lines(file):
        where = f"{file}:{number}"
        if not line.strip():
            continue
        cells, problem = _split(line, where, file)
        if not width:
            if problem is not None:
                raise IssueError(problem)
            width = len(cells)
            positions = _positions_of(columns, cells, where)
            if isinstance(columns[0], str):
                continue
        if problem is None and len(cells) != width and not ragged:
            problem = _syntax(where, f"must have {width} columns, as the first row, has {len(cells)}")
        wanted = [cells[position] if position < len(cells) else "" for position in positions]
        yield _Row(where, wanted, cells[max(positions) + 1 :], problem)
    if not width:
        message = "must hold rows, is empty"
        raise IssueError(make_issue("file-syntax", file, message, "check that it is the right file"))


def _split(line: str, where: str, file: Path) -> tuple[list[str], Issue | None]:
    """The cells of a line; of one that is badly quoted none."""
    if file.suffix.lower() == ".tsv":
        return [cell.strip() for cell in line.split("\t")], None
    try:
        cells = next(csv.reader([line], skipinitialspace=True, strict=True))
    except csv.Error as error:
        return [], _syntax(where, f"must be cells between commas: {error}")
    return [cell.strip() for cell in cells], None


def _positions_of(columns: Sequence[Column], first_row: list[str], where: str) -> list[int]:
    """Where the columns are; the first row is the header if they are named."""
    for column in columns:
        there = first_row.count(column) == 1 if isinstance(column, str) else 0 <= column < len(first_row)
        if not there:
            message = f"must have one column {shown(column)}, has the columns {shown(first_row)}"
            raise IssueError(make_issue("file-syntax", where, message, "name the columns that the file has"))
    return [first_row.index(column) if isinstance(column, str) else column for column in columns]


def _take_row(row: _Row, columns: ListColumns, indices: ClassIndices, count: int, group: RowGroup) -> None:
    if row.problem is not None:
        group.issues.append(row.problem)
    elif not group.image:
        group.issues.append(_syntax(row.where, "must name an image, names none"))
    elif columns.box is not None:
        _take_box(row, columns, indices, count, group)
    else:
        _take_labels(row, columns, indices, count, group)


def _take_labels(row: _Row, columns: ListColumns, indices: ClassIndices, count: int, group: RowGroup) -> None:
    cells = row.cells[1 : 1 + len(columns.labels)]
    if columns.rest:
        cells += [cell for cell in row.rest if cell]
    group.issues += add_labels(
        group.labels,
        ((cell, row.where) for cell in cells),
        lambda cell, where: _class_of(cell, where, columns, indices, count),
    )


def _take_box(row: _Row, columns: ListColumns, indices: ClassIndices, count: int, group: RowGroup) -> None:
    if not any(row.cells[1:]):
        return  # an image without objects
    _, label, *sides, difficult = row.cells if columns.difficult is not None else [*row.cells, "0"]
    try:
        group.boxes.append(_box_of(label, sides, difficult, row.where, columns, indices, count))
    except IssueError as error:
        group.issues.append(error.issue)


def _box_of(
    cell: str, sides: list[str], difficult: str, where: str, columns: ListColumns, indices: ClassIndices, count: int
) -> RawBox:
    label = _class_of(cell, where, columns, indices, count)
    values = [value for side in sides if (value := to_number(side)) is not None]
    if len(values) != 4 or difficult not in ("0", "1"):
        row = [*sides, difficult] if columns.difficult is not None else sides
        wanted = "4 numbers and 0 or 1" if columns.difficult is not None else "4 numbers"
        raise IssueError(_syntax(where, f"a box must be {wanted}, got {shown(row)}"))
    left, top, right, bottom = values
    if columns.sizes:
        right, bottom = left + right, top + bottom
    written = f"{left:g}, {top:g}, {right:g}, {bottom:g}"
    if columns.inclusive:
        right, bottom = right + 1, bottom + 1
    return RawBox(label, left, top, right, bottom, where, written, difficult=difficult == "1")


def _class_of(cell: str, where: str, columns: ListColumns, indices: ClassIndices, count: int) -> int:
    return class_of_digits(cell, count, where) if columns.indices else indices.of(cell, where)


def _syntax(where: str, message: str) -> Issue:
    return make_issue("label-syntax", where, message, "correct or delete the row", fixable=True)


# --- Images. ---


def _annotation_of(group: RowGroup, folder: Path, boxed: bool) -> Annotation:
    if not group.image:
        return Annotation(None, tuple(group.issues))
    try:
        sample = Sample(group.image, ImageFile(find_image(folder, group.image, group.where)), group.where)
        check_there(sample.image, group.where)
        return gt_of_group(group, sample) if boxed else image_level(sample, group.labels, group.issues)
    except IssueError as error:
        return Annotation(None, (error.issue, *group.issues))


def gt_of_group(group: RowGroup, sample: Sample) -> Annotation:
    """The sample with the boxes of its rows.

    Raises:
        IssueError: the image's size cannot be read.
    """
    size_wh = size_of(sample.image, group.where)
    rows = [scaled(row, size_wh) for row in group.boxes] if group.fractions else group.boxes
    boxes, issues = make_boxes(rows, size_wh)
    return Annotation(replace(sample, size_wh=size_wh, boxes=boxes), (*group.issues, *issues))
