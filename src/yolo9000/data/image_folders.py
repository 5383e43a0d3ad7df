"""Which folder the images of an annotation file are in: that in which the images it names are found."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePath, PurePosixPath

from yolo9000.data.files import is_file
from yolo9000.data.image_files import hits_in
from yolo9000.data.listing import Listing

__all__ = ["NAMES_TRIED", "folder_of_images"]

NAMES_TRIED = 20
_FOLDERS_TRIED = 50
_USUAL = ("images", "data", "train", "val", "test", "img", "JPEGImages")


def folder_of_images(listing: Listing, file: str, names: Sequence[str], stem: str | None = None) -> tuple[str, int]:
    """The folder in which the images are that a file names, and how many of the names were found in it.

    Of several folders in which as many are found, the nearest to the file; where nothing is found, the likeliest.

    Args:
        listing: what is recognized.
        file: the annotation file, relative to its root.
        names: some names of images as the file has them.
        stem: name of the split in the name of the file; None takes that of the file.

    Returns:
        The folder, relative to the root; that of all files where the names are whole paths.
    """
    if names and all(PurePath(name).is_absolute() and is_file(Path(name)) for name in names):
        return Path(names[0]).anchor, len(names)
    path = PurePosixPath(file)
    folders = list(dict.fromkeys(map(posixpath.normpath, _possible(listing, path, stem or path.stem))))
    hits = [hits_in(listing.root / folder, names) for folder in folders]
    best = max(hits, default=0)
    if best:
        return folders[hits.index(best)], best
    return next((folder for folder in folders[1:] if (listing.root / folder).is_dir()), folders[0]), 0


def _possible(listing: Listing, file: PurePosixPath, stem: str) -> Iterator[str]:
    """Folders relative to the root, the nearest to the file first."""
    for above in (file.parent, file.parent / ".."):
        yield str(above)
        for name in (stem, "images", f"images/{stem}", *_USUAL):
            yield str(above / name)
        near = Listing(listing.root / above)
        for name in near.folders()[:_FOLDERS_TRIED]:
            yield str(above / name)
            yield from (str(above / name / below) for below in near.folders(name)[:_FOLDERS_TRIED])
