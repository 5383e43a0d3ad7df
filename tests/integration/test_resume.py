"""A run that was interrupted resumes with all that it knew: weights, moving average, best metrics, time."""

from __future__ import annotations

import errno
import shutil
import signal
from dataclasses import replace
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from support.small_data import write_voc_set
from support.small_models import random_model, small_architecture
from support.training_runs import log_of

from yolo9000.checkpoints.darknet.cfg import write_cfg
from yolo9000.checkpoints.darknet.weights import write_weights
from yolo9000.cli.app import run
from yolo9000.errors import ConfigError, DataError, TrainingError
from yolo9000.io.files import locked_folder
from yolo9000.training import clock, monitor, train
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
    assert set(done.unwritten) == {"the log", "the images", "the report"}


def test_a_run_whose_report_did_not_fit_ends_with_3_and_gets_it_later(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def on_full_disk(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "report.html")

    out = tmp_path / "run"
    with monkeypatch.context() as full:
        full.setattr(monitor, "write_report", on_full_disk)
        assert run(["train", "--recipe", str(recipe), "epochs=1", "--threads", "1", "--out", str(out)]) == 3
    errors = [line for line in capsys.readouterr().err.splitlines() if "error" in line]
    assert len(errors) == 1
    assert "could not be written: the report (report.html: No space left on device)" in errors[0]
    assert f"yolo9000 train --resume {out} writes the report again" in errors[0]
    weights = (out / "last.safetensors").read_bytes()
    assert not (out / "report.html").exists()
    assert run(["train", "--resume", str(out)]) == 0
    assert (out / "report.html").exists()
    assert (out / "last.safetensors").read_bytes() == weights


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
    monkeypatch.setattr(monitor, "write_report", lambda *_: None)  # which takes most of the time of so short a run


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


def interrupted(
    recipe: Path | str, folder: Path, monkeypatch: pytest.MonkeyPatch, values: list[float], **settings: Any
) -> Path:
    """A run that broke at the evaluation for which there is no value left."""
    score(monkeypatch, values)
    with pytest.raises(TrainingError, match="interrupted"):
        train(recipe=recipe, out=folder, threads=1, notify=lambda line: None, **settings)
    return folder


def test_a_prolonged_run_is_one_that_was_so_long_from_the_beginning(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The learning rate falls at epochs, not with the fraction of the training that is done."""
    lines: list[str] = []
    settings = {"optimizer": {"steps": [0.5, 2], "scales": [0.5, 0.1]}, "threads": 1, "notify": lines.append}
    score(monkeypatch, [0.1, 0.3, 0.2])
    whole = train(recipe=recipe, out=tmp_path / "whole", epochs=3, **settings)
    score(monkeypatch, [0.1, 0.3, 0.2])
    train(recipe=recipe, out=tmp_path / "longer", epochs=1, **settings)
    longer = train(resume=tmp_path / "longer", epochs=3, notify=lines.append)
    assert (longer.step, longer.total_steps) == (9, 9)
    # Half of 0.003 from epoch 0.5 on, which it still is in the step after epoch 1.
    assert "prolonged from 1 to 3 epochs: the learning rate goes on at 0.0015 after 0.0015" in lines
    for file in ("best.safetensors", "last.safetensors"):
        assert (longer.folder / file).read_bytes() == (whole.folder / file).read_bytes()
    assert log_of(longer.folder) == log_of(whole.folder)
    last = (longer.folder / "last.safetensors").read_bytes()
    (longer.folder / "last.safetensors").unlink()  # as if it had been killed after its last training state
    assert train(resume=longer.folder, notify=lines.append).step == 9  # it has become a run of 3 epochs
    assert (longer.folder / "last.safetensors").read_bytes() == last
    assert "more epochs or minutes prolong it" in lines[-1]


def test_a_schedule_that_ends_with_the_run_rises_to_that_of_the_longer_one(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines: list[str] = []
    score(monkeypatch, [0.1, 0.1])
    optimizer = {"policy": "poly", "power": 1}
    train(recipe=recipe, out=tmp_path / "run", epochs=1, optimizer=optimizer, threads=1, notify=lines.append)
    longer = train(resume=tmp_path / "run", epochs=2, notify=lines.append)
    # After 3 of 3 steps 0; after 4 of 6 steps 2/6 of 0.003.
    assert "the learning rate goes on at 0.001 after 0" in "".join(lines)
    rates = [line["lr"] for line in RunFolder(longer.folder).lines("step")]
    np.testing.assert_allclose(rates, [0.002, 0.001, 0, 0.001, 0.0005, 0], atol=1e-12)


def test_a_run_of_minutes_is_prolonged_by_minutes(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clock, "time", SimpleNamespace(perf_counter=count(0.0).__next__))  # a second for each look
    score(monkeypatch, [0.1] * 9)
    first = train(recipe=recipe, out=tmp_path / "run", minutes=0.25, threads=1)
    lines: list[str] = []
    longer = train(resume=tmp_path / "run", minutes=0.5, notify=lines.append)
    assert longer.step > first.step
    assert "prolonged from 0.25 to 0.5 minutes: the learning rate follows the new time" in lines
    with pytest.raises(ConfigError, match=r"the run ends after 0\.5 minutes; give minutes to prolong it"):
        train(resume=tmp_path / "run", epochs=9)


def test_a_run_goes_on_where_its_files_now_are(recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    began, later = tmp_path / "began", tmp_path / "later"
    for folder in (began, later / "new"):
        folder.mkdir(parents=True)
    for name in ("shapes", "net.cfg", "small.toml"):
        (tmp_path / name).rename(began / name)
    monkeypatch.chdir(began)
    score(monkeypatch, [0.1, 0.2])
    whole = train(recipe="small.toml", out=tmp_path / "whole", epochs=2, threads=1)
    interrupted("small.toml", Path("run"), monkeypatch, [0.1], epochs=2)
    shutil.copytree("run", "elsewhere")

    monkeypatch.chdir(later)  # the working directory alone is another one
    score(monkeypatch, [0.2])
    assert train(resume=began / "elsewhere").step == 6

    monkeypatch.chdir(began)
    (began / "run").rename(later / "run")
    for name in ("shapes", "net.cfg"):
        (began / name).rename(later / "new" / name)
    with pytest.raises(DataError, match="shapes: file or folder not found"):
        train(resume=later / "run")
    with pytest.raises(ConfigError, match=r"net\.cfg"):
        train(later / "new" / "shapes", resume=later / "run")
    score(monkeypatch, [0.2])
    moved = train("../later/new/shapes", resume=later / "run", network={"name": "../later/new/net.cfg"})
    expected, got = (load_file(run.folder / "last.safetensors") for run in (whole, moved))
    assert moved.step == 6
    for name, values in expected.items():
        np.testing.assert_array_equal(got[name], values)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        ("p02", "the training images must be as when the run began; .*other differs"),
        ("p10", "the validation images must be as when the run began"),
    ],
)
def test_data_that_lie_elsewhere_are_those_that_the_run_began_with(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, image: str, message: str
) -> None:
    run = interrupted(recipe, tmp_path / "run", monkeypatch, [0.1])
    shutil.copytree(tmp_path / "shapes", tmp_path / "other")
    annotation = tmp_path / "other" / "Annotations" / f"{image}.xml"
    annotation.write_text(annotation.read_text().replace("<xmax>", "<xmax>1"))
    with pytest.raises((TrainingError, DataError)):
        train(tmp_path / "other", resume=run)
    annotation.write_text(annotation.read_text().replace("<xmax>1", "<xmax>").replace("red", "blue"))
    with pytest.raises(TrainingError, match=message):
        train(tmp_path / "other", resume=run)
    (tmp_path / "other" / "ImageSets" / "Main" / "train.txt").write_text("p01\np02\n")
    with pytest.raises(TrainingError, match="differs: 2 images, not 9"):
        train(tmp_path / "other", resume=run)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"optimizer": {"lr": 0.1}}, r"optimizer\.lr: a run is resumed with its own; data, start, .* may be given"),
        ({"batch": 9}, "batch: a run is resumed with its own"),
        ({"epochs": 3}, "epochs must be at least the 4 that the run has, got 3"),
        ({"minutes": 3}, "the run ends after 4 epochs; give epochs to prolong it"),
        ({"epochs": "many"}, "epochs"),
    ],
)
def test_a_run_keeps_its_recipe(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], message: str
) -> None:
    run = interrupted(recipe, tmp_path / "run", monkeypatch, [])
    before = (run / "run.json").read_bytes()
    with pytest.raises(ConfigError, match=message):
        train(resume=run, **changes)
    assert (run / "run.json").read_bytes() == before


def test_resume_takes_no_other_recipe(recipe: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="must be the folder of a run"):
        train(resume=tmp_path)
    with pytest.raises(ConfigError, match="resume continues a run with its own recipe"):
        train(recipe=recipe, resume=tmp_path)


def test_two_processes_do_not_train_in_one_folder(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = interrupted(recipe, tmp_path / "run", monkeypatch, [])
    with locked_folder(run), pytest.raises(ConfigError, match="another process writes into it"):
        train(resume=run)
    with locked_folder(tmp_path / "new"), pytest.raises(ConfigError, match="another process writes into it"):
        train(recipe=recipe, out=tmp_path / "new")


@pytest.mark.posix
def test_a_hangup_that_is_ignored_does_not_stop_a_training() -> None:
    """As ``nohup`` starts it; Ctrl-C stops what a shell runs in its background, deaf to it."""
    notes: list[str] = []
    state: Any = SimpleNamespace(signal=None, notify=notes.append)
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGHUP, signal.SIGINT)}
    try:
        with monitor.Monitor.signals_caught(state):
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
            signal.getsignal(signal.SIGINT)(signal.SIGINT, None)
        assert state.signal == signal.SIGINT
        assert {number: signal.getsignal(number) for number in before} == dict.fromkeys(before, signal.SIG_IGN)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def test_the_start_of_a_resumed_run_fits_as_many_layers(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which layers are transferred says which are frozen, and how fast they learn."""
    score(monkeypatch, [0.1])
    other = train(recipe=recipe, out=tmp_path / "other", threads=1, epochs=1)
    run = interrupted(recipe, tmp_path / "run", monkeypatch, [0.1, 0.2], start=str(other.best), epochs=2)
    shorter = small_architecture(2, passthrough=False)
    (tmp_path / "other.cfg").write_text(write_cfg(shorter))
    write_weights(tmp_path / "other.weights", random_model(shorter))
    (tmp_path / "other.names").write_text("blue\nred\n")
    with pytest.raises(TrainingError, match="start must be the model that the run began with, of which 12 layers fit"):
        train(resume=run, start=str(tmp_path / "other.cfg"))
    other.folder.rename(tmp_path / "moved")
    score(monkeypatch, [0.3])
    assert train(resume=run, start=str(tmp_path / "moved" / "best.safetensors")).step == 6


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
