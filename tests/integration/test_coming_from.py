"""Every row of docs/coming-from.md: what users of other packages write works, or ends in a line that names our call."""

from __future__ import annotations

import logging
import re
import shlex
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from support.paths import ROOT
from support.small_models import write_flat

import yolo9000
from yolo9000.cli.app import run

ROW = re.compile(r"^\| `(.+?)` \| (.+?) \| `(.+?)` \|$", re.MULTILINE)
ROWS = ROW.findall((ROOT / "docs" / "coming-from.md").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the rows use, and the folder that they run in; the small model stands for the bundled one."""
    folder = tmp_path_factory.mktemp("habits")
    flat = write_flat(folder)

    def load(model: str = "yolo9000-small", **keywords: Any) -> yolo9000.Detector:
        keywords = {"conf_threshold": 0.05} | keywords
        return yolo9000.Detector.load(flat if model == "yolo9000-small" else model, **keywords)

    detector = load()
    image = np.random.default_rng(0).integers(0, 255, (60, 90, 3), dtype=np.uint8)
    (folder / "photos").mkdir()
    for file in ("photo.jpg", "other.jpg", "photos/a.jpg"):
        Image.fromarray(image).save(folder / file)
    writer = cv2.VideoWriter(str(folder / "clip.mp4"), cv2.VideoWriter.fourcc(*"mp4v"), 10.0, (90, 60))
    for _ in range(3):
        writer.write(image)
    writer.release()
    frame = np.ascontiguousarray(image[:, :, ::-1])
    tensor = torch.from_numpy(image).permute(2, 0, 1)
    values = {"image": image, "frame": frame, "frames": [frame, frame, frame], "tensor": tensor}
    modules = {"np": np, "logging": logging, "yolo9000": yolo9000, "Detector": SimpleNamespace(load=load)}
    return values | modules | {"detector": detector, "prediction": detector(image), "folder": folder, "flat": flat}


def perform(code: str, names: dict[str, Any]) -> None:
    """Evaluate an expression, or run a command, which raises its message where it fails."""
    if not code.startswith("yolo9000 "):
        eval(code, dict(names))  # noqa: S307  the documents are ours
        return
    words = shlex.split(code)[1:]
    code_of_exit = run([*words, *([] if "--model" in words else ["--model", str(names["flat"])])])
    if code_of_exit:
        raise RuntimeError(f"exit code {code_of_exit}")


@pytest.fixture
def attempt(names: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys) -> Callable[[str], str]:
    """The message that a row ends in; empty where it works."""
    monkeypatch.chdir(names["folder"])

    def message_of(code: str) -> str:
        try:
            perform(code, names)
        except Exception as error:
            return f"{error} {capsys.readouterr().err}".strip()
        return ""

    return message_of


@pytest.fixture(autouse=True)
def _own_log_level() -> Iterator[None]:
    """One row sets it."""
    yield
    logging.getLogger("yolo9000").setLevel(logging.NOTSET)


def test_there_are_forty_rows() -> None:
    assert len(ROWS) >= 40
    assert len({habit for habit, _, _ in ROWS}) == len(ROWS)


@pytest.mark.parametrize(("habit", "happens", "here"), ROWS, ids=[habit for habit, _, _ in ROWS])
def test_a_habit_works_or_names_our_call(habit: str, happens: str, here: str, attempt: Callable[[str], str]) -> None:
    message = attempt(habit)
    if happens.startswith("works"):
        assert not message
    else:
        expected = happens.strip("`")
        assert expected in message
        assert len(message.splitlines()) <= 2  # the exit code and the line that was printed
    assert not attempt(here)
