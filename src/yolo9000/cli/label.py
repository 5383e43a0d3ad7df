"""The command that writes data sets from predictions."""

from __future__ import annotations

import time
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from yolo9000.checkpoints.bundled import BUNDLED
from yolo9000.choices import Runner
from yolo9000.cli.options import ENGINE, Options, with_options
from yolo9000.cli.terminal import Failures, say, say_note
from yolo9000.errors import ConfigError, DataError
from yolo9000.io.files import locked_folder
from yolo9000.io.naming import next_run_folder

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Sequence

    from yolo9000.inference.detector import Detector
    from yolo9000.labeling.images import ListedImage
    from yolo9000.labeling.job import LabelJob
    from yolo9000.labeling.label import Labeler
    from yolo9000.labeling.parts import Parts, Shard
    from yolo9000.labeling.teachers import Teacher
    from yolo9000.taxonomy.wordtree import WordTree

__all__ = ["label", "review"]

SourcesArgument = Annotated[
    list[str],
    typer.Argument(
        help="Folders, images, .tar and .parquet files, lists of images (.txt); also URLs.", show_default=False
    ),
]
ModelsOption = Annotated[
    list[str] | None,
    typer.Option("--model", "-m", help="A detector; may be repeated, the first one's classes are used [bundled]."),
]
ConfThresholdOption = Annotated[
    float, typer.Option("--conf-threshold", "--conf", "-c", help="Minimum score of a label.")
]
CopyOption = Annotated[bool, typer.Option(help="Copy the images into the data set.")]
MaxPixelsOption = Annotated[int, typer.Option(help="Refuse larger images before decoding them.", min=1)]


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
    to: Annotated[
        str, typer.Option(help="Format, e.g. coco, yolo, voc, cvat, labelstudio; or a row an image: jsonl, parquet.")
    ] = "coco",
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
    runner: Annotated[Runner, typer.Option(help="Who labels: this process, or workers of a Ray cluster.")] = "process",
    workers: Annotated[
        int | None, typer.Option(min=1, help="With Ray: number of workers, each with the models [one per core].")
    ] = None,
    copy: CopyOption = False,
    max_pixels: MaxPixelsOption = 64_000_000,
) -> None:
    """Label images with models, and write the labels as a data set.

    A folder that holds some of the labels already is continued.
    """
    from yolo9000.labeling.images import list_images
    from yolo9000.labeling.job import LabelJob
    from yolo9000.labeling.label import LabelSettings, check_files, write_data_set
    from yolo9000.labeling.rows import ROW_FORMATS, write_rows

    if (coco_results is None) != (coco_images is None):
        raise ConfigError("needs coco_images as well, and the reverse", argument="coco_results")
    if workers and runner != "ray":
        raise ConfigError("is for the runner ray", argument="workers")
    detectors = _load(model or [BUNDLED], engine_options)
    own = detectors[0].settings.hier_thresh if hier_thresh is None else hier_thresh
    settings = LabelSettings(conf_threshold, _thresholds(class_threshold or ()), own, fusion_iou, max_pixels)
    results = (coco_results, coco_images) if coco_results and coco_images else None
    job = LabelJob(model or [BUNDLED], settings, results, engine_options)
    images = list_images(sources)
    if to not in ROW_FORMATS:
        check_files(images)
    with locked_folder(out) if shard is None else nullcontext():  # each shard writes parts of its own
        parts, tree, failures = _make_parts(job, detectors, images, out, shard, runner, workers)
        if shard is not None:
            say(f"shard {shard} is done; when all are, run the same command without it to write the data set")
        elif to in ROW_FORMATS:
            _say_counts(write_rows(parts, tree, to, out))
            say(f"Written to {out.resolve() / f'labels.{to}'}")
        else:
            _say_data_set(write_data_set(parts, tree, to, out, copy=copy), to, out)
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
    from yolo9000.labeling.images import list_images
    from yolo9000.labeling.job import LabelJob
    from yolo9000.labeling.label import LabelSettings, check_files, write_data_set
    from yolo9000.labeling.review import MIN_SCORE, choices_csv, choose, excluded_names

    detectors = _load(model or [BUNDLED], engine_options)
    settings = LabelSettings(MIN_SCORE, {}, detectors[0].settings.hier_thresh, max_pixels=max_pixels)
    images = list_images(sources)
    check_files(images)
    job = LabelJob(model or [BUNDLED], settings, engine=engine_options)
    with locked_folder(out):
        parts, tree, failures = _make_parts(job, detectors, images, out)
        done = excluded_names(exclude or ())
        items = [(image, record) for image, record in parts if image.name not in done]
        choices = choose([record for _, record in items], tree, count)
        batch = [
            (image, record | {"boxes": [box for box in record["boxes"] if box["score"] >= conf_threshold]})
            for image, record in (items[choice.index] for choice in choices)
        ]
        folder = next_run_folder(out / "batch")
        _say_data_set(write_data_set(batch, tree, to, folder, copy=copy), to, folder)
        write_atomically(folder / "choices.csv", choices_csv([image.name for image, _ in batch], choices))
        say(f"{len(batch)} of {len(items)} images chosen; choices.csv says why")
    failures.exit()


def _load(models: Sequence[str], engine_options: Options) -> list[Detector]:
    from yolo9000.inference.detector import Detector

    return [Detector.load(name, **engine_options) for name in models]


def _make_parts(
    job: LabelJob,
    detectors: Sequence[Detector],
    images: Sequence[ListedImage],
    out: Path,
    shard: str | None = None,
    runner: Runner = "process",
    workers: int | None = None,
) -> tuple[Parts, WordTree, Failures]:
    """Label what is not labelled yet; the parts, the tree of the labels, and the images that could not be read."""
    from yolo9000.labeling.parts import Parts, Shard

    labeler = job.labeler(detectors)
    parts, part_of = Parts(out, images, job.fingerprint()), Shard.parse(shard or "1/1")
    to_do, began = parts.count_images(parts.missing(part_of)), time.monotonic()
    if runner == "ray":
        _run_on_ray(job, labeler, parts, part_of, workers)
    else:
        labeler.run(parts, part_of, _say_progress)
    if to_do:
        say(f"{to_do / (time.monotonic() - began):.1f} images a second")
    _say_unknown(labeler.teachers)
    return parts, labeler.tree, _failures(parts, part_of)


def _run_on_ray(job: LabelJob, labeler: Labeler, parts: Parts, shard: Shard, workers: int | None) -> None:
    """Let workers label; what they leave out is counted as if the labeler of this process had left it out."""
    from yolo9000.labeling.on_ray import run_on_ray

    job = replace(job, engine={"threads": 1} | dict(job.engine))
    gpus = int(str(job.engine.get("device", "cpu")).startswith("cuda"))
    sizes = {"workers": workers, "cores_per_worker": job.engine["threads"], "gpus_per_worker": gpus}
    unknown = run_on_ray(job.labeler, parts, shard, **sizes, report=_say_progress)
    for teacher, counts in zip(labeler.teachers, unknown, strict=False):
        teacher.unknown.update(counts)


def _failures(parts: Parts, shard: Shard) -> Failures:
    failures = Failures()
    for _, record in parts.of(shard):
        if "error" in record:
            failures(DataError(record["error"]))
    return failures


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


def _say_progress(done: int, total: int) -> None:
    say(f"{done} of {total} images labelled")


def _say_counts(counts: Counter[str]) -> None:
    names = ", ".join(f"{name} ({count})" for name, count in counts.most_common(10))
    more = f", and {len(counts) - 10} more" if len(counts) > 10 else ""
    say(f"{sum(counts.values())} boxes of {len(counts)} classes: {names or 'none'}{more}")


def _say_data_set(counts: Counter[str], to: str, out: Path) -> None:
    _say_counts(counts)
    say(f"Written in the format {to} to {out.resolve()}; scores in scores.jsonl")
