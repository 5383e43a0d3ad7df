"""The examples, on small data of the form that they take."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.paths import ROOT
from support.small_data import boxes_of, write_voc_set

from yolo9000.cli.app import run
from yolo9000.data.dataset import open_data
from yolo9000.training.recipe import read_recipe
from yolo9000.types import Sample

IDS = ("n01443537", "n01629819", "n02124075", "n02504458", "n03089624", "n04507155")
EXAMPLES = ROOT / "examples"


@pytest.fixture
def small_images(tmp_path: Path) -> Path:
    """Two splits of 40 x 40 images, three a class, each with a bright square at a known place."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    for split in ("train", "val"):
        rows = ["image\twnid\tx1\ty1\tx2\ty2"]
        with tarfile.open(folder / f"{split}.tar", "w") as tar:
            for index, wnid in enumerate(IDS):
                for number in range(3):
                    pixels = np.full((40, 40, 3), 30 * index, np.uint8)
                    pixels[10:30, 5 + number : 25 + number] = 255
                    stream = io.BytesIO()
                    Image.fromarray(pixels).save(stream, format="PNG")
                    member = tarfile.TarInfo(f"{wnid}/{split}_{number}.JPEG")
                    member.size = len(stream.getvalue())
                    tar.addfile(member, io.BytesIO(stream.getvalue()))
                    rows.append(f"{member.name}\t{wnid}\t{5 + number}\t10\t{24 + number}\t29")
        (folder / f"{split}_boxes.tsv").write_text("\n".join(rows) + "\n")
    return folder


def make(data: Path, out: Path) -> None:
    script("scenes/make_scenes.py", data, out, "--train", "6", "--val", "4")


def script(name: str, *words: str | Path) -> None:
    subprocess.run([sys.executable, EXAMPLES / name, *words], check=True, capture_output=True)


def test_scenes_hide_the_boxes_of_half_the_classes(small_images: Path, tmp_path: Path) -> None:
    make(small_images, tmp_path / "scenes")
    out = tmp_path / "scenes"
    order = sorted(IDS, key=lambda wnid: hashlib.sha256(wnid.encode()).hexdigest())
    assert (out / "boxed.names").read_text().split() == order[:3]
    assert (out / "label-only.names").read_text().split() == order[3:]
    data_sets = [open_data(out / f"{name}.yaml", "train") for name in ("boxes", "joint", "all")]
    _, joint, everything = data_sets
    assert {data.classes for data in data_sets} == {tuple(sorted(IDS))}
    samples_of = {data.name: list(data.samples()) for data in data_sets}
    assert [len(samples) for samples in samples_of.values()] == [6, 12, 12]
    for sample in samples_of[joint.name]:
        if sample.boxes is None:
            assert {joint.classes[label] for label in sample.image_labels} <= set(order[3:])
        else:
            assert {joint.classes[label] for label in sample.boxes.labels} <= set(order[:3])
            assert len(sample.boxes) in (4, 9)
    hidden = {sample.name: sample.boxes for sample in samples_of[everything.name] if sample.source == 1}
    image_labels = {sample.name: sample.image_labels for sample in samples_of[joint.name] if sample.source == 1}
    for name, gt in hidden.items():
        assert gt is not None
        assert sorted(set(gt.labels.tolist())) == list(image_labels[name])
    assert len(image_labels) == 6
    assert max(map(len, image_labels.values())) > 1
    assert joint.tree is not None
    joint.tree.check_groups_contiguous()


def test_coarser_classes_hold_every_class_once(small_images: Path, tmp_path: Path) -> None:
    make(small_images, tmp_path / "scenes")
    tree = open_data(tmp_path / "scenes" / "all.yaml", "val").tree
    assert tree is not None
    files = sorted((tmp_path / "scenes").glob("depth-*.names"))
    assert len(files) == tree.depths.max() > 1
    for depth, file in enumerate(files):
        cut = [tree.find(node) for node in file.read_text().split()]
        assert max(tree.depths[cut]) == depth
        for wnid in IDS:
            assert len(set(cut) & set(tree.path(tree.find(wnid)))) == 1


def test_boxes_lie_where_the_objects_are(small_images: Path, tmp_path: Path) -> None:
    make(small_images, tmp_path / "scenes")
    for sample in open_data(tmp_path / "scenes" / "all.yaml", "val").samples():
        assert sample.boxes is not None
        image = np.asarray(Image.open(sample.image.path)).astype(int)
        for left, top, right, bottom in np.rint(sample.boxes.boxes_xyxy).astype(int).tolist():
            assert image[top + 2 : bottom - 2, left + 2 : right - 2].min() > 200
            outside = image[max(0, top - 4) : bottom + 4, max(0, left - 4) : right + 4].mean()
            assert outside < image[top:bottom, left:right].mean()


def test_scenes_are_the_same_every_time(small_images: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        make(small_images, tmp_path / name)
    one, two = (sorted(file for file in (tmp_path / name).rglob("*") if file.is_file()) for name in ("one", "two"))
    assert len(one) > 20
    assert [file.read_bytes() for file in one] == [file.read_bytes() for file in two]
    assert json.loads((tmp_path / "one" / "boxed.json").read_text())["images"][0]["width"] == 256


PRODUCTS = """Class Name (str),Class ID (int),Coarse Class Name (str),Coarse Class ID (int),Iconic Image Path (str)
Scarlet,0,Red,0,/iconic/Packages/Red/Scarlet/x.jpg
Crimson,1,Red,0,/iconic/Packages/Red/Crimson/x.jpg
Azure,2,Blue,1,/iconic/Fruit/Blue/Azure/x.jpg
Plum,3,Plum,2,/iconic/Fruit/Plum/x.jpg
"""


def test_groceries_come_under_one_tree(tmp_path: Path) -> None:
    data, out = tmp_path / "data", tmp_path / "groceries"
    for name, wanted in (("groceries-boxes", "red"), ("fruit", "blue")):
        write_voc_set(data / name, boxes=lambda number, only=wanted: [b for b in boxes_of(number) if b[0] == only])
    labels = data / "groceries-labels"
    labels.mkdir()
    (labels / "classes.csv").write_text(PRODUCTS)
    for split in ("train", "val"):
        (labels / split).mkdir()
        for number in range(4):
            Image.new("RGB", (30, 20)).save(labels / split / f"{number}.png")
        (labels / f"{split}.txt").write_text("".join(f"{split}/{n}.png, {n}, {(0, 0, 1, 2)[n]}\n" for n in range(4)))
    script("groceries/make_groceries.py", data, out)
    assert (out / "boxed.names").read_text().split() == ["red", "blue"]
    sets = [out / "labels.yaml", data / "groceries-boxes", data / "fruit"]
    words = ["--parents", out / "parents.csv", "--no-wordnet", "--out", out / "groceries.yaml"]
    assert run(["data", "combine", *map(str, [*sets, *words])]) == 0
    combined = open_data(out / "groceries.yaml", "train")
    tree = combined.tree
    assert tree is not None
    for fine, coarse in (("Scarlet", "Red"), ("Crimson", "Red"), ("Azure", "Blue"), ("Plum", "Fruit")):
        assert tree.names[tree.parents[tree.find(fine)]] == coarse
    seen = [(combined.classes[label], sample.boxes is None) for sample in combined.samples() for label in known(sample)]
    names = {tree.names[tree.find(node)]: pseudo for node, pseudo in seen}
    assert names == {"Scarlet": True, "Crimson": True, "Azure": True, "Plum": True, "Red": False, "Blue": False}


def known(sample: Sample) -> list[int]:
    return sample.boxes.labels.tolist() if sample.boxes is not None else list(sample.image_labels)


@pytest.mark.parametrize("way", ["boxes", "joint", "all"])
def test_the_recipes_of_scenes_train(small_images: Path, tmp_path: Path, way: str) -> None:
    make(small_images, tmp_path / "scenes")
    recipe = shutil.copy(EXAMPLES / "scenes" / f"{way}.toml", tmp_path)
    small = ["network.width=0.0625", "batch=4", "epochs=1", "evaluate_every=9", "workers=0"]
    assert run(["train", "--recipe", str(recipe), *small, "--out", str(tmp_path / "run"), "--threads", "1"]) == 0
    log = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    (scores,) = (line for line in log if line["kind"] == "metrics")
    assert ("map50_label_only" in scores["metrics"]) == (way == "joint")
    assert (tmp_path / "run" / "pseudo-boxes-0.jsonl").exists() == (way == "joint")


def test_the_recipe_of_groceries_can_be_read() -> None:
    recipe = read_recipe(EXAMPLES / "groceries" / "joint.toml")
    assert recipe.data.endswith("groceries/groceries.yaml")
    assert read_recipe(EXAMPLES / "groceries" / "joint.toml", {"joint": {"ratio": 0}, "epochs": 10}).epochs == 10
