"""Files: read and found with one line of error, written whole or not at all."""

from __future__ import annotations

import difflib
import io
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path

from yolo9000.errors import ConfigError, DataError, YoloError

__all__ = [
    "check_file",
    "find_beside",
    "locked_folder",
    "one_line",
    "open_file",
    "read_lines",
    "read_text",
    "reading",
    "reason",
    "replacing",
    "without_password",
    "write_atomically",
    "writing",
]

MAX_TEXT_BYTES = 64_000_000  # far above any real text file; keeps a wrong file from filling the memory
_NAMES_TO_COMPARE = 2000  # a suggestion is not worth reading a folder of a million names for
_MAX_MESSAGE = 600
_CREDENTIALS = re.compile(r"(?<=://)[^/?#\s]*@")

_NO_FILES = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device (a camera is named camera:0)",
    stat.S_IFBLK: "a device",
}


def read_text(path: str | Path, error: type[YoloError] = DataError) -> str:
    """The contents of a text file in UTF-8, without a byte order mark.

    Raises:
        YoloError: of the given class: the file cannot be read, is too large or is not text.
    """
    path = Path(path)
    try:
        if path.stat().st_size > MAX_TEXT_BYTES:
            raise error(f"{path}: must be a text file of at most {MAX_TEXT_BYTES:,} bytes, got {path.stat().st_size:,}")
        text = path.read_text(encoding="utf-8-sig")
    except OSError as problem:
        raise error(f"{path}: cannot be read: {reason(problem)}") from None
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
    with replacing(path) as part:
        part.write_bytes(data.encode() if isinstance(data, str) else data)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A file to write instead, which takes the path's place once all of it is written; see `write_atomically`."""
    part = path.with_name(path.name + ".part")
    try:
        yield part
        part.replace(path)
    except BaseException as error:
        part.unlink(missing_ok=True)
        if isinstance(error, OSError) and (error.filename is None or error.filename2 is not None):
            error.filename, error.filename2 = str(path), None  # a full disk's names none, or what was copied
        raise


@contextmanager
def locked_folder(folder: Path) -> Iterator[None]:
    """Make a folder and keep other processes of this package from writing into it; one that stays empty is removed.

    Raises:
        ConfigError: another process writes into it.
        DataError: it cannot be made.
    """
    from filelock import FileLock, Timeout

    lock, is_new = FileLock(folder / ".yolo9000.lock", timeout=0), not folder.exists()
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire()
        except Timeout:
            raise ConfigError(f"{folder}: another process writes into it", argument="out") from None
    try:
        yield
    finally:
        Path(lock.lock_file).unlink(missing_ok=True)
        lock.release()
        if is_new:
            with suppress(OSError):
                folder.rmdir()


@contextmanager
def writing(path: object) -> Iterator[None]:
    """Raise an `OSError`, or what Pillow raises of a suffix, as a `DataError`: ``PATH: cannot be written: REASON``."""
    try:
        yield
    except BrokenPipeError:  # the reader of the output has gone, which is not an error
        raise
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be written: {reason(error)}") from error


@contextmanager
def reading(name: object, problem: str = "cannot be read") -> Iterator[None]:
    """Raise any error of the library that reads as a `DataError`: ``NAME: cannot be read: REASON``.

    Pillow, OpenCV and urllib raise many kinds of errors; the user gets one line about the input.

    Args:
        name: what is read.
        problem: what an error means.
    """
    try:
        yield
    except DataError:
        raise
    except Exception as error:
        raise one_line(str(name), f"{problem}: {reason(error)}") from error


def open_file(path: Path, name: str, max_bytes: int) -> io.BufferedReader:
    """Open a regular file of limited size.

    Raises:
        DataError: see `check_file`.
    """
    check_file(path, name, max_bytes)
    with reading(name):
        return path.open("rb")


def check_file(path: Path, name: str, max_bytes: int | None = None) -> None:
    """Check that a path leads to a regular file that is neither empty nor too large.

    Raises:
        DataError: it does not; if the file is not found, with the nearest name.
    """
    try:
        status = path.stat()
    except FileNotFoundError:
        raise one_line(name, f"file not found{_why_missing(path)}") from None
    except (OSError, ValueError) as error:
        raise one_line(name, f"cannot be read: {reason(error)}") from error
    if not stat.S_ISREG(status.st_mode):  # to open a pipe would wait for a writer
        raise one_line(name, f"must be a file, got {_NO_FILES.get(stat.S_IFMT(status.st_mode), 'something else')}")
    if status.st_size == 0:
        raise one_line(name, "empty file")
    if max_bytes is not None and status.st_size > max_bytes:
        raise one_line(name, f"must be at most {max_bytes:,} bytes long, got {status.st_size:,}")


def _why_missing(path: Path) -> str:
    with suppress(OSError):
        if path.is_symlink():
            return f": a link to {path.readlink()}, which does not exist"
        if not path.parent.is_dir():
            return f": there is no folder {path.parent}"
        others = islice(path.parent.iterdir(), _NAMES_TO_COMPARE)
        names = {other.name.casefold(): other.name for other in others}
        if near := difflib.get_close_matches(path.name.casefold(), names, n=1):
            return f" (did you mean {names[near[0]]}?)"
    return ""


def reason(error: Exception) -> str:
    """What an error of a library says, without the path that an `OSError` repeats."""
    if isinstance(error, FileExistsError):  # "File exists", which a folder cannot be made for
        return "must be a folder, is a file"
    return (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__


def without_password(text: str) -> str:
    """The text with URLs that have no user and password.

    >>> without_password("rtsp://admin:secret@host/1: cannot be opened")
    'rtsp://host/1: cannot be opened'
    """
    return _CREDENTIALS.sub("", text)


def one_line(name: str, problem: str) -> DataError:
    """A `DataError` of one line of limited length that any terminal can print, whatever the names of files are."""
    message = without_password(f"{name}: {problem}")
    if len(message) > _MAX_MESSAGE:
        message = f"{message[: _MAX_MESSAGE // 2]} ... {message[-_MAX_MESSAGE // 2 :]}"
    return DataError("".join(c if c.isprintable() else repr(c)[1:-1] for c in message))
