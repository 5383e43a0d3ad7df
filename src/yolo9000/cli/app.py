"""The command ``yolo9000``. Nothing heavy is imported before a command needs it."""

from __future__ import annotations

import os
import sys
import traceback
import warnings
from collections.abc import Callable
from typing import Annotated

import typer
from typer.exceptions import TyperException
from typer.main import get_command_name

from yolo9000 import __version__
from yolo9000.cli.adapt import add_class, anchors, calibrate
from yolo9000.cli.bench import bench
from yolo9000.cli.data import data_app
from yolo9000.cli.download import download
from yolo9000.cli.label import label, review
from yolo9000.cli.models import export, info
from yolo9000.cli.predict import predict
from yolo9000.cli.serve import serve
from yolo9000.cli.signals import Stopped, stop_signals_raised
from yolo9000.cli.terminal import say, say_error, show_log, spelled
from yolo9000.cli.track import track
from yolo9000.cli.train import curves, pseudo_boxes, train
from yolo9000.cli.tree import tree_app
from yolo9000.cli.val import val
from yolo9000.errors import EXIT_INTERNAL, EXIT_INTERRUPTED, EXIT_OK, EXIT_USAGE, YoloError
from yolo9000.io.files import reason

_TASKS = ("detect", "classify")  # which other programs want before what is to be done

data_app.command("pseudo-boxes")(pseudo_boxes)
tree_app.command("add")(add_class)
_COMMANDS = (
    *(predict, track, serve, val, train, export, info, bench),
    *(calibrate, anchors, curves, download, label, review),
)
_GROUPS = {"data": data_app, "tree": tree_app}


def application(wanted: str | None = None) -> typer.Typer:
    """The command with its subcommands.

    Args:
        wanted: the subcommand that will be run, so that the options of the others need not be made; None for all.
    """
    app = typer.Typer(
        name="yolo9000",
        add_completion=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
        help="Detect thousands of kinds of things in images.",
        epilog="Exit codes: 0 success, 2 wrong usage or model, 3 some inputs or outputs failed, 4 data has issues, "
        "1 internal error, 130 interrupted, 143 or 129 stopped by SIGTERM or SIGHUP. "
        "--debug anywhere shows where an error came from.",
    )
    app.callback()(_root)
    for command in _COMMANDS:
        complete = wanted in (None, get_command_name(command.__name__))
        app.command()(command if complete else _without_options(command))
    for name, group in _GROUPS.items():
        app.add_typer(group if wanted in (None, name) else typer.Typer(help=group.info.help), name=name)
    return app


def _without_options(command: Callable[..., None]) -> Callable[[], None]:
    """What the list of commands shows of one."""

    def stub() -> None:
        raise AssertionError("is not run")

    stub.__name__, stub.__doc__ = command.__name__, command.__doc__
    return stub


def _version(wanted: bool) -> None:
    if wanted:
        say(f"yolo9000 {__version__}")
        raise typer.Exit


def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the command; the process ends with one of the exit codes of `yolo9000.errors`."""
    _quiet_decoders()
    arguments = sys.argv[1:]
    debug = "--debug" in arguments
    with stop_signals_raised():
        code = run([argument for argument in arguments if argument != "--debug"], debug=debug)
    sys.exit(code)


def _quiet_decoders() -> None:
    """Keep Pillow and OpenCV from printing about damaged input, which is reported once."""
    warnings.filterwarnings("ignore", module="PIL")
    os.environ.setdefault("OPENCV_LOG_LEVEL", "OFF")
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")


def run(arguments: list[str], *, debug: bool = False) -> int:
    """Run the command with the given arguments; its exit code. Errors are printed, one line each."""
    show_log()
    try:
        code = application(_subcommand(arguments))(arguments or ["--help"], prog_name="yolo9000", standalone_mode=False)
    except TyperException as error:
        hint = "write predict, train, val or export alone; " if arguments[0] in _TASKS else ""
        return _say(f"{error.format_message().rstrip('.')} ({hint}see yolo9000 --help)", EXIT_USAGE, debug)
    except YoloError as error:
        return _say(spelled(error), EXIT_USAGE, debug)
    except OSError as error:  # e.g. a full disk, a folder that may not be written
        return _say(f"{error.filename or 'a file'}: {reason(error)}", EXIT_USAGE, debug)
    except Stopped as error:
        return _say(f"stopped by {error.name}", error.exit_code, debug)
    except SystemExit:  # how Typer ends if the reader of a pipe has closed it
        return EXIT_INTERRUPTED
    except Exception as error:
        return _say(f"internal error: {type(error).__name__}: {error} (--debug shows where)", EXIT_INTERNAL, debug)
    if not arguments:
        return EXIT_USAGE
    if code == EXIT_INTERRUPTED:  # Typer turns Ctrl-C into this
        return _say("interrupted", EXIT_INTERRUPTED, debug=False)
    return code if isinstance(code, int) else EXIT_OK


def _subcommand(arguments: list[str]) -> str | None:
    """The subcommand that is written first, empty if none is; None while a shell completes words."""
    if "_YOLO9000_COMPLETE" in os.environ:
        return None
    return next((argument for argument in arguments if not argument.startswith("-")), "")


def _say(message: str, code: int, debug: bool) -> int:
    if debug:
        traceback.print_exc()
    say_error(message)
    return code
