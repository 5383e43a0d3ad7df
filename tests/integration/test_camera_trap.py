"""The recipe for camera traps, on a small set of drawn animals."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.paths import ROOT
from support.small_data import COLORS, write_voc_set

from yolo9000.cli.app import run
from yolo9000.data.dataset import open_data

EXAMPLE = ROOT / "examples" / "camera-trap"
TAXONOMY = """
00000000-0000-0000-0000-000000000001;mammalia;carnivora;canidae;vulpes;vulpes;red fox
00000000-0000-0000-0000-000000000002;mammalia;carnivora;canidae;vulpes;lagopus;arctic fox
00000000-0000-0000-0000-000000000003;mammalia;carnivora;felidae;lynx;lynx;eurasian lynx
00000000-0000-0000-0000-000000000004;aves;passeriformes;corvidae;corvus;corax;common raven
"""
FOLDERS = ("red fox", "arctic fox", "Lynx lynx", "common raven", "canidae")
SMALL = ["network.width=0.05", "network.size=[96,64]", "epochs=1", "batch=4", "workers=0", "evaluate_every=9"]


@pytest.fixture
def field(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the README needs, where it is run."""
    monkeypatch.chdir(tmp_path)
    write_voc_set(tmp_path / "boxes", boxes=lambda number: [("red", (5 + number, 8, 30 + number, 40))])
    for file in (tmp_path / "boxes" / "Annotations").glob("*.xml"):
        file.write_text(file.read_text().replace(">red<", ">animal<"))
    for index, name in enumerate(FOLDERS):
        for split, count in (("train", 3), ("val", 2)):
            folder = tmp_path / "species" / split / name
            folder.mkdir(parents=True)
            for number in range(count):
                pixels = np.random.default_rng(9 * index + number).integers(90, 150, (60, 90, 3), dtype=np.uint8)
                pixels[10:40, 20 + number : 50] = np.array(COLORS["red"]) // (1 + index)
                Image.fromarray(pixels).save(folder / f"{split}{number}.png")
    (tmp_path / "taxonomy.txt").write_text(TAXONOMY)
    for name in ("roots.csv", "joint.toml"):
        (tmp_path / name).write_text((EXAMPLE / name).read_text())
    return tmp_path


def commands() -> list[list[str]]:
    text = (EXAMPLE / "README.md").read_text().split("```sh\n")[1].split("```")[0]
    return [shlex.split(line)[1:] for line in text.splitlines()]


def test_boxes_and_folders_come_under_one_taxonomy(field: Path) -> None:
    assert run(commands()[0]) == 0
    data = open_data(field / "all.yaml", "train")
    tree = data.tree
    assert tree is not None
    assert tree.path_names(tree.find("red fox")) == "animal > carnivora > canidae > vulpes > vulpes vulpes"
    assert tree.path_names(tree.find("common raven")) == "animal > corvus corax"
    assert tree.path(tree.find("animal")) == (tree.find("animal"),)
    assert sum(parent < 0 for parent in tree.parents.tolist()) == 1
    boxed = [sample for sample in data.samples() if sample.boxes is not None]
    sorted_ = [sample for sample in data.samples() if sample.boxes is None]
    assert {tree.find(data.classes[int(label)]) for sample in boxed for label in sample.boxes.labels} == {  # type: ignore[union-attr]
        tree.find("animal")
    }
    labels = {tree.find(data.classes[label]) for sample in sorted_ for label in sample.image_labels}
    assert labels == {tree.find(name) for name in FOLDERS}


@pytest.mark.battery
def test_the_readme_trains_and_answers_on_the_taxonomy(field: Path) -> None:
    combine, train, calibrate, predict = commands()
    assert run(combine) == 0
    assert run([*train, *SMALL, "--threads", "1"]) == 0
    log = [json.loads(line) for line in (field / "runs" / "camera-trap" / "metrics.jsonl").read_text().splitlines()]
    assert {"metrics", "step"} <= {line["kind"] for line in log}
    assert (field / "runs" / "camera-trap" / "pseudo-boxes-0.jsonl").exists()
    assert predict[1] == "photos/"
    model = ["--model", "runs/camera-trap/last.safetensors", "--conf", "0.0001", "--out", "out"]
    assert run(["predict", "boxes/JPEGImages", *model, "--format", "jsonl"]) == 0
    assert calibrate[-1] == "camera-trap.safetensors"
