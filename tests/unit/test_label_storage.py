"""Images to label at URLs and in Parquet files, and labels as tables."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import fsspec
import pyarrow as pa
import pytest
from PIL import Image
from pyarrow import parquet
from support.small_models import TREE

from yolo9000.errors import ConfigError, DataError
from yolo9000.io.images import read_image
from yolo9000.labeling.images import ListedImage, list_images
from yolo9000.labeling.label import check_files
from yolo9000.labeling.rows import write_rows


def encoded(shade: int) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (30, 20), (shade, 0, 0)).save(stream, format="PNG")
    return stream.getvalue()


def shades(images: list[ListedImage]) -> dict[str, int]:
    return {image.name: int(read_image(image.encoded(), name=image.name).pixels[0, 0, 0]) for image in images}


def tar_of(*shades: int) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        for shade in shades:
            member = tarfile.TarInfo(f"x/{shade}.png")
            member.size = len(encoded(shade))
            tar.addfile(member, io.BytesIO(encoded(shade)))
    return stream.getvalue()


def store(url: str, data: bytes) -> None:
    with fsspec.open(url, "wb") as file:
        file.write(data)


def test_images_are_read_from_folders_tars_and_patterns_of_urls() -> None:
    for name, data in {"a/1.png": encoded(1), "a/b/2.png": encoded(2), "a/notes.md": b"-"}.items():
        store(f"memory://below/{name}", data)
    for number in (3, 4):
        store(f"memory://tars/{number}.tar", tar_of(number, 10 * number))
    below = list_images(["memory://below/a"])
    assert shades(below) == {"1.png": 1, "b/2.png": 2}
    assert shades(list_images(["memory://tars/*.tar"])) == {
        "3/x/3.png": 3,
        "3/x/30.png": 30,
        "4/x/4.png": 4,
        "4/x/40.png": 40,
    }
    assert shades(list_images(["memory://below/a/1.png"])) == {"1.png": 1}
    with pytest.raises(ConfigError, match=r"^to: must be jsonl or parquet .* memory://"):
        check_files(below)


def test_a_list_may_name_urls(tmp_path: Path) -> None:
    store("memory://listed/7.png", encoded(7))
    (tmp_path / "8.png").write_bytes(encoded(8))
    (tmp_path / "list.txt").write_text("memory://listed/7.png\n8.png\n")
    assert shades(list_images([tmp_path / "list.txt"])) == {"8.png": 8, "memory://listed/7.png": 7}


@pytest.mark.parametrize("at_url", [False, True])
@pytest.mark.parametrize("nested", [False, True])
def test_images_are_rows_of_parquet(tmp_path: Path, nested: bool, at_url: bool) -> None:
    column = [encoded(shade) for shade in range(5)]
    images = pa.array([{"bytes": data, "path": "x"} for data in column]) if nested else pa.array(column)
    parquet.write_table(pa.table({"label": range(5), "image": images}), tmp_path / "set.parquet", row_group_size=2)
    file = f"file://{tmp_path}/set.parquet" if at_url else str(tmp_path / "set.parquet")
    assert shades(list_images([file])) == {f"set/{row:09d}": row for row in range(5)}


def test_a_table_must_have_one_column_of_images(tmp_path: Path) -> None:
    parquet.write_table(pa.table({"a": [b"1"], "b": [b"2"]}), tmp_path / "set.parquet")
    with pytest.raises(DataError, match=r"must have one column of encoded images .* got a \(binary\), b \(binary\)"):
        list_images([tmp_path / "set.parquet"])


@pytest.mark.parametrize("source", ["memory://nothing/a.tar", "memory://nothing/*.tar", "nosuchscheme://a"])
def test_what_is_not_there_is_one_line(source: str) -> None:
    with pytest.raises(DataError, match=source.replace("*", r"\*")):
        list_images([source])


RECORDS = [
    (ListedImage("a", "a"), {"image": "a", "width": 30, "height": 20, "boxes": []}),
    (ListedImage("b", "b"), {"image": "b", "error": "b: empty file"}),
    (
        ListedImage("c", "c"),
        {
            "image": "c",
            "width": 30,
            "height": 20,
            "boxes": [{"box_xyxy": [1.0, 2.0, 9.5, 8.0], "id": "n4", "score": 0.5, "models": 1}],
        },
    ),
]


@pytest.mark.parametrize("to", ["jsonl", "parquet"])
def test_a_row_holds_what_is_known_of_an_image(to: str, tmp_path: Path) -> None:
    assert write_rows(RECORDS, TREE, to, tmp_path / "out") == {"terrier": 1}
    file = tmp_path / "out" / f"labels.{to}"
    if to == "parquet":
        rows = [
            {key: value for key, value in row.items() if value is not None}
            for row in parquet.read_table(file).to_pylist()
        ]
    else:
        rows = [json.loads(line) for line in file.read_text().splitlines()]
    empty, broken, full = rows
    assert empty == {"image": "a", "width": 30, "height": 20, "boxes": []}
    assert broken == {"image": "b", "error": "b: empty file", "boxes": []}
    assert full["boxes"] == [
        {"box_xyxy": [1.0, 2.0, 9.5, 8.0], "id": "n4", "name": "terrier", "score": 0.5, "models": 1}
    ]
    assert [path.name for path in (tmp_path / "out").iterdir()] == [file.name]


def test_rows_that_cannot_be_written_leave_what_was_there(tmp_path: Path) -> None:
    write_rows(RECORDS, TREE, "jsonl", tmp_path)
    before = (tmp_path / "labels.jsonl").read_bytes()
    wrong = [*RECORDS, (ListedImage("d", "d"), {"image": "d", "boxes": [{"id": "elsewhere"}]})]
    with pytest.raises(KeyError):
        write_rows(wrong, TREE, "jsonl", tmp_path)
    assert (tmp_path / "labels.jsonl").read_bytes() == before
