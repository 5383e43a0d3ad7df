"""The models that the authors of the paper released: public domain, downloaded only when asked, found by name after.

A model is kept as Darknet's files in one folder: ``NAME.cfg``, ``NAME.weights``, and for YOLO9000 ``NAME.names`` and
``NAME.tree``. The ``.cfg`` is written last, so that a model whose ``.cfg`` is there is complete.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import platformdirs

from yolo9000.architectures.layers import Architecture, Region
from yolo9000.architectures.weights import Model
from yolo9000.architectures.zoo import BUILT_IN, darknet19, yolo9000
from yolo9000.checkpoints.darknet.cfg import write_cfg
from yolo9000.checkpoints.darknet.weights import Header, read_weights
from yolo9000.errors import ConfigError, DataError, nearest
from yolo9000.io.files import write_atomically
from yolo9000.taxonomy.files import read_darknet_tree, read_names

if TYPE_CHECKING:
    from yolo9000.io.web import Progress

__all__ = [
    "RELEASED",
    "Released",
    "cache_folder",
    "download_released",
    "is_released_detector",
    "read_released",
    "released",
    "released_file",
]

WEIGHTS_FOLDER = "https://pjreddie.com/media/files/"
DATA_FOLDER = "https://raw.githubusercontent.com/pjreddie/darknet/master/data/"
MAX_TEXT_BYTES = 10_000_000  # of names and trees, which have 0.1 MB


@dataclass(frozen=True)
class Released:
    """A released model.

    Attributes:
        name: what it is called here.
        architecture: its network.
        weights: name of the file of weights.
        texts: names of the files that it needs besides, by the suffix that they get here.
        partial: the weights are the first layers of a network, to start training from.
    """

    name: str
    architecture: Architecture
    weights: str
    texts: tuple[tuple[str, str], ...] = ()
    partial: bool = False

    @property
    def sizes(self) -> tuple[int, int]:
        """Bytes that the weights may have: parameters after a header of 16 or 20 bytes."""
        parameters = 4 * sum(self.architecture.parameter_counts())
        return tuple(Header(minor=minor).size + parameters for minor in (1, 2))  # type: ignore[return-value]

    @property
    def file_name(self) -> str:
        """Name of the file that stands for the model: the ``.cfg``, or partial weights themselves."""
        return self.weights if self.partial else f"{self.name}.cfg"

    def urls(self, url: str | None = None) -> dict[str, str]:
        """Addresses of the files by the name that they get here, small files first.

        Args:
            url: of a mirror: the address of the weights, or of a folder with all files, which ends in ``/``; None for
                the authors' addresses.
        """
        folder = url if url is not None and url.endswith("/") else None
        texts = {f"{self.name}{suffix}": (folder or DATA_FOLDER) + name for suffix, name in self.texts}
        weights = url if url is not None and folder is None else (folder or WEIGHTS_FOLDER) + self.weights
        return texts | {self.weights: weights}


def _models() -> dict[str, Released]:
    yolo9000_texts = ((".tree", "9k.tree"), (".names", "9k.names"))
    models = (
        Released("yolo9000", _beside_its_tree(), "yolo9000.weights", yolo9000_texts),
        Released("yolov2", BUILT_IN["yolov2"](), "yolov2.weights"),
        Released("yolov2-voc", BUILT_IN["yolov2-voc"](), "yolov2-voc.weights"),
        Released("yolov2-tiny", BUILT_IN["tiny-yolov2"](), "yolov2-tiny.weights"),
        Released("yolov2-tiny-voc", BUILT_IN["tiny-yolov2-voc"](), "yolov2-tiny-voc.weights"),
        Released("darknet19", darknet19(256), "darknet19.weights"),
        Released("darknet19_448", darknet19(448), "darknet19_448.weights"),
        Released("darknet19_448.conv.23", _first_layers(darknet19(448), 23), "darknet19_448.conv.23", partial=True),
    )
    return {model.name: model for model in models}


def _beside_its_tree() -> Architecture:
    architecture = yolo9000(tree="yolo9000.tree")
    head = architecture.head
    assert isinstance(head, Region)  # noqa: S101  for the type checker
    return replace(architecture, layers=(*architecture.layers[:-1], replace(head, map=None)))


def _first_layers(architecture: Architecture, count: int) -> Architecture:
    return replace(architecture, layers=architecture.layers[:count])


RELEASED = _models()
"""The models by name."""


def released(name: str) -> Released:
    """A released model by name.

    Raises:
        ConfigError: no released model has that name.
    """
    if name not in RELEASED:
        raise ConfigError(f"must be one of {', '.join(RELEASED)}, got {name!r}{nearest(name, RELEASED)}")
    return RELEASED[name]


def is_released_detector(name: str) -> bool:
    """Whether it is the name of a released detector; the others are classifiers, to start training from."""
    return name in RELEASED and isinstance(RELEASED[name].architecture.head, Region)


def cache_folder() -> Path:
    """Where downloaded models are kept: the user's cache folder, e.g. ``~/.cache/yolo9000`` on Linux."""
    return platformdirs.user_cache_path("yolo9000", appauthor=False)


def released_file(name: str, folder: Path | None = None) -> Path | None:
    """The file of a released model that was downloaded; None if no released model has that name.

    Args:
        name: of the model.
        folder: where it was downloaded to; None for `cache_folder`.

    Raises:
        ConfigError: it is the name of a released model that was not downloaded.
    """
    if name not in RELEASED:
        return None
    file = (folder or cache_folder()) / RELEASED[name].file_name
    if not file.is_file():
        raise ConfigError(f"{name}: must be downloaded first: yolo9000 download {name}")
    return file


def read_released(name: str) -> Model:
    """The weights of a released model that was downloaded, in its own architecture.

    Raises:
        ConfigError: no released model has that name, or it was not downloaded.
        WeightsError: the file is damaged.
    """
    model, file = released(name), released_file(name)
    assert file is not None  # noqa: S101  `released` has checked the name
    return read_weights(file.with_name(model.weights), model.architecture)[1]


def download_released(
    name: str,
    folder: Path | None = None,
    *,
    url: str | None = None,
    progress: Callable[[str], Progress] = lambda file: lambda done, total: None,
) -> dict[Path, str]:
    """Download a released model; files that are there already are kept.

    Args:
        name: of the model.
        folder: where to put its files; None for `cache_folder`.
        url: of a mirror, see `Released.urls`.
        progress: gives, of the name of each file, what is called as its bytes arrive.

    Returns:
        The SHA-256 of each file that was downloaded, now or before.

    Raises:
        ConfigError: no released model has that name.
        DataError: a file cannot be downloaded, or has changed since it was.
        WeightsError: the weights are not finite, or do not fit the network to the byte.
        TreeError: the label tree is not one.
        OSError: a file cannot be written.
    """
    model, folder = released(name), folder or cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    digests = {
        folder / file: _download(model, folder / file, address, progress(file))
        for file, address in model.urls(url).items()
    }
    if not model.partial:
        write_atomically(folder / model.file_name, write_cfg(model.architecture))
    return digests


def _download(model: Released, path: Path, url: str, progress: Progress) -> str:
    from yolo9000.io.web import download, kept_digest, sha256_of  # here, because it takes long to import

    kept = kept_digest(path)
    if kept is not None and path.is_file():
        if sha256_of(path) != kept:
            raise DataError(f"{path}: has changed since it was downloaded: delete it to download it again")
        return kept
    is_weights = path.name == model.weights
    return download(
        url,
        path,
        sizes=model.sizes if is_weights else None,
        max_bytes=max(model.sizes) if is_weights else MAX_TEXT_BYTES,
        check=lambda part: _check(model, path, part),
        progress=progress,
    )


def _check(model: Released, path: Path, part: Path) -> None:
    """Read a file as it will be read when it is used."""
    if path.name == model.weights:
        read_weights(part, model.architecture)
    elif path.suffix == ".tree":
        _check_count(model, part, len(read_darknet_tree(part)))
    else:
        _check_count(model, part, len(read_names(part)))


def _check_count(model: Released, part: Path, count: int) -> None:
    head = model.architecture.head
    assert isinstance(head, Region)  # noqa: S101  classifiers have no such files
    if count != head.classes:
        raise DataError(f"{part}: must have {head.classes} entries, one for each node, got {count}")
