"""Model files: what is written comes back, and nothing else is taken for one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from support.small_models import FLAT_NAMES, TREE, random_model, small_architecture, write_flat

from yolo9000.architectures.layers import Architecture, Reorg
from yolo9000.architectures.surgery import initial_model, scale_width, with_classes
from yolo9000.architectures.weights import Model
from yolo9000.architectures.zoo import darknet19
from yolo9000.checkpoints.model import LoadedModel
from yolo9000.checkpoints.safetensors import read_checkpoint, write_checkpoint
from yolo9000.cli.app import run
from yolo9000.errors import ConfigError, WeightsError
from yolo9000.inference.detector import Detector


def flat() -> LoadedModel:
    return LoadedModel.from_weights(
        random_model(small_architecture(5)), FLAT_NAMES, trained={"step": 3, "scores": {"map50": 0.25}}
    )


def with_tree() -> LoadedModel:
    return LoadedModel.from_weights(
        random_model(small_architecture(7, tree="labels.tree")), TREE.names, TREE, resize_mode="stretch"
    )


def classifier() -> LoadedModel:
    architecture = replace(scale_width(with_classes(darknet19(), 5), 0.125), width=64, height=32)
    return LoadedModel.from_weights(initial_model(architecture, 1), FLAT_NAMES)


def clean_passthrough() -> LoadedModel:
    architecture = small_architecture(5)
    rows = tuple(replace(row, order="space_to_depth") if isinstance(row, Reorg) else row for row in architecture.layers)
    return LoadedModel.from_weights(
        random_model(Architecture(rows, architecture.width, architecture.height)), FLAT_NAMES
    )


def assert_same(found: LoadedModel, wanted: LoadedModel) -> None:
    assert found.trained_weights.architecture == wanted.trained_weights.architecture
    assert (found.names, found.kind, found.trained) == (wanted.names, wanted.kind, wanted.trained)
    assert (found.head is None) == (wanted.head is None)
    if found.head is not None and wanted.head is not None:
        assert found.head.resize_mode == wanted.head.resize_mode
    assert (found.tree is None) == (wanted.tree is None)
    if found.tree is not None and wanted.tree is not None:
        assert (found.tree.parents == wanted.tree.parents).all()
        assert found.tree.ids == wanted.tree.ids
    for own, other in zip(found.trained_weights.parameters, wanted.trained_weights.parameters, strict=True):
        assert (own is None) == (other is None)
        if own is not None and other is not None:
            assert (own.weights == other.weights).all()
            assert (own.biases == other.biases).all()
            assert (own.batch_norm is None) == (other.batch_norm is None)
            if own.batch_norm is not None and other.batch_norm is not None:
                for name, values in vars(own.batch_norm).items():
                    assert (values == getattr(other.batch_norm, name)).all()


@pytest.mark.parametrize("make", [flat, with_tree, classifier, clean_passthrough])
def test_what_is_written_comes_back(tmp_path: Path, make: object) -> None:
    wanted = make()  # type: ignore[operator]
    path = tmp_path / "model.safetensors"
    write_checkpoint(path, wanted)
    assert_same(read_checkpoint(path), wanted)
    again = tmp_path / "again.safetensors"
    write_checkpoint(again, read_checkpoint(path))
    assert again.read_bytes() == path.read_bytes()


def test_it_detects_what_its_cfg_and_weights_detect(tmp_path: Path) -> None:
    cfg = write_flat(tmp_path)
    image = np.random.default_rng(0).integers(0, 256, (60, 90, 3), dtype=np.uint8)
    darknet = Detector.load(cfg, engine="onnxruntime", conf_threshold=0.01)
    path = tmp_path / "model.safetensors"
    write_checkpoint(path, LoadedModel.from_weights(random_model(small_architecture(5)), darknet.names))
    ours = Detector.load(path, engine="onnxruntime", conf_threshold=0.01)
    (found,), (wanted,) = ours.detect([image]), darknet.detect([image])
    assert len(wanted) > 3
    assert found.names == wanted.names
    np.testing.assert_array_equal(found.boxes_xyxy, wanted.boxes_xyxy)
    np.testing.assert_array_equal(found.scores, wanted.scores)


def test_the_commands_take_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "model.safetensors"
    write_checkpoint(path, flat())
    assert run(["info", str(path)]) == 0
    out = capsys.readouterr().out
    assert "names: cup, dog, cat, kite, bus" in out
    assert "step: 3" in out
    for kind, suffix in (("onnx", ".onnx"), ("darknet", ".cfg")):
        assert run(["export", str(path), "--to", kind, "--out", str(tmp_path / "out")]) == 0
        assert run(["info", str(tmp_path / f"out{suffix}")]) == 0
    write_checkpoint(path, clean_passthrough())
    assert run(["export", str(path), "--to", "darknet", "--out", str(tmp_path / "other")]) == 0
    image = np.random.default_rng(0).integers(0, 256, (60, 90, 3), dtype=np.uint8)
    (wanted,), (found,) = (
        Detector.load(file, engine="onnxruntime", conf_threshold=0.01).detect([image])
        for file in (path, tmp_path / "other.cfg")
    )
    assert len(wanted) > 3
    np.testing.assert_allclose(found.boxes_xyxy, wanted.boxes_xyxy, atol=1e-3)
    np.testing.assert_allclose(found.scores, wanted.scores, atol=1e-5)
    write_checkpoint(path, classifier())
    assert run(["predict", "x.jpg", "--model", str(path)]) == 2
    assert "must be a detector, got a classifier" in capsys.readouterr().err


def test_a_model_without_all_its_numbers_is_not_written(tmp_path: Path) -> None:
    model = flat().trained_weights
    partial = Model(model.architecture, (model.parameters[0], *[None] * (len(model.parameters) - 1)))
    with pytest.raises(WeightsError, match="every convolution must have weights"):
        write_checkpoint(tmp_path / "a.safetensors", LoadedModel.from_weights(partial, FLAT_NAMES))
    assert list(tmp_path.iterdir()) == []


def test_only_detectors_have_a_head_spec() -> None:
    assert flat().detector_head.classes == "softmax"
    assert with_tree().detector_head.classes == "tree"
    with pytest.raises(ConfigError, match="must be a detector"):
        _ = classifier().detector_head


def damaged(path: Path, kind: str) -> None:
    tensors, meta = load_file(path), metadata_of(path)
    match kind:
        case "missing":
            del tensors["layers.0.biases"]
        case "extra":
            tensors["layers.1.weights"] = np.zeros(3, np.float32)
        case "shape":
            tensors["layers.0.scales"] = np.zeros(7, np.float32)
        case "dtype":
            tensors["layers.0.scales"] = np.zeros(8, np.float16)
        case "values":
            tensors["layers.0.weights"][0] += 1
        case "cfg":
            meta = meta.replace("[region]", "[yolo]")
        case "names":
            meta = meta.replace('"cup",', "")
        case "version":
            meta = meta.replace('"version":2', '"version":3')
        case "metadata":
            meta = meta[:-5]
    save_file(tensors, path, {"yolo9000": meta} if kind != "foreign" else {})


def metadata_of(path: Path) -> str:
    from safetensors import safe_open

    with safe_open(path, framework="numpy") as opened:
        return str(opened.metadata()["yolo9000"])


KINDS = ("missing", "extra", "shape", "dtype", "values", "cfg", "names", "version", "metadata", "foreign")


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_damaged_is_refused_in_one_line(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "model.safetensors"
    write_checkpoint(path, flat())
    damaged(path, kind)
    with pytest.raises(WeightsError) as caught:
        read_checkpoint(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_any_flipped_byte_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    wanted = flat()
    write_checkpoint(path, wanted)
    data = path.read_bytes()
    for place in np.random.default_rng(3).integers(0, len(data), 150):
        flipped = bytearray(data)
        flipped[place] ^= 1 << (int(place) % 8)
        path.write_bytes(flipped)
        try:
            found = read_checkpoint(path)
        except WeightsError:
            continue
        # Only what no number hangs on, such as a name, may have changed
        for own, other in zip(found.trained_weights.parameters, wanted.trained_weights.parameters, strict=True):
            assert own is None or (other is not None and (own.weights == other.weights).all())


@pytest.mark.parametrize(
    "data", [b"", b"\x00" * 7, b"\xff" * 64, b"\x08" + b"\x00" * 7 + b"{}      ", b"PK\x03\x04" * 20]
)
def test_other_files_are_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(data)
    with pytest.raises(WeightsError, match="not a safetensors file"):
        read_checkpoint(path)
    with pytest.raises(WeightsError, match="cannot be read: No such file"):
        read_checkpoint(tmp_path / "nothing.safetensors")
