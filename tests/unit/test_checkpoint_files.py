"""Model files: what is written comes back, and nothing else is taken for one."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save, save_file
from support.small_models import FLAT_NAMES, TREE, random_model, small_architecture, write_flat

from yolo9000.architectures.layers import Architecture, Reorg
from yolo9000.architectures.surgery import initial_model, scale_width, with_classes
from yolo9000.architectures.weights import Model, WeightsDtype
from yolo9000.architectures.zoo import darknet19
from yolo9000.checkpoints.metadata import KEY, NO_DIGEST, seal
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


def assert_same(loaded: LoadedModel, wanted: LoadedModel) -> None:
    assert loaded.trained_weights.architecture == wanted.trained_weights.architecture
    assert (loaded.names, loaded.kind, loaded.trained) == (wanted.names, wanted.kind, wanted.trained)
    assert (loaded.head is None) == (wanted.head is None)
    if loaded.head is not None and wanted.head is not None:
        assert loaded.head.resize_mode == wanted.head.resize_mode
    assert (loaded.tree is None) == (wanted.tree is None)
    if loaded.tree is not None and wanted.tree is not None:
        assert (loaded.tree.parents == wanted.tree.parents).all()
        assert loaded.tree.ids == wanted.tree.ids
    for own, other in zip(loaded.trained_weights.parameters, wanted.trained_weights.parameters, strict=True):
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
    (loaded,), (wanted,) = ours.detect([image]), darknet.detect([image])
    assert len(wanted) > 3
    assert loaded.names == wanted.names
    np.testing.assert_array_equal(loaded.boxes_xyxy, wanted.boxes_xyxy)
    np.testing.assert_array_equal(loaded.scores, wanted.scores)


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
    (wanted,), (loaded,) = (
        Detector.load(file, engine="onnxruntime", conf_threshold=0.01).detect([image])
        for file in (path, tmp_path / "other.cfg")
    )
    assert len(wanted) > 3
    np.testing.assert_allclose(loaded.boxes_xyxy, wanted.boxes_xyxy, atol=1e-3)
    np.testing.assert_allclose(loaded.scores, wanted.scores, atol=1e-5)
    write_checkpoint(path, classifier())
    assert run(["predict", "x.jpg", "--model", str(path)]) == 2
    assert "must be a detector, got a classifier" in capsys.readouterr().err


def worst_error(stored: LoadedModel, wanted: LoadedModel, *, of_last: bool = False) -> float:
    """The largest difference of a kernel's weights, as a fraction of the largest weight of their filter."""
    pairs = list(zip(stored.trained_weights.parameters, wanted.trained_weights.parameters, strict=True))
    kernels = [(a.weights, b.weights) for a, b in pairs if a is not None and b is not None]
    chosen = kernels[-1:] if of_last else kernels[:-1]
    return max(float((np.abs(a - b).max((1, 2, 3)) / np.abs(b).max((1, 2, 3))).max()) for a, b in chosen)


HALF_STEP_OF_INT8 = 0.5 / 127
HALF_STEP_OF_FLOAT16 = 2.0**-11


@pytest.mark.parametrize(
    ("dtype", "last_dtype", "others", "last"),
    [
        ("float16", None, HALF_STEP_OF_FLOAT16, HALF_STEP_OF_FLOAT16),
        ("int8", None, HALF_STEP_OF_INT8, HALF_STEP_OF_INT8),
        ("float16", "int8", HALF_STEP_OF_FLOAT16, HALF_STEP_OF_INT8),
        ("float32", "int8", 0, HALF_STEP_OF_INT8),
        ("int8", "float32", HALF_STEP_OF_INT8, 0),
    ],
)
def test_kernels_are_stored_as_asked_and_all_else_exactly(
    dtype: WeightsDtype, last_dtype: WeightsDtype | None, others: float, last: float, tmp_path: Path
) -> None:
    path, wanted = tmp_path / "model.safetensors", with_tree()
    write_checkpoint(path, wanted, dtype=dtype, last_dtype=last_dtype)
    stored = read_checkpoint(path)
    for error, limit in ((worst_error(stored, wanted), others), (worst_error(stored, wanted, of_last=True), last)):
        assert limit / 3 <= error <= limit * 1.0001
    for own, other in zip(stored.trained_weights.parameters, wanted.trained_weights.parameters, strict=True):
        if own is not None and other is not None:
            assert (own.biases == other.biases).all()
            assert (own.batch_norm is None) or (own.batch_norm.scales == other.batch_norm.scales).all()  # type: ignore[union-attr]
    again = tmp_path / "again.safetensors"
    write_checkpoint(again, stored, dtype=dtype, last_dtype=last_dtype)
    assert_same(read_checkpoint(again), stored)  # rounding twice is rounding once


def test_smaller_dtypes_make_smaller_files(tmp_path: Path) -> None:
    sizes = {}
    for dtype in ("float32", "float16", "int8"):
        write_checkpoint(tmp_path / dtype, with_tree(), dtype=dtype)  # type: ignore[arg-type]
        sizes[dtype] = sum(array.nbytes for array in load_file(tmp_path / dtype).values())
    kernels = sum(p.weights.size for p in with_tree().trained_weights.parameters if p is not None)
    filters = sum(p.biases.size for p in with_tree().trained_weights.parameters if p is not None)
    assert sizes["float32"] - sizes["float16"] == 2 * kernels
    assert sizes["float32"] - sizes["int8"] == 3 * kernels - 4 * filters


@pytest.mark.parametrize(
    ("scales", "message"),
    [
        (None, "tensor layers.0.weight_scales is missing"),
        (np.ones(7, np.float32), "layers.0.weight_scales must have 8 values, got 7"),
        (np.ones(8, np.float16), "layers.0.weight_scales must be float32, got float16"),
        (np.full(8, np.nan, np.float32), "layer 0 .*: weights must be finite"),
    ],
)
def test_scales_that_do_not_fit_their_kernel(scales: np.ndarray | None, message: str, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    write_checkpoint(path, flat(), dtype="int8")
    tensors, metadata = load_file(path), metadata_of(path)
    del tensors["layers.0.weight_scales"]
    if scales is not None:
        tensors["layers.0.weight_scales"] = scales
    metadata = re.sub(r'"sha256":"\w+"', f'"sha256":"{NO_DIGEST}"', metadata)
    path.write_bytes(seal(save(tensors, {KEY: metadata})))
    with pytest.raises(WeightsError, match=message):
        read_checkpoint(path)


def test_what_float16_cannot_hold(tmp_path: Path) -> None:
    model = flat().trained_weights
    first = model.parameters[0]
    assert first is not None
    large = Model(model.architecture, (replace(first, weights=first.weights * np.float32(1e6)), *model.parameters[1:]))
    with pytest.raises(WeightsError, match=r"^layers\.0\.weights: float16 holds values up to 65504, got larger ones$"):
        write_checkpoint(tmp_path / "a", LoadedModel.from_weights(large, FLAT_NAMES), dtype="float16")
    assert list(tmp_path.iterdir()) == []


def test_a_model_with_missing_weights_is_not_written(tmp_path: Path) -> None:
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
    for position in np.random.default_rng(3).integers(0, len(data), 150):
        flipped = bytearray(data)
        flipped[position] ^= 1 << (int(position) % 8)
        path.write_bytes(flipped)
        try:
            loaded = read_checkpoint(path)
        except WeightsError:
            continue
        # Only what no weight depends on, e.g. a name, may have changed
        for own, other in zip(loaded.trained_weights.parameters, wanted.trained_weights.parameters, strict=True):
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
