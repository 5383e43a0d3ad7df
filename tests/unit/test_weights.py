"""``.weights`` files byte by byte; folding batch norm, splitting heads, quantization."""

from __future__ import annotations

import math
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from yolo9000.architectures.layers import Architecture, AvgPool, Conv, Layer, MaxPool, Region, Route, Shortcut, Softmax
from yolo9000.architectures.weights import (
    BatchNorm,
    ConvParameters,
    Model,
    check_parameters,
    dequantize,
    fold_batch_norm,
    has_wide_head,
    quantize,
    split_head,
)
from yolo9000.checkpoints.darknet.weights import Header, read_weights, write_weights
from yolo9000.errors import ConfigError, WeightsError

SHORT = bytes.fromhex("00000000 01000000 00000000 07000000")  # version 0.1, 7 images in 32 bits
LONG = bytes.fromhex("00000000 02000000 00000000 01000000 01000000")  # version 0.2, 2^32 + 1 images in 64

# 6 x 4 pixels of 2 channels. Layer 0: 3 x 2 x 2 x 2 = 24 kernel weights and 4 x 3; layer 2: 2 x 3 and 2.
ARCHITECTURE = Architecture(
    (Conv(3, size=2, padding=0), MaxPool(), Conv(2, 1, 1, 0, False, "linear")), width=6, height=4, channels=2
)
FLOATS = 24 + 12 + 6 + 2


def floats(count: int = FLOATS) -> np.ndarray:
    """0, 1, 2, ... as they would stand in a file."""
    return np.arange(count, dtype="<f4")


def save(folder: Path, data: bytes) -> Path:
    file = folder / "net.weights"
    file.write_bytes(data)
    return file


def failure(folder: Path, data: bytes, architecture: Architecture = ARCHITECTURE, *, partial: bool = False) -> str:
    """The message for a file that must be refused, without the file's name."""
    file = save(folder, data)
    with pytest.raises(WeightsError) as caught:
        read_weights(file, architecture, partial=partial)
    message = str(caught.value)
    assert message.startswith(f"{file}: ")
    assert len(message.splitlines()) == 1
    return message.removeprefix(f"{file}: ")


def test_order_of_the_values(tmp_path) -> None:
    header, model = read_weights(save(tmp_path, LONG + floats().tobytes()), ARCHITECTURE)
    assert header == Header(0, 2, 0, 2**32 + 1)
    first, pool, last = model.parameters
    assert pool is None
    assert first is not None
    assert first.batch_norm is not None
    np.testing.assert_array_equal(first.biases, [0, 1, 2])
    np.testing.assert_array_equal(first.batch_norm.scales, [3, 4, 5])
    np.testing.assert_array_equal(first.batch_norm.rolling_mean, [6, 7, 8])
    np.testing.assert_array_equal(first.batch_norm.rolling_variance, [9, 10, 11])
    assert first.weights.shape == (3, 2, 2, 2)
    assert first.weights[1, 0, 1, 0] == 12 + 1 * 8 + 0 * 4 + 1 * 2 + 0
    assert first.weights[2, 1, 0, 1] == 12 + 2 * 8 + 1 * 4 + 0 * 2 + 1
    assert last is not None
    assert last.batch_norm is None
    np.testing.assert_array_equal(last.biases, [36, 37])
    np.testing.assert_array_equal(last.weights[:, :, 0, 0], [[38, 39, 40], [41, 42, 43]])
    assert model.missing() == []


@pytest.mark.parametrize(
    ("version", "size", "seen"),
    [
        ((0, 0, 0), 16, 2**32 - 1),
        ((0, 1, 0), 16, 7),
        ((0, 1, 9), 16, 0),
        ((0, 2, 0), 20, 7),
        ((0, 2, 5), 20, 2**32),
        ((0, 3, 0), 20, 2**64 - 1),
        ((1, 0, 0), 20, 2**40),
        ((999, 999, 0), 20, 1),
    ],
)
def test_headers(version: tuple[int, int, int], size: int, seen: int, tmp_path) -> None:
    head = struct.pack("<3i", *version) + seen.to_bytes(size - 12, "little")
    file = save(tmp_path, head + floats().tobytes())
    header, model = read_weights(file, ARCHITECTURE)
    assert header == Header(*version, seen)
    assert header.size == size == len(header.to_bytes())
    assert header.to_bytes() == head
    write_weights(tmp_path / "again.weights", model, header)
    assert (tmp_path / "again.weights").read_bytes() == file.read_bytes()


def test_new_files_have_darknets_version(tmp_path) -> None:
    _, model = read_weights(save(tmp_path, LONG + floats().tobytes()), ARCHITECTURE)
    write_weights(tmp_path / "new.weights", model)
    assert (tmp_path / "new.weights").read_bytes() == struct.pack("<3iQ", 0, 2, 0, 0) + floats().tobytes()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "must begin with a header of 16 or 20 bytes, the file has 0"),
        (SHORT[:15], "must begin with a header of 16 or 20 bytes, the file has 15"),
        (LONG[:16], "must begin with a header of 20 bytes, the file has 16"),
        (LONG[:19], "must begin with a header of 20 bytes, the file has 19"),
        (
            struct.pack("<3iQ", 0, 1000, 0, 0),
            "must begin with Darknet's version, e.g. 0.1 or 0.2, got 0.1000: not a",
        ),
        (
            struct.pack("<3iQ", -1, 2, 0, 0),
            "must begin with Darknet's version, e.g. 0.1 or 0.2, got -1.2: not a .wei",
        ),
        (b"[net]\nwidth=416\nheight=416\n", f"got {0x74656E5B}.{0x69770A5D}: not a .weights file?"),
    ],
)
def test_bad_headers(data: bytes, message: str, tmp_path) -> None:
    assert message in failure(tmp_path, data)


@pytest.mark.parametrize("head", [SHORT, LONG], ids=["short", "long"])
def test_header_only(head: bytes, tmp_path) -> None:
    message = (
        "layer 0 (convolutional 2x2, 3 filters) needs 144 bytes, 0 are left: "
        "the network needs 176 bytes after the header, the file has 0"
    )
    assert failure(tmp_path, head) == message
    assert failure(tmp_path, head, partial=True) == message


def test_short_files_name_the_layer_and_the_bytes(tmp_path) -> None:
    data = floats().tobytes()
    needs = "the network needs 176 bytes after the header, the file has"
    first, last = "layer 0 (convolutional 2x2, 3 filters)", "layer 2 (convolutional 1x1, 2 filters)"
    assert failure(tmp_path, LONG + data[:3]) == f"{first} needs 144 bytes, 3 are left: {needs} 3"
    assert failure(tmp_path, LONG + data[:143]) == f"{first} needs 144 bytes, 143 are left: {needs} 143"
    assert failure(tmp_path, LONG + data[:172]) == f"{last} needs 32 bytes, 28 are left: {needs} 172"
    assert failure(tmp_path, LONG + data[:175]) == f"{last} needs 32 bytes, 31 are left: {needs} 175"
    assert failure(tmp_path, SHORT + data[:144]) == (
        f"{last} needs 32 bytes, 0 are left: {needs} 144; it ends where a layer ends, so it may be partial weights"
    )


def test_bytes_are_written_with_commas(tmp_path) -> None:
    architecture = Architecture((Conv(500, size=3),), width=6, height=4)  # 500 * 27 + 4 * 500 = 15,500 parameters
    assert "needs 62,000 bytes, 1,004 are left" in failure(tmp_path, LONG + floats(251).tobytes(), architecture)


@pytest.mark.parametrize("extra", [1, 3, 4, 20, 1000])
def test_long_files(extra: int, tmp_path) -> None:
    assert failure(tmp_path, SHORT + floats().tobytes() + bytes(extra)) == (
        f"{extra:,} bytes are left after the last layer, 2 (convolutional 1x1, 2 filters): "
        "the network needs 176 bytes after the header"
    )


def test_64_bit_values_after_a_short_header(tmp_path) -> None:
    """A file that says 0.1 but counts in 64 bits is 4 bytes too long, and one that says 0.2 too short."""
    assert failure(tmp_path, SHORT + bytes(4) + floats().tobytes()).startswith("4 bytes are left after the last layer")
    assert "needs 32 bytes, 28 are left" in failure(tmp_path, LONG[:16] + floats().tobytes())


def without_batch_norm(architecture: Architecture, *indices: int) -> Architecture:
    layers = [
        replace(layer, batch_normalize=False) if i in indices else layer for i, layer in enumerate(architecture.layers)
    ]
    return replace(architecture, layers=tuple(layers))


# Three convolutions, so that "every layer but the last" is more than one: 5 * 2 * 9 = 90, 5 * 5 = 25, 4 * 5 = 20.
THREE = replace(
    ARCHITECTURE, layers=(Conv(5), Conv(5, size=1, padding=0), MaxPool(), Conv(4, 1, 1, 0, False, "linear"))
)


def test_hint_that_batch_norm_is_too_much(tmp_path) -> None:
    plain = without_batch_norm(THREE, 0, 1)
    count = 90 + 5 + 25 + 5 + 20 + 4
    assert sum(plain.parameter_counts()) == count
    read_weights(save(tmp_path, LONG + floats(count).tobytes()), plain)
    assert failure(tmp_path, LONG + floats(count).tobytes(), THREE) == (
        # of the 596 bytes layer 0 takes 4 * (90 + 20) = 440
        "layer 1 (convolutional 1x1, 5 filters) needs 180 bytes, 156 are left: the network needs 716 bytes "
        "after the header, the file has 596; it would fit without batch_normalize=1"
    )
    assert "would fit" not in failure(tmp_path, LONG + floats(count + 1).tobytes(), THREE)
    assert "would fit" not in failure(tmp_path, LONG + floats(count - 1).tobytes(), THREE)


def test_hint_that_batch_norm_is_missing(tmp_path) -> None:
    plain = without_batch_norm(THREE, 0, 1)
    count = 90 + 20 + 25 + 20 + 20 + 4
    assert sum(THREE.parameter_counts()) == count
    read_weights(save(tmp_path, LONG + floats(count).tobytes()), THREE)
    assert failure(tmp_path, LONG + floats(count).tobytes(), plain) == (
        "120 bytes are left after the last layer, 3 (convolutional 1x1, 4 filters): the network needs 596 bytes "
        "after the header; it would fit with batch_normalize=1 in every layer but the last"
    )
    assert "would fit" not in failure(tmp_path, LONG + floats(count + 1).tobytes(), plain)
    assert "would fit" not in failure(tmp_path, LONG + floats(count - 1).tobytes(), plain)


def test_network_without_parameters(tmp_path) -> None:
    architecture = Architecture((MaxPool(), AvgPool()), width=6, height=4)
    header, model = read_weights(save(tmp_path, LONG), architecture)
    assert (header.seen, model.parameters) == (2**32 + 1, (None, None))
    assert failure(tmp_path, LONG + bytes(8), architecture) == (
        "8 bytes are left after the header, and the network has no layer with parameters"
    )


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize(
    ("index", "layer", "name", "size"),
    [
        (1, "layer 0 (convolutional 2x2, 3 filters)", "biases", 3),
        (4, "layer 0 (convolutional 2x2, 3 filters)", "scales", 3),
        (6, "layer 0 (convolutional 2x2, 3 filters)", "rolling_mean", 3),
        (11, "layer 0 (convolutional 2x2, 3 filters)", "rolling_variance", 3),
        (35, "layer 0 (convolutional 2x2, 3 filters)", "weights", 24),
        (36, "layer 2 (convolutional 1x1, 2 filters)", "biases", 2),
        (43, "layer 2 (convolutional 1x1, 2 filters)", "weights", 6),
    ],
)
def test_values_that_are_not_finite(index: int, layer: str, name: str, size: int, bad: float, tmp_path) -> None:
    values = floats()
    values[index] = bad
    assert failure(tmp_path, LONG + values.tobytes()) == (
        f"{layer}: {name} must be finite, got 1 of {size} values (4 bytes) that are not"
    )


def test_no_value_is_finite(tmp_path) -> None:
    message = failure(tmp_path, LONG + b"\xff" * 176)
    assert message.endswith("weights must be finite, got 24 of 24 values (96 bytes) that are not")


def test_negative_variance(tmp_path) -> None:
    values = floats()
    values[10] = -0.25
    assert failure(tmp_path, LONG + values.tobytes()) == (
        "layer 0 (convolutional 2x2, 3 filters): rolling_variance must not be negative, got -0.25"
    )
    values[10] = -0.0  # no less than 0
    _, model = read_weights(save(tmp_path, LONG + values.tobytes()), ARCHITECTURE)
    assert model.missing() == []


def test_files_that_cannot_be_read(tmp_path) -> None:
    for path, reason in [(tmp_path / "none.weights", "No such file or directory"), (tmp_path, "Is a directory")]:
        with pytest.raises(WeightsError) as caught:
            read_weights(path, ARCHITECTURE)
        assert str(caught.value) == f"{path}: cannot be read: {reason}"


@settings(max_examples=100, deadline=None)
@given(st.sampled_from([b"", SHORT, LONG, SHORT + floats().tobytes()[:144]]), st.binary(max_size=200), st.booleans())
def test_random_bytes(tmp_path_factory: pytest.TempPathFactory, head: bytes, data: bytes, partial: bool) -> None:
    file = save(tmp_path_factory.getbasetemp(), head + data)
    try:
        header, model = read_weights(file, ARCHITECTURE, partial=partial)
    except WeightsError as error:
        message = str(error)
    else:  # whatever is taken for weights must account for every byte, or for all but the filters of other classes
        write_weights(file.with_suffix(".again"), model, header)
        again = file.with_suffix(".again").read_bytes()
        assert (head + data).startswith(again)
        rest = len(head + data) - len(again)
        assert rest == 0 or (partial and model.missing() == [2] and rest % 16 == 0 and rest != 32)
        return
    assert message.startswith(f"{file}: ")
    assert len(message.splitlines()) == 1


# Partial files


def test_partial_file_ends_where_a_layer_ends(tmp_path) -> None:
    data = SHORT + floats(36).tobytes()
    header, model = read_weights(save(tmp_path, data), ARCHITECTURE, partial=True)
    assert [parameters is not None for parameters in model.parameters] == [True, False, False]
    assert model.missing() == [2]
    write_weights(tmp_path / "again.weights", model, header)
    assert (tmp_path / "again.weights").read_bytes() == data


def test_whole_file_may_be_read_as_partial(tmp_path) -> None:
    _, model = read_weights(save(tmp_path, SHORT + floats().tobytes()), ARCHITECTURE, partial=True)
    assert model.missing() == []


def test_partial_file_must_still_fit(tmp_path) -> None:
    message = failure(tmp_path, SHORT + floats(37).tobytes(), partial=True)
    assert message.startswith("layer 2 (convolutional 1x1, 2 filters) needs 32 bytes, 4 are left")
    assert "needs 144 bytes, 140 are left" in failure(tmp_path, SHORT + floats(35).tobytes(), partial=True)
    assert "4 bytes are left after" in failure(tmp_path, SHORT + floats(45).tobytes(), partial=True)
    assert "2 are left" in failure(tmp_path, SHORT + floats(36).tobytes() + b"\0\0", partial=True)


# Writing


def model_of(architecture: Architecture, seed: int = 0) -> Model:
    """A model of random bits, finite and variances not negative, of every size from subnormal to huge."""
    rng = np.random.default_rng(seed)

    def bits(*shape: int) -> np.ndarray:
        values = rng.integers(0, 2**32, shape, np.uint32).view(np.float32)
        return np.where(np.isfinite(values), values, np.float32(1))

    parameters: list[ConvParameters | None] = []
    for layer, channels in zip(architecture.layers, architecture.input_channels(), strict=True):
        if not isinstance(layer, Conv):
            parameters.append(None)
            continue
        n = layer.filters
        norm = BatchNorm(bits(n), bits(n), np.abs(bits(n))) if layer.batch_normalize else None
        parameters.append(ConvParameters(bits(*layer.kernel_shape(channels)), bits(n), norm))
    return Model(architecture, tuple(parameters))


def arrays(model: Model) -> list[np.ndarray]:
    arrays = []
    for parameters in model.parameters:
        if parameters is not None:
            arrays += [parameters.weights, parameters.biases]
            arrays += vars(parameters.batch_norm).values() if parameters.batch_norm is not None else []
    return arrays


ROWS = st.lists(
    st.one_of(
        st.tuples(st.just(Conv), st.integers(1, 5), st.integers(1, 3), st.booleans()),
        st.tuples(st.just(MaxPool)),
        st.tuples(st.just(Route)),
    ),
    min_size=1,
    max_size=6,
)


def table_of(plan: list[tuple]) -> Architecture:
    layers: list[Layer] = [Conv(2)]
    for kind, *values in plan:
        if kind is Conv:
            filters, size, normalize = values
            layers.append(Conv(filters, size, 1, size // 2, normalize))
        else:
            layers.append(MaxPool(2, 1) if kind is MaxPool else Route((-1, -1)))
    return Architecture(tuple(layers), width=7, height=5, channels=2)


@settings(max_examples=60, deadline=None)
@given(ROWS, st.integers(0, 2**32), st.integers(0, 2**64 - 1), st.sampled_from([(0, 1), (0, 2), (3, 7)]))
def test_round_trip(
    tmp_path_factory: pytest.TempPathFactory, plan: list[tuple], seed: int, seen: int, version: tuple[int, int]
) -> None:
    model = model_of(table_of(plan), seed)
    header = Header(*version, 0, seen if version != (0, 1) else seen % 2**32)
    file = tmp_path_factory.getbasetemp() / "round.weights"
    write_weights(file, model, header)
    assert file.stat().st_size == header.size + 4 * sum(model.architecture.parameter_counts())
    again_header, again = read_weights(file, model.architecture)
    assert again_header == header
    assert again.missing() == []
    for ours, theirs in zip(arrays(model), arrays(again), strict=True):
        np.testing.assert_array_equal(ours.view(np.uint32), theirs.view(np.uint32))


def test_grouped_kernels_read_their_own_channels(tmp_path) -> None:
    """Darknet: n * (c / groups) * size^2 weights. Two layers with 2 filters of 1 channel each, 1x1 and 3x3."""
    architecture = Architecture(
        (Conv(2, 1, 1, 0, False, "linear", groups=2), Conv(2, 3, 1, 1, groups=2), Shortcut(0)),
        width=6,
        height=4,
        channels=2,
    )
    assert architecture.parameter_counts() == [2 + 2, 2 + 3 * 2 + 2 * 9, 0]
    _, model = read_weights(save(tmp_path, LONG + floats(30).tobytes()), architecture)
    scale, depthwise, shortcut = model.parameters
    assert scale is not None
    assert depthwise is not None
    assert shortcut is None
    np.testing.assert_array_equal(scale.weights, np.array([2, 3]).reshape(2, 1, 1, 1))
    np.testing.assert_array_equal(depthwise.biases, [4, 5])
    np.testing.assert_array_equal(depthwise.weights, np.arange(12, 30).reshape(2, 1, 3, 3))
    folded = fold_batch_norm(model).parameters[1]
    assert folded is not None
    factor = np.array([6 / math.sqrt(10 + 1e-5), 7 / math.sqrt(11 + 1e-5)])  # scales 6, 7; variances 10, 11
    np.testing.assert_allclose(folded.weights, depthwise.weights * factor.reshape(2, 1, 1, 1), rtol=1e-6)


def test_arrays_need_not_be_contiguous(tmp_path) -> None:
    architecture = Architecture((Conv(3, size=2, padding=0, batch_normalize=False),), width=6, height=4, channels=2)
    weights = np.arange(48, dtype=np.float32).reshape(2, 2, 2, 3, 2)[..., 0].transpose(3, 2, 0, 1)
    assert not weights.flags.c_contiguous
    write_weights(tmp_path / "net.weights", Model(architecture, (ConvParameters(weights, np.ones(3, np.float32)),)))
    data = (tmp_path / "net.weights").read_bytes()
    assert data[20:] == struct.pack("<3f", 1, 1, 1) + struct.pack("<24f", *weights.reshape(-1).tolist())


def test_parameters_missing_in_the_middle(tmp_path) -> None:
    model = model_of(THREE)
    holed = replace(model, parameters=(model.parameters[0], None, None, model.parameters[3]))
    assert holed.missing() == [1]
    with pytest.raises(WeightsError) as caught:
        write_weights(tmp_path / "net.weights", holed)
    assert str(caught.value) == f"{tmp_path / 'net.weights'}: layer 1 (convolutional 1x1, 5 filters): has no weights"
    assert not (tmp_path / "net.weights").exists()


def test_files_that_cannot_be_written(tmp_path) -> None:
    for path, reason in [(tmp_path / "no" / "net.weights", "No such file or directory"), (tmp_path, "Is a directory")]:
        with pytest.raises(WeightsError) as caught:
            write_weights(path, model_of(ARCHITECTURE))
        assert str(caught.value) == f"{path}: cannot be written: {reason}"


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (Header(0, 1, 0, 2**32), "version 0.1 counts seen images in 32 bits, got 4,294,967,296"),
        (Header(0, 2, 0, 2**64), "version 0.2 counts seen images in 64 bits, got 18,446,744,073,709,551,616"),
        (Header(0, 2, 0, -1), "version 0.2 counts seen images in 64 bits, got -1"),
    ],
)
def test_more_images_than_the_version_can_count(header: Header, message: str, tmp_path) -> None:
    with pytest.raises(WeightsError) as caught:
        write_weights(tmp_path / "net.weights", model_of(ARCHITECTURE), header)
    assert str(caught.value) == f"{tmp_path / 'net.weights'}: {message}"
    assert not (tmp_path / "net.weights").exists()


# Checks


def test_check_parameters() -> None:
    model = model_of(ARCHITECTURE)
    check_parameters(model)
    first, last = model.parameters[0], model.parameters[2]
    assert first is not None
    assert last is not None
    wrong_shape = replace(first, weights=first.weights[:, :1])
    with pytest.raises(WeightsError) as caught:
        check_parameters(replace(model, parameters=(wrong_shape, None, last)))
    assert str(caught.value) == (
        "layer 0 (convolutional 2x2, 3 filters): weights must have shape (3, 2, 2, 2), got (3, 1, 2, 2)"
    )
    with pytest.raises(WeightsError, match=r"^layer 0 .*: must have batch norm exactly if the architecture says so$"):
        check_parameters(replace(model, parameters=(replace(first, batch_norm=None), None, last)))
    normalised = replace(last, batch_norm=BatchNorm(*np.ones((3, 2), np.float32)))
    with pytest.raises(WeightsError, match=r"^layer 2 .*: must have batch norm exactly if the architecture says so$"):
        check_parameters(replace(model, parameters=(first, None, normalised)))
    check_parameters(replace(model, parameters=(None, None, last)))  # what is not there is not checked


# Folding

VARIANCES = (4.0, 0.0, 1e-30, 1e-12, 1e-5, 300.0)


def normalised_model(form: str) -> Model:
    """One convolution, 1x1 over 2 channels, a filter for each of the variances."""
    n = len(VARIANCES)
    architecture = Architecture((Conv(n, size=1, padding=0),), width=6, height=4, channels=2, batch_norm=form)
    rng = np.random.default_rng(7)
    weights = rng.normal(size=(n, 2, 1, 1)).astype(np.float32)
    biases, scales, means = rng.normal(size=(3, n)).astype(np.float32)
    norm = BatchNorm(scales, means, np.array(VARIANCES, np.float32))
    return Model(architecture, (ConvParameters(weights, biases, norm),))


@pytest.mark.parametrize("form", ["eps_inside_sqrt", "eps_outside_sqrt"])
def test_folding_is_batch_norm(form: str) -> None:
    model = normalised_model(form)
    folded = fold_batch_norm(model)
    assert folded.architecture.layers == (replace(model.architecture.layers[0], batch_normalize=False),)
    assert folded.architecture == replace(model.architecture, layers=folded.architecture.layers)
    (before,), (after,) = model.parameters, folded.parameters
    assert before is not None
    assert before.batch_norm is not None
    assert after is not None
    assert after.batch_norm is None
    check_parameters(folded)
    for i, variance in enumerate(np.array(VARIANCES, np.float32).tolist()):
        deviation = math.sqrt(variance + 1e-5) if form == "eps_inside_sqrt" else math.sqrt(variance) + 1e-6
        scale, mean = float(before.batch_norm.scales[i]), float(before.batch_norm.rolling_mean[i])
        for channel in range(2):
            weight = float(before.weights[i, channel, 0, 0])
            expected = np.float32(weight * scale / deviation)
            np.testing.assert_array_max_ulp(after.weights[i, channel, 0, 0], expected, 1)
        expected = np.float32(float(before.biases[i]) - mean * scale / deviation)
        np.testing.assert_array_max_ulp(after.biases[i], expected, 1)


@pytest.mark.parametrize(
    ("form", "factors"),
    [
        ("eps_inside_sqrt", [3 / math.sqrt(4 + 1e-5), 3 / math.sqrt(1e-5)]),  # 1.5 and 949
        ("eps_outside_sqrt", [3 / (2 + 1e-6), 3e6]),
    ],
)
def test_folding_by_hand(form: str, factors: list[float]) -> None:
    architecture = Architecture((Conv(2, size=1, padding=0),), width=6, height=4, channels=1, batch_norm=form)
    norm = BatchNorm(*np.array([[3, 3], [0.5, 0.5], [4, 0]], np.float32))  # scales, means, variances
    parameters = ConvParameters(np.full((2, 1, 1, 1), 2, np.float32), np.full(2, 7, np.float32), norm)
    (after,) = fold_batch_norm(Model(architecture, (parameters,))).parameters
    assert after is not None
    np.testing.assert_allclose(after.weights.reshape(-1), [2 * factor for factor in factors], rtol=1e-7)
    np.testing.assert_allclose(after.biases, [7 - 0.5 * factor for factor in factors], rtol=1e-7)


def test_the_two_forms_differ_where_variance_is_tiny() -> None:
    (inside,) = fold_batch_norm(normalised_model("eps_inside_sqrt")).parameters
    (outside,) = fold_batch_norm(normalised_model("eps_outside_sqrt")).parameters
    assert inside is not None
    assert outside is not None
    ratio = (outside.weights / inside.weights)[:, 0, 0, 0]
    # sqrt(v + 1e-5) / (sqrt(v) + 1e-6) for each variance
    assert ratio == pytest.approx([1.0, 3162.28, 3162.28, 1581.14, 1.41377, 1.0], rel=1e-4)


def test_folding_leaves_the_rest_alone() -> None:
    model = model_of(THREE)
    small = replace(model, parameters=tuple(gentle(parameters) for parameters in model.parameters))
    folded = fold_batch_norm(small)
    assert folded.parameters[2] is None
    assert folded.parameters[3] is small.parameters[3]
    assert folded.architecture.layers[2:] == THREE.layers[2:]
    assert [layer.batch_normalize for layer in folded.architecture.layers if isinstance(layer, Conv)] == [False] * 3
    again = fold_batch_norm(folded)
    assert all(ours is theirs for ours, theirs in zip(again.parameters, folded.parameters, strict=True))
    assert again.architecture == folded.architecture


def gentle(parameters: ConvParameters | None) -> ConvParameters | None:
    """Ones instead of random bits, which overflow."""
    if parameters is None:
        return None
    norm = parameters.batch_norm
    ones = BatchNorm(*(np.ones_like(values) for values in vars(norm).values())) if norm is not None else None
    return ConvParameters(np.ones_like(parameters.weights), np.ones_like(parameters.biases), ones)


def test_folding_needs_parameters() -> None:
    with pytest.raises(WeightsError, match=r"^layer 3 \(convolutional 1x1, 4 filters\): has no weights$"):
        fold_batch_norm(Model(THREE, (*(gentle(parameters) for parameters in model_of(THREE).parameters[:3]), None)))


# The head in two parts

REGION = Region(((1.0, 2.0), (3.0, 1.0)), classes=3)  # 2 x (5 + 3) = 16 filters
LAST = Conv(16, 1, 1, 0, False, "linear")
DETECTOR = Architecture((Conv(4), LAST, REGION), width=6, height=4)


def test_split_head() -> None:
    model = model_of(DETECTOR)
    body, class_rows = split_head(model)
    assert body.architecture == replace(DETECTOR, layers=(Conv(4), replace(LAST, filters=10)))
    check_parameters(body)
    assert body.parameters[0] is model.parameters[0]
    whole, boxes = model.parameters[1], body.parameters[1]
    assert whole is not None
    assert boxes is not None
    assert boxes.batch_norm is None
    assert (class_rows.weights.shape, class_rows.biases.shape) == ((2, 3, 4), (2, 3))
    # Filters of the whole: anchor 0 has boxes 0-4 and classes 5-7, anchor 1 boxes 8-12 and classes 13-15.
    np.testing.assert_array_equal(boxes.weights, whole.weights[[0, 1, 2, 3, 4, 8, 9, 10, 11, 12]])
    np.testing.assert_array_equal(boxes.biases, whole.biases[[0, 1, 2, 3, 4, 8, 9, 10, 11, 12]])
    np.testing.assert_array_equal(class_rows.weights[1], whole.weights[13:16, :, 0, 0])
    np.testing.assert_array_equal(class_rows.biases, whole.biases[[[5, 6, 7], [13, 14, 15]]])


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 4), st.integers(1, 6), st.integers(1, 5), st.integers(0, 999))
def test_split_head_loses_nothing(anchors: int, classes: int, channels: int, seed: int) -> None:
    region = Region(((1.0, 2.0),) * anchors, classes)
    model = model_of(Architecture((replace(LAST, filters=region.filters), region), 6, 4, channels), seed)
    body, class_rows = split_head(model)
    (whole, _), (boxes,) = model.parameters, body.parameters
    assert whole is not None
    assert boxes is not None
    weights = np.concatenate([boxes.weights.reshape(anchors, 5, channels), class_rows.weights], axis=1)
    biases = np.concatenate([boxes.biases.reshape(anchors, 5), class_rows.biases], axis=1)
    np.testing.assert_array_equal(weights.reshape(whole.weights.shape), whole.weights)
    np.testing.assert_array_equal(biases.reshape(-1), whole.biases)


@pytest.mark.parametrize(
    "layers",
    [
        (Conv(4), LAST, Softmax()),
        (Conv(4), LAST),
        (Conv(4), Conv(16, 3, 1, 1, False, "linear"), REGION),
        (Conv(4), replace(LAST, stride=2), REGION),
        (Conv(4), replace(LAST, groups=2), REGION),
        (Conv(4), replace(LAST, end_padding=1), REGION),
        (Conv(4), replace(LAST, batch_normalize=True), REGION),
        (Conv(4), replace(LAST, activation="leaky"), REGION),
        (LAST, MaxPool(2, 1), REGION),
    ],
)
def test_heads_that_cannot_be_split(layers: tuple[Layer, ...]) -> None:
    with pytest.raises(ConfigError, match="only if a linear 1x1 convolution comes before"):
        split_head(model_of(Architecture(layers, width=6, height=4)))


def test_head_without_parameters_cannot_be_split() -> None:
    model = model_of(DETECTOR)
    with pytest.raises(ConfigError, match="split off"):
        split_head(replace(model, parameters=(model.parameters[0], None, None)))


# Smaller weights


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2), st.integers(0, 999))
def test_quantized_weights_are_within_half_a_step(axis: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = (rng.normal(size=(3, 4, 5)) * 10 ** rng.uniform(-3, 3, (3, 4, 5))).astype(np.float32)
    integers, scales = quantize(values, axis)
    assert integers.shape == values.shape
    assert scales.shape == (values.shape[axis],)
    others = tuple({0, 1, 2} - {axis})
    np.testing.assert_allclose(scales, np.abs(values).max(others) / 127, rtol=1e-6)
    assert (np.abs(integers.astype(int)).max(others) == 127).all()
    steps = np.abs(dequantize(integers, scales, axis) - values) / np.expand_dims(scales, others)
    assert steps.max() <= 0.5 + 1e-4


def test_quantized_zeros_stay_zero() -> None:
    integers, scales = quantize(np.zeros((2, 3, 1, 1), np.float32), 0)
    assert (integers == 0).all()
    assert (scales > 0).all()
    assert (dequantize(integers, scales, 0) == 0).all()


def test_whole_weights_for_other_classes(tmp_path) -> None:
    """Layer 2 has 2 filters of 3 weights and a bias; a file with 5 such filters, or with none, starts the others."""
    others = replace(ARCHITECTURE, layers=(*ARCHITECTURE.layers[:2], replace(ARCHITECTURE.layers[2], filters=5)))
    data = LONG + np.arange(1, 37 + 5 * 4, dtype=np.float32).tobytes()
    path = save(tmp_path, data)
    _, model = read_weights(path, ARCHITECTURE, partial=True)
    assert [parameters is not None for parameters in model.parameters] == [True, False, False]
    _, theirs = read_weights(path, others)
    np.testing.assert_array_equal(model.parameters[0].weights, theirs.parameters[0].weights)
    with pytest.raises(WeightsError, match="48 bytes are left after the last layer"):
        read_weights(path, ARCHITECTURE)
    with pytest.raises(WeightsError, match="52 bytes are left after the last layer"):
        read_weights(save(tmp_path, data + bytes(4)), ARCHITECTURE, partial=True)
    with pytest.raises(WeightsError, match="needs 32 bytes, 4 are left"):
        read_weights(save(tmp_path, LONG + floats().tobytes()[: 4 * 37]), ARCHITECTURE, partial=True)


def test_heads_that_are_wide() -> None:
    """16 filters, which read 4 channels, or 16; a detector of one layer has nothing to compute features with."""
    for layers, wide in (
        ((Conv(4), LAST, REGION), True),
        ((Conv(15), LAST, REGION), True),
        ((Conv(16), LAST, REGION), False),
        ((Conv(4), replace(LAST, activation="leaky"), REGION), False),
        ((LAST, REGION), False),
    ):
        assert has_wide_head(Architecture(layers, width=6, height=4)) is wide
