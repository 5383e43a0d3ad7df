"""Every row of the tables in docs/data.md is run on a miniature; every format is in them."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

import pytest
from support.layouts import LAYOUTS
from support.paths import ROOT

from yolo9000.cli.app import run
from yolo9000.data.formats import FORMATS, WRITABLE

PAGE = (ROOT / "docs" / "data.md").read_text()
ROWS = re.findall(r"^\| ([^|]+) \| ([^|]+) \| `yolo9000 data check (\S+)` \|$", PAGE, re.MULTILINE)
LAYOUT_OF = {
    ("Roboflow", "COCO"): "coco of roboflow",
    ("Roboflow", "YOLO (any version)"): "yolo of roboflow",
    ("Roboflow", "Pascal VOC"): "voc of roboflow",
    ("Roboflow", "YOLO Darknet"): "darknet of roboflow",
    ("Roboflow", "CSV (`_annotations.csv`)"): "csv of roboflow",
    ("Roboflow", "Multi-label (`_classes.csv`)"): "multi-label of roboflow",
    ("CVAT", "CVAT for images 1.1"): "cvat",
    ("CVAT", "YOLO 1.1"): "yolo of cvat",
    ("CVAT", "Ultralytics YOLO detection"): "yolo with lists",
    ("CVAT", "COCO 1.0"): "coco of cvat",
    ("CVAT", "Pascal VOC 1.1"): "voc",
    ("CVAT", "Open Images V6"): "open images of cvat",
    ("Label Studio", "JSON"): "label studio",
    ("Label Studio", "JSON-MIN"): "label studio min",
    ("Label Studio", "COCO"): "coco of label studio",
    ("Label Studio", "YOLO with images"): "yolo of label studio",
    ("labelImg", "PascalVOC (XML beside the images)"): "voc of labelimg",
    ("labelImg", "YOLO (text files, `classes.txt`)"): "yolo of labelimg",
    ("LabelMe", "its own JSON files"): "labelme",
    ("VIA", "annotations as JSON"): "via",
    ("VIA", "annotations as CSV"): "via csv",
    ("VIA", "the saved project"): "via project",
    ("Supervisely", "Supervisely project"): "supervisely",
    ("Ultralytics", "`data.yaml`"): "yolo of ultralytics",
    ("Darknet, Yolo_mark", "`obj.data`"): "yolo mark",
    ("keras-retinanet", "CSV without a header"): "keras-retinanet csv",
    ("WebDataset", "tar shards"): "webdataset",
    ("Hugging Face", "`imagefolder` with `metadata.jsonl`"): "imagefolder",
    ("Hugging Face", "`imagefolder` with `metadata.csv`"): "imagefolder of labels",
    ("Hugging Face", "Parquet (images with objects or with a label)"): "parquet",
    ("any", "a folder of images for each class"): "class folders",
    ("COCO", "`annotations/`, `train2017/`, `val2017/` in one folder"): "coco as downloaded",
    ("LVIS", "its JSON files beside COCO's images"): "lvis",
    ("PASCAL VOC", "`VOCdevkit/`, any number of years"): "voc devkit",
    ("PASCAL VOC as on Kaggle", "`annotations/`, `images/`"): "voc of kaggle",
    ("ImageNet DET", "`Annotations/`, `Data/`"): "imagenet det",
    ("Open Images", "CSV files of boxes, class descriptions, folders of images"): "open images",
    ("Open Images", "the same with image-level labels and the hierarchy"): "open images v7",
    ("KITTI", "`training/`"): "kitti",
    ("WIDER FACE", "`WIDER_train/`, `WIDER_val/`, `wider_face_split/`"): "wider face",
}


def test_every_row_has_a_miniature() -> None:
    assert {(tool, export) for tool, export, _ in ROWS} == set(LAYOUT_OF)


@pytest.mark.parametrize(("tool", "export", "path"), ROWS)
def test_the_command_of_a_row(tool: str, export: str, path: str, tmp_path: Path, capsys) -> None:
    layout = LAYOUTS[LAYOUT_OF[tool, export]]
    layout.write(tmp_path / "parts")
    if path.endswith(".zip"):
        with zipfile.ZipFile(tmp_path / "parts.zip", "w") as zipped:
            for file in (tmp_path / "parts").rglob("*"):
                zipped.write(file, file.relative_to(tmp_path / "parts"))
    assert run(["data", "check", str(tmp_path / path), "--out", str(tmp_path / "report")]) == 0
    printed = capsys.readouterr().out
    for split, images in layout.splits.items():
        assert f"{split}: {len(images)} images" in printed


def test_the_table_of_formats_is_the_registry() -> None:
    rows = re.findall(r"^\| `(\w+)` \| .* \| (yes|) *\|$", PAGE, re.MULTILINE)
    assert {name for name, _ in rows} == set(FORMATS)
    assert {name for name, written in rows if written} == set(WRITABLE)
