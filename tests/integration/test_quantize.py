"""Exports that compute in int8 or bfloat16: the graphs, the receipt, and when it is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image
from support.small_models import FLAT_NAMES, TREE, loaded, random_model, small_architecture, write_flat

from yolo9000 import Detector, load_model
from yolo9000.adapt.quantize import CalibrationSet, calibration_set, fraction_changed, unfit
from yolo9000.adapt.quantized_graphs import conv_names, layer_outputs, quantized_onnx, quantized_openvino
from yolo9000.checkpoints.openvino import import_openvino
from yolo9000.checkpoints.receipt import Receipt, allows_bfloat16, with_receipt
from yolo9000.cli.app import run
from yolo9000.data.dataset import open_data
from yolo9000.errors import EngineError
from yolo9000.inference.engines import start_engine
from yolo9000.types import Detections

RNG = np.random.default_rng(1)
INPUTS = [RNG.random((1, 3, 48, 72), np.float32) for _ in range(8)]


def quantized(form: str, network: bytes, float_layers: list[str]) -> object:
    if form == "openvino":
        pytest.importorskip("nncf")
        return quantized_openvino(network, INPUTS, float_layers)
    return quantized_onnx(network, INPUTS, float_layers)


def as_openvino(network: bytes) -> object:
    return import_openvino().Core().read_model(network)


@pytest.mark.parametrize("form", ["onnx", "openvino"])
def test_graphs_compute_nearly_the_same_in_int8(form: str) -> None:
    network = loaded(random_model(small_architecture(5))).onnx_bytes()
    names = conv_names(network)
    graph = quantized(form, network, names[-1:])
    exact = list(layer_outputs(network if form == "onnx" else as_openvino(network), names, INPUTS[:2]))
    rough = list(layer_outputs(graph, names, INPUTS[:2]))
    for ours, theirs in zip(exact, rough, strict=True):
        errors = [np.sqrt(np.mean((a - b) ** 2) / np.var(a)) for a, b in zip(ours, theirs, strict=True)]
        assert 0.001 < max(errors) < 0.15
    if form == "onnx":
        nodes = onnx.load_model_from_string(graph).graph.node
        integer = {name for name in names if any(f"{name}.weights_DequantizeLinear" in "".join(n.input) for n in nodes)}
        kinds = {node.op_type for node in nodes}
        assert {"QuantizeLinear", "DequantizeLinear"} <= kinds
        assert integer <= set(names[:-1])


def detections(*boxes: tuple[int, int]) -> Detections:
    """Boxes of 10 x 8 pixels by (left, label)."""
    corners = np.array([[left, 0, left + 10, 8] for left, _ in boxes], np.float32).reshape(-1, 4)
    labels = np.array([label for _, label in boxes], np.int64)
    return Detections(corners, np.ones(len(boxes), np.float32), labels, ("",) * len(boxes), (99, 99))


def test_fraction_of_changed_answers() -> None:
    # box 0 stays (IoU 9/11), box 1 changes its label, box 2 moves (IoU 6/14 < .5); of 3 + 3 answers 2 + 2 change
    before, after = detections((0, 1), (30, 1), (60, 2)), detections((1, 1), (30, 2), (64, 2))
    assert fraction_changed([before], [after]) == pytest.approx(4 / 6)
    assert fraction_changed([before, detections()], [before, detections((0, 0))]) == pytest.approx(1 / 7)
    assert fraction_changed([detections()], [detections()]) == 0


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random images whose ground truth is what the float32 model detects, so that its mAP50 is 1."""
    folder = tmp_path_factory.mktemp("quantize")
    cfg = write_flat(folder)
    detector = Detector.load(cfg, engine="onnxruntime", conf_threshold=0.3)
    for split, count in (("train", 6), ("val", 4)):
        for part in ("images", "labels"):
            (folder / "set" / part / split).mkdir(parents=True)
        for index in range(count):
            coarse = RNG.integers(0, 256, (6, 9, 3), dtype=np.uint8)
            pixels = np.kron(coarse, np.ones((8, 8, 1), np.uint8))
            Image.fromarray(pixels).save(folder / "set" / "images" / split / f"{index}.png")
            [answers] = detector.detect([pixels])
            assert len(answers) > 3
            lines = [
                f"{label} {(x0 + x1) / 144} {(y0 + y1) / 96} {(x1 - x0) / 72} {(y1 - y0) / 48}"
                for (x0, y0, x1, y1), label in zip(answers.boxes_xyxy.tolist(), answers.labels, strict=True)
            ]
            (folder / "set" / "labels" / split / f"{index}.txt").write_text("\n".join(lines) + "\n")
    (folder / "set" / "classes.txt").write_text("\n".join(FLAT_NAMES) + "\n")
    return folder


def export(data: Path, *arguments: str) -> int:
    options = ("--calibrate", str(data / "set"), "--on-error", "fix")  # two boxes may be the same after clipping
    return run(["export", str(data / "flat.cfg"), *options, *arguments])


@pytest.mark.parametrize("form", ["onnx", "openvino"])
def test_export_in_int8_has_a_receipt(
    form: str, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if form == "openvino":
        pytest.importorskip("nncf")
    out = tmp_path / f"small.{'xml' if form == 'openvino' else 'onnx'}"
    assert export(data, "--to", form, "--precision", "int8", "--max-drop", "60", "--out", str(out)) == 0
    printed = capsys.readouterr().out
    assert "on 4 images of" in printed
    assert "note: only 6 calibration images" in printed
    model = load_model(out)
    receipt = model.trained["receipts"]["int8"]
    assert receipt["images"] == 4
    assert receipt["map50_before"] > 0.95
    assert 0.4 < receipt["map50"] <= 1
    assert 0 < receipt["changed"] < 0.6
    engine = start_engine("openvino" if form == "openvino" else "onnxruntime", model)
    assert engine.precision == "int8"


def test_too_large_a_drop_is_refused_and_the_costliest_layers_are_named(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing can gain 5 points on a model that is perfect on these images."""
    out = tmp_path / "small.onnx"
    assert export(data, "--precision", "int8", "--max-drop", "-5", "--out", str(out)) == 2
    captured = capsys.readouterr()
    assert "--max-drop: must be at least the points of mAP50 that int8 loses" in captured.err
    assert "the layers that cost most: layer" in captured.err
    assert captured.out.count("int8 against float32") >= 2  # the second with more layers in float32
    assert not out.exists()


def test_options_that_do_not_fit(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = ["--out", str(tmp_path / "x")]
    assert run(["export", str(data / "flat.cfg"), "--precision", "int8", *out]) == 2
    assert "--calibrate: int8 needs a data set" in capsys.readouterr().err
    assert export(data, "--to", "darknet", "--precision", "int8", *out) == 2
    assert "--precision: int8 is for ONNX and OpenVINO files, not for darknet" in capsys.readouterr().err


def test_unfit_images_are_noticed(tmp_path: Path) -> None:
    """Gray, few, and nothing in them: the model's threshold is above all it can say."""
    for name in ("blue", "red"):
        (tmp_path / name).mkdir()
        for index in range(4):
            Image.fromarray(RNG.integers(0, 256, (20, 30), dtype=np.uint8)).save(tmp_path / name / f"{index}.png")
    data = open_data(str(tmp_path))
    reds = [sample for sample in data.samples() if sample.image_labels == (1,)]
    images = CalibrationSet(reds, data, data.classes)
    detector = Detector.load(loaded(random_model(small_architecture(5))), engine="onnxruntime", conf_threshold=0.99)
    assert unfit(detector, images) == (
        "only 4 calibration images: the ranges of activations may be too small",
        "4 of 4 calibration images are gray",
        "all objects in the calibration images are of one class of the model's 5",
        "the model detects something in 0 of 4 calibration images only: are they of the kind it was trained on?",
    )


def test_data_without_splits_are_divided(tmp_path: Path) -> None:
    for name in ("blue", "red"):
        (tmp_path / name).mkdir()
        for index in range(5):
            Image.fromarray(RNG.integers(0, 256, (20, 30, 3), dtype=np.uint8)).save(tmp_path / name / f"{index}.png")
    images = calibration_set(str(tmp_path))
    held_out = [sample.name for sample in images.held_out.samples()]
    assert (len(images.samples), len(held_out)) == (7, 3)  # 0.3 of 10
    assert not set(held_out) & {sample.name for sample in images.samples}


RECEIPT = Receipt("some", 9, 0.5, 0.495, 0.1, 0.11, 0.02)


def test_receipt_for_bfloat16_lets_auto_take_it() -> None:
    model = loaded(random_model(small_architecture(5)))
    assert not allows_bfloat16(model)
    assert start_engine("torch", model).precision == "float32"
    allowed = with_receipt(model, "bfloat16", RECEIPT)
    assert allows_bfloat16(allowed)
    assert start_engine("onnxruntime", allowed).precision == "float32"  # it has none
    for name in ("openvino", "torch"):
        try:
            start_engine(name, model, precision="bfloat16")
        except EngineError:  # nor has this CPU
            assert start_engine(name, allowed).precision == "float32"
        else:
            assert start_engine(name, allowed).precision == "bfloat16"
    weights = allowed.changed(weights=allowed.weights, trained={"epochs": 1})
    assert weights.trained == {"epochs": 1}  # a receipt is about the weights that it was measured with


def test_receipt_says_what_is_lost() -> None:
    assert RECEIPT.drop == pytest.approx(0.5)
    text = "\n".join(RECEIPT.lines("int8"))
    assert "mAP50 0.4950 (float32 0.5000, -0.50 points)" in text
    assert "2.0% of the answers change" in text
    assert json.dumps(vars(RECEIPT))


def test_quantized_tree_model_keeps_its_class_rows(tmp_path: Path) -> None:
    from dataclasses import replace

    from yolo9000.checkpoints.export import export_onnx
    from yolo9000.checkpoints.model import LoadedModel

    model = LoadedModel.from_weights(random_model(small_architecture(7, tree="small.tree")), TREE.names, TREE)
    model = model.with_lazy_classes(True)
    graph = quantized_onnx(model.onnx_bytes(), INPUTS, conv_names(model.onnx_bytes())[-1:])
    made = replace(model, weights=None, graph=graph, graph_class_rows=model.class_rows, graph_cfg=None)
    [path] = export_onnx(with_receipt(made, "int8", RECEIPT), tmp_path / "tree.onnx")
    read = load_model(path)
    assert read.class_rows is not None and model.class_rows is not None  # noqa: PT018
    np.testing.assert_array_equal(read.class_rows.weights, model.class_rows.weights)
    assert read.trained["receipts"]["int8"]["map50"] == 0.495
