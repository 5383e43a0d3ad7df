"""What the package must never do, whoever writes its next line."""

from __future__ import annotations

import ast
import copy
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import yolo9000
from yolo9000.errors import ConfigError
from yolo9000.inference.settings import DetectionSettings

PACKAGE = Path(yolo9000.__file__).parent
SOURCES = sorted(PACKAGE.rglob("*.py"))
MODULES = {"pickle", "cPickle", "dill", "marshal", "shelve", "joblib", "requests", "torchvision"}
CALLS = {"eval", "exec", "compile", "__import__"}
KEYWORDS = {("allow_pickle", True), ("weights_only", False), ("shell", True)}
ATTRIBUTES = {("yaml", "load"), ("yaml", "unsafe_load"), ("os", "system"), ("torch", "load")}


def offences(source: str) -> list[str]:
    imported = []
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names=names):
                imported += [alias.name for alias in names if alias.name.split(".")[0] in MODULES]
            case ast.ImportFrom(module=str(module)) if module.split(".")[0] in MODULES:
                imported.append(module)
            case ast.Call(func=ast.Name(id=name)) if name in CALLS:
                imported.append(name)
            case ast.Attribute(value=ast.Name(id=owner), attr=name) if (owner, name) in ATTRIBUTES:
                imported.append(f"{owner}.{name}")
            case ast.keyword(arg=str(name), value=ast.Constant(value=value)) if (name, value) in KEYWORDS:
                imported.append(f"{name}={value}")
            case _:
                pass
    return imported


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_nothing_executes_what_it_reads(path: Path) -> None:
    assert offences(path.read_text()) == []


@pytest.mark.parametrize(
    "bad",
    [
        "import pickle",
        "from pickle import loads",
        "import torchvision.ops",
        "eval(text)",
        "np.load(path, allow_pickle=True)",
        "yaml.load(text)",
        "torch.load(path)",
        "subprocess.run(text, shell=True)",
    ],
)
def test_the_check_finds_offences(bad: str) -> None:
    assert len(offences(bad)) == 1


def test_openvino_does_not_report_home(tmp_path: Path) -> None:
    """Its telemetry package would write an id into the home folder and call a server on import."""
    pytest.importorskip("openvino")
    code = """
import socket, sys
def refuse(*arguments, **keywords):
    print("connected"); sys.exit(9)
socket.socket.connect = socket.getaddrinfo = refuse
import yolo9000.inference.engines.openvino
import openvino.tools.ovc.telemetry_utils as utils
print(utils.tm.__name__)
"""
    environment = {key: value for key, value in os.environ.items() if key not in ("CI", "HOME")}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**environment, "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout.split() == ["openvino.tools.ovc.telemetry_stub"], done.stderr
    assert list(tmp_path.iterdir()) == []


def test_errors_say_what_must_hold() -> None:
    """Whoever raises a user's error gives it words."""
    bare = re.compile(r"raise (?:Config|Data|Weights|Tree|Engine)Error(?:\(\))?$", re.MULTILINE)
    assert [path.name for path in SOURCES if bare.search(path.read_text())] == []


COMMAND_LINES = re.compile(r"(yolo9000|tar|pip install) [a-z-].*")  # whole commands, of this program and of others
FLAGS_OF_GIT = {"--porcelain", "--untracked-files=no"}


def flags(source: str) -> list[str]:
    """Strings that spell an option of the command line."""
    texts = [node.value for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Constant)]
    texts = [COMMAND_LINES.sub("", text) for text in texts if isinstance(text, str) and text not in FLAGS_OF_GIT]
    return [text for text in texts if re.search(r"--[a-z]", text)]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_only_the_command_line_spells_options(path: Path) -> None:
    assert path.parent.name == "cli" or flags(path.read_text()) == []


def test_options_are_recognized() -> None:
    assert flags('f"--size must be {n}"') == ["--size must be "]
    assert flags('"""Use `--on-error fix`."""') == ["Use `--on-error fix`."]
    assert flags('"yolo9000 predict --model x"; "a -- b"') == []


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"thresh": 0.3}, "unknown setting 'thresh' (did you mean 'conf_threshold'?)"),
        ({"conf_treshold": 0.3}, "unknown setting 'conf_treshold' (did you mean 'conf_threshold'?)"),
        ({"iou": 0.3}, "unknown setting 'iou' (did you mean 'nms_iou'?)"),
        ({"colour": 0.3}, "unknown setting 'colour'"),
        ({"conf_threshold": 1.5}, "conf_threshold: must be less than 1, got 1.5"),
        ({"conf_threshold": "high"}, "conf_threshold: must be a number, got 'high'"),
        ({"max_detections": 0}, "max_detections: must be at least 1, got 0"),
        ({"suppression": "soft"}, "suppression: must be 'label', 'path' or 'objectness', got 'soft'"),
    ],
)
def test_wrong_settings_are_named_as_in_python(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        DetectionSettings.checked(**settings)
    assert str(caught.value) == message
    assert caught.value.argument == (message.split(":")[0] if ": must" in message else None)


def test_errors_keep_their_argument_across_processes() -> None:
    error = ConfigError("must be at least 1, got 0", argument="batch")
    again = copy.copy(error)
    assert (str(again), again.argument) == ("batch: must be at least 1, got 0", "batch")
