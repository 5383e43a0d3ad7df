"""How fast the page answers: from opening it to the first boxes, and each frame while a slider is moved.

    npm install onnxruntime-web
    yolo9000 export yolo9000-small --to page
    python benchmarks/page.py yolo9000-small.html photo.jpg

Needs Chromium and `pip install playwright`. The time of a frame is that of decoding, drawing and layout on the page's
thread; for a display of 60 Hz it must be below 16 ms.
"""

from __future__ import annotations

import argparse
import shutil
import time
from pathlib import Path

import numpy as np
from playwright.sync_api import sync_playwright

MOVE = """async ([id, values]) => {
  const slider = document.getElementById(id);
  const times = [];
  for (const value of values) {
    slider.value = value;
    times.push(await new Promise((resolve) => {
      let start;
      requestAnimationFrame(() => (start = performance.now()));
      slider.dispatchEvent(new Event("input"));
      requestAnimationFrame(() => { document.body.getBoundingClientRect(); resolve(performance.now() - start); });
    }));
  }
  return times;
}"""

ANSWERED = "() => document.querySelector('#status').textContent.includes(' ms')"


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
            page.wait_for_function(
                "() => document.querySelector('#status').textContent.includes(' ms')", timeout=120_000
            )
            print(f"{turn} image: {page.inner_text('#status')}")
        page.evaluate(MOVE, ["confidence", [0.05]])
        print(f"{page.locator('.box').count()} boxes at confidence 0.05")
        for slider in ("specific", "confidence"):
            times = page.evaluate(MOVE, [slider, np.linspace(0.05, 0.95, options.frames).tolist()])
            half, high, worst = np.percentile(times, [50, 95, 100])
            print(f"{slider}: ms a frame: median {half:.1f}, p95 {high:.1f}, maximum {worst:.1f}")
            page.evaluate(MOVE, [slider, [0.05]])
        browser.close()


if __name__ == "__main__":
    main()
