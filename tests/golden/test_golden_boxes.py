"""IoU and suppression against Darknet's numbers, ties included."""

from __future__ import annotations

import numpy as np
import pytest
from support.golden import arrays, assert_close, parameters

from yolo9000.boxes import cxcywh_to_xyxy, iou, nms


def test_iou() -> None:
    golden = arrays("box")
    ours = iou(cxcywh_to_xyxy(golden["pairs_a"]), cxcywh_to_xyxy(golden["pairs_b"]))
    assert_close(ours, golden["pairs_iou"], 1e-6)


@pytest.mark.parametrize("name", parameters("box"))
def test_nms(name: str) -> None:
    golden, setting = arrays("box"), parameters("box")[name]
    boxes = cxcywh_to_xyxy(golden[f"nms_{name}_boxes"])
    objectness, probs = golden[f"nms_{name}_obj"], golden[f"nms_{name}_probs"]
    theirs = golden[f"nms_{name}_probs_after"]
    candidates = np.flatnonzero(objectness > 0)
    ours = np.zeros_like(probs)
    if setting["kind"] == "do_nms_obj":
        kept = candidates[nms(boxes[candidates], objectness[candidates], setting["thresh"])]
        ours[kept] = probs[kept]
        ours[objectness == 0] = probs[objectness == 0]  # Darknet leaves the numbers of dropped boxes as they are
    else:
        for label in range(probs.shape[1]):
            group = candidates[probs[candidates, label] > 0]
            kept = group[nms(boxes[group], probs[group, label], setting["thresh"])]
            ours[kept, label] = probs[kept, label]
        ours[objectness == 0] = probs[objectness == 0]
    np.testing.assert_array_equal(ours, theirs)
