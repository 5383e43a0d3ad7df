"""A trained classifier, loaded into an engine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float, UInt8

from yolo9000.checkpoints.load import load_model
from yolo9000.checkpoints.model import LoadedModel
from yolo9000.errors import ConfigError
from yolo9000.inference.engines import Engine, EngineName, Precision, choose_engine, start_engine
from yolo9000.inference.head_output import softmax
from yolo9000.inference.preprocess import center_crop
from yolo9000.taxonomy.wordtree import WordTree

__all__ = ["Classifier"]


@dataclass(frozen=True)
class Classifier:
    """A classifier, loaded into an engine.

    Attributes:
        engine: what runs the network.
        names: of the classes, or of all nodes of the tree.
        tree: the label tree; None for flat classes.
        network_wh: width and height of the input in pixels.
    """

    engine: Engine
    names: tuple[str, ...]
    tree: WordTree | None
    network_wh: tuple[int, int]

    @classmethod
    def load(
        cls,
        model: str | Path | LoadedModel,
        *,
        engine: EngineName | Literal["auto"] = "auto",
        device: str = "cpu",
        precision: Precision = "auto",
        threads: int | None = None,
        size_wh: tuple[int, int] | None = None,
    ) -> Classifier:
        """Load a classifier into an engine.

        Args:
            model: a ``.safetensors`` file, or what `load_model` returned.
            engine: ``openvino``, ``onnxruntime``, ``torch``; ``auto`` is the first of these that is installed.
            device: see `start_engine`.
            precision: see `start_engine`.
            threads: see `start_engine`.
            size_wh: width and height to crop images to; None for the model's own.

        Raises:
            ConfigError: the model is a detector.
            YoloError: the file cannot be read, or the engine cannot be used.
        """
        loaded = model if isinstance(model, LoadedModel) else load_model(model)
        if loaded.kind != "classifier":
            where = "" if isinstance(model, LoadedModel) else f"{model}: "
            raise ConfigError(f"{where}must be a classifier, got a detector")
        started = start_engine(choose_engine(engine), loaded, device=device, precision=precision, threads=threads)
        return cls(started, loaded.names, loaded.tree, size_wh or loaded.network_wh)

    def probabilities(self, images: Sequence[UInt8[np.ndarray, "_ _ 3"]]) -> Float[np.ndarray, "n k"]:
        """The probability of every class, or of every node of the tree: the product of the path to it (§4).

        Args:
            images: RGB, 8 bits, of any sizes; the largest centered square of each is used.
        """
        batch = np.stack([center_crop(image, self.network_wh).transpose(2, 0, 1) for image in images])
        logits = self.engine.run(np.ascontiguousarray(batch))[0].reshape(len(images), -1)
        return softmax(logits) if self.tree is None else self.tree.probabilities(self.tree.softmax(logits))
