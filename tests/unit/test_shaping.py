"""Tables made from tables, first numbers, and what one network hands on to another."""

from __future__ import annotations

import numpy as np
import pytest

from yolo9000.architectures.layers import Architecture, Conv, MaxPool, Region, Shortcut
from yolo9000.architectures.surgery import hand_on, initial_model, scale_width, with_classes
from yolo9000.architectures.weights import check_parameters
from yolo9000.architectures.zoo import BUILT_IN, darknet19, efficientnet_lite0, tiny_yolov2, yolov2, yolov2_lite
from yolo9000.errors import ConfigError


def test_narrow_keeps_the_last_layer_and_rounds_to_eight() -> None:
    architecture = scale_width(tiny_yolov2(classes=3, anchors=((1.0, 2.0), (3.0, 1.0))), 0.4)
    filters = [row.filters for row in architecture.rows if isinstance(row, Conv)]
    # 16 32 64 128 256 512 1024 512 times .4 = 6.4 12.8 25.6 51.2 102.4 204.8 409.6 204.8; the last is 2 x (5 + 3)
    assert filters == [8, 16, 24, 48, 104, 208, 408, 208, 16]
    architecture.shapes()


@pytest.mark.parametrize("name", ["darknet19", "yolov2-paper", "yolov2-voc", "tiny-yolov2", "yolo9000", "yolov2-lite"])
@pytest.mark.parametrize("width", [0.25, 0.5, 1.0, 1.5])
def test_every_network_can_be_narrowed(name: str, width: float) -> None:
    scale_width(BUILT_IN[name](), width).shapes()


def test_depthwise_layers_keep_a_filter_for_each_channel() -> None:
    scale, depthwise = Conv(3, 1, 1, 0, False, "linear", groups=3), Conv(40, groups=40)
    rows = (scale, Conv(40), depthwise, Conv(40, 1, padding=0), Shortcut(-2), Conv(7, 1, 1, 0, False, "linear"))
    narrowed = scale_width(Architecture(rows, 48, 32), 0.5)
    # 40 times .5 = 20, and of the multiples of 8 as near, 16 is the even one; the scale of the input reads 3 channels
    filters = [(row.filters, row.groups) for row in narrowed.rows if isinstance(row, Conv)]
    assert filters == [(3, 3), (16, 1), (16, 16), (16, 1), (7, 1)]
    assert narrowed.shapes()[-1] == (7, 32, 48)


def test_first_weights_of_groups() -> None:
    rows = (Conv(3, 1, 1, 0, False, "linear", groups=3), Conv(64), Conv(64, 5, padding=2, groups=64))
    scale, _, depthwise = initial_model(Architecture((*rows, Shortcut(1)), 48, 32), seed=1).parameters[:3]
    assert scale is not None
    assert depthwise is not None
    assert (scale.weights == 1).all()
    assert depthwise.weights.std() == pytest.approx(np.sqrt(2 / 25), rel=0.1)  # 25 inputs a filter


def test_residual_layers_are_handed_on_as_far_as_they_are_the_same() -> None:
    rows = (Conv(8), Conv(8, groups=8), Conv(8, 1, padding=0), Shortcut(-3), Conv(16, 1, padding=0))
    first = initial_model(Architecture(rows, 48, 32), 0)
    _, taken = hand_on(first, initial_model(Architecture((*rows[:4], Conv(24)), 96, 64), 1))
    assert taken == 3
    _, taken = hand_on(first, initial_model(Architecture((*rows[:3], Shortcut(-2), rows[4]), 96, 64), 1))
    assert taken == 3
    _, taken = hand_on(first, initial_model(Architecture((rows[0], Conv(8), *rows[2:]), 96, 64), 1))
    assert taken == 1


def test_a_light_detector_takes_all_of_its_classifier_but_the_top() -> None:
    classifier, detector = (
        initial_model(scale_width(architecture, 0.125), i)
        for i, architecture in enumerate((efficientnet_lite0(classes=5), yolov2_lite(4)))
    )
    _, taken = hand_on(classifier, detector)
    assert taken == 1 + 1 + 2 + 15 * 3  # scale, stem, a block without widening, 15 with


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


def test_a_table_without_a_head_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"must end in \[region\] or \[softmax\]"):
        with_classes(Architecture((Conv(8),)), 3)


def test_first_numbers_have_the_variance_that_keeps_signals_alive() -> None:
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


def test_a_detector_takes_all_of_a_classifier_but_the_last_layer() -> None:
    classifier, detector = (
        initial_model(scale_width(architecture, 0.125), i) for i, architecture in enumerate((darknet19(), yolov2(4)))
    )
    model, taken = hand_on(classifier, detector)
    assert taken == 18  # Darknet-19's 19 convolutions but one
    assert all(model.parameters[i] is classifier.parameters[i] for i in range(23) if model.parameters[i] is not None)
    assert all(model.parameters[i] is detector.parameters[i] for i in range(23, len(detector.parameters)))


def test_all_is_taken_of_the_same_network() -> None:
    architecture = scale_width(darknet19(classes=5), 0.125)
    model, taken = hand_on(initial_model(architecture, 0), initial_model(architecture, 1))
    assert taken == 19
    assert all(own is other for own, other in zip(model.parameters, hand_on(model, model)[0].parameters, strict=True))


def test_what_has_no_layer_in_common_is_refused() -> None:
    first, second = (initial_model(Architecture((Conv(filters), MaxPool())), 0) for filters in (8, 16))
    with pytest.raises(ConfigError, match="no layer in common"):
        hand_on(first, second)


def test_a_detector_begins_with_the_objectness_that_is_wanted() -> None:
    architecture = with_classes(scale_width(yolov2(), 0.125), 3, anchors=((1.0, 2.0), (3.0, 1.5)))
    last = initial_model(architecture, 0, objectness=0.05).parameters[len(architecture.body) - 1]
    assert last is not None
    biases = last.biases.reshape(2, 5 + 3)  # x, y, w, h, objectness and 3 classes of 2 anchors
    np.testing.assert_allclose(1 / (1 + np.exp(-biases[:, 4])), 0.05, rtol=1e-6)
    assert (np.delete(biases, 4, axis=1) == 0).all()
    plain = initial_model(architecture, 0).parameters[len(architecture.body) - 1]
    assert plain is not None
    assert (plain.biases == 0).all()
