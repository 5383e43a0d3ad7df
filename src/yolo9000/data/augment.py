"""A new image from an image: cropped or placed, mirrored, its colors changed; and its boxes with it.

What is done to an image depends on random numbers that are keyed by seed, epoch and index alone (`draws`): the
order of the work, the number of workers, shards and a resumed run cannot change it.

Paper: §2 and §3 ("random crops, color shifting, etc."; for the classifier also rotations), without numbers. Those,
and what is exactly done, are Darknet's: src/data.c load_data_detection, src/image.c random_augment_args,
random_distort_image.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from enum import IntEnum
from typing import Literal

import numpy as np
from jaxtyping import Float32, Float64, UInt8
from pydantic import BaseModel, ConfigDict, Field, model_validator

from yolo9000.errors import needs_extra
from yolo9000.io.resample import GREY
from yolo9000.types import BoxAnnotations

with needs_extra("train", "augmentation"):
    import cv2

__all__ = [
    "AugmentSettings",
    "ClassifierAugmentSettings",
    "Placement",
    "Purpose",
    "Rotation",
    "augment",
    "augment_classifier",
    "augment_or_mosaic",
    "crop",
    "distort",
    "draw_color",
    "draw_cover",
    "draw_crop",
    "draw_jitter",
    "draw_rotation",
    "draws",
    "keyed",
    "mosaic",
    "move_boxes",
    "paste",
    "rotate_crop",
]

Pixels = UInt8[np.ndarray, "h w 3"] | Float32[np.ndarray, "h w 3"]
NewPixels = UInt8[np.ndarray, "h2 w2 3"] | Float32[np.ndarray, "h2 w2 3"]
Plane = UInt8[np.ndarray, "h w"] | Float32[np.ndarray, "h w"]
Load = Callable[[int], tuple[UInt8[np.ndarray, "h w 3"], BoxAnnotations | None]]

SMALLEST_BOX = 0.001  # of the input's side; Darknet: src/data.c fill_truth_detection
MOSAIC_MARGIN = 0.2  # of the input's side, from its edges to the centre; AlexeyAB/darknet: src/data.c min_offset


class AugmentSettings(BaseModel):
    """How a detector's images are changed. The numbers are those of Darknet's cfg/yolo-voc.cfg of November 2016.

    Attributes:
        jitter: how far each edge of a crop may move in or out, as a fraction of the image's side (``random_crop``); how
            far width and height may change before their ratio is taken (``letterbox_jitter``). Darknet's
            ``jitter``: .2; .3 in yolov2.cfg and yolov2-voc.cfg since 2017.
        hue: greatest shift, in turns of the circle of hues. Darknet's ``hue``.
        saturation: a factor is drawn between 1 and this; as often the saturation is divided by it. 1: never changed.
            Darknet's ``saturation``: 1.5; .75 in yolo9000.cfg, which is a factor between .75 and 1 or its inverse.
        exposure: the same for the brightness (HSV's value). Darknet's ``exposure``.
        flip: mirror every other image, left to right.
        upside_down: turn every other image upside down too: for what has no up and down, as under a microscope or
            from above. Not in the paper.
        placement: ``random_crop`` is the paper's and the release's: a window is stretched to the input's size; goes
            with ``stretch``. ``letterbox_jitter`` is Darknet's since 2017-03-26: the whole image, its aspect
            ratio slightly changed, somewhere on a grey canvas; goes with ``letterbox``.
        mosaic: probability that four images are put together in one. Not in the paper; YOLOv4's, where it is .5.
        min_visible: fraction of a box's area that must be left in the crop for the box to stay: of what is mostly cut
            away nobody could say what it is. Darknet keeps such boxes: 0. `SMALLEST_BOX` holds besides.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    jitter: float = Field(default=0.2, ge=0, lt=0.5)
    hue: float = Field(default=0.1, ge=0, le=0.5)
    saturation: float = Field(default=1.5, gt=0, allow_inf_nan=False)
    exposure: float = Field(default=1.5, gt=0, allow_inf_nan=False)
    flip: bool = True
    upside_down: bool = False
    placement: Literal["random_crop", "letterbox_jitter"] = "random_crop"
    mosaic: float = Field(default=0.0, ge=0, le=1)
    min_visible: float = Field(default=0.1, ge=0, le=1)


class ClassifierAugmentSettings(BaseModel):
    """How a classifier's images are changed. The numbers are those of Darknet's cfg/darknet19.cfg.

    Attributes:
        min_crop: least length that the image's shorter side is scaled to, in pixels, before the input is cut out.
            Darknet: 128, for the network of 448 pixels 448.
        max_crop: greatest such length. Darknet: 448, for the network of 448 pixels 512.
        angle: greatest rotation, in degrees to either side. Darknet's ``angle``: 7.
        aspect: a factor between 1 and this, or its inverse, by which the image is made narrower. Darknet's
            ``aspect``: .75.
        hue: greatest shift, in turns of the circle of hues.
        saturation: as in `AugmentSettings`; Darknet's classifiers have .75.
        exposure: as in `AugmentSettings`; Darknet's classifiers have .75.
        flip: mirror every other image, left to right.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    min_crop: int = Field(default=128, ge=1)
    max_crop: int = Field(default=448, ge=1)
    angle: float = Field(default=7.0, ge=0, le=180)
    aspect: float = Field(default=0.75, gt=0, allow_inf_nan=False)
    hue: float = Field(default=0.1, ge=0, le=0.5)
    saturation: float = Field(default=0.75, gt=0, allow_inf_nan=False)
    exposure: float = Field(default=0.75, gt=0, allow_inf_nan=False)
    flip: bool = True

    @model_validator(mode="after")
    def _crops_rise(self) -> ClassifierAugmentSettings:
        if self.max_crop < self.min_crop:
            raise ValueError(f"max_crop must be at least min_crop ({self.min_crop}), got {self.max_crop}")
        return self


# --- Random numbers. ---


class Purpose(IntEnum):
    """What random numbers are for: those for one purpose say nothing about those for another."""

    AUGMENT = 0
    ORDER = 1
    SIZE = 2
    SAMPLE = 3


def keyed(seed: int, purpose: Purpose, *key: int) -> np.random.Generator:
    """Random numbers that depend on the arguments and on nothing else.

    NumPy promises that `PCG64` makes the same bits of a seed in every version, but not that the methods of `Generator`
    go on making the same numbers of those. So only ``random`` is used of them, 53 of the bits as a fraction, which has
    never changed; all else is computed from it here.

    Args:
        seed: of the run; 0 or more.
        purpose: what they are for.
        key: which of them; each 0 or more and below 2^32.
    """
    # spawn_key, because bare lists of numbers are filled up with zeros: [1] and [1, 0] would be one seed.
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=(int(purpose), *key))))


def draws(seed: int, epoch: int, index: int) -> np.random.Generator:
    """The random numbers for one image; see `keyed` for what is promised.

    Args:
        seed: of the run.
        epoch: 0-based.
        index: position in the order of the whole epoch, before it is dealt to shards. Not the image's number: a
            image that an epoch shows twice is to look different each time.
    """
    return keyed(seed, Purpose.AUGMENT, epoch, index)


def _uniform(rng: np.random.Generator, low: int | float, high: int | float) -> float:
    return low + (high - low) * rng.random()


def _integer(rng: np.random.Generator, low: int, high: int) -> int:
    """Any of low .. high, both included."""
    return low + int((high - low + 1) * rng.random())


def _coin(rng: np.random.Generator) -> bool:
    return rng.random() < 0.5


def _factor(rng: np.random.Generator, limit: float) -> float:
    """Between 1 and the limit, or as often the inverse of such a number. Darknet: src/utils.c rand_scale."""
    factor = _uniform(rng, 1, limit)
    return factor if _coin(rng) else 1 / factor


# --- Where an image goes. ---


@dataclass(frozen=True)
class Placement:
    """Which window of an image comes to lie where on the network's input.

    Attributes:
        source_ltwh: left, top, width, height of the window in pixels of the image; it may reach beyond it.
        target_ltwh: the same of where it comes to lie, in pixels of the input; may reach beyond it too.
        mirrored: left and right are exchanged within the target.
    """

    source_ltwh: tuple[int, int, int, int]
    target_ltwh: tuple[int, int, int, int]
    mirrored: bool = False

    def mirror(self, width: int) -> Placement:
        """The same on an input of the given width that is mirrored afterwards."""
        left, top, target_width, target_height = self.target_ltwh
        target = (width - left - target_width, top, target_width, target_height)
        return replace(self, target_ltwh=target, mirrored=not self.mirrored)

    def shown_ltrb(self, size_wh: tuple[int, int]) -> tuple[int, int, int, int]:
        """The part of the target that lies on an input of the given size: left, top, right, bottom; may be empty."""
        left, top, width, height = self.target_ltwh
        return max(0, left), max(0, top), min(size_wh[0], left + width), min(size_wh[1], top + height)


def draw_crop(
    image_wh: tuple[int, int], size_wh: tuple[int, int], jitter: float, rng: np.random.Generator
) -> Placement:
    """A window with each edge moved in or out at random, stretched over the whole input: ``random_crop``.

    Darknet at the release (2017-01): src/data.c load_data_detection.
    """
    width, height = image_wh
    reach_x, reach_y = int(width * jitter), int(height * jitter)
    left, right = (int(_uniform(rng, -reach_x, reach_x)) for _ in range(2))
    top, bottom = (int(_uniform(rng, -reach_y, reach_y)) for _ in range(2))
    return Placement((left, top, width - left - right, height - top - bottom), (0, 0, *size_wh))


def draw_jitter(
    image_wh: tuple[int, int], size_wh: tuple[int, int], jitter: float, rng: np.random.Generator
) -> Placement:
    """The whole image, its proportions changed a little, as large as fits and wherever it fits: ``letterbox_jitter``.

    Darknet: src/data.c load_data_detection since 2017-03-26, with three differences. What fits is asked of the input
    as it is, where Darknet takes every input for square. Boxes move by the whole pixels by which the image moves,
    where Darknet's move by the fractions too that are cut off for the image. And an image so thin that it would
    have no pixel left keeps one.
    """
    new_width, new_height = _largest(_jittered_aspect(image_wh, jitter, rng), size_wh)
    left, top = _anywhere((new_width, new_height), size_wh, rng)
    return Placement((0, 0, *image_wh), (left, top, new_width, new_height))


def draw_cover(
    image_wh: tuple[int, int], size_wh: tuple[int, int], jitter: float, rng: np.random.Generator
) -> Placement:
    """As much of the image as fills all of the given size, its proportions changed a little, cut out anywhere."""
    cut_width, cut_height = _largest(_jittered_aspect(size_wh, jitter, rng), image_wh)
    left, top = _anywhere((cut_width, cut_height), image_wh, rng)
    return Placement((left, top, cut_width, cut_height), (0, 0, *size_wh))


def _jittered_aspect(size_wh: tuple[int, int], jitter: float, rng: np.random.Generator) -> float:
    width, height = (side + _uniform(rng, -jitter * side, jitter * side) for side in size_wh)
    return width / height


def _largest(aspect: float, limits_wh: tuple[int, int]) -> tuple[int, int]:
    """Width and height of the largest rectangle of an aspect (width / height) within limits, at least 1 x 1."""
    width, height = limits_wh
    if aspect < width / height:
        return max(1, int(height * aspect)), height
    return width, max(1, int(width / aspect))


def _anywhere(inner_wh: tuple[int, int], outer_wh: tuple[int, int], rng: np.random.Generator) -> tuple[int, int]:
    """Left and top of a rectangle somewhere in a larger one."""
    left, top = (int(_uniform(rng, 0, outer - inner)) for inner, outer in zip(inner_wh, outer_wh, strict=True))
    return left, top


def crop(image: Pixels, placement: Placement, size_wh: tuple[int, int]) -> NewPixels:
    """The window of the image stretched over a whole input; beyond the image its edge pixels repeat.

    The edges of window and input coincide, as they do for boxes. Darknet (src/image.c crop_image, resize_image) lets
    the corner pixels coincide, which is at most half a pixel of the coarser of the two away, and leaves the last row
    black at some heights. An affine map could do so, and mirror too, but takes OpenCV twice the time of `cv2.resize`.

    Args:
        image: 8 bits, or float32 in [0, 1].
        placement: the window, which must have some of the image in it; and whether to mirror.
        size_wh: of the input.

    Returns:
        Of the image's kind.
    """
    height, width = image.shape[:2]
    left, top, window_width, window_height = placement.source_ltwh
    right, bottom = left + window_width, top + window_height
    window = image[max(0, top) : bottom, max(0, left) : right]
    beyond = (max(0, -top), max(0, bottom - height), max(0, -left), max(0, right - width))
    if any(beyond):
        window = cv2.copyMakeBorder(window, *beyond, cv2.BORDER_REPLICATE)
    resized = cv2.resize(window, size_wh, interpolation=cv2.INTER_LINEAR)
    return cv2.flip(resized, 1, dst=resized) if placement.mirrored else resized


def paste(image: Pixels, placement: Placement, size_wh: tuple[int, int]) -> NewPixels:
    """The image on a grey canvas, in one affine map. Darknet: src/image.c place_image.

    The first pixels of image and target coincide; where the image is enlarged, it fades to black beyond its last.

    Args:
        image: 8 bits, or float32 in [0, 1].
        placement: which window of it goes where.
        size_wh: of the canvas.

    Returns:
        Of the image's kind: of 8 bits rounded, with 128 for grey; of float32 Darknet's numbers, with .5.
    """
    width, height = size_wh
    canvas = np.full((height, width, 3), GREY if image.dtype == np.float32 else round(255 * GREY), image.dtype)
    left, top, right, bottom = placement.shown_ltrb(size_wh)
    if left < right and top < bottom:
        _sample(image, _to_source(placement, left, top), canvas[top:bottom, left:right])
    return canvas


def _to_source(placement: Placement, left: int, top: int) -> Float64[np.ndarray, "2 3"]:
    """The affine map from pixels of the input, counted from a left and top of it, to pixels of the image."""
    source_left, source_top, source_width, source_height = placement.source_ltwh
    target_left, target_top, width, height = placement.target_ltwh
    step_x, step_y = source_width / width, source_height / height
    start_x, start_y = float(source_left), source_top + step_y * (top - target_top)
    if placement.mirrored:
        start_x, step_x = start_x + step_x * (width - 1), -step_x
    return np.array([[step_x, 0, start_x + step_x * (left - target_left)], [0, step_y, start_y]])


def _sample(image: Pixels, to_source: Float64[np.ndarray, "2 3"], out: NewPixels) -> None:
    """Fill `out` with the pixels of the image that the map leads to, bilinearly; beyond the image all is black."""
    size_wh, flags = (out.shape[1], out.shape[0]), cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    if image.dtype == np.float32:
        cv2.warpAffine(image, to_source, size_wh, dst=out, flags=flags)
        return
    # OpenCV 5.0 maps four channels of 8 bits twice as fast as three, the way there and back included.
    wide = cv2.cvtColor(image, cv2.COLOR_RGB2RGBA)
    cv2.cvtColor(cv2.warpAffine(wide, to_source, size_wh, flags=flags), cv2.COLOR_RGBA2RGB, dst=out)


def move_boxes(
    boxes: BoxAnnotations, placement: Placement, size_wh: tuple[int, int], min_visible: float
) -> BoxAnnotations:
    """The boxes where their image has gone, as far as they can be seen there.

    Darknet: src/data.c correct_boxes, fill_truth_detection.

    Args:
        boxes: in pixels of the image.
        placement: where the image went.
        size_wh: of the input that it went to.
        min_visible: fraction of a box's area that must be left for it to stay.

    Returns:
        Those that stay, in their order, clipped, in pixels of the input; their areas shrink as they do. A box whose
        width or height is less than `SMALLEST_BOX` of the input's goes too.
    """
    moved, scale = _move(boxes.boxes_xyxy, placement)
    left, top, right, bottom = placement.shown_ltrb(size_wh)
    clipped = np.clip(moved, _float32(left, top, left, top), _float32(right, bottom, right, bottom))
    sides = clipped[:, 2:] - clipped[:, :2]
    whole = (moved[:, 2:] - moved[:, :2]).prod(axis=1)
    visible = np.divide(sides.prod(axis=1), whole, out=np.zeros_like(whole), where=whole > 0)
    keep = (sides >= SMALLEST_BOX * _float32(*size_wh)).all(axis=1) & (visible >= min_visible)
    return BoxAnnotations(
        clipped[keep],
        boxes.labels[keep],
        boxes.difficult[keep],
        boxes.crowd[keep],
        (boxes.areas * visible * scale.prod())[keep],
        boxes.soft[keep],
    )


def _move(
    boxes_xyxy: Float32[np.ndarray, "n 4"], placement: Placement
) -> tuple[Float32[np.ndarray, "n 4"], Float32[np.ndarray, " 2"]]:
    """The boxes in pixels of the input, with what lies beyond it; and the scales of x and y."""
    source, target = _float32(*placement.source_ltwh), _float32(*placement.target_ltwh)
    scale = target[2:] / source[2:]
    moved = (boxes_xyxy - np.tile(source[:2], 2)) * np.tile(scale, 2)
    if placement.mirrored:
        moved[:, [0, 2]] = target[2] - moved[:, [2, 0]]
    return moved + np.tile(target[:2], 2), scale


def _float32(*values: int | float) -> Float32[np.ndarray, " n"]:
    return np.array(values, np.float32)


# --- Colors. ---


def draw_color(
    settings: AugmentSettings | ClassifierAugmentSettings, rng: np.random.Generator
) -> tuple[float, float, float]:
    """Shift of the hue, factor of the saturation, factor of the exposure. Darknet: src/image.c random_distort_image."""
    hue = _uniform(rng, -settings.hue, settings.hue)
    saturation = _factor(rng, settings.saturation)
    return hue, saturation, _factor(rng, settings.exposure)


def distort(image: Pixels, hue: float, saturation: float, exposure: float) -> Pixels:
    """The image with its colors changed in HSV: hue shifted, saturation and value multiplied, the result clipped.

    Darknet: src/image.c distort_image. The way through HSV is left out. Of a pixel whose largest channel is v, factors
    s of the saturation and e of the value make x into e (s x + (1 - s) v); a shift of the hue moves x by a fraction of
    the pixel's own spread within its own limits. So 8 bits hold every step. They do not hold HSV: 256 hues are too
    few, and a saturation or value above 1 would be cut off before it has done its work.

    One flaw is not copied: in Darknet a hue that comes out at exactly one turn makes red magenta.

    Args:
        image: 8 bits, or float32 in [0, 1].
        hue: in turns of the circle of hues.
        saturation: factor, above 0.
        exposure: factor, above 0.

    Returns:
        Of the image's kind: of float32 Darknet's numbers; of 8 bits, which are rounded twice, within
        (1 + exposure x saturation) / 2 levels of them.
    """
    planes = list(np.empty((3, *image.shape[:2]), image.dtype))
    cv2.split(image, planes)
    high = cv2.max(cv2.max(planes[0], planes[1]), planes[2])
    turned = _turn_hue(planes, high, hue)
    for plane in turned:
        cv2.addWeighted(plane, exposure * saturation, high, exposure * (1 - saturation), 0, dst=plane)
    changed = cv2.merge(turned)
    return changed if image.dtype == np.uint8 else np.clip(changed, 0, 1)


def _turn_hue(planes: list[Plane], high: Plane, hue: float) -> list[Plane]:
    """Red, green and blue with another hue, each pixel with the same largest and smallest value; spoils `planes`.

    Along the circle of hues a channel is highest for a third, falls for a sixth, is lowest for a third, rises for a
    sixth. Whole thirds of a turn only exchange the channels. What is left is a fraction of a sixth: it moves a falling
    or rising channel by that fraction of the pixel's spread, and one that is about to fall or rise by what goes beyond.
    """
    low = cv2.min(cv2.min(planes[0], planes[1]), planes[2])
    thirds = round(3 * hue)
    sixths = 6 * hue - 2 * thirds  # -1 .. 1
    ahead = 1 if sixths >= 0 else -1
    spread = cv2.subtract(high, low)
    fraction = _scale(spread, abs(sixths))
    above = [cv2.subtract(plane, low, dst=plane) for plane in planes]
    push, excess = np.empty_like(low), np.empty_like(low)  # used again and again: the cache is small
    turned = []
    for channel in range(3):
        own, near, far = (above[(channel - thirds + step) % 3] for step in (0, ahead, -ahead))
        cv2.subtract(spread, fraction, dst=push)
        cv2.copyTo(fraction, far if far.dtype == np.uint8 else (far > 0).view(np.uint8), dst=push)
        # own - near + push, kept within 0 .. spread by steps that 8 bits hold
        moved = _excess(own, _excess(near, push, out=excess), out=np.empty_like(low))
        cv2.add(moved, _excess(push, near, out=excess), dst=moved)
        cv2.min(moved, spread, dst=moved)
        turned.append(cv2.add(moved, low, dst=moved))
    return turned


def _scale(plane: Plane, factor: float) -> Plane:
    return cv2.convertScaleAbs(plane, alpha=factor) if plane.dtype == np.uint8 else plane * np.float32(factor)


def _excess(plane: Plane, other: Plane, out: Plane) -> Plane:
    """By how much the one is above the other; 0 where it is not."""
    cv2.subtract(plane, other, dst=out)  # of 8 bits never below 0
    return out if plane.dtype == np.uint8 else np.maximum(out, 0, out=out)


# --- A detector's images. ---

_PLACEMENTS = {"random_crop": (draw_crop, crop), "letterbox_jitter": (draw_jitter, paste)}


def augment(
    image: UInt8[np.ndarray, "h w 3"],
    boxes: BoxAnnotations | None,
    settings: AugmentSettings,
    size_wh: tuple[int, int],
    rng: np.random.Generator,
) -> tuple[UInt8[np.ndarray, "h2 w2 3"], BoxAnnotations | None]:
    """An image and its boxes, changed at random.

    Args:
        image: RGB, 8 bits.
        boxes: what was boxed, in pixels of the image; None where nobody drew boxes.
        settings: how much may change; ``mosaic`` is looked at by `augment_or_mosaic` only.
        size_wh: width and height of the input that is wanted.
        rng: from `draws`.

    Returns:
        The input, and the boxes in its pixels: None for None, none for none.
    """
    draw, render = _PLACEMENTS[settings.placement]
    placement = draw((image.shape[1], image.shape[0]), size_wh, settings.jitter, rng)
    return _carry_out(image, boxes, placement, render, settings, size_wh, rng)


def _upside_down(
    image: UInt8[np.ndarray, "h w 3"], boxes: BoxAnnotations | None
) -> tuple[UInt8[np.ndarray, "h w 3"], BoxAnnotations | None]:
    """Image and boxes with top and bottom exchanged."""
    if boxes is None:
        return np.ascontiguousarray(image[::-1]), None
    left, top, right, bottom = boxes.boxes_xyxy.T
    height = np.float32(len(image))
    turned = np.stack([left, height - bottom, right, height - top], axis=1)
    return np.ascontiguousarray(image[::-1]), replace(boxes, boxes_xyxy=turned)


def _carry_out(
    image: UInt8[np.ndarray, "h w 3"],
    boxes: BoxAnnotations | None,
    placement: Placement,
    render: Callable[[Pixels, Placement, tuple[int, int]], NewPixels],
    settings: AugmentSettings,
    size_wh: tuple[int, int],
    rng: np.random.Generator,
) -> tuple[UInt8[np.ndarray, "h2 w2 3"], BoxAnnotations | None]:
    if settings.flip and _coin(rng):
        placement = placement.mirror(size_wh[0])
    if settings.upside_down and _coin(rng):
        image, boxes = _upside_down(image, boxes)
    changed = distort(render(image, placement, size_wh), *draw_color(settings, rng))
    return changed, None if boxes is None else move_boxes(boxes, placement, size_wh, settings.min_visible)


def mosaic(
    image: UInt8[np.ndarray, "h w 3"],
    boxes: BoxAnnotations,
    settings: AugmentSettings,
    size_wh: tuple[int, int],
    rng: np.random.Generator,
    load: Load,
    count: int,
) -> tuple[UInt8[np.ndarray, "h2 w2 3"], BoxAnnotations]:
    """Four images around a random centre, each with its own cut, flip and colors, and the boxes of all four.

    Not in the paper. AlexeyAB/darknet: src/data.c load_data_detection with ``mosaic=1``. There every image is brought
    to the size of the whole input before a corner is cut out of it; here as much of it is shown as fills its quarter,
    so that objects become smaller and fewer are cut.

    Args:
        image: the first image, for the left upper quarter.
        boxes: its boxes.
        settings: how much may change; ``placement`` is not looked at.
        size_wh: width and height of the input that is wanted.
        rng: from `draws`; the other three images are drawn from it too.
        load: gives an image and its boxes by number, 0 .. count - 1. All must be images in which the same classes
            were boxed as in the first, since what is not boxed in any of the four will count as background.
        count: of the images that there are to draw from, 1 or more.

    Raises:
        ValueError: `load` gave an image in which nobody drew boxes.
    """
    width, height = size_wh
    x, y = (_integer(rng, int(side * MOSAIC_MARGIN), int(side * (1 - MOSAIC_MARGIN))) for side in size_wh)
    others = [_integer(rng, 0, count - 1) for _ in range(3)]
    quarters = ((0, 0, x, y), (x, 0, width - x, y), (0, y, x, height - y), (x, y, width - x, height - y))
    whole, parts = np.empty((height, width, 3), np.uint8), []
    for (left, top, *wh), (tile, gt) in zip(quarters, [(image, boxes), *map(load, others)], strict=True):
        quarter_wh, image_wh = (wh[0], wh[1]), (tile.shape[1], tile.shape[0])
        placement = draw_cover(image_wh, quarter_wh, settings.jitter, rng)
        quarter, moved = _carry_out(tile, gt, placement, crop, settings, quarter_wh, rng)
        if moved is None:
            raise ValueError(f"mosaic: each image must have boxes or an empty list of them, one of {others} has None")
        whole[top : top + wh[1], left : left + wh[0]] = quarter
        parts.append(replace(moved, boxes_xyxy=moved.boxes_xyxy + _float32(left, top, left, top)))
    return whole, _join(parts)


def _join(parts: list[BoxAnnotations]) -> BoxAnnotations:
    return BoxAnnotations(
        *(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(BoxAnnotations))
    )


def augment_or_mosaic(
    image: UInt8[np.ndarray, "h w 3"],
    boxes: BoxAnnotations | None,
    settings: AugmentSettings,
    size_wh: tuple[int, int],
    rng: np.random.Generator,
    load: Load,
    count: int,
) -> tuple[UInt8[np.ndarray, "h2 w2 3"], BoxAnnotations | None]:
    """A `mosaic` with the probability that the settings give, else `augment`, as always where nobody drew boxes.

    Arguments and what is raised: see `mosaic`.
    """
    if boxes is not None and rng.random() < settings.mosaic:
        return mosaic(image, boxes, settings, size_wh, rng, load, count)
    return augment(image, boxes, settings, size_wh, rng)


# --- A classifier's images. ---


@dataclass(frozen=True)
class Rotation:
    """How an image is turned and scaled before the input is cut out of its middle.

    Attributes:
        radians: by which the input is turned on the image, clockwise as it is seen.
        scale: of the image.
        shift_xy: of the input from the image's middle, in pixels of the scaled image.
        aspect: by which the image's width is divided besides.
    """

    radians: float
    scale: float
    shift_xy: tuple[float, float]
    aspect: float

    def to_source(self, image_wh: tuple[int, int], size_wh: tuple[int, int]) -> Float64[np.ndarray, "2 3"]:
        """The affine map from pixels of the input to pixels of the image."""
        cos, sin = math.cos(self.radians), math.sin(self.radians)
        linear = np.array([[cos * self.aspect, -sin], [sin * self.aspect, cos]]) / self.scale
        shift, size, image = np.array(self.shift_xy), np.array(size_wh), np.array(image_wh)
        return np.column_stack([linear, linear @ (shift - size / 2) + image / 2])


def draw_rotation(
    image_wh: tuple[int, int],
    size_wh: tuple[int, int],
    settings: ClassifierAugmentSettings,
    rng: np.random.Generator,
) -> Rotation:
    """Proportions, scale, angle and position of a classifier's crop.

    Darknet: src/image.c random_augment_args. Where the scaled image is smaller than the input, the input reaches
    beyond it. Darknet takes the input's width for its height too, which is the same for all its classifiers.
    """
    (width, height), (size_width, size_height) = image_wh, size_wh
    aspect = _factor(rng, settings.aspect)
    length = _integer(rng, settings.min_crop, settings.max_crop)
    scale = length / max(1, int(min(height, width * aspect)))
    radians = math.radians(_uniform(rng, -settings.angle, settings.angle))
    reach_x, reach_y = (width * scale / aspect - size_width) / 2, (height * scale - size_height) / 2
    shift = (_uniform(rng, -reach_x, reach_x), _uniform(rng, -reach_y, reach_y))
    return Rotation(radians, scale, shift, aspect)


def rotate_crop(image: Pixels, rotation: Rotation, size_wh: tuple[int, int], mirrored: bool = False) -> NewPixels:
    """The input cut out of the turned and scaled image; black beyond it. Darknet: src/image.c rotate_crop_image.

    Args:
        image: 8 bits, or float32 in [0, 1].
        rotation: how it is turned.
        size_wh: of the input.
        mirrored: left and right of the input are exchanged afterwards.

    Returns:
        Of the image's kind: of 8 bits rounded, of float32 Darknet's numbers.
    """
    width, height = size_wh
    to_source = rotation.to_source((image.shape[1], image.shape[0]), size_wh)
    if mirrored:
        to_source = to_source @ np.array([[-1, 0, width - 1], [0, 1, 0], [0, 0, 1]])
    out = np.empty((height, width, 3), image.dtype)
    _sample(image, to_source, out)
    return out


def augment_classifier(
    image: UInt8[np.ndarray, "h w 3"],
    settings: ClassifierAugmentSettings,
    size_wh: tuple[int, int],
    rng: np.random.Generator,
) -> UInt8[np.ndarray, "h2 w2 3"]:
    """An image for a classifier, changed at random. Darknet: src/data.c load_image_augment_paths.

    Args:
        image: RGB, 8 bits.
        settings: how much may change.
        size_wh: width and height of the input that is wanted.
        rng: from `draws`.
    """
    rotation = draw_rotation((image.shape[1], image.shape[0]), size_wh, settings, rng)
    mirrored = settings.flip and _coin(rng)
    return distort(rotate_crop(image, rotation, size_wh, mirrored), *draw_color(settings, rng))
