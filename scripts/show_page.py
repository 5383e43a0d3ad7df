"""Draw the image of `docs/page.md`: the exported page with its samples, on a screen and on a phone in the dark.

    python scripts/show_page.py yolo9000-small.html docs/images/page.jpg

Needs Chromium and `pip install playwright`.
"""

from __future__ import annotations

import argparse
import io
import shutil
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import sync_playwright

HEIGHT = 720
GAP = 24
SCREEN: dict[str, Any] = {"viewport": {"width": 1180, "height": HEIGHT}}
PHONE: dict[str, Any] = {
    "viewport": {"width": 390, "height": HEIGHT},
    "color_scheme": "dark",
    "has_touch": True,
    "is_mobile": True,
}


def screenshot_of(browser: Any, page_file: Path, sample: str, **options: Any) -> Image.Image:
    """The page with the boxes of one of its samples."""
    with browser.new_context(offline=True, **options) as context:
        page = context.new_page()
        page.goto(page_file.absolute().as_uri())
        page.click(f"#samples button[aria-label='Sample: {sample}']")
        page.wait_for_function("() => document.querySelector('#status').textContent.includes(' ms')")
        page.mouse.move(0, 0)
        return Image.open(io.BytesIO(page.screenshot()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("page", type=Path, help="the exported .html file")
    parser.add_argument("out", type=Path)
    parser.add_argument("--chromium", default=shutil.which("chromium") or shutil.which("google-chrome"))
    options = parser.parse_args()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=options.chromium, args=["--no-sandbox"])
        left = screenshot_of(browser, options.page, "street.jpg", **SCREEN)
        right = screenshot_of(browser, options.page, "table.jpg", **PHONE)
        browser.close()
    both = Image.new("RGB", (left.width + GAP + right.width, HEIGHT), "white")
    both.paste(left)
    both.paste(right, (left.width + GAP, 0))
    both.save(options.out, quality=90)


if __name__ == "__main__":
    main()
