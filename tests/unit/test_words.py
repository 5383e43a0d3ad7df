"""The word check finds what it refuses, where it is, and nothing else."""

from __future__ import annotations

import importlib.util
import sys

import pytest
from support.paths import ROOT

SPEC = importlib.util.spec_from_file_location("check_words", ROOT / "scripts" / "check_words.py")
assert SPEC is not None
assert SPEC.loader is not None
check_words = importlib.util.module_from_spec(SPEC)
sys.modules["check_words"] = check_words  # its dataclass looks its module up
SPEC.loader.exec_module(check_words)


def uses_in(file: str, text: str) -> list[tuple[int, str]]:
    return [(use.line, use.word) for use in check_words.uses_in(file, text)]


def test_names_are_split_into_words() -> None:
    assert check_words.words_of("BoxTruths_2") == ["box", "truths"]
    assert check_words.words_of("MAX_SHARE") == ["max", "share"]
    assert check_words.words_of("readHTMLPage") == ["read", "html", "page"]


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("def load_picture(): ...", "load_picture"),
        ("class PictureFile: ...", "PictureFile"),
        ("def load(pictures): ...", "pictures"),
        ("share = 1", "share"),
        ("self.found_labels = 1", "found_labels"),
        ("import numpy as numbers", "numbers"),
        ("facts = {'truth': 1}", "truth"),
        ("facts['truth'] = 1", "truth"),
        ("for place in range(3): ...", "place"),
    ],
)
def test_a_planted_name_is_refused(text: str, word: str) -> None:
    assert uses_in("src/yolo9000/boxes.py", f"x = 1\n\n{text}\n") == [(3, word)]


@pytest.mark.parametrize(
    "text",
    [
        "ast.walk(tree.places)",  # names of others
        "marketplace = 1",  # a part of a word
        "shared = replace = 1",
        "text = 'file not found, no place left'",  # plain English
        "import truth",
    ],
)
def test_other_names_are_not(text: str) -> None:
    assert uses_in("src/yolo9000/boxes.py", text) == []


def test_planted_prose_is_refused_where_it_is() -> None:
    module = '"""One.\n\nTwo pictures.\n"""\n\nx = 1  # a fault\ny = f"told {x} of the truth"\n'
    assert uses_in("src/yolo9000/boxes.py", module) == [(3, "pictures"), (6, "fault"), (7, "truth"), (7, "told")]
    assert uses_in("docs/tour.md", "# A tour\n\nBoxes of the *Picture*.\n") == [(3, "Picture")]
    assert uses_in("docs/tour.md", "The ground truth of it.\nIt is told.") == [(2, "told")]


def test_words_that_mean_something_else_elsewhere_are_refused_where_they_do_not() -> None:
    assert uses_in("src/yolo9000/architectures/zoo.py", "tables = 1") == [(1, "tables")]
    assert uses_in("src/yolo9000/data/formats/csv.py", "rows = 1") == []


def test_an_exception_holds_in_its_files_only() -> None:
    assert uses_in("CHANGELOG.md", "`picture` is `image` now") == []
    assert uses_in("README.md", "`picture` is `image` now") == [(1, "picture")]


def test_every_exception_has_a_reason() -> None:
    assert all(files and word and len(reason) > 5 for files, word, reason in check_words.EXCEPTIONS)
