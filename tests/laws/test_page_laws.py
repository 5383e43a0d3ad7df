"""The page's own code answers as Python does: decoding, suppression, and fitting images. Needs Node.js."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from support.heads import HeadCase, HeadRecipe, detection_settings, heads
from support.javascript import NODE, Script, script

from yolo9000.inference.decode import decode
from yolo9000.inference.head_output import DenseClassLogits, LazyClassLogits
from yolo9000.inference.preprocess import fit
from yolo9000.inference.query import Query, Subtree
from yolo9000.inference.settings import DetectionSettings
from yolo9000.types import Detections

pytestmark = pytest.mark.skipif(NODE is None, reason="Node.js is not installed")

DETECT = """
import { candidatesOf } from "./network.js";
import { Tree, detect, explain } from "./walk.js";
function answer({ output, model, tree: record, size, settings }) {
  const tree = record && new Tree(record);
  const candidates = candidatesOf(output, model, tree, size, settings.conf_threshold);
  return detect(candidates, tree, settings, size).map((one) => ({ ...one, ...(tree && explain(tree, one)) }));
}
"""
FIT = """
import { fit } from "./network.js";
const answer = ({ image, size, mode }) => [...fit(image, size, mode)];
"""


@pytest.fixture(scope="module")
def detecting() -> Iterator[Script]:
    with script(DETECT) as answer:
        yield answer


@pytest.fixture(scope="module")
def fitting() -> Iterator[Script]:
    with script(FIT) as answer:
        yield answer


def flat(array: np.ndarray) -> dict[str, object]:
    return {"data": array.reshape(-1), "dims": array.shape}


def in_the_page(detecting: Script, case: HeadCase, chosen: DetectionSettings, within: int, *, lazy: bool) -> list:
    """The detections in the first image, by the page's code."""
    head, boxes = case.head, case.dense.boxes[:1]
    a, _, h, w = boxes.shape[1:]
    network = {
        "anchors_wh_cells": head.anchors_wh_cells,
        "kind": head.classes,
        "names": head.names,
        "resize_mode": head.resize_mode,
        "network_wh": case.dense.network_wh,
    }
    if lazy:
        logits = case.lazy.class_logits
        assert isinstance(logits, LazyClassLogits)
        output = {"boxes": flat(boxes.reshape(1, a * 5, h, w)), "features": flat(logits.features[:1])}
        network["class_rows"] = {"weights": flat(logits.weights), "biases": flat(logits.biases)}
    else:
        assert isinstance(case.dense.class_logits, DenseClassLogits)
        whole = np.concatenate([boxes, case.dense.class_logits.logits[:1]], axis=2)
        output = {"head": flat(whole.reshape(1, -1, h, w))}
    tree = head.tree and {"parents": head.tree.parents, "names": head.tree.names, "ids": head.tree.ids}
    asked = {**chosen.model_dump(), "within": within}
    return detecting(output=output, model=network, tree=tree, size=case.image_wh, settings=asked)


def assert_same(page: list, python: Detections) -> None:
    """Boxes to 1e-2 pixel, scores to 1e-3, and the whole path, for detections that are not as good as one another."""
    records = python.to_dict()["detections"]
    assert [one["label"] for one in page] == [one["label"] for one in records]
    np.testing.assert_allclose([one["score"] for one in page], [one["score"] for one in records], atol=1e-3)
    np.testing.assert_allclose([one["box"] for one in page], [one["box_xyxy"] for one in records], atol=1e-2)
    for ours, theirs in zip(page, records, strict=True):
        if "path" in theirs:
            assert ours["stopped"] == theirs["stopped"]
            assert [step["name"] for step in ours["path"]] == [step["name"] for step in theirs["path"]]
            for name in ("next_best", "runner_up"):
                assert (ours[name] and ours[name]["node"]) == (theirs[name] and theirs[name]["node"])
                if theirs[name]:
                    assert ours[name]["probability"] == pytest.approx(theirs[name]["probability"], abs=1e-3)


def assume_no_ties(case: HeadCase, chosen: DetectionSettings, query: Query | None = None) -> None:
    """Python rounds to float32, the page does not: of scores that are as good as one another either may come first."""
    everything = chosen.model_copy(update={"nms_iou": 1.0, "max_detections": 10_000})
    scores = decode(case.dense, 0, case.head, case.image_wh, everything, query or Query()).scores
    assume((-np.diff(scores) > 1e-6).all())


@given(recipe=heads(), chosen=detection_settings(), lazy=st.booleans())
@settings(max_examples=60)
def test_detections_are_those_of_python(
    detecting: Script, recipe: HeadRecipe, chosen: DetectionSettings, lazy: bool
) -> None:
    case = replace(recipe, images=1).make()
    assume_no_ties(case, chosen)
    python = decode(case.dense, 0, case.head, case.image_wh, chosen)
    assert_same(in_the_page(detecting, case, chosen, -1, lazy=lazy), python)


@given(recipe=heads("tree"), chosen=detection_settings(), at=st.integers(0, 39))
@settings(max_examples=30)
def test_only_below_a_node_is_pythons_within(
    detecting: Script, recipe: HeadRecipe, chosen: DetectionSettings, at: int
) -> None:
    case = replace(recipe, images=1).make()
    assert case.head.tree is not None
    node = at % len(case.head.tree)
    query = Query(within=Subtree.of(case.head.tree, [node]))
    assume_no_ties(case, chosen, query)
    python = decode(case.dense, 0, case.head, case.image_wh, chosen, query)
    assert_same(in_the_page(detecting, case, chosen, node, lazy=True), python)


@given(
    image_wh=st.tuples(st.integers(1, 60), st.integers(1, 60)),
    network_wh=st.sampled_from([(32, 64), (96, 32), (33, 29)]),
    mode=st.sampled_from(["letterbox", "stretch"]),
    seed=st.integers(0, 2**32 - 1),
)
@settings(max_examples=30)
def test_an_image_is_fitted_as_in_python(
    fitting: Script, image_wh: tuple[int, int], network_wh: tuple[int, int], mode: str, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    rgba = rng.integers(0, 256, (image_wh[1], image_wh[0], 4), dtype=np.uint8)
    image = {"data": rgba.reshape(-1), "width": image_wh[0], "height": image_wh[1]}
    page = np.array(fitting(image=image, size=network_wh, mode=mode), np.float32)
    (python,) = fit([rgba[:, :, :3]], network_wh, mode)
    np.testing.assert_allclose(page.reshape(3, *network_wh[::-1]), python, atol=1e-4)
