"""The command that downloads the models which the authors of the paper released."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from yolo9000.cli.terminal import say

if TYPE_CHECKING:
    from collections.abc import Callable

    from yolo9000.io.web import Progress

__all__ = ["download"]


def download(
    name: Annotated[str | None, typer.Argument(help="The model; leave out for a list.", show_default=False)] = None,
    url: Annotated[
        str | None,
        typer.Option(help="Address of the weights on a mirror, or of a folder, with / at its end.", show_default=False),
    ] = None,
    folder: Annotated[
        Path | None, typer.Option("--dir", help="Where to put the files [the user's cache folder].", show_default=False)
    ] = None,
) -> None:
    """Download an original model (yolo9000, yolov2, ...; public domain), so that -m finds it by name."""
    from yolo9000.checkpoints.darknet.released import cache_folder, download_released, released

    if name is None:
        _print_list()
        return
    model, target = released(name), folder or cache_folder()
    for address in model.urls(url).values():
        say(address)
    say(f"{_megabytes(model.sizes[0])} to {target!s}")
    with ExitStack() as stack:
        digests = download_released(name, target, url=url, progress=_progress(stack))
    for file, digest in digests.items():
        say(f"SHA-256 {digest}  {file.name}")
    kind = "start=" if model.partial else "-m "
    say(f"Use it as {kind}{name if folder is None else str(target / model.file_name)}")


def _print_list() -> None:
    from yolo9000.checkpoints.darknet.released import RELEASED

    for model in RELEASED.values():
        *_, address = model.urls().values()
        say(f"{model.name:22}{_megabytes(model.sizes[0]):>9}  {address}")


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB"


def _progress(stack: ExitStack) -> Callable[[str], Progress]:
    """Progress bars on a terminal, nothing elsewhere."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn
    from rich.progress import Progress as Bars

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    bars = Bars(
        *columns, TransferSpeedColumn(), TimeRemainingColumn(), console=console, disable=not console.is_terminal
    )
    stack.enter_context(bars)

    def of_file(file: str) -> Progress:
        task = bars.add_task(file, total=None)
        return lambda done, total: bars.update(task, completed=done, total=total)

    return of_file
