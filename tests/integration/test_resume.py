"""A run that was interrupted resumes with all that it knew: weights, moving average, best metrics, time."""

from __future__ import annotations

from dataclasses import replace
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from support.small_data import write_voc_set
from support.small_models import small_architecture
from support.training_runs import log_of

from yolo9000.checkpoints.darknet.cfg import write_cfg
from yolo9000.errors import ConfigError, TrainingError
from yolo9000.training import clock, train
from yolo9000.training.distributed import World
from yolo9000.training.loader import SampleRequest
from yolo9000.training.logging import RunFolder
from yolo9000.training.recipe import recipe_of
from yolo9000.training.splits import open_training_data
from yolo9000.training.tasks.base import Scores
from yolo9000.training.tasks.detection import DetectorTraining
from yolo9000.training.trainer import prepare_task

RECIPE = """
task = "detect"
data = "shapes"
epochs = 4
batch = 3
workers = 0
precision = "float32"

[network]
name = "net.cfg"
size = [72, 48]
clusters = 2

[optimizer]
lr = 0.003
"""  # 9 images: 12 steps, evaluated after steps 3, 6, 9 and 12


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    write_voc_set(tmp_path / "shapes")
    (tmp_path / "net.cfg").write_text(write_cfg(small_architecture(2)))
    file = tmp_path / "small.toml"
    file.write_text(RECIPE)
    return file


def test_what_is_only_to_be_looked_at_does_not_stop_a_training(
    recipe: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Folders lie where the log, the results, the report and its curves should be written."""
    out = tmp_path / "run"
    for name in ("metrics.jsonl", "results.csv", "report.html", "curves.png", "images/batch-000001.jpg"):
        (out / name).mkdir(parents=True)
    done = train(recipe=recipe, out=out, threads=1, epochs=1, notify=lambda line: None)
    assert "cannot be written, training goes on" in caplog.text
    assert done.step == done.total_steps
    assert done.best.is_file()
    assert (out / "checkpoints" / f"{done.step:08}").is_dir()


def test_messages_that_have_nowhere_to_go_do_not_stop_a_training(recipe: Path, tmp_path: Path) -> None:
    lines = []

    def notify(line: str) -> None:
        lines.append(line)
        if len(lines) > 1:
            raise OSError(5, "Input/output error")  # the terminal is gone

    done = train(recipe=recipe, out=tmp_path / "run", threads=1, epochs=1, notify=notify)
    assert done.step == done.total_steps
    assert len(lines) > 1


def score(monkeypatch: pytest.MonkeyPatch, values: list[float]) -> None:
    """Let the evaluations give these values of map50 one after the other; when there are none left, the run breaks."""
    left = iter(values)

    def evaluate(self: DetectorTraining, *_: Any) -> Scores:
        try:
            return Scores({"map50": next(left)})
        except StopIteration:
            raise TrainingError("interrupted") from None

    monkeypatch.setattr(DetectorTraining, "evaluate", evaluate)


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_the_moving_average_and_the_optimizer_are_restored(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    settings: dict[str, Any] = {
        "ema_decay": 0.9,
        "optimizer": {"name": name},
        "threads": 1,
        "notify": lambda line: None,
    }
    score(monkeypatch, [0.1, 0.2, 0.3, 0.4])
    whole = train(recipe=recipe, out=tmp_path / "whole", **settings)
    score(monkeypatch, [0.1, 0.2])
    with pytest.raises(TrainingError, match="interrupted"):
        train(recipe=recipe, out=tmp_path / "broken", **settings)
    score(monkeypatch, [0.3, 0.4])
    broken = train(resume=tmp_path / "broken")
    assert broken.scores == whole.scores == {"epoch": 4.0, "map50": 0.4}
    for file in ("best.safetensors", "last.safetensors"):
        assert (broken.folder / file).read_bytes() == (whole.folder / file).read_bytes()
    assert log_of(broken.folder) == log_of(whole.folder)


def test_the_best_metrics_and_the_time_are_restored(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "run"
    monkeypatch.setattr(clock, "time", SimpleNamespace(perf_counter=count(0.0).__next__))
    score(monkeypatch, [0.2, 0.9])
    with pytest.raises(TrainingError, match="interrupted"):
        train(recipe=recipe, out=folder, threads=1)
    best = (folder / "best.safetensors").read_bytes()
    monkeypatch.setattr(clock, "time", SimpleNamespace(perf_counter=count(0.0).__next__))
    score(monkeypatch, [0.5, 0.6])
    outcome = train(resume=folder)
    assert outcome.scores == {"epoch": 2.0, "map50": 0.9}
    assert outcome.best == folder / "best.safetensors"
    assert outcome.best.read_bytes() == best
    seconds = [line["seconds"] for line in RunFolder(folder).lines("step")]
    assert len(seconds) == 12
    assert (np.diff(seconds) > 0).all()


def test_resume_takes_no_other_settings(recipe: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="must be the folder of a run"):
        train(resume=tmp_path)
    with pytest.raises(ConfigError, match="resume continues a run with its own data"):
        train("shapes", resume=tmp_path)


def test_on_a_tree_a_source_labels_what_is_below_any_of_its_exhaustive_classes(tmp_path: Path) -> None:
    write_voc_set(tmp_path / "shapes")
    # color(0) > warm(2) > red(4) yellow(5); cold(3) > blue(6) green(7)
    tree = "color -1\nother -1\nwarm 0\ncold 0\nred 2\nyellow 2\nblue 3\ngreen 3\n"
    (tmp_path / "labels.tree").write_text(tree)
    source = "{format: voc, path: shapes, list: ImageSets/Main/train.txt, exhaustive: [cold, red]}"
    (tmp_path / "data.yaml").write_text(f"tree: labels.tree\nclasses: [cold, red, blue, warm]\ntrain: [{source}]\n")
    (tmp_path / "net.cfg").write_text(write_cfg(small_architecture(8, tree="labels.tree")))
    network = {"name": str(tmp_path / "net.cfg"), "size": [72, 48], "clusters": 2}
    recipe = recipe_of({"task": "detect", "data": str(tmp_path / "data.yaml"), "network": network}, "test")
    task = prepare_task(recipe, open_training_data(recipe), World(0, 1, torch.device("cpu")))
    assert isinstance(task, DetectorTraining)
    below = task.example(SampleRequest(0, 0, 0, (72, 48))).exhaustive
    assert below is not None
    assert np.flatnonzero(below).tolist() == [3, 4, 6, 7]
    # An image may say so itself, as LVIS' do; several in a mosaic must all agree: {cold, blue} and {cold, red}.
    own = replace(task.samples[1], exhaustive=(0, 2))
    both = task.exhaustive_in([task.samples[0], own])
    assert both is not None
    assert np.flatnonzero(both).tolist() == [3, 6, 7]
    assert task.exhaustive_in([replace(own, exhaustive=(0, 1, 2, 3))]) is None
