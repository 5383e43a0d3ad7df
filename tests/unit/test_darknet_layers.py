"""A model in Darknet's layers computes what the model computed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.small_models import loaded, random_model

from yolo9000.architectures.layers import Architecture, Conv, Region, Reorg, Route, Shortcut
from yolo9000.architectures.surgery import to_darknet_layers
from yolo9000.architectures.weights import Model, check_parameters
from yolo9000.architectures.zoo import BUILT_IN
from yolo9000.checkpoints.darknet.cfg import parse_cfg, write_cfg
from yolo9000.checkpoints.darknet.weights import read_weights, write_weights
from yolo9000.inference.engines import start_engine

ARCHITECTURE = Architecture(
    (
        Conv(4, 3, 2, padding=0, end_padding=1),  # 24 x 16 where the input is 48 x 32
        Conv(4, 5, 1, padding=2, groups=4),
        Shortcut(-2),
        Conv(6, 5, 2, padding=1, groups=2, activation="relu6", end_padding=1),  # 12 x 8
        Route((2,)),
        Reorg(2, "space_to_depth"),
        Route((-1, 3)),  # 16 + 6 channels
        Reorg(4, "space_to_depth"),
        Conv(16, 1, 1, 0, False, "linear"),
        Region(((1.0, 2.0), (3.0, 1.0)), classes=3),
    ),
    width=48,
    height=32,
)


def outputs(model: Model) -> np.ndarray:
    images = np.random.default_rng(5).random((2, 3, 32, 48), np.float32)
    return start_engine("onnxruntime", loaded(model), threads=1).run(images)[0]


def test_the_function_is_the_same(tmp_path: Path) -> None:
    model = random_model(ARCHITECTURE, 3)
    converted = to_darknet_layers(model)
    check_parameters(converted)
    expected = outputs(model)
    assert expected.std(axis=(2, 3)).max() > 0.1
    np.testing.assert_allclose(outputs(converted), expected, rtol=0, atol=1e-5)
    assert converted.architecture.shapes() == model.architecture.shapes()
    write_weights(tmp_path / "a.weights", converted)
    _, again = read_weights(tmp_path / "a.weights", parse_cfg(write_cfg(converted.architecture)))
    np.testing.assert_array_equal(outputs(again), outputs(converted))


def test_the_layers() -> None:
    layers = to_darknet_layers(random_model(ARCHITECTURE)).architecture.layers
    assert layers[0] == Conv(4, 4, 2, padding=1)
    assert layers[3] == Conv(6, 6, 2, padding=2, groups=2, activation="relu6")
    assert layers[5] == Conv(16, 2, 2, 0, False, "linear")
    assert layers[7] == Conv(22 * 16, 4, 4, 0, False, "linear")
    assert [layers[i] for i in (1, 2, 4, 6, 8, 9)] == [ARCHITECTURE.layers[i] for i in (1, 2, 4, 6, 8, 9)]


@pytest.mark.parametrize(("size", "padding"), [(3, 0), (5, 1), (2, 0)])
@pytest.mark.parametrize("length", [9, 10, 13])
def test_kernels_end_where_they_ended(size: int, padding: int, length: int) -> None:
    """Output i reads columns 2i - p to 2i - p + k - 1; the larger kernel begins a column earlier, with a zero."""
    architecture = Architecture(
        (Conv(1, size, 2, padding, False, "linear", end_padding=1),), width=length, height=8, channels=1
    )
    model = random_model(architecture)
    (layer,), (after,) = (lambda converted: (converted.architecture.layers, converted.parameters))(
        to_darknet_layers(model)
    )
    assert isinstance(layer, Conv)
    assert after is not None
    assert 2 * 3 - layer.padding + layer.size - 1 == 2 * 3 - padding + size - 1
    assert (after.weights[0, 0, 0] == 0).all()
    assert (after.weights[0, 0, :, 0] == 0).all()
    assert replace(architecture, layers=(layer,)).shapes() == architecture.shapes()


def test_what_darknet_has_is_left_alone() -> None:
    architecture = replace(BUILT_IN["tiny-yolov2"](), width=64, height=32)
    model = Model(architecture, (None,) * len(architecture.layers))
    converted = to_darknet_layers(model)
    assert converted == model
    small = random_model(Architecture((Conv(4), Reorg(2)), 8, 6))
    assert all(a is b for a, b in zip(to_darknet_layers(small).parameters, small.parameters, strict=True))


@pytest.mark.parametrize("name", BUILT_IN)
def test_every_built_in_network_can_be_written_for_darknet(name: str) -> None:
    architecture = BUILT_IN[name]()
    architecture = to_darknet_layers(Model(architecture, (None,) * len(architecture.layers))).architecture
    assert parse_cfg(write_cfg(architecture)) == architecture
