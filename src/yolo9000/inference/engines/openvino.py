"""OpenVINO as an engine: the fastest on Intel's and AMD's CPUs; float32 or bfloat16."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float32

from yolo9000.checkpoints.model import LoadedModel
from yolo9000.checkpoints.openvino import import_openvino
from yolo9000.errors import EngineError
from yolo9000.inference.engines.base import Precision

if TYPE_CHECKING:
    import openvino as ov
else:
    ov = import_openvino()

__all__ = ["ENGINE", "NAME", "OpenVinoEngine"]

NAME = "openvino"

PRECISIONS = {"float32": "f32", "bfloat16": "bf16"}


class OpenVinoEngine:
    """See `yolo9000.inference.engines.base.Engine`.

    The network is compiled for each shape of input on its first use: with fixed shapes OpenVINO plans memory and
    kernels ahead.
    """

    name = NAME

    def __init__(self, model: LoadedModel, device: str, precision: Precision, threads: int) -> None:
        self._core = ov.Core()
        self._device = _device(self._core, device)
        if precision == "bfloat16" and "BF16" not in self._core.get_property(self._device, "OPTIMIZATION_CAPABILITIES"):
            raise EngineError(f"the device {device} cannot compute in bfloat16", argument="precision")
        self._options: dict[str, Any] = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": PRECISIONS[precision],
        }
        if self._device == "CPU":
            self._options["INFERENCE_NUM_THREADS"] = threads
        self._model = _read(self._core, model)
        self._compiled: dict[tuple[int, ...], ov.CompiledModel] = {}

    def run(self, images: Float32[np.ndarray, "n 3 h w"]) -> tuple[Float32[np.ndarray, "n _ gh gw"], ...]:
        """See `yolo9000.inference.engines.base.Engine.run`."""
        if images.shape not in self._compiled:
            self._compiled[images.shape] = self._compile(images.shape)
        results = self._compiled[images.shape](images)
        return tuple(np.array(results[i]) for i in range(len(results)))

    def _compile(self, shape: tuple[int, ...]) -> ov.CompiledModel:
        model = self._model.clone()
        try:
            model.reshape(list(shape))
            return self._core.compile_model(model, self._device, self._options)
        except RuntimeError as error:
            raise EngineError(f"OpenVINO cannot compile the network: {' '.join(str(error).split())}") from None


def _read(core: ov.Core, model: LoadedModel) -> ov.Model:
    if isinstance(model.graph, ov.Model):
        return model.graph
    network = model.onnx_bytes()
    try:
        return core.read_model(network)
    except RuntimeError as error:
        raise EngineError(f"OpenVINO cannot load the network: {' '.join(str(error).split())}") from None


def _device(core: ov.Core, name: str) -> str:
    device = name.upper().replace(":", ".")
    if device not in {known for device in core.available_devices for known in (device, device.split(".")[0])}:
        known = ", ".join(core.available_devices).lower().replace(".", ":")
        raise EngineError(f"must be one of {known} for OpenVINO, got {name!r}", argument="device")
    return device


ENGINE = OpenVinoEngine
