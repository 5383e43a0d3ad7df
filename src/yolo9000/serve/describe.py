"""A detector as the page gets it: the answers of ``GET /v1/model`` and ``GET /v1/tree``."""

from __future__ import annotations

import hashlib
from typing import Any, Literal

from yolo9000 import __version__
from yolo9000.architectures.head import Head
from yolo9000.checkpoints.model import LoadedModel
from yolo9000.inference.settings import DetectionSettings
from yolo9000.taxonomy.wordnet import is_synset_id, wordnet
from yolo9000.taxonomy.wordtree import WordTree

__all__ = ["VERSION", "fingerprint", "model_record", "synonyms_of", "tree_record"]

VERSION: Literal[1] = 1
"""Of the service's JSON; it rises when an answer changes its meaning."""


def model_record(model: LoadedModel, name: str, settings: DetectionSettings | None = None) -> dict[str, Any]:
    """What a model is: its labels, its input and its settings."""
    head = model.detector_head
    return {
        "version": VERSION,
        "name": name,
        "kind": head.classes,
        "labels": len(head.names),
        "network_wh": list(model.network_wh),
        "resize_mode": head.resize_mode,
        "fingerprint": fingerprint(head),
        "settings": (settings or default_settings(head)).model_dump(),
        "yolo9000": __version__,
    }


def default_settings(head: Head) -> DetectionSettings:
    """The settings of a detector that was loaded without any."""
    return DetectionSettings() if head.hier_thresh is None else DetectionSettings(hier_thresh=head.hier_thresh)


def fingerprint(head: Head) -> str:
    """SHA-256 of what the labels are: the tree's, or of the names."""
    return head.tree.fingerprint if head.tree else hashlib.sha256("\n".join(head.names).encode()).hexdigest()


def tree_record(model: LoadedModel, name: str) -> dict[str, Any]:
    """The labels of a model; flat classes are roots without children."""
    head, tree = model.detector_head, model.detector_head.tree
    return {
        "version": VERSION,
        "model": name,
        "kind": head.classes,
        "ids": list(tree.ids if tree else head.names),
        "names": list(head.names),
        "parents": tree.parents.tolist() if tree else [-1] * len(head.names),
        "synonyms": synonyms_of(tree) if tree else [[] for _ in head.names],
    }


def synonyms_of(tree: WordTree) -> list[list[str]]:
    """The other names of each node: the tree's own, or else WordNet's for ids such as ``n02084071``."""
    if tree.synonyms:
        return [list(names) for names in tree.synonyms]
    return [_other_names(node_id, name) for node_id, name in zip(tree.ids, tree.names, strict=True)]


def _other_names(node_id: str, name: str) -> list[str]:
    known = wordnet().names(node_id) if is_synset_id(node_id) and node_id in wordnet() else ()
    return [other for other in known if other.casefold() != name.casefold()]
