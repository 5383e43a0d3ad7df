"""A detector with more class rows than channels is trained with class logits on demand, and comes out as with all."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support.small_data import write_voc_set
from support.training_runs import log_of

torch = pytest.importorskip("torch")

from yolo9000.architectures.layers import Architecture, Conv, MaxPool, Region  # noqa: E402
from yolo9000.architectures.torch import SplitHead, SplitNetwork  # noqa: E402
from yolo9000.architectures.weights import has_wide_head  # noqa: E402
from yolo9000.checkpoints.darknet.cfg import write_cfg  # noqa: E402
from yolo9000.checkpoints.safetensors import read_checkpoint  # noqa: E402
from yolo9000.training import learner, train  # noqa: E402

HEAD = Region(((1.5, 2.0), (3.0, 1.5)), 2, softmax=True)
WIDE = Architecture(
    (Conv(8), MaxPool(), Conv(8), MaxPool(), Conv(10, stride=2), Conv(HEAD.filters, 1, 1, 0, False, "linear"), HEAD),
    width=72,
    height=48,
)


def trained(folder: Path, name: str) -> tuple[list[dict], list[np.ndarray]]:
    """The log of a short training, and the weights that it ends with."""
    settings = {"epochs": 1, "batch": 3, "workers": 0, "seed": 1, "precision": "float32", "augment": {"jitter": 0.1}}
    network = {"name": str(folder / "net.cfg"), "size": [72, 48], "anchors": "architecture"}
    train(
        folder / "shapes", recipe=folder / "recipe.toml", out=folder / name, device="cpu", threads=1,
        notify=lambda message: None, network=network, **settings,
    )  # fmt: skip
    model = read_checkpoint(folder / name / "last.safetensors").trained_weights
    return log_of(folder / name), [p.weights for p in model.parameters if p is not None]


def test_training_on_demand_is_dense_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_voc_set(tmp_path / "shapes", train=6, val=2)
    (tmp_path / "net.cfg").write_text(write_cfg(WIDE))
    (tmp_path / "recipe.toml").write_text('task = "detect"\n')
    assert has_wide_head(WIDE)  # 14 filters read 10 channels
    heads: list[SplitHead] = []
    forward = SplitNetwork.forward

    def seen(*given: object, **named: object) -> SplitHead:
        heads.append(forward(*given, **named))  # type: ignore[arg-type]
        return heads[-1]

    monkeypatch.setattr(SplitNetwork, "forward", seen)
    log, weights = trained(tmp_path, "on-demand")
    assert len(heads) == 2  # steps of 3 of 6 images
    monkeypatch.setattr(learner, "has_wide_head", lambda architecture: False)
    dense_log, dense_weights = trained(tmp_path, "dense")
    assert len(heads) == 2
    losses, dense_losses = ([line["losses"] for line in lines if "losses" in line] for lines in (log, dense_log))
    assert losses
    for ours, theirs in zip(losses, dense_losses, strict=True):
        assert ours == pytest.approx(theirs, rel=1e-4)
    for kernel, dense_kernel in zip(weights, dense_weights, strict=True):
        np.testing.assert_allclose(kernel, dense_kernel, atol=1e-5)


def test_gradients_pass_through_data_parallelism(tmp_path: Path) -> None:
    """A process that is alone averages with nobody: the gradients are those of the network itself."""
    from torch import distributed
    from torch.nn.parallel import DistributedDataParallel

    from yolo9000.architectures.torch import Network

    torch.manual_seed(0)
    network = Network(WIDE).train()
    images = torch.rand(2, 3, 48, 72)
    where = torch.tensor([[0, 1, 2, 3], [1, 0, 5, 0]]).unbind(1)

    def gradients(module: torch.nn.Module) -> list[torch.Tensor]:
        network.zero_grad()
        head = module(images)
        (head.boxes.square().sum() + head.class_logits(*where).logsumexp(1).sum()).backward()
        return [p.grad.clone() for p in network.parameters() if p.grad is not None]

    alone = gradients(SplitNetwork(network))
    distributed.init_process_group("gloo", init_method=(tmp_path / "store").as_uri(), rank=0, world_size=1)
    try:
        parallel = gradients(DistributedDataParallel(SplitNetwork(network)))
    finally:
        distributed.destroy_process_group()
    assert len(parallel) == len(alone) == 3 * 3 + 2
    for one, other in zip(parallel, alone, strict=True):
        torch.testing.assert_close(one, other)
