"""Images and errors of sources in the order in which they come."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from yolo9000.errors import DataError
from yolo9000.io.images import Source
from yolo9000.io.sources import open_sources
from yolo9000.types import SourceImage


def opened(sources: Source | Iterable[Source], **options: int) -> Iterator[SourceImage | DataError]:
    """What `open_sources` gives, with each error that it reports in its position."""
    errors: list[DataError] = []
    return _merged(open_sources(sources, on_error=errors.append, **options), errors)


def _merged(images: Iterator[SourceImage], errors: list[DataError]) -> Iterator[SourceImage | DataError]:
    for image in images:
        while errors:
            yield errors.pop(0)
        yield image
    while errors:
        yield errors.pop(0)
