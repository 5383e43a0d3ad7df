"""The commands as a user types them."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image, ImageShow
from support.paths import shared
from support.small_models import FLAT_NAMES, TREE, write_flat, write_tree_model

from yolo9000.cli.app import run
from yolo9000.cli.options import parse_size
from yolo9000.errors import ConfigError
from yolo9000.inference.detector import Detector
from yolo9000.inference.query import labels_of_classes
from yolo9000.io.files import locked_folder

LOW = ["--conf-threshold", "0.05"]  # a random network is never sure


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    rng = np.random.default_rng(3)
    folder = tmp_path / "photos"
    folder.mkdir()
    for name, (height, width) in {"a.jpg": (60, 90), "b.png": (75, 41), "c.jpg": (33, 120)}.items():
        Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8)).save(folder / name)
    return folder


@pytest.fixture
def flat(tmp_path: Path) -> str:
    return str(write_flat(tmp_path))


@pytest.fixture
def tree(tmp_path: Path) -> str:
    return str(write_tree_model(tmp_path))


def lines(text: str) -> list[str]:
    return text.strip().splitlines()


def records(folder: Path) -> list[dict]:
    return [json.loads(line) for line in lines((folder / "detections.jsonl").read_text())]


class TestPredict:
    def test_writes_every_format(self, flat: str, photos: Path, tmp_path: Path, capsys) -> None:
        out = tmp_path / "out"
        formats = [word for name in ("jsonl", "coco", "csv", "darknet") for word in ("--format", name)]
        assert run(["predict", str(photos), "--model", flat, "--out", str(out), *formats, *LOW]) == 0
        printed = lines(capsys.readouterr().out)
        assert [line.split(":")[0].rsplit("/", 1)[-1] for line in printed[:3]] == [
            "a.jpg 90x60",
            "b.png 41x75",
            "c.jpg 120x33",
        ]
        assert "in 3 images" in printed[3]
        assert printed[4] == f"Results in {out.resolve()}"

        records_written = records(out)
        expected = list(Detector.load(flat, conf_threshold=0.05).predict(photos))
        assert sum(len(prediction.detections) for prediction in expected) > 5
        for record, prediction in zip(records_written, expected, strict=True):
            assert record == prediction.to_dict()
        total = sum(len(record["detections"]) for record in records_written)
        assert len(json.loads((out / "coco_results.json").read_text())) == total
        assert len(list(csv.DictReader(lines((out / "detections.csv").read_text())))) == total
        assert sum(len(lines((out / "labels" / f"{stem}.txt").read_text())) for stem in "abc") == total
        for stem, size in {"a": (90, 60), "b": (41, 75), "c": (120, 33)}.items():
            with Image.open(out / f"{stem}.jpg") as image:
                assert image.size == size

    def test_results_on_standard_output(self, flat: str, photos: Path, tmp_path: Path, capsys) -> None:
        """Results alone on standard output, so that another program can read them; lines for people beside it."""
        args = ["predict", str(photos), "-m", flat, "--no-save", *LOW]
        assert run([*args, "--json", "-", "--csv", str(tmp_path / "found.csv")]) == 0
        out, err = capsys.readouterr()
        results = [json.loads(line) for line in lines(out)]
        expected = list(Detector.load(flat, conf_threshold=0.05).predict(photos))
        assert [result["source"] for result in results] == [prediction.image.name for prediction in expected]
        total = sum(len(prediction.detections) for prediction in expected)
        assert sum(len(result["detections"]) for result in results) == total
        assert "in 3 images" in err
        rows = list(csv.DictReader(lines((tmp_path / "found.csv").read_text())))
        assert len(rows) == total
        assert run([*args, "--csv", "-", "--quiet"]) == 0
        out, err = capsys.readouterr()
        assert list(csv.DictReader(lines(out))) == rows
        assert not err
        assert run([*args, "--csv", "-", "--json", "-"]) == 2
        assert "--json or --csv, not both" in capsys.readouterr().err

    def test_quiet_prints_errors_only(self, flat: str, photos: Path, capsys) -> None:
        (photos / "b.png").write_text("no image")
        assert run(["predict", str(photos), "-m", flat, "--no-save", "-q"]) == 3
        out, err = capsys.readouterr()
        assert not out
        assert len(lines(err)) == 1

    def test_a_failed_output_is_one_failed_image(self, flat: str, tmp_path: Path, capsys) -> None:
        Image.new("RGB", (66_000, 8)).save(tmp_path / "1.png")  # a JPEG is at most 65,535 pixels wide
        Image.new("RGB", (60, 40)).save(tmp_path / "2.png")
        assert run(["predict", str(tmp_path / "*.png"), "-m", flat, "-o", str(tmp_path / "out")]) == 3
        out, err = capsys.readouterr()
        assert "1 failed" in out
        assert "1.jpg: cannot be written: " in err
        assert (tmp_path / "out" / "2.jpg").exists()

    def test_a_tree_gives_paths(self, tree: str, photos: Path, tmp_path: Path) -> None:
        out = tmp_path / "out"
        assert run(["predict", str(photos), "-m", tree, "-o", str(out), "-f", "jsonl", "--no-save", *LOW]) == 0
        detections = [item for record in records(out) for item in record["detections"]]
        assert detections
        for item in detections:
            nodes = [step["node"] for step in item["path"]]
            assert tuple(nodes) == TREE.path(item["label"])
            product = float(np.prod([step["conditional"] for step in item["path"]]))
            assert item["path"][-1]["probability"] == pytest.approx(product, rel=1e-6)
            assert item["stopped"] == ("leaf" if TREE.leaves[item["label"]] else "hier_thresh")
        assert sorted(path.name for path in out.iterdir()) == ["detections.jsonl"]

    def test_more_specific_when_asked(self, tree: str, photos: Path, tmp_path: Path) -> None:
        depths = {}
        for hier_thresh in ("0", "0.9"):
            out = tmp_path / hier_thresh
            args = ["predict", str(photos), "-m", tree, "-o", str(out), "-f", "jsonl", "--no-save"]
            assert run([*args, "--conf-threshold", "0.01", "--nms-iou", "1", "--hier-thresh", hier_thresh]) == 0
            depths[hier_thresh] = np.mean(
                [len(item["path"]) for record in records(out) for item in record["detections"]]
            )
        assert depths["0"] > depths["0.9"]

    def test_only_keeps_a_class_and_what_is_below_it(self, tree: str, photos: Path, tmp_path: Path) -> None:
        args = ["predict", str(photos), "-m", tree, "-f", "jsonl", "--no-save", "--hier-thresh", "0", *LOW]
        assert run([*args, "-o", str(tmp_path / "all")]) == 0
        assert run([*args, "-o", str(tmp_path / "dogs"), "--classes", "dog"]) == 0
        below = {"dog", "terrier", "poodle"}
        every = [item for record in records(tmp_path / "all") for item in record["detections"]]
        dogs = [item for record in records(tmp_path / "dogs") for item in record["detections"]]
        assert dogs == [item for item in every if item["name"] in below]
        assert 0 < len(dogs) < len(every)

    def test_only_takes_ids_of_the_tree(self, tree: str) -> None:
        detector = Detector.load(tree)
        assert labels_of_classes(detector.names, detector.head.tree, ["n2"]).nonzero()[0].tolist() == [2, 4, 5]
        assert labels_of_classes(detector.names, detector.head.tree, ["BUS"]).nonzero()[0].tolist() == [6]

    def test_runs_do_not_overwrite_each_other(self, flat: str, photos: Path, tmp_path: Path, monkeypatch) -> None:
        monkeypatch.chdir(tmp_path)
        for _ in range(3):
            assert run(["predict", str(photos / "a.jpg"), "-m", flat]) == 0
        assert sorted(path.name for path in Path("runs").iterdir()) == ["predict", "predict-2", "predict-3"]
        assert (tmp_path / "runs" / "predict-3" / "a.jpg").exists()

    def test_crops_are_in_a_folder_for_each_class(self, flat: str, photos: Path, tmp_path: Path) -> None:
        out = tmp_path / "out"
        assert run(["predict", str(photos), "-m", flat, "-o", str(out), "--no-save", "--crops", *LOW]) == 0
        expected: dict[str, tuple[int, int]] = {}
        for prediction in Detector.load(flat, conf_threshold=0.05).predict(photos):
            stem = Path(prediction.image.name).stem
            for number, (name, crop) in enumerate(zip(prediction.detections.names, prediction.crop(), strict=True), 1):
                expected[f"{name}/{stem}-{number}.jpg"] = (crop.shape[1], crop.shape[0])
        assert len(expected) > 5
        sizes = {}
        for path in (out / "crops").rglob("*.jpg"):
            with Image.open(path) as image:
                sizes[path.relative_to(out / "crops").as_posix()] = image.size
        assert sizes == expected
        assert sorted(path.name for path in out.iterdir()) == ["crops"]

    def test_nothing_is_made_where_nothing_can_be_read(self, flat: str, tmp_path: Path, monkeypatch, capsys) -> None:
        (tmp_path / "empty").mkdir()
        monkeypatch.chdir(tmp_path / "empty")
        Path("a.jpg").write_text("no image")
        for arguments in ([], ["-o", "out", "-f", "coco"], ["--json", "found.jsonl"]):
            assert run(["predict", "a.jpg", "-m", flat, *arguments]) == 3
        assert run(["predict", "a.jpg", "-m", flat, "-f", "no-format"]) == 2
        assert [path.name for path in Path().iterdir()] == ["a.jpg"]

    def test_a_folder_that_another_process_writes_into_is_refused(
        self, flat: str, photos: Path, tmp_path: Path, capsys
    ) -> None:
        out = tmp_path / "out"
        arguments = ["predict", str(photos), "-m", flat, "-o", str(out), "-f", "jsonl", "--no-save"]
        out.mkdir()
        with locked_folder(out):
            assert run(arguments) == 2
            assert f"--out: {out}: another process writes into it" in capsys.readouterr().err
            for command in ("track", "label", "review"):
                assert run([command, str(photos), "-m", flat, "-o", str(out)]) == 2
                assert f"--out: {out}: another process writes into it" in capsys.readouterr().err
        assert list(out.iterdir()) == []
        assert run(arguments) == 0
        assert [path.name for path in out.iterdir()] == ["detections.jsonl"]

    def test_show(self, flat: str, photos: Path, monkeypatch, capsys) -> None:
        shown: list[tuple[int, int]] = []
        monkeypatch.setattr(ImageShow, "show", lambda image, title: shown.append(image.size) or len(shown) != 2)
        assert run(["predict", str(photos), "-m", flat, "--no-save", "--show"]) == 3
        assert shown == [(90, 60), (41, 75), (120, 33)]
        assert "b.png: cannot be shown: no viewer" in capsys.readouterr().err

    def test_a_bad_image_does_not_stop_the_others(self, flat: str, photos: Path, capsys) -> None:
        (photos / "b.png").write_bytes((photos / "b.png").read_bytes()[:200])
        assert run(["predict", str(photos), "missing.jpg", "-m", flat, "--no-save"]) == 3
        out, err = capsys.readouterr()
        assert [line.split(" ")[0].rsplit("/", 1)[-1] for line in lines(out)[:2]] == ["a.jpg", "c.jpg"]
        assert "in 2 images, 2 failed" in out
        assert len(lines(err)) == 2
        assert "b.png: truncated or damaged PNG" in lines(err)[0]
        assert "missing.jpg: file not found" in lines(err)[1]

    def test_a_page_has_the_images_beside_it(self, tree: str, photos: Path, tmp_path: Path, capsys) -> None:
        out = tmp_path / "out"
        assert run(["predict", str(photos), "-m", tree, "-o", str(out), "-f", "html", *LOW]) == 0
        shown = re.findall(r'<img src="([^"]+)"', (out / "index.html").read_text())
        assert shown == ["a.jpg", "b.jpg", "c.jpg"]
        assert all((out / name).exists() for name in shown)
        capsys.readouterr()
        assert run(["predict", str(photos), "-m", tree, "-o", str(out), "-f", "html", "--no-save"]) == 2
        assert "--format: html shows the annotated images, which are not written" in capsys.readouterr().err

    def test_standard_input(self, flat: str, photos: Path, capsys, monkeypatch) -> None:
        data = io.TextIOWrapper(io.BytesIO((photos / "a.jpg").read_bytes()))
        monkeypatch.setattr(sys, "stdin", data)
        assert run(["predict", "-", "-m", flat, "--no-save"]) == 0
        assert lines(capsys.readouterr().out)[0].startswith("stdin 90x60: ")

    def test_a_video_becomes_a_video(self, flat: str, tmp_path: Path, capsys) -> None:
        import cv2

        writer = cv2.VideoWriter(str(tmp_path / "walk.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 10.0, (96, 64))
        for shade in range(7):
            writer.write(np.full((64, 96, 3), 30 * shade, np.uint8))
        writer.release()
        out = tmp_path / "out"
        assert (
            run(["predict", str(tmp_path / "walk.avi"), "-m", flat, "-o", str(out), "--every", "2", "-f", "jsonl"]) == 0
        )
        assert [record["frame"] for record in records(out)] == [0, 2, 4, 6]
        video = cv2.VideoCapture(str(out / "walk.mp4"))
        frames = 0
        while video.read()[0]:
            frames += 1
        assert frames == 4
        assert video.get(cv2.CAP_PROP_FPS) == pytest.approx(5)  # each second frame of 10 a second
        assert (video.get(cv2.CAP_PROP_FRAME_WIDTH), video.get(cv2.CAP_PROP_FRAME_HEIGHT)) == (96, 64)

    @pytest.mark.parametrize("batch", ["2", "5"])
    def test_batches_change_nothing(self, flat: str, photos: Path, tmp_path: Path, batch: str) -> None:
        args = ["predict", str(photos), "-m", flat, "-f", "jsonl", "--no-save", *LOW]
        assert run([*args, "-o", str(tmp_path / "one")]) == 0
        assert run([*args, "-o", str(tmp_path / "many"), "--batch", batch]) == 0
        for one, many in zip(records(tmp_path / "one"), records(tmp_path / "many"), strict=True):
            assert one["source"] == many["source"]
            assert [item["name"] for item in one["detections"]] == [item["name"] for item in many["detections"]]
            for a, b in zip(one["detections"], many["detections"], strict=True):
                assert a["score"] == pytest.approx(b["score"], abs=1e-5)
                assert a["box_xyxy"] == pytest.approx(b["box_xyxy"], abs=1e-2)

    def test_predict_is_lazy(self, flat: str, photos: Path) -> None:
        served = []

        def endless():
            while True:
                served.append(len(served))
                yield photos / "a.jpg"

        predictions = Detector.load(flat).predict(endless(), batch=2)
        assert next(predictions).image.name.endswith("a.jpg")
        next(predictions)
        assert len(served) <= 3

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["--conf-threshold", "1.5"], "--conf-threshold: must be less than 1, got 1.5"),
            (["--nms-iou", "-1"], "--nms-iou: must be at least 0, got -1.0"),
            (["--max-detections", "0"], "--max-detections: must be at least 1, got 0"),
            (["--size", "50"], "--size: must be multiples of 8, got 50x50 (nearest: 48x48)"),
            (["--size", "64x"], "--size: must be an integer or WIDTHxHEIGHT, got '64x'"),
            (["--size", "0"], "--size: must be an integer or WIDTHxHEIGHT, got '0'"),
            (["--batch", "0"], "--batch: must be at least 1, got 0"),
            (["--every", "0"], "--every: must be at least 1, got 0"),
            (["--classes", "dgo"], "--classes: the model has no class 'dgo' (did you mean 'dog'?)"),
            (
                ["--format", "cocoo"],
                "--format: must be one of jsonl, coco, csv, darknet, voc, html, geojson, got 'cocoo' (did you mean",
            ),
            (["--engine", "tensorrt"], "--engine: must be one of auto, openvino, onnxruntime, torch, got 'tensorrt'"),
            (["--tresh", "1"], "No such option: --tresh"),
            (["--names", "gone.names"], "gone.names: cannot be read: No such file or directory"),
            (["--weights", "gone.weights"], "gone.weights: cannot be read: No such file or directory"),
            (["--tree", "gone.tree"], "gone.tree: cannot be read: No such file or directory"),
            (["--data", "gone.data"], "gone.data: cannot be read: No such file or directory"),
            (["--device", "warp9"], "--device: must be"),
            (
                ["--precision", "bfloat16", "--engine", "onnxruntime"],
                "--precision: the engine onnxruntime computes in float32",
            ),
        ],
    )
    def test_wrong_use(self, flat: str, photos: Path, capsys, arguments: list[str], message: str) -> None:
        assert run(["predict", str(photos), "-m", flat, "--no-save", *arguments]) == 2
        out, err = capsys.readouterr()
        assert len(lines(err)) == 1
        assert err.startswith("yolo9000: error: ")
        assert message in err
        assert not out

    @pytest.mark.parametrize(
        ("model", "message"),
        [
            ("gone.cfg", "gone.cfg: cannot be read: No such file or directory"),
            ("gone.onnx", "gone.onnx: cannot be read: No such file or directory"),
            ("best.pt", "best.pt: PyTorch files are not read, as they can hold programs"),
            ("best.bin", "best.bin: must be yolo9000-small or a model file (.safetensors, .cfg, .onnx, .xml)"),
            ("yolov2", "yolov2: must be downloaded first: yolo9000 download yolov2"),
        ],
    )
    def test_wrong_model(self, photos: Path, capsys, model: str, message: str) -> None:
        assert run(["predict", str(photos), "-m", model]) == 2
        assert message in capsys.readouterr().err

    def test_an_internal_error_is_one_line_unless_debugging(self, flat: str, photos: Path, capsys, monkeypatch) -> None:
        monkeypatch.setattr("yolo9000.inference.detector.decode_candidates", lambda *_: 1 / 0)
        assert run(["predict", str(photos), "-m", flat, "--no-save"]) == 1
        err = capsys.readouterr().err
        assert lines(err) == [
            "yolo9000: error: internal error: ZeroDivisionError: division by zero (--debug shows where)"
        ]
        assert run(["predict", str(photos), "-m", flat, "--no-save"], debug=True) == 1
        assert "Traceback" in capsys.readouterr().err

    def test_full_folder_is_one_line(self, flat: str, photos: Path, tmp_path: Path, capsys) -> None:
        (tmp_path / "file").write_text("")
        assert run(["predict", str(photos), "-m", flat, "-o", str(tmp_path / "file" / "out")]) == 2
        assert "cannot be written" in capsys.readouterr().err


class TestInfo:
    @pytest.mark.parametrize(
        ("model", "size", "operations"),
        [
            ("darknet19", None, "5.58"),
            ("darknet19", "256", "7.29"),
            ("darknet19-448", None, "22.33"),
            ("yolov2-voc", None, "29.36"),
            ("yolov2", None, "62.94"),
            ("yolo9000", "416", "28.69"),
            ("yolo9000", None, "49.06"),
        ],
    )
    def test_operations(self, model: str, size: str | None, operations: str, capsys) -> None:
        assert run(["info", model, *(["--size", size] if size else [])]) == 0
        assert f"; {operations} G operations" in capsys.readouterr().out

    def test_a_cfg(self, tree: str, capsys) -> None:
        assert run(["info", tree]) == 0
        printed = lines(capsys.readouterr().out)
        assert printed[1].split() == ["0", "convolutional", "3x3,", "8", "filters", "72x48x8", "248", "0.001"]
        # conv 0: 3*3*3*8 kernels + 4*8 = 248 numbers; 2 * 27 * 8 * 72 * 48 = 1,492,992 operations
        assert printed[-1] == "7 classes, tree small.tree; anchors in cells: 0.8 x 1.1  2.5 x 1.7  3.1 x 3.9"

    def test_unknown(self, capsys) -> None:
        assert run(["info", "yolo2"]) == 2
        assert "(did you mean 'yolov2'?)" in capsys.readouterr().err


class TestExport:
    @pytest.mark.parametrize("to", ["onnx", "openvino", "darknet"])
    @pytest.mark.parametrize("head", ["dense", "lazy"])
    @pytest.mark.parametrize("kind", ["flat", "tree"])
    def test_the_exported_model_detects_the_same(self, kind, head, to, request, photos, tmp_path, capsys) -> None:
        cfg = request.getfixturevalue(kind)
        (tmp_path / "new").mkdir()
        out = tmp_path / "new" / "model"
        assert run(["export", cfg, "--to", to, "--out", str(out), "--head", head]) == 0
        suffix = {"onnx": ".onnx", "openvino": ".xml", "darknet": ".cfg"}[to]
        assert str(out.with_suffix(suffix)) in capsys.readouterr().out
        before = Detector.load(cfg, conf_threshold=0.05, engine="onnxruntime")
        after = Detector.load(out.with_suffix(suffix), conf_threshold=0.05, engine="openvino")
        assert after.names == before.names
        for ours, theirs in zip(after.predict(photos), before.predict(photos), strict=True):
            assert ours.detections.names == theirs.detections.names
            assert len(ours.detections) > 0
            np.testing.assert_allclose(ours.detections.scores, theirs.detections.scores, atol=1e-5)
            np.testing.assert_allclose(ours.detections.boxes_xyxy, theirs.detections.boxes_xyxy, atol=1e-2)
            for a, b in zip(ours.detections.answers, theirs.detections.answers, strict=True):
                assert [step.node for step in a.path] == [step.node for step in b.path]

    @pytest.mark.parametrize(
        ("to", "engine", "dtype"),
        [
            ("onnx", "onnxruntime", "float16"),
            ("onnx", "openvino", "float16"),
            ("openvino", "openvino", "float16"),
            ("onnx", "onnxruntime", "int8"),
            ("onnx", "openvino", "int8"),
        ],
    )
    @pytest.mark.parametrize("head", ["dense", "lazy"])
    def test_small_dtypes_make_a_small_file_and_detect_alike(
        self, head: str, to: str, engine: str, dtype: str, tree: str, photos: Path, tmp_path: Path
    ) -> None:
        suffix, written = {"onnx": (".onnx", ".onnx"), "openvino": (".xml", ".bin")}[to]
        sizes = []
        for name, more in (("whole", []), ("small", ["--dtype", dtype])):
            assert run(["export", tree, "--to", to, "--out", str(tmp_path / name), "--head", head, *more]) == 0
            sizes.append((tmp_path / f"{name}{written}").stat().st_size)
        # What is not weights weighs much in so small a network.
        assert sizes[1] < {"float16": 0.75, "int8": 0.65}[dtype] * sizes[0]
        whole, small = (
            Detector.load(tmp_path / f"{name}{suffix}", conf_threshold=0.05, engine=engine)
            for name in ("whole", "small")
        )
        close = {"float16": 5e-3, "int8": 5e-2}[dtype]
        for ours, theirs in zip(small.predict(photos), whole.predict(photos), strict=True):
            assert len(ours.detections) == pytest.approx(len(theirs.detections), rel=10 * close)
            best = slice(0, 20)  # below, equals change places
            np.testing.assert_allclose(ours.detections.scores[best], theirs.detections.scores[best], atol=close)

    def test_half_precision_must_hold_every_number(self, tree: str, tmp_path: Path, capsys) -> None:
        weights = tmp_path / "tree.weights"
        parameters = np.frombuffer(weights.read_bytes()[20:], np.float32).copy()
        parameters[-1] = 1e5
        weights.write_bytes(weights.read_bytes()[:20] + parameters.tobytes())
        assert run(["export", tree, "--dtype", "float16", "--out", str(tmp_path / "model.onnx")]) == 2
        assert "float16 holds values up to 65504" in capsys.readouterr().err
        assert run(["export", tree, "--dtype", "float16", "--to", "darknet", "--out", str(tmp_path / "other")]) == 2
        assert "is for ONNX and OpenVINO files" in capsys.readouterr().err

    def test_darknet_files_come_out_as_they_were(self, tree: str, tmp_path: Path) -> None:
        (tmp_path / "new").mkdir()
        assert run(["export", tree, "--to", "darknet", "--out", str(tmp_path / "new" / "again")]) == 0
        for new, old in {
            "again.weights": "tree.weights",
            "again.names": "tree.names",
            "again.tree": "small.tree",
        }.items():
            assert (tmp_path / "new" / new).read_bytes() == (tmp_path / old).read_bytes()

    def test_does_not_overwrite(self, flat: str, tmp_path: Path, capsys) -> None:
        out = tmp_path / "model.onnx"
        out.write_text("precious")
        assert run(["export", flat, "--out", str(out)]) == 2
        assert "already exists: choose another --out, or --overwrite" in capsys.readouterr().err
        assert out.read_text() == "precious"
        assert run(["export", flat, "--out", str(out), "--overwrite"]) == 0
        assert out.read_bytes()[:8] != b"precious"

    def test_a_suffix_of_another_format_is_an_error(
        self, flat: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert run(["export", flat, "--to", "openvino", "--out", str(tmp_path / "model.onnx")]) == 2
        assert "must end in .xml for openvino, got 'model.onnx'" in capsys.readouterr().err
        assert not (tmp_path / "model.xml").exists()

    def test_an_export_is_exported_again(self, flat: str, tmp_path: Path) -> None:
        assert run(["export", flat, "--out", str(tmp_path / "model.onnx")]) == 0
        assert run(["export", str(tmp_path / "model.onnx"), "--to", "openvino", "--out", str(tmp_path / "x")]) == 0
        assert (tmp_path / "x.bin").stat().st_size > 0

    def test_final_boxes_with_the_users_thresholds(self, flat: str, tmp_path: Path, capsys) -> None:
        out = tmp_path / "boxes.onnx"
        assert run(["export", flat, "--with-postprocess", "--conf", "0.4", "--out", str(out)]) == 0
        about = {item.key: item.value for item in onnx.load(out).metadata_props}
        assert (about["conf_threshold"], about["nms_iou"]) == ("0.4", "0.45")
        assert run(["export", flat, "--conf", "0.4", "--out", str(tmp_path / "y.onnx")]) == 2
        assert "--conf-threshold: can be used only with --with-postprocess" in capsys.readouterr().err
        assert run(["export", flat, "--with-postprocess", "--to", "openvino", "--out", str(tmp_path / "y")]) == 2
        assert "--to: must be onnx with --with-postprocess, got openvino" in capsys.readouterr().err

    def test_names_are_for_cfgs(self, flat: str, tmp_path: Path, capsys) -> None:
        assert run(["export", flat, "--out", str(tmp_path / "model.onnx")]) == 0
        args = ["predict", "x.jpg", "-m", str(tmp_path / "model.onnx"), "--names", str(tmp_path / "flat.names")]
        assert run(args) == 2
        assert "holds its own weights, names and tree" in capsys.readouterr().err


class TestProcess:
    """What only a process of its own can show."""

    @staticmethod
    def command(*arguments: str, **options) -> subprocess.Popen[str]:
        code = "from yolo9000.cli.app import main; main()"
        return subprocess.Popen(
            [sys.executable, "-c", code, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **options,
        )

    def test_no_arguments_shows_help(self) -> None:
        process = self.command()
        out, err = process.communicate(timeout=60)
        assert process.returncode == 2
        assert "predict" in out
        assert "export" in out
        assert not err

    def test_help_imports_nothing_heavy(self) -> None:
        code = """
import sys
from yolo9000.cli.app import run
codes = [run(["--version"]), run(["--help"])]
assert "pydantic" not in sys.modules
codes += [run(["predict", "--help"]), run(["val", "--help"])]
heavy = {"numpy", "torch", "cv2", "onnx", "PIL", "matplotlib"} & set(sys.modules)
print(codes, sorted(heavy), file=sys.stderr)
"""
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
        assert done.stdout.startswith("yolo9000 0.1.0\n")
        assert done.stderr == "[0, 0, 0, 0] []\n"

    @pytest.mark.posix
    @pytest.mark.parametrize(
        ("name", "code", "message"),
        [
            ("SIGINT", 130, "interrupted"),
            ("SIGTERM", 143, "stopped by SIGTERM"),
            ("SIGHUP", 129, "stopped by SIGHUP"),
        ],
    )
    def test_asked_to_stop_it_finishes_its_files(
        self, flat: str, photos: Path, tmp_path: Path, name: str, code: int, message: str
    ) -> None:
        (tmp_path / "list.txt").write_text(f"{photos / 'a.jpg'}\n" * 100_000)
        out = tmp_path / "out"
        process = self.command(
            "predict",
            str(tmp_path / "list.txt"),
            "-m",
            flat,
            "-o",
            str(out),
            "--no-save",
            "-f",
            "coco",
            "-f",
            "jsonl",
        )
        assert process.stdout is not None
        for _ in range(3):
            assert process.stdout.readline()
        process.send_signal(getattr(signal, name))
        if name != "SIGINT":  # a second Ctrl-C may cut off what the first one ends
            process.send_signal(getattr(signal, name))
        _, err = process.communicate(timeout=60)
        assert process.returncode == code
        assert lines(err) == [f"yolo9000: error: {message}"]
        assert len(records(out)) >= 3
        assert isinstance(json.loads((out / "coco_results.json").read_text()), list)

    @pytest.mark.posix
    def test_a_hangup_that_is_ignored_stops_nothing(self, flat: str, photos: Path, tmp_path: Path) -> None:
        """As ``nohup`` starts it."""
        (tmp_path / "list.txt").write_text(f"{photos / 'a.jpg'}\n" * 300)
        process = self.command(
            *("predict", str(tmp_path / "list.txt"), "-m", flat, "--no-save"),
            preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN),
        )
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGHUP)
        assert process.communicate(timeout=60)[0].splitlines()[-1].count(" 300 images") == 1
        assert process.returncode == 0

    def test_closed_pipe_is_quiet(self, flat: str, photos: Path, tmp_path: Path) -> None:
        (tmp_path / "list.txt").write_text(f"{photos / 'a.jpg'}\n" * 5_000)
        process = self.command("predict", str(tmp_path / "list.txt"), "-m", flat, "--no-save")
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        err = process.stderr.read()
        process.stderr.close()
        process.wait(timeout=60)
        assert process.returncode == 130
        assert not err

    @pytest.mark.skipif(not hasattr(os, "openpty"), reason="needs a terminal")
    def test_a_terminal_gets_a_moving_count(self, flat: str, photos: Path) -> None:
        import pty

        parent, child = pty.openpty()
        code = "from yolo9000.cli.app import main; main()"
        arguments = [sys.executable, "-c", code, "predict", str(photos), "-m", flat, "--no-save"]
        process = subprocess.Popen(arguments, stdout=child, stderr=child, env={**os.environ, "TERM": "xterm"})
        os.close(child)
        shown = b""
        try:
            while chunk := os.read(parent, 65536):
                shown += chunk
        except OSError:
            pass  # Linux ends a terminal whose other side has gone this way
        os.close(parent)
        assert process.wait(timeout=60) == 0
        assert b"a.jpg 90x60: " in shown
        assert b"\x1b[" in shown
        assert b"images" in shown


def test_parse_size() -> None:
    assert parse_size("416") == (416, 416)
    assert parse_size("608x352") == (608, 352)
    assert parse_size("608X352") == (608, 352)
    for wrong in ("", "x", "4x", "-4", "4x5x6", "4.5", "a"):
        with pytest.raises(ConfigError):
            parse_size(wrong)


def test_real_photograph() -> None:
    """A real network finds the dog, the bicycle and the car of the best known test image."""
    model = shared("data", "yolo-lite-voc", "yolo-lite-voc.cfg")
    (prediction,) = Detector.load(model).predict(shared("data", "photos", "dog.jpg"))
    detections = prediction.detections
    assert {"dog", "bicycle", "car"} <= set(detections.names)
    boxes = dict(zip(reversed(detections.names), reversed(detections.boxes_xyxy.tolist()), strict=True))
    # Where a person would draw them, to within a sixth of the image (640 x 480).
    for name, box in {"dog": (105, 185, 258, 455), "bicycle": (105, 100, 470, 350)}.items():
        np.testing.assert_allclose(boxes[name], box, atol=107)


def test_flat_names_are_the_files(flat: str) -> None:
    assert Detector.load(flat).names == FLAT_NAMES
