"""Groups of options are the settings of the library, and every line that is printed is safe for its stream."""

from __future__ import annotations

import inspect
import io
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import typer

from yolo9000.cli.app import application
from yolo9000.cli.options import DETECTION, ENGINE, MODEL, Options, with_options
from yolo9000.cli.terminal import Failures, option, printable, say, say_error, spelled
from yolo9000.errors import ConfigError, DataError, EngineError
from yolo9000.inference.detector import Detector
from yolo9000.inference.settings import DetectionSettings, EngineSettings, ModelSettings
from yolo9000.io.naming import next_run_folder


def test_settings_are_the_arguments_of_the_detector() -> None:
    arguments = inspect.signature(Detector.load).parameters
    for settings in (ModelSettings, EngineSettings):
        for name, field in settings.model_fields.items():
            assert arguments[name].default == field.default, name
    own = {"model", "settings", *ModelSettings.model_fields, *EngineSettings.model_fields}
    assert set(arguments) == own


def given_by(arguments: list[str], **groups) -> dict[str, Options]:
    """What a command with groups of options gets from arguments."""
    got: dict[str, Options] = {}

    def command(**options) -> None:
        got.update(options)

    command.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=Options) for name in groups]
    )
    app = typer.Typer()
    app.command()(with_options(**groups)(command))
    app(arguments, standalone_mode=False)
    return got


def test_a_group_has_an_option_for_each_setting_and_gives_those_that_were_given() -> None:
    got = given_by([], a=MODEL, b=ENGINE, c=DETECTION)
    assert got == {"a": {}, "b": {}, "c": {}}
    got = given_by(
        [
            *("--conf", "0.1", "--iou", "0.5", "--suppression", "path", "--max-detections", "7"),
            *("--imgsz", "96x64", "--weights", "a.weights", "--threads", "2", "--precision", "bfloat16"),
        ],
        a=MODEL,
        b=ENGINE,
        c=DETECTION,
    )
    assert got == {
        "a": {"size_wh": (96, 64), "weights": Path("a.weights")},
        "b": {"threads": 2, "precision": "bfloat16"},
        "c": {"conf_threshold": 0.1, "nms_iou": 0.5, "suppression": "path", "max_detections": 7},
    }
    parameters = [*MODEL.parameters(), *ENGINE.parameters(), *DETECTION.parameters()]
    fields = [*ModelSettings.model_fields, *EngineSettings.model_fields, *DetectionSettings.model_fields]
    assert [parameter.name for parameter in parameters] == fields


def test_a_part_of_a_group() -> None:
    assert [parameter.name for parameter in MODEL.only("size_wh").parameters()] == ["size_wh"]
    without = {parameter.name for parameter in DETECTION.without("conf_threshold", "nms_iou").parameters()}
    assert without == set(DetectionSettings.model_fields) - {"conf_threshold", "nms_iou"}


def test_only_the_wanted_subcommand_has_its_options_and_all_are_listed() -> None:
    """The list of commands is the same whichever is wanted; the options of the others are not made."""
    complete, some = (typer.main.get_command(application(wanted)) for wanted in (None, "val"))
    assert [(name, one.get_short_help_str()) for name, one in complete.commands.items()] == [
        (name, one.get_short_help_str()) for name, one in some.commands.items()
    ]
    assert len(some.commands["val"].params) == len(complete.commands["val"].params) > 10
    assert not some.commands["predict"].params
    assert complete.commands["data"].commands
    assert not some.commands["data"].commands
    assert set(typer.main.get_command(application("tree")).commands["tree"].commands) == set(
        complete.commands["tree"].commands
    )


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (["--size", "64x"], ConfigError, "--size: must be an integer or WIDTHxHEIGHT, got '64x'"),
        (
            ["--engine", "tensorrt"],
            EngineError,
            "--engine: must be one of auto, openvino, onnxruntime, torch, got 'tensorrt'",
        ),
    ],
)
def test_wrong_values_are_errors_about_the_option(arguments: list[str], error: type, message: str) -> None:
    with pytest.raises(error) as caught:
        given_by(arguments, a=MODEL, b=ENGINE)
    assert spelled(caught.value) == message


def test_errors_are_spelled_with_options() -> None:
    assert option("hier_thresh") == "--hier-thresh"
    assert option("formats") == "--format"
    assert spelled(ConfigError("must be at least 1, got 0", argument="batch")) == "--batch: must be at least 1, got 0"
    assert spelled(ConfigError("must hold an image, found none", argument="sources")).startswith("SOURCES: must hold")
    message = "x.onnx: already exists: choose another `out`, or `overwrite`"
    assert spelled(ConfigError(message)) == "x.onnx: already exists: choose another --out, or --overwrite"
    assert spelled(DataError("`quoted`: cannot be read")) == "`quoted`: cannot be read"


class Stream(io.TextIOWrapper):
    """Standard output of some encoding."""

    def __init__(self, encoding: str) -> None:
        self.raw_bytes = io.BytesIO()
        super().__init__(self.raw_bytes, encoding=encoding)


@pytest.mark.parametrize(
    ("encoding", "expected"),
    [("ascii", b"caf? ??\n"), ("cp1252", b"caf\xe9 ??\n"), ("utf-8", "caf\xe9 \u65e5\u672c\n".encode())],
)
def test_lines_are_printed_in_every_encoding(encoding: str, expected: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Stream(encoding)
    monkeypatch.setattr(sys, "stdout", stream)
    say("caf\xe9 \u65e5\u672c")
    assert stream.raw_bytes.getvalue() == expected


def test_names_cannot_steer_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    say("a\x1b[2Jb\nc\rd\u202ee\x07.jpg \udcff")
    out = capsys.readouterr().out
    assert out == "a [2Jb c d e .jpg  \n"
    assert printable("\x9b31m") == " 31m"


def test_closed_streams_are_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)
    say("nobody")
    say_error("reads this")
    assert printable("caf\xe9") == "caf\xe9"


def test_a_full_disk_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def write(_: str) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(sys, "stdout", SimpleNamespace(write=write, flush=lambda: None, encoding="utf-8"))
    with pytest.raises(DataError, match="standard output: cannot be written: No space left on device"):
        say("x")


def test_failures_are_printed_counted_and_end_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    failures = Failures()
    failures.exit()
    failures(DataError("a.png: empty file"))
    failures(DataError("b.png: empty file"))
    assert capsys.readouterr().err == "yolo9000: error: a.png: empty file\nyolo9000: error: b.png: empty file\n"
    with pytest.raises(typer.Exit) as ended:
        failures.exit()
    assert (failures.count, ended.value.exit_code) == (2, 3)


def test_runs_are_numbered(tmp_path: Path) -> None:
    assert next_run_folder(tmp_path / "run") == tmp_path / "run"
    (tmp_path / "run").mkdir()
    (tmp_path / "run-2").mkdir()
    assert next_run_folder(tmp_path / "run") == tmp_path / "run-3"
