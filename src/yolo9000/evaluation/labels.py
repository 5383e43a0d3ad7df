"""Which label of a model each class of a data set is."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int64

from yolo9000.data.dataset import DataSet
from yolo9000.errors import ConfigError
from yolo9000.inference.detector import Detector
from yolo9000.taxonomy.class_names import index_names
from yolo9000.taxonomy.wordtree import WordTree

__all__ = ["NOT_AT_LEVEL", "category_ids_of", "gt_labels", "labels_among"]

NOT_AT_LEVEL = -1
"""The label of a class that a detector with chosen labels cannot answer."""


def labels_among(names: Sequence[str], tree: WordTree | None, data_set: DataSet) -> Int64[np.ndarray, " k"]:
    """The model's label of each class of a data set: matched by name, on a tree also by id.

    Args:
        names: the model's labels; on a tree the names of all its nodes.
        tree: the model's tree; None if its classes are flat.
        data_set: the data set.

    Raises:
        ConfigError: the model does not have a class of the data set, or several nodes have its name.
    """
    by_id = {} if tree is None else tree.index_by_id
    by_name = index_names(names)
    labels = []
    for name in data_set.classes:
        matches = (by_id[name],) if name in by_id else by_name.get(name, ())
        if len(matches) != 1:
            reason = f"{len(matches)} nodes have this name: use an id" if matches else "got none with this name"
            raise ConfigError(
                f"{data_set.name}: class {name!r} must be one of the model's {len(names)} labels, {reason}"
            )
        labels.append(matches[0])
    return np.array(labels, np.int64)


def gt_labels(detector: Detector, data_set: DataSet) -> Int64[np.ndarray, " k"]:
    """The label that a correct detector gives to objects of each class of a data set; see `labels_among`.

    A detector that answers with chosen nodes of its tree gives the nearest of them at or above the class's node;
    `NOT_AT_LEVEL` if there is none.

    Raises:
        ConfigError: see `labels_among`.
    """
    tree, chosen_nodes = detector.head.tree, detector.query.nodes
    if tree is None or chosen_nodes is None:
        return labels_among(detector.names, tree, data_set)
    chosen = {int(node): label for label, node in enumerate(chosen_nodes)}
    nodes = labels_among(tree.names, tree, data_set)
    paths = (reversed(tree.path(int(node))) for node in nodes)
    return np.array([next((chosen[step] for step in path if step in chosen), NOT_AT_LEVEL) for path in paths], np.int64)


def category_ids_of(detector: Detector, data_set: DataSet) -> dict[int, int] | None:
    """The category id of each of the model's labels, for a COCO results file; None on a tree, whose nodes are kept."""
    if detector.head.tree is not None:
        return None
    labels = labels_among(detector.names, None, data_set)
    return {int(labels[label]): category for label, category in data_set.category_ids().items()}
