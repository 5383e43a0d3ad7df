"""Darknet's label files, lists, ``.data`` and the YAML of YOLO data sets, read and written."""

import os
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from support.paths import shared

from yolo9000.data.formats.darknet import read_darknet_data, write_darknet
from yolo9000.data.issues import RawBox
from yolo9000.data.label_files import parse_label_lines, read_label_files
from yolo9000.data.yolo_yaml import read_yolo_yaml
from yolo9000.errors import DataError
from yolo9000.types import Annotation, BoxAnnotations, ImageFile, Sample

CLASSES = ("cat", "dog", "ant")


def image(path: Path, size_wh: tuple[int, int] = (40, 20)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size_wh).save(path)
    return path


def labelled(root: Path, text: str | bytes, name: str = "a") -> Path:
    """An image, 40 x 20, in ``images`` with its label file in ``labels``."""
    path = image(root / "images" / f"{name}.png")
    label = root / "labels" / f"{name}.txt"
    label.parent.mkdir(parents=True, exist_ok=True)
    label.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def one(root: Path, text: str | bytes) -> Annotation:
    (annotation,) = read_label_files([labelled(root, text)], CLASSES)
    return annotation


def codes(annotations: list[Annotation]) -> list[str]:
    return [issue.code for annotation in annotations for issue in annotation.issues]


# --- lines ---


def test_fractions_become_pixels(tmp_path):
    annotation = one(tmp_path, "1 0.5 0.5 0.25 0.5\n\n  0\t0.1 0.2 .2 4e-1\r\n")
    assert annotation.issues == ()
    sample = annotation.sample
    # 20 +- 5 x 10 +- 5, and 4 +- 4 x 4 +- 4
    np.testing.assert_allclose(sample.boxes.boxes_xyxy, [[15, 5, 25, 15], [0, 0, 8, 8]], atol=1e-5)
    assert sample.boxes.labels.tolist() == [1, 0]
    assert sample.size_wh == (40, 20)
    assert sample.name == str(tmp_path / "images" / "a.png")
    assert sample.where == str(tmp_path / "labels" / "a.txt")
    assert sample.image_labels == ()


def test_the_size_is_that_of_the_turned_image(tmp_path):
    path = labelled(tmp_path, "1 0.5 0.5 0.25 0.5\n")
    exif = Image.Exif()
    exif[274] = 8
    Image.new("RGB", (40, 20)).save(path, exif=exif)
    (annotation,) = read_label_files([path], CLASSES)
    assert annotation.sample.size_wh == (20, 40)
    np.testing.assert_array_equal(annotation.sample.boxes.boxes_xyxy, [[7.5, 10, 12.5, 30]])


@pytest.mark.parametrize("text", ["", "\n", " \r\n\n", "\ufeff"])
def test_an_empty_file_is_a_image_without_objects(tmp_path, text):
    annotation = one(tmp_path, text)
    assert annotation.issues == ()
    assert annotation.sample.boxes is not None
    assert len(annotation.sample.boxes) == 0
    assert annotation.sample.image_labels == ()


def test_four_zeros_are_an_image_level_label(tmp_path):
    annotation = one(tmp_path, "2 0 0 0 0\n0 0.0 0 0 0.000\n")
    assert annotation.issues == ()
    assert annotation.sample.boxes is None
    assert annotation.sample.image_labels == (0, 2)
    both = one(tmp_path, "2 0 0 0 0\n1 0.5 0.5 0.25 0.5\n").sample
    assert both.image_labels == (2,)
    assert both.boxes.labels.tolist() == [1]


def test_an_image_level_label_beside_a_line_that_cannot_be_used(tmp_path):
    annotation = one(tmp_path, "2 0 0 0 0\nx 0.5 0.5 0.25 0.5\n")
    assert codes([annotation]) == ["label-syntax"]
    assert annotation.sample.boxes is None  # not an image without objects


def test_a_centre_on_one_border_is_a_box(tmp_path):
    annotation = one(tmp_path, "2 0 0.5 0.5 0.5\n")
    assert codes([annotation]) == ["box-outside"]
    np.testing.assert_array_equal(annotation.sample.boxes.boxes_xyxy, [[0, 5, 10, 15]])


@pytest.mark.parametrize(
    ("line", "code", "message"),
    [
        ("1 0.5 0.5 0.25", "label-syntax", "must be a class and 4 numbers, got 4 columns: '1 0.5 0.5 0.25'"),
        ("1 0.5 0.5 0.2 0.5 0.9", "label-syntax", "must be a class and 4 numbers, got 6 columns"),
        ("1 0 0 1 0 1 1 0 1", "label-shape", "must be an upright box, is an outline of 4 corners"),
        ("1 0 0 .5 1", "label-syntax", "the center of a box must lie inside the image, is 0 0 with size 0.5 1"),
        ("1, 0.5, 0.5, 0.2, 0.5", "label-syntax", "a class must be a whole number, 0 to 2, got '1,'"),
        ("dog 0.5 0.5 0.2 0.5", "label-syntax", "a class must be a whole number, 0 to 2, got 'dog'"),
        ("1.0 0.5 0.5 0.2 0.5", "label-syntax", "a class must be a whole number, 0 to 2, got '1.0'"),
        ("-1 0.5 0.5 0.2 0.5", "label-syntax", "a class must be a whole number, 0 to 2, got '-1'"),
        ("١ 0.5 0.5 0.2 0.5", "label-syntax", "a class must be a whole number, 0 to 2, got '١'"),
        ("3 0.5 0.5 0.2 0.5", "class-unknown", "must be one of the 3 classes, 0 to 2, got '3'"),
        ("9" * 5000 + " 0.5 0.5 0.2 0.5", "class-unknown", "must be one of the 3 classes, 0 to 2, got '999"),
        ("1 0.5 0.5 0.2 0,5", "label-syntax", "must be a class and 4 numbers, got '1 0.5 0.5 0.2 0,5'"),
        ("1 0.5 0.5 0.2 1_0", "label-syntax", "must be a class and 4 numbers, got '1 0.5 0.5 0.2 1_0'"),
        ("1 0.5 nan 0.2 0.5", "box-nan", "got centre 0.5 nan, size 0.2 0.5 of the image"),
        ("1 0.5 0.5 inf 0.5", "box-nan", "got centre 0.5 0.5, size inf 0.5 of the image"),
        ("1 0.5 0.5 -0.2 0.5", "box-inverted", "got centre 0.5 0.5, size -0.2 0.5 of the image"),
        ("1 0.5 0.5 0.2 0", "box-empty", "got centre 0.5 0.5, size 0.2 0 of the image"),
        ("1 20 10 5 5", "box-outside", "wholly outside: centre 20 10, size 5 5 of the image"),
    ],
)
def test_lines_that_cannot_be_used(tmp_path, line, code, message):
    annotation = one(tmp_path, f"0 0.5 0.5 0.5 0.5\n{line}\n")
    (issue,) = annotation.issues
    assert (issue.code, issue.where, issue.fixable) == (code, f"{tmp_path}/labels/a.txt:2", True)
    assert message in issue.message
    assert annotation.sample.boxes.labels.tolist() == [0]


def test_lines_that_are_there_twice(tmp_path):
    annotation = one(tmp_path, "0 0.5 0.5 0.5 0.5\n0 0.5 0.5 0.5 0.5\n1 0 0 0 0\n1 0 0 0 0\n")
    assert [(issue.code, issue.where.rpartition(":")[2]) for issue in annotation.issues] == [
        ("label-duplicate", "4"),
        ("box-duplicate", "2"),
    ]
    assert len(annotation.sample.boxes) == 1
    assert annotation.sample.image_labels == (1,)


def test_values_with_leading_zeros():
    assert parse_label_lines("02 .5 .5 1 1", "a.txt", 3).rows == [
        RawBox(2, 0, 0, 1, 1, "a.txt:1", "centre 0.5 0.5, size 1 1 of the image")
    ]


@pytest.mark.parametrize(
    ("data", "where", "message"),
    [
        (b"0 .5 .5 1 1\n\xff", ":2", "must be UTF-8 text, holds other bytes"),
        (b"0 .5 .5 1 1\n\n\0", ":3", "must be UTF-8 text, holds a zero byte"),
        (b" " * (16 << 20) + b"1", "", "must be at most 16,777,216 bytes long, is longer"),
    ],
)
def test_label_files_that_cannot_be_read(tmp_path, data, where, message):
    annotation = one(tmp_path, data)
    assert annotation.sample is None
    (issue,) = annotation.issues
    assert str(issue) == f"{tmp_path}/labels/a.txt{where}: label-unreadable: {message}"


# --- images and their label files ---


@pytest.mark.parametrize(
    ("image_name", "label_name"),
    [
        ("images/a.png", "labels/a.txt"),
        ("JPEGImages/a.png", "labels/a.txt"),
        ("images/train/a.b.png", "labels/train/a.b.txt"),
        ("images/x/images/a.png", "images/x/labels/a.txt"),
        ("images/x/images/a.png", "labels/x/images/a.txt"),  # as Darknet, the first
        ("my_images/a.png", "my_labels/a.txt"),  # as Darknet, any letters
        ("photos/a.png", "photos/a.txt"),
        ("images/a.png", "images/a.txt"),
    ],
)
def test_where_the_label_file_is(tmp_path, image_name, label_name):
    path = image(tmp_path / image_name)
    label = tmp_path / label_name
    label.parent.mkdir(parents=True, exist_ok=True)
    label.write_text("0 .5 .5 1 1")
    (annotation,) = read_label_files([path], CLASSES)
    assert annotation.issues == ()
    assert annotation.sample.where == str(label)


def test_a_image_without_label_file(tmp_path):
    path = image(tmp_path / "images" / "a.png")
    (annotation,) = read_label_files([path], CLASSES)
    (issue,) = annotation.issues
    assert annotation.sample is None
    assert (issue.code, issue.where, issue.fixable) == ("label-missing", str(path), False)
    assert f"there is no {tmp_path}/labels/a.txt or {tmp_path}/images/a.txt" in issue.message
    assert "an empty file says that it has no object" in issue.suggestion


@pytest.mark.posix
def test_a_folder_with_all_that_is_wrong_in_it(tmp_path):
    for name in ("b", "sub/a"):
        labelled(tmp_path, "0 .5 .5 1 1", name)
    image(tmp_path / "images" / "c.png")
    for name in ("d.txt", "sub/e.txt", "classes.txt", "d.cache"):
        (tmp_path / "labels" / name).write_text("0 .5 .5 1 1")
    for name in (".hidden.png", "Thumbs.db", "README.md", "photo.psd"):
        (tmp_path / "images" / name).write_text("")
    (tmp_path / "images" / "broken.png").write_text("no image")
    (tmp_path / "labels" / "broken.txt").write_text("0 .5 .5 1 1")
    (tmp_path / "images" / "link").symlink_to(tmp_path)
    annotations = list(read_label_files([tmp_path / "images"], CLASSES))
    names = [annotation.sample.name for annotation in annotations if annotation.sample]
    assert names == [f"{tmp_path}/images/b.png", f"{tmp_path}/images/sub/a.png"]
    issues = [(issue.code, issue.where) for annotation in annotations for issue in annotation.issues]
    assert issues == [
        ("image-unreadable", f"{tmp_path}/labels/broken.txt"),
        ("label-missing", f"{tmp_path}/images/c.png"),
        ("file-unknown", f"{tmp_path}/images/link"),
        ("file-unknown", f"{tmp_path}/images/photo.psd"),
        ("label-orphan", f"{tmp_path}/labels/d.txt"),
        ("label-orphan", f"{tmp_path}/labels/sub/e.txt"),
    ]


def test_orphans_beside_the_images_and_below_a_root(tmp_path):
    image(tmp_path / "x" / "a.png")
    for name in ("a.txt", "b.txt"):
        (tmp_path / "x" / name).write_text("")
    assert codes(list(read_label_files([tmp_path / "x"], CLASSES))) == ["label-orphan"]
    labelled(tmp_path / "y", "", "a")
    (tmp_path / "y" / "labels" / "b.txt").write_text("")
    (tmp_path / "y" / "train.txt").write_text("")
    assert codes(list(read_label_files([tmp_path / "y"], CLASSES))) == ["label-orphan"]
    assert codes(list(read_label_files([tmp_path / "x", tmp_path / "y"], CLASSES))) == ["label-orphan"] * 2


def test_lists(tmp_path, monkeypatch):
    for name in "abc":
        labelled(tmp_path, "0 .5 .5 1 1", name)
    (tmp_path / "images" / "d.png").write_text("")
    monkeypatch.chdir(tmp_path / "labels")
    text = f"\ufeffimages/b.png\r\n\n./images/a.png\n{tmp_path}/images/c.png\n../images/d.png\ngone.png\nimages/b.png\n"
    (tmp_path / "train.list").write_text(text)
    annotations = list(read_label_files([tmp_path / "train.list"], CLASSES))
    assert [Path(annotation.sample.name).name for annotation in annotations if annotation.sample] == [
        "b.png",
        "a.png",
        "c.png",
    ]
    issues = [issue for annotation in annotations for issue in annotation.issues]
    assert [(issue.code, issue.where) for issue in issues] == [
        ("label-missing", f"{tmp_path}/train.list:5"),
        ("image-missing", f"{tmp_path}/train.list:6"),
        ("image-duplicate", f"{tmp_path}/train.list:7"),
    ]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (None, r"train\.txt: file-unreadable: must be a file that can be read"),
        (b"a.png\nb\xff.png\n", r"train\.txt:2: file-unreadable: must be UTF-8 text, holds other bytes"),
        (b"a.png\n\0\n", r"train\.txt:2: file-unreadable: must be UTF-8 text, holds a zero byte"),
        (b"a" * (1 << 20) + b"bc", r"train\.txt: file-unreadable: must be at most 1,048,576 bytes long"),
    ],
)
def test_lists_that_cannot_be_read(tmp_path, data, message):
    if data is not None:
        (tmp_path / "train.txt").write_bytes(data)
    with pytest.raises(DataError, match=message):
        list(read_label_files([tmp_path / "train.txt"], CLASSES))


@pytest.mark.parametrize("line", ["x" * 5000 + ".png", "a/" * 3000 + "b.png", "images", "."])
def test_lines_that_are_no_image(tmp_path, line):
    labelled(tmp_path, "")
    (tmp_path / "train.txt").write_text(line)
    assert codes(list(read_label_files([tmp_path / "train.txt"], CLASSES))) == ["image-missing"]


@pytest.mark.posix
def test_a_pipe_is_not_waited_for(tmp_path):
    labelled(tmp_path, "")
    os.mkfifo(tmp_path / "images" / "b.png")
    assert codes(list(read_label_files([tmp_path / "images"], CLASSES))) == ["image-missing"]


# --- YAML ---

YAML = """
path: data  # here
train: images/train
val: [images/val, val.txt]
test:
nc: 3
names: [cat, "no", 'a b']
download: |
  import os; os.system("touch canary")
"""


@pytest.fixture
def yaml_folder(tmp_path: Path) -> Path:
    for name in ("train", "val"):
        (tmp_path / "data" / "images" / name).mkdir(parents=True)
    (tmp_path / "data" / "val.txt").write_text("")
    return tmp_path


def read_yaml(folder: Path, text: str):
    (folder / "data.yaml").write_text(text)
    return read_yolo_yaml(folder / "data.yaml")


def test_the_usual_yaml(yaml_folder):
    got = read_yaml(yaml_folder, YAML)
    names, splits = got.names, got.splits
    assert names == ("cat", "no", "a b")
    data = yaml_folder / "data"
    assert splits == {"train": (data / "images/train",), "val": (data / "images/val", data / "val.txt")}
    assert not Path("canary").exists()
    numbered = YAML.replace("""[cat, "no", 'a b']""", "\n  2: a b\n  0: cat\n  1: 'no'")
    assert read_yaml(yaml_folder, numbered) == got


def test_paths_without_a_root_are_beside_the_yaml(yaml_folder):
    text = f"names: [a]\ntrain: data/images/train\ntest: {yaml_folder}/data/val.txt"
    splits = read_yaml(yaml_folder, text).splits
    assert splits == {
        "train": (yaml_folder / "data/images/train",),
        "test": (yaml_folder / "data/val.txt",),
    }


@pytest.mark.parametrize(
    ("old", "new", "line", "message"),
    [
        ('"no"', "no", 7, "must be text, in quotes where YAML takes it for something else (\"no\"), got 'no'"),
        ('"no"', "null", 7, "must be text"),
        ('"no"', "5", 7, "must be text"),
        ('"no"', "''", 7, "must be text"),
        ('"no"', '"a\\nb"', 7, "must be text"),
        ('"no"', "[x]", 7, "must be text"),
        ('"no"', "!!python/object/apply:os.system [touch canary]", 7, "must be text"),
        ('"no"', "cat", None, "a class must be named once, 'cat' is class 0 and class 1"),
        ("nc: 3", "nc: 4", 6, "nc must be 3, the number of names, is '4'"),
        ("nc: 3", "nc: [3]", 6, "nc must be 3, the number of names"),
        ("nc: 3", "train: x", 6, "must have 'train' once"),
        ("names:", "labels:", None, "must have names, a list or a number and a name a line"),
        ("""[cat, "no", 'a b']""", "cat", 7, "must have names, a list or a number and a name a line"),
        ("""[cat, "no", 'a b']""", "{0: a, 2: b}", 7, "the numbers of names must be 0 to 1 without gaps"),
        ("""[cat, "no", 'a b']""", "{0: a, 0: b}", 7, "must be the number of a class, each once, got '0'"),
        ("""[cat, "no", 'a b']""", "{0x0: a}", 7, "must be the number of a class, each once, got '0x0'"),
        ("""[cat, "no", 'a b']""", "{a: 0}", 7, "must be the number of a class, each once, got 'a'"),
        ("images/train", "gone", 3, "must name a folder or a list that is there"),
        ("images/train", "5", 3, "must be text"),
        ("images/train", "{a: b}", 3, "must be text"),
        ("[images/val, val.txt]", "[images/val, gone]", 4, "must name a folder or a list that is there"),
        ("data  # here", "[a]", 2, "must be text"),
        ("names: [", "names: [[", 8, "must be YAML"),
        ("path:", "path", 3, "must be YAML"),
        ("nc: 3", "nc: *x", 6, "must be YAML: must have no aliases (*x)"),
        ("nc: 3", "\tnc: 3", 6, "must be YAML: found character '\\t' that cannot start any token"),
        ("nc: 3", 'nc: "\\UFFFFFFFF"', None, "must be YAML"),
        ("nc: 3", "nc: " + "[" * 3000, 6, "must be nested at most 64 deep"),
        ("nc: 3", "nc: \x07", None, "must be YAML"),
    ],
)
def test_yaml_that_cannot_be_used(yaml_folder, old, new, line, message):
    assert old in YAML
    with pytest.raises(DataError) as error:
        read_yaml(yaml_folder, YAML.replace(old, new))
    where = f"{yaml_folder}/data.yaml" + (f":{line}" if line else "")
    assert str(error.value).startswith(f"{where}: ")
    assert message in str(error.value)
    assert "\n" not in str(error.value)
    assert not Path("canary").exists()


@pytest.mark.parametrize("text", ["", "- a", "5", "names: [a]", "names: [a]\ntrain:\nval: []", "? [a]\n: b"])
def test_yaml_without_what_is_needed(yaml_folder, text):
    with pytest.raises(DataError, match="file-syntax"):
        read_yaml(yaml_folder, text)


def test_yaml_that_is_too_large_or_not_there(yaml_folder):
    with pytest.raises(DataError, match="file-unreadable: must be at most 1,000,000 bytes long"):
        read_yaml(yaml_folder, YAML + "#" * 1_000_000)
    with pytest.raises(DataError, match="file-unreadable: must be a file"):
        read_yolo_yaml(yaml_folder)


def test_aliases_are_refused(yaml_folder):
    laughs = "a: &a [x]\n" + "".join(
        f"{b}: &{b} [{','.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
    )
    with pytest.raises(DataError, match=r"must have no aliases \(\*a\)"):
        read_yaml(yaml_folder, laughs + YAML)


# --- .data ---


def data_file(folder: Path, text: str) -> Path:
    (folder / "x.names").write_text("cat\ndog\n")
    (folder / "twice.names").write_text("cat\ncat\n")
    (folder / "train.list").write_text("")
    (folder / "x.data").write_text(text)
    return folder / "x.data"


def test_darknet_data(tmp_path):
    text = "classes= 2\ntrain  = train.list\n#valid = x\nnames = x.names\nbackup = nowhere\n"
    assert read_darknet_data(data_file(tmp_path, text)) == (("cat", "dog"), {"train": tmp_path / "train.list"})
    text = "valid=train.list\nnames = twice.names\nlabels = x.names"
    assert read_darknet_data(data_file(tmp_path, text)) == (("cat", "dog"), {"val": tmp_path / "train.list"})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("train = train.list", "must have names = and a file, has none"),
        ("names = x.names", "must have train, valid, test or some of them, has none"),
        ("names = x.names\ntrain = train.list\nclasses = 3", "classes must be 2, the number of names, is '3'"),
        ("names = gone.names", "file not found: 'gone.names'"),
        ("names = x.names\ntrain = gone", "file not found: 'gone'"),
        ("names = twice.names\ntrain = train.list", "class-duplicate: a class must be named once"),
        ("names", "must be key = value, got 'names'"),
    ],
)
def test_darknet_data_that_cannot_be_used(tmp_path, text, message):
    with pytest.raises(DataError) as error:
        read_darknet_data(data_file(tmp_path, text))
    assert message in str(error.value)


# --- writing ---


def gt(
    *boxes: list[float], labels: list[int], difficult: int | None = None, crowd: int | None = None
) -> BoxAnnotations:
    plain = BoxAnnotations.plain(np.array(boxes, np.float32).reshape(-1, 4), np.array(labels, np.int64))
    marks = np.arange(len(labels))
    return BoxAnnotations(plain.boxes_xyxy, plain.labels, marks == difficult, marks == crowd, plain.areas)


def some_samples(folder: Path) -> list[Sample]:
    first, second, third = (image(folder / name) for name in ("a.png", "b/a.PNG", "c.png"))
    (folder / "x.tar").write_bytes(b"12345" + third.read_bytes())
    boxes = gt(
        [0, 0, 40, 20], [1.3, 2.7, 9.9, 7.1], [1, 1, 2, 2], [3, 3, 4, 4], labels=[1, 0, 0, 0], difficult=2, crowd=3
    )
    return [
        Sample("a.png", ImageFile(first), "w", (40, 20), boxes, image_labels=(2,)),
        Sample("b/a.PNG", ImageFile(second), "w", None, gt([1, 2, 3, 4], labels=[2])),
        Sample("n0/c.png", ImageFile(folder / "x.tar", 5, third.stat().st_size), "w", image_labels=(0, 2)),
        Sample("d.png", ImageFile(third), "w", boxes=gt(labels=[])),
    ]


@pytest.mark.posix
@pytest.mark.parametrize("copy", [False, True])
def test_what_is_written_is_read(tmp_path, copy):
    samples = some_samples(tmp_path / "from")
    out = tmp_path / "to"
    write_darknet(out, samples[:3], CLASSES, copy=copy)
    write_darknet(out, samples[3:], CLASSES, "val", copy=copy)
    assert [(out / "images" / name).is_symlink() for name in ("a.png", "c.png")] == [not copy, False]
    names, splits = read_darknet_data(out / "dataset.data")
    described = read_yolo_yaml(out / "dataset.yaml")
    assert (described.names, described.splits) == (names, {split: (path,) for split, path in splits.items()})
    assert names == CLASSES
    assert splits == {"train": out / "train.txt", "val": out / "val.txt"}
    annotations = list(read_label_files(splits.values(), names))
    assert codes(annotations) == []
    read = [annotation.sample for annotation in annotations]
    # difficult boxes and crowds have no room in the format
    np.testing.assert_allclose(read[0].boxes.boxes_xyxy, [[0, 0, 40, 20], [1.3, 2.7, 9.9, 7.1]], atol=1e-5)
    assert (read[0].boxes.labels.tolist(), read[0].image_labels) == ([1, 0], (2,))
    np.testing.assert_allclose(read[1].boxes.boxes_xyxy, [[1, 2, 3, 4]], atol=1e-5)
    assert (read[2].boxes, read[2].image_labels) == (None, (0, 2))
    assert len(read[3].boxes) == 0
    assert codes(list(read_label_files([out / "images"], names))) == []


def test_the_files_that_are_written(tmp_path):
    write_darknet(tmp_path / "to", some_samples(tmp_path / "from")[:1], ("no", "dog: big", "ant"))
    assert (tmp_path / "to" / "classes.names").read_text() == "no\ndog: big\nant\n"
    assert (tmp_path / "to" / "train.txt").read_text() == "./images/a.png\n"
    lines = (tmp_path / "to" / "labels" / "a.txt").read_text().splitlines()
    # the second: (1.3 + 9.9) / 2 / 40 = 0.14, (2.7 + 7.1) / 2 / 20 = 0.245, 8.6 / 40 = 0.215, 4.4 / 20 = 0.22
    assert lines[:2] == ["2 0 0 0 0", "1 0.5 0.5 1 1"]
    assert lines[2].startswith("0 ")
    np.testing.assert_allclose([float(part) for part in lines[2].split()[1:]], [0.14, 0.245, 0.215, 0.22], atol=1e-7)
    assert (tmp_path / "to" / "dataset.data").read_text() == "classes = 3\nnames = classes.names\ntrain = train.txt\n"
    description = yaml.safe_load((tmp_path / "to" / "dataset.yaml").read_text())
    assert description == {"train": "train.txt", "names": {0: "no", 1: "dog: big", 2: "ant"}}


def test_what_cannot_be_written(tmp_path):
    samples = some_samples(tmp_path / "from")
    out = tmp_path / "to"
    write_darknet(out, samples[:1], CLASSES)
    with pytest.raises(DataError, match=r"a\.txt: must not be there already"):
        write_darknet(out, samples[:1], CLASSES)
    with pytest.raises(DataError, match="must have boxes or image-level labels to be written, has neither"):
        write_darknet(out, [Sample("z.png", samples[0].image, "w")], CLASSES)
    with pytest.raises(DataError, match=r"names of classes must be one line each, .*, got 'a\\nb'"):
        write_darknet(out, [], ("a\nb",))
    with pytest.raises(DataError, match="cannot be written: Not a directory"):
        write_darknet(tmp_path / "from" / "a.png", [], CLASSES)


# --- damage at random ---

PARTS = st.sampled_from(
    ["0", "2", "3", "-1", "0.5", "1e-9", ".25", "1", "nan", "inf", "-0.5", "x", "1_0", "", "9" * 400]
)
LINES = st.lists(PARTS, max_size=7).map(" ".join) | st.text(max_size=12).filter(lambda text: "\n" not in text)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("darknet")


@settings(max_examples=300, deadline=None)
@given(st.lists(LINES, max_size=5))
def test_every_line_is_a_box_a_label_or_a_issue(folder, lines):
    annotation = one(folder, "\n".join(lines).encode("utf-8", "surrogatepass"))
    if annotation.sample is None:
        assert codes([annotation]) == ["label-unreadable"]
        return
    assert all(issue.fixable for issue in annotation.issues)
    written = [line for line in lines if line.strip("\ufeff" if line is lines[0] else "").strip()]
    boxes = [] if annotation.sample.boxes is None else annotation.sample.boxes.labels
    clipped = [issue for issue in annotation.issues if "partly outside" in issue.message]
    assert len(boxes) + len(annotation.sample.image_labels) + len(annotation.issues) - len(clipped) == len(written)


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_damaged_yaml_is_reported(folder, data):
    (folder / "data" / "images").mkdir(parents=True, exist_ok=True)
    text = "path: data\ntrain: images\nnc: 3\nnames: {0: cat, 1: 'no', 2: a b}\n"
    for _ in range(data.draw(st.integers(1, 3))):
        position, length = data.draw(st.integers(0, len(text))), data.draw(st.integers(0, 5))
        token = data.draw(st.sampled_from([*":-[]{}&*!|>'\"%@`#,? \n\t", "!!python/name:os", "0x1", "<<: *a", "\x85"]))
        text = text[:position] + token + text[position + length :]
    (folder / "x.yaml").write_text(text)
    message = ""
    try:
        got = read_yolo_yaml(folder / "x.yaml")
    except DataError as error:
        message = str(error)
    if message:
        assert message.startswith(f"{folder}/x.yaml")
        assert "\n" not in message
    else:
        assert all(isinstance(name, str) and name for name in got.names)
        assert got.splits


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.sampled_from(["names", "=", "x.names", "train", "train.list", "classes", "2", "\n", "\0", "é", "["]))
)
def test_damaged_darknet_data_is_reported(folder, parts):
    message = ""
    try:
        names, splits = read_darknet_data(data_file(folder, " ".join(parts)))
    except DataError as error:
        message = str(error)
    if message:
        assert "\n" not in message
    else:
        assert names == ("cat", "dog")
        assert set(splits) == {"train"}


# --- real data ---


def test_real_data():
    root = shared("data", "coco128")
    classes = (root / "classes.txt").read_text().split("\n")[:80]
    for source in (root / "images" / "train2017", root):
        annotations = list(read_label_files([source], classes))
        assert codes(annotations) == ["label-orphan"] * 2  # 128 label files, 126 images
        samples = [annotation.sample for annotation in annotations if annotation.sample]
        assert len(samples) == 126
        assert sum(len(sample.boxes) for sample in samples) == 929


def test_a_list_may_name_the_root(tmp_path):
    """A path without a name has no labels beside it."""
    (tmp_path / "l.txt").write_text("/\n")
    assert codes(list(read_label_files([tmp_path / "l.txt"], ["dog"]))) == ["image-missing"]
