"""Load a model, whatever kind of file it is in. The only place that looks at a model's suffix."""

from __future__ import annotations

from pathlib import Path

from yolo9000.architectures.layers import Architecture, BatchNormForm
from yolo9000.architectures.weights import Model
from yolo9000.architectures.zoo import BUILT_IN
from yolo9000.checkpoints.bundled import BUNDLED, bundled_file
from yolo9000.checkpoints.darknet.cfg import read_cfg
from yolo9000.checkpoints.darknet.detector import read_detector, weights_file
from yolo9000.checkpoints.darknet.released import RELEASED, is_released_detector, read_released, released_file
from yolo9000.checkpoints.darknet.weights import read_weights
from yolo9000.checkpoints.model import LoadedModel
from yolo9000.checkpoints.onnx import read_onnx
from yolo9000.checkpoints.openvino import read_openvino
from yolo9000.checkpoints.safetensors import read_checkpoint
from yolo9000.errors import ConfigError, WeightsError, nearest
from yolo9000.types import ResizeMode

__all__ = [
    "MODEL_SUFFIXES",
    "cfg_of",
    "is_model",
    "load_architecture",
    "load_model",
    "load_weights",
    "names_architecture",
]

READERS = {".safetensors": read_checkpoint, ".onnx": read_onnx, ".xml": read_openvino}
"""Files that hold everything about a model; a ``.cfg`` needs others beside it."""
MODEL_SUFFIXES = (".safetensors", ".cfg", ".onnx", ".xml")


def is_model(name: str | Path) -> bool:
    """Whether `load_model` takes a name: that of the bundled model or a released detector, or a model's path."""
    return str(name) == BUNDLED or is_released_detector(str(name)) or Path(name).suffix in MODEL_SUFFIXES


def load_model(
    model: str | Path = BUNDLED,
    *,
    weights: str | Path | None = None,
    names: str | Path | None = None,
    tree: str | Path | None = None,
    data: str | Path | None = None,
    batch_norm: BatchNormForm = "eps_inside_sqrt",
    resize_mode: ResizeMode | None = None,
) -> LoadedModel:
    """Load a model from its files, without an engine.

    Args:
        model: a ``.safetensors``, ``.cfg``, ``.onnx`` or ``.xml`` file, or the name of the bundled or a downloaded
            model.
        weights: of a ``.cfg``: its weights; None for the file beside it with the suffix ``.weights``.
        names: of a ``.cfg``: display names; None for those that ``data`` names, else a ``.names`` file beside it, else
            VOC's for 20 classes and COCO's for 80.
        tree: of a ``.cfg``: the label tree; None for the one that the cfg names.
        data: of a ``.cfg``: a Darknet ``.data`` file, for its names.
        batch_norm: which Darknet trained a ``.cfg``'s weights; see `Architecture.batch_norm`.
        resize_mode: how images were fitted when a ``.cfg``'s weights were trained; None for what its ``letter_box``
            says, else ``letterbox``. Darknet until March 2017 and AlexeyAB's fork stretch.

    Raises:
        YoloError: a file is missing, damaged or of another kind, or the files do not match; the message says which.

    Example:
        >>> from yolo9000 import load_model
        >>> model = load_model("yolo9000-small")
        >>> model.kind
        'detector'
    """
    path = bundled_file() if str(model) == BUNDLED else released_file(str(model)) or Path(model)
    if path.suffix == ".cfg":
        return read_detector(
            path, weights, names=names, tree=tree, data=data, batch_norm=batch_norm, resize_mode=resize_mode
        )
    if path.suffix not in READERS:
        if path.suffix in (".pt", ".pth"):
            raise ConfigError(
                f"{model}: PyTorch files are not read, as they can hold programs: use Detector.load(), or train"
            )
        close = nearest(str(model), (BUNDLED, *RELEASED, *BUILT_IN))
        raise ConfigError(f"{model}: must be {BUNDLED} or a model file ({', '.join(MODEL_SUFFIXES)}){close}")
    if any((weights, names, tree, data)):
        raise ConfigError(f"{model}: holds its own weights, names and tree; others can be given only for a .cfg")
    return READERS[path.suffix](path)


def names_architecture(name: str | Path) -> Architecture | None:
    """What `load_architecture` gives; None where the name is neither a built-in architecture's nor a ``.cfg``."""
    if str(name) in BUILT_IN:
        return BUILT_IN[str(name)]()
    return read_cfg(name) if Path(name).suffix == ".cfg" else None


def load_architecture(name: str | Path, *, argument: str = "model") -> Architecture:
    """A built-in architecture by its name, or that of a ``.cfg``; no weights are read.

    Args:
        name: the name, or the path of the ``.cfg``.
        argument: what errors call the name.

    Raises:
        ConfigError: no architecture has that name, or the file cannot be used.
    """
    architecture = names_architecture(name)
    if architecture is not None:
        return architecture
    known = ", ".join(BUILT_IN)
    raise ConfigError(
        f"{argument} must be a .cfg file or one of {known}, got {str(name)!r}{nearest(str(name), BUILT_IN)}"
    )


def load_weights(path: str | Path, architecture: Architecture) -> Model:
    """Weights that training can start from: those of a model, or a Darknet ``.weights`` file, whole or partial.

    Args:
        path: the model, the name of a released one that was downloaded, or the file. A ``.weights`` file with its
            ``.cfg`` beside it is read as that network, which may be a classifier.
        architecture: what a ``.weights`` file without a ``.cfg`` is read for.

    Raises:
        ConfigError: the model is an exported file.
        WeightsError: the file cannot be read, or does not match.
    """
    if str(path) in RELEASED:
        return read_released(str(path))
    if (cfg := cfg_of(path)) is not None:
        return read_weights(weights_file(cfg, None), read_cfg(cfg))[1]
    if is_model(path):
        return load_model(path).trained_weights
    try:
        return read_weights(path, architecture, partial=True)[1]
    except WeightsError as error:
        hint = "if these are the weights of another network, put its .cfg beside them"
        raise WeightsError(f"{error}; {hint}" if Path(path).suffix == ".weights" else str(error)) from None


def cfg_of(path: str | Path) -> Path | None:
    """The ``.cfg`` that a path names, or that is beside the ``.weights`` file that it names; None: there is none."""
    path = Path(path)
    if path.suffix == ".weights" and path.with_suffix(".cfg").is_file():
        return path.with_suffix(".cfg")
    return path if path.suffix == ".cfg" else None
