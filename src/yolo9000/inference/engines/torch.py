"""PyTorch as an engine: channels last, float32 or bfloat16, on a CPU or a GPU."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy
from threading import Lock

import numpy as np
import torch
from jaxtyping import Float32
from torch.nn.utils import convert_conv2d_weight_memory_format

from yolo9000.architectures.torch import Network
from yolo9000.checkpoints.model import LoadedModel
from yolo9000.errors import EngineError
from yolo9000.inference.engines.base import Precision

__all__ = ["ENGINE", "NAME", "TorchEngine", "has_bfloat16"]

NAME = "torch"


class TorchEngine:
    """See `yolo9000.inference.engines.base.Engine`."""

    name = NAME

    def __init__(self, model: LoadedModel, device: str, precision: Precision, threads: int) -> None:
        self._device = _device(device)
        if precision == "bfloat16" and not has_bfloat16(self._device):
            raise EngineError(f"the device {device} cannot compute in bfloat16", argument="precision")
        self.precision = precision
        self._dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32
        if model.weights is None:
            raise EngineError(
                "the engine torch cannot run an exported file; the engine openvino can, of .onnx also onnxruntime"
            )
        self._threads = threads
        layers = model.layers
        self._outputs = tuple(index for _, index in layers.outputs)
        network = Network(layers.model.architecture)
        network.load(layers.model)
        network.eval().to(self._device, self._dtype)
        self._network = convert_conv2d_weight_memory_format(network, torch.channels_last)

    def parallel(self, workers: int) -> TorchEngine:
        """See `yolo9000.inference.engines.base.Engine.parallel`."""
        other = copy(self)
        other._threads = max(1, self._threads // workers)
        return other

    @torch.inference_mode()
    def run(self, images: Float32[np.ndarray, "n 3 h w"]) -> tuple[Float32[np.ndarray, "n _ gh gw"], ...]:
        """See `yolo9000.inference.engines.base.Engine.run`."""
        with _number_of_threads(self._threads):
            return self._run(images)

    def _run(self, images: Float32[np.ndarray, "n 3 h w"]) -> tuple[Float32[np.ndarray, "n _ gh gw"], ...]:
        batch = torch.from_numpy(images).to(self._device, self._dtype, memory_format=torch.channels_last)
        return tuple(out.float().cpu().contiguous().numpy() for out in self._network(batch, self._outputs))


@contextmanager
def _number_of_threads(threads: int) -> Iterator[None]:
    """Torch has one number of threads for the whole process: the user's own is restored when no engine runs."""
    with _LOCK:
        if not _RUNNING:
            _USERS[:] = [torch.get_num_threads()]
        _RUNNING.append(threads)
        torch.set_num_threads(threads)
    try:
        yield
    finally:
        with _LOCK:
            _RUNNING.remove(threads)
            if not _RUNNING:
                torch.set_num_threads(_USERS[0])


_LOCK = Lock()
_RUNNING: list[int] = []  # the number of threads of each run that goes on now
_USERS: list[int] = []  # the number of threads before them


def _device(name: str) -> torch.device:
    try:
        device = torch.device("cuda" if name == "gpu" else name)
    except RuntimeError:
        raise EngineError(f"must be cpu, cuda or cuda:N, got {name!r}", argument="device") from None
    if device.type not in ("cpu", "cuda"):
        raise EngineError(f"must be cpu, cuda or cuda:N, got {name!r}", argument="device")
    if device.type == "cuda" and not torch.cuda.is_available():
        raise EngineError(f"{name!r} is not available: torch finds no CUDA device", argument="device")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise EngineError(f"must be below cuda:{torch.cuda.device_count()}, got {name!r}", argument="device")
    return device


def has_bfloat16(device: torch.device) -> bool:
    """Whether the device computes in bfloat16."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


ENGINE = TorchEngine
