"""The region loss and the class loss against the deltas that Darknet's C program computed."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from support.golden import FOLDER, arrays, assert_close, parameters
from support.golden_targets import WARM_UP_IMAGES, targets_of

from yolo9000.architectures.layers import Region
from yolo9000.losses.classification import SiblingGroups, class_loss
from yolo9000.losses.region import LossParts, region_loss
from yolo9000.losses.settings import LossSettings
from yolo9000.taxonomy.wordtree import WordTree

# Sigmoids instead of a softmax: no network of the family has them, and ours are not trained so.
CASES = {case["name"]: case for case in parameters("region_train") if case["softmax"]}


def region_of(case: dict) -> Region:
    anchors = np.array(case["anchors"]).reshape(-1, 2)
    return Region(
        anchors_wh_cells=tuple((float(w), float(h)) for w, h in anchors),
        classes=case["classes"],
        softmax=True,
    )


def settings_of(case: dict) -> LossSettings:
    return LossSettings(**{key: case[key] for key in LossSettings.model_fields if key in case})


def tree_of(case: dict) -> WordTree | None:
    """The case's tree. One has siblings in two runs, which `read_tree` refuses and Darknet takes for two groups."""
    if case["tree"] is None:
        return None
    return WordTree.from_parents([int(line.split()[1]) for line in (FOLDER / case["tree"]).read_text().splitlines()])


def loss_of(name: str) -> tuple[LossParts, np.ndarray]:
    case, golden = CASES[name], arrays("region_train")
    raw = torch.tensor(golden[f"{name}_input"], requires_grad=True)
    targets, image_labels = targets_of(golden[f"{name}_truth"], golden.get(f"{name}_map"), region_of(case).classes)
    tree = tree_of(case)
    parts = region_loss(
        raw,
        targets,
        region_of(case),
        settings_of(case),
        tree=None if tree is None else SiblingGroups.of(tree),
        warm_up=case["seen"] < WARM_UP_IMAGES,
        image_labels=image_labels,
        policy="darknet-2017-07",
    )
    parts.total().backward()
    assert raw.grad is not None
    return parts, raw.grad.numpy()


@pytest.mark.parametrize("name", CASES)
def test_gradient_is_darknets_delta(name: str) -> None:
    _, gradient = loss_of(name)
    assert_close(-gradient, arrays("region_train")[f"{name}_delta_in"], 1e-4, 1e-4)


@pytest.mark.parametrize("name", CASES)
def test_gradient_gives_the_cost_that_darknet_prints(name: str) -> None:
    _, gradient = loss_of(name)
    case, golden = CASES[name], arrays("region_train")
    shape = (case["batch"], case["n"], -1, case["h"], case["w"])
    logistic = 1 / (1 + np.exp(-golden[f"{name}_input"].astype(np.float64).reshape(shape)[:, :, [0, 1, 4]]))
    delta = gradient.astype(np.float64).reshape(shape)
    delta[:, :, [0, 1, 4]] /= logistic * (1 - logistic)  # Darknet sums its squares before it goes through the sigmoid
    assert np.square(delta).sum() == pytest.approx(float(golden[f"{name}_cost"][0]), rel=1e-4)


@pytest.mark.parametrize("name", CASES)
def test_statistics_are_those_that_darknet_prints(name: str) -> None:
    parts, _ = loss_of(name)
    seen = parts.statistics
    iou, probability, objectness, all_objectness, recall, count = arrays("region_train")[f"{name}_stats"]
    assert seen.objects == count
    if count:
        sums = torch.stack([seen.iou, seen.objectness, seen.recall]) / seen.objects
        assert sums.tolist() == pytest.approx([iou, objectness, recall], abs=1e-5)
    pseudo = np.empty(0) if parts.image_level is None else parts.image_level.probability.numpy()
    if taught := seen.objects + len(pseudo):  # Darknet's mean is over both kinds
        assert (float(seen.probability) + pseudo.sum()) / taught == pytest.approx(probability, abs=1e-5)
    case = CASES[name]
    assert float(seen.all_objectness) / (case["batch"] * case["n"] * case["h"] * case["w"]) == pytest.approx(
        all_objectness, abs=1e-5
    )


CLASSIFIERS = [case for case in parameters("classifier") if case.get("groups") == 1 and case["temperature"] == 1]


@pytest.mark.parametrize("case", CLASSIFIERS, ids=lambda case: case["name"])
def test_class_loss_is_darknets(case: dict) -> None:
    golden, name = arrays("classifier"), case["name"]
    target = golden[f"{name}_truth"]
    tree = tree_of(case)
    # The label is the class that is marked, on a tree the deepest node that is
    depths = np.zeros(target.shape[1]) if tree is None else tree.depths + 1
    labels = torch.tensor(np.where(target == 1, 1 + depths, 0).argmax(axis=1))
    logits = torch.tensor(golden[f"{name}_logits"], requires_grad=True)
    loss = class_loss(logits, labels, None if tree is None else SiblingGroups.of(tree)).sum()
    loss.backward()
    assert logits.grad is not None
    assert_close(-logits.grad.numpy(), golden[f"{name}_delta"], 2e-5, 1e-5)
    assert float(loss.detach()) == pytest.approx(float(golden[f"{name}_cost"][0]), rel=1e-4)
