"""The commit of a work tree, read from its files.

The program ``git`` is not run: it would run what the configuration of the folder names, such as ``core.fsmonitor`` or
filters, and a folder may come from a stranger.
"""

from __future__ import annotations

import re
from pathlib import Path

__all__ = ["git_commit"]

LONGEST = 1 << 20  # bytes read of a file
_COMMIT = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")


def git_commit(folder: Path) -> str | None:
    """The commit that is checked out in the work tree of a folder; None outside of one, or before a first commit.

    Args:
        folder: in the work tree, at any depth.
    """
    absolute = folder.absolute()
    for parent in (absolute, *absolute.parents):
        if (git := _git_folder(parent / ".git")) is not None:
            return _resolved(git, "HEAD")
    return None


def _git_folder(path: Path) -> Path | None:
    """The folder of a ``.git``, which is a file with its path in linked work trees and submodules."""
    if (path / "HEAD").is_file():
        return path
    text = _read(path)
    return path.parent / text.removeprefix("gitdir:").strip() if text.startswith("gitdir:") else None


def _resolved(git: Path, name: str, depth: int = 5) -> str | None:
    """The commit of a reference, through at most a few references to others."""
    common = _read(git / "commondir").strip()
    shared = git / common if common else git
    text = (_read(git / name) or _read(shared / name)).strip()
    if text.startswith("ref:") and depth:
        return _resolved(git, text.removeprefix("ref:").strip(), depth - 1)
    return text if _COMMIT.fullmatch(text) else _packed(shared, name)


def _packed(git: Path, name: str) -> str | None:
    for line in _read(git / "packed-refs").splitlines():
        commit, _, reference = line.partition(" ")
        if reference == name and _COMMIT.fullmatch(commit):
            return commit
    return None


def _read(path: Path) -> str:
    try:
        if not path.is_file():
            return ""
        with path.open(encoding="utf-8", errors="replace") as file:
            return file.read(LONGEST)
    except (OSError, ValueError):  # ValueError: a zero byte in the name
        return ""
