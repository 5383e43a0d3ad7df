"""The commands about data: look at it, convert it, cluster its boxes, score a detector on it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from yolo9000.checkpoints.bundled import BUNDLED
from yolo9000.cli.options import (
    BatchNormOption,
    DeviceOption,
    EngineOption,
    HierThreshOption,
    LabelsOption,
    NamesOption,
    NmsIouOption,
    OnErrorOption,
    OverridesOption,
    ParentsOption,
    PrecisionOption,
    ResizeModeOption,
    SplitOption,
    ThreadsOption,
    TreeOption,
    WeightsOption,
    WordNetOption,
    given_only,
    next_run,
    parse_size,
    read_hierarchy,
    with_labels,
)
from yolo9000.cli.terminal import printable
from yolo9000.errors import EXIT_DATA_INVALID, ConfigError, TreeError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from yolo9000.checkpoints.model import LoadedModel
    from yolo9000.data.dataset import DataSet, Ledger, OnError, Split
    from yolo9000.evaluation.evaluate import Evaluation
    from yolo9000.inference.engines import EngineName, Precision
    from yolo9000.taxonomy.wordtree import WordTree
    from yolo9000.types import Detections, Sample

data_app = typer.Typer(help="Look at data sets and convert them.")

DataArgument = Annotated[
    str,
    typer.Argument(
        help="A data-set file (.yaml), a .data, a COCO .json, or a folder: VOC, images with labels, a folder a class.",
        show_default=False,
    ),
]
BoxesFromShapesOption = Annotated[
    bool, typer.Option("--boxes-from-shapes", help="Read polygons, rotated boxes and masks as their enclosing boxes.")
]
WhichSplits = Annotated[Literal["all", "train", "val", "test"], typer.Option(help="Which split.")]
ISSUES_PRINTED = 20


@data_app.command()
def check(
    data: DataArgument,
    split: WhichSplits = "all",
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder for the report [runs/check, ...].", show_default=False)
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Print every issue, not only the first of each kind.")] = False,
    max_pixels: Annotated[
        int | None, typer.Option(help="Largest width x height that is decoded [64,000,000].", show_default=False)
    ] = None,
    boxes_from_shapes: BoxesFromShapesOption = False,
) -> None:
    """Find every issue of a data set; exit code 4 if there is one."""
    from yolo9000.data.check import check_splits
    from yolo9000.evaluation.report import check_page, write_page
    from yolo9000.io.images import MAX_PIXELS

    data_sets = _open_splits(data, split, boxes_from_shapes)
    result = check_splits(data_sets, MAX_PIXELS if max_pixels is None else max_pixels)
    issues = result.issues()
    seen: dict[str, int] = {}
    for issue in issues:
        seen[issue.code] = seen.get(issue.code, 0) + 1
        if every or seen[issue.code] <= 3:
            print(printable(f"{issue}; {issue.suggestion}"))
    if issues and not every:
        print(", ".join(f"{count} x {code}" for code, count in seen.items()) + " (--all prints each)")
    for warning in result.warnings:
        print(printable(f"warning: {warning}; {warning.suggestion}"))
    for name, found in result.splits.items():
        print(
            f"{name}: {found.images} images, {found.boxed} with boxes ({found.boxes_of.total()}), "
            f"{found.labelled} with image-level labels, {len(found.issues)} issues"
        )
    folder = out or next_run(Path("runs/check"))
    folder.mkdir(parents=True, exist_ok=True)
    write_page(check_page(result, data_sets), folder / "report.html")
    _write(folder / "report.json", json.dumps(result.to_json(), indent=1))
    print(f"Report in {(folder / 'report.html').resolve()}")
    if issues:
        raise typer.Exit(EXIT_DATA_INVALID)


def _open_splits(
    data: str, wanted: Literal["all", "train", "val", "test"], boxes_from_shapes: bool = False
) -> dict[Split, DataSet]:
    """Open the splits, and say what was recognized."""
    from yolo9000.data.dataset import open_data, open_splits

    opened = open_splits(data) if wanted == "all" else {wanted: open_data(data, wanted)}
    if not opened:
        raise ConfigError(f"{data}: has no split")
    _say(next(iter(opened.values())))
    if boxes_from_shapes:
        return {name: data_set.with_boxes_from_shapes() for name, data_set in opened.items()}
    return opened


def open_one(data: str, split: Split, on_error: OnError, stem: Path) -> DataSet:
    """Open one split; say what was recognized, and what is left out or changed.

    Args:
        data: what the user named.
        split: the split.
        on_error: what to do with images whose annotations have issues.
        stem: beside it lies the full list of these.
    """
    from yolo9000.data.dataset import open_data

    data_set = open_data(data, split)
    _say(data_set)
    _tell({split: data_set.count_issues(on_error)}, stem.with_name(f"{stem.name}-left-out"))
    return data_set


def _say(data_set: DataSet) -> None:
    """Say what was recognized."""
    if data_set.description:
        print(printable(data_set.description), file=sys.stderr)


def _tell(ledgers: Mapping[Split, Ledger], stem: Path) -> None:
    """Say what was left out and changed of each split, and where the full list lies."""
    for name, ledger in ledgers.items():
        for line in ledger.lines(name):
            print(line)
        if ledger:
            file = stem.with_name(f"{stem.name}-{name}.jsonl")
            ledger.write(file)
            print(f"{name}: all {len(ledger.issues):,} issues in {file.resolve()}")


def _write(path: Path, text: str) -> None:
    from yolo9000.io.files import write_atomically

    write_atomically(path, text + "\n")


def _writable(name: str) -> str:
    """The name of a format that can be written."""
    from yolo9000.data.formats import WRITABLE

    if name not in WRITABLE:
        raise typer.BadParameter(f"must be one of {', '.join(WRITABLE)}, got {name!r}")
    return name


@data_app.command()
def convert(
    data: DataArgument,
    to: Annotated[str, typer.Option(help="Format to write: one that docs/data.md marks as written.", parser=_writable)],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder to write; new or empty.", show_default=False)],
    split: WhichSplits = "all",
    on_error: OnErrorOption = "error",
    copy: Annotated[bool, typer.Option(help="Copy the images too, or else refer to them.")] = True,
    boxes_from_shapes: BoxesFromShapesOption = False,
) -> None:
    """Write a data set in another format."""
    from yolo9000.data.convert import convert as convert_samples
    from yolo9000.data.dataset import Ledger
    from yolo9000.io.naming import OutputNames

    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigError(f"must be a new or empty folder, got {str(out)!r}", argument="out")
    names, ledgers = OutputNames(), {}
    for name, data_set in _open_splits(data, split, boxes_from_shapes).items():
        ledgers[name] = Ledger()
        count = convert_samples(
            data_set, to, out, name, on_error=on_error, copy=copy, names=names, ledger=ledgers[name]
        )
        print(f"{name}: {count} images written to {out.resolve()}")
    _tell(ledgers, out.with_name(f"{out.name}-left-out"))


@data_app.command()
def split(
    data: DataArgument,
    val: Annotated[float, typer.Option(help="Fraction of the images for validation.")] = 0.2,
    test: Annotated[float, typer.Option(help="Fraction of the images for testing.")] = 0.0,
    group_by: Annotated[
        str | None,
        typer.Option(help="Regular expression: images whose names match alike stay together.", show_default=False),
    ] = None,
    stratify: Annotated[bool, typer.Option("--stratify", help="Keep the frequencies of classes alike.")] = False,
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Data-set file to write (.yaml); its lists go beside it.")
    ] = Path("split.yaml"),
    on_error: OnErrorOption = "error",
) -> None:
    """Divide a data set; near duplicates and neighbors in a video stay together, by the images' content alone."""
    from yolo9000.data.dataset import Ledger, open_splits
    from yolo9000.data.duplicates import survey
    from yolo9000.data.splitting import split_survey, write_subsets

    data_set = open_splits(data)["train"]
    _say(data_set)
    ledger = Ledger()
    found = survey(data_set, on_error, ledger)
    fractions: dict[Split, float] = {"val": val}
    if test:
        fractions["test"] = test
    splits = split_survey(found, fractions, group_by=group_by, classes=len(data_set.classes) if stratify else 0)
    parts: dict[Split, list[Sample]] = {"train": [], **{name: [] for name in fractions}}
    for sample, name in zip(found.samples, splits, strict=True):
        parts[name].append(sample)
    files = write_subsets(data_set, parts, out)
    print(f"{', '.join(f'{name} {len(samples):,}' for name, samples in parts.items())}: {files[0].resolve()}")
    _tell({"train": ledger}, out.with_name(f"{out.stem}-left-out"))


@data_app.command()
def stats(
    data: DataArgument,
    split: WhichSplits = "all",
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder for the report [runs/stats, ...].", show_default=False)
    ] = None,
    on_error: OnErrorOption = "error",
) -> None:
    """Count what a data set holds: classes, sizes, aspects, and how far its splits differ."""
    from yolo9000.data.dataset import Ledger
    from yolo9000.data.stats import drift_between, stats_of
    from yolo9000.evaluation.data_report import stats_page
    from yolo9000.evaluation.report import write_page

    data_sets = _open_splits(data, split)
    ledgers = {name: Ledger() for name in data_sets}
    found = stats_of(data_sets, on_error, ledgers)
    drift = drift_between(found)
    classes = next(iter(data_sets.values())).classes
    for name, one in found.items():
        print(f"{name}: {one.images:,} images, {one.boxes_of.total():,} boxes, {one.empty:,} images without objects")
    for pair, apart in drift.items():
        apart_by = f"classes {apart.classes:.3f}, sizes {apart.sizes:.3f}, aspects {apart.aspects:.3f}"
        print(f"{pair[0]} and {pair[1]} differ: {apart_by}")
    folder = out or next_run(Path("runs/stats"))
    folder.mkdir(parents=True, exist_ok=True)
    record = {
        "classes": list(classes),
        "splits": {name: one.to_json(classes) for name, one in found.items()},
        "drift": {f"{one}-{other}": vars(apart) for (one, other), apart in drift.items()},
    }
    _write(folder / "stats.json", json.dumps(record, indent=1))
    write_page(stats_page(data, classes, found, drift), folder / "report.html")
    _tell(ledgers, folder / "left-out")
    print(f"Report in {(folder / 'report.html').resolve()}")


@data_app.command()
def dedupe(
    data: DataArgument,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Write a data-set file without the duplicates (.yaml).", show_default=False),
    ] = None,
    on_error: OnErrorOption = "error",
) -> None:
    """Find images that are the same or nearly so, inside splits and across them; exit code 4 if there are any."""
    from yolo9000.data.dataset import Ledger
    from yolo9000.data.duplicates import duplicates_in, survey, without_duplicates
    from yolo9000.data.splitting import write_subsets

    data_sets = _open_splits(data, "all")
    ledgers = {name: Ledger() for name in data_sets}
    surveys = {name: survey(data_set, on_error, ledgers[name]) for name, data_set in data_sets.items()}
    pairs = duplicates_in(surveys)
    for pair in pairs:
        print(printable(str(pair)))
    print(f"{len(pairs):,} images are the same as an earlier one, or nearly so")
    if out is not None:
        kept = without_duplicates(surveys, pairs)
        files = write_subsets(next(iter(data_sets.values())), kept, out, of=data_sets)
        print(f"{', '.join(f'{name} {len(samples):,}' for name, samples in kept.items())}: {files[0].resolve()}")
    _tell(ledgers, (out or Path("dedupe.yaml")).with_name("left-out"))
    if pairs:
        raise typer.Exit(EXIT_DATA_INVALID)


@data_app.command()
def combine(
    data: Annotated[list[str], typer.Argument(help="Data sets.", show_default=False)],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Data-set file to write (.yaml); tree and report go beside it.")
    ] = Path("combined.yaml"),
    parents: ParentsOption = None,
    overrides: OverridesOption = None,
    with_wordnet: WordNetOption = True,
) -> None:
    """Combine data sets over one label tree (§4), each with its own map to it."""
    from yolo9000.data.combine import combine as combine_sets
    from yolo9000.data.combine import write_combined
    from yolo9000.taxonomy.match import read_overrides

    sets = {name: _open_splits(name, "all") for name in data}
    if len(sets) < len(data):
        raise ConfigError("each data set must be named once")
    hierarchy = read_hierarchy(parents or (), with_wordnet)
    combined = combine_sets(sets, hierarchy, overrides=read_overrides(overrides) if overrides else None)
    files = write_combined(combined, out)
    for relation in combined.relations:
        print(printable(str(relation)))
    print(
        f"{len(combined.built.nodes):,} labels in a tree of {len(combined.built.tree):,} nodes; "
        f"{len(combined.relations):,} relations, {len(combined.ambiguous):,} labels to look at"
    )
    print("Written: " + ", ".join(map(str, files)))


def anchors(
    data: DataArgument,
    k: Annotated[str, typer.Option("--k", help="Numbers of anchors, such as 5 or 1-15.")] = "1-15",
    size: Annotated[str, typer.Option(help="Network input, such as 416 or 608x352.")] = "416",
    split: SplitOption = "train",
    on_error: OnErrorOption = "error",
    resize_mode: ResizeModeOption = "letterbox",
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
    found = report(cells, parse_range(k), defaults=known, seed=seed)
    print(format_report(found))
    for row in found.rows:
        if row.k == found.elbow or len(found.rows) == 1 or row.k == 5:
            print(f"\nk = {row.k}{' (elbow)' if row.k == found.elbow and len(found.rows) > 1 else ''}")
            print(anchor_forms(row.iou.anchors_wh))
    if plot is not None:
        from yolo9000.adapt.anchor_plot import plot_report

        plot_report(found, plot)
        print(f"\nPlot in {plot.resolve()}")


def parse_range(text: str) -> list[int]:
    """``5``, ``1-15`` or ``3,5,9`` to whole numbers.

    Raises:
        ConfigError: it is none of these.
    """
    numbers: list[int] = []
    for part in text.split(","):
        first, dash, last = part.partition("-")
        ends = (first, last if dash else first)
        if not all(end.isdecimal() and 1 <= int(end) <= 100 for end in ends) or int(ends[0]) > int(ends[1]):
            raise ConfigError(f"must be integers from 1 to 100, e.g. 5, 1-15 or 3,5,9, got {text!r}", argument="k")
        numbers += range(int(ends[0]), int(ends[1]) + 1)
    return sorted(set(numbers))


def val(
    model: Annotated[
        str | None,
        typer.Argument(help=f"A .safetensors, .cfg, .onnx or .xml file, or {BUNDLED}; leave out with --detections."),
    ] = None,
    data: Annotated[
        str | None, typer.Argument(help="The data set; see `yolo9000 data check`.", show_default=False)
    ] = None,
    detections: Annotated[
        Path | None, typer.Option(help="Score this COCO-results file instead of a model.", show_default=False)
    ] = None,
    split: SplitOption = "val",
    weights: WeightsOption = None,
    names: NamesOption = None,
    tree: TreeOption = None,
    names_from: Annotated[
        Path | None, typer.Option("--data", help="Darknet's .data, for the model's names.", show_default=False)
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder for the report [runs/val, ...].", show_default=False)
    ] = None,
    nms_iou: NmsIouOption = 0.45,
    hier_thresh: HierThreshOption = None,
    size: Annotated[
        str | None, typer.Option(help="Network input, such as 416 [the model's].", show_default=False)
    ] = None,
    batch: Annotated[int, typer.Option(help="Images run at a time.")] = 8,
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
    engine: EngineOption = "auto",
    device: DeviceOption = "cpu",
    precision: PrecisionOption = "float32",
    threads: ThreadsOption = None,
    resize_mode: ResizeModeOption = "letterbox",
    batch_norm: BatchNormOption = "eps_inside_sqrt",
) -> None:
    """Score a detector, a classifier, or a file of detections on a data set."""
    from yolo9000.checkpoints.load import load_model
    from yolo9000.evaluation.coco_results import read_coco_results
    from yolo9000.evaluation.evaluate import evaluate
    from yolo9000.evaluation.labels import category_ids_of
    from yolo9000.evaluation.runner import detect_samples, image_level_scores
    from yolo9000.inference.detector import Detector

    given = [word for word in (model, data) if word is not None]
    if len(given) != (1 if detections else 2):
        raise ConfigError("val takes MODEL DATA, or --detections FILE DATA")
    data_set = open_one(given[-1], split, on_error, out or Path("runs", "val"))
    size_wh = parse_size(size) if size else None
    word_tree, classes = None, data_set.classes
    ids: dict[int, int] | None = data_set.category_ids()
    if detections is not None:
        pairs = read_coco_results(detections, data_set, on_error)
    else:
        loaded = load_model(
            given[0],
            weights=weights,
            names=names,
            tree=tree,
            data=names_from,
            resize_mode=resize_mode,
            batch_norm=batch_norm,
        )
        if loaded.kind == "classifier":
            _val_classifier(loaded, data_set, engine, device, precision, threads, size_wh, on_error)
            return
        detector = Detector.load(
            loaded,
            engine=engine,
            device=device,
            precision=precision,
            threads=threads,
            size_wh=size_wh,
            nms_iou=nms_iou,
            **given_only(hier_thresh=hier_thresh),
        )
        detector = with_labels(detector, labels)
        word_tree, classes = detector.query.tree(detector.head), detector.names
        ids = category_ids_of(detector, data_set)
        of_labels = image_level_scores(detector, data_set, on_error=on_error)
        if of_labels:
            print("images with image-level labels: the label of the best box")
            _print_metrics(of_labels)
            if not _has_boxes(data_set, on_error):
                return
        pairs = detect_samples(detector, data_set, on_error=on_error, batch=batch)
    folder = out or next_run(Path("runs/val"))
    evaluation = evaluate(
        data_set.name,
        _written(pairs, folder, formats or [], ids),
        classes,
        tree=word_tree,
        only_labels=_labels_in(only_labels, classes, word_tree),
    )
    _print_scores(evaluation)
    _write_report(evaluation, folder)


def _print_metrics(metrics: Mapping[str, float]) -> None:
    for key, value in metrics.items():
        print(f"{key:<28} {value:>8.4f}")


def _has_boxes(data_set: DataSet, on_error: OnError) -> bool:
    return any(sample.boxes is not None for sample in data_set.samples(on_error))


def _val_classifier(
    model: LoadedModel,
    data_set: DataSet,
    engine: EngineName | Literal["auto"],
    device: str,
    precision: Precision,
    threads: int | None,
    size_wh: tuple[int, int] | None,
    on_error: OnError,
) -> None:
    from yolo9000.evaluation.runner import classification_scores
    from yolo9000.inference.classifier import Classifier

    classifier = Classifier.load(
        model, engine=engine, device=device, precision=precision, threads=threads, size_wh=size_wh
    )
    _print_metrics(classification_scores(classifier, data_set, on_error=on_error))


def _written(
    pairs: Iterator[tuple[Sample, Detections]], folder: Path, formats: list[str], ids: dict[int, int] | None
) -> Iterator[tuple[Sample, Detections]]:
    """Pass detections on and write them as they pass."""
    from yolo9000.io.writers import ResultWriter

    with ResultWriter(folder, formats, ids) as writer:
        for sample, detections in pairs:
            writer.write(sample.name, None, detections)
            yield sample, detections


def _write_report(evaluation: Evaluation, folder: Path) -> None:
    from yolo9000.evaluation.report import evaluation_page, plots_of, write_page

    folder.mkdir(parents=True, exist_ok=True)
    plots = plots_of(evaluation)
    for name, png in plots.items():
        (folder / f"{name}.png").write_bytes(png)
    _write(folder / "scores.json", json.dumps(evaluation.to_json(), indent=1))
    write_page(evaluation_page(evaluation, plots), folder / "report.html")
    print(f"Report in {(folder / 'report.html').resolve()}")


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

    print(f"{'class':<28} {'objects':>8} {'AP50':>7} {'AP':>7}")
    for label in sorted(np.flatnonzero(evaluation.gts), key=lambda i: -evaluation.ap[i]):
        print(
            f"{evaluation.classes[label][:28]:<28} {evaluation.gts[label]:>8} "
            f"{evaluation.ap[label]:>7.4f} {evaluation.ap_coco[label, 0]:>7.4f}"
        )
    print(f"{evaluation.images} images")
    _print_metrics(evaluation.metrics)
    _print_metrics({f"map50_depth_{depth}": value for depth, value in evaluation.by_depth.items()})
