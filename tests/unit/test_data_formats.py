"""What every data format has; a new one is held to it by its line in `FORMATS`."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from PIL import Image

from yolo9000.data.dataset import open_data
from yolo9000.data.format import Format, Recognition, SourceSettings
from yolo9000.data.formats import FORMATS, WRITABLE
from yolo9000.data.listing import Listing
from yolo9000.data.recognize import recognize
from yolo9000.io.naming import OutputNames
from yolo9000.types import BoxAnnotations, ImageFile, Sample

CLASSES = ("gear", "nut")


def assert_is_format(name: str, one: Format) -> None:
    """The members that the rest of the program counts on."""
    assert name == one.NAME
    assert one.TITLE
    assert one.TITLE.isprintable()
    assert issubclass(one.Source, SourceSettings)
    assert get_args(one.Source.model_fields["format"].annotation) == (name,)
    assert one.Source.model_fields["format"].default == name
    assert "path" in one.Source.FILES
    assert set(one.Source.FILES) <= set(one.Source.model_fields)
    assert list(inspect.signature(one.sniff).parameters) == ["listing"]
    assert list(inspect.signature(one.class_names).parameters) == ["root", "source"]
    assert list(inspect.signature(one.read).parameters) == ["root", "source", "classes"]
    if one.write is not None:
        parameters = inspect.signature(one.write).parameters
        assert list(parameters) == ["folder", "samples", "classes", "split", "copy", "names"]
        assert all(parameters[key].kind is inspect.Parameter.KEYWORD_ONLY for key in ("copy", "names"))
    assert set(one.__all__) >= {"NAME", "TITLE", "Source", "class_names", "read", "sniff", "write"}  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_has_the_members(name: str) -> None:
    assert_is_format(name, FORMATS[name])


@pytest.mark.parametrize("name", FORMATS)
def test_a_folder_of_nothing_is_not_recognized(name: str, tmp_path: Path) -> None:
    assert FORMATS[name].sniff(Listing.of(tmp_path)) is None
    (tmp_path / "README.txt").write_text("0 0 0 0 0")
    assert FORMATS[name].sniff(Listing.of(tmp_path)) is None


def samples_of(folder: Path) -> list[Sample]:
    """Two images, 40 x 30: one with a gear and two nuts, one without objects."""
    folder.mkdir()
    boxes = np.array([[1, 2, 13, 9.5], [20.25, 3, 38, 29], [0, 0, 40, 30]], np.float32)
    got = []
    for name, count in (("a b", 3), ("é", 0)):
        path = folder / f"{name}.png"
        Image.new("RGB", (40, 30), (90, 120, 150)).save(path)
        gt = BoxAnnotations.plain(boxes[:count], np.array([0, 1, 1][:count], np.int64))
        got.append(Sample(path.name, ImageFile(path), str(path), (40, 30), gt))
    return got


@pytest.mark.parametrize("name", [name for name in WRITABLE if name != "folder"])
def test_what_is_written_is_recognized_and_read(name: str, tmp_path: Path) -> None:
    samples, names = samples_of(tmp_path / "from"), OutputNames()
    for split in ("train", "val"):
        FORMATS[name].write(tmp_path / "to", iter(samples), CLASSES, split, copy=True, names=names)  # type: ignore[misc]
    for split in ("train", "val"):
        data = open_data(tmp_path / "to", split)
        assert sorted(data.classes) == sorted(CLASSES)
        read = sorted(data.samples(), key=lambda sample: -len(sample.boxes or ()))
        assert [len(sample.boxes) for sample in read] == [3, 0]
        np.testing.assert_allclose(read[0].boxes.boxes_xyxy, samples[0].boxes.boxes_xyxy, atol=1e-3)
        assert [data.classes[label] for label in read[0].boxes.labels] == ["gear", "nut", "nut"]


def test_a_recognition_says_what_a_data_set_file_would(tmp_path: Path) -> None:
    FORMATS["yolo"].write(tmp_path, iter(samples_of(tmp_path / "from")), CLASSES, "train", copy=True)  # type: ignore[misc]
    got = FORMATS["yolo"].sniff(Listing.of(tmp_path))
    assert isinstance(got, Recognition)
    assert got.sources == {"train": [{"format": "yolo", "path": "images/train", "names": list(CLASSES)}]}
    assert got.counts == {"train": 2}


def test_counts_of_long_lists_leave_out_comments_and_blanks(tmp_path: Path) -> None:
    names = [f"{'long-name-' * 9}{i}" for i in range(900)]  # 900 lines of 93 bytes are more than 64 KiB
    (tmp_path / "train.txt").write_text("# made by hand\n\n" + "\n".join(names) + "\n \n")
    assert Listing(tmp_path).line_count("train.txt") == 900
    assert Listing(tmp_path).line_count("gone.txt") == 0


def test_the_folder_that_names_of_images_lead_to_is_not_passed_over(tmp_path: Path) -> None:
    images = [{"id": 1, "file_name": "images/a b.png", "width": 40, "height": 30}]
    (tmp_path / "old").mkdir()
    (tmp_path / "result.json").write_text(json.dumps({"images": images, "annotations": [], "categories": []}))
    samples_of(tmp_path / "images")
    assert recognize(tmp_path).passed_over == ("old/",)
