"""The engines that run a network: OpenVINO, ONNX Runtime and PyTorch, behind one small protocol.

An engine is one module in this folder with a ``NAME`` and a class named ``ENGINE``, and one line in `ENGINES`. It is
imported when it is used.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Literal, cast, get_args

from yolo9000.checkpoints.model import LoadedModel
from yolo9000.checkpoints.receipt import allows_bfloat16
from yolo9000.errors import EngineError
from yolo9000.inference.engines.base import Engine, EngineClass, Precision
from yolo9000.io.cores import available_cores

__all__ = ["ENGINES", "Engine", "EngineName", "Precision", "choose_engine", "start_engine"]


@dataclass(frozen=True)
class EngineEntry:
    """Where an engine is, and what it needs.

    Attributes:
        module: the engine's module.
        library: the package that it uses.
        install: the command that installs that package.
    """

    module: str
    library: str
    install: str


ENGINES = {
    "openvino": EngineEntry("yolo9000.inference.engines.openvino", "openvino", "pip install yolo9000[openvino]"),
    "onnxruntime": EngineEntry("yolo9000.inference.engines.onnxruntime", "onnxruntime", "pip install onnxruntime"),
    "torch": EngineEntry("yolo9000.inference.engines.torch", "torch", "pip install yolo9000[train]"),
}
"""The engines, fastest first on a CPU."""

if TYPE_CHECKING:
    EngineName = str
else:
    EngineName = Literal[tuple(ENGINES)]


def choose_engine(wanted: str = "auto") -> EngineName:
    """The engine to use: the given one, or for ``auto`` the fastest that is installed.

    Raises:
        EngineError: it is unknown or not installed.
    """
    if wanted == "auto":
        installed = [name for name, entry in ENGINES.items() if find_spec(entry.library) is not None]
        if not installed:
            raise EngineError(f"no engine is installed: {ENGINES['onnxruntime'].install}")
        return installed[0]
    if wanted not in ENGINES:
        raise EngineError(f"must be one of auto, {', '.join(ENGINES)}, got {wanted!r}", argument="engine")
    if find_spec(ENGINES[wanted].library) is None:
        raise EngineError(f"the engine {wanted} is not installed: {ENGINES[wanted].install}")
    return wanted


def start_engine(
    name: EngineName,
    model: LoadedModel,
    *,
    device: str = "cpu",
    precision: Precision = "auto",
    threads: int | None = None,
) -> Engine:
    """Load a model into an engine.

    Args:
        name: the engine.
        model: the model.
        device: ``cpu``, ``cuda``, ``cuda:1``; for OpenVINO also ``gpu``.
        precision: what to compute in. bfloat16 needs a CPU that has it; ``auto`` takes it there, if the model's receipt
            says that it answers as well as in float32.
        threads: number of CPU threads; None for one for each core that this process may use.

    Raises:
        EngineError: the engine cannot run such a model, or has no such device or precision.
    """
    if precision not in get_args(Precision):
        known = ", ".join(get_args(Precision))
        raise EngineError(f"must be one of {known}, got {precision!r}", argument="precision")
    if threads is not None and threads < 1:
        raise EngineError(f"must be at least 1, got {threads}", argument="threads")
    engine = cast(EngineClass, import_module(ENGINES[name].module).ENGINE)
    threads = threads or available_cores()
    if precision == "auto" and allows_bfloat16(model):
        try:
            return engine(model, device, "bfloat16", threads)
        except EngineError as error:
            if error.argument != "precision":
                raise
    return engine(model, device, "float32" if precision == "auto" else precision, threads)
