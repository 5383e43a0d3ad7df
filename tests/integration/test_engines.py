"""The engines give the same numbers; exported files come back as they were; errors are one line."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import yolo9000
from yolo9000.architectures.layers import (
    Architecture,
    Conv,
    Dropout,
    Layer,
    MaxPool,
    Region,
    Reorg,
    Route,
    Shortcut,
    Upsample,
)
from yolo9000.architectures.weights import BatchNorm, ConvParameters, Model, fold_batch_norm
from yolo9000.checkpoints.darknet.cfg import write_cfg
from yolo9000.checkpoints.darknet.weights import write_weights
from yolo9000.checkpoints.metadata import seal
from yolo9000.checkpoints.model import LoadedModel, NetworkLayers
from yolo9000.checkpoints.onnx import onnx_file, read_onnx
from yolo9000.checkpoints.openvino import openvino_files, read_openvino
from yolo9000.errors import EngineError, WeightsError, YoloError
from yolo9000.inference import engines
from yolo9000.inference.decode import decode
from yolo9000.inference.detector import head_output
from yolo9000.inference.engines import Engine, choose_engine, start_engine
from yolo9000.inference.settings import DetectionSettings
from yolo9000.taxonomy.wordtree import WordTree

OTHERS = ("onnxruntime", "openvino")
SIZES_WH = ((32, 24), (48, 16), (16, 40), (56, 32))
BATCHES = (1, 2, 3)


# Networks of a few rows, stride 8


def conv(filters: int, size: int = 3, **rest: Any) -> Conv:
    return Conv(filters, size, padding=size // 2, **rest)


def detector_architecture(*rows: Layer, anchors: int, classes: int, tree: str | None = None) -> Architecture:
    """Rows, then the last convolution and the head."""
    region = Region(tuple((1.0 + i, 2.5 - i / 2) for i in range(anchors)), classes, softmax=True, tree=tree)
    return Architecture((*rows, Conv(region.filters, 1, 1, 0, False, "linear"), region), width=48, height=32)


TRUNK = (conv(8), MaxPool(), conv(12), MaxPool(), conv(16), conv(12, 1), conv(16), MaxPool(), conv(24))
TABLES = {
    # the cfg files' passthrough: squeezed by a 1x1 convolution, in Darknet's order
    "squeezed": detector_architecture(
        *TRUNK, Route((-3,)), conv(8, 1), Reorg(2, "darknet"), Route((-1, -4)), conv(32), anchors=2, classes=5
    ),
    # the paper's: all channels, each block of neighbours stacked
    "stacked": detector_architecture(
        *TRUNK, Route((-3,)), Reorg(2, "space_to_depth"), Route((-1, -3)), conv(32), anchors=3, classes=4
    ),
    # Darknet's order with all channels, and the stride-1 pooling of the tiny networks
    "tiny": detector_architecture(
        *(*TRUNK[:-1], conv(16), MaxPool(2, 1), conv(24)),
        *(Route((6,)), Reorg(2, "darknet"), Route((-1, -4)), conv(32)),
        anchors=2,
        classes=3,
    ),
    "tree": detector_architecture(*TRUNK, anchors=3, classes=14, tree="pets.tree"),
    "activations": detector_architecture(
        *(conv(8, activation="relu"), MaxPool(3, 2, 2), conv(8, activation="logistic"), MaxPool(2, 2)),
        *(conv(12, activation="linear"), Dropout(), conv(12, 1, activation="leaky", batch_normalize=False)),
        *(Conv(16, 3, 2, 1, True, "relu"), conv(20, 5)),
        anchors=2,
        classes=6,
    ),
    # The layers of lighter backbones: scale of the input, an inverted residual, residual addition over an upsampled map
    "light": detector_architecture(
        *(Conv(3, 1, 1, 0, False, "linear", groups=3), Conv(8, 3, 2, 0, True, "relu6", end_padding=1)),
        *(conv(24, 1, activation="relu6"), Conv(24, 5, 1, 2, True, "relu6", groups=24)),
        *(conv(8, 1, activation="linear"), Shortcut(-4)),
        *(Conv(16, 5, 2, 1, True, "swish", groups=2, end_padding=1), Conv(16, 3, 2, 1, True, "relu6", groups=16)),
        *(Upsample(2), Shortcut(6, "swish"), MaxPool()),
        anchors=2,
        classes=6,
    ),
}
TREE = WordTree.from_parents(
    [-1, -1, 0, 0, 0, 1, 1, 2, 2, 2, 5, 7, 7, 11],
    names=["animal", "thing", "dog", "cat", "cat", *(f"name {i}" for i in range(5, 14))],
    ids=[f"n{i:08}" for i in range(14)],
)


@cache
def random_model(name: str) -> Model:
    architecture = TABLES[name]
    rng = np.random.default_rng(len(name))
    parameters: list[ConvParameters | None] = []
    for row, channels in zip(architecture.layers, architecture.input_channels(), strict=True):
        if not isinstance(row, Conv):
            parameters.append(None)
            continue
        n = row.filters
        norm = [rng.uniform(0.5, 1.5, n), rng.normal(0, 0.2, n), rng.uniform(0.3, 2, n)]
        shape = row.kernel_shape(channels)
        weights = rng.normal(0, np.sqrt(2 / np.prod(shape[1:])), shape)
        parameters.append(
            ConvParameters(
                weights.astype(np.float32),
                rng.normal(0, 0.3, n).astype(np.float32),
                BatchNorm(*(values.astype(np.float32) for values in norm)) if row.batch_normalize else None,
            )
        )
    return Model(architecture, tuple(parameters))


def loaded(name: str, *, lazy: bool | None = None) -> LoadedModel:
    weights = random_model(name)
    head = weights.architecture.head
    assert isinstance(head, Region)
    if head.tree:
        model = LoadedModel.from_weights(weights, TREE.names, TREE)
    else:
        names = tuple(f"class {i}" for i in range(head.classes))
        model = LoadedModel.from_weights(weights, names, resize_mode="stretch")
    return model.with_lazy_classes(lazy)


def start(name: str, model: LoadedModel, **options: Any) -> Engine:
    pytest.importorskip(name)
    return start_engine(name, model, **({"threads": 2} | options))


def random_images(size_wh: tuple[int, int], batch: int) -> np.ndarray:
    rng = np.random.default_rng(size_wh[0] * 100 + batch)
    return rng.random((batch, 3, size_wh[1], size_wh[0]), np.float32)


# The same numbers


PROGRAMS = [
    ("squeezed", None),
    ("stacked", None),
    ("tiny", None),
    ("tree", True),
    ("tree", False),
    ("activations", None),
    ("light", None),
]


@pytest.mark.parametrize("other", OTHERS)
@pytest.mark.parametrize(("name", "lazy"), PROGRAMS)
def test_engines_agree(name: str, lazy: bool | None, other: str) -> None:
    model = loaded(name, lazy=lazy)
    ours, theirs = start("torch", model), start(other, model)
    assert (ours.name, theirs.name) == ("torch", other)
    architecture = model.layers.model.architecture
    for size_wh in SIZES_WH:
        shapes = architecture.shapes(*size_wh)
        expected = [shapes[row % len(architecture.body)] for _, row in model.layers.outputs]
        for batch in BATCHES:
            images = random_images(size_wh, batch)
            a, b = ours.run(images), theirs.run(images)
            assert [out.shape for out in a] == [(batch, *shape) for shape in expected]
            assert [out.shape for out in b] == [(batch, *shape) for shape in expected]
            for x, y in zip(a, b, strict=True):
                assert x.dtype == y.dtype == np.float32
                assert np.abs(x).max() > 0.1
                np.testing.assert_allclose(y, x, rtol=0, atol=1e-4)


@pytest.mark.parametrize("engine", ["torch", *OTHERS])
def test_split_head_gives_the_raw_predictions_of_the_whole_head(engine: str) -> None:
    split, whole = loaded("tree"), loaded("tree", lazy=False)
    assert split.class_rows is not None  # wider than its input: kept apart by default
    assert whole.class_rows is None
    images = random_images((48, 32), 2)
    lazy = head_output(split, start(engine, split).run(images), (48, 32))
    dense = head_output(whole, start(engine, whole).run(images), (48, 32))
    np.testing.assert_allclose(lazy.boxes, dense.boxes, atol=1e-5)
    anchors = np.arange(3 * 6 * 4)
    for image in range(2):
        np.testing.assert_allclose(
            lazy.class_logits.rows(image, anchors, 0, 14), dense.class_logits.rows(image, anchors, 0, 14), atol=1e-5
        )


def test_batch_norm_is_folded_without_a_trace() -> None:
    torch = pytest.importorskip("torch")
    from yolo9000.architectures.torch import Network

    model = random_model("squeezed")
    network = Network(model.architecture).eval()
    network.load(model)
    images = random_images((48, 32), 2)
    with torch.inference_mode():
        (expected,) = network(torch.from_numpy(images))
    (out,) = start("torch", loaded("squeezed", lazy=False)).run(images)
    np.testing.assert_allclose(out, expected.numpy(), rtol=0, atol=1e-4)


@pytest.mark.parametrize("engine", ["torch", *OTHERS])
def test_results_are_their_own(engine: str) -> None:
    """A later run does not write into what an earlier one gave, nor any into the images."""
    running = start(engine, loaded("squeezed"))
    images = random_images((48, 32), 1)
    before = images.copy()
    (first,) = running.run(images)
    kept = first.copy()
    running.run(1 - images)
    np.testing.assert_array_equal(first, kept)
    np.testing.assert_array_equal(images, before)
    np.testing.assert_array_equal(running.run(images)[0], kept)


def has_bfloat16(engine: str) -> bool:
    library = pytest.importorskip(engine)
    if engine == "openvino":
        return "BF16" in library.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return bool(library.ops.mkldnn._is_mkldnn_bf16_supported())


@pytest.mark.parametrize("engine", ["torch", "openvino"])
@pytest.mark.parametrize("name", ["squeezed", "tree"])
def test_bfloat16_is_near(engine: str, name: str) -> None:
    program = loaded(name)
    if not has_bfloat16(engine):
        with pytest.raises(EngineError, match=r"^precision: the device cpu cannot"):
            start(engine, program, precision="bfloat16")
        return
    half = start(engine, program, precision="bfloat16")
    images = random_images((48, 32), 2)
    for rough, exact in zip(half.run(images), start(engine, program).run(images), strict=True):
        assert rough.dtype == np.float32
        off = np.sqrt(np.mean((rough - exact) ** 2) / np.mean(exact**2))
        assert 0 < off < 0.1


# What every engine must do


def assert_is_engine(name: str) -> None:
    """The contract of an engine: one line in `ENGINES`, a module with its name and class, and the protocol."""
    entry = engines.ENGINES[name]
    module = importlib.import_module(entry.module)
    assert name == module.NAME
    assert entry.install.startswith("pip install ")
    model = loaded("tree")
    engine = module.ENGINE(model, "cpu", "float32", 1)
    assert isinstance(engine, Engine)
    assert engine.name == name
    channels = [15, 24]  # 3 anchors x 5, and the 24 features of the last convolution
    for size_wh in SIZES_WH[:2]:
        outputs = engine.run(random_images(size_wh, 2))
        assert [output.shape for output in outputs] == [(2, c, size_wh[1] // 8, size_wh[0] // 8) for c in channels]
        assert all(type(output) is np.ndarray and output.dtype == np.float32 for output in outputs)
    with pytest.raises(EngineError, match=r"^device: must be "):
        start_engine(name, model, device="nowhere")


@pytest.mark.parametrize("name", list(engines.ENGINES))
def test_every_engine_keeps_the_contract(name: str) -> None:
    pytest.importorskip(engines.ENGINES[name].library)
    assert_is_engine(name)


def test_torch_keeps_the_users_number_of_threads() -> None:
    torch = pytest.importorskip("torch")
    before = torch.get_num_threads()
    engine = start("torch", loaded("squeezed"), threads=before + 1)
    engine.run(random_images((48, 32), 1))
    assert torch.get_num_threads() == before


# Exported files


def export(model: LoadedModel, path: Path, **options: Any) -> Path:
    path.write_bytes(onnx_file(model, **options))
    return path


def metadata_of(proto: onnx.ModelProto) -> dict[str, Any]:
    return json.loads(proto.metadata_props[0].value)


def exported_proto(model: LoadedModel, **options: Any) -> onnx.ModelProto:
    """An exported file without its digest, to be changed and then written by `save_sealed`."""
    proto = onnx.load_model_from_string(onnx_file(model, **options))
    proto.metadata_props[0].value = json.dumps(metadata_of(proto) | {"sha256": "0" * 64})
    return proto


def save_sealed(proto: onnx.ModelProto, path: Path) -> Path:
    """Write a changed file with a digest that is right."""
    data = proto.SerializeToString()
    path.write_bytes(seal(data) if b"sha256" in data and b"0" * 64 in data else data)
    return path


def assert_same_model(ours: LoadedModel, theirs: LoadedModel) -> None:
    a, b = ours.detector_head, theirs.detector_head
    np.testing.assert_array_equal(a.anchors_wh_cells, b.anchors_wh_cells)
    assert (a.names, a.classes, a.resize_mode) == (b.names, b.classes, b.resize_mode)
    assert (a.tree is None) == (b.tree is None)
    if a.tree is not None and b.tree is not None:
        np.testing.assert_array_equal(a.tree.parents, b.tree.parents)
        assert (a.tree.names, a.tree.ids) == (b.tree.names, b.tree.ids)
    assert (ours.network_wh, ours.stride) == (theirs.network_wh, theirs.stride)
    assert (ours.class_rows is None) == (theirs.class_rows is None)
    if ours.class_rows is not None and theirs.class_rows is not None:
        np.testing.assert_array_equal(ours.class_rows.weights, theirs.class_rows.weights)
        np.testing.assert_array_equal(ours.class_rows.biases, theirs.class_rows.biases)


@pytest.mark.parametrize("engine", OTHERS)
@pytest.mark.parametrize(("name", "lazy"), PROGRAMS)
def test_exported_file_is_the_detector(name: str, lazy: bool | None, engine: str, tmp_path: Path) -> None:
    detector = loaded(name, lazy=lazy)
    path = export(detector, tmp_path / "detector.onnx")
    onnx.checker.check_model(str(path), full_check=True)
    read = read_onnx(path)
    assert_same_model(read, detector)
    ours, theirs = start(engine, read), start(engine, detector)
    settings = DetectionSettings(conf_threshold=0.1)
    for size_wh in SIZES_WH[:2]:
        images = random_images(size_wh, 2)
        a, b = ours.run(images), theirs.run(images)
        assert len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            np.testing.assert_allclose(x, y, rtol=0, atol=1e-6)
        detections = [
            decode(head_output(one, arrays, size_wh), 1, one.detector_head, (300, 200), settings)
            for one, arrays in ((read, a), (detector, b))
        ]
        assert len(detections[0]) > 0
        np.testing.assert_array_equal(detections[0].labels, detections[1].labels)
        np.testing.assert_allclose(detections[0].boxes_xyxy, detections[1].boxes_xyxy, atol=1e-3)


def test_exported_classes_are_outputs_for_other_programs(tmp_path: Path) -> None:
    """A program that knows nothing of class rows finds them beside the other outputs."""
    import onnxruntime

    detector = loaded("tree")
    assert detector.class_rows is not None
    path = export(detector, tmp_path / "detector.onnx")
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    assert names == ["boxes", "features", "class_weights", "class_biases"]
    boxes, features, weights, biases = session.run(None, {"images": random_images((48, 32), 1)})
    assert boxes.shape == (1, 15, 4, 6)
    np.testing.assert_array_equal(weights, detector.class_rows.weights)
    np.testing.assert_array_equal(biases, detector.class_rows.biases)
    assert features.shape == (1, 24, 4, 6)
    meta = json.loads(session.get_modelmeta().custom_metadata_map["yolo9000"])
    assert meta["names"] == list(TREE.names)


def test_exported_onnx_file_is_exported_again(tmp_path: Path) -> None:
    """To the same bytes, and to OpenVINO; from OpenVINO there is no way back to ONNX."""
    path = export(loaded("tree"), tmp_path / "detector.onnx")
    again = read_onnx(path)
    assert_same_model(read_onnx(export(again, tmp_path / "again.onnx")), again)
    images = random_images((48, 32), 1)
    for ours, theirs in zip(
        start("onnxruntime", read_onnx(tmp_path / "again.onnx")).run(images),
        start("onnxruntime", again).run(images),
        strict=True,
    ):
        np.testing.assert_array_equal(ours, theirs)
    pytest.importorskip("openvino")
    for suffix, data in zip((".xml", ".bin"), openvino_files(again), strict=True):
        (tmp_path / f"other{suffix}").write_bytes(data)
    other = read_openvino(tmp_path / "other.xml")
    assert_same_model(other, again)
    with pytest.raises(EngineError) as caught:
        onnx_file(other)
    assert one_line(caught.value).startswith("an OpenVINO file cannot be written as ONNX")


# Which head can be split


def test_head_that_cannot_be_split_is_run_whole() -> None:
    """Wide, but with an activation: all logits are computed, as Darknet does."""
    architecture = TABLES["tree"]
    last = len(architecture.body) - 1
    for row in (
        replace(architecture.layers[last], activation="leaky"),
        replace(architecture.layers[last], size=3, padding=1),
    ):
        rows = (*architecture.layers[:last], row, *architecture.layers[last + 1 :])
        last_parameters = random_model("tree").parameters[last]
        assert last_parameters is not None
        weights = np.zeros((row.filters, 24, row.size, row.size), np.float32)
        weights[:, :, :1, :1] = last_parameters.weights
        parameters = list(random_model("tree").parameters)
        parameters[last] = ConvParameters(weights, last_parameters.biases)
        model = LoadedModel.from_weights(Model(replace(architecture, layers=rows), tuple(parameters)), TREE.names, TREE)
        assert model.class_rows is None
        (out,) = start("onnxruntime", model).run(random_images((48, 32), 1))
        assert out.shape == (1, 57, 4, 6)


def test_model_with_a_gap_is_refused() -> None:
    model = random_model("squeezed")
    gap = replace(model, parameters=(*model.parameters[:4], None, *model.parameters[5:]))
    with pytest.raises(WeightsError) as caught:
        _ = LoadedModel.from_weights(gap, tuple("abcde")).layers
    assert one_line(caught.value) == "layer 4 (convolutional 3x3, 16 filters): has no weights"


def test_graph_of_an_unfolded_model_is_refused() -> None:
    with pytest.raises(WeightsError) as caught:
        NetworkLayers(random_model("squeezed"), (("head", -1),)).to_onnx()
    assert "with batch norm folded" in one_line(caught.value)
    folded = fold_batch_norm(random_model("squeezed"))
    assert len(NetworkLayers(folded, (("head", -1),)).to_onnx().graph.output) == 1


# Errors


def one_line(error: BaseException) -> str:
    text = str(error)
    assert isinstance(error, YoloError)
    assert text
    assert "\n" not in text
    assert len(text) < 1000
    return text


@pytest.mark.parametrize(
    ("engine", "device"),
    [
        *(("torch", device) for device in ("", "tpu", "meta", "mps", "cuda:99", "cuda:x", "cuda:-1", "gpu:x")),
        *(("onnxruntime", device) for device in ("", "tpu", "cpu:0", "cuda:x", "cuda:-1", "CPU")),
        *(("openvino", device) for device in ("", "tpu", "cuda", "cuda:0", "cpu:foo", "cpu.foo", "gpu:99", "npu:9")),
    ],
)
def test_wrong_devices(engine: str, device: str) -> None:
    with pytest.raises(EngineError) as caught:
        start(engine, loaded("squeezed"), device=device)
    text = one_line(caught.value)
    assert caught.value.argument == "device"
    assert text.startswith(f"device: {device!r} is not available") or text.endswith(f"got {device!r}")


def test_cuda_that_is_not_there() -> None:
    import onnxruntime

    program = loaded("squeezed")
    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        with pytest.raises(EngineError) as caught:
            start("onnxruntime", program, device="cuda")
        assert one_line(caught.value).startswith("device: 'cuda' is not available: this ONNX Runtime has no CUDA")
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        with pytest.raises(EngineError) as caught:
            start("torch", program, device="cuda:0")
        assert one_line(caught.value) == "device: 'cuda:0' is not available: torch finds no CUDA device"


def test_bfloat16_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    program = loaded("squeezed")
    with pytest.raises(EngineError) as caught:
        start("onnxruntime", program, precision="bfloat16")
    assert "onnxruntime computes in float32" in one_line(caught.value)
    pytest.importorskip("torch")
    from yolo9000.inference.engines import torch as engine

    monkeypatch.setattr(engine, "has_bfloat16", lambda device: False)
    with pytest.raises(EngineError) as caught:
        start("torch", program, precision="bfloat16")
    assert one_line(caught.value) == "precision: the device cpu cannot compute in bfloat16"


def test_engines_refuse_programs_that_are_not_theirs(tmp_path: Path) -> None:
    read = read_onnx(export(loaded("squeezed"), tmp_path / "detector.onnx"))
    with pytest.raises(EngineError) as caught:
        start("torch", read)
    assert "the engine openvino can, of .onnx also onnxruntime" in one_line(caught.value)
    pytest.importorskip("openvino")
    of_openvino = read_openvino(exported_openvino(tmp_path / "detector.xml"))
    for engine, message in (
        ("torch", "the engine torch cannot run an exported file"),
        ("onnxruntime", "an OpenVINO file (.xml) can be run by the engine openvino only"),
    ):
        with pytest.raises(EngineError) as caught:
            start(engine, of_openvino)
        assert one_line(caught.value).startswith(message)


@pytest.mark.parametrize("threads", [0, -1])
def test_wrong_threads(threads: int) -> None:
    for engine in ("torch", *OTHERS):
        with pytest.raises(EngineError) as caught:
            start(engine, loaded("squeezed"), threads=threads)
        assert one_line(caught.value) == f"threads: must be at least 1, got {threads}"


@pytest.mark.parametrize(
    ("engine", "how"),
    [
        ("openvino", "pip install yolo9000[openvino]"),
        ("onnxruntime", "pip install onnxruntime"),
        ("torch", "pip install yolo9000[train]"),
    ],
)
def test_engine_that_is_not_installed(engine: Any, how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "find_spec", lambda name: None)
    with pytest.raises(EngineError) as caught:
        choose_engine(engine)
    assert one_line(caught.value) == f"the engine {engine} is not installed: {how}"


def test_auto_takes_the_first_that_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    for installed, chosen in (
        ({"torch", "onnxruntime", "openvino"}, "openvino"),
        ({"torch", "onnxruntime"}, "onnxruntime"),
        ({"torch"}, "torch"),
    ):
        monkeypatch.setattr(
            engines, "find_spec", lambda name, available=installed: object() if name in available else None
        )
        assert choose_engine("auto") == chosen
    monkeypatch.setattr(engines, "find_spec", lambda name: None)
    with pytest.raises(EngineError) as caught:
        choose_engine("auto")
    assert "pip install onnxruntime" in one_line(caught.value)


def test_openvino_files_need_openvino(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(EngineError) as caught:
        read_openvino("detector.xml")
    assert one_line(caught.value) == "detector.xml: needs OpenVINO: pip install yolo9000[openvino]"


# Files that are something else, or damaged


def refused_onnx(path: Path) -> str:
    with pytest.raises(WeightsError) as caught:
        read_onnx(path)
    text = one_line(caught.value)
    assert text.startswith(f"{path}: ")
    return text.removeprefix(f"{path}: ")


def test_files_that_are_no_exported_onnx(tmp_path: Path) -> None:
    whole = export(loaded("tree"), tmp_path / "whole.onnx").read_bytes()
    path = tmp_path / "detector.onnx"
    assert refused_onnx(path) == "cannot be read: No such file or directory"
    path.write_bytes(whole[: len(whole) // 2])
    assert refused_onnx(path) == "not an ONNX file, or damaged"
    path.write_text("[net]\nwidth=416\n")
    assert refused_onnx(path) == "not an ONNX file, or damaged"
    path.write_bytes(b"")
    assert "not an ONNX file that yolo9000 exported" in refused_onnx(path)
    path.write_bytes(loaded("tree").onnx_bytes())
    assert "not an ONNX file that yolo9000 exported" in refused_onnx(path)
    path.unlink()
    path.mkdir()
    assert refused_onnx(path) == "cannot be read: Is a directory"


def test_any_byte_may_be_damaged(tmp_path: Path) -> None:
    """A damaged file is refused in one line, whichever byte it is."""
    whole = export(loaded("tree"), tmp_path / "whole.onnx").read_bytes()
    rng = np.random.default_rng(1)
    path = tmp_path / "detector.onnx"
    for _ in range(300):
        damaged = bytearray(whole)
        # the first kilobytes hold the graph, the last the outputs, class rows and metadata
        first = int(rng.choice([0, len(whole) - 6000]))
        for position in first + rng.integers(0, 6000, 3):
            damaged[position] = rng.integers(0, 256)
        path.write_bytes(damaged)
        assert damaged != whole
        refused_onnx(path)


def changed(**values: Any) -> Callable[[dict[str, Any]], str]:
    return lambda meta: json.dumps(meta | values)


def without(key: str) -> Callable[[dict[str, Any]], str]:
    return lambda meta: json.dumps({name: value for name, value in meta.items() if name != key})


def network_with(**values: Any) -> Callable[[dict[str, Any]], str]:
    return lambda meta: json.dumps(meta | {"network": meta["network"] | values})


def network_without(key: str) -> Callable[[dict[str, Any]], str]:
    return lambda meta: json.dumps(
        meta | {"network": {name: value for name, value in meta["network"].items() if name != key}}
    )


def tree_with(**values: Any) -> Callable[[dict[str, Any]], str]:
    return lambda meta: json.dumps(meta | {"tree": meta["tree"] | values})


DAMAGES: dict[str, tuple[Callable[[dict[str, Any]], str], str]] = {
    "empty": (lambda meta: "", "invalid metadata"),
    "not json": (lambda meta: json.dumps(meta)[:-2], "invalid metadata"),
    "no object": (lambda meta: "[1, 2]", "invalid metadata"),
    "nothing in it": (lambda meta: "{}", "invalid metadata"),
    "another version": (changed(version=3), "version"),
    "an unknown key": (changed(surprise=1), "surprise"),
    "no names": (without("names"), "names"),
    "no anchors": (network_without("anchors_wh_cells"), "anchors"),
    "no stride": (network_without("stride"), "stride"),
    "empty names": (changed(names=[]), "names"),
    "names that are numbers": (changed(names=[1] * 14), "names"),
    "a name too few": (changed(names=["x"] * 13), "invalid label tree"),
    "empty anchors": (network_with(anchors_wh_cells=[]), "anchors"),
    "anchors of three": (network_with(anchors_wh_cells=[[1, 2, 3]] * 3), "anchors"),
    "an anchor of no width": (network_with(anchors_wh_cells=[[0, 2], [1, 1], [1, 1]]), "anchors"),
    "an anchor that is no number": (network_with(anchors_wh_cells=[[float("nan"), 2], [1, 1], [1, 1]]), "anchors"),
    "an infinite anchor": (network_with(anchors_wh_cells=[[1, float("inf")], [1, 1], [1, 1]]), "anchors"),
    "an anchor too few": (network_with(anchors_wh_cells=[[1, 2]] * 2), "class_weights must have shape (2, 14, C)"),
    "stride 0": (network_with(stride=0), "stride"),
    "a size of no width": (network_with(network_wh=[0, 32]), "network_wh"),
    "a negative size": (network_with(network_wh=[48, -32]), "network_wh"),
    "a size of one number": (network_with(network_wh=[48]), "network_wh"),
    "another kind of classes": (network_with(classes="hinge"), "classes"),
    "a tree that is not used": (network_with(classes="softmax"), "there must be a tree exactly where"),
    "a tree that is not there": (changed(tree=None), "there must be a tree exactly where"),
    "another fit": (changed(resize_mode="crop"), "resize_mode"),
    "a tree without ids": (changed(tree={"parents": [-1] * 14}), "ids"),
    "a parent after its child": (tree_with(parents=[3, *TREE.parents.tolist()[1:]]), "invalid label tree: node 0"),
    "a parent out of all bounds": (tree_with(parents=[10**30, *TREE.parents.tolist()[1:]]), "invalid label tree"),
    "a parent too few": (tree_with(parents=[-1] * 13), "invalid label tree"),
    "an id twice": (tree_with(ids=["n0"] * 14), "ids must be unique"),
}


@pytest.mark.parametrize("kind", DAMAGES)
def test_damaged_metadata(kind: str, tmp_path: Path) -> None:
    damage, expected = DAMAGES[kind]
    proto = exported_proto(loaded("tree"))
    proto.metadata_props[0].value = damage(metadata_of(proto))
    save_sealed(proto, tmp_path / "detector.onnx")
    assert expected in refused_onnx(tmp_path / "detector.onnx")


def test_errors_do_not_quote_nine_thousand_names(tmp_path: Path) -> None:
    proto = exported_proto(loaded("tree"))
    meta = metadata_of(proto) | {"names": [f"name {i}" for i in range(9418)]}
    del meta["network"]["stride"]
    for text in (json.dumps(meta), json.dumps(meta)[:-1]):
        proto.metadata_props[0].value = text
        save_sealed(proto, tmp_path / "detector.onnx")
        assert refused_onnx(tmp_path / "detector.onnx").startswith("invalid metadata: ")


def test_metadata_that_are_not_text(tmp_path: Path) -> None:
    path = export(loaded("tree"), tmp_path / "detector.onnx")
    data = path.read_bytes()
    assert data.count(b'"letterbox"') == 1
    path.write_bytes(data.replace(b'"letterbox"', b'"letter\xff\xfex"'))
    assert "invalid metadata" in refused_onnx(path)


def damaged_constant(proto: onnx.ModelProto, damage: str) -> None:
    (weights,) = (tensor for tensor in proto.graph.initializer if tensor.name == "class_weights.values")
    match damage:
        case "missing":
            proto.graph.initializer.remove(weights)
        case "flat":
            weights.CopyFrom(numpy_helper.from_array(np.zeros(7, np.float32), weights.name))
        case "short":
            weights.raw_data = weights.raw_data[:-4]
        case "unknown type":
            weights.data_type = 99
        case "text":
            weights.CopyFrom(helper.make_tensor(weights.name, TensorProto.STRING, [1, 1, 1], [b"dog"]))
        case "elsewhere":
            weights.data_location = TensorProto.EXTERNAL
            weights.external_data.add(key="location", value="values.bin")


@pytest.mark.parametrize("damage", ["missing", "flat", "short", "unknown type", "text", "elsewhere"])
def test_damaged_class_rows(damage: str, tmp_path: Path) -> None:
    proto = exported_proto(loaded("tree"))
    damaged_constant(proto, damage)
    save_sealed(proto, tmp_path / "detector.onnx")
    assert "class_weights" in refused_onnx(tmp_path / "detector.onnx")


def test_graph_that_an_engine_cannot_load(tmp_path: Path) -> None:
    proto = exported_proto(loaded("squeezed"))
    proto.graph.node[0].op_type = "Convolve"
    save_sealed(proto, tmp_path / "detector.onnx")
    read = read_onnx(tmp_path / "detector.onnx")
    for engine, name in (("onnxruntime", "ONNX Runtime"), ("openvino", "OpenVINO")):
        with pytest.raises(EngineError) as caught:
            start(engine, read).run(random_images((48, 32), 1))
        assert one_line(caught.value).startswith(f"{name} cannot load the network: ")


def test_outputs_that_are_not_the_specs() -> None:
    split, whole = loaded("tree"), loaded("tree", lazy=False)
    boxes, features = start("onnxruntime", split).run(random_images((48, 32), 1))
    (head,) = start("onnxruntime", whole).run(random_images((48, 32), 1))
    for detector, arrays in (
        (whole, (boxes,)),
        (whole, (head, features)),
        (split, (head, features)),
        (split, (boxes,)),
        (split, (boxes, features[:, :-1])),
        (split, (boxes, features, features)),
    ):
        with pytest.raises(EngineError) as caught:
            head_output(detector, arrays, (48, 32))
        assert one_line(caught.value).startswith("the network must return ")


DAMAGED = "damaged: its contents do not match the SHA-256 stored in it"


def refused_openvino(path: Path) -> str:
    with pytest.raises(WeightsError) as caught:
        read_openvino(path)
    text = one_line(caught.value)
    assert text.startswith(f"{path}: ")
    return text.removeprefix(f"{path}: ")


def test_files_that_are_no_exported_openvino(tmp_path: Path) -> None:
    ov = pytest.importorskip("openvino")
    path = tmp_path / "detector.xml"
    assert refused_openvino(path) == "cannot be read: No such file or directory"
    path.with_suffix(".bin").write_bytes(b"short")
    path.write_text("<net")
    assert "OpenVINO cannot read it" in refused_openvino(path)
    ov.save_model(ov.Core().read_model(loaded("tree").onnx_bytes()), path, compress_to_fp16=False)
    assert "not an OpenVINO file that yolo9000 exported" in refused_openvino(path)
    path.with_suffix(".bin").write_bytes(b"short")
    assert "OpenVINO cannot read it" in refused_openvino(path)


def exported_openvino(path: Path, **options: Any) -> Path:
    """The detector with a tree in OpenVINO's format."""
    pytest.importorskip("openvino")
    xml, weights = openvino_files(loaded("tree"), **options)
    path.write_bytes(xml)
    path.with_suffix(".bin").write_bytes(weights)
    return path


def test_openvino_files_come_back(tmp_path: Path) -> None:
    path = exported_openvino(tmp_path / "a.xml")
    read = read_openvino(path)
    assert_same_model(read, loaded("tree"))
    images = random_images((48, 32), 2)
    for ours, theirs in zip(
        start("openvino", read).run(images), start("openvino", loaded("tree")).run(images), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_damaged_openvino_files(tmp_path: Path) -> None:
    path = exported_openvino(tmp_path / "a.xml")
    xml, weights = path.read_bytes(), path.with_suffix(".bin").read_bytes()
    assert b"&quot;stride&quot;:8" in xml
    path.write_bytes(xml.replace(b"&quot;stride&quot;:8", b"&quot;stride&quot;:0"))
    assert "stride" in refused_openvino(path)
    path.write_bytes(xml.replace(b"&quot;stride&quot;:8", b"&quot;stride&quot;:4"))
    assert refused_openvino(path) == DAMAGED
    path.write_bytes(xml)
    for index in (0, len(weights) // 2, len(weights) - 1):
        flipped = bytearray(weights)
        flipped[index] ^= 1
        path.with_suffix(".bin").write_bytes(flipped)
        assert refused_openvino(path) == DAMAGED


def test_openvino_files_in_half_precision(tmp_path: Path) -> None:
    half = read_openvino(exported_openvino(tmp_path / "a.xml", half=True))
    rows, exact = half.class_rows, loaded("tree").class_rows
    assert rows is not None
    assert exact is not None
    assert rows.weights.dtype == np.float32
    np.testing.assert_array_equal(rows.weights, exact.weights.astype(np.float16))


@pytest.mark.parametrize("dtype", ["float16", "int8"])
def test_small_dtypes_are_read_as_an_onnx_runtime_restores_them(dtype: Any, tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    proto = exported_proto(loaded("tree"), dtype=dtype)
    kinds = {tensor.data_type for tensor in proto.graph.initializer if tensor.name.endswith(".small")}
    assert kinds == {TensorProto.FLOAT16 if dtype == "float16" else TensorProto.INT8}
    images = random_images((48, 32), 2)
    boxes, features, weights, biases = onnxruntime.InferenceSession(proto.SerializeToString()).run(
        ["boxes", "features", "class_weights", "class_biases"], {"images": images}
    )
    save_sealed(proto, tmp_path / "detector.onnx")
    read = read_onnx(tmp_path / "detector.onnx")
    assert read.class_rows is not None
    np.testing.assert_array_equal(read.class_rows.weights, weights)
    np.testing.assert_array_equal(read.class_rows.biases, biases)
    for ours, theirs in zip(start("onnxruntime", read).run(images), (boxes, features), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)


def test_eight_bits_are_within_half_a_step_of_each_filters_weights(tmp_path: Path) -> None:
    proto = exported_proto(loaded("tree"), dtype="int8")
    save_sealed(proto, tmp_path / "detector.onnx")
    exact, read = loaded("tree").class_rows, read_onnx(tmp_path / "detector.onnx").class_rows
    assert exact is not None
    assert read is not None
    step = np.abs(exact.weights).max((0, 2), keepdims=True) / 127
    error = np.abs(read.weights - exact.weights)
    assert (error <= step * 0.5001).all()
    assert error.max() > 0  # they were stored in fewer bits
    np.testing.assert_array_equal(read.biases, exact.biases)


@pytest.mark.parametrize("damage", ["scales missing", "scales too many", "numbers missing"])
def test_damaged_small_dtypes(damage: str, tmp_path: Path) -> None:
    proto = exported_proto(loaded("tree"), dtype="int8")
    constants = {tensor.name: tensor for tensor in proto.graph.initializer}
    match damage:
        case "scales missing":
            proto.graph.initializer.remove(constants["layer0.weights.scales"])
        case "scales too many":
            constants["layer0.weights.scales"].CopyFrom(
                numpy_helper.from_array(np.ones(9, np.float32), "layer0.weights.scales")
            )
        case "numbers missing":
            proto.graph.initializer.remove(constants["layer0.weights.small"])
    save_sealed(proto, tmp_path / "detector.onnx")
    assert refused_onnx(tmp_path / "detector.onnx").startswith("layer0.weights cannot be read: ")


# Other processes


def run_python(script: str, *arguments: str | Path, before: Path | None = None) -> Any:
    """Run a script without the test run's checks of shapes; what it prints last, read as JSON."""
    source = Path(yolo9000.__file__).parents[1]
    folders = [source] if before is None else [before, source]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, folders))}
    done = subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def darknet_files(folder: Path, name: str) -> Path:
    """A detector as Darknet's files."""
    cfg = folder / "detector.cfg"
    cfg.write_text(write_cfg(TABLES[name]))
    write_weights(folder / "detector.weights", random_model(name))
    if name == "tree":
        lines = [f"{node} {parent}\n" for node, parent in zip(TREE.ids, TREE.parents, strict=True)]
        (folder / "pets.tree").write_text("".join(lines))
    return cfg


WITHOUT_TORCH = [
    "yolo9000",
    "yolo9000.inference.settings",
    "yolo9000.checkpoints.darknet.cfg",
    "yolo9000.checkpoints.darknet.detector",
    "yolo9000.taxonomy.files",
    "yolo9000.checkpoints.darknet.weights",
    "yolo9000.io.draw",
    "yolo9000.inference.engines",
    "yolo9000.checkpoints.onnx",
    "yolo9000.inference.engines.onnxruntime",
    "yolo9000.checkpoints.load",
    "yolo9000.taxonomy.class_names",
    "yolo9000.taxonomy.wordtree",
    "yolo9000.architectures.onnx",
    "yolo9000.architectures.zoo",
    "yolo9000.inference.decode",
    "yolo9000.inference.detector",
    "yolo9000.types",
    "yolo9000.io.writers",
    "yolo9000.io.sources",
]


def test_predicting_does_not_import_torch() -> None:
    names = WITHOUT_TORCH + [
        name for name in ("yolo9000.checkpoints.export", "yolo9000.evaluation.runner") if find_spec(name)
    ]
    script = """
import importlib, json, sys
for name in sys.argv[1:]:
    importlib.import_module(name)
print(json.dumps(sorted(set(sys.modules) & {"torch", "openvino"})))
"""
    assert run_python(script, *names) == []


STUB = 'raise ImportError("there is no torch here")\n'
DETECT = """
import json, sys
import numpy as np
try:
    import torch
except ImportError as error:
    assert "no torch here" in str(error)
else:
    raise SystemExit("torch can be imported")
from yolo9000 import Detector
from yolo9000.checkpoints.onnx import onnx_file
cfg, *engines = sys.argv[1:]
image = np.random.default_rng(1).integers(0, 256, (20, 30, 3), dtype=np.uint8)
found = []
for engine in engines:
    detector = Detector.load(cfg, engine=engine, conf_threshold=0.1, size_wh=(56, 32))
    found.append(detector.detect([image, image[:, :13]])[0].to_dict())
onnx_file(detector.model)
print(json.dumps(found))
"""


@pytest.mark.parametrize("name", ["squeezed", "tree"])
def test_detecting_and_exporting_without_torch(name: str, tmp_path: Path) -> None:
    stub = tmp_path / "stub"
    (stub / "torch").mkdir(parents=True)
    (stub / "torch" / "__init__.py").write_text(STUB)
    installed = [engine for engine in OTHERS if find_spec(engine)]
    results = run_python(DETECT, darknet_files(tmp_path, name), *installed, before=stub)
    assert len(results) == len(installed)
    for one in results:
        assert (one["width"], one["height"]) == (30, 20)
        assert len(one["detections"]) > 0
        assert ("path" in one["detections"][0]) == (name == "tree")
        labels = [detection["label"] for detection in one["detections"]]
        assert labels == [detection["label"] for detection in results[0]["detections"]]


REFUSED = """
import json, sys
from yolo9000 import Detector
from yolo9000.inference.engines import choose_engine
from yolo9000.errors import EngineError
cfg, *engines = sys.argv[1:]
texts = []
for options in [dict(engine="tensorrt"), dict(engine="")] + [dict(engine=e, precision="int8") for e in engines]:
    try:
        Detector.load(cfg, **options)
    except EngineError as error:
        texts.append(str(error))
print(json.dumps(texts))
"""


def test_engines_and_precisions_that_do_not_exist(tmp_path: Path) -> None:
    """In another process, where the checks of arguments that tests switch on do not come first."""
    installed = [engine for engine in ("torch", *OTHERS) if find_spec(engine)]
    texts = run_python(REFUSED, darknet_files(tmp_path, "squeezed"), *installed)
    known = "engine: must be one of auto, openvino, onnxruntime, torch, got "
    assert texts[:2] == [f"{known}'tensorrt'", f"{known}''"]
    assert texts[2:] == ["precision: must be one of auto, float32, bfloat16, got 'int8'"] * len(installed)
