"""Taxonomies that give each node with all its ancestors."""

from __future__ import annotations

from pathlib import Path

import pytest

from yolo9000.errors import TreeError
from yolo9000.taxonomy.build import build_tree
from yolo9000.taxonomy.hierarchy import Hierarchy
from yolo9000.taxonomy.readers import read_parent_table
from yolo9000.taxonomy.wordtree import WordTree

FOX = "12345678-1234-1234-1234-123456789abc;mammalia;carnivora;canidae;vulpes;vulpes;red fox"
FAMILY = "12345678-1234-1234-1234-123456789abd;mammalia;carnivora;canidae;;;canidae family"
BLANK = "12345678-1234-1234-1234-123456789abe;;;;;;blank"


def tree_of(path: Path) -> WordTree:
    hierarchy = Hierarchy(None)
    for entry in read_parent_table(path):
        hierarchy.add(entry)
    return build_tree(list(hierarchy.entries), hierarchy, keep="all").tree


def paths_of(tree: WordTree) -> set[str]:
    return {tree.path_names(int(node)) for node in range(len(tree)) if tree.leaves[node]}


def test_lines_of_plain_paths(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("# mine\nanimal;dog;terrier\nanimal;dog;hound\n\nanimal;cat\nfood;hot dog\n")
    tree = tree_of(tmp_path / "a.txt")
    assert paths_of(tree) == {"animal > dog > terrier", "animal > dog > hound", "animal > cat", "food > hot dog"}


def test_googles_products_keep_names_that_repeat(tmp_path: Path) -> None:
    text = (
        "# Google_Product_Taxonomy_Version: 2021-09-21\n1 - Animals > Food\n2 - Toys > Food\n3 - Toys > Red-Hot Cars\n"
    )
    (tmp_path / "a.txt").write_text(text)
    assert paths_of(tree_of(tmp_path / "a.txt")) == {"Animals > Food", "Toys > Food", "Toys > Red-Hot Cars"}


def test_speciesnets_labels(tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text(f"{FOX}\n{FAMILY}\n{BLANK}\n")
    tree = tree_of(tmp_path / "labels.txt")
    assert paths_of(tree) == {"mammalia > carnivora > canidae > vulpes > vulpes vulpes", "blank"}
    assert tree.names[tree.find("red fox")] == "vulpes vulpes"
    assert tree.names[tree.find("canidae family")] == "canidae"


def test_darwin_core(tmp_path: Path) -> None:
    (tmp_path / "gbif.tsv").write_text(
        "gbifID\tkingdom\tphylum\tclass\torder\tfamily\tgenus\tspecies\tscientificName\tvernacularName\n"
        "1\tAnimalia\tChordata\tMammalia\tCarnivora\tCanidae\tVulpes\tVulpes vulpes\tVulpes vulpes (L.)\tRed Fox\n"
        "2\tAnimalia\tChordata\tMammalia\tCarnivora\tCanidae\tCanis\t\tCanis lupus Linnaeus, 1758\t\n"
        "3\tAnimalia\tChordata\tAves\t\t\t\t\tAves\t\n"
    )
    tree = tree_of(tmp_path / "gbif.tsv")
    canids = "Animalia > Chordata > Mammalia > Carnivora > Canidae"
    assert paths_of(tree) == {
        f"{canids} > Vulpes > Vulpes vulpes",
        f"{canids} > Canis > Canis lupus",
        "Animalia > Chordata > Aves",
    }
    assert tree.names[tree.find("Red Fox")] == "Vulpes vulpes"


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.txt", "animal;;dog\n", r"a\.txt:1: a path must have no empty part"),
        ("a.txt", "# nothing\n", r"a\.txt: must have a path a line"),
        ("a.csv", "kingdom,phylum,class\nA,B,C\n,,\n", r"a\.csv:3: must have a rank from kingdom to species"),
    ],
)
def test_what_is_wrong_is_named(name: str, text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(TreeError, match=message):
        read_parent_table(tmp_path / name)
