"""Images as Python programs hold them, turned into what can be decoded: arrays, tensors, files, bytes, Pillow images.

| image | taken as |
|---|---|
| array (h, w, 3), uint8 | RGB; BGR with ``color="bgr"``, as OpenCV reads images |
| array (h, w, 4), (h, w), (h, w, 1), uint8 | RGBA or BGRA, whose alpha is dropped; grey |
| torch tensor (3, h, w), (n, 3, h, w), uint8 | the same, channels first |
| Pillow image, path, URL, encoded bytes, open binary file | decoded, EXIF's orientation applied |
| floats | refused: whether they mean 0..1 or 0..255 cannot be known |
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import IO, Any, Literal, Protocol, cast, runtime_checkable

import numpy as np
from PIL import Image

from yolo9000.errors import ConfigError, DataError
from yolo9000.io.images import MAX_PIXELS, Source, read_image
from yolo9000.types import SourceImage

__all__ = [
    "AnySource",
    "Color",
    "Input",
    "OneImage",
    "Pixels",
    "check_color",
    "check_pixels_array",
    "inputs_of",
    "one_input",
    "source_of",
]

Color = Literal["rgb", "bgr"]
"""Order of the channels of an array."""


@runtime_checkable
class Tensor(Protocol):
    """A torch tensor, whose own type is known only where torch is installed."""

    def detach(self) -> Any:
        """The tensor without gradient."""
        ...


OneImage = str | Path | bytes | bytearray | memoryview | IO[bytes] | Image.Image
"""What is always one image."""
Pixels = np.ndarray | Tensor
"""One image, or a batch of them in one array."""
Input = OneImage | Pixels
"""An image in memory, or where it is."""
AnySource = Input | int
"""The same, or the number of a camera."""

CHANNELS = (1, 3, 4)


def one_input(image: Any, index: int = 0, *, color: Color = "rgb", max_pixels: int = MAX_PIXELS) -> SourceImage:
    """One image as RGB.

    Args:
        image: see the table above.
        index: position among the images, for errors.
        color: order of the channels of arrays and tensors.
        max_pixels: refuse larger images before they are decoded.

    Raises:
        DataError: it is not an image, or cannot be read.
        ConfigError: ``color`` is neither ``rgb`` nor ``bgr``.
    """
    check_color(color)
    source, name = source_of(image, f"image {index}", color)
    return read_image(source, name=name, max_pixels=max_pixels)


def check_color(color: str) -> None:
    """Raise a `ConfigError` where the order of the channels is neither ``rgb`` nor ``bgr``."""
    if color not in ("rgb", "bgr"):
        raise ConfigError(f"must be rgb or bgr, got {color!r}", argument="color")


def source_of(image: Any, name: str, color: Color = "rgb") -> tuple[Source, str | None]:
    """What `read_image` takes of an image, and its name; None where `read_image` finds the name itself.

    Args:
        image: see the table above.
        name: of an image without one.
        color: order of the channels of arrays and tensors.

    Raises:
        DataError: it is not an image, or a file cannot be read.
    """
    if _is_tensor(image):
        image = _channels_last(image, name)
    if isinstance(image, np.ndarray):
        return _rgb_order(_checked_array(image, name), color), name
    if isinstance(image, bytes | bytearray | memoryview):
        return bytes(image), name
    if isinstance(image, str | Path | Image.Image):
        return image, None
    if hasattr(image, "read"):
        given = getattr(image, "name", None)  # a number where it was opened by one
        name = str(given) if isinstance(given, str | Path) else name
        return _contents(image, name), name
    raise DataError(f"{name}: must be an image, a path, bytes, an open file or an array, got {type(image).__name__}")


def inputs_of(images: Any) -> Iterable[Any] | None:
    """The images of a list, a generator or a batch (n, ...) in one array or tensor; None for what is one image."""
    if isinstance(images, np.ndarray) or _is_tensor(images):
        return list(images) if images.ndim == 4 else None
    if isinstance(images, str | Path | bytes | bytearray | memoryview | Image.Image) or hasattr(images, "read"):
        return None
    return images if isinstance(images, Iterable) else None


def check_pixels_array(image: Any) -> None:
    """Check an array that is given to the network as it is.

    Raises:
        DataError: it is not (h, w, 3), RGB, uint8.
    """
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8:
        kind = image.dtype if isinstance(image, np.ndarray) else type(image).__name__
        raise DataError(f"an image must be a uint8 array (h, w, 3), RGB in 0..255, got {kind}{_suggestion(image)}")
    if image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
        raise DataError(f"an image must be a uint8 array (h, w, 3), RGB in 0..255, got the shape {image.shape}")


def _is_tensor(image: object) -> bool:
    return type(image).__module__.partition(".")[0] == "torch" and hasattr(image, "detach")


def _channels_last(tensor: Any, name: str) -> np.ndarray:
    """A tensor (c, h, w) as an array (h, w, c)."""
    array = cast("np.ndarray", tensor.detach().cpu().numpy())
    if array.ndim != 3 or array.shape[0] not in CHANNELS:
        raise DataError(f"{name}: a tensor must have the shape (3, h, w), channels first, got {array.shape}")
    return array.transpose(1, 2, 0)


def _checked_array(array: np.ndarray, name: str) -> np.ndarray:
    if array.dtype != np.uint8:
        raise DataError(f"{name}: must be uint8, RGB in 0..255, got {array.dtype}{_suggestion(array)}")
    if array.ndim == 3 and array.shape[2] not in CHANNELS and array.shape[0] in CHANNELS:
        raise DataError(f"{name}: must be (h, w, 3), got {array.shape}: give image.transpose(1, 2, 0)")
    return array[:, :, 0] if array.ndim == 3 and array.shape[2] == 1 else array


def _suggestion(array: object) -> str:
    if not isinstance(array, np.ndarray) or array.dtype.kind != "f":
        return ""
    return ": give image.astype(np.uint8) for values in 0..255, (image * 255).round().astype(np.uint8) for 0..1"


def _rgb_order(array: np.ndarray, color: Color) -> np.ndarray:
    if color == "rgb" or array.ndim == 2:
        return array
    return array[:, :, [2, 1, 0, *range(3, array.shape[2])]]


def _contents(file: Any, name: str) -> bytes:
    try:
        data = file.read()
    except (OSError, ValueError) as error:
        raise DataError(f"{name}: cannot be read: {error}") from None
    if not isinstance(data, bytes):
        raise DataError(f"{name}: must be a file opened in binary mode, 'rb'")
    if not data:
        raise DataError(f"{name}: has no bytes from where it is: call seek(0) first")
    return data
