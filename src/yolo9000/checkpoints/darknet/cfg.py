"""Darknet's ``.cfg`` files: read into an `Architecture`, and written from one. Darknet: src/parser.c."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, cast, get_args

from yolo9000.architectures.layers import (
    ACTIVATIONS,
    Architecture,
    AvgPool,
    BatchNormForm,
    Conv,
    Cost,
    Dropout,
    Layer,
    MaxPool,
    Region,
    Reorg,
    ReorgOrder,
    Route,
    Schedule,
    Shortcut,
    Softmax,
    Upsample,
)
from yolo9000.checkpoints.darknet.sections import (
    SHOWN,
    Section,
    finite_float,
    flag,
    floats,
    integer,
    integers,
    length,
    split_sections,
    whole,
)
from yolo9000.errors import ConfigError

__all__ = ["parse_cfg", "read_cfg", "write_cfg"]

_log = logging.getLogger(__name__)

ACTIVATION_ALIASES = {"silu": "swish"}
OTHER_VERSIONS = {"yolo": "YOLOv3 or later", "Gaussian_yolo": "YOLOv3 or later", "detection": "YOLOv1"}
"""Sections that only networks of other versions have."""


def read_cfg(path: str | Path, *, batch_norm: BatchNormForm = "eps_inside_sqrt") -> Architecture:
    """Read a ``.cfg`` file.

    Args:
        path: the file.
        batch_norm: the form of batch norm that the weights were trained with; the file does not say.

    Raises:
        ConfigError: the file cannot be read, or a line, which is named, is not valid for this family of networks.
    """
    path = Path(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    return parse_cfg(_decoded(data, path), name=str(path), batch_norm=batch_norm)


def _decoded(data: bytes, path: Path) -> str:
    """Comments may be in any encoding, as Darknet reads bytes; all that counts is ASCII."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        if b"\0" in data or b"[" not in data:
            raise ConfigError(f"{path}: must be a text file, got other bytes") from None
        return data.decode("latin-1")


def parse_cfg(text: str, *, name: str = "cfg", batch_norm: BatchNormForm = "eps_inside_sqrt") -> Architecture:
    """The architecture that the text of a ``.cfg`` describes.

    Args:
        text: contents of the file.
        name: name of the file in errors.
        batch_norm: see `read_cfg`.

    Raises:
        ConfigError: see `read_cfg`.
    """
    sections = split_sections(text, name)
    if not sections or sections[0].name != "net":
        raise ConfigError(f"{name}: must begin with the section [net]")
    _check_family(sections)
    net = sections[0]
    width, height = net.take("width", length, 0), net.take("height", length, 0)
    if not (width and height):
        raise ConfigError(f"{name}:{net.line}: [net] must give width and height")
    architecture = Architecture(
        layers=(),
        width=width,
        height=height,
        channels=net.take("channels", _channels, 3),
        batch_norm=batch_norm,
        schedule=Schedule(**{key: net.take_training(key, read) for key, read in _SCHEDULE.items()}),
    )
    net.finish()
    layers = tuple(_read_layer(section) for section in sections[1:])
    if not layers:
        raise ConfigError(f"{name}: must have at least one layer after [net]")
    passed_over = dict.fromkeys(f"[{section.name}] {key}" for section in sections for key in section.passed_over)
    if passed_over:
        _log.warning("%s: ignored, as they matter in training only: %s", name, ", ".join(passed_over))
    architecture = replace(architecture, layers=layers)
    try:
        architecture.shapes()
    except ConfigError as error:
        raise ConfigError(f"{name}: {error}") from None
    return architecture


def _check_family(sections: list[Section]) -> None:
    """Say of networks of other versions what they are, before one of their keys is named."""
    for section in sections:
        if section.name in OTHER_VERSIONS:
            raise ConfigError(
                f"{section.file}:{section.line}: [{section.name}] is of {OTHER_VERSIONS[section.name]}; here "
                "detectors end in [region] (YOLOv2, YOLO9000)"
            )


def _read_layer(section: Section) -> Layer:
    try:
        read = _READERS[section.name]
    except KeyError:
        known = ", ".join(f"[{key}]" for key in _READERS)
        raise ConfigError(
            f"{section.file}:{section.line}: [{section.name[:SHOWN]}] is not a layer of the YOLOv2 family, "
            f"which has {known}"
        ) from None
    layer = read(section)
    section.finish()
    return layer


def _read_conv(section: Section) -> Conv:
    size = section.take("size", length, 1)
    padding = section.take("padding", whole, 0)
    if section.take("pad", flag, False):
        padding = size // 2
    return Conv(
        filters=section.take("filters", length, 1),
        size=size,
        stride=section.take("stride", length, 1),
        padding=padding,
        batch_normalize=section.take("batch_normalize", flag, False),
        activation=section.take("activation", _activation, "logistic"),
        groups=section.take("groups", length, 1),
        end_padding=section.take("end_padding", whole, 0),
    )


def _read_maxpool(section: Section) -> MaxPool:
    stride = section.take("stride", length, 1)
    size = section.take("size", length, stride)
    return MaxPool(size, stride, section.take("padding", whole, size - 1))


def _read_route(section: Section) -> Route:
    sources = section.take("layers", integers, ())
    if not sources:
        raise ConfigError(f"{section.file}:{section.line}: [route] must give layers")
    return Route(sources)


def _read_shortcut(section: Section) -> Shortcut:
    source = section.take("from", integer, None)
    if source is None:
        raise ConfigError(f"{section.file}:{section.line}: [shortcut] must give from")
    return Shortcut(source, section.take("activation", _activation, "linear"))


def _read_upsample(section: Section) -> Upsample:
    if section.take("scale", finite_float, 1.0) != 1:
        raise ConfigError(f"{section.file}:{section.line}: [upsample] scale must be 1")
    return Upsample(section.take("stride", length, 2))


def _reorg_order(text: str) -> ReorgOrder:
    if text not in get_args(ReorgOrder):
        raise ValueError(f"must be one of {', '.join(get_args(ReorgOrder))}")
    return cast(ReorgOrder, text)


def _read_reorg(section: Section) -> Reorg:
    return Reorg(section.take("stride", length, 1), section.take("order", _reorg_order, "darknet"))


def _read_dropout(section: Section) -> Dropout:
    return Dropout(section.take("probability", finite_float, 0.5))


def _read_softmax(section: Section) -> Softmax:
    return Softmax(
        groups=section.take("groups", length, 1),
        tree=section.take("tree", str, None),
        temperature=section.take("temperature", finite_float, 1.0),
    )


def _read_region(section: Section) -> Region:
    line = section.line
    count = section.take("num", length, 1)
    values = section.take("anchors", floats, (0.5,) * (2 * count))
    if len(values) != 2 * count:
        raise ConfigError(f"{section.file}:{line}: [region] num={count} needs {2 * count} anchors, got {len(values)}")
    if min(values) <= 0:
        raise ConfigError(f"{section.file}:{line}: [region] anchors must be positive, got {min(values)}")
    if section.take("coords", length, 4) != 4:
        raise ConfigError(f"{section.file}:{line}: [region] coords must be 4")
    rest = {key: section.take(key, read, getattr(Region, key)) for key, read in _REGION.items()}
    training = [(key, section.take(key, read, None)) for key, read in _REGION_TRAINING.items()]
    return Region(
        anchors_wh_cells=tuple(zip(values[::2], values[1::2], strict=True)),
        training=tuple((key, value) for key, value in training if value is not None),
        **rest,
    )


def _channels(text: str) -> int:
    if (channels := length(text)) not in (1, 3):
        raise ValueError("must be 1 or 3")
    return channels


def _activation(text: str) -> str:
    text = ACTIVATION_ALIASES.get(text, text)
    if text not in ACTIVATIONS:
        raise ValueError(f"must be one of {', '.join(ACTIVATIONS)}")
    return text


_SCHEDULE: dict[str, Callable[[str], Any]] = {
    **dict.fromkeys(
        ("batch", "subdivisions", "min_crop", "max_crop", "burn_in", "max_batches", "random", "step", "letter_box"),
        integer,
    ),
    **dict.fromkeys(("momentum", "decay", "angle", "aspect", "saturation", "exposure", "hue"), finite_float),
    **dict.fromkeys(("learning_rate", "power", "scale", "gamma"), finite_float),
    "policy": str,
    "steps": integers,
    "scales": floats,
}
_REGION: dict[str, Callable[[str], Any]] = {"classes": length, "softmax": flag, "tree": str, "map": str}
_REGION_TRAINING: dict[str, Callable[[str], Any]] = {
    **dict.fromkeys(("bias_match", "rescore", "absolute", "random"), flag),
    **dict.fromkeys(("jitter", "object_scale", "noobject_scale", "class_scale", "coord_scale", "thresh"), finite_float),
}
_READERS: dict[str, Callable[[Section], Layer]] = {
    "convolutional": _read_conv,
    "maxpool": _read_maxpool,
    "avgpool": lambda section: AvgPool(),
    "route": _read_route,
    "shortcut": _read_shortcut,
    "upsample": _read_upsample,
    "reorg": _read_reorg,
    "dropout": _read_dropout,
    "softmax": _read_softmax,
    "cost": lambda section: Cost(section.take("type", str, "sse")),
    "region": _read_region,
}


def write_cfg(architecture: Architecture, *, for_darknet: bool = True) -> str:
    """The text of a ``.cfg`` that `parse_cfg` reads back into the same architecture (except for its ``batch_norm``).

    Args:
        architecture: the network.
        for_darknet: write only what Darknet understands; otherwise ``[reorg]`` may have the option ``order``, and
            ``[convolutional]`` the option ``end_padding``.

    Raises:
        ConfigError: a ``.cfg`` cannot express it: a file name with blanks; for Darknet also a reorg in
            ``space_to_depth`` order and a convolution with ``end_padding``.
    """
    net = {"width": architecture.width, "height": architecture.height, "channels": architecture.channels}
    schedule = {field.name: getattr(architecture.schedule, field.name) for field in fields(Schedule)}
    sections = [("net", net | {key: value for key, value in schedule.items() if value is not None})]
    sections += [_write_layer(index, layer, for_darknet) for index, layer in enumerate(architecture.layers)]
    return "\n".join(
        f"[{name}]\n" + "".join(f"{key}={_write_value(value)}\n" for key, value in options.items())
        for name, options in sections
    )


def _write_layer(index: int, layer: Layer, for_darknet: bool) -> tuple[str, dict[str, Any]]:
    match layer:
        case Conv():
            options: dict[str, Any] = {"batch_normalize": True} if layer.batch_normalize else {}
            padding = {"pad": 1} if layer.padding == layer.size // 2 else {"padding": layer.padding}
            sizes = {"filters": layer.filters, "size": layer.size, "stride": layer.stride}
            groups = {} if layer.groups == 1 else {"groups": layer.groups}
            if layer.end_padding and for_darknet:
                raise ConfigError(f"layer {index}: Darknet pads convolutions equally on all sides, not more at the end")
            padding |= {"end_padding": layer.end_padding} if layer.end_padding else {}
            return "convolutional", options | sizes | groups | padding | {"activation": layer.activation}
        case MaxPool():
            padding = {} if layer.padding == layer.size - 1 else {"padding": layer.padding}
            return "maxpool", {"size": layer.size, "stride": layer.stride} | padding
        case AvgPool():
            return "avgpool", {}
        case Route():
            return "route", {"layers": layer.sources}
        case Shortcut():
            return "shortcut", {"from": layer.source, "activation": layer.activation}
        case Upsample():
            return "upsample", {"stride": layer.stride}
        case Reorg():
            if layer.order == "darknet":
                return "reorg", {"stride": layer.stride}
            if for_darknet:
                raise ConfigError(f"layer {index}: Darknet has no reorg in the order {layer.order!r}")
            return "reorg", {"stride": layer.stride, "order": layer.order}
        case Dropout():
            return "dropout", {"probability": layer.probability}
        case Softmax():
            tree = {} if layer.tree is None else {"tree": layer.tree}
            temperature = {} if layer.temperature == 1 else {"temperature": layer.temperature}
            return "softmax", {"groups": layer.groups} | tree | temperature
        case Cost():
            return "cost", {"type": layer.type}
        case Region():
            anchors = tuple(value for pair in layer.anchors_wh_cells for value in pair)
            shape = {"anchors": anchors, "num": len(layer.anchors_wh_cells), "coords": 4}
            rest = {key: getattr(layer, key) for key in _REGION if getattr(layer, key) is not None}
            return "region", shape | rest | dict(layer.training)


def _write_value(value: Any) -> str:
    if isinstance(value, tuple):
        return ",".join(_write_value(part) for part in value)
    if any(map(str.isspace, str(value))):
        raise ConfigError(f"a value in a .cfg must not contain blanks, got {value!r}")
    return str(int(value)) if isinstance(value, bool) else str(value)
