"""Videos whose frames change their size: Motion JPEG in AVI, and H.264 of blocks that are not compressed."""

from __future__ import annotations

import io
import struct
from collections.abc import Sequence

import numpy as np
from PIL import Image

Frame = tuple[int, int, int]
"""Width, height, and how bright it is."""


def motion_jpeg(frames: Sequence[Frame], rate: int = 10) -> bytes:
    """An AVI whose header has the size of the first frame."""
    width, height, _ = frames[0]
    images = b"".join(_chunk(b"00dc", _jpeg(*frame)) for frame in frames)
    screen = struct.pack("<14I", 1_000_000 // rate, 0, 0, 0, len(frames), 0, 1, 0, width, height, 0, 0, 0, 0)
    stream = struct.pack(
        "<8s10I4h", b"vidsMJPG", 0, 0, 0, 1, rate, 0, len(frames), 0, 0xFFFFFFFF, 0, 0, 0, width, height
    )
    image = struct.pack("<IiiHH4sIiiII", 40, width, height, 1, 24, b"MJPG", width * height * 3, 0, 0, 0, 0)
    lists = _list(b"hdrl", _chunk(b"avih", screen) + _list(b"strl", _chunk(b"strh", stream) + _chunk(b"strf", image)))
    return _chunk(b"RIFF", b"AVI " + lists + _list(b"movi", images))


def _chunk(kind: bytes, data: bytes) -> bytes:
    return kind + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2)


def _list(kind: bytes, data: bytes) -> bytes:
    return _chunk(b"LIST", kind + data)


def _jpeg(width: int, height: int, brightness: int) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (width, height), (brightness,) * 3).save(stream, "JPEG")
    return stream.getvalue()


def h264(frames: Sequence[Frame]) -> bytes:
    """A stream of key frames whose macroblocks hold samples (I_PCM); sides are multiples of 16."""
    return b"".join(
        _settings(width, height) + _image_settings() + _image(width, height, brightness, number % 2)
        for number, (width, height, brightness) in enumerate(frames)
    )


class _Bits:
    def __init__(self) -> None:
        self.bits: list[int] = []

    def put(self, value: int, count: int) -> None:
        self.bits += [value >> bit & 1 for bit in reversed(range(count))]

    def golomb(self, *values: int) -> None:
        for value in values:
            self.put(value + 1, 2 * (value + 1).bit_length() - 1)

    def align(self) -> None:
        self.bits += [0] * (-len(self.bits) % 8)

    def unit(self, kind: int) -> bytes:
        """A unit with its stop bit; 3 stands between zeros and what would look like the start of another."""
        self.put(1, 1)
        self.align()
        data, zeros = bytearray(), 0
        for byte in np.packbits(np.array(self.bits, np.uint8)).tobytes():
            if zeros >= 2 and byte <= 3:
                data.append(3)
                zeros = 0
            data.append(byte)
            zeros = zeros + 1 if byte == 0 else 0
        return b"\0\0\0\1" + bytes([0x60 | kind]) + bytes(data)


def _settings(width: int, height: int) -> bytes:
    bits = _Bits()
    for byte in (66, 0xC0, 30):  # baseline, level 3
        bits.put(byte, 8)
    bits.golomb(0, 0, 2, 1)
    bits.put(0, 1)
    bits.golomb(width // 16 - 1, height // 16 - 1)
    bits.put(0b1100, 4)  # whole frames, no cropping
    return bits.unit(7)


def _image_settings() -> bytes:
    bits = _Bits()
    bits.golomb(0, 0)
    bits.put(0, 2)
    bits.golomb(0, 0, 0)
    bits.put(0, 3)
    bits.golomb(0, 0, 0)
    bits.put(0, 3)
    return bits.unit(8)


def _image(width: int, height: int, brightness: int, number: int) -> bytes:
    bits = _Bits()
    bits.golomb(0, 7, 0)  # of intra macroblocks alone
    bits.put(0, 4)
    bits.golomb(number)
    bits.put(0, 2)
    bits.golomb(0)
    for _ in range(width // 16 * (height // 16)):
        bits.golomb(25)  # I_PCM
        bits.align()
        for sample in [brightness] * 256 + [128] * 128:
            bits.put(sample, 8)
    return bits.unit(5)
