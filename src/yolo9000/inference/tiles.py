"""Detection in large images: by tiles that overlap, and in the whole image, reduced, for what is larger than a tile.

`yolo9000.inference.seams` makes one of what is seen in several of them.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator
from itertools import islice

import numpy as np

from yolo9000.errors import check_count
from yolo9000.inference.detector import Detector
from yolo9000.inference.prediction import Prediction
from yolo9000.inference.seams import Piece, join_pieces
from yolo9000.inference.tile_settings import TileSettings
from yolo9000.io.images import MAX_PIXELS
from yolo9000.io.inputs import AnySource
from yolo9000.io.sources import OnInputError, open_sources
from yolo9000.io.windows import ArrayWindows, WindowedImage, Windows
from yolo9000.types import Detections

__all__ = ["detect_by_tiles", "predict_by_tiles", "tile_starts"]


def predict_by_tiles(
    detector: Detector,
    sources: AnySource | Iterable[AnySource],
    settings: TileSettings | None = None,
    *,
    batch: int = 1,
    every: int = 1,
    recursive: bool = False,
    max_pixels: int = MAX_PIXELS,
    on_error: OnInputError | None = None,
) -> Iterator[Prediction]:
    """`Detector.predict` by tiles.

    Files larger than ``max_pixels``, and GeoTIFF, are read by windows, never as a whole. Their predictions have a
    reduced copy of the image, and detections in pixels of the whole image.

    Args:
        detector: runs on every tile; its maximum number of detections is that of a tile.
        sources: see `yolo9000.io.sources.open_sources`.
        settings: how images are cut.
        batch: number of tiles in a batch.
        every: of a video take each n-th frame.
        recursive: of a folder all images and videos below it.
        max_pixels: the largest image that is decoded as a whole.
        on_error: called with the error of each input that cannot be read; None raises it.

    Raises:
        DataError: an input cannot be read and ``on_error`` is None.
        ConfigError: an argument is wrong.
    """
    check_count(batch, "batch")
    images = open_sources(
        sources, max_pixels=max_pixels, every=every, recursive=recursive, by_windows=True, on_error=on_error
    )
    for image in images:
        windowed = image.windows if isinstance(image, WindowedImage) else None
        windows: Windows = windowed or ArrayWindows(image.pixels)
        start = time.perf_counter()
        detections = detect_by_tiles(detector, windows, settings, batch=batch)
        yield Prediction(image, detections, time.perf_counter() - start)


def detect_by_tiles(
    detector: Detector, windows: Windows, settings: TileSettings | None = None, *, batch: int = 1
) -> Detections:
    """The detections in an image that is read by windows, in pixels of the whole image.

    Args:
        detector: runs on every tile and on the whole image, reduced to the size of a tile.
        windows: the image.
        settings: how it is cut.
        batch: number of tiles in a batch.

    Example:
        >>> import numpy as np
        >>> from yolo9000 import Detector
        >>> from yolo9000.inference.tile_settings import TileSettings
        >>> from yolo9000.inference.tiles import detect_by_tiles
        >>> from yolo9000.io.windows import ArrayWindows
        >>> image = ArrayWindows(np.zeros((700, 1500, 3), np.uint8))
        >>> detect_by_tiles(Detector.load(), image, TileSettings(tiles=640)).size_wh
        (1500, 700)
    """
    settings = settings or TileSettings()
    regions = list(_regions(windows.size_wh, settings))
    pieces: list[Piece] = []
    remaining = iter(regions)
    while group := list(islice(remaining, batch)):
        images = [_pixels(windows, region, settings.tiles) for region in group]
        for region, image, detections in zip(group, images, detector.detect(images), strict=True):
            scale = np.array([region[2] - region[0], region[3] - region[1]]) / image.shape[1::-1]
            pieces.append(Piece.of(region, detections, scale))
    if len(pieces) == 1:
        return pieces[0].detections
    return join_pieces(pieces, windows.size_wh, detector)


def _regions(size_wh: tuple[int, int], settings: TileSettings) -> Iterator[tuple[int, int, int, int]]:
    """Left, top, right, bottom of the tiles, row by row, and of the whole image."""
    width, height = size_wh
    side = settings.tiles
    for top in tile_starts(height, side, settings.overlap):
        for left in tile_starts(width, side, settings.overlap):
            yield left, top, min(left + side, width), min(top + side, height)
    if max(size_wh) > side:
        yield 0, 0, width, height


def tile_starts(length: int, side: int, overlap: float) -> list[int]:
    """Where tiles begin along one side of an image: evenly, so that all are whole and none overlaps less than it must.

    >>> tile_starts(1500, 640, 0.2)
    [0, 430, 860]
    """
    if length <= side:
        return [0]
    count = math.ceil((length - side) / (side * (1 - overlap))) + 1
    return [round(i * (length - side) / (count - 1)) for i in range(count)]


def _pixels(windows: Windows, region: tuple[int, int, int, int], side: int) -> np.ndarray:
    left, top, right, bottom = region
    if right - left > side or bottom - top > side:
        return windows.reduced(side)
    return windows.read(left, top, right - left, bottom - top)
