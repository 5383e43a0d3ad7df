"""Shortcuts for large data sets give what the careful ways give, or leave it to them."""

from __future__ import annotations

import io
import json
import math
import os
import signal
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, JpegImagePlugin

from yolo9000.data import decoding, json_stream
from yolo9000.data.coco_contents import CocoContents, _object_of, _usual_object
from yolo9000.data.decoding import Decoded, decode_each, image_hash
from yolo9000.data.faultless import FaultlessBoxes
from yolo9000.data.issues import IssueError, RawBox, make_boxes
from yolo9000.data.json_stream import list_elements
from yolo9000.errors import DataError
from yolo9000.io.jpeg_header import HEAD_BYTES, plain_jpeg_size
from yolo9000.types import ImageFile, Sample

# --- JSON in stretches ---

ELEMENTS = [
    *(
        {"id": 1, "name": "},{"},
        {"nested": [{"a": 1}, {"b": []}], "text": 'quoted "},'},
        {},
        [],
        [{"c": 2}, 5],
        None,
        7.25,
    ),
    *({"id": number, "box": [number / 7, 1e-9, -0.0, 5]} for number in range(40)),
]


def elements_of(path: Path) -> list[tuple[str, int, Any]] | str:
    try:
        return list(list_elements(path, ("images", "annotations"), "COCO JSON"))
    except IssueError as error:
        return str(error)


@pytest.mark.parametrize("chunk", [1, 7, 64, 500, 1 << 18])
def test_lists_are_read_the_same_in_chunks_of_any_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk: int
) -> None:
    monkeypatch.setattr(json_stream, "_CHUNK", chunk)
    path = tmp_path / "a.json"
    contents = {
        "info": [{"x": 1}, {"y": 2}],
        "images": ELEMENTS,
        "annotations": ELEMENTS[::-1],
        "more": {"z": [{}, {}]},
    }
    for indent in (None, 1):
        path.write_text(json.dumps(contents, indent=indent))
        expected = [(key, i, one) for key in ("images", "annotations") for i, one in enumerate(contents[key])]
        assert elements_of(path) == expected


def test_damage_is_reported_the_same_in_chunks_of_any_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    text = json.dumps({"images": ELEMENTS[:20], "annotations": ELEMENTS[20:]}, indent=1)
    path = tmp_path / "a.json"
    reported = set()
    for _ in range(60):
        at, lost = int(rng.integers(len(text))), int(rng.integers(3))
        path.write_text(text[:at] + str(rng.choice(list('{}[],:"'))) + text[at + lost :])
        whole, small = [], []
        for chunk, got in ((1 << 18, whole), (40, small)):
            monkeypatch.setattr(json_stream, "_CHUNK", chunk)
            got.append(elements_of(path))
        assert whole == small
        reported.add(str(whole[0])[:200])
    assert len(reported) > 20


# --- objects ---

VALUES = (0, 1, 2, -3, 2.5, -0.0, math.nan, math.inf, 1 << 60, 10**400, True, None, "1", [], {}, [1, 2])


def test_usual_objects_are_read_as_any_others_are() -> None:
    rng = np.random.default_rng(1)
    usual = {
        "id": 5,
        "image_id": 3,
        "category_id": 2,
        "bbox": [1, 2.5, 3, 4.25],
        "area": 9.5,
        "iscrowd": 0,
        "ignore": 1,
    }
    quick = 0
    for _ in range(3000):
        element = json.loads(json.dumps(usual))
        for key in rng.choice(list(usual), rng.integers(0, 3)):
            value = VALUES[rng.integers(len(VALUES))]
            if key == "bbox" and isinstance(element.get(key), list) and rng.random() < 0.7:
                element[key][rng.integers(4)] = value
            elif rng.random() < 0.2:
                element.pop(key, None)
            else:
                element[key] = value
        row = _usual_object(element, 8)
        if row is not None:
            contents = CocoContents(Path("a.json"))
            expected = _object_of(element, 8, "a.json", element["image_id"], contents)
            assert np.array_equal(np.array(row), np.array(expected), equal_nan=True)
            assert not contents.issues
            quick += 1
    assert quick > 800


# --- boxes ---


def test_faultless_boxes_are_those_of_any_boxes() -> None:
    rng = np.random.default_rng(2)
    counts = rng.integers(0, 5, 2000)
    images = np.repeat(np.arange(len(counts)) * 3, counts)
    low, high = np.sort(rng.uniform(-0.02, 1.01, (2, len(images), 2)), axis=0)
    sides = np.concatenate([low, high], axis=1) * (30, 20, 30, 20)
    whole = np.isin(images, rng.choice(images, 400))
    sides[whole] = rng.choice([0, 0.5, 8.25, 20, 30.4], (whole.sum(), 4))
    odd = rng.random(len(images)) < 0.05
    sides[odd, rng.integers(4, size=odd.sum())] = rng.choice([np.nan, np.inf, -np.inf, 1e300], odd.sum())
    labels, marks = rng.integers(0, 2, len(images)), rng.random((2, len(images))) < 0.3
    areas = rng.choice([np.nan, 5.0, 30 * 20.0, 601.0, -1.0], len(images), p=[0.6, 0.2, 0.1, 0.05, 0.05])
    table = FaultlessBoxes(images, sides, labels, *marks, areas)
    faultless = 0
    for image in range(0, 3 * len(counts), 3):
        got = table.of(image, (30, 20))
        rows = [
            RawBox(int(labels[i]), *sides[i].tolist(), "", "", bool(marks[0, i]), bool(marks[1, i]), area_of(areas[i]))
            for i in np.flatnonzero(images == image)
        ]
        if got is None and rows and max(max(row[1:5]) for row in rows) <= 1:
            continue  # perhaps fractions
        expected, issues = make_boxes(rows, (30, 20))
        if got is None:
            clipped = any(max(-row.left, -row.top, row.right - 30, row.bottom - 20) > 0 for row in rows)
            assert issues or clipped or not rows
            continue
        faultless += 1
        assert not issues
        for name, values in vars(expected).items():
            assert values.dtype == getattr(got, name).dtype
            assert np.array_equal(values, getattr(got, name)), name
    assert faultless > 300
    assert table.of(1, (30, 20)) is None


def test_faultless_boxes_have_a_class_and_room_in_their_image() -> None:
    sides = np.array([[1.0, 2, 8, 6], [1, 2, 9, 7], [0.1, 0.1, 0.5, 0.9]])
    marks, areas = np.zeros((2, 3), bool), np.full(3, np.nan)
    table = FaultlessBoxes(np.array([4, 5, 6]), sides, np.array([0, -1, 0]), *marks, areas)
    assert table.of(4, (8, 6)).boxes_xyxy.tolist() == [[1, 2, 8, 6]]
    assert table.of(4, (8, 6)).areas.tolist() == [28]
    assert table.of(4, (7, 6)) is table.of(4, (8, 5)) is None
    assert table.of(5, (30, 20)) is None  # no class
    assert table.of(6, (30, 20)) is None  # perhaps fractions
    none = FaultlessBoxes(np.zeros(0, np.int64), np.zeros((0, 4)), np.zeros(0, np.int64), *marks[:, :0], areas[:0])
    assert none.of(4, (8, 6)) is None


def area_of(area: float) -> float | None:
    return None if math.isnan(area) else float(area)


# --- sizes ---


def jpegs() -> Iterator[bytes]:
    rng = np.random.default_rng(3)
    for mode, settings in [
        ("RGB", {}),
        ("L", {}),
        ("CMYK", {}),
        ("RGB", {"progressive": True}),
        ("RGB", {"comment": b"a"}),
    ]:
        pixels = rng.integers(0, 255, (20, 33, len(Image.new(mode, (1, 1)).getbands())), dtype=np.uint8)
        stream = io.BytesIO()
        Image.fromarray(pixels.squeeze(), mode).save(stream, "JPEG", **settings)
        yield stream.getvalue()


def test_sizes_of_plain_jpegs_are_those_of_pillow_whatever_is_damaged() -> None:
    rng = np.random.default_rng(4)
    known = 0
    for data in jpegs():
        assert plain_jpeg_size(data[:HEAD_BYTES]) == (33, 20)
        for _ in range(400):
            changed = bytearray(data)
            for at in rng.integers(0, min(700, len(data)), rng.integers(1, 3)):
                changed[at] = rng.integers(256)
            size = plain_jpeg_size(bytes(changed[:HEAD_BYTES]))
            if size is not None:
                known += 1
                with JpegImagePlugin.JpegImageFile(io.BytesIO(changed)) as image:
                    assert size == image.size
                    assert not image.getexif()
    assert known > 500


def test_sizes_of_jpegs_that_may_be_turned_are_left_to_pillow() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    stream = io.BytesIO()
    Image.new("RGB", (33, 20)).save(stream, "JPEG", exif=exif)
    assert plain_jpeg_size(stream.getvalue()) is None
    assert plain_jpeg_size(b"") is None
    assert plain_jpeg_size(b"\xff\xd8\xff\xe0") is None


# --- decoding in processes ---


@pytest.fixture
def samples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Sample | None]:
    """Twenty images of which the sixth is damaged, and an item without an image; four go to a process at a time."""
    monkeypatch.setattr(decoding, "_AT_ONCE", 4)
    rng = np.random.default_rng(5)
    for number in range(20):
        pixels = rng.integers(0, 255, (12, 18 + number, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{number:02}.png")
    (tmp_path / "05.png").write_bytes(b"no image")
    there = [Sample(path.name, ImageFile(path), path.name) for path in sorted(tmp_path.iterdir())]
    return [*there[:3], None, *there[3:]]


def test_images_are_decoded_in_their_order(samples: list[Sample | None]) -> None:
    decoded = list(decode_each(samples, lambda sample: sample))
    assert [item for item, _ in decoded] == samples
    for number, (sample, outcome) in enumerate((item, got) for item, got in decoded if item is not None):
        if number == 5:
            assert isinstance(outcome, DataError)
            assert str(outcome).startswith("05.png: must be a JPEG, PNG")
            continue
        assert isinstance(outcome, Decoded)
        assert outcome.size_wh == (18 + number, 12)
        assert np.array_equal(outcome.hash, image_hash(Image.open(sample.image.path)))
    assert decoded[3] == (None, None)


def test_errors_of_the_items_come_out(samples: list[Sample | None]) -> None:
    def broken() -> Iterator[Sample | None]:
        yield from samples[:13]
        raise DataError("a.json: is damaged")

    with pytest.raises(DataError, match=r"a\.json: is damaged"):
        list(decode_each(broken(), lambda sample: sample))


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="processes are forked on Linux")
def test_a_process_that_is_killed_is_an_error(samples: list[Sample | None]) -> None:
    def killing() -> Iterator[Sample | None]:
        for number, sample in enumerate(samples * 40):
            if number == 12:
                for child in children():
                    os.kill(child, signal.SIGKILL)
            yield sample

    with pytest.raises(DataError, match="a process that decodes images has ended"):
        list(decode_each(killing(), lambda sample: sample))


def children() -> list[int]:
    import multiprocessing

    return [child.pid for child in multiprocessing.active_children() if child.pid is not None]


def test_no_process_is_left_where_reading_stops(samples: list[Sample | None]) -> None:
    decoded = decode_each(samples * 40, lambda sample: sample)
    assert len(list(islice(decoded, 5))) == 5
    decoded.close()
    assert not children()
