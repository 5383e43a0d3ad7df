"""Networks that run in parts: from known outputs, with frozen layers, with class logits on demand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from support.small_models import random_model

from yolo9000.architectures.layers import (
    Architecture,
    Conv,
    Dropout,
    MaxPool,
    Region,
    Reorg,
    Route,
    Shortcut,
    Softmax,
)
from yolo9000.architectures.weights import split_head
from yolo9000.errors import ConfigError

torch = pytest.importorskip("torch")

from yolo9000.architectures.torch import ConvLayer, Network, SplitNetwork  # noqa: E402

ANCHORS = ((1.0, 2.0), (3.0, 1.5))
LAST = Conv(2 * (5 + 7), 1, 1, 0, False, "linear")
TWO_TRUNKS = Architecture(
    (
        Conv(3, 1, 1, 0, False, "linear", groups=3),  # 0: 24 x 16
        Conv(6),  # 1
        MaxPool(),  # 2: 12 x 8
        Conv(6, 1, padding=0),  # 3
        Shortcut(2),  # 4: 3 + 2, the end of the first trunk
        Route((0,)),  # 5: the second trunk starts at the input too
        Conv(4, 3, 2, activation="relu6"),  # 6: 12 x 8
        Route((4, 6)),  # 7: 10 channels
        Conv(8),  # 8
        Route((1,)),  # 9: 24 x 16
        Reorg(2, "space_to_depth"),  # 10: 24 channels at 12 x 8
        Route((8, 10)),  # 11: 32 channels
        Dropout(0.5),  # 12
        LAST,  # 13
        Region(ANCHORS, 7),
    ),
    width=24,
    height=16,
)
TRUNKS = (0, 1, 3, 6)  # their convolutions


def network_of(architecture: Architecture = TWO_TRUNKS, seed: int = 1) -> Network:
    network = Network(architecture)
    network.load(random_model(architecture, seed))
    return network.eval()


def images(n: int = 2) -> torch.Tensor:
    return torch.rand((n, 3, 16, 24), generator=torch.Generator().manual_seed(n))


def calls_of(network: Network) -> list[int]:
    """Indices of the layers that run from now on."""
    calls: list[int] = []
    for index, layer in enumerate(network.layers):
        layer.register_forward_hook(lambda *_, index=index: calls.append(index))
    return calls


def test_inputs_of_layers() -> None:
    assert TWO_TRUNKS.inputs() == (
        *((-1,), (0,), (1,), (2,), (3, 2), (0,), (5,), (4, 6), (7,), (1,), (9,), (8, 10), (11,), (12,)),
    )


@pytest.mark.parametrize(
    ("frozen", "fixed", "taps"),
    [
        # All that the trunks compute, and what is rearranged of it; a layer that learns reads 7, a route that does 10
        (TRUNKS, (0, 1, 2, 3, 4, 5, 6, 7, 9, 10), (7, 10)),
        ((0, 1), (0, 1, 2, 5, 9, 10), (0, 2, 10)),  # 2 twice, by a convolution and a shortcut; 5 passes 0 on
        ((0, 3, 6), (0, 5, 6), (0, 6)),  # convolution 1 learns, so that 3 is frozen and not fixed
        ((), (), ()),
        ((*TRUNKS, 8, 13), (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11), (11,)),  # a dropout is random
        ((*TRUNKS, 8, 12, 13), tuple(range(14)), ()),
    ],
)
def test_what_a_feature_cache_must_hold(frozen: tuple[int, ...], fixed: tuple[int, ...], taps: tuple[int, ...]) -> None:
    assert TWO_TRUNKS.fixed(frozen) == fixed
    assert TWO_TRUNKS.cached_taps(frozen) == taps


def test_given_outputs_are_not_computed() -> None:
    network, taps = network_of(), TWO_TRUNKS.cached_taps(TRUNKS)
    with torch.no_grad():
        (expected,) = network(images())
        cached = dict(zip(taps, network(images(), taps), strict=True))
        calls = calls_of(network)
        (out,) = network(None, given=cached)
    assert torch.equal(out, expected)
    assert calls == [8, 11, 12, 13]
    assert sorted(cached) == [7, 10]  # not changed


def test_only_what_taps_need_is_computed() -> None:
    network = network_of()
    calls = calls_of(network)
    with torch.no_grad():
        six, one = network(images(), (6, 1))
        assert calls == [0, 1, 5, 6]
        assert six.shape == (2, 4, 8, 12)
        assert one.shape == (2, 6, 16, 24)
        again = network(None, (6, -1 - 13), {6: six, 0: one})
    assert again[0] is six
    assert again[1] is one
    assert len(calls) == 4


def test_images_that_are_needed_must_be_there() -> None:
    network = network_of()
    with pytest.raises(ConfigError, match=r"^layer 0 \(depthwise 1x1, 3 filters\): needs images, got None$"):
        network(None, given={7: torch.zeros(1, 10, 8, 12)})


def test_frozen_layers_do_not_change_and_the_others_do() -> None:
    network = network_of().train()
    network.freeze(TRUNKS)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    optimizer = torch.optim.SGD([p for p in network.parameters() if p.requires_grad], lr=0.1)
    for _ in range(2):
        network.train()
        network(images())[0].square().mean().backward()
        optimizer.step()
    after = network.state_dict()
    changed = {int(name.split(".")[1]) for name in after if not torch.equal(after[name], before[name])}
    assert changed == {8, 13}
    statistics = [name for name in after if "layers.8." in name and "running" in name]
    assert len(statistics) == 2
    assert all(not torch.equal(after[name], before[name]) for name in statistics)


def test_a_cache_gives_the_same_gradients_in_training() -> None:
    architecture = replace(
        TWO_TRUNKS, layers=tuple(Dropout(0.0) if isinstance(x, Dropout) else x for x in TWO_TRUNKS.layers)
    )
    whole, cached = network_of(architecture).train(), network_of(architecture).train()
    whole.freeze(TRUNKS)
    cached.freeze(TRUNKS)
    taps = architecture.cached_taps(TRUNKS)
    with torch.no_grad():
        given = dict(zip(taps, cached(images(), taps), strict=True))
    whole(images())[0].square().sum().backward()
    cached(None, given=given)[0].square().sum().backward()
    gradients = [p.grad for p in whole.parameters() if p.grad is not None]
    assert len(gradients) == 3 + 2  # kernel, scale and shift of layer 8; kernel and bias of the last
    for (name, a), b in zip(whole.named_parameters(), cached.parameters(), strict=True):
        assert (a.grad is None) == (b.grad is None), name
        assert a.grad is None or torch.equal(a.grad, b.grad), name


def test_freezing_can_be_undone() -> None:
    network = network_of().train()
    network.freeze(TRUNKS)
    assert not network.layers[1].training
    network.freeze(())
    assert all(layer.training for layer in network.layers)
    assert all(p.requires_grad for p in network.parameters())


# Class logits on demand


def test_split_gives_the_dense_output() -> None:
    network = network_of()
    with torch.no_grad():
        dense = network(images())[0].reshape(2, 2, 5 + 7, 8, 12)
        head = network.split(images())
        torch.testing.assert_close(head.boxes, dense[:, :, :5])
        torch.testing.assert_close(head.all_class_logits(), dense[:, :, 5:])
        torch.testing.assert_close(head.all_class_logits(torch.tensor([1])), dense[1:, :, 5:])
        assert torch.equal(head.features, network(images(), (-2,))[0])


def test_split_weights_are_those_of_the_split_model() -> None:
    body, class_rows = split_head(random_model(TWO_TRUNKS, 1))
    head = network_of().split(images())
    np.testing.assert_array_equal(head.weights.detach().numpy(), class_rows.weights)
    np.testing.assert_array_equal(head.biases.detach().numpy(), class_rows.biases)
    network = Network(body.architecture).eval()
    network.load(body)
    torch.testing.assert_close(head.boxes.flatten(1, 2), network(images())[0])


POSITIONS = torch.tensor([[1, 0, 7, 11], [0, 1, 0, 3], [1, 0, 2, 0], [0, 0, 7, 11], [1, 0, 7, 11]])


def test_class_logits_of_single_anchors() -> None:
    head = network_of().split(images())
    logits = head.class_logits(*POSITIONS.unbind(1))
    dense = head.all_class_logits()
    assert logits.shape == (5, 7)
    for row, (image, anchor, y, x) in zip(logits, POSITIONS.tolist(), strict=True):
        torch.testing.assert_close(row, dense[image, anchor, :, y, x])
    assert head.class_logits(*torch.zeros((4, 0), dtype=torch.int64)).shape == (0, 7)


def test_gradients_on_demand_are_the_dense_ones() -> None:
    """The loss reads all boxes and the class logits of a few anchors, once from either output.

    In float64, but for the class logits on demand; gradients of hundreds are rounded by more than their small elements.
    """
    dense, lazy = network_of().double().train(), network_of().double().train()
    dense.freeze([12])  # the dropout
    lazy.freeze([12])
    i, a, y, x = POSITIONS.unbind(1)
    whole = dense(images().double())[0].reshape(2, 2, 5 + 7, 8, 12)
    (whole[:, :, :5].square().sum() + whole[i, a, 5:, y, x].logsumexp(1).sum()).backward()
    head = lazy.split(images().double())
    (head.boxes.square().sum() + head.class_logits(i, a, y, x).logsumexp(1).sum()).backward()
    for (name, one), other in zip(dense.named_parameters(), lazy.parameters(), strict=True):
        assert one.grad is not None
        torch.testing.assert_close(one.grad, other.grad, rtol=0, atol=1e-8 * float(one.grad.abs().max()), msg=name)


def test_half_precision_features_give_float32_logits() -> None:
    network = network_of()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        head = network.split(images())
    assert head.features.dtype == torch.bfloat16
    assert head.class_logits(*POSITIONS.unbind(1)).dtype == torch.float32
    assert head.all_class_logits().dtype == torch.float32


@pytest.mark.parametrize(("size", "stride"), [(3, 2), (7, 1), (3, 1)])
def test_depthwise_convolutions_learn_the_same_in_half_precision(size: int, stride: int) -> None:
    """Some are computed in float32 there, for speed; what goes in and out is rounded all the same."""
    row = Conv(6, size, stride, size // 2, True, "leaky", groups=6)
    layer = ConvLayer(row, 6)
    x = torch.rand(2, 6, 10, 14, generator=torch.Generator().manual_seed(0)).bfloat16().float()
    whole = torch.autograd.grad(layer(x).square().sum(), layer.conv.weight)[0]
    with torch.autocast("cpu", torch.bfloat16):
        out = layer(x.bfloat16())
    assert out.dtype == torch.bfloat16
    half = torch.autograd.grad(out.float().square().sum(), layer.conv.weight)[0]
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, whole, rtol=0, atol=0.05 * float(whole.abs().max()))


def test_split_from_a_cache_and_as_a_module() -> None:
    network, taps = network_of(), TWO_TRUNKS.cached_taps(TRUNKS)
    with torch.no_grad():
        given = dict(zip(taps, network(images(), taps), strict=True))
        a, b = SplitNetwork(network)(None, given), network.split(images())
    assert torch.equal(a.boxes, b.boxes)
    assert torch.equal(a.features, b.features)
    assert {id(p) for p in SplitNetwork(network).parameters()} == {id(p) for p in network.parameters()}


@pytest.mark.parametrize(
    "layers",
    [
        (Conv(4), LAST),
        (Conv(4), LAST, Softmax()),
        (Conv(4), replace(LAST, activation="leaky"), Region(ANCHORS, 7)),
        (Conv(4), replace(LAST, batch_normalize=True), Region(ANCHORS, 7)),
        (LAST, Region(ANCHORS, 7)),
    ],
)
def test_what_cannot_be_split(layers: tuple) -> None:
    network = Network(Architecture(layers, width=24, height=16))
    with pytest.raises(ConfigError, match=r"^class logits can be split off only"):
        network.split(images())
