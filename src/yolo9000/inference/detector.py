"""From sources to detections: the detector that users load and call."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar, overload

import numpy as np
from jaxtyping import Bool, Float, Int64

from yolo9000.architectures.head import Head
from yolo9000.architectures.layers import BatchNormForm
from yolo9000.checkpoints.bundled import BUNDLED
from yolo9000.checkpoints.load import load_model
from yolo9000.checkpoints.model import LoadedModel
from yolo9000.errors import ConfigError, EngineError, check_count, no_attribute
from yolo9000.inference.decode import decode_candidates, flat_scores
from yolo9000.inference.engines import Engine, EngineName, Precision, choose_engine, start_engine
from yolo9000.inference.head_output import (
    Candidates,
    DenseClassLogits,
    HeadOutput,
    LazyClassLogits,
    find_candidates,
)
from yolo9000.inference.pipeline import in_parallel
from yolo9000.inference.prediction import Prediction
from yolo9000.inference.preprocess import fit
from yolo9000.inference.query import Query
from yolo9000.inference.settings import DetectionSettings
from yolo9000.io.cores import available_cores
from yolo9000.io.images import MAX_PIXELS
from yolo9000.io.inputs import AnySource, Color, Input, OneImage, Pixels, check_pixels_array, inputs_of, one_input
from yolo9000.io.resample import GREY
from yolo9000.io.sources import OnInputError, open_sources
from yolo9000.types import Detections, ResizeMode, SourceImage

__all__ = ["Detector", "ImageHead", "Prediction", "head_output"]

T = TypeVar("T")
FEW_IMAGES = 32  # a network that runs several batches at once starts in as much time as some ten images take


@dataclass(frozen=True)
class ImageHead:
    """The output of the network for one image, before labels and suppression.

    Attributes:
        output: of the batch that the image was in.
        index: of the image in the batch.
        size_wh: width and height of the image in pixels.
        candidates: the anchors whose objectness passes, with their boxes.
    """

    output: HeadOutput
    index: int
    size_wh: tuple[int, int]
    candidates: Candidates


_OTHER_NAMES = {
    "train": "yolo9000.train(data)",
    "val": "yolo9000.evaluate, or yolo9000 val",
    "export": "yolo9000 export",
    "track": "yolo9000 track",
    "to": "Detector.load(device=...)",
    "cuda": "Detector.load(device='cuda')",
    "cpu": "Detector.load(device='cpu')",
    "half": "Detector.load(precision='bfloat16')",
    "eval": "the detector as it is",
    "info": "yolo9000 info",
    "setInput": "detector(image)",
    "forward": "detector(image)",
    "setInputSize": "Detector.load(size_wh=(width, height))",
    "setInputParams": "Detector.load(size_wh=(width, height))",
}


class Detector:
    """A detector, loaded into an engine.

    Attributes:
        model: its network and what the network's output means.
        engine: what runs the network.
        network_wh: width and height in pixels that images are fitted to.
        settings: what counts as a detection.
        query: which labels it answers with.

    Example:
        >>> import numpy as np
        >>> from yolo9000 import Detector
        >>> detector = Detector.load("yolo9000-small", conf_threshold=0.3)
        >>> for prediction in detector.predict(np.zeros((240, 320, 3), np.uint8)):
        ...     print(prediction.image.size_wh, len(prediction.detections))
        (320, 240) 0
    """

    def __init__(
        self,
        model: LoadedModel,
        engine: Engine,
        *,
        size_wh: tuple[int, int] | None = None,
        settings: DetectionSettings | None = None,
        query: Query | None = None,
    ) -> None:
        self.model = model
        self.engine = engine
        self.head: Head = model.detector_head
        self.network_wh = _checked_size(size_wh, model) if size_wh else model.network_wh
        self.settings = settings or DetectionSettings()
        self.query = query or Query()
        self._loaded_with: dict[str, Any] | None = None

    if not TYPE_CHECKING:  # a type checker would accept any name

        def __getattr__(self, name: str) -> Any:
            raise AttributeError(no_attribute("Detector", name, _OTHER_NAMES))

    def __repr__(self) -> str:
        width, height = self.network_wh
        return f"Detector({len(self.names):,} labels, {width}x{height}, engine {self.engine.name})"

    def __reduce__(self) -> tuple[Callable[..., Detector], tuple[Any, ...]]:
        """Pickling and copying load the model again: an engine has no state that could be written down.

        Raises:
            TypeError: the detector was not loaded from a file.
        """
        if self._loaded_with is None:
            raise TypeError("only a detector that Detector.load made from a file can be pickled or copied")
        return _loaded_again, (self._loaded_with, self.network_wh, self.settings, self.query)

    @classmethod
    def load(
        cls,
        model: str | Path | LoadedModel = BUNDLED,
        *,
        weights: str | Path | None = None,
        names: str | Path | None = None,
        tree: str | Path | None = None,
        data: str | Path | None = None,
        engine: EngineName | Literal["auto"] = "auto",
        device: str = "cpu",
        precision: Precision = "auto",
        threads: int | None = None,
        size_wh: tuple[int, int] | None = None,
        resize_mode: ResizeMode | None = None,
        batch_norm: BatchNormForm = "eps_inside_sqrt",
        **settings: Any,
    ) -> Detector:
        """Load a detector into an engine.

        Args:
            model: a ``.safetensors``, ``.cfg``, ``.onnx`` or ``.xml`` file, the name of the bundled model, or what
                `load_model` returned.
            weights: see `load_model`.
            names: see `load_model`.
            tree: see `load_model`.
            data: see `load_model`.
            engine: ``openvino``, ``onnxruntime``, ``torch``; ``auto`` is the first of these that is installed.
            device: ``cpu``, ``cuda``, ``cuda:1``; for OpenVINO also ``gpu``.
            precision: ``float32``, or ``bfloat16`` on a CPU that has it: faster, with slightly different scores.
                ``auto`` is bfloat16 where the model's receipt allows it; see `yolo9000.checkpoints.receipt`.
            threads: number of CPU threads; None for one per core.
            size_wh: width and height to fit images to; None for the model's own.
            resize_mode: see `load_model`.
            batch_norm: see `load_model`.
            **settings: see `DetectionSettings`; ``hier_thresh`` is the model's own if it was calibrated.

        Raises:
            YoloError: a file is missing or wrong, or a setting or an engine cannot be used; the message says which.
        """
        DetectionSettings.checked(**settings)
        engine = choose_engine(engine)
        started_with = {"engine": engine, "device": device, "precision": precision, "threads": threads}
        loaded_with: dict[str, Any] | None = None
        if not isinstance(model, LoadedModel):
            source = model
            files: dict[str, Any] = {"weights": weights, "names": names, "tree": tree, "data": data}
            meaning: dict[str, Any] = {"batch_norm": batch_norm, "resize_mode": resize_mode}
            model = load_model(source, **files, **meaning)
            loaded_with = {"model": _absolute(source), **{k: _absolute(v) for k, v in files.items()}}
            loaded_with |= meaning | started_with
            if model.head is None:
                raise ConfigError(f"{source}: must be a detector, got a classifier")
        started = start_engine(engine, model, device=device, precision=precision, threads=threads)
        if model.detector_head.hier_thresh is not None:
            settings = {"hier_thresh": model.detector_head.hier_thresh} | settings
        detector = cls(model, started, size_wh=size_wh, settings=DetectionSettings.checked(**settings))
        detector._loaded_with = loaded_with
        detector.warm_up()
        return detector

    def warm_up(self, batch: int = 1) -> None:
        """Run a batch of grey images, so that the engine prepares for it now and the first image does not wait."""
        width, height = self.network_wh
        self.engine.run(np.full((batch, 3, height, width), GREY, np.float32))

    @property
    def names(self) -> tuple[str, ...]:
        """Display name of each label that the detector answers with."""
        return self.query.names(self.head)

    @overload
    def __call__(self, images: OneImage, *, color: Color = "rgb", batch: int = 1, **settings: Any) -> Prediction: ...

    @overload
    def __call__(self, images: Pixels, *, color: Color = "rgb", batch: int = 1, **settings: Any) -> Any: ...

    @overload
    def __call__(
        self, images: Iterable[Input], *, color: Color = "rgb", batch: int = 1, **settings: Any
    ) -> list[Prediction]: ...

    def __call__(
        self, images: Input | Iterable[Input], *, color: Color = "rgb", batch: int = 1, **settings: Any
    ) -> Any:
        """Detect in an image, or in several.

        Safe to call from several threads. `predict` reads folders, videos and cameras, one image after the other.

        Args:
            images: an image, see `yolo9000.io.inputs`: an array, a torch tensor, a Pillow image, a path,
                a URL, bytes, an open file; or several.
            color: order of the channels of arrays and tensors: ``rgb``, or ``bgr`` as OpenCV reads images.
            batch: number of images in a batch.
            **settings: for this call, see `DetectionSettings`: ``conf_threshold=0.4``.

        Returns:
            The `Prediction` of one image; a list of them for several.

        Raises:
            DataError: an image cannot be read.
            ConfigError: a setting is unknown or out of range.

        Example:
            >>> import numpy as np
            >>> from yolo9000 import Detector
            >>> detector = Detector.load()
            >>> len(detector(np.zeros((240, 320, 3), np.uint8), conf_threshold=0.4))
            0
        """
        check_count(batch, "batch")
        detector = self.with_settings(**settings) if settings else self
        many = inputs_of(images)
        several: Iterable[Any] = [images] if many is None else many
        read = (one_input(image, index, color=color) for index, image in enumerate(several))
        predictions = list(detector._predict(read, batch))
        return predictions if many is not None else predictions[0]

    def predict(
        self,
        sources: AnySource | Iterable[AnySource],
        *,
        color: Color = "rgb",
        batch: int = 1,
        workers: int | None = None,
        classes: Sequence[str] = (),
        every: int = 1,
        recursive: bool = False,
        max_pixels: int = MAX_PIXELS,
        on_error: OnInputError | None = None,
        **settings: Any,
    ) -> Iterator[Prediction]:
        """Detect in images one after the other, as they are requested; memory does not grow with their number.

        Args:
            sources: an image as `__call__` takes it, a folder, glob pattern, list file, video, camera number, URL,
                ``-`` for standard input, or several of them; see `open_sources`.
            color: order of the channels of arrays and tensors.
            batch: number of images in a batch.
            workers: number of batches that are computed at once, each on its part of the cores, while further images
                are read; 1 for the shortest time from an image to its detections. None: 1 for videos and cameras and
                for the first 32 images, then one for each core.
            classes: names of classes to keep, on a tree with everything below them; empty for all.
            every: of a video take each n-th frame.
            recursive: of a folder all images and videos below it.
            max_pixels: refuse larger images before they are decoded.
            on_error: called with the error of each input that cannot be read; None raises it.
            **settings: for this call, see `DetectionSettings`.

        Raises:
            DataError: an input cannot be read and ``on_error`` is None.
            ConfigError: an argument is wrong.
        """
        check_count(batch, "batch")
        if workers is not None:
            check_count(workers, "workers")
        if on_error is not None and not callable(on_error):
            raise ConfigError(
                f"must be a function to call with each error, or None, got {on_error!r}", argument="on_error"
            )
        detector = self.with_settings(**settings) if settings else self
        if classes:
            detector = detector.with_query(self.query.with_classes(self.head, classes))
        if batch > 1:
            self.warm_up(batch)
        images = open_sources(
            sources, color=color, max_pixels=max_pixels, every=every, recursive=recursive, on_error=on_error
        )
        return detector._predict(images, batch) if workers == 1 else detector._predict_many(images, batch, workers)

    def _predict(self, images: Iterator[SourceImage], batch: int) -> Iterator[Prediction]:
        while group := list(islice(images, batch)):
            yield from self._timed(group)

    def _predict_many(self, images: Iterator[SourceImage], batch: int, workers: int | None) -> Iterator[Prediction]:
        """One batch at a time as long as it is not known to be worth it, then several."""
        if workers is None:
            for prediction in self._predict(islice(images, FEW_IMAGES), batch):
                yield prediction
                if prediction.image.frame is not None:
                    workers = 1
            if (workers := workers or available_cores()) == 1:
                yield from self._predict(images, batch)
                return
        if (first := next(images, None)) is None:
            return
        fast = self._with(engine=self.engine.parallel(workers))
        remaining = chain([first], images)
        groups = iter(lambda: list(islice(remaining, batch)), [])
        for predictions in in_parallel(groups, partial(fast._timed, at_once=workers), workers):
            yield from predictions

    def _timed(self, group: list[SourceImage], at_once: int = 1) -> list[Prediction]:
        start = time.perf_counter()
        detected = self.detect([image.pixels for image in group])
        seconds = (time.perf_counter() - start) / len(group) / at_once
        return [Prediction(image, detections, seconds) for image, detections in zip(group, detected, strict=True)]

    def detect(self, images: Sequence[np.ndarray]) -> list[Detections]:
        """Detect in one batch of images in memory.

        Args:
            images: (h, w, 3), RGB, uint8, of any sizes.

        Example:
            >>> import numpy as np
            >>> from yolo9000 import Detector
            >>> [detections] = Detector.load().detect([np.zeros((240, 320, 3), np.uint8)])
            >>> detections.boxes_xyxy.shape
            (0, 4)
        """
        heads = self.heads(images, batch=max(len(images), 1), min_objectness=self.settings.conf_threshold)
        return [
            decode_candidates(one.output, one.index, self.head, one.size_wh, one.candidates, self.settings, self.query)
            for one in heads
        ]

    def heads(
        self, images: Iterable[np.ndarray], *, batch: int = 1, min_objectness: float = 0.0
    ) -> Iterator[ImageHead]:
        """The output of the network for each image: all that detections, scores and calibration are made from.

        Args:
            images: (h, w, 3), RGB, uint8, of any sizes; read a batch at a time, so they may be more than fit in memory.
            batch: number of images in a batch.
            min_objectness: anchors whose objectness is not above this are no candidates.
        """
        items = ((None, image) for image in images)
        return (one for _, one in self.heads_of(items, batch=batch, min_objectness=min_objectness))

    def heads_of(
        self, items: Iterable[tuple[T, np.ndarray]], *, batch: int = 1, min_objectness: float = 0.0
    ) -> Iterator[tuple[T, ImageHead]]:
        """`heads` of images that come with something that belongs to them, such as their annotations."""
        remaining = iter(items)
        while group := list(islice(remaining, batch)):
            for _, image in group:
                check_pixels_array(image)
            inputs = fit([image for _, image in group], self.network_wh, self.head.resize_mode)
            output = head_output(self.model, self.engine.run(inputs), self.network_wh)
            for index, (item, image) in enumerate(group):
                size_wh = (image.shape[1], image.shape[0])
                candidates = find_candidates(output, index, self.head, size_wh, min_objectness)
                yield item, ImageHead(output, index, size_wh, candidates)

    def best_scores(self, images: Sequence[np.ndarray], labels: Int64[np.ndarray, " m"]) -> Float[np.ndarray, "n m"]:
        """The maximum score of some labels over the boxes of each image: objectness x class probability.

        Args:
            images: (h, w, 3), RGB, uint8, of any sizes.
            labels: classes, or nodes of the tree at any depth.
        """
        query, columns = self.query, labels
        if query.tree(self.head) is not None:
            query, columns = replace(query, nodes=labels), np.arange(len(labels))
        best = np.zeros((len(images), len(labels)))
        for row, one in enumerate(self.heads(images, batch=max(len(images), 1))):
            scores = flat_scores(one.output, one.index, self.head, one.candidates, query)
            best[row] = scores[:, columns].max(axis=0, initial=0)
        return best

    def with_settings(self, **changes: object) -> Detector:
        """The same detector, in the same engine, with other settings.

        Raises:
            ConfigError: a setting is unknown or out of range.
        """
        return self._with(settings=DetectionSettings.checked(**(self.settings.model_dump() | changes)))

    def with_query(self, query: Query) -> Detector:
        """The same detector, in the same engine, answering another query."""
        return self._with(query=query)

    def keeping(self, keep: Bool[np.ndarray, " k"]) -> Detector:
        """The same detector, with the detections of some labels dropped.

        Args:
            keep: (k,) which labels to keep.
        """
        return self.with_query(replace(self.query, keep=keep))

    def within(self, nodes: Sequence[str]) -> Detector:
        """The same detector, looking only for some nodes of its tree and what is below them.

        Probabilities are conditioned on that: an object that is surely a vehicle or a dog gets the more probable of the
        two, and one that is surely neither is not detected.

        Args:
            nodes: names or ids of nodes, none below another.

        Raises:
            ConfigError: the classes are flat.
            TreeError: a name is not that of exactly one node.
        """
        return self.with_query(self.query.with_within(self.head, nodes))

    def with_labels(self, nodes: Sequence[str]) -> Detector:
        """The same detector, answering with other labels than its own: nodes of its tree at any depth.

        A label gets the probability of everything below it. The labels are flat: a box gets each whose score passes.

        Args:
            nodes: names or ids of nodes.

        Raises:
            ConfigError: the classes are flat.
            TreeError: a name is not that of exactly one node.
        """
        return self.with_query(self.query.with_labels(self.head, nodes))

    def _with(
        self, *, settings: DetectionSettings | None = None, query: Query | None = None, engine: Engine | None = None
    ) -> Detector:
        changed = Detector(
            self.model,
            engine or self.engine,
            size_wh=self.network_wh,
            settings=settings or self.settings,
            query=query or self.query,
        )
        changed._loaded_with = self._loaded_with
        return changed


def _loaded_again(
    loaded_with: dict[str, Any], network_wh: tuple[int, int], settings: DetectionSettings, query: Query
) -> Detector:
    """What a pickled detector becomes."""
    detector = Detector.load(**loaded_with, size_wh=network_wh)
    return detector._with(settings=settings, query=query)


def _absolute(file: str | Path | None) -> str | Path | None:
    """A file's path from anywhere; the name of a model stays."""
    return file if file is None or not os.path.exists(file) else Path(file).absolute()  # noqa: PTH110


def head_output(model: LoadedModel, arrays: tuple[np.ndarray, ...], network_wh: tuple[int, int]) -> HeadOutput:
    """The arrays that an engine returned for a batch, as boxes and class logits.

    Args:
        model: the detector that was run.
        arrays: (n, channels, h, w) each.
        network_wh: width and height of the input in pixels.

    Raises:
        EngineError: they do not have the channels of this model.
    """
    head, class_rows = model.detector_head, model.class_rows
    anchors = len(head.anchors_wh_cells)
    per_anchor = 5 if class_rows else 5 + head.class_count
    expected = [anchors * per_anchor, *([class_rows.weights.shape[2]] if class_rows else [])]
    channels = [array.shape[1] for array in arrays]
    if channels != expected:
        wanted, got = (" and ".join(map(str, counts)) for counts in (expected, channels))
        raise EngineError(f"the network must return {wanted} channels, got {got}")
    n, _, h, w = arrays[0].shape
    t = arrays[0].reshape(n, anchors, per_anchor, h, w)
    if class_rows:
        return HeadOutput(t, LazyClassLogits(arrays[1], class_rows.weights, class_rows.biases), network_wh)
    return HeadOutput(t[:, :, :5], DenseClassLogits(t[:, :, 5:]), network_wh)


def _checked_size(size_wh: tuple[int, int], model: LoadedModel) -> tuple[int, int]:
    if not isinstance(size_wh, Sequence) or len(size_wh) != 2:
        raise ConfigError(f"must be (width, height), got {size_wh!r}", argument="size_wh")
    (width, height), stride = size_wh, model.stride
    if size_wh == model.network_wh:  # a network of Darknet may have any size of its own
        return size_wh
    if width < stride or height < stride or width % stride or height % stride:
        nearest = "x".join(str(max(1, round(side / stride)) * stride) for side in size_wh)
        raise ConfigError(f"must be multiples of {stride}, got {width}x{height} (nearest: {nearest})", argument="size")
    return width, height
