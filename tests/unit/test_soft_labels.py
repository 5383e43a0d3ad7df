"""Soft labels: read from a file, joined to images and boxes, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image
from support.small_data import write_voc_set
from support.training_runs import log_of

from yolo9000.data.dataset import DataSet, open_data
from yolo9000.data.soft_labels import SoftLabels, read_soft_labels
from yolo9000.errors import DataError, TrainingError
from yolo9000.taxonomy.files import write_tree
from yolo9000.taxonomy.wordtree import WordTree
from yolo9000.training import train

CLASSES = {"blue": 0, "red": 1}


def lines(folder: Path, *lines: Mapping[str, Any] | str) -> Path:
    file = folder / "soft.jsonl"
    file.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines))
    return file


def data_set(folder: Path, **source: Any) -> Path:
    """Boxes on p00 to p02: none, one red one, and a red and a blue one. Labels on shelf/blue/a.png, shelf/red/b.png."""
    write_voc_set(folder, train=3, val=1)
    for name in ("blue/a", "red/b"):
        (folder / "shelf" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (50, 40)).save(folder / "shelf" / f"{name}.png")
    boxed = {"format": "voc", "path": ".", "list": "ImageSets/Main/train.txt"}
    labelled = {"format": "folder", "path": "shelf"}
    file = folder / "data.yaml"
    contents = {"classes": list(CLASSES), "train": [boxed | source, labelled | {"soft_labels": "soft.jsonl"}]}
    file.write_text(yaml.safe_dump(contents))
    return file


def probabilities_of(data: DataSet, name: str, classes: int = 2) -> list[list[float]] | None:
    (sample,) = (sample for sample in data.samples() if sample.name == name)
    indices = [sample.soft] if sample.boxes is None else sample.boxes.soft.tolist()
    rows = data.soft_labels.dense(indices, classes)
    return None if rows is None else rows.tolist()


def test_boxes_and_images_have_theirs(tmp_path: Path) -> None:
    data = open_data(data_set(tmp_path, soft_labels="boxes.jsonl"))
    lines(tmp_path, {"image": "red/b.png", "probabilities": {"red": 0.75, "blue": 0.25}}).rename(tmp_path / "soft.tmp")
    lines(tmp_path, {"image": "p02.png", "boxes": [None, {"blue": 1}]}, "").rename(tmp_path / "boxes.jsonl")
    (tmp_path / "soft.tmp").rename(tmp_path / "soft.jsonl")
    assert probabilities_of(data, "p02.png") == [[0, 0], [1, 0]]
    assert probabilities_of(data, "p01.png") is None
    assert probabilities_of(data, "blue/a.png") is None
    assert probabilities_of(data, "red/b.png") == [[0.25, 0.75]]


def test_they_follow_the_map_and_stand_at_any_node(tmp_path: Path) -> None:
    tree = WordTree.from_parents([-1, -1, 0, 0], names=("color", "shape", "blue", "red"))
    write_tree(tmp_path / "tree.yaml", tree)
    file = data_set(tmp_path)
    contents = yaml.safe_load(file.read_text()) | {"tree": "tree.yaml"}
    contents["train"][1]["map"] = {"crimson": "red"}
    file.write_text(yaml.safe_dump(contents))
    lines(tmp_path, {"image": "red/b.png", "probabilities": {"crimson": 0.5, "color": 0.3, "shape": 0.2}})
    assert probabilities_of(open_data(file), "red/b.png", 4) == [pytest.approx([0.3, 0.2, 0, 0.5])]


def test_probabilities_are_scaled_to_add_up_to_one() -> None:
    labels = SoftLabels((((0, 0.5), (1, 0.25), (0, 0.25)),))
    assert labels.dense([0], 2).tolist() == [[0.75, 0.25]]


WRONG = [
    (
        {"image": "p02.png", "boxes": [None]},
        "soft.jsonl:1: must have an entry for each of the 2 boxes of p02.png, got 1",
    ),
    (
        {"image": "p02.png", "probabilities": {"red": 1}},
        "soft.jsonl:1: probabilities are for an image with one image-level",
    ),
    ({"image": "p02.png", "boxes": [{"red": 0.5}, None]}, "soft.jsonl:1: probabilities must add up to 1, got 0.5"),
    ({"image": "p02.png", "boxes": [{"rod": 1}, None]}, "soft.jsonl:1: 'rod' must be one of the 2 classes"),
    ({"image": "p02.png", "boxes": [{"red": 2, "blue": -1}, None]}, "soft.jsonl:1: boxes.0.blue"),
    ({"image": "p02.png"}, "soft.jsonl:1: must have either boxes or probabilities"),
    ('{"image": NaN}', "soft.jsonl:1: image"),
    ("[", "soft.jsonl:1: must be JSON"),
]


@pytest.mark.parametrize(("line", "message"), WRONG, ids=[message[13:40] for _, message in WRONG])
def test_what_is_wrong_is_named_with_its_line(line: Mapping[str, Any] | str, message: str, tmp_path: Path) -> None:
    data = open_data(data_set(tmp_path, soft_labels="soft.jsonl"))
    lines(tmp_path, line)
    with pytest.raises(DataError, match=r"soft\.jsonl:1: ") as caught:
        list(data.samples())
    assert message in str(caught.value)


def test_an_image_has_one_line(tmp_path: Path) -> None:
    file = lines(tmp_path, *[{"image": "a", "probabilities": {"red": 1}}] * 2)
    with pytest.raises(DataError, match=r"soft.jsonl:2: a must have one line, was on .*soft.jsonl:1"):
        read_soft_labels({0: file}, lambda _, name: CLASSES[name])


def test_one_hot_soft_labels_train_as_the_labels_do_and_others_differently(tmp_path: Path) -> None:
    file = data_set(tmp_path, soft_labels="soft.jsonl")
    given = {"recipe": "small-detector", "epochs": 2, "batch": 5, "evaluate_every": 9, "workers": 0, "threads": 1}
    given |= {"precision": "float32", "network": {"name": "tiny-yolov2", "width": 0.25, "size": [96, 64]}}
    given |= {"notify": lambda line: None}
    logs = []
    for run, blue in (("none", None), ("one-hot", 1.0), ("soft", 0.25)):
        distribution = None if blue is None else {"blue": blue, "red": 1 - blue}
        lines(tmp_path, {"image": "p02.png", "boxes": [None, distribution]})
        train(file, out=tmp_path / run, **(given | {"network": given["network"] | {"clusters": 2}}))
        logs.append([line["losses"]["classes"] for line in log_of(tmp_path / run) if "losses" in line])
    assert np.allclose(logs[0], logs[1], rtol=1e-5)
    assert not np.allclose(logs[0], logs[2], rtol=1e-3)
    lines(tmp_path, {"image": "p02.png", "boxes": [None, {"red": 1}]})
    with pytest.raises(TrainingError, match="the training images must be as when the run began"):
        train(resume=tmp_path / "soft")
