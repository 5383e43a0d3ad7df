"""Our own trained models: one ``.safetensors`` file with the network, its numbers, its names and its tree.

The numbers of row N of the table are the float32 tensors ``layers.N.weights``, ``biases``, ``scales``, ``rolling_mean``
and ``rolling_variance``. All else is JSON in the file's metadata, under the key ``yolo9000``; the network is a ``.cfg``
in it, to which a ``[reorg]`` may add ``order=space_to_depth``.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import shorten
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from yolo9000.architectures.layers import BatchNormForm, Conv, Region, Softmax
from yolo9000.architectures.weights import BatchNorm, ConvParameters, Model, check_parameters
from yolo9000.checkpoints.darknet.cfg import parse_cfg, write_cfg
from yolo9000.errors import ConfigError, TreeError, WeightsError, describe_errors
from yolo9000.inference.decode import HeadSpec
from yolo9000.inference.preprocess import ResizeMode
from yolo9000.io.files import write_atomically
from yolo9000.taxonomy.wordtree import WordTree

__all__ = ["Checkpoint", "read_checkpoint", "write_checkpoint"]

KEY = "yolo9000"
MESSAGE_LENGTH = 300  # an error in the metadata may quote all 9,418 names
LONGEST_HEADER = 100_000_000  # bytes; safetensors' own limit


@dataclass(frozen=True)
class Checkpoint:
    """A trained model and all that is needed to use it.

    Attributes:
        model: the network and its numbers.
        names: display name of each class, or of each node of the tree.
        tree: the label tree; None for flat classes.
        resize_mode: how images are fitted to a detector's input.
        hier_thresh: see `HeadSpec`; None: the model was not calibrated.
        trained: how it came about: plain values for JSON.
    """

    model: Model
    names: tuple[str, ...]
    tree: WordTree | None = None
    resize_mode: ResizeMode = "letterbox"
    hier_thresh: float | None = None
    trained: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_detector(self) -> bool:
        """Whether it finds boxes; else it is a classifier."""
        return isinstance(self.model.architecture.head, Region)

    def head_spec(self) -> HeadSpec:
        """What a detector's numbers mean.

        Raises:
            ConfigError: it is a classifier.
        """
        head = self.model.architecture.head
        if not isinstance(head, Region):
            raise ConfigError("must be a detector; this model is a classifier")
        anchors = np.array(head.anchors_wh_cells, np.float32)
        classes: Literal["softmax", "tree"] = "softmax" if self.tree is None else "tree"
        return HeadSpec(anchors, self.names, classes, self.tree, self.resize_mode, hier_thresh=self.hier_thresh)


class _TreeMeta(BaseModel):
    model_config = ConfigDict(extra="forbid")
    parents: list[int]
    ids: list[str]


class _Meta(BaseModel):
    """What a model file says about itself."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)
    version: Literal[1] = 1
    cfg: str
    batch_norm: BatchNormForm
    names: list[str] = Field(min_length=1)
    tree: _TreeMeta | None
    resize_mode: ResizeMode
    hier_thresh: float | None = Field(default=None, ge=0, lt=1)
    trained: dict[str, JsonValue]
    sha256: str


def write_checkpoint(path: Path, file: Checkpoint) -> None:
    """Write a model, whole or not at all.

    Raises:
        WeightsError: it has numbers that are not finite, or not all of them.
        OSError: the file cannot be written; what was there is untouched.
    """
    check_parameters(file.model)
    if missing := file.model.missing():
        raise WeightsError(f"{path}: a model must have numbers for all its convolutions, row {missing[0]} has none")
    tensors = _tensors(file.model)
    tree = file.tree
    meta = _Meta(
        cfg=write_cfg(file.model.architecture, for_darknet=False),
        batch_norm=file.model.architecture.batch_norm,
        names=list(file.names),
        tree=None if tree is None else _TreeMeta(parents=tree.parents.tolist(), ids=list(tree.ids)),
        resize_mode=file.resize_mode,
        hier_thresh=file.hier_thresh,
        trained=dict(file.trained),
        sha256=_digest(tensors),
    )
    write_atomically(path, save(tensors, {KEY: meta.model_dump_json()}))


def read_checkpoint(path: str | Path) -> Checkpoint:
    """Read a model.

    Raises:
        WeightsError: the file cannot be read, is damaged, or is no model of ours.
    """
    path = Path(path)
    try:
        text, tensors = _read_tensors(path)
        meta = _Meta.model_validate_json(text)
        if _digest(tensors) != meta.sha256:
            raise WeightsError("is damaged: its numbers are not those that were written")
        return _file_of(meta, tensors)
    except ValidationError as error:
        message = f"its metadata are wrong: {describe_errors(error)}"
    except (ConfigError, TreeError, WeightsError, OverflowError) as error:
        message = str(error)
    raise WeightsError(f"{path}: {shorten(message, MESSAGE_LENGTH, placeholder=' ...')}")


def _read_tensors(path: Path) -> tuple[str, dict[str, np.ndarray]]:
    try:
        _check_header(path)
        with safe_open(path, framework="numpy") as opened:
            text = (opened.metadata() or {}).get(KEY)
            if text is None:
                raise WeightsError("must be a model that yolo9000 trained; other safetensors files are none")
            return text, {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118  not a mapping
    except OSError as error:
        raise WeightsError(f"cannot be read: {error.strerror}") from None
    except (SafetensorError, TypeError, ValueError, UnicodeError) as error:
        raise WeightsError(f"must be a safetensors file: {error}") from None


def _check_header(path: Path) -> None:
    with path.open("rb") as stream:
        start = stream.read(8)
    if len(start) < 8 or struct.unpack("<Q", start)[0] > LONGEST_HEADER:
        raise WeightsError("must be a safetensors file, and does not begin like one")


def _file_of(meta: _Meta, tensors: dict[str, np.ndarray]) -> Checkpoint:
    architecture = parse_cfg(meta.cfg, name="its cfg", batch_norm=meta.batch_norm)
    architecture.shapes()
    model = Model(architecture, tuple(_parameters(i, row, tensors) for i, row in enumerate(architecture.layers)))
    if tensors:
        raise WeightsError(f"holds tensors that its network has not: {', '.join(sorted(tensors)[:3])}")
    check_parameters(model)
    tree = None
    if meta.tree is not None:
        tree = WordTree.from_parents(meta.tree.parents, meta.names, meta.tree.ids)
        tree.check_groups_contiguous()
    head = architecture.head
    if not isinstance(head, Region | Softmax):
        raise WeightsError("its network must end in [region] or [softmax]")
    if (head.tree is not None) != (tree is not None):
        raise WeightsError("must have a tree exactly where its network names one")
    classes = head.classes if isinstance(head, Region) else architecture.shapes()[-1][0]
    if classes != len(meta.names):
        raise WeightsError(f"its network has {classes} classes and needs as many names, has {len(meta.names)}")
    return Checkpoint(model, tuple(meta.names), tree, meta.resize_mode, meta.hier_thresh, meta.trained)


def _tensors(model: Model) -> dict[str, np.ndarray]:
    tensors: dict[str, np.ndarray] = {}
    for index, numbers in enumerate(model.parameters):
        if numbers is not None:
            arrays = {"weights": numbers.weights, "biases": numbers.biases}
            arrays |= vars(numbers.batch_norm) if numbers.batch_norm is not None else {}
            tensors |= {f"layers.{index}.{name}": np.ascontiguousarray(array) for name, array in arrays.items()}
    return tensors


def _parameters(index: int, row: object, tensors: dict[str, np.ndarray]) -> ConvParameters | None:
    """Take the numbers of a row out of the tensors."""
    if not isinstance(row, Conv):
        return None

    def take(name: str) -> np.ndarray:
        array = tensors.pop(f"layers.{index}.{name}", None)
        if array is None:
            raise WeightsError(f"must hold the tensor layers.{index}.{name}")
        if array.dtype != np.float32 or array.ndim != (4 if name == "weights" else 1):
            raise WeightsError(f"layers.{index}.{name} must be float32, got {array.dtype} of shape {array.shape}")
        if name != "weights" and len(array) != row.filters:
            raise WeightsError(f"layers.{index}.{name} must have {row.filters} numbers, got {len(array)}")
        return array

    weights, biases = take("weights"), take("biases")
    if not row.batch_normalize:
        return ConvParameters(weights, biases)
    return ConvParameters(weights, biases, BatchNorm(*(take(name) for name in BATCH_NORM)))


BATCH_NORM = ("scales", "rolling_mean", "rolling_variance")


def _digest(tensors: Mapping[str, np.ndarray]) -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(f"{name} {tensors[name].dtype} {tensors[name].shape}\n".encode())
        digest.update(np.ascontiguousarray(tensors[name]).tobytes())
    return digest.hexdigest()
