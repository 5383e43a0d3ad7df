"""The command that writes data sets from predictions."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from yolo9000.checkpoints.bundled import BUNDLED
from yolo9000.cli.options import ENGINE, Options, with_options
from yolo9000.cli.terminal import Failures, say, say_note
from yolo9000.errors import ConfigError, DataError
from yolo9000.io.naming import next_run_folder

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Sequence

    from yolo9000.inference.detector import Detector
    from yolo9000.labeling.label import LabelSettings
    from yolo9000.labeling.parts import Parts
    from yolo9000.labeling.teachers import Teacher
    from yolo9000.taxonomy.wordtree import WordTree

__all__ = ["label", "review"]

SourcesArgument = Annotated[
    list[str], typer.Argument(help="Folders, images, .tar files, lists of images (.txt).", show_default=False)
]
ModelsOption = Annotated[
    list[str] | None,
    typer.Option("--model", "-m", help="A detector; may be repeated, the first one's classes are used [bundled]."),
]
ConfThresholdOption = Annotated[
    float, typer.Option("--conf-threshold", "--conf", "-c", help="Minimum score of a label.")
]
CopyOption = Annotated[bool, typer.Option(help="Copy the images into the data set.")]
MaxPixelsOption = Annotated[int, typer.Option(help="Refuse larger images before decoding them.")]


@with_options(engine_options=ENGINE)
def label(
    sources: SourcesArgument,
    engine_options: Options,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the data set.", show_default=False)],
    model: ModelsOption = None,
    coco_results: Annotated[
        Path | None, typer.Option(help="Boxes of another program: COCO results.", show_default=False)
    ] = None,
    coco_images: Annotated[
        Path | None, typer.Option(help="The COCO file that the ids of these results refer to.", show_default=False)
    ] = None,
    to: Annotated[str, typer.Option(help="Format of the data set, e.g. coco, yolo, voc, cvat, labelstudio.")] = "coco",
    conf_threshold: ConfThresholdOption = 0.25,
    class_threshold: Annotated[
        list[str] | None,
        typer.Option(help="NAME=SCORE: another minimum for a class and all below it; may be repeated."),
    ] = None,
    hier_thresh: Annotated[
        float | None, typer.Option(help="On a tree: minimum probability of the label [the model's, else 0.5].")
    ] = None,
    fusion_iou: Annotated[float, typer.Option(help="IoU above which boxes of two models can be one object.")] = 0.55,
    shard: Annotated[str | None, typer.Option(help="i/n: only the i-th of n equal shares; see the docs.")] = None,
    copy: CopyOption = False,
    max_pixels: MaxPixelsOption = 64_000_000,
) -> None:
    """Label images with models, and write the labels as a data set.

    A folder that holds some of the labels already is continued.
    """
    from yolo9000.labeling.label import LabelSettings, write_data_set

    if (coco_results is None) != (coco_images is None):
        raise ConfigError("needs coco_images as well, and the reverse", argument="coco_results")
    detectors = _load(model or [BUNDLED], engine_options)
    own = detectors[0].settings.hier_thresh if hier_thresh is None else hier_thresh
    settings = LabelSettings(conf_threshold, _thresholds(class_threshold or ()), own, fusion_iou, max_pixels)
    results = (coco_results, coco_images) if coco_results and coco_images else None
    parts, tree, failures = _make_parts(sources, out, model or [BUNDLED], detectors, results, settings, shard)
    if shard is None:
        _say_counts(write_data_set(parts, tree, to, out, copy=copy), to, out)
    else:
        say(f"shard {shard} is done; when all are, run the same command without it to write the data set")
    failures.exit()


@with_options(engine_options=ENGINE)
def review(
    sources: SourcesArgument,
    engine_options: Options,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the batches.", show_default=False)],
    model: ModelsOption = None,
    count: Annotated[int, typer.Option(min=1, help="Number of images in the batch.")] = 50,
    to: Annotated[str, typer.Option(help="Format of the batch, e.g. labelstudio, cvat, labelme, coco.")] = "coco",
    conf_threshold: ConfThresholdOption = 0.25,
    exclude: Annotated[
        list[Path] | None,
        typer.Option(help="choices.csv of an earlier batch, whose images are not chosen again; may be repeated."),
    ] = None,
    copy: CopyOption = False,
    max_pixels: MaxPixelsOption = 64_000_000,
) -> None:
    """Choose the images whose labels would teach a detector most, and write them with its boxes to correct."""
    from yolo9000.io.files import write_atomically
    from yolo9000.labeling.label import LabelSettings, write_data_set
    from yolo9000.labeling.review import MIN_SCORE, choices_csv, choose, excluded_names

    detectors = _load(model or [BUNDLED], engine_options)
    settings = LabelSettings(MIN_SCORE, {}, detectors[0].settings.hier_thresh, max_pixels=max_pixels)
    parts, tree, failures = _make_parts(sources, out, model or [BUNDLED], detectors, None, settings, None)
    done = excluded_names(exclude or ())
    items = [(image, record) for image, record in parts if image.name not in done]
    choices = choose([record for _, record in items], tree, count)
    batch = [
        (image, record | {"boxes": [box for box in record["boxes"] if box["score"] >= conf_threshold]})
        for image, record in (items[choice.index] for choice in choices)
    ]
    folder = next_run_folder(out / "batch")
    _say_counts(write_data_set(batch, tree, to, folder, copy=copy), to, folder)
    write_atomically(folder / "choices.csv", choices_csv([image.name for image, _ in batch], choices))
    say(f"{len(batch)} of {len(items)} images chosen; choices.csv says why")
    failures.exit()


def _load(models: Sequence[str], engine_options: Options) -> list[Detector]:
    from yolo9000.inference.detector import Detector

    return [Detector.load(name, **engine_options) for name in models]


def _make_parts(
    sources: Sequence[str],
    out: Path,
    models: Sequence[str],
    detectors: Sequence[Detector],
    results: tuple[Path, Path] | None,
    settings: LabelSettings,
    shard: str | None,
) -> tuple[Parts, WordTree, Failures]:
    """Label what is not labelled yet; the parts, the tree of the labels, and the images that could not be read."""
    from yolo9000.labeling.images import list_images
    from yolo9000.labeling.label import Labeler
    from yolo9000.labeling.parts import Parts, Shard, file_digest
    from yolo9000.labeling.teachers import DetectorTeacher, ResultsTeacher, tree_of

    tree = tree_of(detectors[0].head)
    lowest = settings.lowest(fused=len(detectors) > 1 or results is not None)
    changed = {"conf_threshold": lowest, "hier_thresh": settings.hier_thresh}
    teachers: list[Teacher] = [
        DetectorTeacher(name, detector.with_settings(**changed), tree)
        for name, detector in zip(models, detectors, strict=True)
    ]
    if results:
        teachers.append(ResultsTeacher(*results, tree))
    made_by = {name: file_digest(name) for name in (*models, *(str(file) for file in results or ()))}
    parts = Parts(out, list_images(sources), {"teachers": made_by, **vars(settings)})
    part_of = Shard.parse(shard or "1/1")
    Labeler(teachers, tree, settings).run(parts, part_of, lambda done, all_: say(f"{done} of {all_} images labelled"))
    _say_unknown(teachers)
    failures = Failures()
    for _, record in parts.of(part_of):
        if "error" in record:
            failures(DataError(record["error"]))
    return parts, tree, failures


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
