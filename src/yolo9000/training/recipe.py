"""A recipe: how a network is trained, as a TOML file.

::

    task = "detect"
    data = "bccd"                 # a data set: see `yolo9000.data.dataset`
    epochs = 160
    batch = 64

    [network]
    name = "yolov2-paper"         # a built-in network or a .cfg
    size = 416

    [optimizer]
    lr = 1e-3
    steps = [60, 90]              # epochs
    scales = [0.1, 0.1]

A key that is left out has the default that is defined here; ``key=value`` on the command line overrides the file
(``none`` for no value). An unknown key is an error.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    ValidationError,
    model_validator,
)

from yolo9000.data.augment import AugmentSettings, ClassifierAugmentSettings
from yolo9000.data.batching import SIZES
from yolo9000.data.dataset import OnError
from yolo9000.data.files import is_file, is_folder
from yolo9000.errors import ConfigError, describe_errors, nearest
from yolo9000.io.documents import parse_toml
from yolo9000.losses.region import PseudoBoxPolicy
from yolo9000.losses.settings import LossSettings
from yolo9000.types import ResizeMode

__all__ = [
    "ClassifyRecipe",
    "DetectRecipe",
    "JointSettings",
    "MultiScaleSettings",
    "NetworkSettings",
    "OptimizerSettings",
    "Recipe",
    "built_in_recipes",
    "merged",
    "parse_overrides",
    "read_recipe",
    "recipe_of",
    "resolve_paths",
]

_log = logging.getLogger(__name__)

START = "start"  # the network of the model that a recipe starts from
Epochs = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class _Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class NetworkSettings(_Settings):
    """Which network.

    Attributes:
        name: a built-in network (``yolo9000 info`` lists them), a ``.cfg`` file, or ``start`` for the network of the
            model to start from. Its last layer is made to fit the classes of the data.
        width: of a built-in network: what the filters of every layer but the last are multiplied by, and rounded to a
            multiple of 8. Other networks are taken as they are.
        size: of the input in pixels: the side, or [width, height].
    """

    name: str
    width: PositiveFloat = 1.0
    size: PositiveInt | tuple[PositiveInt, PositiveInt]

    @property
    def size_wh(self) -> tuple[int, int]:
        """Width and height of the input in pixels."""
        return (self.size, self.size) if isinstance(self.size, int) else self.size


class DetectorNetworkSettings(NetworkSettings):
    """Which detector.

    Attributes:
        anchors: ``clusters`` finds them in the training boxes by k-means under 1 - IoU (§2 Dimension Clusters);
            ``architecture`` takes the network's own; else their widths and heights in cells.
        clusters: how many anchors ``clusters`` finds; fewer for boxes of fewer different sizes.
        aspect: ``data``: where the network and its size are those of ``start``, the input takes the usual proportions
            of the training images instead, with about as many pixels, or fewer if the images are small; ``size``: it is
            as `size` says.
        fit: how images are fitted to the input when the network is used.
        initial_objectness: of all boxes at the beginning; .5 is Darknet's, less is better from scratch; see
            `yolo9000.architectures.surgery.initial_model`.
    """

    size: PositiveInt | tuple[PositiveInt, PositiveInt] = 416
    anchors: Literal["clusters", "architecture"] | list[tuple[PositiveFloat, PositiveFloat]] = "clusters"
    clusters: PositiveInt = 5
    aspect: Literal["size", "data"] = "size"
    fit: ResizeMode = "letterbox"
    initial_objectness: float = Field(default=0.5, gt=0, lt=1)


class ClassifierNetworkSettings(NetworkSettings):
    """Which classifier."""

    name: str = "darknet19"
    size: PositiveInt | tuple[PositiveInt, PositiveInt] = 224


class OptimizerSettings(_Settings):
    """The optimizer and the learning-rate schedule. The loss is the mean over the images of a batch.

    Attributes:
        name: ``sgd``, with momentum, is the paper's.
        lr: learning rate after the burn-in.
        momentum: of SGD; the first beta of AdamW.
        weight_decay: of kernels; biases and batch norm have none. Darknet: src/convolutional_layer.c.
        policy: how the learning rate falls. ``poly``: (1 - n / steps)^power; ``steps``: times ``scales`` at the epochs
            ``steps``; ``cosine``: half a cosine, down to 0; ``exp``: gamma^n; ``constant``.
        power: of ``poly``; 4 in §3 Training for classification.
        gamma: of ``exp``: the factor of every batch.
        steps: epochs at which the learning rate changes; 60 and 90 in §3 Training for detection.
        scales: its factor at each of these.
        burn_in: number of batches in which it rises from 0 as (n / burn_in)^burn_in_power. Darknet: src/network.c
            get_current_rate.
        burn_in_power: Darknet's is 4, unless the ``.cfg`` gives ``power``.
        transferred_lr: factor of the learning rate of layers whose weights were transferred from ``start``.
        grad_clip: largest norm of a batch's gradient, which is scaled down above it; None: no limit. Not in the paper.
    """

    name: Literal["sgd", "adamw"] = "sgd"
    lr: PositiveFloat = 1e-3
    momentum: float = Field(default=0.9, ge=0, lt=1)
    weight_decay: NonNegativeFloat = 5e-4
    policy: Literal["constant", "poly", "steps", "cosine", "exp"] = "steps"
    power: PositiveFloat = 4.0
    gamma: PositiveFloat = 1.0
    steps: list[NonNegativeFloat] = Field(default_factory=list)
    scales: list[PositiveFloat] = Field(default_factory=list)
    burn_in: int = Field(default=0, ge=0)
    burn_in_power: PositiveFloat = 4.0
    transferred_lr: PositiveFloat = 1.0
    grad_clip: PositiveFloat | None = None

    @model_validator(mode="after")
    def _steps_rise(self) -> OptimizerSettings:
        if len(self.steps) != len(self.scales):
            raise ValueError(f"steps and scales must be as many, got {len(self.steps)} and {len(self.scales)}")
        if sorted(self.steps) != self.steps:
            raise ValueError(f"steps must rise, got {self.steps}")
        return self


class MultiScaleSettings(_Settings):
    """Changing sizes of the input (§2 Multi-Scale Training).

    Attributes:
        sizes: widths in pixels, all equally likely; heights follow in the input's proportions, as multiples of
            the network's stride.
        every: batches that share a size.
    """

    sizes: list[PositiveInt] = Field(default=list(SIZES), min_length=1)
    every: PositiveInt = 10


class FeatureSettings(_Settings):
    """A cache of what frozen layers compute, so that they compute it once for each image and augmentation.

    Attributes:
        draws: number of different augmentations of each image, used in turn by the epochs.
        max_gib: largest size in GiB; what does not fit is computed each time. None: a quarter of the memory that is
            available when training starts, or 1 where the system does not say.
        on_disk: keep the cache in files of the run instead of in memory.
    """

    draws: PositiveInt = 4
    max_gib: PositiveFloat | None = None
    on_disk: bool = False


class JointSettings(_Settings):
    """Training on images with boxes and images with image-level labels together (§4 Joint training).

    Attributes:
        ratio: images with image-level labels for each with boxes; the paper's is 4, and 0 leaves them out. None: as
            the data have them.
        pseudo_boxes: what image-level labels teach besides the class of their best boxes: see
            `yolo9000.losses.region.PseudoBoxPolicy`.
    """

    ratio: NonNegativeFloat | None = None
    pseudo_boxes: PseudoBoxPolicy = "paper"


class _Common(_Settings):
    """Settings of both tasks.

    Attributes:
        data: the data set: in a recipe file relative to it, otherwise relative to the working directory.
        hold_out: fraction of the training images to validate on if the data have no split ``val``: chosen by their
            pixels, the same ones each time; images that are nearly the same stay together. None: no validation.
        validation_images: largest number of images to evaluate on in training, chosen by their names; None: all.
        epochs: passes over the images; may be a fraction.
        minutes: time that a run takes, reading the data and evaluations included, instead of the epochs: the learning
            rate follows the time, and evaluations come at equal parts of it, fewer if they take long. Such a run cannot
            be repeated exactly, since no two take equal times. None: no limit.
        patience: number of evaluations without an improvement after which training stops; None: it does not.
        batch: images of one step, over all processes.
        accumulate: parts that a batch is computed in, one after the other, to save memory. Darknet's ``subdivisions``.
        seed: of all random numbers.
        start: checkpoint or Darknet weights (whole or partial, e.g. ``darknet19_448.conv.23``) to transfer layers from:
            from the first on, as long as they fit. None: all layers are initialised from scratch.
        freeze: layers that are not trained: their number from the first on, counted back from the last one if negative;
            ``[[0, 40], [127, 185]]``: ranges, first and last; ``transferred``: all whose weights were transferred, but
            the last convolution; None: none.
        features: cache of what the frozen layers compute; None: they compute it each time.
        multi_scale: changing sizes of the input; None: always the network's.
        batch_norm_momentum: weight of each batch in the running mean and variance of batch norm. Darknet: .01; a
            training of less than some thousand batches needs more.
        ema_decay: the weights that are evaluated and saved are an exponential moving average with this decay; None: the
            last weights.
        sampling: ``uniform``: each image once an epoch; ``balanced``: all classes equally often, as far as images with
            several classes allow; ``repeat``: images of classes in less than `repeat_below` of the images come more
            often (LVIS' repeat factor).
        repeat_below: fraction of the images, for ``repeat``.
        precision: ``auto`` is bfloat16 on devices that compute in it, else float32.
        sync_bn: batch norm over the images of all processes, instead of each its own.
        compile: run the network through torch.compile.
        workers: processes that prepare images; None: depends on the number of cores; 0: none beside training.
        on_error: what to do with faulty annotations.
        evaluate_every: epochs between evaluations on the validation split.
        checkpoint_every: batches between checkpoints, besides one at each evaluation; None: only those.
    """

    data: str
    hold_out: float | None = Field(default=None, gt=0, lt=1)
    validation_images: PositiveInt | None = None
    epochs: Epochs = 160.0
    minutes: PositiveFloat | None = None
    patience: PositiveInt | None = None
    batch: PositiveInt = 64
    accumulate: PositiveInt = 1
    seed: int = Field(default=0, ge=0)
    start: str | None = None
    freeze: int | list[tuple[NonNegativeInt, NonNegativeInt]] | Literal["transferred"] | None = None
    features: FeatureSettings | None = None
    optimizer: OptimizerSettings = OptimizerSettings()
    multi_scale: MultiScaleSettings | None = None
    batch_norm_momentum: float = Field(default=0.01, gt=0, le=1)
    ema_decay: float | None = Field(default=None, gt=0, lt=1)
    sampling: Literal["uniform", "balanced", "repeat"] = "uniform"
    repeat_below: float = Field(default=0.001, gt=0, le=1)
    precision: Literal["auto", "bfloat16", "float32"] = "auto"
    sync_bn: bool = False
    compile: bool = False
    workers: int | None = Field(default=None, ge=0)
    on_error: OnError = "error"
    evaluate_every: Epochs = 1.0
    checkpoint_every: PositiveInt | None = None

    @model_validator(mode="after")
    def _batch_divides(self) -> _Common:
        if self.batch % self.accumulate:
            raise ValueError(f"accumulate must divide the batch of {self.batch}, got {self.accumulate}")
        return self

    @model_validator(mode="after")
    def _features_are_frozen(self) -> _Common:
        if self.features is not None and self.freeze is None:
            raise ValueError("features are those of frozen layers: set freeze too")
        return self


class DetectRecipe(_Common):
    """How a detector is trained.

    Attributes:
        network: which one.
        augment: how images are changed; where it does not say how they are placed, as goes with ``network.fit``:
            what is beside an image should be the same in training and in use.
        loss: the region loss.
        joint: what is done with images that have image-level labels and no boxes.
    """

    task: Literal["detect"]
    network: DetectorNetworkSettings
    augment: AugmentSettings = AugmentSettings()
    loss: LossSettings = LossSettings()
    joint: JointSettings = JointSettings()

    @model_validator(mode="after")
    def _set_placement_for_resize_mode(self) -> DetectRecipe:
        if "placement" not in self.augment.model_fields_set:
            placed = self.augment.model_copy(update={"placement": _PLACED[self.network.fit]})
            object.__setattr__(self, "augment", placed)
        return self


class ClassifyRecipe(_Common):
    """How a classifier is trained.

    Attributes:
        network: which one.
        augment: how images are changed.
    """

    task: Literal["classify"]
    network: ClassifierNetworkSettings = ClassifierNetworkSettings()
    augment: ClassifierAugmentSettings = ClassifierAugmentSettings()


Recipe = DetectRecipe | ClassifyRecipe
_RECIPES: dict[str, type[DetectRecipe | ClassifyRecipe]] = {"detect": DetectRecipe, "classify": ClassifyRecipe}
_PLACED: dict[ResizeMode, str] = {"letterbox": "letterbox_jitter", "stretch": "random_crop"}
_PATHS = (("data",), ("start",), ("network", "name"))  # settings that may be files


def built_in_recipes() -> list[str]:
    """Names of the recipes that come with the package."""
    return sorted(
        file.name.removesuffix(".toml")
        for file in files("yolo9000.training.recipes").iterdir()
        if _is_recipe(file.name)
    )


def read_recipe(recipe: str | Path, overrides: Mapping[str, Any] | None = None) -> Recipe:
    """Read a recipe.

    Args:
        recipe: a TOML file, or the name of a recipe of the package.
        overrides: settings that replace the file's; those of sections as mappings: ``{"optimizer": {"lr": 0.01}}``.

    Raises:
        ConfigError: no recipe has that name, or it is invalid: which key, what it must be, and its value.

    Example:
        >>> read_recipe("voc", {"data": "VOC", "optimizer": {"lr": 0.01}}).optimizer.lr
        0.01
    """
    name = str(recipe)
    path = Path(recipe)
    if name in built_in_recipes():
        text, root = (files("yolo9000.training.recipes") / f"{name}.toml").read_text(encoding="utf-8"), Path()
    elif is_file(path):
        text, root = path.read_text(encoding="utf-8", errors="replace"), path.parent
    else:
        known = built_in_recipes()
        raise ConfigError(f"{name}: must be a TOML file or one of {', '.join(known)}{nearest(name, known)}")
    values = parse_toml(text, name, ConfigError)
    resolve_paths(values, root)
    return recipe_of(merged(values, overrides or {}), name)


def parse_overrides(texts: Iterable[str]) -> dict[str, Any]:
    """Settings that are written ``key=value``, as `read_recipe` takes them.

    Args:
        texts: keys of sections have dots; values are TOML, where text needs no quotes and ``none`` is no value. Where
            a key comes again the last value counts, and a warning is logged.

    Raises:
        ConfigError: one is not of that form, or sets a key both as a section and as a value.

    Example:
        >>> parse_overrides(["epochs=20", "optimizer.lr=0.01", "multi_scale=none"])
        {'epochs': 20, 'optimizer': {'lr': 0.01}, 'multi_scale': None}
    """
    values: dict[str, Any] = {}
    for text in texts:
        keys, equals, value = text.partition("=")
        if not equals or not keys:
            raise ConfigError(f"{text!r}: must be key=value, e.g. epochs=20 or optimizer.lr=0.01")
        *sections, last = keys.split(".")
        section = values
        for name in sections:
            section = section.setdefault(name, {})
            if not isinstance(section, dict):
                raise ConfigError(f"{text!r}: {name} is not a section")
        if last in section:
            _log.warning("%s is given more than once: %s counts", keys, text)
        section[last] = _value(value)
    return values


def merged(values: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """The values with those that override them; sections are merged key by key."""
    both = dict(values)
    for key, value in overrides.items():
        before = both.get(key)
        both[key] = merged(before, value) if isinstance(before, dict) and isinstance(value, Mapping) else value
    return both


def recipe_of(values: Mapping[str, Any], name: str) -> Recipe:
    """The recipe that plain values say.

    Args:
        values: as TOML gives them.
        name: of the recipe, for errors.

    Raises:
        ConfigError: which key is wrong, what it must be, and its value.
    """
    kind = _RECIPES.get(values.get("task", ""))
    if kind is None:
        raise ConfigError(f"{name}: task must be one of {', '.join(_RECIPES)}, got {values.get('task')!r}")
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        unknown = [_unknown_key(kind, item["loc"]) for item in error.errors() if item["type"] == "extra_forbidden"]
        raise ConfigError(f"{name}: {'; '.join(unknown) or describe_errors(error)}") from None


def _is_recipe(name: str) -> bool:
    return name.endswith(".toml")


def resolve_paths(values: dict[str, Any], root: Path) -> None:
    """Make the paths of a recipe file relative to it, where there is such a file."""
    for keys in _PATHS:
        section = values
        for key in keys[:-1]:
            section = section.get(key, {}) if isinstance(section.get(key, {}), dict) else {}
        value = section.get(keys[-1])
        if isinstance(value, str) and (is_file(root / value) or is_folder(root / value)):
            section[keys[-1]] = str(root / value)


def _value(text: str) -> object:
    """What TOML makes of the text; ``none``, which TOML has not, is None, and what is no TOML is the text itself."""
    if text == "none":
        return None
    try:
        return parse_toml(f"value = {text}", text, ConfigError)["value"]
    except ConfigError:
        return text


def _unknown_key(recipe: type[BaseModel], location: tuple[int | str, ...]) -> str:
    """What to say of a key that a recipe or one of its sections has not."""
    section = recipe
    for name in location[:-1]:
        annotation = section.model_fields[str(name)].annotation
        section = next(kind for kind in (annotation, *get_args(annotation)) if hasattr(kind, "model_fields"))
    known, key = list(section.model_fields), str(location[-1])
    return f"{'.'.join(map(str, location))}: unknown key; known: {', '.join(known)}{nearest(key, known)}"
