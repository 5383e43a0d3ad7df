"""From the network's output to detections: candidates, labels, suppression.

Paper: §2, §4. Darknet: src/region_layer.c get_region_detections.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float32

from yolo9000.architectures.head import Head
from yolo9000.boxes import clip, cxcywh_to_xyxy
from yolo9000.inference.head_output import Candidates, HeadOutput, class_scores, find_candidates, node_scores
from yolo9000.inference.query import Query
from yolo9000.inference.settings import DetectionSettings
from yolo9000.inference.suppress import LabelledBoxes, remaining
from yolo9000.inference.tree_decode import decode_tree, decode_within, tree_answers
from yolo9000.taxonomy.wordtree import WordTree
from yolo9000.types import Detections

__all__ = ["decode", "decode_candidates", "flat_scores", "label_candidates"]

EVERY_LABEL = Query()


@np.errstate(over="ignore", invalid="ignore")  # boxes may be huge, up to infinite, before they are clipped
def decode(
    output: HeadOutput,
    image: int,
    head: Head,
    image_wh: tuple[int, int],
    settings: DetectionSettings,
    query: Query = EVERY_LABEL,
) -> Detections:
    """The detections in one image of a batch.

    Args:
        output: the network's output for the batch.
        image: index of the image in the batch.
        head: what the output means.
        image_wh: width and height of the image in pixels.
        settings: thresholds.
        query: which labels to answer with. Suppression comes before ``query.keep``, so a box that is filtered out may
            have suppressed another.
    """
    candidates = find_candidates(output, image, head, image_wh, settings.conf_threshold)
    return decode_candidates(output, image, head, image_wh, candidates, settings, query)


@np.errstate(over="ignore", invalid="ignore")
def decode_candidates(
    output: HeadOutput,
    image: int,
    head: Head,
    image_wh: tuple[int, int],
    candidates: Candidates,
    settings: DetectionSettings,
    query: Query = EVERY_LABEL,
) -> Detections:
    """The detections among the candidates of one image; the other arguments are those of `decode`."""
    labelled = label_candidates(output, image, head, candidates, settings, query)
    kept = remaining(candidates, labelled, settings)
    if query.keep is not None:
        kept = kept[query.keep[labelled.labels[kept]]]
    kept = kept[np.argsort(-labelled.scores[kept], kind="stable")][: settings.max_detections]
    boxes = candidates.boxes_cxcywh[labelled.candidates[kept]] * np.array([*image_wh, *image_wh], np.float32)
    answers = tree_answers(head.tree, labelled.paths.select(kept)) if head.tree and labelled.paths is not None else ()
    names = query.names(head)
    return Detections(
        boxes_xyxy=clip(cxcywh_to_xyxy(boxes), image_wh),
        scores=labelled.scores[kept],
        labels=labelled.labels[kept],
        names=tuple(names[label] for label in labelled.labels[kept]),
        size_wh=image_wh,
        answers=answers,
    )


def label_candidates(
    output: HeadOutput,
    image: int,
    head: Head,
    candidates: Candidates,
    settings: DetectionSettings,
    query: Query = EVERY_LABEL,
) -> LabelledBoxes:
    """Candidates with their labels and scores, those below the confidence threshold left out.

    With flat labels a candidate gets every label whose score passes; on a tree the one node where its path ends.
    """
    if head.tree is not None and query.nodes is None:
        return _label_by_tree(output, image, head.tree, candidates, settings, query)
    scores = flat_scores(output, image, head, candidates, query)
    indices, labels = np.nonzero(scores > settings.conf_threshold)
    return LabelledBoxes(indices, labels, scores[indices, labels])


def flat_scores(
    output: HeadOutput, image: int, head: Head, candidates: Candidates, query: Query = EVERY_LABEL
) -> Float32[np.ndarray, "m k"]:
    """Objectness x probability of every flat label, for every candidate: of the classes, or the nodes of a query."""
    if head.tree is not None and query.nodes is not None:
        return node_scores(output, image, head.tree, candidates, query.nodes)
    return class_scores(output, image, head, candidates)


def _label_by_tree(
    output: HeadOutput,
    image: int,
    tree: WordTree,
    candidates: Candidates,
    settings: DetectionSettings,
    query: Query,
) -> LabelledBoxes:
    if query.within is None:
        scores, paths = candidates.objectness, decode_tree(output, image, tree, candidates, settings)
    else:
        scores, paths = decode_within(output, image, tree, query.within, candidates, settings)
    if settings.hier_decoding == "conditional":
        scores = scores * paths.probabilities.astype(np.float32)
    passing = np.flatnonzero(scores > settings.conf_threshold)
    return LabelledBoxes(passing, paths.labels[passing], scores[passing], paths.select(passing))
