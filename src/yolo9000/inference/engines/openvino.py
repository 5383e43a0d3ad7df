"""OpenVINO as an engine: the fastest on Intel's and AMD's CPUs; float32 or bfloat16."""

from __future__ import annotations

from collections import OrderedDict
from copy import copy
from dataclasses import dataclass, field
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float32

from yolo9000.checkpoints.model import LoadedModel
from yolo9000.checkpoints.openvino import import_openvino
from yolo9000.checkpoints.receipt import computed_in
from yolo9000.errors import EngineError
from yolo9000.inference.engines.base import Precision

if TYPE_CHECKING:
    import openvino as ov
else:
    ov = import_openvino()

__all__ = ["ENGINE", "NAME", "OpenVinoEngine"]

NAME = "openvino"

PRECISIONS = {"float32": "f32", "bfloat16": "bf16"}
MAX_SHAPES = 4  # that are compiled at once; each takes some 50 MB


@dataclass(frozen=True)
class _Compiled:
    """A network for one shape, and its requests that no thread uses now: a request runs one batch at a time."""

    network: ov.CompiledModel
    idle: list[ov.InferRequest] = field(default_factory=list)

    def run(self, images: Float32[np.ndarray, "n 3 h w"]) -> tuple[Float32[np.ndarray, "n _ gh gw"], ...]:
        try:
            request = self.idle.pop()  # atomic, as append is
        except IndexError:
            request = self.network.create_infer_request()
        results = request.infer(images, share_inputs=True)
        outputs = tuple(np.array(results[i]) for i in range(len(results)))
        self.idle.append(request)
        return outputs


class OpenVinoEngine:
    """See `yolo9000.inference.engines.base.Engine`.

    The network is compiled for each shape of input on its first use: with fixed shapes OpenVINO plans memory and
    kernels ahead. The shapes that were used last are kept. Several threads may run it at once.
    """

    name = NAME

    def __init__(self, model: LoadedModel, device: str, precision: Precision, threads: int) -> None:
        self.precision = computed_in(model, precision)
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
        self._start()

    def _start(self) -> None:
        self._compiled: OrderedDict[tuple[int, ...], _Compiled] = OrderedDict()
        self._lock = Lock()

    def parallel(self, workers: int) -> OpenVinoEngine:
        """See `yolo9000.inference.engines.base.Engine.parallel`."""
        other = copy(self)
        other._options = self._options | {"PERFORMANCE_HINT": "THROUGHPUT", "NUM_STREAMS": workers}
        other._start()
        return other

    def run(self, images: Float32[np.ndarray, "n 3 h w"]) -> tuple[Float32[np.ndarray, "n _ gh gw"], ...]:
        """See `yolo9000.inference.engines.base.Engine.run`."""
        return self._for_shape(images.shape).run(images)

    def _for_shape(self, shape: tuple[int, ...]) -> _Compiled:
        with self._lock:
            if shape not in self._compiled:
                self._compiled[shape] = _Compiled(self._compile(shape))
                if len(self._compiled) > MAX_SHAPES:
                    self._compiled.popitem(last=False)
            self._compiled.move_to_end(shape)
            return self._compiled[shape]

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
