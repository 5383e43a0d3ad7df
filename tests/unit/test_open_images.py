"""Open Images: its hierarchy as a label tree, and its image-level labels with their confidence."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.layouts import CLASSES, LAYOUTS, SPLITS, objects_of, openimages_hierarchy, openimages_labels, put_rows

from yolo9000.cli.app import run
from yolo9000.data.dataset import open_data
from yolo9000.data.issues import IssueError
from yolo9000.errors import TreeError
from yolo9000.taxonomy.files import read_tree
from yolo9000.taxonomy.readers import read_parent_table

DOG, PET, ANIMAL, TAIL, TOY, ENTITY = ("/m/0bt9lr", "/m/068hy", "/m/0jbk", "/m/0tail", "/m/0138tl", "/m/0bl9f")
HIERARCHY = {
    "LabelName": ENTITY,
    "Subcategory": [
        {
            "LabelName": ANIMAL,
            "Subcategory": [
                {"LabelName": PET, "Subcategory": [{"LabelName": DOG, "Part": [{"LabelName": TAIL}]}]},
                {"LabelName": DOG},
            ],
        },
        {"LabelName": TOY},
    ],
}


def write_hierarchy(folder: Path) -> Path:
    (folder / "bbox_labels_600_hierarchy.json").write_text(json.dumps(HIERARCHY))
    names = [(DOG, "Dog"), (PET, "Pet"), (ANIMAL, "Animal"), (TAIL, "Tail, of a dog")]
    put_rows(folder / "oidv7-class-descriptions-boxable.csv", [("LabelName", "DisplayName"), *names])
    put_rows(folder / "oidv7-class-descriptions.csv", [(name, "wrong") for name, _ in names])
    return folder / "bbox_labels_600_hierarchy.json"


def test_all_parents_are_read_and_parts_are_no_kinds(tmp_path: Path) -> None:
    entries = {entry.id: entry for entry in read_parent_table(write_hierarchy(tmp_path))}
    assert {one: entry.parents for one, entry in entries.items()} == {
        ANIMAL: (), TOY: (), PET: (ANIMAL,), DOG: (ANIMAL, PET), TAIL: (),
    }  # fmt: skip
    assert [entries[one].name for one in (DOG, TAIL, TOY)] == ["Dog", "Tail, of a dog", TOY]


def test_the_hierarchy_is_a_tree(tmp_path: Path) -> None:
    tree = read_tree(write_hierarchy(tmp_path))
    assert {tree.path_names(node) for node in range(len(tree))} == {
        "Animal", TOY, "Tail, of a dog", "Animal > Pet", "Animal > Pet > Dog",  # deeper than Animal > Dog
    }  # fmt: skip
    assert run(["tree", "show", str(tmp_path / "bbox_labels_600_hierarchy.json")]) == 0


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[1", "must be JSON"),
        ("[]", "must have a LabelName with Subcategory"),
        ('{"LabelName": "/m/0", "Subcategory": {}}', "Subcategory must be a list of nodes"),
        ('{"LabelName": "/m/0", "Subcategory": [{"LabelName": "a b"}]}', "must have a LabelName of one word"),
        ('{"LabelName": "/m/0", "Subcategory": [7]}', "must have a LabelName of one word, got '7'"),
    ],
)
def test_what_is_no_hierarchy_is_an_error(text: str, problem: str, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(TreeError, match=problem):
        read_tree(tmp_path / "a.json")


def test_a_data_set_over_the_hierarchy(tmp_path: Path) -> None:
    LAYOUTS["open images v7"].write(tmp_path)
    (tmp_path / "mine.yaml").write_text("tree: bbox_labels_600_hierarchy.json\ntrain: [{path: .}]\n")
    data = open_data(tmp_path / "mine.yaml")
    assert data.tree is not None
    assert sorted(data.classes) == list(CLASSES)
    assert [data.tree.path_names(data.tree.find(name)) for name in CLASSES] == ["/m/09 > bolt", "gear", "/m/09 > nut"]


def test_labels_of_people_say_what_is_there_and_what_is_not(tmp_path: Path) -> None:
    LAYOUTS["open images v7"].write(tmp_path)
    samples = list(open_data(tmp_path).samples())
    assert [sample.exhaustive for sample in samples] == [(0, 1, 2)] * len(SPLITS["train"])
    names = [{CLASSES[label] for label in sample.image_labels} for sample in samples]
    assert names == [{o.name for o in objects_of(n)} for n in SPLITS["train"]]


def test_labels_of_a_machine_are_read_from_a_confidence_on(tmp_path: Path) -> None:
    LAYOUTS["open images, image-level labels"].write(tmp_path)
    file = tmp_path / "train-annotations-machine-imagelabels.csv"
    openimages_labels(file, SPLITS["train"], 0.7)
    text = "\n".join(line for line in file.read_text().splitlines() if not line.endswith(",0"))
    file.write_text(text)
    described = "train: [{format: openimages, path: %s, images: train, names: class-descriptions.csv%s}]\n"
    (tmp_path / "all.yaml").write_text(described % (file.name, ", min_confidence: 0.7"))
    assert len(list(open_data(tmp_path / "all.yaml").samples())) == len(SPLITS["train"])
    (tmp_path / "none.yaml").write_text(described % (file.name, ""))
    with pytest.raises(IssueError, match="labels with confidence 0, or 1 and more; all 6 are between"):
        list(open_data(tmp_path / "none.yaml").samples())


def test_a_hierarchy_without_names_calls_nodes_by_their_labels(tmp_path: Path) -> None:
    openimages_hierarchy(tmp_path / "a.json")
    assert set(read_tree(tmp_path / "a.json").names) == {"/m/00", "/m/01", "/m/02", "/m/09"}
