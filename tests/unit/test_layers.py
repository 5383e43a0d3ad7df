"""The layers in torch against loops over single values, and networks of a few layers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from yolo9000.architectures.layers import (
    ACTIVATIONS,
    Activation,
    Architecture,
    AvgPool,
    Conv,
    Dropout,
    Layer,
    MaxPool,
    Region,
    Reorg,
    Route,
    Shortcut,
    Softmax,
    Upsample,
)
from yolo9000.architectures.weights import Model, check_parameters
from yolo9000.errors import ConfigError

torch = pytest.importorskip("torch")

from yolo9000.architectures.torch import (  # noqa: E402
    BATCH_NORM_MOMENTUM,
    ConvLayer,
    MaxPoolLayer,
    Network,
    ReorgLayer,
    activate,
    darknet_reorg,
    space_to_depth,
)


def random_array(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).normal(size=shape).astype(np.float32)


# The passthrough


def reorg_by_index(x: np.ndarray, s: int) -> np.ndarray:
    """Darknet's loop (src/blas.c reorg_cpu with forward = 0): each output value and the position it is read from."""
    n, c, h, w = x.shape
    source, out = x.reshape(-1), np.empty(x.size, x.dtype)
    out_c = c // s**2
    for b in range(n):
        for k in range(c):
            for j in range(h):
                for i in range(w):
                    c2, offset = k % out_c, k // out_c
                    w2, h2 = i * s + offset % s, j * s + offset // s
                    position = w2 + w * s * (h2 + h * s * (c2 + out_c * b))
                    out[i + w * (j + h * (k + c * b))] = source[position]
    return out.reshape(n, c * s**2, h // s, w // s)


def blocks_by_index(x: np.ndarray, s: int) -> np.ndarray:
    """Pixel (row r, column q) of each s x s block makes the channels (r s + q) C to (r s + q + 1) C - 1."""
    n, c, h, w = x.shape
    out = np.empty((n, c * s**2, h // s, w // s), x.dtype)
    for (b, k, y, z), value in np.ndenumerate(x):
        out[b, (y % s * s + z % s) * c + k, y // s, z // s] = value
    return out


REORG_SHAPES = [(1, 4, 2, 6, 2), (2, 8, 4, 6, 2), (3, 16, 6, 2, 2), (2, 9, 3, 6, 3), (1, 16, 8, 4, 4), (2, 5, 3, 4, 1)]


@pytest.mark.parametrize(("n", "c", "h", "w", "s"), REORG_SHAPES)
def test_darknet_reorg(n: int, c: int, h: int, w: int, s: int) -> None:
    x = np.arange(n * c * h * w, dtype=np.float32).reshape(n, c, h, w)
    np.testing.assert_array_equal(darknet_reorg(torch.from_numpy(x), s).numpy(), reorg_by_index(x, s))
    layer = ReorgLayer(s, "darknet")
    np.testing.assert_array_equal(layer(torch.from_numpy(x)).numpy(), reorg_by_index(x, s))


@pytest.mark.parametrize(("n", "c", "h", "w", "s"), [*REORG_SHAPES, (2, 3, 4, 6, 2)])
def test_space_to_depth(n: int, c: int, h: int, w: int, s: int) -> None:
    x = np.arange(n * c * h * w, dtype=np.float32).reshape(n, c, h, w)
    np.testing.assert_array_equal(space_to_depth(torch.from_numpy(x), s).numpy(), blocks_by_index(x, s))
    layer = ReorgLayer(s, "space_to_depth")
    np.testing.assert_array_equal(layer(torch.from_numpy(x)).numpy(), blocks_by_index(x, s))


def test_the_two_orders_differ() -> None:
    x = torch.arange(2 * 8 * 4 * 6.0).reshape(2, 8, 4, 6)
    assert not torch.equal(darknet_reorg(x, 2), space_to_depth(x, 2))


def test_reorg_of_other_memory_orders() -> None:
    x = torch.from_numpy(random_array(2, 8, 4, 6))
    last = x.to(memory_format=torch.channels_last)
    for reorg in (darknet_reorg, space_to_depth):
        assert torch.equal(reorg(last, 2), reorg(x, 2))


# Pooling


def max_pool_by_index(x: np.ndarray, layer: MaxPool) -> np.ndarray:
    """Windows begin ``padding // 2`` above and left of the map; what lies outside it does not count."""
    n, c, h, w = x.shape
    before = layer.padding // 2
    out_h, out_w = ((length + layer.padding - layer.size) // layer.stride + 1 for length in (h, w))
    out = np.full((n, c, out_h, out_w), -np.inf, x.dtype)
    for b, k, i, j in np.ndindex(n, c, out_h, out_w):
        for y in range(i * layer.stride - before, i * layer.stride - before + layer.size):
            for z in range(j * layer.stride - before, j * layer.stride - before + layer.size):
                if 0 <= y < h and 0 <= z < w:
                    out[b, k, i, j] = max(out[b, k, i, j], x[b, k, y, z])
    return out


POOLS = [
    MaxPool(2, 2),  # the usual one: rounds up
    MaxPool(2, 1, 1),  # of the tiny networks: keeps the size
    MaxPool(2, 2, 0),  # rounds down
    MaxPool(3, 2, 2),
    MaxPool(3, 2, 1),
    MaxPool(3, 2, 0),
    MaxPool(3, 1, 2),
    MaxPool(3, 3, 2),
    MaxPool(2, 1, 0),
    MaxPool(2, 2, 2),
    MaxPool(5, 1, 4),
    MaxPool(1, 1, 0),
]


@pytest.mark.parametrize("size", [(4, 6), (5, 7), (5, 8), (7, 3)])
@pytest.mark.parametrize("layer", POOLS, ids=lambda layer: f"{layer.size}/{layer.stride}+{layer.padding}")
def test_max_pool(layer: MaxPool, size: tuple[int, int]) -> None:
    if min(size) + layer.padding < layer.size:
        pytest.skip("the window is larger than the map")
    x = random_array(2, 3, *size) - 3  # mostly negative, so that a padding of zeros would win
    expected = max_pool_by_index(x, layer)
    out = MaxPoolLayer(layer)(torch.from_numpy(x)).numpy()
    np.testing.assert_array_equal(out, expected)
    assert Architecture((layer,), *reversed(size)).shapes() == [(3, *expected.shape[2:])]


# Convolution


def conv_by_index(x: np.ndarray, weights: np.ndarray, stride: int, padding: int) -> np.ndarray:
    n, _, h, w = x.shape
    filters, _, size, _ = weights.shape
    padded = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    out_h, out_w = ((length + 2 * padding - size) // stride + 1 for length in (h, w))
    out = np.empty((n, filters, out_h, out_w))
    for b, f, i, j in np.ndindex(out.shape):
        window = padded[b, :, i * stride : i * stride + size, j * stride : j * stride + size]
        out[b, f, i, j] = (window.astype(np.float64) * weights[f]).sum()
    return out


ACTIVATED = {
    "leaky": lambda x: np.where(x > 0, x, 0.1 * x),
    "linear": lambda x: x,
    "logistic": lambda x: 1 / (1 + np.exp(-x)),
    "relu": lambda x: np.maximum(x, 0),
    "relu6": lambda x: np.clip(x, 0, 6),
    "swish": lambda x: x / (1 + np.exp(-x)),
}


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize(("size", "stride", "padding"), [(3, 1, 1), (1, 1, 0), (3, 2, 1), (3, 1, 0), (5, 2, 2)])
@pytest.mark.parametrize("batch_normalize", [False, True])
def test_convolution(size: int, stride: int, padding: int, batch_normalize: bool, activation: Activation) -> None:
    layer = Conv(4, size, stride, padding, batch_normalize, activation)
    layer = ConvLayer(layer, 3).eval()
    assert (layer.conv.bias is None) == batch_normalize
    x, biases = random_array(2, 3, 5, 7), random_array(4)
    scales, mean, variance = random_array(4, 1)[:, 0], random_array(4, 2)[:, 0], random_array(4, 3)[:, 0] ** 2 + 0.5
    raw = conv_by_index(x, layer.conv.weight.detach().numpy(), stride, padding)
    if layer.norm is None:
        layer.conv.bias.data = torch.from_numpy(biases)
    else:
        layer.norm.weight.data, layer.norm.bias.data = torch.from_numpy(scales), torch.from_numpy(biases)
        layer.norm.running_mean, layer.norm.running_var = torch.from_numpy(mean), torch.from_numpy(variance)
        each = (slice(None), None, None)
        raw = (raw - mean[each]) / np.sqrt(variance[each] + 1e-5) * scales[each]
    expected = ACTIVATED[activation](raw + biases[:, None, None])
    with torch.no_grad():
        np.testing.assert_allclose(layer(torch.from_numpy(x)).numpy(), expected, atol=1e-5)


def grouped_by_index(x: np.ndarray, weights: np.ndarray, layer: Conv) -> np.ndarray:
    """Each part of the filters over its own part of the channels, the zeros at the end laid out by hand."""
    end = layer.end_padding
    parts = zip(np.split(x, layer.groups, axis=1), np.split(weights, layer.groups), strict=True)
    outs = []
    for part, kernels in parts:
        sides = (layer.padding, layer.padding + end)
        padded = np.pad(part, ((0, 0), (0, 0), sides, sides))
        outs.append(conv_by_index(padded, kernels, layer.stride, 0))
    return np.concatenate(outs, axis=1)


GROUPED = [
    Conv(6, 3, 1, 1, False, "linear", groups=2),
    Conv(4, 3, 1, 1, False, "relu6", groups=4),  # depthwise
    Conv(8, 1, 1, 0, False, "linear", groups=4),  # two filters a channel
    Conv(4, 3, 2, 0, False, "swish", groups=4, end_padding=1),
    Conv(4, 5, 2, 1, False, "linear", groups=4, end_padding=1),
    Conv(6, 3, 2, 0, False, "relu", end_padding=1),
]


@pytest.mark.parametrize(
    "layer", GROUPED, ids=lambda layer: f"{layer.size}/{layer.stride} g{layer.groups} f{layer.filters}"
)
def test_grouped_convolution(layer: Conv) -> None:
    module, x, biases = ConvLayer(layer, 4).eval(), random_array(2, 4, 6, 10), random_array(layer.filters)
    weights = random_array(*layer.kernel_shape(4))
    assert module.conv.weight.shape == weights.shape
    module.conv.weight.data, module.conv.bias.data = torch.from_numpy(weights), torch.from_numpy(biases)
    expected = ACTIVATED[layer.activation](grouped_by_index(x, weights, layer) + biases[:, None, None])
    with torch.no_grad():
        out = module(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(out, expected, atol=1e-5)
    assert Architecture((layer,), width=10, height=6, channels=4).shapes() == [expected.shape[1:]]


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_activations(activation: Activation) -> None:
    x = np.array([-100, -2, -0.5, 0, 0.5, 2, 100], np.float32)
    np.testing.assert_allclose(
        activate(torch.from_numpy(x.copy()), activation), ACTIVATED[activation](x.astype(float)), atol=1e-6
    )


def test_batch_norm_remembers_as_darknet_does() -> None:
    """Rolling statistics are .99 of the old and .01 of the batch's; the variance is the unbiased one."""
    assert BATCH_NORM_MOMENTUM == 0.01
    layer = ConvLayer(Conv(2, 1, padding=0, activation="linear"), 2).train()
    layer.conv.weight.data = torch.eye(2)[:, :, None, None]
    x = random_array(3, 2, 4, 5)
    layer(torch.from_numpy(x))
    np.testing.assert_allclose(layer.norm.running_mean, 0.01 * x.mean(axis=(0, 2, 3)), atol=1e-6)
    variance = x.var(axis=(0, 2, 3), ddof=1)
    np.testing.assert_allclose(layer.norm.running_var, 0.99 + 0.01 * variance, rtol=1e-6)


# Networks


def conv(filters: int, size: int = 3, **rest) -> Conv:
    return Conv(filters, size, padding=size // 2, **rest)


LAYERS: tuple[Layer, ...] = (
    conv(8),  # 0
    MaxPool(),  # 1
    conv(8),  # 2: 24 x 16 where the input is 48 x 32
    MaxPool(),  # 3
    conv(12),  # 4: 12 x 8
    Route((2,)),  # 5
    conv(4, 1),  # 6
    Reorg(2),  # 7
    Route((-1, -4)),  # 8: 16 + 12 channels
    Dropout(),  # 9
    conv(10, activation="relu"),  # 10
    Conv(14, 1, 1, 0, False, "linear"),  # 11
    Region(((1.0, 2.0), (3.0, 1.0)), classes=2),
)
ARCHITECTURE = Architecture(LAYERS, width=48, height=32)


def seeded(architecture: Architecture, seed: int = 1) -> Network:
    torch.manual_seed(seed)
    return Network(architecture)


def random_input(n: int = 2, channels: int = 3, height: int = 32, width: int = 48):
    return torch.rand((n, channels, height, width), generator=torch.Generator().manual_seed(7))


def test_taps_give_the_outputs_of_layers() -> None:
    network, images = seeded(ARCHITECTURE).eval(), random_input()
    taps = tuple(range(len(ARCHITECTURE.body)))
    with torch.no_grad():
        outs = network(images, taps)
        assert [tuple(out.shape) for out in outs] == [(2, *shape) for shape in ARCHITECTURE.shapes()[:-1]]
        before = dict(enumerate(outs))
        for index in (1, 2, 3, 4, 6, 7, 9, 10, 11):  # all but routes read the layer before
            assert torch.equal(network.layers[index](before[index - 1].clone()), outs[index])
        assert torch.equal(outs[5], outs[2])
        assert torch.equal(outs[8], torch.cat([outs[7], outs[4]], dim=1))
        assert torch.equal(outs[9], outs[8])
        (last,) = network(images)
        assert torch.equal(last, outs[-1])
        boxes, features, again = network(images, (-1, -2, -1))
        assert torch.equal(boxes, last)
        assert torch.equal(features, outs[10])
        assert torch.equal(again, last)


def test_later_layers_do_not_write_into_taps() -> None:
    """Activations write into their input; that must never be another layer's output."""
    layers = (conv(4, activation="linear", batch_normalize=False), Route((0,)), Dropout(), conv(4, 1), Route((0, 3)))
    network, images = seeded(Architecture(layers, width=6, height=4)).eval(), random_input(1, 3, 4, 6)
    with torch.no_grad():
        first, joined = network(images, (0, 4))
        assert torch.equal(first, network(images, (0,))[0])
        assert torch.equal(joined[:, :4], first)


LIGHT = Architecture(
    (
        Conv(3, 1, 1, 0, False, "linear", groups=3),  # 0: the scale of the input
        Conv(4, 3, 2, 0, True, "relu6", end_padding=1),  # 1: 24 x 16 where the input is 48 x 32
        conv(12, 1, activation="relu6"),  # 2
        conv(12, 5, groups=12, activation="relu6"),  # 3
        conv(4, 1, activation="linear"),  # 4
        Shortcut(-4),  # 5: 4 + 1
        conv(4, groups=2, stride=2, activation="swish"),  # 6: 12 x 8
        Upsample(2),  # 7: 24 x 16
        Shortcut(5, "swish"),  # 8
        Route((-1, 1)),  # 9
        Reorg(2, "space_to_depth"),  # 10
        Conv(14, 1, 1, 0, False, "linear"),  # 11
        Region(((1.0, 2.0), (3.0, 1.0)), classes=2),
    ),
    width=48,
    height=32,
)


def test_shortcut_and_upsample() -> None:
    network, images = trained(LIGHT, 3), 40 * random_input() - 20
    with torch.no_grad():
        outs = [out.numpy() for out in network(images, tuple(range(len(LIGHT.body))))]
    assert [out.shape[1:] for out in outs] == LIGHT.shapes()[:-1]
    np.testing.assert_array_equal(outs[5], outs[4] + outs[1])
    for (b, c, y, x), value in np.ndenumerate(outs[7]):
        assert value == outs[6][b, c, y // 2, x // 2]
    np.testing.assert_allclose(outs[8], ACTIVATED["swish"](outs[7].astype(np.float64) + outs[5]), atol=1e-5)
    assert (outs[1].min(), outs[1].max()) == (0, 6)  # relu6 cuts off on both sides


def test_gradients_reach_every_light_layer() -> None:
    network = seeded(LIGHT).train()
    (network(random_input(3))[0] ** 2).sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


def test_light_layers_out_and_in_again() -> None:
    model = trained(LIGHT, 1).to_model()
    check_parameters(model)
    other = trained(LIGHT, 2)
    other.load(model)
    assert_same_parameters(other.to_model(), model)


def test_input_of_another_size_and_batch() -> None:
    network = seeded(ARCHITECTURE).eval()
    with torch.no_grad():
        (out,) = network(random_input(3, 3, 16, 40))
        assert out.shape == (3, 14, 4, 10)
        (alone,) = network(random_input(3, 3, 16, 40)[1:2])
        torch.testing.assert_close(alone[0], out[1])


def test_classifier_layers() -> None:
    architecture = Architecture((conv(6), Conv(5, 1, 1, 0, False, "linear"), AvgPool(), Softmax()), width=10, height=6)
    network = seeded(architecture).eval()
    with torch.no_grad():
        scores, means = network(random_input(2, 3, 6, 10), (1, 2))
    torch.testing.assert_close(means[:, :, 0, 0], scores.mean(dim=(2, 3)))


def test_dropout_in_training_only() -> None:
    network = seeded(Architecture((conv(4), Dropout(0.9)), width=10, height=6))
    with torch.no_grad():
        before, after = network.train()(random_input(2, 3, 6, 10), (0, 1))
        assert (after == 0).float().mean() > 0.5
        kept = after != 0
        torch.testing.assert_close(after[kept], before[kept] * 10)
        before, after = network.eval()(random_input(2, 3, 6, 10), (0, 1))
        assert torch.equal(before, after)


def assert_same_parameters(ours: Model, theirs: Model) -> None:
    assert ours.architecture == theirs.architecture
    for a, b in zip(ours.parameters, theirs.parameters, strict=True):
        assert (a is None) == (b is None)
        if a is not None and b is not None:
            np.testing.assert_array_equal(a.weights, b.weights)
            np.testing.assert_array_equal(a.biases, b.biases)
            assert (a.batch_norm is None) == (b.batch_norm is None)
            for name, values in vars(a.batch_norm).items() if a.batch_norm else ():
                np.testing.assert_array_equal(values, vars(b.batch_norm)[name])


def trained(architecture: Architecture, seed: int) -> Network:
    """A network whose every number has moved away from where it began."""
    network = seeded(architecture, seed)
    with torch.no_grad():
        for tensor in network.state_dict().values():
            if tensor.is_floating_point():
                tensor.add_(torch.rand_like(tensor))
    return network.eval()


def test_parameters_out_and_in_again() -> None:
    network = trained(ARCHITECTURE, 1)
    model = network.to_model()
    assert len(model.parameters) == len(ARCHITECTURE.layers)
    assert model.missing() == []
    other = trained(ARCHITECTURE, 2)
    other.load(model)
    assert_same_parameters(other.to_model(), model)
    with torch.no_grad():
        assert torch.equal(other(random_input())[0], network(random_input())[0])


def test_model_is_a_copy() -> None:
    network = trained(ARCHITECTURE, 1)
    model, before = network.to_model(), network.to_model()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
    assert_same_parameters(model, before)
    network.load(model)
    model.parameters[0].weights[:] = 0  # nor do layers share memory with what they were loaded from
    assert network.layers[0].conv.weight.abs().max() > 0


def test_partial_model_leaves_the_rest() -> None:
    network, donor = trained(ARCHITECTURE, 1), trained(ARCHITECTURE, 2).to_model()
    before = network.to_model()
    network.load(replace(donor, parameters=(*donor.parameters[:3], *[None] * (len(LAYERS) - 3))))
    after = network.to_model()
    np.testing.assert_array_equal(after.parameters[2].weights, donor.parameters[2].weights)
    np.testing.assert_array_equal(after.parameters[4].weights, before.parameters[4].weights)


@pytest.mark.parametrize(
    "other",
    [
        replace(ARCHITECTURE, layers=(conv(9), *LAYERS[1:])),
        replace(ARCHITECTURE, layers=LAYERS[1:]),
        replace(ARCHITECTURE, layers=(*LAYERS[:9], Dropout(0.25), *LAYERS[10:])),
        replace(ARCHITECTURE, channels=1),
    ],
    ids=["filters", "layers", "dropout", "channels"],
)
def test_model_of_another_architecture_is_refused(other: Architecture) -> None:
    network = seeded(ARCHITECTURE)
    parameters = (None,) * len(other.layers) if other.layers != LAYERS else seeded(other).to_model().parameters
    with pytest.raises(ConfigError, match="the model's layers, input channels and form of batch norm must be"):
        network.load(Model(other, parameters))


def test_model_for_another_size_is_taken() -> None:
    """The size of the input and the head's settings are not parameters of the network."""
    region = replace(LAYERS[-1], classes=2, training=(("jitter", 0.3),))
    donor = trained(replace(ARCHITECTURE, layers=(*LAYERS[:-1], region), width=96, height=32), 3).to_model()
    network = seeded(ARCHITECTURE)
    network.load(donor)
    np.testing.assert_array_equal(network.to_model().parameters[0].weights, donor.parameters[0].weights)


def test_gradients_reach_every_parameter() -> None:
    network = seeded(ARCHITECTURE).train()
    images = random_input(3).requires_grad_()
    (out,) = network(images)
    (out**2).sum().backward()
    names = [name for name, _ in network.named_parameters()]
    assert len(names) == 5 * 3 + 2  # kernel, scale, shift of five convolutions; kernel and bias of the last
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().max() > 0, name
    assert torch.isfinite(images.grad).all()


@pytest.mark.parametrize("layer", POOLS, ids=lambda layer: f"{layer.size}/{layer.stride}+{layer.padding}")
def test_gradients_through_padding_are_finite(layer: MaxPool) -> None:
    x = torch.from_numpy(random_array(2, 3, 5, 7)).requires_grad_()
    out = MaxPoolLayer(layer)(x)
    out.sum().backward()
    assert torch.isfinite(x.grad).all()
    assert x.grad.sum() == out.numel()  # each window hands its gradient to one pixel


def test_the_older_batch_norm_must_be_folded() -> None:
    with pytest.raises(ConfigError, match="'eps_outside_sqrt' must be folded"):
        Network(replace(ARCHITECTURE, batch_norm="eps_outside_sqrt"))
    without = Architecture((conv(4, batch_normalize=False),), width=6, height=4, batch_norm="eps_outside_sqrt")
    assert len(Network(without).layers) == 1


def test_an_architecture_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ConfigError, match="layer 2"):
        Network(Architecture((conv(4), MaxPool(), Route((0, 1))), width=12, height=8))
