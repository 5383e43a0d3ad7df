"""Growing a tree over labels: the paper's rule by hand, names and their senses, and Darknet's own tree."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.paths import shared

from yolo9000.errors import TreeError
from yolo9000.taxonomy.build import BuiltTree, build_tree
from yolo9000.taxonomy.hierarchy import Entry, Hierarchy, slug
from yolo9000.taxonomy.match import read_overrides
from yolo9000.taxonomy.readers import read_parent_table
from yolo9000.taxonomy.wordnet import wordnet
from yolo9000.taxonomy.wordtree import WordTree


def graph(**parents: str) -> Hierarchy:
    """A hierarchy without WordNet: for each node the names of its parents."""
    hierarchy = Hierarchy(None)
    for node, above in parents.items():
        hierarchy.add(Entry(node, node, tuple(above.split()), where="test"))
    return hierarchy


def parents_of(tree: WordTree) -> dict[str, str | None]:
    return {node: None if parent < 0 else tree.ids[parent] for node, parent in zip(tree.ids, tree.parents, strict=True)}


def path_of(built: BuiltTree, label: str) -> list[str]:
    tree = built.tree
    return [tree.names[step] for step in tree.path(tree.index_by_id[built.nodes[label]])]


def test_nodes_with_one_path_come_first_then_the_path_that_adds_the_fewest_nodes() -> None:
    # x is a c and a p. c is in the tree because of `y`; p would come with q: c adds 1 node, p adds 3
    built = build_tree(["x", "y"], graph(top="", c="top", y="c", q="top", p="q", x="c p"), keep="all")
    assert parents_of(built.tree) == {"top": None, "c": "top", "x": "c", "y": "c"}
    (choice,) = built.choices
    assert (choice.node, choice.taken, choice.growth, choice.others) == ("x", ("x", "c"), 1, (("x", "p", "q", "top"),))


def test_of_equal_growth_the_deeper_position_wins() -> None:
    hierarchy = graph(
        animal="", pet="animal", carnivore="animal", canine="carnivore", dog="pet canine", cat="canine", p="pet"
    )
    built = build_tree(["dog", "cat", "p"], hierarchy, keep="all")
    assert parents_of(built.tree)["dog"] == "canine"  # both ways add the dog alone


def test_nodes_at_which_nothing_forks_go_and_so_does_a_lone_top() -> None:
    hierarchy = graph(entity="", thing="entity", a="thing", b="a", c="b", d="b", e="thing")
    labels = ["c", "d", "e"]
    # entity - thing - (a - b - (c d), e): a has one child, thing is alone at the top
    assert parents_of(build_tree(labels, hierarchy).tree) == {"b": None, "e": None, "c": "b", "d": "b"}
    everything = build_tree(labels, hierarchy, keep="all")
    assert everything.tree.ids == ("entity", "thing", "a", "e", "b", "c", "d")
    only = build_tree(labels, hierarchy, keep="labels")
    assert parents_of(only.tree) == {"c": None, "d": None, "e": None}
    assert only.removed == ("a", "b", "entity", "thing")


def test_a_label_with_one_child_is_kept_unless_only_children_are_collapsed() -> None:
    hierarchy = graph(melon="", muskmelon="melon", cantaloupe="muskmelon", water="melon")
    labels = ["melon", "muskmelon", "cantaloupe", "water"]
    assert parents_of(build_tree(labels, hierarchy).tree)["cantaloupe"] == "muskmelon"
    lifted = build_tree(labels, hierarchy, collapse_only_children=True)
    assert parents_of(lifted.tree) == {"melon": None, "muskmelon": "melon", "cantaloupe": "melon", "water": "melon"}


def test_siblings_stand_side_by_side_in_every_tree() -> None:
    build_tree(["dog", "cat", "chair", "sofa", "apple", "person"], Hierarchy(wordnet())).tree.check_groups_contiguous()


@settings(max_examples=15, deadline=None)
@given(st.permutations(["mouse", "keyboard", "cat", "dog", "orange", "apple", "n02129165", "tvmonitor", "sports ball"]))
def test_the_order_of_the_labels_changes_nothing(labels: list[str]) -> None:
    tree, known = (build_tree(some, Hierarchy(wordnet())).tree for some in (labels, sorted(labels)))
    assert (tree.ids, tree.parents.tolist()) == (known.ids, known.parents.tolist())


class TestSenses:
    def test_the_other_labels_tell_a_fruit_from_a_tree(self) -> None:
        labels = ["banana", "lemon", "milk", "bread", "pizza"]
        built = build_tree(labels, Hierarchy(wordnet()))
        assert built.nodes["banana"] == "n07753592"  # the fruit; the first sense is the herb
        (banana,) = [match for match in built.matches if match.label == "banana"]
        assert banana.ambiguous
        assert [sense.node for sense in banana.others] == ["n12352287"]

    def test_the_user_settles(self, tmp_path: Path) -> None:
        file = tmp_path / "overrides.csv"
        file.write_text("label,id,remark\nmouse,n03793489,the computer's\n")
        built = build_tree(["mouse", "cat", "dog"], Hierarchy(wordnet()), overrides=read_overrides(file))
        assert built.nodes["mouse"] == "n03793489"
        (mouse,) = [match for match in built.matches if match.label == "mouse"]
        assert (mouse.sense.how, mouse.ambiguous) == ("override", False)

    @pytest.mark.parametrize(
        ("label", "how", "node"),
        [
            ("n02084071", "id", "n02084071"),
            ("Apples", "plural", "n07739125"),
            ("wine glass", "spelling", "n04592099"),  # wineglass
            ("diningtable", "spelling", "n03201208"),  # dining table
            ("sports ball", "new-child", "sports-ball"),
            ("tvmonitor", "new-child", "tvmonitor"),
            ("xyzzy", "unmatched", "xyzzy"),
        ],
    )
    def test_a_label_is_matched(self, label: str, how: str, node: str) -> None:
        built = build_tree([label, "pizza", "chair", "dog"], Hierarchy(wordnet()))
        (match,) = [match for match in built.matches if match.label == label]
        assert (match.sense.how, match.sense.node) == (how, node)

    def test_a_new_kind_lies_below_what_its_last_words_mean(self) -> None:
        built = build_tree(["sports ball", "tennis racket", "baseball bat"], Hierarchy(wordnet()), keep="all")
        assert path_of(built, "sports ball")[-2:] == ["ball", "sports ball"]

    def test_an_unmatched_label_is_a_root(self) -> None:
        built = build_tree(["xyzzy", "dog", "chair"], Hierarchy(wordnet()))
        assert path_of(built, "xyzzy") == ["xyzzy"]

    def test_an_id_that_wordnet_does_not_have_is_refused(self) -> None:
        with pytest.raises(TreeError, match="the label 'n00000001' must be the id"):
            build_tree(["n00000001"], Hierarchy(wordnet()))


TSV = "name\tparent\tsynonyms\tnote\nGranny Smith\tapple\tgreen apple;Granny\tsour\noat drink\tmilk\t\t\n"


class TestTables:
    @pytest.mark.parametrize(
        ("name", "text"),
        [
            ("mine.csv", "name,parent,synonyms,note\nGranny Smith,apple,green apple; Granny,sour\noat drink,milk,,\n"),
            (
                "mine.tsv",
                "name\tparent\tsynonyms\tnote\nGranny Smith\tapple\tgreen apple;Granny\tsour\noat drink\tmilk\t\t\n",
            ),
            (
                "mine.yaml",
                "- {name: Granny Smith, parent: apple, synonyms: [green apple, Granny], note: sour}\n"
                "- {name: oat drink, parent: milk}\n",
            ),
        ],
    )
    def test_all_forms_say_the_same(self, tmp_path: Path, name: str, text: str) -> None:
        (tmp_path / name).write_text(text)
        granny, oat = read_parent_table(tmp_path / name)
        assert (granny.id, granny.name, granny.parents) == ("granny-smith", "Granny Smith", ("apple",))
        assert (granny.synonyms, granny.note) == (("green apple", "Granny"), "sour")
        assert (oat.id, oat.parents, oat.synonyms) == ("oat-drink", ("milk",), ())

    def test_skos_is_read(self, tmp_path: Path) -> None:
        pytest.importorskip("rdflib")
        file = tmp_path / "mine.ttl"
        file.write_text(
            "@prefix skos: <http://www.w3.org/2004/02/skos/core#> . @prefix my: <http://example.org/> .\n"
            'my:fruit a skos:Concept ; skos:prefLabel "fruit" .\n'
            'my:apple a skos:Concept ; skos:prefLabel "apple" ; skos:altLabel "pome" ; skos:broader my:fruit .\n'
            "my:fruit skos:narrower my:pear .\n"
        )
        entries = {entry.id: entry for entry in read_parent_table(file)}
        assert entries["apple"].parents == ("fruit",)
        assert entries["apple"].synonyms == ("pome",)
        assert entries["pear"].parents == ("fruit",)
        assert entries["fruit"].parents == ()

    def test_own_entries_stand_below_wordnet(self, tmp_path: Path) -> None:
        (tmp_path / "mine.csv").write_text("name,parent\nGranny Smith,apple\nRoyal Gala,apple\n")
        hierarchy = Hierarchy(wordnet())
        for entry in read_parent_table(tmp_path / "mine.csv"):
            hierarchy.add(entry)
        built = build_tree(["Granny Smith", "Royal Gala", "orange", "bread"], hierarchy)
        assert path_of(built, "Royal Gala")[-2:] == ["apple", "Royal Gala"]

    @pytest.mark.parametrize(
        ("name", "text", "message"),
        [
            ("a.csv", "child,parent\nx,y\n", r"a.csv:1: the header must have name"),
            ("a.csv", "name,parent\nx\n", r"a.csv:2: must have 2 fields"),
            ("a.csv", "name,parent\n,y\n", r"a.csv:2: name must not be empty"),
            ("a.csv", "name,id\nx,two words\n", r"a.csv:2: id must be one word"),
            ("a.yaml", "name: x\n", r"a.yaml: must be a list of entries"),
            ("a.yaml", "- {name: x, kind: y}\n", r"a.yaml: entry 1: keys must be name"),
            ("a.yaml", "- {name: yes}\n", r"a.yaml: entry 1: name must be text .* got True"),
            ("a.yaml", "- !!python/object/apply:os.system [ls]\n", r"a.yaml: must be YAML"),
            ("a.doc", "x\n", r"a.doc: must be a parent table"),
        ],
    )
    def test_a_issuey_table_is_refused(self, tmp_path: Path, name: str, text: str, message: str) -> None:
        (tmp_path / name).write_text(text)
        with pytest.raises(TreeError, match=message):
            read_parent_table(tmp_path / name)

    def test_a_parent_that_is_no_entry_is_a_label_too(self) -> None:
        built = build_tree(["a", "b"], graph(a="nobody", b="nobody"))
        assert parents_of(built.tree) == {"nobody": None, "a": "nobody", "b": "nobody"}
        assert [match.label for match in built.matches if match.ambiguous] == ["nobody"]

    def test_circles_are_refused(self) -> None:
        with pytest.raises(TreeError, match="'a' must not be its own ancestor"):
            build_tree(["a"], graph(a="b", b="a"))
        with pytest.raises(TreeError, match="the id 'a' must have one name"):
            graph(a="").add(Entry("a", "other", where="test"))


@given(st.text(min_size=1, max_size=30))
def test_a_slug_is_one_word_and_no_synset_id(text: str) -> None:
    word = slug(text)
    assert word.split() == [word]
    assert word not in wordnet()


def test_the_names_of_9k_give_back_its_tree() -> None:
    rows = [line.split() for line in shared("data", "labels", "9k.tree").read_text().splitlines()]
    ids = [row[0] for row in rows]
    known = {row[0]: ids[int(row[1])] if int(row[1]) >= 0 else None for row in rows}
    built = build_tree(ids, Hierarchy(wordnet()), keep="labels", collapse_only_children=True)
    same = np.mean([parent == known[node] for node, parent in parents_of(built.tree).items()])
    assert len(built.tree) == 9_418
    assert same >= 0.98


def test_coco_and_tiny_imagenet_build_without_a_hand() -> None:
    coco = shared("data", "labels", "coco.names").read_text().splitlines()
    tiny = [line.split("\t")[0] for line in shared("data", "tiny-imagenet", "classes.tsv").read_text().splitlines()]
    built = build_tree([*coco, *tiny], Hierarchy(wordnet()))
    assert len(built.nodes) == 280
    assert path_of(built, "zebra")[-3:-1] == ["equine"] or "placental" in path_of(built, "zebra")
    assert built.nodes["toaster"] == "n04442312"  # the appliance, not the one who drinks to somebody
    assert sum(match.sense.how == "unmatched" for match in built.matches) == 0
