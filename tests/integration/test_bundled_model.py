"""The model that comes with the package."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, load
from PIL import Image

import yolo9000
from yolo9000 import Detector
from yolo9000.checkpoints.bundled import BUNDLED, bundled_file
from yolo9000.cli.app import run


@pytest.fixture(scope="module")
def detector() -> Detector:
    return Detector.load(threads=1)


def write_image(path: Path) -> Path:
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (48, 72, 3), dtype=np.uint8)).save(path)
    return path


def test_it_is_small_and_its_head_is_lazy(detector: Detector) -> None:
    assert bundled_file().stat().st_size <= 16e6
    kinds = {tensor.data_type for tensor in load(str(bundled_file())).graph.initializer if len(tensor.dims) > 2}
    assert kinds == {TensorProto.INT8}
    assert detector.model.class_rows is not None


def test_it_knows_the_tree_that_the_documents_tell_of(detector: Detector, capsys: pytest.CaptureFixture[str]) -> None:
    tree = detector.head.tree
    assert tree is not None
    assert tree.path_names(tree.find("German shepherd")) == "animal > dog > German shepherd"
    assert tree.path_names(tree.find("Granny Smith")) == "food > apple > Granny Smith"
    assert {"person", "cat", "bicycle", "toothbrush"} <= set(tree.names)
    assert not {"whole", "artifact", "instrumentality"} & set(tree.names)
    assert detector.head.hier_thresh is not None  # it was calibrated
    assert run(["info", BUNDLED]) == 0
    assert f"tree of {len(tree)} nodes; class scores computed on demand" in capsys.readouterr().out


def test_predicting_needs_no_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image = write_image(tmp_path / "a.png")
    for more in ([], ["--model", BUNDLED]):
        assert run(["predict", str(image), "--out", str(tmp_path / f"out{len(more)}"), *more]) == 0
    first, second = (tmp_path / f"out{n}" / "a.jpg" for n in (0, 2))
    assert first.read_bytes() == second.read_bytes()
    assert "a.png 72x48: " in capsys.readouterr().out


def test_nothing_can_be_given_to_it_that_it_holds_itself(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image = write_image(tmp_path / "a.png")
    assert run(["predict", str(image), "--tree", "some.tree"]) == 2
    assert f"{BUNDLED}: holds its own weights, names and tree" in capsys.readouterr().err


def test_it_is_ready_without_torch(tmp_path: Path) -> None:
    script = (
        "import json, sys; from yolo9000 import Detector; Detector.load(); print(json.dumps('torch' in sys.modules))"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(yolo9000.__file__).parents[1])}
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=60, check=True
    )
    assert json.loads(done.stdout) is False


def test_both_engines_give_its_answers() -> None:
    pytest.importorskip("openvino")
    image = np.random.default_rng(1).integers(0, 256, (75, 110, 3), dtype=np.uint8)
    detectors = [Detector.load(engine=engine, threads=1) for engine in ("onnxruntime", "openvino")]
    nodes = np.arange(len(detectors[0].names))
    ours, theirs = (it.best_scores([image], nodes) for it in detectors)
    np.testing.assert_allclose(ours, theirs, atol=1e-4)
    assert ours.max() > 1e-3
