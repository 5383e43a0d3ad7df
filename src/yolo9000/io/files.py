"""Files that are written whole or not at all."""

from __future__ import annotations

from pathlib import Path

__all__ = ["write_atomically"]


def write_atomically(path: Path, data: bytes | str) -> None:
    """Write a file; whoever reads it sees the old contents or the new, never a part, whatever happens meanwhile.

    Args:
        path: the file; what is there is replaced.
        data: its contents; text is written as UTF-8 with line feeds.

    Raises:
        OSError: it cannot be written; what was there is untouched.
    """
    part = path.with_name(path.name + ".part")
    try:
        part.write_bytes(data.encode() if isinstance(data, str) else data)
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
