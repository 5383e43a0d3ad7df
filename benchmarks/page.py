"""How fast the page answers: from opening it to the first boxes, and each frame while a slider is moved.

    npm install onnxruntime-web
    yolo9000 export yolo9000-small --to page
    python benchmarks/page.py yolo9000-small.html crowd.jpg

Needs Chromium and `pip install playwright`. The time of a frame is what the page's thread computes for one step of the
slider: decoding, style, layout and painting, without the time that other programs have the processor. For a display of
60 Hz it must be below 16 ms. It depends on how many boxes there are: choose an image of many objects.
"""

from __future__ import annotations

import argparse
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
from playwright.sync_api import sync_playwright

STEP = """async ([id, value]) => {
  const slider = document.getElementById(id);
  slider.value = value;
  slider.dispatchEvent(new Event("input"));
  await new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)));
  return document.querySelectorAll(".box").length;
}"""

ANSWERED = "() => document.querySelector('#status').textContent.includes(' ms')"


class Slider:
    """A slider of the page, whose frames are timed."""

    def __init__(self, page: Any, name: str) -> None:
        self._page = page
        self._name = name
        self._session = page.context.new_cdp_session(page)
        self._session.send("Performance.enable", {"timeDomain": "threadTicks"})

    def move(self, value: float) -> tuple[float, int]:
        """The milliseconds that the frame took, and the boxes that are shown after it."""
        before = self._processor_seconds()
        boxes = self._page.evaluate(STEP, [self._name, value])
        return 1000 * (self._processor_seconds() - before), boxes

    def _processor_seconds(self) -> float:
        """Of the tasks of the page's thread."""
        metrics = self._session.send("Performance.getMetrics")["metrics"]
        return next(float(one["value"]) for one in metrics if one["name"] == "TaskDuration")


def report(page: Any, name: str, values: np.ndarray) -> None:
    """Print the time of the frames while a slider is moved to each of the values."""
    slider = Slider(page, name)
    times, boxes = np.array([slider.move(value) for value in values.tolist()]).T
    half, high, worst = np.percentile(times, [50, 95, 100])
    print(f"{name}: {boxes.min():.0f} to {boxes.max():.0f} boxes", end="; ")
    print(f"ms a frame: median {half:.1f}, p95 {high:.1f}, maximum {worst:.1f}")


def main() -> None:
    """Print the times."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("page", type=Path, help="the exported .html file")
    parser.add_argument("image", type=Path)
    parser.add_argument("--chromium", default=shutil.which("chromium") or shutil.which("google-chrome"))
    parser.add_argument("--frames", type=int, default=300)
    options = parser.parse_args()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=options.chromium, args=["--no-sandbox"])
        page = browser.new_context(offline=True).new_page()
        start = time.perf_counter()
        page.goto(options.page.absolute().as_uri())
        page.wait_for_selector("body.ready", timeout=120_000)
        print(f"ready after {time.perf_counter() - start:.1f} s")
        for turn in ("first", "second"):
            page.evaluate("document.querySelector('#status').textContent = ''")
            page.set_input_files("#files", options.image)
            page.wait_for_function(ANSWERED, timeout=120_000)
            print(f"{turn} image: {page.inner_text('#status')}")
        Slider(page, "confidence").move(0.05)
        for name in ("specific", "confidence"):
            report(page, name, np.linspace(0.05, 0.95, options.frames))
        browser.close()


if __name__ == "__main__":
    main()
