"""What a model file says about itself, in one schema for ``.safetensors``, ``.onnx`` and OpenVINO's ``.xml``.

The metadata is JSON under the key ``yolo9000``. It holds the SHA-256 of the whole file, computed with zeros in place of
the digest, so that a damaged file is refused before anything in it is used.
"""

from __future__ import annotations

import hashlib
from textwrap import shorten
from typing import Annotated, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, JsonValue, PositiveFloat, PositiveInt, ValidationError

from yolo9000.architectures.head import Head
from yolo9000.architectures.layers import BatchNormForm
from yolo9000.errors import TreeError, WeightsError, describe_errors
from yolo9000.taxonomy.wordtree import WordTree
from yolo9000.types import ResizeMode

__all__ = ["KEY", "CfgNetwork", "GraphNetwork", "Metadata", "TreeMetadata", "check_digest", "seal"]

KEY = "yolo9000"
NO_DIGEST = "0" * 64
MAX_MESSAGE_LENGTH = 300  # an error in the metadata may quote all 9,418 names


class TreeMetadata(BaseModel):
    """A label tree whose names are those of the model.

    Attributes:
        parents: parent of each node; -1 for roots.
        ids: id of each node.
    """

    model_config = ConfigDict(extra="forbid")
    parents: list[int]
    ids: list[str]


class CfgNetwork(BaseModel):
    """The network of a file of weights.

    Attributes:
        cfg: the architecture in Darknet's format, extended as `write_cfg` says.
        batch_norm: see `Architecture.batch_norm`.
    """

    model_config = ConfigDict(extra="forbid")
    form: Literal["cfg"] = "cfg"
    cfg: str
    batch_norm: BatchNormForm


class GraphNetwork(BaseModel):
    """What the graph of a detector in the same file does not say.

    Attributes:
        network_wh: default width and height of the input in pixels.
        stride: pixels in a cell; width and height are multiples of it.
        anchors_wh_cells: width and height of each anchor in cells.
        classes: see `Head.classes`.
        cfg: the architecture that the graph was built from, so that training can start from the file; None: unknown.
    """

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)
    form: Literal["graph"] = "graph"
    network_wh: tuple[PositiveInt, PositiveInt]
    stride: PositiveInt
    anchors_wh_cells: list[tuple[PositiveFloat, PositiveFloat]] = Field(min_length=1)
    classes: Literal["softmax", "sigmoid", "tree"]
    cfg: str | None = None


class Metadata(BaseModel):
    """What a model file says about itself.

    Attributes:
        version: of this schema.
        network: the architecture, or what belongs to the graph in the file.
        names: display name of each class, or of each node of the tree.
        tree: the label tree; None for flat classes.
        resize_mode: how images are fitted to a detector's input.
        hier_thresh: see `Head.hier_thresh`.
        trained: how the model was made.
        sha256: digest of the file; see `seal`.
    """

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)
    version: Literal[2] = 2
    network: Annotated[CfgNetwork | GraphNetwork, Field(discriminator="form")]
    names: list[str] = Field(min_length=1)
    tree: TreeMetadata | None
    resize_mode: ResizeMode = "letterbox"
    hier_thresh: float | None = Field(default=None, ge=0, lt=1)
    trained: dict[str, JsonValue] = Field(default_factory=dict)
    sha256: str = Field(default=NO_DIGEST, pattern="^[0-9a-f]{64}$")

    @classmethod
    def parse(cls, text: str | bytes) -> Metadata:
        """Read metadata.

        Raises:
            WeightsError: it does not follow the schema.
        """
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            message = shorten(describe_errors(error), MAX_MESSAGE_LENGTH, placeholder=" ...")
            raise WeightsError(f"invalid metadata: {message}") from None

    def word_tree(self) -> WordTree | None:
        """The label tree.

        Raises:
            WeightsError: it is not a tree, or siblings are not adjacent.
        """
        if self.tree is None:
            return None
        try:
            tree = WordTree.from_parents(self.tree.parents, self.names, self.tree.ids)
            tree.check_groups_contiguous()
        except (TreeError, OverflowError) as error:
            raise WeightsError(f"invalid label tree: {error}") from None
        return tree

    def graph_head(self) -> Head:
        """The head of a detector whose network is a graph.

        Raises:
            WeightsError: the network is not a graph, or the tree does not match it.
        """
        network, tree = self.network, self.word_tree()
        if not isinstance(network, GraphNetwork):
            raise WeightsError("invalid metadata: network.form must be 'graph'")
        if (tree is not None) != (network.classes == "tree"):
            raise WeightsError("invalid metadata: there must be a tree exactly where network.classes is 'tree'")
        anchors = np.array(network.anchors_wh_cells, np.float32)
        return Head(anchors, tuple(self.names), network.classes, tree, self.resize_mode, self.hier_thresh)


def tree_metadata(tree: WordTree | None) -> TreeMetadata | None:
    """A label tree as it is stored."""
    return None if tree is None else TreeMetadata(parents=tree.parents.tolist(), ids=list(tree.ids))


def seal(data: bytes, *others: bytes) -> bytes:
    """A file with its digest in its metadata.

    Args:
        data: the file, with the metadata in it and zeros for the digest.
        others: files that belong to it.
    """
    start = data.index(NO_DIGEST.encode(), data.index(b"sha256"))
    digest = hashlib.sha256(b"".join((data, *others))).hexdigest()
    return data[:start] + digest.encode() + data[start + len(digest) :]


def check_digest(metadata: Metadata, data: bytes, *others: bytes) -> None:
    """Check a file against the digest in its metadata.

    Args:
        metadata: of the file.
        data: the file.
        others: files that belong to it.

    Raises:
        WeightsError: the file has changed since it was written.
    """
    start = data.find(metadata.sha256.encode())
    digest = hashlib.sha256()
    view = memoryview(data)
    digest.update(view[: max(start, 0)])
    digest.update(NO_DIGEST.encode())
    digest.update(view[start + len(NO_DIGEST) :])
    for other in others:
        digest.update(other)
    if start < 0 or digest.hexdigest() != metadata.sha256:
        raise WeightsError("damaged: its contents do not match the SHA-256 stored in it")
