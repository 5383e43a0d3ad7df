"""Detectors in one file, ``.onnx`` or OpenVINO's ``.xml`` + ``.bin``: the graph, and what its numbers mean.

Beside the program's outputs a file may hold the class rows of a split head, as the constant outputs ``class_weights``
(A, K, C) and ``class_biases`` (A, K). They are taken out on reading: no engine computes them. Weights may be stored in
half precision, or in 8 bits with a scale for each filter; they are computed with in float32 all the same.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING, Literal

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from jaxtyping import Float32
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper
from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt, ValidationError

from yolo9000.architectures.weights import ClassRows
from yolo9000.checkpoints.program import ModelProgram, OnnxProgram, OpenVinoProgram, Program
from yolo9000.errors import EngineError, TreeError, WeightsError, describe_errors
from yolo9000.inference.decode import DenseClassLogits, HeadOutput, HeadSpec, LazyClassLogits
from yolo9000.taxonomy.wordtree import WordTree

if TYPE_CHECKING:
    import openvino as ov

__all__ = ["PreparedDetector", "WeightsDtype", "read_onnx", "read_openvino", "to_onnx"]

KEY = "yolo9000"
CLASS_WEIGHTS, CLASS_BIASES = "class_weights", "class_biases"
WeightsDtype = Literal["float32", "float16", "int8"]
"""How weights are stored: as they are; in half precision; in 8 bits with a float32 scale for each filter or class."""
SMALL, SCALES = ".small", ".scales"
MESSAGE_LENGTH = 300  # an error in the metadata may quote all 9,418 names


@dataclass(frozen=True)
class PreparedDetector:
    """A detector that an engine can run.

    Attributes:
        program: the network.
        spec: what its numbers mean.
        class_rows: the class half of its last layer where that is kept apart.
        network_wh: the input's width and height in pixels, unless asked for another.
        stride: what width and height must be multiples of.
    """

    program: Program
    spec: HeadSpec
    class_rows: ClassRows | None
    network_wh: tuple[int, int]
    stride: int

    def head_output(
        self, arrays: tuple[Float32[np.ndarray, "n _ gh gw"], ...], network_wh: tuple[int, int]
    ) -> HeadOutput:
        """Put the arrays that an engine gave for a batch into their places.

        Raises:
            EngineError: they are not what this detector's network gives.
        """
        anchors = len(self.spec.anchors_wh_cells)
        first = arrays[0]
        per_anchor = 5 if self.class_rows else 5 + self.spec.class_count
        expected = [anchors * per_anchor]
        if self.class_rows:
            expected.append(self.class_rows.weights.shape[2])
        if [array.shape[1] for array in arrays] != expected:
            channels = " and ".join(str(array.shape[1]) for array in arrays)
            raise EngineError(f"the network must give {' and '.join(map(str, expected))} channels, got {channels}")
        n, _, h, w = first.shape
        t = first.reshape(n, anchors, per_anchor, h, w)
        if self.class_rows:
            rows = LazyClassLogits(arrays[1], self.class_rows.weights, self.class_rows.biases)
            return HeadOutput(t, rows, network_wh)
        return HeadOutput(t[:, :, :5], DenseClassLogits(t[:, :, 5:]), network_wh)


class _TreeMeta(BaseModel):
    model_config = ConfigDict(extra="forbid")
    parents: list[int]
    ids: list[str]


class _Meta(BaseModel):
    """What an exported file says about itself."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)
    version: Literal[1] = 1
    network_wh: tuple[PositiveInt, PositiveInt]
    stride: PositiveInt
    anchors_wh_cells: list[tuple[PositiveFloat, PositiveFloat]] = Field(min_length=1)
    names: list[str] = Field(min_length=1)
    classes: Literal["softmax", "sigmoid", "tree"]
    tree: _TreeMeta | None
    resize_mode: Literal["letterbox", "stretch"]
    hier_thresh: float | None = Field(default=None, ge=0, lt=1)


def to_metadata(detector: PreparedDetector) -> str:
    """What an exported file says about its numbers, as JSON."""
    spec = detector.spec
    tree = None
    if spec.tree is not None:
        tree = _TreeMeta(parents=spec.tree.parents.tolist(), ids=list(spec.tree.ids))
    return _Meta(
        network_wh=detector.network_wh,
        stride=detector.stride,
        anchors_wh_cells=[(float(w), float(h)) for w, h in spec.anchors_wh_cells],
        names=list(spec.names),
        classes=spec.classes,
        tree=tree,
        resize_mode=spec.resize_mode,
        hier_thresh=spec.hier_thresh,
    ).model_dump_json()


def from_metadata(text: str | bytes, program: Program, class_rows: ClassRows | None) -> PreparedDetector:
    """The detector of an exported file.

    Args:
        text: what `to_metadata` gave; bytes where a damaged file holds no text.
        program: the file's network.
        class_rows: its class rows, if any.

    Raises:
        WeightsError: the metadata is wrong, or does not fit the class rows.
    """
    try:
        meta = _Meta.model_validate_json(text)
        tree = WordTree.from_parents(meta.tree.parents, meta.names, meta.tree.ids) if meta.tree else None
        if tree is not None:
            tree.check_groups_contiguous()
    except ValidationError as error:
        text = shorten(describe_errors(error), MESSAGE_LENGTH, placeholder=" ...")
        raise WeightsError(f"its metadata are wrong: {text}") from None
    except (TreeError, OverflowError) as error:
        raise WeightsError(f"its tree is wrong: {error}") from None
    if (tree is not None) != (meta.classes == "tree"):
        raise WeightsError("its metadata are wrong: a tree must be given exactly where classes is 'tree'")
    anchors = np.array(meta.anchors_wh_cells, np.float32)
    if class_rows is not None and class_rows.weights.shape[:2] != (len(anchors), len(meta.names)):
        raise WeightsError(
            f"class_weights must have shape ({len(anchors)}, {len(meta.names)}, C), got {class_rows.weights.shape}"
        )
    spec = HeadSpec(anchors, tuple(meta.names), meta.classes, tree, meta.resize_mode, hier_thresh=meta.hier_thresh)
    return PreparedDetector(program, spec, class_rows, meta.network_wh, meta.stride)


def to_onnx(detector: PreparedDetector, *, dtype: WeightsDtype = "float32") -> ModelProto:
    """The detector as one ONNX file: graph, class rows and metadata.

    Args:
        detector: what is written.
        dtype: how its weights are stored.

    Raises:
        EngineError: the detector was itself read from an exported file.
        WeightsError: half precision cannot hold a number.
    """
    if not isinstance(detector.program, ModelProgram):
        raise EngineError("an exported file cannot be exported again: export from the .cfg and .weights")
    proto = detector.program.to_onnx()
    if detector.class_rows is not None:
        for name, values in (
            (CLASS_WEIGHTS, detector.class_rows.weights),
            (CLASS_BIASES, detector.class_rows.biases),
        ):
            proto.graph.initializer.append(numpy_helper.from_array(values, f"{name}.values"))
            proto.graph.node.append(helper.make_node("Identity", [f"{name}.values"], [name]))
            proto.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, values.shape))
    if dtype != "float32":
        _store(proto, _stored_in_half if dtype == "float16" else _stored_in_int8)
    proto.producer_name = KEY
    helper.set_model_props(proto, {KEY: to_metadata(detector)})
    return proto


_Stored = tuple[list[TensorProto], NodeProto]
"""What stands for a constant: smaller ones, and the node that restores it of them."""


def _store(proto: ModelProto, stored: Callable[[str, np.ndarray], _Stored]) -> None:
    """Replace kernels and class weights by small constants, each with the node that restores it; biases stay exact.

    Args:
        proto: changed in place.
        stored: gives, of a constant's name and values, what stands for it in the file.
    """
    graph = proto.graph
    constants: list[TensorProto] = []
    nodes: list[NodeProto] = []
    for tensor in graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.dtype == np.float32 and values.ndim > 2:
            small, node = stored(tensor.name, values)
            constants += small
            nodes.append(node)
        else:
            constants.append(tensor)
    nodes += graph.node
    del graph.initializer[:], graph.node[:]
    graph.initializer.extend(constants)
    graph.node.extend(nodes)


def _stored_in_half(name: str, values: np.ndarray) -> _Stored:
    with np.errstate(over="ignore"):
        halved = values.astype(np.float16)
    if not np.isfinite(halved).all():
        raise WeightsError(f"{name}: half precision holds numbers up to 65504, got larger ones")
    node = helper.make_node("Cast", [f"{name}{SMALL}"], [name], name=f"{name}.restored", to=TensorProto.FLOAT)
    return [numpy_helper.from_array(halved, f"{name}{SMALL}")], node


def _stored_in_int8(name: str, values: np.ndarray) -> _Stored:
    """A scale for each filter of a kernel (F, C, H, W), each class of class weights (A, K, C): the largest / 127."""
    axis = 0 if values.ndim == 4 else 1
    others = tuple(i for i in range(values.ndim) if i != axis)
    scales = np.maximum(np.abs(values).max(others) / np.float32(127), np.finfo(np.float32).tiny)
    whole = np.rint(values / np.expand_dims(scales, others)).astype(np.int8)
    inputs = [f"{name}{SMALL}", f"{name}{SCALES}"]
    node = helper.make_node("DequantizeLinear", inputs, [name], name=f"{name}.restored", axis=axis)
    return [numpy_helper.from_array(array, label) for array, label in zip((whole, scales), inputs, strict=True)], node


def _restore(proto: ModelProto) -> None:
    """The inverse of `_store`, in place, so that no engine has to restore weights for every image.

    Raises:
        WeightsError: a constant is damaged.
    """
    graph = proto.graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    for node in [node for node in graph.node if _restores(node)]:
        name = node.output[0]
        try:
            small, *scales = (constants[label] for label in node.input)
            values = numpy_helper.to_array(small).astype(np.float32)
            for tensor in scales:
                shape = [-1 if i == node.attribute[0].i else 1 for i in range(values.ndim)]
                values *= numpy_helper.to_array(tensor).reshape(shape)
            for tensor in (small, *scales):
                graph.initializer.remove(tensor)
        except Exception as error:  # a damaged tensor ends in errors of half a dozen types
            raise WeightsError(f"{name} cannot be read: {' '.join(str(error).split())}") from None
        graph.node.remove(node)
        graph.initializer.append(numpy_helper.from_array(values, name))


def _restores(node: NodeProto) -> bool:
    """Whether a node is one of those that `_store` adds."""
    return len(node.output) == 1 and list(node.input[:1]) == [f"{node.output[0]}{SMALL}"]


def read_onnx(path: str | Path) -> PreparedDetector:
    """Read a detector that was exported to ``.onnx``.

    Raises:
        WeightsError: the file cannot be read, is damaged, or was not exported by this program.
    """
    try:
        proto = onnx.load(str(path), load_external_data=False)
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read: {error.strerror}") from None
    except DecodeError:
        raise WeightsError(f"{path}: must be an ONNX file, but is damaged or something else") from None
    props = {prop.key: prop.value for prop in proto.metadata_props}
    if KEY not in props:
        raise WeightsError(f"{path}: must be exported by `yolo9000 export`: it does not say what its numbers mean")
    try:
        _restore(proto)
        class_rows = _take_class_rows(proto)
        return from_metadata(props[KEY], OnnxProgram(proto.SerializeToString()), class_rows)
    except WeightsError as error:
        raise WeightsError(f"{path}: {error}") from None


def _take_class_rows(proto: ModelProto) -> ClassRows | None:
    arrays = [_take_constant(proto, name) for name in (CLASS_WEIGHTS, CLASS_BIASES)]
    return _class_rows(*arrays)


def _class_rows(weights: np.ndarray | None, biases: np.ndarray | None) -> ClassRows | None:
    if weights is None and biases is None:
        return None
    if weights is None or biases is None or weights.ndim != 3 or biases.shape != weights.shape[:2]:
        raise WeightsError("class_weights and class_biases must be there both, with shapes (A, K, C) and (A, K)")
    if not weights.dtype == biases.dtype == np.float32:
        raise WeightsError(f"class_weights and class_biases must be float32, got {weights.dtype} and {biases.dtype}")
    return ClassRows(weights, biases)


def _take_constant(proto: ModelProto, name: str) -> np.ndarray | None:
    """Take a constant output out of the graph: output, nodes and values."""
    graph = proto.graph
    held = f"{name}.values"
    for repeated, called in (
        (graph.output, lambda output: output.name == name),
        (graph.node, lambda node: list(node.output) == [name]),
    ):
        for item in [item for item in repeated if called(item)]:
            repeated.remove(item)
    values = next((tensor for tensor in graph.initializer if tensor.name == held), None)
    if values is None:
        return None
    try:
        array = numpy_helper.to_array(values)
    except Exception as error:  # a damaged tensor ends in errors of half a dozen types
        raise WeightsError(f"{name} cannot be read: {' '.join(str(error).split())}") from None
    graph.initializer.remove(values)
    return array


def read_openvino(path: str | Path) -> PreparedDetector:
    """Read a detector that was exported to OpenVINO's ``.xml``.

    Raises:
        WeightsError: the files cannot be read, or were not exported by this program.
        EngineError: OpenVINO is not installed.
    """
    try:
        import openvino as ov
    except ImportError:
        raise EngineError(f"{path}: needs OpenVINO: pip install yolo9000[openvino]") from None
    try:
        model = ov.Core().read_model(str(path))
    except RuntimeError as error:
        raise WeightsError(f"{path}: OpenVINO cannot read it: {' '.join(str(error).split())}") from None
    if not model.has_rt_info([KEY]):
        raise WeightsError(f"{path}: must be exported by `yolo9000 export`: it does not say what its numbers mean")
    text = model.get_rt_info([KEY]).astype(str)
    try:
        class_rows = _class_rows(*(_take_result(model, name) for name in (CLASS_WEIGHTS, CLASS_BIASES)))
        return from_metadata(text, OpenVinoProgram(model), class_rows)
    except WeightsError as error:
        raise WeightsError(f"{path}: {error}") from None


def _take_result(model: ov.Model, name: str) -> np.ndarray | None:
    for result in model.get_results():
        if name in result.output(0).get_names() | result.input_value(0).get_names():
            node = result.input_value(0).get_node()
            if node.get_type_name() == "Convert":  # stored in half precision
                node = node.input_value(0).get_node()
            if node.get_type_name() != "Constant":
                raise WeightsError(f"{name} must be a constant of float32")
            values = np.array(node.data, np.float32)
            model.remove_result(result)
            return values
    return None
