"""Graphs that compute in 8 bits, made from float32 graphs and images: by NNCF for OpenVINO, by ONNX Runtime for ONNX.

Layers are named as in `architectures.onnx`: the convolution of layer 3 is ``layer3.conv``, or ``layer3`` without an
activation.
"""

from __future__ import annotations

import io
import logging
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import onnx
from jaxtyping import Float32

from yolo9000.architectures.onnx import INPUT
from yolo9000.checkpoints.openvino import import_openvino, without_telemetry
from yolo9000.errors import needs_extra

if TYPE_CHECKING:
    from openvino import Model as OpenVinoModel

    Graph: TypeAlias = bytes | OpenVinoModel
else:
    Graph = OpenVinoModel = Any

__all__ = ["Graph", "conv_names", "layer_outputs", "quantized_onnx", "quantized_openvino"]

Images = Sequence[Float32[np.ndarray, "1 3 h w"]]
_NNCF_SUFFIX = "/WithoutBiases"  # OpenVINO's reader divides a convolution into products and the addition of biases


def conv_names(network: bytes) -> list[str]:
    """The convolutions of an ONNX graph, in its order."""
    return [node.name for node in onnx.load_model_from_string(network).graph.node if node.op_type == "Conv"]


def quantized_openvino(network: bytes, images: Images, float_layers: Sequence[str]) -> OpenVinoModel:
    """A graph of OpenVINO in int8, by NNCF's post-training quantization.

    Args:
        network: an ONNX graph.
        images: for the ranges of activations.
        float_layers: convolutions that stay in float32.

    Raises:
        EngineError: NNCF or OpenVINO is not installed.
    """
    with needs_extra("quantize", "int8 for OpenVINO"), without_telemetry(), _quiet():
        import nncf

        ov = import_openvino()
    ignored = nncf.IgnoredScope(
        names=[name + suffix for name in float_layers for suffix in ("", _NNCF_SUFFIX)], validate=False
    )
    with _quiet():
        return nncf.quantize(
            ov.Core().read_model(network),
            nncf.Dataset(images),
            preset=nncf.QuantizationPreset.MIXED,
            subset_size=len(images),
            ignored_scope=ignored,
        )


def quantized_onnx(network: bytes, images: Images, float_layers: Sequence[str]) -> bytes:
    """An ONNX graph in int8: QuantizeLinear and DequantizeLinear around each layer; arguments of `quantized_openvino`.

    Activations are unsigned, weights signed with a scale for each filter.
    """
    with _quiet():
        from onnxruntime import quantization as ort

        class Reader(ort.CalibrationDataReader):  # type: ignore[misc]
            def __init__(self) -> None:
                self._images = iter(images)

            def get_next(self) -> dict[str, np.ndarray] | None:
                image = next(self._images, None)
                return None if image is None else {INPUT: image}

        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "quantized.onnx"
            ort.quantize_static(
                onnx.load_model_from_string(network),
                path,
                Reader(),
                quant_format=ort.QuantFormat.QDQ,
                per_channel=True,
                activation_type=ort.QuantType.QUInt8,
                weight_type=ort.QuantType.QInt8,
                nodes_to_exclude=list(float_layers),
                extra_options={"CalibMovingAverage": True},
            )
            return path.read_bytes()


def layer_outputs(graph: Graph, names: Sequence[str], images: Images) -> Iterator[list[np.ndarray]]:
    """The outputs of some convolutions, before their activations, for each image.

    Args:
        graph: an ONNX graph, or one of OpenVINO; in float32 or quantized.
        names: of the convolutions.
        images: the images.
    """
    run = _onnx_outputs(graph, names) if isinstance(graph, bytes) else _openvino_outputs(graph, names)
    return (run(image) for image in images)


def _onnx_outputs(graph: bytes, names: Sequence[str]) -> Any:
    import onnxruntime

    proto = onnx.load_model_from_string(graph)
    del proto.graph.output[:]
    proto.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in names)
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    return lambda image: session.run(list(names), {INPUT: image})


def _openvino_outputs(graph: OpenVinoModel, names: Sequence[str]) -> Any:
    ov = import_openvino()
    copy = graph.clone()
    operations = {operation.get_friendly_name(): operation for operation in copy.get_ordered_ops()}
    wanted = [operations.get(name + _NNCF_SUFFIX) or operations[name] for name in names]
    before = len(copy.outputs)
    copy.add_outputs([operation.output(0) for operation in wanted])
    network = ov.Core().compile_model(copy, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return lambda image: [np.array(values) for values in list(network(image).values())[before:]]


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the progress bars and hints of the quantizers."""
    disabled = logging.root.manager.disable  # not the root's level, which a quantizer copies to the handlers of others
    logging.disable(logging.WARNING)
    try:
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            yield
    finally:
        logging.disable(disabled)
