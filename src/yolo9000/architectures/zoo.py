"""The architectures of the paper, and lighter ones. `DARKNET19` reads like the paper's Table 6."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from yolo9000.architectures.layers import (
    Activation,
    Architecture,
    AvgPool,
    Conv,
    Dropout,
    Layer,
    MaxPool,
    Region,
    Reorg,
    ReorgOrder,
    Route,
    Shortcut,
    Softmax,
)

__all__ = [
    "BUILT_IN",
    "COCO_ANCHORS",
    "VOC_ANCHORS",
    "YOLO9000_ANCHORS",
    "darknet19",
    "efficientnet_lite0",
    "tiny_yolov2",
    "yolo9000",
    "yolov2",
    "yolov2_lite",
]

Anchors = tuple[tuple[float, float], ...]

# Widths and heights in cells of 32 pixels. The paper does not print any; these are from Darknet's cfg files.
VOC_ANCHORS: Anchors = (
    (1.3221, 1.73145),
    (3.19275, 4.00944),
    (5.05587, 8.09892),
    (9.47112, 4.84053),
    (11.2364, 10.0071),
)
COCO_ANCHORS: Anchors = (
    (0.57273, 0.677385),
    (1.87446, 2.06253),
    (3.33843, 5.47434),
    (7.88282, 3.52778),
    (9.77052, 9.16828),
)
TINY_VOC_ANCHORS: Anchors = ((1.08, 1.19), (3.42, 4.41), (6.63, 11.38), (9.42, 5.11), (16.62, 10.52))
YOLO9000_ANCHORS: Anchors = ((0.77871, 1.14074), (3.00525, 4.31277), (9.22725, 9.61974))


def _conv(filters: int, size: int = 3) -> Conv:
    return Conv(filters, size, padding=size // 2)


def _last(filters: int) -> Conv:
    """The last convolution: 1x1, no batch norm, no activation."""
    return Conv(filters, size=1, padding=0, batch_normalize=False, activation="linear")


_POOL = MaxPool(size=2, stride=2)

# Table 6 of the paper, up to the layer that depends on the number of classes.
DARKNET19: tuple[Layer, ...] = (
    _conv(32),
    _POOL,
    _conv(64),
    _POOL,
    *(_conv(128), _conv(64, 1), _conv(128)),
    _POOL,
    *(_conv(256), _conv(128, 1), _conv(256)),
    _POOL,
    *(_conv(512), _conv(256, 1), _conv(512), _conv(256, 1), _conv(512)),
    _POOL,
    *(_conv(1024), _conv(512, 1), _conv(1024), _conv(512, 1), _conv(1024)),
)
# The same with the first convolution and pooling in one: most of the time is spent on large maps.
DARKNET19_FAST: tuple[Layer, ...] = (replace(_conv(32), stride=2), *DARKNET19[2:])


def darknet19(size: int = 224, classes: int = 1000, *, fast: bool = False) -> Architecture:
    """Darknet-19, the classifier.

    Args:
        size: side of the square input: 224 (§3), 256 (Darknet's cfg) or 448 (the fine-tuning step).
        classes: number of classes.
        fast: give the first convolution stride 2 and drop the pooling after it; not in the paper.

    Paper: §3 Darknet-19, Table 6.
    """
    body = DARKNET19_FAST if fast else DARKNET19
    return Architecture((*body, _last(classes), AvgPool(), Softmax()), width=size, height=size)


def _detector_body(
    classifier: tuple[Layer, ...], passthrough_filters: int | None, order: ReorgOrder
) -> tuple[Layer, ...]:
    """Darknet-19, two 3x3x1024, the passthrough, the third 3x3x1024 (§3 Training for detection)."""
    main = (*classifier, _conv(1024), _conv(1024))
    squeeze = () if passthrough_filters is None else (_conv(passthrough_filters, 1),)
    final_512 = max(
        i for i, layer in enumerate(classifier) if layer == _conv(512)
    )  # "the final 3 x 3 x 512 layer" (§3)
    passthrough = (Route((final_512 - len(main),)), *squeeze, Reorg(2, order))
    join = Route((-1, -1 - len(passthrough)))
    return (*main, *passthrough, join, _conv(1024))


def _region(
    anchors: Anchors, classes: int, *, tree: str | None = None, rescore: bool = True, jitter: float = 0.2
) -> Region:
    """The region layer with the training options of every cfg of the family."""
    return Region(
        anchors_wh_cells=anchors,
        classes=classes,
        softmax=True,
        tree=tree,
        training=(
            *(("bias_match", True), ("rescore", rescore), ("absolute", True), ("random", True), ("jitter", jitter)),
            *(("object_scale", 5.0), ("noobject_scale", 1.0), ("class_scale", 1.0), ("coord_scale", 1.0)),
            ("thresh", 0.6),
        ),
    )


def yolov2(
    classes: int = 80,
    anchors: Anchors = COCO_ANCHORS,
    *,
    size: int = 416,
    passthrough_filters: int | None = 64,
    reorg: ReorgOrder = "darknet",
    tree: str | None = None,
    fast: bool = False,
) -> Architecture:
    """YOLOv2, the detector.

    Args:
        classes: number of classes, or of nodes of the tree.
        anchors: widths and heights in cells.
        size: side of the square input.
        passthrough_filters: None is the paper's passthrough, 26x26x512 to 13x13x2048; 64 is that of the cfg files since
            March 2017, where a 1x1 convolution first reduces 512 channels to 64, which become 256.
        reorg: order of the passthrough's channels; the released weights need ``darknet``.
        tree: file of the label tree; None for flat classes.
        fast: see `darknet19`.

    Paper: §2, §3 Training for detection.
    """
    region = _region(anchors, classes, tree=tree, jitter=0.3)
    body = _detector_body(DARKNET19_FAST if fast else DARKNET19, passthrough_filters, reorg)
    return Architecture((*body, _last(region.filters), region), width=size, height=size)


def tiny_yolov2(
    classes: int = 80,
    anchors: Anchors = COCO_ANCHORS,
    *,
    size: int = 416,
    last_width: int = 512,
    rescore: bool = False,
) -> Architecture:
    """Tiny YOLOv2: nine convolutions; not in the paper.

    Args:
        classes: number of classes.
        anchors: widths and heights in cells.
        size: side of the square input.
        last_width: filters of the last 3x3 convolution: 512 for COCO, 1024 for VOC.
        rescore: whether the target of objectness is the IoU (VOC) instead of 1 (COCO).

    Darknet: cfg/yolov2-tiny.cfg and cfg/yolov2-tiny-voc.cfg.
    """
    region = _region(anchors, classes, rescore=rescore)
    layers: tuple[Layer, ...] = (
        *(_conv(16), _POOL, _conv(32), _POOL, _conv(64), _POOL, _conv(128), _POOL, _conv(256), _POOL),
        *(_conv(512), MaxPool(size=2, stride=1), _conv(1024), _conv(last_width)),
        *(_last(region.filters), region),
    )
    return Architecture(layers, width=size, height=size)


def _same(filters: int, size: int = 1, stride: int = 1, *, groups: int = 1, activation: Activation = "relu6") -> Conv:
    """A convolution with TensorFlow's "SAME" padding, for maps whose sides are multiples of the stride."""
    zeros = size - stride
    return Conv(
        *(filters, size, stride, zeros // 2), activation=activation, groups=groups, end_padding=zeros - 2 * (zeros // 2)
    )


def _inverted_residual(channels: int, expansion: int, filters: int, size: int, stride: int) -> tuple[Layer, ...]:
    """MBConv: expansion, depthwise convolution, projection; plus the input if it has the same shape.

    Paper: Sandler et al. 2018, MobileNetV2, §3.3; without squeeze-and-excitation, as in the Lite networks.
    """
    wide = channels * expansion
    layers: tuple[Layer, ...] = (
        *((_same(wide),) if expansion > 1 else ()),
        _same(wide, size, stride, groups=wide),
        _same(filters, activation="linear"),
    )
    residual = stride == 1 and channels == filters
    return (*layers, Shortcut(-1 - len(layers))) if residual else layers


# Table 1 of Tan & Le 2019 (EfficientNet-B0): expansion, filters, repeats, size, stride of the first repeat.
_EFFICIENTNET_STAGES = (
    (1, 16, 1, 3, 1),
    (6, 24, 2, 3, 2),
    (6, 40, 2, 5, 2),
    (6, 80, 3, 3, 2),
    (6, 112, 3, 5, 1),
    (6, 192, 4, 5, 2),
    (6, 320, 1, 3, 1),
)
_STEM_FILTERS = 32


def _efficientnet_lite0_stages() -> tuple[Layer, ...]:
    """All layers before the last 1x1 convolution: stride 32, 320 channels.

    The first layer normalizes red, green and blue. It is not folded into the next one, whose zero padding comes after
    normalization in pretraining.
    """
    scale = Conv(3, 1, padding=0, batch_normalize=False, activation="linear", groups=3)
    layers: list[Layer] = [scale, _same(_STEM_FILTERS, 3, 2)]
    channels = _STEM_FILTERS
    for expansion, filters, repeats, size, stride in _EFFICIENTNET_STAGES:
        for repeat in range(repeats):
            layers += _inverted_residual(channels, expansion, filters, size, 1 if repeat else stride)
            channels = filters
    return tuple(layers)


def efficientnet_lite0(size: int = 224, classes: int = 1000) -> Architecture:
    """EfficientNet-Lite0, a classifier with pretrained weights; see ``examples/backbones``.

    EfficientNet-B0 (Tan & Le 2019, Table 1) without squeeze-and-excitation, with ReLU6 instead of swish; trained here
    without stochastic depth.

    Args:
        size: side of the square input, a multiple of 32.
        classes: number of classes.
    """
    classifier = (_same(1280), AvgPool(), Dropout(0.2), _last(classes))
    return Architecture((*_efficientnet_lite0_stages(), *classifier, Softmax()), width=size, height=size)


def yolov2_lite(
    classes: int = 80, anchors: Anchors = COCO_ANCHORS, *, size: int = 416, tree: str | None = None
) -> Architecture:
    """YOLOv2 on EfficientNet-Lite0: a passthrough from stride 16, a head of 256 filters; not in the paper.

    Args:
        classes: number of classes, or of nodes of the tree.
        anchors: widths and heights in cells.
        size: side of the square input, a multiple of 32.
        tree: file of the label tree; None for flat classes.
    """
    region = _region(anchors, classes, tree=tree, jitter=0.3)
    main: tuple[Layer, ...] = (*_efficientnet_lite0_stages(), _conv(256, 1))
    strides_16 = [i for i, shape in enumerate(Architecture(main, width=64, height=64).shapes()) if shape == (112, 4, 4)]
    passthrough = (Route((strides_16[-1] - len(main),)), _conv(32, 1), Reorg(2, "space_to_depth"))
    join = Route((-1, -1 - len(passthrough)))
    return Architecture(
        (*main, *passthrough, join, _conv(256, 1), _conv(256), _last(region.filters), region), width=size, height=size
    )


def yolo9000(*, size: int = 544, nodes: int = 9418, tree: str = "data/9k.tree") -> Architecture:
    """YOLO9000 as released: Darknet-19 with one 1x1 convolution of 3 x (5 + 9418) filters; no passthrough.

    Args:
        size: side of the square input: 544 in the cfg, 416 where the paper measures speed.
        nodes: number of nodes of the label tree.
        tree: file of the label tree.

    Darknet: cfg/yolo9000.cfg. The paper says "the base YOLOv2 architecture but only 3 priors" (§4), which is `yolov2`
    with `YOLO9000_ANCHORS`, built in as ``yolo9000-paper``.
    """
    region = replace(_region(YOLO9000_ANCHORS, nodes, tree=tree), map="data/coco9k.map")
    return Architecture((*DARKNET19, _last(region.filters), region), width=size, height=size)


BUILT_IN: dict[str, Callable[[], Architecture]] = {
    "darknet19": darknet19,
    "darknet19-448": lambda: darknet19(448),
    "darknet19-fast": lambda: darknet19(fast=True),
    "yolov2": lambda: yolov2(size=608),
    "yolov2-voc": lambda: yolov2(20, VOC_ANCHORS),
    "yolov2-paper": lambda: yolov2(20, VOC_ANCHORS, passthrough_filters=None, reorg="space_to_depth"),
    "yolov2-fast": lambda: yolov2(reorg="space_to_depth", fast=True),
    "tiny-yolov2": tiny_yolov2,
    "tiny-yolov2-voc": lambda: tiny_yolov2(20, TINY_VOC_ANCHORS, last_width=1024, rescore=True),
    "efficientnet-lite0": efficientnet_lite0,
    "yolov2-lite": yolov2_lite,
    "yolo9000": yolo9000,
    "yolo9000-paper": lambda: yolov2(
        9418, YOLO9000_ANCHORS, passthrough_filters=None, reorg="space_to_depth", tree="data/9k.tree"
    ),
}
"""The architectures that can be named instead of a file."""
