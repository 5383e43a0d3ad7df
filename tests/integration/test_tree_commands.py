"""The commands about label trees, as a user types them."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from support.paths import shared
from support.small_data import boxes_of, write_voc_set
from support.small_models import TREE, write_tree_model

from yolo9000.cli.app import run
from yolo9000.taxonomy.files import read_tree, write_tree


@pytest.fixture
def tree(tmp_path: Path) -> str:
    write_tree(tmp_path / "small.yaml", TREE)
    return str(tmp_path / "small.yaml")


def rows_of(file: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(file.read_text())))


def printed_lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().out.splitlines()


def test_show_indents_and_counts(tree: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["tree", "show", tree, "--depth", "2"]) == 0
    assert printed_lines(capsys)[:-1] == [
        "animal  n0",
        "  dog  n2  (+2 below)",
        "  cat  n3",
        "thing  n1",
        "  bus  n6",
    ]
    assert run(["tree", "show", tree, "--under", "dog"]) == 0
    lines = printed_lines(capsys)
    assert lines[:-1] == ["dog  n2", "  terrier  n4", "  poodle  n5"]
    assert lines[-1].startswith("7 nodes, 4 leaves, 4 sibling groups, depth 2; fingerprint ")


def test_a_model_shows_its_tree(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["tree", "path", str(write_tree_model(tmp_path)), "poodle"]) == 0
    assert [line.split("  ")[-2] for line in printed_lines(capsys)] == ["n0", "n2", "n5"]


def test_find_and_path(tree: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["tree", "find", tree, "OO"]) == 0
    assert [line.split(maxsplit=2)[2] for line in printed_lines(capsys)] == ["animal > dog > poodle"]
    assert run(["tree", "path", tree, "terrier"]) == 0
    assert printed_lines(capsys) == [
        "     0  animal  n0  (1 of 2)",
        "     2  dog  n2  (1 of 2)",
        "     4  terrier  n4  (1 of 2)",
    ]
    assert run(["tree", "path", tree, "terier"]) == 2
    assert "did you mean 'terrier'?" in capsys.readouterr().err


def test_lint_exits_with_4_if_it_reports_something(
    tree: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["tree", "lint", tree]) == 4
    assert printed_lines(capsys)[-1] == "1 x single-child"
    (tmp_path / "labels.names").write_text("dog\nterrier\n")
    assert run(["tree", "lint", tree, "--labels", str(tmp_path / "labels.names")]) == 4
    assert printed_lines(capsys)[-1] == "1 x single-child, 1 x label-above-label"


def test_diff_and_export(tree: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["tree", "export", tree, "--out", str(tmp_path / "small.tree")]) == 0
    assert (tmp_path / "small.names").read_text().splitlines() == list(TREE.names)
    capsys.readouterr()
    assert run(["tree", "diff", tree, str(tmp_path / "small.tree")]) == 0
    assert printed_lines(capsys) == ["all sibling groups are unchanged", "node indices are unchanged"]


class TestBuild:
    def test_labels_are_built_doubts_are_listed_and_overrides(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (tmp_path / "coco.names").write_text("mouse\ncat\ndog\npizza\n")
        (tmp_path / "ids.txt").write_text("n02129165\n")  # lion
        (tmp_path / "mine.csv").write_text("name,parent\nshiba inu,dog\n")
        out = tmp_path / "labels.yaml"
        words = ["tree", "build", "--labels", str(tmp_path / "coco.names"), "--labels", str(tmp_path / "ids.txt")]
        words += ["--parents", str(tmp_path / "mine.csv"), "--out", str(out)]
        assert run(words) == 0
        assert printed_lines(capsys)[0].startswith("6 labels, ")
        tree = read_tree(out)
        assert tree.path_names(tree.find("shiba inu")).endswith("dog > shiba inu")
        assert tree.path_names(tree.find("n02129165")).endswith("lion")
        doubts = tmp_path / "labels-doubts.csv"
        rows = {row["label"]: row for row in rows_of(doubts)}
        assert rows["mouse"]["id"] == "n02330245"
        assert "n03793489 (mouse, a kind of electronic device)" in rows["mouse"]["other meanings"]
        assert "dog (n02084071): grows the tree by" in (tmp_path / "labels-choices.txt").read_text()
        doubts.write_text(doubts.read_text().replace("mouse,n02330245", "mouse,n03793489"))
        assert run([*words, "--overrides", str(doubts)]) == 0
        assert "n03793489" in read_tree(out).ids
        assert rows_of(doubts) == []

    def test_without_wordnet_the_table_is_all(self, tmp_path: Path) -> None:
        (tmp_path / "mine.yaml").write_text(
            "- {name: bird}\n- {name: owl, parent: bird}\n- {name: tit, parent: bird}\n- {name: bat}\n"
        )
        out = tmp_path / "birds.tree"
        assert run(["tree", "build", "--parents", str(tmp_path / "mine.yaml"), "--no-wordnet", "-o", str(out)]) == 0
        assert out.read_text() == "bat -1\nbird -1\nowl 1\ntit 1\n"

    def test_nothing_to_build_is_an_error(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert run(["tree", "build"]) == 2
        assert "tree build needs --labels or --parents" in capsys.readouterr().err

    def test_groceries(self, tmp_path: Path) -> None:
        text = shared("data", "groceries-labels", "classes.csv").read_text()
        rows = [line.split(",")[:3:2] for line in text.splitlines()[1:]]
        pairs = [f"{fine},{coarse}" for fine, coarse in rows if coarse != fine]
        (tmp_path / "groceries.csv").write_text("\n".join(["name,parent", *pairs]) + "\n")
        out = tmp_path / "groceries.yaml"
        assert run(["tree", "build", "--parents", str(tmp_path / "groceries.csv"), "--out", str(out)]) == 0
        tree = read_tree(out)
        for fine, coarse in {"Royal-Gala": "apple", "Arla-Standard-Milk": "milk", "Vine-Tomato": "tomato"}.items():
            assert tree.names[tree.parents[tree.find(fine)]] == coarse
        rows = rows_of(tmp_path / "groceries-doubts.csv")
        assert [row["label"] for row in rows if row["how"] == "unmatched"] == ["Oatghurt", "Soyghurt"]


class TestAsking:
    @pytest.fixture
    def model(self, tmp_path: Path) -> str:
        return str(write_tree_model(tmp_path))

    @pytest.fixture
    def photo(self, tmp_path: Path) -> str:
        from PIL import Image

        Image.effect_noise((90, 60), 80).convert("RGB").save(tmp_path / "a.png")
        return str(tmp_path / "a.png")

    def predict(self, model: str, photo: str, tmp_path: Path, *words: str) -> int:
        low = ["--conf-threshold", "0.01", "--no-save", "--format", "csv", "--out", str(tmp_path / "out")]
        return run(["predict", photo, "--model", model, *low, *words])

    def names(self, tmp_path: Path) -> set[str]:
        return {row["name"] for row in rows_of(tmp_path / "out" / "detections.csv")}

    def test_classes_ask_for_a_part(self, model: str, photo: str, tmp_path: Path) -> None:
        assert self.predict(model, photo, tmp_path, "--within", "dog,bus", "--hier-thresh", "0") == 0
        assert self.names(tmp_path) <= {"terrier", "poodle", "bus"}
        assert self.names(tmp_path)

    def test_a_level_answers_with_its_own_names(self, model: str, photo: str, tmp_path: Path) -> None:
        (tmp_path / "coarse.names").write_text("dog\nthing\n")
        assert self.predict(model, photo, tmp_path, "--labels", str(tmp_path / "coarse.names")) == 0
        assert self.names(tmp_path) <= {"dog", "thing"}
        assert self.names(tmp_path)

    def test_val_scores_a_level(self, model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        write_voc_set(tmp_path / "shapes")
        source = "{format: voc, path: shapes, list: ImageSets/Main/val.txt, map: {red: poodle, blue: bus}}"
        (tmp_path / "data.yaml").write_text(f"classes: [poodle, bus]\nval:\n  - {source}\n")
        (tmp_path / "coarse.names").write_text("dog\ncat\n")
        words = ["val", model, str(tmp_path / "data.yaml"), "--labels", str(tmp_path / "coarse.names")]
        assert run([*words, "--out", str(tmp_path / "val")]) == 0
        rows = [line.split() for line in printed_lines(capsys)]
        reds = sum(name == "red" for number in range(9, 14) for name, _ in boxes_of(number))
        assert ["dog", str(reds)] in [row[:2] for row in rows]  # poodles are dogs; no bus is a dog or a cat
        assert not any(row[0] in ("bus", "poodle", "cat") for row in rows)

    def test_what_cannot_be_asked_is_an_error(
        self, model: str, photo: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert self.predict(model, photo, tmp_path, "--within", "dog,terrier") == 2
        assert "'terrier' must not be the same as, or below, 'dog'" in capsys.readouterr().err
        assert self.predict(model, photo, tmp_path, "--within", "unicorn") == 2
        assert "'unicorn' must be the id or name of a node" in capsys.readouterr().err
