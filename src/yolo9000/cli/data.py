"""The commands about data sets: check them, convert, split, combine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from yolo9000.cli.options import OnErrorOption, OverridesOption, ParentsOption, WordNetOption, read_hierarchy
from yolo9000.cli.terminal import say, say_note
from yolo9000.errors import EXIT_DATA_INVALID, ConfigError, EngineError
from yolo9000.io.naming import next_run_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from yolo9000.data.dataset import DataSet, Ledger, OnError, Split
    from yolo9000.io.pages import Page
    from yolo9000.types import Sample

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
        int | None, typer.Option(help="Largest width x height that is decoded [64,000,000].", show_default=False, min=1)
    ] = None,
    boxes_from_shapes: BoxesFromShapesOption = False,
    model: Annotated[
        str | None,
        typer.Option("--model", "-m", help="Also rank the annotations that this detector finds unlikely."),
    ] = None,
) -> None:
    """Find every issue of a data set; exit code 4 if there is one."""
    from yolo9000.data.check import check_splits
    from yolo9000.io.images import MAX_PIXELS

    data_sets = _open_splits(data, split, boxes_from_shapes)
    result = check_splits(data_sets, MAX_PIXELS if max_pixels is None else max_pixels)
    issues = result.issues()
    seen: dict[str, int] = {}
    for issue in issues:
        seen[issue.code] = seen.get(issue.code, 0) + 1
        if every or seen[issue.code] <= 3:
            say(f"{issue}; {issue.suggestion}")
    if issues and not every:
        say(", ".join(f"{count} x {code}" for code, count in seen.items()) + " (--all prints each)")
    for warning in result.warnings:
        say(f"warning: {warning}; {warning.suggestion}")
    for name, summary in result.splits.items():
        say(
            f"{name}: {summary.images} images, {summary.boxed} with boxes ({summary.boxes_of.total()}), "
            f"{summary.labelled} with image-level labels, {len(summary.issues)} issues"
        )
    folder = out or next_run_folder(Path("runs/check"))
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder / "report.json", json.dumps(result.to_json(), indent=1))

    def page() -> Page:
        from yolo9000.evaluation.report import check_page

        return check_page(result, data_sets)

    _write_page(page, folder, "report.json")
    if model is not None:
        _say_suspects(model, data_sets, folder / "suspects.jsonl")
    if issues:
        raise typer.Exit(EXIT_DATA_INVALID)


def _say_suspects(model: str, data_sets: Mapping[Split, DataSet], file: Path) -> None:
    """Say which annotations a detector finds unlikely, and write all of them."""
    from yolo9000.inference.detector import Detector
    from yolo9000.labeling.suspects import find_suspects

    detector = Detector.load(model)
    lines = []
    for split, data_set in data_sets.items():
        suspects = find_suspects(detector, data_set, on_error="skip")
        lines += [json.dumps({"split": split, **suspect.to_dict()}) for suspect in suspects]
        for suspect in suspects[:ISSUES_PRINTED]:
            say(f"{split}: {suspect}")
    _write(file, "\n".join(lines))
    say(f"All {len(lines):,} annotations to look at, by suspicion, in {file.resolve()}")


def _open_splits(
    data: str, wanted: Literal["all", "train", "val", "test"], boxes_from_shapes: bool = False
) -> dict[Split, DataSet]:
    """Open the splits, and say what was recognized."""
    from yolo9000.data.dataset import open_data, open_splits

    opened = open_splits(data) if wanted == "all" else {wanted: open_data(data, wanted)}
    if not opened:
        raise ConfigError(f"{data}: has no split")
    _say_description(next(iter(opened.values())))
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
    _say_description(data_set)
    _tell({split: data_set.count_issues(on_error)}, stem.with_name(f"{stem.name}-left-out"))
    return data_set


def _say_description(data_set: DataSet) -> None:
    """Say what was recognized."""
    if data_set.description:
        say_note(data_set.description)


def _tell(ledgers: Mapping[Split, Ledger], stem: Path) -> None:
    """Say what was left out and changed of each split, and where the full list lies."""
    for name, ledger in ledgers.items():
        for line in ledger.lines(name):
            say(line)
        if ledger:
            file = stem.with_name(f"{stem.name}-{name}.jsonl")
            ledger.write(file)
            say(f"{name}: all {len(ledger.issues):,} issues in {file.resolve()}")


def _write(path: Path, text: str) -> None:
    from yolo9000.io.files import write_atomically

    write_atomically(path, text + "\n")


def _write_page(page: Callable[[], Page], folder: Path, otherwise: str) -> None:
    """Write ``report.html``, or say what it needs."""
    try:
        made = page()
    except EngineError as error:
        say_note(f"no report.html: {error}")
        say(f"Report in {(folder / otherwise).resolve()}")
        return
    from yolo9000.io.pages import write_page

    write_page(made, folder / "report.html")
    say(f"Report in {(folder / 'report.html').resolve()}")


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
        say(f"{name}: {count} images written to {out.resolve()}")
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
    _say_description(data_set)
    ledger = Ledger()
    surveyed = survey(data_set, on_error, ledger)
    fractions: dict[Split, float] = {"val": val}
    if test:
        fractions["test"] = test
    splits = split_survey(surveyed, fractions, group_by=group_by, classes=len(data_set.classes) if stratify else 0)
    parts: dict[Split, list[Sample]] = {"train": [], **{name: [] for name in fractions}}
    for sample, name in zip(surveyed.samples, splits, strict=True):
        parts[name].append(sample)
    files = write_subsets(data_set, parts, out)
    say(f"{', '.join(f'{name} {len(samples):,}' for name, samples in parts.items())}: {files[0].resolve()}")
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

    data_sets = _open_splits(data, split)
    ledgers = {name: Ledger() for name in data_sets}
    counted = stats_of(data_sets, on_error, ledgers)
    drift = drift_between(counted)
    classes = next(iter(data_sets.values())).classes
    for name, one in counted.items():
        say(f"{name}: {one.images:,} images, {one.boxes_of.total():,} boxes, {one.empty:,} images without objects")
    for pair, apart in drift.items():
        apart_by = f"classes {apart.classes:.3f}, sizes {apart.sizes:.3f}, aspects {apart.aspects:.3f}"
        say(f"{pair[0]} and {pair[1]} differ: {apart_by}")
    folder = out or next_run_folder(Path("runs/stats"))
    folder.mkdir(parents=True, exist_ok=True)
    record = {
        "classes": list(classes),
        "splits": {name: one.to_json(classes) for name, one in counted.items()},
        "drift": {f"{one}-{other}": vars(apart) for (one, other), apart in drift.items()},
    }
    _write(folder / "stats.json", json.dumps(record, indent=1))
    _tell(ledgers, folder / "left-out")

    def page() -> Page:
        from yolo9000.evaluation.data_report import stats_page

        return stats_page(data, classes, counted, drift)

    _write_page(page, folder, "stats.json")


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
        say(str(pair))
    say(f"{len(pairs):,} images are the same as an earlier one, or nearly so")
    if out is not None:
        kept = without_duplicates(surveys, pairs)
        files = write_subsets(next(iter(data_sets.values())), kept, out, of=data_sets)
        say(f"{', '.join(f'{name} {len(samples):,}' for name, samples in kept.items())}: {files[0].resolve()}")
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
        say(str(relation))
    say(
        f"{len(combined.built.nodes):,} labels in a tree of {len(combined.built.tree):,} nodes; "
        f"{len(combined.relations):,} relations, {len(combined.ambiguous):,} labels to look at"
    )
    say("Written: " + ", ".join(map(str, files)))
