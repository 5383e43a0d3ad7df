"""Miniatures of what labelling tools export and of public data sets' layouts, drawn and named here.

Every image says in its first pixel which one it is, so that a test can tell whether boxes came to the right image.
"""

from __future__ import annotations

import csv
import io
import json
import tarfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

CLASSES = ("bolt", "gear", "nut")
SPLITS = {"train": (0, 1, 2), "val": (3, 4), "test": (5,)}
ALL = (0, 1, 2, 3, 4, 5)
SIZE_WH = (48, 36)


class Object(NamedTuple):
    name: str
    left: int
    top: int
    right: int
    bottom: int

    @property
    def label(self) -> int:
        return CLASSES.index(self.name)

    @property
    def xywh(self) -> list[int]:
        return [self.left, self.top, self.right - self.left, self.bottom - self.top]


def objects_of(number: int) -> list[Object]:
    """One to three objects of image ``number``, never the same in two images."""
    objects = []
    for i in range(1 + number % 3):
        left, top = 2 + 4 * i + number, 3 + 5 * i
        objects.append(Object(CLASSES[(number + i) % 3], left, top, left + 12 + number, top + 9 + i))
    return objects


def name_of(number: int) -> str:
    return f"part {number}.png"


def draw(path: Path, number: int) -> None:
    """Image ``number``: noise of its own, its number in the first pixel."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encoded(number))


def encoded(number: int) -> bytes:
    """The bytes of image ``number`` as a PNG."""
    width, height = SIZE_WH
    pixels = np.random.default_rng(number).integers(40, 220, (height, width, 3), dtype=np.uint8)
    pixels[0, 0] = (7, number, 99)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def number_of(pixels: np.ndarray) -> int:
    """The number of an image by its first pixel."""
    red, number, blue = pixels[0, 0].tolist()
    assert (red, blue) == (7, 99)
    return number


def put(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def put_json(path: Path, value: Any) -> None:
    put(path, json.dumps(value))


def put_rows(path: Path, rows: Sequence[Sequence[object]]) -> None:
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n").writerows(rows)
    put(path, stream.getvalue())


# --- What files say of some images. ---


def voc_xml(number: int, file_name: str | None = None) -> str:
    width, height = SIZE_WH
    objects = "".join(
        f"<object><name>{o.name}</name><difficult>0</difficult><bndbox><xmin>{o.left + 1}</xmin>"
        f"<ymin>{o.top + 1}</ymin><xmax>{o.right}</xmax><ymax>{o.bottom}</ymax></bndbox></object>"
        for o in objects_of(number)
    )
    size = f"<size><width>{width}</width><height>{height}</height><depth>3</depth></size>"
    return f"<annotation><filename>{file_name or name_of(number)}</filename>{size}{objects}</annotation>"


def coco_json(indices: Sequence[int], prefix: str = "") -> dict[str, Any]:
    width, height = SIZE_WH
    images = [{"id": n + 1, "file_name": prefix + name_of(n), "width": width, "height": height} for n in indices]
    objects = [(n, o) for n in indices for o in objects_of(n)]
    annotations = [
        {
            "id": i,
            "image_id": n + 1,
            "category_id": o.label + 1,
            "bbox": o.xywh,
            "area": o.xywh[2] * o.xywh[3],
            "iscrowd": 0,
        }
        for i, (n, o) in enumerate(objects, 1)
    ]
    categories = [{"id": i, "name": name, "supercategory": ""} for i, name in enumerate(CLASSES, 1)]
    return {"info": {}, "licenses": [], "images": images, "annotations": annotations, "categories": categories}


def yolo_lines(number: int) -> str:
    width, height = SIZE_WH
    lines = []
    for o in objects_of(number):
        x, y, w, h = o.xywh
        values = ((x + w / 2) / width, (y + h / 2) / height, w / width, h / height)
        lines.append(" ".join([str(o.label), *(f"{value:.6f}" for value in values)]))
    return "\n".join(lines) + "\n"


def cvat_xml(indices: Sequence[int]) -> str:
    width, height = SIZE_WH
    labels = "".join(f"<label><name>{name}</name><type>any</type></label>" for name in CLASSES)
    images = ""
    for n in indices:
        boxes = "".join(
            f'<box label="{o.name}" source="manual" occluded="0" xtl="{o.left}.00" ytl="{o.top}.00" xbr="{o.right}.00" '
            f'ybr="{o.bottom}.00" z_order="0"></box>'
            for o in objects_of(n)
        )
        images += f'<image id="{n}" name="{name_of(n)}" width="{width}" height="{height}">{boxes}</image>'
    return (
        '<?xml version="1.0" encoding="utf-8"?>\n<annotations><version>1.1</version>'
        f"<meta><task><name>parts</name><labels>{labels}</labels></task></meta>{images}</annotations>"
    )


def labelstudio_value(o: Object) -> dict[str, Any]:
    width, height = SIZE_WH
    x, y, w, h = o.xywh
    value = {"x": 100 * x / width, "y": 100 * y / height, "width": 100 * w / width, "height": 100 * h / height}
    return value | {"rotation": 0, "rectanglelabels": [o.name]}


def labelstudio_tasks(indices: Sequence[int]) -> list[dict[str, Any]]:
    width, height = SIZE_WH
    tasks = []
    for n in indices:
        size = {"original_width": width, "original_height": height, "image_rotation": 0}
        results = [
            size | {"type": "rectanglelabels", "from_name": "label", "to_name": "image", "value": labelstudio_value(o)}
            for o in objects_of(n)
        ]
        address = f"/data/upload/1/0a1b2c3{n}-{name_of(n).replace(' ', '%20')}"
        tasks.append({"id": n, "annotations": [{"id": n, "result": results}], "data": {"image": address}})
    return tasks


def via_records(indices: Sequence[int], *, first_version: bool = False) -> dict[str, Any]:
    records: dict[str, Any] = {}
    for n in indices:
        regions: Any = []
        for o in objects_of(n):
            x, y, w, h = o.xywh
            shape = {"name": "rect", "x": x, "y": y, "width": w, "height": h}
            regions.append({"shape_attributes": shape, "region_attributes": {"kind": o.name}})
        if first_version:
            regions = {str(i): region for i, region in enumerate(regions)}
        records[f"{name_of(n)}1234"] = {"filename": name_of(n), "size": 1234, "regions": regions, "file_attributes": {}}
    return records


def labelme_json(number: int) -> dict[str, Any]:
    width, height = SIZE_WH
    shapes = [
        {
            "label": o.name,
            "points": [[o.right, o.bottom], [o.left, o.top]],
            "shape_type": "rectangle",
            "flags": {},
            "group_id": None,
        }
        for o in objects_of(number)
    ]
    record = {"version": "5.5.0", "flags": {}, "shapes": shapes, "imagePath": name_of(number), "imageData": None}
    return record | {"imageWidth": width, "imageHeight": height}


# --- Layouts. ---


def draw_all(folder: Path, indices: Sequence[int]) -> None:
    for n in indices:
        draw(folder / name_of(n), n)


def voc(root: Path) -> None:
    draw_all(root / "JPEGImages", ALL)
    for n in ALL:
        put(root / "Annotations" / f"part {n}.xml", voc_xml(n))
    for split, indices in SPLITS.items():
        put(root / "ImageSets" / "Main" / f"{split}.txt", "".join(f"part {n}\n" for n in indices))


def voc_devkit(root: Path) -> None:
    for year, indices in (("VOC2007", (0, 3, 5)), ("VOC2012", (1, 2, 4))):
        draw_all(root / year / "JPEGImages", indices)
        for n in indices:
            put(root / year / "Annotations" / f"part {n}.xml", voc_xml(n))
        for split, members in SPLITS.items():
            lines = "".join(f"part {n}\n" for n in indices if n in members)
            put(root / year / "ImageSets" / "Main" / f"{split}.txt", lines)


def voc_kaggle(root: Path) -> None:
    draw_all(root / "images", ALL)
    for n in ALL:
        put(root / "annotations" / f"part {n}.xml", voc_xml(n))


def voc_roboflow(root: Path) -> None:
    put(root / "README.dataset.txt", "parts")
    for split, indices in SPLITS.items():
        folder = root / split.replace("val", "valid")
        draw_all(folder, indices)
        for n in indices:
            put(folder / f"part {n}.xml", voc_xml(n))


def voc_labelimg(root: Path) -> None:
    draw_all(root, ALL)
    for n in ALL:
        put(root / f"part {n}.xml", voc_xml(n))


def voc_names_with_suffix(root: Path) -> None:
    voc(root)
    for split, indices in SPLITS.items():
        put(root / "ImageSets" / "Main" / f"{split}.txt", "".join(f"{name_of(n)}\n" for n in indices))


def imagenet_det(root: Path) -> None:
    for split, indices in SPLITS.items():
        draw_all(root / "Data" / "DET" / split, indices)
        for n in indices:
            put(root / "Annotations" / "DET" / split / f"part {n}.xml", voc_xml(n))


def coco_official(root: Path) -> None:
    for split, indices in SPLITS.items():
        draw_all(root / f"{split}2017", indices)
        put_json(root / "annotations" / f"instances_{split}2017.json", coco_json(indices))
        put_json(root / "annotations" / f"captions_{split}2017.json", {"images": [], "annotations": [], "info": {}})


def coco_one_file(root: Path) -> None:
    draw_all(root / "images", ALL)
    put_json(root / "annotations.json", coco_json(ALL))


def coco_roboflow(root: Path) -> None:
    put(root / "README.roboflow.txt", "parts")
    for split, indices in SPLITS.items():
        folder = root / split.replace("val", "valid")
        draw_all(folder, indices)
        put_json(folder / "_annotations.coco.json", coco_json(indices))


def coco_labelstudio(root: Path) -> None:
    draw_all(root / "images", ALL)
    put_json(root / "result.json", coco_json(ALL, "images/"))


def coco_cvat(root: Path) -> None:
    draw_all(root / "images" / "default", ALL)
    put_json(root / "annotations" / "instances_default.json", coco_json(ALL))


def lvis(root: Path) -> None:
    for split, indices in SPLITS.items():
        record = coco_json(indices)
        for image in record["images"]:
            image["coco_url"] = f"http://images.example/{split}2017/{image.pop('file_name').replace(' ', '_')}"
            image |= {"neg_category_ids": [], "not_exhaustive_category_ids": []}
        for n in indices:
            draw(root / f"{split}2017" / name_of(n).replace(" ", "_"), n)
        put_json(root / f"lvis_v1_{split}.json", record)


def yolo_yaml(root: Path, train: str = "images/train", **other: str) -> str:
    folders = {split: train.replace("train", split) for split in SPLITS} | other
    lines = [f"{split}: {folder}" for split, folder in folders.items()]
    return "\n".join([*lines, f"nc: {len(CLASSES)}", f"names: [{', '.join(CLASSES)}]"]) + "\n"


def yolo_ultralytics(root: Path) -> None:
    yolo_plain(root)
    (root / "classes.txt").unlink()
    put(root / "data.yaml", "path: .\n" + yolo_yaml(root))


def yolo_plain(root: Path) -> None:
    put(root / "classes.txt", "\n".join(CLASSES))
    for split, indices in SPLITS.items():
        draw_all(root / "images" / split, indices)
        for n in indices:
            put(root / "labels" / split / f"part {n}.txt", yolo_lines(n))


def yolo_lists(root: Path) -> None:
    draw_all(root / "images", ALL)
    for n in ALL:
        put(root / "labels" / f"part {n}.txt", yolo_lines(n))
    for split, indices in SPLITS.items():
        put(root / f"{split}.txt", "".join(f"./images/{name_of(n)}\n" for n in indices))
    put(root / "data.yaml", yolo_yaml(root, "train.txt"))


def yolo_roboflow(root: Path) -> None:
    put(root / "README.roboflow.txt", "parts")
    for split, indices in SPLITS.items():
        folder = root / split.replace("val", "valid")
        draw_all(folder / "images", indices)
        for n in indices:
            put(folder / "labels" / f"part {n}.txt", yolo_lines(n))
    put(root / "data.yaml", yolo_yaml(root, "../train/images", val="../valid/images"))


def yolo_labelstudio(root: Path) -> None:
    put(root / "classes.txt", "\n".join(CLASSES))
    put_json(root / "notes.json", {"categories": [{"id": i, "name": name} for i, name in enumerate(CLASSES)]})
    draw_all(root / "images", ALL)
    for n in ALL:
        put(root / "labels" / f"part {n}.txt", yolo_lines(n))


def yolo_labelimg(root: Path) -> None:
    put(root / "classes.txt", "\n".join(CLASSES))
    draw_all(root, ALL)
    for n in ALL:
        put(root / f"part {n}.txt", yolo_lines(n))


def yolo_cvat(root: Path) -> None:
    put(root / "obj.names", "\n".join(CLASSES))
    put(root / "obj.data", "classes = 3\ntrain = data/train.txt\nnames = data/obj.names\nbackup = backup/\n")
    put(root / "train.txt", "".join(f"data/obj_train_data/{name_of(n)}\n" for n in ALL))
    draw_all(root / "obj_train_data", ALL)
    for n in ALL:
        put(root / "obj_train_data" / f"part {n}.txt", yolo_lines(n))


def yolo_mark(root: Path) -> None:
    put(root / "data" / "obj.names", "\n".join(CLASSES))
    put(
        root / "data" / "obj.data",
        "classes= 3\ntrain  = data/train.txt\nvalid  = data/val.txt\nnames = data/obj.names\n",
    )
    draw_all(root / "data" / "img", ALL)
    for n in ALL:
        put(root / "data" / "img" / f"part {n}.txt", yolo_lines(n))
    put(root / "data" / "train.txt", "".join(f"data/img/{name_of(n)}\n" for n in SPLITS["train"]))
    put(root / "data" / "val.txt", "".join(f"data/img/{name_of(n)}\n" for n in (*SPLITS["val"], *SPLITS["test"])))


def darknet_roboflow(root: Path) -> None:
    for split, indices in SPLITS.items():
        folder = root / split.replace("val", "valid")
        draw_all(folder, indices)
        put(folder / "_darknet.labels", "\n".join(CLASSES))
        for n in indices:
            put(folder / f"part {n}.txt", yolo_lines(n))


def cvat_images(root: Path) -> None:
    draw_all(root / "images", ALL)
    put(root / "annotations.xml", cvat_xml(ALL))


def labelstudio(root: Path) -> None:
    for n in ALL:
        draw(root / "images" / f"0a1b2c3{n}-{name_of(n)}", n)
    put_json(root / "project-1.json", labelstudio_tasks(ALL))


def labelstudio_min(root: Path) -> None:
    draw_all(root / "images", ALL)
    tasks = labelstudio_tasks(ALL)
    short = [
        {
            "image": task["data"]["image"],
            "id": task["id"],
            "annotator": 1,
            "annotation_id": task["id"],
            "label": [
                labelstudio_value(o) | {"original_width": SIZE_WH[0], "original_height": SIZE_WH[1]}
                for o in objects_of(task["id"])
            ],
        }
        for task in tasks
    ]
    put_json(root / "min.json", short)


def labelme(root: Path) -> None:
    draw_all(root, ALL)
    for n in ALL:
        put_json(root / f"part {n}.json", labelme_json(n))


def via(root: Path) -> None:
    draw_all(root, ALL)
    put_json(root / "via_region_data.json", via_records(ALL))


def via_project(root: Path) -> None:
    draw_all(root / "images", ALL)
    project = {
        "_via_settings": {},
        "_via_img_metadata": via_records(ALL),
        "_via_attributes": {"region": {}, "file": {}},
    }
    put_json(root / "via_project.json", project)


def via_csv(root: Path) -> None:
    draw_all(root, ALL)
    columns = "filename,file_size,file_attributes,region_count,region_id,region_shape_attributes,region_attributes"
    rows: list[Sequence[object]] = [columns.split(",")]
    for record in via_records(ALL).values():
        regions = record["regions"]
        for number, region in enumerate(regions):
            shape, attributes = (json.dumps(region[key]) for key in ("shape_attributes", "region_attributes"))
            rows.append((record["filename"], 1234, "{}", len(regions), number, shape, attributes))
    put_rows(root / "via_region_data.csv", rows)


def via_first(root: Path) -> None:
    for split, indices in SPLITS.items():
        draw_all(root / split, indices)
        put_json(root / split / "via_region_data.json", via_records(indices, first_version=True))


def supervisely(root: Path) -> None:
    put_json(root / "meta.json", {"classes": [{"title": name, "shape": "rectangle"} for name in CLASSES], "tags": []})
    width, height = SIZE_WH
    for split, indices in SPLITS.items():
        draw_all(root / split / "img", indices)
        for n in indices:
            objects = [
                {
                    "classTitle": o.name,
                    "geometryType": "rectangle",
                    "points": {"exterior": [[o.left, o.top], [o.right, o.bottom]], "interior": []},
                }
                for o in objects_of(n)
            ]
            record = {"description": "", "tags": [], "size": {"width": width, "height": height}, "objects": objects}
            put_json(root / split / "ann" / f"{name_of(n)}.json", record)


LABEL_NAMES = {name: f"/m/0{i}" for i, name in enumerate(CLASSES)}


def openimages_boxes(file: Path, indices: Sequence[int]) -> None:
    width, height = SIZE_WH
    header = (
        "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsOccluded,IsTruncated,IsGroupOf,IsDepiction,IsInside"
    )
    rows: list[Sequence[object]] = [header.split(",")]
    for n in indices:
        for o in objects_of(n):
            sides = (o.left / width, o.right / width, o.top / height, o.bottom / height)
            rows.append([f"part {n}", "xclick", LABEL_NAMES[o.name], 1, *sides, 0, 0, 0, 0, 0])
    put_rows(file, rows)


def openimages_labels(file: Path, indices: Sequence[int], confidence: float = 1) -> None:
    """Every class of every image: with the confidence where the image shows it, else with 0."""
    rows: list[Sequence[object]] = [("ImageID", "Source", "LabelName", "Confidence")]
    for n in indices:
        there = {o.name for o in objects_of(n)}
        rows += [
            (f"part {n}", "verification", label, confidence if name in there else 0)
            for name, label in LABEL_NAMES.items()
        ]
    put_rows(file, rows)


def openimages_hierarchy(file: Path) -> None:
    """Nuts and bolts are fasteners; gears are not."""
    below = [{"LabelName": LABEL_NAMES["bolt"]}, {"LabelName": LABEL_NAMES["nut"]}]
    kinds = [{"LabelName": "/m/09", "Subcategory": below}, {"LabelName": LABEL_NAMES["gear"]}]
    put_json(file, {"LabelName": "/m/0bl9f", "Subcategory": kinds})


def openimages(root: Path) -> None:
    put_rows(root / "class-descriptions-boxable.csv", [(label, name) for name, label in LABEL_NAMES.items()])
    for split, indices in SPLITS.items():
        word = {"val": "validation"}.get(split, split)
        draw_all(root / word, indices)
        openimages_boxes(root / f"{word}-annotations-bbox.csv", indices)


def openimages_v7(root: Path) -> None:
    """With image-level labels, of people and of a machine, and the hierarchy."""
    described = [(label, name) for name, label in LABEL_NAMES.items()]
    put_rows(root / "oidv7-class-descriptions-boxable.csv", [("LabelName", "DisplayName"), *described])
    put_rows(root / "oidv7-class-descriptions.csv", [("LabelName", "DisplayName"), *described, ("/m/08", "rust")])
    openimages_hierarchy(root / "bbox_labels_600_hierarchy.json")
    for split, indices in SPLITS.items():
        word = {"val": "validation", "train": "oidv6-train"}.get(split, split)
        draw_all(root / word.removeprefix("oidv6-"), indices)
        openimages_boxes(root / f"{word}-annotations-bbox.csv", indices)
        word = word.replace("v6", "v7")
        openimages_labels(root / f"{word}-annotations-human-imagelabels-boxable.csv", indices)
        openimages_labels(root / f"{word}-annotations-human-imagelabels.csv", indices)
        openimages_labels(root / f"{word}-annotations-machine-imagelabels.csv", indices, 0.7)


def openimages_cvat(root: Path) -> None:
    put_rows(root / "annotations" / "class-descriptions.csv", [(label, name) for name, label in LABEL_NAMES.items()])
    openimages_hierarchy(root / "annotations" / "bbox_labels_600_hierarchy.json")
    put(root / "annotations" / "images.meta", "".join(f"part {n} 36 48\n" for n in ALL))
    openimages_boxes(root / "annotations" / "default-annotations-bbox.csv", ALL)
    draw_all(root / "images" / "default", ALL)


def openimages_labels_alone(root: Path) -> None:
    put_rows(root / "class-descriptions.csv", [(label, name) for name, label in LABEL_NAMES.items()])
    for split, indices in SPLITS.items():
        word = {"val": "validation"}.get(split, split)
        draw_all(root / word, indices)
        openimages_labels(root / f"{word}-annotations-human-imagelabels.csv", indices)


def kitti(root: Path) -> None:
    draw_all(root / "training" / "image_2", ALL)
    for n in ALL:
        lines = [
            f"{o.name} 0.00 0 -1.57 {o.left}.00 {o.top}.00 {o.right}.00 {o.bottom}.00 1 1 1 1 1 1 1\n"
            for o in objects_of(n)
        ]
        put(root / "training" / "label_2" / f"part {n}.txt", "".join(lines))


def widerface(root: Path) -> None:
    for split, indices in SPLITS.items():
        if split == "test":
            continue
        lines = []
        for n in indices:
            lines += [f"0--Parts/{name_of(n)}", str(len(objects_of(n)))]
            lines += [" ".join(map(str, [*o.xywh, 0, 0, 0, 0, 0, 0])) for o in objects_of(n)]
            draw(root / f"WIDER_{split}" / "images" / "0--Parts" / name_of(n), n)
        put(root / "wider_face_split" / f"wider_face_{split}_bbx_gt.txt", "\n".join(lines) + "\n")


def retinanet_csv(root: Path) -> None:
    draw_all(root / "images", ALL)
    for split, indices in SPLITS.items():
        rows = [
            (f"images/{name_of(n)}", o.left, o.top, o.right, o.bottom, o.name) for n in indices for o in objects_of(n)
        ]
        put_rows(root / f"{split}_annotations.csv", rows)


def csv_roboflow(root: Path) -> None:
    for split, indices in SPLITS.items():
        folder = root / split.replace("val", "valid")
        draw_all(folder, indices)
        rows: list[Sequence[object]] = [("filename", "width", "height", "class", "xmin", "ymin", "xmax", "ymax")]
        rows += [
            (name_of(n), *SIZE_WH, o.name, o.left, o.top, o.right, o.bottom) for n in indices for o in objects_of(n)
        ]
        put_rows(folder / "_annotations.csv", rows)


def imagefolder(root: Path) -> None:
    for split, indices in SPLITS.items():
        draw_all(root / split, indices)
        records = [
            {
                "file_name": name_of(n),
                "objects": {"bbox": [o.xywh for o in objects_of(n)], "categories": [o.name for o in objects_of(n)]},
            }
            for n in indices
        ]
        put(root / split / "metadata.jsonl", "".join(json.dumps(record) + "\n" for record in records))


def parquet_rows(indices: Sequence[int]) -> list[dict[str, Any]]:
    """Rows of a data set for object detection, boxes as two corners."""
    width, height = SIZE_WH
    rows = []
    for n in indices:
        image = {"bytes": encoded(n), "path": name_of(n)}
        objects = {"bbox": [list(o[1:]) for o in objects_of(n)], "category": [o.label for o in objects_of(n)]}
        rows.append({"image": image, "width": width, "height": height, "objects": objects})
    return rows


def put_parquet(file: Path, rows: Sequence[dict[str, Any]], names: Sequence[str] | None = CLASSES) -> None:
    """A Parquet file as Hugging Face's ``datasets`` writes it."""
    import pyarrow as pa
    from pyarrow.parquet import write_table

    category = {"names": list(names), "_type": "ClassLabel"} if names else {"dtype": "int64", "_type": "Value"}
    features = {"objects": {"feature": {"category": category}, "_type": "Sequence"}, "label": category}
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    file.parent.mkdir(parents=True, exist_ok=True)
    write_table(pa.Table.from_pylist(list(rows)).replace_schema_metadata(metadata), file, row_group_size=2)


def parquet(root: Path) -> None:
    for split, indices in SPLITS.items():
        word = {"val": "validation"}.get(split, split)
        for shard, some in enumerate((indices[:1], indices[1:])):
            if some:
                put_parquet(root / "data" / f"{word}-0000{shard}-of-00002.parquet", parquet_rows(some))


def webdataset(root: Path) -> None:
    root.mkdir(parents=True, exist_ok=True)
    for split, indices in SPLITS.items():
        with tarfile.open(root / f"{split}-000000.tar", "w") as tar:
            for n in indices:
                draw(root / "x.png", n)
                boxes = [[o.left, o.top, o.right, o.bottom] for o in objects_of(n)]
                record = json.dumps({"boxes": boxes, "labels": [o.name for o in objects_of(n)]}).encode()
                for suffix, data in ((".png", (root / "x.png").read_bytes()), (".json", record)):
                    member = tarfile.TarInfo(f"part {n}{suffix}")
                    member.size = len(data)
                    tar.addfile(member, io.BytesIO(data))
    (root / "x.png").unlink()


def class_folders(root: Path) -> None:
    for split, indices in SPLITS.items():
        for n in indices:
            draw(root / split / objects_of(n)[0].name / name_of(n), n)


def class_folders_alone(root: Path) -> None:
    for n in ALL:
        draw(root / objects_of(n)[0].name / name_of(n), n)


def imagefolder_labels(root: Path) -> None:
    for split, indices in SPLITS.items():
        draw_all(root / split, indices)
        rows = [("file_name", "label"), *((name_of(n), objects_of(n)[0].name) for n in indices)]
        put_rows(root / split / "metadata.csv", rows)


def multilabel_roboflow(root: Path) -> None:
    for split, indices in SPLITS.items():
        draw_all(root / split.replace("val", "valid"), indices)
        rows: list[Sequence[object]] = [("filename", *CLASSES)]
        for n in indices:
            there = {o.name for o in objects_of(n)}
            rows.append((name_of(n), *(int(name in there) for name in CLASSES)))
        put_rows(root / split.replace("val", "valid") / "_classes.csv", rows)


DIVIDED = dict(SPLITS)
WHOLE = {"train": ALL}
NO_TEST = {"train": SPLITS["train"], "val": SPLITS["val"]}
MARKED = {"train": SPLITS["train"], "val": (*SPLITS["val"], *SPLITS["test"])}


@dataclass(frozen=True)
class Layout:
    """A layout, and what must be read from it.

    Attributes:
        write: makes it in a folder.
        splits: the indices of the images in each split.
        known: ``boxes``; ``first`` the class of the first object as image-level label; ``labels`` the classes of all.
        files: what else can be pointed at, with the splits that it has.
        classes: the only class that objects have, where it is not their own.
    """

    write: Callable[[Path], None]
    splits: dict[str, tuple[int, ...]] = field(default_factory=lambda: dict(DIVIDED))
    known: str = "boxes"
    files: dict[str, dict[str, tuple[int, ...]]] = field(default_factory=dict)
    one_class: str | None = None


LAYOUTS = {
    "voc": Layout(voc),
    "voc devkit": Layout(voc_devkit),
    "voc of kaggle": Layout(voc_kaggle, WHOLE),
    "voc of roboflow": Layout(voc_roboflow),
    "voc of labelimg": Layout(voc_labelimg, WHOLE),
    "voc, names with suffix": Layout(voc_names_with_suffix),
    "imagenet det": Layout(imagenet_det),
    "coco as downloaded": Layout(coco_official, files={"annotations/instances_val2017.json": {"train": SPLITS["val"]}}),
    "coco in one file": Layout(coco_one_file, WHOLE, files={"annotations.json": WHOLE}),
    "coco of roboflow": Layout(coco_roboflow, files={"valid/_annotations.coco.json": {"train": SPLITS["val"]}}),
    "coco of label studio": Layout(coco_labelstudio, WHOLE, files={"result.json": WHOLE}),
    "coco of cvat": Layout(coco_cvat, WHOLE, files={"annotations/instances_default.json": WHOLE}),
    "lvis": Layout(lvis, files={"lvis_v1_train.json": {"train": SPLITS["train"]}}),
    "yolo of ultralytics": Layout(yolo_ultralytics, files={"data.yaml": DIVIDED}),
    "yolo without yaml": Layout(yolo_plain),
    "yolo with lists": Layout(yolo_lists, files={"data.yaml": DIVIDED}),
    "yolo of roboflow": Layout(yolo_roboflow, files={"data.yaml": DIVIDED}),
    "yolo of label studio": Layout(yolo_labelstudio, WHOLE),
    "yolo of labelimg": Layout(yolo_labelimg, WHOLE),
    "yolo of cvat": Layout(yolo_cvat, WHOLE, files={"obj.data": WHOLE}),
    "yolo mark": Layout(yolo_mark, MARKED, files={"data/obj.data": MARKED}),
    "darknet of roboflow": Layout(darknet_roboflow),
    "cvat": Layout(cvat_images, WHOLE, files={"annotations.xml": WHOLE}),
    "label studio": Layout(labelstudio, WHOLE, files={"project-1.json": WHOLE}),
    "label studio min": Layout(labelstudio_min, WHOLE, files={"min.json": WHOLE}),
    "labelme": Layout(labelme, WHOLE),
    "via": Layout(via, WHOLE, files={"via_region_data.json": WHOLE}),
    "via csv": Layout(via_csv, WHOLE, files={"via_region_data.csv": WHOLE}),
    "via project": Layout(via_project, WHOLE, files={"via_project.json": WHOLE}),
    "via 1": Layout(via_first),
    "supervisely": Layout(supervisely),
    "open images": Layout(openimages, files={"train-annotations-bbox.csv": {"train": SPLITS["train"]}}),
    "open images v7": Layout(openimages_v7),
    "open images of cvat": Layout(
        openimages_cvat, WHOLE, files={"annotations/default-annotations-bbox.csv": {"train": ALL}}
    ),
    "open images, image-level labels": Layout(openimages_labels_alone, known="labels"),
    "kitti": Layout(kitti, WHOLE),
    "wider face": Layout(widerface, NO_TEST, one_class="face"),
    "keras-retinanet csv": Layout(retinanet_csv, files={"val_annotations.csv": {"train": SPLITS["val"]}}),
    "csv of roboflow": Layout(csv_roboflow),
    "imagefolder": Layout(imagefolder),
    "parquet": Layout(parquet, files={"data/train-00001-of-00002.parquet": {"train": SPLITS["train"][1:]}}),
    "webdataset": Layout(webdataset, files={"test-000000.tar": {"train": SPLITS["test"]}}),
    "class folders": Layout(class_folders, known="first"),
    "class folders alone": Layout(class_folders_alone, WHOLE, known="first"),
    "imagefolder of labels": Layout(imagefolder_labels, known="first"),
    "multi-label of roboflow": Layout(multilabel_roboflow, known="labels"),
}


Known = tuple[tuple[object, ...], ...]


def known_of(layout: Layout, number: int) -> Known:
    """What must be read of an image: its boxes with names, or its image-level labels."""
    objects = objects_of(number)
    if layout.known == "first":
        return ((objects[0].name,),)
    if layout.known == "labels":
        return tuple(sorted({(o.name,) for o in objects}))
    return tuple(sorted((layout.one_class or o.name, o.left, o.top, o.right, o.bottom) for o in objects))
