"""A class added from images: it is learnt, and every other sibling group gives the same to the bit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.small_models import TREE, random_model, small_architecture

from yolo9000.adapt.add_class import Evidence, fit_rows, with_new_child
from yolo9000.checkpoints.safetensors import Checkpoint, read_checkpoint, write_checkpoint
from yolo9000.cli.app import run
from yolo9000.errors import TreeError
from yolo9000.inference.decode import find_candidates
from yolo9000.inference.detector import Detector, prepared_detector
from yolo9000.inference.engines import start_engine
from yolo9000.inference.preprocess import fit

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
        Checkpoint(random_model(small_architecture(7, tree="labels.tree")), TREE.names, TREE),
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
    file = read_checkpoint(path)
    assert file.tree is not None
    prepared = prepared_detector(file.model, file.head_spec(), split=True)
    detector = Detector(prepared, start_engine("onnxruntime", prepared.program, threads=1))
    found: dict[str, list[np.ndarray]] = {}
    for image in images:
        output = prepared.head_output(detector.engine.run(fit(image, (72, 48), "letterbox")[None]), (72, 48))
        boxes = find_candidates(output, 0, prepared.spec, (72, 48), -1.0)
        for group, first in enumerate(file.tree.group_offsets.tolist()):
            last = first + int(file.tree.group_sizes[group])
            parent = int(file.tree.parents[first])
            key = "" if parent < 0 else file.tree.ids[parent]
            found.setdefault(key, []).append(output.class_logits.rows(0, boxes.anchors, first, last))
    return {key: np.concatenate(rows) for key, rows in found.items()}


def test_a_class_is_added_and_the_others_stay_to_the_bit(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert add(workplace) == 0
    told = capsys.readouterr().out.splitlines()
    assert told[0].startswith("shiba inu: 100.0% of its images")
    assert told[1].startswith("terrier: 100.0% (before ")
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
    assert [f"{number}.png: must be a JPEG" in line for number, line in enumerate(err.splitlines())] == [True] * 6
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
    for other in ("bus", "cat"):
        (workplace / "other" / other).mkdir(parents=True)
        Image.new("RGB", (40, 30)).save(workplace / "other" / other / "0.png")
    words[-1] = str(workplace / "other")
    assert run([*words, "--under", "dog", "--name", "shiba inu"]) == 2
    assert "there must be images of a child of 'dog'" in capsys.readouterr().err


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
    evidence = [Evidence(np.full((5, 1, 1), place, np.float32), np.ones((5, 1))) for place in (-2.0, 0.0, 2.0)]
    weights, biases = fit_rows(evidence, np.zeros((1, 2, 1)), np.zeros((1, 2)))
    assert weights.shape == (1, 3, 1)
    assert weights[0, 0, 0] < weights[0, 1, 0] < weights[0, 2, 0]
    for own, place in enumerate((-2.0, 0.0, 2.0)):
        assert (weights[0, :, 0] * place + biases[0]).argmax() == own
