"""Readers of what is neither a model, a tree nor a data set: videos, images to label, small files of commands."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import pyarrow
from PIL import Image
from pyarrow import parquet

from support.fuzzing import Target
from support.resized import h264, motion_jpeg
from support.small_tree import TREE
from yolo9000.checkpoints.darknet.cfg import read_cfg
from yolo9000.data.soft_labels import read_soft_labels
from yolo9000.evaluation.unknown import read_unknown
from yolo9000.io.images import read_image
from yolo9000.io.sources import open_sources
from yolo9000.io.videos import read_video
from yolo9000.labeling import storage
from yolo9000.labeling.images import list_images
from yolo9000.labeling.parts import Parts
from yolo9000.labeling.review import excluded_names
from yolo9000.taxonomy.readers import read_parent_table
from yolo9000.tracking.regions import read_zones
from yolo9000.training.darknet_recipe import cfg_values
from yolo9000.training.recipe import recipe_of

MAX_PIXELS = 20_000
FRAMES = [(96, 64, 60), (96, 64, 120), (64, 96, 200)]
ZONES = "door: [[10, 20], [90, 20.5], [50, 8e1]]\ngate: [[0, 0], [9, 0], [9, 9], [0, 9]]\n"
SOFT_LABELS = (
    '{"image": "a.jpg", "boxes": [{"dog": 0.75, "cat": 0.25}, null]}\n{"image": "b.jpg", "probabilities": {"cat": 1}}\n'
)
HIERARCHY = (
    '{"LabelName": "/m/0", "Subcategory": [{"LabelName": "/m/1", "Part": [{"LabelName": "/m/2"}]}, '
    '{"LabelName": "/m/2"}]}'
)
CHOICES = 'image,uncertainty,novelty\na.jpg,0.5000,0.2500\n"b, c.jpg",0.1000,1.0000\n'
CFG = """[net]
batch=4
subdivisions=2
width=32
height=32
channels=3
momentum=0.9
decay=0.0005
angle=0
saturation = 1.5
exposure = 1.5
hue=.1
learning_rate=0.001
burn_in=10
max_batches = 400
policy=steps
steps=-1,100,300
scales=.1,10,.1
[convolutional]
filters=14
size=1
stride=32
activation=linear
[region]
anchors = 1,1,3,3
classes=2
num=2
softmax=1
jitter=.2
rescore=1
object_scale=5
thresh = .6
random=1
"""


def text(name: str, contents: str) -> Callable[[Path], Path]:
    """A file with that text."""

    def write(folder: Path) -> Path:
        (folder / name).write_text(contents, encoding="utf-8")
        return folder / name

    return write


def data(name: str, contents: bytes) -> Callable[[Path], Path]:
    """A file of those bytes."""

    def write(folder: Path) -> Path:
        (folder / name).write_bytes(contents)
        return folder / name

    return write


def mp4(folder: Path) -> Path:
    """Five frames in MPEG-4."""
    writer = cv2.VideoWriter(str(folder / "clip.mp4"), cv2.VideoWriter.fourcc(*"mp4v"), 10.0, (64, 48))
    assert writer.isOpened()
    for number in range(5):
        writer.write(np.full((48, 64, 3), 40 * number, np.uint8))
    writer.release()
    return folder / "clip.mp4"


def animation(folder: Path) -> Path:
    """A WebP of three frames."""
    first, *others = (Image.new("RGB", (24, 16), (80 * number, 9, 9)) for number in range(3))
    first.save(folder / "a.webp", save_all=True, append_images=others, duration=50, lossless=True)
    return folder / "a.webp"


def images_in_tar(folder: Path) -> Path:
    """Two images in a tar file."""
    with tarfile.open(folder / "images.tar", "w") as tar:
        for name in ("a.png", "b.png"):
            Image.new("RGB", (9, 7)).save(folder / name)
            tar.add(folder / name, name)
            (folder / name).unlink()
    return folder / "images.tar"


def images_in_parquet(folder: Path) -> Path:
    """Two images in a column."""
    Image.new("RGB", (9, 7)).save(folder / "a.png")
    rows = [{"id": number, "image": (folder / "a.png").read_bytes()} for number in range(2)]
    (folder / "a.png").unlink()
    parquet.write_table(pyarrow.Table.from_pylist(rows), folder / "images.parquet", compression="none")
    return folder / "images.parquet"


def read_frames(file: Path) -> None:
    """All frames."""
    for _ in read_video(file, file.name, MAX_PIXELS, 1):
        pass


def read_source(file: Path) -> None:
    """All images, as ``predict`` opens them."""
    for _ in open_sources(str(file), max_pixels=MAX_PIXELS):
        pass


def read_listed(file: Path) -> None:
    """All images, as ``label`` lists and opens them."""
    storage._opened.cache_clear()  # a mutant is another file under the same name
    storage._row_group.cache_clear()
    for image in list_images([file]):
        read_image(image.encoded(), max_pixels=MAX_PIXELS)


def parts_of_labels(folder: Path) -> Path:
    """The labels of one part."""
    Image.new("RGB", (9, 7)).save(folder / "a.png")
    images = list_images([folder / "a.png"])
    record = {"image": "a.png", "width": 9, "height": 7, "boxes": [{"box_xyxy": [1, 2, 3, 4], "score": 0.5}]}
    Parts(folder / "labels", images, {"conf": 0.5}).write(0, [record])
    return folder / "labels"


def read_parts(folder: Path) -> None:
    """The labels of all parts; made with settings that are compared."""
    json.dumps(list(Parts(folder, list_images([folder.parent / "a.png"]), {"conf": 0.5})))


def files_below(folder: Path) -> Sequence[Path]:
    """All files of a folder."""
    return sorted(path for path in folder.rglob("*") if path.is_file())


def read_training_options(file: Path) -> None:
    """The recipe that a .cfg says."""
    recipe_of(cfg_values(read_cfg(file), str(file), 100) | {"data": "d"}, str(file))


OTHER_TARGETS = [
    Target("video MP4", mp4, read_frames),
    Target("video Motion JPEG", data("clip.avi", motion_jpeg(FRAMES)), read_frames),
    Target("video H.264", data("clip.ts", h264(FRAMES)), read_frames),
    Target("animation", animation, read_source),
    Target("tar of images", images_in_tar, read_listed),
    Target("Parquet of images", images_in_parquet, read_listed),
    Target("zones", text("zones.yaml", ZONES), read_zones),
    Target("unknown kinds", text("unknown.csv", 'tabby,cat\n"hound"\nbird\n'), lambda file: read_unknown(file, TREE)),
    Target("choices", text("choices.csv", CHOICES), lambda file: excluded_names([file])),
    Target(
        "soft labels",
        text("soft.jsonl", SOFT_LABELS),
        lambda file: read_soft_labels({0: file}, lambda _, name: TREE.find(name)),
    ),
    Target("parts of labels", parts_of_labels, read_parts, files=files_below),
    Target("parents of Open Images", text("hierarchy.json", HIERARCHY), read_parent_table),
    Target("training options in cfg", text("net.cfg", CFG), read_training_options),
]
