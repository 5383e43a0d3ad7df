"""What is written is read again, by this program and by others, through every format that can be written."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from yolo9000.cli.app import run
from yolo9000.data.convert import convert
from yolo9000.data.dataset import DataSet, open_data, open_splits
from yolo9000.data.formats import FORMATS, WRITABLE
from yolo9000.data.ledger import Ledger
from yolo9000.io.writers import OutputNames
from yolo9000.types import BoxAnnotations, ImageFile, Sample

CHAIN = ("voc", "coco", "yolo", "darknet", "cvat", "labelstudio", "labelme", "voc")
SIZE_WH = (211, 97)
BOXED = [name for name in WRITABLE if name != "folder"]
TELLS_DIFFICULT = {"voc", "coco", "cvat", "labelstudio", "labelme"}

Boxes = list[tuple[str, tuple[float, ...], bool, bool]]


def boxes_in(sample: Sample, data: DataSet) -> Boxes:
    """Names, sides and marks, in the order of the sides."""
    assert sample.boxes is not None
    b = sample.boxes
    rows = zip(b.labels, b.boxes_xyxy.tolist(), b.difficult.tolist(), b.crowd.tolist(), strict=True)
    return sorted(((data.classes[i], tuple(box), d, c) for i, box, d, c in rows), key=lambda row: row[1])


def write_set(folder: Path, images: list[Boxes], classes: tuple[str, ...], names: list[str]) -> None:
    """A COCO data set with these boxes."""
    samples = []
    (folder / "from").mkdir(parents=True)
    for i, (boxes, name) in enumerate(zip(images, names, strict=True)):
        path = folder / "from" / name
        pixels = np.random.default_rng(i).integers(0, 255, (SIZE_WH[1], SIZE_WH[0], 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path)
        plain = BoxAnnotations.plain(
            np.array([box for _, box, _, _ in boxes], np.float32).reshape(-1, 4),
            np.array([classes.index(label) for label, _, _, _ in boxes], np.int64),
        )
        difficult = np.array([d for _, _, d, _ in boxes], np.bool_)
        marked = BoxAnnotations(plain.boxes_xyxy, plain.labels, difficult, plain.crowd, plain.areas)
        samples.append(Sample(name, ImageFile(path), name, SIZE_WH, marked))
    write = FORMATS["coco"].write
    assert write is not None
    write(folder / "set", samples, classes, "train")


def edges(length: int) -> st.SearchStrategy[tuple[float, float]]:
    starts = st.integers(0, (length - 3) * 8)
    return st.tuples(starts, st.integers(12, length * 8)).map(lambda pair: (pair[0] / 8, min(length, sum(pair) / 8)))


NAMES = st.text(st.characters(min_codepoint=33, max_codepoint=1000, categories=("L", "N", "P")), min_size=1, max_size=8)


@st.composite
def data_sets(draw: st.DrawFn) -> tuple[list[Boxes], tuple[str, ...], list[str]]:
    classes = tuple(draw(st.lists(NAMES, min_size=1, max_size=4, unique=True)))
    images: list[Boxes] = []
    for _ in range(draw(st.integers(1, 3))):
        boxes: dict[tuple[float, ...], tuple[str, bool]] = {}
        for _ in range(draw(st.integers(0, 4))):
            (left, right), (top, bottom) = draw(edges(SIZE_WH[0])), draw(edges(SIZE_WH[1]))
            boxes[left, top, right, bottom] = draw(st.sampled_from(classes)), draw(st.booleans())
        images.append([(label, box, difficult, False) for box, (label, difficult) in boxes.items()])
    stems = draw(
        st.lists(
            st.text("ab é#%1_-", min_size=1, max_size=5).map(str.strip).filter(bool),
            unique_by=str.lower,
            min_size=len(images),
            max_size=len(images),
        )
    )
    return images, classes, [f"x{stem}.png" for stem in stems]


def by_pixels(data: DataSet) -> dict[bytes, Boxes]:
    samples = list(data.samples())
    boxes_by_pixels = {np.asarray(Image.open(s.image.path)).tobytes()[:600]: boxes_in(s, data) for s in samples}
    assert len(boxes_by_pixels) == len(samples)
    return boxes_by_pixels


def assert_same(one: dict[bytes, Boxes], other: dict[bytes, Boxes], *, marks: bool) -> None:
    assert one.keys() == other.keys()
    for key in one:
        wanted = [row for row in one[key] if marks or not (row[2] or row[3])]
        assert [row[0] for row in wanted] == [row[0] for row in other[key]]
        if marks:
            assert [row[2] or row[3] for row in wanted] == [row[2] or row[3] for row in other[key]]
        sides = [np.array([row[1] for row in rows]).reshape(-1, 4) for rows in (wanted, other[key])]
        np.testing.assert_allclose(sides[0], sides[1], atol=1e-3)


@pytest.mark.parametrize("to", BOXED)
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(made=data_sets())
def test_what_is_written_is_read(to: str, made, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("trip")
    write_set(folder, *made)
    first = open_data(folder / "set")
    convert(first, to, folder / "out", "train")
    again = open_splits(folder / "out")["train"]
    assert_same(by_pixels(first), by_pixels(again), marks=to in TELLS_DIFFICULT)


def test_through_all_formats_and_back(tmp_path: Path) -> None:
    images: list[Boxes] = [
        [("nut & bolt", (10.3, 20.7, 55.1, 61.9), False, False), ("écrou", (0, 0, 211, 97), False, False)],
        [],
        [("écrou", (100.125, 3.5, 102.0625, 90.25), False, False)],
    ]
    write_set(tmp_path, images, ("écrou", "nut & bolt"), ["a b.png", "c#1.png", "d%20.png"])
    at = tmp_path / "set"
    first = by_pixels(open_data(at))
    for step, to in enumerate(CHAIN):
        convert(open_data(at), to, tmp_path / f"{step}-{to}", "train")
        at = tmp_path / f"{step}-{to}"
        assert_same(first, by_pixels(open_data(at)), marks=True)


@pytest.mark.parametrize("to", [name for name in BOXED if name not in ("voc", "labelme")])
def test_images_that_stay_where_they_are(to: str, tmp_path: Path) -> None:
    write_set(tmp_path, [[("nut", (1, 2, 30, 40), False, False)]], ("nut",), ["a b.png"])
    out = tmp_path / "deep" / "out"
    assert run(["data", "convert", str(tmp_path / "set"), "--to", to, "-o", str(out), "--no-copy"]) == 0
    assert_same(by_pixels(open_data(tmp_path / "set")), by_pixels(open_data(out)), marks=True)


def test_thin_boxes_stay_boxes(tmp_path: Path) -> None:
    boxes: Boxes = [
        ("nut", (350.2 / 2, 10, 351.1 / 2, 20), False, False),
        ("nut", (5, 6, 6, 7), False, False),
        ("nut", (210.5, 0, 211, 0.25), False, False),
    ]
    write_set(tmp_path, [boxes], ("nut",), ["a.png"])
    convert(open_data(tmp_path / "set"), "voc", tmp_path / "voc", "train")
    (sample,) = open_data(tmp_path / "voc").samples()
    (before,) = open_data(tmp_path / "set").samples()
    assert sample.boxes is not None
    assert before.boxes is not None
    np.testing.assert_allclose(sample.boxes.boxes_xyxy, before.boxes.boxes_xyxy, atol=0.77)  # at most 1.01 - 0.25
    assert (sample.boxes.boxes_xyxy[:, 2:] - sample.boxes.boxes_xyxy[:, :2] > 1).all()
    text = (tmp_path / "voc" / "Annotations" / "a.xml").read_text()
    assert text.count("<object>") == 3


def test_other_splits_of_the_same_names_do_not_collide(tmp_path: Path) -> None:
    for split in ("train", "val"):
        write_set(tmp_path / split, [[("nut", (1, 2, 30, 40 + len(split)), False, False)]], ("nut",), ["a.png"])
    entries = "\n".join(
        f"{split}: [{{format: coco, path: {split}/set/annotations/train.json, images: {split}/set/images/train}}]"
        for split in ("train", "val")
    )
    (tmp_path / "both.yaml").write_text(entries)
    for to in BOXED:
        names = OutputNames()
        for split, data in open_splits(tmp_path / "both.yaml").items():
            convert(data, to, tmp_path / to, split, names=names)
        for split in ("train", "val"):
            (sample,) = open_data(tmp_path / to, split).samples()
            assert sample.boxes is not None
            assert round(float(sample.boxes.boxes_xyxy[0, 3]), 3) == 40 + len(split)


def test_counts_in_are_counts_out_and_counts_reported(tmp_path: Path) -> None:
    write_set(tmp_path, [[("nut", (1, 2, 30, 40), False, False)]] * 5, ("nut",), [f"{i}.png" for i in range(5)])
    file = tmp_path / "set" / "annotations" / "train.json"
    record = json.loads(file.read_text())
    record["annotations"][0]["bbox"] = [1, 2, 900, 3]  # can be clipped
    record["annotations"][1]["category_id"] = 77  # can be left out
    record["images"][2]["width"] = 5  # nothing can be done
    (tmp_path / "set" / "images" / "train" / "3.png").unlink()
    file.write_text(json.dumps(record))
    data = open_data(tmp_path / "set")
    for on_error, out, left_out, changed in (
        ("skip", 1, {"box-outside": 1, "class-unknown": 1, "size-wrong": 1, "image-missing": 1}, {}),
        ("fix", 3, {"size-wrong": 1, "image-missing": 1}, {"box-outside": 1, "class-unknown": 1}),
    ):
        ledger = Ledger()
        assert len(list(data.samples(on_error, ledger))) == ledger.images_out == out
        assert ledger.images_in == 5 == ledger.images_out + ledger.left_out.total()
        assert (dict(ledger.left_out), dict(ledger.changed)) == (left_out, changed)
