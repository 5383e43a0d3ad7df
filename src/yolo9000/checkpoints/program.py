"""What engines run: a network with one of two sets of outputs.

Whole: ``head`` (N, A (5 + K), H, W), all numbers of the last layer. Split: ``boxes`` (N, A 5, H, W) and ``features``
(N, C, H, W), what the last convolution reads, for class rows that are kept apart and computed on demand.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from yolo9000.architectures.layers import Region
from yolo9000.architectures.onnx import build_onnx
from yolo9000.architectures.weights import ClassRows, Model, fold_batch_norm, has_splittable_head, split_head

if TYPE_CHECKING:
    from onnx import ModelProto
    from openvino import Model as OpenVinoModel

__all__ = ["EngineName", "ModelProgram", "OnnxProgram", "OpenVinoProgram", "Program", "prepare"]

WHOLE = (("head", -1),)
SPLIT = (("boxes", -1), ("features", -2))


@dataclass(frozen=True)
class ModelProgram:
    """A model with batch norm folded; any engine runs it.

    Attributes:
        model: rows and numbers.
        outputs: name and row of each output.
    """

    model: Model
    outputs: tuple[tuple[str, int], ...]

    def to_onnx(self) -> ModelProto:
        """The same as an ONNX graph."""
        return build_onnx(self.model, self.outputs)

    def onnx_bytes(self) -> bytes:
        """The same as the bytes of an ``.onnx`` file."""
        return bytes(self.to_onnx().SerializeToString())


@dataclass(frozen=True)
class OnnxProgram:
    """The contents of an ``.onnx`` file."""

    data: bytes

    def onnx_bytes(self) -> bytes:
        """The bytes of the file."""
        return self.data


@dataclass(frozen=True)
class OpenVinoProgram:
    """A network that OpenVINO has read from its own format."""

    model: OpenVinoModel


EngineName = Literal["openvino", "onnxruntime", "torch"]
Program = ModelProgram | OnnxProgram | OpenVinoProgram


def prepare(model: Model, *, split: bool | None = None) -> tuple[ModelProgram, ClassRows | None]:
    """Make a detector ready for an engine.

    Args:
        model: as read or trained.
        split: keep the class rows apart; None does so where they can be and the head is wider than what it reads, so
            that computing classes only for the boxes that need them pays.

    Returns:
        The program, and the class rows where they are kept apart.

    Raises:
        WeightsError: a convolution has no numbers.
        ConfigError: the network has no class head that can be split off.
    """
    folded = fold_batch_norm(model)
    if split is None:
        split = has_wide_plain_head(folded)
    if not split:
        return ModelProgram(folded, WHOLE), None
    trunk, class_rows = split_head(folded)
    return ModelProgram(trunk, SPLIT), class_rows


def has_wide_plain_head(model: Model) -> bool:
    """Whether a detector's last convolution has more filters than input channels and is one that `split_head` takes."""
    architecture = model.architecture
    head = architecture.head
    return (
        isinstance(head, Region)
        and has_splittable_head(architecture)
        and len(architecture.body) > 1
        and head.filters > architecture.input_channels()[len(architecture.body) - 1]
    )
