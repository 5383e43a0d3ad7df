"""The recorded networks: read, run in torch, and activated as Darknet activates its last layer."""

from __future__ import annotations

import numpy as np
import torch

from support.golden import FOLDER
from yolo9000.architectures.layers import Region
from yolo9000.architectures.torch import Network
from yolo9000.architectures.weights import Model
from yolo9000.checkpoints.darknet.cfg import read_cfg
from yolo9000.checkpoints.darknet.weights import read_weights

FORMS = {"gpu": "eps_inside_sqrt", "cpu": "eps_outside_sqrt"}


def load(name: str, meaning: str = "gpu") -> Model:
    architecture = read_cfg(FOLDER / "nets" / f"{name}.cfg", batch_norm=FORMS[meaning])
    return read_weights(FOLDER / "nets" / f"{name}.weights", architecture)[1]


def run_torch(model: Model, images: np.ndarray, taps: tuple[int, ...]) -> list[np.ndarray]:
    network = Network(model.architecture).eval()
    network.load(model)
    with torch.inference_mode():
        return [out.numpy() for out in network(torch.from_numpy(images), taps)]


def activated(model: Model, raw: np.ndarray) -> np.ndarray:
    """What the C program's last layer gives: logistic of x, y, objectness; softmax of the classes."""
    head = model.architecture.head
    if not isinstance(head, Region):
        exponentials = np.exp(raw - raw.max(axis=1, keepdims=True))
        return exponentials / exponentials.sum(axis=1, keepdims=True)
    n, _, h, w = raw.shape
    t = raw.reshape(n, len(head.anchors_wh_cells), -1, h, w).copy()
    for entry in (0, 1, 4):
        t[:, :, entry] = 1 / (1 + np.exp(-t[:, :, entry]))
    exponentials = np.exp(t[:, :, 5:] - t[:, :, 5:].max(axis=2, keepdims=True))
    t[:, :, 5:] = exponentials / exponentials.sum(axis=2, keepdims=True)
    return t
