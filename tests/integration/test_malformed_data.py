"""Bad input of every parser of data sets: an issue or one error, with its code and its place; never anything else."""

from __future__ import annotations

import io
import json
import re
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image

import yolo9000.data.issues as formats
from yolo9000.data import suspicious
from yolo9000.data.archive import unpack
from yolo9000.data.formats.coco import read_coco
from yolo9000.data.formats.csv import ListColumns, read_class_table, read_list
from yolo9000.data.formats.darknet import read_darknet_data
from yolo9000.data.formats.folder import read_folder
from yolo9000.data.formats.tar import read_tar
from yolo9000.data.formats.voc import read_voc
from yolo9000.data.label_files import read_label_files
from yolo9000.data.yolo_yaml import read_yolo_yaml
from yolo9000.errors import DataError
from yolo9000.types import Annotation

CLASSES = ("cat", "dog")
CODES = set(re.findall(r"^``([a-z-]+)``", formats.__doc__ or "", re.MULTILINE))
Reader = Callable[[Path], Iterator[Annotation]]


def as_bytes(data: str | bytes) -> bytes:
    return data if isinstance(data, bytes) else data.encode("utf-8", "surrogatepass")


def put(path: Path, data: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(as_bytes(data))
    return path


def png(size_wh: tuple[int, int] = (30, 20)) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", size_wh).save(stream, "PNG")
    return stream.getvalue()


# --- One bad thing in a data set with one good image, called good.png. ---


def voc(annotation: str | bytes | None = None, **files: str | bytes) -> Reader:
    """An annotation ``bad.xml`` with its image; and files, `__` standing for /."""

    def read(folder: Path) -> Iterator[Annotation]:
        put(folder / "Annotations" / "good.xml", "<annotation/>")
        put(folder / "JPEGImages" / "good.png", png())
        if annotation is not None:
            put(folder / "Annotations" / "bad.xml", annotation)
            put(folder / "JPEGImages" / "bad.png", png())
        for name, data in files.items():
            put(folder / name.replace("__", "/").replace("_DOT_", "."), data)
        names_file = folder / "list.txt"
        return read_voc(folder, names_file if names_file.exists() else None, CLASSES)

    return read


def voc_object(text: str) -> Reader:
    return voc(f"<annotation><object>{text}</object></annotation>")


def voc_box(xmin: str, ymin: str, xmax: str, ymax: str) -> Reader:
    sides = f"<xmin>{xmin}</xmin><ymin>{ymin}</ymin><xmax>{xmax}</xmax><ymax>{ymax}</ymax>"
    return voc_object(f"<name>cat</name><bndbox>{sides}</bndbox>")


def coco(text: str | bytes) -> Reader:
    def read(folder: Path) -> Iterator[Annotation]:
        put(folder / "good.png", png())
        put(folder / "bad.png", png())
        return read_coco(put(folder / "gt.json", text), folder, CLASSES)

    return read


def coco_with(part: str, element: object) -> Reader:
    record = {
        "images": [{"id": 1, "file_name": "good.png"}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 5, "bbox": [1, 2, 3, 4]}],
        "categories": [{"id": 5, "name": "cat"}, {"id": 4, "name": "dog"}],
    }
    record[part].append(element)
    return coco(json.dumps(record))


def coco_object(**values: object) -> Reader:
    return coco_with("annotations", {"id": 2, "image_id": 1, "category_id": 5, "bbox": [5, 5, 9, 9]} | values)


def coco_image(**values: object) -> Reader:
    return coco_with("images", {"id": 2, "file_name": "bad.png"} | values)


def darknet(label: str | bytes | None, **files: str | bytes) -> Reader:
    """An image with its label file; and files, `__` standing for /."""

    def read(folder: Path) -> Iterator[Annotation]:
        for name in ("good", "bad"):
            put(folder / "images" / f"{name}.png", png())
        put(folder / "labels" / "good.txt", "")
        if label is not None:
            put(folder / "labels" / "bad.txt", label)
        for name, data in files.items():
            put(folder / name.replace("__", "/").replace("_DOT_", "."), data)
        names_file = folder / "train.txt"
        return read_label_files([names_file if names_file.exists() else folder / "images"], CLASSES)

    return read


def description(reader: Callable[[Path], object], name: str, text: str | bytes) -> Reader:
    """A file that describes a data set; it must not be read at all."""

    def read(folder: Path) -> Iterator[Annotation]:
        put(folder / "list.txt", "")
        put(folder / "x.names", "cat\ndog")
        put(folder / "twice.names", "cat\ncat")
        reader(put(folder / name, text))
        return iter(())

    return read


def yolo(text: str | bytes) -> Reader:
    return description(read_yolo_yaml, "data.yaml", text)


def data(text: str | bytes) -> Reader:
    return description(read_darknet_data, "x.data", text)


def archive(name: str, data: bytes) -> Reader:
    return description(unpack, name, data)


def zipped(*members: tuple[str, bytes], cut: int = 0) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as opened:
        for name, contents in members:
            opened.writestr(name, contents)
    return stream.getvalue()[: -cut or None]


def class_table(text: str | bytes) -> Reader:
    return description(lambda path: read_class_table(path, 0, 1), "classes.csv", text)


LABELS = ListColumns(0, (1,))
BOXES = ListColumns("image", ("label",), ("x1", "y1", "x2", "y2"))


def table(text: str | bytes, columns: ListColumns = LABELS) -> Reader:
    def read(folder: Path) -> Iterator[Annotation]:
        for name in ("good.png", "bad.png"):
            put(folder / name, png())
        put(folder / "broken.png", "no image")
        good = b"good.png,cat\n" if columns is LABELS else b"image,label,x1,y1,x2,y2\ngood.png,cat,1,2,3,4\n"
        return read_list(put(folder / "list.csv", good + as_bytes(text)), folder, CLASSES, columns)

    return read


def boxes(row: str) -> Reader:
    return table(row, BOXES)


def tar(*members: tuple[str, str | bytes], kind: bytes = tarfile.REGTYPE, end: bytes = b"", cut: int = 0) -> Reader:
    """A tar file with a good image and then the members; `end` is put behind it, `cut` bytes are taken away."""

    def read(folder: Path) -> Iterator[Annotation]:
        stream = io.BytesIO()
        with tarfile.open(fileobj=stream, mode="w") as file:
            for name, contents in [("cat/good.png", png()), *members]:
                info = tarfile.TarInfo(name)
                info.type = tarfile.REGTYPE if name == "cat/good.png" else kind
                info.linkname = "/etc/passwd"
                info.size = len(contents) if info.type == tarfile.REGTYPE else 0
                file.addfile(info, io.BytesIO(as_bytes(contents)))
        contents = stream.getvalue()
        return read_tar(put(folder / "a.tar", contents[: len(contents) - cut] + end), None, CLASSES)

    return read


def tar_label(name: str, label: str | bytes) -> Reader:
    return tar(("cat/bad.png", png()), (name, label))


def raw_tar(contents: bytes) -> Reader:
    return lambda folder: read_tar(put(folder / "a.tar", contents), None, CLASSES)


def folders(*names: str) -> Reader:
    def read(folder: Path) -> Iterator[Annotation]:
        for name in ("cat/good.png", *names):
            put(folder / name, png())
        return read_folder(folder, CLASSES)

    return read


def laughs() -> str:
    entities = "".join(f'<!ENTITY l{i} "{f"&l{i - 1};" * 10}">' for i in range(1, 10))
    return f'<!DOCTYPE x [<!ENTITY l0 "ha">{entities}]><annotation>&l9;</annotation>'


DOCTYPE = '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><annotation><filename>&x;</filename></annotation>'
LISTS = '"images": [], "annotations": [], "categories": []'
LINE = "0 .5 .5 .2 .2"

CASES: dict[str, tuple[Reader, str]] = {
    # XML
    "xml empty": (voc(""), "label-syntax"),
    "xml blank": (voc(" \n"), "label-syntax"),
    "xml cut": (voc("<annotation><object>"), "label-syntax"),
    "xml other root": (voc("<html/>"), "label-syntax"),
    "xml two roots": (voc("<annotation/><annotation/>"), "label-syntax"),
    "xml json": (voc('{"a": 1}'), "label-syntax"),
    "xml wrong order": (voc("<annotation><a></annotation></a>"), "label-syntax"),
    "xml unknown entity": (voc("<annotation>&nbsp;</annotation>"), "label-syntax"),
    "xml control character": (voc("<annotation>\x01</annotation>"), "label-syntax"),
    "xml nested deeply": (voc("<a>" * 100_000), "label-syntax"),
    "xml zero byte": (voc(b"<annotation>\0</annotation>"), "label-unreadable"),
    "xml utf-16": (voc("<annotation/>".encode("utf-16")[:-1]), "label-unreadable"),
    "xml utf-16 with a doctype": (voc(DOCTYPE.encode("utf-16-le")), "label-unreadable"),
    "xml latin-1": (voc("<annotation>é</annotation>".encode("latin-1")), "label-unreadable"),
    "xml too large": (voc("<annotation/>" + " " * (16 << 20)), "label-unreadable"),
    "xml image": (voc(png()), "label-unreadable"),
    "xml doctype": (voc("<!DOCTYPE annotation><annotation/>"), "xml-entity"),
    "xml doctype in small letters": (voc("<!doctype annotation><annotation/>"), "xml-entity"),
    "xml external entity": (voc(DOCTYPE), "xml-entity"),
    "xml parameter entity": (voc('<!DOCTYPE a [<!ENTITY % x SYSTEM "http://127.0.0.1/x"> %x;]><a/>'), "xml-entity"),
    "xml billion laughs": (voc(laughs()), "xml-entity"),
    "xml other declared encoding": (
        voc('<?xml version="1.0" encoding="nonsense"?><annotation><a>'),
        "label-unreadable",
    ),
    "voc no box": (voc_object("<name>cat</name>"), "label-syntax"),
    "voc fractions": (voc_box("0.1", "0.2", "0.6", "0.7"), "box-fractions"),
    "voc no name": (voc_object(""), "class-unknown"),
    "voc unknown class": (voc_object("<name>bird</name>"), "class-unknown"),
    "voc side missing": (voc_object("<name>cat</name><bndbox><xmin>1</xmin></bndbox>"), "label-syntax"),
    "voc side text": (voc_box("1", "1", "x", "9"), "label-syntax"),
    "voc side hexadecimal": (voc_box("1", "1", "0x9", "9"), "label-syntax"),
    "voc side nan": (voc_box("1", "nan", "9", "9"), "box-nan"),
    "voc side infinite": (voc_box("1", "1", "1e999", "9"), "box-nan"),
    "voc inverted": (voc_box("9", "1", "1", "9"), "box-inverted"),
    "voc empty": (voc_box("9", "1", "9", "9"), "box-empty"),
    "voc outside": (voc_box("31", "1", "39", "9"), "box-outside"),
    "voc partly outside": (voc_box("21", "1", "39", "9"), "box-outside"),
    "voc minus": (voc_box("-21", "1", "-1", "9"), "box-outside"),
    "voc wrong size": (
        voc("<annotation><size><width>99</width><height>20</height></size></annotation>"),
        "size-wrong",
    ),
    "voc no size": (voc("<annotation><size/></annotation>"), "size-wrong"),
    "voc filename outside": (
        voc(Annotations__x_DOT_xml="<annotation><filename>..</filename></annotation>"),
        "path-outside",
    ),
    "voc no image": (voc(Annotations__x_DOT_xml="<annotation/>"), "label-orphan"),
    "voc no annotation": (voc(JPEGImages__x_DOT_png=png()), "label-missing"),
    "voc image that is none": (
        voc(Annotations__x_DOT_xml="<annotation/>", JPEGImages__x_DOT_png="text"),
        "image-unreadable",
    ),
    "voc other file": (voc(JPEGImages__x_DOT_psd="8BPS"), "file-unknown"),
    "voc list of nothing there": (voc(list_DOT_txt="good\ngone\n"), "label-missing"),
    "voc list outside": (voc(list_DOT_txt="good\n../../etc/passwd\n"), "path-outside"),
    "voc list absolute": (voc(list_DOT_txt="good\n/etc/passwd\n"), "path-outside"),
    "voc list twice": (voc(list_DOT_txt="good\ngood\n"), "image-duplicate"),
    "voc list of three columns": (voc(list_DOT_txt="good\na b c\n"), "label-missing"),
    "voc list not text": (voc(list_DOT_txt=b"good\n\xff\n"), "file-unreadable"),
    # JSON
    "json empty": (coco(""), "file-syntax"),
    "json list": (coco("[]"), "file-syntax"),
    "json number": (coco("5"), "file-syntax"),
    "json cut": (coco('{"images": [{"id": 1'), "file-syntax"),
    "json single quotes": (coco("{'images': []}"), "file-syntax"),
    "json comma too many": (coco(f"{{{LISTS},}}"), "file-syntax"),
    "json comment": (coco(f"{{{LISTS}}} // all"), "file-syntax"),
    "json list missing": (coco('{"images": [], "annotations": []}'), "file-syntax"),
    "json list no list": (coco('{"images": {}, "annotations": [], "categories": []}'), "file-syntax"),
    "json list twice": (coco(f'{{{LISTS}, "images": []}}'), "file-syntax"),
    "json nested deeply": (coco('{"x": ' + "[" * 100_000), "file-syntax"),
    "json number of many digits": (coco('{"x": ' + "1" * 10_000 + "}"), "file-syntax"),
    "json not text": (coco(b'{"x": "\xff"}'), "file-unreadable"),
    "json utf-16": (coco(f"{{{LISTS}}}".encode("utf-16")), "file-unreadable"),
    "json image": (coco(png()), "file-unreadable"),
    "coco category without name": (coco_with("categories", {"id": 1}), "file-syntax"),
    "coco category no object": (coco_with("categories", "cat"), "file-syntax"),
    "coco category twice": (coco_with("categories", {"id": 1, "name": "cat"}), "class-duplicate"),
    "coco category id twice": (coco_with("categories", {"id": 5, "name": "bird"}), "id-duplicate"),
    "coco image no object": (coco_with("images", [1]), "label-syntax"),
    "coco image without id": (coco_image(id=None), "label-syntax"),
    "coco image id true": (coco_image(id=True), "label-syntax"),
    "coco image id of 30 digits": (coco_image(id=10**30), "label-syntax"),
    "coco image id twice": (coco_image(id=1), "id-duplicate"),
    "coco image name twice": (coco_image(file_name="good.png"), "image-duplicate"),
    "coco image name outside": (coco_image(file_name="../bad.png"), "path-outside"),
    "coco image name absolute": (coco_image(file_name="/etc/passwd"), "path-outside"),
    "coco image name with zero byte": (coco_image(file_name="a\0.png"), "image-missing"),
    "coco image name half a character": (coco_image(file_name="\ud800.png"), "image-missing"),
    "coco image gone": (coco_image(file_name="gone.png"), "image-missing"),
    "coco image that is none": (coco_image(file_name="gt.json"), "image-unreadable"),
    "coco image of another size": (coco_image(width=300, height=200), "size-wrong"),
    "coco image of no size": (coco_image(width=0, height=0), "size-wrong"),
    "coco object no object": (coco_with("annotations", None), "label-syntax"),
    "coco object without box": (coco_object(bbox=None), "label-syntax"),
    "coco box of three": (coco_object(bbox=[1, 2, 3]), "label-syntax"),
    "coco box of text": (coco_object(bbox=["1", 2, 3, 4]), "label-syntax"),
    "coco box of gt": (coco_object(bbox=[True, 2, 3, 4]), "label-syntax"),
    "coco box nan": (coco_object(bbox=[1, float("nan"), 3, 4]), "box-nan"),
    "coco box infinite": (coco_object(bbox=[1, 2, float("inf"), 4]), "box-nan"),
    "coco box of 400 digits": (coco_object(bbox=[1, 2, 10**400, 4]), "box-nan"),
    "coco box of minus": (coco_object(bbox=[9, 9, -3, 4]), "box-inverted"),
    "coco box empty": (coco_object(bbox=[9, 9, 0, 4]), "box-empty"),
    "coco box outside": (coco_object(bbox=[99, 9, 3, 4]), "box-outside"),
    "coco box twice": (coco_object(bbox=[1, 2, 3, 4]), "box-duplicate"),
    "coco area": (coco_object(area=-1), "area-wrong"),
    "coco area text": (coco_object(area="1"), "label-syntax"),
    "coco crowd": (coco_object(iscrowd=7), "label-syntax"),
    "coco object id twice": (coco_object(id=1), "id-duplicate"),
    "coco object of no image": (coco_object(image_id=9), "id-unknown"),
    "coco object of no category": (coco_object(category_id=9), "class-unknown"),
    "coco object category text": (coco_object(category_id="5"), "label-syntax"),
    # label files
    "line of four": (darknet("0 .5 .5 .2"), "label-syntax"),
    "line with a score": (darknet(f"{LINE} 0.9"), "label-syntax"),
    "line of a polygon": (darknet("0 .1 .1 .9 .1 .9 .9"), "label-shape"),
    "line with commas": (darknet("0,.5,.5,.2,.2"), "label-syntax"),
    "line with a name": (darknet("cat .5 .5 .2 .2"), "label-syntax"),
    "line with a fraction as class": (darknet("0.0 .5 .5 .2 .2"), "label-syntax"),
    "line with a minus class": (darknet("-1 .5 .5 .2 .2"), "label-syntax"),
    "line of text": (darknet("what is this"), "label-syntax"),
    "line of json": (darknet('{"a": [1, 2, 3]}'), "label-syntax"),
    "line of xml": (darknet("<annotation/>"), "label-syntax"),
    "line with Arabic digits": (darknet("٠ .5 .5 .2 .2"), "label-syntax"),
    "line with an underscore": (darknet("0 .5 .5 .2 1_0"), "label-syntax"),
    "line of an unknown class": (darknet("2 .5 .5 .2 .2"), "class-unknown"),
    "line of a class of 5000 digits": (darknet("9" * 5000 + " .5 .5 .2 .2"), "class-unknown"),
    "line nan": (darknet("0 .5 nan .2 .2"), "box-nan"),
    "line infinite": (darknet("0 .5 .5 1e999 .2"), "box-nan"),
    "line of minus": (darknet("0 .5 .5 -.2 .2"), "box-inverted"),
    "line empty box": (darknet("0 .5 .5 0 .2"), "box-empty"),
    "line in pixels": (darknet("0 15 10 5 5"), "box-outside"),
    "line partly outside": (darknet("0 .9 .5 .9 .2"), "box-outside"),
    "line twice": (darknet(f"{LINE}\n{LINE}"), "box-duplicate"),
    "image-level line twice": (darknet("0 0 0 0 0\n0 0 0 0 0"), "label-duplicate"),
    "labels not text": (darknet(b"0 .5 \xff"), "label-unreadable"),
    "labels zero byte": (darknet(b"0 .5 .5 .2 .2\n\0"), "label-unreadable"),
    "labels utf-16": (darknet(LINE.encode("utf-16")), "label-unreadable"),
    "labels too large": (darknet("\n" * (16 << 20) + LINE), "label-unreadable"),
    "labels missing": (darknet(None), "label-missing"),
    "labels without image": (darknet("", labels__x_DOT_txt=""), "label-orphan"),
    "image that is none": (darknet(LINE, images__bad_DOT_png="text"), "image-unreadable"),
    "image list gone": (darknet("", train_DOT_txt="images/good.png\ngone.png"), "image-missing"),
    "image list twice": (darknet("", train_DOT_txt="images/good.png\nimages/good.png"), "image-duplicate"),
    "image list long name": (darknet("", train_DOT_txt="images/good.png\n" + "x" * 9000), "image-missing"),
    "image list not text": (darknet("", train_DOT_txt=b"\xff.png"), "file-unreadable"),
    "image list of one long line": (darknet("", train_DOT_txt="x" * (2 << 20)), "file-unreadable"),
    # YAML
    "yaml empty": (yolo(""), "file-syntax"),
    "yaml list": (yolo("- a"), "file-syntax"),
    "yaml text": (yolo("hello"), "file-syntax"),
    "yaml bracket": (yolo("names: [a"), "file-syntax"),
    "yaml tab": (yolo("names:\n\t- a"), "file-syntax"),
    "yaml no split": (yolo("names: [a]"), "file-syntax"),
    "yaml no names": (yolo("train: list.txt"), "file-syntax"),
    "yaml names no": (yolo("train: list.txt\nnames: [yes, no]"), "file-syntax"),
    "yaml names null": (yolo("train: list.txt\nnames: [~]"), "file-syntax"),
    "yaml names number": (yolo("train: list.txt\nnames: [0x10]"), "file-syntax"),
    "yaml names nested": (yolo("train: list.txt\nnames: [[a]]"), "file-syntax"),
    "yaml names twice": (yolo("train: list.txt\nnames: [a, a]"), "class-duplicate"),
    "yaml names with a gap": (yolo("train: list.txt\nnames: {0: a, 2: b}"), "file-syntax"),
    "yaml number of names": (yolo("train: list.txt\nnames: [a]\nnc: 2"), "file-syntax"),
    "yaml key twice": (yolo("train: list.txt\nnames: [a]\nnames: [b]"), "file-syntax"),
    "yaml split gone": (yolo("train: gone\nnames: [a]"), "file-syntax"),
    "yaml split mapping": (yolo("train: {a: b}\nnames: [a]"), "file-syntax"),
    "yaml object": (yolo("train: !!python/object/apply:os.system [touch canary]\nnames: [a]"), "file-syntax"),
    "yaml module": (yolo("names: !!python/module:os\ntrain: list.txt"), "file-syntax"),
    "yaml alias of nothing": (yolo("names: *a\ntrain: list.txt"), "file-syntax"),
    "yaml alias of itself": (yolo("names: &a [*a]\ntrain: list.txt"), "file-syntax"),
    "yaml two documents": (yolo("names: [a]\n---\ntrain: list.txt"), "file-syntax"),
    "yaml escape": (yolo('names: ["\\UFFFFFFFF"]\ntrain: list.txt'), "file-syntax"),
    "yaml control character": (yolo("names: [\x07]"), "file-syntax"),
    "yaml nested deeply": (yolo("names: " + "[" * 5000), "file-syntax"),
    "yaml not text": (yolo(b"names: \xff"), "file-unreadable"),
    "yaml too large": (yolo("#" * 1_000_001), "file-unreadable"),
    # .data
    "data no key": (data("names"), "must be key = value"),
    "data no names": (data("train = list.txt"), "file-syntax"),
    "data no split": (data("names = x.names"), "file-syntax"),
    "data number of classes": (data("names = x.names\ntrain = list.txt\nclasses = 9"), "file-syntax"),
    "data names twice": (data("names = twice.names\ntrain = list.txt"), "class-duplicate"),
    "data names gone": (data("names = gone.names\ntrain = list.txt"), "file not found"),
    "data not text": (data(b"names = \xff"), "must be a text file"),
    # tables
    "table row too short": (table("bad.png"), "label-syntax"),
    "table row too long": (table("bad.png,cat,dog"), "label-syntax"),
    "table quote": (table('"bad.png,cat'), "label-syntax"),
    "table carriage return": (table("bad.png,c\rat"), "label-syntax"),
    "table no image": (table(",cat"), "label-syntax"),
    "table unknown class": (table("bad.png,bird"), "class-unknown"),
    "table image outside": (table("../bad.png,cat"), "path-outside"),
    "table image gone": (table("gone.png,cat"), "image-missing"),
    "table label twice": (table("bad.png,cat\nbad.png,cat"), "label-duplicate"),
    "table field of a megabyte": (table("x" * 500_000 + ",cat"), "label-syntax"),
    "table not text": (table(b"\xff,cat"), "file-unreadable"),
    "table zero byte": (table(b"\0,cat"), "file-unreadable"),
    "table without the columns": (table("", ListColumns("image", ("class",))), "file-syntax"),
    "zip cut": (archive("x.zip", zipped(("a.txt", b"abc"), cut=9)), "archive-damaged"),
    "zip empty": (archive("x.zip", b""), "archive-damaged"),
    "zip member outside": (archive("x.zip", zipped(("../a.txt", b"abc"))), "archive-damaged"),
    "zip member with a root": (archive("x.zip", zipped(("/a.txt", b"abc"))), "archive-damaged"),
    "zip member on a drive": (archive("x.zip", zipped(("c:/a.txt", b"abc"))), "archive-damaged"),
    "tar that is none": (archive("x.tar.gz", b"abc" * 999), "archive-damaged"),
    "boxes text": (boxes("bad.png,cat,1,2,x,4"), "label-syntax"),
    "boxes cell missing": (boxes("bad.png,cat,1,2,,4"), "label-syntax"),
    "boxes nan": (boxes("bad.png,cat,1,2,nan,4"), "box-nan"),
    "boxes inverted": (boxes("bad.png,cat,5,2,3,4"), "box-inverted"),
    "boxes outside": (boxes("bad.png,cat,50,2,53,4"), "box-outside"),
    "boxes unreadable image": (boxes("broken.png,cat,1,2,3,4"), "image-unreadable"),
    "class table names": (class_table("0,a\n0,b"), "class-duplicate"),
    "class table gap": (class_table("0,a\n2,b"), "file-syntax"),
    "class table empty": (class_table(""), "file-syntax"),
    # tar files
    "tar empty": (raw_tar(b""), "file-syntax"),
    "tar text": (raw_tar(b"no tar file " * 100), "file-syntax"),
    "tar gzip": (raw_tar(b"\x1f\x8b\x08" + bytes(600)), "tar-compressed"),
    "tar zstandard": (raw_tar(b"\x28\xb5\x2f\xfd" + bytes(600)), "tar-compressed"),
    "tar zip": (raw_tar(b"PK\x03\x04" + bytes(600)), "file-syntax"),
    "tar cut": (tar(("cat/bad.png", png() * 20), cut=9000), "tar-damaged"),
    "tar joined": (tar(end=b"x" * 512), "tar-damaged"),
    "tar name outside": (tar(("../bad.png", png())), "path-outside"),
    "tar name absolute": (tar(("/bad.png", png())), "path-outside"),
    "tar name round about": (tar(("cat/../../bad.png", png())), "path-outside"),
    "tar symbolic link": (tar(("cat/bad.png", ""), kind=tarfile.SYMTYPE), "tar-member"),
    "tar hard link": (tar(("cat/bad.png", ""), kind=tarfile.LNKTYPE), "tar-member"),
    "tar device": (tar(("cat/bad.png", ""), kind=tarfile.BLKTYPE), "tar-member"),
    "tar pipe": (tar(("cat/bad.png", ""), kind=tarfile.FIFOTYPE), "tar-member"),
    "tar twice": (tar(("./cat/good.png", png())), "image-duplicate"),
    "tar other file": (tar(("cat/bad.exe", "MZ")), "file-unknown"),
    "tar no folder": (tar(("bad.png", png())), "label-missing"),
    "tar unknown class": (tar(("bird/bad.png", png())), "class-unknown"),
    "tar label without image": (tar(("cat/bad.cls", "0")), "label-orphan"),
    "tar label line": (tar_label("cat/bad.txt", "0 0"), "label-syntax"),
    "tar label json": (tar_label("cat/bad.json", "{"), "label-syntax"),
    "tar label json deep": (tar_label("cat/bad.json", "[" * 100_000), "label-syntax"),
    "tar label json lengths": (tar_label("cat/bad.json", '{"boxes": [], "labels": [0]}'), "label-syntax"),
    "tar label json box": (tar_label("cat/bad.json", '{"boxes": [[9, 9, 1, 1]], "labels": [0]}'), "box-inverted"),
    "tar label not text": (tar_label("cat/bad.cls", b"\xff"), "label-unreadable"),
    "tar label class": (tar_label("cat/bad.cls", "2"), "class-unknown"),
    "tar label too many": (tar(("cat/bad.png", png()), ("cat/bad.cls", "0"), ("cat/bad.txt", "")), "label-duplicate"),
    "tar image that is none": (tar(("cat/bad.png", "text"), ("cat/bad.txt", LINE)), "image-unreadable"),
    # folders
    "folder unknown class": (folders("bird/a.png"), "class-unknown"),
    "folder empty": (folders("dog/.hidden"), "class-empty"),
    "folder loose image": (folders("a.png"), "label-missing"),
    "folder other file": (folders("cat/a.psd"), "file-unknown"),
}


def texts_of(reader: Reader, folder: Path) -> tuple[list[Annotation], list[str]]:
    """The annotations, and everything that was reported."""
    annotations = []
    reported = []
    try:
        for annotation in reader(folder):
            annotations.append(annotation)
            reported += [f"{issue}: {issue.suggestion}" for issue in annotation.issues]
    except DataError as error:
        reported.append(str(error))
    return annotations, reported


@pytest.fixture(autouse=True)
def canary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing that is read may run, and nothing may be written."""
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")
    yield
    assert list((tmp_path / "cwd").iterdir()) == []


@pytest.mark.parametrize("case", CASES)
def test_each_is_reported_with_its_code_in_one_line(tmp_path, case):
    reader, expected = CASES[case]
    folder = tmp_path / "set"
    annotations, reported = texts_of(reader, folder)
    assert reported
    assert any(f": {expected}: " in text or (expected not in CODES and expected in text) for text in reported), reported
    for text in reported:
        assert text.isprintable()
        assert text.startswith(str(folder))
        assert len(text) < 2000
    for annotation in annotations:
        assert annotation.sample is not None or annotation.issues
        assert annotation.sample is None or all(issue.fixable for issue in annotation.issues)
        assert all(issue.code in CODES and issue.message and issue.suggestion for issue in annotation.issues)


IMAGE_BY_IMAGE = [
    case
    for case, (_, code) in CASES.items()
    if code not in ("file-syntax", "file-unreadable", "tar-compressed", "class-duplicate")
    and not case.startswith(("data", "yaml", "coco category", "zip", "tar that is none"))
]


@pytest.mark.parametrize("case", IMAGE_BY_IMAGE)
def test_the_good_image_beside_it_is_still_read(tmp_path, case):
    annotations, _ = texts_of(CASES[case][0], tmp_path / "set")
    names = [annotation.sample.name for annotation in annotations if annotation.sample]
    assert sum(name.endswith("good.png") for name in names) == 1
    assert len(set(names)) == len(names)


def test_there_are_enough_cases_and_each_code_has_one():
    assert len(CASES) >= 100
    assert {code for _, code in CASES.values()} >= CODES


def test_every_code_in_the_program_is_in_the_documentation():
    text = "".join(path.read_text() for path in Path(formats.__file__).parent.rglob("*.py"))
    text = text.replace(formats.__doc__ or "", "")
    kinds = "archive|box|area|class|label|image|size|id|path|file|xml|tar"
    others = set(re.findall(r"^``([a-z-]+)``", suspicious.__doc__ or "", re.MULTILINE))
    others |= {"class-descriptions"}  # a name of Open Images' files
    assert set(re.findall(rf'"((?:{kinds})-[a-z]+)"', text)) - others == CODES
