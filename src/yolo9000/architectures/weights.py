"""The weights of a network as NumPy arrays, and what can be done with them without torch.

`fold_batch_norm` and `split_head` turn a `Model` into one that engines run.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float16, Float32, Float64, Int8

from yolo9000.architectures.layers import Architecture, BatchNormForm, Conv, Layer, Region, layer_name
from yolo9000.choices import WeightsDtype
from yolo9000.errors import ConfigError, WeightsError

__all__ = [
    "BatchNorm",
    "ClassRows",
    "ConvParameters",
    "Model",
    "WeightsDtype",
    "check_parameters",
    "dequantize",
    "fold_batch_norm",
    "has_splittable_head",
    "has_wide_head",
    "quantize",
    "split_head",
    "standard_deviation",
    "to_float16",
]


@dataclass(frozen=True)
class BatchNorm:
    """Batch norm's parameters and statistics of a layer, one value per filter.

    Attributes:
        scales: gamma. (Beta is the convolution's bias: Darknet stores only one of the two.)
        rolling_mean: mean of the convolution's output.
        rolling_variance: its variance; never negative.
    """

    scales: Float32[np.ndarray, " out"]
    rolling_mean: Float32[np.ndarray, " out"]
    rolling_variance: Float32[np.ndarray, " out"]


@dataclass(frozen=True)
class ConvParameters:
    """The parameters of a convolution.

    Attributes:
        weights: kernels, (output channel, input channel of its group, row, column).
        biases: added after batch norm.
        batch_norm: None if the layer has none.
    """

    weights: Float32[np.ndarray, "out in size size"]
    biases: Float32[np.ndarray, " out"]
    batch_norm: BatchNorm | None = None


@dataclass(frozen=True)
class Model:
    """An architecture with its parameters.

    Attributes:
        architecture: the network.
        parameters: one entry for each layer; None for layers that have none, and for convolutions that a partial
            weights file does not contain.
    """

    architecture: Architecture
    parameters: tuple[ConvParameters | None, ...]

    def missing(self) -> list[int]:
        """Indices of convolutions without parameters."""
        pairs = enumerate(zip(self.architecture.layers, self.parameters, strict=True))
        return [i for i, (layer, parameters) in pairs if isinstance(layer, Conv) and parameters is None]


@dataclass(frozen=True)
class ClassRows:
    """The rows of a detector's last 1x1 convolution that give class logits, kept apart to be computed on demand.

    Attributes:
        weights: (anchor, class, channel).
        biases: (anchor, class).
    """

    weights: Float32[np.ndarray, "a k c"]
    biases: Float32[np.ndarray, "a k"]


def check_parameters(model: Model) -> None:
    """Check that all parameters are finite and of the right shape.

    Raises:
        WeightsError: names the first layer whose parameters are not.
    """
    channels = model.architecture.input_channels()
    for index, (layer, parameters) in enumerate(zip(model.architecture.layers, model.parameters, strict=True)):
        if isinstance(layer, Conv) and parameters is not None:
            try:
                _check_conv(layer, channels[index], parameters)
            except WeightsError as error:
                raise WeightsError(f"layer {index} ({layer_name(layer)}): {error}") from None


def _check_conv(layer: Conv, channels: int, parameters: ConvParameters) -> None:
    expected = layer.kernel_shape(channels)
    if parameters.weights.shape != expected:
        raise WeightsError(f"weights must have shape {expected}, got {parameters.weights.shape}")
    if (parameters.batch_norm is not None) != layer.batch_normalize:
        raise WeightsError("must have batch norm exactly if the architecture says so")
    arrays = {"weights": parameters.weights, "biases": parameters.biases}
    if parameters.batch_norm is not None:
        arrays |= vars(parameters.batch_norm)
    for name, values in arrays.items():
        count = int(np.count_nonzero(~np.isfinite(values)))
        if count:
            raise WeightsError(
                f"{name} must be finite, got {count:,} of {values.size:,} values ({4 * count:,} bytes) that are not"
            )
    if parameters.batch_norm is not None and (lowest := parameters.batch_norm.rolling_variance.min()) < 0:
        raise WeightsError(f"rolling_variance must not be negative, got {lowest:g}")


def fold_batch_norm(model: Model) -> Model:
    """The same function without batch norm: its scales are folded into the kernels, its shifts into the biases.

    Computed in float64, since a channel of tiny variance amplifies rounding errors.

    Raises:
        WeightsError: a convolution has no parameters.
    """
    if missing := model.missing():
        layer = model.architecture.layers[missing[0]]
        raise WeightsError(f"layer {missing[0]} ({layer_name(layer)}): has no weights")
    pairs = zip(model.architecture.layers, model.parameters, strict=True)
    folded = [_fold_layer(layer, parameters, model.architecture.batch_norm) for layer, parameters in pairs]
    layers, parameters = zip(*folded, strict=True)
    return Model(replace(model.architecture, layers=layers), parameters)


def _fold_layer(
    layer: Layer, parameters: ConvParameters | None, form: BatchNormForm
) -> tuple[Layer, ConvParameters | None]:
    if not isinstance(layer, Conv) or parameters is None or parameters.batch_norm is None:
        return layer, parameters
    return replace(layer, batch_normalize=False), _fold(parameters, parameters.batch_norm, form)


def _fold(parameters: ConvParameters, norm: BatchNorm, form: BatchNormForm) -> ConvParameters:
    factor = norm.scales / standard_deviation(norm.rolling_variance.astype(np.float64), form)
    return ConvParameters(
        weights=(parameters.weights * factor[:, None, None, None]).astype(np.float32),
        biases=(parameters.biases - norm.rolling_mean * factor).astype(np.float32),
    )


def standard_deviation(variance: Float64[np.ndarray, " out"], form: BatchNormForm) -> Float64[np.ndarray, " out"]:
    """The divisor of batch norm; see `Architecture.batch_norm`."""
    return np.sqrt(variance + 1e-5) if form == "eps_inside_sqrt" else np.sqrt(variance) + 1e-6


def split_head(model: Model) -> tuple[Model, ClassRows]:
    """Split the class rows off a detector's last convolution.

    Returns:
        The model without its head, whose last convolution has A x 5 filters (t_x, t_y, t_w, t_h, t_o of each anchor);
        and the class rows.

    Raises:
        ConfigError: see `has_splittable_head`.
    """
    architecture, head = model.architecture, model.architecture.head
    last = len(architecture.body) - 1
    given = model.parameters[last]
    if not isinstance(head, Region) or given is None or not has_splittable_head(architecture):
        raise ConfigError("class logits can be split off only if a linear 1x1 convolution comes before [region]")
    anchors = len(head.anchors_wh_cells)
    weights = given.weights.reshape(anchors, 5 + head.classes, -1)
    biases = given.biases.reshape(anchors, 5 + head.classes)
    boxes = ConvParameters(
        weights=np.ascontiguousarray(weights[:, :5]).reshape(anchors * 5, -1, 1, 1),
        biases=np.ascontiguousarray(biases[:, :5]).reshape(-1),
    )
    layers = (*architecture.layers[:last], _linear(anchors * 5))
    parameters = (*model.parameters[:last], boxes)
    class_rows = ClassRows(np.ascontiguousarray(weights[:, 5:]), np.ascontiguousarray(biases[:, 5:]))
    return Model(replace(architecture, layers=layers), parameters), class_rows


def has_splittable_head(architecture: Architecture) -> bool:
    """Whether a network is a detector whose last convolution is 1x1, without batch norm, groups and activation."""
    last = architecture.body[-1]
    return isinstance(architecture.head, Region) and isinstance(last, Conv) and last == _linear(last.filters)


def has_wide_head(architecture: Architecture) -> bool:
    """Whether class logits on demand pay: the head can be split, and has more filters than it reads channels."""
    last = len(architecture.body) - 1
    if last == 0 or not has_splittable_head(architecture):
        return False
    return architecture.shapes()[last][0] > architecture.input_channels()[last]


def _linear(filters: int) -> Conv:
    return Conv(filters, 1, 1, 0, batch_normalize=False, activation="linear")


def to_float16(values: Float32[np.ndarray, "*shape"]) -> Float16[np.ndarray, "*shape"]:
    """Weights in half precision.

    Raises:
        WeightsError: a weight is out of its range.
    """
    with np.errstate(over="ignore"):
        halves = values.astype(np.float16)
    if not np.isfinite(halves).all():
        raise WeightsError("float16 holds values up to 65504, got larger ones")
    return halves


def quantize(
    values: Float32[np.ndarray, "*shape"], axis: int
) -> tuple[Int8[np.ndarray, "*shape"], Float32[np.ndarray, " n"]]:
    """Round weights to 8 bits, with a scale for each index along an axis: its largest absolute value / 127.

    Args:
        values: any number of dimensions.
        axis: the one that scales belong to: 0 for the filters of a kernel, 1 for the classes of `ClassRows`.

    Returns:
        Integers from -127 to 127, and the scales; `dequantize` multiplies them. No weight moves by more than half its
        scale.
    """
    others = tuple(i for i in range(values.ndim) if i != axis % values.ndim)
    scales = np.maximum(np.abs(values).max(others) / np.float32(127), np.finfo(np.float32).tiny)
    return np.rint(values / np.expand_dims(scales, others)).astype(np.int8), scales


def dequantize(
    values: Int8[np.ndarray, "*shape"], scales: Float32[np.ndarray, " n"], axis: int
) -> Float32[np.ndarray, "*shape"]:
    """The inverse of `quantize`, but for rounding."""
    others = tuple(i for i in range(values.ndim) if i != axis % values.ndim)
    restored: np.ndarray = values.astype(np.float32) * np.expand_dims(scales, others)
    return restored
