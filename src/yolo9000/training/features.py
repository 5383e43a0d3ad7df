"""A cache of what the frozen layers of a network compute, once for each image and augmentation.

Features are rounded to float16 whether they come from the cache or not, and are computed for one image at a time, so
that they depend on the image alone: a resumed run, whose cache is empty, computes the same ones. On a CPU the fastest
engine computes them, which takes half of torch's time.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from yolo9000.architectures.onnx import build_onnx
from yolo9000.architectures.torch import Network
from yolo9000.architectures.weights import Model, fold_batch_norm
from yolo9000.checkpoints.model import LoadedModel
from yolo9000.data.batching import Batch, Example, batch_of, blank_images
from yolo9000.errors import EngineError
from yolo9000.inference.engines import Engine, EngineName, Precision, choose_engine, start_engine
from yolo9000.training.loader import LoadedPart, SampleRequest

__all__ = ["CachePlan", "FeatureCache", "frozen_engine"]

Key = tuple[int, int, tuple[int, int]]


def _key(request: SampleRequest) -> Key:
    """What the features of a request depend on: the image, its augmentation, the size of the input."""
    assert request.draw is not None  # noqa: S101  a plan with a cache numbers its augmentations
    return request.image, request.draw, request.size_wh


class CachePlan:
    """Which requests are answered from the cache: a function of the order of the requests alone.

    The first request of an image and augmentation fills the cache, as long as there is room; all others of it hit.
    """

    def __init__(self, bytes_per_pixel: float, max_bytes: int) -> None:
        self._bytes_per_pixel = bytes_per_pixel
        self._left = max_bytes
        self._cached: set[Key] = set()

    def is_cached(self, request: SampleRequest) -> bool:
        """Whether the cache has what is requested; where it has not but can, it will from then on."""
        key = _key(request)
        if key in self._cached:
            return True
        size = round(self._bytes_per_pixel * request.size_wh[0] * request.size_wh[1])
        if size <= self._left:
            self._left -= size
            self._cached.add(key)
        return False

    def keeps(self, request: SampleRequest) -> bool:
        """Whether the cache has room for what is requested."""
        return _key(request) in self._cached


@dataclass(frozen=True)
class _Entry:
    example: Example
    maps: tuple[np.ndarray, ...]


class FeatureCache:
    """The outputs of the frozen layers that the other layers read.

    Attributes:
        plan: which requests are answered from the cache.
        layers: indices of the layers whose outputs are cached.
    """

    def __init__(
        self,
        network: Network,
        frozen: Collection[int],
        *,
        precision: torch.dtype,
        device: torch.device,
        threads: int,
        max_bytes: int,
        folder: Path | None = None,
    ) -> None:
        """Create an empty cache.

        Args:
            network: some of its layers are frozen.
            frozen: indices of these.
            precision: type that convolutions are computed in.
            device: of the network.
            threads: CPU threads to compute with.
            max_bytes: size of the cache; what does not fit is computed each time.
            folder: where features are stored in files; None: in memory.
        """
        self.layers = network.architecture.cached_taps(frozen)
        self._network = network
        self._precision, self._device, self._threads, self._folder = precision, device, threads, folder
        shapes = network.architecture.shapes()
        width, height = network.architecture.width, network.architecture.height
        values = sum(np.prod(shapes[layer]) for layer in self.layers)
        self.plan = CachePlan(np.dtype(np.float16).itemsize * float(values) / (width * height), max_bytes)
        self._entries: dict[Key, _Entry] = {}

    def complete(self, part: LoadedPart) -> tuple[Batch, dict[int, Tensor]]:
        """A part of a batch with what is cached.

        Returns:
            The batch, with blank images if some of them are cached; and the features of each layer, (N, C, h, w).
        """
        new = iter(zip(part.images, part.examples, strict=True))
        examples, maps = [], []
        for request in part.requests:
            entry = self._entries.get(_key(request)) or self._add(request, *next(new))
            examples.append(replace(entry.example, index=request.index))
            maps.append(entry.maps)
        features = {
            layer: torch.from_numpy(np.stack(arrays)).to(self._device, dtype=torch.float32)
            for layer, arrays in zip(self.layers, zip(*maps, strict=True), strict=True)
        }
        complete = len(part.examples) == len(examples)
        images = part.images if complete else blank_images(len(examples), part.requests[0].size_wh)
        return batch_of(images, examples), features

    def _add(self, request: SampleRequest, image: UInt8[np.ndarray, "h w 3"], example: Example) -> _Entry:
        maps = tuple(values[0].astype(np.float16) for values in self._compute(image[None]))
        entry = _Entry(example, maps)
        if self.plan.keeps(request):
            self._entries[_key(request)] = self._stored(entry)
        return entry

    @cached_property
    def _compute(self) -> Callable[[UInt8[np.ndarray, "n h w 3"]], tuple[np.ndarray, ...]]:
        """The frozen layers as a function of images; made on first use, when the loader's processes are forked."""
        name = choose_engine() if self._device.type == "cpu" else "torch"
        if name == "torch":
            return self._in_torch
        precision: Precision = "bfloat16" if self._precision is torch.bfloat16 else "float32"
        try:
            engine = frozen_engine(name, self._network.to_model(), self.layers, precision, self._threads)
        except EngineError as error:
            if error.argument != "precision":
                raise
            return self._in_torch  # the engine has no bfloat16 on this CPU
        return lambda images: engine.run(images.transpose(0, 3, 1, 2).astype(np.float32, order="C") / 255)

    @torch.no_grad()
    def _in_torch(self, images: UInt8[np.ndarray, "n h w 3"]) -> tuple[np.ndarray, ...]:
        pixels = torch.from_numpy(images).to(self._device).permute(0, 3, 1, 2).float().div_(255)
        with torch.autocast(self._device.type, self._precision, enabled=self._precision != torch.float32):
            maps = self._network(pixels, self.layers)
        return tuple(values.float().cpu().contiguous().numpy() for values in maps)

    def _stored(self, entry: _Entry) -> _Entry:
        if self._folder is None:
            return entry
        self._folder.mkdir(parents=True, exist_ok=True)
        number = len(self._entries)
        maps = tuple(self._file(f"{number:08}-{i}.npy", values) for i, values in enumerate(entry.maps))
        return replace(entry, maps=maps)

    def _file(self, name: str, values: np.ndarray) -> np.ndarray:
        assert self._folder is not None  # noqa: S101  `_stored` checks
        path = self._folder / name
        np.save(path, values, allow_pickle=False)
        stored: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
        return stored

    def close(self) -> None:
        """Delete the files of the cache."""
        self._entries.clear()
        if self._folder is not None and self._folder.exists():
            for path in self._folder.glob("*.npy"):
                path.unlink()
            self._folder.rmdir()


def frozen_engine(
    name: EngineName, model: Model, layers: Collection[int], precision: Precision, threads: int
) -> Engine:
    """An engine whose outputs are those of some layers, in their order, each (N, C, h, w).

    Args:
        name: of the engine.
        model: the network; only what those layers need is computed.
        layers: their indices.
        precision: what to compute in.
        threads: number of CPU threads.

    Raises:
        EngineError: the engine cannot compute in the precision.
    """
    architecture = model.architecture
    outputs = [(f"output{index}", index) for index in layers]
    graph = build_onnx(fold_batch_norm(model), outputs).SerializeToString()
    loaded = LoadedModel(
        names=(),
        tree=None,
        head=None,
        network_wh=(architecture.width, architecture.height),
        stride=architecture.size_multiple(),
        graph=graph,
    )
    return start_engine(name, loaded, precision=precision, threads=threads)
