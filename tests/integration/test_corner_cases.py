"""Corners of training: grey networks, one image, boxes all alike, sizes that the network cannot have."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.small_data import Box, write_voc_set
from support.small_models import FLAT_NAMES, random_model, small_architecture

from yolo9000 import Detector, train
from yolo9000.architectures.layers import GREY_OF_RGB
from yolo9000.architectures.weights import ConvParameters, Model
from yolo9000.checkpoints.darknet.cfg import parse_cfg, write_cfg
from yolo9000.checkpoints.export import export_darknet, export_onnx, export_openvino
from yolo9000.checkpoints.load import load_model
from yolo9000.checkpoints.model import LoadedModel
from yolo9000.errors import ConfigError
from yolo9000.inference.engines import start_engine

QUICK = {
    "recipe": "small-detector",
    "epochs": 1,
    "batch": 2,
    "accumulate": 1,
    "workers": 0,
    "threads": 1,
    "multi_scale": None,
    "notify": lambda line: None,
}


def grey_model() -> Model:
    return random_model(replace(small_architecture(len(FLAT_NAMES)), channels=1))


def rgb_twin(model: Model) -> Model:
    """A network of three channels that computes the same: its kernels are the grey ones, weighted."""
    first = model.parameters[0]
    assert isinstance(first, ConvParameters)
    weights = first.weights * np.array(GREY_OF_RGB, np.float32).reshape(1, 3, 1, 1)
    architecture = replace(model.architecture, channels=3)
    return Model(architecture, (replace(first, weights=weights), *model.parameters[1:]))


@pytest.mark.parametrize("engine", ["openvino", "onnxruntime", "torch"])
def test_a_network_of_one_channel_reads_grey_of_rgb(engine: str) -> None:
    images = np.random.default_rng(0).random((2, 3, 48, 72), np.float32)
    loaded = [LoadedModel.from_weights(model, FLAT_NAMES) for model in (grey_model(), rgb_twin(grey_model()))]
    grey, twin = (
        start_engine(engine, model, device="cpu", precision="float32", threads=1).run(images) for model in loaded
    )
    for one, other in zip(grey, twin, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)


def test_grey_weights_leave_grey_as_it_is() -> None:
    """Of a grey pixel the grey is its value, so that a grey photograph is not changed."""
    assert sum(GREY_OF_RGB) == 1


def test_an_exported_grey_network_reads_rgb_too(tmp_path: Path) -> None:
    model = LoadedModel.from_weights(grey_model(), FLAT_NAMES)
    image = np.random.default_rng(1).integers(0, 255, (60, 90, 3), dtype=np.uint8)
    expected = Detector.load(model, engine="torch", conf_threshold=0.05)(image)
    assert len(expected) > 3
    for export, file in ((export_onnx, "grey.onnx"), (export_openvino, "grey.xml")):
        export(model, tmp_path / file)
        actual = Detector.load(tmp_path / file, conf_threshold=0.05)(image)
        assert actual.detections.names == expected.detections.names
        np.testing.assert_allclose(actual.detections.boxes_xyxy, expected.detections.boxes_xyxy, atol=0.01)
    export_darknet(model, tmp_path / "grey.cfg")
    assert load_model(tmp_path / "grey.cfg").trained_weights.architecture.channels == 1


@pytest.mark.battery
def test_a_grey_network_is_trained(tmp_path: Path) -> None:
    (tmp_path / "grey.cfg").write_text(write_cfg(grey_model().architecture))
    network = {"name": str(tmp_path / "grey.cfg"), "size": [72, 48], "clusters": 2}
    outcome = train(write_voc_set(tmp_path / "set"), out=tmp_path / "run", network=network, **QUICK)
    assert outcome.step == outcome.total_steps
    trained = load_model(outcome.folder / "last.safetensors").trained_weights
    assert trained.architecture.channels == 1
    assert trained.parameters[0].weights.shape == (8, 1, 3, 3)


def test_other_input_depths_are_refused() -> None:
    text = write_cfg(small_architecture(2)).replace("channels=3", "channels=4")
    with pytest.raises(ConfigError, match=r"^grey.cfg:\d+: \[net\] channels must be 1 or 3, got '4'$"):
        parse_cfg(text, name="grey.cfg")


def alike(number: int) -> list[Box]:
    """One box of the same size in every image."""
    return [("red", (5 + number, 6, 25 + number, 18))]


@pytest.mark.battery
@pytest.mark.parametrize(("images", "boxes"), [(1, 1), (4, 1)])
def test_fewer_sizes_of_boxes_give_fewer_anchors_with_a_word(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, images: int, boxes: int
) -> None:
    data = write_voc_set(tmp_path / "set", train=images, val=1, boxes=alike)
    network = {"name": "tiny-yolov2", "size": [96, 64], "width": 0.05, "clusters": 5}
    outcome = train(data, out=tmp_path / "run", network=network, **QUICK)
    assert len(load_model(outcome.folder / "last.safetensors").detector_head.anchors_wh_cells) == boxes
    (message,) = [record.getMessage() for record in caplog.records if "anchors" in record.getMessage()]
    assert message.endswith("1 anchors instead of network.clusters=5, as the boxes have no more different sizes")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"network": {"size": [100, 64], "width": 0.05}},
            "network.size must be multiples of 32, got 100 (nearest: 96 or 128)",
        ),
        ({"network": {"size": 20}}, "network.size must be multiples of 32, got 20 (nearest: 32)"),
        (
            {"network": {"size": [96, 64]}, "multi_scale": {"sizes": [64, 80]}},
            "multi_scale.sizes must be multiples of 32, got 80 (nearest: 64 or 96)",
        ),
    ],
)
def test_sizes_that_the_network_cannot_have_name_their_key(tmp_path: Path, settings: dict, message: str) -> None:
    settings = QUICK | settings | {"network": {"width": 0.05} | settings["network"]}
    with pytest.raises(ConfigError) as error:
        train(write_voc_set(tmp_path / "set"), out=tmp_path / "run", **settings)
    assert str(error.value) == message
    assert not (tmp_path / "run").exists()
