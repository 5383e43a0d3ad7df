"""A model in memory, wherever it was loaded from: what it is, and the network that an engine runs.

An engine runs a network with one of two sets of outputs. Dense: ``head`` (N, A (5 + K), H, W), the whole output of the
last layer. Lazy: ``boxes`` (N, A 5, H, W) and ``features`` (N, C, H, W), the input of the last convolution, whose class
rows are kept apart and computed on demand.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from yolo9000.architectures.head import ClassActivation, Head
from yolo9000.architectures.layers import Region, Softmax
from yolo9000.architectures.onnx import build_onnx
from yolo9000.architectures.weights import ClassRows, Model, fold_batch_norm, has_wide_head, split_head
from yolo9000.checkpoints.darknet.weights import Header
from yolo9000.checkpoints.graph_weights import graph_weights
from yolo9000.errors import ConfigError, EngineError, WeightsError
from yolo9000.taxonomy.wordtree import WordTree
from yolo9000.types import ResizeMode

if TYPE_CHECKING:
    from onnx import ModelProto
    from openvino import Model as OpenVinoModel

__all__ = ["RECEIPTS", "LoadedModel", "NetworkLayers"]

DENSE = (("head", -1),)
RECEIPTS = "receipts"
"""Where ``LoadedModel.trained`` has the receipts of other precisions; see `yolo9000.checkpoints.receipt`."""
LAZY = (("boxes", -1), ("features", -2))


@dataclass(frozen=True)
class NetworkLayers:
    """A network as layers with batch norm folded into the convolutions.

    Attributes:
        model: the layers and their weights.
        outputs: name and layer index of each output.
        class_rows: the class half of the last layer where it is kept apart.
    """

    model: Model
    outputs: tuple[tuple[str, int], ...]
    class_rows: ClassRows | None = None

    def to_onnx(self) -> ModelProto:
        """The network as an ONNX graph."""
        return build_onnx(self.model, self.outputs)


@dataclass(frozen=True)
class LoadedModel:
    """A detector or classifier.

    Attributes:
        names: display name of each class, or of each node of the tree.
        tree: the label tree; None for flat classes.
        head: what the output of a detector means; None for a classifier.
        network_wh: default width and height of the input in pixels.
        stride: pixels in a cell; width and height of a detector's input are multiples of it.
        weights: architecture and arrays as they were trained; None for an exported file.
        graph: the network of an exported file: the bytes of an ONNX file, or a model of OpenVINO; else None.
        graph_class_rows: the class rows of an exported file, if they are kept apart.
        graph_cfg: the architecture that the graph of an exported file was built from; None if it is not known.
        lazy_classes: of a model with weights, whether class rows are kept apart; None does so where the head is wider
            than its input, so that computing classes only where they matter is cheaper.
        trained: how the model was made; plain values for JSON.
        darknet_header: of a Darknet ``.weights`` file.
    """

    names: tuple[str, ...]
    tree: WordTree | None
    head: Head | None
    network_wh: tuple[int, int]
    stride: int
    weights: Model | None = None
    graph: bytes | OpenVinoModel | None = None
    graph_class_rows: ClassRows | None = None
    graph_cfg: str | None = None
    lazy_classes: bool | None = None
    trained: Mapping[str, Any] = field(default_factory=dict)
    darknet_header: Header | None = None

    @classmethod
    def from_weights(
        cls,
        weights: Model,
        names: tuple[str, ...],
        tree: WordTree | None = None,
        *,
        resize_mode: ResizeMode = "letterbox",
        hier_thresh: float | None = None,
        trained: Mapping[str, Any] | None = None,
        darknet_header: Header | None = None,
    ) -> LoadedModel:
        """A model with weights.

        Args:
            weights: architecture and arrays; the last layer says whether it is a detector or a classifier.
            names: display name of each class, or of each node of the tree.
            tree: the label tree; None for flat classes.
            resize_mode: how images are fitted to a detector's input.
            hier_thresh: see `Head.hier_thresh`.
            trained: how the model was made.
            darknet_header: of a Darknet ``.weights`` file.

        Raises:
            WeightsError: the network ends in neither a detector's nor a classifier's head, or its classes are not as
                many as the names.
        """
        architecture = weights.architecture
        last = architecture.head
        if not isinstance(last, Region | Softmax):
            raise WeightsError("the network must end in [region] or [softmax]")
        head = None
        if isinstance(last, Region):
            anchors = np.array(last.anchors_wh_cells, np.float32)
            flat: ClassActivation = "softmax" if last.softmax else "sigmoid"
            head = Head(anchors, names, flat if tree is None else "tree", tree, resize_mode, hier_thresh)
        classes = last.classes if isinstance(last, Region) else architecture.shapes()[-1][0]
        if classes != len(names):
            raise WeightsError(f"the network has {classes} classes and needs as many names, got {len(names)}")
        return cls(
            names=names,
            tree=tree,
            head=head,
            network_wh=(architecture.width, architecture.height),
            stride=architecture.size_multiple(),
            weights=weights,
            trained=trained or {},
            darknet_header=darknet_header,
        )

    def changed(self, **changes: Any) -> LoadedModel:
        """A model with weights, with other arguments of `from_weights`; ``trained`` is added to what is there."""
        same: dict[str, Any] = {"weights": self.weights, "names": self.names, "tree": self.tree}
        if self.head is not None:
            same |= {"resize_mode": self.head.resize_mode, "hier_thresh": self.head.hier_thresh}
        trained = {**self.trained, **changes.pop("trained", {})}
        if "weights" in changes:
            trained.pop(RECEIPTS, None)  # they are about other weights
        return LoadedModel.from_weights(**(same | changes), trained=trained)

    def with_lazy_classes(self, lazy: bool | None) -> LoadedModel:
        """The model with its class rows kept apart or not; see ``lazy_classes``. Exported files stay as they are."""
        return replace(self, lazy_classes=lazy)

    @property
    def kind(self) -> Literal["detector", "classifier"]:
        """What the model does."""
        return "classifier" if self.head is None else "detector"

    @property
    def detector_head(self) -> Head:
        """The head of a detector.

        Raises:
            ConfigError: the model is a classifier.
        """
        if self.head is None:
            raise ConfigError("the model must be a detector, got a classifier")
        return self.head

    @cached_property
    def trained_weights(self) -> Model:
        """The weights to train from; those of an exported file have batch norm folded into them.

        Raises:
            ConfigError: it is an OpenVINO file, or a file whose architecture is not known.
        """
        if self.weights is not None:
            return self.weights
        if self.graph_cfg is None or not isinstance(self.graph, bytes):
            raise ConfigError(
                "this exported file has no weights to work on; use the .safetensors or .cfg that it was exported from"
            )
        return graph_weights(self.graph, self.graph_cfg, self.graph_class_rows)

    @property
    def class_rows(self) -> ClassRows | None:
        """The class half of a detector's last layer where it is kept apart."""
        return self.graph_class_rows if self.weights is None else self.layers.class_rows

    @cached_property
    def layers(self) -> NetworkLayers:
        """The network as layers, for engines that build it themselves, and for exporting.

        Raises:
            EngineError: the model is an exported file.
            WeightsError: a convolution has no weights.
            ConfigError: class rows must be kept apart, and the network has none that can be.
        """
        if self.weights is None:
            raise EngineError("the network of an exported file is not known as layers")
        folded = fold_batch_norm(self.weights)
        lazy = has_wide_head(folded.architecture) if self.lazy_classes is None else self.lazy_classes
        if not lazy:
            return NetworkLayers(folded, DENSE)
        trunk, class_rows = split_head(folded)
        return NetworkLayers(trunk, LAZY, class_rows)

    def onnx_bytes(self) -> bytes:
        """The network as the bytes of an ``.onnx`` file.

        Raises:
            EngineError: the model is an OpenVINO file.
        """
        if isinstance(self.graph, bytes):
            return self.graph
        if self.graph is not None:
            raise EngineError("an OpenVINO file (.xml) can be run by the engine openvino only")
        return bytes(self.layers.to_onnx().SerializeToString())
