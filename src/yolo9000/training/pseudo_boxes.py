"""The boxes that were trained on image-level labels, and how they changed in the course of training.

Training on image-level labels can fail silently: the loss also falls where every chosen box is on the background.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from jaxtyping import UInt8

from yolo9000.data.augment import Purpose, keyed
from yolo9000.errors import TrainingError
from yolo9000.io.draw import annotate
from yolo9000.io.pages import Page, PageFigure, Section, write_page
from yolo9000.training.distributed import World
from yolo9000.training.logging import RunFolder
from yolo9000.training.recipe import DetectRecipe, recipe_of
from yolo9000.training.splits import open_training_data
from yolo9000.training.tasks.base import Task
from yolo9000.training.trainer import make_plan, prepare_task
from yolo9000.training.visualize import TILE, grid
from yolo9000.types import Detections

__all__ = ["Stage", "show_pseudo_boxes", "stages_of"]

STAGES = 4


@dataclass(frozen=True)
class Stage:
    """A part of the training.

    Attributes:
        steps: first and last step.
        boxes: number of boxes trained on image-level labels in it.
        probability, objectness: means of those boxes for their labels.
        area: mean area of those boxes as a fraction of the input; 1 where every box is the whole image.
    """

    steps: tuple[int, int]
    boxes: int
    probability: float
    objectness: float
    area: float


def show_pseudo_boxes(
    run: Path, out: Path, *, images: int = 6, labels: Sequence[str] = (), seed: int = 0
) -> list[Stage]:
    """Write ``pseudo-boxes.html`` with the boxes of some images, a column for each part of the training.

    Args:
        run: the folder of a run of joint training.
        out: folder for the page.
        images: number of images, drawn at random.
        labels: names of the classes to show; none: all.
        seed: of the draw.

    Returns:
        Statistics of the boxes in each part of the training.

    Raises:
        TrainingError: the run had no images with image-level labels, or none of the labels.
        YoloError: the run's data cannot be read.
    """
    folder = RunFolder(run)
    recipe = recipe_of(folder.facts()["recipe"], str(run))
    lines = folder.pseudo_boxes()
    if not isinstance(recipe, DetectRecipe) or not lines:
        raise TrainingError(f"{run}: must be a run that trained on images with image-level labels")
    task = prepare_task(recipe, open_training_data(recipe), World(0, 1, torch.device("cpu")))
    wanted = [line for line in lines if not labels or task.names[line["label"]] in labels]
    if not wanted:
        raise TrainingError(f"{run}: no image has the label {', '.join(labels)}")
    stages = stages_of(lines, STAGES)
    drawn = [_row(task, recipe, chosen, stages) for chosen in _some_labels(wanted, images, seed)]
    rows = [
        (f"{stage.steps[0]:,} to {stage.steps[1]:,}", stage.boxes, *(round(value, 3) for value in _means(stage)))
        for stage in stages
    ]
    columns = ("steps", "boxes", "probability", "objectness", "area")
    page = Page(
        "Pseudo-boxes",
        [
            Section("Boxes in the course of training", TEXT, columns, rows),
            Section(
                "Images", "A row for each label of an image: its last box in each part of the training.", figures=drawn
            ),
        ],
        str(run.resolve()),
    )
    out.mkdir(parents=True, exist_ok=True)
    write_page(page, out / "pseudo-boxes.html")
    return stages


TEXT = "Means over all boxes that were trained on a label; area as a fraction of the input."


def _means(stage: Stage) -> tuple[float, float, float]:
    return stage.probability, stage.objectness, stage.area


def stages_of(lines: Sequence[Mapping[str, Any]], count: int) -> list[Stage]:
    """The training in parts of equally many steps."""
    last = max(line["step"] for line in lines)
    edges = np.linspace(0, last, min(count, last) + 1).round().astype(int).tolist()
    stages = []
    for first, end in pairwise(edges):
        here = [line for line in lines if first < line["step"] <= end]
        if here:
            means = (float(np.mean([value(line) for line in here])) for value in (_probability, _objectness, _area))
            stages.append(Stage((first + 1, end), len(here), *means))
    return stages


def _probability(line: Mapping[str, Any]) -> float:
    return float(line["probability"])


def _objectness(line: Mapping[str, Any]) -> float:
    return float(line["objectness"])


def _area(line: Mapping[str, Any]) -> float:
    """The fraction of the input that the box covers."""
    width, height = line["size_wh"]
    left, top, right, bottom = np.clip(line["box_xyxy"], 0, [width, height, width, height])
    return float((right - left) * (bottom - top) / (width * height))


def _some_labels(lines: Sequence[Mapping[str, Any]], count: int, seed: int) -> list[list[Mapping[str, Any]]]:
    """The lines of some images, of one label each where they have several."""
    of_label: dict[tuple[str, int], list[Mapping[str, Any]]] = {}
    for line in lines:
        of_label.setdefault((line["image"], line["label"]), []).append(line)
    keys = sorted(of_label)
    order = np.argsort(keyed(seed, Purpose.SAMPLE).random(len(keys)), kind="stable")[:count]
    return [of_label[keys[index]] for index in order]


def _row(task: Task, recipe: DetectRecipe, lines: Sequence[Mapping[str, Any]], stages: Sequence[Stage]) -> PageFigure:
    """An image with its last box in each stage."""
    tiles = []
    for stage in stages:
        here = [line for line in lines if stage.steps[0] <= line["step"] <= stage.steps[1]]
        tiles.append(_tile(task, recipe, here[-1]) if here else np.full((TILE, TILE, 3), 208, np.uint8))
    done, png = cv2.imencode(".png", cv2.cvtColor(grid(tiles, columns=len(tiles), gap=6), cv2.COLOR_RGB2BGR))
    assert done  # noqa: S101  an array of pixels can always be written
    return PageFigure(lines[0]["image"], "image/png", png.tobytes(), TILE * len(tiles) // 2)


def _tile(task: Task, recipe: DetectRecipe, line: Mapping[str, Any]) -> UInt8[np.ndarray, "h w 3"]:
    """The image as the network saw it in that step, with the box that was trained on its label."""
    plan = make_plan(task, recipe, World(0, 1, torch.device("cpu")))
    first = (line["step"] - 1) * recipe.batch
    width, height = line["size_wh"]
    position = first + (line["index"] - first) % plan.sampler.count
    image = task.example(plan.request(position, (width, height))).image
    box = np.clip(np.array([line["box_xyxy"]], np.float32), 0, np.array([width, height, width, height], np.float32))
    name = task.names[line["label"]]
    detection = Detections(
        box, np.array([line["probability"]], np.float32), np.array([line["label"]]), (name,), (width, height)
    )
    drawn = annotate(image, detection)
    scale = TILE / width
    return cv2.resize(drawn, (TILE, max(1, round(height * scale))), interpolation=cv2.INTER_LINEAR)
