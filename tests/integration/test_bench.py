"""`yolo9000 bench`: what it measures, that its subjects compute the same, and what it prints and writes."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.small_models import write_flat, write_tree_model

from yolo9000.bench.machine import cpu_name, operations
from yolo9000.bench.measure import Measured, measure
from yolo9000.bench.peers import PEERS
from yolo9000.bench.report import Bench, plot_of
from yolo9000.bench.subjects import Subject, int8_files, random_darknet_files, start, subjects
from yolo9000.checkpoints.load import load_model
from yolo9000.cli.app import run
from yolo9000.errors import ConfigError
from yolo9000.inference import detector
from yolo9000.inference.head_output import find_candidates


def subject(model: Path, engine: str = "onnxruntime", **changes: object) -> Subject:
    plain = Subject(str(model), engine, "float32", "network", 2, (96, 64), 1)
    return replace(plain, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("peer", ["onnxruntime", "openvino", "opencv"])
def test_peers_compute_what_our_engine_does(peer: str, tmp_path: Path) -> None:
    """A dense graph in another session: the same objectness of 3 anchors in 8 x 12 cells of two images."""
    cfg = write_tree_model(tmp_path)
    ours = start(subject(cfg))
    theirs = start(subject(cfg, peer, peer=""))
    ours.step(), theirs.step()
    assert ours.objectness().shape == (2, 3, 8, 12)
    np.testing.assert_allclose(theirs.objectness(), ours.objectness(), atol=1e-5)
    assert np.ptp(ours.objectness()) > 0.1


def test_another_network_is_run_at_its_own_size(tmp_path: Path) -> None:
    cfg = write_flat(tmp_path)
    model = load_model(cfg).with_lazy_classes(False)
    (tmp_path / "nano.onnx").write_bytes(model.onnx_bytes())
    other = subject(cfg, "onnx", peer=str(tmp_path / "nano.onnx"))
    assert other.name == "nano.onnx float32, network"
    running = start(other)
    assert np.asarray(running.step()).shape == (2, 30, 8, 12)  # its size is free, and becomes 96 x 64
    (tmp_path / "nano.onnx").write_bytes(b"no graph")
    with pytest.raises(ConfigError, match="cannot be run on 2 images at a time"):
        start(other)


@pytest.mark.parametrize(
    ("full", "name"),
    [
        ("Intel(R) Xeon(R) Processor", "Intel Xeon"),
        ("Intel(R) Core(TM) i7-8550U CPU @ 1.80GHz", "Intel Core i7-8550U"),
        ("AMD EPYC 7763 64-Core Processor", "AMD EPYC 7763 64-Core"),
        ("Neoverse-N1", "Neoverse-N1"),
    ],
)
def test_names_of_cpus_are_short(full: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "is_file", lambda self: True)
    monkeypatch.setattr(Path, "read_text", lambda self: f"model name\t: {full}\n")
    assert re.fullmatch(rf"{re.escape(name)}, [1-9]\d* cores", cpu_name())


def test_subjects_run_in_processes_of_their_own_and_failures_are_reported(tmp_path: Path) -> None:
    cfg = write_flat(tmp_path)
    group = [
        subject(cfg),
        subject(cfg, scope="image to boxes"),
        subject(cfg, "darknet", peer=str(tmp_path / "libdarknet.so"), batch=1, size_wh=(72, 48)),
    ]
    network, whole, absent = measure(group, rounds=2)
    for one in (network, whole):
        assert one.problem == ""
        assert (one.difference, len(one.steps_s)) == (0.0, 6)  # 2 rounds of 3 steps
        assert min(one.load_s, one.first_s, *one.steps_s) > 0
        assert one.images_per_s == pytest.approx(2e3 / one.median_ms)
        assert one.peak_mb is None or one.peak_mb > 10
    assert absent.problem.startswith("against: darknet must be the path of libdarknet.so")
    assert absent.steps_s == []


def test_int8_is_measured_in_files_made_once(tmp_path: Path) -> None:
    """Ours leaves the last layer in float32, the peers' dense graph does not; both are close to float32."""
    pytest.importorskip("nncf")
    model = load_model(write_tree_model(tmp_path))
    files = int8_files(model, ["openvino", "torch"], ["onnxruntime", "opencv"], tmp_path)
    assert set(files) == {("openvino", False), ("onnxruntime", True)}
    assert load_model(files["openvino", False]).class_rows is not None
    assert load_model(files["onnxruntime", True]).class_rows is None
    (group,) = subjects(
        str(tmp_path / "tree.cfg"),
        engines=["openvino", "torch"],
        precisions=["float32", "int8"],
        batches=[1],
        sizes_wh=[(72, 48)],
        threads=1,
        peers=[("onnxruntime", "")],
        int8=files,
    )
    in_int8 = [one for one in group if one.precision == "int8"]
    assert [one.name for one in in_int8] == [
        "openvino int8, network",
        "openvino int8, image to boxes",
        "onnxruntime dense graph int8",
    ]
    exact = start(group[0]).objectness()
    for one in in_int8:
        difference = np.abs(start(one).objectness() - exact)
        assert 0 < difference.max() < 0.1


def test_a_thirtieth_of_the_anchors_is_decoded_with_random_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """3 anchors in 8 x 12 cells are 288: 10 have more objectness than a quantile of 29/30."""
    decoded: list[int] = []

    def counting(*arguments: object) -> object:
        candidates = find_candidates(*arguments)  # type: ignore[arg-type]
        decoded.append(len(candidates.anchors))
        return candidates

    monkeypatch.setattr(detector, "find_candidates", counting)
    start(subject(write_tree_model(tmp_path), scope="image to boxes", random=True, batch=1)).step()
    assert decoded == [10]


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the peak is getrusage's")
def test_peak_memory_is_that_of_the_process_alone() -> None:
    """A process starts with the `ru_maxrss` of the one that started it, here 800 MB and more."""
    held = np.ones(100_000_000)
    code = "from yolo9000.bench.measure import _peak_mb; print(_peak_mb())"
    printed = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert 10 < float(printed) < held.nbytes / 2**20


def test_subjects_of_a_run(tmp_path: Path) -> None:
    groups = list(
        subjects(
            "m.cfg",
            engines=["openvino", "onnxruntime"],
            precisions=["float32", "bfloat16"],
            batches=[1, 4],
            sizes_wh=[(96, 64), (64, 96)],
            threads=1,
            peers=[("openvino", "")],
        )
    )
    assert [(group[0].size_wh, group[0].batch) for group in groups] == [
        ((96, 64), 1),
        ((96, 64), 4),
        ((64, 96), 1),
        ((64, 96), 4),
    ]
    # ours: 2 engines x 2 precisions x 2 scopes, without ONNX Runtime's bfloat16; the peer in float32 and bfloat16
    assert [len(group) for group in groups] == [6 + 2] * 4


def test_operations_leave_out_what_the_lazy_head_does(tmp_path: Path) -> None:
    """The class half of the tree's head, 3 x 7 filters on 24 channels in 6 x 9 cells, is not computed."""
    lazy = operations(str(write_tree_model(tmp_path)), (72, 48))
    dense = operations(load_model(tmp_path / "tree.cfg").with_lazy_classes(False), (72, 48))
    assert lazy is not None and dense is not None  # noqa: PT018
    assert dense - lazy == 2 * 3 * 7 * 24 * 6 * 9


def test_report(tmp_path: Path) -> None:
    """10 ms a batch of 2 images are 200 images/s; with 1e9 operations each, half of a peak of 4e11."""
    ours = Measured(subject(Path("m.cfg")), load_s=0.5, first_s=0.1, steps_s=[0.01] * 9 + [0.03], peak_mb=123.4)
    absent = Measured(subject(Path("m.cfg"), "opencv", peer=""), problem="it cannot")
    result = Bench("m", "a CPU", 1, {"float32": 4e11}, {"python": 0.02}, {(96, 64): 10**9}, [[ours, absent]])
    lines = result.lines()
    assert "| m at 96x64, batch 2, 1.00 G | median ms | p90 ms" in lines[4]
    assert lines[6].split(" | ")[1:6] == ["10.0", "12.0", "200.0", "50%", "0.10"]  # p90: a tenth of the way to 30
    assert lines[7] == "opencv dense graph float32: not measured: it cannot"
    assert json.loads(json.dumps(result.to_json()))["groups"][0][1]["problem"] == "it cannot"
    assert plot_of(result).startswith(b"\x89PNG")


def test_built_in_network_gets_random_weights(tmp_path: Path) -> None:
    path = random_darknet_files("tiny-yolov2-voc", tmp_path)
    assert path is not None
    assert load_model(path).network_wh == (416, 416)
    assert random_darknet_files("some.onnx", tmp_path) is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--against", "opencw"],
            "--against: must be one of darknet, onnx, opencv, onnxruntime, openvino, got 'opencw'",
        ),
        (["--against", "darknet"], "--against: must be darknet=PATH of libdarknet.so, got 'darknet'"),
        (["--batch", "0"], "--batch: must be integers of at least 1"),
    ],
)
def test_wrong_options(arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["bench", str(write_flat(tmp_path)), *arguments]) == 2
    assert message in capsys.readouterr().err


def test_command_prints_tables_and_writes_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cfg, out = write_flat(tmp_path), tmp_path / "out"
    assert run(["bench", str(cfg), "--engine", "onnxruntime", "--rounds", "1", "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "onnxruntime float32, image to boxes" in printed
    assert "yolo9000 --help: " in printed
    assert {file.name for file in out.iterdir()} == {"bench.json", "bench.png"}
    assert len(json.loads((out / "bench.json").read_text())["groups"][0]) == 2


def test_every_peer_says_what_path_it_needs() -> None:
    assert {name for name, peer in PEERS.items() if peer.needs_path} == {"darknet", "onnx"}
