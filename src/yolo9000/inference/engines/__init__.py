"""What runs a network: torch, ONNX Runtime or OpenVINO, behind one small protocol.

An engine takes a batch of images and gives the arrays that `postprocess` understands. No engine is imported before it
is asked for.
"""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from typing import Literal, Protocol, get_args, runtime_checkable

import numpy as np
from jaxtyping import Float32

from yolo9000.checkpoints.program import EngineName, ModelProgram, OnnxProgram, OpenVinoProgram, Program
from yolo9000.errors import EngineError

# Importing OpenVINO reports that to Google Analytics and writes an id into the user's home, unless its telemetry
# package cannot be imported. Nobody who asks for boxes has asked for that.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]

__all__ = ["ENGINES", "Engine", "EngineName", "Precision", "choose_engine", "start_engine"]

Precision = Literal["float32", "bfloat16"]
ENGINES: dict[EngineName, str] = {
    "openvino": "pip install yolo9000[openvino]",
    "onnxruntime": "pip install onnxruntime",
    "torch": "pip install yolo9000[train]",
}
"""The engines, fastest first (on CPUs), and what installs each."""


@runtime_checkable
class Engine(Protocol):
    """Runs one network."""

    name: EngineName

    def run(self, images: Float32[np.ndarray, "n 3 h w"]) -> tuple[Float32[np.ndarray, "n _ gh gw"], ...]:
        """The network's outputs for a batch.

        Args:
            images: RGB in [0, 1]; H and W multiples of the network's stride.

        Returns:
            The program's outputs: (head,), or (boxes, features) where the class rows are kept apart; see `program`.
        """
        ...


def choose_engine(wanted: EngineName | Literal["auto"]) -> EngineName:
    """The engine to use: the one asked for, or the fastest that is installed.

    Raises:
        EngineError: it is unknown or not installed.
    """
    if wanted == "auto":
        installed = [name for name in ENGINES if find_spec(name) is not None]
        if not installed:
            raise EngineError(f"no engine is installed: {ENGINES['onnxruntime']}")
        return installed[0]
    if wanted not in ENGINES:
        raise EngineError(f"must be one of auto, {', '.join(ENGINES)}, got {wanted!r}", argument="engine")
    if find_spec(wanted) is None:
        raise EngineError(f"the engine {wanted} is not installed: {ENGINES[wanted]}")
    return wanted


def start_engine(
    name: EngineName,
    program: Program,
    *,
    device: str = "cpu",
    precision: Precision = "float32",
    threads: int | None = None,
) -> Engine:
    """Load a program into an engine.

    Args:
        name: the engine; it must suit the program's kind.
        program: the network.
        device: ``cpu``, ``cuda``, ``cuda:1``; for OpenVINO also ``gpu``.
        precision: numbers to compute in; bfloat16 needs a CPU that has it.
        threads: CPU threads; None for one for each core that this process may use.

    Raises:
        EngineError: the engine cannot run such a program, or has no such device or precision.
    """
    if precision not in get_args(Precision):
        known = ", ".join(get_args(Precision))
        raise EngineError(f"must be one of {known}, got {precision!r}", argument="precision")
    if threads is not None and threads < 1:
        raise EngineError(f"must be at least 1, got {threads}", argument="threads")
    threads = threads or available_cores()
    match name, program:
        case "torch", ModelProgram():
            from yolo9000.inference.engines.torch import TorchEngine

            return TorchEngine(program, device, precision, threads)
        case "onnxruntime", ModelProgram() | OnnxProgram():
            from yolo9000.inference.engines.onnxruntime import OnnxRuntimeEngine

            return OnnxRuntimeEngine(program, device, precision, threads)
        case "openvino", _:
            from yolo9000.inference.engines.openvino import OpenVinoEngine

            return OpenVinoEngine(program, device, precision, threads)
        case _, OpenVinoProgram():
            raise EngineError(f"the engine {name} cannot run an OpenVINO file (.xml); the engine openvino can")
        case _:
            raise EngineError(f"the engine {name} cannot run an .onnx file; the engines onnxruntime and openvino can")


def available_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
