"""HTML pages from the package's templates: reports with tables and figures, in one file each."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from yolo9000 import __version__
from yolo9000.errors import needs_extra
from yolo9000.io.files import write_atomically, writing

if TYPE_CHECKING:
    from jinja2 import Template

__all__ = ["DESIGN", "Branch", "Page", "PageFigure", "Section", "template", "template_text", "write_page"]

DESIGN = "design.css"
"""The stylesheet of every page, among the templates."""
MAX_DECIMALS = 4


@dataclass(frozen=True)
class PageFigure:
    """An image in a report.

    Attributes:
        caption: the line below it.
        media_type: e.g. ``image/png``.
        data: the contents of its file.
        width: minimum displayed width in pixels, where the screen has them.
    """

    caption: str
    media_type: str
    data: bytes
    width: int

    @property
    def base64(self) -> str:
        """The contents, encoded for HTML."""
        return base64.b64encode(self.data).decode()


@dataclass(frozen=True)
class Branch:
    """A node of a tree that a report unfolds.

    Attributes:
        name: of the node.
        values: shown beside it, at most two.
        branches: the nodes below it.
    """

    name: str
    values: tuple[str, ...] = ()
    branches: tuple[Branch, ...] = ()


@dataclass(frozen=True)
class Section:
    """A part of a report. Its figures come before its table, and its tree last.

    Attributes:
        heading: its title.
        text: a line below the title.
        columns: names of the table's columns; the last is empty where there are bars.
        rows: cells of the table; see `cells` for how they are shown.
        bars: length in percent of a bar at the end of each row; empty for none.
        figures: images with captions, side by side.
        tree: the roots of a tree to unfold.
    """

    heading: str
    text: str = ""
    columns: Sequence[str] = ()
    rows: Sequence[Sequence[object]] = ()
    bars: Sequence[float] = ()
    figures: Sequence[PageFigure] = ()
    tree: Sequence[Branch] = ()

    @property
    def numeric(self) -> list[bool]:
        """Whether each column has a number."""
        return [any(map(_is_number, column)) for column in zip(*self.rows, strict=True)] + [False] * bool(self.bars)

    @property
    def cells(self) -> list[tuple[str, ...]]:
        """The text of each cell, by row: fractions with equally many decimals, whole numbers with commas."""
        columns = list(zip(*self.rows, strict=True))
        in_unit = max((_decimals(column) for column in columns if _is_in_unit(column)), default=0)
        texts = [_texts(column, in_unit if _is_in_unit(column) else _decimals(column)) for column in columns]
        return list(zip(*texts, strict=True))


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _fractions(column: Sequence[object]) -> list[float]:
    return [value for value in column if isinstance(value, float)]


def _is_in_unit(column: Sequence[object]) -> bool:
    return all(0 <= value <= 1 for value in _fractions(column))


def _decimals(column: Sequence[object]) -> int:
    """As many as the fractions of a column need, at least one."""
    texts = (f"{value:.{MAX_DECIMALS}f}".rstrip("0") for value in _fractions(column))
    return max((len(text.partition(".")[2]) for text in texts), default=1) or 1


def _texts(column: Sequence[object], decimals: int) -> list[str]:
    return [_text(value, decimals) for value in column]


def _text(value: object, decimals: int) -> str:
    if isinstance(value, float):
        return f"{value:,.{decimals}f}"
    return f"{value:,}" if _is_number(value) else str(value)


@dataclass(frozen=True)
class Page:
    """A report.

    Attributes:
        title: what it is about, in a few words.
        sections: its parts.
        subject: a line below the title, e.g. the path of the data set.
        headlines: the most important figures: label and value.
        note: its origin.
    """

    title: str
    sections: Sequence[Section] = field(default_factory=tuple)
    subject: str = ""
    headlines: Sequence[tuple[str, str]] = ()
    note: str = f"yolo9000 {__version__}"

    def html(self) -> str:
        """The page as HTML."""
        return template("page.html").render(page=self)


def write_page(page: Page, path: Path) -> None:
    """Write a report.

    Raises:
        DataError: it cannot be written.
    """
    text = page.html()
    with writing(path):
        write_atomically(path, text)


def template_text(name: str) -> str:
    """A file of the templates' folder."""
    return (files("yolo9000.io") / "templates" / name).read_text("utf-8")


def template(name: str) -> Template:
    """A template of the package; values in it are escaped."""
    with needs_extra("report", "writing HTML"):
        from jinja2 import Environment, PackageLoader
    return Environment(loader=PackageLoader("yolo9000.io"), autoescape=True, trim_blocks=True).get_template(name)
