"""Video files whose frames change their size: where they do, and the frames from there on in their own size.

OpenCV scales all frames of a file to one size. It also gives the packets of a file undecoded, and these say which size
follows. The packets of each size are written to a file of their own, which is decoded as another video. Recordings of
calls, of television and of adaptive streams change so.
"""

from __future__ import annotations

import re
import struct
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from yolo9000.io.files import writing
from yolo9000.io.jpeg_header import HEAD_BYTES, plain_jpeg_size

if TYPE_CHECKING:
    import cv2

__all__ = ["Segment", "SizeChanges"]

_MAX_GROUP_BYTES = 64 << 20
_IVF_HEADER, _IVF_PACKET = struct.Struct("<4sHH4sHHIII4x"), struct.Struct("<IQ")

# Sequence headers, which have the size among other things. Those of H.264 and H.265 are units of the stream, known by
# their first byte; a unit ends where the next one starts.
_UNIT = rb"\x00\x00\x01([%s].*?)(?=\x00\x00\x01|\x00\x00\x00|$)"
_H264_SEQUENCE = re.compile(_UNIT % rb"\x07\x27\x47\x67", re.DOTALL)
_H265_SEQUENCE = re.compile(_UNIT % rb"\x42", re.DOTALL)
_MPEG_SEQUENCE = re.compile(rb"\x00\x00\x01\xb3(...)", re.DOTALL)
_VP8_START_CODE = b"\x9d\x01\x2a"
_VP9_SYNC_CODE = b"\x49\x83\x42"


def _matches_of(pattern: re.Pattern[bytes]) -> Callable[[bytes], bytes]:
    return lambda packet: b"".join(pattern.findall(packet))


def _jpeg_header(packet: bytes) -> bytes:
    return repr(plain_jpeg_size(packet[:HEAD_BYTES])).encode()


def _vp8_header(packet: bytes) -> bytes:
    return packet[6:10] if packet[3:6] == _VP8_START_CODE and not packet[0] & 1 else b""


def _vp9_header(packet: bytes) -> bytes:
    return packet[4:9] if packet[1:4] == _VP9_SYNC_CODE else b""


@dataclass(frozen=True)
class _Codec:
    """A codec whose frames may change their size.

    Attributes:
        header_of: the part of a packet that has the size of the frames from it on; empty where it has none. Only where
            this differs from the last one can the size differ.
        delay: how many frames a decoder may hold back to give them in the order in which they are shown; some decoders
            lose them where the size changes.
        needs_container: whether nothing but a container separates its packets.
    """

    header_of: Callable[[bytes], bytes]
    delay: int = 0
    needs_container: bool = False


_CODECS: dict[str, _Codec] = {
    **dict.fromkeys(("h264", "H264", "avc1", "AVC1"), _Codec(_matches_of(_H264_SEQUENCE), delay=16)),
    **dict.fromkeys(("hevc", "HEVC", "hvc1", "hev1", "H265"), _Codec(_matches_of(_H265_SEQUENCE), delay=16)),
    **dict.fromkeys(("mpg1", "mpg2", "MPG1", "MPG2", "PIM1"), _Codec(_matches_of(_MPEG_SEQUENCE), delay=1)),
    "MJPG": _Codec(_jpeg_header),
    "VP80": _Codec(_vp8_header, needs_container=True),
    "VP90": _Codec(_vp9_header, needs_container=True),
}
"""By the code that OpenCV gives."""
_OF_ONE_SIZE = _Codec(lambda packet: b"")


@dataclass(frozen=True)
class Segment:
    """Frames of one size within a video.

    Attributes:
        file: a video of these frames and some before them, there until the next segment is asked for.
        seconds: time stamp of each frame in the whole video, rising.
        before: number of frames in the file that are not part of the segment.
    """

    file: Path
    seconds: list[float]
    before: int = 0


@dataclass(frozen=True)
class _Packet:
    data: bytes
    seconds: float
    is_shown: bool


@dataclass
class _Group:
    """Packets from a sequence header on, which can be decoded alone; none where they are too large to be kept."""

    packets: list[_Packet] = field(default_factory=list)
    size: int = 0

    def add(self, packet: _Packet) -> None:
        self.size += len(packet.data)
        self.packets.append(packet)
        if self.size > _MAX_GROUP_BYTES:
            self.packets.clear()


class SizeChanges:
    """Finds changes of the size in the packets of a video file, which are read beside its frames.

    Args:
        path: the file.
        capture: the same file, opened to be decoded: gives the codec and the size that OpenCV scales to.
    """

    def __init__(self, path: Path, capture: cv2.VideoCapture) -> None:
        import cv2

        self._code = int(capture.get(cv2.CAP_PROP_FOURCC)).to_bytes(4, "little", signed=True).decode("latin-1")
        self._codec = _CODECS.get(self._code, _OF_ONE_SIZE)
        self._packets = _packets_in(path, self._code) if self._code in _CODECS else iter(())
        width, height = _size_of(capture)
        is_turned = capture.get(cv2.CAP_PROP_ORIENTATION_META) % 180 == 90
        self._size_wh = (height, width) if is_turned else (width, height)
        self._header = b""
        self._group = _Group()
        self._shown = 0
        self._changed: _Packet | None = None

    def come_before(self, frame: int) -> bool:
        """Whether `segments` gives the frame of an index, and all after it; asked for rising indices."""
        while self._changed is None and self._shown <= frame + self._codec.delay:
            packet = next(self._packets, None)
            if packet is None:
                return False
            if self._is_resized(packet):
                self._changed = packet
            else:
                self._shown += packet.is_shown
                self._keep(packet)
        return self._changed is not None and frame >= self._shown - self._delayed

    @property
    def _delayed(self) -> int:
        """How many frames before the change the decoder may lose."""
        return min(self._codec.delay, len(self._group.packets))

    def _keep(self, packet: _Packet) -> None:
        if not self._codec.delay:
            return
        if self._codec.header_of(packet.data):
            self._group = _Group()
        self._group.add(packet)

    def segments(self) -> Iterator[Segment]:
        """The rest of the video from the frame on for which `come_before` was true; nothing where it never was.

        Raises:
            DataError: the temporary folder cannot hold it.
        """
        if self._changed is not None and self._delayed:
            with self._file() as file:
                seconds = sorted(self._write(file, iter(self._group.packets)))
                yield Segment(file, seconds[-self._delayed :], len(seconds) - self._delayed)
        while self._changed is not None:
            first, self._changed = self._changed, None
            with self._file() as file:
                yield Segment(file, sorted(self._write(file, chain([first], self._packets))))

    @contextmanager
    def _file(self) -> Iterator[Path]:
        with tempfile.TemporaryDirectory() as folder, writing(folder):
            yield Path(folder) / "frames"

    def _write(self, file: Path, packets: Iterator[_Packet]) -> Iterator[float]:
        """Write packets up to one of another size; the time stamps of those that are shown."""
        with file.open("wb") as out:
            out.write(self._file_header())
            for number, packet in enumerate(packets):
                if number and self._is_resized(packet):
                    self._changed = packet
                    return
                out.write(self._framed(packet.data))
                if packet.is_shown:
                    yield packet.seconds

    def _is_resized(self, packet: _Packet) -> bool:
        header = self._codec.header_of(packet.data)
        if not header or header == self._header:
            return False
        size_wh, self._header = self._decoded_size(packet), header
        if size_wh is None or size_wh == self._size_wh:
            return False
        self._size_wh = size_wh
        return True

    def _decoded_size(self, packet: _Packet) -> tuple[int, int] | None:
        """The size of the frame in a packet with a header; None where it cannot be decoded."""
        import cv2

        with self._file() as file:
            file.write_bytes(self._file_header() + self._framed(packet.data))
            capture = cv2.VideoCapture(str(file), cv2.CAP_FFMPEG)
            try:
                size_wh = _size_of(capture)
                return size_wh if capture.isOpened() and min(size_wh) > 0 else None
            finally:
                capture.release()

    def _file_header(self) -> bytes:
        """IVF's, where a container is needed."""
        header = _IVF_HEADER.pack(b"DKIF", 0, 32, self._code.encode("latin-1"), 0, 0, 30, 1, 0)
        return header if self._codec.needs_container else b""

    def _framed(self, data: bytes) -> bytes:
        return _IVF_PACKET.pack(len(data), 0) + data if self._codec.needs_container else data


def _size_of(capture: cv2.VideoCapture) -> tuple[int, int]:
    import cv2

    return int(capture.get(cv2.CAP_PROP_FRAME_WIDTH)), int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT))


def _packets_in(path: Path, code: str) -> Iterator[_Packet]:
    import cv2

    capture = cv2.VideoCapture(str(path.absolute()), cv2.CAP_FFMPEG, [cv2.CAP_PROP_FORMAT, -1])
    try:
        while capture.grab():
            data = capture.retrieve()[1].tobytes()
            is_shown = code != "VP80" or bool(data and data[0] >> 4 & 1)
            yield _Packet(data, capture.get(cv2.CAP_PROP_POS_MSEC) / 1000, is_shown)
    finally:
        capture.release()
