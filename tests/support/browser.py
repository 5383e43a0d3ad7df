"""A real Chromium for tests of pages. Tests skip, saying why, where it or an npm package is not installed."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
NODE_MODULES = Path(sys.prefix, "web", "node_modules")  # the Makefile installs them
RUNTIME = NODE_MODULES / "onnxruntime-web"
AXE = NODE_MODULES / "axe-core" / "axe.min.js"
CAMERA = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]  # a moving test image

needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
needs_runtime = pytest.mark.skipif(not RUNTIME.is_dir(), reason="npm's onnxruntime-web is not installed in .venv/web")
needs_axe = pytest.mark.skipif(not AXE.is_file(), reason="npm's axe-core is not installed in .venv/web")


@contextmanager
def chromium() -> Iterator[Any]:
    """A browser of Playwright."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", *CAMERA])
        yield browser
        browser.close()


@contextmanager
def watched_page(browser: Any, **options: Any) -> Iterator[Any]:
    """A page that must end without an error in its console."""
    problems: list[str] = []
    with browser.new_context(**options) as context:
        page = context.new_page()
        page.on("console", lambda message: message.type == "error" and problems.append(message.text))
        page.on("pageerror", lambda error: problems.append(str(error)))
        yield page
        assert not problems, problems


def serious_issues(page: Any) -> list[str]:
    """What axe-core finds wrong with the accessibility of a page, of the impact serious or critical."""
    page.evaluate(AXE.read_text("utf-8"))
    violations = page.evaluate("async () => (await axe.run()).violations")
    return [
        f"{one['id']}: {one['help']}: {json.dumps([node['target'] for node in one['nodes']])}"
        for one in violations
        if one["impact"] in ("serious", "critical")
    ]
