"""Counts tracks that cross lines and that are in zones, at every node of the tree.

An object counts once, with the label that all its evidence gives by the end, and also at each ancestor of it: the
counts agree up the tree.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from yolo9000.choices import PointOf
from yolo9000.errors import ConfigError
from yolo9000.taxonomy.wordtree import WordTree
from yolo9000.tracking.regions import Line, Passage, Zone, cross, enter
from yolo9000.tracking.tracker import Track

__all__ = ["Counts", "Event", "TrackCounter"]

MARGIN = 0.1  # of the shorter side of the box


@dataclass(frozen=True)
class Event:
    """A track crossed a line, or entered or left a zone.

    Attributes:
        seconds: when.
        track: which.
        where: name of the line or the zone.
        what: ``in`` or ``out`` of a line, ``enter`` or ``leave`` of a zone.
    """

    seconds: float
    track: Track
    where: str
    what: Literal["in", "out", "enter", "leave"]


@dataclass
class Counts:
    """How many objects, by label.

    Attributes:
        labels: number of objects of each label, each counted at the label itself only.
        seconds: how long they were there, in total, by label; empty for lines.
        longest: the longest of these times, by label.
    """

    labels: Counter[int] = field(default_factory=Counter)
    seconds: defaultdict[int, float] = field(default_factory=lambda: defaultdict(float))
    longest: defaultdict[int, float] = field(default_factory=lambda: defaultdict(float))

    def add(self, label: int, number: int = 1, seconds: float = 0.0) -> None:
        """Count objects of a label."""
        self.labels[label] += number
        self.seconds[label] += seconds
        self.longest[label] = max(self.longest[label], seconds)

    def copy(self) -> Counts:
        """A copy; adding to it leaves this one unchanged."""
        return Counts(Counter(self.labels), defaultdict(float, self.seconds), defaultdict(float, self.longest))

    def rows(self, names: Sequence[str], tree: WordTree | None) -> list[dict[str, Any]]:
        """A record for each label with objects and each of its ancestors; a node's count is that of all below it.

        ``{"label", "name", "path", "count"}``, and ``"mean_seconds", "max_seconds"`` where times were added.
        """
        paths = {label: tree.path(label) if tree else (label,) for label in self.labels}
        count: Counter[int] = Counter()
        total, longest = defaultdict[int, float](float), defaultdict[int, float](float)
        for label, path in paths.items():
            for node in path:
                count[node] += self.labels[label]
                total[node] += self.seconds[label]
                longest[node] = max(longest[node], self.longest[label])
        timed = any(self.seconds.values())
        return [
            {
                "label": node,
                "name": names[node],
                "path": [names[step] for step in (tree.path(node) if tree else (node,))],
                "count": count[node],
                **({"mean_seconds": total[node] / count[node], "max_seconds": longest[node]} if timed else {}),
            }
            for node in sorted(count)
            if count[node]
        ]


class TrackCounter:
    """Counts the tracks of a video.

    Args:
        names: display name of each label.
        tree: of the labels; None for flat labels.
        lines: to be crossed.
        zones: to be in.
        point: which point of a box counts.

    Raises:
        ConfigError: two lines or zones have one name.
    """

    def __init__(
        self,
        names: Sequence[str],
        tree: WordTree | None,
        lines: Sequence[Line] = (),
        zones: Sequence[Zone] = (),
        *,
        point: PointOf = "center",
    ) -> None:
        self._regions = [*(line.name for line in lines), *(zone.name for zone in zones)]
        repeated = [name for name, count in Counter(self._regions).items() if count > 1]
        if repeated:
            raise ConfigError(f"lines and zones must have different names, got {repeated[0]!r} twice")
        self._names, self._tree, self._point = names, tree, point
        self._lines, self._zones = lines, zones
        self._states: dict[Track, dict[str, Passage]] = {}
        self._ended: defaultdict[tuple[str, str], Counts] = defaultdict(Counts)

    def update(self, tracks: Iterable[Track], seconds: float, ended: Iterable[Track] = ()) -> list[Event]:
        """What happened in a frame.

        Args:
            tracks: that are seen in it.
            seconds: its time.
            ended: tracks that will not be seen again, of which only the counts are kept.
        """
        events = [event for track in tracks for event in self._events(track, seconds)]
        for track in ended:
            events += self._leaving(track)
            for key, label, number, stayed in self._counted(track):
                self._ended[key].add(label, number, stayed)
            self._states.pop(track, None)
        return events

    def _leaving(self, track: Track) -> list[Event]:
        """The zones that a track was in when it was seen last."""
        states = self._states.get(track, {})
        inside = (zone.name for zone in self._zones if states and states[zone.name].side > 0)
        return [Event(track.seen, track, name, "leave") for name in inside]

    def counts(self) -> dict[str, dict[str, Counts]]:
        """The counts up to now: ``{"objects": {"all"}, LINE: {"in", "out"}, ZONE: {"entered", "inside"}}``."""
        keys = [("objects", "all")]
        keys += [(line.name, what) for line in self._lines for what in ("in", "out")]
        keys += [(zone.name, what) for zone in self._zones for what in ("entered", "inside")]
        counts = {key: self._ended[key].copy() for key in keys}
        for track, states in self._states.items():
            for key, label, number, stayed in self._counted(track):
                counts[key].add(label, number, stayed)
            for zone in self._zones:
                if states[zone.name].side > 0:
                    counts[zone.name, "inside"].add(track.label)
        nested: dict[str, dict[str, Counts]] = {}
        for (where, what), one in counts.items():
            nested.setdefault(where, {})[what] = one
        return nested

    def to_dict(self) -> dict[str, dict[str, list[dict[str, Any]]]]:
        """`counts` as plain values; see `Counts.rows`."""
        return {
            where: {what: one.rows(self._names, self._tree) for what, one in several.items()}
            for where, several in self.counts().items()
        }

    def lines_of_text(self) -> list[str]:
        """The counts in words, one line for each line and zone: ``gate in: 12 x vehicle (7 x car (2 x taxi))``."""
        return [
            f"{where}{'' if what == 'all' else f' {what}'}: {_in_words(one, self._names, self._tree)}"
            for where, several in self.counts().items()
            for what, one in several.items()
        ]

    def _events(self, track: Track, seconds: float) -> Iterator[Event]:
        states = self._states.setdefault(track, {name: Passage() for name in self._regions})
        left, top, right, bottom = track.box_xyxy
        point = np.array([(left + right) / 2, bottom if self._point == "bottom" else (top + bottom) / 2])
        margin = MARGIN * min(right - left, bottom - top)
        for line in self._lines:
            if what := cross(line, states[line.name], point, margin):
                yield Event(seconds, track, line.name, what)
        for zone in self._zones:
            if change := enter(zone, states[zone.name], point, margin, seconds):
                yield Event(seconds, track, zone.name, change)

    def _counted(self, track: Track) -> Iterator[tuple[tuple[str, str], int, int, float]]:
        """What a track adds to the counts: where and what, its label, how often, and for how long."""
        states = self._states.get(track)
        if states is None:
            return
        yield ("objects", "all"), track.label, 1, track.seen - track.began
        for line in self._lines:
            for what, number in states[line.name].crossings.items():
                yield (line.name, what), track.label, number, 0.0
        for zone in self._zones:
            if states[zone.name].crossings["enter"]:
                yield (zone.name, "entered"), track.label, 1, states[zone.name].seconds


def _in_words(counts: Counts, names: Sequence[str], tree: WordTree | None) -> str:
    rows = {row["label"]: row["count"] for row in counts.rows(names, tree)}

    def words(nodes: Iterable[int]) -> str:
        present = sorted((node for node in nodes if node in rows), key=lambda node: -rows[node])
        return ", ".join(f"{rows[node]} x {names[node]}{below(node)}" for node in present)

    def below(node: int) -> str:
        inner = words(tree.children(node)) if tree else ""
        return f" ({inner})" if inner else ""

    return words(tree.children(-1) if tree else rows) or "nothing"
