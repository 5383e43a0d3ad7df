"""MP4 files taken apart and changed: what phones, editors and full disks do to them."""

import struct
from collections.abc import Callable

CONTAINERS = (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"edts")


def change_boxes(data: bytes, changes: dict[bytes, Callable[[bytes], bytes]]) -> bytes:
    """The file with the contents of some boxes changed, and the sizes of those around them.

    The index must be behind the frames, as FFmpeg writes it, so that the positions of frames stay right.
    """
    parts, position = [], 0
    while position < len(data):
        size, kind = struct.unpack_from(">I4s", data, position)
        contents = data[position + 8 : position + size]
        if kind in CONTAINERS:
            contents = change_boxes(contents, changes)
        elif kind in changes:
            contents = changes[kind](contents)
        parts.append(struct.pack(">I4s", len(contents) + 8, kind) + contents)
        position += size
    return b"".join(parts)


def edit_list(start: int, duration: int) -> Callable[[bytes], bytes]:
    """Contents of ``elst``: show from an instant of the media for a duration of the movie."""
    return lambda _: struct.pack(">IIIii", 0, 1, duration, start, 1 << 16)


def sample_durations(durations: list[int]) -> Callable[[bytes], bytes]:
    """Contents of ``stts``: a duration for each sample."""
    return lambda _: struct.pack(">II", 0, len(durations)) + b"".join(struct.pack(">II", 1, d) for d in durations)
