"""What both fits share: their options, what they open, and the loop over batches on cached features."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from feature_cache import Features, Labels, read_labels, taps
from torch import Tensor

from yolo9000.architectures.torch import Network
from yolo9000.checkpoints.model import LoadedModel
from yolo9000.checkpoints.safetensors import read_checkpoint


def parser(description: str | None, files: Sequence[str], lr: float, decay: float) -> argparse.ArgumentParser:
    """The options of a fit; its files begin with ``start`` and end with ``cache`` and ``out``."""
    made = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in files:
        made.add_argument(name, type=Path)
    made.add_argument("--tables", type=Path, required=True, help="folder of the tables")
    made.add_argument("--parts", nargs="+", required=True, help="names of tables and of their cached features")
    made.add_argument("--epochs", type=int, default=6)
    made.add_argument("--lr", type=float, default=lr)
    made.add_argument("--decay", type=float, default=decay)
    return made


@dataclass(frozen=True)
class Start:
    """What a fit begins with.

    Attributes:
        model: the checkpoint.
        network: with its weights.
        features: cached outputs of its frozen layers.
        labels: what is known of each image, by file.
    """

    model: LoadedModel
    network: Network
    features: Features
    labels: dict[str, Labels]

    @classmethod
    def of(cls, options: argparse.Namespace) -> Start:
        """What the options name; also sets the seed."""
        torch.manual_seed(0)
        model = read_checkpoint(options.start)
        assert model.weights is not None
        assert model.tree is not None
        network = Network(model.weights.architecture)
        network.load(model.weights)
        labels = read_labels([options.tables / f"{part}.jsonl" for part in options.parts], model.tree.ids)
        return cls(model, network, Features(options.cache, options.parts, taps(model)), labels)


def minimize(
    optimizer: torch.optim.Optimizer,
    indices: Tensor,
    batch: int,
    epochs: int,
    losses: Callable[[Tensor], tuple[Tensor, Tensor]],
    report: Callable[[int, float], None],
) -> None:
    """Train with a learning rate that falls along a cosine, in another order each epoch.

    Args:
        optimizer: of what is trained.
        indices: of the training examples.
        batch: number of examples in a step.
        epochs: number of passes.
        losses: gives what a step minimizes, and the sum over its examples that is reported, from their indices.
        report: called after each epoch with its number from 1 and the mean of what is reported.
    """
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * -(-len(indices) // batch))
    for epoch in range(epochs):
        total = 0.0
        for chosen in indices[torch.randperm(len(indices))].split(batch):
            loss, reported = losses(chosen)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += float(reported.detach())
        report(epoch + 1, total / len(indices))
