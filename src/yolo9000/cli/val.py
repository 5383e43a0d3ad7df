"""The command that scores a model, or detections, on a data set."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from yolo9000.checkpoints.bundled import BUNDLED
from yolo9000.cli.data import open_one
from yolo9000.cli.options import (
    DETECTION,
    ENGINE,
    MODEL,
    LabelsOption,
    OnErrorOption,
    Options,
    SplitOption,
    with_labels,
    with_options,
)
from yolo9000.cli.terminal import option, say
from yolo9000.errors import ConfigError, TreeError
from yolo9000.io.files import locked_folder, write_atomically
from yolo9000.io.naming import next_run_folder

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from yolo9000.checkpoints.model import LoadedModel
    from yolo9000.data.dataset import DataSet, OnError
    from yolo9000.evaluation.evaluate import Evaluation
    from yolo9000.inference.detector import Detector
    from yolo9000.taxonomy.wordtree import WordTree
    from yolo9000.types import Detections, Sample

__all__ = ["val"]


# The score threshold is not an option: average precision is about all of them.
@with_options(model_options=MODEL, engine_options=ENGINE, detection_options=DETECTION.without("conf_threshold"))
def val(
    model: Annotated[
        str,
        typer.Argument(
            help=f"A .safetensors, .cfg, .onnx or .xml file, {BUNDLED}, or detections: a .json of COCO results.",
            show_default=False,
        ),
    ],
    on: Annotated[
        str, typer.Argument(metavar="DATA", help="The data set; see `yolo9000 data check`.", show_default=False)
    ],
    model_options: Options,
    engine_options: Options,
    detection_options: Options,
    split: SplitOption = "val",
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder for the report [runs/val, ...].", show_default=False)
    ] = None,
    batch: Annotated[int, typer.Option(help="Number of images run at a time.")] = 8,
    formats: Annotated[
        list[str] | None,
        typer.Option(
            "--format", "-f", help="Also write the detections: jsonl, coco, csv, darknet, voc.", show_default=False
        ),
    ] = None,
    on_error: OnErrorOption = "error",
    only_labels: Annotated[
        Path | None,
        typer.Option(
            help="File of classes, one a line, that had only image-level labels: scored apart.", show_default=False
        ),
    ] = None,
    labels: LabelsOption = None,
    unknown: Annotated[
        Path | None,
        typer.Option(
            help="CSV of classes that the model never learnt, each with the node above it: how it answers them.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Score a detector, a classifier, or a file of detections on a data set."""
    from yolo9000.checkpoints.load import load_model
    from yolo9000.inference.detector import Detector

    data_set = open_one(on, split, on_error, out or Path("runs", "val"))
    if model.endswith(".json"):
        _refuse_options(model, "a file of detections", model_options | engine_options | detection_options)
        scored: _Scored | None = _of_results(Path(model), data_set, on_error)
    else:
        size: Options = {"size_wh": model_options.pop("size_wh", None)}
        loaded = load_model(model, **model_options)
        if unknown is not None:
            settings = detection_options if loaded.kind == "detector" else {}
            _say_unknown(loaded, size | engine_options | settings, data_set, unknown, on_error, out)
            return
        if loaded.kind == "classifier":
            _refuse_options(model, "a classifier", detection_options)
            _val_classifier(loaded, data_set, size | engine_options, on_error)
            return
        detector = Detector.load(loaded, **size, **engine_options, **detection_options)
        scored = _of_detector(with_labels(detector, labels), data_set, on_error, batch)
    if scored is not None:
        folder = out or next_run_folder(Path("runs/val"))
        with locked_folder(folder):
            _score(scored, data_set.name, folder, formats or [], only_labels)


@dataclass(frozen=True)
class _Scored:
    """Detections of the images of a data set, and what their labels mean."""

    pairs: Iterator[tuple[Sample, Detections]]
    classes: tuple[str, ...]
    tree: WordTree | None
    category_ids: dict[int, int] | None


def _refuse_options(model: str, kind: str, given: Options) -> None:
    if given:
        raise ConfigError(f"{model}: {', '.join(map(option, given))} cannot be used with {kind}")


def _of_results(results: Path, data_set: DataSet, on_error: OnError) -> _Scored:
    from yolo9000.evaluation.coco_results import read_coco_results

    pairs = read_coco_results(results, data_set, on_error)
    return _Scored(pairs, data_set.classes, None, data_set.category_ids())


def _of_detector(detector: Detector, data_set: DataSet, on_error: OnError, batch: int) -> _Scored | None:
    """The detections on the boxed images, after the scores on those with image-level labels; None without boxes."""
    from yolo9000.evaluation.labels import category_ids_of
    from yolo9000.evaluation.runner import detect_samples, image_level_scores

    if of_labels := image_level_scores(detector, data_set, on_error=on_error):
        say("images with image-level labels: the label of the best box")
        _print_metrics(of_labels)
        if not _has_boxes(data_set, on_error):
            return None
    pairs = detect_samples(detector, data_set, on_error=on_error, batch=batch)
    tree = detector.query.tree(detector.head)
    return _Scored(pairs, detector.names, tree, category_ids_of(detector, data_set))


def _score(scored: _Scored, name: str, folder: Path, formats: list[str], only_labels: Path | None) -> None:
    from yolo9000.evaluation.evaluate import evaluate

    evaluation = evaluate(
        name,
        _written(scored, folder, formats),
        scored.classes,
        tree=scored.tree,
        only_labels=_labels_in(only_labels, scored.classes, scored.tree),
    )
    _print_scores(evaluation)
    _write_report(evaluation, folder)


def _val_classifier(model: LoadedModel, data_set: DataSet, options: Options, on_error: OnError) -> None:
    from yolo9000.evaluation.runner import classification_scores
    from yolo9000.inference.classifier import Classifier

    _print_metrics(classification_scores(Classifier.load(model, **options), data_set, on_error=on_error))


def _say_unknown(
    model: LoadedModel, options: Options, data_set: DataSet, file: Path, on_error: OnError, out: Path | None
) -> None:
    """How a model answers objects of classes that it never learnt, at each threshold."""
    from yolo9000.evaluation.unknown import OUTCOMES, read_unknown, unknown_outcomes
    from yolo9000.inference.classifier import Classifier
    from yolo9000.inference.detector import Detector

    if model.tree is None:
        raise ConfigError("needs a model with a label tree; this model has flat classes", argument="unknown")
    kinds = read_unknown(file, model.tree)
    loaded = Detector.load(model, **options) if model.kind == "detector" else Classifier.load(model, **options)
    rows = unknown_outcomes(loaded, data_set, kinds, on_error=on_error)
    say(f"{sum(rows[0].counts.values())} objects of {len(kinds)} classes")
    say(f"{'hier_thresh':<12}" + "".join(f"{name:>12}" for name in (*OUTCOMES, "specificity")))
    for row in rows:
        values = (*row.fractions.values(), row.specificity)
        say(f"{row.hier_thresh:<12.2f}" + "".join(f"{value:>12.3f}" for value in values))
    folder = out or next_run_folder(Path("runs/val"))
    records = [vars(row) | {"fractions": row.fractions} for row in rows]
    with locked_folder(folder):
        write_atomically(folder / "unknown.json", json.dumps(records, indent=1) + "\n")
    say(f"Written to {(folder / 'unknown.json').resolve()}")


def _print_metrics(metrics: Mapping[str, float]) -> None:
    for key, value in metrics.items():
        say(f"{key:<28} {value:>8.4f}")


def _has_boxes(data_set: DataSet, on_error: OnError) -> bool:
    return any(sample.boxes is not None for sample in data_set.samples(on_error))


def _written(scored: _Scored, folder: Path, formats: list[str]) -> Iterator[tuple[Sample, Detections]]:
    """Pass detections on and write them as they pass."""
    from yolo9000.io.writers import ResultWriter

    with ResultWriter(folder, formats, scored.category_ids, class_names=scored.classes) as writer:
        for sample, detections in scored.pairs:
            writer.write(sample.name, None, detections)
            yield sample, detections


def _write_report(evaluation: Evaluation, folder: Path) -> None:
    from yolo9000.evaluation.report import evaluation_page, plots_of
    from yolo9000.io.pages import write_page

    folder.mkdir(parents=True, exist_ok=True)
    plots = plots_of(evaluation)
    for name, png in plots.items():
        write_atomically(folder / f"{name}.png", png)
    write_atomically(folder / "scores.json", json.dumps(evaluation.to_json(), indent=1) + "\n")
    write_page(evaluation_page(evaluation, plots), folder / "report.html")
    say(f"Report in {(folder / 'report.html').resolve()}")


def _labels_in(file: Path | None, classes: tuple[str, ...], tree: WordTree | None) -> list[int]:
    """The labels that a file names; on a tree also by id."""
    from yolo9000.errors import nearest
    from yolo9000.taxonomy.files import read_names

    labels = []
    for name in read_names(file) if file else ():
        try:
            labels.append(tree.find(name) if tree is not None else classes.index(name))
        except TreeError as error:
            raise ConfigError(f"{file}: {error}") from None
        except ValueError:
            raise ConfigError(f"{file}: {name!r} must be one of the classes{nearest(name, classes)}") from None
    return labels


def _print_scores(evaluation: Evaluation) -> None:
    import numpy as np

    say(f"{'class':<28} {'objects':>8} {'AP50':>7} {'AP':>7}")
    for label in sorted(np.flatnonzero(evaluation.gts), key=lambda i: -evaluation.ap[i]):
        say(
            f"{evaluation.classes[label][:28]:<28} {evaluation.gts[label]:>8} "
            f"{evaluation.ap[label]:>7.4f} {evaluation.ap_coco[label, 0]:>7.4f}"
        )
    say(f"{evaluation.images} images")
    _print_metrics(evaluation.metrics)
    _print_metrics({f"map50_depth_{depth}": value for depth, value in evaluation.by_depth.items()})
