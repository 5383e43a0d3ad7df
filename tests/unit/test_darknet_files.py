"""Darknet's small text files, and a whole detector out of files that the test writes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.paths import shared

from yolo9000.architectures.layers import Architecture, Conv, Layer, MaxPool, Region, Softmax
from yolo9000.architectures.weights import ConvParameters, Model
from yolo9000.checkpoints.darknet.cfg import read_cfg, write_cfg
from yolo9000.checkpoints.darknet.detector import read_detector
from yolo9000.checkpoints.darknet.weights import read_weights, write_weights
from yolo9000.data.data_file import read_data
from yolo9000.errors import ConfigError, DataError, TreeError, WeightsError, YoloError
from yolo9000.io import files
from yolo9000.io.files import find_beside, read_lines
from yolo9000.taxonomy.class_names import COCO, VOC
from yolo9000.taxonomy.files import read_darknet_tree, read_map, read_names, read_tree, write_tree
from yolo9000.taxonomy.wordtree import WordTree


def write(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def message_of(kind: type[YoloError], call: Callable[[], object]) -> str:
    """The message of the error that a call must end in; one line."""
    with pytest.raises(kind) as caught:
        call()
    assert type(caught.value) is kind
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    assert len(message) < 700
    return message


# Names, labels and maps


@pytest.mark.parametrize(
    "content",
    [
        "cat\ntraffic light\ndog\n",
        "cat\ntraffic light\ndog",
        "cat\r\ntraffic light\r\ndog\r\n",
        "cat\rtraffic light\rdog\r",
        "  cat\t\n traffic light \ndog\n\n\n  \n",
        b"\xef\xbb\xbfcat\ntraffic light\ndog\n",
    ],
)
def test_names(content: str | bytes, tmp_path) -> None:
    assert read_names(write(tmp_path / "three.names", content)) == ("cat", "traffic light", "dog")


def test_names_of_any_script(tmp_path) -> None:
    assert read_names(write(tmp_path / "x.names", "Katze\nчерепаха\n猫\n#1\ncat\ncat\n")) == (
        *("Katze", "черепаха", "猫", "#1", "cat", "cat"),
    )


@pytest.mark.parametrize("content", ["5\n0\n12\n", " 5\t\r\n0 \r\n012\r\n", b"\xef\xbb\xbf5\n0\n12\n\n"])
def test_map(content: str | bytes, tmp_path) -> None:
    nodes = read_map(write(tmp_path / "three.map", content), nodes=13)
    assert (nodes.tolist(), nodes.dtype) == ([5, 0, 12], np.int64)


# Data files


def test_data(tmp_path) -> None:
    path = write(
        tmp_path / "coco.data",
        "# comment\n; another\n\nclasses= 80\n  train  = lists/my train.txt \nvalid=a=b\n#valid = c\n"
        "classes = 7\nempty=\n",
    )
    data = read_data(path)
    assert data.path == path
    assert data.options == {"classes": "80", "train": "lists/my train.txt", "valid": "a=b", "empty": ""}
    assert data.file("missing") is None
    assert data.file("empty") is None


def test_file_of_data(tmp_path) -> None:
    names = write(tmp_path / "data" / "coco.names", "cat\n")
    data = read_data(write(tmp_path / "cfg" / "coco.data", "names = data/coco.names\nmap=x/coco.map\n"))
    assert data.file("names") == names
    assert message_of(DataError, lambda: data.file("map")).startswith(
        f"{tmp_path / 'cfg' / 'coco.data'}: file not found: 'x/coco.map' (searched "
    )


# Trees


def test_tree(tmp_path) -> None:
    tree = read_tree(write(tmp_path / "three.tree", "\ufeffn1 -1\r\nn2  -1\r\n n3\t0 \r\nn4 0\r\n\r\n"))
    assert (tree.ids, tree.names) == (("n1", "n2", "n3", "n4"), ("n1", "n2", "n3", "n4"))
    assert tree.parents.tolist() == [-1, -1, 0, 0]
    named = read_tree(tmp_path / "three.tree", ["thing", "matter", "dog", "dog"])
    assert (named.ids, named.names) == (tree.ids, ("thing", "matter", "dog", "dog"))


def test_written_tree(tmp_path) -> None:
    tree = WordTree.from_parents([-1, 0, 0, 1], ["a thing", "b", "b", "c"], ["n1", "n2", "n3", "n4"])
    write_tree(tmp_path / "x.tree", tree)
    assert (tmp_path / "x.tree").read_text() == "n1 -1\nn2 0\nn3 0\nn4 1\n"


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 3), max_size=10), st.data())
def test_tree_round_trip(tmp_path_factory: pytest.TempPathFactory, children: list[int], data: st.DataObject) -> None:
    parents = [-1, -1]
    for node, count in enumerate(children):
        parents += [node] * count if node < len(parents) else []
    word = st.text(st.characters(categories=["L", "N", "P", "S"]), min_size=1, max_size=5)
    ids = data.draw(st.lists(word, min_size=len(parents), max_size=len(parents), unique=True))
    file = tmp_path_factory.getbasetemp() / "round.tree"
    write_tree(file, WordTree.from_parents(parents, ids=ids))
    tree = read_tree(file)
    assert (tree.parents.tolist(), list(tree.ids)) == (parents, ids)
    before = file.read_bytes()
    write_tree(file, tree)
    assert file.read_bytes() == before


@pytest.mark.parametrize("node_id", ["", "traffic light", "a\nb", " a", "a\u2003b"])
def test_ids_that_a_tree_file_cannot_hold(node_id: str, tmp_path) -> None:
    tree = WordTree.from_parents([-1, 0], ids=["n1", node_id])
    assert message_of(TreeError, lambda: write_tree(tmp_path / "x.tree", tree)) == (
        f"{tmp_path / 'x.tree'}: node 1: an id in a .tree file must be one word, got {node_id!r}"
    )
    assert not (tmp_path / "x.tree").exists()


def test_tree_that_cannot_be_written(tmp_path) -> None:
    path = tmp_path / "no" / "x.tree"
    message = message_of(TreeError, lambda: write_tree(path, WordTree.from_parents([-1])))
    assert message == f"{path}: cannot be written: No such file or directory"


def test_tree_with_other_names(tmp_path) -> None:
    path = write(tmp_path / "x.tree", "a -1\nb 0\n")
    message = message_of(TreeError, lambda: read_darknet_tree(path, ["one", "two", "three"]))
    assert message == f"{path}: 2 nodes need as many names, got 3"


# What is wrong with a file: reader, content, message after the file's name

READERS: dict[str, tuple[Callable[[Path], object], type[YoloError]]] = {
    "names": (read_names, DataError),
    "map": (lambda path: read_map(path, nodes=13), DataError),
    "data": (read_data, DataError),
    "tree": (read_darknet_tree, TreeError),
}
NOT_TEXT = ": must be a text file in UTF-8, but contains bytes that are not text"
ZERO_BYTE = ": must be a text file, but contains a zero byte"
NODE = "must be the index of a node, 0 to 12, got"
PAIR = "must be a node's id and the index of its parent, got"
BAD = [
    ("names", b"", ": must have one name per line, got an empty file"),
    ("names", b"\xef\xbb\xbf", ": must have one name per line, got an empty file"),
    ("names", b"\n \n\t\n", ": must have one name per line, got an empty file"),
    ("names", b"cat\n\ndog\n", ":2: must be a name, got an empty line"),
    ("names", b"\ncat\ndog\n", ":1: must be a name, got an empty line"),
    ("names", b"cat\r\ndog\r\n  \t\r\nbird\r\n", ":3: must be a name, got an empty line"),
    ("names", b"cat\n\xff\xfe\n", NOT_TEXT),
    ("names", "cat\n".encode("utf-16"), NOT_TEXT),
    ("names", "chauve-souris\nhibou\nécureuil\n".encode("latin-1"), NOT_TEXT),
    ("names", b"\x89PNG\r\n\x1a\n", NOT_TEXT),
    ("names", b"cat\0\ndog\n", ZERO_BYTE),
    ("names", bytes(64), ZERO_BYTE),
    ("map", b"", ": must have one node index per line, got an empty file"),
    ("map", b" \r\n\r\n", ": must have one node index per line, got an empty file"),
    ("map", b"\n1\n", f":1: {NODE} ''"),
    ("map", b"1\n\n2\n", f":2: {NODE} ''"),
    ("map", b"1\n2\n13\n", f":3: {NODE} '13'"),
    ("map", b"1\n-1\n", f":2: {NODE} '-1'"),
    ("map", b"1.0\n", f":1: {NODE} '1.0'"),
    ("map", b"cat\n", f":1: {NODE} 'cat'"),
    ("map", b"1 2\n", f":1: {NODE} '1 2'"),
    ("map", b"0\n1,\n", f":2: {NODE} '1,'"),
    ("map", b"0x1\n", f":1: {NODE} '0x1'"),
    ("map", b"# classes\n1\n", f":1: {NODE} '# classes'"),
    ("map", b"9" * 5000, f":1: {NODE} '{'9' * 80}'"),
    ("map", b"1\n\xff\n", NOT_TEXT),
    ("map", b"1\n\0\n", ZERO_BYTE),
    ("data", b"classes 80\n", ":1: must be key = value, got 'classes 80'"),
    ("data", b"classes=80\n# fine\nnames\n", ":3: must be key = value, got 'names'"),
    ("data", b"a=1\n = data/coco.names\n", ":2: must be key = value, got '= data/coco.names'"),
    ("data", b"[net]\nwidth=416\n", ":1: must be key = value, got '[net]'"),
    ("data", b"x" * 5000, f":1: must be key = value, got '{'x' * 80}'"),
    ("data", b"names=\xe9\n", NOT_TEXT),
    ("data", b"names=a\0b\n", ZERO_BYTE),
    ("tree", b"", ": a tree must have at least one node"),
    ("tree", b"\n\n", ": a tree must have at least one node"),
    ("tree", b"a -1\nb\n", f":2: {PAIR} 'b'"),
    ("tree", b"a -1\n\nb 0\n", f":2: {PAIR} ''"),
    ("tree", b"a -1\nb zero\n", f":2: {PAIR} 'b zero'"),
    ("tree", b"a -1\nb 0.0\n", f":2: {PAIR} 'b 0.0'"),
    ("tree", b"a -1\nb +0\n", f":2: {PAIR} 'b +0'"),
    ("tree", b"a -1\nb --1\n", f":2: {PAIR} 'b --1'"),
    ("tree", b"a -1\ntraffic light 0\n", f":2: {PAIR} 'traffic light 0'"),
    ("tree", b"a,-1\n", f":1: {PAIR} 'a,-1'"),
    ("tree", b"a -1\nb 10000000000\n", f":2: {PAIR} 'b 10000000000'"),
    ("tree", b"a " + b"1" * 5000, f":1: {PAIR} 'a {'1' * 78}'"),
    ("tree", b"a -1\nb 1\n", ": node 1 (b): its parent must be -1 or a node before it, got 1"),
    ("tree", b"a 0\n", ": node 0 (a): its parent must be -1 or a node before it, got 0"),
    ("tree", b"a -1\nb 2\nc 0\n", ": node 1 (b): its parent must be -1 or a node before it, got 2"),
    ("tree", b"a -1\nb -2\n", ": node 1 (b): its parent must be -1 or a node before it, got -2"),
    ("tree", b"a -1\nb 0\na 0\n", ": ids must be unique, got 'a' 2 times"),
    (
        "tree",
        b"a -1\nb 0\nc 1\nd 0\n",
        ": node 3 (d): the children of a node must be contiguous, but parent 0 has other children before it",
    ),
    ("tree", b"a -1\nb\xff 0\n", NOT_TEXT),
    ("tree", b"a -1\n\0", ZERO_BYTE),
]


@pytest.mark.parametrize(("kind", "content", "message"), BAD)
def test_malformed(kind: str, content: bytes, message: str, tmp_path) -> None:
    path = write(tmp_path / f"wrong.{kind}", content)
    read, error = READERS[kind]
    assert message_of(error, lambda: read(path)) == f"{path}{message}"


@pytest.mark.parametrize("kind", READERS)
def test_files_that_cannot_be_read(kind: str, tmp_path) -> None:
    read, error = READERS[kind]
    missing = tmp_path / f"none.{kind}"
    assert message_of(error, lambda: read(missing)) == f"{missing}: cannot be read: No such file or directory"
    assert message_of(error, lambda: read(tmp_path)) == f"{tmp_path}: cannot be read: Is a directory"


@pytest.mark.parametrize("kind", READERS)
def test_files_that_are_too_large(kind: str, tmp_path, monkeypatch) -> None:
    assert files.MAX_TEXT_BYTES == 64_000_000
    monkeypatch.setattr(files, "MAX_TEXT_BYTES", 1200)
    read, error = READERS[kind]
    good = {"names": b"cat\n", "map": b"12\n", "data": b"a=1\n", "tree": b"a -1\n"}[kind]
    read(write(tmp_path / "fits", good.ljust(1200, b"\n")))
    path = write(tmp_path / "large", good.ljust(1201, b"\n"))
    assert message_of(error, lambda: read(path)) == f"{path}: must be a text file of at most 1,200 bytes, got 1,201"


def test_map_without_a_tree(tmp_path) -> None:
    assert read_map(write(tmp_path / "x.map", "999999999\n")).tolist() == [999_999_999]
    path = write(tmp_path / "x.map", "1\n1000000000\n")
    assert message_of(DataError, lambda: read_map(path)) == (
        f"{path}:2: must be the index of a node, 0 or more, got '1000000000'"
    )


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(sorted(READERS)), st.binary(max_size=40) | st.text(max_size=40).map(str.encode))
def test_random_files(tmp_path_factory: pytest.TempPathFactory, kind: str, content: bytes) -> None:
    path = write(tmp_path_factory.getbasetemp() / f"random.{kind}", content)
    read, error = READERS[kind]
    try:
        assert read(path) is not None
        return
    except error as reason:
        message = str(reason)
    assert message.startswith(f"{path}:")
    assert len(message.splitlines()) == 1


def test_lines(tmp_path) -> None:
    assert read_lines(write(tmp_path / "x", "\n a \r\n\nb\n\n \n")) == ["", " a ", "", "b"]
    assert read_lines(write(tmp_path / "x", "")) == []


# Where a file is looked for


def test_order_of_locations(tmp_path, monkeypatch) -> None:
    origin = write(tmp_path / "darknet" / "cfg" / "net.cfg", "")
    working = tmp_path / "elsewhere"
    working.mkdir()
    monkeypatch.chdir(working)
    locations = [
        write(tmp_path / "darknet" / "cfg" / "data" / "9k.tree", "1"),
        write(tmp_path / "darknet" / "data" / "9k.tree", "2"),
        write(working / "data" / "9k.tree", "3"),
        write(tmp_path / "darknet" / "cfg" / "9k.tree", "4"),
    ]
    for number, location in enumerate(locations, 1):
        file = find_beside(origin, "data/9k.tree", TreeError)
        assert file.read_text() == str(number)
        assert file.resolve() == location.resolve()
        location.unlink()
    message = message_of(TreeError, lambda: find_beside(origin, "data/9k.tree", TreeError))
    cfg, above = tmp_path / "darknet" / "cfg", tmp_path / "darknet"
    assert message == (
        f"{origin}: file not found: 'data/9k.tree' (searched {cfg / 'data'}, {above / 'data'}, data, {cfg})"
    )


def test_absolute_names_and_folders(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    file = write(tmp_path / "far" / "x.names", "cat")
    assert find_beside(tmp_path / "a" / "b.data", str(file), DataError) == file
    with pytest.raises(DataError, match="file not found: 'far'"):
        find_beside(tmp_path / "b.data", "far", DataError)  # a folder is no file


def test_relative_origin(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    file = write(tmp_path / "data" / "x.names", "cat")
    write(tmp_path / "cfg" / "b.data", "")
    assert find_beside(Path("cfg/b.data"), "data/x.names", DataError) == file


@pytest.mark.parametrize("name", ["a\0b", "x" * 5000])
def test_names_that_no_file_can_have(name: str, tmp_path) -> None:
    with pytest.raises(DataError, match=r"b\.data: file not found: '"):
        find_beside(tmp_path / "b.data", name, DataError)


# A whole detector

ANCHORS = ((1.0, 2.0), (3.0, 1.5))


def detector_architecture(classes: int, *, tree: str | None = None, softmax: bool = True) -> Architecture:
    region = Region(ANCHORS, classes, softmax=softmax, tree=tree)
    return Architecture((MaxPool(8, 8), Conv(region.filters, 1, 1, 0, False, "linear"), region), width=24, height=16)


def zeros(architecture: Architecture) -> Model:
    def parameters(row: Conv, channels: int) -> ConvParameters:
        shape = row.filters, channels, row.size, row.size
        return ConvParameters(np.zeros(shape, np.float32), np.zeros(row.filters, np.float32))

    rows = zip(architecture.layers, architecture.input_channels(), strict=True)
    return Model(architecture, tuple(parameters(row, c) if isinstance(row, Conv) else None for row, c in rows))


def save(folder: Path, architecture: Architecture, name: str = "net") -> Path:
    """A cfg and weights that fit it."""
    cfg = write(folder / f"{name}.cfg", write_cfg(architecture))
    write_weights(folder / f"{name}.weights", zeros(architecture))
    return cfg


def test_detector(tmp_path) -> None:
    architecture = detector_architecture(4)
    loaded = read_detector(save(tmp_path, architecture))
    model, head = loaded.trained_weights, loaded.detector_head
    assert model.architecture == architecture
    assert model.missing() == []
    assert head.anchors_wh_cells.tolist() == [[1.0, 2.0], [3.0, 1.5]]
    assert (head.classes, head.tree, head.resize_mode) == ("softmax", None, "letterbox")
    assert head.names == ("class 0", "class 1", "class 2", "class 3")


def test_choices_that_no_file_records(tmp_path) -> None:
    cfg = save(tmp_path, detector_architecture(4, softmax=False))
    loaded = read_detector(str(cfg), batch_norm="eps_outside_sqrt", resize_mode="stretch")
    model, head = loaded.trained_weights, loaded.detector_head
    assert model.architecture.batch_norm == "eps_outside_sqrt"
    assert (head.classes, head.resize_mode) == ("sigmoid", "stretch")


@pytest.mark.parametrize(("classes", "names"), [(20, VOC), (80, COCO), (1, ("class 0",))])
def test_default_names(classes: int, names: tuple[str, ...], tmp_path) -> None:
    assert read_detector(save(tmp_path, detector_architecture(classes))).names == names


def test_names_in_order_of_preference(tmp_path) -> None:
    cfg = save(tmp_path, detector_architecture(2))
    data = write(tmp_path / "some.data", "names = data/data.names\nlabels = data/data.labels\n")
    write(tmp_path / "data" / "data.names", "from data\nnames\n")
    labels = write(tmp_path / "data" / "data.labels", "from data\nlabels\n")
    asked = write(tmp_path / "asked.names", "asked\nfor\n")
    assert read_detector(cfg).names == ("class 0", "class 1")
    write(tmp_path / "net.names", "beside\nthe cfg\n")
    assert read_detector(cfg).names == ("beside", "the cfg")
    assert read_detector(cfg, data=data).names == ("from data", "names")
    assert read_detector(cfg, data=data, names=asked).names == ("asked", "for")
    write(data, "labels = data/data.labels\n")
    assert read_detector(cfg, data=data).names == ("from data", "labels")
    write(data, "classes=2\n")
    assert read_detector(cfg, data=data).names == ("beside", "the cfg")
    labels.unlink()
    write(data, "labels = data/data.labels\n")
    assert "file not found: 'data/data.labels'" in message_of(DataError, lambda: read_detector(cfg, data=data))


def test_wrong_number_of_names(tmp_path) -> None:
    cfg = save(tmp_path, detector_architecture(4))
    beside = write(tmp_path / "net.names", "one\ntwo\nthree\n")
    assert message_of(DataError, lambda: read_detector(cfg)) == (
        f"{beside}: the network has 4 classes and needs as many names, got 3"
    )
    missing = tmp_path / "none.names"
    assert message_of(DataError, lambda: read_detector(cfg, names=missing)).startswith(f"{missing}: cannot be read")


def test_weights(tmp_path) -> None:
    architecture = detector_architecture(4)
    cfg = save(tmp_path, architecture)
    beside = (tmp_path / "net.weights").rename(tmp_path / "other.weights")
    assert message_of(ConfigError, lambda: read_detector(cfg)) == (
        f"{cfg}: needs weights: give `weights`, or put them at {tmp_path / 'net.weights'}"
    )
    assert read_detector(cfg, beside).trained_weights.architecture == architecture
    none = tmp_path / "none.weights"
    assert message_of(WeightsError, lambda: read_detector(cfg, none)) == (
        f"{none}: cannot be read: No such file or directory"
    )
    fewer = write(tmp_path / "few.weights", beside.read_bytes()[:-4])
    # 2 x (5 + 4) = 18 filters over 3 channels: 4 * (54 + 18) bytes
    assert message_of(WeightsError, lambda: read_detector(cfg, fewer)) == (
        f"{fewer}: layer 1 (convolutional 1x1, 18 filters) needs 288 bytes, 284 are left: "
        "the network needs 288 bytes after the header, the file has 284"
    )


@pytest.mark.parametrize("rows", [(Conv(4, batch_normalize=False), Softmax()), (Conv(4, batch_normalize=False),)])
def test_only_detectors(rows: tuple[Layer, ...], tmp_path) -> None:
    cfg = save(tmp_path, Architecture(rows, width=24, height=16))
    assert message_of(ConfigError, lambda: read_detector(cfg)) == (
        f"{cfg}: must be a detector, which ends in [region]; this network is a classifier or has no head"
    )


def test_bad_cfg(tmp_path) -> None:
    cfg = write(tmp_path / "net.cfg", "[net]\nwidth=24\nheight=16\n[lstm]\n")
    assert message_of(ConfigError, lambda: read_detector(cfg)).startswith(f"{cfg}:4: [lstm] is not a layer")


TREE = "n1 -1\nn2 -1\nn3 0\nn4 0\n"


def test_tree_that_the_cfg_names(tmp_path) -> None:
    cfg = save(tmp_path / "cfg", detector_architecture(4, tree="data/four.tree"))
    write(tmp_path / "data" / "four.tree", TREE)
    head = read_detector(cfg).detector_head
    assert head.classes == "tree"
    assert head.tree is not None
    assert head.tree.parents.tolist() == [-1, -1, 0, 0]
    assert head.names == head.tree.ids == ("n1", "n2", "n3", "n4")
    names = write(tmp_path / "four.names", "animal\nthing\ndog\ncat\n")
    head = read_detector(cfg, names=names).detector_head
    assert head.tree is not None
    assert head.names == head.tree.names == ("animal", "thing", "dog", "cat")
    assert head.tree.ids == ("n1", "n2", "n3", "n4")


def test_tree_given_instead(tmp_path) -> None:
    cfg = save(tmp_path, detector_architecture(4, tree="data/none.tree"))
    other = write(tmp_path / "other.tree", "a -1\nb 0\nc 1\nd 2\n")
    assert read_detector(cfg, tree=other).names == ("a", "b", "c", "d")
    flat = save(tmp_path, detector_architecture(4), "flat")
    head = read_detector(flat, tree=str(other)).detector_head
    assert head.classes == "tree"
    assert head.names == ("a", "b", "c", "d")


def test_trees_that_do_not_fit(tmp_path) -> None:
    cfg = save(tmp_path, detector_architecture(4, tree="data/four.tree"))
    assert message_of(TreeError, lambda: read_detector(cfg)).startswith(
        f"{cfg}: file not found: 'data/four.tree' (searched {tmp_path / 'data'}, "
    )
    none = tmp_path / "none.tree"
    assert message_of(TreeError, lambda: read_detector(cfg, tree=none)) == (
        f"{none}: cannot be read: No such file or directory"
    )
    three = write(tmp_path / "three.tree", "a -1\nb 0\nc 0\n")
    assert message_of(TreeError, lambda: read_detector(cfg, tree=three)) == (
        f"{three}: the network has 4 classes and needs as many nodes, got 3"
    )
    write(tmp_path / "net.names", "animal\nthing\ndog\ncat\n")
    assert (
        message_of(TreeError, lambda: read_detector(cfg, tree=three)) == f"{three}: 3 nodes need as many names, got 4"
    )
    broken = write(tmp_path / "data" / "four.tree", "a -1\nb 0\nc 0\nd 7\n")
    assert message_of(TreeError, lambda: read_detector(cfg)).startswith(f"{broken}: node 3 (d): its parent must be")


# Darknet's own files


def test_darknets_tree() -> None:
    """Counts of darknet-semantics.md, section 4."""
    tree = read_tree(shared("data", "labels", "9k.tree"), read_names(shared("data", "labels", "9k.names")))
    assert len(tree) == 9418
    assert [tree.names[node] for node in np.flatnonzero(tree.depths == 0)] == [
        *("thing", "matter", "object", "atmospheric phenomenon"),
    ]
    assert (len(tree.group_sizes), int(tree.leaves.sum()), int(tree.depths.max())) == (1846, 7573, 16)
    assert sorted(tree.group_sizes.tolist())[-3:] == [100, 100, 149]
    assert int((tree.group_sizes == 1).sum()) == 46
    assert read_names(shared("data", "labels", "9k.labels")) == tree.ids
    assert len(tree) - len(set(tree.names)) == 662  # nodes with the name of one before them
    assert sum(count > 1 for count in Counter(tree.names).values()) == 585  # names that stand for several nodes


def test_darknets_maps_and_names() -> None:
    tree = read_tree(shared("data", "labels", "9k.tree"), read_names(shared("data", "labels", "9k.names")))
    coco = read_map(shared("data", "labels", "coco9k.map"), len(tree))
    assert (len(coco), len(set(coco.tolist())), int(tree.leaves[coco].sum())) == (80, 80, 36)
    assert tree.names[coco[COCO.index("boat")]] == "vessel"
    assert len(read_map(shared("data", "labels", "inet9k.map"), len(tree))) == 200
    assert read_names(shared("data", "labels", "coco.names")) == COCO


def test_darknets_tree_is_written_as_it_was(tmp_path) -> None:
    source = shared("data", "labels", "9k.tree")
    write_tree(tmp_path / "9k.tree", read_tree(source))
    assert (tmp_path / "9k.tree").read_text().split() == source.read_text().split()


def test_darknets_data_files() -> None:
    data = read_data(shared("data", "darknet-cfg", "combine9k.data"))
    assert data.options["classes"] == "9418"
    assert data.options["train"] == "data/combine9k.train.list"
    assert data.options["map"] == "data/inet9k.map"


def test_real_network() -> None:
    loaded = read_detector(shared("data", "yolo-lite-voc", "yolo-lite-voc.cfg"))
    model, head = loaded.trained_weights, loaded.detector_head
    assert head.names == VOC
    assert len(head.anchors_wh_cells) == 5
    assert model.missing() == []


def test_real_weights_of_another_network() -> None:
    cfg = shared("data", "yolo-lite-voc", "mismatched.cfg")
    message = message_of(WeightsError, lambda: read_detector(cfg))
    weights, architecture = cfg.with_suffix(".weights"), read_cfg(cfg)
    # The layers before the last, 125 x (256 + 1) numbers, take all but 121,012 of the bytes after the header of 16.
    assert message == (
        f"{weights}: layer 14 (convolutional 1x1, 125 filters) needs 128,500 bytes, 121,012 are left: "
        "the network needs 2,296,756 bytes after the header, the file has 2,289,268; "
        "it would fit without batch_normalize=1"
    )
    assert weights.stat().st_size == 16 + 2_289_268
    plain = tuple(replace(row, batch_normalize=False) if isinstance(row, Conv) else row for row in architecture.layers)
    assert read_weights(weights, replace(architecture, layers=plain))[1].missing() == []  # the hint is true
