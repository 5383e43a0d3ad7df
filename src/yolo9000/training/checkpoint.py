"""Training states on disk, whole or not at all.

``checkpoints/00001234/`` holds ``tensors.safetensors``, ``state.json`` and ``manifest.json``, which has the length and
hash of both. It is written as ``00001234.part`` and renamed when all its bytes are on the disk; then older ones go.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from yolo9000.errors import TrainingError

__all__ = ["TrainingState", "latest_state", "save_state"]

TENSORS, STATE, MANIFEST = "tensors.safetensors", "state.json", "manifest.json"
PART, GOING = ".part", ".going"


@dataclass(frozen=True)
class TrainingState:
    """Where a training stands.

    Attributes:
        step: steps done.
        tensors: weights, and what optimizer and running mean remember, by name.
        state: plain values for JSON; floats come back as they were.
    """

    step: int
    tensors: dict[str, Tensor]
    state: dict[str, Any]


def save_state(folder: Path, checkpoint: TrainingState, keep: int = 2) -> None:
    """Write a checkpoint, then delete all but the newest.

    Args:
        folder: of all checkpoints.
        checkpoint: what to write.
        keep: how many stay.

    Raises:
        TrainingError: it cannot be written, as when the disk is full; older ones are untouched.
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
        _remove_litter(folder)
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
            f"{free:,} are free. The one before it is whole"
        ) from None
    for old in _steps(folder)[:-keep]:
        _remove(folder / f"{old:08}")


def latest_state(folder: Path) -> TrainingState | None:
    """The newest checkpoint that is whole; None where there is none. Damaged ones are passed over, with a warning.

    Raises:
        TrainingError: there are checkpoints, but all of them are damaged.
    """
    steps = _steps(folder)
    for step in reversed(steps):
        path = folder / f"{step:08}"
        try:
            return _read(path, step)
        except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
            warnings.warn(f"{path}: is damaged and passed over: {error}", stacklevel=2)
    if steps:
        raise TrainingError(f"{folder}: must hold a whole checkpoint; all {len(steps)} there are damaged")
    return None


def _read(path: Path, step: int) -> TrainingState:
    manifest = json.loads((path / MANIFEST).read_bytes())
    files = {name: (path / name).read_bytes() for name in (TENSORS, STATE)}
    for name, data in files.items():
        if manifest[name] != _fingerprint(data):
            raise ValueError(f"{name} is not what was written")
    return TrainingState(step, load(files[TENSORS]), json.loads(files[STATE]))


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
    """Make sure that the names in a folder are on the disk; Windows has no way to ask for it."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove(path: Path) -> None:
    """Delete a checkpoint; under another name first, so that half of one never looks like one."""
    going = path.with_name(path.name + GOING)
    path.rename(going)
    shutil.rmtree(going)


def _remove_litter(folder: Path) -> None:
    """Delete what a run that was killed left half written or half deleted."""
    for path in [*folder.glob(f"*{PART}"), *folder.glob(f"*{GOING}")]:
        shutil.rmtree(path)
