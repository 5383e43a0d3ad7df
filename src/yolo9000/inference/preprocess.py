"""Fit an image to the network's input and carry boxes back: letterbox and stretch, Darknet's formulas.

Darknet: src/image.c resize_image, letterbox_image, center_crop_image; src/region_layer.c correct_region_boxes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import cv2
import numpy as np
from jaxtyping import Float32, UInt8

__all__ = [
    "GREY",
    "ResizeMode",
    "boxes_to_image",
    "center_crop",
    "fit",
    "letterbox",
    "resize",
    "resize_shorter_side",
    "stretch",
]

ResizeMode = Literal["letterbox", "stretch"]
Pixels = UInt8[np.ndarray, "h w 3"] | Float32[np.ndarray, "h w 3"]
GREY = 0.5
BAND_VALUES = (
    12_000_000  # numbers that `resize` turns into float32 at a time, so that a large image needs little memory
)


def resize(image: Pixels, size_wh: tuple[int, int]) -> Float32[np.ndarray, "h2 w2 3"]:
    """Resize bilinearly so that the corner pixels of both images coincide, as Darknet does.

    Args:
        image: 8 bits, or float32 in [0, 1].
        size_wh: new width and height.

    Returns:
        float32 in [0, 1].
    """
    new_width, new_height = size_wh
    height, width = image.shape[:2]
    step_x, start_x = _sampling(width, new_width)
    step_y, start_y = _sampling(height, new_height)
    out = np.empty((new_height, new_width, 3), np.float32)
    rows_at_once = max(1, int(BAND_VALUES / (3 * width * max(step_y, 1e-9))))
    for first in range(0, new_height, rows_at_once):
        last = min(first + rows_at_once, new_height)
        top = int(start_y + first * step_y)
        bottom = min(height, int(start_y + (last - 1) * step_y) + 2)
        to_source = np.array([[step_x, 0, start_x], [0, step_y, start_y + first * step_y - top]])
        cv2.warpAffine(
            image[top:bottom].astype(np.float32),
            to_source,
            (new_width, last - first),
            dst=out[first:last],
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REPLICATE,
        )
    if image.dtype == np.uint8:
        out *= np.float32(1 / 255)
    out[-1] *= _last_row_fraction(height, new_height)
    return out


def _sampling(length: int, new_length: int) -> tuple[float, float]:
    """Step between samples and place of the first; a single sample takes the last pixel, as Darknet's loop does."""
    return ((length - 1) / (new_length - 1), 0.0) if new_length > 1 else (0.0, float(length - 1))


def _last_row_fraction(height: int, new_height: int) -> np.float32:
    """What is left of the last row: 1, or nearly 0 where float32 rounds its place to just below the last pixel.

    Darknet's loop gives the last row no second neighbour, so rounding at some sizes leaves it black. Networks were
    trained and tested that way, and the numbers here are to be Darknet's.
    """
    if new_height == 1:
        return np.float32(1)
    place = np.float32(new_height - 1) * (np.float32(height - 1) / np.float32(new_height - 1))
    return np.float32(1 - (place - np.floor(place)))


def letterbox_size(image_wh: tuple[int, int], network_wh: tuple[int, int]) -> tuple[int, int]:
    """Width and height of the largest copy of the image that fits into the network's input."""
    (width, height), (net_width, net_height) = image_wh, network_wh
    if net_width * height < net_height * width:
        return net_width, max(1, height * net_width // width)
    return max(1, width * net_height // height), net_height


def letterbox(image: Pixels, network_wh: tuple[int, int]) -> Float32[np.ndarray, "h2 w2 3"]:
    """The image at its own proportions in the middle of a grey canvas of the network's size, in [0, 1]."""
    height, width = image.shape[:2]
    net_width, net_height = network_wh
    new_width, new_height = letterbox_size((width, height), network_wh)
    left, top = (net_width - new_width) // 2, (net_height - new_height) // 2
    canvas = np.full((net_height, net_width, 3), GREY, np.float32)
    canvas[top : top + new_height, left : left + new_width] = resize(image, (new_width, new_height))
    return canvas


def stretch(image: Pixels, network_wh: tuple[int, int]) -> Float32[np.ndarray, "h2 w2 3"]:
    """The whole image at the network's size, whatever its proportions: Darknet until March 2017, and the paper."""
    return resize(image, network_wh)


_RESIZE_MODES: dict[ResizeMode, Callable[[Pixels, tuple[int, int]], Float32[np.ndarray, "h2 w2 3"]]] = {
    "letterbox": letterbox,
    "stretch": stretch,
}


def fit(image: Pixels, network_wh: tuple[int, int], how: ResizeMode = "letterbox") -> Float32[np.ndarray, "3 h2 w2"]:
    """What the network reads: the fitted image with its channels (R, G, B) in front."""
    return np.ascontiguousarray(_RESIZE_MODES[how](image, network_wh).transpose(2, 0, 1))


def boxes_to_image(
    boxes_cxcywh: Float32[np.ndarray, "n 4"],
    network_wh: tuple[int, int],
    image_wh: tuple[int, int],
    how: ResizeMode = "letterbox",
) -> Float32[np.ndarray, "n 4"]:
    """Carry boxes back from the network's input to the image.

    Args:
        boxes_cxcywh: centre, width, height as fractions of the network's input.
        network_wh: width and height of that input in pixels.
        image_wh: width and height of the image in pixels.
        how: as the image was fitted.

    Returns:
        Centre, width, height as fractions of the image. Darknet takes half pixels for the border here, where
        `letterbox` places at whole ones, so the two differ by up to half a pixel of the network's input.
    """
    if how == "stretch":
        return boxes_cxcywh.copy()
    sizes = np.array(letterbox_size(image_wh, network_wh), np.float32)
    network = np.array(network_wh, np.float32)
    border = (network - sizes) / 2 / network
    fraction = sizes / network
    centres = (boxes_cxcywh[:, :2] - border) / fraction
    return np.concatenate([centres, boxes_cxcywh[:, 2:] / fraction], axis=1).astype(np.float32)


def center_crop(image: Pixels, size_wh: tuple[int, int]) -> Float32[np.ndarray, "h2 w2 3"]:
    """The largest square in the middle, resized: what Darknet's classifiers read when they are tested."""
    height, width = image.shape[:2]
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    return resize(image[top : top + side, left : left + side], size_wh)


def resize_shorter_side(image: Pixels, length: int) -> Float32[np.ndarray, "h2 w2 3"]:
    """The image with its shorter side at the given length. Darknet: src/image.c resize_min."""
    height, width = image.shape[:2]
    if width < height:
        return resize(image, (length, max(1, height * length // width)))
    return resize(image, (max(1, width * length // height), length))
