"""Scores of detectors whose labels form a tree (paper: §4). On a flat tree all of them are the flat ones.

Labels of truth and detections are nodes. The path of a node holds the nodes from the top down to it, itself included;
paths of nodes under different top nodes share nothing.

* credit of an answer for a truth: the nodes that their paths share / the nodes of the truth's path. 1 for the truth
  itself and for nodes below it, less for an ancestor or a relative, 0 where nothing is shared.
* distance of an answer from a truth: edges between them through their deepest common node; nodes under different top
  nodes meet in a root above all of them. On a flat tree 0 for the truth, 2 for everything else.

Functions that take `Scored` raise ValueError where its labels are not the nodes of the tree.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Float64, Int64

from yolo9000.boxes import iou
from yolo9000.evaluation.match import Affinity, join, match
from yolo9000.evaluation.scored import Scored
from yolo9000.evaluation.voc import (
    ApByClass,
    ApMethod,
    PrecisionRecall,
    average_precisions,
    curves,
    mean,
    voc_ap,
)
from yolo9000.taxonomy.wordtree import WordTree
from yolo9000.types import TreeAnswer

__all__ = [
    "Lineage",
    "Localised",
    "Severity",
    "SpecificityRisk",
    "Split",
    "ap_by_depth",
    "back_off_curve",
    "credited_ap",
    "credited_precision_recall",
    "deepest_kept",
    "localise",
    "risk_curve",
    "roll_up",
    "severity",
    "split",
]

# Of two truths of one credit the nearer is preferred; credits differ by more than all distances times this.
NEARER = 1e-9


@dataclass(frozen=True)
class Lineage:
    """The paths of a tree as a table, for questions about many nodes at once.

    Attributes:
        paths: for every node its ancestors from the top down, itself last; -1 beyond.
        lengths: nodes on each path.
    """

    paths: Int64[np.ndarray, "nodes depths"]
    lengths: Int64[np.ndarray, " nodes"]

    @classmethod
    def of(cls, tree: WordTree) -> Lineage:
        """The paths of a tree."""
        paths = np.full((len(tree), int(tree.depths.max()) + 1), -1, np.int64)
        at = np.arange(len(tree))
        for depth in reversed(range(paths.shape[1])):
            here = np.flatnonzero(tree.depths >= depth)
            paths[here, depth] = at[here]
            at[here] = tree.parents[at[here]]
        return cls(paths, tree.depths + 1)

    def shared(self, nodes: Int64[np.ndarray, " p"], others: Int64[np.ndarray, " p"]) -> Int64[np.ndarray, " p"]:
        """How many nodes two paths have in common: the depth of their deepest common node, counted from 1."""
        count = np.zeros(len(nodes), np.int64)
        for column in self.paths.T:
            count += (column[nodes] == column[others]) & (column[nodes] >= 0)
        return count

    def above(self, nodes: Int64[np.ndarray, " p"], others: Int64[np.ndarray, " p"]) -> Bool[np.ndarray, " p"]:
        """Whether each node is the other one or its ancestor."""
        return np.asarray(self.shared(nodes, others) == self.lengths[nodes])

    def credit(self, answers: Int64[np.ndarray, " p"], gts: Int64[np.ndarray, " p"]) -> Float64[np.ndarray, " p"]:
        """What an answer is worth, in 0 to 1: the part of the truth's path that it shares."""
        return np.asarray(self.shared(answers, gts) / self.lengths[gts])

    def distance(self, answers: Int64[np.ndarray, " p"], gts: Int64[np.ndarray, " p"]) -> Int64[np.ndarray, " p"]:
        """Edges from an answer up to the deepest common node and down to the truth."""
        return np.asarray(self.lengths[answers] + self.lengths[gts] - 2 * self.shared(answers, gts))


def _check_labels(scored: Scored, tree: WordTree) -> None:
    if scored.classes != len(tree):
        raise ValueError(f"labels must be nodes of the tree: it has {len(tree)}, and there are {scored.classes} labels")


# --- AP at every depth, and on any coarser set of labels


def deepest_kept(tree: WordTree, kept: Bool[np.ndarray, " nodes"]) -> Int64[np.ndarray, " nodes"]:
    """For every node the deepest kept one on its path; nodes without any stay as they are."""
    lineage = Lineage.of(tree)
    target = np.arange(len(tree))
    for column in lineage.paths.T:
        reached = (column >= 0) & kept[column]
        target[reached] = column[reached]
    return target


def roll_up(scored: Scored, tree: WordTree, kept: Bool[np.ndarray, " nodes"], duplicate_iou: float = 0.45) -> Scored:
    """Score on a coarser set of labels: every label becomes the deepest kept node on its path, if there is one.

    A detector that gave one object two labels now says the same thing twice. So of two detections in one image whose
    labels were different and have become the same, the one with the lower score falls where their IoU is above the
    threshold; one that has fallen takes no other with it. Those that had one label before are left as the detector
    left them.

    The score stays that of the answer, which is objectness x P(answer), below objectness x P(kept node).
    """
    _check_labels(scored, tree)
    return _relabelled(scored, deepest_kept(tree, kept), *_double_labels(scored, duplicate_iou))


def ap_by_depth(
    scored: Scored,
    tree: WordTree,
    min_iou: float = 0.5,
    method: ApMethod = "area",
    duplicate_iou: float = 0.45,
) -> list[ApByClass]:
    """VOC's AP of every class with all labels rolled up to depth 0, 1, ... of the tree.

    At depth d a node that is deeper is replaced by its ancestor at depth d, and one that is not stays; see `roll_up`.
    The last depth is plain AP.
    """
    _check_labels(scored, tree)
    better, worse = _double_labels(scored, duplicate_iou)
    targets = (deepest_kept(tree, tree.depths <= depth) for depth in range(int(tree.depths.max()) + 1))
    return [voc_ap(_relabelled(scored, target, better, worse), min_iou, method) for target in targets]


def _double_labels(scored: Scored, iou_above: float) -> tuple[Int64[np.ndarray, " p"], Int64[np.ndarray, " p"]]:
    """Pairs of detections in one image, the one with the higher score first, that overlap and differ in label."""
    order = np.argsort(-scored.pred_scores, kind="stable")
    images, labels, boxes = scored.pred_images[order], scored.pred_labels[order], scored.pred_boxes_xyxy[order]
    better, worse = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for first, second in join(images, images):
        differ = (first < second) & (labels[first] != labels[second])
        first, second = first[differ], second[differ]
        overlap = iou(boxes[first], boxes[second]) > iou_above
        better.append(first[overlap])
        worse.append(second[overlap])
    return order[np.concatenate(better)], order[np.concatenate(worse)]


def _relabelled(
    scored: Scored,
    target: Int64[np.ndarray, " nodes"],
    better: Int64[np.ndarray, " p"],
    worse: Int64[np.ndarray, " p"],
) -> Scored:
    """Give every label its target, and drop the worse of two detections that had two labels and now have one."""
    labels = target[scored.pred_labels]
    rolled = replace(scored, gt_labels=target[scored.gt_labels], pred_labels=labels)
    same = labels[better] == labels[worse]
    return rolled.select_pred(_standing(len(labels), better[same], worse[same]))


def _standing(count: int, better: Int64[np.ndarray, " p"], worse: Int64[np.ndarray, " p"]) -> Bool[np.ndarray, " d"]:
    """Greedy suppression of all images at once: whatever nothing that stands suppresses, stands."""
    stands = np.ones(count, bool)
    while len(better):
        challenged = np.zeros(count, bool)
        challenged[worse] = True
        stands[worse[~challenged[better]]] = False
        open_yet = stands[better] & stands[worse]
        better, worse = better[open_yet], worse[open_yet]
    return stands


# --- AP with credit


def credited_ap(scored: Scored, tree: WordTree, min_iou: float = 0.5, method: ApMethod = "area") -> ApByClass:
    """AP in which a hit counts for as much as its credit; see `credited_precision_recall`."""
    by_label = credited_precision_recall(scored, tree, min_iou)
    return average_precisions(by_label, scored.classes, method)


def credited_precision_recall(scored: Scored, tree: WordTree, min_iou: float = 0.5) -> dict[int, PrecisionRecall]:
    """Precision and recall of every class that has truths, a hit credited at the deepest common node.

    A detection chooses, of the truths that it overlaps by ``min_iou`` and would have credit for, the one with the
    highest credit, then the nearest in the tree, then the one with the highest IoU. A truth goes to the detection that
    chose it with the highest credit, then the nearest, then the one with the highest score: whatever plain AP counts
    as found is found here, with credit 1.

    A detection that took a truth counts in the truth's class, where it adds its credit to what was found and 1 to what
    was given. Any other is a false positive in the deepest class that has truths and is its label or above it: a false
    "terrier" is a false "dog" where that is the class. Where there is no such class, the classes below its label share
    it equally: a false "dog" is half a false "terrier" and half a false "hound". Where there are none of these either,
    it counts nowhere, as in plain AP. So precision is credit / given, recall credit / truths, and AP is taken as ever.
    """
    _check_labels(scored, tree)
    lineage = Lineage.of(tree)
    matches = match(scored, min_iou, _credit_affinity(lineage))
    gt_by_class = scored.gt_by_class
    hits = np.flatnonzero(matches.hits)
    hit_classes = scored.gt_labels[matches.gts[hits]]
    credit = lineage.credit(scored.pred_labels[hits], hit_classes)
    false = np.flatnonzero(~matches.hits & ~matches.ignored)
    entries = _join_entries(
        _Entries(hits, hit_classes, credit, np.ones(len(hits))),
        *_charge(false, scored.pred_labels, gt_by_class > 0, tree, lineage),
    )
    scores = scored.pred_scores[entries.found]
    return curves(entries.classes, scores, entries.gains, gt_by_class, entries.parts)


@dataclass(frozen=True)
class _Entries:
    """What detections count for, and where: some in several classes, in parts of 1."""

    found: Int64[np.ndarray, " e"]
    classes: Int64[np.ndarray, " e"]
    gains: Float64[np.ndarray, " e"]
    parts: Float64[np.ndarray, " e"]


def _join_entries(*several: _Entries) -> _Entries:
    """All of them, in the order of the detections."""
    columns = [np.concatenate(values) for values in zip(*(vars(entries).values() for entries in several), strict=True)]
    order = np.argsort(columns[0], kind="stable")
    return _Entries(*(values[order] for values in columns))


def _credit_affinity(lineage: Lineage) -> Affinity:
    def affinity(found: Int64[np.ndarray, " p"], gts: Int64[np.ndarray, " p"]) -> Float64[np.ndarray, " p"]:
        credit = lineage.credit(found, gts)
        return np.where(credit > 0, credit - NEARER * lineage.distance(found, gts), 0)

    return affinity


def _charge(
    false: Int64[np.ndarray, " f"],
    pred_labels: Int64[np.ndarray, " d"],
    has_gt: Bool[np.ndarray, " nodes"],
    tree: WordTree,
    lineage: Lineage,
) -> tuple[_Entries, _Entries]:
    """False positives in the class at or above their label, and the others in parts in the classes below it."""
    target = deepest_kept(tree, has_gt)[pred_labels[false]]
    above = has_gt[target]
    whole = _Entries(false[above], target[above], np.zeros(above.sum()), np.ones(above.sum()))
    others = false[~above]
    classes = np.flatnonzero(has_gt)
    place, depth = np.nonzero(np.isin(lineage.paths[classes], pred_labels[others]))
    labels = lineage.paths[classes[place], depth]
    parts = 1 / np.bincount(labels, minlength=len(tree))[labels]
    pairs = list(join(pred_labels[others], labels))
    left = np.concatenate([np.empty(0, np.int64), *(pair[0] for pair in pairs)])
    right = np.concatenate([np.empty(0, np.int64), *(pair[1] for pair in pairs)])
    return whole, _Entries(others[left], classes[place[right]], np.zeros(len(left)), parts[right])


# --- how wrong the labels of found objects are


@dataclass(frozen=True)
class Localised:
    """Detections that found an object, whatever they called it.

    Attributes:
        found: places of the detections, rising.
        gts: places of the truths that they found; none twice.
    """

    found: Int64[np.ndarray, " m"]
    gts: Int64[np.ndarray, " m"]


@dataclass(frozen=True)
class Severity:
    """How far answers are from the truth (Bertinetto et al. 2020, "Making Better Mistakes").

    Attributes:
        mean_distance: edges in the tree between answer and truth, mean over the objects found; NaN without any.
        mean_distance_of_mistakes: mean over those whose answer is not the truth; NaN without any.
        found: objects found, whatever they were called.
        mistakes: those whose answer is not the truth itself.
    """

    mean_distance: float
    mean_distance_of_mistakes: float
    found: int
    mistakes: int


@dataclass(frozen=True)
class SpecificityRisk:
    """How specific answers are, and how often they are wrong, as a threshold falls.

    An answer is right if it is the truth or lies above it. Its specificity is the nodes of its path / the nodes of the
    longest path through it: 1 at a leaf, and at every node of a flat tree.

    Attributes:
        thresholds: falling.
        coverage: share of the objects that get an answer.
        specificity: mean over the answers; NaN without any.
        risk: share of the answers that is wrong; NaN without any.
    """

    thresholds: Float64[np.ndarray, " n"]
    coverage: Float64[np.ndarray, " n"]
    specificity: Float64[np.ndarray, " n"]
    risk: Float64[np.ndarray, " n"]


def localise(scored: Scored, tree: WordTree, min_iou: float = 0.5) -> Localised:
    """Match detections with truths of any label.

    A detection chooses, of the truths that it overlaps by ``min_iou``, the one that its label has most credit for, then
    the nearest in the tree, then the one with the highest IoU; a truth goes to the detection with the most credit, then
    to the nearest, then to the one with the highest score. Difficult truths and crowds are left out.
    """
    _check_labels(scored, tree)
    lineage = Lineage.of(tree)

    def affinity(found: Int64[np.ndarray, " p"], gts: Int64[np.ndarray, " p"]) -> Float64[np.ndarray, " p"]:
        return 1 + lineage.credit(found, gts) - NEARER * lineage.distance(found, gts)

    matches = match(scored, min_iou, affinity)
    found = np.flatnonzero(matches.hits)
    return Localised(found, matches.gts[found])


def severity(scored: Scored, tree: WordTree, min_iou: float = 0.5) -> Severity:
    """Mean distance in the tree between the objects found, see `localise`, and what they were called."""
    pairs = localise(scored, tree, min_iou)
    answers, gts = scored.pred_labels[pairs.found], scored.gt_labels[pairs.gts]
    distances = Lineage.of(tree).distance(answers, gts).astype(np.float64)
    wrong = distances > 0
    return Severity(mean(distances), mean(distances[wrong]), len(distances), int(wrong.sum()))


def risk_curve(
    answers: Int64[np.ndarray, " n"],
    gts: Int64[np.ndarray, " n"],
    confidence: Float[np.ndarray, " n"],
    tree: WordTree,
) -> SpecificityRisk:
    """Specificity and risk of the answers whose confidence reaches a threshold, for every threshold that matters.

    Args:
        answers: node that each object was called; of detections, those that `localise` finds.
        gts: node that it is.
        confidence: of each answer, such as a detection's score.
        tree: the label tree.
    """
    order = np.argsort(-confidence, kind="stable")
    values = confidence[order].astype(np.float64)
    last_of_equals = np.flatnonzero(np.diff(values, append=-np.inf))
    given = last_of_equals + 1.0
    wrong = np.cumsum(~Lineage.of(tree).above(answers, gts)[order])[last_of_equals]
    specific = np.cumsum(_specificity(tree)[answers][order])[last_of_equals]
    return SpecificityRisk(values[last_of_equals], given / max(1, len(answers)), specific / given, wrong / given)


def back_off_curve(
    answers: Sequence[TreeAnswer],
    gts: Int64[np.ndarray, " n"],
    tree: WordTree,
    thresholds: Float64[np.ndarray, " m"] | None = None,
) -> SpecificityRisk:
    """Specificity and risk where every object gets an answer, as deep as a threshold on P(node | object) allows.

    The answer is the deepest node of the path whose probability reaches the threshold, or else the top node.

    Args:
        answers: paths to each answer; what was not entered when they were made cannot come back.
        gts: node that each object is.
        tree: the label tree.
        thresholds: falling; None takes 1, .99, ... 0.
    """
    if thresholds is None:
        thresholds = np.arange(100, -1, -1) / 100
    lineage, specificity = Lineage.of(tree), _specificity(tree)
    nodes = np.full((len(answers), lineage.paths.shape[1]), -1, np.int64)
    probabilities = np.full(nodes.shape, -1.0)
    for row, answer in enumerate(answers):
        nodes[row, : len(answer.path)] = [step.node for step in answer.path]
        probabilities[row, : len(answer.path)] = [step.probability for step in answer.path]
    specific, wrong = np.full(len(thresholds), np.nan), np.full(len(thresholds), np.nan)
    for at, threshold in enumerate(thresholds if len(answers) else ()):
        depth = np.maximum((probabilities >= threshold).sum(axis=1) - 1, 0)
        chosen = nodes[np.arange(len(nodes)), depth]
        specific[at] = specificity[chosen].mean()
        wrong[at] = (~lineage.above(chosen, gts)).mean()
    coverage = np.full(len(thresholds), 1.0 if len(answers) else np.nan)
    return SpecificityRisk(thresholds, coverage, specific, wrong)


def _specificity(tree: WordTree) -> Float64[np.ndarray, " nodes"]:
    """Nodes of each path / nodes of the longest path through its end."""
    deepest = tree.depths.copy()
    for node in reversed(range(len(tree))):
        parent = tree.parents[node]
        if parent >= 0:
            deepest[parent] = max(deepest[parent], deepest[node])
    return np.asarray((tree.depths + 1) / (deepest + 1))


# --- classes that had boxes in training, and classes that had only labels


@dataclass(frozen=True)
class Split:
    """Mean AP apart for the classes that had boxes in training and for those that had only labels (paper: 44 and 156).

    Attributes:
        had_boxes: mAP of the former; NaN where none of them has truths.
        only_labels: mAP of the latter.
        had_boxes_classes: how many of the former have truths.
        only_labels_classes: how many of the latter have.
    """

    had_boxes: float
    only_labels: float
    had_boxes_classes: int
    only_labels_classes: int


def split(ap: ApByClass, had_boxes: Collection[int], only_labels: Collection[int]) -> Split:
    """Mean AP of two sets of classes. Paper: §4, evaluation on ImageNet's detection task.

    Raises:
        ValueError: a class that is in both sets.
    """
    both = sorted(set(had_boxes) & set(only_labels))
    if both:
        raise ValueError(f"a class had boxes or only labels, not both, got {both[0]} twice")
    boxed, labelled = ap.values[sorted(set(had_boxes))], ap.values[sorted(set(only_labels))]
    known = (int((~np.isnan(values)).sum()) for values in (boxed, labelled))
    return Split(mean(boxed), mean(labelled), *known)
