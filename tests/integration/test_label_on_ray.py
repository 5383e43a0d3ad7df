"""Labels made by workers of Ray that are killed, in a cluster on this machine."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from support.paths import ROOT

pytest.importorskip("ray")
pytestmark = [pytest.mark.battery, pytest.mark.posix]

# By default Ray lets workers wait for whatever else this machine does.
ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT / "src"), "RAY_worker_niceness": "0"}

POISON = """
import os, signal, sys
from pathlib import Path
from yolo9000.errors import EngineError
from yolo9000.labeling.images import list_images
from yolo9000.labeling.label import Labeler, LabelSettings
from yolo9000.labeling.on_ray import run_on_ray
from yolo9000.labeling.parts import Parts, Shard
from yolo9000.taxonomy.wordtree import WordTree

class Deadly:
    name, unknown = "deadly", {}

    def boxes(self, image, position):
        if image.name == "070.png":
            os.kill(os.getpid(), signal.SIGKILL)
        return []

def labeler():
    return Labeler([Deadly()], WordTree.from_parents([-1], ["thing"]), LabelSettings())

parts = Parts(Path(sys.argv[2]), list_images([sys.argv[1]]), {})
try:
    run_on_ray(labeler, parts, Shard(1, 1), workers=2)
except EngineError as error:
    print(error)
print("missing", parts.missing(Shard(1, 1)))
"""


def python(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *words], env=ENVIRONMENT, capture_output=True, text=True, check=False)


def printed(done: subprocess.CompletedProcess[str]) -> list[str]:
    """What the program printed, without what Ray says of workers."""
    assert done.returncode == 0, done.stdout + done.stderr
    return [line for line in done.stdout.splitlines() if "(raylet)" not in line]


def test_rows_are_those_of_one_process_though_a_worker_is_killed() -> None:
    done = python(ROOT / "benchmarks" / "scale.py", "--images", "600", "--shards", "3")
    runs = [line.split(" | ") for line in printed(done)[4:]]
    assert [run[0].lstrip("| ") for run in runs] == ["1 process", "3 shards", "Ray, 2 workers, 1 killed"]
    assert [run[3:6] for run in runs] == [runs[0][3:6]] * 3
    assert all(run[6:] == ["0", "0", "0 |"] for run in runs)
    assert int(runs[0][4].replace(",", "")) > 0


def test_an_image_that_ends_every_worker_costs_its_part_alone(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    for index in range(150):
        Image.new("RGB", (9, 6)).save(tmp_path / "images" / f"{index:03d}.png")
    done = python("-c", POISON, tmp_path / "images", tmp_path / "out")
    message, missing = printed(done)
    assert message.startswith("1 of 3 parts could not be made: 4 workers ended over each, the first")
    assert "begins with 064.png" in message
    assert missing == "missing [1]"
