"""The examples, on small data of the form that they take."""

from __future__ import annotations

import hashlib
import io
import json
import shlex
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from support.paths import ROOT
from support.small_data import COLORS, boxes_of, write_voc_set

from yolo9000.cli.app import run
from yolo9000.data.dataset import open_data
from yolo9000.data.images import load_image
from yolo9000.training.recipe import parse_overrides, read_recipe
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


def test_the_data_of_the_model_come_under_one_tree(small_images: Path, tmp_path: Path) -> None:
    data, out = tmp_path / "data", tmp_path / "out"
    data.mkdir()
    shutil.move(small_images, data / "tiny-imagenet")
    write_voc_set(data / "groceries-boxes", boxes=lambda _: [("red", (5, 4, 45, 34)), ("blue", (60, 10, 68, 20))])
    labels = data / "groceries-labels"
    labels.mkdir()
    (labels / "classes.csv").write_text(
        "Class Name (str),Class ID (int),Coarse Class Name (str),Coarse Class ID (int),Iconic Image Path (str)\n"
        "Granny-Smith,0,Apple,0,/iconic/Fruit/Apple/x.jpg\n"
        "Pink-Lady,1,Apple,0,/iconic/Fruit/Apple/x.jpg\n"
        "Lemon,2,Lemon,1,/iconic/Fruit/Lemon/x.jpg\n"
        "Yellow-Bell-Pepper,3,Pepper,2,/iconic/Vegetables/Pepper/x.jpg\n"
        "Red-Bell-Pepper,4,Pepper,2,/iconic/Vegetables/Pepper/x.jpg\n"
        "Oat-Milk,5,Oat-Milk,3,/iconic/Packages/Oat-Milk/x.jpg\n"
    )
    for split in ("train", "val"):
        (labels / split).mkdir()
        for number in range(6):
            Image.new("RGB", (30, 20)).save(labels / split / f"{number}.png")
        (labels / f"{split}.txt").write_text("".join(f"{split}/{n}.png, {n}, {n}\n" for n in range(6)))
    script("model/make_data.py", data, out, "--scenes", "8", "--val", "3")
    sets = [out / f"{name}.yaml" for name in ("scenes", "labels", "packages")]
    words = [
        "--parents",
        out / "parents.csv",
        "--overrides",
        EXAMPLES / "model" / "meanings.csv",
        "--out",
        out / "all.yaml",
    ]
    assert run(["data", "combine", *map(str, [*sets, *words])]) == 0
    combined = open_data(out / "all.yaml", "train")
    tree = combined.tree
    assert tree is not None
    apple, lemon, pepper = "n07739125", "n07749582", "n07720875"
    for label, above in (("granny-smith", apple), (lemon, "n07705931"), ("yellow-bell-pepper", pepper)):
        assert tree.ids[tree.parents[tree.find(label)]] == above
    for node in (apple, pepper, "oat-milk", "red"):
        assert "n00021265" in [tree.ids[step] for step in tree.path(tree.find(node))]  # food
    samples = list(combined.samples())
    assert [sum(sample.source == index for sample in samples) for index in range(3)] == [8, 6, 9]
    labelled = [combined.classes[label] for sample in samples[8:14] for label in sample.image_labels]
    assert [tree.names[tree.find(label)].lower() for label in labelled] == [
        *("granny smith", "pink lady", "lemon", "yellow bell pepper", "red bell pepper", "oat milk")
    ]
    for sample in samples[:8]:
        assert sample.boxes is not None
        assert sample.size_wh is not None
        assert len(sample.boxes) > 0
        assert (sample.boxes.boxes_xyxy[:, 2:] <= sample.size_wh).all()
    assert len(list(open_data(out / "all.yaml", "val").samples())) == 3 + 6 + 5
    held_out = list(open_data(out / "all.yaml", "test").samples())
    assert len(held_out) == 3 + 6  # scenes, and the second of the three images of each class
    assert sorted(combined.classes[label] for sample in held_out[3:] for label in known(sample)) == sorted(IDS)
    calibrated_on = list(open_data(out / "calibrate.yaml", "val").samples())
    assert len(calibrated_on) == 3 + 12
    lefts = [{float(s.boxes.boxes_xyxy[0, 0]) for s in part[3:] if s.boxes} for part in (held_out, calibrated_on)]
    assert lefts == [{6}, {5, 7}]  # never the same image

    script("model/make_small.py", out)
    sources = [sample.source for sample in open_data(out / "small.yaml", "train").samples()]
    assert [sources.count(index) for index in range(3)] == [8, 6, 9]
    for sample in list(open_data(out / "small.yaml", "train").samples())[14:]:
        assert sample.boxes is not None
        assert sample.size_wh is not None
        width, height = sample.size_wh  # of 90 x 60
        assert 64 <= width <= 90
        scale = (width / 90, height / 60) * 2
        np.testing.assert_allclose(sample.boxes.boxes_xyxy[0], np.multiply((5, 4, 45, 34), scale), atol=0.02)

    script("model/cut_objects.py", out)
    samples = list(open_data(out / "objects.yaml", "train").samples())
    assert [sum(sample.source == index for sample in samples) for index in range(3)] == [18, 6, 9]
    assert all(sample.boxes is None for sample in samples)
    for sample in samples[24:]:
        assert [combined.classes[label] for label in sample.image_labels] == ["red"]  # blue ones are too small
        image = load_image(sample.image, sample.name).pixels  # 1.1 * 40 a side, its top edge that of the image
        assert image.shape == (44, 44, 3)
        np.testing.assert_allclose(image[8:30, 6:38].mean((0, 1)), COLORS["red"], atol=8)
        assert image[38:, :, 1].mean() > 80  # the ground below it
    assert len(list(open_data(out / "objects.yaml", "val").samples())) == 18 + 6 + 5


def test_images_are_mixed_into_photographs(small_images: Path, tmp_path: Path) -> None:
    data, out = tmp_path / "data", tmp_path / "out"
    data.mkdir()
    shutil.move(small_images, data / "tiny-imagenet")
    write_voc_set(data / "groceries-boxes")
    write_voc_set(data / "fruit")
    for kind in ("images", "labels"):
        (data / "coco128" / kind).mkdir(parents=True)
    Image.new("RGB", (90, 60)).save(data / "coco128" / "images" / "0.png")
    (data / "coco128" / "labels" / "0.txt").write_text("1 .5 .5 .4 .4\n")
    (data / "coco128" / "classes.txt").write_text("person\ndog\n")
    sets = [str(data / name) for name in ("groceries-boxes", "fruit", "coco128")]
    tar = "{format: tar, path: ../data/tiny-imagenet/train.tar, boxes: ../data/tiny-imagenet/train_boxes.tsv}"
    out.mkdir()
    (out / "singles.yaml").write_text(f"classes: [{', '.join(IDS)}]\ntrain: [{tar}]\n")
    assert run(["data", "combine", str(out / "singles.yaml"), *sets, "--out", str(out / "all.yaml")]) == 0
    script("model/make_small.py", out)
    script("model/mix_photographs.py", data, out, "--scenes", "20")
    mixed = open_data(out / "mixed.yaml", "train")
    samples = list(mixed.samples())
    assert [sum(sample.source == index for sample in samples) for index in range(4, 7)] == [12, 7, 1]
    dog, fish = mixed.classes.index("n02084071"), mixed.classes.index("n01443537")
    seen: set[int] = set()
    for sample in samples:
        if sample.source == 4:
            assert sample.boxes is not None
            assert (sample.boxes.labels == dog).sum() == 1  # the photograph's own object is still there
            assert sample.size_wh is not None
            assert (sample.boxes.boxes_xyxy[:, 2:] <= sample.size_wh).all()
            seen |= set(sample.boxes.labels.tolist())
    assert seen - {dog} <= {mixed.classes.index(name) for name in IDS}
    assert len(seen) > 2
    assert mixed.exhaustive(4)[[dog, fish]].all()
    train, more = (yaml.safe_load((out / f"{name}.yaml").read_text())["train"] for name in ("mixed", "more"))
    assert more == [*train, more[-1]]
    assert more[-1]["path"] == "singles.json"
    assert set(more[-1]["exhaustive"]) >= set(IDS)


def steps_of_the_model() -> dict[str, list[str]]:
    """The recipe and the settings of each training step of examples/model/train.sh, by the step's name."""
    lines = (EXAMPLES / "model" / "train.sh").read_text().replace("\\\n", " ").splitlines()
    return {words[1]: words[2:] for words in map(shlex.split, (line for line in lines if line.startswith("step ")))}


def test_the_recipes_of_the_model_can_be_read() -> None:
    steps = steps_of_the_model()
    assert list(steps) == ["classifier-64", "classifier-128", "objects", "detector", "again", "longer"]
    recipes = {
        step: read_recipe(EXAMPLES / "model" / file, parse_overrides(settings))
        for step, (file, *settings) in steps.items()
    }
    assert {recipe.network.width for recipe in recipes.values()} == {0.375}
    assert {file for file, *_ in steps.values()} == {path.name for path in (EXAMPLES / "model").glob("*.toml")}
    assert recipes["longer"].epochs == 3 * recipes["again"].epochs


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
