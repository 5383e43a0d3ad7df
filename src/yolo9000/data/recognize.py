"""What a folder, a file or an archive is: every format looks at what is there, and a clear winner is taken."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from yolo9000.data.archive import is_archive, unpack
from yolo9000.data.files import is_hidden, is_note_name
from yolo9000.data.format import Recognition
from yolo9000.data.formats import FORMATS
from yolo9000.data.listing import Listing
from yolo9000.errors import DataError

__all__ = ["Recognized", "recognize"]

_SURE_ENOUGH = 0.4
_CLEARLY_BETTER = 0.15
_DEEPEST = 3
_NEIGHBORS_TRIED = 20
_DATA_SUFFIXES = (".json", ".xml", ".csv", ".tsv", ".yaml", ".yml", ".data", ".parquet", ".jsonl", ".tar", ".zip")


@dataclass(frozen=True)
class Recognized:
    """A data set that was recognized.

    Attributes:
        format: name of the format.
        recognition: what the format says.
        root: folder that its sources are relative to.
        within: names of the folders that were gone down to it; empty where it is what the user pointed at.
        passed_over: folders and data files at its root that do not belong to it.
    """

    format: str
    recognition: Recognition
    root: Path
    within: str = ""
    passed_over: tuple[str, ...] = ()

    @property
    def description(self) -> str:
        """One line for people, such as ``Roboflow COCO export: train 8, valid 2, test 2; passed over: old/``."""
        counts = self.recognition.counts
        shown = ", ".join(_with_count(name, count) for name, count in counts.items())
        position = f" in {self.within}/" if self.within else ""
        passed = f"; passed over: {', '.join(self.passed_over)}" if self.passed_over else ""
        return f"{self.recognition.title}{position}{': ' if shown else ''}{shown}{passed}"


def _with_count(name: str, count: int | None) -> str:
    name = name or "images"
    return name if count is None else f"{name} {count:,}"


def recognize(path: Path, format_name: str | None = None) -> Recognized:
    """Recognize a data set.

    An archive is unpacked, except for a tar file of images with labels, which is read in place. Where a folder holds
    nothing but one folder, as unpacked archives do, or where exactly one of its folders is a data set, that is taken.

    Args:
        path: a folder or a file.
        format_name: the format that it must be; None: whichever.

    Raises:
        DataError: nothing is recognized, or several formats are as likely; a description that was found is wrong.
    """
    within, given = "", path
    candidates = _sniff_all(Listing.of(path), format_name)
    if not candidates and path.is_file() and is_archive(path):
        path = unpack(path)
        candidates = _sniff_all(Listing.of(path), format_name)
    if not candidates and path.is_dir():
        path, within, candidates = _one_level_down(path, format_name)
    if not candidates:
        raise DataError(_nothing_clear(given, format_name))
    name, best = candidates[0]
    if len(candidates) > 1 and best.confidence - candidates[1][1].confidence < _CLEARLY_BETTER:
        raise DataError(_tie(given, candidates))
    root = path if path.is_dir() else path.parent
    passed = () if path.is_file() else _passed_over(Listing(root), best)
    return Recognized(name, best, root, within, passed)


def _sniff_all(listing: Listing, format_name: str | None) -> list[tuple[str, Recognition]]:
    """What the formats say that are sure enough, the surest first; one that the user names may be less sure."""
    wanted = FORMATS if format_name is None else {format_name: FORMATS[format_name]}
    candidates = [(name, one) for name, format_ in wanted.items() if (one := format_.sniff(listing)) is not None]
    kept = [(name, one) for name, one in candidates if one.confidence >= _SURE_ENOUGH or format_name is not None]
    return sorted(kept, key=lambda pair: -pair[1].confidence)


def _one_level_down(path: Path, format_name: str | None) -> tuple[Path, str, list[tuple[str, Recognition]]]:
    """The data set in a folder: in its only folder, or in the one that is recognized."""
    within: list[str] = []
    while len(within) < _DEEPEST:
        listing = Listing(path)
        candidates = {}
        for name in listing.folders()[:_NEIGHBORS_TRIED]:
            below = _sniff_all(Listing(path / name), format_name)
            if below and (below[0][1].confidence > 0.5 or len(listing.folders()) == 1):
                candidates[name] = below
        if len(candidates) > 1:
            some = ", ".join(f"{name}/ ({below[0][1].title})" for name, below in candidates.items())
            raise DataError(f"{path}: holds {len(candidates)} data sets: {some}; point at one of them, or combine them")
        if candidates:
            name, below = next(iter(candidates.items()))
            return path / name, "/".join([*within, name]), below
        if len(listing.folders()) != 1 or listing.images():
            break
        within.append(listing.folders()[0])
        path = path / within[-1]
    return path, "", []


def _passed_over(listing: Listing, best: Recognition) -> tuple[str, ...]:
    used = {part for name in best.used for part in PurePosixPath(name).parts[:1]}
    folders = [f"{name}/" for name in listing.folders() if name not in used]
    files = [name for name in listing.files("", *_DATA_SUFFIXES) if name not in used and not is_note_name(name)]
    return tuple(folders + files)


def _tie(path: Path, candidates: Sequence[tuple[str, Recognition]]) -> str:
    (one, a), (other, b) = candidates[:2]
    return (
        f"{path}: could be {a.title} ({a.reason}) or {b.title} ({b.reason}); say which: {one}:{path} or {other}:{path}"
    )


def _nothing_clear(path: Path, format_name: str | None) -> str:
    if format_name is not None:
        return f"{path}: is not recognized as {FORMATS[format_name].TITLE}; seen: {_seen(path)}"
    return (
        f"{path}: is not recognized as a data set; seen: {_seen(path)}; point at the folder or file that holds the "
        "annotations, or describe it in a data-set file"
    )


def _seen(path: Path) -> str:
    """What is in a folder, counted by suffix, with the names of its folders."""
    if path.is_file():
        return f"one {path.suffix or 'nameless'} file"
    entries = [entry for entry in path.iterdir() if not is_hidden(entry.name)]
    folders = sorted(entry.name for entry in entries if entry.is_dir())
    if len(entries) == len(folders) == 1:
        return f"one folder, {folders[0]}/, with {_seen(path / folders[0])}"
    suffixes = Counter(entry.suffix.lower() or "no suffix" for entry in entries if not entry.is_dir())
    parts = [f"{count} {suffix} files" for suffix, count in suffixes.most_common(5)]
    if folders:
        parts.append("folders " + ", ".join(folders[:6]) + (" ..." if len(folders) > 6 else ""))
    return ", ".join(parts) or "nothing"
