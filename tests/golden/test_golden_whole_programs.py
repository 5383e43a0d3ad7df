"""From an image file to detections, as Darknet's programs go."""

from __future__ import annotations

import numpy as np
import pytest
from support.golden import FOLDER, arrays, assert_close, parameters, suppression
from support.golden_detections import probabilities
from support.golden_networks import activated, load, run_torch
from support.golden_trees import tree_of

from yolo9000.architectures.weights import fold_batch_norm
from yolo9000.inference.detector import Detector
from yolo9000.inference.preprocess import center_crop, fit
from yolo9000.io.images import read_image

PROGRAMS = parameters("e2e")
DETECTORS = [name for name, program in PROGRAMS.items() if "nms" in program]
CLASSIFIERS = [name for name in PROGRAMS if name not in DETECTORS]


@pytest.mark.parametrize("engine", ["torch", "onnxruntime", "openvino"])
@pytest.mark.parametrize("name", DETECTORS)
def test_detector(name: str, engine: str) -> None:
    golden, program = arrays("e2e"), PROGRAMS[name]
    detector = Detector.load(
        FOLDER / program["cfg"],
        engine=engine,
        tree=FOLDER / "trees" / "tree26.tree" if "9000" in name else None,
        conf_threshold=program["thresh"],
        nms_iou=program["nms_thresh"],
        hier_thresh=program["hier_thresh"],
        hier_decoding="darknet",
        suppression=suppression(program["nms"]),
    )
    image = read_image(FOLDER / program["image"]).pixels
    assert_close(fit([image], detector.network_wh), golden[f"{name}_letterboxed"], 5e-6)
    (detections,) = detector.detect([image])
    boxes, probs = golden[f"{name}_gpu_boxes"], golden[f"{name}_gpu_probs"]
    rows, labels = np.nonzero(probabilities(golden, f"{name}_gpu", probs.shape))
    assert len(np.unique(rows)) == program["kept"]  # boxes; one may have several labels
    assert len(detections) == len(rows)
    order = np.argsort(-probs[rows, labels], kind="stable")
    np.testing.assert_array_equal(detections.labels, labels[order])
    assert_close(detections.scores, probs[rows, labels][order], 2e-5)
    size = np.array([program["image_w"], program["image_h"]] * 2, np.float32)
    centre, half = boxes[rows[order], :2], boxes[rows[order], 2:] / 2
    theirs = np.clip(np.concatenate([centre - half, centre + half], axis=1), 0, 1) * size
    assert_close(detections.boxes_xyxy, theirs, 1e-4 * size.max(), 1e-4)


@pytest.mark.parametrize("meaning", ["gpu", "cpu"])
@pytest.mark.parametrize("name", CLASSIFIERS)
def test_classifier(name: str, meaning: str) -> None:
    golden, model = arrays("e2e"), fold_batch_norm(load(name, meaning))
    image = read_image(FOLDER / PROGRAMS[name]["image"]).pixels
    images = center_crop(image, (model.architecture.width, model.architecture.height)).transpose(2, 0, 1)[None].copy()
    assert_close(images, golden[f"{name}_input"], 5e-6)
    (raw,) = run_torch(model, images, (-1,))
    if f"{name}_{meaning}_cond" in golden:
        tree = tree_of("tree26")
        conditionals = tree.softmax(raw.reshape(-1))
        assert_close(conditionals, golden[f"{name}_{meaning}_cond"], 2e-5)
        probs = tree.probabilities(conditionals) * tree.leaves
    else:
        probs = activated(model, raw).reshape(-1)
    assert_close(probs, golden[f"{name}_{meaning}_probs"], 2e-5)
    top = np.argsort(-probs, kind="stable")[: PROGRAMS[name]["top"]]
    np.testing.assert_array_equal(top, golden[f"{name}_{meaning}_top5"])
