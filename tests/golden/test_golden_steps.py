"""Five training steps of Darknet's C program, repeated: batch norm as cuDNN's, loss, gradients, momentum, decay."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from support.golden import FOLDER, arrays, assert_close, parameters
from support.golden_targets import WARM_UP_IMAGES, targets_of

from yolo9000.architectures.layers import Region
from yolo9000.architectures.torch import Network
from yolo9000.checkpoints.darknet.cfg import read_cfg
from yolo9000.checkpoints.darknet.weights import read_weights
from yolo9000.losses.classification import SiblingGroups, class_loss
from yolo9000.losses.region import region_loss
from yolo9000.losses.settings import LossSettings
from yolo9000.taxonomy.wordtree import WordTree
from yolo9000.training.optimizer import make_optimizer
from yolo9000.training.recipe import OptimizerSettings

NAMES = ("train_region", "train_region_tree", "train_softmax", "train_softmax_tree")
STEPS = 5
# Of a [region] section. Darknet: src/parser.c parse_region
DARKNET_DEFAULTS = {"object_scale": 1.0, "thresh": 0.5, "rescore": False, "bias_match": False}


def tree_of(name: str) -> SiblingGroups | None:
    if not name.endswith("tree"):
        return None
    lines = (FOLDER / "trees" / "tree26.tree").read_text().splitlines()
    return SiblingGroups.of(WordTree.from_parents([int(line.split()[1]) for line in lines]))


@pytest.mark.parametrize("subdivisions", [1, 2])
@pytest.mark.parametrize("name", NAMES)
def test_five_steps_are_darknets(name: str, subdivisions: int) -> None:
    facts, golden = parameters("train/train")[name], arrays(f"train/{name}")
    architecture = read_cfg(FOLDER / "train" / f"{name}_sub{subdivisions}.cfg")
    header, model = read_weights(FOLDER / "train" / f"{name}.weights", architecture)
    network = Network(architecture).train()
    network.load(model)
    settings = OptimizerSettings(momentum=facts["momentum"], weight_decay=facts["decay"])
    optimizer = make_optimizer(list(network.layers), settings)
    tree, tag, batch = tree_of(name), f"sub{subdivisions}_cudnn", facts["batch"]
    seen = header.seen
    for step in range(STEPS):
        optimizer.zero_grad()
        for part in np.split(np.arange(batch), subdivisions):
            seen += len(part)
            (raw,) = network(torch.tensor(golden["input"][step, part]))
            target = golden["truth"][step, part]
            (loss_of(raw, target, architecture.head, tree, seen) / batch).backward()
        for group in optimizer.param_groups:
            group["lr"] = float(golden[f"{tag}_lr"][step])
        optimizer.step()
        compare(network, {key.removeprefix(tag): value[step] for key, value in golden.items() if f"{tag}_L" in key})


def loss_of(raw: torch.Tensor, target: np.ndarray, head: object, tree: SiblingGroups | None, seen: int) -> torch.Tensor:
    if isinstance(head, Region):
        targets, image_labels = targets_of(target, None, head.classes)
        settings = LossSettings(**DARKNET_DEFAULTS | {k: v for k, v in head.training if k in LossSettings.model_fields})
        return region_loss(
            raw,
            targets,
            head,
            settings,
            tree=tree,
            warm_up=seen < WARM_UP_IMAGES,
            image_labels=image_labels,
            policy="darknet-2017-07",
        ).total()
    marked = np.where(target == 1, 1, 0)
    depths = np.zeros(target.shape[1]) if tree is None else (tree.paths >= 0).sum(1).numpy()
    labels = torch.tensor((marked * (1 + depths)).argmax(axis=1))
    return class_loss(raw.flatten(1), labels, tree).sum()


def compare(network: Network, theirs: dict[str, np.ndarray]) -> None:
    assert theirs
    ours = network.to_model().parameters
    for key, value in theirs.items():
        layer, kind = key.removeprefix("_L").split("_", 1)
        own = ours[int(layer)]
        assert own is not None
        holder = own if kind in ("weights", "biases") else own.batch_norm
        assert_close(getattr(holder, kind), value, 3e-5)
