"""A whole detector out of Darknet's files: ``.cfg``, ``.weights``, names and tree."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from yolo9000.architectures.layers import Architecture, BatchNormForm, Region
from yolo9000.architectures.weights import Model
from yolo9000.checkpoints.darknet.cfg import read_cfg
from yolo9000.checkpoints.darknet.weights import read_weights
from yolo9000.data.data_file import DataFile, read_data
from yolo9000.errors import ConfigError, DataError, TreeError
from yolo9000.inference.decode import HeadSpec
from yolo9000.inference.preprocess import ResizeMode
from yolo9000.io.files import find_beside
from yolo9000.taxonomy.class_names import default_names
from yolo9000.taxonomy.files import read_darknet_tree, read_names

__all__ = ["head_spec", "read_detector", "weights_file"]


def read_detector(
    cfg: str | Path,
    weights: str | Path | None = None,
    *,
    names: str | Path | None = None,
    tree: str | Path | None = None,
    data: str | Path | None = None,
    batch_norm: BatchNormForm = "eps_inside_sqrt",
    resize_mode: ResizeMode = "letterbox",
) -> tuple[Model, HeadSpec]:
    """Read a detector.

    Args:
        cfg: the network.
        weights: its numbers; None takes the file beside the cfg with the suffix ``.weights``.
        names: display names, one a line; None takes those that ``data`` names, else a ``.names`` file beside the cfg,
            else VOC's for 20 classes and COCO's for 80.
        tree: the label tree; None takes the one that the cfg names.
        data: a ``.data`` file, for its ``names``.
        batch_norm: where epsilon stood when the weights were trained; see `Architecture.batch_norm`.
        resize_mode: how images were fitted when they were.

    Raises:
        ConfigError, WeightsError, DataError, TreeError: a file is missing or wrong, or they do not fit each other.
    """
    cfg = Path(cfg)
    architecture = read_cfg(cfg, batch_norm=batch_norm)
    try:
        spec = head_spec(architecture, cfg, names=_names_file(cfg, names, data), tree=tree)
    except ConfigError as error:
        raise ConfigError(f"{cfg}: {error}") from None
    _, model = read_weights(weights_file(cfg, weights), architecture)
    return model, replace(spec, resize_mode=resize_mode)


def head_spec(architecture: Architecture, cfg: Path, *, names: Path | None, tree: str | Path | None) -> HeadSpec:
    """What the numbers of a table's head mean.

    Args:
        architecture: a detector.
        cfg: the file that the tree's name stands in.
        names: file of display names; None for the defaults.
        tree: file of the label tree; None for the one that the table names.

    Raises:
        ConfigError: the table is not a detector.
        DataError, TreeError: names or tree do not fit the number of classes.
    """
    head = architecture.head
    if not isinstance(head, Region):
        raise ConfigError("must be a detector, which ends in [region]; this network is a classifier or has no head")
    display = read_names(names) if names else None
    if display is not None and len(display) != head.classes:
        raise DataError(f"{names}: the network has {head.classes} classes and needs as many names, got {len(display)}")
    anchors = np.array(head.anchors_wh_cells, np.float32)
    if tree is None and head.tree is None:
        return HeadSpec(anchors, display or default_names(head.classes), "softmax" if head.softmax else "sigmoid")
    file = Path(tree) if tree is not None else find_beside(cfg, str(head.tree), TreeError)
    word_tree = read_darknet_tree(file, display)
    if len(word_tree) != head.classes:
        raise TreeError(f"{file}: the network has {head.classes} classes and needs as many nodes, got {len(word_tree)}")
    return HeadSpec(anchors, word_tree.names, "tree", word_tree)


def weights_file(cfg: Path, weights: str | Path | None) -> Path:
    """The weights that were named, or the file beside the cfg.

    Raises:
        ConfigError: none were named and there is no such file.
    """
    if weights is not None:
        return Path(weights)
    beside = cfg.with_suffix(".weights")
    if not beside.is_file():
        raise ConfigError(f"{cfg}: needs weights: give `weights`, or put them at {beside}")
    return beside


def _names_file(cfg: Path, names: str | Path | None, data: str | Path | None) -> Path | None:
    if names is not None:
        return Path(names)
    if data is not None:
        named = _named(read_data(data))
        if named is not None:
            return named
    beside = cfg.with_suffix(".names")
    return beside if beside.is_file() else None


def _named(data: DataFile) -> Path | None:
    """The names that a ``.data`` file gives; of a classifier's it may give only ``labels``."""
    return data.file("names") or data.file("labels")
