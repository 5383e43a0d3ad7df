"""Which images a run trains and validates on."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from yolo9000.errors import DataError
from yolo9000.training.recipe import read_recipe
from yolo9000.training.splits import open_training_data


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Three images for training and two for validation; the last of each ends early."""
    rng = np.random.default_rng(0)
    for split, count in {"train": 3, "val": 2}.items():
        for part in ("images", "labels"):
            (tmp_path / part / split).mkdir(parents=True)
        for number in range(count):
            image = tmp_path / "images" / split / f"p{number}.jpg"
            Image.fromarray(rng.integers(0, 255, (48, 64, 3), dtype=np.uint8)).save(image)
            (tmp_path / "labels" / split / f"p{number}.txt").write_text("0 0.5 0.5 0.25 0.5\n")
        image.write_bytes(image.read_bytes()[:-400])
    (tmp_path / "classes.txt").write_text("nut\n")
    return tmp_path


@pytest.mark.parametrize("hold_out", [None, 0.5])
def test_unreadable_images_are_left_out_and_reported(data: Path, hold_out: float | None) -> None:
    recipe = read_recipe("small-detector", {"data": str(data), "on_error": "skip", "hold_out": hold_out})
    opened = open_training_data(recipe)
    assert [Path(sample.name).name for sample in opened.train.samples()] == ["p0.jpg", "p1.jpg"]
    assert opened.validation is not None
    assert [Path(sample.name).name for sample in opened.validation.samples()] == ["p0.jpg"]
    opened.write_issues(data)
    assert list(opened.lines(data)) == [
        f"{split}: {line}"
        for split, count in {"train": 3, "val": 2}.items()
        for line in (
            f"1 of {count} images or records left out: 1 x image-unreadable",
            f"all 1 issues in {data / f'left-out-{split}.jsonl'}",
        )
    ]
    assert "p2.jpg" in (data / "left-out-train.jsonl").read_text()


def test_by_default_an_image_held_out_must_be_readable(data: Path) -> None:
    for part in ("images", "labels"):
        shutil.rmtree(data / part / "val")
    recipe = read_recipe("small-detector", {"data": str(data), "hold_out": 0.4})
    with pytest.raises(DataError, match=r"p2\.jpg: truncated"):
        open_training_data(recipe)
    opened = open_training_data(recipe.model_copy(update={"on_error": "skip"}))
    assert opened.held_out == 1
    assert list(opened.lines(data))[-1] == "the data have no split val: 1 images are held out for validation"
