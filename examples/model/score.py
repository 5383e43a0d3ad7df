"""Print what a model can do, as tables, on images that training and calibration never saw.

    python score.py MODEL OUT/data/all.yaml OUT

Written into the last folder: calibration.png and specificity-risk.png.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from yolo9000 import Detector
from yolo9000.data.dataset import DataSet, Source, open_data
from yolo9000.evaluation.evaluate import Evaluation, evaluate
from yolo9000.evaluation.plots import plot_reliability, plot_specificity_risk
from yolo9000.evaluation.runner import detect_samples, image_level_scores
from yolo9000.evaluation.scored import Scored, collect
from yolo9000.evaluation.tree_paths import Lineage
from yolo9000.evaluation.tree_severity import localize
from yolo9000.taxonomy.wordtree import WordTree
from yolo9000.types import Detections, Sample

CONFIDENT = 0.25  # the score from which `yolo9000 predict` gives an answer
BATCH = 8
KIND = 2  # the depth of apple and juice in the tree
DRAWN = [f"depth {depth}" for depth in range(6)]  # of the tree; few answers are deeper


@dataclass(frozen=True)
class Part:
    """A source of a data set: its images alone, and the ids of its classes."""

    name: str
    data: DataSet
    classes: list[str]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("data")
    parser.add_argument("out", type=Path)
    options = parser.parse_args()
    detector = Detector.load(options.model)
    tree = detector.head.tree
    assert tree is not None
    train, val, test = (open_data(options.data, split) for split in ("train", "val", "test"))
    boxed = [
        part(test, "singles-test.json", "single images of tiny-imagenet"),
        part(test, "test.json", "scenes of tiny-imagenet"),
        part(val, "groceries-boxes", "packaged food"),
        part(test, "fruit", "fruit"),
    ]
    known = part(train, "groceries-labels", "groceries").classes  # there are validation images of some
    labelled = replace(part(val, "groceries-labels", "groceries"), classes=known)

    by_class = [score_classes(detector, one) for one in boxed]
    print_overview(boxed, by_class, [score_above(detector, one, tree, 2) for one in boxed])
    print_labels(detector, labelled, tree)
    answered = [list(detect_samples(detector, one.data, on_error="fix", batch=BATCH)) for one in boxed]
    print_answers(boxed, answered, tree)
    whole = evaluate("all", [pair for pairs in answered for pair in pairs], tree.names, tree=tree)
    print_depths(whole, tree)
    for one, found in zip(boxed, by_class, strict=True):
        print_classes(one, found, tree)
    assert whole.risk is not None
    depths = {name: found for name, found in whole.calibration.items() if name in DRAWN}
    (options.out / "calibration.png").write_bytes(plot_reliability(depths))
    (options.out / "specificity-risk.png").write_bytes(plot_specificity_risk({Path(options.model).stem: whole.risk}))


def part(data: DataSet, file: str, name: str) -> Part:
    """The images of the source that reads a file or folder of that name."""
    (source,) = (source for source in data.sources if is_at(source, file))
    alone = replace(data, sources=(source,))
    shown: set[int] = set()
    for sample in alone.samples("fix"):
        shown.update(sample.image_labels if sample.boxes is None else sample.boxes.labels.tolist())
    return Part(name, alone, [data.classes[label] for label in sorted(shown)])


def is_at(source: Source, file: str) -> bool:
    return file in Path(source.path).parts


def score_classes(detector: Detector, one: Part) -> Evaluation:
    """Every box scored as each class of the part, whatever the answer would be."""
    return score_at(detector, one, one.classes)


def score_above(detector: Detector, one: Part, tree: WordTree, levels: int) -> Evaluation:
    """The same of the nodes so many levels above the classes."""
    paths = (tree.path(tree.find(name)) for name in one.classes)
    nodes = sorted({path[max(0, len(path) - 1 - levels)] for path in paths})
    return score_at(detector, one, [tree.ids[node] for node in nodes])


def score_at(detector: Detector, one: Part, classes: Sequence[str]) -> Evaluation:
    level = detector.with_labels(classes)
    return evaluate(one.name, detect_samples(level, one.data, on_error="fix", batch=BATCH), level.names)


def print_overview(boxed: Sequence[Part], leaves: Sequence[Evaluation], above: Sequence[Evaluation]) -> None:
    print("| images with boxes | images | classes | mAP50 | two levels up: nodes | mAP50 |\n|---|---|---|---|---|---|")
    for one, low, high in zip(boxed, leaves, above, strict=True):
        figures = f"{low.metrics['map50']:.3f} | {len(high.classes)} | {high.metrics['map50']:.3f}"
        print(f"| {one.name} | {low.images} | {len(one.classes)} | {figures} |")


def print_labels(detector: Detector, labelled: Part, tree: WordTree) -> None:
    """What the best box of each image says, of all that the model knows and of the classes of this source."""
    among_all = image_level_scores(detector, labelled.data)
    paths = [tree.path(tree.find(name)) for name in labelled.classes]
    kinds = sorted({path[min(KIND, len(path) - 1)] for path in paths})
    print(f"\n| {labelled.name}, image-level labels alone: the label of the best box | top-1 | top-5 |\n|---|---|---|")
    print_label_scores(f"of all {len(labelled.data.classes)} nodes with a label", among_all)
    for depth in range(KIND, -1, -1):
        print(f"| the same, cut at depth {depth} | {among_all[f'top1_depth_{depth}']:.3f} | |")
    of_classes = image_level_scores(detector.with_labels(labelled.classes), labelled.data)
    print_label_scores(f"of its {len(labelled.classes)} classes", of_classes)
    of_kinds = image_level_scores(detector.with_labels([tree.ids[kind] for kind in kinds]), labelled.data)
    print_label_scores(f"of its {len(kinds)} kinds, at depth {KIND}", of_kinds)


def print_label_scores(among: str, numbers: dict[str, float]) -> None:
    print(f"| {among} | {numbers['top1']:.3f} | {numbers['top5']:.3f} |")


def print_answers(boxed: Sequence[Part], answered: Sequence[list[tuple[Sample, Detections]]], tree: WordTree) -> None:
    """Of answers with a score that `predict` shows: what they find, and whether they say right what it is."""
    print(f"\n| answers that score {CONFIDENT} or more | answers | on an object | right of those | mean depth |")
    print("|---|---|---|---|---|")
    for one, pairs in zip(boxed, answered, strict=True):
        scored = confident(pairs, len(tree))
        on_object = localize(scored, tree)
        answers, gts = scored.pred_labels[on_object.preds], scored.gt_labels[on_object.gts]
        right = Lineage.of(tree).above(answers, gts)
        given, found = len(scored.pred_labels), len(answers)
        fractions = f"{found / max(1, given):.3f} | {right.mean():.3f} | {tree.depths[answers].mean():.1f}"
        print(f"| {one.name} | {given} | {fractions} |")


def confident(pairs: Sequence[tuple[Sample, Detections]], labels: int) -> Scored:
    def each() -> Iterator[tuple]:  # type: ignore[type-arg]
        for sample, detections in pairs:
            yield sample.boxes, detections.select(np.flatnonzero(detections.scores >= CONFIDENT))

    return collect(each(), labels)


def print_depths(whole: Evaluation, tree: WordTree) -> None:
    print("\n| depth | nodes | mAP50 of the answers, cut there | ECE of P(node) |\n|---|---|---|---|")
    for depth, value in whole.by_depth.items():
        reliability = whole.calibration.get(f"depth {depth}")
        error = "" if reliability is None else f"{reliability.ece:.3f}"
        print(f"| {depth} | {int((tree.depths == depth).sum())} | {value:.3f} | {error} |")


def print_classes(one: Part, found: Evaluation, tree: WordTree) -> None:
    print(f"\n| {one.name} | objects | AP50 |\n|---|---|---|")
    for label in np.argsort(-np.nan_to_num(found.ap)):
        if found.gts[label]:
            name = tree.names[tree.find(found.classes[label])]
            print(f"| {name} | {found.gts[label]} | {found.ap[label]:.3f} |")


if __name__ == "__main__":
    main()
