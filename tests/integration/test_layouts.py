"""Exports of all tools open as what they are: by folder, by file, and as archives; or are refused."""

from __future__ import annotations

import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from support.layouts import LAYOUTS, Known, known_of, number_of

from yolo9000.data.dataset import DataSet, open_data, open_splits
from yolo9000.data.images import load_image
from yolo9000.types import Sample

Read = dict[str, dict[int, Known]]


def known_in(sample: Sample, data: DataSet) -> Known:
    """What is known of a sample, with names, sides rounded to the nearest hundredth."""
    if sample.boxes is None:
        return tuple(sorted((data.classes[label],) for label in sample.image_labels))
    boxes = np.round(sample.boxes.boxes_xyxy.astype(float), 2).tolist()
    return tuple(sorted((data.classes[label], *box) for label, box in zip(sample.boxes.labels, boxes, strict=True)))


def read_all(path: Path) -> Read:
    """Every image of every split by the number in its first pixel."""
    got: Read = {}
    for split, data in open_splits(path).items():
        samples = list(data.samples())
        by_number = {number_of(load_image(s.image, s.name).pixels): known_in(s, data) for s in samples}
        assert len(by_number) == len(samples)
        got[split] = by_number
    return got


def expected(name: str, splits: dict[str, tuple[int, ...]] | None = None) -> Read:
    layout = LAYOUTS[name]
    wanted = layout.splits if splits is None else splits
    return {split: {n: known_of(layout, n) for n in values} for split, values in wanted.items()}


@pytest.mark.parametrize("name", LAYOUTS)
def test_by_folder(name: str, tmp_path: Path) -> None:
    LAYOUTS[name].write(tmp_path / "set")
    assert read_all(tmp_path / "set") == expected(name)


@pytest.mark.parametrize(("name", "file"), [(name, file) for name, one in LAYOUTS.items() for file in one.files])
def test_by_file(name: str, file: str, tmp_path: Path) -> None:
    LAYOUTS[name].write(tmp_path / "set")
    assert read_all(tmp_path / "set" / file) == expected(name, LAYOUTS[name].files[file])


def archived(folder: Path, to: Path, *, below: str = "") -> Path:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    if to.suffix == ".zip":
        with zipfile.ZipFile(to, "w", zipfile.ZIP_DEFLATED) as zipped:
            for path in files:
                zipped.write(path, f"{below}{path.relative_to(folder)}")
    else:
        with tarfile.open(to, "w:gz" if to.suffix == ".gz" else "w") as tar:
            for path in files:
                tar.add(path, f"{below}{path.relative_to(folder)}")
    return to


@pytest.mark.parametrize("name", LAYOUTS)
def test_by_archive(name: str, tmp_path: Path) -> None:
    LAYOUTS[name].write(tmp_path / "set")
    suffix = (".zip", ".tar", ".tar.gz")[list(LAYOUTS).index(name) % 3]
    archive = archived(tmp_path / "set", tmp_path / f"set{suffix}", below="my set/")
    assert read_all(archive) == expected(name)


def test_an_archive_is_a_source_of_a_data_set_file(tmp_path: Path) -> None:
    LAYOUTS["coco of roboflow"].write(tmp_path / "set")
    archived(tmp_path / "set", tmp_path / "export.zip")
    (tmp_path / "mine.yaml").write_text(
        "classes: [bolt, part]\n"
        "train: [{path: export.zip, map: {gear: part, nut: part}}]\n"
        "val: [{path: export.zip, split: test, map: {gear: part, nut: part}}]\n"
    )
    assert len(list(open_data(tmp_path / "mine.yaml").samples())) == 3
    assert len(list(open_data(tmp_path / "mine.yaml", "val").samples())) == 1
