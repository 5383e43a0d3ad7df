"""Labels from predictions: fusion by arithmetic, parts and shards, what is written."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from yolo9000.data.dataset import open_data, open_splits
from yolo9000.errors import ConfigError, DataError
from yolo9000.labeling.fuse import Box, fuse
from yolo9000.labeling.images import list_images
from yolo9000.labeling.label import Labeler, LabelSettings, write_data_set
from yolo9000.labeling.parts import PART_LENGTH, Parts, Shard
from yolo9000.labeling.teachers import ResultsTeacher
from yolo9000.taxonomy.wordtree import WordTree
from yolo9000.types import SourceImage

#        0 animal          5 vehicle
#   1 dog      4 cat
# 2 terrier 3 collie
TREE = WordTree.from_parents(
    [-1, -1, 0, 0, 2, 2], ["animal", "vehicle", "dog", "cat", "terrier", "collie"], ids=["a", "v", "d", "c", "t", "o"]
)
ANIMAL, VEHICLE, DOG, CAT, TERRIER, COLLIE = range(6)


def dog(model: int, shift: float = 0.0, **changes: object) -> Box:
    values: dict[str, object] = {"objectness": 0.8, "probabilities": {ANIMAL: 1.0, DOG: 0.9, TERRIER: 0.7}}
    values |= {"box_xyxy": (10 + shift, 10.0, 110 + shift, 60.0), "label": TERRIER} | changes
    return Box(model=model, **values)  # type: ignore[arg-type]


def test_the_label_is_the_deepest_node_that_is_probable_enough_on_average() -> None:
    unsure = dog(1, objectness=0.4, probabilities={ANIMAL: 1.0, DOG: 0.6, TERRIER: 0.3}, label=DOG)
    [both] = fuse([dog(0), unsure], TREE, models=2)
    # P(terrier) = (.8 x .7 + .4 x .3) / 1.2 = .5667; score = (.8 + .4) / 2 x .5667
    assert both.label == TERRIER
    assert both.score == pytest.approx(0.6 * 0.68 / 1.2)
    [less] = fuse([dog(0), unsure], TREE, models=2, hier_thresh=0.6)
    assert less.label == DOG  # P(dog) = (.72 + .24) / 1.2 = .8
    assert less.score == pytest.approx(0.6 * 0.8)


def test_the_box_is_the_mean_weighted_by_score() -> None:
    other = dog(1, shift=12.0, objectness=0.4)
    [both] = fuse([dog(0), other], TREE, models=2)
    assert both.box_xyxy == pytest.approx((14, 10, 114, 60))  # scores .56 and .28: a third of 12
    assert both.models == 2


def test_what_one_of_two_models_detected_counts_half() -> None:
    [alone] = fuse([dog(0)], TREE, models=2)
    assert alone.score == pytest.approx(0.8 * 0.7 / 2)
    assert alone.box_xyxy == (10, 10, 110, 60)


@pytest.mark.parametrize(
    "other",
    [
        dog(1, probabilities={ANIMAL: 1.0, CAT: 0.9}, label=CAT),  # diverging labels
        dog(1, shift=60.0),  # IoU .25
        dog(0, shift=5.0),  # of the same model, whose own suppression kept both
    ],
)
def test_different_objects_are_not_joined(other: Box) -> None:
    assert len(fuse([dog(0), other], TREE, models=2)) == 2


@given(st.lists(st.tuples(st.integers(0, 60), st.floats(0.05, 1), st.sampled_from([DOG, CAT, VEHICLE])), max_size=8))
def test_the_boxes_of_one_model_are_returned_as_they_are(drawn: list[tuple[int, float, int]]) -> None:
    boxes = [dog(0, float(x), objectness=o, probabilities={label: 0.75}, label=label) for x, o, label in drawn]
    fused = fuse(boxes, TREE, models=1)
    assert Counter((b.box_xyxy, b.label, b.score) for b in fused) == Counter(
        (b.box_xyxy, b.label, b.score) for b in boxes
    )
    assert [box.score for box in fused] == sorted((box.score for box in boxes), reverse=True)


def test_a_class_threshold_holds_for_all_below_it_and_the_deepest_one_counts() -> None:
    settings = LabelSettings(0.3, {"animal": 0.6, "terrier": 0.2})
    assert settings.thresholds(TREE) == [0.6, 0.3, 0.6, 0.6, 0.2, 0.6]
    assert settings.lowest(fused=False) == 0.2
    with pytest.raises(ConfigError, match=r"^class_threshold: dog: must be between 0 and 1, got 7\.0"):
        LabelSettings(0.3, {"dog": 7.0}).thresholds(TREE)


# --- Parts. ---


class Stub:
    """Finds a terrier in images with an odd first pixel, the nearer to the edge the lower that pixel."""

    name = "stub"

    def __init__(self) -> None:
        self.unknown: Counter[str] = Counter()
        self.seen: list[str] = []

    def boxes(self, image: SourceImage, position: int) -> list[Box]:
        self.seen.append(image.name)
        first = int(image.pixels[0, 0, 0])
        return [dog(position, first / 10)] if first % 2 else []


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """More images than two parts have, one of them damaged, in two folders."""
    for index in range(2 * PART_LENGTH + 7):
        path = tmp_path / "images" / ("odd" if index % 2 else "even") / f"{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((80, 160, 3), index, np.uint8)).save(path)
    (tmp_path / "images" / "odd" / "5.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    return tmp_path / "images"


def labelled(folder: Path, out: Path, *shards: str, **settings: float) -> Stub:
    stub = Stub()
    for shard in shards or ("1/1",):
        values = LabelSettings(**settings)  # type: ignore[arg-type]
        parts = Parts(out, list_images([folder]), vars(values))
        Labeler([stub], TREE, values).run(parts, Shard.parse(shard))
    return stub


def contents(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (out / "parts").iterdir()}


@pytest.mark.parametrize("count", [2, 3, 5])
def test_any_number_of_shards_writes_the_same_parts(folder: Path, tmp_path: Path, count: int) -> None:
    labelled(folder, tmp_path / "one")
    several = labelled(folder, tmp_path / "many", *(f"{i}/{count}" for i in range(count, 0, -1)))
    assert contents(tmp_path / "many") == contents(tmp_path / "one")
    assert len(contents(tmp_path / "one")) == 3
    assert len(several.seen) == len(set(several.seen)) == 2 * PART_LENGTH + 6


def test_a_folder_is_continued_where_a_part_is_missing(folder: Path, tmp_path: Path) -> None:
    labelled(folder, tmp_path / "out")
    before = contents(tmp_path / "out")
    (tmp_path / "out" / "parts" / "0000001.jsonl").unlink()
    again = labelled(folder, tmp_path / "out")
    assert contents(tmp_path / "out") == before
    assert len(again.seen) == PART_LENGTH - 1  # the damaged image is one of them


def test_labels_of_other_settings_or_images_are_not_mixed(folder: Path, tmp_path: Path) -> None:
    labelled(folder, tmp_path / "out")
    with pytest.raises(ConfigError, match=r"^out: .* other images or settings \(conf_threshold\)"):
        labelled(folder, tmp_path / "out", conf_threshold=0.5)
    (folder / "even" / "0.png").unlink()
    with pytest.raises(ConfigError, match=r"\(images, names_sha256\)"):
        labelled(folder, tmp_path / "out")


@pytest.mark.parametrize("text", ["0/2", "3/2", "1", "1/0", "a/b", "-1/2"])
def test_a_shard_is_one_of_n(text: str) -> None:
    with pytest.raises(ConfigError, match=r"^shard: must be i/n"):
        Shard.parse(text)


def test_the_data_set_has_every_image_that_could_be_read(folder: Path, tmp_path: Path) -> None:
    stub, settings = Stub(), LabelSettings()
    parts = Parts(tmp_path / "out", list_images([folder]), vars(settings))
    labeler = Labeler([stub], TREE, settings)
    labeler.run(parts, Shard.parse("1/1"))
    assert [(image.name, record["error"][:10]) for image, record in parts if "error" in record] == [
        ("odd/5.png", "odd/5.png:")
    ]
    counts = write_data_set(parts, TREE, "coco", tmp_path / "out", copy=False)
    assert counts == {"terrier": PART_LENGTH + 2}  # 67 odd numbers below 135, one damaged
    samples = {sample.name: sample for sample in open_data(tmp_path / "out").samples()}
    assert len(samples) == 2 * PART_LENGTH + 6
    seven = next(sample for name, sample in samples.items() if name.endswith("odd/7.png"))
    np.testing.assert_allclose(seven.boxes.boxes_xyxy, [[10.7, 10, 110.7, 60]], atol=1e-4)  # type: ignore[union-attr]
    scores = [json.loads(line) for line in (tmp_path / "out" / "scores.jsonl").read_text().splitlines()]
    assert {line["image"]: line["scores"] for line in scores}["odd/7.png"] == [pytest.approx(0.56)]
    assert {line["image"]: line["scores"] for line in scores}["even/8.png"] == []


def test_a_damaged_part_is_named(folder: Path, tmp_path: Path) -> None:
    labelled(folder, tmp_path / "out")
    file = tmp_path / "out" / "parts" / "0000002.jsonl"
    file.write_text("\n".join(file.read_text().splitlines()[:-1]) + "\n")
    parts = Parts(tmp_path / "out", list_images([folder]), vars(LabelSettings()))
    with pytest.raises(DataError, match=r"0000002\.jsonl: must have 7 lines, got 6"):
        list(parts)


def test_results_of_another_program_are_a_teacher(tmp_path: Path) -> None:
    images = {"images": [{"id": 4, "file_name": "x/b.png", "width": 50, "height": 40}]}
    categories = {"categories": [{"id": 7, "name": "Dog"}, {"id": 8, "name": "zebra"}], "annotations": []}
    (tmp_path / "images.json").write_text(json.dumps(images | categories))
    results = [{"image_id": 4, "category_id": c, "bbox": [1, 2, 30, 20], "score": 0.5} for c in (7, 8)]
    (tmp_path / "results.json").write_text(json.dumps(results))
    teacher = ResultsTeacher(tmp_path / "results.json", tmp_path / "images.json", TREE)
    [box] = teacher.boxes(SourceImage("elsewhere/b.png", np.zeros((40, 50, 3), np.uint8)), 1)
    assert (box.box_xyxy, box.label, box.score, box.model) == ((1, 2, 31, 22), DOG, 0.5, 1)
    assert box.probabilities == {ANIMAL: 1.0, DOG: 1.0}
    assert teacher.unknown == {"zebra": 1}


def test_images_of_one_name_are_refused(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        Image.new("RGB", (20, 10)).save(tmp_path / name / "a.png")
    with pytest.raises(DataError, match=r"must have a name of its own, .*one.a\.png is called a\.png too"):
        list_images([tmp_path / "one", tmp_path / "two"])


def test_label_studio_gets_boxes_with_scores_to_submit(tmp_path: Path) -> None:
    for name in ("1", "2"):
        (tmp_path / "images").mkdir(exist_ok=True)
        Image.new("RGB", (160, 80)).save(tmp_path / "images" / f"{name}.png")
    images = list_images([tmp_path / "images"])
    box = {"box_xyxy": [16.0, 8.0, 80.0, 48.0], "id": "d", "score": 0.75}
    records = [
        (images[0], {"width": 160, "height": 80, "boxes": [box, box | {"id": "c", "score": 0.5}]}),
        (images[1], {"width": 160, "height": 80, "boxes": []}),
    ]
    assert write_data_set(records, TREE, "labelstudio", tmp_path / "out", copy=True) == {"dog": 1, "cat": 1}
    file = tmp_path / "out" / "train.json"
    first, second = json.loads(file.read_text())
    (prediction,) = first["predictions"]
    assert prediction["score"] == 0.625
    assert [result["score"] for result in prediction["result"]] == [0.75, 0.5]
    # 16 / 160 = 10 %, 8 / 80 = 10 %, 64 / 160 = 40 %, 40 / 80 = 50 %
    wanted = {"x": 10, "y": 10, "width": 40, "height": 50, "rotation": 0, "rectanglelabels": ["dog"]}
    assert prediction["result"][0]["value"] == wanted
    assert second["predictions"] == [{"model_version": "yolo9000", "result": []}]
    (unread, _) = open_splits(tmp_path / "out")["train"].annotations()
    assert "has predictions alone" in unread.issues[0].message
    file.write_text(json.dumps([task | {"annotations": task["predictions"]} for task in (first, second)]))
    samples = list(open_data(tmp_path / "out").samples())
    assert [len(sample.boxes or ()) for sample in samples] == [2, 0]
