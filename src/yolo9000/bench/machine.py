"""What the machine can do at best: the speed of large matrix products, and how soon the command is ready."""

from __future__ import annotations

import platform
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from yolo9000.checkpoints.load import load_model
from yolo9000.checkpoints.model import LoadedModel
from yolo9000.checkpoints.openvino import import_openvino
from yolo9000.errors import YoloError
from yolo9000.io.cores import available_cores

__all__ = ["cpu_name", "gemm_peaks", "operations", "start_times"]

SIDE = 2048
STARTS = 3
COMMANDS = {"import yolo9000": ["-c", "import yolo9000"], "yolo9000 --help": ["-m", "yolo9000", "-h"]}


def cpu_name() -> str:
    """The CPU and how much of it this process may use."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").is_file() else []
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    name = re.sub(r"\((R|TM)\)|\s+(CPU|Processor)\b.*", "", models[0]) if models else platform.machine()
    return f"{name}, {available_cores()} cores"


def gemm_peaks(threads: int, rounds: int = 5) -> dict[str, float]:
    """Operations a second of a product of two 2048 x 2048 matrices, by precision; empty without OpenVINO."""
    try:
        core = import_openvino().Core()
    except ImportError:
        return {}
    weights = np.random.default_rng(0).standard_normal((SIDE, SIDE), np.float32)
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [SIDE, SIDE]) for name in "xy")
    graph = helper.make_graph([node], "gemm", [x], [y], [numpy_helper.from_array(weights, "w")])
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    peaks = {}
    for precision, hint in (("float32", "f32"), ("bfloat16", "bf16")):
        if precision == "bfloat16" and "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
            continue
        hints = {"INFERENCE_PRECISION_HINT": hint, "INFERENCE_NUM_THREADS": threads}
        request = core.compile_model(core.read_model(proto.SerializeToString()), "CPU", hints).create_infer_request()
        peaks[precision] = 2 * SIDE**3 / _best_seconds(partial(request.infer, weights), rounds)
    return peaks


def _best_seconds(run: Callable[[], object], rounds: int) -> float:
    seconds = []
    for _ in range(rounds + 1):
        began = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - began)
    return min(seconds[1:])


def operations(model: str | LoadedModel, size_wh: tuple[int, int]) -> int | None:
    """2 x multiply-adds of the convolutions that an engine computes for an image; None where they are not known."""
    loaded = load_model(model) if isinstance(model, str) else model
    try:
        known = loaded.changed(weights=loaded.trained_weights).with_lazy_classes(loaded.lazy_classes)
        return sum(known.layers.model.architecture.operations(*size_wh))
    except YoloError:
        return None


def start_times(rounds: int = STARTS) -> dict[str, float]:
    """Seconds that each of `COMMANDS` takes in a new process, median, and a Python that does nothing."""
    commands = {"python": ["-c", "pass"], **COMMANDS}

    def run(arguments: list[str]) -> None:
        subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)  # noqa: S603

    times: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(rounds):
        for name, arguments in commands.items():
            began = time.perf_counter()
            run(arguments)
            times[name].append(time.perf_counter() - began)
    return {name: statistics.median(values) for name, values in times.items()}
