"""The images to label: listed once, in an order that does not depend on who lists them."""

from __future__ import annotations

import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from yolo9000.data.image_files import is_image, walk_images
from yolo9000.errors import ConfigError, DataError
from yolo9000.io.files import read_lines, reading
from yolo9000.types import ImageFile, Issue

__all__ = ["ListedImage", "list_images"]


class ListedImage(NamedTuple):
    """An image to label.

    Attributes:
        name: unique in the list: its path relative to the source that it was found in.
        file: where its pixels are.
    """

    name: str
    file: ImageFile


def list_images(sources: Iterable[str | Path]) -> list[ListedImage]:
    """The images of folders with all below them, of tar files and of ``.txt`` lists, and single images; sorted by name.

    Raises:
        ConfigError: there is no image.
        DataError: a source does not exist or cannot be read, or two images have one name.
    """
    listed: dict[str, ListedImage] = {}
    for source in sources:
        for image in _images_of(Path(source)):
            if image.name in listed:
                first = listed[image.name].file.path
                raise DataError(f"{image.file.path}: must have a name of its own, {first} is called {image.name} too")
            listed[image.name] = image
    if not listed:
        raise ConfigError("must hold at least one image, found none", argument="sources")
    return [listed[name] for name in sorted(listed)]


def _images_of(source: Path) -> Iterator[ListedImage]:
    with reading(str(source)):
        source.stat()
    if source.is_dir():
        for item in walk_images(source):
            if not isinstance(item, Issue):
                yield ListedImage(item.relative_to(source).as_posix(), ImageFile(item))
    elif source.suffix.lower() == ".txt":
        for line in filter(None, map(str.strip, read_lines(source))):
            yield ListedImage(line, ImageFile(source.parent / line))
    elif source.suffix.lower() == ".tar":
        yield from _images_in_tar(source)
    else:
        yield ListedImage(source.name, ImageFile(source))


def _images_in_tar(file: Path) -> Iterator[ListedImage]:
    try:
        with tarfile.open(file, "r:") as tar:
            for member in tar:
                if member.isfile() and is_image(Path(member.name)):
                    image = ImageFile(file, member.offset_data, member.size)
                    yield ListedImage(f"{file.stem}/{member.name}", image)
    except (tarfile.TarError, OSError) as error:
        raise DataError(f"{file}: cannot be read: {error}") from None
