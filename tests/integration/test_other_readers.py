"""globox, which knows nothing of this package, reads what is written here, and what it writes is read here.

globox takes VOC's pixels as they stand, counted from 1 or not: its left and top sides are greater by 1.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.layouts import ALL, CLASSES, LAYOUTS, draw_all, name_of, objects_of, put

from yolo9000.data.convert import convert
from yolo9000.data.dataset import open_data

AnnotationSet = pytest.importorskip("globox").AnnotationSet

Boxes = dict[str, list[tuple[Any, ...]]]


def expected(*, shift: int = 0, names: bool = True) -> Boxes:
    """The boxes of each image, left and top shifted; the class by its name or its index."""
    return {
        Path(name_of(n)).stem: sorted(
            (o.name if names else str(o.label), o.left + shift, o.top + shift, o.right, o.bottom) for o in objects_of(n)
        )
        for n in ALL
    }


def read_there(annotations: Any) -> Boxes:
    """What globox read, sides rounded to hundredths."""
    return {
        Path(one.image_id).stem: sorted(
            (box.label, *(round(side, 2) for side in (box.xmin, box.ymin, box.xmax, box.ymax))) for box in one.boxes
        )
        for one in annotations
    }


def read_here(path: Path) -> Boxes:
    """What is read here, sides rounded to hundredths."""
    data = open_data(path)
    got: Boxes = {}
    for sample in data.samples():
        assert sample.boxes is not None
        rows = zip(sample.boxes.labels, sample.boxes.boxes_xyxy.tolist(), strict=True)
        got[Path(sample.name).stem] = sorted((data.classes[i], *(round(side, 2) for side in box)) for i, box in rows)
    return got


READERS: dict[str, Callable[[Path], Any]] = {
    "coco": lambda root: AnnotationSet.from_coco(root / "annotations" / "train.json"),
    "voc": lambda root: AnnotationSet.from_pascal_voc(root / "Annotations"),
    "cvat": lambda root: AnnotationSet.from_cvat(root / "train" / "annotations.xml"),
    "labelme": lambda root: AnnotationSet.from_labelme(root / "train"),
    "yolo": lambda root: AnnotationSet.from_yolo_v5(
        root / "labels" / "train", image_folder=root / "images" / "train", image_extension=".png"
    ),
    "darknet": lambda root: AnnotationSet.from_yolo_darknet(
        root / "labels", image_folder=root / "images", image_extension=".png"
    ),
}


@pytest.mark.parametrize("to", READERS)
def test_globox_reads_what_is_written(to: str, tmp_path: Path) -> None:
    LAYOUTS["coco in one file"].write(tmp_path / "set")
    convert(open_data(tmp_path / "set"), to, tmp_path / "out", "train")
    got = read_there(READERS[to](tmp_path / "out"))
    assert got == expected(shift=to == "voc", names=to not in ("yolo", "darknet"))


@pytest.fixture
def theirs(tmp_path: Path) -> Any:
    """All images as globox read them from COCO."""
    LAYOUTS["coco in one file"].write(tmp_path / "set")
    return AnnotationSet.from_coco(tmp_path / "set" / "annotations.json")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder for a data set, with the images in ``images``."""
    draw_all(tmp_path / "out" / "images", ALL)
    return tmp_path / "out"


def test_coco_that_globox_writes(theirs: Any, root: Path) -> None:
    theirs.save_coco(root / "set.json", auto_ids=True)
    assert read_here(root) == expected()


def test_voc_that_globox_writes(theirs: Any, root: Path) -> None:
    theirs.save_pascal_voc(root / "Annotations")
    assert read_here(root) == expected(shift=-1)


def test_cvat_that_globox_writes(theirs: Any, root: Path) -> None:
    theirs.save_cvat(root / "annotations.xml")
    assert read_here(root) == expected()


def test_yolo_that_globox_writes(theirs: Any, root: Path) -> None:
    theirs.save_yolo_v5(root / "labels", label_to_id={name: i for i, name in enumerate(CLASSES)})
    put(root / "classes.txt", "\n".join(CLASSES))
    assert read_here(root) == expected()


def test_labelme_that_globox_writes(theirs: Any, root: Path) -> None:
    theirs.save_labelme(root / "images")
    assert read_here(root / "images") == expected()


def test_via_that_globox_writes(theirs: Any, root: Path) -> None:
    theirs.save_via_json(root / "via.json", image_folder=root / "images")
    assert read_here(root) == expected()


def test_open_images_that_globox_writes(theirs: Any, root: Path) -> None:
    theirs.save_openimage(root / "annotations-bbox.csv")
    assert read_here(root) == expected()
