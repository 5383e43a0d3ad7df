"""Print what a detector can do, as tables, on images that neither training nor calibration saw.

    python score.py MODEL COCO IMAGENETTE [--size W H]

COCO is a data set whose split ``val`` has boxes of COCO's classes; IMAGENETTE a folder with a folder of images for each
WordNet id, which are scored among all of ImageNet's 1,000 classes.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import yaml
from jaxtyping import Bool, Int64

from yolo9000 import Detector
from yolo9000.data.dataset import DataSet, open_data
from yolo9000.data.images import load_image
from yolo9000.evaluation.classification import accuracy_by_depth, top_k_accuracy
from yolo9000.evaluation.evaluate import evaluate
from yolo9000.evaluation.runner import detect_samples
from yolo9000.evaluation.scored import Scored, collect
from yolo9000.evaluation.tree_paths import Lineage
from yolo9000.evaluation.tree_severity import localize
from yolo9000.taxonomy.wordtree import WordTree
from yolo9000.types import Detections, Sample

CONFIDENT = 0.25  # the score from which `yolo9000 predict` gives an answer
BATCH = 8
IDS = Path(__file__).parent / "imagenet.txt"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("coco", type=Path)
    parser.add_argument("imagenette", type=Path)
    parser.add_argument("--size", type=int, nargs=2, help="of the input; the model's own by default")
    options = parser.parse_args()
    detector = Detector.load(options.model, size_wh=options.size and tuple(options.size))
    tree = detector.head.tree
    assert tree is not None
    coco = open_data(options.coco, "val")
    print_image_level(detector, labelled(options.imagenette), tree)
    print_answers(detector, coco, tree)
    print_classes(detector, coco)


def labelled(folder: Path) -> DataSet:
    """The folders' images, among all of ImageNet's classes."""
    described = {"classes": str(IDS), "val": [{"format": "folder", "path": str(folder.resolve())}]}
    with tempfile.TemporaryDirectory() as parent:
        path = Path(parent) / f"{folder.name}.yaml"
        path.write_text(yaml.safe_dump(described))
        return open_data(path, "val")


def print_image_level(detector: Detector, data: DataSet, tree: WordTree) -> None:
    """What the best box of each image says it shows."""
    nodes = np.array([tree.find(name) for name in data.classes])
    samples = list(data.samples())
    images = (load_image(sample.image, sample.name).pixels for sample in samples)
    scores = np.concatenate([detector.best_scores([image], nodes) for image in images])
    gts = np.array([sample.image_labels[0] for sample in samples])
    answered, labels = nodes[scores.argmax(1)], nodes[gts]
    print(f"| imagenette: the label of the best box, of {len(nodes):,} classes | top-1 | top-5 |\n|---|---|---|")
    print(f"| the class | {top_k_accuracy(scores, gts):.3f} | {top_k_accuracy(scores, gts, 5):.3f} |")
    print(f"| the node above it | {one_above(answered, labels, tree):.3f} | |")
    for depth, fraction in reversed(list(enumerate(accuracy_by_depth(answered, labels, tree)))[:3]):
        print(f"| the same, cut at depth {depth} | {fraction:.3f} | |")
    right, persons = answers(detector, data, tree)
    print(f"\n{len(right)} of these images have a prediction that scores {CONFIDENT} or more;", end=" ")
    print(f"the best one is correct in {right.mean():.3f}.", end=" ")
    print(f"In {persons.sum()} it is a person, whom no label names;", end=" ")
    print(f"of the others {right[~persons].mean():.3f} are correct")


def one_above(answered: Int64[np.ndarray, " n"], labels: Int64[np.ndarray, " n"], tree: WordTree) -> float:
    """The fraction of answers that are the node above the label, or below that node."""
    above = np.where(tree.parents[labels] < 0, labels, tree.parents[labels])
    return float(Lineage.of(tree).above(above, answered).mean())


def answers(detector: Detector, data: DataSet, tree: WordTree) -> tuple[Bool[np.ndarray, " n"], Bool[np.ndarray, " n"]]:
    """Of each image with a confident answer, whether the most confident one is the label or a node above it.

    Returns:
        That, and whether it is a person.
    """
    right, persons = [], []
    for sample in data.samples():
        (detections,) = detector.detect([load_image(sample.image, sample.name).pixels])
        if len(detections.scores) and detections.scores.max() >= CONFIDENT:
            answer = int(detections.labels[detections.scores.argmax()])
            right.append(answer in tree.path(tree.find(data.classes[sample.image_labels[0]])))
            persons.append(tree.names[answer] == "person")
    return np.array(right), np.array(persons)


def print_answers(detector: Detector, data: DataSet, tree: WordTree) -> None:
    """Of answers with a score that `predict` shows: what they find, and whether they say right what it is."""
    scored = confident(detect_samples(detector, data, on_error="fix", batch=BATCH), len(tree))
    on_object = localize(scored, tree)
    answers, gts = scored.pred_labels[on_object.preds], scored.gt_labels[on_object.gts]
    lineage = Lineage.of(tree)
    right = lineage.above(answers, gts) | lineage.above(gts, answers)  # a boxed dog may be called a terrier
    print(
        f"\n| answers that score {CONFIDENT} or more | on an object | right of those | mean depth |\n|---|---|---|---|"
    )
    given = len(scored.pred_labels)
    print(f"| {given} | {len(answers) / given:.3f} | {right.mean():.3f} | {tree.depths[answers].mean():.1f} |")


def confident(pairs: Iterator[tuple[Sample, Detections]], labels: int) -> Scored:
    """Ground truth and the answers that are shown."""
    each = ((sample.boxes, pred.select(np.flatnonzero(pred.scores >= CONFIDENT))) for sample, pred in pairs)
    return collect(((boxes, pred) for boxes, pred in each if boxes is not None), labels)


def print_classes(detector: Detector, data: DataSet) -> None:
    """Every box scored as each class of the data set, whatever the answer would be."""
    level = detector.with_labels(data.classes)
    pred = evaluate(data.name, detect_samples(level, data, on_error="fix", batch=BATCH), level.names)
    print("\n| class | objects | AP50 |\n|---|---|---|")
    print(f"| **mean of the classes** | {sum(pred.gts)} | **{pred.metrics['map50']:.3f}** |")
    for label in ranked(pred.ap):
        if pred.gts[label]:
            print(f"| {pred.classes[label]} | {pred.gts[label]} | {pred.ap[label]:.3f} |")


def ranked(ap: Sequence[float] | np.ndarray) -> list[int]:
    """Classes by falling AP, those without objects last."""
    return [int(label) for label in np.argsort(-np.nan_to_num(np.asarray(ap, float)), kind="stable")]


if __name__ == "__main__":
    main()
