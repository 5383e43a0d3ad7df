"""Reports: how tables show numbers, trees, and what is in the file."""

from __future__ import annotations

import re

from yolo9000.io.pages import Branch, Page, PageFigure, Section


def table(*rows: tuple[object, ...]) -> list[tuple[str, ...]]:
    return Section("t", columns=["c"] * len(rows[0]), rows=rows).cells


def test_fractions_have_equally_many_decimals() -> None:
    assert table(("a", 0.0), ("b", 0.1264)) == [("a", "0.0000"), ("b", "0.1264")]
    assert table(("a", 0.6, 0.25), ("b", 0.5, 1.0)) == [("a", "0.60", "0.25"), ("b", "0.50", "1.00")]
    assert table((1.5, 0.125), (12.0, 0.5)) == [("1.5", "0.125"), ("12.0", "0.500")]  # minutes are no fractions of 1
    assert table((0.00001,), (1.0,)) == [("0.0",), ("1.0",)]


def test_integers_have_commas_and_texts_stay() -> None:
    assert table((12345, "none", True), (7, 0.5, False)) == [("12,345", "none", "True"), ("7", "0.5", "False")]


def test_a_column_with_a_number_is_numeric() -> None:
    section = Section("t", columns=("name", "ap", ""), rows=[("a", "no ground truth"), ("b", 0.5)], bars=[0.0, 50.0])
    assert section.numeric == [False, True, False]
    html = Page("p", [section]).html()
    assert html.count('<td class="number">') == 2
    assert '<td class="bar"><span style="width: 50.0%">' in html


def test_the_order_is_headlines_figures_table_tree() -> None:
    figure = PageFigure("curve", "image/png", b"\x89PNG", 300)
    tree = [Branch("animal", ("3",), (Branch("dog", ("2",)), Branch("cat", ("1",))))]
    section = Section("Classes", "text", ("class", "AP"), [("dog", 0.25)], figures=[figure], tree=tree)
    html = Page("Validation", [section], "a/folder", [("mAP50", "0.249")]).html()
    parts = ["<h1>Validation</h1>", "a/folder", "0.249", "<h2>Classes</h2>", "<figure>", "<table>", "<details", "dog"]
    positions = [html.index(part, html.index("</style>")) for part in parts[:-1]]
    assert positions == sorted(positions)
    assert re.search(r"<details open><summary><bdi>animal</bdi><span class=\"number\">3</span>", html)
    assert html.count('<div class="leaf">') == 2


def test_a_report_is_one_file_and_names_are_escaped() -> None:
    html = Page("</style><b>", [Section("<i>", rows=[("<u>", 1)], columns=("a", "b"))]).html()
    assert not re.search(r"<(b|i|u)>", html)
    assert "http" not in html
    assert not re.search(r'(src|href)="(?!#|data:)', html)
