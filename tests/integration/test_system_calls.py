"""What commands do to the machine: no connection, and no file outside the folders that they were given."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.small_data import Box, write_voc_set
from support.small_models import write_flat, write_tree_model

pytestmark = [pytest.mark.battery, pytest.mark.posix]

TRACED = "open,openat,creat,mkdir,mkdirat,rename,renameat,renameat2,link,symlink,unlink,unlinkat,connect,sendto"
WRITES = re.compile(r'(?:open|openat)\((?:AT_FDCWD, )?"([^"]*)", [^)]*O_(?:WRONLY|RDWR|CREAT)[^)]*\) = \d')
MAKES = re.compile(r'(?:creat|mkdir|mkdirat|rename|renameat2?|link|symlink)\((?:AT_FDCWD, )?"([^"]*)".*= 0')
CONNECTS = re.compile(r"(?:connect|sendto)\(.*sa_family=AF_INET6?")
NO_FILES = ("/dev/", "/proc/", "/sys/")

SMALL = "epochs=1 batch=2 accumulate=1 workers=0 network.width=0.05 network.size=[96,64] multi_scale=none"
COMMANDS = {
    "predict-openvino": "predict photo.jpg -m flat.cfg --engine openvino --out work/out -f html -f coco --crops",
    "predict-onnxruntime": "predict photo.jpg -m flat.cfg --engine onnxruntime --out work/out -f csv",
    "predict-torch": "predict photo.jpg -m flat.cfg --engine torch --no-save",
    "info": "info tree.cfg",
    "val": "val flat.cfg set --out work/val",
    "export-onnx": "export flat.cfg --out work/flat.onnx",
    "export-openvino": "export flat.cfg --to openvino --out work/flat.xml",
    "data-check": "data check set --out work/check",
    "data-convert": "data convert set --to coco --out work/coco",
    "tree-show": "tree show small.tree",
    "anchors": "anchors set",
    "train": f"train set --recipe small-detector --out work/run {SMALL}",
}


def boxes_of_many_sizes(number: int) -> list[Box]:
    """Two boxes, of sizes that no other image has."""
    return [("red", (2, 3, 12 + number, 20)), ("blue", (30, 5, 45, 20 + 2 * number))]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with what the commands read, where they run; an empty home, and a folder for temporary files."""
    write_flat(tmp_path, names=("blue", "red"))
    write_tree_model(tmp_path)
    write_voc_set(tmp_path / "set", boxes=boxes_of_many_sizes)
    pixels = np.random.default_rng(0).integers(0, 255, (60, 90, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.jpg")
    for name in ("home", "tmp", "work"):
        (tmp_path / name).mkdir()
    return tmp_path


@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")
@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_keeps_to_itself(name: str, folder: Path) -> None:
    trace = folder / "trace"
    # -B: Python itself writes no bytecode.
    python = [sys.executable, "-B", "-m", "yolo9000", *COMMANDS[name].split()]
    kept = {key: os.environ[key] for key in ("PATH", "LD_LIBRARY_PATH") if key in os.environ}
    environment = kept | {"HOME": str(folder / "home"), "TMPDIR": str(folder / "tmp")}
    environment |= {"PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        ["strace", "-f", "-qq", "-e", f"trace={TRACED}", "-o", str(trace), *python],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if "PTRACE" in done.stderr:
        pytest.skip("processes may not be traced here")
    assert done.returncode == 0, done.stderr
    calls = trace.read_text(errors="replace")
    assert "O_RDONLY" in calls
    assert not CONNECTS.findall(calls)
    touched = {Path(os.path.normpath(folder / path)) for path in WRITES.findall(calls) + MAKES.findall(calls)}
    outside = {
        path
        for path in touched
        if not path.is_relative_to(folder / "work")
        and not path.is_relative_to(folder / "tmp")
        and not str(path).startswith(NO_FILES)
    }
    assert not outside
    assert list((folder / "home").iterdir()) == []
    assert not [path for path in (folder / "tmp").rglob("*") if path.is_file()]  # torch leaves an empty folder
