"""Detectors in one ``.onnx`` file: the graph, the class rows and the metadata.

In addition to the outputs of the network a file may hold class rows that are kept apart, as the constant outputs
``class_weights`` (A, K, C) and ``class_biases`` (A, K), so that other programs can use them. They are taken out when
the file is read: no engine computes them. Weights may be stored as float16, or as int8 with a scale per filter; they
are restored when the file is read, since some runtimes would otherwise do so for every image.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from yolo9000.architectures.weights import ClassRows, dequantize, fold_batch_norm, quantize, to_float16
from yolo9000.checkpoints.darknet.cfg import write_cfg
from yolo9000.checkpoints.metadata import KEY, GraphNetwork, Metadata, check_digest, seal, tree_metadata
from yolo9000.checkpoints.model import LoadedModel
from yolo9000.choices import WeightsDtype
from yolo9000.errors import EngineError, WeightsError

__all__ = [
    "CLASS_BIASES",
    "CLASS_WEIGHTS",
    "class_rows_of",
    "exported_model",
    "onnx_file",
    "portable_graph",
    "read_onnx",
    "to_onnx",
]

CLASS_WEIGHTS, CLASS_BIASES = "class_weights", "class_biases"
SMALL, SCALES = ".small", ".scales"


def onnx_file(model: LoadedModel, *, dtype: WeightsDtype = "float32") -> bytes:
    """A detector as the bytes of an ``.onnx`` file: graph, class rows and metadata.

    Args:
        model: the detector.
        dtype: how its weights are stored.

    Raises:
        ConfigError: the model is a classifier.
        EngineError: the model is an OpenVINO file.
        WeightsError: a weight is out of the range of float16.
    """
    metadata = graph_metadata(model)
    proto = to_onnx(model, dtype=dtype)
    helper.set_model_props(proto, {KEY: metadata.model_dump_json()})
    return seal(proto.SerializeToString())


def to_onnx(model: LoadedModel, *, dtype: WeightsDtype = "float32") -> ModelProto:
    """The graph and the class rows of `onnx_file`."""
    if model.weights is None and not isinstance(model.graph, bytes):
        raise EngineError("an OpenVINO file cannot be written as ONNX; export the .onnx, .safetensors or .cfg")
    proto = onnx.load_model_from_string(model.graph) if isinstance(model.graph, bytes) else model.layers.to_onnx()
    if model.class_rows is not None:
        for name, values in ((CLASS_WEIGHTS, model.class_rows.weights), (CLASS_BIASES, model.class_rows.biases)):
            proto.graph.initializer.append(numpy_helper.from_array(values, f"{name}.values"))
            proto.graph.node.append(helper.make_node("Identity", [f"{name}.values"], [name]))
            proto.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, values.shape))
    if dtype != "float32":
        _store(proto, _stored_in_float16 if dtype == "float16" else _stored_in_int8)
    proto.producer_name = KEY
    return proto


def portable_graph(model: LoadedModel, *, dtype: WeightsDtype = "float32") -> bytes:
    """The graph and the class rows of `onnx_file`, without its metadata; arguments and errors are those of `onnx_file`.

    Weights that were read from 8 bits are stored in the same 8 bits again.
    """
    return bytes(to_onnx(model, dtype=dtype).SerializeToString())


def graph_metadata(model: LoadedModel) -> Metadata:
    """The metadata of an exported detector, before its digest is known.

    Raises:
        ConfigError: the model is a classifier.
    """
    head = model.detector_head
    network = GraphNetwork(
        network_wh=model.network_wh,
        stride=model.stride,
        anchors_wh_cells=[(float(w), float(h)) for w, h in head.anchors_wh_cells],
        classes=head.classes,
        cfg=model.graph_cfg
        if model.weights is None
        else write_cfg(fold_batch_norm(model.weights).architecture, for_darknet=False),
    )
    return Metadata(
        network=network,
        names=list(head.names),
        tree=tree_metadata(head.tree),
        resize_mode=head.resize_mode,
        hier_thresh=head.hier_thresh,
        trained=dict(model.trained),
    )


def exported_model(metadata: Metadata, graph: object, class_rows: ClassRows | None) -> LoadedModel:
    """The detector in an exported file.

    Args:
        metadata: of the file.
        graph: its network, see `LoadedModel.graph`.
        class_rows: its class rows, if any.

    Raises:
        WeightsError: the metadata is wrong, or does not match the class rows.
    """
    head, network = metadata.graph_head(), metadata.network
    assert isinstance(network, GraphNetwork)  # noqa: S101  graph_head raises otherwise
    anchors, classes = len(head.anchors_wh_cells), len(head.names)
    if class_rows is not None and class_rows.weights.shape[:2] != (anchors, classes):
        raise WeightsError(f"class_weights must have shape ({anchors}, {classes}, C), got {class_rows.weights.shape}")
    return LoadedModel(
        names=head.names,
        tree=head.tree,
        head=head,
        network_wh=network.network_wh,
        stride=network.stride,
        graph=graph,
        graph_class_rows=class_rows,
        graph_cfg=network.cfg,
        trained=metadata.trained,
    )


_Stored = tuple[list[TensorProto], NodeProto]
"""What replaces a constant in a file: smaller constants, and the node that restores it from them."""


def _store(proto: ModelProto, stored: Callable[[str, np.ndarray], _Stored]) -> None:
    """Replace kernels and class weights by smaller constants, each with the node that restores it; biases stay exact.

    Args:
        proto: changed in place.
        stored: a function of a constant's name and values that returns what replaces it.
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


def _stored_in_float16(name: str, values: np.ndarray) -> _Stored:
    try:
        halves = to_float16(values)
    except WeightsError as error:
        raise WeightsError(f"{name}: {error}") from None
    node = helper.make_node("Cast", [f"{name}{SMALL}"], [name], name=f"{name}.restored", to=TensorProto.FLOAT)
    return [numpy_helper.from_array(halves, f"{name}{SMALL}")], node


def _stored_in_int8(name: str, values: np.ndarray) -> _Stored:
    """One scale per filter of a kernel (F, C, H, W) or class of class weights (A, K, C)."""
    axis = 0 if values.ndim == 4 else 1
    integers, scales = quantize(values, axis)
    inputs = [f"{name}{SMALL}", f"{name}{SCALES}"]
    node = helper.make_node("DequantizeLinear", inputs, [name], name=f"{name}.restored", axis=axis)
    return [
        numpy_helper.from_array(array, label) for array, label in zip((integers, scales), inputs, strict=True)
    ], node


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
            values = numpy_helper.to_array(small)
            for tensor in scales:
                values = dequantize(values, numpy_helper.to_array(tensor), node.attribute[0].i)
            values = values.astype(np.float32)
            for tensor in (small, *scales):
                graph.initializer.remove(tensor)
        except Exception as error:  # a damaged tensor ends in errors of half a dozen types
            raise WeightsError(f"{name} cannot be read: {' '.join(str(error).split())}") from None
        graph.node.remove(node)
        graph.initializer.append(numpy_helper.from_array(values, name))


def _restores(node: NodeProto) -> bool:
    """Whether a node is one of those that `_store` adds."""
    return len(node.output) == 1 and list(node.input[:1]) == [f"{node.output[0]}{SMALL}"]


def read_onnx(path: str | Path) -> LoadedModel:
    """Read a detector that was exported to ``.onnx``.

    Raises:
        WeightsError: the file cannot be read, is damaged, or was not exported by this program.
    """
    try:
        return _parse(Path(path).read_bytes())
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read: {error.strerror}") from None
    except WeightsError as error:
        raise WeightsError(f"{path}: {error}") from None


def _parse(data: bytes) -> LoadedModel:
    try:
        proto = onnx.load_model_from_string(data)
    except DecodeError:
        raise WeightsError("not an ONNX file, or damaged") from None
    properties = {item.key: item.value for item in proto.metadata_props}
    if KEY not in properties:
        raise WeightsError("not an ONNX file that yolo9000 exported: it has no metadata of yolo9000")
    metadata = Metadata.parse(properties[KEY])
    check_digest(metadata, data)
    _restore(proto)
    class_rows = _take_class_rows(proto)
    return exported_model(metadata, proto.SerializeToString(), class_rows)


def _take_class_rows(proto: ModelProto) -> ClassRows | None:
    arrays = [_take_constant(proto, name) for name in (CLASS_WEIGHTS, CLASS_BIASES)]
    return class_rows_of(*arrays)


def class_rows_of(weights: np.ndarray | None, biases: np.ndarray | None) -> ClassRows | None:
    """The class rows in a file, or None if it has none.

    Raises:
        WeightsError: only one of the arrays is there, or they do not match.
    """
    if weights is None and biases is None:
        return None
    if weights is None or biases is None or weights.ndim != 3 or biases.shape != weights.shape[:2]:
        raise WeightsError("class_weights and class_biases must both be present, with shapes (A, K, C) and (A, K)")
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
