"""Fit an image to the network's input and map boxes back: letterbox and stretch, Darknet's formulas.

Darknet: src/image.c letterbox_image, center_crop_image; src/region_layer.c correct_region_boxes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float32

from yolo9000.io.resample import GREY, Pixels, resize
from yolo9000.types import ResizeMode

__all__ = ["boxes_to_image", "center_crop", "fit", "letterbox", "letterbox_size", "stretch"]


def letterbox_size(image_wh: tuple[int, int], network_wh: tuple[int, int]) -> tuple[int, int]:
    """Width and height of the largest copy of the image that fits into the network's input."""
    (width, height), (net_width, net_height) = image_wh, network_wh
    if net_width * height < net_height * width:
        return net_width, max(1, height * net_width // width)
    return max(1, width * net_height // height), net_height


def letterbox(
    image: Pixels, network_wh: tuple[int, int], out: Float32[np.ndarray, "h2 w2 3"] | None = None
) -> Float32[np.ndarray, "h2 w2 3"]:
    """The image with its aspect ratio kept, centered on a grey canvas of the network's size, in [0, 1]."""
    height, width = image.shape[:2]
    net_width, net_height = network_wh
    new_width, new_height = letterbox_size((width, height), network_wh)
    left, top = (net_width - new_width) // 2, (net_height - new_height) // 2
    canvas = np.empty((net_height, net_width, 3), np.float32) if out is None else out
    canvas[...] = GREY
    resize(image, (new_width, new_height), out=canvas[top : top + new_height, left : left + new_width])
    return canvas


def stretch(
    image: Pixels, network_wh: tuple[int, int], out: Float32[np.ndarray, "h2 w2 3"] | None = None
) -> Float32[np.ndarray, "h2 w2 3"]:
    """The image resized to the network's size, aspect ratio ignored: Darknet until March 2017, and the paper."""
    return resize(image, network_wh, out)


def fit(
    images: Sequence[np.ndarray], network_wh: tuple[int, int], resize_mode: ResizeMode = "letterbox"
) -> Float32[np.ndarray, "n 3 h2 w2"]:
    """The network's input: the fitted images (h, w, 3) of any sizes, channels (R, G, B) first, in [0, 1]."""
    fitted = np.empty((len(images), 3, network_wh[1], network_wh[0]), np.float32)
    fit_one = stretch if resize_mode == "stretch" else letterbox
    for image, channels_first in zip(images, fitted, strict=True):
        fit_one(image, network_wh, channels_first.transpose(1, 2, 0))
    return fitted


def boxes_to_image(
    boxes_cxcywh: Float32[np.ndarray, "n 4"],
    network_wh: tuple[int, int],
    image_wh: tuple[int, int],
    resize_mode: ResizeMode = "letterbox",
) -> Float32[np.ndarray, "n 4"]:
    """Map boxes from the network's input back to the image.

    Args:
        boxes_cxcywh: center, width, height as fractions of the network's input.
        network_wh: width and height of that input in pixels.
        image_wh: width and height of the image in pixels.
        resize_mode: how the image was fitted.

    Returns:
        Center, width, height as fractions of the image. Darknet computes the border in half pixels here, but
        `letterbox` pads by whole ones, so the two differ by up to half a pixel of the network's input.
    """
    if resize_mode == "stretch":
        return boxes_cxcywh.copy()
    sizes = np.array(letterbox_size(image_wh, network_wh), np.float32)
    network = np.array(network_wh, np.float32)
    border = (network - sizes) / 2 / network
    fraction = sizes / network
    centers = (boxes_cxcywh[:, :2] - border) / fraction
    return np.concatenate([centers, boxes_cxcywh[:, 2:] / fraction], axis=1).astype(np.float32)


def center_crop(image: Pixels, size_wh: tuple[int, int]) -> Float32[np.ndarray, "h2 w2 3"]:
    """The largest centered square, resized: what Darknet's classifiers read at test time."""
    height, width = image.shape[:2]
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    return resize(image[top : top + side, left : left + side], size_wh)
