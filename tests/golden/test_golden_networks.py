"""Weights, layer outputs and whole networks against Darknet's numbers, in torch and in ONNX Runtime."""

from __future__ import annotations

import numpy as np
import onnxruntime as ort
import pytest
import torch
from support.golden import FOLDER, arrays, assert_close, parameters, suppression
from support.golden_detections import compare_detections
from support.golden_networks import FORMS, activated, load, run_torch

from yolo9000.architectures.onnx import build_onnx
from yolo9000.architectures.torch import Network
from yolo9000.architectures.weights import Model, fold_batch_norm
from yolo9000.checkpoints.darknet.cfg import parse_cfg, read_cfg, write_cfg
from yolo9000.checkpoints.darknet.detector import class_names_and_tree
from yolo9000.checkpoints.darknet.weights import read_weights, write_weights
from yolo9000.checkpoints.model import LoadedModel
from yolo9000.inference.head_output import DenseClassLogits, HeadOutput
from yolo9000.inference.settings import DetectionSettings

NETS = sorted(path.stem for path in (FOLDER / "nets").glob("d_*.npz"))


def run_onnx(model: Model, images: np.ndarray, taps: tuple[int, ...]) -> list[np.ndarray]:
    proto = build_onnx(model, [(f"tap{tap}", tap) for tap in taps])
    session = ort.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"images": images})


@pytest.mark.parametrize("name", NETS)
def test_parameters_are_the_programs(name: str) -> None:
    golden, model = arrays(f"nets/{name}"), load(name)
    recorded = [key for key in golden if key.startswith("L")]
    assert recorded
    for key in recorded:
        layer, field = key[1:].split("_", 1)
        layer_parameters = model.parameters[int(layer)]
        ours = vars(layer_parameters) | (vars(layer_parameters.batch_norm) if layer_parameters.batch_norm else {})
        np.testing.assert_array_equal(ours[field], golden[key])


@pytest.mark.parametrize("name", NETS)
def test_geometry_is_the_programs(name: str) -> None:
    architecture = load(name).architecture
    theirs = [(layer["out_c"], layer["out_h"], layer["out_w"]) for layer in parameters("nets/nets")[name]["layers"]]
    assert len(theirs) == len(architecture.layers)
    body = len(architecture.body)  # the C program does not fill in the sizes of heads and costs
    assert architecture.shapes()[:body] == theirs[:body]


@pytest.mark.parametrize("file", sorted(path.name for path in (FOLDER / "nets").glob("d_*.weights")))
def test_weights_round_trip_byte_for_byte(file: str, tmp_path) -> None:
    source = FOLDER / "nets" / file
    header, model = read_weights(source, read_cfg(FOLDER / "nets" / f"{file.split('.')[0]}.cfg"))
    assert header.size == (16 if ".v1." in file else 20)
    assert header.seen == parameters("nets/nets")[file.split(".")[0]]["seen"]
    write_weights(tmp_path / "again.weights", model, header)
    assert (tmp_path / "again.weights").read_bytes() == source.read_bytes()


@pytest.mark.parametrize("name", NETS)
def test_weights_survive_torch(name: str, tmp_path) -> None:
    header, model = read_weights(FOLDER / "nets" / f"{name}.weights", load(name).architecture)
    network = Network(model.architecture)
    network.load(model)
    write_weights(tmp_path / "again.weights", network.to_model(), header)
    assert (tmp_path / "again.weights").read_bytes() == (FOLDER / "nets" / f"{name}.weights").read_bytes()


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*/*.cfg")), ids=lambda path: path.stem)
def test_cfg_round_trip(path) -> None:
    architecture = read_cfg(path)
    assert parse_cfg(write_cfg(architecture)) == architecture


@pytest.mark.parametrize("meaning", FORMS)
@pytest.mark.parametrize("run", [run_torch, run_onnx])
@pytest.mark.parametrize("name", NETS)
def test_layer_outputs(name: str, run, meaning: str) -> None:
    golden, model = arrays(f"nets/{name}"), fold_batch_norm(load(name, meaning))
    taps = tuple(i for i in range(len(model.architecture.body)) if f"{meaning}_L{i:02}_out" in golden)
    assert taps
    for tap, out in zip(taps, run(model, golden["input"], taps), strict=True):
        theirs = golden[f"{meaning}_L{tap:02}_out"]
        assert_close(out.reshape(theirs.shape), theirs, 1e-4, 1e-4)


@pytest.mark.parametrize("name", NETS)
def test_layer_outputs_with_batch_norm_unfolded(name: str) -> None:
    golden, model = arrays(f"nets/{name}"), load(name)
    taps = tuple(i for i in range(len(model.architecture.body)) if f"gpu_L{i:02}_out" in golden)
    for tap, out in zip(taps, run_torch(model, golden["input"], taps), strict=True):
        theirs = golden[f"gpu_L{tap:02}_out"]
        assert_close(out.reshape(theirs.shape), theirs, 1e-4, 1e-4)


@pytest.mark.parametrize("name", [name for name in NETS if (FOLDER / "nets" / f"{name}_b.cfg").exists()])
@pytest.mark.parametrize("run", [run_torch, run_onnx])
def test_same_weights_at_another_size(name: str, run) -> None:
    golden, model = arrays(f"nets/{name}"), fold_batch_norm(load(name))
    architecture = read_cfg(FOLDER / "nets" / f"{name}_b.cfg")
    assert architecture.layers == load(name).architecture.layers
    assert (architecture.height, architecture.width) == golden["b_input"].shape[2:]
    (raw,) = run(model, golden["b_input"], (-1,))
    assert_close(activated(model, raw).reshape(golden["b_gpu_out"].shape), golden["b_gpu_out"], 1e-4, 1e-4)


def test_partial_weights() -> None:
    info = parameters("nets/nets")["partial"]
    architecture = read_cfg(FOLDER / "nets" / f"{info['receiver']}.cfg")
    header, model = read_weights(FOLDER / info["file"], architecture, partial=True)
    assert header.seen == info["seen_after_load"]
    assert [i for i, layer_parameters in enumerate(model.parameters) if layer_parameters] == info["loaded_conv_layers"]
    network = Network(architecture).eval()
    network.load(model)
    golden = arrays("nets/partial")
    with torch.inference_mode():
        (out,) = network(torch.from_numpy(golden["input"]), (14,))
    assert_close(out.numpy().reshape(golden["gpu_out"].shape), golden["gpu_out"], 1e-4, 1e-4)


DETECTORS = [name for name in NETS if "detections" in parameters("nets/nets").get(name, {})]


@pytest.mark.parametrize("name", DETECTORS)
def test_detections_of_a_whole_network(name: str) -> None:
    golden, model = arrays(f"nets/{name}"), fold_batch_norm(load(name))
    (raw,) = run_torch(model, golden["input"], (-1,))
    architecture = model.architecture
    names, tree = class_names_and_tree(architecture, FOLDER / "cfg", names=None, tree=None)
    head = LoadedModel.from_weights(model, names, tree).detector_head
    n, _, h, w = raw.shape
    t = raw.reshape(n, len(head.anchors_wh_cells), 5 + len(head.names), h, w)
    output = HeadOutput(t[:, :, :5], DenseClassLogits(t[:, :, 5:]), (architecture.width, architecture.height))
    for setting in parameters("nets/nets")[name]["detections"]:
        prefix = f"gpu_det{setting['index']}"
        settings = DetectionSettings(
            conf_threshold=setting["thresh"],
            nms_iou=setting["nms_thresh"],
            hier_thresh=setting["hier_thresh"],
            hier_decoding="darknet",
            suppression=suppression(setting["nms"]),
        )
        wh = (setting["image_w"], setting["image_h"])
        compare_detections(output, head, settings, wh, bool(setting["relative"]), golden, prefix, 2e-5)
