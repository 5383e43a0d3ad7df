"""Boxes, objectness, class probabilities and suppression of the region layer against Darknet's numbers."""

from __future__ import annotations

import numpy as np
import pytest
from support.golden import FOLDER, arrays, assert_close, parameters, suppression
from support.golden_detections import compare_detections

from yolo9000.architectures.head import Head
from yolo9000.inference.head_output import DenseClassLogits, HeadOutput, LazyClassLogits, sigmoid
from yolo9000.inference.query import Query
from yolo9000.inference.settings import DetectionSettings
from yolo9000.taxonomy.files import read_tree

CASES = {case["name"]: case for case in parameters("region_infer")}


def head_of(case: dict) -> Head:
    anchors = np.array(case["anchors"], np.float32).reshape(-1, 2)
    names = tuple(map(str, range(case["classes"])))
    if case["tree"]:
        return Head(anchors, names, "tree", read_tree(FOLDER / case["tree"]))
    return Head(anchors, names, "softmax" if case["softmax"] else "sigmoid")


def output_of(case: dict, raw: np.ndarray, *, lazy: bool = False) -> HeadOutput:
    n, _, h, w = raw.shape
    t = raw.reshape(n, case["n"], 5 + case["classes"], h, w)
    logits = lazy_logits(t[:, :, 5:]) if lazy else DenseClassLogits(t[:, :, 5:])
    return HeadOutput(t[:, :, :5], logits, (case["netw"], case["neth"]))


def lazy_logits(scores: np.ndarray) -> LazyClassLogits:
    """The same scores behind a last layer whose features are the scores themselves, so that each row is an identity."""
    n, a, k, h, w = scores.shape
    weights = np.zeros((a, k, a * k), np.float32)
    for prior in range(a):
        weights[prior, np.arange(k), prior * k + np.arange(k)] = 1
    return LazyClassLogits(scores.reshape(n, a * k, h, w), weights, np.zeros((a, k), np.float32))


SETTINGS = [(name, setting["index"]) for name, case in CASES.items() for setting in case["settings"]]


@pytest.mark.parametrize("lazy", [False, True], ids=["dense", "lazy"])
@pytest.mark.parametrize(("name", "index"), SETTINGS)
def test_detections(name: str, index: int, lazy: bool) -> None:
    case, golden = CASES[name], arrays("region_infer")
    if lazy and case["classes"] > 1000:
        pytest.skip("identity rows of 9,418 classes would take 5 GB")
    setting, head, query = case["settings"][index], head_of(case), Query()
    if setting["uses_map"]:
        nodes = golden[f"{name}_map"].astype(np.int64)
        query = Query(nodes=nodes, labels=tuple(map(str, range(len(nodes)))))
    settings = DetectionSettings(
        conf_threshold=setting["thresh"],
        nms_iou=1.0 if setting["nms"] == "none" else setting["nms_thresh"],
        hier_thresh=setting["tree_thresh"],
        hier_decoding="darknet",
        suppression=suppression(setting["nms"]),
    )
    output = output_of(case, golden[f"{name}_input"], lazy=lazy)
    wh = (setting["image_w"], setting["image_h"])
    compare_detections(output, head, settings, wh, bool(setting["relative"]), golden, f"{name}_s{index}", 5e-6, query)


@pytest.mark.parametrize("name", CASES)
def test_activations(name: str) -> None:
    case, golden = CASES[name], arrays("region_infer")
    raw, theirs = golden[f"{name}_input"], golden[f"{name}_output"]
    shape = (1, case["n"], 5 + case["classes"], case["h"], case["w"])
    t, theirs = raw.reshape(shape), theirs.reshape(shape)
    assert_close(sigmoid(t[:, :, [0, 1, 4]]), theirs[:, :, [0, 1, 4]], 5e-6)
    head = head_of(case)
    if head.tree is not None:
        ours = np.moveaxis(head.tree.softmax(np.moveaxis(t[:, :, 5:], 2, -1)), -1, 2)
        assert_close(ours, theirs[:, :, 5:], 5e-6)
