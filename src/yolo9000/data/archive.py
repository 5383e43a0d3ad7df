"""Archives of data sets, unpacked once into a cache and then used like folders."""

from __future__ import annotations

import hashlib
import os
import shutil
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from yolo9000.data.files import is_hidden
from yolo9000.data.issues import IssueError, make_issue, shown

__all__ = ["cache_folder", "check_space", "is_archive", "unpack", "unpacked_once"]

_SUFFIXES = (".zip", ".tar", ".tgz", ".tar.gz", ".tar.bz2", ".tar.xz")
_CHUNK = 1 << 20
_SPARE_BYTES = 64 << 20  # that stay free on the disk


def is_archive(path: Path) -> bool:
    """Whether a file is an archive by its suffix."""
    return path.name.lower().endswith(_SUFFIXES)


def cache_folder() -> Path:
    """Where archives are unpacked: ``YOLO9000_CACHE`` if it is set, else below the user's own cache folder."""
    given = os.environ.get("YOLO9000_CACHE")
    if given:
        return Path(given)
    base = os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA") or Path.home() / ".cache"
    return Path(base) / "yolo9000"


def unpack(archive: Path) -> Path:
    """The folder with the contents of an archive, unpacked unless that was done before.

    Only plain files are unpacked, below the folder alone and never over one another; the sum of their sizes must fit
    on the disk. An archive that has changed since is unpacked again.

    Raises:
        DataError: it cannot be read, is damaged or encrypted; a member leads out of the folder; the disk is full.
    """
    return unpacked_once(archive, "archives", _unpack_into)


def unpacked_once(origin: Path, kind: str, fill: Callable[[Path, Path], None]) -> Path:
    """The folder in the cache for what a file holds, filled unless that was done before the file changed.

    Args:
        origin: the file.
        kind: name of the folder in the cache.
        fill: writes what a file holds into a folder.

    Raises:
        DataError: the file or the cache cannot be used; whatever ``fill`` raises.
    """
    target = cache_folder() / kind / _key(origin)
    if target.is_dir():
        return target
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(prefix=f"{target.name}.", dir=target.parent))
    except OSError as error:
        raise _problem(origin, f"{target.parent} cannot be written: {error.strerror}", "set YOLO9000_CACHE") from None
    try:
        fill(part, origin)
        with _quiet_race(target):
            part.rename(target)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return target


@contextmanager
def _quiet_race(target: Path) -> Iterator[None]:
    """Another process may have unpacked the same archive meanwhile."""
    try:
        yield
    except OSError:
        if not target.is_dir():
            raise


def _key(archive: Path) -> str:
    try:
        status = archive.stat()
    except OSError as error:
        raise _problem(archive, f"cannot be read: {error.strerror}", "correct its path or permissions") from None
    stamp = f"{archive.resolve()}\0{status.st_size}\0{status.st_mtime_ns}"
    return f"{archive.name.split('.')[0][:40]}-{hashlib.sha256(stamp.encode()).hexdigest()[:16]}"


def _unpack_into(folder: Path, archive: Path) -> None:
    try:
        if archive.name.lower().endswith(".zip"):
            with zipfile.ZipFile(archive) as opened:
                _unpack_zip(folder, opened, archive)
        else:
            with tarfile.open(archive) as opened_tar:
                _unpack_tar(folder, opened_tar, archive)
    except IssueError:
        raise
    except Exception as error:  # zipfile, tarfile and zlib raise whatever comes up
        suggestion = "download or write it again"
        raise _problem(archive, f"must be a whole archive: {str(error) or type(error).__name__}", suggestion) from None


def _unpack_zip(folder: Path, opened: zipfile.ZipFile, archive: Path) -> None:
    members = [member for member in opened.infolist() if not member.is_dir()]
    check_space(folder, sum(member.file_size for member in members), archive)
    for member in members:
        if member.flag_bits & 1:
            raise _problem(archive, f"must not be encrypted, {shown(member.filename)} is", "decrypt it first")
        _copy(folder, _name_of(member.filename), member.file_size, partial(opened.open, member), archive)


def _unpack_tar(folder: Path, opened: tarfile.TarFile, archive: Path) -> None:
    for member in opened:
        if member.isdir():
            continue
        if not member.isreg():
            suggestion = "write it again without links (tar --dereference)"
            raise _problem(archive, f"must hold plain files, {shown(member.name)} is a link or a device", suggestion)
        check_space(folder, member.size, archive)
        _copy(folder, member.name, member.size, partial(opened.extractfile, member), archive)


def _copy(folder: Path, name: str, size: int, open_member: Callable[[], Any], archive: Path) -> None:
    path = PurePosixPath(name)
    if any(is_hidden(part) for part in path.parts if part != ".."):
        return
    if not path.parts or path.is_absolute() or ".." in path.parts or ":" in path.parts[0]:
        raise _problem(archive, f"its members must stay in its folder, got {shown(name)}", "write it again")
    target = folder / path
    target.parent.mkdir(parents=True, exist_ok=True)
    source = open_member()
    if source is None or target.exists():
        raise _problem(archive, f"must hold each file once, holds {shown(name)} twice", "write it again")
    with source, target.open("xb") as out:
        _copy_limited(source, out, size, name, archive)


def _copy_limited(source: Any, out: BinaryIO, size: int, name: str, archive: Path) -> None:
    left = size
    while chunk := source.read(_CHUNK):
        left -= len(chunk)
        if left < 0:
            raise _problem(archive, f"{shown(name)} must be {size:,} bytes long, is longer", "write it again")
        out.write(chunk)
    if left:
        raise _problem(archive, f"{shown(name)} must be {size:,} bytes long, ends {left:,} earlier", "write it again")


def check_space(folder: Path, size: int, archive: Path) -> None:
    """Check that what is unpacked fits on the disk, and leaves some room.

    Args:
        folder: where to.
        size: in bytes.
        archive: the file that holds it, for the message.

    Raises:
        IssueError: ``archive-damaged``: it does not fit.
    """
    free = shutil.disk_usage(folder).free - _SPARE_BYTES
    if size > free:
        message = f"unpacking needs {size:,} bytes in {folder.parent}, {max(free, 0):,} are free"
        raise _problem(archive, message, "set YOLO9000_CACHE to a folder on a larger disk")


def _name_of(name: str) -> str:
    return name.replace("\\", "/")  # which some programs write on Windows


def _problem(archive: Path, message: str, suggestion: str) -> IssueError:
    return IssueError(make_issue("archive-damaged", archive, message, suggestion))
