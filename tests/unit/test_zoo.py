"""What follows from an architecture: shapes, operations, parameters; and the built-in ones, figure by figure."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.paths import shared

from yolo9000.architectures.layers import (
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
    Shortcut,
    Softmax,
    Upsample,
    layer_name,
    layer_sources,
    route_sources,
)
from yolo9000.architectures.zoo import (
    BUILT_IN,
    COCO_ANCHORS,
    VOC_ANCHORS,
    YOLO9000_ANCHORS,
    darknet19,
    efficientnet_lite0,
    tiny_yolov2,
    yolo9000,
    yolov2,
    yolov2_lite,
)
from yolo9000.checkpoints.darknet.cfg import read_cfg
from yolo9000.errors import ConfigError

# A network of every geometry on an image 20 wide and 12 high, 2 channels.
SMALL = Architecture(
    layers=(
        Conv(4, size=3, stride=2, padding=1),  # (20 + 2 - 3) // 2 + 1 = 10 wide, (12 + 2 - 3) // 2 + 1 = 6 high
        MaxPool(2, 2, padding=1),  # ceil(10 / 2) = 5 wide, ceil(6 / 2) = 3 high
        MaxPool(2, 1, padding=1),  # the same
        Route((0,)),  # 4 channels of 10 x 6
        Reorg(2),  # 4 * 2^2 = 16 channels of 5 x 3
        Route((-1, 2)),  # 16 + 4 channels
        Conv(6, size=1, padding=0, batch_normalize=False, activation="linear"),
        Dropout(0.5),
        Conv(8, size=2, padding=0, batch_normalize=False, activation="relu"),  # 5 - 1 = 4 wide, 3 - 1 = 2 high
        Region(((1.0, 2.0),), classes=3),  # 1 x (5 + 3) = 8
    ),
    width=20,
    height=12,
    channels=2,
)


def test_shapes() -> None:
    assert SMALL.shapes() == [
        (4, 6, 10),
        (4, 3, 5),
        (4, 3, 5),
        (4, 6, 10),
        (16, 3, 5),
        (20, 3, 5),
        (6, 3, 5),
        (6, 3, 5),
        (8, 2, 4),
        (8, 2, 4),
    ]
    assert SMALL.input_channels() == [2, 4, 4, 4, 4, 16, 20, 6, 6, 8]


def test_shapes_at_another_size() -> None:
    # 36 x 28 -> 18 x 14 -> 9 x 7; the last convolution takes one off each side
    assert SMALL.shapes(36, 28)[0] == (4, 14, 18)
    assert SMALL.shapes(width=36, height=28)[-1] == (8, 6, 8)
    assert SMALL.shapes(width=36)[-1] == (8, 2, 8)
    assert SMALL.shapes(height=28)[-1] == (8, 6, 4)
    assert SMALL.shapes()[-1] == (8, 2, 4)


def test_parameter_counts() -> None:
    assert SMALL.parameter_counts() == [
        4 * 2 * 3**2 + 4 * 4,  # kernels; bias, scale, mean, variance of each filter
        *[0, 0, 0, 0, 0],
        6 * 20 * 1 + 6,
        0,
        8 * 6 * 2**2 + 8,
        0,
    ]


def test_operations() -> None:
    assert SMALL.operations() == [
        2 * (3 * 3 * 2) * (4 * 6 * 10),  # a multiplication and an addition for each kernel number and output
        *[0, 0, 0, 0, 0],
        2 * (1 * 1 * 20) * (6 * 3 * 5),
        0,
        2 * (2 * 2 * 6) * (8 * 2 * 4),
        0,
    ]
    assert SMALL.operations(36, 28)[0] == 2 * (3 * 3 * 2) * (4 * 14 * 18)


def test_stride_follows_the_last_route() -> None:
    assert SMALL.stride() == 2 * 2  # 0: 2; 1: 4; 3 goes back to 2; the reorg makes it 4
    assert Architecture((Conv(4, stride=2), MaxPool(), Route((0,)))).stride() == 2
    assert Architecture((Conv(4), Conv(4))).stride() == 1


# The layers of lighter backbones, an image 20 wide and 12 high: inverted residual, grouped convolution, upsampling.
LIGHT = Architecture(
    layers=(
        Conv(4, 3, 2, padding=0, end_padding=1),  # 0: (20 + 1 - 3) // 2 + 1 = 10 wide, 6 high
        Conv(12, 1, padding=0, activation="relu6"),  # 1
        Conv(12, 5, padding=2, groups=12, activation="relu6"),  # 2: depthwise
        Conv(4, 1, padding=0, activation="linear"),  # 3
        Shortcut(-4),  # 4: adds 0
        Conv(6, 5, 2, padding=1, end_padding=1, groups=2),  # 5: (10 + 3 - 5) // 2 + 1 = 5 wide, 3 high
        Upsample(2),  # 6: 10 wide, 6 high
        Route((-1, 4)),  # 7: 6 + 4 channels
    ),
    width=20,
    height=12,
)


def test_light_layers() -> None:
    maps = [(4, 6, 10), (12, 6, 10), (12, 6, 10), (4, 6, 10), (4, 6, 10), (6, 3, 5), (6, 6, 10), (10, 6, 10)]
    assert LIGHT.shapes() == maps
    assert LIGHT.parameter_counts() == [
        4 * 3 * 9 + 4 * 4,
        12 * 4 + 4 * 12,
        12 * 1 * 25 + 4 * 12,  # each filter reads one channel
        4 * 12 + 4 * 4,
        0,
        6 * 2 * 25 + 4 * 6,  # each filter reads 4 / 2 channels
        *[0, 0],
    ]
    assert LIGHT.operations() == [
        2 * (9 * 3) * (4 * 60),
        2 * 4 * (12 * 60),
        2 * 25 * (12 * 60),
        2 * 12 * (4 * 60),
        0,
        2 * (25 * 2) * (6 * 15),
        *[0, 0],
    ]
    assert LIGHT.stride() == 2  # the map that the route gives
    assert LIGHT.size_multiple() == 4  # else the upsampled map would not meet its partner
    assert [layer_sources(i, layer) for i, layer in enumerate(LIGHT.layers)][4:] == [(0,), (), (), (6, 4)]


def test_upsampling_needs_whole_pixels() -> None:
    architecture = Architecture((Conv(4, stride=3), Upsample(2)), width=20, height=12)
    with pytest.raises(
        ConfigError, match=r"^layer 1 \(upsample x2\): must read cells of a multiple of 2 pixels, got 3$"
    ):
        architecture.stride()


@pytest.mark.parametrize("length", [32, 64, 96])
@pytest.mark.parametrize(("size", "padding"), [(3, 0), (5, 1)])
def test_end_padding_is_same(length: int, size: int, padding: int) -> None:
    """TensorFlow's SAME: max((ceil(n / s) - 1) s + k - n, 0) zeros in all, the smaller half first."""
    total = (length // 2 - 1) * 2 + size - length
    layer = Conv(4, size, 2, padding=padding, end_padding=1)
    assert (layer.padding, layer.padding + layer.end_padding) == (total // 2, total - total // 2)
    assert Architecture((layer,), width=length, height=64).shapes() == [(4, 32, length // 2)]


@pytest.mark.parametrize(("length", "halved"), [(1, 1), (2, 1), (3, 2), (13, 7), (26, 13), (27, 14)])
def test_pooling_rounds_up(length: int, halved: int) -> None:
    assert Architecture((MaxPool(2, 2),), width=length, height=5).shapes() == [(3, 3, halved)]
    assert Architecture((MaxPool(2, 1),), width=length, height=5).shapes() == [(3, 5, length)]


def test_head_and_body() -> None:
    conv, region, softmax, cost = Conv(6), Region(((1.0, 1.0),), 1), Softmax(), Cost()
    assert (Architecture((conv, region)).head, Architecture((conv, region)).body) == (region, (conv,))
    assert (Architecture((conv, softmax, cost)).head, Architecture((conv, softmax, cost)).body) == (softmax, (conv,))
    assert (Architecture((conv, cost)).head, Architecture((conv, cost)).body) == (None, (conv,))
    assert (Architecture((conv, conv)).head, Architecture((conv, conv)).body) == (None, (conv, conv))
    assert Architecture((conv, AvgPool(), softmax)).body == (conv, AvgPool())


@pytest.mark.parametrize("after", [Conv(8), Dropout(), Softmax(), Region(((1.0, 1.0),), 3)])
def test_nothing_follows_the_head(after: Layer) -> None:
    architecture = Architecture((*SMALL.layers, Cost(), after), width=20, height=12, channels=2)
    with pytest.raises(ConfigError, match=r"^layer 11 \(.*\): must come before the region, which ends the network$"):
        architecture.shapes()


def test_region_counts_its_filters() -> None:
    assert Region(((1.0, 1.0),) * 5, classes=20).filters == 125
    assert Region(((1.0, 1.0),) * 3, classes=9418).filters == 28269
    with pytest.raises(
        ConfigError, match=r"^layer 1 \(region\): 1 anchors x \(5 \+ 3 classes\) need 8 filters .* got 9$"
    ):
        Architecture((Conv(9), SMALL.layers[-1]), width=20, height=12).shapes()


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        (
            (Conv(4, size=13, padding=0),),
            r"^layer 0 \(convolutional 13x13, 4 filters\): output of a side of 12",
        ),
        (
            (Conv(4), MaxPool(16, 3, padding=3)),
            r"^layer 1 \(maxpool 16x16/3\): output of a side of 12 cells would be empty",
        ),
        (
            (Conv(4), Conv(4, stride=2), Route((0, 1))),
            r"^layer 2 .*: must join maps of the same size, got 20x12, 10x6$",
        ),
        (
            (Conv(4), Conv(4, stride=2), Shortcut(0)),
            r"^layer 2 \(shortcut 0\): must add two maps of the same shape, got 10x6x4 and 20x12x4$",
        ),
        ((Conv(4), Conv(5), Shortcut(-2)), r"must add two maps of the same shape, got 20x12x5 and 20x12x4$"),
        ((Conv(4), Shortcut(-2)), r"^layer 1 \(shortcut -2\): must read from layers 0 to 0, got -2$"),
        (
            (Conv(4), Conv(6, groups=4)),
            r"^layer 1 \(grouped 3x3, 6 filters\): groups must divide .* got 4 groups, 4 channels, 6 filters$",
        ),
        ((Conv(4), Conv(6, groups=6)), r"^layer 1 \(depthwise 3x3, 6 filters\): .* got 6 groups, 4 channels"),
        ((Conv(4), Reorg(8)), r"^layer 1 \(reorg /8\): width and height must be multiples of 8, got 20x12$"),
        ((Conv(18), Reorg(4)), r"^layer 1 \(reorg /4\): channels must be a multiple of 16, got 18$"),
        ((Route((0,)),), r"^layer 0 \(route 0\): must read from layers"),
        ((Conv(4), Route((1,))), r"^layer 1 \(route 1\): must read from layers 0 to 0, got 1$"),
        ((Conv(4), Route((-2,))), r"^layer 1 \(route -2\): must read from layers 0 to 0, got -2$"),
    ],
)
def test_layers_that_do_not_fit(layers: tuple[Layer, ...], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Architecture(layers, width=20, height=12).shapes()


@pytest.mark.parametrize(("width", "height"), [(20, 13), (21, 12)])
def test_reorg_needs_both_sides_even(width: int, height: int) -> None:
    with pytest.raises(ConfigError, match=rf"multiples of 2, got {width}x{height}$"):
        Architecture((Conv(4), Reorg(2)), width=width, height=height).shapes()


def test_space_to_depth_takes_any_channels() -> None:
    architecture = Architecture((Conv(5), Reorg(2, "space_to_depth")), width=20, height=12)
    assert architecture.shapes()[1] == (20, 6, 10)


def test_names_of_layers() -> None:
    names = [layer_name(layer) for layer in (*SMALL.layers, Softmax(), Cost(), AvgPool(), *LIGHT.layers[2:7])]
    assert names == [
        "convolutional 3x3, 4 filters",
        "maxpool 2x2/2",
        "maxpool 2x2/1",
        "route 0",
        "reorg /2",
        "route -1, 2",
        "convolutional 1x1, 6 filters",
        "dropout",
        "convolutional 2x2, 8 filters",
        "region",
        "softmax",
        "cost",
        "avgpool",
        "depthwise 5x5, 12 filters",
        "convolutional 1x1, 4 filters",
        "shortcut -4",
        "grouped 5x5, 6 filters",
        "upsample x2",
    ]


def test_route_sources() -> None:
    assert route_sources(9, Route((-1, -9, 0, 8))) == (8, 0, 0, 8)


# The built-in networks


def giga(operations: list[int]) -> float:
    return round(sum(operations) / 1e9, 2)


@pytest.mark.parametrize(
    ("architecture", "operations"),
    [
        (darknet19(), 5.58),  # §3: "only requires 5.58 billion operations"
        (darknet19(256), 7.29),
        (darknet19(448), 22.33),
        (yolov2(20, VOC_ANCHORS), 29.36),
        (yolov2(size=608), 62.94),
        (yolo9000(size=416), 28.69),
        (yolo9000(), 49.06),
        (tiny_yolov2(), 5.41),
    ],
    ids=lambda value: str(value) if isinstance(value, float) else f"{value.width}",
)
def test_billions_of_operations(architecture: Architecture, operations: float) -> None:
    assert giga(architecture.operations()) == operations


def test_operations_grow_with_the_area() -> None:
    architecture = BUILT_IN["yolov2-voc"]()
    at_416 = sum(architecture.operations())
    assert sum(architecture.operations(width=832)) == 2 * at_416
    assert sum(architecture.operations(width=832, height=1248)) == 6 * at_416


@pytest.mark.parametrize(
    ("name", "size"),
    [  # bytes of the published files with a header of 20 bytes
        ("darknet19", 83_427_124),
        ("darknet19-448", 83_427_124),
        ("yolov2", 203_934_264),
        ("yolov2-voc", 202_704_264),
        ("tiny-yolov2", 44_948_600),
        ("yolo9000", 195_230_024),
    ],
)
def test_bytes_of_weights(name: str, size: int) -> None:
    assert 20 + 4 * sum(BUILT_IN[name]().parameter_counts()) == size


@pytest.mark.parametrize(
    ("name", "filters", "classes", "anchors"),
    [
        ("yolov2-voc", 125, 20, 5),
        ("yolov2-paper", 125, 20, 5),
        ("tiny-yolov2-voc", 125, 20, 5),
        ("yolov2", 425, 80, 5),
        ("tiny-yolov2", 425, 80, 5),
        ("yolov2-lite", 425, 80, 5),
        ("yolo9000", 28269, 9418, 3),
        ("yolo9000-paper", 28269, 9418, 3),
    ],
)
def test_last_layer_of_the_detectors(name: str, filters: int, classes: int, anchors: int) -> None:
    architecture = BUILT_IN[name]()
    assert architecture.body[-1] == Conv(filters, size=1, padding=0, batch_normalize=False, activation="linear")
    assert isinstance(architecture.head, Region)
    assert (architecture.head.classes, len(architecture.head.anchors_wh_cells)) == (classes, anchors)
    assert architecture.head.softmax
    assert (architecture.head.tree is not None) == (classes == 9418)
    assert architecture.stride() == 32
    cells = architecture.height // 32, architecture.width // 32
    assert architecture.shapes()[-1] == (filters, *cells)
    assert architecture.shapes(width=352, height=288)[-1] == (filters, 9, 11)


def test_table_6() -> None:
    """Table 6 of the paper: type, filters, size, and the side of the map that it prints beside."""
    architecture = darknet19()
    printed = """
        C 32 3 224, M 112, C 64 3 112, M 56, C 128 3 56, C 64 1 56, C 128 3 56, M 28,
        C 256 3 28, C 128 1 28, C 256 3 28, M 14,
        C 512 3 14, C 256 1 14, C 512 3 14, C 256 1 14, C 512 3 14, M 7,
        C 1024 3 7, C 512 1 7, C 1024 3 7, C 512 1 7, C 1024 3 7, C 1000 1 7
    """
    ours = [
        f"C {layer.filters} {layer.size} {shape[2]}" if isinstance(layer, Conv) else f"M {shape[2]}"
        for layer, shape in zip(architecture.layers[:-2], architecture.shapes(), strict=False)
    ]
    assert ours == [" ".join(layer.split()) for layer in printed.split(",")]
    assert architecture.layers[-2:] == (AvgPool(), Softmax())
    convolutions = [layer for layer in architecture.layers if isinstance(layer, Conv)]
    assert len(convolutions) == 19
    assert sum(isinstance(layer, MaxPool) for layer in architecture.layers) == 5
    assert [layer.batch_normalize for layer in convolutions] == [True] * 18 + [False]


def test_passthrough_of_the_paper() -> None:
    """§2: "the 26 x 26 x 512 feature map into a 13 x 13 x 2048 feature map, which can be concatenated"."""
    architecture = BUILT_IN["yolov2-paper"]()
    shapes = architecture.shapes()
    reorg = next(i for i, layer in enumerate(architecture.layers) if isinstance(layer, Reorg))
    assert architecture.layers[reorg] == Reorg(2, "space_to_depth")
    assert shapes[reorg - 1] == (512, 26, 26)
    assert shapes[reorg] == (2048, 13, 13)
    assert shapes[reorg + 1] == (2048 + 1024, 13, 13)
    (source,) = route_sources(reorg - 1, architecture.layers[reorg - 1])
    final = max(
        i
        for i, layer in enumerate(architecture.layers)
        if isinstance(layer, Conv) and layer.filters == 512 and layer.size == 3
    )
    assert source == final
    added = [layer for layer in architecture.layers[23:] if isinstance(layer, Conv) and layer.size == 3]
    assert [layer.filters for layer in added] == [1024] * 3  # §3: "three 3 x 3 convolutional layers with 1024 filters"


def test_passthrough_of_the_files() -> None:
    architecture = BUILT_IN["yolov2-voc"]()
    reorg = next(i for i, layer in enumerate(architecture.layers) if isinstance(layer, Reorg))
    assert architecture.layers[reorg] == Reorg(2, "darknet")
    assert architecture.shapes()[reorg - 1 : reorg + 2] == [(64, 26, 26), (256, 13, 13), (1280, 13, 13)]
    assert architecture.layers[reorg + 1] == Route((-1, -4))


def test_fast_networks_lack_the_largest_map() -> None:
    plain, fast = darknet19(), darknet19(fast=True)
    assert fast.layers[0] == Conv(32, stride=2, padding=1)
    assert fast.layers[1:] == plain.layers[2:]
    assert fast.shapes() == plain.shapes()[1:]
    detector, usual = yolov2(fast=True), yolov2()
    assert detector.shapes() == usual.shapes()[1:]
    reorg = next(i for i, layer in enumerate(detector.layers) if isinstance(layer, Reorg))
    route = next(i for i, layer in enumerate(detector.layers) if isinstance(layer, Route))
    (source,) = route_sources(route, detector.layers[route])
    assert detector.shapes()[source] == (512, 26, 26)
    assert detector.shapes()[reorg] == (256, 13, 13)


def test_yolo9000_of_the_paper_has_three_priors() -> None:
    architecture = BUILT_IN["yolo9000-paper"]()
    assert isinstance(architecture.head, Region)
    assert architecture.head.anchors_wh_cells == YOLO9000_ANCHORS
    assert architecture.layers[:-2] == BUILT_IN["yolov2-paper"]().layers[:-2]


def test_efficientnet_lite0() -> None:
    """Table 1 of Tan & Le 2019: of each stage the channels, the side of the map at 224, and the number of blocks."""
    architecture = efficientnet_lite0()
    shapes, layers = architecture.shapes(), architecture.layers
    stem, blocks, top = layers[1], layers[2:-5], layers[-5:]
    assert (stem, shapes[1]) == (Conv(32, 3, 2, 0, True, "relu6", end_padding=1), (32, 112, 112))
    depthwise = [layer for layer in blocks if isinstance(layer, Conv) and layer.groups > 1]
    ends = [i for i, layer in enumerate(layers) if isinstance(layer, Conv) and layer.activation == "linear"][1:-1]
    printed = [(16, 112, 1), (24, 56, 2), (40, 28, 2), (80, 14, 3), (112, 14, 3), (192, 7, 4), (320, 7, 1)]
    assert [shapes[i] for i in ends] == [(c, side, side) for c, side, repeats in printed for _ in range(repeats)]
    assert [layer.size for layer in depthwise] == [*[3] * 3, *[5] * 2, *[3] * 3, *[5] * 7, 3]
    assert [layer.stride for layer in depthwise] == [1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1, 1, 1, 1]
    assert sum(isinstance(layer, Shortcut) for layer in blocks) == 16 - 7  # each block of a stage but its first
    assert top == (Conv(1280, 1, 1, 0, True, "relu6"), AvgPool(), Dropout(0.2), layers[-2], Softmax())
    # What is published of Lite0 is 4.65 M parameters, all learned: less means and variances, and the scale of the input
    learned = sum(architecture.parameter_counts()) - 6
    learned -= sum(2 * layer.filters for layer in layers if isinstance(layer, Conv) and layer.batch_normalize)
    assert learned == 4_652_008


def test_yolov2_lite_reads_strides_16_and_32() -> None:
    architecture = yolov2_lite(7, size=320)
    backbone = efficientnet_lite0().layers[:-5]
    assert architecture.layers[: len(backbone)] == backbone
    shapes, end = architecture.shapes(352, 288), len(backbone)
    assert shapes[end - 1] == (320, 9, 11)
    assert shapes[end : end + 5] == [(256, 9, 11), (112, 18, 22), (32, 18, 22), (128, 9, 11), (128 + 256, 9, 11)]
    (source,) = route_sources(end + 1, architecture.layers[end + 1])
    assert architecture.layers[source] == Shortcut(-4)  # the last block of the stage with 112 channels
    assert architecture.layers[source + 1] == Conv(672, 1, padding=0, activation="relu6")
    assert architecture.layers[-4:-2] == (Conv(256, 1, padding=0), Conv(256))


def test_defaults() -> None:
    architecture = yolov2()
    assert (architecture.width, architecture.height, architecture.channels, architecture.batch_norm) == (
        416,
        416,
        3,
        "eps_inside_sqrt",
    )
    assert isinstance(architecture.head, Region)
    assert architecture.head.anchors_wh_cells == COCO_ANCHORS
    assert yolov2(7, size=320).shapes()[-1] == (5 * 12, 10, 10)


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("darknet19", "darknet19"),
        ("darknet19_448", "darknet19-448"),
        ("yolov2", "yolov2"),
        ("yolov2-voc", "yolov2-voc"),
        ("yolov2-tiny", "tiny-yolov2"),
        ("yolov2-tiny-voc", "tiny-yolov2-voc"),
        ("yolo9000", "yolo9000"),
    ],
)
def test_built_in_networks_are_darknets(file: str, name: str) -> None:
    theirs, ours = read_cfg(folder() / f"{file}.cfg"), BUILT_IN[name]()
    assert ours.body == theirs.body
    assert len(ours.layers) == len(theirs.layers)
    assert ours.channels == theirs.channels
    if file != "darknet19":  # 256 in the file, 224 in the paper
        assert (ours.width, ours.height) == (theirs.width, theirs.height)
    if isinstance(theirs.head, Region):
        assert isinstance(ours.head, Region)
        for key in ("anchors_wh_cells", "classes", "softmax", "tree", "map"):
            assert getattr(ours.head, key) == getattr(theirs.head, key)
        for key in ("thresh", "object_scale", "bias_match"):
            assert dict(ours.head.training)[key] == dict(theirs.head.training)[key]
    else:
        assert ours.head == theirs.head


def test_operations_of_darknets_files() -> None:
    measured = {
        file: giga(read_cfg(folder() / f"{file}.cfg").operations()) for file in ("darknet19", "tiny", "yolo9000")
    }
    assert measured == {"darknet19": 7.29, "tiny": 0.98, "yolo9000": 49.06}


def folder() -> Path:
    return shared("data", "darknet-cfg")
