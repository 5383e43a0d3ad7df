"""The folder of a run: its log survives kills and resumes, results follow from the log, data are known again."""

from __future__ import annotations

import csv
import json
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from yolo9000.errors import TrainingError
from yolo9000.training.git_state import git_commit
from yolo9000.training.logging import RunFolder, data_fingerprint
from yolo9000.training.report import write_report
from yolo9000.types import BoxAnnotations, ImageFile, Sample

FACTS = {"recipe": {"task": "detect", "batch": 4}, "threads": 2, "data": "00ff", "seed": 7}


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    made = RunFolder(tmp_path / "run")
    made.start(FACTS)
    return made


def log_step(folder: RunFolder, step: int, total: float) -> None:
    values = {"epoch": step / 2, "seconds": 3.0 * step, "lr": 0.1 / step, "images": 4, "width": 96}
    folder.log_step(step, values | {"losses": {"total": total}})


def results_of(folder: RunFolder) -> list[dict[str, str]]:
    return list(csv.DictReader((folder.path / "results.csv").read_text().splitlines()))


def test_the_facts_come_back_with_versions_and_machine(folder: RunFolder) -> None:
    facts = folder.facts()
    assert {name: facts[name] for name in FACTS} == FACTS
    assert facts["versions"]["python"] == sys.version.split()[0]
    assert facts["versions"]["numpy"] == np.__version__
    assert facts["machine"]["system"]


def git(folder: Path, *words: str) -> str:
    identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
    return subprocess.run(["git", *identity, *words], cwd=folder, check=True, capture_output=True, text=True).stdout


def test_the_facts_tell_the_state_of_the_work_tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    git(tmp_path, "init")
    (tmp_path / "recipe.toml").write_text("epochs = 1\n")
    git(tmp_path, "add", "recipe.toml")
    git(tmp_path, "commit", "-m", "first")
    commit = git(tmp_path, "rev-parse", "HEAD").strip()
    run = RunFolder(tmp_path / "run")
    run.start(FACTS)
    assert run.facts()["git"] == commit


def test_outside_of_a_work_tree_a_run_starts_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    RunFolder(tmp_path / "run").start(FACTS)
    assert RunFolder(tmp_path / "run").facts()["git"] is None


def test_the_commit_is_read_wherever_git_keeps_it(tmp_path: Path) -> None:
    """In a reference, packed, in a linked work tree, detached, from a folder below; none before the first commit."""
    git(tmp_path, "init", "tree")
    tree = tmp_path / "tree"
    assert git_commit(tree) is None
    git(tree, "commit", "--allow-empty", "-m", "first")
    commit = git(tree, "rev-parse", "HEAD").strip()
    (tree / "a" / "b").mkdir(parents=True)
    assert git_commit(tree / "a" / "b") == commit
    git(tree, "worktree", "add", "-b", "other", "../linked")
    git(tree, "pack-refs", "--all")
    assert not (tree / ".git" / "refs" / "heads" / "other").exists()
    assert git_commit(tree) == git_commit(tmp_path / "linked") == commit
    git(tree, "checkout", "--detach")
    assert git_commit(tree) == commit


@pytest.mark.parametrize("head", ["", "ref: refs/heads/none", "ref: HEAD", "ref: \0", "abc", "ref: " + "x" * 5000])
def test_a_damaged_work_tree_has_no_commit(tmp_path: Path, head: str) -> None:
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "HEAD").write_text(head)
    assert git_commit(tmp_path) is None


@pytest.mark.posix
def test_no_program_of_the_folder_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A data set that was unpacked with its .git: `git status` would run its fsmonitor and its filters."""
    git(tmp_path, "init")
    hook = tmp_path / "hook.sh"
    hook.write_text(f"#!/bin/sh\ntouch '{tmp_path}/canary'\n")
    hook.chmod(0o755)
    (tmp_path / "a.txt").write_text("a")
    git(tmp_path, "add", "a.txt")
    git(tmp_path, "commit", "-m", "first")
    git(tmp_path, "config", "core.fsmonitor", str(hook))
    monkeypatch.chdir(tmp_path)
    git(tmp_path, "status")
    assert (tmp_path / "canary").exists()  # the trap works
    (tmp_path / "canary").unlink()
    RunFolder(tmp_path / "run").start(FACTS)
    assert RunFolder(tmp_path / "run").facts()["git"]
    assert not (tmp_path / "canary").exists()


def test_a_folder_holds_one_run(folder: RunFolder) -> None:
    before = (folder.path / "run.json").read_bytes()
    with pytest.raises(TrainingError, match=r"already holds a run: give it to `resume`, or choose another `out`"):
        RunFolder(folder.path).start(FACTS | {"seed": 8})
    assert (folder.path / "run.json").read_bytes() == before


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "must be the folder of a run; it has no run.json"),
        ("{", "must be JSON"),
        ("\ud800", "must be JSON"),
        ("[1]", "must be what a run wrote, with data, recipe, threads"),
        ('{"recipe": {}, "threads": 1}', "must be what a run wrote, with data, recipe, threads"),
    ],
)
def test_what_is_no_run_is_refused_in_one_line(tmp_path: Path, text: str | None, message: str) -> None:
    if text is not None:
        (tmp_path / "run.json").write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(TrainingError, match=message) as caught:
        RunFolder(tmp_path).facts()
    assert "\n" not in str(caught.value)


def test_the_log_has_kinds_and_null_for_what_is_no_number(folder: RunFolder) -> None:
    folder.log_step(1, {"losses": {"total": 0.1 + 0.2, "objectness": math.inf}})
    folder.log_metrics(1, 0.5, 3.0, {"map50": math.nan})
    assert folder.lines("step") == [{"kind": "step", "step": 1, "losses": {"total": 0.1 + 0.2, "objectness": None}}]
    assert folder.lines("metrics") == [
        {"kind": "metrics", "step": 1, "epoch": 0.5, "seconds": 3.0, "metrics": {"map50": None}}
    ]


@given(cut=st.integers(0, 10_000), step=st.integers(0, 6))
def test_rewinding_leaves_whole_lines_up_to_the_step_wherever_a_kill_cut_the_log(
    tmp_path_factory: pytest.TempPathFactory, cut: int, step: int
) -> None:
    folder = RunFolder(tmp_path_factory.mktemp("run") / "run")
    folder.start(FACTS)
    for number in range(1, 6):
        log_step(folder, number, number)
    log = folder.path / "metrics.jsonl"
    whole = log.read_bytes()
    log.write_bytes(whole[: cut % (len(whole) + 1)])
    left = log.read_bytes().count(b"\n")
    folder.rewind(step)
    assert [line["step"] for line in folder.lines("step")] == list(range(1, min(step, left) + 1))
    log_step(folder, step + 1, 0)  # goes on a line of its own
    assert folder.lines("step")[-1]["step"] == step + 1


def test_rewinding_without_a_log_is_rewinding_to_the_beginning(folder: RunFolder) -> None:
    (folder.path / "metrics.jsonl").unlink()
    folder.rewind(0)
    assert folder.lines("step") == []
    assert results_of(folder) == []


@pytest.mark.parametrize(
    "line",
    [
        "\0\0\0",
        "3",
        "{}",
        '{"kind": "step"}',
        '{"kind": "step", "step": 1, "losses": {"total": "x"}}',
        '{"kind": "metrics", "step": 1, "epoch": 1, "seconds": 1, "metrics": [1]}',
        '{"kind": "metrics", "step": 1, "epoch": 1, "seconds": 1, "metricr": {}}',
        "[" * 100_000,
    ],
)
def test_a_damaged_line_inside_the_log_is_skipped_with_a_warning(
    folder: RunFolder, line: str, caplog: pytest.LogCaptureFixture
) -> None:
    log_step(folder, 1, 2.0)
    with (folder.path / "metrics.jsonl").open("a") as log:
        log.write(line + "\n")
    log_step(folder, 2, 2.0)
    folder.rewind(2)
    assert caplog.messages == [f"{folder.path / 'metrics.jsonl'}: 1 damaged lines are skipped: 2"]
    assert [line["step"] for line in folder.lines("step")] == [1, 2]


@settings(max_examples=30, deadline=None)
@given(position=st.integers(0, 10**6), bit=st.integers(0, 7))
def test_whatever_bit_of_the_log_is_flipped_it_is_rewound(
    tmp_path_factory: pytest.TempPathFactory, position: int, bit: int
) -> None:
    folder = RunFolder(tmp_path_factory.mktemp("run") / "run")
    folder.start(FACTS)
    for step in range(1, 4):
        log_step(folder, step, 8.0 / step)
        folder.log_metrics(step, step / 2, 3.0 * step, {"map50": step / 10})
    log = folder.path / "metrics.jsonl"
    data = bytearray(log.read_bytes())
    data[position % len(data)] ^= 1 << bit
    log.write_bytes(data)
    folder.rewind(3)
    log_step(folder, 4, 2.0)
    assert folder.lines("step")[-1]["step"] == 4


def test_a_log_whose_lines_have_other_names_is_shown(folder: RunFolder) -> None:
    """One bit of a name makes another name."""
    log_step(folder, 1, 8.0)
    folder.log_step(2, {"losses": {"tntal": 3.0}, "epoci": 1.0, "seconds": None})
    folder.log_metrics(2, 1.0, 6.0, {"map50": 0.5})
    folder.log_metrics(2, 1.0, 6.0, {"map70": 0.5})
    folder.write_results()
    write_report(folder, "map50")
    assert [row["mean_total"] for row in results_of(folder)] == ["8.0", ""]


def test_results_hold_the_mean_losses_since_the_scoring_before(folder: RunFolder) -> None:
    for step, total in enumerate([8.0, 6.0, math.nan, 3.0, 1.0], 1):
        log_step(folder, step, total)
        if step in (2, 5):
            folder.log_metrics(step, step / 2, 3.0 * step + 1, {"map50": step / 10})
    folder.write_results()
    first, second = results_of(folder)
    # (8 + 6) / 2; then (3 + 1) / 2, for what is no number does not count. The rate is that of the last step: 0.1 / step
    assert first == {"epoch": "1.0", "step": "2", "seconds": "7.0", "lr": "0.05", "mean_total": "7.0", "map50": "0.2"}
    assert second == {
        "epoch": "2.5", "step": "5", "seconds": "16.0", "lr": "0.02", "mean_total": "2.0", "map50": "0.5",
    }  # fmt: skip


def test_results_go_back_with_the_log(folder: RunFolder) -> None:
    for step in (1, 2):
        log_step(folder, step, 1.0)
        folder.log_metrics(step, float(step), float(step), {"map50": 0.5})
    folder.write_results()
    folder.rewind(1)
    assert [row["step"] for row in results_of(folder)] == ["1"]


class Board:
    """Stands in for TensorBoard's writer."""

    def __init__(self, folder: str, purge_step: int) -> None:
        self.made = (folder, purge_step)
        self.logged: list[tuple[str, float, int]] = []
        self.flushed = 0
        BOARDS.append(self)

    def add_scalar(self, name: str, value: float, step: int) -> None:
        self.logged.append((name, value, step))

    def flush(self) -> None:
        self.flushed = len(self.logged)


BOARDS: list[Board] = []


def test_tensorboard_logs_where_it_is_installed(
    folder: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tensorboard").mkdir()
    (tmp_path / "tensorboard" / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    fake: Any = ModuleType("torch.utils.tensorboard")
    fake.SummaryWriter = Board
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", fake)
    BOARDS.clear()
    folder.rewind(4)
    folder.log_step(5, {"losses": {"total": 1.5}, "lr": 0.1})
    folder.log_metrics(5, 1.0, 9.0, {"map50": 0.25})
    (board,) = BOARDS
    assert board.made == (str(folder.path / "tensorboard"), 5)  # steps logged from 5 on are void
    assert board.logged == [("step/lr", 0.1, 5), ("step/total", 1.5, 5), ("metrics/map50", 0.25, 5)]
    assert board.flushed == 3


@pytest.fixture
def samples(tmp_path: Path) -> list[Sample]:
    """An image with two boxes, one with a label, one in a tar file with nothing known."""
    for name, length in (("a", 3), ("b", 5)):
        (tmp_path / name).write_bytes(b"x" * length)
    boxes = BoxAnnotations.plain(np.array([[1, 2, 30, 20], [4, 5, 6, 9]], np.float32), np.array([0, 4], np.int64))
    return [
        Sample("a", ImageFile(tmp_path / "a"), "a.xml", (300, 200), boxes),
        Sample("b", ImageFile(tmp_path / "b"), "b.xml", (300, 200), None, (1, 2)),
        Sample("c", ImageFile(tmp_path / "all.tar", 512, 77), "all.tar", (30, 20)),
    ]


def test_a_fingerprint_is_of_the_data_not_of_their_location(samples: list[Sample], tmp_path: Path) -> None:
    moved = []
    for sample in samples:
        path = tmp_path / "elsewhere" / sample.image.path.name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"y" * (sample.image.length or sample.image.path.stat().st_size))
        moved.append(replace(sample, image=replace(sample.image, path=path), where="elsewhere"))
    assert data_fingerprint(moved) == data_fingerprint(samples)
    assert len(data_fingerprint(samples)) == 64


def _with_boxes(samples: list[Sample], **changed: np.ndarray) -> list[Sample]:
    assert samples[0].boxes is not None
    return [replace(samples[0], boxes=replace(samples[0].boxes, **changed)), *samples[1:]]


CHANGES = {
    "an image is missing": lambda all_: all_[:-1],
    "another order": lambda all_: [all_[1], all_[0], all_[2]],
    "a name": lambda all_: [replace(all_[0], name="A"), *all_[1:]],
    "a length": lambda all_: [*all_[:2], replace(all_[2], image=replace(all_[2].image, length=78))],
    "an image-level label": lambda all_: [all_[0], replace(all_[1], image_labels=(1,)), all_[2]],
    "a source": lambda all_: [all_[0], replace(all_[1], source=1), all_[2]],
    "no boxes drawn, not: no objects": lambda all_: [
        *all_[:2],
        replace(all_[2], boxes=BoxAnnotations.plain(np.empty((0, 4), np.float32), np.empty(0, np.int64))),
    ],
    "a corner": lambda all_: _with_boxes(all_, boxes_xyxy=all_[0].boxes.boxes_xyxy + np.float32(0.5)),
    "a class": lambda all_: _with_boxes(all_, labels=np.array([0, 3], np.int64)),
    "a difficult box": lambda all_: _with_boxes(all_, difficult=np.array([True, False])),
    "a crowd": lambda all_: _with_boxes(all_, crowd=np.array([True, False])),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_a_fingerprint_tells_what_training_depends_on(samples: list[Sample], change: Any) -> None:
    assert data_fingerprint(change(samples)) != data_fingerprint(samples)


def test_a_image_that_grew_changes_the_fingerprint(samples: list[Sample]) -> None:
    before = data_fingerprint(samples)
    samples[0].image.path.write_bytes(b"xxxx")
    assert data_fingerprint(samples) != before


def test_facts_are_plain_json(folder: RunFolder) -> None:
    assert json.loads((folder.path / "run.json").read_text())["seed"] == 7
