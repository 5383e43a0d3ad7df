"""Lines that objects cross and zones that they are in: how a user gives them, and when a moving point passes them.

Whether a point has passed is decided when it is a tenth of the object's size beyond, so that boxes that tremble do not
count.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float

from yolo9000.errors import ConfigError
from yolo9000.io.documents import parse_yaml
from yolo9000.io.files import read_text

__all__ = ["Line", "Passage", "Zone", "cross", "enter", "parse_line", "parse_lines", "read_zones"]


@dataclass(frozen=True)
class Line:
    """A line to be crossed.

    Attributes:
        name: of the line.
        start_xy: where it begins, in pixels.
        end_xy: where it ends. Seen from the start, what crosses it from left to right goes ``in``.
    """

    name: str
    start_xy: tuple[float, float]
    end_xy: tuple[float, float]


@dataclass(frozen=True)
class Zone:
    """A polygon.

    Attributes:
        name: of the zone.
        corners_xy: its corners in pixels, at least three.
    """

    name: str
    corners_xy: tuple[tuple[float, float], ...]


@dataclass
class Passage:
    """What is known of one track at one line or zone.

    Attributes:
        side: of a line -1 or 1, of a zone 1 inside and -1 outside; 0 is not known.
        point: of a line, where the side was decided.
        crossings: how often it passed, by direction.
        seen: of a zone, when it was looked at last.
        seconds: of a zone, how long it was inside.
    """

    side: int = 0
    point: Float[np.ndarray, " 2"] | None = None
    crossings: Counter[str] = field(default_factory=Counter)
    seen: float | None = None
    seconds: float = 0.0


def cross(line: Line, state: Passage, point: Float[np.ndarray, " 2"], margin: float) -> Literal["in", "out"] | None:
    """The direction in which a track crosses a line now; None if it does not."""
    start, end = np.array(line.start_xy), np.array(line.end_xy)
    distance = float(_cross_product(end - start, point - start) / np.hypot(*(end - start)))
    if abs(distance) <= margin:
        return None
    side, before, former = (1 if distance > 0 else -1), state.side, state.point
    state.side, state.point = side, point
    if before in (0, side) or former is None or not _on_both_sides(former, point, start, end):
        return None
    what: Literal["in", "out"] = "in" if side > 0 else "out"
    state.crossings[what] += 1
    return what


def _on_both_sides(
    one: Float[np.ndarray, " 2"],
    other: Float[np.ndarray, " 2"],
    start: Float[np.ndarray, " 2"],
    end: Float[np.ndarray, " 2"],
) -> bool:
    """Whether the start and the end of a line lie on different sides of the path between two points."""
    sides = [_cross_product(other - one, corner - one) for corner in (start, end)]
    return sides[0] * sides[1] <= 0


def _cross_product(a: Float[np.ndarray, " 2"], b: Float[np.ndarray, " 2"]) -> float:
    return float(a[0] * b[1] - a[1] * b[0])


def enter(
    zone: Zone, state: Passage, point: Float[np.ndarray, " 2"], margin: float, seconds: float
) -> Literal["enter", "leave"] | None:
    """Whether a track enters or leaves a zone now; adds up how long it is inside."""
    import cv2

    corners = np.array(zone.corners_xy, np.float32)
    distance = cv2.pointPolygonTest(corners, (float(point[0]), float(point[1])), True)
    if state.side > 0 and state.seen is not None:
        state.seconds += seconds - state.seen
    before, state.seen = state.side, seconds
    if before == 0 or abs(distance) > margin:
        state.side = 1 if distance >= 0 else -1
    if state.side == before or (before == 0 and state.side < 0):
        return None
    what: Literal["enter", "leave"] = "enter" if state.side > 0 else "leave"
    state.crossings[what] += 1
    return what


def parse_lines(texts: Iterable[str]) -> list[Line]:
    """Lines as a user writes them; those without a name are called ``line``, ``line-2``, ...

    Raises:
        ConfigError: one is not written as `parse_line` reads it.
    """
    return [parse_line(text, "line" if number == 1 else f"line-{number}") for number, text in enumerate(texts, 1)]


def parse_line(text: str, name: str) -> Line:
    """``10,200,300,200`` or ``gate=10,200,300,200`` to a line: x and y of its start and its end, in pixels.

    Raises:
        ConfigError: it is not written so, or has no length.
    """
    given, _, points = text.rpartition("=")
    try:
        x1, y1, x2, y2 = (float(part) for part in points.split(","))
        if not np.isfinite([x1, y1, x2, y2]).all() or (x1, y1) == (x2, y2):
            raise ValueError
    except ValueError:
        problem = f"must be x1,y1,x2,y2 or NAME=x1,y1,x2,y2 with two different points, got {text!r}"
        raise ConfigError(problem, argument="line") from None
    return Line(given.strip() or name, (x1, y1), (x2, y2))


def read_zones(path: Path) -> list[Zone]:
    """Zones of a YAML or JSON file: ``{NAME: [[x, y], [x, y], [x, y], ...], ...}`` in pixels.

    Raises:
        ConfigError: the file cannot be read or is not written so.
    """
    contents = parse_yaml(read_text(path, ConfigError), path, ConfigError)
    if not isinstance(contents, dict) or not contents:
        raise ConfigError(f"{path}: must be zones, e.g. {{door: [[10, 20], [90, 20], [50, 80]]}}")
    return [_zone(path, str(name), corners) for name, corners in contents.items()]


def _zone(path: Path, name: str, corners: object) -> Zone:
    try:
        points = np.array(corners, np.float64)
    except (TypeError, ValueError, OverflowError):
        points = np.zeros(0)
    if points.ndim != 2 or points.shape[1] != 2 or len(points) < 3 or not np.isfinite(points).all():
        raise ConfigError(f"{path}: {name}: must be at least three corners [x, y] in pixels, got {str(corners)[:80]!r}")
    return Zone(name, tuple((float(x), float(y)) for x, y in points))
