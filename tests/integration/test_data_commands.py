"""Data sets as a user has them: opened, checked, converted, clustered, scored."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.layouts import LAYOUTS
from support.paths import shared
from support.small_data import CLASSES, SIZE_WH, boxes_of, write_voc_set
from support.small_models import TREE, random_model, small_architecture, write_tree_model

from yolo9000.checkpoints.darknet.cfg import write_cfg
from yolo9000.checkpoints.darknet.weights import write_weights
from yolo9000.cli.adapt import parse_range
from yolo9000.cli.app import run
from yolo9000.data.dataset import open_data, splits_of
from yolo9000.data.decoding import image_hash
from yolo9000.data.duplicates import find_near_duplicates
from yolo9000.errors import ConfigError, DataError
from yolo9000.inference.detector import Detector
from yolo9000.types import Sample

COCO_METRICS = (
    *("map", "map50_coco", "map75", "map_small", "map_medium", "map_large"),
    *("ar1", "ar10", "ar100", "ar_small", "ar_medium", "ar_large"),
)


@pytest.fixture
def voc(tmp_path: Path) -> Path:
    return write_voc_set(tmp_path / "shapes")


@pytest.fixture
def model(tmp_path: Path) -> str:
    """A random detector that knows the small data set's classes, in the other order, and one more."""
    cfg = tmp_path / "net.cfg"
    network = random_model(small_architecture(3))
    cfg.write_text(write_cfg(network.architecture))
    write_weights(cfg.with_suffix(".weights"), network)
    cfg.with_suffix(".names").write_text("red\nblue\ngreen\n")
    return str(cfg)


def lines(text: str) -> list[str]:
    return text.strip().splitlines()


def gt(sample: Sample, classes: tuple[str, ...]) -> list[tuple[str, tuple[int, ...]]]:
    assert sample.boxes is not None
    boxes = np.rint(sample.boxes.boxes_xyxy).astype(int).tolist()
    return [(classes[label], tuple(box)) for label, box in zip(sample.boxes.labels, boxes, strict=True)]


def number_of(sample: Sample) -> int:
    return int(Path(sample.name).stem[1:])


class TestOpen:
    def test_voc_folder(self, voc: Path) -> None:
        assert splits_of(voc) == ["train", "val"]
        data = open_data(voc, "val")
        assert data.classes == CLASSES
        samples = list(data.samples())
        assert [number_of(sample) for sample in samples] == [9, 10, 11, 12, 13]
        for sample in samples:
            assert gt(sample, data.classes) == boxes_of(number_of(sample))
            assert sample.size_wh == SIZE_WH
        with pytest.raises(ConfigError, match="has no split 'test'; there: train, val"):
            open_data(voc, "test")

    @pytest.mark.parametrize("to", ["voc", "coco", "darknet"])
    def test_every_format_converts_into_every_other(self, voc: Path, tmp_path: Path, to: str, capsys) -> None:
        out = tmp_path / to
        assert run(["data", "convert", str(voc), "--to", to, "--out", str(out)]) == 0
        printed = lines(capsys.readouterr().out)
        assert [line.split(" written")[0] for line in printed] == ["train: 9 images", "val: 5 images"]
        opened = {"voc": out, "coco": out / "annotations" / "train.json", "darknet": out / "dataset.yaml"}[to]
        data = open_data(opened, "train")
        assert set(data.classes) == set(CLASSES)
        got = {number_of(sample): gt(sample, data.classes) for sample in data.samples()}
        assert got == {number: boxes_of(number) for number in range(9)}

    @pytest.mark.parametrize("to", ["voc", "coco", "darknet"])
    def test_from_darknet(self, voc: Path, tmp_path: Path, to: str) -> None:
        """Darknet's images are known by whole paths; what is written must not point back at them."""
        assert run(["data", "convert", str(voc), "--to", "darknet", "--out", str(tmp_path / "one")]) == 0
        assert (
            run(["data", "convert", str(tmp_path / "one" / "dataset.yaml"), "--to", to, "--out", str(tmp_path / to)])
            == 0
        )
        shutil.rmtree(tmp_path / "one")
        files = {"voc": "", "coco": "annotations/val.json", "darknet": "dataset.yaml"}
        data = open_data(tmp_path / to / files[to], "val")
        got = {number_of(sample): gt(sample, data.classes) for sample in data.samples()}
        assert got == {number: boxes_of(number) for number in range(9, 14)}

    def test_one_split(self, voc: Path, tmp_path: Path) -> None:
        assert run(["data", "convert", str(voc), "--to", "voc", "--out", str(tmp_path / "x"), "--split", "val"]) == 0
        assert splits_of(tmp_path / "x") == ["val"]

    def test_convert_does_not_overwrite(self, voc: Path, capsys) -> None:
        assert run(["data", "convert", str(voc), "--to", "coco", "--out", str(voc)]) == 2
        assert "must be a new or empty folder" in capsys.readouterr().err

    def test_class_folders(self, tmp_path: Path) -> None:
        for split in ("train", "val"):
            for name in ("n02084071", "n02121620"):
                folder = tmp_path / "set" / split / name
                folder.mkdir(parents=True)
                Image.new("RGB", (12, 9)).save(folder / "a.png")
        assert splits_of(tmp_path / "set") == ["train", "val"]
        data = open_data(tmp_path / "set", "val")
        assert data.classes == ("n02084071", "n02121620")
        assert [(sample.boxes, sample.image_labels) for sample in data.samples()] == [(None, (0,)), (None, (1,))]

    def test_data_set_file_maps_leaves_out_and_values_sources(self, voc: Path, tmp_path: Path) -> None:
        shelf = tmp_path / "shelf" / "crimson"
        shelf.mkdir(parents=True)
        Image.new("RGB", (12, 9)).save(shelf / "a.png")
        (tmp_path / "set.yaml").write_text(
            "classes: [thing, red]\n"
            "train:\n"
            "  - {format: voc, path: shapes, list: ImageSets/Main/train.txt, leave_out: [blue]}\n"
            "  - {format: folder, path: shelf, map: {crimson: red}, exhaustive: none}\n"
            "val:\n"
            "  - {format: voc, path: shapes, list: ImageSets/Main/val.txt, map: {blue: thing}, exhaustive: [red]}\n"
        )
        train = open_data(tmp_path / "set.yaml", "train")
        samples = list(train.samples())
        assert [sample.source for sample in samples] == [0] * 9 + [1]
        assert samples[-1].image_labels == (1,)
        for sample in samples[:-1]:
            assert gt(sample, train.classes) == [box for box in boxes_of(number_of(sample)) if box[0] == "red"]
        assert train.exhaustive(0).tolist() == [True, True]
        assert train.exhaustive(1).tolist() == [False, False]
        val = open_data(tmp_path / "set.yaml", "val")
        assert val.exhaustive(0).tolist() == [False, True]
        renamed = {"blue": "thing", "red": "red"}
        for sample in val.samples():
            expected = [(renamed[name], box) for name, box in boxes_of(number_of(sample))]
            assert gt(sample, val.classes) == expected

    def test_objects_of_a_class_of_the_set_can_be_left_out_of_a_source(self, voc: Path, tmp_path: Path) -> None:
        source = "format: voc, path: shapes, list: ImageSets/Main/train.txt"
        (tmp_path / "set.yaml").write_text(
            f"classes: [blue, red]\ntrain: [{{{source}, leave_out: [blue]}}, {{{source}}}]"
        )
        data = open_data(tmp_path / "set.yaml", "train")
        labels = {0: set(), 1: set()}
        for sample in data.samples():
            labels[sample.source] |= set(sample.boxes.labels.tolist())
        assert labels == {0: {1}, 1: {0, 1}}
        assert data.exhaustive(0).tolist() == [False, True]  # where blue ones are is not known there
        assert data.exhaustive(1).tolist() == [True, True]

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("a: [", "must be YAML"),
            ("just text", "must be YAML with keys such as classes, train, val"),
            ("classes: [red, yes]\ntrain: [{format: voc, path: shapes}]", "must be a string, got True"),
            ("classes: [red, red]\ntrain: [{format: voc, path: shapes}]", "'red' is named 2 times"),
            ("train: [{format: vocc, path: shapes}]", "vocc"),
            ("train: [{format: voc, path: shapes, lst: x}]", "lst: unknown key"),
            ("train: [{format: voc}]", "path: is missing"),
            ("classes: [red]\ntrain: []", "has no split 'train'; there: none"),
            ("classes: gone.txt\ntrain: [{format: voc, path: shapes}]", "gone.txt: cannot be read"),
            ("classes: [red]\ndownload: http://example.org/x.zip\ntrain: []", "download: unknown key"),
            ("train: [{format: tar, path: x.tar}]", "x.tar: file-unreadable"),
            ("classes: [red]\ntree: gone.tree\ntrain: [{format: voc, path: shapes}]", "gone.tree: cannot be read"),
            ("classes: !!python/object/apply:os.system [x]\ntrain: []", "must be YAML"),
        ],
    )
    def test_wrong_files(self, voc: Path, tmp_path: Path, text: str, message: str, capsys) -> None:
        (tmp_path / "set.yaml").write_text(text)
        assert run(["data", "check", str(tmp_path / "set.yaml"), "--split", "train"]) == 2
        err = capsys.readouterr().err
        assert len(lines(err)) == 1
        assert message in err

    def test_a_class_that_is_none(self, voc: Path, tmp_path: Path) -> None:
        (tmp_path / "set.yaml").write_text("classes: [red, blau]\ntrain: [{format: voc, path: shapes}]")
        with pytest.raises(DataError, match="must be one of the 2 classes, got 'blue'"):
            list(open_data(tmp_path / "set.yaml").samples())
        (tmp_path / "set.yaml").write_text("classes: [red]\ntrain: [{format: voc, path: shapes, map: {blue: rde}}]")
        with pytest.raises(
            ConfigError, match=r"'rde' must be one of the classes, or in leave_out \(did you mean 'red'\?\)"
        ):
            list(open_data(tmp_path / "set.yaml").samples())

    def test_nothing_recognised(self, tmp_path: Path) -> None:
        (tmp_path / "empty").mkdir()
        with pytest.raises(DataError, match="is not recognized as a data set; seen: nothing"):
            open_data(tmp_path / "empty")
        (tmp_path / "set.zip").write_text("")
        with pytest.raises(DataError, match="archive-damaged: must be a whole archive"):
            open_data(tmp_path / "set.zip")
        with pytest.raises(DataError, match="file or folder not found"):
            open_data(tmp_path / "gone")

    def test_data_alone_names_what_is_missing(self, capsys) -> None:
        assert run(["data"]) == 2
        assert lines(capsys.readouterr().err) == ["yolo9000: error: Missing command (see yolo9000 --help)"]


def break_one(voc: Path, number: int, old: str, new: str) -> None:
    path = voc / "Annotations" / f"p{number:02}.xml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


class TestOnBad:
    def test_error_skip_fix(self, voc: Path) -> None:
        break_one(voc, 2, "<xmax>33</xmax>", "<xmax>330</xmax>")  # red of image 2: left 13, width 20
        data = open_data(voc, "train")
        with pytest.raises(DataError, match=r"p02\.xml: object 1: box-outside: .*; .*data check"):
            list(data.samples())
        assert [number_of(sample) for sample in data.samples("skip")] == [0, 1, 3, 4, 5, 6, 7, 8]
        fixed = list(data.samples("fix"))
        assert len(fixed) == 9
        assert gt(fixed[2], data.classes)[0] == ("red", (13, 10, 90, 22))  # clipped to the image's 90


class TestCheck:
    def test_a_good_set(self, voc: Path, tmp_path: Path, capsys) -> None:
        assert run(["data", "check", str(voc), "--out", str(tmp_path / "report")]) == 0
        out = capsys.readouterr().out
        # images 0 to 8 hold 0, 1, 2, 0, 1, 2, 0, 1, 2 boxes; 9 to 13 hold 0, 1, 2, 0, 1
        assert "train: 9 images, 9 with boxes (9), 0 with image-level labels, 0 issues" in out
        assert "val: 5 images, 5 with boxes (4), 0 with image-level labels, 0 issues" in out
        report = json.loads((tmp_path / "report" / "report.json").read_text())
        assert report["splits"]["train"]["boxes"] == {"blue": 3, "red": 6}
        assert report["issues"] == []
        page = (tmp_path / "report" / "report.html").read_text()
        assert page.count("<img") == 9 + 5 + 2  # every image, and a plot of sizes for each split
        assert "http" not in page

    def test_every_issue_is_reported(self, voc: Path, tmp_path: Path, capsys) -> None:
        break_one(voc, 1, "<name>red</name>", "<name>purple</name>")
        break_one(voc, 2, "<xmax>33</xmax>", "<xmax>3</xmax>")
        whole = (voc / "JPEGImages" / "p04.png").read_bytes()
        (voc / "JPEGImages" / "p04.png").write_bytes(whole[: len(whole) // 2])
        (voc / "JPEGImages" / "p05.png").unlink()
        (voc / "JPEGImages" / "p09.png").write_bytes((voc / "JPEGImages" / "p08.png").read_bytes())
        (tmp_path / "set.yaml").write_text(
            "classes: [red, blue]\n"
            "train: [{format: voc, path: shapes, list: ImageSets/Main/train.txt}]\n"
            "val: [{format: voc, path: shapes, list: ImageSets/Main/val.txt}]\n"
        )
        assert run(["data", "check", str(tmp_path / "set.yaml"), "-o", str(tmp_path / "report"), "--all"]) == 4
        out = capsys.readouterr().out
        for position, code in {
            "p01.xml: object 1": "class-unknown",
            "p02.xml: object 1": "box-inverted",
            "p04.png": "image-unreadable",
            "p05.xml": "label-orphan",
            "val: p09.png": "image-in-two-splits",
        }.items():
            assert any(f"{position}: {code}: " in line for line in lines(out)), (code, out)
        issues = json.loads((tmp_path / "report" / "report.json").read_text())["issues"]
        assert len(issues) == 5
        assert all(issue["suggestion"] for issue in issues)

    def test_near_duplicates(self) -> None:
        rng = np.random.default_rng(0)
        coarse = rng.integers(0, 256, (9, 7, 3), dtype=np.uint8)
        large = np.asarray(Image.fromarray(coarse).resize((140, 180), Image.Resampling.BICUBIC))
        smaller = np.asarray(Image.fromarray(large).resize((100, 130), Image.Resampling.BILINEAR))
        other = np.asarray(Image.fromarray(coarse[:, ::-1].copy()).resize((140, 180), Image.Resampling.BICUBIC))
        plain = np.full((50, 60, 3), 128, np.uint8)
        one = [image_hash(Image.fromarray(image)) for image in (large, plain)]
        two = [image_hash(Image.fromarray(image)) for image in (plain, other, smaller)]
        assert list(find_near_duplicates(one, two)) == [(0, 2)]
        assert list(find_near_duplicates([], two)) == []


class TestAnchors:
    def test_prints_table_and_cfg_line(self, voc: Path, tmp_path: Path, capsys) -> None:
        plot = tmp_path / "anchors.png"
        args = ["anchors", str(voc), "--k", "2", "--size", "288x192", "--plot", str(plot)]
        assert run(args) == 0
        out = capsys.readouterr().out
        assert "9 boxes" in out
        # Letterboxed from 90 x 60 to 288 x 192, scale 3.2: 20 x 12 pixels are 64 x 38.4, in cells 2 x 1.2;
        # 12 x 20 pixels are 1.2 x 2. With k = 2 the clusters are exactly these.
        assert "anchors = 1.2, 2, 2, 1.2" in out or "anchors = 2, 1.2, 1.2, 2" in out
        with Image.open(plot) as image:
            assert image.format == "PNG"

    def test_a_plot_that_cannot_be_written(self, voc: Path, tmp_path: Path, capsys) -> None:
        assert run(["anchors", str(voc), "--k", "2", "--plot", str(tmp_path / "gone" / "x.png")]) == 2
        assert lines(capsys.readouterr().err) == [
            "PASCAL VOC: train 9, val 5",
            f"yolo9000: error: {tmp_path / 'gone' / 'x.png'}: No such file or directory",
        ]

    @pytest.mark.parametrize("k", ["0", "5-3", "x", "1-", "101", "-3"])
    def test_wrong_k(self, voc: Path, k: str, capsys) -> None:
        assert run(["anchors", str(voc), f"--k={k}"]) == 2
        assert "--k: must be integers from 1 to 100" in capsys.readouterr().err

    def test_ranges(self) -> None:
        assert parse_range("1-3,9,2") == [1, 2, 3, 9]


class TestVal:
    def test_detections_file_and_model_agree_with_pycocotools(self, voc, model, tmp_path, capsys) -> None:
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval

        out = tmp_path / "val"
        assert run(["val", model, str(voc), "--out", str(out), "--format", "coco", "--format", "voc"]) == 0
        scores = json.loads((out / "scores.json").read_text())
        assert scores["images"] == 5
        assert {item["name"]: item["gts"] for item in scores["classes"]} == {"red": 3, "blue": 1}
        assert {path.name for path in out.iterdir()} >= {"report.html", "f1.png", "confusion.png", "calibration.png"}

        data = open_data(voc, "val")
        samples = list(data.samples())
        images = [{"id": number_of(s), "width": 90, "height": 60, "file_name": s.name} for s in samples]
        annotations = []
        for sample in samples:
            for name, (left, top, right, bottom) in gt(sample, data.classes):
                width, height = right - left, bottom - top
                annotations.append(
                    {
                        "id": len(annotations) + 1,
                        "image_id": number_of(sample),
                        "category_id": CLASSES.index(name),
                        "bbox": [left, top, width, height],
                        "area": width * height,
                        "iscrowd": 0,
                    }
                )
        coco = COCO()
        coco.dataset = {
            "images": images,
            "annotations": annotations,
            "categories": [{"id": i, "name": name} for i, name in enumerate(CLASSES)],
        }
        coco.createIndex()
        results = json.loads((out / "coco_results.json").read_text())
        results = [record | {"image_id": int(record["image_id"][1:])} for record in results]
        judge = COCOeval(coco, coco.loadRes(results), "bbox")
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
        ours = [value for name, value in scores["metrics"].items() if name in COCO_METRICS]
        theirs = [None if value == -1 else value for value in judge.stats]
        assert ours == pytest.approx(theirs, abs=1e-12)

        assert run(["val", str(out / "coco_results.json"), str(voc), "--out", str(tmp_path / "b")]) == 0
        again = json.loads((tmp_path / "b" / "scores.json").read_text())
        assert again["metrics"] == pytest.approx(scores["metrics"], abs=1e-6, nan_ok=True)
        capsys.readouterr()

    def test_perfect_detections(self, voc: Path, tmp_path: Path, capsys) -> None:
        data = open_data(voc, "val")
        results = [
            {
                "image_id": Path(s.name).stem,
                "category_id": CLASSES.index(name),
                "bbox": [x, y, x2 - x, y2 - y],
                "score": 0.9,
            }
            for s in data.samples()
            for name, (x, y, x2, y2) in gt(s, data.classes)
        ]
        (tmp_path / "all.json").write_text(json.dumps(results))
        assert run(["val", str(tmp_path / "all.json"), str(voc), "--out", str(tmp_path / "val")]) == 0
        metrics = json.loads((tmp_path / "val" / "scores.json").read_text())["metrics"]
        assert (metrics["map50"], metrics["map"], metrics["best_f1"]) == (1.0, pytest.approx(1.0), 1.0)

    def test_a_tree_is_scored_by_depth(self, tmp_path: Path, capsys) -> None:
        cfg = write_tree_model(tmp_path)
        voc = write_voc_set(tmp_path / "shapes")
        (tmp_path / "set.yaml").write_text(
            "classes: [terrier, bus]\n"
            "val: [{format: voc, path: shapes, list: ImageSets/Main/val.txt, map: {red: terrier, blue: bus}}]\n"
        )
        assert voc.exists()
        (tmp_path / "weak.txt").write_text("bus\n")
        args = ["val", str(cfg), str(tmp_path / "set.yaml"), "-o", str(tmp_path / "val"), "--hier-thresh", "0"]
        assert run([*args, "--only-labels", str(tmp_path / "weak.txt")]) == 0
        scores = json.loads((tmp_path / "val" / "scores.json").read_text())
        assert list(scores["by_depth"]) == ["0", "1", "2"]
        names = set(scores["metrics"])
        assert {"map50_partial_credit", "mean_distance", "map50_boxed", "map50_label_only"} <= names
        assert scores["by_depth"]["2"] == scores["metrics"]["map50"]
        assert (tmp_path / "val" / "specificity_risk.png").exists()
        assert {"all", "depth_0"} <= set(scores["ece"])
        assert TREE.names[4] == "terrier"
        (tmp_path / "weak.txt").write_text(f"{TREE.ids[TREE.find('bus')]}\n")
        assert run([*args, "--only-labels", str(tmp_path / "weak.txt")]) == 0
        assert json.loads((tmp_path / "val" / "scores.json").read_text()) == scores
        (tmp_path / "weak.txt").write_text("tram\n")
        assert run([*args, "--only-labels", str(tmp_path / "weak.txt")]) == 2
        assert "weak.txt: 'tram' must be the id or name of a node" in capsys.readouterr().err

    @pytest.mark.parametrize(
        ("contents", "message"),
        [
            ("{", "must be JSON"),
            ("{}", "must be a list of results"),
            ("[3]", "result 0: must be an object"),
            (
                '[{"image_id": "p09", "category_id": 7, "bbox": [1, 2, 3, 4], "score": 1}]',
                "category_id 7 must be a category of",
            ),
            ('[{"image_id": "p77", "category_id": 1, "bbox": [1, 2, 3, 4], "score": 1}]', "'p77' must be an image of"),
            ('[{"image_id": "p09", "category_id": true, "bbox": [1, 2, 3, 4], "score": 1}]', "must be an integer"),
            ('[{"image_id": "p09", "category_id": 1, "bbox": [1, 2, 3], "score": 1}]', "bbox must be [left"),
            ('[{"image_id": "p09", "category_id": 1, "bbox": [1, 2, -3, 4], "score": 1}]', "must have width >= 0"),
            ('[{"image_id": "p09", "category_id": 1, "bbox": [1, 2, 3, NaN], "score": 1}]', "bbox must be"),
            ('[{"image_id": "p09", "category_id": 1, "bbox": [1, 2, 3, 4], "score": "x"}]', "score must be a number"),
        ],
    )
    def test_wrong_results(self, voc: Path, tmp_path: Path, contents: str, message: str, capsys) -> None:
        (tmp_path / "x.json").write_text(contents)
        assert run(["val", str(tmp_path / "x.json"), str(voc), "-o", str(tmp_path / "val")]) == 2
        err = capsys.readouterr().err
        assert lines(err)[:-1] == ["PASCAL VOC: train 9, val 5"]
        assert message in err

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["net.cfg"], "Missing argument"),
            (["found.json", "DATA", "--size", "64", "--device", "cpu"], "--size, --device cannot be used with"),
            (["found.json", "DATA", "--nms-iou", "0.5"], "--nms-iou cannot be used with a file of detections"),
            (["found.json", "DATA", "--conf-threshold", "0.5"], "No such option"),
        ],
    )
    def test_wrong_use(self, arguments: list[str], message: str, voc: Path, capsys) -> None:
        assert run(["val", *(word.replace("DATA", str(voc)) for word in arguments)]) == 2
        assert message in capsys.readouterr().err

    def test_a_class_that_the_model_does_not_know(self, voc: Path, model: str, tmp_path: Path, capsys) -> None:
        Path(model).with_suffix(".names").write_text("rosso\nblue\ngreen\n")
        assert run(["val", model, str(voc), "-o", str(tmp_path / "val")]) == 2
        assert "class 'red' must be one of the model's 3 labels, got none with this name" in capsys.readouterr().err

    def test_image_level_labels_are_scored_by_the_best_box(self, model: str, tmp_path: Path, capsys) -> None:
        colors = {"red": (200, 20, 30), "blue": (10, 40, 220)}
        for name, color in colors.items():
            (tmp_path / "set" / name).mkdir(parents=True)
            Image.new("RGB", (12, 9), color).save(tmp_path / "set" / name / "a.png")
        assert run(["val", model, str(tmp_path / "set"), "-o", str(tmp_path / "val")]) == 0
        reported = dict(line.rsplit(maxsplit=1) for line in capsys.readouterr().out.splitlines()[1:])
        # By hand: the class of the detection with the best score, of all that pass next to no threshold
        detector = Detector.load(model, conf_threshold=0.0, nms_iou=1.0, max_detections=9999)
        detector = detector.with_query(detector.query.with_classes(detector.head, colors))
        right = 0
        for name, color in colors.items():
            got = detector.detect([np.full((9, 12, 3), color, np.uint8)])[0]
            right += got.names[int(got.scores.argmax())] == name
        assert float(reported["top1"]) == right / 2
        assert float(reported["top5"]) == 1

    def test_nothing_known_no_scores(self, model: str, tmp_path: Path, capsys) -> None:
        for part in ("images", "labels"):
            (tmp_path / "set" / part).mkdir(parents=True)
        (tmp_path / "set.yaml").write_text("names: [red, blue]\nval: set/images\n")
        assert run(["val", model, str(tmp_path / "set.yaml"), "-o", str(tmp_path / "val")]) == 2
        assert "must have images" in capsys.readouterr().err


def test_a_real_detector_scores_the_same_by_an_independent_calculation(tmp_path, capsys) -> None:
    """yolo-lite-voc on coco128, VOC's classes only: gt read by other code, AP by pycocotools on exported results."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    from yolo9000.taxonomy.class_names import VOC

    folder = shared("data", "coco128")
    (tmp_path / "voc.txt").write_text("\n".join(VOC))
    source = f"{{format: darknet, path: {folder}/images/train2017, names: {folder}/classes.txt, leave_out: others}}"
    (tmp_path / "set.yaml").write_text(f"classes: voc.txt\nval: [{source}]\n")
    model = str(shared("data", "yolo-lite-voc", "yolo-lite-voc.cfg"))
    out = tmp_path / "val"
    assert run(["val", model, str(tmp_path / "set.yaml"), "-o", str(out), "--on-error", "fix", "-f", "coco"]) == 0
    ours = json.loads((out / "scores.json").read_text())["metrics"]

    names = (folder / "classes.txt").read_text().split("\n")
    images, annotations = [], []
    for image in sorted((folder / "images" / "train2017").iterdir()):
        with Image.open(image) as header:
            width, height = header.size
        images.append({"id": int(image.stem), "width": width, "height": height})
        for line in (folder / "labels" / "train2017" / f"{image.stem}.txt").read_text().splitlines():
            number, cx, cy, w, h = line.split()
            if names[int(number)] in VOC:
                box = [
                    (float(cx) - float(w) / 2) * width,
                    (float(cy) - float(h) / 2) * height,
                    float(w) * width,
                    float(h) * height,
                ]
                annotations.append(
                    {
                        "id": len(annotations) + 1,
                        "image_id": int(image.stem),
                        "category_id": VOC.index(names[int(number)]),
                        "bbox": box,
                        "area": box[2] * box[3],
                        "iscrowd": 0,
                    }
                )
    coco = COCO()
    categories = [{"id": i, "name": name} for i, name in enumerate(VOC)]
    coco.dataset = {"images": images, "annotations": annotations, "categories": categories}
    coco.createIndex()
    judge = COCOeval(coco, coco.loadRes(str(out / "coco_results.json")), "bbox")
    judge.evaluate()
    judge.accumulate()
    judge.summarize()
    values = [value for name, value in ours.items() if name in COCO_METRICS]
    assert values == pytest.approx(list(judge.stats), abs=1e-3)  # labels have six digits: sizes differ in the last one
    assert ours["map50_coco"] == pytest.approx(judge.stats[1], abs=1e-6)
    assert 0.1 < ours["map50_coco"] < 0.3


@pytest.mark.parametrize(
    ("parts", "splits", "images", "boxes", "codes"),
    [
        (("bccd",), ["train", "val", "test"], 364, 4886, {"box-empty": 2}),
        (("fruit",), ["train", "test"], 300, 582, {}),
        (("coco128",), ["train"], 126, 929, {"label-orphan": 2}),
    ],
)
def test_real_data_sets(parts, splits, images, boxes, codes, tmp_path, capsys) -> None:
    folder = shared("data", *parts)
    assert splits_of(folder) == splits
    assert run(["data", "check", str(folder), "-o", str(tmp_path / "report")]) == (4 if codes else 0)
    report = json.loads((tmp_path / "report" / "report.json").read_text())
    assert sum(split["images"] for split in report["splits"].values()) == images
    assert sum(sum(split["boxes"].values()) for split in report["splits"].values()) == boxes
    got = [issue["code"] for issue in report["issues"]]
    assert {code: got.count(code) for code in set(got)} == codes


class TestSplitStatsDedupe:
    def test_split_writes_a_data_set_file(self, tmp_path: Path, capsys) -> None:
        LAYOUTS["coco in one file"].write(tmp_path / "set")
        out = tmp_path / "lists" / "mine.yaml"
        out.parent.mkdir()
        assert run(["data", "split", str(tmp_path / "set"), "--val", "0.34", "--out", str(out)]) == 0
        assert "train 4, val 2" in capsys.readouterr().out
        names = {split: {sample.name for sample in open_data(out, split).samples()} for split in ("train", "val")}
        assert {split: len(some) for split, some in names.items()} == {"train": 4, "val": 2}
        assert not names["train"] & names["val"]
        assert (tmp_path / "lists" / "mine-val.txt").read_text().splitlines() == sorted(names["val"])
        (tmp_path / "set" / "images" / sorted(names["val"])[0]).unlink()
        with pytest.raises(DataError, match=r"image-missing: its image .* must be one that can be read, is not"):
            list(open_data(out, "val").samples())

    def test_stats(self, tmp_path: Path, capsys) -> None:
        LAYOUTS["yolo of ultralytics"].write(tmp_path / "set")
        assert run(["data", "stats", str(tmp_path / "set"), "--out", str(tmp_path / "out")]) == 0
        printed = capsys.readouterr().out
        assert "train: 3 images, 6 boxes, 0 images without objects" in printed
        record = json.loads((tmp_path / "out" / "stats.json").read_text())
        assert record["splits"]["val"]["images"] == 2
        assert set(record["drift"]) == {"train-val", "train-test", "val-test"}
        assert "Drift" in (tmp_path / "out" / "report.html").read_text()

    def test_dedupe(self, tmp_path: Path, capsys) -> None:
        LAYOUTS["coco as downloaded"].write(tmp_path / "set")
        assert run(["data", "dedupe", str(tmp_path / "set")]) == 0
        shutil.copy(tmp_path / "set" / "val2017" / "part 3.png", tmp_path / "set" / "train2017" / "part 0.png")
        out = tmp_path / "less.yaml"
        assert run(["data", "dedupe", str(tmp_path / "set"), "--out", str(out)]) == 4
        assert "train: part 0.png is the same as val: part 3.png" in capsys.readouterr().out
        assert sorted(sample.name for sample in open_data(out).samples()) == ["part 1.png", "part 2.png"]
        assert len(list(open_data(out, "val").samples())) == 2

    def test_what_is_left_out_is_said_with_the_full_list(
        self, voc: Path, tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        file = voc / "Annotations" / "p01.xml"
        file.write_text(file.read_text().replace("<xmax>28</xmax>", "<xmax>999</xmax>"))
        (voc / "JPEGImages" / "p02.png").unlink()
        out = tmp_path / "c"
        for on_error, said in (
            ("skip", "train: 2 of 9 images or records left out: 1 x box-outside, 1 x label-orphan"),
            ("fix", "train: 1 of 9 images or records left out: 1 x label-orphan"),
        ):
            assert run(["data", "convert", str(voc), "--to", "coco", "-o", str(out), "--on-error", on_error]) == 0
            printed = lines(capsys.readouterr().out)
            assert said in printed
            listed = [json.loads(line) for line in (tmp_path / "c-left-out-train.jsonl").read_text().splitlines()]
            assert [record["code"] for record in listed] == ["box-outside", "label-orphan"]
            shutil.rmtree(out)
        assert "train: 1 objects corrected or left out: 1 x box-outside" in printed
        assert run(["anchors", str(voc), "--k", "2", "--on-error", "skip"]) == 0
        assert "train: 2 of 9 images or records left out" in capsys.readouterr().out
