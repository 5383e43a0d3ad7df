"""The detections in one image, with the image: what users look at, save and convert."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageShow

from yolo9000.errors import DataError, no_attribute
from yolo9000.io.draw import annotate
from yolo9000.io.files import writing
from yolo9000.io.records import image_record
from yolo9000.types import Detections, SourceImage

__all__ = ["Prediction"]

NOTEBOOK_WIDTH = 900  # pixels that a notebook shows an image at, at most
NOTEBOOK_ROWS = 20


_OTHER_NAMES = {
    "boxes": "detections.boxes_xyxy, detections.scores and detections.labels",
    "xyxy": "detections.boxes_xyxy",
    "names": "detections.names",
    "orig_img": "image.pixels",
    "path": "image.name",
    "speed": "seconds",
    "plot": "draw()",
    "render": "draw()",
    "save_crop": "crop()",
    "save_txt": "yolo9000 predict --format darknet",
    "to_json": "detections.to_json()",
    "tojson": "detections.to_json()",
    "to_df": "detections.to_dataframe()",
    "pandas": "detections.to_dataframe()",
    "to_supervision": "detections.to_supervision()",
}


@dataclass(frozen=True, repr=False)
class Prediction:
    """The detections in one image. A notebook shows it as the annotated image and a table.

    Attributes:
        image: the image, or the frame of a video; of an image that is read by windows a reduced copy.
        detections: in it.
        seconds: from pixels to detections; reading is not counted. Of a batch its time divided by its images, of
            batches computed at once divided by their number, too.
    """

    image: SourceImage
    detections: Detections
    seconds: float

    if not TYPE_CHECKING:  # a type checker would accept any name

        def __getattr__(self, name: str) -> Any:
            raise AttributeError(no_attribute("Prediction", name, _OTHER_NAMES))

        def __getitem__(self, name: Any) -> Any:
            raise TypeError(f"Prediction has no items, got [{name!r}]: use detections.boxes_xyxy, .scores, .names")

    def __len__(self) -> int:
        return len(self.detections)

    def __bool__(self) -> bool:
        return True  # a prediction without detections is a prediction

    def __repr__(self) -> str:
        frame = "" if self.image.frame is None else f", frame {self.image.frame}"
        return f"Prediction({self.image.name!r}{frame}, {self.detections!r}, {self.seconds * 1000:.1f} ms)"

    def draw(self, *, show_path: bool = True) -> UInt8[np.ndarray, "h w 3"]:
        """The image with boxes and labels, on a tree with the path to each label."""
        return annotate(self.image.pixels, self.detections.resized(self.image.size_wh), show_path=show_path)

    def save(self, path: str | Path) -> None:
        """Write the image with boxes and labels; the suffix gives the format.

        Raises:
            DataError: the file cannot be written.
        """
        drawn = Image.fromarray(self.draw())
        with writing(path):
            drawn.save(path)

    def show(self) -> None:
        """Open the image with boxes and labels in the system's viewer of images.

        Raises:
            DataError: there is no viewer.
        """
        if not ImageShow.show(Image.fromarray(self.draw()), title=self.image.name):
            raise DataError(f"{self.image.name}: cannot be shown: no viewer of images is installed")

    def crop(self, margin: float = 0.0) -> list[UInt8[np.ndarray, "_ _ 3"]]:
        """The part of the image in each box, at least one pixel wide and high; copies.

        Args:
            margin: added on each side, as a fraction of the box's width and height.

        Raises:
            ValueError: the margin is negative.
        """
        if margin < 0:
            raise ValueError(f"margin must be at least 0, got {margin}")
        width, height = self.image.size_wh
        crops = []
        for left, top, right, bottom in self.detections.resized(self.image.size_wh).boxes_xyxy.astype(np.float64):
            dx, dy = margin * (right - left), margin * (bottom - top)
            x0, x1 = _span(left - dx, right + dx, width)
            y0, y1 = _span(top - dy, bottom + dy, height)
            crops.append(self.image.pixels[y0:y1, x0:x1].copy())
        return crops

    def to_dict(self) -> dict[str, Any]:
        """The record of the image, a line of ``detections.jsonl``: `Detections.to_dict` and what identifies it."""
        image = self.image
        return image_record(image.name, self.detections, frame=image.frame, timestamp=image.timestamp)

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        image = Image.fromarray(self.draw())
        image.thumbnail((NOTEBOOK_WIDTH, NOTEBOOK_WIDTH))
        stream = io.BytesIO()
        image.save(stream, format="JPEG", quality=90)
        data = base64.b64encode(stream.getvalue()).decode()
        rows = "".join(
            f"<tr><td>{escape(name)}</td><td>{score:.3f}</td><td>{', '.join(f'{side:.0f}' for side in box)}</td></tr>"
            for name, score, box in list(
                zip(self.detections.names, self.detections.scores, self.detections.boxes_xyxy, strict=True)
            )[:NOTEBOOK_ROWS]
        )
        return (
            f'<img alt="" src="data:image/jpeg;base64,{data}"><p>{escape(repr(self))}</p>'
            f"<table><tr><th>label</th><th>score</th><th>left, top, right, bottom</th></tr>{rows}</table>"
        )


def _span(low: float, high: float, length: int) -> tuple[int, int]:
    """First and last whole pixels of a range, exclusive, inside the image."""
    first = min(max(int(np.floor(low)), 0), length - 1)
    return first, max(min(int(np.ceil(high)), length), first + 1)
