"""What `yolo9000 bench` measures: a model's network or the whole way from image to boxes, in an engine or a peer."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Float32, UInt8

from yolo9000.adapt.quantize import quantized
from yolo9000.adapt.quantized_graphs import conv_names
from yolo9000.architectures.layers import Architecture, Region
from yolo9000.architectures.surgery import initial_model
from yolo9000.checkpoints.export import export_darknet, export_onnx, export_openvino
from yolo9000.checkpoints.load import load_model, names_architecture
from yolo9000.checkpoints.model import LoadedModel
from yolo9000.inference.detector import Detector, head_output
from yolo9000.inference.head_output import sigmoid
from yolo9000.inference.preprocess import fit
from yolo9000.taxonomy.wordtree import WordTree

__all__ = ["Running", "Scope", "Subject", "int8_files", "random_darknet_files", "start", "subjects"]

Scope = Literal["network", "image to boxes"]
RANDOM_OBJECTNESS = 0.05  # of random weights
RANDOM_BOXES = (
    1 / 30
)  # fraction of the anchors that are decoded with random weights, as on a photograph with many objects
CHILDREN = 5  # of each node of the tree that stands in where a built-in architecture names one
PHOTO_WH = (640, 480)
ABSENT = {("onnxruntime", "bfloat16"), ("torch", "int8")}  # an engine has no such precision
CALIBRATION_IMAGES = 4  # for int8: its speed does not depend on them


@dataclass(frozen=True)
class Subject:
    """One thing to measure; what a process of its own starts and runs.

    Attributes:
        model: a model's file or name.
        engine: of ours, or the name of a peer.
        precision: ``float32``, ``bfloat16`` or ``int8``: what it computes in.
        scope: the network alone, on an image that is fitted already; or everything from the image's pixels.
        batch: number of images.
        size_wh: the network's input.
        threads: CPU threads.
        peer: path that the peer needs; empty for those that need none; None for our own engines.
        images: a folder of photographs; None for random pixels.
        file: what is read in place of the model: its file in int8.
        random: whether the weights are random; then `RANDOM_BOXES` pass the confidence threshold.
    """

    model: str
    engine: str
    precision: str
    scope: Scope
    batch: int
    size_wh: tuple[int, int]
    threads: int
    peer: str | None = None
    images: str | None = None
    file: str | None = None
    random: bool = False

    def load(self) -> LoadedModel:
        """What it runs."""
        return load_model(self.file or self.model)

    @property
    def name(self) -> str:
        """What tables call it."""
        if self.peer is None:
            return f"{self.engine} {self.precision}, {self.scope}"
        if self.engine == "onnx":
            return f"{Path(self.peer).name} {self.precision}, network"
        engine = f"{Path(self.peer).parent.name}'s {self.engine}" if self.peer else self.engine
        return f"{engine} dense graph {self.precision}"


@dataclass(frozen=True)
class Running:
    """A subject that has started.

    Attributes:
        step: computes one batch.
        objectness: of every anchor (n, A, H, W) of the batch, by which subjects are compared.
    """

    step: Callable[[], object]
    objectness: Callable[[], Float32[np.ndarray, "n a h w"]]


def subjects(
    model: str,
    *,
    engines: Sequence[str],
    precisions: Sequence[str],
    batches: Sequence[int],
    sizes_wh: Sequence[tuple[int, int]],
    threads: int,
    peers: Sequence[tuple[str, str]] = (),
    images: str | None = None,
    int8: Mapping[tuple[str, bool], Path] | None = None,
    random: bool = False,
) -> Iterator[list[Subject]]:
    """The subjects to be compared with each other: one list for each size and batch; `int8` is of `int8_files`."""
    from yolo9000.bench.peers import PEERS

    for size_wh, batch in product(sizes_wh, batches):
        common: dict[str, Any] = {"batch": batch, "size_wh": size_wh, "threads": threads, "images": images}
        common["random"] = random
        scopes: tuple[Scope, ...] = ("network", "image to boxes")
        ours = [
            Subject(model, engine, precision, scope, **common, file=_file(int8, engine, precision))
            for engine, precision, scope in product(engines, precisions, scopes)
            if (engine, precision) not in ABSENT
        ]
        others = [
            Subject(
                model, name, precision, "network", peer=path, **common, file=_file(int8, name, precision, dense=True)
            )
            for name, path in peers
            for precision in PEERS[name].precisions
            if precision != "int8" or int8
        ]
        yield [*ours, *others]


def start(subject: Subject) -> Running:
    """Load the model and make everything ready but the first step.

    Raises:
        YoloError: the model, the engine or the peer cannot be used.
    """
    if subject.peer is not None:
        from yolo9000.bench.peers import PEERS

        return PEERS[subject.engine].start(subject, subject.load())
    model = subject.load()
    started: dict[str, Any] = {
        "engine": subject.engine,
        "precision": "float32" if subject.precision == "int8" else subject.precision,  # what is not quantized
        "threads": subject.threads,
        "size_wh": subject.size_wh,
    }
    detector = Detector.load(model, **started)
    photos = photographs(subject)
    inputs = fitted(subject, model)

    def objectness() -> Float32[np.ndarray, "n a h w"]:
        return sigmoid(head_output(model, detector.engine.run(inputs), subject.size_wh).boxes[:, :, 4])

    if subject.scope == "network":
        return Running(lambda: detector.engine.run(inputs), objectness)
    if subject.random:
        detector = detector.with_settings(conf_threshold=float(np.quantile(objectness(), 1 - RANDOM_BOXES)))
    return Running(lambda: detector.detect(photos), objectness)


def photographs(subject: Subject) -> list[UInt8[np.ndarray, "_ _ 3"]]:
    """The batch's images: of the folder, or random pixels."""
    if subject.images is not None:
        from yolo9000.io.sources import open_sources

        pixels = [image.pixels for image, _ in zip(open_sources(subject.images), range(subject.batch), strict=False)]
        return [pixels[index % len(pixels)] for index in range(subject.batch)]
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (PHOTO_WH[1], PHOTO_WH[0], 3), dtype=np.uint8) for _ in range(subject.batch)]


def fitted(subject: Subject, model: LoadedModel) -> Float32[np.ndarray, "n 3 h w"]:
    """The batch as the network reads it."""
    return fit(photographs(subject), subject.size_wh, model.detector_head.resize_mode)


def random_darknet_files(name: str, folder: Path) -> Path | None:
    """A built-in architecture with random weights as Darknet's files, which every peer reads; None for other names."""
    if name.endswith(".cfg") or (architecture := names_architecture(name)) is None:
        return None
    if isinstance(architecture.head, Region):  # Darknet would look for the file of its map
        architecture = replace(architecture, layers=(*architecture.layers[:-1], replace(architecture.head, map=None)))
    weights = initial_model(architecture, seed=0, objectness=RANDOM_OBJECTNESS)
    path = folder / f"{name}.cfg"
    export_darknet(LoadedModel.from_weights(weights, *_labels(architecture)), path)
    return path


def int8_files(
    model: LoadedModel, engines: Collection[str], peers: Collection[str], folder: Path
) -> dict[tuple[str, bool], Path]:
    """A model in int8 as files, calibrated with random pixels.

    Args:
        model: the detector.
        engines: of ours; the last layer stays in float32, as `yolo9000 export` leaves it.
        peers: names of peers; their dense graph is in int8 throughout.
        folder: where to write them.

    Returns:
        The file for each engine or peer that has int8, and whether it is the dense graph.

    Raises:
        EngineError: what quantizes is not installed.
    """
    rng = np.random.default_rng(0)
    width, height = model.network_wh
    inputs = [rng.random((1, 3, height, width), np.float32) for _ in range(CALIBRATION_IMAGES)]
    files = {}
    for dense, names in ((False, engines), (True, peers)):
        made = model.with_lazy_classes(False) if dense else model
        last = [] if dense else conv_names(made.onnx_bytes())[-1:]
        for name in sorted({*names} & {*_INT8}):
            form, write = _INT8[name]
            path = folder / f"int8-{'dense' if dense else 'lazy'}.{_SUFFIXES[form]}"
            write(quantized(made, form, inputs, last), path)
            files[name, dense] = path
    return files


def _file(
    files: Mapping[tuple[str, bool], Path] | None, name: str, precision: str, *, dense: bool = False
) -> str | None:
    return str((files or {})[name, dense]) if precision == "int8" else None


_INT8 = {"openvino": ("openvino", export_openvino), "onnxruntime": ("onnx", export_onnx)}
_SUFFIXES = {"openvino": "xml", "onnx": "onnx"}


def _labels(architecture: Architecture) -> tuple[tuple[str, ...], WordTree | None]:
    head = architecture.head
    classes = head.classes if isinstance(head, Region) else architecture.shapes()[-1][0]
    names = tuple(f"class{index}" for index in range(classes))
    if not isinstance(head, Region) or head.tree is None:
        return names, None
    parents = [-1 if node < CHILDREN else node // CHILDREN - 1 for node in range(classes)]
    return names, WordTree.from_parents(parents, names)
