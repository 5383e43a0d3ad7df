"""A network with its numbers: a `Architecture` and, for each convolution, NumPy arrays. No torch.

`fold_batch_norm` and `split_head` turn a model into what engines run; both give a model again.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float32, Float64

from yolo9000.architectures.layers import Architecture, BatchNormForm, Conv, Layer, Region, layer_name
from yolo9000.errors import ConfigError, WeightsError

__all__ = [
    "BatchNorm",
    "ClassRows",
    "ConvParameters",
    "Model",
    "check_parameters",
    "fold_batch_norm",
    "split_head",
    "standard_deviation",
]


@dataclass(frozen=True)
class BatchNorm:
    """What batch norm remembers of a layer, one number for each filter.

    Attributes:
        scales: gamma. (Beta is the convolution's bias: Darknet keeps one of the two.)
        rolling_mean: mean of the convolution's output.
        rolling_variance: its variance; never negative.
    """

    scales: Float32[np.ndarray, " out"]
    rolling_mean: Float32[np.ndarray, " out"]
    rolling_variance: Float32[np.ndarray, " out"]


@dataclass(frozen=True)
class ConvParameters:
    """The numbers of one convolution.

    Attributes:
        weights: kernels, (output channel, input channel of its group, row, column).
        biases: added after batch norm.
        batch_norm: None where the row has none.
    """

    weights: Float32[np.ndarray, "out in size size"]
    biases: Float32[np.ndarray, " out"]
    batch_norm: BatchNorm | None = None


@dataclass(frozen=True)
class Model:
    """A table and its numbers.

    Attributes:
        architecture: the network.
        parameters: one entry for each row of the table; None for rows that store nothing, and for convolutions that a
            partial weights file leaves without numbers.
    """

    architecture: Architecture
    parameters: tuple[ConvParameters | None, ...]

    def missing(self) -> list[int]:
        """Rows that are convolutions without numbers."""
        rows = enumerate(zip(self.architecture.rows, self.parameters, strict=True))
        return [i for i, (row, numbers) in rows if isinstance(row, Conv) and numbers is None]


@dataclass(frozen=True)
class ClassRows:
    """The class half of a detector's last 1x1 convolution, kept apart so that only the rows asked for are computed.

    Attributes:
        weights: (anchor, class, channel).
        biases: (anchor, class).
    """

    weights: Float32[np.ndarray, "a k c"]
    biases: Float32[np.ndarray, "a k"]


def check_parameters(model: Model) -> None:
    """Check that the numbers that are there are finite and of the right shape.

    Raises:
        WeightsError: the first layer whose numbers are not.
    """
    channels = model.architecture.input_channels()
    for index, (row, numbers) in enumerate(zip(model.architecture.rows, model.parameters, strict=True)):
        if isinstance(row, Conv) and numbers is not None:
            try:
                _check_conv(row, channels[index], numbers)
            except WeightsError as error:
                raise WeightsError(f"layer {index} ({layer_name(row)}): {error}") from None


def _check_conv(row: Conv, channels: int, numbers: ConvParameters) -> None:
    expected = row.kernel_shape(channels)
    if numbers.weights.shape != expected:
        raise WeightsError(f"weights must have shape {expected}, got {numbers.weights.shape}")
    if (numbers.batch_norm is not None) != row.batch_normalize:
        raise WeightsError("must have batch norm exactly where its row says so")
    arrays = {"weights": numbers.weights, "biases": numbers.biases}
    if numbers.batch_norm is not None:
        arrays |= vars(numbers.batch_norm)
    for name, values in arrays.items():
        bad = int(np.count_nonzero(~np.isfinite(values)))
        if bad:
            raise WeightsError(
                f"{name} must be finite, got {bad:,} of {values.size:,} numbers ({4 * bad:,} bytes) that are not"
            )
    if numbers.batch_norm is not None and numbers.batch_norm.rolling_variance.min() < 0:
        raise WeightsError(f"rolling_variance must not be negative, got {numbers.batch_norm.rolling_variance.min():g}")


def fold_batch_norm(model: Model) -> Model:
    """The same function without batch norm: its scale goes into the kernels, its shift into the biases.

    Computed in float64, since a channel of tiny variance multiplies whatever rounding there is.

    Raises:
        WeightsError: a convolution has no numbers.
    """
    rows: list[Layer] = []
    parameters: list[ConvParameters | None] = []
    for index, (row, numbers) in enumerate(zip(model.architecture.rows, model.parameters, strict=True)):
        if isinstance(row, Conv) and numbers is None:
            raise WeightsError(f"layer {index} ({layer_name(row)}): has no weights")
        if isinstance(row, Conv) and numbers is not None and numbers.batch_norm is not None:
            numbers = _fold(numbers, numbers.batch_norm, model.architecture.batch_norm)
            row = replace(row, batch_normalize=False)
        rows.append(row)
        parameters.append(numbers)
    return Model(replace(model.architecture, rows=tuple(rows)), tuple(parameters))


def _fold(numbers: ConvParameters, norm: BatchNorm, form: BatchNormForm) -> ConvParameters:
    factor = norm.scales / standard_deviation(norm.rolling_variance.astype(np.float64), form)
    return ConvParameters(
        weights=(numbers.weights * factor[:, None, None, None]).astype(np.float32),
        biases=(numbers.biases - norm.rolling_mean * factor).astype(np.float32),
    )


def standard_deviation(variance: Float64[np.ndarray, " out"], form: BatchNormForm) -> Float64[np.ndarray, " out"]:
    """What batch norm divides by; see `Architecture.batch_norm`."""
    return np.sqrt(variance + 1e-5) if form == "eps_inside_sqrt" else np.sqrt(variance) + 1e-6


def split_head(model: Model) -> tuple[Model, ClassRows]:
    """Cut the class rows off a detector's last convolution.

    Returns:
        The model without its head, whose last convolution has A x 5 filters (t_x, t_y, t_w, t_h, t_o of each anchor);
        and the class rows.

    Raises:
        ConfigError: the network is no detector whose last convolution is 1x1 without batch norm and activation.
    """
    architecture, head = model.architecture, model.architecture.head
    last = len(architecture.body) - 1
    row, numbers = architecture.rows[last], model.parameters[last]
    plain = Conv(row.filters, 1, 1, 0, False, "linear") if isinstance(row, Conv) else None
    if not isinstance(head, Region) or numbers is None or row != plain:
        raise ConfigError("the class head can be split off only where a linear 1x1 convolution stands before [region]")
    anchors = len(head.anchors_wh_cells)
    weights = numbers.weights.reshape(anchors, 5 + head.classes, -1)
    biases = numbers.biases.reshape(anchors, 5 + head.classes)
    boxes = ConvParameters(
        weights=np.ascontiguousarray(weights[:, :5]).reshape(anchors * 5, -1, 1, 1),
        biases=np.ascontiguousarray(biases[:, :5]).reshape(-1),
    )
    rows = (*architecture.rows[:last], replace(plain, filters=anchors * 5))
    parameters = (*model.parameters[:last], boxes)
    class_rows = ClassRows(np.ascontiguousarray(weights[:, 5:]), np.ascontiguousarray(biases[:, 5:]))
    return Model(replace(architecture, rows=rows), parameters), class_rows
