"""The CSV export of the VGG Image Annotator."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.layouts import draw, put, put_rows

from yolo9000.data.dataset import open_data
from yolo9000.data.issues import IssueError

COLUMNS = ["file_size", "file_attributes", "region_count", "region_id", "region_shape_attributes", "region_attributes"]
RECT = '{"name":"rect","x":3,"y":4,"width":10,"height":8}'


def write(root: Path, *rows: tuple[object, ...], name: str = "filename") -> Path:
    for number in range(3):
        draw(root / f"{number}.png", number)
    put_rows(root / "via.csv", [(name, *COLUMNS), *rows])
    return root


@pytest.mark.parametrize("name", ["filename", "#filename"])  # VIA 1 begins with a mark
def test_regions_and_images_without_any(name: str, tmp_path: Path) -> None:
    root = write(
        tmp_path,
        ("0.png", 9, "{}", 2, 0, RECT, '{"part":"nut"}'),
        ("1.png", 9, "{}", 0, 0, "{}", "{}"),
        ("0.png", 9, "{}", 2, 1, RECT.replace("3", "5"), '{"part":"gear"}'),  # rows apart are one image
        name=name,
    )
    data = open_data(root)
    first, second = data.samples()
    assert (first.name, second.name) == ("0.png", "1.png")
    assert first.boxes is not None
    assert first.boxes.boxes_xyxy.tolist() == [[3, 4, 13, 12], [5, 4, 15, 12]]
    assert [data.classes[label] for label in first.boxes.labels] == ["nut", "gear"]
    assert second.boxes is not None
    assert len(second.boxes) == 0


def test_a_cell_that_is_no_json_is_an_issue_of_its_region(tmp_path: Path) -> None:
    root = write(
        tmp_path,
        ("0.png", 9, "{}", 2, 0, RECT, '{"part":"nut"}'),
        ("0.png", 9, "{}", 2, 1, RECT[:-2], '{"part":"nut"}'),
    )
    (annotation,) = open_data(root).annotations()
    assert [issue.code for issue in annotation.issues] == ["label-syntax"]
    assert "image 0: region 1" in annotation.issues[0].where
    assert annotation.sample is not None
    assert annotation.sample.boxes is not None
    assert len(annotation.sample.boxes) == 1


def test_a_table_with_other_columns_is_refused(tmp_path: Path) -> None:
    put(tmp_path / "mine.yaml", "classes: [nut]\ntrain: [{format: via, path: via.csv, images: .}]\n")
    put(tmp_path / "via.csv", "a,b\n1,2\n")
    with pytest.raises(IssueError, match="must have the columns filename, region_attributes"):
        list(open_data(tmp_path / "mine.yaml").samples())
