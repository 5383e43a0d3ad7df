"""What the containers of videos say of themselves: how many frames an MP4 shows, and whether the file is whole.

OpenCV counts the samples of an MP4, not the frames that its edit list shows: a clip that a phone trimmed keeps the
samples before its first frame.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from io import BufferedIOBase
from itertools import accumulate, chain, repeat

__all__ = ["count_shown_frames", "missing_bytes"]

_FIRST_BOXES = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip")
_BOXES = (*_FIRST_BOXES, b"moof", b"mfra", b"styp", b"sidx", b"uuid", b"meta", b"pnot", b"prft", b"emsg")
"""At the top of MP4 and MOV; other bytes behind them are none of the video's."""
_MATROSKA = b"\x1a\x45\xdf\xa3"
_MAX_TABLE_BYTES = 1 << 26  # of the tables of samples: a day of video at 60 frames a second has a quarter of that
_MAX_SAMPLES = 1 << 23

_Box = tuple[bytes, int, int]
"""Kind, first byte of the contents and the byte after the last one."""


def missing_bytes(stream: BufferedIOBase) -> int:
    """How many bytes an MP4, MOV, Matroska or WebM file lacks of what it says to have; 0 for other containers."""
    size = stream.seek(0, os.SEEK_END)
    stream.seek(0)
    end = _matroska_end(stream) if stream.read(4) == _MATROSKA else _last_end(stream, size)
    return max(0, end - size)


def count_shown_frames(stream: BufferedIOBase) -> int | None:
    """The frames that an MP4 or MOV file shows: the samples of its first video track that its edit list keeps.

    None where the file is another container, has no such track or describes its samples in fragments.
    """
    try:
        return _count_shown_frames(stream)
    except (struct.error, StopIteration, ValueError, ZeroDivisionError):  # a damaged index
        return None


def _count_shown_frames(stream: BufferedIOBase) -> int | None:
    whole = (b"file", 0, stream.seek(0, os.SEEK_END))
    movie = _child(stream, whole, b"moov")
    tracks = [box for box in _boxes(stream, movie) if box[0] == b"trak"]
    track = next(box for box in tracks if _handler(stream, box) == b"vide")
    media = _child(stream, track, b"mdia")
    samples = _child(stream, _child(stream, media, b"minf"), b"stbl")
    times = _composition_times(stream, samples)
    edits = _edits(stream, track, _time_scale(stream, movie, b"mvhd"), _time_scale(stream, media, b"mdhd"))
    if not times:  # the samples are described in fragments
        return None
    return sum(any(start <= time < end for start, end in edits) for time in times) if edits else len(times)


def _boxes(stream: BufferedIOBase, parent: _Box) -> Iterator[_Box]:
    _, position, end = parent
    while position + 8 <= end:
        stream.seek(position)
        size, kind = struct.unpack(">I4s", stream.read(8))
        start = position + 8
        if size == 1:
            (size,), start = struct.unpack(">Q", stream.read(8)), start + 8
        position = end if size == 0 else position + max(size, 8)
        yield kind, start, position


def _child(stream: BufferedIOBase, parent: _Box, kind: bytes) -> _Box:
    return next(box for box in _boxes(stream, parent) if box[0] == kind)


def _table(stream: BufferedIOBase, box: _Box) -> bytes:
    _, start, end = box
    if end - start > _MAX_TABLE_BYTES:
        raise ValueError("an index of this size is not read")
    stream.seek(start)
    return stream.read(end - start)


def _handler(stream: BufferedIOBase, track: _Box) -> bytes:
    return _table(stream, _child(stream, _child(stream, track, b"mdia"), b"hdlr"))[8:12]


def _time_scale(stream: BufferedIOBase, parent: _Box, kind: bytes) -> int:
    header = _table(stream, _child(stream, parent, kind))
    (scale,) = struct.unpack_from(">I", header, 20 if header[0] == 1 else 12)
    return int(scale)


def _composition_times(stream: BufferedIOBase, samples: _Box) -> list[int]:
    """When each sample is shown, in units of the track's media."""
    tables = {kind: _table(stream, (kind, start, end)) for kind, start, end in _boxes(stream, samples)
              if kind in (b"stts", b"ctts")}  # fmt: skip
    runs = list(struct.iter_unpack(">II", tables[b"stts"][8:]))
    if sum(count for count, _ in runs) > _MAX_SAMPLES:
        raise ValueError("an index of this many samples is not read")
    durations = chain.from_iterable(repeat(duration, count) for count, duration in runs)
    decoded = list(accumulate(durations, initial=0))[:-1]
    shifts = chain.from_iterable(repeat(shift, count) for count, shift in _shifts(tables.get(b"ctts")))
    return [time + shift for time, shift in zip(decoded, chain(shifts, repeat(0)), strict=False)]


def _shifts(table: bytes | None) -> Iterator[tuple[int, int]]:
    return struct.iter_unpack(">Ii", table[8:]) if table else iter(())


def _edits(stream: BufferedIOBase, track: _Box, movie_scale: int, media_scale: int) -> list[tuple[int, int]]:
    """First and last instant of each edit, the last exclusive, in units of the track's media; none: all is shown."""
    lists = [box for box in _boxes(stream, track) if box[0] == b"edts"]
    if not lists:
        return []
    table = _table(stream, _child(stream, lists[0], b"elst"))
    entries = struct.iter_unpack(">Qqi" if table[0] == 1 else ">Iii", table[8:])
    shown = [(start, round(duration * media_scale / movie_scale)) for duration, start, _ in entries if start >= 0]
    return [(start, start + duration) for start, duration in shown if duration > 0]


def _last_end(stream: BufferedIOBase, size: int) -> int:
    """The byte after the last box of an MP4; 0 for what does not begin as one."""
    stream.seek(4)
    if stream.read(4) not in _FIRST_BOXES:
        return 0
    return max((end for kind, _, end in _boxes(stream, (b"file", 0, size)) if kind in _BOXES), default=0)


def _matroska_end(stream: BufferedIOBase) -> int:
    """The byte after the segment of a Matroska file; 0 where its length is not known, as of a live recording."""
    header = _variable_integer(stream)
    stream.seek(header or 0, os.SEEK_CUR)
    if stream.read(4) != b"\x18\x53\x80\x67":
        return 0
    length = _variable_integer(stream)
    return 0 if length is None else stream.tell() + length


def _variable_integer(stream: BufferedIOBase) -> int | None:
    """EBML's: the leading zeros of the first byte are the number of bytes that follow; None where all bits are set."""
    first = stream.read(1)
    if not first or first[0] == 0:
        return None
    more = 8 - first[0].bit_length()
    rest = stream.read(more)
    bits = 7 * (more + 1)
    value = int.from_bytes(first + rest) & ((1 << bits) - 1)
    return None if len(rest) < more or value == (1 << bits) - 1 else value
