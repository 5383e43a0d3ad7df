"""The size of a JPEG from its first bytes, in a tenth of the time that Pillow takes for a header.

Data sets of 100,000 images are listed with the size of each. Only what nearly all such files begin with is taken; for
anything else, Pillow decides.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

__all__ = ["HEAD_BYTES", "plain_jpeg_size"]

HEAD_BYTES = 2048
_START = b"\xff\xd8\xff"
_SIZES = {0xC0, 0xC1, 0xC2}
_SCAN = 0xDA
_CHANNELS = (1, 3, 4)


def plain_jpeg_size(head: bytes) -> tuple[int, int] | None:
    """Width and height of a JPEG, as Pillow gives them; None where its header is longer or has anything unusual.

    Unusual is what may turn the image (EXIF, XMP), hold others, or is damaged.

    Args:
        head: the first `HEAD_BYTES` bytes of a file.
    """
    if not head.startswith(_START):
        return None
    size, at = None, 2
    while at + 4 <= len(head) and head[at] == 0xFF:
        marker, (length,) = head[at + 1], struct.unpack_from(">H", head, at + 2)
        segment, at = head[at + 4 : at + 2 + length], at + 2 + length
        if at > len(head) or length < 2:
            return None
        if marker == _SCAN:
            return size
        if marker in _SIZES:
            if size is not None or not _is_frame(segment):
                return None
            size = struct.unpack(">HH", segment[3:5] + segment[1:3])
        elif marker not in _USUAL or not _USUAL[marker](segment):
            return None
    return None


def _is_frame(segment: bytes) -> bool:
    """Whether 8 bits, a width, a height, and as many channels as Pillow takes stand there."""
    return len(segment) > 5 and segment[5] in _CHANNELS and len(segment) == 6 + 3 * segment[5] and _is_plain(segment)


def _is_plain(segment: bytes) -> bool:
    return segment[0] == 8 and any(segment[1:3]) and any(segment[3:5])


def _is_quantization(segment: bytes) -> bool:
    """Whether whole tables stand there."""
    at = 0
    while at < len(segment):
        at += 65 if segment[at] < 16 else 129
    return at == len(segment)


def _is_version(segment: bytes) -> bool:
    return len(segment) >= 12


_USUAL: dict[int, Callable[[bytes], bool]] = {
    **{0xC4: lambda _: True, 0xDB: _is_quantization, 0xDD: lambda _: True, 0xFE: lambda _: True},
    **{0xE0: _is_version, 0xEE: _is_version},
}
