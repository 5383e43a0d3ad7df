"""Checkpoints: whole or not at all."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from yolo9000.errors import TrainingError
from yolo9000.training.checkpoint import TrainingState, latest_state, save_state


def checkpoint(step: int) -> TrainingState:
    tensors = {
        "network.weight": torch.arange(24.0).reshape(2, 3, 2, 2).to(memory_format=torch.channels_last) + step,
        "half": torch.full((3,), step / 7, dtype=torch.bfloat16),
        "count": torch.tensor(step),
        "mask": torch.tensor([True, False]),
    }
    return TrainingState(step, tensors, {"seconds": step / 3, "best": {"map50": 0.1 * step}})


def assert_same(state: TrainingState | None, step: int) -> None:
    wanted = checkpoint(step)
    assert state is not None
    assert (state.step, state.state) == (wanted.step, wanted.state)
    assert state.tensors.keys() == wanted.tensors.keys()
    for name, value in wanted.tensors.items():
        assert state.tensors[name].dtype == value.dtype
        assert torch.equal(state.tensors[name], value)


def test_what_is_saved_comes_back(tmp_path: Path) -> None:
    assert latest_state(tmp_path / "none") is None
    save_state(tmp_path, checkpoint(5))
    assert_same(latest_state(tmp_path), 5)


def test_the_last_two_stay(tmp_path: Path) -> None:
    for step in (3, 9, 10, 200):
        save_state(tmp_path, checkpoint(step))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["00000010", "00000200"]
    assert_same(latest_state(tmp_path), 200)


def test_the_same_content_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        save_state(tmp_path / name, checkpoint(4))
    for file in ("tensors.safetensors", "state.json", "manifest.json"):
        assert (tmp_path / "a" / "00000004" / file).read_bytes() == (tmp_path / "b" / "00000004" / file).read_bytes()


def test_a_step_that_is_saved_again_replaces_itself(tmp_path: Path) -> None:
    save_state(tmp_path, TrainingState(4, {}, {"old": 1}))
    save_state(tmp_path, checkpoint(4))
    assert_same(latest_state(tmp_path), 4)


def test_nan_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        save_state(tmp_path, TrainingState(1, {}, {"best": float("nan")}))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("file", ["tensors.safetensors", "state.json", "manifest.json"])
def test_any_flipped_byte_is_noticed_and_the_one_before_is_taken(
    tmp_path: Path, file: str, caplog: pytest.LogCaptureFixture
) -> None:
    save_state(tmp_path, checkpoint(1))
    save_state(tmp_path, checkpoint(2))
    path = tmp_path / "00000002" / file
    data = path.read_bytes()
    for position in np.linspace(0, len(data) - 1, 20).astype(int):
        flipped = bytearray(data)
        flipped[position] ^= 0x11
        path.write_bytes(flipped)
        if file == "manifest.json" and _same_json(flipped, data):
            continue  # a blank became another
        caplog.clear()
        assert_same(latest_state(tmp_path), 1)
        assert f"{tmp_path / '00000002'}: is damaged and is skipped" in caplog.text


def _same_json(one: bytes, other: bytes) -> bool:
    try:
        return json.loads(one) == json.loads(other)
    except ValueError:
        return False


def test_where_all_are_damaged_it_says_so(tmp_path: Path) -> None:
    save_state(tmp_path, checkpoint(1))
    (tmp_path / "00000001" / "state.json").unlink()
    with pytest.raises(TrainingError, match="must have an intact checkpoint; all 1 are damaged"):
        latest_state(tmp_path)


def test_what_a_killed_run_left_is_swept_up(tmp_path: Path) -> None:
    save_state(tmp_path, checkpoint(1))
    (tmp_path / "00000002.part").mkdir()
    (tmp_path / "00000000.deleted").mkdir()
    assert_same(latest_state(tmp_path), 1)
    save_state(tmp_path, checkpoint(2))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["00000001", "00000002"]


@pytest.mark.parametrize("failing", ["fsync", "rename", "mkdir", "write"])
@pytest.mark.parametrize("at", [0, 1, 2])
def test_a_full_disk_leaves_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str, at: int
) -> None:
    save_state(tmp_path, checkpoint(1))
    calls = 0

    def fail(*_: object, **__: object) -> None:
        nonlocal calls
        calls += 1
        if calls > at:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return original(*_, **__)

    holder, name = {
        "fsync": (os, "fsync"),
        "rename": (Path, "rename"),
        "mkdir": (Path, "mkdir"),
        "write": (Path, "open"),
    }[failing]
    original = getattr(holder, name)
    monkeypatch.setattr(holder, name, fail)
    message = None
    try:
        save_state(tmp_path, checkpoint(2))
    except TrainingError as error:
        message = str(error)
    assert message is None or ("it needs" in message and "are free" in message)
    wanted = 2 if message is None else 1  # the failure may be due only after all was done
    monkeypatch.undo()
    assert_same(latest_state(tmp_path), wanted)
    save_state(tmp_path, checkpoint(3))
    assert_same(latest_state(tmp_path), 3)


@pytest.mark.posix
def test_on_a_disk_that_is_really_full_the_one_before_stays(tmp_path: Path) -> None:
    folder = tmp_path / "small"
    folder.mkdir()
    if (
        os.geteuid()
        or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "none", folder], check=False).returncode
    ):
        pytest.skip("a small file system cannot be mounted here")
    try:
        save_state(folder, TrainingState(1, {"a": torch.zeros(300_000)}, {}))
        with pytest.raises(TrainingError, match=r"No space left.*it needs 1,200,\d+ bytes"):
            save_state(folder, TrainingState(2, {"a": torch.ones(300_000)}, {}))
        state = latest_state(folder)
        assert state is not None
        assert state.step == 1
        assert [path.name for path in folder.iterdir()] == ["00000001"]
    finally:
        subprocess.run(["umount", folder], check=True)


SAVER = """
import sys, torch
from pathlib import Path
from yolo9000.training.checkpoint import TrainingState, latest_state, save_state
folder = Path(sys.argv[1])
state = latest_state(folder)
step = state.step if state else 0
assert state is None or (state.tensors["a"] == step).all()
print(step, flush=True)
while True:
    step += 1
    save_state(folder, TrainingState(step, {"a": torch.full((50_000,), step)}, {"step": step}))
    print(step, flush=True)
"""


@pytest.mark.posix
def test_killed_while_it_saves_it_finds_the_last_or_the_one_before(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    before = 0
    for _ in range(2):
        process = subprocess.Popen(
            [sys.executable, "-W", "error", "-c", SAVER, tmp_path], stdout=subprocess.PIPE, text=True, env=environment
        )
        assert process.stdout is not None
        step = int(process.stdout.readline())
        assert step >= before
        for _ in range(rng.integers(1, 9)):
            process.stdout.readline()
        process.send_signal(signal.SIGKILL)
        process.communicate()
        newest = latest_state(tmp_path)
        before = newest.step if newest else 0
    assert before > 2
    assert len([path for path in tmp_path.iterdir() if path.name.isdecimal()]) <= 3
    shutil.rmtree(tmp_path)
