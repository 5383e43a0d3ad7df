"""Training that starts from another model: what it takes over, what it freezes and caches, and when it ends."""

from __future__ import annotations

import math
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from support.small_data import write_voc_set
from support.small_models import random_model, small_architecture
from support.training_runs import log_of

from yolo9000.architectures.layers import Region
from yolo9000.architectures.torch import Network
from yolo9000.architectures.weights import fold_batch_norm
from yolo9000.checkpoints.export import export_onnx
from yolo9000.checkpoints.load import load_model
from yolo9000.checkpoints.model import LoadedModel
from yolo9000.checkpoints.safetensors import write_checkpoint
from yolo9000.cli.app import run
from yolo9000.data.batching import Example
from yolo9000.errors import ConfigError, TrainingError
from yolo9000.losses.region import LossParts, region_loss
from yolo9000.losses.settings import LossSettings
from yolo9000.taxonomy.wordtree import WordTree
from yolo9000.training import clock, features, learner, train
from yolo9000.training.initialize import known_classes, size_for_images
from yolo9000.training.loader import LoadedPart, SampleRequest
from yolo9000.training.logging import RunFolder
from yolo9000.training.recipe import FeatureSettings
from yolo9000.training.tasks import detection
from yolo9000.training.tasks.base import Scores
from yolo9000.training.tasks.detection import DetectorTraining

FROZEN = 6  # of the layers of the small network


@pytest.fixture
def start(tmp_path: Path) -> Path:
    """A model of the small network that knows a class of the small data set, at another index than there."""
    write_voc_set(tmp_path / "shapes")
    path = tmp_path / "start.safetensors"
    names = ("square", "blue", "circle")
    write_checkpoint(path, LoadedModel.from_weights(random_model(small_architecture(3)), names))
    return path


def settings(start: Path, **changes: Any) -> dict[str, Any]:
    base: dict[str, Any] = {
        "data": start.parent / "shapes",
        "recipe": "fine-tune",
        "start": str(start),
        "freeze": FROZEN,
        "minutes": None,
        "epochs": 3,  # of 9 images: 9 steps
        "batch": 3,
        "evaluate_every": 9,  # only at the end
        "workers": 0,
        "precision": "float32",
        "threads": 1,
        "features": {"draws": 2},
        "network": {"anchors": "architecture", "aspect": "size"},
        "notify": lambda line: None,
    }
    return base | changes


def score(monkeypatch: pytest.MonkeyPatch, values: list[float]) -> None:
    """Let the evaluations give these values of map50; when there are none left, the run breaks."""
    left = iter(values)

    def evaluate(self: DetectorTraining, *_: Any) -> Scores:
        try:
            return Scores({"map50": next(left)})
        except StopIteration:
            raise TrainingError("interrupted") from None

    monkeypatch.setattr(DetectorTraining, "evaluate", evaluate)


def test_it_takes_over_the_network_and_keeps_what_is_frozen(start: Path, tmp_path: Path) -> None:
    lines: list[str] = []
    outcome = train(**settings(start, notify=lines.append), out=tmp_path / "run")
    given, trained = load_model(start), load_model(outcome.folder / "last.safetensors")
    assert trained.network_wh == given.network_wh
    assert trained.names == ("blue", "red")
    assert any("1 of 2 classes: blue" in line for line in lines)
    pairs = list(zip(given.trained_weights.parameters, trained.trained_weights.parameters, strict=True))
    for index, (old, new) in enumerate(pairs):
        if old is None or new is None or old.weights.shape != new.weights.shape:
            continue
        assert np.array_equal(old.weights, new.weights) == (index < FROZEN)
        if index < FROZEN and old.batch_norm is not None and new.batch_norm is not None:
            np.testing.assert_array_equal(old.batch_norm.rolling_mean, new.batch_norm.rolling_mean)


@pytest.mark.parametrize("on_disk", [False, True])
def test_a_cache_of_features_changes_nothing_but_the_time(start: Path, tmp_path: Path, on_disk: bool) -> None:
    cache = {"draws": 2, "on_disk": on_disk}
    cached = train(**settings(start, features=cache), out=tmp_path / "cached")
    tight = train(**settings(start, features=cache | {"max_gib": 4e-5}), out=tmp_path / "tight")  # some images
    none = train(**settings(start, features=cache | {"max_gib": 1e-9}), out=tmp_path / "none")
    assert log_of(cached.folder) == log_of(tight.folder) == log_of(none.folder)
    assert cached.best.read_bytes() != b""
    assert not (cached.folder / "features").exists()


def test_a_run_with_cached_features_resumes_exactly(
    start: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    score(monkeypatch, [0.0, 0.1, 0.2, 0.3])
    whole = train(**settings(start, evaluate_every=1), out=tmp_path / "whole")
    score(monkeypatch, [0.0, 0.1])
    with pytest.raises(TrainingError, match="interrupted"):
        train(**settings(start, evaluate_every=1), out=tmp_path / "broken")
    score(monkeypatch, [0.2, 0.3])
    broken = train(resume=tmp_path / "broken")
    assert (broken.folder / "last.safetensors").read_bytes() == (whole.folder / "last.safetensors").read_bytes()
    assert log_of(broken.folder) == log_of(whole.folder)


def test_a_time_ends_the_training_and_sets_its_learning_rate(
    start: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clock, "time", SimpleNamespace(perf_counter=count(0.0).__next__))  # a second for each look
    monkeypatch.setattr(clock, "EVALUATIONS", 3)
    score(monkeypatch, [0.1] * 4)  # the first before training
    changes = {"minutes": 0.5, "optimizer": {"burn_in": 0}}
    outcome = train(**settings(start, **changes), out=tmp_path / "run")
    assert outcome.total_steps is None
    steps, metrics = (RunFolder(outcome.folder).lines(kind) for kind in ("step", "metrics"))
    assert len(metrics) == 4
    assert 20 < steps[-1]["seconds"] <= 31 < metrics[-1]["seconds"] + 5
    rates = [line["lr"] for line in steps]
    assert rates == sorted(rates, reverse=True)
    assert rates[0] == pytest.approx(0.001, rel=0.05)
    assert rates[-1] < 0.0001
    before = len(steps)
    train(resume=outcome.folder)
    assert len(RunFolder(outcome.folder).lines("step")) == before


def test_it_stops_early_when_the_metrics_no_longer_improve(
    start: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    score(monkeypatch, [0.1, 0.3, 0.5, 0.5, 0.4])  # a patience of 2: the last two are no better
    outcome = train(**settings(start, epochs=9, evaluate_every=1, patience=2), out=tmp_path / "run")
    assert len(RunFolder(outcome.folder).lines("metrics")) == 5
    assert (outcome.scores["map50"], outcome.start) == (0.5, 0.1)
    assert (outcome.folder / "last.safetensors").exists()


def test_images_are_held_out_where_there_is_no_validation_split(start: Path, tmp_path: Path) -> None:
    shapes = tmp_path / "shapes"
    (shapes / "ImageSets" / "Main" / "val.txt").unlink()
    lines: list[str] = []
    outcome = train(**settings(start, notify=lines.append, hold_out=0.34), out=tmp_path / "run")
    assert any("3 images are held out for validation" in line for line in lines)
    assert any(line.startswith("6 images") for line in lines)  # of 9
    assert outcome.scores


def test_anchors_are_clustered_in_cells_of_the_network_and_boxes_of_one_size_have_one(
    start: Path, tmp_path: Path
) -> None:
    write_voc_set(tmp_path / "same", boxes=lambda number: [("red", (number, 4, number + 20, 16))])
    outcome = train(
        **settings(start, data=tmp_path / "same", network={"aspect": "size"}, epochs=1), out=tmp_path / "run"
    )
    head = load_model(outcome.best).trained_weights.architecture.head
    assert isinstance(head, Region)
    # 90 x 60 to 72 x 48: 0.8 times; cells of 8 pixels
    assert head.anchors_wh_cells == (pytest.approx((20 * 0.8 / 8, 12 * 0.8 / 8)),)


def test_ranges_of_layers_can_be_frozen(start: Path, tmp_path: Path) -> None:
    outcome = train(**settings(start, freeze=[[0, 1], [4, 6]]), out=tmp_path / "run")
    files = start, outcome.folder / "last.safetensors"
    given, trained = (load_model(path).trained_weights.parameters for path in files)
    pairs = zip(given, trained, strict=True)
    kept = [index for index, (old, new) in enumerate(pairs) if old and new and np.array_equal(old.weights, new.weights)]
    assert kept == [0, 4, 6]  # the convolutions among them; 1, 3 and 5 are pools
    with pytest.raises(ConfigError, match="freeze must be less than"):
        train(**settings(start, freeze=[[0, 99]]), out=tmp_path / "wrong")


def test_the_input_takes_the_proportions_of_the_images(start: Path, tmp_path: Path) -> None:
    for file in (tmp_path / "shapes" / "JPEGImages").iterdir():
        Image.open(file).resize((60, 90)).save(file)
    for file in (tmp_path / "shapes" / "Annotations").iterdir():
        text = file.read_text().replace("<width>90</width><height>60<", "<width>60</width><height>90<")
        file.write_text(text)
    own = {"anchors": "architecture"}
    outcome = train(**settings(start, network=own), out=tmp_path / "run")
    assert load_model(outcome.best).network_wh == (48, 72)  # the start: 72 x 48
    outcome = train(**settings(start, network=own | {"size": [64, 72]}), out=tmp_path / "asked")
    assert load_model(outcome.best).network_wh == (64, 72)


@pytest.mark.parametrize(
    ("max_gib", "available", "expected"),
    [(None, 8 * 2**30, 2 * 2**30), (None, None, 2**30), (0.5, 8 * 2**30, 2**29)],
)
def test_a_cache_takes_a_quarter_of_the_free_memory(
    max_gib: float | None, available: int | None, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(learner, "available_memory", lambda: available)
    assert learner.max_cache_bytes(FeatureSettings(max_gib=max_gib)) == expected


@pytest.mark.parametrize(
    ("network_wh", "image_wh", "expected"),
    [
        ((416, 416), (500, 500), (416, 416)),
        ((416, 416), (640, 480), (480, 384)),  # 480.4, 360.3; 480 x 352 would show 469 x 352
        ((416, 416), (500, 1000), (288, 576)),  # 294.2, 588.3
        ((416, 416), (9000, 1000), (736, 256)),  # as for 3: 720.5, 240.2
        ((72, 48), (10, 1000), (32, 96)),  # as for 1/3: 33.9, 101.8
        ((416, 416), (224, 224), (288, 288)),  # 4/3 of 224: 298.7
        ((416, 416), (160, 120), (224, 160)),  # 213.3, 160
    ],
)
def test_a_size_for_images(
    network_wh: tuple[int, int], image_wh: tuple[float, float], expected: tuple[int, int]
) -> None:
    assert size_for_images(network_wh, image_wh, 32) == expected


def test_an_input_in_coarse_steps() -> None:
    """443.4 x 332.6 is wanted. 480 x 384 shows 480 x 360, 1.17 times as many pixels; 384 x 288 0.75 times as many."""
    assert size_for_images((384, 384), (640, 480), 96) == (480, 384)
    assert size_for_images((384, 384), (480, 640), 96) == (384, 480)


def test_what_training_starts_with_is_evaluated_and_kept_if_nothing_is_better(
    start: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    score(monkeypatch, [0.5, 0.4, 0.3])
    keys = ["minutes=none", "epochs=2", "evaluate_every=1", "batch=9", "workers=0", "precision=float32"]
    keys += [f"start={start}", f"freeze={FROZEN}", "network.anchors=architecture", "network.aspect=size"]
    assert run(["train", str(tmp_path / "shapes"), *keys, "--threads", "1", "--out", str(tmp_path / "run")]) == 0
    printed = capsys.readouterr().out
    assert "before training: map50 0.5000" in printed
    assert "no better than before training, map50 0.5: the model is as it was." in printed
    best = tmp_path / "run" / "best.safetensors"
    assert f"Use it: yolo9000 predict IMAGES --model {best}" in printed
    kept = load_model(best).trained_weights.parameters
    for old, new in zip(load_model(start).trained_weights.parameters[:-2], kept[:-2], strict=True):
        assert (old is None) == (new is None)
        if old is not None and new is not None:
            np.testing.assert_array_equal(old.weights, new.weights)


def test_a_start_whose_metric_is_undefined_is_not_compared(
    start: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    score(monkeypatch, [math.nan, 0.2])
    outcome = train(**settings(start), out=tmp_path / "run")
    assert (outcome.start, outcome.scores["map50"]) == (None, 0.2)


def test_a_large_validation_split_is_limited_and_what_is_changed_is_printed(start: Path, tmp_path: Path) -> None:
    annotation = tmp_path / "shapes" / "Annotations" / "p02.xml"
    annotation.write_text(annotation.read_text().replace("<xmax>33</xmax>", "<xmax>999</xmax>"))
    lines: list[str] = []
    train(**settings(start, notify=lines.append, validation_images=2), out=tmp_path / "run")
    assert "2 of the 5 images for validation are used (validation_images)" in lines
    changed = [line for line in lines if line.startswith("train: 1 objects corrected or left out: 1 x box-outside")]
    assert len(changed) == 1, lines


@pytest.mark.parametrize("nodes", [3, 9])
def test_an_exported_file_can_be_the_start(start: Path, tmp_path: Path, nodes: int) -> None:
    """3 classes are computed by the network; the rows of 9, more than the features, are kept apart in the file."""
    names = tuple(f"class {i}" for i in range(nodes))
    model = LoadedModel.from_weights(random_model(small_architecture(nodes)), names).with_lazy_classes(nodes == 9)
    export_onnx(model, tmp_path / "start.onnx")
    weights, folded = load_model(tmp_path / "start.onnx").trained_weights, fold_batch_norm(model.trained_weights)
    assert weights.architecture.body == folded.architecture.body
    for ours, theirs in zip(weights.parameters, folded.parameters, strict=True):
        assert (ours is None) == (theirs is None)
        if ours is not None and theirs is not None:
            np.testing.assert_array_equal(ours.weights, theirs.weights)
            np.testing.assert_array_equal(ours.biases, theirs.biases)
    outcome = train(**settings(tmp_path / "start.onnx", epochs=1), out=tmp_path / "run")
    assert load_model(outcome.best).names == ("blue", "red")


def test_classes_are_known_by_id_name_or_synonym_and_never_by_position() -> None:
    # animal(0) > dog(2) cat(3); vehicle(1) > crane(4); another crane(5) below vehicle
    tree = WordTree.from_parents(
        [-1, -1, 0, 0, 1, 1],
        ["animal", "vehicle", "dog", "cat", "crane", "crane"],
        ["n1", "n2", "n3", "n4", "n5", "n6"],
    )
    start = LoadedModel.from_weights(random_model(small_architecture(6, tree="labels.tree")), tree.names, tree)
    names = ["Cat", "crane", "n3", "bird", "vehicle", "animal"]
    assert known_classes(names, None, start).tolist() == [3, -1, 2, -1, 1, 0]


def test_features_need_frozen_layers(start: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="features are those of frozen layers"):
        train(**settings(start, freeze=None), out=tmp_path / "run")
    scaled = settings(
        start, freeze=2, network={"name": "yolov2-paper", "width": 0.1, "size": 64, "anchors": "architecture"}
    ) | {"start": None}
    with pytest.raises(ConfigError, match="freeze must be at most the 0 layers"):
        train(**scaled, out=tmp_path / "run")


@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
def test_an_engine_computes_the_features_that_torch_computes(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip(engine)
    monkeypatch.setattr(features, "choose_engine", lambda: engine)
    monkeypatch.delattr(features.FeatureCache, "_in_torch")
    network = Network(small_architecture(3))
    network.load(random_model(small_architecture(3)))
    network.freeze(range(FROZEN))
    cache = features.FeatureCache(
        network.train(), range(FROZEN), precision=torch.float32, device=torch.device("cpu"), threads=1, max_bytes=2**20
    )
    image = np.random.default_rng(0).integers(0, 256, (64, 96, 3), dtype=np.uint8)
    request = SampleRequest(epoch=0, index=0, image=0, size_wh=(96, 64), draw=0)
    example = Example(image, None, (0,), "image", 0)
    assert not cache.plan.is_cached(request)
    _, computed = cache.complete(LoadedPart((request,), image[None], (example,)))
    assert cache.plan.is_cached(request)
    _, cached = cache.complete(LoadedPart((request,), image[None][:0], ()))
    expected = network(torch.from_numpy(image[None]).permute(0, 3, 1, 2).float() / 255, cache.layers)
    for layer, values in zip(cache.layers, expected, strict=True):
        torch.testing.assert_close(computed[layer], values.detach(), rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(cached[layer], computed[layer], rtol=0, atol=0)


def test_torch_computes_the_features_in_a_precision_that_the_engine_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features, "choose_engine", lambda: "onnxruntime")
    network = Network(small_architecture(3))
    network.load(random_model(small_architecture(3)))
    network.freeze(range(FROZEN))
    cache = features.FeatureCache(
        network.train(), range(FROZEN), precision=torch.bfloat16, device=torch.device("cpu"), threads=1, max_bytes=2**20
    )
    image = np.random.default_rng(0).integers(0, 256, (64, 96, 3), dtype=np.uint8)
    request = SampleRequest(epoch=0, index=0, image=0, size_wh=(96, 64), draw=0)
    _, computed = cache.complete(LoadedPart((request,), image[None], (Example(image, None, (0,), "image", 0),)))
    expected = network(torch.from_numpy(image[None]).permute(0, 3, 1, 2).float() / 255, cache.layers)
    for layer, values in zip(cache.layers, expected, strict=True):
        torch.testing.assert_close(computed[layer], values.detach(), rtol=0.1, atol=0.1)


def test_no_object_weighs_little_at_first(start: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scales: list[float] = []

    def recording(raw: Any, targets: Any, head: Any, loss: LossSettings, **rest: Any) -> LossParts:
        scales.append(loss.noobject_scale)
        return region_loss(raw, targets, head, loss, **rest)

    monkeypatch.setattr(detection, "region_loss", recording)
    train(**settings(start, loss={"noobject_scale": 2, "noobject_ramp": 0.5}), out=tmp_path / "run")
    # 9 steps; after the nth a fraction of n/9 is done, and the ramp ends at a half: 2 (0.1 + 0.9 n/9 / 0.5)
    rising = [2 * (0.1 + 0.9 * 2 * step / 9) for step in (1, 2, 3, 4)]
    assert scales == pytest.approx([*rising, 2, 2, 2, 2, 2])
