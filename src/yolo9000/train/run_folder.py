"""The folder of a run.

``run.json`` what it began with; ``metrics.jsonl`` a line for every step and every score; ``results.csv`` a row for
every score; ``checkpoints/``; ``pictures/``; ``best.safetensors``, ``last.safetensors``; ``curves.png`` and
``report.html``; for TensorBoard, where it is installed, ``tensorboard/``.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
import platform
import subprocess
from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from yolo9000.atomic import write_atomically
from yolo9000.errors import TrainingError
from yolo9000.records import Sample

__all__ = ["Kind", "RunFolder", "data_fingerprint"]

Kind = Literal["step", "scores"]
PACKAGES = ("yolo9000", "torch", "numpy", "opencv-python-headless", "pillow", "safetensors")
LOG = "metrics.jsonl"


class RunFolder:
    """What a run leaves.

    Attributes:
        path: the folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._board: Any = None

    @property
    def checkpoints(self) -> Path:
        """Where checkpoints are."""
        return self.path / "checkpoints"

    @property
    def pictures(self) -> Path:
        """Where pictures of batches and of validation are."""
        return self.path / "pictures"

    def start(self, facts: Mapping[str, Any]) -> None:
        """Make the folder and write ``run.json``: the given facts, versions, machine, and the state of the work tree.

        Raises:
            TrainingError: the folder holds a run already.
        """
        if (self.path / "run.json").exists():
            raise TrainingError(
                f"{self.path}: holds a run already: go on with --resume {self.path}, or name another --out"
            )
        self.pictures.mkdir(parents=True, exist_ok=True)
        surroundings = {
            "versions": {"python": platform.python_version(), **{name: _version(name) for name in PACKAGES}},
            "machine": {"system": platform.platform(), "processor": platform.processor() or platform.machine()},
            "git": _git_state(),
        }
        write_atomically(self.path / "run.json", json.dumps({**facts, **surroundings}, indent=1) + "\n")
        (self.path / LOG).touch()

    def facts(self) -> dict[str, Any]:
        """What ``run.json`` says.

        Raises:
            TrainingError: the folder holds no run.
        """
        try:
            facts = json.loads((self.path / "run.json").read_text(encoding="utf-8"))
            return {key: facts[key] for key in (*_NEEDED, *facts)}
        except OSError:
            raise TrainingError(f"{self.path}: must be the folder of a run; it has no run.json") from None
        except (ValueError, KeyError, TypeError) as error:
            raise TrainingError(f"{self.path / 'run.json'}: must be what a run wrote: {error}") from None

    def log(self, kind: Kind, step: int, values: Mapping[str, int | float]) -> None:
        """Add a line to the log; numbers that are none are null."""
        line = {"kind": kind, "step": step, **{name: _finite(value) for name, value in values.items()}}
        with (self.path / LOG).open("a", encoding="utf-8") as log:
            log.write(json.dumps(line) + "\n")
        self._tell_tensorboard(kind, step, values)

    def lines(self, kind: Kind) -> list[dict[str, Any]]:
        """The lines of the log of a kind; a last one that was cut off is left out."""
        return [line for line in self._whole_lines() if line["kind"] == kind]

    def rewind(self, step: int) -> None:
        """Drop all lines of the log after a step, so that a resumed run neither repeats nor misses any."""
        kept = [line for line in self._whole_lines() if line["step"] <= step]
        write_atomically(self.path / LOG, "".join(json.dumps(line) + "\n" for line in kept))

    def write_results(self) -> None:
        """Write ``results.csv``: for each score the epoch, the mean losses since the one before, and the scores."""
        rows, since = [], 0
        steps = self.lines("step")
        for scores in self.lines("scores"):
            between = [line for line in steps if since < line["step"] <= scores["step"]]
            since = scores["step"]
            rows.append({name: value for name, value in scores.items() if name != "kind"} | _mean_of(between))
        text = io.StringIO()
        writer = csv.DictWriter(text, list(rows[0]) if rows else ["step"], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        write_atomically(self.path / "results.csv", text.getvalue())

    def _whole_lines(self) -> list[dict[str, Any]]:
        try:
            text = (self.path / LOG).read_text(encoding="utf-8")
        except OSError:
            return []
        return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]

    def _tell_tensorboard(self, kind: Kind, step: int, values: Mapping[str, int | float]) -> None:
        if find_spec("tensorboard") is None:
            return
        if self._board is None:
            from torch.utils.tensorboard import SummaryWriter

            self._board = SummaryWriter(str(self.path / "tensorboard"))
        for name, value in values.items():
            self._board.add_scalar(f"{kind}/{name}", value, step)


_NEEDED = ("recipe", "threads", "data")  # what a resumed run reads
_TIMES = ("kind", "step", "epoch", "seconds", "pictures", "width", "height")


def _mean_of(lines: list[dict[str, Any]]) -> dict[str, float]:
    names = [name for name in (lines[0] if lines else {}) if name not in _TIMES]
    return {f"mean {name}": sum(line[name] for line in lines) / len(lines) for name in names}


def _finite(value: int | float) -> int | float | None:
    return value if math.isfinite(value) else None


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _git_state() -> dict[str, Any] | None:
    """Commit and cleanness of the work tree that the run was started in; None where there is none."""
    try:
        commit, changes = (
            subprocess.run(["git", *words], capture_output=True, text=True, check=True, timeout=10).stdout  # noqa: S603, S607
            for words in (["rev-parse", "HEAD"], ["status", "--porcelain", "--untracked-files=no"])
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return {"commit": commit.strip(), "clean": not changes.strip()}


def data_fingerprint(samples: Iterable[Sample]) -> str:
    """A hash over the pictures of a data set and what is known of them, in their order: names, lengths, labels."""
    digest = hashlib.sha256()
    for sample in samples:
        length = sample.picture.length if sample.picture.length is not None else sample.picture.path.stat().st_size
        digest.update(f"{sample.name} {length} {sample.image_labels} {sample.source}\n".encode())
        if sample.boxes is not None:
            digest.update(sample.boxes.boxes_xyxy.tobytes() + sample.boxes.labels.tobytes())
            digest.update(sample.boxes.difficult.tobytes() + sample.boxes.crowd.tobytes())
    return digest.hexdigest()
