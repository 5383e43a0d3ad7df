"""The commands that train and that show how runs went."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from yolo9000.cli.terminal import say, say_error
from yolo9000.errors import EXIT_SOME_FAILED, ConfigError

if TYPE_CHECKING:
    from yolo9000.training import Outcome
    from yolo9000.training.monitor import Notify

ResumeOption = Annotated[
    Path | None,
    typer.Option(
        help="Go on with the run in this folder, as it would have gone on; DATA and start=PATH where they now are, "
        "and more epochs=N or minutes=N, may be given.",
        show_default=False,
    ),
]


def train(
    data_and_settings: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[DATA] [KEY=VALUE]...",
            help="The data set, and settings that override the recipe's: epochs=20 optimizer.lr=0.001.",
            show_default=False,
        ),
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option(help="A TOML file, or the name of a recipe of the package [fine-tune].", show_default=False),
    ] = None,
    from_cfg: Annotated[
        Path | None,
        typer.Option(help="A Darknet .cfg whose training options are the recipe.", show_default=False),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder of the run [runs/train, ...].", show_default=False)
    ] = None,
    resume: ResumeOption = None,
    device: Annotated[str, typer.Option(help="auto (a GPU if there is one), cpu, cuda, cuda:1.")] = "auto",
    threads: Annotated[
        int | None, typer.Option(help="CPU threads of each process [its part of the cores].", show_default=False)
    ] = None,
) -> None:
    """Train a detector or a classifier: by default, fine-tune the bundled model on DATA."""
    data, settings = _split_arguments(data_and_settings or [])
    if resume is None and data is None and recipe is None:
        raise ConfigError("train needs DATA, --recipe RECIPE with data of its own, or --resume RUN")
    if resume is not None and any(given is not None for given in (recipe, from_cfg, out, threads)):
        raise ConfigError(
            "--resume continues a run with its own recipe, folder and threads: do not give --recipe, --from-cfg, --out "
            "or --threads"
        )
    if threads is not None and threads < 1:
        raise ConfigError(f"must be at least 1, got {threads}", argument="threads")
    # Before torch is loaded. Threads that wait for each other by spinning without end stand in each other's way where
    # anything else runs; those that sleep at once are woken between any two small layers, which costs a third.
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    from yolo9000.training import train as train_model
    from yolo9000.training.distributed import restarts
    from yolo9000.training.recipe import parse_overrides

    def notify(line: str) -> None:
        if os.environ.get("RANK", "0") == "0":
            say(line)

    overrides = parse_overrides(settings)
    data = _only_data(data, overrides)
    chosen: dict[str, Any] = {"recipe": recipe, "from_cfg": from_cfg, "out": out, "resume": resume}
    if out is not None and restarts() > 0 and (out / "run.json").exists():
        outcome = train_model(resume=out, device=device, notify=notify)
    else:
        outcome = train_model(data, device=device, threads=threads, notify=notify, **chosen, **overrides)
    _tell_end(outcome, notify)
    if outcome.signal is not None:
        raise typer.Exit(128 + outcome.signal)
    if outcome.unwritten:
        raise typer.Exit(EXIT_SOME_FAILED)


def _only_data(data: str | None, overrides: dict[str, Any]) -> str | None:
    """The data set, which may be given as ``data=DATA`` too; takes that key, and refuses options given as settings."""
    if options := {"recipe", "from_cfg", "out", "resume", "device", "threads"} & set(overrides):
        raise ConfigError(f"{min(options)} is an option, not a setting of the recipe", argument=min(options))
    if data is not None and _is_recipe(data):
        raise ConfigError(f"{data} is a recipe, not a data set: write --recipe {data}")
    if data is not None and "data" in overrides:
        raise ConfigError(f"data must be given once, got {data} and {overrides['data']}")
    return str(overrides.pop("data")) if "data" in overrides else data


def _is_recipe(data: str) -> bool:
    from yolo9000.training.recipe import built_in_recipes

    return data.endswith(".toml") or (data in built_in_recipes() and not Path(data).exists())


def _split_arguments(arguments: list[str]) -> tuple[str | None, list[str]]:
    """The data set, if the first argument is one, and the settings."""
    is_data = bool(arguments) and ("=" not in arguments[0] or Path(arguments[0]).exists())
    settings = arguments[1:] if is_data else arguments
    for text in settings:
        if "=" not in text:
            raise ConfigError(f"after DATA there must be settings, KEY=VALUE, got {text!r}")
    return (arguments[0] if is_data else None), settings


def curves(
    runs: Annotated[list[Path], typer.Argument(help="Folders of runs.", show_default=False)],
    score: Annotated[str, typer.Option(help="Such as map50 or top1.")] = "map50",
    against: Annotated[Literal["epoch", "minutes"], typer.Option(help="What lies below the curves.")] = "epoch",
    out: Annotated[Path, typer.Option("--out", "-o", help="PNG to write.")] = Path("curves.png"),
) -> None:
    """Draw a score of several runs in one image, and print the best of each."""
    from yolo9000.io.files import write_atomically
    from yolo9000.training.curves import best_scores, plot_scores
    from yolo9000.training.logging import RunFolder

    folders = {path.resolve().name: RunFolder(path) for path in runs}
    if len(folders) < len(runs):
        raise ConfigError("the folders of the runs must have different names, which stand beside the curves")
    write_atomically(out, plot_scores(folders, score, against))
    for name, best in best_scores(folders, score).items():
        say(f"{name:<28} {score} {best.value:.4f} after {best.epoch:.4g} epochs, {best.minutes:.1f} minutes")
    say(f"Curves in {out.resolve()}")


def pseudo_boxes(
    run: Annotated[Path, typer.Argument(help="Folder of a run of joint training.", show_default=False)],
    labels: Annotated[
        list[str] | None, typer.Option(help="Only images of this class; may be repeated.", show_default=False)
    ] = None,
    images: Annotated[int, typer.Option(help="How many images to show.", min=1)] = 6,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder for the page [the run's].", show_default=False)
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the draw of images.", min=0)] = 0,
) -> None:
    """Show which box each image-level label of an image taught, in the course of training (§4)."""
    from yolo9000.training.pseudo_boxes import show_pseudo_boxes

    folder = out or run
    for stage in show_pseudo_boxes(run, folder, images=images, labels=labels or (), seed=seed):
        first, last = stage.steps
        say(
            f"steps {first:,} to {last:,}: {stage.boxes:,} boxes; probability {stage.probability:.3f}, "
            f"objectness {stage.objectness:.3f}, {stage.area:.0%} of the image"
        )
    say(f"Page in {(folder / 'pseudo-boxes.html').resolve()}")


def _tell_end(outcome: Outcome, notify: Notify) -> None:
    if outcome.unwritten:
        say_error(_unwritten(outcome))
    if outcome.signal is not None:
        notify(f"stopped after step {outcome.step:,}; go on with --resume {outcome.folder}")
        return
    if outcome.images_per_second:
        notify(f"{outcome.images_per_second:.1f} images/s; {outcome.waited:.1%} of the time waiting for images")
    scores = ", ".join(f"{name} {value:.4g}" for name, value in outcome.scores.items())
    notify(f"best: {scores}" if scores else "no validation split: nothing was scored")
    if outcome.start is not None:
        notify(_compared(outcome, outcome.start))
    notify(f"Results in {outcome.folder.resolve()}; the model: {outcome.best}")
    notify(f"Use it: yolo9000 predict IMAGES --model {outcome.best}")


def _unwritten(outcome: Outcome) -> str:
    """What of a run could not be written, and what writes it."""
    lost = ", ".join(f"{what} ({reason})" for what, reason in outcome.unwritten.items())
    again = f"yolo9000 train --resume {outcome.folder}"
    return f"could not be written: {lost}; the weights are whole, and {again} writes the report again"


def _compared(outcome: Outcome, start: float) -> str:
    """How the best weights compare with those that training started with."""
    if outcome.scores["epoch"] == 0:
        return (
            f"no better than before training, {outcome.best_metric} {start:.4g}: the model is as it was. More minutes "
            "or epochs, more images, or a lower optimizer.lr may help"
        )
    return f"before training: {outcome.best_metric} {start:.4g}"
