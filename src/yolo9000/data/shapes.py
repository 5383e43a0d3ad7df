"""Outlines, rotated boxes and masks among boxes: reported as issues, or read as the boxes that enclose them."""

from __future__ import annotations

from collections.abc import Sequence
from math import cos, radians, sin

from yolo9000.data.issues import make_issue
from yolo9000.types import Issue

__all__ = ["Corners", "corners_of", "enclosing", "enclosing_xywh", "rotated", "shape_issue"]

Corners = Sequence[tuple[float, float]]
"""Points (x, y)."""


def shape_issue(shape: str, where: object) -> Issue:
    """The issue of an object that is drawn as something other than an upright box."""
    message = f"must be an upright box, is {shape}"
    suggestion = "read it as its enclosing box (boxes_from_shapes), or draw a box"
    return make_issue("label-shape", where, message, suggestion, fixable=True)


def enclosing(corners: Corners) -> tuple[float, float, float, float]:
    """Left, top, right and bottom of the upright box around some points.

    >>> enclosing([(3, 1), (5, 4), (2, 2)])
    (2, 1, 5, 4)
    """
    xs, ys = zip(*corners, strict=True)
    return min(xs), min(ys), max(xs), max(ys)


def enclosing_xywh(corners: Corners) -> list[float]:
    """Left, top, width and height of the upright box around some points."""
    left, top, right, bottom = enclosing(corners)
    return [left, top, right - left, bottom - top]


def corners_of(left: float, top: float, width: float, height: float) -> list[tuple[float, float]]:
    """The four corners of an upright box, clockwise from the left top."""
    return [(left, top), (left + width, top), (left + width, top + height), (left, top + height)]


def rotated(corners: Corners, around: tuple[float, float], degrees: float) -> list[tuple[float, float]]:
    """Points turned around another one, clockwise in an image, whose y grows downwards."""
    c, s = cos(radians(degrees)), sin(radians(degrees))
    x0, y0 = around
    return [(x0 + c * (x - x0) - s * (y - y0), y0 + s * (x - x0) + c * (y - y0)) for x, y in corners]
