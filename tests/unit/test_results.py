from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from yolo9000.data.dataset import open_data
from yolo9000.errors import ConfigError, DataError
from yolo9000.io.image_writer import ImageWriter
from yolo9000.io.naming import OutputNames
from yolo9000.io.writers import FORMATS, ResultWriter
from yolo9000.types import Detections, PathStep, SourceImage, TreeAnswer

NONE = Detections(
    boxes_xyxy=np.zeros((0, 4), np.float32),
    scores=np.zeros(0, np.float32),
    labels=np.zeros(0, np.int64),
    names=(),
    size_wh=(300, 200),
)


def two() -> Detections:
    return Detections(
        boxes_xyxy=np.array([[30, 20, 180, 100], [0, 0, 300, 50.1]], np.float32),
        scores=np.array([0.875, 0.3], np.float32),
        labels=np.array([16, 2], np.int64),
        names=("dog", 'a "big", red car'),
        size_wh=(300, 200),
    )


def one_of_a_tree() -> Detections:
    path = (PathStep(4, "animal", 0.9, 0.9), PathStep(70, "dog", 0.5, 0.45))
    return Detections(
        boxes_xyxy=np.array([[30, 20, 180, 100]], np.float32),
        scores=np.array([0.25], np.float32),
        labels=np.array([70], np.int64),
        names=("dog",),
        size_wh=(300, 200),
        answers=(TreeAnswer(path, "hier_thresh", PathStep(71, "terrier", 0.1, 0.045), None),),
    )


def write_all(folder: Path, formats, *items, **options) -> None:
    with ResultWriter(folder, formats, **options) as writer:
        for item in items:
            writer.write(*item)


def coco_results(folder: Path):
    return json.loads((folder / "coco_results.json").read_text())


def test_json_lines_have_one_object_for_each_image(tmp_path):
    write_all(
        tmp_path,
        ["jsonl"],
        ("a/dog.jpg", None, two()),
        ("walk.mp4", 12, NONE),
        ("t.png", None, one_of_a_tree()),
    )
    first, second, third = (json.loads(line) for line in (tmp_path / "detections.jsonl").read_text().splitlines())
    assert first == {"source": "a/dog.jpg", "frame": None, "timestamp": None, **two().to_dict()}
    assert second == {"source": "walk.mp4", "frame": 12, "timestamp": None} | NONE.to_dict()
    assert [step["name"] for step in third["detections"][0]["path"]] == ["animal", "dog"]


def test_json_lines_stay_lines_whatever_the_name(tmp_path):
    name = "odd\u2028\n\x85犬\udcff.jpg"
    write_all(tmp_path, ["jsonl"], (name, None, NONE))
    (line,) = (tmp_path / "detections.jsonl").read_text().splitlines()
    assert json.loads(line)["source"] == name


def test_json_lines_can_be_read_while_the_run_goes_on(tmp_path):
    with ResultWriter(tmp_path, ["jsonl", "csv"]) as writer:
        writer.write("dog.jpg", None, two())
        assert (tmp_path / "detections.jsonl").read_text().count("\n") == 1
        assert (tmp_path / "detections.csv").read_text().count("\n") == 3


def test_coco_results(tmp_path):
    write_all(tmp_path, ["coco"], ("COCO_val2014_000000000042.jpg", None, two()), ("7.jpg", None, one_of_a_tree()))
    # Left, top, width, height: 180 - 30 = 150, 100 - 20 = 80.
    assert coco_results(tmp_path) == [
        {"image_id": 42, "category_id": 16, "bbox": [30, 20, 150, 80], "score": 0.875},
        {
            "image_id": 42,
            "category_id": 2,
            "bbox": [0, 0, 300, float(np.float32(50.1))],
            "score": float(np.float32(0.3)),
        },
        {"image_id": 7, "category_id": 70, "bbox": [30, 20, 150, 80], "score": 0.25},
    ]


def test_coco_categories_are_taken_from_the_mapping(tmp_path):
    write_all(tmp_path, ["coco"], ("7.jpg", None, two()), category_ids={16: 18, 2: 3})
    assert [record["category_id"] for record in coco_results(tmp_path)] == [18, 3]


def test_a_label_without_a_coco_category_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"7\.jpg: label 2 has no COCO category id"):
        write_all(tmp_path, ["coco"], ("7.jpg", None, two()), category_ids={16: 18})


@pytest.mark.parametrize(
    ("name", "frame", "image_id"),
    [
        ("COCO_val2014_000000000042.jpg", None, 42),
        ("x/y_1/000017.png", None, 17),
        ("a_b_12.jpg", None, 12),
        ("dog.jpg", None, "dog"),
        ("dog12.jpg", None, "dog12"),
        ("12_dog.jpg", None, "12_dog"),
        ("12_.jpg", None, "12_"),
        ("a_٣.jpg", None, "a_٣"),
        ("walk.mp4", 5, "walk/5"),
        ("walk_7.mp4", 1234567, "walk_7/1234567"),
        ("http://host/v/20.jpg?size=3", None, 20),
    ],
)
def test_coco_image_ids(tmp_path, name, frame, image_id):
    write_all(tmp_path, ["coco"], (name, frame, two()))
    assert {record["image_id"] for record in coco_results(tmp_path)} == {image_id}


@pytest.mark.parametrize("items", [[], [("dog.jpg", None, NONE)]])
def test_coco_results_without_detections_are_an_empty_array(tmp_path, items):
    write_all(tmp_path, ["coco"], *items)
    assert coco_results(tmp_path) == []


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, ValueError])
def test_an_interrupted_run_keeps_what_was_done(tmp_path, interruption):
    (tmp_path / "coco_results.json").write_text("older")

    def run():
        with ResultWriter(tmp_path, FORMATS, with_images=True) as writer:
            writer.write("1.jpg", None, two())
            writer.write("2.jpg", None, one_of_a_tree())
            assert (tmp_path / "coco_results.json").read_text() == "older"
            raise interruption

    with pytest.raises(interruption):
        run()
    assert [record["image_id"] for record in coco_results(tmp_path)] == [1, 1, 2]
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "coco_results.json",
        "detections.csv",
        "detections.geojson",
        "detections.jsonl",
        "index.html",
        "labels",
        "results",
        "scores",
    ]


def test_an_interruption_inside_of_a_image_keeps_an_array(tmp_path, monkeypatch):
    def interrupted(self, *args):
        yield {"image_id": 1}
        raise KeyboardInterrupt

    monkeypatch.setattr(Detections, "to_coco", interrupted)
    with pytest.raises(KeyboardInterrupt), ResultWriter(tmp_path, ["coco"]) as writer:
        writer.write("1.jpg", None, two())
    assert coco_results(tmp_path) == [{"image_id": 1}]


def test_csv_has_a_line_for_each_detection(tmp_path):
    write_all(
        tmp_path,
        ["csv"],
        ("a,b/dog.jpg", None, two()),
        ("none.jpg", None, NONE),
        ("walk.mp4", 6, one_of_a_tree(), 0.25),
    )
    assert (tmp_path / "detections.csv").read_bytes().decode() == (
        "source,frame,timestamp,name,label,score,left,top,right,bottom,path\n"
        '"a,b/dog.jpg",,,dog,16,0.875,30.0,20.0,180.0,100.0,\n'
        '"a,b/dog.jpg",,,"a ""big"", red car",2,0.3,0.0,0.0,300.0,50.1,\n'
        "walk.mp4,6,0.25,dog,70,0.25,30.0,20.0,180.0,100.0,animal > dog\n"
    )


def test_csv_has_no_formulas(tmp_path):
    """A spreadsheet runs a cell that begins with =, + - or @; names come from strangers' files."""
    formula = replace(one_of_a_tree(), names=('=HYPERLINK("http://x")',))
    write_all(tmp_path, ["csv"], ("@a.jpg", None, formula), ("-b.jpg", None, formula))
    with (tmp_path / "detections.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["source"] for row in rows] == ["'@a.jpg", "'-b.jpg"]
    assert {row["name"] for row in rows} == {'\'=HYPERLINK("http://x")'}


def test_csv_takes_names_that_are_not_utf_8(tmp_path):
    write_all(tmp_path, ["csv"], ("犬\n\udcff.jpg", None, one_of_a_tree()))
    with (tmp_path / "detections.csv").open(encoding="utf-8", newline="") as file:
        assert next(csv.DictReader(file))["source"] == "犬\n\\udcff.jpg"


def test_darknet_labels_are_relative_to_the_image(tmp_path):
    write_all(tmp_path, ["darknet"], ("a/dog.jpg", None, two()))
    # (30 + 180) / 2 / 300 = 0.35, (20 + 100) / 2 / 200 = 0.3, 150 / 300 = 0.5, 80 / 200 = 0.4;
    # 50.1 / 2 / 200 = 0.12525, 50.1 / 200 = 0.2505.
    assert (tmp_path / "labels" / "dog.txt").read_bytes().decode() == (
        "16 0.350000 0.300000 0.500000 0.400000\n2 0.500000 0.125250 1.000000 0.250500\n"
    )
    assert (tmp_path / "scores" / "dog.txt").read_bytes() == b"0.875000\n0.300000\n"
    assert not (tmp_path / "classes.txt").exists()


def test_darknet_labels_with_names_beside_the_images_are_a_data_set(tmp_path):
    names = [f"class {i}" for i in range(20)]
    names[3] = names[2] = "two\tlines"  # a name that repeats, as names in a tree may
    with ResultWriter(tmp_path, ["darknet"], class_names=names) as writer:
        writer.write("a/dog.jpg", None, two())
    Image.new("RGB", (300, 200)).save(tmp_path / "made.png")
    (tmp_path / "images").mkdir()
    (tmp_path / "made.png").rename(tmp_path / "images" / "dog.png")
    data = open_data(tmp_path)
    (sample,) = data.samples()
    assert [data.classes[label] for label in sample.boxes.labels] == ["class 16", "two lines 2"]
    np.testing.assert_allclose(sample.boxes.boxes_xyxy, two().boxes_xyxy, atol=0.001)


def test_darknet_labels_of_frames_and_of_images_without_detections(tmp_path):
    write_all(tmp_path, ["darknet"], ("walk.mp4", 12, two()), ("none.jpg", None, NONE))
    sizes = {path.name: path.stat().st_size > 0 for path in (tmp_path / "labels").iterdir()}
    assert sizes == {"walk_000012.txt": True, "none.txt": False}


def test_images_of_one_stem_do_not_overwrite_each_other(tmp_path):
    write_all(
        tmp_path,
        ["darknet", "coco"],
        ("a/dog.jpg", None, two()),
        ("b/dog.jpg", None, one_of_a_tree()),
        ("c/dog.png", None, NONE),
    )
    lines = {path.name: path.read_text().count("\n") for path in (tmp_path / "labels").iterdir()}
    assert lines == {"dog.txt": 2, "dog-2.txt": 1, "dog-3.txt": 0}
    assert [record["image_id"] for record in coco_results(tmp_path)] == ["dog", "dog", "dog-2"]


def test_the_writer_fractions_its_names(tmp_path):
    with ResultWriter(tmp_path, ["darknet"]) as writer:
        writer.write("a/dog.jpg", None, two())
        writer.write("b/dog.jpg", None, two())
        assert writer.names.stem("b/dog.jpg", None) == "dog-2"


def test_a_format_that_is_wanted_twice_is_written_once_and_no_other(tmp_path):
    write_all(tmp_path / "new" / "folder", ["coco", "csv", "coco"], ("dog.jpg", None, one_of_a_tree()))
    names = sorted(path.name for path in (tmp_path / "new" / "folder").iterdir())
    assert names == ["coco_results.json", "detections.csv"]
    assert len(coco_results(tmp_path / "new" / "folder")) == 1


def test_an_unknown_format_is_refused_before_anything_is_made(tmp_path):
    with pytest.raises(ConfigError, match=r"got 'JSON' \(did you mean 'jsonl'"):
        ResultWriter(tmp_path / "new", ["csv", "JSON"])
    assert not (tmp_path / "new").exists()


def test_closing_twice_is_harmless(tmp_path):
    writer = ResultWriter(tmp_path, FORMATS, with_images=True)
    writer.write("1.jpg", None, two())
    writer.close()
    writer.close()
    assert len(coco_results(tmp_path)) == 2


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"file.*: cannot be written: (must be a folder, is a file|Not a directory)"):
        ResultWriter(tmp_path / "file", ["csv"])


@pytest.mark.parametrize(
    ("format_name", "blocked"),
    [
        ("jsonl", "detections.jsonl"),
        ("csv", "detections.csv"),
        ("darknet", "labels/dog.txt"),
        ("coco", "coco_results.json"),
    ],
)
def test_a_file_that_cannot_be_written_is_named(tmp_path, format_name, blocked):
    (tmp_path / blocked).mkdir(parents=True)
    with pytest.raises(DataError, match=rf"{blocked}: cannot be written: Is a directory"):
        write_all(tmp_path, [format_name], ("dog.jpg", None, two()))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
@pytest.mark.parametrize(
    ("format_name", "file"),
    [("jsonl", "detections.jsonl"), ("csv", "detections.csv"), ("coco", "coco_results.json.part")],
)
def test_a_full_disk_is_named(tmp_path, format_name, file):
    (tmp_path / file).symlink_to("/dev/full")
    with pytest.raises(DataError, match=r": cannot be written: No space left on device"):
        write_all(tmp_path, [format_name], ("dog.jpg", None, two()))
    assert not (tmp_path / "coco_results.json").exists()


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("dog.jpg", "dog"),
        ("/a/b/my dog.v2.jpeg", "my dog.v2"),
        ("stdin", "stdin"),
        ("http://host/a/b.jpg?x=1", "b"),
        ("https://host/a/my%20dog.png#top", "my dog"),
        ("https://host/a%2Fb.png", "b"),
        ("http://host/", "host"),
        ("http://user:secret@host:8080", "host_8080"),
        ("rtsp://user:secret@camera.local:554/live", "live"),
        ("0", "0"),
        ("C:\\photos\\a.jpg", "C__photos_a"),
        ("a<b>|?*\x00\x1f\"'.jpg", "a_b_______'"),
        ("\udcff犬.jpg", "_犬"),
        ("..", "image"),
        ("", "image"),
        ("/", "image"),
        (".jpg", "jpg"),
        ("x" * 300 + ".jpg", "x" * 200),
        ("é" * 300 + ".jpg", "é" * 100),
    ],
)
def test_stems_are_file_names(name, stem):
    assert OutputNames().stem(name, None) == stem


def test_the_same_image_keeps_its_stem_and_others_get_suffixes():
    names = OutputNames()
    assert [names.stem(f"{folder}/dog.jpg", None) for folder in "abcab"] == [
        "dog",
        "dog-2",
        "dog-3",
        "dog",
        "dog-2",
    ]
    assert names.stem("dog-2.jpg", None) == "dog-2-2"
    assert names.stem("DOG.png", None) == "DOG-4"


def test_all_frames_of_a_video_have_its_stem():
    names = OutputNames()
    assert names.stem("a/walk.mp4", 0) == "walk_000000"
    assert names.stem("b/walk.mp4", 0) == "walk-2_000000"
    assert names.stem("a/walk.mp4", 1234567) == "walk_1234567"


def test_a_image_named_like_a_frame_does_not_meet_the_frame():
    names = OutputNames()
    assert names.stem("walk_000012.jpg", None) == "walk_000012"
    assert names.stem("walk.mp4", 12) == "walk-2_000012"
    names = OutputNames()
    assert names.stem("walk.mp4", 12) == "walk_000012"
    assert names.stem("walk_000012.jpg", None) == "walk_000012-2"
    assert names.stem("walk_12.jpg", None) == "walk_12"


NAMES = st.one_of(st.text(), st.from_regex(r"([ab]/)?(w|W|http://h/w)(-2)?(_00000[01])?(\.jpg)?", fullmatch=True))


@given(st.lists(st.tuples(NAMES, st.none() | st.integers(0, 2)), max_size=12))
def test_different_images_never_fraction_a_file(images):
    names = OutputNames()
    stems = {image: names.stem(*image) for image in images}
    assert len({stem.casefold() for stem in stems.values()}) == len(stems)
    for stem in stems.values():
        assert stem
        assert len(stem.encode()) < 240
        assert not set(stem) & set('/\\:*?"<>|\0')
    assert {image: names.stem(*image) for image in images} == stems


def test_voc_results_count_pixels_from_one_and_include_the_last(tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "comp4_det_test_dog.txt").write_text("of an earlier run\n")
    write_all(tmp_path, ["voc"], ("a/2007_000027.jpg", None, two()), ("b/x.png", None, two()), ("c.png", None, NONE))
    # left 30, top 20 from 0 are 31, 21 from 1; right 180 and bottom 100, exclusive, are the last pixels counted from 1
    assert (tmp_path / "results" / "comp4_det_test_dog.txt").read_text() == (
        "2007_000027 0.875000 31.000000 21.000000 180.000000 100.000000\n"
        "x 0.875000 31.000000 21.000000 180.000000 100.000000\n"
    )
    names = sorted(path.name for path in (tmp_path / "results").iterdir())
    assert names == ["comp4_det_test_a _big_, red car.txt", "comp4_det_test_dog.txt"]


def test_classes_whose_names_collide_get_files_of_their_own(tmp_path: Path) -> None:
    names = ("a/b", "a:b", "A_b", "a/b")
    boxes = np.tile(np.array([[30, 20, 180, 100]], np.float32), (4, 1))
    scores = np.array([0.5, 0.25, 0.125, 0.0625], np.float32)
    detections = Detections(boxes, scores, np.array([0, 1, 2, 0]), names, (300, 200))
    write_all(tmp_path, ["voc"], ("1.png", None, detections))
    written = {path.name: path.read_text().split()[1::6] for path in (tmp_path / "results").iterdir()}
    assert written == {
        "comp4_det_test_a_b.txt": ["0.500000", "0.062500"],
        "comp4_det_test_a_b-2.txt": ["0.250000"],
        "comp4_det_test_A_b-3.txt": ["0.125000"],
    }


def test_a_page_needs_the_images(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="formats: html shows the annotated images"):
        ResultWriter(tmp_path / "new", ["html"])
    assert not (tmp_path / "new").exists()


def test_images_and_frames(tmp_path: Path) -> None:
    names = OutputNames()
    still = SourceImage("a/dog.png", np.zeros((20, 30, 3), np.uint8))
    frames = [SourceImage("walk.avi", np.zeros((48, 64, 3), np.uint8), frame, 10.0) for frame in (0, 1)]
    with ImageWriter(tmp_path, names) as writer:
        assert writer.write(still, np.full((20, 30, 3), 255, np.uint8)) == tmp_path / "dog.jpg"
        for frame in frames:
            assert writer.write(frame, frame.pixels) == tmp_path / "walk.mp4"
    with Image.open(tmp_path / "dog.jpg") as image:
        assert image.size == (30, 20)
        assert image.getpixel((15, 10)) == (255, 255, 255)
    assert (tmp_path / "walk.mp4").stat().st_size > 0


def test_images_cannot_be_written_to_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot be written"):
        ImageWriter(tmp_path / "file", OutputNames())


def test_a_page_shows_the_images_and_the_paths_through_the_tree(tmp_path: Path) -> None:
    write_all(
        tmp_path,
        ["html"],
        ("a/#1 <b>.jpg", None, two()),
        ("t.png", None, one_of_a_tree()),
        ("walk.mp4", 0, NONE),
        ("walk.mp4", 1, two()),
        ("empty.png", None, NONE),
        with_images=True,
    )
    page = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>")
    assert page.rstrip().endswith("</html>")
    assert "<h2>a/#1 &lt;b&gt;.jpg</h2>" in page
    assert '<img src="%231%20_b_.jpg"' in page
    assert "a &#34;big&#34;, red car</td>" in page
    assert ">animal 0.90 &gt; dog 0.50<" in page
    assert page.count("<video") == page.count('src="walk.mp4"') == 1
    assert page.count("No detections.") == 1
