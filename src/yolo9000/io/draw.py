"""Draws detections on an image: for each an outline and a tag with name, score and, on a tree, its path."""

from __future__ import annotations

import colorsys
import math
import unicodedata
from bisect import bisect_right
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import cast

import numpy as np
from jaxtyping import Float32, UInt8
from PIL import Image, ImageDraw, ImageFont

from yolo9000.types import Detections, TreeAnswer

__all__ = ["annotate", "label_color", "text_color"]

Color = tuple[int, int, int]
_Box = tuple[int, int, int, int]
"""The outermost pixels of a rectangle, both ends included: left, top, right, bottom."""

# Steps of the golden ratio around the circle of hues never meet a hue again and keep neighbours far apart.
_HUE_STEP = (math.sqrt(5) - 1) / 2
_SATURATION, _BRIGHTNESS = 0.8, 1.0
_BLACK, _WHITE = (0, 0, 0), (255, 255, 255)

# The text's size follows the image's, so that it reads the same when images are shown equally large.
_TEXT_OF_IMAGE, _SMALLEST_TEXT = 0.027, 11
_PATH_ROOM_OF_IMAGE = 0.5  # a path may be this wide on a box that is narrower
_SMALL_TEXT_OF_TEXT = 0.82
_LINE_OF_TEXT = 0.19
_PAD_OF_TEXT = 0.25


@dataclass(frozen=True)
class _Style:
    """Sizes in pixels for one size of image."""

    line: int
    pad: int
    path_room: int
    font: ImageFont.FreeTypeFont
    small_font: ImageFont.FreeTypeFont


@dataclass(frozen=True)
class _Tag:
    """The words on a detection's tag, and the size in pixels of the tag that holds them."""

    lines: tuple[tuple[str, ImageFont.FreeTypeFont], ...]
    width: int
    height: int


def annotate(
    image: UInt8[np.ndarray, "h w 3"], detections: Detections, *, show_path: bool = True, show_score: bool = True
) -> UInt8[np.ndarray, "h w 3"]:
    """A new image with an outline and a tag for each detection; the given image stays as it is.

    Lines and text scale with the image. A tag stands above its box, or inside where the image ends, and
    moves up or down to leave the tags of better detections free as long as it still touches its own box.
    Better detections lie on top.

    Args:
        image: RGB, 8 bits.
        detections: of this image, in any order; none gives a copy of the image.
        show_path: with tree detections, add a smaller line with the path from a root of the tree, such as
            ``animal > mammal > dog``; its beginning is left out where it is too long.
        show_score: write each score after its name; ground truth has none.

    Raises:
        ValueError: the detections are of an image of another size.
    """
    height, width = image.shape[:2]
    if detections.size_wh != (width, height):
        raise ValueError(f"image of {width} x {height} got detections of one of {detections.size_wh}")
    best_first = np.argsort(-detections.scores, kind="stable")
    style = _style_for(width, height)
    boxes = [_outline_pixels(box, width, height) for box in detections.boxes_xyxy]
    colors = [label_color(int(label)) for label in detections.labels]
    tags = [_tag(detections, i, boxes[i], style, show_path, show_score) for i in range(len(detections))]
    corners = _tag_corners([(boxes[i], tags[i]) for i in best_first], width, height)

    canvas = Image.fromarray(image)
    draw = ImageDraw.Draw(canvas)
    for i in reversed(best_first):
        _draw_outline(draw, boxes[i], colors[i], style.line)
    for i, corner in reversed(list(zip(best_first, corners, strict=True))):
        _draw_tag(draw, tags[i], corner, colors[i], style.pad)
    return np.array(canvas)


def label_color(label: int) -> Color:
    """The RGB color (0..255) of a label: the same in every image and every run."""
    red, green, blue = colorsys.hsv_to_rgb(label * _HUE_STEP % 1, _SATURATION, _BRIGHTNESS)
    return round(255 * red), round(255 * green), round(255 * blue)


def text_color(background: Color) -> Color:
    """Black or white: what has the higher contrast (WCAG 2.2) to an RGB color (0..255); at least 4.5 : 1."""
    luminance = _luminance(background)
    contrast_of_white, contrast_of_black = 1.05 / (luminance + 0.05), (luminance + 0.05) / 0.05
    return _BLACK if contrast_of_black > contrast_of_white else _WHITE


def _luminance(color: Color) -> float:
    """Relative luminance, 0 (black) .. 1 (white), as WCAG 2.2 defines it for sRGB."""
    linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in (c / 255 for c in color)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _style_for(width: int, height: int) -> _Style:
    image = math.sqrt(width * height)
    text = max(_SMALLEST_TEXT, round(_TEXT_OF_IMAGE * image))
    return _Style(
        line=round(_LINE_OF_TEXT * text),
        pad=round(_PAD_OF_TEXT * text),
        path_room=round(_PATH_ROOM_OF_IMAGE * image),
        font=_font(text),
        small_font=_font(round(_SMALL_TEXT_OF_TEXT * text)),
    )


@lru_cache(maxsize=16)
def _font(size: int) -> ImageFont.FreeTypeFont:
    # With a size, Pillow gives its TrueType font or raises; the bitmap font is only for calls without one.
    return cast(ImageFont.FreeTypeFont, ImageFont.load_default(size))


def _outline_pixels(box_xyxy: Float32[np.ndarray, " 4"], width: int, height: int) -> _Box:
    """The pixels that a box covers: at least one, and inside the image."""
    left, top = (int(v) for v in np.clip(np.floor(box_xyxy[:2]), 0, (width - 1, height - 1)))
    right, bottom = (int(v) for v in np.clip(np.ceil(box_xyxy[2:]) - 1, (left, top), (width - 1, height - 1)))
    return left, top, right, bottom


def _tag(detections: Detections, i: int, box: _Box, style: _Style, show_path: bool, show_score: bool) -> _Tag:
    """The tag of the detection ``i``, no wider than the image where its score fits into that."""
    image_room = detections.size_wh[0] - 2 * style.pad
    score = f" {detections.scores[i]:.2f}" if show_score else ""
    label = _label_text(detections.names[i], score, style.font, image_room)
    lines = [(label, style.font)]
    if show_path and detections.answers:
        box_room = box[2] - box[0] + 1 - 2 * style.pad
        room = min(image_room, max(box_room, style.path_room))
        path = _path_text(detections.answers[i], style.small_font, room)
        if path:
            lines.append((path, style.small_font))
    return _Tag(
        lines=tuple(lines),
        width=math.ceil(max(font.getlength(text) for text, font in lines)) + 2 * style.pad,
        height=sum(_line_height(font) for _, font in lines) + style.pad,
    )


def _line_height(font: ImageFont.FreeTypeFont) -> int:
    return sum(font.getmetrics())


def _label_text(name: str, score: str, font: ImageFont.FreeTypeFont, room: int) -> str:
    """Name and score; the name loses its end where both are wider than the room, the score never."""
    name = _drawable(name)

    def cut(length: int) -> str:
        return f"{name[:length]}…{score}"

    whole = f"{name}{score}"
    if font.getlength(whole) <= room:
        return whole
    fitting = bisect_right(range(len(name)), room, key=lambda length: math.ceil(font.getlength(cut(length))))
    return cut(max(0, fitting - 1))


def _path_text(answer: TreeAnswer, font: ImageFont.FreeTypeFont, room: int) -> str:
    """The path down to the answer with as many ancestors as fit; empty where not even the parent does."""
    names = [_drawable(step.name) for step in answer.path]
    for first in range(len(names) - 1):
        text = " > ".join(["…", *names[first:]] if first else names)
        if font.getlength(text) <= room:
            return text
    return ""


def _drawable(text: str) -> str:
    """The text in characters that the font has: é becomes e, a line break a space, and 犬 a question mark."""
    return "".join(_drawable_character(character) for character in text)


@cache
def _drawable_character(character: str) -> str:
    if character.isspace():
        return " "
    plain = "".join(c for c in unicodedata.normalize("NFKD", character) if not unicodedata.combining(c))
    for candidate in (character, plain):
        if all(_has_glyph(c) for c in candidate):
            return candidate
    return "?"


def _has_glyph(character: str) -> bool:
    """Whether the font draws anything else than the box that it draws for U+10FFFF, which is no character."""
    mask, missing = (_font(20).getmask(c) for c in (character, "\U0010ffff"))
    return mask.size != missing.size or bytes(mask) != bytes(missing)


def _tag_corners(boxes_and_tags: list[tuple[_Box, _Tag]], width: int, height: int) -> list[tuple[int, int]]:
    """Left top corners: each tag goes as near as it can to its own position without covering those before it."""
    placed: list[_Box] = []
    for box, tag in boxes_and_tags:
        left = max(0, min(box[0], width - tag.width))
        right = left + tag.width - 1
        taken = [other for other in placed if other[0] <= right and left <= other[2]]
        top = _free_top(box, tag.height, taken, height)
        placed.append((left, top, right, top + tag.height - 1))
    return [(left, top) for left, top, _, _ in placed]


def _free_top(box: _Box, tag_height: int, taken: list[_Box], height: int) -> int:
    """The top of a tag: above its box, inside it at the image's top, or near there and touching the box."""
    above = box[1] - tag_height
    own = above if above >= 0 else min(box[1], max(0, height - tag_height))
    beside = [edge for other in taken for edge in (other[1] - tag_height, other[3] + 1)]
    lowest = min(box[3] + 1, height - tag_height)
    reachable = [top for top in beside if max(0, above) <= top <= lowest]
    for top in sorted([own, *reachable], key=lambda top: abs(top - own)):
        if not any(other[1] < top + tag_height and top <= other[3] for other in taken):
            return top
    return own


def _draw_outline(draw: ImageDraw.ImageDraw, box: _Box, color: Color, line: int) -> None:
    # A seam inside the line, in black or white, keeps yellow visible on snow and blue at night.
    seam = max(1, line // 3)
    _draw_frame(draw, box, text_color(color), line + seam)
    _draw_frame(draw, box, color, line)


def _draw_frame(draw: ImageDraw.ImageDraw, box: _Box, color: Color, width: int) -> None:
    """Four filled bars; the outline that Pillow draws reaches out of a box smaller than two lines."""
    left, top, right, bottom = box
    inwards = min(width, (min(right - left, bottom - top) + 2) // 2) - 1
    draw.rectangle((left, top, right, top + inwards), fill=color)
    draw.rectangle((left, bottom - inwards, right, bottom), fill=color)
    draw.rectangle((left, top, left + inwards, bottom), fill=color)
    draw.rectangle((right - inwards, top, right, bottom), fill=color)


def _draw_tag(draw: ImageDraw.ImageDraw, tag: _Tag, corner: tuple[int, int], color: Color, pad: int) -> None:
    left, top = corner
    draw.rectangle((left, top, left + tag.width - 1, top + tag.height - 1), fill=color)
    top += pad // 2
    for text, font in tag.lines:
        draw.text((left + pad, top), text, fill=text_color(color), font=font)
        top += _line_height(font)
