"""Images that show training: batches with their targets, and predictions on the validation split."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float32, Int64, UInt8

from yolo9000.data.batching import Batch
from yolo9000.data.images import load_image
from yolo9000.evaluation.draw import gt_as_detections
from yolo9000.io.draw import annotate
from yolo9000.types import BoxAnnotations, Detections, Sample

__all__ = ["TILE", "Marks", "draw_batch", "draw_validation", "grid"]

MAX_IMAGES = 16  # of a batch that are drawn
MAX_DETECTIONS = 30  # that are drawn in an image: early in training there are hundreds
TILE = 420  # pixels: the width that each image is drawn at
GAP, WIDE_GAP = 6, 24  # pixels between images; between pairs
DASH = 4  # pixels
WHITE, BLACK, GREY = (255, 255, 255), (0, 0, 0), (208, 208, 208)


@dataclass(frozen=True)
class Marks:
    """The cells and anchors that are assigned the objects of a batch, in pixels of the input.

    Attributes:
        images: index of the image in the batch.
        cells_xyxy: the cell.
        anchors_xyxy: its anchor, centred in the cell.
    """

    images: Int64[np.ndarray, " m"]
    cells_xyxy: Float32[np.ndarray, "m 4"]
    anchors_xyxy: Float32[np.ndarray, "m 4"]


def draw_batch(batch: Batch, names: Sequence[str], marks: Marks | None = None) -> UInt8[np.ndarray, "h w 3"]:
    """Up to 16 images of a batch as the network sees them, with their annotations.

    Args:
        batch: the images.
        names: of the classes.
        marks: cells (bright squares) and anchors (dashed) that are assigned objects.

    Raises:
        ValueError: the batch is empty.
    """
    tiles = []
    for index in range(min(len(batch), MAX_IMAGES)):
        image, boxes = batch.images[index], batch.boxes[index]
        scale = TILE / image.shape[1]
        tile = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_LINEAR)
        if marks is not None:
            _draw_marks(tile, marks, index, scale)
        if boxes is not None:  # after the marks, so that the names are legible
            tile = _with_boxes(tile, boxes, scale, names)
        if batch.image_labels[index]:
            _write(tile, ", ".join(names[label] for label in batch.image_labels[index]))
        tiles.append(tile)
    return grid(tiles, columns=4, gap=GAP)


def draw_validation(
    pairs: Sequence[tuple[Sample, Detections]], names: Sequence[str], threshold: float
) -> UInt8[np.ndarray, "h w 3"]:
    """Images with ground truth (left) and predictions (right), at most the best 30.

    Args:
        pairs: images with boxes, and their predictions.
        names: of the classes.
        threshold: lowest score that is drawn; NaN draws none.

    Raises:
        DataError: an image cannot be read.
        ValueError: there are no pairs.
    """
    tiles = []
    for sample, detections in pairs:
        image = load_image(sample.image, sample.name).pixels
        gt = gt_as_detections(sample, names, (image.shape[1], image.shape[0]))
        kept = detections.select(np.flatnonzero(detections.scores >= threshold)[:MAX_DETECTIONS])
        both = (annotate(image, gt, show_score=False), annotate(image, kept))
        tiles.append(grid([_at_tile_width(drawn) for drawn in both], columns=2, gap=GAP))
    return grid(tiles, columns=2, gap=WIDE_GAP)


def _with_boxes(
    tile: UInt8[np.ndarray, "h w 3"], boxes: BoxAnnotations, scale: float, names: Sequence[str]
) -> UInt8[np.ndarray, "h w 3"]:
    height, width = tile.shape[:2]
    drawn = Detections(
        boxes_xyxy=boxes.boxes_xyxy * np.float32(scale),
        scores=np.ones(len(boxes), np.float32),
        labels=boxes.labels,
        names=tuple(names[label] for label in boxes.labels),
        size_wh=(width, height),
    )
    return annotate(tile, drawn, show_score=False)


def _draw_marks(tile: UInt8[np.ndarray, "h w 3"], marks: Marks, index: int, scale: float) -> None:
    chosen = marks.images == index
    cells = np.rint(marks.cells_xyxy[chosen] * scale).astype(int).tolist()
    anchors = np.rint(marks.anchors_xyxy[chosen] * scale).astype(int).tolist()
    for left, top, right, bottom in cells:
        part = tile[max(0, top) : bottom, max(0, left) : right]
        part[:] = part // 2 + np.array(WHITE, np.uint8) // 2
        cv2.rectangle(tile, (left, top), (right, bottom), BLACK)  # visible on white
    for left, top, right, bottom in anchors:
        _dash(tile, np.arange(left, right + 1), np.array([top, bottom]))
        _dash(tile, np.array([left, right]), np.arange(top, bottom + 1))


def _dash(tile: UInt8[np.ndarray, "h w 3"], columns: Int64[np.ndarray, " c"], rows: Int64[np.ndarray, " r"]) -> None:
    """Color the pixels where the columns and rows meet, as far as they are in the tile, black and white in turn."""
    height, width = tile.shape[:2]
    columns, rows = columns[(columns >= 0) & (columns < width)], rows[(rows >= 0) & (rows < height)]
    white = (columns // DASH + rows[:, None] // DASH) % 2
    tile[rows[:, None], columns] = white[:, :, None] * np.uint8(255)


def _write(tile: UInt8[np.ndarray, "h w 3"], text: str) -> None:
    """A line of text at the lower edge, legible on anything."""
    plain = text.encode("ascii", "replace").decode()
    at = (6, tile.shape[0] - 8)
    for color, thickness in ((BLACK, 3), (WHITE, 1)):
        cv2.putText(tile, plain, at, cv2.FONT_HERSHEY_SIMPLEX, 0.5, color, thickness, cv2.LINE_AA)


def _at_tile_width(image: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "h2 w2 3"]:
    scale = TILE / image.shape[1]
    size = (TILE, max(1, round(image.shape[0] * scale)))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)


def grid(tiles: Sequence[UInt8[np.ndarray, "_ _ 3"]], columns: int, gap: int) -> UInt8[np.ndarray, "h w 3"]:
    """Tiles in rows, on grey; fewer columns if there are fewer tiles."""
    columns = min(columns, len(tiles))
    height, width = max(tile.shape[0] for tile in tiles), max(tile.shape[1] for tile in tiles)
    rows = math.ceil(len(tiles) / columns)
    canvas = np.full((rows * (height + gap) - gap, columns * (width + gap) - gap, 3), GREY, np.uint8)
    for index, tile in enumerate(tiles):
        top, left = index // columns * (height + gap), index % columns * (width + gap)
        canvas[top : top + tile.shape[0], left : left + tile.shape[1]] = tile
    return canvas
