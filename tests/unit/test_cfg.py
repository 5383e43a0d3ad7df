"""Reading and writing ``.cfg`` files; whatever the text, nothing but a one-line ConfigError."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from support.paths import shared

from yolo9000.architectures.layers import (
    ACTIVATIONS,
    Architecture,
    AvgPool,
    Conv,
    Cost,
    Dropout,
    Layer,
    MaxPool,
    Region,
    Reorg,
    Route,
    Schedule,
    Shortcut,
    Softmax,
    Upsample,
)
from yolo9000.architectures.zoo import BUILT_IN
from yolo9000.checkpoints.darknet.cfg import parse_cfg, read_cfg, write_cfg
from yolo9000.errors import ConfigError

NET = "[net]\nwidth=96\nheight=64\n"  # three lines: the first line of a layer is line 4

# Every kind of layer but the classifier's. 96x64 -> 48x32 -> reorg 24x16, joined with a 2/2 pool of the same map:
# 8 * 4 + 8 = 40 channels; 2 anchors x (5 + 3 classes) = 16 filters.
WHOLE = """\
[net]
batch=64
subdivisions=8
width=96
height=64
channels=3
momentum=0.9
decay=0.0005
learning_rate=0.001
burn_in=1000
max_batches = 80200
policy=steps
steps=-1,500,40000
scales=.1,10,.1

[convolutional]
batch_normalize=1
filters=8
size=3
stride=2
pad=1
activation=leaky

[reorg]
stride=2

[route]
layers=-2

[maxpool]
size=2
stride=2

[dropout]
probability=.25

[route]
layers=-1,1

[convolutional]
filters=16
size=1
stride=1
pad=1
activation=linear

[region]
anchors = 1.5,2, 3,4.25
num=2
classes=3
coords=4
softmax=1
jitter=.3
thresh = .6
tree=data/three.tree
"""


def test_whole_file() -> None:
    architecture = parse_cfg(WHOLE)
    assert architecture == Architecture(
        layers=(
            Conv(8, size=3, stride=2, padding=1, batch_normalize=True, activation="leaky"),
            Reorg(2, "darknet"),
            Route((-2,)),
            MaxPool(size=2, stride=2, padding=1),
            Dropout(0.25),
            Route((-1, 1)),
            Conv(16, size=1, stride=1, padding=0, batch_normalize=False, activation="linear"),
            Region(
                ((1.5, 2.0), (3.0, 4.25)),
                classes=3,
                softmax=True,
                tree="data/three.tree",
                training=(("jitter", 0.3), ("thresh", 0.6)),
            ),
        ),
        width=96,
        height=64,
        channels=3,
        batch_norm="eps_inside_sqrt",
        schedule=Schedule(
            batch=64,
            subdivisions=8,
            momentum=0.9,
            decay=0.0005,
            learning_rate=0.001,
            burn_in=1000,
            max_batches=80200,
            policy="steps",
            steps=(-1, 500, 40000),
            scales=(0.1, 10.0, 0.1),
        ),
    )
    assert architecture.shapes()[1] == (32, 16, 24)
    assert architecture.shapes()[5] == (40, 16, 24)


def one(section: str) -> Layer:
    """The only layer of a network of 96 x 64."""
    (layer,) = parse_cfg(NET + section).layers
    return layer


def test_defaults_are_darknets() -> None:
    net = parse_cfg(NET + "[avgpool]\n")
    assert (net.width, net.height, net.channels) == (96, 64, 3)
    assert net.schedule == Schedule()
    assert one("[convolutional]\n") == Conv(1, 1, 1, 0, batch_normalize=False, activation="logistic")
    assert one("[convolutional]\nsize=5\npadding=3\n") == Conv(1, 5, 1, 3, batch_normalize=False, activation="logistic")
    assert one("[maxpool]\n") == MaxPool(size=1, stride=1, padding=0)
    assert one("[maxpool]\nstride=2\n") == MaxPool(size=2, stride=2, padding=1)
    assert one("[maxpool]\nsize=3\nstride=2\n") == MaxPool(size=3, stride=2, padding=2)
    assert one("[reorg]\n") == Reorg(1)
    assert one("[dropout]\n") == Dropout(0.5)
    assert one("[softmax]\n") == Softmax(groups=1, tree=None, temperature=1.0)
    assert one("[cost]\n") == Cost("sse")


def test_defaults_of_later_layers() -> None:
    text = layers("[conv]\nfilters=3\n[shortcut]\nfrom=0\n[upsample]\n[conv]\nactivation=silu\n")
    _, *later, last = parse_cfg(text).layers
    assert later == [Shortcut(0, "linear"), Upsample(2)]
    assert last == Conv(1, 1, 1, 0, False, "swish", groups=1, end_padding=0)


def test_region_defaults_are_darknets() -> None:
    architecture = parse_cfg(NET + "[convolutional]\nfilters=25\n[region]\n")  # 1 x (5 + 20)
    assert architecture.head == Region(((0.5, 0.5),), 20, softmax=False, training=())
    architecture = parse_cfg(NET + "[convolutional]\nfilters=75\n[region]\nnum=3\n")
    assert architecture.head == Region(((0.5, 0.5),) * 3)


def test_pad_is_half_the_size_and_wins_over_padding() -> None:
    for size, padding in [(1, 0), (2, 1), (3, 1), (5, 2), (7, 3)]:
        assert one(f"[conv]\nsize={size}\npad=1\npadding=9\n") == Conv(1, size, 1, padding, False, "logistic")
    assert one("[conv]\nsize=3\npad=0\npadding=2\n") == Conv(1, 3, 1, 2, False, "logistic")


@pytest.mark.parametrize(
    ("alias", "name"),
    [("conv", "convolutional"), ("max", "maxpool"), ("avg", "avgpool"), ("soft", "softmax")],
)
def test_aliases(alias: str, name: str) -> None:
    assert parse_cfg(f"{NET}[{alias}]\n") == parse_cfg(f"{NET}[{name}]\n")
    ignored = "stopbackward=1\nlearning_rate=2\n"
    assert parse_cfg(f"{NET}[{alias}]\n{ignored}") == parse_cfg(f"{NET}[{name}]\n")


def test_network_is_another_word_for_net() -> None:
    assert parse_cfg("[network]\ntime_steps=1\nwidth=7\nheight=5\n[avgpool]\n").width == 7


@pytest.mark.parametrize(
    "spelling",
    [
        WHOLE.replace("\n", "\r\n"),
        WHOLE.replace("\n", "\r"),
        WHOLE.replace("=", " \t= \t").replace("\n", "\t \n"),
        WHOLE.replace("width=96", "w i d\tt h = 9 6"),
        WHOLE.replace("[convolutional]", " [ convolu\ttional ] "),
        WHOLE.replace("\n", "\n# filters=7\n;[yolo]\n\n  # indented\n"),
        WHOLE.rstrip(),
        "# made by hand\n\n" + WHOLE,
        WHOLE.replace("filters=8", "filters=8\nfilters=9\nfilters=none"),
        WHOLE.replace("width=96", "width=96\nwidth=95"),
        WHOLE.replace("filters=8", "filters=8.0").replace("burn_in=1000", "burn_in=1e3"),
        WHOLE.replace("batch_normalize=1", "batch_normalize=5"),
        WHOLE.replace("anchors = 1.5,2, 3,4.25", "anchors = 1.50, 2, 3.0, 4.25,"),
        WHOLE.replace("layers=-1,1", "layers=-1, 1,"),
        WHOLE.replace("[net]", "[net]\nmax_ratio=2\nmin_ratio=1\ninputs=7\nadam=0\nhflip=0"),
        WHOLE.replace("[reorg]", "[reorg]\nstopbackward=1\nonlyforward=0\nsmooth=0\nlearning_rate=0.1"),
        WHOLE.replace("size=3", "size=3\ngroups=1\nflipped=0\nxnor=0\nbinary=0\ndot=0"),
        WHOLE.replace("num=2", "num=2\nbackground=0\nmax=30\nclassfix=-1\nlog=1\nsqrt=1"),
        WHOLE + "\0\0\n\0",
    ],
)
def test_spellings_of_the_same_network(spelling: str) -> None:
    assert parse_cfg(spelling) == parse_cfg(WHOLE)


def test_value_may_hold_an_equals_sign() -> None:
    assert one("[softmax]\ntree=a=b.tree\n") == Softmax(tree="a=b.tree")


def test_batch_norm_is_what_the_caller_says(tmp_path) -> None:
    file = tmp_path / "net.cfg"
    file.write_text(WHOLE)
    assert read_cfg(file).batch_norm == "eps_inside_sqrt"
    assert read_cfg(file, batch_norm="eps_outside_sqrt") == replace(parse_cfg(WHOLE), batch_norm="eps_outside_sqrt")


def test_byte_order_mark(tmp_path) -> None:
    file = tmp_path / "net.cfg"
    file.write_text(WHOLE, encoding="utf-8-sig")
    assert read_cfg(file) == parse_cfg(WHOLE)


def layers(text: str) -> str:
    return NET + text


DETECTOR = NET + "[convolutional]\nfilters=16\n[region]\n"  # the region begins on line 6

BAD = {
    # not a .cfg at all
    "empty": ("", "cfg: must begin with the section [net]"),
    "only comments": ("# nothing\n;\n\n", "cfg: must begin with the section [net]"),
    "layer first": ("[convolutional]\n" + NET, "cfg: must begin with the section [net]"),
    "only net": (NET, "cfg: must have at least one layer after [net]"),
    "no layer but a comment": (NET + "#[avgpool]\n", "cfg: must have at least one layer after [net]"),
    "option before a section": ("width=3\n[net]\n", "cfg:1: 'width' must be inside a section"),
    "prose": ("# a\nhello world\n", "cfg:2: must be key=value or [section], got 'hello world'"),
    "prose inside": (NET + "hello world\n", "cfg:4: must be key=value or [section], got 'hello world'"),
    "no key": (NET + " = 3\n", "cfg:4: must be key=value or [section], got '= 3'"),
    "unclosed bracket": ("\n[net\n", "cfg:2: a section must be written [name], got '[net'"),
    "text after a bracket": (NET + "[avgpool] # mean\n", "cfg:4: a section must be written [name], got '[avgpool] # m"),
    # sections
    "yolo": (
        layers("[yolo]\n"),
        "cfg:4: [yolo] is of YOLOv3 or later; here detectors end in [region] (YOLOv2, YOLO9000)",
    ),
    "crop": (layers("[avgpool]\n\n[crop]\nflip=0\n"), "cfg:6: [crop] is not a layer"),
    "no name": (layers("[]\n"), "cfg:4: [] is not a layer"),
    "capitals": (layers("[Region]\n"), "cfg:4: [Region] is not a layer"),
    "second net": (layers("[net]\n"), "cfg:4: [net] is not a layer"),
    "long name": (layers(f"[{'x' * 999}]\n"), f"cfg:4: [{'x' * 80}] is not a layer"),
    # [net]
    "no width": ("[net]\nheight=64\n[avgpool]\n", "cfg:1: [net] must give width and height"),
    "no height": ("#\n[net]\nwidth=64\n[avgpool]\n", "cfg:2: [net] must give width and height"),
    "width 0": ("[net]\nwidth=0\nheight=3\n", "cfg:2: [net] width must be a whole number from 1 to 1,000,000, got '0'"),
    "width no number": ("[net]\nwidth=wide\nheight=3\n", "cfg:2: [net] width must be a whole number from 1 to"),
    "width empty": (
        "[net]\nwidth=\nheight=3\n",
        "cfg:2: [net] width must be a whole number from 1 to 1,000,000, got ''",
    ),
    "height in halves": ("[net]\nwidth=3\nheight=2.5\n", "cfg:3: [net] height must be a whole number from 1 to"),
    "huge width": ("[net]\nwidth=1000001\nheight=3\n", "cfg:2: [net] width must be a whole number from 1 to 1,000,000"),
    "infinite width": ("[net]\nwidth=inf\nheight=3\n", "cfg:2: [net] width must be a whole number"),
    "channels -3": (NET + "channels=-3\n[avgpool]\n", "cfg:4: [net] channels must be a whole number from 1"),
    "option of a newer program": (NET + "mosaik=1\n[avgpool]\n", "cfg:4: [net] has no option 'mosaik'"),
    "layer's option in net": (NET + "stopbackward=1\n[avgpool]\n", "cfg:4: [net] has no option 'stopbackward'"),
    # layers
    "typing error": (layers("[convolutional]\nfilter=8\n"), "cfg:5: [convolutional] has no option 'filter'"),
    "option of another layer": (layers("[maxpool]\nfilters=8\n"), "cfg:5: [maxpool] has no option 'filters'"),
    "filters -8": (layers("[conv]\nfilters=-8\n"), "cfg:5: [convolutional] filters must be a whole number from 1 to"),
    "filters 0": (layers("[conv]\nfilters=0\n"), "cfg:5: [convolutional] filters must be a whole number from 1 to"),
    "filters none": (layers("[conv]\nfilters=many\n"), "from 1 to 1,000,000, got 'many'"),
    "filters huge": (layers("[conv]\nfilters=1e400\n"), "cfg:5: [convolutional] filters must be a whole number from"),
    "filters in hex": (layers("[conv]\nfilters=0x10\n"), "got '0x10'"),
    "long value": (layers(f"[conv]\nfilters={'9' * 5000}\n"), f"from 1 to 1,000,000, got '{'9' * 80}'"),
    "size": (layers("[conv]\nsize=3x3\n"), "cfg:5: [convolutional] size must be a whole number from 1 to 1,000,000"),
    "stride 0": (layers("[maxpool]\nstride=0\n"), "cfg:5: [maxpool] stride must be a whole number from 1 to 1,000,000"),
    "padding": (layers("[conv]\npadding=-1\n"), "[convolutional] padding must be a whole number from 0 to 1,000,000"),
    "flag": (
        layers("[conv]\nbatch_normalize=yes\n"),
        "[convolutional] batch_normalize must be a whole number, got 'ye",
    ),
    "mish": (
        layers("[conv]\nactivation=mish\n"),
        "cfg:5: [convolutional] activation must be one of leaky, linear, logistic, relu, relu6, swish, got 'mish'",
    ),
    "groups": (
        layers("\n[conv]\nfilters=4\ngroups=2\n"),
        "cfg: layer 0 (grouped 1x1, 4 filters): groups must divide channels and filters, "
        "got 2 groups, 3 channels, 4 filters",
    ),
    "no groups": (layers("[conv]\ngroups=0\n"), "cfg:5: [convolutional] groups must be a whole number from 1 to"),
    "shortcut from nowhere": (layers("[shortcut]\n"), "cfg:4: [shortcut] must give from"),
    "shortcut from several": (layers("[shortcut]\nfrom=-1,-2\n"), "cfg:5: [shortcut] from must be a whole number"),
    "shortcut from itself": (
        layers("[conv]\n[shortcut]\nfrom=1\n"),
        "cfg: layer 1 (shortcut 1): must read from layers 0 to 0, got 1",
    ),
    "upsample with a factor": (layers("[upsample]\nscale=2\n"), "cfg:4: [upsample] scale must be 1"),
    "upsample backwards": (layers("[upsample]\nstride=-2\n"), "cfg:5: [upsample] stride must be a whole number from"),
    "flipped": (layers("[conv]\nflipped=1\n"), "cfg:5: [convolutional] flipped must be 0, got '1'"),
    "binary": (layers("[conv]\nbinary=1\n"), "cfg:5: [convolutional] binary must be 0, got '1'"),
    "xnor": (layers("[conv]\n\nxnor=1\n"), "cfg:6: [convolutional] xnor must be 0, got '1'"),
    "probability": (
        layers("[dropout]\nprobability=half\n"),
        "cfg:5: [dropout] probability must be a number, got 'half'",
    ),
    "route to nothing": (layers("[route]\n"), "cfg:4: [route] must give layers"),
    "route of words": (
        layers("[avgpool]\n[route]\nlayers=-1,last\n"),
        "[route] layers must be a whole number, got '-1,l",
    ),
    # layers that do not fit each other
    "route ahead": (
        layers("[avgpool]\n[route]\nlayers=2\n[avgpool]\n"),
        "cfg: layer 1 (route 2): must read from layers 0 to 0, got 2",
    ),
    "route to itself": (
        layers("[avgpool]\n[route]\nlayers=1\n"),
        "layer 1 (route 1): must read from layers 0 to 0, got 1",
    ),
    "route before the first": (
        layers("[avgpool]\n[route]\nlayers=-1,-2\n"),
        "cfg: layer 1 (route -1, -2): must read from layers 0 to 0, got -2",
    ),
    "route of two sizes": (
        layers("[maxpool]\nstride=2\n[maxpool]\nstride=3\n[route]\nlayers=0,1\n"),
        "cfg: layer 2 (route 0, 1): must join maps of the same size, got 48x32, 16x11",  # (32 + 2 - 3) // 3 + 1 = 11
    ),
    "reorg of an odd map": (
        layers("[conv]\nsize=2\nfilters=4\n[reorg]\nstride=2\n"),
        "cfg: layer 1 (reorg /2): width and height must be multiples of 2, got 95x63",
    ),
    "reorg of 3 channels": (
        layers("[reorg]\nstride=2\n"),
        "cfg: layer 0 (reorg /2): channels must be a multiple of 4, got 3",
    ),
    "input too small": (
        layers("[conv]\nsize=65\nfilters=2\n"),
        "cfg: layer 0 (convolutional 65x65, 2 filters): output of a side of 64 cells would be empty",
    ),
    "pool too large": (
        layers("[maxpool]\nsize=99\nstride=2\npadding=0\n"),
        "layer 0 (maxpool 99x99/2): output of a side",
    ),
    "layer after the head": (
        DETECTOR + "classes=11\n[conv]\nfilters=6\n",
        "cfg: layer 2 (convolutional 1x1, 6 filters): must come before the region, which ends the network",
    ),
    "region after a softmax": (
        layers("[conv]\nfilters=25\n[softmax]\n[region]\n"),
        "cfg: layer 2 (region): must come before the softmax, which ends the network",
    ),
    # [region]
    "num without anchors": (
        DETECTOR + "num=2\nclasses=3\nanchors=1,2,3\n",
        "cfg:6: [region] num=2 needs 4 anchors, got 3",
    ),
    "anchors without num": (DETECTOR + "classes=3\nanchors=1,2,3,4\n", "cfg:6: [region] num=1 needs 2 anchors, got 4"),
    "anchor 0": (DETECTOR + "num=2\nclasses=3\nanchors=1,2,3,0\n", "cfg:6: [region] anchors must be positive, got 0.0"),
    "anchor < 0": (
        DETECTOR + "num=2\nclasses=3\nanchors=1,-2,3,4\n",
        "cfg:6: [region] anchors must be positive, got -2",
    ),
    "anchor no number": (
        DETECTOR + "anchors=1,2,3,four\n",
        "cfg:7: [region] anchors must be a number, got '1,2,3,four'",
    ),
    "anchors empty": (DETECTOR + "anchors=\n", "cfg:7: [region] anchors must be a number, got ''"),
    "huge num": (DETECTOR + "num=2000000\n", "cfg:7: [region] num must be a whole number from 1 to 1,000,000"),
    "coords": (DETECTOR + "coords=5\n", "cfg:6: [region] coords must be 4"),
    "background": (DETECTOR + "background=1\n", "cfg:7: [region] background must be 0, got '1'"),
    "classes -1": (DETECTOR + "classes=-1\n", "cfg:7: [region] classes must be a whole number from 1 to 1,000,000"),
    "newer region": (DETECTOR + "scale_x_y=1.05\n", "cfg:7: [region] has no option 'scale_x_y'"),
    "filters do not fit": (
        DETECTOR + "num=2\nclasses=4\n",
        "cfg: layer 1 (region): 2 anchors x (5 + 4 classes) need 18 filters in the previous layer, got 16",
    ),
}


def failure(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        parse_cfg(text)
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    assert len(message) < 500
    return message


@pytest.mark.parametrize("name", BAD)
def test_malformed(name: str) -> None:
    text, expected = BAD[name]
    message = failure(text)
    assert expected in message
    if expected.startswith("cfg"):
        assert message.startswith(expected)


def test_the_same_put_right() -> None:
    """The same texts with a detail put right do parse: it is the issue named that is refused."""
    assert parse_cfg(DETECTOR + "num=2\nclasses=3\nanchors=1,2,3,4\n").layers[0] == Conv(16, 1, 1, 0, False, "logistic")
    assert parse_cfg(DETECTOR + "classes=11\n[cost]\n").layers[2] == Cost()
    assert parse_cfg(layers("[conv]\nsize=64\nfilters=2\n")).shapes() == [(2, 1, 33)]
    assert parse_cfg(layers("[conv]\nfilters=4\n[reorg]\nstride=2\n")).shapes()[1] == (16, 32, 48)
    assert parse_cfg(layers("[softmax]\n[cost]\n")).head == Softmax()


BAD_FILES = {
    "missing": (None, "cannot be read: No such file or directory"),
    "binary": (bytes(range(256)), "must be a text file, got other bytes"),
    "weights": (b"\0\0\0\0\2\0\0\0\0\0\0\0\x80\xff\xff\xff", "must be a text file, got other bytes"),
    "zeros": (bytes(100), "must begin with the section [net]"),
    "nothing": (b"", "must begin with the section [net]"),
    "utf-16": ("[net]\n".encode("utf-16"), "must be a text file, got other bytes"),
    "line": (b"[net]\r\nwidth=96\r\nheight=x\r\n", "[net] height must be a whole number"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_bad_files(name: str, tmp_path) -> None:
    data, expected = BAD_FILES[name]
    file = tmp_path / "net.cfg"
    if data is not None:
        file.write_bytes(data)
    with pytest.raises(ConfigError) as caught:
        read_cfg(file)
    line = ":3" if name == "line" else ""
    assert str(caught.value).startswith(f"{file}{line}: {expected}")
    assert len(str(caught.value).splitlines()) == 1


def test_folder_instead_of_a_file(tmp_path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        read_cfg(tmp_path)


# Writing


def test_written_text() -> None:
    architecture = Architecture(
        layers=(
            Conv(6, size=3, stride=2, padding=1),
            Conv(12, size=3, padding=0, batch_normalize=False, activation="relu"),
            MaxPool(2, 2),
            MaxPool(3, 2, padding=0),
            Route((-1, 3)),
            Conv(24, size=5, padding=2, groups=24, activation="relu6"),
            Shortcut(-2, "swish"),
            Upsample(2),
            Softmax(2, tree="a.tree", temperature=0.5),
        ),
        width=96,
        height=64,
        schedule=Schedule(batch=8, steps=(10, 20), scales=(0.1, 1e-7)),
    )
    assert write_cfg(architecture) == (
        "[net]\nwidth=96\nheight=64\nchannels=3\nbatch=8\nsteps=10,20\nscales=0.1,1e-07\n\n"
        "[convolutional]\nbatch_normalize=1\nfilters=6\nsize=3\nstride=2\npad=1\nactivation=leaky\n\n"
        "[convolutional]\nfilters=12\nsize=3\nstride=1\npadding=0\nactivation=relu\n\n"
        "[maxpool]\nsize=2\nstride=2\n\n"
        "[maxpool]\nsize=3\nstride=2\npadding=0\n\n"
        "[route]\nlayers=-1,3\n\n"
        "[convolutional]\nbatch_normalize=1\nfilters=24\nsize=5\nstride=1\ngroups=24\npad=1\nactivation=relu6\n\n"
        "[shortcut]\nfrom=-2\nactivation=swish\n\n"
        "[upsample]\nstride=2\n\n"
        "[softmax]\ngroups=2\ntree=a.tree\ntemperature=0.5\n"
    )


def test_what_cannot_be_written() -> None:
    architecture = Architecture((Conv(4), Reorg(2, "space_to_depth")), width=8, height=6)
    with pytest.raises(ConfigError, match=r"^layer 1: Darknet has no reorg in the order 'space_to_depth'$"):
        write_cfg(architecture)
    padded = Architecture((Conv(4, stride=2, padding=0, end_padding=1),), width=8, height=6)
    with pytest.raises(ConfigError, match=r"^layer 0: Darknet pads convolutions equally on all sides"):
        write_cfg(padded)
    assert parse_cfg(write_cfg(padded, for_darknet=False)) == padded
    for tree in ("my data/9k.tree", "a\nb.tree", "a\t"):
        with pytest.raises(ConfigError, match=r"^a value in a \.cfg must not contain blanks, got '"):
            write_cfg(Architecture((Softmax(tree=tree),), width=8, height=6))


@pytest.mark.parametrize("name", BUILT_IN)
def test_built_in_networks_survive(name: str) -> None:
    architecture = BUILT_IN[name]()
    assert parse_cfg(write_cfg(architecture, for_darknet=False)) == architecture
    if any(needs_our_keys(layer) for layer in architecture.layers):
        with pytest.raises(ConfigError, match=r"Darknet (has no reorg|pads convolutions)"):
            write_cfg(architecture)
    else:
        assert parse_cfg(write_cfg(architecture)) == architecture


def needs_our_keys(layer: Layer) -> bool:
    if isinstance(layer, Reorg):
        return layer.order != "darknet"
    return isinstance(layer, Conv) and layer.end_padding > 0


def test_darknets_own_files_survive() -> None:
    files = sorted(shared("data", "darknet-cfg").glob("*.cfg"))
    assert len(files) == 9
    for file in files:
        architecture = read_cfg(file)
        assert parse_cfg(write_cfg(architecture)) == architecture


finite = st.floats(allow_nan=False, allow_infinity=False)
positive = st.floats(1e-30, 1e30)
whole = st.integers(-(2**31), 2**31 - 1)
words = st.text(
    st.characters(categories=["L", "N", "P", "S"], exclude_characters="#;"), min_size=1, max_size=12
)  # comments
flags = st.booleans()


def options(kind: type, **strategies: st.SearchStrategy) -> st.SearchStrategy[tuple[type, dict]]:
    """A layer yet to be made: making it checks its types, for which beartype draws random numbers."""
    return st.tuples(st.just(kind), st.fixed_dictionaries(strategies))


SIZE = st.integers(1, 5)
PLAIN_LAYERS = st.one_of(
    options(
        Conv,
        filters=st.integers(1, 9),
        size=SIZE,
        stride=st.integers(1, 2),
        padding=st.integers(0, 3),
        batch_normalize=flags,
        activation=st.sampled_from(ACTIVATIONS),
        groups=st.integers(1, 3),
        end_padding=st.integers(0, 1),
    ),
    options(Shortcut, source=st.integers(-4, 3), activation=st.sampled_from(ACTIVATIONS)),
    options(Upsample, stride=st.integers(1, 2)),
    options(MaxPool, size=SIZE, stride=st.integers(1, 2), padding=st.integers(0, 5)),
    options(Dropout, probability=finite),
    options(Reorg, stride=st.integers(1, 2)),
    options(AvgPool),
    options(Route, sources=st.lists(st.integers(-4, 3), min_size=1, max_size=2).map(tuple)),
)
TRAINING = {
    **dict.fromkeys(("bias_match", "rescore", "absolute", "random"), flags),
    **dict.fromkeys(("jitter", "object_scale", "noobject_scale", "class_scale", "coord_scale", "thresh"), finite),
}
REGION = options(
    Region,
    anchors_wh_cells=st.lists(st.tuples(positive, positive), min_size=1, max_size=3).map(tuple),
    classes=st.integers(1, 9),
    tree=st.none() | words,
    map=st.none() | words,
    softmax=flags,
    training=st.fixed_dictionaries({}, optional=TRAINING).map(
        lambda chosen: tuple((key, chosen[key]) for key in TRAINING if key in chosen)
    ),
)
SOFTMAX = options(Softmax, groups=st.integers(1, 9), tree=st.none() | words, temperature=finite)
SCHEDULE = {
    **dict.fromkeys(
        ("batch", "subdivisions", "min_crop", "max_crop", "random", "burn_in", "max_batches", "step", "letter_box"),
        whole,
    ),
    **dict.fromkeys(("momentum", "decay", "angle", "aspect", "saturation", "exposure", "hue"), finite),
    **dict.fromkeys(("learning_rate", "power", "scale", "gamma"), finite),
    "policy": words,
    "steps": st.lists(whole, min_size=1, max_size=3).map(tuple),
    "scales": st.lists(finite, min_size=1, max_size=3).map(tuple),
}
PLANS = st.fixed_dictionaries(
    {
        "layers": st.lists(PLAIN_LAYERS, max_size=6),
        "head": st.none() | REGION | SOFTMAX,
        "cost": st.none() | words,
        "net": st.fixed_dictionaries(
            {"width": st.integers(40, 60), "height": st.integers(61, 80), "channels": st.sampled_from((1, 3))}
        ),
        "schedule": st.fixed_dictionaries({}, optional=SCHEDULE),
    }
)


def architecture_of(plan: dict) -> Architecture:
    """The architecture of a plan, without the layers that do not fit those before them."""
    layers: tuple[Layer, ...] = ()
    for kind, values in plan["layers"]:
        layers = fitting(layers, kind(**values), plan["net"])
    if plan["head"] is not None:
        head = plan["head"][0](**plan["head"][1])
        if isinstance(head, Region):
            layers += (Conv(head.filters, 1, 1, 0, False, "linear"),)
        layers += (head,)
    if plan["cost"] is not None:
        layers += (Cost(plan["cost"]),)
    assume(layers)
    return Architecture(layers, **plan["net"], schedule=Schedule(**plan["schedule"]))


def fitting(layers: tuple[Layer, ...], layer: Layer, net: dict[str, int]) -> tuple[Layer, ...]:
    try:
        Architecture((*layers, layer), **net).shapes()
    except ConfigError:
        return layers
    return (*layers, layer)


def test_plans_name_every_option() -> None:
    assert set(SCHEDULE) == {field.name for field in fields(Schedule)}


@settings(max_examples=150, deadline=None)
@given(PLANS)
def test_round_trip(plan: dict) -> None:
    architecture = architecture_of(plan)
    text = write_cfg(architecture, for_darknet=False)
    assert parse_cfg(text) == architecture
    assert write_cfg(parse_cfg(text), for_darknet=False) == text


def outcome(text: str) -> Architecture | str:
    """The architecture, or the message of a ConfigError; any other error fails the test."""
    try:
        return parse_cfg(text)
    except ConfigError as error:
        return str(error)


def check_only_config_errors(text: str) -> None:
    result = outcome(text)
    if isinstance(result, str):
        assert len(result.splitlines()) == 1
        assert result.startswith("cfg")
    else:
        assert len(result.shapes()) == len(result.layers) > 0


@settings(max_examples=150, deadline=None)
@given(st.text() | st.text("[]=#;,.-019aenrtwu \t\n\r\0").map(lambda text: NET + text))
def test_random_text(text: str) -> None:
    check_only_config_errors(text)


LINES = WHOLE.splitlines()
TOKENS = st.sampled_from(
    [*LINES, "[yolo]", "[", "=", "size=", "layers=-9", "filters=1e9", "stride=7", "num=4", "\0", "x"]
)


@st.composite
def mutated(draw: st.DrawFn) -> str:
    """A good file with lines dropped, doubled, moved or replaced, and some characters changed."""
    lines = list(LINES)
    for _ in range(draw(st.integers(1, 4))):
        position = draw(st.integers(0, len(lines) - 1))
        lines[position : position + draw(st.integers(0, 2))] = draw(st.lists(TOKENS, max_size=2))
    text = list("\n".join(lines))
    for _ in range(draw(st.integers(0, 3))):
        text[draw(st.integers(0, len(text) - 1))] = draw(st.characters(codec="utf-8") | st.sampled_from("0159-.=[],\n"))
    return "".join(text)


@settings(max_examples=250, deadline=None)
@given(mutated())
def test_mutated_files(text: str) -> None:
    check_only_config_errors(text)


@settings(max_examples=60, deadline=None)
@given(st.binary() | st.binary().map(lambda data: NET.encode() + data))
def test_random_bytes(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    file = tmp_path_factory.getbasetemp() / "random.cfg"
    file.write_bytes(data)
    try:
        assert read_cfg(file).layers
        return
    except ConfigError as error:
        message = str(error)
    assert message.startswith(f"{file}:")
    assert len(message.splitlines()) == 1


PLAIN = """[net]
width=100
height=68
{net}
[convolutional]
filters=30{comment}
size=1
activation=linear
{conv}
[region]
classes=1
num=5
{region}
anchors=1,2, 3,4, 5,6, 7,8, 9,10
"""


def plain(net: str = "", comment: str = "", conv: str = "", region: str = "") -> str:
    return PLAIN.format(net=net, comment=comment, conv=conv, region=region)


@pytest.mark.parametrize("comment", ["# (5+1)*5", " ; as below", "// 5 anchors", "\t#"])
def test_what_follows_a_value_is_a_comment(comment: str) -> None:
    assert parse_cfg(plain(comment=comment)) == parse_cfg(plain())


def test_two_slashes_in_a_path_are_no_comment() -> None:
    head = parse_cfg(plain(region="tree=data//9k.tree # all")).head
    assert isinstance(head, Region)
    assert head.tree == "data//9k.tree"


def test_keys_that_matter_in_training_only_are_listed_in_one_warning(caplog: pytest.LogCaptureFixture) -> None:
    """AlexeyAB's Darknet writes them; the network computes the same."""
    text = plain("mosaic=1\nscales=.1,,10.0\nletter_box=1", "", "dilation=1\ntrain_only_bn=1", "focal_loss=1")
    listed = "[net] scales, [net] mosaic, [convolutional] train_only_bn, [region] focal_loss"
    read = parse_cfg(text)
    assert caplog.messages == [f"cfg: ignored, as they matter in training only: {listed}"]
    assert read.layers == parse_cfg(plain()).layers


@pytest.mark.parametrize(
    ("conv", "key"), [("dilation=2", "dilation"), ("antialiasing=1", "antialiasing"), ("mosaic=1", "mosaic")]
)
def test_keys_that_change_what_is_computed_are_refused(conv: str, key: str) -> None:
    with pytest.raises(ConfigError, match=rf"^cfg:\d+: \[convolutional\] has no option '{key}'$"):
        parse_cfg(plain(conv=conv))


@pytest.mark.parametrize("encoding", ["latin-1", "gbk", "utf-8", "utf-8-sig"])
def test_comments_may_be_in_any_encoding(tmp_path: Path, encoding: str) -> None:
    file = tmp_path / "a.cfg"
    comment = "\u7f51\u7edc" if encoding == "gbk" else "gr\u00f6\u00dfer"
    file.write_bytes(plain(net=f"# {comment}").encode(encoding))
    assert read_cfg(file) == parse_cfg(plain())


@pytest.mark.parametrize(("section", "version"), [("yolo", "YOLOv3 or later"), ("detection", "YOLOv1")])
def test_networks_of_other_versions_are_named_in_the_error(section: str, version: str) -> None:
    with pytest.raises(ConfigError, match=rf"\[{section}\] is of {version}; here detectors end in \[region\]"):
        parse_cfg(plain(net="mosaic=1") + f"[{section}]\nmask=0,1\n")


@pytest.mark.parametrize("line", ["momentum=nan", "batch=8.5", "steps=1,,2", "scales=.1,x"])
def test_a_mistyped_value_of_training_does_not_stop_a_prediction(line: str, caplog: pytest.LogCaptureFixture) -> None:
    key = line.partition("=")[0]
    read = parse_cfg(plain(net=line))
    assert caplog.text.rstrip().endswith(f": [net] {key}")
    assert getattr(read.schedule, key) is None
    assert read.layers == parse_cfg(plain()).layers
