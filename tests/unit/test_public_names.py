"""What the package promises: its public names are there, documented, and their examples run."""

from __future__ import annotations

import ast
import doctest
import inspect
import subprocess
import sys
from pathlib import Path

import pytest
from support.paths import ROOT

import yolo9000
from yolo9000 import errors

EXAMPLES = ["Detector", "Detector.detect", "load_model", "open_dataset", "track"]
REFERENCE = ROOT / "docs" / "reference.md"


@pytest.mark.parametrize("name", [name for name in yolo9000.__all__ if name != "__version__"])
def test_public_names_are_there_and_documented(name: str) -> None:
    value = getattr(yolo9000, name)
    assert inspect.getdoc(value)
    assert f"::: yolo9000.{name}\n" in REFERENCE.read_text()


def test_every_error_is_public() -> None:
    known = {name for name, value in vars(errors).items() if inspect.isclass(value) and issubclass(value, Exception)}
    assert known <= set(yolo9000.__all__)
    assert all(issubclass(getattr(yolo9000, name), yolo9000.YoloError) for name in known)


def test_names_for_type_checkers_are_those_at_run_time() -> None:
    """The imports under ``TYPE_CHECKING`` and the lazy ones must not differ."""
    tree = ast.parse(Path(yolo9000.__file__).read_text())
    (checked,) = (node for node in tree.body if isinstance(node, ast.If))
    names = {
        alias.asname or alias.name: f"{node.module}.{alias.name}"
        for node in checked.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert sorted(names) == sorted(set(yolo9000.__all__) - {"__version__"})
    for name, path in names.items():
        value = getattr(yolo9000, name)
        assert f"{value.__module__}.{value.__qualname__}" == path


def test_other_names_are_refused() -> None:
    with pytest.raises(AttributeError, match="module 'yolo9000' has no attribute 'Detektor'"):
        _ = yolo9000.Detektor  # type: ignore[attr-defined]


def test_importing_the_package_imports_nothing_heavy() -> None:
    code = "import sys, yolo9000; print(sorted({'numpy', 'cv2', 'onnx', 'pydantic', 'PIL'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", EXAMPLES)
def test_examples_run(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    value: object = yolo9000
    for part in name.split("."):
        value = getattr(value, part)
    examples = doctest.DocTestFinder(recurse=False).find(value, name, globs={})
    tried = [doctest.DocTestRunner().run(example) for example in examples]
    assert sum(result.attempted for result in tried) > 0
    assert sum(result.failed for result in tried) == 0
