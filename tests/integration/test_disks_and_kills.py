"""Commands killed, stopped or out of disk at random moments: nothing half-written looks whole, nothing is lost.

    make kills KILLS=20 DISKS=8

`YOLO9000_KILLS` is the number of kills of each command by each signal, `YOLO9000_DISKS` that of sizes of a disk for
each command. What is printed says how many there were and how they ended.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from support.forked import Forked
from support.small_data import write_voc_set
from support.small_models import small_architecture, write_flat
from support.training_runs import log_of

from yolo9000.checkpoints.darknet.cfg import write_cfg
from yolo9000.checkpoints.safetensors import read_checkpoint

pytestmark = [pytest.mark.battery, pytest.mark.posix]

KILLS = int(os.environ.get("YOLO9000_KILLS", "2"))
DISKS = int(os.environ.get("YOLO9000_DISKS", "2"))
FRAMES = 30

RECIPE = """
task = "detect"
data = "set"
epochs = 8
batch = 4
workers = 1
evaluate_every = 4
checkpoint_every = 2
[network]
name = "net.cfg"
size = [72, 48]
clusters = 2
"""
PREDICT = [
    "predict",
    "photos",
    "clip.mp4",
    "-m",
    "flat.cfg",
    "--engine",
    "onnxruntime",
    "-c",
    "0.05",
    "--max-detections",
    "5",
]
FORMATS = ["-f", "coco", "-f", "jsonl", "-f", "csv", "-f", "html", "-f", "darknet", "--crops"]
COMMANDS = {
    "predict": [*PREDICT, *FORMATS, "--out", "OUT"],
    "convert": ["data", "convert", "set", "--to", "coco", "--out", "OUT/set"],
    "export": ["export", "flat.cfg", "--out", "OUT/m.onnx"],
}
ON_DISKS = {
    **COMMANDS,
    "train": ["train", "--recipe", "small.toml", "workers=0", "--threads", "1", "--out", "OUT/run"],
    "val": ["val", "flat.cfg", "set", "--engine", "onnxruntime", "-f", "coco", "--out", "OUT"],
    "label": ["label", "photos", "-m", "flat.cfg", "--engine", "onnxruntime", "--copy", "--out", "OUT"],
    "track": ["track", "clip.mp4", "-m", "flat.cfg", "--engine", "onnxruntime", "--heat-map", "--out", "OUT"],
    "check": ["data", "check", "set", "--out", "OUT"],
}
ONE_LINE = ("No space left on device", "the disk full?", "cannot encode video there")
GROWING = {".jsonl", ".csv", ".txt"}
"""Files of lines have what there is so far."""


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the commands read."""
    folder = tmp_path_factory.mktemp("work")
    write_flat(folder, names=("blue", "red"))
    write_voc_set(folder / "set", train=9, val=5)
    (folder / "net.cfg").write_text(write_cfg(small_architecture(2)))
    (folder / "small.toml").write_text(RECIPE)
    rng = np.random.default_rng(0)
    (folder / "photos").mkdir()
    for number in range(12):
        pixels = rng.integers(0, 255, (60 + 3 * number, 90, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "photos" / f"{number:02}.png")
    writer = cv2.VideoWriter(str(folder / "clip.mp4"), cv2.VideoWriter.fourcc(*"mp4v"), 10, (96, 64))
    for _ in range(FRAMES):
        writer.write(rng.integers(0, 255, (64, 96, 3), dtype=np.uint8))
    writer.release()
    return folder


@pytest.fixture(scope="module")
def forked() -> Iterator[Forked]:
    server = Forked()
    yield server
    server.close()


def filled(words: list[str], out: Path) -> list[str]:
    return [word.replace("OUT", str(out)) for word in words]


def files_in(folder: Path) -> dict[str, bytes]:
    """What looks like a finished file, by its path in the folder."""
    paths = [path for path in folder.rglob("*") if path.is_file() and ".part" not in path.name]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths if path.name != ".yolo9000.lock"}


@dataclass
class Whole:
    """A command that nobody disturbed: what it left, and how long it took."""

    files: dict[str, bytes]
    seconds: float


@pytest.fixture(scope="module")
def whole(work: Path, forked: Forked) -> dict[str, Whole]:
    done = {}
    for name, words in [*COMMANDS.items(), *COMMANDS.items()]:  # the second time is that of the kills: all is in memory
        out = work / f"whole-{name}"
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir()
        started = time.monotonic()
        assert forked.run(filled(words, out), work, work / "log") == 0, (work / "log").read_text()
        done[name] = Whole(files_in(out), time.monotonic() - started)
        assert done[name].files
    return done


def send(process: int, kind: str) -> None:
    match kind:
        case "SIGSTOP":
            os.killpg(process, signal.SIGSTOP)
            time.sleep(0.2)
            os.killpg(process, signal.SIGCONT)
        case "SIGTERM to the group":
            os.killpg(process, signal.SIGTERM)
            os.kill(process, signal.SIGTERM)  # as timeout does
        case _:
            os.kill(process, getattr(signal, kind))


ENDS = {"SIGKILL": {0, -9}, "SIGTERM": {0, 143, -15}, "SIGTERM to the group": {0, 143, -15}, "SIGSTOP": {0}}
"""The exit codes; -15 is of a signal before the command began."""


def check_killed(out: Path, whole: Whole, kind: str) -> None:
    """All that looks whole is as in the undisturbed run, or as much of it as there was."""
    for name, data in files_in(out).items():
        expected, suffix = whole.files[name], Path(name).suffix
        if kind == "SIGSTOP":
            assert data == expected, name
        elif suffix == ".mp4" or (suffix == ".json" and kind != "SIGKILL"):
            check_shorter(out / name, expected)
        elif suffix == ".html":
            assert data.rstrip().endswith(b"</html>"), name
        elif suffix in GROWING:
            assert expected.startswith(data), name
        else:
            assert data == expected, name


def check_shorter(path: Path, expected: bytes) -> None:
    """A video that can be read, or JSON: the first part of what there would have been."""
    if path.suffix == ".json":
        shorter = json.loads(path.read_bytes())
        whole = json.loads(expected)
        assert shorter == (whole[: len(shorter)] if isinstance(whole, list) else whole), path
        return
    capture = cv2.VideoCapture(str(path))
    frames = 0
    while capture.read()[0]:
        frames += 1
    assert 0 < frames <= FRAMES
    assert frames == capture.get(cv2.CAP_PROP_FRAME_COUNT)


@pytest.mark.parametrize("kind", ENDS)
@pytest.mark.parametrize("name", COMMANDS)
def test_a_killed_command_leaves_nothing_half_written(
    name: str, kind: str, work: Path, forked: Forked, whole: dict[str, Whole], tmp_path: Path
) -> None:
    rng = np.random.default_rng([list(COMMANDS).index(name), list(ENDS).index(kind)])
    codes: Counter[int] = Counter()
    for number in range(KILLS):
        out, log = tmp_path / f"{number}", tmp_path / f"log-{number}"
        out.mkdir()
        process = forked.start(filled(COMMANDS[name], out), work, log)
        time.sleep(rng.uniform(0, whole[name].seconds))
        send(process, kind)
        code = forked.wait(process)
        codes[code] += 1
        text = log.read_text() if log.exists() else ""
        assert code in ENDS[kind], text
        assert "Traceback" not in text
        assert "internal error" not in text
        check_killed(out, whole[name], kind)
        shutil.rmtree(out)
    print(f"{name}, {kind}: {KILLS} kills, exit codes {dict(codes)}")


@pytest.fixture(scope="module")
def trained(work: Path, forked: Forked) -> Whole:
    started = time.monotonic()
    words = ["train", "--recipe", "small.toml", "--threads", "1", "--out", "whole-run"]
    assert forked.run(words, work, work / "log") == 0, (work / "log").read_text()
    files = {name: (work / "whole-run" / name).read_bytes() for name in ("best.safetensors", "last.safetensors")}
    return Whole(files, time.monotonic() - started)


@pytest.mark.parametrize("kind", ENDS)
def test_a_killed_training_ends_as_if_it_had_not_been(
    kind: str, work: Path, forked: Forked, trained: Whole, tmp_path: Path
) -> None:
    rng = np.random.default_rng(list(ENDS).index(kind))
    codes: Counter[int] = Counter()
    left, runs = KILLS, 0
    while left:
        out, log, runs = tmp_path / f"run-{runs}", tmp_path / f"log-{runs}", runs + 1
        start = ["train", "--recipe", "small.toml", "--threads", "1", "--out", out]
        for _ in range(min(left, 6)):
            process = forked.start(["train", "--resume", out] if (out / "run.json").exists() else start, work, log)
            time.sleep(rng.uniform(0, 0.8 * trained.seconds))
            send(process, kind)
            code = forked.wait(process)
            left, codes[code] = left - 1, codes[code] + 1
            assert code in ENDS[kind], log.read_text()
        assert forked.run(["train", "--resume", out] if (out / "run.json").exists() else start, work, log) == 0
        assert kind == "SIGKILL" or "Traceback" not in log.read_text()  # of a worker whose process has been killed
        for name, data in trained.files.items():
            assert (out / name).read_bytes() == data
        assert log_of(out) == log_of(work / "whole-run")
        assert not list(out.rglob("*.part"))
    print(f"train, {kind}: {KILLS} kills in {runs} runs, exit codes {dict(codes)}; all ended with the same bytes")


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Forked, Path]]:
    """A process that sees a disk of its own, and where the disk is for this one."""
    folder = tmp_path_factory.mktemp("disk")
    mount = f'mount -t tmpfs -o size=64m tmpfs "{folder}" && exec "$@"'
    prefix = ["unshare", *([] if os.getuid() == 0 else ["-r"]), "-m", "sh", "-c", mount, "sh"]
    if subprocess.run([*prefix, "true"], capture_output=True, check=False).returncode:
        pytest.skip("needs a file system of its own")
    server = Forked(prefix)
    server.resize(folder, 64 << 20)  # answered when the process has begun
    yield server, Path(f"/proc/{server.process.pid}/root{folder}")
    server.close()


@pytest.mark.parametrize("name", ON_DISKS)
def test_a_full_disk_is_an_error_and_what_was_there_stays(
    name: str, work: Path, disk: tuple[Forked, Path], tmp_path: Path
) -> None:
    forked, folder = disk
    inside = Path(str(folder).removeprefix(f"/proc/{forked.process.pid}/root"))
    words = filled(ON_DISKS[name], inside / "out")
    shutil.rmtree(folder / "out", ignore_errors=True)
    (folder / "out").mkdir()
    assert forked.run(words, work, tmp_path / "log") == 0, (tmp_path / "log").read_text()
    whole = files_in(folder / "out")
    used = sum(-(-len(data) // 4096) * 4096 for data in whole.values())
    shutil.rmtree(folder / "out")
    codes: Counter[int] = Counter()
    for number in range(DISKS):
        log = tmp_path / f"log-{number}"
        size = 4096 + int(used * (number + 0.5) / DISKS) // 4096 * 4096  # 4 KiB are the file that is there
        forked.resize(folder, size)
        (folder / "kept").write_bytes(b"kept")
        (folder / "out").mkdir()
        code = forked.run(words, work, log)
        codes[code] += 1
        text = log.read_text()
        assert code in (2, 3), text
        assert "Traceback" not in text
        assert "internal error" not in text
        assert "a file:" not in text
        assert any(words in text for words in ONE_LINE), text
        assert (folder / "kept").read_bytes() == b"kept"
        check_full(folder / "out", whole, training=name == "train")
        shutil.rmtree(folder / "out", ignore_errors=True)
        forked.resize(folder, 64 << 20)
    print(f"{name}: {DISKS} full disks of {used:,} bytes, exit codes {dict(codes)}")


def check_full(out: Path, whole: dict[str, bytes], *, training: bool) -> None:
    """What looks whole is, but for files that show what there is so far, and a run's images."""
    for name, data in files_in(out).items():
        suffix = Path(name).suffix
        if suffix == ".mp4" or (suffix == ".json" and isinstance(json.loads(data), list)):
            check_shorter(out / name, whole[name])
        elif suffix == ".safetensors" and "checkpoints" not in name:
            read_checkpoint(out / name)  # of another step than that of the end
        elif not training and suffix not in GROWING:
            assert len(data) == len(whole[name]), name
