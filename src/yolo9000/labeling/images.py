"""The images to label: listed once, in an order that does not depend on who lists them."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple, cast

from yolo9000.data.image_files import is_image, walk_images
from yolo9000.data.images import read_image_file
from yolo9000.errors import ConfigError, DataError
from yolo9000.io.files import read_lines, reading
from yolo9000.labeling import storage
from yolo9000.types import ImageFile, Issue

__all__ = ["ListedImage", "list_images"]


class ListedImage(NamedTuple):
    """An image to label, as values that JSON can hold.

    Attributes:
        name: unique in the list: its path relative to the source that it was found in.
        path: the file or URL of the image, or of the tar or Parquet file that holds it.
        offset: first byte of the image in a tar file.
        length: bytes of the image in a tar file.
        row: of a Parquet file.
    """

    name: str
    path: str
    offset: int | None = None
    length: int | None = None
    row: int | None = None

    @property
    def file(self) -> ImageFile | None:
        """Where its pixels are on this machine; None for an image at a URL or in a Parquet file."""
        if self.row is not None or storage.is_url(self.path):
            return None
        return ImageFile(Path(self.path), self.offset, self.length)

    def encoded(self) -> bytes | Path:
        """What `yolo9000.io.images.read_image` can decode.

        Raises:
            DataError: it cannot be read.
        """
        if self.row is not None:
            return storage.read_row(self.path, self.row)
        return read_image_file(self.file) if self.file else storage.read_url(self.path, self.offset, self.length)


def list_images(sources: Iterable[str | Path]) -> list[ListedImage]:
    """The images of sources, sorted by name.

    Args:
        sources: folders with all below them, ``.tar`` files, Parquet files with a column of encoded images, ``.txt``
            lists, single images; each also as a URL that fsspec can open, with ``*`` for several.

    Raises:
        ConfigError: there is no image.
        DataError: a source does not exist or cannot be read, or two images have one name.
        EngineError: a URL or a Parquet file is given without the extra ``storage``.
    """
    listed: dict[str, ListedImage] = {}
    for source in sources:
        for image in _images_of(str(source)):
            if image.name in listed:
                first = listed[image.name].path
                raise DataError(f"{image.path}: must have a name of its own, {first} is called {image.name} too")
            listed[image.name] = image
    if not listed:
        raise ConfigError("must hold at least one image, found none", argument="sources")
    return [listed[name] for name in sorted(listed)]


def _images_of(source: str) -> Iterator[ListedImage]:
    if storage.is_url(source):
        for url in storage.matches(source):
            yield from _images_below(url) if storage.is_folder(url) else _images_in(url)
        return
    with reading(source):
        is_folder = Path(source).stat() and Path(source).is_dir()
    yield from _images_in_folder(Path(source)) if is_folder else _images_in(source)


def _images_in_folder(folder: Path) -> Iterator[ListedImage]:
    for item in walk_images(folder):
        if not isinstance(item, Issue):
            yield ListedImage(item.relative_to(folder).as_posix(), str(item))


def _images_below(url: str) -> Iterator[ListedImage]:
    for name, file in storage.files_below(url):
        if is_image(PurePosixPath(name)):
            yield ListedImage(name, file)


def _images_in(file: str) -> Iterator[ListedImage]:
    """The images that a file or URL is, holds or lists."""
    path = PurePosixPath(file) if storage.is_url(file) else Path(file)
    match path.suffix.lower():
        case ".txt" if isinstance(path, Path):
            yield from _images_of_list(path)
        case ".tar":
            yield from _images_in_tar(file, path.stem)
        case ".parquet":
            rows = storage.count_rows(file)
            yield from (ListedImage(f"{path.stem}/{row:09d}", file, row=row) for row in range(rows))
        case _:
            yield ListedImage(path.name, file)


def _images_of_list(file: Path) -> Iterator[ListedImage]:
    for line in filter(None, map(str.strip, read_lines(file))):
        yield ListedImage(line, line if storage.is_url(line) else str(file.parent / line))


def _images_in_tar(file: str, stem: str) -> Iterator[ListedImage]:
    with reading(file), storage.open_file(file) as stream, _tar(stream) as tar:
        for member in tar:
            if member.isfile() and is_image(PurePosixPath(member.name)):
                yield ListedImage(f"{stem}/{member.name}", file, member.offset_data, member.size)


def _tar(stream: io.IOBase) -> tarfile.TarFile:
    return tarfile.open(fileobj=cast("IO[bytes]", stream), mode="r:")
