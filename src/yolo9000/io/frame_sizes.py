"""Video files whose frames change their size: where they do, and the frames from there on in their own size.

OpenCV scales all frames of a file to one size. The packets that it gives undecoded say which size follows; those of
each size are written into a file of their own, which is opened as another video. Recordings of calls, of television and
of adaptive streams change so.
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

__all__ = ["OwnSizes", "Stretch"]

_UNIT = (
    rb"\x00\x00\x01([%s].*?)(?=\x00\x00\x01|\x00\x00\x00|$)"  # of H.264 and H.265, by the first bytes that it may have
)
_SEQUENCE = re.compile(rb"\x00\x00\x01\xb3(...)", re.DOTALL)
_H264_SETTINGS = re.compile(_UNIT % rb"\x07\x27\x47\x67", re.DOTALL)
_H265_SETTINGS = re.compile(_UNIT % rb"\x42", re.DOTALL)
_VP8_START = b"\x9d\x01\x2a"
_VP9_START = b"\x49\x83\x42"


def _all_of(pattern: re.Pattern[bytes]) -> Callable[[bytes], bytes]:
    return lambda packet: b"".join(pattern.findall(packet))


def _of_jpeg(packet: bytes) -> bytes:
    return repr(plain_jpeg_size(packet[:HEAD_BYTES])).encode()


def _of_vp8(packet: bytes) -> bytes:
    return packet[6:10] if packet[3:6] == _VP8_START and not packet[0] & 1 else b""


def _of_vp9(packet: bytes) -> bytes:
    return packet[4:9] if packet[1:4] == _VP9_START else b""


@dataclass(frozen=True)
class _Codec:
    """A codec whose frames may change their size.

    Attributes:
        said_in: what a packet says of the size of the frames from it on; no bytes: nothing.
        held_back: how many frames a decoder may hold back, since they are shown out of order; some drop them where the
            size changes.
        is_framed: whether nothing but a container says where a packet ends.
    """

    said_in: Callable[[bytes], bytes]
    held_back: int = 0
    is_framed: bool = False


_CODECS: dict[str, _Codec] = {
    **dict.fromkeys(("h264", "H264", "avc1", "AVC1"), _Codec(_all_of(_H264_SETTINGS), held_back=16)),
    **dict.fromkeys(("hevc", "HEVC", "hvc1", "hev1", "H265"), _Codec(_all_of(_H265_SETTINGS), held_back=16)),
    **dict.fromkeys(("mpg1", "mpg2", "MPG1", "MPG2", "PIM1"), _Codec(_all_of(_SEQUENCE), held_back=1)),
    "MJPG": _Codec(_of_jpeg),
    "VP80": _Codec(_of_vp8, is_framed=True),
    "VP90": _Codec(_of_vp9, is_framed=True),
}
"""By the code that OpenCV gives."""
_LARGEST_GROUP = 64 << 20  # bytes


@dataclass(frozen=True)
class Stretch:
    """Frames of one size within a video.

    Attributes:
        file: a video of these frames and some before them, there until the next stretch is asked for.
        seconds: time stamp of each frame in the whole video, rising.
        before: number of frames in the file that are not part of the stretch.
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
    """Packets that can be decoded alone; none where they are too many to be kept."""

    packets: list[_Packet] = field(default_factory=list)
    size: int = 0

    def add(self, packet: _Packet) -> None:
        self.size += len(packet.data)
        if self.size <= _LARGEST_GROUP:
            self.packets.append(packet)
        else:
            self.packets.clear()


class OwnSizes:
    """The packets of a video file, read beside its frames.

    Args:
        path: the file.
        capture: the same file, opened to be decoded: gives the codec and the size that OpenCV scales to.
    """

    def __init__(self, path: Path, capture: cv2.VideoCapture) -> None:
        import cv2

        self._name = int(capture.get(cv2.CAP_PROP_FOURCC)).to_bytes(4, "little", signed=True).decode("latin-1")
        self._codec = _CODECS.get(self._name, _Codec(lambda packet: b""))
        width, height = int(capture.get(cv2.CAP_PROP_FRAME_WIDTH)), int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT))
        on_side = capture.get(cv2.CAP_PROP_ORIENTATION_META) % 180 == 90
        self._size_wh = (height, width) if on_side else (width, height)
        self._said = b""
        self._group = _Group()
        self._shown = 0
        self._changed: _Packet | None = None
        self._packets = _packets(path, self._name) if self._name in _CODECS else iter(())

    def change_at(self, frame: int) -> bool:
        """Whether the frames from an index on, in their size, come from `stretches`; asked for rising indices."""
        while self._changed is None and self._shown <= frame + self._codec.held_back:
            packet = next(self._packets, None)
            if packet is None:
                return False
            if self._is_resized(packet):
                self._changed = packet
            else:
                self._shown += packet.is_shown
                self._keep(packet)
        return self._changed is not None and frame >= self._shown - self._tail

    @property
    def _tail(self) -> int:
        """How many frames before the change the decoder may lose there."""
        return min(self._codec.held_back, len(self._group.packets))

    def _keep(self, packet: _Packet) -> None:
        """Keep the packets from the last one on that can be decoded without those before it."""
        if not self._codec.held_back:
            return
        if self._codec.said_in(packet.data):
            self._group = _Group()
        self._group.add(packet)

    def stretches(self) -> Iterator[Stretch]:
        """The rest of the video from the frame on for which `change_at` was true; nothing where it never was.

        Raises:
            DataError: the temporary folder cannot hold it.
        """
        if self._changed is not None and self._tail:
            with self._file() as file:
                seconds = sorted(self._write(file, iter(self._group.packets)))
                yield Stretch(file, seconds[-self._tail :], len(seconds) - self._tail)
        while self._changed is not None:
            first, self._changed = self._changed, None
            with self._file() as file:
                yield Stretch(file, sorted(self._write(file, chain([first], self._packets))))

    @contextmanager
    def _file(self) -> Iterator[Path]:
        with tempfile.TemporaryDirectory() as folder, writing(folder):
            yield Path(folder) / "frames"

    def _write(self, file: Path, packets: Iterator[_Packet]) -> Iterator[float]:
        """Write packets up to one of another size; the time stamps of those that are shown."""
        with file.open("wb") as out:
            out.write(self._head())
            for number, packet in enumerate(packets):
                if number and self._is_resized(packet):
                    self._changed = packet
                    return
                out.write(self._framed(packet.data))
                if packet.is_shown:
                    yield packet.seconds

    def _is_resized(self, packet: _Packet) -> bool:
        said = self._codec.said_in(packet.data)
        if not said or said == self._said:
            return False
        size_wh, self._said = self._size_of(packet), said
        if size_wh is None or size_wh == self._size_wh:
            return False
        self._size_wh = size_wh
        return True

    def _size_of(self, packet: _Packet) -> tuple[int, int] | None:
        """The size of a frame that says it, as a video of its own; None where it cannot be opened."""
        import cv2

        with self._file() as file:
            file.write_bytes(self._head() + self._framed(packet.data))
            capture = cv2.VideoCapture(str(file), cv2.CAP_FFMPEG)
            try:
                size_wh = int(capture.get(cv2.CAP_PROP_FRAME_WIDTH)), int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT))
                return size_wh if capture.isOpened() and min(size_wh) > 0 else None
            finally:
                capture.release()

    def _head(self) -> bytes:
        """What a file of packets begins with: IVF's head."""
        head = struct.pack("<4sHH4sHHIII4x", b"DKIF", 0, 32, self._name.encode("latin-1"), 0, 0, 30, 1, 0)
        return head if self._codec.is_framed else b""

    def _framed(self, data: bytes) -> bytes:
        return struct.pack("<IQ", len(data), 0) + data if self._codec.is_framed else data


def _packets(path: Path, name: str) -> Iterator[_Packet]:
    import cv2

    capture = cv2.VideoCapture(str(path.absolute()), cv2.CAP_FFMPEG, [cv2.CAP_PROP_FORMAT, -1])
    try:
        while capture.grab():
            data = capture.retrieve()[1].tobytes()
            is_shown = name != "VP80" or bool(data and data[0] >> 4 & 1)
            yield _Packet(data, capture.get(cv2.CAP_PROP_POS_MSEC) / 1000, is_shown)
    finally:
        capture.release()
