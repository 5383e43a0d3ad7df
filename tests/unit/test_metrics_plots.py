"""Plots open as images, show what they are given, and manage without data."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image
from support.scored import NOWHERE, A, B, scored_of

from yolo9000.evaluation.calibration import reliability
from yolo9000.evaluation.curves import F1Curve, confusion_matrix, f1_curve
from yolo9000.evaluation.plots import (
    plot_confusion,
    plot_f1,
    plot_precision_recall,
    plot_reliability,
    plot_specificity_risk,
)
from yolo9000.evaluation.tree_severity import SpecificityRisk
from yolo9000.evaluation.voc import PrecisionRecall, precision_recall

SCORED = scored_of([(0, A), (0, B)], [(0, A, 0.9), (0, NOWHERE, 0.8), (0, B, 0.7)])


def pixels(png: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(png)) as image:
        assert image.format == "PNG"
        return np.asarray(image.convert("RGB")).astype(int)


def blueness(image: np.ndarray) -> float:
    """Fraction of pixels of a strong blue: the full end of the colors of a confusion matrix."""
    red, _, blue = np.moveaxis(image, 2, 0)
    return float(((blue > 90) & (red < 40)).mean())


def curve_of(count: int) -> PrecisionRecall:
    recall = np.linspace(0, 0.9, count)
    return PrecisionRecall(np.linspace(1, 0, count, dtype=np.float32), 1 - recall / 2, recall)


EMPTY_F1 = F1Curve(np.empty(0, np.float32), np.empty(0), np.empty(0), np.empty(0))


@pytest.mark.parametrize(
    "draw",
    [
        lambda: plot_precision_recall({}, ()),
        lambda: plot_precision_recall({0: curve_of(0)}, ("never found",)),
        lambda: plot_precision_recall(
            {label: curve_of(9000) for label in range(14)}, [f"class {i}" for i in range(14)]
        ),
        lambda: plot_f1(EMPTY_F1),
        lambda: plot_f1(f1_curve(SCORED)),
        lambda: plot_confusion(confusion_matrix(SCORED), ("a", "a long name of a class")),
        lambda: plot_confusion(np.zeros((151, 151), np.int64), [str(i) for i in range(150)]),
        lambda: plot_reliability({}),
        lambda: plot_reliability({f"depth {d}": reliability(np.empty(0), np.empty(0, bool)) for d in range(4)}),
        lambda: plot_specificity_risk({}),
        lambda: plot_specificity_risk({"none": SpecificityRisk(*(np.full(3, np.nan) for _ in range(4)))}),
    ],
)
def test_every_plot_is_a_image(draw: Callable[[], bytes]) -> None:
    image = pixels(draw())
    assert min(image.shape[:2]) > 20
    assert (image[0, 0] == 255).all()


@pytest.mark.parametrize("classes", [3, 80])
def test_confusion_shows_the_matrix(classes: int) -> None:
    right = np.zeros((classes + 1, classes + 1), np.int64)
    right[np.arange(classes), np.arange(classes)] = 7
    evenly = np.ones_like(right)
    names = [f"class {i}" for i in range(classes)]
    # one cell in each row is full, of classes + 1; names and margins take some of the image
    bar = blueness(pixels(plot_confusion(evenly, names)))
    shown = blueness(pixels(plot_confusion(right, names))) - bar
    assert 0.3 / (classes + 1) < shown < 1 / (classes + 1)


def test_curves_differ_with_their_data() -> None:
    labels = ("a", "b")
    assert plot_precision_recall(precision_recall(SCORED), labels) != plot_precision_recall({0: curve_of(3)}, labels)
    sure = reliability(np.full(8, 0.9), np.ones(8, bool))
    unsure = reliability(np.full(8, 0.9), np.zeros(8, bool))
    assert plot_reliability({"all": sure}) != plot_reliability({"all": unsure})


def test_reliability_has_a_panel_for_each_group() -> None:
    bins = reliability(np.array([0.2, 0.9]), np.array([False, True]))
    widths = [pixels(plot_reliability({f"depth {d}": bins for d in range(n)})).shape for n in (1, 3, 4)]
    assert widths[1][1] > 2 * widths[0][1]  # three beside each other
    assert widths[2][0] > 1.5 * widths[1][0]  # and the fourth below


def test_plots_leave_matplotlibs_state_alone() -> None:
    program = "import sys, yolo9000.evaluation.plots; assert 'matplotlib.pyplot' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True)


def test_other_scores_do_without_matplotlib_and_the_coco_package() -> None:
    modules = ["calibration", "classification", "curves", "match", "scored", "voc"]
    modules += ["label_only", "metric_names", "tree_ap", "tree_paths", "tree_severity"]
    imports = "".join(f"import yolo9000.evaluation.{name}; " for name in modules)
    program = f"import sys; {imports}assert not {{'matplotlib', 'faster_coco_eval', 'torch'}} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)
