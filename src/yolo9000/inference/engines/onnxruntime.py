"""ONNX Runtime as an engine: the portable one; float32."""

from __future__ import annotations

import os
from copy import copy

import numpy as np
from jaxtyping import Float32

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # else its import writes into HOME and asks DNS for a server
import onnxruntime as ort

from yolo9000.architectures.onnx import INPUT
from yolo9000.checkpoints.model import LoadedModel
from yolo9000.checkpoints.receipt import computed_in
from yolo9000.errors import EngineError
from yolo9000.inference.engines.base import Precision

__all__ = ["ENGINE", "NAME", "OnnxRuntimeEngine"]

NAME = "onnxruntime"

ERRORS_ONLY = 3  # ONNX Runtime's log level


class OnnxRuntimeEngine:
    """See `yolo9000.inference.engines.base.Engine`."""

    name = NAME

    def __init__(self, model: LoadedModel, device: str, precision: Precision, threads: int) -> None:
        if precision != "float32":
            message = f"the engine onnxruntime computes in float32, not {precision}; torch and openvino have bfloat16"
            raise EngineError(message, argument="precision")
        self.precision = computed_in(model, precision)
        self._network, self._providers = model.onnx_bytes(), _providers(device)
        self._start(threads)

    def parallel(self, workers: int) -> OnnxRuntimeEngine:
        """See `yolo9000.inference.engines.base.Engine.parallel`."""
        other = copy(self)
        other._start(max(1, self._threads // workers))
        return other

    def _start(self, threads: int) -> None:
        self._threads = threads
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = ERRORS_ONLY
        # Waiting threads sleep: spinning gains nothing measurable, and takes a core from other work.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session = ort.InferenceSession(self._network, options, providers=self._providers)
        except Exception as error:  # ONNX Runtime's own error types have no public base class
            raise EngineError(f"ONNX Runtime cannot load the network: {' '.join(str(error).split())}") from None

    def run(self, images: Float32[np.ndarray, "n 3 h w"]) -> tuple[Float32[np.ndarray, "n _ gh gw"], ...]:
        """See `yolo9000.inference.engines.base.Engine.run`."""
        return tuple(self._session.run(None, {INPUT: images}))


def _providers(device: str) -> list[str | tuple[str, dict[str, int]]]:
    kind, _, index = device.partition(":")
    if kind == "cpu" and not index:
        return ["CPUExecutionProvider"]
    if kind not in ("cuda", "gpu") or (index and not index.isdigit()):
        raise EngineError(f"must be cpu, cuda or cuda:N, got {device!r}", argument="device")
    if "CUDAExecutionProvider" not in ort.get_available_providers():
        message = f"{device!r} is not available: this ONNX Runtime has no CUDA (pip install onnxruntime-gpu)"
        raise EngineError(message, argument="device")
    return [("CUDAExecutionProvider", {"device_id": int(index or 0)}), "CPUExecutionProvider"]


ENGINE = OnnxRuntimeEngine
