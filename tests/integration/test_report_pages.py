"""Reports in Chromium: sorted, filtered, unfolded, at every width, light and dark."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from support.browser import chromium, needs_axe, needs_chromium, serious_issues, watched_page
from support.small_tree import ANIMAL, CAT, CUP, DOG, TERRIER, THING, answer

from yolo9000.io.pages import Branch, Page, PageFigure, Section, write_page
from yolo9000.io.writers import ResultWriter
from yolo9000.types import Detections, TreeAnswer

pytestmark = [pytest.mark.battery, needs_chromium]

ROWS = [(f"class {i:02}", i * i, "no ground truth" if i == 3 else i / 20) for i in range(20)]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    Image.new("RGB", (640, 480), (200, 210, 220)).save(folder / "plot.png")
    figure = PageFigure("a plot", "image/png", (folder / "plot.png").read_bytes(), 300)
    tree = [Branch("animal", ("9", "0.5"), (Branch("dog", ("9", "0.5"), (Branch("terrier", ("4", "")),)),))]
    sections = [
        Section("Curves", figures=[figure, figure]),
        Section("Classes", "All of them.", ("class", "objects", "AP50", ""), ROWS, [5.0 * i for i in range(20)]),
        Section("Scores", columns=("metric", "value"), rows=[("mAP50", 0.25), ("best F1", 0.0)]),
        Section("Tree", tree=tree),
    ]
    write_page(
        Page("Validation", sections, "data/set", [("mAP50", "0.249"), ("images", "117")]), folder / "report.html"
    )
    return folder / "report.html"


@pytest.fixture(scope="module")
def detections(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("detections")
    answers = {
        "a.jpg": [answer((ANIMAL, 0.9), (DOG, 0.8), (TERRIER, 0.7)), answer((ANIMAL, 0.9), (CAT, 0.6))],
        "b.jpg": [answer((THING, 0.9), (CUP, 0.8))],
        "c.jpg": [],
    }
    with ResultWriter(folder, ["html"], with_images=True) as writer:
        for name, of_image in answers.items():
            Image.new("RGB", (320, 240), (90, 120, 90)).save(folder / name)
            writer.write(name, None, predicted(of_image))
    return folder / "index.html"


def predicted(answers: list[TreeAnswer]) -> Detections:
    count = len(answers)
    return Detections(
        boxes_xyxy=np.tile(np.array([[10, 20, 200, 180]], np.float32), (count, 1)),
        scores=np.full(count, 0.5, np.float32),
        labels=np.array([one.path[-1].node for one in answers], np.int64),
        names=tuple(one.path[-1].name for one in answers),
        size_wh=(320, 240),
        answers=tuple(answers),
    )


def column(page: Any, index: int) -> list[str]:
    return page.eval_on_selector_all(f"#s2 tr td:nth-child({index})", "all => all.map((one) => one.textContent)")


def test_a_table_is_sorted_by_a_column_and_by_it_again(browser: Any, report: Path) -> None:
    with watched_page(browser, offline=True) as page:
        page.goto(report.as_uri())
        page.click("#s2 th >> text=objects")
        assert column(page, 2)[:3] == ["361", "324", "289"]
        page.click("#s2 th >> text=objects")
        assert column(page, 2)[:3] == ["0", "1", "4"]
        page.click("#s2 th >> text=AP50")
        assert column(page, 3)[0] == "0.95"
        assert column(page, 3)[-1] == "no ground truth"
        assert page.get_attribute("#s2 th:nth-child(3)", "aria-sort") == "descending"


def test_a_long_table_is_filtered(browser: Any, report: Path) -> None:
    with watched_page(browser, offline=True) as page:
        page.goto(report.as_uri())
        assert page.locator(".filter").count() == 1
        page.fill(".filter", "CLASS 1")
        assert page.locator("#s2 td:first-child:visible").count() == 10
        page.fill(".filter", "")
        assert page.locator("#s2 td:first-child:visible").count() == 20


def test_the_tree_is_unfolded(browser: Any, report: Path) -> None:
    with watched_page(browser, offline=True) as page:
        page.goto(report.as_uri())
        assert not page.is_visible("text=terrier")
        page.click("summary >> text=dog")
        assert page.is_visible("text=terrier")


def test_the_page_of_detections_begins_with_counts_and_a_tree(browser: Any, detections: Path) -> None:
    with watched_page(browser, offline=True) as page:
        page.goto(detections.as_uri())
        assert page.inner_text(".headlines").split() == ["images", "3", "objects", "3", "names", "3"]
        assert page.inner_text("main details:first-of-type > summary").split() == ["animal", "2"]
        page.click("summary >> text=animal")
        assert page.is_visible("main .leaf >> text=cat")
        page.fill(".filter", "cup")
        assert page.locator(".detected:visible").count() == 1


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1200])
@needs_axe
def test_reports_are_accessible_at_every_width(
    browser: Any, report: Path, detections: Path, width: int, scheme: str
) -> None:
    with watched_page(browser, offline=True, viewport={"width": width, "height": 844}, color_scheme=scheme) as page:
        for file in (report, detections):
            page.goto(file.as_uri())
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            assert serious_issues(page) == []
            dark = page.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/g)[0] < 128")
            assert dark == (scheme == "dark")
