"""Exported graphs with decoding and suppression in them answer as the detector does, in every runtime."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from support.small_models import TREE, random_model, small_architecture

from yolo9000.checkpoints.model import LoadedModel
from yolo9000.checkpoints.postprocess import OUTPUTS, Thresholds, with_postprocess
from yolo9000.inference.decode import decode
from yolo9000.inference.detector import head_output
from yolo9000.inference.engines import start_engine
from yolo9000.inference.settings import DetectionSettings

MODELS = {
    "softmax": lambda: flat("softmax"),
    "sigmoid": lambda: flat("sigmoid"),
    "tree, lazy head": lambda: LoadedModel.from_weights(tree_weights(), TREE.names, TREE),
    "tree, dense head": lambda: LoadedModel.from_weights(tree_weights(), TREE.names, TREE).with_lazy_classes(False),
}
THRESHOLDS = Thresholds(conf_threshold=0.2, nms_iou=0.3, hier_thresh=0.35)


def flat(classes: str) -> LoadedModel:
    architecture = small_architecture(5)
    head = replace(architecture.head, softmax=classes == "softmax")  # type: ignore[type-var]
    weights = random_model(replace(architecture, layers=(*architecture.layers[:-1], head)))
    return LoadedModel.from_weights(weights, tuple("abcde"))


def tree_weights() -> object:
    return random_model(small_architecture(7, tree="small.tree"), seed=2)


def run_onnxruntime(graph: bytes, images: np.ndarray) -> list[np.ndarray]:
    import onnxruntime

    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    return session.run(list(OUTPUTS), {"images": images})


def run_openvino(graph: bytes, images: np.ndarray) -> list[np.ndarray]:
    pytest.importorskip("openvino")
    from yolo9000.checkpoints.openvino import import_openvino

    core = import_openvino().Core()
    network = core.compile_model(core.read_model(graph), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    results = network(images)
    return [np.array(results[name]) for name in OUTPUTS]


def run_opencv(graph: bytes, images: np.ndarray) -> list[np.ndarray]:
    network = cv2.dnn.readNetFromONNX(np.frombuffer(graph, np.uint8))
    network.setInput(images)
    boxes, *others = network.forward(list(OUTPUTS))
    return [boxes.reshape(-1, 4), *(values.reshape(-1) for values in others)]


def ours(model: LoadedModel, images: np.ndarray, thresholds: Thresholds) -> list[tuple]:
    """Boxes in pixels of the input, scores and labels of each image, by the detector's own code."""
    engine = start_engine("onnxruntime", model, precision="float32")
    size_wh = (images.shape[3], images.shape[2])
    output = head_output(model, engine.run(images), size_wh)
    settings = DetectionSettings(**vars(thresholds))
    decoded = [decode(output, i, model.detector_head, size_wh, settings) for i in range(len(images))]
    return [(one.boxes_xyxy, one.scores, one.labels) for one in decoded]


def assert_same(graph_outputs: list[np.ndarray], expected: list[tuple]) -> None:
    boxes, scores, labels, images_of_boxes = graph_outputs
    assert (np.diff(scores) <= 0).all()
    for image, (our_boxes, our_scores, our_labels) in enumerate(expected):
        mine = images_of_boxes == image
        np.testing.assert_allclose(scores[mine], our_scores, atol=1e-5)
        np.testing.assert_array_equal(labels[mine], our_labels)
        np.testing.assert_allclose(boxes[mine], our_boxes, atol=2e-3)


@pytest.mark.parametrize("run", [run_onnxruntime, run_openvino, run_opencv])
@pytest.mark.parametrize("name", list(MODELS))
def test_graph_answers_as_the_detector(name: str, run: Callable[[bytes, np.ndarray], list[np.ndarray]]) -> None:
    model = MODELS[name]()
    images = np.random.default_rng(5).random((1 if run is run_opencv else 2, 3, 48, 72), np.float32)
    expected = ours(model, images, THRESHOLDS)
    every = ours(model, images, replace(THRESHOLDS, nms_iou=1.0))
    assert all(3 <= len(some[1]) < len(all_[1]) for some, all_ in zip(expected, every, strict=True))
    assert_same(run(with_postprocess(model, THRESHOLDS), images), expected)


def test_graph_without_detections_gives_none() -> None:
    for name in ("softmax", "tree, lazy head"):
        graph = with_postprocess(MODELS[name](), replace(THRESHOLDS, conf_threshold=0.999999))
        for run in (run_onnxruntime, run_openvino):
            assert [len(values) for values in run(graph, np.zeros((1, 3, 48, 72), np.float32))] == [0] * 4


def test_graph_has_standard_operators_of_one_opset_and_says_what_it_is(tmp_path: Path) -> None:
    proto = onnx.load_model_from_string(with_postprocess(MODELS["tree, lazy head"](), THRESHOLDS))
    onnx.checker.check_model(proto, full_check=True)
    assert [(opset.domain, opset.version) for opset in proto.opset_import] == [("", 17)]
    about = {item.key: json.loads(item.value) for item in proto.metadata_props}
    assert about["names"] == list(TREE.names)
    assert (about["hier_thresh"], about["input_wh"], about["resize_mode"]) == (0.35, [72, 48], "letterbox")
