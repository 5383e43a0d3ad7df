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

__all__ = ["DESIGN", "Page", "PageFigure", "Section", "template", "template_text", "write_page"]

DESIGN = "design.css"
"""The stylesheet of every page, among the templates."""


@dataclass(frozen=True)
class PageFigure:
    """An image in a report.

    Attributes:
        caption: the line below it.
        media_type: e.g. ``image/png``.
        data: the contents of its file.
        width: displayed width in pixels.
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
class Section:
    """A part of a report.

    Attributes:
        heading: its title.
        text: a line below the title.
        columns: names of the table's columns.
        rows: cells of the table; numeric cells are right-aligned.
        bars: length in percent of a bar at the end of each row; empty for none.
        figures: images with captions.
    """

    heading: str
    text: str = ""
    columns: Sequence[str] = ()
    rows: Sequence[Sequence[object]] = ()
    bars: Sequence[float] = ()
    figures: Sequence[PageFigure] = ()


@dataclass(frozen=True)
class Page:
    """A report: a title, a note on its origin, and its sections."""

    title: str
    sections: Sequence[Section] = field(default_factory=tuple)
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
