"""Darknet's ``.weights`` files: read into NumPy arrays and written from them, every byte accounted for.

The format, little-endian: int32 major, minor, revision; the number of training images seen, 64 bits if
``major * 10 + minor >= 2``, else 32; then for each convolution, in order, float32 biases, with batch norm also scales,
rolling means and rolling variances, and the kernels (output, input channel of its group, row, column). Darknet:
src/parser.c load_weights.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from yolo9000.architectures.layers import Architecture, Conv, layer_name
from yolo9000.architectures.weights import BatchNorm, ConvParameters, Model, check_parameters
from yolo9000.errors import WeightsError
from yolo9000.io.files import write_atomically

__all__ = ["Header", "read_weights", "write_weights"]

FLOAT = np.dtype("<f4")


@dataclass(frozen=True)
class Header:
    """Header of a ``.weights`` file.

    Attributes:
        major, minor, revision: version of the format; Darknet writes 0, 2, 0.
        seen: number of training images so far; Darknet's schedule continues from it.
    """

    major: int = 0
    minor: int = 2
    revision: int = 0
    seen: int = 0

    @property
    def wide(self) -> bool:
        """Whether ``seen`` has 64 bits (a header of 20 bytes) rather than 32 (16 bytes)."""
        return self.major * 10 + self.minor >= 2 and self.major < 1000 and self.minor < 1000

    @property
    def size(self) -> int:
        """Bytes of the header: 20 or 16."""
        return 20 if self.wide else 16

    def to_bytes(self) -> bytes:
        """The header as bytes of the file.

        Raises:
            WeightsError: ``seen`` does not fit the bits of the version.
        """
        bits = 64 if self.wide else 32
        if not 0 <= self.seen < 2**bits:
            raise WeightsError(
                f"version {self.major}.{self.minor} counts seen images in {bits} bits, got {self.seen:,}"
            )
        return struct.pack("<iiiQ" if self.wide else "<iiiI", self.major, self.minor, self.revision, self.seen)


def read_weights(path: str | Path, architecture: Architecture, *, partial: bool = False) -> tuple[Header, Model]:
    """Read the weights of a network.

    Args:
        path: the file.
        architecture: the network that the file must fit, to the byte.
        partial: accept a file that ends where a layer ends, e.g. ``darknet19_448.conv.23``, and a file whose last
            convolution has another number of filters, i.e. was trained for other classes; layers that are not in the
            file, and such a last convolution, have None for parameters.

    Raises:
        WeightsError: the file cannot be read, is too short or too long, or has values that are not finite; the message
            names the layer and the bytes.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read: {error.strerror}") from None
    try:
        header = _read_header(data)
        model = _read_layers(data, header.size, architecture, partial)
        check_parameters(model)
    except WeightsError as error:
        raise WeightsError(f"{path}: {error}") from None
    return header, model


def write_weights(path: str | Path, model: Model, header: Header | None = None) -> None:
    """Write a ``.weights`` file; what `read_weights` returned is written byte for byte as it was.

    Layers after the last one that has parameters are left out, as in Darknet's partial files.

    Raises:
        WeightsError: the file cannot be written, or a layer without parameters comes before one with parameters.
    """
    missing = model.missing()
    last = max((i for i, parameters in enumerate(model.parameters) if parameters is not None), default=-1)
    if missing and missing[0] < last:
        raise WeightsError(
            f"{path}: layer {missing[0]} ({layer_name(model.architecture.layers[missing[0]])}): has no weights"
        )
    stored = (parameters for parameters in model.parameters if parameters is not None)
    parts = [array.astype(FLOAT).tobytes() for parameters in stored for array in _in_file_order(parameters)]
    try:
        write_atomically(Path(path), (header or Header()).to_bytes() + b"".join(parts))
    except WeightsError as error:
        raise WeightsError(f"{path}: {error}") from None
    except OSError as error:
        raise WeightsError(f"{path}: cannot be written: {error.strerror}") from None


def _in_file_order(parameters: ConvParameters) -> Iterator[Float32[np.ndarray, ...]]:
    yield parameters.biases
    if parameters.batch_norm is not None:
        yield parameters.batch_norm.scales
        yield parameters.batch_norm.rolling_mean
        yield parameters.batch_norm.rolling_variance
    yield parameters.weights


def _read_header(data: bytes) -> Header:
    if len(data) < 16:
        raise WeightsError(f"must begin with a header of 16 or 20 bytes, the file has {len(data)}")
    major, minor, revision = struct.unpack_from("<iii", data)
    if not (0 <= major < 1000 and 0 <= minor < 1000):
        raise WeightsError(
            f"must begin with Darknet's version, e.g. 0.1 or 0.2, got {major}.{minor}: not a .weights file?"
        )
    header = Header(major, minor, revision)
    if len(data) < header.size:
        raise WeightsError(f"must begin with a header of {header.size} bytes, the file has {len(data)}")
    (seen,) = struct.unpack_from("<Q" if header.wide else "<I", data, 12)
    return Header(major, minor, revision, seen)


def _read_layers(data: bytes, start: int, architecture: Architecture, partial: bool) -> Model:
    floats = np.frombuffer(data, FLOAT, count=(len(data) - start) // 4, offset=start)
    counts, channels = architecture.parameter_counts(), architecture.input_channels()
    parameters: list[ConvParameters | None] = []
    position = 0
    for index, layer in enumerate(architecture.layers):
        left = len(data) - start - 4 * position
        if not isinstance(layer, Conv) or (partial and left == 0 and position > 0):
            parameters.append(None)
            continue
        if partial and left != 4 * counts[index] and _is_last_with_other_filters(architecture, index, left):
            return Model(architecture, (*parameters, *[None] * (len(architecture.layers) - index)))
        if left < 4 * counts[index]:
            raise WeightsError(_too_short(architecture, index, left, len(data) - start))
        parameters.append(_take_conv(floats[position : position + counts[index]], layer, channels[index]))
        position += counts[index]
    left = len(data) - start - 4 * position
    if left:
        raise WeightsError(_too_long(architecture, left))
    return Model(architecture, tuple(parameters))


def _is_last_with_other_filters(architecture: Architecture, index: int, left: int) -> bool:
    """Whether the rest of a file is the network's last convolution, with another number of filters."""
    layer, *later = architecture.layers[index:]
    if not isinstance(layer, Conv) or any(isinstance(other, Conv) for other in later):
        return False
    bytes_per_filter = 4 * architecture.parameter_counts()[index] // layer.filters
    return left > 0 and left % bytes_per_filter == 0


def _take_conv(floats: Float32[np.ndarray, " n"], layer: Conv, channels: int) -> ConvParameters:
    n = layer.filters
    biases, rest = floats[:n], floats[n:]
    batch_norm = None
    if layer.batch_normalize:
        batch_norm = BatchNorm(rest[:n], rest[n : 2 * n], rest[2 * n : 3 * n])
        rest = rest[3 * n :]
    return ConvParameters(rest.reshape(layer.kernel_shape(channels)), biases, batch_norm)


def _too_short(architecture: Architecture, index: int, left: int, have: int) -> str:
    layer, counts = architecture.layers[index], architecture.parameter_counts()
    message = (
        f"layer {index} ({layer_name(layer)}) needs {4 * counts[index]:,} bytes, {left:,} are left: "
        f"the network needs {4 * sum(counts):,} bytes after the header, the file has {have:,}"
    )
    if have == 4 * sum(architecture.parameter_counts()) - 12 * _filters(architecture, batch_normalize=True):
        message += "; it would fit without batch_normalize=1"
    elif left == 0 < have:
        message += "; it ends where a layer ends, so it may be partial weights"
    return message


def _too_long(architecture: Architecture, left: int) -> str:
    last = max((i for i, layer in enumerate(architecture.layers) if isinstance(layer, Conv)), default=None)
    if last is None:
        return f"{left:,} bytes are left after the header, and the network has no layer with parameters"
    message = (
        f"{left:,} bytes are left after the last layer, {last} ({layer_name(architecture.layers[last])}): "
        f"the network needs {4 * sum(architecture.parameter_counts()):,} bytes after the header"
    )
    if left == 12 * _filters(architecture, batch_normalize=False, up_to=last):
        message += "; it would fit with batch_normalize=1 in every layer but the last"
    return message


def _filters(architecture: Architecture, *, batch_normalize: bool, up_to: int | None = None) -> int:
    layers = architecture.layers[:up_to]
    return sum(
        layer.filters for layer in layers if isinstance(layer, Conv) and layer.batch_normalize == batch_normalize
    )
