"""The folder of a run.

``run.json``: the settings and the environment; ``metrics.jsonl``: a line for every step and every evaluation;
``results.csv``: a row for every evaluation; ``checkpoints/``; ``images/``; ``best.safetensors``, ``last.safetensors``;
``curves.png`` and ``report.html``; ``tensorboard/`` if TensorBoard is installed. Joint training also writes a
``pseudo-boxes-N.jsonl`` for each process: the box that was trained on each image-level label.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import logging
import math
import platform
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path, PurePath
from typing import Any, Literal

from yolo9000.data.soft_labels import SoftLabels
from yolo9000.errors import TrainingError
from yolo9000.io.documents import load_json, parse_json
from yolo9000.io.files import write_atomically
from yolo9000.training.git_state import git_commit
from yolo9000.training.tasks.base import PseudoBox
from yolo9000.types import Sample

__all__ = ["Kind", "RunFolder", "data_fingerprint"]

_log = logging.getLogger(__name__)

Kind = Literal["step", "metrics"]
PACKAGES = ("yolo9000", "torch", "numpy", "opencv-python-headless", "pillow", "safetensors")
FACTS, LOG, RESULTS, PSEUDO_BOX_LOGS = "run.json", "metrics.jsonl", "results.csv", "pseudo-boxes-*.jsonl"


class RunFolder:
    """The files of a run.

    Attributes:
        path: the folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._board: Any = None
        self._board_starts = 1  # TensorBoard drops what it has from this step on

    @property
    def checkpoints(self) -> Path:
        """Where checkpoints are."""
        return self.path / "checkpoints"

    @property
    def features(self) -> Path:
        """Where features are, if they are cached on disk."""
        return self.path / "features"

    @property
    def images(self) -> Path:
        """Where images of batches and of validation are."""
        return self.path / "images"

    def start(self, facts: Mapping[str, Any]) -> None:
        """Create the folder and write ``run.json``: the given facts, versions, machine, commit of the work tree.

        Raises:
            TrainingError: the folder holds a run already.
            OSError: it cannot be made.
        """
        if (self.path / FACTS).exists():
            raise TrainingError(f"{self.path}: already holds a run: give it to `resume`, or choose another `out`")
        self.images.mkdir(parents=True, exist_ok=True)
        surroundings = {
            "versions": {"python": platform.python_version(), **{name: _version(name) for name in PACKAGES}},
            "machine": {"system": platform.platform(), "cpu": platform.machine()},
            "git": git_commit(Path.cwd()),
        }
        self.write_facts({**facts, **surroundings})
        (self.path / LOG).touch()

    def write_facts(self, facts: Mapping[str, Any]) -> None:
        """Write ``run.json``.

        Raises:
            OSError: it cannot be written; what was there is untouched.
        """
        write_atomically(self.path / FACTS, json.dumps(facts, indent=1) + "\n")

    def facts(self) -> dict[str, Any]:
        """What ``run.json`` says.

        Raises:
            TrainingError: the folder holds no run.
        """
        try:
            facts = parse_json((self.path / FACTS).read_bytes(), self.path / FACTS, TrainingError)
        except OSError:
            raise TrainingError(f"{self.path}: must be the folder of a run; it has no {FACTS}") from None
        if not isinstance(facts, dict) or not _NEEDED.issubset(facts):
            raise TrainingError(f"{self.path / FACTS}: must be what a run wrote, with {', '.join(sorted(_NEEDED))}")
        return facts

    def log_step(self, step: int, values: Mapping[str, Any]) -> None:
        """Add the line of a step to the log, where it stays even if the process is killed; NaN and infinity are null.

        Args:
            step: number of the step.
            values: ``losses`` by name, and single values.
        """
        self._log({"kind": "step", "step": step, **values})
        single = {name: value for name, value in values.items() if name != "losses"}
        self._log_tensorboard("step", step, single | dict(values["losses"]))

    def log_metrics(self, step: int, epoch: float, seconds: float, metrics: Mapping[str, float]) -> None:
        """Add the line of an evaluation to the log."""
        self._log({"kind": "metrics", "step": step, "epoch": epoch, "seconds": seconds, "metrics": metrics})
        self._log_tensorboard("metrics", step, metrics)

    def _log(self, line: Mapping[str, Any]) -> None:
        with (self.path / LOG).open("a", encoding="utf-8") as log:
            log.write(json.dumps(_finite(line)) + "\n")

    def log_pseudo_boxes(self, rank: int, step: int, boxes: Iterable[PseudoBox]) -> None:
        """Add a line for each box that was trained on an image-level label."""
        lines = "".join(json.dumps({"step": step, **vars(box)}) + "\n" for box in boxes)
        if lines:
            with self._pseudo_box_log(rank).open("a", encoding="utf-8") as log:
                log.write(lines)

    def pseudo_boxes(self) -> list[dict[str, Any]]:
        """What `log_pseudo_boxes` wrote, by steps; of all processes. Damaged lines are skipped with a warning."""
        lines = [line for file in sorted(self.path.glob(PSEUDO_BOX_LOGS)) for line in _whole_lines(file, "image")]
        return sorted(lines, key=lambda line: line["step"])

    def _pseudo_box_log(self, rank: int) -> Path:
        return self.path / PSEUDO_BOX_LOGS.replace("*", str(rank))

    def lines(self, kind: Kind) -> list[dict[str, Any]]:
        """The lines of the log of a kind, without a last one that was cut off; damaged lines are skipped."""
        return [line for line in _whole_lines(self.path / LOG, "kind") if line["kind"] == kind]

    def rewind(self, step: int) -> None:
        """Drop what was logged after a step, so that a resumed run repeats and misses nothing.

        Damaged lines are dropped with a warning: the log is for reading, a run depends on its checkpoints alone.
        """
        for file, key in [(self.path / LOG, "kind"), *((file, "image") for file in self.path.glob(PSEUDO_BOX_LOGS))]:
            kept = [line for line in _whole_lines(file, key) if line["step"] <= step]
            write_atomically(file, "".join(json.dumps(line) + "\n" for line in kept))
        self.write_results()
        self._board_starts = step + 1

    def write_results(self) -> None:
        """Write ``results.csv`` from the log: time, mean losses since the last one, metrics of each evaluation."""
        steps, done, rows = self.lines("step"), 0, []
        for evaluation in self.lines("metrics"):
            upto = bisect_right(steps, evaluation["step"], key=lambda line: line["step"])
            rows.append(_result(evaluation, steps[done:upto]))
            done = upto
        text = io.StringIO()
        columns = dict.fromkeys([*_WHEN, *(name for row in rows for name in row)])
        writer = csv.DictWriter(text, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        write_atomically(self.path / RESULTS, text.getvalue())

    def _log_tensorboard(self, kind: Kind, step: int, values: Mapping[str, int | float]) -> None:
        if find_spec("tensorboard") is None:
            return
        if self._board is None:
            from torch.utils.tensorboard import SummaryWriter

            self._board = SummaryWriter(str(self.path / "tensorboard"), purge_step=self._board_starts)
        for name, value in values.items():
            self._board.add_scalar(f"{kind}/{name}", value, step)
        self._board.flush()  # what it buffers would be lost with the process


_NEEDED = {"recipe", "threads", "data"}  # what a resumed run reads
_WHEN = ("epoch", "step", "seconds", "lr")


def _whole_lines(file: Path, key: str) -> list[dict[str, Any]]:
    """The lines of a log, without a last one that was cut off and without damaged ones, of which it warns."""
    try:
        data = file.read_bytes()
    except FileNotFoundError:  # the run was killed before it could make the file
        return []
    lines = [_read_line(line, key) for line in data.split(b"\n")[:-1]]
    damaged = [str(number) for number, line in enumerate(lines, 1) if line is None]
    if damaged:
        shown = ", ".join(damaged[:5]) + (", ..." if len(damaged) > 5 else "")
        _log.warning("%s: %d damaged lines are skipped: %s", file, len(damaged), shown)
    return [line for line in lines if line is not None]


def _read_line(text: bytes, key: str) -> dict[str, Any] | None:
    """A line with its key first; None for what no run writes."""
    try:
        line = load_json(text)
        whole = _IS_WHOLE[key](line)
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    return {key: line[key], "step": line["step"], **line} if whole else None


def _is_log_line(line: Any) -> bool:
    match line:
        case {"kind": "step", "step": int(), "losses": {**values}, **others}:
            return all(map(_is_number, [*values.values(), *others.values()]))
        case {"kind": "metrics", "step": int(), "epoch": int() | float(), "seconds": int() | float(), **others}:
            metrics: Any = others["metrics"]
            return all(map(_is_number, metrics.values()))
    return False


def _is_pseudo_box(line: Any) -> bool:
    return isinstance(line["image"], str) and type(line["step"]) is int


def _is_number(value: Any) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))


_IS_WHOLE: dict[str, Callable[[Any], bool]] = {"kind": _is_log_line, "image": _is_pseudo_box}


def _result(evaluation: Mapping[str, Any], steps: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A row of the results: the time, the mean of every loss over the steps, the metrics."""
    last = steps[-1] if steps else {}
    when = {name: evaluation.get(name, last.get(name)) for name in _WHEN}
    names = dict.fromkeys(name for line in steps for name in line["losses"])
    losses = {f"mean_{name}": _mean_known([line["losses"].get(name) for line in steps]) for name in names}
    return {**when, **losses, **evaluation["metrics"]}


def _mean_known(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _finite(value: Any) -> Any:
    """The value with None for numbers that JSON does not have."""
    if isinstance(value, Mapping):
        return {name: _finite(part) for name, part in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def data_fingerprint(samples: Iterable[Sample], soft_labels: SoftLabels | None = None) -> str:
    """A hash over the images of a data set, in their order: file name, length in bytes, boxes and labels of each.

    Pixels are not read, so that it is fast even for many images.

    Raises:
        OSError: an image is not there.
    """
    digest = hashlib.sha256()
    for sample in samples:
        length = sample.image.length if sample.image.length is not None else sample.image.path.stat().st_size
        known = None if sample.boxes is None else len(sample.boxes)
        name = PurePath(sample.name).name  # a data set may move
        digest.update(repr((name, length, sample.image_labels, sample.source, known)).encode())
        if sample.boxes is not None:
            digest.update(sample.boxes.boxes_xyxy.tobytes() + sample.boxes.labels.tobytes())
            digest.update(sample.boxes.difficult.tobytes() + sample.boxes.crowd.tobytes())
    if soft_labels is not None and soft_labels.rows:
        digest.update(soft_labels.fingerprint.encode())
    return digest.hexdigest()
