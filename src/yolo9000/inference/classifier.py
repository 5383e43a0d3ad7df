"""A trained classifier, loaded into an engine and ready."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8

from yolo9000.architectures.layers import Softmax
from yolo9000.checkpoints.program import prepare
from yolo9000.checkpoints.safetensors import Checkpoint
from yolo9000.errors import ConfigError
from yolo9000.inference.decode import softmax
from yolo9000.inference.engines import Engine, EngineName, Precision, start_engine
from yolo9000.inference.preprocess import center_crop
from yolo9000.taxonomy.wordtree import WordTree

__all__ = ["Classifier"]


@dataclass(frozen=True)
class Classifier:
    """A classifier and what runs it.

    Attributes:
        engine: the network.
        names: of the classes, or of all nodes of the tree.
        tree: the label tree; None for flat classes.
        network_wh: width and height of the input in pixels.
    """

    engine: Engine
    names: tuple[str, ...]
    tree: WordTree | None
    network_wh: tuple[int, int]

    @classmethod
    def start(
        cls,
        file: Checkpoint,
        engine: EngineName,
        *,
        device: str = "cpu",
        precision: Precision = "float32",
        threads: int | None = None,
        size_wh: tuple[int, int] | None = None,
    ) -> Classifier:
        """Load a classifier into an engine.

        Args:
            file: the classifier.
            engine: what runs it; torch, ONNX Runtime or OpenVINO.
            device: see `start_engine`.
            precision: see `start_engine`.
            threads: see `start_engine`.
            size_wh: width and height to crop images to; None takes the model's own.

        Raises:
            ConfigError: the model is a detector.
            EngineError: see `start_engine`.
        """
        architecture = file.model.architecture
        if not isinstance(architecture.head, Softmax):
            raise ConfigError("must be a classifier, which ends in [softmax]")
        program, _ = prepare(file.model)
        started = start_engine(engine, program, device=device, precision=precision, threads=threads)
        return cls(started, file.names, file.tree, size_wh or (architecture.width, architecture.height))

    def probabilities(self, images: Sequence[UInt8[np.ndarray, "_ _ 3"]]) -> Float[np.ndarray, "n k"]:
        """The probability of every class, or of every node of the tree: the product down its path (§4).

        Args:
            images: RGB, 8 bits, of any sizes; the largest square in the middle of each is looked at.
        """
        batch = np.stack([center_crop(image, self.network_wh).transpose(2, 0, 1) for image in images])
        logits = self.engine.run(np.ascontiguousarray(batch))[0].reshape(len(images), -1)
        return softmax(logits) if self.tree is None else self.tree.probabilities(self.tree.softmax(logits))
