"""PASCAL VOC: pixels from 1 with the last one inside, difficult objects, lists, and what may be wrong with them."""

from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from support.paths import shared

from yolo9000.data.formats.voc import read_voc, voc_classes, write_voc
from yolo9000.errors import DataError
from yolo9000.types import Annotation, BoxAnnotations, ImageFile, Sample

CLASSES = ("cat", "dog")
GOOD = """<annotation>
  <folder>x</folder><filename>elsewhere.jpg</filename>
  <size><width>30</width><height>20</height><depth>3</depth></size>
  <object><name>dog</name><difficult>1</difficult>
    <bndbox><xmin>1</xmin><ymin>1</ymin><xmax>30</xmax><ymax>20</ymax></bndbox>
    <part><name>head</name><bndbox><xmin>2</xmin><ymin>2</ymin><xmax>5</xmax><ymax>5</ymax></bndbox></part>
  </object>
  <object><name> cat </name><bndbox><ymax>8.5</ymax><xmax>9</xmax><ymin>2</ymin><xmin>0</xmin></bndbox></object>
</annotation>"""


def data_set(root: Path, **annotations: str) -> Path:
    """A VOC data set with an image, 30 x 20, for each annotation."""
    for folder in ("Annotations", "JPEGImages", "ImageSets/Main"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for stem, text in annotations.items():
        (root / "Annotations" / f"{stem}.xml").write_text(text)
        Image.new("RGB", (30, 20)).save(root / "JPEGImages" / f"{stem}.jpg")
    return root


def one(root: Path, **changes: str) -> Annotation:
    """What comes of GOOD with its texts changed."""
    text = GOOD
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    (annotation,) = read_voc(data_set(root, a=text), None, CLASSES)
    return annotation


def codes(annotations: list[Annotation]) -> list[str]:
    return [issue.code for annotation in annotations for issue in annotation.issues]


def test_pixels_count_from_one_and_the_last_is_inside(tmp_path):
    annotation = one(tmp_path)
    assert annotation.issues == ()
    sample = annotation.sample
    assert sample.name == "a.jpg"
    assert sample.image == ImageFile(tmp_path / "JPEGImages" / "a.jpg")
    assert sample.where == str(tmp_path / "Annotations" / "a.xml")
    assert sample.size_wh == (30, 20)
    # 1..30 x 1..20 is the whole image; xmin 0 is taken for 1; 2..8.5 is 7.5 high
    np.testing.assert_array_equal(sample.boxes.boxes_xyxy, [[0, 0, 30, 20], [0, 1, 9, 8.5]])
    assert sample.boxes.labels.tolist() == [1, 0]
    assert sample.boxes.difficult.tolist() == [True, False]
    assert sample.boxes.crowd.tolist() == [False, False]
    assert sample.boxes.areas.tolist() == [600, 67.5]
    assert (sample.image_labels, sample.image_id) == ((), None)


def test_a_image_without_objects(tmp_path):
    (annotation,) = read_voc(data_set(tmp_path, a="<annotation/>"), None, CLASSES)
    assert annotation.issues == ()
    assert len(annotation.sample.boxes) == 0
    assert annotation.sample.size_wh == (30, 20)


@pytest.mark.parametrize("suffix", [".png", ".JPG", ".jpeg"])
def test_images_of_any_suffix(tmp_path, suffix):
    data_set(tmp_path, a=GOOD)
    (tmp_path / "JPEGImages" / "a.jpg").rename(tmp_path / "JPEGImages" / f"a{suffix}")
    (annotation,) = read_voc(tmp_path, None, CLASSES)
    assert annotation.sample.name == f"a{suffix}"


def test_the_image_that_the_annotation_names(tmp_path):
    data_set(tmp_path, a=GOOD.replace("elsewhere", "C:\\\\photos\\\\b"))
    (tmp_path / "JPEGImages" / "a.jpg").rename(tmp_path / "JPEGImages" / "b.jpg")
    (annotation,) = read_voc(tmp_path, None, CLASSES)
    assert annotation.sample.name == "b.jpg"


def test_two_annotations_of_one_image(tmp_path):
    data_set(tmp_path, a=GOOD, b=GOOD.replace("elsewhere", "a"))
    (tmp_path / "JPEGImages" / "b.jpg").unlink()
    assert codes(list(read_voc(tmp_path, None, CLASSES))) == ["image-duplicate"]


def test_folders_below(tmp_path):
    data_set(tmp_path, a=GOOD)
    for folder, suffix in [("Annotations", "xml"), ("JPEGImages", "jpg")]:
        (tmp_path / folder / "deep").mkdir()
        (tmp_path / folder / f"a.{suffix}").rename(tmp_path / folder / "deep" / f"a.b.{suffix}")
    (annotation,) = read_voc(tmp_path, None, CLASSES)
    assert annotation.sample.name == "deep/a.b.jpg"
    (tmp_path / "list.txt").write_text("deep/a.b\n")
    (annotation,) = read_voc(tmp_path, tmp_path / "list.txt", CLASSES)
    assert annotation.sample.name == "deep/a.b.jpg"


# --- lists ---


def test_lists_keep_their_order_and_may_be_of_one_class(tmp_path):
    data_set(tmp_path, a=GOOD, b=GOOD, c=GOOD)
    for text in ("c\na\n", "c  1\na -1\n", "\ufeffc 0\r\n\r\na  1"):
        (tmp_path / "list.txt").write_text(text)
        annotations = list(read_voc(tmp_path, tmp_path / "list.txt", CLASSES))
        assert [annotation.sample.name for annotation in annotations] == ["c.jpg", "a.jpg"]
        assert codes(annotations) == []


def test_lines_that_name_no_annotation(tmp_path):
    data_set(tmp_path, a=GOOD)
    (tmp_path / "list.txt").write_text("a\na 2\na b c\n../a\n/a\nb\na\na\n")
    annotations = list(read_voc(tmp_path, tmp_path / "list.txt", CLASSES))
    assert [annotation.sample is not None for annotation in annotations] == [True] + [False] * 7
    assert codes(annotations) == [
        *["label-missing"] * 2,
        *["path-outside"] * 2,
        "label-missing",
        *["image-duplicate"] * 2,
    ]
    wheres = [issue.where.rpartition("/")[2] for annotation in annotations for issue in annotation.issues]
    assert wheres == [f"list.txt:{number}" for number in range(2, 9)]


# --- issues of a data set ---


def test_annotations_and_images_without_each_other(tmp_path):
    data_set(tmp_path, a=GOOD, b=GOOD, c="<annotation/>", d="<no xml")
    for name in ("a.jpg", "c.jpg"):
        (tmp_path / "JPEGImages" / name).unlink()
    (tmp_path / "Annotations" / "b.xml").unlink()
    (tmp_path / "JPEGImages" / "notes.pdf").write_text("")
    (tmp_path / "JPEGImages" / "README").write_text("")
    (tmp_path / "Annotations" / "classes.txt").write_text("")
    (tmp_path / "Annotations" / "a.png").write_text("")
    issues = [issue for annotation in read_voc(tmp_path, None, CLASSES) for issue in annotation.issues]
    assert [(issue.code, issue.where.removeprefix(f"{tmp_path}/")) for issue in issues] == [
        ("file-unknown", "Annotations/a.png"),
        ("label-orphan", "Annotations/a.xml"),
        ("label-orphan", "Annotations/c.xml"),
        ("label-syntax", "Annotations/d.xml:1"),
        ("label-missing", "JPEGImages/b.jpg"),
        ("file-unknown", "JPEGImages/notes.pdf"),
    ]
    assert "there is no" in issues[4].message
    assert [issue.fixable for issue in issues] == [True, False, False, False, False, True]


@pytest.mark.parametrize(
    ("declared", "fixable", "suggestion"),
    [
        ("<width>20</width><height>30</height>", False, "turned by EXIF"),
        ("<width>300</width><height>200</height>", False, "scale the boxes"),
        ("<width>0</width><height>0</height>", True, "correct the size"),
        ("<width>30</width>", True, "correct the size"),
        ("<width>wide</width><height>nan</height>", True, "correct the size"),
    ],
)
def test_wrong_declared_sizes(tmp_path, declared, fixable, suggestion):
    annotation = one(tmp_path, **{"<width>30</width><height>20</height>": declared})
    (issue,) = annotation.issues
    assert (issue.code, issue.fixable) == ("size-wrong", fixable)
    assert "must declare the size of its image, 30 x 20, declares" in issue.message
    assert suggestion in issue.suggestion
    assert (annotation.sample is not None) == fixable
    if fixable:
        assert annotation.sample.size_wh == (30, 20)
        assert len(annotation.sample.boxes) == 2


def test_the_size_is_that_of_the_turned_image(tmp_path):
    data_set(tmp_path, a=GOOD.replace("30</width><height>20", "20</width><height>30").replace("<xmax>30", "<xmax>20"))
    exif = Image.Exif()
    exif[274] = 6
    Image.new("RGB", (30, 20)).save(tmp_path / "JPEGImages" / "a.jpg", exif=exif)
    (annotation,) = read_voc(tmp_path, None, CLASSES)
    assert annotation.issues == ()
    assert annotation.sample.size_wh == (20, 30)


@pytest.mark.parametrize("box", ["<xmin>9</xmin>", "<xmin>9.0</xmin>"])
def test_a_box_whose_first_pixel_is_its_last_is_empty(tmp_path, box):
    annotation = one(tmp_path, **{"<xmin>0</xmin>": box})
    (issue,) = annotation.issues
    assert issue.code == "box-empty"
    assert issue.where == f"{tmp_path}/Annotations/a.xml: object 2"
    assert issue.message == "a box must have a width and a height, got xmin 9, ymin 2, xmax 9, ymax 8.5"
    assert annotation.sample.boxes.labels.tolist() == [1]


def test_difficult_is_0_or_1(tmp_path):
    annotation = one(tmp_path, **{"<difficult>1": "<difficult>maybe"})
    (issue,) = annotation.issues
    assert str(issue) == f"{tmp_path}/Annotations/a.xml: object 1: label-syntax: difficult must be 0 or 1, got 'maybe'"
    assert annotation.sample.boxes.difficult.tolist() == [False, False]


def test_a_class_that_is_almost_known(tmp_path):
    annotation = one(tmp_path, **{"dog": "dogs"})
    (issue,) = annotation.issues
    assert issue.code == "class-unknown"
    assert issue.message == "must be one of the 2 classes, got 'dogs' (did you mean 'dog'?)"
    assert annotation.sample.boxes.labels.tolist() == [0]


@pytest.mark.parametrize("classes", [("cat", "dog", "cat")])
def test_a_class_that_is_named_twice(tmp_path, classes):
    with pytest.raises(DataError, match=r"^classes: class-duplicate: .*'cat' is class 0 and class 2"):
        list(read_voc(data_set(tmp_path, a=GOOD), None, classes))


def test_folders_and_lists_that_are_not_there(tmp_path):
    with pytest.raises(DataError, match="Annotations: file-unreadable: must be a folder with XML files"):
        list(read_voc(tmp_path, None, CLASSES))
    data_set(tmp_path, a=GOOD)
    with pytest.raises(DataError, match=r"gone\.txt: file-unreadable: must be a file"):
        list(read_voc(tmp_path, tmp_path / "gone.txt", CLASSES))


# --- classes ---


def test_classes_are_those_of_all_objects_sorted(tmp_path):
    data_set(tmp_path, a=GOOD, b=GOOD.replace("dog", "ant"), c="<broken")
    assert voc_classes(tmp_path, None) == ("ant", "cat", "dog")
    (tmp_path / "list.txt").write_text("a\nc\ngone\n../b\n")
    assert voc_classes(tmp_path, tmp_path / "list.txt") == ("cat", "dog")
    (tmp_path / "list.txt").write_text("c\n")
    assert voc_classes(tmp_path, tmp_path / "list.txt") == ()


# --- writing ---


def some_samples(folder: Path) -> list[Sample]:
    folder.mkdir()
    samples = []
    for number, suffix in enumerate([".png", ".JPG"]):
        path = folder / f"p{number}{suffix}"
        Image.new("RGB", (30 + number, 20)).save(path)
        boxes = np.array([[0, 0, 30, 20], [1.25, 2, 9.1, 7]], np.float32)
        marks = np.array([number == 0, False]), np.array([False, number == 1])
        gt = BoxAnnotations(boxes, np.array([1, 0]), *marks, np.array([600, 39.25], np.float32))
        samples.append(Sample(f"x/{path.name}", ImageFile(path), str(path), (30 + number, 20), gt))
    return samples


def test_what_is_written_is_read(tmp_path):
    samples = some_samples(tmp_path / "from")
    out = tmp_path / "to"
    write_voc(out, samples[:1], CLASSES, "train")
    write_voc(out, samples[1:], CLASSES, "val")
    assert (out / "ImageSets" / "Main" / "train.txt").read_text() == "p0\n"
    read = []
    for split in ("train", "val"):
        read += read_voc(out, out / "ImageSets" / "Main" / f"{split}.txt", CLASSES)
    assert codes(read) == []
    for old, new in zip(samples, (annotation.sample for annotation in read), strict=True):
        np.testing.assert_array_equal(new.boxes.boxes_xyxy, old.boxes.boxes_xyxy)
        np.testing.assert_array_equal(new.boxes.labels, old.boxes.labels)
        assert new.size_wh == old.size_wh
        assert new.image.path.read_bytes() == old.image.path.read_bytes()
    assert [annotation.sample.name for annotation in read] == ["p0.png", "p1.jpg"]
    assert read[0].sample.boxes.difficult.tolist() == [True, False]
    assert read[1].sample.boxes.difficult.tolist() == [False, True]  # a crowd
    assert codes(list(read_voc(out, None, CLASSES))) == []


def test_an_annotation_as_the_development_kit_reads_it(tmp_path):
    write_voc(tmp_path / "to", some_samples(tmp_path / "from")[:1], CLASSES, "train")
    tree = ElementTree.parse(tmp_path / "to" / "Annotations" / "p0.xml")  # noqa: S314
    assert tree.findtext("filename") == "p0.png"
    assert [tree.findtext(f"size/{side}") for side in ("width", "height", "depth")] == ["30", "20", "3"]
    assert [element.text for element in tree.find("object/bndbox")] == ["1", "1", "30", "20"]
    assert [element.text for element in tree.findall("object/name")] == ["dog", "cat"]


def test_what_cannot_be_written(tmp_path):
    (sample, other) = some_samples(tmp_path / "from")
    write_voc(tmp_path / "to", [sample], CLASSES, "train")
    with pytest.raises(DataError, match=r"p0\.xml: must not be there already"):
        write_voc(tmp_path / "to", [sample], CLASSES, "train")
    with pytest.raises(DataError, match="must have boxes to be written as VOC, has image-level labels only"):
        write_voc(tmp_path / "to", [Sample(other.name, other.image, "w", image_labels=(1,))], CLASSES, "train")
    with pytest.raises(DataError, match="cannot be written: Not a directory"):
        write_voc(tmp_path / "from" / "p0.png", [sample], CLASSES, "train")


def test_a_sample_without_size_is_measured(tmp_path):
    sample = some_samples(tmp_path / "from")[0]
    write_voc(tmp_path / "to", [Sample(sample.name, sample.image, "w", boxes=sample.boxes)], CLASSES, "train")
    assert "<width>30</width>" in (tmp_path / "to" / "Annotations" / "p0.xml").read_text()


# --- damage at random ---

TOKENS = ["<", ">", "/", "&", "object", "nan", "1e999", "-", "</object>", "<object/>", "<!DOCTYPE x>", "0", "\x00", "é"]


@pytest.fixture(scope="module")
def damaged(tmp_path_factory) -> Path:
    return data_set(tmp_path_factory.mktemp("voc"), a=GOOD)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.integers(0, len(GOOD)), st.integers(0, 9), st.sampled_from(TOKENS)), max_size=4))
def test_damaged_annotations_are_reported(damaged, edits):
    text = GOOD
    for position, length, token in edits:
        text = text[:position] + token + text[position + length :]
    (damaged / "Annotations" / "a.xml").write_text(text)
    (annotation,) = read_voc(damaged, None, CLASSES)
    assert all(issue.fixable for issue in annotation.issues) or annotation.sample is None
    if annotation.sample is None:
        assert annotation.issues
    else:
        objects = ElementTree.fromstring(text).findall("object")  # noqa: S314
        assert len(annotation.sample.boxes) <= len(objects) <= len(annotation.sample.boxes) + len(annotation.issues)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.text(st.sampled_from("ab10 -/.\t#\ufeff"), max_size=6), max_size=6))
def test_every_line_of_a_list_is_a_image_or_a_issue(damaged, lines):
    (damaged / "Annotations" / "a.xml").write_text(GOOD)
    (damaged / "list.txt").write_text("\n".join(lines), encoding="utf-8")
    annotations = list(read_voc(damaged, damaged / "list.txt", CLASSES))
    texts = [line.removeprefix("\ufeff").strip() for line in lines]
    assert len(annotations) == sum(bool(line) and not line.startswith("#") for line in texts)
    assert all((annotation.sample is None) == bool(annotation.issues) for annotation in annotations)


# --- real data ---


@pytest.mark.parametrize(
    ("name", "split", "images", "boxes", "classes", "issues"),
    [
        ("bccd", None, 364, 4886, 3, ["box-empty"] * 2),
        ("bccd", "train", 205, 2804, 3, ["box-empty"]),
        ("fruit", None, 300, 582, 3, []),
        ("fruit", "test", 60, 117, 3, []),
        ("groceries-boxes", "val", 468, 1107, 25, []),
    ],
)
def test_real_data(name, split, images, boxes, classes, issues):
    root = shared("data", name)
    names_file = root / "ImageSets" / "Main" / f"{split}.txt" if split else None
    names = voc_classes(root, names_file)
    assert len(names) == classes
    annotations = list(read_voc(root, names_file, names))
    assert len(annotations) == images
    assert sum(len(annotation.sample.boxes) for annotation in annotations) == boxes
    assert codes(annotations) == issues
