"""A whole detector in Darknet's files: ``.cfg``, ``.weights``, names and tree."""

from __future__ import annotations

from pathlib import Path

from yolo9000.architectures.layers import Architecture, BatchNormForm, Region
from yolo9000.checkpoints.darknet.cfg import read_cfg
from yolo9000.checkpoints.darknet.weights import read_weights
from yolo9000.checkpoints.model import LoadedModel
from yolo9000.data.data_file import DataFile, read_data
from yolo9000.errors import ConfigError, DataError, TreeError
from yolo9000.io.files import find_beside
from yolo9000.taxonomy.class_names import default_names
from yolo9000.taxonomy.files import read_darknet_tree, read_names
from yolo9000.taxonomy.wordtree import WordTree
from yolo9000.types import ResizeMode

__all__ = ["class_names_and_tree", "read_detector", "weights_file"]


def read_detector(
    cfg: str | Path,
    weights: str | Path | None = None,
    *,
    names: str | Path | None = None,
    tree: str | Path | None = None,
    data: str | Path | None = None,
    batch_norm: BatchNormForm = "eps_inside_sqrt",
    resize_mode: ResizeMode | None = None,
) -> LoadedModel:
    """Read a detector; the arguments are those of `load_model`.

    Raises:
        ConfigError, WeightsError, DataError, TreeError: a file is missing or wrong, or they do not match.
    """
    cfg = Path(cfg)
    architecture = read_cfg(cfg, batch_norm=batch_norm)
    try:
        labels, word_tree = class_names_and_tree(architecture, cfg, names=_names_file(cfg, names, data), tree=tree)
    except ConfigError as error:
        raise ConfigError(f"{cfg}: {error}") from None
    header, model = read_weights(weights_file(cfg, weights), architecture)
    fitted = resize_mode or architecture.resize_mode or "letterbox"
    return LoadedModel.from_weights(model, labels, word_tree, resize_mode=fitted, darknet_header=header)


def class_names_and_tree(
    architecture: Architecture, cfg: Path, *, names: Path | None, tree: str | Path | None
) -> tuple[tuple[str, ...], WordTree | None]:
    """The names of a detector's classes, and its label tree if it has one.

    Args:
        architecture: a detector.
        cfg: the file that names the tree.
        names: file of display names; None for the defaults.
        tree: file of the label tree; None for the one that the architecture names.

    Raises:
        ConfigError: the architecture is not a detector.
        DataError, TreeError: names or tree do not match the number of classes.
    """
    head = architecture.head
    if not isinstance(head, Region):
        raise ConfigError("must be a detector, which ends in [region]; this network is a classifier or has no head")
    display = read_names(names) if names else None
    if display is not None and len(display) != head.classes:
        raise DataError(f"{names}: the network has {head.classes} classes and needs as many names, got {len(display)}")
    if tree is None and head.tree is None:
        return display or default_names(head.classes), None
    file = Path(tree) if tree is not None else find_beside(cfg, str(head.tree), TreeError)
    word_tree = read_darknet_tree(file, display)
    if len(word_tree) != head.classes:
        raise TreeError(f"{file}: the network has {head.classes} classes and needs as many nodes, got {len(word_tree)}")
    return word_tree.names, word_tree


def weights_file(cfg: Path, weights: str | Path | None) -> Path:
    """The given weights, or the file beside the cfg.

    Raises:
        ConfigError: none are given and the file is not found.
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
        of_data = _names_of(read_data(data))
        if of_data is not None:
            return of_data
    beside = cfg.with_suffix(".names")
    return beside if beside.is_file() else None


def _names_of(data: DataFile) -> Path | None:
    """The names that a ``.data`` file gives; that of a classifier may give only ``labels``."""
    return data.file("names") or data.file("labels")
