"""Reading text files, finding files that other files name, and writing files atomically."""

from __future__ import annotations

from pathlib import Path

from yolo9000.errors import DataError, YoloError

__all__ = ["find_beside", "read_lines", "read_text", "write_atomically"]

MAX_BYTES = 64_000_000  # far above any real text file; keeps a wrong file from filling the memory


def read_text(path: str | Path, error: type[YoloError] = DataError) -> str:
    """The contents of a text file in UTF-8, without a byte order mark.

    Raises:
        YoloError: of the given class: the file cannot be read, is too large or is not text.
    """
    path = Path(path)
    try:
        if path.stat().st_size > MAX_BYTES:
            raise error(f"{path}: must be a text file of at most {MAX_BYTES:,} bytes, got {path.stat().st_size:,}")
        text = path.read_text(encoding="utf-8-sig")
    except OSError as reason:
        raise error(f"{path}: cannot be read: {reason.strerror}") from None
    except UnicodeDecodeError:
        raise error(f"{path}: must be a text file in UTF-8, but contains bytes that are not text") from None
    if "\0" in text:
        raise error(f"{path}: must be a text file, but contains a zero byte")
    return text


def read_lines(path: str | Path, error: type[YoloError] = DataError) -> list[str]:
    """The lines of a text file, without line ends and without empty lines at its end.

    Raises:
        YoloError: of the given class: see `read_text`.
    """
    text = read_text(path, error)
    return text.rstrip().splitlines() if text.strip() else []


def find_beside(origin: Path, name: str, error: type[YoloError]) -> Path:
    """Find a file that another file names, as in ``tree=data/9k.tree``.

    Darknet looks from the working directory. Here the first match counts: the directory of the naming file, its parent
    (``cfg/`` and ``data/`` are siblings in Darknet), the working directory, and last the bare name beside that file.

    Raises:
        YoloError: of the given class, with the directories that were searched.
    """
    folder = origin.resolve().parent
    candidates = [folder / name, folder.parent / name, Path(name), folder / Path(name).name]
    for candidate in candidates:
        if _is_file(candidate):
            return candidate
    searched = ", ".join(dict.fromkeys(str(candidate.parent) for candidate in candidates))
    raise error(f"{origin}: file not found: {name[:80]!r} (searched {searched})")


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name that is too long, a directory that may not be entered
        return False


def write_atomically(path: Path, data: bytes | str) -> None:
    """Write a file so that readers see the old contents or the new, never a part, even if the program is killed.

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
