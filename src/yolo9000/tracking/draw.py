"""What is drawn on the frames of tracks besides boxes: trails, lines and zones with their counts."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from jaxtyping import UInt8

from yolo9000.io.draw import label_color
from yolo9000.tracking.regions import Line, Zone
from yolo9000.tracking.tracker import Track

__all__ = ["Trails", "draw_regions"]

TRAIL_SECONDS = 2.0
TRAIL_POINTS = 120
LINE_OF_IMAGE = 1 / 300  # thickness of lines, of the image's longer side
WHITE, BLACK = (255, 255, 255), (0, 0, 0)


class Trails:
    """Where each track was in the last two seconds."""

    def __init__(self) -> None:
        self._points: dict[Track, deque[tuple[float, int, int]]] = {}

    def draw(self, image: UInt8[np.ndarray, "h w 3"], tracks: Iterable[Track], seconds: float) -> None:
        """Add a frame and draw the trails on it, in place.

        Args:
            image: RGB.
            tracks: that are seen in the frame.
            seconds: its time.
        """
        import cv2

        for track in tracks:
            left, top, right, bottom = track.box_xyxy
            points = self._points.setdefault(track, deque(maxlen=TRAIL_POINTS))
            points.append((seconds, round((left + right) / 2), round((top + bottom) / 2)))
        for track, points in list(self._points.items()):
            while points and not 0 <= seconds - points[0][0] <= TRAIL_SECONDS:
                points.popleft()
            if not points:
                del self._points[track]
                continue
            path = np.array([(x, y) for _, x, y in points], np.int32)
            cv2.polylines(image, [path], False, label_color(track.id), _thickness(image), cv2.LINE_AA)


def draw_regions(
    image: UInt8[np.ndarray, "h w 3"],
    lines: Sequence[Line],
    zones: Sequence[Zone],
    counts: Mapping[str, Mapping[str, int]],
) -> None:
    """Draw lines and zones on a frame, in place, each with its name and its counts.

    Args:
        image: RGB.
        lines: to draw.
        zones: to draw.
        counts: by the name of the line or zone: what is counted, and how many.
    """
    import cv2

    thick = _thickness(image)
    for line in lines:
        start, end = (tuple(map(round, point)) for point in (line.start_xy, line.end_xy))
        cv2.line(image, start, end, BLACK, thick + 2, cv2.LINE_AA)
        cv2.line(image, start, end, WHITE, thick, cv2.LINE_AA)
        _write(image, _text(line.name, counts), (start[0] + end[0]) // 2, (start[1] + end[1]) // 2)
    for zone in zones:
        corners = np.array(zone.corners_xy).round().astype(np.int32)
        cv2.polylines(image, [corners], True, BLACK, thick + 2, cv2.LINE_AA)
        cv2.polylines(image, [corners], True, WHITE, thick, cv2.LINE_AA)
        _write(image, _text(zone.name, counts), *(int(v) for v in corners.mean(axis=0)))


def _text(name: str, counts: Mapping[str, Mapping[str, int]]) -> str:
    return " ".join([name, *(f"{what} {number}" for what, number in counts.get(name, {}).items())])


def _write(image: UInt8[np.ndarray, "h w 3"], text: str, x: int, y: int) -> None:
    """Text on a dark ground around a point, inside the image."""
    import cv2

    height, width = image.shape[:2]
    scale, thick = max(height, width) / 1100, max(1, _thickness(image) // 2)
    (wide, tall), below = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, thick)
    left = min(max(x - wide // 2, 0), max(width - wide, 0))
    base = min(max(y, tall + below), height - below)
    cv2.rectangle(image, (left, base - tall - below), (left + wide, base + below), BLACK, cv2.FILLED)
    cv2.putText(image, text, (left, base), cv2.FONT_HERSHEY_SIMPLEX, scale, WHITE, thick, cv2.LINE_AA)


def _thickness(image: UInt8[np.ndarray, "h w 3"]) -> int:
    return max(1, round(LINE_OF_IMAGE * max(int(side) for side in image.shape[:2])))
