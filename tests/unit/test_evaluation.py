"""Running a detector over a data set: the low threshold, and which label of the model each class is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.small_data import SIZE_WH, write_voc_set
from support.small_models import write_tree_model

from yolo9000.architectures.layers import Architecture, Conv, MaxPool, Region
from yolo9000.architectures.weights import ConvParameters, Model
from yolo9000.checkpoints.darknet.cfg import write_cfg
from yolo9000.checkpoints.darknet.weights import write_weights
from yolo9000.data.dataset import DataSet, open_data
from yolo9000.errors import ConfigError
from yolo9000.evaluation.evaluate import evaluate
from yolo9000.evaluation.labels import NOT_AT_LEVEL, gt_labels, labels_among
from yolo9000.evaluation.runner import detect_samples, image_level_scores
from yolo9000.inference.detector import Detector
from yolo9000.taxonomy.wordtree import WordTree

CELL = 30  # pixels: the network has 3 x 2 cells on images of 90 x 60
CELLS = [(x, y, x + CELL, y + CELL) for y in range(0, SIZE_WH[1], CELL) for x in range(0, SIZE_WH[0], CELL)]


def detector_of_every_cell(folder: Path, objectness: float) -> Detector:
    """Answers every image with one box in each cell, whose score is the objectness: there is one class."""
    architecture = Architecture(
        (MaxPool(8, 8), Conv(6, 1, 1, 0, False, "linear"), Region(((1.0, 1.0),), 1, softmax=True)), width=24, height=16
    )
    biases = np.array([0, 0, 0, 0, np.log(objectness / (1 - objectness)), 0], np.float32)
    model = Model(architecture, (None, ConvParameters(np.zeros((6, 3, 1, 1), np.float32), biases), None))
    cfg = folder / "cells.cfg"
    cfg.write_text(write_cfg(architecture))
    write_weights(folder / "cells.weights", model)
    (folder / "cells.names").write_text("red\n")
    return Detector.load(cfg, names=folder / "cells.names")


def test_detections_with_low_scores_count(tmp_path: Path) -> None:
    detector = detector_of_every_cell(tmp_path, 0.1)
    voc = write_voc_set(tmp_path / "voc", train=1, val=2, boxes=lambda _: [("red", box) for box in CELLS])
    data = open_data(voc, "val")
    assert len(detector.detect([np.zeros((*SIZE_WH[::-1], 3), np.uint8)])[0]) == 0  # .1 is below the default threshold
    evaluation = evaluate(data.name, detect_samples(detector, data), detector.names)
    assert evaluation.metrics["map50"] == 1
    assert evaluation.metrics["best_f1_threshold"] == pytest.approx(0.1, abs=1e-6)


def labelled_images(folder: Path, *classes: str) -> DataSet:
    """Three images of random pixels for each class, with image-level labels."""
    for index, name in enumerate(classes):
        (folder / "images" / name).mkdir(parents=True)
        for number in range(3):
            pixels = np.random.default_rng(10 * index + number).integers(0, 256, (48, 72, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / "images" / name / f"{number}.png")
    file = folder / "set.yaml"
    file.write_text(f"classes: [{', '.join(classes)}]\nval: [{{format: folder, path: images}}]\n")
    return open_data(file, "val")


def test_a_class_gets_the_nearest_chosen_node_above_it(tmp_path: Path) -> None:
    detector = Detector.load(write_tree_model(tmp_path)).with_labels(["animal", "dog"])
    data = labelled_images(tmp_path, "terrier", "dog", "cat", "bus")
    # terrier: dog before animal; a dog is itself; of a cat only animal is left; nothing is above a bus
    assert gt_labels(detector, data).tolist() == [1, 1, 0, NOT_AT_LEVEL]


def test_two_classes_of_one_chosen_node_are_the_same_answer(tmp_path: Path) -> None:
    detector = Detector.load(write_tree_model(tmp_path)).with_labels(["thing", "dog"])
    data = labelled_images(tmp_path, "terrier", "poodle", "bus", "cat")
    right = []
    for sample in data.samples():
        label = {"terrier": 1, "poodle": 1, "bus": 0}.get(data.classes[sample.image_labels[0]])
        if label is not None:  # no chosen node is a cat
            pixels = np.asarray(Image.open(tmp_path / "images" / sample.name).convert("RGB"))
            right.append(detector.best_scores([pixels], np.array([0, 1]))[0].argmax() == label)
    assert len(right) == 9
    scores = image_level_scores(detector, data)
    assert scores == {"top1": pytest.approx(np.mean(right)), "top5": 1}


def test_classes_are_matched_by_id_before_name(tmp_path: Path) -> None:
    tree = WordTree.from_parents([-1, -1, 0], ["n2", "bat", "bat"], ["n1", "n2", "n3"])
    assert labels_among(tree.names, tree, labelled_images(tmp_path, "n3", "n2")).tolist() == [2, 1]
    with pytest.raises(ConfigError, match="class 'bat' must be one of the model's 3 labels, 2 nodes have this name"):
        labels_among(tree.names, tree, labelled_images(tmp_path / "b", "bat"))
    assert labels_among(("a", "b"), None, labelled_images(tmp_path / "c", "b", "a")).tolist() == [1, 0]
    with pytest.raises(ConfigError, match="class 'c' must be one of the model's 2 labels, got none with this name"):
        labels_among(("a", "b"), None, labelled_images(tmp_path / "d", "c"))
