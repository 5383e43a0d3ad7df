"""Groups, shortcuts and upsampling against Darknet's numbers, layer by layer, in torch and in ONNX Runtime.

Recorded by the C program of July 2022 on a CPU: `load_network`, `network_predict`, then every layer's output.
"""

from __future__ import annotations

import numpy as np
import pytest
from support.golden import HERE, assert_close
from test_golden_networks import run_onnx, run_torch

from yolo9000.architectures.layers import Conv, Route, Shortcut, Upsample
from yolo9000.architectures.weights import fold_batch_norm
from yolo9000.checkpoints.darknet.cfg import parse_cfg, read_cfg, write_cfg
from yolo9000.checkpoints.darknet.weights import read_weights, write_weights

FILE = HERE / "later" / "layers.cfg"


@pytest.mark.parametrize("run", [run_torch, run_onnx])
def test_outputs_are_the_programs(run) -> None:
    architecture = read_cfg(FILE, batch_norm="eps_outside_sqrt")
    kinds = {type(row) for row in architecture.layers}
    assert kinds == {Conv, Shortcut, Upsample, Route}
    model = fold_batch_norm(read_weights(FILE.with_suffix(".weights"), architecture)[1])
    with np.load(FILE.with_suffix(".npz")) as golden:
        outputs = run(model, golden["input"], tuple(range(len(architecture.layers))))
        for layer, output in enumerate(outputs):
            assert_close(output, golden[f"L{layer}"], 1e-5)


def test_files_come_back(tmp_path) -> None:
    architecture = read_cfg(FILE)
    assert parse_cfg(write_cfg(architecture)) == architecture
    header, model = read_weights(FILE.with_suffix(".weights"), architecture)
    write_weights(tmp_path / "again.weights", model, header)
    assert (tmp_path / "again.weights").read_bytes() == FILE.with_suffix(".weights").read_bytes()
