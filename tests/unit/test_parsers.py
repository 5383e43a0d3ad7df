"""Whatever bytes come as YAML, TOML or JSON, only errors of the package leave the parsers, soon."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from yolo9000.cli.adapt import parse_range
from yolo9000.cli.options import parse_size
from yolo9000.data.dataset import DataSet, open_data
from yolo9000.data.duplicates import group_images
from yolo9000.data.suspicious import _numbered_classes
from yolo9000.errors import ConfigError, DataError, TreeError, YoloError
from yolo9000.evaluation.coco_results import read_results
from yolo9000.io.documents import MAX_DEPTH, parse_csv, parse_json, parse_toml, parse_yaml
from yolo9000.labeling.parts import Shard
from yolo9000.taxonomy.readers import read_parent_table
from yolo9000.training.recipe import parse_overrides, read_recipe

PARSERS: dict[str, Callable[..., Any]] = {"yaml": parse_yaml, "toml": parse_toml, "json": parse_json}
BOMB = "a: &a [x, x]\n" + "".join(
    f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)


def nested(depth: int) -> str:
    return "[" * depth + "]" * depth


def test_plain_documents_are_read() -> None:
    text = "names: {0: cat, 1: 'no'}\ntrain: [a, b]\nnc: 2\nratio: 0.5\ndone: true\nlast: null\n"
    assert parse_yaml(text, "x") == {
        "names": {0: "cat", 1: "no"}, "train": ["a", "b"], "nc": 2, "ratio": 0.5, "done": True, "last": None,
    }  # fmt: skip
    assert parse_toml("a = 1\n[b]\nc = 'x'", "x") == {"a": 1, "b": {"c": "x"}}
    assert parse_json(b'[1, {"a": null}]', "x") == [1, {"a": None}]


def test_a_cell_of_csv_that_never_ends_is_an_error() -> None:
    assert parse_csv('a,"b, c"\r\n\n"d\ne",1', "x") == [["a", "b, c"], [], ["d\ne", "1"]]
    with pytest.raises(ConfigError, match=r"^x: must be CSV: field larger than field limit"):
        parse_csv('image,"' + "a" * 200_000, "x", ConfigError)


@pytest.mark.parametrize("text", ["2024-13-45", "2024-01-02", "2001-12-14t21:59:43.10-05:00"])
def test_what_looks_like_a_date_in_yaml_is_text(text: str) -> None:
    assert parse_yaml(f"a: {text}", "x") == {"a": text}


def test_the_depth_of_yaml_is_limited() -> None:
    assert parse_yaml(nested(MAX_DEPTH), "x")
    with pytest.raises(DataError, match=f"^x: must be YAML: line 1: must be nested at most {MAX_DEPTH} deep$"):
        parse_yaml(nested(MAX_DEPTH + 2), "x")


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("yaml", "a: [1"),
        ("yaml", "\t- x"),
        ("yaml", nested(100_000)),
        ("yaml", "- " * 20_000),
        ("yaml", "a: " + "9" * 5000),
        ("yaml", "!!timestamp x"),
        ("yaml", "!!timestamp 2024-13-45"),
        ("yaml", "!!python/object/apply:os.system [true]"),
        ("yaml", "!!int x"),
        ("yaml", "!!float ''"),
        ("yaml", "!!binary a"),
        ("yaml", "{[a]: 1}"),
        ("yaml", "a: *b"),
        ("yaml", "a: &a [*a]"),
        ("yaml", BOMB),
        ("yaml", "\x00"),
        ("yaml", '"\\UFFFFFFFF"'),
        ("yaml", "a: 1\n---\nb: 2"),
        ("toml", "a = "),
        ("toml", "a = " + nested(50_000)),
        ("toml", "a = " + "9" * 5000),
        ("toml", "a = 2024-13-45"),
        ("toml", "a = 0x" + "f" * 20_000 + "g"),
        ("json", "{"),
        ("json", nested(200_000)),
        ("json", "9" * 5000),
        ("json", "\ud800"),
        ("json", '{"a": 1, "b": {"c": 1, "c": 2}}'),
        ("yaml", "a: 1\nb: 2\na: 3"),
        ("yaml", "b: {0: cat, 0: dog}"),
        ("toml", "a = 1\na = 2"),
    ],
)
def test_what_is_none_is_an_error_with_the_name(language: str, text: str) -> None:
    with pytest.raises(TreeError, match=rf"^some\.file(:\d+)?: must be {language.upper()}") as caught:
        PARSERS[language](text, "some.file", TreeError)
    assert len(str(caught.value)) < 400
    assert "\n" not in str(caught.value)


def test_aliases_cannot_make_few_bytes_large() -> None:
    """Nine levels of nine aliases are 9^8 = 43 million nodes."""
    assert len(BOMB) < 600
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match="must have no aliases"):
            parse_yaml(BOMB, "x")
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()


SEEDS = {
    "yaml": b"path: .\ntrain: images/train\nval: [images/val]\nnc: 2\nnames: {0: cat, 1: 'dog'}\nnote: >-\n  a\n",
    "toml": b'task = "detect"\ndata = "d"\nepochs = 2\n[optimizer]\nlr = 1e-3\nat = 2024-01-02T03:04:05Z\n',
    "json": b'[{"image_id": 1, "category_id": 2, "bbox": [1.0, 2, 3, 4e1], "score": 0.5, "s": "\\u00e4"}]',
}
PIECES = (
    b"[",
    b"{",
    b"*a",
    b"&a ",
    b"!!int ",
    b"9" * 40,
    b"\xff",
    b"\x00",
    b"\n",
    b"- ",
    b"1e999",
    b"'",
    b'"',
    b"\\U",
    b"<<: ",
)


def mutant(data: bytes, rng: np.random.Generator) -> bytes:
    """A seed with some bytes replaced, repeated, left out, or pieces put in."""
    for _ in range(rng.integers(1, 7)):
        position, length = int(rng.integers(len(data) + 1)), int(rng.integers(13))
        repeated, piece = data[position : position + length] * 3, PIECES[rng.integers(len(PIECES))]
        new = (bytes([rng.integers(256)]), piece, repeated, b"")[rng.integers(4)]
        data = data[:position] + new + data[position + length * int(rng.integers(2)) :]
    return data


@pytest.mark.parametrize("language", list(SEEDS))
def test_of_mutants_only_errors_of_the_package_come(language: str) -> None:
    rng = np.random.default_rng(7)
    refused = 0
    for _ in range(400):
        text = mutant(SEEDS[language], rng).decode("utf-8", errors="replace")
        try:
            PARSERS[language](text, "x", DataError)
        except YoloError:
            refused += 1
    assert 50 < refused < 400  # some are still documents


def refused(tmp_path: Path, name: str, text: str, read: Callable[[Path], Any]) -> str:
    file = tmp_path / name
    file.write_text(text)
    with pytest.raises(YoloError) as caught:
        read(file)
    return str(caught.value)


def read_set(file: Path) -> object:
    return open_data(file, "train")


TRAPS = (nested(5000), "a: " + "9" * 5000, BOMB, "nc: !!timestamp x")


@pytest.mark.parametrize("text", TRAPS, ids=["deep", "long", "bomb", "tag"])
def test_all_that_read_yaml_name_the_file(tmp_path: Path, text: str) -> None:
    assert "set.yaml" in refused(tmp_path, "set.yaml", text, read_set)
    assert "set.yaml" in refused(tmp_path, "set.yaml", f"names: [a]\ntrain: .\n{text}", read_set)
    assert "tree.yaml" in refused(tmp_path, "tree.yaml", text, read_parent_table)


def test_recipes_and_results_name_the_file(tmp_path: Path) -> None:
    assert "r.toml" in refused(tmp_path, "r.toml", "a = " + nested(5000), read_recipe)
    assert "res.json" in refused(tmp_path, "res.json", nested(200_000), read_results)
    huge = '[{"image_id": 1, "category_id": 1, "bbox": [1, 1, 1' + "0" * 400 + ', 1], "score": 0.5}]'
    assert "result 0: bbox must be" in refused(tmp_path, "res.json", huge, read_results)
    assert parse_overrides([f"a={nested(5000)}"])["a"] == nested(5000)  # what is no TOML is text
    with pytest.raises(ConfigError):
        read_recipe("voc", {"epochs": "2024-13-45"})


def test_a_key_that_is_there_twice_is_named_with_its_line() -> None:
    with pytest.raises(DataError, match=r"^x: must be YAML: line 3: must have each key once, has 'train' twice$"):
        parse_yaml("train: a\nval: b\ntrain: c\n", "x")
    with pytest.raises(DataError, match=r"^x: must be JSON: an object must have each key once, has 'a' twice$"):
        parse_json('[{"a": 1, "b": 2, "a": 3}]', "x")
    assert parse_yaml("{1: a, '1': b}", "x") == {1: "a", "1": "b"}


# --- digits ---

DIGITS = "9" * 5000  # int() raises a ValueError above 4,300


@pytest.mark.parametrize(
    ("read", "argument"),
    [(parse_size, "size_wh"), (parse_range, "k"), (Shard.parse, "shard")],
)
@pytest.mark.parametrize("text", [DIGITS, f"1/{DIGITS}", f"1-{DIGITS}", "²"])
def test_thousands_of_digits_are_an_error_about_the_argument(
    read: Callable[[str], object], argument: str, text: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        read(text)
    assert caught.value.argument == argument


def test_names_of_thousands_of_digits_are_names() -> None:
    hashes = [np.full(4, 0xF0F0F0F0F0F0F0F0 + number, np.uint64) for number in (0, 1)]
    assert group_images([f"a_{DIGITS}.png", "a_1.png"], hashes) == [[0, 1]]
    assert not list(_numbered_classes(DataSet("set", Path("set"), (f"{DIGITS}: cat", "1: dog"), ())))
