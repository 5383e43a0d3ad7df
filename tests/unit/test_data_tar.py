"""Images and labels in tar files, read in place."""

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from support.paths import shared

from yolo9000.data.formats.csv import ListColumns
from yolo9000.data.formats.tar import read_tar
from yolo9000.data.images import load_image
from yolo9000.errors import DataError
from yolo9000.types import Annotation

CLASSES = ("cat", "dog", "7")


def png(grey: int = 0) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (40, 20), (grey, grey, grey)).save(stream, "PNG")
    return stream.getvalue()


def tar(path: Path, *members: tuple[str, bytes | str], form: int = tarfile.PAX_FORMAT) -> Path:
    with tarfile.open(path, "w", format=form) as file:
        for name, data in members:
            info = tarfile.TarInfo(name)
            contents = data if isinstance(data, bytes) else data.encode()
            info.size = len(contents)
            file.addfile(info, io.BytesIO(contents))
    return path


def read(path: Path, boxes: Path | None = None, **options: object) -> list[Annotation]:
    return list(read_tar(path, boxes, CLASSES, **options))


def issues(annotations: list[Annotation]) -> list[tuple[str, str]]:
    """Code, and what comes after the name of the tar file."""
    return [(issue.code, issue.where.partition(": ")[2]) for item in annotations for issue in item.issues]


def one(folder: Path, name: str, label: str | bytes) -> Annotation:
    """What a label member says of the image dir/a.png."""
    (annotation,) = read(tar(folder / "a.tar", ("dir/a.png", png()), (name, label)))
    return annotation


# --- members ---


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_the_first_folder_is_the_class(tmp_path, form):
    long = "dog/" + "x" * 90 + "/" + "y" * 90 + ".png"
    path = tar(tmp_path / "a.tar", ("./cat/a.png", png(1)), (long, png(2)), ("dog/b.PNG", png(3)), form=form)
    annotations = read(path)
    assert issues(annotations) == []
    samples = [annotation.sample for annotation in annotations]
    assert [(sample.name, sample.image_labels) for sample in samples] == [
        ("cat/a.png", (0,)),
        (long, (1,)),
        ("dog/b.PNG", (1,)),
    ]
    assert all(sample.boxes is None and sample.size_wh is None for sample in samples)
    for grey, sample in enumerate(samples, 1):
        np.testing.assert_array_equal(load_image(sample.image, sample.name).pixels, np.full((20, 40, 3), grey))
    assert samples[0].where == f"{path}: cat/a.png"


def special(path: Path) -> Path:
    """A tar file with everything that is no plain image, and good images around it."""
    with tarfile.open(path, "w") as file:
        for name, kind in [
            ("cat/first.png", tarfile.REGTYPE),
            ("cat", tarfile.DIRTYPE),
            ("../up.png", tarfile.REGTYPE),
            ("cat/../../up.png", tarfile.REGTYPE),
            ("/etc/passwd", tarfile.REGTYPE),
            ("cat/link.png", tarfile.SYMTYPE),
            ("cat/hard.png", tarfile.LNKTYPE),
            ("cat/device.png", tarfile.CHRTYPE),
            ("cat/pipe.png", tarfile.FIFOTYPE),
            ("cat/first.png", tarfile.REGTYPE),
            ("cat/._first.png", tarfile.REGTYPE),
            (".git/a.png", tarfile.REGTYPE),
            ("README.txt", tarfile.REGTYPE),
            ("notes.md", tarfile.REGTYPE),
            ("cat/photo.psd", tarfile.REGTYPE),
            ("flat.png", tarfile.REGTYPE),
            ("bee/a.png", tarfile.REGTYPE),
            ("cat/orphan.txt", tarfile.REGTYPE),
            ("cat/last.png", tarfile.REGTYPE),
        ]:
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "cat/first.png"
            data = png() if kind == tarfile.REGTYPE else b""
            info.size = len(data)
            file.addfile(info, io.BytesIO(data))
    return path


def test_members_that_are_no_images(tmp_path):
    annotations = read(special(tmp_path / "a.tar"))
    assert issues(annotations) == [
        ("path-outside", "../up.png"),
        ("path-outside", "cat/../../up.png"),
        ("path-outside", "/etc/passwd"),
        ("tar-member", "cat/link.png"),
        ("tar-member", "cat/hard.png"),
        ("tar-member", "cat/device.png"),
        ("tar-member", "cat/pipe.png"),
        ("image-duplicate", "cat/first.png"),
        ("file-unknown", "cat/photo.psd"),
        ("label-missing", "flat.png"),
        ("class-unknown", "bee/a.png"),
        ("label-orphan", "cat/orphan.txt"),
    ]
    samples = [annotation.sample.name for annotation in annotations if annotation.sample]
    assert samples == ["cat/first.png", "cat/last.png"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.tar"]


def test_a_folder_is_a_name_and_not_a_number(tmp_path):
    path = tar(tmp_path / "a.tar", ("0/a.png", png()), ("7/b.png", png()))
    reported, annotation = read(path)
    assert [(issue.code, issue.fixable) for issue in reported.issues] == [("class-unknown", False)]
    assert annotation.sample.image_labels == (2,)


def test_a_sparse_member(tmp_path):
    tar(tmp_path / "a.tar", ("cat/a.png", png()), ("cat/b.png", png()))
    data = bytearray((tmp_path / "a.tar").read_bytes())
    position = data.index(b"cat/b.png")
    data[position + 156] = ord("S")  # the kind of the member: GNU's sparse file
    data[position + 148 : position + 156] = b" " * 8
    data[position + 148 : position + 156] = b"%06o\0 " % sum(data[position : position + 512])
    (tmp_path / "a.tar").write_bytes(data)
    annotations = read(tmp_path / "a.tar")
    assert [code for code, _ in issues(annotations)][:1] in (["tar-member"], ["tar-damaged"])
    assert [annotation.sample.name for annotation in annotations if annotation.sample] == ["cat/a.png"]


# --- labels beside the image ---


def test_darknet_lines(tmp_path):
    annotation = one(tmp_path, "dir/a.txt", "1 0.5 0.5 0.25 0.5\n0 0 0 0 0\nx\n")
    assert issues([annotation]) == [("label-syntax", "dir/a.txt:3")]
    assert annotation.sample.size_wh == (40, 20)
    np.testing.assert_array_equal(annotation.sample.boxes.boxes_xyxy, [[15, 5, 25, 15]])
    assert annotation.sample.image_labels == (0,)
    assert annotation.sample.where == f"{tmp_path}/a.tar: dir/a.txt"
    assert len(one(tmp_path, "dir/a.txt", "").sample.boxes) == 0


def test_json_boxes(tmp_path):
    record = {"boxes": [[1, 2, 3.5, 4], [0, 0, 40, 20]], "labels": ["dog", 0], "difficult": [0, 1], "more": {}}
    annotation = one(tmp_path, "dir/a.json", json.dumps(record))
    assert annotation.issues == ()
    np.testing.assert_array_equal(annotation.sample.boxes.boxes_xyxy, [[1, 2, 3.5, 4], [0, 0, 40, 20]])
    assert annotation.sample.boxes.labels.tolist() == [1, 0]
    assert annotation.sample.boxes.difficult.tolist() == [False, True]
    assert annotation.sample.size_wh == (40, 20)
    assert len(one(tmp_path, "dir/a.json", '{"boxes": [], "labels": []}').sample.boxes) == 0


@pytest.mark.parametrize(
    ("name", "text", "labels"),
    [
        ("dir/a.json", '{"labels": ["dog", 0]}', (0, 1)),
        ("dir/a.json", '{"labels": ["1"], "boxes": null}', (1,)),
        ("dir/a.cls", "1", (1,)),
        ("dir/a.cls", "dog\n\n cat \n", (0, 1)),
        ("dir/a.cls", "7", (2,)),  # a name before a number
        ("dir/a.CLS", "0", (0,)),
    ],
)
def test_image_level_labels(tmp_path, name, text, labels):
    annotation = one(tmp_path, name, text)
    assert annotation.issues == ()
    assert annotation.sample.image_labels == labels
    assert annotation.sample.boxes is None


@pytest.mark.parametrize(
    ("name", "text", "code", "where"),
    [
        ("dir/a.json", "{", "label-syntax", "dir/a.json:1"),
        ("dir/a.json", "[]", "label-syntax", "dir/a.json"),
        ("dir/a.json", "{}", "label-syntax", "dir/a.json"),
        ("dir/a.json", '{"boxes": []}', "label-syntax", "dir/a.json"),
        ("dir/a.json", '{"boxes": [], "labels": [1]}', "label-syntax", "dir/a.json"),
        ("dir/a.json", '{"boxes": {}, "labels": []}', "label-syntax", "dir/a.json"),
        ("dir/a.json", '{"boxes": [], "labels": [], "difficult": [1]}', "label-syntax", "dir/a.json"),
        ("dir/a.json", '{"labels": []}', "label-syntax", "dir/a.json"),
        ("dir/a.json", '{"labels": [null]}', "label-syntax", "dir/a.json: labels[0]"),
        ("dir/a.json", '{"labels": [true]}', "label-syntax", "dir/a.json: labels[0]"),
        ("dir/a.json", '{"labels": [-1]}', "label-syntax", "dir/a.json: labels[0]"),
        ("dir/a.json", '{"labels": [1e3]}', "label-syntax", "dir/a.json: labels[0]"),
        ("dir/a.json", '{"labels": [3]}', "class-unknown", "dir/a.json: labels[0]"),
        ("dir/a.json", '{"labels": ["bee"]}', "class-unknown", "dir/a.json: labels[0]"),
        ("dir/a.json", "[" * 100000, "label-syntax", "dir/a.json"),
        ("dir/a.json", '{"labels": [' + "1" * 5000 + "]}", "label-syntax", "dir/a.json"),
        ("dir/a.json", b"\xff", "label-unreadable", "dir/a.json:1"),
        ("dir/a.txt", b"0 0 0 0 0\n\0", "label-unreadable", "dir/a.txt:2"),
        ("dir/a.cls", "bee", "class-unknown", "dir/a.cls:1"),
        ("dir/a.cls", "3", "class-unknown", "dir/a.cls:1"),
        ("dir/a.cls", "", "label-syntax", "dir/a.cls"),
    ],
)
def test_labels_that_say_nothing(tmp_path, name, text, code, where):
    annotation = one(tmp_path, name, text)
    assert annotation.sample is None
    assert issues([annotation]) == [(code, where)]
    assert not annotation.issues[0].fixable


@pytest.mark.parametrize(
    ("box", "label", "difficult", "code"),
    [
        ("[1, 2, 3]", "0", 0, "label-syntax"),
        ('[1, 2, 3, "4"]', "0", 0, "label-syntax"),
        ("[1, 2, 3, true]", "0", 0, "label-syntax"),
        ("5", "0", 0, "label-syntax"),
        ("[1, 2, 3, 4]", "0", 2, "label-syntax"),
        ("[1, 2, 3, 4]", '"bee"', 0, "class-unknown"),
        ("[1, 2, NaN, 4]", "0", 0, "box-nan"),
        ("[1, 2, 3, 1" + "0" * 400 + "]", "0", 0, "box-nan"),
        ("[3, 2, 1, 4]", "0", 0, "box-inverted"),
        ("[3, 2, 3, 4]", "0", 0, "box-empty"),
        ("[40, 2, 43, 4]", "0", 0, "box-outside"),
        ("[5, 5, 9, 9]", "1", 0, "box-duplicate"),
    ],
)
def test_json_boxes_that_cannot_be_used(tmp_path, box, label, difficult, code):
    text = f'{{"boxes": [[5, 5, 9, 9], {box}], "labels": [1, {label}], "difficult": [0, {difficult}]}}'
    annotation = one(tmp_path, "dir/a.json", text)
    assert issues([annotation]) == [(code, "dir/a.json: boxes[1]")]
    assert annotation.issues[0].fixable
    assert annotation.sample.boxes.labels.tolist() == [1]


def test_a_label_too_many(tmp_path):
    members = [("cat/a.png", png()), ("cat/a.cls", "dog"), ("cat/a.txt", ""), ("cat/a.TXT", "")]
    annotations = read(tar(tmp_path / "a.tar", *members))
    assert issues(annotations) == [("label-duplicate", "cat/a.TXT"), ("label-duplicate", "cat/a.png")]
    assert len(annotations[1].sample.boxes) == 0


def test_labels_may_come_before_or_long_after_their_image(tmp_path):
    path = tar(tmp_path / "a.tar", ("b.cls", "1"), ("a.png", png()), ("b.png", png()), ("a.cls", "0"))
    annotations = read(path)
    assert issues(annotations) == []
    assert [(item.sample.name, item.sample.image_labels) for item in annotations] == [("a.png", (0,)), ("b.png", (1,))]


def test_a_image_that_is_none(tmp_path):
    path = tar(tmp_path / "a.tar", ("cat/a.png", "no image"), ("cat/a.txt", "0 .5 .5 1 1"))
    assert issues(read(path)) == [("image-unreadable", "cat/a.txt")]


# --- a table of boxes ---

TABLE = "image\twnid\tx1\ty1\tx2\ty2\n"


def test_boxes_of_a_table(tmp_path):
    path = tar(tmp_path / "a.tar", ("cat/a.png", png()), ("dog/b.png", png()), ("dog/c.png", png()))
    rows = "dog/b.png\tdog\t0\t0\t39\t19\n./cat/a.png\tdog\t1\t2\t3\t4\n"
    (tmp_path / "boxes.tsv").write_text(TABLE + rows)
    annotations = read(path, tmp_path / "boxes.tsv")
    assert issues(annotations) == []
    a, b, c = (annotation.sample for annotation in annotations)
    np.testing.assert_array_equal(a.boxes.boxes_xyxy, [[1, 2, 4, 5]])
    np.testing.assert_array_equal(b.boxes.boxes_xyxy, [[0, 0, 40, 20]])
    assert (a.boxes.labels.tolist(), a.image_labels, a.size_wh) == ([1], (), (40, 20))
    assert a.where == f"{tmp_path}/boxes.tsv:3"
    assert (c.boxes, c.image_labels) == (None, (1,))  # without a row its folder counts


def test_an_image_of_two_names(tmp_path):
    path = tar(tmp_path / "a.tar", ("a.png", png()))
    (tmp_path / "boxes.tsv").write_text(TABLE + "a.png\tdog\t1\t2\t3\t4\n./a.png\tcat\t1\t2\t3\t4\n")
    reported, annotation = read(path, tmp_path / "boxes.tsv")
    assert [issue.code for issue in reported.issues] == ["image-duplicate"]
    assert annotation.sample.boxes.labels.tolist() == [1]


def test_rows_that_cannot_be_used(tmp_path):
    path = tar(tmp_path / "a.tar", ("cat/a.png", png()), ("cat/a.txt", ""), ("cat/b.png", "no image"))
    rows = "cat/a.png\tbee\t1\t2\t3\t4\ncat/b.png\tdog\t1\t2\t3\t4\ngone.png\tdog\t1\t2\t3\t4\n"
    rows += "cat/a.png\tdog\t1\t2\t3\t4\n\tdog\t1\t2\t3\t4\n\tdog\n"
    (tmp_path / "boxes.tsv").write_text(TABLE + rows)
    annotations = read(path, tmp_path / "boxes.tsv")
    codes = [(issue.code, issue.where.rpartition("/")[2]) for item in annotations for issue in item.issues]
    assert codes == [
        ("label-syntax", "boxes.tsv:6"),
        ("label-syntax", "boxes.tsv:7"),
        ("label-duplicate", "a.png"),
        ("class-unknown", "boxes.tsv:2"),
        ("image-unreadable", "boxes.tsv:3"),
        ("image-missing", "boxes.tsv:4"),
    ]


def test_other_columns(tmp_path):
    path = tar(tmp_path / "a.tar", ("a.png", png()))
    (tmp_path / "boxes.csv").write_text("a.png,1,1,2,3,4\n")
    columns = ListColumns(0, (1,), (2, 3, 4, 5), indices=True)
    (annotation,) = read(path, tmp_path / "boxes.csv", columns=columns)
    np.testing.assert_array_equal(annotation.sample.boxes.boxes_xyxy, [[1, 2, 3, 4]])


# --- files that are no tar files, or no whole ones ---


@pytest.mark.parametrize("kind", ["gz", "bz2", "xz"])
def test_compressed_files_are_refused(tmp_path, kind):
    with tarfile.open(tmp_path / "a.tar", f"w:{kind}") as file:
        file.addfile(tarfile.TarInfo("cat/a.png"))
    names = {"gz": "gzip", "bz2": "bzip2", "xz": "xz"}
    with pytest.raises(DataError, match=f"tar-compressed: must be a tar file .*compressed by {names[kind]}"):
        read(tmp_path / "a.tar")


@pytest.mark.parametrize("data", [b"", b"x", b"PK\x03\x04" + b"x" * 600, b"no tar " * 1000, png() * 20])
def test_other_files_are_refused(tmp_path, data):
    (tmp_path / "a.tar").write_bytes(data)
    with pytest.raises(DataError, match=r"a\.tar: file-syntax: must be a tar file: "):
        read(tmp_path / "a.tar")


def test_files_that_cannot_be_read(tmp_path):
    for path in (tmp_path, tmp_path / "gone.tar"):
        with pytest.raises(DataError, match="file-unreadable: must be a file that can be read"):
            read(path)


def test_a_tar_file_that_ends_early(tmp_path):
    path = tar(tmp_path / "a.tar", ("cat/a.png", png()), ("cat/b.png", png()))
    whole = path.read_bytes()
    second = whole.index(b"cat/b.png")
    for size, kept in [
        (second + 600, 2),
        (second + 520, 1),
        (second + 512, 1),
        (second + 100, 1),
        (second, 1),
        (second + 1024, 2),
    ]:
        path.write_bytes(whole[:size])
        annotations = read(path)
        assert [issue.code for item in annotations for issue in item.issues] == ["tar-damaged"], size
        assert sum(annotation.sample is not None for annotation in annotations) == kept


def test_a_damaged_header_is_not_the_end(tmp_path):
    path = tar(tmp_path / "a.tar", ("cat/a.png", png()), ("cat/b.png", png()))
    data = bytearray(path.read_bytes())
    data[data.index(b"cat/b.png")] = ord("d")
    path.write_bytes(data)
    (issue,) = [issue for annotation in read(path) for issue in annotation.issues]
    assert str(issue) == f"{path}: tar-damaged: must be a whole tar file; at byte 1,024: what comes is no header"


def test_joined_tar_files_are_reported(tmp_path):
    first = tar(tmp_path / "a.tar", ("cat/a.png", png())).read_bytes()
    second = tar(tmp_path / "b.tar", ("cat/b.png", png())).read_bytes()
    (tmp_path / "c.tar").write_bytes(first + second)
    (issue,) = [issue for annotation in read(tmp_path / "c.tar") for issue in annotation.issues]
    assert "it goes on after its end; were tar files joined?" in issue.message


@pytest.mark.parametrize("size", [b"\xff" + b"\xff" * 10 + b"\x00", b"\xff" * 8 + b"\xff\xff\xfc\x00"])
def test_a_negative_size_leads_nowhere(tmp_path, size):
    path = tar(tmp_path / "a.tar", ("cat/a.png", png()), ("cat/b.png", png()))
    data = bytearray(path.read_bytes())
    position = data.index(b"cat/b.png")
    data[position + 124 : position + 136] = size
    data[position + 148 : position + 156] = b" " * 8
    data[position + 148 : position + 156] = b"%06o\0 " % sum(data[position : position + 512])
    path.write_bytes(data)
    annotations = read(path)
    assert [issue.code for item in annotations for issue in item.issues] == ["tar-damaged"]
    assert len(annotations) == 2


# --- damage at random ---


@pytest.fixture(scope="module")
def good(tmp_path_factory) -> Path:
    record = '{"boxes": [[1, 2, 3, 4]], "labels": ["dog"]}'
    members = [("cat/a.png", png()), ("cat/b.png", png()), ("cat/b.txt", "0 .5 .5 1 1"), ("cat/c.png", png())]
    return tar(tmp_path_factory.mktemp("tar") / "good.tar", *members, ("cat/c.json", record), ("dog/ü.png", png()))


DAMAGE = st.lists(st.tuples(st.integers(0, 14), st.integers(0, 511), st.integers(0, 255)), max_size=8)


@settings(max_examples=300, deadline=None)
@given(damage=DAMAGE, kept=st.just(1.0) | st.floats(0, 1), fix=st.booleans())
def test_damaged_tar_files_are_reported(good, damage, kept, fix):
    data = bytearray(good.read_bytes())
    for block, position, value in damage:
        begin = block * 512
        data[begin + position] = value
        if fix:  # a header whose checksum is right, so that what stands in it is looked at
            data[begin + 148 : begin + 156] = b" " * 8
            data[begin + 148 : begin + 156] = b"%06o\0 " % sum(data[begin : begin + 512])
    path = good.with_name("damaged.tar")
    path.write_bytes(data[: int(kept * len(data))])
    message = ""
    try:
        annotations = read(path)
    except DataError as error:
        message = str(error)
    if message:
        assert "\n" not in message
        assert ": file-syntax: " in message or ": tar-compressed: " in message
        return
    samples = [annotation.sample for annotation in annotations if annotation.sample]
    codes = {code for code, _ in issues(annotations)}
    if not fix and "tar-damaged" not in codes:  # else an image may have become a folder
        assert len(samples) + len(issues(annotations)) >= 4
    assert len({sample.name for sample in samples}) == len(samples)
    size = path.stat().st_size
    assert all(0 <= sample.image.offset <= sample.image.offset + sample.image.length <= size for sample in samples)


# --- real data ---


@pytest.mark.parametrize("boxed", [True, False])
def test_real_data(boxed):
    root = shared("data", "tiny-imagenet")
    classes = tuple(line.split("\t")[0] for line in (root / "classes.tsv").read_text().splitlines())
    assert len(classes) == 200
    annotations = list(read_tar(root / "val.tar", root / "val_boxes.tsv" if boxed else None, classes))
    assert issues(annotations) == []
    assert len(annotations) == 4000
    sample = annotations[0].sample
    assert sample.name == "n03444034/val_0.JPEG"
    label = classes.index("n03444034")
    if boxed:
        assert sum(len(annotation.sample.boxes) for annotation in annotations) == 4000
        np.testing.assert_array_equal(sample.boxes.boxes_xyxy, [[0, 32, 45, 63]])  # 0..44 x 32..62
        assert sample.boxes.labels.tolist() == [label]
    else:
        assert sample.image_labels == (label,)
    assert load_image(sample.image, sample.name).size_wh == (64, 64)
