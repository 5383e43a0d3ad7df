"""The commands that adapt a model to data: anchors, calibration, a new class."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from yolo9000.choices import ResizeMode
from yolo9000.cli.data import DataArgument, open_one
from yolo9000.cli.options import ENGINE, MODEL, OnErrorOption, Options, SplitOption, parse_size, with_options
from yolo9000.cli.terminal import Failures, say, say_lines
from yolo9000.errors import ConfigError
from yolo9000.io.digits import whole_number

__all__ = ["add_class", "anchors", "calibrate", "parse_range"]


def anchors(
    data: DataArgument,
    k: Annotated[str, typer.Option("--k", help="Numbers of anchors, such as 5 or 1-15.")] = "1-15",
    size: Annotated[str, typer.Option(help="Network input, such as 416 or 608x352.")] = "416",
    split: SplitOption = "train",
    on_error: OnErrorOption = "error",
    resize_mode: Annotated[ResizeMode, typer.Option(help="How images are fitted to the network.")] = "letterbox",
    seed: Annotated[int, typer.Option(help="Of the random starts.")] = 0,
    plot: Annotated[
        Path | None, typer.Option(help="Write the curve and the anchors as PNG.", show_default=False)
    ] = None,
) -> None:
    """Cluster the boxes of a data set into anchors (§2 Dimension Clusters)."""
    import numpy as np

    from yolo9000.adapt.anchors import anchor_forms, format_report, report, to_cells
    from yolo9000.architectures.zoo import COCO_ANCHORS, VOC_ANCHORS

    sizes_wh, images_wh = open_one(data, split, on_error, Path("runs", "anchors")).box_sizes(on_error)
    cells = to_cells(sizes_wh, parse_size(size), images_wh=images_wh, resize_mode=resize_mode)
    known = {"Darknet's for VOC": np.array(VOC_ANCHORS), "Darknet's for COCO": np.array(COCO_ANCHORS)}
    clustered = report(cells, parse_range(k), defaults=known, seed=seed)
    say_lines(format_report(clustered).splitlines())
    for result in clustered.rows:
        if result.k == clustered.elbow or len(clustered.rows) == 1 or result.k == 5:
            say("")
            say(f"k = {result.k}{' (elbow)' if result.k == clustered.elbow and len(clustered.rows) > 1 else ''}")
            say_lines(anchor_forms(result.iou.anchors_wh).splitlines())
    if plot is not None:
        from yolo9000.adapt.anchor_plot import plot_report

        plot_report(clustered, plot)
        say("")
        say(f"Plot in {plot.resolve()}")


def parse_range(text: str) -> list[int]:
    """``5``, ``1-15`` or ``3,5,9`` to whole counts.

    Raises:
        ConfigError: it is none of these.
    """
    counts: list[int] = []
    for part in text.split(","):
        first, dash, last = part.partition("-")
        begin, end = whole_number(first) or 0, whole_number(last if dash else first) or 0
        if not 1 <= begin <= end <= 100:
            raise ConfigError(f"must be integers from 1 to 100, e.g. 5, 1-15 or 3,5,9, got {text!r}", argument="k")
        counts += range(begin, end + 1)
    return sorted(set(counts))


@with_options(model_options=MODEL.only("size_wh"), engine_options=ENGINE)
def calibrate(
    model: Annotated[str, typer.Argument(help="A .safetensors file with a label tree.", show_default=False)],
    data: Annotated[str, typer.Argument(help="Images with boxes that it was not trained on.", show_default=False)],
    model_options: Options,
    engine_options: Options,
    max_error: Annotated[float, typer.Option(help="Fraction of the answers that may be wrong.")] = 0.05,
    min_score: Annotated[
        float, typer.Option(help="Of the predictions that this holds for: 0.25 for what `predict` shows.", min=0, max=1)
    ] = 0.0,
    split: SplitOption = "val",
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="File to write [MODEL-calibrated.safetensors].", show_default=False),
    ] = None,
    on_error: OnErrorOption = "error",
) -> None:
    """Make a model answer with the most specific node that is wrong at most as often as you say (§4)."""
    from yolo9000.adapt.calibrate import calibrate as calibrate_model
    from yolo9000.checkpoints.load import load_model
    from yolo9000.checkpoints.safetensors import write_checkpoint
    from yolo9000.inference.detector import Detector

    if not 0 < max_error < 1:
        raise ConfigError(f"must be above 0 and below 1, got {max_error:g}", argument="max_error")
    path = Path(model)
    target = out or path.with_name(f"{path.stem}-calibrated.safetensors")
    loaded = load_model(model)
    detector, failures = Detector.load(loaded, **model_options, **engine_options), Failures()
    changed, calibration = calibrate_model(
        loaded,
        detector,
        open_one(data, split, on_error, target),
        max_error=max_error,
        min_score=min_score,
        on_error=on_error,
        on_unreadable=failures,
    )
    write_checkpoint(target, changed)
    temperatures = ", ".join(f"{value:.2f}" for value in calibration.back_off.temperatures)
    say(f"{calibration.objects:,} objects; temperatures by depth {temperatures}")
    say(f"minimum probability of an answer {calibration.back_off.hier_thresh:.4f}")
    say(f"wrong answers {calibration.error:.2%} (before {calibration.error_before:.2%})")
    say(f"mean depth of answers {calibration.depth:.2f} (before {calibration.depth_before:.2f})")
    say(f"Written: {target}")
    failures.exit()


@with_options(model_options=MODEL.only("size_wh"), engine_options=ENGINE)
def add_class(
    model: Annotated[Path, typer.Argument(help="A .safetensors file with a label tree.", show_default=False)],
    under: Annotated[str, typer.Option(help="Name or id of what the new class is a kind of.", show_default=False)],
    name: Annotated[str, typer.Option(help="Of the new class.", show_default=False)],
    images: Annotated[Path, typer.Option(help="Folder of images that show it.", show_default=False)],
    data: Annotated[
        str,
        typer.Option(help="Data set with images of its siblings, from which it is distinguished.", show_default=False),
    ],
    model_options: Options,
    engine_options: Options,
    split: SplitOption = "train",
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="File to write [MODEL-NAME.safetensors].", show_default=False)
    ] = None,
    on_error: OnErrorOption = "error",
) -> None:
    """Add a class to a model from a folder of images; no other sibling group changes."""
    from yolo9000.adapt.add_class import add_class as add_class_to
    from yolo9000.adapt.add_class import sibling_images
    from yolo9000.checkpoints.load import load_model
    from yolo9000.checkpoints.safetensors import write_checkpoint
    from yolo9000.inference.detector import Detector
    from yolo9000.io.sources import open_sources
    from yolo9000.taxonomy.hierarchy import slug

    loaded, failures = load_model(model).with_lazy_classes(True), Failures()
    if loaded.tree is None:
        raise ConfigError(f"{model}: must be a model with a label tree; its classes are flat")
    parent = loaded.tree.find(under)
    target = out or model.with_name(f"{model.stem}-{slug(name)}.safetensors")
    detector = Detector.load(loaded, **model_options, **engine_options)
    siblings = sibling_images(open_one(data, split, on_error, target), loaded.tree, parent, on_error, failures)
    shown = (image.pixels for image in open_sources(str(images), on_error=failures))
    added = add_class_to(loaded, detector, parent, name, shown, siblings)
    write_checkpoint(target, added.model)
    count = len(added.before)
    say(f"{name}: {added.recall:.1%} of its images are given to it among its {count} siblings with images")
    for sibling, fraction in added.before.items():
        say(f"{sibling}: {added.after[sibling]:.1%} (before {fraction:.1%})")
    say(f"Written: {target}")
    failures.exit()
