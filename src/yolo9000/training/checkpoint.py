"""Training states on disk, written completely or not at all.

``checkpoints/00001234/`` holds ``tensors.safetensors``, ``state.json`` and ``manifest.json``, which has the length and
hash of both. It is written as ``00001234.part`` and renamed when all bytes are on the disk; then older ones go.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from yolo9000.errors import TrainingError
from yolo9000.io.documents import load_json

__all__ = ["TrainingState", "latest_state", "save_state"]

_log = logging.getLogger(__name__)

TENSORS, STATE, MANIFEST = "tensors.safetensors", "state.json", "manifest.json"
PART, DELETED = ".part", ".deleted"


@dataclass(frozen=True)
class TrainingState:
    """The state of a training after a step.

    Attributes:
        step: steps done.
        tensors: of the weights, the optimizer and the moving average, by name.
        state: plain values for JSON; floats are restored exactly.
    """

    step: int
    tensors: dict[str, Tensor]
    state: dict[str, Any]


def save_state(folder: Path, checkpoint: TrainingState, keep: int = 2) -> None:
    """Write a checkpoint, then delete all but the newest.

    Args:
        folder: of all checkpoints.
        checkpoint: to write.
        keep: number of checkpoints to keep.

    Raises:
        TrainingError: it cannot be written, e.g. because the disk is full; older ones are untouched.
    """
    files = {
        TENSORS: save({name: value.detach().cpu().contiguous() for name, value in sorted(checkpoint.tensors.items())}),
        STATE: json.dumps(checkpoint.state, allow_nan=False).encode(),
    }
    files[MANIFEST] = json.dumps({name: _fingerprint(data) for name, data in files.items()}, indent=1).encode()
    final = folder / f"{checkpoint.step:08}"
    part = final.with_name(final.name + PART)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(folder)
        part.mkdir()
        for name, data in files.items():
            _write(part / name, data)
        _flush_folder(part)
        if final.exists():
            _remove(final)
        part.rename(final)
        _flush_folder(folder)
    except OSError as error:
        shutil.rmtree(part, ignore_errors=True)
        needed = sum(map(len, files.values()))
        free = shutil.disk_usage(folder if folder.exists() else folder.parent).free
        raise TrainingError(
            f"{final}: the checkpoint cannot be written: {error.strerror or error}; it needs {needed:,} bytes, "
            f"{free:,} are free. The previous one is intact"
        ) from None
    for old in _steps(folder)[:-keep]:
        _remove(folder / f"{old:08}")


def latest_state(folder: Path) -> TrainingState | None:
    """The newest intact checkpoint; None if there is none. Damaged ones are skipped with a warning.

    Raises:
        TrainingError: there are checkpoints, but all of them are damaged.
    """
    steps = _steps(folder)
    for step in reversed(steps):
        path = folder / f"{step:08}"
        try:
            return _read(path, step)
        except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
            _log.warning("%s: is damaged and is skipped: %s", path, error)
    if steps:
        raise TrainingError(f"{folder}: must have an intact checkpoint; all {len(steps)} are damaged")
    return None


def _read(path: Path, step: int) -> TrainingState:
    manifest = load_json((path / MANIFEST).read_bytes())
    files = {name: (path / name).read_bytes() for name in (TENSORS, STATE)}
    for name, data in files.items():
        if manifest[name] != _fingerprint(data):
            raise ValueError(f"{name} differs from what was written")
    return TrainingState(step, load(files[TENSORS]), load_json(files[STATE]))


def _fingerprint(data: bytes) -> dict[str, Any]:
    return {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def _steps(folder: Path) -> list[int]:
    return sorted(int(path.name) for path in folder.glob("*") if path.name.isdecimal() and path.is_dir())


def _write(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _flush_folder(folder: Path) -> None:
    """Flush the names in a folder to the disk; Windows has no way to ask for it."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove(path: Path) -> None:
    """Delete a checkpoint, renamed first, so that a partial one never looks complete."""
    renamed = path.with_name(path.name + DELETED)
    path.rename(renamed)
    shutil.rmtree(renamed)


def _remove_leftovers(folder: Path) -> None:
    """Delete what a killed run left partly written or partly deleted."""
    for path in [*folder.glob(f"*{PART}"), *folder.glob(f"*{DELETED}")]:
        shutil.rmtree(path)
