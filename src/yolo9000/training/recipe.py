"""A recipe: everything that says how a network is trained, as a TOML file.

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

What is left out has the default that stands here. ``key=value`` on the command line goes over what the file says
(``none`` for no value), and nothing else does: an unknown key is an error.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    ValidationError,
    model_validator,
)

from yolo9000.data.augment import AugmentSettings, ClassifierAugmentSettings
from yolo9000.data.batching import SIZES
from yolo9000.data.dataset import OnError
from yolo9000.errors import ConfigError, describe_errors, nearest
from yolo9000.losses.region import PseudoBoxPolicy
from yolo9000.types import ResizeMode

__all__ = [
    "ClassifyRecipe",
    "DetectRecipe",
    "JointSettings",
    "LossSettings",
    "MultiScaleSettings",
    "NetworkSettings",
    "OptimizerSettings",
    "Recipe",
    "built_in_recipes",
    "read_recipe",
    "recipe_of",
]

Epochs = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class _Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class NetworkSettings(_Settings):
    """Which network.

    Attributes:
        name: a built-in network (``yolo9000 info`` names them) or a ``.cfg`` file. Its last layer is made to fit the
            classes of the data.
        width: what the filters of every layer but the last are multiplied by, and rounded to a multiple of 8.
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
        clusters: how many anchors ``clusters`` finds.
        fit: how images are fitted to the input when the network is used.
        initial_objectness: of all boxes at the beginning; .5 is Darknet's, less is better from nothing; see
            `yolo9000.architectures.surgery.initial_model`.
    """

    size: PositiveInt | tuple[PositiveInt, PositiveInt] = 416
    anchors: Literal["clusters", "table"] | list[tuple[PositiveFloat, PositiveFloat]] = "clusters"
    clusters: PositiveInt = 5
    fit: ResizeMode = "letterbox"
    initial_objectness: float = Field(default=0.5, gt=0, lt=1)


class ClassifierNetworkSettings(NetworkSettings):
    """Which classifier."""

    name: str = "darknet19"
    size: PositiveInt | tuple[PositiveInt, PositiveInt] = 224


class OptimizerSettings(_Settings):
    """How weights follow gradients. The loss is the sum over the images of a batch, divided by their number.

    Attributes:
        kind: ``sgd`` with momentum is the paper's.
        lr: after the burn-in.
        momentum: of SGD; the first beta of AdamW.
        decay: weight decay of kernels; biases and batch norm have none. Darknet: src/convolutional_layer.c.
        policy: how the rate falls. ``poly``: (1 - n / steps)^power; ``steps``: times ``scales`` at the epochs
            ``steps``; ``cosine``: half a turn, down to 0; ``constant``.
        power: of ``poly``; 4 in §3 Training for classification.
        steps: epochs at which the rate changes; 60 and 90 in §3 Training for detection.
        scales: what the rate is multiplied by at each.
        burn_in: batches in which the rate rises from 0 as (n / burn_in)^4. Darknet: src/network.c get_current_rate.
        grad_clip: largest norm of a batch's gradient, above which it is scaled down; None never does. Not in the paper.
    """

    kind: Literal["sgd", "adamw"] = "sgd"
    lr: PositiveFloat = 1e-3
    momentum: float = Field(default=0.9, ge=0, lt=1)
    decay: NonNegativeFloat = 5e-4
    policy: Literal["constant", "poly", "steps", "cosine"] = "steps"
    power: PositiveFloat = 4.0
    steps: list[Epochs] = Field(default_factory=list)
    scales: list[PositiveFloat] = Field(default_factory=list)
    burn_in: int = Field(default=0, ge=0)
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


class LossSettings(_Settings):
    """Weights and rules of the region loss; the defaults are those of every ``.cfg`` of the family.

    Attributes:
        object_scale, noobject_scale, class_scale, coord_scale: weights of the parts.
        thresh: a box that overlaps an object more than this is not pushed to "no object".
        rescore: objectness learns the IoU instead of 1.
        bias_match: an object is learnt by the anchor most like it, not by the predicted box most like it.
        warm_up_images: images at the start in which all boxes learn their anchor's place and size too.
    """

    object_scale: NonNegativeFloat = 5.0
    noobject_scale: NonNegativeFloat = 1.0
    class_scale: NonNegativeFloat = 1.0
    coord_scale: NonNegativeFloat = 1.0
    thresh: float = Field(default=0.6, ge=0, le=1)
    rescore: bool = True
    bias_match: bool = True
    warm_up_images: int = Field(default=12_800, ge=0)


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
    """What both tasks share.

    Attributes:
        data: the data set. In a file relative to it, on the command line to the working directory.
        epochs: how often every image is seen; need not be whole.
        batch: images for one step, over all processes.
        accumulate: parts that a batch is computed in, one after the other, to save memory. Darknet's subdivisions.
        seed: of everything that is drawn.
        start: what the network begins from: a model file of ours, or Darknet weights (whole or partial, such as
            ``darknet19_448.conv.23``). Layers are taken over from the first on as long as they fit; None: from nothing.
        multi_scale: changing sizes; None: always the network's.
        batch_norm_momentum: share of each batch in the mean and variance that batch norm remembers for later use.
            Darknet: .01; a training of less than some thousand batches wants more.
        average: the weights that are scored and kept are a running mean with this factor (EMA); None: the last ones.
        sampling: ``uniform``: each image once an epoch; ``balanced``: such that all classes are seen as often, as far
            as images with several allow; ``repeat``: images of classes in less than `repeat_below` of the images
            come more often (LVIS' repeat factor).
        repeat_below: share of the images, for ``repeat``.
        precision: ``auto`` is bfloat16 where the device computes in it, else float32.
        synchronise: batch norm over the images of all processes, not each its own.
        compile: run the network through torch.compile.
        workers: processes that prepare images; None: what suits the number of cores; 0: none beside training.
        on_error: what to do with faulty annotations.
        evaluate_every: epochs between scores on the validation split.
        checkpoint_every: batches between checkpoints, besides one at each score; None: only those.
    """

    data: str
    epochs: Epochs = 160.0
    batch: PositiveInt = 64
    accumulate: PositiveInt = 1
    seed: int = Field(default=0, ge=0)
    start: str | None = None
    optimizer: OptimizerSettings = OptimizerSettings()
    multi_scale: MultiScaleSettings | None = None
    batch_norm_momentum: float = Field(default=0.01, gt=0, le=1)
    average: float | None = Field(default=None, gt=0, lt=1)
    sampling: Literal["uniform", "balanced", "repeat"] = "uniform"
    repeat_below: float = Field(default=0.001, gt=0, le=1)
    precision: Literal["auto", "bfloat16", "float32"] = "auto"
    synchronise: bool = False
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
    def _place_as_used(self) -> DetectRecipe:
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


def read_recipe(recipe: str | Path, changes: Iterable[str] = ()) -> Recipe:
    """Read a recipe.

    Args:
        recipe: a TOML file, or the name of one that comes with the package.
        changes: ``key=value`` that go over the file's; keys of sections with dots, values as in TOML, where text needs
            no quotes: ``optimizer.lr=0.01``.

    Raises:
        ConfigError: there is no such recipe, or it is wrong: which key, what must hold and what came.
    """
    name = str(recipe)
    path = Path(recipe)
    if name in built_in_recipes():
        text, root = (files("yolo9000.training.recipes") / f"{name}.toml").read_text(encoding="utf-8"), Path()
    elif path.is_file():
        text, root = path.read_text(encoding="utf-8", errors="replace"), path.parent
    else:
        known = built_in_recipes()
        raise ConfigError(f"{name}: must be a TOML file or one of {', '.join(known)}{nearest(name, known)}")
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{name}: must be TOML: {error}") from None
    _resolve_paths(values, root)
    for change in changes:
        _change(values, change)
    return recipe_of(values, name)


def recipe_of(values: Mapping[str, Any], name: str) -> Recipe:
    """The recipe that plain values say.

    Args:
        values: as TOML gives them.
        name: of the recipe, for errors.

    Raises:
        ConfigError: which key is wrong, what must hold and what came.
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


def _resolve_paths(values: dict[str, Any], root: Path) -> None:
    """Make the paths of a recipe file relative to it, where there is such a file."""
    for keys in _PATHS:
        section = values
        for key in keys[:-1]:
            section = section.get(key, {}) if isinstance(section.get(key, {}), dict) else {}
        value = section.get(keys[-1])
        if isinstance(value, str) and (root / value).exists():
            section[keys[-1]] = str(root / value)


def _change(values: dict[str, Any], change: str) -> None:
    keys, equals, text = change.partition("=")
    if not equals or not keys:
        raise ConfigError(f"{change!r}: must be key=value, such as epochs=20 or optimizer.lr=0.01")
    *sections, last = keys.split(".")
    for section in sections:
        values = values.setdefault(section, {})
        if not isinstance(values, dict):
            raise ConfigError(f"{change!r}: {section} is not a section")
    values[last] = _value(text)


def _value(text: str) -> object:
    """What TOML makes of the text; ``none``, which TOML has not, is None, and what is no TOML is the text itself."""
    if text == "none":
        return None
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _unknown_key(recipe: type[BaseModel], location: tuple[int | str, ...]) -> str:
    """What to say of a key that a recipe or one of its sections has not."""
    section = recipe
    for name in location[:-1]:
        annotation = section.model_fields[str(name)].annotation
        section = next(kind for kind in (annotation, *get_args(annotation)) if hasattr(kind, "model_fields"))
    known, key = list(section.model_fields), str(location[-1])
    return f"{'.'.join(map(str, location))}: there is no such key; known: {', '.join(known)}{nearest(key, known)}"
