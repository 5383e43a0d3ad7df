"""The command that writes data sets from predictions."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from yolo9000.checkpoints.bundled import BUNDLED
from yolo9000.cli.options import ENGINE, Options, with_options
from yolo9000.cli.terminal import Failures, say, say_note
from yolo9000.errors import ConfigError

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Sequence

    from yolo9000.labeling.teachers import Teacher

__all__ = ["label"]


@with_options(engine_options=ENGINE)
def label(
    sources: Annotated[
        list[str],
        typer.Argument(help="Folders, images, .tar files, lists of images (.txt).", show_default=False),
    ],
    engine_options: Options,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the data set.", show_default=False)],
    model: Annotated[
        list[str] | None,
        typer.Option("--model", "-m", help="A detector; may be repeated, the first one's classes are used [bundled]."),
    ] = None,
    coco_results: Annotated[
        Path | None, typer.Option(help="Boxes of another program: COCO results.", show_default=False)
    ] = None,
    coco_images: Annotated[
        Path | None, typer.Option(help="The COCO file that the ids of these results refer to.", show_default=False)
    ] = None,
    to: Annotated[str, typer.Option(help="Format of the data set, e.g. coco, yolo, voc, cvat, labelstudio.")] = "coco",
    conf_threshold: Annotated[
        float, typer.Option("--conf-threshold", "--conf", "-c", help="Minimum score of a label.")
    ] = 0.25,
    class_threshold: Annotated[
        list[str] | None,
        typer.Option(help="NAME=SCORE: another minimum for a class and all below it; may be repeated."),
    ] = None,
    hier_thresh: Annotated[
        float | None, typer.Option(help="On a tree: minimum probability of the label [the model's, else 0.5].")
    ] = None,
    fusion_iou: Annotated[float, typer.Option(help="IoU above which boxes of two models can be one object.")] = 0.55,
    shard: Annotated[str | None, typer.Option(help="i/n: only the i-th of n equal shares; see the docs.")] = None,
    copy: Annotated[bool, typer.Option(help="Copy the images into the data set.")] = False,
    max_pixels: Annotated[int, typer.Option(help="Refuse larger images before decoding them.")] = 64_000_000,
) -> None:
    """Label images with models, and write the labels as a data set.

    A folder that holds some of the labels already is continued.
    """
    from yolo9000.inference.detector import Detector
    from yolo9000.labeling.images import list_images
    from yolo9000.labeling.label import Labeler, LabelSettings, write_data_set
    from yolo9000.labeling.parts import Parts, Shard, file_digest
    from yolo9000.labeling.teachers import DetectorTeacher, ResultsTeacher, tree_of

    if (coco_results is None) != (coco_images is None):
        raise ConfigError("needs coco_images as well, and the reverse", argument="coco_results")
    models = model or [BUNDLED]
    detectors = [Detector.load(name, **engine_options) for name in models]
    own = detectors[0].settings.hier_thresh if hier_thresh is None else hier_thresh
    settings = LabelSettings(conf_threshold, _thresholds(class_threshold or ()), own, fusion_iou, max_pixels)
    tree = tree_of(detectors[0].head)
    several = len(detectors) > 1 or coco_results is not None
    changed = {"conf_threshold": settings.lowest(fused=several), "hier_thresh": own}
    teachers: list[Teacher] = [
        DetectorTeacher(name, detector.with_settings(**changed), tree)
        for name, detector in zip(models, detectors, strict=True)
    ]
    if coco_results and coco_images:
        teachers.append(ResultsTeacher(coco_results, coco_images, tree))
    labeler = Labeler(teachers, tree, settings)
    made_by = {name: file_digest(name) for name in (*models, *map(str, filter(None, [coco_results])))}
    parts = Parts(out, list_images(sources), {"teachers": made_by, **vars(settings)})
    labeler.run(parts, Shard.parse(shard or "1/1"), lambda done, total: say(f"{done} of {total} images labelled"))
    _say_unknown(teachers)
    if shard is None:
        _say_counts(write_data_set(parts, tree, to, out, copy=copy), to, out)
    else:
        say(f"shard {shard} is done; when all are, run the same command without it to write the data set")
    failures = Failures()
    for error in labeler.failed:
        failures(error)
    failures.exit()


def _thresholds(texts: Sequence[str]) -> dict[str, float]:
    thresholds = {}
    for text in texts:
        name, equals, number = text.rpartition("=")
        try:
            thresholds[name] = float(number)
        except ValueError:
            equals = ""
        if not equals:
            raise ConfigError(f"must be NAME=SCORE, got {text!r}", argument="class_threshold")
    return thresholds


def _say_unknown(teachers: Sequence[Teacher]) -> None:
    for teacher in teachers:
        if teacher.unknown:
            names = ", ".join(f"{name} ({count})" for name, count in teacher.unknown.most_common(10))
            more = f", and {len(teacher.unknown) - 10} more" if len(teacher.unknown) > 10 else ""
            say_note(f"{teacher.name}: boxes left out, of classes that the first model does not have: {names}{more}")


def _say_counts(counts: Counter[str], to: str, out: Path) -> None:
    names = ", ".join(f"{name} ({count})" for name, count in counts.most_common(10))
    more = f", and {len(counts) - 10} more" if len(counts) > 10 else ""
    say(f"{sum(counts.values())} boxes of {len(counts)} classes: {names or 'none'}{more}")
    say(f"Written in the format {to} to {out.resolve()}; scores in scores.jsonl")
