"""The command that puts detectors behind HTTP."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from yolo9000.checkpoints.bundled import BUNDLED
from yolo9000.cli.options import DETECTION, ENGINE, MODEL, SERVE, Options, with_options
from yolo9000.cli.terminal import say, say_note
from yolo9000.errors import ConfigError, needs_extra, wrong_values

if TYPE_CHECKING:
    from yolo9000.serve.settings import ServeSettings

__all__ = ["serve"]

TOKEN_VARIABLE = "YOLO9000_TOKEN"  # noqa: S105  the name of a variable


@with_options(serve_options=SERVE, model_options=MODEL, engine_options=ENGINE, detection_options=DETECTION)
def serve(
    serve_options: Options,
    model_options: Options,
    engine_options: Options,
    detection_options: Options,
    models: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[MODEL]...",
            help=f"Model files, or NAME=MODEL to choose what requests call them [{BUNDLED}].",
            show_default=False,
        ),
    ] = None,
    token_file: Annotated[
        Path | None,
        typer.Option(
            help=f"File with a token that requests must bear; it can also be in the variable {TOKEN_VARIABLE}.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Serve detectors over HTTP, with a page to try them."""
    settings = _settings(serve_options)
    token = _token(token_file)
    with needs_extra("serve", "serving"):
        from yolo9000.serve.app import Service
        from yolo9000.serve.metrics import Metrics
        from yolo9000.serve.models import Models, name_models
        from yolo9000.serve.server import ignore_reloads, listen, run
    from yolo9000.inference.detector import Detector

    def load(model: str) -> Detector:
        return Detector.load(model, **model_options, **engine_options, **detection_options)

    ignore_reloads()
    with listen(settings.host, settings.port) as listening:
        metrics = Metrics()
        loaded = Models(name_models(models or [BUNDLED]), load, settings, metrics)
        host, port = listening.getsockname()[:2]
        say(f"Serving {', '.join(loaded.names)} at http://{f'[{host}]' if ':' in host else host}:{port}")
        if not token and not settings.accepted_hosts:
            say_note(f"Anyone who reaches this address can use it: {TOKEN_VARIABLE} sets a token.")
        run(Service(loaded, settings, metrics, token=token), settings, listening)


def _settings(options: Options) -> ServeSettings:
    from pydantic import ValidationError

    from yolo9000.serve.settings import ServeSettings

    try:
        return ServeSettings(**options)
    except ValidationError as error:
        argument, problem = wrong_values(error)[0]
        raise ConfigError(problem, argument=argument) from None


def _token(file: Path | None) -> str | None:
    """The token in a file or in the variable.

    Raises:
        ConfigError: it is empty.
    """
    if file is None and TOKEN_VARIABLE not in os.environ:
        return None
    from yolo9000.io.files import read_text

    token = (os.environ[TOKEN_VARIABLE] if file is None else read_text(file)).strip()
    if not token:
        raise ConfigError("the token must not be empty")
    return token
