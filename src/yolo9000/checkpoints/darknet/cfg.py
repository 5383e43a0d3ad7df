"""Darknet's ``.cfg`` files: read into an `Architecture`, and written from one.

The format: ``[section]`` lines, then ``key=value`` lines; blanks and tabs are ignored; lines that start with ``#`` or
``;`` are comments, and so is what follows ``#``, ``;`` or ``//`` after a value; of a repeated key the first counts.
Darknet: src/option_list.c, src/parser.c.
"""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
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
from yolo9000.errors import ConfigError

__all__ = ["parse_cfg", "read_cfg", "write_cfg"]

_log = logging.getLogger(__name__)

MAX_LENGTH = 1_000_000  # larger values are typing errors, not layers
SHOWN = 80  # characters of a wrong line or value that an error quotes
ALIASES = {"network": "net", "conv": "convolutional", "max": "maxpool", "avg": "avgpool", "soft": "softmax"}
ACTIVATION_ALIASES = {"silu": "swish"}
IGNORED = {
    "net": {
        *("time_steps", "notruth", "hflip", "inputs", "center", "clip", "max_ratio", "min_ratio"),
        *("adam", "B1", "B2", "eps"),
    },
    "convolutional": {"dot", "batch_norm"},
    "region": {"max", "classfix", "log", "sqrt", "mask_scale"},
}
"""Keys that Darknet knows and that have no effect here."""
TRAINING_ONLY = {
    "net": {
        *("mosaic", "mosaic_bound", "mixup", "cutmix", "blur", "gaussian_noise", "flip", "flip_vertical"),
        *("optimized_memory", "workspace_size_limit_MB", "try_fix_nan", "dynamic_minibatch", "ema_alpha", "seen"),
        *("label_smooth_eps", "sgdr_cycle", "sgdr_mult", "track", "num_classes", "contrastive", "augment_speed"),
        *("max_chart_loss", "resize_step", "show_receptive_field", "use_cuda_graph", "loss_scale", "adversarial_lr"),
    },
    "convolutional": {"bin_output", "dontload", "dontloadscales", "train_only_bn", "share_index"},
    "region": {
        *("focal_loss", "iou_loss", "ignore_thresh", "truth_thresh", "counters_per_class", "nms_kind", "mask"),
        *("num_keypoints", "random_scale", "resize", "label_smooth_eps", "track"),
    },
    "dropout": {"dropblock", "dropblock_size_abs", "dropblock_size_rel"},
}
"""Keys of other Darknets that matter in training only: a warning lists those that a file has. Others are errors."""
OFF_VALUES = {
    "convolutional": {"dilation": "1", "antialiasing": "0", "share_index": "-1"},
    "maxpool": {"antialiasing": "0", "maxpool_depth": "0"},
    "reorg": {"reverse": "0"},
}
"""Keys that change what a layer computes, but for these values."""
IGNORED_IN_LAYERS = {"learning_rate", "onlyforward", "smooth", "stopbackward"}
"""The same for the keys that Darknet reads from every layer."""
OTHER_VERSIONS = {"yolo": "YOLOv3 or later", "Gaussian_yolo": "YOLOv3 or later", "detection": "YOLOv1"}
"""Sections that only networks of other versions have."""
MUST_BE_OFF = {"convolutional": ("flipped", "binary", "xnor"), "region": ("background",)}
"""Flags that would change what the layer computes, set by no network of the family."""


@dataclass(frozen=True)
class _Option:
    line: int
    text: str


@dataclass
class _Section:
    """A ``[section]`` and its options; reading an option removes it, so that the remaining ones are unknown."""

    file: str
    line: int
    name: str
    options: dict[str, _Option]
    passed_over: list[str] = field(default_factory=list)

    def take_training(self, key: str, read: Callable[[str], Any]) -> Any:
        """A value that matters in training only: None where it is mistyped, as it must not stop a prediction."""
        try:
            return self.take(key, read, None)
        except ConfigError:
            self.passed_over.append(key)
            return None

    def take(self, key: str, read: Callable[[str], Any], default: Any) -> Any:
        option = self.options.pop(key, None)
        if option is None:
            return default
        try:
            return read(option.text)
        except ValueError as error:
            got = repr(option.text[:SHOWN])
            raise ConfigError(f"{self.file}:{option.line}: [{self.name}] {key} {error}, got {got}") from None

    def finish(self) -> None:
        for key in MUST_BE_OFF.get(self.name, ()):
            self.take(key, _off, None)
        ignored = IGNORED.get(self.name, set()) | (set() if self.name == "net" else IGNORED_IN_LAYERS)
        for key, option in self.options.items():
            if key in TRAINING_ONLY.get(self.name, ()):
                self.passed_over.append(key)
            elif key not in ignored and option.text != OFF_VALUES.get(self.name, {}).get(key):
                raise ConfigError(f"{self.file}:{option.line}: [{self.name}] has no option {key[:SHOWN]!r}")


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
    sections = _split_sections(text, name)
    if not sections or sections[0].name != "net":
        raise ConfigError(f"{name}: must begin with the section [net]")
    _check_family(sections)
    net = sections[0]
    width, height = net.take("width", _length, 0), net.take("height", _length, 0)
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


def _split_sections(text: str, name: str) -> list[_Section]:
    sections: list[_Section] = []
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.replace(" ", "").replace("\t", "")
        if not line or line[0] in "#;\0":
            continue
        if line[0] == "[":
            if not line.endswith("]"):
                raise ConfigError(f"{name}:{number}: a section must be written [name], got {raw.strip()[:SHOWN]!r}")
            sections.append(_Section(name, number, ALIASES.get(line[1:-1], line[1:-1]), {}))
            continue
        key, equals, value = line.partition("=")
        if not equals or not key:
            raise ConfigError(f"{name}:{number}: must be key=value or [section], got {raw.strip()[:SHOWN]!r}")
        if not sections:
            raise ConfigError(f"{name}:{number}: {key[:SHOWN]!r} must be inside a section")
        sections[-1].options.setdefault(key, _Option(number, _without_comment(key, value)))
    return sections


def _without_comment(key: str, value: str) -> str:
    marks = r"[#;]" if key in ("tree", "map") else r"[#;]|//"  # a path may have two slashes
    return re.split(marks, value, maxsplit=1)[0]


def _check_family(sections: list[_Section]) -> None:
    """Say of networks of other versions what they are, before one of their keys is named."""
    for section in sections:
        if section.name in OTHER_VERSIONS:
            raise ConfigError(
                f"{section.file}:{section.line}: [{section.name}] is of {OTHER_VERSIONS[section.name]}; here "
                "detectors end in [region] (YOLOv2, YOLO9000)"
            )


def _read_layer(section: _Section) -> Layer:
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


def _read_conv(section: _Section) -> Conv:
    size = section.take("size", _length, 1)
    padding = section.take("padding", _whole, 0)
    if section.take("pad", _flag, False):
        padding = size // 2
    return Conv(
        filters=section.take("filters", _length, 1),
        size=size,
        stride=section.take("stride", _length, 1),
        padding=padding,
        batch_normalize=section.take("batch_normalize", _flag, False),
        activation=section.take("activation", _activation, "logistic"),
        groups=section.take("groups", _length, 1),
        end_padding=section.take("end_padding", _whole, 0),
    )


def _read_maxpool(section: _Section) -> MaxPool:
    stride = section.take("stride", _length, 1)
    size = section.take("size", _length, stride)
    return MaxPool(size, stride, section.take("padding", _whole, size - 1))


def _read_route(section: _Section) -> Route:
    sources = section.take("layers", _integers, ())
    if not sources:
        raise ConfigError(f"{section.file}:{section.line}: [route] must give layers")
    return Route(sources)


def _read_shortcut(section: _Section) -> Shortcut:
    source = section.take("from", _integer, None)
    if source is None:
        raise ConfigError(f"{section.file}:{section.line}: [shortcut] must give from")
    return Shortcut(source, section.take("activation", _activation, "linear"))


def _read_upsample(section: _Section) -> Upsample:
    if section.take("scale", _float, 1.0) != 1:
        raise ConfigError(f"{section.file}:{section.line}: [upsample] scale must be 1")
    return Upsample(section.take("stride", _length, 2))


def _reorg_order(text: str) -> ReorgOrder:
    if text not in get_args(ReorgOrder):
        raise ValueError(f"must be one of {', '.join(get_args(ReorgOrder))}")
    return cast(ReorgOrder, text)


def _read_reorg(section: _Section) -> Reorg:
    return Reorg(section.take("stride", _length, 1), section.take("order", _reorg_order, "darknet"))


def _read_dropout(section: _Section) -> Dropout:
    return Dropout(section.take("probability", _float, 0.5))


def _read_softmax(section: _Section) -> Softmax:
    return Softmax(
        groups=section.take("groups", _length, 1),
        tree=section.take("tree", str, None),
        temperature=section.take("temperature", _float, 1.0),
    )


def _read_region(section: _Section) -> Region:
    line = section.line
    count = section.take("num", _length, 1)
    values = section.take("anchors", _floats, (0.5,) * (2 * count))
    if len(values) != 2 * count:
        raise ConfigError(f"{section.file}:{line}: [region] num={count} needs {2 * count} anchors, got {len(values)}")
    if min(values) <= 0:
        raise ConfigError(f"{section.file}:{line}: [region] anchors must be positive, got {min(values)}")
    if section.take("coords", _length, 4) != 4:
        raise ConfigError(f"{section.file}:{line}: [region] coords must be 4")
    rest = {key: section.take(key, read, getattr(Region, key)) for key, read in _REGION.items()}
    training = [(key, section.take(key, read, None)) for key, read in _REGION_TRAINING.items()]
    return Region(
        anchors_wh_cells=tuple(zip(values[::2], values[1::2], strict=True)),
        training=tuple((key, value) for key, value in training if value is not None),
        **rest,
    )


def _whole(text: str) -> int:
    number = float(text) if _is_float(text) else math.nan
    if not number.is_integer() or not 0 <= number <= MAX_LENGTH:
        raise ValueError(f"must be a whole number from 0 to {MAX_LENGTH:,}")
    return int(number)


def _channels(text: str) -> int:
    if (channels := _length(text)) not in (1, 3):
        raise ValueError("must be 1 or 3")
    return channels


def _length(text: str) -> int:
    number = float(text) if _is_float(text) else math.nan
    if not number.is_integer() or not 1 <= number <= MAX_LENGTH:
        raise ValueError(f"must be a whole number from 1 to {MAX_LENGTH:,}")
    return int(number)


def _integer(text: str) -> int:
    number = float(text) if _is_float(text) else math.nan
    if not number.is_integer():
        raise ValueError("must be a whole number")
    return int(number)


def _float(text: str) -> float:
    if not _is_float(text) or not math.isfinite(float(text)):
        raise ValueError("must be a number")
    return float(text)


def _is_float(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _flag(text: str) -> bool:
    return _integer(text) != 0


def _off(text: str) -> None:
    if _flag(text):
        raise ValueError("must be 0")


def _integers(text: str) -> tuple[int, ...]:
    return tuple(_integer(part) for part in text.strip(",").split(","))


def _floats(text: str) -> tuple[float, ...]:
    return tuple(_float(part) for part in text.strip(",").split(","))


def _activation(text: str) -> str:
    text = ACTIVATION_ALIASES.get(text, text)
    if text not in ACTIVATIONS:
        raise ValueError(f"must be one of {', '.join(ACTIVATIONS)}")
    return text


_SCHEDULE: dict[str, Callable[[str], Any]] = {
    **dict.fromkeys(
        ("batch", "subdivisions", "min_crop", "max_crop", "burn_in", "max_batches", "random", "step", "letter_box"),
        _integer,
    ),
    **dict.fromkeys(("momentum", "decay", "angle", "aspect", "saturation", "exposure", "hue"), _float),
    **dict.fromkeys(("learning_rate", "power", "scale", "gamma"), _float),
    "policy": str,
    "steps": _integers,
    "scales": _floats,
}
_REGION: dict[str, Callable[[str], Any]] = {"classes": _length, "softmax": _flag, "tree": str, "map": str}
_REGION_TRAINING: dict[str, Callable[[str], Any]] = {
    **dict.fromkeys(("bias_match", "rescore", "absolute", "random"), _flag),
    **dict.fromkeys(("jitter", "object_scale", "noobject_scale", "class_scale", "coord_scale", "thresh"), _float),
}
_READERS: dict[str, Callable[[_Section], Layer]] = {
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
