"""The values of arguments that take one of a few words.

They are here, and not beside what they control, so that the command line can list them without loading anything else.
"""

from __future__ import annotations

from typing import Literal

__all__ = [
    "Against",
    "BatchNormForm",
    "DecodingRule",
    "ExportFormat",
    "ExportPrecision",
    "Keep",
    "OnError",
    "PointOf",
    "Precision",
    "ResizeMode",
    "Runner",
    "Split",
    "Suppression",
    "WeightsDtype",
]

Split = Literal["train", "val", "test"]
OnError = Literal["error", "skip", "fix"]
"""What to do with an image whose annotation has an issue: stop, leave the image out, or fix what can be fixed."""
ResizeMode = Literal["letterbox", "stretch"]
"""How an image is fitted to a network's input: aspect ratio kept and padded, or ignored."""
BatchNormForm = Literal["eps_inside_sqrt", "eps_outside_sqrt"]
Precision = Literal["auto", "float32", "bfloat16"]
"""What an engine computes in; ``auto``: bfloat16 where the device has it and the model's receipt allows it."""
ExportPrecision = Literal["float32", "bfloat16", "int8"]
"""What an exported file is to be computed in."""
DecodingRule = Literal["conditional", "darknet"]
"""What hierarchical decoding compares with the threshold: ``conditional``, the product of conditional probabilities, as
in the paper; ``darknet``, the product of absolute ones, as in the released program, which stops much higher up."""
Suppression = Literal["label", "path", "objectness"]
"""Which boxes can be one object: those of one label, those whose labels are on one path of the tree, or any."""
ExportFormat = Literal["onnx", "openvino", "darknet", "page"]
WeightsDtype = Literal["float32", "float16", "int8"]
"""How weights are stored: unchanged; in half precision; in 8 bits with a float32 scale for each filter or class."""
Keep = Literal["all", "forks", "labels"]
"""Which nodes that are not labels are kept: ``all``, up to the root; those where the tree ``forks``, since a node with
one child decides nothing; or none, so that only ``labels`` remain, as in ``9k.tree``."""
PointOf = Literal["center", "bottom"]
"""Which point of a box crosses lines and lies in zones: its center, or the middle of its lower side."""
Against = Literal["epoch", "minutes"]
Runner = Literal["process", "ray"]
"""Who labels images: this process, or the workers of a Ray cluster."""
