"""Images that are too large to be decoded as a whole, read by windows, and where they lie on the earth.

GDAL reads them, through ``rasterio``: GeoTIFF and other TIFF of any compression, JPEG, PNG and BMP. Memory is bounded
by the window and GDAL's cache.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image, TiffImagePlugin

from yolo9000.errors import needs_extra
from yolo9000.io.files import one_line, reading
from yolo9000.io.images import open_encoded, open_image, read_size
from yolo9000.types import SourceImage

__all__ = ["ArrayWindows", "ToLonLat", "WindowedImage", "Windows", "open_windowed"]

REDUCED_SIDE = 2048  # pixels of the longer side of the copy that is shown
CACHE_BYTES = 256_000_000
DRIVERS = {"TIFF": "GTiff", "JPEG": "JPEG", "PNG": "PNG", "BMP": "BMP"}  # and no others: some of GDAL's read URLs
ANY_SIZE = 1 << 40  # pixels
GEO_TAGS = (33550, 34264)  # of a GeoTIFF: ModelPixelScale, ModelTransformation

ToLonLat = Callable[[Float[np.ndarray, "n 2"]], Float[np.ndarray, "n 2"]]
"""From x, y in pixels of an image to longitude and latitude in degrees (WGS 84)."""


@runtime_checkable
class Windows(Protocol):
    """An image of which parts can be read."""

    @property
    def size_wh(self) -> tuple[int, int]:
        """Width and height in pixels."""
        ...

    def read(self, left: int, top: int, width: int, height: int) -> UInt8[np.ndarray, "h w 3"]:
        """A window that lies inside the image, RGB."""
        ...

    def reduced(self, side: int) -> UInt8[np.ndarray, "h w 3"]:
        """The whole image, RGB, its longer side reduced to a number of pixels if it is longer."""
        ...


@dataclass(frozen=True)
class WindowedImage(SourceImage):
    """An image that is read by windows; ``pixels`` is a reduced copy of it.

    Attributes:
        windows: reads it.
        to_lonlat: where its pixels lie on the earth; None where it does not say.
    """

    windows: Windows | None = None
    to_lonlat: ToLonLat | None = None

    def __enter__(self) -> WindowedImage:
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file."""
        if isinstance(self.windows, RasterWindows):
            self.windows.close()


@dataclass(frozen=True)
class ArrayWindows:
    """Windows of an image in memory.

    Attributes:
        pixels: RGB.
    """

    pixels: UInt8[np.ndarray, "h w 3"]

    @property
    def size_wh(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.pixels.shape[1], self.pixels.shape[0]

    def read(self, left: int, top: int, width: int, height: int) -> UInt8[np.ndarray, "h w 3"]:
        """See `Windows.read`."""
        return np.asarray(self.pixels[top : top + height, left : left + width])

    def reduced(self, side: int) -> UInt8[np.ndarray, "h w 3"]:
        """See `Windows.reduced`."""
        image = Image.fromarray(self.pixels)
        image.thumbnail((side, side), Image.Resampling.BOX)
        return np.array(image)


def open_windowed(path: Path, name: str, max_pixels: int) -> WindowedImage | None:
    """An image that is to be read by windows: larger than some pixels, on the earth (GeoTIFF), or Deep Zoom.

    Args:
        path: of the file.
        name: what the image and the errors about it are called.
        max_pixels: the largest width x height that is decoded as a whole.

    Returns:
        The image; None for one that can be decoded as a whole.

    Raises:
        DataError: it cannot be read.
        EngineError: ``rasterio`` is not installed.
    """
    width, height = read_size(path, name=name, max_pixels=ANY_SIZE)
    with open_encoded(path, name) as stream, open_image(stream, name, ANY_SIZE) as image:
        kind = image.format or ""
        on_earth = isinstance(image, TiffImagePlugin.TiffImageFile) and any(tag in image.tag_v2 for tag in GEO_TAGS)
    if width * height <= max_pixels and not on_earth:
        return None
    if kind not in DRIVERS:
        raise one_line(name, f"{width} x {height}: must be {', '.join(DRIVERS)} to be read by windows, got {kind}")
    raster = RasterWindows(path, name, DRIVERS[kind])
    if raster.size_wh != (width, height):
        raise one_line(name, "is read by windows, which cannot be turned as EXIF says: store it upright")
    return WindowedImage(name, raster.reduced(REDUCED_SIDE), windows=raster, to_lonlat=raster.to_lonlat)


class RasterWindows:
    """Windows of a file that GDAL reads.

    Attributes:
        size_wh: width and height in pixels.
        to_lonlat: where its pixels lie on the earth; None where it does not say.

    Args:
        path: of the file.
        name: what the errors about it call it.
        driver: GDAL's, for its format.

    Raises:
        DataError: it cannot be read, or is not of 8 or 16 bits.
        EngineError: ``rasterio`` is not installed.
    """

    def __init__(self, path: Path, name: str, driver: str) -> None:
        with needs_extra("geo", "reading images by windows"):
            import rasterio
        self._name = name
        with ExitStack() as opened, reading(name), warnings.catch_warnings():
            warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
            opened.enter_context(rasterio.Env(GDAL_CACHEMAX=CACHE_BYTES, GDAL_DISABLE_READDIR_ON_OPEN="EMPTY_DIR"))
            self._file = opened.enter_context(rasterio.open(path.absolute(), driver=driver))
            self._opened = opened.pop_all()
        self.size_wh = (int(self._file.width), int(self._file.height))
        self._bands = [1, 2, 3] if self._file.count >= 3 else [1]
        self._palette = _palette(self._file)
        kinds = {self._file.dtypes[band - 1] for band in self._bands}
        if not kinds <= {"uint8", "uint16"}:
            raise one_line(name, f"must have integers of 8 or 16 bits, got {', '.join(sorted(kinds))}")
        on_earth = self._file.crs is not None and not self._file.transform.is_identity
        self.to_lonlat: ToLonLat | None = self._to_lonlat if on_earth else None

    def read(self, left: int, top: int, width: int, height: int) -> UInt8[np.ndarray, "h w 3"]:
        """See `Windows.read`.

        Raises:
            DataError: the file is damaged.
        """
        return self._rgb(window=((top, top + height), (left, left + width)))

    def reduced(self, side: int) -> UInt8[np.ndarray, "h w 3"]:
        """See `Windows.reduced`."""
        from rasterio.enums import Resampling

        width, height = self.size_wh
        factor = max(width, height, side) / side
        shape = (len(self._bands), max(1, round(height / factor)), max(1, round(width / factor)))
        kind = Resampling.nearest if self._palette is not None else Resampling.average
        return self._rgb(out_shape=shape, resampling=kind)

    def close(self) -> None:
        """Close the file."""
        self._opened.close()

    def _rgb(self, **which: Any) -> UInt8[np.ndarray, "h w 3"]:
        with reading(self._name, "damaged image"):
            values = self._file.read(self._bands, **which)
        if values.dtype == np.uint16:
            values = ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)
        if self._palette is not None:
            return np.ascontiguousarray(self._palette[values[0]])
        return np.ascontiguousarray(np.broadcast_to(values, (3, *values.shape[1:])).transpose(1, 2, 0))

    def _to_lonlat(self, points_xy: Float[np.ndarray, "n 2"]) -> Float[np.ndarray, "n 2"]:
        from rasterio.warp import transform

        a, b, c, d, e, f = list(self._file.transform)[:6]
        x, y = points_xy.astype(np.float64).T
        longitudes, latitudes = transform(
            self._file.crs, "EPSG:4326", (a * x + b * y + c).tolist(), (d * x + e * y + f).tolist()
        )
        return np.stack([longitudes, latitudes], axis=1)


def _palette(file: Any) -> UInt8[np.ndarray, "256 3"] | None:
    if file.count != 1 or file.colorinterp[0].name != "palette":
        return None
    colors = file.colormap(1)
    return np.array([colors.get(i, (0, 0, 0))[:3] for i in range(256)], np.uint8)
