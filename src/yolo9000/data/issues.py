"""The checks that all formats share: which boxes can be used, and how an issue is reported.

The codes of issues:

========================= ============================================================================================
``box-nan``               a side of a box is not a finite number
``box-inverted``          a box ends before it begins
``box-empty``             a box has no width or no height
``box-outside``           a box lies partly (clipped) or wholly (left out) outside its image
``box-fractions``         all boxes of an image lie within its first pixel
``box-duplicate``         the same box with the same label twice
``area-wrong``            an area that the image has no room for
``class-unknown``         a label that is not one of the classes
``class-duplicate``       a class that is named twice
``class-empty``           a class's folder without images
``label-shape``           an outline, a rotated box or a mask where boxes are asked for
``label-syntax``          an object, a line or a record that is not what its format asks for
``label-missing``         an image without a label file
``label-orphan``          a label file without an image
``label-duplicate``       a label, or an image's label file, that is there twice
``label-unreadable``      a label file that cannot be read, is no text, or is too large
``image-missing``       an image that a list or a label names is not there
``image-unreadable``    an image whose header cannot be read
``image-duplicate``     an image that is there twice
``size-wrong``            a declared width and height that are not those of the image
``id-duplicate``          an id that is there twice
``id-unknown``            an id that stands for nothing
``path-outside``          a name that leads out of the data set's folder
``file-unknown``          a file that is neither an image nor a label file
``file-unreadable``       a file or a folder that cannot be read
``file-syntax``           a file that cannot be understood as a whole
``xml-entity``            XML with a document type or entities, which can be used to attack
``archive-damaged``       an archive that cannot be unpacked
``tar-compressed``        a tar file that must be unpacked to be read
``tar-damaged``           a tar file that ends early, or goes on after its end
``tar-member``            a link, a device or a sparse file in a tar file
========================= ============================================================================================
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from math import isfinite
from typing import NamedTuple

import numpy as np

from yolo9000.errors import DataError
from yolo9000.types import BoxAnnotations, Issue

__all__ = ["IssueError", "RawBox", "make_boxes", "make_issue", "one_line", "scaled", "shown"]

ROUNDING = 0.5  # pixels that a box may stick out of its image without an issue: a labelling tool rounded
_LONGEST_TEXT = 500
_LONGEST_VALUE = 80

_SUGGESTIONS = {
    "box-nan": "draw the box again or delete it",
    "box-inverted": "swap its sides, or draw the box again",
    "box-empty": "delete it: most such boxes are a slip of the mouse",
    "box-outside": "correct it; if many boxes are outside, they were drawn on an image of another size",
    "box-fractions": "are they fractions of the image? Multiply them by its width and height (CSV: fractions: true)",
    "box-duplicate": "delete one of the two",
    "area-wrong": "correct it or leave it out; the area of the box is taken",
}

_Sides = tuple[float, float, float, float]


class RawBox(NamedTuple):
    """A box as its file has it, in pixels of the image, nothing checked but that its sides are numbers.

    Attributes:
        label: class index.
        left, top, right, bottom: the far edges exclusive.
        where: file, and line or object number.
        written: the box in the words of its file, for messages, such as ``xmin 40, ymin 3, xmax 12, ymax 60``.
        difficult: VOC's mark.
        crowd: COCO's ``iscrowd``.
        area: of the object's outline, in square pixels; None takes that of the box.
    """

    label: int
    left: float
    top: float
    right: float
    bottom: float
    where: str
    written: str
    difficult: bool = False
    crowd: bool = False
    area: float | None = None


def scaled(row: RawBox, size_wh: tuple[int, int]) -> RawBox:
    """A box in fractions of an image, in pixels."""
    width, height = size_wh
    return row._replace(
        left=row.left * width, top=row.top * height, right=row.right * width, bottom=row.bottom * height
    )


class IssueError(DataError):
    """An issue that ends the reading of a record or, where nobody catches it, of the whole file."""

    def __init__(self, issue: Issue) -> None:
        super().__init__(issue)
        self.issue = issue

    def __reduce__(self) -> tuple[type[IssueError], tuple[Issue]]:
        return type(self), (self.issue,)

    def __str__(self) -> str:
        return f"{self.issue} ({self.issue.suggestion})"


def make_issue(code: str, where: object, message: str, suggestion: str, *, fixable: bool = False) -> Issue:
    """An issue whose texts are one line that any terminal can print, whatever stands in the file."""
    return Issue(code, one_line(str(where)), one_line(message), one_line(suggestion), fixable)


def one_line(text: str) -> str:
    """The text without what cannot be printed, and with its middle left out where it is very long."""
    if len(text) > _LONGEST_TEXT:
        text = f"{text[: _LONGEST_TEXT // 2]} ... {text[-_LONGEST_TEXT // 2 :]}"
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def shown(value: object) -> str:
    """A value from a file, short enough for a message."""
    text = repr(value)
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}..."


def make_boxes(rows: Iterable[RawBox], size_wh: tuple[int, int]) -> tuple[BoxAnnotations, list[Issue]]:
    """The boxes that can be used, inside the image and with positive sides, and what was wrong with the others.

    A box that sticks out is clipped; by up to half a pixel without an issue. A box that is not finite, inverted, empty,
    wholly outside or there twice (same label, same sides) is left out.

    Args:
        rows: the boxes of one image.
        size_wh: width and height of the image.

    Returns:
        The boxes in their order; issues ``box-nan``, ``box-inverted``, ``box-empty``, ``box-outside``,
        ``box-duplicate``, and ``area-wrong``, for which the area of the box is taken. All can be fixed.

    Raises:
        IssueError: ``box-fractions``: all boxes lie within the first pixel.
    """
    rows = list(rows)
    if _are_fractions(rows, size_wh):
        first = rows[0]
        message = f"boxes must be in pixels, all {len(rows)} lie within the first one: {first.written}"
        raise IssueError(make_issue("box-fractions", first.where, message, _SUGGESTIONS["box-fractions"]))
    kept: dict[tuple[int, _Sides], tuple[RawBox, float]] = {}
    issues: list[Issue] = []
    for row in rows:
        sides, problems = _sides_inside(row, size_wh)
        issues += problems
        if sides is None:
            continue
        if (row.label, sides) in kept:
            earlier = kept[row.label, sides][0].where
            issues.append(_issue("box-duplicate", row, f"must be there once, is the same as {earlier}"))
            continue
        area, problems = _area_of(row, sides, size_wh)
        issues += problems
        kept[row.label, sides] = row, area
    return _gt_of(kept), [_with_hint(issue, rows, size_wh) for issue in issues]


def _are_fractions(rows: Sequence[RawBox], size_wh: tuple[int, int]) -> bool:
    """Whether all sides are in 0 to 1 and not whole, in an image of which that is a small part."""
    sides = [side for row in rows for side in (row.left, row.top, row.right, row.bottom)]
    inside = bool(sides) and all(0 <= side <= 1 for side in sides)
    return inside and min(size_wh) > 2 and any(side % 1 for side in sides)


def _with_hint(issue: Issue, rows: Sequence[RawBox], size_wh: tuple[int, int]) -> Issue:
    """An issue of a box outside its image, with what would bring all boxes of the image inside."""
    if issue.code != "box-outside":
        return issue
    width, height = size_wh
    as_corners = [row._replace(right=row.right - row.left, bottom=row.bottom - row.top) for row in rows]
    if all(_fits(row, size_wh) for row in as_corners):
        hint = "are the last two numbers the right and bottom side, not width and height?"
    elif width != height and all(_fits(row, (height, width)) for row in rows):
        hint = f"do the boxes belong to an image of {height} x {width}: were width and height swapped?"
    else:
        return issue
    return replace(issue, suggestion=hint)


def _fits(row: RawBox, size_wh: tuple[int, int]) -> bool:
    return 0 <= row.left < row.right <= size_wh[0] and 0 <= row.top < row.bottom <= size_wh[1]


def _sides_inside(row: RawBox, size_wh: tuple[int, int]) -> tuple[_Sides | None, list[Issue]]:
    """The sides clipped to the image, in single precision; None for a box that cannot be used."""
    width, height = size_wh
    left, top, right, bottom = row.left, row.top, row.right, row.bottom
    if not (isfinite(left) and isfinite(top) and isfinite(right) and isfinite(bottom)):
        return None, [_issue("box-nan", row, f"a box must have finite sides, got {row.written}")]
    if right < left or bottom < top:
        return None, [_issue("box-inverted", row, f"a box must end right of and below its begin, got {row.written}")]
    if right == left or bottom == top:
        return None, [_issue("box-empty", row, f"a box must have a width and a height, got {row.written}")]
    if right <= 0 or bottom <= 0 or left >= width or top >= height:
        problem = f"a box must lie in its image, {width} x {height}, is wholly outside: {row.written}"
        return None, [_issue("box-outside", row, problem)]
    clipped = np.array([max(left, 0), max(top, 0), min(right, width), min(bottom, height)], np.float32)
    sides: _Sides = tuple(clipped.tolist())
    if sides[0] == sides[2] or sides[1] == sides[3]:  # thinner than single precision can tell
        return None, [_issue("box-empty", row, f"a box must have a width and a height, got {row.written}")]
    if max(-left, -top, right - width, bottom - height) > ROUNDING:
        problem = f"a box must lie in its image, {width} x {height}, is partly outside: {row.written}"
        return sides, [_issue("box-outside", row, problem)]
    return sides, []


def _area_of(row: RawBox, sides: _Sides, size_wh: tuple[int, int]) -> tuple[float, list[Issue]]:
    own = (sides[2] - sides[0]) * (sides[3] - sides[1])
    if row.area is None:
        return own, []
    largest = size_wh[0] * size_wh[1]
    if 0 <= row.area <= largest:
        return float(row.area), []
    return own, [_issue("area-wrong", row, f"an area must be 0 to that of the image, {largest}, got {row.area:g}")]


def _issue(code: str, row: RawBox, message: str) -> Issue:
    return make_issue(code, row.where, message, _SUGGESTIONS[code], fixable=True)


def _gt_of(kept: dict[tuple[int, _Sides], tuple[RawBox, float]]) -> BoxAnnotations:
    rows = [row for row, _ in kept.values()]
    return BoxAnnotations(
        boxes_xyxy=np.array([sides for _, sides in kept], np.float32).reshape(-1, 4),
        labels=np.array([row.label for row in rows], np.int64),
        difficult=np.array([row.difficult for row in rows], np.bool_),
        crowd=np.array([row.crowd for row in rows], np.bool_),
        areas=np.array([area for _, area in kept.values()], np.float32),
    )
