"""Combining data sets over one tree: what was merged, what each source keeps, and that the result trains."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from support.small_data import write_voc_set

from yolo9000.cli.app import run
from yolo9000.data.dataset import open_data


@pytest.fixture
def sets(tmp_path: Path) -> Path:
    """Boxes of dogs and airplanes; the same as `aeroplane`, and mice; folders of breeds."""
    write_voc_set(tmp_path / "boxed")
    for file in (tmp_path / "boxed" / "Annotations").glob("*.xml"):
        file.write_text(file.read_text().replace(">red<", ">dog<").replace(">blue<", ">airplane<"))
    write_voc_set(tmp_path / "other")
    for file in (tmp_path / "other" / "Annotations").glob("*.xml"):
        file.write_text(file.read_text().replace(">red<", ">aeroplane<").replace(">blue<", ">mouse<"))
    for name in ("poodle", "dalmatian"):
        for split in ("train", "val"):
            (tmp_path / "breeds" / split / name).mkdir(parents=True)
            for number in range(2):
                image = np.full((40, 50, 3), 90 + 20 * number, np.uint8)
                Image.fromarray(image).save(tmp_path / "breeds" / split / name / f"{number}.png")
    return tmp_path


def combine(folder: Path, *names: str, words: tuple[str, ...] = ()) -> int:
    (folder / "out").mkdir(exist_ok=True)
    sets = [str(folder / name) for name in names]
    return run(["data", "combine", *sets, "--out", str(folder / "out" / "all.yaml"), *words])


def test_labels_are_merged_and_each_source_keeps_its_names(sets: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert combine(sets, "boxed", "other", "breeds") == 0
    printed = capsys.readouterr().out
    assert "synonyms: airplane" in printed
    assert "kind of: poodle" in printed
    contents = yaml.safe_load((sets / "out" / "all.yaml").read_text())
    assert contents["tree"] == "all-tree.yaml"
    plane, dog, poodle = "n02691156", "n02084071", "n02113335"
    boxed, other, breeds = contents["train"]
    assert boxed["map"] == {"airplane": plane, "dog": dog}
    assert boxed["exhaustive"] == [plane, dog]
    assert other["map"]["aeroplane"] == plane
    assert breeds["map"]["poodle"] == poodle
    assert boxed["path"] == "../boxed"
    data = open_data(sets / "out" / "all.yaml", "train")
    assert data.tree is not None
    assert "dog > poodle" in data.tree.path_names(data.tree.find(poodle))
    samples = list(data.samples())
    assert len(samples) == 9 + 9 + 4
    seen = {data.classes[label] for sample in samples for label in sample.image_labels}
    assert seen == {poodle, "n02110341"}
    boxes = {data.classes[label] for sample in samples if sample.boxes for label in sample.boxes.labels}
    assert {plane, dog} < boxes
    # An image of the other set says nothing of dogs, one of the first nothing of mice
    assert data.exhaustive(0).tolist() == [name in (plane, dog) for name in data.classes]
    assert not data.exhaustive(1)[data.classes.index(dog)]
    assert run(["data", "check", str(sets / "out" / "all.yaml"), "--out", str(sets / "report")]) == 0


def test_a_map_may_name_classes_that_no_image_has(sets: Path) -> None:
    source = "{format: voc, path: boxed, list: ImageSets/Main/train.txt, map: {dog: poodle, cat: tabby}}"
    (sets / "mapped.yaml").write_text(f"train: [{source}]\n")
    assert combine(sets, "mapped.yaml", "breeds") == 0
    mapped, _ = yaml.safe_load((sets / "out" / "all.yaml").read_text())["train"]
    poodle = "n02113335"
    assert mapped["map"] == {"airplane": "n02691156", "dog": poodle, "poodle": poodle}


def test_what_a_source_leaves_out_it_does_not_label_exhaustively(sets: Path) -> None:
    source = "{format: voc, path: boxed, list: ImageSets/Main/train.txt, leave_out: [airplane]}"
    (sets / "dogs.yaml").write_text(f"classes: [airplane, dog]\ntrain: [{source}]\n")
    assert combine(sets, "dogs.yaml", "breeds") == 0
    data = open_data(sets / "out" / "all.yaml", "train")
    dog = data.classes.index("n02084071")
    assert np.flatnonzero(data.exhaustive(0)).tolist() == [dog]
    assert {label for sample in data.samples() if sample.boxes for label in sample.boxes.labels} == {dog}


def test_indices_keep_meaning_the_classes_of_their_own_set(sets: Path) -> None:
    """Labels by number, in a table and in YOLO's files, of sets whose classes come late in the combined one."""
    boxed = sets / "boxed" / "JPEGImages"
    (sets / "table.csv").write_text("p00.png,1\np01.png,0\n")
    source = f"{{format: list, path: table.csv, images: {boxed}, columns: {{image: 0, labels: [1], indices: true}}}}"
    (sets / "table.yaml").write_text(f"classes: [banana, lemon]\ntrain: [{source}]\n")
    for number, line in enumerate(("1 .5 .5 .2 .2", "0 .4 .5 .2 .2")):
        for kind in ("images", "labels"):
            (sets / "yolo" / kind).mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (30, 20)).save(sets / "yolo" / "images" / f"{number}.png")
        (sets / "yolo" / "labels" / f"{number}.txt").write_text(f"{line}\n")
    (sets / "yolo.yaml").write_text("classes: [bus, car]\ntrain: [{format: darknet, path: yolo/images}]\n")
    assert combine(sets, "boxed", "table.yaml", "yolo.yaml") == 0
    data = open_data(sets / "out" / "all.yaml", "train")
    tree = data.tree
    assert tree is not None

    def names(source: int) -> list[str]:
        samples = [sample for sample in data.samples() if sample.source == source]
        labels = [sample.image_labels[0] if sample.boxes is None else sample.boxes.labels[0] for sample in samples]
        return [tree.names[tree.find(data.classes[label])] for label in labels]

    assert names(1) == ["lemon", "banana"]
    assert names(2) == ["car", "bus"]


def test_the_combined_set_trains(sets: Path) -> None:
    assert combine(sets, "boxed", "breeds") == 0
    small = ["epochs=2", "batch=4", "workers=0", "network.width=0.05", "network.size=[96,64]", "network.clusters=2"]
    small += ["joint.ratio=1", "optimizer.lr=1e-4"]
    words = ["train", str(sets / "out" / "all.yaml"), "--recipe", "small-detector", *small, "--out", str(sets / "run")]
    assert run([*words, "--threads", "1"]) == 0
    assert (sets / "run" / "pseudo-boxes-0.jsonl").exists()


def test_the_same_name_in_two_senses_is_a_conflict(sets: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for folder, names in {"animals": ("cat", "dog", "mouse"), "desk": ("keyboard", "laptop", "mouse")}.items():
        for name in names:
            (sets / folder / name).mkdir(parents=True)
            Image.new("RGB", (30, 20)).save(sets / folder / name / "0.png")
    assert combine(sets, "animals", "desk") == 0
    printed = capsys.readouterr().out
    (conflict,) = [line for line in printed.splitlines() if line.startswith("conflict: mouse")]
    assert conflict.endswith("n03793489")  # among keyboards it is the computer's; among cats and dogs it is not


def test_the_user_settles_a_label(sets: Path, tmp_path: Path) -> None:
    (tmp_path / "overrides.csv").write_text("label,id\nmouse,n03793489\n")
    assert combine(sets, "boxed", "other", words=("--overrides", str(tmp_path / "overrides.csv"))) == 0
    assert "n03793489" in yaml.safe_load((sets / "out" / "all.yaml").read_text())["classes"]


def test_a_set_with_a_tree_is_refused(sets: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert combine(sets, "boxed", "breeds") == 0
    assert (
        run(["data", "combine", str(sets / "out" / "all.yaml"), str(sets / "other"), "-o", str(sets / "b.yaml")]) == 2
    )
    assert "has a tree of its own and cannot be combined" in capsys.readouterr().err
