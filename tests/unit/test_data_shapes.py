"""Polygons, rotated boxes and masks: an issue each, or the boxes around them; what tools say besides boxes."""

from __future__ import annotations

import base64
import io
import json
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from yolo9000.data.dataset import open_data

W, H = 60, 40
Sides = list[float]


def image(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(1).integers(0, 255, (H, W, 3), dtype=np.uint8)).save(path)


def put(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(value if isinstance(value, str) else json.dumps(value))


def cvat(element: str) -> Callable[[Path], None]:
    def write(root: Path) -> None:
        image(root / "images" / "a.png")
        labels = "<meta><task><labels><label><name>nut</name></label></labels></task></meta>"
        text = f'<image id="0" name="a.png" width="{W}" height="{H}">{element}</image>'
        put(root / "annotations.xml", f"<annotations><version>1.1</version>{labels}{text}</annotations>")

    return write


def labelstudio(value: dict[str, Any]) -> Callable[[Path], None]:
    def write(root: Path) -> None:
        image(root / "images" / "a.png")
        result = {"original_width": W, "original_height": H, "value": value, "type": "x"}
        put(root / "p.json", [{"data": {"image": "/data/upload/a.png"}, "annotations": [{"result": [result]}]}])

    return write


def labelme(kind: str, points: list[list[float]]) -> Callable[[Path], None]:
    def write(root: Path) -> None:
        image(root / "a.png")
        shape = {"label": "nut", "shape_type": kind, "points": points}
        put(root / "a.json", {"shapes": [shape], "imagePath": "a.png", "imageWidth": W, "imageHeight": H})

    return write


def via(shape: dict[str, Any]) -> Callable[[Path], None]:
    def write(root: Path) -> None:
        image(root / "a.png")
        region = {"shape_attributes": shape, "region_attributes": {"kind": "nut"}}
        put(root / "via.json", {"a.png1": {"filename": "a.png", "regions": [region]}})

    return write


def supervisely(item: dict[str, Any]) -> Callable[[Path], None]:
    def write(root: Path) -> None:
        image(root / "ds" / "img" / "a.png")
        put(root / "meta.json", {"classes": [{"title": "nut"}], "tags": []})
        record = {"size": {"width": W, "height": H}, "objects": [{"classTitle": "nut"} | item], "tags": []}
        put(root / "ds" / "ann" / "a.png.json", record)

    return write


def yolo(line: str, extra: str = "") -> Callable[[Path], None]:
    def write(root: Path) -> None:
        image(root / "images" / "train" / "a.png")
        put(root / "labels" / "train" / "a.txt", line)
        put(root / "data.yaml", f"train: images/train\nnames: [nut]\n{extra}")

    return write


def coco(root: Path) -> None:
    image(root / "a.png")
    polygon = [[6, 4, 30, 8, 12, 20]]
    put(
        root / "set.json",
        {
            "images": [{"id": 1, "file_name": "a.png"}],
            "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "segmentation": polygon}],
            "categories": [{"id": 1, "name": "nut"}],
        },
    )


def bitmap() -> dict[str, Any]:
    mask = np.zeros((5, 8), np.uint8)
    mask[1:4, 2:7] = 255
    stream = io.BytesIO()
    Image.fromarray(mask).save(stream, "PNG")
    data = base64.b64encode(zlib.compress(stream.getvalue())).decode()
    return {"geometryType": "bitmap", "bitmap": {"data": data, "origin": [10, 20]}}


CASES: dict[str, tuple[Callable[[Path], None], Sides]] = {
    "cvat polygon": (cvat('<polygon label="nut" points="6,4;30,8;12,20"/>'), [6, 4, 30, 20]),
    # 20 x 10 around (20, 15), a quarter turn: 10 x 20
    "cvat rotated": (cvat('<box label="nut" xtl="10" ytl="10" xbr="30" ybr="20" rotation="90"/>'), [15, 5, 25, 25]),
    "cvat ellipse": (cvat('<ellipse label="nut" cx="20" cy="15" rx="8" ry="3"/>'), [12, 12, 28, 18]),
    "cvat mask": (cvat('<mask label="nut" rle="1,2" left="3" top="4" width="10" height="6"/>'), [3, 4, 13, 10]),
    # 30 x 10 pixels at (30, 10), a quarter turn around its left top corner: 10 x 30 to the left of it
    "label studio rotated": (
        labelstudio({"x": 50, "y": 25, "width": 50, "height": 25, "rotation": 90, "rectanglelabels": ["nut"]}),
        [20, 10, 30, 40],
    ),
    "label studio polygon": (
        labelstudio({"points": [[10, 10], [50, 20], [20, 50]], "polygonlabels": ["nut"]}),
        [6, 4, 30, 20],
    ),
    "labelme polygon": (labelme("polygon", [[6, 4], [30, 8], [12, 20]]), [6, 4, 30, 20]),
    "labelme circle": (labelme("circle", [[20, 15], [23, 19]]), [15, 10, 25, 20]),  # 3, 4, 5
    "via polygon": (
        via({"name": "polygon", "all_points_x": [6, 30, 12], "all_points_y": [4, 8, 20]}),
        [6, 4, 30, 20],
    ),
    "via circle": (via({"name": "circle", "cx": 20, "cy": 15, "r": 5}), [15, 10, 25, 20]),
    "via ellipse": (via({"name": "ellipse", "cx": 20, "cy": 15, "rx": 8, "ry": 3}), [12, 12, 28, 18]),
    "supervisely polygon": (
        supervisely({"geometryType": "polygon", "points": {"exterior": [[6, 4], [30, 8], [12, 20]]}}),
        [6, 4, 30, 20],
    ),
    "supervisely bitmap": (supervisely(bitmap()), [12, 21, 17, 24]),
    "yolo polygon": (yolo("0 .1 .1 .5 .2 .2 .5\n"), [6, 4, 30, 20]),
    "yolo rotated": (yolo("0 .1 .1 .5 .1 .5 .5 .1 .5\n"), [6, 4, 30, 20]),
    "coco segmentation": (coco, [6, 4, 30, 20]),
}


@pytest.mark.parametrize("case", CASES)
def test_shapes_are_issues_or_their_enclosing_boxes(case: str, tmp_path: Path) -> None:
    write, sides = CASES[case]
    write(tmp_path / "set")
    data = open_data(tmp_path / "set")
    (annotation,) = [item for item in data.annotations() if item.issues]
    assert [issue.code for issue in annotation.issues] == ["label-shape"]
    assert "boxes_from_shapes" in annotation.issues[0].suggestion
    (sample,) = data.with_boxes_from_shapes().samples()
    assert sample.boxes is not None
    np.testing.assert_allclose(sample.boxes.boxes_xyxy, [sides], atol=1e-3)


def test_keypoints_behind_the_box_are_not_read(tmp_path: Path) -> None:
    yolo("0 .5 .5 .2 .5 .1 .1 2 .2 .2 2\n", "kpt_shape: [2, 3]\n")(tmp_path / "set")
    (sample,) = open_data(tmp_path / "set").samples()
    assert sample.boxes is not None
    np.testing.assert_allclose(sample.boxes.boxes_xyxy, [[24, 10, 36, 30]], atol=1e-4)


def test_a_brushed_mask_is_always_an_issue(tmp_path: Path) -> None:
    labelstudio({"rle": [1, 2, 3], "brushlabels": ["nut"]})(tmp_path / "set")
    put(tmp_path / "mine.yaml", "classes: [nut]\ntrain: [{path: set, boxes_from_shapes: true}]\n")
    (annotation,) = open_data(tmp_path / "mine.yaml").annotations()
    assert [issue.code for issue in annotation.issues] == ["label-shape"]


def test_lvis_says_what_is_labelled_exhaustively_in_each_image(tmp_path: Path) -> None:
    image(tmp_path / "a.png")
    put(
        tmp_path / "set.json",
        {
            "images": [{"id": 1, "file_name": "a.png", "neg_category_ids": [7], "not_exhaustive_category_ids": [3]}],
            "annotations": [
                {"id": 1, "image_id": 1, "category_id": 3, "bbox": [1, 2, 9, 9]},
                {"id": 2, "image_id": 1, "category_id": 5, "bbox": [4, 2, 9, 9]},
            ],
            "categories": [{"id": i, "name": f"c{i}"} for i in (3, 5, 7, 8)],
        },
    )
    data = open_data(tmp_path / "set.json")
    (sample,) = data.samples()
    # c5 is labelled everywhere, c7 nowhere in it; c3 not everywhere; nobody looked for c8
    assert data.exhaustive_in(sample).tolist() == [False, True, True, False]
