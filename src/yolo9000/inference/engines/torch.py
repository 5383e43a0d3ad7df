"""PyTorch as an engine: channels last, float32 or bfloat16, on a CPU or a GPU."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float32
from torch.nn.utils import convert_conv2d_weight_memory_format

from yolo9000.architectures.torch import Network
from yolo9000.checkpoints.program import EngineName, ModelProgram
from yolo9000.errors import EngineError

__all__ = ["TorchEngine", "has_bfloat16"]


class TorchEngine:
    """See `yolo9000.inference.engines.Engine`."""

    name: EngineName = "torch"

    def __init__(self, program: ModelProgram, device: str, precision: str, threads: int) -> None:
        self._device = _device(device)
        if precision == "bfloat16" and not has_bfloat16(self._device):
            raise EngineError(f"the device {device} cannot compute in bfloat16", argument="precision")
        self._dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32
        self._taps = tuple(row for _, row in program.outputs)
        torch.set_num_threads(threads)
        network = Network(program.model.architecture)
        network.load(program.model)
        network.eval().to(self._device, self._dtype)
        self._network = convert_conv2d_weight_memory_format(network, torch.channels_last)

    @torch.inference_mode()
    def run(self, images: Float32[np.ndarray, "n 3 h w"]) -> tuple[Float32[np.ndarray, "n _ gh gw"], ...]:
        """See `yolo9000.inference.engines.Engine.run`."""
        batch = torch.from_numpy(images).to(self._device, self._dtype, memory_format=torch.channels_last)
        return tuple(out.float().cpu().contiguous().numpy() for out in self._network(batch, self._taps))


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
    """Whether the device itself computes in bfloat16."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
