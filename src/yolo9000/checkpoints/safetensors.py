"""Trained models in one ``.safetensors`` file: architecture, weights, names and label tree.

The parameters of layer N are the float32 tensors ``layers.N.weights``, ``biases``, ``scales``, ``rolling_mean`` and
``rolling_variance``. Kernels may also be float16, or int8 with the float32 scales of their filters in
``layers.N.weight_scales``; they are float32 again when they are read. Everything else is in the metadata; the
architecture is a ``.cfg`` in it, to which a ``[reorg]`` may add ``order=space_to_depth``.
"""

from __future__ import annotations

import struct
from pathlib import Path
from textwrap import shorten
from typing import get_args

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from yolo9000.architectures.layers import Conv
from yolo9000.architectures.weights import (
    BatchNorm,
    ConvParameters,
    Model,
    WeightsDtype,
    check_parameters,
    dequantize,
    quantize,
    to_float16,
)
from yolo9000.checkpoints.darknet.cfg import parse_cfg, write_cfg
from yolo9000.checkpoints.metadata import KEY, CfgNetwork, Metadata, check_digest, seal, tree_metadata
from yolo9000.checkpoints.model import LoadedModel
from yolo9000.errors import ConfigError, WeightsError
from yolo9000.io.documents import parse_json
from yolo9000.io.files import write_atomically

__all__ = ["read_checkpoint", "write_checkpoint"]

MAX_MESSAGE_LENGTH = 300  # an error in the cfg may quote a long line
MAX_HEADER_BYTES = 100_000_000  # safetensors' own limit
WEIGHT_SCALES = "weight_scales"
BATCH_NORM = ("scales", "rolling_mean", "rolling_variance")


def write_checkpoint(
    path: Path, model: LoadedModel, *, dtype: WeightsDtype = "float32", last_dtype: WeightsDtype | None = None
) -> None:
    """Write a model, whole or not at all.

    Args:
        path: the file.
        model: what is written.
        dtype: how kernels are stored; biases and batch norm are exact.
        last_dtype: how the last kernel is stored, the largest one with thousands of classes; None: as the others.

    Raises:
        ConfigError: the model is an exported file.
        WeightsError: a weight is missing, not finite, or out of the range of float16.
        OSError: the file cannot be written; the file it would replace is unchanged.
    """
    weights = model.trained_weights
    check_parameters(weights)
    if missing := weights.missing():
        raise WeightsError(f"{path}: every convolution must have weights, layer {missing[0]} has none")
    head = model.head
    metadata = Metadata(
        network=CfgNetwork(
            cfg=write_cfg(weights.architecture, for_darknet=False), batch_norm=weights.architecture.batch_norm
        ),
        names=list(model.names),
        tree=tree_metadata(model.tree),
        resize_mode=head.resize_mode if head else "letterbox",
        hier_thresh=head.hier_thresh if head else None,
        trained=dict(model.trained),
    )
    write_atomically(path, seal(save(_tensors(weights, dtype, last_dtype or dtype), {KEY: metadata.model_dump_json()})))


def read_checkpoint(path: str | Path) -> LoadedModel:
    """Read a model.

    Raises:
        WeightsError: the file cannot be read, is damaged, or was not written by this program.
    """
    try:
        data = Path(path).read_bytes()
        metadata = Metadata.parse(_metadata_text(data))
        check_digest(metadata, data)
        return _model_of(metadata, load(data))
    except OSError as error:
        message = f"cannot be read: {error.strerror}"
    except (SafetensorError, TypeError, ValueError, UnicodeError) as error:
        message = f"not a safetensors file, or damaged: {error}"
    except (ConfigError, WeightsError) as error:
        message = str(error)
    raise WeightsError(f"{path}: {shorten(message, MAX_MESSAGE_LENGTH, placeholder=' ...')}")


def _metadata_text(data: bytes) -> str:
    """The metadata of yolo9000 in the header of a safetensors file."""
    length = struct.unpack("<Q", data[:8])[0] if len(data) >= 8 else 0
    if not 0 < length <= min(len(data) - 8, MAX_HEADER_BYTES):
        raise WeightsError("not a safetensors file, or damaged: its header is missing or too long")
    header = parse_json(data[8 : 8 + length], "its header", WeightsError)
    known = header.get("__metadata__") if isinstance(header, dict) else None
    text = known.get(KEY) if isinstance(known, dict) else None
    if not isinstance(text, str):
        raise WeightsError("not a safetensors file that yolo9000 wrote: it has no metadata of yolo9000")
    return text


def _model_of(metadata: Metadata, tensors: dict[str, np.ndarray]) -> LoadedModel:
    network = metadata.network
    if not isinstance(network, CfgNetwork):
        raise WeightsError("invalid metadata: network.form must be 'cfg'")
    architecture = parse_cfg(network.cfg, name="its cfg", batch_norm=network.batch_norm)
    architecture.shapes()
    layers = enumerate(architecture.layers)
    weights = Model(architecture, tuple(_take_parameters(i, layer, tensors) for i, layer in layers))
    if tensors:
        raise WeightsError(f"has tensors that its network has not: {', '.join(sorted(tensors)[:3])}")
    check_parameters(weights)
    tree = metadata.word_tree()
    if (getattr(architecture.head, "tree", None) is not None) != (tree is not None):
        raise WeightsError("must have a tree exactly where its network names one")
    return LoadedModel.from_weights(
        weights,
        tuple(metadata.names),
        tree,
        resize_mode=metadata.resize_mode,
        hier_thresh=metadata.hier_thresh,
        trained=metadata.trained,
    )


def _tensors(model: Model, dtype: WeightsDtype, last_dtype: WeightsDtype) -> dict[str, np.ndarray]:
    tensors: dict[str, np.ndarray] = {}
    last = max((i for i, parameters in enumerate(model.parameters) if parameters is not None), default=-1)
    for index, parameters in enumerate(model.parameters):
        if parameters is not None:
            arrays = _kernel(index, parameters.weights, last_dtype if index == last else dtype)
            arrays |= {"biases": parameters.biases}
            arrays |= vars(parameters.batch_norm) if parameters.batch_norm is not None else {}
            tensors |= {f"layers.{index}.{name}": np.ascontiguousarray(array) for name, array in arrays.items()}
    return tensors


def _kernel(index: int, weights: np.ndarray, dtype: WeightsDtype) -> dict[str, np.ndarray]:
    match dtype:
        case "float32":
            return {"weights": weights}
        case "float16":
            try:
                return {"weights": to_float16(weights)}
            except WeightsError as error:
                raise WeightsError(f"layers.{index}.weights: {error}") from None
        case "int8":
            return dict(zip(("weights", WEIGHT_SCALES), quantize(weights, axis=0), strict=True))


def _take_parameters(index: int, layer: object, tensors: dict[str, np.ndarray]) -> ConvParameters | None:
    """Take the parameters of a layer out of the tensors."""
    if not isinstance(layer, Conv):
        return None

    def take(name: str, dtypes: tuple[str, ...] = ("float32",), ndim: int = 1) -> np.ndarray:
        array = tensors.pop(f"layers.{index}.{name}", None)
        if array is None:
            raise WeightsError(f"tensor layers.{index}.{name} is missing")
        if array.dtype.name not in dtypes or array.ndim != ndim:
            expected = " or ".join(dtypes)
            raise WeightsError(f"layers.{index}.{name} must be {expected}, got {array.dtype} of shape {array.shape}")
        if len(array) != layer.filters:
            raise WeightsError(f"layers.{index}.{name} must have {layer.filters} values, got {len(array)}")
        return array

    weights = take("weights", get_args(WeightsDtype), 4)
    if weights.dtype == np.int8:
        weights = dequantize(weights, take(WEIGHT_SCALES), axis=0)
    weights, biases = weights.astype(np.float32, copy=False), take("biases")
    if not layer.batch_normalize:
        return ConvParameters(weights, biases)
    return ConvParameters(weights, biases, BatchNorm(*(take(name) for name in BATCH_NORM)))
