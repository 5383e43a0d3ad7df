"""Lint and diff of label trees, and trees as files: seeded issues are found, and nothing else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.paths import shared
from support.small_models import TREE

from yolo9000.errors import TreeError
from yolo9000.taxonomy.diff import tree_diff
from yolo9000.taxonomy.files import read_map, read_names, read_tree, write_tree
from yolo9000.taxonomy.lint import lint
from yolo9000.taxonomy.wordnet import wordnet
from yolo9000.taxonomy.wordtree import WordTree

# animal(0) thing(1); dog(2) cat(3) under animal; terrier(4) poodle(5) under dog; bus(6) tram(7) under thing
SOUND = WordTree.from_parents(
    [-1, -1, 0, 0, 2, 2, 1, 1],
    names=["animal", "thing", "dog", "cat", "terrier", "poodle", "bus", "tram"],
    ids=[f"n{i}" for i in range(8)],
)


def codes(tree: WordTree, **labels: int) -> list[tuple[str, tuple[int, ...]]]:
    return [(finding.code, finding.nodes) for finding in lint(tree, labels)]


class TestLint:
    def test_a_sound_tree_has_no_findings(self) -> None:
        assert codes(SOUND, dog=2, cat=3, bus=6) == []

    def test_siblings_apart(self) -> None:
        tree = WordTree.from_parents([-1, -1, 0, 0, 1, 1, 0, 0])
        assert codes(tree) == [("split-siblings", (2, 6))]

    def test_an_only_child(self) -> None:
        assert codes(TREE) == [("single-child", (6,))]
        assert "the only child of 'thing' (n1)" in str(lint(TREE)[0])

    def test_a_name_that_several_bear(self) -> None:
        tree = replace(SOUND, names=("animal", "thing", "dog", "Dog", "terrier", "poodle", "bus", "tram"))
        assert codes(tree) == [("duplicate-name", (2, 3))]

    def test_a_label_above_another(self) -> None:
        assert codes(SOUND, animal=0, poodle=5, bus=6) == [("label-above-label", (5, 0))]

    def test_a_label_that_its_node_is_not_called(self) -> None:
        assert codes(SOUND, sofa=3) == [("ambiguous-sense", (3,))]

    def test_a_label_in_a_rare_sense(self) -> None:
        tree = WordTree.from_parents([-1, -1], names=["mouse", "keyboard"], ids=["n03793489", "n03614007"])
        (finding,) = lint(tree, {"mouse": 0, "keyboard": 1}, wordnet())
        assert finding.code == "ambiguous-sense"
        assert "artifact; the most frequent sense is n02330245, animal" in finding.message

    def test_9k_with_coco(self) -> None:
        folder = shared("data", "labels")
        tree = read_tree(folder / "9k.tree", read_names(folder / "9k.names"))
        labels = dict(zip(read_names(folder / "coco.names"), read_map(folder / "coco9k.map").tolist(), strict=True))
        findings = lint(tree, labels, wordnet())
        assert sum(finding.code == "single-child" for finding in findings) == 46
        above = {tree.names[finding.nodes[0]] for finding in findings if finding.code == "label-above-label"}
        assert above == {"hotdog", "parking meter"}
        odd = {finding.message.split("'")[1] for finding in findings if "does not have this name" in finding.message}
        assert {"sink", "toilet", "pottedplant", "cake", "boat"} <= odd
        assert not {"dog", "person", "pizza"} & odd


class TestDiff:
    def test_a_tree_and_itself(self) -> None:
        assert not tree_diff(SOUND, SOUND)

    def test_what_changed(self) -> None:
        # cat is gone, poodle moved to animal, van is new below thing, bus is called coach
        new = WordTree.from_parents(
            [-1, -1, 0, 0, 2, 1, 1, 1],
            names=["animal", "thing", "dog", "poodle", "terrier", "coach", "tram", "van"],
            ids=["n0", "n1", "n2", "n5", "n4", "n6", "n7", "n9"],
        )
        changed = tree_diff(SOUND, new)
        assert (changed.added, changed.removed) == (("n9",), ("n3",))
        assert (changed.moved, changed.renamed) == (("n5",), ("n6",))
        assert set(changed.regrouped) == {"n0", "n2", "n1"}
        assert changed.reordered

    def test_names_do_not_change_the_fingerprint_but_parents_do(self) -> None:
        renamed = replace(SOUND, names=tuple("abcdefgh"))
        moved = WordTree.from_parents([-1, -1, 0, 0, 3, 3, 1, 1], ids=SOUND.ids)
        assert renamed.fingerprint == SOUND.fingerprint != moved.fingerprint


class TestFiles:
    def test_yaml_keeps_everything(self, tmp_path: Path) -> None:
        tree = replace(SOUND, synonyms=(("beast",), (), ("hound", "yes"), *[()] * 5), notes=("", "null", *[""] * 6))
        write_tree(tmp_path / "a.yaml", tree)
        again = read_tree(tmp_path / "a.yaml")
        assert (again.ids, again.names) == (tree.ids, tree.names)
        assert (again.synonyms, again.notes) == (tree.synonyms, tree.notes)
        np.testing.assert_array_equal(again.parents, tree.parents)

    @given(st.lists(st.text(min_size=1).filter(lambda name: name.strip() == name), min_size=3, max_size=3))
    def test_yaml_keeps_any_name(self, tmp_path_factory: pytest.TempPathFactory, names: list[str]) -> None:
        file = tmp_path_factory.mktemp("tree") / "a.yaml"
        write_tree(file, WordTree.from_parents([-1, -1, 0], names=names, ids=["no", "1e3", "true"]))
        assert read_tree(file).names == tuple(names)
        assert read_tree(file).ids == ("no", "1e3", "true")

    def test_a_dot_tree_has_ids_and_parents(self, tmp_path: Path) -> None:
        write_tree(tmp_path / "a.tree", SOUND)
        assert read_tree(tmp_path / "a.tree").fingerprint == SOUND.fingerprint
        assert read_tree(tmp_path / "a.tree", SOUND.names).names == SOUND.names

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("- {id: a, name: x, parent: b}\n- {id: b, name: y}\n", "entry 1: its parent 'b' must be .* before it"),
            ("- {id: a, name: x}\n- {id: a, name: y}\n", "entry 2: its id 'a' must be unique"),
            (
                "- {id: a, name: x}\n- {id: b, name: y}\n- {id: c, name: z, parent: a}\n- {id: d, name: w}\n",
                "must be contiguous",
            ),
            ("[]\n", "a tree must have at least one node"),
        ],
    )
    def test_a_issuey_yaml_is_refused(self, tmp_path: Path, text: str, message: str) -> None:
        (tmp_path / "a.yaml").write_text(text)
        with pytest.raises(TreeError, match=message):
            read_tree(tmp_path / "a.yaml")

    def test_another_suffix_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(TreeError, match=r"must be a label tree: a \.tree or \.yaml"):
            read_tree(tmp_path / "a.txt")
        with pytest.raises(TreeError, match=r"must be written as \.tree or \.yaml"):
            write_tree(tmp_path / "a.txt", SOUND)
