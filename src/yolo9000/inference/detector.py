"""From sources to detections: the detector that users load and call."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int64, UInt8
from PIL import Image

from yolo9000.architectures.layers import BatchNormForm
from yolo9000.architectures.weights import Model
from yolo9000.checkpoints.bundled import BUNDLED, bundled_file
from yolo9000.checkpoints.darknet.detector import read_detector
from yolo9000.checkpoints.onnx import PreparedDetector, read_onnx, read_openvino
from yolo9000.checkpoints.program import prepare
from yolo9000.checkpoints.safetensors import read_checkpoint
from yolo9000.errors import ConfigError, nearest
from yolo9000.inference.decode import HeadSpec, find_candidates, flat_scores, postprocess
from yolo9000.inference.engines import Engine, EngineName, Precision, choose_engine, start_engine
from yolo9000.inference.preprocess import GREY, ResizeMode, fit
from yolo9000.inference.settings import DetectionSettings
from yolo9000.io.draw import annotate
from yolo9000.io.files import writing
from yolo9000.io.images import MAX_PIXELS, Source
from yolo9000.io.sources import OnInputError, open_sources
from yolo9000.taxonomy.wordtree import WordTree
from yolo9000.types import Detections, SourceImage

__all__ = ["Detector", "Prediction", "prepared_detector", "read_model"]

MODEL_SUFFIXES = (".safetensors", ".cfg", ".onnx", ".xml")


@dataclass(frozen=True)
class Prediction:
    """What was found in one image.

    Attributes:
        image: the image, or the frame of a video.
        detections: what was found in it.
        seconds: its share of the time that its batch took, from pixels to detections; reading it is not counted.
    """

    image: SourceImage
    detections: Detections
    seconds: float

    def draw(self, *, show_path: bool = True) -> UInt8[np.ndarray, "h w 3"]:
        """The image with boxes and labels, on a tree with the path to each label."""
        return annotate(self.image.pixels, self.detections, show_path=show_path)

    def save(self, path: str | Path) -> None:
        """Write the image with boxes and labels; the suffix says the format.

        Raises:
            DataError: the file cannot be written.
        """
        with writing(path):
            Image.fromarray(self.draw()).save(path)


def read_model(
    model: str | Path,
    *,
    weights: str | Path | None = None,
    names: str | Path | None = None,
    tree: str | Path | None = None,
    data: str | Path | None = None,
    batch_norm: BatchNormForm = "eps_inside_sqrt",
    resize_mode: ResizeMode = "letterbox",
    split: bool | None = None,
) -> PreparedDetector:
    """Read a detector from its files: the half of `Detector.load` that needs no engine.

    The arguments are those of `Detector.load`, and ``split``: keep the class rows apart; None does so where it
    pays. Exported files stay as they were exported.
    """
    path = bundled_file() if str(model) == BUNDLED else Path(model)
    if path.suffix not in MODEL_SUFFIXES:
        raise ConfigError(f"{model}: must be {BUNDLED} or a model file: {', '.join(MODEL_SUFFIXES)}")
    if path.suffix != ".cfg":
        if any((weights, names, tree, data)):
            raise ConfigError(f"{model}: holds its own weights, names and tree; others can be given only for a .cfg")
        match path.suffix:
            case ".onnx":
                return read_onnx(path)
            case ".xml":
                return read_openvino(path)
            case _:
                return prepared_detector(*_from_model_file(path), split=split)
    numbers, spec = read_detector(
        path, weights, names=names, tree=tree, data=data, batch_norm=batch_norm, resize_mode=resize_mode
    )
    return prepared_detector(numbers, spec, split=split)


def prepared_detector(numbers: Model, spec: HeadSpec, *, split: bool | None = None) -> PreparedDetector:
    """Make a detector that is in memory ready for an engine.

    Args:
        numbers: the network and its numbers.
        spec: what they mean.
        split: keep the class rows apart; None does so where it pays.

    Raises:
        WeightsError: a convolution has no numbers.
    """
    program, class_rows = prepare(numbers, split=split)
    architecture = numbers.architecture
    return PreparedDetector(
        program, spec, class_rows, (architecture.width, architecture.height), architecture.size_multiple()
    )


def _from_model_file(path: Path) -> tuple[Model, HeadSpec]:
    file = read_checkpoint(path)
    try:
        return file.model, file.head_spec()
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None


class Detector:
    """A detector, loaded into an engine and ready.

    Attributes:
        prepared: its network and what the network's numbers mean.
        engine: what runs it.
        network_wh: width and height in pixels that images are fitted to.
        settings: what counts as a detection.
    """

    def __init__(
        self,
        prepared: PreparedDetector,
        engine: Engine,
        *,
        size_wh: tuple[int, int] | None = None,
        settings: DetectionSettings | None = None,
    ) -> None:
        self.prepared = prepared
        self.engine = engine
        self.network_wh = _checked_size(size_wh, prepared.stride) if size_wh else prepared.network_wh
        self.settings = settings or DetectionSettings()

    @classmethod
    def load(
        cls,
        model: str | Path = BUNDLED,
        *,
        weights: str | Path | None = None,
        names: str | Path | None = None,
        tree: str | Path | None = None,
        data: str | Path | None = None,
        engine: EngineName | Literal["auto"] = "auto",
        device: str = "cpu",
        precision: Precision = "float32",
        threads: int | None = None,
        size_wh: tuple[int, int] | None = None,
        resize_mode: ResizeMode = "letterbox",
        batch_norm: BatchNormForm = "eps_inside_sqrt",
        **settings: object,
    ) -> Detector:
        """Load a detector.

        Args:
            model: what training left (``.safetensors``), Darknet's ``.cfg``, or a file that ``yolo9000 export`` made
                (``.onnx``, ``.xml``); ``yolo9000-small`` is the model that comes with the package.
            weights: Darknet's ``.weights``; None looks beside the cfg.
            names: display names, one a line; None looks at ``data``, then beside the cfg, then takes VOC's names for 20
                classes and COCO's for 80.
            tree: label tree; None takes the one that the cfg names.
            data: Darknet's ``.data``, for the names.
            engine: ``openvino``, ``onnxruntime``, ``torch``; ``auto`` is the first of these that is installed.
            device: ``cpu``, ``cuda``, ``cuda:1``; for OpenVINO also ``gpu``.
            precision: ``float32``, or ``bfloat16`` on a CPU that has it: faster, scores differ a little.
            threads: CPU threads; None for one a core.
            size_wh: width and height to fit images to; None takes the model's own.
            resize_mode: how images were fitted when a ``.cfg``'s weights were trained; ``stretch`` until March 2017.
            batch_norm: which Darknet trained a ``.cfg``'s weights; see `Architecture.batch_norm`.
            **settings: see `DetectionSettings`; ``hier_thresh`` is the model's own if it was calibrated.

        Raises:
            YoloError: a file is missing or wrong, or a setting or an engine cannot be used; the message says which.
        """
        DetectionSettings.checked(**settings)
        chosen = choose_engine(engine)
        prepared = read_model(
            model,
            weights=weights,
            names=names,
            tree=tree,
            data=data,
            batch_norm=batch_norm,
            resize_mode=resize_mode,
        )
        started = start_engine(chosen, prepared.program, device=device, precision=precision, threads=threads)
        if prepared.spec.hier_thresh is not None:
            settings = {"hier_thresh": prepared.spec.hier_thresh} | settings
        detector = cls(prepared, started, size_wh=size_wh, settings=DetectionSettings.checked(**settings))
        detector.warm_up()
        return detector

    def warm_up(self, batch: int = 1) -> None:
        """Run a batch of grey images, so that the engine plans for it now and the first image does not wait."""
        width, height = self.network_wh
        self.engine.run(np.full((batch, 3, height, width), GREY, np.float32))

    @property
    def names(self) -> tuple[str, ...]:
        """Display name of each class, or of each node of the tree."""
        return self.prepared.spec.names

    def labels_named(self, wanted: Iterable[str]) -> Bool[np.ndarray, " k"]:
        """Which labels bear one of the names (or ids of the tree), or lie below one that does.

        Raises:
            ConfigError: no label bears one of the names.
        """
        tree = self.prepared.spec.tree
        keep = np.zeros(len(self.names), dtype=bool)
        for word in wanted:
            bearing = [i for i, name in enumerate(self.names) if name.casefold() == word.casefold()]
            if tree is not None and not bearing:
                bearing = [i for i, node_id in enumerate(tree.ids) if node_id == word]
            if not bearing:
                raise ConfigError(f"the model has no class {word!r}{nearest(word, self.names)}", argument="classes")
            for label in bearing:
                keep |= tree.below(label) if tree is not None else np.arange(len(keep)) == label
        return keep

    def predict(
        self,
        sources: Source | Iterable[Source],
        *,
        batch: int = 1,
        classes: Sequence[str] = (),
        every: int = 1,
        max_pixels: int = MAX_PIXELS,
        on_error: OnInputError | None = None,
    ) -> Iterator[Prediction]:
        """Detect in images, one after the other, as they are asked for: memory does not grow with their number.

        Args:
            sources: an image, folder, glob pattern, list file, video, camera number, URL, ``-`` for standard input,
                array or PIL image, or several of them; see `sources.open_sources`.
            batch: images run through the network at a time.
            classes: names of classes to give; on a tree with everything below them. Empty: all.
            every: of a video take each n-th frame.
            max_pixels: refuse larger images before they are decoded.
            on_error: called with the error of each input that cannot be read; None raises it.

        Raises:
            DataError: an input cannot be read and ``on_error`` is None.
            ConfigError: an option is wrong.
        """
        if batch < 1:
            raise ConfigError(f"must be at least 1, got {batch}", argument="batch")
        keep = self.labels_named(classes) if classes else None
        if batch > 1:
            self.warm_up(batch)
        images = open_sources(sources, max_pixels=max_pixels, every=every, on_error=on_error)
        return self._predict(images, batch, keep)

    def _predict(
        self, images: Iterator[SourceImage], batch: int, keep: Bool[np.ndarray, " k"] | None
    ) -> Iterator[Prediction]:
        while group := list(islice(images, batch)):
            start = time.perf_counter()
            found = self.detect([image.pixels for image in group], keep)
            seconds = (time.perf_counter() - start) / len(group)
            for image, detections in zip(group, found, strict=True):
                yield Prediction(image, detections, seconds)

    def detect(
        self, images: Sequence[UInt8[np.ndarray, "_ _ 3"]], keep: Bool[np.ndarray, " k"] | None = None
    ) -> list[Detections]:
        """Detect in one batch of images that are in memory.

        Args:
            images: RGB, 8 bits, of any sizes.
            keep: which labels to give; None for all.
        """
        if not images:
            return []
        spec = self.prepared.spec
        batch = np.stack([fit(image, self.network_wh, spec.resize_mode) for image in images])
        output = self.prepared.head_output(self.engine.run(batch), self.network_wh)
        sizes = [(image.shape[1], image.shape[0]) for image in images]
        return [postprocess(output, i, spec, size, self.settings, keep) for i, size in enumerate(sizes)]

    def best_scores(
        self, images: Sequence[UInt8[np.ndarray, "_ _ 3"]], labels: Int64[np.ndarray, " m"]
    ) -> Float[np.ndarray, "n m"]:
        """For some labels the best score of any box of each image: objectness x class probability.

        Args:
            images: RGB, 8 bits, of any sizes.
            labels: classes, or nodes of the tree at any height.
        """
        spec = self.prepared.spec
        if spec.tree is not None and spec.nodes is None:
            spec, labels = replace(spec, nodes=labels), np.arange(len(labels))
        batch = np.stack([fit(image, self.network_wh, spec.resize_mode) for image in images])
        output = self.prepared.head_output(self.engine.run(batch), self.network_wh)
        best = np.zeros((len(images), len(labels)))
        for i, image in enumerate(images):
            boxes = find_candidates(output, i, spec, (image.shape[1], image.shape[0]), 0.0)
            best[i] = flat_scores(output, i, spec, boxes)[:, labels].max(axis=0, initial=0)
        return best

    def with_settings(self, **changes: object) -> Detector:
        """The same detector, in the same engine, with other settings.

        Raises:
            ConfigError: a setting is unknown or out of its range.
        """
        settings = DetectionSettings.checked(**(self.settings.model_dump() | changes))
        return Detector(self.prepared, self.engine, size_wh=self.network_wh, settings=settings)

    def within(self, classes: Sequence[str]) -> Detector:
        """The same detector, asked only for some nodes of its tree and what is below them.

        Probabilities are conditioned: of what is surely a vehicle or a dog it is told which, and what is surely neither
        is not given.

        Args:
            classes: names or ids of nodes, none below another.

        Raises:
            ConfigError: its classes are flat.
            TreeError: a name is not, or not only, one node's.
        """
        tree = self._tree("within")
        nodes = tuple(tree.find(name) for name in classes)
        tree.subtree(nodes)
        return self._with_spec(replace(self.prepared.spec, within=nodes))

    def with_labels(self, classes: Sequence[str]) -> Detector:
        """The same detector, answering with other classes than its own: nodes of its tree, at any height.

        A class gets the probability of all that is below it. The classes are flat: a box gets each whose score passes.

        Args:
            classes: names or ids of nodes.

        Raises:
            ConfigError: its classes are flat.
            TreeError: a name is not, or not only, one node's.
        """
        tree = self._tree("labels")
        nodes = np.array([tree.find(name) for name in classes], np.int64)
        return self._with_spec(replace(self.prepared.spec, names=tuple(classes), nodes=nodes))

    def _tree(self, argument: str) -> WordTree:
        tree = self.prepared.spec.tree
        if tree is None:
            raise ConfigError("needs a model with a label tree; the classes of this one are flat", argument=argument)
        return tree

    def _with_spec(self, spec: HeadSpec) -> Detector:
        prepared = replace(self.prepared, spec=spec)
        return Detector(prepared, self.engine, size_wh=self.network_wh, settings=self.settings)


def _checked_size(size_wh: tuple[int, int], stride: int) -> tuple[int, int]:
    width, height = size_wh
    if width < stride or height < stride or width % stride or height % stride:
        raise ConfigError(f"must be multiples of {stride}, got {width}x{height}", argument="size")
    return width, height
