"""What happens in videos, beyond single frames: counts, events, heat maps, and frames with all of that drawn."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from yolo9000.choices import PointOf
from yolo9000.io.files import write_atomically, writing
from yolo9000.io.naming import OutputNames
from yolo9000.taxonomy.wordtree import WordTree
from yolo9000.tracking.counting import Event, TrackCounter
from yolo9000.tracking.draw import Trails, draw_regions
from yolo9000.tracking.heat_map import HeatMap
from yolo9000.tracking.regions import Line, Zone
from yolo9000.tracking.run import TrackedFrame

__all__ = ["Scenes"]

SAVE_SECONDS = 60.0  # of video, after which counts and heat map are written again
LONGEST_FRAME = 1.0  # seconds that a frame counts for; a stream may have been away for hours


class Scenes:
    """Counts in each source, and writes ``counts.json`` and heat maps.

    Attributes:
        counters: of each source so far.

    Args:
        names: display name of each label.
        tree: of the labels; None for flat labels.
        folder: to write to.
        lines: to be crossed.
        zones: to be in.
        point: which point of a box counts.
        heat_map: whether ``heat-map-<stem>.jpg`` is written for each source.
    """

    def __init__(
        self,
        names: Sequence[str],
        tree: WordTree | None,
        folder: Path,
        *,
        lines: Sequence[Line] = (),
        zones: Sequence[Zone] = (),
        point: PointOf = "center",
        heat_map: bool = False,
    ) -> None:
        self.counters: dict[str, TrackCounter] = {}
        self._names, self._tree, self._folder = names, tree, folder
        self._lines, self._zones, self._point = lines, zones, point
        self._has_heat, self._stems = heat_map, OutputNames()
        self._frame: TrackedFrame | None = None
        self._saved = 0.0

    def update(self, frame: TrackedFrame) -> list[Event]:
        """Take in a frame; what happened in it.

        Raises:
            DataError: the counts or a heat map cannot be written.
        """
        last = self._frame
        if last is None or last.image.name != frame.image.name:
            self._begin(frame)
            last = frame
        elif frame.seconds - self._saved >= SAVE_SECONDS:
            self.save()
        self._frame = frame
        if self._heat:
            self._heat.update(frame.tracks, min(frame.seconds - last.seconds, LONGEST_FRAME))
        return self.counters[frame.image.name].update(frame.tracks, frame.seconds, frame.ended)

    def draw(self, frame: TrackedFrame) -> UInt8[np.ndarray, "h w 3"]:
        """A frame, after its `update`, with boxes, trails, lines, zones and counts."""
        drawn = frame.draw()
        self._trails.draw(drawn, frame.tracks, frame.seconds)
        totals = {
            where: {what: counts.labels.total() for what, counts in several.items()}
            for where, several in self.counters[frame.image.name].counts().items()
        }
        draw_regions(drawn, self._lines, self._zones, totals)
        return drawn

    def _begin(self, frame: TrackedFrame) -> None:
        self.save()
        self._trails, self._saved = Trails(), 0.0
        self._heat = HeatMap(frame.image.size_wh) if self._has_heat else None
        self.counters[frame.image.name] = TrackCounter(
            self._names, self._tree, self._lines, self._zones, point=self._point
        )

    def save(self) -> None:
        """Write the counts so far, of all sources, and the heat map of the present one.

        Raises:
            DataError: a file cannot be written.
        """
        if self._frame is None:
            return
        self._saved = self._frame.seconds
        counts: dict[str, Any] = {source: counter.to_dict() for source, counter in self.counters.items()}
        path = self._folder / "counts.json"
        with writing(path):
            self._folder.mkdir(parents=True, exist_ok=True)
            write_atomically(path, json.dumps(counts, indent=1) + "\n")
        if self._heat:
            image = self._frame.image
            stem = self._stems.stem(image.name, image.frame).rpartition("_")[0]
            path = self._folder / f"heat-map-{stem}.jpg"
            with writing(path):
                Image.fromarray(self._heat.draw(image.pixels)).save(path, quality=92)
