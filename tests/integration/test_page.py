"""The page in Chromium: as one file, with the network cut, and from a server."""

from __future__ import annotations

import base64
import io
import json
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import numpy as np
import pytest
from PIL import Image
from support.browser import RUNTIME, chromium, needs_axe, needs_chromium, needs_runtime, serious_issues, watched_page
from support.paths import ROOT
from support.small_models import random_model, small_architecture

from yolo9000 import Detector
from yolo9000.checkpoints.export import export_onnx
from yolo9000.checkpoints.load import load_model
from yolo9000.checkpoints.model import LoadedModel
from yolo9000.serve.one_file import export_page
from yolo9000.serve.schemas import DetectAnswer
from yolo9000.taxonomy.wordtree import WordTree

pytestmark = [pytest.mark.battery, needs_chromium, needs_runtime]

# A name from right to left, and one that is markup; the synonyms are WordNet's
TREE = WordTree.from_parents(
    [-1, -1, 0, 0, 2, 2, 1],
    names=["animal", "thing", "كلب", "<b>cat</b>", "terrier", "poodle", "bus"],
    ids=["n00015388", "x-thing", "n02084071", "n02121620", "n02093056", "n02113335", "n02924116"],
)
CONFIDENCE = 0.2


def small_model() -> LoadedModel:
    """A network with random weights, which sees objects everywhere."""
    return LoadedModel.from_weights(random_model(small_architecture(len(TREE)), seed=3), TREE.names, TREE)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images, the small model as ``small.onnx`` with 8 bits a weight, and its page ``small.html``."""
    folder = tmp_path_factory.mktemp("page")
    rng = np.random.default_rng(5)
    for name, (height, width) in {"wide.png": (90, 160), "tall_7.png": (200, 75)}.items():
        Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8)).save(folder / name)
    model = small_model()
    export_onnx(model, folder / "small.onnx", dtype="int8")
    export_page(model, folder / "small.html", name="small", runtime=RUNTIME, samples=[folder / "wide.png"])
    return folder


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as browser:
        yield browser


def open_page(page: Any, file: Path) -> None:
    page.goto(file.as_uri())
    page.wait_for_selector("body.ready")


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[str]:
    """The address of a service of the small model."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "yolo9000", "serve", str(folder / "small.onnx"), "--port", str(port)]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        address = f"http://127.0.0.1:{port}/"
        while not is_ready(address):
            assert process.poll() is None, "the service ended"
            time.sleep(0.2)
        yield address
        process.terminate()


def is_ready(address: str) -> bool:
    try:
        with urlopen(f"{address}readyz") as answer:  # noqa: S310  of this machine
            return bool(answer.status == 200)
    except OSError:
        return False


@pytest.fixture(params=["file", "server"])
def page(browser: Any, folder: Path, request: pytest.FixtureRequest) -> Iterator[Any]:
    from_file = request.param == "file"
    address = (folder / "small.html").as_uri() if from_file else request.getfixturevalue("server")
    with watched_page(browser, offline=from_file, viewport={"width": 1200, "height": 800}) as page:
        page.goto(address)
        page.wait_for_selector("body.ready")
        yield page


def choose(page: Any, *files: Path) -> None:
    page.set_input_files("#files", files)
    wait_for_status(page, f"{files[-1].name}:")


def wait_for_status(page: Any, start: str) -> None:
    page.wait_for_function("start => document.querySelector('#status').textContent.startsWith(start)", arg=start)


def slide(page: Any, slider: str, value: float) -> None:
    page.eval_on_selector(slider, "(e, v) => { e.value = v; e.dispatchEvent(new Event('input')); }", value)
    page.evaluate("() => new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)))")


def saved(page: Any, button: str) -> bytes:
    with page.expect_download() as download:
        page.click(button)
    return Path(download.value.path()).read_bytes()


def labels(page: Any) -> list[str]:
    return page.eval_on_selector_all(".box", "all => all.map((one) => one.textContent)")


def python_records(folder: Path, image: str, **settings: float) -> list[dict[str, Any]]:
    detector = Detector.load(folder / "small.onnx", engine="onnxruntime", conf_threshold=CONFIDENCE, **settings)
    return detector(folder / image).detections.to_dict()["detections"]


def assert_equal(page: list[dict[str, Any]], python: list[dict[str, Any]]) -> None:
    """Boxes to 1e-2 pixel, scores to 1e-3, everything else the same."""
    assert [one["name"] for one in page] == [one["name"] for one in python]
    np.testing.assert_allclose([one["score"] for one in page], [one["score"] for one in python], atol=1e-3)
    np.testing.assert_allclose([one["box_xyxy"] for one in page], [one["box_xyxy"] for one in python], atol=1e-2)
    for ours, theirs in zip(page, python, strict=True):
        assert ours.keys() == theirs.keys()
        assert [step["node"] for step in ours["path"]] == [step["node"] for step in theirs["path"]]
        assert ours["stopped"] == theirs["stopped"]


@pytest.mark.parametrize("hier_thresh", [0.03, 0.3, 0.8])
def test_the_answers_are_pythons(page: Any, folder: Path, hier_thresh: float) -> None:
    choose(page, folder / "wide.png", folder / "tall_7.png")
    slide(page, "#specific", 1 - hier_thresh)
    slide(page, "#confidence", CONFIDENCE)
    record = json.loads(saved(page, "#save-json"))
    DetectAnswer.model_validate(record)
    assert [(one["source"], one["width"], one["height"]) for one in record["images"]] == [
        ("wide.png", 160, 90),
        ("tall_7.png", 75, 200),
    ]
    for image in record["images"]:
        python = python_records(folder, image["source"], hier_thresh=hier_thresh)
        assert len(python) > 3
        assert_equal(image["detections"], python)


def test_the_bundled_model_answers_as_python(browser: Any, folder: Path) -> None:
    [file] = export_page(load_model(), folder / "bundled.html", name="yolo9000-small", runtime=RUNTIME)
    assert file.stat().st_size < 25e6
    draw_a_clock(folder / "clock.png")
    with watched_page(browser, offline=True, accept_downloads=True) as page:
        open_page(page, file)
        slide(page, "#confidence", 0.05)
        choose(page, folder / "clock.png")
        [image] = json.loads(saved(page, "#save-json"))["images"]
    detector = Detector.load(engine="onnxruntime", conf_threshold=0.05)
    python = detector(folder / "clock.png").detections.to_dict()["detections"]
    assert len(python) > 0
    assert_equal(image["detections"], python)


def draw_a_clock(path: Path) -> None:
    from PIL import ImageDraw

    image = Image.new("RGB", (640, 480), (188, 178, 160))
    draw = ImageDraw.Draw(image)
    draw.ellipse((170, 90, 470, 390), fill=(250, 250, 246), outline=(30, 30, 30), width=14)
    for hour in range(12):
        angle = np.pi * hour / 6
        x, y = 320 + 122 * np.sin(angle), 240 - 122 * np.cos(angle)
        draw.text((x, y), str(hour or 12), fill=(20, 20, 20), anchor="mm", font_size=30)
    draw.line((320, 240, 320, 145), fill=(20, 20, 20), width=9)
    draw.line((320, 240, 395, 280), fill=(20, 20, 20), width=9)
    image.save(path)


def test_the_sliders_and_the_search_request_nothing(page: Any, folder: Path) -> None:
    choose(page, folder / "wide.png")
    requested: list[str] = []
    page.on("request", lambda request: requested.append(request.url))
    for step in range(20):
        slide(page, "#specific", 0.05 * step)
        slide(page, "#confidence", 0.05 * step)
    page.fill("#search", "dog")
    page.press("#search", "Enter")
    assert requested == []


def test_the_file_requests_nothing(browser: Any, folder: Path) -> None:
    with watched_page(browser, offline=True) as page:
        requested: list[str] = []
        page.on("request", lambda request: requested.append(request.url))
        open_page(page, folder / "small.html")
        choose(page, folder / "wide.png")
        assert {url.partition(":")[0] for url in requested} <= {"file", "data", "blob"}


def test_the_slider_goes_from_general_to_specific(page: Any, folder: Path) -> None:
    choose(page, folder / "wide.png")
    slide(page, "#specific", 0.01)
    general = page.inner_text("#counts").split()
    slide(page, "#specific", 0.99)
    assert not {"terrier", "poodle"} & set(general)
    assert {"terrier", "poodle"} & set(page.inner_text("#counts").split())


def test_a_frame_of_the_slider_with_50_boxes_is_in_time_for_60_hz(folder: Path) -> None:
    command = [sys.executable, str(ROOT / "benchmarks" / "page.py"), "small.html", "wide.png", "--frames", "100"]
    output = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout
    measured = re.search(r"specific: (\d+) to .* p95 ([\d.]+)", output)
    assert measured, output
    assert int(measured[1]) >= 50
    assert float(measured[2]) < 16


def test_images_can_be_dropped_and_pasted(page: Any, folder: Path) -> None:
    data = base64.b64encode((folder / "tall_7.png").read_bytes()).decode()
    transfer = page.evaluate_handle(
        """(data) => {
          const transfer = new DataTransfer();
          const bytes = Uint8Array.from(atob(data), (c) => c.charCodeAt(0));
          transfer.items.add(new File([bytes], "dropped.png", { type: "image/png" }));
          return transfer;
        }""",
        data,
    )
    page.dispatch_event("body", "drop", {"dataTransfer": transfer})
    wait_for_status(page, "dropped.png:")
    assert labels(page)
    paste = "t => document.dispatchEvent(new ClipboardEvent('paste', { clipboardData: t, bubbles: true }))"
    page.evaluate(paste, transfer)
    page.wait_for_function("() => document.querySelectorAll('#film li').length === 2")


def test_why_nothing_is_shown(page: Any, folder: Path) -> None:
    choose(page, folder / "tall_7.png")
    slide(page, "#confidence", 0.95)
    assert (page.inner_text("#found"), page.inner_text("#answer")) == ("0 objects", "Nothing has a score above 0.95.")


def test_a_label_without_room_above_its_box_is_within_it(browser: Any, folder: Path) -> None:
    """However small the image is shown, all labels of boxes are seen as a whole."""
    with watched_page(browser, offline=True, viewport={"width": 1200, "height": 800}) as page:
        open_page(page, folder / "small.html")
        choose(page, folder / "wide.png")
        slide(page, "#confidence", 0.05)
        for width in (1200, 390):
            page.set_viewport_size({"width": width, "height": 800})
            slide(page, "#specific", 0.5)
            frame, *shown = page.evaluate(
                "() => ['#frame', '.label'].flatMap((one) => [...document.querySelectorAll(one)])"
                ".map((one) => one.getBoundingClientRect().toJSON())"
            )
            assert min(one["top"] for one in shown) >= frame["top"] - 3  # the border's width, and rounding
            assert min(one["left"] for one in shown) >= frame["left"] - 3
            assert max(one["right"] for one in shown) <= frame["right"] + 3


def test_a_file_that_is_no_image_is_said_to_be_none(page: Any, folder: Path) -> None:
    names = ["broken.png", "wide.png", "notes.txt"]
    for name in (names[0], names[2]):
        (folder / name).write_bytes(b"no image")
    page.set_input_files("#files", [folder / name for name in names])
    page.wait_for_selector("#status.wrong")
    assert page.inner_text("#status") == "broken.png is not an image that this browser can read (and 1 more)"
    assert labels(page), "the others are shown"


def test_samples_are_in_the_page(browser: Any, folder: Path) -> None:
    with watched_page(browser, offline=True) as page:
        open_page(page, folder / "small.html")
        page.click("#samples button >> nth=0")
        wait_for_status(page, "wide.png:")


def test_the_camera_is_shown_with_boxes_until_it_is_stopped(browser: Any, folder: Path) -> None:
    with watched_page(browser, offline=True, permissions=["camera"]) as page:
        open_page(page, folder / "small.html")
        page.click("#welcome [data-do=camera]")
        page.wait_for_selector(".box")
        page.wait_for_function("n => document.querySelector('#image').toDataURL() !== n", arg=image_data(page))
        page.click("#work [data-do=camera]")
        page.wait_for_selector("#work [data-do=camera][aria-pressed=false]")
        assert labels(page)


def image_data(page: Any) -> str:
    return page.eval_on_selector("#image", "e => e.toDataURL()")


NAMED = {"poodle": "poodle", "POODLE DOG": "poodle", "n02924116": "bus", "domestic dog": "كلب", "<b>": "<b>cat</b>"}


@pytest.mark.parametrize(("text", "name"), NAMED.items())
def test_the_search_takes_names_synonyms_and_ids(page: Any, folder: Path, text: str, name: str) -> None:
    choose(page, folder / "wide.png")
    slide(page, "#confidence", 0.05)
    page.fill("#search", text)
    page.press("#search", "Enter")
    assert page.inner_text("#within-name") == name
    below = set(page.eval_on_selector_all("#counts bdi", "all => all.map((one) => one.textContent)"))
    node = TREE.find(name)
    assert below
    assert below <= {TREE.names[i] for i in range(len(TREE)) if TREE.below(node)[i]}
    page.click("#within-clear")
    assert page.is_hidden("#within")


def test_all_can_be_done_by_keyboard(page: Any, folder: Path) -> None:
    choose(page, folder / "wide.png")
    page.keyboard.press("/")
    page.keyboard.type("po")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Escape")
    page.keyboard.press("Shift+Tab")
    assert page.evaluate("document.activeElement.id") == "confidence"
    before = page.inner_text("#confidence-value")
    page.keyboard.press("ArrowLeft")
    assert page.inner_text("#confidence-value") != before
    page.focus(".box >> nth=-1")
    chosen = page.evaluate("document.activeElement.textContent")
    assert page.inner_text("#answer h3") in chosen
    page.keyboard.press("Enter")
    assert page.locator(".box.chosen").count() == 1
    page.keyboard.press("Escape")
    assert page.locator(".box.chosen").count() == 0


def test_why_a_box_has_its_name(page: Any, folder: Path) -> None:
    choose(page, folder / "wide.png")
    slide(page, "#specific", 0.5)
    one = python_records(folder, "wide.png", hier_thresh=0.5)[0]
    slide(page, "#confidence", CONFIDENCE)
    text = page.inner_text("#answer")
    for step in one["path"]:
        assert step["name"] in text
    for other in filter(None, (one["next_best"], one["runner_up"])):
        assert other["name"] in text
    assert f"{one['score']:.3f}" in text


def test_coco_and_the_image_can_be_saved(page: Any, folder: Path) -> None:
    choose(page, folder / "tall_7.png")
    slide(page, "#confidence", CONFIDENCE)
    slide(page, "#specific", 0.5)
    python = python_records(folder, "tall_7.png", hier_thresh=0.5)
    results = json.loads(saved(page, "#save-coco"))
    assert {one["image_id"] for one in results} == {7}
    left, top, right, bottom = python[0]["box_xyxy"]
    np.testing.assert_allclose(results[0]["bbox"], [left, top, right - left, bottom - top], atol=0.02)
    image = np.asarray(Image.open(io.BytesIO(saved(page, "#save-image"))).convert("RGB"))
    plain = np.asarray(Image.open(folder / "tall_7.png"))
    assert image.shape == plain.shape
    assert (image != plain).any()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1200])
@needs_axe
def test_every_width_and_scheme_is_accessible(browser: Any, folder: Path, width: int, scheme: str) -> None:
    options = {"viewport": {"width": width, "height": 844}, "color_scheme": scheme, "has_touch": width < 500}
    with watched_page(browser, offline=True, **options) as page:
        open_page(page, folder / "small.html")
        assert serious_issues(page) == []
        choose(page, folder / "wide.png")
        page.fill("#search", "po")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        dark = page.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/g)[0] < 128")
        assert dark == (scheme == "dark")
        assert serious_issues(page) == []


def test_a_name_of_any_writing_direction_stays_beside_its_score(page: Any, folder: Path) -> None:
    choose(page, folder / "wide.png")
    slide(page, "#confidence", 0.05)
    page.fill("#search", "domestic dog")
    page.press("#search", "Enter")
    slide(page, "#specific", 0.01)
    page.wait_for_selector(".box bdi:text('كلب')")
    name, score = page.evaluate(
        """() => { const box = [...document.querySelectorAll('.box')].find((one) => one.textContent.includes('كلب'));
        return ['bdi', '.score'].map((one) => box.querySelector(one).getBoundingClientRect().left); }"""
    )
    assert name < score
    assert not page.query_selector("#counts b"), "a name must not be read as markup"
