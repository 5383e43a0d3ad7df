"""Files on this machine or at any URL that fsspec can open (``s3://``, ``gs://``, ``hdfs://``), and rows of Parquet."""

from __future__ import annotations

import io
import re
from bisect import bisect_right
from collections.abc import Iterator
from functools import lru_cache
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yolo9000.data.parquet_files import image_bytes, is_image_type
from yolo9000.errors import DataError, needs_extra
from yolo9000.io.files import reading

if TYPE_CHECKING:
    import pyarrow
    from pyarrow import parquet

__all__ = ["count_rows", "files_below", "is_folder", "is_url", "matches", "open_file", "read_row", "read_url"]

_URL = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)  # two letters at least: C:// is a drive


def is_url(path: str) -> bool:
    """Whether a path is a URL."""
    return _URL.match(path) is not None


def _file_system(url: str) -> tuple[Any, str]:
    """The file system of a URL, and the path in it."""
    with needs_extra("storage", "reading from URLs"):
        from fsspec.core import url_to_fs
    with reading(url):
        file_system, path = url_to_fs(url)
    return file_system, path


def open_file(path: str) -> io.IOBase:
    """Open a file or URL for reading at any position.

    Raises:
        DataError: it cannot be opened.
    """
    with reading(path):
        if not is_url(path):
            return Path(path).open("rb")
        file_system, inside = _file_system(path)
        opened: io.IOBase = file_system.open(inside, "rb")
        return opened


def matches(url: str) -> list[str]:
    """The files and folders that a URL with ``*`` stands for; one without stands for itself.

    Raises:
        DataError: they cannot be listed, or there are none.
    """
    if "*" not in url:
        return [url]
    file_system, pattern = _file_system(url)
    with reading(url):
        urls = [file_system.unstrip_protocol(path) for path in sorted(file_system.glob(pattern))]
    if not urls:
        raise DataError(f"{url}: must match at least one file, matches none")
    return urls


def is_folder(url: str) -> bool:
    """Whether a URL is that of a folder.

    Raises:
        DataError: there is nothing.
    """
    file_system, path = _file_system(url)
    with reading(url):
        return bool(file_system.info(path)["type"] == "directory")


def files_below(url: str) -> Iterator[tuple[str, str]]:
    """All files below the folder at a URL: the path relative to it, and the URL.

    Raises:
        DataError: they cannot be listed.
    """
    file_system, folder = _file_system(url)
    with reading(url):
        paths = file_system.find(folder)
    for path in paths:
        yield path.removeprefix(folder).lstrip("/"), file_system.unstrip_protocol(path)


def read_url(url: str, offset: int | None = None, length: int | None = None) -> bytes:
    """The contents of a URL, or some of its bytes.

    Raises:
        DataError: it cannot be read.
    """
    file_system, path = _file_system(url)
    end = None if offset is None or length is None else offset + length
    with reading(url):
        return bytes(file_system.cat_file(path, start=offset, end=end))


# --- Parquet. ---


def count_rows(path: str) -> int:
    """Number of rows of a Parquet file that has a column of encoded images.

    Raises:
        DataError: it cannot be read, or has no such column or several.
        EngineError: pyarrow is not installed.
    """
    opened = _opened(path)
    with reading(path):
        _image_column(path, opened.schema_arrow)
        return int(opened.metadata.num_rows)


def read_row(path: str, row: int) -> bytes:
    """The encoded image in a row of a Parquet file.

    The last row group is kept, since rows are read one after the other.

    Raises:
        DataError: it cannot be read.
    """
    opened = _opened(path)
    with reading(path):
        metadata = opened.metadata
        ends = list(accumulate(metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)))
        group = bisect_right(ends, row)
        first = ends[group - 1] if group else 0
        return image_bytes(_row_group(path, group)[row - first].as_py())


@lru_cache(maxsize=4)
def _opened(path: str) -> parquet.ParquetFile:
    with needs_extra("parquet", "reading Parquet"):
        from pyarrow import parquet
    with reading(path):  # a file on this machine is opened, and closed, by pyarrow itself
        return parquet.ParquetFile(open_file(path) if is_url(path) else path)


@lru_cache(maxsize=1)
def _row_group(path: str, group: int) -> pyarrow.ChunkedArray:
    opened = _opened(path)
    with reading(path):
        name = _image_column(path, opened.schema_arrow)
        return opened.read_row_group(group, columns=[name]).column(name)


def _image_column(path: str, schema: pyarrow.Schema) -> str:
    columns = [field.name for field in schema if is_image_type(field.type)]
    if len(columns) != 1:
        got = ", ".join(f"{field.name} ({field.type})" for field in schema)
        need = "one column of encoded images (binary, or a struct with binary bytes)"
        raise DataError(f"{path}: must have {need}, got {got}")
    return str(columns[0])
