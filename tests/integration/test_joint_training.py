"""Joint training as a user runs it: boxes of some classes, image-level labels of another, one tree (§4)."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from support.small_data import write_voc_set
from support.small_models import small_architecture
from support.training_runs import finish, log_of, start, wait_for_log

from yolo9000.checkpoints.darknet.cfg import write_cfg
from yolo9000.cli.app import run
from yolo9000.data.dataset import DataSet
from yolo9000.evaluation.runner import detect_samples
from yolo9000.inference.detector import Detector
from yolo9000.training.logging import RunFolder
from yolo9000.training.tasks import detection as detect
from yolo9000.types import Detections, Sample

# color(0) > warm(1) > red(3) yellow(4); cold(2) > blue(5) green(6)
TREE = "color -1\nother -1\nwarm 0\ncold 0\nred 2\nyellow 2\nblue 3\ngreen 3\n"
DATA = """
tree: labels.tree
classes: [blue, red, green, cold]
train:
  - {format: voc, path: shapes, list: ImageSets/Main/train.txt}
  - {format: folder, path: labelled}
val:
  - {format: voc, path: shapes, list: ImageSets/Main/val.txt}
"""
RECIPE = """
task = "detect"
data = "data.yaml"
epochs = 4
batch = 5
seed = 3
workers = 1
evaluate_every = 2
checkpoint_every = 2

[network]
name = "net.cfg"
size = [72, 48]
clusters = 2

[optimizer]
lr = 0.0005
burn_in = 3

[joint]
ratio = 2
"""
LABELLED = 6  # images with image-level labels, beside 9 with boxes


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    write_voc_set(tmp_path / "shapes")
    rng = np.random.default_rng(0)
    for number in range(LABELLED):
        folder = tmp_path / "labelled" / ("green" if number % 3 else "cold")
        folder.mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(90, 150, (60, 90, 3), dtype=np.uint8)
        pixels[20:40, 30:60] = (20, 200, 30)
        Image.fromarray(pixels).save(folder / f"q{number}.png")
    (tmp_path / "labels.tree").write_text(TREE)
    (tmp_path / "data.yaml").write_text(DATA)
    (tmp_path / "net.cfg").write_text(write_cfg(small_architecture(8, tree="labels.tree")))
    file = tmp_path / "joint.toml"
    file.write_text(RECIPE)
    return file


def pseudo_box_log(folder: Path) -> list[dict[str, object]]:
    return RunFolder(folder).pseudo_boxes()


def test_both_kinds_train_in_the_stated_ratio_and_what_was_taught_is_logged(recipe: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    assert run(["train", "--recipe", str(recipe), "workers=0", "epochs=8", "--out", str(folder), "--threads", "1"]) == 0
    lines = pseudo_box_log(folder)
    trained = 5 * 24  # 8 epochs of 15 images in batches of 5
    assert len(lines) == pytest.approx(trained * 2 / 3, abs=8)  # 2 labelled ones for each with boxes
    counts = Counter(str(line["image"]) for line in lines)
    assert len(counts) == LABELLED
    assert max(counts.values()) - min(counts.values()) <= 10  # each about 13 times: 1.7 an epoch
    for line in lines:
        left, top, right, bottom = line["box_xyxy"]
        assert left < right
        assert top < bottom
        assert 0 < line["probability"] <= 1
        assert line["label"] == (7 if "green" in str(line["image"]) else 3)


def test_every_label_of_a_image_teaches_a_box_and_of_two_on_one_path_the_lower(recipe: Path, tmp_path: Path) -> None:
    names = sorted(
        path.relative_to(tmp_path / "labelled").as_posix() for path in (tmp_path / "labelled").rglob("*.png")
    )
    rows = [f"{name}\t{label}" for name in names for label in ("cold", "green", "red")]
    (tmp_path / "tags.tsv").write_text("\n".join(["image\tlabel", *rows, ""]))
    tags = "{format: list, path: tags.tsv, images: labelled, columns: {image: image, labels: [label]}}"
    (tmp_path / "data.yaml").write_text(DATA.replace("{format: folder, path: labelled}", tags))
    folder = tmp_path / "run"
    assert run(["train", "--recipe", str(recipe), "workers=0", "epochs=2", "--out", str(folder), "--threads", "1"]) == 0
    taught = Counter((line["step"], line["index"]) for line in pseudo_box_log(folder))
    assert set(taught.values()) == {2}
    assert {line["label"] for line in pseudo_box_log(folder)} == {4, 7}  # red and green, not cold


def test_a_joint_run_goes_on_to_the_byte_after_a_kill(recipe: Path, tmp_path: Path) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    assert run(["train", "--recipe", str(recipe), "workers=0", "--out", str(whole), "--threads", "1"]) == 0
    process = start("--recipe", recipe, "workers=0", "--out", broken, "--threads", "1")
    assert wait_for_log(process, broken, lines=5)
    process.kill()
    process.communicate()
    code, _, err = finish(start("--resume", broken))
    assert code == 0, err
    assert (broken / "last.safetensors").read_bytes() == (whole / "last.safetensors").read_bytes()
    assert log_of(broken) == log_of(whole)
    assert pseudo_box_log(broken) == pseudo_box_log(whole)


def test_scores_in_training_count_the_classes_of_the_data_and_those_without_boxes_apart(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    no_blue = "{format: voc, path: shapes, list: ImageSets/Main/train.txt, leave_out: [blue]}"
    blue = "{format: folder, path: labelled, map: {green: blue}}"
    val = "{format: voc, path: shapes, list: ImageSets/Main/val.txt}"
    (tmp_path / "data.yaml").write_text(
        f"tree: labels.tree\nclasses: [blue, red, cold]\ntrain: [{no_blue}, {blue}]\nval: [{val}]\n"
    )

    def all_red_detected(detector: Detector, data_set: DataSet, **options: Any) -> Iterator[tuple[Sample, Detections]]:
        assert detector.names == ("blue", "red", "cold")
        for sample, _ in detect_samples(detector, data_set, **options):
            assert sample.boxes is not None
            reds = sample.boxes.select(sample.boxes.labels == 1)
            scores, names = np.full(len(reds), 0.9, np.float32), ("red",) * len(reds)
            yield sample, Detections(reds.boxes_xyxy, scores, reds.labels, names, (90, 60))

    monkeypatch.setattr(detect, "detect_samples", all_red_detected)
    settings = ["workers=0", "epochs=1", "network.clusters=1", "--out", str(tmp_path / "run"), "--threads", "1"]
    assert run(["train", "--recipe", str(recipe), *settings]) == 0
    (scores,) = (line for line in log_of(tmp_path / "run") if line["kind"] == "metrics")
    assert scores["metrics"]["map50"] == 0.5
    assert scores["metrics"]["map50_boxed"] == 1
    assert scores["metrics"]["map50_label_only"] == 0


def test_a_run_does_not_go_on_with_another_tree(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "run"
    assert run(["train", "--recipe", str(recipe), "workers=0", "epochs=1", "--out", str(folder), "--threads", "1"]) == 0
    (tmp_path / "labels.tree").write_text(TREE.replace("yellow", "amber"))
    assert run(["train", "--resume", str(folder)]) == 2
    assert "the label tree must be as when the run began" in capsys.readouterr().err


def test_the_boxes_that_were_taught_are_shown(recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "run"
    assert run(["train", "--recipe", str(recipe), "workers=0", "--out", str(folder), "--threads", "1"]) == 0
    capsys.readouterr()
    assert run(["data", "pseudo-boxes", str(folder), "--images", "3"]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in printed[:4]] == [
        "steps 1 to 3",
        "steps 4 to 6",
        "steps 7 to 9",
        "steps 10 to 12",
    ]
    page = (folder / "pseudo-boxes.html").read_text()
    assert page.count("data:image/png;base64,") == 3
    assert run(["data", "pseudo-boxes", str(folder), "--labels", "purple"]) == 2
    assert "no image has the label purple" in capsys.readouterr().err


def test_a_run_without_image_level_labels_has_nothing_to_show(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "run"
    assert (
        run(
            [
                "train",
                "--recipe",
                str(recipe),
                "workers=0",
                "joint.ratio=0",
                "epochs=1",
                "--out",
                str(folder),
                "--threads",
                "1",
            ]
        )
        == 0
    )
    facts = json.loads((folder / "run.json").read_text())
    assert facts["steps"] == 2  # 9 images in batches of 5
    assert run(["data", "pseudo-boxes", str(folder)]) == 2
    assert "must be a run that trained on images with image-level labels" in capsys.readouterr().err


def test_a_ratio_needs_both_kinds(recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    only_boxes = "\n".join(line for line in DATA.splitlines() if "labelled" not in line)
    (tmp_path / "data.yaml").write_text(only_boxes)
    assert run(["train", "--recipe", str(recipe), "workers=0", "--out", str(tmp_path / "run")]) == 2
    assert "joint.ratio needs images with image-level labels" in capsys.readouterr().err
