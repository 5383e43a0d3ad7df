"""A class added from images: it is learnt, and every other sibling group gives the same to the bit."""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.small_models import TREE, random_model, small_architecture

from yolo9000.adapt.add_class import (
    BATCH,
    PENALTY,
    Evidence,
    evidence_of,
    fit_rows,
    sibling_images,
    with_new_child,
)
from yolo9000.checkpoints.model import LoadedModel
from yolo9000.checkpoints.safetensors import read_checkpoint, write_checkpoint
from yolo9000.cli.app import run
from yolo9000.data.dataset import DataSet, Ledger, OnError
from yolo9000.errors import TreeError
from yolo9000.inference.detector import Detector
from yolo9000.types import ImageFile, Sample

COLORS = {"terrier": (200, 40, 30), "poodle": (40, 60, 210), "shiba inu": (30, 200, 60)}


def write_images(folder: Path, name: str, count: int = 8) -> None:
    """Images in the color of a class."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(len(name))
    for number in range(count):
        noise = rng.integers(0, 40, (48, 72, 3), dtype=np.uint8)
        Image.fromarray(noise // 2 + np.array(COLORS[name], np.uint8)).save(folder / f"{number}.png")


@pytest.fixture
def workplace(tmp_path: Path) -> Path:
    """A random model over animals and things, images of its dogs in folders, and of a new one."""
    write_checkpoint(
        tmp_path / "model.safetensors",
        LoadedModel.from_weights(random_model(small_architecture(7, tree="labels.tree")), TREE.names, TREE),
    )
    for name in ("terrier", "poodle"):
        write_images(tmp_path / "dogs" / name, name)
    write_images(tmp_path / "shiba", "shiba inu")
    return tmp_path


def add(folder: Path, *words: str) -> int:
    model, images, data = (str(folder / name) for name in ("model.safetensors", "shiba", "dogs"))
    return run(
        ["tree", "add", model, "--under", "dog", "--name", "shiba inu", "--images", images, "--data", data, *words]
    )


def conditionals(path: Path, images: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
    """For every box of the images the scores of each sibling group, by the ids of its parent; before any softmax."""
    model = read_checkpoint(path).with_lazy_classes(True)
    assert model.tree is not None
    detector = Detector.load(model, engine="onnxruntime", threads=1)
    logits: dict[str, list[np.ndarray]] = {}
    for one in detector.heads(images, min_objectness=-1.0):
        for group, first in enumerate(model.tree.group_offsets.tolist()):
            last = first + int(model.tree.group_sizes[group])
            parent = int(model.tree.parents[first])
            key = "" if parent < 0 else model.tree.ids[parent]
            rows = one.output.class_logits.rows(one.index, one.candidates.anchors, first, last)
            logits.setdefault(key, []).append(rows)
    return {key: np.concatenate(rows) for key, rows in logits.items()}


def test_a_class_is_added_and_the_others_stay_to_the_bit(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert add(workplace) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].startswith("shiba inu: 100.0% of its images")
    assert printed[1].startswith("terrier: 100.0% (before ")
    changed = read_checkpoint(workplace / "model-shiba-inu.safetensors")
    assert changed.tree is not None
    assert changed.tree.path_names(changed.tree.find("shiba inu")) == "animal > dog > shiba inu"
    assert changed.trained["added"] == ["shiba-inu"]
    images = [
        np.asarray(Image.open(file)) for file in sorted(workplace.glob("*/*.png")) + sorted(workplace.glob("*/*/*.png"))
    ]
    before = conditionals(workplace / "model.safetensors", images)
    after = conditionals(workplace / "model-shiba-inu.safetensors", images)
    assert before.keys() == after.keys()
    for parent in before:
        if parent != "n2":  # dog
            assert before[parent].tobytes() == after[parent].tobytes(), parent
    assert after["n2"].shape[1] == before["n2"].shape[1] + 1


def test_images_that_cannot_be_read_are_reported(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(6):  # of 8
        (workplace / "shiba" / f"{number}.png").write_text("no image")
    assert add(workplace) == 3
    out, err = capsys.readouterr()
    errors = [line for line in err.splitlines() if ": error: " in line]
    assert [f"{number}.png: must be a JPEG" in line for number, line in enumerate(errors)] == [True] * 6
    assert "Written: " in out
    for number in (6, 7):
        (workplace / "shiba" / f"{number}.png").unlink()
    assert add(workplace) == 2
    assert "there must be images of the new class" in capsys.readouterr().err


def test_what_cannot_be_added_is_refused(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, data = str(workplace / "model.safetensors"), str(workplace / "dogs")
    words = ["tree", "add", model, "--images", str(workplace / "shiba"), "--data", data]
    for under, name, message in [
        ("cat", "siamese", "'cat' must have children already"),
        ("dog", "Poodle", "has a child 'Poodle' already"),
        ("animal", "bird", ""),
        ("unicorn", "x", "'unicorn' must be the id or name of a node"),
    ]:
        code = run([*words, "--under", under, "--name", name])
        assert code == (2 if message else 0)
        assert message in capsys.readouterr().err
    for name in ("bus", "cat"):
        (workplace / "other" / name).mkdir(parents=True)
        Image.new("RGB", (40, 30)).save(workplace / "other" / name / "0.png")
    words[-1] = str(workplace / "other")
    assert run([*words, "--under", "dog", "--name", "shiba inu"]) == 2
    assert "there must be images of another child of 'dog'" in capsys.readouterr().err


def test_unreadable_images_are_reported_and_counted(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """They used to be left out without a word, with exit code 0."""
    (workplace / "shiba" / "notes.png").write_text("not an image")
    (workplace / "dogs" / "poodle" / "broken.png").write_bytes((workplace / "shiba" / "0.png").read_bytes()[:200])
    assert add(workplace) == 3
    out, err = capsys.readouterr()
    assert err.count("yolo9000: error: ") == 2
    assert "broken.png" in err
    assert "notes.png" in err
    assert out.startswith("shiba inu: 100.0% of its images")


def test_images_are_read_a_batch_at_a_time(workplace: Path) -> None:
    """No more than a batch is in memory, however many there are."""
    model = read_checkpoint(workplace / "model.safetensors").with_lazy_classes(True)
    assert model.tree is not None
    detector = Detector.load(model, engine="onnxruntime", threads=1)
    alive: list[weakref.ref[np.ndarray]] = []

    def images() -> Iterator[np.ndarray]:
        for _ in range(5 * BATCH):
            image = np.zeros((8, 12, 3), np.uint8)
            alive.append(weakref.ref(image))
            yield image
            del image
            assert sum(one() is not None for one in alive) <= 2 * BATCH

    evidence = evidence_of(detector, model.tree.find("dog"), images())
    assert evidence.features.shape[0] == 5 * BATCH


class Labelled(DataSet):
    """A data set of images with the given labels."""

    def samples(self, on_error: OnError = "error", ledger: Ledger | None = None) -> Iterator[Sample]:
        for number, labels in enumerate([(0,), (1,), (0, 1)]):
            path = self.root / f"{number}.png"
            Image.fromarray(np.zeros((30, 40, 3), np.uint8)).save(path)
            yield Sample(path.name, ImageFile(path), str(path), image_labels=labels)


def test_an_image_of_two_children_shows_neither(tmp_path: Path) -> None:
    data_set = Labelled("dogs", tmp_path, ("terrier", "poodle"), ())
    children = [child for child, _ in sibling_images(data_set, TREE, TREE.find("dog"))]
    assert children == [TREE.find("terrier"), TREE.find("poodle")]


def test_a_node_after_the_new_one_keeps_its_parent() -> None:
    """The new root comes to index 2, so the dog that was there moves to 3, and its children must follow it."""
    tree, node = with_new_child(TREE, -1, "plant")
    assert node == 2
    parents = {
        name: tree.names[parent] if parent >= 0 else "" for name, parent in zip(tree.names, tree.parents, strict=True)
    }
    assert parents == {
        "animal": "",
        "thing": "",
        "plant": "",
        "dog": "animal",
        "cat": "animal",
        "terrier": "dog",
        "poodle": "dog",
        "bus": "thing",
    }


def test_evidence_counts_by_its_weight() -> None:
    # Two images of each class; those at the wrong side have next to no weight, so the others decide
    evidence = [
        Evidence(np.array([[[feature]], [[-feature]]], np.float32), np.array([[1.0], [1e-6]]))
        for feature in (-2.0, 2.0)
    ]
    weights, _ = fit_rows([*evidence, evidence[0]], np.zeros((1, 2, 1)), np.zeros((1, 2)))
    assert weights[0, 0, 0] < 0 < weights[0, 1, 0]
    even = [Evidence(one.features, np.ones((2, 1))) for one in evidence]
    weights, _ = fit_rows([*even, even[0]], np.zeros((1, 2, 1)), np.zeros((1, 2)))
    np.testing.assert_allclose(weights[0, :2, 0], 0, atol=1e-6)


def test_rows_are_held_to_where_they_were() -> None:
    # Separable classes: without a penalty their rows would grow with each step and forget where they came from. With
    # it the gradient is 0: rows = old rows - gradient of the cross-entropy / PENALTY
    evidence = [Evidence(np.full((4, 1, 1), feature, np.float32), np.ones((4, 1))) for feature in (-1.0, 0.0, 1.0)]
    old = np.array([[[0.5], [-0.25]]])
    weights, biases = fit_rows(evidence, old, np.zeros((1, 2)))
    start = np.array([0.5, -0.25, 0.125])
    logits = np.array([[weights[0, k, 0] * x + biases[0, k] for k in range(3)] for x in (-1.0, 0.0, 1.0)])
    errors = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True) - np.eye(3)
    gradient = (errors * np.array([-1.0, 0.0, 1.0])[:, None]).sum(axis=0) / 3
    np.testing.assert_allclose(weights[0, :, 0], start - gradient / PENALTY, rtol=0.02)


def test_the_new_node_stands_behind_its_siblings() -> None:
    tree, node = with_new_child(TREE, TREE.find("dog"), "shiba inu")
    assert node == 6
    assert tree.names == ("animal", "thing", "dog", "cat", "terrier", "poodle", "shiba inu", "bus")
    assert tree.parents.tolist() == [-1, -1, 0, 0, 2, 2, 2, 1]
    tree.check_groups_contiguous()
    top, node = with_new_child(replace(TREE, notes=("a",) * 7), TREE.find("animal"), "bird")
    assert (node, top.parents.tolist()) == (4, [-1, -1, 0, 0, 0, 2, 2, 1])
    assert top.notes == ("a",) * 4 + ("",) + ("a",) * 3
    with pytest.raises(TreeError):
        with_new_child(TREE, TREE.find("bus"), "x")


def test_rows_are_those_of_logistic_regression() -> None:
    # One anchor, one feature, two old classes without a preference. Classes at -2, 0 (old) and 2 (new): the fitted rows
    # must rise in that order, and each class must be the likeliest at its own place.
    evidence = [Evidence(np.full((5, 1, 1), feature, np.float32), np.ones((5, 1))) for feature in (-2.0, 0.0, 2.0)]
    weights, biases = fit_rows(evidence, np.zeros((1, 2, 1)), np.zeros((1, 2)))
    assert weights.shape == (1, 3, 1)
    assert weights[0, 0, 0] < weights[0, 1, 0] < weights[0, 2, 0]
    for own, feature in enumerate((-2.0, 0.0, 2.0)):
        assert (weights[0, :, 0] * feature + biases[0]).argmax() == own
