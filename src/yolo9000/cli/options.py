"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from yolo9000.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from yolo9000.inference.detector import Detector
    from yolo9000.taxonomy.hierarchy import Hierarchy

__all__ = [
    "BatchNormOption",
    "ConfThresholdOption",
    "DataOption",
    "DeviceOption",
    "EngineOption",
    "HierThreshOption",
    "LabelsOption",
    "NamesOption",
    "NmsIouOption",
    "OnErrorOption",
    "OverridesOption",
    "ParentsOption",
    "PrecisionOption",
    "ResizeModeOption",
    "SplitOption",
    "ThreadsOption",
    "TreeOption",
    "WeightsOption",
    "WithinOption",
    "WordNetOption",
    "given_only",
    "next_run",
    "parse_size",
    "read_hierarchy",
    "with_labels",
]

WeightsOption = Annotated[Path | None, typer.Option(help="Darknet's .weights [beside the .cfg].", show_default=False)]
NamesOption = Annotated[
    Path | None, typer.Option(help="Display names, one a line [.names beside the .cfg].", show_default=False)
]
TreeOption = Annotated[Path | None, typer.Option(help="Label tree [the one that the .cfg names].", show_default=False)]
WithinOption = Annotated[
    str | None,
    typer.Option(
        help="On a tree: condition on these nodes and look for nothing else, e.g. vehicle,dog.", show_default=False
    ),
]
LabelsOption = Annotated[
    Path | None,
    typer.Option(help="On a tree: answer with these nodes instead; a file of names or ids.", show_default=False),
]
ConfThresholdOption = Annotated[
    float, typer.Option("--conf-threshold", "--conf", "-c", help="Minimum score of a detection.")
]
NmsIouOption = Annotated[
    float, typer.Option("--nms-iou", "--iou", help="IoU above which two boxes count as one object.")
]
HierThreshOption = Annotated[
    float | None,
    typer.Option(
        help="On a tree: minimum probability of the answer; lower is more specific [the model's, else 0.5].",
        show_default=False,
    ),
]
ParentsOption = Annotated[
    list[Path] | None,
    typer.Option(help="Your own table of parents: .csv, .yaml or SKOS; may be repeated.", show_default=False),
]
OverridesOption = Annotated[
    Path | None, typer.Option(help="CSV of labels and the ids that they mean: your word.", show_default=False)
]
WordNetOption = Annotated[bool, typer.Option("--wordnet/--no-wordnet", help="Look labels up in WordNet.")]
SplitOption = Annotated[Literal["train", "val", "test"], typer.Option(help="Which split.")]
OnErrorOption = Annotated[
    Literal["error", "skip", "fix"],
    typer.Option(help="At a faulty annotation: stop, leave its image out, or mend what can be mended."),
]
DataOption = Annotated[Path | None, typer.Option(help="Darknet's .data, for the names.", show_default=False)]
ResizeModeOption = Annotated[
    Literal["letterbox", "stretch"],
    typer.Option(help="How a .cfg's training fitted images; Darknet until March 2017: stretch."),
]
BatchNormOption = Annotated[
    Literal["eps_inside_sqrt", "eps_outside_sqrt"],
    typer.Option(help="Where epsilon stood in a .cfg's training; Darknet until March 2017: outside."),
]


EngineOption = Annotated[
    Literal["auto", "openvino", "onnxruntime", "torch"],
    typer.Option(help="What runs the network; auto: the first that is installed."),
]
DeviceOption = Annotated[str, typer.Option(help="cpu, cuda, cuda:1; OpenVINO also gpu.")]
PrecisionOption = Annotated[
    Literal["float32", "bfloat16"], typer.Option(help="bfloat16 is faster where the CPU has it.")
]
ThreadsOption = Annotated[int | None, typer.Option(help="Processor threads [one a core].", show_default=False)]


def given_only(**options: float | None) -> dict[str, Any]:
    """The options that the user gave."""
    return {name: value for name, value in options.items() if value is not None}


def with_labels(detector: Detector, file: Path | None) -> Detector:
    """The detector, answering with the nodes that a file names, if one is given."""
    from yolo9000.taxonomy.files import read_names

    return detector if file is None else detector.with_labels(read_names(file))


def read_hierarchy(tables: Sequence[Path], with_wordnet: bool) -> Hierarchy:
    """WordNet, if it is wanted, with the user's tables over it."""
    from yolo9000.taxonomy.hierarchy import Hierarchy
    from yolo9000.taxonomy.readers import read_parent_table
    from yolo9000.taxonomy.wordnet import wordnet

    hierarchy = Hierarchy(wordnet() if with_wordnet else None)
    for table in tables:
        for entry in read_parent_table(table):
            hierarchy.add(entry)
    return hierarchy


def next_run(folder: Path) -> Path:
    """The folder, or the first of ``folder-2``, ``folder-3``, ... that is not there yet."""
    number = 1
    candidate = folder
    while candidate.exists():
        number += 1
        candidate = folder.with_name(f"{folder.name}-{number}")
    return candidate


def parse_size(text: str) -> tuple[int, int]:
    """``416`` or ``608x352`` to width and height.

    Raises:
        ConfigError: it is neither.
    """
    parts = text.lower().split("x")
    if len(parts) > 2 or not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise ConfigError(f"must be an integer or WIDTHxHEIGHT, got {text!r}", argument="size")
    return int(parts[0]), int(parts[-1])
