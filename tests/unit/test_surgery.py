"""Architectures made from others, initial weights, and transfer from one model to another."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from support.small_models import random_model

from yolo9000.architectures.layers import Architecture, AvgPool, Conv, MaxPool, Region, Shortcut, Softmax
from yolo9000.architectures.surgery import initial_model, scale_width, transfer, with_classes
from yolo9000.architectures.weights import ConvParameters, Model, check_parameters
from yolo9000.architectures.zoo import BUILT_IN, darknet19, efficientnet_lite0, tiny_yolov2, yolov2, yolov2_lite
from yolo9000.errors import ConfigError


def test_scaling_keeps_the_last_layer_and_rounds_to_eight() -> None:
    architecture = scale_width(tiny_yolov2(classes=3, anchors=((1.0, 2.0), (3.0, 1.0))), 0.4)
    filters = [layer.filters for layer in architecture.layers if isinstance(layer, Conv)]
    # 16 32 64 128 256 512 1024 512 times .4 = 6.4 12.8 25.6 51.2 102.4 204.8 409.6 204.8; the last is 2 x (5 + 3)
    assert filters == [8, 16, 24, 48, 104, 208, 408, 208, 16]
    architecture.shapes()


@pytest.mark.parametrize("name", ["darknet19", "yolov2-paper", "yolov2-voc", "tiny-yolov2", "yolo9000", "yolov2-lite"])
@pytest.mark.parametrize("width", [0.25, 0.5, 1.0, 1.5])
def test_every_network_can_be_scaled(name: str, width: float) -> None:
    scale_width(BUILT_IN[name](), width).shapes()


def test_depthwise_layers_keep_a_filter_for_each_channel() -> None:
    scale, depthwise = Conv(3, 1, 1, 0, False, "linear", groups=3), Conv(40, groups=40)
    layers = (scale, Conv(40), depthwise, Conv(40, 1, padding=0), Shortcut(-2), Conv(7, 1, 1, 0, False, "linear"))
    scaled = scale_width(Architecture(layers, 48, 32), 0.5)
    # 40 times .5 = 20, and of the multiples of 8 as near, 16 is the even one; the scale of the input reads 3 channels
    filters = [(layer.filters, layer.groups) for layer in scaled.layers if isinstance(layer, Conv)]
    assert filters == [(3, 3), (16, 1), (16, 16), (16, 1), (7, 1)]
    assert scaled.shapes()[-1] == (7, 32, 48)


def test_initial_weights_of_groups() -> None:
    layers = (Conv(3, 1, 1, 0, False, "linear", groups=3), Conv(64), Conv(64, 5, padding=2, groups=64))
    scale, _, depthwise = initial_model(Architecture((*layers, Shortcut(1)), 48, 32), seed=1).parameters[:3]
    assert scale is not None
    assert depthwise is not None
    assert (scale.weights == 1).all()
    assert depthwise.weights.std() == pytest.approx(np.sqrt(2 / 25), rel=0.1)  # 25 inputs a filter


def test_a_detector_gets_the_classes_and_anchors_of_the_data() -> None:
    anchors = ((1.0, 2.0), (3.0, 4.0), (5.0, 1.0))
    architecture = with_classes(yolov2(), 7, anchors=anchors)
    assert isinstance(architecture.head, Region)
    assert (architecture.head.classes, architecture.head.anchors_wh_cells) == (7, anchors)
    assert architecture.shapes()[-1] == (3 * (5 + 7), 13, 13)
    kept = with_classes(yolov2(), 7).head
    assert isinstance(kept, Region)
    assert kept.anchors_wh_cells == yolov2().head.anchors_wh_cells  # type: ignore[union-attr]


def test_a_classifier_gets_the_classes_of_the_data() -> None:
    assert with_classes(darknet19(), 11).shapes()[-1] == (11, 1, 1)


def test_no_classes_without_a_head() -> None:
    with pytest.raises(ConfigError, match=r"must end in \[region\] or \[softmax\]"):
        with_classes(Architecture((Conv(8),)), 3)


def test_initial_weights_preserve_the_variance_of_signals() -> None:
    model = initial_model(
        Architecture((Conv(64), Conv(128), Conv(10, 1, padding=0, batch_normalize=False)), 64, 32), seed=1
    )
    check_parameters(model)
    second = model.parameters[1]
    assert second is not None
    assert second.weights.std() == pytest.approx(np.sqrt(2 / (9 * 64)), rel=0.02)
    assert second.weights.mean() == pytest.approx(0, abs=2e-3)
    assert second.batch_norm is not None
    assert (second.biases == 0).all()
    assert (second.batch_norm.scales == 1).all()
    assert (initial_model(model.architecture, 1).parameters[0].weights == model.parameters[0].weights).all()  # type: ignore[union-attr]
    assert (initial_model(model.architecture, 2).parameters[0].weights != model.parameters[0].weights).any()  # type: ignore[union-attr]


def test_initial_objectness() -> None:
    architecture = with_classes(scale_width(yolov2(), 0.125), 3, anchors=((1.0, 2.0), (3.0, 1.5)))
    last = initial_model(architecture, 0, objectness=0.05).parameters[len(architecture.body) - 1]
    assert last is not None
    biases = last.biases.reshape(2, 5 + 3)  # x, y, w, h, objectness and 3 classes of 2 anchors
    np.testing.assert_allclose(1 / (1 + np.exp(-biases[:, 4])), 0.05, rtol=1e-6)
    assert (np.delete(biases, 4, axis=1) == 0).all()
    plain = initial_model(architecture, 0).parameters[len(architecture.body) - 1]
    assert plain is not None
    assert (plain.biases == 0).all()


# Transfer

ANCHORS = ((1.0, 2.0), (3.0, 1.5))
LAST = Conv(2 * (5 + 3), 1, 1, 0, False, "linear")


def detector(classes: int, anchors: tuple[tuple[float, float], ...] = ANCHORS, trunk: int = 6) -> Architecture:
    last = replace(LAST, filters=len(anchors) * (5 + classes))
    return Architecture((Conv(trunk), MaxPool(), last, Region(anchors, classes)), 12, 8)


def last_of(model: Model) -> ConvParameters:
    parameters = model.parameters[2]
    assert parameters is not None
    return parameters


def rows_of(model: Model, anchors: int) -> np.ndarray:
    """Kernel and bias of each row of the last convolution, (anchor, 5 + K, channels + 1)."""
    last = last_of(model)
    rows = np.concatenate([last.weights[:, :, 0, 0], last.biases[:, None]], axis=1)
    return rows.reshape(anchors, -1, rows.shape[1])


def test_a_detector_takes_all_of_a_classifier_but_the_last_layer() -> None:
    classifier, target = (
        initial_model(scale_width(architecture, 0.125), i) for i, architecture in enumerate((darknet19(), yolov2(4)))
    )
    result = transfer(classifier, target)
    assert (result.convolutions, result.classes) == (18, 0)  # all of Darknet-19's 19 convolutions but one
    taken = result.model.parameters
    assert all(taken[i] is classifier.parameters[i] for i in range(23) if taken[i] is not None)
    assert all(taken[i] is target.parameters[i] for i in range(23, len(taken)))


def test_a_light_detector_takes_the_stages_of_its_classifier() -> None:
    classifier, target = (
        initial_model(scale_width(architecture, 0.125), i)
        for i, architecture in enumerate((efficientnet_lite0(classes=5), yolov2_lite(4)))
    )
    # scale, stem, a block without expansion, 15 with expansion
    assert transfer(classifier, target).convolutions == 1 + 1 + 2 + 15 * 3


def test_layers_are_taken_up_to_the_first_that_differs() -> None:
    layers = (Conv(8), Conv(8, groups=8), Conv(8, 1, padding=0), Shortcut(-3), Conv(16, 1, padding=0))
    source = initial_model(Architecture(layers, 48, 32), 0)

    def taken(*others: Conv | Shortcut) -> int:
        return transfer(source, initial_model(Architecture(others, 96, 64), 1)).convolutions

    assert taken(*layers) == 4  # without a head no layer depends on classes
    assert taken(*layers[:4], Conv(24)) == 3
    assert taken(*layers[:3], Shortcut(-2), layers[4]) == 3
    assert taken(layers[0], Conv(8), *layers[2:]) == 1


def test_layers_that_read_other_channels_are_not_taken() -> None:
    """The second layer of both is the same description, and reads 3 channels of one network and 5 of the other."""
    source = random_model(Architecture((Conv(4, 1, padding=0), Conv(7)), 12, 8, channels=2), seed=1)
    target = random_model(Architecture((Conv(4, 1, padding=0), Conv(7)), 12, 8, channels=3), seed=2)
    with pytest.raises(ConfigError, match="shares no layer with the network, counting from the first"):
        transfer(source, target)


def test_nothing_in_common_is_an_error() -> None:
    source, target = (initial_model(Architecture((Conv(filters), MaxPool())), 0) for filters in (8, 16))
    with pytest.raises(ConfigError, match="shares no layer"):
        transfer(source, target)


def test_classes_are_never_taken_by_position() -> None:
    source, target = random_model(detector(3), seed=1), random_model(detector(3), seed=2)
    result = transfer(source, target)
    assert (result.convolutions, result.classes) == (1, 0)
    assert result.model.parameters[0] is source.parameters[0]
    taken, rows = rows_of(result.model, 2), rows_of(source, 2)
    np.testing.assert_array_equal(taken[:, :5], rows[:, :5])  # boxes and objectness depend on no class
    assert (taken[:, 5:] == 0).all()


def test_classes_take_the_rows_that_are_named() -> None:
    source, target = random_model(detector(3), seed=1), random_model(detector(4), seed=2)
    result = transfer(source, target, np.array([2, -1, 0, 2]))
    assert (result.convolutions, result.classes) == (1, 3)
    taken, rows = rows_of(result.model, 2), rows_of(source, 2)
    np.testing.assert_array_equal(taken[:, :5], rows[:, :5])
    np.testing.assert_array_equal(taken[:, [5, 7, 8]], rows[:, [7, 5, 7]])
    assert (taken[:, 6] == 0).all()
    check_parameters(result.model)


def test_all_rows_of_the_same_detector() -> None:
    source, target = random_model(detector(3), seed=1), random_model(detector(3), seed=2)
    result = transfer(source, target, np.arange(3))
    assert (result.convolutions, result.classes) == (2, 3)
    np.testing.assert_array_equal(rows_of(result.model, 2), rows_of(source, 2))


def test_other_anchors_predict_the_same_boxes() -> None:
    """Each anchor takes the rows of the most similar one: (2, 4) of (1, 2), (6, 4) and (3, 1) of (3, 1.5).

    IoU at a common center: of (2, 4) with (1, 2) 2 / 8, with (3, 1.5) 3 / (8 + 4.5 - 3) = .32: the second. Hence (1, 3)
    instead: with (1, 2) 2 / 3.
    """
    anchors = ((1.0, 3.0), (6.0, 4.0), (3.0, 1.0))
    source, target = random_model(detector(3), seed=1), random_model(detector(2, anchors), seed=2)
    taken = rows_of(transfer(source, target, np.array([1, 2])).model, 3)
    rows = rows_of(source, 2)[[0, 1, 1]]
    np.testing.assert_array_equal(taken[:, :, :-1], rows[:, [0, 1, 2, 3, 4, 6, 7], :-1])
    np.testing.assert_array_equal(taken[:, [0, 1, 4, 5, 6], -1], rows[:, [0, 1, 4, 6, 7], -1])
    sizes = np.array(anchors) * np.exp(taken[:, 2:4, -1])
    np.testing.assert_allclose(sizes, np.array([ANCHORS[0], ANCHORS[1], ANCHORS[1]]) * np.exp(rows[:, 2:4, -1]))


def test_a_classifier_takes_the_rows_of_its_classes() -> None:
    source, target = (
        random_model(Architecture((Conv(6), replace(LAST, filters=k), AvgPool(), Softmax()), 12, 8), seed=k)
        for k in (3, 2)
    )
    result = transfer(source, target, np.array([2, -1]))
    last, given = result.model.parameters[1], source.parameters[1]
    assert last is not None
    assert given is not None
    assert (result.convolutions, result.classes) == (1, 1)
    np.testing.assert_array_equal(last.weights[0], given.weights[2])
    assert last.biases.tolist() == [given.biases[2], 0]
    assert (last.weights[1] == 0).all()


def test_a_last_layer_of_another_trunk_is_not_taken() -> None:
    deeper = Architecture((Conv(6), MaxPool(1, 1, 0), LAST, Region(ANCHORS, 3)), 12, 8)
    source, target = random_model(detector(3), seed=1), random_model(deeper, seed=2)
    result = transfer(source, target, np.arange(3))
    assert (result.convolutions, result.classes) == (1, 0)
    assert last_of(result.model) is last_of(target)


def test_a_file_without_the_last_layer_gives_the_others() -> None:
    source, target = random_model(detector(3), seed=1), random_model(detector(3), seed=2)
    result = transfer(Model(source.architecture, (source.parameters[0], None, None, None)), target, np.arange(3))
    assert (result.convolutions, result.classes) == (1, 0)
    assert last_of(result.model) is last_of(target)


@pytest.mark.parametrize("classes", [[0, 1], [0, 1, 3], [-2, 0, 1]])
def test_classes_must_be_indices_of_the_source(classes: list[int]) -> None:
    source, target = random_model(detector(3), seed=1), random_model(detector(3), seed=2)
    with pytest.raises(ConfigError, match=r"^classes must be 3 indices from -1 to 2, got"):
        transfer(source, target, np.array(classes))
