"""The models that can be downloaded: their sizes to the byte, their files, and how they are found by name."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.small_models import TREE, random_model, small_architecture
from support.web_server import Resource, WebServer, web_server

from yolo9000.architectures.layers import Architecture
from yolo9000.architectures.surgery import transfer, with_classes
from yolo9000.checkpoints.darknet import released
from yolo9000.checkpoints.darknet.cfg import read_cfg
from yolo9000.checkpoints.darknet.released import (
    RELEASED,
    Released,
    cache_folder,
    download_released,
    released_file,
)
from yolo9000.checkpoints.darknet.weights import Header, write_weights
from yolo9000.checkpoints.load import is_model, load_weights
from yolo9000.errors import ConfigError, DataError, TreeError, WeightsError
from yolo9000.inference.detector import Detector
from yolo9000.taxonomy.files import write_tree

IN_TREE = small_architecture(len(TREE), tree="small.tree")
SMALL = Released("small", IN_TREE, "small.weights", ((".tree", "9k.tree"), (".names", "9k.names")))
FLAT = Released("flat", small_architecture(80), "flat.weights")
PART = Released(
    "flat.conv.7", replace(FLAT.architecture, layers=FLAT.architecture.layers[:7]), "flat.conv.7", partial=True
)


@pytest.fixture(autouse=True)
def _in_a_cache_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(released.platformdirs, "user_cache_path", lambda name, appauthor: tmp_path / "cache" / name)
    for model in (SMALL, FLAT, PART):
        monkeypatch.setitem(RELEASED, model.name, model)


def weights(architecture: Architecture, folder: Path, header: Header | None = None) -> bytes:
    file = folder / "original.weights"
    write_weights(file, random_model(architecture, 3), header)
    return file.read_bytes()


@pytest.fixture
def mirror(tmp_path: Path) -> Iterator[WebServer]:
    write_tree(tmp_path / "9k.tree", TREE)
    resources = {
        "small.weights": Resource(weights(IN_TREE, tmp_path)),
        "flat.weights": Resource(weights(FLAT.architecture, tmp_path, Header(minor=1))),
        "flat.conv.7": Resource(weights(PART.architecture, tmp_path)),
        "9k.tree": Resource((tmp_path / "9k.tree").read_bytes(), kind="text/plain"),
        "9k.names": Resource("".join(f"{name}\n" for name in TREE.names).encode(), kind="text/plain"),
    }
    with web_server(**resources) as server:
        yield server


def test_sizes_of_the_originals() -> None:
    """Headers of 16 or 20 bytes, and 4 bytes a parameter, as layers 0 to 22 of Darknet-19 have by Table 6.

    Kernels: 864 + 18,432 + 2 x 73,728 + 8,192 + 2 x 294,912 + 32,768 + 3 x 1,179,648 + 2 x 131,072 + 3 x 4,718,592
    + 2 x 524,288; four more values for each of 32 + 64 + 2 x 128 + 64 + 2 x 256 + 128 + 3 x 512 + 2 x 256
    + 3 x 1024 + 2 x 512 = 7,200 filters.
    """
    kernels = 864 + 18_432 + 2 * 73_728 + 8_192 + 2 * 294_912 + 32_768 + 3 * 1_179_648 + 2 * 131_072
    kernels += 3 * 4_718_592 + 2 * 524_288
    first_23 = 4 * (kernels + 4 * 7_200)
    assert RELEASED["darknet19_448.conv.23"].sizes == (first_23 + 16, first_23 + 20)
    last = 4 * (1000 * 1024 + 1000)
    assert (
        RELEASED["darknet19"].sizes == RELEASED["darknet19_448"].sizes == (first_23 + last + 16, first_23 + last + 20)
    )
    last = 4 * (3 * (5 + 9418) * 1024 + 3 * (5 + 9418))
    assert RELEASED["yolo9000"].sizes[0] == first_23 + last + 16
    assert RELEASED["yolov2"].sizes[0] == 203_934_260  # what is said of the file everywhere
    assert RELEASED["yolov2-tiny-voc"].sizes[0] == 63_471_556


def test_names_and_addresses_of_the_originals() -> None:
    names = ["yolo9000", "yolov2", "yolov2-voc", "yolov2-tiny", "yolov2-tiny-voc", "darknet19", "darknet19_448"]
    assert list(RELEASED)[:8] == [*names, "darknet19_448.conv.23"]
    assert RELEASED["yolov2-voc"].urls() == {
        "yolov2-voc.weights": "https://pjreddie.com/media/files/yolov2-voc.weights"
    }
    data = "https://raw.githubusercontent.com/pjreddie/darknet/master/data/"
    assert list(RELEASED["yolo9000"].urls().items()) == [
        ("yolo9000.tree", data + "9k.tree"),
        ("yolo9000.names", data + "9k.names"),
        ("yolo9000.weights", "https://pjreddie.com/media/files/yolo9000.weights"),
    ]


def test_addresses_on_a_mirror() -> None:
    assert RELEASED["yolo9000"].urls("http://h/a/") == {
        "yolo9000.tree": "http://h/a/9k.tree",
        "yolo9000.names": "http://h/a/9k.names",
        "yolo9000.weights": "http://h/a/yolo9000.weights",
    }
    of_weights = RELEASED["yolo9000"].urls("http://h/a/w?x=1")
    assert of_weights["yolo9000.weights"] == "http://h/a/w?x=1"
    assert of_weights["yolo9000.tree"] == RELEASED["yolo9000"].urls()["yolo9000.tree"]


def test_a_model_loads_by_name_after_its_download(mirror: WebServer) -> None:
    with pytest.raises(ConfigError, match=r"^small: must be downloaded first: yolo9000 download small$"):
        Detector.load("small")
    digests = download_released("small", url=mirror.url)
    names = [path.name for path in digests]
    assert names == ["small.tree", "small.names", "small.weights"]
    for path, served in zip(digests, ("9k.tree", "9k.names", "small.weights"), strict=True):
        assert path.parent == cache_folder()
        assert digests[path] == hashlib.sha256(mirror.resources[served].data).hexdigest()
        assert path.with_name(f"{path.name}.sha256").read_text() == f"{digests[path]}  {path.name}\n"
    detector = Detector.load("small", engine="onnxruntime", threads=1)
    assert detector.names == TREE.names
    assert read_cfg(cache_folder() / "small.cfg").layers == IN_TREE.layers


def test_what_is_there_is_not_downloaded_again(mirror: WebServer) -> None:
    first = download_released("flat", url=mirror.url)
    assert download_released("flat", url=mirror.url) == first
    assert len(mirror.asked) == 1
    (path,) = first
    path.write_bytes(path.read_bytes()[:-1] + b"\x01")
    with pytest.raises(DataError, match=r"flat\.weights: has changed since it was downloaded: delete it"):
        download_released("flat", url=mirror.url)


def test_another_folder(mirror: WebServer, tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    download_released("flat", folder, url=mirror.url + "flat.weights")
    assert released_file("flat", folder) == folder / "flat.cfg"
    Detector.load(folder / "flat.cfg", engine="onnxruntime", threads=1)
    with pytest.raises(ConfigError, match="must be downloaded first"):
        released_file("flat")
    assert released_file("unknown") is None


def test_partial_weights_have_no_cfg(mirror: WebServer) -> None:
    (path,) = download_released("flat.conv.7", url=mirror.url)
    assert released_file("flat.conv.7") == path == cache_folder() / "flat.conv.7"
    assert sorted(file.name for file in cache_folder().iterdir()) == ["flat.conv.7", "flat.conv.7.sha256"]


@pytest.mark.parametrize("name", ["flat", "flat.conv.7"])
def test_training_starts_from_downloaded_weights(name: str, mirror: WebServer) -> None:
    target = random_model(with_classes(FLAT.architecture, 3), 4)
    with pytest.raises(ConfigError, match="must be downloaded first"):
        load_weights(name, target.architecture)
    download_released(name, url=mirror.url)
    source = load_weights(name, target.architecture)
    assert source.architecture == RELEASED[name].architecture
    # Convolutions 0, 2, 4 and 6, which the partial weights have all; 8 and 11; the last has other classes
    assert transfer(source, target).convolutions == (4 if name == "flat.conv.7" else 6)


def test_an_interrupted_model_is_not_there_yet(mirror: WebServer) -> None:
    mirror.resources["small.weights"].cut = 1000
    with pytest.raises(DataError, match="connection broke after 1,000 bytes"):
        download_released("small", url=mirror.url)
    with pytest.raises(ConfigError, match="must be downloaded first"):
        released_file("small")
    mirror.resources["small.weights"].cut = None
    download_released("small", url=mirror.url)
    assert [asked.path for asked in mirror.asked] == ["9k.tree", "9k.names", "small.weights", "small.weights"]
    assert mirror.asked[-1].range == "bytes=1000-"
    assert released_file("small") is not None


@pytest.mark.parametrize("change", [-4, 1, 3, 8])
def test_weights_of_another_size(change: int, mirror: WebServer) -> None:
    data = mirror.resources["flat.weights"].data
    mirror.resources["flat.weights"].data = (data + bytes(8))[: len(data) + change]
    with pytest.raises(DataError, match=f"must be a file of {len(data):,} or {len(data) + 4:,} bytes, got one of"):
        download_released("flat", url=mirror.url)
    assert list(cache_folder().iterdir()) == []


def test_a_header_that_does_not_match_the_size(mirror: WebServer) -> None:
    """Four bytes more are right for the wider header only, and this one is narrow."""
    mirror.resources["flat.weights"].data += bytes(4)
    with pytest.raises(WeightsError, match=r"4 bytes are left after the last layer"):
        download_released("flat", url=mirror.url)
    assert list(cache_folder().iterdir()) == []


def test_weights_that_are_not_finite(mirror: WebServer) -> None:
    data = mirror.resources["flat.weights"].data
    mirror.resources["flat.weights"].data = data[:-4] + np.float32("nan").tobytes()
    with pytest.raises(WeightsError, match="weights must be finite, got 1 of"):
        download_released("flat", url=mirror.url)
    assert list(cache_folder().iterdir()) == []


def test_a_tree_or_names_of_another_model(mirror: WebServer) -> None:
    mirror.resources["9k.tree"].data = b"n0 -1\nn1 -1\n"
    with pytest.raises(DataError, match=r"must have 7 entries, one for each node, got 2$"):
        download_released("small", url=mirror.url)
    mirror.resources["9k.tree"].data = b"n0 5\n"
    with pytest.raises(TreeError):
        download_released("small", url=mirror.url)
    write_tree(cache_folder() / "t.tree", TREE)
    mirror.resources["9k.tree"].data = (cache_folder() / "t.tree").read_bytes()
    mirror.resources["9k.names"].data = b"cat\ndog\n"
    with pytest.raises(DataError, match="must have 7 entries"):
        download_released("small", url=mirror.url)
    assert released_file("small.cfg") is None


def test_a_web_page_instead_of_weights(mirror: WebServer) -> None:
    mirror.resources["flat.weights"] = Resource(b"<!doctype html><title>Sign in</title>", kind="text/html")
    with pytest.raises(DataError, match=r"must be a file, got a web page \(HTML\)$"):
        download_released("flat", url=mirror.url)


def test_only_detectors_are_models() -> None:
    assert [name for name in RELEASED if is_model(name)] == [*list(RELEASED)[:5], "small", "flat"]


def test_unknown_names() -> None:
    with pytest.raises(ConfigError, match=r"^must be one of yolo9000, .*'yolov2-vok' \(did you mean 'yolov2-voc'\?\)$"):
        download_released("yolov2-vok")


def test_progress_of_each_file(mirror: WebServer) -> None:
    seen: dict[str, tuple[int, int | None]] = {}
    download_released(
        "small", url=mirror.url, progress=lambda file: lambda done, total: seen.__setitem__(file, (done, total))
    )
    sizes = {file: len(mirror.resources[file].data) for file in ("small.weights",)}
    assert list(seen) == ["small.tree", "small.names", "small.weights"]
    assert seen["small.weights"] == (sizes["small.weights"],) * 2
