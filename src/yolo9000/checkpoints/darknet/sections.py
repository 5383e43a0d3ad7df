"""The form of Darknet's ``.cfg`` files: sections of options, and the values that options may have.

``[section]`` lines, then ``key=value`` lines; blanks and tabs are ignored; lines that start with ``#`` or ``;`` are
comments, and so is what follows ``#``, ``;`` or ``//`` after a value; of a repeated key the first counts.
Darknet: src/option_list.c, src/parser.c.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from yolo9000.errors import ConfigError

__all__ = [
    "SHOWN",
    "Section",
    "finite_float",
    "flag",
    "floats",
    "integer",
    "integers",
    "length",
    "split_sections",
    "whole",
]

MAX_LENGTH = 1_000_000  # larger values are typing errors, not layers
SHOWN = 80  # characters of a wrong line or value that an error quotes
ALIASES = {"network": "net", "conv": "convolutional", "max": "maxpool", "avg": "avgpool", "soft": "softmax"}
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
MUST_BE_OFF = {"convolutional": ("flipped", "binary", "xnor"), "region": ("background",)}
"""Flags that would change what the layer computes, set by no network of the family."""


@dataclass(frozen=True)
class _Option:
    line: int
    text: str


@dataclass
class Section:
    """A ``[section]`` and its options; reading an option removes it, so that the remaining ones are unknown.

    Attributes:
        file, line: where it begins.
        name: Darknet's main name of the section.
        options: those that have not been read.
        passed_over: keys of options that are ignored, as they matter in training only.
    """

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
        """The value of an option, or the default where it is not given.

        Args:
            key: of the option.
            read: makes the value of the text, or raises a ValueError that says what it must be.
            default: the value without the option.

        Raises:
            ConfigError: the value is wrong: with file and line.
        """
        option = self.options.pop(key, None)
        if option is None:
            return default
        try:
            return read(option.text)
        except ValueError as error:
            got = repr(option.text[:SHOWN])
            raise ConfigError(f"{self.file}:{option.line}: [{self.name}] {key} {error}, got {got}") from None

    def finish(self) -> None:
        """Check the options that have not been read.

        Raises:
            ConfigError: one is unknown, or changes what the layer computes.
        """
        for key in MUST_BE_OFF.get(self.name, ()):
            self.take(key, _off, None)
        ignored = IGNORED.get(self.name, set()) | (set() if self.name == "net" else IGNORED_IN_LAYERS)
        for key, option in self.options.items():
            if key in TRAINING_ONLY.get(self.name, ()):
                self.passed_over.append(key)
            elif key not in ignored and option.text != OFF_VALUES.get(self.name, {}).get(key):
                raise ConfigError(f"{self.file}:{option.line}: [{self.name}] has no option {key[:SHOWN]!r}")


def split_sections(text: str, name: str) -> list[Section]:
    """The sections of a file, in its order.

    Args:
        text: contents of the file.
        name: of the file, for errors.

    Raises:
        ConfigError: a line is neither a section nor an option of one.
    """
    sections: list[Section] = []
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.replace(" ", "").replace("\t", "")
        if not line or line[0] in "#;\0":
            continue
        if line[0] == "[":
            if not line.endswith("]"):
                raise ConfigError(f"{name}:{number}: a section must be written [name], got {raw.strip()[:SHOWN]!r}")
            sections.append(Section(name, number, ALIASES.get(line[1:-1], line[1:-1]), {}))
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


def whole(text: str) -> int:
    """An integer from 0 on."""
    number = float(text) if _is_float(text) else math.nan
    if not number.is_integer() or not 0 <= number <= MAX_LENGTH:
        raise ValueError(f"must be a whole number from 0 to {MAX_LENGTH:,}")
    return int(number)


def length(text: str) -> int:
    """An integer from 1 on."""
    number = float(text) if _is_float(text) else math.nan
    if not number.is_integer() or not 1 <= number <= MAX_LENGTH:
        raise ValueError(f"must be a whole number from 1 to {MAX_LENGTH:,}")
    return int(number)


def integer(text: str) -> int:
    """Any integer; Darknet's readers take ``3.0`` too."""
    number = float(text) if _is_float(text) else math.nan
    if not number.is_integer():
        raise ValueError("must be a whole number")
    return int(number)


def finite_float(text: str) -> float:
    """A finite number."""
    if not _is_float(text) or not math.isfinite(float(text)):
        raise ValueError("must be a number")
    return float(text)


def _is_float(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def flag(text: str) -> bool:
    """Whether an integer is not 0."""
    return integer(text) != 0


def _off(text: str) -> None:
    if flag(text):
        raise ValueError("must be 0")


def integers(text: str) -> tuple[int, ...]:
    """Integers with commas between them."""
    return tuple(integer(part) for part in text.strip(",").split(","))


def floats(text: str) -> tuple[float, ...]:
    """Finite numbers with commas between them."""
    return tuple(finite_float(part) for part in text.strip(",").split(","))
