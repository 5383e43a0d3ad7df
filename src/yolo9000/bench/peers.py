"""Other programs that run the same network: the dense ONNX graph in a library's own session, and Darknet's libraries.

They compute the network alone, all class logits included, as a program that knows nothing of this package would.
Another network may be compared as well, from its ONNX file.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from contextlib import chdir
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32

from yolo9000.architectures.onnx import INPUT
from yolo9000.bench.subjects import Running, Subject, fitted
from yolo9000.checkpoints.model import LoadedModel
from yolo9000.errors import ConfigError, EngineError, needs_extra
from yolo9000.inference.head_output import sigmoid

__all__ = ["PEERS", "Peer"]


@dataclass(frozen=True)
class Peer:
    """A program to compare with.

    Attributes:
        start: makes a subject ready.
        precisions: what it is run in.
        needs_path: what its path must be; empty if it needs none.
    """

    start: Callable[[Subject, LoadedModel], Running]
    precisions: tuple[str, ...] = ("float32",)
    needs_path: str = ""


Run = Callable[[Float32[np.ndarray, "n 3 h w"]], np.ndarray]
"""Runs the dense graph; gives ``head`` (n, A (5 + K), H, W)."""


def _dense(make: Callable[[LoadedModel, Subject], Run], subject: Subject, model: LoadedModel) -> Running:
    dense = model.with_lazy_classes(False)
    if dense.class_rows is not None:
        raise EngineError("the file keeps its class rows apart: the dense graph needs the .cfg or .safetensors")
    run, images = make(dense, subject), fitted(subject, model)
    anchors = len(model.detector_head.anchors_wh_cells)

    def objectness() -> Float32[np.ndarray, "n a h w"]:
        head = run(images)
        return sigmoid(head.reshape(len(images), anchors, -1, *head.shape[2:])[:, :, 4])

    return Running(lambda: run(images), objectness)


def _in_onnxruntime(model: LoadedModel, subject: Subject) -> Run:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = subject.threads
    session = onnxruntime.InferenceSession(model.onnx_bytes(), options, providers=["CPUExecutionProvider"])
    return lambda images: session.run(None, {INPUT: images})[0]


def _in_openvino(model: LoadedModel, subject: Subject) -> Run:
    from yolo9000.checkpoints.openvino import import_openvino

    core = import_openvino().Core()
    graph: Any = core.read_model(model.onnx_bytes()) if subject.file is None else model.graph
    graph.reshape([subject.batch, 3, subject.size_wh[1], subject.size_wh[0]])
    network = core.compile_model(graph, "CPU", _hints(subject))
    return lambda images: np.array(network(images)[0])


def _hints(subject: Subject) -> dict[str, Any]:
    """How OpenVINO runs a subject."""
    precision = "bf16" if subject.precision == "bfloat16" else "f32"
    return {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": precision,
        "INFERENCE_NUM_THREADS": subject.threads,
    }


def _another_network(subject: Subject, model: LoadedModel) -> Running:
    """Any network with one input of images, at its own size if that is fixed, else at the model's, in OpenVINO."""
    from yolo9000.checkpoints.openvino import import_openvino

    core = import_openvino().Core()
    try:
        graph: Any = core.read_model(str(subject.peer))
        sides = [side.get_length() if side.is_static else 0 for side in graph.input(0).get_partial_shape()]
        _, channels, height, width = sides
        size_wh = (width or subject.size_wh[0], height or subject.size_wh[1])
        graph.reshape([subject.batch, channels, size_wh[1], size_wh[0]])
        network = core.compile_model(graph, "CPU", _hints(subject))
    except (RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ConfigError(f"cannot be run on {subject.batch} images at a time: {reason}") from None
    images = np.random.default_rng(0).random((subject.batch, channels, size_wh[1], size_wh[0]), np.float32)
    return Running(lambda: network(images)[0], lambda: np.empty((0, 0, 0, 0), np.float32))  # nothing to compare


def _in_opencv(model: LoadedModel, subject: Subject) -> Run:
    with needs_extra("video", "OpenCV"):
        import cv2
    network = cv2.dnn.readNetFromONNX(np.frombuffer(model.onnx_bytes(), np.uint8))
    cv2.setNumThreads(subject.threads)

    def run(images: np.ndarray) -> np.ndarray:
        network.setInput(images)
        return np.asarray(network.forward())

    return run


def _in_darknet(subject: Subject, model: LoadedModel) -> Running:
    """Darknet's ``libdarknet.so``, of pjreddie or of AlexeyAB: the network alone, one image at a time."""
    cfg = Path(subject.model)
    if cfg.suffix != ".cfg" or subject.batch != 1 or subject.size_wh != model.network_wh:
        raise ConfigError("darknet reads a .cfg with its .weights, one image at a time, at the size of the .cfg")
    try:
        library = ctypes.CDLL(str(Path(str(subject.peer)).resolve()))
    except OSError as error:
        raise ConfigError(f"darknet must be the path of libdarknet.so: {error}", argument="against") from None
    alexeyab = hasattr(library, "network_predict_ptr")
    network, predict = _loaded_in(library, cfg, library.network_predict_ptr if alexeyab else library.network_predict)
    images, head = fitted(subject, model), model.detector_head
    pixels = np.ascontiguousarray(images).ctypes.data_as(ctypes.POINTER(ctypes.c_float))
    grid = (subject.size_wh[1] // model.stride, subject.size_wh[0] // model.stride)
    channels = (len(head.anchors_wh_cells), 5 + head.class_count)
    shape = (*grid, *channels) if alexeyab else (*channels, *grid)  # AlexeyAB's region layer turns its input around

    def run() -> np.ndarray:
        return np.ctypeslib.as_array(predict(network, pixels), (int(np.prod(shape)),)).reshape(shape)

    def objectness() -> Float32[np.ndarray, "n a h w"]:  # the region layer has applied the sigmoid
        return np.moveaxis(run()[..., 4], -1, 0)[None].copy() if alexeyab else run()[None, :, 4].copy()

    return Running(run, objectness)


def _loaded_in(library: Any, cfg: Path, predict: Any) -> tuple[ctypes.c_void_p, Callable[..., Any]]:
    library.load_network.argtypes = [ctypes.c_char_p, ctypes.c_char_p, ctypes.c_int]
    library.load_network.restype = ctypes.c_void_p
    library.set_batch_network.argtypes = [ctypes.c_void_p, ctypes.c_int]
    predict.argtypes = [ctypes.c_void_p, ctypes.POINTER(ctypes.c_float)]
    predict.restype = ctypes.POINTER(ctypes.c_float)
    files = [str(file.resolve()).encode() for file in (cfg, cfg.with_suffix(".weights"))]
    with chdir(cfg.parent):  # the names of a tree and a map in a .cfg are relative to the working directory
        network = library.load_network(*files, 0)
    library.set_batch_network(network, 1)
    return network, predict


def _peer(make: Callable[[LoadedModel, Subject], Run], *precisions: str) -> Peer:
    return Peer(lambda subject, model: _dense(make, subject, model), precisions or ("float32",))


PEERS = {
    "darknet": Peer(_in_darknet, needs_path="libdarknet.so"),
    "onnx": Peer(_another_network, ("float32", "bfloat16"), needs_path="another network"),
    "opencv": _peer(_in_opencv),
    "onnxruntime": _peer(_in_onnxruntime, "float32", "int8"),
    "openvino": _peer(_in_openvino, "float32", "bfloat16", "int8"),
}
"""The programs to compare with, by name."""
