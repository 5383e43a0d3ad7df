"""What works without extras, and what the others say that is missing."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from importlib.metadata import distribution
from pathlib import Path

import numpy as np
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from PIL import Image

ROOT = Path(__file__).parents[2]
EXTRAS = ("cv2", "fastapi", "faster_coco_eval", "jinja2", "matplotlib", "openvino", "torch")
PROGRAM = f"""
import sys
from importlib.machinery import PathFinder

class WithoutExtras(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.partition(".")[0] in {EXTRAS} else super().find_spec(name, path, target)

sys.meta_path = [WithoutExtras if finder is PathFinder else finder for finder in sys.meta_path]
from yolo9000.cli.app import run
for line in sys.stdin:
    print(run(line.split()), flush=True)
"""


def test_prediction_and_data_need_no_extra_and_others_name_theirs(tmp_path: Path) -> None:
    for part in ("images", "labels"):
        (tmp_path / "set" / part).mkdir(parents=True)
    rng = np.random.default_rng(0)
    for number in range(3):
        pixels = rng.integers(0, 255, (48, 64, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "set" / "images" / f"p{number}.png")
        (tmp_path / "set" / "labels" / f"p{number}.txt").write_text("0 0.5 0.5 0.25 0.5\n")
    (tmp_path / "set" / "classes.txt").write_text("person\n")
    (tmp_path / "clip.mp4").write_bytes(b"\0\0\0\x18ftypisom")
    works = (
        "predict set/images",
        "data check set -o check",
        "data split set",
        "anchors set --k 1",
        "info yolo9000-small",
    )
    needs = {
        "predict set/images --format html": "report",
        "predict clip.mp4": "video",
        "val yolo9000-small set": "val",
        "train set": "train",
        "curves runs/train": "train",
        "serve": "serve",
        "anchors set --k 1 --plot k.png": "report",
    }
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        input="\n".join([*works, *needs]),
        text=True,
        capture_output=True,
        cwd=tmp_path,
    )
    codes = [int(line) for line in done.stdout.splitlines() if line.isdecimal()]
    assert codes == [0] * len(works) + [2] * len(needs), done.stderr
    errors = [line for line in done.stderr.splitlines() if "needs an extra" in line]
    assert "no report.html" in errors[0]
    for line, extra in zip(errors[1:], needs.values(), strict=True):
        assert f'pip install "yolo9000[{extra}]"' in line, line
    assert (tmp_path / "check" / "report.json").exists()


def installed_bytes(requirements: list[str]) -> dict[str, int]:
    """Bytes of the files of each package that the requirements bring, with theirs."""
    sizes: dict[str, int] = {}
    waiting = [Requirement(text) for text in requirements]
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        if name in sizes or (requirement.marker and not requirement.marker.evaluate({"extra": ""})):
            continue
        package = distribution(requirement.name)
        sizes[name] = sum(
            path.stat().st_size for file in package.files or () if (path := Path(str(file.locate()))).exists()
        )
        waiting += [Requirement(text) for text in package.requires or ()]
    return sizes


def test_a_plain_installation_is_light() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    sizes = installed_bytes(project["dependencies"])
    assert not {"opencv-python-headless", "faster-coco-eval", "jinja2", "matplotlib", "openvino", "torch"} & set(sizes)
    own = sum(path.stat().st_size for path in (ROOT / "src").rglob("*") if path.suffix != ".pyc" and path.is_file())
    assert sum(sizes.values()) + own < 300e6, sizes
